/* SPDX-License-Identifier: MIT
 *
 * A tracer's loop that sees what fails and lets all else go on: for a helper that has seized the first process
 * of a container whose filters ask the tracer where they would have denied, and about a set of calls.
 *
 * A call that is let be is looked at where it ends, at the price of a second stop; most by a stub in the program itself,
 * at no price (stub.c).
 *
 * What the program sees is what it would see without: the tracer answers as the filters that it was given would
 * have, and who asks the tracer by a filter of the program's own gets what there would be without one (ENOSYS).
 */
#define _GNU_SOURCE
#include "spawn.h"
#include "evaluate.h"
#include "ptrace.h"
#include "sharing.h"
#include "stub.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILTERS 16
#define ERRNOS 4096
#define SPINS 30
#define CALLS 1024 /* at once; of one that has no room the end is not seen */
#define NUMBERS 512

struct call {
  pid_t tid; /* 0: none */
  bool denied;
  u32 answer; /* of the filters, where they deny */
  struct seccomp_data data;
};

struct watcher {
  bool soon; /* a call has been let go, whose end is looked at */
  u32 tag;   /* what our own filters give as data */
  size_t filters, sizes[FILTERS];
  bool whole; /* the program runs: all of them are loaded */
  long
      others; /* filters that are there before the first of them: of whoever made us, and the one that picks calls */
  const struct sock_filter *programs[FILTERS]; /* held by the userdata's environment */
  u8 errnos[ERRNOS / 8], signals[8];
  struct csn_stubs stubs;
  u8 led[NUMBERS / 8];    /* calls that may be made in a stub */
  u8 looked[NUMBERS / 8]; /* those of them that the programs have been asked about */
  struct csn_sharing sharing;
  struct call calls[CALLS];
};

static const char *const kind = "caisson.watcher";

static void
set_bit(u8 *set, u32 i)
{
  set[i / 8] |= (u8)(1u << i % 8);
}

static bool
get_bit(const u8 *set, u32 i)
{
  return set[i / 8] >> i % 8 & 1;
}

/* ---- the calls that are being made ---- */

static struct call *
find_call(struct watcher *w, pid_t tid)
{
  for (u32 i = 0; i < CALLS; i++) {
    struct call *c = &w->calls[((u32)tid + i) % CALLS];

    if (c->tid == tid)
      return c;
    if (!c->tid)
      break;
  }
  return NULL;
}

static struct call *
new_call(struct watcher *w, pid_t tid)
{
  struct call *c = find_call(w, tid);

  for (u32 i = 0; !c && i < CALLS; i++)
    if (!w->calls[((u32)tid + i) % CALLS].tid)
      c = &w->calls[((u32)tid + i) % CALLS];
  if (c)
    c->tid = tid;
  return c;
}

/* Those behind move up, so that none is looked for in vain. */
static void
drop_call(struct watcher *w, struct call *c)
{
  u32 hole;

  if (!c)
    return;
  hole = (u32)(c - w->calls);
  c->tid = 0; /* at once: in a full table it is the only end */
  for (u32 i = (hole + 1) % CALLS; w->calls[i].tid; i = (i + 1) % CALLS) {
    const u32 home = (u32)w->calls[i].tid % CALLS;

    if ((i - home + CALLS) % CALLS >= (i - hole + CALLS) % CALLS) {
      w->calls[hole] = w->calls[i];
      w->calls[i].tid = 0;
      hole = i;
    }
  }
}

/* ---- stops ---- */

static long
go(pid_t tid, long how, u64 signal)
{
  return csn_sys(__NR_ptrace, how, tid, 0, signal);
}

/* What is denied is not made, whatever happens: a thread whose registers are not known here is killed. */
static void
deny(pid_t tid, u32 number)
{
  if (csn_skip_call(tid, -(s64)number) < 0)
    csn_sys(__NR_kill, tid, SIGKILL); /* it stands there still, or is gone: no other can be meant */
}

/* A filter of the program's own with a listener would be asked before the tracer, and might let be what the policy denies:
 * it gets what it would where the container has a listener already. By any of the machine's ways to call. */
static bool
wants_listener(const struct seccomp_data *d)
{
  const u32 nr = (u32)d->nr & ~0x40000000u; /* x32's */

  return (nr == __NR_seccomp || nr == 354 || nr == 383) && /* i386's, arm's */
         d->args[0] == SECCOMP_SET_MODE_FILTER && (d->args[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

/* How many filters a thread has; -1 where it can't be told. */
static long
filters_of(pid_t tid)
{
  static const char key[] = "\nSeccomp_filters:\t";
  char path[64], text[4096], *at;
  ssize_t n;
  int fd;

  snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
  if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
    return -1;
  n = read(fd, text, sizeof(text) - 1);
  close(fd);
  text[n < 0 ? 0 : n] = 0;
  at = strstr(text, key);
  return at ? strtol(at + sizeof(key) - 1, NULL, 10) : -1;
}

/* What the filters say. As long as the container is being made, by those that are loaded: what makes it is not theirs
 * to deny. */
static u32
evaluate(struct watcher *w, pid_t tid, const struct seccomp_data *d)
{
  long loaded = w->whole ? -1 : filters_of(tid);
  size_t n = w->filters;

  if (loaded >= 0)
    n = loaded > w->others ? (size_t)(loaded - w->others) : 0;
  return csn_evaluate_all(w->programs, w->sizes, n < w->filters ? n : w->filters, d);
}

/* What an allowed call's place is led round by: it, and all that follow, are told only where they fail. */
static bool
lead_round(struct watcher *w, pid_t tid, const struct seccomp_data *d)
{
  const u32 nr = (u32)d->nr;

  if (!w->stubs.on || !w->whole || nr >= NUMBERS || !get_bit(w->led, nr) ||
      !csn_is_native(d->arch, nr) || !csn_is_alone(&w->sharing, tid))
    return false;
  if (!get_bit(w->looked, nr)) {
    set_bit(w->looked, nr);
    for (size_t i = 0; i < w->filters; i++)
      if (!csn_evaluate_silent(w->programs[i], w->sizes[i], d->arch, nr))
        w->led[nr / 8] &= (u8) ~(1u << nr % 8);
    if (!get_bit(w->led, nr))
      return false;
  }
  return csn_stub_make(&w->stubs, tid, d);
}

/* A filter has asked. Returns what there is to tell. */
static const char *
on_filter(struct watcher *w, pid_t tid, struct call **told, s64 *result)
{
  struct __ptrace_syscall_info i;
  struct seccomp_data d;
  struct call *c;
  u32 answer;

  memset(&i, 0, sizeof(i));
  if (csn_sys(__NR_ptrace, PTRACE_GET_SYSCALL_INFO, tid, sizeof(i), &i) < 0)
    return NULL; /* killed meanwhile */
  d.nr = (int)i.seccomp.nr;
  d.arch = i.arch;
  d.instruction_pointer = i.instruction_pointer;
  memcpy(d.args, i.seccomp.args, sizeof(d.args));
  answer = evaluate(w, tid, &d);
  if (answer >= SECCOMP_RET_LOG && answer <= SECCOMP_RET_ALLOW && w->filters && w->whole &&
      wants_listener(&d))
    answer = SECCOMP_RET_ERRNO | EBUSY;
  c = new_call(w, tid);
  if (c) {
    c->data = d;
    c->answer = answer;
    c->denied = false;
  }
  switch (answer & SECCOMP_RET_ACTION_FULL) {
  case SECCOMP_RET_ALLOW:
  case SECCOMP_RET_LOG:
    if (i.seccomp.ret_data != w->tag) { /* of a filter of the program's own: it has no tracer */
      deny(tid, ENOSYS);
      csn_stub_leave(&w->stubs, tid, &d);
      drop_call(w, c);
      go(tid, PTRACE_CONT, 0);
    } else if ((*result = csn_stub_reports(&w->stubs, tid, &d)) != 0) {
      deny(tid, (u32) - *result);
      *told = c;
      if (c) {
        c->data.args[5] = 0; /* what it was is on its stack, and of no use */
        return "failed";
      }
      go(tid, PTRACE_CONT, 0);
    } else if (lead_round(w, tid, &d)) {
      drop_call(w, c);
      go(tid, PTRACE_CONT, 0);
    } else {
      w->soon = c != NULL;
      go(tid, c ? PTRACE_SYSCALL : PTRACE_CONT, 0);
    }
    return NULL;
  case SECCOMP_RET_ERRNO:
    answer &= SECCOMP_RET_DATA;
    deny(tid, answer < ERRNOS ? answer : ERRNOS - 1);
    break;
  default:
    deny(tid, ENOSYS);
  }
  csn_stub_leave(&w->stubs, tid, &d);
  if (!c) {
    go(tid, PTRACE_CONT, 0);
    return NULL;
  }
  c->denied = true;
  *told = c;
  return "denied";
}

/* The end of a call that was let be. */
static bool
on_end(struct watcher *w, pid_t tid, struct call **told, s64 *result)
{
  struct call *c = find_call(w, tid);
  struct __ptrace_syscall_info i;

  memset(&i, 0, sizeof(i));
  if (c && csn_sys(__NR_ptrace, PTRACE_GET_SYSCALL_INFO, tid, sizeof(i), &i) > 0 &&
      i.op == PTRACE_SYSCALL_INFO_EXIT && i.exit.rval < 0 && i.exit.rval > -ERRNOS &&
      get_bit(w->errnos, (u32)-i.exit.rval)) {
    *told = c;
    *result = i.exit.rval;
    return true;
  }
  w->soon = false;
  drop_call(w, c);
  go(tid, PTRACE_CONT, 0);
  return false;
}

/* A filter of the program's own has trapped the call, and now what would tell of its end, too: that is no call of the
 * program's. */
static bool
is_trapped_report(struct watcher *w, pid_t tid)
{
  struct seccomp_data d;
  s64 result;

  if (!w->stubs.on || csn_read_call(tid, &d) < 0 ||
      (result = csn_stub_reports(&w->stubs, tid, &d)) == 0)
    return false;
  deny(tid, (u32)-result);
  go(tid, PTRACE_CONT, 0);
  return true;
}

/* What one that ends has come to, as waitid(2) will say it. */
static bool
is_sigsys(pid_t tid)
{
  unsigned long status = 0;

  return csn_sys(__NR_ptrace, PTRACE_GETEVENTMSG, tid, 0, &status) == 0 &&
         (status & 0x7f) == SIGSYS;
}

/* One stop. Returns what to tell, or NULL; *value is the signal, the other process, or the result. */
static const char *
on_stop(struct watcher *w, const siginfo_t *si, struct call **told, s64 *value)
{
  const int event = si->si_status >> 8, sig = si->si_status & 0xff;
  const pid_t tid = si->si_pid;
  unsigned long message = 0;

  if (si->si_code == CLD_EXITED || si->si_code == CLD_KILLED || si->si_code == CLD_DUMPED) {
    drop_call(w, find_call(w, tid));
    csn_sharing_end(&w->sharing, tid);
    *value = si->si_code == CLD_EXITED ? 0 : si->si_status;
    return *value == SIGKILL || *value == SIGSYS ? "killed" : "gone";
  }
  *value = sig;
  switch (event) {
  case PTRACE_EVENT_STOP:
    go(tid, sig == SIGTRAP ? PTRACE_CONT : PTRACE_LISTEN, 0);
    return NULL;
  case PTRACE_EVENT_SECCOMP:
    return on_filter(w, tid, told, value);
  case PTRACE_EVENT_EXEC:
    csn_sys(__NR_ptrace, PTRACE_GETEVENTMSG, tid, 0, &message);
    drop_call(w, find_call(w, (pid_t)message));
    csn_sharing_exec(&w->sharing, tid, (pid_t)message);
    *value = (s64)message;
    return "exec";
  case PTRACE_EVENT_EXIT:
    if (is_sigsys(tid))
      return "sigsys";
    go(tid, PTRACE_CONT, 0);
    return NULL;
  case PTRACE_EVENT_FORK:
  case PTRACE_EVENT_VFORK:
  case PTRACE_EVENT_CLONE:
    csn_sys(__NR_ptrace, PTRACE_GETEVENTMSG, tid, 0, &message);
    drop_call(w, find_call(w, tid));
    csn_sharing_child(&w->sharing, tid, (pid_t)message, event);
    *value = (s64)message;
    return "child";
  }
  if (event == 0 && sig == (SIGTRAP | 0x80))
    return on_end(w, tid, told, value) ? "failed" : NULL;
  if (event == 0 && sig == SIGSYS && is_trapped_report(w, tid))
    return NULL;
  if (event == 0 && get_bit(w->signals, (u32)sig % 64))
    return "signal";
  go(tid, PTRACE_CONT, event ? 0 : (u64)sig);
  return NULL;
}

/* ---- for Lua ---- */

/* { nr =, native =, args =, answer = } */
static void
push_call(lua_State *L, const struct seccomp_data *d, u32 answer)
{
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, d->nr);
  lua_setfield(L, -2, "nr");
  lua_pushboolean(L, csn_is_native(d->arch, (u64)(u32)d->nr));
  lua_setfield(L, -2, "native");
  csn_push_u64(L, d->arch);
  lua_setfield(L, -2, "arch");
  csn_push_u64(L, answer);
  lua_setfield(L, -2, "answer");
  lua_createtable(L, 6, 0);
  for (int k = 0; k < 6; k++) {
    csn_push_argument(L, d->args[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "args");
}

/* The end of a call that has just been let go comes soon: to sleep until then, and to be woken, takes longer than most
 * calls do. */
static long
wait_for(struct watcher *w, siginfo_t *si)
{
  const int flags = WEXITED | WSTOPPED | __WALL;

  for (int i = w->soon ? SPINS : 0; i > 0; i--) {
    long rc = csn_sys(__NR_waitid, P_ALL, 0, si, flags | WNOHANG, NULL);

    if (rc < 0 || si->si_pid)
      return rc;
  }
  w->soon = false;
  return CSN_RETRY(csn_sys(__NR_waitid, P_ALL, 0, si, flags, NULL));
}

/* watcher:next() -> tid, kind, value, call | nil, message, errno */
static int
l_next(lua_State *L)
{
  struct watcher *w = luaL_checkudata(L, 1, kind);

  for (;;) {
    siginfo_t si = { 0 };
    struct call *told = NULL;
    const char *what;
    s64 value = 0;
    long rc = wait_for(w, &si);

    if (rc < 0)
      return csn_pusherr(L, (int)-rc, "wait");
    what = on_stop(w, &si, &told, &value);
    if (!what)
      continue;
    lua_pushinteger(L, si.si_pid);
    lua_pushstring(L, what);
    lua_pushnumber(L, (lua_Number)value);
    if (!told)
      return 3;
    push_call(L, &told->data, told->answer);
    drop_call(w, told);
    return 4;
  }
}

/* watcher:call(tid) -> the call that it ends or gets a signal in, and what the filters say to it | nil, message, errno */
static int
l_call(lua_State *L)
{
  struct watcher *w = luaL_checkudata(L, 1, kind);
  struct seccomp_data d;
  long rc = csn_read_call((pid_t)luaL_checkinteger(L, 2), &d);

  if (rc < 0)
    return csn_pusherr(L, (int)-rc, "registers");
  push_call(L, &d, evaluate(w, (pid_t)luaL_checkinteger(L, 2), &d));
  return 1;
}

/* watcher:whole() -> true: the program runs, and all filters are loaded */
static int
l_whole(lua_State *L)
{
  struct watcher *w = luaL_checkudata(L, 1, kind);

  w->whole = true;
  return csn_pushok(L);
}

static void
read_programs(lua_State *L, struct watcher *w)
{
  if (!csn_field(L, 1, "programs"))
    return;
  luaL_checktype(L, -1, LUA_TTABLE);
  w->filters = lua_rawlen(L, -1);
  if (w->filters > FILTERS)
    luaL_error(L, "watch: more than %d programs", FILTERS);
  for (size_t i = 0; i < w->filters; i++) {
    size_t size;

    lua_rawgeti(L, -1, (int)i + 1);
    w->programs[i] = (const struct sock_filter *)(const void *)luaL_checklstring(L, -1, &size);
    w->sizes[i] = size / sizeof(struct sock_filter);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void
read_numbers(lua_State *L, const char *key, u8 *set, u32 most)
{
  if (!csn_field(L, 1, key))
    return;
  luaL_checktype(L, -1, LUA_TTABLE);
  for (int i = 1, n = (int)lua_rawlen(L, -1); i <= n; i++) {
    lua_Integer v;

    lua_rawgeti(L, -1, i);
    v = luaL_checkinteger(L, -1);
    if (v < 0 || v >= (lua_Integer)most)
      luaL_error(L, "watch: %s: a number below %d expected", key, (int)most);
    set_bit(set, (u32)v);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Only where each errno that is told has its place in them. */
static void
read_stubs(lua_State *L, struct watcher *w)
{
  if (!csn_field(L, 1, "key"))
    return;
  w->stubs.key = csn_to_u64(L, -1, "key", false);
  lua_pop(L, 1);
  read_numbers(L, "calls", w->led, NUMBERS);
  w->stubs.on = true;
  for (u32 i = 0; i < ERRNOS; i++)
    if (get_bit(w->errnos, i) && !csn_stub_errno(&w->stubs, i))
      w->stubs.on = false;
}

/* core.ptrace.stub_key() -> a number below 2^52 that nobody guesses | nil where calls are made in no stubs */
static int
l_stub_key(lua_State *L)
{
  struct csn_stubs none = { .on = false };
  u64 key;

  if (!csn_stub_errno(&none, 1) ||
      csn_sys(__NR_getrandom, &key, sizeof(key), 0) != (long)sizeof(key))
    return 0;
  lua_pushnumber(L, (lua_Number)(key >> 12));
  return 1;
}

/* core.ptrace.watch { programs =, tag =, errnos =, signals =, key =, calls = } -> watcher */
static int
l_watch(lua_State *L)
{
  static const char *const keys[] = {
    "programs", "tag", "errnos", "signals", "key", "calls", NULL
  };
  struct watcher *w;

  csn_checkkeys(L, 1, keys);
  if (!csn_in_helper())
    return luaL_error(L, "only a helper may wait for whatever it traces");
  w = lua_newuserdata(L, sizeof(*w));
  memset(w, 0, sizeof(*w));
  w->others = filters_of(getpid()) + 1;
  w->tag = (u32)csn_opt_num(L, 1, "tag", 0);
  read_programs(L, w);
  read_numbers(L, "errnos", w->errnos, ERRNOS);
  read_numbers(L, "signals", w->signals, 64);
  read_stubs(L, w);
  if (luaL_newmetatable(L, kind)) {
    static const luaL_Reg methods[] = {
      { "next", l_next }, { "call", l_call }, { "whole", l_whole }, { NULL, NULL }
    };

    lua_newtable(L);
    for (const luaL_Reg *m = methods; m->name; m++) {
      lua_pushcfunction(L, m->func);
      lua_setfield(L, -2, m->name);
    }
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  /* the helper lives as long as its watcher: the programs are kept for good */
  lua_pushvalue(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "caisson.watcher.programs");
  return 1;
}

static void
open_watch(lua_State *L)
{
  static const luaL_Reg functions[] = { { "watch", l_watch },
                                        { "stub_key", l_stub_key },
                                        { NULL, NULL } };

  csn_register(L, "ptrace", functions);
}

CSN_OPEN(open_watch)
