/* SPDX-License-Identifier: MIT
 * The network namespace: bringing its loopback device up (netdevice(7)). */
#include "prim.h"
#include <linux/if.h>
#include <linux/sockios.h>

#define LOOPBACK(F)
CSN_ARGS(net_loopback, LOOPBACK)

#define SOCKET_UNIX                                                                                \
  1 /* <sys/socket.h> is libc's; any socket will do, and a kernel without IPv4 has this */
#define SOCKET_DGRAM 2

static int
apply_loopback(const struct net_loopback_args *a, struct csn_ctx *c)
{
  struct ifreq ifr = { .ifr_name = "lo" };
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_socket, SOCKET_UNIX, SOCKET_DGRAM | O_CLOEXEC, 0);
  long rc;

  (void)a;
  if (fd < 0)
    return csn_detail(c, fd, "socket", NULL);
  rc = csn_sys(__NR_ioctl, fd, SIOCGIFFLAGS, &ifr);
  if (rc == 0 && !(ifr.ifr_flags & 1)) { /* IFF_UP; the kernel then gives it 127.0.0.1 and ::1 */
    ifr.ifr_flags |= 1;
    rc = csn_sys(__NR_ioctl, fd, SIOCSIFFLAGS, &ifr);
  }
  return (int)rc;
}

CSN_PRIMITIVE(net_loopback, "net.loopback", LOOPBACK, CSN_CHILD, apply_loopback, NULL, "")
