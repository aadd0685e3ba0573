/* SPDX-License-Identifier: MIT
 * Device nodes: made where that is allowed, else the host's own, bound. A host's node is never changed. */
#include "mount.h"
#include <asm/statfs.h>
#include <linux/limits.h>

CSN_WORDS(node_words) = {
  { "char", S_IFCHR },
  { "block", S_IFBLK },
  { "fifo", S_IFIFO },
  { NULL, 0 },
};

/* What both primitives take; NODE() below counts these fields. */
#define NODE_FIELDS(F)                                                                             \
  F(path, path, CSN_REQUIRED, NULL, 0)                                                             \
  F(word, type, 0, node_words, S_IFCHR)                                                            \
  F(u32, major, 0, NULL, 0)                                                                        \
  F(u32, minor, 0, NULL, 0)                                                                        \
  F(mode, mode, 0, NULL, 0666)                                                                     \
  F(u32, uid, 0, NULL, 0)                                                                          \
  F(u32, gid, 0, NULL, 0)

#define MKNOD(F) NODE_FIELDS(F) CSN_ROOT_FIELD(F)
CSN_ARGS(mknod, MKNOD)

struct node {
  u32 type, major, minor, mode;
  s64 uid, gid; /* -1: the creator's */
};

#define NODE(a)                                                                                    \
  {                                                                                                \
    (u32)(a)->type, (u32)(a)->major, (u32)(a)->minor, (u32)(a)->mode,                              \
        (a)->present & 32 ? (s64)(a)->uid : -1, (a)->present & 64 ? (s64)(a)->gid : -1             \
  }

/* The kernel's encoding of a device number in mknod(2). */
static u32
device_number(u32 major, u32 minor)
{
  return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static int
make_node(struct csn_ctx *c, int at, const char *name, const struct node *n)
{
  CSN_CLEANUP_FD int fd = -1;
  long rc;

  if (n->major > 0xfff || n->minor > 0xfffff)
    return csn_detail(c, -EINVAL,
                      "a device has a major number up to 4095 and a minor up to 1048575", NULL);
  rc = csn_sys(__NR_mknodat, at, name, n->type | n->mode, device_number(n->major, n->minor));
  if (rc < 0)
    return (int)rc;
  fd = (int)csn_sys(__NR_openat, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return fd;
  return csn_set_owner_and_mode(fd, n->uid, n->gid, n->mode);
}

static int
apply_mknod(const struct mknod_args *a, struct csn_ctx *c)
{
  struct node n = NODE(a);
  const char *name;
  const int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);

  return at < 0 ? at : make_node(c, at, name, &n);
}

CSN_PRIMITIVE(mknod, "mknod", MKNOD, CSN_CHILD | CSN_NEAR, apply_mknod, NULL,
              "$path $type[ $major:$minor][ $mode]")

#define DEVICE(F)                                                                                  \
  NODE_FIELDS(F)                                                                                   \
  F(path, source, 0, NULL, 0)                                                                      \
  CSN_ROOT_FIELD(F)
CSN_ARGS(device, DEVICE)

static const struct {
  const char *name;
  u32 major, minor;
} common[] = {
  { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
  { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

/* The host's node over an empty file; what it is was looked at on the descriptor that is mounted. */
static int
bind_node(struct csn_ctx *c, const struct device_args *a, const struct node *n, const char *name)
{
  struct csn_tree_opts o = { 0 };
  char source[PATH_MAX] = "/dev/";
  CSN_CLEANUP_FD int fd = -1, tree = -1;
  struct csn_stat st;
  int rc;

  csn_append(source, sizeof(source), a->source.off ? 0 : 5,
             a->source.off ? csn_s(c, a->source) : name);
  fd = csn_source_open(c, source, 0);
  if (fd < 0)
    return fd;
  if ((rc = csn_stat(fd, &st)) < 0)
    return rc;
  if ((st.mode & S_IFMT) != n->type || st.major != n->major || st.minor != n->minor)
    return csn_detail(c, -ENODEV, "the host has another thing at ", source);
  tree = csn_clone_fd(c, fd, source, &o);
  return tree < 0 ? tree : csn_attach(c, tree, c->slots[a->root], csn_s(c, a->path), 0);
}

/* In a mount with nodev a node could be made, and not be opened. */
static bool
is_nodev(struct csn_ctx *c, int at)
{
  struct statfs fs = { 0 };

  if (!c->dir.nodev)
    c->dir.nodev = csn_sys(__NR_fstatfs, at, &fs) == 0 &&
                           (fs.f_flags & CSN_M_NODEV) /* ST_NODEV, the same bit */
                       ? 2
                       : 1;
  return c->dir.nodev == 2;
}

/* What is there already: 0 where it is the node, -EPERM where it is a file to bind one over, as the last
 * start of the same root may have left it. */
static int
look_at(int at, const char *name, const struct node *n)
{
  CSN_CLEANUP_FD int fd = (int)csn_sys(__NR_openat, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct csn_stat st;
  int rc = fd < 0 ? fd : csn_stat(fd, &st);

  if (rc < 0)
    return rc;
  if ((st.mode & S_IFMT) == n->type && st.major == n->major && st.minor == n->minor)
    return 0;
  return (st.mode & S_IFMT) == S_IFREG && n->type != S_IFIFO ? -EPERM : -EEXIST;
}

static int
number_of(struct csn_ctx *c, const char *name, struct node *n)
{
  for (u32 i = 0; i < sizeof(common) / sizeof(*common); i++)
    if (n->type == S_IFCHR && csn_streq(common[i].name, name)) {
      n->major = common[i].major;
      n->minor = common[i].minor;
      return 0;
    }
  return csn_detail(
      c, -EINVAL,
      "major and minor are known for null, zero, full, random, urandom and tty, not for ", name);
}

static int
apply_device(const struct device_args *a, struct csn_ctx *c)
{
  struct node n = NODE(a);
  const char *name;
  const int at = csn_in_root_parent(c, c->slots[a->root], csn_s(c, a->path), &name);
  int rc = -EPERM;

  if (at < 0)
    return at;
  if (n.type != S_IFIFO && !(a->present & 4) && (rc = number_of(c, name, &n)) < 0)
    return rc;
  rc = is_nodev(c, at) ? -EPERM : make_node(c, at, name, &n);
  if (rc == -EEXIST)
    rc = look_at(at, name, &n);
  return rc == -EPERM && n.type != S_IFIFO ? bind_node(c, a, &n, name) : rc;
}

CSN_PRIMITIVE(device, "device", DEVICE, CSN_CHILD | CSN_NEAR, apply_device, NULL,
              "$path[ $major:$minor][ $mode]")
