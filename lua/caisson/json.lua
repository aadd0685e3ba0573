-- JSON as plans need it: keys in a fixed order, bytes kept. Reading is lua-cjson's.
local M = {}

local concat, floor, byte = table.concat, math.floor, string.byte

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }
for i = 0, 127 do
  local c = string.char(i)
  if c:find("[%c\127]") and not escapes[c] then escapes[c] = ("\\u%04x"):format(i) end
end
local tail = "[\128-\191]"

-- Is it UTF-8?
function M.is_utf8(s)
  if not s:find("[\128-\255]") then return true end
  local i = 1
  while i <= #s do
    local c = s:byte(i)
    local n = c < 0x80 and 0 or c >= 0xC2 and c < 0xE0 and 1 or c >= 0xE0 and c < 0xF0 and 2
      or c >= 0xF0 and c < 0xF5 and 3
    if not n or not s:sub(i + 1, i + n):find("^" .. tail:rep(n) .. "$") then return false end
    i = i + n + 1
  end
  return true
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- The two digits of 12 bits.
local pairs_of = setmetatable({}, { __index = function(t, n)
  local high = floor(n / 64)
  local text = digits:sub(high + 1, high + 1) .. digits:sub(n % 64 + 1, n % 64 + 1)
  t[n] = text
  return text
end })

local function base64(s)
  local out, size = {}, #s
  for i = 1, size, 3 do
    local a, b, c = byte(s, i, i + 2)
    b, c = b or 0, c or 0
    local middle = floor(b / 16)
    out[#out + 1] = pairs_of[a * 16 + middle]
    out[#out + 1] = pairs_of[(b - middle * 16) * 256 + c]
  end
  local filler = -size % 3
  local text = concat(out)
  return filler == 0 and text or text:sub(1, #text - filler) .. ("="):rep(filler)
end

local value_of = {}
for i = 1, #digits do value_of[digits:sub(i, i)] = i - 1 end

local function unbase64(s)
  local out, n, bits = {}, 0, 0
  for c in s:gmatch("[%w+/]") do
    n = n * 64 + value_of[c]
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      local whole = floor(n / 2 ^ bits)
      out[#out + 1] = string.char(whole)
      n = n - whole * 2 ^ bits
    end
  end
  return concat(out)
end

-- Bytes, whatever they are: {"base64":"..."}.
function M.bytes(s)
  return '{"base64":"' .. base64(s) .. '"}'
end

-- A string; one that is no UTF-8 as bytes.
function M.string(s)
  if not s:find('[^ !#-%[%]-~]') then return '"' .. s .. '"' end -- most are like that
  if not M.is_utf8(s) then return M.bytes(s) end
  return '"' .. s:gsub('[%c"\\\127]', escapes) .. '"'
end

-- A string, whole number, boolean, or list of such.
function M.value(v)
  if type(v) == "string" then return M.string(v) end
  if type(v) == "number" then return ("%.0f"):format(v) end
  if type(v) == "boolean" then return tostring(v) end
  local items = {}
  for i, item in ipairs(v) do items[i] = M.value(item) end
  return "[" .. concat(items, ",") .. "]"
end

local function number(v)
  if v % 1 == 0 and math.abs(v) < 2 ^ 53 then return ("%.0f"):format(v) end
  if v ~= v or math.abs(v) == math.huge then return "null" end
  return ("%.17g"):format(v)
end

-- Any tables, with sorted keys, indented. An empty table is a list; what JSON can't hold is left out.
function M.document(v, indent)
  indent = indent or ""
  if type(v) == "string" then return M.string(v) end
  if type(v) == "number" then return number(v) end
  if type(v) ~= "table" then return tostring(v) end
  local inner, items, keys = indent .. "  ", {}, {}
  for k, item in pairs(v) do
    if type(k) == "string" and type(item) ~= "function" and type(item) ~= "userdata" then keys[#keys + 1] = k end
  end
  if #keys == 0 then
    for i, item in ipairs(v) do items[i] = inner .. M.document(item, inner) end
    return #items == 0 and "[]" or "[\n" .. concat(items, ",\n") .. "\n" .. indent .. "]"
  end
  table.sort(keys)
  for i, k in ipairs(keys) do items[i] = inner .. M.string(k) .. ": " .. M.document(v[k], inner) end
  return "{\n" .. concat(items, ",\n") .. "\n" .. indent .. "}"
end

-- Where numbers are integers or floats, cjson reads all as floats, and a process id would be "17.0".
local whole = rawget(math, "tointeger") or function(v) return v end

local function plain(v)
  if type(v) == "number" then return whole(v) or v end
  if type(v) ~= "table" then return v end
  if type(v.base64) == "string" then return unbase64(v.base64) end
  local t = {}
  for k, item in pairs(v) do t[k] = plain(item) end
  return t
end

-- Text into Lua values, bytes restored; nil, message where it is not JSON.
function M.decode(text)
  local doc, message = require("cjson.safe").decode(text)
  if doc == nil then return nil, message end
  return plain(doc)
end

return M
