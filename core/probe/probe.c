/* SPDX-License-Identifier: MIT
 *
 * The prober: a static program without libc that stands where a container's own program would, makes the system
 * calls that it is asked for, and says what came of each. What to ask, and what it means, is its host's business
 * (lua/caisson/probe); so it needs nothing of the container's: no file, no shell, no library.
 *
 *     probe        asked and answering on descriptor 3, a socket, until that is at its end
 *
 * Calls come in batches. A batch is made here, or in a child that ends with it: one that may be killed, and may do to
 * itself what it likes. A filtered one has loaded the recipe's filters first, which the prober itself is not under, so
 * that a filter which forbids nearly everything can be tried as well as any other.
 */
#include "sys.h"
#include "freestanding.h"
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/time.h>

#define CHANNEL 3
#define MAX_CALLS 1024
#define MAX_DATA (256u << 10)
#define MAX_FILTERS 64

enum { KIND_CALLS = 1, KIND_FILTER };
enum { IN_CHILD = 1, FILTERED = 2 };

/* What an argument is: itself, a place in the data, the result of an earlier call, or the u32 at a place in the data. */
enum { ARG_VALUE, ARG_DATA, ARG_RESULT, ARG_WORD };
#define CALL_MUST (1u << 31) /* where it fails, none of the batch that follows is made */

struct ask {
  u32 kind, flags, ncalls, ndata;
  u32 wait_ms, filter_flags, pad[2];
};

struct call {
  s32 nr;
  u32 kinds; /* four bits an argument, and CALL_MUST */
  u64 args[6];
};

struct answer {
  u32 done, ndata;
  s32 status, err; /* of wait4(2); what kept the batch from being made */
};

/* Seen by the prober and its child. */
struct shared {
  struct answer answer;
  s64 results[MAX_CALLS];
  u8 data[MAX_DATA] __attribute__((aligned(16)));
};

struct filter {
  u8 *program;
  u32 size, flags;
};

static struct ask ask;
static struct call calls[MAX_CALLS];
static struct filter filters[MAX_FILTERS];
static u32 nfilters;
static struct shared *shared;

void probe_main(void);

static _Noreturn void
leave(int status)
{
  for (;;) {
    csn_sys(__NR_exit_group, status);
    __builtin_trap(); /* a filter may deny even this */
  }
}

static bool
take(void *buf, size_t n)
{
  for (u8 *p = buf; n > 0;) {
    long got = CSN_RETRY(csn_sys(__NR_read, CHANNEL, p, n));

    if (got <= 0)
      return false;
    p += got;
    n -= (size_t)got;
  }
  return true;
}

static void
give(const void *buf, size_t n)
{
  for (const u8 *p = buf; n > 0;) {
    long put = CSN_RETRY(csn_sys(__NR_write, CHANNEL, p, n));

    if (put <= 0)
      leave(1);
    p += put;
    n -= (size_t)put;
  }
}

static void *
memory(size_t n, int how)
{
  long at = csn_sys(__NR_mmap, 0, n, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);

  return at < 0 && at > -4096 ? NULL : (void *)at;
}

/* ---- a batch ---- */

static u64
value_of(u32 kind, u64 arg)
{
  switch (kind) {
  case ARG_DATA:
    return (u64)(uintptr_t)shared->data + (arg < MAX_DATA ? arg : 0);
  case ARG_RESULT:
    return arg < MAX_CALLS ? (u64)shared->results[arg] : 0;
  case ARG_WORD:
    return *(u32 *)(void *)(shared->data + (arg < MAX_DATA ? arg & ~3ull : 0));
  default:
    return arg;
  }
}

/* A call that makes a process comes back twice. */
static bool
is_newborn(s32 nr, long rc)
{
  if (rc != 0)
    return false;
#ifdef __NR_fork
  if (nr == __NR_fork)
    return true;
#endif
  return nr == __NR_clone || nr == __NR_clone3;
}

static void
make_calls(void)
{
  for (u32 i = 0; i < ask.ncalls; i++) {
    const struct call *c = &calls[i];
    u64 a[6];
    long rc;

    for (int k = 0; k < 6; k++)
      a[k] = value_of(c->kinds >> (4 * k) & 15, c->args[k]);
    rc = csn_sys6(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (is_newborn(c->nr, rc))
      leave(0);
    shared->results[i] = rc;
    shared->answer.done = i + 1;
    if (rc < 0 && rc > -4096 && (c->kinds & CALL_MUST))
      break;
  }
}

static int
load_filters(void)
{
  for (u32 i = 0; i < nfilters; i++) {
    struct sock_fprog prog = { .len = (unsigned short)(filters[i].size / 8),
                               .filter = (void *)filters[i].program };
    long rc = csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, filters[i].flags, &prog);

    /* its recipe had the right to before the capabilities went */
    if (rc == -EACCES && csn_sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
      rc = csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, filters[i].flags, &prog);
    if (rc < 0)
      return (int)rc;
  }
  return 0;
}

static _Noreturn void
be_child(void)
{
  /* Who is killed for a call leaves no core, nor has the host's core_pattern run: 1 is the value for that. */
  struct rlimit64 {
    u64 soft, hard;
  } core = { 1, 1 };

  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
  csn_sys(__NR_prlimit64, 0, RLIMIT_CORE, &core, 0);
  if (ask.flags & FILTERED)
    shared->answer.err = load_filters();
  if (shared->answer.err == 0)
    make_calls();
  leave(0);
}

static void
nap(u64 ns)
{
  struct {
    s64 sec, nsec;
  } ts = { 0, (s64)ns };

  csn_sys(__NR_nanosleep, &ts, 0);
}

static void
by_child(void)
{
  u64 waited = 0, step = 20000;
  s32 status = 0;
  long pid = csn_sys(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);

  if (pid == 0)
    be_child();
  if (pid < 0) {
    shared->answer.err = (s32)pid;
    return;
  }
  while (csn_sys(__NR_wait4, pid, &status, 1 /* WNOHANG */, 0) == 0) {
    if (waited > (u64)ask.wait_ms * 1000000) {
      csn_sys(__NR_kill, pid, 9);
      CSN_RETRY(csn_sys(__NR_wait4, pid, &status, 0, 0));
      shared->answer.err = -ETIME;
      break;
    }
    nap(step);
    waited += step;
    step += step < 2000000 ? step / 2 : 0;
  }
  shared->answer.status = status;
}

static bool
keep_filter(void)
{
  struct filter *f = &filters[nfilters];

  if (nfilters == MAX_FILTERS || !(f->program = memory(ask.ndata, MAP_PRIVATE)) ||
      !take(f->program, ask.ndata))
    return false;
  f->size = ask.ndata;
  f->flags = ask.filter_flags;
  nfilters++;
  return true;
}

__attribute__((used)) void
probe_main(void)
{
  shared = memory(sizeof(*shared), MAP_SHARED);
  if (!shared)
    leave(1);
  while (take(&ask, sizeof(ask))) {
    if (ask.ncalls > MAX_CALLS || ask.ndata > MAX_DATA)
      leave(1);
    if (ask.kind == KIND_FILTER) {
      if (!keep_filter())
        leave(1);
      continue;
    }
    if (!take(calls, sizeof(*calls) * ask.ncalls) || !take(shared->data, ask.ndata))
      leave(1);
    shared->answer = (struct answer){ .ndata = ask.ndata };
    if (ask.flags & IN_CHILD)
      by_child();
    else
      make_calls();
    give(&shared->answer, sizeof(shared->answer));
    give(shared->results, sizeof(*shared->results) * ask.ncalls);
    give(shared->data, ask.ndata);
  }
  leave(0);
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start: xor %ebp, %ebp\n and $-16, %rsp\n call probe_main\n hlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start: mov x29, #0\n bl probe_main\n brk #1\n");
#endif
