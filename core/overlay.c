/* SPDX-License-Identifier: MIT
 *
 * Overlays. Layers are the host's directories; each is opened, so that a missing one is named, and handed
 * over by descriptor, so that no path has to fit the 255 bytes of an option or be quoted.
 */
#include "mount.h"
#include <linux/sched.h>

#define MAX_LAYERS 500 /* the kernel's */

#define LAYERS(F)                                                                                  \
  F(strs, lower, CSN_REQUIRED, NULL, 0)                                                            \
  F(path, upper, 0, NULL, 0)                                                                       \
  F(path, work, 0, NULL, 0)                                                                        \
  F(bool, userxattr, 0, NULL, 2)                                                                   \
  F(strs, options, 0, NULL, 0)                                                                     \
  F(str, label, 0, NULL, 0)                                                                        \
  F(flags, flags, 0, csn_mount_words, CSN_M_NOSUID | CSN_M_NODEV)

#define OVERLAY(F)                                                                                 \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  LAYERS(F)                                                                                        \
  CSN_TARGET_FIELDS(F)
CSN_ARGS(mount_overlay, OVERLAY)

#define ROOT_OVERLAY(F)                                                                            \
  LAYERS(F)                                                                                        \
  F(path, at, 0, NULL, 0)                                                                          \
  F(slot, root, CSN_OUT, NULL, CSN_SLOT_ROOT)
CSN_ARGS(root_overlay, ROOT_OVERLAY)

struct layers {
  struct csn_list lower, options;
  struct csn_str label;
  const char *upper, *work;
  u64 userxattr, flags; /* userxattr 2: not given */
};

#define LAYERS_OF(a, c)                                                                            \
  {                                                                                                \
    (a)->lower, (a)->options, (a)->label, csn_s(c, (a)->upper), csn_s(c, (a)->work),               \
        (a)->userxattr, (a)->flags                                                                 \
  }

/* Layers that are named to the kernel by their descriptors' names in /proc; some kernels look those up only
 * when the filesystem is made. */
#define MAX_HELD 16
struct held {
  s32 fds[MAX_HELD];
  u32 n;
};

static int
open_layer(struct csn_fs *f, const char *path)
{
  int fd = csn_source_open(f->c, path, 0);
  struct csn_stat st;

  if (fd >= 0 && csn_stat(fd, &st) == 0 && (st.mode & S_IFMT) != S_IFDIR) {
    csn_close(fd);
    return csn_detail(f->c, -ENOTDIR, "a layer is a directory: ", path);
  }
  return fd;
}

static size_t
append_link(char *text, size_t size, size_t n, int fd)
{
  return csn_append_u64(text, size, csn_append(text, size, n, "/proc/self/fd/"), (u64)fd);
}

/* By descriptor (6.13); -EINVAL where the kernel takes names only. Its complaint stays in the context's
 * log, of which only the last line is shown, and that of a failure. */
static int
set_layer(struct csn_fs *f, const char *key, const char *path)
{
  CSN_CLEANUP_FD int fd = open_layer(f, path);
  long rc;

  if (fd < 0)
    return fd;
  rc = f->old ? -EINVAL : csn_sys(__NR_fsconfig, f->fd, FSCONFIG_SET_FD, key, NULL, fd);
  if (rc == -EBADF) /* before 6.13 fsconfig takes no O_PATH descriptor at all */
    rc = -EINVAL;
  if (rc < 0 && rc != -EINVAL)
    csn_fs_fail(f, (int)rc, path);
  return (int)rc;
}

static int
hold(struct held *h, struct csn_fs *f, const char *path)
{
  int fd = open_layer(f, path);

  if (fd >= 0)
    h->fds[h->n++] = fd;
  return fd;
}

/* Before 6.5 all lower layers are one string, of 255 bytes; since then there can also be one string each. */
static int
name_lower(struct csn_fs *f, const struct layers *a, struct held *h)
{
  const struct csn_str *s = csn_l(f->c, a->lower);
  char text[256];
  size_t n = 0;
  int fd;

  if (a->lower.count <= MAX_HELD - 3) {
    for (u32 i = 0; i < a->lower.count; i++) {
      if ((fd = hold(h, f, csn_s(f->c, s[i]))) < 0)
        return fd;
      if (i)
        n = csn_append(text, sizeof(text), n, ":");
      n = append_link(text, sizeof(text), n, fd);
    }
    csn_fs_set(f, "lowerdir", text);
    return f->err;
  }
  for (u32 i = 0; i < a->lower.count && !f->err; i++) {
    CSN_CLEANUP_FD int layer = open_layer(f, csn_s(f->c, s[i]));

    if (layer < 0)
      return layer;
    append_link(text, sizeof(text), 0, layer);
    csn_fs_set(f, "lowerdir+", text);
  }
  return f->err;
}

static int
name_layer(struct csn_fs *f, const char *key, const char *path, struct held *h)
{
  int fd = hold(h, f, path);
  char text[32];

  if (fd < 0)
    return fd;
  append_link(text, sizeof(text), 0, fd);
  csn_fs_set(f, key, text);
  return f->err;
}

static int
add_layers(struct csn_fs *f, const struct layers *a, struct held *h)
{
  const struct csn_str *s = csn_l(f->c, a->lower);
  const char *upper = a->upper, *work = a->work;
  int rc = 0;

  for (u32 i = 0; i < a->lower.count && rc >= 0; i++)
    rc = set_layer(f, "lowerdir+", csn_s(f->c, s[i]));
  if (rc >= 0 && upper && (rc = set_layer(f, "upperdir", upper)) >= 0)
    rc = set_layer(f, "workdir", work);
  if (rc != -EINVAL)
    return rc;
  f->err = 0;
  rc = name_lower(f, a, h);
  if (rc >= 0 && upper && (rc = name_layer(f, "upperdir", upper, h)) >= 0)
    rc = name_layer(f, "workdir", work, h);
  return rc;
}

/* The overlay, detached. */
static int
make_overlay(struct csn_ctx *c, const struct layers *a)
{
  struct held h = { .n = 0 };
  struct csn_fs f;
  int rc;

  if (!a->lower.count || a->lower.count > MAX_LAYERS)
    return csn_detail(c, -EINVAL, "lower: 1 to 500 directories", NULL);
  if (a->lower.count < 2 && !a->upper)
    return csn_detail(c, -EINVAL, "without an upper layer, two lower ones at least", NULL);
  if (!a->upper != !a->work)
    return csn_detail(c, -EINVAL, "upper and work come together", NULL);
  csn_fs_open(&f, c, "overlay", NULL);
  if ((rc = f.err) == 0 && (rc = add_layers(&f, a, &h)) < 0)
    csn_close(f.fd);
  if (rc >= 0) {
    /* Without it an overlay of a user namespace can't mark what was deleted or replaced. A direct call
     * does not know in which it is. */
    if (a->userxattr == 2 ? c->own != ~0ull && (c->own & CLONE_NEWUSER) : a->userxattr)
      csn_fs_set(&f, "userxattr", NULL);
    csn_fs_options(&f, a->options);
    csn_fs_label(&f, a->label);
    rc = csn_fs_mount(&f, a->flags);
  }
  while (h.n)
    csn_close(h.fds[--h.n]);
  return rc;
}

static int
apply_overlay(const struct mount_overlay_args *a, struct csn_ctx *c)
{
  struct layers l = LAYERS_OF(a, c);
  CSN_CLEANUP_FD int tree = make_overlay(c, &l);

  return tree < 0 ? tree
                  : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target),
                               CSN_TARGET_HOW(a) | CSN_WANT_DIR);
}

CSN_PRIMITIVE(mount_overlay, "mount.overlay", OVERLAY, CSN_CHILD | CSN_NEAR, apply_overlay, NULL,
              "$lower -> $target[ upper=$upper][ ($flags)]")

static int
apply_root_overlay(const struct root_overlay_args *a, struct csn_ctx *c)
{
  struct layers l = LAYERS_OF(a, c);
  int tree = make_overlay(c, &l);

  return tree < 0 ? tree : csn_attach_root(c, tree, a->root, a->at);
}

CSN_PRIMITIVE(root_overlay, "root.overlay", ROOT_OVERLAY, CSN_CHILD, apply_root_overlay, NULL,
              "$lower[ upper=$upper][ ($flags)]")
