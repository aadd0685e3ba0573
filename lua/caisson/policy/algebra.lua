-- Policies as sets of what they allow: union, difference and intersection of their calls, conditions included.
--
-- A set is name -> list of conditions, one of which must hold. A clause is { action =, args = condition, from = where }.
local args = require "caisson.policy.args"
local names = require "caisson.policy.names"
local where = require "caisson.policy.where"
local words = require "caisson.words"

local expand, permits = names.expand, names.permits

local M = {}

-- What policies have for a metatable; filled by caisson.policy.
local Policy = {}
M.Policy = Policy

-- What a policy lets through, which its clauses say in their order.
local function allowed(p, level)
  local set = {}
  for name, clauses in pairs(p.calls) do
    local list, message = args.disjoint(clauses, function(a, b) return permits(a) == permits(b) end)
    if not list then error(("%s: %s"):format(name, message), level + 1) end
    local conditions = {}
    for _, c in ipairs(list) do
      if permits(c.action) then conditions[#conditions + 1] = where.note(c.args, c.from) end
    end
    if #conditions > 0 then set[name] = args.union(conditions, {}) end
  end
  return set
end

local function add_rule(set, rule, level, at)
  local calls, first = {}, nil
  for k, v in pairs(rule) do
    if type(k) == "number" then
      expand(v, calls, level + 1)
      first = k == 1 and v or first
    elseif k ~= "args" then
      error(words.unknown("rule: unknown option", tostring(k), { "args" }), level + 1)
    end
  end
  if next(calls) == nil then error("a rule names no system call", level + 1) end
  local condition, message = args.condition(rule.args or {})
  if not condition then error(message, level + 1) end
  where.note(condition, where.word(at, first))
  for name in pairs(calls) do set[name] = args.union(set[name] or {}, { condition }) end
end

-- What a user wrote as a set: a policy, a name, a group, or a list of those and of rules. at: where.
function M.set(v, level, at)
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
    add_rule(set, v, level + 1, at)
    return set
  end
  for k, item in pairs(v) do
    if type(k) ~= "number" then error(words.unknown("unknown option", tostring(k), { "args" }), level + 1) end
    if type(item) == "table" and getmetatable(item) ~= Policy then
      add_rule(set, item, level + 1, at)
    elseif type(item) == "table" then
      for name, list in pairs(M.set(item, level + 1, at)) do set[name] = args.union(set[name] or {}, list) end
    else
      local entry = where.word(at, item)
      for name in pairs(expand(item, {}, level + 1)) do set[name] = { where.note({}, entry) } end
    end
  end
  return set
end

function M.clauses(action, conditions)
  local list = {}
  for i, c in ipairs(conditions) do list[i] = { action = action, args = c, from = where.of(c) } end
  return list
end

local function copy_calls(p)
  local calls = {}
  for name, clauses in pairs(p.calls) do calls[name] = clauses end
  return calls
end

-- Clauses for these conditions in front of what a call has; those that nothing is left of are gone.
local function prepend(action, conditions, clauses)
  local list, seen = M.clauses(action, conditions), {}
  for _, c in ipairs(list) do seen[args.text(c.args)] = true end
  if seen[""] then return list end
  for _, c in ipairs(clauses or {}) do
    if not seen[args.text(c.args)] then list[#list + 1] = c end
  end
  return list
end

-- The calls of a policy with those of a set answered by an action.
function M.answer(p, action, set)
  local calls = copy_calls(p)
  for name, conditions in pairs(set) do calls[name] = prepend(action, conditions, calls[name]) end
  return calls
end

-- ... allowed as well
function M.add(p, set)
  local calls, all = copy_calls(p), permits(p.default)
  for name, conditions in pairs(set) do
    if all and #conditions[1] == 0 then
      calls[name] = nil
    elseif calls[name] or not all then
      calls[name] = prepend(all and p.default or "allow", conditions, calls[name])
    end
  end
  return calls
end

-- ... denied
function M.take(p, set)
  local calls = copy_calls(p)
  for name, conditions in pairs(set) do
    if permits(p.default) or calls[name] or #conditions[1] == 0 then
      calls[name] = prepend("deny", conditions, calls[name])
    end
  end
  return calls
end

-- The clauses of a call that may stay where one of these conditions holds.
local function keep_call(name, clauses, conditions)
  if #conditions[1] == 0 then return clauses end
  local list = {}
  for _, c in ipairs(clauses) do
    local narrower = { c.args }
    if permits(c.action) then narrower = args.intersect(narrower, conditions) end
    for _, n in ipairs(narrower or {}) do list[#list + 1] = { action = c.action, args = n, from = c.from } end
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

-- ... and no others allowed. at: where; second, by name, where what is gone was taken.
function M.keep(p, set, at)
  if permits(p.default) then error("a policy that allows by default: take calls away with '-'", 3) end
  local calls, gone = {}, {}
  for name, entry in pairs(p.gone or {}) do gone[name] = entry end
  for name, clauses in pairs(p.calls) do
    local some = false
    for _, c in ipairs(clauses) do some = some or permits(c.action) end
    if not some then -- answers such as ENOSYS allow nothing
      calls[name] = clauses
    elseif set[name] then
      calls[name] = keep_call(name, clauses, set[name])
    else
      gone[name] = at
    end
  end
  return calls, gone
end

return M
