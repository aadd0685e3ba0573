-- Every resource of cgroup v2, seen to bite: what a limit allows works, what it forbids fails, waits or dies.
local t = require "support"
local g = require "support.cgroup"
local core = t.core

local burn = { "/bin/sh", "-c", "while :; do :; done" }

-- Holds so many megabytes, says so, and waits on its standard input (nothing, in a run: it ends).
local function holder(megabytes, seconds)
  return { "/usr/bin/perl", "-e", ("$x = 'x' x %de6; print 'held'; sleep %d"):format(megabytes, seconds or 0) }
end

local function read(groups, file)
  return core.cgroup.read(groups.groups[1].dir, file)
end

-- Run, and answer the result with what files hold at the end.
local function run(cg, argv, files)
  local held = {}
  local r, message, errno = g.run(cg, { argv = argv, inspect = function(_, _, groups)
    for _, f in ipairs(files or {}) do held[f] = read(groups, f) end
  end })
  return r, held, message, errno
end

local function write(path, text)
  local f = assert(io.open(path, "w"))
  assert(f:write(text))
  return f:close()
end

-- Does a command succeed? (What os.execute answers depends on the Lua.)
local function does(command)
  return t.sh("(" .. command .. ") > /dev/null 2>&1 && echo yes") == "yes\n"
end

local function module(name) return does("modprobe " .. name) end

describe("a resource of cgroup v2:", function()
  if not t.needs("root", "cgroup_v2", "perl") then return end

  after_each(function() assert.equal("", g.left()) end)

  describe("memory, with swap,", function()
    local swap

    setup(function()
      module "zram"
      swap = does("test $(wc -l < /proc/swaps) = 1 && echo 256M > /sys/block/zram0/disksize && mkswap /dev/zram0 && " ..
        "swapon /dev/zram0")
    end)
    teardown(function() if swap then os.execute("swapoff /dev/zram0") end end)

    local function needs_swap()
      if select(2, (t.read_file("/proc/swaps") or ""):gsub("\n", "")) > 1 then return true end
      pending("needs swap, of which this machine has none")
    end

    it("max and swap: what does not fit in both is killed, what does lives", function()
      needs_swap()
      assert.equal(9, run({ memory = { max = "16M", swap = 0 } }, holder(40)).signal)
      assert.equal(9, run({ memory = { max = "16M", swap = "8M" } }, holder(40)).signal)
      local r, held = run({ memory = { max = "16M", swap = "100M" } }, holder(40), { "memory.swap.current", "memory.events" })
      assert.equal("held", r.output)
      assert.equal(0, r.stats.oom_kills)
      assert.is_true(r.stats.memory_peak <= 16 * 2 ^ 20, held["memory.events"])
      assert.is_true(r.stats.memory_limit_hits > 0)
    end)

    it("high: more is taken away again, and nobody killed", function()
      needs_swap()
      local r, held = run({ memory = { high = "12M" } }, holder(30), { "memory.events" })
      assert.equal("held", r.output)
      assert.is_true(tonumber(held["memory.events"]:match("high (%d+)")) > 0)
      assert.is_true(r.stats.memory_peak < 28e6, tostring(r.stats.memory_peak))
    end)

    it("swap_high: who swaps more is slowed down, and it is counted", function()
      needs_swap()
      local process, groups = g.start({ memory = { max = "16M", swap_high = "4M" } }, holder(60, 1000))
      local slowed = g.eventually(function() return not read(groups, "memory.swap.events"):find("^high 0\n") end)
      core.poll({}, 1)
      local used = groups:figure("swap_current")
      groups:close()
      process:close()
      assert.is_true(slowed)
      assert.is_true(used < 30e6, tostring(used))
      local r, held = run({ memory = { max = "16M" } }, holder(60), { "memory.swap.events" })
      assert.equal("held", r.output)
      assert.truthy(held["memory.swap.events"]:find("^high 0\n"))
    end)

    -- What is left of 24 MB that a container holds, once a neighbour has taken all there is for both.
    local function left_of(protection)
      local mount = g.env().hierarchies[1].mount
      local parent = mount .. "/" .. g.prefix .. "both"
      local dir = assert(core.cgroup.create { g.prefix .. "both", at = mount, controllers = { "memory" } })
      for file, value in pairs { ["memory.max"] = "40M", ["memory.min"] = "32M", ["memory.low"] = "32M" } do
        assert(core.cgroup.set { group = dir, file = file, value = value })
      end
      dir:close()
      local memory = { max = "max" }
      for k, v in pairs(protection) do memory[k] = v end
      local path = "/" .. g.prefix .. "both/"
      local process, groups = g.start({ path = path .. "a", memory = memory }, holder(24, 1000))
      assert.is_true(g.eventually(function() return groups:figure("memory_current") > 24e6 end))
      local r = run({ path = path .. "b", memory = { max = "max" } }, holder(60))
      local rest = groups:figure("memory_current")
      groups:close()
      process:close()
      assert(core.cgroup.remove(parent))
      return rest, r
    end

    it("min and low: protect from what a neighbour needs", function()
      needs_swap()
      local rest, r = left_of {}
      assert.is_true(rest < 16e6, tostring(rest))
      assert.equal("held", r.output)
      assert.is_true(left_of { min = "26M" } > 23e6)
      assert.is_true(left_of { low = "26M" } > 20e6)
    end)

    it("pressure: a trigger tells of it, while it lasts, and the figures rise", function()
      needs_swap()
      local process, groups = g.start({ memory = { high = "8M" } }, { "/usr/bin/perl", "-e",
        "$x = 'x' x 40e6; while (1) { for ($i = 0; $i < 40e6; $i += 4096) { substr($x, $i, 1) = 'y' } }" })
      local events = assert(groups:events { pressure = { memory = { some = 0.05, window = 0.5 } }, state = false })
      local seen
      local deadline = core.now() + 20e9
      while not seen and core.now() < deadline do
        for _, e in ipairs(events:wait(1)) do seen = seen or e.type == "pressure" and e end
      end
      local figures = groups:stats().pressure
      events:close()
      groups:close()
      process:close()
      assert.same({ type = "pressure", resource = "memory" }, seen)
      assert.is_true(figures.memory.some.total_us > 50000)
    end)
  end)

  describe("cpu:", function()
    -- CPU seconds that each of two containers gets of one processor.
    local function share(a, b)
      local p, groups = {}, {}
      for i, cpu in ipairs { a, b } do
        p[i], groups[i] = g.start({ cpu = cpu, cpuset = { cpus = "1" } }, burn)
      end
      core.poll({}, 0.3)
      local before = { groups[1]:cpu_ns(), groups[2]:cpu_ns() }
      core.poll({}, 1.5)
      local used = { groups[1]:cpu_ns() - before[1], groups[2]:cpu_ns() - before[2] }
      for i = 1, 2 do
        groups[i]:close()
        p[i]:close()
      end
      return used[1] / used[2]
    end

    it("weight shares a processor", function()
      local ratio = share({ weight = 800 }, { weight = 100 })
      assert.is_true(ratio > 4 and ratio < 16, tostring(ratio))
      ratio = share({ shares = 1024 }, { shares = 1024 })
      assert.is_true(ratio > 0.5 and ratio < 2, tostring(ratio))
    end)

    it("idle runs only where nobody else wants to", function()
      local ratio = share({ weight = 100 }, { idle = true })
      assert.is_true(ratio > 20, tostring(ratio))
    end)

    it("max slows down, and burst lets what was saved be used at once", function()
      local spurts = { "/bin/sh", "-c", "for n in 1 2 3 4 5; do sleep 0.3; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; done" }
      local r, held = run({ cpu = { max = "10000 100000" } }, spurts, { "cpu.stat" })
      assert.equal("0", held["cpu.stat"]:match("nr_bursts (%d+)"))
      assert.is_true(r.stats.throttled > 0)
      local with
      r, with = run({ cpu = { max = "10000 100000", burst = 10000 } }, spurts, { "cpu.stat" })
      assert.is_true(tonumber(with["cpu.stat"]:match("nr_bursts (%d+)")) > 0)
      assert.equal(0, r.code)
    end)

    it("max holds a busy program to its part", function()
      local process, groups = g.start({ cpu = { max = 0.2 } }, burn)
      core.poll({}, 0.2)
      local before, start = groups:cpu_ns(), core.now()
      core.poll({}, 1.5)
      local part = (groups:cpu_ns() - before) / (core.now() - start)
      assert.is_true(part > 0.1 and part < 0.3, tostring(part))
      -- a live change
      assert(groups:update { cpu = { max = "max" } })
      before, start = groups:cpu_ns(), core.now()
      core.poll({}, 0.7)
      part = (groups:cpu_ns() - before) / (core.now() - start)
      groups:close()
      process:close()
      assert.is_true(part > 0.4, tostring(part))
    end)

    -- By the figures only: under emulation this kernel's triggers for CPU never fire, not even for a program
    -- that polls /proc/pressure/cpu itself. (Those for memory do, and are tried above.)
    it("pressure tells that one waits for the other", function()
      local function waited(script)
        local process, groups = g.start({ cpuset = { cpus = "1" } }, { "/bin/sh", "-c", script })
        core.poll({}, 0.3)
        local before = groups:pressure().cpu.some.total_us
        core.poll({}, 3)
        local part = (groups:pressure().cpu.some.total_us - before) / 3e6
        groups:close()
        process:close()
        return part
      end
      local one, two = waited "while :; do :; done", waited "while :; do :; done & while :; do :; done"
      assert.is_true(two > 0.3 and one < two / 2, one .. " and " .. two)
    end)

    it("a limit that this kernel has no file for is an error that names it", function()
      local r, _, message, errno = run({ cpu = { uclamp_min = 50 } }, { "/bin/true" })
      if r then return pending("this kernel has cpu.uclamp.min") end
      assert.equal(core.errno.ENOENT, errno)
      assert.truthy(message:find("cpu.uclamp.min = 50.00", 1, true), message)
    end)
  end)

  describe("cpuset:", function()
    it("cpus and mems are all that the program may use", function()
      local r = run({ cpuset = { cpus = "1", mems = "0" } }, { "/bin/sh", "-c",
        "grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status; taskset -c 0 true 2>&1" })
      assert.equal("Cpus_allowed_list:\t1\nMems_allowed_list:\t0\n", r.output:match("^[^\n]*\n[^\n]*\n"))
      assert.truthy(r.output:find("Invalid argument", 1, true), r.output)
      r = run({ cpuset = { cpus = "0-1" } }, { "/usr/bin/taskset", "-c", "0", "true" })
      assert.equal(0, r.code)
    end)

    it("a partition takes its processors from all others", function()
      local process, groups = g.start({ cpuset = { cpus = "1", partition = "root" } }, { "/bin/sleep", "100" })
      local others = t.read_file(g.env().hierarchies[1].mount .. "/cpuset.cpus.effective")
      local own = read(groups, "cpuset.cpus.partition")
      groups:close()
      process:close()
      assert.equal("root\n", own)
      assert.equal("0\n", others)
    end)
  end)

  describe("io:", function()
    -- A loop device over a file in memory.
    local function with_loop(fn)
      module "loop"
      local image = os.tmpname()
      assert(os.execute("truncate -s 32M " .. image))
      local loop = t.sh("losetup -f --show " .. image):match("%S+")
      local st = assert(core.lstat(loop))
      local ok, message = pcall(fn, loop, st.rdev_major .. ":" .. st.rdev_minor)
      os.execute("losetup -d " .. loop)
      os.remove(image)
      if not ok then error(message, 0) end
    end

    local function seconds(cg, command)
      local start = core.now()
      local r = assert(g.run(cg, { script = command .. " 2>&1" }))
      assert.equal(0, r.code, r.output)
      return (core.now() - start) / 1e9, r
    end

    it("max holds bytes and operations, each way, to so many a second", function()
      with_loop(function(loop, device)
        local function limit(what)
          what.device = device
          return { io = { max = { what } } }
        end
        local rd, wr = "dd of=/dev/null iflag=direct if=" .. loop, "dd if=/dev/zero oflag=direct of=" .. loop
        assert.is_true(seconds(limit { rbps = "max", wiops = "max" }, rd .. " bs=1M count=4") < 1)
        assert.is_true(seconds(limit { rbps = "2M" }, rd .. " bs=1M count=4") > 1.4)
        assert.is_true(seconds(limit { wbps = "2M" }, wr .. " bs=1M count=4") > 1.4)
        assert.is_true(seconds(limit { wbps = "2M" }, rd .. " bs=1M count=4") < 1)
        assert.is_true(seconds(limit { riops = 20 }, rd .. " bs=4k count=40") > 1.4)
        local took, r = seconds(limit { wiops = 20 }, wr .. " bs=4k count=40")
        assert.is_true(took > 1.4)
        local traffic
        for _, item in ipairs(r.stats.io) do traffic = item.device == device and item or traffic end
        assert.same({ device = device, read_bytes = 0, reads = 0, write_bytes = 163840, writes = 40 }, traffic)
      end)
    end)

    -- Two readers of one slow disk, and the ratio of what they get.
    local function compete(disk, device, a, b)
      local p, groups = {}, {}
      for i, io in ipairs { a, b } do
        p[i], groups[i] = g.start({ io = io }, { "/bin/dd", "if=" .. disk, "of=/dev/null", "bs=16k", "iflag=direct",
          "count=1000000" })
      end
      local function bytes(i)
        for _, item in ipairs(groups[i]:io()) do if item.device == device then return item.read_bytes end end
        return 0
      end
      core.poll({}, 0.5)
      local before = { bytes(1), bytes(2) }
      core.poll({}, 2.5)
      local got = { bytes(1) - before[1], bytes(2) - before[2] }
      for i = 1, 2 do
        groups[i]:close()
        p[i]:close()
      end
      return got[1] / math.max(got[2], 1)
    end

    -- A disk that does one thing at a time, each in a millisecond.
    local function slow_disk()
      if not core.lstat("/dev/nullb0") and
        not module("null_blk nr_devices=1 queue_mode=2 irqmode=2 completion_nsec=1000000 submit_queues=1 " ..
          "hw_queue_depth=1 gb=250") or not core.lstat("/dev/nullb0") then
        return pending("needs a null_blk device")
      end
      local st = assert(core.lstat("/dev/nullb0"))
      return "/dev/nullb0", st.rdev_major .. ":" .. st.rdev_minor
    end

    it("bfq_weight shares a disk under that scheduler", function()
      local disk, device = slow_disk()
      module "bfq"
      if not does("echo bfq > /sys/block/nullb0/queue/scheduler") then
        return pending("needs the bfq scheduler")
      end
      finally(function() write("/sys/block/nullb0/queue/scheduler", "none") end)
      local ratio = compete(disk, device, { bfq_weight = 800 }, { bfq_weight = 100 })
      assert.is_true(ratio > 2.5, tostring(ratio))
      ratio = compete(disk, device, { bfq_weight = 100 }, { bfq_weight = 100 })
      assert.is_true(ratio > 0.5 and ratio < 2, tostring(ratio))
    end)

    it("weight shares a disk that has a cost model", function()
      local disk, device = slow_disk()
      local root = g.env().hierarchies[1].mount
      if not core.lstat(root .. "/io.cost.qos") then return pending("needs io.cost.qos") end
      write(root .. "/io.cost.model", device .. " ctrl=user model=linear rbps=8000000 rseqiops=500 rrandiops=500 " ..
        "wbps=8000000 wseqiops=500 wrandiops=500")
      write(root .. "/io.cost.qos", device .. " enable=1 ctrl=user rpct=0 rlat=0 wpct=0 wlat=0 min=100.00 max=100.00")
      finally(function() write(root .. "/io.cost.qos", device .. " enable=0") end)
      local ratio = compete(disk, device, { weight = 800 }, { weight = 100 })
      assert.is_true(ratio > 2.5, tostring(ratio))
      ratio = compete(disk, device, { weight = { { device = device, weight = 100 } } }, { weight = 100 })
      assert.is_true(ratio > 0.5 and ratio < 2, tostring(ratio))
    end)

    it("latency, where the kernel has it", function()
      with_loop(function(_, device)
        local r, _, message, errno = run({ io = { latency = { { device = device, target = 1000 } } } }, { "/bin/true" })
        if r then return end
        assert.equal(core.errno.ENOENT, errno)
        assert.truthy(message:find("io.latency = " .. device .. " target=1000", 1, true), message)
      end)
    end)
  end)

  describe("hugetlb:", function()
    if not t.needs("luajit") then return end
    local file = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    local before

    setup(function()
      before = t.read_file(file)
      if before then write(file, "8") end
    end)
    teardown(function() if before then write(file, before) end end)

    -- Reserve two pages of 2 MiB, then touch both.
    local program = [[
      local ffi = require "ffi"
      ffi.cdef "void *mmap(void *, size_t, int, int, int, long);"
      local p = ffi.C.mmap(nil, 4194304, 3, 0x40022, -1, 0)
      if p == ffi.cast("void *", -1) then return "errno " .. ffi.errno() end
      io.write("reserved ") io.flush()
      for i = 0, 1 do ffi.cast("char *", p)[i * 2097152] = 1 end
      return "used"]]

    it("more pages than are allowed are refused, or end in SIGBUS where only their use is limited", function()
      if tonumber(t.read_file(file) or 0) < 4 then return pending("needs huge pages of 2 MiB") end
      local r = run({ hugetlb = { ["2MB"] = "4M" } }, t.program(program))
      assert.equal("reserved used", r.output)
      r = run({ hugetlb = { ["2MB"] = "2M" } }, t.program(program))
      assert.equal("errno 12", r.output)
      r = run({ hugetlb = { ["2MB"] = { rsvd = "2M" } } }, t.program(program))
      assert.equal("errno 12", r.output)
      r = run({ hugetlb = { ["2MB"] = { max = "2M" } } }, t.program(program))
      assert.same({ "reserved ", 7 }, { r.output, r.signal })
    end)
  end)

  describe("rdma and misc:", function()
    it("a device that the machine has not is an error that names file and device", function()
      local r, _, message, errno = run({ rdma = { mlx9_9 = { hca_handle = 3 } } }, { "/bin/true" })
      assert.is_nil(r)
      assert.equal(core.errno.ENODEV, errno)
      assert.truthy(message:find("rdma.max = mlx9_9 hca_handle=3", 1, true), message)
      if (t.sh("ls /sys/class/infiniband 2> /dev/null")) == "" then
        pending("no RDMA device: its limit is not seen to bite")
      end
    end)

    it("a resource that the machine has not is an error that names it", function()
      local r, _, message, errno = run({ misc = { res_x = 3 } }, { "/bin/true" })
      assert.is_nil(r)
      assert.equal(core.errno.EINVAL, errno)
      assert.truthy(message:find("misc.max = res_x 3", 1, true), message)
      if t.read_file("/sys/fs/cgroup/misc.capacity") == "" then
        pending("misc.capacity is empty: no limit of it can be seen to bite")
      end
    end)
  end)

  it("cgroup.max.depth and cgroup.max.descendants, by unified", function()
    local r = run({ unified = { ["cgroup.max.descendants"] = 1 } }, { "/bin/sh", "-c",
      "d=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $d/a && echo one; mkdir $d/b 2>&1; rmdir $d/a" })
    assert.truthy(r.output:find("^one\nmkdir: .*Resource temporarily unavailable"), r.output)
  end)
end)
