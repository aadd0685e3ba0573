/* SPDX-License-Identifier: MIT
 * What the cgroup files share: cgroup.c (the steps), cgroup_tree.c (queries, kill, remove). */
#ifndef CSN_CGROUP_H
#define CSN_CGROUP_H

#include "prim.h"

#pragma GCC visibility push(hidden)

#define CGROUP_CREATE(F)                                                                           \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(path, at, CSN_REQUIRED, NULL, 0)                                                               \
  F(slot, slot, CSN_OUT, NULL, CSN_SLOT_CGROUP)                                                    \
  F(strs, controllers, 0, NULL, 0)                                                                 \
  F(bool, existing, 0, NULL, 0)
CSN_ARGS(cgroup_create, CGROUP_CREATE)

/* 1 or 2: the version of the cgroup file system that fd is on; else -errno. */
int csn_cgroup_version(int fd);

/* The whole of a file in the group, NUL-terminated; its length or -errno (-EFBIG: larger than size - 1). */
long csn_cgroup_read(int group, const char *file, char *buf, size_t size);
int csn_cgroup_write(int group, const char *file, const char *data, size_t len);

/* v2: a group has the controllers that its parent's cgroup.subtree_control names: add these to it. */
int csn_cgroup_enable(struct csn_list controllers, struct csn_ctx *c, int group, const char *name);

/* Names, "*" being the run's own: where the component at p ends, its text in name. -errno where it is
 * none that a group can have. */
#define CSN_CGROUP_NAME 256
#define CSN_CGROUP_PATH 4096
long csn_cgroup_component(const char *p, struct csn_ctx *c, char name[CSN_CGROUP_NAME]);

/* cgroup_device.c. The rules as struct bpf_insn; how many, or -errno. */
#define CSN_DEVICE_INSNS 2048
int csn_device_program(struct csn_ctx *c, struct csn_list rules, void *insn, u32 max);
/* The ids of the programs attached to the group itself; how many there are, or -errno. */
int csn_device_query(int group, u32 *ids, u32 max);

/* Library only: kill what is in the groups that the step made, and remove them. */
int csn_cgroup_undo_create(const void *args, struct csn_ctx *c);

#pragma GCC visibility pop

#endif
