-- The groups of one container while it runs: figures, freeze, kill, remove.
local core = require "caisson.core"
local devices = require "caisson.cgroup.devices"
local files = require "caisson.cgroup.files"
local limits = require "caisson.cgroup.limits"

local M = {}

---@class caisson.cgroup.Groups
local Groups = {}
Groups.__index = Groups

local function inode(dir)
  local st, message, errno = core.files.stat(dir)
  if not st then return nil, message, errno end
  return type(st.ino) == "number" and ("%.0f"):format(st.ino) or st.ino
end

---@class caisson.cgroup.Saved
---@field path string
---@field inode string         a group of that name that was made later is another
---@field version 1|2
---@field controllers string[]
---@field made? integer        how many directories, from the last, go with it
---@field nodes? string[]      device rules for the recipe's own nodes
---@field unit? string         systemd's scope, whose group it is
---@field user? boolean        of this user's systemd

local function path_of(g)
  if g.path then return g.path end
  local link, message, number = core.lstat("/proc/self/fd/" .. g.dir:fileno())
  if not link then return nil, message, number end
  return link.target
end

-- Where the plan's steps make groups whose names are not the run's own: { [slot] = path }.
local function paths_of(plan)
  local paths = {}
  for _, s in ipairs(plan and plan.steps or {}) do
    if s.step == "clone" then break end
    local o = s.step == "cgroup.create" and s.options
    if o and type(o.path) == "string" and not o.path:find("*", 1, true) then paths[o.slot or "cgroup"] = o.at .. "/" .. o.path end
  end
  return paths
end

-- Of a spawned process, by the slots of its plan. plan: in Lua, if it is at hand.
function M.of_process(list, process, plan)
  local self, paths = setmetatable({ groups = {} }, Groups), paths_of(plan)
  for i, g in ipairs(list) do
    self.groups[i] = { version = g.version, controllers = g.controllers, dir = process:slot(g.slot),
      path = paths[g.slot], made = process:made(g.slot), nodes = g.nodes }
    if g.unit then
      local made = self.groups[i]
      made.path, made.user = path_of(made), g.user
      made.unit = made.path and made.path:match("[^/]+$")
    end
  end
  return self
end

---What reopen() takes, in this process or another: plain values, so that it can be written down.
---@return caisson.cgroup.Saved[]? saved, string? message, integer? errno
function Groups:save()
  local saved = {}
  for i, g in ipairs(self.groups) do
    local path, message, errno = path_of(g)
    if not path then return nil, message, errno end
    local ino
    ino, message, errno = inode(g.dir)
    if not ino then return nil, message, errno end
    saved[i] = { path = path, version = g.version, controllers = g.controllers, inode = ino, made = g.made,
      nodes = g.nodes, unit = g.unit, user = g.user }
  end
  return saved
end

local function check_saved(saved)
  local function check(ok, i, what)
    if not ok then error(("reopen: groups[%s]: %s"):format(i, what), 4) end
  end
  if type(saved) ~= "table" then error("reopen: what save() answered expected, got " .. type(saved), 3) end
  for i, g in ipairs(saved) do
    check(type(g) == "table", i, "a table expected")
    check(type(g.path) == "string" and g.path:sub(1, 1) == "/" and not g.path:find("%z"), i, "path: from the root, expected")
    for name in g.path:gmatch("[^/]+") do check(name ~= "." and name ~= "..", i, "path: '.' and '..' are not allowed") end
    check(g.inode == nil or type(g.inode) == "string", i, "inode: a string expected")
    check(type(g.controllers) == "table", i, "controllers: a list expected")
    check(g.made == nil or type(g.made) == "number" and g.made % 1 == 0 and g.made >= 0 and g.made < 256, i,
      "made: a number expected")
    check(g.unit == nil or type(g.unit) == "string" and g.unit == g.path:match("[^/]+$"), i, "unit: the path's name expected")
    check(g.user == nil or type(g.user) == "boolean", i, "user: a boolean expected")
    check(g.nodes == nil or type(g.nodes) == "table", i, "nodes: a list expected")
    for _, text in ipairs(g.nodes or {}) do check(pcall(devices.parse, text), i, "nodes: device rules expected") end
  end
end

---The groups that save() described. One that is gone, or whose name is another group's by now, is left out, and
---the result's `gone` is its path;
---with all of them gone that is the error ENOENT. Raises for what save() does not answer.
---@param saved caisson.cgroup.Saved[]
---@return caisson.cgroup.Groups? groups, string? message, integer? errno
function M.reopen(saved)
  check_saved(saved)
  local self, gone = setmetatable({ groups = {} }, Groups), nil
  for _, g in ipairs(saved) do
    local dir, version, errno = core.cgroup.open(g.path)
    if not dir and errno ~= core.errno.ENOENT then
      self:close()
      return nil, version, errno
    elseif not dir or g.inode and inode(dir) ~= g.inode then
      gone = gone or g.path
      if dir then dir:close() end
    else
      self.groups[#self.groups + 1] = { version = version, controllers = g.controllers, dir = dir, path = g.path,
        made = g.made, nodes = g.nodes, unit = g.unit, user = g.user }
    end
  end
  if gone and #self.groups == 0 then return nil, "the group " .. gone .. " is gone", core.errno.ENOENT end
  self.gone = gone
  return self
end

local function has(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

-- The group in which a controller's files are. v2 has one group for all.
---@param controllers string[]
---@return caisson.cgroup.Group? group
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

local function kills_in(group)
  local text = core.cgroup.read(group, "memory.events")
  return text and tonumber(text:match("\noom_kill (%d+)"))
end

-- One figure. texts keeps what was read, for several figures of one moment.
local function figure(self, name, texts)
  local f = files.figures[name]
  local g = self:group(f.controller)
  local where = g and (g.version == 1 and f.v1 or g.version == 2 and f.v2)
  if not where then return nil end
  local of_group = texts[g] or {}
  local text = of_group[where[1]] or core.cgroup.read(g.dir, where[1])
  local gone = not text and self.above
  text = text or self.kept and self.kept[where[1]] or gone and ""
  if not text then return nil end
  texts[g], of_group[where[1]] = of_group, text
  -- a word of its own: "oom_kill" is not "oom_group_kill"
  local s = where[2] and ("\n" .. text):match("\n" .. where[2]) or not where[2] and text:match("^%d+")
  local n = s and tonumber(s) * (where.scale or 1) or nil
  if gone and name == "oom_kills" then -- the last may have come after that was read: whoever was killed in the slice
    local above = kills_in(self.above)
    n = above and math.max(n or 0, above - self.kills_above) or n
  end
  return n
end

-- systemd removes its group as soon as nobody is in it, and the figures with it: they are kept as they were when last
-- something changed, which is told here no later than there.
function Groups:keep_figures()
  local g = self.groups[1]
  if not (g and g.unit) then return end
  self.watch = core.cgroup.watch()
  if self.watch then
    self.watch:file(g.dir, "memory.events")
    self.watch:file(g.dir, "cgroup.events")
  end
  local above = g.path:match("^(.+)/")
  self.kills_above = kills_in(above)
  self.above = self.kills_above and above
end

local to_keep = { "memory.events", "memory.peak", "cpu.stat", "pids.peak" }

---See what has happened in them so far.
function Groups:look()
  if not self.watch then return end
  local kept = self.kept or {}
  for _ in ipairs(self.watch:ready()) do self.kept = kept end
  if self.kept then
    for _, file in ipairs(to_keep) do kept[file] = core.cgroup.read(self.groups[1].dir, file) or kept[file] end
  end
end

-- One figure of files.figures; nil where it can't be had.
---@param name string
---@return number?
function Groups:figure(name) return figure(self, name, {}) end

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

---Bytes and operations by device; nil where the group has no io controller.
---@return { device: string, read_bytes: number, write_bytes: number, reads: number, writes: number }[]?
function Groups:io()
  local g = self:group { "io" }
  if not g then return nil end
  if g.version == 1 then return io_v1(g) end
  local text = core.cgroup.read(g.dir, files.io.v2.file)
  return text and io_v2(text)
end

---@class caisson.cgroup.Stall
---@field avg10 number     percent of the last 10 seconds
---@field avg60 number
---@field avg300 number
---@field total_us number

---@alias caisson.cgroup.Pressure table<"cpu"|"memory"|"io", { some: caisson.cgroup.Stall, full?: caisson.cgroup.Stall }>

---How much the container's processes have to wait (PSI); nil where it has no v2 group, or the kernel does not count.
---@return caisson.cgroup.Pressure?
function Groups:pressure()
  for _, g in ipairs(self.groups) do
    if g.version == 2 then
      return require("caisson.cgroup.events").pressure(function(resource)
        return core.cgroup.read(g.dir, resource .. ".pressure")
      end)
    end
  end
end

---@class caisson.cgroup.Stats       each where it can be had; whole numbers are exact to 2^53
---@field cpu_ns? number             user_ns and system_ns are samples on v1
---@field user_ns? number
---@field system_ns? number
---@field throttled? number          periods in which the quota was used up
---@field throttled_ns? number
---@field memory_current? number     bytes
---@field memory_peak? number
---@field swap_current? number       v2
---@field oom_kills? number
---@field memory_limit_hits? number
---@field pids_current? number
---@field pids_peak? number          Linux 6.1
---@field pids_limit_hits? number
---@field io? table[]                see io()
---@field pressure? caisson.cgroup.Pressure

---All figures that can be had.
---@return caisson.cgroup.Stats
function Groups:stats()
  local t = {}
  local texts = {}
  for name in pairs(files.figures) do t[name] = figure(self, name, texts) end
  t.io = self:io()
  t.pressure = self:pressure()
  return t
end

---What happens in the groups from now on: an object with fds(), timeout() and step() as a running container has
---them, and wait(timeout). Raises what is a misuse.
---@param opts? caisson.cgroup.EventOptions
---@return caisson.cgroup.Events? events, string? message, integer? errno
function Groups:events(opts)
  local called, list, message, errno = pcall(require("caisson.cgroup.events").open, self, opts)
  if not called then error(list, 2) end
  return list, message, errno
end

---CPU time used, nanoseconds.
---@return number?
function Groups:cpu_ns() return self:figure("cpu_ns") end

-- User and system time, which together are the CPU time: v1 samples the two at each tick, and measures only
-- their sum. nil where they can't be had.
---@return number? user_ns, number? system_ns
function Groups:times()
  local texts = {}
  local total = figure(self, "cpu_ns", texts)
  local user, system = figure(self, "user_ns", texts), figure(self, "system_ns", texts)
  if not (total and user and system) then return nil end
  local part = user + system > 0 and user / (user + system) or 1
  user = math.floor(total * part)
  return user, total - user
end

-- Put what the groups know into a run's result.
---@param r caisson.Result
function Groups:account(r)
  self:look()
  local user, system = self:times()
  if user then r.user_ns, r.system_ns, r.cpu_from = user, system, "cgroup" end
  local peak = self:figure("memory_peak")
  if peak then r.memory_peak, r.memory_from = peak, "cgroup" end
  r.pids_peak = self:figure("pids_peak")
  r.oom_kills = self:figure("oom_kills")
  r.oom = (r.oom_kills or 0) > 0
end

local no_group = "the container has no group"

-- The group to ask who is in, and to kill from: the one of v2, of the freezer, or of pids.
local function best(self)
  local g = self:group { "freezer" }
  if not g or g.version ~= 2 and not has(g.controllers, "freezer") then g = self:group { "pids" } end
  return g or self.groups[#self.groups]
end

---Pids in the groups and below them.
---@return integer[]? pids, string? message, integer? errno
function Groups:procs()
  local g = best(self)
  if not g then return nil, no_group, core.errno.ENOENT end
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

---@return "frozen"|"freezing"|"thawed"|nil state, string? message, integer? errno
function Groups:state()
  local g, how, errno = freezer(self)
  if not g then return nil, how, errno end
  local s, message
  s, message, errno = state(g, how)
  if not s then return nil, message, errno end
  return s == how.frozen and "frozen" or s == how.thawed and "thawed" or "freezing"
end

local function write_state(g, how, value)
  return core.cgroup.set { group = g.dir, file = how.file, value = how[value] }
end

-- Wait until the kernel says so. Returns true | nil, message, errno.
local function follow(g, how, value, wanted, seconds)
  local start, pause = core.now(), 0.0005
  local deadline, kick = start + seconds * 1e9, start + 0.2e9
  while true do
    local s, message, errno = state(g, how)
    if not s then return nil, message, errno end
    if s == how[wanted] then return true end
    local now = core.now()
    if now > deadline then
      return nil, ("%s: the processes did not follow in time"):format(value), core.errno.ETIMEDOUT
    end
    -- v1: what forks while it is being frozen may be missed until the next try
    if value == "freeze" and g.version == 1 and now > kick then
      write_state(g, how, "thaw")
      core.poll({}, 0.005)
      write_state(g, how, "freeze")
      kick = now + 0.2e9
    end
    core.poll({}, pause)
    pause = math.min(pause * 2, 0.02)
  end
end

local function switch(self, value, wanted, seconds)
  local g, how, errno = freezer(self)
  if not g then return nil, how, errno end
  local before, ok, message
  before, message, errno = state(g, how)
  if not before then return nil, message, errno end
  ok, message, errno = write_state(g, how, value)
  if ok then ok, message, errno = follow(g, how, value, wanted, seconds or 10) end
  -- never half frozen; what was frozen before the call stays so
  if not ok and value == "freeze" and before ~= how.frozen then write_state(g, how, "thaw") end
  return ok, message, errno
end

---Stop all processes where they are, until thaw(), and wait until they have; after a failure nothing is frozen.
---@param seconds? number how long to wait (10)
---@return true? ok, string? message, integer? errno
function Groups:freeze(seconds) return switch(self, "freeze", "frozen", seconds) end

---@param seconds? number how long to wait (10)
---@return true? ok, string? message, integer? errno
function Groups:thaw(seconds) return switch(self, "thaw", "thawed", seconds) end

---Have all processes stopped? false while they are stopping, too.
---@return boolean? frozen, string? message, integer? errno
function Groups:frozen()
  local s, message, errno = self:state()
  if not s then return nil, message, errno end
  return s == "frozen"
end

---Kill all processes, frozen or not, also those that fork as fast as they can.
---@param seconds? number how long to try (10)
---@return true? ok, string? message, integer? errno
function Groups:kill(seconds)
  local g = best(self)
  if not g then return nil, no_group, core.errno.ENOENT end
  return core.cgroup.kill(g.dir, seconds)
end

---Send a signal to each process.
---@param signal string|integer
---@return integer? processes, string? message, integer? errno
function Groups:signal(signal)
  local g = best(self)
  if not g then return nil, no_group, core.errno.ENOENT end
  return core.cgroup.signal(g.dir, signal)
end

---Change limits of the container while it runs. All are changed, or none; the failure has the option as `key`.
---`devices` is the whole list anew. Raises for what is no limit.
---@param t caisson.cgroup.Options without what fixes the group's place: path, existing, own_leaf, accounting
---@return true? ok, string? message, integer? errno, table? failure
function Groups:update(t)
  local called, ok, message, errno, failure = pcall(require("caisson.cgroup.update").update, self, t)
  if not called then error(ok, 2) end
  return ok, message, errno, failure
end

-- May this process clone into the group? An ordinary user may where he has the right in what is above both.
local function may_enter(path)
  local cgroup = require "caisson.cgroup"
  local env = cgroup.probe()
  for _, h in ipairs(env and env.hierarchies or {}) do
    if h.version == 2 and h.mount then return (cgroup.can_move(env, h, path)) end
  end
end

---For another process in these groups: what its plan needs. `slot` is what clone takes as `cgroup` (v2), `slots` are
---descriptors by name, `before` and `after` steps around clone, as caisson.cgroup.compile() has them, `born` the host's for
---the process that is there.
---Raises { key =, message = }.
---@param sub? string|table<string, string> a path below each of the groups, made where it is missing (as long as that
---process's run lasts), or { [controller] = path } with "" as v2's
---@return { slot?: string, slots: table<string, caisson.core.Fd>, before: table[], after: table[], born: table[] }
function Groups:join(sub)
  local out = { slots = {}, before = {}, after = {}, born = {} }
  if sub ~= nil and type(sub) ~= "string" and type(sub) ~= "table" then
    error({ key = "path", message = "a path, or { [controller] = path } expected, got " .. type(sub) }, 0)
  end
  local used = {}
  for _, g in ipairs(self.groups) do
    local slot = g.version == 2 and "cgroup" or "cgroup." .. g.controllers[1]
    local below = sub
    if type(sub) == "table" then
      below = nil
      local names = { g.version == 2 and "" or nil }
      for _, c in ipairs(g.controllers) do names[#names + 1] = c end
      for _, c in ipairs(names) do
        if sub[c] ~= nil then below, used[c] = sub[c], true end
      end
    end
    if below ~= nil then
      limits.check_path(below)
      if below:sub(1, 1) == "/" then
        error({ key = "path", message = ("'%s': below the container's group, not from the root"):format(below) }, 0)
      end
      out.before[#out.before + 1] = { step = "cgroup.create", side = "parent", key = "path",
        options = { path = below, at = assert(path_of(g)), slot = slot, existing = true,
          controllers = has(g.controllers, "cpuset") and g.version == 1 and { "cpuset" } or nil } }
    else
      out.slots[slot] = g.dir
    end
    if g.unit and not may_enter(g.path) then
      out.born[#out.born + 1] = { step = "systemd.attach", side = "parent", key = "path",
        options = { unit = g.unit, sub = below, user = g.user } }
      if below == nil then out.slots[slot] = nil end
    elseif g.version == 2 then
      out.slot = slot
    else
      out.after[#out.after + 1] = { step = "cgroup.attach", side = "child", options = { group = slot }, key = "path" }
    end
  end
  for c in pairs(type(sub) == "table" and sub or {}) do
    if not used[c] then
      error({ key = "path", message = ("the container has no group of the controller '%s'"):format(tostring(c)) }, 0)
    end
  end
  return out
end

---Remove the groups, empty as they have to be, with all below them, and those above that were made for them
---and hold nothing else. What the plan did not make (existing = true) stays.
---@param seconds? number how long to wait for dying processes (10)
---@return true? ok, string? message, integer? errno
function Groups:remove(seconds)
  local all, why, number = true, nil, nil
  for i = #self.groups, 1, -1 do
    local g = self.groups[i]
    local path, made = path_of(g), g.made or 1
    if g.unit then
      -- gone with its last process, it may be another's by now
      if path and core.cgroup.read(g.dir, "cgroup.events") then
        local ok, message, errno = core.systemd.stop(g.unit, g.user)
        if not ok then all, why, number = nil, why or message, number or errno end
      end
    elseif path and made > 0 then
      local ok, message, errno = core.cgroup.remove(path, seconds, made - 1, g.dir)
      if not ok then all, why, number = nil, why or message, number or errno end
    end
  end
  return all, why, number
end

---Let go of them; those that were made for the run are removed.
function Groups:close()
  if self.watch then self.watch:close() end
  self.watch = nil
  for _, g in ipairs(self.groups) do
    if g.dir then g.dir:close() end
  end
  self.groups = {}
end

return M
