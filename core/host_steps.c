/* SPDX-License-Identifier: MIT
 *
 * The steps of a plan that are the host's: one by one, and taken back in reverse.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include "path.h"
#include <errno.h>

/* Before one of this side's that needs no child; 0 or -errno. */
int
csn_ask_before(struct csn_spawn *s, u32 step)
{
  int rc = s->before ? csn_call_before(s, &s->ctx, step, false) : 0;

  if (rc > 0)
    s->skipped[step] = ECANCELED;
  return rc < 0 ? rc : 0;
}

/* One step of the parent's side; it is noted, to be undone in reverse. */
int
csn_parent_step(struct csn_spawn *s, u32 i)
{
  const struct csn_step *st = csn_plan_step(s->plan, i);
  const struct csn_primitive *p = csn_step_prim(st);
  const void *args = (const u8 *)s->plan + st->args;
  u64 began = 0;
  int rc;

  if (s->skipped[i]) /* whoever stands at a breakpoint wants it so */
    return 0;
  if (s->timed)
    began = csn_monotonic_ns();
  s->ctx.detail_len = 0;
  s->ctx.detail[0] = 0;
  if (s->header.fail_errno && s->header.fail_step == i)
    rc = -s->header.fail_errno;
  else if (p->action == CSN_ACT_LUA)
    rc = csn_call_lua(s, &s->ctx, csn_s(&s->ctx, ((const struct engine_lua_args *)args)->name));
  else
    rc = p->apply(args, &s->ctx);
  csn_leave_dir(&s->ctx);
  if (s->timed)
    csn_tell_time(s, i, began, rc);
  if (rc >= 0) {
    s->done[i] = (u8)(1 + rc);
    rc = 0;
  } else if (st->flags & CSN_STEP_OPTIONAL) {
    s->skipped[i] = (u8)-rc;
    rc = 0;
  }
  return rc;
}

int
csn_parent_steps(struct csn_spawn *s, u32 first, s64 *at)
{
  int rc = 0;

  for (u32 i = first; rc == 0 && i < s->plan->nsteps; i++) {
    if (csn_plan_step(s->plan, i)->side != CSN_PARENT)
      break;
    *at = i;
    rc = csn_parent_step(s, i);
  }
  return rc;
}

void
csn_undo(struct csn_spawn *s)
{
  for (u32 i = s->plan->nsteps; i-- > 0;) {
    const struct csn_step *st = csn_plan_step(s->plan, i);
    const struct csn_primitive *p = csn_step_prim(st);

    s->ctx.made = s->done[i] - 1;
    if (s->done[i] && p->undo)
      p->undo((const u8 *)s->plan + st->args, &s->ctx);
    s->done[i] = 0;
  }
}
