/* SPDX-License-Identifier: MIT
 *
 * A runner that is started before its plan is there.
 *
 * Who knows that there will be a plan, but has yet to read and compile it, need not wait afterwards for the runner to
 * start, nor for those namespaces to be made that take long: another processor has done it meanwhile. It is the first
 * that has no other work: csn_spawn takes it where the plan fits what it has done so far, and else ends it.
 *
 * The thread that starts it is not suspended until it executes, and shares memory with it until then; so its stack is
 * not on that thread's. It has descriptors passed to it, since there were none when it was made.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "caisson.ahead"

/* In its userdata, whose place is a multiple of 8. */
static struct csn_ahead *
at(void *userdata)
{
  return userdata ? (struct csn_ahead *)(((uintptr_t)userdata + 15) & ~(uintptr_t)15) : NULL;
}

/* The Lua state's, or NULL. Nothing is left on the stack: the registry holds it. */
static struct csn_ahead *
find(lua_State *L)
{
  struct csn_ahead *a;

  lua_getfield(L, LUA_REGISTRYINDEX, NAME);
  a = at(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return a;
}

static void
forget(struct csn_ahead *a)
{
  a->owner = 0;
  a->sock = a->runner = -1;
  a->namespaces = 0;
}

static bool
is_there(const struct csn_ahead *a)
{
  return a && a->owner && a->owner == getpid();
}

/* It has been executed, or has ended: this memory is no longer its own. */
static bool
is_busy(const struct csn_ahead *a)
{
  return __atomic_load_n(&a->busy, __ATOMIC_ACQUIRE) != 0;
}

static void
end(struct csn_ahead *a)
{
  if (!is_there(a))
    return;
  csn_close(a->sock); /* which it reads */
  csn_sys(__NR_pidfd_send_signal, a->runner, SIGKILL, NULL, 0);
  CSN_RETRY(csn_sys(__NR_waitid, P_PIDFD, a->runner, NULL, WEXITED, NULL));
  csn_close(a->runner);
  forget(a);
}

/* A plan's own way to its namespaces might be another: joining, a user namespace that is to own them. */
static bool
fits(const struct csn_ahead *ahead, const struct csn_spawn *s)
{
  const struct csn_plan *p = s->plan;
  const struct engine_clone_args *a;

  if (s->fork)
    return false;
  if (!ahead->namespaces)
    return true;
  if (p->clone >= p->nsteps)
    return false;
  for (u32 i = 0; i < p->clone; i++)
    if (csn_plan_step(p, i)->side == CSN_CHILD)
      return false;
  a = (const struct engine_clone_args *)((const u8 *)p + csn_plan_step(p, p->clone)->args);
  return (a->namespaces & ahead->namespaces) == ahead->namespaces &&
         !(a->namespaces & CLONE_NEWUSER);
}

/* The first message, with the descriptors that it names. */
static int
send_first(const struct csn_spawn *s, int sock)
{
  struct csn_run_header h = s->header;
  const size_t size = s->plan->size < CSN_CHUNK ? s->plan->size : CSN_CHUNK;
  s32 fds[CSN_SLOTS + 2];
  u32 n = 0;

  for (int i = 0; i < CSN_SLOTS; i++)
    if (h.slots[i] >= 0)
      fds[n++] = h.slots[i];
  if (h.runner >= 0)
    fds[n++] = h.runner;
  if (h.times >= 0)
    fds[n++] = h.times;
  h.passed = n;
  return csn_send_fds(sock, &h, sizeof(h), s->plan, size, fds, n, MSG_DONTWAIT);
}

bool
csn_take_ahead(struct csn_spawn *s)
{
  struct csn_ahead *a = find(s->L);

  if (!is_there(a))
    return false;
  if (!fits(a, s) ||
      send_first(s, a->sock) < 0) { /* or it is gone; or too many descriptors are under way */
    end(a);
    return false;
  }
  s->sock = a->sock;
  s->runner = a->runner;
  forget(a);
  return true;
}

/* One that was taken is about to be executed, if it is not yet. */
static int
l_gc(lua_State *L)
{
  struct csn_ahead *a = at(lua_touserdata(L, 1));

  end(a);
  for (int i = 0; a->maker == getpid() && is_busy(a) && i < 10000; i++)
    csn_sys(__NR_sched_yield, 0);
  return 0;
}

/* The state's, which is made where there is none. */
static struct csn_ahead *
make(lua_State *L)
{
  struct csn_ahead *a = find(L);

  if (!a) {
    a = at(lua_newuserdata(L, sizeof(*a) + 16));
    a->maker = 0;
    a->busy = 0;
    forget(a);
    lua_newtable(L);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, NAME);
  }
  if (a->maker != getpid()) { /* this is a fork, and what there is the parent's */
    if (a->owner) {
      csn_close(a->sock);
      csn_close(a->runner);
    }
    forget(a);
    a->busy = 0;
    a->maker = getpid();
  }
  return a;
}

/* core.ahead([namespaces]) -> whether there is one now; core.ahead(false) -> false: it is ended */
static int
l_ahead(lua_State *L)
{
  static const struct {
    const char *name;
    u64 flag;
  } known[] = { { "net", CLONE_NEWNET }, { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS } };
  struct csn_run_header h = { 0 };
  struct csn_ahead *a;

  lua_settop(L, 1);
  if (lua_isboolean(L, 1)) {
    luaL_argcheck(L, !lua_toboolean(L, 1), 1, "false, or a list of namespaces, expected");
    end(find(L));
    lua_pushboolean(L, false);
    return 1;
  }
  if (!lua_isnil(L, 1))
    luaL_checktype(L, 1, LUA_TTABLE);
  for (int i = 1, n = lua_isnil(L, 1) ? 0 : (int)lua_rawlen(L, 1); i <= n; i++) {
    const char *name;
    size_t k;

    lua_rawgeti(L, 1, i);
    name = luaL_checkstring(L, -1);
    for (k = 0; k < sizeof(known) / sizeof(*known) && strcmp(known[k].name, name) != 0; k++)
      ;
    if (k == sizeof(known) / sizeof(*known))
      return luaL_error(L, "'%s' can't be made ahead: net, ipc or uts expected",
                        csn_short(L, name));
    h.enter |= (u32)known[k].flag;
    lua_pop(L, 1);
  }
  a = make(L);
  if (!a->owner && (is_busy(a) || csn_start_ahead(a) < 0)) {
    lua_pushboolean(L, false);
    return 1;
  }
  a->owner = getpid();
  if (h.enter && send(a->sock, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(h))
    a->namespaces |= h.enter;
  lua_pushboolean(L, true);
  return 1;
}

static void
open_ahead(lua_State *L)
{
  lua_pushcfunction(L, l_ahead);
  lua_setfield(L, -2, "ahead");
}

CSN_OPEN(open_ahead)
