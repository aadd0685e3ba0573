-- The host's side of seccomp_notify: takes what the filter asks, has the handlers decide, answers.
--
-- Each handler runs as a coroutine, in this process: one that waits (call:wait()) keeps nobody else. Nobody is left
-- without an answer: a handler that raises has its call fail with EPERM, and the error goes to who runs the container; one
-- that is not done in time, with ETIMEDOUT.
local core = require "caisson.core"
local Call = require "caisson.notify.call"
local is_verdict = require("caisson.trace.call").is_verdict

local notify, errno = core.notify, core.errno

---@class caisson.notify.Notifier
local M = {}
M.__index = M

local late = {} -- what a handler that takes too long is ended by

-- spec: handlers (by the name of the call), otherwise, time_limit (seconds), names (of calls, by number), level (from
-- which an error in them is told).
function M.new(spec)
  return setmetatable({ spec = spec, asked = {}, notes = {}, timeouts = 0 }, M)
end

-- The container's root as it was made: { fd, path, namespace } | nil, message, errno.
function M:root()
  if self.found then return self.found end
  local proc = ("/proc/%d/"):format(self.pid)
  local fd, message, number = core.open(proc .. "root", { "path", "directory" })
  if not fd then return nil, message, number end
  local st, is = core.lstat(proc .. "ns/mnt"), core.lstat(proc .. "root")
  -- one that it has made its root since, by chroot(2), is none to resolve paths of others in
  if not st or not st.target or not is or is.target ~= "/" then
    fd:close()
    return nil, "the container's root can't be found", errno.EACCES
  end
  self.found = { fd = fd, path = "/proc/self/fd/" .. fd:fileno(), namespace = st.target }
  return self.found
end

-- ---- answers ----

-- Who asks may be gone: then nobody minds.
local function answer(self, call, with)
  local ok, message, number = notify.answer(self.fd, call.id, with)
  if not ok and number ~= errno.ENOENT and number ~= errno.EINPROGRESS then error(message, 0) end
end

local function inject(self, call, v)
  local number, _, err = notify.add(self.fd, call.id, v.fd, { cloexec = v.cloexec, number = v.number, answer = true })
  if type(v.fd) == "userdata" then v.fd:close() end
  -- no room for it there, for one
  if not number and err ~= errno.ENOENT then answer(self, call, { errno = err }) end
end

local function fail(self, call, message)
  answer(self, call, { errno = errno.EPERM })
  self.error = self.error or ("seccomp_notify.%s: %s"):format(call.name, message)
end

-- PF_FORKNOEXEC of its flags in /proc: a process that has executed nothing yet.
local function has_executed(tid)
  local f = io.open(("/proc/%d/stat"):format(tid))
  local flags = f and f:read("*a"):match("^.*%) %S %S+ %S+ %S+ %S+ %S+ (%d+)")
  if f then f:close() end
  return not flags or math.floor(tonumber(flags) / 64) % 2 == 0
end

local function give(self, call, v)
  if v == nil or v == true then return answer(self, call, { continue = true }) end
  if not is_verdict(v) then
    return fail(self, call, ("it returned a %s; nothing, call:deny(), call:fake(), call:inject(), call:continue() or "
      .. "call:kill() expected"):format(type(v)))
  end
  if v.kind == "continue" then
    answer(self, call, { continue = true })
  elseif v.kind == "inject" then
    inject(self, call, v)
  elseif v.kind == "kill" then -- in its call; but what makes the program has to come to an end
    self.denied = self.denied or { call = call.name, why = v.why, path = v.path }
    if not has_executed(call.tid) then answer(self, call, { errno = errno.EPERM }) end
  elseif v.result < 0 and v.result >= -4095 then
    answer(self, call, { errno = -v.result })
  else
    answer(self, call, { value = v.result })
  end
end

-- ---- handlers ----

-- Go on with its handler; a hook looks at the clock meanwhile.
local function resume(self, call, ...)
  local hook, mask, count = debug.gethook()
  self.current = call
  debug.sethook(call.handler, function()
    if core.now() > call.deadline then error(late, 0) end
  end, "", 10000)
  local ok, v, seconds = coroutine.resume(call.handler, ...)
  debug.sethook(call.handler)
  if type(hook) == "function" then debug.sethook(hook, mask, count) end
  self.current = nil
  if not ok and v == late then
    self.timeouts = self.timeouts + 1
    answer(self, call, { errno = errno.ETIMEDOUT })
  elseif not ok then
    fail(self, call, tostring(v))
  elseif coroutine.status(call.handler) ~= "dead" then
    call.awaits, call.until_ns = v, seconds and core.now() + seconds * 1e9
    self.asked[#self.asked + 1] = call
  else
    give(self, call, v)
  end
end

local function begin(self, info)
  local spec = self.spec
  local name = info.native and spec.names[info.nr] or "#" .. info.nr
  local call = Call.new(self, info, name)
  local handler = info.native and spec.handlers[name] or spec.otherwise
  -- of another architecture: nobody has named it
  if not handler then return answer(self, call, { errno = errno.ENOSYS }) end
  rawset(call, "handler", coroutine.create(handler))
  rawset(call, "deadline", core.now() + spec.time_limit * 1e9)
  resume(self, call, call)
end

-- Those that wait: what they wait for may be there, their time over, or who asked gone.
local function go_on(self)
  local list = self.asked
  self.asked = {}
  local now = core.now()
  for _, call in ipairs(list) do
    local ready = call.awaits and #(core.poll({ { fd = call.awaits, events = "r" } }, 0) or {}) > 0
    local due = ready or call.until_ns and now >= call.until_ns or not call.awaits and not call.until_ns
    if call:waits() then -- else its handler is left where it stands
      if now > call.deadline then
        self.timeouts = self.timeouts + 1
        answer(self, call, { errno = errno.ETIMEDOUT })
      elseif due then
        resume(self, call, ready == true)
      else
        self.asked[#self.asked + 1] = call
      end
    end
  end
end

local function drop(self)
  if type(self.fd) == "userdata" then self.fd:close() end
  self.fd = nil
end

-- Take what is asked, go on with what waits.
local function serve(self)
  if not self.fd then return end
  go_on(self)
  while not self.error and not self.denied do
    local info, message, number = notify.receive(self.fd)
    if info then
      begin(self, info)
    elseif number then
      error(message, 0)
    else
      if message == "ended" then drop(self) end
      break
    end
  end
end

-- The container's turn. Raises what a handler raised.
function M:step()
  serve(self)
  if self.error then error(self.error, 0) end
end

-- What to poll for, beside what others poll for.
function M:fds(list)
  if self.fd then list[#list + 1] = { fd = self.fd, events = "r" } end
  for _, call in ipairs(self.asked) do
    if call.awaits then list[#list + 1] = { fd = call.awaits, events = "r" } end
  end
end

-- Seconds until step() has something to do without any of these; nil: none.
function M:timeout()
  local at
  for _, call in ipairs(self.asked) do
    local due = math.min(call.deadline, call.until_ns or call.awaits and math.huge or core.now() + 1e7)
    at = math.min(at or due, due)
  end
  return at and math.max((at - core.now()) / 1e9, 0)
end

-- While the container is made, by the engine, which has the listener's number: at each question, and now and then. What a
-- handler raises, or has killed, is seen to once it is made, or can't be.
function M:attend(pid, fd)
  if self.error or self.denied then return true end
  self.fd, self.pid = fd, pid
  serve(self)
  self.fd = nil
  return true
end

-- Why the container could not be made, where that is of a handler's doing.
function M:trouble()
  if self.error then return self.error end
  if self.denied then return ("seccomp_notify.%s: %s"):format(self.denied.call, tostring(self.denied.why)) end
end

-- The container runs: the listener is ours.
function M:start(process, fd)
  self.pid, self.fd = process:pid(), fd
end

-- Into the result of the run.
function M:account(r)
  if #self.notes > 0 then
    r.trace_notes = r.trace_notes or {}
    for _, text in ipairs(self.notes) do r.trace_notes[#r.trace_notes + 1] = text end
  end
  if self.timeouts > 0 then r.notify_timeouts = self.timeouts end
  if self.denied then r.denied = r.denied or self.denied end
end

function M:close()
  drop(self)
  if self.found then self.found.fd:close() end
  self.found, self.asked = nil, {}
end

return M
