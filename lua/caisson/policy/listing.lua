-- A seccomp program as a listing: bpf_asm's own words, with what they mean for people behind them.
--
--   l0:    ld [4]                          ; machine
--   l1:    jeq #0xc000003e, l3, l2         ; x86_64
--   l7:    jeq #0x29, l20, l8              ; socket
local bpf = require "caisson.policy.bpf"
local color = require "caisson.cli.color"
local core = require "caisson.core"
local decode = require "caisson.trace.decode"
local json = require "caisson.json"
local values = require "caisson.policy.values"

local M = {}

---@class caisson.policy.Program
---@field bytes string              as seccomp(2) takes them, and `bwrap --seccomp FD`
---@field instructions { op: integer, jt: integer, jf: integer, k: integer, text: string, comment?: string }[]
local Program = {}
Program.__index = Program

local two32 = 4294967296

-- ---- what the accumulator holds at each instruction, and of which calls it is ----

local function arch_name(token)
  for _, name in ipairs(core.seccomp.architectures()) do
    if name ~= "x32" and core.seccomp.audit(name) == token then return name end
  end
end

local numbers = {}

local function call_name(arch, number)
  arch = arch or core.seccomp.architecture()
  if not numbers[arch] then
    numbers[arch] = {}
    for name, nr in pairs(core.seccomp.syscalls(arch)) do numbers[arch][nr] = name end
  end
  return numbers[arch][number]
end

local function field_at(offset)
  if offset == 0 then return { kind = "number" } end
  if offset == 4 then return { kind = "machine" } end
  if offset < 16 then return { kind = "address", high = offset == 12 } end
  return { kind = "argument", index = math.floor((offset - 16) / 8), high = offset % 8 == 4 }
end

-- Two states of one place: what they have in common.
local function merge(a, b)
  if not a then return { a = b.a, arch = b.arch, call = b.call } end
  local function same(x, y)
    if type(x) ~= "table" or type(y) ~= "table" then return x == y end
    return x.kind == y.kind and x.index == y.index and x.high == y.high and x.mask == y.mask
  end
  return { a = same(a.a, b.a) and a.a or nil, arch = a.arch == b.arch and a.arch or nil,
    call = a.call == b.call and a.call or nil }
end

local jump_words = { [0x00] = "ja", [0x10] = "jeq", [0x20] = "jgt", [0x30] = "jge", [0x40] = "jset" }
local alu_words = { [0x00] = "add", [0x10] = "sub", [0x20] = "mul", [0x30] = "div", [0x40] = "or", [0x50] = "and", [0x60] = "lsh",
  [0x70] = "rsh", [0x80] = "neg", [0xa0] = "xor" }

-- ---- words ----

local function hex(k) return ("#0x%x"):format(k) end

local function field_text(f, s)
  if f.kind ~= "argument" then return f.kind .. (f.high and ", upper half" or "") end
  return values.argument(s.call or "", f.index) .. (f.high and ", upper half" or "")
end

local function action_text(k)
  local name, data = bpf.action(k)
  if name == "errno" then return "errno " .. (core.errno.name(data) or data) end
  if name == "trace" then return "trace " .. data end
  return name or "kill_process"
end

-- What a comparison with k asks.
local function comparison(s, kind, k)
  local f = s.a
  if not f then return nil end
  if f.kind == "machine" then return arch_name(k) end
  if f.kind == "number" then
    if k == 0x40000000 and kind ~= 0x10 then return "x32" end
    local name = call_name(s.arch, k)
    if kind == 0x10 then return name end
    return ("number %s %s"):format(kind == 0x20 and ">" or ">=", name or k)
  end
  local name = field_text({ kind = f.kind, index = f.index, high = f.high }, s)
  local sign = kind == 0x10 and "==" or kind == 0x20 and ">" or kind == 0x30 and ">=" or "has"
  local value
  if f.kind == "argument" and not f.high and s.call and kind == 0x10 and (not f.mask or f.mask == two32 - 1) then
    value = decode.value(s.call, f.index + 1, k)
  end
  return ("%s%s %s %s"):format(name, f.mask and f.mask < two32 - 1 and (" & 0x%x"):format(f.mask) or "", sign,
    value or (k < 1024 and ("%d"):format(k) or ("0x%x"):format(k)))
end

-- Instructions as text, each with a comment where it has something to say.
local function disassemble(code)
  local states, out = { [1] = {} }, {}
  local function flow(to, s) states[to] = merge(states[to], s) end
  for pc, i in ipairs(code) do
    local op, jt, jf, k = i[1], i[2], i[3], i[4]
    local s = states[pc] or {}
    local class, next_state = op % 8, { a = s.a, arch = s.arch, call = s.call }
    local text, comment
    if class == 0 or class == 1 then
      local mode = op - op % 32
      local word = class == 0 and "ld" or "ldx"
      if mode == 0x20 then
        text, comment = ("%s [%d]"):format(word, k), field_text(field_at(k), s)
        if class == 0 then next_state.a = field_at(k) end
      else
        text = mode == 0 and ("%s %s"):format(word, hex(k)) or mode == 0x60 and ("%s M[%d]"):format(word, k) or word .. " len"
        if class == 0 then next_state.a = nil end
      end
    elseif class == 2 or class == 3 then
      text = ("%s M[%d]"):format(class == 2 and "st" or "stx", k)
    elseif class == 4 then
      local word = alu_words[op - op % 16] or "?"
      text = op % 16 >= 8 and word .. " x" or word == "neg" and word or word .. " " .. hex(k)
      local masks = op - op % 16 == 0x50 and op % 16 < 8 and s.a
      next_state.a = masks and { kind = s.a.kind, index = s.a.index, high = s.a.high, mask = k } or nil
    elseif class == 5 then
      local kind = op - op % 16
      if kind == 0 then
        text = ("jmp l%d"):format(pc + k)
        flow(pc + 1 + k, s)
      else
        local with = op % 16 >= 8 and "x" or hex(k)
        text = ("%s %s, l%d, l%d"):format(jump_words[kind] or "?", with, pc + jt, pc + jf)
        comment = op % 16 < 8 and comparison(s, kind, k) or nil
        local yes = { a = s.a, arch = s.arch, call = s.call }
        if kind == 0x10 and s.a and s.a.kind == "machine" then yes.arch = arch_name(k) end
        if kind == 0x10 and s.a and s.a.kind == "number" then yes.call = call_name(s.arch, k) end
        flow(pc + 1 + jt, yes)
        flow(pc + 1 + jf, s)
      end
    elseif class == 6 then
      text = op % 32 >= 16 and "ret a" or "ret " .. hex(k)
      comment = op % 32 < 16 and action_text(k) or nil
    else
      text = op % 256 >= 0x80 and "txa" or "tax"
      if text == "txa" then next_state.a = nil end
    end
    if class ~= 5 and class ~= 6 then flow(pc + 1, next_state) end
    out[pc] = { op = op, jt = jt, jf = jf, k = k, text = text, comment = comment }
  end
  return out
end

---A program as bytes, as a value to look at.
---@param bytes string
---@return caisson.policy.Program
function M.of(bytes)
  return setmetatable({ bytes = bytes, instructions = disassemble(bpf.decode(bytes)) }, Program)
end

---The listing, one instruction a line, which bpf_asm would assemble to the same bytes.
---@param c? caisson.Color
---@return string
function Program:text(c)
  c = c or color.of(false)
  local lines, width = {}, 0
  for _, i in ipairs(self.instructions) do width = math.max(width, #i.text) end
  for n, i in ipairs(self.instructions) do
    local text = i.text
    if i.op % 8 == 6 and i.comment then
      local word = i.comment:match("^%S+")
      text = ((word == "allow" or word == "log") and c.green or (word == "notify" or word == "trace") and c.yellow or c.red)(text)
    end
    local label = ("l%d:"):format(n - 1)
    local line = ("%s %s"):format(color.pad(c.dim(label), 6), i.comment and color.pad(text, width) or text)
    lines[n] = line .. (i.comment and "  " .. c.cyan("; " .. i.comment) or "")
    if c.columns then lines[n] = color.cut(lines[n], c.columns) end
  end
  return table.concat(lines, "\n") .. "\n"
end

Program.__tostring = function(self) return self:text() end

---@return string
function Program:json()
  local list = {}
  for n, i in ipairs(self.instructions) do
    list[n] = ('  {"code":%d,"jt":%d,"jf":%d,"k":%.0f,"text":%s%s}'):format(i.op, i.jt, i.jf, i.k, json.string(i.text),
      i.comment and ',"comment":' .. json.string(i.comment) or "")
  end
  return '{"bytes":' .. json.bytes(self.bytes) .. ',"instructions":[\n' .. table.concat(list, ",\n") .. "\n]}\n"
end

return M
