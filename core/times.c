/* SPDX-License-Identifier: MIT
 *
 * When the steps of a run happened, for who asks.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

u64
csn_monotonic_ns(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* A step of this side's, for who wants to know: its number, when it began, how long it took, its errno. */
void
csn_tell_time(struct csn_spawn *s, u32 step, u64 began, int rc)
{
  struct csn_ctx c = { .detail_len = 0 }; /* what it has to say is not about the step */
  const lua_Number args[] = { step + 1, (lua_Number)began, (lua_Number)(csn_monotonic_ns() - began),
                              rc < 0 ? -rc : 0 };

  csn_call_at(s, &c, s->timed, 4, args);
}

/* Room for when things happen: 0 or -errno. */
int
csn_make_times(struct csn_spawn *s)
{
  const size_t size = csn_times_size(s->plan);
  CSN_CLEANUP_FD int fd = memfd_create("caisson", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  void *at;

  /* never shorter: both sides write and read what they have mapped */
  if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
    return -errno;
  at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED)
    return -errno;
  s->times = at;
  s->header.times = csn_above_stdio(csn_steal_fd(&fd));
  return s->header.times < 0 ? s->header.times : 0;
}

static void
push_time(lua_State *L, const struct csn_spawn *s, u64 counter, double ns_each)
{
  lua_pushnumber(L, (lua_Number)s->start_ns + (lua_Number)(s64)(counter - s->counter0) * ns_each);
}

/* Tell them, in nanoseconds of CLOCK_MONOTONIC: { born =, executed =, [step] = { began, ended } }. */
void
csn_tell_times(struct csn_spawn *s)
{
  const u64 counted = csn_counter() - s->counter0;
  const double ns_each = counted ? (double)(csn_monotonic_ns() - s->start_ns) / (double)counted : 0;
  lua_State *L = s->L;

  lua_pushvalue(L, s->stamped);
  lua_newtable(L);
  if (s->times->born) {
    push_time(L, s, s->times->born, ns_each);
    lua_setfield(L, -2, "born");
  }
  if (s->times->executed) {
    push_time(L, s, s->times->executed, ns_each);
    lua_setfield(L, -2, "executed");
  }
  for (u32 i = 0; i < s->plan->nsteps; i++) {
    if (!s->times->steps[i].began)
      continue;
    lua_newtable(L);
    push_time(L, s, s->times->steps[i].began, ns_each);
    lua_rawseti(L, -2, 1);
    if (s->times->steps[i].ended) {
      push_time(L, s, s->times->steps[i].ended, ns_each);
      lua_rawseti(L, -2, 2);
    }
    lua_rawseti(L, -2, (int)i + 1);
  }
  munmap(s->times, csn_times_size(s->plan));
  s->times = NULL;
  csn_close(s->header.times);
  s->header.times = -1;
  if (lua_pcall(L, 1, 0, 0) != 0)
    lua_pop(L, 1);
}
