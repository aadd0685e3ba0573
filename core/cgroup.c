/* SPDX-License-Identifier: MIT
 *
 * Control groups, version 1 and 2: made, set and entered (cgroups(7)).
 *
 * A group is a directory of one hierarchy; a plan knows it by a slot. On v2 clone puts the child into
 * the group of slot "cgroup" (CLONE_INTO_CGROUP). On v1 the child enters by its first steps, as a process of
 * one thread, through the file tasks: any write to cgroup.procs, and any write of another's pid, makes
 * the kernel wait for an RCU grace period, about 10 ms on an idle machine. Its creator stays outside: it
 * would count as a process, and pids.max = 1 would leave no room for the child.
 */
#include "cgroup.h"
#include <linux/magic.h>
#include <linux/sched.h>
#include <asm/statfs.h>

int
csn_cgroup_version(int fd)
{
  struct statfs st;
  long rc = csn_sys(__NR_fstatfs, fd, &st);

  if (rc < 0)
    return (int)rc;
  return st.f_type == CGROUP2_SUPER_MAGIC ? 2 : st.f_type == CGROUP_SUPER_MAGIC ? 1 : -EMEDIUMTYPE;
}

/* One name: not a path, so that nothing outside the group is reached. */
static bool
is_name(const char *s)
{
  if (!*s || csn_streq(s, ".") || csn_streq(s, ".."))
    return false;
  while (*s && *s != '/')
    s++;
  return !*s;
}

static int
open_file(int group, const char *file, int flags)
{
  CSN_CLEANUP_FD int fd = -1;
  int rc;

  if (!is_name(file))
    return -EINVAL;
  fd = (int)csn_sys(__NR_openat, group, file, flags | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0)
    return fd;
  rc = csn_cgroup_version(fd);
  return rc < 0 ? rc : csn_steal_fd(&fd);
}

long
csn_cgroup_read(int group, const char *file, char *buf, size_t size)
{
  CSN_CLEANUP_FD int fd = open_file(group, file, O_RDONLY);
  size_t len = 0;
  long n;

  if (fd < 0)
    return fd;
  do {
    if (len == size)
      return -EFBIG;
    n = CSN_RETRY(csn_sys(__NR_read, fd, buf + len, size - len));
    if (n < 0)
      return n;
    len += (size_t)n;
  } while (n > 0);
  buf[len] = 0;
  return (long)len;
}

int
csn_cgroup_write(int group, const char *file, const char *data, size_t len)
{
  CSN_CLEANUP_FD int fd = open_file(group, file, O_WRONLY);
  long n;

  if (fd < 0)
    return fd;
  n = CSN_RETRY(csn_sys(__NR_write, fd, data, len));
  return n < 0 ? (int)n : (size_t)n == len ? 0 : -EIO;
}

/* ---- create ---- */

int
csn_draw_run(struct csn_ctx *c)
{
  while (!c->run) {
    long n = CSN_RETRY(csn_sys(__NR_getrandom, &c->run, sizeof(c->run), 0));

    if (n < 0)
      return (int)n;
  }
  return 0;
}

long
csn_cgroup_component(const char *p, struct csn_ctx *c, char name[CSN_CGROUP_NAME])
{
  const char *s = p;
  size_t n = 0;
  int rc;

  for (; *s && *s != '/'; s++) {
    if (n + 17 > CSN_CGROUP_NAME)
      return -ENAMETOOLONG;
    if (*s != '*') {
      name[n++] = *s;
      continue;
    }
    if ((rc = csn_draw_run(c)) < 0)
      return rc;
    for (int shift = 60; shift >= 0; shift -= 4)
      name[n++] = "0123456789abcdef"[c->run >> shift & 15];
  }
  name[n] = 0;
  return is_name(name) ? s - p : -EINVAL;
}

/* Is word among the words of list, which spaces separate? */
static bool
has_word(const char *list, const char *word)
{
  size_t n = csn_strlen(word);

  for (; *list; list++) {
    size_t k = 0;

    while (k < n && list[k] == word[k])
      k++;
    if (k == n && (!list[n] || list[n] == ' ' || list[n] == '\n'))
      return true;
    while (*list && *list != ' ')
      list++;
    if (!*list)
      break;
  }
  return false;
}

int
csn_cgroup_enable(struct csn_list controllers, struct csn_ctx *c, int group, const char *name)
{
  const struct csn_str *wanted = csn_l(c, controllers);
  char have[512], want[512] = "";
  size_t n = 0;
  long rc;
  int err;

  if (!controllers.count)
    return 0;
  rc = csn_cgroup_read(group, "cgroup.subtree_control", have, sizeof(have));
  if (rc < 0)
    return csn_detail(c, (int)rc, "cgroup.subtree_control of ", name);
  for (u32 i = 0; i < controllers.count; i++)
    if (!has_word(have, csn_s(c, wanted[i]))) {
      n = csn_append(want, sizeof(want), n, n ? " +" : "+");
      n = csn_append(want, sizeof(want), n, csn_s(c, wanted[i]));
    }
  if (!n)
    return 0;
  err = csn_cgroup_write(group, "cgroup.subtree_control", want, n);
  if (err < 0) {
    csn_detail(c, err, want, " to cgroup.subtree_control of ");
    c->detail_len = (u32)csn_append(c->detail, sizeof(c->detail), c->detail_len, name);
  }
  return err;
}

/* v1: nothing can enter a cpuset without CPUs and memory nodes, and a new one has none. */
static int
inherit_cpuset(const struct cgroup_create_args *a, struct csn_ctx *c, int parent, int group)
{
  static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
  const struct csn_str *wanted = csn_l(c, a->controllers);
  char value[4096];
  bool cpuset = false;

  for (u32 i = 0; i < a->controllers.count; i++)
    cpuset |= csn_streq(csn_s(c, wanted[i]), "cpuset");
  for (int i = 0; cpuset && i < 2; i++) {
    long n = csn_cgroup_read(parent, files[i], value, sizeof(value));

    if (n > 0)
      n = csn_cgroup_write(group, files[i], value, (size_t)n);
    if (n < 0)
      return csn_detail(c, (int)n, files[i], NULL);
  }
  return 0;
}

/* A group with the run's own name belongs to whoever holds its lock, for as long as he lives: what is left
 * of a host that was killed can be told from what is in use, and be swept. -ENOENT: it was swept already, in
 * the moment between mkdir and this. */
static int
hold(const struct cgroup_create_args *a, struct csn_ctx *c, int parent, const char *name, int group)
{
  const char *p = csn_s(c, a->path);
  long rc;

  while (*p && *p != '*')
    p++;
  if (!*p)
    return 0;
  rc = csn_sys(__NR_flock, group, 2 | 4); /* LOCK_EX | LOCK_NB */
  if (rc == 0)
    rc = csn_sys(__NR_faccessat, parent, name, 0);
  return rc == -EAGAIN ? -ENOENT : (int)rc;
}

/* All of it is looked at before anything is made; what undo() puts together has to fit, too. */
static int
check_path(const struct cgroup_create_args *a, struct csn_ctx *c)
{
  const char *p = csn_s(c, a->path);
  char name[CSN_CGROUP_NAME];
  size_t len = a->at.len;

  for (;; p++) {
    long n = csn_cgroup_component(p, c, name);

    if (n < 0)
      return csn_detail(c, (int)n, "the name of a group is one that a directory can have, not ", p);
    len += 1 + csn_strlen(name);
    if (len >= CSN_CGROUP_PATH)
      return csn_detail(c, -ENAMETOOLONG, "the path is too long", NULL);
    p += n;
    if (!*p)
      return 0;
  }
}

/* Make the group, and the groups above it that are missing. The number of those made is kept up to date in
 * *made, also on failure: they are the last of the path. */
static int
make_groups(const struct cgroup_create_args *a, struct csn_ctx *c, int *made)
{
  const char *p = csn_s(c, a->path), *above = csn_s(c, a->at);
  CSN_CLEANUP_FD int dir = -1;
  char name[CSN_CGROUP_NAME], last[CSN_CGROUP_NAME];
  int version, rc = check_path(a, c);

  if (rc < 0)
    return rc;
  dir = (int)csn_sys(__NR_openat, AT_FDCWD, above, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (dir < 0)
    return csn_detail(c, dir, above, NULL);
  version = csn_cgroup_version(dir);
  if (version < 0)
    return csn_detail(c, version, above,
                      version == -EMEDIUMTYPE ? " is not on a cgroup file system" : NULL);

  for (;;) {
    long n = csn_cgroup_component(p, c, name);
    bool leaf, is_new;
    int sub;

    if (n < 0)
      return (int)n;
    leaf = !p[n];
    if (version == 2 && (rc = csn_cgroup_enable(a->controllers, c, dir, above)) < 0)
      return rc;
    rc = (int)csn_sys(__NR_mkdirat, dir, name, 0755);
    is_new = rc == 0;
    if (is_new)
      ++*made;
    else if (rc != -EEXIST || (leaf && !a->existing))
      return csn_detail(c, rc, name, rc == -EEXIST ? " is there already" : NULL);
    sub = (int)csn_sys(__NR_openat, dir, name,
                       (leaf ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (sub < 0)
      return csn_detail(c, sub, name, NULL);
    rc = version == 1 && is_new ? inherit_cpuset(a, c, dir, sub) : 0;
    if (rc == 0 && leaf && is_new)
      rc = hold(a, c, dir, name, sub);
    csn_close(dir);
    dir = sub;
    if (rc < 0)
      return rc;
    if (leaf)
      return csn_fill(c, a->slot, csn_steal_fd(&dir));
    for (size_t i = 0; i < sizeof(name); i++)
      last[i] = name[i];
    above = last;
    p += n + 1;
  }
}

/* Returns the number of directories made, which undo() takes back. */
static int
apply_cgroup_create(const struct cgroup_create_args *a, struct csn_ctx *c)
{
  int made, rc, tries = 8;

  do {
    made = 0;
    rc = make_groups(a, c, &made);
#ifndef CSN_RUNNER
    if (rc < 0) {
      c->made = made;
      csn_cgroup_undo_create(a, c);
    }
#endif
    /* A group above that another run made, and removed meanwhile. */
  } while (rc == -ENOENT && --tries);
  return rc < 0 ? rc : made < 254 ? made : 254;
}

#ifdef CSN_RUNNER
#define undo_create NULL
#else
#define undo_create csn_cgroup_undo_create
#endif

CSN_PRIMITIVE(cgroup_create, "cgroup.create", CGROUP_CREATE, CSN_PARENT, apply_cgroup_create,
              undo_create, "$at/$path[ ($controllers)]")

/* ---- leave ---- */

#define CGROUP_LEAVE(F) F(path, at, CSN_REQUIRED, NULL, 0) F(str, leaf, CSN_REQUIRED, NULL, 0)
CSN_ARGS(cgroup_leave, CGROUP_LEAVE)

/* Move each process that a chunk of cgroup.procs names; a pid may go on in the next chunk. */
static int
move_listed(const char *buf, size_t n, char pid[24], size_t *len, int leaf)
{
  for (size_t i = 0; i < n; i++) {
    int rc;

    if (buf[i] != '\n') {
      if (*len < 23)
        pid[(*len)++] = buf[i];
      continue;
    }
    rc = csn_cgroup_write(leaf, "cgroup.procs", pid, *len);
    *len = 0;
    if (rc < 0 && rc != -ESRCH) /* gone meanwhile */
      return rc;
  }
  return 0;
}

/* v2: only a group without processes can give controllers to those below it. All that are in `at`, this
 * process among them, go into a group below. */
static int
apply_cgroup_leave(const struct cgroup_leave_args *a, struct csn_ctx *c)
{
  const char *at = csn_s(c, a->at), *name = csn_s(c, a->leaf);
  CSN_CLEANUP_FD int dir = -1;
  CSN_CLEANUP_FD int leaf = -1;
  int rc;

  if (!is_name(name))
    return csn_detail(c, -EINVAL, "leaf: the name of a group expected", NULL);
  dir = (int)csn_sys(__NR_openat, AT_FDCWD, at, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (dir < 0)
    return dir;
  rc = csn_cgroup_version(dir);
  if (rc != 2)
    return rc < 0 ? rc : csn_detail(c, -EOPNOTSUPP, "cgroup v1 needs no leaf", NULL);
  rc = (int)csn_sys(__NR_mkdirat, dir, name, 0755);
  if (rc < 0 && rc != -EEXIST)
    return rc;
  leaf = (int)csn_sys(__NR_openat, dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (leaf < 0)
    return leaf;
  for (int pass = 0;; pass++) { /* they may fork while they are moved */
    CSN_CLEANUP_FD int procs = open_file(dir, "cgroup.procs", O_RDONLY);
    char buf[512], pid[24];
    size_t len = 0, total = 0;
    long n = procs;

    while (procs >= 0 && (n = CSN_RETRY(csn_sys(__NR_read, procs, buf, sizeof(buf)))) > 0) {
      total += (size_t)n;
      if ((rc = move_listed(buf, (size_t)n, pid, &len, leaf)) < 0)
        return csn_detail(c, rc, "moving a process to ", name);
    }
    if (n < 0 || !total)
      return (int)n;
    if (pass == 100)
      return csn_detail(c, -EBUSY, "new processes come faster than they are moved", NULL);
  }
}

CSN_PRIMITIVE(cgroup_leave, "cgroup.leave", CGROUP_LEAVE, CSN_PARENT, apply_cgroup_leave, NULL,
              "$at -> $leaf")

/* ---- set ---- */

#define CGROUP_SET(F)                                                                              \
  F(str, file, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, value, CSN_REQUIRED, NULL, 0)                                                             \
  F(slot, group, 0, NULL, CSN_SLOT_CGROUP)                                                         \
  F(bool, verify, 0, NULL, 0)                                                                      \
  F(strs, more, 0, NULL, 0)
CSN_ARGS(cgroup_set, CGROUP_SET)

/* Several values, each by a write of its own, as files of rules want them. All are tried: the first that fails is told. */
static int
set_each(const struct cgroup_set_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int fd = open_file(c->slots[a->group], csn_s(c, a->file), O_WRONLY);
  const struct csn_str *more = csn_l(c, a->more), *value = &a->value;
  int rc = 0;

  if (fd < 0)
    return fd;
  for (u32 i = 0;; value = &more[i++]) {
    long n = CSN_RETRY(csn_sys(__NR_write, fd, csn_s(c, *value), value->len));

    if (rc == 0 && n != (long)value->len)
      rc = csn_detail(c, n < 0 ? (int)n : -EIO, "at ", csn_s(c, *value));
    if (i == a->more.count)
      return rc;
  }
}

/* Some kernels take a write to a file that they have given up, and ignore it. What was given is rounded
 * sometimes, so that it can be told only by the file not having changed. */
static int
set_verified(int group, const char *file, struct csn_str value, struct csn_ctx *c)
{
  char before[64], after[64];
  const char *text = csn_s(c, value);
  long n = csn_cgroup_read(group, file, before, sizeof(before));
  int rc;

  if (n < 0)
    return (int)n;
  rc = csn_cgroup_write(group, file, text, value.len);
  if (rc < 0)
    return rc;
  n = csn_cgroup_read(group, file, after, sizeof(after));
  if (n < 0)
    return (int)n;
  if (n > 0 && after[n - 1] == '\n')
    after[n - 1] = 0;
  if (csn_streq(after, text))
    return 0;
  for (size_t i = 0;; i++) {
    if (before[i] == '\n')
      before[i] = 0;
    if (before[i] != after[i])
      return 0;
    if (!before[i])
      return csn_detail(c, -EOPNOTSUPP, "this kernel takes the write and ignores it", NULL);
  }
}

static int
apply_cgroup_set(const struct cgroup_set_args *a, struct csn_ctx *c)
{
  const char *file = csn_s(c, a->file);

  if (c->slots[a->group] < 0)
    return csn_detail(c, -EBADF, "no group is there", NULL);
  if (!is_name(file))
    return csn_detail(c, -EINVAL, "the name of a file of the group expected", NULL);
  if (a->more.count)
    return set_each(a, c);
  if (a->verify)
    return set_verified(c->slots[a->group], file, a->value, c);
  return csn_cgroup_write(c->slots[a->group], file, csn_s(c, a->value), a->value.len);
}

CSN_PRIMITIVE(cgroup_set, "cgroup.set", CGROUP_SET, CSN_PARENT, apply_cgroup_set, NULL,
              "$file = $value[ $more]")

/* ---- attach ---- */

#define CGROUP_ATTACH(F) F(slot, group, 0, NULL, CSN_SLOT_CGROUP)
CSN_ARGS(cgroup_attach, CGROUP_ATTACH)

/* tasks moves one thread, without the grace period. unshare(CLONE_THREAD) changes nothing: it answers whether this
 * process has one thread only, as the runner's child has until it has a courier. */
static bool
has_one_thread(const struct csn_ctx *c)
{
#ifdef CSN_RUNNER
  if (c->born && !c->courier)
    return true;
#endif
  return c->pid == 0 && csn_sys(__NR_unshare, CLONE_THREAD) == 0;
}

/* The child on the parent's side, else this very process. Of what version the group is, the file says that is
 * written to: v2 has no tasks. */
static int
apply_cgroup_attach(const struct cgroup_attach_args *a, struct csn_ctx *c)
{
  int group = c->slots[a->group], version, rc = -ENOENT;
  char pid[24] = "";

  if (group < 0)
    return csn_detail(c, -EBADF, "no group is there", NULL);
  csn_append_u64(pid, sizeof(pid), 0, (u64)c->pid);
  if (c->pid == 0 && has_one_thread(c))
    rc = csn_cgroup_write(group, "tasks", pid, csn_strlen(pid));
  if (rc == -ENOENT)
    rc = csn_cgroup_write(group, "cgroup.procs", pid, csn_strlen(pid));
  version = rc < 0 ? csn_cgroup_version(group) : 0;
  return version < 0 ? version : rc;
}

CSN_PRIMITIVE(cgroup_attach, "cgroup.attach", CGROUP_ATTACH, CSN_CHILD, apply_cgroup_attach, NULL,
              "[$group]")
