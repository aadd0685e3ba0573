-- Seccomp policies as values: sets of system calls that are added, intersected and taken away.
--
--   policy.default() - { "ptrace", "@mount" }
--   policy.new { "@basic-io", "@memory", "exit_group" }
--   policy.default() * { "@system-service" } + { "socket", args = { { 0, "==", 1 } } }
--
-- A policy never changes; every operation makes a new one. The right side of an operation is a policy, a
-- name, a group ("@mount"), or a list of names, groups and rules; a rule is a table of names with a
-- condition on their arguments: { "socket", args = { { 0, "==", 1 } } }.
local core = require "caisson.core"
local args = require "caisson.policy.args"
local default = require "caisson.policy.default"
local names = require "caisson.policy.names"
local programs = require "caisson.policy.program"
local words = require "caisson.words"

local expand, permits, check_action = names.expand, names.permits, names.action

local M = {}

---@class caisson.Policy
---@field default caisson.policy.Action   what a call gets that no clause is about
---@field deny caisson.policy.Action      what a call gets that was taken away; the default, where that denies
---@field calls table<string, table[]>    name -> clauses { action =, args = condition }; the first that matches
---                                       decides, and action "deny" is what field deny says
---@field architectures? string[]         none: the machine's own alone
---@field bad_architecture caisson.policy.Action
---@field newest string|boolean           numbers above this call's answer ENOSYS: a name, "known" (the newest
---                                       that libseccomp knows), true (the highest in a rule), or false
---@field flags string[]                  of the seccomp step
---@field listener? string                the slot for the listener of action notify
---@field make? fun(): table               makes the calls when they are first looked at
---@field made_from? string               all that they are made from, as text
local Policy = {}

function Policy.__index(p, k)
  if k == "calls" then
    rawset(p, k, p.make())
    return rawget(p, k)
  end
  return Policy[k]
end

---@alias caisson.policy.Action
---| "allow" | "log" | "kill_process" | "kill_thread" | "trap" | "notify" | "errno"
---| string                                          an errno's name: "ENOSYS"
---| { [1]: "errno"|"trace", [2]: integer|string }

-- ---- sets: name -> list of conditions, one of which must hold ----

local to_set

-- What a policy lets through, which its clauses say in their order.
local function allowed(p, level)
  local set = {}
  for name, clauses in pairs(p.calls) do
    local list, message = args.disjoint(clauses, function(a, b) return permits(a) == permits(b) end)
    if not list then error(("%s: %s"):format(name, message), level + 1) end
    local conditions = {}
    for _, c in ipairs(list) do
      if permits(c.action) then conditions[#conditions + 1] = c.args end
    end
    if #conditions > 0 then set[name] = args.union(conditions, {}) end
  end
  return set
end

local function add_rule(set, rule, level)
  local calls = {}
  for k, v in pairs(rule) do
    if type(k) == "number" then
      expand(v, calls, level + 1)
    elseif k ~= "args" then
      error(words.unknown("rule: unknown option", tostring(k), { "args" }), level + 1)
    end
  end
  if next(calls) == nil then error("a rule names no system call", level + 1) end
  local condition, message = args.condition(rule.args or {})
  if not condition then error(message, level + 1) end
  for name in pairs(calls) do set[name] = args.union(set[name] or {}, { condition }) end
end

function to_set(v, level)
  if getmetatable(v) == Policy then
    if permits(v.default) then
      error("a policy that allows by default has no set of allowed calls; turn the operation round", level + 1)
    end
    local set = allowed(v, level + 1) -- no tail call: it would lose a level of the error
    return set
  end
  local set = {}
  if type(v) == "string" then v = { v } end
  if type(v) ~= "table" then
    error("a policy, a name, a group, or a list of them expected, got " .. type(v), level + 1)
  end
  if v.args ~= nil then
    add_rule(set, v, level + 1)
    return set
  end
  for k, item in pairs(v) do
    if type(k) ~= "number" then error(words.unknown("unknown option", tostring(k), { "args" }), level + 1) end
    if type(item) == "table" and getmetatable(item) ~= Policy then
      add_rule(set, item, level + 1)
    elseif type(item) == "table" then
      for name, list in pairs(to_set(item, level + 1)) do set[name] = args.union(set[name] or {}, list) end
    else
      for name in pairs(expand(item, {}, level + 1)) do set[name] = { {} } end
    end
  end
  return set
end

-- ---- policies ----

local option_names = { "default", "deny", "architectures", "bad_architecture", "newest", "flags", "listener" }

local function copy(p, calls)
  local new = { calls = calls or p.calls }
  for _, k in ipairs(option_names) do new[k] = p[k] end
  return setmetatable(new, Policy)
end

local function copy_calls(p)
  local calls = {}
  for name, clauses in pairs(p.calls) do calls[name] = clauses end
  return calls
end

local function clauses_of(action, conditions)
  local list = {}
  for i, c in ipairs(conditions) do list[i] = { action = action, args = c } end
  return list
end

local function flag_words()
  for _, f in ipairs(core.primitives.seccomp.fields) do
    if f.name == "flags" then return f.words end
  end
end

-- A list of words, each one of known where that is given.
local function string_list(v, what, level, known)
  if type(v) == "string" then v = { v } end
  if type(v) ~= "table" then
    error(("option '%s': a list of words expected, got %s"):format(what, type(v)), level + 1)
  end
  local list = {}
  for i, s in ipairs(v) do
    if type(s) ~= "string" then error(("option '%s': a word expected, got %s"):format(what, type(s)), level + 1) end
    local found = not known
    for _, k in ipairs(known or {}) do found = found or k == s end
    if not found then error(words.unknown(("option '%s': unknown word"):format(what), s, known), level + 1) end
    list[i] = s
  end
  return list
end

local function set_field(p, k, v, level)
  if k == "default" or k == "deny" or k == "bad_architecture" then
    p[k] = check_action(v, level + 1)
  elseif k == "architectures" or k == "flags" then
    p[k] = string_list(v, k, level + 1, k == "flags" and flag_words() or core.seccomp.architectures())
    if k == "architectures" and #p[k] == 0 then error("option 'architectures': at least one expected", level + 1) end
  elseif k == "newest" then
    if type(v) ~= "boolean" and v ~= "known" and (type(v) ~= "string" or not core.seccomp.number(v)) then
      error("option 'newest': the name of a system call of this machine, 'known', true or false expected", level + 1)
    end
    p[k] = v
  elseif k == "listener" then
    if type(v) ~= "string" then error("option 'listener': the name of a slot expected, got " .. type(v), level + 1) end
    p[k] = v
  else
    error(words.unknown("unknown option", tostring(k), option_names), level + 1)
  end
end

-- A policy that allows these calls (names, groups, rules) and answers all others with option default
-- (errno EPERM where it is not given). Further options: deny, architectures, bad_architecture, newest,
-- flags, listener.
---@return caisson.Policy
function M.new(spec)
  if type(spec) ~= "table" then error("policy.new: table expected, got " .. type(spec), 2) end
  local p = setmetatable({ calls = {}, default = { "errno", core.errno.EPERM }, bad_architecture = "kill_process",
    newest = "known", flags = {} }, Policy)
  local set = {}
  for k, v in pairs(spec) do
    if type(k) == "number" then set[k] = v else set_field(p, k, v, 2) end
  end
  if p.deny == nil then p.deny = permits(p.default) and { "errno", core.errno.EPERM } or p.default end
  if permits(p.default) then
    if next(set) ~= nil then error("policy.new: it allows by default; take calls away with '-'", 2) end
    return p
  end
  for name, conditions in pairs(to_set(set, 2)) do p.calls[name] = clauses_of("allow", conditions) end
  return p
end

-- Is it a policy?
---@return boolean
function M.is(v) return getmetatable(v) == Policy end

-- A copy with some of the options of policy.new changed.
---@return caisson.Policy
function Policy:with(options)
  if type(options) ~= "table" then error("policy:with: table expected, got " .. type(options), 2) end
  local new = copy(self)
  for k, v in pairs(options) do set_field(new, k, v, 2) end
  if options.default ~= nil and options.deny == nil and not permits(new.default) then new.deny = new.default end
  if permits(self.default) ~= permits(new.default) then
    error("policy:with: 'default' can't turn a list of allowed calls into one of denied calls, or back", 2)
  end
  return new
end

-- Clauses for these conditions in front of what a call has; those that nothing is left of are gone.
local function prepend(action, conditions, clauses)
  local list, seen = clauses_of(action, conditions), {}
  for _, c in ipairs(list) do seen[args.text(c.args)] = true end
  if seen[""] then return list end
  for _, c in ipairs(clauses or {}) do
    if not seen[args.text(c.args)] then list[#list + 1] = c end
  end
  return list
end

-- A copy that gives these calls (names, groups, rules) another action, such as "notify" or "ENOSYS".
---@return caisson.Policy
function Policy:answer(action, calls)
  action = check_action(action, 2)
  local new = copy(self, copy_calls(self))
  for name, conditions in pairs(to_set(calls, 2)) do
    new.calls[name] = prepend(action, conditions, new.calls[name])
  end
  return new
end

local function add(p, set)
  local calls, all = copy_calls(p), permits(p.default)
  for name, conditions in pairs(set) do
    if all and #conditions[1] == 0 then
      calls[name] = nil
    elseif calls[name] or not all then
      calls[name] = prepend(all and p.default or "allow", conditions, calls[name])
    end
  end
  return copy(p, calls)
end

local function take(p, set)
  local calls = copy_calls(p)
  for name, conditions in pairs(set) do
    if permits(p.default) or calls[name] or #conditions[1] == 0 then
      calls[name] = prepend("deny", conditions, calls[name])
    end
  end
  return copy(p, calls)
end

-- The clauses of a call that may stay where one of these conditions holds.
local function keep_call(name, clauses, conditions)
  if #conditions[1] == 0 then return clauses end
  local list = {}
  for _, c in ipairs(clauses) do
    local narrower = { c.args }
    if permits(c.action) then narrower = args.intersect(narrower, conditions) end
    for _, n in ipairs(narrower or {}) do list[#list + 1] = { action = c.action, args = n } end
    if not narrower then
      list = nil
      break
    end
  end
  if list then return list end
  -- a comparison of both sides at once has no rule; asking for one after the other has
  local none, message = args.none_of(conditions)
  if not none then error(("%s: %s"):format(name, message), 4) end
  return #none > 0 and prepend("deny", none, clauses) or clauses
end

local function keep(p, set)
  if permits(p.default) then error("a policy that allows by default: take calls away with '-'", 3) end
  local calls = {}
  for name, clauses in pairs(p.calls) do
    local some = false
    for _, c in ipairs(clauses) do some = some or permits(c.action) end
    if not some then -- answers such as ENOSYS allow nothing
      calls[name] = clauses
    elseif set[name] then
      calls[name] = keep_call(name, clauses, set[name])
    end
  end
  return copy(p, calls)
end

local function operands(a, b)
  if getmetatable(a) ~= Policy then
    local message = "the left side of an operation on policies must be a policy, got " .. type(a)
    error(message, 3)
  end
  return a, to_set(b, 3)
end

-- No tail calls here: an error blames the line with the operator.
function Policy.__add(a, b)
  local p, set = operands(a, b)
  local result = add(p, set)
  return result
end

function Policy.__sub(a, b)
  local p, set = operands(a, b)
  local result = take(p, set)
  return result
end

function Policy.__mul(a, b)
  local p, set = operands(a, b)
  local result = keep(p, set)
  return result
end

-- The policy that is both: what a process gets that both are loaded for, the stricter answer of the two.
-- Returns nil, message where no one filter says so (their newest calls differ, say).
---@param a caisson.Policy
---@param b caisson.Policy
---@return caisson.Policy|nil, string? message
function M.both(a, b)
  if not M.is(a) or not M.is(b) then error("policy.both: two policies expected", 2) end
  local fields, message = require("caisson.policy.both").of(a, b)
  if not fields then return nil, message end
  return setmetatable(fields, Policy)
end

-- A mix-in: seccomp, Landlock, capabilities, mounts and limits as one value that any recipe takes (option mix): see
-- policy/mix.lua.
---@param spec caisson.policy.mix.Spec
---@return caisson.Mix
function M.mix(spec)
  local m = require("caisson.policy.mix").new(spec)
  return m
end

-- ---- programs ----

M.cache_directory, M.forget = programs.cache_directory, programs.forget

-- The program that the kernel loads, as bytes. From the caches where it was built before; options:
-- cache = false builds it anew, cache = "/a/directory" keeps it there. Bytes are given back as they are.
---@param p caisson.Policy|string
---@param options? { cache?: boolean|string }
---@return string|nil program, string? message, integer? errno
function M.program(p, options)
  if type(p) == "string" then
    if #p == 0 or #p % 8 ~= 0 or #p > 4096 * 8 then
      error(("a program is 1 to 4096 instructions of 8 bytes; got %d bytes"):format(#p), 2)
    end
    return p
  end
  if getmetatable(p) ~= Policy then error("a policy, or a program as bytes, expected, got " .. type(p), 2) end
  return programs.get(p, options and options.cache)
end

function Policy:program(options) return M.program(self, options) end

-- A policy that allows all but making files setuid or setgid; to be loaded beside another.
---@return caisson.Policy
function M.no_setuid()
  local setuid = require "caisson.policy.setuid"
  return (M.new { default = "allow", newest = false } - setuid.rules):answer("ENOSYS", setuid.absent)
end

-- Does it ask a listener about some call?
---@param p caisson.Policy
---@return boolean
function M.notifies(p)
  if p.default == "notify" then return true end
  if p.make then return false end -- the default policy
  for _, clauses in pairs(p.calls) do
    for _, c in ipairs(clauses) do if c.action == "notify" then return true end end
  end
  return false
end

-- The step that loads it: { step = "seccomp", options = {...} }, or nil, message, errno.
function M.step(p, options)
  local program, message, errno = M.program(p, options)
  if not program then return nil, message, errno end
  local o = { program = program }
  if type(p) ~= "string" then
    if not p.listener and M.notifies(p) then
      return nil, "action notify needs option 'listener', the slot for its descriptor", core.errno.EINVAL
    end
    if #p.flags > 0 then o.flags = p.flags end
    o.listener = p.listener
  end
  return { step = "seccomp", options = o }
end

function Policy:step(options) return M.step(self, options) end

-- ---- the OCI form ----

local function oci() return require "caisson.policy.oci" end

-- A policy from linux.seccomp of an OCI config, as a table or as JSON text. Returns nil, message, errno
-- where it is none. Names that libseccomp does not know are in policy:unknown() and in no program.
---@param profile table|string
---@return caisson.Policy|nil, string? message, integer? errno
function M.from_oci(profile)
  if type(profile) == "string" then
    local ok, t = pcall(function() return require("cjson").decode(oci().quote_values(profile)) end)
    if not ok then return nil, "seccomp: no JSON: " .. tostring(t), core.errno.EINVAL end
    profile = t
  end
  local ok, p = pcall(oci().read, profile, core.seccomp.architecture())
  if not ok then
    if type(p) == "table" and p.oci then return nil, p.oci, core.errno.EINVAL end
    error(p, 0)
  end
  p.deny = permits(p.default) and { "errno", core.errno.EPERM } or p.default
  -- who denies a few calls does not mean those that come after them
  p.newest = not permits(p.default)
  p.bad_architecture = "kill_process"
  local known_arches = core.seccomp.architectures()
  for _, a in ipairs(p.architectures) do
    local found = false
    for _, k in ipairs(known_arches) do found = found or k == a end
    if not found then
      return nil, words.unknown("seccomp.architectures: libseccomp knows no", a, known_arches), core.errno.EINVAL
    end
  end
  return setmetatable(p, Policy)
end

-- The policy as linux.seccomp, a table; its values above 2^53 are decimal text. What the OCI has no
-- words for (newest, bad_architecture) is a runtime's own affair and left out.
-- The OCI's rules have no order: where ours need theirs and can't do without, nil, message, errno.
function Policy:oci()
  local otherwise, calls = names.text(self.default), {}
  local function equal(a, b) return programs.action_text(self, a) == programs.action_text(self, b) end
  for name, clauses in pairs(self.calls) do
    local list, message = args.disjoint(clauses, equal)
    if not list then return nil, ("seccomp: %s: %s"):format(name, message), core.errno.EINVAL end
    local kept = {}
    for _, c in ipairs(list) do
      if #c.args == 0 or programs.action_text(self, c.action) ~= otherwise then kept[#kept + 1] = c end
    end
    if #kept > 0 then calls[name] = kept end
  end
  return oci().write(self, (programs.rules(self, calls)), core.seccomp.architecture())
end

-- The same as JSON text, exact.
function Policy:json()
  local t, message, errno = self:oci()
  if not t then return nil, message, errno end
  return oci().to_json(t)
end

-- Names in it that libseccomp does not know, sorted.
function Policy:unknown()
  local list = {}
  for name in pairs(self.calls) do
    if not core.seccomp.known(name) then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- ---- the default policy ----

local defaults = {}

-- Any value of these tables as text, the same for the same value.
local function text_of(v)
  if type(v) ~= "table" then return tostring(v) end
  local parts, keys = {}, {}
  for i, item in ipairs(v) do parts[i] = text_of(item) end
  for k in pairs(v) do if type(k) == "string" then keys[#keys + 1] = k end end
  table.sort(keys)
  for _, k in ipairs(keys) do parts[#parts + 1] = k .. "=" .. text_of(v[k]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function default_calls(kept)
  local spec = { default = default.default, newest = "known" }
  for i, name in ipairs(default.allow) do spec[i] = name end
  local p = M.new(spec)
  for name, conditions in pairs(default.conditions) do
    local list = {}
    for i, c in ipairs(conditions) do list[i] = assert(args.condition(c)) end
    p.calls[name] = clauses_of("allow", list)
  end
  p = (p - default.except):answer("ENOSYS", default.enosys)
  for _, c in ipairs(kept) do p = p + default.capabilities[c] end
  return p.calls
end

-- Those of the capabilities that the default policy allows calls for.
local function kept_capabilities(list, level)
  local caps, known = {}, {}
  for _, w in ipairs(core.primitives.capabilities.fields[1].words) do known[w] = true end
  for _, c in ipairs(string_list(list, "capabilities", level + 1)) do
    if not known[c] then
      local all = {}
      for w in pairs(known) do all[#all + 1] = w end
      error(words.unknown("policy.default: unknown capability", c, all), level + 1)
    end
    caps[c] = true
    if c == "all" then for w in pairs(known) do caps[w] = true end end
  end
  local kept = {}
  for c in pairs(caps) do if default.capabilities[c] then kept[#kept + 1] = c end end
  table.sort(kept)
  return kept
end

-- What container engines load by default: see policy/default.lua. Option capabilities: a list of those
-- that the container keeps; the calls that each is good for are allowed.
---@param options? { capabilities?: string[] }
---@return caisson.Policy
function M.default(options)
  options = options or {}
  for k in pairs(options) do
    if k ~= "capabilities" then
      error(words.unknown("policy.default: unknown option", tostring(k), { "capabilities" }), 2)
    end
  end
  local kept = options.capabilities and kept_capabilities(options.capabilities, 2) or {}
  local key = table.concat(kept, " ")
  if not defaults[key] then
    -- its program is mostly in a cache, and its 400 calls then need not be looked at
    local p = M.new { default = default.default, newest = "known" }
    p.calls = nil
    p.make = function() return default_calls(kept) end
    p.made_from = key .. text_of(default) .. text_of(require "caisson.policy.groups")
    defaults[key] = p
  end
  return defaults[key]
end

-- ---- results ----

-- Did a filter end it? From a status or result table with field signal (or code, of a shell that
-- reports its child): SIGSYS is what kill_process, kill_thread and trap end a process with.
function M.denied(status)
  return status.signal == 31 or (status.signal == nil and status.code == 128 + 31)
end

return M
