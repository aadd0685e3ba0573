/* SPDX-License-Identifier: MIT
 * site.c: the memory of a traced program, for those who change the places that it makes its calls from. */
#ifndef CSN_SITE_H
#define CSN_SITE_H

#include "sys.h"
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* All of it, or false. */
bool csn_peek(pid_t tid, u64 at, void *to, size_t size);

/* In words of 8 bytes, also where the program itself may only read: the process gets its own copy of the page. */
bool csn_poke(pid_t tid, u64 at, const void *from, size_t size);

/* A file of /proc/TID, as text; of one that is longer its beginning. */
bool csn_read_proc(pid_t tid, const char *name, char *to, size_t size);

#pragma GCC visibility pop

#endif
