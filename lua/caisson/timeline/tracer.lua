-- Follows a child while it is made, and notes every system call of it, with the step that it belongs to: a process of its
-- own, as a tracer has to be. Which step is at work stands in the child's memory.
local core = require "caisson.core"
local line = require "caisson.timeline.line"

local ptrace = core.ptrace

local M = {}

local Tracer = {}
Tracer.__index = Tracer

local paused = 2147483648

-- Where the runner, executed anew as an init, has what the child before it had: its only memory that it shares.
local function record_of(tid)
  local f = io.open(("/proc/%d/maps"):format(tid))
  local text = f and f:read "*a" or ""
  if f then f:close() end
  local from = text:match "(%x+)%-%x+ rw%-s [^\n]*/dev/zero %(deleted%)"
  return from and tonumber(from, 16) + 4
end

-- The step (from 1) that the child is at: nil where nobody can tell.
function Tracer:at(tid)
  if not self.address then self.address = record_of(tid) end
  local bytes = self.address and ptrace.read(tid, self.address, 4)
  if not bytes or #bytes < 4 then return nil end
  local a, b, c, d = bytes:byte(1, 4)
  return a + b * 256 + c * 65536 + d * 16777216 + 1
end

-- The line of the step that is over.
function Tracer:over(now)
  local step = self.step
  if not step then return end
  self.step = nil
  step.ended = now
  step.ns = now - step.began
  self.steps[#self.steps + 1] = step
  if self.spec.out then io.stderr:write(line.of(step, self.spec.color, self.spec.each)) end
end

function Tracer:entry(tid, info)
  local now = core.now()
  local number = self:at(tid)
  local row = number and self.spec.rows[number]
  if not row or number >= paused or row.side == "parent" then -- at a breakpoint, or it waits for its host
    self:over(now)
    self.current = nil
    return
  end
  if not self.step or self.step.number ~= number then
    self:over(now)
    self.step = { number = number, side = "child", name = row.step, object = row.object, began = now, calls = {} }
  end
  local name = self.spec.names[info.nr] or "#" .. info.nr
  local call = { name = name }
  if self.spec.each then
    local ok, text = pcall(require("caisson.trace.decode").call, { name = name, args = info.args,
      read = function(address, size) return (ptrace.read(tid, address, size)) end })
    call.text = ok and text or name .. "(?)"
  end
  self.step.calls[#self.step.calls + 1] = call
  self.current, self.since = call, core.now()
end

function Tracer:exit(info)
  local call = self.current
  if not call then return end
  call.ns, call.result = core.now() - self.since, info.result
  self.current = nil
end

-- Whether all is seen now.
function Tracer:event(tid, kind, value)
  if kind == "exited" or kind == "killed" then
    return tid == self.first and not self.spec.init or tid == self.program
  elseif kind == "exec" then
    if self.current then self.current.result, self.current.ns = 0, core.now() - self.since end
    self.current = nil
    if not self.spec.init or self.handed_over then return true end
    -- what was done since the last step is none: the child goes on in the runner's program, as the program's init
    if self.step then self.step.name, self.step.object, self.step.handover = "(as init)", "", true end
    self:over(core.now())
    self.handed_over, self.address = true, nil
  elseif kind == "fork" or kind == "vfork" or kind == "clone" then
    if self.handed_over and tid == self.first and not self.program then
      self.program, self.who, self.address = value, value, nil
    end
  elseif kind == "syscall" and tid == self.who then
    local info = ptrace.call(tid)
    if info and info.op == "entry" then self:entry(tid, info) elseif info and info.op == "exit" then self:exit(info) end
  end
  if kind == "signal" then
    ptrace.syscall(tid, value)
  elseif kind == "group" then
    ptrace.listen(tid)
  elseif kind ~= "exited" and kind ~= "killed" then
    ptrace.syscall(tid)
  end
  return false
end

-- The helper's life. spec: rows (of the plan), names (of calls by number), init, out (are lines to be written as it
-- happens?), each, color. ready: a pipe, which gets one line of JSON when it has begun. file: gets one
-- for each step when it is over.
function M.run(spec, pid, address, ready, file)
  local json = require "caisson.json"
  local function text(what) return (json.document(what):gsub("\n *", " ")) .. "\n" end
  local function tell(what)
    ready:write(text(what))
    ready:close()
  end
  local self = setmetatable({ spec = spec, first = pid, who = pid, address = address, steps = {} }, Tracer)
  local options = { "sysgood", "exec" }
  if spec.init then for _, o in ipairs { "fork", "vfork", "clone" } do options[#options + 1] = o end end
  local ok, message, errno = ptrace.seize(pid, options)
  if ok then ok, message, errno = ptrace.interrupt(pid) end
  tell(ok and { seized = pid } or { error = message, errno = errno })
  if not ok then return end
  while true do
    local tid, kind, value = ptrace.wait()
    if not tid or self:event(tid, kind, value) then break end
  end
  self:over(core.now())
  io.stderr:flush()
  local parts = {}
  for i, step in ipairs(self.steps) do parts[i] = text(step) end
  parts = table.concat(parts)
  while #parts > 0 do
    local n = file:write(parts)
    if not n then break end
    parts = parts:sub(n + 1)
  end
  -- whoever is traced still goes on with the end of this process
end

return M
