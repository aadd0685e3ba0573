/* SPDX-License-Identifier: MIT
 * Files of procfs by descriptor, with the checks that procfs.h promises. */
#include "procfs.h"
#include <asm/statfs.h>
#include <linux/magic.h>
#include <linux/stat.h>

#define PROC_ROOT_INO 1

static int
check_procfs(int fd)
{
  struct statfs fs = { 0 };
  long rc = csn_sys(__NR_fstatfs, fd, &fs);

  return rc < 0 ? (int)rc : fs.f_type == PROC_SUPER_MAGIC ? 0 : -EOPNOTSUPP;
}

/* The root itself, not a directory below it that somebody has bound there. */
static int
check_root(int fd)
{
  struct statx st = { 0 };
  long rc = check_procfs(fd);

  if (rc == 0)
    rc = csn_sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &st);
  return rc < 0 ? (int)rc : st.stx_ino == PROC_ROOT_INO ? 0 : -EOPNOTSUPP;
}

/* Where a policy blocks openat2: what it would have refused is found by looking at the result, which is
 * enough for all but a file of procfs bound over another. */
static int
open_without_openat2(int root, const char *path, int flags)
{
  return (int)csn_sys(__NR_openat, root, path, flags | O_NOFOLLOW);
}

static int
open_below(struct csn_ctx *c, int root, const char *path, int flags)
{
  struct open_how how = { .flags = (u64)(flags | O_CLOEXEC),
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_openat2, root, path, &how, sizeof(how));
  int rc;

  if (fd == -ENOSYS)
    fd = open_without_openat2(root, path, flags | O_CLOEXEC);
  if (fd < 0)
    return csn_detail(c, fd, "/proc/", path);
  if ((rc = check_procfs(fd)) < 0)
    return csn_detail(c, rc, path, " is not procfs's own");
  return csn_steal_fd(&fd);
}

int
csn_proc_open(struct csn_ctx *c, const char *path, int flags)
{
  int slot = c->pid ? -1 : c->slots[CSN_SLOT_PROCFS], rc;
  CSN_CLEANUP_FD int root = -1;

  if (slot >= 0)
    return open_below(c, slot, path, flags);
  root =
      (int)csn_sys(__NR_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0)
    return csn_detail(c, root, "/proc", NULL);
  if ((rc = check_root(root)) < 0)
    return csn_detail(c, rc, "/proc is not a procfs", NULL);
  return open_below(c, root, path, flags);
}

int
csn_proc_open_pid(struct csn_ctx *c, const char *file, int flags)
{
  char path[64];
  size_t n = 0;

  /* In /proc of an outer pid namespace getpid() would name somebody else. */
  if (c->pid)
    n = csn_append_u64(path, sizeof(path), n, (u64)c->pid);
  else
    n = csn_append(path, sizeof(path), n, "self");
  n = csn_append(path, sizeof(path), n, "/");
  csn_append(path, sizeof(path), n, file);
  return csn_proc_open(c, path, flags);
}

int
csn_proc_write(int fd, const char *data, size_t len)
{
  long n;

  if (fd < 0)
    return fd;
  n = CSN_RETRY(csn_sys(__NR_write, fd, data, len));
  csn_close(fd);
  return n < 0 ? (int)n : (size_t)n == len ? 0 : -EIO;
}
