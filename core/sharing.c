/* SPDX-License-Identifier: MIT
 *
 * Whose memory nobody else runs in: known from a tracer's events alone, without a look into /proc.
 *
 * Who executes something has a memory of its own, and so has a fork's child. A vfork's child has its parent's, but its
 * parent stands until that child executes or ends. All else that is made (threads, and processes that share memory) runs
 * beside its maker: what they share counts as shared until it is left by an exec, whoever may have ended by then.
 *
 * Events of two tasks may be heard in any order: a child may have run for long before its maker's event is. One that is
 * not known is never alone, and what it does before is kept as its own.
 */
#define _GNU_SOURCE
#include "sharing.h"
#include "csn.h"
#include "ptrace.h"
#include <sched.h>

static s64
find(const struct csn_sharing *s, pid_t tid)
{
  for (u32 i = 0; i < s->count; i++)
    if (s->task[i].tid == tid)
      return i;
  return -1;
}

static void
set(struct csn_sharing *s, pid_t tid, u32 memory, bool shared)
{
  s64 i = find(s, tid);

  if (i < 0 && s->count == CSN_TASKS)
    s->lost = true;
  if (i < 0 && !s->lost)
    i = s->count++;
  if (i < 0)
    return;
  s->task[i].tid = tid;
  s->task[i].memory = memory;
  s->task[i].shared = shared;
}

/* Another runs in the memory of tid from now on. */
static void
share(struct csn_sharing *s, pid_t tid)
{
  const s64 i = find(s, tid);

  if (i < 0) {
    set(s, tid, ++s->memories, true);
    return;
  }
  if (s->task[i].shared)
    return;
  for (u32 k = 0; k < s->count; k++)
    if (s->task[k].memory == s->task[i].memory)
      s->task[k].shared = true;
}

/* fork(), or clone() as that: not clone3(), whose flags are in memory. */
static bool
copies(pid_t tid)
{
  struct seccomp_data d;

  if (csn_read_call(tid, &d) < 0 || !csn_is_native(d.arch, (u64)(u32)d.nr))
    return false;
#ifdef __NR_fork
  if (d.nr == __NR_fork)
    return true;
#endif
  return d.nr == __NR_clone && !(d.args[0] & CLONE_VM);
}

void
csn_sharing_exec(struct csn_sharing *s, pid_t tid, pid_t former)
{
  if (former != tid)
    csn_sharing_end(s, former);
  set(s, tid, ++s->memories, false);
}

void
csn_sharing_child(struct csn_sharing *s, pid_t tid, pid_t child, int event)
{
  const s64 maker = find(s, tid);
  const bool known = find(s, child) >= 0; /* it has run since */

  if (event == PTRACE_EVENT_FORK && copies(tid)) {
    if (!known)
      set(s, child, ++s->memories, false);
  } else if (event == PTRACE_EVENT_VFORK && !known && maker >= 0) {
    set(s, child, s->task[maker].memory, s->task[maker].shared);
  } else {
    share(s, tid);
  }
}

void
csn_sharing_end(struct csn_sharing *s, pid_t tid)
{
  const s64 i = find(s, tid);

  if (i >= 0)
    s->task[i] = s->task[--s->count];
}

bool
csn_is_alone(const struct csn_sharing *s, pid_t tid)
{
  const s64 i = find(s, tid);

  return i >= 0 && !s->lost && !s->task[i].shared;
}
