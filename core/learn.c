/* SPDX-License-Identifier: MIT
 *
 * Learning: a tracer that lets every call be made, and hands to Lua each that is new. What makes one new is told by
 * a rule for its number: nothing but the number itself, some of the arguments, the text of its paths with the directory
 * that it is asked from, or memory that an argument points to. What has been seen goes on at once.
 *
 * A call whose arguments say nothing is traced only until it is known to be hot: learn_site.c.
 */
#define _GNU_SOURCE
#include "learn.h"
#include "spawn.h"
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#define FOREIGN(nr) ((nr)&0x40000000) /* x32 */
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN(nr) 0
#endif

#define CALLS 1024
#define TEXT 4096
#define MEMORY 128
#define KIND "caisson.core.Learner"

/* What of a call makes it another one. Arguments are counted from 0. */
struct rule {
  u8 known, kept; /* kept: bits of the arguments that count */
  u8 hot;         /* it says nothing: may be let go at full speed */
  u8 always;      /* told each time */
  int8_t text[2], dir[2];
  int8_t memory,
      size_at; /* memory: the argument that points; size_at: the one that says how much */
  int8_t fd;
  u32 size;
  u64 mask[6];
};

struct learner {
  struct rule rules[CALLS];
  u8 seen[CALLS];
  u64 *keys; /* open addressing; 0: free */
  u32 nkeys, room;
  pid_t *tasks;
  u32 ntasks, tasks_room, most_tasks;
  pid_t held; /* stopped, and its turn is over with the next call */
  bool begun, unreadable;
  u64 stops, events;
  s64 most_fd;
  struct csn_sites sites;
  char text[2][TEXT];
  char dir[2][TEXT];
  u8 memory[MEMORY];
  s32 text_len[2], dir_len[2], memory_len; /* -1: none, or it can't be read */
};

/* ---- sets ---- */

static u64
mix(u64 h, const void *data, size_t n)
{
  const u8 *p = data;

  for (size_t i = 0; i < n; i++)
    h = (h ^ p[i]) * 0x100000001b3ull;
  h ^= h >> 29;
  return h * 0xbf58476d1ce4e5b9ull;
}

/* 1: it is new; 0: it is there; or -ENOMEM. */
static int
remember(struct learner *l, u64 key)
{
  u32 at;

  key += !key;
  if (l->nkeys * 2 >= l->room) {
    u32 room = l->room ? l->room * 2 : 1024;
    u64 *keys = calloc(room, sizeof(*keys));

    if (!keys)
      return -ENOMEM;
    for (u32 i = 0; i < l->room; i++) {
      if (!l->keys[i])
        continue;
      for (at = (u32)l->keys[i] & (room - 1); keys[at]; at = (at + 1) & (room - 1))
        ;
      keys[at] = l->keys[i];
    }
    free(l->keys);
    l->keys = keys;
    l->room = room;
  }
  for (at = (u32)key & (l->room - 1); l->keys[at]; at = (at + 1) & (l->room - 1))
    if (l->keys[at] == key)
      return 0;
  l->keys[at] = key;
  l->nkeys++;
  return 1;
}

static void
task_there(struct learner *l, pid_t tid)
{
  for (u32 i = 0; i < l->ntasks; i++)
    if (l->tasks[i] == tid)
      return;
  if (l->ntasks == l->tasks_room) {
    u32 room = l->tasks_room ? l->tasks_room * 2 : 64;
    pid_t *tasks = realloc(l->tasks, room * sizeof(*tasks));

    if (!tasks)
      return;
    l->tasks = tasks;
    l->tasks_room = room;
  }
  l->tasks[l->ntasks++] = tid;
  if (l->begun && l->ntasks > l->most_tasks)
    l->most_tasks = l->ntasks;
}

static void
task_gone(struct learner *l, pid_t tid)
{
  for (u32 i = 0; i < l->ntasks; i++)
    if (l->tasks[i] == tid) {
      l->tasks[i] = l->tasks[--l->ntasks];
      return;
    }
}

/* ---- one call ---- */

static long
trace(long what, pid_t tid, u64 addr, u64 data)
{
  return csn_sys(__NR_ptrace, what, tid, addr, data);
}

/* Up to size bytes, page by page, since one that can't be read ends it. With text it ends before a NUL. -1: none. */
static s32
read_some(pid_t tid, u64 from, void *to, size_t size, bool text, bool *unreadable)
{
  size_t n = 0;

  while (n < size) {
    size_t rest = 4096 - (from + n) % 4096;
    struct iovec ours = { (char *)to + n, rest < size - n ? rest : size - n };
    struct iovec theirs = { (void *)(uintptr_t)(from + n), ours.iov_len };
    long rc = csn_sys(__NR_process_vm_readv, tid, &ours, 1, &theirs, 1, 0);
    const char *end;

    if (rc == -EPERM)
      *unreadable = true;
    if (rc <= 0)
      return text || !n ? -1 : (s32)n;
    end = text ? memchr(ours.iov_base, 0, (size_t)rc) : NULL;
    if (end)
      return (s32)(end - (const char *)to);
    n += (size_t)rc;
  }
  return text ? -1 : (s32)n;
}

/* The directory that a path is asked from: of a descriptor, or the working directory. */
static s32
read_dir(pid_t tid, s64 fd, char *to)
{
  char path[64];
  size_t n = csn_append(path, sizeof(path), 0, "/proc/");
  long rc;

  n = csn_append_u64(path, sizeof(path), n, (u64)tid);
  if (fd == AT_FDCWD) {
    csn_append(path, sizeof(path), n, "/cwd");
  } else {
    n = csn_append(path, sizeof(path), n, "/fd/");
    csn_append_u64(path, sizeof(path), n, (u64)(u32)fd);
  }
  rc = csn_sys(__NR_readlinkat, AT_FDCWD, path, to, TEXT - 1);
  return rc < 0 ? -1 : (s32)rc;
}

/* A vfork's child may share memory with one that runs: then nobody's code is changed. */
static void
look_at_clone(struct learner *l, pid_t tid, const struct __ptrace_syscall_info *i)
{
  u64 flags = i->seccomp.args[0];

#ifdef __NR_clone3
  if (i->seccomp.nr == __NR_clone3 &&
      read_some(tid, i->seccomp.args[0], &flags, 8, false, &l->unreadable) != 8)
    return;
#endif
  if ((flags & CLONE_VM) && !(flags & (CLONE_VFORK | CLONE_THREAD)))
    l->sites.off = true;
}

/* 1: new; 0: not; or -errno. */
static int
look(struct learner *l, pid_t tid, const struct __ptrace_syscall_info *i)
{
  const u64 nr = i->seccomp.nr, *args = i->seccomp.args;
  const struct rule *r;
  u64 key = 0xcbf29ce484222325ull;

  for (int k = 0; k < 2; k++)
    l->text_len[k] = l->dir_len[k] = -1;
  l->memory_len = -1;
  if (i->arch != OUR_ARCH || nr >= CALLS || FOREIGN(nr)) {
    key = mix(mix(key, &nr, sizeof(nr)), &i->arch, sizeof(i->arch));
    return remember(l, key);
  }
  r = &l->rules[nr];
  if (nr == __NR_clone
#ifdef __NR_clone3
      || nr == __NR_clone3
#endif
  )
    look_at_clone(l, tid, i);
  if (r->fd >= 0 && (s32)args[r->fd] > l->most_fd && (s32)args[r->fd] < 1 << 20)
    l->most_fd = (s32)args[r->fd];
  if (r->always)
    return 1;
  if (!r->known || r->hot) {
    if (!l->seen[nr]) {
      l->seen[nr] = 1;
      return 1;
    }
    if (r->hot)
      csn_site_hit(&l->sites, tid, (u32)nr, i->instruction_pointer);
    return 0;
  }
  key = mix(key, &nr, sizeof(nr));
  for (int k = 0; k < 6; k++) {
    u64 v = args[k] & r->mask[k];

    if (r->kept & (1 << k))
      key = mix(key, &v, sizeof(v));
  }
  for (int k = 0; k < 2 && r->text[k] >= 0; k++) {
    u64 from = args[(int)r->text[k]];
    s64 fd = r->dir[k] >= 0 ? (s32)args[(int)r->dir[k]] : AT_FDCWD;

    l->text_len[k] = read_some(tid, from, l->text[k], TEXT, true, &l->unreadable);
    if (l->text_len[k] > 0)
      key = mix(key, l->text[k], (size_t)l->text_len[k]);
    key = mix(key, &l->text_len[k], sizeof(s32));
    if (l->text_len[k] > 0 && l->text[k][0] != '/') {
      l->dir_len[k] = read_dir(tid, fd, l->dir[k]);
      if (l->dir_len[k] > 0)
        key = mix(key, l->dir[k], (size_t)l->dir_len[k]);
    }
  }
  if (r->memory >= 0) {
    u64 size = r->size_at >= 0 ? (u32)args[(int)r->size_at] : r->size;

    l->memory_len = size ? read_some(tid, args[(int)r->memory], l->memory,
                                     size < MEMORY ? size : MEMORY, false, &l->unreadable)
                         : 0;
    if (l->memory_len > 0)
      key = mix(key, l->memory, (size_t)l->memory_len);
  }
  return remember(l, key);
}

/* ---- to Lua ---- */

static int
push_call(lua_State *L, const struct learner *l, pid_t tid, const struct __ptrace_syscall_info *i)
{
  lua_pushliteral(L, "call");
  lua_pushinteger(L, tid);
  lua_createtable(L, 0, 5);
  lua_pushboolean(L, i->arch == OUR_ARCH && !FOREIGN(i->seccomp.nr));
  lua_setfield(L, -2, "native");
  lua_pushinteger(L, (lua_Integer)i->seccomp.nr);
  lua_setfield(L, -2, "nr");
  lua_createtable(L, 6, 0);
  for (int k = 0; k < 6; k++) {
    csn_push_argument(L, i->seccomp.args[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "args");
  if (l->text_len[0] >= 0 || l->text_len[1] >= 0) {
    const struct rule *r = &l->rules[i->seccomp.nr];

    lua_newtable(L);
    lua_newtable(L);
    for (int k = 0; k < 2; k++) {
      if (l->text_len[k] >= 0) {
        lua_pushlstring(L, l->text[k], (size_t)l->text_len[k]);
        lua_rawseti(L, -3, r->text[k] + 1);
      }
      if (l->dir_len[k] >= 0) {
        lua_pushlstring(L, l->dir[k], (size_t)l->dir_len[k]);
        lua_rawseti(L, -2, r->text[k] + 1);
      }
    }
    lua_setfield(L, -3, "dirs");
    lua_setfield(L, -2, "texts");
  }
  if (l->memory_len >= 0) {
    lua_pushlstring(L, (const char *)l->memory, (size_t)l->memory_len);
    lua_setfield(L, -2, "memory");
  }
  return 3;
}

/* Wait for a stop; 0, or -errno. */
static long
wait_any(siginfo_t *si)
{
  memset(si, 0, sizeof(*si));
  return CSN_RETRY(csn_sys(__NR_waitid, P_ALL, 0, si, WEXITED | WSTOPPED | __WALL, NULL));
}

static void
go_on(pid_t tid, int sig)
{
  trace(PTRACE_CONT, tid, 0, (u64)sig);
}

static int
on_call(lua_State *L, struct learner *l, pid_t tid)
{
  struct __ptrace_syscall_info i;
  int rc = 0;

  l->stops++;
  if (l->begun && trace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(i), (u64)(uintptr_t)&i) > 0 &&
      i.op == PTRACE_SYSCALL_INFO_SECCOMP)
    rc = look(l, tid, &i);
  if (rc < 0)
    return csn_pusherr(L, -rc, "remembering a call");
  if (rc == 0) {
    go_on(tid, 0);
    return 0;
  }
  l->events++;
  l->held = tid;
  return push_call(L, l, tid, &i);
}

static int
on_stop(lua_State *L, struct learner *l, const siginfo_t *si)
{
  const int event = si->si_status >> 8, sig = si->si_status & 0xff;
  const pid_t tid = si->si_pid;
  unsigned long message = 0;

  task_there(l, tid);
  switch (event) {
  case PTRACE_EVENT_SECCOMP:
    return on_call(L, l, tid);
  case PTRACE_EVENT_FORK:
  case PTRACE_EVENT_VFORK:
  case PTRACE_EVENT_CLONE:
  case PTRACE_EVENT_EXEC:
    trace(PTRACE_GETEVENTMSG, tid, 0, (u64)(uintptr_t)&message);
    if (event == PTRACE_EVENT_EXEC && (pid_t)message != tid)
      task_gone(l, (pid_t)message);
    if (event == PTRACE_EVENT_VFORK)
      csn_site_share(&l->sites, (pid_t)message);
    if (event == PTRACE_EVENT_EXEC)
      csn_site_unshare(&l->sites, tid);
    else
      task_there(l, (pid_t)message);
    if (l->begun && event != PTRACE_EVENT_EXEC)
      break;
    l->held = tid;
    lua_pushstring(L, event == PTRACE_EVENT_EXEC ? "exec" : "child");
    lua_pushinteger(L, tid);
    lua_pushinteger(L, (lua_Integer)message);
    return 3;
  case PTRACE_EVENT_STOP:
    if (sig != SIGTRAP) { /* stopped as without us, until it is continued */
      trace(PTRACE_LISTEN, tid, 0, 0);
      return 0;
    }
    break;
  case 0:
    go_on(tid, sig);
    return 0;
  }
  go_on(tid, 0);
  return 0;
}

static struct learner *
check_learner(lua_State *L)
{
  struct learner *l = luaL_checkudata(L, 1, KIND);

  if (!csn_in_helper())
    luaL_error(L, "only a helper may wait for whatever it traces");
  return l;
}

/* learner:next() -> "call", tid, { native, nr, args, memory } | "exec", tid, its number before
 *   | "child", tid, pid (until it has begun) | "exited", tid | "ended" | nil, message, errno
 * What it told of last goes on. */
static int
l_next(lua_State *L)
{
  struct learner *l = check_learner(L);
  siginfo_t si;
  long rc;
  int n;

  if (l->held) {
    go_on(l->held, 0);
    l->held = 0;
  }
  for (;;) {
    rc = wait_any(&si);
    if (rc == -ECHILD) {
      lua_pushliteral(L, "ended");
      return 1;
    }
    if (rc < 0)
      return csn_pusherr(L, (int)-rc, "wait");
    if (si.si_code == CLD_EXITED || si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED) {
      csn_site_unshare(&l->sites, si.si_pid);
      task_gone(l, si.si_pid);
      if (!l->begun)
        continue;
      lua_pushliteral(L, "exited");
      lua_pushinteger(L, si.si_pid);
      return 2;
    }
    n = on_stop(L, l, &si);
    if (n)
      return n;
  }
}

/* learner:begin(first): from here on it is the program's doing */
static int
l_begin(lua_State *L)
{
  struct learner *l = check_learner(L);
  pid_t first = (pid_t)luaL_checkinteger(L, 2);

  l->begun = true;
  l->ntasks = 0;
  task_there(l, first);
  if (!l->sites.off)
    csn_site_begin(&l->sites, first);
  return csn_pushok(L);
}

/* learner:figures() -> { tasks, fd, stops, events, sites, unreadable } */
static int
l_figures(lua_State *L)
{
  const struct learner *l = luaL_checkudata(L, 1, KIND);

  lua_createtable(L, 0, 6);
  lua_pushinteger(L, (lua_Integer)l->most_tasks);
  lua_setfield(L, -2, "tasks");
  lua_pushinteger(L, (lua_Integer)l->most_fd);
  lua_setfield(L, -2, "fd");
  lua_pushnumber(L, (lua_Number)l->stops);
  lua_setfield(L, -2, "stops");
  lua_pushnumber(L, (lua_Number)l->events);
  lua_setfield(L, -2, "events");
  lua_pushinteger(L, (lua_Integer)l->sites.patched);
  lua_setfield(L, -2, "sites");
  lua_pushboolean(L, l->unreadable);
  lua_setfield(L, -2, "unreadable");
  return 1;
}

static int
l_gc(lua_State *L)
{
  struct learner *l = luaL_checkudata(L, 1, KIND);

  free(l->keys);
  free(l->tasks);
  l->keys = NULL;
  l->tasks = NULL;
  l->room = l->nkeys = l->ntasks = l->tasks_room = 0;
  return 0;
}

/* An argument's number, from 1, as the field of a rule; -1: not given. */
static int8_t
argument(lua_State *L, int rule, const char *key)
{
  lua_Number v = csn_opt_num(L, rule, key, 0);

  if (!(v >= 0 && v <= 6))
    luaL_error(L, "option '%s': an argument from 1 to 6 expected", key);
  return (int8_t)((int)v - 1);
}

/* { keep = { [2] = mask }, text =, text2 =, dir =, dir2 =, memory =, size =, size_at =, fd =, hot =, always = } */
static void
read_rule(lua_State *L, int at, struct rule *r)
{
  static const char *const keys[] = { "keep", "text",    "text2", "dir", "dir2",   "memory",
                                      "size", "size_at", "fd",    "hot", "always", NULL };

  luaL_checktype(L, at, LUA_TTABLE);
  csn_checkkeys(L, at, keys);
  r->known = 1;
  r->text[0] = argument(L, at, "text");
  r->text[1] = argument(L, at, "text2");
  r->dir[0] = argument(L, at, "dir");
  r->dir[1] = argument(L, at, "dir2");
  r->memory = argument(L, at, "memory");
  r->size_at = argument(L, at, "size_at");
  r->fd = argument(L, at, "fd");
  r->size = (u32)csn_opt_num(L, at, "size", 0);
  r->hot = csn_opt_bool(L, at, "hot", false);
  r->always = csn_opt_bool(L, at, "always", false);
  if (csn_field(L, at, "keep")) {
    int keep = lua_gettop(L);

    luaL_checktype(L, keep, LUA_TTABLE);
    for (int k = 0; k < 6; k++) {
      lua_rawgeti(L, keep, k + 1);
      if (!lua_isnil(L, -1)) {
        r->kept |= (u8)(1 << k);
        r->mask[k] = csn_to_u64(L, -1, "mask", true);
      }
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

/* learner:rule(nr, rule): another one from here on */
static int
l_rule(lua_State *L)
{
  struct learner *l = check_learner(L);
  lua_Integer nr = luaL_checkinteger(L, 2);

  luaL_argcheck(L, nr >= 0 && nr < CALLS, 2, "the number of a system call expected");
  memset(&l->rules[nr], 0, sizeof(l->rules[nr]));
  read_rule(L, 3, &l->rules[nr]);
  return csn_pushok(L);
}

/* core.learn.new(rules, [sites]) -> learner. rules: by a call's number; sites: let hot calls go at full speed. */
static int
l_new(lua_State *L)
{
  static const luaL_Reg methods[] = { { "next", l_next },
                                      { "begin", l_begin },
                                      { "figures", l_figures },
                                      { "rule", l_rule },
                                      { NULL, NULL } };
  struct learner *l;

  luaL_checktype(L, 1, LUA_TTABLE);
  l = lua_newuserdata(L, sizeof(*l));
  memset(l, 0, sizeof(*l));
  l->most_fd = 2;
  l->sites.off = !lua_toboolean(L, 2);
  if (luaL_newmetatable(L, KIND)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  for (int nr = 0; nr < CALLS; nr++) {
    l->rules[nr].fd = -1;
    lua_rawgeti(L, 1, nr);
    if (!lua_isnil(L, -1))
      read_rule(L, lua_gettop(L), &l->rules[nr]);
    lua_pop(L, 1);
  }
  return 1;
}

/* core.learn.socket(tid, fd) -> { type, family } | nil, message, errno: of a traced thread's descriptor */
static int
l_socket(lua_State *L)
{
  lua_Integer tid = luaL_checkinteger(L, 1), fd = luaL_checkinteger(L, 2);
  int type = 0, family = 0, rc = 0;
  socklen_t size = sizeof(int);
  long pidfd = csn_sys(__NR_pidfd_open, tid, 0), copy = -1;

  if (pidfd < 0)
    pidfd = csn_sys(__NR_pidfd_open, tid, O_EXCL); /* PIDFD_THREAD, Linux 6.9 */
  if (pidfd >= 0) {
    copy = csn_sys(__NR_pidfd_getfd, pidfd, fd, 0);
    if (copy >= 0 && (getsockopt((int)copy, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
                      getsockopt((int)copy, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0))
      rc = -errno;
    csn_close((int)pidfd);
  }
  rc = pidfd < 0 ? (int)pidfd : copy < 0 ? (int)copy : rc;
  if (copy >= 0)
    csn_close((int)copy);
  if (rc < 0)
    return csn_pusherr(L, -rc, "socket %d of thread %d", (int)fd, (int)tid);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, type);
  lua_setfield(L, -2, "type");
  lua_pushinteger(L, family);
  lua_setfield(L, -2, "family");
  return 1;
}

/* core.learn.sites() -> from, to | nil: where calls that go at full speed are made from */
static int
l_sites(lua_State *L)
{
  u64 from, to;

  if (!csn_site_range(&from, &to))
    return 0;
  lua_pushnumber(L, (lua_Number)from);
  lua_pushnumber(L, (lua_Number)to);
  return 2;
}

static void
open_learn(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "new", l_new }, { "socket", l_socket }, { "sites", l_sites }, { NULL, NULL }
  };

  csn_register(L, "learn", functions);
}

CSN_OPEN(open_learn)
