-- A recipe's parameters: { name = { "size", default = "64M", help = "…" } }, filled in by callers and by
-- the command line (name=value).
local words = require "caisson.words"

local M = {}

local sizes = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3, t = 1024 ^ 4 }
local times = { ms = 1e-3, s = 1, [""] = 1, m = 60, min = 60, h = 3600 }

local types = {}
M.types = types

function types.string(v)
  if type(v) == "string" then return v end
  return nil, "a string"
end

function types.path(v)
  if type(v) == "string" and not v:find "%z" and #v < 4096 then return v end
  return nil, "a path"
end

function types.integer(v)
  local n = tonumber(v)
  if n and n % 1 == 0 and math.abs(n) <= 2 ^ 53 then return n end
  return nil, "a whole number"
end

function types.number(v)
  local n = tonumber(v)
  if n and n == n and math.abs(n) < math.huge then return n end
  return nil, "a number"
end

local truth = { ["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false }

function types.boolean(v)
  if type(v) == "boolean" then return v end
  if truth[v] ~= nil then return truth[v] end
  return nil, "true or false"
end

-- Bytes: a number, or one with K, M, G or T (powers of 1024).
function types.size(v)
  if type(v) == "number" then v = ("%.0f"):format(v) end
  local n, unit = tostring(v):lower():match("^([%d.]+)([kmgt]?)i?b?$")
  n = tonumber(n)
  if n and n * sizes[unit] < 2 ^ 63 then return math.floor(n * sizes[unit]) end
  return nil, "a size such as 64M"
end

-- Seconds: a number, or one with ms, s, m or h.
function types.time(v)
  local n, unit = tostring(v):lower():match("^([%d.]+)(%a*)$")
  n = tonumber(n)
  if n and times[unit] and n * times[unit] < 2 ^ 53 then return n * times[unit] end
  return nil, "a time such as 500ms or 2s"
end

-- A list: a table, or words with commas between them.
function types.list(v)
  if type(v) == "table" then return v end
  local t = {}
  for item in tostring(v):gmatch("[^,]+") do t[#t + 1] = item end
  return t
end

local function unknown(name, declared)
  local known = {}
  for k in pairs(declared) do known[#known + 1] = k end
  table.sort(known)
  if #known == 0 then return ("unknown parameter '%s' (the recipe has none)"):format(tostring(name)) end
  return require("caisson.words").unknown("unknown parameter", tostring(name), known)
end

-- The values for what `declared` describes. Returns them | nil, message.
function M.fill(declared, given)
  local values = {}
  for name in pairs(given) do
    if not declared[name] then
      return nil, unknown(name, declared)
    end
  end
  for name, d in pairs(declared) do
    local v = given[name]
    if v == nil then v = d.default end
    if v == nil then
      if d.required then return nil, ("parameter '%s' is missing: %s"):format(name, d.help or d[1]) end
    elseif type(d[1]) == "table" then
      local ok = false
      for _, word in ipairs(d[1]) do ok = ok or word == v end
      if not ok then
        return nil, ("parameter '%s': one of %s expected, got '%s'"):format(name,
          table.concat(d[1], ", "), words.show(v))
      end
      values[name] = v
    else
      local value, expected = types[d[1]](v)
      if value == nil then
        return nil, ("parameter '%s': %s expected, got '%s'"):format(name, expected, words.show(v))
      end
      values[name] = value
    end
  end
  return values
end

-- Raises where a declaration is wrong.
function M.check(declared, level)
  for name, d in pairs(declared) do
    if type(name) ~= "string" or type(d) ~= "table" then
      error("params are { name = { \"type\", default =, help = } }", level + 1)
    end
    if type(d[1]) ~= "table" and not types[d[1]] then
      local known = {}
      for k in pairs(types) do known[#known + 1] = k end
      table.sort(known)
      error(("parameter '%s': unknown type '%s' (known: %s, or a list of words)"):format(name,
        tostring(d[1]), table.concat(known, ", ")), level + 1)
    end
    for k in pairs(d) do
      if k ~= 1 and k ~= "default" and k ~= "help" and k ~= "required" then
        error(("parameter '%s': unknown key '%s' (known: default, help, required)"):format(name,
          tostring(k)), level + 1)
      end
    end
  end
end

return M
