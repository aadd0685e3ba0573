/* SPDX-License-Identifier: MIT
 *
 * The runner: a static program without libc that the host starts with a socket, and that makes the
 * child of the plan it reads there. A container never finds anything else in /proc/PID/exe, and it
 * shares no memory with the host.
 *
 *     runner SOCKET        (SOCKET: number of the inherited descriptor)
 *     runner init STATE    the child itself, which goes on as init (init.c)
 *     runner wait STATE    the child itself, which waits for its start (wait.c)
 *     runner agent STATE   or as the agent of a pooled container (agent.c)
 */
#include "plan.h"
#include "freestanding.h"
#include <linux/prctl.h>
#include <linux/mman.h>

int memcmp(const void *a, const void *b, size_t n);
void runner_main(long *sp);

int
memcmp(const void *a, const void *b, size_t n)
{
  const u8 *x = a, *y = b;

  for (; n--; x++, y++)
    if (*x != *y)
      return *x - *y;
  return 0;
}

static struct {
  struct csn_run_header header;
  u8 plan[CSN_CHUNK];
} first __attribute__((aligned(16)));
_Static_assert(sizeof(struct csn_run_header) % 16 == 0, "the plan behind the header is aligned");
static struct csn_record record;
static struct csn_run run;

static bool
receive(int sock, void *buf, size_t n)
{
  return CSN_RETRY(csn_sys(__NR_recvfrom, sock, buf, n, 0, 0, 0)) == (long)n;
}

/* Descriptors that came with the header, in its order: the numbers that they have here. False where one has no room. */
static bool
take_passed(s32 *fds, u32 n)
{
  struct csn_run_header *h = &first.header;
  u32 next = 0;

  for (u32 i = 0; i < n; i++)
    if (fds[i] <= 2) { /* the numbers of a host's standard streams, which it may have closed */
      const int low = fds[i];

      fds[i] = csn_dup(low, 3);
      csn_close(low);
      if (fds[i] < 0)
        return false;
    }
  for (int i = 0; i < CSN_SLOTS; i++)
    if (h->slots[i] >= 0 && next < n)
      h->slots[i] = fds[next++];
  if (h->runner >= 0 && next < n)
    h->runner = fds[next++];
  if (h->times >= 0 && next < n)
    h->times = fds[next++];
  return next == n;
}

/* A header without a plan goes before it, where the host has known early what the child will need. */
static u8 *
receive_plan(int sock)
{
  static s32 fds[CSN_SLOTS + 2];
  const struct csn_run_header *h = &first.header;
  u32 size, off = CSN_CHUNK, got;
  u8 *p = first.plan;
  long m;
  int n;

  while ((n = csn_recv_fds(sock, &first, sizeof(first), fds, CSN_SLOTS + 2, &got, 0)) ==
             (int)sizeof(*h) &&
         h->plan_size == 0)
    if (csn_sys(__NR_unshare, h->enter) >= 0)
      run.entered |= h->enter;
  size = h->plan_size;
  if (n < (int)sizeof(*h) || size > CSN_MAX_PLAN ||
      n - (int)sizeof(*h) != (int)(size < CSN_CHUNK ? size : CSN_CHUNK) || got != h->passed ||
      (got > 0 && !take_passed(fds, got)))
    return NULL;
  if (size > CSN_CHUNK) {
    m = csn_sys(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m < 0)
      return NULL;
    p = (u8 *)m;
    memcpy(p, first.plan, CSN_CHUNK);
    for (; off < size; off += CSN_CHUNK)
      if (!receive(sock, p + off, size - off < CSN_CHUNK ? size - off : CSN_CHUNK))
        return NULL;
  }
  return p;
}

static int
number(const char *s)
{
  int n = 0;

  for (; *s >= '0' && *s <= '9'; s++)
    n = n * 10 + (*s - '0');
  return n;
}

__attribute__((used)) void
runner_main(long *sp)
{
  const struct csn_run_header *h = &first.header;
  int sock;

  if (sp[0] == 3) {
    const char *mode = (const char *)sp[2];
    int state = number((const char *)sp[3]);

    if (csn_streq(mode, "wait")) {
      run.record = &record; /* until who starts it brings another */
      csn_wait_main(&run, state);
    }
    if (csn_streq(mode, "agent"))
      csn_agent_main(&run, state);
    csn_init_main(&run, state);
  }
  sock = sp[0] == 2 ? number((const char *)sp[2]) : 0;
  /* It must not outlive the host, which waits for it. */
  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
  run.plan = sock ? (const struct csn_plan *)receive_plan(sock) : NULL;
  if (run.plan && run.plan->magic == CSN_PLAN_MAGIC && run.plan->size == h->plan_size &&
      run.plan->nprims == csn_nprims()) {
    run.sock = sock;
    run.record = &record;
    run.fail_step = h->fail_step;
    run.fail_errno = h->fail_errno;
    run.traced = h->traced;
    csn_map_times(&run, h->times);
    run.runner = h->runner;
    run.ctx.base = (const u8 *)run.plan;
    for (int i = 0; i < CSN_SLOTS; i++)
      run.ctx.slots[i] = h->slots[i];
    csn_make_child(&run);
  }
  csn_sys(__NR_exit_group, 0);
  __builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call "
        "runner_main\n hlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start: mov x29, #0\n mov x0, sp\n bl runner_main\n brk #1\n");
#endif
