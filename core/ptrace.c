/* SPDX-License-Identifier: MIT
 *
 * ptrace(2), as a tracer uses it: seize, wait for stops, look at a system call and its memory, let it be or
 * answer in its place, go on. All of it is of the calling thread: nobody else may use what it traces.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include "ptrace.h"
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct csn_word option_words[] = {
  { "sysgood", PTRACE_O_TRACESYSGOOD },
  { "fork", PTRACE_O_TRACEFORK },
  { "vfork", PTRACE_O_TRACEVFORK },
  { "clone", PTRACE_O_TRACECLONE },
  { "exec", PTRACE_O_TRACEEXEC },
  { "exit", PTRACE_O_TRACEEXIT },
  { "seccomp", PTRACE_O_TRACESECCOMP },
  { "exitkill", PTRACE_O_EXITKILL },
  { NULL, 0 },
};

static pid_t
check_pid(lua_State *L)
{
  lua_Integer pid = luaL_checkinteger(L, 1);

  if (pid < 1 || pid > 0x7fffffff)
    luaL_error(L, "a process id expected");
  return (pid_t)pid;
}

/* The kernel's own call: glibc's is variadic, and turns some answers around. */
static long
request(lua_State *L, long what, u64 addr, u64 data)
{
  return csn_sys(__NR_ptrace, what, check_pid(L), addr, data);
}

static int
answer(lua_State *L, long rc, const char *what)
{
  return rc < 0 ? csn_pusherr(L, (int)-rc, "ptrace %s %d", what, (int)lua_tointeger(L, 1))
                : csn_pushok(L);
}

static u64
opt_words(lua_State *L)
{
  return lua_isnoneornil(L, 2) ? 0 : csn_to_words(L, 2, option_words, "options", true, false);
}

static u64
opt_signal(lua_State *L)
{
  return lua_isnoneornil(L, 2) ? 0 : csn_to_words(L, 2, csn_signal_words, "signal", false, true);
}

/* core.ptrace.seize(pid, [options]) */
static int
l_seize(lua_State *L)
{
  return answer(L, request(L, PTRACE_SEIZE, 0, opt_words(L)), "seize");
}

/* core.ptrace.setoptions(pid, options) */
static int
l_setoptions(lua_State *L)
{
  return answer(L, request(L, PTRACE_SETOPTIONS, 0, opt_words(L)), "setoptions");
}

/* core.ptrace.cont(pid, [signal]) */
static int
l_cont(lua_State *L)
{
  return answer(L, request(L, PTRACE_CONT, 0, opt_signal(L)), "cont");
}

/* core.ptrace.syscall(pid, [signal]): on to the next system call's beginning or end */
static int
l_syscall(lua_State *L)
{
  return answer(L, request(L, PTRACE_SYSCALL, 0, opt_signal(L)), "syscall");
}

/* core.ptrace.listen(pid): leave it in its group stop */
static int
l_listen(lua_State *L)
{
  return answer(L, request(L, PTRACE_LISTEN, 0, 0), "listen");
}

/* core.ptrace.interrupt(pid) */
static int
l_interrupt(lua_State *L)
{
  return answer(L, request(L, PTRACE_INTERRUPT, 0, 0), "interrupt");
}

/* core.ptrace.detach(pid, [signal]) */
static int
l_detach(lua_State *L)
{
  return answer(L, request(L, PTRACE_DETACH, 0, opt_signal(L)), "detach");
}

/* ---- waiting ---- */

static const char *
event_name(int event)
{
  switch (event) {
  case PTRACE_EVENT_FORK:
    return "fork";
  case PTRACE_EVENT_VFORK:
    return "vfork";
  case PTRACE_EVENT_CLONE:
    return "clone";
  case PTRACE_EVENT_EXEC:
    return "exec";
  case PTRACE_EVENT_EXIT:
    return "exit";
  case PTRACE_EVENT_SECCOMP:
    return "seccomp";
  case PTRACE_EVENT_STOP:
    return "stop";
  }
  return "event";
}

/* pid, kind, value of one stop or end. */
static int
push_event(lua_State *L, const siginfo_t *si)
{
  const int event = si->si_status >> 8, sig = si->si_status & 0xff;
  unsigned long message = 0;

  lua_pushinteger(L, si->si_pid);
  if (si->si_code == CLD_EXITED) {
    lua_pushliteral(L, "exited");
    lua_pushinteger(L, si->si_status);
  } else if (si->si_code == CLD_KILLED || si->si_code == CLD_DUMPED) {
    lua_pushliteral(L, "killed");
    lua_pushinteger(L, si->si_status);
  } else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) {
    lua_pushliteral(L, "group");
    lua_pushinteger(L, sig);
  } else if (event) {
    csn_sys(__NR_ptrace, PTRACE_GETEVENTMSG, si->si_pid, 0, &message);
    lua_pushstring(L, event_name(event));
    csn_push_u64(L, message);
  } else if (sig == (SIGTRAP | 0x80)) {
    lua_pushliteral(L, "syscall");
    lua_pushinteger(L, 0);
  } else {
    lua_pushliteral(L, "signal");
    lua_pushinteger(L, sig);
  }
  return 3;
}

/* core.ptrace.wait(pid or nil, [now]) -> pid, kind, value | nil, "timeout" | nil, message, errno */
static int
l_wait(lua_State *L)
{
  bool any = lua_isnoneornil(L, 1);
  int flags = WEXITED | WSTOPPED | __WALL | (lua_toboolean(L, 2) ? WNOHANG : 0);
  siginfo_t si = { 0 };
  long rc;

  /* Of any child: a host's own would be reaped here. */
  if (any && !csn_in_helper())
    return luaL_error(L, "a process id expected (only a helper may wait for whatever it traces)");
  rc = CSN_RETRY(
      csn_sys(__NR_waitid, any ? P_ALL : P_PID, any ? 0 : check_pid(L), &si, flags, NULL));
  if (rc < 0)
    return csn_pusherr(L, (int)-rc, "ptrace wait");
  if (!si.si_pid) {
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
  }
  return push_event(L, &si);
}

/* ---- what a stopped process is about to do ---- */

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#define FOREIGN(nr) ((nr)&0x40000000) /* x32 */
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN(nr) 0
#endif

bool
csn_is_native(u32 arch, u64 nr)
{
  (void)nr;
  return arch == OUR_ARCH && !FOREIGN(nr);
}

/* core.ptrace.call(pid) -> { op, nr, native, args, ip } | nil, message, errno */
static int
l_call(lua_State *L)
{
  static const char *const ops[] = { "none", "entry", "exit", "seccomp" };
  struct __ptrace_syscall_info i;
  long rc;

  memset(&i, 0, sizeof(i));
  rc = request(L, PTRACE_GET_SYSCALL_INFO, sizeof(i), (u64)(uintptr_t)&i);
  if (rc < 0)
    return answer(L, rc, "syscall info");
  lua_createtable(L, 0, 5);
  lua_pushstring(L, i.op < 4 ? ops[i.op] : "none");
  lua_setfield(L, -2, "op");
  csn_push_u64(L, i.instruction_pointer);
  lua_setfield(L, -2, "ip");
  if (i.op == PTRACE_SYSCALL_INFO_EXIT) {
    lua_pushnumber(L, (lua_Number)i.exit.rval);
    lua_setfield(L, -2, "result");
    return 1;
  }
  if (i.op != PTRACE_SYSCALL_INFO_ENTRY && i.op != PTRACE_SYSCALL_INFO_SECCOMP)
    return 1;
  lua_pushboolean(L, csn_is_native(i.arch, i.seccomp.nr));
  lua_setfield(L, -2, "native");
  lua_pushinteger(L, (lua_Integer)i.seccomp.nr);
  lua_setfield(L, -2, "nr");
  if (i.op == PTRACE_SYSCALL_INFO_SECCOMP) {
    lua_pushinteger(L, (lua_Integer)i.seccomp.ret_data);
    lua_setfield(L, -2, "data");
  }
  lua_createtable(L, 6, 0);
  for (int k = 0; k < 6; k++) {
    csn_push_argument(L, i.seccomp.args[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "args");
  return 1;
}

#if defined(__x86_64__)
/* The call's number -1: it is skipped, and its result is what is in the register. */
long
csn_skip_call(pid_t pid, s64 result)
{
  union {
    struct user_regs_struct own;
    u32 i386[17]; /* of a thread in 32-bit mode: ebx to ebp, eax, ..., orig_eax, eip to ss */
  } r;
  struct iovec v = { &r, sizeof(r) };
  long rc = csn_sys(__NR_ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);

  if (rc < 0)
    return rc;
  if (v.iov_len == sizeof(r.i386)) {
    r.i386[11] = ~0u;
    r.i386[6] = (u32)result;
  } else if (v.iov_len == sizeof(r.own)) {
    r.own.orig_rax = ~0ull;
    r.own.rax = (u64)result;
  } else {
    return -EOPNOTSUPP;
  }
  return csn_sys(__NR_ptrace, PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

long
csn_read_call(pid_t pid, struct seccomp_data *d)
{
  struct user_regs_struct r;
  struct iovec v = { &r, sizeof(r) };
  long rc = csn_sys(__NR_ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);

  if (rc < 0 || v.iov_len != sizeof(r))
    return rc < 0 ? rc : -EOPNOTSUPP;
  *d = (struct seccomp_data){
    (int)r.orig_rax, OUR_ARCH, r.rip, { r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9 }
  };
  return 0;
}
#else
#ifndef NT_ARM_SYSTEM_CALL
#define NT_ARM_SYSTEM_CALL 0x404
#endif
long
csn_skip_call(pid_t pid, s64 result)
{
  struct user_regs_struct r;
  struct iovec v = { &r, sizeof(r) };
  int none = -1;
  struct iovec nr = { &none, sizeof(none) };
  long rc = csn_sys(__NR_ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);

  if (rc < 0 || v.iov_len != sizeof(r)) /* in 32-bit mode they are others */
    return rc < 0 ? rc : -EOPNOTSUPP;
  r.regs[0] = (u64)result;
  rc = csn_sys(__NR_ptrace, PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
  return rc < 0 ? rc : csn_sys(__NR_ptrace, PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &nr);
}

long
csn_read_call(pid_t pid, struct seccomp_data *d)
{
  struct user_regs_struct r;
  struct iovec v = { &r, sizeof(r) };
  int number = -1;
  struct iovec nr = { &number, sizeof(number) };
  long rc = csn_sys(__NR_ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);

  if (rc < 0 || v.iov_len != sizeof(r))
    return rc < 0 ? rc : -EOPNOTSUPP;
  rc = csn_sys(__NR_ptrace, PTRACE_GETREGSET, pid, NT_ARM_SYSTEM_CALL, &nr);
  *d = (struct seccomp_data){ number, OUR_ARCH, r.pc, { 0 } };
  memcpy(d->args, r.regs, sizeof(d->args));
  return rc;
}
#endif

/* core.ptrace.skip(pid, result): the call it is stopped at is not made; -errno, or what it shall return */
static int
l_skip(lua_State *L)
{
  lua_Number result = luaL_checknumber(L, 2);

  if (!(result >= -9007199254740992.0 && result <= 9007199254740992.0) ||
      result != (lua_Number)(s64)result)
    return luaL_error(L, "a whole number of at most 2^53 expected");
  return answer(L, csn_skip_call(check_pid(L), (s64)result), "skip");
}

/* ---- its memory ---- */

#define PAGE 4096u
#define MOST 65536u

/* Up to size bytes, as far as they can be read: page by page, since one that can't be read ends it. With
 * string it ends before a NUL too, and *ended says so. */
static long
read_memory(pid_t pid, u64 from, char *to, size_t size, bool string, bool *ended)
{
  size_t n = 0;

  while (n < size) {
    size_t rest = PAGE - (from + n) % PAGE;
    struct iovec ours = { to + n, rest < size - n ? rest : size - n };
    struct iovec theirs = { (void *)(uintptr_t)(from + n), ours.iov_len };
    long rc = csn_sys(__NR_process_vm_readv, pid, &ours, 1, &theirs, 1, 0);
    const char *end;

    if (rc <= 0)
      return n ? (long)n : rc < 0 ? rc : -EFAULT;
    end = string ? memchr(to + n, 0, (size_t)rc) : NULL;
    if (end) {
      *ended = true;
      return end - to;
    }
    n += (size_t)rc;
  }
  return (long)n;
}

static int
push_memory(lua_State *L, size_t size, bool string)
{
  u64 from = csn_to_u64(L, 2, "address", false);
  char *buf = lua_newuserdata(L, size ? size : 1);
  bool ended = false;
  long n = read_memory(check_pid(L), from, buf, size, string, &ended);

  if (n >= 0 && string && !ended)
    n = (size_t)n == size ? -ENAMETOOLONG : -EFAULT;
  if (n < 0)
    return csn_pusherr(L, (int)-n, "memory of process %d", (int)lua_tointeger(L, 1));
  lua_pushlstring(L, buf, (size_t)n);
  return 1;
}

static size_t
check_size(lua_State *L, lua_Number def)
{
  lua_Number size = luaL_optnumber(L, 3, def);

  if (!(size >= 0 && size <= MOST))
    luaL_error(L, "a size from 0 to 65536 expected");
  return (size_t)size;
}

/* core.ptrace.read(pid, address, size) -> bytes: fewer where the rest can't be read */
static int
l_read(lua_State *L)
{
  luaL_checknumber(L, 3);
  return push_memory(L, check_size(L, 0), false);
}

/* core.ptrace.string(pid, address, [most]) -> text; ENAMETOOLONG: no NUL in that many bytes (4096) */
static int
l_string(lua_State *L)
{
  return push_memory(L, check_size(L, 4096), true);
}

static void
open_ptrace(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "seize", l_seize },   { "setoptions", l_setoptions },
    { "cont", l_cont },     { "syscall", l_syscall },
    { "listen", l_listen }, { "interrupt", l_interrupt },
    { "detach", l_detach }, { "wait", l_wait },
    { "call", l_call },     { "skip", l_skip },
    { "read", l_read },     { "string", l_string },
    { NULL, NULL },
  };

  csn_register(L, "ptrace", functions);
}

CSN_OPEN(open_ptrace)
