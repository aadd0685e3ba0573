-- `linux.resources` and `cgroupsPath`: the limits as the group's files have them, on whichever version has each.
local t = require "support"
local oci = require "support.bundle"
local resources = require "caisson.oci.resources"
local detect = t.core.cgroup.detect

local function v1(controller)
  for _, h in ipairs(detect()) do
    for _, c in ipairs(h.version == 1 and h.mount and h.controllers or {}) do if c == controller then return true end end
  end
  return false
end

describe("a configuration's resources", function()
  it("are limits of a recipe, exactly", function()
    local of = resources.of
    assert.same({ max = "9223372036854771712" }, of { memory = { limit = "9223372036854771712" } }.memory)
    assert.same({ max = "max", swap = "max" }, of { memory = { limit = -1, swap = -1 } }.memory)
    assert.same({ max = 100, swap = 50, low = 10, swappiness = 7, oom_kill_disable = true },
      of { memory = { limit = 100, swap = 150, reservation = 10, swappiness = 7, disableOOMKiller = true } }.memory)
    assert.same({ max = "9223372036854771712", swap = 4095 }, of { memory = { limit = "9223372036854771712", swap = "9223372036854775807" } }.memory)
    assert.is_nil(of { memory = { limit = 0, disableOOMKiller = false } }.memory)
    assert.same({ shares = 512, max = { quota = 50000, period = 100000 }, burst = 10000, rt_runtime = 950, rt_period = 1000, idle = true },
      of { cpu = { shares = 512, quota = 50000, period = 100000, burst = 10000, realtimeRuntime = 950, realtimePeriod = 1000, idle = 1 } }.cpu)
    assert.same({ max = { quota = "max" } }, of { cpu = { quota = -1, shares = 0 } }.cpu)
    assert.same({ cpus = "0-1", mems = "0" }, of { cpu = { cpus = "0-1", mems = "0" } }.cpuset)
    assert.same({ max = "max" }, of { pids = { limit = -1 } }.pids)
    assert.is_nil(of { pids = { limit = 0 } }.pids)
    assert.same({ ["2MB"] = 4194304 }, of { hugepageLimits = { { pageSize = "2MB", limit = 4194304 } } }.hugetlb)
    assert.same({ mlx5_1 = { hca_handle = 3, hca_object = 10000 } }, of { rdma = { mlx5_1 = { hcaHandles = 3, hcaObjects = 10000 } } }.rdma)
    local net = of { network = { classID = 1048577, priorities = { { name = "eth0", priority = 500 } } } }
    assert.same({ { classid = 1048577 }, { eth0 = 500 } }, { net.net_cls, net.net_prio })
    assert.same({ ["memory.high"] = "1" }, of { unified = { ["memory.high"] = "1" } }.unified)
    assert.same({ { device = "8:0", rbps = 600 }, { device = "8:16", wiops = 300 } }, of { blockIO = {
      throttleReadBpsDevice = { { major = 8, minor = 0, rate = 600 } },
      throttleWriteIOPSDevice = { { major = 8, minor = 16, rate = 300 } } } }.io.max)
    local ok, message = pcall(of, { memory = { swap = 100 } })
    assert.is_false(ok)
    assert.truthy(message:find("linux.resources.memory.swap", 1, true), message)
    ok, message = pcall(of, { memory = { limit = 200, swap = 100 } })
    assert.truthy(not ok and message:find("linux.resources.memory.swap", 1, true), message)
    assert.same({}, of {})
    assert.same({}, of(nil))
  end)

  it("blkio weights are v1's own, and v2's converted", function()
    local io = resources.of { blockIO = { weight = 500, leafWeight = 300, weightDevice = { { major = 8, minor = 0, weight = 1000, leafWeight = 10 } } } }.io
    local function w(n) return v1("blkio") and n or 1 + math.floor((n - 10) * 9999 / 990) end
    assert.same({ { device = "default", weight = w(500) }, { device = "8:0", weight = w(1000) } }, io.weight)
    assert.same({ { device = "default", weight = 300 }, { device = "8:0", weight = 10 } }, io.leaf_weight)
  end)

  if not t.needs("busybox") then return end

  local bundle

  setup(function() bundle = oci.bundle() end)
  teardown(function() bundle:close() end)

  local path = "/csnocires-" .. t.getpid()

  local function files(r, names) return bundle:group_files(r, names, path) end

  it("memory, pids, cpu, cpuset: v1", function()
    if not t.needs("root", "cgroup_v1") then return end
    assert.same({ "67108864", "33554432", "10", "1" }, files({ memory = { limit = 67108864, reservation = 33554432, swappiness = 10,
      useHierarchy = true } }, { "memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness", "memory.use_hierarchy" }))
    assert.same({ "9223372036854771712" }, files({ memory = { limit = "9223372036854771712" } }, { "memory.limit_in_bytes" }))
    if t.core.lstat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") then
      assert.same({ "67108864", "134217728" }, files({ memory = { limit = 67108864, swap = 134217728 } },
        { "memory.limit_in_bytes", "memory.memsw.limit_in_bytes" }))
    end
    assert.truthy(files({ memory = { limit = 67108864, disableOOMKiller = true } }, { "memory.oom_control" })[1]:find("oom_kill_disable 1"))
    assert.same({ "17" }, files({ pids = { limit = 17 } }, { "pids.max" }))
    assert.same({ "max" }, files({ pids = { limit = -1 } }, { "pids.max" }))
    assert.same({ "512", "50000", "80000" }, files({ cpu = { shares = 512, quota = 50000, period = 80000 } },
      { "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us" }))
    assert.same({ "-1" }, files({ cpu = { quota = -1 } }, { "cpu.cfs_quota_us" }))
    assert.same({ "1" }, files({ cpu = { idle = 1 } }, { "cpu.idle" }))
    assert.same({ "0", "0" }, files({ cpu = { cpus = "0", mems = "0" } }, { "cpuset.cpus", "cpuset.mems" }))
  end)

  it("memory: half a mebibyte is room to start a static program in", function()
    if not t.needs("root", "cgroup_v1") then return end
    assert.same({ "524288" }, files({ memory = { limit = 524288 } }, { "memory.limit_in_bytes" }))
  end)

  it("blockIO's throttles", function()
    if not t.needs("root", "cgroup_v1") or not v1("blkio") then return end
    local number = t.sh("cat /sys/block/*/dev | head -1"):match("%d+:%d+")
    if not number then return end
    local major, minor = number:match("(%d+):(%d+)")
    local rate = { { major = tonumber(major), minor = tonumber(minor), rate = 1048576 } }
    assert.same({ number .. " 1048576", number .. " 1048576" }, files({ blockIO = { throttleReadBpsDevice = rate, throttleWriteIOPSDevice = rate } },
      { "blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device" }))
  end)

  it("hugetlb: pages in use and reserved", function()
    if not t.needs("root") then return end
    local file = t.sh("find /sys/fs/cgroup -maxdepth 2 -name cgroup.controllers -exec grep -l hugetlb {} + 2>/dev/null")
    if file == "" then return end
    assert.same({ "4194304", "4194304" }, files({ hugepageLimits = { { pageSize = "2MB", limit = 4194304 } } },
      { "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max" }))
  end)

  it("what this machine does not have is named", function()
    if not t.needs("root", "cgroup_v1") then return end
    local message = bundle:fails("true", function(c) c.linux.resources.unified = { ["memory.max"] = "1" } end)
    assert.truthy(message:find("memory", 1, true) and message:find("v1", 1, true), message)
    message = bundle:fails("true", function(c) c.linux.resources.rdma = { mlx = { hcaHandles = 1 } } end)
    assert.truthy(message:find("rdma", 1, true), message)
    message = bundle:fails("true", function(c) c.linux.resources.hugepageLimits = { { pageSize = "3MB", limit = 1 } } end)
    assert.truthy(message:find("hugetlb", 1, true), message)
  end)

  it("cgroupsPath: absolute, or below this process's own; several names deep", function()
    if not t.needs("root", "cgroup_v1") then return end
    local function place(p)
      return bundle:output("cat /proc/self/cgroup", function(c)
        c.linux.cgroupsPath, c.linux.resources.memory = p, { limit = 67108864 }
      end):match("%d+:memory:([^\n]*)")
    end
    local own = t.read_file("/proc/self/cgroup"):match("%d+:memory:([^\n]*)"):gsub("/$", "")
    assert.equal(path, place(path))
    assert.equal(path .. "/a/b", place(path .. "/a/./b/"))
    assert.equal(own .. path, place(path:sub(2)))
    assert.equal(path .. "/x", place("/../.." .. path .. "/x"))
  end)

  it("cgroupsPath: a group that is there already is used, and stays", function()
    if not t.needs("root", "cgroup_v1") then return end
    local dir = "/sys/fs/cgroup/memory" .. path
    os.execute("mkdir " .. dir)
    finally(function() os.execute("rmdir " .. dir) end)
    assert.equal("yes\n", bundle:output("echo yes", function(c) c.linux.cgroupsPath = path end))
    assert.truthy(t.core.lstat(dir))
  end)

  it("cgroupsPath: a group that somebody is in is refused", function()
    if not t.needs("root", "cgroup_v1") then return end
    local config = oci.config { "/bin/sleep", "30" }
    config.linux.cgroupsPath = path
    local r = assert(require("caisson.oci.recipe").of(config, { bundle = bundle.dir }))
    local running = assert(require("caisson").start(r, { stdin = "null" }))
    finally(function() running:close() end)
    local message = bundle:fails("true", function(c) c.linux.cgroupsPath = path end)
    assert.truthy(message:find(path .. " is not empty", 1, true), message)
  end)

  it("a mount of cgroups shows the container's own", function()
    if not t.needs("root", "cgroup_v1") then return end
    local function look(options, cgroupns)
      return bundle:output("ls /sys/fs/cgroup; cat /sys/fs/cgroup/memory/cgroup.procs | wc -l; mkdir /sys/fs/cgroup/memory/sub 2>/dev/null && echo made; " ..
        "rmdir /sys/fs/cgroup/memory/sub 2>/dev/null; touch /sys/fs/cgroup/x 2>/dev/null && echo touched; cat /proc/self/cgroup", function(c)
        c.linux.cgroupsPath = path
        table.insert(c.mounts, { destination = "/sys/fs/cgroup", type = "cgroup", source = "cgroup", options = options })
        if cgroupns then table.insert(c.linux.namespaces, { type = "cgroup" }) end
      end)
    end
    for _, cgroupns in ipairs { false, true } do
      local out = look({ "nosuid", "noexec", "nodev", "relatime", "ro" }, cgroupns)
      for _, h in ipairs(detect()) do
        if h.version == 1 and h.mount then assert.truthy(out:find(h.mount:match("[^/]+$") .. "\n", 1, true), out) end
      end
      assert.falsy(out:find("made") or out:find("touched"), out)
      assert.truthy(out:find("\n[23]\n"), out) -- the shell, cat and wc: of them alone
      assert.truthy(out:find(cgroupns and ":memory:/\n" or ":memory:" .. path .. "\n", 1, true), out)
      out = look({ "nosuid" }, cgroupns)
      assert.truthy(out:find("made"), out)
    end
  end)

  it("rootless: limits that can't be set are an error, or left out and told where that is asked for", function()
    local function limits(c) c.linux.resources = { memory = { limit = 67108864 }, pids = { limit = 5 } } end
    if t.is_root then return end
    local r = assert(bundle:run("echo up", limits, { rootless = true }))
    assert.equal("up\n", r.output)
    assert.equal("unlimited", r.memory)
    for _, said in ipairs { {}, { rootless = false } } do
      local message = bundle:fails("echo up", limits, said)
      assert.truthy(message:find("memory", 1, true), message)
    end
  end)
end)
