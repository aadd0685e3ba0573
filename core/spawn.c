/* SPDX-License-Identifier: MIT
 *
 * Running a plan: start the runner (or fork), answer its syncs with the parent's steps, take its report.
 *
 * The host process is somebody's application. It is never forked, but for Lua steps of the child's side;
 * the runner is started by clone3(CLONE_VM | CLONE_VFORK) and exec, which costs the same from a heap of
 * any size and, on a stack of the calling thread's own, is safe with other threads running.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "spawn.h"
#include <linux/close_range.h>
#include <linux/memfd.h>
#include <linux/prctl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the runner's program ---- */

extern const u8 csn_runner_start[], csn_runner_end[];

static int runner_fd = -1;

/* A sealed memfd: what a container finds as its exe can't be written, whatever it opens. Made once for
 * the process. */
static int
make_runner(void)
{
  size_t size = (size_t)(csn_runner_end - csn_runner_start), done = 0;
  CSN_CLEANUP_FD int fd = -1;

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
  fd = memfd_create("caisson", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* before 6.3 all memfds are executable, and the flag unknown */
    fd = memfd_create("caisson", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0)
    return -errno;
  while (done < size) {
    ssize_t n = write(fd, csn_runner_start + done, size - done);

    if (n < 0)
      return -errno;
    done += (size_t)n;
  }
  if (fchmod(fd, 0555) < 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return -errno;
  return csn_above_stdio(csn_steal_fd(&fd));
}

/* Where policy forbids executing memfds (vm.memfd_noexec=2) the installed file serves: it stands above
 * the folder of core.so, or of the command; installed, that is lib/lua/5.1. */
static int
open_installed_runner(void)
{
  static const char *const places[] = { "/../caisson-runner", "/../lib/lua/5.1/caisson-runner" };
  char path[PATH_MAX];
  const char *end;
  Dl_info info;

  if (!dladdr((const void *)(uintptr_t)csn_undo, &info) || !info.dli_fname)
    return -ENOENT;
  end = strrchr(info.dli_fname, '/');
  for (size_t i = 0; end && i < sizeof(places) / sizeof(*places); i++) {
    int fd;

    if (snprintf(path, sizeof(path), "%.*s%s", (int)(end - info.dli_fname), info.dli_fname,
                 places[i]) >= (int)sizeof(path))
      continue;
    fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0)
      return csn_above_stdio(fd);
  }
  return -ENOENT;
}

/* Without a lock, which a fork of the host could find held for ever. */
static int
get_runner(void)
{
  int fd = __atomic_load_n(&runner_fd, __ATOMIC_ACQUIRE), none = -1;

  if (fd >= 0)
    return fd;
  fd = make_runner();
  if (fd == -EACCES || fd == -EPERM || fd == -ENOSYS) {
    int installed = open_installed_runner();

    fd = installed >= 0 ? installed : fd;
  }
  if (fd < 0)
    return fd;
  if (__atomic_compare_exchange_n(&runner_fd, &none, fd, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return fd;
  close(fd); /* another thread was first */
  return none;
}

/* ---- starting it ---- */

struct start {
  int runner, sock;
  bool keep; /* the runner's program, for its child to become init */
  const s32 *slots;
  int err;
};

/* In the vforked child, on the parent's memory: raw system calls, nothing else. The runner gets the
 * socket and the slots under the numbers that they have here, and no other descriptor. It never returns,
 * so what a sanitizer notes of its frame would stay in the parent's memory. */
__attribute__((no_sanitize("address"))) static int
start_runner(void *arg)
{
  struct start *st = arg;
  char number[16] = "";
  const char *argv[] = { "caisson", number, NULL }, *env[] = { NULL };
  long rc = csn_sys(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);

  for (int i = 0; rc >= 0 && i < CSN_SLOTS; i++)
    if (st->slots[i] >= 0)
      rc = csn_sys(__NR_fcntl, st->slots[i], F_SETFD, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_fcntl, st->sock, F_SETFD, 0);
  if (rc >= 0 && st->keep)
    rc = csn_sys(__NR_fcntl, st->runner, F_SETFD, 0);
  csn_append_u64(number, sizeof(number), 0, (u64)st->sock);
  if (rc >= 0)
    rc = csn_sys(__NR_execveat, st->runner, "", argv, env, AT_EMPTY_PATH);
  st->err = (int)-rc;
  return 127;
}

static int
spawn_runner(struct csn_spawn *s, int sock)
{
  u8 stack[16384] __attribute__((aligned(16)));
  struct start st = { .sock = sock, .slots = s->header.slots, .keep = s->header.runner >= 0 };
  struct csn_clone_args ca = {
    .flags = CSN_CLONE_VM | CSN_CLONE_VFORK | CSN_CLONE_CLEAR_SIGHAND | CSN_CLONE_PIDFD,
    .pidfd = (u64)(uintptr_t)&s->runner,
    .exit_signal = SIGCHLD,
    .stack = (u64)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  u64 all = ~0ull, old;
  long pid;

  st.runner = get_runner();
  if (st.runner < 0)
    return st.runner;
  /* No handler of the host's may run in the child. The runner's child sets its own mask before exec. */
  csn_sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
  pid = csn_clone3(&ca, sizeof(ca), start_runner, &st);
  csn_sys(__NR_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
  return pid < 0 ? (int)pid : -st.err;
}

/* The run record and the plan. The first message is there before the runner is: it need not wait, and
 * an empty socket takes one message of any size that it takes at all. */
static int
send_first(struct csn_spawn *s)
{
  size_t n = s->plan->size < CSN_CHUNK ? s->plan->size : CSN_CHUNK;
  struct iovec iov[2] = { { &s->header, sizeof(s->header) }, { (void *)(uintptr_t)s->plan, n } };
  struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

  return sendmsg(s->sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int
send_rest(struct csn_spawn *s)
{
  for (u32 off = CSN_CHUNK; off < s->plan->size; off += CSN_CHUNK) {
    size_t n = s->plan->size - off < CSN_CHUNK ? s->plan->size - off : CSN_CHUNK;

    if (CSN_RETRY(send(s->sock, (const u8 *)s->plan + off, n, MSG_NOSIGNAL) < 0 ? -errno : 0) < 0)
      return -errno;
  }
  return 0;
}

/* ---- the fork, for Lua steps ---- */

/* Push the run's function called name; 0 or -ENOENT. */
static int
push_function(struct csn_spawn *s, const char *name)
{
  lua_State *L = s->L;

  if (!s->functions)
    return -ENOENT;
  lua_pushstring(L, name);
  lua_rawget(L, s->functions); /* no metamethod may raise here */
  if (lua_isfunction(L, -1))
    return 0;
  lua_pop(L, 1);
  return -ENOENT;
}

static int
traceback(lua_State *L)
{
  if (!lua_isstring(L, 1))
    return 1;
  lua_getglobal(L, "debug");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "traceback");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 2);
    if (lua_isfunction(L, -3) && lua_pcall(L, 2, 1, 0) == 0)
      return 1;
  }
  lua_settop(L, 1);
  return 1;
}

/* Call the function called name with the run's state; nil, err and a raise are failures. The message
 * goes into the detail, its errno (third value) becomes the step's. */
static int
call_lua(struct csn_spawn *s, struct csn_ctx *c, const char *name)
{
  lua_State *L = s->L;
  int top = lua_gettop(L), rc = push_function(s, name);

  if (rc < 0)
    return csn_detail(c, rc, "the run has no function called ", name);
  lua_pushcfunction(L, traceback);
  lua_insert(L, -2);
  lua_pushinteger(L, c->pid);
  if (lua_pcall(L, 1, 3, top + 1) != 0) {
    rc = -ECANCELED;
    csn_detail(c, rc, lua_isstring(L, -1) ? lua_tostring(L, -1) : "(an error that is no string)",
               NULL);
  } else if (lua_isnil(L, -3) && lua_isstring(L, -2)) {
    rc = lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 &&
                 lua_tonumber(L, -1) < 256 /* a byte, where an optional step is noted */
             ? -(int)lua_tonumber(L, -1)
             : -ECANCELED;
    csn_detail(c, rc, lua_tostring(L, -2), NULL);
  } else {
    rc = 0;
  }
  lua_settop(L, top);
  return rc;
}

static int
lua_step(struct csn_run *run, const char *name)
{
  int rc = call_lua(run->lua, &run->ctx, name);

  fflush(NULL); /* exec would drop what the function printed */
  return rc;
}

/* libgcc's table of stack frames, which every Lua error looks into and every compiled trace is entered in,
 * has a lock that no atfork handler knows. Held by another of the host's threads at the instant of the
 * fork, it is held in the fork for ever. So the fork looks into the table once, under an alarm that ends
 * it, for the host to fork again; and it compiles nothing, since a first entry is not to be seen there. */
static void *(*find_frame)(void *pc, void *bases);

static void
outlive_locks(lua_State *L)
{
  const struct itimerval late = { .it_value = { .tv_usec = 300000 } }, never = { 0 };
  struct sigaction by_default = { .sa_handler = SIG_DFL }, old_action;
  sigset_t alarm_alone, old_mask;
  void *bases[3];

  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "jit");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "off");
    lua_call(L, 0, 0);
  }
  lua_pop(L, 2);
  if (!find_frame)
    return;
  sigemptyset(&alarm_alone);
  sigaddset(&alarm_alone, SIGALRM);
  sigaction(SIGALRM, &by_default, &old_action);
  sigprocmask(SIG_UNBLOCK, &alarm_alone, &old_mask);
  setitimer(ITIMER_REAL, &late, NULL);
  find_frame((void *)(uintptr_t)outlive_locks, bases);
  setitimer(ITIMER_REAL, &never, NULL);
  sigprocmask(SIG_SETMASK, &old_mask, NULL);
  sigaction(SIGALRM, &old_action, NULL);
}

/* The fork's whole life; called by lua_pcall, so that no raise can lead back into the host's script, which
 * would then run twice. */
static int
l_forked(lua_State *L)
{
  struct csn_spawn *s = lua_touserdata(L, 1);
  struct csn_run run = { .plan = s->plan,
                         .sock = s->child_sock,
                         .fail_step = s->header.fail_step,
                         .fail_errno = s->header.fail_errno,
                         .runner = s->header.runner,
                         .lua_step = lua_step,
                         .lua = s };
  char go;

  s->functions = lua_istable(L, 2) ? 2 : 0;
  outlive_locks(L);
  /* Nothing is made before the host has a hold on this process. */
  if (send(run.sock, "", 1, MSG_NOSIGNAL) != 1 ||
      CSN_RETRY(csn_sys(__NR_recvfrom, run.sock, &go, 1, 0, 0, 0)) != 1)
    _exit(0);
  run.record =
      mmap(NULL, sizeof(*run.record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (run.record != MAP_FAILED) {
    run.ctx = s->ctx;
    run.ctx.pid = 0;
    run.ctx.base = (const u8 *)s->plan;
    csn_make_child(&run);
  }
  _exit(0);
}

/* In the fork: glibc's fork has run the atfork handlers, so Lua and malloc work here whatever the host's
 * other threads held; csn_make_child then clones once more, with the namespaces, from a process of one
 * thread. */
_Noreturn static void
forked(struct csn_spawn *s)
{
  csn_sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  lua_pushvalue(s->L, s->entry);
  lua_pushlightuserdata(s->L, s);
  if (s->functions)
    lua_pushvalue(s->L, s->functions);
  else
    lua_pushnil(s->L);
  lua_pcall(s->L, 2, 0, 0);
  _exit(0);
}

/* Wait for the fork's first word: 0, or -EAGAIN where the alarm has ended it. */
static int
await_fork(struct csn_spawn *s)
{
  struct pollfd fds[2] = { { .fd = s->sock, .events = POLLIN },
                           { .fd = s->runner, .events = POLLIN } };
  char ready;

  while (poll(fds, 2, -1) < 0)
    if (errno != EINTR)
      return -errno;
  if (!fds[0].revents) {
    csn_reap_runner(s);
    if (s->died_by != SIGALRM)
      return 0; /* its report's absence says so */
    s->died_by = 0;
    return -EAGAIN;
  }
  return recv(s->sock, &ready, 1, 0) < 0 ? -errno : 0;
}

static int
fork_once(struct csn_spawn *s)
{
  pid_t pid = fork();
  int err;

  if (pid < 0)
    return -errno;
  if (pid == 0) {
    close(s->sock);
    forked(s);
  }
  s->runner = (int)syscall(SYS_pidfd_open, pid, 0);
  if (s->runner >= 0)
    return await_fork(s);
  err = errno;
  kill(pid, SIGKILL);
  CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, 0, 0));
  return -err;
}

static int
spawn_fork(struct csn_spawn *s, int child_sock)
{
  int rc = -EAGAIN;

  s->child_sock = child_sock;
  find_frame = (void *(*)(void *, void *))(uintptr_t)dlsym(RTLD_DEFAULT, "_Unwind_Find_FDE");
  fflush(NULL); /* or the child prints it a second time */
  for (int tries = 0; rc == -EAGAIN && tries < 20; tries++)
    rc = fork_once(s);
  if (rc == 0)
    send(s->sock, "", 1, MSG_NOSIGNAL);
  return rc;
}

/* ---- the host's part ---- */

static u64
monotonic_ns(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* One step of the parent's side; it is noted, to be undone in reverse. */
static int
parent_step(struct csn_spawn *s, u32 i)
{
  const struct csn_step *st = csn_plan_step(s->plan, i);
  const struct csn_primitive *p = csn_step_prim(st);
  const void *args = (const u8 *)s->plan + st->args;
  int rc;

  s->ctx.detail_len = 0;
  s->ctx.detail[0] = 0;
  if (s->header.fail_errno && s->header.fail_step == i)
    rc = -s->header.fail_errno;
  else if (p->action == CSN_ACT_LUA)
    rc = call_lua(s, &s->ctx, csn_s(&s->ctx, ((const struct engine_lua_args *)args)->name));
  else
    rc = p->apply(args, &s->ctx);
  if (rc >= 0) {
    s->done[i] = (u8)(1 + rc);
    rc = 0;
  } else if (st->flags & CSN_STEP_OPTIONAL) {
    s->skipped[i] = (u8)-rc;
    rc = 0;
  }
  return rc;
}

void
csn_undo(struct csn_spawn *s)
{
  for (u32 i = s->plan->nsteps; i-- > 0;) {
    const struct csn_step *st = csn_plan_step(s->plan, i);
    const struct csn_primitive *p = csn_step_prim(st);

    s->ctx.made = s->done[i] - 1;
    if (s->done[i] && p->undo)
      p->undo((const u8 *)s->plan + st->args, &s->ctx);
    s->done[i] = 0;
  }
}

/* A message; *fd: the descriptor that came with it, else -1. */
static int
receive(struct csn_spawn *s, void *buf, size_t size, int *fd)
{
  struct pollfd ready[] = { { .fd = s->sock, .events = POLLIN },
                            { .fd = s->cancel, .events = POLLIN } };
  struct iovec iov = { .iov_base = buf, .iov_len = size };
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr msg = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof(control.bytes) };
  struct cmsghdr *c;
  ssize_t n;

  *fd = -1;
  if (s->cancel >= 0) {
    while (poll(ready, 2, -1) < 0 && errno == EINTR)
      ;
    if (ready[1].revents && !ready[0].revents)
      return -ECANCELED;
  }
  /* ECONNRESET comes once, when the other side has gone without reading all; what it sent comes after it. */
  do
    n = recvmsg(s->sock, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && (errno == EINTR || errno == ECONNRESET));
  if (n < 0)
    return -errno;
  c = CMSG_FIRSTHDR(&msg);
  if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
      c->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(fd, CMSG_DATA(c), sizeof(int));
  return (int)n;
}

/* What the step sent goes into its slot; 0 or -errno. The descriptor is ours to keep or to close. */
static int
take_slot(struct csn_spawn *s, u32 step, int fd)
{
  const struct csn_step *st;

  if (fd < 0 || step >= s->plan->nsteps)
    return -EBADMSG;
  st = csn_plan_step(s->plan, step);
  if (csn_step_prim(st)->action != CSN_ACT_SEND) {
    close(fd);
    return -EBADMSG;
  }
  return csn_fill(&s->ctx, ((const struct engine_send_args *)((const u8 *)s->plan + st->args))->fd,
                  fd);
}

/* The child's pidfd comes with its first message; without (no descriptor was free) one is opened here. */
static int
remember_child(struct csn_spawn *s, s32 pid)
{
  if (s->pid > 0 || pid <= 0)
    return 0;
  s->ctx.pid = s->pid = pid;
  if (s->pidfd < 0)
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (s->pidfd < 0 && errno == ESRCH)
    s->stolen = true; /* reaped by the host; its report is still to come */
  return s->pidfd < 0 && !s->stolen ? -errno : 0;
}

static void
set_failure(struct csn_spawn *s, u32 step, int err)
{
  s->failed = true;
  s->fail_step = step;
  s->fail_errno = err;
}

/* The last step for which the child needs its host, or -1. */
static s64
last_turn(const struct csn_plan *p)
{
  s64 i;

  for (i = (s64)p->nsteps - 1; i >= 0; i--) {
    const struct csn_step *st = csn_plan_step(p, (u32)i);

    /* before clone the parent's steps are done already; without a clone none are */
    if (st->side == CSN_PARENT ? p->clone == p->nsteps || (u32)i > p->clone
                               : csn_step_prim(st)->action == CSN_ACT_SEND)
      break;
  }
  return i;
}

/* False where construction is given up before. */
static bool
runner_ends(struct csn_spawn *s)
{
  struct pollfd ready[] = { { .fd = s->runner, .events = POLLIN },
                            { .fd = s->cancel, .events = POLLIN } };

  if (s->cancel < 0 || s->runner < 0)
    return true;
  while (poll(ready, 2, -1) < 0 && errno == EINTR)
    ;
  return ready[0].revents || !ready[1].revents;
}

/* Answer the child until it has become the program, or has failed. */
static void
attend(struct csn_spawn *s)
{
  s64 last = last_turn(s->plan), turn = -1;
  struct csn_msg m;
  int rc, fd;

  for (;;) {
    /* With nothing left to answer, its creator's end is the one event worth waking up for: all that was
     * said is then there to be read. (A report of very many steps might not fit in the socket.) */
    if (turn >= last && s->plan->nsteps <= 1024) {
      if (!runner_ends(s)) {
        set_failure(s, s->plan->nsteps, ECANCELED);
        return;
      }
      csn_reap_runner(s);
    }
    rc = receive(s, &m, sizeof(m), &fd);
    if (fd >= 0 && rc == sizeof(m) && m.kind == CSN_MSG_HELLO && s->pidfd < 0) {
      s->pidfd = fd;
    } else if (fd >= 0 && (rc != sizeof(m) || m.kind != CSN_MSG_SLOT)) {
      close(fd);
      rc = -EBADMSG;
    }
    if (rc != sizeof(m)) {
      /* The end without a report: killed together with its creator, by the OOM killer for one. */
      set_failure(s, s->plan->nsteps, rc < 0 ? -rc : 0);
      return;
    }
    if ((rc = remember_child(s, m.pid)) < 0) {
      if (m.kind == CSN_MSG_SLOT)
        csn_close(fd);
      csn_detail(&s->ctx, rc, "a descriptor for the child", NULL);
      set_failure(s, s->plan->nsteps, -rc);
      return;
    }
    if (m.kind != CSN_MSG_HELLO)
      turn = m.step;
    switch (m.kind) {
    case CSN_MSG_HELLO:
      break;
    case CSN_MSG_SLOT:
      if ((rc = take_slot(s, m.step, fd)) < 0) {
        set_failure(s, s->plan->nsteps, -rc);
        return;
      }
      break;
    case CSN_MSG_SYNC:
      for (u32 i = m.step; i < s->plan->nsteps && csn_plan_step(s->plan, i)->side == CSN_PARENT;
           i++)
        if ((rc = parent_step(s, turn = i)) < 0) {
          set_failure(s, i, -rc);
          return;
        }
      send(s->sock, "", 1, MSG_NOSIGNAL); /* if it has died meanwhile, its report says so */
      break;
    case CSN_MSG_DONE:
    case CSN_MSG_FAILED:
      s->exec_ns = m.exec_ns;
      if (m.nskipped)
        for (u32 i = 0; i < s->plan->nsteps; i += 256) {
          u8 chunk[256];

          if (receive(s, chunk, sizeof(chunk), &fd) <= 0)
            break;
          for (u32 k = 0; k < 256 && i + k < s->plan->nsteps; k++)
            if (chunk[k])
              s->skipped[i + k] = chunk[k];
        }
      if (m.kind == CSN_MSG_FAILED) {
        u32 n = m.detail_len < CSN_DETAIL - 1 ? m.detail_len : CSN_DETAIL - 1;

        set_failure(s, m.step, m.err);
        s->died_by = m.signal;
        memcpy(s->ctx.detail, m.detail, n);
        s->ctx.detail[n] = 0;
        s->ctx.detail_len = n;
      }
      return;
    default:
      set_failure(s, s->plan->nsteps, EBADMSG);
      return;
    }
  }
}

/* Reap by pidfd; returns the signal that ended it, or 0. */
static int
reap_fd(int pidfd)
{
  siginfo_t si = { 0 };

  while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | __WALL) < 0)
    if (errno != EINTR)
      return 0; /* the host has taken it */
  return si.si_code == CLD_EXITED ? 0 : si.si_status;
}

void
csn_reap_runner(struct csn_spawn *s)
{
  int signal;

  if (s->runner < 0)
    return;
  signal = reap_fd(s->runner);
  if (!s->died_by) /* else the child's init has told */
    s->died_by = signal;
  close(s->runner);
  s->runner = -1;
}

/* Who is frozen by cgroup v1 does not even die, until the undoing of its group has thawed it; the same goes
 * for the runner, which is in that group too. */
void
csn_kill_child(struct csn_spawn *s)
{
  struct pollfd pfd = { .fd = s->pidfd, .events = POLLIN };

  syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
  if (poll(&pfd, 1, 100) == 0)
    csn_undo(s);
}

/* The child may be there and not have been heard of yet. Once its creator is gone nobody else holds the
 * socket's other end: either its greeting comes, or the end. */
static void
find_child(struct csn_spawn *s)
{
  struct csn_msg m;
  int rc, fd;

  s->cancel = -1;
  while (s->pid <= 0 && (rc = receive(s, &m, sizeof(m), &fd)) > 0) {
    if (fd >= 0 && rc == sizeof(m) && m.kind == CSN_MSG_HELLO && s->pidfd < 0)
      s->pidfd = fd;
    else
      csn_close(fd);
    if (rc == sizeof(m))
      remember_child(s, m.pid);
  }
}

/* Kill what was started, reap it, take back the parent's steps. */
static void
abandon(struct csn_spawn *s)
{
  int signal;

  if (s->pid <= 0 && s->runner >= 0) {
    syscall(SYS_pidfd_send_signal, s->runner, SIGKILL, NULL, 0);
    csn_reap_runner(s);
  }
  if (s->pid <= 0 && s->sock >= 0)
    find_child(s);
  if (s->pidfd >= 0)
    csn_kill_child(s);
  else if (s->pid > 0 && !s->stolen) /* no descriptor was left for it */
    kill(s->pid, SIGKILL);
  csn_close(s->sock);
  s->sock = -1;
  csn_reap_runner(s);
  if (s->pidfd >= 0) {
    signal = reap_fd(s->pidfd);
    if (!s->died_by) /* else it was killed for its creator's death */
      s->died_by = signal;
    close(s->pidfd);
    s->pidfd = -1;
  } else if (s->pid > 0 && !s->stolen) {
    CSN_RETRY(csn_sys(__NR_wait4, s->pid, NULL, __WALL, 0));
  }
  csn_undo(s);
}

static void
run_plan(struct csn_spawn *s)
{
  int pair[2] = { -1, -1 };
  u32 i;
  int rc;

  s->start_ns = monotonic_ns();
  for (i = 0; i < s->plan->clone && s->plan->clone < s->plan->nsteps; i++)
    if (csn_plan_step(s->plan, i)->side == CSN_PARENT && (rc = parent_step(s, i)) < 0) {
      set_failure(s, i, -rc);
      abandon(s);
      return;
    }
  for (i = 0; i < CSN_SLOTS; i++)
    s->header.slots[i] = s->ctx.slots[i];
  s->header.plan_size = s->plan->size;
  s->header.runner = csn_exec_args(s->plan)->init ? get_runner() : -1;
  rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
  if (rc == 0) {
    s->sock = csn_above_stdio(pair[0]);
    pair[1] = csn_above_stdio(pair[1]);
    rc = s->sock < 0 ? s->sock : pair[1] < 0 ? pair[1] : 0;
  }
  if (rc == 0 && !s->fork)
    rc = send_first(s);
  if (rc == 0)
    rc = s->fork ? spawn_fork(s, pair[1]) : spawn_runner(s, pair[1]);
  csn_close(pair[1]);
  if (rc == 0 && !s->fork)
    rc = send_rest(s);
  if (rc < 0 &&
      rc != -EPIPE) { /* that is the runner's death, of which the report's absence tells */
    csn_detail(&s->ctx, rc, s->fork ? "fork" : "starting the runner", NULL);
    set_failure(s, s->plan->nsteps, -rc);
    abandon(s);
    return;
  }
  attend(s);
  if (s->failed) {
    abandon(s);
    return;
  }
  csn_reap_runner(s);
  s->init = csn_exec_args(s->plan)->init;
  if (s->init) /* it will tell how the program ended */
    return;
  csn_close(s->sock);
  s->sock = -1;
}

/* nil, message, errno, failure */
static int
push_failure(lua_State *L, struct csn_spawn *s)
{
  const struct csn_plan *p = s->plan;
  bool in_step = s->fail_step < p->nsteps;
  const char *name = "run";
  luaL_Buffer b;
  int failure;

  lua_newtable(L);
  failure = lua_gettop(L);
  luaL_buffinit(L, &b);
  if (in_step) {
    const struct csn_step *st = csn_plan_step(p, s->fail_step);

    name = csn_step_prim(st)->name;
    csn_push_object(L, p, st);
    lua_setfield(L, failure, "object");
    lua_pushinteger(L, (lua_Integer)s->fail_step + 1);
    lua_setfield(L, failure, "number");
    lua_pushinteger(L, (lua_Integer)csn_plan_nth(p, s->fail_step));
    lua_setfield(L, failure, "index");
    lua_pushstring(L, st->side == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, failure, "side");
  }
  lua_pushstring(L, name);
  lua_setfield(L, failure, "step");
  lua_pushinteger(L, s->fail_errno);
  lua_setfield(L, failure, "errno");
  if (s->fail_errno) {
    lua_pushstring(L, csn_errname(s->fail_errno));
    lua_setfield(L, failure, "code");
  }
  if (s->died_by && !s->fail_errno) {
    lua_pushinteger(L, s->died_by);
    lua_setfield(L, failure, "signal");
  }
  if (s->ctx.detail_len) {
    lua_pushlstring(L, s->ctx.detail, s->ctx.detail_len);
    lua_setfield(L, failure, "detail");
  }
  lua_pushnil(L);
  if (in_step) {
    lua_pushfstring(L, "step %d, %s[%d] ", (int)s->fail_step + 1, name,
                    (int)csn_plan_nth(p, s->fail_step));
    lua_getfield(L, failure, "object");
  } else {
    lua_pushliteral(L, "");
    lua_pushliteral(L, "the container");
  }
  if (s->ctx.detail_len)
    lua_pushfstring(L, ": %s", s->ctx.detail);
  else
    lua_pushliteral(L, "");
  if (s->fail_errno)
    lua_pushfstring(L, ": %s (%s)",
                    strerrordesc_np(s->fail_errno) ? strerrordesc_np(s->fail_errno)
                                                   : "Unknown error",
                    csn_errname(s->fail_errno) ? csn_errname(s->fail_errno) : "?");
  else if (s->died_by)
    lua_pushfstring(L, ": killed by signal %d (%s) before its program was executed", s->died_by,
                    sigabbrev_np(s->died_by) ? sigabbrev_np(s->died_by) : "?");
  else
    lua_pushliteral(L, ": ended before its program was executed");
  lua_concat(L, 4);
  lua_pushinteger(L, s->fail_errno);
  lua_pushvalue(L, failure);
  return 4;
}

/* The run has its own copy: the caller's may be closed by a hook meanwhile. A standard stream that exec
 * would close is none: the host has closed its own, and something that must not leave it took the number. */
static int
take_descriptor(int fd)
{
  int flags = fd <= 2 ? fcntl(fd, F_GETFD) : 0;

  return flags < 0 || (flags & FD_CLOEXEC) ? -EBADF : csn_dup(fd, 3);
}

/* core.spawn { plan =, slots =, functions =, fork =, fail = { step =, errno = } }
 *   -> process | nil, message, errno, failure */
static int
l_spawn(lua_State *L)
{
  static const char *const keys[] = {
    "plan", "slots", "functions", "fork", "fail", "cancel", NULL
  };
  const struct csn_plan *p;
  struct csn_spawn *s;
  bool given[CSN_SLOTS] = { false };

  lua_settop(L, 1);
  csn_checkkeys(L, 1, keys);
  lua_getfield(L, 1, "plan"); /* 2 */
  p = csn_check_plan(L, 2);
  if (p->exec >= p->nsteps)
    return luaL_error(L, "the plan has no exec step");
  lua_getfield(L, 1, "functions"); /* 3 */
  if (!lua_isnil(L, 3))
    luaL_checktype(L, 3, LUA_TTABLE);
  s = csn_newprocess(L, p); /* 4 */
  s->L = L;
  s->functions = lua_isnil(L, 3) ? 0 : 3;
  lua_pushcfunction(L, l_forked); /* 5: now, while it may raise */
  s->entry = 5;
  luaL_checkstack(L, LUA_MINSTACK, "spawn");
  s->fork = csn_opt_bool(L, 1, "fork", false);
  s->cancel = csn_opt_fd(L, 1, "cancel");
  if (csn_field(L, 1, "slots")) {
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      s64 k;

      if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "slots are named by strings");
      k = csn_plan_slot(p, lua_tostring(L, -2));
      if (k < 0)
        return luaL_error(L, "the plan has no slot called '%s'", lua_tostring(L, -2));
      s->ctx.slots[k] = take_descriptor(csn_tofd(L, -1));
      if (s->ctx.slots[k] < 0) {
        int err = -s->ctx.slots[k];

        csn_release_process(s);
        return csn_pusherr(L, err, "slot %s: descriptor %d", lua_tostring(L, -2), csn_tofd(L, -1));
      }
      given[k] = true;
    }
    lua_pop(L, 1);
  }
  if (csn_field(L, 1, "fail")) {
    static const char *const fail_keys[] = { "step", "errno", NULL };

    csn_checkkeys(L, -1, fail_keys);
    s->header.fail_step = (u32)csn_opt_num(L, -1, "step", 1) - 1;
    s->header.fail_errno = (s32)csn_opt_num(L, -1, "errno", 0);
    lua_pop(L, 1);
  }
  for (u32 i = 0; i < p->nsteps && !s->fork; i++) {
    const struct csn_step *st = csn_plan_step(p, i);

    if (csn_step_prim(st)->action == CSN_ACT_LUA && st->side == CSN_CHILD)
      s->fork = true;
  }
  run_plan(s);
  s->cancel = -1;
  s->L = NULL;
  s->functions = s->entry = 0;
  /* Only what steps have filled is kept: a pipe's reader waits for its last writer. */
  for (int k = 0; k < CSN_SLOTS; k++)
    if (given[k]) {
      csn_close(s->ctx.slots[k]);
      s->ctx.slots[k] = -1;
    }
  if (s->failed) {
    int n = push_failure(L, s);

    csn_release_process(s);
    return n;
  }
  lua_settop(L, 4);
  return 1;
}

static void
open_spawn(lua_State *L)
{
  lua_pushcfunction(L, l_spawn);
  lua_setfield(L, -2, "spawn");
}

CSN_OPEN(open_spawn)
