/* SPDX-License-Identifier: MIT
 *
 * The host's side of an agent (agent.h): questions and answers over its socket, and its runs as process objects.
 * All that comes is bounds-checked: the other side lives in a container.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AGENT_TYPE "caisson.agent"
#define PATIENCE 10.0 /* seconds, for what takes no time */

struct csn_agent {
  int sock; /* -1: closed, or the agent is gone or out of step */
  pid_t owner;
  struct csn_spawn *job; /* the run that has not ended yet */
};

static struct csn_agent *
check_agent(lua_State *L)
{
  return luaL_checkudata(L, 1, AGENT_TYPE);
}

int
csn_agent_fd(const struct csn_agent *a)
{
  return a->sock;
}

/* ---- messages ---- */

/* Whatever comes: each kind has its size. */
union incoming {
  struct csn_msg msg;
  struct csn_answer answer;
  u8 skipped[256];
};

/* The run is over, with its agent or by its word. */
static void
end_job(struct csn_agent *a, const struct csn_answer *over)
{
  struct csn_spawn *s = a->job;

  a->job = NULL;
  if (!s)
    return;
  s->reaped = true;
  if (!over) {
    s->end.signal = SIGKILL; /* as all in a pid namespace are, when its process 1 ends */
    return;
  }
  s->end.code = WIFEXITED((int)over->numbers[CSN_OVER_STATUS])
                    ? WEXITSTATUS((int)over->numbers[CSN_OVER_STATUS])
                    : 0;
  s->end.signal = WIFSIGNALED((int)over->numbers[CSN_OVER_STATUS])
                      ? WTERMSIG((int)over->numbers[CSN_OVER_STATUS])
                      : 0;
  s->end.core_dumped = WCOREDUMP((int)over->numbers[CSN_OVER_STATUS]);
  s->end.user_us = over->numbers[CSN_OVER_USER_US];
  s->end.system_us = over->numbers[CSN_OVER_SYSTEM_US];
  s->end.maxrss_kb = over->numbers[CSN_OVER_MAXRSS_KB];
}

static void
lose(struct csn_agent *a)
{
  csn_close(a->sock);
  a->sock = -1;
  end_job(a, NULL);
}

/* One message: its size; 0: the agent has ended; -EAGAIN: none, where it is not to block. *fd: what came with
 * it, or -1. */
static int
receive(struct csn_agent *a, union incoming *in, int *fd, bool block)
{
  *fd = -1;
  return a->sock < 0 ? 0 : csn_recv(a->sock, in, sizeof(*in), fd, block ? 0 : MSG_DONTWAIT);
}

/* Is it the word of a run's end? Then it is noted. */
static bool
is_over(struct csn_agent *a, const union incoming *in, int n)
{
  if (n != sizeof(in->answer) || in->answer.kind != CSN_MSG_OVER)
    return false;
  end_job(a, &in->answer);
  return true;
}

/* 1 once the run has ended; 0: not yet. */
int
csn_agent_reap(struct csn_agent *a, struct csn_spawn *s, bool block)
{
  union incoming in;
  int n, fd;

  while (!s->reaped) {
    n = receive(a, &in, &fd, block);
    if (n == -EAGAIN)
      return 0;
    csn_close(fd);
    if (n <= 0 || !is_over(a, &in, n))
      lose(a);
  }
  return 1;
}

/* The question with what comes behind it, and descriptors; 0 or -errno. */
static int
ask(struct csn_agent *a, struct csn_ask *q, const void *bytes, const int *fds)
{
  CSN_CLEANUP_FD int memfd = -1;
  int all[CSN_SLOTS + 1];
  u32 n = q->nfds;
  int rc;

  if (a->sock < 0)
    return -ECONNRESET;
  if (n)
    memcpy(all, fds, n * sizeof(int));
  if (q->size > CSN_CHUNK) {
    memfd = memfd_create("caisson-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0 || write(memfd, bytes, q->size) != (ssize_t)q->size)
      return -errno;
    q->in_memfd = 1;
    all[n++] = memfd;
  }
  rc = csn_send_fds(a->sock, q, sizeof(*q), bytes, memfd >= 0 ? 0 : q->size, all, n, 0);
  return rc == -EPIPE ? -ECONNRESET : rc;
}

/* An answer, within the time: 0 or -errno of ours; the agent's own word is in in->answer.err. An agent that does
 * not answer is out of step for good. */
static int
await_answer(struct csn_agent *a, union incoming *in, int *fd, lua_Number seconds)
{
  struct pollfd ready = { .fd = a->sock, .events = POLLIN };
  int n;

  for (;;) {
    n = csn_poll_for(&ready, 1, seconds, true);
    if (n == 0)
      n = -ETIMEDOUT;
    else if (n > 0)
      n = receive(a, in, fd, true);
    if (n > 0 && is_over(a, in, n)) {
      csn_close(*fd);
      continue;
    }
    if (n == sizeof(in->answer) && in->answer.kind == CSN_MSG_ANSWER)
      return 0;
    if (n > 0)
      csn_close(*fd);
    lose(a);
    return n > 0 ? -EBADMSG : n == 0 ? -ECONNRESET : n;
  }
}

/* Push nil, message, errno of what was asked. */
static int
push_refusal(lua_State *L, int rc, const union incoming *in, const char *what, const char *object)
{
  char detail[CSN_DETAIL + 4] = "";
  u32 n = 0;

  if (rc == 0) {
    rc = -in->answer.err;
    n = in->answer.detail_len < CSN_DETAIL - 1 ? in->answer.detail_len : CSN_DETAIL - 1;
    if (n)
      memcpy(detail, ": ", 2);
    memcpy(detail + (n ? 2 : 0), in->answer.detail, n);
  }
  if (rc == -ECONNRESET)
    memcpy(detail, ": the container has ended", 26);
  return csn_pusherr(L, rc >= 0 || rc < -4095 ? EBADMSG : -rc, "%s%s%s%s", what, *object ? " " : "",
                     object, detail);
}

/* ---- questions ---- */

/* agent:ping([timeout]) -> true | nil, message, errno */
static int
l_ping(lua_State *L)
{
  struct csn_agent *a = check_agent(L);
  lua_Number timeout = luaL_optnumber(L, 2, PATIENCE);
  struct csn_ask q = { .kind = CSN_ASK_PING };
  union incoming in = { 0 };
  int fd = -1, rc = ask(a, &q, NULL, NULL);

  if (rc == 0)
    rc = await_answer(a, &in, &fd, timeout);
  csn_close(fd);
  return rc < 0 || in.answer.err ? push_refusal(L, rc, &in, "ping", "") : csn_pushok(L);
}

static void
take_ids(lua_State *L, struct csn_ask *q)
{
  lua_Number uid = csn_opt_num(L, 2, "uid", CSN_NO_ID), gid = csn_opt_num(L, 2, "gid", CSN_NO_ID);

  if (!(uid >= 0 && uid <= CSN_NO_ID && gid >= 0 && gid <= CSN_NO_ID))
    luaL_error(L, "option 'uid': an id expected");
  q->uid = (u32)uid;
  q->gid = (u32)gid;
  q->ids = csn_opt_bool(L, 2, "groups", false) ? CSN_ASK_GROUPS : 0;
}

static const struct csn_word open_words[] = {
  { "read", O_RDONLY },       { "write", O_WRONLY },
  { "readwrite", O_RDWR },    { "create", O_CREAT },
  { "truncate", O_TRUNC },    { "append", O_APPEND },
  { "exclusive", O_EXCL },    { "directory", O_DIRECTORY },
  { "nofollow", O_NOFOLLOW }, { NULL, 0 }
};

/* agent:open { path =, flags =, mode =, uid =, gid =, groups =, timeout = } -> fd | nil, message, errno */
static int
l_open(lua_State *L)
{
  static const char *const keys[] = { "path", "flags",  "mode",    "uid",
                                      "gid",  "groups", "timeout", NULL };
  struct csn_agent *a = check_agent(L);
  struct csn_ask q = { .kind = CSN_ASK_OPEN };
  union incoming in = { 0 };
  lua_Number timeout;
  const char *path;
  int *object, fd = -1, rc;
  size_t len;

  csn_checkkeys(L, 2, keys);
  if (!csn_field(L, 2, "path"))
    return luaL_error(L, "option 'path' is missing");
  path = luaL_checklstring(L, -1, &len); /* stays in the table */
  if (!len || len != strlen(path) || len >= 4096)
    return luaL_error(L, "option 'path': a path without NUL expected");
  if (csn_field(L, 2, "flags"))
    q.flags = (u32)csn_to_words(L, -1, open_words, "flags", true, false);
  q.mode = (u32)csn_opt_num(L, 2, "mode", 0644);
  timeout = csn_opt_num(L, 2, "timeout", PATIENCE);
  take_ids(L, &q);
  q.size = (u32)len + 1;
  object = csn_newfd(L);
  rc = ask(a, &q, path, NULL);
  if (rc == 0)
    rc = await_answer(a, &in, &fd, timeout);
  *object = fd;
  if (rc == 0 && !in.answer.err && fd < 0)
    rc = -EMFILE; /* it was sent, and found no number here */
  if (rc < 0 || in.answer.err)
    return push_refusal(L, rc, &in, "open", path);
  return 1;
}

/* A path in [2], a time in [3]; 0, or what push_refusal() has pushed. */
static int
by_path(lua_State *L, enum csn_ask_kind kind, const char *what, lua_Number timeout,
        union incoming *in)
{
  struct csn_agent *a = check_agent(L);
  struct csn_ask q = { .kind = kind };
  size_t len;
  const char *path = luaL_checklstring(L, 2, &len);
  int fd = -1, rc;

  luaL_argcheck(L, len && len == strlen(path) && len < 4096, 2, "a path without NUL expected");
  q.size = (u32)len + 1;
  timeout = luaL_optnumber(L, 3, timeout);
  rc = ask(a, &q, path, NULL);
  if (rc == 0)
    rc = await_answer(a, in, &fd, timeout);
  csn_close(fd);
  return rc < 0 || in->answer.err ? push_refusal(L, rc, in, what, path) : 0;
}

/* agent:delete(path, [timeout]) -> how many files it was | nil, message, errno */
static int
l_delete(lua_State *L)
{
  union incoming in = { 0 };
  int pushed = by_path(L, CSN_ASK_DELETE, "delete", 60, &in);

  if (pushed)
    return pushed;
  lua_pushnumber(L, (lua_Number)in.answer.numbers[CSN_RESET_FILES]);
  return 1;
}

/* agent:own(mount point, [timeout]) -> major, minor of its device | nil, message, errno */
static int
l_own(lua_State *L)
{
  union incoming in = { 0 };
  int pushed = by_path(L, CSN_ASK_OWN, "watch", PATIENCE, &in);

  if (pushed)
    return pushed;
  lua_pushnumber(L, (lua_Number)(u32)in.answer.numbers[0]);
  lua_pushnumber(L, (lua_Number)(u32)in.answer.numbers[1]);
  return 2;
}

/* agent:reset { uid =, gid =, groups =, keys =, timeout = } -> { processes =, files =, ipc =, keys = } | nil, message, errno */
static int
l_reset(lua_State *L)
{
  static const char *const keys[] = { "uid", "gid", "groups", "keys", "timeout", NULL };
  static const char *const names[] = { "processes", "files", "ipc", "keys" };
  struct csn_agent *a = check_agent(L);
  struct csn_ask q = { .kind = CSN_ASK_RESET };
  union incoming in = { 0 };
  lua_Number timeout;
  int fd = -1, rc;

  csn_checkkeys(L, 2, keys);
  take_ids(L, &q);
  if (!csn_opt_bool(L, 2, "keys", true))
    q.ids |= CSN_ASK_NO_KEYS;
  timeout = csn_opt_num(L, 2, "timeout", 60);
  rc = ask(a, &q, NULL, NULL);
  if (rc == 0)
    rc = await_answer(a, &in, &fd, timeout);
  csn_close(fd);
  if (rc < 0 || in.answer.err)
    return push_refusal(L, rc, &in, "reset", "");
  lua_newtable(L);
  for (int i = 0; i < 4; i++) {
    lua_pushnumber(L, (lua_Number)in.answer.numbers[i]);
    lua_setfield(L, -2, names[i]);
  }
  return 1;
}

/* ---- runs ---- */

int
csn_agent_kill(struct csn_agent *a)
{
  struct csn_ask q = { .kind = CSN_ASK_KILL };

  return ask(a, &q, NULL, NULL);
}

static void
fail(struct csn_spawn *s, u32 step, int err, const char *detail)
{
  s->failed = true;
  s->fail_step = step < s->plan->nsteps ? step : s->plan->nsteps;
  s->fail_errno = err;
  if (detail)
    csn_detail(&s->ctx, 0, detail, NULL);
}

/* The answer to a run; descriptors that a step sends come before it. */
static void
attend(struct csn_agent *a, struct csn_spawn *s)
{
  union incoming in;
  int n, fd;

  for (;;) {
    n = receive(a, &in, &fd, true);
    if (n == sizeof(in.answer) &&
        in.answer.kind == CSN_MSG_OVER) { /* it has been executed, and more */
      s->exec_ns = in.answer.numbers[CSN_OVER_EXEC_NS];
      end_job(a, &in.answer);
      return;
    }
    if (n != sizeof(in.msg))
      break;
    if (in.msg.kind == CSN_MSG_SLOT && fd >= 0 && in.msg.step < s->plan->nsteps) {
      const struct csn_step *st = csn_plan_step(s->plan, in.msg.step);

      if (csn_step_prim(st)->action != CSN_ACT_SEND)
        break;
      csn_fill(&s->ctx, ((const struct engine_send_args *)((const u8 *)s->plan + st->args))->fd,
               fd);
      continue;
    }
    if (in.msg.kind != CSN_MSG_DONE && in.msg.kind != CSN_MSG_FAILED)
      break;
    s->pidfd = fd;
    s->exec_ns = in.msg.exec_ns;
    s->pid = in.msg.pid;
    if (in.msg.kind == CSN_MSG_FAILED) {
      u32 len = in.msg.detail_len < CSN_DETAIL - 1 ? in.msg.detail_len : CSN_DETAIL - 1;

      memcpy(s->ctx.detail, in.msg.detail, len);
      s->ctx.detail[len] = 0;
      s->ctx.detail_len = len;
      fail(s, in.msg.step, in.msg.err, NULL);
    }
    if (in.msg.nskipped)
      for (u32 i = 0; i < s->plan->nsteps; i += 256) {
        if (receive(a, &in, &fd, true) !=
            (int)(s->plan->nsteps - i < 256 ? s->plan->nsteps - i : 256))
          goto lost;
        for (u32 k = 0; k < 256 && i + k < s->plan->nsteps; k++)
          s->skipped[i + k] = in.skipped[k];
      }
    return;
  }
lost:
  csn_close(fd);
  fail(s, s->plan->nsteps, ECONNRESET, "the container has ended");
  lose(a);
}

/* agent:run { plan =, slots =, fail = { step =, errno = }, patience = } -> process | nil, message, errno, failure */
static int
l_run(lua_State *L)
{
  static const char *const keys[] = { "plan", "slots", "fail", "patience", NULL };
  struct csn_agent *a = check_agent(L);
  struct csn_ask q = { .kind = CSN_ASK_RUN, .uid = CSN_NO_ID, .gid = CSN_NO_ID };
  const struct csn_plan *p;
  struct csn_spawn *s;
  struct timespec ts;
  int fds[CSN_SLOTS], rc;

  lua_settop(L, 2);
  csn_checkkeys(L, 2, keys);
  lua_insert(L, 1); /* 1: the options, 2: the plan, 3: the agent */
  lua_getfield(L, 1, "plan");
  lua_insert(L, 2);
  p = csn_check_plan(L, 2);
  if (p->exec >= p->nsteps)
    return luaL_error(L, "the plan has no exec step");
  s = csn_newprocess(L, p);
  csn_getuservalue(L, -1);
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "agent");
  lua_pop(L, 1);
  s->reaped = true; /* nothing to be reaped yet */
  if (csn_field(L, 1, "slots")) {
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      s64 k;

      if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "slots are named by strings");
      k = csn_plan_slot(p, lua_tostring(L, -2));
      if (k < 0)
        return luaL_error(L, "the plan has no slot called '%s'", lua_tostring(L, -2));
      q.slot_of[q.nfds] = (u8)k;
      fds[q.nfds++] = csn_tofd(L, -1);
    }
    lua_pop(L, 1);
  }
  if (csn_field(L, 1, "fail")) {
    static const char *const fail_keys[] = { "step", "errno", NULL };

    csn_checkkeys(L, -1, fail_keys);
    q.fail_step = (u32)csn_opt_num(L, -1, "step", 1) - 1;
    q.fail_errno = (s32)csn_opt_num(L, -1, "errno", 0);
    lua_pop(L, 1);
  }
  q.patience_us = (u32)(csn_opt_num(L, 1, "patience", 0) * 1e6);
  if (a->job)
    return csn_pusherr(L, EBUSY, "run: the container's program still runs");
  q.size = p->size;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  s->start_ns = (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
  rc = ask(a, &q, p, fds);
  if (rc < 0) {
    fail(s, p->nsteps, -rc, rc == -ECONNRESET ? "the container has ended" : "asking the agent");
    return csn_push_failure(L, s);
  }
  s->agent = a;
  a->job = s;
  s->reaped = false;
  attend(a, s);
  if (s->failed) {
    csn_agent_reap(a, s, s->pid > 0); /* whose child it was: its end is still told */
    s->reaped = true;
    if (a->job == s)
      a->job = NULL;
    if (!s->fail_errno)
      s->died_by = s->end.signal;
    return csn_push_failure(L, s);
  }
  return 1;
}

/* ---- its life ---- */

/* core.agent.open(process) -> agent: of a process whose exec step says agent = true */
static int
l_new(lua_State *L)
{
  struct csn_spawn *s = csn_check_process(L, 1);
  struct csn_agent *a;

  if (s->sock < 0 || !csn_exec_args(s->plan)->agent)
    return luaL_error(L, "the process is no agent, or another object has it");
  a = lua_newuserdata(L, sizeof(*a));
  a->sock = s->sock;
  a->owner = getpid();
  a->job = NULL;
  s->sock = -1;
  luaL_getmetatable(L, AGENT_TYPE);
  lua_setmetatable(L, -2);
  return 1;
}

/* Where it is at its end its agent leaves, and the container with it. */
static int
l_close(lua_State *L)
{
  struct csn_agent *a = check_agent(L);

  if (a->owner != getpid()) {
    csn_close(a->sock);
    a->sock = -1;
  } else {
    lose(a);
  }
  return csn_pushok(L);
}

/* agent:alive() -> is it there, as far as was heard? */
static int
l_alive(lua_State *L)
{
  lua_pushboolean(L, check_agent(L)->sock >= 0);
  return 1;
}

static void
open_agent(lua_State *L)
{
  static const luaL_Reg methods[] = { { "ping", l_ping },     { "open", l_open },
                                      { "delete", l_delete }, { "own", l_own },
                                      { "reset", l_reset },   { "run", l_run },
                                      { "alive", l_alive },   { "close", l_close },
                                      { "__gc", l_close },    { NULL, NULL } };
  static const luaL_Reg functions[] = { { "open", l_new }, { NULL, NULL } };

  if (luaL_newmetatable(L, AGENT_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  csn_register(L, "agent", functions);
}

CSN_OPEN(open_agent)
