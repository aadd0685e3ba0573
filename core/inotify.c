/* SPDX-License-Identifier: MIT
 * What happens to files (inotify(7)): for who does something again when they change. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define INOTIFY_TYPE "caisson.inotify"

CSN_WORDS(asked_words) = { { "close_write", IN_CLOSE_WRITE }, { "modify", IN_MODIFY },
                           { "attrib", IN_ATTRIB },           { "create", IN_CREATE },
                           { "delete", IN_DELETE },           { "moved_from", IN_MOVED_FROM },
                           { "moved_to", IN_MOVED_TO },       { "delete_self", IN_DELETE_SELF },
                           { "move_self", IN_MOVE_SELF },     { NULL, 0 } };

/* Those that the kernel tells unasked. */
CSN_WORDS(told_words) = { { "directory", IN_ISDIR },
                          { "unmounted", IN_UNMOUNT },
                          { "overflow", IN_Q_OVERFLOW },
                          { "ended", IN_IGNORED },
                          { NULL, 0 } };

static int *
check_inotify(lua_State *L)
{
  int *fd = luaL_checkudata(L, 1, INOTIFY_TYPE);

  if (*fd < 0)
    luaL_error(L, "the watch is closed");
  return fd;
}

/* core.inotify() -> inotify | nil, message, errno */
static int
l_inotify(lua_State *L)
{
  int *fd = lua_newuserdata(L, sizeof(*fd));

  *fd = -1;
  luaL_getmetatable(L, INOTIFY_TYPE);
  lua_setmetatable(L, -2);
  *fd = csn_above_stdio(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  return *fd < 0 ? csn_pusherr(L, -*fd, "inotify_init") : 1;
}

/* inotify:add(path, events) -> number | nil, message, errno: the same number for a file that is watched already */
static int
l_add(lua_State *L)
{
  int fd = *check_inotify(L), wd;
  size_t len;
  const char *path = luaL_checklstring(L, 2, &len);
  u64 events = csn_to_words(L, 3, asked_words, "events", true, false);

  if (strlen(path) != len)
    return luaL_argerror(L, 2, "a path with a NUL in it");
  if (events == 0)
    return luaL_argerror(L, 3, "events expected");
  wd = inotify_add_watch(fd, path, (uint32_t)events);
  if (wd < 0)
    return csn_pusherr(L, errno, "watch %s", path);
  lua_pushinteger(L, wd);
  return 1;
}

/* inotify:remove(number) -> was it there? */
static int
l_remove(lua_State *L)
{
  int fd = *check_inotify(L);

  lua_pushboolean(L, inotify_rm_watch(fd, (int)luaL_checkinteger(L, 2)) == 0);
  return 1;
}

static void
push_event(lua_State *L, const struct inotify_event *e)
{
  const struct csn_word *const tables[] = { asked_words, told_words };

  lua_createtable(L, 0, 4);
  if (e->wd >= 0) {
    lua_pushinteger(L, e->wd);
    lua_setfield(L, -2, "number");
  }
  if (e->len > 0) {
    lua_pushstring(L, e->name); /* ends at its first NUL; more may fill it up */
    lua_setfield(L, -2, "name");
  }
  for (int i = 0; i < 2; i++)
    for (const struct csn_word *w = tables[i]; w->name; w++)
      if (e->mask & w->value) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, w->name);
      }
}

/* inotify:read() -> { { number =, name =, close_write = true, ... }, ... } | nil, message, errno: what has happened, without
 * waiting */
static int
l_read(lua_State *L)
{
  int fd = *check_inotify(L), count = 0;
  char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;

  lua_newtable(L);
  while ((n = read(fd, buf, sizeof(buf))) > 0)
    for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
      const struct inotify_event *e = (const void *)(buf + at);

      push_event(L, e);
      lua_rawseti(L, -2, ++count);
      at += (ssize_t)(sizeof(*e) + e->len);
    }
  if (n < 0 && errno != EAGAIN && errno != EINTR)
    return csn_pusherr(L, errno, "read what has changed");
  return 1;
}

/* inotify:fileno() -> its descriptor, readable when something has happened */
static int
l_fileno(lua_State *L)
{
  lua_pushinteger(L, *check_inotify(L));
  return 1;
}

static int
l_close(lua_State *L)
{
  int *fd = luaL_checkudata(L, 1, INOTIFY_TYPE);

  csn_close(*fd);
  *fd = -1;
  return csn_pushok(L);
}

static void
open_inotify(lua_State *L)
{
  static const luaL_Reg methods[] = { { "add", l_add },       { "remove", l_remove },
                                      { "read", l_read },     { "fileno", l_fileno },
                                      { "close", l_close },   { "__gc", l_close },
                                      { "__close", l_close }, { NULL, NULL } };

  if (luaL_newmetatable(L, INOTIFY_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  lua_pushcfunction(L, l_inotify);
  lua_setfield(L, -2, "inotify");
}

CSN_OPEN(open_inotify)
