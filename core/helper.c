/* SPDX-License-Identifier: MIT
 *
 * A helper: a fork of the host that runs one Lua function and ends with it. It dies with the thread that
 * started it, keeps none of the host's descriptors but those it is given (a pipe that it held open would
 * never end for its reader), and gets no signal that a terminal sends to the host.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_helper;

/* Objects of the host's that the collector finds here close their numbers: what has been given away must not
 * sit there. So all stay taken, by something that harms nobody. */
static int
let_go(lua_State *L, int keep, int ready)
{
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  DIR *d = opendir("/proc/self/fd");
  struct dirent *e;

  if (null < 0 || !d)
    return -errno;
  while ((e = readdir(d))) {
    int fd = atoi(e->d_name);
    bool kept = fd <= 2 || fd == null || fd == ready || fd == dirfd(d);

    for (int i = 1; !kept && i <= (int)lua_rawlen(L, keep); i++) {
      lua_rawgeti(L, keep, i);
      kept = csn_tofd(L, -1) == fd;
      lua_pop(L, 1);
    }
    if (!kept && dup3(null, fd, O_CLOEXEC) < 0)
      return -errno;
  }
  closedir(d);
  return 0;
}

/* Stack: the function, the descriptors to keep, the pipe's end to say that it lives; -1: nobody waits. */
static int
l_live(lua_State *L)
{
  int ready = (int)lua_tointeger(L, 3);

  csn_after_fork(L);
  if (let_go(L, 2, ready) < 0 || (ready >= 0 && write(ready, "", 1) != 1))
    _exit(125);
  csn_close(ready);
  lua_settop(L, 1);
  lua_call(L, 0, 0);
  return 0;
}

_Noreturn static void
live(lua_State *L, pid_t host)
{
  const struct sigaction by_default = { .sa_handler = SIG_DFL },
                         ignored = { .sa_handler = SIG_IGN };
  sigset_t none;

  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != host)
    _exit(0);
  for (int sig = 1; sig < 65; sig++)
    sigaction(sig, &by_default, NULL);
  sigaction(SIGPIPE, &ignored, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  is_helper = true;
  if (lua_pcall(L, 3, 0, 0) != 0) {
    const char *message = lua_tostring(L, -1);

    if (message) {
      (void)!write(2, message, csn_strlen(message));
      (void)!write(2, "\n", 1);
    }
    _exit(125);
  }
  _exit(0);
}

/* Its pid, with wait only once it lives; -EAGAIN: the fork found a lock held for ever; -EMFILE: it had no descriptor to do with. */
static int
start(lua_State *L, int ready[2], int *pidfd, bool wait)
{
  pid_t host = getpid(), pid = fork();
  char byte;
  int err, status = SIGALRM; /* what it is taken for where the host takes it away */

  if (pid < 0)
    return -errno;
  if (pid == 0) {
    lua_pushinteger(L, wait ? ready[1] : -1);
    lua_insert(L, 3);
    lua_settop(L, 3);
    lua_pushcfunction(L, l_live);
    lua_insert(L, 1);
    live(L, host);
  }
  close(ready[1]);
  ready[1] = -1;
  *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  err = *pidfd < 0 ? -errno : 0;
  if (err == 0 && !wait)
    return (int)pid;
  if (err == 0 && CSN_RETRY(csn_sys(__NR_read, ready[0], &byte, 1)) == 1)
    return (int)pid;
  kill(pid, SIGKILL);
  CSN_RETRY(csn_sys(__NR_wait4, pid, &status, 0, 0));
  csn_close(*pidfd);
  *pidfd = -1;
  return err ? err : WIFSIGNALED(status) ? -EAGAIN : -EMFILE;
}

/* core.helper(fn, [fds], [at_once]) -> pidfd, pid | nil, message, errno */
static int
l_helper(lua_State *L)
{
  int *pidfd, rc = -EAGAIN;
  const bool wait = !lua_toboolean(L, 3);

  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; i <= (int)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    csn_tofd(L, -1);
    lua_pop(L, 1);
  }
  luaL_checkstack(L, LUA_MINSTACK, "helper");
  pidfd = csn_newfd(L);
  csn_before_fork();
  for (int tries = 0; rc == -EAGAIN && tries < 20; tries++) {
    int ready[2];

    if (pipe2(ready, O_CLOEXEC) < 0) {
      rc = -errno;
      break;
    }
    rc = start(L, ready, pidfd, wait);
    csn_close(ready[0]);
    csn_close(ready[1]);
  }
  if (rc < 0)
    return csn_pusherr(L, -rc, "helper");
  lua_pushinteger(L, rc);
  return 2;
}

bool
csn_in_helper(void)
{
  return is_helper;
}

static void
open_helper(lua_State *L)
{
  lua_pushcfunction(L, l_helper);
  lua_setfield(L, -2, "helper");
}

CSN_OPEN(open_helper)
