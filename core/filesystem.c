/* SPDX-License-Identifier: MIT
 *
 * New filesystems: fsopen, fsconfig, fsmount. What the kernel writes to the context's descriptor about a
 * refusal becomes the error's detail.
 */
#include "mount.h"

/* Without flags given, a new filesystem can hold no way to more power. */
#define SAFE (CSN_M_NOSUID | CSN_M_NODEV)
#define DATA_ONLY (SAFE | CSN_M_NOEXEC)

/* ---- the context ---- */

/* The last complaint in the log: lines of "e", "w" or "i", a space and the text, one a read. */
static void
read_log(struct csn_fs *f, const char *what)
{
  char line[CSN_DETAIL];
  long n;

  csn_detail(f->c, 0, what, NULL);
  while ((n = csn_sys(__NR_read, f->fd, line, sizeof(line) - 1)) > 0) {
    while (n > 0 && line[n - 1] == '\n')
      n--;
    line[n] = 0;
    if (line[0] == 'e' && line[1] == ' ')
      csn_detail(f->c, 0, line + 2, NULL);
  }
}

void
csn_fs_check(struct csn_fs *f, long rc, const char *what)
{
  if (rc >= 0 || f->err)
    return;
  f->err = (int)rc;
  read_log(f, what);
}

struct csn_fs
csn_fs_open(struct csn_ctx *c, const char *type)
{
  struct csn_fs f = { .c = c, .fd = (int)csn_sys(__NR_fsopen, type, FSOPEN_CLOEXEC) };

  if (f.fd >= 0) {
    csn_fs_set(&f, "source", type); /* what mountinfo and df show */
    return f;
  }
  f.err = f.fd;
  csn_detail(c, 0, f.err == -ENODEV ? "the kernel has no filesystem called " : "filesystem ", type);
  return f;
}

void
csn_fs_set(struct csn_fs *f, const char *key, const char *value)
{
  if (!f->err)
    csn_fs_check(f, csn_sys(__NR_fsconfig, f->fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key,
                            value, 0), key);
}

void
csn_fs_number(struct csn_fs *f, const char *key, u64 value, unsigned base)
{
  char buf[32];
  int i = sizeof(buf) - 1;

  buf[i] = 0;
  do
    buf[--i] = (char)('0' + value % base);
  while (value /= base);
  csn_fs_set(f, key, buf + i);
}

void
csn_fs_options(struct csn_fs *f, struct csn_list options)
{
  const struct csn_str *s = csn_l(f->c, options);
  char key[64];

  for (u32 i = 0; i < options.count && !f->err; i++) {
    const char *text = csn_s(f->c, s[i]);
    size_t n = 0;

    while (text[n] && text[n] != '=' && n + 1 < sizeof(key)) {
      key[n] = text[n];
      n++;
    }
    key[n] = 0;
    if (!n || (text[n] && text[n] != '=')) {
      f->err = -EINVAL;
      csn_detail(f->c, 0, "not an option: ", text);
    } else {
      csn_fs_set(f, key, text[n] ? text + n + 1 : NULL);
    }
  }
}

int
csn_fs_mount(struct csn_fs *f, u64 flags)
{
  s64 attrs = csn_fsmount_attrs(f->c, flags);
  long tree = attrs;

  if (!f->err && attrs >= 0) {
    csn_fs_check(f, csn_sys(__NR_fsconfig, f->fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "creating the filesystem");
    if (!f->err) {
      tree = csn_sys(__NR_fsmount, f->fd, FSMOUNT_CLOEXEC, attrs);
      csn_fs_check(f, tree, "mounting the filesystem");
    }
  }
  csn_close(f->fd);
  f->fd = -1;
  return f->err ? f->err : (int)tree;
}

/* Mount f at target; the tail of every primitive here. */
static int
finish(struct csn_fs *f, u64 flags, s64 root, struct csn_str target, int how)
{
  CSN_CLEANUP_FD int tree = csn_fs_mount(f, flags);

  if (tree < 0)
    return tree;
  return csn_attach(f->c, tree, f->c->slots[root], csn_s(f->c, target), how);
}

/* ---- proc, sysfs, mqueue, devpts ---- */

CSN_WORDS(hidepid_words) = {
  { "off", 0 }, { "noaccess", 1 }, { "invisible", 2 }, { "ptraceable", 4 }, { NULL, 0 },
};
CSN_WORDS(subset_words) = { { "pid", 1 }, { NULL, 0 } };

/* In a user namespace a new procfs or sysfs is refused, without a word, unless the namespace sees one
 * that nothing is mounted over. */
static int
explain_visible(struct csn_ctx *c, int rc, const char *type)
{
  if (rc != -EPERM)
    return rc;
  if (csn_streq(type, "proc"))
    return csn_detail(c, rc, "a user namespace may mount a new proc only with a pid namespace of its own, and "
                             "where it sees a proc that nothing is mounted over", NULL);
  return csn_detail(c, rc, "a user namespace may mount a new sysfs only with a network namespace of its own, "
                           "and where it sees a sysfs that nothing is mounted over", NULL);
}

#define PROC(F)                                                                                    \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY)                                                   \
  F(word, hidepid, CSN_NUM, hidepid_words, 0)                                                      \
  F(word, subset, 0, subset_words, 0)                                                              \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_proc, PROC)

static int
new_proc(struct csn_ctx *c, u64 flags, u64 hidepid, u64 subset)
{
  struct csn_fs f = csn_fs_open(c, "proc");

  if (hidepid)
    csn_fs_number(&f, "hidepid", hidepid, 10);
  if (subset)
    csn_fs_set(&f, "subset", "pid");
  return explain_visible(c, csn_fs_mount(&f, flags), "proc");
}

/* /proc and /sys are what labels and sysctls are written through: a symlink in the image there would
 * choose where they go (CVE-2019-19921). */
static int
apply_proc(const struct mount_proc_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int tree = new_proc(c, a->flags, a->hidepid, a->subset);

  return tree < 0 ? tree : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target), CSN_NO_SYMLINKS);
}

CSN_PRIMITIVE(mount_proc, "mount.proc", PROC, CSN_CHILD, apply_proc, NULL, "$target[ ($flags)]")

#define PROCFS(F) F(slot, slot, CSN_OUT, NULL, CSN_SLOT_PROCFS)
CSN_ARGS(procfs, PROCFS)

/* Nothing can be mounted over a procfs that is mounted nowhere: what is written through it is written to
 * the kernel (CVE-2025-52881). */
static int
apply_procfs(const struct procfs_args *a, struct csn_ctx *c)
{
  return csn_fill(c, a->slot, new_proc(c, DATA_ONLY, 0, 0));
}

CSN_PRIMITIVE(procfs, "procfs", PROCFS, CSN_CHILD, apply_procfs, NULL, "[$slot]")

#define PLAIN(F)                                                                                   \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, DATA_ONLY)                                                   \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_sysfs, PLAIN)
CSN_ARGS(mount_mqueue, PLAIN)

static int
apply_sysfs(const struct mount_sysfs_args *a, struct csn_ctx *c)
{
  struct csn_fs f = csn_fs_open(c, "sysfs");
  CSN_CLEANUP_FD int tree = explain_visible(c, csn_fs_mount(&f, a->flags), "sysfs");

  return tree < 0 ? tree : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->target), CSN_NO_SYMLINKS);
}

CSN_PRIMITIVE(mount_sysfs, "mount.sysfs", PLAIN, CSN_CHILD, apply_sysfs, NULL, "$target[ ($flags)]")

static int
apply_mqueue(const struct mount_mqueue_args *a, struct csn_ctx *c)
{
  struct csn_fs f = csn_fs_open(c, "mqueue");

  return finish(&f, a->flags, a->root, a->target, 0);
}

CSN_PRIMITIVE(mount_mqueue, "mount.mqueue", PLAIN, CSN_CHILD, apply_mqueue, NULL, "$target[ ($flags)]")

#define DEVPTS(F)                                                                                  \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(flags, flags, 0, csn_mount_words, CSN_M_NOSUID | CSN_M_NOEXEC)                                 \
  F(mode, mode, 0, NULL, 0620)                                                                     \
  F(mode, ptmxmode, 0, NULL, 0666)                                                                 \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  F(u32, max, 0, NULL, 0)                                                                          \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_devpts, DEVPTS)

#define GIVEN(a, field) ((a)->present >> (field) & 1)

static int
apply_devpts(const struct mount_devpts_args *a, struct csn_ctx *c)
{
  struct csn_fs f = csn_fs_open(c, "devpts");

  csn_fs_set(&f, "newinstance", NULL);
  csn_fs_number(&f, "mode", a->mode, 8);
  csn_fs_number(&f, "ptmxmode", a->ptmxmode, 8);
  if (GIVEN(a, 4))
    csn_fs_number(&f, "uid", a->uid, 10);
  if (GIVEN(a, 5))
    csn_fs_number(&f, "gid", a->gid, 10);
  if (GIVEN(a, 6))
    csn_fs_number(&f, "max", a->max, 10);
  return finish(&f, a->flags, a->root, a->target, 0);
}

CSN_PRIMITIVE(mount_devpts, "mount.devpts", DEVPTS, CSN_CHILD, apply_devpts, NULL, "$target[ ($flags)]")

/* ---- tmpfs ---- */

#define TMPFS(F)                                                                                   \
  F(path, target, CSN_REQUIRED, NULL, 0)                                                           \
  F(u64, size, 0, NULL, 0)                                                                         \
  F(u64, nr_inodes, 0, NULL, 0)                                                                    \
  F(mode, mode, 0, NULL, 0755)                                                                     \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)                                                                          \
  F(strs, options, 0, NULL, 0)                                                                     \
  F(flags, flags, 0, csn_mount_words, SAFE)                                                        \
  CSN_ROOT_FIELD(F)
CSN_ARGS(mount_tmpfs, TMPFS)

static int
apply_tmpfs(const struct mount_tmpfs_args *a, struct csn_ctx *c)
{
  struct csn_fs f = csn_fs_open(c, "tmpfs");

  if (GIVEN(a, 1))
    csn_fs_number(&f, "size", a->size, 10);
  if (GIVEN(a, 2))
    csn_fs_number(&f, "nr_inodes", a->nr_inodes, 10);
  csn_fs_number(&f, "mode", a->mode, 8);
  if (GIVEN(a, 4))
    csn_fs_number(&f, "uid", a->uid, 10);
  if (GIVEN(a, 5))
    csn_fs_number(&f, "gid", a->gid, 10);
  csn_fs_options(&f, a->options);
  return finish(&f, a->flags, a->root, a->target, 0);
}

CSN_PRIMITIVE(mount_tmpfs, "mount.tmpfs", TMPFS, CSN_CHILD, apply_tmpfs, NULL,
              "$target[ size=$size][ ($flags)]")
