/* SPDX-License-Identifier: MIT
 *
 * Signals as something to read, for a command line that hands them on to its container. The library
 * itself never calls this: the host's signals are the host's.
 *
 * Handlers and a pipe, not signalfd(2): that wants the signals blocked, and a blocked mask goes on to all
 * that the process starts (a hook's os.execute), while exec turns handlers back into the default.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* What a handler writes; less than PIPE_BUF, so one write is one message. */
struct arrival {
  int signal, kernel, pid, uid;
};

/* Where each signal's arrivals are written to, 0: it is not caught. Of the process, as handlers are. */
static volatile sig_atomic_t ends[65];
static pid_t owner;

#define MAX_PIPES 8
static struct {
  int read, write; /* write 0: none */
} pipes[MAX_PIPES];

static void
on_signal(int sig, siginfo_t *si, void *context)
{
  struct arrival a = { sig, si->si_code == SI_KERNEL, si->si_code <= 0 ? si->si_pid : 0,
                       si->si_code <= 0 ? (int)si->si_uid : 0 };
  int saved = errno;

  (void)context;
  /* A fork has the handlers until it execs: what is sent to it is none of ours. A full pipe: enough is
   * known already. */
  if (ends[sig] && getpid() == owner && write(ends[sig], &a, sizeof(a)) < 0)
    errno = 0;
  errno = saved;
}

/* Default effect again for what is written to this end. */
static void
let_go(int end)
{
  struct sigaction sa = { .sa_handler = SIG_DFL };

  sigemptyset(&sa.sa_mask);
  for (int sig = 1; sig <= 64; sig++)
    if (ends[sig] == end) {
      sigaction(sig, &sa, NULL);
      ends[sig] = 0;
    }
}

/* 0 or -errno. Nothing is delivered meanwhile, so that what this process ignores is seen from its old action alone. */
static int catch (u64 bits, int end)
{
  struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART }, old;
  sigset_t mask;
  int rc = 0;

  sigfillset(&sa.sa_mask);
  sigprocmask(SIG_SETMASK, &sa.sa_mask, &mask);
  for (int sig = 1; rc == 0 && sig <= 64; sig++)
    if (bits & 1ull << (sig - 1)) {
      if (ends[sig]) {
        rc = -EBUSY;
        break;
      }
      ends[sig] = end;
      if (sigaction(sig, &sa, &old) < 0)
        rc = -errno;
      else if (old.sa_handler == SIG_IGN)
        sigaction(sig, &old, NULL);
      if (rc < 0 || old.sa_handler == SIG_IGN)
        ends[sig] = 0;
    }
  sigprocmask(SIG_SETMASK, &mask, NULL);
  return rc;
}

/* signal.open(words) -> fd object: from now on these signals are read there and do nothing else. One that
 * this process ignores (nohup, a shell's background job) stays ignored. | nil, message, errno */
static int
l_open(lua_State *L)
{
  u64 bits = csn_to_words(L, 1, csn_sigset_words, "signals", true, false);
  int *fd = csn_newfd(L), pair[2], rc, i;

  if (owner != getpid()) { /* what a fork has from its parent is not its own */
    memset((void *)ends, 0, sizeof(ends));
    memset(pipes, 0, sizeof(pipes));
    owner = getpid();
  }
  for (i = 0; i < MAX_PIPES && pipes[i].write; i++)
    ;
  if (i == MAX_PIPES)
    return csn_pusherr(L, EMFILE, "signals");
  if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
    return csn_pusherr(L, errno, "signals");
  *fd = csn_above_stdio(pair[0]);
  pair[1] = csn_above_stdio(pair[1]);
  if (*fd < 0 || pair[1] < 0) {
    rc = *fd < 0 ? *fd : pair[1];
    csn_close(pair[1]);
    return csn_pusherr(L, -rc, "signals");
  }
  rc = catch (bits, pair[1]);
  if (rc < 0) {
    let_go(pair[1]);
    close(pair[1]);
    return csn_pusherr(L, -rc, "signals");
  }
  pipes[i].read = *fd;
  pipes[i].write = pair[1];
  return 1;
}

/* signal.read(fd) -> { signal =, kernel =, pid =, uid = }, or nil where none has come
 * kernel: sent by the kernel, as a terminal's keys do, not by a process. */
static int
l_read(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  struct arrival a;
  ssize_t n;

  do
    n = read(fd, &a, sizeof(a));
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN)
    return 0;
  if (n != sizeof(a))
    return csn_pusherr(L, n < 0 ? errno : EINVAL, "read signals");
  lua_newtable(L);
  lua_pushinteger(L, a.signal);
  lua_setfield(L, -2, "signal");
  lua_pushboolean(L, a.kernel);
  lua_setfield(L, -2, "kernel");
  lua_pushinteger(L, a.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, a.uid);
  lua_setfield(L, -2, "uid");
  return 1;
}

/* signal.close(fd) -> true: its signals have their default effect again */
static int
l_close(lua_State *L)
{
  int fd = csn_tofd(L, 1);

  for (int i = 0; i < MAX_PIPES; i++)
    if (pipes[i].write && pipes[i].read == fd && owner == getpid()) {
      let_go(pipes[i].write);
      close(pipes[i].write);
      pipes[i].write = 0;
    }
  lua_getfield(L, 1, "close");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* signal.raise(signal) -> true | nil, message, errno: to this process */
static int
l_raise(lua_State *L)
{
  int sig = (int)csn_to_words(L, 1, csn_signal_words, "signal", false, true);

  if (kill(getpid(), sig) < 0)
    return csn_pusherr(L, errno, "signal %d to this process", sig);
  return csn_pushok(L);
}

/* signal.send(pid, signal) -> true | nil, message, errno */
static int
l_send(lua_State *L)
{
  lua_Integer pid = luaL_checkinteger(L, 1);
  int sig = (int)csn_to_words(L, 2, csn_signal_words, "signal", false, true);

  luaL_argcheck(L, pid > 0, 1, "a process above 0 expected");
  if (kill((pid_t)pid, sig) < 0)
    return csn_pusherr(L, errno, "signal %d to process %d", sig, (int)pid);
  return csn_pushok(L);
}

/* signal.name(15) -> "TERM"; nil for one without a name */
static int
l_name(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1);

  for (const struct csn_word *w = csn_signal_words; w->name; w++)
    if (n > 0 && w->value == (u64)n) {
      lua_pushstring(L, w->name);
      return 1;
    }
  return 0;
}

static void
open_signal(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open", l_open },   { "read", l_read },
                                        { "close", l_close }, { "raise", l_raise },
                                        { "name", l_name },   { "send", l_send },
                                        { NULL, NULL } };

  csn_register(L, "signal", functions);
}

CSN_OPEN(open_signal)
