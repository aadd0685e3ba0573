/* SPDX-License-Identifier: MIT
 *
 * A plan as bytes: header, steps, arguments, strings, in one block with offsets and no pointers. It is
 * read-only: two threads may run one plan at once. What belongs to one run is in struct csn_run.
 */
#ifndef CSN_PLAN_H
#define CSN_PLAN_H

#include "prim.h"

#pragma GCC visibility push(hidden)

#define CSN_PLAN_MAGIC 0x314e5343u /* "CSN1" */
#define CSN_MAX_STEPS 16384
#define CSN_MAX_PLAN (64u << 20)

#define CSN_STEP_OPTIONAL 1

struct csn_step {
  u16 prim; /* index in csn_prims, which is the same in library and runner: one build, one link order */
  u8 side, flags;
  u32 args; /* offset of its struct NAME_args */
};

struct csn_plan {
  u32 magic, size;
  u32 nsteps, steps;
  u32 clone, wait, exec; /* step numbers, 0-based; nsteps where the plan has none */
  u32 last;              /* the first of the CSN_LAST steps that stand right before exec */
  u32 nslots, slots;     /* names of the slots from CSN_SLOT_FIRST_FREE on: struct csn_str each */
  u32 nprims;            /* of the build that made it */
  u64 later;             /* the slots that the steps from wait, or else from last, on know */
};

static inline const struct csn_step *
csn_plan_step(const struct csn_plan *p, u32 i)
{
  return (const struct csn_step *)((const u8 *)p + p->steps) + i;
}

static inline const struct csn_primitive *
csn_step_prim(const struct csn_step *s)
{
  return __start_csn_prims[s->prim];
}

/* ---- the engine's actions: their arguments ---- */

/* clone: the child, with its new namespaces. Steps of the child's side before it are applied by the
 * child's creator (the runner, or the fork), which is how existing namespaces are joined. copy: the child
 * has a copy of its creator's memory, where others in its pid namespace may have power over it; then it is its
 * creator that is born into the group, before the steps that may take the right to that away. */
#define CLONE(F)                                                                                   \
  F(flags, namespaces, 0, csn_namespace_words, 0)                                                  \
  F(slot, cgroup, 0, NULL, (u64)-1)                                                                \
  F(bool, copy, 0, NULL, 0)
CSN_ARGS(engine_clone, CLONE)

/* lua: a function of the run, by its name there. */
#define LUA(F) F(str, name, CSN_REQUIRED, NULL, 0)
CSN_ARGS(engine_lua, LUA)

/* send: a copy of the child's descriptor goes to the host, into the same slot of the run there; with close the
 * child has none any more. attend: the host's function to be called whenever the descriptor is readable, until the
 * slot is empty or the child is made. */
#define SEND(F)                                                                                    \
  F(slot, fd, CSN_REQUIRED, NULL, 0)                                                               \
  F(bool, close, 0, NULL, 0)                                                                       \
  F(str, attend, 0, NULL, 0)
CSN_ARGS(engine_send, SEND)

/* wait: here the child waits for its start, on a listening socket. What stands behind it is applied then; what is
 * the parent's there, behind a courier alone, by who starts it. */
#define WAIT(F) F(slot, start, CSN_REQUIRED, NULL, 0)
CSN_ARGS(engine_wait, WAIT)

static inline const struct engine_wait_args *
csn_wait_args(const struct csn_plan *p)
{
  return (const struct engine_wait_args *)((const u8 *)p + csn_plan_step(p, p->wait)->args);
}

/* courier: what a filter and the steps around it have to say is said without a system call of the child's
 * (courier.c). apart: for who is to join namespaces, and can't have a thread. */
#define COURIER(F) F(bool, apart, 0, NULL, 0)
CSN_ARGS(engine_courier, COURIER)

/* stop: the child stops (SIGSTOP), and goes on once the parent's steps that follow have been done. */
#define STOP(F)
CSN_ARGS(engine_stop, STOP)

/* exec: the program. files[i] is the slot that becomes descriptor i ("-": closed). With init the child
 * stays as init (init.c), and the program is its child. With agent it stays too, and runs what the host sends
 * it (agent.c); argv then is a name for the plan's reader alone. home: HOME as /etc/passwd has it, where env
 * has none. */
#define EXEC(F)                                                                                    \
  F(strs, argv, CSN_REQUIRED, NULL, 0)                                                             \
  F(strs, env, 0, NULL, 0)                                                                         \
  F(path, path, 0, NULL, 0)                                                                        \
  F(slot, fd, 0, NULL, (u64)-1)                                                                    \
  F(slots, files, 0, NULL, 0)                                                                      \
  F(word, death_signal, CSN_NUM, csn_signal_words, 9)                                              \
  F(flags, blocked, 0, csn_sigset_words, 0)                                                        \
  F(bool, init, 0, NULL, 0)                                                                        \
  F(bool, agent, 0, NULL, 0)                                                                       \
  F(bool, home, 0, NULL, 0)
CSN_ARGS(engine_exec, EXEC)

static inline const struct engine_exec_args *
csn_exec_args(const struct csn_plan *p)
{
  return (const struct engine_exec_args *)((const u8 *)p + csn_plan_step(p, p->exec)->args);
}

/* Without exec the child ends with its last step, a function: it runs in a fork. */
static inline bool
csn_only_calls(const struct csn_plan *p)
{
  const struct csn_step *last;

  if (p->exec < p->nsteps || !p->nsteps)
    return false;
  last = csn_plan_step(p, p->nsteps - 1);
  return last->side == CSN_CHILD && csn_step_prim(last)->action == CSN_ACT_LUA;
}

/* The child goes on in the runner's program, with its socket. */
static inline bool
csn_stays(const struct csn_plan *p)
{
  return p->exec < p->nsteps && (csn_exec_args(p)->init || csn_exec_args(p)->agent);
}

extern const struct csn_word csn_namespace_words[], csn_signal_words[], csn_sigset_words[];

/* ---- one run ---- */

enum {
  CSN_MSG_HELLO = 1,
  CSN_MSG_CREATOR, /* its pidfd comes along: the runner's child that makes the plan's */
  CSN_MSG_SYNC,
  CSN_MSG_SLOT,
  CSN_MSG_STOP,
  CSN_MSG_TRACE, /* the child is there, and waits for whoever is to see all that it does; exec_ns: see csn_run */
  CSN_MSG_SKIP, /* a step of the parent's that is to be left out, as who stands at a breakpoint wants it */
  CSN_MSG_DONE,
  CSN_MSG_FAILED,
  CSN_MSG_ENDED
};

/* The one message between child, runner and host; fixed size, one send, one receive. */
struct csn_msg {
  u32 kind;
  u32 step; /* 0-based; nsteps: before or outside any step; of SLOT: the send, whose descriptor comes along */
  s32 err;     /* positive errno */
  s32 pid;     /* of the child, as its creator sees it */
  s32 signal;  /* that killed the program of an init before it was executed */
  u64 exec_ns; /* CLOCK_MONOTONIC right before exec */
  u32 nskipped;
  u32 detail_len;
  char detail[CSN_DETAIL];
};

/* What the host sends: the run record with the plan's first CSN_CHUNK bytes, then the rest in chunks. */
#define CSN_CHUNK 65536
struct csn_run_header {
  u32 plan_size; /* the plan behind it begins at a multiple of 16 */
  s32 runner; /* descriptor of the runner's program, where the child is to go on in it; else -1 */
  u32 fail_step; /* fault injection: this step (0-based) fails with fail_errno; none where 0 */
  s32 fail_errno;
  u32 traced; /* the child says when it is there (CSN_MSG_TRACE) */
  s32 times;  /* a memfd for struct csn_times, or -1 */
  u32 passed; /* so many descriptors come with it (slots, runner, times): their numbers here are the host's */
  u32 enter; /* without a plan, which comes later: namespaces to be in by then */
  s32 slots[CSN_SLOTS];
};

/* When things happened, by the processor's own counter, which asks no kernel; 0: not. Only where that is wanted. */
struct csn_times {
  u64 born, executed;
  struct {
    u64 began, ended;
  } steps[];
};

static inline u64
csn_counter(void)
{
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  u64 v;

  __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(v));
  return v;
#endif
}

static inline size_t
csn_times_size(const struct csn_plan *p)
{
  return sizeof(struct csn_times) + p->nsteps * sizeof(((struct csn_times *)0)->steps[0]);
}

/* Of record->msg.step: who goes along with the construction stands before that step. */
#define CSN_PAUSED 0x80000000u

/* courier.c: between the child and its courier. */
struct csn_courier {
  u32 word, step;
  s32 fd, rc, tid, maker;
  bool apart, served;
};

/* Shared between a child and its creator, so that what the child reports needs no system call that
 * its own seccomp filter might deny. */
struct csn_record {
  struct csn_msg msg;
  s32 tid;         /* filled by the kernel (CLONE_PARENT_SETTID) */
  u32 executing;   /* the child is about to exec */
  u32 announced;   /* the host has been told of a creator that is not the runner */
  u32 handed_over; /* the child goes on in the runner's program, and reports for itself */
  struct csn_courier courier;
  u8 skipped[CSN_MAX_STEPS]; /* errno of an optional step that was left out */
};

/* The sets of capabilities to go back to, for who had to carry others over the exec. */
struct csn_caps {
  u64 permitted, inheritable, ambient;
};

struct csn_run {
  const struct csn_plan *plan;
  struct csn_ctx ctx;
  struct csn_record *record;
  int sock;   /* to the host */
  int answer; /* to who has started the container, behind wait; else -1 */
  int line; /* the child's own, of the two: where it is no number that the program's descriptors take */
  int runner;        /* the runner's program, or -1 */
  int state;         /* for handover.c, a memfd made before any step could limit files */
  u64 entered;       /* namespaces that the creator has made for the child already */
  bool in_group;     /* the creator was born into the child's group */
  bool unshare_time; /* the child makes its time namespace itself */
  bool pooled; /* the child of an agent, which is process 1: signals are at their default, none but
                      * the agent's death matters, and that ends the namespace */
  struct csn_caps caps; /* of an agent, and of who waits, over its exec */
  u32 served; /* the parent's steps below this one were done while the child was stopped */
  u32 fail_step;
  s32 fail_errno;
  bool
      traced; /* the host is told where in this memory it stands which step is at work: record->msg.step */
  /* A fork's, before each step: 1: it is to be left out; 0; -errno. Those behind `last` are asked about before all
   * of them, while the child may still make any call. */
  int (*before)(struct csn_run *run, u32 step);
  struct csn_times *times; /* shared with the host, or NULL */
  int times_fd;
  /* The library's fork runs Lua steps; the runner has none. */
  int (*lua_step)(struct csn_run *run, const char *name);
  void *lua;
};

/* Apply one step of this process's side: 0 or -errno; an optional step that fails is noted. */
int csn_apply_step(struct csn_run *run, u32 i);

/* Make the child of a plan and see it as far as exec; the caller then leaves. Runs in the runner, whose
 * memory the child shares, or in a fork of the host. */
void csn_make_child(struct csn_run *run);

/* message.c */
int csn_send_msg(int sock, const struct csn_msg *m);
int csn_send_fd(int sock, const void *m, size_t n, int fd);
/* A message: its size or -errno. *fd: what came with it, close-on-exec, above the standard streams; negative: none. */
int csn_recv(int sock, void *buf, size_t size, int *fd, int flags);
/* A message of two parts with up to CSN_SLOTS + 2 descriptors; flags: MSG_DONTWAIT. 0 or -errno. */
int csn_send_fds(int sock, const void *head, size_t head_size, const void *rest, size_t size,
                 const s32 *fds, u32 n, int flags);
/* As csn_recv(), with any number of descriptors, up to max, as they are numbered here; flags: MSG_CMSG_CLOEXEC. -EBADMSG: not whole. */
int csn_recv_fds(int sock, void *buf, size_t size, s32 *fds, u32 max, u32 *got, int flags);
int csn_recv_fd(int sock); /* the descriptor that came with one byte, close-on-exec, or -errno */

/* Parts of the child's line. */
void csn_child_steps(struct csn_run *run, u32 from, u32 to); /* it leaves where one fails */
void csn_send_report(struct csn_run *run);
void csn_send_skipped(struct csn_run *run); /* its second part */
u64 csn_now_ns(void);
_Noreturn void csn_leave(int status);
_Noreturn void csn_fail(struct csn_run *run, u32 step, int err); /* into the record, and leave */
_Noreturn void csn_last_line(struct csn_run *run, u64 death_signal); /* the last steps, and exec */

/* The child's side of a send, and of the parent's steps; 0 or -errno. */
int csn_send_slot(struct csn_run *run, u32 step, int fd, bool close);
int csn_sync_with_host(struct csn_run *run, u32 step);

/* courier.c; 0 or -errno. Without one there is nothing to end. */
int csn_courier_start(struct csn_run *run, bool apart);
int csn_courier_send(struct csn_run *run, u32 step, int fd, bool close);
int csn_courier_sync(struct csn_run *run, u32 step);
void csn_courier_end(struct csn_run *run);

/* handover.c: room for what goes over the exec of the runner's program; 0 or -errno. */
int csn_prepare_handover(struct csn_run *run);
/* Go on there, as mode; returns -errno only. */
int csn_hand_over(struct csn_run *run, const char *mode);
/* wait.c: go on there until the start; returns -errno only. */
int csn_wait_for_start(struct csn_run *run);

#ifdef CSN_RUNNER
/* Where the host wants to know when things happen: map its memfd, which stays open, close-on-exec. */
void csn_map_times(struct csn_run *run, int fd);
/* There: the run that was handed over in the descriptor state, all signals blocked; name: of the process. */
void csn_take_over(struct csn_run *run, int state, const char *name);
/* Take back what had to be carried over that exec; without: capabilities that go for good. 0 or -errno. */
int csn_settle_capabilities(const struct csn_caps *before, u64 without);
/* Exec may have cleared the death signal, and the host may have died in between. */
void csn_die_with_host(struct csn_run *run, u64 death_signal);
_Noreturn void csn_end_by(s32 sig); /* as a process that a signal ends; pid 1: by exit code */

_Noreturn void csn_init_main(struct csn_run *run, int state);
_Noreturn void csn_init(struct csn_run *run); /* its program is still to be started */
_Noreturn void csn_wait_main(struct csn_run *run, int state);
_Noreturn void csn_agent_main(struct csn_run *run, int state);
#endif

#pragma GCC visibility pop

#endif
