/* SPDX-License-Identifier: MIT
 *
 * Queries of rtnetlink(7): devices, addresses and routes of this process's network namespace, and the decoding
 * of what the kernel answers.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "netlink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define BUFFER 32768 /* the kernel fills no more of it */

static void
set_number(lua_State *L, const char *key, u64 v)
{
  csn_push_u64(L, v);
  lua_setfield(L, -2, key);
}

static void
set_bool(lua_State *L, const char *key, bool v)
{
  lua_pushboolean(L, v);
  lua_setfield(L, -2, key);
}

/* A number of 4 bytes; without effect where the attribute is none. */
static void
set_u32(lua_State *L, const char *key, const void *data, size_t n)
{
  u32 v;

  if (n != sizeof(v))
    return;
  memcpy(&v, data, sizeof(v));
  set_number(L, key, v);
}

static void
set_string(lua_State *L, const char *key, const char *data, size_t n)
{
  lua_pushlstring(L, data, strnlen(data, n));
  lua_setfield(L, -2, key);
}

/* "10.0.0.2" or, with a prefix from 0 on, "10.0.0.0/24". */
static void
set_inet(lua_State *L, const char *key, int family, const void *data, size_t n, int prefix)
{
  char text[INET6_ADDRSTRLEN];

  if (n != (family == AF_INET ? 4u : 16u) || !inet_ntop(family, data, text, sizeof(text)))
    return;
  if (prefix < 0)
    lua_pushstring(L, text);
  else
    lua_pushfstring(L, "%s/%d", text, prefix);
  lua_setfield(L, -2, key);
}

static void
set_mac(lua_State *L, const char *key, const u8 *m, size_t n)
{
  char text[3 * 6];

  if (n != 6)
    return;
  for (int i = 0; i < 6; i++) {
    text[3 * i] = "0123456789abcdef"[m[i] >> 4];
    text[3 * i + 1] = "0123456789abcdef"[m[i] & 15];
    text[3 * i + 2] = ':';
  }
  lua_pushlstring(L, text, sizeof(text) - 1);
  lua_setfield(L, -2, key);
}

static const char *
family_name(int family)
{
  return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : "other";
}

/* The attributes behind a head of `head` bytes, one by one, to fn; false where they are malformed. */
static bool
each_attribute(lua_State *L, const struct nlmsghdr *h, size_t head,
               void (*fn)(lua_State *L, const void *head, const struct rtattr *a))
{
  const u8 *body = (const u8 *)h + NLMSG_HDRLEN;
  size_t n = h->nlmsg_len - NLMSG_HDRLEN, at = NLMSG_ALIGN(head);
  const struct rtattr *a;

  if (n < head)
    return false;
  at = at < n ? at : n;
  while ((a = csn_attribute(body, n, &at)))
    fn(L, body, a);
  return at == n;
}

/* ---- one kind of message each ---- */

/* Of a bridge's port. */
static void
port_info(lua_State *L, const u8 *p, size_t n)
{
  const struct rtattr *a;
  size_t at = 0, len;

  while ((a = csn_attribute(p, n, &at))) {
    const u8 *data = csn_attribute_data(a, &len);

    if ((a->rta_type & NLA_TYPE_MASK) == IFLA_BRPORT_MODE && len == 1)
      set_bool(L, "hairpin", data[0]);
  }
}

static void
link_info(lua_State *L, const u8 *p, size_t n)
{
  const struct rtattr *a;
  size_t at = 0, len;

  while ((a = csn_attribute(p, n, &at))) {
    const void *data = csn_attribute_data(a, &len);

    if ((a->rta_type & NLA_TYPE_MASK) == IFLA_INFO_KIND)
      set_string(L, "kind", data, len);
    if ((a->rta_type & NLA_TYPE_MASK) == IFLA_INFO_SLAVE_DATA)
      port_info(L, data, len);
  }
}

static void
link_attribute(lua_State *L, const void *head, const struct rtattr *a)
{
  size_t n;
  const void *data = csn_attribute_data(a, &n);

  (void)head;
  switch (a->rta_type & NLA_TYPE_MASK) {
  case IFLA_IFNAME:
    set_string(L, "name", data, n);
    break;
  case IFLA_MTU:
    set_u32(L, "mtu", data, n);
    break;
  case IFLA_TXQLEN:
    set_u32(L, "queue", data, n);
    break;
  case IFLA_LINK:
    set_u32(L, "parent", data, n);
    break;
  case IFLA_MASTER:
    set_u32(L, "bridge", data, n);
    break;
  case IFLA_ADDRESS:
    set_mac(L, "mac", data, n);
    break;
  case IFLA_LINKINFO:
    link_info(L, data, n);
    break;
  }
}

static bool
push_link(lua_State *L, const struct nlmsghdr *h)
{
  const struct ifinfomsg *i = NLMSG_DATA(h);

  if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
    return false;
  set_number(L, "index", (u32)i->ifi_index);
  set_bool(L, "up", i->ifi_flags & IFF_UP);
  return each_attribute(L, h, sizeof(*i), link_attribute);
}

static void
address_attribute(lua_State *L, const void *head, const struct rtattr *a)
{
  const struct ifaddrmsg *i = head;
  size_t n;
  const void *data = csn_attribute_data(a, &n);
  u32 flags;

  switch (a->rta_type & NLA_TYPE_MASK) {
  case IFA_ADDRESS: /* of a point-to-point device the other side's; IFA_LOCAL then comes after it */
  case IFA_LOCAL:
    set_inet(L, "address", i->ifa_family, data, n, i->ifa_prefixlen);
    break;
  case IFA_BROADCAST:
    set_inet(L, "broadcast", i->ifa_family, data, n, -1);
    break;
  case IFA_FLAGS:
    if (n == sizeof(flags)) {
      memcpy(&flags, data, sizeof(flags));
      set_bool(L, "permanent", flags & IFA_F_PERMANENT);
      set_bool(L, "tentative", flags & IFA_F_TENTATIVE);
    }
    break;
  }
}

static bool
push_address(lua_State *L, const struct nlmsghdr *h)
{
  const struct ifaddrmsg *i = NLMSG_DATA(h);

  if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
    return false;
  set_number(L, "index", i->ifa_index);
  lua_pushstring(L, family_name(i->ifa_family));
  lua_setfield(L, -2, "family");
  set_bool(L, "global", i->ifa_scope == RT_SCOPE_UNIVERSE);
  set_bool(L, "permanent", i->ifa_flags & IFA_F_PERMANENT);
  return each_attribute(L, h, sizeof(*i), address_attribute);
}

static void
route_attribute(lua_State *L, const void *head, const struct rtattr *a)
{
  const struct rtmsg *i = head;
  size_t n;
  const void *data = csn_attribute_data(a, &n);

  switch (a->rta_type & NLA_TYPE_MASK) {
  case RTA_DST:
    set_inet(L, "to", i->rtm_family, data, n, i->rtm_dst_len);
    break;
  case RTA_GATEWAY:
    set_inet(L, "via", i->rtm_family, data, n, -1);
    break;
  case RTA_PREFSRC:
    set_inet(L, "source", i->rtm_family, data, n, -1);
    break;
  case RTA_OIF:
    set_u32(L, "index", data, n);
    break;
  case RTA_PRIORITY:
    set_u32(L, "metric", data, n);
    break;
  case RTA_TABLE:
    set_u32(L, "table", data, n);
    break;
  }
}

static bool
push_route(lua_State *L, const struct nlmsghdr *h)
{
  const struct rtmsg *i = NLMSG_DATA(h);

  if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
    return false;
  lua_pushstring(L, family_name(i->rtm_family));
  lua_setfield(L, -2, "family");
  lua_pushliteral(L, "default");
  lua_setfield(L, -2, "to");
  set_number(L, "table", i->rtm_table);
  set_bool(L, "unicast", i->rtm_type == RTN_UNICAST);
  return each_attribute(L, h, sizeof(*i), route_attribute);
}

static bool
push_error(lua_State *L, const struct nlmsghdr *h)
{
  char text[256];
  int err;

  /* the kernel's are from -4095 to 0 */
  if (csn_message_error(h, &err, text, sizeof(text)) < 0 || err > 0 || err < -4095)
    return false;
  set_number(L, "errno", (u32)-err);
  lua_pushstring(L, text);
  lua_setfield(L, -2, "message");
  return true;
}

static const struct {
  u16 type;
  const char *name;
  bool (*push)(lua_State *L, const struct nlmsghdr *h);
} kinds[] = {
  { RTM_NEWLINK, "link", push_link },    { RTM_NEWADDR, "address", push_address },
  { RTM_NEWROUTE, "route", push_route }, { NLMSG_ERROR, "error", push_error },
  { NLMSG_DONE, "done", NULL },
};

/* The messages of a datagram, appended to the list on top; false where one is malformed. */
static bool
decode(lua_State *L, const u8 *buf, size_t n)
{
  const struct nlmsghdr *h;
  size_t at = 0;

  luaL_checkstack(L, 8, "netlink");
  while ((h = csn_message(buf, n, &at))) {
    bool well = true;

    lua_createtable(L, 0, 8);
    lua_pushliteral(L, "other");
    lua_setfield(L, -2, "type");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
      if (kinds[i].type == h->nlmsg_type) {
        lua_pushstring(L, kinds[i].name);
        lua_setfield(L, -2, "type");
        well = !kinds[i].push || kinds[i].push(L, h);
      }
    if (h->nlmsg_flags & NLM_F_DUMP_INTR)
      set_bool(L, "interrupted", true);
    if (!well) {
      lua_pop(L, 1);
      return false;
    }
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  }
  return at == n;
}

/* core.netlink.decode(bytes) -> { { type =, ... }, ... } | nil, message, errno */
static int
l_decode(lua_State *L)
{
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  u8 *copy; /* aligned as the kernel's buffers are */

  if (n > 16u * 1024 * 1024)
    return csn_pusherr(L, EMSGSIZE, "netlink: %d bytes", (int)n);
  copy = lua_newuserdata(L, n + 1);
  memcpy(copy, s, n);
  lua_newtable(L);
  return decode(L, copy, n) ? 1 : csn_pusherr(L, EBADMSG, "netlink: malformed");
}

/* ---- dumps ---- */

static int
ask(int sock, u16 type)
{
  struct rtgenmsg head = { .rtgen_family = AF_UNSPEC };
  struct csn_request r;

  csn_request(&r, type, NLM_F_DUMP, &head, sizeof(head));
  ((struct nlmsghdr *)r.bytes)->nlmsg_flags &= ~NLM_F_ACK & 0xffff;
  ((struct nlmsghdr *)r.bytes)->nlmsg_len = r.len;
  return send(sock, r.bytes, r.len, 0) < 0 ? -errno : 0;
}

/* Take what ends a dump off the list on top: 1 where it was there, -errno where it failed, -EAGAIN where it
 * changed meanwhile. */
static int
ended(lua_State *L)
{
  int n = (int)lua_rawlen(L, -1), rc = 0;
  const char *type;

  if (!n)
    return 0;
  lua_rawgeti(L, -1, n);
  lua_getfield(L, -1, "type");
  type = lua_tostring(L, -1);
  if (strcmp(type, "done") == 0) {
    rc = 1;
  } else if (strcmp(type, "error") == 0) {
    lua_getfield(L, -2, "errno");
    rc = -(int)lua_tointeger(L, -1);
    rc = rc ? rc : 1;
    lua_pop(L, 1);
  }
  lua_getfield(L, -2, "interrupted");
  if (rc == 1 && lua_toboolean(L, -1))
    rc = -EAGAIN;
  lua_pop(L, 3);
  if (rc) {
    lua_pushnil(L);
    lua_rawseti(L, -2, n);
  }
  return rc;
}

static int
dump_once(lua_State *L, u16 type, void *buf)
{
  struct csn_ctx none = { .own = 0 };
  int *sock = csn_newfd(L), rc;

  *sock = csn_netlink_open(&none);
  rc = *sock < 0 ? *sock : ask(*sock, type);
  lua_newtable(L);
  while (rc == 0) {
    long n = csn_netlink_receive(*sock, buf, BUFFER);

    if (n < 0)
      rc = (int)n;
    else if (!decode(L, buf, (size_t)n))
      rc = -EBADMSG;
    else
      rc = ended(L);
  }
  csn_close(*sock);
  *sock = -1;
  lua_remove(L, -2);
  return rc;
}

/* Push the list of what there is of this type; the number of results. */
static int
dump(lua_State *L, u16 type, const char *what)
{
  void *buf = lua_newuserdata(L, BUFFER);
  int rc = -EAGAIN;

  for (int tries = 0; rc == -EAGAIN && tries < 5; tries++) {
    rc = dump_once(L, type, buf);
    if (rc == -EAGAIN)
      lua_pop(L, 1);
  }
  return rc == 1 ? 1 : csn_pusherr(L, -rc, "%s", what);
}

/* Each of the list's items gets, as `as`, the name of the device whose number its field holds. */
static void
name_devices(lua_State *L, int list, int links, const char *field, const char *as)
{
  lua_newtable(L);
  for (int i = 1; i <= (int)lua_rawlen(L, links); i++) {
    lua_rawgeti(L, links, i);
    lua_getfield(L, -1, "index");
    lua_getfield(L, -2, "name");
    lua_rawset(L, -4);
    lua_pop(L, 1);
  }
  for (int i = 1; i <= (int)lua_rawlen(L, list); i++) {
    lua_rawgeti(L, list, i);
    lua_getfield(L, -1, field);
    if (!lua_isnil(L, -1)) {
      lua_rawget(L, -3);
      lua_setfield(L, -2, as);
    } else {
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* core.link.list() -> { { name, index, up, mtu, mac, kind, bridge, parent }, ... } | nil, message, errno */
static int
l_links(lua_State *L)
{
  int n, list;

  lua_settop(L, 0);
  n = dump(L, RTM_GETLINK, "link.list");
  if (n != 1)
    return n;
  list = lua_gettop(L);
  name_devices(L, list, list, "bridge", "bridge");
  return 1;
}

static int
list_with_names(lua_State *L, u16 type, const char *what)
{
  int n;

  lua_settop(L, 0);
  n = dump(L, RTM_GETLINK, what);
  if (n != 1)
    return n;
  lua_replace(L, 1);
  lua_settop(L, 1);
  n = dump(L, type, what);
  if (n != 1)
    return n;
  name_devices(L, lua_gettop(L), 1, "index", "dev");
  return 1;
}

/* core.address.list() -> { { address = "10.0.0.2/24", dev, family, global, permanent }, ... } */
static int
l_addresses(lua_State *L)
{
  return list_with_names(L, RTM_GETADDR, "address.list");
}

/* core.route.list() -> { { to = "default", via, dev, metric, source, family, table }, ... } */
static int
l_routes(lua_State *L)
{
  return list_with_names(L, RTM_GETROUTE, "route.list");
}

/* ---- text ---- */

/* core.address.parse("10.0.0.2/24") -> { family = "inet", prefix = 24 }, prefix only where given | nil */
static int
l_parse(lua_State *L)
{
  struct csn_inet a;
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);

  if (strlen(s) != n || csn_parse_inet(s, &a) < 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 3);
  lua_pushstring(L, family_name(a.family));
  lua_setfield(L, -2, "family");
  set_inet(L, "address", a.family, a.bytes, a.len, -1);
  if (a.has_prefix)
    set_number(L, "prefix", a.prefix);
  return 1;
}

/* core.link.is_name("eth0") -> can a device be called so? */
static int
l_is_name(lua_State *L)
{
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);

  lua_pushboolean(L, strlen(s) == n && csn_is_link_name(s));
  return 1;
}

/* core.link.is_mac("02:42:0a:00:00:02") */
static int
l_is_mac(lua_State *L)
{
  u8 mac[6];
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);

  lua_pushboolean(L, strlen(s) == n && csn_parse_mac(s, mac) == 0);
  return 1;
}

static void
open_link(lua_State *L)
{
  static const luaL_Reg link[] = {
    { "list", l_links }, { "is_name", l_is_name }, { "is_mac", l_is_mac }, { NULL, NULL }
  };
  static const luaL_Reg address[] = { { "list", l_addresses },
                                      { "parse", l_parse },
                                      { NULL, NULL } };
  static const luaL_Reg route[] = { { "list", l_routes }, { NULL, NULL } };
  static const luaL_Reg netlink[] = { { "decode", l_decode }, { NULL, NULL } };

  csn_register(L, "link", link);
  csn_register(L, "address", address);
  csn_register(L, "route", route);
  csn_register(L, "netlink", netlink);
}

CSN_OPEN(open_link)
