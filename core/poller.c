/* SPDX-License-Identifier: MIT
 * Many descriptors at once (epoll(7)): what core.poll does, at a cost that does not grow with their number. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLLER_TYPE "caisson.poller"
#define BATCH 256

static int *
check_poller(lua_State *L)
{
  int *ep = luaL_checkudata(L, 1, POLLER_TYPE);

  if (*ep < 0)
    luaL_error(L, "the poller is closed");
  return ep;
}

/* core.poller() -> poller | nil, message, errno */
static int
l_poller(lua_State *L)
{
  int *ep = lua_newuserdata(L, sizeof(*ep));

  *ep = -1;
  luaL_getmetatable(L, POLLER_TYPE);
  lua_setmetatable(L, -2);
  *ep = csn_above_stdio(epoll_create1(EPOLL_CLOEXEC));
  return *ep < 0 ? csn_pusherr(L, -*ep, "epoll_create") : 1;
}

/* poller:add(fd) -> true | nil, message, errno: wait for it to become readable, or to end */
static int
l_add(lua_State *L)
{
  int ep = *check_poller(L), fd = csn_tofd(L, 2);
  struct epoll_event e = { .events = EPOLLIN, .data = { .fd = fd } };

  if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
    return csn_pusherr(L, errno, "watch descriptor %d", fd);
  return csn_pushok(L);
}

/* poller:remove(number) -> was it there? A descriptor that was closed has left by itself. */
static int
l_remove(lua_State *L)
{
  int ep = *check_poller(L), fd = csn_tofd(L, 2);

  lua_pushboolean(L, epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL) == 0);
  return 1;
}

/* poller:wait([seconds]) -> { number of a ready descriptor, ... } | nil, message, errno
 * An empty table: the time is over, or a signal came. */
static int
l_wait(lua_State *L)
{
  int ep = *check_poller(L), n;
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  struct epoll_event events[BATCH];

  n = epoll_wait(ep, events, BATCH,
                 seconds < 0         ? -1
                 : seconds > 2000000 ? 2000000000
                                     : (int)(seconds * 1000 + 0.999));
  if (n < 0 && errno != EINTR)
    return csn_pusherr(L, errno, "epoll_wait");
  lua_createtable(L, n > 0 ? n : 0, 0);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, events[i].data.fd);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* poller:fileno() -> its own descriptor, which is readable when one of its descriptors is */
static int
l_fileno(lua_State *L)
{
  lua_pushinteger(L, *check_poller(L));
  return 1;
}

static int
l_close(lua_State *L)
{
  int *ep = luaL_checkudata(L, 1, POLLER_TYPE);

  csn_close(*ep);
  *ep = -1;
  return csn_pushok(L);
}

static void
open_poller(lua_State *L)
{
  static const luaL_Reg methods[] = { { "add", l_add },     { "remove", l_remove },
                                      { "wait", l_wait },   { "fileno", l_fileno },
                                      { "close", l_close }, { "__gc", l_close },
                                      { NULL, NULL } };

  if (luaL_newmetatable(L, POLLER_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  lua_pushcfunction(L, l_poller);
  lua_setfield(L, -2, "poller");
}

CSN_OPEN(open_poller)
