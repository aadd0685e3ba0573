/* SPDX-License-Identifier: MIT
 * The prober's program (core/probe), for a container to execute. */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

extern const u8 csn_probe_start[], csn_probe_end[];

static int
make_prober(void)
{
  const size_t size = (size_t)(csn_probe_end - csn_probe_start);
  CSN_CLEANUP_FD int fd = memfd_create("caisson-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

  if (fd < 0 && errno == EINVAL) /* before 6.3 all memfds are executable, and the flag unknown */
    fd = memfd_create("caisson-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0)
    return -errno;
  for (size_t done = 0; done < size;) {
    ssize_t n = write(fd, csn_probe_start + done, size - done);

    if (n < 0)
      return -errno;
    done += (size_t)n;
  }
  if (fchmod(fd, 0555) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return -errno;
  return csn_above_stdio(csn_steal_fd(&fd));
}

/* core.prober() -> fd object: the program, sealed | nil, message, errno */
static int
l_prober(lua_State *L)
{
  int *fd = csn_newfd(L);

  *fd = make_prober();
  return *fd < 0 ? csn_pusherr(L, -*fd, "the prober's program in a memfd") : 1;
}

static void
open_prober(lua_State *L)
{
  static const luaL_Reg functions[] = { { "prober", l_prober }, { NULL, NULL } };

  csn_register(L, "", functions);
}

CSN_OPEN(open_prober)
