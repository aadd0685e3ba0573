-- A recipe's container as a bundle: what is written, what can't be, and that it is the same container.
local t = require "support"
local cli = require "support.cli"
local jsonschema = require "support.jsonschema"
local caisson = require "caisson"
local document = require "caisson.oci.document"
local export = require "caisson.oci.export"
local core = t.core

local dir

before_each(function() dir = t.sh("mktemp -d /tmp/export.XXXXXX"):match "%S+" end)
after_each(function() t.sh("rm -rf " .. dir) end)

-- The configuration of these options, and what else there is.
local function config(options, opts)
  options.namespaces = options.namespaces or { mount = true }
  options.args = options.args or { "true" }
  if t.is_root and options.namespaces.user then options.idmap = options.idmap or { uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } } } end
  return export.config(caisson.recipe(options), opts)
end

local function good(options, opts)
  local c, x = config(options, opts)
  assert.truthy(c, x)
  if jsonschema.dir then
    local plain = assert(document.decode(assert(document.encode(c))))
    assert.same({}, jsonschema.faults(plain, "config-schema.json"))
  end
  return c, x
end

local function lost(options, pattern, opts)
  local c, message, errno = config(options, opts)
  assert.is_nil(c, pattern)
  assert.truthy(message:find(pattern), message)
  return message, errno
end

-- Each warning as its name.
local function warned(x, name)
  for _, w in ipairs(x.warnings) do if w:find(name, 1, true) == 1 then return w end end
end

describe("oci.export.config", function()
  it("says whose the mount namespace is", function()
    if not t.is_root then return end
    local function kinds(options)
      local list = {}
      for i, n in ipairs(good(options).linux.namespaces) do list[i] = n.type .. (n.path or "") end
      return list
    end
    assert.same({ "mount", "ipc" }, kinds { namespaces = { mount = true, ipc = true } })
    assert.same({ "ipc" }, kinds { namespaces = { mount = true, ipc = true }, mount_namespace = "/proc/self/ns/mnt" })
    assert.same({ "mount/run/mnt", "ipc" }, kinds { namespaces = { mount = true, ipc = true }, mount_namespace = "/run/mnt" })
  end)

  it("says what the program is", function()
    local c = good { env = { A = "b" }, cwd = "/x", args = { "prog", "arg" }, user = { uid = 5, gid = 6, groups = t.is_root and { 7 } or nil },
      umask = "0027", oom_score_adj = 100, nice = 5, ioprio = { class = "best_effort", level = 3 },
      rlimits = { nofile = { 10, 20 }, core = 0, stack = "max" }, apparmor = "p", selinux = "a:b:c:d", no_new_privs = true,
      capabilities = { bounding = { "kill", "chown" }, permitted = { "kill" }, effective = { "kill" } },
      personality = { domain = "linux32" }, memory_policy = { mode = "bind", nodes = "0" }, hostname = nil,
      annotations = { a = "b" } }
    local p = c.process
    assert.same({ "prog", "arg" }, p.args)
    assert.same({ "A=b", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, p.env)
    assert.same({ uid = 5, gid = 6, additionalGids = t.is_root and { 7 } or nil, umask = 23 }, p.user)
    assert.same({ "/x", 100, "p", "a:b:c:d", true }, { p.cwd, p.oomScoreAdj, p.apparmorProfile, p.selinuxLabel, p.noNewPrivileges })
    assert.same({ policy = "SCHED_OTHER", nice = 5 }, p.scheduler)
    assert.same({ class = "IOPRIO_CLASS_BE", priority = 3 }, p.ioPriority)
    assert.same({ { type = "RLIMIT_CORE", soft = 0, hard = 0 }, { type = "RLIMIT_NOFILE", soft = 10, hard = 20 },
      { type = "RLIMIT_STACK", soft = "18446744073709551615", hard = "18446744073709551615" } }, p.rlimits)
    assert.same({ bounding = { "CAP_KILL", "CAP_CHOWN" }, permitted = { "CAP_KILL" }, effective = { "CAP_KILL" },
      inheritable = {}, ambient = {} }, p.capabilities)
    assert.same({ domain = "LINUX32" }, c.linux.personality)
    assert.same({ mode = "MPOL_BIND", nodes = "0" }, c.linux.memoryPolicy)
    assert.same({ a = "b" }, c.annotations)
    assert.equal("1.3.0", c.ociVersion)
    assert.equal("1.0.2", good({}).ociVersion)
  end)

  it("gives uid 0 what it would have, and others nothing", function()
    local c = good { user = { uid = 0, gid = 0 } }
    assert.same(c.process.capabilities.bounding, c.process.capabilities.effective)
    assert.is_true(#c.process.capabilities.bounding > 20)
    assert.same({}, good({ user = { uid = 7, gid = 7 } }).process.capabilities.effective)
  end)

  it("gives the ids that the builder takes on in a map without its own", function()
    if not t.is_root then pending "an ordinary user is in its own map" return end
    local c, x = good({ namespaces = { mount = true, user = true }, idmap = { uid = { { 7, 100000, 5 } }, gid = { { 8, 100000, 5 } } } })
    assert.same({ uid = 7, gid = 8 }, c.process.user)
    assert.truthy(warned(x, "idmap"))
  end)

  it("says what the namespaces are", function()
    local c = good { namespaces = { mount = true, pid = true, net = "/proc/self/ns/net", uts = true, time = true, user = true },
      hostname = "h", domainname = "d", sysctl = { ["net.ipv4.ip_forward"] = 1 }, time_offsets = { boottime = 5, monotonic = -3 } }
    local types = {}
    for _, n in ipairs(c.linux.namespaces) do types[n.type] = n.path or true end
    assert.same({ mount = true, pid = true, network = "/proc/self/ns/net", uts = true, time = true, user = true }, types)
    assert.same({ "h", "d" }, { c.hostname, c.domainname })
    assert.same({ ["net.ipv4.ip_forward"] = "1" }, c.linux.sysctl)
    assert.same({ boottime = { secs = 5 }, monotonic = { secs = -3 } }, c.linux.timeOffsets)
    local id = core.identity()
    assert.same({ containerID = id.euid, hostID = id.euid, size = 1 }, c.linux.uidMappings[1])
  end)

  it("says what is mounted, and makes what no mount is", function()
    local c, x = good { devices = { "default", { path = "/dev/fuse", type = "char", major = 10, minor = 229, mode = "0600" } },
      mounts = { { bind = "/usr" }, { bind = "/etc/passwd", at = "/p", writable = true, exec = false }, { proc = "/proc", hidepid = "invisible" },
        { tmpfs = "/tmp", size = "1M", mode = "1777" }, { devpts = "/dev/pts", gid = 5 }, { file = "/etc/x", data = "y", mode = "0600" },
        { symlink = "usr/bin", at = "/bin" }, { dir = "/var/empty", mode = "0711" }, { file = "/tmp/in", data = "z" },
        { file = "/usr/f", data = "over" }, { fs = "/cfg", type = "ramfs", options = { "mode=0700" } }, { bind = "/nowhere", optional = true } },
      masked = { "/proc/kcore" }, readonly = { "/proc/sys" } }
    local by = {}
    for _, m in ipairs(c.mounts) do by[m.destination] = m end
    assert.same({ destination = "/usr", type = "none", source = "/usr", options = { "rbind", "rnosuid", "rnodev", "rro", "rprivate" } }, by["/usr"])
    assert.same({ "bind", "nosuid", "nodev", "noexec", "rprivate" }, by["/p"].options)
    assert.same({ "nosuid", "nodev", "noexec", "hidepid=invisible" }, by["/proc"].options)
    assert.same({ "nosuid", "nodev", "mode=1777", "size=1048576", "tmpcopyup" }, by["/tmp"].options)
    assert.same({ "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" }, by["/dev/pts"].options)
    assert.same({ "ramfs", "mode=0700" }, { by["/cfg"].type, by["/cfg"].options[3] })
    assert.same({ "/proc/kcore" }, c.linux.maskedPaths)
    assert.is_nil(c.linux.rootfsPropagation)
    assert.same({ "/proc/sys" }, c.linux.readonlyPaths)
    assert.same({ path = "rootfs", readonly = true }, c.root)
    assert.same({ { path = "/dev/fuse", type = "c", major = 10, minor = 229, fileMode = 384, uid = 0, gid = 0 } }, c.linux.devices)
    local files = {}
    for _, f in ipairs(x.files) do files[f.path] = f end
    assert.same({ path = "rootfs/etc/x", type = "file", data = "y", mode = 384 }, files["rootfs/etc/x"])
    assert.equal("usr/bin", files["rootfs/bin"].target)
    assert.equal(457, files["rootfs/var/empty"].mode)
    assert.equal("z", files["rootfs/tmp/in"].data)
    assert.equal("over", files[by["/usr/f"].source].data) -- beside the root, and mounted over the host's
    assert.truthy(warned(x, "mounts/12"))
    if t.is_root then
      assert.same({ { allow = false, access = "rwm" }, { allow = true, type = "c", major = 10, minor = 229, access = "rwm" } },
        c.linux.resources.devices)
    end
  end)

  it("says what the limits are, exactly", function()
    local c = good { cgroup = { path = "/a/b", memory = { max = "9007199254740993", swap = "1M", low = "2M", swappiness = 5, high = "3M" },
      pids = { max = 7 }, cpu = { max = 0.5, weight = 50, idle = true }, cpuset = { cpus = "0-1" },
      io = { weight = 500, max = { { device = "8:0", rbps = "1M", wiops = 5 } } }, hugetlb = { ["2MB"] = "4M" },
      rdma = { mlx = { hca_handle = 3 } }, net_cls = { classid = 9 }, net_prio = { lo = 4 }, misc = { sev = 2 },
      unified = { ["memory.oom.group"] = "1" } } }
    local r = c.linux.resources
    assert.same({ limit = "9007199254740993", swap = "9007199255789569", reservation = 2097152, swappiness = 5 }, r.memory)
    assert.same({ limit = 7 }, r.pids)
    assert.same({ quota = 50000, period = 100000, shares = 512, idle = 1, cpus = "0-1" }, r.cpu)
    assert.same({ weight = 500, throttleReadBpsDevice = { { major = 8, minor = 0, rate = 1048576 } },
      throttleWriteIOPSDevice = { { major = 8, minor = 0, rate = 5 } } }, r.blockIO)
    assert.same({ { pageSize = "2MB", limit = 4194304 } }, r.hugepageLimits)
    assert.same({ mlx = { hcaHandles = 3 } }, r.rdma)
    assert.same({ classID = 9, priorities = { { name = "lo", priority = 4 } } }, r.network)
    assert.same({ ["memory.oom.group"] = "1", ["memory.high"] = "3145728", ["misc.max"] = "sev 2" }, r.unified)
    assert.equal("/a/b", c.linux.cgroupsPath)
    assert.equal(4294967296, good({ cgroup = { memory = { max = 4294967295, swap = 1 } } }).linux.resources.memory.swap)
    local c2, x = good { cgroup = { driver = "systemd", slice = "a-b.slice", scope = "x-y.scope" } }
    assert.equal("a-b.slice::x-y", c2.linux.cgroupsPath)
    assert.same({ driver = "systemd", slice = "a-b.slice", scope = "x-y.scope" }, require("caisson.systemd").parse_cgroups_path("a-b.slice::x-y"))
    assert.truthy(warned(x, "cgroup"):find "systemd%-cgroup")
    assert.is_nil(good({ cgroup = { driver = "systemd", scope = "x-*.scope" } }).linux.cgroupsPath)
    assert.same({ limit = -1 }, good({ cgroup = { pids = { max = "max" } } }).linux.resources.pids)
  end)

  it("says the filter, its listener, devices of the network, shares of caches, commands as hooks", function()
    local policy = caisson.policy
    local c = good { namespaces = { mount = true, net = true }, network = { { move = "dummy9", name = "eth0" } },
      rdt = { group = "g", l3 = "0=f", monitor = true },
      seccomp = policy.new { default = "allow", newest = false }:answer("notify", { "mkdir" }),
      seccomp_listener = { path = "/run/agent", metadata = "m" },
      hooks = { prestart = { path = "/bin/true", args = { "true", "x" }, env = { A = "b" }, timeout = 3 } } }
    assert.same({ dummy9 = { name = "eth0" } }, c.linux.netDevices)
    assert.same({ closID = "g", l3CacheSchema = "L3:0=f", enableMonitoring = true }, c.linux.intelRdt)
    assert.same({ "SCMP_ACT_ALLOW", "/run/agent", "m" },
      { c.linux.seccomp.defaultAction, c.linux.seccomp.listenerPath, c.linux.seccomp.listenerMetadata })
    assert.equal("SCMP_ACT_NOTIFY", c.linux.seccomp.syscalls[1].action)
    assert.same({ prestart = { { path = "/bin/true", args = { "true", "x" }, env = { "A=b" }, timeout = 3 } } }, c.hooks)
  end)

  for name, case in pairs {
    script = { { script = function(plan) plan:after("hostname", function() end) end, namespaces = { mount = true, uts = true }, hostname = "x" },
      "script: step lua %(.*export_spec.lua:%d+%)" },
    ["a script's step"] = { { script = function(plan) plan:add(plan.dumpable { on = false }) end }, "script: step dumpable", "script" },
    hooks = { { hooks = { poststop = function() end } }, "hooks.poststop%[1%]: a function" },
    ["a hook's directory"] = { { hooks = { poststop = { path = "/bin/true", dir = "/tmp" } } }, "hooks.poststop%[1%]: its directory", "hooks" },
    landlock = { { landlock = { read = { "/usr" } } }, "landlock: step landlock" },
    limits = { { limits = { time = 1 } }, "limits: " },
    trace = { { trace = { calls = { "@paths" }, decide = function() end } }, "trace: " },
    seccomp = { { seccomp = { caisson.policy.default(), caisson.policy.default() } }, "seccomp: a configuration has one filter" },
    ["seccomp bytes"] = { { seccomp = caisson.policy.program(caisson.policy.default()) }, "seccomp: the filter is a finished", "seccomp" },
    securebits = { { securebits = { "noroot" } }, "securebits: step securebits" },
    core_scheduling = { { core_scheduling = true }, "core_scheduling: " },
    affinity = { { affinity = "0" }, "affinity: " },
    personality = { { personality = { domain = "linux", flags = { "uname26" } } }, "personality: step personality" },
    ioprio = { { ioprio = { class = "none" } }, "ioprio: " },
    scheduler = { { scheduler = { policy = "other", util_min = 5 } }, "scheduler: " },
    network = { { namespaces = { mount = true, net = true }, network = { { veth = "eth0", bridge = "br0" } } }, "network%[1%]: " },
    routes = { { namespaces = { mount = true, net = true }, routes = { { to = "default", via = "10.0.0.1" } } }, "routes: " },
    limit_userns = { { namespaces = { mount = true, user = true }, limit_userns = true }, "limit_userns: step namespace.limit" },
    cgroup = { { cgroup = { io = { weight = 5 } } }, "cgroup: io: .* 10 to 1000, not 5" },
    root = { { root = { overlay = { lower = { "/usr" } } } }, "root: step root.overlay" },
    namespaces = { { namespaces = { pid = true } }, "namespaces: a bundle has a mount namespace", "root" },
    mounts = { { root = "/usr", mounts = { { symlink = "x", at = "/y" } } }, "mounts%[1%]: step symlink.*/y: a bundle can't put a symlink" },
  } do
    it("names what it can't say, and goes without it by name: " .. name, function()
      local message, errno = lost(case[1], case[2])
      assert.equal(core.errno.EOPNOTSUPP, errno)
      local without = case[3] or name
      local c, x = config(case[1], { without = without == "namespaces" and { "namespaces" } or { without, without == "root" and "namespaces" or nil } })
      assert.truthy(c, message .. "\n" .. tostring(x))
      assert.truthy(warned(x, without) or warned(x, "namespaces"), table.concat(x.warnings, "\n"))
    end)
  end

  it("tells all of it at once, and wrong options as everywhere", function()
    local message = lost({ limits = { time = 1 }, affinity = "0", hooks = { prestart = { function() end } } }, "^the recipe says what")
    for _, name in ipairs { "limits: ", "affinity: ", "hooks.prestart[1]: " } do assert.truthy(message:find(name, 1, true)) end
    lost({ mounts = { { bnd = "/x" } } }, "mounts%[1%]: what kind of mount")
    lost({ cgroup = { memory = { mx = 1 } } }, "cgroup.memory: unknown option 'mx' %(did you mean 'max'")
  end)

  it("warns of what is a little different", function()
    local _, x = good { namespaces = { mount = true, net = true }, init = true, die_with_parent = true, stdout = "capture", loopback = false,
      readonly_root = false, result = function() end, cgroup = { path = "x-*", pids = { max = 1, optional = true } }, session = false }
    for _, name in ipairs { "init", "die_with_parent", "stdout", "loopback", "root", "result", "cgroup.pids", "cgroup: path", "devices", "session" } do
      assert.truthy(warned(x, name), name .. " of " .. table.concat(x.warnings, "\n"))
    end
  end)
end)

-- What a program sees of its container.
local look = [[
grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
echo "pid $$ in $(pwd) umask $(umask) host $(cat /proc/sys/kernel/hostname)"; ulimit -a | grep -v pending; env | sort
ls -A / /tmp /etc /dev; cat /etc/passwd /tmp/in; ls -ld / /tmp /dev /etc/passwd /dev/null | while read -r mode _ user group rest; do echo $mode $user $group ${rest##* }; done
cut -d' ' -f5,6 /proc/self/mountinfo | sed 's|^/ ro,.*|/ ro|' | sort
cat /proc/self/uid_map /proc/self/oom_score_adj; (touch /x; touch /usr/x; chmod 4755 /tmp/in; mkdir /sys) 2>&1 | sed 's/.*: //'
]]

local function observed()
  return caisson.recipe { extends = "sandbox", args = { "/bin/sh", "-c", look }, init = false,
    mounts = { { file = "/tmp/in", data = "in\n" }, { bind = "/etc/hostname", at = "/etc/host" } }, oom_score_adj = 700,
    env = { A = "b c" }, umask = "0027", rlimits = { nofile = { 100, 200 } }, namespaces = { time = false } }
end

local function run(recipe)
  local r = assert(caisson.run(recipe, { params = {}, stdout = "capture", stderr = "capture" }))
  assert.same({ "exited", 0, "" }, { r.status, r.code, r.stderr })
  return r.stdout
end

local function captured(r)
  return run(caisson.recipe { extends = r, stdout = "capture", stderr = "capture" })
end

describe("an exported bundle", function()
  it("is the same container, read again", function()
    local needed, why = t.needs("userns")
    if needed == false then pending(why) return end
    assert(export.write(observed(), dir .. "/b"))
    local before = captured(observed())
    local r, message = require("caisson.oci.recipe").load(dir .. "/b", { rootless = not t.is_root })
    assert.truthy(r, message)
    r.def.namespaces.cgroup = r.def.namespaces.cgroup or false
    local after = captured(r)
    assert.equal(before, after)
    assert.truthy(after:find "in\n")
  end)

  it("is what it was read from", function()
    local default = require("caisson.oci.default").config { rootless = not t.is_root }
    t.sh("mkdir " .. dir .. "/rootfs")
    default.hooks = { prestart = { { path = "/bin/true", args = { "true" }, env = { "A=b" }, timeout = 4 } } }
    local again = assert(export.config(assert(require("caisson.oci.recipe").of(default, { bundle = dir }))))
    assert.same(default.hooks, again.hooks)
    if not t.is_root then -- bound, and read-only with all that is mounted below
      assert.same({ "/sys", "rro" }, { again.mounts[6].destination, again.mounts[6].options[5] })
      again.mounts[6].options[5] = "ro"
    end
    assert.same(default.mounts, again.mounts)
    assert.same({ default.linux.maskedPaths, default.linux.readonlyPaths, default.linux.uidMappings },
      { again.linux.maskedPaths, again.linux.readonlyPaths, again.linux.uidMappings })
    assert.same({ path = dir .. "/rootfs", readonly = true }, again.root)
    local sets = default.process.capabilities
    sets.inheritable, sets.ambient = {}, {}
    default.process.user.umask = 18
    assert.same(default.process, again.process)
    assert.same({ default.hostname, #default.linux.namespaces }, { again.hostname, #again.linux.namespaces })
  end)

  for _, runtime in ipairs { "runc", "crun" } do
    it("runs under " .. runtime, function()
      if not t.is_root or t.sh("command -v " .. runtime) == "" then pending("needs root, and " .. runtime) return end
      assert(export.write(observed(), dir .. "/b"))
      local out = t.sh(("%s --root %s/state run -b %s/b exported-%d < /dev/null 2>&1"):format(runtime, dir, dir, t.getpid()))
      if out:find("cgroup", 1, true) and not out:find("NoNewPrivs", 1, true) then pending(runtime .. " does not know this machine's cgroups") return end
      assert.truthy(out:find("NoNewPrivs:\t1\n", 1, true), out)
      assert.truthy(out:find("\nin\n", 1, true), out)
      assert.truthy(out:find("host sandbox", 1, true), out)
    end)
  end
end)

describe("oci.export.write", function()
  local function entries() return #core.list(dir) end

  it("leaves nothing where it can't be written", function()
    local w, message = export.write(caisson.recipe { namespaces = { mount = true }, limits = { time = 1 } }, dir .. "/b")
    assert.is_nil(w)
    assert.truthy(message:find "limits")
    -- the second file is in the way of the third
    w, message = export.write(caisson.recipe { namespaces = { mount = true }, mounts = { { file = "/a", data = "" }, { file = "/b/c", data = "" },
      { file = "/a/d", data = "" } } }, dir .. "/b")
    assert.is_nil(w)
    assert.truthy(message:find "/b: ", message)
    assert.equal(0, entries())
    w, message = export.write(caisson.recipe { namespaces = { mount = true } }, dir .. "/none/b")
    assert.is_nil(w)
    assert.truthy(message:find "No such file")
  end)

  it("writes into a directory of its own alone", function()
    assert(export.write(caisson.recipe { namespaces = { mount = true } }, dir .. "/b"))
    local w, message, errno = export.write(caisson.recipe { namespaces = { mount = true } }, dir .. "/b")
    assert.is_nil(w)
    assert.equal(core.errno.ENOTEMPTY, errno)
    assert.truthy(message:find "of its own")
    assert.truthy(document.check(assert(document.read(dir .. "/b/config.json"))))
  end)
end)

describe("caisson export", function()
  local function command(...) return cli.run(cli.argv { "export", ... }) end

  it("writes a recipe with parameters and program", function()
    local r = command("sandbox", "tmp=1M", "--env", "X=y", dir .. "/b", "--", "ls", "-l")
    assert.equal(0, r.code, r.err)
    assert.truthy(r.err:find "^caisson: warning: init: ")
    local c = assert(document.read(dir .. "/b/config.json"))
    assert.same({ "ls", "-l" }, c.process.args)
    assert.truthy(table.concat(c.process.env, "\n"):find "X=y")
  end)

  it("says what it lacks, on one line each, and what to do without", function()
    local r = command("judge", "optional_limits=yes", dir .. "/b")
    assert.same({ 125, "" }, { r.code, r.out })
    assert.truthy(r.err:find("limits: time, CPU time and output", 1, true), r.err)
    r = command("judge", "--without", "limits", dir .. "/b")
    assert.equal(0, r.code, r.err)
    assert.truthy(r.err:find("caisson: warning: limits: left out", 1, true))
    assert.truthy(command("sandbox", "--without", "nothing", dir .. "/c").err:find "no option of recipes")
    assert.truthy(command("sandbox").err:find "directory are expected")
    assert.truthy(command("sandbox", "a=b").err:find "directory are expected")
  end)
end)

describe("container:state", function()
  it("is as the specification's schema has it", function()
    if not jsonschema.dir then pending(jsonschema.why) return end
    local id = "schema-" .. t.getpid()
    local c = assert(caisson.create("sandbox", { id = id, root = dir, args = { "true" }, annotations = { a = "b" }, stdin = "null",
      stdout = "null", stderr = "null" }))
    finally(function() c:delete { force = true } end)
    local state = assert(c:state())
    assert.same({}, jsonschema.faults(state, "state-schema.json"))
    assert.same({ id, "created", "b" }, { state.id, state.status, state.annotations.a })
    assert.is_true(#jsonschema.faults({ ociVersion = "1.2.0", id = id, status = "gone", bundle = "/" }, "state-schema.json") > 0)
  end)
end)
