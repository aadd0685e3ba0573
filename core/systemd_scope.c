/* SPDX-License-Identifier: MIT
 *
 * The library's side of systemd's scopes: started around a process, entered, changed and stopped.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "cgroup.h"
#include "systemd.h"
#include "systemd_bus.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define sd csn_sd

static int
stop_unit(struct csn_bus *b, const char *unit)
{
  struct sd_bus_message *reply = NULL;
  char result[32] = "";
  int rc = csn_bus_subscribe(b);

  if (rc >= 0)
    rc = csn_bus_call_strings(b, "StopUnit", unit, "replace", &reply);
  if (rc < 0)
    return csn_bus_says(b, "NoSuchUnit") ? 0 : rc;
  rc = csn_bus_await_job(b, reply, result, sizeof(result));
  if (rc >= 0 && strcmp(result, "done") != 0)
    csn_bus_call_strings(b, "ResetFailedUnit", unit, NULL,
                         NULL); /* gone already: so much the better */
  return rc;
}

/* ---- the steps ---- */

/* The child's group on v2, "/a/b.scope", as it is seen from here. */
static int
group_of(pid_t pid, char *path, size_t size)
{
  char name[64], line[CSN_CGROUP_PATH];
  int rc = -ESRCH;
  FILE *f;

  snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
  f = fopen(name, "re");
  if (!f)
    return -errno;
  while (rc && fgets(line, sizeof(line), f))
    if (strncmp(line, "0::/", 4) == 0) {
      line[strcspn(line, "\n")] = 0;
      rc = (size_t)snprintf(path, size, "%s", line + 3) < size ? 0 : -ENAMETOOLONG;
    }
  fclose(f);
  return rc;
}

/* Controllers that systemd knows nothing of are for us to enable, from the root of the hierarchy on. */
static int
enable_above(const struct systemd_scope_args *a, struct csn_ctx *c, char *path)
{
  for (char *p = path + a->at.len; a->controllers.count && *p; p++) {
    CSN_CLEANUP_FD int dir = -1;
    int rc;

    if (*p != '/')
      continue;
    *p = 0;
    dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    rc = dir < 0 ? csn_detail(c, -errno, path, NULL)
                 : csn_cgroup_enable(a->controllers, c, dir, path);
    *p = '/';
    if (rc < 0)
      return rc;
  }
  return 0;
}

/* Once systemd says that the scope is there: its group, into the slot. */
static int
take_group(const struct systemd_scope_args *a, struct csn_ctx *c, pid_t pid, const char *unit)
{
  char path[2 * CSN_CGROUP_PATH];
  const char *at = csn_s(c, a->at), *last;
  size_t n = strlen(at);
  int rc, fd;

  snprintf(path, sizeof(path), "%s", at);
  rc = n < CSN_CGROUP_PATH ? group_of(pid, path + n, sizeof(path) - n) : -ENAMETOOLONG;
  if (rc < 0)
    return csn_detail(c, rc, "the group of the process", NULL);
  last = strrchr(path, '/');
  if (strcmp(last + 1, unit) != 0)
    return csn_detail(c, -EPERM, "systemd has left the process in ", path + n);
  rc = enable_above(a, c, path);
  if (rc < 0)
    return rc;
  fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return csn_detail(c, -errno, path, NULL);
  rc = csn_cgroup_version(fd);
  if (rc != 2) {
    close(fd);
    return csn_detail(c, rc < 0 ? rc : -EMEDIUMTYPE, path, " is no group of cgroup v2");
  }
  return csn_fill(c, a->slot, fd);
}

static int
start_unit(struct csn_bus *b, const struct systemd_scope_args *a, const char *unit,
           const char *const *list, const char *const *own)
{
  u32 n = a->properties.count;
  long version = csn_asks_version(list, n) ? csn_systemd_version(b) : -1;
  struct sd_bus_message *m, *reply = NULL;
  char result[32] = "";
  int rc = csn_bus_subscribe(b);

  if (rc < 0)
    return rc;
  /* one of that name may be on its way out */
  for (int tries = 10;; tries--) {
    rc = csn_bus_new_call(b, &m, CSN_SYSTEMD_PATH, CSN_MANAGER, "StartTransientUnit");
    if (rc >= 0)
      rc = sd.bus_message_append_basic(m, 's', unit);
    if (rc >= 0)
      rc = sd.bus_message_append_basic(m, 's', "fail");
    if (rc >= 0)
      rc = csn_bus_append_properties(b, m, list, n, own, version);
    if (rc >= 0)
      rc = sd.bus_message_open_container(m, 'a', "(sa(sv))");
    if (rc >= 0)
      rc = sd.bus_message_close_container(m);
    rc = csn_bus_call(b, m, rc, &reply);
    if (rc >= 0 || !csn_bus_says(b, "UnitExists") || !tries)
      break;
    csn_bus_call_strings(b, "ResetFailedUnit", unit, NULL, NULL);
    nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
  }
  if (rc < 0)
    return rc;
  rc = csn_bus_await_job(b, reply, result, sizeof(result));
  if (rc == 0 && strcmp(result, "done") != 0) {
    csn_bus_call_strings(b, "ResetFailedUnit", unit, NULL, NULL);
    rc = csn_detail(b->c, -EIO, "systemd's job to start the scope: ", result);
  }
  return rc;
}

int
csn_scope_start(const struct systemd_scope_args *a, struct csn_ctx *c)
{
  const struct csn_str *properties = csn_l(c, a->properties);
  const char **list;
  pid_t pid = a->pid ? (pid_t)a->pid : c->pid ? c->pid : getpid();
  char unit[CSN_CGROUP_NAME], pids[32];
  const char *const own[] = { pids, NULL };
  struct csn_bus b;
  long n = csn_cgroup_component(csn_s(c, a->unit), c, unit);
  int rc;

  if (n < 0 || csn_s(c, a->unit)[n])
    return csn_detail(c, n < 0 ? (int)n : -EINVAL, "unit: the name of a scope expected", NULL);
  list = calloc(a->properties.count + 1, sizeof(*list));
  if (!list)
    return -ENOMEM;
  for (u32 i = 0; i < a->properties.count; i++)
    list[i] = csn_s(c, properties[i]);
  snprintf(pids, sizeof(pids), "PIDs au %d", (int)pid);
  rc = csn_bus_open(&b, a->user, c);
  if (rc == 0) {
    rc = start_unit(&b, a, unit, list, own);
    if (rc == 0 && (rc = take_group(a, c, pid, unit)) < 0) {
      struct csn_ctx said = *c; /* stopping may have its own words */

      b.c = &said;
      stop_unit(&b, unit);
    }
    sd.bus_error_free(&b.error);
    csn_bus_close(&b);
  }
  free(list);
  return rc;
}

/* The run has ended: so does its scope. What systemd has removed already may be another's by now. */
int
csn_scope_undo(const void *args, struct csn_ctx *c)
{
  const struct systemd_scope_args *a = args;
  int group = c->slots[a->slot], rc;
  char unit[CSN_CGROUP_NAME], events[256];
  struct csn_ctx said = *c; /* c's are the words for what failed before */
  struct csn_bus b;

  if (group < 0 || csn_cgroup_read(group, "cgroup.events", events, sizeof(events)) < 0 ||
      csn_cgroup_component(csn_s(c, a->unit), c, unit) < 0)
    return 0;
  csn_cgroup_write(group, "cgroup.kill", "1", 1);
  rc = csn_bus_open(&b, a->user, &said);
  if (rc == 0) {
    rc = stop_unit(&b, unit);
    sd.bus_error_free(&b.error);
    csn_bus_close(&b);
  }
  return rc;
}

int
csn_scope_attach(const struct systemd_attach_args *a, struct csn_ctx *c)
{
  struct sd_bus_message *m;
  char sub[CSN_CGROUP_PATH];
  u32 pid = (u32)(c->pid ? c->pid : getpid());
  struct csn_bus b;
  int rc = csn_bus_open(&b, a->user, c);

  if (rc < 0)
    return rc;
  snprintf(sub, sizeof(sub), "%s%s", a->sub.off ? "/" : "", a->sub.off ? csn_s(c, a->sub) : "");
  rc = csn_bus_new_call(&b, &m, CSN_SYSTEMD_PATH, CSN_MANAGER, "AttachProcessesToUnit");
  if (rc >= 0)
    rc = sd.bus_message_append_basic(m, 's', csn_s(c, a->unit));
  if (rc >= 0)
    rc = sd.bus_message_append_basic(m, 's', sub);
  if (rc >= 0)
    rc = sd.bus_message_append_array(m, 'u', &pid, sizeof(pid));
  rc = csn_bus_call(&b, m, rc, NULL);
  sd.bus_error_free(&b.error);
  csn_bus_close(&b);
  return rc;
}

/* ---- from Lua ---- */

static int
push_result(lua_State *L, int rc, const struct csn_ctx *c, const char *unit)
{
  if (rc >= 0)
    return csn_pushok(L);
  return csn_pusherr(L, -rc, "%s: %s", unit, c->detail_len ? c->detail : "systemd");
}

/* core.systemd.stop(unit, [user]) -> true | nil, message, errno. One that is not there is no error. */
static int
l_stop(lua_State *L)
{
  const char *unit = luaL_checkstring(L, 1);
  struct csn_ctx c = { .pid = 0 };
  struct csn_bus b;
  int rc = csn_bus_open(&b, lua_toboolean(L, 2), &c);

  if (rc == 0) {
    rc = stop_unit(&b, unit);
    sd.bus_error_free(&b.error);
    csn_bus_close(&b);
  }
  return push_result(L, rc, &c, unit);
}

/* The texts of the list at idx, which keeps them. Pushes a userdata. */
static const char **
texts_at(lua_State *L, int idx, u32 *n)
{
  const char **list;

  luaL_checktype(L, idx, LUA_TTABLE);
  *n = (u32)lua_rawlen(L, idx);
  list = lua_newuserdata(L, sizeof(*list) * (*n + 1));
  for (u32 i = 0; i < *n; i++) {
    lua_rawgeti(L, idx, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "properties are strings, got %s", luaL_typename(L, -1));
    list[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return list;
}

/* core.systemd.set(unit, properties, [user]) -> true | nil, message, errno: until the unit ends. What systemd writes
 * to its group for them is written by then. */
static int
l_set(lua_State *L)
{
  const char *unit = luaL_checkstring(L, 1);
  u32 n;
  const char **list = texts_at(L, 2, &n);
  struct csn_ctx c = { .pid = 0 };
  struct sd_bus_message *m;
  struct csn_bus b;
  int rc = csn_bus_open(&b, lua_toboolean(L, 3), &c), yes = 1;

  if (rc == 0) {
    long version = csn_asks_version(list, n) ? csn_systemd_version(&b) : -1;

    rc = csn_bus_new_call(&b, &m, CSN_SYSTEMD_PATH, CSN_MANAGER, "SetUnitProperties");
    if (rc >= 0)
      rc = sd.bus_message_append_basic(m, 's', unit);
    if (rc >= 0)
      rc = sd.bus_message_append_basic(m, 'b', &yes);
    if (rc >= 0)
      rc = csn_bus_append_properties(&b, m, list, n, NULL, version);
    rc = csn_bus_call(&b, m, rc, NULL);
    if (rc == 0) /* it writes to the group before it takes another call */
      csn_systemd_version(&b);
    sd.bus_error_free(&b.error);
    csn_bus_close(&b);
  }
  return push_result(L, rc, &c, unit);
}

/* Push the value's text, as it would be set. */
static int
push_basic(lua_State *L, struct sd_bus_message *m, char type)
{
  union {
    const char *s;
    int b;
    uint32_t u;
    uint64_t t;
  } v;
  char text[24] = "";
  int rc;

  memset(&v, 0, sizeof(v));
  if (!strchr("sbut", type))
    return -EINVAL;
  rc = sd.bus_message_read_basic(m, type, &v);
  if (rc <= 0)
    return rc;
  if (type == 's') {
    lua_pushstring(L, v.s);
  } else {
    csn_append_u64(text, sizeof(text), 0, type == 't' ? v.t : type == 'b' ? (u64)v.b : v.u);
    lua_pushstring(L, text);
  }
  return 1;
}

static int
push_property(lua_State *L, struct sd_bus_message *m, const char *name, const char *signature)
{
  int rc = sd.bus_message_enter_container(m, 'v', signature), top = lua_gettop(L);

  if (rc < 0)
    return rc;
  luaL_checkstack(L, LUA_MINSTACK, "a property's value");
  lua_pushfstring(L, "%s %s", name, signature);
  if (strcmp(signature, "ay") == 0) {
    const void *bytes;
    size_t n;

    rc = sd.bus_message_read_array(m, 'y', &bytes, &n);
    lua_pushliteral(L, " ");
    for (size_t i = 0; rc >= 0 && i < n; i++) {
      char hex[4];

      snprintf(hex, sizeof(hex), "%02x", ((const u8 *)bytes)[i]);
      lua_pushstring(L, hex);
      lua_concat(L, 2);
    }
    lua_concat(L, 2);
  } else if (strncmp(signature, "a(", 2) == 0 && strlen(signature) < 12) {
    char members[16];

    snprintf(members, sizeof(members), "%.*s", (int)strlen(signature) - 3, signature + 2);
    rc = sd.bus_message_enter_container(m, 'a', NULL);
    while (rc >= 0 && (rc = sd.bus_message_enter_container(m, 'r', members)) > 0) {
      for (const char *t = members; rc > 0 && *t; t++) {
        lua_pushliteral(L, " ");
        rc = push_basic(L, m, *t);
        if (rc > 0)
          lua_concat(L, 3);
      }
      if (rc > 0)
        rc = sd.bus_message_exit_container(m);
    }
  } else {
    lua_pushliteral(L, " ");
    rc = push_basic(L, m, signature[0]);
    if (rc > 0)
      lua_concat(L, 3);
  }
  if (rc < 0)
    lua_settop(L, top);
  return rc < 0 ? rc : 0;
}

/* core.systemd.get(unit, { "MemoryMax t", "Unit.ActiveState s", ... }, [user]) -> { "MemoryMax t 67108864", ... } | nil, message, errno */
static int
l_get(lua_State *L)
{
  const char *unit = luaL_checkstring(L, 1);
  struct sd_bus_message *reply = NULL;
  struct csn_ctx c = { .pid = 0 };
  char object[512] = "", name[80];
  const char *path;
  u32 n;
  const char **list = texts_at(L, 2, &n);
  struct csn_bus b;
  int rc = csn_bus_open(&b, lua_toboolean(L, 3), &c);

  if (rc < 0)
    return push_result(L, rc, &c, unit);
  rc = csn_bus_call_strings(&b, "GetUnit", unit, NULL, &reply);
  if (rc == 0) {
    if (sd.bus_message_read_basic(reply, 'o', &path) >= 0)
      snprintf(object, sizeof(object), "%s", path);
    sd.bus_message_unref(reply);
  }
  lua_newtable(L);
  for (u32 i = 0; rc == 0 && i < n; i++) {
    const char *signature = strchr(list[i], ' ');

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(list[i], " "), list[i]);
    reply = NULL;
    rc = strncmp(name, "Unit.", 5) == 0
             ? csn_bus_get(&b, object, CSN_SYSTEMD ".Unit", name + 5, &reply)
             : csn_bus_get(&b, object, CSN_SYSTEMD ".Scope", name, &reply);
    if (rc == 0) {
      rc = signature ? push_property(L, reply, name, signature + 1) : -EINVAL;
      if (rc == 0)
        lua_rawseti(L, -2, (int)i + 1);
      else
        csn_detail(&c, rc, "the property ", list[i]);
      sd.bus_message_unref(reply);
    }
  }
  sd.bus_error_free(&b.error);
  csn_bus_close(&b);
  return rc < 0 ? push_result(L, rc, &c, unit) : 1;
}

static void
open_systemd(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "stop", l_stop }, { "set", l_set }, { "get", l_get }, { NULL, NULL }
  };

  csn_register(L, "systemd", functions);
}

CSN_OPEN(open_systemd)
