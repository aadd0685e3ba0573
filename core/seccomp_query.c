/* SPDX-License-Identifier: MIT
 * What a seccomp policy asks before it is written: names, numbers, architectures, and what this kernel
 * can load. */
#define _GNU_SOURCE
#include "csn.h"
#include "seccomp_build.h"
#include <linux/seccomp.h>
#include <stdlib.h>

static u32
opt_arch(lua_State *L, int idx)
{
  return lua_isnoneornil(L, idx) ? seccomp_arch_native() : csn_read_arch(L, idx);
}

/* core.seccomp.number(name, [architecture]) -> number | nil: libseccomp has none */
static int
l_number(lua_State *L)
{
  int nr = seccomp_syscall_resolve_name_arch(opt_arch(L, 2), luaL_checkstring(L, 1));

  if (nr < 0)
    return 0;
  lua_pushinteger(L, nr);
  return 1;
}

/* core.seccomp.audit([architecture]) -> AUDIT_ARCH_..., as the kernel tells it to a filter */
static int
l_audit(lua_State *L)
{
  u32 arch = opt_arch(L, 1);

  lua_pushnumber(L, arch == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : arch);
  return 1;
}

/* core.seccomp.known(name) -> does libseccomp know the name, on whatever architecture? */
static int
l_known(lua_State *L)
{
  lua_pushboolean(L, seccomp_syscall_resolve_name(luaL_checkstring(L, 1)) != __NR_SCMP_ERROR);
  return 1;
}

/* core.seccomp.syscalls([architecture]) -> { name = number } */
static int
l_syscalls(lua_State *L)
{
  const u32 arch = opt_arch(L, 1), base = arch == SCMP_ARCH_X32 ? CSN_X32_BIT : 0;

  lua_newtable(L);
  for (u32 nr = base; nr < base + 1024; nr++) {
    char *name = seccomp_syscall_resolve_num_arch(arch, (int)nr), copy[64];

    if (!name)
      continue;
    csn_append(copy, sizeof(copy), 0, name);
    free(name);
    lua_pushinteger(L, (lua_Integer)nr);
    lua_setfield(L, -2, copy);
  }
  return 1;
}

/* core.seccomp.architectures() -> the names that libseccomp knows */
static int
l_architectures(lua_State *L)
{
  int n = 0;

  lua_newtable(L);
  for (int i = 0; csn_arch_names[i]; i++)
    if (seccomp_arch_resolve_name(csn_arch_names[i])) {
      lua_pushstring(L, csn_arch_names[i]);
      lua_rawseti(L, -2, ++n);
    }
  return 1;
}

/* core.seccomp.architecture() -> the native one's name */
static int
l_architecture(lua_State *L)
{
  for (int i = 0; csn_arch_names[i]; i++)
    if (seccomp_arch_resolve_name(csn_arch_names[i]) == seccomp_arch_native()) {
      lua_pushstring(L, csn_arch_names[i]);
      return 1;
    }
  return 0;
}

/* core.seccomp.version() -> libseccomp's version */
static int
l_version(lua_State *L)
{
  const struct scmp_version *v = seccomp_version();

  lua_pushfstring(L, "%d.%d.%d", (int)v->major, (int)v->minor, (int)v->micro);
  return 1;
}

static void
add_if(lua_State *L, bool yes, const char *name)
{
  if (!yes)
    return;
  lua_pushstring(L, name);
  lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
}

/* core.seccomp.features() -> { actions = {...}, flags = {...}, architecture =, version = }: of this kernel */
static int
l_features(lua_State *L)
{
  static const struct csn_word rets[] = {
    { "kill_process", SECCOMP_RET_KILL_PROCESS },
    { "kill_thread", SECCOMP_RET_KILL_THREAD },
    { "trap", SECCOMP_RET_TRAP },
    { "errno", SECCOMP_RET_ERRNO },
    { "notify", SECCOMP_RET_USER_NOTIF },
    { "trace", SECCOMP_RET_TRACE },
    { "log", SECCOMP_RET_LOG },
    { "allow", SECCOMP_RET_ALLOW },
  };
  static const struct csn_word flags[] = { { "tsync", 1 },
                                           { "log", 2 },
                                           { "spec_allow", 4 },
                                           { "new_listener", 8 },
                                           { "wait_killable_recv", 8 | 32 } };

  lua_newtable(L);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(rets) / sizeof(*rets); i++) {
    u32 ret = (u32)rets[i].value;

    add_if(L, csn_sys(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &ret) == 0, rets[i].name);
  }
  lua_setfield(L, -2, "actions");
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(flags) / sizeof(*flags);
       i++) /* a known flag: the pointer is at fault */
    add_if(L, csn_sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags[i].value, NULL) == -EFAULT,
           flags[i].name);
  lua_setfield(L, -2, "flags");
  l_architecture(L);
  lua_setfield(L, -2, "architecture");
  l_version(L);
  lua_setfield(L, -2, "version");
  return 1;
}

static void
open_seccomp(lua_State *L)
{
  static const luaL_Reg functions[] = { { "number", l_number },
                                        { "known", l_known },
                                        { "audit", l_audit },
                                        { "syscalls", l_syscalls },
                                        { "version", l_version },
                                        { "architecture", l_architecture },
                                        { "features", l_features },
                                        { "architectures", l_architectures },
                                        { NULL, NULL } };

  csn_register(L, "seccomp", functions);
}

CSN_OPEN(open_seccomp)
