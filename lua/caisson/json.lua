-- JSON as plans need it: keys in a fixed order, bytes kept. It is written by core; reading is lua-cjson's.
local core = require "caisson.core"

local M = {}

local floor = math.floor
local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

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
  return table.concat(out)
end

-- Is it UTF-8?
M.is_utf8 = core.json.is_utf8

-- Bytes, whatever they are: {"base64":"..."}.
M.bytes = core.json.bytes

-- A string; one that is no UTF-8 as bytes.
M.string = core.json.text

-- A string, number, boolean, or list of such, in one line.
M.value = core.json.text

-- Any tables, with sorted keys, an item a line. An empty table is a list; what JSON can't hold is left out.
-- depth: of the line that it begins on.
function M.document(v, depth) return core.json.text(v, depth or 0) end

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
