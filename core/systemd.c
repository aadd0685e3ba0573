/* SPDX-License-Identifier: MIT
 *
 * Control groups that are systemd's: a transient scope around the child (systemd.scope(5)), and entering one.
 *
 * Who owns a part of the tree is the only one to make groups there, so where that is systemd it is asked for
 * the group. The steps are the parent's: the runner never has such a step to do.
 */
#include "systemd.h"

#ifdef CSN_RUNNER

static int
apply_scope(const struct systemd_scope_args *a, struct csn_ctx *c)
{
  (void)a, (void)c;
  return -ENOSYS;
}

static int
apply_attach(const struct systemd_attach_args *a, struct csn_ctx *c)
{
  (void)a, (void)c;
  return -ENOSYS;
}

#define undo_scope NULL

#else

#define apply_scope csn_scope_start
#define apply_attach csn_scope_attach
#define undo_scope csn_scope_undo

#endif

CSN_PRIMITIVE(systemd_scope, "systemd.scope", SYSTEMD_SCOPE, CSN_PARENT | CSN_OF_PID, apply_scope,
              undo_scope, "$unit ($properties)")

CSN_PRIMITIVE(systemd_attach, "systemd.attach", SYSTEMD_ATTACH, CSN_PARENT | CSN_OF_PID,
              apply_attach, NULL, "$unit[/$sub]")
