/* SPDX-License-Identifier: MIT
 *
 * The new root: made, attached, filled, and switched to.
 *
 * A mount has to be attached somewhere before things can be mounted in it (until 6.15). That place is
 * hidden from then on, so it is one that no bind's source is: /proc/fs, which every procfs has. Over "/"
 * itself nothing would be hidden at first sight, but "..", coming to "/", steps into what lies over it,
 * and the kernel takes the process for one in a chroot.
 */
#include "mount.h"

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif

#define WAITING_PLACE "/proc/fs"

/* The root of the mount that fd stands in; none is found in a chroot that is no mount. */
static int
mount_of(int fd)
{
  int up = fd;
  struct csn_stat st, was = { .ino = 0 };
  int rc;

  while (up >= 0) {
    int parent;

    rc = csn_stat(up, &st);
    if (rc == 0 && st.mount_root)
      return up == fd ? csn_dup(fd, 3) : up;
    if (rc == 0 && st.ino == was.ino && st.mount == was.mount)
      rc = -EINVAL;
    was = st;
    parent = rc < 0 ? rc : (int)csn_sys(__NR_openat, up, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (up != fd)
      csn_close(up);
    up = parent;
  }
  return up;
}

int
csn_attach_root(struct csn_ctx *c, int tree, s64 slot, struct csn_str at)
{
  const char *path = at.off ? csn_s(c, at) : WAITING_PLACE;
  CSN_CLEANUP_FD int place = csn_source_open(c, path, CSN_WANT_DIR), parent = -1;
  struct mount_attr m = { .propagation = MS_SLAVE };
  long rc = csn_own_mounts(c);

  if (rc == 0 && place < 0)
    rc = csn_detail(c, place, "where the new root waits for the switch: ", path);
  /* Mounted in a shared mount, it would appear in the host too, and pivot_root would refuse it. */
  if (rc == 0 && (rc = parent = mount_of(place)) >= 0) {
    rc = csn_sys(__NR_mount_setattr, parent, "", AT_EMPTY_PATH, &m, sizeof(m));
    if (rc == -ENOSYS)
      rc = csn_old_set_attr(parent, 0, &m);
    if (rc < 0)
      csn_detail(c, (int)rc, "making private the mount that has ", path);
  }
  if (rc >= 0)
    rc = csn_attach_fd(c, tree, place, path);
  if (rc >= 0)
    return csn_fill(c, slot, tree);
  csn_old_drop(tree);
  csn_close(tree);
  return (int)rc;
}

#define ROOT_TMPFS(F)                                                                              \
  F(u64, size, 0, NULL, 0)                                                                         \
  F(u64, nr_inodes, 0, NULL, 0)                                                                    \
  F(mode, mode, 0, NULL, 0755)                                                                     \
  F(strs, options, 0, NULL, 0)                                                                     \
  F(flags, flags, 0, csn_mount_words, CSN_M_NOSUID | CSN_M_NODEV)                                  \
  F(path, at, 0, NULL, 0)                                                                          \
  F(slot, root, CSN_OUT, NULL, CSN_SLOT_ROOT)                                                      \
  F(str, label, 0, NULL, 0)
CSN_ARGS(root_tmpfs, ROOT_TMPFS)

static int
apply_root_tmpfs(const struct root_tmpfs_args *a, struct csn_ctx *c)
{
  struct csn_fs f;
  int tree;

  csn_fs_open(&f, c, "tmpfs", NULL);
  if (a->present & 1)
    csn_fs_number(&f, "size", a->size, 10);
  if (a->present & 2)
    csn_fs_number(&f, "nr_inodes", a->nr_inodes, 10);
  csn_fs_number(&f, "mode", a->mode, 8);
  csn_fs_options(&f, a->options);
  csn_fs_label(&f, a->label);
  tree = csn_fs_mount(&f, a->flags);
  return tree < 0 ? tree : csn_attach_root(c, tree, a->root, a->at);
}

CSN_PRIMITIVE(root_tmpfs, "root.tmpfs", ROOT_TMPFS, CSN_CHILD, apply_root_tmpfs, NULL,
              "tmpfs[ size=$size][ ($flags)]")

#define ROOT_BIND(F)                                                                               \
  F(path, source, 0, NULL, 0)                                                                      \
  F(slot, fd, 0, NULL, (u64)-1)                                                                    \
  CSN_TREE_FIELDS(F)                                                                               \
  F(path, at, 0, NULL, 0)                                                                          \
  F(slot, root, CSN_OUT, NULL, CSN_SLOT_ROOT)
CSN_ARGS(root_bind, ROOT_BIND)

static int
apply_root_bind(const struct root_bind_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = CSN_TREE_OPTS(a);
  struct csn_stat st;
  int tree, rc;

  if (!a->source.off == (a->fd < 0))
    return csn_detail(c, -EINVAL, "source or fd, one of the two", NULL);
  tree = a->fd < 0 ? csn_clone_tree(c, csn_s(c, a->source), &o) : csn_dup(c->slots[a->fd], 3);
  if (tree < 0)
    return a->fd < 0 ? tree : csn_detail(c, tree, "no tree in the slot", NULL);
  if (a->fd >= 0 && (rc = csn_set_tree(c, tree, &o)) < 0) {
    csn_close(tree);
    return rc;
  }
  if (csn_stat(tree, &st) == 0 && (st.mode & S_IFMT) != S_IFDIR) {
    csn_close(tree);
    return csn_detail(c, -ENOTDIR, "a root is a directory", NULL);
  }
  return csn_attach_root(c, tree, a->root, a->at);
}

CSN_PRIMITIVE(root_bind, "root.bind", ROOT_BIND, CSN_CHILD, apply_root_bind, NULL,
              "[$source][fd $fd][ ($flags)][ $recursive]")

#define ROOT_READONLY(F)                                                                           \
  F(flags, flags, 0, csn_mount_words, CSN_M_RO)                                                    \
  CSN_ROOT_FIELD(F)
CSN_ARGS(root_readonly, ROOT_READONLY)

/* The root's mount alone: what is mounted in it keeps its flags, unless words of the whole tree say so. */
static int
apply_root_readonly(const struct root_readonly_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = { .flags = a->flags | CSN_M_RO };
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], "/", 0);

  int rc = csn_own_mounts(c);

  return rc < 0 ? rc : fd < 0 ? fd : csn_set_tree(c, fd, &o);
}

CSN_PRIMITIVE(root_readonly, "root.readonly", ROOT_READONLY, CSN_CHILD, apply_root_readonly, NULL,
              "ro[ $flags]")

/* ---- the switch ---- */

#define PIVOT(F) CSN_ROOT_FIELD(F)
CSN_ARGS(pivot_root, PIVOT)
CSN_ARGS(root_move, PIVOT)

static int
enter_root(struct csn_ctx *c, s64 slot)
{
  int rc;

  if (c->slots[slot] < 0)
    return csn_detail(c, -EBADF, "there is no new root: root.tmpfs or root.bind come first", NULL);
  if ((rc = csn_own_mounts(c)) < 0)
    return rc;
  rc = (int)csn_sys(__NR_fchdir, c->slots[slot]);
  return rc < 0 ? csn_detail(c, rc, "entering the new root", NULL) : 0;
}

/* pivot_root(".", ".") puts the old root over the new one; it is then unmounted from there, so the new
 * root needs no directory for it. */
static int
apply_pivot(const struct pivot_root_args *a, struct csn_ctx *c)
{
  long rc = enter_root(c, a->root);

  if (rc < 0)
    return (int)rc;
  rc = csn_sys(__NR_pivot_root, ".", ".");
  if (rc == -EINVAL)
    return csn_detail(c, (int)rc,
                      "the old root can't be left by pivot_root (an initramfs, or a chroot); "
                      "root.move can",
                      NULL);
  if (rc < 0)
    return (int)rc;
  rc = csn_sys(__NR_umount2, ".", MNT_DETACH);
  if (rc < 0)
    return csn_detail(c, (int)rc, "unmounting the old root", NULL);
  return (int)csn_sys(__NR_chdir, "/");
}

CSN_PRIMITIVE(pivot_root, "pivot_root", PIVOT, CSN_CHILD | CSN_SELF, apply_pivot, NULL, "[$root]")

/* For an initramfs, which can't be pivoted. The old root stays below the new one, unseen, but whoever may
 * chroot can get at it. */
static int
apply_move(const struct root_move_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int top = (int)csn_sys(__NR_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC);
  long rc = enter_root(c, a->root);

  if (rc < 0)
    return (int)rc;
  if ((rc = csn_attach_fd(c, c->slots[a->root], top, "/")) < 0)
    return (int)rc;
  rc = csn_sys(__NR_chroot, ".");
  return rc < 0 ? (int)rc : (int)csn_sys(__NR_chdir, "/");
}

CSN_PRIMITIVE(root_move, "root.move", PIVOT, CSN_CHILD | CSN_SELF, apply_move, NULL, "[$root]")

/* ---- a root that is attached nowhere ---- */

/* What a path leads to now, for a later step: behind the switch it leads elsewhere. */
#define KEEP(F)                                                                                    \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(slot, slot, CSN_OUT | CSN_REQUIRED, NULL, 0)
CSN_ARGS(keep, KEEP)

static int
apply_keep(const struct keep_args *a, struct csn_ctx *c)
{
  const char *path = csn_s(c, a->path);
  long fd = csn_sys(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

  return fd < 0 ? csn_detail(c, (int)fd, path, NULL) : csn_fill(c, a->slot, (int)fd);
}

CSN_PRIMITIVE(keep, "keep", KEEP, CSN_CHILD, apply_keep, NULL, "$path as $slot")

/* The tree, a descriptor's, becomes the root in whatever mount namespace this is. Where none has it, its mounts
 * end with the last process in it; ".." leads nowhere from its top, as it would from a chroot's. */
#define ENTER(F)                                                                                   \
  F(slot, tree, CSN_REQUIRED, NULL, 0)                                                             \
  CSN_ROOT_FIELD(F)
CSN_ARGS(root_enter, ENTER)

static int
apply_enter(const struct root_enter_args *a, struct csn_ctx *c)
{
  long rc;

  if (c->slots[a->tree] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  if ((rc = csn_sys(__NR_fchdir, c->slots[a->tree])) < 0 || (rc = csn_sys(__NR_chroot, ".")) < 0)
    return (int)rc;
  if ((rc = csn_sys(__NR_chdir, "/")) < 0 || c->slots[a->root] < 0)
    return (int)rc;
  /* later steps find their places in this one */
  return csn_fill(c, a->root, csn_dup(c->slots[a->tree], 0));
}

CSN_PRIMITIVE(root_enter, "root.enter", ENTER, CSN_CHILD | CSN_SELF, apply_enter, NULL, "$tree")

/* ---- the working directory ---- */

#define CHDIR(F)                                                                                   \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(bool, try, 0, NULL, 0)                                                                         \
  F(bool, retry, 0, NULL, 0)                                                                       \
  CSN_ROOT_FIELD(F)
CSN_ARGS(chdir, CHDIR)

static int enter_directory(const struct chdir_args *a, struct csn_ctx *c);

/* Some directories only their owner, or root, may enter: tried before the credentials change, and where that
 * was in vain again behind. */
static int
apply_chdir(const struct chdir_args *a, struct csn_ctx *c)
{
  int rc;

  if (a->retry && c->entered)
    return 0;
  rc = enter_directory(a, c);
  if (a->try) {
    c->entered = rc == 0;
    if (rc == -EACCES) {
      c->detail_len = 0;
      rc = 0;
    }
  }
  return rc;
}

/* A descriptor of the host's that came through could be entered by /proc/self/fd/N; the kernel then gives
 * the directory a name that does not begin with a slash (CVE-2024-21626). */
static int
enter_directory(const struct chdir_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], csn_s(c, a->path), CSN_WANT_DIR);
  char cwd[4096];
  long rc;

  if (fd < 0)
    return fd;
  rc = csn_sys(__NR_fchdir, fd);
  if (rc < 0)
    return csn_detail(c, (int)rc, "entering ", csn_s(c, a->path));
  rc = csn_sys(__NR_getcwd, cwd, sizeof(cwd));
  if (rc == -ERANGE || rc == -ENAMETOOLONG) /* longer than that, but it has a name */
    return 0;
  if (rc < 0)
    return csn_detail(c, (int)rc, "the working directory is gone", NULL);
  if (cwd[0] != '/') {
    csn_sys(__NR_chdir, "/");
    return csn_detail(c, -EXDEV, "the working directory is outside of the root", NULL);
  }
  return 0;
}

CSN_PRIMITIVE(chdir, "chdir", CHDIR, CSN_CHILD | CSN_SELF, apply_chdir, NULL, "$path")
