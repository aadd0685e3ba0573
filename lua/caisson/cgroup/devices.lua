-- Which devices a container may use: `cgroup.devices` into what the kernel takes. Pure tables.
--
--   devices = { { allow = true, type = "c", major = 10, minor = 229, access = "rw" }, … }
--
-- All is denied but a few devices that every program expects and the nodes of the recipe's own `devices`. The
-- rules stand behind those, and for each of read, write and mknod the last that matches decides; so
-- { allow = false } at their head takes these away too, and { allow = true } there allows all.
local words = require "caisson.words"

local M = {}

---@class caisson.cgroup.DeviceRule
---@field allow boolean
---@field type? "a"|"b"|"c"        both ("a", without major and minor), block, character
---@field major? integer|"*"
---@field minor? integer|"*"
---@field access? string           of "r", "w" and "m" (mknod); "rwm"

local function rule(type, major, minor, access)
  return { allow = true, type = type, major = major, minor = minor, access = access or "rwm" }
end

-- null, zero, full, random, urandom, tty, ptmx, and all pseudo-terminals.
M.defaults = { rule("c", 1, 3), rule("c", 1, 5), rule("c", 1, 7), rule("c", 1, 8), rule("c", 1, 9), rule("c", 5, 0),
  rule("c", 5, 2), rule("c", 136, "*") }

local function fail(key, message)
  error({ key = key, message = message }, 0)
end

local function number(key, name, v, most)
  if v == nil or v == "*" then return "*" end
  if type(v) ~= "number" or v % 1 ~= 0 or v < 0 or v > most then
    fail(key .. "." .. name, ("a whole number from 0 to %d, or '*', expected, got %s"):format(most, tostring(v)))
  end
  return v
end

local known = { "allow", "type", "major", "minor", "access" }
local is_known = {}
for _, name in ipairs(known) do is_known[name] = true end

local function check_rule(key, r)
  if type(r) ~= "table" then fail(key, "{ allow =, type =, major =, minor =, access = } expected, got " .. type(r)) end
  for k in pairs(r) do
    if not is_known[k] then fail(key, words.unknown("unknown option", tostring(k), known)) end
  end
  if type(r.allow) ~= "boolean" then fail(key .. ".allow", "true or false expected, got " .. tostring(r.allow)) end
  local kind = r.type or "a"
  if kind ~= "a" and kind ~= "b" and kind ~= "c" then
    fail(key .. ".type", "'a', 'b' or 'c' expected, got " .. tostring(r.type))
  end
  local access = r.access
  if access == nil then access = "rwm" end
  if type(access) ~= "string" or not access:find("^[rwm]+$") or access:find("(.).*%1") then
    fail(key .. ".access", "some of 'rwm' expected, got " .. tostring(access))
  end
  return { allow = r.allow, type = kind, major = number(key, "major", r.major, 4095),
    minor = number(key, "minor", r.minor, 1048575), access = access, key = key }
end

local function is_all(r)
  return r.type == "a" and r.major == "*" and r.minor == "*" and #r.access == 3
end

-- Check the table; raises { key =, message = }. Returns the rules, each of one type but those for all there is.
function M.check(t)
  if type(t) ~= "table" then fail("devices", "a list of rules expected, got " .. type(t)) end
  for k in pairs(t) do
    if type(k) ~= "number" and k ~= "optional" then
      fail("devices", words.unknown("unknown option", tostring(k), { "optional" }))
    end
  end
  if t.optional ~= nil and type(t.optional) ~= "boolean" then
    fail("devices.optional", "true or false expected, got " .. tostring(t.optional))
  end
  local list = {}
  for i, r in ipairs(t) do
    local checked = check_rule(("devices[%d]"):format(i), r)
    if checked.type ~= "a" or is_all(checked) then
      list[#list + 1] = checked
    else
      for _, kind in ipairs { "b", "c" } do
        list[#list + 1] = { allow = checked.allow, type = kind, major = checked.major, minor = checked.minor,
          access = checked.access, key = checked.key }
      end
    end
  end
  return list
end

local common = { null = 3, zero = 5, full = 7, random = 8, urandom = 9 }

-- Rules for the nodes that a recipe's `devices` makes: they are no use without. What names no number there
-- is one of the defaults.
function M.of_nodes(nodes)
  local list = {}
  for _, d in ipairs(nodes or {}) do
    if type(d) == "table" and type(d.major) == "number" and type(d.minor) == "number" and d.type ~= "fifo" then
      list[#list + 1] = rule(d.type == "block" and "b" or "c", d.major, d.minor)
    end
    local name = type(d) == "table" and type(d.path) == "string" and d.path:match("[^/]+$")
    if name and not d.major and common[name] then list[#list + 1] = rule("c", 1, common[name]) end
  end
  return list
end

-- All rules that are in force, from the first: nothing, the defaults, the nodes', and those of the table.
function M.all(t, nodes)
  local list = { { allow = false, type = "a", major = "*", minor = "*", access = "rwm" } }
  for _, part in ipairs { M.defaults, nodes or {}, M.check(t) } do
    for _, r in ipairs(part) do list[#list + 1] = r end
  end
  return list
end

-- "c 1:3 rwm"
local function device_text(r, access)
  return ("%s %s:%s %s"):format(r.type, r.major == "*" and "*" or ("%d"):format(r.major),
    r.minor == "*" and "*" or ("%d"):format(r.minor), access or r.access)
end

-- As core.cgroup.devices takes them: "allow c 1:3 rwm".
function M.texts(rules)
  local list = {}
  for i, r in ipairs(rules) do
    list[i] = (r.allow and "allow " or "deny ") .. (is_all(r) and "a" or device_text(r))
  end
  return list
end

-- And back, for what was written down. Raises where it is none.
function M.parse(text)
  local word, kind, major, minor, access = text:match("^(%l+) ([abc]) ([%d*]+):([%d*]+) ([rwm]+)$")
  if not word then error("no device rule: " .. text, 0) end
  return check_rule("devices", { allow = word == "allow", type = kind, major = major == "*" and "*" or tonumber(major),
    minor = minor == "*" and "*" or tonumber(minor), access = access })
end

-- ---- cgroup v1: a list of exceptions from "none" or from "all" ----

local function covers(outer, inner)
  return outer.type == inner.type and (outer.major == "*" or outer.major == inner.major)
    and (outer.minor == "*" or outer.minor == inner.minor)
end

local function meets(a, b)
  return a.type == b.type and (a.major == "*" or b.major == "*" or a.major == b.major)
    and (a.minor == "*" or b.minor == "*" or a.minor == b.minor)
end

local function without(access, gone)
  return (access:gsub("[" .. gone .. "]", ""))
end

local function in_order(access)
  return (access:find("r") and "r" or "") .. (access:find("w") and "w" or "") .. (access:find("m") and "m" or "")
end

-- Rules as { allowed = is all allowed but the exceptions?, exceptions }. Raises { key =, message = } for what
-- v1 can't express.
local function exceptions(rules)
  local list, allowed = {}, false
  for _, r in ipairs(rules) do
    if is_all(r) then
      list, allowed = {}, r.allow
    elseif r.allow ~= allowed then
      local same
      for _, e in ipairs(list) do
        if e.type == r.type and e.major == r.major and e.minor == r.minor then same = e end
      end
      if same then
        same.access = in_order(same.access .. r.access)
      else
        list[#list + 1] = { type = r.type, major = r.major, minor = r.minor, access = in_order(r.access) }
      end
    else -- takes exceptions back
      for i = #list, 1, -1 do
        local e = list[i]
        if covers(r, e) then
          e.access = without(e.access, r.access)
          if e.access == "" then table.remove(list, i) end
        elseif meets(r, e) and e.access:find("[" .. r.access .. "]") then
          fail(r.key or "devices", ("cgroup v1 can't take %s out of %s"):format(device_text(r), device_text(e)))
        end
      end
    end
  end
  return { allowed = allowed, list = list }
end

-- For a new group, in which nobody is: a list of { file, value }.
function M.writes_v1(rules)
  local want = exceptions(rules)
  local first, rest = "devices.deny", "devices.allow"
  if want.allowed then first, rest = rest, first end
  local writes = { { first, "a" } }
  for _, e in ipairs(want.list) do writes[#writes + 1] = { rest, device_text(e) } end
  return writes
end

-- For a group in use, from what its devices.list holds: what is new is allowed, then what is gone denied, and
-- what stays is allowed at every moment. Returns a list of { file, value } | nil, message where that can't be.
function M.change_v1(current, rules)
  local want = exceptions(rules)
  local is_open = current:find("^a ") ~= nil
  if want.allowed and #want.list == 0 then return { { "devices.allow", "a" } } end
  if want.allowed then return nil, "cgroup v1 would allow all devices for a moment" end
  if is_open then return M.writes_v1(rules) end
  local have, writes, wanted = {}, {}, {}
  for line in current:gmatch("[^\n]+") do
    local device, access = line:match("^(%S+ %S+) (%S+)$")
    if device then have[device] = access end
  end
  for _, e in ipairs(want.list) do
    local device = device_text(e):match("^%S+ %S+")
    wanted[device] = e.access
    local more = have[device] and without(e.access, have[device]) or e.access
    if more ~= "" then writes[#writes + 1] = { "devices.allow", device .. " " .. more } end
  end
  local gone = {}
  for device, access in pairs(have) do
    local less = wanted[device] and without(access, wanted[device]) or access
    if less ~= "" then gone[#gone + 1] = device .. " " .. less end
  end
  table.sort(gone)
  for _, text in ipairs(gone) do writes[#writes + 1] = { "devices.deny", text } end
  return writes
end

-- The rules that a devices.list stands for, to be put back.
function M.of_list_v1(current)
  if current:find("^a ") then return { { allow = true, type = "a", major = "*", minor = "*", access = "rwm" } } end
  local rules = {}
  for line in current:gmatch("[^\n]+") do rules[#rules + 1] = M.parse("allow " .. line) end
  return rules
end

return M
