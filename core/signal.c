/* SPDX-License-Identifier: MIT
 *
 * Signals as something to read: signalfd(2), for a command line that hands them on to its container.
 * The library itself never calls this: the host's signals are the host's.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void
to_sigset(u64 bits, sigset_t *set)
{
  sigemptyset(set);
  for (int sig = 1; sig <= 64; sig++)
    if (bits >> (sig - 1) & 1)
      sigaddset(set, sig); /* refuses the two that are libc's own */
}

/* signal.open(words) -> fd object: from now on these signals wait there and do nothing else. One that
 * this process ignores (nohup, a shell's background job) stays ignored. | nil, message, errno */
static int
l_open(lua_State *L)
{
  u64 bits = csn_to_words(L, 1, csn_sigset_words, "signals", true, false);
  struct sigaction sa;
  sigset_t set;
  int *fd = csn_newfd(L);

  for (int sig = 1; sig <= 64; sig++)
    if (bits >> (sig - 1) & 1 && sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN &&
        sig != SIGWINCH && sig != SIGCONT)
      bits &= ~(1ull << (sig - 1));
  to_sigset(bits, &set);
  *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (*fd < 0)
    return csn_pusherr(L, errno, "signalfd");
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  return 1;
}

/* signal.read(fd) -> { signal =, kernel =, pid =, uid = }, or nil where none has come
 * kernel: sent by the kernel, as a terminal's are, not by a process. */
static int
l_read(lua_State *L)
{
  struct signalfd_siginfo si;
  int fd = csn_tofd(L, 1);
  ssize_t n;

  do
    n = read(fd, &si, sizeof(si));
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN)
    return 0;
  if (n != sizeof(si))
    return csn_pusherr(L, n < 0 ? errno : EINVAL, "read signals");
  lua_newtable(L);
  lua_pushinteger(L, (lua_Integer)si.ssi_signo);
  lua_setfield(L, -2, "signal");
  lua_pushboolean(L, si.ssi_code == SI_KERNEL);
  lua_setfield(L, -2, "kernel");
  lua_pushinteger(L, (lua_Integer)si.ssi_pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, (lua_Integer)si.ssi_uid);
  lua_setfield(L, -2, "uid");
  return 1;
}

/* signal.unblock(words) -> true: what came and was not read takes its effect now */
static int
l_unblock(lua_State *L)
{
  sigset_t set;

  to_sigset(csn_to_words(L, 1, csn_sigset_words, "signals", true, false), &set);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  return csn_pushok(L);
}

/* signal.raise(signal) -> true: to this process */
static int
l_raise(lua_State *L)
{
  int sig = (int)csn_to_words(L, 1, csn_signal_words, "signal", false, true);

  if (kill(getpid(), sig) < 0)
    return csn_pusherr(L, errno, "signal %d to this process", sig);
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
  static const luaL_Reg functions[] = { { "open", l_open },   { "read", l_read }, { "unblock", l_unblock },
                                        { "raise", l_raise }, { "name", l_name }, { NULL, NULL } };

  csn_register(L, "signal", functions);
}

CSN_OPEN(open_signal)
