/* SPDX-License-Identifier: MIT
 * The filesystems that a container is made of, each with its own options. */
#include "mount.h"

/* Without flags given, a new filesystem can hold no way to more power. */
#define SAFE (CSN_M_NOSUID | CSN_M_NODEV)
#define DATA_ONLY (SAFE | CSN_M_NOEXEC)

#define GIVEN(a, field) ((a)->present >> (field)&1)

/* ---- proc, sysfs, mqueue, devpts ---- */

CSN_WORDS(hidepid_words) = {
  { "off", 0 }, { "noaccess", 1 }, { "invisible", 2 }, { "ptraceable", 4 }, { NULL, 0 },
};
CSN_WORDS(subset_words) = { { "pid", 1 }, { NULL, 0 } };

/* In a user namespace a new procfs or sysfs is refused, without a word, unless the namespace sees one
 * that nothing is mounted over. */
static int
explain_visible(struct csn_ctx *c, int rc, const char *type)
{
  if (rc != -EPERM)
    return rc;
  if (csn_streq(type, "proc"))
    return csn_detail(
        c, rc,
        "a user namespace may mount a new proc only with a pid namespace of its own, and "
        "where it sees a proc that nothing is mounted over",
        NULL);
  return csn_detail(
      c, rc,
      "a user namespace may mount a new sysfs only with a network namespace of its own, "
      "and where it sees a sysfs that nothing is mounted over",
      NULL);
}

#define PROC(F)                                                                                    \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY)                                                   \
  F(word, hidepid, CSN_NUM, hidepid_words, 0)                                                      \
  F(word, subset, 0, subset_words, 0)                                                              \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_proc, PROC)

static int
new_proc(struct csn_ctx *c, u64 flags, u64 hidepid, u64 subset)
{
  struct csn_fs f;

  csn_fs_open(&f, c, "proc", NULL);
  if (hidepid)
    csn_fs_number(&f, "hidepid", hidepid, 10);
  if (subset)
    csn_fs_set(&f, "subset", "pid");
  return explain_visible(c, csn_fs_mount(&f, flags), "proc");
}

/* /proc and /sys are what labels and sysctls are written through: a symlink in the image there would
 * choose where they go (CVE-2019-19921). */
static int
apply_proc(const struct mount_proc_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int tree = new_proc(c, a->flags, a->hidepid, a->subset);

  return tree < 0 ? tree
                  : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target),
                               CSN_NO_SYMLINKS | CSN_WANT_DIR);
}

CSN_PRIMITIVE(mount_proc, "mount.proc", PROC, CSN_CHILD | CSN_NEAR, apply_proc, NULL,
              "$target[ ($flags)]")

#define PROCFS(F) F(slot, slot, CSN_OUT, NULL, CSN_SLOT_PROCFS)
CSN_ARGS(procfs, PROCFS)

/* Nothing can be mounted over a procfs that is mounted nowhere: what is written through it is written to
 * the kernel (CVE-2025-52881). */
static int
apply_procfs(const struct procfs_args *a, struct csn_ctx *c)
{
  return csn_fill(c, a->slot, new_proc(c, DATA_ONLY, 0, 0));
}

CSN_PRIMITIVE(procfs, "procfs", PROCFS, CSN_CHILD, apply_procfs, NULL, "[$slot]")

#define PLAIN(F)                                                                                   \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY)                                                   \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_sysfs, PLAIN)

#define MQUEUE(F)                                                                                  \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY)                                                   \
  CSN_NEW_FIELDS(F)
CSN_ARGS(mount_mqueue, MQUEUE)

static int
apply_sysfs(const struct mount_sysfs_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int tree = -1;
  struct csn_fs f;

  csn_fs_open(&f, c, "sysfs", NULL);
  tree = explain_visible(c, csn_fs_mount(&f, a->flags), "sysfs");
  return tree < 0 ? tree
                  : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target),
                               CSN_NO_SYMLINKS | CSN_WANT_DIR);
}

CSN_PRIMITIVE(mount_sysfs, "mount.sysfs", PLAIN, CSN_CHILD | CSN_NEAR, apply_sysfs, NULL,
              "$target[ ($flags)]")

static int
apply_mqueue(const struct mount_mqueue_args *a, struct csn_ctx *c)
{
  struct csn_fs f;

  csn_fs_open(&f, c, "mqueue", NULL);
  csn_fs_label(&f, a->label);
  return csn_fs_attach(&f, a->flags, a->root, a->target, CSN_TARGET_HOW(a));
}

CSN_PRIMITIVE(mount_mqueue, "mount.mqueue", MQUEUE, CSN_CHILD | CSN_NEAR, apply_mqueue, NULL,
              "$target[ ($flags)]")

#define DEVPTS(F)                                                                                  \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, CSN_M_NOSUID | CSN_M_NOEXEC)                                 \
  F(mode, mode, 0, NULL, 0620)                                                                     \
  F(mode, ptmxmode, 0, NULL, 0666)                                                                 \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  F(u32, max, 0, NULL, 0)                                                                          \
  CSN_NEW_FIELDS(F)
CSN_ARGS(mount_devpts, DEVPTS)

static int
apply_devpts(const struct mount_devpts_args *a, struct csn_ctx *c)
{
  struct csn_fs f;

  csn_fs_open(&f, c, "devpts", NULL);
  csn_fs_set(&f, "newinstance", NULL);
  csn_fs_label(&f, a->label);
  csn_fs_number(&f, "mode", a->mode, 8);
  csn_fs_number(&f, "ptmxmode", a->ptmxmode, 8);
  if (GIVEN(a, 4))
    csn_fs_number(&f, "uid", a->uid, 10);
  if (GIVEN(a, 5))
    csn_fs_number(&f, "gid", a->gid, 10);
  if (GIVEN(a, 6))
    csn_fs_number(&f, "max", a->max, 10);
  return csn_fs_attach(&f, a->flags, a->root, a->target, CSN_TARGET_HOW(a));
}

CSN_PRIMITIVE(mount_devpts, "mount.devpts", DEVPTS, CSN_CHILD | CSN_NEAR, apply_devpts, NULL,
              "$target[ ($flags)]")

/* ---- tmpfs ---- */

#define TMPFS(F)                                                                                   \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(u64, size, 0, NULL, 0)                                                                         \
  F(u64, nr_inodes, 0, NULL, 0)                                                                    \
  F(mode, mode, 0, NULL, 0755)                                                                     \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  F(strs, options, 0, NULL, 0)                                                                     \
  F(flags, flags, 0, csn_mount_words, SAFE)                                                        \
  F(bool, copyup, 0, NULL, 0)                                                                      \
  F(bool, covered_mode, 0, NULL, 0)                                                                \
  F(str, source, 0, NULL, 0)                                                                       \
  CSN_NEW_FIELDS(F)
CSN_ARGS(mount_tmpfs, TMPFS)

/* The tmpfs is filled before it is attached, while what it covers can still be seen. Then it gets the flags
 * (ro for one) that would have been in the way. */
static int
filled_tmpfs(struct csn_fs *f, const struct mount_tmpfs_args *a, int covered,
             const struct csn_stat *st)
{
  struct csn_ctx *c = f->c;
  struct csn_tree_opts o = { .flags = a->flags };
  CSN_CLEANUP_FD int tree = csn_fs_mount(f, SAFE);
  int rc;

  if (tree < 0)
    return tree;
  if (!GIVEN(a, 4) &&
      !GIVEN(a, 5)) /* where this user namespace has no such id, the creator's stays */
    csn_sys(__NR_fchownat, tree, "", st->uid, st->gid, AT_EMPTY_PATH);
  if ((rc = csn_copy_up(c, covered, tree)) < 0 || (rc = csn_set_tree(c, tree, &o)) < 0) {
    csn_old_drop(tree);
    return rc;
  }
  return csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target),
                    CSN_TARGET_HOW(a) | CSN_WANT_DIR);
}

static int
apply_tmpfs(const struct mount_tmpfs_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int covered = -1;
  struct csn_stat st = { .mode = (u32)a->mode };
  struct csn_fs f;

  if (a->copyup || a->covered_mode) {
    covered = csn_in_root_open(c, c->slots[a->root], csn_s(c, a->target),
                               CSN_WANT_DIR | CSN_TARGET_HOW(a));
    if (covered < 0 && covered != -ENOENT)
      return covered;
    if (covered >= 0 && csn_stat(covered, &st) == 0 && GIVEN(a, 3))
      st.mode = (u32)a->mode;
  }
  csn_fs_open(&f, c, "tmpfs", csn_s(c, a->source));
  if (GIVEN(a, 1))
    csn_fs_number(&f, "size", a->size, 10);
  if (GIVEN(a, 2))
    csn_fs_number(&f, "nr_inodes", a->nr_inodes, 10);
  if (covered >= 0 || !a->covered_mode) /* else the kernel's own default */
    csn_fs_number(&f, "mode", st.mode & 07777, 8);
  if (GIVEN(a, 4))
    csn_fs_number(&f, "uid", a->uid, 10);
  if (GIVEN(a, 5))
    csn_fs_number(&f, "gid", a->gid, 10);
  csn_fs_options(&f, a->options);
  csn_fs_label(&f, a->label);
  return covered >= 0 && a->copyup
             ? filled_tmpfs(&f, a, covered, &st)
             : csn_fs_attach(&f, a->flags, a->root, a->target, CSN_TARGET_HOW(a));
}

CSN_PRIMITIVE(mount_tmpfs, "mount.tmpfs", TMPFS, CSN_CHILD | CSN_NEAR, apply_tmpfs, NULL,
              "$target[ size=$size][ ($flags)][ $copyup]")

/* ---- cgroup ---- */

#define CGROUP(F)                                                                                  \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY | CSN_M_RO)                                        \
  F(strs, controllers, 0, NULL, 0)                                                                 \
  F(str, name, 0, NULL, 0)                                                                         \
  CSN_TARGET_FIELDS(F)
CSN_ARGS(mount_cgroup, CGROUP)

/* The unified hierarchy, or, with controllers or a name, one of version 1. */
static int
apply_cgroup(const struct mount_cgroup_args *a, struct csn_ctx *c)
{
  const struct csn_str *s = csn_l(c, a->controllers);
  bool v1 = a->controllers.count || a->name.off;
  struct csn_fs f;
  int rc;

  csn_fs_open(&f, c, v1 ? "cgroup" : "cgroup2", NULL);
  for (u32 i = 0; i < a->controllers.count; i++)
    csn_fs_set(&f, csn_s(c, s[i]), NULL);
  if (a->name.off) {
    if (!a->controllers.count)
      csn_fs_set(&f, "none", NULL);
    csn_fs_set(&f, "name", csn_s(c, a->name));
  }
  rc = csn_fs_attach(&f, a->flags, a->root, a->target, CSN_TARGET_HOW(a));
  if (rc == -EPERM)
    return csn_detail(
        c, rc, "in a user namespace, mounting cgroups takes a cgroup namespace that it owns", NULL);
  if (rc == -EBUSY && v1)
    return csn_detail(
        c, rc, "the controllers are mounted together with others, or used by cgroup v2", NULL);
  return rc;
}

CSN_PRIMITIVE(mount_cgroup, "mount.cgroup", CGROUP, CSN_CHILD | CSN_NEAR, apply_cgroup, NULL,
              "$target[ $controllers][ name=$name][ ($flags)]")

/* ---- any other ---- */

#define ANY(F)                                                                                     \
  F(str, type, CSN_REQUIRED, NULL, 0)                                                              \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(str, source, 0, NULL, 0)                                                                       \
  F(strs, options, 0, NULL, 0)                                                                     \
  F(flags, flags, 0, csn_mount_words, SAFE)                                                        \
  CSN_NEW_FIELDS(F)
CSN_ARGS(mount_fs, ANY)

static int
apply_fs(const struct mount_fs_args *a, struct csn_ctx *c)
{
  struct csn_fs f;

  csn_fs_open(&f, c, csn_s(c, a->type), csn_s(c, a->source));
  csn_fs_options(&f, a->options);
  csn_fs_label(&f, a->label);
  return csn_fs_attach(&f, a->flags, a->root, a->target, CSN_TARGET_HOW(a));
}

CSN_PRIMITIVE(mount_fs, "mount.fs", ANY, CSN_CHILD | CSN_NEAR, apply_fs, NULL,
              "$type[ $source] -> $target[ ($flags)][ $options]")
