/* SPDX-License-Identifier: MIT
 * sharing.c: whose memory nobody else runs in, as a tracer knows from its events. */
#ifndef CSN_SHARING_H
#define CSN_SHARING_H

#include "sys.h"
#include <sys/types.h>

#pragma GCC visibility push(hidden)

#define CSN_TASKS 1024

struct csn_sharing {
  bool lost; /* more of them than there is room for: nothing is known any more */
  u32 count, memories;
  struct {
    pid_t tid;
    u32 memory;  /* those of one number have one memory */
    bool shared; /* and run in it at once */
  } task[CSN_TASKS];
};

/* tid has executed something; it was `former` before. */
void csn_sharing_exec(struct csn_sharing *s, pid_t tid, pid_t former);

/* tid, which stands in the call that has made child. event: PTRACE_EVENT_FORK, _VFORK or _CLONE. */
void csn_sharing_child(struct csn_sharing *s, pid_t tid, pid_t child, int event);

void csn_sharing_end(struct csn_sharing *s, pid_t tid);

/* No other thread runs in the memory of tid as long as it stands. */
bool csn_is_alone(const struct csn_sharing *s, pid_t tid);

#pragma GCC visibility pop

#endif
