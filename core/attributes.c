/* SPDX-License-Identifier: MIT
 * Attributes of a process: limits, umask, personality, OOM score, scheduling, no_new_privs and the like. */
#include "procfs.h"
#include <linux/prctl.h>

/* ---- rlimit ---- */

CSN_WORDS(rlimit_words) = {
  { "cpu", 0 },     { "fsize", 1 },       { "data", 2 },      { "stack", 3 },   { "core", 4 },
  { "rss", 5 },     { "nproc", 6 },       { "nofile", 7 },    { "memlock", 8 }, { "as", 9 },
  { "locks", 10 },  { "sigpending", 11 }, { "msgqueue", 12 }, { "nice", 13 },   { "rtprio", 14 },
  { "rttime", 15 }, { NULL, 0 },
};

#define RLIMIT(F)                                                                                  \
  F(word, resource, CSN_REQUIRED, rlimit_words, 0)                                                 \
  F(u64, soft, CSN_REQUIRED | CSN_MAX, NULL, 0)                                                    \
  F(u64, hard, CSN_MAX, NULL, 0)
CSN_ARGS(rlimit, RLIMIT)

static int
apply_rlimit(const struct rlimit_args *a, struct csn_ctx *c)
{
  const struct {
    u64 soft, hard;
  } limit = { a->soft, a->present >> 2 & 1 ? a->hard : a->soft };

  if (limit.soft > limit.hard)
    return csn_detail(c, -EINVAL, "the soft limit is above the hard one", NULL);
  return (int)csn_sys(__NR_prlimit64, 0, a->resource, &limit, NULL);
}

CSN_PRIMITIVE(rlimit, "rlimit", RLIMIT, CSN_CHILD | CSN_SELF, apply_rlimit, NULL,
              "$resource $soft[:$hard]")

/* ---- umask ---- */

#define UMASK(F) F(mode, mode, CSN_REQUIRED, NULL, 0)
CSN_ARGS(umask, UMASK)

static int
apply_umask(const struct umask_args *a, struct csn_ctx *c)
{
  if (a->mode > 0777) /* the kernel would drop the rest without a word */
    return csn_detail(c, -EINVAL, "a umask is at most 0777", NULL);
  csn_sys(__NR_umask, a->mode);
  return 0;
}

CSN_PRIMITIVE(umask, "umask", UMASK, CSN_CHILD | CSN_SELF, apply_umask, NULL, "$mode")

/* ---- personality ---- */

CSN_WORDS(domain_words) = { { "linux", 0 }, { "linux32", 8 }, { NULL, 0 } };

CSN_WORDS(personality_words) = {
  { "uname26", 0x0020000 },
  { "addr_no_randomize", 0x0040000 },
  { "fdpic_funcptrs", 0x0080000 },
  { "mmap_page_zero", 0x0100000 },
  { "addr_compat_layout", 0x0200000 },
  { "read_implies_exec", 0x0400000 },
  { "addr_limit_32bit", 0x0800000 },
  { "short_inode", 0x1000000 },
  { "whole_seconds", 0x2000000 },
  { "sticky_timeouts", 0x4000000 },
  { "addr_limit_3gb", 0x8000000 },
  { NULL, 0 },
};

#define PERSONALITY(F)                                                                             \
  F(word, domain, 0, domain_words, 0)                                                              \
  F(flags, flags, 0, personality_words, 0)
CSN_ARGS(personality, PERSONALITY)

static int
apply_personality(const struct personality_args *a, struct csn_ctx *c)
{
  long rc = csn_sys(__NR_personality, a->domain | a->flags);

  (void)c;
  return rc < 0 ? (int)rc : 0; /* the one that was */
}

CSN_PRIMITIVE(personality, "personality", PERSONALITY, CSN_CHILD | CSN_SELF, apply_personality,
              NULL, "[$domain ][$flags]")

/* ---- OOM score ---- */

#define OOM(F) F(int, value, CSN_REQUIRED, NULL, 0)
CSN_ARGS(oom_score_adj, OOM)

static int
apply_oom(const struct oom_score_adj_args *a, struct csn_ctx *c)
{
  char text[24];
  size_t n;
  int rc;

  if (a->value < -1000 || a->value > 1000)
    return csn_detail(c, -EINVAL, "from -1000 to 1000", NULL);
  n = csn_append(text, sizeof(text), 0, a->value < 0 ? "-" : "");
  n = csn_append_u64(text, sizeof(text), n, (u64)(a->value < 0 ? -a->value : a->value));
  rc = csn_proc_write(csn_proc_open_pid(c, "oom_score_adj", O_WRONLY), text, n);
  if (rc == -EACCES && !c->detail_len)
    csn_detail(c, rc, "lowering it takes CAP_SYS_RESOURCE", NULL);
  return rc;
}

CSN_PRIMITIVE(oom_score_adj, "oom_score_adj", OOM, CSN_CHILD | CSN_OF_PID, apply_oom, NULL,
              "$value")

/* ---- nice, scheduler, ioprio ---- */

static int
check_nice(s64 nice, struct csn_ctx *c)
{
  return nice < -20 || nice > 19 ? csn_detail(c, -EINVAL, "nice is from -20 to 19", NULL) : 0;
}

#define NICE(F) F(int, value, CSN_REQUIRED, NULL, 0)
CSN_ARGS(nice, NICE)

static int
apply_nice(const struct nice_args *a, struct csn_ctx *c)
{
  int rc = check_nice(a->value, c); /* the kernel would clamp it */

  return rc < 0 ? rc : (int)csn_sys(__NR_setpriority, 0 /* PRIO_PROCESS */, 0, a->value);
}

CSN_PRIMITIVE(nice, "nice", NICE, CSN_CHILD | CSN_SELF, apply_nice, NULL, "$value")

CSN_WORDS(policy_words) = {
  { "other", 0 }, { "fifo", 1 },     { "rr", 2 },  { "batch", 3 }, { "iso", 4 },
  { "idle", 5 },  { "deadline", 6 }, { "ext", 7 }, { NULL, 0 },
};

CSN_WORDS(sched_flag_words) = {
  { "reset_on_fork", 0x01 },  { "reclaim", 0x02 },
  { "dl_overrun", 0x04 },     { "keep_policy", 0x08 },
  { "keep_params", 0x10 },    { "util_clamp_min", 0x20 },
  { "util_clamp_max", 0x40 }, { NULL, 0 },
};

#define SCHEDULER(F)                                                                               \
  F(word, policy, CSN_REQUIRED, policy_words, 0)                                                   \
  F(int, nice, 0, NULL, 0)                                                                         \
  F(u32, priority, 0, NULL, 0)                                                                     \
  F(flags, flags, 0, sched_flag_words, 0)                                                          \
  F(u64, runtime, 0, NULL, 0)                                                                      \
  F(u64, deadline, 0, NULL, 0)                                                                     \
  F(u64, period, 0, NULL, 0)                                                                       \
  F(u32, util_min, 0, NULL, 0)                                                                     \
  F(u32, util_max, 0, NULL, 0)
CSN_ARGS(scheduler, SCHEDULER)

static int
apply_scheduler(const struct scheduler_args *a, struct csn_ctx *c)
{
  struct csn_sched_attr attr = { .size = sizeof(attr),
                                 .policy = (u32)a->policy,
                                 .flags = a->flags,
                                 .nice = (s32)a->nice,
                                 .priority = (u32)a->priority,
                                 .runtime = a->runtime,
                                 .deadline = a->deadline,
                                 .period = a->period,
                                 .util_min = (u32)a->util_min,
                                 .util_max = (u32)a->util_max };
  int rc = check_nice(a->nice, c);

  if (rc < 0)
    return rc;
  if (!(a->present >> 1 &
        1)) { /* nice was not given: as it is, which getpriority tells as 20 - nice */
    long now = csn_sys(__NR_getpriority, 0, c->pid);

    attr.nice = now > 0 ? 20 - (s32)now : 0;
  }
  return (int)csn_sys(__NR_sched_setattr, c->pid, &attr, 0);
}

CSN_PRIMITIVE(scheduler, "scheduler", SCHEDULER, CSN_CHILD | CSN_OF_PID, apply_scheduler, NULL,
              "$policy[ nice=$nice][ priority=$priority][ flags=$flags][ runtime=$runtime]"
              "[ deadline=$deadline][ period=$period][ util_min=$util_min][ util_max=$util_max]")

CSN_WORDS(ioprio_words) = {
  { "none", 0 }, { "realtime", 1 }, { "best_effort", 2 }, { "idle", 3 }, { NULL, 0 }
};

#define IOPRIO(F)                                                                                  \
  F(word, class, CSN_REQUIRED, ioprio_words, 0)                                                    \
  F(u32, level, 0, NULL, 0)
CSN_ARGS(ioprio, IOPRIO)

static int
apply_ioprio(const struct ioprio_args *a, struct csn_ctx *c)
{
  if (a->level > 7)
    return csn_detail(c, -EINVAL, "a level is from 0 to 7", NULL);
  return (int)csn_sys(__NR_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, a->class << 13 | a->level);
}

CSN_PRIMITIVE(ioprio, "ioprio", IOPRIO, CSN_CHILD | CSN_SELF, apply_ioprio, NULL, "$class[ $level]")

/* ---- no_new_privs, dumpable, subreaper ---- */

#define NO_NEW_PRIVS(F)
CSN_ARGS(no_new_privs, NO_NEW_PRIVS)

static int
apply_no_new_privs(const struct no_new_privs_args *a, struct csn_ctx *c)
{
  (void)a;
  (void)c;
  return (int)csn_sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

CSN_PRIMITIVE(no_new_privs, "no_new_privs", NO_NEW_PRIVS, CSN_CHILD | CSN_SELF, apply_no_new_privs,
              NULL, "")

#define DUMPABLE(F) F(bool, on, CSN_REQUIRED, NULL, 0)
CSN_ARGS(dumpable, DUMPABLE)

static int
apply_dumpable(const struct dumpable_args *a, struct csn_ctx *c)
{
  (void)c;
  return (int)csn_sys(__NR_prctl, PR_SET_DUMPABLE, a->on, 0, 0, 0);
}

CSN_PRIMITIVE(dumpable, "dumpable", DUMPABLE, CSN_CHILD | CSN_SELF, apply_dumpable, NULL, "$on")

#define SUBREAPER(F) F(bool, on, 0, NULL, 1)
CSN_ARGS(subreaper, SUBREAPER)

static int
apply_subreaper(const struct subreaper_args *a, struct csn_ctx *c)
{
  (void)c;
  return (int)csn_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, a->on, 0, 0, 0);
}

CSN_PRIMITIVE(subreaper, "subreaper", SUBREAPER, CSN_CHILD | CSN_SELF, apply_subreaper, NULL,
              "[$on]")
