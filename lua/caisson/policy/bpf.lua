-- A classic BPF interpreter for seccomp programs, in plain Lua: what the kernel would answer, without
-- loading anything.
local core = require "caisson.core"
local u64 = require "caisson.u64"

local M = {}

local two32 = 4294967296
local floor = math.floor

local function u32_at(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

-- Instructions of a program, { code, jt, jf, k } each.
function M.decode(program)
  assert(#program % 8 == 0 and #program > 0, "instructions have 8 bytes")
  local list = {}
  for i = 1, #program, 8 do
    local a, b, jt, jf = program:byte(i, i + 3)
    list[#list + 1] = { a + b * 256, jt, jf, u32_at(program, i + 4) }
  end
  return list
end

local function xor32(a, b) return u64.bor32(a, b) - u64.band32(a, b) end

local function mul32(a, b)
  local high = floor(a / 65536) * b % 65536
  return (high * 65536 + a % 65536 * b) % two32
end

local function shift(a, n) return n >= 32 and 0 or floor(a * 2 ^ n) % two32 end

local alu = {
  [0x00] = function(a, b) return (a + b) % two32 end,
  [0x10] = function(a, b) return (a - b) % two32 end,
  [0x20] = mul32,
  [0x30] = function(a, b) return b == 0 and error("division by zero") or floor(a / b) end,
  [0x40] = function(a, b) return u64.bor32(a, b) end,
  [0x50] = function(a, b) return u64.band32(a, b) end,
  [0x60] = shift,
  [0x70] = function(a, n) return n >= 32 and 0 or floor(a / 2 ^ n) end,
  [0x80] = function(a) return (two32 - a) % two32 end,
  [0xa0] = xor32,
}

local jumps = {
  [0x10] = function(a, b) return a == b end,
  [0x20] = function(a, b) return a > b end,
  [0x30] = function(a, b) return a >= b end,
  [0x40] = function(a, b) return u64.band32(a, b) ~= 0 end,
}

-- struct seccomp_data as words of 32 bits by offset: nr, arch, instruction_pointer, args. A bit of the architecture says
-- which half of a value comes first.
local function words_of(data)
  local w = { [0] = data.nr % two32, [4] = data.arch }
  local low, high = 0, 4
  if u64.band32(data.arch, 0x40000000) == 0 then low, high = 4, 0 end
  local function put(at, v)
    local pair = type(v) == "table" and v or type(v) == "number" and v < 0 and { floor(v / two32) % two32, v % two32 }
      or assert(u64.parse(v or 0), "a value of 64 bits")
    w[at + low], w[at + high] = pair[2], pair[1]
  end
  put(8, data.ip)
  for i = 0, 5 do put(16 + 8 * i, data.args and data.args[i + 1]) end
  return w
end

local names = { [0x80000000] = "kill_process", [0] = "kill_thread", [0x30000] = "trap", [0x50000] = "errno",
  [0x7fc00000] = "notify", [0x7ff00000] = "trace", [0x7ffc0000] = "log", [0x7fff0000] = "allow" }

-- The 32-bit value that a program returns.
function M.value(program, data)
  local code = type(program) == "string" and M.decode(program) or program
  local w, memory = words_of(data), {}
  local a, x, pc = 0, 0, 1
  while true do
    local i = assert(code[pc], "the program ran off its end")
    local op, k = i[1], i[4]
    local class = op % 8
    pc = pc + 1
    if class == 0 or class == 1 then -- LD, LDX
      local mode, v = op - op % 32, nil
      if mode == 0x20 and class == 0 then v = assert(w[k], "a load from an odd place")
      elseif mode == 0x00 then v = k
      elseif mode == 0x60 then v = memory[k] or 0
      elseif mode == 0x80 then v = 64
      else error(("instruction 0x%x"):format(op)) end
      if class == 0 then a = v else x = v end
    elseif class == 2 then memory[k] = a
    elseif class == 3 then memory[k] = x
    elseif class == 4 then
      local f = assert(alu[op - op % 16], "unknown operation")
      a = f(a, op % 16 >= 8 and x or k)
    elseif class == 5 then
      local kind = op - op % 16
      if kind == 0 then pc = pc + k
      else pc = pc + (assert(jumps[kind], "unknown jump")(a, op % 16 >= 8 and x or k) and i[2] or i[3]) end
    elseif class == 6 then return op % 32 >= 16 and a or k
    else
      if op % 256 >= 0x80 then a = x else x = a end
    end
  end
end

-- A value that a program returns as an action and its number; nil for what the kernel takes for kill_process.
function M.action(v)
  local low = v % 65536
  return names[v - low], low
end

-- Action and its number: "errno", 38. data: { nr =, arch =, args = {...}, ip = }; args are numbers (-1: all
-- bits), text, or { high, low }.
function M.run(program, data)
  local v = M.value(program, data)
  local low = v % 65536
  local name = names[v - low]
  assert(name, ("0x%x is no action"):format(v))
  return name, low
end

-- What a filter is told an architecture is, by name.
M.arch = setmetatable({}, { __index = function(_, name) return core.seccomp.audit(name) end })

return M
