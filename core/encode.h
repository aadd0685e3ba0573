/* SPDX-License-Identifier: MIT
 * The block of a plan while it is being built; a userdata, so that a raise frees it. */
#ifndef CSN_ENCODE_H
#define CSN_ENCODE_H

#include "csn.h"

#pragma GCC visibility push(hidden)

struct csn_buf {
  u8 *p;
  u32 n, cap;
  int slots; /* stack index of name -> number; 0 in a direct call, whose slots are descriptors */
  u32 nslots;
  struct csn_ctx *ctx; /* direct call: takes the descriptors */
  s64 out;             /* direct call: the slot that the primitive fills, or -1 */
  u64 given;           /* direct call: the slots that hold descriptors of the caller's */
};

struct csn_buf *csn_new_buf(lua_State *L); /* pushes it */
u32 csn_reserve(lua_State *L, struct csn_buf *b,
                size_t n); /* zeroed, at a multiple of 8: its offset */
struct csn_str csn_add_bytes(lua_State *L, struct csn_buf *b, const char *s, size_t len);

/* Options at idx (a table, or the first field's value alone) into struct NAME_args; returns its offset. */
u32 csn_encode_args(lua_State *L, struct csn_buf *b, const struct csn_primitive *p, int idx);

extern const char *const csn_fixed_slots[];

#pragma GCC visibility pop

#endif
