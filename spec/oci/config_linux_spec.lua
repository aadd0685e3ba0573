-- `linux` of a configuration: what the container then is, from the kernel's side.
local t = require "support"
local oci = require "support.bundle"
local core = t.core

describe("a configuration's linux", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle

  setup(function() bundle = oci.bundle() end)
  teardown(function() bundle:close() end)

  local function linux(key, value)
    return function(c) c.linux[key] = value end
  end

  local function user_maps(c)
    table.insert(c.linux.namespaces, { type = "user" })
    c.linux.uidMappings = { { containerID = 0, hostID = 100000, size = 1000 }, { containerID = 2000, hostID = 5, size = 1 } }
    c.linux.gidMappings = { { containerID = 0, hostID = 200000, size = 1000 } }
  end

  it("namespaces: those that are listed are new, others the caller's", function()
    local look = "for n in pid net ipc uts mnt cgroup user time; do readlink /proc/self/ns/$n; done"
    local function spaces(list)
      local out = {}
      local text = bundle:output(look, function(c)
        c.hostname = nil
        local all = { { type = "mount" }, { type = "pid" } }
        for _, n in ipairs(list) do all[#all + 1] = { type = n } end
        if not t.is_root then
          all[#all + 1] = { type = "user" }
          c.mounts[5], c.mounts[6] = nil, nil -- they take an ipc and a net namespace of its own
        end
        c.linux.namespaces = all
      end)
      for word in text:gmatch("[^\n]+") do out[#out + 1] = word end
      local names, is = { "pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time" }, {}
      for k, name in ipairs(names) do
        is[name] = out[k] ~= t.namespace(name)
      end
      return is
    end
    local user = not t.is_root
    assert.same({ pid = true, mnt = true, net = false, ipc = false, uts = false, cgroup = false, user = user, time = false }, spaces {})
    assert.same({ pid = true, mnt = true, net = true, ipc = true, uts = true, cgroup = true, user = user, time = true },
      spaces { "network", "ipc", "uts", "cgroup", "time" })
    local message = bundle:fails("true", linux("namespaces", { { type = "mount" }, { type = "mount" } }))
    assert.truthy(message:find("linux.namespaces[2]", 1, true), message)
  end)

  it("namespaces: by path", function()
    if not t.needs("root") then return end
    local p = io.popen("exec unshare --net --ipc --uts --cgroup sh -c 'echo $$; exec sleep 30'")
    local pid = p:read("*l")
    finally(function() os.execute("kill " .. pid) p:close() end)
    for kind, name in pairs { network = "net", ipc = "ipc", uts = "uts", cgroup = "cgroup" } do
      local out = bundle:output("readlink /proc/self/ns/" .. name, function(c)
        for i = #c.linux.namespaces, 1, -1 do
          if c.linux.namespaces[i].type == kind then table.remove(c.linux.namespaces, i) end
        end
        table.insert(c.linux.namespaces, { type = kind, path = ("/proc/%s/ns/%s"):format(pid, name) })
      end)
      assert.equal(t.namespace(name, pid) .. "\n", out)
    end
    local message = bundle:fails("true", function(c)
      c.linux.namespaces[2].path = ("/proc/%s/ns/uts"):format(pid) -- the network's
    end)
    assert.truthy(message:find("/ns/uts", 1, true), message)
    message = bundle:fails("true", function(c) c.linux.namespaces[2].path = "/not/there" end)
    assert.truthy(message:find("/not/there", 1, true), message)
  end)

  it("user namespaces: root's, with their maps", function()
    if not t.needs("root") then return end
    local out = bundle:output("cat /proc/self/uid_map /proc/self/gid_map; id -u", function(c)
      user_maps(c)
      c.mounts[3].options[#c.mounts[3].options] = "gid=5"
    end)
    assert.equal("0 100000 1000 2000 5 1 0 200000 1000 0 ", (out:gsub("%s+", " "):gsub("^ ", "")))
    local message = bundle:fails("true", function(c)
      user_maps(c)
      table.remove(c.linux.namespaces)
    end)
    assert.truthy(message:find("linux.uidMappings", 1, true), message)
    message = bundle:fails("true", function(c)
      user_maps(c)
      c.linux.uidMappings[2].containerID = 1
    end)
    assert.truthy(message:find("overlap", 1, true), message)
  end)

  it("user namespaces: root's rights are used for what they take", function()
    if not t.needs("root") then return end
    os.execute(("mkdir -p %s/private/src %s/m && chmod 700 %s/private && echo seen > %s/private/src/f"):format(bundle.dir,
      bundle.root, bundle.dir, bundle.dir))
    os.execute(("chmod 700 %s"):format(bundle.dir))
    finally(function() os.execute(("chmod 755 %s"):format(bundle.dir)) end)
    local out = bundle:output("cat /proc/self/oom_score_adj /m/f; cut -d' ' -f40,41 /proc/self/stat; ulimit -n", function(c)
      user_maps(c)
      c.mounts[3].options[#c.mounts[3].options] = nil
      table.insert(c.mounts, { destination = "/m", type = "bind", source = "private/src", options = { "rbind", "ro" } })
      c.process.oomScoreAdj = 321
      c.process.scheduler = { policy = "SCHED_RR", priority = 3 }
      c.process.rlimits = { { type = "RLIMIT_NOFILE", soft = 100, hard = 200 } }
    end)
    assert.equal("321\nseen\n3 2\n100\n", out)
    -- what all may reach takes nothing of the kind, however many
    os.execute(("chmod 755 %s; mkdir -p %s/many; for i in $(seq 100); do mkdir %s/many/$i; done"):format(bundle.dir, bundle.root, bundle.root))
    assert.equal("100\n", bundle:output("grep -c ' /many/' /proc/self/mountinfo", function(c)
      user_maps(c)
      c.mounts[3].options[#c.mounts[3].options] = nil
      for i = 1, 100 do
        table.insert(c.mounts, { destination = "/many/" .. i, type = "bind", source = bundle.root .. "/bin", options = { "bind" } })
      end
    end))
    os.execute(("mkdir -p %s/over/below && mount -t tmpfs below %s/over/below"):format(bundle.dir, bundle.dir))
    finally(function() os.execute(("chmod 755 %s; umount %s/over/below"):format(bundle.dir, bundle.dir)) end)
    assert.equal("0\n", bundle:output("grep -c below /proc/self/mountinfo", function(c)
      user_maps(c)
      c.mounts[3].options[#c.mounts[3].options] = nil
      table.insert(c.mounts, { destination = "/m", type = "bind", source = "over", options = { "bind" } })
    end))
  end)

  it("user namespaces: an ordinary user's ranges, by newuidmap", function()
    if not t.needs("subids") then return end
    local out = bundle:output("cat /proc/self/uid_map; id -G", function(c)
      c.linux.uidMappings = { { containerID = 0, hostID = core.identity().euid, size = 1 },
        { containerID = 1, hostID = 1000000, size = 100 } }
      c.linux.gidMappings = { { containerID = 0, hostID = core.identity().egid, size = 1 },
        { containerID = 1, hostID = 1000000, size = 100 } }
      c.process.user.additionalGids = { 7 }
    end)
    assert.truthy(out:find("%s1%s+1000000%s+100\n"), out)
    assert.truthy(out:find("0 7\n", 1, true), out)
  end)

  it("user namespaces: an ordinary user needs one", function()
    if t.is_root then return end
    local message = bundle:fails("true", function(c)
      c.linux.namespaces[6], c.linux.uidMappings, c.linux.gidMappings = nil, nil, nil
    end)
    assert.truthy(message:find("EPERM", 1, true), message)
  end)

  it("user namespaces: inside of somebody's, with nothing but its rights", function()
    if not t.needs("userns") then return end
    -- as podman without root does it: this process is root of a user namespace that others have made
    local out = t.sh("unshare -Urm " .. t.lua_command(([[
      local oci = require "support.bundle"
      local bundle = setmetatable({ dir = %q, root = %q }, getmetatable(oci.bundle { empty = true }))
      local r, message = bundle:run("cat /proc/self/uid_map; id -u; cat /proc/self/oom_score_adj", function(c)
        c.linux.uidMappings, c.linux.gidMappings, c.linux.cgroupsPath = nil, nil, nil
        for i, n in ipairs(c.linux.namespaces) do if n.type == "user" then table.remove(c.linux.namespaces, i) end end
        for i, o in ipairs(c.mounts[3].options) do if o == "gid=5" then table.remove(c.mounts[3].options, i) end end
        c.linux.resources.memory, c.process.oomScoreAdj = { limit = 67108864 }, 300
      end, { rootless = true })
      print(r and r.output .. tostring(r.memory) or message)]]):format(bundle.dir, bundle.root)))
    assert.truthy(out:find("^%s+0%s+" .. core.identity().euid .. "%s+1\n0\n300\n" .. (t.is_root and "" or "unlimited\n$")), out)
  end)

  it("hostname and domainname, never the host's", function()
    local out = bundle:output("hostname; cat /proc/sys/kernel/domainname", function(c) c.hostname, c.domainname = "its", "own.org" end)
    assert.equal("its\nown.org\n", out)
    for _, key in ipairs { "hostname", "domainname" } do
      local message = bundle:fails("true", function(c)
        c.hostname = nil
        c[key] = "x"
        for i, n in ipairs(c.linux.namespaces) do if n.type == "uts" then table.remove(c.linux.namespaces, i) end end
      end)
      assert.truthy(message:find(key .. ": ", 1, true), message)
    end
  end)

  it("devices: the common ones, links, and its own", function()
    local out = bundle:output("ls -l /dev; echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1")
    for _, line in ipairs { "crw%-rw%-rw%-[^\n]* 1, +3 [^\n]* null\n", " 1, +5 [^\n]* zero\n", " 1, +7 [^\n]* full\n", " 1, +8 [^\n]* random\n",
      " 1, +9 [^\n]* urandom\n", " 5, +0 [^\n]* tty\n", "fd %-> /proc/self/fd\n", "stdin %-> /proc/self/fd/0\n",
      "stdout %-> /proc/self/fd/1\n", "stderr %-> /proc/self/fd/2\n", "ptmx %-> pts/ptmx\n", "00 00 00" } do
      assert.truthy(out:find(line), line .. " in " .. out)
    end
    if not t.is_root then return end
    out = bundle:output("stat -c '%F %a %u %g %t:%T' /dev/f /dev/p /dev/b /dev/null", linux("devices", {
      { path = "/dev/f", type = "c", major = 10, minor = 229, fileMode = 384, uid = 1, gid = 2 },
      { path = "/dev/p", type = "p", fileMode = 420 },
      { path = "/dev/b", type = "b", major = 7, minor = 300 },
      { path = "/dev/null", type = "c", major = 1, minor = 3, fileMode = 400 } }))
    assert.equal("character special file 600 1 2 a:e5\nfifo 644 0 0 0:0\nblock special file 666 0 0 7:12c\n" ..
      "character special file 620 0 0 1:3\n", out)
  end)

  it("devices: which may be used", function()
    if not t.needs("root") then return end
    local function try(rules)
      return bundle:output("head -c 0 /dev/kmsg 2>/dev/null && echo r; (: >> /dev/kmsg) && echo w; mknod /tmp/n c 1 11 && echo m", function(c)
        c.root.readonly = false
        c.process.capabilities.effective = { "CAP_MKNOD", "CAP_SYSLOG" }
        c.process.capabilities.permitted, c.process.capabilities.bounding = c.process.capabilities.effective, c.process.capabilities.effective
        c.linux.devices = { { path = "/dev/kmsg", type = "c", major = 1, minor = 11, fileMode = 438 } }
        c.linux.resources.devices = rules
        c.mounts[7] = { destination = "/tmp", type = "tmpfs", source = "tmpfs" }
      end)
    end
    assert.equal("m\n", (try { { allow = false, access = "rwm" } }:gsub("[^\n]*: [^\n]*\n", "")))
    assert.equal("r\nw\nm\n", (try { { allow = false, access = "rwm" }, { allow = true, type = "c", major = 1, minor = 11, access = "rwm" } }))
    assert.equal("r\nm\n", (try { { allow = true, type = "c", major = 1, minor = 11, access = "r" } }:gsub("[^\n]*: [^\n]*\n", "")))
  end)

  it("sysctl: the container's own parameters alone", function()
    local function set(name, value) return function(c) c.linux.sysctl = { [name] = value } end end
    assert.equal("1234\n", bundle:output("cat /proc/sys/net/ipv4/tcp_keepalive_time", set("net.ipv4.tcp_keepalive_time", "1234")))
    assert.equal("77\n", bundle:output("cat /proc/sys/kernel/msgmni", set("kernel.msgmni", "77")))
    assert.equal("33\n", bundle:output("cat /proc/sys/fs/mqueue/queues_max", set("fs.mqueue.queues_max", "33")))
    local message = bundle:fails("true", set("kernel.panic", "1"))
    assert.truthy(message:find("kernel.panic", 1, true), message)
    message = bundle:fails("true", function(c)
      c.linux.sysctl = { ["net.ipv4.ip_forward"] = "1" }
      for i, n in ipairs(c.linux.namespaces) do if n.type == "network" then table.remove(c.linux.namespaces, i) end end
    end)
    assert.truthy(message:find("net.ipv4.ip_forward", 1, true), message)
  end)

  it("sysctl and oomScoreAdj, among the host's processes, and without a procfs", function()
    local function host(c)
      table.remove(c.linux.namespaces, 1)
      c.process.oomScoreAdj = 100
    end
    if t.is_root then
      assert.equal("77\n100\n", bundle:output("cat /proc/sys/net/ipv4/tcp_keepalive_time /proc/self/oom_score_adj", function(c)
        host(c)
        c.linux.sysctl = { ["net.ipv4.tcp_keepalive_time"] = "77" }
      end))
    end
    assert.equal("yes\n", bundle:output("echo yes", function(c)
      table.remove(c.mounts, 1)
      c.linux.maskedPaths, c.linux.readonlyPaths, c.process.oomScoreAdj = nil, nil, 100
    end))
  end)

  it("timeOffsets", function()
    local function uptime(offset)
      return tonumber(bundle:output("cat /proc/uptime", function(c)
        table.insert(c.linux.namespaces, { type = "time" })
        c.linux.timeOffsets = { monotonic = { secs = 1000 }, boottime = offset }
      end):match("^[%d.]+"))
    end
    local now = tonumber(t.read_file("/proc/uptime"):match("^[%d.]+"))
    local there = uptime { secs = 1000000, nanosecs = 500 }
    assert.truthy(there - now > 999999 and there - now < 1000100, there - now)
    local message = bundle:fails("true", linux("timeOffsets", { monotonic = { secs = 1 } }))
    assert.truthy(message:find("linux.timeOffsets", 1, true), message)
  end)

  it("personality", function()
    local machine = t.sh("setarch linux32 uname -m")
    os.execute(("ln -sf busybox %s/bin/uname"):format(bundle.root))
    assert.equal(machine, bundle:output("uname -m", linux("personality", { domain = "LINUX32" })))
    assert.equal(t.sh("uname -m"), bundle:output("uname -m", linux("personality", { domain = "LINUX" })))
    local message = bundle:fails("true", linux("personality", { domain = "LINUX", flags = { "SHORT" } }))
    assert.truthy(message:find("linux.personality.flags", 1, true), message)
  end)

  it("memoryPolicy", function()
    local function policy(p) return bundle:output("cat /proc/self/numa_maps", linux("memoryPolicy", p)) end
    if not core.lstat("/proc/self/numa_maps") then
      assert.truthy(bundle:fails("true", linux("memoryPolicy", { mode = "MPOL_BIND", nodes = "0" })):find("memory_policy", 1, true))
      return
    end
    assert.truthy(policy { mode = "MPOL_BIND", nodes = "0" }:find(" bind:0", 1, true))
    assert.truthy(policy { mode = "MPOL_INTERLEAVE", nodes = "0", flags = { "MPOL_F_STATIC_NODES" } }:find(" interleave=static:0", 1, true))
    assert.truthy(bundle:fails("true", linux("memoryPolicy", { mode = "MPOL_BIND", nodes = "77" })):find("memory_policy", 1, true))
  end)

  it("netDevices: moved into the container, renamed, and back at its end", function()
    if not t.needs("root") then return end
    local name = "csnoci" .. t.getpid() % 10000
    if t.sh("ip link add " .. name .. " type veth peer name " .. name .. "p 2>&1") ~= "" then return end
    finally(function() os.execute("ip link del " .. name .. " 2>/dev/null") end)
    local out = bundle:output("ls /sys/class/net", linux("netDevices", { [name] = { name = "inside0" } }))
    assert.equal("inside0\nlo\n", out)
    out = bundle:output("ls /sys/class/net", linux("netDevices", { [name] = {} }))
    assert.equal(name .. "\nlo\n", out)
    local message = bundle:fails("true", linux("netDevices", { csnnothere = {} }))
    assert.truthy(message:find("csnnothere", 1, true), message)
  end)

  it("intelRdt: an error that names it where the kernel has none", function()
    if core.lstat("/sys/fs/resctrl/schemata") then return end
    for _, r in ipairs { { closID = "x", l3CacheSchema = "L3:0=f" }, { memBwSchema = "MB:0=50" }, { schemata = { "L3:0=f" } },
      { closID = "guaranteed" }, { enableMonitoring = true } } do
      local _, message, _, failure = bundle:run("true", linux("intelRdt", r))
      assert.truthy(message:find("resctrl", 1, true), message)
      assert.equal("config.json: linux.intelRdt", failure.at)
    end
  end)

  it("seccomp: calls are denied, 64-bit values are exact", function()
    local function profile(calls) return linux("seccomp", { defaultAction = "SCMP_ACT_ALLOW", syscalls = calls }) end
    assert.equal("mkdir: can't create directory '/dev/shm/x': Link has been severed\n", bundle:output("mkdir /dev/shm/x",
      profile { { names = { "mkdir", "mkdirat" }, action = "SCMP_ACT_ERRNO", errnoRet = 67 } }))
    assert.equal("", bundle:output("mkdir /dev/shm/x"))
    local big = { index = 0, value = "9223372036854775809", op = "SCMP_CMP_EQ" }
    assert.equal("", bundle:output("kill -0 $$", profile { { names = { "kill" }, action = "SCMP_ACT_ERRNO", args = { big } } }))
    local c = oci.config()
    c.linux.seccomp = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "kill" }, action = "SCMP_ACT_ERRNO", args = { big } } } }
    local r = assert(require("caisson.oci.recipe").of(c, { bundle = bundle.dir }))
    assert.equal("9223372036854775809", r.def.seccomp:oci().syscalls[1].args[1].value)
    assert.truthy(bundle:fails("true", profile { { names = { "kill" }, action = "SCMP_ACT_NONE" } }):find("linux.seccomp", 1, true))
  end)
end)
