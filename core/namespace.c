/* SPDX-License-Identifier: MIT
 * Namespaces: made by unshare(2), joined by setns(2), limited; and the clocks of a time namespace
 * (namespaces(7), time_namespaces(7)). New ones at birth are the engine's clone; id maps are idmap.c. */
#include "procfs.h"
#include "plan.h"
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>

#define UNSHARE(F) F(flags, namespaces, CSN_REQUIRED, csn_namespace_words, 0)
CSN_ARGS(namespace_unshare, UNSHARE)

static int
apply_unshare(const struct namespace_unshare_args *a, struct csn_ctx *c)
{
  int rc;

  if (!a->namespaces)
    return csn_detail(c, -EINVAL, "no namespace", NULL);
  /* These are for the children of the process that makes them. Exec takes it into its time namespace,
   * but only where the kernel does that. */
  if (c->born && (a->namespaces & CLONE_NEWPID))
    return csn_detail(c, -EINVAL, "a process stays in its pid namespace: clone makes the child's",
                      NULL);
  if (c->born && (a->namespaces & CLONE_NEWTIME) && !csn_kernel_from(6, 1))
    return csn_detail(c, -EOPNOTSUPP, "before Linux 6.1 clone alone makes a time namespace", NULL);
  rc = (int)csn_sys(__NR_unshare, a->namespaces);
  if (rc == 0)
    c->own |= a->namespaces;
  return rc;
}

CSN_PRIMITIVE(namespace_unshare, "namespace.unshare", UNSHARE, CSN_CHILD | CSN_SELF, apply_unshare,
              NULL, "$namespaces")

/* ---- joining ---- */

static const struct kind {
  const char *file; /* in /proc/PID/ns */
  u64 flag;
} kinds[] = {
  { "user", CLONE_NEWUSER }, { "mnt", CLONE_NEWNS },        { "net", CLONE_NEWNET },
  { "ipc", CLONE_NEWIPC },   { "cgroup", CLONE_NEWCGROUP }, { "uts", CLONE_NEWUTS },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Inodes of this process's namespaces; 0 where one can't be told. */
static void
look_at_own(int dir, u64 *ino)
{
  for (u32 i = 0; i < KINDS; i++) {
    struct statx st = { 0 };

    ino[i] = csn_sys(__NR_statx, dir, kinds[i].file, 0, STATX_INO, &st) == 0 ? st.stx_ino : 0;
  }
}

/* A namespace that was joined by a path may be the host's own, where what is done to it is done to the
 * host: only what has changed counts as the container's. */
static int
join(int fd, u64 flags, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int dir = csn_proc_open(c, "self/ns", O_PATH | O_DIRECTORY);
  u64 before[KINDS], after[KINDS];
  long rc;

  c->detail_len = 0;
  look_at_own(dir, before);
  /* From here on a process of the container may see this one, and must not trace it or open its files. */
  rc = csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (rc == 0)
    rc = csn_sys(__NR_setns, fd, flags);
  c->joined = true;
  if (rc < 0)
    return (int)rc;
  look_at_own(dir, after);
  for (u32 i = 0; i < KINDS; i++)
    if (before[i] && after[i] && before[i] != after[i])
      c->own |= kinds[i].flag;
  return 0;
}

#define JOIN(F)                                                                                    \
  F(flags, namespaces, CSN_REQUIRED, csn_namespace_words, 0)                                       \
  F(path, path, 0, NULL, 0)                                                                        \
  F(slot, fd, 0, NULL, (u64)-1)
CSN_ARGS(namespace_join, JOIN)

static int
apply_join(const struct namespace_join_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int opened = -1;
  int fd;

  if (!a->path.off == (a->fd < 0))
    return csn_detail(c, -EINVAL, "one of path and fd", NULL);
  /* To setns(2) no flag at all means any kind. */
  if (!a->namespaces)
    return csn_detail(c, -EINVAL, "no namespace", NULL);
  if (c->born && (a->namespaces & CLONE_NEWPID))
    return csn_detail(c, -EINVAL, "a process stays in its pid namespace: join before clone", NULL);
  if (a->path.off) {
    fd = opened =
        (int)csn_sys(__NR_openat, AT_FDCWD, csn_s(c, a->path), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
      return fd;
  } else {
    fd = c->slots[a->fd];
    if (fd < 0)
      return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  }
  return join(fd, a->namespaces, c);
}

CSN_PRIMITIVE(namespace_join, "namespace.join", JOIN, CSN_CHILD | CSN_SELF, apply_join, NULL,
              "$namespaces[ of $path][ of $fd]")

/* ---- limits: /proc/sys/user ---- */

#define LIMIT(F)                                                                                   \
  F(flags, namespaces, 0, csn_namespace_words, CLONE_NEWUSER)                                      \
  F(u32, max, 0, NULL, 0)
CSN_ARGS(namespace_limit, LIMIT)

/* The limits are of the user namespace that the process is in, and of all below it. */
static int
apply_limit(const struct namespace_limit_args *a, struct csn_ctx *c)
{
  if (!(c->own & CLONE_NEWUSER))
    return csn_detail(c, -EPERM,
                      "it needs a user namespace of the container's own: "
                      "here it would limit the host's",
                      NULL);
  for (const struct csn_word *w = csn_namespace_words; w->name; w++) {
    char path[64], text[16];
    size_t n = csn_append(path, sizeof(path), 0, "sys/user/max_");
    int rc;

    if (!(a->namespaces & w->value))
      continue;
    n = csn_append(path, sizeof(path), n, w->value == CLONE_NEWNS ? "mnt" : w->name);
    csn_append(path, sizeof(path), n, "_namespaces");
    n = csn_append_u64(text, sizeof(text), 0, a->max);
    rc = csn_proc_write(csn_proc_open(c, path, O_WRONLY), text, n);
    if (rc < 0)
      return c->detail_len ? rc : csn_detail(c, rc, "/proc/", path);
  }
  return 0;
}

CSN_PRIMITIVE(namespace_limit, "namespace.limit", LIMIT, CSN_CHILD, apply_limit, NULL,
              "[$namespaces][ max $max]")

/* ---- time ---- */

#define OFFSETS(F)                                                                                 \
  F(int, monotonic, 0, NULL, 0)                                                                    \
  F(u32, monotonic_ns, 0, NULL, 0)                                                                 \
  F(int, boottime, 0, NULL, 0)                                                                     \
  F(u32, boottime_ns, 0, NULL, 0)
CSN_ARGS(time_offsets, OFFSETS)

static size_t
append_offset(char *buf, size_t size, size_t n, const char *clock, s64 seconds, u64 ns)
{
  n = csn_append(buf, size, n, clock);
  n = csn_append(buf, size, n, seconds < 0 ? " -" : " ");
  n = csn_append_u64(buf, size, n, (u64)(seconds < 0 ? -seconds : seconds));
  n = csn_append(buf, size, n, " ");
  n = csn_append_u64(buf, size, n, ns);
  return csn_append(buf, size, n, "\n");
}

/* They can be written until the first process is inside; a child that exec puts inside is not yet. */
static int
apply_offsets(const struct time_offsets_args *a, struct csn_ctx *c)
{
  char text[160];
  size_t n = 0;
  int rc;

  if (a->monotonic_ns >= 1000000000u || a->boottime_ns >= 1000000000u)
    return csn_detail(c, -EINVAL, "nanoseconds are at most 999999999", NULL);
  if (a->present & 3)
    n = append_offset(text, sizeof(text), n, "monotonic", a->monotonic, a->monotonic_ns);
  if (a->present & 12)
    n = append_offset(text, sizeof(text), n, "boottime", a->boottime, a->boottime_ns);
  if (!n)
    return csn_detail(c, -EINVAL, "no offset", NULL);
  rc = csn_proc_write(csn_proc_open_pid(c, "timens_offsets", O_WRONLY), text, n);
  if (rc == -EACCES && !c->detail_len)
    csn_detail(c, rc, "a process is already in the time namespace", NULL);
  return rc;
}

CSN_PRIMITIVE(
    time_offsets, "time_offsets", OFFSETS, CSN_PARENT, apply_offsets, NULL,
    "[monotonic $monotonic s ][+$monotonic_ns ns ][boottime $boottime s ][+$boottime_ns ns]")
