/* SPDX-License-Identifier: MIT
 *
 * systemd's own side of control groups, over D-Bus (org.freedesktop.systemd1(5)): transient scopes, started,
 * changed and stopped. libsystemd is loaded by the first call, so that nobody else pays for it.
 *
 * A property is "NAME SIGNATURE VALUE", such as "MemoryMax t 67108864": the value of "ay" in hexadecimal digits, a list's
 * items with spaces between. "253:NAME ..." is left out where systemd is older than that.
 */
#define _GNU_SOURCE
#include "csn.h"
#include "systemd_bus.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define USEC 1000000u
#define CALL_USEC (25ull * USEC)
#define JOB_USEC (60ull * USEC)

/* ---- the library ---- */

#define sd csn_sd
struct csn_sd sd;
static const char *unloadable;

static void
load_library(void)
{
  static char why[160];
  void *lib = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL), *at;

#define LOAD(type, name, args)                                                                     \
  at = lib ? dlsym(lib, "sd_" #name) : NULL;                                                       \
  if (!at && !unloadable) {                                                                        \
    const char *error = dlerror();                                                                 \
                                                                                                   \
    snprintf(why, sizeof(why), "%s", error ? error : "libsystemd.so.0 lacks sd_" #name);           \
    unloadable = why;                                                                              \
  }                                                                                                \
  memcpy(&sd.name, &at, sizeof(at));
  CSN_SD_FUNCTIONS(LOAD)
}

/* ---- connections ---- */

void
csn_bus_close(struct csn_bus *b)
{
  if (b->bus)
    sd.bus_flush_close_unref(b->bus);
  b->bus = NULL;
}

/* Of a path in an address all but letters, digits and a few more is %XX. */
static void
append_path(char *address, size_t size, const char *path)
{
  size_t n = strlen(address);

  for (; *path && n + 4 < size; path++)
    n += (size_t)snprintf(address + n, size - n,
                          strchr("/._-", *path) || (*path >= '0' && *path <= '9') ||
                                  ((*path | 32) >= 'a' && (*path | 32) <= 'z')
                              ? "%c"
                              : "%%%02x",
                          (unsigned char)*path);
}

/* path: a socket's, or a whole address. */
static int
try_connect(struct csn_bus *b, const char *path, bool broker)
{
  char address[512] = "unix:path=";
  int rc = sd.bus_new(&b->bus);

  if (rc < 0)
    return rc;
  if (*path == '/')
    append_path(address, sizeof(address), path);
  rc = sd.bus_set_address(b->bus, *path == '/' ? address : path);
  if (rc >= 0 && broker)
    rc = sd.bus_set_bus_client(b->bus, 1);
  if (rc >= 0)
    rc = sd.bus_start(b->bus);
  if (rc < 0)
    csn_bus_close(b);
  b->broker = broker;
  return rc;
}

/* The uid that this process has outside of its user namespace, as the manager's directory is called. */
static unsigned
outer_uid(void)
{
  unsigned inside, outside, count, me = (unsigned)geteuid();
  FILE *f = fopen("/proc/self/uid_map", "re");

  while (f && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3)
    if (me >= inside && me - inside < count) {
      me = outside + me - inside;
      break;
    }
  if (f)
    fclose(f);
  return me;
}

/* systemd's own socket first, as systemctl does: it is there without a message bus. */
int
csn_bus_open(struct csn_bus *b, bool user, struct csn_ctx *c)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char own[256] = "/run/systemd/private", bus[256] = "/run/dbus/system_bus_socket";
  const char *dir = getenv("XDG_RUNTIME_DIR"), *address = NULL;
  int rc, first;

  memset(b, 0, sizeof(*b));
  b->c = c;
  pthread_once(&once, load_library);
  if (unloadable)
    return csn_detail(c, -ELIBACC, unloadable, NULL);
  if (user) {
    char at[128];

    if (dir && *dir == '/')
      snprintf(at, sizeof(at), "%s", dir);
    else
      snprintf(at, sizeof(at), "/run/user/%u", outer_uid());
    snprintf(own, sizeof(own), "%s/systemd/private", at);
    snprintf(bus, sizeof(bus), "%s/bus", at);
    address = getenv("DBUS_SESSION_BUS_ADDRESS");
  }
  first = rc = try_connect(b, own, false);
  if (rc < 0)
    rc = try_connect(b, address && *address ? address : bus, true);
  if (rc >= 0)
    return 0;
  csn_detail(c, rc,
             user ? "this user's systemd can't be reached at " : "systemd can't be reached at ",
             own);
  return first;
}

bool
csn_bus_says(const struct csn_bus *b, const char *name)
{
  size_t n = b->error.name ? strlen(b->error.name) : 0, k = strlen(name);

  return n > k && b->error.name[n - k - 1] == '.' && strcmp(b->error.name + n - k, name) == 0;
}

/* What systemd or the bus has answered, as an errno, its words in the detail. */
static int
explain(struct csn_bus *b, int rc)
{
  static const struct {
    const char *name;
    int err;
  } known[] = { { "UnitExists", EEXIST },           { "NoSuchUnit", ENOENT },
                { "AccessDenied", EACCES },         { "InteractiveAuthorizationRequired", EACCES },
                { "PropertyReadOnly", EOPNOTSUPP }, { "NoSuchProcess", ESRCH },
                { "UnixProcessIdUnknown", ESRCH } };

  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (csn_bus_says(b, known[i].name))
      rc = -known[i].err;
  if (b->error.name)
    csn_detail(b->c, rc, b->error.message ? b->error.message : b->error.name, NULL);
  else
    csn_detail(b->c, rc, "the connection to systemd", NULL);
  return rc;
}

int
csn_bus_new_call(struct csn_bus *b, struct sd_bus_message **m, const char *path,
                 const char *interface, const char *member)
{
  *m = NULL;
  return sd.bus_message_new_method_call(b->bus, m, CSN_SYSTEMD, path, interface, member);
}

int
csn_bus_call(struct csn_bus *b, struct sd_bus_message *m, int rc, struct sd_bus_message **reply)
{
  sd.bus_error_free(&b->error);
  memset(&b->error, 0, sizeof(b->error));
  if (rc >= 0) {
    rc = sd.bus_call(b->bus, m, CALL_USEC, &b->error, reply);
    if (rc < 0)
      rc = explain(b, rc);
  }
  if (m)
    sd.bus_message_unref(m);
  return rc < 0 ? rc : 0;
}

int
csn_bus_call_strings(struct csn_bus *b, const char *member, const char *one, const char *two,
                     struct sd_bus_message **reply)
{
  struct sd_bus_message *m;
  int rc = csn_bus_new_call(b, &m, CSN_SYSTEMD_PATH, CSN_MANAGER, member);

  if (rc >= 0 && one)
    rc = sd.bus_message_append_basic(m, 's', one);
  if (rc >= 0 && two)
    rc = sd.bus_message_append_basic(m, 's', two);
  return csn_bus_call(b, m, rc, reply);
}

/* ---- properties ---- */

static int
append_basic(struct sd_bus_message *m, char type, const char *text)
{
  union {
    int b;
    uint8_t y;
    int32_t i;
    uint32_t u;
    int64_t x;
    uint64_t t;
    double d;
  } v;
  char *end = NULL;

  if (type == 's' || type == 'o' || type == 'g')
    return sd.bus_message_append_basic(m, type, text);
  errno = 0;
  memset(&v, 0, sizeof(v));
  switch (type) {
  case 'b':
    v.b = strcmp(text, "1") == 0;
    if (!v.b && strcmp(text, "0") != 0)
      return -EINVAL;
    return sd.bus_message_append_basic(m, type, &v);
  case 'y':
  case 'u':
  case 't': {
    const unsigned long long n = strtoull(text, &end, 10);

    /* strtoull() takes a sign, and turns the number round */
    if (strchr(text, '-') || (type == 'y' && n > UINT8_MAX) || (type == 'u' && n > UINT32_MAX))
      return -ERANGE;
    if (type == 'y')
      v.y = (uint8_t)n;
    else if (type == 'u')
      v.u = (uint32_t)n;
    else
      v.t = n;
    break;
  }
  case 'i': {
    const long long n = strtoll(text, &end, 10);

    if (n < INT32_MIN || n > INT32_MAX)
      return -ERANGE;
    v.i = (int32_t)n;
    break;
  }
  case 'x':
    v.x = strtoll(text, &end, 10);
    break;
  case 'd':
    v.d = strtod(text, &end);
    break;
  default:
    return -EINVAL;
  }
  return end == text || *end || errno ? -EINVAL : sd.bus_message_append_basic(m, type, &v);
}

static int
append_bytes(struct sd_bus_message *m, const char *hex)
{
  size_t n = strlen(hex) / 2;
  u8 *bytes = malloc(n + 1);
  int rc = bytes && strlen(hex) == 2 * n && strspn(hex, "0123456789abcdef") == 2 * n ? 0 : -EINVAL;

  for (size_t i = 0; rc == 0 && i < n; i++)
    sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
  if (rc == 0)
    rc = sd.bus_message_append_array(m, 'y', bytes, n);
  free(bytes);
  return rc;
}

/* A list: of one basic type, "as", or of structures of basic types, "a(ss)". */
static int
append_list(struct sd_bus_message *m, const char *signature, char *words)
{
  char item[16], *save = NULL, *word = strtok_r(words, " ", &save);
  size_t n = strlen(signature + 1), members = 1;
  int rc;

  if (n >= sizeof(item))
    return -EINVAL;
  strcpy(item, signature + 1);
  if (item[0] == '(') {
    if (n < 3 || item[n - 1] != ')')
      return -EINVAL;
    members = n - 2;
  } else if (n != 1) {
    return -EINVAL;
  }
  rc = sd.bus_message_open_container(m, 'a', item);
  if (item[0] == '(')
    item[n - 1] = 0; /* of the structure what is in the brackets */
  while (rc >= 0 && word) {
    if (item[0] == '(')
      rc = sd.bus_message_open_container(m, 'r', item + 1);
    for (size_t i = 0; rc >= 0 && i < members; i++) {
      rc = word ? append_basic(m, item[0] == '(' ? item[i + 1] : item[0], word) : -EINVAL;
      word = strtok_r(NULL, " ", &save);
    }
    if (rc >= 0 && item[0] == '(')
      rc = sd.bus_message_close_container(m);
  }
  return rc < 0 ? rc : sd.bus_message_close_container(m);
}

/* The three parts of a property, in place; false where it is none. */
static bool
split(char *property, char **signature, char **value)
{
  *signature = strchr(property, ' ');
  if (!*signature)
    return false;
  *(*signature)++ = 0;
  *value = strchr(*signature, ' ');
  if (*value)
    *(*value)++ = 0;
  else
    *value = *signature + strlen(*signature);
  return *property && **signature;
}

static int
append_property(struct csn_bus *b, struct sd_bus_message *m, const char *text)
{
  char *copy = strdup(text), *signature, *value;
  int rc = copy && split(copy, &signature, &value) ? 0 : -EINVAL;

  if (rc == 0)
    rc = sd.bus_message_open_container(m, 'r', "sv");
  if (rc >= 0)
    rc = sd.bus_message_append_basic(m, 's', copy);
  if (rc >= 0)
    rc = sd.bus_message_open_container(m, 'v', signature);
  if (rc >= 0)
    rc = strcmp(signature, "ay") == 0 ? append_bytes(m, value)
         : signature[0] == 'a'        ? append_list(m, signature, value)
         : signature[1] == 0          ? append_basic(m, signature[0], value)
                                      : -EINVAL;
  if (rc >= 0)
    rc = sd.bus_message_close_container(m);
  if (rc >= 0)
    rc = sd.bus_message_close_container(m);
  free(copy);
  return rc < 0 ? csn_detail(b->c, rc, "NAME SIGNATURE VALUE expected, got ", text) : 0;
}

int
csn_bus_get(struct csn_bus *b, const char *object, const char *interface, const char *name,
            struct sd_bus_message **reply)
{
  struct sd_bus_message *m;
  int rc = csn_bus_new_call(b, &m, object, "org.freedesktop.DBus.Properties", "Get");

  if (rc >= 0)
    rc = sd.bus_message_append_basic(m, 's', interface);
  if (rc >= 0)
    rc = sd.bus_message_append_basic(m, 's', name);
  return csn_bus_call(b, m, rc, reply);
}

long
csn_systemd_version(struct csn_bus *b)
{
  struct sd_bus_message *reply = NULL;
  const char *text = NULL;
  long version = 0;
  int rc = csn_bus_get(b, CSN_SYSTEMD_PATH, CSN_MANAGER, "Version", &reply);

  if (rc >= 0 && sd.bus_message_enter_container(reply, 'v', "s") >= 0 &&
      sd.bus_message_read_basic(reply, 's', &text) >= 0)
    version = strtol(text + strcspn(text, "0123456789"), NULL, 10);
  if (reply)
    sd.bus_message_unref(reply);
  return version;
}

int
csn_bus_append_properties(struct csn_bus *b, struct sd_bus_message *m, const char *const *list,
                          u32 n, const char *const *more, long version)
{
  int rc = sd.bus_message_open_container(m, 'a', "(sv)");

  for (; rc >= 0 && more && *more; more++)
    rc = append_property(b, m, *more);
  for (u32 i = 0; rc >= 0 && i < n; i++) {
    const char *text = list[i], *colon = text + strspn(text, "0123456789");

    if (colon > text && *colon == ':') {
      if (version < strtol(text, NULL, 10))
        continue;
      text = colon + 1;
    }
    rc = append_property(b, m, text);
  }
  return rc < 0 ? rc : sd.bus_message_close_container(m);
}

bool
csn_asks_version(const char *const *list, u32 n)
{
  for (u32 i = 0; i < n; i++)
    if (list[i][0] >= '0' && list[i][0] <= '9')
      return true;
  return false;
}

/* ---- jobs ---- */

static u64
now_usec(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (u64)ts.tv_sec * USEC + (u64)ts.tv_nsec / 1000;
}

int
csn_bus_subscribe(struct csn_bus *b)
{
  struct sd_bus_message *m = NULL;
  int rc = 0;

  if (b->broker) {
    rc = sd.bus_message_new_method_call(b->bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus", "AddMatch");
    if (rc >= 0)
      rc = sd.bus_message_append_basic(m, 's',
                                       "type='signal',sender='" CSN_SYSTEMD
                                       "',interface='" CSN_MANAGER
                                       "',member='JobRemoved',path='" CSN_SYSTEMD_PATH "'");
    rc = csn_bus_call(b, m, rc, NULL);
  }
  return rc < 0 ? rc : csn_bus_call_strings(b, "Subscribe", NULL, NULL, NULL);
}

/* Is it the end of the job? Its result then. */
static bool
is_end_of(struct sd_bus_message *m, const char *job, char *result, size_t size)
{
  const char *path, *unit, *text;
  u32 id;

  if (sd.bus_message_is_signal(m, CSN_MANAGER, "JobRemoved") <= 0 ||
      sd.bus_message_read_basic(m, 'u', &id) < 0 || sd.bus_message_read_basic(m, 'o', &path) < 0 ||
      sd.bus_message_read_basic(m, 's', &unit) < 0 || sd.bus_message_read_basic(m, 's', &text) < 0)
    return false;
  snprintf(result, size, "%s", text);
  return strcmp(path, job) == 0;
}

int
csn_bus_await_job(struct csn_bus *b, struct sd_bus_message *reply, char *result, size_t size)
{
  char job[128] = "";
  const char *path;
  u64 deadline = now_usec() + JOB_USEC;
  int rc = sd.bus_message_read_basic(reply, 'o', &path);

  if (rc >= 0)
    snprintf(job, sizeof(job), "%s", path);
  sd.bus_message_unref(reply);
  while (rc >= 0) {
    struct sd_bus_message *m = NULL;
    bool ended;
    u64 now;

    rc = sd.bus_process(b->bus, &m);
    ended = rc >= 0 && m && is_end_of(m, job, result, size);
    if (m)
      sd.bus_message_unref(m);
    if (ended)
      return 0;
    now = now_usec();
    if (rc >= 0 && now >= deadline)
      return csn_detail(b->c, -ETIMEDOUT, "systemd has not said that its job is done", NULL);
    if (rc == 0)
      rc = sd.bus_wait(b->bus, deadline - now);
    if (rc == -EINTR)
      rc = 0;
  }
  return csn_detail(b->c, rc, "the connection to systemd", NULL);
}
