-- Who answers for the calls that a filter asks about (action notify; seccomp_unotify(2)): an agent that listens on a
-- socket, as the OCI runtime specification has it.
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
  return setmetatable({ b = b, path = a.path, metadata = a.metadata }, Agent)
end

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

function Agent:before()
  if not confined_first(self.b) then self.b:step("seccomp_listener", "courier", {}) end
end

-- Before it joins anything, where that has to be.
function M.before_join(b)
  if b.options.seccomp_listener ~= nil and confined_first(b) then b:step("seccomp_listener", "courier", { apart = true }) end
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
