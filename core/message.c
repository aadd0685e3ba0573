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
csn_recv_fd(int sock)
{
  char c;
  struct bytes iov = { &c, 1 };
  struct rights rights = { 0 };
  struct message msg = { .iov = &iov, .iov_len = 1, .control = &rights, .control_len = ONE_FD };
  long rc = CSN_RETRY(csn_sys(__NR_recvmsg, sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));

  if (rc < 0)
    return (int)rc;
  return rights.len == ONE_FD && rights.level == SOL_SOCKET && rights.type == SCM_RIGHTS ? rights.fd
                                                                                         : -EBADMSG;
}
