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
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
  pid_t owner; /* 0: there is none */
  int sock, runner;
  u64 namespaces;
} ahead = { .sock = -1, .runner = -1 };

static void
forget(void)
{
  ahead.owner = 0;
  ahead.sock = ahead.runner = -1;
  ahead.namespaces = 0;
}

static bool
is_there(void)
{
  return ahead.owner && ahead.owner == getpid();
}

static void
end(void)
{
  if (!is_there())
    return;
  csn_close(ahead.sock); /* which it reads */
  csn_sys(__NR_pidfd_send_signal, ahead.runner, SIGKILL, NULL, 0);
  CSN_RETRY(csn_sys(__NR_waitid, P_PIDFD, ahead.runner, NULL, WEXITED, NULL));
  csn_close(ahead.runner);
  forget();
}

/* A plan's own way to its namespaces might be another: joining, a user namespace that is to own them. */
static bool
fits(const struct csn_spawn *s)
{
  const struct csn_plan *p = s->plan;
  const struct engine_clone_args *a;

  if (s->fork)
    return false;
  if (!ahead.namespaces)
    return true;
  if (p->clone >= p->nsteps)
    return false;
  for (u32 i = 0; i < p->clone; i++)
    if (csn_plan_step(p, i)->side == CSN_CHILD)
      return false;
  a = (const struct engine_clone_args *)((const u8 *)p + csn_plan_step(p, p->clone)->args);
  return (a->namespaces & ahead.namespaces) == ahead.namespaces && !(a->namespaces & CLONE_NEWUSER);
}

/* The first message, with the descriptors that it names. */
static int
send_first(const struct csn_spawn *s, int sock)
{
  union {
    char bytes[CMSG_SPACE(sizeof(int) * (CSN_SLOTS + 2))];
    struct cmsghdr align;
  } control;
  struct csn_run_header h = s->header;
  const size_t size = s->plan->size < CSN_CHUNK ? s->plan->size : CSN_CHUNK;
  struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)s->plan, size } };
  struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
  int fds[CSN_SLOTS + 2];
  u32 n = 0;

  for (int i = 0; i < CSN_SLOTS; i++)
    if (h.slots[i] >= 0)
      fds[n++] = h.slots[i];
  if (h.runner >= 0)
    fds[n++] = h.runner;
  if (h.times >= 0)
    fds[n++] = h.times;
  h.passed = n;
  if (n > 0) {
    struct cmsghdr *c = &control.align;

    memset(&control, 0, sizeof(control));
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    m.msg_control = control.bytes;
    m.msg_controllen = CMSG_SPACE(n * sizeof(int));
  }
  return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

bool
csn_take_ahead(struct csn_spawn *s)
{
  if (!is_there())
    return false;
  if (!fits(s) ||
      send_first(s, ahead.sock) < 0) { /* or it is gone; or too many descriptors are under way */
    end();
    return false;
  }
  s->sock = ahead.sock;
  s->runner = ahead.runner;
  forget();
  return true;
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

  lua_settop(L, 1);
  if (lua_isboolean(L, 1)) {
    luaL_argcheck(L, !lua_toboolean(L, 1), 1, "false, or a list of namespaces, expected");
    end();
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
  if (ahead.owner && ahead.owner != getpid()) { /* this is a fork; it is the parent's */
    csn_close(ahead.sock);
    csn_close(ahead.runner);
    forget();
  }
  if (!ahead.owner) {
    int rc = csn_start_ahead(&ahead.sock, &ahead.runner);

    if (rc < 0)
      return lua_pushboolean(L, false), 1;
    ahead.owner = getpid();
  }
  if (h.enter && send(ahead.sock, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(h))
    ahead.namespaces |= h.enter;
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
