/* SPDX-License-Identifier: MIT
 *
 * A process of a container that goes for each new one in there, for specs: as soon as a pid above all others
 * is there, it is traced, its memory opened, its descriptors listed, or signalled (CVE-2016-9962).
 *
 *     hostile MODE     ptrace, mem, fd or signal; until SIGTERM
 *
 * A line for each: "pid MODE yes|no program uid capabilities descriptors...", of the moment of the attempt.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void
on_term(int sig)
{
  (void)sig;
  stopped = 1;
}

static void
status_of(int pid, char *uid, char *caps)
{
  char path[64], line[256];
  FILE *f;

  strcpy(uid, "?");
  strcpy(caps, "?");
  snprintf(path, sizeof(path), "/proc/%d/status", pid);
  f = fopen(path, "r");
  while (f && fgets(line, sizeof(line), f)) {
    sscanf(line, "Uid: %31s", uid);
    sscanf(line, "CapPrm: %31s", caps);
  }
  if (f)
    fclose(f);
}

static void
link_of(int pid, const char *what, char *target, size_t size)
{
  char path[320];
  ssize_t n;

  snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
  n = readlink(path, target, size - 1);
  target[n > 0 ? n : 0] = 0;
  if (n <= 0)
    snprintf(target, size, "?");
  for (char *s = target; *s; s++)
    if (*s == ' ')
      *s = '_';
}

static void
list_descriptors(int pid, char *text, size_t size)
{
  char path[64], name[300], target[256];
  size_t len = 0;
  struct dirent *e;
  DIR *d;

  text[0] = 0;
  snprintf(path, sizeof(path), "/proc/%d/fd", pid);
  d = opendir(path);
  while (d && (e = readdir(d))) {
    if (e->d_name[0] == '.')
      continue;
    snprintf(name, sizeof(name), "fd/%s", e->d_name);
    link_of(pid, name, target, sizeof(target));
    len += (size_t)snprintf(text + len, len < size ? size - len : 0, " %s", target);
  }
  if (d)
    closedir(d);
}

static int
attempt(const char *mode, int pid)
{
  char path[64], target[256];

  switch (mode[0]) {
  case 'p':
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
      return 0;
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0)
      waitpid(pid, NULL, __WALL);
    return 1;
  case 'm': {
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/mem", pid);
    fd = open(path, O_RDWR);
    if (fd >= 0)
      close(fd);
    return fd >= 0;
  }
  case 'f':
    link_of(pid, "fd/0", target, sizeof(target));
    return target[0] != '?';
  default:
    return kill(pid, SIGCONT) == 0;
  }
}

int
main(int argc, char **argv)
{
  int last = getpid();
  const char *mode = argc > 1 ? argv[1] : "ptrace";

  signal(SIGTERM, on_term);
  alarm(60);
  printf("ready\n");
  fflush(stdout);
  while (!stopped) {
    for (int pid = last + 1; pid < last + 4; pid++) {
      char exe[256], uid[32], caps[32], fds[8192];
      int done;

      if (kill(pid, 0) < 0 && errno == ESRCH)
        continue;
      done = attempt(mode, pid);
      status_of(pid, uid, caps);
      /* last of all: a runner still, these were a runner's */
      list_descriptors(pid, fds, sizeof(fds));
      link_of(pid, "exe", exe, sizeof(exe));
      printf("%d %s %s %s %s %s%s\n", pid, mode, done ? "yes" : "no", exe, uid, caps, fds);
      if (done && mode[0] == 'p')
        ptrace(PTRACE_DETACH, pid, 0, 0);
      last = pid;
      break;
    }
  }
  printf("end\n");
  return 0;
}
