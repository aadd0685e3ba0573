/* SPDX-License-Identifier: MIT
 * What Landlock this kernel has: for policies that ask before they build, and for the doctor. */
#include "csn.h"
#include "landlock.h"

/* core.landlock.abi() -> version | nil, message, errno */
static int
l_abi(lua_State *L)
{
  int abi = csn_landlock_abi();

  if (abi < 0)
    return csn_pusherr(L, -abi, "Landlock");
  lua_pushinteger(L, abi);
  return 1;
}

struct right {
  const char *name;
  int abi;
};

static void
push_rights(lua_State *L, const char *key, const struct right *r)
{
  lua_newtable(L);
  for (; r->name; r++) {
    lua_pushinteger(L, r->abi);
    lua_setfield(L, -2, r->name);
  }
  lua_setfield(L, -2, key);
}

/* core.landlock.rights() -> { fs = { word = ABI }, net = {...}, scope = {...} } */
static int
l_rights(lua_State *L)
{
#define RIGHT(name, bit, abi) { #name, abi },
  static const struct right fs[] = { CSN_LANDLOCK_FS(RIGHT){ NULL, 0 } };
  static const struct right net[] = { CSN_LANDLOCK_NET(RIGHT){ NULL, 0 } };
  static const struct right scope[] = { CSN_LANDLOCK_SCOPE(RIGHT){ NULL, 0 } };

  lua_newtable(L);
  push_rights(L, "fs", fs);
  push_rights(L, "net", net);
  push_rights(L, "scope", scope);
  return 1;
}

static void
open_landlock(lua_State *L)
{
  static const luaL_Reg functions[] = { { "abi", l_abi }, { "rights", l_rights }, { NULL, NULL } };

  csn_register(L, "landlock", functions);
}

CSN_OPEN(open_landlock)
