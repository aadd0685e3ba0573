-- Limits of a container that runs, changed: all of them, or none.
local core = require "caisson.core"
local devices = require "caisson.cgroup.devices"
local limits = require "caisson.cgroup.limits"

local M = {}

-- What fixes the group's place and purpose is no limit.
local fixed = { "path", "existing", "own_leaf", "accounting", "every", "optional", "driver", "slice",
  "scope", "properties" }

-- Files with a line for each device, interface or resource, and what such a line without a limit would be.
local keyed = {
  ["io.max"] = "rbps=max wbps=max riops=max wiops=max", ["io.latency"] = "target=0", ["io.weight"] = "default",
  ["io.bfq.weight"] = "default", ["rdma.max"] = "hca_handle=max hca_object=max", ["misc.max"] = "max",
  ["net_prio.ifpriomap"] = "0", ["blkio.throttle.read_bps_device"] = "0", ["blkio.throttle.write_bps_device"] = "0",
  ["blkio.throttle.read_iops_device"] = "0", ["blkio.throttle.write_iops_device"] = "0",
  ["blkio.bfq.weight_device"] = "0", ["blkio.leaf_weight_device"] = "0",
}

-- What to write for the limit to be again what the file said, before `written` was written to it.
local function before(file, text, written)
  if file == "memory.oom_control" then return text:match("oom_kill_disable (%d)") end
  local key = keyed[file] and written:match("^(%S+) ")
  if key then
    for line in text:gmatch("[^\n]+") do
      if line:match("^%S+") == key then return line end
    end
    return key .. " " .. keyed[file]
  end
  text = text:gsub("%s+$", "")
  return text ~= "" and text or "\n"
end

local function has(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

local function group_of(groups, controller)
  for _, g in ipairs(groups.groups) do
    if g.version == 1 and has(g.controllers, controller) then return g end
  end
  for _, g in ipairs(groups.groups) do if g.version == 2 then return g end end
end

local function failed(key, message, errno, object)
  local why = ("cgroup: %s can't be changed: %s"):format(key, message)
  return nil, why, errno, { step = "cgroup.set", key = key, object = object or key, errno = errno,
    code = core.errno.name(errno), detail = message }
end

local huge = 2 ^ 60

-- v1: the limit of memory and swap may never be below that of memory.
local function in_order(g, list)
  local memory, both
  for i, w in ipairs(list) do
    if w[1] == "memory.limit_in_bytes" then memory = i end
    if w[1] == "memory.memsw.limit_in_bytes" then both = i end
  end
  if not (memory and both) then return end
  local now = tonumber((core.cgroup.read(g.dir, "memory.memsw.limit_in_bytes")))
  local new = tonumber(list[memory][2])
  if now and (new > now or new == -1) then list[memory], list[both] = list[both], list[memory] end
end

-- A quota keeps the period that there is, and a period the quota.
local function time_of(g, max)
  if max.quota ~= nil and max.period ~= nil then return max end
  local quota, period
  if g.version == 2 then
    quota, period = (core.cgroup.read(g.dir, "cpu.max") or ""):match("^(%w+) (%d+)")
  else
    quota = (core.cgroup.read(g.dir, "cpu.cfs_quota_us") or ""):match("^%d+") or "max"
    period = (core.cgroup.read(g.dir, "cpu.cfs_period_us") or ""):match("^%d+")
  end
  local with = {}
  for k, v in pairs(max) do with[k] = v end -- what is no option of it is refused later
  with.quota, with.period = with.quota or quota, with.period or period
  return with
end

-- All that is to be written, group by group: { group, file, value, key }.
-- Returns a list | nil, message, errno, failure.
local function collect(groups, t, wanted)
  local all = {}
  for _, controller in ipairs(wanted) do
    local g = group_of(groups, controller)
    if not g then
      return failed(controller, ("the container has no group of the %s controller: its recipe did not ask for one")
        :format(controller), core.errno.ENOENT)
    end
    local options = t[controller]
    if controller == "memory" and g.version == 1 and options.swap ~= nil and options.max == nil then
      -- the limit that holds
      local max = core.cgroup.read(g.dir, "memory.limit_in_bytes")
      local with = { max = max and tonumber(max) < huge and max:match("%d+") or "max" }
      for k, v in pairs(options) do with[k] = v end
      options = with
    end
    if controller == "cpu" and type(options.max) == "table" then
      local with = { max = time_of(g, options.max) }
      for k, v in pairs(options) do with[k] = with[k] or v end
      options = with
    end
    local list = {}
    for _, w in ipairs(limits.writes(controller, options, g.version)) do
      local key = controller .. "." .. w.option
      if not w[1] then
        return failed(key, ("cgroup v%d has no such limit"):format(g.version), core.errno.EOPNOTSUPP)
      end
      if t[controller][w.option] ~= nil then list[#list + 1] = { w[1], w[2], key = key, verify = w.verify } end
    end
    if controller == "memory" and g.version == 1 then in_order(g, list) end
    for _, w in ipairs(list) do all[#all + 1] = { group = g, file = w[1], value = w[2], key = w.key, verify = w.verify } end
  end
  local files = {}
  for file in pairs(t.unified or {}) do files[#files + 1] = file end
  table.sort(files)
  for _, file in ipairs(files) do
    local g = group_of(groups, "")
    if not g then return failed("unified." .. file, "the container has no v2 group", core.errno.EOPNOTSUPP) end
    local v = t.unified[file]
    all[#all + 1] = { group = g, file = file, value = type(v) == "number" and ("%.0f"):format(v) or v,
      key = "unified." .. file }
  end
  return all
end

-- memory.check_before_update: a limit below what is used would have the kernel kill (v2) to make it true.
local function check_usage(groups, t)
  local memory = t.memory
  if not (memory and memory.check_before_update and memory.max ~= nil) then return true end
  local g = group_of(groups, "memory")
  local current = g and core.cgroup.read(g.dir, g.version == 2 and "memory.current" or "memory.usage_in_bytes")
  local max = limits.writes("memory", { max = memory.max }, 2)[1][2]
  if current and max ~= "max" and tonumber(current) > tonumber(max) then
    return failed("memory.max", ("%s is less than the %d bytes in use"):format(max, tonumber(current)), core.errno.EBUSY)
  end
  return true
end

local function write(g, file, value, verify)
  return core.cgroup.set { group = g.dir, file = file, value = value, verify = verify }
end

-- v1: as far as it comes, and back again where that is not all the way.
local function devices_v1(g, rules)
  local old, message, errno = core.cgroup.read(g.dir, "devices.list")
  if not old then return nil, message, errno end
  local writes
  writes, message = devices.change_v1(old, rules)
  if not writes then return nil, message, core.errno.EOPNOTSUPP end
  for _, w in ipairs(writes) do
    local ok
    ok, message, errno = write(g, w[1], w[2])
    if not ok then
      local now = core.cgroup.read(g.dir, "devices.list")
      for _, back in ipairs(now and devices.change_v1(now, devices.of_list_v1(old)) or {}) do
        write(g, back[1], back[2])
      end
      return nil, message, errno
    end
  end
  return true
end

local function change_devices(groups, t)
  local g = group_of(groups, "devices")
  if not g then return nil, "the container has no group that could have device rules", core.errno.ENOENT end
  local nodes = {}
  for i, text in ipairs(g.nodes or {}) do nodes[i] = devices.parse(text) end
  local rules = devices.all(t.devices, nodes)
  if g.version == 1 then return devices_v1(g, rules) end
  return core.cgroup.devices { group = g.dir, rules = devices.texts(rules) }
end

-- systemd is told first, so that what it writes by itself is there to be overwritten.
-- Returns what to tell it to take that back, or true | nil, message, errno.
local function tell_systemd(groups, list, t)
  local g = group_of(groups, "")
  if not (g and g.unit) then return true end
  local properties = require "caisson.systemd.properties"
  local writes = {}
  for i, w in ipairs(list) do writes[i] = { w.file, w.value } end
  local told = properties.of_writes(writes)
  if t.devices then
    local nodes = {}
    for i, text in ipairs(g.nodes or {}) do nodes[i] = devices.parse(text) end
    for _, p in ipairs(properties.of_devices(devices.all(t.devices, nodes))) do told[#told + 1] = p end
  end
  local names, seen = {}, {}
  for _, p in ipairs(told) do
    local name = p:match("^%u%w+ %S+")
    if name and not seen[name] then
      names[#names + 1], seen[name] = name, true
    end
  end
  if #told == 0 then return true end
  local old, message, errno = core.systemd.get(g.unit, names, g.user)
  if not old then return nil, message, errno end
  local ok
  ok, message, errno = core.systemd.set(g.unit, told, g.user)
  if not ok then return nil, message, errno end
  local back = {}
  for _, p in ipairs(old) do -- a list is added to, but by an empty one
    local empty = p:match("^%S+ a%S+")
    if empty then back[#back + 1] = empty end
    if p ~= empty then back[#back + 1] = p end
  end
  return { unit = g.unit, user = g.user, properties = back }
end

local function misuse(key, message)
  error(("update: %s%s"):format(key ~= "" and key .. ": " or "", message), 0)
end

-- Change the limits in t, a table such as a recipe's `cgroup`. All that is to be written is known, and all that
-- is there was read, before the first write; when one fails, those before it are taken back.
-- Returns true | nil, message, errno, failure ({ key =, object =, … , left = what could not be taken back }).
-- Raises a message for what is no limit.
function M.update(groups, t)
  local ok, wanted = pcall(limits.check, t)
  if not ok then
    if type(wanted) ~= "table" then error(wanted, 0) end
    misuse(wanted.key, wanted.message)
  end
  for _, k in ipairs(fixed) do
    if t[k] ~= nil then misuse(k, "can't be changed while the container lives") end
  end
  local fine, list, message, errno, failure
  fine, list, message, errno, failure = pcall(collect, groups, t, wanted)
  if not fine then -- what only this version of cgroups can tell
    if type(list) ~= "table" then error(list, 0) end
    misuse(list.key, list.message)
  end
  if not list then return nil, message, errno, failure end
  for _, w in ipairs(list) do
    local text
    text, message, errno = core.cgroup.read(w.group.dir, w.file)
    if not text then return failed(w.key, message, errno, w.file) end
    w.old = before(w.file, text, w.value)
  end
  ok, message, errno, failure = check_usage(groups, t)
  if not ok then return nil, message, errno, failure end

  local told
  told, message, errno = tell_systemd(groups, list, t)
  if not told then return failed("driver", message, errno, "systemd") end

  local object
  local done = 0
  for i, w in ipairs(list) do
    ok, message, errno = write(w.group, w.file, w.value, w.verify)
    if not ok then
      failure, object = w.key, w.file .. " = " .. w.value
      break
    end
    done = i
  end
  if ok and t.devices then
    local called
    called, ok, message, errno = pcall(change_devices, groups, t)
    if not called then -- v1 can't express it
      message = type(ok) == "table" and ok.message or error(ok, 0)
      ok, errno = nil, core.errno.EOPNOTSUPP
    end
    failure, object = "devices", "devices"
  end
  if ok then return true end
  local left = {}
  if told ~= true then
    local back, why = core.systemd.set(told.unit, told.properties, told.user)
    if not back then left[1] = why end
  end
  for i = done, 1, -1 do
    local w = list[i]
    local back, why = write(w.group, w.file, w.old)
    if not back then left[#left + 1] = why end
  end
  local _, text, number, answer = failed(failure, message, errno, object)
  if #left > 0 then
    text = text .. "; and what was changed before could not be taken back: " .. table.concat(left, ", ")
    answer.left = left
  end
  return nil, text, number, answer
end

return M
