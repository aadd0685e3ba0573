-- Who answers for the calls that a filter asks about (action notify; seccomp_unotify(2)): an agent that listens on a
-- socket, as the OCI runtime specification has it, or functions of the recipe.
--
--   seccomp_notify = {
--     openat = function(call)             -- in this process, while the container runs
--       local path = call:paths()[1].path
--       if path == "/etc/shadow" then return call:deny "EACCES" end
--       if path == "/etc/token" then return call:inject(core.memfd("token", fresh_token())) end
--     end,                                -- nothing: the kernel makes the call
--   }
--
-- Nobody answers before the listener has arrived, and a filter may ask about any call: those that send included. So
-- behind the filter the child makes none, and its courier (core.courier) does the talking.
local core = require "caisson.core"

local M = {}

local Agent = {}
Agent.__index = Agent

-- Recipe option seccomp_listener = { path =, metadata = }: the agent's socket. It gets the listener and the
-- specification's containerProcessState as JSON. The steps go around the filter's: before(), after(slot).
function M.agent(b)
  local a = b:check_type("seccomp_listener", b.options.seccomp_listener, "table")
  b:check_keys("seccomp_listener", a, { "path", "metadata" })
  b:check_type("seccomp_listener/path", a.path, "string")
  if a.metadata ~= nil then b:check_type("seccomp_listener/metadata", a.metadata, "string") end
  if a.path:sub(1, 1) ~= "/" or a.path:find "%z" then
    b:fail("seccomp_listener/path", "an absolute path expected")
  end
  return setmetatable({ b = b, path = a.path, metadata = a.metadata, option = "seccomp_listener" }, Agent)
end

function Agent.check() end

-- The option, of linux.seccomp in an OCI configuration and the policy that it is: nil where nobody is asked, raises
-- where nobody is there to answer.
function M.of_oci(seccomp, policy)
  if not require("caisson.policy").notifies(policy) then return nil end -- then the path is ignored, as it is to be
  if (seccomp.listenerPath or "") == "" then
    error("linux.seccomp.listenerPath: missing, and SCMP_ACT_NOTIFY asks whoever listens there", 0)
  end
  return { path = seccomp.listenerPath, metadata = seccomp.listenerMetadata }
end

-- Is there a socket at the agent's path? Returns true | nil, message, errno.
function M.listens(agent)
  local st
  local path, message, errno = core.realpath(agent.path)
  if path then st, message, errno = core.lstat(path) end
  if not st then return nil, "seccomp_listener.path: " .. message, errno end
  if st.type ~= "socket" then return nil, "seccomp_listener.path: no socket: " .. agent.path, core.errno.ENOTSOCK end
  return true
end

-- It joins, and has its filter before it is born; who sends has to know its pid.
local function confined_first(b) return b.target and not require("caisson.payload").confines_late(b) end

local function before(self)
  if not confined_first(self.b) then self.b:step(self.option, "courier", {}) end
end
Agent.before = before

-- Before it joins anything, where that has to be.
function M.before_join(b)
  if not confined_first(b) then return end
  local option = b.options.seccomp_listener ~= nil and "seccomp_listener" or "seccomp_notify"
  b:step(option, "courier", { apart = true })
end

-- Parts of the message, between which the process's pid stands. That of the state is the container's.
local function message_of(b, metadata)
  local json = require "caisson.json"
  local is = b.target or b -- whose id, bundle and annotations they are
  local annotations, names = {}, {}
  for k in pairs(is.annotations or {}) do names[#names + 1] = k end
  table.sort(names)
  for i, k in ipairs(names) do annotations[i] = json.string(k) .. ":" .. json.string(is.annotations[k]) end
  local status = b.target and "running" or b.wait and "created" or "creating"
  local text = ('{"ociVersion":"1.2.0","fds":["seccompFd"],%s"state":{"ociVersion":"1.2.0","id":%s,"status":"%s","bundle":%s,'
    .. '"annotations":{%s},"pid":'):format(metadata and ('"metadata":%s,'):format(json.string(metadata)) or "",
    json.string(is.id or ""), status, json.string(is.bundle or "/"), table.concat(annotations, ","))
  if b.target then return { text .. ('%d},"pid":'):format(b.target.pid), "}" } end
  return { text, '},"pid":', "}" }
end

-- ---- functions ----

local words = require "caisson.words"
local own = { "otherwise", "time_limit" }

local function handler_of(b, key, fn)
  b:check_type(key, fn, "function")
  if jit then jit.off(fn, true) end -- what is compiled heeds no limit of time
  return fn
end

local function set_of(b)
  local t, set, any = b:check_type("seccomp_notify", b.options.seccomp_notify, "table"), {}, false
  local spec = { handlers = set, names = {}, time_limit = 10 }
  for k, v in pairs(t) do
    local key = "seccomp_notify/" .. tostring(k)
    if k == "time_limit" then
      if type(v) ~= "number" or not (v > 0) then b:fail(key, "seconds expected, got " .. tostring(v)) end
      spec.time_limit = v
    elseif k == "otherwise" then
      spec.otherwise = handler_of(b, key, v)
    elseif type(k) ~= "string" or not core.seccomp.known(k) then
      b:fail("seccomp_notify", words.unknown("neither a system call nor an option", tostring(k), own))
    else
      any = true
      set[k] = handler_of(b, key, v)
    end
  end
  if not any and not spec.otherwise then b:fail("seccomp_notify", "no function for any call") end
  for name, nr in pairs(core.seccomp.syscalls()) do spec.names[nr] = name end
  return spec
end

local Functions = {}
Functions.__index = Functions

-- Recipe option seccomp_notify. The steps go around a filter's, as an agent's: that of the policy of option seccomp that
-- asks, and else one of its own, which asks about the calls that have a function.
function M.functions(b)
  local o = b.options
  if o.seccomp_listener ~= nil then
    b:fail("seccomp_notify", "a filter has one who answers, and seccomp_listener is given too")
  end
  if b.wait then b:fail("seccomp_notify", "the functions end with who starts the program; they are for run and exec") end
  if o.detach then b:fail("seccomp_notify", "the functions end with this process, and the program (detach) does not") end
  local spec = set_of(b)
  b.notifier = require("caisson.notify.notifier").new(spec)
  return setmetatable({ b = b, spec = spec, option = "seccomp_notify" }, Functions)
end

-- Is there a function for all that the policy asks about?
function Functions:check(p)
  local spec = self.spec
  if spec.otherwise then return end
  if p.default == "notify" then self.b:fail("seccomp_notify", "the policy asks about every call: 'otherwise' is missing") end
  for name, clauses in pairs(p.calls) do
    for _, c in ipairs(clauses) do
      if c.action == "notify" and not spec.handlers[name] then
        self.b:fail("seccomp_notify", "the policy asks about " .. name .. ", which has no function (nor is there 'otherwise')")
      end
    end
  end
end

-- The filter of its own: what another denies is denied, and nobody asked.
function Functions:filter()
  local names = {}
  for name in pairs(self.spec.handlers) do
    if core.seccomp.number(name) then names[#names + 1] = name end
  end
  table.sort(names)
  if #names == 0 then self.b:fail("seccomp_notify", "this machine has none of these calls") end
  return require("caisson.policy").new { default = "allow", newest = false }:answer("notify", names)
end

Functions.before = before

function Functions:after(slot)
  local b, notifier = self.b, self.b.notifier
  self.slot, notifier.slot = slot, slot
  b:step("seccomp_notify", "send", { fd = slot, close = true, attend = "seccomp_notify" })
  b.attendants = { seccomp_notify = function(pid, fd) return notifier:attend(pid, fd) end }
end

-- ---- both ----

-- Who answers, as the options have it; nil: nobody.
function M.of(b)
  if b.options.seccomp_notify ~= nil then return M.functions(b) end
  if b.options.seccomp_listener ~= nil then return M.agent(b) end
end

-- Until the agent has it: what is asked is our own doing.
local function proceed(_, fd)
  while true do
    local call, message, errno = core.notify.receive(fd)
    if not call then
      if errno then return nil, message, errno end
      return true
    end
    core.notify.answer(fd, call.id, { continue = true }) -- who asks may be gone
  end
end

function Agent:after(slot)
  local b = self.b
  self.slot = slot
  if not confined_first(b) then
    b:step("seccomp_listener", "send", { fd = slot, close = true })
    return self:send()
  end
  b:step("seccomp_listener", "send", { fd = slot, close = true, attend = "seccomp_listener" })
  b.attendants = { seccomp_listener = proceed }
  b.unsent = self
end

function Agent:send()
  local b = self.b
  b:step("seccomp_listener", "listener.send", { fd = self.slot, path = self.path, message = message_of(b, self.metadata) },
    { side = "parent" })
end

return M
