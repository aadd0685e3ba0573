/* SPDX-License-Identifier: MIT
 *
 * Messages of rtnetlink(7), built and read without libc, by the host's side of a plan and by the child's.
 *
 * (A library such as libmnl would serve the host's side alone, and be a second way to build the messages that
 * the runner has to build anyway; and every command would load it at its start.)
 *
 * What is read is the kernel's, but for the lengths in it, which nobody is believed.
 */
#ifndef CSN_NETLINK_H
#define CSN_NETLINK_H

#include "inet.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#pragma GCC visibility push(hidden)

/* ---- a request ---- */

struct csn_request {
  u8 bytes[1024] __attribute__((aligned(4)));
  u32 len;
  bool full; /* it did not fit; csn_netlink_ask() says so */
};

void csn_request(struct csn_request *r, u16 type, u16 flags, const void *head, size_t n);
void csn_put_head(struct csn_request *r, const void *head,
                  size_t n); /* bytes that are no attribute */
void csn_put(struct csn_request *r, u16 type, const void *data, size_t n);
void csn_put_u32(struct csn_request *r, u16 type, u32 v);
void csn_put_string(struct csn_request *r, u16 type, const char *s);
u32 csn_nest(struct csn_request *r, u16 type); /* begin; what it returns goes to csn_unnest() */
void csn_unnest(struct csn_request *r, u32 at);

/* ---- a conversation ---- */

/* A socket in this process's network namespace, or -errno. */
int csn_netlink_open(struct csn_ctx *c);

/* Send the request and wait for its acknowledgement: 0 or -errno, with the kernel's own words as detail. */
int csn_netlink_ask(int sock, struct csn_request *r, struct csn_ctx *c);

/* A datagram of the kernel's own, past those that others may have sent: its length or -errno. */
long csn_netlink_receive(int sock, void *buf, size_t size);

/* The index of the device with this name, where sock is; -ENODEV, with a detail that names it. */
int csn_link_index(int sock, const char *name, struct csn_ctx *c);

/* ---- what comes back ---- */

/* The next message of a datagram, from *at on: NULL at its end, or where it is malformed (*at is then not n). */
const struct nlmsghdr *csn_message(const u8 *buf, size_t n, size_t *at);

/* The next attribute of the n bytes at p, likewise. */
const struct rtattr *csn_attribute(const u8 *p, size_t n, size_t *at);

static inline const void *
csn_attribute_data(const struct rtattr *a, size_t *n)
{
  *n = a->rta_len - RTA_LENGTH(0);
  return (const u8 *)a + RTA_LENGTH(0);
}

/* Of a message of type NLMSG_ERROR: its errno (0: an acknowledgement) and what the kernel says about it. -EBADMSG
 * where it is too short. */
int csn_message_error(const struct nlmsghdr *h, int *err, char *text, size_t size);

/* ---- whose devices ---- */

/* The child's network namespace, from the host's side, where it is not the host's own; on the child's own side
 * *fd stays -1. -EPERM where it would be the host's. */
int csn_child_netns(struct csn_ctx *c, int *fd);

/* -EPERM, with a detail, where a step of the child's side would change the host's network. */
int csn_own_network(struct csn_ctx *c);

/* 0, or -EINVAL and a detail: what the field is and may be. */
int csn_check_link_name(const char *what, const char *name, struct csn_ctx *c);

#pragma GCC visibility pop

#endif
