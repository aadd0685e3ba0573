/* SPDX-License-Identifier: MIT
 * Capabilities: the five sets and the securebits (capabilities(7)). */
#include "prim.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

/* clang-format off */
#define CAPABILITIES(X)                                                                            \
  X(chown)                                                                                         \
  X(dac_override) X(dac_read_search) X(fowner) X(fsetid) X(kill) X(setgid) X(setuid) X(setpcap)    \
      X(linux_immutable) X(net_bind_service) X(net_broadcast) X(net_admin) X(net_raw) X(ipc_lock)  \
          X(ipc_owner) X(sys_module) X(sys_rawio) X(sys_chroot) X(sys_ptrace) X(sys_pacct)         \
              X(sys_admin) X(sys_boot) X(sys_nice) X(sys_resource) X(sys_time) X(sys_tty_config)   \
                  X(mknod) X(lease) X(audit_write) X(audit_control) X(setfcap) X(mac_override)     \
                      X(mac_admin) X(syslog) X(wake_alarm) X(block_suspend) X(audit_read)          \
                          X(perfmon) X(bpf) X(checkpoint_restore)
/* clang-format on */

/* In the kernel's order, so that the place is the number. */
enum {
#define NUMBER(name) CAP_##name,
  CAPABILITIES(NUMBER)
#undef NUMBER
      CAP_COUNT
};
_Static_assert(CAP_checkpoint_restore == CAP_CHECKPOINT_RESTORE,
               "the list is in the kernel's order");
_Static_assert(CAP_sys_admin == CAP_SYS_ADMIN && CAP_syslog == CAP_SYSLOG, "the same");

CSN_WORDS(capability_words) = {
  { "all", (1ull << CAP_COUNT) - 1 },
#define WORD(name) { #name, 1ull << CAP_##name },
  CAPABILITIES(WORD)
#undef WORD
      { NULL, 0 },
};

#define SETS(F)                                                                                    \
  F(flags, bounding, 0, capability_words, 0)                                                       \
  F(flags, permitted, 0, capability_words, 0)                                                      \
  F(flags, effective, 0, capability_words, 0)                                                      \
  F(flags, inheritable, 0, capability_words, 0)                                                    \
  F(flags, ambient, 0, capability_words, 0)
CSN_ARGS(capabilities, SETS)

enum { BOUNDING, PERMITTED, EFFECTIVE, INHERITABLE, AMBIENT };

static const char *
capability_name(int cap)
{
  return cap < CAP_COUNT ? capability_words[1 + cap].name
                         : "a capability that caisson has no name for";
}

/* What is to go is dropped unasked, also where it is out already: who has not the right to is asked what there is. */
static int
set_bounding(u64 keep, struct csn_ctx *c)
{
  for (int cap = 0; cap < 64; cap++) {
    const bool kept = keep >> cap & 1;
    long rc = kept ? 0 : csn_sys(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);

    if (kept || rc == -EPERM) {
      const long is = csn_sys(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0);

      /* what is out of the bounding set never comes back */
      rc = is < 0 ? is : (is > 0) == kept ? 0 : -EPERM;
    }
    if (rc == -EINVAL) /* past the kernel's last */
      break;
    if (rc < 0)
      return csn_detail(c, (int)rc, "bounding: ", capability_name(cap));
  }
  return 0;
}

static void
halve(u32 *low, u32 *high, u64 set)
{
  *low = (u32)set;
  *high = (u32)(set >> 32);
}

static int
set_three(const struct capabilities_args *a)
{
  struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct d[2] = { { 0 }, { 0 } };
  const u32 three = 1u << PERMITTED | 1u << EFFECTIVE | 1u << INHERITABLE;
  long rc;

  /* what is said altogether need not be asked for: a filter may stand before it */
  if ((a->present & three) != three && (rc = csn_sys(__NR_capget, &h, d)) < 0)
    return (int)rc;
  if (a->present >> PERMITTED & 1)
    halve(&d[0].permitted, &d[1].permitted, a->permitted);
  if (a->present >> EFFECTIVE & 1)
    halve(&d[0].effective, &d[1].effective, a->effective);
  if (a->present >> INHERITABLE & 1)
    halve(&d[0].inheritable, &d[1].inheritable, a->inheritable);
  return (int)csn_sys(__NR_capset, &h, d);
}

static int
set_ambient(u64 set, struct csn_ctx *c)
{
  long rc = csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

  for (int cap = 0; cap < CAP_COUNT && rc >= 0; cap++)
    if (set >> cap & 1) {
      rc = csn_sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
      if (rc < 0)
        return csn_detail(c, (int)rc, "ambient: ", capability_name(cap));
    }
  return (int)rc;
}

/* Bounding first, while CAP_SETPCAP is still there; ambient last, since it takes only what is both
 * permitted and inheritable. */
static int
apply_capabilities(const struct capabilities_args *a, struct csn_ctx *c)
{
  int rc = 0;

  if (a->present >> BOUNDING & 1)
    rc = set_bounding(a->bounding, c);
  if (rc == 0 && a->present & (1u << PERMITTED | 1u << EFFECTIVE | 1u << INHERITABLE))
    rc = set_three(a);
  if (rc == 0 && a->present >> AMBIENT & 1)
    rc = set_ambient(a->ambient, c);
  return rc;
}

CSN_PRIMITIVE(capabilities, "capabilities", SETS, CSN_CHILD | CSN_SELF | CSN_LAST,
              apply_capabilities, NULL,
              "[bounding=$bounding ][permitted=$permitted ][effective=$effective ]"
              "[inheritable=$inheritable ][ambient=$ambient]")

CSN_WORDS(securebits_words) = {
  { "noroot", 1 << 0 },
  { "noroot_locked", 1 << 1 },
  { "no_setuid_fixup", 1 << 2 },
  { "no_setuid_fixup_locked", 1 << 3 },
  { "keep_caps", 1 << 4 },
  { "keep_caps_locked", 1 << 5 },
  { "no_cap_ambient_raise", 1 << 6 },
  { "no_cap_ambient_raise_locked", 1 << 7 },
  { "exec_restrict_file", 1 << 8 }, /* these four: Linux 6.14 */
  { "exec_restrict_file_locked", 1 << 9 },
  { "exec_deny_interactive", 1 << 10 },
  { "exec_deny_interactive_locked", 1 << 11 },
  { NULL, 0 },
};

#define SECUREBITS(F) F(flags, flags, CSN_REQUIRED, securebits_words, 0)
CSN_ARGS(securebits, SECUREBITS)

static int
apply_securebits(const struct securebits_args *a, struct csn_ctx *c)
{
  (void)c;
  return (int)csn_sys(__NR_prctl, PR_SET_SECUREBITS, a->flags, 0, 0, 0);
}

CSN_PRIMITIVE(securebits, "securebits", SECUREBITS, CSN_CHILD | CSN_SELF, apply_securebits, NULL,
              "$flags")
