/* SPDX-License-Identifier: MIT
 *
 * What the host and the agent of a pooled container say to each other, on the socket of the container's run:
 * a question and its answer, one message each. A run is answered as a new child is (csn_msg DONE or FAILED,
 * its pidfd with it), and once more when it is over.
 */
#ifndef CSN_AGENT_H
#define CSN_AGENT_H

#include "plan.h"

enum csn_ask_kind {
  CSN_ASK_PING,
  CSN_ASK_RUN,    /* behind it: the plan of a run; its descriptors: the slots */
  CSN_ASK_KILL,   /* no answer: the run's end is it */
  CSN_ASK_OPEN,   /* behind it: a path */
  CSN_ASK_DELETE, /* the same */
  CSN_ASK_OWN, /* behind it: a mount point, what is in it now is what it is to hold after each reset */
  CSN_ASK_RESET
};

#define CSN_NO_ID 0xffffffffu
#define CSN_ASK_GROUPS 1  /* ids: drop supplementary groups too */
#define CSN_ASK_NO_KEYS 2 /* ids: its filter kept it from all keys */

struct csn_ask {
  u32 kind;
  u32 size;     /* bytes behind this */
  u32 nfds;     /* descriptors that come along */
  u32 in_memfd; /* the bytes are in a memfd, which comes last of all */
  u32 fail_step;
  s32 fail_errno;
  u32 uid, gid,
      ids; /* OPEN, RESET: who the program is; CSN_NO_ID: as the agent; ids: CSN_ASK_GROUPS */
  u32 flags, mode;       /* OPEN: open(2)'s */
  u32 patience_us;       /* RUN: its end, should it come so soon, is the only answer */
  u8 slot_of[CSN_SLOTS]; /* of each descriptor */
};
_Static_assert(sizeof(struct csn_ask) % 16 == 0, "the plan behind it is aligned");

enum { CSN_MSG_ANSWER = 16, CSN_MSG_OVER };

/* What its numbers mean. */
enum {
  CSN_OVER_STATUS,
  CSN_OVER_USER_US,
  CSN_OVER_SYSTEM_US,
  CSN_OVER_MAXRSS_KB,
  CSN_OVER_EXEC_NS
};
enum { CSN_RESET_PROCESSES, CSN_RESET_FILES, CSN_RESET_IPC, CSN_RESET_KEYS };
#define CSN_NUMBERS 6

struct csn_answer {
  u32 kind;
  s32 err; /* 0 or positive */
  u64 numbers[CSN_NUMBERS];
  u32 detail_len;
  char detail[CSN_DETAIL];
};

#ifdef CSN_RUNNER
#pragma GCC visibility push(hidden)

/* clean.c, files. What is now in a mount of the container's own is what each reset shall leave there. 0, or
 * -errno with the detail in a; the descriptor is its. */
int csn_clean_own_fd(int fd, struct csn_answer *a);
int csn_clean_own(const char *mount_point, struct csn_answer *a);
int csn_clean_files(struct csn_answer *a);
/* Remove what path names, and all below it. */
int csn_clean_delete(const char *path, struct csn_answer *a);

/* reset.c, all that is left of a run, after which nobody else may live in the pid namespace. own: the
 * CLONE_NEW* of the container. */
int csn_reset_begin(struct csn_answer *a, u64 own);
int csn_reset(struct csn_answer *a, const struct csn_ask *ask, u64 own);

#pragma GCC visibility pop
#endif

#endif
