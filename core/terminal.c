/* SPDX-License-Identifier: MIT
 *
 * A terminal for the container: a pty of its own devpts, so that nothing in there ever holds a
 * descriptor of the caller's terminal (pty(7); TIOCGPTPEER of ioctl_tty(2)).
 */
#include "path.h"
#include <asm/termios.h>
#include <linux/stat.h>

#define PTY(F)                                                                                     \
  F(path, path, 0, NULL, 0)                                                                        \
  F(u32, rows, 0, NULL, 0)                                                                         \
  F(u32, columns, 0, NULL, 0)                                                                      \
  F(u32, uid, 0, NULL, ~0u)                                                                        \
  F(u32, gid, 0, NULL, ~0u)                                                                        \
  F(slot, master, CSN_OUT | CSN_REQUIRED, NULL, 0)                                                 \
  F(slot, slave, CSN_OUT | CSN_REQUIRED, NULL, 0)                                                  \
  CSN_ROOT_FIELD(F)
CSN_ARGS(pty, PTY)

#define DIR_SIZE 256

/* In its directory, and checked to be the device: the path is the root's, which may hold anything. A pty
 * that ptmx makes is one of the devpts that it belongs to. */
static int
open_master(const struct pty_args *a, struct csn_ctx *c)
{
  const char *path = a->path.off ? csn_s(c, a->path) : "/dev/pts/ptmx", *name = path;
  char parent[DIR_SIZE];
  struct csn_stat st;
  CSN_CLEANUP_FD int dir = -1, fd = -1;
  int rc;

  for (const char *s = path; *s; s++)
    if (*s == '/')
      name = s + 1;
  if (name == path || !*name || name - path >= DIR_SIZE)
    return csn_detail(c, -EINVAL, "the path of a ptmx device is expected, got ", path);
  csn_append(parent, (size_t)(name - path) + 1, 0, path);
  dir = csn_in_root_open(c, c->slots[a->root], parent, CSN_WANT_DIR);
  if (dir < 0)
    return dir;
  fd = (int)csn_sys(__NR_openat, dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if ((rc = fd < 0 ? fd : csn_stat(fd, &st)) < 0)
    return csn_detail(c, rc, path, NULL);
  if ((st.mode & S_IFMT) != S_IFCHR || st.major != 5 || st.minor != 2)
    return csn_detail(c, -ENODEV, path, " is no ptmx: mount a devpts there");
  csn_close(csn_steal_fd(&fd));
  fd = (int)csn_sys(__NR_openat, dir, name, O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? csn_detail(c, fd, path, NULL) : csn_steal_fd(&fd);
}

static int
apply_pty(const struct pty_args *a, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int master = open_master(a, c), slave = -1;
  struct winsize size = { .ws_row = (u16)a->rows, .ws_col = (u16)a->columns };
  int unlock = 0;
  long rc = master;

  if (rc < 0)
    return (int)rc;
  if ((rc = csn_sys(__NR_ioctl, master, TIOCSPTLCK, &unlock)) < 0)
    return (int)rc;
  slave = (int)csn_sys(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0)
    return slave;
  if ((a->rows || a->columns) && (rc = csn_sys(__NR_ioctl, slave, TIOCSWINSZ, &size)) < 0)
    return (int)rc;
  /* The program opens /dev/pts/N by name under ids that it does not have yet. */
  if (((u32)a->uid != ~0u || (u32)a->gid != ~0u) &&
      (rc = csn_sys(__NR_fchown, slave, (u32)a->uid, (u32)a->gid)) < 0)
    return (int)rc;
  if ((rc = csn_fill(c, a->master, csn_steal_fd(&master))) < 0)
    return (int)rc;
  return csn_fill(c, a->slave, csn_steal_fd(&slave));
}

CSN_PRIMITIVE(pty, "pty", PTY, CSN_CHILD, apply_pty, NULL, "$master, $slave[ of $path][ for $uid]")
