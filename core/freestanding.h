/* SPDX-License-Identifier: MIT
 *
 * What the compiler calls for struct copies, for a program without a libc: included by one file of each. */
#ifndef CSN_FREESTANDING_H
#define CSN_FREESTANDING_H

#include "sys.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memset(void *dst, int c, size_t n);

void *
memcpy(void *restrict dst, const void *restrict src, size_t n)
{
  u8 *d = dst;
  const u8 *s = src;

  while (n--)
    *d++ = *s++;
  return dst;
}

void *
memset(void *dst, int c, size_t n)
{
  u8 *d = dst;

  while (n--)
    *d++ = (u8)c;
  return dst;
}

#endif
