/* SPDX-License-Identifier: MIT
 * The last of the child's line: descriptors into place, signals to default, the program found. */
#ifndef CSN_EXEC_H
#define CSN_EXEC_H

#include "plan.h"

#pragma GCC visibility push(hidden)

/* Would the program be found, as far as can be told before the last of its line? 0 or -errno. */
int csn_exec_check(const struct engine_exec_args *a, struct csn_ctx *c);

/* All that is done before the last steps (seccomp): 0 or -errno. */
int csn_exec_prepare(const struct engine_exec_args *a, struct csn_ctx *c);
/* Signals to default (they are: at_default), and the mask. */
int csn_exec_signals(const struct engine_exec_args *a, bool at_default);
/* What the arguments took of the memory that a child shared, and that is its creator's. */
void csn_exec_release(const struct engine_exec_args *a);

/* Exec; returns -errno only. */
int csn_exec(const struct engine_exec_args *a, struct csn_ctx *c);

/* home.c: the home directory of uid in /etc/passwd of the root; false where it has none there. */
bool csn_find_home(u32 uid, char *home, size_t size);

#pragma GCC visibility pop

#endif
