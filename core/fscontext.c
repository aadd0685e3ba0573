/* SPDX-License-Identifier: MIT
 *
 * Configuring a filesystem: fsopen, fsconfig, fsmount. What the kernel writes to the context's descriptor about a
 * refusal becomes the error's detail.
 */
#include "mount.h"
#include "lsm.h"

/* The last complaint in the log: lines of "e", "w" or "i", a space and the text, one a read. */
static void
read_log(struct csn_fs *f)
{
  char line[CSN_DETAIL];
  long n;

  while ((n = csn_sys(__NR_read, f->fd, line, sizeof(line) - 1)) > 0) {
    while (n > 0 && line[n - 1] == '\n')
      n--;
    line[n] = 0;
    if (line[0] == 'e' && line[1] == ' ')
      csn_detail(f->c, 0, line + 2, NULL);
  }
}

/* what: said where the kernel says nothing */
void
csn_fs_fail(struct csn_fs *f, int err, const char *what)
{
  if (f->err)
    return;
  f->err = err;
  csn_detail(f->c, 0, what, NULL);
  if (f->fd >= 0)
    read_log(f);
}

void
csn_fs_open(struct csn_fs *f, struct csn_ctx *c, const char *type, const char *source)
{
  f->c = c;
  f->type = type;
  f->source = source ? source : type;
  f->err = 0;
  f->len = 0;
  f->data[0] = 0;
  f->fd = (int)csn_sys(__NR_fsopen, type, FSOPEN_CLOEXEC);
  f->old = f->fd == -ENOSYS;
  if (f->fd >= 0)
    csn_fs_set(f, "source", f->source);
  else if (f->fd == -ENODEV)
    f->err = csn_detail(c, f->fd, "the kernel has no filesystem called ", type);
  else if (f->fd == -EPERM)
    f->err = csn_detail(c, f->fd, "mounting takes CAP_SYS_ADMIN over the mount namespace: ", type);
  else if (!f->old)
    f->err = csn_detail(c, f->fd, "filesystem ", type);
}

/* For mount(2) the options are one string, where a comma parts them. */
static void
append_option(struct csn_fs *f, const char *key, const char *value)
{
  for (const char *s = value; s && *s; s++)
    if (*s == ',') {
      csn_fs_fail(f, -EINVAL, "fsopen(2) is denied here, and mount(2) takes no comma in an option");
      return;
    }
  if (f->len)
    f->len = (u32)csn_append(f->data, sizeof(f->data), f->len, ",");
  f->len = (u32)csn_append(f->data, sizeof(f->data), f->len, key);
  if (value) {
    f->len = (u32)csn_append(f->data, sizeof(f->data), f->len, "=");
    f->len = (u32)csn_append(f->data, sizeof(f->data), f->len, value);
  }
  if (f->len + 1 >= sizeof(f->data))
    csn_fs_fail(f, -E2BIG, "too many options");
}

void
csn_fs_set(struct csn_fs *f, const char *key, const char *value)
{
  long rc;

  if (f->err)
    return;
  if (f->old) {
    append_option(f, key, value);
    return;
  }
  rc =
      csn_sys(__NR_fsconfig, f->fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
  if (rc < 0)
    csn_fs_fail(f, (int)rc, key);
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
    if (!n || (text[n] && text[n] != '='))
      f->err = csn_detail(f->c, -EINVAL, "not an option: ", text);
    else
      csn_fs_set(f, key, text[n] ? text + n + 1 : NULL);
  }
}

/* All files of it have this label, whatever their own attributes say. */
void
csn_fs_label(struct csn_fs *f, struct csn_str label)
{
  int rc = label.off && !f->err ? csn_selinux_missing(f->c) : 0;

  if (rc < 0)
    f->err = rc;
  else if (label.off)
    csn_fs_set(f, "context", csn_s(f->c, label));
}

int
csn_fs_mount(struct csn_fs *f, u64 flags)
{
  s64 attrs = csn_fsmount_attrs(f->c, flags);
  long rc = attrs;

  if (attrs < 0 && !f->err)
    f->err = (int)attrs;
  if (!f->err && f->old && (f->err = csn_own_mounts(f->c)) == 0) {
    rc = csn_old_fs_mount(f->type, f->source, f->data, (u64)attrs);
    if (rc < 0)
      csn_fs_fail(f, (int)rc, "mounting the filesystem");
  } else if (!f->err) {
    rc = csn_sys(__NR_fsconfig, f->fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (rc >= 0)
      rc = csn_sys(__NR_fsmount, f->fd, FSMOUNT_CLOEXEC, attrs);
    if (rc < 0)
      csn_fs_fail(f, (int)rc, "mounting the filesystem");
  }
  csn_close(f->fd);
  f->fd = -1;
  return f->err ? f->err : (int)rc;
}

int
csn_fs_attach(struct csn_fs *f, u64 flags, s64 root, struct csn_str target, int how)
{
  CSN_CLEANUP_FD int tree = csn_fs_mount(f, flags);

  /* a filesystem's root is a directory */
  return tree < 0
             ? tree
             : csn_attach(f->c, tree, f->c->slots[root], csn_s(f->c, target), how | CSN_WANT_DIR);
}
