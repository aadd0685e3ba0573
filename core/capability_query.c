/* SPDX-License-Identifier: MIT
 * The capabilities that this process has (capabilities(7)), by name. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

static void
push_name(lua_State *L, int cap)
{
  char *name = cap_to_name(cap);

  lua_pushstring(L, name && csn_strlen(name) > 4 ? name + 4 /* cap_ */ : "?");
  cap_free(name);
}

/* capabilities.get() -> { effective =, permitted =, inheritable =, bounding =, ambient = }: lists of names */
static int
l_get(lua_State *L)
{
  static const char *const sets[] = { "effective", "permitted", "inheritable", "bounding",
                                      "ambient" };
  static const cap_flag_t flags[] = { CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE };
  cap_t held = cap_get_proc();

  if (!held)
    return csn_pusherr(L, errno, "capabilities");
  lua_createtable(L, 0, 5);
  for (int i = 0; i < 5; i++) {
    int n = 0;

    lua_newtable(L);
    for (int cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
      cap_flag_value_t has = CAP_CLEAR;

      if (i < 3)
        cap_get_flag(held, cap, flags[i], &has);
      else if (i == 3)
        has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 ? CAP_SET : CAP_CLEAR;
      else
        has = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1 ? CAP_SET : CAP_CLEAR;
      if (has != CAP_SET)
        continue;
      push_name(L, cap);
      lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, sets[i]);
  }
  cap_free(held);
  return 1;
}

static void
open_capability_query(lua_State *L)
{
  static const luaL_Reg functions[] = { { "get", l_get }, { NULL, NULL } };

  csn_register(L, "capabilities", functions);
}

CSN_OPEN(open_capability_query)
