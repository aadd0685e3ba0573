/* SPDX-License-Identifier: MIT
 *
 * Paths inside a root: openat2(RESOLVE_IN_ROOT), and a walk over single components where a policy
 * answers ENOSYS to openat2, or where something is missing and has to be made.
 */
#include "path.h"
#include <asm/statfs.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <linux/stat.h>

#define MAX_LINKS 40
#define MAX_DEPTH 128
#define MAX_NAME 255
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

int
csn_stat(int fd, struct csn_stat *st)
{
  struct statx sx = { 0 };
  long rc = csn_sys(__NR_statx, fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
                    STATX_BASIC_STATS | STATX_MNT_ID, &sx);

  if (rc < 0)
    return (int)rc;
  st->mode = sx.stx_mode;
  st->uid = sx.stx_uid;
  st->gid = sx.stx_gid;
  st->major = sx.stx_rdev_major;
  st->minor = sx.stx_rdev_minor;
  st->ino = sx.stx_ino;
  st->dev = (u64)sx.stx_dev_major << 32 | sx.stx_dev_minor;
  st->mount = sx.stx_mnt_id;
  st->mount_root = sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
  return 0;
}

static int
change_mode(int fd, const struct csn_stat *st, u32 mode)
{
  char link[32] = "/proc/self/fd/";
  long rc = csn_sys(__NR_fchmodat2, fd, "", mode, AT_EMPTY_PATH);

  if (rc != -ENOSYS)
    return (int)rc;
  /* Before 6.6 an O_PATH descriptor has no chmod of its own. */
  if ((st->mode & S_IFMT) == S_IFDIR) {
    CSN_CLEANUP_FD int dir = (int)csn_sys(__NR_openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return dir < 0 ? dir : (int)csn_sys(__NR_fchmod, dir, mode);
  }
  csn_append_u64(link, sizeof(link), csn_strlen(link), (u64)fd);
  return (int)csn_sys(__NR_fchmodat, AT_FDCWD, link, mode);
}

int
csn_set_owner_and_mode(int fd, s64 uid, s64 gid, u32 mode)
{
  struct csn_stat st = { 0 };
  long rc = csn_stat(fd, &st);
  const bool other = (uid >= 0 && uid != st.uid) || (gid >= 0 && gid != st.gid);

  if (rc >= 0 && other)
    rc = csn_sys(__NR_fchownat, fd, "", uid, gid, AT_EMPTY_PATH);
  /* a change of the owner may take bits of the mode away */
  return rc < 0 || (!other && (st.mode & 07777) == mode) ? (int)rc : change_mode(fd, &st, mode);
}

int
csn_set_mode(int fd, u32 mode)
{
  return csn_set_owner_and_mode(fd, -1, -1, mode);
}

/* ---- the walk ---- */

/* The descriptors from the root down to where the walk stands. ".." goes back to the one that the walk
 * came from, never to what the directory's own ".." is by now: so nothing renamed meanwhile leads out. */
struct walk {
  s32 fds[MAX_DEPTH];
  u32 depth; /* fds[0 .. depth]; fds[0] is borrowed where in_root */
  bool in_root;
};

static void
pop_to(struct walk *w, u32 depth)
{
  while (w->depth > depth)
    csn_close(w->fds[w->depth--]);
}

/* Without a root of its own the walk starts at the process's "/", or at its cwd. */
static int
restart(struct walk *w, bool absolute)
{
  pop_to(w, 0);
  if (w->in_root)
    return 0;
  csn_close(w->fds[0]);
  w->fds[0] =
      (s32)csn_sys(__NR_openat, AT_FDCWD, absolute ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return w->fds[0] < 0 ? w->fds[0] : 0;
}

static int
go_up(struct walk *w)
{
  long fd;

  if (w->depth > 0) {
    pop_to(w, w->depth - 1);
    return 0;
  }
  if (w->in_root)
    return 0;
  fd = csn_sys(__NR_openat, w->fds[0], "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return (int)fd;
  csn_close(w->fds[0]);
  w->fds[0] = (s32)fd;
  return 0;
}

/* Links of procfs that lead to a process's objects, not to a path. Their text is absolute or like
 * "mnt:[1]"; that of the ordinary ones ("self", "mounts") is neither. */
static bool
is_magic(int fd, const char *text)
{
  struct statfs fs = { 0 };

  if ((text[0] >= '0' && text[0] <= '9') || text[0] == '.' ||
      (text[0] == 's' && text[1] == 'e' && text[2] == 'l' && text[3] == 'f'))
    return false;
  return csn_sys(__NR_fstatfs, fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC;
}

/* A descriptor of what was made; -EEXIST: by somebody meanwhile. */
static int
make_component(int at, const char *name, bool dir)
{
  CSN_CLEANUP_FD int fd = -1;
  long rc;

  if (dir) {
    rc = csn_sys(__NR_mkdirat, at, name, CSN_DIR_MODE);
    if (rc < 0)
      return (int)rc;
    fd = (int)csn_sys(__NR_openat, at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  } else {
    fd = (int)csn_sys(__NR_openat, at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                      CSN_FILE_MODE);
  }
  rc = fd < 0 ? fd : csn_set_mode(fd, dir ? CSN_DIR_MODE : CSN_FILE_MODE);
  return rc < 0 ? (int)rc : csn_steal_fd(&fd);
}

static int
open_component(int at, const char *name, bool create, bool dir)
{
  long fd = csn_sys(__NR_openat, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int rc;

  if (fd != -ENOENT || !create)
    return (int)fd;
  rc = make_component(at, name, dir);
  return rc != -EEXIST ? rc : (int)csn_sys(__NR_openat, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* The text of link fd, then what is left of the path, become the path to walk. */
static int
splice_link(int fd, char *rest, const char *left, bool in_root)
{
  char text[PATH_MAX];
  long n = csn_sys(__NR_readlinkat, fd, "", text, sizeof(text));
  size_t len = csn_strlen(left);

  if (n < 0)
    return (int)n;
  if (n == 0)
    return -ENOENT;
  if ((size_t)n + len + 1 > sizeof(text))
    return -ENAMETOOLONG;
  text[n] = 0;
  if (in_root && is_magic(fd, text))
    return -ELOOP;
  for (size_t i = 0; i <= len; i++)
    text[(size_t)n + i] = left[i]; /* begins with a slash, or is empty */
  csn_append(rest, PATH_MAX, 0, text);
  return 0;
}

static int
walk(int root, const char *path, size_t len, int how, bool create)
{
  struct walk w = { .fds = { root }, .in_root = root >= 0 };
  char rest[PATH_MAX], name[MAX_NAME + 1];
  const char *p = rest;
  int links = 0, rc, fd;

  if (len >= sizeof(rest))
    return -ENAMETOOLONG;
  for (size_t i = 0; i < len; i++)
    rest[i] = path[i];
  rest[len] = 0;
  if ((rc = restart(&w, rest[0] == '/')) < 0)
    return rc;
  for (;;) {
    struct csn_stat st = { 0 };
    bool more, dir;
    size_t n = 0;

    while (*p == '/')
      p++;
    if (!*p)
      break;
    while (p[n] && p[n] != '/') {
      if (n >= MAX_NAME) {
        rc = -ENAMETOOLONG;
        goto out;
      }
      name[n] = p[n];
      n++;
    }
    name[n] = 0;
    p += n;
    if (csn_streq(name, "."))
      continue;
    if (csn_streq(name, "..")) {
      if ((rc = go_up(&w)) < 0)
        goto out;
      continue;
    }
    more = *p == '/';
    dir = more || (how & CSN_WANT_DIR);
    rc = fd = open_component(w.fds[w.depth], name, create, dir);
    if (fd < 0)
      goto out;
    if ((rc = csn_stat(fd, &st)) < 0) {
      csn_close(fd);
      goto out;
    }
    if ((st.mode & S_IFMT) == S_IFLNK) {
      rc = (how & CSN_NO_SYMLINKS) || ++links > MAX_LINKS ? -ELOOP
                                                          : splice_link(fd, rest, p, w.in_root);
      csn_close(fd);
      p = rest;
      if (rc == 0 && rest[0] == '/')
        rc = restart(&w, true);
      if (rc < 0)
        goto out;
      continue;
    }
    if (w.depth + 1 >= MAX_DEPTH || (dir && (st.mode & S_IFMT) != S_IFDIR)) {
      rc = w.depth + 1 >= MAX_DEPTH ? -ENAMETOOLONG : -ENOTDIR;
      csn_close(fd);
      goto out;
    }
    w.fds[++w.depth] = fd;
  }
  if (w.depth == 0 && w.in_root)
    rc = csn_dup(root, 3);
  else
    rc = csn_steal_fd(&w.fds[w.depth]);
out:
  pop_to(&w, 0);
  if (!w.in_root)
    csn_close(w.fds[0]);
  return rc;
}

/* ---- what others use ---- */

/* openat2 answers EAGAIN to ".." while anything on the machine is renamed or mounted. */
static int
open_in_root(int root, const char *path, int how)
{
  struct open_how oh = {
    .flags = O_PATH | O_CLOEXEC | (how & CSN_WANT_DIR ? O_DIRECTORY : 0),
    .resolve =
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (how & CSN_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0),
  };
  long fd = -EAGAIN;

  if (root < 0)
    oh.resolve &= ~(u64)(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  for (int i = 0; i < 1000 && (fd == -EAGAIN || fd == -EINTR); i++)
    fd = csn_sys(__NR_openat2, root < 0 ? AT_FDCWD : root, path, &oh, sizeof(oh));
  return (int)fd;
}

int
csn_in_root_open(struct csn_ctx *c, int root, const char *path, int how)
{
  int fd = open_in_root(root, path, how);

  if (fd == -ENOSYS)
    fd = walk(root, path, csn_strlen(path), how, false);
  return fd < 0 ? csn_detail(c, fd, "path ", path) : fd;
}

/* The directory of path's last component, which begins at `start`. */
static int
open_parent(int root, const char *path, size_t start, int how)
{
  char parent[PATH_MAX];

  if (start >= sizeof(parent))
    return -ENAMETOOLONG;
  for (size_t i = 0; i < start; i++)
    parent[i] = path[i];
  parent[start] = 0;
  return open_in_root(root, start ? parent : ".", how | CSN_WANT_DIR);
}

static size_t
last_component(const char *path)
{
  size_t start = csn_strlen(path);

  while (start > 0 && path[start - 1] != '/')
    start--;
  return start;
}

/* The same; where no symlink leads there, and up to so many of the last directories are missing, they are made. */
static int
make_dirs(int root, const char *path, size_t len, int missing)
{
  int fd = open_parent(root, path, len, CSN_NO_SYMLINKS), at;
  char name[MAX_NAME + 1];
  size_t start, n = 0;

  while (len > 0 && path[len - 1] == '/')
    len--;
  for (start = len; start > 0 && path[start - 1] != '/'; start--)
    ;
  if (fd != -ENOENT || !missing || start == len || len - start > MAX_NAME)
    return fd;
  while (start + n < len) {
    name[n] = path[start + n];
    n++;
  }
  name[n] = 0;
  if (csn_streq(name, ".") || csn_streq(name, ".."))
    return fd;
  at = make_dirs(root, path, start, missing - 1);
  fd = at < 0 ? at : make_component(at, name, true);
  csn_close(at);
  return fd == -EEXIST ? -ENOENT : fd; /* the walk looks again */
}

void
csn_leave_dir(struct csn_ctx *c)
{
  if (c->dir.number)
    csn_close(c->dir.number - 1);
  c->dir.number = 0;
}

/* The descriptor of the directory of path's last component, where that is the one kept; else -1. */
static int
kept_dir(const struct csn_ctx *c, int root, const char *path, size_t start)
{
  if (!c->dir.number || c->dir.root != root || c->dir.len != start)
    return -1;
  for (size_t i = 0; i < start; i++)
    if (path[i] != c->dir.path[i])
      return -1;
  return c->dir.number - 1;
}

/* From here on it is kept; what is missing of it is made. anyhow: also where symlinks lead there. */
static int
enter_dir(struct csn_ctx *c, int root, const char *path, size_t start, bool anyhow)
{
  int fd = kept_dir(c, root, path, start);
  bool plain;

  if (fd >= 0 && (anyhow || c->dir.plain))
    return fd;
  fd = make_dirs(root, path, start, 3);
  plain = fd >= 0;
  if (anyhow && fd == -ELOOP)
    fd = open_parent(root, path, start, 0);
  if (anyhow && (fd == -ENOENT || fd == -ENOSYS))
    fd = walk(root, path, start, CSN_WANT_DIR, true);
  if (fd < 0)
    return fd;
  csn_leave_dir(c);
  c->dir = (struct csn_dir){
    .path = path, .len = (u32)start, .root = root, .number = fd + 1, .plain = plain
  };
  return fd;
}

/* Where no symlink leads to the last component, and it is missing. */
static int
make_last(struct csn_ctx *c, int root, const char *path, int how)
{
  const size_t start = last_component(path);
  const char *name = path + start;
  int at;

  if (!*name || csn_streq(name, ".") || csn_streq(name, ".."))
    return -ENOENT;
  at = enter_dir(c, root, path, start, false);
  return at < 0 ? at : make_component(at, name, how & CSN_WANT_DIR);
}

/* Without "..", and not the root itself. */
static bool
is_plain(const char *path)
{
  bool named = false;

  while (*path) {
    size_t n = 0;

    while (path[n] && path[n] != '/')
      n++;
    if (n == 2 && path[0] == '.' && path[1] == '.')
      return false;
    named = named || n > 1 || (n == 1 && path[0] != '.');
    path += n + (path[n] == '/');
  }
  return named;
}

/* Seldom is there a symlink in it, and without one there is less to look at. What was there may be anything, also
 * something that leads to the directory kept, which a mount would hide. */
int
csn_in_root_target(struct csn_ctx *c, int root, const char *path, int how, bool *plain)
{
  const bool near = kept_dir(c, root, path, last_component(path)) >= 0;
  int fd = near ? make_last(c, root, path, how) : -1;
  bool made = fd >= 0;

  if (!made) {
    fd = open_in_root(root, path, how | CSN_NO_SYMLINKS);
    if (fd == -ENOENT) {
      fd = make_last(c, root, path, how);
      made = fd >= 0;
    }
  }
  if (plain)
    *plain = fd >= 0 && is_plain(path);
  if (!made)
    csn_leave_dir(c);
  if (fd == -ELOOP && !(how & CSN_NO_SYMLINKS))
    fd = open_in_root(root, path, how);
  if (fd == -ENOENT || fd == -ENOSYS || fd == -EEXIST)
    fd = walk(root, path, csn_strlen(path), how, true);
  if (fd == -EOVERFLOW)
    return csn_detail(
        c, fd,
        "this process's uid or gid is not in the user namespace's map (steps gid and uid change "
        "it), so it can make nothing: target ",
        path);
  return fd < 0 ? csn_detail(c, fd, "target ", path) : fd;
}

int
csn_source_open(struct csn_ctx *c, const char *path, int how)
{
  int fd = (int)csn_sys(__NR_openat, AT_FDCWD, path,
                        O_PATH | O_CLOEXEC | (how & CSN_NOFOLLOW ? O_NOFOLLOW : 0) |
                            (how & CSN_WANT_DIR ? O_DIRECTORY : 0));
  struct csn_stat st;

  if (fd < 0)
    return csn_detail(c, fd, "source ", path);
  if ((how & CSN_NOFOLLOW) && csn_stat(fd, &st) == 0 && (st.mode & S_IFMT) == S_IFLNK) {
    csn_close(fd);
    return csn_detail(c, -ELOOP, "source is a symlink, and nofollow was asked for: ", path);
  }
  return fd;
}

int
csn_in_root_parent(struct csn_ctx *c, int root, const char *path, const char **name)
{
  const size_t start = last_component(path);
  int fd;

  *name = path + start;
  if (!**name || csn_streq(*name, ".") || csn_streq(*name, ".."))
    return csn_detail(c, -EINVAL, "no name at the end of ", path);
  fd = enter_dir(c, root, path, start, true);
  return fd < 0 ? csn_detail(c, fd, "directory of ", path) : fd;
}
