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
local algebra = require "caisson.policy.algebra"
local args = require "caisson.policy.args"
local default = require "caisson.policy.default"
local names = require "caisson.policy.names"
local programs = require "caisson.policy.program"
local where = require "caisson.policy.where"
local words = require "caisson.words"

local permits, check_action = names.permits, names.action

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
---@field from? caisson.policy.Where       where its default was said
---@field gone? table<string, caisson.policy.Where>  where calls were left out, by name
---@operator add(caisson.Policy|string|table): caisson.Policy
---@operator sub(caisson.Policy|string|table): caisson.Policy
---@operator mul(caisson.Policy|string|table): caisson.Policy
local Policy = algebra.Policy

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

-- ---- policies ----

local option_names = { "default", "deny", "architectures", "bad_architecture", "newest", "flags", "listener" }

local function copy(p, calls, from, gone)
  local new = { calls = calls or p.calls, from = from or p.from, gone = gone or p.gone }
  for _, k in ipairs(option_names) do new[k] = p[k] end
  return setmetatable(new, Policy)
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
---@param spec table
---@return caisson.Policy
function M.new(spec)
  if type(spec) ~= "table" then error("policy.new: table expected, got " .. type(spec), 2) end
  local p = setmetatable({ calls = {}, default = { "errno", core.errno.EPERM }, bad_architecture = "kill_process",
    newest = "known", flags = {}, from = where.here() }, Policy)
  local set = {}
  for k, v in pairs(spec) do
    if type(k) == "number" then set[k] = v else set_field(p, k, v, 2) end
  end
  if p.deny == nil then p.deny = permits(p.default) and { "errno", core.errno.EPERM } or p.default end
  if permits(p.default) then
    if next(set) ~= nil then error("policy.new: it allows by default; take calls away with '-'", 2) end
    return p
  end
  for name, conditions in pairs(algebra.set(set, 2, p.from)) do
    p.calls[name] = algebra.clauses("allow", conditions)
  end
  return p
end

-- Is it a policy?
---@param v any
---@return boolean
function M.is(v) return getmetatable(v) == Policy end

-- A copy with some of the options of policy.new changed.
---@return caisson.Policy
function Policy:with(options)
  if type(options) ~= "table" then error("policy:with: table expected, got " .. type(options), 2) end
  local new = copy(self, nil, options.default ~= nil and where.here() or nil)
  for k, v in pairs(options) do set_field(new, k, v, 2) end
  if options.default ~= nil and options.deny == nil and not permits(new.default) then new.deny = new.default end
  if permits(self.default) ~= permits(new.default) then
    error("policy:with: 'default' can't turn a list of allowed calls into one of denied calls, or back", 2)
  end
  return new
end

-- A copy that gives these calls (names, groups, rules) another action, such as "notify" or "ENOSYS".
---@return caisson.Policy
function Policy:answer(action, calls)
  action = check_action(action, 2)
  return copy(self, algebra.answer(self, action, algebra.set(calls, 2, where.here())))
end

local function operands(a, b)
  if getmetatable(a) ~= Policy then
    local message = "the left side of an operation on policies must be a policy, got " .. type(a)
    error(message, 3)
  end
  local at = where.here()
  return a, algebra.set(b, 3, at), at
end

-- No tail calls here: an error blames the line with the operator.
function Policy.__add(a, b)
  local p, set = operands(a, b)
  return copy(p, algebra.add(p, set))
end

function Policy.__sub(a, b)
  local p, set = operands(a, b)
  return copy(p, algebra.take(p, set))
end

function Policy.__mul(a, b)
  local p, set, at = operands(a, b)
  local calls, gone = algebra.keep(p, set, at)
  return copy(p, calls, nil, gone)
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
  return where.as("no setuid files", function()
    return (M.new { default = "allow", newest = false } - setuid.rules):answer("ENOSYS", setuid.absent)
  end)
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
---@param p caisson.Policy
---@param options? table
---@return { step: string, options: table }? step, string? message, integer? errno
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

-- The program to look at: a value with bytes (as `bwrap --seccomp FD` takes them), text(colours) and json(), the listing
-- (policy/listing.lua). Returns nil, message, errno where it can't be built.
---@param p caisson.Policy|string
---@return caisson.policy.Program|nil, string? message, integer? errno
function M.bpf(p)
  local bytes, message, errno = M.program(p)
  if not bytes then return nil, message, errno end
  return require("caisson.policy.listing").of(bytes)
end

---@return caisson.policy.Program|nil, string? message, integer? errno
function Policy:bpf() return M.bpf(self) end

-- ---- questions ----

-- What the kernel answers for a call, and by which rule: the compiled program is run in an interpreter.
--
--   policy.default():decide { "socket", "AF_ALG", "SOCK_SEQPACKET" }  --> action "errno", errno "EPERM", rule, at, text
--
-- call: { name or number, arguments..., arch =, ip = }, or the name, with a list of arguments and { arch =, ip = }. An
-- argument is a number, text of 64 bits, or constants by name: "O_WRONLY|O_CREAT". Raises where it can't be understood.
-- p: a policy, a program as bytes, or a list of such, all of which are loaded.
---@param p caisson.Policy|string|(caisson.Policy|string)[]
---@param call string|integer|table
---@param arguments? (number|string)[]
---@param options? { arch?: string, ip?: number|string }
---@return caisson.policy.Decision
function M.decide(p, call, arguments, options)
  if type(p) ~= "string" and not M.is(p) and (type(p) ~= "table" or #p == 0) then
    error("policy.decide: a policy, a program, or a list of them expected, got " .. type(p), 2)
  end
  local ok, d = pcall(require("caisson.policy.decide").of, p, call, arguments, options)
  if not ok then
    local _, level = where.here()
    error(type(d) == "table" and d.decide and "policy.decide: " .. d.decide or d, type(d) == "table" and level or 0)
  end
  return d
end

---@param call string|integer|table
---@param arguments? (number|string)[]
---@param options? { arch?: string, ip?: number|string }
---@return caisson.policy.Decision
function Policy:decide(call, arguments, options)
  local d = M.decide(self, call, arguments, options)
  return d
end

-- What is different in another policy, call by call: a value with same, text(colours), json() and calls (policy/diff.lua).
---@param other caisson.Policy
---@return caisson.policy.Diff
function Policy:diff(other)
  if not M.is(other) then error("policy:diff: a policy expected, got " .. type(other), 2) end
  return require("caisson.policy.diff").of(self, other)
end

-- What it answers, as people read it. c: colours and width (caisson.cli.color); plain without them.
---@param c? caisson.Color
---@return string
function Policy:text(c) return require("caisson.policy.show").policy(self, c) end

-- ---- the OCI form ----

local function oci() return require "caisson.policy.oci" end

-- A policy from linux.seccomp of an OCI config, as a table or as JSON text. Returns nil, message, errno
-- where it is none. Names that libseccomp does not know are in policy:unknown() and in no program.
-- options, for what decide() says of its rules: file, the JSON that it is from; or label, what it is called.
---@param profile table|string
---@param options? { file?: string, label?: string }
---@return caisson.Policy|nil, string? message, integer? errno
function M.from_oci(profile, options)
  options = options or {}
  if type(profile) == "string" then
    local ok, t = pcall(function() return require("cjson").decode(oci().quote_values(profile)) end)
    if not ok then return nil, "seccomp: no JSON: " .. tostring(t), core.errno.EINVAL end
    profile = t
  end
  local ok, p = pcall(oci().read, profile, core.seccomp.architecture(), options.file, options.label, options.items)
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

-- A policy from an engine's own profile (seccomp.json of Docker or Podman), as that engine resolves it: rules may be for some
-- machines, kernels, or capabilities. capabilities: those that the container keeps. Returns nil, message, errno.
---@param profile table|string
---@param options? { capabilities?: string[], file?: string, label?: string }
---@return caisson.Policy|nil, string? message, integer? errno
function M.from_engine(profile, options)
  options = options or {}
  local caps = {}
  for _, c in ipairs(names.capabilities(options.capabilities or {}, 2)) do caps["CAP_" .. c:upper()] = true end
  local ok, t, items = pcall(require("caisson.policy.engine").resolve, profile, caps, core.seccomp.architecture())
  if not ok then
    if type(t) == "table" and t.oci then return nil, t.oci, core.errno.EINVAL end
    error(t, 0)
  end
  return M.from_oci(t, { file = options.file, label = options.label, items = items })
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
    for _, c in ipairs(list) do where.note(c, { label = "the default policy", word = name }) end
    p.calls[name] = algebra.clauses("allow", list)
  end
  p = (p - default.except):answer("ENOSYS", default.enosys)
  for _, c in ipairs(kept) do p = p + default.capabilities[c] end
  return p.calls
end

-- Those of the capabilities that the default policy allows calls for.
local function kept_capabilities(list, level)
  local kept = {}
  for _, c in ipairs(names.capabilities(list, level + 1)) do if default.capabilities[c] then kept[#kept + 1] = c end end
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
    p.from = { label = "the default policy" }
    p.make = function() return where.as("the default policy", function() return default_calls(kept) end) end
    p.made_from = key .. text_of(default) .. text_of(require "caisson.policy.groups")
    defaults[key] = p
  end
  return defaults[key]
end

-- ---- results ----

-- Did a filter end it? From a status or result table with field signal (or code, of a shell that
-- reports its child): SIGSYS is what kill_process, kill_thread and trap end a process with.
---@param status table
---@return boolean
function M.denied(status)
  return status.signal == 31 or (status.signal == nil and status.code == 128 + 31)
end

return M
