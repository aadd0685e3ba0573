/* SPDX-License-Identifier: MIT
 *
 * What is put into the root by name: directories, symlinks, files from inline data, device nodes. The last
 * component of all but a directory is created, never followed.
 */
#include "mount.h"
#include <linux/limits.h>

/* ---- mkdir ---- */

#define MKDIR(F)                                                                                   \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(mode, mode, 0, NULL, CSN_DIR_MODE)                                                             \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mkdir, MKDIR)

static int
apply_mkdir(const struct mkdir_args *a, struct csn_ctx *c)
{
  const char *path = csn_s(c, a->path);
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], path, CSN_WANT_DIR);

  if (fd == -ENOTDIR)
    return csn_detail(c, -EEXIST, "not a directory: ", path);
  if (fd != -ENOENT) /* what is there keeps its mode */
    return fd < 0 ? fd : 0;
  fd = csn_in_root_target(c, c->slots[a->root], path, CSN_WANT_DIR);
  return fd < 0 ? fd : csn_set_mode(fd, (u32)a->mode);
}

CSN_PRIMITIVE(mkdir, "mkdir", MKDIR, CSN_CHILD, apply_mkdir, NULL, "$path[ $mode]")

/* ---- symlink ---- */

#define SYMLINK(F)                                                                                 \
  F(str, target, CSN_REQUIRED, NULL, 0)                                                            \
  F(path, at, CSN_REQUIRED, NULL, 0)                                                               \
  CSN_ROOT_FIELD(F)
CSN_ARGS(symlink, SYMLINK)

static int
apply_symlink(const struct symlink_args *a, struct csn_ctx *c)
{
  const char *name, *target = csn_s(c, a->target);
  CSN_CLEANUP_FD int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->at), &name);
  char have[PATH_MAX];
  long rc, n;

  if (at < 0)
    return at;
  rc = csn_sys(__NR_symlinkat, target, at, name);
  if (rc != -EEXIST)
    return (int)rc;
  n = csn_sys(__NR_readlinkat, at, name, have, sizeof(have) - 1);
  if (n < 0)
    return csn_detail(c, (int)rc, "not a symlink", NULL);
  have[n] = 0;
  return csn_streq(have, target) ? 0 : csn_detail(c, (int)rc, "a symlink to ", have);
}

CSN_PRIMITIVE(symlink, "symlink", SYMLINK, CSN_CHILD, apply_symlink, NULL, "$at -> $target")

/* ---- file ---- */

#define INLINE(F)                                                                                  \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(bytes, data, CSN_REQUIRED, NULL, 0)                                                            \
  F(mode, mode, 0, NULL, CSN_FILE_MODE)                                                            \
  CSN_ROOT_FIELD(F)
CSN_ARGS(file, INLINE)

static int
write_all(int fd, const char *data, size_t size)
{
  while (size) {
    long n = CSN_RETRY(csn_sys(__NR_write, fd, data, size));

    if (n <= 0)
      return n < 0 ? (int)n : -EIO;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

/* A new file, in the root's own filesystem: one that is there is never overwritten. */
static int
apply_file(const struct file_args *a, struct csn_ctx *c)
{
  const char *name;
  CSN_CLEANUP_FD int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);
  CSN_CLEANUP_FD int fd = -1;
  int rc;

  if (at < 0)
    return at;
  fd = (int)csn_sys(__NR_openat, at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return fd;
  if ((rc = write_all(fd, csn_s(c, a->data), a->data.len)) < 0 ||
      (rc = (int)csn_sys(__NR_fchmod, fd, a->mode)) < 0)
    csn_sys(__NR_unlinkat, at, name, 0);
  return rc;
}

CSN_PRIMITIVE(file, "file", INLINE, CSN_CHILD, apply_file, NULL, "$path $data[ $mode]")

/* ---- device nodes ---- */

CSN_WORDS(node_words) = {
  { "char", S_IFCHR }, { "block", S_IFBLK }, { "fifo", S_IFIFO }, { NULL, 0 },
};

#define MKNOD(F)                                                                                   \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(word, type, 0, node_words, S_IFCHR)                                                            \
  F(u32, major, 0, NULL, 0)                                                                        \
  F(u32, minor, 0, NULL, 0)                                                                        \
  F(mode, mode, 0, NULL, 0666)                                                                     \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mknod, MKNOD)

struct node {
  u32 type, major, minor, mode;
  s64 uid, gid; /* -1: the creator's */
};

/* The kernel's encoding of a device number in mknod(2). */
static u32
device_number(u32 major, u32 minor)
{
  return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static int
make_node(struct csn_ctx *c, int at, const char *name, const struct node *n)
{
  CSN_CLEANUP_FD int fd = -1;
  long rc;

  if (n->major > 0xfff || n->minor > 0xfffff)
    return csn_detail(c, -EINVAL, "a device has a major number up to 4095 and a minor up to 1048575", NULL);
  rc = csn_sys(__NR_mknodat, at, name, n->type | n->mode, device_number(n->major, n->minor));
  if (rc < 0)
    return (int)rc;
  fd = (int)csn_sys(__NR_openat, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return fd;
  if (n->uid >= 0 || n->gid >= 0)
    rc = csn_sys(__NR_fchownat, fd, "", n->uid, n->gid, AT_EMPTY_PATH);
  return rc < 0 ? (int)rc : csn_set_mode(fd, n->mode);
}

static int
apply_mknod(const struct mknod_args *a, struct csn_ctx *c)
{
  struct node n = { (u32)a->type, (u32)a->major, (u32)a->minor, (u32)a->mode,
                    a->present & 32 ? (s64)a->uid : -1, a->present & 64 ? (s64)a->gid : -1 };
  const char *name;
  CSN_CLEANUP_FD int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);

  return at < 0 ? at : make_node(c, at, name, &n);
}

CSN_PRIMITIVE(mknod, "mknod", MKNOD, CSN_CHILD, apply_mknod, NULL, "$path $type[ $major:$minor][ $mode]")

#define DEVICE(F)                                                                                  \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(word, type, 0, node_words, S_IFCHR)                                                            \
  F(u32, major, 0, NULL, 0)                                                                        \
  F(u32, minor, 0, NULL, 0)                                                                        \
  F(mode, mode, 0, NULL, 0666)                                                                     \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  F(path, source, 0, NULL, 0)                                                                      \
  CSN_ROOT_FIELD(F)
CSN_ARGS(device, DEVICE)

static const struct {
  const char *name;
  u32 major, minor;
} common[] = {
  { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

/* The host's node over an empty file; what it is was looked at on the descriptor that is mounted. */
static int
bind_node(struct csn_ctx *c, const struct device_args *a, const struct node *n, const char *name)
{
  struct csn_tree_opts o = { 0 };
  CSN_CLEANUP_FD int tree = -1;
  char source[PATH_MAX] = "/dev/";
  struct csn_stat st;
  int rc;

  csn_append(source, sizeof(source), 5, name);
  tree = csn_clone_tree(c, AT_FDCWD, a->source.off ? csn_s(c, a->source) : source, &o);
  if (tree < 0)
    return tree;
  if ((rc = csn_stat(tree, &st)) < 0)
    return rc;
  if ((st.mode & S_IFMT) != n->type || st.major != n->major || st.minor != n->minor)
    return csn_detail(c, -ENODEV, "the host has another thing there: ", a->source.off ? csn_s(c, a->source) : source);
  return csn_attach(c, tree, c->slots[a->root], csn_s(c, a->path), 0);
}

static int
apply_device(const struct device_args *a, struct csn_ctx *c)
{
  struct node n = { (u32)a->type, (u32)a->major, (u32)a->minor, (u32)a->mode,
                    a->present & 32 ? (s64)a->uid : -1, a->present & 64 ? (s64)a->gid : -1 };
  const char *name;
  CSN_CLEANUP_FD int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);
  u32 i;
  int rc;

  if (at < 0)
    return at;
  if (n.type != S_IFIFO && !(a->present & 4)) {
    for (i = 0; i < sizeof(common) / sizeof(*common) && !csn_streq(common[i].name, name); i++)
      ;
    if (i == sizeof(common) / sizeof(*common) || n.type != S_IFCHR)
      return csn_detail(c, -EINVAL, "major and minor are known for null, zero, full, random, urandom and tty: not for ",
                        name);
    n.major = common[i].major;
    n.minor = common[i].minor;
  }
  rc = make_node(c, at, name, &n);
  return rc == -EPERM && n.type != S_IFIFO ? bind_node(c, a, &n, name) : rc;
}

CSN_PRIMITIVE(device, "device", DEVICE, CSN_CHILD, apply_device, NULL, "$path[ $major:$minor][ $mode]")
