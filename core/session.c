/* SPDX-License-Identifier: MIT
 * Session and controlling terminal (setsid(2), TIOCSCTTY of ioctl_tty(2)). */
#include "prim.h"
#include <asm/ioctls.h>

#define SESSION(F)
CSN_ARGS(session, SESSION)

static int
apply_session(const struct session_args *a, struct csn_ctx *c)
{
  long rc = csn_sys(__NR_setsid, 0);

  (void)a;
  (void)c;
  return rc < 0 ? (int)rc : 0;
}

CSN_PRIMITIVE(session, "session", SESSION, CSN_CHILD | CSN_SELF, apply_session, NULL, "")

#define TTY(F) F(slot, fd, CSN_REQUIRED, NULL, 0)
CSN_ARGS(tty, TTY)

static int
apply_tty(const struct tty_args *a, struct csn_ctx *c)
{
  if (c->slots[a->fd] < 0)
    return csn_detail(c, -EBADF, "no descriptor in the slot", NULL);
  /* 0: never taken from another session, even where root could. */
  return (int)csn_sys(__NR_ioctl, c->slots[a->fd], TIOCSCTTY, 0);
}

CSN_PRIMITIVE(tty, "tty", TTY, CSN_CHILD | CSN_SELF, apply_tty, NULL, "$fd")
