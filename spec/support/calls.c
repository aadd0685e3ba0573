/* Makes system calls with known arguments, between two calls of gettid; for what decodes them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define NOWHERE "/no/where"

static void
files(void)
{
  struct open_how how = { .flags = O_RDONLY | O_DIRECTORY, .resolve = RESOLVE_IN_ROOT };

  syscall(SYS_openat, AT_FDCWD, NOWHERE, O_RDONLY | O_CLOEXEC);
  syscall(SYS_openat, AT_FDCWD, NOWHERE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
  syscall(SYS_openat, -1, "no\twhere", O_WRONLY | O_TRUNC | O_APPEND | O_NONBLOCK);
  syscall(SYS_openat, AT_FDCWD, NOWHERE, O_RDWR | O_TMPFILE, 0600);
  syscall(SYS_openat, AT_FDCWD, NOWHERE, O_WRONLY | O_SYNC | O_PATH);
  syscall(SYS_openat2, AT_FDCWD, NOWHERE, &how, sizeof(how));
  syscall(SYS_mkdirat, AT_FDCWD, NOWHERE, 0755);
  syscall(SYS_unlinkat, AT_FDCWD, NOWHERE, AT_REMOVEDIR);
  syscall(SYS_linkat, AT_FDCWD, NOWHERE, AT_FDCWD, "/no/there", AT_SYMLINK_FOLLOW);
  syscall(SYS_renameat2, AT_FDCWD, NOWHERE, AT_FDCWD, "/no/there", RENAME_EXCHANGE);
  syscall(SYS_fchownat, AT_FDCWD, NOWHERE, 1000, -1, AT_SYMLINK_NOFOLLOW);
  syscall(SYS_faccessat, AT_FDCWD, NOWHERE, R_OK | X_OK);
  syscall(SYS_faccessat, AT_FDCWD, NOWHERE, F_OK);
  syscall(SYS_fcntl, -1, F_GETFL);
  syscall(SYS_fcntl, -1, F_SETFD, FD_CLOEXEC);
  syscall(SYS_fcntl, -1, F_SETFL, O_RDWR | O_NONBLOCK);
  syscall(SYS_fcntl, -1, F_DUPFD_CLOEXEC, 3);
  syscall(SYS_lseek, -1, 10, SEEK_END);
  syscall(SYS_write, -1, "hello\n", 6);
  syscall(SYS_mount, "none", NOWHERE, "tmpfs", MS_NOSUID | MS_NODEV | MS_REC, "size=1m");
  syscall(SYS_umount2, NOWHERE, MNT_DETACH | UMOUNT_NOFOLLOW);
  syscall(SYS_chdir, NOWHERE);
  syscall(SYS_execve, NOWHERE, (char *[]){ "a", "b c", NULL }, NULL);
}

static void
sockets(void)
{
  struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(80) };
  struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(443) };
  struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = NOWHERE };
  struct sockaddr_un abstract = { .sun_family = AF_UNIX, .sun_path = "\0name" };
  struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = 5 };

  inet_pton(AF_INET, "192.0.2.1", &in.sin_addr);
  inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr);
  close((int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  close((int)syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP));
  close((int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  syscall(SYS_connect, -1, &in, sizeof(in));
  syscall(SYS_connect, -1, &in6, sizeof(in6));
  syscall(SYS_connect, -1, &un, offsetof(struct sockaddr_un, sun_path) + sizeof(NOWHERE));
  syscall(SYS_bind, -1, &abstract, offsetof(struct sockaddr_un, sun_path) + 5);
  syscall(SYS_bind, -1, &nl, sizeof(nl));
  syscall(SYS_sendto, -1, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
  syscall(SYS_shutdown, -1, SHUT_RDWR);
  syscall(SYS_accept4, -1, NULL, NULL, SOCK_CLOEXEC);
}

static void
others(void)
{
  int word = 0;

  syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  syscall(SYS_mprotect, NULL, 0, PROT_NONE);
  syscall(SYS_madvise, NULL, 0, MADV_DONTNEED);
  syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
  syscall(SYS_prctl, PR_CAPBSET_READ, 21 /* CAP_SYS_ADMIN */);
  syscall(SYS_prctl, PR_GET_DUMPABLE);
  syscall(SYS_prctl, PR_SET_NAME, "calls");
  syscall(SYS_ioctl, -1, TIOCGWINSZ, NULL);
  syscall(SYS_ioctl, -1, TIOCSTI, NULL);
  syscall(SYS_ioctl, -1, _IOC(_IOC_READ, 0xee, 0x2a, 4), 0x1000);
  syscall(SYS_unshare, CLONE_FS | CLONE_FILES);
  syscall(SYS_setns, -1, CLONE_NEWUSER);
  syscall(SYS_kill, 0x7ffffff0, SIGUSR1);
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
  syscall(SYS_memfd_create, NULL, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  syscall(SYS_setpriority, PRIO_PROCESS, 0, 0);
  syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
  syscall(SYS_dup3, -1, 9, O_CLOEXEC);
  syscall(SYS_setresuid, -1, -1, -1);
}

int
main(void)
{
  files();
  sockets();
  others();
  return 0;
}
