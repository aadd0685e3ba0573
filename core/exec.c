/* SPDX-License-Identifier: MIT
 *
 * exec: the descriptor table, signals, and the program, by path, by PATH inside the new root, or by
 * descriptor (execveat(2)).
 */
#include "exec.h"
#include <linux/close_range.h>
#include <linux/stat.h>
#include <linux/limits.h>
#include <linux/mman.h>

#ifndef X_OK
#define X_OK 1
#endif

CSN_ACTION(engine_clone, "clone", CLONE, CSN_PARENT, CSN_ACT_CLONE,
           "$namespaces[ into $cgroup][ copy=$copy]")
CSN_ACTION(engine_lua, "lua", LUA, CSN_CHILD, CSN_ACT_LUA, "$name")
CSN_ACTION(engine_send, "send", SEND, CSN_CHILD, CSN_ACT_SEND, "$fd")
CSN_ACTION(engine_stop, "stop", STOP, CSN_CHILD, CSN_ACT_STOP, "")
CSN_ACTION(engine_exec, "exec", EXEC, CSN_CHILD, CSN_ACT_EXEC, "$argv[ fd=$fd][ path=$path]")

/* How the program is found is settled before the filter is loaded, and kept here. One child at a time:
 * the runner makes one, and a fork has its own copy. */

#define SMALL_VECTOR 120

static struct {
  const char *argv[SMALL_VECTOR + 2], *env[SMALL_VECTOR + 2];
  const char **used_argv, **used_env;
  char home[256], found[PATH_MAX];
} kept __attribute__((aligned(4096))); /* of which one page is touched */

/* The kernel alone says how much is too much. There is room for one more. */
static int
vector(const struct csn_ctx *c, struct csn_list l, const char **small, const char ***out)
{
  const struct csn_str *s = csn_l(c, l);
  const char **v = small;

  if (l.count > SMALL_VECTOR) {
    long m = csn_sys(__NR_mmap, 0, ((size_t)l.count + 2) * sizeof(*v), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (m < 0 && m > -4096)
      return (int)m;
    v = (const char **)m;
  }
  for (u32 i = 0; i < l.count; i++)
    v[i] = csn_s(c, s[i]);
  v[l.count] = NULL;
  *out = v;
  return 0;
}

/* Which of the program's descriptors it was; returns err. */
static int
at_number(struct csn_ctx *c, int err, const char *what, u32 number)
{
  char text[24];

  csn_append_u64(text, sizeof(text), 0, number);
  return csn_detail(c, err, what, text);
}

/* A slot that sits on a number still to be filled is moved out of the way: those in files, so that any
 * permutation works, and all others, since the last steps and exec may need them. */
static int
clear_numbers(struct csn_ctx *c, u32 n)
{
  for (u32 i = 0; i < CSN_SLOTS; i++) {
    s32 old = c->slots[i];
    long fd;

    if (old < 0 || (u32)old >= n)
      continue;
    fd = csn_dup(old, n);
    if (fd < 0)
      return at_number(c, (int)fd, "fcntl: a number from here on: ", n);
    for (u32 k = i; k < CSN_SLOTS; k++) /* two slots may hold one descriptor */
      if (c->slots[k] == old)
        c->slots[k] = (s32)fd;
  }
  return 0;
}

/* dup3 every slot in files to its number; what else is open ends with exec. The socket to the creator
 * may go here: nothing is said on it any more. */
static int
place_files(const struct engine_exec_args *a, struct csn_ctx *c)
{
  const s64 *want = csn_l(c, a->files);
  u32 n = a->files.count;
  int rc = clear_numbers(c, n);

  for (u32 i = 0; rc >= 0 && i < n; i++) {
    if (want[i] < 0)
      csn_close((int)i);
    else if (c->slots[want[i]] < 0)
      return at_number(c, -EBADF, "no descriptor in the slot for descriptor ", i);
    else if ((rc = (int)csn_sys(__NR_dup3, c->slots[want[i]], i, 0)) < 0)
      /* the old one is open: EBADF says that the new number is beyond the limit */
      return at_number(c, rc == -EBADF ? -EMFILE : rc, "dup3 to descriptor ", i);
  }
  if (rc >= 0 && (rc = (int)csn_sys(__NR_close_range, n, ~0u, CLOSE_RANGE_CLOEXEC)) < 0)
    return csn_detail(c, rc, "close_range", NULL);
  return rc;
}

/* The value of a variable (a name of four letters), or NULL. */
static const char *
variable(const char *const *env, const char name[5])
{
  for (; *env; env++) {
    const char *e = *env;
    int i = 0;

    while (i < 4 && e[i] == name[i])
      i++;
    if (i == 4 && e[4] == '=')
      return e + 5;
  }
  return NULL;
}

static const char *
path_of(const char *const *env)
{
  const char *path = variable(env, "PATH");

  return path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static void
add_home(const char **env, u32 n)
{
  const size_t name = csn_append(kept.home, sizeof(kept.home), 0, "HOME=");

  if (variable(env, "HOME"))
    return;
  if (!csn_find_home((u32)csn_sys(__NR_getuid, 0), kept.home + name, sizeof(kept.home) - name))
    csn_append(kept.home, sizeof(kept.home), name, "/");
  env[n] = kept.home;
  env[n + 1] = NULL;
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
  if ((sx->stx_mode & 0170000) != 0100000 || csn_sys(__NR_faccessat, AT_FDCWD, path, X_OK, 0) < 0) {
    *err = -EACCES;
    return false;
  }
  return true;
}

/* Append to `found`; false where it would not fit. */
static bool
extend(size_t *n, const char *s, size_t len)
{
  if (len >= sizeof(kept.found) - *n)
    return false;
  for (size_t i = 0; i < len; i++)
    kept.found[(*n)++] = s[i];
  kept.found[*n] = 0;
  return true;
}

/* As execvp(3) does, in the root and with the PATH that the program will have; an empty entry is the
 * working directory. */
static int
find_program(const char *name, const char *path, struct csn_ctx *c)
{
  size_t name_len = csn_strlen(name), n = 0, dir;
  int err = -ENOENT;

  if (!name_len)
    return csn_detail(c, -ENOENT, "an empty name", NULL);
  for (const char *s = name; *s; s++)
    if (*s == '/')
      return extend(&n, name, name_len) ? 0 : -ENAMETOOLONG;
  for (;; path += dir + 1) {
    for (dir = 0; path[dir] && path[dir] != ':'; dir++)
      ;
    n = 0;
    if (!extend(&n, path, dir) || !extend(&n, "/", dir > 0) || !extend(&n, name, name_len))
      err = -ENAMETOOLONG;
    else if (runnable(kept.found, &err))
      return 0;
    if (!path[dir])
      break;
  }
  return csn_detail(c, err, "not in PATH: ", name);
}

/* Whoever it will be: no regular file, or one that is executable for nobody. */
static bool
never_runnable(const char *path)
{
  struct {
    u8 bytes[512];
  } st;
  struct statx *sx = (struct statx *)&st;

  return csn_sys(__NR_statx, AT_FDCWD, path, 0, STATX_TYPE | STATX_MODE, sx) == 0 &&
         ((sx->stx_mode & 0170000) != 0100000 || !(sx->stx_mode & 0111));
}

int
csn_exec_check(const struct engine_exec_args *a, struct csn_ctx *c)
{
  const char *name;
  int rc, err = -ENOENT;

  if (a->fd >= 0)
    return c->slots[a->fd] < 0 ? csn_detail(c, -EBADF, "no descriptor in the slot", NULL) : 0;
  if ((rc = vector(c, a->argv, kept.argv, &kept.used_argv)) < 0 ||
      (rc = vector(c, a->env, kept.env, &kept.used_env)) < 0)
    return csn_detail(c, rc, "memory for the arguments", NULL);
  name = a->path.off ? csn_s(c, a->path) : kept.used_argv[0];
  rc = find_program(name ? name : "", path_of(kept.used_env), c);
  if (rc == -EACCES) /* who may execute it, and where a relative path begins, is settled later */
    return 0;
  if (rc == 0 && kept.found[0] == '/' && !runnable(kept.found, &err) &&
      (err != -EACCES || never_runnable(kept.found)))
    rc = csn_detail(c, err, kept.found, NULL);
  return rc;
}

int
csn_exec_signals(const struct engine_exec_args *a, bool at_default)
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

  for (int sig = 1; sig <= 64 && !at_default; sig++)
    if (csn_sys(__NR_rt_sigaction, sig, NULL, &old, 8) == 0 && old.handler)
      csn_sys(__NR_rt_sigaction, sig, &sa, NULL, 8);
  return (int)csn_sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &blocked, NULL, 8);
}

int
csn_exec_prepare(const struct engine_exec_args *a, struct csn_ctx *c)
{
  int rc;

  if ((rc = vector(c, a->argv, kept.argv, &kept.used_argv)) < 0 ||
      (rc = vector(c, a->env, kept.env, &kept.used_env)) < 0)
    return csn_detail(c, rc, "memory for the arguments", NULL);
  if (a->home)
    add_home(kept.used_env, a->env.count);
  if (a->fd < 0) {
    const char *name = a->path.off ? csn_s(c, a->path) : kept.used_argv[0];

    if ((rc = find_program(name ? name : "", path_of(kept.used_env), c)) < 0)
      return rc;
  } else if (c->slots[a->fd] < 0) {
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  }
  return place_files(a, c);
}

void
csn_exec_release(const struct engine_exec_args *a)
{
  if (a->argv.count > SMALL_VECTOR && kept.used_argv)
    csn_sys(__NR_munmap, kept.used_argv, ((size_t)a->argv.count + 2) * sizeof(*kept.used_argv));
  if (a->env.count > SMALL_VECTOR && kept.used_env)
    csn_sys(__NR_munmap, kept.used_env, ((size_t)a->env.count + 2) * sizeof(*kept.used_env));
  kept.used_argv = kept.used_env = NULL;
}

int
csn_exec(const struct engine_exec_args *a, struct csn_ctx *c)
{
  if (a->fd >= 0)
    return (int)csn_sys(__NR_execveat, c->slots[a->fd], "", kept.used_argv, kept.used_env,
                        AT_EMPTY_PATH);
  return csn_detail(c, (int)csn_sys(__NR_execve, kept.found, kept.used_argv, kept.used_env),
                    kept.found, NULL);
}
