/* SPDX-License-Identifier: MIT
 *
 * Unix sockets by name in a directory that is open: so the 108 bytes of a sockaddr_un (unix(7)) are no limit
 * to where that directory is.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

CSN_WORDS(type_words) = {
  { "seqpacket", SOCK_SEQPACKET },
  { "stream", SOCK_STREAM },
  { "dgram", SOCK_DGRAM },
  { NULL, 0 },
};

/* (directory, name, [type]) on the stack: the address and a socket of the type. */
static int *
new_socket(lua_State *L, struct sockaddr_un *address)
{
  int directory = csn_tofd(L, 1), *fd;
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  u64 type =
      lua_isnoneornil(L, 3) ? SOCK_SEQPACKET : csn_to_words(L, 3, type_words, "type", false, false);
  int n;

  luaL_argcheck(L, len > 0 && strlen(name) == len && !strchr(name, '/'), 2,
                "a name without '/' and NUL expected");
  address->sun_family = AF_UNIX;
  n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", directory,
               name);
  luaL_argcheck(L, n < (int)sizeof(address->sun_path), 2, "the name is too long");
  fd = csn_newfd(L);
  *fd = csn_above_stdio(socket(AF_UNIX, (int)type | SOCK_CLOEXEC, 0));
  return fd;
}

/* core.socket.listen(directory, name, [type]) -> fd object | nil, message, errno */
static int
l_listen(lua_State *L)
{
  struct sockaddr_un a = { 0 };
  int *fd = new_socket(L, &a), type = 0;
  socklen_t size = sizeof(type);

  if (*fd < 0)
    return csn_pusherr(L, -*fd, "socket %s", lua_tostring(L, 2));
  if (bind(*fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
      getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
      (type != SOCK_DGRAM && listen(*fd, 16) < 0))
    return csn_pusherr(L, errno, "listen on the socket %s", lua_tostring(L, 2));
  return 1;
}

/* core.socket.connect(directory, name, [type], [timeout]) -> fd object | nil, message, errno
 * Where the listener's queue is full since it accepts nobody, for at most so many seconds (10): EAGAIN. */
static int
l_connect(lua_State *L)
{
  struct sockaddr_un a = { 0 };
  lua_Number seconds = luaL_optnumber(L, 4, 10);
  struct timeval time = { 0, 0 };
  int *fd, rc;

  luaL_argcheck(L, seconds > 0 && seconds <= 1e6, 4, "seconds, up to a million, expected");
  fd = new_socket(L, &a);
  if (*fd < 0)
    return csn_pusherr(L, -*fd, "socket %s", lua_tostring(L, 2));
  time.tv_sec = (time_t)seconds;
  time.tv_usec = (suseconds_t)((seconds - (lua_Number)time.tv_sec) * 1e6) | 1; /* 0 is for ever */
  rc = setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0 ? -errno : 0;
  if (rc == 0)
    rc = (int)CSN_RETRY(connect(*fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0);
  time = (struct timeval){ 0, 0 };
  if (rc == 0 && setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0)
    rc = -errno;
  if (rc < 0)
    return csn_pusherr(L, -rc, "connect to the socket %s", lua_tostring(L, 2));
  return 1;
}

static void
open_socket(lua_State *L)
{
  static const luaL_Reg functions[] = { { "listen", l_listen },
                                        { "connect", l_connect },
                                        { NULL, NULL } };

  csn_register(L, "socket", functions);
}

CSN_OPEN(open_socket)
