-- What a construction does and how long it takes: noted while it happens (M.watch), and drawn (M.svg, M.html).
--
-- Each step's beginning and end are noted by whoever does it, by the processor's counter, which costs nothing to speak of.
-- The system calls of the child's side are seen by a tracer, where they are asked for: every call then takes some ten
-- microseconds more, and so does its step.
local core = require "caisson.core"

local M = {}

---@class caisson.Timeline
---@field rows table[]      the plan's steps: number, phase, side, step, object, at
---@field steps table       by number: { side =, began =, ended = } in nanoseconds from the start, calls = list or nil, errno =
---@field total number      nanoseconds from the start to the program's exec, or to the failure
---@field executed? number  when the program was executed
---@field born? number      when the child was there
---@field name? string      of the recipe
---@field init? boolean     the child goes on as the program's init, before the steps from `last` on
---@field last integer
---@field traced boolean    were the system calls seen? Then times are longer than without
---@field failure? table    what construction failed with
local Timeline = {}
Timeline.__index = Timeline

local function read_all(fd)
  local parts = {}
  while true do
    local s = fd:read()
    if not s or s == "" then return table.concat(parts) end
    parts[#parts + 1] = s
  end
end

-- A tracer for the child that is there. Returns true | nil, message, errno.
local function attach(self, pid, address)
  local r, w, errno = core.pipe()
  if not r then return nil, w, errno end
  -- what it has seen, which may be more than a pipe holds, while this process waits for the child that it traces
  local path = os.tmpname()
  local file, message
  file, message, errno = core.open(path, "readwrite")
  os.remove(path)
  if not file then return nil, message, errno end
  local spec = self.spec
  local pidfd
  pidfd, message, errno = core.helper(function()
    require("caisson.timeline.tracer").run(spec, pid, address, w, file)
  end, { w, file })
  w:close()
  if not pidfd then
    r:close()
    file:close()
    return nil, message, errno
  end
  self.pidfd, self.report = pidfd, file
  local text = ""
  repeat
    local s = r:read()
    text = text .. (s or "")
  until not s or s == "" or text:find "\n"
  r:close()
  local first = require("caisson.json").decode(text:match "^[^\n]*" or "") or {}
  if not first.seized then return nil, "the tracer: " .. (first.error or "no word of it"), first.errno end
  return true
end

local function add(self, number, t)
  local s = self.steps[number]
  if not s then
    s = { side = self.rows[number].side }
    self.steps[number] = s
  end
  for k, v in pairs(t) do s[k] = v end
end

-- Go along with a construction. o: calls (see the system calls), out (write a line for each step as it happens, on the
-- standard error), each (and one for each call). Returns the timeline, whose .watch is for core.spawn, and to which
-- finish() is to be called behind it | nil, message.
function M.watch(built, o)
  local options = built.options
  if o.calls and (options.trace or options.ptrace) then
    return nil, "the recipe has its program traced (trace, ptrace): a process has one tracer"
  end
  local color = require("caisson.cli.color").of(io.stderr)
  local line = require "caisson.timeline.line"
  local self = setmetatable({ rows = built.plan:rows(), steps = {}, traced = o.calls or false, start = core.now() }, Timeline)
  local exec = built.plan.steps[#built.plan.steps]
  self.name = built.recipe and built.recipe.name
  self.init, self.last = exec.options.init, built.compiled:last()
  if o.calls then
    local names = {}
    for name, nr in pairs(core.seccomp.syscalls()) do names[nr] = name end
    self.spec = { rows = self.rows, names = names, init = exec.options.init, out = o.out, each = o.each, color = color }
    if o.each then require "caisson.trace.decode" end
  end
  local function write(step)
    step.object = self.rows[step.number].object
    if o.out then io.stderr:write(line.of(step, color, false)) end
  end
  if o.out then io.stderr:write(color.dim(line.head(color)), "\n") end
  self.watch = {
    timed = function(number, began, ns, errno)
      add(self, number, { began = began, ended = began + ns, errno = errno ~= 0 and errno or nil, by = "parent" })
      write { number = number, side = "parent", name = self.rows[number].step, ns = ns, errno = errno }
    end,
    stamped = function(times)
      self.born_at, self.executed_at = times.born, times.executed
      for i, t in pairs(times) do
        local s = type(i) == "number" and self.steps[i]
        if type(i) == "number" and not (s and s.by) then add(self, i, { began = t[1], ended = t[2] }) end
      end
    end,
    attach = o.calls and function(pid, address)
      for _, row in ipairs(self.rows) do
        local own = row.step == "clone"
        if own or row.side == "child" then
          write { number = row.number, side = row.side, name = row.step, ns = own and core.now() - self.start or nil,
            note = own and "(with its creator's start)" or "(its creator's, not traced)" }
        end
        if own then break end
      end
      io.stderr:flush()
      return attach(self, pid, address)
    end or nil,
  }
  self.start = core.now()
  return self
end

-- All has been done, or has failed. Times are from the start from here on.
function Timeline:finish(failure)
  if self.report then
    if not core.pidfd.wait(self.pidfd, 10) then core.pidfd.kill(self.pidfd, "KILL") end
    local seen = core.open("/proc/self/fd/" .. self.report:fileno(), "read") -- from its beginning
    for text in (seen and read_all(seen) or ""):gmatch "[^\n]+" do
      local step = require("caisson.json").decode(text)
      if step and step.number and not step.handover then add(self, step.number, { calls = step.calls or {} }) end
    end
    if seen then seen:close() end
    self.report:close()
    self.pidfd:close()
    self.report, self.pidfd = nil, nil
  end
  self.failure = failure
  if failure and failure.number then
    add(self, failure.number, { errno = failure.errno })
  end
  local last, first = 0, math.huge
  for _, s in pairs(self.steps) do
    if s.began then first = math.min(first, s.began) end
  end
  if first == math.huge then first = self.start end
  self.start = math.min(self.start, first)
  for _, s in pairs(self.steps) do
    s.began = s.began and s.began - self.start
    s.ended = s.ended and s.ended - self.start
    last = math.max(last, s.ended or s.began or 0)
  end
  self.born = self.born_at and self.born_at - self.start
  self.executed = self.executed_at and self.executed_at - self.start
  self.total = math.max(last, self.executed or 0, self.born or 0, 1)
  -- clone ends where the child begins, exec where the program does
  for i, row in ipairs(self.rows) do
    local s = self.steps[i]
    if s and s.began and not s.ended then
      s.ended = row.step == "clone" and self.born or row.step == "exec" and self.executed or self.total
    end
  end
end

-- One line on all of it.
function Timeline:summary()
  local line = require "caisson.timeline.line"
  local steps, calls, bad = 0, 0, 0
  for _, s in pairs(self.steps) do
    steps = steps + 1
    calls = calls + #(s.calls or {})
    bad = bad + line.failures(s.calls or {})
  end
  local text = ("%d steps in %s"):format(steps, (line.duration(self.total):gsub("^ +", "")))
  if not self.traced then return text end
  return ("%s, %d system calls of the child's, %d failed. Each takes some 20 µs longer while it is traced; --timeline alone "
    .. "measures without."):format(text, calls, bad)
end

-- As a picture that needs no other file; it follows the viewer's light or dark.
---@return string
function Timeline:svg() return require("caisson.timeline.draw").svg(self) end

-- As a page that needs no other file: the picture, and a table with each step's system calls.
---@return string
function Timeline:html() return require("caisson.timeline.draw").html(self) end

return M
