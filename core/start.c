/* SPDX-License-Identifier: MIT
 *
 * Starting a container that waits (wait.c): over a connection to its socket, by whoever may connect.
 */
#define _GNU_SOURCE
#include "spawn.h"
#include "cgroup.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The record, in a memfd that nobody can shrink below us. */
static int
make_record(struct csn_record **record)
{
  CSN_CLEANUP_FD int fd = memfd_create("caisson", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  void *at;

  if (fd < 0)
    return -errno;
  if (ftruncate(fd, sizeof(**record)) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
    return -errno;
  at = mmap(NULL, sizeof(**record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED)
    return -errno;
  *record = at;
  return csn_steal_fd(&fd);
}

/* A turn of the parent's, behind a courier: 0 or -errno, *at: the step. Each comes once, in the plan's order. */
static int
take_turn(struct csn_spawn *s, const struct csn_msg *m, int fd, s64 *at)
{
  int rc;

  if (m->step <= s->plan->wait || m->step >= s->plan->nsteps || m->step <= *at ||
      (m->kind != CSN_MSG_SLOT && m->kind != CSN_MSG_SYNC)) {
    csn_close(fd);
    return -EBADMSG;
  }
  *at = m->step;
  if (m->kind == CSN_MSG_SLOT)
    return csn_take_slot(s, m->step, fd);
  csn_close(fd);
  rc = csn_parent_steps(s, m->step, at);
  if (rc == 0)
    send(s->sock, "", 1, MSG_NOSIGNAL); /* if it has died meanwhile, the connection ends */
  return rc;
}

#define TICK 500      /* milliseconds */
#define PATIENCE 4000 /* for which it may be frozen */

static bool
is_frozen(int group)
{
  char text[256];

  if (csn_cgroup_read(group, "cgroup.events", text, sizeof(text)) >= 0)
    return strstr(text, "frozen 1") != NULL;
  return csn_cgroup_read(group, "freezer.state", text, sizeof(text)) >= 0 &&
         strncmp(text, "FROZEN", 6) == 0;
}

/* Until the connection is at its end. What is frozen meanwhile, by whoever it may be, holds nobody for ever. */
static int
await_answer(struct csn_spawn *s, int group, int pidfd)
{
  struct pollfd ready[] = { { .fd = s->sock, .events = POLLIN },
                            { .fd = s->cancel, .events = POLLIN } };
  struct csn_msg m;
  s64 at = -1;
  int n, fd, rc, frozen = 0;

  for (;;) {
    while ((n = poll(ready, 2, group < 0 ? -1 : TICK)) <= 0) {
      if (n < 0 && errno != EINTR)
        return -errno;
      if (n == 0)
        frozen = is_frozen(group) ? frozen + TICK : 0;
      if (frozen >= PATIENCE)
        return csn_detail(&s->ctx, -EBUSY, "it is frozen", NULL);
    }
    if (!ready[0].revents)
      return -ECANCELED;
    n = csn_recv(s->sock, &m, sizeof(m), &fd, MSG_DONTWAIT);
    if (n == -EAGAIN)
      continue;
    if (n <= 0)
      return n;
    if (n != sizeof(m)) {
      csn_close(fd);
      return -EBADMSG;
    }
    if ((rc = take_turn(s, &m, fd, &at)) < 0) {
      s->failed = true;
      s->fail_step = (u32)at;
      s->fail_errno = -rc;
      if (pidfd >= 0) /* it does not wait for an answer to all that it says */
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
      return 0;
    }
  }
}

/* What killed it, if it is gone; the status stays for who waits for it. */
static int
killed_by(int pidfd)
{
  struct pollfd gone = { .fd = pidfd, .events = POLLIN };
  struct csn_ending e = { 0 };
  siginfo_t si = { 0 };

  if (pidfd < 0 || csn_poll_for(&gone, 1, 0.5, true) <= 0)
    return 0;
  if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
    return si.si_code == CLD_EXITED ? 0 : si.si_status;
  return csn_reap_pidfd(pidfd, &e, false) == 1 ? e.signal : 0;
}

/* Take what the record says; others wrote it. */
static void
judge(struct csn_spawn *s, const struct csn_record *shared, int rc, int pidfd)
{
  const u32 nsteps = s->plan->nsteps;
  struct csn_msg m;

  if (s->failed) /* a step of this side's */
    return;
  memcpy(&m, &shared->msg, sizeof(m));
  s->exec_ns = m.exec_ns;
  s->fail_step = m.step < nsteps ? m.step : nsteps;
  if (rc < 0) {
    s->failed = true;
    s->fail_step = nsteps;
    s->fail_errno = -rc;
  } else if (m.kind == CSN_MSG_FAILED) {
    u32 n = m.detail_len < CSN_DETAIL - 1 ? m.detail_len : CSN_DETAIL - 1;

    s->failed = true;
    s->fail_errno = m.err > 0 && m.err < 4096 ? m.err : 0;
    s->died_by = m.signal;
    memcpy(s->ctx.detail, m.detail, n);
    s->ctx.detail[n] = 0;
    s->ctx.detail_len = n;
  } else if (m.kind != CSN_MSG_DONE || !shared->executing) {
    s->failed = true;
    s->died_by = killed_by(pidfd);
    if (m.kind != CSN_MSG_DONE && !s->died_by) { /* it has not taken the record */
      s->fail_step = nsteps;
      s->fail_errno = ECONNREFUSED;
      csn_detail(&s->ctx, 0, "it does not wait for its start, or for nobody from there", NULL);
    }
  }
  for (u32 i = 0; i < nsteps; i++)
    s->skipped[i] = shared->skipped[i];
}

/* core.start { socket =, plan =, pid =, pidfd =, cancel =, group = } -> { exec_ns, skipped } | nil, message, errno, failure */
static int
l_start(lua_State *L)
{
  static const char *const keys[] = { "socket", "plan", "pid", "pidfd", "cancel", "group", NULL };
  const struct csn_plan *p;
  struct csn_record *record = NULL;
  struct csn_spawn *s;
  lua_Number pid;
  int pidfd, group, fd, rc;
  size_t size;

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  lua_getfield(L, 1, "plan"); /* 2 */
  p = csn_check_plan(L, 2);
  if (p->wait >= p->nsteps)
    return luaL_error(L, "the plan has no wait step");
  size = sizeof(*s) + 2 * (size_t)p->nsteps;
  s = lua_newuserdata(L, size); /* 3 */
  memset(s, 0, size);
  s->L = L;
  s->plan = p;
  s->ctx.base = (const u8 *)p;
  s->skipped = (u8 *)(s + 1);
  s->done = s->skipped + p->nsteps;
  for (int k = 0; k < CSN_SLOTS; k++)
    s->ctx.slots[k] = -1;
  s->sock = csn_opt_fd(L, 1, "socket");
  if (s->sock < 0)
    return luaL_error(L, "option 'socket' is required");
  pid = csn_opt_num(L, 1, "pid", 0);
  if (!(pid >= 0 && pid <= 0x7fffffff))
    return luaL_error(L, "option 'pid': a process id expected");
  s->ctx.pid = (s32)pid;
  pidfd = csn_opt_fd(L, 1, "pidfd");
  s->cancel = csn_opt_fd(L, 1, "cancel");
  group = csn_opt_fd(L, 1, "group");

  fd = rc = make_record(&record);
  if (rc < 0)
    return csn_pusherr(L, -rc, "start: a memfd for the record");
  rc = csn_send_fd(s->sock, "", 1, fd);
  close(fd);
  if (rc == 0)
    rc = await_answer(s, group, pidfd);
  for (int k = 0; k < CSN_SLOTS; k++)
    csn_close(s->ctx.slots[k]);
  judge(s, record, rc == -EPIPE || rc == -ECONNRESET ? 0 : rc,
        pidfd); /* it is gone: why, its pidfd tells */
  munmap(record, sizeof(*record));
  if (s->failed)
    return csn_push_failure(L, s);
  lua_newtable(L);
  lua_pushnumber(L, (lua_Number)s->exec_ns);
  lua_setfield(L, -2, "exec_ns");
  lua_newtable(L);
  for (u32 i = 0; i < p->nsteps; i++)
    if (s->skipped[i]) {
      lua_pushinteger(L, s->skipped[i]);
      lua_rawseti(L, -2, (int)i + 1);
    }
  lua_setfield(L, -2, "skipped");
  return 1;
}

static void
open_start(lua_State *L)
{
  static const luaL_Reg functions[] = { { "start", l_start }, { NULL, NULL } };

  csn_register(L, "", functions);
}

CSN_OPEN(open_start)
