/* SPDX-License-Identifier: MIT
 *
 * A command as one program: LuaJIT, the core, and the library's Lua as bytecode, so that it starts in less
 * than a third of the time that an interpreter with a script needs. It runs require(MAIN).main(arg) and
 * exits with what that returns; with FAILED where it has come to nothing.
 */
#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef IMAGE
#include "image.h"
#include <elf.h>
#endif

int luaopen_caisson_core(lua_State *L);
void csn_check_kernel(lua_State *L);
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

/* What bundle.lua wrote. */
extern const char bundle_start[], bundle_end[];
__asm__(".pushsection .rodata\n"
        ".globl bundle_start, bundle_end\n"
        "bundle_start: .incbin \"" BUNDLE "\"\n"
        "bundle_end:\n"
        ".popsection\n");

static uint32_t
number_at(const char *p)
{
  uint32_t n;

  memcpy(&n, p, sizeof(n));
  return n;
}

/* Code that was read is not needed again, and around each page that is touched the kernel maps as many as it has
 * together (Linux 6.18: whole large folios). The list of the modules stays. */
static void
forget_bundle(void)
{
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)bundle_start + 4 * page - 1) & ~(page - 1),
                  last = (uintptr_t)bundle_end & ~(page - 1);

  if (first < last)
    madvise((void *)first, last - first, MADV_DONTNEED);
}

/* A searcher for require: the module's function, or nothing where the bundle has none of that name. */
static int
find_bundled(lua_State *L)
{
  size_t wanted_len;
  const char *wanted = luaL_checklstring(L, 1, &wanted_len);
  uint32_t len;

  for (const char *p = bundle_start; (len = number_at(p)) > 0; p += 12 + len) {
    if (len == wanted_len && memcmp(p + 4, wanted, len) == 0) {
      const char *code = bundle_start + number_at(p + 4 + len);
      const uint32_t size = number_at(p + 8 + len);
      int rc = luaL_loadbuffer(L, code, size, wanted);

      forget_bundle();
      if (rc != 0)
        return lua_error(L);
      return 1;
    }
  }
  return 0;
}

#ifdef WHOLE
/* launcher.whole(): a static program starts sooner and is smaller, and can load no shared library, be it a C module or
 * systemd's. Before the first of them the command begins anew in the one that can, which lies beside this one.
 * Returns a message where that can't be. */
static int
begin_anew(lua_State *L)
{
  char **argv, self[4096], *slash;
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - sizeof("/" WHOLE));
  int argc = 0;

  lua_getglobal(L, "arg");
  argc = (int)lua_objlen(L, -1);
  argv = lua_newuserdata(L, sizeof(*argv) * ((size_t)argc + 3));
  argv[0] = (char *)(uintptr_t)WHOLE;
  argv[1] = (char *)(uintptr_t)AS;
  for (int i = 1; i <= argc; i++) {
    lua_rawgeti(L, -1 - i, i);
    argv[1 + i] = (char *)(uintptr_t)lua_tostring(L, -1);
  }
  argv[argc + 2] = NULL;
  if (n > 0) {
    self[n] = 0;
    slash = strrchr(self, '/');
    memcpy(slash + 1, WHOLE, sizeof(WHOLE));
    fflush(NULL);
    execv(self, argv);
  }
  lua_pushfstring(L, "%s: %s: what needs shared libraries is done by it", n > 0 ? self : WHOLE,
                  strerror(errno));
  return 1;
}

/* In the place of the searchers for C modules. Where one is asked for something may have been done already, which
 * is not to be done twice: who is about to load code of others' begins anew before. */
static int
find_library(lua_State *L)
{
  lua_pushliteral(L, "\n\tno C module can be loaded by a static program");
  return 1;
}
#endif

/* Modules come from the bundle first, and never from whatever directory the user happens to be in,
 * unless LUA_PATH or LUA_CPATH say so. */
static void
set_searchers(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaders");
  for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, find_bundled);
  lua_rawseti(L, -2, 2);
#ifdef WHOLE
  lua_pushcfunction(L, find_library);
  lua_rawseti(L, -2, 4);
  lua_pushnil(L);
  lua_rawseti(L, -2, 5);
#endif
  lua_pop(L, 1);
  if (!getenv("LUA_PATH")) {
    lua_getfield(L, -1, "path");
    luaL_gsub(L, lua_tostring(L, -1), "./?.lua;", "");
    lua_setfield(L, -3, "path");
    lua_pop(L, 1);
  }
  if (!getenv("LUA_CPATH")) {
    lua_getfield(L, -1, "cpath");
    luaL_gsub(L, lua_tostring(L, -1), "./?.so;", "");
    lua_setfield(L, -3, "cpath");
    lua_pop(L, 1);
  }
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_caisson_core);
  lua_setfield(L, -2, "caisson.core");
  lua_pushcfunction(L, luaopen_cjson);
  lua_setfield(L, -2, "cjson");
  lua_pushcfunction(L, luaopen_cjson_safe);
  lua_setfield(L, -2, "cjson.safe");
  lua_pop(L, 2);
}

/* launcher.recipes() -> the folder of the recipes, or nil: they lie beside the program, in a checkout (build/bin/caisson) as
 * after make install (bin/caisson), however it was called. */
static int
find_recipes(lua_State *L)
{
  static const char *const places[] = { "../../recipes", "../share/lua/5.1/caisson/recipes" };
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

  if (n <= 0)
    return 0;
  self[n] = 0;
  *strrchr(self, '/') = 0;
  for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
    char *recipes = realpath(lua_pushfstring(L, "%s/%s", self, places[i]), NULL);

    if (recipes) {
      lua_pushstring(L, recipes);
      free(recipes);
      return 1;
    }
  }
  return 0;
}

#ifdef IMAGE
/* What is only read is let go of: the kernel maps it anew, in a few faults, as far as it is still needed. What starts a
 * static program runs through all of libc, to choose each function's best variant, and what reads a bundle is not what
 * waits for a container. */
static void
forget_code(void)
{
  const Elf64_Phdr *p = (const void *)(uintptr_t)getauxval(AT_PHDR);
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

  for (unsigned long n = getauxval(AT_PHNUM); n > 0; n--, p++)
    if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
      madvise((void *)(p->p_vaddr & ~(page - 1)), p->p_memsz + (p->p_vaddr & (page - 1)),
              MADV_DONTNEED);
}

/* launcher.forget() */
static int
forget(lua_State *L)
{
  (void)L;
  forget_code();
  return 0;
}
#endif

/* package.loaded["caisson.launcher"] */
static void
set_launcher(lua_State *L)
{
  luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 16);
  lua_newtable(L);
  lua_pushcfunction(L, find_recipes);
  lua_setfield(L, -2, "recipes");
#ifdef WHOLE
  lua_pushcfunction(L, begin_anew);
  lua_setfield(L, -2, "whole");
#endif
#ifdef IMAGE
  lua_pushcfunction(L, forget);
  lua_setfield(L, -2, "forget");
#endif
  lua_setfield(L, -2, "caisson.launcher");
  lua_pop(L, 1);
}

/* All that is so in each process. */
static int
prepare(lua_State *L)
{
  lua_gc(L, LUA_GCSTOP, 0); /* nothing of this is garbage */
  luaL_openlibs(L);
  /* A command lives for milliseconds: compiling traces, each with two mprotect(2), costs more than they
   * save. A recipe that computes can turn it on: jit.on(). */
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  set_searchers(L);
  set_launcher(L);
  return 0;
}

#ifdef IMAGE
/* The processor that it was made on may have had more than this one. */
static int
turn_on(lua_State *L)
{
  const int n = lua_gettop(L);

  lua_pushcfunction(L, luaopen_jit);
  lua_call(L, 0, 1);
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  lua_getfield(L, -1, "on"); /* the library's own again */
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, n, 0);
  return 0;
}

/* NAME --image OUT MODULE...: the program again, with these modules loaded. */
static int
load_modules(lua_State *L)
{
  char **modules = lua_touserdata(L, 1);

  prepare(L);
  lua_getglobal(L, "jit");
  lua_pushcfunction(L, turn_on);
  lua_setfield(L, -2, "on");
  for (; *modules; modules++) {
    lua_getglobal(L, "require");
    lua_pushstring(L, *modules);
    lua_call(L, 1, 0);
    lua_gc(L, LUA_GCCOLLECT, 0); /* now, for the next one to fill */
  }
  lua_gc(L, LUA_GCSTOP, 0);
  return 0;
}

static int
make_image(char **argv)
{
  lua_State *L = csn_image_new();
  int err;

  if (!L || !argv[0]) {
    fputs(NAME " --image OUT MODULE...\n", stderr);
    return FAILED;
  }
  if (lua_cpcall(L, load_modules, argv + 1) != 0) {
    fprintf(stderr, NAME ": %s\n", lua_tostring(L, -1));
    return FAILED;
  }
  lua_settop(L, 0);
  err = csn_image_write(L, argv[0]);
  if (err != 0)
    fprintf(stderr, NAME ": %s: %s\n", argv[0], strerror(err));
  return err ? FAILED : 0;
}

/* The search paths are as they are without these. */
static lua_State *
open_image(void)
{
  return getenv("LUA_PATH") || getenv("LUA_CPATH") ? NULL : csn_image_open();
}
#endif

static int
run(lua_State *L)
{
  char **argv = lua_touserdata(L, 1);
  int argc = 0;

  csn_check_kernel(L);
  lua_newtable(L);
  for (; argv[argc]; argc++) {
    lua_pushstring(L, argv[argc]);
    lua_rawseti(L, -2, argc);
  }
  lua_setglobal(L, "arg");
  /* nor is much of what a run makes, before it waits */
  lua_gc(L, LUA_GCSETPAUSE, lua_gc(L, LUA_GCCOUNT, 0) < 500 ? 1000 : 300);
  lua_gc(L, LUA_GCRESTART, -1);

  lua_getglobal(L, "require");
  lua_pushliteral(L, MAIN);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_getglobal(L, "arg");
  lua_call(L, 1, 1);
  return 1;
}

static int
traceback(lua_State *L)
{
  lua_getglobal(L, "debug");
  lua_getfield(L, -1, "traceback");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

int
main(int argc, char **argv)
{
  lua_State *L = NULL;

  (void)argc;
  if (getauxval(AT_SECURE)) {
    fputs(
        "caisson: it runs its caller's Lua code, and so never with other rights than his: no "
        "set-user-ID and no set-group-ID program is to be made of it, and no file capabilities are "
        "to be given to it\n",
        stderr);
    return 125;
  }
#ifdef IMAGE
  forget_code();
  if (!csn_image_open() && argv[1] && strcmp(argv[1], "--image") == 0)
    return make_image(argv + 2);
  L = open_image();
#endif
  if (!L) {
    L = luaL_newstate();
    if (!L || lua_cpcall(L, prepare, NULL) != 0) {
      fputs(NAME ": not enough memory\n", stderr);
      return FAILED;
    }
  }
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, argv);
  if (lua_pcall(L, 1, 1, 1) != 0) {
    fprintf(stderr, NAME ": %s\n", lua_tostring(L, -1) ? lua_tostring(L, -1) : "(no message)");
    return FAILED;
  }
  /* The state is not closed: the kernel frees all of it at once. */
  return lua_isnumber(L, -1) ? (int)lua_tointeger(L, -1) : 0;
}
