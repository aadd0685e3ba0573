/* SPDX-License-Identifier: MIT
 *
 * Which devices a v2 group may use: rules made into a program of type BPF_PROG_TYPE_CGROUP_DEVICE, which
 * the kernel asks at each open and mknod. (v1 has files for it, and needs no step of its own.)
 *
 * The rules stand in order, and for each of read, write and mknod the last that matches decides; none
 * means no. So the program walks them from the last to the first, crossing off what is allowed:
 *
 *   need = what is asked
 *   for each rule that matches: allow: need &= ~access; need == 0? yes     deny: need & access? no
 *   no
 */
#include "cgroup.h"
#include <linux/bpf.h>

#define NAME "caisson_devices" /* 15 characters, as long as can be */

#define ANY ((s64)-1)

struct rule {
  bool allow;
  u32 type, access; /* type 0: both */
  s64 major, minor;
};

/* ---- "allow c 1:3 rw", "deny a", "allow b 8:* m" ---- */

static const char *
skip_word(const char *s, const char *word)
{
  while (*word && *s == *word)
    s++, word++;
  if (*word || (*s && *s != ' '))
    return NULL;
  while (*s == ' ')
    s++;
  return s;
}

static const char *
number(const char *s, char end, s64 *n)
{
  *n = ANY;
  if (*s == '*') {
    s++;
  } else {
    if (*s < '0' || *s > '9')
      return NULL;
    for (*n = 0; *s >= '0' && *s <= '9'; s++) {
      *n = *n * 10 + (*s - '0');
      if (*n > 0xfffff)
        return NULL;
    }
  }
  return *s == end ? s + 1 : NULL;
}

static bool
parse_rule(const char *s, struct rule *r)
{
  const char *p = skip_word(s, "allow");

  r->allow = p != NULL;
  if (!p && !(p = skip_word(s, "deny")))
    return false;
  r->type = *p == 'c' ? BPF_DEVCG_DEV_CHAR : *p == 'b' ? BPF_DEVCG_DEV_BLOCK : 0;
  if (*p != 'a' && *p != 'b' && *p != 'c')
    return false;
  r->major = r->minor = ANY;
  r->access = 0;
  p++;
  if (!*p && !r->type) {
    r->access = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
    return true;
  }
  if (*p++ != ' ' || !(p = number(p, ':', &r->major)) || !(p = number(p, ' ', &r->minor)))
    return false;
  for (; *p; p++) {
    u32 bit = *p == 'r'   ? BPF_DEVCG_ACC_READ
              : *p == 'w' ? BPF_DEVCG_ACC_WRITE
              : *p == 'm' ? BPF_DEVCG_ACC_MKNOD
                          : 0;

    if (!bit || (r->access & bit))
      return false;
    r->access |= bit;
  }
  return r->access != 0;
}

/* ---- the program ---- */

struct program {
  struct bpf_insn *insn;
  u32 n, max;
};

static void
emit(struct program *p, u8 code, u8 dst, u8 src, s32 off, s32 imm)
{
  if (p->n < p->max)
    p->insn[p->n] = (struct bpf_insn){
      .code = code, .dst_reg = dst, .src_reg = src, .off = (short)off, .imm = imm
    };
  p->n++;
}

static void
emit_answer(struct program *p, s32 answer)
{
  emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, answer);
  emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Registers: 2 the type, 3 what is asked and not yet allowed, 4 major, 5 minor. */
static void
emit_rule(struct program *p, const struct rule *r)
{
  u32 tests = (r->type != 0) + (r->major != ANY) + (r->minor != ANY);
  s32 left = (s32)tests + (r->allow ? 4 : 5); /* instructions to the next rule */

  if (r->type)
    emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, --left, (s32)r->type);
  if (r->major != ANY)
    emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, --left, (s32)r->major);
  if (r->minor != ANY)
    emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, --left, (s32)r->minor);
  if (r->allow) {
    emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_3, 0, 0, (s32)(7 & ~r->access));
    emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_3, 0, 2, 0);
    emit_answer(p, 1);
  } else {
    emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_0, BPF_REG_3, 0, 0);
    emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_0, 0, 0, (s32)r->access);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0);
    emit_answer(p, 0);
  }
}

int
csn_device_program(struct csn_ctx *c, struct csn_list rules, void *insn, u32 max)
{
  const struct csn_str *text = csn_l(c, rules);
  struct program p = { insn, 0, max };
  struct rule r;

  /* struct bpf_cgroup_dev_ctx: access_type (access above, type below 16 bits), major, minor */
  emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
  emit(&p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
  emit(&p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
  emit(&p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
  emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
  emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
  for (u32 i = 0; i < rules.count; i++) /* all of them, also those that no longer matter */
    if (!parse_rule(csn_s(c, text[i]), &r))
      return csn_detail(c, -EINVAL, "no rule such as 'allow c 1:3 rwm': ", csn_s(c, text[i]));
  for (u32 i = rules.count; i-- > 0;) {
    parse_rule(csn_s(c, text[i]), &r);
    if (!r.type && r.major == ANY && r.minor == ANY && r.access == 7) {
      emit_answer(&p, r.allow); /* for whatever is left to ask */
      return p.n <= max ? (int)p.n : -E2BIG;
    }
    emit_rule(&p, &r);
  }
  emit_answer(&p, 0);
  return p.n <= max ? (int)p.n : csn_detail(c, -E2BIG, "too many rules", NULL);
}

/* ---- bpf(2) ---- */

/* Linux 6.17 to 7.1 writes its answer to BPF_PROG_QUERY where its own union bpf_attr has the field, however
 * short the caller's is. This is longer than any of them; a kernel that knows less wants the rest zero. */
union attr {
  union bpf_attr a;
  u8 all[256];
};

static long
bpf(int cmd, union attr *attr)
{
  return csn_sys(__NR_bpf, cmd, attr, sizeof(*attr));
}

#define ZERO(x)                                                                                    \
  for (size_t zero_ = 0; zero_ < sizeof(x); zero_++)                                               \
  ((volatile u8 *)&(x))[zero_] = 0

int
csn_device_query(int group, u32 *ids, u32 max)
{
  union attr q;
  long rc;

  ZERO(q);
  q.a.query.target_fd = (u32)group;
  q.a.query.attach_type = BPF_CGROUP_DEVICE;
  q.a.query.prog_ids = (u64)(uintptr_t)ids;
  q.a.query.prog_cnt = max;
  rc = bpf(BPF_PROG_QUERY, &q);
  return rc < 0 ? (int)rc : (int)q.a.query.prog_cnt;
}

/* The program of ours that is attached already: a descriptor, -ENOENT or another error. */
static int
attached(int group)
{
  u32 ids[64];
  int n = csn_device_query(group, ids, 64);

  if (n < 0)
    return n;
  for (int i = 0; i < n && i < 64; i++) {
    CSN_CLEANUP_FD int fd = -1;
    struct bpf_prog_info info;
    union attr q;

    ZERO(q);
    q.a.prog_id = ids[i];
    fd = (int)bpf(BPF_PROG_GET_FD_BY_ID, &q);
    if (fd < 0)
      return fd;
    ZERO(q);
    ZERO(info);
    q.a.info.bpf_fd = (u32)fd;
    q.a.info.info_len = sizeof(info);
    q.a.info.info = (u64)(uintptr_t)&info;
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, &q) == 0 && csn_streq(info.name, NAME))
      return csn_steal_fd(&fd);
  }
  return -ENOENT;
}

static int
load(struct csn_ctx *c, const void *insn, u32 n)
{
  static const char name[] = NAME, license[] = "MIT";
  union attr l;
  long fd;

  ZERO(l);
  l.a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  l.a.insns = (u64)(uintptr_t)insn;
  l.a.insn_cnt = n;
  l.a.license = (u64)(uintptr_t)license;
  for (size_t i = 0; i < sizeof(name); i++)
    l.a.prog_name[i] = name[i];
  fd = bpf(BPF_PROG_LOAD, &l);
  return fd == -EPERM ? csn_detail(c, -EPERM,
                                   "loading a device program takes CAP_BPF and CAP_NET_ADMIN "
                                   "of the machine",
                                   NULL)
         : fd == -ENOSYS || fd == -EINVAL
             ? csn_detail(c, (int)fd, "this kernel takes no device programs (CONFIG_CGROUP_BPF)",
                          NULL)
             : (int)fd;
}

#define CGROUP_DEVICES(F)                                                                          \
  F(strs, rules, CSN_REQUIRED, NULL, 0)                                                            \
  F(slot, group, 0, NULL, CSN_SLOT_CGROUP)
CSN_ARGS(cgroup_devices, CGROUP_DEVICES)

/* In one go: there is no moment without a program, nor one in which both are asked. */
static int
apply_cgroup_devices(const struct cgroup_devices_args *a, struct csn_ctx *c)
{
  struct bpf_insn insn[CSN_DEVICE_INSNS];
  CSN_CLEANUP_FD int fd = -1;
  CSN_CLEANUP_FD int old = -1;
  int group = c->slots[a->group], n, rc;
  union attr t;

  if (group < 0)
    return csn_detail(c, -EBADF, "no group is there", NULL);
  rc = csn_cgroup_version(group);
  if (rc != 2)
    return rc < 0
               ? rc
               : csn_detail(c, -EOPNOTSUPP, "cgroup v1 has devices.allow and devices.deny", NULL);
  n = csn_device_program(c, a->rules, insn, CSN_DEVICE_INSNS);
  if (n < 0)
    return n;
  fd = load(c, insn, (u32)n);
  if (fd < 0)
    return fd;
  old = attached(group);
  if (old < 0 && old != -ENOENT)
    return csn_detail(c, old, "asking for the device programs of the group", NULL);
  ZERO(t);
  t.a.target_fd = (u32)group;
  t.a.attach_bpf_fd = (u32)fd;
  t.a.attach_type = BPF_CGROUP_DEVICE;
  t.a.attach_flags = BPF_F_ALLOW_MULTI | (old >= 0 ? BPF_F_REPLACE : 0);
  t.a.replace_bpf_fd = old >= 0 ? (u32)old : 0;
  rc = (int)bpf(BPF_PROG_ATTACH, &t);
  return rc < 0 ? csn_detail(c, rc, "attaching the device program", NULL) : 0;
}

CSN_PRIMITIVE(cgroup_devices, "cgroup.devices", CGROUP_DEVICES, CSN_PARENT, apply_cgroup_devices,
              NULL, "$rules")
