-- The filter of a run that is learnt: the tracer is asked about every call, but for those that are made from the page
-- that hot ones are led round by (core/learn_site.c).
local M = {}

local LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06 -- BPF_LD|W|ABS, BPF_JMP|JEQ|K, |JGE|K, BPF_RET|K
local NR, IP_LOW, IP_HIGH = 0, 8, 12 -- struct seccomp_data
local TRACE, ALLOW = 0x7ff00001, 0x7fff0000
local RESTART = 219 -- x86-64's restart_syscall, which the kernel has put into the place of the call

local function instruction(code, yes, no, k)
  local function byte(n) return math.floor(k / 256 ^ n) % 256 end
  return string.char(code % 256, math.floor(code / 256), yes, no, byte(0), byte(1), byte(2), byte(3))
end

---@param from? integer  where the page is; nil: there is none
---@param to? integer
---@return string program
function M.program(from, to)
  if not from then return instruction(RETURN, 0, 0, TRACE) end
  return table.concat {
    instruction(LOAD, 0, 0, IP_HIGH),
    instruction(EQUAL, 0, 6, 0),
    instruction(LOAD, 0, 0, IP_LOW),
    instruction(AT_LEAST, 0, 4, from),
    instruction(AT_LEAST, 3, 0, to),
    instruction(LOAD, 0, 0, NR),
    instruction(EQUAL, 1, 0, RESTART),
    instruction(RETURN, 0, 0, ALLOW),
    instruction(RETURN, 0, 0, TRACE),
  }
end

return M
