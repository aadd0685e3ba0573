/* SPDX-License-Identifier: MIT
 * Core scheduling: who may run on the other hardware thread of a core (PR_SCHED_CORE of prctl(2)). */
#include "prim.h"
#include <linux/prctl.h>

CSN_WORDS(cookie_words) = {
  { "create", PR_SCHED_CORE_CREATE },
  { "share_to", PR_SCHED_CORE_SHARE_TO },
  { "share_from", PR_SCHED_CORE_SHARE_FROM },
  { NULL, 0 },
};

CSN_WORDS(scope_words) = { { "thread", 0 }, { "process", 1 }, { "group", 2 }, { NULL, 0 } };

#define CORE_SCHEDULING(F)                                                                         \
  F(word, cookie, CSN_REQUIRED, cookie_words, 0)                                                   \
  F(u32, pid, 0, NULL, 0)                                                                          \
  F(word, scope, 0, scope_words, 1)
CSN_ARGS(core_scheduling, CORE_SCHEDULING)

/* Only tasks with the same cookie share a core at one time. create: a new one for this process; share_to
 * gives its own to pid, share_from takes that of pid. A process has it for itself and its children. */
static int
apply_core_scheduling(const struct core_scheduling_args *a, struct csn_ctx *c)
{
  /* the kernel takes a cookie of a single thread only */
  u64 scope = a->cookie == PR_SCHED_CORE_SHARE_FROM ? 0 : a->scope;
  long rc;

  if ((a->cookie == PR_SCHED_CORE_CREATE) == (a->pid != 0))
    return csn_detail(c, -EINVAL, a->pid ? "a new cookie is of no other process" : "whose? pid",
                      NULL);
  rc = csn_sys(__NR_prctl, PR_SCHED_CORE, a->cookie, a->pid, scope, 0);
  if (rc == -ENODEV)
    return csn_detail(c, (int)rc, "no core of this machine has two hardware threads", NULL);
  if (rc == -EINVAL)
    return csn_detail(c, (int)rc, "this kernel has no core scheduling (CONFIG_SCHED_CORE)", NULL);
  if (rc == -ESRCH)
    return csn_detail(c, (int)rc, "no such process", NULL);
  return rc == -EPERM ? csn_detail(c, (int)rc, "no right to trace that process", NULL) : (int)rc;
}

CSN_PRIMITIVE(core_scheduling, "core_scheduling", CORE_SCHEDULING, CSN_CHILD | CSN_SELF,
              apply_core_scheduling, NULL, "$cookie[ $pid][ $scope]")
