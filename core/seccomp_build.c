/* SPDX-License-Identifier: MIT
 *
 * core.seccomp.compile(): programs for seccomp(2), built by libseccomp and exported as bytes.
 *
 * Rules are asked in their order, and the first that matches decides. libseccomp has no order: it merges
 * all conditions on one call into a tree, where a rule without a condition silences the others, order
 * comparisons that overlap are mixed up, and several "!=" hang it (2.5.4). So rules of one call that it
 * can't be trusted to merge (all but equalities with the same action) are put into layers: programs of
 * their own, one after the other. What a layer has no rule for it answers with a return that stands for
 * "ask the next", and is patched into a jump there. Nearly all policies have one layer.
 *
 * libseccomp leaves numbers above the newest call of a filter to the default action. Programs expect
 * ENOSYS of a call that is newer than the policy and fall back to an older one (glibc: clone3, openat2),
 * so option "newest" puts a few instructions before all others that answer for newer numbers.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "seccomp_build.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUILD_TYPE "caisson.seccomp.build"
#define MAX_ARCHES 16
#define MAX_LAYERS 256

/* A call of a rule. */
struct entry {
  int nr;
  u32 rule; /* its number, from 0 */
  u32 layer;
  const char *name;
};

/* What a compilation holds while Lua is being read, which may raise. */
struct build {
  scmp_filter_ctx ctx;
  int fd;
  u32 default_action, bad_arch;
  u32 arches[MAX_ARCHES];
  int narches;
  bool note_newest;
  int newest[MAX_ARCHES]; /* of each, the newest call: as asked, or the highest number in a rule */
  struct csn_rule *rules;
  struct entry *entries;
  u32 nrules, nentries, nlayers;
  u32 next;                    /* what a layer but the last returns for "ask the next" */
  struct sock_filter *program; /* BPF_MAXINSNS of them */
  u32 length;
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

static void
read_arches(lua_State *L, struct build *b)
{
  for (int i = 0; i < MAX_ARCHES; i++)
    b->newest[i] = -1;
  b->arches[0] = seccomp_arch_native();
  b->narches = 1;
  if (!csn_field(L, 1, "architectures"))
    return;
  csn_want_table(L, -1, "architectures");
  b->narches = (int)csn_list_length(L, lua_gettop(L), "architectures", false);
  if (b->narches < 1 || b->narches > MAX_ARCHES)
    luaL_error(L, "option 'architectures': 1 to %d expected", MAX_ARCHES);
  for (int i = 0; i < b->narches; i++) {
    lua_rawgeti(L, -1, i + 1);
    b->arches[i] = csn_read_arch(L, -1);
    lua_pop(L, 1);
    for (int k = 0; k < i; k++)
      if (b->arches[k] == b->arches[i])
        luaL_error(L, "option 'architectures': one is named twice");
  }
  lua_pop(L, 1);
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
    return luaL_error(L, "option 'newest': a name, or true, expected, got %s",
                      luaL_typename(L, -1));
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

static void
note_newest(struct build *b, const char *name)
{
  for (int i = 0; i < b->narches; i++) {
    int nr = seccomp_syscall_resolve_name_arch(b->arches[i], name);

    if (nr > b->newest[i])
      b->newest[i] = nr;
  }
}

/* ---- rules into layers ---- */

/*
 * The layer of a new entry after the last one of the same call (NULL: it is the first). -1: it is never
 * asked, and says the same; -EEXIST: it is never asked, and says something else.
 */
static int
choose_layer(const struct build *b, const struct entry *before, const struct csn_rule *r)
{
  const struct csn_rule *p;

  if (!before)
    return 0;
  p = &b->rules[before->rule];
  if (p->nargs == 0)
    return p->action == r->action ? -1 : -EEXIST;
  if (p->action == r->action && (r->nargs == 0 || (p->equalities && r->equalities)))
    return (int)before->layer;
  return (int)before->layer + 1;
}

/* The calls of rule i, at the top of the stack. The table at 4 has for every name its last entry. */
static int
add_entries(lua_State *L, struct build *b, u32 i, u32 names)
{
  const int t = lua_gettop(L), number = (int)i + 1;

  for (u32 k = 0; k < names; k++) {
    const char *name = csn_read_rule_name(L, t, number, k);
    struct entry *e = &b->entries[b->nentries], *before = NULL;
    int nr = seccomp_syscall_resolve_name(name), layer;

    if (nr == __NR_SCMP_ERROR) {
      if (lua_isnil(L, 3))
        return csn_pusherr(L, EINVAL, "seccomp rule %d: libseccomp knows no system call '%s'",
                           number, name);
      lua_pushstring(L, name);
      lua_rawseti(L, 3, (int)lua_rawlen(L, 3) + 1);
      continue;
    }
    if (b->note_newest)
      note_newest(b, name);
    lua_getfield(L, 4, name);
    if (!lua_isnil(L, -1))
      before = &b->entries[lua_tointeger(L, -1)];
    lua_pop(L, 1);
    layer = choose_layer(b, before, &b->rules[i]);
    if (layer == -EEXIST)
      return csn_pusherr(L, EEXIST,
                         "seccomp rule %d: %s: never asked, since rule %d always decides", number,
                         name, (int)before->rule + 1);
    if (layer >= MAX_LAYERS)
      return csn_pusherr(L, E2BIG, "seccomp rule %d: %s: too many rules for one call", number,
                         name);
    if (layer < 0)
      continue;
    *e = (struct entry){ nr, i, (u32)layer, name };
    if (b->nlayers < e->layer + 1)
      b->nlayers = e->layer + 1;
    lua_pushinteger(L, b->nentries++);
    lua_setfield(L, 4, name);
  }
  return 0;
}

/* Option rules, into rules and entries: 0, or the number of values to return. */
static int
read_rules(lua_State *L, struct build *b)
{
  u32 total = 0;
  int list, rc;

  b->nlayers = 1;
  lua_newtable(L); /* 4 */
  if (!csn_field(L, 1, "rules"))
    return 0;
  list = lua_gettop(L);
  csn_want_table(L, list, "rules");
  b->nrules = csn_list_length(L, list, "rules", false);
  b->rules = lua_newuserdata(L, (b->nrules + 1) * sizeof(*b->rules));
  for (u32 i = 0; i < b->nrules; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    total += csn_read_rule(L, lua_gettop(L), (int)i + 1, &b->rules[i]);
    lua_pop(L, 1);
  }
  b->entries = lua_newuserdata(L, (total + 1) * sizeof(*b->entries));
  for (u32 i = 0; i < b->nrules; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    rc = add_entries(L, b, i, (u32)lua_rawlen(L, -1));
    if (rc)
      return rc;
    lua_pop(L, 1);
  }
  return 0;
}

/* An action that no rule has. */
static u32
unused_action(const struct build *b)
{
  for (u32 n = 0;; n++) {
    bool used = b->default_action == SCMP_ACT_TRACE(n) || b->bad_arch == SCMP_ACT_TRACE(n);

    for (u32 i = 0; i < b->nrules && !used; i++)
      used = b->rules[i].action == SCMP_ACT_TRACE(n);
    if (!used)
      return SCMP_ACT_TRACE(n);
  }
}

/* ---- layers into a program ---- */

static int
start(struct build *b, u32 default_action)
{
  bool native = false;
  int rc;

  b->ctx = seccomp_init(default_action);
  if (!b->ctx)
    return -EINVAL;
  if ((rc = seccomp_attr_set(b->ctx, SCMP_FLTATR_ACT_BADARCH, b->bad_arch)) < 0 ||
      (rc = seccomp_attr_set(b->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0)
    return rc;
  for (int i = 0; i < b->narches; i++)
    if (b->arches[i] == seccomp_arch_native())
      native = true;
    else if ((rc = seccomp_arch_add(b->ctx, b->arches[i])) < 0)
      return rc;
  return native ? 0 : seccomp_arch_remove(b->ctx, SCMP_ARCH_NATIVE);
}

/* Append libseccomp's program. */
static int
append(struct build *b)
{
  const size_t size = BPF_MAXINSNS * sizeof(*b->program);
  size_t at = b->length * sizeof(*b->program), from = at;
  int rc;

  b->fd = memfd_create("seccomp", MFD_CLOEXEC);
  if (b->fd < 0)
    return -errno;
  if ((rc = seccomp_export_bpf(b->ctx, b->fd)) < 0)
    return rc;
  while (at < size) {
    ssize_t n = pread(b->fd, (u8 *)b->program + at, size - at, (off_t)(at - from));

    if (n < 0 && errno != EINTR)
      return -errno;
    if (n == 0)
      break;
    at += (size_t)(n > 0 ? n : 0);
  }
  b->length = (u32)(at / sizeof(*b->program));
  return at == size ? -E2BIG : 0;
}

/* A layer's program after those before it. Returns 0 or -errno; *bad is the entry at fault, if one is. */
static int
build_layer(struct build *b, u32 layer, const struct entry **bad)
{
  const bool last = layer + 1 == b->nlayers;
  const u32 from = b->length, otherwise = last ? b->default_action : b->next;
  int rc = start(b, otherwise);

  for (u32 i = 0; i < b->nentries && rc >= 0; i++) {
    const struct entry *e = &b->entries[i];
    const struct csn_rule *r = &b->rules[e->rule];

    /* libseccomp takes no rule that says what the default says */
    if (e->layer != layer || r->action == otherwise)
      continue;
    rc = seccomp_rule_add_array(b->ctx, r->action, e->nr, r->nargs, r->args);
    if (rc == -EEXIST) /* there already: of one call, a layer has one action */
      rc = 0;
    if (rc < 0)
      *bad = e;
  }
  if (rc >= 0)
    rc = append(b);
  release(b);
  for (u32 i = from; !last && i < b->length; i++)
    if (b->program[i].code == (BPF_RET | BPF_K) && b->program[i].k == b->next)
      b->program[i] = (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, b->length - i - 1 };
  return rc;
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
      f[n++] = insn(BPF_JMP | BPF_JGE | BPF_K, CSN_X32_BIT, 2, 0);
    if (x32) {
      f[n++] = insn(BPF_JMP | BPF_JGE | BPF_K, CSN_X32_BIT, 0, 3);
      f[n++] = insn(BPF_JMP | BPF_JEQ | BPF_K, ~0u, 2, 0);
    }
    f[n++] = insn(BPF_JMP | BPF_JGT | BPF_K, (u32)b->newest[i] | (x32 ? CSN_X32_BIT : 0), 0, 1);
    f[n++] = insn(BPF_RET | BPF_K, enosys, 0, 0);
    f[jump].jf = (u8)(n - jump - 1);
  }
  return n;
}

/*
 * core.seccomp.compile{ default=, rules=, architectures=, bad_architecture=, newest=, skip_unknown= }
 *   -> program, names skipped | nil, message, errno
 */
static int
l_compile(lua_State *L)
{
  static const char *const keys[] = {
    "default", "rules", "architectures", "bad_architecture", "newest", "skip_unknown", NULL
  };
  const struct entry *bad = NULL;
  struct build *b;
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
  b->default_action = csn_read_action(L, -1, "default");
  b->bad_arch = SCMP_ACT_KILL_PROCESS;
  lua_settop(L, 3);
  if (csn_field(L, 1, "bad_architecture"))
    b->bad_arch = csn_read_action(L, -1, "bad_architecture");
  lua_settop(L, 3);
  read_arches(L, b);
  if ((rc = read_newest(L, b, &prefix)) || (rc = read_rules(L, b)))
    return rc;
  b->next = unused_action(b);
  b->program = lua_newuserdata(L, BPF_MAXINSNS * sizeof(*b->program));
  if (prefix)
    b->length = newest_prefix(b, b->program);
  for (u32 layer = 0; layer < b->nlayers; layer++) {
    rc = build_layer(b, layer, &bad);
    if (rc == -E2BIG)
      return csn_pusherr(L, E2BIG, "the seccomp program has more than %d instructions",
                         BPF_MAXINSNS - 1);
    if (rc < 0 && bad)
      return csn_pusherr(L, -rc, "seccomp rule %d: %s", (int)bad->rule + 1, bad->name);
    if (rc < 0)
      return csn_pusherr(L, -rc, "build the seccomp program");
  }
  lua_pushlstring(L, (const char *)b->program, b->length * sizeof(*b->program));
  lua_pushvalue(L, 3);
  return 2;
}

static void
open_seccomp_build(lua_State *L)
{
  static const luaL_Reg functions[] = { { "compile", l_compile }, { NULL, NULL } };

  csn_register(L, "seccomp", functions);
}

CSN_OPEN(open_seccomp_build)
