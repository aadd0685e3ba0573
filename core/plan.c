/* SPDX-License-Identifier: MIT
 *
 * Plans: Lua tables into the block that plan.h describes, and back. The table form of a step is
 * { step = "mount.bind", options = {...}, side = "child", optional = true }.
 */
#define _GNU_SOURCE
#include "encode.h"
#include "path.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PLAN_TYPE "caisson.plan"

const char *const csn_fixed_slots[] = { CSN_SLOT_NAMES, NULL };

const struct csn_primitive *
csn_find_primitive(const char *name, u32 *index)
{
  for (u32 i = 0; i < csn_nprims(); i++)
    if (strcmp(__start_csn_prims[i]->name, name) == 0) {
      if (index)
        *index = i;
      return __start_csn_prims[i];
    }
  return NULL;
}

static const struct csn_primitive *
check_primitive(lua_State *L, const char *name, u32 *index)
{
  const struct csn_primitive *p = csn_find_primitive(name, index);

  if (!p) {
    const char **names = lua_newuserdata(L, (csn_nprims() + 1) * sizeof(*names));

    for (u32 i = 0; i < csn_nprims(); i++)
      names[i] = __start_csn_prims[i]->name;
    names[csn_nprims()] = NULL;
    csn_unknown_key(L, "unknown step", name, names);
  }
  return p;
}
const struct csn_plan *
csn_check_plan(lua_State *L, int idx)
{
  return luaL_checkudata(L, idx, PLAN_TYPE);
}

const char *
csn_plan_slot_name(const struct csn_plan *p, u32 slot)
{
  const struct csn_str *s = (const struct csn_str *)((const u8 *)p + p->slots);

  if (slot < CSN_SLOT_FIRST_FREE)
    return csn_fixed_slots[slot];
  slot -= CSN_SLOT_FIRST_FREE;
  return slot < p->nslots ? (const char *)p + s[slot].off : "?";
}

s64
csn_plan_slot(const struct csn_plan *p, const char *name)
{
  for (u32 i = 0; i < CSN_SLOT_FIRST_FREE + p->nslots; i++)
    if (strcmp(csn_plan_slot_name(p, i), name) == 0)
      return i;
  return -1;
}

u32
csn_plan_nth(const struct csn_plan *p, u32 step)
{
  u32 n = 1;

  for (u32 i = 0; i < step; i++)
    n += csn_plan_step(p, i)->prim == csn_plan_step(p, step)->prim;
  return n;
}

/* What can be done behind wait, where the host is another: nothing has to be taken back, and no function is called. */
static bool
for_starter(const struct csn_primitive *p)
{
  return p->action == CSN_ACT_SEND || (p->action == CSN_ACT_NONE && !p->undo);
}

/* Does it need no call of the child's, where there is a courier? */
static bool
by_courier(const struct csn_step *st)
{
  const struct csn_primitive *p = csn_step_prim(st);

  return p->action == CSN_ACT_COURIER || p->action == CSN_ACT_SEND || st->side == CSN_PARENT;
}

/* The slots that steps from this one on know by name, and procfs, which is found without a name. */
static u64
slots_from(const struct csn_plan *p, u32 from)
{
  u64 out = 1ull << CSN_SLOT_PROCFS;

  for (u32 i = from; i < p->nsteps; i++) {
    const u8 *args = (const u8 *)p + csn_plan_step(p, i)->args;

    for (const struct csn_field *f = csn_step_prim(csn_plan_step(p, i))->fields; f->name; f++) {
      struct csn_list l;
      s64 slot;

      args += 8;
      memcpy(&slot, args, 8);
      memcpy(&l, args, 8);
      if (f->kind == CSN_K_slot && slot >= 0)
        out |= 1ull << slot;
      for (u32 k = 0; f->kind == CSN_K_slots && k < l.count; k++) {
        memcpy(&slot, (const u8 *)p + l.off + 8 * k, 8);
        if (slot >= 0)
          out |= 1ull << slot;
      }
    }
  }
  return out;
}

/* core.plan(steps) -> plan */
static int
l_plan(lua_State *L)
{
  static const char *const keys[] = { "step", "options", "side", "optional", "phase", "at", NULL };
  static const struct csn_word sides[] = { { "child", CSN_CHILD },
                                           { "parent", CSN_PARENT },
                                           { NULL, 0 } };
  struct csn_buf *b;
  struct csn_plan *plan;
  u32 n, steps, slots;
  u32 clone, wait, exec, courier, last;

  lua_settop(L, 1);
  luaL_checktype(L, 1, LUA_TTABLE);
  n = (u32)lua_rawlen(L, 1);
  if (n > CSN_MAX_STEPS)
    return luaL_error(L, "a plan has at most %d steps", CSN_MAX_STEPS);
  lua_newtable(L);    /* 2: slots */
  b = csn_new_buf(L); /* 3 */
  b->slots = 2;
  csn_reserve(L, b, sizeof(*plan));
  steps = csn_reserve(L, b, n * sizeof(struct csn_step));
  clone = wait = exec = courier = n;
  for (u32 i = 0; i < n; i++) {
    const struct csn_primitive *p;
    struct csn_step st = { 0 };
    u32 index;

    lua_rawgeti(L, 1, (int)i + 1); /* 4 */
    csn_checkkeys(L, 4, keys);
    p = check_primitive(L, csn_opt_str(L, 4, "step", ""), &index);
    st.prim = (u16)index;
    st.side = p->side & CSN_SIDE;
    if (csn_field(L, 4, "side")) {
      st.side = (u8)csn_to_words(L, -1, sides, "side", false, false);
      lua_pop(L, 1);
      if (p->action != CSN_ACT_NONE && p->action != CSN_ACT_LUA && st.side != (p->side & CSN_SIDE))
        return luaL_error(L, "step %d: %s has a side of its own", (int)i + 1, p->name);
      if ((p->side & CSN_SELF) && st.side == CSN_PARENT)
        return luaL_error(
            L, "step %d: %s changes the process that applies it, and can't be on the parent's side",
            (int)i + 1, p->name);
    }
    if (csn_opt_bool(L, 4, "optional", false))
      st.flags |= CSN_STEP_OPTIONAL;
    if (st.flags &&
        (p->action == CSN_ACT_CLONE || p->action == CSN_ACT_WAIT || p->action == CSN_ACT_EXEC))
      return luaL_error(L, "step %d: %s can't be optional", (int)i + 1, p->name);
    lua_getfield(L, 4, "options");
    st.args = csn_encode_args(L, b, p, -1);
    memcpy(b->p + steps + i * sizeof(st), &st, sizeof(st));
    if (p->action == CSN_ACT_COURIER)
      courier = i;
    if (wait != n &&
        (st.side == CSN_PARENT || p->action == CSN_ACT_LUA || p->action == CSN_ACT_SEND ||
         p->action == CSN_ACT_STOP) &&
        !(courier != n && courier > wait && for_starter(p)))
      return luaL_error(
          L,
          p->action == CSN_ACT_CLONE
              ? "step %d: %s must stand before wait: it makes the one who waits"
          : st.side == CSN_PARENT ? "step %d: %s is on the parent's side and can't stand behind "
                                    "wait: the host may be gone by then"
          : p->action != CSN_ACT_LUA
              ? "step %d: %s can't stand behind wait: the host that it is for may be gone by then"
              : "step %d: %s is a function and can't stand behind wait: the runner, which waits, "
                "has no Lua",
          (int)i + 1, p->name);
    if (p->action == CSN_ACT_CLONE || p->action == CSN_ACT_WAIT || p->action == CSN_ACT_EXEC) {
      u32 *which = p->action == CSN_ACT_CLONE ? &clone : p->action == CSN_ACT_WAIT ? &wait : &exec;

      if (*which != n)
        return luaL_error(L, "step %d: a plan has one %s", (int)i + 1, p->name);
      *which = i;
    }
    lua_settop(L, 3);
  }
  for (u32 i = 0; i < clone && clone != n; i++) {
    const struct csn_step *st = (const struct csn_step *)(b->p + steps) + i;

    if (st->side == CSN_PARENT && (csn_step_prim(st)->side & CSN_OF_PID))
      return luaL_error(L,
                        "step %d: %s on the parent's side is the child's, and stands behind clone",
                        (int)i + 1, csn_step_prim(st)->name);
  }
  if (exec != n && exec != n - 1)
    return luaL_error(L, "step %d: nothing can follow exec", (int)exec + 2);
  for (last = exec; exec < n && last > 0; last--) {
    struct csn_step st;

    memcpy(&st, b->p + steps + (last - 1) * sizeof(st), sizeof(st));
    if (!((csn_step_prim(&st)->side & CSN_LAST) && st.side == CSN_CHILD) &&
        !(courier != n && last > courier && by_courier(&st)))
      break;
  }
  slots = csn_reserve(L, b, b->nslots * sizeof(struct csn_str));
  for (u32 i = 0; i < b->nslots; i++) {
    struct csn_str s;
    size_t len;
    const char *name;

    lua_rawgeti(L, 2, (int)i + 1);
    name = lua_tolstring(L, -1, &len);
    s = csn_add_bytes(L, b, name, len);
    memcpy(b->p + slots + i * sizeof(s), &s, sizeof(s));
    lua_pop(L, 1);
  }
  plan = (struct csn_plan *)b->p;
  plan->magic = CSN_PLAN_MAGIC;
  plan->size = b->n;
  plan->nsteps = n;
  plan->steps = steps;
  plan->clone = clone;
  plan->wait = wait;
  plan->exec = exec;
  plan->last = last;
  plan->nslots = b->nslots;
  plan->slots = slots;
  plan->nprims = csn_nprims();
  plan->later = slots_from(plan, wait != n ? wait : last);
  memcpy(lua_newuserdata(L, b->n), b->p, b->n);
  luaL_getmetatable(L, PLAN_TYPE);
  lua_setmetatable(L, -2);
  return 1;
}

/* plan:steps() -> list of { step, side, optional, options, object }, in the form core.plan takes, and
 * the object as text */
static int
l_steps(lua_State *L)
{
  const struct csn_plan *p = csn_check_plan(L, 1);
  const bool bare = lua_toboolean(L, 2);

  lua_createtable(L, (int)p->nsteps, 0);
  for (u32 i = 0; i < p->nsteps; i++) {
    const struct csn_step *s = csn_plan_step(p, i);
    const struct csn_primitive *prim = csn_step_prim(s);
    const u8 *args = (const u8 *)p + s->args;
    u64 present;
    u32 k = 0;

    lua_createtable(L, 0, 5);
    lua_pushstring(L, prim->name);
    lua_setfield(L, -2, "step");
    lua_pushstring(L, s->side == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, -2, "side");
    if (s->flags & CSN_STEP_OPTIONAL) {
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, "optional");
    }
    memcpy(&present, args, 8);
    lua_newtable(L);
    for (const struct csn_field *f = prim->fields; f->name; f++, k++)
      if (present >> k & 1) {
        csn_push_value(L, p, f, args + 8 * (1 + k));
        lua_setfield(L, -2, f->name);
      }
    lua_setfield(L, -2, "options");
    if (!bare) {
      csn_push_object(L, p, s);
      lua_setfield(L, -2, "object");
    }
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int
l_size(lua_State *L)
{
  lua_pushinteger(L, csn_check_plan(L, 1)->size);
  return 1;
}

/* plan:last() -> number of the first of the steps that are done right before exec, when all else is ready */
static int
l_last(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)csn_check_plan(L, 1)->last + 1);
  return 1;
}

static int
l_len(lua_State *L)
{
  lua_pushinteger(L, csn_check_plan(L, 1)->nsteps);
  return 1;
}

/* core.check(name, options): raises what core.plan would raise of this step */
static int
l_check(lua_State *L)
{
  const struct csn_primitive *p = check_primitive(L, luaL_checkstring(L, 1), NULL);
  struct csn_buf *b;

  lua_settop(L, 2);
  lua_newtable(L);
  b = csn_new_buf(L);
  b->slots = 3;
  csn_reserve(L, b, 8);
  csn_encode_args(L, b, p, 2);
  return csn_pushok(L);
}

/* A primitive called directly: applied to this very process. Slots are descriptors; what the step
 * fills is returned. */
static int
l_call(lua_State *L)
{
  const struct csn_primitive *p = lua_touserdata(L, lua_upvalueindex(1));
  struct csn_buf *b;
  struct csn_plan *plan;
  struct csn_ctx *ctx;
  int rc, *out = NULL;
  u32 step, args;

  lua_settop(L, 1);
  if (!p->apply)
    return luaL_error(L, "%s is an action of the engine: it works in a plan only", p->name);
  b = csn_new_buf(L);
  ctx = lua_newuserdata(L, sizeof(*ctx));
  memset(ctx, 0, sizeof(*ctx));
  ctx->own = ~0ull;
  for (int i = 0; i < CSN_SLOTS; i++)
    ctx->slots[i] = -1;
  /* Slots that a primitive uses by their fixed number are empty in a direct call. */
  b->ctx = ctx;
  b->nslots = CSN_SLOT_FIRST_FREE;
  csn_reserve(L, b, sizeof(*plan));
  step = csn_reserve(L, b, sizeof(struct csn_step));
  args = csn_encode_args(L, b, p, 1); /* which moves b->p */
  ((struct csn_step *)(b->p + step))->args = args;
  plan = (struct csn_plan *)b->p;
  plan->nsteps = 1;
  plan->steps = step;
  csn_find_primitive(p->name, &step);
  ((struct csn_step *)csn_plan_step(plan, 0))->prim = (u16)step;
  ctx->base = b->p;
  if (b->out >= 0)
    out = csn_newfd(L);
  rc = p->apply(b->p + csn_plan_step(plan, 0)->args, ctx);
  csn_leave_dir(ctx);
  if (out && rc >= 0)
    *out = ctx->slots[b->out];
  for (int i = 0; i < CSN_SLOTS; i++) /* what it filled for steps that don't come */
    if (!(b->given >> i & 1) && !(i == b->out && rc >= 0))
      csn_close(ctx->slots[i]);
  if (rc < 0) {
    csn_push_object(L, plan, csn_plan_step(plan, 0));
    return ctx->detail_len
               ? csn_pusherr(L, -rc, "%s %s: %s", p->name, lua_tostring(L, -1), ctx->detail)
               : csn_pusherr(L, -rc, "%s %s", p->name, lua_tostring(L, -1));
  }
  if (out && *out >= 0) /* a primitive may fill its slot only when asked to: seccomp's listener */
    return 1;
  return csn_pushok(L);
}

static int
l_call_family(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_replace(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* A table in the place of what is on top: nil, or a primitive of the family's own name (seccomp), which
 * can then be called as before. */
static void
push_family(lua_State *L)
{
  lua_newtable(L);
  if (lua_isfunction(L, -2)) {
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_call_family, 1);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
  }
  lua_remove(L, -2);
}

/* Set f (on top) at name with dots below the table at idx: "mount.bind" -> t.mount.bind */
static void
set_dotted(lua_State *L, int idx, const char *name)
{
  const char *dot = strchr(name, '.');

  idx = lua_absindex(L, idx);
  if (!dot) {
    lua_setfield(L, idx, name);
    return;
  }
  lua_pushlstring(L, name, (size_t)(dot - name));
  lua_rawget(L, idx);
  if (!lua_istable(L, -1)) {
    push_family(L);
    lua_pushlstring(L, name, (size_t)(dot - name));
    lua_pushvalue(L, -2);
    lua_rawset(L, idx);
  }
  lua_insert(L, -2);
  set_dotted(L, -2, dot + 1);
  lua_pop(L, 1);
}

void
csn_register(lua_State *L, const char *name, const luaL_Reg *functions)
{
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_pushfstring(L, "%s%s%s", name, *name ? "." : "", functions->name);
    lua_insert(L, -2);
    set_dotted(L, -3, lua_tostring(L, -2));
    lua_pop(L, 1);
  }
}

static const char *const kind_names[] = { "",        "string",  "path",    "bytes",
                                          "strings", "boolean", "integer", "u32",
                                          "u64",     "mode",    "word",    "flags",
                                          "slot",    "slots",   "idmaps",  "u64s" };

static void
push_fields(lua_State *L, const struct csn_primitive *p)
{
  int n = 0;

  lua_newtable(L);
  for (const struct csn_field *f = p->fields; f->name; f++) {
    lua_newtable(L);
    lua_pushstring(L, f->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, kind_names[f->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushboolean(L, f->flags & CSN_REQUIRED);
    lua_setfield(L, -2, "required");
    if (f->words) {
      int k = 0;

      lua_newtable(L);
      for (const struct csn_word *w = f->words; w->name; w++) {
        lua_pushstring(L, w->name);
        lua_rawseti(L, -2, ++k);
      }
      lua_setfield(L, -2, "words");
    }
    lua_rawseti(L, -2, ++n);
  }
}

/* A description's fields, when they are first looked at: most programs never do. */
static int
l_describe(lua_State *L)
{
  const struct csn_primitive *p;

  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "fields") != 0)
    return 0;
  lua_getfield(L, 1, "name");
  p = csn_find_primitive(luaL_checkstring(L, -1), NULL);
  if (!p)
    return 0;
  push_fields(L, p);
  lua_pushliteral(L, "fields");
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

/* core.primitives[name] = { name, side, action, fields = { { name, kind, required, words } } } */
static void
push_descriptions(lua_State *L)
{
  lua_createtable(L, 0, (int)csn_nprims());
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_describe);
  lua_setfield(L, -2, "__index");
  for (u32 i = 0; i < csn_nprims(); i++) {
    const struct csn_primitive *p = __start_csn_prims[i];

    lua_createtable(L, 0, 4);
    lua_pushstring(L, p->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, (p->side & CSN_SIDE) == CSN_PARENT ? "parent" : "child");
    lua_setfield(L, -2, "side");
    lua_pushboolean(L, p->action != CSN_ACT_NONE);
    lua_setfield(L, -2, "action");
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
    lua_setfield(L, -3, p->name);
  }
  lua_pop(L, 1);
}

void
csn_open_plan(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "steps", l_steps }, { "size", l_size }, { "last", l_last }, { "__len", l_len }, { NULL, NULL }
  };

  if (luaL_newmetatable(L, PLAN_TYPE)) {
    csn_setfuncs(L, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  for (u32 i = 0; i < csn_nprims(); i++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)__start_csn_prims[i]);
    lua_pushcclosure(L, l_call, 1);
    set_dotted(L, -2, __start_csn_prims[i]->name);
  }
  lua_pushcfunction(L, l_plan);
  lua_setfield(L, -2, "plan");
  lua_pushcfunction(L, l_check);
  lua_setfield(L, -2, "check");
  push_descriptions(L);
  lua_setfield(L, -2, "primitives");
}
