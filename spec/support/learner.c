/* A program to be learnt: learner WHAT. Each does the same in each run, but for threads'. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static void *
worker(void *arg)
{
  for (int i = 0; i < 100; i++)
    sched_yield();
  getpgid(0);
  return arg;
}

static void
threads(void)
{
  pthread_t t[6];

  for (int i = 0; i < 6; i++)
    pthread_create(&t[i], NULL, worker, NULL);
  for (int i = 0; i < 6; i++)
    pthread_join(t[i], NULL);
}

static void
forks(void)
{
  for (int i = 0; i < 3; i++) {
    pid_t pid = fork();

    if (pid == 0) {
      if (i == 2 && fork() == 0) {
        getsid(0);
        _exit(0);
      }
      while (wait(NULL) > 0)
        ;
      umask(0);
      _exit(0);
    }
    waitpid(pid, NULL, 0);
  }
}

static void
arguments(void)
{
  struct winsize size;
  int fds[2], on = 1;

  ioctl(0, TIOCGWINSZ, &size);
  ioctl(0, FIONREAD, &on);
  close(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  close(socket(AF_INET, SOCK_DGRAM, 0));
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0)
    setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  prctl(PR_GET_DUMPABLE);
  personality(0xffffffff);
  fcntl(0, F_GETFL);
}

/* One place, again and again, with signals and forks in between. */
static volatile int ticks;

static void
tick(int sig)
{
  (void)sig;
  ticks++;
}

static void
hot(void)
{
  struct sigaction act = { .sa_handler = tick };
  int zero = open("/dev/zero", O_RDONLY);
  long sum = 0, more = 0;
  char byte;

  sigaction(SIGUSR1, &act, NULL);
  for (int i = 0; i < 2000; i++) {
    sum += getppid() != 0;
    more += read(zero, &byte, 1) + (syscall(SYS_getppid) != 0) + (syscall(SYS_getuid) == getuid());
    if (i == 1500) /* by a place that is long led round */
      more += syscall(SYS_umask, 18) >= 0;
    if (i % 100 == 0)
      kill(getpid(), SIGUSR1);
    if (i == 1000) { /* those that come after it has been led round */
      pid_t pid = fork();

      if (pid == 0) {
        for (int k = 0; k < 500; k++)
          sum += getppid() != 0;
        _exit(sum == 1501 ? 0 : 1);
      }
      int status;
      waitpid(pid, &status, 0);
      sum += status == 0 ? 0 : 100000;
    }
  }
  printf("%ld %ld %d\n", sum, more, ticks);
}

/* A filter of its own that kills for mmap, and then one call often. */
static void
filtered(void)
{
  struct sock_filter f[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = { 4, f };
  int n = 0;

  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0)
    return;
  for (int i = 0; i < 100; i++)
    n += getppid() >= 0;
  dprintf(1, "%d\n", n);
}

static void
exec_chain(char **argv, int left)
{
  char n[16];

  if (left == 0) {
    puts("the end");
    exit(0);
  }
  snprintf(n, sizeof(n), "%d", left - 1);
  execl(argv[0], argv[0], "chain", n, NULL);
  exit(3);
}

static void
spawned(char **argv)
{
  char *args[] = { argv[0], "chain", "0", NULL };
  pid_t pid;

  if (posix_spawn(&pid, argv[0], NULL, NULL, args, environ) == 0)
    waitpid(pid, NULL, 0);
  pid = vfork();
  if (pid == 0) {
    execv(argv[0], args);
    _exit(1);
  }
  waitpid(pid, NULL, 0);
}

static void
network(int port)
{
  struct sockaddr_in a = { .sin_family = AF_INET,
                           .sin_port = htons((unsigned short)port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int listener = socket(AF_INET, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  printf("%s ",
         bind(listener, (struct sockaddr *)&a, sizeof(a)) == 0 ? "bound" : strerrorname_np(errno));
  listen(listener, 1);
  printf("%s\n",
         connect(s, (struct sockaddr *)&a, sizeof(a)) == 0 ? "connected" : strerrorname_np(errno));
}

static void
files(const char *dir)
{
  char path[256], other[300];
  int fd;

  snprintf(path, sizeof(path), "%s/XXXXXX", dir);
  fd = mkstemp(path);
  (void)!write(fd, "x", 1);
  snprintf(other, sizeof(other), "%s.new", path);
  rename(path, other);
  unlink(other);
  fd = open("/proc/self/status", O_RDONLY);
  printf("%s\n", fd < 0 ? strerrorname_np(errno) : "read");
}

int
main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  int n = argc > 2 ? atoi(argv[2]) : 0;

  if (!strcmp(what, "threads"))
    threads();
  else if (!strcmp(what, "forks"))
    forks();
  else if (!strcmp(what, "arguments"))
    arguments();
  else if (!strcmp(what, "filtered"))
    filtered();
  else if (!strcmp(what, "hot"))
    hot();
  else if (!strcmp(what, "chain"))
    exec_chain(argv, n);
  else if (!strcmp(what, "spawn"))
    spawned(argv);
  else if (!strcmp(what, "network"))
    network(n);
  else if (!strcmp(what, "files"))
    files(argv[2]);
  else if (!strcmp(what, "umask"))
    printf("%d\n", umask(0) == 18);
  else if (!strcmp(what, "sleep"))
    usleep(1000 * (unsigned)n);
  else if (!strcmp(what, "abort"))
    abort();
  else
    return 2;
  return 0;
}
