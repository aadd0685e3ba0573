/* SPDX-License-Identifier: MIT
 *
 * A filter's listener (seccomp_unotify(2)), for who answers: the calls that are asked about, an answer to each, and
 * descriptors for who asks. Whoever asks may be gone at any time (ENOENT), and its number then another's: what was
 * read of it by that number holds only if the call is still there afterwards.
 */
#define _GNU_SOURCE
#include "csn.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#define FOREIGN(nr) ((nr)&0x40000000) /* x32 */
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN(nr) 0
#endif

/* Linux 5.14 */
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

/* Negative ones, such as AT_FDCWD, as numbers too. */
void
csn_push_argument(lua_State *L, u64 v)
{
  if ((s64)v < 0 && (s64)v > -(s64)(1ull << 53))
    lua_pushnumber(L, (lua_Number)(s64)v);
  else
    csn_push_u64(L, v);
}

/* core.notify.receive(fd) -> { id, pid, nr, native, args, ip } | nil, "none" | nil, "ended" | nil, message, errno
 * It never waits: fd is readable when there is something, and ended once nobody is left under the filter. */
static int
l_receive(lua_State *L)
{
  struct pollfd ready = { .fd = csn_tofd(L, 1), .events = POLLIN };
  struct seccomp_notif n;
  int rc;

  for (;;) {
    rc = (int)CSN_RETRY(poll(&ready, 1, 0) < 0 ? -errno : ready.revents);
    if (rc < 0)
      return csn_pusherr(L, -rc, "poll the listener");
    if (!(rc & POLLIN)) {
      lua_pushnil(L);
      lua_pushstring(L, rc ? "ended" : "none");
      return 2;
    }
    memset(&n, 0, sizeof(n));
    if (ioctl(ready.fd, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0)
      break;
    if (errno != ENOENT && errno != EINTR) /* who asked is gone */
      return csn_pusherr(L, errno, "receive from the listener");
  }
  lua_createtable(L, 0, 6);
  csn_push_u64(L, n.id);
  lua_setfield(L, -2, "id");
  lua_pushinteger(L, (lua_Integer)n.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, n.data.nr);
  lua_setfield(L, -2, "nr");
  lua_pushboolean(L, n.data.arch == OUR_ARCH && !FOREIGN(n.data.nr));
  lua_setfield(L, -2, "native");
  csn_push_u64(L, n.data.instruction_pointer);
  lua_setfield(L, -2, "ip");
  lua_createtable(L, 6, 0);
  for (int k = 0; k < 6; k++) {
    csn_push_argument(L, n.data.args[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "args");
  return 1;
}

static int
answered(lua_State *L, int rc, const char *what)
{
  return rc < 0 ? csn_pusherr(L, -rc, "%s", what) : csn_pushok(L);
}

/* core.notify.valid(fd, id) -> true | nil, message, errno: does the call still wait for its answer? */
static int
l_valid(lua_State *L)
{
  int fd = csn_tofd(L, 1);
  u64 id = csn_to_u64(L, 2, "id", false);

  return answered(L, ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0 ? -errno : 0,
                  "the call that was asked about");
}

/* core.notify.answer(fd, id, { value = } or { errno = } or { continue = true }) -> true | nil, message, errno */
static int
l_answer(lua_State *L)
{
  static const char *const keys[] = { "value", "errno", "continue", NULL };
  struct seccomp_notif_resp r = { 0 };
  int fd = csn_tofd(L, 1), given = 0;

  r.id = csn_to_u64(L, 2, "id", false);
  luaL_checktype(L, 3, LUA_TTABLE);
  csn_checkkeys(L, 3, keys);
  if (csn_field(L, 3, "value")) {
    lua_Number v = lua_tonumber(L, -1);

    if (lua_type(L, -1) != LUA_TNUMBER || !(v >= -9007199254740992.0 && v <= 9007199254740992.0) ||
        v != (lua_Number)(s64)v)
      return luaL_error(L, "option 'value': a whole number of at most 2^53 expected");
    r.val = (s64)v;
    given++;
    lua_pop(L, 1);
  }
  if (csn_field(L, 3, "errno")) {
    lua_Number v = lua_tonumber(L, -1);

    if (lua_type(L, -1) != LUA_TNUMBER || !(v >= 1 && v <= 4095))
      return luaL_error(L, "option 'errno': a number from 1 to 4095 expected");
    r.error = -(s32)v;
    given++;
    lua_pop(L, 1);
  }
  if (csn_opt_bool(L, 3, "continue", false)) {
    r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    given++;
  }
  if (given != 1)
    return luaL_error(L, "one of value, errno and continue expected");
  return answered(L, ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r) < 0 ? -errno : 0, "answer the call");
}

/* core.notify.add(fd, id, source, [options]) -> its number there | nil, message, errno
 * options: number (else the least free one), cloexec, answer (the call returns the number) */
static int
l_add(lua_State *L)
{
  static const char *const keys[] = { "number", "cloexec", "answer", NULL };
  struct seccomp_notif_addfd a = { 0 };
  int fd = csn_tofd(L, 1), rc;
  lua_Number number = -1;

  a.id = csn_to_u64(L, 2, "id", false);
  a.srcfd = (u32)csn_tofd(L, 3);
  if (!lua_isnoneornil(L, 4)) {
    luaL_checktype(L, 4, LUA_TTABLE);
    csn_checkkeys(L, 4, keys);
    number = csn_opt_num(L, 4, "number", -1);
    if (!(number >= -1 && number <= 0x7fffffff))
      return luaL_error(L, "option 'number': that of a descriptor expected");
    if (number >= 0) {
      a.flags |= SECCOMP_ADDFD_FLAG_SETFD;
      a.newfd = (u32)number;
    }
    if (csn_opt_bool(L, 4, "cloexec", false))
      a.newfd_flags = 02000000; /* O_CLOEXEC */
    if (csn_opt_bool(L, 4, "answer", false))
      a.flags |= SECCOMP_ADDFD_FLAG_SEND;
  }
  do
    rc = ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
  while (rc < 0 && errno == EINTR);
  if (rc < 0)
    return csn_pusherr(L, errno, "add a descriptor");
  lua_pushinteger(L, rc);
  return 1;
}

static void
open_notify(lua_State *L)
{
  static const luaL_Reg functions[] = { { "receive", l_receive },
                                        { "valid", l_valid },
                                        { "answer", l_answer },
                                        { "add", l_add },
                                        { NULL, NULL } };

  csn_register(L, "notify", functions);
}

CSN_OPEN(open_notify)
