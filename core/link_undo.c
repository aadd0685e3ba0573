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
#include <linux/net_namespace.h>
#include <linux/sched.h>
#include <string.h>

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

/* ---- which device it is ---- */

#ifndef IFLA_PERM_ADDRESS
#define IFLA_PERM_ADDRESS 54
#endif

/* Ask, and take the one answer of that type, behind its header: its length, or -errno. */
static long
query(int sock, struct csn_request *r, u16 type, u8 *buf, size_t size)
{
  struct nlmsghdr *h = (struct nlmsghdr *)r->bytes;
  const struct nlmsghdr *m;
  long n;

  h->nlmsg_len = r->len;
  h->nlmsg_flags = NLM_F_REQUEST;
  if (r->full)
    return -EMSGSIZE;
  n = CSN_RETRY(csn_sys(__NR_sendto, sock, r->bytes, r->len, 0, 0, 0));
  if (n >= 0)
    n = csn_netlink_receive(sock, buf, size);
  for (size_t at = 0; n > 0 && (m = csn_message(buf, (size_t)n, &at));)
    if (m->nlmsg_type == type)
      return n;
    else if (m->nlmsg_type == NLMSG_ERROR && m->nlmsg_len >= NLMSG_LENGTH(4))
      return *(const s32 *)NLMSG_DATA(m) < 0 ? *(const s32 *)NLMSG_DATA(m) : -EBADMSG;
  return n < 0 ? n : -EBADMSG;
}

int
csn_link_identify(int sock, int index, struct csn_identity *is, struct csn_ctx *c)
{
  u8 buf[32768] __attribute__((aligned(8)));
  const struct nlmsghdr *m = (const struct nlmsghdr *)buf;
  const size_t head = NLMSG_LENGTH(sizeof(struct ifinfomsg));
  const struct rtattr *a;
  struct csn_request r;
  size_t at = 0, len, k;
  long n;

  csn_link_request(&r, index, 0);
  ((struct nlmsghdr *)r.bytes)->nlmsg_type = RTM_GETLINK;
  n = query(sock, &r, RTM_NEWLINK, buf, sizeof(buf));
  if (n < 0 || m->nlmsg_len < head)
    return csn_detail(c, n < 0 ? (int)n : -EBADMSG, "which device it is", NULL);
  memset(is, 0, sizeof(*is));
  is->known = 1;
  is->nsid = -1;
  while ((a = csn_attribute(buf + head, m->nlmsg_len - head, &at))) {
    const u8 *data = csn_attribute_data(a, &len);

    switch (a->rta_type & NLA_TYPE_MASK) {
    case IFLA_LINK:
      memcpy(&is->link, data, len < 4 ? len : 4);
      break;
    case IFLA_LINK_NETNSID:
      memcpy(&is->nsid, data, len < 4 ? len : 4);
      break;
    case IFLA_PERM_ADDRESS:
      memcpy(is->address, data, len < sizeof(is->address) ? len : sizeof(is->address));
      break;
    case IFLA_LINKINFO:
      k = 0;
      for (const struct rtattr *b; (b = csn_attribute(data, len, &k));) {
        size_t m_len;
        const void *kind = csn_attribute_data(b, &m_len);

        if ((b->rta_type & NLA_TYPE_MASK) == IFLA_INFO_KIND)
          memcpy(is->kind, kind, m_len < sizeof(is->kind) - 1 ? m_len : sizeof(is->kind) - 1);
      }
      break;
    }
  }
  return 0;
}

/* By which number the namespace of the socket knows the other; or -errno. */
static int
number_of(int sock, int netns)
{
  u8 buf[4096] __attribute__((aligned(8)));
  const struct nlmsghdr *m = (const struct nlmsghdr *)buf;
  const size_t head = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct rtgenmsg)));
  struct rtgenmsg any = { AF_UNSPEC };
  const struct rtattr *a;
  struct csn_request r;
  size_t at = 0, len;
  s32 number = -1;
  long n;

  csn_request(&r, RTM_GETNSID, 0, &any, sizeof(any));
  csn_put_u32(&r, NETNSA_FD, (u32)netns);
  n = query(sock, &r, RTM_NEWNSID, buf, sizeof(buf));
  if (n < 0 || m->nlmsg_len < head)
    return n < 0 ? (int)n : -EBADMSG;
  while ((a = csn_attribute(buf + head, m->nlmsg_len - head, &at))) {
    const u8 *data = csn_attribute_data(a, &len);

    if ((a->rta_type & NLA_TYPE_MASK) == NETNSA_NSID && len == 4)
      memcpy(&number, data, 4);
  }
  return number;
}

/* Is what has this number in there still the device that was moved? Its container can make others, and number
 * them as it likes. */
static int
check_same(int there, int here, int index, const struct csn_identity *was, struct csn_ctx *c)
{
  struct csn_identity is;
  int rc = csn_link_identify(there, index, &is, c);
  bool same;

  if (rc == -ENODEV)
    return csn_detail(c, rc, "nothing has its number there any more", NULL);
  if (rc < 0 || !was->known)
    return rc;
  same = memcmp(is.kind, was->kind, sizeof(is.kind)) == 0 &&
         memcmp(is.address, was->address, sizeof(is.address)) == 0 && is.link == was->link;
  /* what it is linked with was the host's */
  if (same && was->link && was->nsid < 0)
    same = is.nsid >= 0 && is.nsid == number_of(there, here);
  return same ? 0 : csn_detail(c, -ENODEV, "what has its number there is another device", NULL);
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
  int index = moved->there, rc;
  bool another;

  if (there < 0 || here < 0)
    return there < 0 ? there : here;
  if (!index && (index = csn_link_index(there, name, c)) < 0)
    return index;
  if ((rc = check_same(there, here, index, &moved->is, c)) < 0)
    return rc;
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
