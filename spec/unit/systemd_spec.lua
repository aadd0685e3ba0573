-- What is told to systemd, as data; spec/systemd/ has what it then does.
local systemd = require "caisson.systemd"
local properties = require "caisson.systemd.properties"

describe("systemd.parse_cgroups_path", function()
  it("reads slice, prefix and name as OCI's cgroupsPath has them", function()
    assert.same({ driver = "systemd", slice = "machine.slice", scope = "libpod-12ab.scope" },
      systemd.parse_cgroups_path("machine.slice:libpod:12ab"))
    assert.same({ driver = "systemd", scope = "runc-box.scope" }, systemd.parse_cgroups_path(":runc:box"))
    assert.same({ driver = "systemd", slice = "a-b.slice", scope = "box.scope" }, systemd.parse_cgroups_path("a-b.slice::box"))
    assert.same({ driver = "systemd", slice = "-.slice", scope = "cri-x.scope" }, systemd.parse_cgroups_path("-:cri:x"))
  end)

  it("escapes what a unit's name can't have", function()
    assert.equal("runc-a\\x2bb.scope", systemd.parse_cgroups_path(":runc:a+b").scope)
  end)

  it("refuses what is no such path, by name", function()
    for text, why in pairs {
      ["/a/b"] = "slice:prefix:name expected", ["a:b"] = "slice:prefix:name expected", ["a:b:c:d"] = "slice:prefix:name expected",
      ["x.slice:a:"] = "is empty", ["x.slice:a:y.slice"] = "a slice holds no processes", ["x:a:b"] = ".slice at its end",
      ["a--b.slice:a:b"] = "single dashes", ["/x.slice:a:b"] = "letters, digits",
      [":a:" .. ("x"):rep(300)] = "more than 239 bytes" } do
      local r, message = systemd.parse_cgroups_path(text)
      assert.is_nil(r)
      assert.truthy(message:find(why, 1, true), text .. ": " .. message)
    end
  end)
end)

describe("systemd.properties.annotated", function()
  it("reads properties of the scope out of annotations, as runc does", function()
    assert.same({ "After as a.service b.target", "CollectMode s inactive", "IOWeight t 50", "OOMScore i -5",
      "RuntimeMaxUSec t 5000000", "SendSIGHUP b 1", "TimeoutStopUSec t 12" }, properties.annotated {
      ["org.systemd.property.SendSIGHUP"] = "true", ["org.systemd.property.CollectMode"] = "'inactive'",
      ["org.systemd.property.IOWeight"] = "uint64 50", ["org.systemd.property.OOMScore"] = "-5",
      ["org.systemd.property.RuntimeMaxSec"] = "5", ["org.systemd.property.TimeoutStopUSec"] = "uint64 12",
      ["org.systemd.property.After"] = "['a.service', \"b.target\"]", ["org.other"] = "x" })
    assert.same({}, properties.annotated(nil))
    for key, text in pairs { X = "nonsense", ["x y"] = "true", RuntimeMaxSec = "'a'", After = "['a', b]" } do
      local list, message = properties.annotated { ["org.systemd.property." .. key] = text }
      assert.is_nil(list)
      assert.truthy(message:find("org.systemd.property." .. key, 1, true), message)
    end
  end)
end)

describe("systemd.properties.of_writes", function()
  local function of(file, value) return table.concat(properties.of_writes { { file, value } }, "; ") end

  it("has for each file that systemd writes what it is to be told", function()
    for file, pairs_of in pairs {
      ["memory.max"] = { ["67108864"] = "MemoryMax t 67108864", max = "MemoryMax t 18446744073709551615",
        ["64M"] = "MemoryMax t 67108864" },
      ["memory.high"] = { ["1"] = "MemoryHigh t 1" }, ["memory.low"] = { ["1"] = "MemoryLow t 1" },
      ["memory.min"] = { ["1"] = "MemoryMin t 1" }, ["memory.swap.max"] = { ["0"] = "MemorySwapMax t 0" },
      ["memory.zswap.max"] = { ["0"] = "253:MemoryZSwapMax t 0" },
      ["pids.max"] = { ["20"] = "TasksMax t 20" },
      ["cpu.weight"] = { ["50"] = "CPUWeight t 50" }, ["cpu.idle"] = { ["1"] = "252:CPUWeight t 0", ["0"] = "" },
      ["cpu.max"] = { ["50000 100000"] = "CPUQuotaPerSecUSec t 500000; CPUQuotaPeriodUSec t 100000",
        ["15500 50000"] = "CPUQuotaPerSecUSec t 310000; CPUQuotaPeriodUSec t 50000",
        ["10001 100000"] = "CPUQuotaPerSecUSec t 110000; CPUQuotaPeriodUSec t 100000",
        ["max 100000"] = "CPUQuotaPerSecUSec t 18446744073709551615; CPUQuotaPeriodUSec t 100000" },
      ["cpuset.cpus"] = { ["0-3,9"] = "AllowedCPUs ay 0f02", ["1"] = "AllowedCPUs ay 02" },
      ["cpuset.mems"] = { ["0"] = "AllowedMemoryNodes ay 01", ["16"] = "AllowedMemoryNodes ay 000001" },
      ["io.weight"] = { ["default 200"] = "IOWeight t 200", ["8:0 300"] = "IODeviceWeight a(st) /dev/block/8:0 300" },
      ["io.bfq.weight"] = { ["default 1000"] = "IOWeight t 10000", ["default 50"] = "IOWeight t 50" },
      ["io.max"] = { ["8:0 rbps=1000 wiops=max"] = "IOReadBandwidthMax a(st) /dev/block/8:0 1000; " ..
        "IOWriteIOPSMax a(st) /dev/block/8:0 18446744073709551615" },
      ["io.latency"] = { ["8:0 target=500"] = "IODeviceLatencyTargetUSec a(st) /dev/block/8:0 500" },
      ["hugetlb.2MB.max"] = { ["0"] = "" },
    } do
      for value, told in pairs(pairs_of) do assert.equal(told, of(file, value), file .. " = " .. value) end
    end
  end)

  it("leaves to the kernel what it can't read", function()
    for _, file in ipairs { "memory.max", "cpu.max", "cpu.weight", "cpuset.cpus", "io.max", "io.weight", "io.latency", "pids.max" } do
      for _, value in ipairs { "nonsense", "8:0 x=1", "-1", "0-99999999999", "" } do properties.of_writes { { file, value } } end
    end
  end)

  it("has device rules as a list of what is allowed, where it can", function()
    local devices = require "caisson.cgroup.devices"
    local list = properties.of_devices(devices.all { { allow = true, type = "b", major = 8, minor = 1, access = "r" } })
    assert.same({ "DevicePolicy s strict", "DeviceAllow a(ss)" }, { list[1], list[2] })
    assert.equal("DeviceAllow a(ss) /dev/block/8:1 r", list[#list])
    for _, rules in ipairs { { { allow = true } }, { { allow = false, type = "c", major = 1, minor = 3 } },
      { { allow = true, type = "c", major = "*", minor = 5 } } } do
      assert.same({ "DevicePolicy s auto", "DeviceAllow a(ss)" }, properties.of_devices(devices.all(rules)))
    end
  end)
end)

describe("cgroup = { driver = 'systemd' }", function()
  local cgroup = require "caisson.cgroup"
  local v2 = { version = 2, mount = "/sys/fs/cgroup", own = "/sys/fs/cgroup", path = "/", controllers = {}, mount_controllers = {} }

  local function compile(t, env, id)
    t.driver = "systemd"
    local e = { hierarchies = { v2 }, euid = 0, booted = true, uid_map = "0 0 4294967295", delegated = "cpu memory pids",
      writable = function() return true end }
    for k, v in pairs(env or {}) do e[k] = v end
    return cgroup.compile(t, e, nil, id)
  end

  it("is a scope around the child, then its limits", function()
    local c = compile({ memory = { max = "64M" }, pids = { max = 5 }, slice = "a.slice" }, nil, "x+y")
    local scope = c.after[1]
    assert.same({ "systemd.scope", "parent", "caisson-x\\x2by-*.scope" }, { scope.step, scope.side, scope.options.unit })
    local said = "\n" .. table.concat(scope.options.properties, "\n") .. "\n"
    for _, p in ipairs { "Slice s a.slice", "Delegate b 1", "DefaultDependencies b 0", "MemoryMax t 67108864", "TasksMax t 5",
      "CollectMode s inactive-or-failed", "Description s caisson container x+y" } do
      assert.truthy(said:find("\n" .. p .. "\n", 1, true), p)
    end
    assert.same({ file = "memory.max", value = "67108864", group = "cgroup" }, c.after[2].options)
    assert.is_nil(c.slot)
    local own = compile({ properties = { "CollectMode s inactive", "OOMPolicy s continue" } }).after[1].options.properties
    said = "\n" .. table.concat(own, "\n") .. "\n"
    assert.truthy(said:find("\nCollectMode s inactive\nOOMPolicy s continue\n", 1, true), said)
    assert.falsy(said:find("inactive-or-failed", 1, true))
    for _, wrong in ipairs { "x", { "PIDs au 1" }, { "CollectMode" }, { 1 }, { x = "A s b" } } do
      assert.is_false(pcall(compile, { properties = wrong }))
    end
    assert.same({}, c.before)
  end)

  it("says what can't be had, and why", function()
    local function missing(t, env) return compile(t, env).missing[1] end
    assert.truthy(missing({}, { booted = false }).message:find("no /run/systemd/system", 1, true))
    assert.truthy(missing({}, { hierarchies = {} }).message:find("no cgroup v2", 1, true))
    assert.truthy(missing({ cpuset = { cpus = "0" } }).message:find("does not list the cpuset controller", 1, true))
    assert.truthy(missing({ memory = { swappiness = 1 } }).message:find("cgroup v2 has no such limit", 1, true))
    assert.truthy(missing({ memory = { max = 1 } }, { hierarchies = { v2, { version = 1, controllers = { "memory" } } } })
      .message:find("on cgroup v1 here", 1, true))
    assert.truthy(missing({ devices = {} }, { euid = 1000, uid_map = "0 0 4294967295" }).message:find("only root", 1, true))
    assert.is_true(compile({}, { euid = 0, uid_map = "0 1000 1" }).groups[1].user)
    local without = compile({ optional = true, memory = { max = 1 } }, { booted = false })
    assert.same({ {}, {}, true }, { without.after, without.missing, without.unlimited.driver ~= nil })
    local optional = compile({ cpuset = { cpus = "0", optional = true } })
    assert.same({ 0, true }, { #optional.missing, optional.unlimited.cpuset ~= nil })
  end)

  it("is refused with what is not systemd's, and the other way round", function()
    for message, t in pairs { ["slice and scope say where"] = { driver = "systemd", path = "/x" },
      ["it is of systemd's"] = { slice = "a.slice" }, ["unknown driver"] = { driver = "sysd" },
      [".scope at its end"] = { driver = "systemd", scope = "x" }, [".slice at its end"] = { driver = "systemd", slice = "x" } } do
      local ok, e = pcall(cgroup.compile, t, { hierarchies = { v2 }, euid = 0, booted = true, uid_map = "0 0 4294967295",
        writable = function() return true end })
      assert.is_false(ok)
      assert.truthy(e.message:find(message, 1, true), e.message)
    end
  end)
end)
