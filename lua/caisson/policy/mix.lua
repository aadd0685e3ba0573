-- Mix-ins: all that confines a program, as one value that any recipe takes.
--
--   local quiet = policy.mix {
--     seccomp      = policy.new { "@system-service", "execve" } - "@network-io",
--     landlock     = { execute = { "/usr" }, write = { "/work" } },
--     capabilities = {},
--     mounts       = { { tmpfs = "/scratch", size = "16M" } },
--     masked       = { "/proc/meminfo" },
--     cgroup       = { pids = { max = 32 } },
--     rlimits      = { nofile = 64 },
--   }
--   return caisson.recipe { extends = "sandbox", mix = { quiet } }
--
-- A policy is one, too: mix = { policy.default() - { "ptrace" } }.
--
-- A mix-in only narrows. What it says and the recipe says both holds: filters as one that gives the stricter answer,
-- Landlock's rulesets one behind the other, capabilities that both keep, of each limit the smaller; mounts and masked
-- paths are added. What it does not say stays as the recipe has it. Two of them: a * b holds both, a + b allows what
-- either allows, a - { seccomp = …, landlock = …, capabilities = … } takes away.
local core = require "caisson.core"
local where = require "caisson.policy.where"
local words = require "caisson.words"

local M = {}

---@class caisson.policy.mix.Spec
---@field seccomp? caisson.Policy|string|(caisson.Policy|string)[]  a policy, a program as bytes, or a list of them
---@field landlock? caisson.landlock.Spec|caisson.landlock.Spec[]  rulesets, each of which must allow
---@field capabilities? string[]     those that may stay, in every set
---@field mounts? table[]            as in a recipe; they are added to its own
---@field masked? string[]
---@field readonly? string[]
---@field cgroup? caisson.cgroup.Options  limits
---@field rlimits? table<string, integer|"max"|table>
---@field limits? { time?: number, cpu?: number, output?: integer }
---@field namespaces? table<string, true>  new ones: { net = true } takes the network away
---@field no_new_privs? true
---@field readonly_root? true
---@field limit_userns? true         no user namespaces inside

---@class caisson.Mix: caisson.policy.mix.Spec
---@operator add(caisson.Mix): caisson.Mix
---@operator mul(caisson.Mix): caisson.Mix
---@operator sub(table): caisson.Mix
local Mix = {}
Mix.__index = Mix

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

local function blame(message)
  local _, level = where.here()
  error("policy.mix: " .. message, level or 0)
end

-- How each part is checked and brought into its one form. fail(message) blames the caller.
local checks = {}

local function list_check(item_type, what)
  return function(v, fail)
    if type(v) ~= "table" then fail(("a list of %s expected, got %s"):format(what, type(v))) end
    local n, out = 0, {}
    for _ in pairs(v) do n = n + 1 end
    if n ~= #v then fail(("a list of %s without holes or names expected"):format(what)) end
    for i, item in ipairs(v) do
      if type(item) ~= item_type then fail(("a list of %s expected, got %s (item %d)"):format(what, type(item), i)) end
      out[i] = item
    end
    return out
  end
end

checks.masked, checks.readonly = list_check("string", "paths"), list_check("string", "paths")
checks.mounts = list_check("table", "mounts")

local function is_policy(v) return require("caisson.policy").is(v) end

-- A policy or its bytes; a list where they are several.
function checks.seccomp(v, fail)
  local list = (type(v) == "string" or is_policy(v)) and { v } or v
  if type(list) ~= "table" or #list == 0 then fail("a policy, or a list of some, expected, got " .. type(v)) end
  for i, p in ipairs(list) do
    if type(p) ~= "string" and not is_policy(p) then
      fail(("a policy, or a program as bytes, expected, got %s (item %d)"):format(type(p), i))
    elseif type(p) == "string" and (#p == 0 or #p % 8 ~= 0) then
      fail(("'%s' is no program; a list of calls is policy.new { … }"):format(words.show(p)))
    end
  end
  return #list == 1 and list[1] or { unpack(list) }
end

function checks.landlock(v, fail)
  local steps, message = require("caisson.landlock").compile(v)
  if not steps then fail(message) end
  return #v == 1 and v[1] or v
end

local known_capabilities

local function capability_words()
  if not known_capabilities then
    known_capabilities = {}
    for _, w in ipairs(core.primitives.capabilities.fields[1].words) do known_capabilities[w] = true end
  end
  return known_capabilities
end

local function sorted(set)
  local list = {}
  for k in pairs(set) do list[#list + 1] = k end
  table.sort(list)
  return list
end

-- A list of capabilities as a set, "all" as what it stands for.
local function capability_set(list)
  local set = {}
  for _, c in ipairs(list) do
    if c == "all" then
      for w in pairs(capability_words()) do if w ~= "all" then set[w] = true end end
    else
      set[c] = true
    end
  end
  return set
end

function checks.capabilities(v, fail)
  if type(v) == "string" then v = { v } end
  v = list_check("string", "capabilities")(v, fail)
  for _, c in ipairs(v) do
    if not capability_words()[c] then fail(words.unknown("unknown capability", c, sorted(capability_words()))) end
  end
  return sorted(capability_set(v))
end

function checks.cgroup(v, fail)
  local limits = require "caisson.cgroup.limits"
  local ok, e = pcall(limits.check, v)
  if not ok then
    if type(e) ~= "table" then error(e, 0) end
    fail((e.key ~= "" and e.key .. ": " or "") .. e.message)
  end
  for _, k in ipairs { "path", "existing", "driver", "slice", "scope", "properties" } do
    if v[k] ~= nil then fail(k .. ": where the group is, is the recipe's to say") end
  end
  return v
end

local function bounds(v)
  if type(v) ~= "table" then return v, v end
  return v.soft or v[1], v.hard or v[2] or v.soft or v[1]
end

function checks.rlimits(v, fail)
  if type(v) ~= "table" then fail("{ nofile = 64 } expected, got " .. type(v)) end
  for name, limit in pairs(v) do
    local soft, hard = bounds(limit)
    local ok, message = pcall(core.check, "rlimit", { resource = name, soft = soft, hard = hard })
    if not ok then fail(message) end
  end
  return v
end

function checks.limits(v, fail)
  local ok, key, message = require("caisson.build").check_limits(v)
  if not ok then fail((key ~= "" and key .. ": " or "") .. message) end
  return v
end

function checks.namespaces(v, fail)
  if type(v) ~= "table" then fail("{ net = true } expected, got " .. type(v)) end
  local known = {}
  for _, f in ipairs(core.primitives.clone.fields) do if f.name == "namespaces" then known = f.words end end
  for name, on in pairs(v) do
    local found = false
    for _, w in ipairs(known) do found = found or w == name end
    if not found then fail(words.unknown("unknown namespace", tostring(name), known)) end
    if on ~= true then fail(("%s: true expected: a mix-in makes namespaces and joins none"):format(tostring(name))) end
  end
  return v
end

local function yes(v, fail)
  if v ~= true then fail("true expected: a mix-in only narrows") end
  return v
end
checks.no_new_privs, checks.readonly_root, checks.limit_userns = yes, yes, yes

local parts = sorted(checks)

-- Where something of a policy is written; nil where that is nowhere.
local function written(p)
  if p.from and p.from.source then return p.from end
  for _, clauses in pairs(rawget(p, "calls") or {}) do
    for _, c in ipairs(clauses) do if c.from and c.from.source then return c.from end end
  end
end

-- A mix-in. Raises on what it does not understand.
---@param spec caisson.policy.mix.Spec
---@return caisson.Mix
function M.new(spec)
  if type(spec) ~= "table" then blame("table expected, got " .. type(spec)) end
  if M.is(spec) then return spec end
  local m = setmetatable({}, Mix)
  for k, v in pairs(spec) do
    local check = checks[k]
    if not check then blame(words.unknown("unknown option", tostring(k), parts)) end
    m[k] = check(v, function(message) blame(k .. ": " .. message) end)
  end
  local at, level = where.here()
  -- `return policy.mix {…}` of a file that dofile reads: what was made in it knows where
  if not level and is_policy(m.seccomp) then at = written(m.seccomp) or at end
  m.source, m.line, m.called = at.source, at.line, level and true
  return m
end

-- Is it a mix-in?
---@return boolean
function M.is(v) return getmetatable(v) == Mix end

-- file:line of a part of it, { "mounts", 2 }, in the source where it was made.
---@param path any[]
---@return string?
function Mix:locate(path)
  if not self.source then return nil end
  return require("caisson.source").locate(self.source, path, self.line, self.called)
end

-- What is different in another mix-in, part by part: a value with same, text(colours), json() and parts (policy/diff.lua).
---@param other caisson.Mix
---@return caisson.policy.MixDiff
function Mix:diff(other)
  if not M.is(other) then error("mix:diff: a mix-in expected, got " .. type(other), 2) end
  return require("caisson.policy.diff").mixes(self, other)
end

-- What it says, as people read it. c: colours and width (caisson.cli.color); plain without them.
---@param c? caisson.Color
---@return string
function Mix:text(c) return require("caisson.policy.show").mix(self, c) end

-- ---- of two parts the one that is both, or either ----

local function list_of(v) -- of policies or rulesets
  if v == nil then return {} end
  if type(v) ~= "table" or getmetatable(v) or #v == 0 then return { v } end
  return v
end

local function one_or_list(list) return #list == 1 and list[1] or list end

-- May another filter be loaded behind this one?
local function lets_load(p)
  if type(p) == "string" then return true end -- who knows; the kernel tells
  if type(p) ~= "table" or not is_policy(p) then return true end
  local names = require "caisson.policy.names"
  local first = (p.calls.seccomp or {})[1]
  if not first then return names.permits(p.default) end
  return #first.args > 0 or names.permits(first.action == "deny" and p.deny or first.action)
end

-- Filters that are all asked, as few as they can be, in an order in which each can be loaded. Returns them | nil, message.
local function all_filters(a, b)
  local policy, list = require "caisson.policy", { unpack(list_of(a)) }
  for _, p in ipairs(list_of(b)) do
    local both
    for i = #list, 1, -1 do
      if is_policy(p) and is_policy(list[i]) then both = policy.both(list[i], p) end
      if both then
        list[i] = both
        break
      end
    end
    if not both then list[#list + 1] = p end
  end
  local last
  for i = #list, #list > 1 and 1 or 2, -1 do
    if not lets_load(list[i]) then
      if last then
        return nil, "two filters, neither of which lets the other be loaded: they can't be one, and neither allows seccomp(2)"
      end
      last = table.remove(list, i)
    end
  end
  list[#list + 1] = last
  return one_or_list(list)
end

local function deep_text(v)
  if type(v) ~= "table" or getmetatable(v) then return type(v) .. " " .. tostring(v) end
  local out = {}
  for k, x in pairs(v) do out[#out + 1] = deep_text(k) .. "=" .. deep_text(x) end
  table.sort(out)
  return "{" .. table.concat(out, ",") .. "}"
end

local function joined(a, b)
  local list, seen = {}, {}
  for _, v in ipairs { a or {}, b or {} } do
    for _, item in ipairs(v) do
      local text = deep_text(item)
      if not seen[text] then list[#list + 1] = item end
      seen[text] = true
    end
  end
  return list
end

local function common(a, b)
  local list, seen = {}, {}
  for _, item in ipairs(b) do seen[deep_text(item)] = true end
  for _, item in ipairs(a) do if seen[deep_text(item)] then list[#list + 1] = item end end
  return list
end

local function number(v) return v == "max" and math.huge or tonumber(v) end

local function lower(a, b) return number(b) < number(a) and b or a end

local function higher(a, b) return number(b) > number(a) and b or a end

local function rlimits(a, b, choose, only_common)
  local t = {}
  for name, v in pairs(a) do
    if b[name] == nil then
      if not only_common then t[name] = v end
    else
      local soft, hard = bounds(v)
      local soft2, hard2 = bounds(b[name])
      t[name] = { soft = choose(soft, soft2), hard = choose(hard, hard2) }
      if t[name].soft == t[name].hard then t[name] = t[name].soft end
    end
  end
  if not only_common then
    for name, v in pairs(b) do if a[name] == nil then t[name] = v end end
  end
  return t
end

local function limits(a, b, choose, only_common)
  local t = {}
  for k, v in pairs(a) do
    if b[k] ~= nil then t[k] = choose(v, b[k]) elseif not only_common then t[k] = v end
  end
  if not only_common then for k, v in pairs(b) do if a[k] == nil then t[k] = v end end end
  return t
end

-- What narrow.of raises comes as text.
local function cgroup(a, b, more)
  local ok, t = pcall(require("caisson.cgroup.narrow").of, a, b, more)
  if ok then return t end
  if type(t) ~= "table" then error(t, 0) end
  return nil, t.key .. ": " .. t.message
end

local function capability_intersection(a, b)
  local set, list = capability_set(b), {}
  for c in pairs(capability_set(a)) do if set[c] then list[#list + 1] = c end end
  table.sort(list)
  return list
end

-- both[part](a, b): where both say it. A second value is a message.
local both = {
  seccomp = all_filters,
  landlock = function(a, b) return one_or_list(joined(list_of(a), list_of(b))) end,
  capabilities = capability_intersection,
  mounts = joined, masked = joined, readonly = joined,
  cgroup = function(a, b) return cgroup(a, b) end,
  rlimits = function(a, b) return rlimits(a, b, lower) end,
  limits = function(a, b) return limits(a, b, lower) end,
  namespaces = function(a, b)
    local t = {}
    for _, v in ipairs { a, b } do for k in pairs(v) do t[k] = true end end
    return t
  end,
}
for _, k in ipairs { "no_new_privs", "readonly_root", "limit_userns" } do both[k] = function() return true end end

local files = { "read", "execute", "write", "rules" }

local function restricts_files(spec)
  for _, k in ipairs(files) do if spec[k] then return true end end
  return spec.handled ~= nil
end

-- The ruleset that allows what either of two allows; nil where that is everything.
local function either_ruleset(a, b)
  if #a > 0 or #b > 0 then return nil, "rulesets that stand one behind the other can't be added up" end
  local t = {}
  if restricts_files(a) and restricts_files(b) then
    for _, k in ipairs(files) do if a[k] or b[k] then t[k] = joined(a[k], b[k]) end end
    t.handled = a.handled and b.handled and common(a.handled, b.handled) or a.handled or b.handled
  end
  for _, k in ipairs { "connect", "bind" } do if a[k] and b[k] then t[k] = joined(a[k], b[k]) end end
  if a.scope and b.scope then t.scope = common(a.scope, b.scope) end
  if t.scope and #t.scope == 0 then t.scope = nil end
  if next(t) == nil then return nil end
  t.best_effort = (a.best_effort == true or b.best_effort == true) or joined(a.best_effort or nil, b.best_effort or nil)
  if type(t.best_effort) == "table" and #t.best_effort == 0 then t.best_effort = nil end
  return t
end

-- either[part](a, b): where both say it; what one alone restricts is free.
local either = {
  seccomp = function(a, b)
    if not is_policy(a) or not is_policy(b) then return nil, "programs and lists of filters can't be added up" end
    local permits = require("caisson.policy.names").permits
    if permits(b.default) then a, b = b, a end
    local ok, p = pcall(function() return a + b end)
    if ok then return p end
    return nil, (tostring(p):gsub("^[^\n]-:%d+: ", ""))
  end,
  landlock = either_ruleset,
  capabilities = function(a, b) return sorted(capability_set(joined(a, b))) end,
  mounts = joined, masked = common, readonly = common,
  cgroup = function(a, b) return cgroup(a, b, true) end,
  rlimits = function(a, b) return rlimits(a, b, higher, true) end,
  limits = function(a, b) return limits(a, b, higher, true) end,
  namespaces = function(a, b)
    local t = {}
    for k in pairs(a) do if b[k] then t[k] = true end end
    return t
  end,
}
for _, k in ipairs { "no_new_privs", "readonly_root", "limit_userns" } do either[k] = function() return true end end

local function operate(a, b, how, what, free)
  if not M.is(a) or not M.is(b) then error(("mix-ins are %s to mix-ins (policy.mix)"):format(what), 3) end
  local m = setmetatable({ source = a.source, line = a.line, called = a.called }, Mix)
  for _, k in ipairs(parts) do
    local x, y = rawget(a, k), rawget(b, k)
    if x ~= nil and y ~= nil then
      local v, message = how[k](x, y)
      if message then error(("policy.mix: %s: %s"):format(k, message), 3) end
      if type(v) ~= "table" or next(v) ~= nil or k == "capabilities" then m[k] = v end
    elseif not free or k == "mounts" then -- what a mount shows may be needed by what the other allows
      m[k] = x
      if x == nil then m[k] = y end
    end
  end
  return m
end

function Mix.__mul(a, b)
  local m = operate(a, b, both, "multiplied with")
  return m
end

function Mix.__add(a, b)
  local m = operate(a, b, either, "added", true)
  return m
end

-- A ruleset without some of its paths and ports.
local function without_paths(spec, less)
  local t = {}
  for k, v in pairs(spec) do t[k] = v end
  for k, list in pairs(less) do
    if k == "scope" or k == "handled" or k == "best_effort" or type(list) ~= "table" then
      return nil, ("%s: what is taken away is lists of paths and ports"):format(tostring(k))
    end
    local gone, left = {}, {}
    for _, item in ipairs(list) do gone[type(item) == "table" and item.path or item] = true end
    for _, item in ipairs(spec[k] or {}) do
      if not gone[type(item) == "table" and item.path or item] then left[#left + 1] = item end
    end
    if spec[k] then t[k] = left end
  end
  return t
end

local takes = {
  seccomp = function(a, b)
    if not is_policy(a) then return nil, "calls are taken from one policy" end
    local ok, p = pcall(function() return a - b end)
    if ok then return p end
    return nil, (tostring(p):gsub("^[^\n]-:%d+: ", ""))
  end,
  landlock = function(a, b)
    if #a > 0 then return nil, "paths are taken from one ruleset" end
    return without_paths(a, b)
  end,
  capabilities = function(a, b)
    local gone, left = capability_set(type(b) == "string" and { b } or b), {}
    for _, c in ipairs(a) do if not gone[c] then left[#left + 1] = c end end
    return left
  end,
}

function Mix.__sub(a, b)
  if not M.is(a) or type(b) ~= "table" then
    error("from a mix-in { seccomp = …, landlock = …, capabilities = … } is taken away", 2)
  end
  local m = setmetatable({}, Mix)
  for k, v in pairs(a) do m[k] = v end
  for k, v in pairs(b) do
    if k ~= "source" and k ~= "line" and k ~= "called" then -- of a mix-in
      if not takes[k] then error(words.unknown("policy.mix: what can't be taken away:", tostring(k), sorted(takes)), 2) end
      if a[k] == nil then error(("policy.mix: %s: the mix-in says nothing of it that could be taken away"):format(k), 2) end
      local value, message = takes[k](a[k], v)
      if message then error(("policy.mix: %s: %s"):format(k, message), 2) end
      m[k] = value
    end
  end
  return m
end

-- ---- into a recipe's options ----

-- Capabilities that this process could hand on, where no user namespace gives them anew.
local function own_capabilities(options)
  local ns = type(options.namespaces) == "table" and options.namespaces or {}
  if ns.user or ns.user == nil and core.identity().euid ~= 0 then return { "all" } end
  local status = io.open("/proc/self/status")
  local text = status and status:read("*a") or ""
  if status then status:close() end
  local bits, list = text:match("CapBnd:%s*(%x+)"), {}
  if not bits then return { "all" } end
  local value, all = require("caisson.u64").parse("0x" .. bits), core.primitives.capabilities.fields[1].words
  for _, bit in ipairs(require("caisson.u64").bits(value)) do
    local at = bit[1] > 0 and 32 + math.floor(math.log(bit[1]) / math.log(2) + 0.5) or
      math.floor(math.log(bit[2]) / math.log(2) + 0.5)
    list[#list + 1] = all[at + 2] -- "all" is the first
  end
  return list
end

local narrow = {}

function narrow.capabilities(options, v)
  local caps = options.capabilities
  if caps == nil then return capability_intersection(own_capabilities(options), v) end
  if type(caps) ~= "table" then return caps end -- what it says of it, its own check says better
  if #caps > 0 or next(caps) == nil then return capability_intersection(caps, v) end
  local t = {}
  for set, list in pairs(caps) do t[set] = type(list) == "table" and capability_intersection(list, v) or list end
  return t
end

function narrow.rlimits(options, v)
  local own, now = {}, nil
  for name, limit in pairs(options.rlimits or {}) do own[name] = limit end
  for name in pairs(v) do
    if own[name] == nil then -- as this process has it, which may not be allowed to raise it
      now = now or core.attributes().rlimits
      if now[name] then own[name] = { soft = now[name].soft, hard = now[name].hard } end
    end
  end
  local t = rlimits(own, v, lower)
  for name in pairs(v) do
    local soft, hard = bounds(t[name])
    if number(soft) > number(hard) then t[name] = hard end
  end
  return t
end

function narrow.namespaces(options, v)
  local t = {}
  for k, x in pairs(options.namespaces or {}) do t[k] = x end
  for k in pairs(v) do
    if type(t[k]) == "string" then return nil, ("%s: the recipe joins %s, and the mix-in wants a new one"):format(k, t[k]) end
    t[k] = true
  end
  return t
end

-- Is the recipe's own what its option takes? What it is not, the option itself refuses, with its line.
local function is_sound(k, own)
  if k == "landlock" or own == nil or type(own) == "boolean" or k == "seccomp" and type(own) == "string" then return true end
  if type(own) ~= "table" then return false end
  if k == "mounts" or k == "masked" or k == "readonly" or k == "seccomp" and not getmetatable(own) then
    local n = 0
    for _ in pairs(own) do n = n + 1 end
    return n == #own and (n > 0 or k ~= "seccomp")
  end
  if k == "cgroup" then return (pcall(require("caisson.cgroup.limits").check, own)) end
  if k == "limits" then return require("caisson.build").check_limits(own) ~= nil end
  if k == "capabilities" then
    if #own > 0 or next(own) == nil then own = { own } end
    for _, list in pairs(own) do
      for _, c in pairs(type(list) == "table" and list or { list }) do
        if not capability_words()[c] then return false end
      end
    end
    return true
  end
  if k ~= "rlimits" then return true end
  for _, limit in pairs(own) do
    local soft, hard = bounds(limit)
    if not number(soft) or not number(hard) then return false end
  end
  return true
end

-- The recipe's own of each part with the mix-in's; a second value is a message.
local function narrowed(options, k, v)
  if not is_sound(k, options[k]) then return options[k] end
  if narrow[k] then return narrow[k](options, v) end
  local own = options[k]
  if own == nil or own == false then
    if k == "cgroup" then return (cgroup({}, v)) end
    return (k == "mounts" or k == "masked" or k == "readonly") and joined(v) or v
  end
  return both[k](own, v)
end

-- Put mix-ins into a recipe's merged options. origins: who said what; where a mix-in has the last word, it. Raises.
function M.apply(options, origins)
  local list = options.mix
  if type(list) ~= "table" then error("mix: a list of mix-ins (policy.mix) expected, got " .. type(list), 0) end
  for i, m in ipairs(list) do
    if is_policy(m) then
      local at = m.from or {}
      m = setmetatable({ seccomp = m, source = at.source, line = at.line, called = true }, Mix)
    elseif not M.is(m) then
      local o = origins["mix/" .. i] or origins.mix
      local at = o and o.recipe:locate(o.path)
      error(("%smix[%d]: a mix-in (policy.mix) or a policy expected, got %s"):format(at and at .. ": " or "", i, type(m)), 0)
    end
    for _, k in ipairs(parts) do
      local v = rawget(m, k)
      if v ~= nil then
        local before = options[k]
        local value, message = narrowed(options, k, v)
        if message then
          local at = m:locate { k }
          error(("%smix[%d]: %s: %s"):format(at and at .. ": " or "", i, k, message), 0)
        end
        options[k] = value
        if value ~= before then M.credit(origins, m, k, before, value, v) end
      end
    end
  end
end

local function origin(m, ...) return { recipe = m, path = { ... } } end

-- All of a recipe that confines, as a mix-in to look at. built: Recipe:build's; filters: those of its plan.
function M.of(built, filters)
  local o, m = built.options, setmetatable({}, Mix)
  for _, k in ipairs(parts) do
    local v = o[k]
    if v ~= nil and v ~= false then m[k] = v end
  end
  if type(o.namespaces) == "table" then
    m.namespaces = {}
    for k, v in pairs(o.namespaces) do if v then m.namespaces[k] = v end end
  end
  m.no_new_privs = o.no_new_privs ~= false or nil
  m.readonly_root = built.new and built.new.mount and o.readonly_root ~= false or nil
  m.seccomp = #filters > 0 and one_or_list(filters) or nil
  return m
end

-- Filters or rulesets of a mix-in as a list, also where it is one, or none.
M.list = list_of

-- Who is to be named for a part: item by item where it has items.
function M.credit(origins, m, k, before, value, v)
  if k == "mounts" or k == "masked" or k == "readonly" then
    local place = {}
    for i, item in ipairs(v) do place[item] = i end
    for i = #(before or {}) + 1, #value do origins[k .. "/" .. i] = origin(m, k, place[value[i]]) end
    origins[k] = origins[k] or origin(m, k)
  elseif k == "rlimits" or k == "cgroup" or k == "namespaces" then
    for name, x in pairs(value) do
      if (before or {})[name] ~= x and v[name] ~= nil then origins[k .. "/" .. tostring(name)] = origin(m, k, name) end
    end
    origins[k] = origins[k] or origin(m, k)
  elseif k == "landlock" then
    local list, had = list_of(value), #list_of(before)
    if #list > 1 and had == 1 then origins["landlock/1"] = origins.landlock end
    for i = had + 1, #list do origins["landlock/" .. i] = origin(m, k) end
    if had == 0 then origins[k] = origin(m, k) end
  elseif deep_text(before) ~= deep_text(value) then
    origins[k] = origin(m, k)
  end
end

return M
