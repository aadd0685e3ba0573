/* SPDX-License-Identifier: MIT
 *
 * Processes by descriptor (pidfd_open(2), pidfd_send_signal(2), waitid(2)): signals that never hit a
 * recycled pid, and how a process ended, whoever its parent is.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Linux 6.15: what became of a process that another has reaped, by a pidfd that was open before. */
struct pidfd_exit {
  u64 mask, cgroupid;
  u32 ids[11];
  s32 status;
};
#define PIDFD_GET_EXIT _IOWR(0xff, 11, struct pidfd_exit)
#define PIDFD_EXIT (1u << 3)

static int
kept_status(int pidfd, struct csn_ending *e)
{
  struct pidfd_exit x = { .mask = PIDFD_EXIT };

  if (ioctl(pidfd, PIDFD_GET_EXIT, &x) < 0 || !(x.mask & PIDFD_EXIT))
    return -ECHILD;
  e->stolen = true;
  e->code = WIFEXITED(x.status) ? WEXITSTATUS(x.status) : 0;
  e->signal = WIFSIGNALED(x.status) ? WTERMSIG(x.status) : 0;
  e->core_dumped = WCOREDUMP(x.status);
  return 1;
}

int
csn_reap_pidfd(int pidfd, struct csn_ending *e, bool block)
{
  siginfo_t si;
  struct rusage ru;
  int rc;

  memset(&si, 0, sizeof(si));
  memset(&ru, 0, sizeof(ru));
  /* waitid(2) as the system call gives the rusage too */
  do
    rc = (int)syscall(SYS_waitid, P_PIDFD, pidfd, &si, WEXITED | __WALL | (block ? 0 : WNOHANG),
                      &ru);
  while (rc < 0 && errno == EINTR);
  if (rc < 0)
    return errno == ECHILD ? kept_status(pidfd, e) : -errno;
  if (si.si_pid == 0)
    return 0;
  if (si.si_code == CLD_EXITED)
    e->code = si.si_status;
  else
    e->signal = si.si_status;
  e->core_dumped = si.si_code == CLD_DUMPED;
  e->user_us = (u64)ru.ru_utime.tv_sec * 1000000u + (u64)ru.ru_utime.tv_usec;
  e->system_us = (u64)ru.ru_stime.tv_sec * 1000000u + (u64)ru.ru_stime.tv_usec;
  e->maxrss_kb = (u64)ru.ru_maxrss;
  return 1;
}

/* How long what is waited for may hang on a process that is to be reaped. */
enum { slice_ms = 20 };

int
csn_poll_for(struct pollfd *fds, nfds_t n, lua_Number seconds, bool restart)
{
  struct timespec now;
  lua_Number end = 0;

  if (seconds >= 0) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    end = (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9 + seconds;
  }
  for (;;) {
    int ms = seconds < 0 ? -1 : seconds > 2000000 ? 2000000000 : (int)(seconds * 1000 + 0.999);
    bool slice = ms != 0 && (ms < 0 || ms > slice_ms) && csn_joined_sweep();
    int rc = poll(fds, n, slice ? slice_ms : ms);

    if (rc > 0 || (rc == 0 && !slice))
      return rc;
    if (rc < 0 && (errno != EINTR || !restart))
      return -errno;
    if (seconds >= 0) {
      clock_gettime(CLOCK_MONOTONIC, &now);
      seconds = end - (lua_Number)now.tv_sec - (lua_Number)now.tv_nsec / 1e9;
      seconds = seconds > 0 ? seconds : 0;
    }
  }
}

void
csn_push_ending(lua_State *L, const struct csn_ending *e)
{
  lua_newtable(L);
  if (e->signal) {
    lua_pushinteger(L, e->signal);
    lua_setfield(L, -2, "signal");
    lua_pushboolean(L, e->core_dumped);
    lua_setfield(L, -2, "core_dumped");
  } else {
    lua_pushinteger(L, e->code);
    lua_setfield(L, -2, "code");
  }
  lua_pushnumber(L, (lua_Number)e->user_us);
  lua_setfield(L, -2, "user_us");
  lua_pushnumber(L, (lua_Number)e->system_us);
  lua_setfield(L, -2, "system_us");
  lua_pushnumber(L, (lua_Number)e->maxrss_kb);
  lua_setfield(L, -2, "maxrss_kb");
  if (e->stolen) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "stolen");
  }
}

/* core.pidfd.open(pid) -> fd object | nil, message, errno */
static int
l_open(lua_State *L)
{
  lua_Integer pid = luaL_checkinteger(L, 1);
  int *fd;

  luaL_argcheck(L, pid > 0 && pid <= 0x7fffffff, 1, "a process id expected");
  fd = csn_newfd(L);
  *fd = csn_above_stdio((int)syscall(SYS_pidfd_open, (pid_t)pid, 0));
  return *fd < 0 ? csn_pusherr(L, -*fd, "pidfd of process %d", (int)pid) : 1;
}

/* core.pidfd.kill(fd, [signal]) -> true | nil, message, errno; 0 only asks whether it is there */
static int
l_kill(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  int sig = lua_isnoneornil(L, 2)
                ? SIGKILL
                : (int)csn_to_words(L, 2, csn_signal_words, "signal", false, true);

  if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
    return csn_pusherr(L, errno, "signal %d to the process of pidfd %d", sig, fd);
  return csn_pushok(L);
}

/* Its parent may be about to reap it, and only then does the kernel tell its status: until then, or for a
 * moment. 1; -ECHILD where it stays unknown. */
static int
ended_elsewhere(int fd, struct csn_ending *e)
{
  struct pollfd reaped = { .fd = fd }; /* POLLHUP comes without being asked for */

  csn_poll_for(&reaped, 1, 0.1, true);
  return csn_reap_pidfd(fd, e, false);
}

/* core.pidfd.wait(fd, [timeout]) -> status | nil, "timeout" | nil, message, errno
 * timeout in seconds; none: for ever, 0: only look. A child of this process is reaped. */
static int
l_wait(lua_State *L)
{
  struct csn_ending e = { 0 };
  struct pollfd pfd = { .fd = csn_tofd(L, 1), .events = POLLIN };
  lua_Number timeout = luaL_optnumber(L, 2, -1);
  int rc = csn_reap_pidfd(pfd.fd, &e, false);

  if (rc == 0 || rc == -ECHILD) {
    int ready = csn_poll_for(&pfd, 1, timeout, true);

    if (ready < 0)
      return csn_pusherr(L, -ready, "wait for the process of pidfd %d", pfd.fd);
    if (ready == 0) {
      lua_pushnil(L);
      lua_pushliteral(L, "timeout");
      return 2;
    }
    /* Who is traced by another has ended for its parent only when the tracer has seen that. */
    rc = csn_reap_pidfd(pfd.fd, &e, timeout < 0);
    if (rc == -ECHILD)
      rc = ended_elsewhere(pfd.fd, &e);
    if (rc == 0) {
      lua_pushnil(L);
      lua_pushliteral(L, "timeout");
      return 2;
    }
  }
  if (rc == -ECHILD) {
    lua_newtable(L);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "unknown");
    return 1;
  }
  if (rc < 0)
    return csn_pusherr(L, -rc, "wait for the process of pidfd %d", pfd.fd);
  csn_push_ending(L, &e);
  return 1;
}

static void
open_pidfd(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "open", l_open }, { "kill", l_kill }, { "wait", l_wait }, { NULL, NULL }
  };

  csn_register(L, "pidfd", functions);
}

CSN_OPEN(open_pidfd)
