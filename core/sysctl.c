/* SPDX-License-Identifier: MIT
 * Kernel parameters (/proc/sys), those of a namespace only: any other would be the whole machine's. */
#include "procfs.h"
#include "sysctl.h"
#include <linux/sched.h>

#define SYSCTL(F)                                                                                  \
  F(str, name, CSN_REQUIRED, NULL, 0)                                                              \
  F(str, value, CSN_REQUIRED, NULL, 0)
CSN_ARGS(sysctl, SYSCTL)

/* A name that ends with '.' stands for all below it. */
static const struct owner {
  const char *name;
  u64 namespace;
  const char *word;
} owners[] = {
  { "kernel.msgmax", CLONE_NEWIPC, "ipc" },
  { "kernel.msgmnb", CLONE_NEWIPC, "ipc" },
  { "kernel.msgmni", CLONE_NEWIPC, "ipc" },
  { "kernel.msg_next_id", CLONE_NEWIPC, "ipc" },
  { "kernel.auto_msgmni", CLONE_NEWIPC, "ipc" },
  { "kernel.sem", CLONE_NEWIPC, "ipc" },
  { "kernel.sem_next_id", CLONE_NEWIPC, "ipc" },
  { "kernel.shmall", CLONE_NEWIPC, "ipc" },
  { "kernel.shmmax", CLONE_NEWIPC, "ipc" },
  { "kernel.shmmni", CLONE_NEWIPC, "ipc" },
  { "kernel.shm_next_id", CLONE_NEWIPC, "ipc" },
  { "kernel.shm_rmid_forced", CLONE_NEWIPC, "ipc" },
  { "fs.mqueue.", CLONE_NEWIPC, "ipc" },
  { "kernel.hostname", CLONE_NEWUTS, "uts" },
  { "kernel.domainname", CLONE_NEWUTS, "uts" },
  { "net.", CLONE_NEWNET, "net" },
  { "user.", CLONE_NEWUSER, "user" },
};

static const struct owner *
find_owner(const char *name)
{
  for (u32 i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
    const char *o = owners[i].name, *s = name;

    while (*o && *o == *s)
      o++, s++;
    if (!*o && (o[-1] == '.' ? *s != 0 : !*s))
      return &owners[i];
  }
  return NULL;
}

const char *
csn_sysctl_owner(const char *name)
{
  const struct owner *o = find_owner(name);

  return o ? o->word : NULL;
}

/* "net.ipv4.ip_forward" -> "sys/net/ipv4/ip_forward". A device's name may hold a dot, which is then
 * written as a slash, as sysctl(8) has it. */
static int
path_of(const char *name, char *path, size_t size)
{
  size_t n = csn_append(path, size, 0, "sys/");

  for (const char *s = name; *s; s++) {
    char c = *s == '.' ? '/' : *s == '/' ? '.' : *s;

    /* an empty part, "." or ".." */
    if (c == '/' && (path[n - 1] == '/' || !s[1]))
      return -EINVAL;
    if (c == '.' && path[n - 1] == '/')
      return -EINVAL;
    if (n + 1 >= size)
      return -ENAMETOOLONG;
    path[n++] = c;
  }
  path[n] = 0;
  return 0;
}

static int
apply_sysctl(const struct sysctl_args *a, struct csn_ctx *c)
{
  const char *name = csn_s(c, a->name);
  const struct owner *o = find_owner(name);
  char path[512], text[CSN_DETAIL];
  int rc = path_of(name, path, sizeof(path));

  if (rc < 0)
    return csn_detail(c, rc, "not the name of a kernel parameter", NULL);
  if (!o)
    return csn_detail(c, -EPERM, "no namespace has it for its own: it would be the whole machine's",
                      NULL);
  if (!(c->own & o->namespace)) {
    csn_append(text, sizeof(text), csn_append(text, sizeof(text), 0, o->word),
               " namespace of its own, or it would be the host's");
    return csn_detail(c, -EPERM, "the container needs a ", text);
  }
  rc = csn_proc_write(csn_proc_open(c, path, O_WRONLY), csn_s(c, a->value), a->value.len);
  return rc < 0 && !c->detail_len ? csn_detail(c, rc, "/proc/", path) : rc;
}

CSN_PRIMITIVE(sysctl, "sysctl", SYSCTL, CSN_CHILD, apply_sysctl, NULL, "$name = $value")
