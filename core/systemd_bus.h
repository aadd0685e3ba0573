/* SPDX-License-Identifier: MIT
 * What systemd_scope.c knows of the bus. Library only: a connection of libsystemd's belongs to the process, and
 * the thread, that made it. */
#ifndef CSN_SYSTEMD_BUS_H
#define CSN_SYSTEMD_BUS_H

#include "prim.h"

#pragma GCC visibility push(hidden)

struct sd_bus;
struct sd_bus_message;
struct sd_bus_error {
  const char *name, *message;
  int need_free;
};

#define CSN_SD_FUNCTIONS(F)                                                                        \
  F(int, bus_new, (struct sd_bus **))                                                              \
  F(int, bus_set_address, (struct sd_bus *, const char *))                                         \
  F(int, bus_set_bus_client, (struct sd_bus *, int))                                               \
  F(int, bus_start, (struct sd_bus *))                                                             \
  F(struct sd_bus *, bus_flush_close_unref, (struct sd_bus *))                                     \
  F(int, bus_call,                                                                                 \
    (struct sd_bus *, struct sd_bus_message *, uint64_t, struct sd_bus_error *,                    \
     struct sd_bus_message **))                                                                    \
  F(int, bus_process, (struct sd_bus *, struct sd_bus_message **))                                 \
  F(int, bus_wait, (struct sd_bus *, uint64_t))                                                    \
  F(void, bus_error_free, (struct sd_bus_error *))                                                 \
  F(int, bus_message_new_method_call,                                                              \
    (struct sd_bus *, struct sd_bus_message **, const char *, const char *, const char *,          \
     const char *))                                                                                \
  F(int, bus_message_append_basic, (struct sd_bus_message *, char, const void *))                  \
  F(int, bus_message_append_array, (struct sd_bus_message *, char, const void *, size_t))          \
  F(int, bus_message_open_container, (struct sd_bus_message *, char, const char *))                \
  F(int, bus_message_close_container, (struct sd_bus_message *))                                   \
  F(int, bus_message_enter_container, (struct sd_bus_message *, char, const char *))               \
  F(int, bus_message_exit_container, (struct sd_bus_message *))                                    \
  F(int, bus_message_read_basic, (struct sd_bus_message *, char, void *))                          \
  F(int, bus_message_read_array, (struct sd_bus_message *, char, const void **, size_t *))         \
  F(int, bus_message_is_signal, (struct sd_bus_message *, const char *, const char *))             \
  F(struct sd_bus_message *, bus_message_unref, (struct sd_bus_message *))

#define CSN_SD_FIELD(type, name, args) type(*name) args;
extern struct csn_sd {
  CSN_SD_FUNCTIONS(CSN_SD_FIELD)
} csn_sd;
struct csn_bus {
  struct sd_bus *bus;
  struct sd_bus_error error;
  struct csn_ctx *c;
  bool broker; /* a message bus is between us and systemd */
};

void csn_bus_close(struct csn_bus *b);
/* To the system's systemd, or this user's. 0 or -errno; c gets the words for it. To be closed when it is 0. */
int csn_bus_open(struct csn_bus *b, bool user, struct csn_ctx *c);
/* Was the last call's error, org.freedesktop....NAME, this one? */
bool csn_bus_says(const struct csn_bus *b, const char *name);
/* A call of a method of systemd's, to be filled and handed to csn_bus_call(). */
int csn_bus_new_call(struct csn_bus *b, struct sd_bus_message **m, const char *path,
                     const char *interface, const char *member);
/* Send it, and let go of it. rc: what became of the message before. */
int csn_bus_call(struct csn_bus *b, struct sd_bus_message *m, int rc,
                 struct sd_bus_message **reply);
/* A method of the manager's that takes strings. */
int csn_bus_call_strings(struct csn_bus *b, const char *member, const char *one, const char *two,
                         struct sd_bus_message **reply);
/* A property, as a variant. */
int csn_bus_get(struct csn_bus *b, const char *object, const char *interface, const char *name,
                struct sd_bus_message **reply);
/* Its first number; 0 where it isn't told. */
long csn_systemd_version(struct csn_bus *b);
/* All of them, as a(sv). list: n texts; version: what is known of it, or -1. */
int csn_bus_append_properties(struct csn_bus *b, struct sd_bus_message *m, const char *const *list,
                              u32 n, const char *const *more, long version);
bool csn_asks_version(const char *const *list, u32 n);
/* Jobs are told of to those who asked to be told. */
int csn_bus_subscribe(struct csn_bus *b);
/* Wait for the job that the reply names; the reply is let go of. */
int csn_bus_await_job(struct csn_bus *b, struct sd_bus_message *reply, char *result, size_t size);

#define CSN_SYSTEMD "org.freedesktop.systemd1"
#define CSN_SYSTEMD_PATH "/org/freedesktop/systemd1"
#define CSN_MANAGER CSN_SYSTEMD ".Manager"

#pragma GCC visibility pop

#endif
