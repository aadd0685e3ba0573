/* SPDX-License-Identifier: MIT
 *
 * Hot calls of a traced program, let go at full speed.
 *
 * A filter can't forget: a call that it hands to the tracer once, it hands over each time. But it can look at where a
 * call is made from. So a place that makes the same call again and again is led round by a page of ours, whose calls
 * the filter lets be. Three kinds of places are known; all others go on being traced:
 *
 *     NUMBER   b8 NR NR NR NR     mov $NR, %eax             as compilers and libcs write it
 *              0f 05              syscall
 *     GENERIC  4c 8b 4c 24 08     mov 8(%rsp), %r9          the end of glibc's syscall(): NR is compared there
 *              0f 05              syscall
 *     ZERO     80 3d REL 00       cmpb $0, REL(%rip)        glibc's read(): alone in the process?
 *              74 OFF             je                        no
 *              31 c0              xor %eax, %eax
 *              0f 05              syscall
 *
 * The first seven bytes become ff 24 25 SLOT, jmp *SLOT. In the first two kinds the last bytes of SLOT are 0f 05, so that
 * the call's instruction itself stays what it was, as it does in the third: a thread that stands before it, or is sent
 * back to it for its call to be made again, finds it there. The kernel gives the process its own copy of the code's page.
 *
 * Done only where no other thread could be within those bytes as they change, and where the page's place is free and in
 * nobody's way (the heap of a program at a fixed address grows through it).
 */
#define _GNU_SOURCE
#include "learn.h"
#include "csn.h"
#include "site.h"

/* A vfork's child has its parent's memory until it executes, whose other threads run on. */
void
csn_site_share(struct csn_sites *s, pid_t pid)
{
  for (int i = 0; i < CSN_SHARING; i++)
    if (!s->sharing[i]) {
      s->sharing[i] = pid;
      return;
    }
  s->off = true;
}

void
csn_site_unshare(struct csn_sites *s, pid_t pid)
{
  for (int i = 0; i < CSN_SHARING; i++)
    if (s->sharing[i] == pid)
      s->sharing[i] = 0;
}

#if defined(__x86_64__)

#include <elf.h>
#include <linux/mman.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define PLACE                                                                                      \
  0x050f0000ull /* bytes 00 00 0f 05: an address of a slot ends in a syscall instruction */
#define SIZE 0x5000ull
#define MAGIC 0x6e72616c6e736163ull
#define SLOTS 256u
#define FIRST 16u /* calls of one place before it is hot */

/* The page: magic, how many slots are taken, slots, and for each 64 bytes of code. */
#define SLOT(n) (PLACE + 16 + 8ull * (n))
#define CODE(n) (PLACE + 16 + 8ull * SLOTS + 64ull * (n))
_Static_assert(16 + 72ull * SLOTS <= SIZE, "they have room");

static long
trace(long what, pid_t tid, u64 addr, u64 data)
{
  return csn_sys(__NR_ptrace, what, tid, addr, data);
}

static u64
number(const char *s)
{
  u64 v = 0;

  for (; *s >= '0' && *s <= '9'; s++)
    v = v * 10 + (u64)(*s - '0');
  return v;
}

/* One thread, whose heap does not grow through our place. Of /proc/PID/stat the fields from the third on are behind the
 * last parenthesis: the 20th is how many threads there are, the 47th where the heap begins. */
static bool
alone(pid_t tid)
{
  char text[1024];
  const char *p;
  int field = 2;

  if (!csn_read_proc(tid, "/stat", text, sizeof(text)) || !(p = strrchr(text, ')')))
    return false;
  while (*p && field < 47) {
    if (*p++ != ' ')
      continue;
    field++;
    if (field == 20 && number(p) != 1)
      return false;
    if (field == 47 && number(p) != 0 && number(p) < PLACE + SIZE)
      return false;
  }
  return field == 47;
}

static u64
filters_of(pid_t tid)
{
  static const char key[] = "\nSeccomp_filters:\t";
  char text[4096];
  const char *at = csn_read_proc(tid, "/status", text, sizeof(text)) ? strstr(text, key) : NULL;

  return at ? number(at + sizeof(key) - 1) : 0;
}

void
csn_site_begin(struct csn_sites *s, pid_t tid)
{
  s->filters = filters_of(tid);
  if (!s->filters)
    s->off = true;
}

/* The call that it is stopped before is made another, which maps the page; then it stands before its own again. */
static bool
map_page(pid_t tid)
{
  struct user_regs_struct was, r;
  struct iovec v = { &was, sizeof(was) }, w = { &r, sizeof(r) };
  const u64 head[2] = { MAGIC, 0 };
  siginfo_t si = { 0 };
  bool mapped;

  if (trace(PTRACE_GETREGSET, tid, NT_PRSTATUS, (u64)(uintptr_t)&v) < 0 || v.iov_len != sizeof(was))
    return false;
  r = was;
  r.orig_rax = __NR_mmap;
  r.rdi = PLACE;
  r.rsi = SIZE;
  r.rdx = PROT_READ | PROT_EXEC;
  r.r10 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  r.r8 = ~0ull;
  r.r9 = 0;
  if (trace(PTRACE_SETREGSET, tid, NT_PRSTATUS, (u64)(uintptr_t)&w) < 0 ||
      trace(PTRACE_SYSCALL, tid, 0, 0) < 0)
    return false;
  /* its end alone is left for the next wait to be told of */
  if (CSN_RETRY(csn_sys(__NR_waitid, P_PID, tid, &si, WSTOPPED | __WALL, NULL)) < 0 ||
      si.si_code != CLD_TRAPPED || si.si_status != SIGTRAP)
    return false;
  mapped = trace(PTRACE_GETREGSET, tid, NT_PRSTATUS, (u64)(uintptr_t)&w) >= 0 && r.rax == PLACE;
  was.rip -= 2;
  was.rax = was.orig_rax;
  was.orig_rax = ~0ull;
  trace(PTRACE_SETREGSET, tid, NT_PRSTATUS, (u64)(uintptr_t)&v);
  if (mapped)
    mapped = csn_poke(tid, PLACE, head, sizeof(head));
  return mapped;
}

static bool
has_page(pid_t tid, u64 *taken)
{
  u64 head[2];

  if (!csn_peek(tid, PLACE, head, sizeof(head)) || head[0] != MAGIC)
    return false;
  *taken = head[1];
  return true;
}

enum kind { NONE, NUMBER, GENERIC, ZERO, AGAIN };

/* The place: the 13 bytes that end with the call's instruction. AGAIN: it is led round, for another call. */
static enum kind
kind_of(const u8 *b, u32 nr)
{
  static const u8 generic[7] = { 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05 };
  u32 v;

  memcpy(&v, b + 7, 4);
  if (b[11] != 0x0f || b[12] != 0x05)
    return NONE;
  if (b[6] == 0xb8 && v == nr)
    return NUMBER;
  if (!memcmp(b + 6, generic, sizeof(generic)))
    return GENERIC;
  if (nr == 0 && b[0] == 0x80 && b[1] == 0x3d && b[6] == 0 && b[7] == 0x74 && b[9] == 0x31 &&
      b[10] == 0xc0)
    return ZERO;
  memcpy(&v, b + 9, 4);
  if (b[6] == 0xff && b[7] == 0x24 && b[8] == 0x25 && v >= SLOT(0) && v < SLOT(SLOTS))
    return AGAIN;
  return NONE;
}

static u8 *
put(u8 *to, const void *from, size_t size)
{
  memcpy(to, from, size);
  return to + size;
}

static u8 *
put_jump(u8 *to, u64 where)
{
  static const u8 jump[6] = { 0xff, 0x25 }; /* jmp *0(%rip) */

  return put(put(to, jump, sizeof(jump)), &where, sizeof(where));
}

/* Compare, and go to else_to; the call, and back. */
static u8 *
put_generic(u8 *to, u32 nr, u64 ip, u64 else_to)
{
  static const u8 call[7] = { 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05 };
  static const u8 compare[2] = { 0x48, 0x3d }, unequal[2] = { 0x75, 7 + 14 };

  to = put(put(put(to, compare, 2), &nr, 4), unequal, 2);
  to = put_jump(put(to, call, sizeof(call)), ip);
  return put_jump(to, else_to);
}

/* What is executed in the place's stead; its length is at most 64. at: where it will stand. */
static void
make_code(enum kind kind, u8 *code, u64 at, const u8 *place, u32 nr, u64 ip, u64 before)
{
  static const u8 call[2] = { 0x0f, 0x05 }, move = 0xb8;
  static const u8 argument[5] = { 0x4c, 0x8b, 0x4c, 0x24, 0x08 };
  static const u8 load[2] = { 0x49, 0xbb };
  static const u8 alone_call[10] = { 0x41, 0x80, 0x3b, 0, 0x74, 18, 0x31, 0xc0, 0x0f, 0x05 };
  s32 rel;
  u64 word;

  switch (kind) {
  case NUMBER:
    put_jump(put(put(put(code, &move, 1), &nr, 4), call, 2), ip);
    break;
  case GENERIC: /* other calls: the rest of the place, as it was */
    put_jump(put(put_generic(code, nr, ip, at + 43), argument, 5), ip - 2);
    break;
  case AGAIN:
    put_generic(code, nr, ip, before);
    break;
  case ZERO: /* movabs, %r11, which nobody uses across a function's beginning; cmpb $0, (%r11); je */
    memcpy(&rel, place + 2, 4);
    word = ip - 6 + (u64)(s64)rel;
    code = put(put(put(code, load, 2), &word, 8), alone_call, sizeof(alone_call));
    put_jump(put_jump(code, ip), ip - 4 + (u64)(s64)(int8_t)place[8]);
    break;
  case NONE:
    break;
  }
}

static bool
lead_round(pid_t tid, enum kind kind, const u8 *place, u32 nr, u64 ip, u64 n)
{
  const u64 at = CODE(n), taken = n + 1, first = kind == ZERO ? ip - 13 : ip - 7;
  u64 slot = SLOT(n), before = 0;
  u8 code[64] = { 0 }, jump[8] = { 0xff, 0x24, 0x25 };

  if (kind == AGAIN) {
    slot = 0;
    memcpy(&slot, place + 9, 4);
    if (!csn_peek(tid, slot, &before, 8))
      return false;
  }
  make_code(kind, code, at, place, nr, ip, before);
  if (!csn_poke(tid, PLACE + 8, &taken, 8) || !csn_poke(tid, at, code, sizeof(code)) ||
      !csn_poke(tid, slot, &at, 8))
    return false;
  if (kind == AGAIN)
    return true;
  if (!csn_peek(tid, first + 7, jump + 7, 1))
    return false;
  memcpy(jump + 3, &slot, 4);
  return csn_poke(tid, first, jump, sizeof(jump));
}

static bool
shares(const struct csn_sites *s, pid_t pid)
{
  for (int i = 0; i < CSN_SHARING; i++)
    if (s->sharing[i] == pid)
      return true;
  return false;
}

void
csn_site_hit(struct csn_sites *s, pid_t tid, u32 nr, u64 ip)
{
  u32 i = (u32)(((ip ^ (u64)nr << 40) * 0x9e3779b97f4a7c15ull) >> 54) % CSN_SITES, hits;
  enum kind kind;
  u8 place[13];
  u64 n;

  if (s->off || shares(s, tid))
    return;
  if (s->at[i].ip != ip || s->at[i].nr != nr) {
    s->at[i].ip = ip;
    s->at[i].nr = nr;
    s->at[i].hits = 0;
  }
  hits = ++s->at[i].hits;
  /* asked again, ever more rarely, since a thread or a heap may be gone */
  if (hits < FIRST || (hits & (hits - 1)))
    return;
  if (!csn_peek(tid, ip - 13, place, sizeof(place)))
    return;
  kind = kind_of(place, nr);
  if (kind == NONE || !alone(tid))
    return;
  if (!has_page(tid, &n)) {
    /* a filter of the program's own might kill it for a call that is ours */
    if (filters_of(tid) == s->filters && map_page(tid)) /* and it comes back to this call */
      s->at[i].hits = FIRST - 1;
    return;
  }
  if (n < SLOTS && lead_round(tid, kind, place, nr, ip, n))
    s->patched++;
}

bool
csn_site_range(u64 *from, u64 *to)
{
  *from = PLACE;
  *to = PLACE + SIZE;
  return true;
}

#else

void
csn_site_begin(struct csn_sites *s, pid_t tid)
{
  (void)s, (void)tid;
}

void
csn_site_hit(struct csn_sites *s, pid_t tid, u32 nr, u64 ip)
{
  (void)s, (void)tid, (void)nr, (void)ip;
}

bool
csn_site_range(u64 *from, u64 *to)
{
  (void)from, (void)to;
  return false;
}

#endif
