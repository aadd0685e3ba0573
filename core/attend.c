/* SPDX-License-Identifier: MIT
 *
 * The conversation with the child while it is constructed: its syncs are answered with the host's steps, its
 * report is taken.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
int
csn_receive(struct csn_spawn *s, void *buf, size_t size, int *fd)
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

/* The last step before this one for which the child needs its host, or -1. */
static s64
turn_before(const struct csn_plan *p, s64 i)
{
  while (--i >= 0) {
    const struct csn_step *st = csn_plan_step(p, (u32)i);

    /* before clone the parent's steps are done already; without a clone none are */
    if (st->side == CSN_PARENT ? p->clone == p->nsteps || (u32)i > p->clone
                               : csn_step_prim(st)->action == CSN_ACT_SEND ||
                                     csn_step_prim(st)->action == CSN_ACT_STOP)
      break;
  }
  return i;
}

/* The last step for which the child needs its host, or -1. */
static s64
last_turn(const struct csn_plan *p)
{
  return turn_before(p, p->wait < p->nsteps ? p->wait : p->nsteps);
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
  return csn_parent_step(s, step);
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

int
csn_meanwhile(struct csn_spawn *s)
{
  const lua_Number pid = s->pid > 0 ? s->pid : 0;
  int at = s->meanwhile;

  s->meanwhile = 0;
  s->ctx.detail_len = 0;
  return at ? csn_call_at(s, &s->ctx, at, 1, &pid) : 0;
}

/* Behind which turn of the host's there is time: what is last is then waited for as soon as the child is known. */
static s64
quiet_turn(const struct csn_plan *p, s64 last)
{
  return p->wait < p->nsteps || last < 0 ? last : turn_before(p, last);
}

/* Answer the child until it has become the program, or has failed. */
void
csn_attend(struct csn_spawn *s)
{
  s64 last = last_turn(s->plan), quiet = quiet_turn(s->plan, last), turn = -1;
  bool shown = s->attach == 0;
  struct csn_msg m;
  int rc, fd;

  for (;;) {
    /* With nothing left to answer, its creator's end is the one event worth waking up for: all that was
     * said is then there to be read. (A report of very many steps might not fit in the socket.) */
    if (turn >= quiet && shown && (quiet == last || s->pid > 0) && (rc = csn_meanwhile(s)) < 0) {
      csn_set_failure(s, s->plan->nsteps, -rc);
      return;
    }
    if (turn >= last && shown && s->plan->nsteps <= 1024) {
      if ((rc = runner_ends(s)) <= 0) {
        csn_set_failure(s, where(s), rc < 0 ? -rc : ECANCELED);
        return;
      }
      csn_reap_runner(s);
    }
    rc = csn_receive(s, &m, sizeof(m), &fd);
    if (csn_is_creator(s, &m, rc, fd)) {
      csn_take_creator(s, fd);
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
      csn_set_failure(s, where(s), rc < 0 ? -rc : 0);
      return;
    }
    if ((rc = csn_remember_child(s, m.pid)) < 0) {
      if (m.kind == CSN_MSG_SLOT)
        csn_close(fd);
      csn_detail(&s->ctx, rc, "a descriptor for the child", NULL);
      csn_set_failure(s, s->plan->nsteps, -rc);
      return;
    }
    if ((m.kind == CSN_MSG_SYNC || m.kind == CSN_MSG_STOP) && m.step <= turn) {
      csn_set_failure(s, s->plan->nsteps, EBADMSG); /* what has been done is not done again */
      return;
    }
    if (m.kind != CSN_MSG_HELLO && m.kind != CSN_MSG_TRACE && m.kind != CSN_MSG_SKIP)
      turn = m.step;
    switch (m.kind) {
    case CSN_MSG_HELLO:
      break;
    case CSN_MSG_SLOT:
      if ((rc = csn_take_slot(s, m.step, fd)) < 0) {
        csn_set_failure(s, where(s), -rc);
        return;
      }
      break;
    case CSN_MSG_TRACE:
      if ((rc = show_child(s, &m)) < 0) {
        csn_set_failure(s, s->plan->nsteps, -rc);
        return;
      }
      shown = true;
      break;
    case CSN_MSG_SKIP:
      if (!s->before || m.step >= s->plan->nsteps) {
        csn_set_failure(s, s->plan->nsteps, EBADMSG);
        return;
      }
      s->skipped[m.step] = ECANCELED;
      break;
    case CSN_MSG_SYNC:
      if ((rc = take_turn(s, m.step, &turn)) < 0) {
        csn_set_failure(s, (u32)turn, -rc);
        return;
      }
      send(s->sock, "", 1, MSG_NOSIGNAL); /* if it has died meanwhile, its report says so */
      break;
    case CSN_MSG_STOP:
      if ((rc = await_stop(s)) < 0 || (rc = csn_parent_steps(s, m.step + 1, &turn)) < 0) {
        csn_set_failure(s, (u32)turn, -rc);
        return;
      }
      go_on(s);
      break;
    case CSN_MSG_DONE:
    case CSN_MSG_FAILED:
      s->exec_ns = m.exec_ns;
      if (m.kind == CSN_MSG_DONE && !all_served(s)) {
        csn_set_failure(s, s->plan->nsteps, EBADMSG);
        return;
      }
      if (m.nskipped)
        for (u32 i = 0; i < s->plan->nsteps; i += 256) {
          u8 chunk[256];

          if (csn_receive(s, chunk, sizeof(chunk), &fd) <= 0)
            break;
          for (u32 k = 0; k < 256 && i + k < s->plan->nsteps; k++)
            if (chunk[k])
              s->skipped[i + k] = chunk[k];
        }
      if (m.kind == CSN_MSG_FAILED) {
        u32 n = m.detail_len < CSN_DETAIL - 1 ? m.detail_len : CSN_DETAIL - 1;

        csn_set_failure(s, m.step, m.err);
        if (m.signal) /* else its creator's death may have told */
          s->died_by = m.signal;
        memcpy(s->ctx.detail, m.detail, n);
        s->ctx.detail[n] = 0;
        s->ctx.detail_len = n;
      }
      return;
    default:
      csn_set_failure(s, s->plan->nsteps, EBADMSG);
      return;
    }
  }
}
