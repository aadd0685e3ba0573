/* SPDX-License-Identifier: MIT
 *
 * What a caller gets of a run that failed: nil, message, errno, failure.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <string.h>

int
csn_push_failure(lua_State *L, struct csn_spawn *s)
{
  const struct csn_plan *p = s->plan;
  bool in_step = s->fail_step < p->nsteps;
  const char *name = "run";
  luaL_Buffer b;
  int failure;

  lua_newtable(L);
  failure = lua_gettop(L);
  luaL_buffinit(L, &b);
  if (in_step) {
    const struct csn_step *st = csn_plan_step(p, s->fail_step);

    name = csn_step_prim(st)->name;
    csn_push_object(L, p, st);
    lua_setfield(L, failure, "object");
    lua_pushinteger(L, (lua_Integer)s->fail_step + 1);
    lua_setfield(L, failure, "number");
    lua_pushinteger(L, (lua_Integer)csn_plan_nth(p, s->fail_step));
    lua_setfield(L, failure, "index");
    lua_pushstring(L, st->side == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, failure, "side");
  }
  lua_pushstring(L, name);
  lua_setfield(L, failure, "step");
  lua_pushinteger(L, s->fail_errno);
  lua_setfield(L, failure, "errno");
  if (s->fail_errno) {
    lua_pushstring(L, csn_errname(s->fail_errno));
    lua_setfield(L, failure, "code");
  }
  if (s->died_by && !s->fail_errno) {
    lua_pushinteger(L, s->died_by);
    lua_setfield(L, failure, "signal");
  }
  if (s->ctx.detail_len) {
    lua_pushlstring(L, s->ctx.detail, s->ctx.detail_len);
    lua_setfield(L, failure, "detail");
  }
  lua_pushnil(L);
  if (in_step) {
    lua_pushfstring(L, "step %d, %s[%d] ", (int)s->fail_step + 1, name,
                    (int)csn_plan_nth(p, s->fail_step));
    lua_getfield(L, failure, "object");
  } else {
    lua_pushliteral(L, "");
    lua_pushliteral(L, "the container");
  }
  if (s->ctx.detail_len)
    lua_pushfstring(L, ": %s", s->ctx.detail);
  else
    lua_pushliteral(L, "");
  csn_show_text(L, true);
  if (s->fail_errno)
    lua_pushfstring(L, ": %s (%s)",
                    strerrordesc_np(s->fail_errno) ? strerrordesc_np(s->fail_errno)
                                                   : "Unknown error",
                    csn_errname(s->fail_errno) ? csn_errname(s->fail_errno) : "?");
  else if (s->died_by)
    lua_pushfstring(L, ": killed by signal %d (%s) before its program was executed", s->died_by,
                    sigabbrev_np(s->died_by) ? sigabbrev_np(s->died_by) : "?");
  else
    lua_pushliteral(L, ": ended before its program was executed");
  lua_concat(L, 4);
  lua_pushinteger(L, s->fail_errno);
  lua_pushvalue(L, failure);
  return 4;
}
