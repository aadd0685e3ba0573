/* SPDX-License-Identifier: MIT
 * What systemd.c (the steps) and systemd_bus.c (the library's side of them) share. */
#ifndef CSN_SYSTEMD_H
#define CSN_SYSTEMD_H

#include "prim.h"

#pragma GCC visibility push(hidden)

#define SYSTEMD_SCOPE(F)                                                                           \
  F(str, unit, CSN_REQUIRED, NULL, 0)                                                              \
  F(path, at, CSN_REQUIRED, NULL, 0)                                                               \
  F(strs, properties, 0, NULL, 0)                                                                  \
  F(bool, user, 0, NULL, 0)                                                                        \
  F(u32, pid, 0, NULL, 0)                                                                          \
  F(strs, controllers, 0, NULL, 0)                                                                 \
  F(slot, slot, CSN_OUT, NULL, CSN_SLOT_CGROUP)
CSN_ARGS(systemd_scope, SYSTEMD_SCOPE)

#define SYSTEMD_ATTACH(F)                                                                          \
  F(str, unit, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, sub, 0, NULL, 0)                                                                          \
  F(bool, user, 0, NULL, 0)
CSN_ARGS(systemd_attach, SYSTEMD_ATTACH)

/* Library only; 0 or -errno. */
int csn_scope_start(const struct systemd_scope_args *a, struct csn_ctx *c);
int csn_scope_undo(const void *args, struct csn_ctx *c);
int csn_scope_attach(const struct systemd_attach_args *a, struct csn_ctx *c);

#pragma GCC visibility pop

#endif
