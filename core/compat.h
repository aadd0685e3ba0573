/* SPDX-License-Identifier: MIT
 * What differs between LuaJIT / Lua 5.1 and Lua 5.2 to 5.4, as far as we use it. */
#ifndef CSN_COMPAT_H
#define CSN_COMPAT_H

#include <lua.h>
#include <lauxlib.h>

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#define csn_setfuncs(L, l) luaL_register(L, NULL, l)
static inline int
lua_absindex(lua_State *L, int i)
{
  return i > 0 || i <= LUA_REGISTRYINDEX ? i : lua_gettop(L) + i + 1;
}
#define csn_getuservalue(L, i) lua_getfenv(L, i)
#define csn_setuservalue(L, i) lua_setfenv(L, i)
#else
#define csn_setfuncs(L, l) luaL_setfuncs(L, l, 0)
#if LUA_VERSION_NUM >= 504
#define csn_getuservalue(L, i) lua_getiuservalue(L, i, 1)
#define csn_setuservalue(L, i) lua_setiuservalue(L, i, 1)
#else
#define csn_getuservalue(L, i) lua_getuservalue(L, i)
#define csn_setuservalue(L, i) lua_setuservalue(L, i)
#endif
#endif

#endif
