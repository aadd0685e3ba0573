/* SPDX-License-Identifier: MIT
 *
 * The fork of the host in which Lua steps of the child's side run.
 *
 * Only a plan that has such steps is run here in place of the runner. glibc's fork(), since a raw clone
 * runs no atfork handlers; the same C that the runner runs then makes the child (child.c).
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <linux/prctl.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Push the run's function called name; 0 or -ENOENT. */
static int
push_function(struct csn_spawn *s, const char *name)
{
  lua_State *L = s->L;

  if (!s->functions)
    return -ENOENT;
  lua_pushstring(L, name);
  lua_rawget(L, s->functions); /* no metamethod may raise here */
  if (lua_isfunction(L, -1))
    return 0;
  lua_pop(L, 1);
  return -ENOENT;
}

static int
traceback(lua_State *L)
{
  if (!lua_isstring(L, 1))
    return 1;
  lua_getglobal(L, "debug");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "traceback");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 2);
    if (lua_isfunction(L, -3) && lua_pcall(L, 2, 1, 0) == 0)
      return 1;
  }
  lua_settop(L, 1);
  return 1;
}

/* Call the function below its n arguments on the stack: nil, err and a raise are failures. The message goes into the
 * detail, its errno (third value) becomes the step's. What the first value is stays at top + 2. */
static int
call(struct csn_spawn *s, struct csn_ctx *c, int top, int n)
{
  lua_State *L = s->L;
  int rc = 0;

  lua_pushcfunction(L, traceback);
  lua_insert(L, top + 1);
  if (lua_pcall(L, n, 3, top + 1) != 0) {
    rc = -ECANCELED;
    csn_detail(c, rc, lua_isstring(L, -1) ? lua_tostring(L, -1) : "(an error that is no string)",
               NULL);
  } else if (lua_isnil(L, -3) && lua_isstring(L, -2)) {
    rc = lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 &&
                 lua_tonumber(L, -1) < 256 /* a byte, where an optional step is noted */
             ? -(int)lua_tonumber(L, -1)
             : -ECANCELED;
    csn_detail(c, rc, lua_tostring(L, -2), NULL);
  }
  return rc;
}

int
csn_call_lua(struct csn_spawn *s, struct csn_ctx *c, const char *name)
{
  lua_State *L = s->L;
  int top = lua_gettop(L), rc = push_function(s, name);

  if (rc < 0)
    return csn_detail(c, rc, "the run has no function called ", name);
  lua_pushinteger(L, c->pid);
  lua_pushinteger(L, csn_attended(s));
  rc = call(s, c, top, 2);
  lua_settop(L, top);
  return rc;
}

int
csn_call_at(struct csn_spawn *s, struct csn_ctx *c, int at, int n, const lua_Number *args)
{
  lua_State *L = s->L;
  int top = lua_gettop(L), rc;

  lua_pushvalue(L, at);
  for (int i = 0; i < n; i++)
    lua_pushnumber(L, args[i]);
  rc = call(s, c, top, n);
  lua_settop(L, top);
  return rc;
}

int
csn_call_before(struct csn_spawn *s, struct csn_ctx *c, u32 step, bool born)
{
  lua_State *L = s->L;
  int top = lua_gettop(L), rc;

  lua_pushvalue(L, s->before);
  lua_pushinteger(L, (lua_Integer)step + 1);
  lua_pushboolean(L, born);
  lua_newtable(L);
  for (u32 k = 0; k < CSN_SLOT_FIRST_FREE + s->plan->nslots && k < CSN_SLOTS; k++)
    if (c->slots[k] >= 0) {
      lua_pushinteger(L, c->slots[k]);
      lua_setfield(L, -2, csn_plan_slot_name(s->plan, k));
    }
  rc = call(s, c, top, 3);
  if (rc == 0 && lua_isstring(L, -3))
    rc = csn_streq(lua_tostring(L, -3), "skip");
  lua_settop(L, top);
  return rc;
}

static int
lua_step(struct csn_run *run, const char *name)
{
  int rc = csn_call_lua(run->lua, &run->ctx, name);

  fflush(NULL); /* exec would drop what the function printed */
  return rc;
}

static int
before_step(struct csn_run *run, u32 step)
{
  int rc = csn_call_before(run->lua, &run->ctx, step, run->ctx.born);

  fflush(NULL);
  return rc;
}

/* libgcc's table of stack frames, which every Lua error looks into and every compiled trace is entered in,
 * has a lock that no atfork handler knows. Held by another of the host's threads at the instant of the
 * fork, it is held in the fork for ever. So the fork looks into the table once, under an alarm that ends
 * it, for the host to fork again; and it compiles nothing, since a first entry is not to be seen there. */
static void *(*find_frame)(void *pc, void *bases);

void
csn_before_fork(void)
{
  find_frame = (void *(*)(void *, void *))(uintptr_t)dlsym(RTLD_DEFAULT, "_Unwind_Find_FDE");
  fflush(NULL); /* or the child prints it a second time */
}

void
csn_after_fork(lua_State *L)
{
  const struct itimerval late = { .it_value = { .tv_usec = 300000 } }, never = { 0 };
  struct sigaction by_default = { .sa_handler = SIG_DFL }, old_action;
  sigset_t alarm_alone, old_mask;
  void *bases[3];

  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "jit");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "off");
    lua_call(L, 0, 0);
  }
  lua_pop(L, 2);
  if (!find_frame)
    return;
  sigemptyset(&alarm_alone);
  sigaddset(&alarm_alone, SIGALRM);
  sigaction(SIGALRM, &by_default, &old_action);
  sigprocmask(SIG_UNBLOCK, &alarm_alone, &old_mask);
  setitimer(ITIMER_REAL, &late, NULL);
  find_frame((void *)(uintptr_t)csn_after_fork, bases);
  setitimer(ITIMER_REAL, &never, NULL);
  sigprocmask(SIG_SETMASK, &old_mask, NULL);
  sigaction(SIGALRM, &old_action, NULL);
}

/* The fork's whole life; called by lua_pcall, so that no raise can lead back into the host's script, which
 * would then run twice. */
int
csn_forked(lua_State *L)
{
  struct csn_spawn *s = lua_touserdata(L, 1);
  struct csn_run run = { .plan = s->plan,
                         .sock = s->child_sock,
                         .fail_step = s->header.fail_step,
                         .fail_errno = s->header.fail_errno,
                         .runner = s->header.runner,
                         .traced = s->header.traced,
                         .times = s->times,
                         .times_fd = s->header.times,
                         .lua_step = lua_step,
                         .lua = s };
  char go;

  s->functions = lua_istable(L, 2) ? 2 : 0;
  s->before = lua_isfunction(L, 3) ? 3 : 0;
  run.before = s->before ? before_step : NULL;
  csn_after_fork(L);
  /* Nothing is made before the host has a hold on this process. */
  if (send(run.sock, "", 1, MSG_NOSIGNAL) != 1 ||
      CSN_RETRY(csn_sys(__NR_recvfrom, run.sock, &go, 1, 0, 0, 0)) != 1)
    _exit(0);
  run.record =
      mmap(NULL, sizeof(*run.record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (run.record != MAP_FAILED) {
    run.ctx = s->ctx;
    run.ctx.pid = 0;
    run.ctx.base = (const u8 *)s->plan;
    csn_make_child(&run);
  }
  _exit(0);
}

/* In the fork: glibc's fork has run the atfork handlers, so Lua and malloc work here whatever the host's
 * other threads held; csn_make_child then clones once more, with the namespaces, from a process of one
 * thread. */
_Noreturn static void
forked(struct csn_spawn *s)
{
  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  lua_pushvalue(s->L, s->entry);
  lua_pushlightuserdata(s->L, s);
  if (s->functions)
    lua_pushvalue(s->L, s->functions);
  else
    lua_pushnil(s->L);
  if (s->before)
    lua_pushvalue(s->L, s->before);
  else
    lua_pushnil(s->L);
  lua_pcall(s->L, 3, 0, 0);
  _exit(0);
}

/* Wait for the fork's first word: 0, or -EAGAIN where the alarm has ended it. */
static int
await_fork(struct csn_spawn *s)
{
  struct pollfd fds[2] = { { .fd = s->sock, .events = POLLIN },
                           { .fd = s->runner, .events = POLLIN } };
  char ready;

  while (poll(fds, 2, -1) < 0)
    if (errno != EINTR)
      return -errno;
  if (!fds[0].revents) {
    csn_reap_runner(s);
    if (s->died_by != SIGALRM)
      return 0; /* its report's absence says so */
    s->died_by = 0;
    return -EAGAIN;
  }
  return recv(s->sock, &ready, 1, 0) < 0 ? -errno : 0;
}

static int
fork_once(struct csn_spawn *s)
{
  pid_t pid = fork();
  int err;

  if (pid < 0)
    return -errno;
  if (pid == 0) {
    close(s->sock);
    forked(s);
  }
  s->runner = (int)syscall(SYS_pidfd_open, pid, 0);
  if (s->runner >= 0)
    return await_fork(s);
  err = errno;
  kill(pid, SIGKILL);
  CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, 0, 0));
  return -err;
}

int
csn_start_fork(struct csn_spawn *s, int child_sock)
{
  int rc = -EAGAIN;

  s->child_sock = child_sock;
  csn_before_fork();
  for (int tries = 0; rc == -EAGAIN && tries < 20; tries++)
    rc = fork_once(s);
  if (rc == 0)
    send(s->sock, "", 1, MSG_NOSIGNAL);
  return rc;
}
