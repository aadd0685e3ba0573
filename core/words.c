/* SPDX-License-Identifier: MIT
 * Tables of words that more than one file needs. Words of one family stand in its own file. */
#include "plan.h"
#include <linux/sched.h>

const struct csn_word csn_namespace_words[] = {
  { "user", CLONE_NEWUSER },     { "mount", CLONE_NEWNS },  { "pid", CLONE_NEWPID },
  { "net", CLONE_NEWNET },       { "ipc", CLONE_NEWIPC },   { "uts", CLONE_NEWUTS },
  { "cgroup", CLONE_NEWCGROUP }, { "time", CLONE_NEWTIME }, { NULL, 0 },
};

/* clang-format off */
#define SIGNALS(X)                                                                                 \
  X(HUP, 1)                                                                                        \
  X(INT, 2) X(QUIT, 3) X(ILL, 4) X(TRAP, 5) X(ABRT, 6) X(BUS, 7) X(FPE, 8) X(KILL, 9) X(USR1, 10)  \
      X(SEGV, 11) X(USR2, 12) X(PIPE, 13) X(ALRM, 14) X(TERM, 15) X(STKFLT, 16) X(CHLD, 17)        \
          X(CONT, 18) X(STOP, 19) X(TSTP, 20) X(TTIN, 21) X(TTOU, 22) X(URG, 23) X(XCPU, 24)       \
              X(XFSZ, 25) X(VTALRM, 26) X(PROF, 27) X(WINCH, 28) X(IO, 29) X(PWR, 30) X(SYS, 31)
/* clang-format on */

#define NUMBER(name, n) { #name, n },
#define BIT(name, n) { #name, 1ull << ((n)-1) },

const struct csn_word csn_signal_words[] = { { "none", 0 }, SIGNALS(NUMBER){ NULL, 0 } };
const struct csn_word csn_sigset_words[] = { SIGNALS(BIT){ NULL, 0 } };
