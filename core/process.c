/* SPDX-License-Identifier: MIT
 *
 * The process object: a pidfd beside the pid. Waiting, signals and namespace joins go through the
 * pidfd, so that a recycled pid is never hit and the host's own children are never reaped.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <sys/socket.h>
#include <stdio.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESS_TYPE "caisson.process"

struct csn_spawn *
csn_newprocess(lua_State *L, const struct csn_plan *p)
{
  /* The plan lives as long as the process: its parent steps are undone at the end. */
  struct csn_spawn *s = lua_newuserdata(L, sizeof(*s) + 2 * (size_t)p->nsteps);

  memset(s, 0, sizeof(*s) + 2 * (size_t)p->nsteps);
  s->done = (u8 *)(s + 1);
  s->skipped = s->done + p->nsteps;
  s->plan = p;
  s->ctx.base = (const u8 *)p;
  s->sock = s->pidfd = s->runner = s->creator = s->cancel = s->header.times = -1;
  s->owner = getpid();
  for (int i = 0; i < CSN_SLOTS; i++)
    s->ctx.slots[i] = -1;
  luaL_getmetatable(L, PROCESS_TYPE);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "plan");
  csn_setuservalue(L, -2);
  return s;
}

void
csn_release_process(struct csn_spawn *s)
{
  for (int i = 0; i < CSN_SLOTS; i++) {
    csn_close(s->ctx.slots[i]);
    s->ctx.slots[i] = -1;
  }
  csn_joined_remove(s);
  csn_close(s->sock);
  csn_close(s->pidfd);
  csn_close(s->runner);
  csn_close(s->creator);
  s->sock = s->pidfd = s->runner = s->creator = -1;
}

struct csn_spawn *
csn_check_process(lua_State *L, int idx)
{
  return luaL_checkudata(L, idx, PROCESS_TYPE);
}

static struct csn_spawn *
check_process(lua_State *L)
{
  return csn_check_process(L, 1);
}

/* How the program ended, from the init that outlived it: a signal is no exit code of 128 and more. */
static void
hear_init(struct csn_spawn *s)
{
  struct csn_msg m;

  while (s->sock >= 0 && recv(s->sock, &m, sizeof(m), MSG_DONTWAIT) == (ssize_t)sizeof(m))
    if (m.kind == CSN_MSG_ENDED && s->end.code) {
      s->end.signal = WIFSIGNALED(m.err) ? WTERMSIG(m.err) : 0;
      s->end.core_dumped = WCOREDUMP(m.err);
    }
  csn_close(s->sock);
  s->sock = -1;
}

/* 1 once it has ended; 0: not yet, where it is not to block; -ECHILD: a host that ignores SIGCHLD, or waits
 * for any child in a handler, has taken the status, and the kernel keeps no copy. */
static int
reap(struct csn_spawn *s, bool block)
{
  int rc;

  if (s->reaped)
    return 1;
  if (s->agent)
    return csn_agent_reap(s->agent, s, block);
  if (s->pidfd < 0)
    return -ECHILD;
  do {
    bool others = block && csn_joined_sweep();

    if (others || (block && s->listed)) /* it may end only when they are reaped */
      csn_poll_for(&(struct pollfd){ .fd = s->pidfd, .events = POLLIN }, 1, -1, true);
    rc = s->listed ? csn_joined_reap(s) : csn_reap_pidfd(s->pidfd, &s->end, block && !others);
  } while (rc == 0 && block);
  if (rc == 1) {
    s->reaped = true;
    hear_init(s);
  }
  return rc;
}

/* One that this object still holds. */
static struct csn_spawn *
check_held(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  if (!s->owner)
    luaL_error(L, "the process was released");
  return s;
}

/* What is readable once wait() has something to tell. */
static int
end_fd(const struct csn_spawn *s)
{
  return s->agent && !s->reaped ? csn_agent_fd(s->agent) : s->pidfd;
}

/* process:wait([timeout]) -> status | nil, "timeout" | nil, message, errno
 * timeout in seconds; none: for ever, 0: only look */
static int
l_wait(lua_State *L)
{
  struct csn_spawn *s = check_held(L);
  lua_Number timeout = luaL_optnumber(L, 2, -1);
  int rc = reap(s, timeout < 0);

  if (rc == 0 && timeout > 0) {
    struct pollfd pfd = { .fd = end_fd(s), .events = POLLIN };

    rc = csn_poll_for(&pfd, 1, timeout, true);
    rc = rc < 0 ? rc : reap(s, false);
  }
  if (rc == -ECHILD)
    return csn_pusherr(L, -rc, "wait for pid %d: this process ignores SIGCHLD or has reaped it",
                       (int)s->pid);
  if (rc < 0)
    return csn_pusherr(L, -rc, "wait for pid %d", (int)s->pid);
  if (rc == 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
  }
  csn_push_ending(L, &s->end);
  return 1;
}

/* process:kill([signal]) -> true | nil, message, errno */
static int
l_kill(lua_State *L)
{
  struct csn_spawn *s = check_held(L);
  int sig = lua_isnoneornil(L, 2)
                ? SIGKILL
                : (int)csn_to_words(L, 2, csn_signal_words, "signal", false, true);

  if (s->reaped || s->pidfd < 0)
    return csn_pusherr(L, ESRCH, "kill pid %d", (int)s->pid);
  if (syscall(SYS_pidfd_send_signal, s->pidfd, sig, NULL, 0) < 0)
    return csn_pusherr(L, errno, "kill pid %d", (int)s->pid);
  return csn_pushok(L);
}

/* As this process sees it: an agent tells the number that it has in the container's namespace. */
static pid_t
pid_of(struct csn_spawn *s)
{
  char text[512], *at;
  CSN_CLEANUP_FD int fd = -1;
  ssize_t n;

  if (!s->agent || s->pid_here)
    return s->pid;
  snprintf(text, sizeof(text), "/proc/self/fdinfo/%d", s->pidfd);
  fd = open(text, O_RDONLY | O_CLOEXEC);
  n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
  text[n > 0 ? n : 0] = 0;
  at = strstr(text, "\nPid:");
  s->pid = at ? (pid_t)strtol(at + 5, NULL, 10) : -1;
  s->pid_here = true;
  return s->pid;
}

static int
l_pid(lua_State *L)
{
  lua_pushinteger(L, pid_of(check_process(L)));
  return 1;
}

static int
l_pidfd(lua_State *L)
{
  lua_pushinteger(L, check_process(L)->pidfd);
  return 1;
}

/* process:end_fd() -> the descriptor to poll for reading: then wait(0) may have its end to tell */
static int
l_end_fd(lua_State *L)
{
  lua_pushinteger(L, end_fd(check_process(L)));
  return 1;
}

/* process:slot(name, [take]) -> fd object | nil: it is empty. A duplicate, or, to take, the run's own. */
static int
l_slot(lua_State *L)
{
  struct csn_spawn *s = check_process(L);
  const char *name = luaL_checkstring(L, 2);
  s64 k = csn_plan_slot(s->plan, name);
  int *fd;

  if (k < 0)
    return luaL_error(L, "the plan has no slot called '%s'", name);
  if (s->ctx.slots[k] < 0)
    return 0;
  fd = csn_newfd(L);
  if (lua_toboolean(L, 3)) {
    *fd = csn_steal_fd(&s->ctx.slots[k]);
    return 1;
  }
  *fd = csn_dup(s->ctx.slots[k], 3);
  return *fd < 0 ? csn_pusherr(L, -*fd, "slot %s", name) : 1;
}

/* process:made(slot) -> what the parent's step that fills the slot had to make, and undo() takes back: how many
 * groups, for one | nil: it was not done */
static int
l_made(lua_State *L)
{
  struct csn_spawn *s = check_process(L);
  s64 k = csn_plan_slot(s->plan, luaL_checkstring(L, 2));

  for (u32 i = 0; i < s->plan->nsteps; i++) {
    const struct csn_step *step = csn_plan_step(s->plan, i);
    const u64 *args = (const u64 *)((const u8 *)s->plan + step->args);
    const struct csn_field *f = csn_step_prim(step)->fields;

    for (u32 n = 0; s->done[i] && f[n].name; n++)
      if (f[n].kind == CSN_K_slot && (f[n].flags & CSN_OUT) && (s64)args[n + 1] == k) {
        lua_pushinteger(L, s->done[i] - 1);
        return 1;
      }
  }
  return 0;
}

/* process:times() -> start, exec: CLOCK_MONOTONIC in nanoseconds */
static int
l_times(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  lua_pushnumber(L, (lua_Number)s->start_ns);
  lua_pushnumber(L, (lua_Number)s->exec_ns);
  return 2;
}

/* Of one process's clock, whose id is made as clock_getcpuclockid(3) does it. */
static lua_Number
cpu_of(pid_t pid)
{
  struct timespec ts;

  if (clock_gettime((clockid_t)((~(unsigned)pid << 3) | 2), &ts) < 0)
    return 0;
  return (lua_Number)ts.tv_sec * 1e9 + (lua_Number)ts.tv_nsec;
}

/* process:cpu_ns() -> CPU time of the program so far, without that of its children | nil: it has ended */
static int
l_cpu_ns(lua_State *L)
{
  struct csn_spawn *s = check_process(L);
  lua_Number sum;

  if (s->reaped)
    return 0;
  /* Reaped by its agent, it has no number any more; what a clock's id is made of then is this process's own. */
  if (pid_of(s) <= 0)
    return 0;
  sum = cpu_of(s->pid);
  if (s->init) { /* the program and what it has orphaned are init's children */
    char text[4096], *p = text, *end;
    int fd;
    ssize_t n;

    snprintf(text, sizeof(text), "/proc/%d/task/%d/children", (int)s->pid, (int)s->pid);
    fd = open(text, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    csn_close(fd);
    text[n > 0 ? n : 0] = 0;
    for (long pid; (pid = strtol(p, &end, 10)) > 0; p = end)
      sum += cpu_of((pid_t)pid);
  }
  lua_pushnumber(L, sum);
  return 1;
}

/* process:skipped() -> { [step number] = errno } of the optional steps that were left out */
static int
l_skipped(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  lua_newtable(L);
  for (u32 i = 0; i < s->plan->nsteps; i++)
    if (s->skipped[i]) {
      lua_pushinteger(L, s->skipped[i]);
      lua_rawseti(L, -2, (int)i + 1);
    }
  return 1;
}

/* process:detach() -> true: close() and the collector let it go instead of ending it, while it runs */
static int
l_detach(lua_State *L)
{
  check_held(L)->detached = true;
  return csn_pushok(L);
}

/* process:close(): kill it if it still runs, reap it, take back what the parent's steps made */
static int
l_close(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  if (s->owner != getpid())
    return 0;
  if (s->detached && !s->reaped && reap(s, false) == 0) {
    csn_joined_leave(s);
    s->owner = 0;
    csn_release_process(s);
    return csn_pushok(L);
  }
  if (!s->reaped && s->agent) {
    csn_agent_kill(s->agent);
    reap(s, true);
  } else if (!s->reaped && s->pidfd >= 0) {
    csn_kill_child(s);
    reap(s, true);
  }
  csn_undo(s);
  csn_release_process(s);
  return csn_pushok(L);
}

/* process:keep() -> true | nil, message, errno: one that waits for its start outlives its host from now on */
static int
l_keep(lua_State *L)
{
  struct csn_spawn *s = check_held(L);
  char c = 0;
  long rc;

  if (!s->waiting)
    return luaL_error(L, "keep: the plan has no wait step");
  if (s->kept)
    return csn_pushok(L);
  rc = CSN_RETRY(send(s->sock, &c, 1, MSG_NOSIGNAL) < 0 ? -errno : 1);
  if (rc == 1) /* it answers when it has let go of its death signal */
    rc = CSN_RETRY(recv(s->sock, &c, 1, 0) < 0 ? -errno : 1);
  if (rc == 1 &&
      csn_poll_for(&(struct pollfd){ .fd = s->pidfd, .events = POLLIN }, 1, 0, true) == 0)
    s->kept = true;
  if (rc == -EPIPE || rc == -ECONNRESET) /* it has ended */
    rc = -ESRCH;
  return s->kept ? csn_pushok(L)
                 : csn_pusherr(L, rc < 0 ? (int)-rc : ESRCH, "keep: process %d", (int)s->pid);
}

/* process:release(): it is no more this object's. It goes on, and what the parent's steps made stays. */
static int
l_release(lua_State *L)
{
  struct csn_spawn *s = check_held(L);

  if (s->waiting && !s->kept)
    return luaL_error(L, "release: it is to be kept first, or it ends");
  s->owner = 0;
  csn_release_process(s);
  return csn_pushok(L);
}

/* Of a copy in a fork only the descriptors are let go. */
static int
l_gc(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  if (s->owner == getpid())
    return l_close(L);
  csn_release_process(s);
  return 0;
}

static int
l_tostring(lua_State *L)
{
  struct csn_spawn *s = check_process(L);

  lua_pushfstring(L, "process %d%s", (int)s->pid, s->reaped ? " (ended)" : "");
  return 1;
}

/* core.poll({ { fd =, events = "r"|"w"|"rw" }, ... }, [timeout]) -> { [i] = "r"/"w"/"rw"/"hup" } | nil, message, errno
 * An empty table: the time is over, or a signal came. timeout in seconds. */
static int
l_poll(lua_State *L)
{
  static const char *const keys[] = { "fd", "events", NULL };
  lua_Number timeout = luaL_optnumber(L, 2, -1);
  struct pollfd *fds;
  int n, rc;

  luaL_checktype(L, 1, LUA_TTABLE);
  n = (int)lua_rawlen(L, 1);
  fds = lua_newuserdata(L, sizeof(*fds) * (size_t)(n ? n : 1));
  for (int i = 0; i < n; i++) {
    const char *ev;

    lua_rawgeti(L, 1, i + 1);
    csn_checkkeys(L, -1, keys);
    fds[i].fd = csn_opt_fd(L, -1, "fd");
    ev = csn_opt_str(L, -1, "events", "r");
    fds[i].events = (short)((strchr(ev, 'r') ? POLLIN : 0) | (strchr(ev, 'w') ? POLLOUT : 0));
    fds[i].revents = 0;
    lua_pop(L, 1);
  }
  rc = csn_poll_for(fds, (nfds_t)n, timeout, false);
  if (rc < 0 && rc != -EINTR)
    return csn_pusherr(L, -rc, "poll");
  lua_newtable(L);
  for (int i = 0; rc > 0 && i < n; i++)
    if (fds[i].revents) {
      lua_pushfstring(L, "%s%s", fds[i].revents & (POLLIN | POLLHUP | POLLERR) ? "r" : "",
                      fds[i].revents & POLLOUT ? "w" : "");
      lua_rawseti(L, -2, i + 1);
    }
  return 1;
}

static void
open_process(lua_State *L)
{
  static const luaL_Reg methods[] = { { "wait", l_wait },
                                      { "kill", l_kill },
                                      { "pid", l_pid },
                                      { "pidfd", l_pidfd },
                                      { "end_fd", l_end_fd },
                                      { "slot", l_slot },
                                      { "times", l_times },
                                      { "cpu_ns", l_cpu_ns },
                                      { "close", l_close },
                                      { "keep", l_keep },
                                      { "release", l_release },
                                      { "skipped", l_skipped },
                                      { "made", l_made },
                                      { "__gc", l_gc },
                                      { "__tostring", l_tostring },
                                      { "detach", l_detach },
                                      { NULL, NULL } };

  if (luaL_newmetatable(L, PROCESS_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  lua_pushcfunction(L, l_poll);
  lua_setfield(L, -2, "poll");
}

CSN_OPEN(open_process)
