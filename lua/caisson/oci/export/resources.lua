-- A recipe's `cgroup` as linux.resources and linux.cgroupsPath. For caisson.oci.export.
local limits = require "caisson.cgroup.limits"
local u64 = require "caisson.u64"

local M = {}

local two32 = 4294967296

-- Bytes, or a number, as a configuration has them: a number, decimal text, -1 for "max".
local function amount(controller, option, value)
  if value == "max" or value == -1 then return -1 end
  local probe = {}
  probe[option] = value
  local written = limits.writes(controller, probe, option == "swap" and 2 or nil)[1][2]
  return u64.decimal(u64.parse(written))
end

local function sum(a, b)
  a, b = u64.parse(a), u64.parse(b)
  local low, high = a[2] + b[2], a[1] + b[1]
  if low >= two32 then low, high = low - two32, high + 1 end
  return u64.decimal { high, low }
end

-- What only v2 has: its own file, as it is written there.
local function unified(x, controller, option, value)
  local probe = {}
  probe[option] = value
  for _, w in ipairs(limits.writes(controller, probe, 2)) do
    local name = controller .. "." .. option
    if not w[1] then
      return x:lost("cgroup", name .. " is of cgroup v1 alone, and a configuration has no word for it")
    end
    local u = x.config.linux.resources.unified or {}
    if u[w[1]] then return x:lost("cgroup", name .. ": a configuration has one line for each file of v2") end
    u[w[1]] = w[2]
    x.config.linux.resources.unified = u
  end
end

local parts = {}

local function each(x, controller, t, known)
  for k, v in pairs(t) do
    if k == "optional" then
      x:warn("cgroup." .. controller, "it is optional in the recipe, and not in the bundle")
    elseif known[k] then
      known[k](v)
    else
      unified(x, controller, k, v)
    end
  end
end

function parts.memory(x, t, r)
  local m = {}
  local function plain(field, option)
    return function(v) m[field] = amount("memory", option, v) end
  end
  local function flag(field) return function(v) m[field] = v end end
  each(x, "memory", t, {
    max = plain("limit", "max"), low = plain("reservation", "low"), kernel = plain("kernel", "kernel"),
    kernel_tcp = plain("kernelTCP", "kernel_tcp"), swappiness = flag "swappiness",
    oom_kill_disable = flag "disableOOMKiller", use_hierarchy = flag "useHierarchy",
    check_before_update = flag "checkBeforeUpdate",
    swap = function(v)
      if v == "max" then m.swap = -1 return end
      if t.max == nil or t.max == "max" then
        return x:lost("cgroup", "memory.swap: a configuration counts memory with it, which has no limit")
      end
      m.swap = sum(amount("memory", "max", t.max), amount("memory", "swap", v))
    end,
  })
  r.memory = next(m) and m or nil
end

function parts.pids(x, t, r)
  each(x, "pids", t, { max = function(v) r.pids = { limit = amount("pids", "max", v) } end })
end

function parts.cpu(x, t, r)
  local c = {}
  each(x, "cpu", t, {
    max = function(v)
      local quota, period = limits.writes("cpu", { max = v }, 2)[1][2]:match("^(%w+) (%d+)$")
      c.quota, c.period = quota == "max" and -1 or tonumber(quota), tonumber(period)
    end,
    -- shares, from 1024, are the weight that a configuration has
    weight = function(v) c.shares = tonumber(limits.writes("cpu", { weight = v }, 1)[1][2]) end,
    shares = function(v) c.shares = tonumber(v) end,
    burst = function(v) c.burst = amount("cpu", "burst", v) end,
    idle = function(v) c.idle = v and 1 or 0 end,
    rt_period = function(v) c.realtimePeriod = tonumber(v) end,
    rt_runtime = function(v) c.realtimeRuntime = v == "max" and -1 or tonumber(v) end,
  })
  for k, v in pairs(c) do
    r.cpu = r.cpu or {}
    r.cpu[k] = v
  end
end

function parts.cpuset(x, t, r)
  r.cpu = r.cpu or {}
  each(x, "cpuset", t, {
    cpus = function(v) r.cpu.cpus = limits.writes("cpuset", { cpus = v })[1][2] end,
    mems = function(v) r.cpu.mems = limits.writes("cpuset", { mems = v })[1][2] end,
  })
end

local function device(d)
  local major, minor = d.device:match("^(%d+):(%d+)$")
  return tonumber(major), tonumber(minor)
end

local throttles = { rbps = "throttleReadBpsDevice", wbps = "throttleWriteBpsDevice", riops = "throttleReadIOPSDevice",
  wiops = "throttleWriteIOPSDevice" }

function parts.io(x, t, r)
  local b = {}
  local function weights(field)
    return function(v)
      if type(v) ~= "table" then v = { { weight = v } } end
      for _, d in ipairs(v.device and { v } or v) do
        local w = tonumber(d.weight)
        if w < 10 or w > 1000 then
          x:lost("cgroup", ("io: a configuration has weights from 10 to 1000, not %d"):format(w))
        elseif d.device and d.device ~= "default" then
          local major, minor = device(d)
          b.weightDevice = b.weightDevice or {}
          table.insert(b.weightDevice, { major = major, minor = minor, [field] = w })
        else
          b[field] = w
        end
      end
    end
  end
  each(x, "io", t, {
    weight = weights "weight", leaf_weight = weights "leafWeight",
    max = function(list)
      for _, d in ipairs(list.device and { list } or list) do
        local major, minor = device(d)
        for key, field in pairs(throttles) do
          if d[key] ~= nil and d[key] ~= "max" then
            local line = limits.writes("io", { max = { { device = d.device, [key] = d[key] } } }, 2)[1][2]
            b[field] = b[field] or {}
            table.insert(b[field], { major = major, minor = minor, rate = u64.decimal(u64.parse(line:match("=(%d+)$"))) })
          end
        end
      end
    end,
  })
  r.blockIO = next(b) and b or nil
end

function parts.hugetlb(x, t, r)
  for size, v in pairs(t) do
    local both = type(v) ~= "table" or v.max == v.rsvd
    local n = type(v) == "table" and v.max or v
    if both and n ~= "max" then
      r.hugepageLimits = r.hugepageLimits or {}
      table.insert(r.hugepageLimits, { pageSize = size, limit = amount("hugetlb", size, n) })
    else
      unified(x, "hugetlb", size, v)
    end
  end
end

function parts.rdma(x, t, r)
  for name, v in pairs(t) do
    if v.hca_handle == "max" or v.hca_object == "max" then
      unified(x, "rdma", name, v)
    else
      r.rdma = r.rdma or {}
      r.rdma[name] = { hcaHandles = v.hca_handle, hcaObjects = v.hca_object }
    end
  end
end

function parts.misc(x, t)
  for name, v in pairs(t) do unified(x, "misc", name, v) end
end

function parts.net_cls(_, t, r)
  r.network = r.network or {}
  r.network.classID = t.classid
end

function parts.net_prio(_, t, r)
  r.network = r.network or {}
  r.network.priorities = {}
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do r.network.priorities[i] = { name = name, priority = t[name] } end
end

-- The rules, or where there are none the ones that `spec` writes: nothing but what every container has, and the
-- recipe's own nodes.
local function devices(x, rules)
  local list = { { allow = false, access = "rwm" } }
  local first = rules and rules[1]
  local denies_all = first and first.allow == false and (first.type or "a") == "a" and (first.access or "rwm") == "rwm"
  if denies_all then list = {} end
  for _, d in ipairs(not denies_all and x.config.linux.devices or {}) do
    if d.type ~= "p" then
      list[#list + 1] = { allow = true, type = d.type, major = d.major, minor = d.minor, access = "rwm" }
    end
  end
  local function number(v) return v ~= "*" and v or nil end
  for _, rule in ipairs(rules or {}) do
    list[#list + 1] = { allow = rule.allow, type = rule.type, major = number(rule.major), minor = number(rule.minor),
      access = rule.access or "rwm" }
  end
  return list
end

local function path(x, t)
  if t.driver == "systemd" then
    x:warn("cgroup", "systemd's groups are asked for by a flag of the runtime's (--systemd-cgroup)")
    local name = t.scope and not t.scope:find("*", 1, true) and t.scope:match("^(.*)%.scope$")
    if name then return ("%s::%s"):format(t.slice or "", name) end
    x:warn("cgroup", "slice and scope are the runtime's choice, as the recipe names no scope that is the same for each run")
    return nil
  end
  if t.path and t.path:find("*", 1, true) then
    x:warn("cgroup", ("path: '%s' is another for each run, which the runtime's own choice is too"):format(t.path))
    return nil
  end
  return t.path
end

-- names of controllers, in one order, so that a bundle is written the same each time
local order = { "memory", "pids", "cpu", "cpuset", "io", "hugetlb", "rdma", "misc", "net_cls", "net_prio" }

function M.of(x, t)
  local linux = x.config.linux
  local r = {}
  linux.resources = r
  t = t or {}
  local ok, e = pcall(limits.check, t)
  if not ok then error(type(e) == "table" and e.key and ("cgroup.%s: %s"):format(e.key, e.message) or e, 0) end
  if t.optional then x:warn("cgroup", "its limits are optional in the recipe, and not in the bundle") end
  for _, name in ipairs(order) do if t[name] then parts[name](x, t[name], r) end end
  for file, v in pairs(t.unified or {}) do
    r.unified = r.unified or {}
    r.unified[file] = type(v) == "number" and ("%.0f"):format(v) or v
  end
  -- an ordinary user has no right to device rules
  if x.builder.identity.euid == 0 then r.devices = devices(x, t.devices) end
  if next(r) == nil then linux.resources = nil end
  linux.cgroupsPath = path(x, t)
end

return M
