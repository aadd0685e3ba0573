/* SPDX-License-Identifier: MIT
 *
 * Where a process runs and has its memory: CPU affinity and NUMA policy, from lists such as "0-3,5,7-9"
 * (cpuset(7), "List format"; sched_setaffinity(2), set_mempolicy(2)).
 */
#include "prim.h"

#define MAX_CPUS 65536 /* eight times what any kernel is built for */
#define MAX_NODES 1024 /* CONFIG_NODES_SHIFT is 10 at most */

#define AFFINITY(F) F(str, cpus, CSN_REQUIRED, NULL, 0)
CSN_ARGS(affinity, AFFINITY)

static const char *
skip_spaces(const char *s)
{
  while (*s == ' ' || *s == '\t' || *s == '\n')
    s++;
  return s;
}

static const char *
read_number(const char *s, u32 *n)
{
  const char *from = s;

  for (*n = 0; *s >= '0' && *s <= '9'; s++)
    if (*n < MAX_CPUS)
      *n = *n * 10 + (u32)(*s - '0');
  return s == from ? NULL : skip_spaces(s);
}

/* Bits of the list into mask; limit: the first number that the kernel has no bit for, which is called so. */
static int
parse_list(const char *s, u64 *mask, u32 limit, const char *kind, struct csn_ctx *c)
{
  bool any = false;

  for (;;) {
    u32 first, last;

    s = skip_spaces(s);
    if (*s && *s != ',') {
      s = read_number(s, &first);
      if (!s)
        return csn_detail(c, -EINVAL, "a list such as 0-3,5 is expected", NULL);
      last = first;
      if (*s == '-' && !(s = read_number(skip_spaces(s + 1), &last)))
        return csn_detail(c, -EINVAL, "a range has two ends", NULL);
      if (last < first)
        return csn_detail(c, -EINVAL, "a range is reversed", NULL);
      if (last >= limit)
        return csn_detail(c, -EINVAL, "a number past the kernel's last ", kind);
      for (u32 i = first; i <= last; i++)
        mask[i / 64] |= 1ull << i % 64;
      any = true;
    }
    if (!*s)
      break;
    if (*s++ != ',')
      return csn_detail(c, -EINVAL, "a list such as 0-3,5 is expected", NULL);
  }
  return any ? 0 : csn_detail(c, -EINVAL, "the list is empty", NULL);
}

static int
missing_cpu(u32 cpu, struct csn_ctx *c)
{
  char text[64];
  size_t n = csn_append(text, sizeof(text), 0, "CPU ");

  n = csn_append_u64(text, sizeof(text), n, cpu);
  csn_append(text, sizeof(text), n, " is offline, or not of this cgroup");
  return csn_detail(c, -EINVAL, text, NULL);
}

static int
apply_affinity(const struct affinity_args *a, struct csn_ctx *c)
{
  u64 mask[MAX_CPUS / 64] = { 0 }, got[MAX_CPUS / 64] = { 0 };
  long size = csn_sys(__NR_sched_getaffinity, c->pid, sizeof(got), got);
  int rc;

  if (size < 0)
    return (int)size;
  if ((rc = parse_list(csn_s(c, a->cpus), mask, (u32)size * 8, "CPU", c)) < 0 ||
      (rc = (int)csn_sys(__NR_sched_setaffinity, c->pid, size, mask)) < 0)
    return rc;
  /* The kernel takes what it can and drops the rest; what was asked for is what must be. */
  size = csn_sys(__NR_sched_getaffinity, c->pid, sizeof(got), got);
  for (u32 i = 0; i < MAX_CPUS && size > 0; i++)
    if ((mask[i / 64] & ~got[i / 64]) >> i % 64 & 1)
      return missing_cpu(i, c);
  return size < 0 ? (int)size : 0;
}

CSN_PRIMITIVE(affinity, "affinity", AFFINITY, CSN_CHILD | CSN_OF_PID, apply_affinity, NULL, "$cpus")

/* ---- NUMA ---- */

CSN_WORDS(mempolicy_words) = {
  { "default", 0 },
  { "preferred", 1 },
  { "bind", 2 },
  { "interleave", 3 },
  { "local", 4 },
  { "preferred_many", 5 },
  { "weighted_interleave", 6 },
  { NULL, 0 },
};

CSN_WORDS(mempolicy_flag_words) = {
  { "numa_balancing", 1u << 13 },
  { "relative_nodes", 1u << 14 },
  { "static_nodes", 1u << 15 },
  { NULL, 0 },
};

#define MEMORY_POLICY(F)                                                                           \
  F(word, mode, CSN_REQUIRED, mempolicy_words, 0)                                                  \
  F(str, nodes, 0, NULL, 0)                                                                        \
  F(flags, flags, 0, mempolicy_flag_words, 0)
CSN_ARGS(memory_policy, MEMORY_POLICY)

/* The kernel takes the nodes that it has and drops the rest; what was asked for is what must be. */
static int
check_nodes(const u64 *mask, u64 mode, struct csn_ctx *c)
{
  u64 got[MAX_NODES / 64] = { 0 };
  int now = 0;
  long rc = csn_sys(__NR_get_mempolicy, &now, got, MAX_NODES + 1, 0, 0);

  if (rc < 0)
    return (int)rc;
  for (u32 i = 0; i < MAX_NODES; i++)
    if ((mask[i / 64] & ~got[i / 64]) >> i % 64 & 1) {
      char text[64];
      size_t n = csn_append(text, sizeof(text), 0, "node ");

      n = csn_append_u64(text, sizeof(text), n, i);
      csn_append(text, sizeof(text), n, " is not there, or not of this cgroup");
      return csn_detail(c, -EINVAL, text, NULL);
    }
  return (now & 0xff) == (int)mode ? 0
                                   : csn_detail(c, -EINVAL, "the kernel took another mode", NULL);
}

static int
apply_memory_policy(const struct memory_policy_args *a, struct csn_ctx *c)
{
  u64 mask[MAX_NODES / 64] = { 0 };
  bool nodes = a->nodes.off;
  long rc = 0;

  if (nodes)
    rc = parse_list(csn_s(c, a->nodes), mask, MAX_NODES, "node", c);
  if (rc < 0)
    return (int)rc;
  /* the kernel counts one bit less than it is told */
  rc = csn_sys(__NR_set_mempolicy, a->mode | a->flags, nodes ? mask : NULL,
               nodes ? MAX_NODES + 1 : 0);
  if (rc == -ENOSYS)
    return csn_detail(c, (int)rc, "this kernel has no NUMA", NULL);
  if (rc == -EINVAL)
    return csn_detail(c, (int)rc,
                      nodes ? "no such node here, or a mode or flag that takes none, or is unknown"
                            : "this mode needs nodes, or is unknown here",
                      NULL);
  /* relative numbers are mapped, so they can't be looked for */
  return rc < 0 || !nodes || (a->flags & 1u << 14) ? (int)rc : check_nodes(mask, a->mode, c);
}

CSN_PRIMITIVE(memory_policy, "memory_policy", MEMORY_POLICY, CSN_CHILD | CSN_SELF,
              apply_memory_policy, NULL, "$mode[ $nodes][ ($flags)]")
