-- The groups of one container while it runs: figures, freeze, kill, remove.
local core = require "caisson.core"
local files = require "caisson.cgroup.files"

local M = {}

---@class caisson.cgroup.Groups
local Groups = {}
Groups.__index = Groups

-- Of a spawned process, by the slots of its plan.
function M.of_process(list, process)
  local self = setmetatable({ groups = {} }, Groups)
  for i, g in ipairs(list) do
    self.groups[i] = { version = g.version, controllers = g.controllers, dir = process:slot(g.slot) }
  end
  return self
end

-- By the directories' paths: { { path =, version =, controllers = {...} }, ... }.
-- Returns them | nil, message, errno.
function M.open(list)
  local self = setmetatable({ groups = {} }, Groups)
  for i, g in ipairs(list) do
    local dir, version, errno = core.cgroup.open(g.path)
    if not dir then return nil, version, errno end
    self.groups[i] = { version = version, controllers = g.controllers or {}, dir = dir, path = g.path }
  end
  return self
end

local function has(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

-- The group in which a controller's files are. v2 has one group for all.
function Groups:group(controllers)
  local v2
  for _, g in ipairs(self.groups) do
    if g.version == 1 then
      for _, c in ipairs(controllers) do
        if has(g.controllers, c) then return g end
      end
    else
      v2 = g
    end
  end
  return v2
end

-- One figure of files.figures; nil where it can't be had.
function Groups:figure(name)
  local f = files.figures[name]
  local g = self:group(f.controller)
  local where = g and f["v" .. g.version]
  local text = where and core.cgroup.read(g.dir, where[1])
  if not text then return nil end
  -- a word of its own: "oom_kill" is not "oom_group_kill"
  local s = where[2] and ("\n" .. text):match("\n" .. where[2]) or not where[2] and text:match("^%d+")
  return s and tonumber(s) * (where.scale or 1) or nil
end

local function io_v2(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    local item = { device = line:match("^%S+") }
    for k, v in line:gmatch("(%w+)=(%d+)") do
      local name = ({ rbytes = "read_bytes", wbytes = "write_bytes", rios = "reads", wios = "writes" })[k]
      if name then item[name] = tonumber(v) end
    end
    if item.read_bytes then list[#list + 1] = item end
  end
  return list
end

local function io_v1(g)
  local list, by_device = {}, {}
  for _, what in ipairs { { "bytes", "read_bytes", "write_bytes" }, { "operations", "reads", "writes" } } do
    local text = core.cgroup.read(g.dir, files.io.v1[what[1]]) or ""
    for device, direction, n in text:gmatch("(%d+:%d+) (%a+) (%d+)") do
      if direction == "Read" or direction == "Write" then
        if not by_device[device] then
          by_device[device] = { device = device, read_bytes = 0, write_bytes = 0, reads = 0, writes = 0 }
          list[#list + 1] = by_device[device]
        end
        by_device[device][direction == "Read" and what[2] or what[3]] = tonumber(n)
      end
    end
  end
  return list
end

-- Bytes and operations by device: { { device =, read_bytes =, write_bytes =, reads =, writes = }, ... }; nil
-- where the group has no io controller.
function Groups:io()
  local g = self:group { "io" }
  if not g then return nil end
  if g.version == 1 then return io_v1(g) end
  local text = core.cgroup.read(g.dir, files.io.v2.file)
  return text and io_v2(text)
end

-- All figures that can be had, by name, and `io`.
function Groups:stats()
  local t = {}
  for name in pairs(files.figures) do t[name] = self:figure(name) end
  t.io = self:io()
  return t
end

-- CPU time used, nanoseconds.
function Groups:cpu_ns() return self:figure("cpu_ns") end

-- User and system time, which together are the CPU time: v1 samples the two at each tick, and measures only
-- their sum. nil where they can't be had.
function Groups:times()
  local total, user, system = self:cpu_ns(), self:figure("user_ns"), self:figure("system_ns")
  if not (total and user and system) then return nil end
  local part = user + system > 0 and user / (user + system) or 1
  user = math.floor(total * part)
  return user, total - user
end

-- Put what the groups know into a run's result.
function Groups:account(r)
  local user, system = self:times()
  if user then r.user_ns, r.system_ns, r.cpu_from = user, system, "cgroup" end
  local peak = self:figure("memory_peak")
  if peak then r.memory_peak, r.memory_from = peak, "cgroup" end
  r.pids_peak = self:figure("pids_peak")
  r.oom = (self:figure("oom_kills") or 0) > 0
end

-- Pids in the groups. Returns a list | nil, message, errno.
function Groups:procs()
  local g = self.groups[#self.groups]
  return core.cgroup.procs(g.dir)
end

local function state(g, how)
  local text, message, errno = core.cgroup.read(g.dir, how.state[1])
  if not text then return nil, message, errno end
  return ("\n" .. text):match("\n" .. how.state[2])
end

local function freezer(self)
  local g = self:group { "freezer" }
  if g then return g, files.freeze["v" .. g.version] end
  return nil, "the container has neither a v2 group nor one of the freezer controller", core.errno.EOPNOTSUPP
end

-- "frozen", "freezing" or "thawed" | nil, message, errno
function Groups:state()
  local g, how, errno = freezer(self)
  if not g then return nil, how, errno end
  local s, message
  s, message, errno = state(g, how)
  if not s then return nil, message, errno end
  return s == how.frozen and "frozen" or s == how.thawed and "thawed" or "freezing"
end

local function switch(self, value, wanted, seconds)
  local g, how, errno = freezer(self)
  if not g then return nil, how, errno end
  local ok, message
  ok, message, errno = core.cgroup.set { group = g.dir, file = how.file, value = how[value] }
  if not ok then return nil, message, errno end
  local deadline, pause = core.now() + (seconds or 10) * 1e9, 0.0005
  while true do
    local s
    s, message, errno = state(g, how)
    if not s then return nil, message, errno end
    if s == how[wanted] then return true end
    if core.now() > deadline then
      -- never half frozen
      if value == "freeze" then core.cgroup.set { group = g.dir, file = how.file, value = how.thaw } end
      return nil, ("%s: the processes did not follow in time"):format(value), core.errno.ETIMEDOUT
    end
    core.poll({}, pause)
    pause = math.min(pause * 2, 0.02)
  end
end

-- Stop all processes where they are, until thaw(). Returns true once they have | nil, message, errno;
-- after a failure nothing is frozen.
function Groups:freeze(seconds) return switch(self, "freeze", "frozen", seconds) end

function Groups:thaw(seconds) return switch(self, "thaw", "thawed", seconds) end

-- Kill all processes, also those that fork as fast as they can. Returns true | nil, message, errno.
function Groups:kill(seconds)
  local best = self:group { "freezer" }
  if not best or best.version ~= 2 and not has(best.controllers, "freezer") then best = self:group { "pids" } end
  best = best or self.groups[#self.groups]
  if not best then return nil, "the container has no group", core.errno.ENOENT end
  return core.cgroup.kill(best.dir, seconds)
end

-- Remove the groups (those opened by path), empty as they have to be, and all below them.
-- Returns true | nil, message, errno.
function Groups:remove(seconds)
  local all, why, number = true, nil, nil
  for i = #self.groups, 1, -1 do
    local g = self.groups[i]
    if g.path then
      local ok, message, errno = core.cgroup.remove(g.path, seconds)
      if not ok then all, why, number = nil, why or message, number or errno end
    end
  end
  return all, why, number
end

function Groups:close()
  for _, g in ipairs(self.groups) do
    if g.dir then g.dir:close() end
  end
  self.groups = {}
end

return M
