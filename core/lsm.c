/* SPDX-License-Identifier: MIT
 *
 * Labels of security modules: what the program is confined by once it is executed, and what its keys are
 * labelled with (aa_change_onexec(2), setexeccon(3), setkeycreatecon(3)). Written to files of this
 * thread's attr/, by procfs.h's way alone: a fake /proc in an image would take the label for itself
 * and leave the program unconfined (CVE-2019-16884, CVE-2025-31133).
 */
#include "lsm.h"

/* lsm_list_modules(2), Linux 6.8; the number is the same everywhere. */
#define NR_LSM_LIST_MODULES 461
#define SELINUX_ID 101
#define APPARMOR_ID 104

/* 1: active; 0: not; -1: this kernel can't be asked */
static int
is_active(u64 id)
{
  u64 ids[32];
  u32 size = sizeof(ids);
  long n = csn_sys(NR_LSM_LIST_MODULES, ids, &size, 0);

  if (n < 0)
    return -1;
  for (long i = 0; i < n && i < 32; i++)
    if (ids[i] == id)
      return 1;
  return 0;
}

static int
missing(struct csn_ctx *c, const char *name)
{
  return csn_detail(c, -EOPNOTSUPP, name, " is not active in this kernel");
}

/* /proc/thread-self is of the process that opens it, in whichever pid namespace. */
static int
write_attr(struct csn_ctx *c, const char *file, const char *text, size_t len)
{
  char path[64];
  size_t n = csn_append(path, sizeof(path), 0, "thread-self/attr/");
  int fd;

  csn_append(path, sizeof(path), n, file);
  fd = csn_proc_open(c, path, O_WRONLY);
  if (fd >= 0)
    c->detail_len = 0;
  return csn_proc_write(fd, text, len);
}

/* ---- AppArmor ---- */

#define APPARMOR(F) F(str, profile, CSN_REQUIRED, NULL, 0)
CSN_ARGS(apparmor, APPARMOR)

/* "&name" confines by that profile on top of the one that is in force. */
static int
apply_apparmor(const struct apparmor_args *a, struct csn_ctx *c)
{
  const char *name = csn_s(c, a->profile);
  char text[CSN_LABEL_MAX];
  size_t n;
  int rc;

  if (!*name || (*name == '&' && !name[1]))
    return csn_detail(c, -EINVAL, "an empty name", NULL);
  if (a->profile.len > 1000)
    return csn_detail(c, -ENAMETOOLONG, "the name of a profile is at most 1000 bytes long", NULL);
  if (is_active(APPARMOR_ID) == 0)
    return missing(c, "AppArmor");
  n = csn_append(text, sizeof(text), 0, *name == '&' ? "stack " : "exec ");
  n = csn_append(text, sizeof(text), n, *name == '&' ? name + 1 : name);
  rc = csn_proc_open(c, "thread-self/attr/apparmor", O_PATH | O_DIRECTORY);
  if (rc == -ENOENT)
    return missing(c, "AppArmor");
  if (rc < 0)
    return rc;
  csn_close(rc);
  rc = write_attr(c, "apparmor/exec", text, n);
  if (c->detail_len)
    return rc;
  if (rc == -ENOENT)
    return csn_detail(c, rc, "no profile of that name is loaded", NULL);
  if (rc == -EINVAL && is_active(APPARMOR_ID) < 0)
    return missing(c, "AppArmor");
  if (rc == -EACCES || rc == -EPERM)
    return csn_detail(c, rc, "AppArmor does not let this process change to that profile", NULL);
  return rc;
}

CSN_PRIMITIVE(apparmor, "apparmor", APPARMOR, CSN_CHILD | CSN_SELF, apply_apparmor, NULL,
              "$profile")

/* ---- SELinux ---- */

int
csn_selinux_missing(struct csn_ctx *c)
{
  return is_active(SELINUX_ID) == 0 ? missing(c, "SELinux") : 0;
}

/* With two modules active, attr/exec is that of the one which came first; SELinux has no directory. */
static int
write_selinux(struct csn_ctx *c, const char *file, const char *label, size_t len)
{
  int rc = csn_selinux_missing(c);

  if (rc < 0)
    return rc;
  rc = write_attr(c, file, label, len);
  if (rc == -EINVAL && !c->detail_len)
    return csn_detail(c, rc, "SELinux is not active, or its policy has no such label", NULL);
  return rc;
}

int
csn_label_keys(struct csn_ctx *c, const char *label, size_t len)
{
  /* nothing at all would be no write; the NUL takes the label back */
  return write_selinux(c, "keycreate", len ? label : "", len ? len : 1);
}

#define SELINUX(F) F(str, label, CSN_REQUIRED, NULL, 0)
CSN_ARGS(selinux, SELINUX)

static int
apply_selinux(const struct selinux_args *a, struct csn_ctx *c)
{
  if (!a->label.len || a->label.len >= CSN_LABEL_MAX)
    return csn_detail(c, -EINVAL, "a label such as system_u:system_r:container_t:s0 is expected",
                      NULL);
  return write_selinux(c, "exec", csn_s(c, a->label), a->label.len);
}

CSN_PRIMITIVE(selinux, "selinux", SELINUX, CSN_CHILD | CSN_SELF, apply_selinux, NULL, "$label")
