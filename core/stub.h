/* SPDX-License-Identifier: MIT
 * stub.c: places in a traced program whose calls go on at full speed unless they fail. */
#ifndef CSN_STUB_H
#define CSN_STUB_H

#include "sys.h"
#include <linux/seccomp.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

struct csn_stubs {
  bool on;
  u64 key; /* the filter lets a call be whose sixth argument is this, and the call's address more in its low half */
  u8 mask[16]; /* of the errnos that are told: bit 128 - errno */
};

/* Another errno to tell; false: it has none there. */
bool csn_stub_errno(struct csn_stubs *s, u32 number);

/* tid, which stands before call d and runs alone in its memory, shall make this call and all further ones of this place in
 * a stub. False: in no way. It goes on with PTRACE_CONT then. */
bool csn_stub_make(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d);

/* What call d has ended in, -errno: tid stands where a stub tells it. 0: it does not. */
s64 csn_stub_reports(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d);

/* The tracer has answered call d. Where a stub makes it, it shall not tell of it again. */
void csn_stub_leave(const struct csn_stubs *s, pid_t tid, const struct seccomp_data *d);

#pragma GCC visibility pop

#endif
