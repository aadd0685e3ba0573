-- Groups as the kernel shows them, on each kind of machine that this one can show: v1, v1 beside v2, v2.
local t = require "support"
local g = require "support.cgroup"
local core = t.core
local escaped = g.prefix:gsub("%-", "%%-")

local limits = {
  -- table, controller, { v1 file, what it holds }, { v2 file, what it holds }
  { { memory = { max = "64M" } }, { "memory.limit_in_bytes", "67108864" }, { "memory.max", "67108864" } },
  { { memory = { low = "8M" } }, { "memory.soft_limit_in_bytes", "8388608" }, { "memory.low", "8388608" } },
  { { memory = { kernel_tcp = "4M" } }, { "memory.kmem.tcp.limit_in_bytes", "4194304" } },
  { { memory = { use_hierarchy = true } }, { "memory.use_hierarchy", "1" } },
  { { memory = { swappiness = 7 } }, { "memory.swappiness", "7" } },
  { { memory = { high = "32M" } }, nil, { "memory.high", "33554432" } },
  { { memory = { min = "1M" } }, nil, { "memory.min", "1048576" } },
  { { memory = { swap = 0, max = "64M" } }, { "memory.memsw.limit_in_bytes", "67108864" }, { "memory.swap.max", "0" } },
  { { memory = { oom_group = true } }, nil, { "memory.oom.group", "1" } },
  { { memory = { oom_kill_disable = true } },
    { "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0" } },
  { { pids = { max = 17 } }, { "pids.max", "17" }, { "pids.max", "17" } },
  { { pids = { max = "max" } }, { "pids.max", "max" }, { "pids.max", "max" } },
  { { cpu = { max = "50000 200000" } }, { "cpu.cfs_quota_us", "50000" }, { "cpu.max", "50000 200000" } },
  { { cpu = { max = { quota = 30000, period = 60000 } } }, { "cpu.cfs_period_us", "60000" },
    { "cpu.max", "30000 60000" } },
  { { cpu = { max = 1.5 } }, { "cpu.cfs_quota_us", "150000" }, { "cpu.max", "150000 100000" } },
  { { cpu = { max = 1, burst = 20000 } }, { "cpu.cfs_burst_us", "20000" }, { "cpu.max.burst", "20000" } },
  { { cpu = { weight = 200 } }, { "cpu.shares", "2048" }, { "cpu.weight", "200" } },
  { { cpu = { shares = 512 } }, { "cpu.shares", "512" }, { "cpu.weight", "50" } },
  { { cpu = { idle = true } }, { "cpu.idle", "1" }, { "cpu.idle", "1" } },
  { { cpuset = { cpus = "0", mems = "0" } }, { "cpuset.cpus", "0" }, { "cpuset.cpus", "0" } },
  { { cpuset = { cpus = "0" } }, { "cpuset.cpus", "0" }, { "cpuset.cpus", "0" } }, -- v1: mems from the group above
  { { io = { bfq_weight = 300 } }, { "blkio.bfq.weight", "300" }, { "io.bfq.weight", "default 300" } },
}

for _, world in ipairs(g.worlds()) do
  describe("cgroups (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local v2 = world.name == "v2"
    local only = world.only

    after_each(function() assert.equal("", g.left()) end)

    local function run(cg, opts)
      opts = opts or {}
      opts.only = only
      return g.run(cg, opts)
    end

    it("hold the program from its start, and are removed after its end", function()
      local r = assert(run({ memory = { max = "64M" }, pids = { max = 17 } }, { script = "cat /proc/self/cgroup" }))
      local where = "/" .. escaped .. ("%x"):rep(16) .. "\n"
      if v2 then
        assert.truthy(r.output:match("^0::[^\n]*" .. where .. "$"), r.output)
      else
        for _, c in ipairs { "memory", "pids" } do
          assert.truthy(r.output:match(":" .. c .. ":[^\n]*" .. where), r.output)
        end
        assert.is_nil(r.output:match(":cpuset:[^\n]*csnspec"))
      end
    end)

    for _, row in ipairs(limits) do
      local controller, options = next(row[1])
      local want = row[v2 and 3 or 2]
      local option = {}
      for k in pairs(options) do option[#option + 1] = k end
      table.sort(option)
      local name = controller .. "." .. table.concat(option, "+")
      if want then
        it("have " .. name .. " in " .. want[1], function()
          local file
          local ok, message, errno = run(row[1], { argv = { "/bin/true" }, inspect = function(_, _, groups)
            file = core.cgroup.read(groups:group({ controller }).dir, want[1])
          end })
          -- a kernel may be built without it
          if not ok and errno == core.errno.ENOENT and message:find(want[1], 1, true) then
            return pending("needs " .. want[1] .. ": " .. message)
          end
          assert(ok, message)
          assert.equal(want[2], (file:gsub("%s+$", "")))
        end)
      else
        it("say that " .. name .. " is not to be had", function()
          local compiled = g.compile(row[1], only)
          assert.equal(1, #compiled.missing)
          assert.equal(controller, compiled.missing[1].controller)
          assert.equal(core.errno.EOPNOTSUPP, compiled.missing[1].errno)
        end)
      end
    end

    it("let as many processes be as pids.max, and no more", function()
      assert.equal(0, assert(run({ pids = { max = 1 } }, { argv = { "/bin/true" } })).code)
      local three = "sleep 1 & sleep 1 & sleep 1 & echo three; kill %1 %2 %3"
      local r = assert(run({ pids = { max = 4 } }, { script = three }))
      assert.truthy(r.output:match("three"), r.output)
      r = assert(run({ pids = { max = 3 } }, { script = three }))
      assert.is_nil(r.output:match("three"))
      assert.truthy(r.output:match("fork"), r.output)
      if r.stats.pids_peak then assert.equal(3, r.stats.pids_peak) end -- Linux 6.1
      assert.is_true(r.stats.pids_limit_hits > 0)
    end)

    it("kill what needs more memory than memory.max, not what needs less; the host lives, and knows", function()
      local r = assert(run({ memory = { max = "16M", swap = 0 } }, { argv = { "/usr/bin/tail", "/dev/zero" } }))
      assert.equal(9, r.signal)
      assert.is_true(r.stats.oom_kills >= 1)
      assert.is_true(r.account.oom)
      r = assert(run({ memory = { max = "64M", swap = 0 } },
        { script = "head -c 20000000 /dev/zero | tail -c 20000000 | wc -c" }))
      assert.equal("20000000\n", r.output)
      assert.is_false(r.account.oom)
      assert.is_true(r.stats.memory_peak > 20000000 and r.stats.memory_peak <= 67108864)
    end)

    it("start a program in 1 MiB: setting up costs less", function()
      local r = assert(run({ memory = { max = "1M", swap = 0 } }, { argv = { "/bin/true" },
        namespaces = { "mount", "pid", "net", "ipc", "uts" } }))
      assert.equal(0, r.code)
    end)

    it("count CPU time, also of processes that nobody waited for", function()
      local burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
      local idle = assert(run({}, { script = "true" })).stats
      local r = assert(run({}, { script = "(" .. burn .. ") & wait" }))
      assert.equal("cgroup", r.account.cpu_from)
      assert.is_true(r.stats.cpu_ns > idle.cpu_ns + 5e6, r.stats.cpu_ns .. " " .. idle.cpu_ns)
      assert.equal(r.stats.cpu_ns, r.account.user_ns + r.account.system_ns)
    end)

    it("slow the program down to cpu.max", function()
      local r = assert(run({ cpu = { max = "2000 20000" } }, {
        script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done" }))
      assert.is_true(r.stats.throttled > 0)
      assert.is_true(r.stats.throttled_ns > 0)
    end)

    it("freeze all processes where they are, and thaw them", function()
      local process, groups = g.start({ accounting = { "freeze", "cpu" } },
        { "/bin/sh", "-c", "(while :; do :; done) & while :; do :; done" }, only)
      assert.is_true(g.eventually(function() return groups:cpu_ns() > 1e6 end))
      assert.equal("thawed", groups:state())
      assert(groups:freeze())
      assert.equal("frozen", groups:state())
      local before = groups:cpu_ns()
      core.poll({}, 0.1)
      assert.equal(before, groups:cpu_ns())
      assert(groups:thaw())
      assert.equal("thawed", groups:state())
      assert.is_true(g.eventually(function() return groups:cpu_ns() > before end))
      assert(groups:freeze()) -- the end of a frozen container leaves nothing either
      groups:close()
      process:close()
    end)

    it("are thawed again where freezing takes too long", function()
      local script = "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait"
      local process, groups = g.start({ accounting = { "freeze", "cpu" } }, { "/bin/sh", "-c", script }, only)
      for _ = 1, 20 do
        core.poll({}, 0.005)
        local ok, message, errno = groups:freeze(0)
        if not ok then
          assert.equal(core.errno.ETIMEDOUT, errno, message)
          assert.is_true(g.eventually(function() return groups:state() == "thawed" end, 2))
        else
          assert(groups:thaw())
        end
      end
      groups:close()
      process:close()
    end)

    it("die as a whole, a fork bomb too", function()
      local bombs = { { pids = { max = 100 } }, { pids = { max = 100 }, accounting = { "freeze" } } }
      for _, cg in ipairs(bombs) do
        local process, groups = g.start(cg, { "/usr/bin/perl", "-e", "fork while 1" }, only)
        assert.is_true(g.eventually(function() return groups:figure("pids_current") == 100 end))
        assert(groups:kill())
        assert.is_true(g.eventually(function() return #groups:procs() == 0 end))
        assert.equal(9, assert(process:wait(10)).signal)
        groups:close()
        process:close()
      end
    end)

    it("take with them, at the end of the run, what has left its parent", function()
      local r = assert(run({}, { script = "sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!" }))
      local pid = r.output:match("%d+")
      assert.is_true(g.eventually(function()
        local status = t.read_file("/proc/" .. pid .. "/status")
        return status == nil or status:match("State:%s+Z") ~= nil
      end))
    end)

    it("are removed with the groups that the container made in them", function()
      local below
      assert(run({ accounting = { "cpu" } }, { argv = { "/bin/true" }, inspect = function(_, _, groups)
        local dir = "/proc/self/fd/" .. groups.groups[1].dir:fileno()
        below = t.sh("mkdir -p " .. g.link(dir) .. "/a/b && echo made")
      end }))
      assert.equal("made\n", below)
    end)

    it("are not left behind by a step that fails, wherever it stands", function()
      local compiled = g.compile({ memory = { max = "64M" }, pids = { max = 5 }, cpu = { weight = 50 } }, only)
      local steps = g.steps(compiled)
      collectgarbage()
      local fds, children = t.count_fds(), t.count_children()
      for i = 1, #steps + 1 do
        local ok, _, errno, failure = t.run(steps, { fail = { step = i, errno = 71 } })
        assert.is_nil(ok)
        assert.equal(71, errno)
        assert.equal(i, failure.number)
        assert.equal("", g.left())
      end
      collectgarbage()
      assert.is_true(t.count_fds() <= fds)
      assert.equal(children, t.count_children())
    end)

    it("are not left behind by a value that the kernel refuses, which the error names", function()
      local r, message, errno, failure = run { cpuset = { cpus = "60000" } }
      assert.is_nil(r)
      assert.truthy(message:match("cgroup%.set%[1%] cpuset%.cpus = 60000: "), message)
      assert.is_true(errno == core.errno.EINVAL or errno == core.errno.ERANGE, message)
      assert.equal("cgroup.set", failure.step)
    end)

    it("are the run's own: a name that is taken is an error, and the other keeps its group", function()
      local process, groups = g.start({ path = g.prefix .. "one" }, { "/bin/sleep", "100" }, only)
      local r, message, errno = run { path = g.prefix .. "one" }
      assert.is_nil(r)
      assert.equal(core.errno.EEXIST, errno)
      assert.truthy(message:match(escaped .. "one is there already"), message)
      assert.equal(1, #groups:procs())
      -- a second program in the same groups, as exec does it
      r = assert(run({ path = g.prefix .. "one", existing = true }, { script = "cat /proc/self/cgroup" }))
      assert.truthy(r.output:match("/" .. escaped .. "one\n"), r.output)
      assert.equal(1, #groups:procs())
      groups:close()
      process:close()
    end)

    it("can stand deeper, and all that was made for them goes", function()
      local r = assert(run({ path = g.prefix .. "a/b/c-*", pids = { max = 9 } }, { script = "cat /proc/self/cgroup" }))
      assert.truthy(r.output:match("/" .. escaped .. "a/b/c%-%x+\n"), r.output)
    end)

    it("are the root of the container's cgroup namespace", function()
      local compiled = g.compile({ memory = { max = "64M" }, pids = { max = 9 }, accounting = { "cpu" } }, only)
      local steps = g.steps(compiled)
      steps[#steps + 1] = t.step("namespace.unshare", { "cgroup" })
      local r = assert(t.run(steps, { script = "cat /proc/self/cgroup; readlink /proc/self/ns/cgroup" }))
      for _, group in ipairs(compiled.groups) do
        for _, c in ipairs(group.version == 1 and group.controllers or {}) do
          assert.truthy(r.output:match(":" .. c .. ":/\n"), r.output)
        end
      end
      if compiled.slot then assert.truthy(r.output:match("\n?0::/\n"), r.output) end
      assert.not_equal(g.link("/proc/self/ns/cgroup"), r.output:match("cgroup:%[%d+%]"))
    end)

    it("are entered by a fork that runs Lua steps, too", function()
      local r = assert(run({ pids = { max = 12 } }, { script = "cat /proc/self/cgroup",
        more = { t.step("lua", { name = "hook" }) }, functions = { hook = function() return true end } }))
      assert.truthy(r.output:match("csnspec"), r.output)
    end)

    it("are swept when the host that made them was killed, and only then", function()
      local live, groups = g.start({}, { "/bin/sleep", "100" }, only)
      local compiled = g.compile({ pids = { max = 5 } }, only)
      -- a host of its own, that is gone before it can undo anything
      t.run({ t.step("lua", { name = "host" }) }, { argv = { "/bin/true" }, functions = { host = function()
        local steps = g.steps(compiled)
        steps[#steps + 1] = t.step("lua", { name = "die" }, { side = "parent" })
        steps[#steps + 1] = t.step("exec", { argv = { "/bin/true" } })
        core.spawn { plan = core.plan(steps), functions = { die = function()
          t.sh("kill -9 $PPID")
        end } }
      end } })
      local before = select(2, g.left():gsub("\n", ""))
      assert.equal(#groups.groups + #compiled.groups, before)
      for _, group in ipairs(compiled.groups) do
        -- the runner may still be dying
        assert.is_true(g.eventually(function() return core.cgroup.sweep(group.at, g.prefix, "") == 1 end))
      end
      assert.equal(#groups.groups, select(2, g.left():gsub("\n", "")))
      assert.equal(1, #groups:procs())
      groups:close()
      live:close()
    end)
  end)
end
