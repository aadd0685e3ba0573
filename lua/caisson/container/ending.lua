-- The end of a container: its processes, groups and state are removed, and its poststop hooks run.
local core = require "caisson.core"

local errno = core.errno

local M = {}

-- Whatever a state that can't be read still tells of.
local function delete_damaged(dir, force, message, number, of)
  if number ~= errno.ENODATA then
    if not force then return of.refuse(number, message) end
    local found = dir:salvage()
    local saved = { pid = found.pid, start_time = found.start_time, cgroup = {} }
    for i, path in ipairs(found.cgroups) do
      saved.cgroup[i] = { path = path, version = 1, controllers = {}, made = 1 }
    end
    local self = of.new(dir.root, dir.id, dir, saved)
    local ok
    ok, message, number = of.end_all(self)
    if not ok then return of.refuse(number, message) end
    if of.groups(self) then of.groups(self):remove() end
    self:close()
  end
  local ok
  ok, message, number = dir:remove()
  if not ok then return of.refuse(number, message) end
  return true
end

-- Returns true, warnings | nil, message, errno, failure. of: the container module's own functions. The lock is held.
function M.delete(self, force, waiting, of)
  local s, message, number, failure = of.load(self)
  if not s then
    if number == errno.ENOENT then return nil, message, number, failure end
    return delete_damaged(self.dir, force, message, number, of)
  end
  local interrupted = s.status == "creating"
  local status = of.status_of(self)
  if status ~= "stopped" and not force and not (waiting and status == "created") then
    return of.wrong(self, status, ": stop it first, or force its deletion")
  end
  local ok
  ok, message, number = of.end_all(self)
  if not ok then return of.refuse(number, message) end
  local group = of.groups(self)
  if group then
    ok, message, number = group:remove()
    if not ok then return of.refuse(number, message) end
    group:close()
    self.group = nil
  end
  if s.network then
    for _, w in ipairs(require("caisson.container.network").give_back(self.dir, s.network)) do
      self.warnings[#self.warnings + 1] = w
    end
  end
  if interrupted and s.scope then
    ok, message, number = require("caisson.systemd").discard(s.scope.unit, s.scope.user)
    if not ok then return of.refuse(number, message) end
  end
  if s.rdt then
    ok, message, number = require("caisson.resctrl").remove(s.rdt)
    if not ok and number ~= errno.ENOENT then
      self.warnings[#self.warnings + 1] = ("the resctrl group %s stays: %s"):format(s.rdt, message)
    end
  end
  if not interrupted then
    local hooks = require "caisson.container.hooks"
    local found, warnings = hooks.find(self, { "poststop" }, true)
    for _, w in ipairs(warnings) do self.warnings[#self.warnings + 1] = w end
    local file, why = hooks.changed(s.recipe or {})
    why = file and ("the recipe %s %s"):format(file, why)
    local said = false
    for _, w in ipairs(warnings) do said = said or w == why end
    if why and not said then self.warnings[#self.warnings + 1] = why end
    for _, h in ipairs(found.poststop) do
      ok, message = hooks.run_here(self, "poststop", { h })
      if not ok then self.warnings[#self.warnings + 1] = message end
    end
  end
  ok, message, number = self.dir:remove()
  if not ok then return of.refuse(number, message) end
  self:close()
  return true, self.warnings
end

return M
