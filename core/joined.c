/* SPDX-License-Identifier: MIT
 *
 * Processes that have joined a container's pid namespace, and are this process's children. The first process of that
 * namespace does not end before each of them is reaped (pid_namespaces(7)), which nobody but this process can do.
 * So whoever waits for anything reaps those that have ended; their objects keep the status.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One whose object has let it go. */
struct left {
  struct left *next;
  int pidfd;
  pid_t owner;
};

static struct csn_spawn *first;
static struct left *first_left;
static pid_t holder; /* who has the lock: a fork's copy of another thread's is nobody's */

static void
lock(void)
{
  pid_t me = getpid();

  for (;;) {
    pid_t seen = 0;

    if (__atomic_compare_exchange_n(&holder, &seen, me, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED) ||
        (seen != me && __atomic_compare_exchange_n(&holder, &seen, me, false, __ATOMIC_ACQUIRE,
                                                   __ATOMIC_RELAXED)))
      return;
    sched_yield();
  }
}

static void
unlock(void)
{
  __atomic_store_n(&holder, 0, __ATOMIC_RELEASE);
}

void
csn_joined_add(struct csn_spawn *s)
{
  bool joins = false;

  for (u32 i = 0; i < s->plan->nsteps; i++)
    joins = joins || strcmp(csn_step_prim(csn_plan_step(s->plan, i))->name, "namespace.join") == 0;
  if (!joins)
    return;
  lock();
  s->listed = true;
  s->next = first;
  first = s;
  unlock();
}

void
csn_joined_remove(struct csn_spawn *s)
{
  if (!s->listed)
    return;
  lock();
  for (struct csn_spawn **at = &first; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
  s->listed = false;
  unlock();
}

void
csn_joined_leave(const struct csn_spawn *s)
{
  struct left *l = s->listed ? malloc(sizeof(*l)) : NULL;

  if (!l)
    return;
  l->owner = getpid();
  l->pidfd = csn_dup(s->pidfd, 3);
  lock();
  l->next = first_left;
  first_left = l;
  unlock();
}

int
csn_joined_reap(struct csn_spawn *s)
{
  int rc = 1;

  lock();
  if (!s->reaped)
    rc = csn_reap_pidfd(s->pidfd, &s->end, false);
  if (rc == 1)
    s->reaped = true;
  unlock();
  return rc;
}

bool
csn_joined_sweep(void)
{
  pid_t me = getpid();
  bool some = false;

  if (!first && !first_left)
    return false;
  lock();
  for (struct csn_spawn *s = first; s; s = s->next)
    if (s->owner == me && !s->reaped && s->pidfd >= 0) {
      some = true;
      if (csn_reap_pidfd(s->pidfd, &s->end, false) == 1)
        s->reaped = true;
    }
  for (struct left **at = &first_left; *at;) {
    struct left *l = *at;
    struct csn_ending end = { 0 };

    if (l->owner == me && l->pidfd >= 0 && csn_reap_pidfd(l->pidfd, &end, false) == 0) {
      some = true;
      at = &l->next;
      continue;
    }
    *at = l->next;
    if (l->owner == me)
      csn_close(l->pidfd);
    free(l);
  }
  unlock();
  return some;
}
