/* SPDX-License-Identifier: MIT
 *
 * Mounts: binds, their flags in both forms, propagation, read-only and masked paths. All through
 * descriptors (open_tree, mount_setattr, move_mount): no mountinfo is read, and no path is used twice.
 */
#include "mount.h"
#include <linux/limits.h>

#ifndef MS_SHARED /* <sys/mount.h> is libc's */
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#endif

#define CLEAR(m) ((u64)(m) << 16)
#define ALL(m) ((u64)(m) << 32)
#define ATIMES (CSN_M_NOATIME | CSN_M_STRICTATIME | CSN_M_RELATIME)

#define FLAG(off, on, m)                                                                           \
  { on, m }, { off, CLEAR(m) }, { "r" on, ALL(m) }, { "r" off, ALL(CLEAR(m)) }

const struct csn_word csn_mount_words[] = {
  FLAG("rw", "ro", CSN_M_RO),
  FLAG("suid", "nosuid", CSN_M_NOSUID),
  FLAG("dev", "nodev", CSN_M_NODEV),
  FLAG("exec", "noexec", CSN_M_NOEXEC),
  FLAG("atime", "noatime", CSN_M_NOATIME),
  FLAG("nostrictatime", "strictatime", CSN_M_STRICTATIME),
  FLAG("norelatime", "relatime", CSN_M_RELATIME),
  FLAG("diratime", "nodiratime", CSN_M_NODIRATIME),
  FLAG("symfollow", "nosymfollow", CSN_M_NOSYMFOLLOW),
  { NULL, 0 },
};

/* The recursive words say so for the whole tree; "recursive" of mount.propagation does the same. */
#define R (1ull << 32)
const struct csn_word csn_propagation_words[] = {
  { "private", MS_PRIVATE },       { "slave", MS_SLAVE },           { "shared", MS_SHARED },
  { "unbindable", MS_UNBINDABLE }, { "rprivate", R | MS_PRIVATE },  { "rslave", R | MS_SLAVE },
  { "rshared", R | MS_SHARED },    { "runbindable", R | MS_UNBINDABLE }, { NULL, 0 },
};

/* ---- flags ---- */

static u64
kernel_bits(u64 m)
{
  u64 k = m & (CSN_M_RO | CSN_M_NOSUID | CSN_M_NODEV | CSN_M_NOEXEC | CSN_M_NODIRATIME);

  return m & CSN_M_NOSYMFOLLOW ? k | MOUNT_ATTR_NOSYMFOLLOW : k;
}

/* One half of the flags (of the mount, or of the tree) as mount_setattr(2) takes them. */
static int
set_and_clear(struct csn_ctx *c, u64 half, struct mount_attr *m)
{
  u64 set = half & 0xffff, clr = half >> 16 & 0xffff, atime = set & ATIMES;

  if (set & clr)
    return csn_detail(c, -EINVAL, "a flag is both set and cleared", NULL);
  if (atime & (atime - 1))
    return csn_detail(c, -EINVAL, "noatime, relatime and strictatime exclude one another", NULL);
  m->attr_set = kernel_bits(set);
  m->attr_clr = kernel_bits(clr);
  if (atime || (clr & ATIMES)) {
    m->attr_clr |= MOUNT_ATTR__ATIME;
    m->attr_set |= atime & (CSN_M_NOATIME | CSN_M_STRICTATIME); /* the same bits; relatime has none */
  }
  return 0;
}

static int
set_attr(int tree, int flags, const struct mount_attr *m)
{
  if (!m->attr_set && !m->attr_clr && !m->propagation)
    return 0;
  return (int)csn_sys(__NR_mount_setattr, tree, "", AT_EMPTY_PATH | flags, m, sizeof(*m));
}

/* Of the flags a user namespace may only add to, and not change the atime. */
static int
explain_flags(struct csn_ctx *c, int rc, const struct mount_attr *m)
{
  if (rc == -EPERM && m->attr_clr)
    return csn_detail(c, rc, "a flag that the source's mount has is locked in this user namespace "
                             "and can't be cleared or changed (ro, nosuid, nodev, noexec, atime)", NULL);
  return rc < 0 && !c->detail_len ? csn_detail(c, rc, "mount flags", NULL) : rc;
}

int
csn_set_tree(struct csn_ctx *c, int tree, const struct csn_tree_opts *o)
{
  struct mount_attr whole = { 0 }, top = { 0 };
  bool all = o->propagation & R;
  int rc;

  if ((rc = set_and_clear(c, o->flags >> 32, &whole)) < 0 ||
      (rc = set_and_clear(c, o->flags & 0xffffffff, &top)) < 0)
    return rc;
  *(all ? &whole.propagation : &top.propagation) = o->propagation & ~R;
  if (o->uids.count || o->gids.count) {
    struct mount_attr m = { .attr_set = MOUNT_ATTR_IDMAP };
    CSN_CLEANUP_FD int ns = csn_make_userns(c, o->uids, o->gids);

    if (ns < 0)
      return ns;
    m.userns_fd = (u64)ns;
    if ((rc = set_attr(tree, o->recursive ? AT_RECURSIVE : 0, &m)) < 0)
      return csn_detail(c, rc, rc == -EPERM
                                   ? "an id-mapped mount needs CAP_SYS_ADMIN in the user namespace that "
                                     "the filesystem was mounted in"
                               : rc == -EINVAL ? "the filesystem can't be id-mapped, or already is"
                                               : "id map of the mount", NULL);
  }
  if ((rc = set_attr(tree, AT_RECURSIVE, &whole)) < 0)
    return explain_flags(c, rc, &whole);
  return explain_flags(c, set_attr(tree, 0, &top), &top);
}

/* A new mount has nothing to clear. */
s64
csn_fsmount_attrs(struct csn_ctx *c, u64 flags)
{
  struct mount_attr m = { 0 };
  int rc = set_and_clear(c, (flags | flags >> 32) & 0xffffffff, &m);

  return rc < 0 ? rc : (s64)m.attr_set;
}

/* ---- trees ---- */

int
csn_clone_tree(struct csn_ctx *c, int at, const char *source, const struct csn_tree_opts *o)
{
  CSN_CLEANUP_FD int tree = -1;
  struct csn_stat st;
  int rc;

  tree = (int)csn_sys(__NR_open_tree, at, source,
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (o->recursive ? AT_RECURSIVE : 0) |
                          (o->nofollow ? AT_SYMLINK_NOFOLLOW : 0) | (*source ? 0 : AT_EMPTY_PATH));
  if (tree == -EINVAL && !o->recursive)
    return csn_detail(c, tree, "can't bind it without the mounts below it (locked in a user namespace), or "
                               "its mount is unbindable: ", source);
  if (tree < 0)
    return csn_detail(c, tree, "source ", source);
  if (o->nofollow && ((rc = csn_stat(tree, &st)) < 0 || (st.mode & S_IFMT) == S_IFLNK))
    return csn_detail(c, rc < 0 ? rc : -ELOOP, "nofollow: a symlink: ", source);
  if ((rc = csn_set_tree(c, tree, o)) < 0)
    return rc;
  return csn_steal_fd(&tree);
}

int
csn_attach(struct csn_ctx *c, int tree, int root, const char *path, int how)
{
  CSN_CLEANUP_FD int target = -1;
  struct csn_stat st, top;
  long rc = csn_stat(tree, &st);
  bool dir;

  if (rc < 0)
    return (int)rc;
  dir = (st.mode & S_IFMT) == S_IFDIR;
  target = csn_in_root_target(c, root, path, how | (dir ? CSN_WANT_DIR : 0));
  if (target < 0)
    return target;
  if (!dir && csn_stat(target, &st) == 0 && (st.mode & S_IFMT) == S_IFDIR)
    return csn_detail(c, -EISDIR, "the source is a file, the target a directory: ", path);
  /* Over the new root itself the slot would name what lies below. */
  if (root >= 0 && csn_stat(root, &top) == 0 && csn_stat(target, &st) == 0 && st.ino == top.ino &&
      st.mount == top.mount)
    return csn_detail(c, -EBUSY, "a mount at the root's own place would hide it; root.bind or "
                                 "root.tmpfs make the root: ", path);
  rc = csn_sys(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return rc < 0 ? csn_detail(c, (int)rc, "mounting at ", path) : 0;
}

#define BIND(F)                                                                                    \
  F(path, source, 0, NULL, 0)                                                                      \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(slot, fd, 0, NULL, (u64)-1)                                                                    \
  CSN_TREE_FIELDS(F)                                                                               \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_bind, BIND)

static int
apply_bind(const struct mount_bind_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = CSN_TREE_OPTS(a);
  CSN_CLEANUP_FD int tree = -1;

  if (!a->source.off == (a->fd < 0))
    return csn_detail(c, -EINVAL, "source or fd, one of the two", NULL);
  if (a->fd >= 0 && c->slots[a->fd] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  tree = a->fd >= 0 ? csn_clone_tree(c, c->slots[a->fd], "", &o)
                    : csn_clone_tree(c, AT_FDCWD, csn_s(c, a->source), &o);
  if (tree < 0)
    return tree;
  return csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target), 0);
}

CSN_PRIMITIVE(mount_bind, "mount.bind", BIND, CSN_CHILD, apply_bind, NULL,
              "[$source][fd $fd] -> $target[ ($flags)][ $recursive]")

/* ---- changes to what is mounted ---- */

#define PROPAGATION(F)                                                                             \
  F(path, path, 0, NULL, 0)                                                                        \
  F(word, propagation, CSN_REQUIRED, csn_propagation_words, 0)                                     \
  F(bool, recursive, 0, NULL, 0)                                                                   \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_propagation, PROPAGATION)

static int
apply_propagation(const struct mount_propagation_args *a, struct csn_ctx *c)
{
  const char *path = a->path.off ? csn_s(c, a->path) : "/";
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], path, 0);
  struct mount_attr m = { .propagation = a->propagation & ~R };
  int rc;

  if (fd < 0)
    return fd;
  rc = set_attr(fd, a->recursive || (a->propagation & R) ? AT_RECURSIVE : 0, &m);
  return rc == -EINVAL ? csn_detail(c, rc, "not a mount of this mount namespace: ", path) : rc;
}

CSN_PRIMITIVE(mount_propagation, "mount.propagation", PROPAGATION, CSN_CHILD, apply_propagation,
              NULL, "[$path ]$propagation[ $recursive]")

#define READONLY(F)                                                                                \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  CSN_ROOT_FIELD(F)
CSN_ARGS(readonly, READONLY)

/* A recursive bind of the path onto itself, read-only with all that is mounted below it. */
static int
apply_readonly(const struct readonly_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = { .flags = ALL(CSN_M_RO), .recursive = true };
  CSN_CLEANUP_FD int target = csn_in_root_open(c, c->slots[a->root], csn_s(c, a->path), 0);
  CSN_CLEANUP_FD int tree = -1;
  long rc;

  if (target < 0) /* what isn't there can't be written */
    return target == -ENOENT ? 0 : target;
  tree = csn_clone_tree(c, target, "", &o);
  if (tree < 0)
    return tree;
  rc = csn_sys(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return rc < 0 ? csn_detail(c, (int)rc, "mounting at ", csn_s(c, a->path)) : 0;
}

CSN_PRIMITIVE(readonly, "readonly", READONLY, CSN_CHILD, apply_readonly, NULL, "$path")

/* ---- masked paths ---- */

CSN_ARGS(mask, READONLY)

/* One read-only tmpfs, empty, with no room for an inode more, over all directories: the mount that was
 * attached first is the one that the others are copied from. */
static int
empty_directory(struct csn_ctx *c)
{
  struct csn_fs f;
  long tree;

  if (c->slots[CSN_SLOT_MASK] >= 0) {
    tree = csn_sys(__NR_open_tree, c->slots[CSN_SLOT_MASK], "",
                   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree != -EINVAL) /* that mount is gone: unmounted by a later step */
      return (int)tree;
  }
  f = csn_fs_open(c, "tmpfs");
  csn_fs_set(&f, "nr_inodes", "2");
  csn_fs_set(&f, "mode", "0555");
  tree = csn_fs_mount(&f, CSN_M_RO | CSN_M_NOSUID | CSN_M_NODEV | CSN_M_NOEXEC);
  if (tree < 0)
    return (int)tree;
  csn_fill(c, CSN_SLOT_MASK, csn_sys(__NR_fcntl, tree, F_DUPFD_CLOEXEC, 3));
  return (int)tree;
}

/* The host's /dev/null: looked up by the process's own paths, and checked by what was opened, since in a
 * container's root the name may lead anywhere (CVE-2025-31133). */
static int
null_device(struct csn_ctx *c)
{
  CSN_CLEANUP_FD int tree = (int)csn_sys(__NR_open_tree, AT_FDCWD, "/dev/null",
                                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  struct csn_stat st;
  int rc;

  if (tree < 0)
    return csn_detail(c, tree, "/dev/null", NULL);
  if ((rc = csn_stat(tree, &st)) < 0)
    return rc;
  if ((st.mode & S_IFMT) != S_IFCHR || st.major != 1 || st.minor != 3)
    return csn_detail(c, -ENODEV, "/dev/null is not the null device", NULL);
  return csn_steal_fd(&tree);
}

static int
apply_mask(const struct mask_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int target = csn_in_root_open(c, c->slots[a->root], csn_s(c, a->path), 0);
  CSN_CLEANUP_FD int tree = -1;
  struct csn_stat st;
  long rc;

  if (target < 0) /* what isn't there can't be read */
    return target == -ENOENT ? 0 : target;
  if ((rc = csn_stat(target, &st)) < 0)
    return (int)rc;
  tree = (st.mode & S_IFMT) == S_IFDIR ? empty_directory(c) : null_device(c);
  if (tree < 0)
    return tree;
  rc = csn_sys(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return rc < 0 ? csn_detail(c, (int)rc, "mounting at ", csn_s(c, a->path)) : 0;
}

CSN_PRIMITIVE(mask, "mask", READONLY, CSN_CHILD, apply_mask, NULL, "$path")
