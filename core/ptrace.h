/* SPDX-License-Identifier: MIT */
#ifndef CSN_PTRACE_H
#define CSN_PTRACE_H

#include "sys.h"
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* The call that tid is stopped at is not made, and returns result. */
long csn_skip_call(pid_t tid, s64 result);

/* The call that tid is in or behind, from its registers: where it stops to end, or to get a signal. On arm64 the first
 * argument is then the result. */
long csn_read_call(pid_t tid, struct seccomp_data *d);

/* Is the call of this machine's own kind: not i386's or x32's? */
bool csn_is_native(u32 arch, u64 nr);

#pragma GCC visibility pop

#endif
