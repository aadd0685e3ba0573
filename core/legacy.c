/* SPDX-License-Identifier: MIT
 *
 * mount(2), where a policy answers ENOSYS to the calls that know mounts by descriptor.
 *
 * A tree then is a mount staged over a directory, or for a file over a file, that every procfs has, and
 * attached by moving it from there. What only mount_setattr can do (flags of a whole tree, id maps) is refused.
 */
#include "mount.h"
#include <asm/statfs.h>

#define MNT_DETACH 2
#define ST_RELATIME 0x1000
#define ST_NOSYMFOLLOW 0x2000

#define STAGE_DIR "/proc/driver"
#define STAGE_FILE "/proc/version"

struct fd_link {
  char path[32];
};

static struct fd_link
link_of(int fd)
{
  struct fd_link l = { "/proc/self/fd/" };

  csn_append_u64(l.path, sizeof(l.path), csn_strlen(l.path), (u64)fd);
  return l;
}

int
csn_old_clone(int source, bool recursive)
{
  struct csn_stat st;
  struct fd_link from = link_of(source);
  long rc = csn_stat(source, &st);
  bool dir = rc >= 0 && (st.mode & S_IFMT) == S_IFDIR;

  if (rc >= 0)
    rc = csn_sys(__NR_mount, from.path, dir ? STAGE_DIR : STAGE_FILE, NULL,
                 MS_BIND | (recursive ? MS_REC : 0), NULL);
  return rc < 0 ? (int)rc
                : (int)csn_sys(__NR_openat, AT_FDCWD, dir ? STAGE_DIR : STAGE_FILE,
                               O_PATH | O_CLOEXEC);
}

static u64
mount_bits(u64 attr)
{
  u64 ms = attr & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC); /* the same bits */

  if (attr & MOUNT_ATTR_NODIRATIME)
    ms |= MS_NODIRATIME;
  if (attr & MOUNT_ATTR_NOSYMFOLLOW)
    ms |= MS_NOSYMFOLLOW;
  if (attr & MOUNT_ATTR_NOATIME)
    ms |= MS_NOATIME;
  if (attr & MOUNT_ATTR_STRICTATIME)
    ms |= MS_STRICTATIME;
  return ms;
}

/* A remount sets all flags anew: those that are there are asked for again. */
int
csn_old_set_attr(int tree, int flags, const struct mount_attr *m)
{
  struct fd_link at = link_of(tree);
  struct statfs fs = { 0 };
  u64 ms;
  long rc;

  if (m->propagation) {
    rc = csn_sys(__NR_mount, NULL, at.path, NULL,
                 m->propagation | (flags & AT_RECURSIVE ? MS_REC : 0), NULL);
    if (rc < 0)
      return (int)rc;
  }
  if (!m->attr_set && !m->attr_clr)
    return 0;
  if ((flags & AT_RECURSIVE) || (m->attr_set & MOUNT_ATTR_IDMAP))
    return -ENOSYS;
  rc = csn_sys(__NR_fstatfs, tree, &fs);
  if (rc < 0)
    return (int)rc;
  ms =
      (u64)fs.f_flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
  if (fs.f_flags & ST_NOSYMFOLLOW)
    ms |= MS_NOSYMFOLLOW;
  if (fs.f_flags & ST_RELATIME)
    ms |= MS_RELATIME;
  else if (!(ms & MS_NOATIME))
    ms |= MS_STRICTATIME;
  ms &= ~mount_bits(m->attr_clr & ~(u64)MOUNT_ATTR__ATIME);
  if (m->attr_clr & MOUNT_ATTR__ATIME) {
    ms &= ~(u64)(MS_NOATIME | MS_RELATIME | MS_STRICTATIME);
    ms |= m->attr_set & MOUNT_ATTR__ATIME ? 0 : MS_RELATIME;
  }
  ms |= mount_bits(m->attr_set);
  return (int)csn_sys(__NR_mount, NULL, at.path, NULL, MS_REMOUNT | MS_BIND | ms, NULL);
}

int
csn_old_fs_mount(const char *type, const char *source, const char *data, u64 attrs)
{
  long rc = csn_sys(__NR_mount, source, STAGE_DIR, type, mount_bits(attrs), *data ? data : NULL);

  return rc < 0 ? (int)rc
                : (int)csn_sys(__NR_openat, AT_FDCWD, STAGE_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int
csn_old_move(int tree, int target)
{
  struct fd_link from = link_of(tree), to = link_of(target);

  return (int)csn_sys(__NR_mount, from.path, to.path, NULL, MS_MOVE, NULL);
}

void
csn_old_drop(int tree)
{
  struct fd_link at = link_of(tree);

  csn_sys(__NR_umount2, at.path, MNT_DETACH);
}
