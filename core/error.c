/* SPDX-License-Identifier: MIT
 * Errors as Lua sees them: nil, message, errno; and core.errno, names and numbers. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
csn_errname(int err)
{
  return strerrorname_np(err);
}

#define LONGEST 1000

void
csn_show_text(lua_State *L, bool lines)
{
  size_t len, n = 0;
  const char *s = lua_tolstring(L, -1, &len);
  luaL_Buffer b;

  while (n < len && n <= LONGEST && (u8)s[n] >= ' ' && s[n] != 0x7f && (u8)s[n] != 0xc2)
    n++;
  if (n == len && len <= LONGEST)
    return;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < len && i < LONGEST; i++) {
    char code[8];

    /* U+0080 to U+009F, which some terminals obey too */
    if ((u8)s[i] == 0xc2 && i + 1 < len && ((u8)s[i + 1] & 0xe0) == 0x80) {
      luaL_addstring(&b, "\\xc2");
      snprintf(code, sizeof(code), "\\x%02x", (u8)s[++i]);
      luaL_addstring(&b, code);
    } else if (((u8)s[i] >= ' ' && s[i] != 0x7f) || (lines && (s[i] == '\n' || s[i] == '\t'))) {
      luaL_addchar(&b, s[i]);
    } else {
      snprintf(code, sizeof(code), "\\x%02x", (u8)s[i]);
      luaL_addstring(&b, code);
    }
  }
  if (len > LONGEST)
    luaL_addstring(&b, "...");
  luaL_pushresult(&b);
  lua_remove(L, -2);
}

int
csn_pusherr(lua_State *L, int err, const char *fmt, ...)
{
  const char *name = csn_errname(err);
  va_list ap;

  lua_pushnil(L);
  va_start(ap, fmt);
  lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  csn_show_text(L, true);
  lua_pushfstring(L, ": %s (%s)", strerrordesc_np(err) ? strerrordesc_np(err) : "Unknown error",
                  name ? name : "?");
  lua_concat(L, 2);
  lua_pushinteger(L, err);
  return 3;
}

int
csn_pushok(lua_State *L)
{
  lua_pushboolean(L, 1);
  return 1;
}

/* errno.name(2) -> "ENOENT"; errno.message(2) -> "No such file or directory" */
static int
l_name(lua_State *L)
{
  lua_pushstring(L, csn_errname((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int
l_message(lua_State *L)
{
  lua_pushstring(L, strerrordesc_np((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int
l_missing(lua_State *L)
{
  return luaL_error(L, "no errno is called '%s'",
                    lua_isstring(L, 2) ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static void
open_error(lua_State *L)
{
  lua_newtable(L);
  for (int e = 1; e < 134; e++)
    if (csn_errname(e)) {
      lua_pushinteger(L, e);
      lua_setfield(L, -2, csn_errname(e));
    }
  lua_pushcfunction(L, l_name);
  lua_setfield(L, -2, "name");
  lua_pushcfunction(L, l_message);
  lua_setfield(L, -2, "message");
  lua_newtable(L);
  lua_pushcfunction(L, l_missing);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "errno");
}

CSN_OPEN(open_error)
