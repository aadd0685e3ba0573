/* SPDX-License-Identifier: MIT
 * Whose a kernel parameter is. */
#ifndef CSN_SYSCTL_H
#define CSN_SYSCTL_H

#pragma GCC visibility push(hidden)

/* The namespace that has a parameter for its own, as the word of clone; NULL: it is the machine's. */
const char *csn_sysctl_owner(const char *name);

#pragma GCC visibility pop

#endif
