/* SPDX-License-Identifier: MIT
 *
 * Calls of a traced program that are told only where they fail, made at full speed.
 *
 * A filter does not see how a call ends, so the tracer would be asked before and after each. Instead the place that makes
 * it is led round, at its first call, by a stub that looks at the result itself:
 *
 *     before   mov $IMM, %reg            any of the immediates of 5 bytes: mostly %eax, the number. Or mov N(%rsp), %reg
 *              syscall
 *     after    jmp stub
 *              syscall                   stays: who stands before it, or is sent back to it, finds it there
 *
 *     stub     mov $IMM, %reg            the same
 *              lea -NR(%rax), %rcx       only where that is not the number: a call of another
 *              jrcxz 1f                  number goes on in the place, as before
 *              jmp syscall
 *     1:       lea -128(%rsp), %rsp      beyond the red zone
 *              push %r9
 *              movabs $KEY, %r9
 *     call:    syscall                   let be by the filter that asks, and judged by all others
 *              cmp $-128, %rax
 *              jb out
 *              bt %rax, mask_end(%rip)   one of those that are told?
 *              jnc out
 *              mov %rax, %r9
 *              mov $NR, %eax
 *              push %r11
 *              popf
 *     report:  syscall                   asks the tracer, which does not let it be made
 *     out:     push %r11                 what the flags were before the call
 *              popf
 *              pop %r9
 *              lea 128(%rsp), %rsp
 *              jmp place's end
 *              16 bytes of mask, int3
 *
 * A call that has a sixth argument, may come back in two processes, or does not come back is none for a stub; that is for
 * whoever makes the filter. The low half of the key is that of the call's address more, so a handler that interrupts a stub
 * and finds the key in its register is asked about as ever.
 *
 * Stubs stand in the bytes behind the program's text, in its last page, of which the kernel gives the process its own copy,
 * as it does of the place's. They are made only where no other thread can be within the bytes that change.
 *
 * What a program could see: its own code, where it reads that; a stack used by 136 bytes more, and an address that no unwind
 * table knows, where a signal comes in such a call; and where it has the kernel hand on to it all calls from outside of its
 * own code (PR_SET_SYSCALL_USER_DISPATCH), these too.
 */
#define _GNU_SOURCE
#include "stub.h"
#include "csn.h"
#include "site.h"

#if defined(__x86_64__)

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#define PAGE 4096ull
#define SLOT 16u /* they begin at multiples */
#define MOST 112u

/* From the call on all are alike, but for the number, the way back and the mask. */
#define TAIL 49u
#define CALL_END 2u
#define NUMBER 22u
#define REPORT_END 31u
#define OUT 31u
static const u8 tail[TAIL] = {
  0x0f, 0x05,                                     /* 0 call: syscall */
  0x48, 0x83, 0xf8, 0x80,                         /* 2 cmp $-128, %rax */
  0x72, 0x17,                                     /* 6 jb out */
  0x48, 0x0f, 0xa3, 0x05, 0x31, 0x00, 0x00, 0x00, /* 8 bt %rax, mask_end */
  0x73, 0x0d,                                     /* 16 jnc out */
  0x49, 0x89, 0xc1,                               /* 18 mov %rax, %r9 */
  0xb8, 0x00, 0x00, 0x00, 0x00,                   /* 21 mov $NR, %eax */
  0x41, 0x53, 0x9d,                               /* 26 push %r11; popf */
  0x0f, 0x05,                                     /* 29 report: syscall */
  0x41, 0x53, 0x9d,                               /* 31 out: push %r11; popf */
  0x41, 0x59,                                     /* 34 pop %r9 */
  0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00, /* 36 lea 128(%rsp), %rsp */
  0xe9, 0x00, 0x00, 0x00, 0x00,                   /* 44 jmp */
};
_Static_assert(8 + 8 + 0x31 == TAIL + 16, "bt's memory ends where the mask does");

bool
csn_stub_errno(struct csn_stubs *s, u32 number)
{
  if (number < 1 || number > 128)
    return false;
  s->mask[(128 - number) / 8] |= (u8)(1u << (128 - number) % 8);
  return true;
}

static bool
registers(pid_t tid, long what, struct user_regs_struct *r)
{
  struct iovec v = { r, sizeof(*r) };

  return csn_sys(__NR_ptrace, what, tid, NT_PRSTATUS, &v) >= 0 && v.iov_len == sizeof(*r);
}

/* ---- room ---- */

struct mapping {
  u64 from, to, offset;
  char mode[4];
  const char *file; /* "DEVICE INODE ", to compare */
  size_t file_len;
};

static const char *
hex(const char *p, u64 *v)
{
  for (*v = 0;; p++) {
    const int digit = *p >= '0' && *p <= '9'   ? *p - '0'
                      : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                                               : -1;

    if (digit < 0)
      return *p ? p + 1 : p; /* what separates it */
    *v = *v * 16 + (u64)digit;
  }
}

/* A line: FROM-TO MODE OFFSET DEVICE INODE NAME */
static bool
read_mapping(const char *line, struct mapping *m)
{
  const char *p = hex(hex(line, &m->from), &m->to), *end;

  if (strnlen(p, 5) < 5)
    return false;
  memcpy(m->mode, p, 4);
  m->file = hex(p + 5, &m->offset);
  end = strchr(m->file, ' ');
  end = end ? strchr(end + 1, ' ') : NULL;
  if (!end)
    return false;
  m->file_len = (size_t)(end - m->file);
  return true;
}

static bool
of_one_file(const char *file, size_t len, const struct mapping *m)
{
  return m->file_len == len && !memcmp(m->file, file, len);
}

/* The mapping that ip is in, and where the beginning of its file is mapped before it. */
static bool
find_mapping(pid_t tid, u64 ip, struct mapping *m, u64 *base)
{
  char text[16384], path[64];
  char file[64]; /* of what was mapped last from its beginning */
  size_t n = csn_append(path, sizeof(path), 0, "/proc/"), file_len = 0, have = 0;
  bool found = false;
  long fd, rc;

  n = csn_append_u64(path, sizeof(path), n, (u64)tid);
  csn_append(path, sizeof(path), n, "/maps");
  fd = csn_sys(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return false;
  while (!found && (rc = csn_sys(__NR_read, fd, text + have, sizeof(text) - 1 - have)) > 0) {
    char *line = text, *end;

    text[have += (size_t)rc] = 0;
    for (; !found && (end = strchr(line, '\n')); line = end + 1) {
      *end = 0;
      if (!read_mapping(line, m))
        continue;
      if (!m->offset && m->file_len < sizeof(file)) {
        memcpy(file, m->file, m->file_len);
        file_len = m->file_len;
        *base = m->from;
      }
      if (m->from <= ip && ip < m->to)
        found = of_one_file(file, file_len, m);
      else if (m->from > ip)
        goto out;
    }
    have -= (size_t)(line - text);
    memmove(text, line, have);
  }
out:
  csn_close((int)fd);
  return found;
}

/* Behind the text that ip is in, to the end of its last page: what no segment of the program's has. */
static bool
find_room(pid_t tid, u64 ip, u64 *from, u64 *to)
{
  struct mapping m;
  Elf64_Ehdr e;
  Elf64_Phdr p[PAGE / sizeof(Elf64_Phdr)];
  u64 base = 0, bias;

  if (!find_mapping(tid, ip, &m, &base) || memcmp(m.mode, "r-xp", 4) ||
      !csn_peek(tid, base, &e, sizeof(e)))
    return false;
  if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_CLASS] != ELFCLASS64 ||
      e.e_phentsize != sizeof(*p) || !e.e_phnum || e.e_phnum > sizeof(p) / sizeof(*p) ||
      e.e_phoff > PAGE - e.e_phnum * sizeof(*p) ||
      !csn_peek(tid, base + e.e_phoff, p, e.e_phnum * sizeof(*p)))
    return false;
  for (u32 i = 0;; i++) {
    if (i == e.e_phnum)
      return false;
    if (p[i].p_type == PT_LOAD && p[i].p_offset < PAGE) {
      bias = base - (p[i].p_vaddr & ~(PAGE - 1));
      break;
    }
  }
  for (u32 i = 0; i < e.e_phnum; i++) {
    *from = bias + p[i].p_vaddr + p[i].p_filesz;
    *to = (*from + PAGE - 1) & ~(PAGE - 1);
    if (p[i].p_type == PT_LOAD && (p[i].p_flags & PF_X) && p[i].p_filesz == p[i].p_memsz &&
        p[i].p_filesz && bias + p[i].p_vaddr <= ip && ip <= *from)
      return m.from == ((bias + p[i].p_vaddr) & ~(PAGE - 1)) && *to == m.to &&
             m.offset == (p[i].p_offset & ~(PAGE - 1));
  }
  return false;
}

/* size bytes of it that nobody has used; 0: there are none. */
static u64
find_slot(pid_t tid, u64 ip, size_t size)
{
  u8 bytes[PAGE];
  u64 from, to;
  size_t zeros = 0;

  if (!find_room(tid, ip, &from, &to))
    return 0;
  from = (from + SLOT - 1) & ~(u64)(SLOT - 1);
  if (from + size > to || !csn_peek(tid, from, bytes, to - from))
    return 0;
  for (size_t i = 0; i < to - from; i++) {
    if (bytes[i])
      zeros = 0;
    else if (zeros || i % SLOT == 0)
      zeros++;
    if (zeros == size)
      return from + i + 1 - size;
  }
  return 0;
}

/* ---- code ---- */

static u8 *
put(u8 *to, const void *from, size_t size)
{
  memcpy(to, from, size);
  return to + size;
}

static u8 *
put_jump(u8 *to, u64 from, u64 where)
{
  const u8 jump = 0xe9;
  const s32 rel = (s32)(s64)(where - from - 5);

  return put(put(to, &jump, 1), &rel, 4);
}

/* The 5 bytes before the call may be executed elsewhere. They put a number into a register, as it has it now: %eax, %edi,
 * %esi or %edx; what stands before them may be a prefix that makes it another register. Or they load one. */
static bool
is_place(const u8 *b, const struct user_regs_struct *r, u32 nr)
{
  const u64 low[8] = { nr, 0, r->rdx, 0, 0, 0, r->rsi, r->rdi };
  const u64 high[8] = { r->r8, r->r9, r->r10, 0, r->r12, r->r13, r->r14, r->r15 };
  const u32 reg = b[1] & 7u;
  u32 imm;

  if (b[6] != 0x0f || b[7] != 0x05)
    return false;
  /* mov N(%rsp), %r64: the end of a function that makes any call, such as glibc's syscall() */
  if ((b[1] == 0x48 || b[1] == 0x4c) && b[2] == 0x8b && (b[3] & 0xc7) == 0x44 && b[4] == 0x24)
    return b[1] == 0x4c || (b[3] & 0x38) != 0x20; /* but into %rsp */
  if ((b[1] & 0xf8) != 0xb8)
    return false;
  memcpy(&imm, b + 2, 4);
  if ((reg != 0 && reg != 2 && reg != 6 && reg != 7) || low[reg] != imm)
    return false;
  return (b[0] & 0xf0) != 0x40 || high[reg] != imm;
}

/* What is executed in the place's stead, if it stood at `at`; its size. */
static size_t
make_code(const struct csn_stubs *s, u8 *code, u64 at, const u8 *move, u32 nr, u64 ip)
{
  static const u8 before[] = { 0x48, 0x8d, 0x64, 0x24, 0x80, 0x41, 0x51, 0x49, 0xb9 };
  static const u8 minus[] = { 0x48, 0x8d, 0x88 }, if_zero[] = { 0xe3, 5 }, end = 0xcc;
  const s32 number = -(s32)nr;
  u8 *p = put(code, move, 5), *call;
  u64 key;

  if (move[0] != 0xb8) {
    p = put(put(put(p, minus, sizeof(minus)), &number, 4), if_zero, sizeof(if_zero));
    p = put_jump(p, at + (u64)(p - code), ip - 2);
  }
  p = put(p, before, sizeof(before));
  call = p + 8 + CALL_END; /* its end: the address that the filter sees */
  key = at + (u64)(call - code);
  key = (s->key & ~0xffffffffull) | (u32)(s->key + key);
  call = put(p, &key, 8);
  p = put(call, tail, TAIL);
  memcpy(call + NUMBER, &nr, 4);
  put_jump(p - 5, at + (u64)(p - 5 - code), ip);
  p = put(put(p, s->mask, sizeof(s->mask)), &end, 1);
  return (size_t)(p - code);
}

bool
csn_stub_make(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  const u64 ip = d->instruction_pointer;
  const u32 nr = (u32)d->nr;
  struct user_regs_struct r;
  u8 place[9], code[MOST] = { 0 };
  size_t size;
  u64 at;

  if (!s->on || !csn_peek(tid, ip - 8, place, sizeof(place)) ||
      !registers(tid, PTRACE_GETREGSET, &r) || r.rip != ip || !is_place(place, &r, nr))
    return false;
  size = (make_code(s, code, ip, place + 1, nr, ip) + 7) & ~(size_t)7;
  at = find_slot(tid, ip, size);
  if (!at)
    return false;
  make_code(s, code, at, place + 1, nr, ip);
  /* the place last: one of which there is half is in nobody's way */
  if (!csn_poke(tid, at, code, size))
    return false;
  put_jump(place + 1, ip - 7, at);
  if (!csn_poke(tid, ip - 7, place + 1, 8))
    return false;
  r.rip = at;
  r.rax = nr;
  r.orig_rax = ~0ull; /* not this one, but the stub's */
  return registers(tid, PTRACE_SETREGSET, &r);
}

/* Does it stand `in` bytes behind the beginning of a tail of its number's? */
static bool
stands(pid_t tid, const struct seccomp_data *d, u32 in)
{
  const u32 nr = (u32)d->nr;
  u8 expected[TAIL], there[TAIL - 4]; /* without the way back */

  memcpy(expected, tail, TAIL);
  memcpy(expected + NUMBER, &nr, 4);
  return csn_peek(tid, d->instruction_pointer - in, there, sizeof(there)) &&
         !memcmp(expected, there, sizeof(there));
}

s64
csn_stub_reports(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  const s64 result = (s64)d->args[5];

  return s->on && result < 0 && result >= -128 && stands(tid, d, REPORT_END) ? result : 0;
}

void
csn_stub_leave(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  struct user_regs_struct r;

  if (!s->on || d->args[5] >> 32 != s->key >> 32 || !stands(tid, d, CALL_END) ||
      !registers(tid, PTRACE_GETREGSET, &r))
    return;
  r.rip += OUT - CALL_END;
  registers(tid, PTRACE_SETREGSET, &r);
}

#else

bool
csn_stub_errno(struct csn_stubs *s, u32 number)
{
  (void)s, (void)number;
  return false;
}

bool
csn_stub_make(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  (void)s, (void)tid, (void)d;
  return false;
}

s64
csn_stub_reports(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  (void)s, (void)tid, (void)d;
  return 0;
}

void
csn_stub_leave(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d)
{
  (void)s, (void)tid, (void)d;
}

#endif
