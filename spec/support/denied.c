/* Does what a policy may deny, one thing by its first argument, and prints what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int
result(const char *what, long rc)
{
  printf("%s %ld %s\n", what, rc, rc < 0 ? strerrorname_np(errno) : "");
  fflush(stdout);
  return 0;
}

static void *
in_thread(void *arg)
{
  syscall(SYS_unshare, CLONE_NEWNS);
  return arg;
}

static int
threads(void)
{
  pthread_t t;

  for (int i = 0; i < 3; i++) {
    pthread_create(&t, NULL, in_thread, NULL);
    pthread_join(t, NULL);
  }
  if (fork() == 0) {
    if (fork() == 0) {
      syscall(SYS_unshare, CLONE_NEWUTS);
      execl("/proc/self/exe", "again", "again", NULL);
      _exit(9);
    }
    wait(NULL);
    _exit(0);
  }
  wait(NULL);
  return result("threads", 0);
}

static int
own_filter(unsigned action, unsigned nr, unsigned flags)
{
  struct sock_filter f[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, action),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = { 4, f };

  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

static int
files(const char *first)
{
  int n = 0, fd;

  while ((fd = open(first, O_RDONLY)) >= 0)
    n++;
  printf("%d ", n);
  return result("open", fd);
}

static int
write_much(void)
{
  static char data[65536];
  int fd = open("/tmp/much", O_WRONLY | O_CREAT, 0600);

  for (int i = 0; i < 1024; i++)
    if (write(fd, data, sizeof(data)) < 0)
      return result("write", -1);
  return result("write", 0);
}

static int
processes(int n)
{
  for (int i = 0; i < n; i++) {
    pid_t pid = fork();

    if (pid < 0)
      return result("fork", -1);
    if (pid == 0) {
      pause();
      _exit(0);
    }
  }
  return result("fork", n);
}

/* In one call all of them at once, which then ends for all. */
static int
at_once(int n)
{
  int ready[2], writer, left = 0, status;
  char c;

  if (mkfifo("/tmp/fifo", 0600) < 0 || pipe(ready) < 0)
    return result("mkfifo", -1);
  for (int i = 0; i < n; i++)
    if (fork() == 0) {
      write(ready[1], "", 1);
      _exit(open("/tmp/fifo", O_RDONLY) < 0);
    }
  for (int i = 0; i < n; i++)
    read(ready[0], &c, 1);
  usleep(100000);
  writer = open("/tmp/fifo", O_WRONLY);
  while (wait(&status) > 0)
    left += status == 0;
  close(writer);
  return result("open", left);
}

static int
bind_port(int port)
{
  struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  return result("bind", bind(fd, (struct sockaddr *)&in, sizeof(in)));
}

/* A handler of its own for SIGSYS, and the signal blocked while calls are denied. */
static volatile sig_atomic_t handled;

static void
on_sigsys(int sig)
{
  handled = sig;
}

static int
handler(void)
{
  sigset_t all, before, after;
  struct sigaction sa;

  signal(SIGSYS, on_sigsys);
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  result("unshare", syscall(SYS_unshare, CLONE_NEWNS));
  sigprocmask(SIG_SETMASK, NULL, &after);
  sigaction(SIGSYS, NULL, &sa);
  printf("%d %d ", sigismember(&after, SIGSYS), sa.sa_handler == on_sigsys);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return result("handled", handled);
}

static int
memory(size_t mb)
{
  char *p = mmap(NULL, mb << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (p == MAP_FAILED)
    return result("mmap", -1);
  memset(p, 1, mb << 20);
  return result("mmap", 0);
}

int
main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  const int n = argc > 2 ? atoi(argv[2]) : 0;

  if (!strcmp(what, "threads"))
    return threads();
  if (!strcmp(what, "again"))
    return result("unshare", syscall(SYS_unshare, CLONE_NEWIPC));
  if (!strcmp(what, "unshare"))
    return result("unshare", syscall(SYS_unshare, CLONE_NEWNS));
  if (!strcmp(what, "socket"))
    return result("socket", socket(n, SOCK_DGRAM, 0));
  if (!strcmp(what, "files"))
    return files("/dev/null");
  if (!strcmp(what, "write"))
    return write_much();
  if (!strcmp(what, "processes"))
    return processes(n);
  if (!strcmp(what, "at-once"))
    return at_once(n);
  if (!strcmp(what, "bind"))
    return bind_port(n);
  if (!strcmp(what, "handler"))
    return handler();
  if (!strcmp(what, "memory"))
    return memory((size_t)n);
  if (!strcmp(what, "trace")) {
    own_filter(SECCOMP_RET_TRACE | 1, SYS_getpgid, 0);
    return result("getpgid", syscall(SYS_getpgid, 0));
  }
  if (!strcmp(what, "again-later")) { /* EAGAIN, ENOENT, EEXIST, ENOTDIR */
    struct sockaddr_in in = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    bind(fd, (struct sockaddr *)&in, sizeof(in));
    listen(fd, 1);
    result("accept", accept(fd, NULL, NULL));
    result("open", open("/no/where", O_RDONLY));
    result("mkdir", mkdir("/tmp", 0755));
    return result("open", open("/dev/null/x", O_RDONLY));
  }
  if (!strcmp(what, "listener"))
    return result("seccomp", own_filter(SECCOMP_RET_USER_NOTIF, SYS_unshare,
                                        SECCOMP_FILTER_FLAG_NEW_LISTENER) >= 0);
  if (!strcmp(what, "mkdir"))
    return result("mkdir", mkdir(argv[2], 0755));
  if (!strcmp(what, "open"))
    return result("open", open(argv[2], O_RDONLY) >= 0 ? 0 : -1);
  if (!strcmp(what, "create"))
    return result("create", open(argv[2], O_WRONLY | O_CREAT, 0644) >= 0 ? 0 : -1);
  if (!strcmp(what, "chown"))
    return result("chown", chown(argv[2], 12, 12));
  if (!strcmp(what, "nice"))
    return result("nice", syscall(SYS_setpriority, PRIO_PROCESS, 0, -5));
  if (!strcmp(what, "exec")) {
    execl(argv[2], argv[2], NULL);
    return result("exec", -1);
  }
  return 2;
}
