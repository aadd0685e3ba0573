/* SPDX-License-Identifier: MIT
 * Paths that a container may not write, or not see. A path that isn't there needs neither. */
#include "mount.h"

#define PATH(F)                                                                                    \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  CSN_ROOT_FIELD(F)
CSN_ARGS(readonly, PATH)
CSN_ARGS(mask, PATH)

/* A recursive bind of the path onto itself, read-only with all that is mounted below it. */
static int
apply_readonly(const struct readonly_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = { .flags = CSN_M_ALL(CSN_M_RO), .recursive = true };
  const char *path = csn_s(c, a->path);
  CSN_CLEANUP_FD int target = csn_in_root_open(c, c->slots[a->root], path, 0);
  CSN_CLEANUP_FD int tree = -1;

  if (target < 0)
    return target == -ENOENT ? 0 : target;
  tree = csn_clone_fd(c, target, path, &o);
  return tree < 0 ? tree : csn_attach_fd(c, tree, target, path);
}

CSN_PRIMITIVE(readonly, "readonly", PATH, CSN_CHILD, apply_readonly, NULL, "$path")

/* One tmpfs, empty and read-only, over all directories: the first mount of it stays in the slot, and the
 * others are copies. */
static int
empty_directory(struct csn_ctx *c)
{
  struct csn_fs f;
  int tree, kept = c->slots[CSN_SLOT_MASK], err;

  if (kept >= 0) {
    struct csn_tree_opts o = { 0 };

    tree = csn_clone_fd(c, kept, "mask", &o);
    if (tree != -EINVAL) /* that mount is gone: a later step has unmounted it */
      return tree;
    c->detail_len = 0;
  }
  csn_fs_open(&f, c, "tmpfs", "mask");
  csn_fs_set(&f, "nr_inodes", "2");
  csn_fs_set(&f, "mode", "0555");
  tree = csn_fs_mount(&f, CSN_M_RO | CSN_M_NOSUID | CSN_M_NODEV | CSN_M_NOEXEC);
  if (tree < 0)
    return tree;
  err = csn_fill(c, CSN_SLOT_MASK, csn_dup(tree, 3));
  if (err < 0)
    csn_close(tree);
  return err < 0 ? err : tree;
}

/* The host's /dev/null: looked up by the process's own paths, and checked by what was opened, since in an
 * image the name may lead anywhere (CVE-2025-31133). */
static int
null_device(struct csn_ctx *c)
{
  struct csn_tree_opts o = { .nofollow = true };
  CSN_CLEANUP_FD int tree = csn_clone_tree(c, "/dev/null", &o);
  struct csn_stat st;
  int rc = tree < 0 ? tree : csn_stat(tree, &st);

  if (rc < 0)
    return rc;
  if ((st.mode & S_IFMT) != S_IFCHR || st.major != 1 || st.minor != 3) {
    csn_old_drop(tree);
    return csn_detail(c, -ENODEV, "/dev/null is not the null device", NULL);
  }
  return csn_steal_fd(&tree);
}

static int
apply_mask(const struct mask_args *a, struct csn_ctx *c)
{
  const char *path = csn_s(c, a->path);
  CSN_CLEANUP_FD int target = csn_in_root_open(c, c->slots[a->root], path, 0);
  CSN_CLEANUP_FD int tree = -1;
  struct csn_stat st;
  int rc;

  if (target < 0)
    return target == -ENOENT ? 0 : target;
  if ((rc = csn_stat(target, &st)) < 0)
    return rc;
  tree = (st.mode & S_IFMT) == S_IFDIR ? empty_directory(c) : null_device(c);
  return tree < 0 ? tree : csn_attach_fd(c, tree, target, path);
}

CSN_PRIMITIVE(mask, "mask", PATH, CSN_CHILD, apply_mask, NULL, "$path")
