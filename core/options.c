/* SPDX-License-Identifier: MIT
 *
 * Reading options from Lua. An unknown key raises and names the nearest known one: a misspelt
 * "readonly" must not become a writable mount. Types are strict, ranges checked, a NUL in a string is
 * refused.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <stdlib.h>
#include <string.h>

/* Edit distance with swaps of neighbours, cut at 255; words are short. */
static unsigned
distance(const char *a, const char *b)
{
  unsigned char d[34][34];
  size_t n = strlen(a), m = strlen(b);

  if (n > 32 || m > 32)
    return 255;
  for (size_t i = 0; i <= n; i++)
    for (size_t j = 0; j <= m; j++) {
      unsigned v;

      if (!i || !j) {
        d[i][j] = (unsigned char)(i + j);
        continue;
      }
      v = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (v > d[i - 1][j] + 1u)
        v = d[i - 1][j] + 1u;
      if (v > d[i][j - 1] + 1u)
        v = d[i][j - 1] + 1u;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          v > d[i - 2][j - 2] + 1u)
        v = d[i - 2][j - 2] + 1u;
      d[i][j] = (unsigned char)v;
    }
  return d[n][m];
}

const char *
csn_short(lua_State *L, const char *s)
{
  if (strlen(s) <= 80)
    return s;
  lua_pushlstring(L, s, 64);
  lua_pushliteral(L, "...");
  lua_concat(L, 2);
  return lua_tostring(L, -1);
}

void
csn_unknown_key(lua_State *L, const char *what, const char *key, const char *const *valid)
{
  const char *best = NULL;
  const char *known;
  unsigned least = 255;
  luaL_Buffer b;

  for (int i = 0; valid[i]; i++) {
    unsigned d = distance(key, valid[i]);

    if (d < least)
      least = d, best = valid[i];
  }
  luaL_buffinit(L, &b);
  for (int i = 0; valid[i]; i++) {
    if (i)
      luaL_addstring(&b, ", ");
    luaL_addstring(&b, valid[i]);
  }
  luaL_pushresult(&b);
  known = lua_tostring(L, -1);
  key = csn_short(L, key);
  if (best && least <= 1 + strlen(best) / 3)
    luaL_error(L, "%s '%s' (did you mean '%s'?)", what, key, best);
  luaL_error(L, "%s '%s' (known: %s)", what, key, known);
}

void
csn_checkkeys(lua_State *L, int idx, const char *const *keys)
{
  idx = lua_absindex(L, idx);
  luaL_checktype(L, idx, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    int i = 0;

    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "option names are strings, got %s", luaL_typename(L, -2));
    while (keys[i] && strcmp(keys[i], lua_tostring(L, -2)) != 0)
      i++;
    if (!keys[i])
      csn_unknown_key(L, "unknown option", lua_tostring(L, -2), keys);
  }
}

bool
csn_field(lua_State *L, int idx, const char *key)
{
  lua_getfield(L, idx, key);
  if (!lua_isnil(L, -1))
    return true;
  lua_pop(L, 1);
  return false;
}

static void
want(lua_State *L, const char *key, int type)
{
  if (lua_type(L, -1) != type)
    luaL_error(L, "option '%s': %s expected, got %s", key, lua_typename(L, type),
               luaL_typename(L, -1));
}

/* The string stays valid while the table holds it. */
const char *
csn_opt_str(lua_State *L, int idx, const char *key, const char *def)
{
  size_t len;

  if (!csn_field(L, idx, key))
    return def;
  want(L, key, LUA_TSTRING);
  def = lua_tolstring(L, -1, &len);
  if (strlen(def) != len)
    luaL_error(L, "option '%s': a string without NUL expected", key);
  lua_pop(L, 1);
  return def;
}

lua_Number
csn_opt_num(lua_State *L, int idx, const char *key, lua_Number def)
{
  if (!csn_field(L, idx, key))
    return def;
  want(L, key, LUA_TNUMBER);
  def = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return def;
}

bool
csn_opt_bool(lua_State *L, int idx, const char *key, bool def)
{
  if (!csn_field(L, idx, key))
    return def;
  want(L, key, LUA_TBOOLEAN);
  def = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return def;
}

int
csn_opt_fd(lua_State *L, int idx, const char *key)
{
  int fd;

  if (!csn_field(L, idx, key))
    return -1;
  fd = csn_named_fd(L, -1, "option", key);
  lua_pop(L, 1);
  return fd;
}

u64
csn_to_u64(lua_State *L, int idx, const char *what, bool max)
{
  if (lua_type(L, idx) == LUA_TNUMBER) {
    lua_Number n = lua_tonumber(L, idx);

#if LUA_VERSION_NUM >= 503
    if (lua_isinteger(L, idx) && lua_tointeger(L, idx) >= 0)
      return (u64)lua_tointeger(L, idx);
#endif
    /* Past 2^53 a double is no longer exact: such values travel as decimal strings. */
    if (!(n >= 0 && n <= 9007199254740992.0) || n != (lua_Number)(u64)n)
      luaL_error(
          L, "option '%s': a whole number from 0 to 2^53 expected (a decimal string above), got %f",
          what, n);
    return (u64)n;
  }
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tostring(L, idx), *p = s;
    u64 v = 0;

    if (max && strcmp(s, "max") == 0)
      return UINT64_MAX;
    for (; *p >= '0' && *p <= '9'; p++) {
      u64 digit = (u64)(*p - '0');

      if (v > (UINT64_MAX - digit) / 10)
        luaL_error(L, "option '%s': %s is more than 2^64-1", what, csn_short(L, s));
      v = v * 10 + digit;
    }
    if (p == s || *p || (size_t)(p - s) != lua_rawlen(L, idx))
      luaL_error(L, "option '%s': a decimal number%s expected, got '%s'", what,
                 max ? " or 'max'" : "", csn_short(L, s));
    return v;
  }
  luaL_error(L, "option '%s': number expected, got %s", what, luaL_typename(L, idx));
  return 0;
}

void
csn_push_u64(lua_State *L, u64 v)
{
  char buf[24];

  if (v <= 9007199254740992u) {
    lua_pushnumber(L, (lua_Number)v);
#if LUA_VERSION_NUM >= 503
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)v);
#endif
    return;
  }
  csn_append_u64(buf, sizeof(buf), 0, v);
  lua_pushstring(L, buf);
}

static u64
to_word(lua_State *L, int idx, const struct csn_word *words, const char *what, bool num)
{
  const char *s;
  const char *names[512];
  char known[160];
  int i;

  if (num && lua_type(L, idx) == LUA_TNUMBER)
    return csn_to_u64(L, idx, what, false);
  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "option '%s': a word expected, got %s", what, luaL_typename(L, idx));
  s = lua_tostring(L, idx);
  for (i = 0; words[i].name && i < 511; i++) {
    if (strcmp(words[i].name, s) == 0 && strlen(s) == lua_rawlen(L, idx))
      return words[i].value;
    names[i] = words[i].name;
  }
  names[i] = NULL;
  csn_append(
      known, sizeof(known),
      csn_append(known, sizeof(known), csn_append(known, sizeof(known), 0, "option '"), what),
      "': unknown word");
  csn_unknown_key(L, known, s, names);
  return 0;
}

u64
csn_to_words(lua_State *L, int idx, const struct csn_word *words, const char *what, bool list,
             bool num)
{
  u64 v = 0;
  size_t n, keys = 0;

  idx = lua_absindex(L, idx);
  if (!list || lua_type(L, idx) != LUA_TTABLE)
    return to_word(L, idx, words, what, num);
  n = lua_rawlen(L, idx);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    keys++;
  if (keys != n)
    luaL_error(L, "option '%s': a list of words expected, without holes or names", what);
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, (int)i);
    v |= to_word(L, -1, words, what, num);
    lua_pop(L, 1);
  }
  return v;
}

void
csn_push_words(lua_State *L, u64 v, const struct csn_word *words)
{
  int n = 0;

  lua_newtable(L);
  for (; words->name; words++)
    if (words->value && (v & words->value) == words->value) {
      v &= ~words->value;
      lua_pushstring(L, words->name);
      lua_rawseti(L, -2, ++n);
    }
  if (v) {
    csn_push_u64(L, v);
    lua_rawseti(L, -2, ++n);
  }
}
