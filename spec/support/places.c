/* Makes the same calls in the same places again and again, one thing by its first argument, and prints what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static const char good[] = "/dev/null", bad[] = "/usr/no/such";

static long
switches(void)
{
  struct rusage u;

  getrusage(RUSAGE_SELF, &u);
  return u.ru_nvcsw;
}

static int
opened(int flags)
{
  int fd = open(good, flags);

  if (fd < 0)
    return -errno;
  close(fd);
  return 0;
}

/* 1000 of them stop it for each, or nearly never (where there are stubs). */
static const char *
stops(long n)
{
#if defined(__x86_64__)
  return n < 500 ? "few stops" : "many stops";
#else
  (void)n;
  return "few stops";
#endif
}

static void
many(int flags)
{
  long before = switches();
  int failed = 0;

  for (int i = 0; i < 1000; i++)
    failed += opened(flags) < 0;
  before = switches() - before;
  printf("1000 opened, %d failed, %s\n", failed, stops(before));
}

/* All in the one place that syscall() has. */
static void
by_syscall(void)
{
  long before = switches();
  int failed = 0;

  for (int i = 0; i < 1000; i++) {
    long fd = syscall(SYS_openat, AT_FDCWD, good, O_RDONLY, 0, 0, 0);

    failed += fd < 0;
    close((int)fd);
  }
  before = switches() - before;
  printf("1000 opened, %d failed, %s\n", failed, stops(before));
  syscall(SYS_openat, AT_FDCWD, "/usr/new", O_CREAT | O_WRONLY, 0640);
  syscall(SYS_mkdirat, AT_FDCWD, "/usr/new", 0700);
  syscall(SYS_mkdirat, AT_FDCWD, "/tmp/new", 0700);
  printf("%ld %d\n", syscall(SYS_mmap, NULL, 4096L, 0L, 0x22L, -1L, 0L) > 0 ? 1L : 0L,
         access("/tmp/new", F_OK));
}

static void
denied(int times)
{
  int last = 0;

  for (int i = 0; i < times; i++) {
    opened(O_RDONLY);
    if (open("/usr/new", O_CREAT | O_WRONLY, 0640) < 0)
      last = errno;
    if (open(bad, O_RDONLY) >= 0 || errno != ENOENT)
      printf("%s is there\n", bad);
  }
  printf("denied: %s\n", strerrorname_np(last));
}

static void *
in_thread(void *arg)
{
  denied((int)(intptr_t)arg);
  return NULL;
}

static void
threads(void)
{
  pthread_t t[4];

  opened(O_RDONLY);
  for (int i = 0; i < 4; i++)
    pthread_create(&t[i], NULL, in_thread, (void *)25);
  for (int i = 0; i < 4; i++)
    pthread_join(t[i], NULL);
  mkdir("/usr/new", 0700); /* a place that is new to it, and not led round: another was there */
  mkdir("/usr/new", 0700);
}

static void *
wait_for_ever(void *arg)
{
  for (;;)
    pause();
  return arg;
}

static int
run_beside(void *arg)
{
  wait_for_ever(arg);
  return 0;
}

/* Another runs in its memory: a thread, or a process of which fork() is told. What a fork's child has is its own, and
 * what is executed. */
static void
beside(int process, const char *self)
{
  static char stack[65536];
  pthread_t t;
  int other = 0;

  if (process)
    other = clone(run_beside, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
  else
    pthread_create(&t, NULL, wait_for_ever, NULL);
  many(O_RDONLY);
  fflush(stdout);
  if (fork() == 0) {
    many(O_RDONLY);
    exit(0);
  }
  wait(NULL);
  if (other > 0)
    kill(other, SIGKILL);
  execl(self, self, "many", "0", NULL);
}

static void
forks(const char *self)
{
  opened(O_RDONLY);
  fflush(stdout);
  if (fork() == 0) {
    denied(3);
    if (fork() == 0) {
      denied(2);
      exit(0);
    }
    wait(NULL);
    exit(0);
  }
  wait(NULL);
  fflush(stdout);
  if (vfork() == 0) {
    for (int i = 0; i < 5; i++)
      close(open(good, O_RDONLY));
    mkdir("/usr/vfork", 0700);
    execl(self, self, "denied", "7", NULL);
    _exit(1);
  }
  wait(NULL);
  if (vfork() == 0) {
    rmdir("/usr");
    _exit(0);
  }
  wait(NULL);
  rmdir("/usr");
  many(O_RDONLY);
}

#if defined(__x86_64__)
/* All that a call leaves as it is: registers, flags, the red zone. Two shapes of a place. */
#define REGISTERS(name, call)                                                                      \
  __asm__(".text\n" name ":\n"                                                                     \
          "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"                     \
          "mov %rdx, %rbx; mov %rsi, %rdx; mov %rdi, %rsi; mov %rcx, %rax\n"                       \
          "push $0xcd7; popf\n"                                                                    \
          "mov $0x1111222233334444, %r8; mov $0x5555666677778888, %r9; mov $-5, %r10\n"            \
          "mov $12, %r12; mov $13, %r13; mov $14, %r14; mov %rsp, %r15; mov $6, %rbp\n"            \
          ".set i, 8\n.rept 16\nmovq $i, -i(%rsp)\n.set i, i + 8\n.endr\n" call                    \
          "mov %rax, (%rbx); mov %rdi, 8(%rbx); mov %rsi, 16(%rbx); mov %rdx, 24(%rbx)\n"          \
          "mov %r8, 32(%rbx); mov %r9, 40(%rbx); mov %r10, 48(%rbx); mov %r12, 56(%rbx)\n"         \
          "mov %r13, 64(%rbx); mov %r14, 72(%rbx); mov %rbp, 80(%rbx)\n"                           \
          ".set i, 8\n.rept 16\nmov -i(%rsp), %rax; mov %rax, 80+i(%rbx)\n.set i, i + 8\n.endr\n"  \
          "mov %rsp, %rax; pushf; popq 216(%rbx); cld; sub %r15, %rax; mov %rax, 224(%rbx)\n"      \
          "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n")
long by_number(const char *path, long flags, uint64_t *out, long nr);
long by_other(const char *path, long flags, uint64_t *out, long nr);
REGISTERS("by_number", "mov $-100, %rdi; mov $257, %eax\nsyscall\n");
REGISTERS("by_other", "mov $-100, %edi\nsyscall\n");

static void
registers(long (*call)(const char *, long, uint64_t *, long), const char *path, long flags, long nr)
{
  uint64_t out[29] = { 0 };

  call(path, flags, out, nr);
  out[2] -= (uint64_t)path;
  if ((int64_t)out[0] > 2) {
    close((int)out[0]);
    out[0] = 3;
  }
  for (int i = 0; i < 29; i++)
    printf("%lx%c", out[i], i == 28 ? '\n' : ' ');
}

static void
machine(void)
{
  long before = switches();

  for (int i = 0; i < 3; i++) {
    registers(by_number, good, O_RDONLY, 257);
    registers(by_other, good, O_RDONLY, 257);
  }
  for (int i = 0; i < 2; i++) {
    registers(by_number, "/usr/a", O_RDWR | O_CREAT, 257);
    registers(by_other, "/usr/b", O_RDWR | O_CREAT, 257);
    registers(by_other, "/tmp/made", 0700, 258);
    registers(by_other, "/usr/c", 0700, 258);
  }
  before = switches() - before;
  if (before > 60)
    printf("%ld stops\n", before);
}

static long
directly(const char *path, int flags)
{
  long rc, nr = 257;

  __asm__ volatile("nop\nsyscall" /* no place that is led round */
                   : "=a"(rc)
                   : "a"(nr), "D"(-100L), "S"(path), "d"((long)flags)
                   : "rcx", "r11", "memory");
  return rc;
}
#else
static void
machine(void)
{
}
static long
directly(const char *path, int flags)
{
  return syscall(SYS_openat, AT_FDCWD, path, flags);
}
#endif

static volatile int signals, inner, restarts;

static void
on_alarm(int sig)
{
  (void)sig;
  inner = (int)directly("/usr/new", O_CREAT | O_WRONLY);
  if (++signals % 2 == 0 && restarts)
    open("/tmp/fifo", O_RDWR); /* which lets it go on */
}

static void
handlers(int flags)
{
  struct sigaction a = { .sa_handler = on_alarm, .sa_flags = flags };
  struct itimerval t = { { 0, 50000 }, { 0, 50000 } }, off = { { 0, 0 }, { 0, 0 } };
  int rc[3];

  restarts = flags != 0;
  mkfifo("/tmp/fifo", 0600);
  sigaction(SIGALRM, &a, NULL);
  for (int i = 0; i < 5; i++)
    opened(O_RDONLY);
  setitimer(ITIMER_REAL, &t, NULL);
  for (int i = 0; i < 3; i++)
    rc[i] = open("/tmp/fifo", O_RDONLY) < 0 ? errno : 0;
  setitimer(ITIMER_REAL, &off, NULL);
  for (int i = 0; i < 3; i++)
    printf("%s ", rc[i] ? strerrorname_np(rc[i]) : "opened");
  printf("inside: %s\n", strerrorname_np(-inner));
}

static int answer_trap;

static void
on_sys(int sig, siginfo_t *si, void *context)
{
  (void)sig, (void)si, (void)context;
#if defined(__x86_64__)
  if (answer_trap)
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
#endif
  signals++;
}

static void
own_filter(unsigned action)
{
  struct sock_filter f[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, action),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = { 6, f };

  opened(O_RDONLY);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

int
main(int argc, char **argv)
{
  const char *what = argv[1];
  const int n = argc > 2 ? atoi(argv[2]) : 1;

  if (!strcmp(what, "many"))
    many(n);
  else if (!strcmp(what, "syscall"))
    by_syscall();
  else if (!strcmp(what, "denied"))
    denied(n);
  else if (!strcmp(what, "threads"))
    threads();
  else if (!strcmp(what, "beside"))
    beside(n, argv[0]);
  else if (!strcmp(what, "forks"))
    forks(argv[0]);
  else if (!strcmp(what, "machine"))
    machine();
  else if (!strcmp(what, "handlers"))
    handlers(n ? SA_RESTART : 0);
  else if (!strcmp(what, "flags") || !strcmp(what, "own")) {
    int last = 0;

    const unsigned actions[] = { SECCOMP_RET_ERRNO | EACCES, SECCOMP_RET_TRACE, SECCOMP_RET_ALLOW,
                                 SECCOMP_RET_TRAP };
    struct sigaction a = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };

    sigaction(SIGSYS, &a, NULL);
    if (what[0] == 'o') {
      answer_trap = 1;
      own_filter(actions[n - 1]);
    }
    for (int i = 0; i < 5; i++) {
      opened(O_RDONLY);
      last = opened(O_WRONLY);
    }
    printf("%s, %d signals\n", last ? strerrorname_np(-last) : "opened", signals);
  }
  return 0;
}
