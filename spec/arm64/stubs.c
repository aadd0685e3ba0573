/* SPDX-License-Identifier: MIT
 * The assembly that a new architecture brings: system calls with six arguments, and the stub whose child
 * starts on a stack of its own. `make arm64` runs this under qemu-user, which has no clone3; so the stub
 * is there a second time, as clone_stub, with clone's number: on arm64 that takes flags and stack in the
 * registers where clone3 has its two arguments. */
#include "sys.h"
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

long clone_stub(unsigned long flags, void *stack, int (*fn)(void *), void *arg);

static int failed;

static void
check(const char *what, bool ok)
{
  printf("%s - %s\n", ok ? "ok" : "not ok", what);
  fflush(stdout); /* or a child prints it again */
  failed |= !ok;
}

struct seen {
  char *stack;
  int aligned, on_stack;
};

static int
child(void *arg)
{
  struct seen *s = arg;
  char here __attribute__((aligned(16)));

  s->aligned = ((uintptr_t)&here & 15) == 0;
  s->on_stack = &here > s->stack && &here < s->stack + 65536;
  return 42;
}

static void
check_child(const char *what, long pid, struct seen *s)
{
  int status = 0;

  check(what, pid > 0 && waitpid((pid_t)pid, &status, __WALL) == pid && WIFEXITED(status) &&
                  WEXITSTATUS(status) == 42);
  check("its function ran on its stack, which is aligned", s->aligned && s->on_stack);
}

int
main(void)
{
  static char stack[65536] __attribute__((aligned(16)));
  struct seen *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct csn_clone_args ca = { .flags = CSN_CLONE_VM | CSN_CLONE_VFORK,
                               .exit_signal = 17,
                               .stack = (u64)(uintptr_t)stack,
                               .stack_size = sizeof(stack) };
  long rc;

  check("a call without arguments", csn_sys0(__NR_getpid) == getpid());
  check("an error comes back negative", csn_sys(__NR_openat, -100, "/no/such", 0) == -ENOENT);
  rc = csn_sys(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check("a call with six arguments", rc > 0 && (*(char *)rc = 1) == 1);

  *s = (struct seen){ .stack = stack };
  rc = csn_clone3(&ca, sizeof(ca), child, s);
  if (rc == -ENOSYS)
    printf("ok - clone3 # SKIP not known here\n");
  else
    check_child("clone3's child leaves with its function's value", rc, s);
#ifdef __aarch64__
  *s = (struct seen){ .stack = stack };
  rc = clone_stub(CSN_CLONE_VM | CSN_CLONE_VFORK | 17, stack + sizeof(stack), child, s);
  check_child("the stub's child leaves with its function's value", rc, s);
#endif
  return failed;
}
