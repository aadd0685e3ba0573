/* SPDX-License-Identifier: MIT
 *
 * Landlock: what a process and its children may do with files, TCP ports, abstract sockets and signals,
 * whoever they are (landlock(7)). A ruleset says which rights it handles; all of those are denied but
 * for what its rules allow, once the process is restricted by it.
 *
 * A restricted process can't change mounts any more, so these steps stand after the root is complete;
 * and restricting needs no_new_privs, or CAP_SYS_ADMIN.
 */
#include "path.h"
#include "landlock.h"

#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2

/* Rights that mean something on a file; the kernel refuses the others there. */
#define FILE_RIGHTS (1u << 0 | 1u << 1 | 1u << 2 | 1u << 14 | 1u << 15)

CSN_WORDS(fs_words) = { CSN_LANDLOCK_FS(CSN_LANDLOCK_WORD){ NULL, 0 } };
CSN_WORDS(net_words) = { CSN_LANDLOCK_NET(CSN_LANDLOCK_WORD){ NULL, 0 } };
CSN_WORDS(scope_words) = { CSN_LANDLOCK_SCOPE(CSN_LANDLOCK_WORD){ NULL, 0 } };

/* The ABI that brought a right; 0 for what has no name here. */
static int
abi_of(int kind, u64 right)
{
#define FS(name, bit, abi)                                                                         \
  if (kind == 0 && right == 1ull << (bit))                                                         \
    return abi;
#define NET(name, bit, abi)                                                                        \
  if (kind == 1 && right == 1ull << (bit))                                                         \
    return abi;
#define SCOPE(name, bit, abi)                                                                      \
  if (kind == 2 && right == 1ull << (bit))                                                         \
    return abi;
  CSN_LANDLOCK_FS(FS)
  CSN_LANDLOCK_NET(NET)
  CSN_LANDLOCK_SCOPE(SCOPE)
#undef FS
#undef NET
#undef SCOPE
  return 0;
}

static int
say_no_landlock(struct csn_ctx *c, int rc)
{
  if (rc == -ENOSYS)
    return csn_detail(c, rc, "this kernel has no Landlock", NULL);
  if (rc == -EOPNOTSUPP)
    return csn_detail(c, rc, "Landlock is turned off: boot with lsm=landlock,...", NULL);
  return rc;
}

/* Which right was it that the kernel did not take? */
static int
say_which_right(struct csn_ctx *c, const u64 *rights, int rc)
{
  static const struct csn_word *const words[] = { fs_words, net_words, scope_words };
  const int abi = csn_landlock_abi();

  for (int kind = 0; kind < 3; kind++)
    for (const struct csn_word *w = words[kind]; w->name; w++)
      if ((rights[kind] & w->value) && abi_of(kind, w->value) > abi) {
        size_t n = csn_append(c->detail, sizeof(c->detail), 0, "right ");

        n = csn_append(c->detail, sizeof(c->detail), n, w->name);
        n = csn_append(c->detail, sizeof(c->detail), n, " is of Landlock ABI ");
        n = csn_append_u64(c->detail, sizeof(c->detail), n, (u64)abi_of(kind, w->value));
        n = csn_append(c->detail, sizeof(c->detail), n, ", this kernel has ");
        c->detail_len =
            (u32)csn_append_u64(c->detail, sizeof(c->detail), n, (u64)(abi < 0 ? 0 : abi));
        return rc;
      }
  return csn_detail(c, rc, "a right that this kernel does not know", NULL);
}

/* ---- landlock.ruleset ---- */

#define RULESET(F)                                                                                 \
  F(flags, fs, CSN_NUM, fs_words, 0)                                                               \
  F(flags, net, CSN_NUM, net_words, 0)                                                             \
  F(flags, scope, CSN_NUM, scope_words, 0)                                                         \
  F(slot, ruleset, CSN_REQUIRED | CSN_OUT, NULL, 0)
CSN_ARGS(landlock_ruleset, RULESET)

static int
apply_ruleset(const struct landlock_ruleset_args *a, struct csn_ctx *c)
{
  struct csn_landlock_attr attr = { a->fs, a->net, a->scope };
  size_t size = attr.scope ? 24 : attr.net ? 16 : 8;
  long fd;

  if (!attr.fs && !attr.net && !attr.scope)
    return csn_detail(c, -EINVAL, "a ruleset handles at least one right", NULL);
  fd = csn_sys(__NR_landlock_create_ruleset, &attr, size, 0);
  if (fd == -EINVAL || fd == -E2BIG)
    return say_which_right(c, &attr.fs, (int)fd);
  if (fd < 0)
    return say_no_landlock(c, (int)fd);
  return csn_fill(c, a->ruleset, fd);
}

CSN_PRIMITIVE(landlock_ruleset, "landlock.ruleset", RULESET, CSN_CHILD, apply_ruleset, NULL,
              "[fs=$fs ][net=$net ][scope=$scope]")

/* ---- landlock.path ---- */

#define PATH(F)                                                                                    \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(flags, access, CSN_REQUIRED | CSN_NUM, fs_words, 0)                                            \
  F(slot, ruleset, CSN_REQUIRED, NULL, 0)                                                          \
  CSN_ROOT_FIELD(F)
CSN_ARGS(landlock_path, PATH)

static int
apply_path(const struct landlock_path_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int fd = csn_in_root_open(c, c->slots[a->root], csn_s(c, a->path), 0);
  struct {
    u64 access;
    s32 fd;
  } __attribute__((packed)) rule = { a->access, fd };
  struct csn_stat st;
  int rc;

  if (fd < 0)
    return fd;
  if (c->slots[a->ruleset] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot of the ruleset", NULL);
  if ((rc = csn_stat(fd, &st)) < 0)
    return rc;
  /* What only a directory can be asked for says nothing about a file. */
  if ((st.mode & 0170000) != 0040000)
    rule.access &= FILE_RIGHTS;
  if (!rule.access)
    return csn_detail(c, -ENOTDIR, "these rights are of directories", NULL);
  rc = (int)csn_sys(__NR_landlock_add_rule, c->slots[a->ruleset], RULE_PATH_BENEATH, &rule, 0);
  if (rc == -EINVAL)
    return csn_detail(c, rc, "a rule allows what its ruleset handles, and nothing else", NULL);
  return rc;
}

CSN_PRIMITIVE(landlock_path, "landlock.path", PATH, CSN_CHILD, apply_path, NULL, "$path $access")

/* ---- landlock.port ---- */

#define PORT(F)                                                                                    \
  F(u32, port, CSN_REQUIRED, NULL, 0)                                                              \
  F(flags, access, CSN_REQUIRED | CSN_NUM, net_words, 0)                                           \
  F(slot, ruleset, CSN_REQUIRED, NULL, 0)
CSN_ARGS(landlock_port, PORT)

static int
apply_port(const struct landlock_port_args *a, struct csn_ctx *c)
{
  struct {
    u64 access, port;
  } rule = { a->access, a->port };
  int rc;

  if (a->port > 65535)
    return csn_detail(c, -EINVAL, "a port is a number to 65535", NULL);
  if (c->slots[a->ruleset] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot of the ruleset", NULL);
  rc = (int)csn_sys(__NR_landlock_add_rule, c->slots[a->ruleset], RULE_NET_PORT, &rule, 0);
  if (rc == -EINVAL)
    return csn_detail(c, rc, "a rule allows what its ruleset handles, and nothing else", NULL);
  return rc;
}

CSN_PRIMITIVE(landlock_port, "landlock.port", PORT, CSN_CHILD, apply_port, NULL, "$port $access")

/* ---- landlock.restrict ---- */

CSN_WORDS(restrict_words) = {
  { "log_same_exec_off", 1 },
  { "log_new_exec_on", 2 },
  { "log_subdomains_off", 4 },
  { NULL, 0 },
};

#define RESTRICT(F)                                                                                \
  F(slot, ruleset, CSN_REQUIRED, NULL, 0)                                                          \
  F(flags, flags, CSN_NUM, restrict_words, 0)
CSN_ARGS(landlock_restrict, RESTRICT)

static int
apply_restrict(const struct landlock_restrict_args *a, struct csn_ctx *c)
{
  int rc;

  if (c->slots[a->ruleset] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot of the ruleset", NULL);
  rc = (int)csn_sys(__NR_landlock_restrict_self, c->slots[a->ruleset], a->flags);
  if (rc == -EPERM)
    return csn_detail(c, rc, "neither no_new_privs nor CAP_SYS_ADMIN", NULL);
  if (rc == -E2BIG)
    return csn_detail(c, rc, "at most 16 rulesets restrict one process", NULL);
  if (rc == -EINVAL && a->flags)
    return csn_detail(c, rc, "flags are of Landlock ABI 7", NULL);
  return rc;
}

CSN_PRIMITIVE(landlock_restrict, "landlock.restrict", RESTRICT, CSN_CHILD | CSN_SELF,
              apply_restrict, NULL, "[$flags]")
