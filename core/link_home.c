/* SPDX-License-Identifier: MIT
 *
 * Devices that were moved into a container which outlives its creator: its network namespace is held by a mount in
 * the container's folder, and whoever deletes the container gives them back.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "link.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 64 /* addresses of a device */

enum { NETNS = CSN_SLOT_FIRST_FREE, MOVED };

/* core.link.hold(pid, path) -> true | nil, message, errno: the namespace of that process lives on as the file, which
 * is there, until release(). Root of the machine's alone. */
static int
l_hold(lua_State *L)
{
  const char *path = luaL_checkstring(L, 2);
  char from[64];

  snprintf(from, sizeof(from), "/proc/%d/ns/net", (int)luaL_checkinteger(L, 1));
  if (mount(from, path, NULL, MS_BIND, NULL) < 0)
    return csn_pusherr(L, errno, "the network namespace as %s", path);
  return csn_pushok(L);
}

/* core.link.release(path) -> true | nil, message, errno */
static int
l_release(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);

  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
    return csn_pusherr(L, errno, "%s", path);
  return csn_pushok(L);
}

/* The strings of a step, where a step has them: behind its base. */
struct strings {
  struct csn_str addresses[MOST];
  u32 used;
  char text[8192];
};

static struct csn_str
keep(lua_State *L, struct strings *s, const char *text)
{
  struct csn_str str = { .off = (u32)(offsetof(struct strings, text) + s->used),
                         .len = (u32)strlen(text) };

  if (s->used + str.len + 1 > sizeof(s->text))
    luaL_error(L, "give_back: too much");
  memcpy(s->text + s->used, text, str.len + 1);
  s->used += str.len + 1;
  return str;
}

/* What undo() of link.move reads: all that was remembered, or, without, what any device could have been. */
static int
make_moved(lua_State *L, int idx)
{
  struct csn_moved moved = { .up = 0 };
  size_t n = 0;
  int fd;

  if (csn_field(L, idx, "moved")) {
    const char *hex = luaL_checklstring(L, -1, &n);
    u8 *to = (u8 *)&moved;

    if (n != 2 * sizeof(moved) || strspn(hex, "0123456789abcdef") != n)
      return -EBADMSG;
    for (size_t i = 0; i < sizeof(moved); i++)
      sscanf(hex + 2 * i, "%2hhx", &to[i]);
    lua_pop(L, 1);
  }
  fd = memfd_create("moved", MFD_CLOEXEC);
  if (fd >= 0 && write(fd, &moved, sizeof(moved)) != (ssize_t)sizeof(moved)) {
    close(fd);
    return -EIO;
  }
  return fd < 0 ? -errno : fd;
}

/* core.link.give_back { netns =, device =, name =, moved =, addresses = } -> true | nil, message, errno */
static int
l_give_back(lua_State *L)
{
  static const char *const keys[] = { "netns", "device", "name", "moved", "addresses", NULL };
  struct link_move_args a = { .netns = NETNS, .moved = MOVED };
  struct csn_ctx c = { .pid = 0 };
  struct strings *s;
  const char *device, *name;
  int rc;

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  s = lua_newuserdata(L, sizeof(*s));
  memset(s, 0, sizeof(*s));
  for (int i = 0; i < CSN_SLOTS; i++)
    c.slots[i] = -1;
  c.base = (const u8 *)s;
  device = csn_opt_str(L, 1, "device", NULL);
  if (!device)
    return luaL_error(L, "option 'device' is required");
  name = csn_opt_str(L, 1, "name", device);
  a.device = keep(L, s, device);
  if (csn_field(L, 1, "addresses")) {
    luaL_checktype(L, -1, LUA_TTABLE);
    a.addresses.off = offsetof(struct strings, addresses);
    a.addresses.count = (u32)lua_rawlen(L, -1);
    if (a.addresses.count > MOST)
      return luaL_error(L, "option 'addresses': %d at most", MOST);
    for (u32 i = 0; i < a.addresses.count; i++) {
      lua_rawgeti(L, -1, (int)i + 1);
      s->addresses[i] = keep(L, s, luaL_checkstring(L, -1));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  c.slots[NETNS] = csn_opt_fd(L, 1, "netns");
  if (c.slots[NETNS] < 0)
    return luaL_error(L, "option 'netns' is required");
  rc = c.slots[MOVED] = make_moved(L, 1);
  if (rc >= 0) {
    rc = csn_link_bring_back(&a, &c, name);
    close(c.slots[MOVED]);
  }
  return rc < 0 ? csn_pusherr(L, -rc, "%s back from the container%s%s", device,
                              c.detail_len ? ": " : "", c.detail_len ? c.detail : "")
                : csn_pushok(L);
}

static void
open_home(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "hold", l_hold }, { "release", l_release }, { "give_back", l_give_back }, { NULL, NULL }
  };

  csn_register(L, "link", functions);
}

CSN_OPEN(open_home)
