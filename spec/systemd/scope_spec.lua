-- Containers in scopes that systemd makes: as root of the machine, by the system's manager; as an ordinary user, by his.
local t = require "support"
local systemd = require "support.systemd"
local caisson = require "caisson"
local core = caisson.core

local function read(path) return (t.read_file(path) or "nothing"):gsub("%s+$", "") end

local function shown(unit, name)
  return (t.sh(("systemctl show -P %s '%s' 2>&1"):format(name, unit)):gsub("%s+$", ""))
end

-- Of systemd's units, and of groups, those of this spec's.
local function left()
  return t.sh("systemctl list-units --all --plain --no-legend 'caisson-*.scope' 2>&1; " ..
    "find /sys/fs/cgroup -name 'caisson-*.scope'")
end

local function group_of(pid) return t.read_file(("/proc/%d/cgroup"):format(pid)):match("0::([^\n]*)") end

describe("a scope of systemd's", function()
  if not t.needs("root", "systemd", "perl") then return end

  local function recipe(cgroup, options)
    cgroup.driver = "systemd"
    local def = { cgroup = cgroup, namespaces = { pid = true, ipc = true, cgroup = true } }
    for k, v in pairs(options or {}) do def[k] = v end
    return caisson.recipe(def)
  end

  local function run(cgroup, argv, options)
    return caisson.run(recipe(cgroup, options), { args = argv, stdin = "null", stdout = "capture", stderr = "capture" })
  end

  setup(function() assert(run({}, { "/bin/true" })) end) -- what is opened once stays open
  local before
  before_each(function() before = t.count_fds() end)
  after_each(function()
    assert.equal("", left())
    assert.equal(before, t.count_fds())
  end)

  it("is where the program is, with its limits in the files and in systemd's books", function()
    local running = assert(caisson.start(recipe({ slice = "caisson-spec.slice", scope = "caisson-a.scope",
      memory = { max = "64M", high = "60M", low = "1M", swap = 0 }, pids = { max = 7 },
      cpu = { max = { quota = 15500, period = 50000 }, weight = 50 }, cpuset = { cpus = "1" } }),
      { args = { "/bin/sleep", "100" }, stdin = "null" }))
    finally(function() running:close() end)
    local dir = "/caisson.slice/caisson-spec.slice/caisson-a.scope"
    assert.equal(dir, group_of(running:pid()))
    dir = "/sys/fs/cgroup" .. dir
    for file, value in pairs { ["memory.max"] = "67108864", ["memory.high"] = "62914560", ["memory.low"] = "1048576",
      ["memory.swap.max"] = "0", ["pids.max"] = "7", ["cpu.max"] = "15500 50000", ["cpu.weight"] = "50",
      ["cpuset.cpus"] = "1" } do
      assert.equal(value, read(dir .. "/" .. file), file)
    end
    for name, value in pairs { MemoryMax = "67108864", MemoryHigh = "62914560", MemoryLow = "1048576", MemorySwapMax = "0",
      TasksMax = "7", CPUQuotaPerSecUSec = "310ms", CPUQuotaPeriodUSec = "50ms", CPUWeight = "50", AllowedCPUs = "1",
      Delegate = "yes", Slice = "caisson-spec.slice", DefaultDependencies = "no", CollectMode = "inactive-or-failed",
      Description = "caisson container" } do
      assert.equal(value, shown("caisson-a.scope", name), name)
    end
    -- systemd's own writing keeps them
    t.sh("systemctl daemon-reload; systemctl set-property --runtime caisson-a.scope IOWeight=200 2>&1")
    assert.equal("67108864", read(dir .. "/memory.max"))
    assert.equal("50", read(dir .. "/cpu.weight"))
    assert.is_true(running.cgroup:update { pids = { max = 9 }, cpu = { max = 0.5 } })
    assert.equal("9 50000 100000", read(dir .. "/pids.max") .. " " .. read(dir .. "/cpu.max"))
    assert.equal("9 500ms", shown("caisson-a.scope", "TasksMax") .. " " .. shown("caisson-a.scope", "CPUQuotaPerSecUSec"))
    -- all, or nothing, with systemd too
    local ok, message = running.cgroup:update { pids = { max = 5 }, unified = { ["memory.max"] = "nonsense" } }
    assert.is_nil(ok)
    assert.truthy(message:find("unified.memory.max", 1, true), message)
    assert.equal("9 9", read(dir .. "/pids.max") .. " " .. shown("caisson-a.scope", "TasksMax"))
  end)

  it("has limits that bite, and is gone with its run", function()
    local r = assert(run({ memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
    assert.same({ "memory_limit", true, "cgroup" }, { r.status, r.oom, r.memory_from })
    assert.equal("", left())
    r = assert(run({ pids = { max = 3 } }, { "/usr/bin/perl", "-e",
      "for (1 .. 40) { $p = fork; if (!defined $p) { print qq(refused after $n); last } $p or exec 'sleep', 1; $n++ }" }))
    assert.equal("refused after 2", r.stdout)
    assert.equal("", left())
    r = assert(run({ cpu = { max = 0.1 } }, { "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done" }))
    assert.is_true(r.wall_ns > 2 * r.cpu_ns, r.wall_ns .. " " .. r.cpu_ns .. " " .. r.cpu_from)
  end)

  it("is the root of the container's cgroup namespace, and takes device rules and hugetlb too", function()
    local r = assert(run({ devices = { { allow = false, type = "c", major = 1, minor = 5 } }, hugetlb = { ["2MB"] = "4M" } },
      { "/bin/sh", "-c", "cat /proc/self/cgroup; head -c1 /dev/zero; head -c0 /dev/null && cat /sys/fs/cgroup/x; echo end" }))
    assert.truthy(r.stdout:find("^0::/\n.*end"), r.stdout)
    assert.truthy(r.stderr:find("/dev/zero.*Operation not permitted"), r.stderr)
    local running = assert(caisson.start(recipe({ scope = "caisson-h.scope", hugetlb = { ["2MB"] = "4M" },
      devices = { { allow = true, type = "c", major = 10, minor = 229, access = "rw" } } }),
      { args = { "/bin/sleep", "100" }, stdin = "null" }))
    finally(function() running:close() end)
    assert.equal("4194304", read("/sys/fs/cgroup" .. group_of(running:pid()) .. "/hugetlb.2MB.max"))
    assert.equal("strict", shown("caisson-h.scope", "DevicePolicy"))
    local allowed = shown("caisson-h.scope", "DeviceAllow")
    assert.truthy(allowed:find("/dev/char/10:229 rw", 1, true) and allowed:find("char-pts rwm", 1, true), allowed)
  end)

  it("holds a container through its life", function()
    local root = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() t.sh("rm -rf " .. root) end)
    local c = assert(caisson.create(recipe({ memory = { max = "64M" } }, { args = { "/bin/sh", "-c", "while :; do :; done" } }),
      { id = "a+b", root = root, stdin = "null" }))
    finally(function() c:close() end)
    local unit = group_of(c:state().pid):match("[^/]+$")
    assert.truthy(unit:find("^caisson%-a\\x2bb%-%x+%-%x+%.scope$"), unit)
    assert.equal("system.slice caisson container a+b", shown(unit, "Slice") .. " " .. shown(unit, "Description"))
    assert.is_true(c:start())
    local again = assert(caisson.open("a+b", { root = root }))
    local e = assert(again:exec { args = { "/bin/sleep", "100" }, stdin = "null" })
    local below = assert(again:exec { args = { "/bin/sleep", "100" }, stdin = "null", cgroup = "sub" })
    assert.equal(group_of(c:state().pid), group_of(e:pid()))
    assert.equal(group_of(c:state().pid) .. "/sub", group_of(below:pid()))
    below:close()
    e:close()
    assert.is_true(again:pause())
    assert.equal("paused", c:state().status)
    assert.is_true(c:resume())
    assert.is_true(again:update { memory = { max = "32M" }, cpu = { weight = 33 } })
    assert.equal("33554432 33", shown(unit, "MemoryMax") .. " " .. shown(unit, "CPUWeight"))
    assert.equal("33554432", read("/sys/fs/cgroup" .. group_of(c:state().pid) .. "/memory.max"))
    assert.truthy(again:stats().memory_current > 0)
    local refused, message = again:delete()
    assert.is_nil(refused)
    assert.truthy(message:find("is running", 1, true), message)
    again:close()
    assert.is_true(c:delete { force = true })
  end)

  it("is gone when its program has ended, though nobody deletes the container; which then goes, too", function()
    local root = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() t.sh("rm -rf " .. root) end)
    local c = assert(caisson.create(recipe({ scope = "caisson-b.scope" }, { args = { "/bin/true" } }), { id = "b", root = root,
      stdin = "null" }))
    finally(function() c:close() end)
    assert.is_true(c:start())
    assert.equal(0, c:wait(20).code)
    local again = assert(caisson.open("b", { root = root }))
    assert.is_true(again:delete())
    again:close()
    -- at once another one of that name
    c:close()
    for _ = 1, 3 do
      assert.equal(0, assert(run({ scope = "caisson-b.scope" }, { "/bin/true" })).code)
    end
  end)

  it("is swept where it was left empty", function()
    -- as it is when host and child are killed while systemd starts it: it is told of somebody who is dead by then
    local dead = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "/bin/true" } }) } })
    core.poll({ { fd = dead:pidfd() } }, 5)
    finally(systemd.bus())
    t.sh(("busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit " ..
      "'ssa(sv)a(sa(sv))' caisson-0123456789abcdef.scope fail 2 PIDs au 1 %d Delegate b 1 0; sleep 1"):format(dead:pid()))
    assert.truthy(left():find("caisson-0123456789abcdef.scope loaded active", 1, true), left())
    local other = assert(caisson.start(recipe {}, { args = { "/bin/sleep", "100" }, stdin = "null" }))
    package.loaded["caisson.cgroup"] = nil -- it looks once
    assert.equal(0, assert(run({}, { "/bin/true" })).code)
    assert.truthy(group_of(other:pid()):find("caisson%-%x+%.scope$"))
    other:close()
    dead:close()
  end)

  it("leaves nothing when the host is killed, at whatever instant", function()
    for _, wait in ipairs { 0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8 } do
      local command = t.lua_command [[
        local caisson = require "caisson"
        caisson.run(caisson.recipe { cgroup = { driver = "systemd", memory = { max = "64M" } },
          namespaces = { pid = true, cgroup = true } }, { args = { "/bin/sleep", "1234" }, stdin = "null" })]]
      t.sh(("(exec %s) > /dev/null 2>&1 & sleep %g; kill -KILL $!; wait $! 2> /dev/null"):format(
        command:gsub(";.*", ""), wait + 0.3))
      t.sh(command:match(";(.*)"))
      local deadline = core.now() + 20e9
      while left() ~= "" and core.now() < deadline do
        core.poll({}, 0.5)
        package.loaded["caisson.cgroup"] = nil -- the next start sweeps
        assert(run({}, { "/bin/true" }))
      end
      assert.equal("", left())
      assert.equal("", t.sh("pgrep -x -f 'sleep 1234'"))
    end
  end)

  it("of a container whose creation was killed is gone with its deletion", function()
    local root = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() t.sh("rm -rf " .. root) end)
    for i, wait in ipairs { 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8 } do
      local command = t.lua_command(([[
        local caisson = require "caisson"
        caisson.create(caisson.recipe { cgroup = { driver = "systemd", scope = "caisson-k%d.scope" },
          namespaces = { pid = true, cgroup = true } }, { id = "k%d", root = %q, args = { "/bin/sleep", "1234" }, stdin = "null" })
        ]]):format(i, i, root))
      t.sh(("(exec %s) > /dev/null 2>&1 & sleep %g; kill -KILL $! 2> /dev/null; wait $! 2> /dev/null"):format(
        command:gsub(";.*", ""), wait))
      t.sh(command:match(";(.*)"))
      require("caisson.container").delete("k" .. i, { root = root, force = true })
      assert.equal("", t.sh("pgrep -x -f 'sleep 1234'"))
      assert.same({}, caisson.list { root = root })
      local deadline = core.now() + 20e9
      while left() ~= "" and core.now() < deadline do core.poll({}, 0.1) end
      assert.equal("", left())
    end
  end)

  it("is made for an engine's container, too (caisson-oci --systemd-cgroup)", function()
    local oci = require "support.oci"
    if not t.needs("oci", "busybox") then return end
    local world = oci.world()
    finally(function() world:close() end)
    world:configure("sleep 100", function(c)
      c.linux.cgroupsPath = "caisson.slice:caisson:box"
      c.linux.resources = { memory = { limit = 67108864 }, pids = { limit = 9 } }
    end)
    local function ok(words, globals)
      local r = world:run(words, { globals = globals })
      assert.equal(0, r.code, table.concat(words, " ") .. ": " .. r.err)
      return r.out
    end
    ok({ "create", "box" }, { "--systemd-cgroup" })
    local group = group_of(world:state("box").pid)
    assert.equal("/caisson.slice/caisson-box.scope", group)
    ok { "start", "box" }
    assert.equal("67108864 9", shown("caisson-box.scope", "MemoryMax") .. " " .. read("/sys/fs/cgroup" .. group .. "/pids.max"))
    ok { "update", "--memory", "33554432", "box" }
    assert.equal("33554432", shown("caisson-box.scope", "MemoryMax"))
    assert.equal(group, ok({ "exec", "box", "cat", "/proc/self/cgroup" }):match("0::([^\n]*)"))
    ok { "pause", "box" }
    ok { "resume", "box" }
    ok { "delete", "--force", "box" }
    assert.equal("", left())
  end)

  describe("that can't be had is an error that says why:", function()
    it("the name is taken", function()
      local running = assert(caisson.start(recipe { scope = "caisson-c.scope" }, { args = { "/bin/sleep", "100" }, stdin = "null" }))
      finally(function() running:close() end)
      local r, message, errno, failure = run({ scope = "caisson-c.scope" }, { "/bin/true" })
      assert.is_nil(r)
      assert.truthy(message:find("Unit caisson%-c%.scope .*already"), message)
      assert.same({ core.errno.EEXIST, "systemd.scope" }, { errno, failure.step })
      assert.equal("active", shown("caisson-c.scope", "ActiveState"))
    end)

    it("the job fails, or a property is none", function()
      systemd.write("/run/systemd/system/caisson-false.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n" ..
        "ExecStart=/bin/false\n")
      t.sh("systemctl daemon-reload")
      finally(function() t.sh("rm /run/systemd/system/caisson-false.service; systemctl daemon-reload; systemctl reset-failed") end)
      local process = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "/bin/sleep", "100" } }) } })
      finally(function() process:close() end)
      local function scope(...)
        return require("caisson.systemd").scope { name = "caisson-d.scope", pid = process:pid(), properties = { ... } }
      end
      local fd, message, errno = scope("Requires as caisson-false.service", "After as caisson-false.service")
      assert.is_nil(fd)
      assert.truthy(message:find("systemd's job to start the scope: dependency", 1, true), message)
      assert.equal(core.errno.EIO, errno)
      fd, message = scope("MemoryMax s much")
      assert.truthy(fd == nil and message:find("MemoryMax", 1, true), message)
      fd, message = scope("NoSuchProperty t 1")
      assert.truthy(fd == nil and message:find("NoSuchProperty", 1, true), message)
      fd, message = scope("nonsense")
      assert.truthy(fd == nil and message:find("NAME SIGNATURE VALUE expected, got nonsense", 1, true), message)
      fd = assert(scope())
      fd:close()
      assert.truthy(group_of(process:pid()):find("caisson-d.scope", 1, true))
    end)

    it("nobody is there who may be asked", function()
      systemd.tree = nil
      systemd.setup()
      finally(systemd.teardown)
      local out = t.sh(systemd.as_user .. "env -u XDG_RUNTIME_DIR " .. systemd.program [[
        local systemd = require "caisson.systemd"
        print(systemd.scope { name = "caisson-e.scope" })]] .. " 2>&1")
      assert.truthy(out:find("nil\tsystemd%.scope caisson%-e%.scope .*: systemd can't be reached at /run/systemd/private: Permission denied"), out)
      out = t.sh("setpriv --reuid=54322 --clear-groups env -u XDG_RUNTIME_DIR " .. systemd.program [[
        local caisson = require "caisson"
        print(caisson.run(caisson.recipe { cgroup = { driver = "systemd" }, namespaces = { user = true } }, { args = { "/bin/true" } }))]] ..
        " 2>&1")
      assert.truthy(out:find("this user's systemd can't be reached at /run/user/54322/systemd/private: No such file", 1, true), out)
    end)
  end)
end)

describe("a scope of the systemd of an ordinary user", function()
  if not t.needs("root", "systemd", "perl") then return end

  local stop_bus
  setup(function()
    stop_bus = systemd.bus()
    systemd.setup()
  end)
  teardown(function()
    systemd.teardown()
    stop_bus()
  end)
  after_each(function() assert.equal("", t.sh("find /sys/fs/cgroup -name 'caisson-*.scope'")) end)

  local prelude = [[
    local caisson = require "caisson"
    local core = caisson.core
    local function recipe(cgroup, args)
      cgroup.driver = "systemd"
      return caisson.recipe { cgroup = cgroup, args = args, namespaces = { user = true, pid = true, ipc = true, cgroup = true } }
    end
    local function run(cgroup, argv)
      return caisson.run(recipe(cgroup), { args = argv, stdin = "null", stdout = "capture", stderr = "capture" })
    end
    local function read(path)
      local f = assert(io.open(path))
      local text = f:read("*a"):gsub("\n$", "")
      f:close()
      return text
    end
    local function group(p) return read("/proc/" .. p .. "/cgroup"):match("0::([^\n]*)") end
    local forks = { "/usr/bin/perl", "-e", "for (1 .. 40) { $p = fork; if (!defined $p) { print qq(refused after $n); last } " ..
      "$p or exec 'sleep', 1; $n++ }" }
  ]]

  local life = prelude .. [[
    local r = assert(run({ memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
    print(r.status, r.oom, r.memory_from)
    print(assert(run({ pids = { max = 3 } }, forks)).stdout)
    local c = assert(caisson.create(recipe({ slice = "caisson.slice", scope = "caisson-u.scope", memory = { max = "64M" } },
      { "/bin/sh", "-c", "while :; do :; done" }), { id = "u", stdin = "null" }))
    local at = group(c:state().pid)
    local dir = "/sys/fs/cgroup" .. at
    print(at, read(dir .. "/memory.max"))
    assert(c:start())
    local e = assert(c:exec { args = { "/bin/sleep", "100" }, stdin = "null" })
    local below = assert(c:exec { args = { "/bin/sleep", "100" }, stdin = "null", cgroup = "sub" })
    print(group(e:pid()) == at, group(below:pid()) == at .. "/sub")
    below:close()
    e:close()
    print(c:pause(), c:state().status, c:resume(), c:state().status)
    print(c:update { memory = { max = "32M" }, pids = { max = 10 } }, read(dir .. "/memory.max"), read(dir .. "/pids.max"))
    print(c:delete { force = true }, core.lstat(dir))
    print(run({ devices = {} }, { "/bin/true" }))
    print(run({ cpuset = { cpus = "0" } }, { "/bin/true" }))]]

  local expected = "memory_limit\ttrue\tcgroup\nrefused after 2\n" ..
    "/user.slice/user-54321.slice/user@54321.service/caisson.slice/caisson-u.scope\t67108864\ntrue\ttrue\n" ..
    "true\tpaused\ttrue\trunning\ntrue\t33554432\t10\n"

  local function check(out)
    assert.equal(expected, out:sub(1, #expected))
    assert.truthy(out:find("\ntrue\tnil\tstat "), out)
    assert.truthy(out:find("devices can't be set: only root of the machine may set device rules", 1, true), out)
    assert.truthy(out:find("does not list the cpuset controller: it is not delegated", 1, true), out)
  end

  it("limits his containers, through their life", function()
    check(systemd.user_service("", systemd.program(life)))
  end)

  it("does the same for who is not in its tree, as after a login", function()
    check(t.sh(systemd.as_user .. systemd.program(life) .. " 2>&1"))
  end)

  it("leaves nothing when the host is killed", function()
    for _, wait in ipairs { 0.3, 0.4, 0.6, 1.2 } do
      t.sh(("(exec %s) > /dev/null 2>&1 & sleep %g; kill -KILL $!; wait $! 2> /dev/null"):format(systemd.as_user ..
        systemd.program(prelude .. [[ run({ memory = { max = "64M" } }, { "/bin/sleep", "1234" })]]), wait))
      local deadline = core.now() + 20e9
      local function there() return t.sh("find /sys/fs/cgroup -name 'caisson-*.scope'; pgrep -x -f 'sleep 1234'") end
      while there() ~= "" and core.now() < deadline do
        core.poll({}, 0.5)
        t.sh(systemd.as_user .. systemd.program(prelude .. [[ assert(run({}, { "/bin/true" })) ]])) -- the next start sweeps
      end
      assert.equal("", there())
    end
  end)
end)
