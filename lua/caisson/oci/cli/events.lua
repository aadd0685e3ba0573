-- events: what a container uses, again and again, and when it has run out of memory. The documents are runc's.
local cli = require "caisson.oci.cli"
local core = require "caisson.core"
local json = require "caisson.json"

local M = { commands = {} }

-- Members, as { name, JSON } in their order; those without a value are left out.
local function object(members)
  local items = {}
  for _, m in ipairs(members) do
    if m[2] then items[#items + 1] = json.string(m[1]) .. ":" .. m[2] end
  end
  return "{" .. table.concat(items, ",") .. "}"
end

local function list(values) return "[" .. table.concat(values, ",") .. "]" end

-- Figures are handed on as the digits that they are, since they may be greater than 2^53; 0 is left out, by default.
local function some(digits) return digits and digits ~= "0" and digits or nil end

local unlimited = "18446744073709551615"
local function limit(text) return text == "max" and unlimited or text end

-- A microseconds' figure in nanoseconds.
local function from_us(digits) return digits and digits ~= "0" and digits .. "000" or digits end

---@class caisson.oci.Reader  of a container's groups
local Reader = {}
Reader.__index = Reader

-- The file's text without its last newline; nil where it can't be had.
function Reader:text(controller, file)
  local g = self.groups:group { controller }
  local text = g and core.cgroup.read(g.dir, file)
  return text and (text:gsub("%s+$", "")) or nil
end

function Reader:is_v2(controller)
  local g = self.groups:group { controller }
  return g ~= nil and g.version == 2
end

-- "name 123" lines of a file, by name, and their order.
function Reader:fields(controller, file)
  local t, names = {}, {}
  for name, value in (self:text(controller, file) or ""):gmatch("(%S+) (%d+)") do
    t[name] = value
    names[#names + 1] = name
  end
  return t, names
end

-- "0-2,5" as the numbers.
local function numbers(text)
  local t = {}
  for a, b in (text or ""):gmatch("(%d+)%-?(%d*)") do
    for i = tonumber(a), tonumber(b) or tonumber(a) do t[#t + 1] = ("%d"):format(i) end
  end
  return list(t)
end

local function cpu(r)
  if r:is_v2("cpu") then
    local s = r:fields("cpu", "cpu.stat")
    return object { { "usage", object { { "total", some(from_us(s.usage_usec)) },
        { "kernel", from_us(s.system_usec) or "0" }, { "user", from_us(s.user_usec) or "0" } } },
      { "throttling", object { { "periods", some(s.nr_periods) }, { "throttledPeriods", some(s.nr_throttled) },
        { "throttledTime", some(from_us(s.throttled_usec)) } } } }
  end
  local each, user, kernel = {}, {}, {}
  for n in (r:text("cpuacct", "cpuacct.usage_percpu") or ""):gmatch("%d+") do each[#each + 1] = n end
  for _, u, k in (r:text("cpuacct", "cpuacct.usage_all") or ""):gmatch("\n(%d+) (%d+) (%d+)") do
    user[#user + 1], kernel[#kernel + 1] = u, k
  end
  local s, t = r:fields("cpuacct", "cpuacct.stat"), r:fields("cpu", "cpu.stat")
  -- in ticks of a hundredth of a second, whatever the kernel's own are
  local function ticks(n) return ("%.0f"):format((tonumber(n) or 0) * 1e7) end
  return object { { "usage", object { { "total", some(r:text("cpuacct", "cpuacct.usage")) },
      { "percpu", each[1] and list(each) }, { "percpu_kernel", kernel[1] and list(kernel) },
      { "percpu_user", user[1] and list(user) }, { "kernel", ticks(s.system) }, { "user", ticks(s.user) } } },
    { "throttling", object { { "periods", some(t.nr_periods) }, { "throttledPeriods", some(t.nr_throttled) },
      { "throttledTime", some(t.throttled_time) } } } }
end

local function cpuset(r)
  if r:is_v2("cpuset") then
    return object { { "cpus", numbers(r:text("cpuset", "cpuset.cpus.effective")) },
      { "mems", numbers(r:text("cpuset", "cpuset.mems.effective")) } }
  end
  local members = { { "cpus", numbers(r:text("cpuset", "cpuset.cpus")) } }
  for _, name in ipairs { "cpu_exclusive", "mems", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level" } do
    local text = r:text("cpuset", "cpuset." .. name)
    members[#members + 1] = { name, name == "mems" and numbers(text) or text or "0" }
  end
  return object(members)
end

local function usage(values)
  return object { { "limit", values.limit or "0" }, { "usage", some(values.usage) }, { "max", some(values.max) },
    { "failcnt", values.failcnt or "0" } }
end

local function memory(r)
  local stat, names = r:fields("memory", "memory.stat")
  local raw = {}
  table.sort(names)
  for i, name in ipairs(names) do raw[i] = { name, stat[name] } end
  local v2 = r:is_v2("memory")
  local function of(which)
    local prefix = "memory." .. which
    return usage { limit = r:text("memory", prefix .. "limit_in_bytes"), usage = r:text("memory", prefix .. "usage_in_bytes"),
      max = r:text("memory", prefix .. "max_usage_in_bytes"), failcnt = r:text("memory", prefix .. "failcnt") }
  end
  if not v2 then
    return object { { "cache", some(stat.cache) }, { "usage", of "" }, { "swap", of "memsw." }, { "kernel", of "kmem." },
      { "kernelTCP", of "kmem.tcp." }, { "raw", #raw > 0 and object(raw) } }
  end
  local events = r:fields("memory", "memory.events")
  return object { { "cache", some(stat.file) },
    { "usage", usage { limit = limit(r:text("memory", "memory.max")), usage = r:text("memory", "memory.current"),
      max = r:text("memory", "memory.peak"), failcnt = events.max } },
    { "swap", usage { limit = limit(r:text("memory", "memory.swap.max")), usage = r:text("memory", "memory.swap.current"),
      max = r:text("memory", "memory.swap.peak") } },
    { "kernel", usage {} }, { "kernelTCP", usage {} }, { "raw", #raw > 0 and object(raw) } }
end

local function pids(r)
  return object { { "current", some(r:text("pids", "pids.current")) },
    { "limit", some((r:text("pids", "pids.max") or ""):match("^%d+$")) } }
end

local function entry(major, minor, op, value)
  return object { { "major", some(major) }, { "minor", some(minor) }, { "op", json.string(op) }, { "value", some(value) } }
end

local v1_io = { { "ioServiceBytesRecursive", "io_service_bytes_recursive" }, { "ioServicedRecursive", "io_serviced_recursive" } }

local function io_stats(r)
  local members = {}
  if r:is_v2("io") then
    local bytes, ops = {}, {}
    local what = { rbytes = { bytes, "Read" }, wbytes = { bytes, "Write" }, dbytes = { bytes, "Discard" },
      rios = { ops, "Read" }, wios = { ops, "Write" }, dios = { ops, "Discard" } }
    for line in (r:text("io", "io.stat") or ""):gmatch("[^\n]+") do
      local major, minor, rest = line:match("^(%d+):(%d+) (.*)$")
      for key, value in (rest or ""):gmatch("(%a+)=(%d+)") do
        local w = what[key]
        if w then table.insert(w[1], entry(major, minor, w[2], value)) end
      end
    end
    return object { { v1_io[1][1], bytes[1] and list(bytes) }, { v1_io[2][1], ops[1] and list(ops) } }
  end
  for _, m in ipairs(v1_io) do
    local text = r:text("blkio", "blkio.bfq." .. m[2])
    if not text or text == "" or text == "Total 0" then text = r:text("blkio", "blkio.throttle." .. m[2]) end
    local entries = {}
    for major, minor, op, value in (text or ""):gmatch("(%d+):(%d+) (%a+) (%d+)") do
      entries[#entries + 1] = entry(major, minor, op, value)
    end
    members[#members + 1] = { m[1], entries[1] and list(entries) }
  end
  return object(members)
end

local function hugetlb(r)
  local members = {}
  for _, name in ipairs(core.list("/sys/kernel/mm/hugepages") or {}) do
    local kb = tonumber(name:match("^hugepages%-(%d+)kB$"))
    local size = kb and (kb >= 1048576 and ("%dGB"):format(kb / 1048576) or kb >= 1024 and ("%dMB"):format(kb / 1024) or
      ("%dKB"):format(kb))
    local file = size and "hugetlb." .. size .. "."
    local used = file and r:text("hugetlb", file .. (r:is_v2("hugetlb") and "current" or "usage_in_bytes"))
    if used then
      local events = r:is_v2("hugetlb") and r:fields("hugetlb", file .. "events").max
      members[#members + 1] = { size, object { { "usage", some(used) },
        { "max", some(r:text("hugetlb", file .. "max_usage_in_bytes")) },
        { "failcnt", events or r:text("hugetlb", file .. "failcnt") or "0" } } }
    end
  end
  table.sort(members, function(a, b) return a[1] < b[1] end)
  return object(members)
end

-- What the groups tell now, as one line.
local function stats_line(id, groups)
  local r = setmetatable({ groups = groups }, Reader)
  return object { { "type", '"stats"' }, { "id", json.string(id) }, { "data", object { { "cpu", cpu(r) },
    { "cpuset", cpuset(r) }, { "memory", memory(r) }, { "pids", pids(r) }, { "blkio", io_stats(r) },
    { "hugetlb", hugetlb(r) }, { "intel_rdt", "{}" }, { "network_interfaces", "null" } } } } .. "\n"
end

-- Lines as they are due, until the container has ended.
local function follow(c, groups, interval)
  local events, message = c:events()
  if not events then cli.fail(message) end
  local ooms = groups:group { "memory" }
  local oom = ooms and ooms.version == 2 and "oom_kill" or "oom"
  local due = core.now() + interval * 1e9
  while not events.ended do
    local fds = events:fds()
    local timeout = math.max(due - core.now(), 0) / 1e9
    local ready
    ready, message = core.poll(fds, math.min(timeout, events:timeout() or timeout))
    if not ready then cli.fail(message) end
    for _, e in ipairs(events:step()) do
      if e.type == oom then io.write(object { { "type", '"oom"' }, { "id", json.string(c.id) } }, "\n") end
    end
    if core.now() >= due and not events.ended then
      io.write(stats_line(c.id, groups))
      due = core.now() + interval * 1e9
    end
    io.stdout:flush()
  end
  events:close()
end

M.commands.events = { text = "show what a container uses, and when it runs out of memory", words = { 1, 1 },
  usage = "<container-id>",
  flags = { { "interval", "duration", "between the lines", "5s" }, { "stats", "bool", "one line, and no more" } },
  main = function(o, words)
    local c = cli.open(words[1])
    if o.interval and o.interval <= 0 then cli.fail("duration interval must be greater than 0") end
    if c:state().status == "stopped" then cli.fail(("container with id %s is not running"):format(c.id)) end
    local groups, message = c:groups()
    if not groups then cli.fail(message or "the container has no cgroup") end
    if o.stats then
      io.write(stats_line(c.id, groups))
      return
    end
    follow(c, groups, o.interval or 5)
  end }

return M
