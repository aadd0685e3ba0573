/* SPDX-License-Identifier: MIT
 * Between the files that build seccomp programs: what Lua says, read into C, and what is made of it. */
#ifndef CSN_SECCOMP_BUILD_H
#define CSN_SECCOMP_BUILD_H

#include "csn.h"
#include <seccomp.h>

#pragma GCC visibility push(hidden)

#define CSN_X32_BIT 0x40000000u /* x32's numbers are x86-64's architecture and this */

struct csn_rule {
  u32 action;
  unsigned nargs;
  struct scmp_arg_cmp args[6];
  bool equalities; /* every comparison is == or masked */
};

/* ---- seccomp_rules.c ---- */

extern const char *const csn_arch_names[]; /* libseccomp's words; it need not know all */

u32 csn_read_arch(lua_State *L, int idx);
u32 csn_read_action(lua_State *L, int idx, const char *what);
void csn_want_table(lua_State *L, int idx, const char *key);

/* The length of the list at idx; without other_keys it may have no named fields. */
u32 csn_list_length(lua_State *L, int idx, const char *key, bool other_keys);

/* The rule at idx: its action and conditions into r; returns the number of its names. */
u32 csn_read_rule(lua_State *L, int idx, int number, struct csn_rule *r);

/* Name i of the rule at idx; it is the rule's, and valid while that is. */
const char *csn_read_rule_name(lua_State *L, int idx, int number, u32 i);

#pragma GCC visibility pop

#endif
