-- `linux.resources` of a configuration of the OCI runtime specification on pure cgroup v2.
local t = require "support"
local oci = require "support.bundle"

describe("a configuration's resources, on v2", function()
  if not t.needs("busybox", "root", "cgroup_v2") then return end

  local bundle
  local path = "/csnocivm-" .. t.getpid()

  setup(function() bundle = oci.bundle() end)
  teardown(function() bundle:close() end)

  local function files(r, names) return bundle:group_files(r, names, path) end

  it("are what the group's files have", function()
    assert.same({ "67108864", "33554432", "17" }, files({ memory = { limit = 67108864, reservation = 33554432 }, pids = { limit = 17 } },
      { "memory.max", "memory.low", "pids.max" }))
    assert.same({ "50000 80000", "50" }, files({ cpu = { shares = 512, quota = 50000, period = 80000 } }, { "cpu.max", "cpu.weight" }))
    assert.same({ "0", "0" }, files({ cpu = { cpus = "0", mems = "0" } }, { "cpuset.cpus", "cpuset.mems" }))
    assert.same({ "67108864" }, files({ unified = { ["memory.high"] = "67108864" } }, { "memory.high" }))
    assert.same({ "33554432" }, files({ memory = { limit = 67108864, swap = 100663296 } }, { "memory.swap.max" }))
    local message = bundle:fails("true", function(c) c.linux.resources.memory = { swappiness = 10 } end)
    assert.truthy(message:find("memory.swappiness", 1, true), message)
  end)

  it("a mount of cgroups is the one hierarchy, and with a namespace the container's group alone", function()
    local function look(cgroupns)
      return bundle:output("cat /proc/self/cgroup; wc -l < /sys/fs/cgroup/cgroup.procs; ls -d /sys/fs/cgroup/csnocivm* 2>/dev/null", function(c)
        c.linux.cgroupsPath = path
        table.insert(c.mounts, { destination = "/sys/fs/cgroup", type = "cgroup", source = "cgroup", options = { "nosuid", "ro" } })
        if cgroupns then table.insert(c.linux.namespaces, { type = "cgroup" }) end
      end)
    end
    assert.truthy(look(true):find("^0::/\n[12]\n$"), look(true))
    local out = look(false)
    assert.truthy(out:find("0::" .. path .. "\n", 1, true) and out:find("/sys/fs/cgroup" .. path, 1, true), out)
  end)

  it("device rules hold", function()
    local function try(rules)
      return bundle:output("head -c 0 /dev/kmsg 2>/dev/null && echo r", function(c)
        c.linux.devices = { { path = "/dev/kmsg", type = "c", major = 1, minor = 11, fileMode = 438 } }
        c.process.capabilities.effective, c.process.capabilities.permitted = { "CAP_SYSLOG" }, { "CAP_SYSLOG" }
        c.process.capabilities.bounding, c.linux.resources.devices = { "CAP_SYSLOG" }, rules
      end)
    end
    assert.equal("", try { { allow = false, access = "rwm" } })
    assert.equal("r\n", try { { allow = false, access = "rwm" }, { allow = true, type = "c", major = 1, minor = 11, access = "r" } })
  end)
end)
