-- JSON from outside, read strictly: whole numbers keep their exact value, a key stands once, nothing follows
-- the value, and what went wrong is said with its line. (lua-cjson has doubles alone, and keeps the last of
-- two equal keys.)
local json = require "caisson.json"

local M = {}

local byte, find, sub, char, floor = string.byte, string.find, string.sub, string.char, math.floor
local whole = rawget(math, "tointeger") or function(v) return v end

-- What is read at most, and how deep lists and objects may stand in each other.
M.max_size, M.max_depth = 16 * 1024 * 1024, 64

-- Metatables of what is empty, since Lua knows no difference.
M.list, M.object = { __name = "list" }, { __name = "object" }

-- Which values of a table were numbers that only text could hold: longs[t][key].
local longs = setmetatable({}, { __mode = "k" })

---Was this text a number beyond 2^53 in the document?
function M.is_long(t, key)
  return longs[t] ~= nil and longs[t][key] == true
end

local text -- being read

local function fail(pos, message)
  local line, start = 1, 1
  while true do
    local i = find(text, "\n", start, true)
    if not i or i >= pos then break end
    line, start = line + 1, i + 1
  end
  error({ json = ("line %d, column %d: %s"):format(line, pos - start + 1, message) }, 0)
end

-- What stands there, as a message shows it.
local function found(pos)
  local c = sub(text, pos, pos)
  if c == "" then return "the end of the text" end
  return c:find("[%c]") and ("byte 0x%02x"):format(c:byte()) or "'" .. (c:find("[\128-\255]") and "..." or c) .. "'"
end

local function utf8(n)
  if n < 0x80 then return char(n) end
  if n < 0x800 then return char(0xC0 + floor(n / 64), 0x80 + n % 64) end
  if n < 0x10000 then return char(0xE0 + floor(n / 4096), 0x80 + floor(n / 64) % 64, 0x80 + n % 64) end
  return char(0xF0 + floor(n / 262144), 0x80 + floor(n / 4096) % 64, 0x80 + floor(n / 64) % 64, 0x80 + n % 64)
end

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- A string with something in it that is no plain byte: from its first byte on. Returns it and what follows.
local function long_string(pos)
  local parts, start = {}, pos
  while true do
    local i = find(text, '["\\%c]', pos)
    if not i then fail(start - 1, "the string has no end") end
    local c = byte(text, i)
    parts[#parts + 1] = sub(text, pos, i - 1)
    if c == 34 then return table.concat(parts), i + 1 end
    if c == 127 then
      parts[#parts + 1], pos = "\127", i + 1
    elseif c ~= 92 then
      fail(i, ("a string has byte 0x%02x as it is: it is written \\u%04x"):format(c, c))
    else
      local e = sub(text, i + 1, i + 1)
      if escapes[e] then
        parts[#parts + 1], pos = escapes[e], i + 2
      else
        local hex = e == "u" and text:match("^%x%x%x%x", i + 2) or fail(i, "no such escape in a string")
        local n = tonumber(hex, 16)
        pos = i + 6
        if n >= 0xD800 and n < 0xDC00 then
          local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", pos) or fail(i, "half of a surrogate pair"), 16)
          n, pos = 0x10000 + (n - 0xD800) * 1024 + low - 0xDC00, pos + 6
        elseif n >= 0xDC00 and n < 0xE000 then
          fail(i, "half of a surrogate pair")
        elseif n == 0 then
          fail(i, "a NUL in a string")
        end
        parts[#parts + 1] = utf8(n)
      end
    end
  end
end

local exact = "9007199254740992"

-- A number, and what follows it; true as the third where it is text.
local function number(pos)
  local _, last, digits = find(text, "^%-?(%d+)", pos)
  if not last then fail(pos, "a value expected, found " .. found(pos)) end
  if #digits > 1 and byte(digits) == 48 then fail(pos, "a number has no zeros before it") end
  local c = byte(text, last + 1)
  if c == 46 or c == 101 or c == 69 then
    local _, stop = find(text, "^%.%d+", last + 1)
    stop = stop or c ~= 46 and last or fail(last + 1, "digits expected after the point")
    local _, exponent = find(text, "^[eE][+-]?%d+", stop + 1)
    if not exponent and find(text, "^[eE]", stop + 1) then fail(stop + 1, "digits expected in the exponent") end
    local v = tonumber(sub(text, pos, exponent or stop))
    if v ~= v or v == math.huge or v == -math.huge then fail(pos, "a number out of range") end
    return v == floor(v) and whole(v) or v, (exponent or stop) + 1
  end
  local s = sub(text, pos, last)
  if #digits < 16 or #digits == 16 and digits <= exact then return tonumber(s), last + 1 end
  if #digits > 64 then fail(pos, "a number out of range") end
  return s, last + 1, true
end

-- The next byte that is no blank, from pos on.
local function skip(pos)
  return find(text, "[^ \n\r\t]", pos) or #text + 1
end

-- Each of these gets the place of a value's first byte, or of what follows its bracket; and returns the value, the
-- place of what comes next, and whether it is a number as text.
local value

local function note(t, key)
  longs[t] = longs[t] or {}
  longs[t][key] = true
end

local function list(pos, depth)
  local t, n = {}, 0
  if byte(text, pos) == 93 then return setmetatable(t, M.list), skip(pos + 1) end
  while true do
    local start = pos
    local v, is_text
    v, pos, is_text = value(pos, depth)
    if v == nil then fail(start, "null in a list") end
    n = n + 1
    t[n] = v
    if is_text then note(t, n) end
    local c = byte(text, pos)
    if c == 93 then return t, skip(pos + 1) end
    if c ~= 44 then fail(pos, "',' or ']' expected, found " .. found(pos)) end
    pos = skip(pos + 1)
  end
end

-- The key that stands there, and the place of its value.
local function long_key(pos)
  if byte(text, pos) ~= 34 then fail(pos, "a key expected, found " .. found(pos)) end
  local key
  key, pos = long_string(pos + 1)
  pos = skip(pos)
  if byte(text, pos) ~= 58 then fail(pos, "':' expected, found " .. found(pos)) end
  return key, skip(pos + 1)
end

local function object(pos, depth)
  local t, seen = {}, nil
  if byte(text, pos) == 125 then return setmetatable(t, M.object), skip(pos + 1) end
  while true do
    local start = pos
    local v, is_text
    local _, last, key = find(text, '^"([^"\\%c]*)"[ \n\r\t]*:[ \n\r\t]*', pos)
    if last then pos = last + 1 else key, pos = long_key(pos) end
    if t[key] ~= nil or seen and seen[key] then
      fail(start, ("the key %s stands twice"):format(json.string(key:sub(1, 80))))
    end
    v, pos, is_text = value(pos, depth)
    t[key] = v
    if v == nil then -- as if it were not there
      seen = seen or {}
      seen[key] = true
    elseif is_text then
      note(t, key)
    end
    local c = byte(text, pos)
    if c == 125 then return next(t) == nil and setmetatable(t, M.object) or t, skip(pos + 1) end
    if c ~= 44 then fail(pos, "',' or '}' expected, found " .. found(pos)) end
    pos = skip(pos + 1)
  end
end

local constants = { [116] = { "true", true }, [102] = { "false", false }, [110] = { "null", nil } }

function value(pos, depth)
  local c = byte(text, pos)
  if c == 34 then
    local _, last, s = find(text, '^([^"\\%c]*)"[ \n\r\t]*', pos + 1)
    if last then return s, last + 1 end
    s, pos = long_string(pos + 1)
    return s, skip(pos)
  elseif c == 123 or c == 91 then
    if depth >= M.max_depth then fail(pos, ("lists and objects stand more than %d deep"):format(M.max_depth)) end
    return (c == 123 and object or list)(skip(pos + 1), depth + 1)
  end
  local k = constants[c]
  if k and sub(text, pos, pos + #k[1] - 1) == k[1] then return k[2], skip(pos + #k[1]) end
  local v, after, is_text = number(pos)
  return v, skip(after), is_text
end

---The value of JSON text. A number beyond 2^53 is decimal text; null in an object is left out.
---@param s string
---@return table|string|number|boolean|nil value, string? message
function M.decode(s)
  if #s > M.max_size then return nil, ("longer than %d bytes"):format(M.max_size) end
  if s:find("^\239\187\191") then return nil, "begins with a byte order mark, which JSON does not have" end
  if s:find("^\254\255") or s:find("^\255\254") then return nil, "is no UTF-8" end
  if s:find("%z") then return nil, "has a NUL in it" end
  if not json.is_utf8(s) then return nil, "is no UTF-8" end
  text = s
  local ok, v = pcall(function()
    local pos = find(s, "[^ \n\r\t]") or fail(1, "no value: the text is empty")
    local v, after = value(pos, 0)
    if after <= #s then fail(after, "the value has ended, but then stands " .. found(after)) end
    return v
  end)
  text = nil
  if ok then return v end
  if type(v) == "table" and v.json then return nil, v.json end
  error(v, 0)
end

return M
