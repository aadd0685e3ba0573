/* SPDX-License-Identifier: MIT
 * What a process does to be traced: by its parent, or by one that may not without its leave (ptrace(2)).
 * The tracer's own calls are ptrace.c. */
#include "prim.h"
#include <linux/prctl.h>
#include <linux/ptrace.h>

#ifndef PTRACE_TRACEME
#define PTRACE_TRACEME 0
#endif

#define PTRACE_ME(F)
CSN_ARGS(ptrace_me, PTRACE_ME)

/* An init would be the parent of the program, and has a filter that lets it trace nobody; executed as the
 * child is, it would stop for a host that waits for its word. */
static int
apply_ptrace_me(const struct ptrace_me_args *a, struct csn_ctx *c)
{
  (void)a;
  if (c->init)
    return csn_detail(c, -EINVAL, "the program's parent is its init, which traces nobody", NULL);
  return (int)csn_sys(__NR_ptrace, PTRACE_TRACEME, 0, 0, 0);
}

CSN_PRIMITIVE(ptrace_me, "ptrace_me", PTRACE_ME, CSN_CHILD | CSN_SELF, apply_ptrace_me, NULL, "")

CSN_WORDS(who_words) = { { "none", 0 }, { "any", ~0ull }, { NULL, 0 } };

#define PTRACER(F) F(word, who, CSN_REQUIRED, who_words, 0)
CSN_ARGS(ptracer, PTRACER)

/* The Yama module lets nobody but ancestors trace; without it (EINVAL) there is nothing to allow. */
static int
apply_ptracer(const struct ptracer_args *a, struct csn_ctx *c)
{
  long rc = csn_sys(__NR_prctl, PR_SET_PTRACER, a->who, 0, 0, 0);

  (void)c;
  return rc == -EINVAL ? 0 : (int)rc;
}

CSN_PRIMITIVE(ptracer, "ptracer", PTRACER, CSN_CHILD | CSN_SELF, apply_ptracer, NULL, "$who")
