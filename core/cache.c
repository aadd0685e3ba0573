/* SPDX-License-Identifier: MIT
 *
 * A private cache of bytes in a directory: what took long to make is found again by all of its input.
 *
 * The name of a file is a hash of the key, but no hash is trusted: the file holds the whole key, and it
 * is compared. Directory and files must be the user's own and writable by nobody else, so that what is
 * read is what this user wrote; a checksum finds what was cut short or rotted. Anything else in the
 * file's place is as good as none, and is written anew.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x31435343u /* "CSC1" */
#define MAX_ENTRY (1u << 20)

struct header {
  u32 magic, key_len, value_len, reserved;
  u64 sum; /* of key and value */
};

/* FNV-1a: spreads names and finds accidents. It stands against no attacker, and none can write here. */
static u64
fnv(u64 h, const void *data, size_t n)
{
  const u8 *p = data;

  for (size_t i = 0; i < n; i++)
    h = (h ^ p[i]) * 0x100000001b3ull;
  return h;
}

static u64
checksum(const char *key, size_t nkey, const char *value, size_t nvalue)
{
  return fnv(fnv(0xcbf29ce484222325ull, key, nkey), value, nvalue);
}

static void
file_name(char name[40], const char *key, size_t n)
{
  snprintf(name, 40, "%016llx%016llx", (unsigned long long)fnv(0xcbf29ce484222325ull, key, n),
           (unsigned long long)fnv(0x84222325cbf29ce4ull, key, n));
}

/* Opened only if it is this user's, and private: a descriptor or -errno. */
static int
open_dir(const char *path)
{
  struct stat st;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0)
    return -errno;
  if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077)) {
    close(fd);
    return -EPERM;
  }
  return fd;
}

static bool
read_all(int fd, void *p, size_t n)
{
  u8 *at = p;

  while (n) {
    ssize_t got = read(fd, at, n);

    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    at += got;
    n -= (size_t)got;
  }
  return true;
}

static bool
write_all(int fd, const void *p, size_t n)
{
  const u8 *at = p;

  while (n) {
    ssize_t put = write(fd, at, n);

    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    at += put;
    n -= (size_t)put;
  }
  return true;
}

/* Open what may be an entry of ours; returns its size, or 0. */
static size_t
open_entry(const char *path, const char *name, int *fd)
{
  CSN_CLEANUP_FD int dir = open_dir(path);
  struct stat st;

  if (dir < 0)
    return 0;
  *fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (*fd < 0 || fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
      (st.st_mode & 022) || st.st_size < (off_t)sizeof(struct header) || st.st_size > MAX_ENTRY)
    return 0;
  return (size_t)st.st_size;
}

/* core.cache.get(directory, key) -> value | nil: there is none that can be trusted */
static int
l_get(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  size_t nkey, size;
  const char *key = luaL_checklstring(L, 2, &nkey);
  int *fd = csn_newfd(L);
  char name[40];
  struct header h;
  u8 *p;
  bool ok;

  file_name(name, key, nkey);
  size = open_entry(path, name, fd);
  p = lua_newuserdata(L, size ? size : 1);
  ok = size && read_all(*fd, p, size);
  csn_close(*fd);
  *fd = -1;
  if (!ok)
    return 0;
  memcpy(&h, p, sizeof(h));
  if (h.magic != MAGIC || h.key_len != nkey || (u64)h.key_len + h.value_len + sizeof(h) != size ||
      memcmp(p + sizeof(h), key, nkey) != 0 ||
      checksum(key, nkey, (const char *)p + sizeof(h) + nkey, h.value_len) != h.sum)
    return 0;
  lua_pushlstring(L, (const char *)p + sizeof(h) + nkey, h.value_len);
  return 1;
}

/* Written beside and renamed: a reader sees the old or the new, never a part. 0 or -errno. */
static int
put(int dir, const char *key, size_t nkey, const char *value, size_t nvalue)
{
  struct header h = { MAGIC, (u32)nkey, (u32)nvalue, 0, checksum(key, nkey, value, nvalue) };
  char name[40], temporary[64];
  int fd, rc = 0;

  file_name(name, key, nkey);
  snprintf(temporary, sizeof(temporary), ".%s.%d", name, (int)gettid());
  unlinkat(dir, temporary, 0);
  fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return -errno;
  errno = EIO;
  if (!write_all(fd, &h, sizeof(h)) || !write_all(fd, key, nkey) || !write_all(fd, value, nvalue) ||
      renameat(dir, temporary, dir, name) < 0) {
    rc = -errno;
    unlinkat(dir, temporary, 0);
  }
  close(fd);
  return rc;
}

/* Make the directory and its parent, the parent's parent being there: private from the start. */
static void
make_dirs(const char *path)
{
  char parent[4096];
  const char *slash = strrchr(path, '/');

  if (slash && slash > path && (size_t)(slash - path) < sizeof(parent)) {
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = 0;
    mkdir(parent, 0700);
  }
  mkdir(path, 0700);
}

/* core.cache.put(directory, key, value) -> true | nil, message, errno */
static int
l_put(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  size_t nkey, nvalue;
  const char *key = luaL_checklstring(L, 2, &nkey);
  const char *value = luaL_checklstring(L, 3, &nvalue);
  int dir, rc;

  if (nkey + nvalue + sizeof(struct header) > MAX_ENTRY)
    return csn_pusherr(L, EFBIG, "cache %s", path);
  dir = open_dir(path);
  if (dir == -ENOENT) {
    make_dirs(path);
    dir = open_dir(path);
  }
  if (dir < 0)
    return csn_pusherr(L, -dir, "cache %s", path);
  rc = put(dir, key, nkey, value, nvalue);
  close(dir);
  return rc < 0 ? csn_pusherr(L, -rc, "cache %s", path) : csn_pushok(L);
}

/* core.cache.digest(bytes) -> what tells them from others, by accident changed; no proof against a forger */
static int
l_digest(lua_State *L)
{
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  char text[64];

  snprintf(text, sizeof(text), "fnv1a64:%016llx:%zu",
           (unsigned long long)fnv(0xcbf29ce484222325ull, s, n), n);
  lua_pushstring(L, text);
  return 1;
}

static void
open_cache(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "get", l_get }, { "put", l_put }, { "digest", l_digest }, { NULL, NULL }
  };

  csn_register(L, "cache", functions);
}

CSN_OPEN(open_cache)
