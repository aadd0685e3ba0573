/* SPDX-License-Identifier: MIT
 * Credentials: supplementary groups, then gid, then uid, in that order (setgroups(2), setresgid(2),
 * setresuid(2)). */
#include "prim.h"
#include <linux/prctl.h>
#include <linux/mman.h>

#define NO_ID                                                                                      \
  0xffffffffu /* (uid_t)-1: "unchanged" to the kernel, and so never what was asked for */
#define NGROUPS 65536

#define GROUPS(F) F(u64s, groups, CSN_REQUIRED, NULL, 0)
CSN_ARGS(groups, GROUPS)

static int
set_groups(const u64 *groups, u32 n, u32 *gids, struct csn_ctx *c)
{
  for (u32 i = 0; i < n; i++) {
    if (groups[i] >= NO_ID)
      return csn_detail(c, -EINVAL, "a group id is at most 4294967294", NULL);
    gids[i] = (u32)groups[i];
  }
  return (int)csn_sys(__NR_setgroups, n, gids);
}

static int
apply_groups(const struct groups_args *a, struct csn_ctx *c)
{
  u32 few[64], n = a->groups.count;
  long many;
  int rc;

  if (n > NGROUPS)
    return csn_detail(c, -EINVAL, "the kernel takes 65536 groups", NULL);
  if (n <= sizeof(few) / sizeof(few[0]))
    return set_groups(csn_l(c, a->groups), n, few, c);
  many = csn_sys(__NR_mmap, 0, n * sizeof(u32), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
  if (many < 0)
    return (int)many;
  rc = set_groups(csn_l(c, a->groups), n, (u32 *)many, c);
  csn_sys(__NR_munmap, many, n * sizeof(u32));
  return rc;
}

CSN_PRIMITIVE(groups, "groups", GROUPS, CSN_CHILD | CSN_SELF, apply_groups, NULL, "$groups")

#define GID(F) F(u32, gid, CSN_REQUIRED, NULL, 0)
CSN_ARGS(gid, GID)

static int
apply_gid(const struct gid_args *a, struct csn_ctx *c)
{
  if (a->gid >= NO_ID)
    return csn_detail(c, -EINVAL, "a group id is at most 4294967294", NULL);
  return (int)csn_sys(__NR_setresgid, a->gid, a->gid, a->gid);
}

CSN_PRIMITIVE(gid, "gid", GID, CSN_CHILD | CSN_SELF, apply_gid, NULL, "$gid")

#define UID(F)                                                                                     \
  F(u32, uid, CSN_REQUIRED, NULL, 0)                                                               \
  F(bool, keep_capabilities, 0, NULL, 0)
CSN_ARGS(uid, UID)

static int
apply_uid(const struct uid_args *a, struct csn_ctx *c)
{
  long rc = 0, off;

  if (a->uid >= NO_ID)
    return csn_detail(c, -EINVAL, "a user id is at most 4294967294", NULL);
  /* Leaving uid 0 clears the permitted set, unless this says otherwise; the effective set is cleared all
   * the same, for the capabilities step to set. */
  if (a->keep_capabilities)
    if ((rc = csn_sys(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0)) < 0)
      return csn_detail(c, (int)rc, "keeping capabilities", NULL);
  if (rc == 0)
    rc = csn_sys(__NR_setresuid, a->uid, a->uid, a->uid);
  if (a->keep_capabilities && (off = csn_sys(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0)) < 0 &&
      rc == 0)
    rc = off;
  return (int)rc;
}

CSN_PRIMITIVE(uid, "uid", UID, CSN_CHILD | CSN_SELF, apply_uid, NULL, "$uid[ ($keep_capabilities)]")
