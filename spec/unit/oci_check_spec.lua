-- The check of configurations: what is good, what is bad and by which name, and each property of the schemas.
local document = require "caisson.oci.document"
local jsonschema = require "support.jsonschema"

-- A document of these parts: { "linux", "devices", 1, "path" } as "linux.devices[1].path".
local function with(path, value)
  local doc = { ociVersion = "1.2.0" }
  local at, key = doc, nil
  for name in path:gmatch "[^.%[%]]+" do
    if key then
      at[key] = at[key] or {}
      at = at[key]
    end
    key = tonumber(name) or name
  end
  at[key] = value
  return doc
end

local function accepted(doc)
  local ok, message, warnings = document.check(doc)
  assert.same({ true, nil }, { ok, message })
  return warnings
end

-- The message names the field, which is at least the beginning of the one it names.
local function refused(doc, field, pattern)
  local ok, message = document.check(doc)
  assert.is_nil(ok, field .. " is accepted")
  local name = message:match "^([^:]+): "
  assert.equal(field, name, message)
  if pattern then assert.truthy(message:find(pattern), message) end
end

describe("oci.document.check", function()
  it("takes the least configuration, and one with everything", function()
    assert.same({}, accepted { ociVersion = "1.0.0", root = { path = "rootfs" } })
    assert.same({}, accepted(assert(document.decode [[{
      "ociVersion": "1.3.0", "root": { "path": "rootfs", "readonly": true }, "hostname": "a", "domainname": "b.c",
      "process": { "terminal": true, "consoleSize": { "height": 25, "width": 80 }, "cwd": "/", "args": ["sh"], "env": ["A=", "B=b=c"],
        "user": { "uid": 4294967294, "gid": 0, "umask": 18, "additionalGids": [5, 6] }, "noNewPrivileges": true,
        "capabilities": { "bounding": ["CAP_KILL"], "effective": [], "permitted": ["CAP_BPF"], "inheritable": [], "ambient": [] },
        "rlimits": [ { "type": "RLIMIT_NOFILE", "soft": 18446744073709551614, "hard": 18446744073709551615 } ],
        "apparmorProfile": "p", "selinuxLabel": "a:b:c:d", "oomScoreAdj": -1000, "ioPriority": { "class": "IOPRIO_CLASS_RT", "priority": 7 },
        "scheduler": { "policy": "SCHED_DEADLINE", "runtime": 18446744073709551615, "deadline": 1, "period": 2, "flags": ["SCHED_FLAG_RECLAIM"] },
        "execCPUAffinity": { "initial": "0-3,7", "final": "" } },
      "mounts": [ { "destination": "/a", "type": "none", "source": "/b", "options": ["rbind", "ro", "x=y"],
        "uidMappings": [ { "containerID": 0, "hostID": 4294967295, "size": 1 } ],
        "gidMappings": [ { "containerID": 0, "hostID": 0, "size": 4294967295 } ] } ],
      "hooks": { "prestart": [], "createRuntime": [ { "path": "/x", "args": ["x", ""], "env": ["A=b"], "timeout": 1 } ],
        "createContainer": [], "startContainer": [], "poststart": [], "poststop": [] },
      "annotations": { "a": "", "org.x": "17" },
      "linux": {
        "namespaces": [ { "type": "pid" }, { "type": "network", "path": "/proc/1/ns/net" }, { "type": "time", "path": "" } ],
        "uidMappings": [ { "containerID": 0, "hostID": 1000, "size": 1 } ], "gidMappings": [],
        "devices": [ { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0 },
          { "path": "/dev/z", "type": "c", "major": 1, "minor": 5, "fileMode": 8630 }, { "path": "/dev/p", "type": "p" }, { "path": "/dev/u", "type": "u", "major": 4095, "minor": 1048575 } ],
        "netDevices": { "eth0": { "name": "lan%d" }, "eth1": {} },
        "cgroupsPath": "system.slice:runc:x", "rootfsPropagation": "rslave", "mountLabel": "a:b:c:d",
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": [], "sysctl": { "net/ipv4/ip_forward": "1", "kernel.shmmax": "" },
        "resources": {
          "devices": [ { "allow": false }, { "allow": true, "type": "c", "major": -1, "minor": 5, "access": "rw" } ],
          "memory": { "limit": -1, "reservation": 9223372036854775807, "swap": 0, "kernel": -1, "kernelTCP": -1, "swappiness": 100,
            "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true },
          "cpu": { "shares": 2, "quota": -1, "burst": 0, "period": 18446744073709551615, "realtimeRuntime": 1, "realtimePeriod": 2,
            "cpus": "0-3,5", "mems": "", "idle": 1 },
          "pids": { "limit": 0 }, "network": { "classID": 4294967295, "priorities": [ { "name": "eth0", "priority": 500 } ] },
          "blockIO": { "weight": 10, "leafWeight": 1000, "weightDevice": [ { "major": 8, "minor": 0, "leafWeight": 500 } ],
            "throttleReadBpsDevice": [ { "major": 8, "minor": 0, "rate": 18446744073709551615 } ], "throttleWriteBpsDevice": [],
            "throttleReadIOPSDevice": [], "throttleWriteIOPSDevice": [] },
          "hugepageLimits": [ { "pageSize": "2MB", "limit": 9223372036854772000 }, { "pageSize": "64KB", "limit": 0 } ],
          "rdma": { "mlx5_1": { "hcaHandles": 3 } }, "unified": { "hugetlb.1GB.rsvd.max": "max" } },
        "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_LOONGARCH64"],
          "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "listenerPath": "/run/x", "listenerMetadata": "y",
          "syscalls": [ { "names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 4294967295, "args": [
            { "index": 5, "value": 18446744073709551615, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" } ] } ] },
        "intelRdt": { "closID": "/", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f\nMB:0=5", "memBwSchema": "MB:0=50",
          "enableMonitoring": true },
        "memoryPolicy": { "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"] },
        "personality": { "domain": "LINUX32", "flags": [] },
        "timeOffsets": { "monotonic": { "secs": -9223372036854775808, "nanosecs": 999999999 }, "boottime": {} } } }]])))
  end)

  it("takes every version of the specification's that keeps its promises", function()
    for _, v in ipairs { "1.0.0", "1.0.2-dev", "1.1.0-rc.1", "1.2.1", "1.3.0+dev", "1.99.7-alpha.1+x-y" } do
      assert.same({}, accepted { ociVersion = v })
    end
    assert.equal(1, #accepted { ociVersion = "0.5.0-dev" })
    for _, v in ipairs { "2.0.0", "1", "1.0", "", "v1.0.0", "1.0.0.0", "1.00.0", "1.0.0-", "1.0.0-a..b", "-1.0.0", "1.0.0 " } do
      refused({ ociVersion = v }, "ociVersion")
    end
    refused({}, "ociVersion", "is required")
    refused({ ociVersion = 1 }, "ociVersion", "string expected, got 1")
  end)

  it("warns of what the specification wants no error for", function()
    assert.same({
      "linux.capabilties: unknown property",
      "linux.resourcs: unknown property (did you mean 'resources'?)",
      "vm: is of another platform, and not looked at",
      "x: unknown property",
    }, accepted { ociVersion = "1.0.0", linux = { resourcs = 1, capabilties = {} }, vm = {}, x = true })
    assert.same({ "process.capabilities.bounding[1]: there is no capability 'CAP_SYS_ADMN' (did you mean 'CAP_SYS_ADMIN'?)" },
      accepted { ociVersion = "1.0.0", process = { cwd = "/", capabilities = { bounding = { "CAP_SYS_ADMN" } } } })
    assert.same({ "mounts[1].destination: is relative, and read from /" },
      accepted { ociVersion = "1.0.0", mounts = { { destination = "a", type = "proc" } } })
    for _, platform in ipairs { "windows", "solaris", "zos", "freebsd" } do
      assert.equal(1, #accepted { ociVersion = "1.0.0", [platform] = { any = { thing = 1 } } })
      refused({ ociVersion = "1.0.0", [platform] = "x" }, platform)
    end
  end)

  for _, case in ipairs {
    { "process", { args = { "sh" } }, "process.cwd", "is required" },
    { "process", { cwd = "" }, "process.cwd", "empty" },
    { "process", { cwd = "tmp" }, "process.cwd", "absolute" },
    { "process", { cwd = "/", env = { "A" } }, "process.env[1]", "NAME=VALUE expected, got 'A'" },
    { "process", { cwd = "/", env = { "=A" } }, "process.env[1]" },
    { "process", { cwd = "/", args = { "a", 1 } }, "process.args[2]", "string expected, got 1" },
    { "process", { cwd = "/", args = { "a\0b" } }, "process.args[1]", "NUL" },
    { "process", { cwd = "/", args = { x = "a" } }, "process.args", "a list expected, got an object" },
    { "process", { cwd = "/", user = { uid = -1 } }, "process.user.uid", "from 0 to 4294967295 expected, got %-1" },
    { "process", { cwd = "/", user = { umask = 512 } }, "process.user.umask" },
    { "process", { cwd = "/", user = { additionalGids = { 0, "a" } } }, "process.user.additionalGids[2]" },
    { "process", { cwd = "/", consoleSize = { height = 1 } }, "process.consoleSize.width", "required" },
    { "process", { cwd = "/", oomScoreAdj = 1001 }, "process.oomScoreAdj" },
    { "process", { cwd = "/", rlimits = { { type = "RLIMIT_NOFILES", soft = 1, hard = 1 } } }, "process.rlimits[1].type", "mean 'RLIMIT_NOFILE'" },
    { "process", { cwd = "/", rlimits = { { type = "RLIMIT_AS", soft = 2, hard = 1 } } }, "process.rlimits[1].soft", "above" },
    { "process", { cwd = "/", rlimits = { { type = "RLIMIT_AS", soft = "18446744073709551615", hard = "18446744073709551614" } } },
      "process.rlimits[1].soft" },
    { "process", { cwd = "/", rlimits = { { type = "RLIMIT_AS", soft = 1, hard = 1 }, { type = "RLIMIT_AS", soft = 1, hard = 1 } } },
      "process.rlimits[2].type", "twice" },
    { "process", { cwd = "/", scheduler = { policy = "SCHED_FIF" } }, "process.scheduler.policy", "SCHED_FIFO" },
    { "process", { cwd = "/", scheduler = { policy = "SCHED_OTHER", priority = 1 } }, "process.scheduler.priority" },
    { "process", { cwd = "/", scheduler = { policy = "SCHED_RR", priority = 100 } }, "process.scheduler.priority" },
    { "process", { cwd = "/", scheduler = { policy = "SCHED_RR", runtime = 5 } }, "process.scheduler.runtime" },
    { "process", { cwd = "/", scheduler = { nice = 1 } }, "process.scheduler.policy", "required" },
    { "process", { cwd = "/", ioPriority = { class = "IOPRIO_CLASS_NONE" } }, "process.ioPriority.class" },
    { "process", { cwd = "/", ioPriority = { class = "IOPRIO_CLASS_BE", priority = 8 } }, "process.ioPriority.priority" },
    { "process", { cwd = "/", execCPUAffinity = { initial = "a" } }, "process.execCPUAffinity.initial" },
    { "root", {}, "root.path", "required" },
    { "root", { path = "" }, "root.path", "empty" },
    { "root", { path = "/", readonly = "yes" }, "root.readonly", "true or false expected, got 'yes'" },
    { "hostname", ("a"):rep(65), "hostname", "longer" },
    { "mounts[1]", { source = "/" }, "mounts[1].destination", "required" },
    { "mounts[1]", { destination = "/", uidMappings = { { containerID = 0, hostID = 0, size = 1 } } }, "mounts[1].gidMappings", "beside" },
    { "mounts[1]", { destination = "/", options = "ro" }, "mounts[1].options", "a list" },
    { "hooks.prestart[1]", { path = "x" }, "hooks.prestart[1].path", "absolute" },
    { "hooks.poststop[1]", { path = "/x", timeout = 0 }, "hooks.poststop[1].timeout" },
    { "annotations", { [""] = "x" }, "annotations." },
    { "annotations", { x = 1 }, "annotations.x" },
    { "linux.namespaces[1].type", "net", "linux.namespaces[1].type" },
    { "linux.namespaces", { { type = "pid" }, { type = "pid" } }, "linux.namespaces[2].type", "twice" },
    { "linux.namespaces", { { type = "pid", path = "proc/1" } }, "linux.namespaces[1].path", "absolute" },
    { "linux.uidMappings[1]", { containerID = 0, hostID = 0 }, "linux.uidMappings[1].size" },
    { "linux.devices[1]", { path = "/dev/x", type = "c", major = 1 }, "linux.devices[1].minor", "required" },
    { "linux.devices[1]", { path = "/dev/x", type = "d" }, "linux.devices[1].type" },
    { "linux.devices[1]", { path = "x", type = "p" }, "linux.devices[1].path" },
    { "linux.devices[1]", { path = "/x", type = "p", fileMode = 32768 }, "linux.devices[1].fileMode" },
    { "linux.devices[1]", { path = "/x", type = "c", major = 1, minor = 5, fileMode = 65536 }, "linux.devices[1].fileMode" },
    { "linux.netDevices", { ["a/b"] = {} }, "linux.netDevices.a/b" },
    { "linux.netDevices", { eth0 = { name = "0123456789abcdef" } }, "linux.netDevices.eth0.name" },
    { "linux.rootfsPropagation", "rslav", "linux.rootfsPropagation", "rslave" },
    { "linux.maskedPaths[1]", "proc", "linux.maskedPaths[1]" },
    { "linux.sysctl", { x = 1 }, "linux.sysctl.x" },
    { "linux.sysctl", { ["../x"] = "1" }, "linux.sysctl.../x" },
    { "linux.cgroupsPath", 1, "linux.cgroupsPath" },
    { "linux.resources.memory.limit", -2, "linux.resources.memory.limit", "from %-1" },
    { "linux.resources.memory.limit", "1M", "linux.resources.memory.limit", "a whole number expected, got '1M'" },
    { "linux.resources.memory.limit", "9223372036854775808", "linux.resources.memory.limit", "to 9223372036854775807 expected" },
    { "linux.resources.memory.swappiness", 101, "linux.resources.memory.swappiness" },
    { "linux.resources.cpu.shares", "18446744073709551616", "linux.resources.cpu.shares" },
    { "linux.resources.cpu.quota", 0.5, "linux.resources.cpu.quota" },
    { "linux.resources.cpu.idle", 2, "linux.resources.cpu.idle" },
    { "linux.resources.cpu.cpus", "x", "linux.resources.cpu.cpus" },
    { "linux.resources.pids", 3, "linux.resources.pids", "an object expected, got 3" },
    { "linux.resources.blockIO.weight", 9, "linux.resources.blockIO.weight" },
    { "linux.resources.blockIO.weight", 1001, "linux.resources.blockIO.weight" },
    { "linux.resources.blockIO.weightDevice[1]", { major = 8, minor = 0 }, "linux.resources.blockIO.weightDevice[1].weight" },
    { "linux.resources.hugepageLimits[1]", { pageSize = "64kB", limit = 1 }, "linux.resources.hugepageLimits[1].pageSize" },
    { "linux.resources.hugepageLimits", { { pageSize = "2MB", limit = 1 }, { pageSize = "2MB", limit = 1 } },
      "linux.resources.hugepageLimits[2].pageSize", "twice" },
    { "linux.resources.rdma", { mlx = {} }, "linux.resources.rdma.mlx.hcaHandles" },
    { "linux.resources.rdma", { mlx = { hcaHandles = "not a uint32" } }, "linux.resources.rdma.mlx.hcaHandles" },
    { "linux.resources.unified", { ["../x"] = "1" }, "linux.resources.unified.../x" },
    { "linux.resources.unified", { memory = "1" }, "linux.resources.unified.memory" },
    { "linux.resources.devices[1]", { access = "rwm" }, "linux.resources.devices[1].allow", "required" },
    { "linux.resources.devices[1]", { allow = true, access = "rx" }, "linux.resources.devices[1].access" },
    { "linux.seccomp", {}, "linux.seccomp.defaultAction", "required" },
    { "linux.seccomp", { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = {}, action = "SCMP_ACT_ALLOW" } } },
      "linux.seccomp.syscalls[1].names", "empty" },
    { "linux.seccomp", { defaultAction = "SCMP_ACT_ALLOW", listenerMetadata = "x" }, "linux.seccomp.listenerMetadata" },
    { "linux.seccomp", { defaultAction = "SCMP_ACT_ALLOW", flags = { "LOG" } }, "linux.seccomp.flags[1]" },
    { "linux.intelRdt", { memBwSchema = "L3:0=f" }, "linux.intelRdt.memBwSchema" },
    { "linux.intelRdt", { schemata = { "a\nb" } }, "linux.intelRdt.schemata[1]" },
    { "linux.intelRdt", { closID = "../x" }, "linux.intelRdt.closID" },
    { "linux.memoryPolicy", { mode = "MPOL_BIND" }, "linux.memoryPolicy.nodes", "required" },
    { "linux.memoryPolicy", { mode = "MPOL_LOCAL", nodes = "0" }, "linux.memoryPolicy.nodes" },
    { "linux.personality", { domain = "LINUX", flags = { "x" } }, "linux.personality.flags" },
    { "linux.timeOffsets", { realtime = {} }, "linux.timeOffsets", "unknown word 'realtime'" },
    { "linux.timeOffsets", { boottime = { nanosecs = 1000000000 } }, "linux.timeOffsets.boottime.nanosecs" },
  } do
    it(("refuses a bad %s"):format(case[3]), function() refused(with(case[1], case[2]), case[3], case[4]) end)
  end

  it("hands no control characters to the terminal", function()
    local _, message = document.check { ociVersion = "1.0.0", process = { cwd = "\27[2J\n" } }
    assert.equal("process.cwd: an absolute path expected, got '\\x1b[2J\\x0a'", message)
    assert.equal("\\x1b]0;x\\x07: unknown property", accepted({ ociVersion = "1.0.0", ["\27]0;x\7"] = 1 })[1])
  end)

  it("tells numbers from text, though numbers may be text", function()
    refused(assert(document.decode '{"ociVersion":"1.0.0","hostname":18446744073709551615}'), "hostname")
    refused(assert(document.decode '{"ociVersion":"1.0.0","annotations":{"a":18446744073709551615}}'), "annotations.a")
    accepted(assert(document.decode '{"ociVersion":"1.0.0","hostname":"18446744073709551615"}'))
    refused(assert(document.decode '{"ociVersion":"1.0.0","mounts":{}}'), "mounts", "a list expected, got an object")
    refused(assert(document.decode '{"ociVersion":"1.0.0","linux":[]}'), "linux", "an object expected, got a list")
  end)
end)

describe("the specification's schemas", function()
  if not jsonschema.dir then pending(jsonschema.why) return end

  local function sample(kind, how)
    local list, p = {}, assert(io.popen(("ls %s/test/%s/%s/*.json"):format(jsonschema.dir, kind, how)))
    for path in p:lines() do list[#list + 1] = path end
    p:close()
    assert.is_true(#list > 0)
    return list
  end

  it("have good configurations, which are good", function()
    for _, path in ipairs(sample("config", "good")) do
      local doc = assert(document.read(path))
      accepted(doc)
      assert.same({}, jsonschema.faults(doc, "config-schema.json"), path)
    end
  end)

  it("have bad configurations, which are bad by name", function()
    local fields = { ["linux-hugepage"] = "linux.resources.hugepageLimits[1].pageSize", ["linux-netdevice"] = "linux.netDevices.eth0.name",
      ["linux-rdma"] = "linux.resources.rdma.mlx5_1.hcaHandles" }
    for _, path in ipairs(sample("config", "bad")) do
      local doc, message = document.read(path)
      if doc then
        assert.is_true(#jsonschema.faults(doc, "config-schema.json") > 0, path)
        local ok
        ok, message = document.check(doc)
        assert.is_nil(ok)
        local field = fields[path:match "([^/]*)%.json$"]
        if field then assert.equal(field, message:match "^([^:]+): ") end
      else
        assert.truthy(message:find("line 1, column 2: a key expected", 1, true), message)
      end
    end
  end)

  -- What is right as it is in the specification's text, which says more than the schemas.
  local texts = { ociVersion = "1.2.0", ["process.env[1]"] = "A=b", ["linux.netDevices.*"] = "eth0", ["linux.netDevices.eth0.name"] = "eth1",
    ["linux.resources.unified.*"] = "memory.high", ["linux.intelRdt.closID"] = "a", ["linux.resources.cpu.cpus"] = "0",
    ["linux.resources.cpu.mems"] = "0", ["linux.memoryPolicy.nodes"] = "0", ["linux.resources.devices[1].access"] = "rw", ["linux.resources.devices[1].type"] = "c" }
  for _, set in ipairs { "bounding", "effective", "inheritable", "permitted", "ambient" } do
    texts["process.capabilities." .. set .. "[1]"] = "CAP_KILL"
  end

  local function get(doc, ...)
    for _, k in ipairs { ... } do
      if type(doc) ~= "table" then return nil end
      doc = doc[k]
    end
    return type(doc) == "table" and doc or nil
  end

  local function fill(t, fields, but)
    for k, v in pairs(fields) do if t and t[k] == nil and k ~= but then t[k] = v end end
  end

  -- The rest of what the text requires, but for the one that is looked at.
  local function complete(doc, but)
    local function of(prefix) return but:sub(1, #prefix) == prefix and but:sub(#prefix + 1) or nil end
    if get(doc, "linux", "devices", 1) and type(doc.linux.devices[1].path) ~= "nil" then
      fill(doc.linux.devices[1], { major = 1, minor = 3 }, of "linux.devices[1].")
    end
    fill(get(doc, "linux", "memoryPolicy"), { mode = "MPOL_PREFERRED" }, of "linux.memoryPolicy.")
    fill(get(doc, "linux", "personality"), { domain = "LINUX" }, of "linux.personality.")
    fill(get(doc, "linux", "resources", "rdma", "x.y"), { hcaHandles = 1 }, of "linux.resources.rdma.x.y.")
    fill(get(doc, "linux", "resources", "blockIO", "weightDevice", 1), { weight = 10 }, of "linux.resources.blockIO.weightDevice[1].")
    if get(doc, "linux", "seccomp") and doc.linux.seccomp.listenerMetadata then doc.linux.seccomp.listenerPath = "/x" end
    local m = get(doc, "mounts", 1)
    local map = { { containerID = 0, hostID = 0, size = 1 } }
    if m and (m.uidMappings ~= nil or m.gidMappings ~= nil) then
      local filled = m.uidMappings or m.gidMappings
      if type(filled) == "table" and #filled > 0 then fill(m, { uidMappings = map, gidMappings = map }) end
    end
    return doc
  end

  -- stricter, or where the schema is: the pids limit is optional since version 1.3, and modes are to 07777
  local no_good = { ["linux.personality.flags[1]"] = true }
  local may_be = { ["linux.resources.pids.limit missing"] = true, ["linux.devices[1].fileMode maximum"] = true }

  it("have properties, each of which may be there", function()
    local n = 0
    jsonschema.each("config-schema.json", texts, function(at, make)
      if not make or no_good[at] then return end
      local doc = complete(make(), at)
      assert.same({}, jsonschema.faults(doc, "config-schema.json"), at)
      local ok, message, warnings = document.check(doc)
      if at == "process.commandLine" or at == "process.user.username" then warnings = {} end
      assert.same({ true, nil, {} }, { ok, message, warnings }, at)
      n = n + 1
    end)
    assert.is_true(n > 250, n)
  end)

  it("have properties, of which no wrong value is taken, and the name is said", function()
    local n = 0
    jsonschema.each("config-schema.json", texts, function(at, make, wrong)
      for _, w in ipairs(wrong) do
        local doc = complete(w[3] and w[3]() or make(w[1]), at)
        local ok, message = document.check(doc)
        local what = at .. " " .. (w[2] or tostring(w[1]))
        if not may_be[what] then
          assert.is_nil(ok, what)
          local said = message:match "^([^:]+): "
          assert.truthy(said == at or said:sub(1, #at) == at and said:find("^[.%[]", #at + 1), what .. ": " .. message)
          n = n + 1
        end
      end
    end)
    assert.is_true(n > 1200, n)
  end)

  it("say what state and features are, and ours are so", function()
    local features = require "caisson.oci.features"
    assert.same({}, jsonschema.faults(features.get(), "features-schema.json"))
    for _, path in ipairs(sample("features", "good")) do
      assert.same({}, jsonschema.faults(assert(document.read(path)), "features-schema.json"))
    end
    for _, path in ipairs(sample("features", "bad")) do
      assert.is_true(#jsonschema.faults(assert(document.read(path)), "features-schema.json") > 0)
    end
    assert.same({}, jsonschema.faults(assert(document.read(jsonschema.dir .. "/test/state/good/spec-example.json")), "state-schema.json"))
  end)
end)

describe("oci.features.get", function()
  local features = require "caisson.oci.features"

  it("says what the code knows, and as JSON the same", function()
    local f = features.get()
    assert.same(f, document.decode(features.json()))
    assert.same({ "1.0.0", "1.3.0" }, { f.ociVersionMin, f.ociVersionMax })
    assert.same({ "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts" }, f.linux.namespaces)
    assert.equal(41, #f.linux.capabilities)
  end)

  -- each word that it names is one that the check takes
  it("names nothing that is not taken", function()
    local f = features.get()
    for _, n in ipairs(f.linux.namespaces) do accepted(with("linux.namespaces[1].type", n)) end
    for _, c in ipairs(f.linux.capabilities) do
      assert.same({}, accepted { ociVersion = "1.0.0", process = { cwd = "/", capabilities = { bounding = { c } } } })
    end
    local s = f.linux.seccomp
    local policy = require "caisson.policy"
    for _, action in ipairs(s.actions) do assert(policy.from_oci { defaultAction = action }) end
    for _, op in ipairs(s.operators) do
      assert(policy.from_oci { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "read" }, action = "SCMP_ACT_ERRNO",
        args = { { index = 0, op = op, value = 1 } } } } })
    end
    for _, arch in ipairs(s.archs) do assert(policy.from_oci { defaultAction = "SCMP_ACT_ALLOW", architectures = { arch } }) end
    for _, flag in ipairs(s.knownFlags) do assert(policy.from_oci { defaultAction = "SCMP_ACT_ALLOW", flags = { flag } }) end
    for _, mode in ipairs(f.linux.memoryPolicy.modes) do
      local nodes = mode ~= "MPOL_DEFAULT" and mode ~= "MPOL_LOCAL" and "0" or nil
      accepted(with("linux.memoryPolicy", { mode = mode, nodes = nodes, flags = f.linux.memoryPolicy.flags }))
    end
  end)

  it("names options of mounts that are none of the file system's", function()
    local mounts = require "caisson.oci.mounts"
    local function of(word, mount)
      mount.destination, mount.options = "/x", { word }
      local entries = mounts.of({ mount }, { config = { linux = { uidMappings = { { containerID = 0, hostID = 0, size = 1 } },
        gidMappings = { { containerID = 0, hostID = 0, size = 1 } } } }, bundle = "/", warn = function() end })
      return entries[1].options or {}
    end
    local of_filesystem = {}
    for word in ("sync async dirsync lazytime nolazytime mand nomand"):gmatch "%S+" do of_filesystem[word] = true end
    for _, word in ipairs(features.get().mountOptions) do
      local is_bind = word:find "bind$" or word:find "idmap$"
      local options = of(word, { type = is_bind and "bind" or "tmpfs", source = "/" })
      assert.same(of_filesystem[word] and { word } or {}, options, word)
    end
    assert.same({ "nosuch" }, of("nosuch", { type = "tmpfs", source = "x" }))
  end)
end)
