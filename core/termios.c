/* SPDX-License-Identifier: MIT
 * This process's own terminal: its size and its modes (termios(3), TIOCGWINSZ of ioctl_tty(2)). */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* terminal.size(fd) -> rows, columns | nil, message, errno (ENOTTY: no terminal) */
static int
l_size(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  struct winsize ws;

  if (ioctl(fd, TIOCGWINSZ, &ws) < 0)
    return csn_pusherr(L, errno, "terminal size of fd %d", fd);
  lua_pushinteger(L, ws.ws_row);
  lua_pushinteger(L, ws.ws_col);
  return 2;
}

/* terminal.resize(fd, rows, columns) -> true | nil, message, errno; its foreground gets SIGWINCH */
static int
l_resize(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  lua_Integer rows = luaL_checkinteger(L, 2), columns = luaL_checkinteger(L, 3);
  struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

  luaL_argcheck(L, rows >= 0 && rows <= 0xffff, 2, "rows from 0 to 65535 expected");
  luaL_argcheck(L, columns >= 0 && columns <= 0xffff, 3, "columns from 0 to 65535 expected");
  if (ioctl(fd, TIOCSWINSZ, &ws) < 0)
    return csn_pusherr(L, errno, "terminal size of fd %d", fd);
  return csn_pushok(L);
}

/* terminal.raw(fd) -> the modes it had, for terminal.restore | nil, message, errno */
static int
l_raw(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  struct termios old, new;

  if (tcgetattr(fd, &old) < 0)
    return csn_pusherr(L, errno, "terminal modes of fd %d", fd);
  new = old;
  cfmakeraw(&new);
  lua_pushlstring(L, (const char *)&old, sizeof(old)); /* may raise: before the change */
  if (tcsetattr(fd, TCSANOW, &new) < 0)
    return csn_pusherr(L, errno, "terminal modes of fd %d", fd);
  return 1;
}

/* terminal.restore(fd, modes) -> true | nil, message, errno */
static int
l_restore(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  size_t len;
  const char *s = luaL_checklstring(L, 2, &len);
  struct termios modes;

  luaL_argcheck(L, len == sizeof(modes), 2, "what terminal.raw returned is expected");
  memcpy(&modes, s, len);
  if (tcsetattr(fd, TCSANOW, &modes) < 0)
    return csn_pusherr(L, errno, "terminal modes of fd %d", fd);
  return csn_pushok(L);
}

/* terminal.foreground(fd) -> is this process in the foreground there? false also where it isn't its
 * controlling terminal */
static int
l_foreground(lua_State *L)
{
  lua_pushboolean(L, tcgetpgrp(csn_tofd(L, 1)) == getpgrp());
  return 1;
}

/* terminal.open() -> master | nil, message, errno: a new pty, unlocked */
static int
l_open(lua_State *L)
{
  int *fd = csn_newfd(L), unlock = 0;

  *fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*fd < 0 || ioctl(*fd, TIOCSPTLCK, &unlock) < 0)
    return csn_pusherr(L, errno, "/dev/ptmx");
  return 1;
}

/* terminal.peer(master) -> slave | nil, message, errno: whatever stands where its name would lead by now */
static int
l_peer(lua_State *L)
{
  int master = csn_tofd(L, 1), *fd = csn_newfd(L);

  *fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return *fd < 0 ? csn_pusherr(L, errno, "the other side of fd %d", master) : 1;
}

static void
open_termios(lua_State *L)
{
  static const luaL_Reg functions[] = { { "size", l_size },
                                        { "resize", l_resize },
                                        { "raw", l_raw },
                                        { "restore", l_restore },
                                        { "foreground", l_foreground },
                                        { "open", l_open },
                                        { "peer", l_peer },
                                        { NULL, NULL } };

  csn_register(L, "terminal", functions);
}

CSN_OPEN(open_termios)
