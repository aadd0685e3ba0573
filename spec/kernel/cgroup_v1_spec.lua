-- Resources of cgroup v1, seen to bite. (Those of v2 are in spec/vm/resources_spec.lua, for a machine that has it.)
local t = require "support"
local g = require "support.cgroup"
local core = t.core

local function hierarchy(controller)
  for _, h in ipairs(g.env("v1").hierarchies) do
    for _, c in ipairs(h.controllers) do if c == controller then return h.mount end end
  end
end

local function read(groups, controller, file)
  return (core.cgroup.read(groups:group({ controller }).dir, file):gsub("%s+$", ""))
end

local burn = { "/bin/sh", "-c", "while :; do :; done" }

describe("a resource of cgroup v1:", function()
  if not t.needs("root", "cgroup_v1", "perl") then return end

  after_each(function() assert.equal("", g.left()) end)

  -- CPU seconds that each of two containers gets of one processor.
  local function share(a, b)
    local p, groups = {}, {}
    for i, cpu in ipairs { a, b } do
      p[i], groups[i] = g.start({ cpu = cpu, cpuset = { cpus = "1" } }, burn, "v1")
    end
    core.poll({}, 0.2)
    local before = { groups[1]:cpu_ns(), groups[2]:cpu_ns() }
    core.poll({}, 0.8)
    local used = { groups[1]:cpu_ns() - before[1], groups[2]:cpu_ns() - before[2] }
    for i = 1, 2 do
      groups[i]:close()
      p[i]:close()
    end
    return used[1] / used[2]
  end

  it("cpu.weight, cpu.shares and cpu.idle share a processor", function()
    if not t.read_file(hierarchy "cpuset" .. "/cpuset.cpus"):find("1") then return pending("needs two processors") end
    local ratio = share({ weight = 800 }, { weight = 100 })
    assert.is_true(ratio > 4, tostring(ratio))
    ratio = share({ shares = 128 }, { shares = 1024 })
    assert.is_true(ratio < 0.25, tostring(ratio))
    ratio = share({ weight = 100 }, { idle = true })
    assert.is_true(ratio > 20, tostring(ratio))
  end)

  it("cpu.rt_runtime: realtime scheduling only with a budget", function()
    if not core.lstat(hierarchy "cpu" .. "/cpu.rt_runtime_us") then return pending("needs CONFIG_RT_GROUP_SCHED") end
    local function chrt(cpu) return g.run({ cpu = cpu }, { argv = { "/usr/bin/chrt", "-f", "1", "true" }, only = "v1" }) end
    assert.not_equal(0, assert(chrt { weight = 100 }).code)
    assert.equal(0, assert(chrt { rt_period = 1000000, rt_runtime = 10000 }).code)
    local r, message, errno = chrt { rt_runtime = 999999 } -- more than the machine gives
    assert.is_nil(r)
    assert.equal(core.errno.EINVAL, errno)
    assert.truthy(message:find("cpu.rt_runtime_us = 999999", 1, true), message)
  end)

  it("cpuset holds the program to its processors", function()
    local r = assert(g.run({ cpuset = { cpus = "0", mems = "0" } }, { only = "v1",
      script = "grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status" }))
    assert.equal("Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n", r.output)
  end)

  it("memory.oom_kill_disable: who needs more waits, until there is more", function()
    local process, groups = g.start({ memory = { max = "16M", swap = 0, oom_kill_disable = true } },
      { "/usr/bin/perl", "-e", "$x = 'x' x 30e6" }, "v1")
    local events = assert(groups:events())
    local list = events:wait(10)
    assert.equal("oom", list[1].type)
    assert.is_true(g.eventually(function() return read(groups, "memory", "memory.oom_control"):find("under_oom 1") end))
    assert.equal("timeout", (select(2, process:wait(0.2))))
    assert.equal(0, groups:stats().oom_kills)
    assert(groups:update { memory = { max = "64M", swap = 0 } })
    assert.equal(0, assert(process:wait(10)).code)
    events:close()
    groups:close()
    process:close()
  end)

  it("memory.kernel and use_hierarchy: what this kernel has given up is an error, by the file's name", function()
    local r, message, errno = g.run({ memory = { kernel = "32M" } }, { only = "v1" })
    if not r then -- since Linux 5.16
      assert.equal(core.errno.EOPNOTSUPP, errno)
      assert.truthy(message:find("memory.kmem.limit_in_bytes = 33554432", 1, true), message)
    end
    r, message, errno = g.run({ memory = { use_hierarchy = false } }, { only = "v1" })
    assert.is_nil(r)
    assert.equal(core.errno.EINVAL, errno)
    assert.truthy(message:find("memory.use_hierarchy = 0", 1, true), message)
  end)

  it("io.max holds bytes and operations, each way, to so many a second", function()
    local image = os.tmpname()
    t.sh("truncate -s 16M " .. image)
    local loop = t.sh("losetup -f --show " .. image .. " 2> /dev/null"):match("%S+")
    if not loop then
      os.remove(image)
      return pending("needs a loop device")
    end
    finally(function()
      t.sh("losetup -d " .. loop)
      os.remove(image)
    end)
    local st = assert(core.lstat(loop))
    local device = st.rdev_major .. ":" .. st.rdev_minor
    local function seconds(limit, command)
      limit.device = device
      local start = core.now()
      local r = assert(g.run({ io = { max = { limit } } }, { script = command .. " 2>&1", only = "v1" }))
      assert.equal(0, r.code, r.output)
      return (core.now() - start) / 1e9, r
    end
    local rd, wr = "dd of=/dev/null iflag=direct if=" .. loop, "dd if=/dev/zero oflag=direct of=" .. loop
    assert.is_true(seconds({ rbps = "max" }, rd .. " bs=1M count=4") < 1)
    assert.is_true(seconds({ rbps = "4M" }, rd .. " bs=1M count=4") > 0.6)
    assert.is_true(seconds({ wbps = "4M" }, wr .. " bs=1M count=4") > 0.6)
    assert.is_true(seconds({ wbps = "4M" }, rd .. " bs=1M count=4") < 0.6)
    assert.is_true(seconds({ riops = 40 }, rd .. " bs=4k count=40") > 0.6)
    local took, r = seconds({ wiops = 40 }, wr .. " bs=4k count=40")
    assert.is_true(took > 0.6)
    local traffic
    for _, item in ipairs(r.stats.io) do traffic = item.device == device and item or traffic end
    assert.equal(163840, traffic.write_bytes)
    assert.equal(40, traffic.writes)
  end)

  it("what has no file here, or no hierarchy, is an error that names it", function()
    for _, case in ipairs {
      { { io = { leaf_weight = 500 } }, "blkio.leaf_weight" }, { { io = { weight = 500 } }, "blkio.bfq.weight" },
      { { net_cls = { classid = 1048577 } }, "net_cls" }, { { net_prio = { lo = 5 } }, "net_prio" },
      { { rdma = { mlx9_9 = { hca_handle = 1 } } }, "rdma" }, { { misc = { sev = 1 } }, "misc" },
      { { hugetlb = { ["77MB"] = 0 } }, "hugetlb" }, { { memory = { high = "1M" } }, "memory.high" },
      { { unified = { ["memory.max"] = "1M" } }, "memory" },
    } do
      local r, message, errno = g.run(case[1], { only = "v1" })
      if not r then
        assert.truthy(message:find(case[2], 1, true), message)
        assert.is_number(errno)
      end
    end
  end)
end)
