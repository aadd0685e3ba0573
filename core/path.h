/* SPDX-License-Identifier: MIT
 *
 * Paths inside a root that somebody else may have filled.
 *
 * A path is resolved once, below the root's descriptor, and then used by descriptor only: a symlink in
 * it, absolute or with "..", ends inside the root. Where the slot of the root is empty (-1), paths are
 * the process's own and resolved as the kernel does.
 */
#ifndef CSN_PATH_H
#define CSN_PATH_H

#include "prim.h"

#pragma GCC visibility push(hidden)

#define CSN_DIR_MODE 0755  /* of directories made on the way to a target */
#define CSN_FILE_MODE 0644 /* of files made to be mounted over */

/* The one option that all primitives with a path in the root share: another root than the plan's. A
 * direct call, which has no plan, passes a descriptor, or works with the process's own paths. */
#define CSN_ROOT_FIELD(F) F(slot, root, 0, NULL, CSN_SLOT_ROOT)

/* Of mounts in the root: target_nofollow refuses a symlink anywhere in the target's path. */
#define CSN_TARGET_FIELDS(F)                                                                       \
  CSN_ROOT_FIELD(F)                                                                                \
  F(bool, target_nofollow, 0, NULL, 0)
#define CSN_TARGET_HOW(a) ((a)->target_nofollow ? CSN_NO_SYMLINKS : 0)

struct csn_stat {
  u32 mode, uid, gid, major, minor; /* major, minor: of a device node */
  u64 dev, ino, mount;              /* mount: the number of the mount it stands in */
  bool mount_root;                  /* it is that mount's root */
};

/* Of the descriptor itself. */
int csn_stat(int fd, struct csn_stat *st);

/* how: no symlink in any place; the result is a directory; a source that is a symlink is refused. */
enum { CSN_NO_SYMLINKS = 1, CSN_WANT_DIR = 2, CSN_NOFOLLOW = 4 };

/* An O_PATH descriptor of what path is in the root, or -errno. */
int csn_in_root_open(struct csn_ctx *c, int root, const char *path, int how);

/* The same; what is missing of it is made: directories, and for the last component a directory
 * (CSN_WANT_DIR) or an empty file. A dangling symlink's target is made, inside the root. *plain, where it is
 * asked for: surely no symlink and no ".." stood in the way, and it is not the root itself. */
int csn_in_root_target(struct csn_ctx *c, int root, const char *path, int how, bool *plain);

/* An O_PATH descriptor of the directory in which path's last component stands or is to be made; missing
 * directories are made. *name points into path; it is not "", "." or ".." and has no slash. The descriptor stays
 * the context's: until a step that is not CSN_NEAR, another directory, or a mount in another place. */
int csn_in_root_parent(struct csn_ctx *c, int root, const char *path, const char **name);
void csn_leave_dir(struct csn_ctx *c);

/* An O_PATH descriptor of what the process's own paths have at path: a mount's source. */
int csn_source_open(struct csn_ctx *c, const char *path, int how);

/* Set exactly this mode, whatever the umask was; -1: not this id. */
int csn_set_mode(int fd, u32 mode);
int csn_set_owner_and_mode(int fd, s64 uid, s64 gid, u32 mode);

#pragma GCC visibility pop

#endif
