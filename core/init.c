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
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#ifdef CSN_RUNNER

#define CHLD 17

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

enum { SOCK, EXECUTED, GO, ANSWER, FIRST_CLOSED }; /* init's descriptors */

/* Lay them on their numbers, and close all else. Who has no host any more has no sock, and no answer is due
 * where it never waited. */
static int
keep_four(int sock, int executed, int go, int answer)
{
  const int from[] = { sock, executed, go, answer };
  int high[4];
  long rc = 0;

  for (int i = 0; i < FIRST_CLOSED && rc >= 0; i++)
    high[i] = from[i] < 0 ? -1 : (int)(rc = csn_dup(from[i], FIRST_CLOSED));
  for (int i = 0; i < FIRST_CLOSED && rc >= 0; i++)
    if (high[i] < 0)
      csn_close(i);
    else
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
  if ((rc = keep_four(run->sock, executed[0], go[1], run->answer)) < 0)
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

  csn_send_msg(SOCK, &m);
  if (!(status & 0x7f))
    csn_leave(status >> 8 & 0xff);
  csn_end_by(status & 0x7f);
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

_Noreturn void
csn_init(struct csn_run *run)
{
  int pid;

  csn_sys(__NR_prctl, PR_SET_NAME, "caisson-init", 0, 0, 0);
  if (csn_sys(__NR_getpid, 0) != 1 && csn_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
    csn_leave(125);
  pid = start_program(run);
  if (!check_program(run, pid)) {
    if (run->answer < 0)
      csn_send_report(run);
    csn_leave(125);
  }
  if (run->times)
    run->times->executed = csn_counter();
  /* Who started it hears of it by this, the end of its answer. */
  csn_sys(__NR_close_range, SOCK + 1, ~0u, 0);
  if (run->answer < 0)
    csn_send_report(run);
  watch(pid);
}

_Noreturn void
csn_init_main(struct csn_run *run, int state)
{
  csn_take_over(run, state, "caisson-init");
  csn_die_with_host(run, csn_exec_args(run->plan)->death_signal);
  csn_init(run);
}

#endif
