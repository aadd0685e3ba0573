/* SPDX-License-Identifier: MIT
 * Queries about this process and the host's files, for recipes that look before they build. */
#define _GNU_SOURCE
#include "csn.h"
#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* core.identity() -> { pid, ppid, uid, euid, gid, egid, groups = {...} } */
static int
l_identity(lua_State *L)
{
  const struct {
    const char *name;
    long value;
  } ids[] = { { "pid", getpid() },   { "ppid", getppid() }, { "uid", getuid() },
              { "euid", geteuid() }, { "gid", getgid() },   { "egid", getegid() } };
  gid_t few[64], *groups = few;
  int n = getgroups(sizeof(few) / sizeof(*few), few);

  if (n < 0 && (n = getgroups(0, NULL)) > 0) {
    groups = lua_newuserdata(L, sizeof(*groups) * (size_t)n);
    n = getgroups(n, groups);
  }
  lua_createtable(L, 0, 7);
  for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
    lua_pushinteger(L, (lua_Integer)ids[i].value);
    lua_setfield(L, -2, ids[i].name);
  }
  lua_createtable(L, n > 0 ? n : 0, 0);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, (lua_Integer)groups[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "groups");
  return 1;
}

/* core.euid() */
static int
l_euid(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)geteuid());
  return 1;
}

/* core.namespaces([pid], [name]) -> the inodes of a process's namespaces, or this one's, by name, or that one alone:
 *   { user =, mount =, ... } | nil, message, errno */
static int
l_namespaces(lua_State *L)
{
  static const char *const files[][2] = { { "user", "user" },     { "mount", "mnt" },
                                          { "pid", "pid" },       { "net", "net" },
                                          { "ipc", "ipc" },       { "uts", "uts" },
                                          { "cgroup", "cgroup" }, { "time", "time" } };
  lua_Integer pid = luaL_optinteger(L, 1, 0);
  const char *only = luaL_optstring(L, 2, NULL);
  char path[40] = "/proc/self/ns", link[64];
  int rc = 0, dir;

  luaL_argcheck(L, lua_isnoneornil(L, 1) || pid > 0, 1, "a process above 0 expected");
  lua_createtable(L, 0, 8);
  if (pid > 0)
    snprintf(path, sizeof(path), "/proc/%d/ns", (int)pid);
  dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return csn_pusherr(L, errno, "%s", path);
  for (size_t i = 0; rc == 0 && i < sizeof(files) / sizeof(*files); i++) {
    const char *number;
    ssize_t n;

    if (only && strcmp(only, files[i][0]) != 0)
      continue;
    n = readlinkat(dir, files[i][1], link, sizeof(link) - 1);
    if (n < 0)
      rc = errno == ENOENT ? 0 : errno; /* the kernel may be without it */
    link[n > 0 ? n : 0] = 0;
    number = strchr(link, '[');
    if (number) {
      lua_pushinteger(L, (lua_Integer)strtoull(number + 1, NULL, 10));
      lua_setfield(L, -2, files[i][0]);
    }
  }
  close(dir);
  return rc ? csn_pusherr(L, rc, "%s", path) : 1;
}

/* core.now() -> nanoseconds of CLOCK_MONOTONIC */
static int
l_now(lua_State *L)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  lua_pushnumber(L, (lua_Number)ts.tv_sec * 1e9 + (lua_Number)ts.tv_nsec);
  return 1;
}

static const char *
type_name(mode_t mode)
{
  switch (mode & S_IFMT) {
  case S_IFREG:
    return "file";
  case S_IFDIR:
    return "directory";
  case S_IFLNK:
    return "link";
  case S_IFCHR:
    return "char";
  case S_IFBLK:
    return "block";
  case S_IFIFO:
    return "fifo";
  default:
    return "socket";
  }
}

/* core.lstat(path) -> { type, mode, uid, gid, size, dev, ino, rdev_major, rdev_minor, [target] }
 *   | nil, message, errno */
static int
l_lstat(lua_State *L)
{
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  struct stat st;
  char target[4096];
  ssize_t n;

  luaL_argcheck(L, strlen(path) == len, 1, "a path without NUL expected");
  if (lstat(path, &st) < 0)
    return csn_pusherr(L, errno, "stat %s", path);
  lua_newtable(L);
  lua_pushstring(L, type_name(st.st_mode));
  lua_setfield(L, -2, "type");
  {
    const struct {
      const char *name;
      u64 value;
    } fields[] = { { "mode", st.st_mode & 07777 },
                   { "uid", st.st_uid },
                   { "gid", st.st_gid },
                   { "size", (u64)st.st_size },
                   { "dev", st.st_dev },
                   { "ino", st.st_ino },
                   { "rdev_major", major(st.st_rdev) },
                   { "rdev_minor", minor(st.st_rdev) } };

    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
      csn_push_u64(L, fields[i].value);
      lua_setfield(L, -2, fields[i].name);
    }
  }
  if (S_ISLNK(st.st_mode) && (n = readlink(path, target, sizeof(target))) >= 0) {
    lua_pushlstring(L, target, (size_t)n);
    lua_setfield(L, -2, "target");
  }
  return 1;
}

/* core.realpath(path) -> the absolute path without links | nil, message, errno */
static int
l_realpath(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  char buf[4096]; /* PATH_MAX; no allocation that a raise could lose */

  if (!realpath(path, buf))
    return csn_pusherr(L, errno, "%s", path);
  lua_pushstring(L, buf);
  return 1;
}

/* core.list(directory) -> the names in it, sorted, without "." and ".." | nil, message, errno */
static int
l_list(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  DIR **d = lua_newuserdata(L, sizeof(*d)); /* closed by its metatable, should a push raise */
  struct dirent *e;
  int n = 0, err = 0;

  *d = NULL;
  luaL_getmetatable(L, "caisson.directory");
  lua_setmetatable(L, -2);
  *d = opendir(path);
  if (!*d)
    return csn_pusherr(L, errno, "%s", path);
  lua_newtable(L);
  for (errno = 0; (e = readdir(*d)); errno = 0)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
      lua_pushstring(L, e->d_name);
      lua_rawseti(L, -2, ++n);
    }
  err = errno;
  closedir(*d);
  *d = NULL;
  if (err)
    return csn_pusherr(L, err, "%s", path);
  lua_getglobal(L, "table");
  lua_getfield(L, -1, "sort");
  lua_pushvalue(L, -3);
  lua_call(L, 1, 0);
  lua_pop(L, 1);
  return 1;
}

static int
l_closedir(lua_State *L)
{
  DIR **d = luaL_checkudata(L, 1, "caisson.directory");

  if (*d)
    closedir(*d);
  *d = NULL;
  return 0;
}

/* core.access(path, "r"|"w"|"x"...) -> true | nil, message, errno: with the effective ids */
static int
l_access(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1), *how = luaL_optstring(L, 2, "");
  int mode =
      (strchr(how, 'r') ? R_OK : 0) | (strchr(how, 'w') ? W_OK : 0) | (strchr(how, 'x') ? X_OK : 0);

  if (faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0)
    return csn_pusherr(L, errno, "%s", path);
  return csn_pushok(L);
}

/* core.kill_group(pgid, signal) -> true | nil, message, errno */
static int
l_kill_group(lua_State *L)
{
  lua_Integer pgid = luaL_checkinteger(L, 1);
  int sig = (int)csn_to_words(L, 2, csn_signal_words, "signal", false, true);

  luaL_argcheck(L, pgid > 1, 1, "a process group above 1 expected");
  if (kill((pid_t)-pgid, sig) < 0)
    return csn_pusherr(L, errno, "kill process group %d", (int)pgid);
  return csn_pushok(L);
}

static void
open_host(lua_State *L)
{
  static const luaL_Reg functions[] = { { "identity", l_identity },
                                        { "euid", l_euid },
                                        { "now", l_now },
                                        { "kill_group", l_kill_group },
                                        { "lstat", l_lstat },
                                        { "list", l_list },
                                        { "access", l_access },
                                        { "realpath", l_realpath },
                                        { "namespaces", l_namespaces },
                                        { NULL, NULL } };

  if (luaL_newmetatable(L, "caisson.directory")) {
    lua_pushcfunction(L, l_closedir);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
  csn_register(L, "", functions);
}

CSN_OPEN(open_host)
