/* SPDX-License-Identifier: MIT
 *
 * The runner's program and how the host starts it.
 *
 * The host process is somebody's application. The runner is started by clone3(CLONE_VM | CLONE_VFORK)
 * and exec, which costs the same from a heap of any size and, on a stack of the calling thread's own, is
 * safe with other threads running.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <linux/close_range.h>
#include <linux/memfd.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern const u8 csn_runner_start[], csn_runner_end[];
extern const u64 csn_runner_id;

static int runner_fd = -1;

/* What has been copied is not needed again in this process, whose pages the kernel can have back. */
static void
forget(const u8 *start, const u8 *end)
{
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1),
                  last = (uintptr_t)end & ~(page - 1);

  if (first < last)
    madvise((void *)first, last - first, MADV_DONTNEED);
}

/* A sealed memfd: what a container finds as its exe can't be written, whatever it opens. */
int
csn_sealed_program(const char *name, const u8 *start, const u8 *end)
{
  CSN_CLEANUP_FD int fd = -1;

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
  fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* before 6.3 all memfds are executable, and the flag unknown */
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0)
    return -errno;
  for (const u8 *at = start; at < end;) {
    ssize_t n = write(fd, at, (size_t)(end - at));

    if (n < 0)
      return -errno;
    at += n;
  }
  forget(start, end);
  if (fchmod(fd, 0555) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return -errno;
  return csn_above_stdio(csn_steal_fd(&fd));
}

/* Is it this build's, byte for byte? Another one would read a plan in its own way. */
static bool
is_own(int fd)
{
  const u8 *p = csn_runner_start;
  char buf[4096];
  ssize_t n;

  while ((n = CSN_RETRY(csn_sys(__NR_read, fd, buf, sizeof(buf)))) > 0) {
    if (n > csn_runner_end - p || memcmp(buf, p, (size_t)n) != 0)
      return false;
    p += n;
  }
  return n == 0 && p == csn_runner_end;
}

/* Where policy forbids executing memfds (vm.memfd_noexec=2) the installed file serves: it stands above
 * the folder of core.so, or of the command; installed, that is lib/lua/5.1. */
static int
open_installed_runner(void)
{
  static const char *const places[] = { "/../caisson-runner", "/../lib/lua/5.1/caisson-runner" };
  char path[PATH_MAX];
  const char *end;
  Dl_info info;

  if (!dladdr((const void *)(uintptr_t)csn_undo, &info) || !info.dli_fname)
    return -ENOENT;
  end = strrchr(info.dli_fname, '/');
  for (size_t i = 0; end && i < sizeof(places) / sizeof(*places); i++) {
    int fd;

    if (snprintf(path, sizeof(path), "%.*s%s", (int)(end - info.dli_fname), info.dli_fname,
                 places[i]) >= (int)sizeof(path))
      continue;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && is_own(fd))
      return csn_above_stdio(fd);
    if (fd >= 0) {
      close(fd);
      return -ESTALE;
    }
  }
  return -ENOENT;
}

/* Without a lock, which a fork of the host could find held for ever. */
int
csn_runner(void)
{
  int fd = __atomic_load_n(&runner_fd, __ATOMIC_ACQUIRE), none = -1;

  if (fd >= 0)
    return fd;
  fd = csn_sealed_program("caisson", csn_runner_start, csn_runner_end);
  if (fd == -EACCES || fd == -EPERM || fd == -ENOSYS) {
    int installed = open_installed_runner();

    fd = installed >= 0 || installed == -ESTALE ? installed : fd;
  }
  if (fd < 0)
    return fd;
  if (__atomic_compare_exchange_n(&runner_fd, &none, fd, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return fd;
  close(fd); /* another thread was first */
  return none;
}

const char *
csn_runner_trouble(int err)
{
  return err == -ESTALE ? "the installed caisson-runner is of another build than the library: "
                          "install both anew"
                        : "starting the runner";
}

u64
csn_build(void)
{
  return csn_runner_id;
}

/* ---- starting it ---- */

struct start {
  int runner, sock, times;
  bool keep; /* the runner's program, for its child to become init */
  const s32 *slots;
  int err;
};

/* In the vforked child, on the parent's memory: raw system calls, nothing else. The runner gets the
 * socket and the slots under the numbers that they have here, and no other descriptor. It never returns,
 * so what a sanitizer notes of its frame would stay in the parent's memory. */
__attribute__((no_sanitize("address"))) static int
start_runner(void *arg)
{
  struct start *st = arg;
  char number[16] = "";
  const char *argv[] = { "caisson", number, NULL }, *env[] = { NULL };
  long rc = csn_sys(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);

  for (int i = 0; rc >= 0 && st->slots && i < CSN_SLOTS; i++)
    if (st->slots[i] >= 0)
      rc = csn_sys(__NR_fcntl, st->slots[i], F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, st->sock, F_SETFD, 0);
  if (rc >= 0 && st->times >= 0)
    rc = csn_sys(__NR_fcntl, st->times, F_SETFD, 0);
  if (rc >= 0 && st->keep)
    rc = csn_sys(__NR_fcntl, st->runner, F_SETFD, 0);
  csn_append_u64(number, sizeof(number), 0, (u64)st->sock);
  if (rc >= 0)
    rc = csn_sys(__NR_execveat, st->runner, "", argv, env, AT_EMPTY_PATH);
  st->err = (int)-rc;
  return 127;
}

/* Its pid, or -errno. more: flags of clone(2); busy: what CLONE_CHILD_CLEARTID clears. */
static long
clone_runner(struct start *st, u8 *stack, size_t size, u64 more, u32 *busy, int *pidfd)
{
  struct csn_clone_args ca = {
    .flags = CSN_CLONE_VM | CSN_CLONE_CLEAR_SIGHAND | CSN_CLONE_PIDFD | more,
    .pidfd = (u64)(uintptr_t)pidfd,
    .child_tid = (u64)(uintptr_t)busy,
    .exit_signal = SIGCHLD,
    .stack = (u64)(uintptr_t)stack,
    .stack_size = size,
  };
  u64 all = ~0ull, old;
  long pid;

  st->runner = csn_runner();
  if (st->runner < 0)
    return st->runner;
  /* No handler of the host's may run in the child. The runner's child sets its own mask before exec. */
  csn_sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
  pid = csn_clone3(&ca, sizeof(ca), start_runner, st);
  csn_sys(__NR_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
  return pid;
}

int
csn_start_runner(struct csn_spawn *s, int sock)
{
  u8 stack[16384] __attribute__((aligned(16)));
  struct start st = {
    .sock = sock, .times = s->header.times, .slots = s->header.slots, .keep = s->header.runner >= 0
  };
  long pid = clone_runner(&st, stack, sizeof(stack), CSN_CLONE_VFORK, NULL, &s->runner);

  return pid < 0 ? (int)pid : -st.err;
}

/* One whose plan comes later, and which is not waited for. 0 or -errno. */
int
csn_start_ahead(struct csn_ahead *a)
{
  struct start *st = (struct start *)(void *)a->start;
  int pair[2];
  long pid;

  _Static_assert(sizeof(a->start) >= sizeof(*st), "it has room");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return -errno;
  pair[0] = csn_above_stdio(pair[0]);
  pair[1] = csn_above_stdio(pair[1]);
  *st = (struct start){ .sock = pair[1], .times = -1 };
  a->busy = 1;
  pid = pair[0] < 0   ? pair[0]
        : pair[1] < 0 ? pair[1]
                      : clone_runner(st, a->stack, sizeof(a->stack), CSN_CLONE_CHILD_CLEARTID,
                                     &a->busy, &a->runner);
  csn_close(pair[1]);
  if (pid < 0) {
    a->busy = 0;
    csn_close(pair[0]);
    return (int)pid;
  }
  a->sock = pair[0];
  if (a->runner <= 2) { /* the caller may have closed its standard streams */
    const int moved = csn_dup(a->runner, 3);

    if (moved >= 0) {
      csn_close(a->runner);
      a->runner = moved;
    }
  }
  return 0;
}

/* An empty socket takes one message of any size that it takes at all. */
int
csn_send_first(struct csn_spawn *s)
{
  size_t n = s->plan->size < CSN_CHUNK ? s->plan->size : CSN_CHUNK;

  return csn_send_fds(s->sock, &s->header, sizeof(s->header), s->plan, n, NULL, 0, MSG_DONTWAIT);
}

int
csn_send_rest(struct csn_spawn *s)
{
  for (u32 off = CSN_CHUNK; off < s->plan->size; off += CSN_CHUNK) {
    size_t n = s->plan->size - off < CSN_CHUNK ? s->plan->size - off : CSN_CHUNK;

    if (CSN_RETRY(send(s->sock, (const u8 *)s->plan + off, n, MSG_NOSIGNAL) < 0 ? -errno : 0) < 0)
      return -errno;
  }
  return 0;
}
