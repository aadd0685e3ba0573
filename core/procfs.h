/* SPDX-License-Identifier: MIT
 *
 * Files of procfs by descriptor. What stands on /proc may be anything (an image's symlink, a tmpfs, a
 * mount racing with us), and a write meant for attr/ or sys/ would go there: so the root is checked to be
 * procfs's own, and the way below it crosses no mount and no magic link.
 */
#ifndef CSN_PROCFS_H
#define CSN_PROCFS_H

#include "prim.h"

#pragma GCC visibility push(hidden)

/* Open path, relative to procfs ("self/oom_score_adj", "sys/net/..."): in the slot procfs where it is
 * filled, else in /proc; on the parent's side always in /proc. Returns a descriptor or -errno. */
int csn_proc_open(struct csn_ctx *c, const char *path, int flags);

/* The same of a file of the child (on the parent's side) or of this process: "uid_map". */
int csn_proc_open_pid(struct csn_ctx *c, const char *file, int flags);

/* One write of all of it, and close: 0 or -errno. fd may be an error, which is passed on. */
int csn_proc_write(int fd, const char *data, size_t len);

#pragma GCC visibility pop

#endif
