-- Of the parts of two mix-ins (or of a recipe and a mix-in) the one that is both, or either, or one without the other.
--
-- both[part](a, b), either[part](a, b), takes[part](a, b): where both say it. A second value is a message.
local check = require "caisson.policy.mix.check"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)
local is_policy, sorted, bounds, capability_set = check.is_policy, check.sorted, check.bounds, check.capability_set

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

M.both, M.either, M.takes = both, either, takes
M.list_of, M.one_or_list, M.joined, M.deep_text = list_of, one_or_list, joined, deep_text
M.number, M.rlimits, M.lower, M.cgroup, M.capability_intersection = number, rlimits, lower, cgroup, capability_intersection

return M
