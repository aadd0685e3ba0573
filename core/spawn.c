/* SPDX-License-Identifier: MIT
 *
 * core.spawn: a run of a plan is begun, by the runner or a fork, and handed over as an object.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The runner, with the first message, or a fork; 0 or -errno. */
static int
start(struct csn_spawn *s)
{
  int pair[2] = { -1, -1 }, rc;

  rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
  if (rc == 0) {
    s->sock = csn_above_stdio(pair[0]);
    pair[1] = csn_above_stdio(pair[1]);
    rc = s->sock < 0 ? s->sock : pair[1] < 0 ? pair[1] : 0;
  }
  if (rc == 0 && !s->fork)
    rc = csn_send_first(s);
  if (rc == 0)
    rc = s->fork ? csn_start_fork(s, pair[1]) : csn_start_runner(s, pair[1]);
  csn_close(pair[1]);
  return rc;
}

static void
run_plan(struct csn_spawn *s)
{
  u32 i;
  int rc;

  s->start_ns = csn_monotonic_ns();
  s->counter0 = csn_counter();
  for (i = 0; i < s->plan->clone && s->plan->clone < s->plan->nsteps; i++)
    if (csn_plan_step(s->plan, i)->side == CSN_PARENT &&
        ((rc = csn_ask_before(s, i)) < 0 || (rc = csn_parent_step(s, i)) < 0)) {
      csn_set_failure(s, i, -rc);
      csn_abandon(s);
      return;
    }
  for (i = 0; i < CSN_SLOTS; i++)
    s->header.slots[i] = s->ctx.slots[i];
  s->header.plan_size = s->plan->size;
  s->waiting = s->plan->wait < s->plan->nsteps;
  s->init = csn_exec_args(s->plan)->init;
  s->header.runner = csn_stays(s->plan) || s->waiting ? csn_runner() : -1;
  rc = csn_take_ahead(s) ? 0 : start(s);
  if (rc == 0 && !s->fork)
    rc = csn_send_rest(s);
  if (rc < 0 &&
      rc != -EPIPE) { /* that is the runner's death, of which the report's absence tells */
    csn_detail(&s->ctx, rc, s->fork ? "fork" : csn_runner_trouble(rc), NULL);
    csn_set_failure(s, s->plan->nsteps, -rc);
    csn_abandon(s);
    return;
  }
  csn_attend(s);
  if (!s->failed && (rc = csn_meanwhile(s)) < 0)
    csn_set_failure(s, s->plan->nsteps, -rc);
  if (s->failed) {
    csn_abandon(s);
    return;
  }
  csn_reap_runner(s);
  /* it will tell how the program ended; it is to be kept; or it serves as agent */
  if (csn_stays(s->plan) || s->waiting)
    return;
  csn_close(s->sock);
  s->sock = -1;
}

/* The run has its own copy: the caller's may be closed by a hook meanwhile. A standard stream that exec
 * would close is none: the host has closed its own, and something that must not leave it took the number. */
static int
take_descriptor(int fd)
{
  int flags = fd <= 2 ? fcntl(fd, F_GETFD) : 0;

  return flags < 0 || (flags & FD_CLOEXEC) ? -EBADF : csn_dup(fd, 3);
}

/* core.runner() -> fd of the runner's program | nil, message, errno: executed without arguments, it ends at once */
static int
l_runner(lua_State *L)
{
  int *fd = csn_newfd(L);
  int rc = csn_runner();

  if (rc >= 0)
    rc = *fd = csn_dup(rc, 3);
  return rc < 0 ? csn_pusherr(L, -rc, "%s", csn_runner_trouble(rc)) : 1;
}

/* The place on the stack of a function among the options at 1; 0: not given. */
static int
opt_function(lua_State *L, const char *name)
{
  if (!csn_field(L, 1, name))
    return 0;
  if (!lua_isfunction(L, -1))
    return luaL_error(L, "option '%s': function expected, got %s", name, luaL_typename(L, -1));
  return lua_gettop(L);
}

/* core.spawn { plan =, slots =, functions =, fork =, fail = { step =, errno = }, before =, attach =, timed =,
 *   meanwhile = } -> process | nil, message, errno, failure */
static int
l_spawn(lua_State *L)
{
  static const char *const keys[] = { "plan",    "slots",     "functions", "fork",   "fail",
                                      "cancel",  "late",      "before",    "attach", "timed",
                                      "stamped", "meanwhile", NULL };
  const struct csn_plan *p;
  struct csn_spawn *s;
  bool given[CSN_SLOTS] = { false };
  int rc;

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  lua_getfield(L, 1, "plan"); /* 2 */
  p = csn_check_plan(L, 2);
  if (p->exec >= p->nsteps && !csn_only_calls(p))
    return luaL_error(L, "the plan has no exec step");
  lua_getfield(L, 1, "functions"); /* 3 */
  if (!lua_isnil(L, 3))
    luaL_checktype(L, 3, LUA_TTABLE);
  s = csn_newprocess(L, p); /* 4 */
  s->L = L;
  s->functions = lua_isnil(L, 3) ? 0 : 3;
  lua_pushcfunction(L, csn_forked); /* 5: now, while it may raise */
  s->entry = 5;
  s->before = opt_function(L, "before"); /* which stay */
  s->attach = opt_function(L, "attach");
  s->timed = opt_function(L, "timed");
  s->stamped = opt_function(L, "stamped");
  s->meanwhile = opt_function(L, "meanwhile");
  s->header.traced = s->attach != 0;
  luaL_checkstack(L, LUA_MINSTACK, "spawn");
  s->fork = csn_opt_bool(L, 1, "fork", false) || s->before;
  s->cancel = csn_opt_fd(L, 1, "cancel");
  s->late = csn_opt_num(L, 1, "late", 0);
  if (csn_field(L, 1, "slots")) {
    if (!lua_istable(L, -1))
      return luaL_error(L, "option 'slots': table expected, got %s", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      s64 k;

      if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "slots are named by strings");
      k = csn_plan_slot(p, lua_tostring(L, -2));
      if (k < 0)
        return luaL_error(L, "slots: the plan has no slot called '%s'",
                          csn_short(L, lua_tostring(L, -2)));
      s->ctx.slots[k] = take_descriptor(csn_named_fd(L, -1, "slot", lua_tostring(L, -2)));
      if (s->ctx.slots[k] < 0) {
        int err = -s->ctx.slots[k];

        csn_release_process(s);
        return csn_pusherr(L, err, "slot %s: descriptor %d", lua_tostring(L, -2), csn_tofd(L, -1));
      }
      given[k] = true;
    }
    lua_pop(L, 1);
  }
  if (csn_field(L, 1, "fail")) {
    static const char *const fail_keys[] = { "step", "errno", NULL };
    lua_Number step, number;

    if (!lua_istable(L, -1))
      return luaL_error(L, "option 'fail': table expected, got %s", luaL_typename(L, -1));
    csn_checkkeys(L, -1, fail_keys);
    step = csn_opt_num(L, -1, "step", 1);
    number = csn_opt_num(L, -1, "errno", 0);
    if (!(step >= 1 && step <= CSN_MAX_STEPS && number >= 0 && number <= 4095))
      return luaL_error(L, "option 'fail': a step's number and an errno expected, got %f and %f",
                        step, number);
    s->header.fail_step = (u32)step - 1;
    s->header.fail_errno = (s32)number;
    lua_pop(L, 1);
  }
  for (u32 i = 0; i < p->nsteps && !s->fork; i++) {
    const struct csn_step *st = csn_plan_step(p, i);

    if (csn_step_prim(st)->action == CSN_ACT_LUA && st->side == CSN_CHILD)
      s->fork = true;
  }
  if (s->stamped && (rc = csn_make_times(s)) < 0) {
    csn_release_process(s);
    return csn_pusherr(L, -rc, "a memfd for the times");
  }
  run_plan(s);
  if (s->times)
    csn_tell_times(s);
  s->cancel = -1;
  s->L = NULL;
  s->functions = s->entry = s->before = s->attach = s->timed = s->stamped = s->meanwhile = 0;
  /* Only what steps have filled is kept: a pipe's reader waits for its last writer. */
  for (int k = 0; k < CSN_SLOTS; k++)
    if (given[k]) {
      csn_close(s->ctx.slots[k]);
      s->ctx.slots[k] = -1;
    }
  if (s->failed) {
    int n = csn_push_failure(L, s);

    csn_release_process(s);
    return n;
  }
  csn_joined_add(s);
  lua_settop(L, 4);
  return 1;
}

static void
open_spawn(lua_State *L)
{
  char build[24];

  lua_pushcfunction(L, l_spawn);
  lua_setfield(L, -2, "spawn");
  lua_pushcfunction(L, l_runner);
  lua_setfield(L, -2, "runner");
  snprintf(build, sizeof(build), "%016llx", (unsigned long long)csn_build());
  lua_pushstring(L, build);
  lua_setfield(L, -2, "build");
}

CSN_OPEN(open_spawn)
