-- What a policy answers for a call, and which of its rules says so.
--
-- The answer is the compiled program's, run in an interpreter: it is the kernel's. The rule is then looked up among the
-- policy's clauses.
local core = require "caisson.core"
local args = require "caisson.policy.args"
local bpf = require "caisson.policy.bpf"
local names = require "caisson.policy.names"
local u64 = require "caisson.u64"
local values = require "caisson.policy.values"
local where = require "caisson.policy.where"
local words = require "caisson.words"

local M = {}

---@class caisson.policy.Decision
---@field call string              its name, or its number as text where it has none
---@field number integer
---@field architecture string
---@field args string[]            as text of 64 bits: "0x1f"
---@field action string            "allow", "log", "notify", "trace", "errno", "trap", "kill_thread", "kill_process"
---@field errno? string            of action errno: "EPERM"
---@field data integer             the number beside the action: of errno, or for the tracer
---@field permits boolean          does the call happen?
---@field rule caisson.policy.Rule
---@field at? string               where the rule is written: "cc.lua:12"
---@field filter? integer          of several filters the one that decided
---@field text string              all of it in a line

---@class caisson.policy.Rule
---@field kind "clause"|"default"|"newest"|"architecture"|"program"
---@field text string              in words
---@field index? integer           of a clause, among those of the call
---@field word? string             what the policy's source says: "@mount"
---@field condition? string        of a clause: "domain == AF_UNIX"
---@field near? string[]           the rules for this call that did not apply, in words: "allow where domain == AF_UNIX"

local function fail(text, ...) error({ decide = text:format(...) }, 0) end

-- ---- what is asked ----

local call_keys = { arch = true, ip = true }

local function architecture_of(v)
  if v == nil then return core.seccomp.architecture() end
  local known = core.seccomp.architectures()
  for _, a in ipairs(known) do if a == v then return a end end
  fail("%s", words.unknown("arch: unknown architecture", tostring(v), known))
end

local number_names = {}

local function name_of(number, arch)
  if not number_names[arch] then
    number_names[arch] = {}
    for name, nr in pairs(core.seccomp.syscalls(arch)) do number_names[arch][nr] = name end
  end
  return number_names[arch][number]
end

local function call_of(v, arch)
  if type(v) == "string" and v:find("^%d+$") then v = tonumber(v) end
  if type(v) == "number" then
    if v < 0 or v > 4294967295 or v % 1 ~= 0 then fail("a call's number is a whole number to 2^32-1, got %s", tostring(v)) end
    return name_of(v, arch) or ("%.0f"):format(v), v
  end
  if type(v) ~= "string" then fail("the name or the number of a system call expected, got %s", type(v)) end
  local number = core.seccomp.number(v, arch)
  if number then return v, number end
  if core.seccomp.known(v) then fail("%s has no system call '%s'", arch, v) end
  local list = {}
  for name in pairs(core.seccomp.syscalls(arch)) do list[#list + 1] = name end
  local best = words.nearest(v, list)
  fail("unknown system call '%s'%s", words.show(v), best and (" (did you mean '%s'?)"):format(best) or "")
end

-- The call as the kernel shows it to a filter: { name, number, arch, values, ip, data }.
local function question(call, list, options)
  local q = { said = {} }
  if type(call) == "table" then
    options = call
    for k, v in pairs(call) do
      if type(k) ~= "number" then
        if not call_keys[k] then fail("%s", words.unknown("unknown option", tostring(k), { "arch", "ip" })) end
      elseif k > 1 then
        q.said[k - 1] = v
      end
    end
    call = call[1]
  else
    for k, v in pairs(list or {}) do q.said[k] = v end
    for k in pairs(options or {}) do
      if not call_keys[k] then fail("%s", words.unknown("unknown option", tostring(k), { "arch", "ip" })) end
    end
  end
  options = options or {}
  q.arch = architecture_of(options.arch)
  q.name, q.number = call_of(call, q.arch)
  q.token = core.seccomp.audit(q.arch)
  q.values = {}
  local last = 0
  for k in pairs(q.said) do
    if type(k) ~= "number" or k < 1 or k > 6 or k % 1 ~= 0 then fail("a call has six arguments at most") end
    last = math.max(last, k)
  end
  for i = 1, 6 do
    local v, message = { 0, 0 }, nil
    if q.said[i] ~= nil then v, message = values.parse(q.said[i], q.name, i) end
    if not v then fail("argument %d of %s: %s", i - 1, q.name, message) end
    -- a machine of 32 bits has no upper halves
    if q.token < 2147483648 then v = { 0, v[2] } end
    q.values[i] = v
  end
  q.given = last
  if options.ip ~= nil then
    local ip, message = values.parse(options.ip)
    if not ip then fail("ip: %s", message) end
    q.ip = ip
  end
  q.data = { nr = q.number, arch = q.token, args = q.values, ip = q.ip }
  return q
end

-- ---- the rule ----

local function action_text(action, data)
  if action == "errno" then return "errno " .. (core.errno.name(data) or data) end
  if action == "trace" then return "trace " .. data end
  return action
end

-- An action as policies have it, in words.
function M.action(a)
  if type(a) == "string" then return a end
  return action_text(a[1], a[2])
end

local function of_policy(p, action) return action == "deny" and p.deny or action end

-- The highest number that the policy knows: option newest, as core.seccomp.compile understands it.
local function newest_of(p, arch)
  if p.newest == "known" then
    local best, name = -1, nil
    for n, nr in pairs(core.seccomp.syscalls()) do if nr > best then best, name = nr, n end end
    return core.seccomp.number(name, arch), name
  elseif p.newest == true then
    local best, newest = -1, nil
    for name in pairs(p.calls) do
      local nr = core.seccomp.number(name, arch)
      if nr and nr > best then best, newest = nr, name end
    end
    return best >= 0 and best or nil, newest
  elseif p.newest then
    return core.seccomp.number(p.newest, arch), p.newest
  end
end

local function has_architecture(p, arch)
  for _, a in ipairs(p.architectures or { core.seccomp.architecture() }) do if a == arch then return true end end
  return false
end

-- "socket where domain == AF_UNIX", "@mount".
local function rule_name(name, c)
  local condition = values.condition(name, c.args)
  local word = condition == "" and c.from and c.from.word or name
  return word .. (condition ~= "" and " where " .. condition or "")
end

-- What of the policy says it: a rule, what it answers, and where it is written.
local function rule_of(p, q)
  local arch = q.arch
  -- x32 is a bit of the number; -1 is no call but a tracer's way to skip one
  if arch == "x86_64" and q.number >= 0x40000000 and q.number < 4294967295 then arch = "x32" end
  if not has_architecture(p, arch) then
    return { kind = "architecture", text = ("since calls of %s are none of this policy's"):format(arch) }, p.bad_architecture,
      p.from
  end
  local newest, name = newest_of(p, arch)
  if newest and q.number > newest and q.number < 4294967295 then
    return { kind = "newest", text = ("since it is newer than the policy, which ends with %s (%.0f)"):format(name, newest) },
      { "errno", core.errno.ENOSYS }, p.from
  end
  local near = {}
  for i, c in ipairs(p.calls[q.name] or {}) do
    if args.matches(c.args, q.values) then
      local condition = values.condition(q.name, c.args)
      return { kind = "clause", index = i, word = c.from and c.from.word, condition = condition ~= "" and condition or nil,
        text = "by the rule for " .. rule_name(q.name, c) },
        of_policy(p, c.action), c.from
    end
    near[i] = { action = M.action(of_policy(p, c.action)), args = c.args }
  end
  local gone, rules = p.gone and p.gone[q.name], {}
  for i, r in ipairs(require("caisson.policy.show").rules(q.name, near)) do rules[i] = r.action .. " where " .. r.where end
  return { kind = "default", near = rules[1] and rules or nil,
    text = #near > 0 and "by default: none of its rules applies" or "by default: it has no rule" }, p.default, gone or p.from
end

local programs = setmetatable({}, { __mode = "k" })

local function program_of(p)
  local policy = require "caisson.policy"
  if type(p) == "string" then return bpf.decode(p) end
  if not programs[p] then
    local bytes, message = policy.program(p)
    if not bytes then fail("%s", message) end
    programs[p] = bpf.decode(bytes)
  end
  return programs[p]
end

local function decide_one(p, q)
  local action, data = bpf.run(program_of(p), q.data)
  local d = { call = q.name, number = q.number, architecture = q.arch, action = action, data = data,
    permits = names.permits(action) }
  if action == "errno" then d.errno = core.errno.name(data) end
  if type(p) == "string" then
    d.rule = { kind = "program", text = "by a finished program, which has no rules" }
  else
    local rule, says, from = rule_of(p, q)
    if M.action(says) ~= action_text(action, data) then -- the program alone counts
      rule, from = { kind = "program", text = "by the program" }, nil
    end
    d.rule, d.at = rule, where.text(from)
  end
  return d
end

-- ---- the whole ----

local function finish(d, q)
  d.args = {}
  for i = 1, 6 do d.args[i] = u64.text(q.values[i]) end
  local shown = {}
  for i = 1, q.given do shown[i] = q.values[i] end
  d.text = ("%s: %s, %s%s"):format(values.call(q.name, shown, q.said), action_text(d.action, d.data), d.rule.text,
    d.at and " (" .. d.at .. ")" or "")
  return d
end

-- What a policy, a program as bytes, or a list of those that are all loaded, answers. Raises { decide = message }.
function M.of(p, call, list, options)
  local q = question(call, list, options)
  if type(p) == "string" or getmetatable(p) then return finish(decide_one(p, q), q) end
  local rank = require("caisson.policy.both").rank
  local best
  for i = #p, 1, -1 do -- the kernel asks the one that was loaded last first, and of two that are as strict the first counts
    local d = decide_one(p[i], q)
    d.filter = i
    if not best or rank(d.action) < rank(best.action) then best = d end
  end
  if not best then fail("no filter") end
  return finish(best, q)
end

return M
