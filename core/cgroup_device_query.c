/* SPDX-License-Identifier: MIT
 * Device programs from the host's side: what rules become, and what is attached to a group. */
#define _GNU_SOURCE
#include "encode.h"
#include "cgroup.h"
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

/* core.cgroup.device_program(rules) -> the program's instructions as bytes | nil, message, errno */
static int
l_device_program(lua_State *L)
{
  struct bpf_insn insn[CSN_DEVICE_INSNS];
  const u64 *args;
  struct csn_ctx c = { 0 };
  struct csn_list rules;
  struct csn_buf *b;
  u32 at, prim;
  int n;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, 2, "rules");
  lua_newtable(L);
  b = csn_new_buf(L);
  b->slots = 3;
  at = csn_encode_args(L, b, csn_find_primitive("cgroup.devices", &prim), 2);
  args = (const u64 *)(b->p + at); /* which may have moved */
  memcpy(&rules, &args[1], sizeof(rules));
  c.base = b->p;
  n = csn_device_program(&c, rules, insn, CSN_DEVICE_INSNS);
  c.detail[c.detail_len < CSN_DETAIL ? c.detail_len : CSN_DETAIL - 1] = 0;
  if (n < 0)
    return csn_pusherr(L, -n, "%s", c.detail);
  lua_pushlstring(L, (const char *)insn, (size_t)n * sizeof(*insn));
  return 1;
}

/* core.cgroup.device_programs(group) -> ids of those attached to the group itself | nil, message, errno */
static int
l_device_programs(lua_State *L)
{
  u32 ids[64];
  int group = csn_tofd(L, 1), n = csn_cgroup_version(group);

  n = n == 2 ? csn_device_query(group, ids, 64) : n < 0 ? n : -EOPNOTSUPP;
  if (n < 0)
    return csn_pusherr(L, -n, "device programs of the group");
  lua_createtable(L, n, 0);
  for (int i = 0; i < n && i < 64; i++) {
    lua_pushnumber(L, ids[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static void
open_device_query(lua_State *L)
{
  static const luaL_Reg functions[] = { { "device_program", l_device_program },
                                        { "device_programs", l_device_programs },
                                        { NULL, NULL } };

  csn_register(L, "cgroup", functions);
}

CSN_OPEN(open_device_query)
