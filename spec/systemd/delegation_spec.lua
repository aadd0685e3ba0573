-- Rootless limits in what a real systemd delegates to an ordinary user: by user@.service, whose manager delegates a
-- scope on, and by a service with User= and Delegate=. (spec/vm/delegation_spec.lua has what needs no systemd.)
local t = require "support"
local systemd = require "support.systemd"

describe("what systemd delegates to an ordinary user", function()
  if not t.needs("root", "systemd", "perl") then return end
  setup(systemd.setup)
  teardown(systemd.teardown)

  -- Of a unit nothing is left: its processes have ended, and its groups could be removed.
  after_each(function()
    local left = t.sh("find /sys/fs/cgroup -name 'caisson*' ! -name caisson-vm.service")
    if left ~= "" then t.sh("find /sys/fs/cgroup -path '*caisson-box*/cgroup.kill' -exec sh -c 'echo 1 > $0' {} ';'") end
    assert.equal("", left)
  end)

  local prelude = [[
    local caisson = require "caisson"
    local core = caisson.core
    local function recipe(cg, options)
      local def = { cgroup = cg, namespaces = { user = true, ipc = true } }
      for k, v in pairs(options or {}) do def[k] = v end
      return caisson.recipe(def)
    end
    local function run(cg, argv, options)
      return caisson.run(recipe(cg, options), { args = argv, stdin = "null", stdout = "capture", stderr = "capture" })
    end
    local function read(path)
      local f = assert(io.open(path))
      return f:read("*a"), f:close()
    end
    local function own() return read("/proc/self/cgroup"):match("0::([^\n]*)") end
    local forks = { "/usr/bin/perl", "-e", "for (1 .. 40) { $p = fork; if (!defined $p) { print qq(refused after $n); last } " ..
      "$p or exec 'sleep', 1; $n++ }" }
  ]]

  local function program(code) return systemd.program(prelude .. code) end

  -- systemd-run --user --scope, which a user types, is for those that are in the manager's tree already.
  local function in_scope(code, properties)
    return systemd.user_service("", ("systemd-run --user --scope --quiet --unit=caisson-box %s %s"):format(
      properties or "-p Delegate=yes", program(code)))
  end

  local function in_service(code, properties)
    return systemd.start("/run/systemd/system", "systemctl", "User=54321\nGroup=54321\n" .. properties, program(code))
  end

  describe("by user@.service, in a scope:", function()
    local scope = "/user.slice/user-54321.slice/user@54321.service/app.slice/caisson-box.scope"

    it("memory, processes and CPU of a rootless container are limited, and counted", function()
      assert.equal(scope .. "\nmemory_limit\ttrue\tcgroup\ntrue\n0\nrefused after 2\ttrue\ntrue\n" .. scope ..
        "/caisson.host\n1\n", in_scope [[
        print(own())
        local r = assert(run({ own_leaf = true, memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
        print(r.status, r.oom, r.memory_from)
        print(r.memory_peak <= 16 * 2 ^ 20 and r.memory_peak > 12 * 2 ^ 20)
        r = assert(run({ own_leaf = true, memory = { max = "64M" }, pids = { max = 1 }, cpu = { max = 0.5 } }, { "/bin/true" }))
        print(r.code)
        r = assert(run({ own_leaf = true, pids = { max = 3 } }, forks))
        print(r.stdout, r.pids_peak == 3)
        local running = assert(caisson.start(recipe { own_leaf = true, cpu = { max = 0.1 } },
          { args = { "/bin/sh", "-c", "while :; do :; done" }, stdin = "null" }))
        core.poll({}, 1)
        local before, since = running.cgroup:cpu_ns(), core.now()
        core.poll({}, 2)
        local part = (running.cgroup:cpu_ns() - before) / (core.now() - since)
        print(part > 0.03 and part < 0.2 and running.cgroup:figure("throttled") > 0 or part)
        running:close()
        print(own())
        local n = 0
        for _ in io.popen("find /sys/fs/cgroup" .. own():match("(.*)/") .. " -mindepth 1 -type d"):lines() do n = n + 1 end
        print(n) -- no more than the leaf]])
    end)

    it("a container is created, started, entered, paused, updated and deleted", function()
      assert.equal([[
created	true
running
true	true	true
paused	true
running	true
10	33554432
true	9
stopped
true	0
]], in_scope [[
        local c = assert(caisson.create(recipe({ own_leaf = true, memory = { max = "64M" }, pids = { max = 20 },
          cpu = { max = 0.5 } }, { namespaces = { user = true, pid = true, ipc = true, cgroup = true },
          args = { "/bin/sh", "-c", "while :; do :; done" } }), { id = "caisson-spec", stdin = "null" }))
        local pid = c:state().pid
        local function group(p) return read("/proc/" .. p .. "/cgroup"):match("0::([^\n]*)") end
        local dir = "/sys/fs/cgroup" .. group(pid)
        print(c:state().status, dir:find("/caisson-box.scope/", 1, true) ~= nil)
        assert(c:start())
        print(c:state().status)
        local e = assert(c:exec { args = { "/bin/sleep", "100" }, stdin = "null" })
        local listed = {}
        for _, p in ipairs(c:ps()) do listed[p] = true end
        print(group(e:pid()) == group(pid), listed[pid], listed[e:pid()])
        e:close()
        assert(c:pause())
        local before = c:stats().cpu_ns
        core.poll({}, 0.5)
        print(c:state().status, c:stats().cpu_ns - before < 5e7) -- what ran just before may be counted a little later
        assert(c:resume())
        core.poll({}, 0.5)
        print(c:state().status, c:stats().cpu_ns > before)
        assert(c:update { pids = { max = 10 }, memory = { max = "32M" } })
        print((read(dir .. "/pids.max"):gsub("\n", "")), (read(dir .. "/memory.max"):gsub("\n", "")))
        print(c:kill("KILL"), c:wait(10).signal)
        print(c:state().status)
        print(c:delete(), #caisson.list())
        assert(not core.lstat(dir))]])
    end)

    it("a controller that user@.service does not delegate is named", function()
      local out = in_scope [[
        local r, message, errno = run({ own_leaf = true, cpuset = { cpus = "0" } }, { "/bin/true" })
        print(r, message, errno)]]
      assert.truthy(out:find("cgroup.controllers does not list the cpuset controller: it is not delegated", 1, true), out)
    end)
  end)

  describe("by a service with User= and Delegate=:", function()
    it("a program of its own has to make room, and is told how", function()
      local out = in_service([[
        local r, message, _, failure = run({ memory = { max = "16M" } }, { "/bin/true" })
        print(r, message, failure.hint)
        r = assert(run({ own_leaf = true, memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
        print(r.status, own())
        print(assert(run({ memory = { max = "64M" } }, { "/bin/true" })).code) -- it stays there]], "Delegate=yes")
      local group = "/system.slice/caisson-spec.service"
      assert.truthy(out:find("nil\tcgroup: memory.max can't be set: /sys/fs/cgroup" .. group .. " has processes", 1, true), out)
      assert.truthy(out:find("own_leaf = true moves this process to", 1, true), out)
      assert.truthy(out:find("\nmemory_limit\t" .. group .. "/caisson.host\n0\n", 1, true), out)
    end)

    it("the limits that systemd put on it hold", function()
      assert.equal("nil\ttrue\ntrue\n", in_service([[
        local group = assert(core.cgroup.open("/sys/fs/cgroup" .. own()))
        local ok, _, errno = core.cgroup.set { group = group, file = "pids.max", value = "max" }
        print(ok, errno == core.errno.EACCES)
        local r = assert(run({ own_leaf = true, pids = { max = 100 } }, forks))
        print(tonumber(r.stdout:match("^refused after (%d+)$")) < 12)]], "Delegate=yes\nTasksMax=12"))
    end)

    it("fewer controllers can be delegated: the error says which is not", function()
      local out = in_service([[
        print(run({ own_leaf = true, cpuset = { cpus = "0" } }, { "/bin/true" }))
        print(assert(run({ own_leaf = true, pids = { max = 3 } }, forks)).stdout)]],
        "Delegate=pids\nSlice=specs.slice") -- some other service of this machine may have all delegated in system.slice
      assert.truthy(out:find("does not list the cpuset controller: it is not delegated", 1, true), out)
      assert.truthy(out:find("\nrefused after 2\n", 1, true), out)
    end)

    it("without Delegate= nothing can be limited, and the error says so of each", function()
      local out = in_service([[
        for _, cg in ipairs { { memory = { max = "16M" } }, { pids = { max = 3 } }, { cpu = { max = 0.5 } } } do
          cg.own_leaf = true
          local r, message, errno = run(cg, { "/bin/true" })
          print(r, message, errno == core.errno.EACCES)
        end]], "")
      for _, key in ipairs { "memory.max", "pids.max", "cpu.max" } do
        assert.truthy(out:find("nil\tcgroup: " .. key .. " can't be set: the group of this process, /sys/fs/cgroup" ..
          "/system.slice/caisson-spec.service, is not delegated to this user\ttrue\n", 1, true), out)
      end
    end)
  end)
end)
