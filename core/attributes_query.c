/* SPDX-License-Identifier: MIT
 * core.attributes(): what this process is, in the words that the steps take. */
#include "csn.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The words of a field of a primitive: no second list of them. */
static const struct csn_word *
words_of(const char *primitive, const char *field)
{
  const struct csn_primitive *p = csn_find_primitive(primitive, NULL);

  for (const struct csn_field *f = p->fields; f->name; f++)
    if (strcmp(f->name, field) == 0)
      return f->words;
  return NULL;
}

static void
set_words(lua_State *L, const char *key, u64 v, const char *primitive, const char *field)
{
  csn_push_words(L, v, words_of(primitive, field));
  lua_setfield(L, -2, key);
}

static void
set_u64(lua_State *L, const char *key, u64 v)
{
  csn_push_u64(L, v);
  lua_setfield(L, -2, key);
}

static void
set_bool(lua_State *L, const char *key, bool v)
{
  lua_pushboolean(L, v);
  lua_setfield(L, -2, key);
}

static void
set_word(lua_State *L, const char *key, u64 v, const char *primitive, const char *field)
{
  const struct csn_word *w = words_of(primitive, field);

  while (w->name && w->value != v)
    w++;
  if (w->name)
    lua_pushstring(L, w->name);
  else
    csn_push_u64(L, v);
  lua_setfield(L, -2, key);
}

/* One bit a capability, asked for one by one up to the last that the kernel has. */
static u64
ask_each(int (*ask)(int cap))
{
  u64 set = 0;

  for (int cap = 0; cap < 64; cap++) {
    int rc = ask(cap);

    if (rc < 0)
      break;
    set |= (u64)(rc > 0) << cap;
  }
  return set;
}

static int
in_bounding(int cap)
{
  return (int)csn_sys(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0);
}

static int
in_ambient(int cap)
{
  return (int)csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0);
}

static void
push_capabilities(lua_State *L)
{
  struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct d[2] = { { 0 }, { 0 } };

  csn_sys(__NR_capget, &h, d);
  lua_newtable(L);
  set_words(L, "bounding", ask_each(in_bounding), "capabilities", "bounding");
  set_words(L, "permitted", d[0].permitted | (u64)d[1].permitted << 32, "capabilities", "bounding");
  set_words(L, "effective", d[0].effective | (u64)d[1].effective << 32, "capabilities", "bounding");
  set_words(L, "inheritable", d[0].inheritable | (u64)d[1].inheritable << 32, "capabilities",
            "bounding");
  set_words(L, "ambient", ask_each(in_ambient), "capabilities", "bounding");
}

static void
push_rlimits(lua_State *L)
{
  const struct csn_word *w = words_of("rlimit", "resource");

  lua_newtable(L);
  for (; w->name; w++) {
    struct {
      u64 soft, hard;
    } limit;

    if (csn_sys(__NR_prlimit64, 0, w->value, NULL, &limit) < 0)
      continue;
    lua_newtable(L);
    for (int i = 0; i < 2; i++) {
      u64 v = i ? limit.hard : limit.soft;

      if (v == UINT64_MAX)
        lua_pushliteral(L, "max");
      else
        csn_push_u64(L, v);
      lua_setfield(L, -2, i ? "hard" : "soft");
    }
    lua_setfield(L, -2, w->name);
  }
}

static void
push_scheduler(lua_State *L)
{
  struct csn_sched_attr a = { .size = sizeof(a) };

  csn_sys(__NR_sched_getattr, 0, &a, sizeof(a), 0);
  lua_newtable(L);
  set_word(L, "policy", a.policy, "scheduler", "policy");
  set_words(L, "flags", a.flags, "scheduler", "flags");
  lua_pushinteger(L, a.nice);
  lua_setfield(L, -2, "nice");
  set_u64(L, "priority", a.priority);
  set_u64(L, "runtime", a.runtime);
  set_u64(L, "deadline", a.deadline);
  set_u64(L, "period", a.period);
  set_u64(L, "util_min", a.util_min);
  set_u64(L, "util_max", a.util_max);
}

/* "0-3,5": the form that the affinity step takes. */
static void
push_affinity(lua_State *L)
{
  u64 mask[1024];
  long bytes = csn_sys(__NR_sched_getaffinity, 0, sizeof(mask), mask),
       bits = bytes < 0 ? 0 : bytes * 8;
  luaL_Buffer b;
  const char *sep = "";

  luaL_buffinit(L, &b);
  for (long i = 0; i < bits; i++) {
    char text[40];
    long last = i;

    if (!(mask[i / 64] >> i % 64 & 1))
      continue;
    while (last + 1 < bits && (mask[(last + 1) / 64] >> (last + 1) % 64 & 1))
      last++;
    snprintf(text, sizeof(text), i == last ? "%s%ld" : "%s%ld-%ld", sep, i, last);
    luaL_addstring(&b, text);
    sep = ",";
    i = last;
  }
  luaL_pushresult(&b);
}

/* core.rlimits() -> { [resource] = { soft =, hard = } }, of core.attributes() */
static int
l_rlimits(lua_State *L)
{
  push_rlimits(L);
  return 1;
}

/* core.attributes() -> { capabilities, securebits, no_new_privs, dumpable, subreaper, death_signal,
 *   rlimits, nice, scheduler, ioprio, affinity, personality } */
static int
l_attributes(lua_State *L)
{
  long nice = csn_sys(__NR_getpriority, PRIO_PROCESS, 0), io = csn_sys(__NR_ioprio_get, 1, 0);
  long persona = csn_sys(__NR_personality, 0xffffffff);
  int subreaper = 0, death = 0;

  csn_sys(__NR_prctl, PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
  csn_sys(__NR_prctl, PR_GET_PDEATHSIG, &death, 0, 0, 0);
  lua_newtable(L);
  push_capabilities(L);
  lua_setfield(L, -2, "capabilities");
  set_words(L, "securebits", (u64)csn_sys(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0), "securebits",
            "flags");
  set_bool(L, "no_new_privs", csn_sys(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0);
  set_bool(L, "dumpable", csn_sys(__NR_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
  set_bool(L, "subreaper", subreaper);
  set_word(L, "death_signal", (u64)death, "exec", "death_signal");
  push_rlimits(L);
  lua_setfield(L, -2, "rlimits");
  lua_pushinteger(L, (lua_Integer)(20 - nice));
  lua_setfield(L, -2, "nice");
  push_scheduler(L);
  lua_setfield(L, -2, "scheduler");
  lua_newtable(L);
  set_word(L, "class", io < 0 ? 0 : (u64)io >> 13, "ioprio", "class");
  set_u64(L, "level", io < 0 ? 0 : (u64)io & 7);
  lua_setfield(L, -2, "ioprio");
  push_affinity(L);
  lua_setfield(L, -2, "affinity");
  lua_newtable(L);
  set_word(L, "domain", (u64)persona & 0xff, "personality", "domain");
  set_words(L, "flags", (u64)persona & 0xffffff00, "personality", "flags");
  lua_setfield(L, -2, "personality");
  return 1;
}

static void
open_attributes(lua_State *L)
{
  lua_pushcfunction(L, l_attributes);
  lua_setfield(L, -2, "attributes");
  lua_pushcfunction(L, l_rlimits);
  lua_setfield(L, -2, "rlimits");
}

CSN_OPEN(open_attributes)
