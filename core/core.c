/* SPDX-License-Identifier: MIT
 * luaopen_caisson_core: primitives, plans, spawning, and each family's queries, as one table. */
#define _GNU_SOURCE
#include "csn.h"
#include <sys/utsname.h>
#include <stdlib.h>

/* The kernel interfaces that everything stands on came together in 5.14. */
void
csn_check_kernel(lua_State *L)
{
  struct utsname u;
  char *end;
  long major, minor;

  uname(&u);
  major = strtol(u.release, &end, 10);
  minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
  if (major < 5 || (major == 5 && minor < 14))
    luaL_error(L, "caisson needs Linux 5.14 or later; this is %s", u.release);
}

__attribute__((visibility("default"))) int luaopen_caisson_core(lua_State *L);

__attribute__((visibility("default"))) int
luaopen_caisson_core(lua_State *L)
{
  csn_check_kernel(L);
  lua_newtable(L);
  csn_open_plan(L);
  for (csn_opener *const *open = __start_csn_openers; open < __stop_csn_openers; open++)
    (*open)(L);
  return 1;
}
