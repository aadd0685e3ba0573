/* SPDX-License-Identifier: MIT
 * CPU affinity from a list such as "0-3,5,7-9" (cpuset(7), "List format"; sched_setaffinity(2)). */
#include "prim.h"

#define MAX_CPUS 65536 /* eight times what any kernel is built for */

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

/* Bits of the list into mask; limit: the first number that the kernel has no bit for. */
static int
parse_list(const char *s, u64 *mask, u32 limit, struct csn_ctx *c)
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
        return csn_detail(c, -EINVAL, "a number past the kernel's last CPU", NULL);
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
  long size = csn_sys(__NR_sched_getaffinity, 0, sizeof(got), got);
  int rc;

  if (size < 0)
    return (int)size;
  if ((rc = parse_list(csn_s(c, a->cpus), mask, (u32)size * 8, c)) < 0 ||
      (rc = (int)csn_sys(__NR_sched_setaffinity, 0, size, mask)) < 0)
    return rc;
  /* The kernel takes what it can and drops the rest; what was asked for is what must be. */
  size = csn_sys(__NR_sched_getaffinity, 0, sizeof(got), got);
  for (u32 i = 0; i < MAX_CPUS && size > 0; i++)
    if ((mask[i / 64] & ~got[i / 64]) >> i % 64 & 1)
      return missing_cpu(i, c);
  return size < 0 ? (int)size : 0;
}

CSN_PRIMITIVE(affinity, "affinity", AFFINITY, CSN_CHILD | CSN_SELF, apply_affinity, NULL, "$cpus")
