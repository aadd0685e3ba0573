/* What the kernel answers: verdicts QUERIES PROGRAM... Loads the filters in the files PROGRAM, one after the other, and makes
 * the calls of the file QUERIES, one a line: "n NUMBER SIX ARGUMENTS" (i: as i386 makes them). Prints for each its errno, or "died".
 *
 * No call happens: below the filter stands one that answers errno 4000 to everything, which a filter's allow is weaker
 * than (and log, trace and notify), and its own errno, being loaded later, is not. Results go through shared memory, since
 * nothing can be written then. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 0x5eccu /* what the loading of the second filter is known by */
#define MAX 4096
#define FILTERS 4

struct query {
  char abi;
  unsigned long nr, args[6];
};

static struct query queries[MAX];
static volatile int *results; /* [MAX] is the next one */

static long
call(const struct query *q)
{
#ifdef __x86_64__
  if (q->abi == 'i') {
    long r;

    __asm__ volatile("int $0x80"
                     : "=a"(r)
                     : "a"(q->nr), "b"(q->args[0]), "c"(q->args[1]), "d"(q->args[2]),
                       "S"(q->args[3]), "D"(q->args[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)r;
  }
#endif
  errno = 0;
  return syscall((long)q->nr, q->args[0], q->args[1], q->args[2], q->args[3], q->args[4],
                 q->args[5]) < 0
             ? -errno
             : 0;
}

static void
child(struct sock_fprog *filters, int nfilters, int n)
{
  struct sock_filter all[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MARK, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 4000),
  };
  struct sock_fprog below = { sizeof(all) / sizeof(*all), all };

  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &below) < 0)
    results[MAX] = -1;
  for (int i = 0; i < nfilters; i++)
    if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filters[i], 0, 0, (long)MARK) < 0)
      results[MAX] = -1;
  if (results[MAX] < 0)
    __builtin_trap();
  while (results[MAX] < n) {
    int i = results[MAX];

    results[MAX] = i + 1; /* who dies has made it */
    results[i] = (int)-call(&queries[i]);
  }
  __builtin_trap();
}

int
main(int argc, char **argv)
{
  static struct sock_filter programs[FILTERS][BPF_MAXINSNS];
  struct sock_fprog filters[FILTERS];
  FILE *f = argc > 2 && argc - 2 <= FILTERS ? fopen(argv[1], "r") : NULL;
  const struct rlimit none = { 0, 0 };
  int n = 0;

  if (!f)
    return 1;
  for (int i = 2; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, programs[i - 2], sizeof(programs[0]));

    if (size <= 0)
      return 1;
    filters[i - 2] =
        (struct sock_fprog){ (unsigned short)((size_t)size / sizeof(struct sock_filter)),
                             programs[i - 2] };
    close(fd);
  }
  while (n < MAX && fscanf(f, " %c %lu %lu %lu %lu %lu %lu %lu", &queries[n].abi, &queries[n].nr,
                           &queries[n].args[0], &queries[n].args[1], &queries[n].args[2],
                           &queries[n].args[3], &queries[n].args[4], &queries[n].args[5]) == 8)
    n++;
  results = mmap(NULL, (MAX + 1) * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
  setrlimit(RLIMIT_CORE, &none);
  for (int i = 0; i < n; i++)
    results[i] = -1;
  do {
    pid_t pid = fork();

    if (pid == 0)
      child(filters, argc - 2, n);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid || results[MAX] < 0)
      return 2;
  } while (results[MAX] < n);
  for (int i = 0; i < n; i++)
    if (results[i] < 0)
      puts("died");
    else
      printf("%d\n", results[i]);
  return 0;
}
