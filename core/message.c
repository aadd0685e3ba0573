/* SPDX-License-Identifier: MIT
 *
 * What goes over the sockets between host, runner and child: one message at a time, and a descriptor.
 */
#include "plan.h"
#include <asm/socket.h>

/* <sys/socket.h> is libc's. */
#ifndef MSG_NOSIGNAL
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#endif
#define SCM_RIGHTS 1
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20

/* struct msghdr and its one control message, as the kernel has them. */
struct message {
  const void *name;
  u64 name_len;
  const void *iov;
  u64 iov_len;
  const void *control;
  u64 control_len;
  u64 flags;
};

struct bytes {
  const void *base;
  u64 len;
};

struct rights {
  u64 len;
  s32 level, type, fd, pad;
};
#define ONE_FD 20 /* CMSG_LEN(sizeof(int)) */

int
csn_send_msg(int sock, const struct csn_msg *m)
{
  long n = CSN_RETRY(csn_sys(__NR_sendto, sock, m, sizeof(*m), MSG_NOSIGNAL, 0, 0));

  return n < 0 ? (int)n : n == sizeof(*m) ? 0 : -EPIPE;
}

int
csn_send_fd(int sock, const void *m, size_t n, int fd)
{
  struct bytes iov = { m, n };
  struct rights rights = { ONE_FD, SOL_SOCKET, SCM_RIGHTS, fd, 0 };
  struct message msg = {
    .iov = &iov, .iov_len = 1, .control = &rights, .control_len = sizeof(rights)
  };
  long rc = CSN_RETRY(csn_sys(__NR_sendmsg, sock, &msg, MSG_NOSIGNAL));

  return rc < 0 ? (int)rc : 0;
}

int
csn_recv(int sock, void *buf, size_t size, int *fd, int flags)
{
  struct bytes iov = { buf, size };
  struct rights rights = { 0 };
  /* without the padding, in which a second descriptor would come */
  struct message msg = { .iov = &iov, .iov_len = 1, .control = &rights, .control_len = ONE_FD };
  long n;

  *fd = -1;
  /* ECONNRESET comes once, when the other side has gone without reading all; what it sent comes after it. */
  do
    n = csn_sys(__NR_recvmsg, sock, &msg, MSG_CMSG_CLOEXEC | flags);
  while (n == -EINTR || n == -ECONNRESET);
  if (n < 0 || rights.len != ONE_FD || rights.level != SOL_SOCKET || rights.type != SCM_RIGHTS)
    return (int)n;
  *fd = rights.fd;
  if (rights.fd <= 2) { /* the numbers of a host's standard streams, which it may have closed */
    *fd = csn_dup(rights.fd, 3);
    csn_close(rights.fd);
  }
  return (int)n;
}

int
csn_send_fds(int sock, const void *head, size_t head_size, const void *rest, size_t size,
             const s32 *fds, u32 n, int flags)
{
  struct bytes iov[2] = { { head, head_size }, { rest, size } };
  struct {
    u64 len;
    s32 level, type;
    s32 fd[CSN_SLOTS + 2];
  } control = { 16 + 4 * (u64)n, SOL_SOCKET, SCM_RIGHTS, { 0 } };
  struct message msg = { .iov = iov, .iov_len = size ? 2 : 1 };
  long rc;

  for (u32 i = 0; i < n; i++)
    control.fd[i] = fds[i];
  if (n) {
    msg.control = &control;
    msg.control_len = (control.len + 7) & ~7ull;
  }
  rc = CSN_RETRY(csn_sys(__NR_sendmsg, sock, &msg, MSG_NOSIGNAL | flags));
  return rc < 0 ? (int)rc : 0;
}

int
csn_recv_fds(int sock, void *buf, size_t size, s32 *fds, u32 max, u32 *got, int flags)
{
  struct bytes iov = { buf, size };
  struct {
    u64 len;
    s32 level, type;
    s32 fd[CSN_SLOTS + 2];
  } control;
  struct message msg = {
    .iov = &iov, .iov_len = 1, .control = &control, .control_len = sizeof(control)
  };
  long n = CSN_RETRY(csn_sys(__NR_recvmsg, sock, &msg, flags));

  *got = 0;
  if (n < 0)
    return (int)n;
  if (msg.control_len >= ONE_FD && control.level == SOL_SOCKET && control.type == SCM_RIGHTS)
    *got = (u32)(control.len - 16) / 4;
  if ((msg.flags & (MSG_TRUNC | MSG_CTRUNC)) || *got > max)
    return -EBADMSG;
  for (u32 i = 0; i < *got; i++)
    fds[i] = control.fd[i];
  return (int)n;
}

int
csn_recv_fd(int sock)
{
  char c;
  int fd, n = csn_recv(sock, &c, 1, &fd, MSG_DONTWAIT);

  return n < 0 ? n : fd < 0 ? -EBADMSG : fd;
}
