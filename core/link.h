/* SPDX-License-Identifier: MIT
 * What the files of network devices share: link.c (the steps), link_undo.c (their undoing by the host). */
#ifndef CSN_LINK_H
#define CSN_LINK_H

#include "netlink.h"

#pragma GCC visibility push(hidden)

#define VETH(F)                                                                                    \
  F(str, name, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, host, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, bridge, 0, NULL, 0)                                                                       \
  F(str, mac, 0, NULL, 0)                                                                          \
  F(u32, mtu, 0, NULL, 0)                                                                          \
  F(u32, queue, 0, NULL, 0)                                                                        \
  F(bool, hairpin, 0, NULL, 0)
CSN_ARGS(link_veth, VETH)

#define MOVE(F)                                                                                    \
  F(str, device, CSN_REQUIRED, NULL, 0)                                                            \
  F(str, name, 0, NULL, 0)                                                                         \
  F(strs, addresses, 0, NULL, 0)                                                                   \
  F(slot, netns, CSN_REQUIRED, NULL, 0)                                                            \
  F(slot, moved, CSN_REQUIRED, NULL, 0)
CSN_ARGS(link_move, MOVE)

/* What tells a device from another that has its number, or its name, by now: nothing of it is the container's to
 * choose. */
struct csn_identity {
  s32 known; /* else it was not looked at */
  s32 link; /* the number of the other end of a veth, or of the device that this one is over; 0: none */
  s32 nsid; /* in which namespace, where not in its own; as that counts them; -1 */
  char kind[20];
  u8 address[8]; /* that it came with from its maker */
};

/* What a device was like before it was moved: the content of the slot `moved`. */
struct csn_moved {
  s32 there; /* its number in the container; 0: not the same, and only the name is known */
  s32 index, up;
  struct csn_identity is;
};

/* The name of the host's end; "*" in it is the run's own. 0 or -errno. */
int csn_host_name(const struct link_veth_args *a, struct csn_ctx *c, char name[IFNAMSIZ]);

/* Remove the device with this name from this process's network namespace. */
int csn_link_delete(int sock, const char *name, struct csn_ctx *c);

/* A request about the device with that index, or, where it is 0, the name that follows. up: IFF_UP or 0. */
void csn_link_request(struct csn_request *r, int index, u32 up);

/* Move a device into the namespace, under that name; with that number, or, where it is taken, another one, and
 * then *another is set. */
int csn_link_move(int sock, int index, int netns, const char *name, int number, bool *another,
                  struct csn_ctx *c);

/* address.c: give the device an address, "10.0.0.2/24". */
int csn_address_add(int sock, int index, const char *address, struct csn_ctx *c);

/* Library only. */
int csn_link_identify(int sock, int index, struct csn_identity *is, struct csn_ctx *c);
int csn_link_undo_veth(const void *args, struct csn_ctx *c);
int csn_link_undo_move(const void *args, struct csn_ctx *c);
/* name: of the device in the container, where its number does not tell. */
int csn_link_bring_back(const struct link_move_args *a, struct csn_ctx *c, const char *name);

#pragma GCC visibility pop

#endif
