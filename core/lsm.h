/* SPDX-License-Identifier: MIT
 * Labels of security modules that other families need. */
#ifndef CSN_LSM_H
#define CSN_LSM_H

#include "procfs.h"

#pragma GCC visibility push(hidden)

#define CSN_LABEL_MAX 1024

/* -EOPNOTSUPP where SELinux is known not to be active. */
int csn_selinux_missing(struct csn_ctx *c);

/* The SELinux label of the keys that this thread makes from now on; len 0: the default again. */
int csn_label_keys(struct csn_ctx *c, const char *label, size_t len);

#pragma GCC visibility pop

#endif
