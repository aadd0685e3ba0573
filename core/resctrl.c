/* SPDX-License-Identifier: MIT
 *
 * Shares of caches and of memory bandwidth: groups of the resctrl filesystem (Intel RDT, AMD QoS; the
 * kernel's Documentation/filesystems/resctrl.rst).
 */
#include "procfs.h"
#include <asm/statfs.h>

#ifndef RDTGROUP_SUPER_MAGIC
#define RDTGROUP_SUPER_MAGIC 0x7655821
#endif
#define MADE_GROUP 1
#define MADE_MONITOR 2

#define RESCTRL(F)                                                                                 \
  F(str, group, 0, NULL, 0)                                                                        \
  F(strs, schemata, 0, NULL, 0)                                                                    \
  F(str, monitor, 0, NULL, 0)                                                                      \
  F(bool, existing, 0, NULL, 0)                                                                    \
  F(path, at, 0, NULL, 0)
CSN_ARGS(resctrl, RESCTRL)

/* Names are of groups, not paths; "" and "." are the default group. */
static bool
is_name(const char *s)
{
  if (!*s || csn_streq(s, ".") || csn_streq(s, "..") || csn_streq(s, "info") ||
      csn_streq(s, "mon_groups") || csn_streq(s, "mon_data"))
    return false;
  for (; *s; s++)
    if (*s == '/' || *s == '\n')
      return false;
  return true;
}

static int
open_dir(int at, const char *name)
{
  return (int)csn_sys(__NR_openat, at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int
open_resctrl(const struct resctrl_args *a, struct csn_ctx *c)
{
  const char *path = a->at.off ? csn_s(c, a->at) : "/sys/fs/resctrl";
  CSN_CLEANUP_FD int fd = open_dir(AT_FDCWD, path);
  struct statfs fs = { 0 };
  long rc = fd < 0 ? fd : csn_sys(__NR_fstatfs, fd, &fs);

  if (fd == -ENOENT)
    return csn_detail(c, -EOPNOTSUPP,
                      "this machine has no resctrl (a processor with RDT or QoS, and a kernel with "
                      "CONFIG_X86_CPU_RESCTRL): ",
                      path);
  if (rc < 0)
    return csn_detail(c, (int)rc, path, NULL);
  if (fs.f_type != RDTGROUP_SUPER_MAGIC)
    return csn_detail(c, -EOPNOTSUPP, "no resctrl is mounted at ", path);
  return csn_steal_fd(&fd);
}

/* What the kernel has to say about the last refusal. */
static int
explain(struct csn_ctx *c, int base, int err, const char *what)
{
  CSN_CLEANUP_FD int fd =
      (int)csn_sys(__NR_openat, base, "info/last_cmd_status", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  char text[CSN_DETAIL];
  long n = fd < 0 ? fd : csn_sys(__NR_read, fd, text, sizeof(text) - 1);

  if (n <= 0 || (n >= 2 && text[0] == 'o' && text[1] == 'k'))
    return csn_detail(c, err, what, NULL);
  while (n > 0 && text[n - 1] == '\n')
    n--;
  text[n] = 0;
  csn_detail(c, err, what, ": ");
  c->detail_len = (u32)csn_append(c->detail, sizeof(c->detail), c->detail_len, text);
  return err;
}

static int
write_line(int dir, const char *file, const char *text)
{
  char line[1024];
  size_t n = csn_append(line, sizeof(line), 0, text);
  int fd;

  n = csn_append(line, sizeof(line), n, "\n");
  if (n + 1 >= sizeof(line))
    return -E2BIG;
  fd = (int)csn_sys(__NR_openat, dir, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  return csn_proc_write(fd, line, n);
}

static int
write_pid(struct csn_ctx *c, int dir)
{
  char text[24];

  csn_append_u64(text, sizeof(text), 0, c->pid ? (u64)c->pid : (u64)csn_sys(__NR_getpid, 0));
  return write_line(dir, "tasks", text);
}

/* 1: made; 0: it was there */
static int
make_dir(int at, const char *name)
{
  long rc = csn_sys(__NR_mkdirat, at, name, 0755);

  return rc == -EEXIST ? 0 : rc < 0 ? (int)rc : 1;
}

static int
fill_group(const struct resctrl_args *a, struct csn_ctx *c, int base, int *made)
{
  const char *group = a->group.off ? csn_s(c, a->group) : ".";
  const struct csn_str *s = csn_l(c, a->schemata);
  CSN_CLEANUP_FD int dir = -1, monitors = -1, monitor = -1;
  int rc = 0;

  if (a->group.off && !a->existing && (rc = make_dir(base, group)) < 0)
    return explain(c, base, rc, group);
  *made = rc ? MADE_GROUP : 0;
  dir = open_dir(base, group);
  if (dir < 0)
    return csn_detail(c, dir, "no such group: ", group);
  for (u32 i = 0; i < a->schemata.count; i++)
    if ((rc = write_line(dir, "schemata", csn_s(c, s[i]))) < 0)
      return explain(c, base, rc, csn_s(c, s[i]));
  if ((rc = write_pid(c, dir)) < 0)
    return explain(c, base, rc, "tasks");
  if (!a->monitor.off)
    return 0;
  monitors = open_dir(dir, "mon_groups");
  if (monitors < 0)
    return csn_detail(c, monitors, "this machine can't monitor: no mon_groups", NULL);
  if ((rc = make_dir(monitors, csn_s(c, a->monitor))) < 0)
    return explain(c, base, rc, csn_s(c, a->monitor));
  *made |= rc ? MADE_MONITOR : 0;
  monitor = open_dir(monitors, csn_s(c, a->monitor));
  rc = monitor < 0 ? monitor : write_pid(c, monitor);
  return rc < 0 ? explain(c, base, rc, csn_s(c, a->monitor)) : 0;
}

static void
take_back(const struct resctrl_args *a, struct csn_ctx *c, int base, int made)
{
  const char *group = a->group.off ? csn_s(c, a->group) : ".";
  CSN_CLEANUP_FD int dir = open_dir(base, group), monitors = -1;

  if (made & MADE_MONITOR) {
    monitors = open_dir(dir, "mon_groups");
    csn_sys(__NR_unlinkat, monitors, csn_s(c, a->monitor), AT_REMOVEDIR);
  }
  if (made & MADE_GROUP)
    csn_sys(__NR_unlinkat, base, group, AT_REMOVEDIR);
}

/* The process, and what it starts from then on, is moved into the group; its file system is the host's
 * own, so the parent does it. Returns what was made. */
static int
apply_resctrl(const struct resctrl_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int base = -1;
  int made = 0, rc;

  if (a->group.off && !is_name(csn_s(c, a->group)))
    return csn_detail(c, -EINVAL, "not the name of a group: ", csn_s(c, a->group));
  if (a->monitor.off && !is_name(csn_s(c, a->monitor)))
    return csn_detail(c, -EINVAL, "not the name of a group: ", csn_s(c, a->monitor));
  base = open_resctrl(a, c);
  if (base < 0)
    return base;
  rc = fill_group(a, c, base, &made);
  if (rc >= 0)
    return made;
  take_back(a, c, base, made);
  return rc;
}

static int
undo_resctrl(const void *args, struct csn_ctx *c)
{
  const struct resctrl_args *a = args;
  CSN_CLEANUP_FD int base = open_resctrl(a, c);

  if (base >= 0)
    take_back(a, c, base, c->made);
  return 0;
}

CSN_PRIMITIVE(resctrl, "resctrl", RESCTRL, CSN_PARENT, apply_resctrl, undo_resctrl,
              "[$group][ $schemata][ monitor $monitor]")
