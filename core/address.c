/* SPDX-License-Identifier: MIT
 * Addresses and routes in the container's network (rtnetlink(7), ip-address(8), ip-route(8)). */
#include "link.h"
#include <linux/if_addr.h>

/* ---- address.add ---- */

static int
no_address(struct csn_ctx *c, const char *s)
{
  return csn_detail(c, -EINVAL, "no address: ", s);
}

int
csn_address_add(int sock, int index, const char *address, struct csn_ctx *c)
{
  struct ifaddrmsg head = { .ifa_index = (u32)index };
  struct csn_request r;
  struct csn_inet a;

  if (csn_parse_inet(address, &a) < 0)
    return no_address(c, address);
  if (!a.has_prefix)
    return csn_detail(
        c, -EINVAL, "the length of the network's prefix is missing, as in 10.0.0.2/24: ", address);
  head.ifa_family = a.family;
  head.ifa_prefixlen = a.prefix;
  csn_request(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
  csn_put(&r, IFA_LOCAL, a.bytes, a.len);
  csn_put(&r, IFA_ADDRESS, a.bytes, a.len);
  if (a.family == AF_INET && a.prefix < 31) {
    u8 broadcast[4];

    for (int i = 0; i < 4; i++) {
      int bits = a.prefix - 8 * i; /* of this byte, that are the network's */

      broadcast[i] = (u8)(a.bytes[i] | (bits >= 8 ? 0 : 0xff >> (bits > 0 ? bits : 0)));
    }
    csn_put(&r, IFA_BROADCAST, broadcast, sizeof(broadcast));
  }
  /* Usable at once: the program would start while the kernel still asks around whether it is taken. */
  if (a.family == AF_INET6)
    csn_put_u32(&r, IFA_FLAGS, IFA_F_NODAD);
  return csn_netlink_ask(sock, &r, c);
}

#define ADDRESS(F) F(str, address, CSN_REQUIRED, NULL, 0) F(str, dev, CSN_REQUIRED, NULL, 0)
CSN_ARGS(address_add, ADDRESS)

static int
apply_address(const struct address_add_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int sock = -1;
  int rc = csn_own_network(c);

  if (rc < 0)
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if ((rc = csn_link_index(sock, csn_s(c, a->dev), c)) < 0)
    return rc;
  return csn_address_add(sock, rc, csn_s(c, a->address), c);
}

CSN_PRIMITIVE(address_add, "address.add", ADDRESS, CSN_CHILD, apply_address, NULL,
              "$address on $dev")

/* ---- route.add ---- */

#define ROUTE(F)                                                                                   \
  F(str, to, CSN_REQUIRED, NULL, 0)                                                                \
  F(str, via, 0, NULL, 0)                                                                          \
  F(str, dev, 0, NULL, 0)                                                                          \
  F(u32, metric, 0, NULL, 0)                                                                       \
  F(str, source, 0, NULL, 0)                                                                       \
  F(bool, onlink, 0, NULL, 0)
CSN_ARGS(route_add, ROUTE)

/* An address alone, of the family that the others are of; family 0: the first. */
static int
parse_one(struct csn_str field, struct csn_inet *a, u8 *family, bool network, struct csn_ctx *c)
{
  const char *s = csn_s(c, field);

  if (csn_parse_inet(s, a) < 0)
    return no_address(c, s);
  if (a->has_prefix && !network)
    return csn_detail(c, -EINVAL, "one address is meant, not a network: ", s);
  if (*family && *family != a->family)
    return csn_detail(c, -EINVAL, "IPv4 and IPv6 in one route: ", s);
  *family = a->family;
  return 0;
}

static int
apply_route(const struct route_add_args *a, struct csn_ctx *c)
{
  struct rtmsg head = { .rtm_table = RT_TABLE_MAIN,
                        .rtm_protocol = RTPROT_STATIC,
                        .rtm_scope = a->via.off ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                        .rtm_type = RTN_UNICAST,
                        .rtm_flags = a->onlink ? RTNH_F_ONLINK : 0 };
  bool all = csn_streq(csn_s(c, a->to), "default");
  struct csn_inet to = { 0 }, via, source;
  CSN_CLEANUP_FD int sock = -1;
  struct csn_request r;
  int rc, dev = 0;
  u8 family = 0;

  if ((rc = csn_own_network(c)) < 0)
    return rc;
  if (!a->via.off && !a->dev.off)
    return csn_detail(c, -EINVAL, "where to? a route has a gateway (via), a device (dev) or both",
                      NULL);
  if ((!all && (rc = parse_one(a->to, &to, &family, true, c)) < 0) ||
      (a->via.off && (rc = parse_one(a->via, &via, &family, false, c)) < 0) ||
      (a->source.off && (rc = parse_one(a->source, &source, &family, false, c)) < 0))
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if (a->dev.off && (dev = csn_link_index(sock, csn_s(c, a->dev), c)) < 0)
    return dev;
  head.rtm_family = family ? family : AF_INET;
  head.rtm_dst_len = to.prefix;
  if (head.rtm_family == AF_INET6)
    head.rtm_scope = RT_SCOPE_UNIVERSE;
  csn_request(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
  if (!all)
    csn_put(&r, RTA_DST, to.bytes, to.len);
  if (a->via.off)
    csn_put(&r, RTA_GATEWAY, via.bytes, via.len);
  if (dev)
    csn_put_u32(&r, RTA_OIF, (u32)dev);
  if (a->metric)
    csn_put_u32(&r, RTA_PRIORITY, (u32)a->metric);
  if (a->source.off)
    csn_put(&r, RTA_PREFSRC, source.bytes, source.len);
  return csn_netlink_ask(sock, &r, c);
}

CSN_PRIMITIVE(route_add, "route.add", ROUTE, CSN_CHILD, apply_route, NULL,
              "$to[ via $via][ dev $dev][ metric $metric][ src $source][ $onlink]")
