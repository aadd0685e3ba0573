/* SPDX-License-Identifier: MIT
 *
 * The listener of a filter (seccomp_unotify(2)), handed to the agent that shall answer for the calls, over a
 * socket that it listens on (unix(7), SCM_RIGHTS), with a message that tells whose it is.
 */
#include "prim.h"

/* <sys/socket.h> is libc's. */
#define NOSIGNAL 0x4000
#define NONBLOCK 04000
#define CLOEXEC 02000000

struct address {
  u16 family;
  char path[108];
};

/* Connected, or an error at once: an agent that does not accept is none. */
static int
connect_to(const char *path, size_t len)
{
  struct address a = { .family = 1 /* AF_UNIX */ };
  int fd, rc;

  if (len >= sizeof(a.path))
    return -ENAMETOOLONG;
  for (size_t i = 0; i < len; i++)
    a.path[i] = path[i];
  fd = (int)csn_sys(__NR_socket, 1, 1 /* SOCK_STREAM */ | NONBLOCK | CLOEXEC, 0);
  if (fd < 0)
    return fd;
  rc = (int)CSN_RETRY(csn_sys(__NR_connect, fd, &a, 2 + len + 1));
  if (rc < 0) {
    csn_close(fd);
    return rc;
  }
  return fd;
}

/* The number as text at the end of the buffer; returns where it begins. */
static char *
decimal(u32 n, char *end)
{
  do
    *--end = (char)('0' + n % 10);
  while (n /= 10);
  return end;
}

#define MAX_PARTS 8

#define LISTENER_SEND(F)                                                                           \
  F(slot, fd, CSN_REQUIRED, NULL, 0)                                                               \
  F(str, path, CSN_REQUIRED, NULL, 0)                                                              \
  F(strs, message, CSN_REQUIRED, NULL, 0)
CSN_ARGS(listener_send, LISTENER_SEND)

/* The child's pid stands between the parts of the message. The host keeps nothing: calls fail once the agent is
 * gone. */
static int
apply_listener_send(const struct listener_send_args *a, struct csn_ctx *c)
{
  struct {
    const void *base;
    u64 len;
  } iov[2 * MAX_PARTS];
  struct {
    u64 len;
    s32 level, type, fd, pad;
  } rights = { 20, 1 /* SOL_SOCKET */, 1 /* SCM_RIGHTS */, 0, 0 };
  struct {
    const void *name;
    u64 name_len;
    const void *iov;
    u64 iov_len;
    const void *control;
    u64 control_len, flags;
  } msg = { NULL, 0, iov, 0, &rights, sizeof(rights), 0 };
  const struct csn_str *parts = csn_l(c, a->message);
  char number[12], *digits = decimal((u32)c->pid, number + sizeof(number));
  CSN_CLEANUP_FD int sock = -1;
  u64 size = 0;
  long n;

  if (a->message.count == 0 || a->message.count > MAX_PARTS)
    return csn_detail(c, -EINVAL, "a message of 1 to 8 parts", NULL);
  if (c->slots[a->fd] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  for (u32 i = 0; i < a->message.count; i++) {
    if (i > 0) {
      iov[msg.iov_len].base = digits;
      iov[msg.iov_len++].len = (u64)(number + sizeof(number) - digits);
    }
    iov[msg.iov_len].base = csn_s(c, parts[i]);
    iov[msg.iov_len++].len = parts[i].len;
  }
  for (u64 i = 0; i < msg.iov_len; i++)
    size += iov[i].len;
  rights.fd = c->slots[a->fd];
  sock = connect_to(csn_s(c, a->path), a->path.len);
  if (sock < 0)
    return csn_detail(c, sock, "connecting to ", csn_s(c, a->path));
  n = CSN_RETRY(csn_sys(__NR_sendmsg, sock, &msg, NOSIGNAL));
  if (n < 0 || (u64)n != size)
    return csn_detail(c, n < 0 ? (int)n : -EMSGSIZE, "sending to ", csn_s(c, a->path));
  csn_close(c->slots[a->fd]);
  c->slots[a->fd] = -1;
  return 0;
}

CSN_PRIMITIVE(listener_send, "listener.send", LISTENER_SEND, CSN_PARENT, apply_listener_send, NULL,
              "$fd to $path")
