local t = require "support"
local step = t.step

local function fails(errno, pattern, steps)
  local ok, message, e = t.run(steps)
  assert.is_nil(ok)
  assert.matches(pattern, message)
  assert.equal(errno, e, message)
end

describe("sysctl", function()
  if not t.needs("userns") then return end
  local own = t.contained { "net", "ipc", "uts" }

  local host = {}
  local function host_value(path) return t.read_file("/proc/sys/" .. path) end

  it("sets what is the container's, of net, ipc and uts, and leaves the host's", function()
    local values = { { "net.ipv4.ip_forward", "1" }, { "net.ipv4.ping_group_range", "0 0" }, { "kernel.shmmni", "77" },
      { "kernel.msgmax", "1234" }, { "kernel.sem", "32000 1024000000 500 3200" }, { "kernel.shm_rmid_forced", "1" },
      { "fs.mqueue.msg_max", "7" } }
    if t.is_root then -- these two the kernel leaves to the host's root; the steps hostname and domainname need him not
      values[#values + 1] = { "kernel.hostname", "boxed" }
      values[#values + 1] = { "kernel.domainname", "example" }
    end
    local steps, script = {}, {}
    for i, v in ipairs(values) do
      local path = v[1]:gsub("%.", "/")
      host[path] = host_value(path)
      steps[i] = step("sysctl", { name = v[1], value = v[2] })
      script[i] = "cat /proc/sys/" .. path
    end
    local r = assert(t.run(t.steps(own, steps), { script = table.concat(script, ";") }))
    local want = {}
    for i, v in ipairs(values) do want[i] = v[2]:gsub(" ", "\t") .. "\n" end
    assert.equal(table.concat(want), r.output)
    for path, v in pairs(host) do assert.equal(v, host_value(path)) end
  end)

  it("takes a device's name with a dot, written as a slash", function()
    local made = "ip link add veth.5 type veth peer name p5"
    local r = assert(t.run(t.steps(own, step("lua", { name = "device" }),
      step("sysctl", { "net.ipv4.conf.veth/5.forwarding", value = "1" })),
      { script = "cat /proc/sys/net/ipv4/conf/veth.5/forwarding",
        functions = { device = function() assert(os.execute(made .. " 2>/dev/null || " .. made)) end } }))
    assert.equal("1\n", r.output)
  end)

  it("refuses each without a namespace of the container's own, and changes nothing", function()
    for name, kind in pairs { ["net.ipv4.ip_forward"] = "net", ["kernel.shmmni"] = "ipc", ["kernel.hostname"] = "uts",
      ["fs.mqueue.msg_max"] = "ipc", ["user.max_user_namespaces"] = "user" } do
      local before = host_value((name:gsub("%.", "/")))
      local others = { "net", "ipc", "uts", "mount" }
      for i, o in ipairs(others) do if o == kind then table.remove(others, i) break end end
      local steps = t.contained(others)
      if kind == "user" then
        if not t.is_root then steps = {} end
      end
      fails(1, "the container needs a " .. kind .. " namespace of its own",
        t.steps(steps, step("sysctl", { name = name, value = "1" })))
      assert.equal(before, host_value((name:gsub("%.", "/"))))
    end
  end)

  it("are told by their namespace before they are set", function()
    for name, kind in pairs { ["net.ipv4.ip_forward"] = "net", ["kernel.sem"] = "ipc", ["kernel.hostname"] = "uts",
      ["fs.mqueue.msg_max"] = "ipc", ["user.max_user_namespaces"] = "user" } do
      assert.equal(kind, t.core.sysctl_namespace(name))
    end
    for _, name in ipairs { "kernel.core_pattern", "kernel.semx", "net", "net.", "", "vm.swappiness" } do
      assert.is_nil(t.core.sysctl_namespace(name))
    end
    assert.has_error(function() t.core.sysctl_namespace() end)
  end)

  it("refuses what no namespace has for its own", function()
    for _, name in ipairs { "kernel.core_pattern", "vm.overcommit_memory", "kernel.pid_max", "fs.file-max", "kernel.shm",
      "kernel.shmmnix", "kernel", "net", "fs.mqueue", "kernel.hostname.x", "kernel.sysrq", "user", "Net.ipv4.ip_forward", "dev.x" } do
      fails(1, "no namespace has it for its own", t.steps(own, step("sysctl", { name = name, value = "1" })))
    end
  end)

  it("refuses names that would lead elsewhere", function()
    for _, name in ipairs { "net...kernel.core_pattern", "net.", "net..ipv4", "net.ipv4.", "net./.x", "net.//x",
      "net.ipv4/", "net." .. ("x"):rep(600), "net.ipv4./../../kernel" } do
      local ok, message, errno = t.run(t.steps(own, step("sysctl", { name = name, value = "1" })))
      assert.is_nil(ok, name)
      assert.truthy(errno == 22 or errno == 36 or errno == 2 or errno == 1, message)
    end
    fails(2, "/proc/sys/net/ipv4/no_such: No such file", t.steps(own, step("sysctl", { "net.ipv4.no_such", value = "1" })))
  end)

  it("refuses a value that the kernel refuses", function()
    fails(22, "/proc/sys/net/ipv4/ip_forward: Invalid argument", t.steps(own, step("sysctl", { "net.ipv4.ip_forward", value = "yes" })))
  end)

  it("is not taken in by a namespace joined by its path that is the host's own", function()
    local join = step("namespace.join", { namespaces = { "net" }, path = "/proc/self/ns/net" })
    if not t.needs("root") then return end
    local before = host_value("net/ipv4/ip_forward")
    fails(1, "the container needs a net namespace", { join, step("clone", { "uts" }),
      step("sysctl", { "net.ipv4.ip_forward", value = "1" }) })
    assert.equal(before, host_value("net/ipv4/ip_forward"))
  end)

  it("sets those of a namespace that was joined", function()
    local plan = t.core.plan(t.steps(own, step("exec", { argv = { "sleep", "20" } })))
    local p = assert(t.core.spawn { plan = plan })
    local kinds = t.is_root and { "net" } or { "user", "net" }
    local r = assert(t.run({ step("namespace.join", { namespaces = kinds, fd = "target" }), step("clone", {}),
      step("sysctl", { "net.ipv4.ip_forward", value = "1" }) },
      { slots = { target = p:pidfd() }, script = "cat /proc/sys/net/ipv4/ip_forward" }))
    assert.equal("1\n", r.output)
    p:close()
  end)

  it("goes through the procfs of the slot, and to no other file system", function()
    local lie = { lie = function()
      assert(os.execute("mount --make-rprivate / 2>/dev/null; mount -t tmpfs lie /proc && " ..
        "mkdir -p /proc/sys/net/ipv4 && echo 0 > /proc/sys/net/ipv4/ip_forward"))
    end }
    local steps = t.contained { "net", "mount", "pid" }
    local set = step("sysctl", { "net.ipv4.ip_forward", value = "1" })
    local ok, message, errno = t.run(t.steps(steps, step("lua", { name = "lie" }), set), { functions = lie })
    assert.is_nil(ok)
    assert.equal(95, errno, message)
    local r = assert(t.run(t.steps(steps, step("procfs"), step("lua", { name = "lie" }), set),
      { functions = lie, script = "mount -t proc proc /proc && cat /proc/sys/net/ipv4/ip_forward" }))
    assert.equal("1\n", r.output)
  end)

  it("has no room for a host's own on the parent's side", function()
    local set = step("sysctl", { "net.ipv4.ip_forward", value = "1" }, { side = "parent" })
    fails(1, "the container needs a net namespace", t.steps(own, set))
  end)

  it("takes strings alone", function()
    for _, bad in ipairs { 1, true, {}, "1\0" } do
      assert.has_error(function() t.core.check("sysctl", { name = "net.x", value = bad }) end)
      assert.has_error(function() t.core.check("sysctl", { name = bad, value = "1" }) end)
    end
    assert.has_error(function() t.core.check("sysctl", { "net.x" }) end, "sysctl: option 'value' is missing")
  end)
end)

describe("net.loopback", function()
  if not t.needs("userns") then return end

  it("brings lo up, which then has its addresses", function()
    local script = "ip -br addr show lo"
    local down = assert(t.run(t.contained { "net" }, { script = script })).output
    local up = assert(t.run(t.steps(t.contained { "net" }, step("net.loopback")), { script = script })).output
    assert.matches("^lo%s+DOWN%s*\n", down)
    assert.matches("^lo%s+UNKNOWN%s+127%.0%.0%.1/8", up)
  end)

  it("is content where it is up", function()
    assert(t.run(t.steps(t.contained { "net" }, step("net.loopback"), step("net.loopback"))))
  end)

  it("fails without the right to", function()
    local ok, _, errno = t.run(t.steps(t.contained { "user", "net" },
      step("capabilities", { permitted = {}, effective = {} }), step("net.loopback")))
    assert.is_nil(ok)
    assert.equal(1, errno)
  end)

  it("takes no options", function()
    assert.has_error(function() t.core.check("net.loopback", { name = "lo" }) end)
  end)
end)
