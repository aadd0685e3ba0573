/* SPDX-License-Identifier: MIT
 *
 * Running a plan: start the runner (or fork), answer its syncs with the parent's steps, take its report.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static u64
monotonic_ns(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* A step of this side's, for who wants to know: its number, when it began, how long it took, its errno. */
static void
tell_time(struct csn_spawn *s, u32 step, u64 began, int rc)
{
  struct csn_ctx c = { .detail_len = 0 }; /* what it has to say is not about the step */
  const lua_Number args[] = { step + 1, (lua_Number)began, (lua_Number)(monotonic_ns() - began),
                              rc < 0 ? -rc : 0 };

  csn_call_at(s, &c, s->timed, 4, args);
}

/* Room for when things happen: 0 or -errno. */
static int
make_times(struct csn_spawn *s)
{
  const size_t size = csn_times_size(s->plan);
  CSN_CLEANUP_FD int fd = memfd_create("caisson", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  void *at;

  /* never shorter: both sides write and read what they have mapped */
  if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
    return -errno;
  at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED)
    return -errno;
  s->times = at;
  s->header.times = csn_above_stdio(csn_steal_fd(&fd));
  return s->header.times < 0 ? s->header.times : 0;
}

static void
push_time(lua_State *L, const struct csn_spawn *s, u64 counter, double ns_each)
{
  lua_pushnumber(L, (lua_Number)s->start_ns + (lua_Number)(s64)(counter - s->counter0) * ns_each);
}

/* Tell them, in nanoseconds of CLOCK_MONOTONIC: { born =, executed =, [step] = { began, ended } }. */
static void
tell_times(struct csn_spawn *s)
{
  const u64 counted = csn_counter() - s->counter0;
  const double ns_each = counted ? (double)(monotonic_ns() - s->start_ns) / (double)counted : 0;
  lua_State *L = s->L;

  lua_pushvalue(L, s->stamped);
  lua_newtable(L);
  if (s->times->born) {
    push_time(L, s, s->times->born, ns_each);
    lua_setfield(L, -2, "born");
  }
  if (s->times->executed) {
    push_time(L, s, s->times->executed, ns_each);
    lua_setfield(L, -2, "executed");
  }
  for (u32 i = 0; i < s->plan->nsteps; i++) {
    if (!s->times->steps[i].began)
      continue;
    lua_newtable(L);
    push_time(L, s, s->times->steps[i].began, ns_each);
    lua_rawseti(L, -2, 1);
    if (s->times->steps[i].ended) {
      push_time(L, s, s->times->steps[i].ended, ns_each);
      lua_rawseti(L, -2, 2);
    }
    lua_rawseti(L, -2, (int)i + 1);
  }
  munmap(s->times, csn_times_size(s->plan));
  s->times = NULL;
  csn_close(s->header.times);
  s->header.times = -1;
  if (lua_pcall(L, 1, 0, 0) != 0)
    lua_pop(L, 1);
}

/* Before one of this side's that needs no child; 0 or -errno. */
static int
ask_before(struct csn_spawn *s, u32 step)
{
  int rc = s->before ? csn_call_before(s, &s->ctx, step, false) : 0;

  if (rc > 0)
    s->skipped[step] = ECANCELED;
  return rc < 0 ? rc : 0;
}

/* One step of the parent's side; it is noted, to be undone in reverse. */
static int
parent_step(struct csn_spawn *s, u32 i)
{
  const struct csn_step *st = csn_plan_step(s->plan, i);
  const struct csn_primitive *p = csn_step_prim(st);
  const void *args = (const u8 *)s->plan + st->args;
  u64 began = 0;
  int rc;

  if (s->skipped[i]) /* whoever stands at a breakpoint wants it so */
    return 0;
  if (s->timed)
    began = monotonic_ns();
  s->ctx.detail_len = 0;
  s->ctx.detail[0] = 0;
  if (s->header.fail_errno && s->header.fail_step == i)
    rc = -s->header.fail_errno;
  else if (p->action == CSN_ACT_LUA)
    rc = csn_call_lua(s, &s->ctx, csn_s(&s->ctx, ((const struct engine_lua_args *)args)->name));
  else
    rc = p->apply(args, &s->ctx);
  if (s->timed)
    tell_time(s, i, began, rc);
  if (rc >= 0) {
    s->done[i] = (u8)(1 + rc);
    rc = 0;
  } else if (st->flags & CSN_STEP_OPTIONAL) {
    s->skipped[i] = (u8)-rc;
    rc = 0;
  }
  return rc;
}

void
csn_undo(struct csn_spawn *s)
{
  for (u32 i = s->plan->nsteps; i-- > 0;) {
    const struct csn_step *st = csn_plan_step(s->plan, i);
    const struct csn_primitive *p = csn_step_prim(st);

    s->ctx.made = s->done[i] - 1;
    if (s->done[i] && p->undo)
      p->undo((const u8 *)s->plan + st->args, &s->ctx);
    s->done[i] = 0;
  }
}

/* Traced by this thread, the child may stand still before its exec: for a signal, which is handed on, or since
 * a filter asks the tracer about the exec, which is what the host wants. Other stops are not ours to end. */
static void
see_to_stops(struct csn_spawn *s)
{
  siginfo_t si = { 0 };

  if (waitid(P_PIDFD, (id_t)s->pidfd, &si, WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0 || !si.si_pid)
    return;
  if (si.si_status >> 8 == PTRACE_EVENT_SECCOMP)
    csn_sys(__NR_ptrace, PTRACE_CONT, s->pid, 0, 0);
  else if (si.si_status >> 8 == 0 && si.si_status != SIGTRAP)
    csn_sys(__NR_ptrace, PTRACE_CONT, s->pid, 0, si.si_status);
}

static const struct engine_send_args *
send_args(const struct csn_spawn *s, u32 step)
{
  return (const struct engine_send_args *)((const u8 *)s->plan +
                                           csn_plan_step(s->plan, step)->args);
}

int
csn_attended(const struct csn_spawn *s)
{
  return s->attends ? s->ctx.slots[send_args(s, s->attends - 1)->fd] : -1;
}

/* What is attended to has become readable, or has ended, or (no events) has had a while; 0 or -errno. */
static int
attend_to(struct csn_spawn *s, short events)
{
  const u32 step = s->attends - 1;
  int rc;

  if (events && !(events & POLLIN)) {
    s->attends = 0;
    return 0;
  }
  s->ctx.detail_len = 0;
  rc = csn_call_lua(s, &s->ctx, csn_s(&s->ctx, send_args(s, step)->attend));
  s->unattended = rc < 0;
  return rc;
}

/* Wait until fd is readable: 1; 0: construction is to be given up; -errno: of what was attended to meanwhile. */
static int
wait_for(struct csn_spawn *s, int fd)
{
  struct pollfd ready[] = { { .fd = fd, .events = POLLIN },
                            { .fd = s->cancel, .events = POLLIN },
                            { .fd = -1, .events = POLLIN } };
  int n, rc;

  for (;;) {
    ready[2].fd = csn_attended(s);
    n = poll(ready, 3, s->traced ? 1 : ready[2].fd >= 0 ? 10 : -1);
    if (n == 0 && s->traced)
      see_to_stops(s);
    if (n == 0 && ready[2].fd >= 0 && (rc = attend_to(s, 0)) < 0)
      return rc;
    if (n < 0 && errno != EINTR)
      return 1;
    if (n <= 0)
      continue;
    if (ready[0].revents)
      return 1;
    if (ready[1].revents)
      return 0;
    if (ready[2].revents && (rc = attend_to(s, ready[2].revents)) < 0)
      return rc;
  }
}

/* A message; *fd: the descriptor that came with it, else -1. */
static int
receive(struct csn_spawn *s, void *buf, size_t size, int *fd)
{
  int rc;

  *fd = -1;
  if ((s->cancel >= 0 || s->attends) && (rc = wait_for(s, s->sock)) <= 0)
    return rc < 0 ? rc : -ECANCELED;
  return csn_recv(s->sock, buf, size, fd, 0);
}

int
csn_take_slot(struct csn_spawn *s, u32 step, int fd)
{
  const struct csn_step *st;

  if (fd < 0 || step >= s->plan->nsteps) {
    csn_close(fd);
    return -EBADMSG;
  }
  st = csn_plan_step(s->plan, step);
  if (csn_step_prim(st)->action != CSN_ACT_SEND) {
    close(fd);
    return -EBADMSG;
  }
  csn_fill(&s->ctx, send_args(s, step)->fd, fd);
  if (!send_args(s, step)->attend.off)
    return 0;
  s->attends = step + 1;
  return attend_to(s, 0); /* which has to be there */
}

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
static int
remember_child(struct csn_spawn *s, s32 pid)
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

static void
set_failure(struct csn_spawn *s, u32 step, int err)
{
  s->failed = true;
  s->fail_step = step;
  s->fail_errno = err;
}

/* The last step for which the child needs its host, or -1. */
static s64
last_turn(const struct csn_plan *p)
{
  s64 i;

  for (i = (s64)(p->wait < p->nsteps ? p->wait : p->nsteps) - 1; i >= 0; i--) {
    const struct csn_step *st = csn_plan_step(p, (u32)i);

    /* before clone the parent's steps are done already; without a clone none are */
    if (st->side == CSN_PARENT ? p->clone == p->nsteps || (u32)i > p->clone
                               : csn_step_prim(st)->action == CSN_ACT_SEND ||
                                     csn_step_prim(st)->action == CSN_ACT_STOP)
      break;
  }
  return i;
}

/* As wait_for(). */
static int
runner_ends(struct csn_spawn *s)
{
  int rc;

  if (s->runner < 0 || (s->cancel < 0 && !s->traced && !s->attends))
    return 1;
  rc = wait_for(s, s->runner);
  /* The program may be there already, and only this process has not looked yet: what came is for the program. */
  if (rc == 0 && s->late > 0 &&
      csn_poll_for(&(struct pollfd){ .fd = s->runner, .events = POLLIN }, 1, s->late, true) > 0)
    rc = 1;
  return rc;
}

/* The child has said that it will stop. Its end is reported by its creator: 0 too. Its status is left for
 * whoever else waits for it. */
static int
await_stop(struct csn_spawn *s)
{
  for (long us = 20; us < 1000000; us *= 2) {
    const struct timespec pause = { us / 1000000, us % 1000000 * 1000 };
    siginfo_t si = { 0 };

    if (waitid(P_PIDFD, (id_t)s->pidfd, &si, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 ||
        si.si_pid)
      return 0;
    nanosleep(&pause, NULL);
  }
  return csn_detail(&s->ctx, -ETIMEDOUT,
                    "it has not stopped (process 1 of a pid namespace does only when it is traced)",
                    NULL);
}

/* Whoever is traced by this thread stands in a stop of ptrace's; the signal is not handed on. */
static void
go_on(struct csn_spawn *s)
{
  send(s->sock, "", 1, MSG_NOSIGNAL);
  if (csn_sys(__NR_ptrace, PTRACE_CONT, s->pid, 0, 0) == 0)
    s->traced = true;
  else
    syscall(SYS_pidfd_send_signal, s->pidfd, SIGCONT, NULL, 0);
}

/* A turn of the host's: who is asked before each step has one for each. */
static int
take_turn(struct csn_spawn *s, u32 step, s64 *at)
{
  if (!s->before || step >= s->plan->last)
    return csn_parent_steps(s, step, at);
  if (csn_plan_step(s->plan, step)->side != CSN_PARENT)
    return -EBADMSG;
  return parent_step(s, step);
}

/* The child is there: whoever is to trace it does so now. */
static int
show_child(struct csn_spawn *s, const struct csn_msg *m)
{
  const lua_Number args[] = { s->pid, (lua_Number)m->exec_ns };
  int rc = s->attach ? csn_call_at(s, &s->ctx, s->attach, 2, args) : -EBADMSG;

  if (rc == 0)
    send(s->sock, "", 1, MSG_NOSIGNAL);
  return rc;
}

int
csn_parent_steps(struct csn_spawn *s, u32 first, s64 *at)
{
  int rc = 0;

  for (u32 i = first; rc == 0 && i < s->plan->nsteps; i++) {
    if (csn_plan_step(s->plan, i)->side != CSN_PARENT)
      break;
    *at = i;
    rc = parent_step(s, i);
  }
  return rc;
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
static bool
is_creator(const struct csn_spawn *s, const struct csn_msg *m, int size, int fd)
{
  return fd >= 0 && size == sizeof(*m) && m->kind == CSN_MSG_CREATOR && s->pid <= 0;
}

/* The runner may say it once more, where it was killed right after its first word. */
static void
take_creator(struct csn_spawn *s, int fd)
{
  if (s->creator < 0 && is_own_child(fd)) {
    s->creator = fd;
    if (s->runner < 0)
      reap_creator(s);
  } else {
    close(fd);
  }
}

/* Has every step of the host's been done, or left out? Who says so for the child may be lying. */
static bool
all_served(const struct csn_spawn *s)
{
  for (u32 i = 0; i < s->plan->nsteps && i < s->plan->wait; i++) {
    const struct csn_step *st = csn_plan_step(s->plan, i);

    if (st->side == CSN_PARENT && csn_step_prim(st)->action != CSN_ACT_CLONE && !s->done[i] &&
        !s->skipped[i])
      return false;
  }
  return true;
}

/* The step that has failed in what was attended to, if it has. */
static u32
where(const struct csn_spawn *s)
{
  return s->unattended ? s->attends - 1 : s->plan->nsteps;
}

/* Answer the child until it has become the program, or has failed. */
static void
attend(struct csn_spawn *s)
{
  s64 last = last_turn(s->plan), turn = -1;
  bool shown = s->attach == 0;
  struct csn_msg m;
  int rc, fd;

  for (;;) {
    /* With nothing left to answer, its creator's end is the one event worth waking up for: all that was
     * said is then there to be read. (A report of very many steps might not fit in the socket.) */
    if (turn >= last && shown && s->plan->nsteps <= 1024) {
      if ((rc = runner_ends(s)) <= 0) {
        set_failure(s, where(s), rc < 0 ? -rc : ECANCELED);
        return;
      }
      csn_reap_runner(s);
    }
    rc = receive(s, &m, sizeof(m), &fd);
    if (is_creator(s, &m, rc, fd)) {
      take_creator(s, fd);
      continue;
    }
    if (fd >= 0 && rc == sizeof(m) && m.kind == CSN_MSG_HELLO && s->pidfd < 0) {
      s->pidfd = fd;
    } else if (fd >= 0 && (rc != sizeof(m) || m.kind != CSN_MSG_SLOT)) {
      close(fd);
      rc = -EBADMSG;
    }
    if (rc != sizeof(m)) {
      /* The end without a report: killed together with its creator, by the OOM killer for one. */
      set_failure(s, where(s), rc < 0 ? -rc : 0);
      return;
    }
    if ((rc = remember_child(s, m.pid)) < 0) {
      if (m.kind == CSN_MSG_SLOT)
        csn_close(fd);
      csn_detail(&s->ctx, rc, "a descriptor for the child", NULL);
      set_failure(s, s->plan->nsteps, -rc);
      return;
    }
    if ((m.kind == CSN_MSG_SYNC || m.kind == CSN_MSG_STOP) && m.step <= turn) {
      set_failure(s, s->plan->nsteps, EBADMSG); /* what has been done is not done again */
      return;
    }
    if (m.kind != CSN_MSG_HELLO && m.kind != CSN_MSG_TRACE && m.kind != CSN_MSG_SKIP)
      turn = m.step;
    switch (m.kind) {
    case CSN_MSG_HELLO:
      break;
    case CSN_MSG_SLOT:
      if ((rc = csn_take_slot(s, m.step, fd)) < 0) {
        set_failure(s, where(s), -rc);
        return;
      }
      break;
    case CSN_MSG_TRACE:
      if ((rc = show_child(s, &m)) < 0) {
        set_failure(s, s->plan->nsteps, -rc);
        return;
      }
      shown = true;
      break;
    case CSN_MSG_SKIP:
      if (!s->before || m.step >= s->plan->nsteps) {
        set_failure(s, s->plan->nsteps, EBADMSG);
        return;
      }
      s->skipped[m.step] = ECANCELED;
      break;
    case CSN_MSG_SYNC:
      if ((rc = take_turn(s, m.step, &turn)) < 0) {
        set_failure(s, (u32)turn, -rc);
        return;
      }
      send(s->sock, "", 1, MSG_NOSIGNAL); /* if it has died meanwhile, its report says so */
      break;
    case CSN_MSG_STOP:
      if ((rc = await_stop(s)) < 0 || (rc = csn_parent_steps(s, m.step + 1, &turn)) < 0) {
        set_failure(s, (u32)turn, -rc);
        return;
      }
      go_on(s);
      break;
    case CSN_MSG_DONE:
    case CSN_MSG_FAILED:
      s->exec_ns = m.exec_ns;
      if (m.kind == CSN_MSG_DONE && !all_served(s)) {
        set_failure(s, s->plan->nsteps, EBADMSG);
        return;
      }
      if (m.nskipped)
        for (u32 i = 0; i < s->plan->nsteps; i += 256) {
          u8 chunk[256];

          if (receive(s, chunk, sizeof(chunk), &fd) <= 0)
            break;
          for (u32 k = 0; k < 256 && i + k < s->plan->nsteps; k++)
            if (chunk[k])
              s->skipped[i + k] = chunk[k];
        }
      if (m.kind == CSN_MSG_FAILED) {
        u32 n = m.detail_len < CSN_DETAIL - 1 ? m.detail_len : CSN_DETAIL - 1;

        set_failure(s, m.step, m.err);
        if (m.signal) /* else its creator's death may have told */
          s->died_by = m.signal;
        memcpy(s->ctx.detail, m.detail, n);
        s->ctx.detail[n] = 0;
        s->ctx.detail_len = n;
      }
      return;
    default:
      set_failure(s, s->plan->nsteps, EBADMSG);
      return;
    }
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
  while (s->pid <= 0 && (rc = receive(s, &m, sizeof(m), &fd)) > 0) {
    if (is_creator(s, &m, rc, fd))
      take_creator(s, fd);
    else if (fd >= 0 && rc == sizeof(m) && m.kind == CSN_MSG_HELLO && s->pidfd < 0)
      s->pidfd = fd;
    else
      csn_close(fd);
    if (rc == sizeof(m))
      remember_child(s, m.pid);
  }
}

/* Kill what was started, reap it, take back the parent's steps. */
static void
abandon(struct csn_spawn *s)
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

static void
run_plan(struct csn_spawn *s)
{
  int pair[2] = { -1, -1 };
  u32 i;
  int rc;

  s->start_ns = monotonic_ns();
  s->counter0 = csn_counter();
  for (i = 0; i < s->plan->clone && s->plan->clone < s->plan->nsteps; i++)
    if (csn_plan_step(s->plan, i)->side == CSN_PARENT &&
        ((rc = ask_before(s, i)) < 0 || (rc = parent_step(s, i)) < 0)) {
      set_failure(s, i, -rc);
      abandon(s);
      return;
    }
  for (i = 0; i < CSN_SLOTS; i++)
    s->header.slots[i] = s->ctx.slots[i];
  s->header.plan_size = s->plan->size;
  s->waiting = s->plan->wait < s->plan->nsteps;
  s->init = csn_exec_args(s->plan)->init;
  s->header.runner = csn_stays(s->plan) || s->waiting ? csn_runner() : -1;
  rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
  if (rc == 0) {
    s->sock = csn_above_stdio(pair[0]);
    pair[1] = csn_above_stdio(pair[1]);
    rc = s->sock < 0 ? s->sock : pair[1] < 0 ? pair[1] : 0;
  }
  if (rc == 0 && !s->fork)
    rc = csn_send_first(s);
  if (rc == 0)
    rc = s->fork ? csn_start_fork(s, pair[1]) : csn_start_runner(s, pair[1]);
  csn_close(pair[1]);
  if (rc == 0 && !s->fork)
    rc = csn_send_rest(s);
  if (rc < 0 &&
      rc != -EPIPE) { /* that is the runner's death, of which the report's absence tells */
    csn_detail(&s->ctx, rc, s->fork ? "fork" : csn_runner_trouble(rc), NULL);
    set_failure(s, s->plan->nsteps, -rc);
    abandon(s);
    return;
  }
  attend(s);
  if (s->failed) {
    abandon(s);
    return;
  }
  csn_reap_runner(s);
  /* it will tell how the program ended; it is to be kept; or it serves as agent */
  if (csn_stays(s->plan) || s->waiting)
    return;
  csn_close(s->sock);
  s->sock = -1;
}

/* The run has its own copy: the caller's may be closed by a hook meanwhile. A standard stream that exec
 * would close is none: the host has closed its own, and something that must not leave it took the number. */
static int
take_descriptor(int fd)
{
  int flags = fd <= 2 ? fcntl(fd, F_GETFD) : 0;

  return flags < 0 || (flags & FD_CLOEXEC) ? -EBADF : csn_dup(fd, 3);
}

/* core.runner() -> fd of the runner's program | nil, message, errno: executed without arguments, it ends at once */
static int
l_runner(lua_State *L)
{
  int *fd = csn_newfd(L);
  int rc = csn_runner();

  if (rc >= 0)
    rc = *fd = csn_dup(rc, 3);
  return rc < 0 ? csn_pusherr(L, -rc, "%s", csn_runner_trouble(rc)) : 1;
}

/* The place on the stack of a function among the options at 1; 0: not given. */
static int
opt_function(lua_State *L, const char *name)
{
  if (!csn_field(L, 1, name))
    return 0;
  if (!lua_isfunction(L, -1))
    return luaL_error(L, "option '%s': function expected, got %s", name, luaL_typename(L, -1));
  return lua_gettop(L);
}

/* core.spawn { plan =, slots =, functions =, fork =, fail = { step =, errno = }, before =, attach =, timed = }
 *   -> process | nil, message, errno, failure */
static int
l_spawn(lua_State *L)
{
  static const char *const keys[] = { "plan", "slots",  "functions", "fork",  "fail",    "cancel",
                                      "late", "before", "attach",    "timed", "stamped", NULL };
  const struct csn_plan *p;
  struct csn_spawn *s;
  bool given[CSN_SLOTS] = { false };
  int rc;

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  lua_getfield(L, 1, "plan"); /* 2 */
  p = csn_check_plan(L, 2);
  if (p->exec >= p->nsteps && !csn_only_calls(p))
    return luaL_error(L, "the plan has no exec step");
  lua_getfield(L, 1, "functions"); /* 3 */
  if (!lua_isnil(L, 3))
    luaL_checktype(L, 3, LUA_TTABLE);
  s = csn_newprocess(L, p); /* 4 */
  s->L = L;
  s->functions = lua_isnil(L, 3) ? 0 : 3;
  lua_pushcfunction(L, csn_forked); /* 5: now, while it may raise */
  s->entry = 5;
  s->before = opt_function(L, "before"); /* which stay */
  s->attach = opt_function(L, "attach");
  s->timed = opt_function(L, "timed");
  s->stamped = opt_function(L, "stamped");
  s->header.traced = s->attach != 0;
  luaL_checkstack(L, LUA_MINSTACK, "spawn");
  s->fork = csn_opt_bool(L, 1, "fork", false) || s->before;
  s->cancel = csn_opt_fd(L, 1, "cancel");
  s->late = csn_opt_num(L, 1, "late", 0);
  if (csn_field(L, 1, "slots")) {
    if (!lua_istable(L, -1))
      return luaL_error(L, "option 'slots': table expected, got %s", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      s64 k;

      if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "slots are named by strings");
      k = csn_plan_slot(p, lua_tostring(L, -2));
      if (k < 0)
        return luaL_error(L, "slots: the plan has no slot called '%s'",
                          csn_short(L, lua_tostring(L, -2)));
      s->ctx.slots[k] = take_descriptor(csn_named_fd(L, -1, "slot", lua_tostring(L, -2)));
      if (s->ctx.slots[k] < 0) {
        int err = -s->ctx.slots[k];

        csn_release_process(s);
        return csn_pusherr(L, err, "slot %s: descriptor %d", lua_tostring(L, -2), csn_tofd(L, -1));
      }
      given[k] = true;
    }
    lua_pop(L, 1);
  }
  if (csn_field(L, 1, "fail")) {
    static const char *const fail_keys[] = { "step", "errno", NULL };
    lua_Number step, number;

    if (!lua_istable(L, -1))
      return luaL_error(L, "option 'fail': table expected, got %s", luaL_typename(L, -1));
    csn_checkkeys(L, -1, fail_keys);
    step = csn_opt_num(L, -1, "step", 1);
    number = csn_opt_num(L, -1, "errno", 0);
    if (!(step >= 1 && step <= CSN_MAX_STEPS && number >= 0 && number <= 4095))
      return luaL_error(L, "option 'fail': a step's number and an errno expected, got %f and %f",
                        step, number);
    s->header.fail_step = (u32)step - 1;
    s->header.fail_errno = (s32)number;
    lua_pop(L, 1);
  }
  for (u32 i = 0; i < p->nsteps && !s->fork; i++) {
    const struct csn_step *st = csn_plan_step(p, i);

    if (csn_step_prim(st)->action == CSN_ACT_LUA && st->side == CSN_CHILD)
      s->fork = true;
  }
  if (s->stamped && (rc = make_times(s)) < 0) {
    csn_release_process(s);
    return csn_pusherr(L, -rc, "a memfd for the times");
  }
  run_plan(s);
  if (s->times)
    tell_times(s);
  s->cancel = -1;
  s->L = NULL;
  s->functions = s->entry = s->before = s->attach = s->timed = s->stamped = 0;
  /* Only what steps have filled is kept: a pipe's reader waits for its last writer. */
  for (int k = 0; k < CSN_SLOTS; k++)
    if (given[k]) {
      csn_close(s->ctx.slots[k]);
      s->ctx.slots[k] = -1;
    }
  if (s->failed) {
    int n = csn_push_failure(L, s);

    csn_release_process(s);
    return n;
  }
  csn_joined_add(s);
  lua_settop(L, 4);
  return 1;
}

static void
open_spawn(lua_State *L)
{
  char build[24];

  lua_pushcfunction(L, l_spawn);
  lua_setfield(L, -2, "spawn");
  lua_pushcfunction(L, l_runner);
  lua_setfield(L, -2, "runner");
  snprintf(build, sizeof(build), "%016llx", (unsigned long long)csn_build());
  lua_pushstring(L, build);
  lua_setfield(L, -2, "build");
}

CSN_OPEN(open_spawn)
