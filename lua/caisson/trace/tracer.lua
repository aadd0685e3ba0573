-- The tracer: a process of its own that has seized the container's first, follows whatever that makes, and asks
-- a function about the calls that a filter picks. Its end is the end of all that it traces.
local core = require "caisson.core"
local Call = require "caisson.trace.call"
local json = require "caisson.json"

local ptrace = core.ptrace

local Tracer = {}
Tracer.__index = Tracer

-- A line for the host: an object of strings, numbers and lists.
function Tracer:tell(what)
  self.report:write(json.value(what) .. "\n")
end

-- The program runs from its own exec on: that of the first process or, where that one becomes an init, of the
-- first that the init makes. What is asked about before is construction; what hooks execute there is not it.
local function on_exec(self, tid)
  if not self.root and tid == self.first and self.init then
    self.init_runs = true
  elseif not self.root and (tid == (self.init and self.program or self.first) or self.init_runs and not self.program) then
    -- (who made it may be heard after it)
    local root = core.open(("/proc/%d/root"):format(tid), { "path", "directory" })
    local st = core.lstat(("/proc/%d/ns/mnt"):format(tid))
    if not root or not st or not st.target then error("the container's root can't be opened", 0) end
    self.root_fd, self.root = root, "/proc/self/fd/" .. root:fileno()
    self.namespace = st.target
  end
  ptrace.cont(tid)
end

local function on_child(self, tid, child)
  if self.init_runs and tid == self.first then self.program = self.program or child end
  ptrace.cont(tid)
end

local function kill(self, call, why, path)
  self:tell { denied = { call = call.name, why = why, path = path } }
  self.over = true -- and the kernel kills all that is traced
end

local function decide(self, tid)
  local info = ptrace.call(tid)
  if not info then return end -- killed meanwhile
  if not self.root then
    ptrace.cont(tid)
    return
  end
  local call = Call.new(tid, info, self.names[info.nr] or "#" .. info.nr, self.root)
  rawset(call, "namespace", self.namespace)
  rawset(call, "note", function(_, text) self:tell { note = tostring(text) } end)
  if not info.native then return kill(self, call, "a call of another architecture") end
  local ok, v = pcall(self.decide, call)
  if not ok then
    self:tell { error = ("%s: %s"):format(call.name, tostring(v)) }
    self.over = true
  elseif v == nil or v == true then
    ptrace.cont(tid)
  elseif not Call.is_verdict(v) then
    self:tell { error = ("%s: decide returned a %s; nothing, call:deny(), call:fake() or call:kill() expected"):format(
      call.name, type(v)) }
    self.over = true
  elseif v.kind == "kill" then
    kill(self, call, v.why, v.path)
  elseif ptrace.skip(tid, v.result) then
    ptrace.cont(tid)
  end
end

-- A thread that dies in between (ESRCH) has an end to be waited for like any other.
local on = {
  exited = function() end,
  killed = function() end,
  signal = function(_, tid, sig) ptrace.cont(tid, sig) end,
  group = function(_, tid) ptrace.listen(tid) end, -- stopped as without us, until it is continued
  stop = function(_, tid) ptrace.cont(tid) end, -- of a new thread; it may come before its maker's word of it
  fork = on_child,
  vfork = on_child,
  clone = on_child,
  exec = on_exec,
  seccomp = decide,
}

local function go_on(_, tid) ptrace.cont(tid) end

-- The life of the helper: seize pid, say so, serve until nothing is left.
function Tracer.run(spec, pid, report)
  local self = setmetatable({ decide = spec.decide, init = spec.init, first = pid, report = report, names = spec.names }, Tracer)
  local ok, message, errno = ptrace.seize(pid, { "fork", "vfork", "clone", "exec", "seccomp", "exitkill" })
  self:tell(ok and { seized = pid } or { error = message, errno = errno })
  if not ok then return end
  while not self.over do
    local tid, kind, value = ptrace.wait()
    if not tid then break end
    (on[kind] or go_on)(self, tid, value)
  end
end

return Tracer
