/* SPDX-License-Identifier: MIT
 * The session keyring (keyrings(7), session-keyring(7)). */
#include "lsm.h"
#include <linux/keyctl.h>

#define USER_SEARCH 0x00080000u

#define KEYRING(F)                                                                                 \
  F(str, name, 0, NULL, 0)                                                                         \
  F(str, label, 0, NULL, 0)                                                                        \
  F(bool, searchable, 0, NULL, 0)
CSN_ARGS(keyring, KEYRING)

#define MOST 4400 /* with a name of 4095 bytes, the longest */

/* "keyring;uid;gid;perm;name"; a buffer that is too short stays as it was. */
static long
permissions_of(long key, u32 *permissions)
{
  char text[MOST];
  long n = csn_sys(__NR_keyctl, KEYCTL_DESCRIBE, key, text, sizeof(text) - 1, 0);
  int fields = 0;

  if (n < 0 || n >= MOST)
    return n < 0 ? n : -EMSGSIZE;
  *permissions = 0;
  for (long i = 0; i < n && fields < 4; i++) {
    char d = text[i];

    if (d == ';')
      fields++;
    else if (fields == 3)
      *permissions = *permissions << 4 | (u32)(d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
  }
  return 0;
}

/* For a process that joins the container later, under another uid, to find the keyring by its name. */
static int
let_search(long key)
{
  u32 permissions;
  long rc = permissions_of(key, &permissions);

  if (rc == 0)
    rc = csn_sys(__NR_keyctl, KEYCTL_SETPERM, key, permissions | USER_SEARCH, 0, 0);
  return (int)rc;
}

/* A session keyring of its own; without it the container would hold the host user's keys. */
static int
apply_keyring(const struct keyring_args *a, struct csn_ctx *c)
{
  long key;
  int rc = 0;

  if (a->label.len >= CSN_LABEL_MAX)
    return csn_detail(c, -EINVAL, "option 'label': too long", NULL);
  if (a->label.len && (rc = csn_label_keys(c, csn_s(c, a->label), a->label.len)) < 0)
    return rc;
  key = csn_sys(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, csn_s(c, a->name), 0, 0, 0);
  if (a->label.len)
    rc = csn_label_keys(c, NULL, 0);
  if (key == -ENOSYS)
    return csn_detail(c, (int)key, "this kernel has no keyrings, or a filter denies them", NULL);
  if (key == -EDQUOT)
    return csn_detail(c, (int)key, "this user has no room for one more key (/proc/key-users)",
                      NULL);
  if (key < 0)
    return (int)key;
  return rc < 0 || !a->searchable ? rc : let_search(key);
}

CSN_PRIMITIVE(keyring, "keyring", KEYRING, CSN_CHILD | CSN_SELF, apply_keyring, NULL,
              "[$name][ ($label)]")
