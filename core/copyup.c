/* SPDX-License-Identifier: MIT
 *
 * Copying a directory into the tmpfs that will cover it: everything that can be in one, with modes, the
 * times of files and directories, their extended attributes as far as a tmpfs and this user namespace take
 * them, and, where this namespace can name them, owners. By descriptor, following nothing: the directory may
 * be of an image. The size of the tmpfs is the bound.
 */
#include "mount.h"
#include <linux/limits.h>
#include <linux/stat.h>

#define MAX_LEVELS 40

struct entry { /* the kernel's struct linux_dirent64 */
  u64 ino;
  s64 next; /* position of the entry after it */
  u16 len;
  u8 type;
  char name[];
};

struct copy {
  struct csn_ctx *c;
  u32 levels;
  struct level {
    s32 src, dst;
    struct csn_stat st;
    s64 position; /* in src */
  } at[MAX_LEVELS];
  u8 entries[4096] __attribute__((aligned(8)));
};

/* Whose id this namespace doesn't know stays the creator's; then no set-id bit may stay either. */
static int
give(int fd, const struct csn_stat *st)
{
  u32 mode = st->mode & 07777;
  struct csn_stat have;
  long rc = csn_stat(fd, &have);

  if (rc < 0)
    return (int)rc;
  if (have.uid != st->uid || have.gid != st->gid) {
    rc = csn_sys(__NR_fchownat, fd, "", st->uid, st->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    if (rc == -EINVAL || rc == -EPERM)
      mode &= ~(u32)(S_ISUID | S_ISGID);
    else if (rc < 0)
      return (int)rc;
  }
  return (st->mode & S_IFMT) == S_IFLNK ? 0 : csn_set_mode(fd, mode);
}

/* ACLs, file capabilities, user attributes. A label is given by the policy, not copied; what the tmpfs has
 * no room for in its kind, or this namespace no right to, is left, as set-id bits are. */
static int
copy_attributes(int from, int to)
{
  char names[2048], value[4096];
  long n = csn_sys(__NR_flistxattr, from, names, sizeof(names));

  if (n == -EOPNOTSUPP)
    return 0;
  for (long at = 0; at < n; at += (long)csn_strlen(names + at) + 1) {
    long len, rc;

    if (csn_streq(names + at, "security.selinux"))
      continue;
    len = csn_sys(__NR_fgetxattr, from, names + at, value, sizeof(value));
    if (len == -ENODATA) /* gone meanwhile */
      continue;
    rc = len < 0 ? len : csn_sys(__NR_fsetxattr, to, names + at, value, len, 0);
    if (rc < 0 && rc != -EOPNOTSUPP && rc != -EPERM && rc != -EINVAL)
      return (int)rc;
  }
  return n < 0 ? (int)n : 0;
}

/* Of both, of which the access time is as good as any. */
static int
copy_times(int from, int to)
{
  struct statx sx = { 0 };
  long rc = csn_sys(__NR_statx, from, "", AT_EMPTY_PATH, STATX_ATIME | STATX_MTIME, &sx);
  struct {
    s64 sec, nsec;
  } times[2] = { { sx.stx_atime.tv_sec, sx.stx_atime.tv_nsec },
                 { sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec } };

  if (rc >= 0)
    rc = csn_sys(__NR_utimensat, to, NULL, times, 0);
  return rc == -EPERM ? 0 : (int)rc;
}

static int
finish(int from, int to, const struct csn_stat *st)
{
  int rc = give(to, st);

  if (rc == 0)
    rc = copy_attributes(from, to);
  return rc < 0 ? rc : copy_times(from, to);
}

static int
copy_file(int from, int to, const char *name, const struct csn_stat *st)
{
  CSN_CLEANUP_FD int in =
      (int)csn_sys(__NR_openat, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  CSN_CLEANUP_FD int out = -1;
  struct csn_stat now;
  long n;

  if (in < 0)
    return in;
  if ((n = csn_stat(in, &now)) < 0)
    return (int)n;
  if (now.ino != st->ino || now.dev != st->dev)
    return -ESTALE;
  out = (int)csn_sys(__NR_openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     0600);
  if (out < 0)
    return out;
  while ((n = CSN_RETRY(csn_sys(__NR_sendfile, out, in, NULL, 1 << 20))) > 0)
    ;
  return n < 0 ? (int)n : finish(in, out, st);
}

static int
copy_link(int fd, int to, const char *name, const struct csn_stat *st)
{
  CSN_CLEANUP_FD int made = -1;
  char text[PATH_MAX];
  long n = csn_sys(__NR_readlinkat, fd, "", text, sizeof(text) - 1);

  if (n < 0)
    return (int)n;
  text[n] = 0;
  n = csn_sys(__NR_symlinkat, text, to, name);
  if (n < 0)
    return (int)n;
  made = (int)csn_sys(__NR_openat, to, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return made < 0 ? made : give(made, st);
}

/* A fifo, a socket, a device. (The tmpfs may be nodev; then a device is there to be looked at.) */
static int
copy_node(int to, const char *name, const struct csn_stat *st)
{
  CSN_CLEANUP_FD int made = -1;
  u64 number = (u64)(st->minor & 0xff) | (u64)st->major << 8 | (u64)(st->minor & ~0xffu) << 12;
  bool device = (st->mode & S_IFMT) == S_IFCHR || (st->mode & S_IFMT) == S_IFBLK;
  long rc = csn_sys(__NR_mknodat, to, name, (st->mode & S_IFMT) | 0600, device ? number : 0);

  if (rc < 0)
    return (int)rc;
  made = (int)csn_sys(__NR_openat, to, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return made < 0 ? made : give(made, st);
}

/* Go down into the directories src and dst; both are closed by leave(). */
static int
enter(struct copy *k, int src, int dst, const struct csn_stat *st)
{
  struct level *l = &k->at[k->levels];

  if (src < 0 || dst < 0 || k->levels == MAX_LEVELS) {
    csn_close(src);
    csn_close(dst);
    return src < 0 ? src : dst < 0 ? dst : -ENAMETOOLONG;
  }
  l->src = src;
  l->dst = dst;
  l->st = *st;
  l->position = 0;
  k->levels++;
  return 0;
}

/* The directory's own mode is set when nothing more is to be made in it. */
static int
leave(struct copy *k)
{
  struct level *l = &k->at[--k->levels];
  int rc = finish(l->src, l->dst, &l->st);

  csn_close(l->src);
  csn_close(l->dst);
  return rc;
}

static int
copy_directory(struct copy *k, int src, int dst, const char *name, const struct csn_stat *st)
{
  long rc = csn_sys(__NR_mkdirat, dst, name, 0700);

  if (rc < 0)
    return (int)rc;
  return enter(
      k, (int)csn_sys(__NR_openat, src, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
      (int)csn_sys(__NR_openat, dst, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), st);
}

/* 1: the copy goes on in a directory below */
static int
copy_entry(struct copy *k, int src, int dst, const char *name)
{
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_openat, src, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct csn_stat st;
  int rc;

  if (fd < 0)
    return fd;
  if ((rc = csn_stat(fd, &st)) < 0)
    return rc;
  switch (st.mode & S_IFMT) {
  case S_IFREG:
    return copy_file(src, dst, name, &st);
  case S_IFLNK:
    return copy_link(fd, dst, name, &st);
  case S_IFDIR:
    rc = copy_directory(k, src, dst, name, &st);
    return rc < 0 ? rc : 1;
  default:
    return copy_node(dst, name, &st);
  }
}

/* The entries of the lowest level, as far as the first directory; 0: the level is done. The buffer is one
 * for all levels, so on coming back a level is read on from where it was left. */
static int
copy_level(struct copy *k)
{
  struct level *l = &k->at[k->levels - 1];
  long n = csn_sys(__NR_lseek, l->src, l->position, 0 /* SEEK_SET */);

  while (n >= 0 && (n = csn_sys(__NR_getdents64, l->src, k->entries, sizeof(k->entries))) > 0) {
    for (long at = 0; at < n;) {
      const struct entry *e = (const struct entry *)(k->entries + at);
      int rc = 0;

      at += e->len;
      l->position = e->next;
      if (!csn_streq(e->name, ".") && !csn_streq(e->name, ".."))
        rc = copy_entry(k, l->src, l->dst, e->name);
      if (rc == -EPERM)
        return csn_detail(k->c, rc, "copying up (devices can't be made in a user namespace) ",
                          e->name);
      if (rc < 0)
        return csn_detail(k->c, rc, "copying up ", e->name);
      if (rc == 1)
        return 1;
    }
  }
  return (int)n;
}

int
csn_copy_up(struct csn_ctx *c, int src, int dst)
{
  struct copy k;
  struct csn_stat st;
  int rc = csn_stat(dst, &st);

  k.c = c;
  k.levels = 0;
  if (rc < 0)
    return rc;
  rc = enter(&k, (int)csn_sys(__NR_openat, src, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
             (int)csn_sys(__NR_openat, dst, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &st);
  if (rc < 0)
    return csn_detail(c, rc, "copying up", NULL);
  while (k.levels > 0) {
    rc = copy_level(&k);
    if (rc == 0)
      rc = leave(&k);
    if (rc < 0)
      break;
  }
  while (k.levels > 0) {
    k.levels--;
    csn_close(k.at[k.levels].src);
    csn_close(k.at[k.levels].dst);
  }
  return rc;
}
