/* SPDX-License-Identifier: MIT
 * The prober's program (core/probe), for a container to execute, and the socket to it. */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern const u8 csn_probe_start[], csn_probe_end[];

/* core.prober.program() -> fd object: sealed | nil, message, errno */
static int
l_program(lua_State *L)
{
  int *fd = csn_newfd(L);

  *fd = csn_sealed_program("caisson-probe", csn_probe_start, csn_probe_end);
  return *fd < 0 ? csn_pusherr(L, -*fd, "the prober's program in a memfd") : 1;
}

/* core.prober.channel() -> its end, our end | nil, message, errno */
static int
l_channel(lua_State *L)
{
  int *theirs = csn_newfd(L), *ours = csn_newfd(L), fds[2];

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return csn_pusherr(L, errno, "socketpair");
  *ours = fds[1];
  *theirs = csn_above_stdio(fds[0]);
  if (*theirs >= 0)
    *ours = csn_above_stdio(fds[1]);
  if (*theirs < 0 || *ours < 0)
    return csn_pusherr(L, *theirs < 0 ? -*theirs : -*ours, "a descriptor for the prober's socket");
  return 2;
}

/* core.prober.send(fd, bytes) -> true | nil, message, errno: all of them. A prober that is gone is EPIPE, and no
 * signal to the host. */
static int
l_send(lua_State *L)
{
  const int fd = csn_tofd(L, 1);
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);

  for (size_t done = 0; done < size;) {
    ssize_t n = send(fd, bytes + done, size - done, MSG_NOSIGNAL);

    if (n < 0 && errno != EINTR)
      return csn_pusherr(L, errno, "ask the prober");
    if (n > 0)
      done += (size_t)n;
  }
  return csn_pushok(L);
}

static void
open_prober(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "program", l_program }, { "channel", l_channel }, { "send", l_send }, { NULL, NULL }
  };

  csn_register(L, "prober", functions);
}

CSN_OPEN(open_prober)
