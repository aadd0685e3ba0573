/* SPDX-License-Identifier: MIT
 *
 * Mounts as descriptors: a tree is made detached, given its attributes, and attached last.
 */
#ifndef CSN_MOUNT_H
#define CSN_MOUNT_H

#include "path.h"
#include <linux/mount.h>

#pragma GCC visibility push(hidden)

/* Mount flags as options give them: 16 bits each of set, cleared, and both again for the whole tree. */
enum {
  CSN_M_RO = 0x1,
  CSN_M_NOSUID = 0x2,
  CSN_M_NODEV = 0x4,
  CSN_M_NOEXEC = 0x8,
  CSN_M_NOATIME = 0x10,
  CSN_M_STRICTATIME = 0x20,
  CSN_M_RELATIME = 0x40,
  CSN_M_NODIRATIME = 0x80,
  CSN_M_NOSYMFOLLOW = 0x100,
};
#define CSN_M_CLEAR(m) ((u64)(m) << 16)
#define CSN_M_ALL(m) ((u64)(m) << 32)

extern const struct csn_word csn_mount_words[], csn_propagation_words[];

/* What mount.bind, mount.tree and root.bind share. */
#define CSN_TREE_FIELDS(F)                                                                         \
  F(flags, flags, 0, csn_mount_words, 0)                                                           \
  F(bool, recursive, 0, NULL, 0)                                                                   \
  F(word, propagation, 0, csn_propagation_words, 0)                                                \
  F(idmaps, idmap, 0, NULL, 0)                                                                     \
  F(idmaps, uids, 0, NULL, 0)                                                                      \
  F(idmaps, gids, 0, NULL, 0)                                                                      \
  F(bool, idmap_top, 0, NULL, 0)                                                                   \
  F(bool, nofollow, 0, NULL, 0)

/* What new filesystems share beside their target: label is SELinux's, for all that is in it. */
#define CSN_NEW_FIELDS(F)                                                                          \
  CSN_TARGET_FIELDS(F)                                                                             \
  F(str, label, 0, NULL, 0)

struct csn_tree_opts {
  u64 flags, propagation;
  bool recursive, nofollow, idmap_top;
  struct csn_list uids, gids; /* id map of the mount; count 0: none */
};

#define CSN_TREE_OPTS(a)                                                                           \
  ((struct csn_tree_opts){ .flags = (a)->flags,                                                    \
                           .propagation = (a)->propagation,                                        \
                           .recursive = (a)->recursive,                                            \
                           .nofollow = (a)->nofollow,                                              \
                           .idmap_top = (a)->idmap_top,                                            \
                           .uids = (a)->uids.count ? (a)->uids : (a)->idmap,                       \
                           .gids = (a)->gids.count ? (a)->gids : (a)->idmap })

/* A detached copy of the mount (or tree of mounts) at source, a path of the process's own. */
int csn_clone_tree(struct csn_ctx *c, const char *source, const struct csn_tree_opts *o);

/* The same of what fd is open on; source is its name in an error. */
int csn_clone_fd(struct csn_ctx *c, int fd, const char *source, const struct csn_tree_opts *o);

/* 0, or -EPERM where the mount namespace is the host's: a plan changes the mounts of its own alone. */
int csn_own_mounts(struct csn_ctx *c);

/* Flags, propagation and id map of a tree; only what is given is changed. */
int csn_set_tree(struct csn_ctx *c, int tree, const struct csn_tree_opts *o);

/* flags as fsmount(2) takes them, or -errno. */
s64 csn_fsmount_attrs(struct csn_ctx *c, u64 flags);

/* Mount the tree at path in the root; what is missing of path is made. how: CSN_NO_SYMLINKS; CSN_WANT_DIR: the
 * tree is known to be a directory. */
int csn_attach(struct csn_ctx *c, int tree, int root, const char *path, int how);

/* Mount the tree over what target is open on; path is its name in an error. */
int csn_attach_fd(struct csn_ctx *c, int tree, int target, const char *path);

/* Make the tree the new root, in slot (root.c); tree is taken, or closed. */
int csn_attach_root(struct csn_ctx *c, int tree, s64 slot, struct csn_str at);

/* A filesystem being configured: the first error is kept, and what the kernel says goes to the detail. */
struct csn_fs {
  struct csn_ctx *c;
  const char *type, *source;
  int fd, err;
  bool old; /* by mount(2), which takes all options as one string */
  u32 len;
  char data[1024];
};

void csn_fs_open(struct csn_fs *f, struct csn_ctx *c, const char *type, const char *source);
void csn_fs_set(struct csn_fs *f, const char *key, const char *value); /* value NULL: a flag */
void csn_fs_number(struct csn_fs *f, const char *key, u64 value, unsigned base);
void csn_fs_options(struct csn_fs *f, struct csn_list options); /* "key=value" or "key" each */
void csn_fs_label(struct csn_fs *f, struct csn_str label);      /* nothing where it is not given */
void csn_fs_fail(struct csn_fs *f, int err, const char *what);

/* Create the filesystem and mount it, detached; closes f. Returns the tree or -errno. */
int csn_fs_mount(struct csn_fs *f, u64 flags);

/* csn_fs_mount, then csn_attach: the end of every primitive that mounts a filesystem. */
int csn_fs_attach(struct csn_fs *f, u64 flags, s64 root, struct csn_str target, int how);

/* What the directory src holds, to be found in dst too (copyup.c). */
int csn_copy_up(struct csn_ctx *c, int src, int dst);

/* A user namespace with these maps, by descriptor (idmapped.c). */
int csn_make_userns(struct csn_ctx *c, struct csn_list uids, struct csn_list gids);

/* mount(2) in place of open_tree, mount_setattr, fsmount and move_mount (legacy.c). */
int csn_old_clone(int source, bool recursive);
int csn_old_set_attr(int tree, int flags, const struct mount_attr *m);
int csn_old_fs_mount(const char *type, const char *source, const char *data, u64 attrs);
int csn_old_move(int tree, int target);
void
csn_old_drop(int tree); /* unmount what was staged and is of no use; any other tree is left alone */

#pragma GCC visibility pop

#endif
