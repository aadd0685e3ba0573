/* SPDX-License-Identifier: MIT
 * Rules of seccomp programs as Lua has them, checked and read into C. */
#define _GNU_SOURCE
#include "csn.h"
#include "seccomp_build.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* libseccomp's own words for architectures, of the kernels that we know people to run. */
const char *const csn_arch_names[] = {
  "x86_64",      "x86",    "x32",      "aarch64",     "arm",    "riscv64",   "ppc64le", "ppc64",
  "ppc",         "s390x",  "s390",     "mips",        "mips64", "mips64n32", "mipsel",  "mipsel64",
  "mipsel64n32", "parisc", "parisc64", "loongarch64", "m68k",   "sh",        "sheb",    NULL
};

CSN_WORDS(operator_words) = {
  { "==", SCMP_CMP_EQ },
  { "!=", SCMP_CMP_NE },
  { "<", SCMP_CMP_LT },
  { "<=", SCMP_CMP_LE },
  { ">", SCMP_CMP_GT },
  { ">=", SCMP_CMP_GE },
  { "masked", SCMP_CMP_MASKED_EQ },
  { NULL, 0 },
};

CSN_WORDS(action_words) = {
  { "kill_process", SCMP_ACT_KILL_PROCESS },
  { "kill_thread", SCMP_ACT_KILL_THREAD },
  { "trap", SCMP_ACT_TRAP },
  { "errno", SCMP_ACT_ERRNO(0) },
  { "notify", SCMP_ACT_NOTIFY },
  { "trace", SCMP_ACT_TRACE(0) },
  { "log", SCMP_ACT_LOG },
  { "allow", SCMP_ACT_ALLOW },
  { NULL, 0 },
};

/* An errno by name or number. */
static u32
to_errno(lua_State *L, int idx, const char *what)
{
  if (lua_type(L, idx) == LUA_TSTRING)
    for (int e = 1; e < 134; e++)
      if (csn_errname(e) && strcmp(csn_errname(e), lua_tostring(L, idx)) == 0)
        return (u32)e;
  if (lua_type(L, idx) == LUA_TNUMBER) {
    u64 n = csn_to_u64(L, idx, what, false);

    if (n <= 4094) /* libseccomp's limit; the kernel's is 4095 */
      return (u32)n;
  }
  return (u32)luaL_error(L, "option '%s': an errno such as 'ENOSYS', or a number to 4094, expected",
                         what);
}

/* "allow", "errno" (EPERM), { "errno", "ENOSYS" }, { "trace", 7 } */
u32
csn_read_action(lua_State *L, int idx, const char *what)
{
  u32 action;

  idx = lua_absindex(L, idx);
  if (lua_type(L, idx) != LUA_TTABLE) {
    action = (u32)csn_to_words(L, idx, action_words, what, false, false);
    return action == SCMP_ACT_ERRNO(0) ? SCMP_ACT_ERRNO(EPERM) : action;
  }
  lua_rawgeti(L, idx, 1);
  action = (u32)csn_to_words(L, -1, action_words, what, false, false);
  lua_rawgeti(L, idx, 2);
  if (lua_rawlen(L, idx) != 2 || (action != SCMP_ACT_ERRNO(0) && action != SCMP_ACT_TRACE(0)))
    luaL_error(L, "option '%s': {\"errno\", errno} or {\"trace\", number} expected", what);
  if (action == SCMP_ACT_ERRNO(0)) {
    action = SCMP_ACT_ERRNO(to_errno(L, -1, what));
  } else {
    u64 n = csn_to_u64(L, -1, what, false);

    if (n > 0xffff)
      luaL_error(L, "option '%s': a trace number is at most 65535", what);
    action = SCMP_ACT_TRACE((u16)n);
  }
  lua_pop(L, 2);
  return action;
}

/* 64 bits: a number, a decimal string, or hexadecimal with 0x */
static u64
to_value(lua_State *L, int idx)
{
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tostring(L, idx);
    char *end;

    if (s[0] == '0' && s[1] == 'x') {
      u64 v = strtoull(s, &end, 16);

      if (*end || end - s < 3 || end - s > 18 || (size_t)(end - s) != lua_rawlen(L, idx) ||
          s[2] == '-' || s[2] == '+')
        luaL_error(L, "option 'args': '%s' is no number of 64 bits", s);
      return v;
    }
  }
  return csn_to_u64(L, idx, "args", false);
}

/* { index, op, value [, value_two] } on top of the stack */
static struct scmp_arg_cmp
to_arg(lua_State *L)
{
  struct scmp_arg_cmp a = { 0 };
  int t = lua_gettop(L);
  u32 keys = 0;
  u64 index;

  if (lua_type(L, t) != LUA_TTABLE)
    luaL_error(L, "option 'args': a list of {index, operator, value} expected, got %s",
               luaL_typename(L, t));
  for (int i = 1; i <= 4; i++)
    lua_rawgeti(L, t, i);
  index = csn_to_u64(L, t + 1, "args", false);
  if (index > 5)
    luaL_error(L, "option 'args': an argument's index is 0 to 5, got %d",
               (int)(index < 1000 ? index : 1000));
  a.arg = (unsigned)index;
  a.op = (enum scmp_compare)csn_to_words(L, t + 2, operator_words, "args", false, false);
  a.datum_a = to_value(L, t + 3);
  if (a.op == SCMP_CMP_MASKED_EQ) {
    a.datum_b = to_value(L, t + 4);
    if (a.datum_b & ~a.datum_a)
      luaL_error(L,
                 "option 'args': a masked value has bits outside its mask, and would never match");
  }
  lua_settop(L, t);
  for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
    keys++;
  if (lua_rawlen(L, t) != keys || keys != (a.op == SCMP_CMP_MASKED_EQ ? 4u : 3u))
    luaL_error(
        L, "option 'args': {index, operator, value} or {index, \"masked\", mask, value} expected");
  lua_settop(L, t);
  return a;
}

u32
csn_read_arch(lua_State *L, int idx)
{
  const char *name;

  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option 'architectures': a word expected, got %s", luaL_typename(L, idx));
  name = lua_tostring(L, idx);
  for (int i = 0; csn_arch_names[i]; i++)
    if (strcmp(csn_arch_names[i], name) == 0 && seccomp_arch_resolve_name(name))
      return seccomp_arch_resolve_name(name);
  for (int i = 0; csn_arch_names[i]; i++)
    if (strcmp(csn_arch_names[i], name) == 0)
      luaL_error(L, "option 'architectures': this libseccomp knows no '%s'", name);
  csn_unknown_key(L, "option 'architectures': unknown word", name, csn_arch_names);
  return 0;
}

u32
csn_list_length(lua_State *L, int idx, const char *key, bool other_keys)
{
  size_t n = lua_rawlen(L, idx), keys = 0;

  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    keys += lua_type(L, -2) == LUA_TNUMBER || !other_keys;
  if (keys != n || n > 65536)
    luaL_error(L, "option '%s': a list without holes or names expected", key);
  return (u32)n;
}

void
csn_want_table(lua_State *L, int idx, const char *key)
{
  if (lua_type(L, idx) != LUA_TTABLE)
    luaL_error(L, "option '%s': table expected, got %s", key, luaL_typename(L, idx));
}

u32
csn_read_rule(lua_State *L, int idx, int number, struct csn_rule *r)
{
  static const char *const keys[] = { "action", "args", NULL };
  const int top = lua_gettop(L);
  u32 n;

  csn_want_table(L, idx, "rules");
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), keys[0]) &&
        strcmp(lua_tostring(L, -2), keys[1]))
      csn_unknown_key(L, "rules: unknown option", lua_tostring(L, -2), keys);
    else if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
      luaL_error(L, "rules: option names are strings, got %s", luaL_typename(L, -2));
  n = csn_list_length(L, idx, "rules", true);
  if (n == 0)
    luaL_error(L, "rule %d names no system call", number);
  if (!csn_field(L, idx, "action"))
    luaL_error(L, "rule %d: option 'action' is missing", number);
  r->action = csn_read_action(L, -1, "action");
  r->nargs = 0;
  r->equalities = true;
  lua_settop(L, top);
  if (!csn_field(L, idx, "args"))
    return n;
  csn_want_table(L, -1, "args");
  r->nargs = csn_list_length(L, top + 1, "args", false);
  if (r->nargs > 6)
    luaL_error(L, "rule %d: a system call has at most six arguments", number);
  for (unsigned i = 0; i < r->nargs; i++) {
    lua_rawgeti(L, top + 1, (int)i + 1);
    r->args[i] = to_arg(L);
    lua_settop(L, top + 1);
    if (r->args[i].op != SCMP_CMP_EQ && r->args[i].op != SCMP_CMP_MASKED_EQ)
      r->equalities = false;
    for (unsigned k = 0; k < i; k++)
      if (r->args[k].arg == r->args[i].arg)
        luaL_error(L, "rule %d: argument %d is compared twice; a rule has one comparison for each",
                   number, (int)r->args[i].arg);
  }
  lua_settop(L, top);
  return n;
}

const char *
csn_read_rule_name(lua_State *L, int idx, int number, u32 i)
{
  const char *name;

  lua_rawgeti(L, idx, (int)i + 1);
  if (lua_type(L, -1) != LUA_TSTRING || strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
    luaL_error(L, "rule %d: the name of a system call expected, got %s", number,
               luaL_typename(L, -1));
  name = lua_tostring(L, -1);
  lua_pop(L, 1);
  return name;
}
