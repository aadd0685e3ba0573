-- What is different between two policies, call by call, conditions included; and between two mix-ins, part by part.
--
--   local d = policy.default():diff(policy.default() - { "ptrace" })
--   d.same   d:text(color)   d:json()
--
-- Rules are compared by what they say, not by how: a rule that is written otherwise and lets the same calls happen is no
-- difference.
local args = require "caisson.policy.args"
local color = require "caisson.cli.color"
local core = require "caisson.core"
local json = require "caisson.json"
local names = require "caisson.policy.names"
local show = require "caisson.policy.show"
local values = require "caisson.policy.values"
local where = require "caisson.policy.where"

local M = {}

---@class caisson.policy.Diff
---@field same boolean
---@field calls caisson.policy.CallDiff[]  sorted by name
---@field options { name: string, from?: string, to?: string }[]  default, newest, architectures, ...
local Diff = {}
Diff.__index = Diff

---@class caisson.policy.CallDiff
---@field call string
---@field from? string        the action before, where it does not depend on arguments
---@field to? string          and after
---@field before? { action: string, where?: string }[]     its rules, where its arguments count; the last holds else
---@field after? { action: string, where?: string }[]
---@field changes? { from: string, to: string, where: string }[]  for which arguments the answer changed, where that is short
---@field upper? boolean      it is the upper 32 bits of arguments alone that make the difference
---@field at? string          where the rule is written that makes it so, in the second policy
---@field was_at? string      and in the first

local concat = table.concat

-- ---- policies ----

-- A call's clauses, of which the last is always true.
local function clauses_of(p, name)
  local list = {}
  for i, c in ipairs(show.clauses(p, name) or {}) do
    list[i] = c
    if #c.args == 0 then return list end
  end
  list[#list + 1] = { action = show.action(p.default), args = {}, from = p.gone and p.gone[name] or p.from, default = true }
  return list
end

local function text_of(clauses)
  local parts = {}
  for i, c in ipairs(clauses) do parts[i] = c.action .. " " .. args.text(c.args) end
  return concat(parts, "; ")
end

-- Action -> conditions; or nil where clauses can't be told apart.
local function by_action(clauses)
  local list = args.disjoint(clauses, function(a, b) return a == b end)
  if not list then return nil end
  local t = {}
  for _, c in ipairs(list) do
    t[c.action] = t[c.action] or {}
    table.insert(t[c.action], c.args)
  end
  return t
end

local function sorted_keys(...)
  local set, list = {}, {}
  for _, t in ipairs { ... } do for k in pairs(t) do set[k] = true end end
  for k in pairs(set) do list[#list + 1] = k end
  table.sort(list)
  return list
end

-- Is that what the difference of the defaults says already?
local function by_default(p, q, from, to)
  return from == show.action(p.default) and to == show.action(q.default)
end

-- For which arguments the answer changed: { from, to, where } each, and how many conditions that takes. nil where sets of
-- them can't be had.
local function changes_of(name, a, b, p, q)
  local list, count = {}, 0
  for _, from in ipairs(sorted_keys(a)) do
    for _, to in ipairs(sorted_keys(b)) do
      if from ~= to and not by_default(p, q, from, to) then
        local common = args.intersect(a[from], b[to])
        if not common then return nil end
        if #common > 0 then
          list[#list + 1] = { from = from, to = to, where = values.conditions(name, common) }
          count = count + #common
        end
      end
    end
  end
  return list, count
end

-- The first of some clauses that is not among others.
local function new_in(clauses, others)
  local has = {}
  for _, c in ipairs(others) do has[c.action .. " " .. args.text(c.args)] = true end
  for _, c in ipairs(clauses) do if not has[c.action .. " " .. args.text(c.args)] then return c end end
  return clauses[1]
end

-- Do rules read the same? Then they differ in the upper halves of arguments, which the words leave out.
local function same_words(a, b, p, q)
  for i = 1, math.max(#a, #b) do
    local x, y = a[i], b[i]
    if not x or not y or x.where ~= y.where then return false end
    if x.action ~= y.action and not by_default(p, q, x.action, y.action) then return false end
  end
  return true
end

local function call_diff(name, p, q)
  local a, b = clauses_of(p, name), clauses_of(q, name)
  if text_of(a) == text_of(b) then return nil end
  local d = { call = name, at = where.text(new_in(b, a).from), was_at = where.text(new_in(a, b).from) }
  if b[1].default and not (q.gone and q.gone[name]) then d.by_default = true end
  if #a == 1 then d.from = a[1].action end
  if #b == 1 then d.to = b[1].action end
  if d.from and d.to then return not by_default(p, q, d.from, d.to) and d or nil end
  d.before, d.after = show.rules(name, a), show.rules(name, b)
  d.upper = same_words(d.before, d.after, p, q) or nil
  local x, y = by_action(a), by_action(b)
  if not x or not y then return d end
  local changes, count = changes_of(name, x, y, p, q)
  if changes and #changes == 0 then return nil end
  if changes and count < #a + #b then d.changes = changes end
  return d
end

local option_names = { "default", "bad_architecture", "newest", "architectures", "flags", "listener" }

local function option_text(p, k)
  local v = p[k]
  if k == "default" or k == "bad_architecture" then return show.action(v) end
  if k == "architectures" and v and #v == 1 and v[1] == core.seccomp.architecture() then return nil end
  if type(v) == "table" then return #v > 0 and concat(v, " ") or nil end
  return v ~= nil and tostring(v) or nil
end

-- The difference of two policies.
---@param p caisson.Policy
---@param q caisson.Policy
---@return caisson.policy.Diff
function M.of(p, q)
  local d = setmetatable({ calls = {}, options = {} }, Diff)
  for _, k in ipairs(option_names) do
    local from, to = option_text(p, k), option_text(q, k)
    if from ~= to then d.options[#d.options + 1] = { name = k, from = from, to = to } end
  end
  for _, name in ipairs(sorted_keys(p.calls, q.calls)) do
    local a, b = clauses_of(p, name), clauses_of(q, name)
    -- what neither speaks of the defaults say
    if not (a[1].default and b[1].default) then d.calls[#d.calls + 1] = call_diff(name, p, q) end
  end
  d.same = #d.calls == 0 and #d.options == 0
  return d
end

-- Calls whose answer changed alike, from whatever arguments they have: { from, to, at, calls }.
local function grouped(d)
  local groups, order = {}, {}
  for _, c in ipairs(d.calls) do
    if c.from and c.to then
      local at = c.by_default and c.was_at and "was: " .. c.was_at or c.at
      local key = concat({ c.from, c.to, tostring(at) }, "\0")
      if not groups[key] then
        groups[key] = { from = c.from, to = c.to, at = at, calls = {} }
        order[#order + 1] = groups[key]
      end
      table.insert(groups[key].calls, c.call)
    end
  end
  table.sort(order, function(a, b)
    if #a.calls ~= #b.calls then return #a.calls > #b.calls end
    return a.calls[1] < b.calls[1]
  end)
  return order
end

---As text: calls whose answer changed together, then those whose arguments now matter otherwise.
---@param c? caisson.Color
---@return string
function Diff:text(c)
  c = c or color.of(false)
  if self.same then return "no difference\n" end
  local lines, here = {}, core.seccomp.syscalls()
  local function add(list) for _, line in ipairs(list) do lines[#lines + 1] = line end end
  local function count(calls)
    local n = 0
    for _, name in ipairs(calls) do n = n + (here[name] and 1 or 0) end
    return ("%d calls"):format(n > 0 and n or #calls)
  end
  for _, o in ipairs(self.options) do
    lines[#lines + 1] = ("%s: %s -> %s"):format(c.bold(o.name), c.red(o.from or "none"), c.green(o.to or "none"))
  end
  for _, g in ipairs(grouped(self)) do
    local mark = names.permits(g.to) and c.green "+" or names.permits(g.from) and c.red "-" or c.yellow "~"
    lines[#lines + 1] = ("%s %s%s -> %s%s%s"):format(mark, #g.calls == 1 and c.bold(g.calls[1]) .. ": " or "",
      show.paint(c, g.from)(g.from), show.paint(c, g.to)(g.to), #g.calls > 1 and ": " .. count(g.calls) or "",
      g.at and "  " .. c.dim(g.at) or "")
    if #g.calls > 1 then add(show.fill("    ", show.fold(g.calls), c)) end
  end
  local function rules(head, list)
    for i, r in ipairs(list) do
      local words = { show.paint(c, r.action)(r.action) }
      local last = i == #list and not r.where
      if r.where or #list > 1 then words[2] = last and "else" or "where" end
      for w in (r.where or ""):gmatch("%S+") do words[#words + 1] = w end
      add(show.fill(("    %s "):format(i == 1 and head or (" "):rep(#head)), words, c))
    end
  end
  for _, d in ipairs(self.calls) do
    if d.before then
      lines[#lines + 1] = ("%s %s%s"):format(c.yellow "~", c.bold(d.call), d.at and "  " .. c.dim(d.at) or "")
      if d.upper then
        lines[#lines + 1] = "    the same, but for the upper 32 bits of its arguments"
      elseif d.changes then
        for _, r in ipairs(d.changes) do
          local words = { show.paint(c, r.from)(r.from), "->", show.paint(c, r.to)(r.to), "where" }
          for w in r.where:gmatch("%S+") do words[#words + 1] = w end
          add(show.fill("    ", words, c))
        end
      else
        rules("was", d.before)
        rules("now", d.after)
      end
    end
  end
  return concat(lines, "\n") .. "\n"
end

---What json() writes, as tables.
---@return table
function Diff:plain()
  local t = { same = self.same, calls = {}, options = self.options }
  for i, c in ipairs(self.calls) do
    t.calls[i] = { call = c.call, from = c.from, to = c.to, before = c.before, after = c.after,
      changes = c.changes, at = c.at, was_at = c.was_at }
  end
  return t
end

---@return string
function Diff:json() return json.document(self:plain()) .. "\n" end

-- ---- mix-ins ----

---@class caisson.policy.MixDiff.Part
---@field name string
---@field removed table[]   { key =, value = } each
---@field added table[]
---@field changed table[]   { key =, from =, to = } each
---@field diff? caisson.policy.Diff
---@field from? string
---@field to? string

---@class caisson.policy.MixDiff
---@field same boolean
---@field parts caisson.policy.MixDiff.Part[]
local MixDiff = {}
MixDiff.__index = MixDiff

local function one_policy(v)
  if v == nil or type(v) == "string" then return nil end
  return getmetatable(v) and v or nil
end

local function count_text(v)
  if v == nil then return "no filter" end
  if type(v) == "string" then return ("a program of %d instructions"):format(#v / 8) end
  if getmetatable(v) then return "a policy" end
  return ("%d filters"):format(#v)
end

local function same_filters(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" or #a ~= #b then return false end
  for i, p in ipairs(a) do
    local q = b[i]
    if p ~= q and not (one_policy(p) and one_policy(q) and M.of(p, q).same) then return false end
  end
  return true
end

local function seccomp_part(a, b)
  if one_policy(a) and one_policy(b) then
    local d = M.of(a, b)
    return not d.same and { name = "seccomp", diff = d } or nil
  end
  if same_filters(a, b) then return nil end
  return { name = "seccomp", from = count_text(a), to = count_text(b) }
end

local function flat(v, name)
  if v == nil then return {} end
  if type(v) == "table" and #v > 0 and type(v[1]) == "table" and not v[1].bind then
    local rulesets = v[1].read or v[1].write or v[1].execute or v[1].rules or v[1].scope or v[1].connect
    if rulesets then
      local list = {}
      for i, spec in ipairs(v) do
        for _, item in ipairs(show.items(spec)) do
          list[#list + 1] = { key = ("[%d].%s"):format(i, item.key), value = item.value }
        end
      end
      return list
    end
  end
  return show.items(v, name)
end

local function part(name, a, b)
  if name == "seccomp" then return seccomp_part(a, b) end
  local d = { name = name, removed = {}, added = {}, changed = {} }
  if (a == nil) ~= (b == nil) then
    local word = #flat(a or b, name) == 0 and "none" or "limited"
    d.from, d.to = a == nil and "as it was" or word, b == nil and "as it was" or word
  end
  local x, y = {}, {}
  for _, item in ipairs(flat(a, name)) do x[item.key] = item.value end
  for _, item in ipairs(flat(b, name)) do y[item.key] = item.value end
  for _, item in ipairs(flat(a, name)) do
    if y[item.key] == nil then
      d.removed[#d.removed + 1] = item
    elseif y[item.key] ~= item.value then
      d.changed[#d.changed + 1] = { key = item.key, from = item.value, to = y[item.key] }
    end
  end
  for _, item in ipairs(flat(b, name)) do if x[item.key] == nil then d.added[#d.added + 1] = item end end
  if #d.removed + #d.added + #d.changed == 0 and d.from == d.to then return nil end
  return d
end

-- The difference of two mix-ins.
---@param a caisson.Mix
---@param b caisson.Mix
---@return caisson.policy.MixDiff
function M.mixes(a, b)
  local d = setmetatable({ parts = {} }, MixDiff)
  for _, name in ipairs(show.parts) do
    d.parts[#d.parts + 1] = part(name, rawget(a, name), rawget(b, name))
  end
  d.same = #d.parts == 0
  return d
end

---@param c? caisson.Color
---@return string
function MixDiff:text(c)
  c = c or color.of(false)
  if self.same then return "no difference\n" end
  local lines = {}
  local function add(line) lines[#lines + 1] = c.columns and color.cut(line, c.columns) or line end
  for _, p in ipairs(self.parts) do
    add(c.bold(p.name) .. (p.from and (": %s -> %s"):format(p.from, p.to) or ""))
    if p.diff then
      local narrow = c.columns and setmetatable({ columns = c.columns - 2 }, { __index = c }) or c
      for line in p.diff:text(narrow):gmatch("[^\n]+") do lines[#lines + 1] = "  " .. line end
    end
    local function item(i) return (i.key .. (i.value ~= "" and "  " .. i.value or "")):gsub("^%s+", "") end
    for _, i in ipairs(p.removed or {}) do add(c.red("  - " .. item(i))) end
    for _, i in ipairs(p.added or {}) do add(c.green("  + " .. item(i))) end
    for _, i in ipairs(p.changed or {}) do
      add(("  %s %s%s -> %s"):format(c.yellow "~", i.key ~= "" and i.key .. ": " or "", c.red(i.from), c.green(i.to)))
    end
  end
  return concat(lines, "\n") .. "\n"
end

---@return string
function MixDiff:json()
  local t = { same = self.same, parts = {} }
  for i, p in ipairs(self.parts) do
    t.parts[i] = { name = p.name, removed = p.removed, added = p.added, changed = p.changed, from = p.from, to = p.to,
      calls = p.diff and p.diff:plain() or nil }
  end
  return json.document(t) .. "\n"
end

return M
