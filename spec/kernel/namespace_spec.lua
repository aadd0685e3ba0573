local t = require "support"
local step = t.step

local names = { "user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time" }
local file = { user = "user", mount = "mnt", pid = "pid", net = "net", ipc = "ipc", uts = "uts", cgroup = "cgroup",
  time = "time" }

-- The program's namespaces: { net = "net:[...]", ... }.
local function namespaces_of(output)
  local list = {}
  for n, id in output:gmatch("(%S+) (%S+)\n") do list[n] = id end
  return list
end
local show = [[for n in user mnt pid net ipc uts cgroup time; do echo $n $(readlink /proc/self/ns/$n); done]]

local function own()
  local list = {}
  for _, f in pairs(file) do list[f] = t.namespace(f) end
  return list
end

for _, fork in ipairs { false, true } do
  describe("clone" .. (fork and ", in a fork" or ""), function()
    if not t.needs("userns") then return end

    it("makes all eight namespaces, the program's own time too", function()
      local r = assert(t.run({ step("clone", names) }, { script = show, fork = fork }))
      local before, inside = own(), namespaces_of(r.output)
      for _, f in pairs(file) do
        assert.truthy(inside[f], f)
        assert.are_not.equal(before[f], inside[f])
      end
    end)

    it("makes each of them alone, and leaves the others shared", function()
      for _, name in ipairs(names) do
        local asked = { [name] = true, user = not t.is_root or name == "user" }
        local list = {}
        for n in pairs(asked) do if asked[n] then list[#list + 1] = n end end
        local inside = namespaces_of(assert(t.run({ step("clone", list) }, { script = show, fork = fork })).output)
        for n, f in pairs(file) do
          assert.equal(not asked[n], own()[f] == inside[f], name .. " alone: " .. n)
        end
      end
    end)

    it("sets the clocks' offsets, seen by the program, not by the host", function()
      local function uptime(output) return tonumber(output:match("^%S+")) end
      local up = uptime(t.sh("cat /proc/uptime"))
      local r = assert(t.run(t.steps(t.contained { "time" }, step("time_offsets",
        { boottime = 86400, boottime_ns = 500000000, monotonic = -5, monotonic_ns = 1 })), { script = "cat /proc/uptime", fork = fork }))
      assert.near(up + 86400.5, uptime(r.output), 0.5)
      assert.near(up, uptime(t.sh("cat /proc/uptime")), 0.5)
    end)
  end)
end

describe("time_offsets", function()
  if not t.needs("userns") then return end

  -- CLOCK_MONOTONIC as the payload's own libc tells it: read by this interpreter, run in the container.
  it("moves both clocks of the program by what was asked, to 50 ms", function()
    local exe = t.core.realpath("/proc/self/exe")
    local script = ("package.path, package.cpath = %q, %q\nio.write(string.format('%%.0f', require('caisson.core').now()))")
      :format(package.path, package.cpath)
    for _, offset in ipairs { -7, 1000 } do
      local before = t.core.now()
      local r = assert(t.run(t.steps(t.contained { "time" }, step("time_offsets", { monotonic = offset })),
        { argv = { exe, "-e", script } }))
      assert.near(before + offset * 1e9, tonumber(r.output), 5e7 + t.core.now() - before)
    end
  end)

  it("refuses bad offsets", function()
    local clone = t.contained { "time" }
    local function fails(options, errno, pattern)
      local ok, message, e = t.run(t.steps(clone, step("time_offsets", options)))
      assert.is_nil(ok)
      assert.equal(errno, e)
      assert.matches(pattern, message)
    end
    fails({}, 22, "time_offsets%[1%] *: no offset")
    fails({ monotonic_ns = 1000000000 }, 22, "at most 999999999")
    fails({ monotonic = 2 ^ 53 }, 34, "time_offsets")
    fails({ monotonic = -10000000 }, 34, "time_offsets") -- a clock below zero
    assert.has_error(function() t.core.check("time_offsets", { monotonic = 0.5 }) end)
    assert.has_error(function() t.core.check("time_offsets", { monotonic = "1" }) end)
    assert.has_error(function() t.core.check("time_offsets", { monotonic_ns = -1 }) end)
    assert.has_error(function() t.core.check("time_offsets", { monotonic = 1 / 0 }) end)
    assert.has_error(function() t.core.check("time_offsets", { monotonic = 0 / 0 }) end)
  end)

  it("fails without a time namespace of the container's own", function()
    local ok = t.run(t.steps(t.contained { "uts" }, step("time_offsets", { monotonic = 1 })))
    assert.is_nil(ok)
  end)
end)

describe("namespace.unshare", function()
  if not t.needs("userns") then return end

  it("makes new namespaces at its place: one cgroup namespace after the process is in its cgroup", function()
    local r = assert(t.run(t.steps(t.contained {}, step("namespace.unshare", { "cgroup", "uts" })),
      { script = show .. "; cat /proc/self/cgroup" }))
    local inside, before = namespaces_of(r.output), own()
    assert.are_not.equal(before.cgroup, inside.cgroup)
    assert.are_not.equal(before.uts, inside.uts)
    assert.equal(before.net, inside.net)
    for path in r.output:gmatch("\n%d+:[^:]*:(%S+)") do assert.equal("/", path) end
  end)

  it("refuses a pid namespace, which the process itself would never be in", function()
    local ok, message, errno = t.run(t.steps(t.contained {}, step("namespace.unshare", { "pid" })))
    assert.is_nil(ok)
    assert.equal(22, errno)
    assert.matches("clone makes the child's", message)
  end)

  it("takes words of the table alone", function()
    assert.has_error(function() t.core.check("namespace.unshare", { "nett" }) end,
      "option 'namespaces': unknown word 'nett' (did you mean 'net'?)")
    assert.has_error(function() t.core.check("namespace.unshare", {}) end)
    assert.has_error(function() t.core.check("namespace.unshare", { namespaces = 131072 }) end)
    assert.has_error(function() t.core.check("namespace.unshare", { namespaces = { "net", "net\0" } }) end)
    assert.has_error(function() t.core.check("namespace.unshare", { namespaces = { net = true } }) end,
      "option 'namespaces': a list of words expected, without holes or names")
    local ok, message = t.run(t.steps(t.contained {}, step("namespace.unshare", { namespaces = {} })))
    assert.is_nil(ok)
    assert.matches("no namespace", message)
  end)
end)

describe("namespace.join", function()
  if not t.needs("userns") then return end
  local target, pidfd

  -- A container that sleeps: what is joined.
  setup(function()
    local plan = t.core.plan(t.steps(t.contained(names), step("exec", { argv = { "sleep", "60" } })))
    target = assert(t.core.spawn { plan = plan })
    pidfd = target:pidfd()
  end)
  teardown(function() target:close() end)

  local function join(list, extra)
    local options = { namespaces = list }
    for k, v in pairs(extra) do options[k] = v end
    return step("namespace.join", options)
  end

  it("joins all eight at once by a pidfd", function()
    local inside = namespaces_of(assert(t.run({ join(names, { fd = "target" }), step("clone", {}) },
      { script = show, slots = { target = pidfd } })).output)
    for _, f in pairs(file) do assert.equal(t.namespace(f, target:pid()), inside[f]) end
  end)

  it("joins a few by a pidfd and leaves the others", function()
    local r = assert(t.run({ join({ "user", "net", "uts" }, { fd = "target" }), step("clone", {}) },
      { script = show, slots = { target = pidfd } }))
    local inside = namespaces_of(r.output)
    for _, f in pairs(file) do
      local joined = f == "user" or f == "net" or f == "uts"
      assert.equal(t.namespace(f, joined and target:pid() or nil), inside[f])
    end
  end)

  it("joins each by its path", function()
    for _, name in ipairs(names) do
      local path = ("/proc/%d/ns/"):format(target:pid())
      local list = { join({ name }, { path = path .. file[name] }), step("clone", {}) }
      if not t.is_root and name ~= "user" then
        table.insert(list, 1, join({ "user" }, { path = path .. "user" }))
      end
      local inside = namespaces_of(assert(t.run(list, { script = show })).output)
      assert.equal(t.namespace(file[name], target:pid()), inside[file[name]])
    end
  end)

  it("joins a namespace that a descriptor holds after its processes are gone", function()
    local held = assert(t.core.open(("/proc/%d/ns/uts"):format(target:pid())))
    local id = t.namespace("uts", target:pid())
    local list = { join({ "uts" }, { fd = "held" }), step("clone", {}) }
    local user = assert(t.core.open(("/proc/%d/ns/user"):format(target:pid())))
    if not t.is_root then table.insert(list, 1, join({ "user" }, { fd = "user" })) end
    local r = assert(t.run(list, { script = show, slots = { held = held, user = not t.is_root and user or nil } }))
    assert.equal(id, namespaces_of(r.output).uts)
    held:close()
    user:close()
  end)

  it("mixes with new ones", function()
    local r = assert(t.run({ join({ "user", "net" }, { fd = "target" }), step("clone", { "uts", "ipc" }) },
      { script = show, slots = { target = pidfd } }))
    local inside = namespaces_of(r.output)
    assert.equal(t.namespace("net", target:pid()), inside.net)
    assert.are_not.equal(own().uts, inside.uts)
    assert.are_not.equal(t.namespace("uts", target:pid()), inside.uts)
  end)

  it("makes the joining process undumpable until exec, and leaves the host's as it was", function()
    local ok, ffi = pcall(require, "ffi")
    if not ok then return pending("needs LuaJIT's ffi, to ask the kernel for it") end
    ffi.cdef "int prctl(int, ...);"
    local function dumpable() return ffi.C.prctl(3) end -- PR_GET_DUMPABLE
    assert.equal(1, dumpable())
    local seen = step("lua", { name = "look" })
    local function look(list, slots)
      local _, message = t.run(list, { slots = slots, functions = { look = function()
        return nil, "dumpable " .. dumpable()
      end } })
      return message
    end
    assert.matches("dumpable 0", look({ join({ "user", "uts" }, { fd = "target" }), step("clone", {}), seen },
      { target = pidfd }))
    assert.matches("dumpable 1", look { step("clone", {}), seen })
    assert.equal(1, dumpable())
  end)

  it("refuses what is no namespace, another kind, nothing, both, and a missing path", function()
    local function fails(options, errno, pattern, slots)
      local ok, message, e = t.run({ step("namespace.join", options), step("clone", {}) }, { slots = slots })
      assert.is_nil(ok)
      assert.equal(errno, e, message)
      assert.matches(pattern, message)
    end
    local net = ("/proc/%d/ns/net"):format(target:pid())
    fails({ namespaces = { "net" }, path = "/etc/passwd" }, 22, "net of /etc/passwd: Invalid argument")
    fails({ namespaces = { "uts" }, path = net }, 22, "namespace.join%[1%] uts of " .. net)
    fails({ namespaces = { "uts" }, path = "/no/such" }, 2, "uts of /no/such: No such file")
    fails({ namespaces = { "uts" } }, 22, "one of path and fd")
    fails({ namespaces = { "net" }, path = net, fd = "x" }, 22, "one of path and fd", { x = pidfd })
    fails({ namespaces = {}, path = net }, 22, "no namespace")
    fails({ namespaces = { "net" }, fd = "empty" }, 9, "no descriptor in the slot")
    assert.has_error(function() t.core.check("namespace.join", { namespaces = { "net" }, path = "" }) end)
    assert.has_error(function() t.core.check("namespace.join", { namespaces = { "net" }, path = "a\0b" }) end)
    assert.has_error(function() t.core.check("namespace.join", { path = "/x" }) end,
      "namespace.join: option 'namespaces' is missing")
  end)

  it("refuses a pid namespace once the child is born", function()
    local ok, message = t.run(t.steps(t.contained {}, join({ "pid" },
      { path = ("/proc/%d/ns/pid"):format(target:pid()) })))
    assert.is_nil(ok)
    assert.matches("join before clone", message)
  end)
end)

describe("namespace.limit", function()
  if not t.needs("userns") then return end

  it("makes further user namespaces impossible", function()
    local try = "unshare -U true && echo made || echo refused"
    assert.equal("made\n", assert(t.run(t.contained { "user" }, { script = try .. " 2>/dev/null" })).output)
    local r = assert(t.run(t.steps(t.contained { "user" }, step("namespace.limit", {})), { script = try }))
    assert.matches("refused\n$", r.output)
    assert.matches("No space left on device", r.output)
  end)

  it("limits any kind, to any number", function()
    local r = assert(t.run(t.steps(t.contained { "user" },
      step("namespace.limit", { namespaces = { "mount", "net" }, max = 1 })),
      { script = "cat /proc/sys/user/max_mnt_namespaces /proc/sys/user/max_net_namespaces; " ..
        "unshare -m sh -c 'echo one; unshare -m true || echo no more' 2>/dev/null" }))
    assert.equal("1\n1\none\nno more\n", r.output)
  end)

  it("holds against root of a user namespace inside it, who can't raise it", function()
    -- the way of bubblewrap: one more user namespace, and none after it
    local me = t.core.identity()
    local r = assert(t.run({ step("clone", { "user" }),
      step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" }),
      step("namespace.limit", { max = 1 }), step("namespace.unshare", { "user" }),
      step("idmap", { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } }, setgroups = "deny" }, { side = "child" }) },
      { script = "id -u; (echo 99 > /proc/sys/user/max_user_namespaces) 2>/dev/null; unshare -U true 2>&1 || echo refused" }))
    assert.matches("^0\n.*refused\n$", r.output)
  end)

  it("is refused in the host's user namespace, which it would limit as a whole", function()
    local before = t.read_file("/proc/sys/user/max_user_namespaces")
    local ok, message, errno = t.run { step("namespace.limit", {}) }
    assert.is_nil(ok)
    assert.equal(1, errno)
    assert.matches("it would limit the host's", message)
    assert.equal(before, t.read_file("/proc/sys/user/max_user_namespaces"))
  end)
end)

describe("core.namespaces", function()
  it("tells the inodes that /proc has, of this process and of others", function()
    local here = assert(t.core.namespaces())
    for _, n in ipairs(names) do
      local st = t.core.lstat("/proc/self/ns/" .. file[n])
      assert.equal(st and tonumber(st.target:match("%d+")), here[n])
    end
    assert.same(here, t.core.namespaces(t.core.identity().pid))
    assert.same({ mount = here.mount }, t.core.namespaces(nil, "mount"))
    assert.equal(t.core.identity().euid, t.core.euid())
  end)

  it("says which process is not there, and takes no other number", function()
    local ok, message, errno = t.core.namespaces(4194304)
    assert.is_nil(ok)
    assert.matches("/proc/4194304/ns", message, 1, true)
    assert.equal(2, errno)
    assert.has_error(function() t.core.namespaces(0) end)
    assert.has_error(function() t.core.namespaces "self" end)
  end)
end)
