-- The documents of the OCI runtime specification: read, checked, written.
--
-- A decoded document is plain tables under the specification's own names; whole numbers beyond 2^53 are
-- decimal text, as the rest of caisson takes them.
local decode = require "caisson.oci.decode"
local words = require "caisson.words"

local M = {}

M.list, M.object = decode.list, decode.object

---A document from its text.
---@param text string
---@param what? string  what it is, for messages: its path
---@return table|nil document, string? message, integer? errno
function M.decode(text, what)
  local function fail(message)
    return nil, (what or "document") .. ": " .. message, require("caisson.core").errno.EINVAL
  end
  local t, message = decode.decode(text)
  if message then return fail(message) end
  if type(t) ~= "table" or #t > 0 or getmetatable(t) == M.list then return fail("an object expected at the top") end
  return t
end

---A document from a file: config.json of a bundle, or a process for exec.
---@param path string
---@return table|nil document, string? message, integer? errno
function M.read(path)
  local f, message, number = io.open(path, "rb")
  if not f then return nil, message, number end
  local parts, size, part = {}, 0
  repeat -- as much as is there, and no more than is allowed: decode() says so
    part, message, number = f:read(65536)
    parts[#parts + 1] = part
    size = size + #(part or "")
  until not part or size > decode.max_size
  f:close()
  if message then return nil, ("%s: %s"):format(path, message), number end
  return M.decode(table.concat(parts), path)
end

---The document as JSON, in the specification's order, as runc's `spec` writes it.
---@param config table
---@param indent? string  a tab, unless it is said
---@return string|nil text, string? message
function M.encode(config, indent)
  return require("caisson.oci.encode").encode(config, indent)
end

-- ---- the check ----

local kinds = { string = "string", integer = "a whole number", boolean = "true or false", list = "a list",
  map = "an object", object = "an object", foreign = "an object" }

local function kind_of(v)
  if type(v) == "table" then return (#v > 0 or getmetatable(v) == M.list) and "a list" or "an object" end
  if type(v) == "string" then return ("'%s'"):format(words.show(v)) end
  return tostring(v)
end

-- Decimal text without sign, as long or longer is greater.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

-- Compares whole numbers of which any may be decimal text.
local function below(a, b)
  if type(a) == "number" and type(b) == "number" then return a < b end
  a = type(a) == "number" and ("%.0f"):format(a) or a
  b = type(b) == "number" and ("%.0f"):format(b) or b
  local na, nb = a:sub(1, 1) == "-", b:sub(1, 1) == "-"
  if na ~= nb then return na end
  if na then return less(b:sub(2), a:sub(2)) end
  return less(a, b)
end

local C = {} -- a check in progress: fail, warn; by the kind of a node
local check

function C.foreign(v, node, name, c)
  if type(v) ~= "table" then return c.expected(v, node, name) end
  c.warn(name, "is of another platform, and not looked at")
end

function C.boolean(v, node, name, c)
  if type(v) ~= "boolean" then c.expected(v, node, name) end
end

function C.integer(v, node, name, c)
  local whole = type(v) == "number" and v % 1 == 0 or type(v) == "string" and v:find("^%-?%d+$") and #v > 15
  if not whole then return c.expected(v, node, name) end
  if below(v, node.min) or below(node.max, v) then
    c.fail(name, ("%s expected, got %s"):format(node.expected or ("a whole number from %s to %s"):format(
      tostring(node.min), tostring(node.max)), type(v) == "number" and ("%.0f"):format(v) or words.show(v)))
  end
end

function C.string(v, node, name, c, owner, key)
  if type(v) ~= "string" or decode.is_long(owner, key) then return c.expected(v, node, name) end
  if v:find("%z") then c.fail(name, "has a NUL in it") end
  if v == "" then
    if node.nonempty or node.words and not node.empty then c.fail(name, "may not be empty") end
    return
  end
  if node.words then
    for _, w in ipairs(node.words) do if w == v then return end end
    c.fail(name, words.unknown("unknown word", v, node.words))
  end
  if node.absolute and v:sub(1, 1) ~= "/" then
    c.fail(name, ("an absolute path expected, got '%s'"):format(words.show(v)))
  end
  if node.like and not v:find(node.like) then
    c.fail(name, ("%s expected, got '%s'"):format(node.expected, words.show(v)))
  end
  if node.longest and #v > node.longest then c.fail(name, ("longer than %d bytes"):format(node.longest)) end
  if node.variable and not v:find("^[^=]+=") then
    c.fail(name, ("NAME=VALUE expected, got '%s'"):format(words.show(v)))
  end
end

function C.list(v, node, name, c)
  if type(v) ~= "table" or getmetatable(v) == M.object then return c.expected(v, node, name) end
  local n = 0
  for k in pairs(v) do
    if type(k) ~= "number" then return c.expected(v, node, name) end
    n = n + 1
  end
  if n ~= #v then c.fail(name, "a list without holes expected") end
  if node.least and n < node.least then c.fail(name, "may not be empty") end
  local seen = node.unique and {}
  for i = 1, n do
    local at = ("%s[%d]"):format(name, i)
    check(v[i], node.of, at, c, v, i)
    if seen then
      local id = v[i][node.unique]
      if seen[id] then c.fail(at .. "." .. node.unique, ("'%s' stands twice"):format(words.show(id))) end
      seen[id] = true
    end
  end
end

-- The table's keys, in order, so that of two faults the same one is always told. Fails where it is a list.
local function keys_of(v, node, name, c)
  if type(v) ~= "table" or getmetatable(v) == M.list then return c.expected(v, node, name) end
  local keys = {}
  for k in pairs(v) do
    if type(k) ~= "string" then return c.expected(v, node, name) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  return keys
end

function C.map(v, node, name, c)
  for _, k in ipairs(keys_of(v, node, name, c)) do
    local at = name .. "." .. words.show(k)
    if k:find("%z") then c.fail(name, "a key has a NUL in it") end
    if node.key then require("caisson.oci.rules").keys[node.key](k, at, c.fail) end
    if node.keys then
      local known = false
      for _, w in ipairs(node.keys) do known = known or w == k end
      if not known then c.fail(name, words.unknown("unknown word", k, node.keys)) end
    end
    check(v[k], node.of, at, c, v, k)
  end
end

function C.object(v, node, name, c)
  if type(v) ~= "table" or getmetatable(v) == M.list then return c.expected(v, node, name) end
  local prefix, n = name == "" and "" or name .. ".", 0
  for _, row in ipairs(node.rows) do
    local k = row[1]
    if v[k] ~= nil then
      n = n + 1
      check(v[k], row[2], prefix .. k, c, v, k)
      if row[3] == "obsolete" then c.warn(prefix .. k, "is of before version 1.0, and not looked at") end
    elseif row[3] == "required" then
      c.fail(prefix .. k, "is required")
    end
  end
  local unknown
  for k in pairs(v) do
    if type(k) ~= "string" then return c.expected(v, node, name) end
    if not node.known[k] then
      unknown = unknown or {}
      unknown[#unknown + 1] = k
    end
  end
  if not unknown then return end
  table.sort(unknown)
  local known = {}
  for i, row in ipairs(node.rows) do known[i] = row[1] end
  for _, k in ipairs(unknown) do
    local near = words.nearest(k, known)
    c.warn(prefix .. words.show(k), "unknown property" .. (near and (" (did you mean '%s'?)"):format(near) or ""))
  end
end

function check(v, node, name, c, owner, key)
  C[node[1]](v, node, name, c, owner, key)
  if node.check then require("caisson.oci.rules")[node.check](v, name, c.fail, c.warn) end
end

local function run(config, node, name)
  local warnings = {}
  local c = {}
  -- what the document says is shown to people, whose terminals are not its to drive
  local function plain(text)
    return (text:gsub("%c", function(b) return ("\\x%02x"):format(b:byte()) end))
  end
  function c.fail(at, message) error({ oci = plain(at .. ": " .. message) }, 0) end
  function c.warn(at, message) warnings[#warnings + 1] = plain(at .. ": " .. message) end
  function c.expected(v, n, at)
    c.fail(at == "" and "document" or at, ("%s expected, got %s"):format(n.expected or kinds[n[1]], kind_of(v)))
  end
  local ok, e = pcall(check, config, node, name, c)
  if ok then return true, nil, warnings end
  if type(e) == "table" and e.oci then return nil, e.oci, warnings end
  error(e, 0)
end

---Is it a configuration as versions 1.0 to 1.3 of the specification have it? The message names the field as
---`linux.resources.memory.limit`. Unknown properties, and what the specification wants no error for, are warnings.
---@param config table  as decoded, or made
---@return true|nil ok, string|nil message, string[] warnings
function M.check(config)
  return run(config, require("caisson.oci.schema").config, "")
end

---The same of a process, as exec takes it.
---@param process table
---@return true|nil ok, string|nil message, string[] warnings
function M.check_process(process)
  return run(process, require("caisson.oci.schema").process, "process")
end

---The same of linux.resources, as update takes it.
---@param resources table
---@return true|nil ok, string|nil message, string[] warnings
function M.check_resources(resources)
  return run(resources, require("caisson.oci.schema").resources, "resources")
end

return M
