-- Limits changed while the container runs.
local t = require "support"
local g = require "support.cgroup"
local core = t.core

for _, world in ipairs(g.worlds()) do
  describe("update (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local v2 = world.name == "v2"
    local process, groups

    local function start(cg, argv)
      process, groups = g.start(cg, argv or { "/bin/sleep", "100" }, world.only)
    end

    local function read(controller, v1, file)
      local text, message = core.cgroup.read(groups:group({ controller }).dir, v2 and file or v1)
      return text and (text:gsub("%s+$", "")) or message
    end

    after_each(function()
      groups:close()
      process:close()
      assert.equal("", g.left())
    end)

    it("changes each limit, and what is not named stays", function()
      start { memory = { max = "64M", swap = "16M" }, pids = { max = 20 }, cpu = { max = 0.5, weight = 200 },
        cpuset = { cpus = "0" } }
      assert(groups:update { memory = { max = "128M", swap = "32M", low = "1M" }, pids = { max = 30 }, cpu = { max = 0.25 } })
      assert.equal("134217728", read("memory", "memory.limit_in_bytes", "memory.max"))
      assert.equal(v2 and "33554432" or "167772160", read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))
      assert.equal("1048576", read("memory", "memory.soft_limit_in_bytes", "memory.low"))
      assert.equal("30", read("pids", "pids.max", "pids.max"))
      assert.equal(v2 and "25000 100000" or "25000", read("cpu", "cpu.cfs_quota_us", "cpu.max"))
      assert.equal(v2 and "200" or "2048", read("cpu", "cpu.shares", "cpu.weight"))
      -- down again, and swap alone
      assert(groups:update { memory = { max = "32M", swap = 0 } })
      assert.equal("33554432", read("memory", "memory.limit_in_bytes", "memory.max"))
      assert.equal(v2 and "0" or "33554432", read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))
      assert(groups:update { memory = { swap = "1M" } })
      assert.equal(v2 and "1048576" or "34603008", read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))
    end)

    it("keeps the period of a quota, and the quota of a period", function()
      start { cpu = { max = { quota = 20000, period = 50000 } } }
      local function both()
        return v2 and read("cpu", "", "cpu.max") or read("cpu", "cpu.cfs_quota_us") .. " " .. read("cpu", "cpu.cfs_period_us")
      end
      assert(groups:update { cpu = { max = { quota = 10000 } } })
      assert.equal("10000 50000", both())
      assert(groups:update { cpu = { max = { period = 40000 } } })
      assert.equal("10000 40000", both())
      assert(groups:update { cpu = { max = { quota = "max" } } })
      assert.equal(v2 and "max 40000" or "-1 40000", both())
      assert(groups:update { cpu = { max = { period = 100000 } } })
      assert.equal(v2 and "max 100000" or "-1 100000", both())
      assert.has_error(function() groups:update { cpu = { max = { quote = 5 } } } end)
    end)

    it("bites at once", function()
      start({ pids = { max = 50 } }, { "/bin/sh", "-c", "while :; do sleep 0.01; done" })
      assert(groups:update { pids = { max = 1 } })
      assert.is_true(g.eventually(function() return groups:figure("pids_limit_hits") > 0 end))
    end)

    it("takes back what it had changed when one fails, and says which", function()
      start { memory = { max = "64M" }, pids = { max = 20 }, cpu = { max = 0.5 }, cpuset = { cpus = "0" } }
      local before = { read("memory", "memory.limit_in_bytes", "memory.max"), read("cpu", "cpu.cfs_quota_us", "cpu.max"),
        read("cpuset", "cpuset.cpus", "cpuset.cpus"), read("pids", "pids.max", "pids.max") }
      local ok, message, errno, failure = groups:update { memory = { max = "32M" }, cpu = { max = 0.1 }, pids = { max = 5 },
        cpuset = { cpus = "0,60000" } }
      assert.is_nil(ok)
      assert.equal("cpuset.cpus", failure.key)
      assert.is_true(errno == core.errno.EINVAL or errno == core.errno.ERANGE, message)
      assert.truthy(message:find("cgroup: cpuset.cpus can't be changed: cgroup.set cpuset.cpus = 0,60000", 1, true), message)
      assert.is_nil(failure.left)
      assert.same(before, { read("memory", "memory.limit_in_bytes", "memory.max"), read("cpu", "cpu.cfs_quota_us", "cpu.max"),
        read("cpuset", "cpuset.cpus", "cpuset.cpus"), read("pids", "pids.max", "pids.max") })
    end)

    it("checks the usage first where it is asked to", function()
      start({ memory = { max = "128M" } }, { "/usr/bin/perl", "-e", "$x = 'x' x 40e6; sleep 100" })
      assert.is_true(g.eventually(function() return groups:figure("memory_current") > 40e6 end))
      local ok, message, errno, failure = groups:update { memory = { max = "16M", check_before_update = true } }
      assert.is_nil(ok)
      assert.equal(core.errno.EBUSY, errno)
      assert.equal("memory.max", failure.key)
      assert.truthy(message:find("16777216 is less than the %d+ bytes in use"), message)
      assert.equal("134217728", read("memory", "memory.limit_in_bytes", "memory.max"))
      assert(groups:update { memory = { max = "100M", check_before_update = true } })
    end)

    it("changes device rules in both directions", function()
      local where = v2 and "v2" or "v1"
      process, groups = g.start({ devices = {}, accounting = {} }, { "/bin/sh", "-c",
        "while :; do (exec 3< /dev/zero) 2>&3 && echo + || echo -; sleep 0.01; done > " .. "/dev/full 2>&1" }, where)
      local function join(script)
        local how = groups:join()
        local steps = t.steps({ t.step("clone", { cgroup = how.slot }) })
        for _, s in ipairs(how.after) do steps[#steps + 1] = { step = s.step, options = s.options, side = s.side } end
        return assert(t.run(steps, { slots = how.slots, script = script })).output
      end
      local zero = "(exec 3< /dev/zero) 2> /dev/null && echo + || echo -"
      assert.equal("+\n", join(zero))
      assert(groups:update { devices = { { allow = false, type = "c", major = 1, minor = 5 } } })
      assert.equal("-\n", join(zero))
      assert(groups:update { devices = {} })
      assert.equal("+\n", join(zero))
    end)

    it("refuses what is no limit, or not of this container, and changes nothing", function()
      start { pids = { max = 20 }, accounting = {} }
      assert.has_error(function() groups:update { path = "x" } end)
      assert.has_error(function() groups:update { pids = { mx = 1 } } end)
      assert.has_error(function() groups:update(5) end)
      local ok, e = pcall(groups.update, groups, { accounting = { "cpu" } })
      assert.is_false(ok)
      assert.truthy(tostring(e):find("update: accounting: can't be changed while the container lives", 1, true), e)
      local done, message, errno, failure = groups:update { pids = { max = 5 }, net_prio = { lo = 5 } }
      assert.is_nil(done)
      assert.equal("20", read("pids", "pids.max", "pids.max"))
      assert.truthy(failure.key:find("net_prio", 1, true), message)
      assert.is_number(errno)
      done, message = groups:update { pids = { max = 5 }, hugetlb = { ["77MB"] = 0 } }
      assert.is_nil(done)
      assert.truthy(message:find("hugetlb", 1, true), message)
      assert.equal("20", read("pids", "pids.max", "pids.max"))
    end)
  end)
end
