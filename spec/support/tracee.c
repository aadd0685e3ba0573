/* A program to be traced: tracee WHAT [PATH]; prints what it got. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path = "/etc/hostname";

static void
try(const char *who)
{
  long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

  printf("%s %s\n", who, fd < 0 ? strerrorname_np(errno) : "opened");
  fflush(stdout);
  if (fd >= 0)
    close((int)fd);
}

static void *
thread(void *arg)
{
  try(arg);
  return NULL;
}

static void *
sleeper(void *arg)
{
  for (;;)
    pause();
  return arg;
}

static void *
executor(void *arg)
{
  char **argv = arg;

  execl(argv[0], argv[0], "execthread", path, "again", NULL);
  return NULL;
}

int
main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  char *page;
  pthread_t t[8];
  int status;

  if (argc > 2)
    path = argv[2];
  if (!strcmp(what, "open")) {
    try("main");
  } else if (!strcmp(what, "threads")) {
    for (int i = 0; i < 8; i++)
      pthread_create(&t[i], NULL, thread, "thread");
    for (int i = 0; i < 8; i++)
      pthread_join(t[i], NULL);
    try("main");
  } else if (!strcmp(what, "fork")) {
    for (int i = 0; i < 5; i++)
      if (fork() == 0) {
        try("child");
        if (fork() == 0) {
          try("grandchild");
          _exit(0);
        }
        wait(&status);
        _exit(WEXITSTATUS(status));
      }
    while (wait(&status) > 0)
      ;
  } else if (!strcmp(what, "untraced")) {
    if (syscall(SYS_clone, CLONE_UNTRACED | 17, 0, 0, 0, 0) == 0) {
      try("untraced");
      _exit(0);
    }
    wait(&status);
    try("main");
  } else if (!strcmp(what, "vfork")) {
    if (vfork() == 0) {
      execl(argv[0], argv[0], "open", path, NULL);
      _exit(1);
    }
    wait(&status);
  } else if (!strcmp(what, "execthread")) { /* a thread that is not the first executes a program */
    if (argc > 3) {
      try("executed");
    } else {
      pthread_create(&t[0], NULL, sleeper, NULL);
      pthread_create(&t[1], NULL, executor, argv);
      pause();
    }
  } else if (!strcmp(what, "pointers")) {
    const char *const bad[] = { NULL, (char *)1, (char *)-1, (char *)0x7ffffffff000,
                                (char *)0x800000000000 };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
      path = bad[i];
      try("pointer");
    }
  } else if (!strcmp(what, "pages")) {
    page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(page + 4096 - 5, path); /* across both */
    path = page + 4096 - 5;
    try("across");
    munmap(page + 4096, 4096);
    try("cut");
    path = strcpy(page + 4096 - strlen("/etc/passwd") - 1, "/etc/passwd");
    try("ends");
    page[4095] = 'x';
    try("endless");
    page = malloc(9000);
    memset(page, 'a', 8999);
    page[0] = '/';
    page[8999] = 0;
    path = page;
    try("long");
  } else if (!strcmp(what, "i386")) {
#ifdef __x86_64__
    long rc;

    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20) : "memory"); /* getpid */
    printf("i386 %ld\n", rc > 0 ? 1 : rc);
#endif
  } else if (!strcmp(what, "x32")) {
    printf("x32 %ld\n", syscall(0x40000000 | 39) > 0 ? 1l : -1l);
  } else if (!strcmp(what, "mkdir")) {
    long rc = syscall(SYS_mkdirat, AT_FDCWD, path, 0755);
    int err = errno;

    printf("%ld %s", rc, rc < 0 ? strerrorname_np(err) : "-");
    puts(access(path, F_OK) ? " absent" : " there");
  } else if (!strcmp(what, "inroot")) {
    struct open_how how = { .flags = O_RDONLY, .resolve = argc > 3 ? RESOLVE_IN_ROOT : 0 };
    long fd = syscall(SYS_openat2, open("/proc", O_PATH), path, &how, sizeof(how));

    puts(fd < 0 ? strerrorname_np(errno) : "opened");
  } else if (!strcmp(what, "stop")) {
    kill(getpid(), 19);
    puts("continued");
  } else if (!strcmp(what, "tree")) { /* many, and all stay */
    for (int i = 0; i < 4; i++)
      if (fork() == 0) {
        pthread_create(&t[0], NULL, sleeper, NULL);
        sleeper(NULL);
      }
    puts("ready");
    fflush(stdout);
    for (;;)
      pause();
  }
  return 0;
}
