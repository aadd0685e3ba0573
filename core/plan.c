/* SPDX-License-Identifier: MIT
 *
 * Plans: Lua tables into the block that plan.h describes, and back. The table form of a step is
 * { step = "mount.bind", options = {...}, side = "child", optional = true }.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <linux/prctl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_TYPE "caisson.plan"
#define BUF_TYPE "caisson.buf"

static const char *const fixed_slots[] = { CSN_SLOT_NAMES, NULL };

const struct csn_primitive *
csn_find_primitive(const char *name, u32 *index)
{
  for (u32 i = 0; i < csn_nprims(); i++)
    if (strcmp(__start_csn_prims[i]->name, name) == 0) {
      if (index)
        *index = i;
      return __start_csn_prims[i];
    }
  return NULL;
}

static const struct csn_primitive *
check_primitive(lua_State *L, const char *name, u32 *index)
{
  const struct csn_primitive *p = csn_find_primitive(name, index);

  if (!p) {
    const char **names = lua_newuserdata(L, (csn_nprims() + 1) * sizeof(*names));

    for (u32 i = 0; i < csn_nprims(); i++)
      names[i] = __start_csn_prims[i]->name;
    names[csn_nprims()] = NULL;
    csn_unknown_key(L, "unknown step", name, names);
  }
  return p;
}

/* ---- the block being built: a userdata, so that a raise frees it ---- */

struct buf {
  u8 *p;
  u32 n, cap;
  int slots; /* stack index of name -> number; 0 in a direct call, whose slots are descriptors */
  u32 nslots;
  struct csn_ctx *ctx; /* direct call: takes the descriptors */
  s64 out;             /* direct call: the slot that the primitive fills, or -1 */
  u64 given;           /* direct call: the slots that hold descriptors of the caller's */
};

static int
l_free_buf(lua_State *L)
{
  struct buf *b = lua_touserdata(L, 1);

  free(b->p);
  b->p = NULL;
  return 0;
}

static struct buf *
new_buf(lua_State *L)
{
  struct buf *b = lua_newuserdata(L, sizeof(*b));

  memset(b, 0, sizeof(*b));
  b->out = -1;
  if (luaL_newmetatable(L, BUF_TYPE)) {
    lua_pushcfunction(L, l_free_buf);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return b;
}

/* Room for n more bytes, zeroed, at a multiple of 8; returns the offset. */
static u32
reserve(lua_State *L, struct buf *b, size_t n)
{
  u32 off = (b->n + 7) & ~7u;

  if (n > CSN_MAX_PLAN || off + n > CSN_MAX_PLAN)
    luaL_error(L, "the plan is larger than %d bytes", (int)CSN_MAX_PLAN);
  if (off + n > b->cap) {
    u32 cap = b->cap ? b->cap : 4096;
    u8 *p;

    while (cap < off + n)
      cap *= 2;
    p = realloc(b->p, cap);
    if (!p)
      luaL_error(L, "not enough memory");
    memset(p + b->cap, 0, cap - b->cap);
    b->p = p;
    b->cap = cap;
  }
  b->n = off + (u32)n;
  return off;
}

static struct csn_str
add_bytes(lua_State *L, struct buf *b, const char *s, size_t len)
{
  struct csn_str r = { reserve(L, b, len + 1), (u32)len };

  memcpy(b->p + r.off, s, len);
  return r;
}

static struct csn_str
add_string(lua_State *L, struct buf *b, int idx, const struct csn_field *f)
{
  size_t len;
  const char *s;

  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option '%s': string expected, got %s", f->name, luaL_typename(L, idx));
  s = lua_tolstring(L, idx, &len);
  if (f->kind != CSN_K_bytes && strlen(s) != len)
    luaL_error(L, "option '%s': a string without NUL expected", f->name);
  if (f->kind == CSN_K_path && len == 0)
    luaL_error(L, "option '%s': an empty path", f->name);
  if (f->kind == CSN_K_path && len > 4095)
    luaL_error(L, "option '%s': a path of %d bytes; the kernel takes 4095", f->name, (int)len);
  return add_bytes(L, b, s, len);
}

static u32
check_list(lua_State *L, int idx, const char *name)
{
  size_t n = 0, keys = 0;

  if (lua_type(L, idx) != LUA_TTABLE)
    luaL_error(L, "option '%s': list expected, got %s", name, luaL_typename(L, idx));
  n = lua_rawlen(L, idx);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    keys++;
  if (keys != n)
    luaL_error(L, "option '%s': a list without holes or names expected", name);
  return (u32)n;
}

static s64
slot_number(lua_State *L, struct buf *b, int idx, const struct csn_field *f)
{
  const char *name;
  s64 k;

  idx = lua_absindex(L, idx);
  if (b->ctx) {
    if (b->nslots >= CSN_SLOTS)
      luaL_error(L, "option '%s': too many descriptors", f->name);
    if (!csn_isfd(L, idx))
      luaL_error(L, "option '%s': descriptor expected, got %s", f->name, luaL_typename(L, idx));
    if (f->flags & CSN_OUT) /* it would be closed under its owner */
      luaL_error(L, "option '%s': a direct call makes it, and returns it", f->name);
    b->ctx->slots[b->nslots] = csn_tofd(L, idx);
    b->given |= 1ull << b->nslots;
    return b->nslots++;
  }
  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option '%s': the name of a slot expected, got %s", f->name,
               luaL_typename(L, idx));
  name = lua_tostring(L, idx);
  for (k = 0; fixed_slots[k]; k++)
    if (strcmp(fixed_slots[k], name) == 0)
      return k;
  lua_pushvalue(L, idx);
  lua_rawget(L, b->slots);
  if (!lua_isnil(L, -1)) {
    k = (s64)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return k;
  }
  lua_pop(L, 1);
  if (!*name || strlen(name) > 64 || CSN_SLOT_FIRST_FREE + b->nslots >= CSN_SLOTS)
    luaL_error(L, "option '%s': slot '%s': a plan has %d slots, with names of 1 to 64 bytes", f->name,
               name, CSN_SLOTS);
  k = CSN_SLOT_FIRST_FREE + b->nslots++;
  lua_pushvalue(L, idx);
  lua_pushinteger(L, (lua_Integer)k);
  lua_rawset(L, b->slots);
  lua_pushvalue(L, idx);
  lua_rawseti(L, b->slots, (int)b->nslots);
  return k;
}

static u64
range_number(lua_State *L, int idx, const struct csn_field *f, u64 max)
{
  u64 v;

  if (lua_type(L, idx) != LUA_TNUMBER)
    luaL_error(L, "option '%s': integer expected, got %s", f->name, luaL_typename(L, idx));
  v = csn_to_u64(L, idx, f->name, false);
  if (v > max)
    luaL_error(L, "option '%s': %f is more than %f", f->name, (double)v, (double)max);
  return v;
}

static u64
mode_number(lua_State *L, int idx, const struct csn_field *f)
{
  const char *s;
  char *end;
  unsigned long v;

  if (lua_type(L, idx) == LUA_TNUMBER)
    return range_number(L, idx, f, 07777);
  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option '%s': an octal string such as '0755' expected, got %s", f->name,
               luaL_typename(L, idx));
  s = lua_tostring(L, idx);
  v = strtoul(s, &end, 8);
  if (*s < '0' || *s > '7' || *end || v > 07777 || (size_t)(end - s) != lua_rawlen(L, idx))
    luaL_error(L, "option '%s': an octal string such as '0755' expected, got '%s'", f->name, s);
  return v;
}

static u32
idmap_number(lua_State *L, int idx, int i, const char *key, const struct csn_field *f)
{
  u32 v;

  lua_rawgeti(L, idx, i);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_getfield(L, idx, key);
  }
  v = (u32)range_number(L, -1, f, UINT32_MAX);
  lua_pop(L, 1);
  return v;
}

/* The value on top of the stack becomes the 8 bytes at off. */
static void
encode_value(lua_State *L, struct buf *b, const struct csn_field *f, u32 off)
{
  int top = lua_gettop(L);
  struct csn_list l = { 0, 0 };
  u64 v = 0;

  switch (f->kind) {
  case CSN_K_str:
  case CSN_K_path:
  case CSN_K_bytes: {
    struct csn_str s = add_string(L, b, top, f);

    memcpy(&v, &s, 8);
    break;
  }
  case CSN_K_bool:
    if (lua_type(L, top) != LUA_TBOOLEAN)
      luaL_error(L, "option '%s': true or false expected, got %s", f->name, luaL_typename(L, top));
    v = (u64)lua_toboolean(L, top);
    break;
  case CSN_K_int: {
    lua_Number n = lua_tonumber(L, top);

    if (lua_type(L, top) != LUA_TNUMBER || !(n >= -9007199254740992.0 && n <= 9007199254740992.0) ||
        n != (lua_Number)(s64)n)
      luaL_error(L, "option '%s': integer expected, got %s", f->name,
                 lua_type(L, top) == LUA_TNUMBER ? lua_tostring(L, top) : luaL_typename(L, top));
    v = (u64)(s64)n;
    break;
  }
  case CSN_K_u32:
    v = range_number(L, top, f, UINT32_MAX);
    break;
  case CSN_K_u64:
    v = csn_to_u64(L, top, f->name, f->flags & CSN_MAX);
    break;
  case CSN_K_mode:
    v = mode_number(L, top, f);
    break;
  case CSN_K_word:
  case CSN_K_flags:
    v = csn_to_words(L, top, f->words, f->name, f->kind == CSN_K_flags, f->flags & CSN_NUM);
    break;
  case CSN_K_slot:
    v = (u64)slot_number(L, b, top, f);
    if (f->flags & CSN_OUT)
      b->out = (s64)v;
    break;
  default: { /* lists */
    u32 n = check_list(L, top, f->name);
    size_t size = f->kind == CSN_K_idmaps ? sizeof(struct csn_idmap) : 8;

    l.count = n;
    l.off = reserve(L, b, n * size);
    for (u32 i = 0; i < n; i++) {
      struct csn_str s;
      struct csn_idmap m;
      s64 k;

      lua_rawgeti(L, top, (int)i + 1);
      switch (f->kind) {
      case CSN_K_strs:
        s = add_string(L, b, top + 1, f);
        memcpy(b->p + l.off + i * 8, &s, 8);
        break;
      case CSN_K_u64s:
        v = csn_to_u64(L, top + 1, f->name, f->flags & CSN_MAX);
        memcpy(b->p + l.off + i * 8, &v, 8);
        break;
      case CSN_K_slots:
        k = lua_type(L, top + 1) == LUA_TSTRING && strcmp(lua_tostring(L, top + 1), "-") == 0
                ? -1
                : slot_number(L, b, top + 1, f);
        memcpy(b->p + l.off + i * 8, &k, 8);
        break;
      default:
        if (lua_type(L, top + 1) != LUA_TTABLE)
          luaL_error(L, "option '%s': a list of {inside, outside, count} expected", f->name);
        m.inside = idmap_number(L, top + 1, 1, "inside", f);
        m.outside = idmap_number(L, top + 1, 2, "outside", f);
        m.count = idmap_number(L, top + 1, 3, "count", f);
        memcpy(b->p + l.off + i * sizeof(m), &m, sizeof(m));
      }
      lua_pop(L, 1);
    }
    memcpy(&v, &l, 8);
  }
  }
  memcpy(b->p + off, &v, 8);
}

static void
unknown_option(lua_State *L, const struct csn_primitive *p)
{
  const char *names[64];
  char what[96];
  int n = 0;

  for (const struct csn_field *f = p->fields; f->name && n < 63; f++)
    names[n++] = f->name;
  names[n] = NULL;
  if (lua_type(L, -2) != LUA_TSTRING)
    luaL_error(L, "%s: an option's name is a string, got %s", p->name, luaL_typename(L, -2));
  snprintf(what, sizeof(what), "%s: unknown option", p->name);
  csn_unknown_key(L, what, lua_tostring(L, -2), names);
}

/* Does the table's array part, as a whole, stand for the first field? unshare {"user", "mount"} */
static bool
array_is_first(lua_State *L, const struct csn_primitive *p, int idx)
{
  bool list = p->fields->kind == CSN_K_flags || p->fields->kind == CSN_K_strs ||
              p->fields->kind == CSN_K_slots || p->fields->kind == CSN_K_u64s;

  lua_rawgeti(L, idx, 1);
  list = list && !lua_isnil(L, -1) && !lua_istable(L, -1);
  lua_pop(L, 1);
  return list;
}

/* Push the value of field i: by name, by position, or the bare value at idx; nil if not given. */
static void
push_option(lua_State *L, const struct csn_primitive *p, u32 i, int idx, bool array)
{
  const struct csn_field *f = &p->fields[i];

  if (lua_type(L, idx) != LUA_TTABLE) {
    if (i == 0)
      lua_pushvalue(L, idx);
    else
      lua_pushnil(L);
    return;
  }
  lua_getfield(L, idx, f->name);
  if (i > 0)
    return;
  if (array) {
    size_t n = lua_rawlen(L, idx);

    lua_createtable(L, (int)n, 0);
    for (size_t k = 1; k <= n; k++) {
      lua_rawgeti(L, idx, (int)k);
      lua_rawseti(L, -2, (int)k);
    }
  } else {
    lua_rawgeti(L, idx, 1);
  }
  if (!lua_isnil(L, -1) && !lua_isnil(L, -2))
    luaL_error(L, "%s: option '%s' is given twice, by name and by position", p->name, f->name);
  lua_remove(L, lua_isnil(L, -1) ? -1 : -2);
}

static void
check_options(lua_State *L, const struct csn_primitive *p, int idx, size_t positional)
{
  const struct csn_field *f;

  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    lua_Number n = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;

    if (n >= 1 && n <= (lua_Number)positional && n == (lua_Number)(size_t)n)
      continue;
    for (f = p->fields; f->name; f++)
      if (lua_type(L, -2) == LUA_TSTRING && strcmp(f->name, lua_tostring(L, -2)) == 0)
        break;
    if (!f->name)
      unknown_option(L, p);
  }
}

/* Options at idx (a table, or the first field's value alone) into struct NAME_args; returns its offset. */
static u32
encode_args(lua_State *L, struct buf *b, const struct csn_primitive *p, int idx)
{
  u32 nfields = 0, off;
  u64 present = 0;
  bool array = false;

  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 12, "options");
  for (const struct csn_field *f = p->fields; f->name; f++)
    nfields++;
  off = reserve(L, b, 8 * (1 + nfields));
  if (lua_type(L, idx) == LUA_TTABLE) {
    array = nfields && array_is_first(L, p, idx);
    check_options(L, p, idx, array ? lua_rawlen(L, idx) : nfields ? 1 : 0);
  } else if (!lua_isnoneornil(L, idx) && !nfields) {
    luaL_error(L, "%s takes no options", p->name);
  }
  for (u32 i = 0; i < nfields; i++) {
    const struct csn_field *f = &p->fields[i];
    u32 at = off + 8 * (1 + i);
    bool out = b->ctx && f->kind == CSN_K_slot && (f->flags & CSN_OUT);

    push_option(L, p, i, idx, array);
    if (!lua_isnil(L, -1)) {
      encode_value(L, b, f, at);
      present |= 1ull << i;
    } else if (out) {
      u64 k = b->nslots++;

      if (k >= CSN_SLOTS)
        luaL_error(L, "option '%s': too many descriptors", f->name);
      b->out = (s64)k;
      memcpy(b->p + at, &k, 8);
    } else if (f->flags & CSN_REQUIRED) {
      luaL_error(L, "%s: option '%s' is missing", p->name, f->name);
    } else {
      memcpy(b->p + at, &f->def, 8);
    }
    lua_pop(L, 1);
  }
  memcpy(b->p + off, &present, 8);
  return off;
}

/* ---- back to Lua ---- */

static void
push_value(lua_State *L, const struct csn_plan *p, const struct csn_field *f, const u8 *at)
{
  const u8 *base = (const u8 *)p;
  struct csn_str s;
  struct csn_list l;
  u64 v;

  memcpy(&v, at, 8);
  memcpy(&s, at, 8);
  memcpy(&l, at, 8);
  switch (f->kind) {
  case CSN_K_str:
  case CSN_K_path:
  case CSN_K_bytes:
    lua_pushlstring(L, (const char *)base + s.off, s.len);
    return;
  case CSN_K_bool:
    lua_pushboolean(L, v != 0);
    return;
  case CSN_K_int:
    lua_pushnumber(L, (lua_Number)(s64)v);
#if LUA_VERSION_NUM >= 503
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)v);
#endif
    return;
  case CSN_K_u32:
    csn_push_u64(L, v);
    return;
  case CSN_K_u64:
    if ((f->flags & CSN_MAX) && v == UINT64_MAX)
      lua_pushliteral(L, "max");
    else
      csn_push_u64(L, v);
    return;
  case CSN_K_mode: {
    char buf[16];

    snprintf(buf, sizeof(buf), "%04lo", (unsigned long)v);
    lua_pushstring(L, buf);
    return;
  }
  case CSN_K_word:
    for (const struct csn_word *w = f->words; w->name; w++)
      if (w->value == v) {
        lua_pushstring(L, w->name);
        return;
      }
    csn_push_u64(L, v);
    return;
  case CSN_K_flags:
    csn_push_words(L, v, f->words);
    return;
  case CSN_K_slot:
    lua_pushstring(L, csn_plan_slot_name(p, (u32)v));
    return;
  }
  lua_createtable(L, (int)l.count, 0);
  for (u32 i = 0; i < l.count; i++) {
    const u8 *item = base + l.off + i * (f->kind == CSN_K_idmaps ? sizeof(struct csn_idmap) : 8);
    struct csn_idmap m;

    memcpy(&v, item, 8);
    switch (f->kind) {
    case CSN_K_strs:
      memcpy(&s, item, 8);
      lua_pushlstring(L, (const char *)base + s.off, s.len);
      break;
    case CSN_K_u64s:
      csn_push_u64(L, v);
      break;
    case CSN_K_slots:
      lua_pushstring(L, (s64)v < 0 ? "-" : csn_plan_slot_name(p, (u32)v));
      break;
    default:
      memcpy(&m, item, sizeof(m));
      lua_createtable(L, 3, 0);
      csn_push_u64(L, m.inside);
      lua_rawseti(L, -2, 1);
      csn_push_u64(L, m.outside);
      lua_rawseti(L, -2, 2);
      csn_push_u64(L, m.count);
      lua_rawseti(L, -2, 3);
    }
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* The value on top of the stack as text: lists with commas, ranges with colons. */
static void
flatten(lua_State *L, const struct csn_field *f)
{
  const char *sep = f->kind == CSN_K_strs ? " " : ",";
  luaL_Buffer b;
  size_t n;
  int t;

  if (f->kind == CSN_K_bytes) {
    n = lua_rawlen(L, -1);
    lua_pop(L, 1);
    lua_pushfstring(L, "%d bytes", (int)n);
    return;
  }
  if (lua_type(L, -1) == LUA_TBOOLEAN) {
    bool on = lua_toboolean(L, -1);

    lua_pop(L, 1);
    lua_pushstring(L, on ? f->name : "");
    return;
  }
  if (lua_type(L, -1) != LUA_TTABLE) {
    lua_pushstring(L, lua_tostring(L, -1));
    lua_remove(L, -2);
    return;
  }
  t = lua_gettop(L);
  n = lua_rawlen(L, t);
  lua_pushliteral(L, "");
  for (size_t i = 1; i <= n; i++) {
    if (lua_rawlen(L, -1) > 400) { /* it is for people to read */
      lua_pushfstring(L, "%s... (%d in all)", sep, (int)n);
      lua_concat(L, 2);
      break;
    }
    lua_rawgeti(L, t, (int)i);
    if (lua_type(L, -1) == LUA_TTABLE) {
      int item = lua_gettop(L);

      luaL_buffinit(L, &b);
      for (int k = 1; k <= 3; k++) {
        if (k > 1)
          luaL_addchar(&b, ':');
        lua_rawgeti(L, item, k);
        luaL_addvalue(&b);
      }
      luaL_pushresult(&b);
      lua_remove(L, item);
    }
    if (i > 1) {
      lua_pushstring(L, sep);
      lua_insert(L, -2);
      lua_concat(L, 3);
    } else {
      lua_concat(L, 2);
    }
  }
  lua_remove(L, t);
}

static const struct csn_field *
field_named(const struct csn_primitive *p, const char *name, size_t len, u32 *i)
{
  const struct csn_field *f;

  for (f = p->fields, *i = 0; f->name; f++, ++*i)
    if (strlen(f->name) == len && strncmp(f->name, name, len) == 0)
      return f;
  return NULL;
}

/* Expand from s to end (or an unescaped ']' where in_group); pieces are concatenated on the stack.
 * Returns false where a field in it was not given. */
static bool
expand(lua_State *L, const struct csn_plan *p, const struct csn_step *st, const char *s,
       const char *end)
{
  const struct csn_primitive *prim = csn_step_prim(st);
  const u8 *args = (const u8 *)p + st->args;
  bool all = true;
  u64 present;

  memcpy(&present, args, 8);
  lua_pushliteral(L, "");
  while (s < end) {
    const char *from = s;

    if (*s == '[') {
      const char *close = memchr(s, ']', (size_t)(end - s));

      if (expand(L, p, st, s + 1, close))
        lua_concat(L, 2);
      else
        lua_pop(L, 1);
      s = close + 1;
    } else if (*s == '$') {
      const struct csn_field *f;
      u32 i;

      for (s++; s < end && ((*s >= 'a' && *s <= 'z') || *s == '_'); s++)
        ;
      f = field_named(prim, from + 1, (size_t)(s - from - 1), &i);
      if (f && (present >> i & 1)) {
        push_value(L, p, f, args + 8 * (1 + i));
        flatten(L, f);
        if (f->kind == CSN_K_bool && !lua_rawlen(L, -1))
          all = false;
        lua_concat(L, 2);
      } else {
        all = false;
      }
    } else {
      while (s < end && *s != '[' && *s != '$')
        s++;
      lua_pushlstring(L, from, (size_t)(s - from));
      lua_concat(L, 2);
    }
  }
  return all;
}

void
csn_push_object(lua_State *L, const struct csn_plan *p, const struct csn_step *s)
{
  const char *show = csn_step_prim(s)->show;

  luaL_checkstack(L, 12, "object");
  expand(L, p, s, show, show + strlen(show));
}

const struct csn_plan *
csn_check_plan(lua_State *L, int idx)
{
  return luaL_checkudata(L, idx, PLAN_TYPE);
}

const char *
csn_plan_slot_name(const struct csn_plan *p, u32 slot)
{
  const struct csn_str *s = (const struct csn_str *)((const u8 *)p + p->slots);

  if (slot < CSN_SLOT_FIRST_FREE)
    return fixed_slots[slot];
  slot -= CSN_SLOT_FIRST_FREE;
  return slot < p->nslots ? (const char *)p + s[slot].off : "?";
}

s64
csn_plan_slot(const struct csn_plan *p, const char *name)
{
  for (u32 i = 0; i < CSN_SLOT_FIRST_FREE + p->nslots; i++)
    if (strcmp(csn_plan_slot_name(p, i), name) == 0)
      return i;
  return -1;
}

u32
csn_plan_nth(const struct csn_plan *p, u32 step)
{
  u32 n = 1;

  for (u32 i = 0; i < step; i++)
    n += csn_plan_step(p, i)->prim == csn_plan_step(p, step)->prim;
  return n;
}

/* core.plan(steps) -> plan */
static int
l_plan(lua_State *L)
{
  static const char *const keys[] = { "step", "options", "side", "optional", "phase", "at", NULL };
  static const struct csn_word sides[] = { { "child", CSN_CHILD }, { "parent", CSN_PARENT }, { NULL, 0 } };
  struct buf *b;
  struct csn_plan *plan;
  u32 n, steps, slots;
  u32 clone, exec, last;

  lua_settop(L, 1);
  luaL_checktype(L, 1, LUA_TTABLE);
  n = (u32)lua_rawlen(L, 1);
  if (n > CSN_MAX_STEPS)
    return luaL_error(L, "a plan has at most %d steps", CSN_MAX_STEPS);
  lua_newtable(L); /* 2: slots */
  b = new_buf(L);  /* 3 */
  b->slots = 2;
  reserve(L, b, sizeof(*plan));
  steps = reserve(L, b, n * sizeof(struct csn_step));
  clone = exec = n;
  for (u32 i = 0; i < n; i++) {
    const struct csn_primitive *p;
    struct csn_step st = { 0 };
    u32 index;

    lua_rawgeti(L, 1, (int)i + 1); /* 4 */
    csn_checkkeys(L, 4, keys);
    p = check_primitive(L, csn_opt_str(L, 4, "step", ""), &index);
    st.prim = (u16)index;
    st.side = p->side & CSN_SIDE;
    if (csn_field(L, 4, "side")) {
      st.side = (u8)csn_to_words(L, -1, sides, "side", false, false);
      lua_pop(L, 1);
      if (p->action != CSN_ACT_NONE && p->action != CSN_ACT_LUA && st.side != (p->side & CSN_SIDE))
        return luaL_error(L, "step %d: %s has a side of its own", (int)i + 1, p->name);
      if ((p->side & CSN_SELF) && st.side == CSN_PARENT)
        return luaL_error(L, "step %d: %s changes the process that applies it, and can't be on the parent's side",
                          (int)i + 1, p->name);
    }
    if (csn_opt_bool(L, 4, "optional", false))
      st.flags |= CSN_STEP_OPTIONAL;
    if (st.flags && (p->action == CSN_ACT_CLONE || p->action == CSN_ACT_EXEC))
      return luaL_error(L, "step %d: %s can't be optional", (int)i + 1, p->name);
    lua_getfield(L, 4, "options");
    st.args = encode_args(L, b, p, -1);
    memcpy(b->p + steps + i * sizeof(st), &st, sizeof(st));
    if (p->action == CSN_ACT_CLONE || p->action == CSN_ACT_EXEC) {
      u32 *which = p->action == CSN_ACT_CLONE ? &clone : &exec;

      if (*which != n)
        return luaL_error(L, "step %d: a plan has one %s", (int)i + 1, p->name);
      *which = i;
    }
    lua_settop(L, 3);
  }
  if (exec != n && exec != n - 1)
    return luaL_error(L, "step %d: nothing can follow exec", (int)exec + 2);
  for (last = exec; last > 0; last--) {
    struct csn_step st;

    memcpy(&st, b->p + steps + (last - 1) * sizeof(st), sizeof(st));
    if (!(csn_step_prim(&st)->side & CSN_LAST) || st.side != CSN_CHILD)
      break;
  }
  slots = reserve(L, b, b->nslots * sizeof(struct csn_str));
  for (u32 i = 0; i < b->nslots; i++) {
    struct csn_str s;
    size_t len;
    const char *name;

    lua_rawgeti(L, 2, (int)i + 1);
    name = lua_tolstring(L, -1, &len);
    s = add_bytes(L, b, name, len);
    memcpy(b->p + slots + i * sizeof(s), &s, sizeof(s));
    lua_pop(L, 1);
  }
  plan = (struct csn_plan *)b->p;
  plan->magic = CSN_PLAN_MAGIC;
  plan->size = b->n;
  plan->nsteps = n;
  plan->steps = steps;
  plan->clone = clone;
  plan->exec = exec;
  plan->last = last;
  plan->nslots = b->nslots;
  plan->slots = slots;
  plan->nprims = csn_nprims();
  memcpy(lua_newuserdata(L, b->n), b->p, b->n);
  luaL_getmetatable(L, PLAN_TYPE);
  lua_setmetatable(L, -2);
  return 1;
}

/* plan:steps() -> list of { step, side, optional, options, object }, in the form core.plan takes, and
 * the object as text */
static int
l_steps(lua_State *L)
{
  const struct csn_plan *p = csn_check_plan(L, 1);

  lua_createtable(L, (int)p->nsteps, 0);
  for (u32 i = 0; i < p->nsteps; i++) {
    const struct csn_step *s = csn_plan_step(p, i);
    const struct csn_primitive *prim = csn_step_prim(s);
    const u8 *args = (const u8 *)p + s->args;
    u64 present;
    u32 k = 0;

    lua_createtable(L, 0, 5);
    lua_pushstring(L, prim->name);
    lua_setfield(L, -2, "step");
    lua_pushstring(L, s->side == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, -2, "side");
    if (s->flags & CSN_STEP_OPTIONAL) {
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, "optional");
    }
    memcpy(&present, args, 8);
    lua_newtable(L);
    for (const struct csn_field *f = prim->fields; f->name; f++, k++)
      if (present >> k & 1) {
        push_value(L, p, f, args + 8 * (1 + k));
        lua_setfield(L, -2, f->name);
      }
    lua_setfield(L, -2, "options");
    csn_push_object(L, p, s);
    lua_setfield(L, -2, "object");
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int
l_size(lua_State *L)
{
  lua_pushinteger(L, csn_check_plan(L, 1)->size);
  return 1;
}

static int
l_len(lua_State *L)
{
  lua_pushinteger(L, csn_check_plan(L, 1)->nsteps);
  return 1;
}

/* core.check(name, options): raises what core.plan would raise of this step */
static int
l_check(lua_State *L)
{
  const struct csn_primitive *p = check_primitive(L, luaL_checkstring(L, 1), NULL);
  struct buf *b;

  lua_settop(L, 2);
  lua_newtable(L);
  b = new_buf(L);
  b->slots = 3;
  reserve(L, b, 8);
  encode_args(L, b, p, 2);
  return csn_pushok(L);
}

/* A primitive called directly: applied to this very process. Slots are descriptors; what the step
 * fills is returned. */
static int
l_call(lua_State *L)
{
  const struct csn_primitive *p = lua_touserdata(L, lua_upvalueindex(1));
  struct buf *b;
  struct csn_plan *plan;
  struct csn_ctx *ctx;
  int rc, *out = NULL;
  u32 step, args;

  lua_settop(L, 1);
  if (!p->apply)
    return luaL_error(L, "%s is an action of the engine: it works in a plan only", p->name);
  b = new_buf(L);
  ctx = lua_newuserdata(L, sizeof(*ctx));
  memset(ctx, 0, sizeof(*ctx));
  ctx->own = ~0ull;
  for (int i = 0; i < CSN_SLOTS; i++)
    ctx->slots[i] = -1;
  /* Slots that a primitive uses by their fixed number are empty in a direct call. */
  b->ctx = ctx;
  b->nslots = CSN_SLOT_FIRST_FREE;
  reserve(L, b, sizeof(*plan));
  step = reserve(L, b, sizeof(struct csn_step));
  args = encode_args(L, b, p, 1); /* which moves b->p */
  ((struct csn_step *)(b->p + step))->args = args;
  plan = (struct csn_plan *)b->p;
  plan->nsteps = 1;
  plan->steps = step;
  csn_find_primitive(p->name, &step);
  ((struct csn_step *)csn_plan_step(plan, 0))->prim = (u16)step;
  ctx->base = b->p;
  if (b->out >= 0)
    out = csn_newfd(L);
  rc = p->apply(b->p + csn_plan_step(plan, 0)->args, ctx);
  if (out && rc >= 0)
    *out = ctx->slots[b->out];
  for (int i = 0; i < CSN_SLOTS; i++) /* what it filled for steps that don't come */
    if (!(b->given >> i & 1) && !(i == b->out && rc >= 0))
      csn_close(ctx->slots[i]);
  if (rc < 0) {
    csn_push_object(L, plan, csn_plan_step(plan, 0));
    return ctx->detail_len ? csn_pusherr(L, -rc, "%s %s: %s", p->name, lua_tostring(L, -1), ctx->detail)
                           : csn_pusherr(L, -rc, "%s %s", p->name, lua_tostring(L, -1));
  }
  if (out && *out >= 0) /* a primitive may fill its slot only when asked to: seccomp's listener */
    return 1;
  return csn_pushok(L);
}

static int
l_call_family(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_replace(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* A table in the place of what is on top: nil, or a primitive of the family's own name (seccomp), which
 * can then be called as before. */
static void
push_family(lua_State *L)
{
  lua_newtable(L);
  if (lua_isfunction(L, -2)) {
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_call_family, 1);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
  }
  lua_remove(L, -2);
}

/* Set f (on top) at name with dots below the table at idx: "mount.bind" -> t.mount.bind */
static void
set_dotted(lua_State *L, int idx, const char *name)
{
  const char *dot = strchr(name, '.');

  idx = lua_absindex(L, idx);
  if (!dot) {
    lua_setfield(L, idx, name);
    return;
  }
  lua_pushlstring(L, name, (size_t)(dot - name));
  lua_rawget(L, idx);
  if (!lua_istable(L, -1)) {
    push_family(L);
    lua_pushlstring(L, name, (size_t)(dot - name));
    lua_pushvalue(L, -2);
    lua_rawset(L, idx);
  }
  lua_insert(L, -2);
  set_dotted(L, -2, dot + 1);
  lua_pop(L, 1);
}

void
csn_register(lua_State *L, const char *name, const luaL_Reg *functions)
{
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_pushfstring(L, "%s%s%s", name, *name ? "." : "", functions->name);
    lua_insert(L, -2);
    set_dotted(L, -3, lua_tostring(L, -2));
    lua_pop(L, 1);
  }
}

static const char *const kind_names[] = { "",    "string", "path", "bytes", "strings", "boolean",
                                          "integer", "u32", "u64", "mode",  "word",    "flags",
                                          "slot", "slots", "idmaps", "u64s" };

/* core.primitives[name] = { name, side, action, fields = { { name, kind, required, words } } } */
static void
push_descriptions(lua_State *L)
{
  lua_newtable(L);
  for (u32 i = 0; i < csn_nprims(); i++) {
    const struct csn_primitive *p = __start_csn_prims[i];
    int n = 0;

    lua_newtable(L);
    lua_pushstring(L, p->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, (p->side & CSN_SIDE) == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, -2, "side");
    lua_pushboolean(L, p->action != CSN_ACT_NONE);
    lua_setfield(L, -2, "action");
    lua_newtable(L);
    for (const struct csn_field *f = p->fields; f->name; f++) {
      lua_newtable(L);
      lua_pushstring(L, f->name);
      lua_setfield(L, -2, "name");
      lua_pushstring(L, kind_names[f->kind]);
      lua_setfield(L, -2, "kind");
      lua_pushboolean(L, f->flags & CSN_REQUIRED);
      lua_setfield(L, -2, "required");
      if (f->words) {
        int k = 0;

        lua_newtable(L);
        for (const struct csn_word *w = f->words; w->name; w++) {
          lua_pushstring(L, w->name);
          lua_rawseti(L, -2, ++k);
        }
        lua_setfield(L, -2, "words");
      }
      lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "fields");
    lua_setfield(L, -2, p->name);
  }
}

void
csn_open_plan(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "steps", l_steps }, { "size", l_size }, { "__len", l_len }, { NULL, NULL }
  };

  if (luaL_newmetatable(L, PLAN_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  for (u32 i = 0; i < csn_nprims(); i++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)__start_csn_prims[i]);
    lua_pushcclosure(L, l_call, 1);
    set_dotted(L, -2, __start_csn_prims[i]->name);
  }
  lua_pushcfunction(L, l_plan);
  lua_setfield(L, -2, "plan");
  lua_pushcfunction(L, l_check);
  lua_setfield(L, -2, "check");
  push_descriptions(L);
  lua_setfield(L, -2, "primitives");
}
