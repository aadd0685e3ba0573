/* SPDX-License-Identifier: MIT
 *
 * What the library's files share: the Lua side of primitives and the helpers for bindings.
 *
 * Rule: a Lua call may raise, and a raise skips C clean-up. So in a binding a buffer that lives across
 * Lua calls is a userdata, and a descriptor goes into its object before the next push.
 */
#ifndef CSN_H
#define CSN_H

#include "compat.h"
#include "plan.h"

#pragma GCC visibility push(hidden)

/* error.c */
const char *csn_errname(int err); /* "ENOENT", or NULL */
/* The string on top becomes fit to be read at a terminal: no control character, no more than 1000 bytes. lines: those
 * that end lines stay. */
void csn_show_text(lua_State *L, bool lines);

int csn_pusherr(lua_State *L, int err, const char *fmt, ...) /* nil, message, errno */
    __attribute__((format(printf, 3, 4)));
int csn_pushok(lua_State *L);

/* fd.c: descriptors as objects */
int *csn_newfd(lua_State *L); /* pushes an empty one (-1), to be filled */
int csn_named_fd(lua_State *L, int idx, const char *kind, const char *name);
int csn_tofd(lua_State *L, int idx);  /* fd object or integer; raises if neither, or closed */
int csn_optfd(lua_State *L, int idx); /* the same; -1 where nil */
bool csn_isfd(lua_State *L, int idx);
int
csn_above_stdio(int fd); /* the same file from 3 on, where a host has closed 0 to 2; or -errno */

/* options.c: the only way to take a field from a table */
void csn_checkkeys(lua_State *L, int idx, const char *const *keys);
/* s, or the beginning of one that is long; it may push what it returns */
const char *csn_short(lua_State *L, const char *s);
void csn_unknown_key(lua_State *L, const char *what, const char *key, const char *const *valid);
bool csn_field(lua_State *L, int idx,
               const char *key); /* pushes it; false and nothing pushed if nil */
const char *csn_opt_str(lua_State *L, int idx, const char *key, const char *def);
lua_Number csn_opt_num(lua_State *L, int idx, const char *key, lua_Number def);
bool csn_opt_bool(lua_State *L, int idx, const char *key, bool def);
int csn_opt_fd(lua_State *L, int idx, const char *key);
u64 csn_to_u64(lua_State *L, int idx, const char *what, bool max); /* number or decimal string */
void csn_push_u64(lua_State *L, u64 v);                            /* the same back */
void csn_push_argument(lua_State *L, u64 v);                       /* notify.c: of a system call */
u64 csn_to_words(lua_State *L, int idx, const struct csn_word *words, const char *what, bool list,
                 bool num);
void csn_push_words(lua_State *L, u64 v, const struct csn_word *words);

/* plan.c */
const struct csn_primitive *csn_find_primitive(const char *name, u32 *index);
const struct csn_plan *csn_check_plan(lua_State *L, int idx);
const char *csn_plan_slot_name(const struct csn_plan *p, u32 slot);
s64 csn_plan_slot(const struct csn_plan *p, const char *name); /* -1: the plan has no such slot */
/* show.c */
void csn_push_value(lua_State *L, const struct csn_plan *p, const struct csn_field *f,
                    const u8 *at);
void csn_push_object(lua_State *L, const struct csn_plan *p, const struct csn_step *s);
u32 csn_plan_nth(const struct csn_plan *p,
                 u32 step); /* 1-based, among steps of the same primitive */
void csn_open_plan(lua_State *L);
void csn_check_kernel(lua_State *L); /* raises an error on one that is too old */

/*
 * A library file's own functions: CSN_OPEN(open_cgroup) has luaopen_caisson_core call open_cgroup(L)
 * with the module's table on top of the stack, after the primitives are in it. Gathered by the linker.
 */
typedef void csn_opener(lua_State *L);
#define CSN_OPEN(fn)                                                                               \
  static csn_opener *const fn##_registered __attribute__((section("csn_openers"), used)) = fn;

extern csn_opener *const __start_csn_openers[];
extern csn_opener *const __stop_csn_openers[];

/* Functions into the table called name (dots for nesting) below the table on top. */
void csn_register(lua_State *L, const char *name, const luaL_Reg *functions);

#pragma GCC visibility pop

#endif
