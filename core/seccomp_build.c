/* SPDX-License-Identifier: MIT
 *
 * Seccomp programs, built by libseccomp and exported as bytes: core.seccomp.compile() and what a policy
 * asks before it writes rules (names, numbers, architectures, what this kernel can load).
 *
 * libseccomp leaves numbers above the newest call of a filter to the default action. Programs expect
 * ENOSYS of a call that is newer than the policy and fall back to an older one (glibc: clone3, openat2),
 * so option "newest" puts a few instructions before libseccomp's that answer for all newer numbers.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUILD_TYPE "caisson.seccomp.build"
#define MAX_ARCHES 16
#define MAX_PROGRAM (BPF_MAXINSNS * sizeof(struct sock_filter))
#define X32_BIT 0x40000000u

/* libseccomp's own words for architectures, of the kernels that we know people to run. */
static const char *const arch_names[] = { "x86_64",  "x86",     "x32",     "aarch64", "arm",   "riscv64",
                                          "ppc64le", "ppc64",   "ppc",     "s390x",   "s390",  "mips",
                                          "mips64",  "mips64n32", "mipsel", "mipsel64", "mipsel64n32",
                                          "parisc",  "parisc64", NULL };

CSN_WORDS(operator_words) = {
  { "==", SCMP_CMP_EQ }, { "!=", SCMP_CMP_NE }, { "<", SCMP_CMP_LT },
  { "<=", SCMP_CMP_LE }, { ">", SCMP_CMP_GT },  { ">=", SCMP_CMP_GE },
  { "masked", SCMP_CMP_MASKED_EQ }, { NULL, 0 },
};

CSN_WORDS(action_words) = {
  { "kill_process", SCMP_ACT_KILL_PROCESS }, { "kill_thread", SCMP_ACT_KILL_THREAD },
  { "trap", SCMP_ACT_TRAP },                 { "errno", SCMP_ACT_ERRNO(0) },
  { "notify", SCMP_ACT_NOTIFY },             { "trace", SCMP_ACT_TRACE(0) },
  { "log", SCMP_ACT_LOG },                   { "allow", SCMP_ACT_ALLOW },
  { NULL, 0 },
};

/* What a compilation holds while Lua is being read, which may raise. */
struct build {
  scmp_filter_ctx ctx;
  int fd;
  u32 default_action;
  u32 arches[MAX_ARCHES];
  int narches;
  bool note_newest;
  int newest[MAX_ARCHES]; /* of each, the newest call: as asked, or the highest number in a rule */
};

static void
release(struct build *b)
{
  if (b->ctx)
    seccomp_release(b->ctx);
  b->ctx = NULL;
  csn_close(b->fd);
  b->fd = -1;
}

static int
l_free(lua_State *L)
{
  release(lua_touserdata(L, 1));
  return 0;
}

static struct build *
new_build(lua_State *L)
{
  struct build *b = lua_newuserdata(L, sizeof(*b));

  memset(b, 0, sizeof(*b));
  b->fd = -1;
  if (luaL_newmetatable(L, BUILD_TYPE)) {
    lua_pushcfunction(L, l_free);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return b;
}

/* ---- reading ---- */

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

    if (n <= 4095)
      return (u32)n;
  }
  return (u32)luaL_error(L, "option '%s': an errno such as 'ENOSYS', or a number to 4095, expected", what);
}

/* "allow", "errno" (EPERM), { "errno", "ENOSYS" }, { "trace", 7 } */
static u32
to_action(lua_State *L, int idx, const char *what)
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

      if (*end || end - s < 3 || end - s > 18 || (size_t)(end - s) != lua_rawlen(L, idx) || s[2] == '-' ||
          s[2] == '+')
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
  u64 index;

  if (lua_type(L, t) != LUA_TTABLE)
    luaL_error(L, "option 'args': a list of {index, operator, value} expected, got %s", luaL_typename(L, t));
  for (int i = 1; i <= 4; i++)
    lua_rawgeti(L, t, i);
  index = csn_to_u64(L, t + 1, "args", false);
  if (index > 5)
    luaL_error(L, "option 'args': an argument's index is 0 to 5, got %d", (int)(index < 1000 ? index : 1000));
  a.arg = (unsigned)index;
  a.op = (enum scmp_compare)csn_to_words(L, t + 2, operator_words, "args", false, false);
  a.datum_a = to_value(L, t + 3);
  if (a.op == SCMP_CMP_MASKED_EQ) {
    a.datum_b = to_value(L, t + 4);
    if (a.datum_b & ~a.datum_a)
      luaL_error(L, "option 'args': a masked value has bits outside its mask, and would never match");
  }
  if (lua_rawlen(L, t) != (a.op == SCMP_CMP_MASKED_EQ ? 4u : 3u))
    luaL_error(L, "option 'args': {index, operator, value} or {index, \"masked\", mask, value} expected");
  lua_settop(L, t);
  return a;
}

static u32
to_arch(lua_State *L, int idx)
{
  const char *name;

  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option 'architectures': a word expected, got %s", luaL_typename(L, idx));
  name = lua_tostring(L, idx);
  for (int i = 0; arch_names[i]; i++)
    if (strcmp(arch_names[i], name) == 0 && seccomp_arch_resolve_name(name))
      return seccomp_arch_resolve_name(name);
  csn_unknown_key(L, "option 'architectures': unknown word", name, arch_names);
  return 0;
}

static u32
list_length(lua_State *L, int idx, const char *key, bool other_keys)
{
  size_t n = lua_rawlen(L, idx), keys = 0;

  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    keys += lua_type(L, -2) == LUA_TNUMBER || !other_keys;
  if (keys != n || n > 65536)
    luaL_error(L, "option '%s': a list without holes or names expected", key);
  return (u32)n;
}

static void
want_table(lua_State *L, int idx, const char *key)
{
  if (lua_type(L, idx) != LUA_TTABLE)
    luaL_error(L, "option '%s': table expected, got %s", key, luaL_typename(L, idx));
}

static void
read_arches(lua_State *L, struct build *b)
{
  b->arches[0] = seccomp_arch_native();
  b->narches = 1;
  if (!csn_field(L, 1, "architectures"))
    return;
  want_table(L, -1, "architectures");
  b->narches = (int)list_length(L, lua_gettop(L), "architectures", false);
  if (b->narches < 1 || b->narches > MAX_ARCHES)
    luaL_error(L, "option 'architectures': 1 to %d expected", MAX_ARCHES);
  for (int i = 0; i < b->narches; i++) {
    lua_rawgeti(L, -1, i + 1);
    b->arches[i] = to_arch(L, -1);
    lua_pop(L, 1);
    for (int k = 0; k < i; k++)
      if (b->arches[k] == b->arches[i])
        luaL_error(L, "option 'architectures': one is named twice");
  }
  lua_pop(L, 1);
}

/* ---- building ---- */

static int
start(struct build *b, u32 bad_arch)
{
  bool native = false;
  int rc;

  b->ctx = seccomp_init(b->default_action);
  if (!b->ctx)
    return -EINVAL;
  if ((rc = seccomp_attr_set(b->ctx, SCMP_FLTATR_ACT_BADARCH, bad_arch)) < 0 ||
      (rc = seccomp_attr_set(b->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0)
    return rc;
  for (int i = 0; i < b->narches; i++) {
    b->newest[i] = -1;
    if (b->arches[i] == seccomp_arch_native())
      native = true;
    else if ((rc = seccomp_arch_add(b->ctx, b->arches[i])) < 0)
      return rc;
  }
  return native ? 0 : seccomp_arch_remove(b->ctx, SCMP_ARCH_NATIVE);
}

static void
note_newest(struct build *b, const char *name)
{
  for (int i = 0; i < b->narches; i++) {
    int nr = seccomp_syscall_resolve_name_arch(b->arches[i], name);

    if (nr > b->newest[i])
      b->newest[i] = nr;
  }
}

/* One rule, at the top of the stack: its names with its action. Returns 0, or the number of values to
 * return. The list of unknown names is at stack index 3, or there is nil. */
static int
add_rule(lua_State *L, struct build *b, int number)
{
  static const char *const keys[] = { "action", "args", NULL };
  struct scmp_arg_cmp args[6];
  const int t = lua_gettop(L);
  u32 n, nargs = 0, action;

  want_table(L, t, "rules");
  for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), keys[0]) &&
        strcmp(lua_tostring(L, -2), keys[1]))
      csn_unknown_key(L, "rules: unknown option", lua_tostring(L, -2), keys);
    else if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
      luaL_error(L, "rules: option names are strings, got %s", luaL_typename(L, -2));
  n = list_length(L, t, "rules", true);
  if (n == 0)
    luaL_error(L, "rule %d names no system call", number);
  if (!csn_field(L, t, "action"))
    luaL_error(L, "rule %d: option 'action' is missing", number);
  action = to_action(L, -1, "action");
  lua_settop(L, t);
  if (csn_field(L, t, "args")) {
    want_table(L, -1, "args");
    nargs = list_length(L, t + 1, "args", false);
    if (nargs > 6)
      luaL_error(L, "rule %d: a system call has at most six arguments", number);
    for (u32 i = 0; i < nargs; i++) {
      lua_rawgeti(L, t + 1, (int)i + 1);
      args[i] = to_arg(L);
      lua_settop(L, t + 1);
      for (u32 k = 0; k < i; k++)
        if (args[k].arg == args[i].arg)
          luaL_error(L, "rule %d: argument %d is compared twice; a rule has one comparison for each", number,
                     (int)args[i].arg);
    }
  }
  for (u32 i = 1; i <= n; i++) {
    const char *name;
    int nr, rc;

    lua_settop(L, t);
    lua_rawgeti(L, t, (int)i);
    if (lua_type(L, -1) != LUA_TSTRING || strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
      luaL_error(L, "rule %d: the name of a system call expected, got %s", number, luaL_typename(L, -1));
    name = lua_tostring(L, -1);
    nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR) {
      if (lua_isnil(L, 3))
        return csn_pusherr(L, EINVAL, "seccomp rule %d: libseccomp knows no system call '%s'", number, name);
      lua_rawseti(L, 3, (int)lua_rawlen(L, 3) + 1);
      continue;
    }
    if (b->note_newest)
      note_newest(b, name);
    if (action == b->default_action) /* libseccomp takes no rule that says what the default says */
      continue;
    rc = seccomp_rule_add_array(b->ctx, action, nr, nargs, args);
    if (rc == -EEXIST)
      return csn_pusherr(L, EEXIST, "seccomp rule %d: %s: another rule gives these arguments another action",
                         number, name);
    if (rc < 0)
      return csn_pusherr(L, -rc, "seccomp rule %d: %s", number, name);
  }
  lua_settop(L, t);
  return 0;
}

/* Option newest: a name, or true for the highest number of the rules. 0, or the number of values to return. */
static int
read_newest(lua_State *L, struct build *b, bool *prefix)
{
  const char *name;

  *prefix = false;
  if (!csn_field(L, 1, "newest"))
    return 0;
  if (lua_type(L, -1) == LUA_TBOOLEAN) {
    *prefix = b->note_newest = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return 0;
  }
  if (lua_type(L, -1) != LUA_TSTRING)
    return luaL_error(L, "option 'newest': a name, or true, expected, got %s", luaL_typename(L, -1));
  *prefix = true;
  name = lua_tostring(L, -1);
  for (int i = 0; i < b->narches; i++) {
    b->newest[i] = seccomp_syscall_resolve_name_arch(b->arches[i], name);
    if (b->newest[i] < 0)
      return csn_pusherr(L, EINVAL, "option 'newest': libseccomp has no number for '%s'", name);
  }
  lua_pop(L, 1);
  return 0;
}

/* The architecture as the kernel tells it to a filter. */
static u32
audit_arch(u32 arch)
{
  return arch == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : arch;
}

static struct sock_filter
insn(u16 code, u32 k, u8 jt, u8 jf)
{
  return (struct sock_filter){ code, jt, jf, k };
}

/* Instructions that answer ENOSYS above each architecture's newest call; returns their number. */
static u32
newest_prefix(const struct build *b, struct sock_filter *f)
{
  const u32 enosys = SECCOMP_RET_ERRNO | ENOSYS;
  u32 n = 0;

  for (int i = 0; i < b->narches; i++) {
    const bool x32 = b->arches[i] == SCMP_ARCH_X32, x64 = b->arches[i] == SCMP_ARCH_X86_64;
    u32 jump;

    if (b->newest[i] < 0)
      continue;
    f[n++] = insn(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    jump = n;
    f[n++] = insn(BPF_JMP | BPF_JEQ | BPF_K, audit_arch(b->arches[i]), 0, 0);
    f[n++] = insn(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    /* x86-64 and x32 differ by a bit of the number; -1 is no call but a tracer's way to skip one. */
    if (x64)
      f[n++] = insn(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0);
    if (x32) {
      f[n++] = insn(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 3);
      f[n++] = insn(BPF_JMP | BPF_JEQ | BPF_K, ~0u, 2, 0);
    }
    f[n++] = insn(BPF_JMP | BPF_JGT | BPF_K, (u32)b->newest[i] | (x32 ? X32_BIT : 0), 0, 1);
    f[n++] = insn(BPF_RET | BPF_K, enosys, 0, 0);
    f[jump].jf = (u8)(n - jump - 1);
  }
  return n;
}

/* Push prefix and libseccomp's program as one string. */
static int
export(lua_State *L, struct build *b, bool prefix)
{
  struct sock_filter head[MAX_ARCHES * 7];
  u32 n = prefix ? newest_prefix(b, head) : 0;
  size_t size = 0;
  u8 *p;
  int rc;

  b->fd = memfd_create("seccomp", MFD_CLOEXEC);
  if (b->fd < 0)
    return csn_pusherr(L, errno, "memfd for the seccomp program");
  rc = seccomp_export_bpf(b->ctx, b->fd);
  if (rc < 0)
    return csn_pusherr(L, -rc, "build the seccomp program");
  p = lua_newuserdata(L, MAX_PROGRAM + 1);
  memcpy(p, head, n * sizeof(*head));
  size = n * sizeof(*head);
  for (u64 at = 0;;) {
    ssize_t got = pread(b->fd, p + size, MAX_PROGRAM + 1 - size, (off_t)at);

    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return csn_pusherr(L, errno, "read the seccomp program");
    if (got == 0)
      break;
    at += (u64)got;
    size += (size_t)got;
    if (size > MAX_PROGRAM)
      return csn_pusherr(L, E2BIG, "the seccomp program has more than %d instructions", BPF_MAXINSNS);
  }
  lua_pushlstring(L, (const char *)p, size);
  return 1;
}

/*
 * core.seccomp.compile{ default=, rules=, architectures=, bad_architecture=, newest=, skip_unknown= }
 *   -> program, names skipped | nil, message, errno
 */
static int
l_compile(lua_State *L)
{
  static const char *const keys[] = { "default", "rules", "architectures", "bad_architecture", "newest",
                                      "skip_unknown", NULL };
  struct build *b;
  u32 bad_arch = SCMP_ACT_KILL_PROCESS, nrules;
  bool prefix;
  int rc;

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  luaL_checkstack(L, 24, "rules");
  b = new_build(L); /* 2 */
  if (csn_opt_bool(L, 1, "skip_unknown", false))
    lua_newtable(L); /* 3 */
  else
    lua_pushnil(L);
  if (!csn_field(L, 1, "default"))
    return luaL_error(L, "seccomp.compile: option 'default' is missing");
  b->default_action = to_action(L, -1, "default");
  lua_settop(L, 3);
  if (csn_field(L, 1, "bad_architecture")) {
    bad_arch = to_action(L, -1, "bad_architecture");
    lua_settop(L, 3);
  }
  read_arches(L, b);
  rc = start(b, bad_arch);
  if (rc < 0)
    return csn_pusherr(L, -rc, "start a seccomp program");
  rc = read_newest(L, b, &prefix);
  if (rc)
    return rc;
  if (csn_field(L, 1, "rules")) { /* 4 */
    want_table(L, 4, "rules");
    nrules = list_length(L, 4, "rules", false);
    for (u32 i = 1; i <= nrules; i++) {
      lua_rawgeti(L, 4, (int)i);
      rc = add_rule(L, b, (int)i);
      if (rc)
        return rc;
      lua_settop(L, 4);
    }
  }
  rc = export(L, b, prefix);
  release(b);
  if (rc != 1)
    return rc;
  lua_pushvalue(L, 3);
  return 2;
}

/* ---- queries ---- */

static u32
opt_arch(lua_State *L, int idx)
{
  return lua_isnoneornil(L, idx) ? seccomp_arch_native() : to_arch(L, idx);
}

/* core.seccomp.number(name, [architecture]) -> number | nil: libseccomp has none */
static int
l_number(lua_State *L)
{
  int nr = seccomp_syscall_resolve_name_arch(opt_arch(L, 2), luaL_checkstring(L, 1));

  if (nr < 0)
    return 0;
  lua_pushinteger(L, nr);
  return 1;
}

/* core.seccomp.known(name) -> does libseccomp know the name, on whatever architecture? */
static int
l_known(lua_State *L)
{
  lua_pushboolean(L, seccomp_syscall_resolve_name(luaL_checkstring(L, 1)) != __NR_SCMP_ERROR);
  return 1;
}

/* core.seccomp.syscalls([architecture]) -> { name = number } */
static int
l_syscalls(lua_State *L)
{
  const u32 arch = opt_arch(L, 1), base = arch == SCMP_ARCH_X32 ? X32_BIT : 0;

  lua_newtable(L);
  for (u32 nr = base; nr < base + 1024; nr++) {
    char *name = seccomp_syscall_resolve_num_arch(arch, (int)nr), copy[64];

    if (!name)
      continue;
    csn_append(copy, sizeof(copy), 0, name);
    free(name);
    lua_pushinteger(L, (lua_Integer)nr);
    lua_setfield(L, -2, copy);
  }
  return 1;
}

/* core.seccomp.architecture() -> the native one's name */
static int
l_architecture(lua_State *L)
{
  for (int i = 0; arch_names[i]; i++)
    if (seccomp_arch_resolve_name(arch_names[i]) == seccomp_arch_native()) {
      lua_pushstring(L, arch_names[i]);
      return 1;
    }
  return 0;
}

/* core.seccomp.version() -> libseccomp's version */
static int
l_version(lua_State *L)
{
  const struct scmp_version *v = seccomp_version();

  lua_pushfstring(L, "%d.%d.%d", (int)v->major, (int)v->minor, (int)v->micro);
  return 1;
}

static void
add_if(lua_State *L, bool yes, const char *name)
{
  if (!yes)
    return;
  lua_pushstring(L, name);
  lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
}

/* core.seccomp.features() -> { actions = {...}, flags = {...}, architecture =, version = }: of this kernel */
static int
l_features(lua_State *L)
{
  static const struct csn_word rets[] = {
    { "kill_process", SECCOMP_RET_KILL_PROCESS }, { "kill_thread", SECCOMP_RET_KILL_THREAD },
    { "trap", SECCOMP_RET_TRAP },                 { "errno", SECCOMP_RET_ERRNO },
    { "notify", SECCOMP_RET_USER_NOTIF },         { "trace", SECCOMP_RET_TRACE },
    { "log", SECCOMP_RET_LOG },                   { "allow", SECCOMP_RET_ALLOW },
  };
  static const struct csn_word flags[] = { { "tsync", 1 },      { "log", 2 },           { "spec_allow", 4 },
                                           { "new_listener", 8 }, { "wait_killable_recv", 8 | 32 } };

  lua_newtable(L);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(rets) / sizeof(*rets); i++) {
    u32 ret = (u32)rets[i].value;

    add_if(L, csn_sys(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &ret) == 0, rets[i].name);
  }
  lua_setfield(L, -2, "actions");
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) /* a known flag: the pointer is at fault */
    add_if(L, csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags[i].value, NULL) == -EFAULT,
           flags[i].name);
  lua_setfield(L, -2, "flags");
  l_architecture(L);
  lua_setfield(L, -2, "architecture");
  l_version(L);
  lua_setfield(L, -2, "version");
  return 1;
}

/* core.seccomp is a table and, as the primitive, a function as well. */
static int
l_direct_call(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_replace(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static void
open_seccomp(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "compile", l_compile },   { "number", l_number },   { "known", l_known },
    { "syscalls", l_syscalls }, { "version", l_version }, { "architecture", l_architecture },
    { "features", l_features }, { NULL, NULL }
  };

  lua_newtable(L);
  lua_newtable(L);
  lua_getfield(L, -3, "seccomp");
  lua_pushcclosure(L, l_direct_call, 1);
  lua_setfield(L, -2, "__call");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "seccomp");
  csn_register(L, "seccomp", functions);
}

CSN_OPEN(open_seccomp)
