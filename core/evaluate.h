/* SPDX-License-Identifier: MIT */
#ifndef CSN_EVALUATE_H
#define CSN_EVALUATE_H

#include "sys.h"
#include <linux/filter.h>
#include <linux/seccomp.h>

/* What a seccomp program answers for a call: SECCOMP_RET_* and its data; one that is none kills. */
u32 csn_evaluate(const struct sock_filter *program, size_t count, const struct seccomp_data *call)
    __attribute__((visibility("hidden")));

/* Of several, each `sizes[i]` instructions: as the kernel chooses, the later one where two are of the same kind. */
u32 csn_evaluate_all(const struct sock_filter *const *programs, const size_t *sizes, size_t n,
                     const struct seccomp_data *call) __attribute__((visibility("hidden")));

/* Whatever the arguments of call nr: does it answer without a word to anybody (a handler, a listener, a log), and look
 * neither at where the call is made nor at its sixth argument? */
bool csn_evaluate_silent(const struct sock_filter *program, size_t count, u32 arch, u32 nr)
    __attribute__((visibility("hidden")));

#endif
