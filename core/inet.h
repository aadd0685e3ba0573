/* SPDX-License-Identifier: MIT
 * Addresses and names of the network as text, strictly: nothing is guessed from a slip. */
#ifndef CSN_INET_H
#define CSN_INET_H

#include "prim.h"
#include <linux/if.h>

#pragma GCC visibility push(hidden)

/* <sys/socket.h> is libc's. */
#ifndef AF_INET
#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#endif

struct csn_inet {
  u8 family, len; /* AF_INET and 4, AF_INET6 and 16 */
  u8 prefix;      /* all of its bits where none was given */
  bool has_prefix;
  u8 bytes[16];
};

/* "10.0.0.2/24", "fd00::2": 0 or -EINVAL. */
int csn_parse_inet(const char *s, struct csn_inet *a);

/* "02:42:0a:00:00:02" */
int csn_parse_mac(const char *s, u8 mac[6]);

/* A name that a device can have, and that no tool reads as anything else: 1 to 15 printable bytes without
 * '/', ':', '%', '*' or space, and neither "." nor "..". */
bool csn_is_link_name(const char *s);

#pragma GCC visibility pop

#endif
