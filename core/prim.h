/* SPDX-License-Identifier: MIT
 *
 * Primitives: what a step of a plan does.
 *
 * A primitive is defined once. To add one, write in the C file of its kernel family
 *
 *     #define HOSTNAME(F) F(str, name, CSN_REQUIRED, NULL, 0)
 *     CSN_ARGS(hostname, HOSTNAME)
 *
 *     static int
 *     apply_hostname(const struct hostname_args *a, struct csn_ctx *c)
 *     {
 *       return (int)csn_sys(__NR_sethostname, csn_s(c, a->name), a->name.len);
 *     }
 *
 *     CSN_PRIMITIVE(hostname, "hostname", HOSTNAME, CSN_CHILD, apply_hostname, NULL, "$name")
 *
 * then its annotation in lua/meta/core/ and its spec. From that one definition come the direct call
 * core.hostname("box"), the recorded step, its line in `caisson plan` (the last argument: $field stands
 * for the field as text, a [bracketed part] is left out when a field in it was not given), its JSON
 * form, and the name in an error. The files that hold primitives are compiled twice: into the library,
 * and with CSN_RUNNER into the freestanding runner, where the descriptions are left out. So apply()
 * makes raw system calls only, allocates nothing, and returns 0 or -errno.
 *
 * A field is F(kind, name, flags, words, default):
 *   str path bytes   struct csn_str; path and str may hold no NUL
 *   strs             struct csn_list of struct csn_str
 *   bool int u32 u64 mode   numbers; u64 also takes a decimal string, with CSN_MAX "max" for 2^64-1
 *   word flags       one word, or a list of words ORed, from the words table; with CSN_NUM numbers too
 *   slot slots       fd slots by name; CSN_OUT: the step fills it
 *   idmaps           struct csn_list of struct csn_idmap
 *   u64s             struct csn_list of u64
 * The first field may be given as [1], or alone in place of the table.
 */
#ifndef CSN_PRIM_H
#define CSN_PRIM_H

#include "sys.h"

#define CSN_SLOTS 64
#define CSN_DETAIL 192

/* Slots with a fixed number; others are numbered in the order a plan names them. */
enum {
  CSN_SLOT_ROOT,   /* the new root directory */
  CSN_SLOT_PROCFS, /* a private, detached procfs */
  CSN_SLOT_CGROUP, /* the cgroup that the child is born into */
  CSN_SLOT_STDIN,
  CSN_SLOT_STDOUT,
  CSN_SLOT_STDERR,
  CSN_SLOT_MASK, /* the empty read-only tmpfs that lies over every masked directory */
  CSN_SLOT_FIRST_FREE
};
#define CSN_SLOT_NAMES "root", "procfs", "cgroup", "stdin", "stdout", "stderr", "mask"

struct csn_str {
  u32 off, len; /* off 0: not given */
};

struct csn_list {
  u32 off, count;
};

struct csn_idmap {
  u32 inside, outside, count;
};

/* The directory that a step has put something into: the next one of its kind may need it again (path.h). */
struct csn_dir {
  const char *path; /* the first len bytes of it */
  u32 len;
  s32 root, number; /* number: of the descriptor, and 1; 0: there is none */
  bool plain;       /* no symlink leads there */
  u8 nodev;         /* is its mount? 0: not asked yet, 1: no, 2: yes */
};

/* What belongs to one run, in the process that applies a step. */
struct csn_ctx {
  const u8 *base;       /* the plan block, which offsets count from */
  s32 slots[CSN_SLOTS]; /* -1: empty */
  s32 pid;              /* on the parent's side the child's pid, else 0 */
  u64 own; /* CLONE_NEW*: the namespaces that are the container's, not the host's; all in a direct call */
  s32 made;     /* undo(): what apply() had returned, 0 to 254: how much there is to take back */
  u64 run;      /* what stands for "*" in a name that no other run may have; 0: not drawn yet */
  bool born;    /* this is the child itself: a step for its creator comes too late */
  bool init;    /* ... and an init will stay between it and its program */
  bool entered; /* a step has entered the working directory that another would try again */
  bool courier; /* it has a thread beside it while filters are loaded, which is to be under none */
  bool joined;  /* in namespaces of a container's: stays as one that its processes can't trace */
  struct csn_dir dir;
  u32 detail_len;
  char detail
      [CSN_DETAIL]; /* what apply() adds to an error: the path component, the kernel's message */
};

static inline const char *
csn_s(const struct csn_ctx *c, struct csn_str s)
{
  return s.off ? (const char *)c->base + s.off : NULL;
}

static inline const void *
csn_l(const struct csn_ctx *c, struct csn_list l)
{
  return c->base + l.off;
}

/* Say more about the failure that apply() is about to return; returns err, to be returned. */
static inline int
csn_detail(struct csn_ctx *c, int err, const char *a, const char *b)
{
  size_t n = csn_append(c->detail, sizeof(c->detail), 0, a);

  if (b)
    n = csn_append(c->detail, sizeof(c->detail), n, b);
  c->detail_len = (u32)n;
  return err;
}

/* cgroup.c: see that c->run is drawn; 0 or -errno. */
int csn_draw_run(struct csn_ctx *c) __attribute__((visibility("hidden")));

/* Put fd into a slot, closing what was there; returns 0, or fd itself where it is an error. */
static inline int
csn_fill(struct csn_ctx *c, s64 slot, long fd)
{
  if (fd < 0)
    return (int)fd;
  csn_close(c->slots[slot]);
  c->slots[slot] = (s32)fd;
  return 0;
}

enum csn_kind {
  CSN_K_str = 1,
  CSN_K_path,
  CSN_K_bytes,
  CSN_K_strs,
  CSN_K_bool,
  CSN_K_int,
  CSN_K_u32,
  CSN_K_u64,
  CSN_K_mode,
  CSN_K_word,
  CSN_K_flags,
  CSN_K_slot,
  CSN_K_slots,
  CSN_K_idmaps,
  CSN_K_u64s
};

#define CSN_T_str struct csn_str
#define CSN_T_path struct csn_str
#define CSN_T_bytes struct csn_str
#define CSN_T_strs struct csn_list
#define CSN_T_bool u64
#define CSN_T_int s64
#define CSN_T_u32 u64
#define CSN_T_u64 u64
#define CSN_T_mode u64
#define CSN_T_word u64
#define CSN_T_flags u64
#define CSN_T_slot s64
#define CSN_T_slots struct csn_list
#define CSN_T_idmaps struct csn_list
#define CSN_T_u64s struct csn_list

#define CSN_REQUIRED 1 /* must be given */
#define CSN_OUT 2      /* a slot that the step fills */
#define CSN_NUM 4      /* word, flags: a plain number is taken too */
#define CSN_MAX 8      /* u64: "max" is 2^64-1 */

/* CSN_LAST: where such steps stand right before exec, all that exec prepares (descriptors, signals, the
 * program's path) is done before them, so that a seccomp filter need allow nothing but execve.
 * CSN_SELF: what it changes is the process that applies it, which must not be the host.
 * CSN_OF_PID: on the parent's side it is the child's (ctx.pid), which has to be there: behind clone.
 * CSN_NEAR: the directory that the step before it has put something into is still what its path says. */
enum csn_side {
  CSN_CHILD,
  CSN_PARENT,
  CSN_SIDE = 1,
  CSN_LAST = 2,
  CSN_SELF = 4,
  CSN_OF_PID = 8,
  CSN_NEAR = 16
};

/* What the engine does itself; such a primitive has no apply(). */
enum csn_action {
  CSN_ACT_NONE,
  CSN_ACT_CLONE,
  CSN_ACT_LUA,
  CSN_ACT_SEND,
  CSN_ACT_WAIT,
  CSN_ACT_STOP,
  CSN_ACT_COURIER,
  CSN_ACT_EXEC
};

struct csn_word {
  const char *name;
  u64 value;
};

struct csn_field {
  const char *name;
  u8 kind, flags;
  const struct csn_word *words;
  u64 def;
};

struct csn_primitive {
  const char *name;
  int (*apply)(const void *args, struct csn_ctx *c);
  int (*undo)(const void *args, struct csn_ctx *c); /* parent side: take back what apply() made */
  u8 action, side; /* the side by default; a step may be put on the other */
#ifndef CSN_RUNNER
  const char *show;
  const struct csn_field *fields; /* ends with a NULL name */
#endif
};

#define CSN_MEMBER(kind, name, flags, words, def) CSN_T_##kind name;
#define CSN_FIELD(kind, name, flags, words, def) { #name, CSN_K_##kind, flags, words, def },
#define CSN_WORDS(id) static const struct csn_word id[] __attribute__((unused))

/* Which fields were given: bit i of present for field i. All members are 8 bytes wide. */
#define CSN_ARGS(id, FIELDS)                                                                       \
  struct id##_args {                                                                               \
    u64 present;                                                                                   \
    FIELDS(CSN_MEMBER)                                                                             \
  };

#ifdef CSN_RUNNER
#define CSN_DESCRIBE(id, FIELDS)
#define CSN_DESCRIBED(id, show)
#else
#define CSN_DESCRIBE(id, FIELDS)                                                                   \
  static const struct csn_field id##_fields[] = { FIELDS(CSN_FIELD){ NULL, 0, 0, NULL, 0 } };
#define CSN_DESCRIBED(id, show) show, id##_fields,
#endif

/* The linker gathers the pointers: no list of primitives is kept by hand. */
#define CSN_REGISTER(id, lua_name, FIELDS, side, apply, undo, action, show)                        \
  CSN_DESCRIBE(id, FIELDS)                                                                         \
  static const struct csn_primitive id##_prim = { lua_name, apply, undo,                           \
                                                  action,   side,  CSN_DESCRIBED(id, show) };      \
  static const struct csn_primitive *const id##_registered                                         \
      __attribute__((section("csn_prims"), used)) = &id##_prim;

#define CSN_PRIMITIVE(id, lua_name, FIELDS, side, apply_fn, undo_fn, show)                         \
  static int id##_apply(const void *args, struct csn_ctx *c)                                       \
  {                                                                                                \
    return apply_fn((const struct id##_args *)args, c);                                            \
  }                                                                                                \
  CSN_REGISTER(id, lua_name, FIELDS, side, id##_apply, undo_fn, CSN_ACT_NONE, show)

#define CSN_ACTION(id, lua_name, FIELDS, side, action, show)                                       \
  CSN_REGISTER(id, lua_name, FIELDS, side, NULL, NULL, action, show)

extern const struct csn_primitive *const __start_csn_prims[] __attribute__((visibility("hidden")));
extern const struct csn_primitive *const __stop_csn_prims[] __attribute__((visibility("hidden")));

#define csn_nprims() ((u32)(__stop_csn_prims - __start_csn_prims))

#endif
