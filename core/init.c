/* SPDX-License-Identifier: MIT
 *
 * exec { init = true }: the child stays, as pid 1 of its namespace or else as a subreaper. It starts the
 * program, hands signals on to it, reaps what is orphaned, and ends as the program ended: with its exit
 * code, or 128 + its signal (pid 1 can't be killed by its own signal; one that is not pid 1 dies of it). A
 * host that is there still gets the exact status over the socket.
 *
 * Init is the runner's program, executed once more, so that it holds nothing of the host and has let go
 * of its creator's memory. The last steps (seccomp) are the program's own. Whoever may trace init, as root
 * of the container may, must not find a way around them in it: before the program lives, init has put
 * itself under a filter of its own, which leaves it what it needs for its work, and no descriptor but two.
 */
#include "plan.h"
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

/* What goes over the exec, in a memfd: this, the plan, one byte a step of what was left out. */
struct state {
  u32 fail_step;
  s32 fail_errno;
  s32 sock;
  u32 nskipped;
  u64 own;
  u64 inheritable, ambient; /* of an agent, which carries all its capabilities over the exec */
  s32 slots[CSN_SLOTS];
};

#define CHLD 17
#define SET_MASK 2

static long
block_all(void)
{
  u64 all = ~0ull;

  return csn_sys(__NR_rt_sigprocmask, SET_MASK, &all, NULL, 8);
}

static size_t
state_size(const struct csn_plan *p)
{
  return sizeof(struct state) + p->size + p->nsteps;
}

int
csn_prepare_init(struct csn_run *run)
{
  long rc = run->state = (int)csn_sys(__NR_memfd_create, "caisson", 1 /* MFD_CLOEXEC */);

  if (rc >= 0)
    rc = csn_sys(__NR_ftruncate, run->state, state_size(run->plan));
  return rc < 0 ? csn_detail(&run->ctx, (int)rc, "init: the plan in a memfd", NULL) : 0;
}

static int
write_state(const struct csn_run *run, const struct csn_caps *caps)
{
  size_t size = state_size(run->plan);
  long at = csn_sys(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, run->state, 0);
  struct state *st = (struct state *)at;
  u8 *rest = (u8 *)(st + 1);

  if (at < 0)
    return (int)at;
  st->fail_step = run->fail_step;
  st->fail_errno = run->fail_errno;
  st->sock = run->sock;
  st->nskipped = run->record->msg.nskipped;
  st->own = run->ctx.own;
  st->inheritable = caps->inheritable;
  st->ambient = caps->ambient;
  for (int i = 0; i < CSN_SLOTS; i++)
    st->slots[i] = run->ctx.slots[i];
  for (u32 i = 0; i < run->plan->size; i++)
    *rest++ = ((const u8 *)run->plan)[i];
  for (u32 i = 0; i < run->plan->nsteps; i++)
    *rest++ = run->record->skipped[i];
  return (int)csn_sys(__NR_munmap, at, size);
}

/* An agent's user need not be root inside; by their ambience its capabilities outlive the exec. What was
 * there before is for the agent to restore. */
static int
carry_capabilities(struct csn_caps *before)
{
  struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct sets[2] = { { 0 } };
  long rc = csn_sys(__NR_capget, &head, sets);

  before->inheritable = (u64)sets[1].inheritable << 32 | sets[0].inheritable;
  for (int i = 0; i < 2; i++)
    sets[i].inheritable |= sets[i].permitted;
  for (int cap = 0; cap < 64 && rc >= 0; cap++)
    if (csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
      before->ambient |= 1ull << cap;
  if (rc >= 0)
    rc = csn_sys(__NR_capset, &head, sets);
  for (int cap = 0; cap < 64 && rc >= 0; cap++)
    if (sets[cap / 32].permitted >> cap % 32 & 1)
      rc = csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
  return rc < 0 ? (int)rc : 0;
}

int
csn_become_init(struct csn_run *run)
{
  const bool agent = csn_exec_args(run->plan)->agent;
  char state[16];
  const char *argv[] = { agent ? "caisson-agent" : "caisson-init", agent ? "agent" : "init", state,
                         NULL },
             *env[] = { NULL };
  struct csn_caps caps = { 0 };
  long rc;

  run->ctx.detail_len = 0;
  if (run->runner < 0)
    return csn_detail(&run->ctx, -EBADF, "init: no runner", NULL);
  if (agent && (rc = carry_capabilities(&caps)) < 0)
    return csn_detail(&run->ctx, (int)rc, "agent: its capabilities", NULL);
  if ((rc = write_state(run, &caps)) < 0)
    return csn_detail(&run->ctx, (int)rc, "init: the plan in a memfd", NULL);
  csn_append_u64(state, sizeof(state), 0, (u64)run->state);
  rc = csn_sys(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
  for (int i = 0; rc >= 0 && i < CSN_SLOTS; i++)
    if (run->ctx.slots[i] >= 0)
      rc = csn_sys(__NR_fcntl, run->ctx.slots[i], F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, run->sock, F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, run->state, F_SETFD, 0);
  if (rc >= 0)
    rc = block_all();
  run->record->handed_over = 1;
  if (rc >= 0)
    rc = csn_sys(__NR_execveat, run->runner, "", argv, env, AT_EMPTY_PATH);
  run->record->handed_over = 0;
  return csn_detail(&run->ctx, (int)rc, "init: the runner", NULL);
}

#ifdef CSN_RUNNER

/* The state that pid 1 has left in the memfd before its exec; false where it is not whole. */
static bool
read_state(struct csn_run *run, int fd, struct csn_caps *caps)
{
  long size = csn_sys(__NR_lseek, fd, 0, 2 /* SEEK_END */), at;
  const struct state *st;
  const struct csn_plan *p;

  if (size < (long)(sizeof(*st) + sizeof(*p)))
    return false;
  at = csn_sys(__NR_mmap, 0, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at < 0)
    return false;
  csn_close(fd);
  st = (const struct state *)at;
  p = (const struct csn_plan *)(st + 1);
  if (p->magic != CSN_PLAN_MAGIC || p->nprims != csn_nprims() || p->exec >= p->nsteps ||
      (u64)size != state_size(p))
    return false;
  at = csn_sys(__NR_mmap, 0, sizeof(*run->record), PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at < 0)
    return false;
  run->record = (struct csn_record *)at;
  run->record->msg.kind = CSN_MSG_DONE;
  run->record->msg.step = p->nsteps;
  run->record->msg.nskipped = st->nskipped;
  for (u32 i = 0; i < p->nsteps; i++)
    run->record->skipped[i] = ((const u8 *)p)[p->size + i];
  run->plan = p;
  run->sock = st->sock;
  run->runner = -1;
  run->fail_step = st->fail_step;
  run->fail_errno = st->fail_errno;
  run->ctx.base = (const u8 *)p;
  run->ctx.own = st->own;
  caps->inheritable = st->inheritable;
  caps->ambient = st->ambient;
  run->ctx.born = true;
  for (int i = 0; i < CSN_SLOTS; i++)
    run->ctx.slots[i] = st->slots[i];
  return true;
}

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW(nr)                                                                                  \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* no_new_privs comes with it, and after the program's clone, which is to have it only where asked. */
static int
confine(void)
{
  const struct sock_filter code[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    ALLOW(__NR_rt_sigtimedwait),
    ALLOW(__NR_wait4),
    ALLOW(__NR_kill),
    ALLOW(__NR_getpid),
    ALLOW(__NR_exit_group),
    ALLOW(__NR_rt_sigprocmask),
    ALLOW(__NR_read),
    ALLOW(__NR_write),
    ALLOW(__NR_sendto),
    ALLOW(__NR_close),
    ALLOW(__NR_close_range),
    ALLOW(__NR_restart_syscall),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog f = { .len = sizeof(code) / sizeof(code[0]),
                          .filter = (struct sock_filter *)code };
  long rc = csn_sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

  return rc < 0 ? (int)rc : (int)csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f);
}

enum { SOCK, EXECUTED, GO, FIRST_CLOSED }; /* init's descriptors */

/* Lay sock, the end of executed to read from and the end of go to write to on their numbers, and close
 * all else. */
static int
keep_three(int sock, int executed, int go)
{
  const int from[] = { sock, executed, go };
  int high[3];
  long rc = 0;

  for (int i = 0; i < 3 && rc >= 0; i++)
    high[i] = (int)(rc = csn_dup(from[i], FIRST_CLOSED));
  for (int i = 0; i < 3 && rc >= 0; i++)
    rc = csn_sys(__NR_dup3, high[i], i, 0);
  return rc < 0 ? (int)rc : (int)csn_sys(__NR_close_range, FIRST_CLOSED, ~0u, 0);
}

/* The program waits until init is confined. What it holds of executed is closed by its exec or its death,
 * and stands above the numbers that its own descriptors will take. */
_Noreturn static void
program(struct csn_run *run, const int *executed, const int *go)
{
  u32 files = csn_exec_args(run->plan)->files.count;
  char c;

  csn_close(go[1]);
  if (csn_dup(executed[1], files < 3 ? 3 : files) < 0)
    csn_leave(125);
  csn_close(executed[0]);
  csn_close(executed[1]);
  if (CSN_RETRY(csn_sys(__NR_read, go[0], &c, 1)) != 1)
    csn_leave(125);
  csn_close(go[0]);
  csn_last_line(run, 9); /* should init be killed, the program must not stay */
}

/* Returns the program's pid, or -errno; then, as on every failure, nothing of it may stay. A copy, not on
 * shared memory: init must not depend on what the program does with its filter loaded. And clone(2),
 * since a filter that init is under already may know clone3 as something to refuse. */
static int
start_program(struct csn_run *run)
{
  int executed[2], go[2];
  long rc, pid;
  char c;

  if ((rc = csn_sys(__NR_pipe2, executed, O_CLOEXEC)) < 0 ||
      (rc = csn_sys(__NR_pipe2, go, O_CLOEXEC)) < 0)
    return (int)rc;
  pid = csn_sys(__NR_clone, CHLD, 0, 0, 0, 0);
  if (pid == 0)
    program(run, executed, go);
  if (pid < 0)
    return (int)pid;
  if ((rc = keep_three(run->sock, executed[0], go[1])) < 0)
    return (int)rc;
  run->sock = SOCK;
  if ((rc = confine()) < 0)
    return (int)rc;
  if (csn_sys(__NR_write, GO, "", 1) == 1)
    CSN_RETRY(csn_sys(__NR_read, EXECUTED, &c, 1));
  return (int)pid;
}

/* Has it been executed? If not, the report says why. */
static bool
check_program(struct csn_run *run, int pid)
{
  struct csn_msg *m = &run->record->msg;
  s32 status = 0;

  if (pid > 0 && run->record->executing)
    return true;
  m->kind = CSN_MSG_FAILED;
  if (pid < 0) {
    m->step = run->plan->exec;
    m->err = -pid;
    m->detail_len = (u32)csn_append(m->detail, sizeof(m->detail), 0, "init");
  } else if (m->err == 0) { /* it has left no word */
    CSN_RETRY(csn_sys(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0));
    m->signal = status & 0x7f;
  }
  return false;
}

/* The host, if it is there still, is told what an exit code can't say. */
_Noreturn static void
end_as(s32 status)
{
  struct csn_msg m = { .kind = CSN_MSG_ENDED, .err = status };
  s32 sig = status & 0x7f;
  u64 none = 0;

  csn_send_msg(SOCK, &m);

  if (!sig)
    csn_leave(status >> 8 & 0xff);
  if (csn_sys(__NR_getpid, 0) != 1) {
    csn_sys(__NR_rt_sigprocmask, SET_MASK, &none, NULL, 8);
    csn_sys(__NR_kill, csn_sys(__NR_getpid, 0), sig);
  }
  csn_leave(128 + sig);
}

static void
reap(s32 watched)
{
  s32 status = 0;
  long pid;

  while ((pid = csn_sys(__NR_wait4, -1, &status, 1 | 0x40000000 /* WNOHANG | __WALL */, 0)) > 0)
    if (pid == watched)
      end_as(status);
}

/* What the terminal sends to its whole foreground group, the program has got by itself. */
static bool
from_terminal(const s32 *info)
{
  s32 sig = info[0], code = info[2];

  return code > 0 && sig != 1 /* HUP: to the session's leader alone */;
}

_Noreturn static void
watch(s32 watched)
{
  u64 all = ~0ull;
  s32 info[32]; /* siginfo_t: 128 bytes; signo, errno, code */

  for (;;) {
    long sig = csn_sys(__NR_rt_sigtimedwait, &all, info, NULL, 8);

    if (sig == CHLD)
      reap(watched);
    else if (sig > 0 && !from_terminal(info))
      csn_sys(__NR_kill, watched, sig);
  }
}

bool
csn_take_over(struct csn_run *run, int state, const char *name, struct csn_caps *caps)
{
  char c;

  if (csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || block_all() < 0 ||
      !read_state(run, state, caps))
    return false;
  csn_sys(__NR_prctl, PR_SET_NAME, name, 0, 0, 0);
  /* Exec may have cleared it, and the host may have died in between. */
  return csn_sys(__NR_prctl, PR_SET_PDEATHSIG, csn_exec_args(run->plan)->death_signal, 0, 0, 0) >=
             0 &&
         csn_sys(__NR_recvfrom, run->sock, &c, 1, 0x42 /* MSG_PEEK | MSG_DONTWAIT */, 0, 0) ==
             -EAGAIN;
}

_Noreturn void
csn_init_main(struct csn_run *run, int state)
{
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    u64 mask;
  } by_default = { 0 };
  struct csn_caps caps;
  int pid;

  if (!csn_take_over(run, state, "caisson-init", &caps))
    csn_leave(125);
  if (csn_sys(__NR_getpid, 0) != 1 && csn_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
    csn_leave(125);
  /* Ignored, as the host may have it, it would take the program's status away. */
  csn_sys(__NR_rt_sigaction, CHLD, &by_default, NULL, 8);
  pid = start_program(run);
  if (!check_program(run, pid)) {
    csn_send_report(run);
    csn_leave(125);
  }
  csn_send_report(run);
  csn_sys(__NR_close_range, SOCK + 1, ~0u, 0);
  watch(pid);
}

#endif
