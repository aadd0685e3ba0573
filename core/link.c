/* SPDX-License-Identifier: MIT
 *
 * Network devices (rtnetlink(7), veth(4), ip-link(8)): made by the host for its container, or moved into it;
 * and set up there by the container itself.
 *
 * A device is made right in the namespace that it is for, whose descriptor goes along in the request
 * (IFLA_NET_NS_FD): the host never leaves its own.
 */
#include "link.h"
#include <linux/if_bridge.h>
#include <linux/memfd.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/veth.h>

#ifdef CSN_RUNNER
#define undo_veth NULL
#define undo_move NULL
#else
#define undo_veth csn_link_undo_veth
#define undo_move csn_link_undo_move
#endif

void
csn_link_request(struct csn_request *r, int index, u32 up)
{
  struct ifinfomsg head = { .ifi_index = index, .ifi_flags = up, .ifi_change = up };

  csn_request(r, RTM_NEWLINK, 0, &head, sizeof(head));
}

int
csn_link_delete(int sock, const char *name, struct csn_ctx *c)
{
  struct ifinfomsg head = { 0 };
  struct csn_request r;

  csn_request(&r, RTM_DELLINK, 0, &head, sizeof(head));
  csn_put_string(&r, IFLA_IFNAME, name);
  return csn_netlink_ask(sock, &r, c);
}

static int
put_mac(struct csn_request *r, struct csn_str mac, struct csn_ctx *c)
{
  u8 bytes[6];

  if (!mac.off)
    return 0;
  if (csn_parse_mac(csn_s(c, mac), bytes) < 0)
    return csn_detail(c, -EINVAL,
                      "no hardware address, such as 02:42:0a:00:00:02: ", csn_s(c, mac));
  csn_put(r, IFLA_ADDRESS, bytes, sizeof(bytes));
  return 0;
}

/* Of each step that has them, mtu is field 4, queue field 5. */
static void
put_sizes(struct csn_request *r, u64 present, u64 mtu, u64 queue)
{
  if (present >> 4 & 1)
    csn_put_u32(r, IFLA_MTU, (u32)mtu);
  if (present >> 5 & 1)
    csn_put_u32(r, IFLA_TXQLEN, (u32)queue);
}

/* An error without the kernel's words: then the device that it is about. */
static int
about(struct csn_ctx *c, int err, const char *what, const char *name)
{
  return err < 0 && !c->detail_len ? csn_detail(c, err, what, name) : err;
}

/* ---- veth ---- */

int
csn_host_name(const struct link_veth_args *a, struct csn_ctx *c, char name[IFNAMSIZ])
{
  const char *s = csn_s(c, a->host);
  int n = 0, rc;

  for (; *s && n < IFNAMSIZ; s++) {
    if (*s != '*') {
      name[n++] = *s;
      continue;
    }
    if ((rc = csn_draw_run(c)) < 0)
      return rc;
    for (int shift = 0; shift < 44 && n < IFNAMSIZ; shift += 4)
      name[n++] = "0123456789abcdef"[c->run >> shift & 15];
  }
  name[n < IFNAMSIZ ? n : IFNAMSIZ - 1] = 0;
  return csn_check_link_name("host", n < IFNAMSIZ ? name : "", c); /* too long is none */
}

/* Frames go back out of the port that they came from: the container reaches itself by an address of the
 * host's. Of a port that is there already only. */
static int
set_hairpin(int sock, const char *host, struct csn_ctx *c)
{
  struct csn_request r;
  u32 info, data;
  u8 on = 1;

  csn_link_request(&r, 0, 0);
  csn_put_string(&r, IFLA_IFNAME, host);
  info = csn_nest(&r, IFLA_LINKINFO);
  csn_put_string(&r, IFLA_INFO_SLAVE_KIND, "bridge");
  data = csn_nest(&r, IFLA_INFO_SLAVE_DATA);
  csn_put(&r, IFLA_BRPORT_MODE, &on, 1);
  csn_unnest(&r, data);
  csn_unnest(&r, info);
  return csn_netlink_ask(sock, &r, c);
}

static int
apply_veth(const struct link_veth_args *a, struct csn_ctx *c)
{
  struct ifinfomsg head = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP }, peer_head = { 0 };
  CSN_CLEANUP_FD int sock = -1, netns = -1;
  u32 info, data, peer;
  struct csn_request r;
  char host[IFNAMSIZ];
  int rc, bridge = 0;

  if ((rc = csn_check_link_name("name", csn_s(c, a->name), c)) < 0 ||
      (rc = csn_host_name(a, c, host)) < 0 || (rc = csn_child_netns(c, &netns)) < 0)
    return rc;
  if (a->hairpin && !a->bridge.off)
    return csn_detail(c, -EINVAL, "hairpin is of a bridge's port", NULL);
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if (a->bridge.off && (bridge = csn_link_index(sock, csn_s(c, a->bridge), c)) < 0)
    return bridge;

  csn_request(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
  csn_put_string(&r, IFLA_IFNAME, host);
  put_sizes(&r, a->present, a->mtu, a->queue);
  if (bridge)
    csn_put_u32(&r, IFLA_MASTER, (u32)bridge);
  info = csn_nest(&r, IFLA_LINKINFO);
  csn_put_string(&r, IFLA_INFO_KIND, "veth");
  data = csn_nest(&r, IFLA_INFO_DATA);
  peer = csn_nest(&r, VETH_INFO_PEER);
  csn_put_head(&r, &peer_head, sizeof(peer_head));
  csn_put_string(&r, IFLA_IFNAME, csn_s(c, a->name));
  put_sizes(&r, a->present, a->mtu, a->queue);
  if ((rc = put_mac(&r, a->mac, c)) < 0)
    return rc;
  if (netns >= 0)
    csn_put_u32(&r, IFLA_NET_NS_FD, (u32)netns);
  csn_unnest(&r, peer);
  csn_unnest(&r, data);
  csn_unnest(&r, info);
  rc = csn_netlink_ask(sock, &r, c);
  if (rc == 0 && a->hairpin && (rc = set_hairpin(sock, host, c)) < 0) {
    struct csn_ctx quiet = { .own = 0 };

    csn_link_delete(sock, host, &quiet);
  }
  return about(c, rc, host, rc == -EEXIST ? ": a device has this name, on one of the sides" : NULL);
}

CSN_PRIMITIVE(link_veth, "link.veth", VETH, CSN_PARENT, apply_veth, undo_veth,
              "$name, $host outside[ on $bridge][ $hairpin][ mac $mac][ mtu $mtu][ queue $queue]")

/* ---- macvlan, ipvlan ---- */

/* A device of that kind over the parent, for the child. data: its one or two settings. */
static int
make_over(const char *kind, struct csn_str name, struct csn_str parent, struct csn_str mac,
          u64 present, u64 mtu, const struct csn_request *settings, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int sock = -1, netns = -1;
  struct ifinfomsg head = { 0 };
  struct csn_request r;
  int rc, below;
  u32 info;

  if ((rc = csn_check_link_name("name", csn_s(c, name), c)) < 0 ||
      (rc = csn_child_netns(c, &netns)) < 0)
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if ((below = csn_link_index(sock, csn_s(c, parent), c)) < 0)
    return below;
  csn_request(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
  csn_put_string(&r, IFLA_IFNAME, csn_s(c, name));
  csn_put_u32(&r, IFLA_LINK, (u32)below);
  put_sizes(&r, present, mtu, 0);
  if ((rc = put_mac(&r, mac, c)) < 0)
    return rc;
  if (netns >= 0)
    csn_put_u32(&r, IFLA_NET_NS_FD, (u32)netns);
  info = csn_nest(&r, IFLA_LINKINFO);
  csn_put_string(&r, IFLA_INFO_KIND, kind);
  csn_put(&r, IFLA_INFO_DATA | NLA_F_NESTED, settings->bytes, settings->len);
  csn_unnest(&r, info);
  return about(c, csn_netlink_ask(sock, &r, c), kind, " device");
}

CSN_WORDS(macvlan_modes) = { { "private", MACVLAN_MODE_PRIVATE },
                             { "vepa", MACVLAN_MODE_VEPA },
                             { "bridge", MACVLAN_MODE_BRIDGE },
                             { "passthru", MACVLAN_MODE_PASSTHRU },
                             { NULL, 0 } };

#define MACVLAN(F)                                                                                 \
  F(str, name, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, parent, CSN_REQUIRED, NULL, 0)                                                            \
  F(word, mode, 0, macvlan_modes, MACVLAN_MODE_BRIDGE)                                             \
  F(str, mac, 0, NULL, 0)                                                                          \
  F(u32, mtu, 0, NULL, 0)
CSN_ARGS(link_macvlan, MACVLAN)

static int
apply_macvlan(const struct link_macvlan_args *a, struct csn_ctx *c)
{
  struct csn_request settings = { .len = 0 };

  csn_put_u32(&settings, IFLA_MACVLAN_MODE, (u32)a->mode);
  return make_over("macvlan", a->name, a->parent, a->mac, a->present, a->mtu, &settings, c);
}

CSN_PRIMITIVE(link_macvlan, "link.macvlan", MACVLAN, CSN_PARENT, apply_macvlan, NULL,
              "$name over $parent[ mode $mode][ mac $mac][ mtu $mtu]")

CSN_WORDS(ipvlan_modes) = {
  { "l2", IPVLAN_MODE_L2 }, { "l3", IPVLAN_MODE_L3 }, { "l3s", IPVLAN_MODE_L3S }, { NULL, 0 }
};
CSN_WORDS(ipvlan_isolation) = {
  { "bridge", 0 }, { "private", IPVLAN_F_PRIVATE }, { "vepa", IPVLAN_F_VEPA }, { NULL, 0 }
};

#define IPVLAN(F)                                                                                  \
  F(str, name, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, parent, CSN_REQUIRED, NULL, 0)                                                            \
  F(word, mode, 0, ipvlan_modes, IPVLAN_MODE_L2)                                                   \
  F(word, isolation, 0, ipvlan_isolation, 0)                                                       \
  F(u32, mtu, 0, NULL, 0)
CSN_ARGS(link_ipvlan, IPVLAN)

static int
apply_ipvlan(const struct link_ipvlan_args *a, struct csn_ctx *c)
{
  u16 mode = (u16)a->mode, isolation = (u16)a->isolation;
  struct csn_request settings = { .len = 0 };

  csn_put(&settings, IFLA_IPVLAN_MODE, &mode, sizeof(mode));
  csn_put(&settings, IFLA_IPVLAN_FLAGS, &isolation, sizeof(isolation));
  return make_over("ipvlan", a->name, a->parent, (struct csn_str){ 0, 0 }, a->present, a->mtu,
                   &settings, c);
}

CSN_PRIMITIVE(link_ipvlan, "link.ipvlan", IPVLAN, CSN_PARENT, apply_ipvlan, NULL,
              "$name over $parent[ mode $mode][ $isolation][ mtu $mtu]")

/* ---- move ---- */

static int
flags_of(int sock, const char *name)
{
  struct ifreq ifr = { 0 };
  long rc;

  csn_append(ifr.ifr_name, sizeof(ifr.ifr_name), 0, name);
  rc = csn_sys(__NR_ioctl, sock, SIOCGIFFLAGS, &ifr);
  return rc < 0 ? (int)rc : (u16)ifr.ifr_flags;
}

/* What undo() will need goes into the slots: the namespace, which then outlives its processes, and what the
 * device was like. */
static int
remember(const struct link_move_args *a, struct csn_ctx *c, int sock, int netns, int index,
         int flags)
{
  struct csn_moved moved = { .there = index, .index = index, .up = flags & IFF_UP };
  CSN_CLEANUP_FD int fd = -1;
  long n;
  int rc;

  fd = (int)csn_sys(__NR_memfd_create, "moved", MFD_CLOEXEC);
  if (fd < 0)
    return fd;
#ifndef CSN_RUNNER
  if ((rc = csn_link_identify(sock, index, &moved.is, c)) < 0)
    return rc;
#else
  (void)sock;
#endif
  n = csn_sys(__NR_write, fd, &moved, sizeof(moved));
  if (n != sizeof(moved))
    return n < 0 ? (int)n : -EIO;
  if (c->slots[a->netns] < 0 && (rc = csn_fill(c, a->netns, csn_dup(netns, 3))) < 0)
    return rc;
  return csn_fill(c, a->moved, csn_steal_fd(&fd));
}

int
csn_link_move(int sock, int index, int netns, const char *name, int number, bool *another,
              struct csn_ctx *c)
{
  struct csn_request r;
  int rc;

  *another = false;
  for (;;) {
    csn_link_request(&r, index, 0);
    csn_put_u32(&r, IFLA_NET_NS_FD, (u32)netns);
    csn_put_string(&r, IFLA_IFNAME, name);
    if (!*another && number)
      csn_put_u32(&r, IFLA_NEW_IFINDEX, (u32)number);
    rc = csn_netlink_ask(sock, &r, c);
    if (rc != -EBUSY || *another)
      return rc;
    c->detail_len = 0;
    *another = true;
  }
}

static int
apply_move(const struct link_move_args *a, struct csn_ctx *c)
{
  const char *device = csn_s(c, a->device), *name = a->name.off ? csn_s(c, a->name) : device;
  CSN_CLEANUP_FD int sock = -1, netns = -1;
  const s32 none = 0;
  int rc, index, flags;
  bool another;

  if (!c->pid)
    return csn_detail(c, -EINVAL, "a device is moved by the host, once the child is there", NULL);
  if ((rc = csn_check_link_name("device", device, c)) < 0 ||
      (rc = csn_check_link_name("name", name, c)) < 0 || (rc = csn_child_netns(c, &netns)) < 0)
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if ((index = csn_link_index(sock, device, c)) < 0)
    return index;
  if ((flags = flags_of(sock, device)) < 0)
    return flags;
  if ((rc = remember(a, c, sock, netns, index, flags)) < 0)
    return csn_detail(c, rc, "descriptors to move it back by", NULL);
  /* With the same number there it will be known again, whatever it is called by then. */
  rc = csn_link_move(sock, index, netns, name, index, &another, c);
  if (rc == 0 && another && (rc = (int)csn_sys(__NR_pwrite64, c->slots[a->moved], &none, 4, 0)) > 0)
    rc = 0;
  about(c, rc, name, rc == -EEXIST ? ": the container has a device of this name" : NULL);
#ifndef CSN_RUNNER
  /* The kernel may have moved it, and then not renamed it. */
  if (rc < 0) {
    struct csn_ctx quiet = *c;

    if (csn_link_index(sock, device, &quiet) < 0)
      csn_link_bring_back(a, &quiet, device);
  }
#endif
  return rc;
}

CSN_PRIMITIVE(link_move, "link.move", MOVE, CSN_PARENT, apply_move, undo_move,
              "$device into the container[ as $name][, $addresses to be given back]")

/* ---- set, add: in the container itself ---- */

#define SET(F)                                                                                     \
  F(str, name, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, rename, 0, NULL, 0)                                                                       \
  F(bool, up, 0, NULL, 0)                                                                          \
  F(str, mac, 0, NULL, 0)                                                                          \
  F(u32, mtu, 0, NULL, 0)                                                                          \
  F(u32, queue, 0, NULL, 0)                                                                        \
  F(str, bridge, 0, NULL, 0)
CSN_ARGS(link_set, SET)

static int
apply_set(const struct link_set_args *a, struct csn_ctx *c)
{
  const char *name = csn_s(c, a->name);
  struct ifinfomsg head = { 0 };
  CSN_CLEANUP_FD int sock = -1;
  struct csn_request r;
  int rc, bridge = 0;

  if ((rc = csn_own_network(c)) < 0)
    return rc;
  if (a->rename.off && (rc = csn_check_link_name("rename", csn_s(c, a->rename), c)) < 0)
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  if ((head.ifi_index = csn_link_index(sock, name, c)) < 0)
    return head.ifi_index;
  if (a->bridge.off && (bridge = csn_link_index(sock, csn_s(c, a->bridge), c)) < 0)
    return bridge;
  if (a->present >> 2 & 1) {
    head.ifi_flags = a->up ? IFF_UP : 0;
    head.ifi_change = IFF_UP;
  }
  csn_request(&r, RTM_NEWLINK, 0, &head, sizeof(head));
  if (a->rename.off)
    csn_put_string(&r, IFLA_IFNAME, csn_s(c, a->rename));
  if (bridge)
    csn_put_u32(&r, IFLA_MASTER, (u32)bridge);
  put_sizes(&r, a->present, a->mtu, a->queue);
  if ((rc = put_mac(&r, a->mac, c)) < 0)
    return rc;
  rc = csn_netlink_ask(sock, &r, c);
  return about(c, rc, a->rename.off ? csn_s(c, a->rename) : name,
               rc == -EEXIST ? ": a device has this name" : NULL);
}

CSN_PRIMITIVE(link_set, "link.set", SET, CSN_CHILD, apply_set, NULL,
              "$name[ -> $rename][ $up][ mac $mac][ mtu $mtu][ queue $queue][ on $bridge]")

/* A device that needs no other. */
CSN_WORDS(kinds) = { { "bridge", 1 }, { "dummy", 2 }, { NULL, 0 } };

#define ADD(F) F(str, name, CSN_REQUIRED, NULL, 0) F(word, kind, CSN_REQUIRED, kinds, 0)
CSN_ARGS(link_add, ADD)

static int
apply_add(const struct link_add_args *a, struct csn_ctx *c)
{
  struct ifinfomsg head = { 0 };
  CSN_CLEANUP_FD int sock = -1;
  struct csn_request r;
  u32 info;
  int rc;

  if ((rc = csn_own_network(c)) < 0 || (rc = csn_check_link_name("name", csn_s(c, a->name), c)) < 0)
    return rc;
  if ((sock = csn_netlink_open(c)) < 0)
    return sock;
  csn_request(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
  csn_put_string(&r, IFLA_IFNAME, csn_s(c, a->name));
  info = csn_nest(&r, IFLA_LINKINFO);
  csn_put_string(&r, IFLA_INFO_KIND, a->kind == 1 ? "bridge" : "dummy");
  csn_unnest(&r, info);
  rc = csn_netlink_ask(sock, &r, c);
  return about(c, rc, csn_s(c, a->name), rc == -EEXIST ? ": a device has this name" : NULL);
}

CSN_PRIMITIVE(link_add, "link.add", ADD, CSN_CHILD, apply_add, NULL, "$name, a $kind")
