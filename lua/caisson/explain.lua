-- Why a program in a container was denied something: `caisson run --explain`, caisson.run(recipe, { explain = true }).
--
-- A tracer sees what the policy denies, and how the calls end that the kernel may deny; all others run at full speed:
--
--   - The policy's filters ask the tracer where they would have answered with an errno, and it answers so in their place:
--     it evaluates the filters as they were. What they kill for, and what they ask a listener, stays as it is.
--   - A filter in front of them picks the calls whose end is looked at: those that open, make and change files, that make
--     processes and sockets, and those that need a capability. Not read, write, futex and their like.
--   - Of most of those, only a place's first call stops it: from then on a stub in the program's memory makes it, looks at
--     its end, and asks the tracer where it failed (core/stub.c; x86-64, in memory where no other thread runs).
--
-- What the program sees is what it would see without, but for the stubs, where it reads its own code. Two things can't
-- be: it can't trace its own children, since a process has one tracer; and no filter of its own may have a listener
-- (EBUSY, as where the container has one), which would be asked before the tracer.
local core = require "caisson.core"

local M = {}

---@class caisson.explain.Cause
---@field kind string     "seccomp", "landlock", "mount", "masked", "capability", "cgroup", "rlimit", "mode", ...
---@field why string      in words
---@field at? string      file:line of the recipe's that says so
---@field rule? string    of the policy, or the entry of the recipe
---@field fix? string     what to put into the recipe

---@class caisson.explain.Event
---@field call string     the system call's name
---@field text string     with its arguments
---@field code? string    the errno, such as "EACCES"
---@field signal? string  that it was killed by
---@field path? string    the file that it is about, as the container has it
---@field pid? integer    the process, as the container knows it
---@field comm? string
---@field exe? string
---@field count integer
---@field causes caisson.explain.Cause[]

local errnos = { "EPERM", "EACCES", "ENOSYS", "EROFS", "EMFILE", "ENFILE", "EFBIG", "ENOMEM", "ENOSPC", "EDQUOT", "EAGAIN",
  "EXDEV", "EUSERS", "ENETUNREACH", "EINVAL" }

local function rlimit_of(b, name)
  local v = (b.options.rlimits or {})[name]
  return v ~= nil and v ~= "unlimited" and v ~= "inherit"
end

M.NOTHING = '{ "over": {} }' -- what the tracer says at the end of a program that was denied nothing

-- ---- the host's side ----

local Explaining = {}

function Explaining:hear(chunk)
  self.text = (self.text or "") .. chunk
  for line in self.text:gmatch("([^\n]*)\n") do
    local told = line == M.NOTHING and { over = {} } or require("caisson.json").decode(line) or {}
    if told.event then self.events[told.event.id] = told.event end
    if told.over then self.over = told.over end
    self.error = self.error or told.error
  end
  self.text = self.text:match("[^\n]*$")
end

-- The tracer knows of the program's end before its parent does, and then tells what is left to tell.
local function hear_out(self)
  local deadline = core.now() + 10e9
  while not self.over and self.report and core.now() < deadline do
    core.poll({ { fd = self.report, events = "r" } }, 1)
    local data, _, errno = self.report:read()
    if data == "" or not data and errno ~= core.errno.EAGAIN then break end
    if data then self:hear(data) end
  end
end

-- Into the result: explained, in the order in which things happened, and explained_more, what there was no room for.
function Explaining:account(r)
  hear_out(self)
  if not self.over then self.error = self.error or "its process is gone" end
  local over = self.over or {}
  local list = {}
  for i, e in ipairs(self.events) do
    e.count, e.id = (over.counts or {})[i] or e.count, nil
    list[i] = e
  end
  if r.oom then require("caisson.explain.limits").account(self.built, r, list, over) end
  r.explained = list
  r.explained_more = over.more and over.more > 0 and over.more or nil
  -- a limit that has ended the program may have had to end its tracer, too
  if self.error and r.status ~= "time_limit" and r.status ~= "output_limit" then
    r.trace_error, r.status = self.error, "failed"
  end
end

local function class()
  if not Explaining.__index then
    Explaining.__index = Explaining
    setmetatable(Explaining, { __index = require("caisson.trace").Tracing })
  end
  return Explaining
end

-- ---- building ----

-- The tracer, which is there from the first process's birth on.
function M.after_clone(b)
  for _, name in ipairs { "trace", "ptrace" } do
    if b.options[name] then b:fail(name, "a process has one tracer: --explain is another") end
  end
  b.explain = { tracer = "caisson.explain.tracer", built = b, init = b.options.init, programs = {}, errnos = {} }
  -- what our filters give to the tracer: any number, but none that a filter of the program's would
  b.explain.tag = math.floor(core.now() / 1000) % 65535 + 1
  b.explain.key = core.ptrace.stub_key()
  for i, name in ipairs(errnos) do b.explain.errnos[i] = core.errno[name] end
  require("caisson.trace").attach(b, setmetatable({ events = {}, built = b, spec = b.explain }, class()))
end

-- The filter that picks calls.
function M.filter(b)
  local cgroup = b.options.cgroup
  local processes = rlimit_of(b, "nproc") or type(cgroup) == "table" and cgroup.pids ~= nil
  local filter = require "caisson.explain.filter"
  b.explain.calls = b.explain.key and filter.led()
  local program = filter.program(b.explain.tag, { processes = processes, memory = rlimit_of(b, "as") or rlimit_of(b, "data"),
    key = b.explain.key, calls = b.explain.calls })
  b.phase = "policy"
  -- no policy of the recipe's: what the kernel does against speculation where there is one is not its wish
  b.explain.step = b:step("explain", "seccomp", { program = program, flags = { "spec_allow" } })
end

local RET, ERRNO, TRACE = "\6\0\0\0", 0x0005, 0x7ff0

-- A filter that asks where it would have answered with an errno.
local function asking(program, tag)
  local ask = string.char(tag % 256, math.floor(tag / 256), TRACE % 256, math.floor(TRACE / 256))
  local parts, from, at = {}, 1, program:find(RET, 1, true)
  while at do
    local low, high = program:byte(at + 6, at + 7)
    if at % 8 == 1 and low + high * 256 == ERRNO then
      parts[#parts + 1] = program:sub(from, at + 3) .. ask
      from = at + 8
    end
    at = program:find(RET, at + 1, true)
  end
  return table.concat(parts) .. program:sub(from)
end

-- The plan is whole: its filters become such, and are kept as they were for the tracer.
function M.finish(b)
  -- What a ruleset is made by is the construction's, whatever the policy says of it; and filters behind it are of the
  -- program alone, not of its init.
  local own, last = b.plan:find(b.explain.step), nil
  for i, step in ipairs(b.plan.steps) do
    if step.step == "landlock.restrict" then last = i end
  end
  if last and own and last > own then b.plan:move(b.explain.step, b.plan.steps[last + 1]) end
  for _, step in ipairs(b.plan.steps) do
    if step.step == "seccomp" and step ~= b.explain.step then
      local program = step.options.program
      b.explain.programs[#b.explain.programs + 1] = { program = program, step = step }
      step.options.program = asking(program, b.explain.tag)
    end
  end
end

return M
