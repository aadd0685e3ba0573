-- linux.resources of a configuration as the limits of a recipe's `cgroup`, or of container:update.
local u64 = require "caisson.u64"

local M = {}

local two32 = 4294967296

-- A limit in bytes: 0 is none given, negative is none at all. Above 2^53 they are text.
local function bytes(v)
  if v == nil or v == 0 or v == "0" then return nil end
  if type(v) == "number" and v < 0 or type(v) == "string" and v:sub(1, 1) == "-" then return "max" end
  return v
end

-- a - b, exact; nil where it is negative.
local function difference(a, b)
  a, b = u64.parse(a), u64.parse(b)
  if u64.lt(a, b) then return nil end
  local low, high = a[2] - b[2], a[1] - b[1]
  if low < 0 then low, high = low + two32, high - 1 end
  return u64.decimal { high, low }
end

-- The specification's swap is memory and swap together.
local function swap(m)
  local both, limit = bytes(m.swap), bytes(m.limit)
  if both == nil or both == "max" then return both end
  if limit == nil or limit == "max" then
    error("linux.resources.memory.swap: it counts memory too, and so needs linux.resources.memory.limit", 0)
  end
  return difference(both, limit)
    or error(("linux.resources.memory.swap: %s is less than linux.resources.memory.limit, %s, and counts memory too"):format(
      both, limit), 0)
end

local function memory(m)
  return { max = bytes(m.limit), low = bytes(m.reservation), swap = swap(m), kernel = bytes(m.kernel),
    kernel_tcp = bytes(m.kernelTCP), swappiness = m.swappiness, oom_kill_disable = m.disableOOMKiller or nil,
    use_hierarchy = m.useHierarchy or nil, check_before_update = m.checkBeforeUpdate or nil }
end

local function unless_zero(v)
  if v ~= 0 and v ~= "0" then return v end
end

local function cpu(c)
  local quota, period, max = unless_zero(c.quota), unless_zero(c.period), nil
  if quota ~= nil or period ~= nil then
    if quota ~= nil and tonumber(quota) < 0 then quota = "max" end
    max = { quota = quota, period = period }
  end
  local idle
  if c.idle ~= nil then idle = c.idle == 1 end
  return { shares = unless_zero(c.shares), max = max, burst = c.burst, rt_runtime = unless_zero(c.realtimeRuntime),
    rt_period = unless_zero(c.realtimePeriod), idle = idle }
end

local throttles = { throttleReadBpsDevice = "rbps", throttleWriteBpsDevice = "wbps",
  throttleReadIOPSDevice = "riops", throttleWriteIOPSDevice = "wiops" }

local function number(d) return ("%d:%d"):format(d.major, d.minor) end

-- 10 to 1000 as v2's 1 to 10000, unless BFQ's own file takes them as they are.
local function weight_for_v2(w) return 1 + math.floor((w - 10) * 9999 / 990) end

local function is_io_on_v2()
  local hierarchies = require("caisson.core").cgroup.detect() or {}
  for _, h in ipairs(hierarchies) do
    for _, c in ipairs(h.version == 1 and h.controllers or {}) do if c == "blkio" then return false end end
  end
  return true
end

local function io(b)
  local t, max, convert = {}, {}, function(w) return w end
  if (unless_zero(b.weight) or b.weightDevice) and is_io_on_v2() then convert = weight_for_v2 end
  if unless_zero(b.weight) then t.weight = convert(b.weight) end
  t.leaf_weight = unless_zero(b.leafWeight)
  local weights, leaves = {}, {}
  for _, d in ipairs(b.weightDevice or {}) do
    if unless_zero(d.weight) then weights[#weights + 1] = { device = number(d), weight = convert(d.weight) } end
    if unless_zero(d.leafWeight) then leaves[#leaves + 1] = { device = number(d), weight = d.leafWeight } end
  end
  if #weights > 0 then
    if t.weight then table.insert(weights, 1, { device = "default", weight = t.weight }) end
    t.weight = weights
  end
  if #leaves > 0 then
    if t.leaf_weight then table.insert(leaves, 1, { device = "default", weight = t.leaf_weight }) end
    t.leaf_weight = leaves
  end
  for field, key in pairs(throttles) do
    for _, d in ipairs(b[field] or {}) do max[#max + 1] = { device = number(d), [key] = bytes(d.rate) or "max" } end
  end
  table.sort(max, function(x, y) return x.device < y.device end)
  if #max > 0 then t.max = max end
  return t
end

local function each_number(v)
  if v == nil or type(v) == "number" and v < 0 then return "*" end
  return v
end

-- What every container may do, whatever its rules say, since its own devices are among them: make any node, and use
-- null, zero, full, random, urandom, tty, ptmx and pseudo-terminals.
local function device_rules(list)
  -- a recipe's own nodes would be allowed; here the rules alone say so
  local rules = { { allow = false } }
  for _, r in ipairs(list or {}) do
    local rule = { allow = r.allow == true, type = r.type ~= "" and r.type or nil, major = each_number(r.major),
      minor = each_number(r.minor), access = r.access ~= "" and r.access or nil }
    if rule.type == "u" then rule.type = "c" end
    rules[#rules + 1] = rule
  end
  rules[#rules + 1] = { allow = true, type = "c", access = "m" }
  rules[#rules + 1] = { allow = true, type = "b", access = "m" }
  for _, r in ipairs(require("caisson.cgroup.devices").defaults) do rules[#rules + 1] = r end
  return rules
end

local function any(t) return next(t) ~= nil and t or nil end

-- The limits; opts.devices: device rules too, those of every container at least. Raises what is wrong.
function M.of(r, opts)
  r, opts = r or {}, opts or {}
  local t = {}
  if r.memory then t.memory = any(memory(r.memory)) end
  if r.cpu then
    t.cpu = any(cpu(r.cpu))
    local cpus, mems = r.cpu.cpus, r.cpu.mems
    t.cpuset = any { cpus = cpus ~= "" and cpus or nil, mems = mems ~= "" and mems or nil }
  end
  if r.pids and unless_zero(r.pids.limit) then t.pids = { max = bytes(r.pids.limit) } end
  if r.blockIO then t.io = any(io(r.blockIO)) end
  for _, h in ipairs(r.hugepageLimits or {}) do
    t.hugetlb = t.hugetlb or {}
    t.hugetlb[h.pageSize] = h.limit
  end
  if r.network then
    if unless_zero(r.network.classID) then t.net_cls = { classid = r.network.classID } end
    for _, p in ipairs(r.network.priorities or {}) do
      t.net_prio = t.net_prio or {}
      t.net_prio[p.name] = p.priority
    end
  end
  for device, limits in pairs(r.rdma or {}) do
    t.rdma = t.rdma or {}
    t.rdma[device] = { hca_handle = limits.hcaHandles, hca_object = limits.hcaObjects }
  end
  if r.unified and next(r.unified) ~= nil then t.unified = r.unified end
  if opts.devices then t.devices = device_rules(r.devices) end
  return t
end

return M
