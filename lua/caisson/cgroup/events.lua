-- What happens in a container's groups: out of memory, pressure, frozen, empty.
local core = require "caisson.core"
local words = require "caisson.words"

local M = {}

---@class caisson.cgroup.EventOptions
---@field oom? boolean              memory: limits hit, the OOM killer at work (true)
---@field state? boolean            v2: frozen and thawed, populated and empty (true)
---@field pressure? table<"cpu"|"memory"|"io", caisson.cgroup.Trigger>  v2: tell when tasks have waited so long

---@class caisson.cgroup.Trigger
---@field some? number    seconds in which some task waited for it, within the window; or
---@field full? number    in which all of them did
---@field window? number  seconds, 0.5 to 10 (1). Without CAP_SYS_RESOURCE: 2, 4, 6, 8 or 10

---@class caisson.cgroup.Event
---@field type "oom"|"oom_kill"|"memory"|"pressure"|"frozen"|"thawed"|"populated"|"empty"|"gone"
---@field count? integer            oom, oom_kill: how many since the last event
---@field total? integer            and since the group was made
---@field limit? "max"|"high"       memory: the limit that was hit, count times
---@field resource? string          pressure: "cpu", "memory" or "io"

---@class caisson.cgroup.Events
---@field ended? boolean            the groups are gone: nothing more will come
local Events = {}
Events.__index = Events

local resources = { "cpu", "memory", "io" }

local function check_keys(key, t, known)
  if type(t) ~= "table" then error(("events: %s%s"):format(key, " a table expected, got " .. type(t)), 0) end
  for k in pairs(t) do
    local found = false
    for _, name in ipairs(known) do found = found or name == k end
    if not found then error("events: " .. key .. words.unknown("unknown option", tostring(k), known), 0) end
  end
end

local function seconds(key, v, least, most)
  if type(v) ~= "number" or not (v >= least and v <= most) then
    error(("events: %s: seconds from %g to %g expected, got %s"):format(key, least, most, tostring(v)), 0)
  end
  return ("%.0f"):format(v * 1e6)
end

-- "some 150000 1000000"
local function trigger(resource, t)
  local key = "pressure." .. resource
  check_keys(key .. ": ", t, { "some", "full", "window" })
  if (t.some == nil) == (t.full == nil) then error("events: " .. key .. ": one of some and full expected", 0) end
  local word = t.some and "some" or "full"
  local window = t.window or 1
  return ("%s %s %s"):format(word, seconds(key .. "." .. word, t.some or t.full, 1e-6, 10),
    seconds(key .. ".window", window, 0.5, 10))
end

-- Options of open(): raises what is a misuse. Returns what to write for pressure, by resource.
function M.check(opts)
  check_keys("", opts, { "oom", "state", "pressure" })
  for _, k in ipairs { "oom", "state" } do
    if opts[k] ~= nil and type(opts[k]) ~= "boolean" then
      error(("events: %s: true or false expected, got %s"):format(k, type(opts[k])), 0)
    end
  end
  local triggers = {}
  if opts.pressure ~= nil then
    check_keys("pressure: ", opts.pressure, resources)
    for _, resource in ipairs(resources) do
      if opts.pressure[resource] ~= nil then triggers[resource] = trigger(resource, opts.pressure[resource]) end
    end
  end
  return triggers
end

local function numbers(text)
  local t = {}
  for k, v in text:gmatch("([%w_]+) (%d+)") do t[k] = tonumber(v) end
  return t
end

local function put(list, event)
  list[#list + 1] = event
end

-- memory.events: counters that only grow.
local function memory_changed(old, new, list)
  for _, limit in ipairs { "max", "high" } do
    local n = (new[limit] or 0) - (old[limit] or 0)
    if n > 0 then put(list, { type = "memory", limit = limit, count = n, total = new[limit] }) end
  end
  for _, word in ipairs { "oom", "oom_kill" } do
    local n = (new[word] or 0) - (old[word] or 0)
    if n > 0 then put(list, { type = word, count = n, total = new[word] }) end
  end
end

local function state_changed(old, new, list)
  if new.frozen ~= old.frozen then put(list, { type = new.frozen == 1 and "frozen" or "thawed" }) end
  if new.populated ~= old.populated then put(list, { type = new.populated == 1 and "populated" or "empty" }) end
end

local function watch_file(self, g, file, changed)
  local n, text, errno = self.watch:file(g.dir, file)
  if not n then return nil, text, errno end
  self.sources[n] = { changed = changed, last = numbers(text) }
  return true
end

-- Of caisson.cgroup.Groups. What a group does not have is left out, but for pressure, which is asked for by name.
-- Returns the events | nil, message, errno; raises what is a misuse.
function M.open(groups, opts)
  opts = opts or {}
  local triggers = M.check(opts)
  local watch, message, errno = core.cgroup.watch()
  if not watch then return nil, message, errno end
  local self = setmetatable({ watch = watch, sources = {}, groups = groups }, Events)
  local ok = true
  local memory = groups:group { "memory" }
  local v2
  for _, g in ipairs(groups.groups) do if g.version == 2 then v2 = g end end
  if opts.oom ~= false and memory and memory.version == 1 then
    local n
    n, message, errno = watch:oom(memory.dir)
    if n then self.sources[n] = { oom = memory } else ok = nil end
    self.v1_oom = memory
    self.v1_kills = groups:figure("oom_kills") or 0
  elseif opts.oom ~= false and memory and core.cgroup.read(memory.dir, "memory.events") then
    ok, message, errno = watch_file(self, memory, "memory.events", memory_changed)
  end
  if ok and opts.state ~= false and v2 then
    ok, message, errno = watch_file(self, v2, "cgroup.events", state_changed)
  end
  for _, resource in ipairs(resources) do
    if ok and triggers[resource] then
      if not v2 then
        ok, message, errno = nil, "pressure: the container has no v2 group", core.errno.EOPNOTSUPP
      else
        local n
        n, message, errno = watch:pressure(v2.dir, resource .. ".pressure", triggers[resource])
        if n then self.sources[n] = { resource = resource } else ok = nil end
      end
    end
  end
  if not ok then
    self:close()
    return nil, message, errno
  end
  return self
end

---What to poll for reading; when it is ready, or timeout() seconds are over, call step().
---@return { fd: integer|caisson.core.Fd, events: "r" }[]
function Events:fds()
  return { { fd = self.watch:fileno(), events = "r" } }
end

---Seconds until step() has something to do without a descriptor being ready. (v1 tells that memory is out, but not
---that somebody was killed for it: that is looked for, for a second.)
---@return number?
function Events:timeout()
  return self.look_until and core.now() < self.look_until and 0.02 or nil
end

local function v1_kills(self, list)
  local total = self.groups:figure("oom_kills")
  if total and total > self.v1_kills then
    put(list, { type = "oom_kill", count = total - self.v1_kills, total = total })
    self.v1_kills = total
  end
end

---What has happened since the last call; empty where nothing has. Does not block.
---@return caisson.cgroup.Event[]
function Events:step()
  local list, gone = {}, false
  for _, ready in ipairs(self.watch:ready()) do
    local source, text = self.sources[ready[1]], ready[2]
    if text == false then
      self.sources[ready[1]], gone = nil, true
    elseif source.changed then
      local now = numbers(text)
      source.changed(source.last, now, list)
      source.last = now
    elseif source.resource then
      put(list, { type = "pressure", resource = source.resource })
    elseif core.cgroup.read(source.oom.dir, "memory.oom_control") then
      put(list, { type = "oom", count = 1 })
      self.look_until = core.now() + 1e9
    else -- the group's end is told in the same way
      gone = true
    end
  end
  if self.v1_oom then v1_kills(self, list) end
  if gone and not self.gone then
    self.gone = true
    put(list, { type = "gone" })
  end
  if gone then self.ended = true end
  return list
end

-- Of whatever has fds(), timeout(), step() and ended, as events have.
function M.wait(events, timeout)
  local deadline = timeout and core.now() + timeout * 1e9
  while true do
    local list = events:step()
    if #list > 0 or events.ended then return list end
    local left = deadline and (deadline - core.now()) / 1e9
    if left and left <= 0 then return list end
    local own = events:timeout()
    local ready, message = core.poll(events:fds(), own and left and math.min(own, left) or own or left)
    if not ready then error(message, 0) end
  end
end

---Wait for events: the first that come, or an empty list after so many seconds, or where none will come (ended).
---@param timeout? number seconds; none: for ever
---@return caisson.cgroup.Event[]
function Events:wait(timeout) return M.wait(self, timeout) end

---Let go of its descriptor.
function Events:close() self.watch:close() end

-- ---- pressure as figures ----

local function parse(text)
  local t = {}
  for word, rest in text:gmatch("(%a+) ([^\n]*)") do
    if word == "some" or word == "full" then
      local line = {}
      for k, v in rest:gmatch("(%w+)=([%d.]+)") do line[k == "total" and "total_us" or k] = tonumber(v) end
      t[word] = line
    end
  end
  return t
end

-- { cpu = { some = { avg10 =, avg60 =, avg300 =, total_us = }, full = … }, memory = …, io = … } by read(file);
-- nil where there is none. avg: percent of the time.
function M.pressure(read)
  local t
  for _, resource in ipairs(resources) do
    local text = read(resource)
    if text then
      t = t or {}
      t[resource] = parse(text)
    end
  end
  return t
end

return M
