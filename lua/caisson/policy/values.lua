-- Arguments of system calls as people write them: numbers, text, names of constants; and conditions on them as text.
local decode = require "caisson.trace.decode"
local signature = require "caisson.trace.signatures"
local u64 = require "caisson.u64"
local words = require "caisson.words"

local M = {}

local constants

-- Every constant that has a name, as { high, low }; SIGTERM as well as TERM's number of kill.
local function all()
  if constants then return constants end
  local known = require "caisson.trace.constants"
  constants = { NULL = { 0, 0 }, O_RDONLY = { 0, 0 }, O_WRONLY = { 0, 1 }, O_RDWR = { 0, 2 }, PROT_NONE = { 0, 0 },
    AT_FDCWD = { 4294967295, 4294967196 } }
  for _, family in ipairs(known.families()) do
    for _, c in ipairs((known.family(family))) do
      if not constants[c[1]] then constants[c[1]] = u64.parse(c[2]) end
    end
  end
  return constants
end

-- Two's complement of a whole number.
local function negative(n)
  local v = u64.bnot(u64.parse(-n - 1))
  return v
end

local function octal(digits)
  local v = { 0, 0 }
  for d in digits:gmatch("%d") do
    local low = v[2] * 8 + tonumber(d)
    v = { v[1] * 8 + math.floor(low / 4294967296), low % 4294967296 }
  end
  return v[1] < 4294967296 and v or nil
end

local function one(word, expected)
  if expected then return expected end
  if word:find("^0[0-7]+$") then return octal(word) end -- a mode, as C has it
  if word:find("^%-%d+$") then return tonumber(word) >= -2 ^ 53 and negative(tonumber(word)) or nil end
  return u64.parse(word) or all()[word]
end

-- A value as { high, low }: a number (negative: as the kernel sees it, two's complement), text of 64 bits (decimal, 0x..., 0...
-- octal, negative), a constant's name, or several with "|" between them. nil, message where it is none.
-- call, index (from 1): the argument's own constants come first, where one name has two values.
---@param v number|string
---@return table|nil value, string? message
function M.parse(v, call, index)
  if type(v) == "number" then
    if v < 0 and v % 1 == 0 and v >= -2 ^ 53 then return negative(v) end
    local value = u64.parse(v)
    if value then return value end
    return nil, ("a whole number from -2^53 to 2^53, or text, expected, got %s"):format(tostring(v))
  elseif type(v) == "boolean" then
    return { 0, v and 1 or 0 }
  elseif type(v) ~= "string" then
    return nil, "a number, or text such as '0x1f' or 'AF_UNIX', expected, got " .. type(v)
  end
  local own = {}
  for family in (call and decode.family(call, index) or ""):gmatch("[%w_]+") do
    for _, c in ipairs((require("caisson.trace.constants").family(family))) do own[c[1]] = u64.parse(c[2]) end
  end
  local sum = { 0, 0 }
  for word in (v .. "|"):gmatch("%s*([^|]-)%s*|") do
    local value = one(word, own[word])
    if not value then
      if word:find("^[%-%d]") or word == "" then return nil, ("'%s' is no number of 64 bits"):format(words.show(word)) end
      local list = {}
      for name in pairs(next(own) and own or all()) do list[#list + 1] = name end
      local best = words.nearest(word, list)
      return nil, ("no constant is called '%s'%s"):format(words.show(word), best and (" (did you mean '%s'?)"):format(best) or "")
    end
    sum = u64.bor(sum, value)
  end
  return sum
end

-- ---- conditions as text ----

-- What arguments are called where that says more than their number.
local argument_names = {
  socket = { "domain", "type", "protocol" }, socketpair = { "domain", "type", "protocol" },
  ioctl = { "fd", "request" }, prctl = { "option" }, clone = { "flags" }, unshare = { "flags" }, setns = { "fd", "type" },
  open = { "path", "flags", "mode" }, openat = { "dirfd", "path", "flags", "mode" }, fcntl = { "fd", "command" },
  personality = { "persona" }, kill = { "pid", "signal" }, mmap = { "addr", "length", "prot", "flags" },
  mprotect = { "addr", "length", "prot" }, chmod = { "path", "mode" }, fchmod = { "fd", "mode" },
  fchmodat = { "dirfd", "path", "mode" }, mknod = { "path", "mode" }, mknodat = { "dirfd", "path", "mode" },
  creat = { "path", "mode" }, keyctl = { "operation" }, ptrace = { "request" }, bpf = { "command" }, futex = { "addr", "op" },
  setsockopt = { "fd", "level", "option" }, getsockopt = { "fd", "level", "option" }, madvise = { "addr", "length", "advice" },
  arch_prctl = { "code" }, mount = { "source", "target", "type", "flags" }, umount2 = { "target", "flags" },
  clone3 = { "args", "size" }, seccomp = { "operation", "flags" }, prlimit64 = { "pid", "resource" },
  sendto = { "fd", "buffer", "length", "flags" }, recvfrom = { "fd", "buffer", "length", "flags" },
}

local function argument(call, index)
  local name = argument_names[call] and argument_names[call][index + 1]
  return name or ("arg%d"):format(index)
end

M.argument = argument

local function is_mode(call, index) return (signature(call) or {})[index + 1] == "o" end

-- Many flags with one beginning: CLONE_NEW{NS,UTS,IPC,PID}.
local function short(name)
  local parts = {}
  for word in name:gmatch("[^|]+") do parts[#parts + 1] = word end
  if #parts < 4 then return name end
  local prefix = parts[1]
  for _, word in ipairs(parts) do
    while word:sub(1, #prefix) ~= prefix do prefix = prefix:sub(1, -2) end
  end
  if #prefix < 4 then return name end
  for i, word in ipairs(parts) do parts[i] = word:sub(#prefix + 1) end
  return prefix .. "{" .. table.concat(parts, ",") .. "}"
end

local function value_text(call, index, text)
  local v = u64.parse(text)
  local name
  if v[1] == 0 or v[1] == 4294967295 then name = decode.value(call, index + 1, u64.decimal(v)) end
  if is_mode(call, index) and v[1] == 0 and v[2] > 0 then return ("0%o"):format(v[2]) end
  if name and not name:find("0x", 1, true) then return short(name) end
  if v[1] == 0 and v[2] < 1024 then return ("%d"):format(v[2]) end
  return text
end

local low32 = "0xffffffff"

local function number_text(n) return n < 65536 and ("%d"):format(n) or ("0x%x"):format(n) end

-- One comparison: "domain == AF_UNIX", "request & 0xff == 1", "flags without CLONE_NEWNS|...".
local function comparison(call, c)
  local name = argument(call, c[1])
  if c[2] ~= "masked" then return ("%s %s %s"):format(name, c[2], value_text(call, c[1], c[3])) end
  -- the kernel looks at no more of these arguments
  if c[3] == low32 then return ("%s == %s"):format(name, value_text(call, c[1], c[4])) end
  local mask, value = u64.parse(c[3]), u64.parse(c[4])
  local free = mask[1] == 0 and 4294967295 - mask[2] or 0
  if free > 0 and math.log(free + 1) / math.log(2) % 1 == 0 and u64.band32(free, free + 1) == 0 then
    return ("%s from %s to %s"):format(name, number_text(value[2]), number_text(value[2] + free))
  end
  if c[3] == c[4] then return ("%s has %s"):format(name, value_text(call, c[1], c[3])) end
  if u64.eq(u64.parse(c[4]), { 0, 0 }) then return ("%s without %s"):format(name, value_text(call, c[1], c[3])) end
  return ("%s & %s == %s"):format(name, c[3], c[4])
end

-- A condition of a call as text; "" where it is always true.
---@param call string
---@param condition table
---@return string
function M.condition(call, condition)
  local parts = {}
  for i, c in ipairs(condition) do parts[i] = comparison(call, c) end
  return table.concat(parts, " and ")
end

-- The values that a masked comparison of the low 32 bits stands for, where they are few: at most 64.
local function range(c)
  local mask, value = u64.parse(c[3]), u64.parse(c[4])
  if mask[1] ~= 0 then return nil end
  local free = 4294967295 - mask[2]
  if free >= 64 then return nil end
  local list = {}
  for v = value[2], value[2] + free do
    if u64.band32(v, mask[2]) == value[2] then list[#list + 1] = v end
  end
  return list
end

-- Numbers as "AF_UNIX, AF_INET, 5 to 9".
local function intervals(call, index, values)
  table.sort(values)
  local out, i = {}, 1
  while i <= #values do
    local last = i
    while values[last + 1] == values[last] + 1 or values[last + 1] == values[last] do last = last + 1 end
    if last - i > 3 then
      out[#out + 1] = number_text(values[i]) .. " to " .. number_text(values[last])
    else
      for k = i, last do
        if values[k] ~= values[k - 1] then out[#out + 1] = value_text(call, index, u64.text(u64.parse(values[k]))) end
      end
    end
    i = last + 1
  end
  return table.concat(out, ", ")
end

-- Many conditions of a call, one of which must hold, as short as they can be said: "domain AF_UNIX, AF_INET".
---@param call string
---@param list table[]
---@return string
function M.conditions(call, list)
  if list[1] and #list[1] == 0 then return "" end
  local single = #list > 1
  for _, condition in ipairs(list) do
    single = single and #condition == 1 and condition[1][1] == list[1][1][1] and
      (condition[1][2] == "==" or condition[1][2] == "masked" and range(condition[1]) ~= nil)
  end
  if single then
    local index, numbers, others = list[1][1][1], {}, {}
    for _, condition in ipairs(list) do
      local c = condition[1]
      local v = u64.parse(c[4] or c[3])
      if c[2] == "==" then
        if v[1] == 0 then numbers[#numbers + 1] = v[2] else others[#others + 1] = value_text(call, index, c[3]) end
      else
        for _, n in ipairs(range(c)) do numbers[#numbers + 1] = n end
      end
    end
    local text = intervals(call, index, numbers)
    if #others > 0 then text = (text ~= "" and text .. ", " or "") .. table.concat(others, ", ") end
    return ("%s %s %s"):format(argument(call, index), text:find("[, ]") and "in" or "==", text)
  end
  local parts = {}
  for i, condition in ipairs(list) do parts[i] = M.condition(call, condition) end
  return table.concat(parts, "; or ")
end

-- The call with its arguments as text: socket(AF_UNIX, SOCK_STREAM, 0). values: { high, low } each; said: what the caller
-- wrote, where that says more.
function M.call(call, values, said)
  local out = {}
  for i, v in ipairs(values) do
    local own = said and said[i]
    out[i] = type(own) == "string" and own:find("%a%a") and not own:find("^0x") and own or value_text(call, i - 1, u64.text(v))
  end
  return ("%s(%s)"):format(call, table.concat(out, ", "))
end

return M
