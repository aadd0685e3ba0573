/* SPDX-License-Identifier: MIT
 * Taking a mount away (umount2(2)). */
#include "mount.h"
#include <linux/limits.h>

#define MNT_DETACH 2
#define UMOUNT_NOFOLLOW 8

#define UNMOUNT(F)                                                                                 \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(bool, lazy, 0, NULL, 0)                                                                        \
  CSN_ROOT_FIELD(F)
CSN_ARGS(unmount, UNMOUNT)

/* What stands at path in the root must be a mount's root; 0 or -errno. */
static int
check_mounted(struct csn_ctx *c, int root, const char *path)
{
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, root, path, CSN_NO_SYMLINKS);
  struct csn_stat st;
  int rc;

  if (fd < 0)
    return fd;
  if ((rc = csn_stat(fd, &st)) < 0)
    return rc;
  return st.mount_root ? 0 : csn_detail(c, -EINVAL, "nothing is mounted at ", path);
}

/* umount2(2) knows no descriptors. A name in a directory that is held open, and that is no symlink, can
 * be exchanged for another mount of the same container at worst. */
static int
unmount_in(int dir, const char *name, int flags)
{
  CSN_CLEANUP_FD int here =
      (int)csn_sys(__NR_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  long rc;

  if (here < 0)
    return here;
  rc = csn_sys(__NR_fchdir, dir);
  if (rc < 0)
    return (int)rc;
  rc = csn_sys(__NR_umount2, name, flags);
  csn_sys(__NR_fchdir, here);
  return (int)rc;
}

static int
apply_unmount(const struct unmount_args *a, struct csn_ctx *c)
{
  const char *path = csn_s(c, a->path);
  size_t end = a->path.len, start;
  char parent[PATH_MAX], name[256];
  CSN_CLEANUP_FD int dir = -1;
  int root = c->slots[a->root], rc;

  while (end > 0 && path[end - 1] == '/')
    end--;
  for (start = end; start > 0 && path[start - 1] != '/'; start--)
    ;
  if (start == end)
    return csn_detail(c, -EBUSY, "the root itself can't be unmounted", NULL);
  if (end - start >= sizeof(name))
    return -ENAMETOOLONG;
  csn_append(name, end - start + 1, 0, path + start);
  if (csn_streq(name, ".") || csn_streq(name, ".."))
    return csn_detail(c, -EINVAL, "no name at the end of ", path);
  parent[0] = '.', parent[1] = 0;
  if (start > 0)
    csn_append(parent, start + 1, 0, path);
  if ((rc = csn_own_mounts(c)) < 0 || (rc = check_mounted(c, root, path)) < 0)
    return rc;
  dir = csn_in_root_open(c, root, parent, CSN_NO_SYMLINKS | CSN_WANT_DIR);
  if (dir < 0)
    return dir;
  rc = unmount_in(dir, name, UMOUNT_NOFOLLOW | (a->lazy ? MNT_DETACH : 0));
  if (rc == -EBUSY)
    return csn_detail(
        c, rc, "somebody uses it, or there are mounts in it; lazy takes it from sight: ", path);
  if (rc == -EINVAL)
    return csn_detail(c, rc, "locked to the mount that it came with: ", path);
  return rc < 0 ? csn_detail(c, rc, "unmounting ", path) : 0;
}

CSN_PRIMITIVE(unmount, "mount.remove", UNMOUNT, CSN_CHILD, apply_unmount, NULL, "$path[ $lazy]")
