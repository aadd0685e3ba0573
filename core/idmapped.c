/* SPDX-License-Identifier: MIT
 *
 * The user namespace that an id-mapped mount takes its map from: made by a child that does nothing but
 * live in it until the map is written and the namespace opened.
 */
#include "mount.h"
#include <linux/sched.h>
#include <linux/prctl.h>
#include <linux/wait.h>

#ifndef SIGKILL
#define SIGKILL 9
#endif

/* On the creator's memory: raw system calls, and its own few. */
static int
hold_userns(void *arg)
{
  long creator = *(long *)arg;

  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  while (csn_sys(__NR_getppid, 0) == creator) /* no signal but SIGKILL ends this sleep for good */
    csn_sys(__NR_ppoll, NULL, 0, NULL, NULL, 0);
  return 0;
}

/* The child's number in a procfs that may be of another pid namespace than ours. */
static int
pid_in_procfs(int proc, int pidfd, char *pid, size_t size)
{
  char path[48] = "self/fdinfo/", text[512];
  CSN_CLEANUP_FD int fd = -1;
  long n, i;
  size_t k = 0;

  csn_append_u64(path, sizeof(path), csn_strlen(path), (u64)pidfd);
  fd = (int)csn_sys(__NR_openat, proc, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fd;
  n = csn_sys(__NR_read, fd, text, sizeof(text) - 1);
  if (n < 0)
    return (int)n;
  text[n] = 0;
  for (i = 0; i < n; i++)
    if ((i == 0 || text[i - 1] == '\n') && text[i] == 'P' && text[i + 1] == 'i' &&
        text[i + 2] == 'd' && text[i + 3] == ':')
      break;
  for (i += 4; i < n && (text[i] == '\t' || text[i] == ' '); i++)
    ;
  for (; i < n && text[i] >= '0' && text[i] <= '9' && k + 1 < size; i++)
    pid[k++] = text[i];
  pid[k] = 0;
  return k && !csn_streq(pid, "0") ? 0 : -ESRCH;
}

static int
write_map(struct csn_ctx *c, int dir, const char *file, struct csn_list l)
{
  const struct csn_idmap *m = csn_l(c, l), identity = { 0, 0, 0xffffffff };
  u32 count = l.count ? l.count : 1;
  CSN_CLEANUP_FD int fd = -1;
  char text[4096]; /* what the kernel takes in the one write there is */
  size_t n = 0;
  long rc;

  if (!l.count)
    m = &identity;
  for (u32 i = 0; i < count; i++) {
    if (n + 40 > sizeof(text))
      return csn_detail(c, -E2BIG, "the id map of a mount is too long", NULL);
    n = csn_append_u64(text, sizeof(text), n, m[i].inside);
    n = csn_append(text, sizeof(text), n, " ");
    n = csn_append_u64(text, sizeof(text), n, m[i].outside);
    n = csn_append(text, sizeof(text), n, " ");
    n = csn_append_u64(text, sizeof(text), n, m[i].count);
    n = csn_append(text, sizeof(text), n, "\n");
  }
  fd = (int)csn_sys(__NR_openat, dir, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return csn_detail(c, fd, "id map of the mount: ", file);
  rc = csn_sys(__NR_write, fd, text, n);
  return rc < 0
             ? csn_detail(c, (int)rc, "id map of the mount (unmapped or overlapping ids?): ", file)
             : 0;
}

static int
map_and_open(struct csn_ctx *c, int pidfd, struct csn_list uids, struct csn_list gids)
{
  CSN_CLEANUP_FD int proc = -1, dir = -1;
  char pid[16];
  int rc, ns;

  proc = c->slots[CSN_SLOT_PROCFS] >= 0
             ? csn_dup(c->slots[CSN_SLOT_PROCFS], 3)
             : (int)csn_sys(__NR_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0 || (rc = pid_in_procfs(proc, pidfd, pid, sizeof(pid))) < 0)
    return csn_detail(c, proc < 0 ? proc : rc, "an id-mapped mount needs /proc", NULL);
  dir = (int)csn_sys(__NR_openat, proc, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return dir;
  if ((rc = write_map(c, dir, "uid_map", uids)) < 0 ||
      (rc = write_map(c, dir, "gid_map", gids)) < 0)
    return rc;
  ns = (int)csn_sys(__NR_openat, dir, "ns/user", O_RDONLY | O_CLOEXEC);
  return ns < 0 ? csn_detail(c, ns, "opening the user namespace of the id map", NULL) : ns;
}

int
csn_make_userns(struct csn_ctx *c, struct csn_list uids, struct csn_list gids)
{
  u8 stack[4096] __attribute__((aligned(16)));
  CSN_CLEANUP_FD int pidfd = -1;
  long creator = csn_sys(__NR_getpid, 0), pid;
  struct csn_clone_args ca = {
    .flags = CSN_CLONE_VM | CSN_CLONE_CLEAR_SIGHAND | CLONE_PIDFD | CLONE_NEWUSER,
    .pidfd = (u64)(uintptr_t)&pidfd,
    .stack = (u64)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  int ns;

  pid = csn_clone3(&ca, sizeof(ca), hold_userns, &creator);
  if (pid < 0)
    return csn_detail(c, (int)pid, "a user namespace for the id map", NULL);
  ns = map_and_open(c, pidfd, uids, gids);
  /* It runs on this stack: gone before this function is left. */
  csn_sys(__NR_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
  CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, __WALL, NULL));
  return ns;
}
