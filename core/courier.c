/* SPDX-License-Identifier: MIT
 *
 * courier: a thread of the child's that is under none of the filters that the child loads from here on. A
 * filter may ask its listener about any call, and until the listener has reached who answers, nobody does: not
 * about the sendmsg(2) that would bring it there either. So the child makes no call behind such a filter. The
 * courier, which shares its descriptors, sends for it, and waits for the host in its place; then it ends.
 *
 * Who has joined a pid namespace can't have a thread any more, and who has one can't join all. For the creator of
 * a process that joins, the courier is a process, made before.
 *
 * Nothing can wake the courier, or the child, without a call: they look at a word of their memory.
 */
#include "plan.h"
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>

CSN_ACTION(engine_courier, "courier", COURIER, CSN_CHILD, CSN_ACT_COURIER, "[apart=$apart]")

#define STACK 32768
#define THREAD 0x00010000u  /* CLONE_THREAD */
#define SIGHAND 0x00000800u /* CLONE_SIGHAND */

enum { NONE, IDLE, SEND, SEND_CLOSE, SYNC, LEAVE };

static u32
seen(const u32 *word)
{
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void
say(u32 *word, u32 v)
{
  __atomic_store_n(word, v, __ATOMIC_RELEASE);
}

/* For the child, which must not sleep: that takes a call. */
static void
relax(void)
{
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

static int
courier_main(void *arg)
{
  struct csn_run *run = arg;
  struct csn_courier *c = &run->record->courier;
  const struct {
    s64 sec, nsec;
  } moment = { 0, 10000 };
  u32 word;

  if (c->apart) {
    csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
    if (csn_sys(__NR_getppid, 0) != c->maker)
      csn_leave(0);
  }

  while ((word = seen(&c->word)) != LEAVE) {
    if (word == IDLE) {
      csn_sys(__NR_nanosleep, &moment, NULL);
      continue;
    }
    c->rc = word == SYNC ? csn_sync_with_host(run, c->step)
                         : csn_send_slot(run, c->step, c->fd, word == SEND_CLOSE);
    say(&c->word, IDLE);
  }
  say(&c->word, NONE);
  csn_sys(__NR_exit, 0); /* of this thread alone */
  __builtin_unreachable();
}

static bool
has_processors(void)
{
  u64 mask[16] = { 0 };
  u32 n = 0;

  csn_sys(__NR_sched_getaffinity, 0, sizeof(mask), mask);
  for (size_t i = 0; i < sizeof(mask) / sizeof(*mask); i++)
    n += mask[i] ? (mask[i] & (mask[i] - 1)) ? 2 : 1 : 0;
  return n > 1;
}

/* A real-time process that looks at memory leaves no time for others of its priority on its processor. So the
 * courier is made with one more, and this has its own again behind that: 0, where nothing is to be done, or
 * that priority, or -errno. */
static int
come_first(struct csn_run *run)
{
  long policy = csn_sys(__NR_sched_getscheduler, 0);
  const bool reset = policy > 0 && (policy & 0x40000000 /* SCHED_RESET_ON_FORK */);
  s32 own = 0, more;

  policy = policy > 0 ? policy & ~0x40000000 : policy;
  if ((policy != 1 /* SCHED_FIFO */ && policy != 2 /* SCHED_RR */) || has_processors() ||
      csn_sys(__NR_sched_getparam, 0, &own) < 0)
    return 0;
  more = own + 1;
  if (!reset && csn_sys(__NR_sched_setparam, 0, &more) == 0)
    return own;
  return policy == 2
             ? 0
             : csn_detail(&run->ctx, -EPERM, "it has to come before a SCHED_FIFO process", NULL);
}

static int
make_thread(struct csn_run *run)
{
  struct csn_clone_args ca = { .flags = CSN_CLONE_VM | CSN_CLONE_FILES | SIGHAND | THREAD |
                                        CLONE_SYSVSEM };
  long rc =
      csn_sys(__NR_mmap, 0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (rc < 0 && rc > -4096)
    return (int)rc;
  ca.stack = (u64)rc;
  ca.stack_size = STACK;
  return (int)csn_clone3(&ca, sizeof(ca), courier_main, run);
}

static int
make_process(struct csn_run *run)
{
  struct csn_clone_args ca = { .flags = CSN_CLONE_FILES };

  run->record->courier.maker = (s32)csn_sys(__NR_getpid, 0);
  return (int)csn_clone3(&ca, sizeof(ca), courier_main, run);
}

int
csn_courier_start(struct csn_run *run, bool apart)
{
  struct csn_courier *c = &run->record->courier;
  s32 own;
  int rc;

  csn_courier_end(run);
  if ((own = come_first(run)) < 0)
    return own;
  c->apart = apart;
  c->served = false;
  say(&c->word, IDLE);
  rc = apart ? make_process(run) : make_thread(run);
  if (own > 0)
    csn_sys(__NR_sched_setparam, 0, &own);
  if (rc < 0) {
    say(&c->word, NONE);
    return csn_detail(&run->ctx, rc, "a thread of the process, beside its own", NULL);
  }
  c->tid = (s32)rc;
  run->ctx.courier = !apart;
  return 0;
}

static int
have(struct csn_courier *c, u32 word, u32 step)
{
  c->step = step;
  say(&c->word, word);
  while (seen(&c->word) != IDLE)
    relax();
  return c->rc;
}

int
csn_courier_send(struct csn_run *run, u32 step, int fd, bool close)
{
  struct csn_courier *c = &run->record->courier;

  c->fd = fd;
  c->served = c->served || close;
  return have(c, close ? SEND_CLOSE : SEND, step);
}

int
csn_courier_sync(struct csn_run *run, u32 step)
{
  return have(&run->record->courier, SYNC, step);
}

void
csn_courier_end(struct csn_run *run)
{
  struct csn_courier *c = &run->record->courier;

  if (c->word == NONE)
    return;
  say(&c->word, LEAVE);
  while (seen(&c->word) != NONE)
    relax();
  run->ctx.courier = false;
  if (c->apart)
    CSN_RETRY(csn_sys(__NR_wait4, c->tid, NULL, 0x40000000 /* __WALL */, 0));
}
