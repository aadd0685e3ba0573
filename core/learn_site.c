/* SPDX-License-Identifier: MIT
 *
 * Hot calls of a traced program, let go at full speed.
 *
 * A filter can't forget: a call that it hands to the tracer once, it hands over each time. But it can look at where a
 * call is made from. So a place that makes the same call again and again,
 *
 *     b8 NR NR NR NR  mov $NR, %eax
 *     0f 05           syscall
 *
 * is led round by a page of ours, whose calls the filter lets be:
 *
 *     ff 24 25 SLOT   jmp *SLOT     with the four bytes of SLOT ending in 0f 05
 *
 * The last two bytes stay what they were: a thread that stands before them, or is sent back to them for its call to be
 * made again, finds the call there as it was. The kernel gives the process its own copy of the code's page.
 *
 * Done only where no other thread could be within those bytes as they change, and where the page's place is free and in
 * nobody's way (the heap of a program at a fixed address grows through it). All else goes on being traced.
 */
#define _GNU_SOURCE
#include "learn.h"
#include "csn.h"

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
#define SIZE 0x4000ull
#define MAGIC 0x6e72616c6e736163ull
#define SLOTS 256u
#define FIRST 16u /* calls of one place before it is hot */

/* The page: magic, how many slots are taken, slots, and for each 32 bytes of code. */
#define SLOT(n) (PLACE + 16 + 8ull * (n))
#define CODE(n) (PLACE + 16 + 8ull * SLOTS + 32ull * (n))

static long
trace(long what, pid_t tid, u64 addr, u64 data)
{
  return csn_sys(__NR_ptrace, what, tid, addr, data);
}

static bool
peek(pid_t tid, u64 at, void *to, size_t size)
{
  struct iovec ours = { to, size }, theirs = { (void *)(uintptr_t)at, size };

  return csn_sys(__NR_process_vm_readv, tid, &ours, 1, &theirs, 1, 0) == (long)size;
}

static bool
poke(pid_t tid, u64 at, const void *from, size_t size)
{
  u64 word;

  for (size_t i = 0; i < size; i += 8) {
    memcpy(&word, (const char *)from + i, 8);
    if (trace(PTRACE_POKEDATA, tid, at + i, word) < 0)
      return false;
  }
  return true;
}

/* A file of /proc/TID, as text. */
static bool
read_proc(pid_t tid, const char *name, char *to, size_t size)
{
  char path[64];
  size_t n = csn_append(path, sizeof(path), 0, "/proc/");
  long fd, rc;

  n = csn_append_u64(path, sizeof(path), n, (u64)tid);
  csn_append(path, sizeof(path), n, name);
  fd = csn_sys(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return false;
  rc = csn_sys(__NR_read, fd, to, size - 1);
  csn_close((int)fd);
  if (rc <= 0)
    return false;
  to[rc] = 0;
  return true;
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

  if (!read_proc(tid, "/stat", text, sizeof(text)) || !(p = strrchr(text, ')')))
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
    mapped = poke(tid, PLACE, head, sizeof(head));
  return mapped;
}

static bool
has_page(pid_t tid, u64 *taken)
{
  u64 head[2];

  if (!peek(tid, PLACE, head, sizeof(head)) || head[0] != MAGIC)
    return false;
  *taken = head[1];
  return true;
}

static bool
lead_round(pid_t tid, u32 nr, u64 ip, u64 n)
{
  const u64 at = CODE(n), slot = SLOT(n);
  u8 place[8], code[32] = { 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xff, 0x25, 0, 0, 0, 0 };
  const u64 taken = n + 1;

  memcpy(code + 1, &nr, 4);
  memcpy(code + 13, &ip, 8);
  if (!peek(tid, ip - 7, place, sizeof(place)))
    return false;
  if (!poke(tid, at, code, sizeof(code)) || !poke(tid, slot, &at, 8) ||
      !poke(tid, PLACE + 8, &taken, 8))
    return false;
  place[0] = 0xff;
  place[1] = 0x24;
  place[2] = 0x25;
  place[3] = (u8)slot;
  place[4] = (u8)(slot >> 8);
  return poke(tid, ip - 7, place, sizeof(place));
}

static bool
shares(const struct csn_sites *s, pid_t pid)
{
  for (int i = 0; i < CSN_SHARING; i++)
    if (s->sharing[i] == pid)
      return true;
  return false;
}

static bool
makes_one_call(pid_t tid, u32 nr, u64 ip)
{
  u8 place[7];
  u32 v;

  if (!peek(tid, ip - 7, place, sizeof(place)))
    return false;
  memcpy(&v, place + 1, 4);
  return place[0] == 0xb8 && v == nr && place[5] == 0x0f && place[6] == 0x05;
}

void
csn_site_hit(struct csn_sites *s, pid_t tid, u32 nr, u64 ip)
{
  u32 i = (u32)((ip * 0x9e3779b97f4a7c15ull) >> 54) % CSN_SITES, hits;
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
  if (!makes_one_call(tid, nr, ip) || !alone(tid))
    return;
  if (!has_page(tid, &n)) {
    if (map_page(tid)) /* and it comes back to this call */
      s->at[i].hits = FIRST - 1;
    return;
  }
  if (n < SLOTS && lead_round(tid, nr, ip, n))
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
