-- Seccomp as the OCI runtime specification has it (linux.seccomp), read and written.
--
-- Read as runc does it: names that libseccomp does not know are left out, the profile's architectures
-- are added to the machine's own, calls newer than all that the profile allows answer ENOSYS, and of
-- rules that contradict each other the first without a condition counts.
local args = require "caisson.policy.args"
local permits = require("caisson.policy.names").permits
local u64 = require "caisson.u64"
local words = require "caisson.words"

local M = {}

local actions = { SCMP_ACT_KILL = "kill_thread", SCMP_ACT_KILL_THREAD = "kill_thread",
  SCMP_ACT_KILL_PROCESS = "kill_process", SCMP_ACT_TRAP = "trap", SCMP_ACT_ERRNO = "errno",
  SCMP_ACT_TRACE = "trace", SCMP_ACT_ALLOW = "allow", SCMP_ACT_LOG = "log", SCMP_ACT_NOTIFY = "notify" }
local operators = { SCMP_CMP_NE = "!=", SCMP_CMP_LT = "<", SCMP_CMP_LE = "<=", SCMP_CMP_EQ = "==",
  SCMP_CMP_GE = ">=", SCMP_CMP_GT = ">", SCMP_CMP_MASKED_EQ = "masked" }
local flags = { SECCOMP_FILTER_FLAG_TSYNC = "tsync", SECCOMP_FILTER_FLAG_LOG = "log",
  SECCOMP_FILTER_FLAG_SPEC_ALLOW = "spec_allow", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = "wait_killable_recv" }

local function reverse(t)
  local r = {}
  for k, v in pairs(t) do if k ~= "SCMP_ACT_KILL" then r[v] = k end end
  return r
end
local action_names, operator_names, flag_names = reverse(actions), reverse(operators), reverse(flags)

-- The words that are known, sorted: kind is "actions", "operators" or "flags".
function M.known(kind)
  local list = {}
  for word in pairs(({ actions = actions, operators = operators, flags = flags })[kind]) do list[#list + 1] = word end
  table.sort(list)
  return list
end

-- A word of the specification's in ours.
function M.flag(word) return flags[word] end

-- A word through a table; fails naming the nearest.
local function look_up(t, word, what)
  if type(word) ~= "string" then error({ oci = ("%s: a word expected, got %s"):format(what, type(word)) }) end
  if t[word] then return t[word] end
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  error({ oci = words.unknown(what .. ": unknown word", word, list) })
end

local function list_of(t, key, what)
  local v = t[key]
  if v == nil or type(v) == "userdata" then return {} end -- null, as Go writes an empty list
  if type(v) ~= "table" then error({ oci = ("%s: a list expected, got %s"):format(what, type(v)) }) end
  return v
end

local function action_of(word, number, what)
  local action = look_up(actions, word, what)
  if action ~= "errno" and action ~= "trace" then return action end
  local max = action == "errno" and 4094 or 65535
  if number == nil then return { action, 1 } end -- EPERM, and for a tracer the same number, as runc has it
  if type(number) ~= "number" or number < 0 or number > max or number % 1 ~= 0 then
    error({ oci = ("%s: the number of %s is a whole number to %d"):format(what, action, max) })
  end
  return { action, math.floor(number) }
end

local function text_of(action)
  return type(action) == "table" and action[1] .. action[2] or action
end

local function comparison(c, what)
  if type(c) ~= "table" then error({ oci = what .. ": an object expected, got " .. type(c) }) end
  local op = look_up(operators, c.op, what .. ".op")
  local two
  if op == "masked" then two = c.valueTwo or 0 end
  return { c.index, op, c.value, two }
end

-- The conditions of a rule: one, or where an argument is compared more than once, one for each
-- comparison, any of which will do.
local function conditions(rule, what)
  local list, seen, twice = {}, {}, false
  for i, c in ipairs(list_of(rule, "args", what .. ".args")) do
    list[i] = comparison(c, ("%s.args[%d]"):format(what, i))
    local index = list[i][1]
    if index ~= nil then
      twice = twice or seen[index]
      seen[index] = true
    end
  end
  local out = {}
  for i, group in ipairs(twice and list or { list }) do
    local condition, message = args.condition(twice and { group } or group)
    if not condition then error({ oci = what .. ".args: " .. message }) end
    out[i] = condition
  end
  return out
end

-- Of clauses that contradict each other those that libseccomp would keep.
local function resolve(calls, default)
  for name, clauses in pairs(calls) do
    local kept, first, seen = {}, nil, {}
    for _, c in ipairs(clauses) do
      local text = args.text(c.args)
      if text_of(c.action) ~= default and not seen[text] then
        seen[text] = true
        kept[#kept + 1] = c
        if #c.args == 0 then first = first or c end
      end
    end
    calls[name] = first and { first } or #kept > 0 and kept or { { action = clauses[1].action, args = {} } }
  end
end

-- What an engine resolves before it hands a profile to a runtime: ignored, it would allow too much.
local function refuse_engine_keys(t, what)
  for _, key in ipairs { "includes", "excludes", "archMap", "minKernel" } do
    if t[key] ~= nil and (type(t[key]) ~= "table" or next(t[key]) ~= nil) then
      error({ oci = ("%s: '%s' belongs to an engine's profile, which the engine resolves first"):format(what, key) })
    end
  end
end

local function add_rule(calls, rule, what, from)
  if type(rule) ~= "table" then error({ oci = what .. ": an object expected, got " .. type(rule) }) end
  refuse_engine_keys(rule, what)
  local action = action_of(rule.action, rule.errnoRet, what .. ".action")
  local names = list_of(rule, "names", what .. ".names")
  if #names == 0 then error({ oci = what .. ".names: names no system call" }) end
  local list = conditions(rule, what)
  for _, name in ipairs(names) do
    if type(name) ~= "string" or name == "" or name:find("%z") then
      error({ oci = what .. ".names: the name of a system call expected" })
    end
    calls[name] = calls[name] or {}
    for _, c in ipairs(list) do table.insert(calls[name], { action = action, args = c, from = from }) end
  end
end

-- The fields of a policy from linux.seccomp; raises { oci = message }. native: the machine's architecture. file: the JSON
-- file that it is from, or label: what it is called. items: which of the rules there each of these is.
function M.read(t, native, file, label, items)
  if type(t) ~= "table" then error({ oci = "seccomp: an object expected, got " .. type(t) }) end
  refuse_engine_keys(t, "seccomp")
  local default = action_of(t.defaultAction, t.defaultErrnoRet, "seccomp.defaultAction")
  -- where what isn't named is allowed, what is newer is as well
  local p = { default = default, calls = {}, flags = {}, architectures = { native }, newest = not permits(default),
    from = { label = (file and file:match("[^/]*$") .. ": " or "") .. (label or "seccomp") .. ".defaultAction" } }
  for i, rule in ipairs(list_of(t, "syscalls", "seccomp.syscalls")) do
    add_rule(p.calls, rule, ("seccomp.syscalls[%d]"):format(i), { source = file,
      item = items and items[i] or i, label = ("%s.syscalls[%d]"):format(label or "seccomp", items and items[i] or i) })
  end
  resolve(p.calls, text_of(default))
  for i, word in ipairs(list_of(t, "flags", "seccomp.flags")) do
    p.flags[i] = look_up(flags, word, "seccomp.flags")
  end
  for _, word in ipairs(list_of(t, "architectures", "seccomp.architectures")) do
    local name = type(word) == "string" and word:match("^SCMP_ARCH_([%u%d_]+)$")
    if not name then error({ oci = ("seccomp.architectures: unknown word '%s'"):format(tostring(word)) }) end
    name = name:lower()
    local known = false
    for _, a in ipairs(p.architectures) do known = known or a == name end
    if not known then p.architectures[#p.architectures + 1] = name end
  end
  if t.listenerPath ~= nil and type(t.listenerPath) ~= "string" then
    error({ oci = "seccomp.listenerPath: a path expected" })
  end
  return p
end

local function number_of(action)
  return type(action) == "table" and action[2] or nil
end

-- linux.seccomp of a policy's fields. rules: as core.seccomp.compile takes them. Values above 2^53 are
-- decimal text.
function M.write(p, rules, native)
  local t = { defaultAction = action_names[type(p.default) == "table" and p.default[1] or p.default],
    defaultErrnoRet = number_of(p.default), architectures = {}, syscalls = {} }
  for i, a in ipairs(p.architectures or { native }) do t.architectures[i] = "SCMP_ARCH_" .. a:upper() end
  if #p.flags > 0 then
    t.flags = {}
    for i, f in ipairs(p.flags) do t.flags[i] = flag_names[f] end
  end
  for i, rule in ipairs(rules) do
    local names = {}
    for k, name in ipairs(rule) do names[k] = name end
    local r = { names = names, action = action_names[type(rule.action) == "table" and rule.action[1] or rule.action],
      errnoRet = number_of(rule.action) }
    for k, c in ipairs(rule.args or {}) do
      r.args = r.args or {}
      r.args[k] = { index = c[1], op = operator_names[c[2]], value = u64.decimal(u64.parse(c[3])),
        valueTwo = c[4] and u64.decimal(u64.parse(c[4])) or nil }
    end
    t.syscalls[i] = r
  end
  return t
end

-- As JSON, keys in the specification's order, 64-bit values exact.
function M.to_json(t)
  local out = {}
  local function put(...) for _, s in ipairs { ... } do out[#out + 1] = s end end
  local function strings(list)
    local quoted = {}
    for i, s in ipairs(list) do quoted[i] = '"' .. s:gsub('[%c"\\]', "") .. '"' end
    return "[" .. table.concat(quoted, ", ") .. "]"
  end
  local function number(v) return type(v) == "string" and v or ("%.0f"):format(v) end
  put('{\n  "defaultAction": "', t.defaultAction, '"')
  if t.defaultErrnoRet then put(',\n  "defaultErrnoRet": ', number(t.defaultErrnoRet)) end
  put(',\n  "architectures": ', strings(t.architectures))
  if t.flags then put(',\n  "flags": ', strings(t.flags)) end
  put(',\n  "syscalls": [')
  for i, r in ipairs(t.syscalls) do
    put(i > 1 and "," or "", '\n    { "names": ', strings(r.names), ', "action": "', r.action, '"')
    if r.errnoRet then put(', "errnoRet": ', number(r.errnoRet)) end
    if r.args then
      put(', "args": [')
      for k, a in ipairs(r.args) do
        put(k > 1 and ", " or "", '{ "index": ', number(a.index), ', "value": ', number(a.value))
        if a.valueTwo then put(', "valueTwo": ', number(a.valueTwo)) end
        put(', "op": "', a.op, '" }')
      end
      put("]")
    end
    put(" }")
  end
  put("\n  ]\n}\n")
  return table.concat(out)
end

-- JSON text whose 64-bit values a reader of doubles won't spoil: they become strings.
function M.quote_values(text)
  return (text:gsub('("value%w*"%s*:%s*)(%d+)', '%1"%2"'))
end

return M
