/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "site.h"
#include "csn.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

bool
csn_peek(pid_t tid, u64 at, void *to, size_t size)
{
  struct iovec ours = { to, size }, theirs = { (void *)(uintptr_t)at, size };

  return csn_sys(__NR_process_vm_readv, tid, &ours, 1, &theirs, 1, 0) == (long)size;
}

bool
csn_poke(pid_t tid, u64 at, const void *from, size_t size)
{
  u64 word;

  for (size_t i = 0; i < size; i += 8) {
    memcpy(&word, (const char *)from + i, 8);
    if (csn_sys(__NR_ptrace, PTRACE_POKEDATA, tid, at + i, word) < 0)
      return false;
  }
  return true;
}

bool
csn_read_proc(pid_t tid, const char *name, char *to, size_t size)
{
  char path[64];
  size_t n = csn_append(path, sizeof(path), 0, "/proc/");
  long fd, rc;

  n = csn_append_u64(path, sizeof(path), n, (u64)tid);
  csn_append(path, sizeof(path), n, name);
  fd = csn_sys(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return false;
  rc = csn_sys(__NR_read, fd, to, size - 1);
  csn_close((int)fd);
  if (rc <= 0)
    return false;
  to[rc] = 0;
  return true;
}
