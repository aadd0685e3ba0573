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
local groups = require "caisson.policy.groups"
local words = require "caisson.words"

local M = {}

---@class caisson.Policy
---@field default caisson.policy.Action   what a call gets that no clause is about
---@field deny caisson.policy.Action      what a call gets that was taken away; the default, where that denies
---@field calls table<string, table[]>    name -> clauses { action =, args = condition }
---@field architectures? string[]         none: the machine's own alone
---@field bad_architecture caisson.policy.Action
---@field newest string|boolean           numbers above this call's answer ENOSYS: a name, "known" (the newest
---                                       that libseccomp knows), true (the highest in a rule), or false
---@field flags string[]                  of the seccomp step
---@field listener? string                the slot for the listener of action notify
local Policy = {}
Policy.__index = Policy

---@alias caisson.policy.Action
---| "allow" | "log" | "kill_process" | "kill_thread" | "trap" | "notify" | "errno" | { [1]: "errno"|"trace", [2]: integer|string }

-- ---- names ----

local known -- every name in a group

local function known_names()
  if not known then
    known = {}
    for _, list in pairs(groups) do
      for _, name in ipairs(list) do known[name] = true end
    end
  end
  return known
end

local function unknown(what, word)
  local list = {}
  for name in pairs(word:sub(1, 1) == "@" and groups or known_names()) do list[#list + 1] = name end
  table.sort(list)
  local text = words.unknown(what, word, list)
  if #text > 400 then return ("%s '%s'"):format(what, word) end
  return text
end

local function expand(name, into, level)
  if type(name) ~= "string" then error("the name of a system call or a group expected, got " .. type(name), level + 1) end
  if name:sub(1, 1) == "@" then
    if not groups[name] then error(unknown("unknown group", name), level + 1) end
    for _, n in ipairs(groups[name]) do expand(n, into, level + 1) end
  else
    if not known_names()[name] and (name:find("%z") or not core.seccomp.known(name)) then
      error(unknown("unknown system call", name), level + 1)
    end
    into[name] = true
  end
  return into
end

-- ---- actions ----

local plain = { allow = true, log = true, kill_process = true, kill_thread = true, trap = true, notify = true }

local function check_action(action, level)
  if type(action) == "string" then
    if plain[action] then return action end
    if action == "errno" then return { "errno", "EPERM" } end
    if rawget(core.errno, action) then return { "errno", action } end
    error(words.unknown("unknown action", action,
      { "allow", "log", "kill_process", "kill_thread", "trap", "notify", "errno" }), level + 1)
  end
  if type(action) == "table" and #action == 2 then
    local kind, v = action[1], action[2]
    if kind == "errno" and type(v) == "string" and rawget(core.errno, v) then return { kind, v } end
    local max = kind == "errno" and 4095 or 65535
    if (kind == "errno" or kind == "trace") and type(v) == "number" and v >= 0 and v <= max and v % 1 == 0 then
      return { kind, math.floor(v) }
    end
  end
  error("an action such as 'allow', 'kill_process', 'ENOSYS', {\"errno\", 38} or {\"trace\", 1} expected", level + 1)
end

local function action_text(a)
  if type(a) == "string" then return a end
  local v = a[2]
  if a[1] == "errno" and type(v) == "string" then v = core.errno[v] end
  return ("%s(%d)"):format(a[1], v)
end

local function permits(action) return action == "allow" or action == "log" end

-- ---- sets: name -> list of conditions, one of which must hold ----

local to_set

-- What a policy lets through.
local function allowed(p)
  local set = {}
  for name, clauses in pairs(p.calls) do
    local list = {}
    for _, c in ipairs(clauses) do
      if permits(c.action) then list[#list + 1] = c.args end
    end
    if #list > 0 then set[name] = args.union(list, {}) end
  end
  return set
end

local function add_rule(set, rule, level)
  local names = {}
  for k, v in pairs(rule) do
    if type(k) == "number" then
      expand(v, names, level + 1)
    elseif k ~= "args" then
      error(words.unknown("rule: unknown option", tostring(k), { "args" }), level + 1)
    end
  end
  if next(names) == nil then error("a rule names no system call", level + 1) end
  local condition, message = args.condition(rule.args or {})
  if not condition then error(message, level + 1) end
  for name in pairs(names) do set[name] = args.union(set[name] or {}, { condition }) end
end

function to_set(v, level)
  if getmetatable(v) == Policy then
    if permits(v.default) then
      error("a policy that allows by default has no set of allowed calls; turn the operation round", level + 1)
    end
    return allowed(v)
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

local fields = { "default", "deny", "architectures", "bad_architecture", "newest", "flags", "listener" }

local function copy(p, calls)
  local new = { calls = calls or p.calls }
  for _, k in ipairs(fields) do new[k] = p[k] end
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

local function string_list(v, what, level)
  if type(v) == "string" then v = { v } end
  if type(v) ~= "table" then error(("option '%s': a list of words expected, got %s"):format(what, type(v)), level + 1) end
  local list = {}
  for i, s in ipairs(v) do
    if type(s) ~= "string" then error(("option '%s': a word expected, got %s"):format(what, type(s)), level + 1) end
    list[i] = s
  end
  return list
end

local function set_field(p, k, v, level)
  if k == "default" or k == "deny" or k == "bad_architecture" then
    p[k] = check_action(v, level + 1)
  elseif k == "architectures" or k == "flags" then
    p[k] = string_list(v, k, level + 1)
  elseif k == "newest" then
    if type(v) ~= "boolean" and v ~= "known" and (type(v) ~= "string" or not core.seccomp.number(v)) then
      error("option 'newest': the name of a system call of this machine, 'known', true or false expected", level + 1)
    end
    p[k] = v
  elseif k == "listener" then
    if type(v) ~= "string" then error("option 'listener': the name of a slot expected, got " .. type(v), level + 1) end
    p[k] = v
  else
    error(words.unknown("unknown option", tostring(k), fields), level + 1)
  end
end

-- A policy that allows these calls (names, groups, rules) and answers all others with option default
-- (errno EPERM where it is not given). Further options: deny, architectures, bad_architecture, newest,
-- flags, listener.
---@return caisson.Policy
function M.new(spec)
  if type(spec) ~= "table" then error("policy.new: table expected, got " .. type(spec), 2) end
  local p = setmetatable({ calls = {}, default = { "errno", "EPERM" }, bad_architecture = "kill_process",
    newest = "known", flags = {} }, Policy)
  local set = {}
  for k, v in pairs(spec) do
    if type(k) == "number" then set[k] = v else set_field(p, k, v, 2) end
  end
  if p.deny == nil then p.deny = permits(p.default) and { "errno", "EPERM" } or p.default end
  if permits(p.default) then
    if next(set) ~= nil then error("policy.new: it allows by default; take calls away with '-'", 2) end
    return p
  end
  for name, conditions in pairs(to_set(set, 2)) do p.calls[name] = clauses_of("allow", conditions) end
  return p
end

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

-- A copy that gives these calls (names, groups, rules) another action, such as "notify" or "ENOSYS".
---@return caisson.Policy
function Policy:answer(action, calls)
  action = check_action(action, 2)
  local new = copy(self, copy_calls(self))
  for name, conditions in pairs(to_set(calls, 2)) do
    local kept = {}
    if #conditions[1] > 0 then
      for _, c in ipairs(new.calls[name] or {}) do
        local rest, message = args.subtract({ c.args }, conditions)
        if not rest then error(("%s: %s"):format(name, message), 2) end
        for _, r in ipairs(rest) do kept[#kept + 1] = { action = c.action, args = r } end
      end
    end
    for _, c in ipairs(clauses_of(action, conditions)) do kept[#kept + 1] = c end
    new.calls[name] = kept
  end
  return new
end

-- The clauses of one call after what it allows has become these conditions.
local function replace_allowed(clauses, conditions)
  local list = {}
  for _, c in ipairs(clauses or {}) do
    if not permits(c.action) and #c.args > 0 then list[#list + 1] = c end
  end
  for _, c in ipairs(clauses_of("allow", conditions)) do list[#list + 1] = c end
  return #list > 0 and list or nil
end

-- Lists of denied calls (default allow) are kept as what is denied.
local function add(p, set)
  local calls, have = copy_calls(p), allowed(p)
  for name, conditions in pairs(set) do
    if permits(p.default) then
      local rest = {}
      for _, c in ipairs(calls[name] or {}) do
        local left, message = args.subtract({ c.args }, conditions)
        if not left then error(("%s: %s"):format(name, message), 3) end
        for _, l in ipairs(left) do rest[#rest + 1] = { action = c.action, args = l } end
      end
      calls[name] = #rest > 0 and rest or nil
    else
      calls[name] = replace_allowed(calls[name], args.union(have[name] or {}, conditions))
    end
  end
  return copy(p, calls)
end

local function take(p, set)
  local calls, have = copy_calls(p), allowed(p)
  for name, conditions in pairs(set) do
    if permits(p.default) then
      if #conditions[1] == 0 then
        calls[name] = clauses_of(p.deny, conditions)
      else
        local list = {}
        for _, c in ipairs(calls[name] or {}) do list[#list + 1] = c end
        for _, c in ipairs(clauses_of(p.deny, conditions)) do list[#list + 1] = c end
        calls[name] = list
      end
    elseif #conditions[1] == 0 then
      calls[name] = nil
    elseif have[name] then
      local rest, message = args.subtract(have[name], conditions)
      if not rest then error(("%s: %s"):format(name, message), 3) end
      calls[name] = replace_allowed(calls[name], rest)
    end
  end
  return copy(p, calls)
end

local function keep(p, set)
  if permits(p.default) then error("a policy that allows by default: take calls away with '-'", 3) end
  local calls = {}
  for name, conditions in pairs(allowed(p)) do
    if set[name] then
      local both, message = args.intersect(conditions, set[name])
      if not both then error(("%s: %s"):format(name, message), 3) end
      calls[name] = replace_allowed(nil, both)
    end
  end
  for name, clauses in pairs(p.calls) do -- answers such as ENOSYS stay: they allow nothing
    if not calls[name] and not permits(clauses[1].action) then calls[name] = clauses end
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

function Policy.__add(a, b) return add(operands(a, b)) end
function Policy.__sub(a, b) return take(operands(a, b)) end
function Policy.__mul(a, b) return keep(operands(a, b)) end

-- ---- programs ----

-- Rules for core.seccomp.compile: calls with the same clauses together, everything in a fixed order, and
-- the same as one text.
local function rules_of(p)
  local by_text, texts = {}, {}
  for name, clauses in pairs(p.calls) do
    for _, c in ipairs(clauses) do
      local text = action_text(c.action) .. " " .. args.text(c.args)
      if not by_text[text] then
        by_text[text] = { action = c.action, args = #c.args > 0 and c.args or nil }
        texts[#texts + 1] = text
      end
      table.insert(by_text[text], name)
    end
  end
  table.sort(texts)
  local rules, lines = {}, {}
  for i, text in ipairs(texts) do
    local rule = by_text[text]
    table.sort(rule)
    rules[i] = rule
    lines[i] = text .. ": " .. table.concat(rule, " ")
  end
  return rules, table.concat(lines, "\n")
end

local format = "caisson seccomp program 1"

-- Everything that a program depends on, as text; the rules are given back too.
local function input_of(p)
  local rules, text = rules_of(p)
  return table.concat({ format, core.seccomp.version(), core.seccomp.architecture(),
    table.concat(p.architectures or {}, " "), action_text(p.default), action_text(p.bad_architecture),
    tostring(p.newest), table.concat(p.flags, " "), p.listener or "", text }, "\n"), rules
end

-- Where programs are kept between processes: nil for nowhere.
function M.cache_directory()
  local runtime = os.getenv("XDG_RUNTIME_DIR")
  if core.identity().euid == 0 then return "/run/caisson/seccomp" end
  if runtime and runtime:sub(1, 1) == "/" then return runtime .. "/caisson/seccomp" end
end

local memory, remembered = {}, 0

local function remember(input, program)
  if remembered >= 64 then memory, remembered = {}, 0 end
  memory[input], remembered = program, remembered + 1
end

-- Forget the programs kept in this process (those on disk stay).
function M.forget()
  memory, remembered = {}, 0
end

local newest_known

-- The newest call that libseccomp has a name for.
local function newest()
  if not newest_known then
    local best = -1
    for name, nr in pairs(core.seccomp.syscalls()) do
      if nr > best then best, newest_known = nr, name end
    end
  end
  return newest_known
end

local function compile(p, rules)
  return core.seccomp.compile { default = p.default, rules = rules, architectures = p.architectures,
    bad_architecture = p.bad_architecture, newest = p.newest == "known" and newest() or p.newest, skip_unknown = true }
end

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
  local cache = options and options.cache
  local input, rules = input_of(p)
  if cache == false then
    local program, message, errno = compile(p, rules)
    if not program then return nil, message, errno end
    return program
  end
  if memory[input] then return memory[input] end
  local directory = type(cache) == "string" and cache or M.cache_directory()
  local program, message, errno = directory and core.cache.get(directory, input), nil, nil
  if not program then
    program, message, errno = compile(p, rules)
    if not program then return nil, message, errno end
    -- that it can't be kept is no failure: the next process builds it again
    if directory then core.cache.put(directory, input, program) end
  end
  remember(input, program)
  return program
end

function Policy:program(options) return M.program(self, options) end

-- The step that loads it: { step = "seccomp", options = {...} }, or nil, message, errno.
function M.step(p, options)
  local program, message, errno = M.program(p, options)
  if not program then return nil, message, errno end
  local o = { program = program }
  if type(p) ~= "string" then
    if #p.flags > 0 then o.flags = p.flags end
    o.listener = p.listener
  end
  return { step = "seccomp", options = o }
end

function Policy:step(options) return M.step(self, options) end

-- ---- the default policy ----

local defaults = {}

-- What container engines load by default: see policy/default.lua. Option capabilities: a list of those
-- that the container keeps; the calls that each is good for are allowed.
---@param options? { capabilities?: string[] }
---@return caisson.Policy
function M.default(options)
  options = options or {}
  for k in pairs(options) do
    if k ~= "capabilities" then error(words.unknown("policy.default: unknown option", tostring(k), { "capabilities" }), 2) end
  end
  local caps, known_caps = {}, {}
  for _, w in ipairs(core.primitives.capabilities.fields[1].words) do known_caps[w] = true end
  for _, c in ipairs(string_list(options.capabilities or {}, "capabilities", 2)) do
    if not known_caps[c] then
      local list = {}
      for w in pairs(known_caps) do list[#list + 1] = w end
      error(words.unknown("policy.default: unknown capability", c, list), 2)
    end
    caps[c] = true
    if c == "all" then for w in pairs(known_caps) do caps[w] = true end end
  end
  local kept = {}
  for c in pairs(caps) do if default.capabilities[c] then kept[#kept + 1] = c end end
  table.sort(kept)
  local key = table.concat(kept, " ")
  if not defaults[key] then
    local spec = { default = default.default }
    for i, name in ipairs(default.allow) do spec[i] = name end
    local p = M.new(spec)
    for name, conditions in pairs(default.conditions) do
      local list = {}
      for i, c in ipairs(conditions) do list[i] = assert(args.condition(c)) end
      p.calls[name] = clauses_of("allow", list)
    end
    p = (p - default.except):answer("ENOSYS", default.enosys)
    for _, c in ipairs(kept) do p = p + default.capabilities[c] end
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
