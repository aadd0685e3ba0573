-- From a recipe's `cgroup` table to steps, on machines that are described, not probed.
local cgroup = require "caisson.cgroup"
local limits = require "caisson.cgroup.limits"
local core = require "caisson.core"

local function v1(controllers, own, writable)
  local mount = "/cg/" .. controllers[1]
  return { version = 1, controllers = controllers, path = own or "/", mount = mount, mount_writable = writable ~= false,
    own = mount .. (own or ""), own_writable = writable ~= false }
end

local function v2(t)
  local h = { version = 2, path = "/", mount = "/cg", own = "/cg", mount_writable = true, own_writable = true,
    controllers = { "cpuset", "cpu", "io", "memory", "pids" }, enabled = {}, is_root = true, mount_is_root = true }
  for k, v in pairs(t or {}) do h[k] = v end
  h.mount_controllers = h.mount_controllers or h.controllers
  return h
end

local function machine(...)
  local m = { hierarchies = { ... }, euid = 1000, dirs = {} }
  m.writable = function(path) return m.dirs[path] end
  return m
end

local function all_v1(writable)
  return machine(v1({ "memory" }, "/mine", writable), v1({ "pids" }, nil, writable),
    v1({ "cpu", "cpuacct" }, nil, writable), v1({ "cpuset" }, nil, writable), v1({ "blkio" }, nil, writable),
    v1({ "freezer" }, nil, writable))
end

-- "step group file=value" a line
local function text(compiled)
  local lines = {}
  for _, list in ipairs { compiled.before, compiled.after } do
    for _, s in ipairs(list) do
      local o = s.options
      lines[#lines + 1] = s.step .. " " .. (s.step == "cgroup.create" and
        o.slot .. " " .. o.at .. "/" .. o.path .. (o.controllers and " " .. table.concat(o.controllers, ",") or "")
        or s.step == "cgroup.leave" and o.at .. " " .. o.leaf
        or o.group .. (o.file and " " .. o.file .. "=" .. o.value or "")) .. (s.optional and " optional" or "")
    end
  end
  return table.concat(lines, "\n")
end

local function compile(t, m)
  return cgroup.compile(t, m)
end

local function raises(t, key, message)
  local ok, e = pcall(limits.check, t)
  assert.is_false(ok)
  assert.is_table(e)
  assert.equal(key, e.key)
  assert.truthy(e.message:find(message, 1, true), e.message)
end

describe("a cgroup table", function()
  it("becomes one group a hierarchy on v1, entered behind clone", function()
    local c = compile({ memory = { max = "64M", swap = "16M" }, pids = { max = 8 }, path = "box" }, all_v1())
    assert.equal([[
cgroup.create cgroup.cpu /cg/cpu/box
cgroup.create cgroup.memory /cg/memory/mine/box
cgroup.set cgroup.memory memory.limit_in_bytes=67108864
cgroup.set cgroup.memory memory.memsw.limit_in_bytes=83886080
cgroup.create cgroup.pids /cg/pids/box
cgroup.set cgroup.pids pids.max=8
cgroup.attach cgroup.cpu
cgroup.attach cgroup.memory
cgroup.attach cgroup.pids]], text(c))
    assert.is_nil(c.slot)
    assert.same({}, c.missing)
  end)

  it("becomes one group on v2, which clone takes", function()
    local c = compile({ memory = { max = "64M", swap = "16M" }, pids = { max = 8 }, path = "box" }, machine(v2()))
    assert.equal([[
cgroup.create cgroup /cg/box memory,pids
cgroup.set cgroup memory.max=67108864
cgroup.set cgroup memory.swap.max=16777216
cgroup.set cgroup pids.max=8]], text(c))
    assert.equal("cgroup", c.slot)
  end)

  it("uses both where controllers are spread", function()
    local m = all_v1()
    m.hierarchies[#m.hierarchies + 1] = v2 { controllers = { "hugetlb" }, mount = "/cg/unified", own = "/cg/unified" }
    local c = compile({ memory = { max = "1M" }, hugetlb = { ["2MB"] = "4M" }, path = "box" }, m)
    assert.equal([[
cgroup.create cgroup.memory /cg/memory/mine/box
cgroup.set cgroup.memory memory.limit_in_bytes=1048576
cgroup.create cgroup /cg/unified/box hugetlb
cgroup.set cgroup hugetlb.2MB.max=4194304
cgroup.set cgroup hugetlb.2MB.rsvd.max=4194304
cgroup.attach cgroup.memory]], text(c))
    assert.equal("cgroup", c.slot)
  end)

  it("writes what each version calls a limit, in its units", function()
    local t = { path = "b", accounting = {}, cpu = { max = { quota = 20000, period = 50000 }, weight = 50 },
      cpuset = { cpus = "0-1, 3,", mems = 0 },
      io = { weight = 200, max = { { device = "8:0", rbps = "1M", wiops = "max" } } } }
    assert.equal([[
cgroup.create cgroup.blkio /cg/blkio/b
cgroup.set cgroup.blkio blkio.bfq.weight=200
cgroup.set cgroup.blkio blkio.throttle.read_bps_device=8:0 1048576
cgroup.set cgroup.blkio blkio.throttle.write_iops_device=8:0 0
cgroup.create cgroup.cpuset /cg/cpuset/b cpuset
cgroup.set cgroup.cpuset cpuset.cpus=0-1,3
cgroup.set cgroup.cpuset cpuset.mems=0
cgroup.create cgroup.cpu /cg/cpu/b
cgroup.set cgroup.cpu cpu.cfs_period_us=50000
cgroup.set cgroup.cpu cpu.cfs_quota_us=20000
cgroup.set cgroup.cpu cpu.shares=512]], (text(compile(t, all_v1())):gsub("\ncgroup%.attach.*", "")))
    assert.equal([[
cgroup.create cgroup /cg/b io,cpuset,cpu
cgroup.set cgroup io.weight=default 200
cgroup.set cgroup io.max=8:0 rbps=1048576 wiops=max
cgroup.set cgroup cpuset.cpus=0-1,3
cgroup.set cgroup cpuset.mems=0
cgroup.set cgroup cpu.max=20000 50000
cgroup.set cgroup cpu.weight=50]], text(compile(t, machine(v2()))))
  end)

  it("takes any file of v2 under unified", function()
    local t = { path = "b", unified = { ["memory.oom.group"] = "1", ["cgroup.max.depth"] = 3 } }
    assert.equal([[
cgroup.create cgroup /cg/b memory
cgroup.set cgroup cgroup.max.depth=3
cgroup.set cgroup memory.oom.group=1]], text(compile(t, machine(v2()))))
    local c = compile(t, all_v1())
    assert.equal("unified.cgroup.max.depth", c.missing[1].key)
    assert.equal("unified.memory.oom.group", c.missing[2].key)
    assert.truthy(c.missing[2].message:find("the memory controller is on cgroup v1 here", 1, true))
  end)

  it("makes its group where this process may: root at the root, a delegated user below or beside its leaf", function()
    local t = { pids = { max = 8 }, path = "b" }
    local session = { is_root = false, own = "/cg/user/session", path = "/user/session" }
    local c = compile(t, machine(v2(session)))
    assert.equal("/cg", c.groups[1].at)

    session.mount_writable = false
    c = compile(t, machine(v2(session)))
    assert.equal(1, #c.missing)
    assert.truthy(c.missing[1].message:find("/cg/user/session has processes", 1, true))
    assert.truthy(c.missing[1].hint:find("own_leaf", 1, true))

    t.own_leaf = true
    c = compile(t, machine(v2(session)))
    assert.equal([[
cgroup.leave /cg/user/session caisson.host
cgroup.create cgroup /cg/user/session/b pids
cgroup.set cgroup pids.max=8]], text(c))

    session.own = session.own .. "/caisson.host"
    session.controllers, session.above_controllers = {}, { "pids" }
    local m = machine(v2(session))
    m.dirs["/cg/user/session/cgroup.procs"] = true
    assert.equal([[
cgroup.create cgroup /cg/user/session/b pids
cgroup.set cgroup pids.max=8]], text(compile(t, m)))
  end)

  it("names the controller that is missing, why, and what to do", function()
    local function first(t, m)
      local c = compile(t, m)
      assert.same({}, c.groups)
      assert.equal(1, #c.missing)
      return c.missing[1]
    end
    local t = { memory = { max = "1M" }, accounting = {} }
    local m = first(t, all_v1(false))
    assert.equal("memory.max", m.key)
    assert.equal("memory", m.controller)
    assert.equal(core.errno.EACCES, m.errno)
    assert.equal("/cg/memory/mine is not writable by this user: the v1 hierarchy is not delegated", m.message)
    assert.truthy(m.hint:find("chown -R 1000 /cg/memory/NAME", 1, true), m.hint)

    m = first(t, machine(v2 { own_writable = false, mount_writable = false, is_root = false, own = "/cg/a" }))
    assert.equal("the group of this process, /cg/a, is not delegated to this user", m.message)
    assert.truthy(m.hint:find("Delegate=yes", 1, true))

    m = first(t, machine(v2 { controllers = { "pids" } }))
    assert.equal("/cg/cgroup.controllers does not list the memory controller", m.message)
    assert.equal(core.errno.ENOENT, m.errno)

    m = first(t, machine(v2 { controllers = { "pids" }, mount_controllers = { "memory", "pids" }, is_root = false,
      own = "/cg/a", mount_writable = false }))
    assert.equal("/cg/a/cgroup.controllers does not list the memory controller: it is not delegated", m.message)

    m = first(t, machine { version = 1, controllers = { "memory" }, path = "/" })
    assert.equal("the v1 hierarchy of the memory controller is not mounted here", m.message)

    m = first(t, machine())
    assert.equal("this kernel has no memory controller", m.message)
    assert.is_nil(m.hint)
  end)

  it("goes without a controller that is marked optional, and says so", function()
    local c = compile({ memory = { max = "1M", optional = true }, pids = { max = 8, optional = true } }, all_v1(false))
    assert.same({}, c.missing)
    assert.same({}, c.before)
    assert.equal("memory.max", c.unlimited.memory.key)
    assert.equal("pids.max", c.unlimited.pids.key)
    assert.is_true(cgroup.ready(c))
  end)

  it("is an error where a limit is missing that was not optional", function()
    local ok, message, errno, failure = cgroup.ready(compile({ pids = { max = 8 } }, all_v1(false)))
    assert.is_nil(ok)
    assert.equal("cgroup: pids.max can't be set: /cg/pids is not writable by this user: " ..
      "the v1 hierarchy is not delegated", message)
    assert.equal(core.errno.EACCES, errno)
    assert.equal("EACCES", failure.code)
    assert.equal("pids", failure.controller)
    assert.truthy(failure.hint)
  end)

  it("makes an absolute path from the root, where its owner may", function()
    local m = all_v1(false)
    m.dirs["/cg/pids/deleg"] = true
    m.dirs["/cg/pids/other"] = false
    local c = compile({ pids = { max = 8 }, path = "/deleg/x/b", accounting = {} }, m)
    assert.equal("cgroup.create cgroup.pids /cg/pids/deleg/x/b", text(c):match("[^\n]*"))
    c = compile({ pids = { max = 8 }, path = "/other/b", accounting = {} }, m)
    assert.equal("/cg/pids/other is not writable by this user", c.missing[1].message)
    assert.truthy(c.missing[1].hint:find("mkdir -p /cg/pids/other && chown -R 1000 /cg/pids/other", 1, true))
  end)

  it("needs the right to move a process from its own v2 group to the new one", function()
    local m = machine(v2 { own = "/cg/user/a/b", mount_writable = false, own_writable = false, is_root = false })
    m.dirs["/cg/user"], m.dirs["/cg/user/a"], m.dirs["/cg/user/x"] = true, true, true
    m.dirs["/cg/user/cgroup.procs"], m.dirs["/cg/user/a/cgroup.procs"] = false, true
    local t = { pids = { max = 8 }, path = "/user/a/new" }
    assert.same({}, compile(t, m).missing)
    t.path = "/user/x/new"
    local missing = compile(t, m).missing[1]
    assert.equal("this user may not move processes from /cg/user/a/b to /cg/user/x/new: " ..
      "/cg/user/cgroup.procs is not writable", missing.message)
  end)

  it("counts CPU time where it can: in a v2 group, or cpuacct", function()
    assert.equal("cgroup.create cgroup.cpu /cg/cpu/b\ncgroup.attach cgroup.cpu",
      text(compile({ path = "b" }, all_v1())))
    assert.equal("cgroup.create cgroup /cg/b", text(compile({ path = "b" }, machine(v2()))))
    assert.equal("", text(compile({ path = "b" }, all_v1(false))))
    assert.equal("cgroup.create cgroup /cg/b memory,pids",
      text(compile({ path = "b", accounting = { "memory", "pids", "freeze" } }, machine(v2()))))
    assert.equal("cgroup.create cgroup.freezer /cg/freezer/b\ncgroup.attach cgroup.freezer",
      text(compile({ path = "b", accounting = { "freeze" } }, all_v1())))
  end)

  it("has limits that one version lacks", function()
    local c = compile({ memory = { high = "1M" } }, all_v1())
    assert.equal("memory.high", c.missing[1].key)
    assert.equal("cgroup v1 has no such limit", c.missing[1].message)
    c = compile({ memory = { swappiness = 1 } }, machine(v2()))
    assert.equal("cgroup v2 has no such limit", c.missing[1].message)
  end)

  it("takes sizes in all spellings", function()
    for given, written in pairs { ["64M"] = "67108864", ["1.5K"] = "1536", ["2GiB"] = "2147483648", ["7"] = "7",
      [1048576] = "1048576", ["18446744073709551615"] = "18446744073709551615", max = "max" } do
      assert.equal(written, limits.writes("memory", { max = given }, 2)[1][2])
    end
    assert.equal("-1", limits.writes("memory", { max = "max" }, 1)[1][2])
  end)

  it("keeps 64 bits exact, on either version", function()
    local function size(v) return limits.writes("memory", { max = v }, 2)[1][2] end
    assert.equal("9223372036854775807", size "9223372036854775807")
    assert.equal("18446744073709551615", size "18446744073709551615")
    assert.equal("9007199254740993", size "9007199254740993")
    assert.equal("10133099161583616", size "9P")
    assert.equal("18445618173802708992", size "16383P")
    raises({ memory = { max = "18446744073709551616" } }, "memory.max", "to 2^64-1")
    raises({ memory = { max = "16384P" } }, "memory.max", "below 2^64")
    raises({ memory = { max = 2 ^ 54 } }, "memory.max", "above 2^53 as text")
    assert.equal("18014398509481987", limits.writes("memory", { max = "9007199254740993",
      swap = "9007199254740994" }, 1)[2][2])
    local ok, e = pcall(limits.writes, "memory", { max = "18446744073709551615", swap = 1 }, 1)
    assert.same({ false, "memory.swap" }, { ok, e.key })
  end)

  it("has each resource of the OCI runtime specification, as each version calls it", function()
    local function text_of(name, t, version)
      local list = {}
      for i, w in ipairs(limits.writes(name, t, version)) do list[i] = w[1] and w[1] .. "=" .. w[2] or "no " .. w.option end
      return table.concat(list, " ")
    end
    for _, row in ipairs {
      { "memory", { use_hierarchy = true }, "memory.use_hierarchy=1", "no use_hierarchy" },
      { "memory", { kernel = "1M" }, "memory.kmem.limit_in_bytes=1048576", "no kernel" },
      { "memory", { kernel_tcp = "1M" }, "memory.kmem.tcp.limit_in_bytes=1048576", "no kernel_tcp" },
      { "memory", { swappiness = 60 }, "memory.swappiness=60", "no swappiness" },
      { "memory", { oom_kill_disable = true }, "memory.oom_control=1", "no oom_kill_disable" },
      { "memory", { low = "1K" }, "memory.soft_limit_in_bytes=1024", "memory.low=1024" },
      { "cpu", { rt_period = 1000000, rt_runtime = -1 }, "cpu.rt_period_us=1000000 cpu.rt_runtime_us=-1",
        "no rt_period no rt_runtime" },
      { "cpu", { idle = true }, "cpu.idle=1", "cpu.idle=1" },
      { "cpu", { burst = 5 }, "cpu.cfs_burst_us=5", "cpu.max.burst=5" },
      { "io", { leaf_weight = 20 }, "blkio.leaf_weight=20", "no leaf_weight" },
      { "io", { leaf_weight = { { device = "8:0", weight = 20 } } }, "blkio.leaf_weight_device=8:0 20", "no leaf_weight" },
      { "io", { weight = { { device = "8:0", weight = 20 } } }, "blkio.bfq.weight_device=8:0 20", "io.weight=8:0 20" },
      { "io", { weight = { { device = "default", weight = 30 } } }, "blkio.bfq.weight=30", "io.weight=default 30" },
      { "hugetlb", { ["2MB"] = "2M" }, "hugetlb.2MB.limit_in_bytes=2097152 hugetlb.2MB.rsvd.limit_in_bytes=2097152",
        "hugetlb.2MB.max=2097152 hugetlb.2MB.rsvd.max=2097152" },
      { "hugetlb", { ["1GB"] = { rsvd = 0 } }, "hugetlb.1GB.rsvd.limit_in_bytes=0", "hugetlb.1GB.rsvd.max=0" },
      { "rdma", { mlx5_1 = { hca_handle = 3, hca_object = "max" } }, "rdma.max=mlx5_1 hca_handle=3 hca_object=max",
        "rdma.max=mlx5_1 hca_handle=3 hca_object=max" },
      { "misc", { sev = 5 }, "misc.max=sev 5", "misc.max=sev 5" },
      { "net_cls", { classid = 1048577 }, "net_cls.classid=1048577", "no classid" },
      { "net_prio", { eth0 = 5 }, "net_prio.ifpriomap=eth0 5", "no eth0" },
    } do
      assert.same({ row[3], row[4] }, { text_of(row[1], row[2], 1), text_of(row[1], row[2], 2) })
    end
  end)

  it("refuses what is not right, naming the option", function()
    raises(5, "", "a table expected, got number")
    raises({ memroy = {} }, "", "unknown option 'memroy' (did you mean 'memory'?)")
    raises({ [1] = "memory" }, "", "unknown option '1'")
    raises({ memory = 5 }, "memory", "a table expected, got number")
    raises({ memory = { mx = 1 } }, "memory", "unknown option 'mx' (did you mean 'max'?)")
    raises({ memory = { max = "64X" } }, "memory.max", "a size such as 64M")
    raises({ memory = { max = "" } }, "memory.max", "a size such as 64M")
    raises({ memory = { max = -1 } }, "memory.max", "got -1")
    raises({ memory = { max = 1.5 } }, "memory.max", "got 1.5")
    raises({ memory = { max = 0 / 0 } }, "memory.max", "a whole number")
    raises({ memory = { max = 1 / 0 } }, "memory.max", "a whole number")
    raises({ memory = { max = {} } }, "memory.max", "a whole number")
    raises({ memory = { max = "1\n2" } }, "memory.max", "a size")
    raises({ memory = { optional = 1 } }, "memory.optional", "true or false expected")
    raises({ memory = { oom_group = "yes" } }, "memory.oom_group", "true or false expected")
    raises({ pids = { max = "many" } }, "pids.max", "a whole number from 0")
    raises({ cpu = { max = "x" } }, "cpu.max", "'50000 100000'")
    raises({ cpu = { max = "500" } }, "cpu.max", "a quota from 1000 microseconds")
    raises({ cpu = { max = "50000 2000000" } }, "cpu.max", "a period of 1000 to 1000000")
    raises({ cpu = { max = { quta = 1 } } }, "cpu.max", "unknown option 'quta' (did you mean 'quota'?)")
    raises({ cpu = { max = 0 } }, "cpu.max", "a number of CPUs from 0.01")
    raises({ cpu = { weight = 0 } }, "cpu.weight", "from 1 to 10000")
    raises({ cpu = { weight = 1, shares = 2 } }, "cpu", "two words for one limit")
    raises({ cpu = { shares = 1 } }, "cpu.shares", "from 2 to 262144")
    raises({ cpuset = { cpus = "3-1" } }, "cpuset.cpus", "the range 3-1 is reversed")
    raises({ cpuset = { cpus = " , " } }, "cpuset.cpus", "the list is empty")
    raises({ cpuset = { cpus = "a" } }, "cpuset.cpus", "'a' is no number")
    raises({ cpuset = { cpus = "99999999" } }, "cpuset.cpus", "the largest number is 65535")
    raises({ io = { max = "8:0" } }, "io.max", "a list of { device")
    raises({ io = { max = { { device = "sda", rbps = 1 } } } }, "io.max[1]", "major:minor")
    raises({ io = { max = { { device = "8:0" } } } }, "io.max", "no limit for device 8:0")
    raises({ io = { max = { { device = "8:0", rbs = 1 } } } }, "io.max",
      "unknown option 'rbs' (did you mean 'rbps'?)")
    raises({ io = { weight = 100000 } }, "io.weight", "from 1 to 10000")
    raises({ hugetlb = { ["2MB/../x"] = 1 } }, "hugetlb", "a name expected")
    raises({ hugetlb = { ["2MB"] = { maxx = 1 } } }, "hugetlb.2MB", "unknown option 'maxx' (did you mean 'max'?)")
    raises({ memory = { check_before_update = 1 } }, "memory.check_before_update", "true or false")
    raises({ pids = { check_before_update = true } }, "pids", "unknown option")
    raises({ rdma = { mlx = 1 } }, "rdma.mlx", "hca_handle")
    raises({ unified = { ["memory/max"] = "1" } }, "unified", "not the name of a cgroup file")
    raises({ unified = { ["../memory.max"] = "1" } }, "unified", "not the name of a cgroup file")
    raises({ unified = { ["cgroup.procs"] = "1" } }, "unified", "'cgroup.procs' is not a limit")
    raises({ unified = { ["memory.max"] = true } }, "unified.memory.max", "a string expected")
    raises({ accounting = { "cup" } }, "accounting", "unknown word 'cup' (did you mean 'cpu'?)")
    raises({ accounting = true }, "accounting", "a list of words")
    raises({ existing = 1 }, "existing", "true or false")
  end)

  it("refuses a path that is not one of names below the group it counts from", function()
    for _, path in ipairs { "..", "../x", "a/../b", "/../x", "a/./b", "a//b", "a/", "//a", "/" } do
      raises({ path = path }, "path", "")
    end
    raises({ path = "" }, "path", "the name of a group expected")
    raises({ path = "a\0b" }, "path", "without NUL")
    raises({ path = ("x"):rep(201) }, "path", "more than 200 bytes")
    raises({ path = "cgroup.procs" }, "path", "the name of a file that every group has")
    raises({ path = 5 }, "path", "string expected, got number")
  end)
end)
