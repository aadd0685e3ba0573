/* SPDX-License-Identifier: MIT
 *
 * Taking back what the steps of the host's side made: the host's end of a veth is removed, a device that was
 * moved into the container comes back.
 *
 * The kernel does most of it when a network namespace ends, though some time later: a veth goes with its
 * other end. But of the devices that were moved it brings back the physical ones only, to the first of all
 * namespaces, and the others it destroys.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "link.h"
#include "procfs.h"
#include <linux/sched.h>

int
csn_link_undo_veth(const void *args, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int sock = csn_netlink_open(c);
  char host[IFNAMSIZ];
  int rc = csn_host_name(args, c, host);

  return sock < 0 ? sock : rc < 0 ? rc : csn_link_delete(sock, host, c);
}

/* ---- a socket in another namespace ---- */

struct visit {
  int netns, sock;
  struct csn_ctx *c;
};

/* On the host's memory and descriptors, but with namespaces of its own: raw system calls, nothing else. */
__attribute__((no_sanitize("address"))) static int
open_there(void *arg)
{
  struct visit *v = arg;
  long rc = csn_sys(__NR_setns, v->netns, CLONE_NEWNET);

  v->sock = rc < 0 ? (int)rc : csn_netlink_open(v->c);
  return 0;
}

/* The host never leaves its namespace: a helper that shares its descriptors opens the socket. No process of
 * the container can reach it there, as a network namespace is all that it enters. */
static int
socket_in(int netns, struct csn_ctx *c)
{
  u8 stack[8192] __attribute__((aligned(16)));
  struct visit v = { netns, -ESRCH, c };
  struct csn_clone_args ca = {
    .flags = CSN_CLONE_VM | CSN_CLONE_VFORK | CLONE_FILES | CSN_CLONE_CLEAR_SIGHAND,
    .exit_signal = 0, /* which no handler of the host's hears of */
    .stack = (u64)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  u64 all = ~0ull, old;
  long pid;

  csn_sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &old, 8);
  pid = csn_clone3(&ca, sizeof(ca), open_there, &v);
  csn_sys(__NR_rt_sigprocmask, 2, &old, NULL, 8);
  if (pid < 0)
    return (int)pid;
  CSN_RETRY(csn_sys(__NR_wait4, pid, NULL, 0x40000000 /* __WALL */, 0));
  return v.sock;
}

/* ---- move ---- */

static int
own_netns(struct csn_ctx *c)
{
  CSN_CLEANUP_FD int dir = csn_proc_open(c, "thread-self/ns", O_PATH | O_DIRECTORY);

  return dir < 0 ? dir : (int)csn_sys(__NR_openat, dir, "net", O_RDONLY | O_CLOEXEC);
}

static int
move_back(const struct link_move_args *a, const struct csn_moved *moved, const char *name,
          struct csn_ctx *c)
{
  const char *device = csn_s(c, a->device);
  CSN_CLEANUP_FD int there = socket_in(c->slots[a->netns], c), here = own_netns(c);
  int index = moved->there;
  bool another;

  if (there < 0 || here < 0)
    return there < 0 ? there : here;
  if (!index && (index = csn_link_index(there, name, c)) < 0)
    return index;
  return csn_link_move(there, index, here, device, moved->index, &another, c);
}

/* As it was: its name, its addresses, and whether it was up. */
int
csn_link_bring_back(const struct link_move_args *a, struct csn_ctx *c, const char *name)
{
  const struct csn_str *addresses = csn_l(c, a->addresses);
  CSN_CLEANUP_FD int sock = -1;
  struct csn_request r;
  struct csn_moved moved;
  int rc, index;

  if (csn_sys(__NR_pread64, c->slots[a->moved], &moved, sizeof(moved), 0) != sizeof(moved))
    return -EBADF;
  if ((rc = move_back(a, &moved, name, c)) < 0 || (sock = csn_netlink_open(c)) < 0)
    return rc < 0 ? rc : sock;
  index = csn_link_index(sock, csn_s(c, a->device), c);
  for (u32 i = 0; index >= 0 && i < a->addresses.count; i++)
    csn_address_add(sock, index, csn_s(c, addresses[i]), c);
  if (index < 0 || !moved.up)
    return index < 0 ? index : 0;
  csn_link_request(&r, index, IFF_UP);
  return csn_netlink_ask(sock, &r, c);
}

int
csn_link_undo_move(const void *args, struct csn_ctx *c)
{
  const struct link_move_args *a = args;

  return csn_link_bring_back(a, c, csn_s(c, a->name.off ? a->name : a->device));
}
