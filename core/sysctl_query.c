/* SPDX-License-Identifier: MIT
 * Whose a kernel parameter is, for who asks before it is set. */
#include "csn.h"
#include "sysctl.h"

/* core.sysctl_namespace(name) -> "ipc" | "net" | "uts" | "user" | nil: it is the whole machine's */
static int
l_sysctl_namespace(lua_State *L)
{
  lua_pushstring(L, csn_sysctl_owner(luaL_checkstring(L, 1))); /* nil for NULL */
  return 1;
}

static void
open_sysctl(lua_State *L)
{
  lua_pushcfunction(L, l_sysctl_namespace);
  lua_setfield(L, -2, "sysctl_namespace");
}

CSN_OPEN(open_sysctl)
