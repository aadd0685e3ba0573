/* SPDX-License-Identifier: MIT
 * Id maps of a user namespace (user_namespaces(7)): written by ourselves where the kernel lets us, by
 * newuidmap(1) and newgidmap(1) where the writer is unprivileged and has been given more than its own id. */
#include "procfs.h"
#include <linux/capability.h>
#include <linux/close_range.h>

#define PAGE 4096       /* the kernel takes one write of less than a page, */
#define MAX_RANGES 340  /* of at most so many lines */
#define RANGE_DIGITS 11 /* 4294967295 and its end */

#define DENY 2
CSN_WORDS(setgroups_words) = { { "allow", 1 }, { "deny", DENY }, { NULL, 0 } };

#define IDMAP(F)                                                                                   \
  F(idmaps, uid, 0, NULL, 0)                                                                       \
  F(idmaps, gid, 0, NULL, 0)                                                                       \
  F(word, setgroups, 0, setgroups_words, 0)                                                        \
  F(path, newuidmap, 0, NULL, 0)                                                                   \
  F(path, newgidmap, 0, NULL, 0)
CSN_ARGS(idmap, IDMAP)

struct map {
  const char *what, *file, *helper;
  const struct csn_idmap *ranges;
  u32 count;
  int capability;
};

static size_t
append_range(char *buf, size_t size, size_t n, const struct csn_idmap *m, const char *sep)
{
  n = csn_append_u64(buf, size, n, m->inside);
  n = csn_append(buf, size, n, sep);
  n = csn_append_u64(buf, size, n, m->outside);
  n = csn_append(buf, size, n, sep);
  return csn_append_u64(buf, size, n, m->count);
}

/* "uid 0:1000:5 and 3:2000:1 overlap inside"; b may be NULL */
static int
bad_range(struct csn_ctx *c, const struct map *m, const struct csn_idmap *a,
          const struct csn_idmap *b, const char *why)
{
  char text[CSN_DETAIL];
  size_t n = csn_append(text, sizeof(text), 0, m->what);

  n = csn_append(text, sizeof(text), n, " ");
  n = append_range(text, sizeof(text), n, a, ":");
  if (b) {
    n = csn_append(text, sizeof(text), n, " and ");
    n = append_range(text, sizeof(text), n, b, ":");
  }
  csn_append(text, sizeof(text), n, why);
  return csn_detail(c, -EINVAL, text, NULL);
}

static bool
overlap(u64 a, u64 b, u64 na, u64 nb)
{
  return a < b + nb && b < a + na;
}

static int
check_ranges(const struct map *m, struct csn_ctx *c)
{
  if (m->count > MAX_RANGES)
    return csn_detail(c, -EINVAL, m->what, ": the kernel takes 340 ranges");
  for (u32 i = 0; i < m->count; i++) {
    const struct csn_idmap *a = &m->ranges[i];

    if (!a->count)
      return bad_range(c, m, a, NULL, " is empty");
    if ((u64)a->inside + a->count > 0xffffffffu || (u64)a->outside + a->count > 0xffffffffu)
      return bad_range(c, m, a, NULL, " goes past 4294967294");
    for (u32 k = 0; k < i; k++) {
      const struct csn_idmap *b = &m->ranges[k];

      if (overlap(a->inside, b->inside, a->count, b->count))
        return bad_range(c, m, b, a, " overlap inside");
      if (overlap(a->outside, b->outside, a->count, b->count))
        return bad_range(c, m, b, a, " overlap outside");
    }
  }
  return 0;
}

static bool
have_capability(int cap)
{
  struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct d[2] = { { 0 }, { 0 } };

  return csn_sys(__NR_capget, &h, d) == 0 && (d[0].effective >> cap & 1);
}

static bool
own_id_alone(const struct map *m)
{
  long id = csn_sys(m->capability == CAP_SETUID ? __NR_geteuid : __NR_getegid, 0);

  return m->count == 1 && m->ranges[0].count == 1 && m->ranges[0].outside == (u32)id;
}

static int
write_map(const struct map *m, struct csn_ctx *c)
{
  char text[PAGE];
  size_t n = 0;
  int rc;

  for (u32 i = 0; i < m->count; i++) {
    n = append_range(text, sizeof(text), n, &m->ranges[i], " ");
    n = csn_append(text, sizeof(text), n, "\n");
  }
  if (n + 1 >= sizeof(text))
    return csn_detail(c, -EINVAL, m->what,
                      ": the ranges fill more than a page, which is all the kernel takes");
  rc = csn_proc_write(csn_proc_open_pid(c, m->file, O_WRONLY), text, n);
  if (rc == -EPERM && !c->pid && !c->detail_len)
    csn_detail(c, rc, m->file,
               ": once, from inside, and its own id alone (a gid with setgroups denied)");
  else if (rc == -EPERM && !c->detail_len && !own_id_alone(m) && !have_capability(m->capability))
    csn_detail(c, rc, m->file,
               m->capability == CAP_SETUID
                   ? ": more than the caller's own uid takes CAP_SETUID, or newuidmap"
                   : ": more than the caller's own gid takes CAP_SETGID, or newgidmap");
  return rc < 0 && !c->detail_len ? csn_detail(c, rc, m->file, NULL) : rc;
}

/* ---- newuidmap and newgidmap ---- */

struct helper {
  const char *const *argv;
  const char *path;
  int out, err;
};

/* In a vforked child, on the host's memory: raw system calls, nothing else. */
static int
run_helper(void *arg)
{
  struct helper *h = arg;
  const char *env[] = { NULL };
  u64 none = 0;
  long rc = 0;

  for (int fd = 0; fd < 3 && rc >= 0; fd++)
    rc = csn_sys(__NR_dup3, h->out, fd, 0);
  if (rc >= 0)
    rc = csn_sys(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
  csn_sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, 8);
  if (rc >= 0)
    rc = csn_sys(__NR_execve, h->path, h->argv, env);
  h->err = (int)rc;
  return 127;
}

static long
start_helper(struct helper *h)
{
  u8 stack[8192] __attribute__((aligned(16)));
  struct csn_clone_args ca = {
    .flags = CSN_CLONE_VM | CSN_CLONE_VFORK | CSN_CLONE_CLEAR_SIGHAND,
    .exit_signal = 17, /* SIGCHLD, which exec would make of any other */
    .stack = (u64)(uintptr_t)stack,
    .stack_size = sizeof(stack),
  };
  u64 all = ~0ull, old;
  long pid;

  csn_sys(__NR_rt_sigprocmask, 2, &all, &old, 8);
  pid = csn_clone3(&ca, sizeof(ca), run_helper, h);
  csn_sys(__NR_rt_sigprocmask, 2, &old, NULL, 8);
  return pid;
}

/* The line that it printed, to its end or the detail's. */
static void
read_complaint(int fd, char *text, size_t size)
{
  char rest[256];
  size_t n = 0;
  long got;

  while ((got = CSN_RETRY(csn_sys(__NR_read, fd, rest, sizeof(rest)))) > 0)
    for (long i = 0; i < got; i++)
      if (n + 1 < size)
        text[n++] = rest[i];
  text[n] = 0;
  for (n = 0; text[n] && text[n] != '\n'; n++)
    ;
  text[n] = 0;
}

/* Whatever its status says (which is lost where the host ignores SIGCHLD): is there a map now? */
static int
check_written(const struct map *m, struct csn_ctx *c)
{
  CSN_CLEANUP_FD int fd = csn_proc_open_pid(c, m->file, O_RDONLY);
  char byte;
  long n;

  if (fd < 0)
    return fd;
  n = csn_sys(__NR_read, fd, &byte, 1);
  return n < 0 ? (int)n : n == 1 ? 0 : -EPERM;
}

static int
call_helper(const struct map *m, struct csn_ctx *c)
{
  char numbers[(3 * MAX_RANGES + 1) * RANGE_DIGITS], complaint[CSN_DETAIL];
  const char *argv[3 * MAX_RANGES + 3];
  struct helper h = { .argv = argv, .path = m->helper };
  CSN_CLEANUP_FD int out = -1, in = -1;
  int pair[2], status = 0, rc;
  size_t n = 0;
  u32 k = 0;
  long pid;

  argv[k++] = m->helper;
  argv[k++] = numbers;
  n = csn_append_u64(numbers, sizeof(numbers), n, (u64)c->pid) + 1;
  for (u32 i = 0; i < m->count; i++) {
    const u32 three[] = { m->ranges[i].inside, m->ranges[i].outside, m->ranges[i].count };

    for (int j = 0; j < 3; j++) {
      argv[k++] = numbers + n;
      n = csn_append_u64(numbers, sizeof(numbers), n, three[j]) + 1;
    }
  }
  argv[k] = NULL;
  if ((rc = (int)csn_sys(__NR_pipe2, pair, O_CLOEXEC)) < 0)
    return rc;
  in = pair[0];
  /* Out of the way of 0, 1 and 2, should the host have those closed. */
  h.out = out = csn_dup(pair[1], 3);
  csn_close(pair[1]);
  if (out < 0)
    return out;
  pid = start_helper(&h);
  if (pid < 0)
    return csn_detail(c, (int)pid, m->helper, NULL);
  csn_close(csn_steal_fd(&out));
  read_complaint(in, complaint, sizeof(complaint));
  CSN_RETRY(csn_sys(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0));
  if (h.err < 0)
    return csn_detail(c, h.err, m->helper, NULL);
  rc = check_written(m, c);
  if (rc == 0 && status)
    rc = -EPERM;
  return rc < 0 ? csn_detail(c, rc, complaint[0] ? complaint : m->helper, NULL) : 0;
}

/* From inside, a process may map its own id and nothing else, whatever it is capable of there. */
static int
set_map(const struct map *m, struct csn_ctx *c)
{
  bool single = m->count == 1 && m->ranges[0].count == 1;

  if (!m->count)
    return 0;
  if (m->helper && !c->pid && !single)
    return csn_detail(c, -EINVAL, m->helper, " serves the parent's side only");
  if (!m->helper || !c->pid || own_id_alone(m) || have_capability(m->capability))
    return write_map(m, c);
  return call_helper(m, c);
}

static int
apply_idmap(const struct idmap_args *a, struct csn_ctx *c)
{
  const struct map uid = { "uid",        "uid_map", csn_s(c, a->newuidmap), csn_l(c, a->uid),
                           a->uid.count, CAP_SETUID };
  const struct map gid = { "gid",        "gid_map", csn_s(c, a->newgidmap), csn_l(c, a->gid),
                           a->gid.count, CAP_SETGID };
  /* Without a gid map nobody can set groups anyway, and nobody shall who writes one later. */
  const u64 setgroups = a->setgroups ? a->setgroups : a->uid.count && !a->gid.count ? DENY : 0;
  int rc;

  if ((rc = check_ranges(&uid, c)) < 0 || (rc = check_ranges(&gid, c)) < 0)
    return rc;
  /* Before the gid map: denied, an unprivileged writer may map its own gid; afterwards it is too late. */
  if (setgroups) {
    const char *word = setgroups == DENY ? "deny" : "allow";

    rc = csn_proc_write(csn_proc_open_pid(c, "setgroups", O_WRONLY), word, csn_strlen(word));
    if (rc < 0)
      return c->detail_len ? rc : csn_detail(c, rc, "setgroups ", word);
  }
  rc = set_map(&uid, c);
  return rc < 0 ? rc : set_map(&gid, c);
}

CSN_PRIMITIVE(idmap, "idmap", IDMAP, CSN_PARENT, apply_idmap, NULL,
              "[uid $uid][  gid $gid][  setgroups $setgroups]")
