/* SPDX-License-Identifier: MIT
 *
 * What is put into the root by name: directories, symlinks, files from inline data. The last component of
 * all but a directory is created, never followed.
 */
#include "mount.h"
#include <linux/limits.h>

/* ---- mkdir ---- */

#define MKDIR(F)                                                                                   \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(mode, mode, 0, NULL, CSN_DIR_MODE)                                                             \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mkdir, MKDIR)

static int
apply_mkdir(const struct mkdir_args *a, struct csn_ctx *c)
{
  const char *path = csn_s(c, a->path);
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], path, CSN_WANT_DIR);

  if (fd != -ENOENT) /* what is there keeps its mode */
    return fd < 0 ? fd : 0;
  fd = csn_in_root_target(c, c->slots[a->root], path, CSN_WANT_DIR, NULL);
  if (fd >= 0 && a->present & (4 | 8)) { /* uid, gid */
    s64 uid = a->present & 4 ? (s64)a->uid : -1, gid = a->present & 8 ? (s64)a->gid : -1;
    long rc = csn_sys(__NR_fchownat, fd, "", uid, gid, AT_EMPTY_PATH);

    if (rc < 0)
      return (int)rc;
  }
  return fd < 0 ? fd : csn_set_mode(fd, (u32)a->mode);
}

CSN_PRIMITIVE(mkdir, "mkdir", MKDIR, CSN_CHILD | CSN_NEAR, apply_mkdir, NULL, "$path[ $mode]")

/* ---- symlink ---- */

#define SYMLINK(F)                                                                                 \
  F(str, target, CSN_REQUIRED, NULL, 0)                                                            \
  F(path, at, CSN_REQUIRED, NULL, 0)                                                               \
  F(bool, existing, 0, NULL, 0)                                                                    \
  F(bool, replace, 0, NULL, 0)                                                                     \
  CSN_ROOT_FIELD(F)
CSN_ARGS(symlink, SYMLINK)

static int
apply_symlink(const struct symlink_args *a, struct csn_ctx *c)
{
  const char *name, *target = csn_s(c, a->target);
  const int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->at), &name);
  char have[PATH_MAX];
  long rc, n;

  if (at < 0)
    return at;
  rc = csn_sys(__NR_symlinkat, target, at, name);
  if (rc != -EEXIST || a->existing)
    return rc == -EEXIST ? 0 : (int)rc;
  n = csn_sys(__NR_readlinkat, at, name, have, sizeof(have) - 1);
  if (a->replace && (n < 0 || (have[n] = 0, !csn_streq(have, target)))) {
    rc = csn_sys(__NR_unlinkat, at, name, 0);
    return rc < 0 ? (int)rc : (int)csn_sys(__NR_symlinkat, target, at, name);
  }
  if (n < 0)
    return csn_detail(c, (int)rc, "not a symlink", NULL);
  have[n] = 0;
  return csn_streq(have, target) ? 0 : csn_detail(c, (int)rc, "a symlink to ", have);
}

CSN_PRIMITIVE(symlink, "symlink", SYMLINK, CSN_CHILD | CSN_NEAR, apply_symlink, NULL,
              "$at -> $target")

/* ---- file ---- */

#define INLINE(F)                                                                                  \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(bytes, data, CSN_REQUIRED, NULL, 0)                                                            \
  F(mode, mode, 0, NULL, CSN_FILE_MODE)                                                            \
  F(bool, mount, 0, NULL, 0)                                                                       \
  F(flags, flags, 0, csn_mount_words, CSN_M_NOSUID | CSN_M_NODEV)                                  \
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

static int
write_file(const struct file_args *a, struct csn_ctx *c, int at, const char *name)
{
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_openat, at, name,
                                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int rc;

  if (fd < 0)
    return fd;
  if ((rc = write_all(fd, csn_s(c, a->data), a->data.len)) < 0 ||
      (rc = (int)csn_sys(__NR_fchmod, fd, a->mode)) < 0)
    csn_sys(__NR_unlinkat, at, name, 0);
  return rc;
}

/* A file of a tmpfs of its own, as a tree. The tmpfs has to be mounted somewhere for its file to be copied
 * from: for that moment it lies over the directory that holds the target, which is open below. */
static int
clone_data(struct csn_ctx *c, int tmpfs, int parent, u64 flags)
{
  struct csn_tree_opts o = { .flags = flags };
  CSN_CLEANUP_FD int file =
      (int)csn_sys(__NR_openat, tmpfs, "data", O_PATH | O_NOFOLLOW | O_CLOEXEC);
  CSN_CLEANUP_FD int cwd =
      (int)csn_sys(__NR_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  CSN_CLEANUP_FD int tree = -1;
  long rc;

  if (file < 0 || cwd < 0)
    return file < 0 ? file : cwd;
  if ((rc = csn_attach_fd(c, tmpfs, parent, "(the file's directory)")) < 0)
    return (int)rc;
  tree = csn_clone_fd(c, file, "(data)", &o);
  rc = csn_sys(__NR_fchdir, tmpfs);
  if (rc >= 0)
    rc = csn_sys(__NR_umount2, ".", 2 /* MNT_DETACH */);
  csn_sys(__NR_fchdir, cwd);
  return rc < 0 ? (int)rc : csn_steal_fd(&tree);
}

static int
mount_file(const struct file_args *a, struct csn_ctx *c)
{
  const char *name, *path = csn_s(c, a->path);
  int root = c->slots[a->root], rc;
  CSN_CLEANUP_FD int target = csn_in_root_target(c, root, path, 0, NULL);
  CSN_CLEANUP_FD int tmpfs = -1, tree = -1;
  struct csn_stat st;
  struct csn_fs f;
  int parent;

  if (target < 0)
    return target;
  if (csn_stat(target, &st) == 0 && (st.mode & S_IFMT) == S_IFDIR)
    return csn_detail(c, -EISDIR, "a file can't be mounted over the directory ", path);
  if ((parent = csn_in_root_parent(c, root, path, &name)) < 0)
    return parent;
  csn_fs_open(&f, c, "tmpfs", NULL);
  csn_fs_number(&f, "size", a->data.len + 4096,
                10); /* the container can't fill memory through it */
  csn_fs_set(&f, "nr_inodes", "2");
  tmpfs = csn_fs_mount(&f, CSN_M_NOSUID | CSN_M_NODEV);
  if (tmpfs < 0)
    return tmpfs;
  if ((rc = write_file(a, c, tmpfs, "data")) < 0 ||
      (rc = tree = clone_data(c, tmpfs, parent, a->flags)) < 0) {
    csn_old_drop(tmpfs);
    return rc;
  }
  return csn_attach_fd(c, tree, target, path);
}

/* Written into the root's own filesystem, where one that is there is never overwritten; or, so that an
 * image stays as it is, mounted over what is there. */
static int
apply_file(const struct file_args *a, struct csn_ctx *c)
{
  const char *name;
  int at;

  if (a->mount)
    return mount_file(a, c);
  if (a->present & 16)
    return csn_detail(c, -EINVAL, "flags are those of a mount: mount = true", NULL);
  at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);
  return at < 0 ? at : write_file(a, c, at, name);
}

CSN_PRIMITIVE(file, "file", INLINE, CSN_CHILD | CSN_NEAR, apply_file, NULL,
              "$path $data[ $mode][ $mount]")
