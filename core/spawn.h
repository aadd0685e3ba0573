/* SPDX-License-Identifier: MIT
 * One run of a plan, as the host holds it: between spawn.c, which makes it, and process.c, its object. */
#ifndef CSN_SPAWN_H
#define CSN_SPAWN_H

#include "csn.h"
#include <poll.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* How a process ended. */
struct csn_ending {
  int code, signal;
  bool core_dumped, stolen; /* stolen: another took its status, and with it the usage */
  u64 user_us, system_us, maxrss_kb;
};

struct csn_spawn {
  const struct csn_plan *plan;
  struct csn_ctx ctx; /* of the parent's side */
  struct csn_run_header header;
  lua_State *L;         /* while it is being constructed */
  int functions, entry; /* places on its stack: the run's functions, what a fork calls first */
  int before, attach,
      timed; /* and what is called before each step, of a child that is to be traced, of each step here */
  int stamped;   /* what is called with them in the end */
  int meanwhile; /* what is called once while nobody waits for this side, 0: it has been */
  struct csn_times *times; /* when things happened, or NULL */
  u64 counter0;            /* of csn_counter(), at start_ns */
  int child_sock;
  bool fork;
  int sock, pidfd, runner,
      creator;      /* pidfds, like the child's; creator: where that is not the runner */
  int cancel;       /* the caller's: construction is given up when it becomes readable; -1: none */
  lua_Number late;  /* seconds for which it is still looked whether the program is there */
  pid_t pid, owner; /* owner: the process that made the object; a forked copy does nothing */
  u32 attends;      /* the send step whose descriptor is attended to, from 1 on; 0: none */
  bool unattended;  /* that has failed */
  u64 start_ns, exec_ns;
  bool failed;
  bool traced; /* by the thread that starts it, before its exec */
  u32 fail_step;
  int fail_errno, died_by;
  u8 *done, *skipped;    /* one a step */
  bool detached;         /* goes on without this object */
  bool reaped, init;     /* init: what was started stays as the program's parent */
  bool waiting, kept;    /* it waits for its start, and for its host to keep it */
  struct csn_ending end; /* once reaped; stolen: by the host */
  bool listed;           /* joined.c's */
  struct csn_spawn *next;
  bool pid_here; /* pid is that of this process's namespace, where an agent told it */
  struct csn_agent
      *agent; /* a run in a pooled container: the agent is the parent, and tells of its end */
};

struct csn_spawn *csn_newprocess(lua_State *L, const struct csn_plan *p); /* its plan is at 2 */
struct csn_spawn *csn_check_process(lua_State *L, int idx);
void csn_release_process(struct csn_spawn *s); /* descriptors and memory; not the child */

/* ending.c. The child's pidfd comes with its first message; without (no descriptor was free) one is opened. 0 or
 * -errno. */
int csn_remember_child(struct csn_spawn *s, s32 pid);
/* Is it the word of a creator that is not the runner? It speaks before the child does. */
bool csn_is_creator(const struct csn_spawn *s, const struct csn_msg *m, int size, int fd);
void csn_take_creator(struct csn_spawn *s, int fd);
void csn_reap_runner(struct csn_spawn *s);
void csn_kill_child(struct csn_spawn *s);
void
csn_abandon(struct csn_spawn *s); /* kill what was started, reap it, take back the parent's steps */
/* Around a fork of the host in which Lua is to run: see spawn.c. In the fork SIGALRM may end it. */
void csn_before_fork(void);
void csn_after_fork(lua_State *L);
bool csn_in_helper(void); /* helper.c: is this process one? */

static inline void
csn_set_failure(struct csn_spawn *s, u32 step, int err)
{
  s->failed = true;
  s->fail_step = step;
  s->fail_errno = err;
}

/* attend.c. Answer the child until it has become the program, or has failed. */
void csn_attend(struct csn_spawn *s);
/* What the host does while the child is being made, if it has not yet; 0 or -errno. */
int csn_meanwhile(struct csn_spawn *s);
/* A message: its size, 0 at the end, -errno; *fd: the descriptor that came with it, else -1. */
int csn_receive(struct csn_spawn *s, void *buf, size_t size, int *fd);
/* The descriptor that is attended to, or -1. */
int csn_attended(const struct csn_spawn *s);
/* What the step sent goes into its slot; 0 or -errno. The descriptor is ours to keep or to close. */
int csn_take_slot(struct csn_spawn *s, u32 step, int fd);

/* host_steps.c. Before one of this side's that needs no child, who is to be asked is; 0 or -errno. */
int csn_ask_before(struct csn_spawn *s, u32 step);
/* One step of the parent's side, noted to be undone; 0 or -errno. */
int csn_parent_step(struct csn_spawn *s, u32 i);
/* The parent's steps from first on; *at: the last that was tried. 0 or -errno. */
int csn_parent_steps(struct csn_spawn *s, u32 first, s64 *at);
void csn_undo(struct csn_spawn *s); /* take back the parent's steps, last first */

/* times.c */
u64 csn_monotonic_ns(void);
/* A step of this side's, for who wants to know: its number, when it began, how long it took, its errno. */
void csn_tell_time(struct csn_spawn *s, u32 step, u64 began, int rc);
int csn_make_times(struct csn_spawn *s); /* room for when things happen; 0 or -errno */
void csn_tell_times(struct csn_spawn *s);

/* launch.c: a program of ours as a sealed descriptor, or -errno. */
int csn_sealed_program(const char *name, const u8 *start, const u8 *end);
/* The runner's program, a descriptor made once for the process, or -errno. */
int csn_runner(void);
/* What to say of such an error of its. */
const char *csn_runner_trouble(int err);
/* The beginning of a hash of its bytes. */
u64 csn_build(void);
/* Start it with its end of the socket. The first message (the run record and the plan's beginning) is there
 * before the runner is, which so need not wait. 0 or -errno. */
int csn_send_first(struct csn_spawn *s);
int csn_start_runner(struct csn_spawn *s, int sock);
int csn_send_rest(struct csn_spawn *s);
/* ahead.c: a runner that is started before its plan is there, the Lua state's own. */
struct csn_ahead {
  pid_t owner, maker; /* owner: 0: there is none; maker: whose memory this is */
  int sock, runner;
  u64 namespaces;
  u32 busy;                                 /* it runs on this stack: not executed yet */
  u8 start[64] __attribute__((aligned(8))); /* what it is to do */
  u8 stack[16384] __attribute__((aligned(16)));
};
int csn_start_ahead(struct csn_ahead *a);
/* Has the run one, and with it the first message? */
bool csn_take_ahead(struct csn_spawn *s);

/* fork.c: the fork in place of the runner, with its end of the socket; 0 or -errno. */
int csn_start_fork(struct csn_spawn *s, int child_sock);
int csn_forked(lua_State *L); /* its whole life, for the caller to push while that may raise */
/* Call the run's function called name with the child's pid; 0 or -errno, its message in the detail. */
int csn_call_lua(struct csn_spawn *s, struct csn_ctx *c, const char *name);
/* Call what stands at s->before: 1: the step is to be left out; 0; -errno. */
int csn_call_before(struct csn_spawn *s, struct csn_ctx *c, u32 step, bool born);
/* Call what stands there with some numbers; 0 or -errno. */
int csn_call_at(struct csn_spawn *s, struct csn_ctx *c, int at, int n, const lua_Number *args);

/* failure.c: push nil, message, errno, failure. */
int csn_push_failure(lua_State *L, struct csn_spawn *s);

/* pidfd.c. 1 once it has ended, and is reaped if it was this process's child; 0: not yet, where it is not to
 * block; -ECHILD: another's child, and the kernel knows no status (yet). */
int csn_reap_pidfd(int pidfd, struct csn_ending *e, bool block);
void csn_push_ending(lua_State *L, const struct csn_ending *e);
/* poll(2) until something is ready or the seconds are over, whatever signals come (restart); -errno. */
int csn_poll_for(struct pollfd *fds, nfds_t n, lua_Number seconds, bool restart);

/* joined.c. Of this process's children those that have joined a pid namespace: they are reaped by whoever waits. */
void csn_joined_add(struct csn_spawn *s);         /* if its plan does */
void csn_joined_remove(struct csn_spawn *s);      /* its object ends */
void csn_joined_leave(const struct csn_spawn *s); /* the same of one that goes on */
int csn_joined_reap(struct csn_spawn *s);         /* as csn_reap_pidfd(), without blocking */
bool csn_joined_sweep(void);                      /* is any left? */

/* agent_host.c. What to poll for the end of its run; 1: it has ended, 0: not yet; end all of it. */
int csn_agent_fd(const struct csn_agent *a);
int csn_agent_reap(struct csn_agent *a, struct csn_spawn *s, bool block);
int csn_agent_kill(struct csn_agent *a);

#pragma GCC visibility pop

#endif
