-- What a seccomp filter answers, by evaluating the compiled program: for certain arguments, or for any.
local u64 = require "caisson.u64"

local M = {}

local two32 = 4294967296
local floor = math.floor

-- Actions by their upper half, and how much each forbids: of several filters the one that forbids most decides.
local names = { [0x80000000] = "kill_process", [0] = "kill_thread", [0x30000] = "trap", [0x50000] = "errno",
  [0x7fc00000] = "notify", [0x7ff00000] = "trace", [0x7ffc0000] = "log", [0x7fff0000] = "allow" }
local rank = { kill_process = 1, kill_thread = 2, trap = 3, errno = 4, notify = 5, trace = 6, log = 7, allow = 8 }

M.architectures = { x86_64 = 0xc000003e, x86 = 0x40000003, aarch64 = 0xc00000b7, arm = 0x40000028 }

local function decode(program)
  local list = {}
  for i = 1, #program, 8 do
    local a, b, jt, jf, k0, k1, k2, k3 = program:byte(i, i + 7)
    list[#list + 1] = { a + b * 256, jt, jf, k0 + k1 * 256 + k2 * 65536 + k3 * 16777216 }
  end
  return list
end

local function action_of(v)
  local low = v % 65536
  local name = names[v - low] or "kill_process" -- as the kernel takes an unknown one
  return name, name == "errno" and math.min(low, 4095) or low
end

local alu = {
  [0x00] = function(a, b) return (a + b) % two32 end,
  [0x10] = function(a, b) return (a - b) % two32 end,
  [0x20] = function(a, b) return (floor(a / 65536) * b % 65536 * 65536 + a % 65536 * b) % two32 end,
  [0x30] = function(a, b) return b == 0 and 0 or floor(a / b) end,
  [0x40] = u64.bor32,
  [0x50] = u64.band32,
  [0x60] = function(a, n) return n >= 32 and 0 or floor(a * 2 ^ n) % two32 end,
  [0x70] = function(a, n) return n >= 32 and 0 or floor(a / 2 ^ n) end,
  [0x80] = function(a) return (two32 - a) % two32 end,
  [0xa0] = function(a, b) return u64.bor32(a, b) - u64.band32(a, b) end,
}

local jumps = {
  [0x10] = function(a, b) return a == b end,
  [0x20] = function(a, b) return a > b end,
  [0x30] = function(a, b) return a >= b end,
  [0x40] = function(a, b) return u64.band32(a, b) ~= 0 end,
}

-- struct seccomp_data by offset; arguments that are not given are not known.
local function words_of(nr, arch, args)
  local w = { [0] = nr % two32, [4] = arch }
  for i = 1, args and 6 or 0 do
    local v = args[i] or 0
    local pair = type(v) == "string" and assert(u64.parse(v)) or { floor(v / two32) % two32, v % two32 }
    w[12 + 8 * i - 4], w[12 + 8 * i] = pair[2], pair[1]
  end
  return w
end

-- Every way through the program: where a value is not known both branches are gone. found(action, number) at each end;
-- looked(index of an argument) where one is read.
local function explore(code, w, found, looked)
  local steps = 0
  local function go(pc, a, x, memory)
    while true do
      local i = code[pc]
      steps = steps + 1
      if not i or steps > 200000 then return found("kill_process", 0) end
      local op, k = i[1], i[4]
      local class = op % 8
      pc = pc + 1
      if class == 0 or class == 1 then -- LD, LDX
        local mode, v = op - op % 32, nil
        if mode == 0x20 and class == 0 then
          v = w[k]
          if k >= 16 then looked(floor((k - 16) / 8)) end
        elseif mode == 0x00 then v = k
        elseif mode == 0x60 then v = memory[k]
        elseif mode == 0x80 then v = 64 end
        if class == 0 then a = v else x = v end
      elseif class == 2 or class == 3 then
        local copy = {}
        for n, v in pairs(memory) do copy[n] = v end
        if class == 2 then copy[k] = a else copy[k] = x end
        memory = copy
      elseif class == 4 then
        local b = k
        if op % 16 >= 8 then b = x end
        if op - op % 16 == 0x80 then b = 0 end
        a = a and b and alu[op - op % 16](a, b) or nil
      elseif class == 5 then
        local kind, b = op - op % 16, k
        if op % 16 >= 8 then b = x end
        if kind == 0 then
          pc = pc + k
        elseif a and b then
          pc = pc + (jumps[kind](a, b) and i[2] or i[3])
        else
          go(pc + i[2], a, x, memory)
          pc = pc + i[3]
        end
      elseif class == 6 then
        local v = op % 32 >= 16 and a or k
        return found(action_of(v or 0))
      elseif op % 256 >= 0x80 then
        a = x
      else
        x = a
      end
    end
  end
  go(1, 0, 0, {})
end

local Filters = {}
Filters.__index = Filters

-- Filters as a process has them: a list of programs.
function M.new(programs)
  local self = setmetatable({ programs = {}, known = {} }, Filters)
  for i, p in ipairs(programs) do self.programs[i] = decode(p) end
  return self
end

-- The action and its number for a call with these arguments (numbers, or text such as "0x100005412"); of all filters.
function Filters:decide(nr, arch, args)
  local best, number = "allow", 0
  for _, code in ipairs(self.programs) do
    explore(code, words_of(nr, arch, args or {}), function(action, n)
      if rank[action] < rank[best] then best, number = action, n end
    end, function() end)
  end
  return best, number
end

-- All that a call may be answered, whatever its arguments: { { action =, number = }, … } with what forbids least first,
-- and the indices of the arguments that it depends on.
function Filters:answers(nr, arch)
  local key = nr .. ":" .. arch
  if self.known[key] then return self.known[key][1], self.known[key][2] end
  -- what one filter forbids whatever the arguments are, another's allowing changes nothing about
  local all, args, ceiling = {}, {}, "allow"
  for _, code in ipairs(self.programs) do
    local mine = {}
    explore(code, words_of(nr, arch), function(action, n) mine[action .. ":" .. n] = { action = action, number = n } end,
      function(index) args[index] = true end)
    local least
    for id, v in pairs(mine) do
      all[id] = v
      if not least or rank[v.action] > rank[least.action] then least = v end
    end
    if least and rank[least.action] < rank[ceiling] then ceiling = least.action end
  end
  local list, looked = {}, {}
  for _, v in pairs(all) do
    if rank[v.action] <= rank[ceiling] then list[#list + 1] = v end
  end
  if #list == 0 then list[1] = { action = "allow", number = 0 } end
  table.sort(list, function(a, b)
    if a.action ~= b.action then return rank[a.action] > rank[b.action] end
    return a.number < b.number
  end)
  for index in pairs(args) do looked[#looked + 1] = index end
  table.sort(looked)
  self.known[key] = { list, looked }
  return list, looked
end

return M
