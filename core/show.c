/* SPDX-License-Identifier: MIT
 *
 * A plan's block back into Lua: options as they were given, and the object of a step as text.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <stdio.h>
#include <string.h>

void
csn_push_value(lua_State *L, const struct csn_plan *p, const struct csn_field *f, const u8 *at)
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
        csn_push_value(L, p, f, args + 8 * (1 + i));
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
  csn_show_text(L, false);
}
