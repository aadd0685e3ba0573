/* SPDX-License-Identifier: MIT
 * Descriptors as objects: closed when collected, unless detached. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FD_TYPE "caisson.fd"

int *
csn_newfd(lua_State *L)
{
  int *fd = lua_newuserdata(L, sizeof(*fd));

  *fd = -1;
  luaL_getmetatable(L, FD_TYPE);
  lua_setmetatable(L, -2);
  return fd;
}

static int *
to_object(lua_State *L, int idx)
{
  int *fd = lua_touserdata(L, idx);

  if (!fd || !lua_getmetatable(L, idx))
    return NULL;
  luaL_getmetatable(L, FD_TYPE);
  if (!lua_rawequal(L, -1, -2))
    fd = NULL;
  lua_pop(L, 2);
  return fd;
}

bool
csn_isfd(lua_State *L, int idx)
{
  return lua_type(L, idx) == LUA_TNUMBER || to_object(L, idx);
}

int
csn_tofd(lua_State *L, int idx)
{
  int *object = to_object(L, idx);

  if (object) {
    if (*object < 0)
      luaL_error(L, "the descriptor is closed");
    return *object;
  }
  if (lua_type(L, idx) == LUA_TNUMBER) {
    lua_Number n = lua_tonumber(L, idx);

    if (!(n >= 0 && n <= 0x7fffffff) || n != (lua_Number)(int)n)
      luaL_error(L, "a descriptor is a whole number from 0, got %f", n);
    return (int)n;
  }
  return luaL_error(L, "descriptor expected, got %s", luaL_typename(L, idx));
}

/* The same, where an error is to tell of what: "option 'cancel'" */
int
csn_named_fd(lua_State *L, int idx, const char *kind, const char *name)
{
  lua_Number n = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : 0;

  if (!csn_isfd(L, idx))
    luaL_error(L, "%s '%s': descriptor expected, got %s", kind, name, luaL_typename(L, idx));
  if (!(n >= 0 && n <= 0x7fffffff) || n != (lua_Number)(int)n)
    luaL_error(L, "%s '%s': a descriptor is a whole number from 0, got %f", kind, name, n);
  return csn_tofd(L, idx);
}

int
csn_optfd(lua_State *L, int idx)
{
  return lua_isnoneornil(L, idx) ? -1 : csn_tofd(L, idx);
}

/* What sits on 0, 1 or 2 would be taken for the host's standard streams, by the host and by us. */
int
csn_above_stdio(int fd)
{
  int moved;

  if (fd < 0)
    return -errno;
  if (fd > 2)
    return fd;
  moved = csn_dup(fd, 3);
  close(fd);
  return moved;
}

static int *
check_object(lua_State *L)
{
  return luaL_checkudata(L, 1, FD_TYPE);
}

static int
l_close(lua_State *L)
{
  int *fd = check_object(L);

  if (*fd >= 0) {
    close(*fd); /* the descriptor is gone whatever close says */
    *fd = -1;
  }
  return csn_pushok(L);
}

static int
l_fileno(lua_State *L)
{
  check_object(L);
  lua_pushinteger(L, csn_tofd(L, 1));
  return 1;
}

static int
l_detach(lua_State *L)
{
  int *fd = check_object(L);

  lua_pushinteger(L, csn_tofd(L, 1));
  *fd = -1;
  return 1;
}

static int
l_tostring(lua_State *L)
{
  int *fd = check_object(L);

  if (*fd < 0)
    lua_pushliteral(L, "fd (closed)");
  else
    lua_pushfstring(L, "fd %d", *fd);
  return 1;
}

/* fd:read([n]) -> bytes ("" at the end), or nil, message, errno */
static int
l_read(lua_State *L)
{
  lua_Integer want = luaL_optinteger(L, 2, 65536);
  luaL_Buffer b;
  ssize_t n;
  int fd, err;

  check_object(L);
  fd = csn_tofd(L, 1);
  luaL_argcheck(L, want > 0, 2, "a positive number of bytes");
  luaL_buffinit(L, &b);
  do
    n = read(fd, luaL_prepbuffer(&b),
             want < (lua_Integer)LUAL_BUFFERSIZE ? (size_t)want : (size_t)LUAL_BUFFERSIZE);
  while (n < 0 && errno == EINTR);
  err = errno;
  luaL_addsize(&b, (size_t)(n > 0 ? n : 0));
  luaL_pushresult(&b);
  return n < 0 ? csn_pusherr(L, err, "read fd %d", fd) : 1;
}

/* fd:write(bytes) -> number written, or nil, message, errno */
static int
l_write(lua_State *L)
{
  size_t len;
  const char *s = luaL_checklstring(L, 2, &len);
  ssize_t n;
  int fd;

  check_object(L);
  fd = csn_tofd(L, 1);
  do
    n = write(fd, s, len);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return csn_pusherr(L, errno, "write fd %d", fd);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* fd:nonblock(on) -> true */
static int
l_nonblock(lua_State *L)
{
  int fd, fl;

  check_object(L);
  fd = csn_tofd(L, 1);
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  fl = fcntl(fd, F_GETFL);
  if (fl < 0 || fcntl(fd, F_SETFL, lua_toboolean(L, 2) ? fl | O_NONBLOCK : fl & ~O_NONBLOCK) < 0)
    return csn_pusherr(L, errno, "fcntl fd %d", fd);
  return csn_pushok(L);
}

/* core.pipe() -> read end, write end | nil, message, errno */
static int
l_pipe(lua_State *L)
{
  int *r = csn_newfd(L), *w = csn_newfd(L), pair[2];

  if (pipe2(pair, O_CLOEXEC) < 0)
    return csn_pusherr(L, errno, "pipe");
  *r = csn_above_stdio(pair[0]);
  *w = csn_above_stdio(pair[1]);
  if (*r < 0 || *w < 0)
    return csn_pusherr(L, *r < 0 ? -*r : -*w, "pipe");
  return 2;
}

CSN_WORDS(open_words) = {
  { "read", O_RDONLY },       { "write", O_WRONLY },      { "readwrite", O_RDWR },
  { "create", O_CREAT },      { "truncate", O_TRUNC },    { "append", O_APPEND },
  { "exclusive", O_EXCL },    { "path", O_PATH },         { "directory", O_DIRECTORY },
  { "nofollow", O_NOFOLLOW }, { "nonblock", O_NONBLOCK }, { NULL, 0 },
};

/* core.open(path, [flags], [mode]) -> fd object | nil, message, errno; flags as words, mode a number */
static int
l_open(lua_State *L)
{
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  u64 flags =
      lua_isnoneornil(L, 2) ? O_RDONLY : csn_to_words(L, 2, open_words, "flags", true, false);
  int mode = (int)luaL_optinteger(L, 3, 0600), *fd;

  luaL_argcheck(L, strlen(path) == len, 1, "a path without NUL expected");
  fd = csn_newfd(L);
  do
    *fd = open(path, (int)flags | O_CLOEXEC | O_NOCTTY, mode);
  while (*fd < 0 && errno == EINTR);
  *fd = csn_above_stdio(*fd);
  return *fd < 0 ? csn_pusherr(L, -*fd, "open %s", path) : 1;
}

/* core.memfd(name, bytes) -> fd object at offset 0, sealed against any change | nil, message, errno */
static int
l_memfd(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  size_t len, done = 0;
  const char *data = luaL_checklstring(L, 2, &len);
  int *fd = csn_newfd(L);

  *fd = csn_above_stdio(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (*fd < 0)
    return csn_pusherr(L, -*fd, "memfd %s", name);
  while (done < len) {
    ssize_t n = write(*fd, data + done, len - done);

    if (n < 0 && errno != EINTR)
      return csn_pusherr(L, errno, "memfd %s", name);
    done += (size_t)(n > 0 ? n : 0);
  }
  if (lseek(*fd, 0, SEEK_SET) < 0 ||
      fcntl(*fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return csn_pusherr(L, errno, "memfd %s", name);
  return 1;
}

/* core.dup(fd) -> fd object of the same open file | nil, message, errno */
static int
l_dup(lua_State *L)
{
  int from = csn_tofd(L, 1), *fd = csn_newfd(L);

  *fd = csn_dup(from, 3);
  return *fd < 0 ? csn_pusherr(L, -*fd, "dup fd %d", from) : 1;
}

static void
open_fd(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "pipe", l_pipe }, { "open", l_open }, { "memfd", l_memfd }, { "dup", l_dup }, { NULL, NULL }
  };
  static const luaL_Reg methods[] = { { "close", l_close },         { "fileno", l_fileno },
                                      { "detach", l_detach },       { "read", l_read },
                                      { "write", l_write },         { "nonblock", l_nonblock },
                                      { "__gc", l_close },          { "__close", l_close },
                                      { "__tostring", l_tostring }, { NULL, NULL } };

  if (luaL_newmetatable(L, FD_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  csn_register(L, "", functions);
}

CSN_OPEN(open_fd)
