/* SPDX-License-Identifier: MIT
 *
 * Whom a run has started: taken note of, killed and reaped, whoever of them speaks first.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of what the child says about itself nothing is believed that would have another process signalled: who may
 * trace it, in a container that it has joined, may speak for it. */
static bool
is_own_child(int pidfd)
{
  struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
  siginfo_t si;

  if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 ||
      errno != ECHILD)
    return true;
  return poll(&pfd, 1, 0) == 1; /* it has ended, and was reaped by the host */
}

/* The child's pidfd comes with its first message; without (no descriptor was free) one is opened here. */
int
csn_remember_child(struct csn_spawn *s, s32 pid)
{
  if (s->pid > 0 || pid <= 0)
    return 0;
  s->ctx.pid = s->pid = pid;
  if (s->pidfd < 0)
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (s->pidfd < 0 && errno == ESRCH)
    s->end.stolen = true; /* reaped by the host; its report is still to come */
  if (s->pidfd >= 0 && !is_own_child(s->pidfd)) {
    csn_close(s->pidfd);
    s->pidfd = -1;
    s->end.stolen = true; /* not a process of ours to be killed */
    return -EBADMSG;
  }
  return s->pidfd < 0 && !s->end.stolen ? -errno : 0;
}

/* Reap by pidfd; returns the signal that ended it, or 0. */
static int
reap_fd(int pidfd)
{
  siginfo_t si = { 0 };

  while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | __WALL) < 0)
    if (errno != EINTR)
      return 0; /* the host has taken it */
  return si.si_code == CLD_EXITED ? 0 : si.si_status;
}

/* Without the runner there is nothing left for its child to do. */
static void
reap_creator(struct csn_spawn *s)
{
  int signal;

  if (s->creator < 0)
    return;
  syscall(SYS_pidfd_send_signal, s->creator, SIGKILL, NULL, 0);
  signal = reap_fd(s->creator);
  if (!s->died_by)
    s->died_by = signal;
  close(s->creator);
  s->creator = -1;
}

/* It speaks before the child does. */
bool
csn_is_creator(const struct csn_spawn *s, const struct csn_msg *m, int size, int fd)
{
  return fd >= 0 && size == sizeof(*m) && m->kind == CSN_MSG_CREATOR && s->pid <= 0;
}

/* The runner may say it once more, where it was killed right after its first word. */
void
csn_take_creator(struct csn_spawn *s, int fd)
{
  if (s->creator < 0 && is_own_child(fd)) {
    s->creator = fd;
    if (s->runner < 0)
      reap_creator(s);
  } else {
    close(fd);
  }
}

void
csn_reap_runner(struct csn_spawn *s)
{
  int signal;

  if (s->runner < 0)
    return;
  signal = reap_fd(s->runner);
  if (!s->died_by) /* else the child's init has told */
    s->died_by = signal;
  close(s->runner);
  s->runner = -1;
  reap_creator(s);
}

/* Who is frozen by cgroup v1 does not even die, until the undoing of its group has thawed it; the same goes
 * for the runner, which is in that group too. */
void
csn_kill_child(struct csn_spawn *s)
{
  struct pollfd pfd = { .fd = s->pidfd, .events = POLLIN };

  syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
  if (poll(&pfd, 1, 100) == 0)
    csn_undo(s);
}

/* The child may be there and not have been heard of yet. Once its creator is gone nobody else holds the
 * socket's other end: either its greeting comes, or the end. */
static void
find_child(struct csn_spawn *s)
{
  struct csn_msg m;
  int rc, fd;

  s->cancel = -1;
  while (s->pid <= 0 && (rc = csn_receive(s, &m, sizeof(m), &fd)) > 0) {
    if (csn_is_creator(s, &m, rc, fd))
      csn_take_creator(s, fd);
    else if (fd >= 0 && rc == sizeof(m) && m.kind == CSN_MSG_HELLO && s->pidfd < 0)
      s->pidfd = fd;
    else
      csn_close(fd);
    if (rc == sizeof(m))
      csn_remember_child(s, m.pid);
  }
}

/* Kill what was started, reap it, take back the parent's steps. */
void
csn_abandon(struct csn_spawn *s)
{
  int signal;

  s->attends = 0;
  if (s->pid <= 0 && s->runner >= 0) {
    syscall(SYS_pidfd_send_signal, s->runner, SIGKILL, NULL, 0);
    csn_reap_runner(s);
  }
  if (s->pid <= 0 && s->sock >= 0)
    find_child(s);
  if (s->pidfd >= 0)
    csn_kill_child(s);
  else if (s->pid > 0 && !s->end.stolen) /* no descriptor was left for it */
    kill(s->pid, SIGKILL);
  csn_close(s->sock);
  s->sock = -1;
  csn_reap_runner(s);
  if (s->pidfd >= 0) {
    signal = reap_fd(s->pidfd);
    if (!s->died_by) /* else it was killed for its creator's death */
      s->died_by = signal;
    close(s->pidfd);
    s->pidfd = -1;
  } else if (s->pid > 0 && !s->end.stolen) {
    CSN_RETRY(csn_sys(__NR_wait4, s->pid, NULL, __WALL, 0));
  }
  csn_undo(s);
}
