/* SPDX-License-Identifier: MIT
 * The cgroup hierarchies of this machine, as this process sees them: what is mounted where, which
 * controllers are on it, the process's own group in each, and whether it may make groups there. */
#define _GNU_SOURCE
#include "csn.h"
#include "cgroup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of /proc as a string, pushed; 0 or -errno with nothing pushed. */
static int
push_file(lua_State *L, const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  luaL_Buffer b;
  ssize_t n;
  int err;

  if (fd < 0)
    return -errno;
  /* The stack of luaL_Buffer may raise for memory only; one descriptor is then lost to a dying state. */
  luaL_buffinit(L, &b);
  while ((n = CSN_RETRY(csn_sys(__NR_read, fd, luaL_prepbuffer(&b), LUAL_BUFFERSIZE))) > 0)
    luaL_addsize(&b, (size_t)n);
  err = (int)n;
  close(fd);
  luaL_pushresult(&b);
  if (err < 0)
    lua_pop(L, 1);
  return err;
}

/* mountinfo writes space, tab, newline and backslash as \ooo */
static void
unescape(char *s)
{
  char *to = s;

  for (; *s; s++)
    if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
        s[3] <= '7') {
      *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
      s += 3;
    } else {
      *to++ = *s;
    }
  *to = 0;
}

/* Is item one of the words that sep separates in list? */
static bool
listed(const char *list, const char *item, size_t n)
{
  while (*list) {
    size_t k = strcspn(list, ", \n");

    if (k == n && strncmp(list, item, n) == 0)
      return true;
    list += k + (list[k] != 0);
  }
  return false;
}

/* What of path is below root, by whole components; NULL where it is not. */
static const char *
below(const char *root, const char *path)
{
  size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);

  if (strncmp(root, path, n) != 0 || (path[n] && path[n] != '/') || strncmp(path, "/..", 3) == 0)
    return NULL;
  return strcmp(path + n, "/") == 0 ? "" : path + n;
}

struct mount {
  char root[4096], point[4096];
};

/* Find in mountinfo the mount of this hierarchy that shows the group, best from its root down. */
static bool
find_mount(const char *mountinfo, int version, const char *controllers, const char *path,
           struct mount *found)
{
  char line[16384];
  bool any = false;

  while (*mountinfo) {
    size_t n = strcspn(mountinfo, "\n"), first = strcspn(controllers, ",");
    char *save = NULL, *field[6], *dash, *type, *options;
    int i = 0;

    if (n < sizeof(line) && memmem(mountinfo, n, " - cgroup", 9)) {
      memcpy(line, mountinfo, n);
      line[n] = 0;
      dash = strstr(line, " - ");
      if (dash) {
        *dash = 0;
        for (char *f = strtok_r(line, " ", &save); f && i < 6; f = strtok_r(NULL, " ", &save))
          field[i++] = f;
        type = strtok_r(dash + 3, " ", &save);
        strtok_r(NULL, " ", &save);
        options = strtok_r(NULL, " ", &save);
        if (i >= 5 && type && options && strcmp(type, version == 2 ? "cgroup2" : "cgroup") == 0 &&
            (version == 2 || listed(options, controllers, first))) {
          unescape(field[3]);
          unescape(field[4]);
          if (strlen(field[3]) < sizeof(found->root) && strlen(field[4]) < sizeof(found->point) &&
              below(field[3], path) && (!any || strlen(field[3]) < strlen(found->root))) {
            strcpy(found->root, field[3]);
            strcpy(found->point, field[4]);
            any = true;
          }
        }
      }
    }
    mountinfo += n + (mountinfo[n] != 0);
  }
  return any;
}

static void
push_list(lua_State *L, const char *list)
{
  int i = 0;

  lua_newtable(L);
  while (*list) {
    size_t n = strcspn(list, ", \n");

    if (n) {
      lua_pushlstring(L, list, n);
      lua_rawseti(L, -2, ++i);
    }
    list += n + (list[n] != 0);
  }
}

static void
set_words_of(lua_State *L, const char *key, const char *dir, const char *file)
{
  char buf[1024];
  int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  long n = fd < 0 ? -1 : csn_cgroup_read(fd, file, buf, sizeof(buf));

  csn_close(fd);
  push_list(L, n < 0 ? "" : buf);
  lua_setfield(L, -2, key);
}

static bool
may(const char *dir, const char *file, int mode)
{
  char path[8448];

  snprintf(path, sizeof(path), "%s%s%s", dir, *file ? "/" : "", file);
  return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

/* May this process make groups there, and put processes into them? */
static bool
may_make(const char *dir, int version)
{
  /* v2: who moves or clones a process needs the right in the group above both, too */
  return may(dir, "", W_OK | X_OK) && (version == 1 || may(dir, "cgroup.procs", W_OK));
}

/* One line of /proc/self/cgroup, "4:memory:/path", as a table on top of the stack; false: none of use */
static bool
push_hierarchy(lua_State *L, char *line, const char *mountinfo)
{
  char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
  char own[8192], above[8208];
  struct mount m;
  bool able;
  int version;

  if (!path)
    return false;
  *path++ = 0;
  controllers++;
  version = *controllers ? 1 : 2;
  lua_newtable(L);
  lua_pushinteger(L, version);
  lua_setfield(L, -2, "version");
  lua_pushstring(L, path);
  lua_setfield(L, -2, "path");
  if (version == 1) {
    push_list(L, controllers);
    lua_setfield(L, -2, "controllers");
  }
  if (!find_mount(mountinfo, version, controllers, path, &m))
    return true;
  lua_pushstring(L, m.point);
  lua_setfield(L, -2, "mount");
  able = may_make(m.point, version);
  lua_pushboolean(L, able);
  lua_setfield(L, -2, "mount_writable");
  snprintf(own, sizeof(own), "%s%s", m.point, below(m.root, path));
  lua_pushstring(L, own);
  lua_setfield(L, -2, "own");
  lua_pushboolean(L, strcmp(own, m.point) == 0 ? able : may_make(own, version));
  lua_setfield(L, -2, "own_writable");
  if (version == 2) {
    set_words_of(L, "controllers", own, "cgroup.controllers");
    set_words_of(L, "enabled", own, "cgroup.subtree_control");
    set_words_of(L, "mount_controllers", m.point, "cgroup.controllers");
    snprintf(above, sizeof(above), "%s/..", own);
    set_words_of(L, "above_controllers", above, "cgroup.controllers");
    /* Only the root of all has no type, and may have processes beside groups with controllers. */
    lua_pushboolean(L, !may(own, "cgroup.type", F_OK));
    lua_setfield(L, -2, "is_root");
    lua_pushboolean(L, !may(m.point, "cgroup.type", F_OK));
    lua_setfield(L, -2, "mount_is_root");
  }
  return true;
}

/* core.cgroup.detect() -> list of hierarchies | nil, message, errno */
static int
l_detect(lua_State *L)
{
  char *text, *save = NULL;
  int rc, n = 0;

  lua_settop(L, 0);
  if ((rc = push_file(L, "/proc/self/cgroup")) < 0)
    return csn_pusherr(L, -rc, "/proc/self/cgroup");
  if ((rc = push_file(L, "/proc/self/mountinfo")) < 0)
    return csn_pusherr(L, -rc, "/proc/self/mountinfo");
  text = lua_newuserdata(L, lua_rawlen(L, 1) + 1);
  memcpy(text, lua_tostring(L, 1), lua_rawlen(L, 1) + 1);
  lua_newtable(L);
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
    if (push_hierarchy(L, line, lua_tostring(L, 2)))
      lua_rawseti(L, 4, ++n);
  return 1;
}

/* core.cgroup.writable(path) -> may this process make groups there, or write to that file? nil: there is
 * no such directory or file */
static int
l_writable(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct stat st;

  if (stat(path, &st) < 0)
    return 0;
  lua_pushboolean(L, may(path, "", S_ISDIR(st.st_mode) ? W_OK | X_OK : W_OK));
  return 1;
}

static void
open_detect(lua_State *L)
{
  static const luaL_Reg functions[] = { { "detect", l_detect },
                                        { "writable", l_writable },
                                        { NULL, NULL } };

  csn_register(L, "cgroup", functions);
}

CSN_OPEN(open_detect)
