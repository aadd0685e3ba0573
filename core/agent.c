/* SPDX-License-Identifier: MIT
 *
 * exec { agent = true }: the child stays, as process 1 of a container without a program, and runs those that the
 * host sends it, one after the other: each a plan, with its descriptors, over the run's socket.
 *
 * The agent is the runner's program, executed once more, and keeps the rights that steps need. What it runs must
 * not get at them: it is not dumpable, no process in the container has CAP_SYS_PTRACE over it, signals do
 * nothing to process 1, and its descriptors end with exec. A child shares its memory until exec only, and while
 * no other process lives. What it opens for the host it opens as the program's user would.
 */
#include "agent.h"
#include "exec.h"
#include <linux/capability.h>
#include <asm/statfs.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <linux/prctl.h>
#include <linux/stat.h>

#ifdef CSN_RUNNER

#define CHLD 17
#define WALL 0x40000000
#define IN 1 /* POLLIN */

static struct {
  struct csn_ask ask;
  u8 payload[CSN_CHUNK];
} in __attribute__((aligned(16)));
static s32 fds[CSN_SLOTS + 1];
static u8 stack[65536] __attribute__((aligned(16)));

static struct csn_run *base, job; /* base: the container's own; job: of the present program */
static int root;                  /* the container's */
static s32 program;               /* its pid; 0: none runs */
static struct csn_answer over;    /* what is told of it at its end */

/* ---- messages ---- */

static void
answer(struct csn_answer *a, int rc, int fd)
{
  a->kind = CSN_MSG_ANSWER;
  a->err = -rc;
  if (fd >= 0)
    csn_send_fd(base->sock, a, sizeof(*a), fd);
  else
    CSN_RETRY(csn_sys(__NR_sendto, base->sock, a, sizeof(*a), 0x4000 /* MSG_NOSIGNAL */, 0, 0));
}

/* False at the end of the socket, which is the host's, and where a message is not whole. */
static bool
receive(void)
{
  u32 got;
  int n = csn_recv_fds(base->sock, &in, sizeof(in), fds, CSN_SLOTS + 1, &got,
                       0x40000000 /* MSG_CMSG_CLOEXEC */);

  return n >= (int)sizeof(in.ask) && in.ask.nfds <= CSN_SLOTS &&
         got == in.ask.nfds + (in.ask.in_memfd != 0) &&
         (in.ask.in_memfd ? in.ask.size <= CSN_MAX_PLAN
                          : n - (int)sizeof(in.ask) == (int)in.ask.size);
}

/* ---- a run ---- */

static int
run_child(void *arg)
{
  struct csn_run *run = arg;
  const struct csn_plan *p = run->plan;
  int rc;

  for (u32 i = p->clone < p->nsteps ? p->clone + 1 : 0; i < p->last; i++) {
    run->record->msg.step = i;
    rc = csn_plan_step(p, i)->side == CSN_PARENT ? -EOPNOTSUPP : csn_apply_step(run, i);
    if (rc < 0)
      csn_fail(run, i, rc);
  }
  run->record->msg.step = p->last;
  /* Of the memory that is the agent's; it is to be so before the program lives, whatever a step did. */
  csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  csn_last_line(run, 0);
}

static const struct csn_plan *
plan_of_message(void)
{
  const struct csn_plan *p = (const struct csn_plan *)in.payload;

  if (in.ask.size < sizeof(*p))
    return NULL;
  if (in.ask.in_memfd) {
    long at = csn_sys(__NR_mmap, 0, in.ask.size, 1 /* PROT_READ */, 2 /* MAP_PRIVATE */,
                      fds[in.ask.nfds], 0);

    if (at < 0 && at > -4096)
      return NULL;
    p = (const struct csn_plan *)at;
  }
  if (p->magic == CSN_PLAN_MAGIC && p->size == in.ask.size && p->nprims == csn_nprims() &&
      p->exec < p->nsteps && p->nsteps <= CSN_MAX_STEPS)
    return p;
  if (in.ask.in_memfd)
    csn_sys(__NR_munmap, p, in.ask.size);
  return NULL;
}

/* struct rusage begins so. */
struct usage {
  s64 user_s, user_us, system_s, system_us, maxrss_kb;
  s64 rest[13];
};

static long
reap_one(int flags)
{
  struct usage u = { 0 };
  s32 status = 0;
  long pid = CSN_RETRY(csn_sys(__NR_wait4, -1, &status, flags | WALL, &u));

  if (pid <= 0)
    return pid;
  over.numbers[CSN_OVER_USER_US] += (u64)u.user_s * 1000000u + (u64)u.user_us;
  over.numbers[CSN_OVER_SYSTEM_US] += (u64)u.system_s * 1000000u + (u64)u.system_us;
  if ((u64)u.maxrss_kb > over.numbers[CSN_OVER_MAXRSS_KB])
    over.numbers[CSN_OVER_MAXRSS_KB] = (u64)u.maxrss_kb;
  if (pid == program) {
    over.numbers[CSN_OVER_STATUS] = (u32)status;
    program = 0;
    over.kind = CSN_MSG_OVER;
  }
  return pid;
}

/* Every process of the namespace but the agent, whoever its parent is; how many were reaped here. */
static u64
kill_all(void)
{
  u64 n = 0;

  csn_sys(__NR_kill, -1, 9);
  while (reap_one(0) > 0)
    n++;
  return n;
}

/* The end of a program is the end of all that it has started; who has no parent left is the agent's child. */
static void
reap(void)
{
  long rc;

  while ((rc = reap_one(1 /* WNOHANG */)) > 0)
    ;
  if (over.kind != CSN_MSG_OVER)
    return;
  if (rc != -ECHILD)
    kill_all();
  CSN_RETRY(csn_sys(__NR_sendto, base->sock, &over, sizeof(over), 0x4000 /* MSG_NOSIGNAL */, 0, 0));
  over.kind = 0;
}

/* Until the child no longer shares this memory: it executes its program, or has ended. That is what a vfork would
 * wait for; but a program that ends soon then wakes the agent once, and not twice. */
static void
await_exec(volatile s32 *shared)
{
  while (*shared)
    csn_sys(__NR_futex, shared, 0 /* FUTEX_WAIT */, 1, NULL);
}

/* Has a child ended in this time? Its signal is taken: it is to be reaped. Meanwhile nothing is touched here that
 * the child may be using. */
static bool
ends_within(u32 patience_us)
{
  const s64 time[2] = { patience_us / 1000000, (s64)(patience_us % 1000000) * 1000 };
  const u64 chld = 1ull << (CHLD - 1);

  return patience_us && csn_sys(__NR_rt_sigtimedwait, &chld, NULL, time, 8) == CHLD;
}

/* What came with the last question; a child has its own. */
static void
close_received(void)
{
  for (u32 i = 0; i < in.ask.nfds + (in.ask.in_memfd != 0); i++) {
    csn_close(fds[i]);
    fds[i] = -1;
  }
}

static void
clone_program(struct csn_msg *m, u32 patience_us)
{
  static volatile s32 shared;
  struct csn_clone_args ca = { .flags = CSN_CLONE_VM | CSN_CLONE_CHILD_CLEARTID |
                                        CSN_CLONE_CLEAR_SIGHAND,
                               .child_tid = (u64)(uintptr_t)&shared,
                               .exit_signal = CHLD,
                               .stack = (u64)(uintptr_t)stack,
                               .stack_size = sizeof(stack) };
  bool ended = false;
  int pidfd = -1;
  long pid;

  csn_sys(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); /* or its /proc files are root's */
  shared = 1;
  pid = csn_clone3(&ca, sizeof(ca), run_child, &job);
  program = pid > 0 ? (s32)pid : 0;
  if (program) {
    close_received(); /* now, while nobody waits for it */
    ended = ends_within(patience_us);
    await_exec(&shared);
  }
  csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  m->pid = program;
  over.numbers[CSN_OVER_EXEC_NS] = m->exec_ns;
  if (pid < 0) {
    m->kind = CSN_MSG_FAILED;
    m->step = job.plan->nsteps;
    m->err = (s32)-pid;
    m->detail_len = (u32)csn_append(m->detail, sizeof(m->detail), 0, "agent: a child");
  } else if (m->kind == CSN_MSG_DONE && !job.record->executing) {
    m->kind = CSN_MSG_FAILED; /* killed; its end tells the signal */
    m->err = 0;
  } else if (m->kind == CSN_MSG_DONE && !m->nskipped && ended) {
    reap();
    if (!program) /* the word of its end is all that is to be said */
      return;
    ended = false;
  }
  if (program) /* not reaped: the number is its own */
    pidfd = (int)csn_sys(__NR_pidfd_open, program, 0);
  if (pidfd >= 0)
    csn_send_fd(base->sock, m, sizeof(*m), pidfd);
  else
    csn_send_msg(base->sock, m);
  csn_close(pidfd);
  csn_send_skipped(&job);
  if (ended)
    reap();
}

static void
start_run(void)
{
  const struct csn_plan *p = plan_of_message();
  struct csn_msg *m = &base->record->msg;

  __builtin_memset(m, 0, sizeof(*m));
  m->kind = CSN_MSG_DONE;
  if (!p || program) {
    m->kind = CSN_MSG_FAILED;
    m->step = CSN_MAX_STEPS;
    m->err = program ? EBUSY : ENOEXEC;
    csn_send_msg(base->sock, m);
    return;
  }
  m->step = p->nsteps;
  for (u32 i = 0; i < p->nsteps; i++)
    base->record->skipped[i] = 0;
  base->record->executing = 0;
  __builtin_memset(&base->record->courier, 0, sizeof(base->record->courier));
  job = *base;
  job.pooled = true;
  job.answer = job.line = -1;
  job.plan = p;
  job.ctx.base = (const u8 *)p;
  job.fail_step = in.ask.fail_step;
  job.fail_errno = in.ask.fail_errno;
  for (u32 i = 0; i < in.ask.nfds; i++)
    if (in.ask.slot_of[i] < CSN_SLOTS)
      job.ctx.slots[in.ask.slot_of[i]] = fds[i];
  __builtin_memset(&over, 0, sizeof(over));
  clone_program(m, in.ask.patience_us);
  csn_exec_release(csn_exec_args(p));
  if (in.ask.in_memfd)
    csn_sys(__NR_munmap, p, in.ask.size);
}

/* ---- what else is asked ---- */

/* Open as the program's user: without rights beyond its own, nothing that the agent alone may read can be
 * lent to the host by a link. */
static int
open_child(void *arg)
{
  int *fd = arg;
  struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2] = { { 0 } };
  struct open_how how = { .flags = in.ask.flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                          .mode = in.ask.flags & O_CREAT ? in.ask.mode & 0777 : 0,
                          .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  long rc = 0;

  if (in.ask.ids & CSN_ASK_GROUPS)
    rc = csn_sys(__NR_setgroups, 0, NULL);
  if (rc >= 0 && in.ask.gid != CSN_NO_ID)
    rc = csn_sys(__NR_setresgid, in.ask.gid, in.ask.gid, in.ask.gid);
  if (rc >= 0 && in.ask.uid != CSN_NO_ID)
    rc = csn_sys(__NR_setresuid, in.ask.uid, in.ask.uid, in.ask.uid);
  if (rc >= 0)
    rc = csn_sys(__NR_capset, &head, none);
  csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  csn_sys(__NR_umask, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_openat2, root, in.payload, &how, sizeof(how));
  *fd = (int)rc;
  csn_leave(0);
}

/* Not a file of procfs, which may be the agent's own; nor a device or a fifo, which would not be a file of the
 * run's at all. */
static int
check_opened(int fd, struct csn_answer *a)
{
  struct statfs fs = { 0 };
  struct statx st = { 0 };
  long rc = csn_sys(__NR_fstatfs, fd, &fs);

  if (rc >= 0)
    rc = csn_sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
  if (rc >= 0 && (fs.f_type == PROC_SUPER_MAGIC ||
                  ((st.stx_mode & 0170000) != 0100000 && (st.stx_mode & 0170000) != 0040000))) {
    a->detail_len = (u32)csn_append(a->detail, sizeof(a->detail), 0,
                                    "neither a file nor a directory of its own");
    rc = -EPERM;
  }
  return (int)rc;
}

/* False where the text behind the question is no path. */
static bool
has_path(void)
{
  u32 n = 0;

  if (in.ask.in_memfd || in.ask.size < 2 || in.ask.size > PATH_MAX || in.ask.nfds)
    return false;
  while (in.payload[n])
    if (++n == in.ask.size)
      return false;
  return n + 1 == in.ask.size;
}

static void
open_file(struct csn_answer *a)
{
  int fd = -ECANCELED, rc; /* it may be killed by who is its user too */
  struct csn_clone_args ca = { .flags = CSN_CLONE_VM | CSN_CLONE_VFORK | CSN_CLONE_FILES |
                                        CSN_CLONE_CLEAR_SIGHAND,
                               .stack = (u64)(uintptr_t)stack,
                               .stack_size = sizeof(stack) };
  long pid;

  if (!has_path()) {
    answer(a, -EINVAL, -1);
    return;
  }
  pid = csn_clone3(&ca, sizeof(ca), open_child, &fd);
  csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  /* Without an exit signal; only by its pid, since a program may end at the same time. */
  if (pid > 0)
    CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, WALL, NULL));
  rc = pid < 0 ? (int)pid : fd;
  if (rc >= 0)
    rc = check_opened(fd, a);
  answer(a, rc < 0 ? rc : 0, rc < 0 ? -1 : fd);
  csn_close(fd);
}

static void
reset(struct csn_answer *a)
{
  long rc;

  over.kind = 0;
  a->numbers[CSN_RESET_PROCESSES] = kill_all();
  /* -1 is everybody but the caller and process 1, which are one: zombies too. Nobody is the proof. */
  rc = csn_sys(__NR_kill, -1, 0);
  if (rc != -ESRCH) {
    a->detail_len = (u32)csn_append(a->detail, sizeof(a->detail), 0, "a process does not end");
    answer(a, rc < 0 ? (int)rc : -EBUSY, -1);
    return;
  }
  rc = csn_reset(a, &in.ask, base->ctx.own);
  answer(a, (int)rc, -1);
}

static void
dispatch(void)
{
  struct csn_answer a = { 0 };

  switch (in.ask.kind) {
  case CSN_ASK_PING:
    answer(&a, 0, -1);
    break;
  case CSN_ASK_RUN:
    start_run();
    break;
  case CSN_ASK_KILL:
    csn_sys(__NR_kill, -1, 9);
    break;
  case CSN_ASK_OPEN:
    open_file(&a);
    break;
  case CSN_ASK_DELETE:
    /* by the agent's rights, which nobody may turn against other files by moving some meanwhile */
    answer(&a,
           program       ? -EBUSY
           : !has_path() ? -EINVAL
                         : csn_clean_delete((char *)in.payload, &a),
           -1);
    break;
  case CSN_ASK_OWN:
    answer(&a,
           program       ? -EBUSY
           : !has_path() ? -EINVAL
                         : csn_clean_own((char *)in.payload, &a),
           -1);
    break;
  case CSN_ASK_RESET:
    if (program)
      answer(&a, -EBUSY, -1);
    else
      reset(&a);
    break;
  default:
    answer(&a, -EINVAL, -1);
  }
  close_received();
}

/* ---- its life ---- */

/* CAP_SYS_PTRACE goes for good: nothing that is born of the agent may trace it. The rest is as it was before the
 * exec. */
static int
settle_capabilities(const struct csn_caps *before)
{
  long rc = csn_sys(__NR_prctl, PR_CAPBSET_READ, CAP_SYS_PTRACE, 0, 0, 0);

  if (rc > 0)
    rc = csn_sys(__NR_prctl, PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0);
  return rc < 0 ? (int)rc : csn_settle_capabilities(before, 1ull << CAP_SYS_PTRACE);
}

/* Children inherit what is ignored. */
static void
default_signals(void)
{
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    u64 mask;
  } by_default = { 0 };

  for (int sig = 1; sig <= 64; sig++)
    csn_sys(__NR_rt_sigaction, sig, &by_default, NULL, 8);
}

/* The descriptor that becomes readable when a child has ended, or -errno. */
static int
begin(const struct csn_caps *caps, struct csn_answer *a)
{
  u64 chld = 1ull << (CHLD - 1);
  const char *what = "agent: it has to be process 1 of a pid namespace of its own";
  long rc = -EINVAL;

  if (csn_sys(__NR_getpid, 0) == 1) {
    what = "agent: its capabilities";
    rc = settle_capabilities(caps);
  }
  if (rc >= 0) {
    what = "agent: the root directory";
    rc = root = (int)csn_sys(__NR_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  for (int i = 0; i < 3 && rc >= 0; i++) /* not the host's streams, nor left for others to take */
    rc = csn_sys(__NR_dup3, root, i, O_CLOEXEC);
  if (rc >= 0) {
    what = NULL;
    rc = csn_reset_begin(a, base->ctx.own);
  }
  default_signals();
  if (rc >= 0) {
    what = "agent: signalfd";
    rc = csn_sys(__NR_signalfd4, -1, &chld, 8, O_CLOEXEC | O_NONBLOCK);
  }
  if (rc < 0 && what)
    a->detail_len = (u32)csn_append(a->detail, sizeof(a->detail), 0, what);
  return (int)rc;
}

_Noreturn void
csn_agent_main(struct csn_run *run, int state)
{
  static u8 signals[16 * 128]; /* struct signalfd_siginfo; only that they came matters */
  struct csn_answer a = { 0 };
  struct {
    s32 fd;
    short events, revents;
  } poll[2];
  struct csn_msg *m;
  int rc;

  csn_take_over(run, state, "caisson-agent");
  csn_die_with_host(run, csn_exec_args(run->plan)->death_signal);
  base = run;
  m = &run->record->msg;
  rc = begin(&run->caps, &a);
  if (rc < 0) {
    m->kind = CSN_MSG_FAILED;
    m->step = run->plan->exec;
    m->err = -rc;
    __builtin_memcpy(m->detail, a.detail, sizeof(m->detail));
    m->detail_len = a.detail_len;
  }
  m->exec_ns = csn_now_ns();
  csn_send_report(run);
  if (rc < 0)
    csn_leave(125);
  poll[0].fd = run->sock;
  poll[1].fd = rc;
  poll[0].events = poll[1].events = IN;
  for (;;) {
    if (CSN_RETRY(csn_sys(__NR_ppoll, poll, 2, NULL, NULL, 0)) < 0)
      csn_leave(125);
    if (poll[1].revents) {
      csn_sys(__NR_read, poll[1].fd, signals, sizeof(signals));
      reap();
    }
    if (poll[0].revents) {
      if (!receive())
        csn_leave(0); /* and the namespace with it */
      dispatch();
    }
  }
}

#endif
