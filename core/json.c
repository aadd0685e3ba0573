/* SPDX-License-Identifier: MIT
 *
 * JSON text (RFC 8259) as plans, states and results need it: the keys of an object sorted, bytes kept. A string
 * that is no UTF-8 is written as {"base64":"..."}.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { max_depth = 100 };

/* The text so far; once it is long, a userdata at stack slot 1 holds it, so that an error frees it. */
struct text {
  lua_State *L;
  char *p;
  size_t len, size;
  int depth;
  char few[1024];
};

static void
grow(struct text *t, size_t more)
{
  size_t size = t->size;
  char *p;

  while (size - t->len < more)
    size *= 2;
  p = lua_newuserdata(t->L, size);
  memcpy(p, t->p, t->len);
  lua_replace(t->L, 1);
  t->p = p;
  t->size = size;
}

static void
put(struct text *t, const char *s, size_t n)
{
  if (t->size - t->len < n)
    grow(t, n);
  if (n)
    memcpy(t->p + t->len, s, n);
  t->len += n;
}

#define put_literal(t, s) put(t, s, sizeof(s) - 1)

static void
put_indent(struct text *t, int indent)
{
  put_literal(t, "\n");
  for (int i = 0; i < indent; i++)
    put_literal(t, "  ");
}

/* The length of the UTF-8 sequence that begins here; 0 where none does. */
static size_t
sequence(const u8 *s, size_t left)
{
  size_t n = s[0] < 0x80                   ? 1
             : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
             : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
             : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                           : 0;

  if (n > left)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  /* neither longer than need be, nor half of a pair of UTF-16, nor above U+10FFFF: who reads it may refuse all */
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
    return 0;
  return n;
}

static bool
is_utf8(const u8 *s, size_t len)
{
  for (size_t i = 0, n; i < len; i += n)
    if ((n = sequence(s + i, len - i)) == 0)
      return false;
  return true;
}

static void
put_bytes(struct text *t, const u8 *s, size_t len)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char four[4];

  put_literal(t, "{\"base64\":\"");
  for (size_t i = 0; i < len; i += 3) {
    size_t left = len - i;
    u32 n = (u32)s[i] << 16 | (left > 1 ? (u32)s[i + 1] << 8 : 0) | (left > 2 ? s[i + 2] : 0);

    four[0] = digits[n >> 18];
    four[1] = digits[n >> 12 & 63];
    four[2] = left > 1 ? digits[n >> 6 & 63] : '=';
    four[3] = left > 2 ? digits[n & 63] : '=';
    put(t, four, 4);
  }
  put_literal(t, "\"}");
}

/* A byte that begins no character is U+FFFD. */
static void
put_escaped(struct text *t, const u8 *s, size_t len)
{
  size_t from = 0;
  char escape[8];

  put_literal(t, "\"");
  for (size_t i = 0; i < len; i++) {
    const size_t n = sequence(s + i, len - i);
    const char *e;

    if (n > 1) {
      i += n - 1;
      continue;
    }
    if (n && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f)
      continue;
    e = s[i] == '"'    ? "\\\""
        : s[i] == '\\' ? "\\\\"
        : s[i] == '\n' ? "\\n"
        : s[i] == '\t' ? "\\t"
        : s[i] == '\r' ? "\\r"
        : n == 0       ? "\\ufffd"
                       : NULL;
    if (!e) {
      snprintf(escape, sizeof(escape), "\\u%04x", s[i]);
      e = escape;
    }
    put(t, (const char *)s + from, i - from);
    put(t, e, strlen(e));
    from = i + 1;
  }
  put(t, (const char *)s + from, len - from);
  put_literal(t, "\"");
}

static void
put_string(struct text *t, const u8 *s, size_t len)
{
  if (is_utf8(s, len))
    put_escaped(t, s, len);
  else
    put_bytes(t, s, len);
}

static void
put_number(struct text *t, lua_Number v)
{
  char text[400];
  int n;

  if (!isfinite(v))
    n = snprintf(text, sizeof(text), "null");
  else if (v == floor(v) && fabs(v) < 9007199254740992.0)
    n = snprintf(text, sizeof(text), "%.0f", v);
  else
    n = snprintf(text, sizeof(text), "%.17g", v);
  put(t, text, (size_t)n);
}

struct key {
  const char *p;
  size_t len;
};

static int
by_bytes(const void *one, const void *other)
{
  const struct key *a = one, *b = other;
  int order = memcmp(a->p, b->p, a->len < b->len ? a->len : b->len);

  return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Can JSON hold it? */
static bool
is_plain(int type)
{
  return type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN || type == LUA_TTABLE;
}

#define FEW 16

/* The names of a table at index at as a list, in few or, where they are more, in a userdata on the top of the stack. */
static struct key *
names_of(lua_State *L, int at, struct key *few, size_t *count)
{
  struct key *keys = few;
  size_t n = 0, i = 0;

  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
    n += lua_type(L, -2) == LUA_TSTRING && is_plain(lua_type(L, -1));
  *count = n;
  if (n == 0)
    return NULL;
  if (n > FEW)
    keys = lua_newuserdata(L, n * sizeof(*keys));
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && is_plain(lua_type(L, -1))) {
      keys[i].p = lua_tolstring(L, -2, &keys[i].len);
      i++;
    }
  qsort(keys, n, sizeof(*keys), by_bytes);
  return keys;
}

/* The value on the top of the stack. indent: of the line that it is on; -1: all in one line. */
static void
put_value(struct text *t, int indent)
{
  lua_State *L = t->L;
  int inner = indent < 0 ? -1 : indent + 1, at = lua_gettop(L);
  struct key few[FEW], *keys;
  size_t n;
  const char *s;

  switch (lua_type(L, -1)) {
  case LUA_TSTRING:
    s = lua_tolstring(L, -1, &n);
    put_string(t, (const u8 *)s, n);
    return;
  case LUA_TNUMBER:
    put_number(t, lua_tonumber(L, -1));
    return;
  case LUA_TBOOLEAN:
    put(t, lua_toboolean(L, -1) ? "true" : "false", lua_toboolean(L, -1) ? 4 : 5);
    return;
  case LUA_TTABLE:
    break;
  default:
    put_literal(t, "null");
    return;
  }

  if (++t->depth > max_depth)
    luaL_error(L, "tables are in each other more than %d deep, or without end", max_depth);
  luaL_checkstack(L, 6, "too deep");
  keys = names_of(L, at, few, &n);
  if (keys) {
    put_literal(t, "{");
    for (size_t i = 0; i < n; i++) {
      if (i)
        put_literal(t, ",");
      if (indent >= 0)
        put_indent(t, inner);
      put_escaped(t, (const u8 *)keys[i].p, keys[i].len); /* a name can be nothing but a string */
      put(t, ": ", indent < 0 ? 1 : 2);
      lua_pushlstring(L, keys[i].p, keys[i].len);
      lua_rawget(L, at);
      /* a name that was not of our choosing: it would be read as bytes, in place of the table */
      if (keys[i].len == 6 && !memcmp(keys[i].p, "base64", 6) && lua_type(L, -1) == LUA_TSTRING)
        put_bytes(t, (const u8 *)lua_tostring(L, -1), lua_rawlen(L, -1));
      else
        put_value(t, inner);
      lua_pop(L, 1);
    }
    if (indent >= 0)
      put_indent(t, indent);
    put_literal(t, "}");
  } else {
    put_literal(t, "[");
    n = 0;
    for (lua_rawgeti(L, at, 1); !lua_isnil(L, -1); lua_rawgeti(L, at, (int)n + 1)) {
      if (n++)
        put_literal(t, ",");
      if (indent >= 0)
        put_indent(t, inner);
      put_value(t, inner);
      lua_pop(L, 1);
    }
    if (n && indent >= 0)
      put_indent(t, indent);
    put_literal(t, "]");
  }
  lua_settop(L, at);
  t->depth--;
}

static void
begin(lua_State *L, struct text *t)
{
  t->L = L;
  t->p = t->few;
  t->size = sizeof(t->few);
  t->len = 0;
  t->depth = 0;
  lua_settop(L, 2);
  lua_pushnil(L);
  lua_insert(L, 1); /* the text's; the value stands at 2 */
}

/* core.json.text(value, [indent]) -> text
 * indent: how deep the line is that it begins on (0 and more: an item a line); none: all in one line. */
static int
l_text(lua_State *L)
{
  struct text t;
  int indent;

  begin(L, &t);
  indent = lua_isnil(L, 3) ? -1 : (int)luaL_checkinteger(L, 3);
  lua_settop(L, 2);
  put_value(&t, indent);
  lua_pushlstring(L, t.p, t.len);
  return 1;
}

/* core.json.bytes(string) -> text: {"base64":"..."}, whatever they are */
static int
l_bytes(lua_State *L)
{
  struct text t;
  const char *s;
  size_t n;

  begin(L, &t);
  s = luaL_checklstring(L, 2, &n);
  put_bytes(&t, (const u8 *)s, n);
  lua_pushlstring(L, t.p, t.len);
  return 1;
}

static int
l_is_utf8(lua_State *L)
{
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);

  lua_pushboolean(L, is_utf8((const u8 *)s, n));
  return 1;
}

static void
open_json(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "text", l_text }, { "bytes", l_bytes }, { "is_utf8", l_is_utf8 }, { NULL, NULL }
  };

  csn_register(L, "json", functions);
}
CSN_OPEN(open_json)
