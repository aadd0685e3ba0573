/* SPDX-License-Identifier: MIT
 *
 * Mounts: binds, their flags in both forms, propagation. All through descriptors (open_tree,
 * mount_setattr, move_mount): no mountinfo is read, and no path is used twice.
 */
#include "mount.h"
#include <asm/statfs.h>
#include <linux/magic.h>
#include <linux/limits.h>
#include <linux/sched.h>

#define ATIMES (CSN_M_NOATIME | CSN_M_STRICTATIME | CSN_M_RELATIME)

#define FLAG(off, on, m)                                                                           \
  { on, m }, { off, CSN_M_CLEAR(m) }, { "r" on, CSN_M_ALL(m) },                                    \
  {                                                                                                \
    "r" off, CSN_M_ALL(CSN_M_CLEAR(m))                                                             \
  }

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
  { "private", MS_PRIVATE },
  { "slave", MS_SLAVE },
  { "shared", MS_SHARED },
  { "unbindable", MS_UNBINDABLE },
  { "rprivate", R | MS_PRIVATE },
  { "rslave", R | MS_SLAVE },
  { "rshared", R | MS_SHARED },
  { "runbindable", R | MS_UNBINDABLE },
  { NULL, 0 },
};

int
csn_own_mounts(struct csn_ctx *c)
{
  return c->own & CLONE_NEWNS ? 0
                              : csn_detail(c, -EPERM,
                                           "the plan has no mount namespace of its own here, and "
                                           "this would change the host's mounts",
                                           NULL);
}

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
    m->attr_set |=
        atime & (CSN_M_NOATIME | CSN_M_STRICTATIME); /* the same bits; relatime has none */
  }
  return 0;
}

static int
set_attr(int tree, int flags, const struct mount_attr *m)
{
  long rc;

  if (!m->attr_set && !m->attr_clr && !m->propagation)
    return 0;
  rc = csn_sys(__NR_mount_setattr, tree, "", AT_EMPTY_PATH | flags, m, sizeof(*m));
  return rc == -ENOSYS ? csn_old_set_attr(tree, flags, m) : (int)rc;
}

static int
explain_flags(struct csn_ctx *c, int rc, const struct mount_attr *m)
{
  if (rc == -EPERM && m->attr_clr)
    return csn_detail(
        c, rc,
        "a flag that the source's mount has is locked in this user namespace: it can't "
        "be cleared or changed (ro, nosuid, nodev, noexec, atime)",
        NULL);
  if (rc == -ENOSYS)
    return csn_detail(c, rc, "mount_setattr(2) is denied here, and flags of a whole tree need it",
                      NULL);
  return rc < 0 ? csn_detail(c, rc, "mount flags", NULL) : 0;
}

static int
set_idmap(struct csn_ctx *c, int tree, const struct csn_tree_opts *o)
{
  struct mount_attr m = { .attr_set = MOUNT_ATTR_IDMAP };
  CSN_CLEANUP_FD int ns = csn_make_userns(c, o->uids, o->gids);
  int rc;

  if (ns < 0)
    return ns;
  m.userns_fd = (u64)ns;
  rc = set_attr(tree, o->recursive && !o->idmap_top ? AT_RECURSIVE : 0, &m);
  if (rc == -EPERM)
    return csn_detail(
        c, rc,
        "an id-mapped mount needs CAP_SYS_ADMIN in the user namespace that the filesystem "
        "was mounted in",
        NULL);
  if (rc == -EINVAL)
    return csn_detail(c, rc, "its filesystem can't be id-mapped, or its mount is already", NULL);
  return rc < 0 ? csn_detail(c, rc, "id map of the mount", NULL) : 0;
}

int
csn_set_tree(struct csn_ctx *c, int tree, const struct csn_tree_opts *o)
{
  struct mount_attr whole = { 0 }, top = { 0 };
  int rc;

  if ((rc = set_and_clear(c, o->flags >> 32, &whole)) < 0 ||
      (rc = set_and_clear(c, o->flags & 0xffffffff, &top)) < 0)
    return rc;
  *(o->propagation & R ? &whole.propagation : &top.propagation) = o->propagation & ~R;
  if ((o->uids.count || o->gids.count) && (rc = set_idmap(c, tree, o)) < 0)
    return rc;
  if ((rc = explain_flags(c, set_attr(tree, AT_RECURSIVE, &whole), &whole)) < 0)
    return rc;
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

static int
open_tree(int fd, bool recursive)
{
  return (int)csn_sys(__NR_open_tree, fd, "",
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
                          (recursive ? AT_RECURSIVE : 0));
}

int
csn_clone_fd(struct csn_ctx *c, int fd, const char *source, const struct csn_tree_opts *o)
{
  CSN_CLEANUP_FD int tree = open_tree(fd, o->recursive);
  int rc;

  if (tree == -ENOSYS && (tree = csn_own_mounts(c)) == 0)
    tree = csn_old_clone(fd, o->recursive);
  if (tree == -EINVAL && !o->recursive)
    return csn_detail(
        c, tree,
        "can't be bound without the mounts below it (they are locked in a user namespace), "
        "or is not of this mount namespace, or is unbindable: ",
        source);
  if (tree == -EINVAL)
    return csn_detail(c, tree, "not of this mount namespace, or unbindable: ", source);
  if (tree < 0)
    return csn_detail(c, tree, "source ", source);
  if ((rc = csn_set_tree(c, tree, o)) < 0) {
    csn_old_drop(tree);
    return rc;
  }
  return csn_steal_fd(&tree);
}

/* Where that can't be, or is not to be, the long way says why. */
static int
open_tree_at(const char *source, const struct csn_tree_opts *o)
{
  CSN_CLEANUP_FD int fd =
      (int)csn_sys(__NR_open_tree, AT_FDCWD, source,
                   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT |
                       (o->recursive ? AT_RECURSIVE : 0) | (o->nofollow ? AT_SYMLINK_NOFOLLOW : 0));
  struct csn_stat st;

  if (fd < 0 || (o->nofollow && (csn_stat(fd, &st) < 0 || (st.mode & S_IFMT) == S_IFLNK)))
    return -1;
  return csn_steal_fd(&fd);
}

int
csn_clone_tree(struct csn_ctx *c, const char *source, const struct csn_tree_opts *o)
{
  CSN_CLEANUP_FD int tree = open_tree_at(source, o), fd = -1;
  int rc;

  if (tree >= 0)
    return (rc = csn_set_tree(c, tree, o)) < 0 ? rc : csn_steal_fd(&tree);
  fd = csn_source_open(c, source, o->nofollow ? CSN_NOFOLLOW : 0);
  return fd < 0 ? fd : csn_clone_fd(c, fd, source, o);
}

int
csn_attach_fd(struct csn_ctx *c, int tree, int target, const char *path)
{
  long rc = csn_own_mounts(c);

  if (rc < 0)
    return (int)rc;
  rc = csn_sys(__NR_move_mount, tree, "", target, "",
               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  if (rc == -ENOSYS)
    rc = csn_old_move(tree, target);
  return rc < 0 ? csn_detail(c, (int)rc, "mounting at ", path) : 0;
}

static bool
are_same(int one, int other)
{
  struct csn_stat a, b;

  return csn_stat(one, &a) == 0 && csn_stat(other, &b) == 0 && a.ino == b.ino && a.mount == b.mount;
}

/* What is in a procfs is replaced by who says so, never by a symlink of the image that leads there: programs,
 * and whoever sets labels, trust what they read and write in it (CVE-2019-16884, CVE-2019-19921). */
static int
check_procfs(struct csn_ctx *c, int root, int target, const char *path)
{
  CSN_CLEANUP_FD int plain = -1;
  struct statfs fs = { 0 };
  const char *s = path;
  long rc = csn_sys(__NR_fstatfs, target, &fs);

  if (rc < 0)
    return csn_detail(c, (int)rc, path, NULL);
  while (*s == '/' || (s[0] == '.' && s[1] == '/'))
    s++;
  if (fs.f_type != PROC_SUPER_MAGIC || /* whose own symlinks may be meant: /proc/self */
      (s[0] == 'p' && s[1] == 'r' && s[2] == 'o' && s[3] == 'c' && (s[4] == '/' || !s[4])))
    return 0;
  plain = csn_in_root_open(c, root, path, CSN_NO_SYMLINKS);
  if (plain >= 0 && are_same(plain, target))
    return 0;
  return csn_detail(c, -ELOOP, "a symlink leads into a procfs: ", path);
}

static int
attach(struct csn_ctx *c, int tree, int root, const char *path, int how)
{
  CSN_CLEANUP_FD int target = -1;
  struct csn_stat st;
  bool plain;
  int rc;

  if (!(how & CSN_WANT_DIR)) {
    if ((rc = csn_stat(tree, &st)) < 0)
      return rc;
    how |= (st.mode & S_IFMT) == S_IFDIR ? CSN_WANT_DIR : 0;
  }
  target = csn_in_root_target(c, root, path, how, &plain);
  if (target < 0)
    return target;
  if (root >= 0 && !plain && (rc = check_procfs(c, root, target, path)) < 0)
    return rc;
  if (root >= 0 && !plain && are_same(root, target)) /* the slot would name what lies below */
    return csn_detail(
        c, -EBUSY,
        "a mount over the root itself would hide it (root.bind and root.tmpfs make it): ", path);
  rc = csn_attach_fd(c, tree, target, path);
  if (rc == -EINVAL && !(how & CSN_WANT_DIR) && csn_stat(target, &st) == 0 &&
      (st.mode & S_IFMT) == S_IFDIR)
    return csn_detail(c, -EISDIR, "a file can't be mounted over the directory ", path);
  return rc;
}

int
csn_attach(struct csn_ctx *c, int tree, int root, const char *path, int how)
{
  int rc = attach(c, tree, root, path, how);

  if (rc < 0)
    csn_old_drop(tree);
  return rc;
}

/* ---- mount.tree, mount.bind ---- */

#define TREE(F)                                                                                    \
  F(path, source, CSN_REQUIRED, NULL, 0)                                                           \
  CSN_TREE_FIELDS(F)                                                                               \
  F(slot, tree, CSN_OUT | CSN_REQUIRED, NULL, 0)
CSN_ARGS(mount_tree, TREE)

/* On the parent's side before clone it is the host's right that counts: a container in a user namespace
 * of its own gets an id-mapped mount in no other way. */
static int
apply_tree(const struct mount_tree_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = CSN_TREE_OPTS(a);

  return csn_fill(c, a->tree, csn_clone_tree(c, csn_s(c, a->source), &o));
}

CSN_PRIMITIVE(mount_tree, "mount.tree", TREE, CSN_CHILD, apply_tree, NULL,
              "$source[ ($flags)][ $recursive][ idmap $idmap][ as $tree]")

#define BIND(F)                                                                                    \
  F(path, source, 0, NULL, 0)                                                                      \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(slot, fd, 0, NULL, (u64)-1)                                                                    \
  CSN_TREE_FIELDS(F)                                                                               \
  CSN_TARGET_FIELDS(F)                                                                             \
  F(path, known_as, 0, NULL, 0)
CSN_ARGS(mount_bind, BIND)

/* The same thing, whatever mount it is seen in. */
static bool
are_equal(const struct csn_stat *a, const struct csn_stat *b)
{
  return a->ino == b->ino && a->dev == b->dev;
}

/* Of a descriptor of another mount namespace, by the name that is said to be its own here: a tree of what it is
 * open on. Anything else is no failure: the other ways are tried. */
static int
clone_known(const struct csn_ctx *c, const struct mount_bind_args *a, const struct csn_tree_opts *o,
            struct csn_stat *st)
{
  CSN_CLEANUP_FD int tree = a->known_as.off ? open_tree_at(csn_s(c, a->known_as), o) : -1;
  struct csn_stat is;

  if (tree < 0 || csn_stat(tree, st) < 0 || csn_stat(c->slots[a->fd], &is) < 0 ||
      !are_equal(st, &is))
    return -1;
  return csn_steal_fd(&tree);
}

/* A descriptor that was opened in another mount namespace: the same name here, if it is the same thing. */
static int
same_here(struct csn_ctx *c, int fd)
{
  char link[32] = "self/fd/", path[PATH_MAX];
  CSN_CLEANUP_FD int proc = -1, here = -1;
  struct csn_stat a, b;
  long n;

  csn_append_u64(link, sizeof(link), csn_strlen(link), (u64)fd);
  proc = c->slots[CSN_SLOT_PROCFS] >= 0
             ? csn_dup(c->slots[CSN_SLOT_PROCFS], 3)
             : (int)csn_sys(__NR_openat, AT_FDCWD, "/proc", O_PATH | O_CLOEXEC);
  n = csn_sys(__NR_readlinkat, proc, link, path, sizeof(path) - 1);
  if (n < 0)
    return (int)n;
  path[n] = 0;
  here = (int)csn_sys(__NR_openat, AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (here < 0 || csn_stat(here, &a) < 0 || csn_stat(fd, &b) < 0 || !are_equal(&a, &b))
    return csn_detail(
        c, -ESTALE,
        "the descriptor is of another mount namespace, and this one has not the same at ", path);
  return csn_steal_fd(&here);
}

/* A tree that was made by mount.tree is copied where the kernel can (6.15), else used up. */
static int
bind_fd(struct csn_ctx *c, const struct mount_bind_args *a, const struct csn_tree_opts *o)
{
  int fd = c->slots[a->fd], root = c->slots[a->root];
  CSN_CLEANUP_FD int tree = -1, here = -1;
  struct csn_stat st;
  int rc;

  if (fd < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  tree = clone_known(c, a, o, &st);
  if (tree >= 0) {
    const int dir = (st.mode & S_IFMT) == S_IFDIR ? CSN_WANT_DIR : 0;

    rc = csn_set_tree(c, tree, o);
    return rc < 0 ? rc : csn_attach(c, tree, root, csn_s(c, a->target), CSN_TARGET_HOW(a) | dir);
  }
  tree = open_tree(fd, o->recursive);
  if (tree == -EINVAL) {
    if ((rc = csn_set_tree(c, fd, o)) == 0)
      rc = csn_attach(c, fd, root, csn_s(c, a->target), CSN_TARGET_HOW(a));
    if (rc != -EINVAL)
      return rc;
    here = same_here(c, fd);
    if (here < 0)
      return here;
  }
  csn_close(csn_steal_fd(&tree));
  tree = csn_clone_fd(c, here >= 0 ? here : fd, "(descriptor)", o);
  return tree < 0 ? tree : csn_attach(c, tree, root, csn_s(c, a->target), CSN_TARGET_HOW(a));
}

static int
apply_bind(const struct mount_bind_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = CSN_TREE_OPTS(a);
  CSN_CLEANUP_FD int tree = -1;

  if (!a->source.off == (a->fd < 0))
    return csn_detail(c, -EINVAL, "source or fd, one of the two", NULL);
  if (a->fd >= 0)
    return bind_fd(c, a, &o);
  tree = csn_clone_tree(c, csn_s(c, a->source), &o);
  return tree < 0 ? tree
                  : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target), CSN_TARGET_HOW(a));
}

CSN_PRIMITIVE(mount_bind, "mount.bind", BIND, CSN_CHILD | CSN_NEAR, apply_bind, NULL,
              "[$source][fd $fd] -> $target[ ($flags)][ $recursive][ $propagation][ idmap $idmap]")

/* ---- mount.propagation ---- */

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
  if ((rc = csn_own_mounts(c)) < 0)
    return rc;
  rc = set_attr(fd, a->recursive || (a->propagation & R) ? AT_RECURSIVE : 0, &m);
  return rc == -EINVAL ? csn_detail(c, rc, "not a mount of this mount namespace: ", path) : rc;
}

CSN_PRIMITIVE(mount_propagation, "mount.propagation", PROPAGATION, CSN_CHILD, apply_propagation,
              NULL, "[$path ]$propagation[ $recursive]")

/* ---- mount.flags ---- */

#define FLAGS(F)                                                                                   \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(flags, flags, CSN_REQUIRED, csn_mount_words, 0)                                                \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_flags, FLAGS)

static int
apply_flags(const struct mount_flags_args *a, struct csn_ctx *c)
{
  struct csn_tree_opts o = { .flags = a->flags };
  const char *path = csn_s(c, a->path);
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], path, 0);
  int rc = csn_own_mounts(c);

  if (rc < 0 || fd < 0)
    return rc < 0 ? rc : fd;
  rc = csn_set_tree(c, fd, &o);
  return rc == -EINVAL ? csn_detail(c, rc, "not a mount: ", path) : rc;
}

CSN_PRIMITIVE(mount_flags, "mount.flags", FLAGS, CSN_CHILD, apply_flags, NULL, "$path ($flags)")
