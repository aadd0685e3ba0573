-- Of two `cgroup` tables the one that allows less, or more: limit by limit.
local files = require "caisson.cgroup.files"
local limits = require "caisson.cgroup.limits"
local u64 = require "caisson.u64"

local M = {}

local function fail(key, message) error({ key = key, message = message }, 0) end

local function copy(v)
  if type(v) ~= "table" then return v end
  local t = {}
  for k, x in pairs(v) do t[k] = copy(x) end
  return t
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

-- Limits as texts: is a the smaller? nil where they are no numbers.
local function less(a, b)
  if a == "max" or a == "-1" then return false end
  if b == "max" or b == "-1" then return true end
  local x, y = u64.parse(a), u64.parse(b)
  if x and y then return u64.lt(x, y) end
  x, y = tonumber(a), tonumber(b)
  return x and y and x < y
end

local function share(text) -- "quota period"
  local quota, period = text:match("^(%S+) (%d+)$")
  return quota == "max" and math.huge or tonumber(quota) / tonumber(period)
end

local function cpus(text)
  local set = {}
  for item in text:gmatch("[^,]+") do
    local from, to = item:match("^(%d+)%-?(%d*)$")
    for n = tonumber(from), tonumber(to) or tonumber(from) do set[n] = true end
  end
  return set
end

local numbers = { size = true, swap = true, count = true, count_or_max = true, count_or_off = true, weight = true,
  shares = true, percent = true, misc = true }

-- What is written for one option, as text.
local function written(name, option, v)
  local w = limits.writes(name, { [option] = v })[1]
  return w[2]
end

local function choose_list(key, name, option, a, b, more)
  local x, y, list = cpus(written(name, option, a)), cpus(written(name, option, b)), {}
  for n in pairs(x) do if more or y[n] then list[#list + 1] = n end end
  if more then for n in pairs(y) do if not x[n] then list[#list + 1] = n end end end
  table.sort(list)
  if #list == 0 then fail(key, ("'%s' and '%s' have none in common"):format(tostring(a), tostring(b))) end
  return table.concat(list, ",")
end

-- Of tables with a number under each name: what is in one only limits, and so stays where less is meant.
local function choose_each(a, b, more, choose)
  local t = {}
  for k, v in pairs(a) do if b[k] ~= nil then t[k] = choose(k, v, b[k]) elseif not more then t[k] = v end end
  for k, v in pairs(b) do if a[k] == nil and not more then t[k] = v end end
  return t
end

local function smaller_number(a, b, more)
  return (less(tostring(a), tostring(b)) and true or false) ~= (more or false) and a or b
end

local function choose_io_max(a, b, more)
  local by, order, list = {}, {}, {}
  for n, v in ipairs { a, b } do
    for _, item in ipairs(v.device and { v } or v) do
      by[item.device] = by[item.device] or {}
      if not by[item.device][1] and not by[item.device][2] then order[#order + 1] = item.device end
      by[item.device][n] = item
    end
  end
  for _, device in ipairs(order) do
    local x, y = by[device][1], by[device][2]
    if x and y then
      list[#list + 1] = choose_each(x, y, more, function(k, v, w)
        if k == "device" then return v end
        local key = "io.max." .. k
        local s, t = written("io", "max", { device = device, [k] = v }):match("=(%S+)"),
          written("io", "max", { device = device, [k] = w }):match("=(%S+)")
        if not s or not t then fail(key, "a limit expected") end
        return (less(s, t) or false) ~= (more or false) and v or w
      end)
    elseif not more then
      list[#list + 1] = x or y
    end
  end
  return list
end

local function choose(name, option, a, b, more, row, kind)
  local key = name .. "." .. option
  if same(a, b) then return a end
  if kind == "cpulist" then return choose_list(key, name, option, a, b, more) end
  if kind == "quota" then
    return (share(written(name, option, a)) < share(written(name, option, b))) ~= (more or false) and a or b
  end
  if kind == "io_max" then return choose_io_max(a, b, more) end
  if kind == "hugetlb" or kind == "rdma" then
    local x = type(a) == "table" and a or { max = a, rsvd = a }
    local y = type(b) == "table" and b or { max = b, rsvd = b }
    return choose_each(x, y, more, function(k, v, w)
      if kind == "rdma" then return smaller_number(v, w, more) end
      return choose("memory", "max", v, w, more, row, "size") or fail(key .. "." .. k, "a size expected")
    end)
  end
  if numbers[kind] or kind == "io_weight" and type(a) ~= "table" and type(b) ~= "table" then
    local x, y = written(name, option, a):gsub("^%S+ ", ""), written(name, option, b):gsub("^%S+ ", "")
    return (less(x, y) or false) ~= (more or false) and a or b
  end
  if option == "oom_group" or option == "idle" then return not more end
  fail(key, ("both say it, and neither '%s' nor '%s' is the smaller"):format(tostring(a), tostring(b)))
end

local function controller(name, a, b, more)
  local rows, t = files.limits[name], {}
  local kinds = {}
  for _, row in ipairs(rows) do kinds[row[1]] = row end
  for _, k in ipairs { "optional", "check_before_update" } do
    -- what one of them can't do without stays
    if a[k] and b[k] or (a[k] or b[k]) and next(a[k] and b or a) == nil then t[k] = true end
  end
  local options = {}
  for _, v in ipairs { a, b } do
    for k in pairs(v) do if k ~= "optional" and k ~= "check_before_update" then options[k] = true end end
  end
  for option in pairs(options) do
    local x, y = a[option], b[option]
    if x == nil or y == nil then
      if not more then t[option] = copy(x == nil and y or x) end
    else
      local row = rows.any or kinds[option]
      t[option] = copy(choose(name, option, x, y, more, row, rows.any and row[1] or row[2]))
    end
  end
  if t.weight and t.shares then fail(name, "one says weight and the other shares: two words for one limit") end
  return next(t) ~= nil and t or nil
end

local function unified(a, b, more)
  return choose_each(a, b, more, function(file, v, w)
    if same(v, w) then return v end
    local x, y = tostring(v):match("^%d+$"), tostring(w):match("^%d+$")
    if not ((x or v == "max") and (y or w == "max")) then
      fail("unified." .. file, ("both say it, and neither '%s' nor '%s' is the smaller"):format(tostring(v), tostring(w)))
    end
    return smaller_number(v, w, more)
  end)
end

-- One file by two names, `memory.max` and unified's: the last that is written would count, be it the larger.
local function crossed(a, b)
  for name in pairs(files.limits) do
    for _, w in ipairs(a[name] and b.unified and limits.writes(name, a[name], 2) or {}) do
      if w[1] and b.unified[w[1]] ~= nil then
        fail("unified." .. w[1], ("it is %s.%s, which the other says in these words"):format(name, w.option))
      end
    end
  end
end

-- a: a recipe's own table, b: a mix-in's. more: the larger limits, and those alone that both have. Both are right
-- (limits.check). Raises { key =, message = } where neither is less than the other.
---@param a table
---@param b table
---@param more? boolean
---@return table
function M.of(a, b, more)
  local t = {}
  crossed(a, b)
  crossed(b, a)
  for k, v in pairs(a) do
    if not files.limits[k] and k ~= "unified" then t[k] = copy(v) end
  end
  for k, v in pairs(b) do
    if not files.limits[k] and k ~= "unified" then
      if t[k] ~= nil and not same(t[k], v) then fail(k, "both say it, and not the same") end
      t[k] = copy(v)
    end
  end
  -- who says that everything may be missing says it of the own limits
  local optional = not (a.optional and b.optional) and { a = a.optional, b = b.optional } or {}
  if next(optional) then t.optional = nil end
  for name in pairs(files.limits) do
    if a[name] and b[name] then
      t[name] = controller(name, a[name], b[name], more)
    elseif not more then
      t[name] = copy(a[name] or b[name])
      if t[name] and optional[a[name] and "a" or "b"] then t[name].optional = true end
    end
  end
  if a.unified and b.unified then
    t.unified = unified(a.unified, b.unified, more)
  elseif not more then
    t.unified = copy(a.unified or b.unified)
  end
  return t
end

return M
