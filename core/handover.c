/* SPDX-License-Identifier: MIT
 *
 * A child that goes on in the runner's program, executed once more: as the one that waits for its start
 * (wait.c), or as init (init.c). So it holds nothing of the host, and has let go of its creator's memory.
 * What it has to know goes over the exec in a memfd.
 */
#include "plan.h"
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/prctl.h>

/* In the memfd: this, the plan, one byte a step of what was left out. */
struct state {
  u32 fail_step;
  s32 fail_errno;
  s32 sock;
  s32 times; /* a memfd, or -1 */
  u32 nskipped;
  u32 unused;
  u64 own;
  struct csn_caps caps;
  s32 slots[CSN_SLOTS];
};

#define CHLD 17
#define SET_MASK 2

static size_t
state_size(const struct csn_plan *p)
{
  return sizeof(struct state) + p->size + p->nsteps;
}

static int
no_room(struct csn_run *run, long rc)
{
  return csn_detail(&run->ctx, (int)rc, "the plan in a memfd, for the runner", NULL);
}

int
csn_prepare_handover(struct csn_run *run)
{
  long rc = run->state = (int)csn_sys(__NR_memfd_create, "caisson", 1 /* MFD_CLOEXEC */);

  if (rc >= 0)
    rc = csn_sys(__NR_ftruncate, run->state, state_size(run->plan));
  return rc < 0 ? no_room(run, rc) : 0;
}

static int
write_state(const struct csn_run *run)
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
  st->times = run->times ? run->times_fd : -1;
  st->nskipped = run->record->msg.nskipped;
  st->own = run->ctx.own;
  st->caps = run->caps;
  for (int i = 0; i < CSN_SLOTS; i++)
    st->slots[i] = run->ctx.slots[i];
  for (u32 i = 0; i < run->plan->size; i++)
    *rest++ = ((const u8 *)run->plan)[i];
  for (u32 i = 0; i < run->plan->nsteps; i++)
    *rest++ = run->record->skipped[i];
  return (int)csn_sys(__NR_munmap, at, size);
}

static long
block_all(void)
{
  u64 all = ~0ull;

  return csn_sys(__NR_rt_sigprocmask, SET_MASK, &all, NULL, 8);
}

static u64
both(u32 low, u32 high)
{
  return (u64)high << 32 | low;
}

/* Exec gives root all that is inheritable, as if the file had it. */
static bool
is_root(void)
{
  u32 real = 1, effective = 1, saved = 1;

  return csn_sys(__NR_getresuid, &real, &effective, &saved) == 0 && !real && !effective &&
         csn_sys(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0) % 2 == 0 /* SECBIT_NOROOT */;
}

/* Who goes on need not be root inside; by their ambience its capabilities outlive the exec. What was there
 * before is for csn_settle_capabilities() to restore. */
static int
carry_capabilities(struct csn_caps *before)
{
  struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct sets[2] = { { 0 } };
  long rc = csn_sys(__NR_capget, &head, sets);

  before->permitted = both(sets[0].permitted, sets[1].permitted);
  before->inheritable = both(sets[0].inheritable, sets[1].inheritable);
  for (int i = 0; i < 2; i++)
    sets[i].inheritable |= sets[i].permitted;
  for (int cap = 0; cap < 64 && rc >= 0; cap++) /* ambient is nothing else */
    if ((before->permitted & before->inheritable) >> cap & 1 &&
        csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
      before->ambient |= 1ull << cap;
  if (rc >= 0)
    rc = csn_sys(__NR_capset, &head, sets);
  if (rc < 0 || is_root())
    return (int)rc;
  for (int cap = 0; cap < 64 && rc >= 0; cap++)
    if ((before->permitted & ~before->ambient) >> cap & 1)
      rc = csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
  return rc < 0 ? (int)rc : 0;
}

int
csn_hand_over(struct csn_run *run, const char *mode)
{
  char state[16];
  const char *argv[] = { "caisson", mode, state, NULL }, *env[] = { NULL };
  long rc;

  run->ctx.detail_len = 0;
  if (run->runner < 0)
    return csn_detail(&run->ctx, -EBADF, "no runner", NULL);
  /* init has dropped by then what the program is not to have */
  if (!csn_streq(mode, "init") && (rc = carry_capabilities(&run->caps)) < 0)
    return csn_detail(&run->ctx, (int)rc, "capabilities over the exec of the runner", NULL);
  if (!csn_streq(mode, "agent"))
    for (int i = 0; i < CSN_SLOTS; i++)
      if (!(run->plan->later >> i & 1))
        run->ctx.slots[i] = -1; /* closed by the exec */
  if ((rc = write_state(run)) < 0)
    return no_room(run, rc);
  csn_append_u64(state, sizeof(state), 0, (u64)run->state);
  rc = csn_sys(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
  for (int i = 0; rc >= 0 && i < CSN_SLOTS; i++)
    if (run->ctx.slots[i] >= 0)
      rc = csn_sys(__NR_fcntl, run->ctx.slots[i], F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, run->sock, F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, run->state, F_SETFD, 0);
  if (rc >= 0 && run->times && run->times_fd >= 0)
    csn_sys(__NR_fcntl, run->times_fd, F_SETFD, 0);
  if (rc >= 0)
    rc = block_all();
  run->record->handed_over = 1;
  if (rc >= 0)
    rc = csn_sys(__NR_execveat, run->runner, "", argv, env, AT_EMPTY_PATH);
  run->record->handed_over = 0;
  return csn_detail(&run->ctx, (int)rc, "the runner", NULL);
}

#ifdef CSN_RUNNER

void
csn_map_times(struct csn_run *run, int fd)
{
  long at;

  run->times_fd = -1;
  if (fd < 0)
    return;
  at = csn_sys(__NR_mmap, 0, csn_times_size(run->plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  csn_sys(__NR_fcntl, fd, F_SETFD, 1 /* FD_CLOEXEC */);
  if (at < 0)
    return;
  run->times = (struct csn_times *)at;
  run->times_fd = fd;
}

/* The state that the child has left in the memfd before its exec; false where it is not whole. */
static bool
read_state(struct csn_run *run, int fd)
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
  if (!run->record) { /* shared with its program */
    at = csn_sys(__NR_mmap, 0, sizeof(*run->record), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at < 0)
      return false;
    run->record = (struct csn_record *)at;
  }
  run->record->msg.kind = CSN_MSG_DONE;
  run->record->msg.step = p->nsteps;
  run->record->msg.nskipped = st->nskipped;
  for (u32 i = 0; i < p->nsteps; i++)
    run->record->skipped[i] = ((const u8 *)p)[p->size + i];
  run->plan = p;
  csn_map_times(run, st->times);
  run->sock = st->sock;
  run->answer = run->line = run->runner = -1;
  run->fail_step = st->fail_step;
  run->fail_errno = st->fail_errno;
  run->ctx.base = (const u8 *)p;
  run->ctx.own = st->own;
  run->caps = st->caps;
  run->ctx.born = true;
  run->ctx.init = true;
  for (int i = 0; i < CSN_SLOTS; i++)
    run->ctx.slots[i] = st->slots[i];
  return true;
}

void
csn_take_over(struct csn_run *run, int state, const char *name)
{
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    u64 mask;
  } by_default = { 0 };

  /* signals are blocked, since before the exec */
  if (csn_sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || !read_state(run, state))
    csn_leave(125);
  csn_sys(__NR_prctl, PR_SET_NAME, name, 0, 0, 0);
  /* Ignored, as the host may have it, it would take its children's status away. */
  csn_sys(__NR_rt_sigaction, CHLD, &by_default, NULL, 8);
}

int
csn_settle_capabilities(const struct csn_caps *before, u64 without)
{
  struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct sets[2] = { { 0 } };
  const u64 inheritable = before->inheritable & ~without;
  const u64 permitted = before->permitted & ~without;
  long rc = csn_sys(__NR_capget, &head, sets);
  u64 ambient = 0; /* what may be: capset takes away what is not permitted and inheritable */

  for (int i = 0; i < 2; i++) {
    sets[i].inheritable = (u32)(inheritable >> 32 * i);
    sets[i].permitted &= (u32)(permitted >> 32 * i);
    sets[i].effective &= (u32)(permitted >> 32 * i);
    ambient |= (u64)(sets[i].permitted & sets[i].inheritable) << 32 * i;
  }
  if (rc >= 0)
    rc = csn_sys(__NR_capset, &head, sets);
  for (int cap = 0; cap < 64 && rc >= 0; cap++)
    if ((ambient & ~before->ambient) >> cap & 1 &&
        csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
      rc = csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, cap, 0, 0);
  return (int)rc;
}

void
csn_die_with_host(struct csn_run *run, u64 death_signal)
{
  char c;

  if (csn_sys(__NR_prctl, PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0 ||
      csn_sys(__NR_recvfrom, run->sock, &c, 1, 0x42 /* MSG_PEEK | MSG_DONTWAIT */, 0, 0) != -EAGAIN)
    csn_leave(125);
}

_Noreturn void
csn_end_by(s32 sig)
{
  u64 none = 0;

  if (csn_sys(__NR_getpid, 0) != 1) {
    csn_sys(__NR_rt_sigprocmask, SET_MASK, &none, NULL, 8);
    csn_sys(__NR_kill, csn_sys(__NR_getpid, 0), sig);
  }
  csn_leave(128 + sig);
}

#endif
