/* SPDX-License-Identifier: MIT
 *
 * Control groups from the host's side: what is in them, killing it, removing them, reading their files,
 * and finding the hierarchies of this machine.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "cgroup.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PIDS_TYPE "caisson.pids"

static u64
monotonic_ms(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

/* From 0.1 ms, each time twice as long, to 10 ms. */
static void
pause_longer(long *us)
{
  struct timespec ts = { 0, *us * 1000 };

  nanosleep(&ts, NULL);
  *us = *us < 5000 ? *us * 2 : 10000;
}

/* ---- the tree below a group ---- */

/* Call fn for the group and all below it, the deepest first; the first error that fn answers ends it. */
static int
for_each_group(int group, int depth, int (*fn)(int parent, const char *name, int group, void *arg),
               void *arg)
{
  int fd = openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
  struct dirent *e;
  DIR *d;

  if (fd < 0)
    return errno == ENOENT || errno == ENODEV ? 0 : -errno;
  if (depth > 64) {
    close(fd);
    return -ELOOP;
  }
  d = fdopendir(fd);
  if (!d) {
    close(fd);
    return -ENOMEM;
  }
  while (rc == 0 && (e = readdir(d))) {
    int sub;

    if (e->d_type != DT_DIR || e->d_name[0] == '.')
      continue;
    sub = openat(group, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
      continue;
    rc = for_each_group(sub, depth + 1, fn, arg);
    if (rc == 0)
      rc = fn(group, e->d_name, sub, arg);
    close(sub);
  }
  closedir(d);
  return rc;
}

/* ---- processes ---- */

struct pids {
  int *pid;
  size_t n, cap;
};

static int
add_pids(int group, struct pids *p)
{
  int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), pid;
  FILE *f = fd < 0 ? NULL : fdopen(fd, "re");
  int rc = 0;

  if (!f) {
    rc = errno == ENOENT || errno == ENODEV ? 0 : -errno;
    if (fd >= 0)
      close(fd);
    return rc;
  }
  while (fscanf(f, "%d", &pid) == 1) {
    if (p->n == p->cap) {
      size_t cap = p->cap ? 2 * p->cap : 64;
      int *more = realloc(p->pid, cap * sizeof(*more));

      if (!more) {
        rc = -ENOMEM;
        break;
      }
      p->pid = more;
      p->cap = cap;
    }
    p->pid[p->n++] = pid;
  }
  fclose(f);
  return rc;
}

static int
add_pids_below(int parent, const char *name, int group, void *arg)
{
  (void)parent, (void)name;
  return add_pids(group, arg);
}

static int
list_pids(int group, struct pids *p)
{
  int rc = for_each_group(group, 0, add_pids_below, p);

  return rc < 0 ? rc : add_pids(group, p);
}

/* A pid that was read may by now be some other process's: only one that is listed still, after a pidfd
 * of it was opened, is signalled, by that pidfd. Answers how many there were, from the first on. */
static int
signal_listed(int group, size_t first, int sig)
{
  struct pids before = { 0 }, after = { 0 };
  int rc = list_pids(group, &before), n;
  int *pidfd = NULL;

  first = first < before.n ? first : before.n;
  n = (int)(before.n - first < 256 ? before.n - first : 256);
  if (rc == 0 && n) {
    pidfd = malloc(sizeof(*pidfd) * (size_t)n);
    rc = pidfd ? 0 : -ENOMEM;
  }
  for (int i = 0; rc == 0 && i < n; i++)
    pidfd[i] = before.pid[first + (size_t)i] > 0
                   ? (int)syscall(SYS_pidfd_open, before.pid[first + (size_t)i], 0)
                   : -1;
  if (rc == 0 && n)
    rc = list_pids(group, &after);
  for (int i = 0; pidfd && i < n; i++) {
    for (size_t k = 0; rc == 0 && pidfd[i] >= 0 && k < after.n; k++)
      if (after.pid[k] == before.pid[first + (size_t)i]) {
        syscall(SYS_pidfd_send_signal, pidfd[i], sig, NULL, 0);
        break;
      }
    csn_close(pidfd[i]);
  }
  rc = rc < 0 ? rc : (int)(before.n - first);
  free(pidfd);
  free(before.pid);
  free(after.pid);
  return rc;
}

static int
write_below(int parent, const char *name, int group, void *arg)
{
  const char *const *file_value = arg;

  (void)parent, (void)name;
  csn_cgroup_write(group, file_value[0], file_value[1], strlen(file_value[1]));
  return 0;
}

/* Nobody is in it, and no group is below it. */
static bool
is_deserted(int group)
{
  struct stat before, after;
  char pid[32];

  return fstat(group, &before) == 0 && before.st_nlink == 2 &&
         csn_cgroup_read(group, "cgroup.procs", pid, sizeof(pid)) == 0 &&
         fstat(group, &after) == 0 && after.st_nlink == 2;
}

/* Kill all that is in the group and below it, also what forks faster than it is killed. */
static int
kill_tree(int group, u64 deadline)
{
  static const char *const thaw[] = { "freezer.state", "THAWED" }, *const stop[] = { "pids.max",
                                                                                     "0" };
  char old[32];
  long us = 100, held;
  int version = csn_cgroup_version(group), n;

  if (version < 0)
    return version;
  if (version == 2)
    return csn_cgroup_write(group, "cgroup.kill", "1", 1);
  /* freezing has every processor patch the kernel's code: not for nobody */
  if (is_deserted(group))
    return 0;
  /* v1 has no such file. Nothing forks while it is frozen, or past pids.max. */
  held = csn_cgroup_read(group, "pids.max", old, sizeof(old));
  if (held > 0)
    csn_cgroup_write(group, stop[0], stop[1], 1);
  for (;;) {
    csn_cgroup_write(group, "freezer.state", "FROZEN", 6);
    n = signal_listed(group, 0, SIGKILL);
    csn_cgroup_write(group, thaw[0], thaw[1], 6);
    for_each_group(group, 0, write_below, (void *)(uintptr_t)thaw);
    if (n <= 0 || monotonic_ms() > deadline)
      break;
    pause_longer(&us);
  }
  if (held > 0)
    csn_cgroup_write(group, "pids.max", old, (size_t)held);
  return n < 0 ? n : n > 0 ? -EBUSY : 0;
}

/* ---- removal ---- */

static int
remove_group(int parent, const char *name, u64 deadline)
{
  long us = 100;

  while (unlinkat(parent, name, AT_REMOVEDIR) < 0) {
    if (errno == ENOENT)
      return 0;
    if (errno != EBUSY || monotonic_ms() > deadline) /* what was killed takes a while to go */
      return -errno;
    pause_longer(&us);
  }
  return 0;
}

static int
remove_below(int parent, const char *name, int group, void *arg)
{
  (void)group;
  return remove_group(parent, name, *(u64 *)arg);
}

/* Remove a group, killing what is in it or not; one that is not there is no error. */
static int
remove_tree(const char *path, bool killing, u64 deadline)
{
  char above[CSN_CGROUP_PATH];
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  CSN_CLEANUP_FD int parent = -1;
  CSN_CLEANUP_FD int group = -1;
  int rc;

  if (!n || n >= sizeof(above))
    return -EINVAL;
  memcpy(above, path, n);
  above[n] = 0;
  parent = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0)
    return errno == ENOENT ? 0 : -errno;
  if ((rc = csn_cgroup_version(parent)) < 0)
    return rc;
  rc = remove_group(parent, slash + 1, 0);
  if (rc != -EBUSY)
    return rc;
  group = openat(parent, slash + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (group < 0)
    return errno == ENOENT ? 0 : -errno;
  if (killing && (rc = kill_tree(group, deadline)) < 0)
    return rc;
  rc = for_each_group(group, 0, remove_below, &deadline);
  return rc < 0 ? rc : remove_group(parent, slash + 1, deadline);
}

/* The group that is open there, if it is empty, by its name in the one above it. Is it gone? */
static bool
remove_held(int group, const char *path)
{
  char name[3 + CSN_CGROUP_NAME] = "../";
  const char *slash = strrchr(path, '/');

  if (!slash || !slash[1] || strlen(slash + 1) >= CSN_CGROUP_NAME || csn_cgroup_version(group) < 0)
    return false;
  strcpy(name + 3, slash + 1);
  return unlinkat(group, name, AT_REMOVEDIR) == 0;
}

#define UNDO_MS 10000

/* The run has ended: what is left in its group is its own. The groups above go where nobody else has
 * come to use them. */
int
csn_cgroup_undo_create(const void *args, struct csn_ctx *c)
{
  const struct cgroup_create_args *a = args;
  u64 deadline = monotonic_ms() + UNDO_MS;
  const char *p = csn_s(c, a->path);
  char path[CSN_CGROUP_PATH], name[CSN_CGROUP_NAME];
  size_t len = csn_append(path, sizeof(path), 0, csn_s(c, a->at));
  long n;
  int rc = 0;

  for (;; p += n + 1) {
    if ((n = csn_cgroup_component(p, c, name)) < 0)
      return (int)n;
    len = csn_append(path, sizeof(path), len, "/");
    len = csn_append(path, sizeof(path), len, name);
    if (!p[n])
      break;
  }
  for (int i = 0; i < c->made && rc == 0; i++) {
    rc = i == 0 ? remove_tree(path, true, deadline) : rmdir(path) < 0 ? -errno : 0;
    *strrchr(path, '/') = 0;
  }
  return rc;
}

/* ---- from Lua ---- */

/* A group: a path, or the descriptor of one; the descriptor in *group. Raises if neither, or closed. */
static int
group_arg(lua_State *L, int idx, int *group, int **owned)
{
  const char *path;
  size_t len;

  if (lua_type(L, idx) != LUA_TSTRING) {
    *group = csn_tofd(L, idx);
    return csn_cgroup_version(*group);
  }
  path = lua_tolstring(L, idx, &len);
  luaL_argcheck(L, strlen(path) == len, idx, "a path without NUL expected");
  *owned = csn_newfd(L);
  **owned = *group = csn_above_stdio(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return *group < 0 ? *group : csn_cgroup_version(*group);
}

static const char *
group_name(lua_State *L, int idx)
{
  return lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : "cgroup";
}

static u64
deadline_arg(lua_State *L, int idx)
{
  lua_Number s = luaL_optnumber(L, idx, UNDO_MS / 1000.0);

  luaL_argcheck(L, s >= 0 && s < 1e9, idx, "seconds, from 0");
  return monotonic_ms() + (u64)(s * 1000);
}

/* core.cgroup.open(path) -> fd object, version | nil, message, errno */
static int
l_open(lua_State *L)
{
  int group, *owned = NULL, version;

  luaL_checktype(L, 1, LUA_TSTRING);
  version = group_arg(L, 1, &group, &owned);
  if (version < 0)
    return csn_pusherr(L, -version, "cgroup %s", lua_tostring(L, 1));
  lua_pushinteger(L, version);
  return 2;
}

/* core.cgroup.read(group, file) -> string | nil, message, errno */
static int
l_read(lua_State *L)
{
  const char *file = luaL_checkstring(L, 2);
  int group, *owned = NULL;
  long n = 0;
  size_t size = 8192;

  if (lua_type(L, 1) == LUA_TSTRING)
    n = group_arg(L, 1, &group, &owned);
  else
    group = csn_tofd(L, 1); /* the file is looked at itself */

  while (n >= 0) {
    char *buf = lua_newuserdata(L, size);

    n = csn_cgroup_read(group, file, buf, size);
    if (n >= 0) {
      lua_pushlstring(L, buf, (size_t)n);
      return 1;
    }
    if (n != -EFBIG || size >= 16u << 20)
      break;
    lua_pop(L, 1);
    size *= 8;
    n = 0;
  }
  return csn_pusherr(L, (int)-n, "%s/%s", group_name(L, 1), file);
}

static int
l_free_pids(lua_State *L)
{
  struct pids *p = lua_touserdata(L, 1);

  free(p->pid);
  p->pid = NULL;
  return 0;
}

/* core.cgroup.procs(group) -> pids of the group and all below it | nil, message, errno */
static int
l_procs(lua_State *L)
{
  int group, *owned = NULL, rc = group_arg(L, 1, &group, &owned);
  struct pids *p = lua_newuserdata(L, sizeof(*p));

  memset(p, 0, sizeof(*p));
  if (luaL_newmetatable(L, PIDS_TYPE)) {
    lua_pushcfunction(L, l_free_pids);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  if (rc >= 0)
    rc = list_pids(group, p);
  if (rc < 0)
    return csn_pusherr(L, -rc, "processes of %s", group_name(L, 1));
  lua_createtable(L, (int)p->n, 0);
  for (size_t i = 0; i < p->n; i++) {
    lua_pushinteger(L, p->pid[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* core.cgroup.kill(group, [seconds]) -> true | nil, message, errno */
static int
l_kill(lua_State *L)
{
  u64 deadline = deadline_arg(L, 2);
  int group, *owned = NULL, rc = group_arg(L, 1, &group, &owned);

  if (rc >= 0)
    rc = kill_tree(group, deadline);
  return rc < 0 ? csn_pusherr(L, -rc, "kill %s", group_name(L, 1)) : csn_pushok(L);
}

/* core.cgroup.signal(group, signal) -> how many processes | nil, message, errno */
static int
l_signal(lua_State *L)
{
  int sig = (int)csn_to_words(L, 2, csn_signal_words, "signal", false, true);
  int group, *owned = NULL, rc = group_arg(L, 1, &group, &owned), n = 0;

  /* in parts, since a pidfd each is held meanwhile */
  for (size_t first = 0; rc >= 0; first += 256) {
    rc = signal_listed(group, first, sig);
    n += rc > 256 ? 256 : rc > 0 ? rc : 0;
    if (rc <= 256)
      break;
  }
  if (rc < 0)
    return csn_pusherr(L, -rc, "signal %s", group_name(L, 1));
  lua_pushinteger(L, n);
  return 1;
}

/* core.cgroup.remove(path, [seconds], [above], [dir]) -> true | nil, message, errno
 * above: so many of the groups above it go too, unless they hold something else. dir: the group itself, which is then
 * found from there. */
static int
l_remove(lua_State *L)
{
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  lua_Integer above = luaL_optinteger(L, 3, 0);
  char up[CSN_CGROUP_PATH];
  bool gone;
  int rc;

  luaL_argcheck(L, strlen(path) == len, 1, "a path without NUL expected");
  luaL_argcheck(L, above >= 0 && above < 256, 3, "how many groups above it");
  gone = !lua_isnoneornil(L, 4) && remove_held(csn_tofd(L, 4), path);
  rc = gone ? 0 : len < sizeof(up) ? remove_tree(path, false, deadline_arg(L, 2)) : -ENAMETOOLONG;
  if (rc == 0)
    memcpy(up, path, len + 1);
  while (rc == 0 && above-- > 0) {
    char *slash = strrchr(up, '/');

    if (!slash || slash == up)
      break;
    *slash = 0;
    if (rmdir(up) < 0)
      break;
  }
  return rc < 0 ? csn_pusherr(L, -rc, "remove %s", path) : csn_pushok(L);
}

/* Is name the prefix, a run's 16 digits, and the suffix? */
static bool
is_run_name(const char *name, const char *prefix, const char *suffix)
{
  size_t n = strlen(prefix);

  return strncmp(name, prefix, n) == 0 && strspn(name + n, "0123456789abcdef") >= 16 &&
         strcmp(name + n + 16, suffix) == 0;
}

static bool
is_empty(int group)
{
  struct pids p = { 0 };
  int rc = list_pids(group, &p);

  free(p.pid);
  return rc == 0 && p.n == 0;
}

/* core.cgroup.sweep(dir, prefix, suffix) -> how many were removed | nil, message, errno
 * Groups with a run's name whose host is gone (nobody holds the lock), and that are empty. */
static int
l_sweep(lua_State *L)
{
  const char *prefix = luaL_checkstring(L, 2), *suffix = luaL_checkstring(L, 3);
  int group, *owned = NULL, rc = group_arg(L, 1, &group, &owned), fd, n = 0;
  u64 now = monotonic_ms();
  struct dirent *e;
  DIR *d;

  if (rc < 0)
    return csn_pusherr(L, -rc, "sweep %s", group_name(L, 1));
  fd = openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    rc = errno;
    csn_close(fd);
    return csn_pusherr(L, rc, "sweep %s", group_name(L, 1));
  }
  while ((e = readdir(d))) {
    int sub;

    if (e->d_type != DT_DIR || !is_run_name(e->d_name, prefix, suffix))
      continue;
    sub = openat(group, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub >= 0 && flock(sub, LOCK_EX | LOCK_NB) == 0 && is_empty(sub) &&
        for_each_group(sub, 0, remove_below, &now) == 0 &&
        unlinkat(group, e->d_name, AT_REMOVEDIR) == 0)
      n++;
    csn_close(sub);
  }
  closedir(d);
  lua_pushinteger(L, n);
  return 1;
}

static void
open_cgroup(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open },     { "read", l_read },
                                        { "procs", l_procs },   { "kill", l_kill },
                                        { "remove", l_remove }, { "sweep", l_sweep },
                                        { "signal", l_signal }, { NULL, NULL } };

  csn_register(L, "cgroup", functions);
}

CSN_OPEN(open_cgroup)
