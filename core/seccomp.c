/* SPDX-License-Identifier: MIT
 *
 * seccomp(2): a filter program, loaded. Programs are built in the library (seccomp_build.c) or come from
 * elsewhere; what loads them knows nothing but bytes, so that it can run in the container.
 *
 * Loading needs no_new_privs, or CAP_SYS_ADMIN in the user namespace: with the first the step stands
 * right before exec, with the second it must come before capabilities are dropped, and the filter has
 * to allow what follows.
 */
#include "prim.h"
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

CSN_WORDS(flag_words) = {
  { "tsync", SECCOMP_FILTER_FLAG_TSYNC },
  { "log", SECCOMP_FILTER_FLAG_LOG },
  { "spec_allow", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
  { "new_listener", SECCOMP_FILTER_FLAG_NEW_LISTENER },
  { "wait_killable_recv", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
  { NULL, 0 },
};

#define SECCOMP(F)                                                                                 \
  F(bytes, program, CSN_REQUIRED, NULL, 0)                                                         \
  F(flags, flags, 0, flag_words, 0)                                                                \
  F(slot, listener, CSN_OUT, NULL, (u64)-1)
CSN_ARGS(seccomp, SECCOMP)

/* A flag is known to the kernel where, with no program, it complains of the pointer first. */
static bool
flag_known(u64 flag)
{
  if (flag == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
    flag |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  return csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) == -EFAULT;
}

/* EINVAL says little; which of its reasons was it? */
static int
say_why_invalid(u64 flags, struct csn_ctx *c)
{
  if ((flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) &&
      !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
    return csn_detail(c, -EINVAL, "flag wait_killable_recv needs a listener", NULL);
  for (const struct csn_word *w = flag_words; w->name; w++)
    if ((flags & w->value) && !flag_known(w->value))
      return csn_detail(c, -EINVAL, "this kernel does not know flag ", w->name);
  return csn_detail(c, -EINVAL, "this is no valid program", NULL);
}

static int
say_why(u64 flags, struct csn_ctx *c, int rc)
{
  switch (rc) {
  case -EACCES:
    return csn_detail(c, rc, "neither no_new_privs nor CAP_SYS_ADMIN", NULL);
  case -EBUSY:
    return csn_detail(c, rc, "a filter with a listener is there already", NULL);
  case -EINVAL:
    return say_why_invalid(flags, c);
  }
  return rc;
}

static int
apply_seccomp(const struct seccomp_args *a, struct csn_ctx *c)
{
  struct sock_fprog prog = { .len = (unsigned short)(a->program.len / sizeof(struct sock_filter)),
                             .filter = (void *)(uintptr_t)csn_s(c, a->program) };
  const bool named = a->present >> 2 & 1; /* in a direct call the slot is always there */
  u64 flags = a->flags;
  long rc;

  if (a->program.len == 0 || a->program.len % sizeof(struct sock_filter) ||
      a->program.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
    return csn_detail(c, -EINVAL, "a program is 1 to 4096 instructions of 8 bytes", NULL);
  if (named)
    flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) && a->listener < 0)
    return csn_detail(c, -EINVAL, "flag new_listener needs the name of a slot: option listener",
                      NULL);
  if (c->courier) /* what is executed will have no other thread */
    flags &= ~(u64)SECCOMP_FILTER_FLAG_TSYNC;
  /* A listener and a thread id can't both be the answer. */
  if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) && (flags & SECCOMP_FILTER_FLAG_TSYNC))
    flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
  rc = csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
  if (rc < 0)
    return say_why(flags, c, (int)rc);
  if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
    return csn_fill(c, a->listener, rc);
  if (rc > 0)
    return csn_detail(c, -ESRCH, "tsync: a thread has a filter of its own", NULL);
  return 0;
}

CSN_PRIMITIVE(seccomp, "seccomp", SECCOMP, CSN_CHILD | CSN_SELF | CSN_LAST, apply_seccomp, NULL,
              "$program[ $flags][ listener=$listener]")
