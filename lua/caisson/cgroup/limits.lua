-- The `cgroup` table of a recipe, checked, and each of its limits as what is written to which file.
local devices = require "caisson.cgroup.devices"
local files = require "caisson.cgroup.files"
local u64 = require "caisson.u64"
local words = require "caisson.words"

local M = {}

local function fail(key, message)
  error({ key = key, message = message }, 0)
end

local function decimal(n)
  return ("%.0f"):format(n)
end

-- How often 1024 is in it.
local units = { k = 1, m = 2, g = 3, t = 4, p = 5 }
local exact, two32 = 2 ^ 53, 2 ^ 32

local function u64_text(v)
  local n = u64.decimal(v)
  return type(n) == "number" and decimal(n) or n
end

-- Sum of two decimal texts, or nil where it is more than 64 bits hold.
local function sum(a, b)
  local x, y = u64.parse(a), u64.parse(b)
  local low = x[2] + y[2]
  local high = x[1] + y[1] + math.floor(low / two32)
  return high < two32 and u64_text { high, low % two32 } or nil
end

-- n (decimal text) times 1024, so often; nil where it is more than 64 bits hold.
local function shifted(n, times)
  local v = u64.parse(n)
  for _ = 1, v and times or 0 do
    local low = v[2] * 1024
    v = { v[1] * 1024 + math.floor(low / two32), low % two32 }
    if v[1] >= two32 then return nil end
  end
  return v and u64_text(v)
end

-- Each kind: what the option may be, as the text that is written. fail() names the option.
local kinds = {}

function kinds.count(key, v)
  if type(v) == "number" and v >= 0 and v <= exact and v % 1 == 0 then return decimal(v) end
  if type(v) == "string" and v:find("^%d+$") and u64.parse(v) then return v end
  fail(key, "a whole number from 0 expected (above 2^53 as text, to 2^64-1), got " .. words.show(v))
end

-- v1's realtime budget: -1 lifts it.
function kinds.count_or_off(key, v)
  if v == "max" or v == -1 then return "-1" end
  return kinds.count(key, v)
end

function kinds.count_or_max(key, v)
  if v == "max" then return v end
  return kinds.count(key, v)
end

-- Bytes: a number, a decimal string, or one with K, M, G, T or P (powers of 1024).
function kinds.size(key, v, version)
  if v == "max" then return version == 1 and "-1" or "max" end
  if type(v) == "string" and not v:find("^%d+$") then
    local n, unit = v:lower():match("^(%d+%.?%d*)([kmgtp])i?b?$")
    if not n then fail(key, "a size such as 64M, or max, expected, got '" .. v .. "'") end
    if n:find(".", 1, true) then
      v = math.floor(tonumber(n) * 1024 ^ units[unit])
    else
      v = shifted(n, units[unit]) or fail(key, "a size below 2^64 bytes expected, got '" .. v .. "'")
    end
  end
  return kinds.count(key, v)
end

-- v1 counts memory and swap together.
function kinds.swap(key, v, version, all)
  if version == 2 or v == "max" then return kinds.size(key, v, version) end
  if all.max == nil or all.max == "max" then
    fail(key, "cgroup v1 limits memory and swap together: memory.max is needed too")
  end
  return sum(kinds.size(key, v, 1), kinds.size("memory.max", all.max, 1))
    or fail(key, "memory and swap together are more than 2^64 bytes")
end

function kinds.boolean(key, v)
  if type(v) ~= "boolean" then fail(key, "true or false expected, got " .. words.show(v)) end
  return v and "1" or "0"
end

function kinds.percent(key, v)
  if type(v) == "number" and v >= 0 and v <= 100 then return ("%.2f"):format(v) end
  if v == "max" then return v end
  fail(key, "a percentage from 0 to 100, or max, expected, got " .. words.show(v))
end

local function in_range(key, v, least, most)
  if type(v) == "string" then v = tonumber(v) end
  if type(v) ~= "number" or v % 1 ~= 0 or v < least or v > most then
    fail(key, ("a whole number from %d to %d expected, got %s"):format(least, most, tostring(v)))
  end
  return v
end

-- 100 is the default of v2, 1024 that of v1.
function kinds.weight(key, v, version)
  v = in_range(key, v, 1, 10000)
  return decimal(version == 2 and v or math.max(2, math.floor(v * 1024 / 100)))
end

-- The shares of v1, 2 to 262144. On v2 the weight with the same ratio to its default.
function kinds.shares(key, v, version)
  v = in_range(key, v, 2, 262144)
  return decimal(version == 1 and v or math.max(1, math.min(10000, math.floor(v * 100 / 1024 + 0.5))))
end

function kinds.partition(key, v)
  if v == "member" or v == "root" or v == "isolated" then return v end
  fail(key, "'member', 'root' or 'isolated' expected, got " .. words.show(v))
end

-- "0-3,5": spaces and empty elements are allowed, a reversed range and an empty set are not.
function kinds.cpulist(key, v)
  if type(v) == "number" then v = decimal(in_range(key, v, 0, 65535)) end
  if type(v) ~= "string" then fail(key, "a list such as '0-3,5' expected, got " .. type(v)) end
  local parts = {}
  for item in v:gmatch("[^,]+") do
    item = item:match("^%s*(.-)%s*$")
    if item ~= "" then
      local from, to = item:match("^(%d+)%-(%d+)$")
      from = from or item:match("^%d+$")
      if not from then fail(key, ("'%s' is no number and no range of numbers"):format(item)) end
      if tonumber(to or from) > 65535 then fail(key, ("%s: the largest number is 65535"):format(item)) end
      if to and tonumber(to) < tonumber(from) then fail(key, ("the range %s is reversed"):format(item)) end
      parts[#parts + 1] = item
    end
  end
  if #parts == 0 then fail(key, "the list is empty") end
  return table.concat(parts, ",")
end

-- "50000 100000" (microseconds in every period of so many), { quota =, period = }, a number of CPUs, or max.
function kinds.quota(key, v, version, _, row)
  local quota, period = nil, "100000"
  if type(v) == "number" then
    if v < 0.01 or v > 65536 then fail(key, "a number of CPUs from 0.01 expected, got " .. words.show(v)) end
    quota = decimal(math.floor(v * 100000 + 0.5))
  elseif type(v) == "string" then
    local q, p = v:match("^(%w+)%s*(%d*)$")
    quota, period = q, p ~= "" and p or period
  elseif type(v) == "table" then
    for k in pairs(v) do
      if k ~= "quota" and k ~= "period" then
        fail(key, words.unknown("unknown option", tostring(k), { "quota", "period" }))
      end
    end
    quota = v.quota == nil and "max" or kinds.count_or_max(key .. ".quota", v.quota)
    period = v.period and kinds.count(key .. ".period", v.period) or period
  end
  if not quota or not (quota == "max" or quota:find("^%d+$")) then
    fail(key, "'50000 100000', { quota =, period = }, a number of CPUs, or max expected, got " .. words.show(v))
  end
  if quota ~= "max" and tonumber(quota) < 1000 then
    fail(key, "the kernel takes a quota from 1000 microseconds, not " .. quota)
  end
  if tonumber(period) < 1000 or tonumber(period) > 1000000 then
    fail(key, "the kernel takes a period of 1000 to 1000000 microseconds, not " .. period)
  end
  if version == 2 then return quota .. " " .. period end
  return { { row.v1.period, period }, { row.v1.quota, quota == "max" and "-1" or quota } }
end

local function device(key, v)
  local s = type(v) == "table" and v.device or nil
  if type(s) ~= "string" or not s:find("^%d+:%d+$") then
    fail(key, "option 'device': major:minor, such as '8:0', expected")
  end
  return s
end

-- default: is a device called so, for all others?
local function each_device(key, v, known, default)
  if type(v) ~= "table" then fail(key, "a list of { device = 'major:minor', … } expected, got " .. type(v)) end
  if v.device then v = { v } end
  for i, item in ipairs(v) do
    if not (default and type(item) == "table" and item.device == "default") then device(key .. "[" .. i .. "]", item) end
    for k in pairs(item) do
      local found = k == "device"
      for _, name in ipairs(known) do found = found or name == k end
      if not found then fail(key, words.unknown("unknown option", tostring(k), known)) end
    end
  end
  return v
end

function kinds.io_weight(key, v, version, _, row)
  local most = (version == 1 or row[1] == "bfq_weight") and 1000 or 10000
  if type(v) ~= "table" then
    v = decimal(in_range(key, v, 1, most))
    return version == 2 and "default " .. v or v
  end
  local list = {}
  for i, item in ipairs(each_device(key, v, { "weight" }, true)) do
    local weight = decimal(in_range(key, item.weight, 1, most))
    local file = version == 2 and row.v2 or row.v1 .. "_device"
    if version == 1 and item.device == "default" then
      list[i] = { row.v1, weight }
    else
      list[i] = { file, item.device .. " " .. weight }
    end
  end
  return list
end

local directions = { "rbps", "wbps", "riops", "wiops" }

function kinds.io_max(key, v, version, _, row)
  local list = {}
  for _, item in ipairs(each_device(key, v, directions)) do
    local line = item.device
    for _, k in ipairs(directions) do
      if item[k] ~= nil then
        local n = kinds.size(key .. "." .. k, item[k], 2)
        line = line .. " " .. k .. "=" .. n
        -- v1: 0 lifts the limit
        if version == 1 then list[#list + 1] = { row.v1[k], item.device .. " " .. (n == "max" and "0" or n) } end
      end
    end
    if line == item.device then fail(key, "no limit for device " .. line) end
    if version == 2 then list[#list + 1] = { row.v2, line } end
  end
  return list
end

function kinds.io_latency(key, v, _, _, row)
  local list = {}
  for i, item in ipairs(each_device(key, v, { "target" })) do
    list[i] = { row.v2, item.device .. " target=" .. kinds.count(key .. ".target", item.target) }
  end
  return list
end

function kinds.rdma(key, v, version, _, row, option)
  if type(v) ~= "table" then fail(key, "{ hca_handle =, hca_object = } expected, got " .. type(v)) end
  local line = option
  for k in pairs(v) do
    if k ~= "hca_handle" and k ~= "hca_object" then
      fail(key, words.unknown("unknown option", tostring(k), { "hca_handle", "hca_object" }))
    end
  end
  for _, k in ipairs { "hca_handle", "hca_object" } do
    if v[k] ~= nil then line = line .. " " .. k .. "=" .. kinds.count_or_max(key .. "." .. k, v[k]) end
  end
  return { { row["v" .. version], line } }
end

-- For pages in use, and for those that mmap reserves: without the second a program gets SIGBUS where it could
-- have been told ENOMEM. A number is both.
function kinds.hugetlb(key, v, version, _, row, option)
  local limits = v
  if type(v) ~= "table" then limits = { max = v, rsvd = v } end
  for k in pairs(limits) do
    if k ~= "max" and k ~= "rsvd" then fail(key, words.unknown("unknown option", tostring(k), { "max", "rsvd" })) end
  end
  local list = {}
  for _, k in ipairs { "max", "rsvd" } do
    if limits[k] ~= nil then
      list[#list + 1] = { (row["v" .. version][k]:gsub("%%s", option)),
        kinds.size(type(v) == "table" and key .. "." .. k or key, limits[k], version) }
    end
  end
  return list
end

function kinds.misc(key, v, version, _, row, option)
  return { { row["v" .. version], option .. " " .. kinds.count_or_max(key, v) } }
end

function kinds.net_prio(key, v, _, _, row, option)
  return { { row.v1, option .. " " .. kinds.count(key, v) } }
end

-- ---- the table ----

local own_keys = { "path", "accounting", "unified", "own_leaf", "existing", "devices", "every", "optional",
  "driver", "slice", "scope", "properties" }
local accounting = { "cpu", "memory", "pids", "io", "freeze" }

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
  return list
end

local function check_word(key, what, word, known)
  for _, k in ipairs(known) do if k == word then return end end
  fail(key, words.unknown(what, tostring(word), known))
end

-- A path of groups: names only, so that nothing above or beside it is meant.
function M.check_path(path)
  if type(path) ~= "string" then fail("path", "string expected, got " .. type(path)) end
  if path:find("%z") or path:find("\n", 1, true) then fail("path", "a path without NUL and newline expected") end
  if path == "" or path == "/" then fail("path", "the name of a group expected, got '" .. path .. "'") end
  for name in (path:gsub("^/", "") .. "/"):gmatch("([^/]*)/") do
    if name == "" or name == "." or name == ".." then
      fail("path", ("'%s': empty names, '.' and '..' are not allowed"):format(path))
    end
    if #name > 200 then fail("path", "a name of more than 200 bytes") end
    if name:find("^cgroup%.") or name == "tasks" then
      fail("path", ("'%s' is the name of a file that every group has"):format(name))
    end
  end
end

-- What moves processes or opens the tree to others is no limit.
local not_unified = { "cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control" }

local function check_unified(t)
  if type(t) ~= "table" then fail("unified", "{ [\"memory.max\"] = \"64M\" } expected, got " .. type(t)) end
  for _, file in ipairs(sorted(t)) do
    if type(file) ~= "string" or not file:find("^[%w_]+%.[%w_.%-]+$") then
      fail("unified", ("'%s' is not the name of a cgroup file"):format(tostring(file)))
    end
    for _, no in ipairs(not_unified) do
      if file == no then fail("unified", ("'%s' is not a limit"):format(file)) end
    end
    local v = t[file]
    if type(v) == "number" then v = decimal(v) end
    if type(v) ~= "string" or v == "" or v:find("%z") then
      fail("unified." .. file, "a string expected, got " .. type(v))
    end
  end
end

-- Check the whole table; raises { key =, message = }. Returns the controllers that it limits, by name.
function M.check(t)
  if type(t) ~= "table" then fail("", "a table expected, got " .. type(t)) end
  local controllers, known = {}, {}
  for k in pairs(files.limits) do known[#known + 1] = k end
  for _, k in ipairs(own_keys) do known[#known + 1] = k end
  table.sort(known)
  for k in pairs(t) do check_word("", "unknown option", k, known) end
  if t.path ~= nil then M.check_path(t.path) end
  if t.driver ~= nil then check_word("driver", "unknown driver", t.driver, { "cgroupfs", "systemd" }) end
  for _, k in ipairs { "slice", "scope", "properties" } do
    if t[k] ~= nil and t.driver ~= "systemd" then fail(k, "it is of systemd's (driver = 'systemd')") end
  end
  for _, k in ipairs { "own_leaf", "existing", "every", "optional" } do
    if t[k] ~= nil and not (k == "existing" and t[k] == "empty") then kinds.boolean(k, t[k]) end
  end
  if t.accounting ~= nil then
    if type(t.accounting) ~= "table" then fail("accounting", "a list of words expected, got " .. type(t.accounting)) end
    for _, word in ipairs(t.accounting) do check_word("accounting", "unknown word", word, accounting) end
  end
  if t.unified ~= nil then check_unified(t.unified) end
  if t.devices ~= nil then devices.check(t.devices) end
  for name, rows in pairs(files.limits) do
    local limits = t[name]
    if limits ~= nil then
      if type(limits) ~= "table" then fail(name, "a table expected, got " .. type(limits)) end
      local options = { "optional", name == "memory" and "check_before_update" or nil }
      for _, row in ipairs(rows) do options[#options + 1] = row[1] end
      local any = false
      for k, v in pairs(limits) do
        any = any or k ~= "optional" and k ~= "check_before_update"
        if k == "optional" or k == "check_before_update" and name == "memory" then
          kinds.boolean(name .. "." .. k, v)
        elseif not rows.any then
          check_word(name, "unknown option", k, options)
        elseif type(k) ~= "string" or not k:find("^[%w_.%-]+$") then
          fail(name, ("'%s': a name expected"):format(tostring(k)))
        end
      end
      if limits.weight ~= nil and limits.shares ~= nil then
        fail(name, "weight and shares are two words for one limit")
      end
      M.writes(name, limits) -- every value is right or wrong whatever this machine has
      if any then controllers[#controllers + 1] = name end
    end
  end
  table.sort(controllers)
  return controllers
end

-- What to write for the limits of one controller: a list of { file, value, option =}. An option that this
-- version does not have comes without file. No version: each option in the one that has it, v2 first.
function M.writes(name, limits, version)
  local rows, list = files.limits[name], {}
  local function add(option, row)
    local as = version or (row.v2 and 2 or 1)
    local file = row["v" .. as]
    if not file then
      list[#list + 1] = { option = option }
      return
    end
    local kind = rows.any and row[1] or row[2]
    local written = kinds[kind](name .. "." .. option, limits[option], as, limits, row, option)
    if type(written) ~= "table" then written = { { (file:gsub("%%s", option)), written } } end
    local verify = row.verify and limits[option] ~= "max" or nil
    for _, w in ipairs(written) do list[#list + 1] = { w[1], w[2], option = option, verify = verify } end
  end
  if rows.any then
    for _, option in ipairs(sorted(limits)) do
      if option ~= "optional" then add(option, rows.any) end
    end
  else
    for _, row in ipairs(rows) do
      if limits[row[1]] ~= nil then add(row[1], row) end
    end
  end
  return list
end

return M
