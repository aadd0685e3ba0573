/* SPDX-License-Identifier: MIT
 *
 * A seccomp program, evaluated as the kernel does it: for a tracer that answers in the filter's place.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "evaluate.h"
#include <stddef.h>
#include <string.h>

struct machine {
  u32 a, x, memory[BPF_MEMWORDS];
};

static bool
load(struct machine *m, const struct sock_filter *f, const struct seccomp_data *call)
{
  u32 v;

  switch (BPF_MODE(f->code)) {
  case BPF_ABS:
    if (f->k % 4 || f->k > sizeof(*call) - 4)
      return false;
    memcpy(&v, (const u8 *)call + f->k, 4);
    break;
  case BPF_IMM:
    v = f->k;
    break;
  case BPF_MEM:
    if (f->k >= BPF_MEMWORDS)
      return false;
    v = m->memory[f->k];
    break;
  case BPF_LEN:
    v = sizeof(*call);
    break;
  default:
    return false;
  }
  *(BPF_CLASS(f->code) == BPF_LD ? &m->a : &m->x) = v;
  return true;
}

static bool
calculate(struct machine *m, const struct sock_filter *f)
{
  const u32 b = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

  switch (BPF_OP(f->code)) {
  case BPF_ADD:
    m->a += b;
    return true;
  case BPF_SUB:
    m->a -= b;
    return true;
  case BPF_MUL:
    m->a *= b;
    return true;
  case BPF_DIV:
    m->a = b ? m->a / b : 0;
    return b != 0;
  case BPF_OR:
    m->a |= b;
    return true;
  case BPF_AND:
    m->a &= b;
    return true;
  case BPF_XOR:
    m->a ^= b;
    return true;
  case BPF_LSH:
    m->a = b < 32 ? m->a << b : 0;
    return true;
  case BPF_RSH:
    m->a = b < 32 ? m->a >> b : 0;
    return true;
  case BPF_NEG:
    m->a = -m->a;
    return true;
  }
  return false;
}

/* How many instructions it skips. */
static u32
jump(const struct machine *m, const struct sock_filter *f)
{
  const u32 b = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

  switch (BPF_OP(f->code)) {
  case BPF_JA:
    return f->k;
  case BPF_JEQ:
    return m->a == b ? f->jt : f->jf;
  case BPF_JGT:
    return m->a > b ? f->jt : f->jf;
  case BPF_JGE:
    return m->a >= b ? f->jt : f->jf;
  }
  return m->a & b ? f->jt : f->jf; /* BPF_JSET */
}

u32
csn_evaluate(const struct sock_filter *program, size_t count, const struct seccomp_data *call)
{
  struct machine m;

  memset(&m, 0, sizeof(m));
  for (size_t i = 0; i < count; i++) {
    const struct sock_filter *f = &program[i];
    bool ok = true;

    switch (BPF_CLASS(f->code)) {
    case BPF_LD:
    case BPF_LDX:
      ok = load(&m, f, call);
      break;
    case BPF_ST:
    case BPF_STX:
      ok = f->k < BPF_MEMWORDS;
      if (ok)
        m.memory[f->k] = BPF_CLASS(f->code) == BPF_ST ? m.a : m.x;
      break;
    case BPF_ALU:
      ok = calculate(&m, f);
      break;
    case BPF_JMP:
      i += jump(&m, f);
      break;
    case BPF_RET:
      return BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
    case BPF_MISC:
      if (BPF_MISCOP(f->code) == BPF_TAX)
        m.x = m.a;
      else
        m.a = m.x;
      break;
    }
    if (!ok)
      break;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

u32
csn_evaluate_all(const struct sock_filter *const *programs, const size_t *sizes, size_t n,
                 const struct seccomp_data *call)
{
  u32 least = SECCOMP_RET_ALLOW;

  for (size_t i = n; i-- > 0;) {
    const u32 ret = csn_evaluate(programs[i], sizes[i], call);

    /* the kernel compares kinds as signed numbers: to kill the process is the least */
    if ((s32)(ret & SECCOMP_RET_ACTION_FULL) < (s32)(least & SECCOMP_RET_ACTION_FULL))
      least = ret;
  }
  return least;
}

/* ---- whatever the arguments ---- */

struct known {
  bool reached, exact; /* exact: what A holds there, in `a`, is the same by all ways */
  u32 a;
};

static void
reach(struct known *k, bool exact, u32 a)
{
  k->exact = exact && (!k->reached || (k->exact && k->a == a));
  k->reached = true;
  k->a = a;
}

/* Answers that are the same if the call is made in another place: nobody else is asked or told. */
static bool
is_silent(const struct sock_filter *f)
{
  if (BPF_RVAL(f->code) == BPF_A)
    return false;
  switch (f->k & SECCOMP_RET_ACTION_FULL) {
  case SECCOMP_RET_ALLOW:
  case SECCOMP_RET_ERRNO:
  case SECCOMP_RET_TRACE:
  case SECCOMP_RET_KILL_THREAD:
  case SECCOMP_RET_KILL_PROCESS:
    return true;
  }
  return false;
}

/* The place that a call is made from, or its sixth argument. */
static bool
looks_at_place(const struct sock_filter *f)
{
  return BPF_MODE(f->code) == BPF_ABS &&
         ((f->k >= offsetof(struct seccomp_data, instruction_pointer) &&
           f->k < offsetof(struct seccomp_data, args)) ||
          f->k >= offsetof(struct seccomp_data, args[5]));
}

bool
csn_evaluate_silent(const struct sock_filter *program, size_t count, u32 arch, u32 nr)
{
  static struct known at[BPF_MAXINSNS + 1];

  if (!count || count > BPF_MAXINSNS)
    return false;
  memset(at, 0, (count + 1) * sizeof(at[0]));
  reach(&at[0], false, 0);
  for (size_t i = 0; i < count; i++) {
    const struct sock_filter *f = &program[i];
    struct known now = at[i];
    bool yes, no;

    if (!now.reached)
      continue;
    switch (BPF_CLASS(f->code)) {
    case BPF_RET:
      if (!is_silent(f))
        return false;
      continue;
    case BPF_JMP:
      yes = no = true;
      if (BPF_OP(f->code) == BPF_JA) {
        if (f->k >= count - i)
          return false;
        reach(&at[i + 1 + f->k], now.exact, now.a);
        continue;
      }
      if (now.exact && BPF_SRC(f->code) == BPF_K) {
        const struct machine m = { .a = now.a };

        yes = jump(&m, &(struct sock_filter){ f->code, 1, 0, f->k }) != 0;
        no = !yes;
      }
      if (i + 1 + f->jt >= count || i + 1 + f->jf >= count)
        return false;
      if (yes)
        reach(&at[i + 1 + f->jt], now.exact, now.a);
      if (no)
        reach(&at[i + 1 + f->jf], now.exact, now.a);
      continue;
    case BPF_LD:
    case BPF_LDX:
      if (looks_at_place(f))
        return false;
      if (BPF_CLASS(f->code) == BPF_LD) {
        now.exact = BPF_MODE(f->code) == BPF_ABS && f->k < 8;
        now.a = f->k ? arch : nr;
      }
      break;
    case BPF_ALU:
      now.exact = false;
      break;
    case BPF_MISC:
      if (BPF_MISCOP(f->code) == BPF_TXA)
        now.exact = false;
      break;
    }
    reach(&at[i + 1], now.exact, now.a);
  }
  return !at[count].reached;
}
