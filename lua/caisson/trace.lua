-- Tracing: system calls seen, with their arguments and paths, by a function that lets them be or answers in
-- their place (ptrace(2), seccomp's action trace).
--
--   trace = {
--     calls = { "openat", "@network-io" },       -- all others run at full speed
--     decide = function(call)                    -- in a process of its own, with this one's values as they are
--       if call.name == "connect" then return call:deny "EACCES" end
--       for _, p in ipairs(call:paths()) do
--         if p.path == "/etc/passwd" then return call:kill("secret", p.path) end
--       end
--     end,
--   }
local core = require "caisson.core"
local plan_module = require "caisson.plan"

local M = {}

-- Recipe option ptrace = true, or a function(pid): the thread that starts the program traces it, and finds it
-- stopped at its exec. A filter that comes before is one that may ask the tracer, so the program stops before
-- that too, for the function; true lets no tracee outlive the tracer, and has it told what the filter asks.
---@param b table  a builder
function M.by_host(b)
  local fn = b.options.ptrace
  b:check_type("ptrace", fn, "boolean", "function")
  if b.options.init then b:fail("ptrace", "the program's parent is its init (init = true), which traces nobody") end
  b.phase = "policy"
  b:step("ptrace", "ptrace_me", {})
  if fn == true and not b.options.seccomp then return end
  b:step("ptrace", "stop", {})
  b.plan.steps[#b.plan.steps + 1] = plan_module.call(fn ~= true and fn or function(pid)
    return core.ptrace.setoptions(pid, { "exitkill", "seccomp" })
  end, { name = "ptrace", side = "parent", phase = b.phase, origin = b.origins.ptrace })
end

-- ---- a tracer of its own ----

---@class caisson.trace.Tracing  the host's side of a tracer
local Tracing = {}
Tracing.__index = Tracing
M.Tracing = Tracing

local function read_line(fd)
  local parts = {}
  while true do
    local s, message = fd:read()
    if not s or s == "" then return nil, message or "the tracer has ended" end
    parts[#parts + 1] = s
    if s:find("\n", 1, true) then break end
  end
  return table.concat(parts)
end

-- The tracer's process. pid: the first process's; nil: it comes in a line from `which`.
local function begin(self, pid, which)
  local r, w, errno = core.pipe()
  if not r then return nil, w, errno end
  local spec = self.spec
  local pidfd, message
  pidfd, message, errno = core.helper(function()
    local by = require(spec.tracer or spec.recorder and "caisson.learn.recorder" or "caisson.trace.tracer")
    local state = by.prepare and by.prepare(spec)
    local line = which and read_line(which)
    if not which or line then by.run(spec, pid or tonumber(line), w, state) end
  end, { w, which }, which ~= nil)
  w:close()
  if not pidfd then
    r:close()
    return nil, message, errno
  end
  self.pidfd, self.report = pidfd, r
  return true
end

-- The pipe for the process's number. Both ends: to write to a tracer that is gone would be the end of the host, too.
local function let_go(self)
  for _, fd in ipairs(self.which or {}) do fd:close() end
  self.which = nil
end

---Before anything is made: the tracer gets ready while the child does. What fails here is tried again at its start.
function Tracing:prepare()
  local from, to = core.pipe()
  if not from then return end
  self.which = { from, to }
  if not begin(self, nil, from) then let_go(self) end
end

-- It has been told which process to seize, and says that it has.
local function seized(self)
  local line, message = read_line(self.report)
  -- as explain's tracer writes it: nothing is loaded for that
  if line and line:find '^{ "seized": %d+ }' then return true end
  local first = line and require("caisson.json").decode(line)
  if first and first.seized then return true end
  return nil, first and first.error or "no word of the tracer: " .. tostring(message), first and first.errno, not first
end

-- The step of the host's: a tracer for the child that has just been made.
---@param pid integer
---@return true? ok, string? message, integer? errno
function Tracing:start(pid)
  local ok, message, errno, silent
  if self.which then
    ok = self.which[2]:write(pid .. "\n")
    silent = not ok
    if ok then ok, message, errno, silent = seized(self) end
    let_go(self)
    if silent then self:close() end -- its fork was not to be used
  end
  if not self.pidfd then
    ok, message, errno = begin(self, pid)
    if ok then ok, message, errno = seized(self) end
  end
  if not ok then return nil, message, errno end
  self.report:nonblock(true)
  return true
end

-- What the tracer says, in chunks.
---@param chunk string
function Tracing:hear(chunk)
  local text, from = (self.text or "") .. chunk, 1
  while true do
    local at = text:find("\n", from, true)
    if not at then break end
    local told = require("caisson.json").decode(text:sub(from, at - 1)) or {}
    if told.note then self.notes[#self.notes + 1] = told.note end
    self.denied = self.denied or told.denied
    self.error = self.error or told.error
    self.learnt = self.learnt or told.learnt
    from = at + 1
  end
  self.text = text:sub(from)
end

-- What has been learnt comes at the program's end, and is worth waiting for.
function Tracing:hear_all()
  while not self.learnt and not self.error do
    local ready = core.poll({ { fd = self.report, events = "r" } }, 10)
    local chunk = ready and next(ready) and self.report:read()
    if not chunk or chunk == "" then
      self.error = self.error or "what was learnt has not been told"
      return
    end
    self:hear(chunk)
  end
end

-- Into the result of the run.
---@param r caisson.Result
function Tracing:account(r)
  if self.spec.recorder and self.report then self:hear_all() end
  r.learnt = self.learnt
  r.trace_notes = self.notes
  r.trace_error = self.error
  r.denied = self.denied
  if self.denied then
    r.status = "denied_syscall"
  elseif self.error then
    r.status = "failed"
  end
end

-- End the tracer; what it traces ends with it.
function Tracing:kill()
  if self.pidfd then core.pidfd.kill(self.pidfd, "KILL") end
end

-- Let go of the tracer and of what it says.
function Tracing:close()
  let_go(self)
  if not self.pidfd then return end
  self:kill()
  core.pidfd.wait(self.pidfd)
  self.pidfd:close()
  self.pidfd = nil
  if self.report then self.report:close() end
  self.report = nil
end

local function names_of(b, list)
  local expand, set, all = require("caisson.policy.names").expand, {}, {}
  b:check_type("trace/calls", list, "table")
  for _, name in ipairs(list) do
    if name == "@paths" then
      for _, n in ipairs(M.path_calls()) do set[n] = true end
    else
      local ok, message = pcall(expand, name, set, 0)
      if not ok then b:fail("trace/calls", (message:gsub("^[^:]*:%d+: ", ""))) end
    end
  end
  for name in pairs(set) do
    if core.seccomp.number(name) then all[#all + 1] = name end
  end
  table.sort(all)
  if #all == 0 then b:fail("trace/calls", "no system call to trace") end
  return all
end

-- Recipe option trace = { calls =, decide = }: the tracer takes the child as soon as it is there, when whoever
-- started it may still do so; the filter that picks the calls is loaded with the others, at the end.
---@param b table  a builder
function M.after_clone(b)
  local t = b.options.trace
  b:check_type("trace", t, "table")
  local spec = { init = b.options.init }
  if t.recorder then -- of caisson.learn
    spec.recorder, spec.sites = true, t.sites
  else
    b:check_keys("trace", t, { "calls", "decide" })
    b:check_type("trace/decide", t.decide, "function")
    spec.decide, spec.names = t.decide, {}
    for name, nr in pairs(core.seccomp.syscalls()) do spec.names[nr] = name end
    b.trace_calls = names_of(b, t.calls)
  end
  if b.options.ptrace then b:fail("trace", "a process has one tracer (ptrace is given too)") end
  M.attach(b, setmetatable({ notes = {}, spec = spec }, Tracing))
end

-- The steps that have the child traced from its birth on, before it is anybody else.
---@param b table  a builder
---@param tracing table
function M.attach(b, tracing)
  b.tracing = tracing
  b.phase = "trace"
  b:step("trace", "ptracer", { who = "any" }) -- Yama would let none but ancestors
  b.plan.steps[#b.plan.steps + 1] = plan_module.call(function(pid) return b.tracing:start(pid) end,
    { name = "trace", side = "parent", phase = b.phase, origin = b.origins.trace or { recipe = b.recipe, path = {} } })
  b:step("trace", "ptracer", { who = "none" })
end

local function learning(b)
  local from, to
  if b.tracing.spec.sites then from, to = core.learn.sites() end
  b:step("trace", "seccomp", { program = require("caisson.learn.filter").program(from, to) })
end

-- The filter. Calls of other architectures, which it could not name, are the end of who makes them.
---@param b table  a builder
---@return nil
function M.filter(b)
  b.phase = "policy"
  if b.tracing.spec.recorder then
    return learning(b)
  end
  local rule = { action = { "trace", 1 } }
  for i, name in ipairs(b.trace_calls) do rule[i] = name end
  local program, message = core.seccomp.compile { default = "allow", rules = { rule }, bad_architecture = "kill_process" }
  if not program then b:fail("trace/calls", message) end
  b:step("trace", "seccomp", { program = program })
end

-- The calls that take a path; "@paths" in a list of calls.
---@return string[]
function M.path_calls() return require("caisson.trace.calls").names() end

-- ---- deciding by sets of paths ----

---@class caisson.trace.Set
local Set = {}
Set.__index = Set

-- A set of paths: "/etc/passwd" is that file, "/usr/" a directory and all below it, "/data/*" what is right in it.
---@param list string[]
---@return caisson.trace.Set
function M.set(list)
  local set = setmetatable({ exact = {}, trees = {}, flat = {} }, Set)
  for i, p in ipairs(list or {}) do
    if type(p) ~= "string" or p:sub(1, 1) ~= "/" then
      error(("an absolute path expected, got %s (item %d)"):format(tostring(p), i), 2)
    end
    if p:sub(-2) == "/*" then
      set.flat[p:sub(1, -3)] = true
    elseif p:sub(-1) == "/" then
      set.trees[p:sub(1, -2)] = true
    else
      set.exact[p] = true
    end
  end
  return set
end

-- Is the path in it?
---@param path string
---@return boolean
function Set:has(path)
  if self.exact[path] then return true end
  local up = path == "/" and "" or path
  if path ~= "/" and self.flat[path:match("^(.*)/[^/]*$")] then return true end
  while true do
    if self.trees[up] then return true end
    if up == "" then return false end
    up = up:match("^(.*)/[^/]*$") or ""
  end
end

local kinds = { "readable", "writable", "statable", "banned" }

-- A function for `decide` that goes by sets of paths, as lists for M.set: what may be written may be read too, and
-- what may be read may be looked at. A path of the list `banned` is denied (EACCES); any other is the end.
-- "/proc/self/" is the process's own folder there, by whatever name it is asked for.
---@param lists { readable?: string[], writable?: string[], statable?: string[], banned?: string[] }
---@return fun(call: caisson.trace.Call)
function M.by_sets(lists)
  local sets = {}
  for k in pairs(lists) do
    local known = false
    for _, name in ipairs(kinds) do known = known or name == k end
    if not known then error(require("caisson.words").unknown("unknown set", tostring(k), kinds), 2) end
  end
  for _, k in ipairs(kinds) do sets[k] = M.set(lists[k]) end
  local function own(call, path)
    local id, rest = path:match("^/proc/(%d+)(.*)$")
    return id and id == call:own_id() and "/proc/self" .. rest or path
  end
  local function may(access, path)
    if path:sub(1, 1) ~= "/" then return true end -- a pipe, a socket: it has it already
    return sets.writable:has(path) or access ~= "write" and sets.readable:has(path)
      or access == "stat" and (path == "/" or sets.statable:has(path))
  end
  return function(call)
    for _, p in ipairs(call:paths()) do
      if not p.path then return call:deny(p.errno) end -- as the kernel would, or since nobody can tell
      local path = own(call, p.path)
      if not (p.descriptor and p.access == "stat") and not may(p.access, path) then
        if sets.banned:has(path) then return call:deny "EACCES" end
        return call:kill(p.access, path)
      end
    end
  end
end

return M
