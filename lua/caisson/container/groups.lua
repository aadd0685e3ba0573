-- What a container does through its groups: pause, resume, update, groups, stats, events, ps.
local core = require "caisson.core"
local processes = require "caisson.container.processes"

local errno = core.errno

---@class caisson.Container
local Container = {}

-- Of caisson.container: the state on disk, the process, the groups, the lock, a status that is expected, what is refused.
local load, look, groups, locked, expect, refuse

local function freezer(self)
  local group, message, number = groups(self)
  if group then return group end
  return refuse(number or errno.EOPNOTSUPP, message or ("container '%s' has no cgroup to freeze"):format(self.id))
end

---Stop all of its processes where they are, until resume().
---@return true? ok, string? message, integer? errno, table? failure
function Container:pause()
  return locked(self, function()
    local pidfd, status, number, failure = expect(self, "created", "running")
    if not pidfd then return nil, status, number, failure end
    local group
    group, status, number, failure = freezer(self)
    if not group then return nil, status, number, failure end
    local ok, message
    ok, message, number = group:freeze()
    if not ok then return refuse(number, message) end
    return true
  end)
end

---@return true? ok, string? message, integer? errno, table? failure
function Container:resume()
  return locked(self, function()
    local pidfd, status, number, failure = expect(self, "paused")
    if not pidfd then
      if number ~= errno.EBUSY then return nil, status, number, failure end
      failure.detail = ("container '%s' is not paused: it is %s"):format(self.id, failure.container)
      return refuse(number, failure.detail, failure)
    end
    local ok, message
    ok, message, number = groups(self):thaw()
    if not ok then return refuse(number, message) end
    return true
  end)
end

local function with_group(self, what)
  local s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  local group
  group, message, number = groups(self)
  if group then return group end
  return refuse(number or errno.EOPNOTSUPP, message or ("%s: container '%s' has no cgroup"):format(what, self.id))
end

---Change its limits: a table as a recipe's `cgroup`, with those to change.
---@param limits table
---@return true? ok, string? message, integer? errno, table? failure
function Container:update(limits)
  return locked(self, function()
    local pidfd, status, number, failure = expect(self, "created", "running", "paused")
    if not pidfd then return nil, status, number, failure end
    local group
    group, status, number, failure = with_group(self, "update")
    if not group then return nil, status, number, failure end
    local ok, message
    ok, message, number, failure = group:update(limits)
    if not ok then return refuse(number or errno.EINVAL, message, failure) end
    return true
  end)
end

---Its groups, for figures of their files (see caisson.cgroup). They are closed with the container.
---@return caisson.cgroup.Groups? groups, string? message, integer? errno, table? failure
function Container:groups() return with_group(self, "groups") end

---What its groups have counted, by name (see caisson.cgroup).
---@return table? stats, string? message, integer? errno, table? failure
function Container:stats()
  local group, message, number, failure = with_group(self, "stats")
  if not group then return nil, message, number, failure end
  return group:stats()
end

---Its events as they come: its groups', and its end ({ type = "exit", code =, signal = }); see caisson.cgroup.events for
---opts, and caisson.container.events for the object. Keep the container open meanwhile.
---@param opts? caisson.cgroup.EventOptions
---@return caisson.container.Events? events, string? message, integer? errno, table? failure
function Container:events(opts)
  local s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  look(self)
  local events
  events, message, number = require("caisson.container.events").open(self, groups(self), opts)
  if not events then return refuse(number, message) end
  return events
end

---The numbers of its processes, as this process sees them.
---@return integer[]? pids, string? message, integer? errno, table? failure
function Container:ps()
  local pidfd, status, number, failure = expect(self, "created", "running", "paused")
  if not pidfd then return nil, status, number, failure end
  local group = groups(self)
  if not group then
    return processes.of_container(self.saved.pid, self.saved.namespaces and self.saved.namespaces.pid)
  end
  local list, message
  list, message, number = group:procs()
  if not list then return refuse(number, message) end
  return list
end

-- The methods, for a class whose ways to its state these are.
return function(class, own)
  load, look, groups, locked, expect, refuse = own.load, own.look, own.groups, own.locked, own.expect, own.refuse
  for name, method in pairs(Container) do class[name] = method end
end
