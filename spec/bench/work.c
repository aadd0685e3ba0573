/* SPDX-License-Identifier: MIT
 *
 * What is learnt under `make bench`:
 *
 *     work calls N       N system calls that cost nothing, as the C library makes them
 *     work generic N     the same by syscall(2)
 *     work others N      the same from a place that is like no other
 *     work pages PORT N COMMAND...   starts a web server, gets N pages, ends it
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int
reach(int port)
{
  struct sockaddr_in a = { .sin_family = AF_INET,
                           .sin_port = htons((unsigned short)port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
    return s;
  close(s);
  return -1;
}

static int
page(int port)
{
  static const char ask[] = "GET / HTTP/1.0\r\n\r\n";
  char buf[4096];
  int s = reach(port);
  ssize_t n, all = 0;

  if (s < 0 || write(s, ask, sizeof(ask) - 1) < 0)
    return -1;
  while ((n = read(s, buf, sizeof(buf))) > 0)
    all += n;
  close(s);
  return all > 0 ? 0 : -1;
}

static int
pages(int port, int n, char **argv)
{
  const struct timespec moment = { 0, 1000000 };
  int failed = 0, status, s = -1;
  pid_t pid;

  if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
    return 1;
  for (int i = 0; i < 5000 && s < 0; i++) {
    s = reach(port);
    if (s < 0)
      nanosleep(&moment, NULL);
  }
  close(s);
  for (int i = 0; i < n && !failed; i++)
    failed = page(port) < 0;
  kill(pid, SIGTERM);
  waitpid(pid, &status, 0);
  if (failed || status != 0)
    fprintf(stderr, "work: pages: %d, status %d\n", failed, status);
  return failed || status != 0;
}

static long
other_place(volatile long nr)
{
#if defined(__x86_64__)
  long r;

  __asm__ volatile("mov %1, %%rax\n\tnop\n\tsyscall" : "=a"(r) : "m"(nr) : "rcx", "r11", "memory");
  return r;
#else
  return syscall(nr);
#endif
}

int
main(int argc, char **argv)
{
  const char *what = argc > 2 ? argv[1] : "";
  int n = argc > 2 ? atoi(argv[2]) : 0;

  if (!strcmp(what, "calls"))
    for (int i = 0; i < n; i++)
      getppid();
  else if (!strcmp(what, "generic"))
    for (int i = 0; i < n; i++)
      syscall(SYS_getppid);
  else if (!strcmp(what, "others"))
    for (int i = 0; i < n; i++)
      other_place(SYS_getppid);
  else if (!strcmp(what, "pages") && argc > 4)
    return pages(n, atoi(argv[3]), argv + 4);
  else
    return 2;
  return 0;
}
