/* SPDX-License-Identifier: MIT
 *
 * Raw system calls, for the library and for the freestanding runner alike.
 *
 * Nothing here needs libc: csn_sys() answers a value or -errno, never touches errno, and so may be
 * called in a child that shares memory with its creator. Structures and numbers come from the
 * kernel's own headers; what Debian 12's headers (6.1) lack is filled in below.
 */
#ifndef CSN_SYS_H
#define CSN_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <asm/unistd.h>
#include <asm/errno.h>
#include <fcntl.h> /* for its constants; nothing of libc is called */
#include <linux/openat2.h>
#include <linux/utsname.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define CSN_NARG(...) CSN_NARG_(__VA_ARGS__, 6, 5, 4, 3, 2, 1, 0)
#define CSN_NARG_(a, b, c, d, e, f, n, ...) n
#define CSN_CAT(a, b) CSN_CAT_(a, b)
#define CSN_CAT_(a, b) a##b

/* csn_sys(__NR_openat, dirfd, path, flags): up to six arguments, integers or pointers. */
#define csn_sys(nr, ...) CSN_CAT(csn_sys, CSN_NARG(__VA_ARGS__))(nr, __VA_ARGS__)
#define csn_sys0(nr) csn_syscall6(nr, 0, 0, 0, 0, 0, 0)
#define csn_sys1(nr, a) csn_syscall6(nr, (long)(a), 0, 0, 0, 0, 0)
#define csn_sys2(nr, a, b) csn_syscall6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define csn_sys3(nr, a, b, c) csn_syscall6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define csn_sys4(nr, a, b, c, d) csn_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define csn_sys5(nr, a, b, c, d, e)                                                                \
  csn_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define csn_sys6(nr, a, b, c, d, e, f)                                                             \
  csn_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#if defined(__x86_64__)
static inline long
csn_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
  long ret;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;

  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
}
#elif defined(__aarch64__)
static inline long
csn_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;

  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#else
#error "caisson knows x86-64 and arm64"
#endif

/* The kernel's struct clone_args, in its 5.7 form (CLONE_INTO_CGROUP). */
struct csn_clone_args {
  u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  u64 set_tid, set_tid_size, cgroup;
};

/* The kernel's struct sched_attr, in its 5.3 form. */
struct csn_sched_attr {
  u32 size, policy;
  u64 flags;
  s32 nice;
  u32 priority;
  u64 runtime, deadline, period;
  u32 util_min, util_max;
};

/*
 * clone3 through an assembly stub: the child calls fn(arg) on the stack that args names (or, without
 * CLONE_VM, on its copy of the caller's) and leaves by exit_group(fn's value). clone(2) can't carry
 * CLONE_INTO_CGROUP, CLONE_CLEAR_SIGHAND or CLONE_NEWTIME. The creator gets the pid or -errno.
 */
long csn_clone3(struct csn_clone_args *args, size_t size, int (*fn)(void *), void *arg);

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define CSN_CLONE_VM 0x00000100u
#define CSN_CLONE_FILES 0x00000400u
#define CSN_CLONE_PIDFD 0x00001000u
#define CSN_CLONE_VFORK 0x00004000u
#define CSN_CLONE_PARENT 0x00008000u
#define CSN_CLONE_PARENT_SETTID 0x00100000u
#define CSN_CLONE_CHILD_CLEARTID 0x00200000u
#define CSN_CLONE_CHILD_SETTID 0x01000000u
#define CSN_CLONE_CLEAR_SIGHAND 0x100000000ull
#define CSN_CLONE_INTO_CGROUP 0x200000000ull

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

#define CSN_RETRY(expr)                                                                            \
  ({                                                                                               \
    long rc_;                                                                                      \
    do                                                                                             \
      rc_ = (expr);                                                                                \
    while (rc_ == -EINTR);                                                                         \
    rc_;                                                                                           \
  })

static inline void
csn_close(int fd)
{
  if (fd >= 0)
    csn_sys(__NR_close, fd);
}

static inline void
csn_closep(int *fd)
{
  csn_close(*fd);
}

/* A descriptor that is closed when its variable goes out of scope; only where no Lua call can raise. */
#define CSN_CLEANUP_FD __attribute__((cleanup(csn_closep)))

/* A copy of fd with the least free number from least on, closed at exec; or -errno. That every number from
 * least on is beyond the limit is the same lack of descriptors, whatever fcntl(2) calls it. */
static inline int
csn_dup(int fd, int least)
{
  long rc = csn_sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, least);

  return (int)(rc == -EINVAL ? -EMFILE : rc);
}

/* Give the descriptor up to the caller. */
static inline int
csn_steal_fd(int *fd)
{
  int taken = *fd;

  *fd = -1;
  return taken;
}

static inline size_t
csn_strlen(const char *s)
{
  size_t n = 0;

  while (s[n])
    n++;
  return n;
}

static inline bool
csn_streq(const char *a, const char *b)
{
  while (*a && *a == *b)
    a++, b++;
  return *a == *b;
}

/* Is this Linux major.minor or later? For what can't be asked of the kernel in another way. */
static inline bool
csn_kernel_from(unsigned major, unsigned minor)
{
  struct new_utsname u;
  unsigned is[2] = { 0, 0 };
  const char *s = u.release;

  if (csn_sys(__NR_uname, &u) < 0)
    return false;
  for (int i = 0; i < 2; i++, s += *s == '.')
    for (; *s >= '0' && *s <= '9'; s++)
      is[i] = is[i] * 10 + (unsigned)(*s - '0');
  return is[0] > major || (is[0] == major && is[1] >= minor);
}

/* Append s to buf (size bytes, NUL-terminated, cut if need be); returns the new length. */
static inline size_t
csn_append(char *buf, size_t size, size_t len, const char *s)
{
  while (*s && len + 1 < size)
    buf[len++] = *s++;
  buf[len] = 0;
  return len;
}

static inline size_t
csn_append_u64(char *buf, size_t size, size_t len, u64 v)
{
  char tmp[24];
  int i = sizeof(tmp) - 1;

  tmp[i] = 0;
  do
    tmp[--i] = (char)('0' + v % 10);
  while (v /= 10);
  return csn_append(buf, size, len, tmp + i);
}

#endif
