/* SPDX-License-Identifier: MIT
 *
 * Options from Lua into the arguments of a step: the block of a plan while it is being built.
 */
#define _GNU_SOURCE
#include "encode.h"
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#define BUF_TYPE "caisson.buf"

static int
l_free_buf(lua_State *L)
{
  struct csn_buf *b = lua_touserdata(L, 1);

  free(b->p);
  b->p = NULL;
  return 0;
}

struct csn_buf *
csn_new_buf(lua_State *L)
{
  struct csn_buf *b = lua_newuserdata(L, sizeof(*b));

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
u32
csn_reserve(lua_State *L, struct csn_buf *b, size_t n)
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

struct csn_str
csn_add_bytes(lua_State *L, struct csn_buf *b, const char *s, size_t len)
{
  struct csn_str r = { csn_reserve(L, b, len + 1), (u32)len };

  memcpy(b->p + r.off, s, len);
  return r;
}

static struct csn_str
add_string(lua_State *L, struct csn_buf *b, int idx, const struct csn_field *f)
{
  size_t len;
  const char *s;

  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option '%s': string expected, got %s", f->name, luaL_typename(L, idx));
  s = lua_tolstring(L, idx, &len);
  if (f->kind != CSN_K_bytes && strlen(s) != len)
    luaL_error(L, "option '%s': a string without NUL expected", f->name);
  if (len >= CSN_MAX_PLAN - b->n)
    luaL_error(L, "option '%s': a plan has no room for %f bytes", f->name, (lua_Number)len);
  if (f->kind == CSN_K_path && len == 0)
    luaL_error(L, "option '%s': an empty path", f->name);
  if (f->kind == CSN_K_path && len > 4095)
    luaL_error(L, "option '%s': a path of %d bytes; the kernel takes 4095", f->name, (int)len);
  return csn_add_bytes(L, b, s, len);
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
slot_number(lua_State *L, struct csn_buf *b, int idx, const struct csn_field *f)
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
  for (k = 0; csn_fixed_slots[k]; k++)
    if (strcmp(csn_fixed_slots[k], name) == 0)
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
    luaL_error(L, "option '%s': slot '%s': a plan has %d slots, with names of 1 to 64 bytes",
               f->name, csn_short(L, name), CSN_SLOTS);
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
    luaL_error(L, "option '%s': an octal string such as '0755' expected, got '%s'", f->name,
               csn_short(L, s));
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
encode_value(lua_State *L, struct csn_buf *b, const struct csn_field *f, u32 off)
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
    l.off = csn_reserve(L, b, n * size);
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
u32
csn_encode_args(lua_State *L, struct csn_buf *b, const struct csn_primitive *p, int idx)
{
  u32 nfields = 0, off;
  u64 present = 0;
  bool array = false;

  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 12, "options");
  for (const struct csn_field *f = p->fields; f->name; f++)
    nfields++;
  off = csn_reserve(L, b, 8 * (1 + nfields));
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
