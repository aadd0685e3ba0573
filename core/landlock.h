/* SPDX-License-Identifier: MIT
 * Landlock's rights, with the ABI version that brought each: between the steps and the queries. */
#ifndef CSN_LANDLOCK_H
#define CSN_LANDLOCK_H

#include "prim.h"

#pragma GCC visibility push(hidden)

/* The kernel's struct landlock_ruleset_attr, in its ABI 6 form. A kernel that knows less takes it while
 * what it does not know is zero. */
struct csn_landlock_attr {
  u64 fs, net, scope;
};

/* X(word, bit, ABI) */
/* clang-format off */
#define CSN_LANDLOCK_FS(X)                                                                         \
  X(execute, 0, 1)                                                                                 \
  X(write_file, 1, 1)                                                                              \
  X(read_file, 2, 1) X(read_dir, 3, 1) X(remove_dir, 4, 1) X(remove_file, 5, 1) X(make_char, 6, 1) \
      X(make_dir, 7, 1) X(make_reg, 8, 1) X(make_sock, 9, 1) X(make_fifo, 10, 1)                   \
          X(make_block, 11, 1) X(make_sym, 12, 1) X(refer, 13, 2) X(truncate, 14, 3)               \
              X(ioctl_dev, 15, 5)
/* clang-format on */
#define CSN_LANDLOCK_NET(X) X(bind_tcp, 0, 4) X(connect_tcp, 1, 4)
#define CSN_LANDLOCK_SCOPE(X) X(abstract_unix_socket, 0, 6) X(signal, 1, 6)

#define CSN_LANDLOCK_WORD(name, bit, abi) { #name, 1ull << (bit) },

/* The highest ABI that the kernel has, or -errno. */
static inline int
csn_landlock_abi(void)
{
  return (int)csn_sys(__NR_landlock_create_ruleset, NULL, 0,
                      1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}

#pragma GCC visibility pop

#endif
