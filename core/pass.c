/* SPDX-License-Identifier: MIT
 *
 * Descriptors for others: a terminal's master or the child's own pidfd goes over a socket that somebody
 * listens on (unix(7), SCM_RIGHTS); and those that only its creator needed are closed before the child is
 * there to be looked at.
 */
#include "prim.h"

/* <sys/socket.h> is libc's. */
#define NOSIGNAL 0x4000

/* Whoever receives it gets one message: the name, as its text, and the descriptor. */
static int
pass(int socket, int fd, const char *name, size_t len)
{
  const struct {
    const void *base;
    u64 len;
  } iov = { name, len };
  const struct {
    u64 len;
    s32 level, type, fd, pad;
  } rights = { 20, 1 /* SOL_SOCKET */, 1 /* SCM_RIGHTS */, fd, 0 };
  const struct {
    const void *name;
    u64 name_len;
    const void *iov;
    u64 iov_len;
    const void *control;
    u64 control_len, flags;
  } msg = { NULL, 0, &iov, 1, &rights, sizeof(rights), 0 };
  long n = CSN_RETRY(csn_sys(__NR_sendmsg, socket, &msg, NOSIGNAL));

  return n < 0 ? (int)n : (size_t)n == len ? 0 : -EIO;
}

/* What the descriptor is called: "/dev/pts/0". */
#define PASS_FD(F)                                                                                 \
  F(slot, fd, CSN_REQUIRED, NULL, 0)                                                               \
  F(slot, socket, CSN_REQUIRED, NULL, 0)                                                           \
  F(str, name, 0, NULL, 0)
CSN_ARGS(pass_fd, PASS_FD)

static int
apply_pass_fd(const struct pass_fd_args *a, struct csn_ctx *c)
{
  const char *name = a->name.off ? csn_s(c, a->name) : "fd";

  if (c->slots[a->fd] < 0 || c->slots[a->socket] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  return pass(c->slots[a->socket], c->slots[a->fd], name, csn_strlen(name));
}

CSN_PRIMITIVE(pass_fd, "pass.fd", PASS_FD, CSN_CHILD, apply_pass_fd, NULL,
              "$fd to $socket[ as $name]")

#define PASS_PIDFD(F)                                                                              \
  F(slot, socket, CSN_REQUIRED, NULL, 0)                                                           \
  F(str, name, 0, NULL, 0)
CSN_ARGS(pass_pidfd, PASS_PIDFD)

/* On the parent's side the child's, else of this very process. */
static int
apply_pass_pidfd(const struct pass_pidfd_args *a, struct csn_ctx *c)
{
  const char *name = a->name.off ? csn_s(c, a->name) : "pidfd";
  CSN_CLEANUP_FD int fd = -1;

  if (c->slots[a->socket] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  fd = (int)csn_sys(__NR_pidfd_open, c->pid ? c->pid : csn_sys(__NR_getpid, 0), 0);
  return fd < 0 ? fd : pass(c->slots[a->socket], fd, name, csn_strlen(name));
}

CSN_PRIMITIVE(pass_pidfd, "pass.pidfd", PASS_PIDFD, CSN_CHILD, apply_pass_pidfd, NULL,
              "to $socket[ as $name]")

#define CLOSE(F) F(slots, slots, CSN_REQUIRED, NULL, 0)
CSN_ARGS(close, CLOSE)

static int
apply_close(const struct close_args *a, struct csn_ctx *c)
{
  const s64 *slots = csn_l(c, a->slots);

  for (u32 i = 0; i < a->slots.count; i++)
    if (slots[i] >= 0) {
      csn_close(c->slots[slots[i]]);
      c->slots[slots[i]] = -1;
    }
  return 0;
}

CSN_PRIMITIVE(close, "close", CLOSE, CSN_CHILD | CSN_SELF, apply_close, NULL, "$slots")
