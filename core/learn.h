/* SPDX-License-Identifier: MIT
 * learn_site.c: places in a traced program that make one call, again and again. */
#ifndef CSN_LEARN_H
#define CSN_LEARN_H

#include "sys.h"
#include <sys/types.h>

#define CSN_SITES 1024
#define CSN_SHARING 16

struct csn_sites {
  bool off;
  u32 patched;
  struct {
    u64 ip;
    u32 nr, hits;
  } at[CSN_SITES];
  pid_t sharing[CSN_SHARING];
  u64 filters; /* that each thread has, unless it has loaded some of its own */
};

/* The program begins: where its filters can't be counted, nothing is led round. */
void csn_site_begin(struct csn_sites *s, pid_t tid) __attribute__((visibility("hidden")));

/* From its vfork, and to its exec or end. */
void csn_site_share(struct csn_sites *s, pid_t pid) __attribute__((visibility("hidden")));
void csn_site_unshare(struct csn_sites *s, pid_t pid) __attribute__((visibility("hidden")));

/* The thread is stopped before the call, at ip behind its instruction; maybe it is the last time. */
void csn_site_hit(struct csn_sites *s, pid_t tid, u32 nr, u64 ip)
    __attribute__((visibility("hidden")));

/* Where the calls are made from then; false: not on this machine. */
bool csn_site_range(u64 *from, u64 *to) __attribute__((visibility("hidden")));

#endif
