/* SPDX-License-Identifier: MIT
 *
 * Making the child of a plan: the same C in the runner, where creator and child share memory until
 * exec, and in a fork of the host, where Lua steps run.
 *
 * The child is one straight line: death signal, greeting, its steps in the plan's order, exec. On a
 * failure it fills the shared record and leaves; its creator, which clone3(CLONE_VFORK) suspends until
 * then, sends the record. So a filter that the child has loaded can't silence its report.
 */
#include "plan.h"
#include "path.h"
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/time.h>
#include <linux/mman.h>
#include "exec.h"

/* <sys/socket.h> is libc's. */
#ifndef MSG_NOSIGNAL
#define MSG_PEEK 0x2
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#endif

/* Who answers the child's turns: its host, or who has started it. */
static int
line_of(const struct csn_run *run)
{
  return run->line >= 0 ? run->line : run->answer >= 0 ? run->answer : run->sock;
}

int
csn_send_slot(struct csn_run *run, u32 step, int fd, bool close)
{
  struct csn_msg m = { .kind = CSN_MSG_SLOT, .step = step, .pid = run->record->tid };
  int rc = csn_send_fd(line_of(run), &m, sizeof(m), fd);

  if (close)
    csn_close(fd);
  return rc;
}

static int
send_slot(struct csn_run *run, u32 step, const struct engine_send_args *a)
{
  int fd = run->ctx.slots[a->fd];

  if (fd < 0)
    return csn_detail(&run->ctx, -EBADF, "no descriptor in the slot", NULL);
  if (a->close)
    run->ctx.slots[a->fd] = -1;
  return run->record->courier.word ? csn_courier_send(run, step, fd, a->close)
                                   : csn_send_slot(run, step, fd, a->close);
}

_Noreturn void
csn_leave(int status)
{
  for (;;) {
    csn_sys(__NR_exit_group, status);
    __builtin_trap(); /* a filter may deny even this */
  }
}

/* The host has died when the socket has ended: nobody else holds its end. */
_Noreturn void
csn_fail(struct csn_run *run, u32 step, int err)
{
  struct csn_msg *m = &run->record->msg;
  u32 n = run->ctx.detail_len;

  m->kind = CSN_MSG_FAILED;
  m->step = step;
  m->err = -err;
  m->detail_len = n;
  for (u32 i = 0; i < n; i++)
    m->detail[i] = run->ctx.detail[i];
  csn_leave(125);
}

/* Stop, for whoever shall see the process as it is now, or trace it from here on; the host does its steps
 * meanwhile. Who is continued by another before that waits for the host all the same. */
static int
stop_for_host(struct csn_run *run, u32 step)
{
  struct csn_msg m = { .kind = CSN_MSG_STOP, .step = step, .pid = run->record->tid };
  long pid = csn_sys(__NR_getpid, 0), rc;
  char go;

  if (!run->ctx.born)
    return csn_detail(&run->ctx, -EINVAL, "before clone there is no child that could stop", NULL);
  if (pid < 0)
    return csn_detail(&run->ctx, (int)pid, "getpid", NULL);
  for (run->served = step + 1; run->served < run->plan->nsteps; run->served++)
    if (csn_plan_step(run->plan, run->served)->side != CSN_PARENT)
      break;
  if (csn_send_msg(run->sock, &m) < 0)
    csn_leave(125);
  if ((rc = csn_sys(__NR_kill, pid, 19 /* SIGSTOP */)) < 0)
    return csn_detail(&run->ctx, (int)rc, "kill", NULL);
  if (CSN_RETRY(csn_sys(__NR_recvfrom, run->sock, &go, 1, 0, 0, 0)) != 1)
    csn_leave(125);
  return 0;
}

static void
note_begin(struct csn_run *run, u32 step)
{
  if (run->times)
    run->times->steps[step].began = csn_counter();
}

static void
note_end(struct csn_run *run, u32 step)
{
  if (run->times)
    run->times->steps[step].ended = csn_counter();
}

int
csn_apply_step(struct csn_run *run, u32 i)
{
  const struct csn_step *s = csn_plan_step(run->plan, i);
  const struct csn_primitive *p = csn_step_prim(s);
  const void *args = (const u8 *)run->plan + s->args;
  int rc;

  run->ctx.detail_len = 0;
  if (!(p->side & CSN_NEAR))
    csn_leave_dir(&run->ctx);
  note_begin(run, i);
  if (run->record->courier.served && !(p->side & CSN_LAST) && p->action != CSN_ACT_SEND)
    csn_courier_end(run);
  if (run->fail_errno && run->fail_step == i)
    rc = -run->fail_errno;
  else if (p->action == CSN_ACT_LUA)
    rc = run->lua_step
             ? run->lua_step(run, csn_s(&run->ctx, ((const struct engine_lua_args *)args)->name))
             : -EOPNOTSUPP;
  else if (p->action == CSN_ACT_SEND)
    rc = send_slot(run, i, args);
  else if (p->action == CSN_ACT_WAIT)
    rc = csn_wait_for_start(run);
  else if (p->action == CSN_ACT_STOP)
    rc = stop_for_host(run, i);
  else if (p->action == CSN_ACT_COURIER)
    rc = csn_courier_start(run, ((const struct engine_courier_args *)args)->apart);
  else
    rc = p->apply(args, &run->ctx);
  note_end(run, i);
  /* Changed credentials make it what fs.suid_dumpable says, which may be: dumpable. With a courier none change,
   * nor by what stands last, behind which a filter may kill who makes this call. */
  if (run->ctx.joined && !run->record->courier.word && !(p->side & CSN_LAST))
    csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (rc < 0 && (s->flags & CSN_STEP_OPTIONAL)) {
    run->record->skipped[i] = (u8)-rc;
    run->record->msg.nskipped++;
    return 0;
  }
  return rc;
}

void
csn_send_skipped(struct csn_run *run)
{
  struct csn_record *r = run->record;
  const u32 n = run->plan->nsteps;

  if (r->msg.nskipped)
    for (u32 i = 0; i < n; i += 256) /* the host knows n: the same number of messages */
      CSN_RETRY(csn_sys(__NR_sendto, run->sock, r->skipped + i, n - i < 256 ? n - i : 256,
                        MSG_NOSIGNAL, 0, 0));
}

void
csn_send_report(struct csn_run *run)
{
  csn_send_msg(run->sock, &run->record->msg);
  csn_send_skipped(run);
}

int
csn_sync_with_host(struct csn_run *run, u32 step)
{
  struct csn_msg m = { .kind = CSN_MSG_SYNC, .step = step, .pid = run->record->tid };
  int rc = csn_send_msg(line_of(run), &m);
  char go;
  long n;

  if (rc < 0)
    return rc;
  n = CSN_RETRY(csn_sys(__NR_recvfrom, line_of(run), &go, 1, 0, 0, 0));
  return n == 1 ? 0 : n < 0 ? (int)n : -EPIPE;
}

/* Whoever goes through the plan step by step is asked: 1: the step is left out; 0; -errno. Nothing of the child may stay behind if its host dies while
 * it waits there, and changed credentials have cleared the death signal. */
static int
ask_before(struct csn_run *run, u32 i)
{
  const struct csn_plan *p = run->plan;
  struct csn_msg m = { .kind = CSN_MSG_SKIP, .step = i, .pid = run->record->tid };
  char c;
  int rc;

  run->record->msg.step = i | CSN_PAUSED;
  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
  if (csn_sys(__NR_recvfrom, run->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0) != -EAGAIN)
    csn_leave(125);
  run->ctx.detail_len = 0;
  rc = run->before(run, i);
  run->record->msg.step = i;
  if (rc > 0 && (i == p->clone || i == p->wait || i == p->exec))
    rc = csn_detail(&run->ctx, -EINVAL, "a construction can't go without it", NULL);
  if (rc <= 0)
    return rc;
  run->record->skipped[i] = ECANCELED;
  run->record->msg.nskipped++;
  if (csn_plan_step(p, i)->side == CSN_PARENT && csn_send_msg(run->sock, &m) < 0)
    csn_leave(125);
  return 1;
}

/* In the child. */
static bool
left_out(struct csn_run *run, u32 i)
{
  int rc = ask_before(run, i);

  if (rc < 0)
    csn_fail(run, i, rc);
  return rc > 0;
}

void
csn_child_steps(struct csn_run *run, u32 from, u32 to)
{
  const struct csn_plan *p = run->plan;
  int rc;

  for (u32 i = from; i < to; i++) {
    const bool one_by_one = run->before && i < p->last;

    if (i < run->served && csn_plan_step(p, i)->side == CSN_PARENT)
      continue;
    if (run->record->skipped[i] || (one_by_one && left_out(run, i)))
      continue;
    run->record->msg.step = i; /* where it was, should it be killed */
    if (csn_plan_step(p, i)->side == CSN_PARENT) {
      const u32 turn = i;

      csn_leave_dir(&run->ctx);
      /* Hand over to the host for its steps, and wait until it hands back. */
      note_begin(run, turn);
      if ((run->record->courier.word ? csn_courier_sync(run, i) : csn_sync_with_host(run, i)) < 0)
        csn_leave(125);
      while (!one_by_one && i + 1 < to && csn_plan_step(p, i + 1)->side == CSN_PARENT)
        i++;
      note_end(run, turn);
    } else if ((rc = csn_apply_step(run, i)) < 0) {
      csn_fail(run, i, rc);
    }
  }
  csn_leave_dir(&run->ctx);
}

/* The first message carries the child's own pidfd: its host may ignore SIGCHLD, or wait for any child,
 * and then find its pid gone or another's. */
static int
greet(struct csn_run *run)
{
  struct csn_msg m = { .kind = CSN_MSG_HELLO, .pid = run->record->tid };
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_pidfd_open, csn_sys(__NR_getpid, 0), 0);

  /* without one the host opens it, or says why it can't */
  return fd < 0 ? csn_send_msg(run->sock, &m) : csn_send_fd(run->sock, &m, sizeof(m), fd);
}

/* Whoever is to trace it may be no ancestor, which the Yama module would not let. */
static void
show_itself(struct csn_run *run)
{
  struct csn_msg m = { .kind = CSN_MSG_TRACE,
                       .pid = run->record->tid,
                       .exec_ns = (u64)(uintptr_t)&run->record->msg.step };
  char go;

  csn_sys(__NR_prctl, PR_SET_PTRACER, ~0ul, 0, 0, 0);
  run->record->msg.step = run->plan->clone;
  if (csn_send_msg(run->sock, &m) < 0 ||
      CSN_RETRY(csn_sys(__NR_recvfrom, run->sock, &go, 1, 0, 0, 0)) != 1)
    csn_leave(125);
  csn_sys(__NR_prctl, PR_SET_PTRACER, 0, 0, 0, 0);
}

u64
csn_now_ns(void)
{
  struct {
    s64 sec, nsec;
  } ts = { 0, 0 };

  csn_sys(__NR_clock_gettime, CLOCK_MONOTONIC, &ts);
  return (u64)ts.sec * 1000000000u + (u64)ts.nsec;
}

/* Descriptors, signals, the program's path, the death signal: all but the last steps and execve. */
static void
prepare(struct csn_run *run, const struct engine_exec_args *exec, u64 death_signal)
{
  const u32 step = run->plan->exec;
  char c;
  int rc;

  if (run->fail_errno && run->fail_step == step)
    csn_fail(run, step, -run->fail_errno);
  if (!run->pooled) {
    /* Again, since changed credentials have cleared it; and the host may have died in between. */
    if ((rc = (int)csn_sys(__NR_prctl, PR_SET_PDEATHSIG, death_signal, 0, 0, 0)) < 0)
      csn_fail(run, step, rc);
    if (run->answer < 0 &&
        csn_sys(__NR_recvfrom, run->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0) != -EAGAIN)
      csn_leave(125);
  }
  if ((rc = csn_exec_prepare(exec, &run->ctx)) < 0 ||
      (rc = csn_exec_signals(exec, run->pooled)) < 0)
    csn_fail(run, step, rc);
  run->record->msg.exec_ns = csn_now_ns();
}

static bool
has_courier(const struct csn_plan *p)
{
  for (u32 i = p->last; i < p->exec; i++)
    if (csn_step_prim(csn_plan_step(p, i))->action == CSN_ACT_COURIER)
      return true;
  return false;
}

/* The last steps have something to say, when the program's descriptors are in their places already. */
static int
keep_line(struct csn_run *run, const struct engine_exec_args *exec)
{
  run->line = csn_dup(line_of(run), exec->files.count < 3 ? 3 : (int)exec->files.count);
  return run->line < 0 ? csn_detail(&run->ctx, run->line, "a descriptor for the host's", NULL) : 0;
}

_Noreturn void
csn_last_line(struct csn_run *run, u64 death_signal)
{
  const struct csn_plan *p = run->plan;
  const struct engine_exec_args *exec = csn_exec_args(p);
  int rc;

  if (p->last < p->exec && has_courier(p) && (rc = keep_line(run, exec)) < 0)
    csn_fail(run, p->exec, rc);
  prepare(run, exec, death_signal);
  csn_child_steps(run, p->last, p->exec);
  csn_courier_end(run);
  run->record->msg.step = p->exec;
  run->record->executing = 1;
  note_begin(run, p->exec);
  rc = csn_exec(exec, &run->ctx);
  run->record->executing = 0;
  csn_fail(run, p->exec, rc);
}

static int
child_main(void *arg)
{
  struct csn_run *run = arg;
  const struct csn_plan *p = run->plan;
  u32 i = p->clone < p->nsteps ? p->clone + 1 : 0;
  int rc;

  /* First of all: should the host die, nothing of the child may stay behind. If it died before this,
   * the greeting finds the socket at its end (in a pid namespace getppid() could not tell). */
  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
  if (greet(run) < 0)
    csn_leave(125);

  run->ctx.born = true;
  if (run->times)
    run->times->born = csn_counter();
  if (run->traced)
    show_itself(run);
  if (p->exec >= p->nsteps && !csn_only_calls(p))
    csn_fail(run, p->nsteps, -ENOEXEC);
  run->ctx.init = csn_stays(p) || p->wait < p->nsteps;
  if ((csn_stays(p) || p->wait < p->nsteps) && (rc = csn_prepare_handover(run)) < 0)
    csn_fail(run, p->wait < p->nsteps ? p->wait : p->exec, rc);
  if (run->unshare_time && (rc = (int)csn_sys(__NR_unshare, CLONE_NEWTIME)) < 0)
    csn_fail(run, p->clone, rc);
  csn_child_steps(run, i, p->last);
  for (i = p->last; run->before && i < p->nsteps; i++)
    left_out(run, i);
  run->record->msg.step = p->last;
  if (p->exec >= p->nsteps) {
    run->record->executing = 1;
    csn_leave(0);
  }
  if (csn_stays(p))
    csn_fail(run, p->exec, csn_hand_over(run, csn_exec_args(p)->agent ? "agent" : "init"));
  csn_last_line(run, csn_exec_args(p)->death_signal);
}

#ifdef CSN_RUNNER
static u8 child_stack[65536] __attribute__((aligned(16)));
#endif

/* What memory the child lives in. */
static void
in_memory(struct csn_run *run, struct csn_clone_args *ca, bool copy)
{
#ifdef CSN_RUNNER
  (void)run;
  if (copy)
    return;
  ca->flags |= CSN_CLONE_VM;
  ca->stack = (u64)(uintptr_t)child_stack;
  ca->stack_size = sizeof(child_stack);
#else
  /* A copy of the fork's, with libc and Lua in it. glibc's cached thread id must be that of the new
   * process: what its fork() would do. */
  u64 tid_address = 0;

  (void)copy;
  if (csn_sys(__NR_prctl, PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) == 0 && tid_address) {
    ca->flags |= CSN_CLONE_CHILD_SETTID | CSN_CLONE_CHILD_CLEARTID;
    ca->child_tid = tid_address;
  }
  /* Born into a time namespace on memory of its own, it would be inside at once, and the offsets fixed. So
   * it enters by exec, as one that shares memory does anyway. */
  if ((ca->flags & CLONE_NEWTIME) && csn_kernel_from(6, 1)) {
    ca->flags &= ~(u64)CLONE_NEWTIME;
    run->unshare_time = true;
  }
#endif
}

static const struct engine_clone_args *
clone_args(const struct csn_plan *p)
{
  return p->clone == p->nsteps
             ? NULL
             : (const struct engine_clone_args *)((const u8 *)p + csn_plan_step(p, p->clone)->args);
}

/* A child with memory of its own reports through a page that it shares. */
static int
share_record(struct csn_run *run)
{
#ifdef CSN_RUNNER
  long at = csn_sys(__NR_mmap, 0, sizeof(*run->record), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  if (at < 0)
    return (int)at;
  run->record = (struct csn_record *)at;
#else
  (void)run; /* the fork's is shared */
#endif
  return 0;
}

/* What is not the run's, such as the host's own standard streams, the child must not even have at birth, when
 * it can be looked at already. */
static int
close_foreign(const struct csn_run *run)
{
#ifdef CSN_RUNNER
  for (u32 from = 0;;) {
    u32 next = ~0u; /* the run's next one */
    long rc = 0;

    if ((u32)run->sock >= from)
      next = (u32)run->sock;
    if (run->runner >= 0 && (u32)run->runner >= from && (u32)run->runner < next)
      next = (u32)run->runner;
    for (int i = 0; i < CSN_SLOTS; i++)
      if (run->ctx.slots[i] >= 0 && (u32)run->ctx.slots[i] >= from && (u32)run->ctx.slots[i] < next)
        next = (u32)run->ctx.slots[i];
    if (next > from)
      rc = csn_sys(__NR_close_range, from, next == ~0u ? next : next - 1, 0);
    if (rc < 0 || next == ~0u)
      return (int)rc;
    from = next + 1;
  }
#else
  (void)run;
  return 0;
#endif
}

/* By clone(2) where that can say it all: the filter that the creator is under by now, for one without
 * no_new_privs, may know clone3 as something to refuse, since it can't look into its arguments. */
static long
clone_child(struct csn_run *run, struct csn_clone_args *ca)
{
#ifdef CSN_RUNNER
  const u64 old = CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_NEWNS | CLONE_NEWUSER |
                  CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  /* the runner's handlers are the default ones */
  u64 flags = ca->flags & ~(u64)CSN_CLONE_CLEAR_SIGHAND;
  long pid;

  if (!ca->stack && !(flags & ~old)) {
    pid = csn_sys(__NR_clone, flags, 0, ca->parent_tid, 0, 0);
    if (pid == 0)
      csn_leave(child_main(run));
    return pid;
  }
#endif
  return csn_clone3(ca, sizeof(*ca), child_main, run);
}

static void
note_failure(struct csn_run *run, u32 step, int err)
{
  struct csn_msg *m = &run->record->msg;

  m->kind = CSN_MSG_FAILED;
  m->step = step;
  m->err = -err;
  m->detail_len = run->ctx.detail_len;
  for (u32 k = 0; k < m->detail_len; k++)
    m->detail[k] = run->ctx.detail[k];
}

/* All steps before clone, and the child as far as exec; how it went is in the record. */
static void
make(struct csn_run *run)
{
  const struct csn_plan *p = run->plan;
  const struct engine_clone_args *a = clone_args(p);
  const bool copy = a && a->copy;
  struct csn_record *r = run->record;
  struct csn_clone_args ca = { 0 };
  long pid;
  u32 i;
  int rc = 0;

  /* Steps before clone: the creator's own, such as joining namespaces. */
  for (i = 0; i < p->clone && p->clone < p->nsteps; i++) {
    if (csn_plan_step(p, i)->side != CSN_CHILD)
      continue;
    if (run->before && (rc = ask_before(run, i)) > 0)
      continue;
    if (rc < 0 || (rc = csn_apply_step(run, i)) < 0)
      break;
  }
  csn_leave_dir(&run->ctx);
  if (rc >= 0 && i == p->clone && run->before && p->clone < p->nsteps)
    rc = ask_before(run, i);
  rc = rc > 0 ? 0 : rc;
  if (rc == 0) {
    ca.flags =
        CSN_CLONE_VFORK | CSN_CLONE_PARENT | CSN_CLONE_CLEAR_SIGHAND | CSN_CLONE_PARENT_SETTID;
    ca.parent_tid = (u64)(uintptr_t)&r->tid;
    if (a) {
      ca.flags |= a->namespaces & ~run->entered;
      run->ctx.own |= a->namespaces;
      if (!run->in_group && a->cgroup >= 0 && run->ctx.slots[a->cgroup] >= 0) {
        ca.flags |= CSN_CLONE_INTO_CGROUP;
        ca.cgroup = (u64)run->ctx.slots[a->cgroup];
      }
      i = p->clone;
    }
    in_memory(run, &ca, copy);
    if (a)
      note_begin(run, p->clone);
    rc = copy ? close_foreign(run) : 0;
    if (copy)
      run->times_fd = -1;
    if (rc < 0)
      pid = rc;
    else if (run->fail_errno && run->fail_step == p->clone && p->clone < p->nsteps)
      pid = -run->fail_errno;
    else
      pid = clone_child(run, &ca);
    rc = pid < 0 ? (int)pid : 0;
    r->msg.pid = pid < 0 ? 0 : (s32)pid;
  }
  if (rc < 0)
    note_failure(run, i, rc);
}

#ifdef CSN_RUNNER

/* The host has to know it, whose child it is; then the namespaces may be joined, from which it could not be
 * put into the group (nsdelegate of cgroups(7)). */
static int
creator_main(void *arg)
{
  struct csn_run *run = arg;
  struct csn_msg m = { .kind = CSN_MSG_CREATOR };
  int fd;

  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
  fd = (int)csn_sys(__NR_pidfd_open, csn_sys(__NR_getpid, 0), 0);
  if (fd < 0 || csn_send_fd(run->sock, &m, sizeof(m), fd) < 0)
    csn_leave(125);
  run->record->announced = 1;
  csn_close(fd);
  make(run);
  csn_leave(0);
}

/* A child with a copy of its creator's memory has one of its own, which is not the runner: whoever kills the
 * container's processes may kill creator and child before the host has heard of the child. The runner is none of
 * them, and tells.
 *
 * Moving a process into a v2 group takes some 10 ms, and being born there nothing; but that needs rights which
 * the creator will have given up when the child is born. So the creator itself is. */
static bool
make_by_creator(struct csn_run *run)
{
  const struct engine_clone_args *a = clone_args(run->plan);
  const struct csn_msg m = { .kind = CSN_MSG_CREATOR };
  struct csn_clone_args ca = { 0 };
  int creator = -1;
  long pid;

  if (!a || !a->copy)
    return false;
  ca.flags = CSN_CLONE_VFORK | CSN_CLONE_PARENT | CSN_CLONE_CLEAR_SIGHAND | CSN_CLONE_PIDFD;
  ca.pidfd = (u64)(uintptr_t)&creator;
  if (a->cgroup >= 0 && run->ctx.slots[a->cgroup] >= 0) {
    ca.flags |= CSN_CLONE_INTO_CGROUP;
    ca.cgroup = (u64)run->ctx.slots[a->cgroup];
    run->in_group = true;
  }
  pid = csn_clone3(&ca, sizeof(ca), creator_main, run);
  if (pid < 0)
    note_failure(run, run->plan->clone, (int)pid);
  else if (!run->record->announced) /* killed before its first word; it is the host's to reap */
    csn_send_fd(run->sock, &m, sizeof(m), creator);
  return true;
}

#else
#define make_by_creator(run) false
#endif

void
csn_make_child(struct csn_run *run)
{
  const struct engine_clone_args *a = clone_args(run->plan);
  int rc = a && a->copy ? share_record(run) : 0;
  struct csn_record *r = run->record;

  run->answer = run->line = -1;
  r->msg.kind = CSN_MSG_DONE;
  r->msg.step = run->plan->nsteps;
  if (rc < 0)
    note_failure(run, run->plan->clone, rc);
  else if (!make_by_creator(run))
    make(run);
  if (r->handed_over)
    return; /* the child reports for itself */
  if (r->msg.kind == CSN_MSG_DONE && !r->executing) {
    /* Gone without a word: killed, or it found the host dead. wait() tells the signal. */
    r->msg.kind = CSN_MSG_FAILED;
    r->msg.err = 0;
    r->msg.step &= ~CSN_PAUSED;
  }
  if (run->times && r->executing)
    run->times->executed = csn_counter();
  if (!r->msg.pid)
    r->msg.pid = r->tid; /* its creator was killed before it could say so */
  csn_send_report(run);
}
