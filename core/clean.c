/* SPDX-License-Identifier: MIT
 *
 * Files that a run leaves in a pooled container, taken away again, with the proof that all is as it was before
 * the first run.
 *
 * The mounts that are the container's own are not made anew: another in the place of one would have to be put
 * below those that stand in it, and takes longer than to empty it. What is to stay is compared with what was
 * noted of it; what can't be put back is an error, and the container's end. Nobody else lives in the pid
 * namespace meanwhile, so that nothing moves under the walk.
 */
#include "agent.h"
#include <asm/statfs.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <linux/stat.h>

#ifdef CSN_RUNNER

#define MAX_MOUNTS 32
#define MAX_ENTRIES 4096
#define MAX_DEPTH 16
#define ARENA (8u << 20) /* touched only as far as there is something to note */
#define EMPTY_PATH AT_EMPTY_PATH
#define DOTDOT(n) ((n)[0] == '.' && (!(n)[1] || ((n)[1] == '.' && !(n)[2])))

/* One thing that is to be there after each reset. */
struct entry {
  u32 path;     /* below its mount, in the arena; "" is the mount's own root */
  u32 pass;     /* of the last walk that has seen it */
  bool mounted; /* something stands on it, which is another mount's affair */
  struct statx st;
  u32 flags;           /* FS_IOC_GETFLAGS */
  u32 data, data_size; /* a directory's extended attributes, a regular file's bytes; in the arena */
};

static struct own {
  int fd;
  u32 first, count; /* of its entries */
  u64 blocks, files;
} mounts[MAX_MOUNTS];
static u32 nmounts, nentries, used, pass;
static struct entry *entries;
static u8 *arena;

struct dirent64 {
  u64 ino;
  s64 off;
  u16 reclen;
  u8 type;
  char name[];
};

static int
tell(struct csn_answer *a, long rc, const char *what, const char *path)
{
  size_t n = csn_append(a->detail, sizeof(a->detail), 0, what);

  a->detail_len = (u32)csn_append(a->detail, sizeof(a->detail), n, path);
  return (int)rc;
}

static u32
note(const void *data, size_t n)
{
  u32 at = used;

  if (n > ARENA - used)
    return 0;
  __builtin_memcpy(arena + used, data, n);
  used += (u32)n;
  return at;
}

static int
look(int dir, const char *name, struct statx *st)
{
  return (int)csn_sys(__NR_statx, dir, name,
                      AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : EMPTY_PATH),
                      STATX_BASIC_STATS, st);
}

/* Without a trace of the reading, where the agent may do that. */
static int
open_quietly(int dir, const char *name, int flags)
{
  const int all = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | flags;
  long fd = csn_sys(__NR_openat, dir, name, all | O_NOATIME);

  return (int)(fd == -EPERM ? csn_sys(__NR_openat, dir, name, all) : fd);
}

static int
open_dir(int dir, const char *name)
{
  return open_quietly(dir, name, O_DIRECTORY);
}

/* ---- what is compared of a directory and of a file ---- */

/* All extended attributes, name after name with their values, into buf: their size or -errno. */
static long
attributes(int fd, u8 *buf, size_t size)
{
  char names[2048];
  long n = csn_sys(__NR_flistxattr, fd, names, sizeof(names)), len;
  size_t at = 0;

  if (n == -EOPNOTSUPP)
    return 0;
  for (long i = 0; i < n; i += (long)csn_strlen(names + i) + 1) {
    size_t name_len = csn_strlen(names + i) + 1;

    if (at + name_len + 8 > size)
      return -E2BIG;
    __builtin_memcpy(buf + at, names + i, name_len);
    at += name_len;
    len = csn_sys(__NR_fgetxattr, fd, names + i, buf + at, size - at);
    if (len < 0)
      return len;
    at += (size_t)len;
  }
  return n < 0 ? n : (long)at;
}

static u32
flags_of(int fd)
{
  u32 flags[2] = { 0 };

  return csn_sys(__NR_ioctl, fd, FS_IOC_GETFLAGS, flags) < 0 ? 0 : flags[0];
}

/* The bytes of a regular file in dir into the arena, behind what is noted there: how many, or -errno. A program's
 * own mapping of it could change them and leave its times. */
static long
content(int dir, const char *name, u64 size)
{
  CSN_CLEANUP_FD int fd = open_quietly(dir, name, 0);
  u64 done = 0;
  long n = fd;

  if (fd < 0)
    return fd;
  if (size >= ARENA - used)
    return -E2BIG;
  while (done < size && (n = csn_sys(__NR_read, fd, arena + used + done, size - done)) > 0)
    done += (u64)n;
  return n < 0 ? n : (long)done;
}

static bool
same_bytes(const u8 *a, const u8 *b, size_t n)
{
  while (n--)
    if (*a++ != *b++)
      return false;
  return true;
}

static bool
same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
same_inode(const struct statx *a, const struct statx *b)
{
  return a->stx_ino == b->stx_ino && a->stx_mode == b->stx_mode && a->stx_uid == b->stx_uid &&
         a->stx_gid == b->stx_gid && a->stx_nlink == b->stx_nlink;
}

/* The times that were noted, where a run has changed them: they too would tell the next one something. */
static int
restore_times(int dir, const char *name, struct entry *e, const struct statx *now)
{
  const s64 times[4] = { e->st.stx_atime.tv_sec, e->st.stx_atime.tv_nsec, e->st.stx_mtime.tv_sec,
                         e->st.stx_mtime.tv_nsec };
  struct statx st;
  long rc;

  if (same_time(&now->stx_atime, &e->st.stx_atime) && same_time(&now->stx_mtime, &e->st.stx_mtime))
    return 0;
  rc = csn_sys(__NR_utimensat, dir, *name ? name : ".", times, AT_SYMLINK_NOFOLLOW);
  if (rc >= 0 && (rc = look(dir, name, &st)) >= 0)
    e->st.stx_ctime = st.stx_ctime;
  return (int)rc;
}

/* ---- before the first run ---- */

static int walk_note(u32 mount, int dir, char *path, size_t len, int depth, struct csn_answer *a);

static int
note_entry(int dir, const char *name, const char *path, struct csn_answer *a)
{
  struct entry *e = entries + nentries;
  long n = 0;
  int rc;

  if (nentries == MAX_ENTRIES)
    return tell(a, -E2BIG, "more files than can be watched: ", path);
  e->path = note(path, csn_strlen(path) + 1);
  if (!e->path)
    return tell(a, -E2BIG, "more than can be watched: ", path);
  if ((rc = look(dir, name, &e->st)) < 0)
    return tell(a, rc, "", path);
  e->mounted = *name && (e->st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
  if (!e->mounted && (e->st.stx_mode & 0170000) == 0100000) {
    n = content(dir, name, e->st.stx_size);
  } else if (!e->mounted && (e->st.stx_mode & 0170000) == 0040000) {
    CSN_CLEANUP_FD int fd = open_dir(dir, *name ? name : ".");

    n = fd < 0 ? fd : attributes(fd, arena + used, ARENA - used);
    e->flags = fd < 0 ? 0 : flags_of(fd);
  }
  if (n < 0)
    return tell(a, n, "it can't be watched: ", path);
  e->data = used;
  e->data_size = (u32)n;
  used += (u32)n;
  nentries++;
  return 0;
}

/* Every name in a directory: fn(…) < 0 ends it. Returns that, or 0. */
static int
walk_note(u32 mount, int dir, char *path, size_t len, int depth, struct csn_answer *a)
{
  u8 buf[4096] __attribute__((aligned(8)));
  long n, rc = 0;

  if (depth > MAX_DEPTH)
    return tell(a, -E2BIG, "deeper than can be watched: ", path);
  while ((n = csn_sys(__NR_getdents64, dir, buf, sizeof(buf))) > 0)
    for (long i = 0; i < n; i += ((struct dirent64 *)(buf + i))->reclen) {
      const char *name = ((struct dirent64 *)(buf + i))->name;
      struct entry *e = entries + nentries;
      size_t end = len;

      if (DOTDOT(name))
        continue;
      if (len + csn_strlen(name) + 2 > PATH_MAX)
        return tell(a, -ENAMETOOLONG, "", path);
      end = csn_append(path, PATH_MAX, end, name);
      if ((rc = note_entry(dir, name, path, a)) < 0)
        return (int)rc;
      if (!e->mounted && (e->st.stx_mode & 0170000) == 0040000) {
        CSN_CLEANUP_FD int sub = open_dir(dir, name);

        if (sub < 0)
          return tell(a, sub, "", path);
        csn_append(path, PATH_MAX, end, "/");
        if ((rc = walk_note(mount, sub, path, end + 1, depth + 1, a)) < 0)
          return (int)rc;
      }
      path[len] = 0;
    }
  return n < 0 ? tell(a, n, "", path) : 0;
}

static int
free_space(int fd, u64 *blocks, u64 *files)
{
  struct statfs fs = { 0 };
  long rc = csn_sys(__NR_fstatfs, fd, &fs);

  *blocks = (u64)fs.f_bfree;
  *files = (u64)fs.f_ffree;
  return (int)rc;
}

int
csn_clean_own_fd(int fd, struct csn_answer *a)
{
  static char path[PATH_MAX];
  struct own *m = mounts + nmounts;
  int rc;

  if (!arena) {
    long at = csn_sys(__NR_mmap, 0, ARENA + MAX_ENTRIES * sizeof(*entries), 3 /* read, write */,
                      0x4022 /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */, -1, 0);

    if (at < 0 && at > -4096)
      return (int)at;
    entries = (struct entry *)at;
    arena = (u8 *)(entries + MAX_ENTRIES);
    used = 1; /* 0: no place */
  }
  if (nmounts == MAX_MOUNTS)
    return tell(a, -E2BIG, "more mounts than can be watched", "");
  path[0] = 0;
  m->fd = fd;
  m->first = nentries;
  if ((rc = note_entry(fd, "", path, a)) < 0 || (rc = walk_note(nmounts, fd, path, 0, 0, a)) < 0 ||
      (rc = free_space(fd, &m->blocks, &m->files)) < 0)
    return rc;
  m->count = nentries - m->first;
  a->numbers[0] = entries[m->first].st.stx_dev_major;
  a->numbers[1] = entries[m->first].st.stx_dev_minor;
  nmounts++;
  return 0;
}

int
csn_clean_own(const char *mount_point, struct csn_answer *a)
{
  struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                          .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  CSN_CLEANUP_FD int at = (int)csn_sys(__NR_openat2, AT_FDCWD, mount_point, &how, sizeof(how));
  CSN_CLEANUP_FD int fd = at < 0 ? at : open_dir(at, ".");
  int rc = fd < 0 ? fd : csn_clean_own_fd(fd, a);

  if (rc == 0)
    fd = -1; /* it is kept */
  return rc;
}

/* ---- away with the rest ---- */

static int
remove_name(int dir, const char *name)
{
  long rc = csn_sys(__NR_unlinkat, dir, name, 0);

  if (rc == -EISDIR)
    rc = csn_sys(__NR_unlinkat, dir, name, AT_REMOVEDIR);
  if (rc == -EPERM) { /* it, or the directory, is immutable or append-only */
    CSN_CLEANUP_FD int fd =
        (int)csn_sys(__NR_openat, dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    u32 none[2] = { 0 };

    if (fd >= 0)
      csn_sys(__NR_ioctl, fd, FS_IOC_SETFLAGS, none);
    csn_sys(__NR_ioctl, dir, FS_IOC_SETFLAGS, none);
    rc = csn_sys(__NR_unlinkat, dir, name, 0);
    if (rc == -EISDIR)
      rc = csn_sys(__NR_unlinkat, dir, name, AT_REMOVEDIR);
  }
  return (int)rc;
}

/* The first directory in dir that is not empty, after all that could be removed: its descriptor; 0 where dir
 * is empty now; or -errno. */
static int
empty_upto(int dir, u64 *removed)
{
  u8 buf[8192] __attribute__((aligned(8)));
  long n = 0, rc;
  bool some = true;

  while (some) {
    some = false;
    csn_sys(__NR_lseek, dir, 0, 0);
    while ((n = csn_sys(__NR_getdents64, dir, buf, sizeof(buf))) > 0)
      for (long i = 0; i < n; i += ((struct dirent64 *)(buf + i))->reclen) {
        const char *name = ((struct dirent64 *)(buf + i))->name;

        if (DOTDOT(name))
          continue;
        rc = remove_name(dir, name);
        if (rc == -ENOTEMPTY)
          return open_dir(dir, name);
        if (rc < 0)
          return (int)rc;
        ++*removed;
        some = true;
      }
  }
  return (int)n;
}

/* However deep it is: down into what is not empty, and up by "..", which leads back as nobody moves it. */
static int
remove_tree(int dir, const char *name, u64 *removed)
{
  int rc = remove_name(dir, name), at, next;
  u64 depth = 1;

  if (rc != -ENOTEMPTY) {
    *removed += rc == 0;
    return rc;
  }
  if ((at = open_dir(dir, name)) < 0)
    return at;
  while (depth > 0) {
    next = empty_upto(at, removed);
    if (next < 0) {
      csn_close(at);
      return next;
    }
    if (next > 0) {
      depth++;
    } else {
      depth--;
      next = depth ? open_dir(at, "..") : -1;
      if (depth && next < 0) {
        csn_close(at);
        return next;
      }
    }
    csn_close(at);
    at = next;
  }
  rc = remove_name(dir, name);
  *removed += rc == 0;
  return rc;
}

static struct entry *
find(const struct own *m, const char *path)
{
  for (u32 i = m->first; i < m->first + m->count; i++)
    if (csn_streq((const char *)arena + entries[i].path, path))
      return entries + i;
  return NULL;
}

/* Is it as it was? dir and name lead to it; a directory's entries have been put right before. */
static int
check(int dir, const char *name, struct entry *e, struct csn_answer *a)
{
  const char *path = (const char *)arena + e->path;
  struct statx st;
  long n = e->data_size;
  int rc = look(dir, name, &st);
  u32 flags = 0;

  e->pass = pass;
  if (rc < 0)
    return tell(a, rc, "", path);
  if (e->mounted) /* what stands on it is looked at as a mount of its own, or is the host's */
    return st.stx_ino == e->st.stx_ino && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
               ? 0
               : tell(a, -ESTALE, "changed by a run: ", path);
  if (!same_inode(&st, &e->st))
    return tell(a, -ESTALE, "changed by a run: ", *path ? path : "a mount's root");
  if ((st.stx_mode & 0170000) == 0040000) {
    CSN_CLEANUP_FD int fd = open_dir(dir, *name ? name : ".");

    n = fd < 0 ? fd : attributes(fd, arena + used, ARENA - used);
    flags = fd < 0 ? 0 : flags_of(fd);
  } else {
    if (!same_time(&st.stx_ctime, &e->st.stx_ctime) || st.stx_size != e->st.stx_size)
      return tell(a, -ESTALE, "changed by a run: ", path);
    if ((st.stx_mode & 0170000) == 0100000)
      n = content(dir, name, st.stx_size);
  }
  if (n < 0)
    return tell(a, n, "", path);
  if ((u64)n != e->data_size || flags != e->flags ||
      !same_bytes(arena + e->data, arena + used, e->data_size))
    return tell(a, -ESTALE, "changed by a run: ", *path ? path : "a mount's root");
  rc = restore_times(dir, name, e, &st);
  return rc < 0 ? tell(a, rc, "its times: ", path) : 0;
}

/* Remove what is not noted, put right what is, and look at it. */
static int
walk_clean(struct own *m, int dir, char *path, size_t len, struct csn_answer *a)
{
  u8 buf[4096] __attribute__((aligned(8)));
  bool again = true;
  long n = 0;
  int rc;

  while (again) {
    again = false;
    csn_sys(__NR_lseek, dir, 0, 0);
    while ((n = csn_sys(__NR_getdents64, dir, buf, sizeof(buf))) > 0)
      for (long i = 0; i < n; i += ((struct dirent64 *)(buf + i))->reclen) {
        const char *name = ((struct dirent64 *)(buf + i))->name;
        struct entry *e;
        size_t end;

        if (DOTDOT(name))
          continue;
        path[len] = 0;
        end = csn_append(path, PATH_MAX, len, name);
        e = find(m, path);
        if (!e) {
          rc = remove_tree(dir, name, &a->numbers[CSN_RESET_FILES]);
          if (rc < 0)
            return tell(a, rc, "it can't be removed: ", path);
          again = true;
        } else if (e->pass != pass) {
          if (!e->mounted && (e->st.stx_mode & 0170000) == 0040000) {
            CSN_CLEANUP_FD int sub = open_dir(dir, name);

            csn_append(path, PATH_MAX, end, "/");
            rc = sub < 0 ? tell(a, sub, "", path) : walk_clean(m, sub, path, end + 1, a);
            if (rc < 0)
              return rc;
          }
          if ((rc = check(dir, name, e, a)) < 0)
            return rc;
        }
      }
  }
  path[len] = 0;
  return n < 0 ? tell(a, n, "", path) : 0;
}

/* What a process held may be let go of a little after its end, by a worker of the kernel's. */
static int
await_space(const struct own *m, struct csn_answer *a)
{
  const s64 pause[2] = { 0, 1000000 };
  u64 blocks, files;
  int rc;

  for (int tries = 0; tries < 200; tries++) {
    if ((rc = free_space(m->fd, &blocks, &files)) < 0)
      return tell(a, rc, "statfs", "");
    if (blocks >= m->blocks && files >= m->files)
      return 0;
    csn_sys(__NR_nanosleep, pause, NULL);
  }
  return tell(a, -EBUSY, "files of a run are held open by somebody outside", "");
}

int
csn_clean_files(struct csn_answer *a)
{
  static char path[PATH_MAX];
  int rc;

  pass++;
  for (u32 i = 0; i < nmounts; i++) {
    struct own *m = mounts + i;

    path[0] = 0;
    if ((rc = walk_clean(m, m->fd, path, 0, a)) < 0 ||
        (rc = check(m->fd, "", entries + m->first, a)) < 0 || (rc = await_space(m, a)) < 0)
      return rc;
    for (u32 k = m->first; k < m->first + m->count; k++)
      if (entries[k].pass != pass)
        return tell(a, -ESTALE, "removed by a run: ", (const char *)arena + entries[k].path);
  }
  return 0;
}

int
csn_clean_delete(const char *path, struct csn_answer *a)
{
  static char parent[PATH_MAX];
  struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                          .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };
  size_t n = csn_append(parent, sizeof(parent), 0, *path == '/' ? "" : "/"), slash = 0;
  CSN_CLEANUP_FD int dir = -1;
  struct statfs fs = { 0 };
  struct statx st;
  u64 removed = 0;
  int rc;

  if (n + csn_strlen(path) >= sizeof(parent)) /* cut, it would be another's */
    return tell(a, -ENAMETOOLONG, "", "");
  n = csn_append(parent, sizeof(parent), n, path);
  while (n > 1 && parent[n - 1] == '/')
    parent[--n] = 0;
  for (size_t i = 0; i < n; i++)
    if (parent[i] == '/')
      slash = i;
  if (DOTDOT(parent + slash + 1) || !parent[slash + 1])
    return tell(a, -EINVAL, "no name in a directory", "");
  parent[slash] = 0;
  dir = (int)csn_sys(__NR_openat2, AT_FDCWD, slash ? parent : "/", &how, sizeof(how));
  if (dir < 0)
    return dir;
  if ((rc = look(dir, parent + slash + 1, &st)) < 0)
    return rc;
  if ((st.stx_attributes & STATX_ATTR_MOUNT_ROOT) ||
      (csn_sys(__NR_fstatfs, dir, &fs) >= 0 && fs.f_type == PROC_SUPER_MAGIC))
    return -EBUSY;
  rc = remove_tree(dir, parent + slash + 1, &removed);
  a->numbers[CSN_RESET_FILES] = removed;
  return rc;
}

#endif
