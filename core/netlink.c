/* SPDX-License-Identifier: MIT
 * Messages of rtnetlink(7), as netlink.h says. */
#include "netlink.h"
#include "procfs.h"
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/stat.h>

#define SOCKET_RAW 3
#define SOL_NETLINK_LEVEL 270
#define SEQUENCE 1 /* a socket asks one thing at a time */

/* ---- a request ---- */

static u8 *
room(struct csn_request *r, size_t n)
{
  u32 at = r->len;

  n = NLMSG_ALIGN(n);
  if (r->full || n > sizeof(r->bytes) - at) {
    r->full = true;
    return NULL;
  }
  for (size_t i = 0; i < n; i++)
    r->bytes[at + i] = 0;
  r->len += (u32)n;
  return r->bytes + at;
}

static void
fill(u8 *p, const void *data, size_t n)
{
  for (size_t i = 0; i < n; i++)
    p[i] = ((const u8 *)data)[i];
}

void
csn_request(struct csn_request *r, u16 type, u16 flags, const void *head, size_t n)
{
  struct nlmsghdr *h;

  r->len = 0;
  r->full = false;
  h = (struct nlmsghdr *)room(r, NLMSG_HDRLEN);
  h->nlmsg_type = type;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  h->nlmsg_seq = SEQUENCE;
  csn_put_head(r, head, n);
}

void
csn_put_head(struct csn_request *r, const void *head, size_t n)
{
  u8 *p = room(r, n);

  if (p)
    fill(p, head, n);
}

void
csn_put(struct csn_request *r, u16 type, const void *data, size_t n)
{
  struct rtattr *a = (struct rtattr *)room(r, RTA_LENGTH(n));

  if (!a)
    return;
  a->rta_type = type;
  a->rta_len = (u16)RTA_LENGTH(n);
  fill((u8 *)a + RTA_LENGTH(0), data, n);
}

void
csn_put_u32(struct csn_request *r, u16 type, u32 v)
{
  csn_put(r, type, &v, sizeof(v));
}

void
csn_put_string(struct csn_request *r, u16 type, const char *s)
{
  csn_put(r, type, s, csn_strlen(s) + 1);
}

u32
csn_nest(struct csn_request *r, u16 type)
{
  u32 at = r->len;

  csn_put(r, type | NLA_F_NESTED, NULL, 0);
  return at;
}

void
csn_unnest(struct csn_request *r, u32 at)
{
  if (!r->full)
    ((struct rtattr *)(r->bytes + at))->rta_len = (u16)(r->len - at);
}

/* ---- what comes back ---- */

const struct nlmsghdr *
csn_message(const u8 *buf, size_t n, size_t *at)
{
  const struct nlmsghdr *h = (const struct nlmsghdr *)(buf + *at);
  size_t left = n - *at;

  if (left < NLMSG_HDRLEN || h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > left)
    return NULL;
  *at += NLMSG_ALIGN(h->nlmsg_len) < left ? NLMSG_ALIGN(h->nlmsg_len) : left;
  return h;
}

const struct rtattr *
csn_attribute(const u8 *p, size_t n, size_t *at)
{
  const struct rtattr *a = (const struct rtattr *)(p + *at);
  size_t left = n - *at;

  if (left < RTA_LENGTH(0) || a->rta_len < RTA_LENGTH(0) || a->rta_len > left)
    return NULL;
  *at += RTA_ALIGN(a->rta_len) < left ? RTA_ALIGN(a->rta_len) : left;
  return a;
}

int
csn_message_error(const struct nlmsghdr *h, int *err, char *text, size_t size)
{
  const struct nlmsgerr *e = (const struct nlmsgerr *)((const u8 *)h + NLMSG_HDRLEN);
  size_t n = h->nlmsg_len - NLMSG_HDRLEN, at = sizeof(*e), len = 0;
  const struct rtattr *a;

  text[0] = 0;
  if (n < sizeof(*e))
    return -EBADMSG;
  *err = e->error;
  /* Behind the header of the request comes, unless it was left out, the rest of it. */
  if (!(h->nlmsg_flags & NLM_F_CAPPED)) {
    if (e->msg.nlmsg_len < NLMSG_HDRLEN || e->msg.nlmsg_len - NLMSG_HDRLEN > n - at)
      return -EBADMSG;
    at += NLMSG_ALIGN(e->msg.nlmsg_len - NLMSG_HDRLEN);
    at = at < n ? at : n;
  }
  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
    return 0;
  while ((a = csn_attribute((const u8 *)e, n, &at))) {
    const char *s = csn_attribute_data(a, &len);

    if ((a->rta_type & NLA_TYPE_MASK) != NLMSGERR_ATTR_MSG)
      continue;
    for (size_t i = 0; i < len && i + 1 < size && s[i]; i++) {
      text[i] = s[i] < ' ' || s[i] > '~' ? '?' : s[i];
      text[i + 1] = 0;
    }
  }
  return at == n ? 0 : -EBADMSG;
}

/* ---- a conversation ---- */

int
csn_netlink_open(struct csn_ctx *c)
{
  CSN_CLEANUP_FD int fd =
      (int)csn_sys(__NR_socket, AF_NETLINK, SOCKET_RAW | O_CLOEXEC, NETLINK_ROUTE);
  int on = 1;

  if (fd < 0)
    return csn_detail(c, fd, "a netlink socket", NULL);
  /* Without them an error has no words, and carries the whole request. */
  csn_sys(__NR_setsockopt, fd, SOL_NETLINK_LEVEL, NETLINK_EXT_ACK, &on, sizeof(on));
  csn_sys(__NR_setsockopt, fd, SOL_NETLINK_LEVEL, NETLINK_CAP_ACK, &on, sizeof(on));
  return csn_steal_fd(&fd);
}

long
csn_netlink_receive(int sock, void *buf, size_t size)
{
  struct sockaddr_nl from = { 0 };
  int len = sizeof(from);
  long n;

  for (int strangers = 0; strangers < 1000; strangers++) {
    n = CSN_RETRY(csn_sys(__NR_recvfrom, sock, buf, size, 0x20 /* MSG_TRUNC */, &from, &len));
    if (n < 0)
      return n;
    if (len == sizeof(from) && from.nl_family == AF_NETLINK && from.nl_pid == 0)
      return n <= (long)size ? n : -EMSGSIZE;
  }
  return -EBADMSG;
}

int
csn_netlink_ask(int sock, struct csn_request *r, struct csn_ctx *c)
{
  u8 reply[2048] __attribute__((aligned(4)));
  char text[CSN_DETAIL];
  long n;

  if (r->full)
    return csn_detail(c, -EMSGSIZE, "the request is too long", NULL);
  ((struct nlmsghdr *)r->bytes)->nlmsg_len = r->len;
  n = CSN_RETRY(csn_sys(__NR_sendto, sock, r->bytes, r->len, 0, 0, 0));
  if (n < 0)
    return (int)n;
  for (;;) {
    const struct nlmsghdr *h;
    size_t at = 0;
    int err = 0;

    n = csn_netlink_receive(sock, reply, sizeof(reply));
    if (n < 0)
      return csn_detail(c, (int)n, "the kernel's answer", NULL);
    while ((h = csn_message(reply, (size_t)n, &at))) {
      if (h->nlmsg_seq != SEQUENCE || h->nlmsg_type != NLMSG_ERROR)
        continue;
      if (csn_message_error(h, &err, text, sizeof(text)) < 0 || err > 0)
        return csn_detail(c, -EBADMSG, "the kernel's answer", NULL);
      return err && text[0] ? csn_detail(c, err, text, NULL) : err;
    }
    if (at != (size_t)n)
      return csn_detail(c, -EBADMSG, "the kernel's answer", NULL);
  }
}

int
csn_link_index(int sock, const char *name, struct csn_ctx *c)
{
  struct ifreq ifr = { 0 };
  long rc = -ENODEV; /* for a name too long: cut, it might be another's */

  if (csn_append(ifr.ifr_name, sizeof(ifr.ifr_name), 0, name) == csn_strlen(name))
    rc = csn_sys(__NR_ioctl, sock, SIOCGIFINDEX, &ifr);
  return rc < 0 ? csn_detail(c, (int)rc, "no device is called ", name) : ifr.ifr_ifindex;
}

/* ---- whose devices ---- */

int
csn_own_network(struct csn_ctx *c)
{
  return c->own & CLONE_NEWNET
             ? 0
             : csn_detail(
                   c, -EPERM,
                   "the container needs a net namespace of its own, or it would be the host's",
                   NULL);
}

/* The inode of the network namespace that the directory ns of a process shows. */
static u64
inode(int dir)
{
  struct statx st = { 0 };

  return csn_sys(__NR_statx, dir, "net", 0, STATX_INO, &st) == 0 ? st.stx_ino : 0;
}

int
csn_child_netns(struct csn_ctx *c, int *fd)
{
  CSN_CLEANUP_FD int theirs = -1, ours = -1;

  if (!c->pid)
    return csn_own_network(c);
  theirs = csn_proc_open_pid(c, "ns", O_PATH | O_DIRECTORY);
  ours = csn_proc_open(c, "thread-self/ns", O_PATH | O_DIRECTORY);
  if (theirs < 0 || ours < 0)
    return theirs < 0 ? theirs : ours;
  *fd = (int)csn_sys(__NR_openat, theirs, "net", O_RDONLY | O_CLOEXEC);
  if (*fd < 0)
    return csn_detail(c, *fd, "the child's network namespace", NULL);
  if (inode(theirs) == inode(ours) || !inode(theirs))
    return csn_detail(c, -EPERM,
                      "the container needs a net namespace of its own, or it would be the host's",
                      NULL);
  return 0;
}

int
csn_check_link_name(const char *what, const char *name, struct csn_ctx *c)
{
  char text[96];
  size_t n;

  if (csn_is_link_name(name))
    return 0;
  n = csn_append(text, sizeof(text), 0, what);
  csn_append(text, sizeof(text), n,
             ": a device's name has 1 to 15 printable bytes without / : % * and space");
  return csn_detail(c, -EINVAL, text, NULL);
}
