/* SPDX-License-Identifier: MIT
 * Addresses and names of the network as text. */
#include "inet.h"

/* A decimal number up to max, without leading zeros, which some read as octal; -1 where it is none. */
static int
number(const char **sp, int max)
{
  const char *s = *sp;
  int v = 0, digits = 0;

  for (; *s >= '0' && *s <= '9' && digits < 4; s++, digits++)
    v = v * 10 + (*s - '0');
  if (!digits || v > max || (digits > 1 && **sp == '0'))
    return -1;
  *sp = s;
  return v;
}

static int
parse4(const char **sp, u8 *out)
{
  for (int i = 0; i < 4; i++) {
    int v;

    if (i && *(*sp)++ != '.')
      return -EINVAL;
    if ((v = number(sp, 255)) < 0)
      return -EINVAL;
    out[i] = (u8)v;
  }
  return 0;
}

static int
hex(char c)
{
  return c >= '0' && c <= '9'                 ? c - '0'
         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                              : -1;
}

/* Eight groups of up to four digits; once "::" for those that are missing; the last two may be an IPv4
 * address. */
static int
parse6(const char **sp, u8 *out)
{
  const char *s = *sp;
  u8 got[16] = { 0 };
  int n = 0, gap = -1; /* bytes */

  if (s[0] == ':') {
    if (s[1] != ':')
      return -EINVAL;
    gap = 0;
    s += 2;
  }
  while (n < 16 && hex(*s) >= 0) {
    const char *p = s;
    unsigned v = 0;

    for (; hex(*p) >= 0 && p - s < 5; p++)
      v = v << 4 | (unsigned)hex(*p);
    if (*p == '.') {
      if (n > 12 || parse4(&s, got + n) < 0)
        return -EINVAL;
      n += 4;
      break;
    }
    if (p - s > 4)
      return -EINVAL;
    got[n++] = (u8)(v >> 8);
    got[n++] = (u8)v;
    s = p;
    if (*s != ':')
      break;
    if (s[1] == ':') {
      if (gap >= 0)
        return -EINVAL;
      gap = n;
      s += 2;
    } else if (hex(*++s) < 0) {
      return -EINVAL;
    }
  }
  if (gap < 0 ? n != 16 : n > 14)
    return -EINVAL;
  for (int i = 0; i < 16; i++)
    out[i] = gap < 0 || i < gap ? got[i] : i < 16 - (n - gap) ? 0 : got[i - (16 - n)];
  *sp = s;
  return 0;
}

int
csn_parse_inet(const char *s, struct csn_inet *a)
{
  const char *p = s;
  int prefix;

  while (*p && *p != ':' && *p != '/')
    p++;
  a->family = *p == ':' ? AF_INET6 : AF_INET;
  a->len = *p == ':' ? 16 : 4;
  a->prefix = (u8)(8 * a->len);
  a->has_prefix = false;
  if ((a->len == 16 ? parse6(&s, a->bytes) : parse4(&s, a->bytes)) < 0)
    return -EINVAL;
  if (*s == '/') {
    s++;
    if ((prefix = number(&s, a->prefix)) < 0)
      return -EINVAL;
    a->prefix = (u8)prefix;
    a->has_prefix = true;
  }
  return *s ? -EINVAL : 0;
}

int
csn_parse_mac(const char *s, u8 mac[6])
{
  for (int i = 0; i < 6; i++, s += 2) {
    if (i && *s++ != ':')
      return -EINVAL;
    if (hex(s[0]) < 0 || hex(s[1]) < 0)
      return -EINVAL;
    mac[i] = (u8)(hex(s[0]) << 4 | hex(s[1]));
  }
  return *s ? -EINVAL : 0;
}

bool
csn_is_link_name(const char *s)
{
  size_t n = csn_strlen(s);

  if (!n || n >= IFNAMSIZ || csn_streq(s, ".") || csn_streq(s, ".."))
    return false;
  for (; *s; s++)
    if (*s <= ' ' || *s > '~' || *s == '/' || *s == ':' || *s == '%' || *s == '*')
      return false;
  return true;
}
