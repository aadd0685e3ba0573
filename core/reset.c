/* SPDX-License-Identifier: MIT
 *
 * What a run leaves in a pooled container beside files: System V and POSIX IPC objects, keys, and what a process
 * of the same user may change of the agent itself, which the next program would inherit. All of it is taken
 * away or put back, and then looked at once more.
 */
#include "agent.h"
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/utsname.h>

#ifdef CSN_RUNNER

#define WALL 0x40000000
#define RLIMITS 16

static int
tell(struct csn_answer *a, long rc, const char *what)
{
  a->detail_len = (u32)csn_append(a->detail, sizeof(a->detail), 0, what);
  return (int)rc;
}

/* ---- the agent's own attributes ---- */

struct attributes {
  u64 rlimit[RLIMITS][2];
  u8 cpus[1024];
  struct csn_sched_attr scheduler;
  s64 nice, ioprio;
  struct new_utsname names;
};
static struct attributes before, now;

static int
read_attributes(struct attributes *t)
{
  long rc = 0;

  __builtin_memset(t, 0, sizeof(*t));
  for (int i = 0; i < RLIMITS && rc >= 0; i++)
    rc = csn_sys(__NR_prlimit64, 0, i, NULL, t->rlimit[i]);
  if (rc >= 0)
    rc = csn_sys(__NR_sched_getaffinity, 0, sizeof(t->cpus), t->cpus);
  if (rc >= 0)
    rc = csn_sys(__NR_sched_getattr, 0, &t->scheduler, sizeof(t->scheduler), 0);
  if (rc >= 0)
    rc = t->nice = csn_sys(__NR_getpriority, 0, 0);
  if (rc >= 0)
    rc = t->ioprio = csn_sys(__NR_ioprio_get, 1, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_uname, &t->names);
  return rc < 0 ? (int)rc : 0;
}

static bool
same(const void *x, const void *y, size_t n)
{
  const u8 *a = x, *b = y;

  while (n--)
    if (*a++ != *b++)
      return false;
  return true;
}

static int
check_attributes(struct csn_answer *a)
{
  int rc = read_attributes(&now);

  if (rc < 0)
    return tell(a, rc, "the agent's attributes");
  if (same(&now, &before, sizeof(now)))
    return 0;
  for (int i = 0; i < RLIMITS; i++)
    csn_sys(__NR_prlimit64, 0, i, before.rlimit[i], NULL);
  csn_sys(__NR_sched_setaffinity, 0, sizeof(before.cpus), before.cpus);
  csn_sys(__NR_sched_setattr, 0, &before.scheduler, 0);
  csn_sys(__NR_ioprio_set, 1, 0, before.ioprio);
  if ((rc = read_attributes(&now)) < 0)
    return tell(a, rc, "the agent's attributes");
  return same(&now, &before, sizeof(now))
             ? 0
             : tell(a, -ESTALE,
                    "a run has changed limits, scheduling or names, and they can't be put back");
}

/* ---- IPC ---- */

enum {
  RMID = 0,
  MSG_STAT_ANY = 13,
  MSG_INFO = 12,
  SHM_INFO = 14,
  SHM_STAT_ANY = 15,
  SEM_INFO = 19,
  SEM_STAT_ANY
};

/* The words of each kind's information in which the number of objects is. */
static struct {
  int call, info, stat, count;
} const kinds[] = {
  { __NR_shmctl, SHM_INFO, SHM_STAT_ANY, 0 },
  { __NR_semctl, SEM_INFO, SEM_STAT_ANY, 7 },
  { __NR_msgctl, MSG_INFO, MSG_STAT_ANY, 0 },
};

static long
control(int call, long id, int command, void *buf)
{
  return call == __NR_semctl ? csn_sys(call, id, 0, command, buf) : csn_sys(call, id, command, buf);
}

static int
clean_ipc(struct csn_answer *a)
{
  u64 buf[64];
  long last, id;

  for (u32 k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
    last = control(kinds[k].call, 0, kinds[k].info, buf);
    if (last == -ENOSYS) /* a kernel without */
      continue;
    if (last < 0)
      return tell(a, last, "System V IPC");
    if (((u32 *)buf)[kinds[k].count] == 0)
      continue;
    for (long i = 0; i <= last; i++)
      if ((id = control(kinds[k].call, i, kinds[k].stat, buf)) >= 0 &&
          control(kinds[k].call, id, RMID, NULL) >= 0)
        a->numbers[CSN_RESET_IPC]++;
    last = control(kinds[k].call, 0, kinds[k].info, buf);
    if (last < 0 || ((u32 *)buf)[kinds[k].count] != 0)
      return tell(a, last < 0 ? last : -EBUSY, "a System V IPC object stays");
  }
  return 0;
}

/* POSIX message queues are files of their namespace's own filesystem, whether it is mounted or not. */
static int
own_queues(struct csn_answer *a)
{
  CSN_CLEANUP_FD int fs = (int)csn_sys(__NR_fsopen, "mqueue", FSOPEN_CLOEXEC);
  CSN_CLEANUP_FD int at = -1;
  int fd;
  long rc = fs;

  if (fs == -ENODEV)
    return 0;
  if (rc >= 0)
    rc = csn_sys(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
  if (rc >= 0)
    rc = at = (int)csn_sys(__NR_fsmount, fs, FSMOUNT_CLOEXEC, 0xe /* nosuid, nodev, noexec */);
  if (rc >= 0)
    rc = fd = (int)csn_sys(__NR_openat, at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (rc < 0)
    return tell(a, rc, "agent: mqueue");
  if ((rc = csn_clean_own_fd(fd, a)) < 0)
    csn_close(fd);
  return (int)rc;
}

/* ---- keys ---- */

/* A session keyring of its own and not the host's; another after each run. Without keyrings, or where a policy
 * keeps them from the agent, and so from all that it starts, there is nothing to part with. */
static int
new_session_keyring(void)
{
  long rc = csn_sys(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);

  return rc == -ENOSYS || rc == -EPERM || rc == -EOPNOTSUPP || rc > 0 ? 0 : (int)rc;
}

struct keys {
  const struct csn_ask *ask;
  bool own; /* the user's keyrings are of the container's user namespace, and not the host's too */
  u64 cleared;
  long rc;
};

/* How many bytes of key numbers are in the keyring. */
static long
bytes_in(long keyring)
{
  u32 first[2];

  return csn_sys(__NR_keyctl, KEYCTL_READ, keyring, first, sizeof(first), 0);
}

static u8 stack[16384] __attribute__((aligned(16)));

/* By who had them: as the program's user. */
static int
keys_child(void *arg)
{
  struct keys *k = arg;
  const long user = KEY_SPEC_USER_KEYRING;
  long n = 0;

  if (k->ask->ids & CSN_ASK_GROUPS)
    n = csn_sys(__NR_setgroups, 0, NULL);
  if (n >= 0 && k->ask->gid != CSN_NO_ID)
    n = csn_sys(__NR_setresgid, k->ask->gid, k->ask->gid, k->ask->gid);
  if (n >= 0 && k->ask->uid != CSN_NO_ID)
    n = csn_sys(__NR_setresuid, k->ask->uid, k->ask->uid, k->ask->uid);
  if (n >= 0)
    n = bytes_in(user);
  if (n == -ENOSYS || n == -EPERM || n == -EOPNOTSUPP) {
    n = 0;
  } else if (n > 0 && !k->own) {
    n = -EEXIST;
  } else if (n > 0) {
    k->cleared = (u64)n / 4;
    n = csn_sys(__NR_keyctl, KEYCTL_CLEAR, user);
    if (n >= 0)
      n = bytes_in(user);
    if (n > 0)
      n = -EBUSY;
  }
  /* the user's session keyring holds a link to the other, and that alone */
  if (n >= 0 && k->own && bytes_in(KEY_SPEC_USER_SESSION_KEYRING) > 4) {
    n = csn_sys(__NR_keyctl, KEYCTL_CLEAR, KEY_SPEC_USER_SESSION_KEYRING);
    if (n >= 0)
      n = csn_sys(__NR_keyctl, KEYCTL_LINK, user, KEY_SPEC_USER_SESSION_KEYRING);
  }
  if (n >= 0 && k->own) /* and the one that outlives its sessions; not every kernel has it */
    n = csn_sys(__NR_keyctl, KEYCTL_GET_PERSISTENT, -1, KEY_SPEC_PROCESS_KEYRING);
  if (n > 0 && k->own && bytes_in(n) > 0) {
    k->cleared += (u64)bytes_in(n) / 4;
    n = csn_sys(__NR_keyctl, KEYCTL_CLEAR, n);
  } else if (n == -ENOSYS || n == -EPERM || n == -EOPNOTSUPP) {
    n = 0;
  }
  k->rc = n < 0 ? n : 0;
  csn_leave(0);
}

static int
clean_keys(struct csn_answer *a, const struct csn_ask *ask, u64 own)
{
  struct keys k = { .ask = ask, .own = own & CLONE_NEWUSER, .rc = -ECANCELED };
  struct csn_clone_args ca = { .flags = CSN_CLONE_VM | CSN_CLONE_VFORK | CSN_CLONE_CLEAR_SIGHAND,
                               .stack = (u64)(uintptr_t)stack,
                               .stack_size = sizeof(stack) };
  long pid = csn_clone3(&ca, sizeof(ca), keys_child, &k);
  int rc;

  if (pid < 0)
    return tell(a, pid, "a child for the keys");
  CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, WALL, NULL));
  a->numbers[CSN_RESET_KEYS] = k.cleared;
  if (k.rc == -EEXIST)
    return tell(a, k.rc, "keys in the user keyring, which is the host's too");
  if (k.rc < 0)
    return tell(a, k.rc, "the user keyring");
  rc = new_session_keyring();
  return rc < 0 ? tell(a, rc, "a session keyring") : 0;
}

/* ---- all of it ---- */

int
csn_reset_begin(struct csn_answer *a, u64 own)
{
  int rc = read_attributes(&before);

  if (rc < 0)
    return tell(a, rc, "the agent's attributes");
  if ((rc = new_session_keyring()) < 0)
    return tell(a, rc, "a session keyring");
  return own & CLONE_NEWIPC ? own_queues(a) : 0;
}

int
csn_reset(struct csn_answer *a, const struct csn_ask *ask, u64 own)
{
  int rc = own & CLONE_NEWIPC
               ? clean_ipc(a)
               : tell(a, -EOPNOTSUPP, "the container needs an ipc namespace of its own");

  if (rc == 0)
    rc = csn_clean_files(a);
  if (rc == 0 && !(ask->ids & CSN_ASK_NO_KEYS))
    rc = clean_keys(a, ask, own);
  return rc < 0 ? rc : check_attributes(a);
}

#endif
