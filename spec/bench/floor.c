/* SPDX-License-Identifier: MIT
 *
 * The floor under `make bench`: what a minimal C program needs for the work that the library's plan does,
 * by the system calls that do it, without a runner, a report or a check of anything. The child is
 * made by clone3(CLONE_VM | CLONE_VFORK), so it shares the host's memory, which the library never does.
 *
 *     floor ROOT     ROOT holds `true`, `pause` and an empty directory `proc`
 *
 * It reads commands, one a line, and answers each with a line of nanoseconds:
 *     own            all seven namespaces, the child maps its own ids, mounts, pivot_root, exec, wait
 *     sync           the same, its ids mapped by this process while the child waits
 *     bare           vfork, exec and wait, and nothing else
 *     run ARG...     start a command (arguments split by tabs), wait; its peak memory in KiB follows
 *     filtered FILE ARG...   the same, with FILE on descriptor 9, where bwrap is told to read its filter
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#endif

static const char *root;
static char uid_map[64], gid_map[64];

struct args {
  int sock; /* -1: the child maps its own ids */
  int step, err;
};

static int
put(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

  if (fd >= 0)
    close(fd);
  return n < 0 ? -1 : 0;
}

#define TRY(expr)                                                                                  \
  do {                                                                                             \
    a->step++;                                                                                     \
    if ((expr) < 0) {                                                                              \
      a->err = errno;                                                                              \
      _exit(125);                                                                                  \
    }                                                                                              \
  } while (0)

/* The child, on memory that it shares with the program. */
static int
child(void *arg)
{
  struct args *a = arg;
  char *argv[] = { (char *)"/true", NULL }, *env[] = { NULL };
  struct mount_attr private = { .propagation = MS_PRIVATE }, slave = { .propagation = MS_SLAVE };
  struct sigaction dfl = { .sa_handler = SIG_DFL }, old;
  sigset_t none;
  int tree, fs, proc, at;
  char go;

  TRY(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  if (a->sock < 0) {
    TRY(put("/proc/self/setgroups", "deny"));
    TRY(put("/proc/self/uid_map", uid_map));
    TRY(put("/proc/self/gid_map", gid_map));
  } else {
    TRY(send(a->sock, "", 1, MSG_NOSIGNAL));
    TRY(recv(a->sock, &go, 1, 0) == 1 ? 0 : -1);
  }
  TRY(at = open("/", O_PATH | O_CLOEXEC));
  TRY(syscall(SYS_mount_setattr, at, "", AT_EMPTY_PATH | AT_RECURSIVE, &private, sizeof(private)));
  close(at);
  TRY(tree = (int)syscall(SYS_open_tree, AT_FDCWD, root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  TRY(at = open("/", O_PATH | O_CLOEXEC));
  TRY(syscall(SYS_mount_setattr, at, "", AT_EMPTY_PATH, &slave, sizeof(slave)));
  TRY(syscall(SYS_move_mount, tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
  close(at);
  TRY(fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC));
  TRY(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", "proc", 0));
  TRY(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
  TRY(proc = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  close(fs);
  TRY(syscall(SYS_move_mount, proc, "", tree, "proc", MOVE_MOUNT_F_EMPTY_PATH));
  close(proc);
  TRY(fchdir(tree));
  TRY(syscall(SYS_pivot_root, ".", "."));
  TRY(umount2(".", MNT_DETACH));
  TRY(chdir("/"));
  TRY(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  TRY(syscall(SYS_close_range, 0, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
  for (int sig = 1; sig <= 64; sig++) /* those that are ignored stay so over exec */
    if (syscall(SYS_rt_sigaction, sig, NULL, &old, 8) == 0 && old.sa_handler != SIG_DFL)
      syscall(SYS_rt_sigaction, sig, &dfl, NULL, 8);
  sigemptyset(&none);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
  TRY(execve(argv[0], argv, env));
  return 125;
}

long csn_clone3(struct clone_args *args, size_t size, int (*fn)(void *),
                void *arg); /* core/clone.S */

static uint64_t
now(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
die(const char *what, int err)
{
  fprintf(stderr, "floor: %s: %s\n", what, strerror(err));
  exit(1);
}

static int
put_of(pid_t pid, const char *file, const char *text)
{
  char path[64];

  snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
  return put(path, text);
}

static uint64_t
construct(int with_sync)
{
  static char stack[65536] __attribute__((aligned(16)));
  struct args a = { .sock = -1 };
  uint64_t start = now();
  int pidfd = -1, pair[2] = { -1, -1 };
  struct clone_args ca = {
    .flags = CLONE_VM | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_NEWUSER | CLONE_NEWNS |
             CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
    .pidfd = (uint64_t)(uintptr_t)&pidfd,
    .exit_signal = SIGCHLD,
    .stack = (uint64_t)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  siginfo_t si;
  char c;
  long pid;

  /* While the host waits for a child it can't answer it: with a sync there is no CLONE_VFORK. */
  if (with_sync) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
      die("socketpair", errno);
    a.sock = pair[1];
  } else {
    ca.flags |= CLONE_VFORK;
  }
  pid = csn_clone3(&ca, sizeof(ca), child, &a);
  if (pid < 0)
    die("clone3", (int)-pid);
  if (with_sync) {
    close(pair[1]);
    if (recv(pair[0], &c, 1, 0) != 1 || put_of((pid_t)pid, "setgroups", "deny") < 0 ||
        put_of((pid_t)pid, "uid_map", uid_map) < 0 || put_of((pid_t)pid, "gid_map", gid_map) < 0)
      die("id maps", errno);
    send(pair[0], "", 1, MSG_NOSIGNAL);
    while (recv(pair[0], &c, 1, 0) > 0) /* its end is the exec */
      ;
    close(pair[0]);
  }
  if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0)
    die("wait", errno);
  close(pidfd);
  if (si.si_status != 0) {
    fprintf(stderr, "floor: step %d: %s\n", a.step, strerror(a.err));
    exit(1);
  }
  return now() - start;
}

extern char **environ;

/* A bare vfork and exec of the least program, and its end. */
static int
bare_child(void *arg)
{
  char *const argv[] = { arg, NULL }, *const env[] = { NULL };

  execve(arg, argv, env);
  return 125;
}

static uint64_t
bare(void)
{
  static char stack[16384] __attribute__((aligned(16)));
  char path[PATH_MAX];
  struct clone_args ca = {
    .flags = CLONE_VM | CLONE_VFORK,
    .exit_signal = SIGCHLD,
    .stack = (uint64_t)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  struct rusage ru;
  uint64_t start;
  int status = 0;
  long pid;

  snprintf(path, sizeof(path), "%s/true", root);
  start = now();
  pid = csn_clone3(&ca, sizeof(ca), bare_child, path);
  if (pid < 0)
    die("clone3", (int)-pid);
  if (wait4((pid_t)pid, &status, 0, &ru) < 0 || status != 0)
    die("wait", errno);
  return now() - start;
}

static uint64_t
run(char *line, long *peak, int filtered)
{
  char *argv[256];
  int argc = 0, status, err;
  posix_spawn_file_actions_t fa;
  struct rusage ru;
  uint64_t start;
  pid_t pid;
  const char *filter = filtered ? strtok(line, "\t") : NULL;

  for (char *s = strtok(filtered ? NULL : line, "\t"); s && argc < 255; s = strtok(NULL, "\t"))
    argv[argc++] = s;
  argv[argc] = NULL;
  posix_spawn_file_actions_init(&fa);
  if (filter)
    posix_spawn_file_actions_addopen(&fa, 9, filter, O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
  start = now();
  if ((err = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ)) != 0)
    die(argv[0], err);
  wait4(pid, &status, 0, &ru);
  start = now() - start;
  posix_spawn_file_actions_destroy(&fa);
  if (status != 0)
    fprintf(stderr, "floor: %s: status %d\n", argv[0], status);
  *peak = status == 0 ? ru.ru_maxrss : -1;
  return start;
}

int
main(int argc, char **argv)
{
  static char line[65536];
  long peak = 0;

  if (argc != 2)
    return 2;
  root = argv[1];
  snprintf(uid_map, sizeof(uid_map), "0 %d 1\n", (int)geteuid());
  snprintf(gid_map, sizeof(gid_map), "0 %d 1\n", (int)getegid());
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof(line), stdin)) {
    uint64_t ns;

    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, "own") == 0)
      ns = construct(0);
    else if (strcmp(line, "bare") == 0)
      ns = bare();
    else if (strcmp(line, "sync") == 0)
      ns = construct(1);
    else if (strncmp(line, "run\t", 4) == 0)
      ns = run(line + 4, &peak, 0);
    else if (strncmp(line, "filtered\t", 9) == 0)
      ns = run(line + 9, &peak, 1);
    else
      return 2;
    printf("%llu %ld\n", (unsigned long long)ns, peak);
  }
  return 0;
}
