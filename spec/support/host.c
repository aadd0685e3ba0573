/* SPDX-License-Identifier: MIT
 *
 * What a host process of the library may be up to, for specs: threads that spawn while others allocate,
 * a SIGCHLD handler that waits for anybody, a table full of descriptors, a large heap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_caisson_host(lua_State *L);

static volatile sig_atomic_t reaped;

static void
on_child(int sig)
{
  int saved = errno;

  (void)sig;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    reaped++;
  errno = saved;
}

/* reaper(): wait for any child, as a careless host does */
static int
l_reaper(lua_State *L)
{
  struct sigaction sa = { .sa_handler = on_child };

  (void)L;
  sigaction(SIGCHLD, &sa, NULL);
  return 0;
}

/* ignore(): children are to vanish without a trace */
static int
l_ignore(lua_State *L)
{
  (void)L;
  signal(SIGCHLD, SIG_IGN);
  return 0;
}

static int
l_reaped(lua_State *L)
{
  lua_pushinteger(L, reaped);
  return 1;
}

/* open(n): n descriptors that exec would keep -> how many there were */
static int
l_open(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1), i;

  for (i = 0; i < n && open("/dev/null", O_RDONLY) >= 0; i++)
    ;
  lua_pushinteger(L, i);
  return 1;
}

/* private(path): a descriptor that exec closes, of the lowest number -> it */
static int
l_private(lua_State *L)
{
  lua_pushinteger(L, open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC));
  return 1;
}

static int
l_dumpable(lua_State *L)
{
  lua_pushinteger(L, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
  return 1;
}

/* stop(): until SIGCONT, or the end */
static int
l_stop(lua_State *L)
{
  (void)L;
  raise(SIGSTOP);
  return 0;
}

/* signals(): USR1 handled, USR2 ignored, HUP blocked */
static int
l_signals(lua_State *L)
{
  sigset_t set;

  (void)L;
  signal(SIGUSR1, on_child);
  signal(SIGUSR2, SIG_IGN);
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  return 0;
}

struct later {
  int fd;
  unsigned us;
};

static void *
write_later(void *arg)
{
  struct later l = *(struct later *)arg;

  free(arg);
  usleep(l.us);
  if (write(l.fd, "", 1) < 0)
    abort();
  return NULL;
}

/* later(fd, us): a thread writes a byte to the descriptor, some microseconds from now */
static int
l_later(lua_State *L)
{
  struct later *l = malloc(sizeof(*l));
  pthread_t id;

  l->fd = (int)luaL_checkinteger(L, 1);
  l->us = (unsigned)luaL_checkinteger(L, 2);
  pthread_create(&id, NULL, write_later, l);
  pthread_detach(id);
  return 0;
}

struct thread {
  pthread_t id;
  const char *code;
  int number;
  char error[256];
};

static volatile int busy;

static void *
allocate(void *arg)
{
  void *held[64] = { NULL };

  (void)arg;
  for (unsigned i = 0; busy; i = i * 1103515245u + 12345u) {
    free(held[i % 64]);
    held[i % 64] = malloc((i >> 8) % 65536 + 1);
    memset(held[i % 64], 1, 1);
  }
  for (int i = 0; i < 64; i++)
    free(held[i]);
  return NULL;
}

static void *
run(void *arg)
{
  struct thread *t = arg;
  lua_State *L = luaL_newstate();

  luaL_openlibs(L);
  lua_pushinteger(L, t->number);
  lua_setglobal(L, "thread");
  if (luaL_loadstring(L, t->code) || lua_pcall(L, 0, 0, 0))
    strncpy(t->error, lua_tostring(L, -1) ? lua_tostring(L, -1) : "?", sizeof(t->error) - 1);
  lua_close(L);
  return NULL;
}

/* threads(n, code, allocators): run the code in n threads, each with a Lua state of its own and its
 * number in `thread`, while others allocate and free -> list of the errors that there were */
static int
l_threads(lua_State *L)
{
  int n = (int)luaL_checkinteger(L, 1), m = (int)luaL_checkinteger(L, 3), k = 0;
  struct thread *t = lua_newuserdata(L, sizeof(*t) * (size_t)(n + m));

  memset(t, 0, sizeof(*t) * (size_t)(n + m));
  busy = 1;
  for (int i = 0; i < n + m; i++) {
    t[i].code = luaL_checkstring(L, 2);
    t[i].number = i + 1;
    pthread_create(&t[i].id, NULL, i < n ? run : allocate, &t[i]);
  }
  for (int i = 0; i < n + m; i++) {
    if (i == n)
      busy = 0;
    pthread_join(t[i].id, NULL);
  }
  lua_newtable(L);
  for (int i = 0; i < n; i++)
    if (t[i].error[0]) {
      lua_pushstring(L, t[i].error);
      lua_rawseti(L, -2, ++k);
    }
  return 1;
}

int
luaopen_caisson_host(lua_State *L)
{
  static const luaL_Reg functions[] = { { "reaper", l_reaper },
                                        { "reaped", l_reaped },
                                        { "ignore", l_ignore },
                                        { "open", l_open },
                                        { "dumpable", l_dumpable },
                                        { "stop", l_stop },
                                        { "signals", l_signals },
                                        { "threads", l_threads },
                                        { "later", l_later },
                                        { "private", l_private },
                                        { NULL, NULL } };

  lua_newtable(L);
  for (const luaL_Reg *f = functions; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  return 1;
}
