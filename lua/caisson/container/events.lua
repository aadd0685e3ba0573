-- What happens to a container: what its groups tell (caisson.cgroup.events), and its end.
local core = require "caisson.core"

local M = {}

---@class caisson.container.Events
---@field ended boolean  its end has been told: nothing follows
local Events = {}
Events.__index = Events

---@class caisson.container.Exit  the event of its end
---@field type "exit"
---@field code? integer     of its program
---@field signal? integer
---@field unknown? boolean  the kernel has told somebody else

-- group: of the container, where it has one; opts as caisson.cgroup.events has them.
-- Returns them | nil, message, errno; raises what is a misuse.
function M.open(container, group, opts)
  local self = setmetatable({ container = container, ended = false }, Events)
  if group then
    local message, errno
    self.groups, message, errno = group:events(opts)
    if not self.groups then return nil, message, errno end
  elseif next(require("caisson.cgroup.events").check(opts or {})) then
    return nil, "pressure: the container has no cgroup", core.errno.EOPNOTSUPP
  end
  return self
end

---What to poll for reading; when one is ready, or timeout() seconds are over, call step().
---@return { fd: integer|caisson.core.Fd, events: string }[]
function Events:fds()
  local fds = self.groups and self.groups:fds() or {}
  if not self.ended and self.container.pidfd then fds[#fds + 1] = { fd = self.container.pidfd, events = "r" } end
  return fds
end

---Seconds until step() has something to do without a descriptor's being ready; nil: none.
---@return number?
function Events:timeout()
  if not self.ended and not self.container.pidfd then return 0 end
  return self.groups and self.groups:timeout()
end

---What has happened since the last call, in a list; empty where nothing has. Does not block.
---@return table[] events
function Events:step()
  local pidfd = self.container.pidfd
  local over = not self.ended and (not pidfd or (core.poll({ { fd = pidfd } }, 0) or {})[1])
  -- first its end: what the groups then tell was before it
  local status = over and self.container:wait(0)
  local list = self.groups and self.groups:step() or {}
  if status then
    list[#list + 1] = { type = "exit", code = status.code, signal = status.signal, unknown = status.unknown }
    self.ended = true
  end
  return list
end

---Wait for events: the first that come, or an empty list after so many seconds, or where none will come (ended).
---@param timeout? number
---@return table[] events
function Events:wait(timeout) return require("caisson.cgroup.events").wait(self, timeout) end

---Let go of all that it watches.
function Events:close()
  if self.groups then self.groups:close() end
  self.groups = nil
end

return M
