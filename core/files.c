/* SPDX-License-Identifier: MIT
 *
 * Files by name in a directory that is held by its descriptor: for state on disk, which must not end up
 * elsewhere when somebody moves the directory or puts a symlink there.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

CSN_WORDS(file_words) = {
  { "read", O_RDONLY },         { "write", O_WRONLY },      { "readwrite", O_RDWR },
  { "create", O_CREAT },        { "truncate", O_TRUNC },    { "exclusive", O_EXCL },
  { "directory", O_DIRECTORY }, { "nonblock", O_NONBLOCK }, { NULL, 0 },
};

/* One component: it can't lead out of the directory. */
static const char *
check_name(lua_State *L, int idx)
{
  size_t len;
  const char *name = luaL_checklstring(L, idx, &len);

  luaL_argcheck(L, len > 0 && strlen(name) == len && !strchr(name, '/') && strcmp(name, "..") != 0,
                idx, "a name without / and NUL expected");
  return name;
}

static int
check_mode(lua_State *L, int idx, int def)
{
  lua_Integer mode = luaL_optinteger(L, idx, def);

  luaL_argcheck(L, mode >= 0 && mode <= 07777, idx, "a mode from 0 to 07777 expected");
  return (int)mode;
}

/* core.files.open(dir, name, [flags], [mode]) -> fd object | nil, message, errno; follows no symlink */
static int
l_open(lua_State *L)
{
  int dir = csn_tofd(L, 1), mode, *fd;
  const char *name = check_name(L, 2);
  u64 flags =
      lua_isnoneornil(L, 3) ? O_RDONLY : csn_to_words(L, 3, file_words, "flags", true, false);

  mode = check_mode(L, 4, 0600);
  fd = csn_newfd(L);
  do
    *fd = openat(dir, name, (int)flags | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, mode);
  while (*fd < 0 && errno == EINTR);
  *fd = csn_above_stdio(*fd);
  return *fd < 0 ? csn_pusherr(L, -*fd, "open %s", name) : 1;
}

/* core.files.open_inside(root, path, [flags], [mode]) -> fd object | nil, message, errno: as if root were "/" */
static int
l_open_inside(lua_State *L)
{
  struct open_how how = { .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  int root = csn_tofd(L, 1), *fd;
  size_t len;
  const char *path = luaL_checklstring(L, 2, &len);

  luaL_argcheck(L, len > 0 && strlen(path) == len, 2, "a path without NUL expected");
  how.flags =
      lua_isnoneornil(L, 3) ? O_RDONLY : csn_to_words(L, 3, file_words, "flags", true, false);
  how.flags |= O_CLOEXEC | O_NOCTTY;
  if (how.flags & O_CREAT)
    how.mode = (u64)check_mode(L, 4, 0600);
  fd = csn_newfd(L);
  do
    *fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
  while (*fd < 0 && (errno == EINTR || errno == EAGAIN));
  *fd = csn_above_stdio(*fd);
  return *fd < 0 ? csn_pusherr(L, -*fd, "open %s", path) : 1;
}

/* core.files.mkdir(dir, name, [mode]) -> true | nil, message, errno */
static int
l_mkdir(lua_State *L)
{
  int dir = csn_tofd(L, 1);
  const char *name = check_name(L, 2);

  if (mkdirat(dir, name, (mode_t)check_mode(L, 3, 0700)) < 0)
    return csn_pusherr(L, errno, "mkdir %s", name);
  return csn_pushok(L);
}

/* core.files.rename(dir, from, to) -> true | nil, message, errno: what is there under `to` is replaced */
static int
l_rename(lua_State *L)
{
  int dir = csn_tofd(L, 1);
  const char *from = check_name(L, 2), *to = check_name(L, 3);

  if (renameat(dir, from, dir, to) < 0)
    return csn_pusherr(L, errno, "rename %s to %s", from, to);
  return csn_pushok(L);
}

/* core.files.remove(dir, name) -> true | nil, message, errno: a file, or an empty directory */
static int
l_remove(lua_State *L)
{
  int dir = csn_tofd(L, 1);
  const char *name = check_name(L, 2);

  if (unlinkat(dir, name, 0) == 0 || (errno == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0))
    return csn_pushok(L);
  return csn_pusherr(L, errno, "remove %s", name);
}

/* core.files.stat(fd, [name]) -> { type, mode, uid, gid, size, dev, ino, links } | nil, message, errno; with a name:
 * of that in the directory; follows no symlink */
static int
l_stat(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  const char *name = lua_isnoneornil(L, 2) ? NULL : check_name(L, 2);
  struct stat st;

  if ((name ? fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(fd, &st)) < 0)
    return name ? csn_pusherr(L, errno, "stat %s", name) : csn_pusherr(L, errno, "stat fd %d", fd);
  {
    const struct {
      const char *name;
      u64 value;
    } fields[] = { { "mode", st.st_mode & 07777 }, { "uid", st.st_uid }, { "gid", st.st_gid },
                   { "size", (u64)st.st_size },    { "dev", st.st_dev }, { "ino", st.st_ino },
                   { "links", st.st_nlink } };

    lua_newtable(L);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
      csn_push_u64(L, fields[i].value);
      lua_setfield(L, -2, fields[i].name);
    }
  }
  lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "directory" : "other");
  lua_setfield(L, -2, "type");
  return 1;
}

/* core.files.sync(fd) -> true | nil, message, errno: of a directory, the names in it */
static int
l_sync(lua_State *L)
{
  int fd = csn_tofd(L, 1);

  if (fsync(fd) < 0)
    return csn_pusherr(L, errno, "fsync fd %d", fd);
  return csn_pushok(L);
}

/*
 * core.files.lock(fd, ["exclusive"|"shared"|"unlock"]) -> true | nil, message, errno: never waits (EAGAIN:
 * somebody has it). The lock is the open file's: it ends with the last process that holds this descriptor.
 */
static int
l_lock(lua_State *L)
{
  static const char *const words[] = { "exclusive", "shared", "unlock", NULL };
  static const int how[] = { LOCK_EX | LOCK_NB, LOCK_SH | LOCK_NB, LOCK_UN };
  int fd = csn_tofd(L, 1), i = luaL_checkoption(L, 2, "exclusive", words), rc;

  do
    rc = flock(fd, how[i]);
  while (rc < 0 && errno == EINTR);
  return rc < 0 ? csn_pusherr(L, errno, "lock fd %d", fd) : csn_pushok(L);
}

static void
open_files(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open },     { "open_inside", l_open_inside },
                                        { "mkdir", l_mkdir },   { "rename", l_rename },
                                        { "remove", l_remove }, { "stat", l_stat },
                                        { "sync", l_sync },     { "lock", l_lock },
                                        { NULL, NULL } };

  csn_register(L, "files", functions);
}

CSN_OPEN(open_files)
