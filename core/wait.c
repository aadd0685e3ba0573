/* SPDX-License-Identifier: MIT
 *
 * wait: a container that is made, and waits for its start. The child goes on in the runner's program, which
 * listens on a socket that anybody finds who may enter the container's folder. First its host has to keep
 * it; should the host die before, the child ends too. Who starts it sends a memfd for the record: in there
 * stands what became of the steps behind wait and of exec, once the connection is at its end.
 */
#include "plan.h"
#include <asm/socket.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include "exec.h"

CSN_ACTION(engine_wait, "wait", WAIT, CSN_CHILD, CSN_ACT_WAIT, "$start")

int
csn_wait_for_start(struct csn_run *run)
{
  const struct engine_wait_args *a = csn_wait_args(run->plan);
  int rc;

  if (run->ctx.slots[a->start] < 0)
    return csn_detail(&run->ctx, -EBADF, "no descriptor in the slot", NULL);
  if ((rc = csn_exec_check(csn_exec_args(run->plan), &run->ctx)) < 0)
    return rc;
  return csn_hand_over(run, "wait");
}

#ifdef CSN_RUNNER

#define CHLD 17
#define OVERFLOW_ID 65534

/* Whose connection it is: the folder's permissions have let it through, but nobody from inside the container
 * starts it. An id of 65534 is one that the container has no name for. */
static bool
may_start(int conn, u32 owner)
{
  struct {
    s32 pid;
    u32 uid, gid;
  } peer = { 0 };
  u32 size = sizeof(peer);

  if (csn_sys(__NR_getsockopt, conn, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
    return false;
  if (csn_sys(__NR_getpid, 0) == 1 && peer.pid != 0)
    return false;
  return peer.uid == owner || peer.uid == 0 || peer.uid == OVERFLOW_ID;
}

static u32
owner_of(int sock)
{
  u32 peer[3] = { 0, 0, 0 }, size = sizeof(peer);

  csn_sys(__NR_getsockopt, sock, SOL_SOCKET, SO_PEERCRED, peer, &size);
  return peer[1];
}

/* The record that comes over the connection is the run's from now on. */
static bool
take_record(struct csn_run *run, int conn)
{
  CSN_CLEANUP_FD int fd = csn_recv_fd(conn);
  long at;

  if (fd < 0 || csn_sys(__NR_lseek, fd, 0, 2 /* SEEK_END */) != sizeof(*run->record))
    return false;
  at = csn_sys(__NR_mmap, 0, sizeof(*run->record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at < 0)
    return false;
  run->record = (struct csn_record *)at;
  run->record->msg.kind = CSN_MSG_DONE;
  run->record->msg.step = run->plan->nsteps;
  return true;
}

/* What would end another process ends this one, though pid 1 is spared it by the kernel; what is orphaned
 * in the container is reaped. */
static void
heed(int signals)
{
  u32 info[32]; /* struct signalfd_siginfo; signo first */
  long n;

  while ((n = csn_sys(__NR_read, signals, info, sizeof(info))) == sizeof(info))
    switch (info[0]) {
    case CHLD:
      while (csn_sys(__NR_wait4, -1, NULL, 1 | 0x40000000 /* WNOHANG | __WALL */, 0) > 0)
        ;
      break;
    case 18: /* CONT, and what stops: nothing is to be stopped here */
    case 20:
    case 21:
    case 22:
    case 23: /* URG */
    case 28: /* WINCH */
      break;
    default:
      csn_end_by((s32)info[0]);
    }
}

/* The host's word, or its end. Once the container is kept, the host knows so before it goes. */
static void
hear_host(struct csn_run *run, bool *kept)
{
  char c;

  if (csn_sys(__NR_recvfrom, run->sock, &c, 1, 0, 0, 0) != 1) {
    if (!*kept)
      csn_leave(125);
    csn_close(run->sock);
    run->sock = -1;
    return;
  }
  if (csn_sys(__NR_prctl, PR_SET_PDEATHSIG, csn_exec_args(run->plan)->death_signal, 0, 0, 0) < 0)
    csn_leave(125);
  *kept = true;
  csn_sys(__NR_sendto, run->sock, &c, 1, 0x4000 /* MSG_NOSIGNAL */, 0, 0);
}

/* Until somebody starts the container; returns the connection. */
static int
await_start(struct csn_run *run, int listener, int signals)
{
  u32 owner = owner_of(run->sock);
  bool kept = false;
  int conn = -1;

  for (;;) {
    struct pollfd fds[] = {
      { .fd = signals, .events = POLLIN },
      { .fd = run->sock, .events = POLLIN },
      { .fd = kept && conn < 0 ? listener : -1, .events = POLLIN },
      { .fd = conn, .events = POLLIN },
    };

    if (csn_sys(__NR_ppoll, fds, 4, NULL, NULL, 8) < 0)
      continue;
    if (fds[0].revents)
      heed(signals);
    if (fds[1].revents)
      hear_host(run, &kept);
    if (fds[2].revents) {
      conn = (int)csn_sys(__NR_accept4, listener, NULL, NULL, O_CLOEXEC);
      if (conn >= 0 && !may_start(conn, owner)) {
        csn_close(conn);
        conn = -1;
      }
    }
    if (fds[3].revents) {
      if (take_record(run, conn))
        return conn;
      csn_close(conn);
      conn = -1;
    }
  }
}

/* The rest of the child's line. The connection stands above the numbers that the program's descriptors will
 * take, and ends with its exec, or with this process. */
_Noreturn static void
go_on(struct csn_run *run, int conn)
{
  const struct csn_plan *p = run->plan;
  const struct engine_exec_args *exec = csn_exec_args(p);

  run->answer = csn_dup(conn, exec->files.count < 3 ? 3 : (int)exec->files.count);
  if (run->answer < 0)
    csn_fail(run, p->wait, run->answer);
  csn_close(conn);
  csn_child_steps(run, p->wait + 1, p->last);
  run->record->msg.step = p->last;
  if (exec->init)
    csn_init(run);
  csn_last_line(run, exec->death_signal);
}

/* The host's standard streams: what the program is to have of them is in slots. */
static void
close_streams(const struct csn_run *run)
{
  for (int fd = 0; fd <= 2; fd++) {
    bool used = run->sock == fd;

    for (int i = 0; i < CSN_SLOTS; i++)
      used = used || run->ctx.slots[i] == fd;
    if (!used)
      csn_close(fd);
  }
}

_Noreturn void
csn_wait_main(struct csn_run *run, int state)
{
  u64 all = ~0ull;
  s32 *start;
  int signals, conn;

  csn_take_over(run, state, "caisson-wait");
  csn_die_with_host(run, 9);
  close_streams(run);
  start = &run->ctx.slots[csn_wait_args(run->plan)->start];
  signals = csn_settle_capabilities(&run->caps, 0);
  if (signals >= 0)
    signals = (int)csn_sys(__NR_signalfd4, -1, &all, 8, O_CLOEXEC | O_NONBLOCK);
  if (signals < 0) {
    run->record->msg.kind = CSN_MSG_FAILED;
    run->record->msg.step = run->plan->wait;
    run->record->msg.err = -signals;
    csn_send_report(run);
    csn_leave(125);
  }
  csn_send_report(run);
  conn = await_start(run, *start, signals);
  csn_close(signals);
  csn_close(*start);
  *start = -1;
  go_on(run, conn);
}

#endif
