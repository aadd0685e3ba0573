/* SPDX-License-Identifier: MIT
 * The UTS namespace: host name and domain name (sethostname(2), setdomainname(2)). */
#include "prim.h"
#include <linux/sched.h>

/* In a plan without one, root would rename the host. */
static int
own_names(struct csn_ctx *c)
{
  return c->own & CLONE_NEWUTS
             ? 0
             : csn_detail(
                   c, -EPERM,
                   "the container needs a uts namespace of its own, or it would be the host's",
                   NULL);
}

#define HOSTNAME(F) F(str, name, CSN_REQUIRED, NULL, 0)
CSN_ARGS(hostname, HOSTNAME)

static int
apply_hostname(const struct hostname_args *a, struct csn_ctx *c)
{
  int rc = own_names(c);

  return rc < 0 ? rc : (int)csn_sys(__NR_sethostname, csn_s(c, a->name), a->name.len);
}

CSN_PRIMITIVE(hostname, "hostname", HOSTNAME, CSN_CHILD, apply_hostname, NULL, "$name")

#define DOMAINNAME(F) F(str, name, CSN_REQUIRED, NULL, 0)
CSN_ARGS(domainname, DOMAINNAME)

static int
apply_domainname(const struct domainname_args *a, struct csn_ctx *c)
{
  int rc = own_names(c);

  return rc < 0 ? rc : (int)csn_sys(__NR_setdomainname, csn_s(c, a->name), a->name.len);
}

CSN_PRIMITIVE(domainname, "domainname", DOMAINNAME, CSN_CHILD, apply_domainname, NULL, "$name")
