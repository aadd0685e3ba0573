-- 64-bit unsigned values as two halves of 32 bits, for Luas whose numbers are doubles. Outside of this
-- module they travel as text: "0x1f".
local M = {}

local floor = math.floor
local two32 = 4294967296

local band, bor
local ok, bit = pcall(require, "bit")
if not ok then bit = rawget(_G, "bit32") end
if bit then
  function band(a, b) return bit.band(a, b) % two32 end
  function bor(a, b) return bit.bor(a, b) % two32 end
elseif rawget(math, "type") then
  -- operators that a 5.1 parser does not know
  local compile = load
  band = compile("return function(a, b) return floor_(a) & floor_(b) end", "band", "t", { floor_ = floor })()
  bor = compile("return function(a, b) return floor_(a) | floor_(b) end", "bor", "t", { floor_ = floor })()
else
  function band(a, b)
    local r, p = 0, 1
    while a > 0 and b > 0 do
      if a % 2 == 1 and b % 2 == 1 then r = r + p end
      a, b, p = floor(a / 2), floor(b / 2), p * 2
    end
    return r
  end
  function bor(a, b) return a + b - band(a, b) end
end

-- 32-bit operations.
M.band32, M.bor32 = band, bor
function M.bnot32(a) return two32 - 1 - a end

-- From a number (whole, to 2^53), decimal text or hexadecimal text: { high, low }, or nil.
function M.parse(v)
  if type(v) == "number" then
    if v < 0 or v > 2 ^ 53 or v ~= floor(v) then return nil end
    return { floor(v / two32), floor(v % two32) }
  elseif type(v) ~= "string" then
    return nil
  end
  local digits = v:match("^0x(%x+)$")
  if digits then
    if #digits > 16 then return nil end
    digits = ("0"):rep(16 - #digits) .. digits
    return { tonumber(digits:sub(1, 8), 16), tonumber(digits:sub(9), 16) }
  end
  if not v:match("^%d+$") or #v > 20 then return nil end
  local high, low = 0, 0
  for d in v:gmatch("%d") do
    low = low * 10 + tonumber(d)
    high = high * 10 + floor(low / two32)
    low = low % two32
    if high >= two32 then return nil end
  end
  return { floor(high), floor(low) }
end

function M.text(v)
  if v[1] == 0 then return ("0x%x"):format(v[2]) end
  return ("0x%x%08x"):format(v[1], v[2])
end

-- The same in decimal: a number where it is exact (to 2^53), else text.
function M.decimal(v)
  if v[1] < 2097152 then return v[1] * two32 + v[2] end
  local high, low, out = v[1], v[2], {}
  while high > 0 or low > 0 do
    local rest = high % 10 * two32 + low
    high = floor(high / 10)
    low = floor(rest / 10)
    table.insert(out, 1, ("%d"):format(rest % 10))
  end
  return table.concat(out)
end

function M.band(a, b) return { band(a[1], b[1]), band(a[2], b[2]) } end
function M.bor(a, b) return { bor(a[1], b[1]), bor(a[2], b[2]) } end
function M.bnot(a) return { two32 - 1 - a[1], two32 - 1 - a[2] } end
function M.eq(a, b) return a[1] == b[1] and a[2] == b[2] end
function M.lt(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end

-- The bits of a value, from the highest: a list of values with one bit each.
function M.bits(a)
  local list = {}
  for half = 1, 2 do
    local p = 2147483648
    while p >= 1 do
      if band(a[half], p) ~= 0 then list[#list + 1] = half == 1 and { p, 0 } or { 0, p } end
      p = floor(p / 2)
    end
  end
  return list
end

return M
