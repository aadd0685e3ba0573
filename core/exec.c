/* SPDX-License-Identifier: MIT
 *
 * exec: the descriptor table, signals, and the program, by path, by PATH inside the new root, or by
 * descriptor (execveat(2)).
 */
#include "exec.h"
#include <linux/close_range.h>
#include <linux/stat.h>
#include <linux/limits.h>

#ifndef X_OK
#define X_OK 1
#endif

CSN_ACTION(engine_clone, "clone", CLONE, CSN_PARENT, CSN_ACT_CLONE, "$namespaces[ into $cgroup]")
CSN_ACTION(engine_lua, "lua", LUA, CSN_CHILD, CSN_ACT_LUA, "$name")
CSN_ACTION(engine_exec, "exec", EXEC, CSN_CHILD, CSN_ACT_EXEC, "$argv[ fd=$fd][ path=$path]")

/* How the program is found is settled before the filter is loaded, and kept here. One child at a time:
 * the runner makes one, and a fork has its own copy. */

#define MAX_VECTOR 8192
static const char *argv_buf[MAX_VECTOR + 1], *env_buf[MAX_VECTOR + 1];
static char found[PATH_MAX];

static int
vector(const struct csn_ctx *c, struct csn_list l, const char **v)
{
  const struct csn_str *s = csn_l(c, l);

  if (l.count > MAX_VECTOR)
    return -E2BIG;
  for (u32 i = 0; i < l.count; i++)
    v[i] = csn_s(c, s[i]);
  v[l.count] = NULL;
  return 0;
}

/* dup3 every slot in files to its number. A slot that sits on a number still to be filled is moved out
 * of the way first, so that any permutation works. */
static int
place_files(const struct engine_exec_args *a, struct csn_ctx *c)
{
  const s64 *want = csn_l(c, a->files);
  u32 n = a->files.count;

  for (u32 i = 0; i < n; i++) {
    s64 slot = want[i];
    long fd;

    if (slot < 0 || c->slots[slot] < 0 || (u32)c->slots[slot] >= n)
      continue;
    fd = csn_sys(__NR_fcntl, c->slots[slot], F_DUPFD_CLOEXEC, n);
    if (fd < 0)
      return (int)fd;
    for (u32 k = 0, old = (u32)c->slots[slot]; k < CSN_SLOTS; k++)
      if (c->slots[k] == (s32)old)
        c->slots[k] = (s32)fd;
  }
  /* The program's descriptor, and the socket to the creator, are not in the way: both are >= n or
   * closed on exec by now. */
  if (a->fd >= 0 && c->slots[a->fd] >= 0 && (u32)c->slots[a->fd] < n) {
    long fd = csn_sys(__NR_fcntl, c->slots[a->fd], F_DUPFD_CLOEXEC, n);

    if (fd < 0)
      return (int)fd;
    c->slots[a->fd] = (s32)fd;
  }
  for (u32 i = 0; i < n; i++) {
    long rc;

    if (want[i] < 0) {
      csn_close((int)i);
      continue;
    }
    if (c->slots[want[i]] < 0)
      return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
    rc = csn_sys(__NR_dup3, c->slots[want[i]], i, 0);
    if (rc < 0)
      return (int)rc;
  }
  return (int)csn_sys(__NR_close_range, n, ~0u, CLOSE_RANGE_CLOEXEC);
}

static const char *
path_of(const char *const *env)
{
  for (; *env; env++) {
    const char *e = *env;

    if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
      return e + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static bool
runnable(const char *path, int *err)
{
  struct {
    u8 bytes[512];
  } st;
  struct statx *sx = (struct statx *)&st;
  long rc = csn_sys(__NR_statx, AT_FDCWD, path, 0, STATX_TYPE | STATX_MODE, sx);

  if (rc < 0) {
    if (rc == -EACCES)
      *err = -EACCES;
    return false;
  }
  if ((sx->stx_mode & 0170000) != 0100000 ||
      csn_sys(__NR_faccessat, AT_FDCWD, path, X_OK, 0) < 0) {
    *err = -EACCES;
    return false;
  }
  return true;
}

/* As execvp(3) does, in the root and with the PATH that the program will have. */
static int
find_program(const char *name, const char *path, struct csn_ctx *c)
{
  int err = -ENOENT;

  for (const char *s = name; *s; s++)
    if (*s == '/') {
      csn_append(found, sizeof(found), 0, name);
      return 0;
    }
  while (*name) {
    size_t n = 0;

    while (*path && *path != ':')
      if (n + 1 < sizeof(found))
        found[n++] = *path++;
      else
        return -ENAMETOOLONG;
    found[n] = 0;
    if (n)
      n = csn_append(found, sizeof(found), n, "/");
    csn_append(found, sizeof(found), n, name);
    if (runnable(found, &err))
      return 0;
    if (!*path++)
      break;
  }
  return csn_detail(c, err, "not in PATH: ", name);
}

static int
reset_signals(const struct engine_exec_args *a)
{
  /* CLONE_CLEAR_SIGHAND leaves ignored signals ignored. Whatever the libc calls it, the kernel's
   * struct sigaction is handler, flags, restorer, mask. */
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    u64 mask;
  } sa = { 0 }, old;
  u64 blocked = a->blocked;

  for (int sig = 1; sig <= 64; sig++)
    if (csn_sys(__NR_rt_sigaction, sig, NULL, &old, 8) == 0 && old.handler)
      csn_sys(__NR_rt_sigaction, sig, &sa, NULL, 8);
  return (int)csn_sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &blocked, NULL, 8);
}

int
csn_exec_prepare(const struct engine_exec_args *a, struct csn_ctx *c)
{
  int rc;

  if ((rc = vector(c, a->argv, argv_buf)) < 0 || (rc = vector(c, a->env, env_buf)) < 0)
    return csn_detail(c, rc, "too many arguments", NULL);
  if (a->fd < 0) {
    const char *name = a->path.off ? csn_s(c, a->path) : argv_buf[0];

    if ((rc = find_program(name, path_of(env_buf), c)) < 0)
      return rc;
  } else if (c->slots[a->fd] < 0) {
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  }
  if ((rc = place_files(a, c)) < 0)
    return rc;
  return reset_signals(a);
}

int
csn_exec(const struct engine_exec_args *a, struct csn_ctx *c)
{
  long rc;

  if (a->fd >= 0)
    rc = csn_sys(__NR_execveat, c->slots[a->fd], "", argv_buf, env_buf, AT_EMPTY_PATH);
  else
    rc = csn_sys(__NR_execve, found, argv_buf, env_buf);
  if (a->fd < 0)
    return csn_detail(c, (int)rc, found, NULL);
  return (int)rc;
}
