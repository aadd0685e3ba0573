-- core.ahead: a runner that is started before its plan is there.
local t = require "support"
local core = t.core

describe("core.ahead", function()
  if not t.is_root and not t.needs "userns" then return end

  local function children()
    local list = {}
    for pid in (t.read_file(("/proc/self/task/%d/children"):format(t.getpid())) or ""):gmatch("%d+") do list[#list + 1] = pid end
    return list
  end

  -- What a program in these namespaces writes, and how it ends.
  local function run(namespaces, script, opts)
    opts = opts or {}
    opts.script = script
    return t.run(t.steps(t.contained(namespaces), opts.steps or {}), opts)
  end

  before_each(function() assert.same({}, children()) end)
  after_each(function()
    core.ahead(false)
    assert.same({}, children())
  end)

  it("is there, and is what the next run takes", function()
    assert.is_true(core.ahead())
    local before = children()
    assert.equal(1, #before)
    assert.is_true(core.ahead()) -- the same
    assert.same(before, children())
    local r = assert(run({ "mount" }, "echo here; exit 3"))
    assert.equal("here\n", r.output)
    assert.equal(3, r.code)
    assert.same({}, children())
    assert.equal("again\n", assert(run({ "mount" }, "echo again")).output) -- and there is none any more
  end)

  it("hands its descriptors over, and no others", function()
    local list = "for f in /proc/self/fd/*; do echo ${f##*/} $(readlink $f); done"
    local function seen()
      local extra = assert(core.open "/dev/zero")
      local r = assert(run({ "mount" }, list, { files = { "stdin", "stdout", "stdout", "extra" }, slots = { extra = extra } }))
      extra:close()
      return (r.output:gsub("%[%d+%]", ""):gsub("/%d+/", "/N/"))
    end
    local plain = seen()
    assert.matches("\n3 /dev/zero\n", plain)
    core.ahead()
    assert.equal(plain, seen())
  end)

  it("has been made the namespaces of the child", function()
    if not t.is_root then return pending "needs root: a user namespace is to own them" end
    assert.is_true(core.ahead { "net", "ipc", "uts" })
    local pid = children()[1]
    local deadline = core.now() + 5e9
    local made
    repeat made = t.namespace("uts", pid) until made ~= t.namespace "uts" or core.now() > deadline
    assert.not_equal(t.namespace "uts", made)
    local r = assert(run({ "net", "ipc", "uts", "pid" },
      "readlink /proc/self/ns/uts /proc/self/ns/net /proc/self/ns/ipc; hostname; cat /proc/net/dev",
      { steps = { t.step("hostname", "elsewhere") } }))
    local uts, net, ipc, name, devices = r.output:match("^(uts:%S+)\n(net:%S+)\n(ipc:%S+)\n(%S+)\n(.*)")
    assert.equal(made, uts)
    assert.not_equal(t.namespace "net", net)
    assert.not_equal(t.namespace "ipc", ipc)
    assert.equal("elsewhere", name)
    assert.not_equal("elsewhere\n", t.read_file "/proc/sys/kernel/hostname")
    assert.equal(1, select(2, devices:gsub("\n%s*[%w.]+:", "")))
    assert.matches("\n%s*lo:", devices)
  end)

  it("is ended by a plan that wants other namespaces", function()
    core.ahead { "net" }
    assert.equal(t.namespace "net" .. "\n", assert(run({ "mount" }, "readlink /proc/self/ns/net")).output)
    core.ahead { "net" }
    -- a user namespace is to own it: with its own capabilities the link can be set
    local r = assert(run({ "user", "net" }, "ip link set lo up 2>&1; echo $?; ip link show lo | grep -o UP,LOWER_UP"))
    assert.equal("0\nUP,LOWER_UP\n", r.output)
  end)

  it("is not what a fork uses, and one that has died is no harm", function()
    core.ahead()
    assert.equal("forked\n", assert(run({ "mount" }, "echo forked", { fork = true })).output)
    assert.same({}, children())
    core.ahead()
    local pid = children()[1]
    core.signal.send(tonumber(pid), "KILL")
    while not t.read_file("/proc/" .. pid .. "/stat"):find(") Z", 1, true) do core.poll({}, 0.01) end
    assert.equal("here\n", assert(run({ "mount" }, "echo here")).output)
  end)

  it("can be begun again while the last one is on its way", function()
    for _ = 1, 50 do
      core.ahead()
      local process = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "/bin/true" } }) },
        meanwhile = function() core.ahead() end })
      assert.equal(0, process:wait(10).code)
      process:close()
      core.ahead(false)
    end
  end)

  it("ends with its Lua state", function()
    local out = t.host([[
      local core = require "caisson.core"
      core.ahead()
      local f = io.open("/proc/self/task/" .. core.identity().pid .. "/children")
      io.write(f:read("*a"))
      os.exit(true, true)]])
    local pid = assert(out:match("%d+"), out)
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end -- its os.exit closes no state
    assert.is_nil((core.lstat("/proc/" .. pid)))
  end)

  it("fails as any other does", function()
    local messages = {}
    for i, ahead in ipairs { false, true } do
      if ahead then core.ahead { "net" } end
      local none, message, errno, failure = run({ "net", "mount" }, "true", { steps = { t.step("chdir", { path = "/nowhere" }) } })
      assert.is_nil(none)
      assert.equal(core.errno.ENOENT, errno)
      assert.equal("chdir", failure.step)
      messages[i] = message
      assert.same({}, children())
    end
    assert.equal(messages[1], messages[2])
  end)

  it("ends with the process that has started it", function()
    local out = t.host([[
      local core = require "caisson.core"
      core.ahead { "uts" }
      local f = io.open("/proc/self/task/" .. core.identity().pid .. "/children")
      print(f:read("*a"))]])
    local pid = assert(out:match("%d+"), out)
    local deadline = core.now() + 5e9
    while core.lstat("/proc/" .. pid) and core.now() < deadline do core.poll({}, 0.01) end
    assert.is_nil((core.lstat("/proc/" .. pid)))
  end)

  it("stands above closed standard streams", function()
    local path = os.tmpname()
    t.sh(t.lua_command(([[
      local core = require "caisson.core"
      core.ahead()
      for fd = 0, 2 do assert(not core.files.stat(fd)) end
      local r, w = core.pipe()
      local p = assert(core.spawn { plan = core.plan { { step = "clone", options = {} },
        { step = "exec", options = { argv = { "/bin/sh", "-c", "read line; echo $line whole" }, files = { "input", "out" } } } },
        slots = { input = core.memfd("input", "is\n"), out = w } })
      w:close()
      local text = r:read()
      p:wait(10)
      local f = io.open(%q, "w")
      f:write(text)
      f:close()]]):format(path)):gsub("; rm", " 0<&- 1>&- 2>&-; rm"))
    assert.equal("is whole\n", t.read_file(path))
    os.remove(path)
  end)

  it("refuses what can't be made ahead", function()
    assert.has_error(function() core.ahead { "pid" } end, "'pid' can't be made ahead: net, ipc or uts expected")
    assert.has_error(function() core.ahead(true) end)
  end)
end)
