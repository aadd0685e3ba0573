-- What seccomp programs answer to each system call, by running the compiled program itself: with known arguments, or with
-- all that they could be, each comparison of one then going both ways.
--
--   local a = answers.of { program, program }     -- all are asked; the strictest answer counts, as in the kernel
--   a:decide("socket", { 40 })                    -- "errno EPERM"
--   a:call("socket")                              -- { { action = "allow", when = "(arg0 & 0xffffffe0) == 0" }, ... }
local bpf = require "caisson.policy.bpf"
local core = require "caisson.core"
local strictness = require "caisson.policy.both"
local u64 = require "caisson.u64"

local M = {}

---@class caisson.policy.Answers
local Answers = {}
Answers.__index = Answers

local floor, concat = math.floor, table.concat
local two32 = 4294967296

local machines = bpf.arch -- AUDIT_ARCH_*

-- How strict a returned value is, and its text.
local function rank(value)
  local action, data = bpf.action(value)
  action = action or "kill_process" -- what the kernel does of what it does not know
  local text = action
  if action == "errno" then text = "errno " .. (core.errno.name(data) or data) end
  if action == "trace" then text = "trace " .. data end
  return 9 - strictness.rank(action), text
end

-- A value is a number; or an argument's word, { at = its offset, mask = what is left of it }; or "?", which can be anything.
local binary = {
  [0x00] = function(a, b) return (a + b) % two32 end,
  [0x10] = function(a, b) return (a - b) % two32 end,
  [0x40] = u64.bor32,
  [0x50] = u64.band32,
  [0x60] = function(a, n) return n >= 32 and 0 or floor(a * 2 ^ n) % two32 end,
  [0x70] = function(a, n) return n >= 32 and 0 or floor(a / 2 ^ n) end,
}

local function operate(kind, a, b)
  if type(a) == "number" and type(b) == "number" then return binary[kind] and binary[kind](a, b) or "?" end
  if kind == 0x50 then
    if type(a) == "number" then a, b = b, a end
    if type(a) == "table" and type(b) == "number" then
      local mask = u64.band32(a.mask, b)
      return mask > 0 and { at = a.at, mask = mask } or 0
    end
  end
  return "?"
end

local signs = { [0x10] = "==", [0x20] = ">", [0x30] = ">=", [0x40] = "&" }

local function is_true(kind, a, b)
  if kind == 0x10 then return a == b end
  if kind == 0x20 then return a > b end
  if kind == 0x30 then return a >= b end
  return u64.band32(a, b) ~= 0
end

local most = 2048

-- A path is the comparisons that were made on the way; it remembers how each came out, and which bits of an argument's
-- word are certain by it.
local function step(path, key, c)
  local p = { known = setmetatable({}, { __index = path.known }), bits = path.bits }
  for n, before in ipairs(path) do p[n] = before end
  p[#p + 1] = c
  if key then
    p.known[key] = c.holds
    if c.holds and c.sign == "==" then
      p.bits = { at = c.a.at, mask = c.a.mask, value = c.b, before = path.bits }
    end
  end
  return p
end

-- How a comparison comes out where the path leaves no choice, else nil.
local function certain(path, kind, a, b)
  local fact = path.bits
  while fact do
    if fact.at == a.at then
      local both = u64.band32(fact.mask, a.mask)
      if both == a.mask then return is_true(kind, u64.band32(fact.value, both), b) end
      if kind == 0x10 and u64.band32(fact.value, both) ~= u64.band32(b, both) then return false end
    end
    fact = fact.before
  end
end

-- Every way through a program after a path: leaves of { value, path }. words: what is known of seccomp_data, by offset.
local function walk(code, words, start)
  local leaves = {}
  local function go(pc, a, x, memory, path)
    while true do
      local i = code[pc]
      if not i then return end
      local op, k = i[1], i[4]
      local class = op % 8
      pc = pc + 1
      if class == 0 or class == 1 then -- LD, LDX
        local mode, v = op - op % 32, "?"
        if mode == 0x20 then v = words[k] or { at = k, mask = two32 - 1 }
        elseif mode == 0x00 then v = k
        elseif mode == 0x60 then v = memory[k] or 0
        elseif mode == 0x80 then v = 64 end
        if class == 0 then a = v else x = v end
      elseif class == 2 or class == 3 then -- ST, STX
        local copy = {}
        for n, v in pairs(memory) do copy[n] = v end
        copy[k] = class == 2 and a or x
        memory = copy
      elseif class == 4 then
        a = operate(op - op % 16, a, op % 16 >= 8 and x or k)
      elseif class == 5 then
        local kind = op - op % 16
        local b = op % 16 >= 8 and x or k
        if kind == 0 then
          pc = pc + k
        elseif type(a) == "number" and type(b) == "number" then
          pc = pc + (is_true(kind, a, b) and i[2] or i[3])
        else
          local key = type(a) == "table" and type(b) == "number" and ("%d %x %s %x"):format(a.at, a.mask, signs[kind], b) or nil
          local known
          if key then
            known = path.known[key]
            if known == nil then known = certain(path, kind, a, b) end
          end
          if known == nil then
            if #leaves >= most then return end
            go(pc + i[2], a, x, memory, step(path, key, { a = a, sign = signs[kind], b = b, holds = true }))
            path, pc = step(path, key, { a = a, sign = signs[kind], b = b, holds = false }), pc + i[3]
          else
            pc = pc + (known and i[2] or i[3])
          end
        end
      elseif class == 6 then
        local v = op % 32 >= 16 and a or k
        leaves[#leaves + 1] = { value = type(v) == "number" and v or 0x80000000, path = path }
        return
      elseif op % 256 >= 0x80 then a = x
      else x = a end
    end
  end
  go(1, 0, 0, {}, start)
  return leaves
end

local nowhere = { known = {} }

-- ---- conditions as text ----

local function hex(n) return n < 10 and ("%d"):format(n) or ("0x%x"):format(n) end

local opposites = { ["=="] = "!=", [">"] = "<=", [">="] = "<" }

-- A number as an argument of a call says it: AF_UNIX, TIOCSTI; its digits where that has no name.
local function named(call, at, n)
  local index = floor((at - 16) / 8)
  if call and index >= 0 and at % 8 == 0 and n > 0 then
    local ok, text = pcall(require("caisson.trace.decode").value, call, index + 1, n)
    if ok and text and text:find("%a") and not text:find("0x", 1, true) then return text end
  end
  return hex(n)
end

-- One comparison; `high` of an argument is the upper half of its 64 bits.
local function comparison(c, call)
  if type(c.a) ~= "table" or type(c.b) ~= "number" then return "something" end
  local name = c.a.at < 16 and "address" or
    ("arg%d%s"):format(floor((c.a.at - 16) / 8), c.a.at % 8 == 4 and ".high" or "")
  local whole = c.a.mask == two32 - 1
  local left = whole and name or ("(%s & %s)"):format(name, hex(c.a.mask))
  if c.sign == "&" then
    return ("(%s & %s) %s 0"):format(name, named(call, c.a.at, u64.band32(c.a.mask, c.b)), c.holds and "!=" or "==")
  elseif c.b == 0 and c.sign == "==" then
    if not whole then left = ("(%s & %s)"):format(name, named(call, c.a.at, c.a.mask)) end
  end
  return ("%s %s %s"):format(left, c.holds and c.sign or opposites[c.sign],
    whole and c.sign == "==" and named(call, c.a.at, c.b) or hex(c.b))
end

-- What leads to a leaf. What the earlier leaves have said already is left out: they are asked first.
local function condition(path, call)
  local yes, all = {}, {}
  for _, c in ipairs(path) do
    local text = comparison(c, call)
    all[#all + 1] = text
    -- that an argument's upper half is 0 goes without saying
    if c.holds and not text:find("%.high == 0$") then yes[#yes + 1] = text end
  end
  return concat(#yes > 0 and yes or all, " and ")
end

-- ---- answers ----

---The answers of some programs, as bytes, together.
---@param list string[]
---@return caisson.policy.Answers
function M.of(list)
  local codes = {}
  for i, program in ipairs(list) do codes[i] = bpf.decode(program) end
  return setmetatable({ codes = codes, arch = machines[core.seccomp.architecture()] }, Answers)
end

local function words_of(nr, arch) return { [0] = nr % two32, [4] = arch } end

---The answer to a call with these arguments (integers, or text for what is above 2^53; 0 where none is given).
---@param call string|integer  a name, or a number
---@param args? (integer|string)[]
---@param arch? integer        AUDIT_ARCH_*; this machine's
---@return string? action      such as "allow" or "errno EPERM"; nil: there is no such call
function Answers:decide(call, args, arch)
  local nr = type(call) == "number" and call or core.seccomp.number(call)
  if not nr then return nil end
  local best, text = 0, "allow"
  for _, code in ipairs(self.codes) do
    local r, t = rank(bpf.value(code, { nr = nr, arch = arch or self.arch, args = args }))
    if r >= best then best, text = r, t end -- of two that are as strict the kernel takes the one loaded last
  end
  return text
end

-- Ways through one more program, after each of the ways through those before.
local function crossed(before, code, words)
  local list = {}
  for _, b in ipairs(before) do
    for _, leaf in ipairs(walk(code, words, b.path)) do
      local r, t = rank(leaf.value)
      local stricter = r >= b.rank -- as strict: the one loaded last counts
      list[#list + 1] = { rank = stricter and r or b.rank, action = stricter and t or b.action, path = leaf.path }
      if #list >= most then return list end
    end
  end
  return list
end

---All answers to a call: one without `when`, or several of which the first whose condition is true counts.
---@param call string|integer
---@return { action: string, when?: string }[]|nil
function Answers:call(call)
  local nr = type(call) == "number" and call or core.seccomp.number(call)
  if not nr then return nil end
  local ways = { { rank = 0, action = "allow", path = nowhere } }
  for _, code in ipairs(self.codes) do ways = crossed(ways, code, words_of(nr, self.arch)) end
  local list, same = {}, true
  for _, way in ipairs(ways) do same = same and way.action == ways[1].action end
  if same then return { { action = ways[1].action } } end
  -- the last ones that end alike are one: "otherwise"
  local last = #ways
  while last > 1 and ways[last - 1].action == ways[#ways].action do last = last - 1 end
  for i = 1, last - 1 do
    local when = condition(ways[i].path, type(call) == "string" and call or nil)
    local before = list[#list]
    if not (before and before.action == ways[i].action and before.when == when) then
      list[#list + 1] = { action = ways[i].action, when = when }
    end
  end
  list[#list + 1] = { action = ways[#ways].action }
  return list
end

---The same as one line.
---@param call string|integer
---@return string?
function Answers:text(call)
  local list = self:call(call)
  if not list then return nil end
  if #list == 1 then return list[1].action end
  local parts, i = {}, 1
  while i <= #list do -- alternatives of one action together
    local action, whens = list[i].action, {}
    while list[i] and list[i].when and list[i].action == action do
      whens[#whens + 1] = list[i].when
      i = i + 1
    end
    if #whens > 0 then
      parts[#parts + 1] = action .. " if " .. concat(whens, " or ")
    else
      parts[#parts + 1] = "else " .. action
      i = i + 1
    end
  end
  return concat(parts, "; ")
end

-- A number that no kernel has a call for yet.
local function beyond()
  local n = 0
  for _, nr in pairs(core.seccomp.syscalls()) do n = math.max(n, nr) end
  return n + 100
end

---What each call of this machine gets, as text by name; "(newer calls)" and "(other architectures)" stand for those.
---@return table<string, string>
function Answers:table()
  if self.all then return self.all end
  local all = {}
  for name in pairs(core.seccomp.syscalls()) do all[name] = self:text(name) end
  all["(newer calls)"] = self:text(beyond())
  all["(other architectures)"] = self:decide(0, {}, self.arch == machines.x86 and machines.x86_64 or machines.x86)
  self.all = all
  return all
end

-- Does that answer let the call happen?
---@param action string
---@return boolean
function M.permits(action) return action == "allow" or action == "log" end

---How many calls are let through, how many of them by their arguments, and what most others get.
---@return integer allowed, integer by_arguments, string others
function Answers:summary()
  local allowed, some, others, most_of = 0, 0, {}, "allow"
  for name, text in pairs(self:table()) do
    if name:sub(1, 1) ~= "(" then
      if M.permits(text) then
        allowed = allowed + 1
      elseif text:find("allow", 1, true) then
        some = some + 1
      else
        others[text] = (others[text] or 0) + 1
      end
    end
  end
  local best = 0
  for text, n in pairs(others) do if n > best or n == best and text < most_of then best, most_of = n, text end end
  return allowed, some, most_of
end

return M
