/* SPDX-License-Identifier: MIT
 *
 * What happens in groups, as one descriptor to poll: an epoll of files whose change the kernel announces
 * (v2: *.events), of pressure triggers (PSI), and of v1's OOM notices (an eventfd). That they want
 * POLLPRI does not show outside: the epoll itself is readable, for whichever loop it is put in.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "cgroup.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WATCH_TYPE "caisson.cgroup.watch"
#define SOURCES 64

enum kind { SOURCE_NONE, SOURCE_FILE, SOURCE_PRESSURE, SOURCE_OOM };

struct watch {
  int epoll;
  struct source {
    int fd;
    enum kind kind;
  } source[SOURCES];
};

static struct watch *
check_watch(lua_State *L)
{
  struct watch *w = luaL_checkudata(L, 1, WATCH_TYPE);

  if (w->epoll < 0)
    luaL_error(L, "the watch is closed");
  return w;
}

static int
open_in(int group, const char *file, int flags)
{
  int fd, rc;

  if (strchr(file, '/') || !*file || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
    return -EINVAL;
  fd = openat(group, file, flags | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  rc = csn_cgroup_version(fd);
  if (rc >= 0)
    return fd;
  close(fd);
  return rc;
}

static int
write_all(int fd, const char *text, size_t len)
{
  ssize_t n = write(fd, text, len);

  return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

/* The file's content: reading it is what makes the next change an event again. */
static ssize_t
read_again(int fd, char *buf, size_t size)
{
  ssize_t n = pread(fd, buf, size - 1, 0);

  buf[n > 0 ? n : 0] = 0;
  return n;
}

/* Takes the descriptor, whatever comes of it. */
static int
add_source(struct watch *w, int fd, enum kind kind, u32 events)
{
  struct epoll_event e = { .events = events };
  u32 i = 0;

  while (i < SOURCES && w->source[i].kind)
    i++;
  e.data.u32 = i;
  if (i == SOURCES || epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
    int err = i == SOURCES ? ENOSPC : errno;

    close(fd);
    return -err;
  }
  w->source[i] = (struct source){ fd, kind };
  return (int)i + 1;
}

static int
answer(lua_State *L, int rc, const char *file)
{
  if (rc < 0)
    return csn_pusherr(L, -rc, "watch %s", file);
  lua_pushinteger(L, rc);
  return 1;
}

/* watch:file(group, file) -> number, text | nil, message, errno */
static int
l_file(lua_State *L)
{
  struct watch *w = check_watch(L);
  int group = csn_tofd(L, 2), rc;
  const char *file = luaL_checkstring(L, 3);
  char buf[4096];

  rc = open_in(group, file, O_RDONLY);
  if (rc >= 0) {
    ssize_t n = read_again(rc, buf, sizeof(buf));

    if (n < 0) {
      int err = errno;

      close(rc);
      rc = -err;
    } else {
      rc = add_source(w, rc, SOURCE_FILE, EPOLLPRI);
    }
  }
  if (rc < 0)
    return csn_pusherr(L, -rc, "watch %s", file);
  lua_pushinteger(L, rc);
  lua_pushstring(L, buf);
  return 2;
}

/* watch:pressure(group, file, "some 150000 1000000") -> number | nil, message, errno */
static int
l_pressure(lua_State *L)
{
  struct watch *w = check_watch(L);
  int group = csn_tofd(L, 2), fd, rc;
  const char *file = luaL_checkstring(L, 3);
  size_t len;
  const char *trigger = luaL_checklstring(L, 4, &len);

  fd = open_in(group, file, O_RDWR | O_NONBLOCK);
  if (fd < 0)
    return answer(L, fd, file);
  rc = write_all(fd, trigger, len + 1); /* the kernel puts its NUL over the last byte */
  if (rc < 0) {
    close(fd);
    return answer(L, rc, file);
  }
  return answer(L, add_source(w, fd, SOURCE_PRESSURE, EPOLLPRI), file);
}

/* watch:oom(group) -> number | nil, message, errno: v1, "eventfd file" into cgroup.event_control */
static int
l_oom(lua_State *L)
{
  struct watch *w = check_watch(L);
  int group = csn_tofd(L, 2), control, rc, fd;
  char line[32];

  control = open_in(group, "memory.oom_control", O_RDONLY);
  if (control < 0)
    return answer(L, control, "memory.oom_control");
  fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  rc = fd < 0 ? -errno : 0;
  if (rc == 0) {
    int n = snprintf(line, sizeof(line), "%d %d", fd, control);

    rc = csn_cgroup_write(group, "cgroup.event_control", line, (size_t)n);
  }
  close(control);
  if (rc < 0) {
    csn_close(fd);
    return answer(L, rc, "cgroup.event_control");
  }
  return answer(L, add_source(w, fd, SOURCE_OOM, EPOLLIN), "memory.oom_control");
}

/* watch:ready() -> { { number, text | true | false }, ... }: what has happened, without waiting; false: that
 * source is gone, as its group is */
static int
l_ready(lua_State *L)
{
  struct watch *w = check_watch(L);
  struct epoll_event e[SOURCES];
  int n = epoll_wait(w->epoll, e, SOURCES, 0), k = 0;

  lua_newtable(L);
  for (int i = 0; i < n; i++) {
    struct source *s = &w->source[e[i].data.u32];
    char buf[4096];
    u64 count;

    lua_createtable(L, 2, 0);
    lua_pushinteger(L, (lua_Integer)e[i].data.u32 + 1);
    lua_rawseti(L, -2, 1);
    if (s->kind == SOURCE_FILE && read_again(s->fd, buf, sizeof(buf)) >= 0) {
      lua_pushstring(L, buf);
    } else if (s->kind == SOURCE_OOM && read(s->fd, &count, sizeof(count)) == sizeof(count)) {
      lua_pushboolean(L, 1);
    } else if (s->kind == SOURCE_PRESSURE && !(e[i].events & EPOLLERR)) {
      lua_pushboolean(L, 1);
    } else {
      lua_pushboolean(L, 0);
      /* a fork of this process may hold a copy, which would keep it in the epoll */
      epoll_ctl(w->epoll, EPOLL_CTL_DEL, s->fd, NULL);
      close(s->fd);
      s->kind = SOURCE_NONE;
    }
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, ++k);
  }
  return 1;
}

static int
l_fileno(lua_State *L)
{
  lua_pushinteger(L, check_watch(L)->epoll);
  return 1;
}

static int
l_close(lua_State *L)
{
  struct watch *w = luaL_checkudata(L, 1, WATCH_TYPE);

  for (int i = 0; w->epoll >= 0 && i < SOURCES; i++)
    if (w->source[i].kind)
      close(w->source[i].fd);
  csn_close(w->epoll);
  memset(w, 0, sizeof(*w));
  w->epoll = -1;
  return 0;
}

/* core.cgroup.watch() -> watch | nil, message, errno */
static int
l_watch(lua_State *L)
{
  struct watch *w = lua_newuserdata(L, sizeof(*w));

  memset(w, 0, sizeof(*w));
  w->epoll = -1;
  luaL_getmetatable(L, WATCH_TYPE);
  lua_setmetatable(L, -2);
  w->epoll = csn_above_stdio(epoll_create1(EPOLL_CLOEXEC));
  return w->epoll < 0 ? csn_pusherr(L, -w->epoll, "watch") : 1;
}

static void
open_watch(lua_State *L)
{
  static const luaL_Reg functions[] = { { "watch", l_watch }, { NULL, NULL } };
  static const luaL_Reg methods[] = { { "file", l_file },     { "pressure", l_pressure },
                                      { "oom", l_oom },       { "ready", l_ready },
                                      { "fileno", l_fileno }, { "close", l_close },
                                      { "__gc", l_close },    { "__close", l_close },
                                      { NULL, NULL } };

  if (luaL_newmetatable(L, WATCH_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  csn_register(L, "cgroup", functions);
}

CSN_OPEN(open_watch)
