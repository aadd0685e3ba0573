-- caisson check: each rule finds what it is about in a recipe that has it, and nothing in the same one mended.
local caisson = require "caisson"
local check = require "caisson.check"
local cli = require "support.cli"
local core = caisson.core
local json = require "caisson.json"
local plan = require "caisson.plan"
local policy = caisson.policy

-- Who makes the container, whoever runs the specs.
local function as(euid, fn)
  local own = core.identity
  core.identity = function() return { uid = euid, gid = euid, euid = euid, egid = euid, groups = {}, pid = 1, ppid = 1 } end
  local results = { pcall(fn) }
  core.identity = own
  if not results[1] then error(results[2], 0) end
  return results[2]
end

-- The findings of a rule; opts: as (a uid), script (a function of the plan), here, extends = false.
local function find(rule, options, opts)
  opts = opts or {}
  local o = { extends = "sandbox", args = { "/bin/true" } }
  if opts.extends == false then o.extends = nil end
  for k, v in pairs(options) do o[k] = v end
  return as(opts.as or 0, function()
    local built, message = caisson.recipe(o):build()
    if not built then error(message, 0) end
    if opts.edit then opts.edit(built.plan) end
    local list = {}
    local identity = core.identity()
    for k, v in pairs(opts.identity or {}) do identity[k] = v end
    for _, f in ipairs(check.of(built, { here = opts.here or false, identity = identity })) do
      if f.rule == rule then list[#list + 1] = f end
    end
    return list
  end)
end

local function directory()
  local path = os.tmpname()
  os.remove(path)
  assert(core.mkdir { path = path, mode = "0755" })
  finally(function() os.remove(path) end)
  return path
end

-- Rules that need no more than two recipes: the one that has it (and how bad it is), the mended one.
local proc = { { proc = "/proc" } }
local root = { user = 0, masked = { "/proc/sysrq-trigger" } }
local function with(t, more)
  local all = {}
  for k, v in pairs(t) do all[k] = v end
  for k, v in pairs(more) do all[k] = v end
  return all
end
local every = {}
for _, w in ipairs(core.primitives.capabilities.fields[1].words) do if w ~= "all" then every[#every + 1] = w end end

local cases = {
  { "mount-covered", "warning", {}, {}, { spoil = function(p) p:move("mount.proc", "pivot_root") end } },
  { "host-secret", "warning", { user = 0, mounts = { { overlay = "/o", lower = { "/etc", "/usr" } } } },
    { user = 0, mounts = { { overlay = "/o", lower = { "/usr/share", "/usr" } } } } },
  { "mount-covered", "note", { mounts = { { tmpfs = "/tmp", size = 1 } } }, {} },
  { "mount-covered", "warning", { mounts = { { tmpfs = "/x", size = 1 }, { tmpfs = "/x/l", size = 1 }, { tmpfs = "/x", size = 1 } } },
    { mounts = { { tmpfs = "/x", size = 1 }, { bind = "/srv", at = "/x/l" }, { overlay = "/x", lower = { "/x/l" } } } } },
  { "mount-covered", "warning", { mounts = { { tmpfs = "/x/y", size = 1 }, { tmpfs = "/x", size = 1 } } },
    { mounts = { { tmpfs = "/x", size = 1 }, { tmpfs = "/x/y", size = 1 } } } },
  { "filter-denies-exec", "error", { seccomp = policy.default() - { "execve", "execveat" } }, { seccomp = policy.default() } },
  { "host-root", "error", with(root, { mounts = { { bind = "/", at = "/host", writable = true } } }),
    with(root, { mounts = { { bind = "/", at = "/host" } } }) },
  { "host-root", "error", { user = 0 }, { user = 0, namespaces = { mount = true }, root = "/usr" }, { extends = false } },
  { "host-root", "warning", { namespaces = { pid = true } }, { namespaces = { pid = true, mount = true }, root = "/usr" },
    { extends = false, as = 1000 } },
  { "host-root", "error", { user = 0 }, { user = 0, namespaces = { mount = true }, landlock = { read = { "/" }, write = { "/tmp" } },
    root = { bind = "/" } }, { extends = false } },
  { "host-directory", "error", { landlock = { execute = { "/usr" }, write = { "/etc/x" } } }, { landlock = { execute = { "/usr" },
    write = { "/srv/x" } } }, { extends = false } },
  { "core-pattern", "error", { landlock = { write = { "/proc" } } }, { landlock = { read = { "/" } } }, { extends = false } },
  { "host-process", "error", { user = 0, namespaces = {} }, { user = 0, landlock = { connect = { 80 } }, capabilities = {},
    namespaces = { pid = true } }, { extends = false } },
  { "host-directory", "error", with(root, { mounts = { { bind = "/etc", at = "/e", writable = true } } }),
    with(root, { mounts = { { bind = "/etc", at = "/e" } } }) },
  { "host-directory", "error", with(root, { mounts = { { bind = "/etc/cron.d", at = "/e", writable = true } } }),
    with(root, { mounts = { { bind = "/srv/data", at = "/e", writable = true } } }) },
  { "home-directory", "warning", with(root, { mounts = { { bind = "/root/.ssh", at = "/k", writable = true } } }),
    with(root, { mounts = { { bind = "/root/project", at = "/k", writable = true } } }) },
  { "host-secret", "warning", { mounts = { { bind = "/etc", at = "/e" } } }, { mounts = { { bind = "/etc", at = "/e" } },
    masked = { "/e/shadow", "/e/gshadow", "/e/ssh", "/e/sudoers", "/e/kubernetes", "/e/NetworkManager" } } },
  { "engine-socket", "error", { mounts = { { bind = "/var/run/docker.sock" } } }, { mounts = { { bind = "/run/my.sock" } } } },
  { "engine-socket", "error", { mounts = { { bind = "/run/user/1000/bus", at = "/bus" } } },
    { mounts = { { bind = "/run/user/1000/mine", at = "/bus" } } }, { as = 1000 } },
  { "engine-socket", "warning", { mounts = { { bind = "/run/dbus/system_bus_socket" } } }, {} },
  { "desktop-socket", "warning", { mounts = { { bind = "/tmp/.X11-unix" } } }, { mounts = { { tmpfs = "/tmp/.X11-unix" } } } },
  { "host-tmp", "warning", { mounts = { { bind = "/tmp" } } }, { mounts = { { bind = "/tmp/one", at = "/tmp" } } } },
  { "setuid-outside", "warning", { user = 0, mounts = { { bind = "/srv", writable = true, suid = true } } },
    { user = 0, mounts = { { bind = "/srv", writable = true, idmap = { { 0, 100000, 10 } } } } } },
  { "setuid-outside", "warning", { user = 0, mounts = { { bind = "/srv", writable = true } } }, { user = 0,
    seccomp = { policy.default(), policy.no_setuid() }, mounts = { { bind = "/srv", writable = true } } } },
  { "suid-mount", "note", { no_new_privs = false, mounts = { { bind = "/srv", writable = true, suid = true } } },
    { no_new_privs = false, mounts = { { bind = "/srv", writable = true } } } },
  { "mount-propagation", "error", { root_propagation = "shared", propagation = "shared" }, { propagation = "slave" } },
  { "mount-propagation", "error", { mounts = { { bind = "/srv", propagation = "shared" } } },
    { mounts = { { bind = "/srv", propagation = "slave" } } } },
  { "chroot-only", "note", { no_pivot = true }, {} },
  { "chroot-only", "warning", { no_pivot = true, user = 0, capabilities = { "sys_chroot" } }, { user = 0,
    capabilities = { "sys_chroot" } } },
  { "writable-programs", "note", { mounts = { { bind = "/srv", writable = true } } },
    { mounts = { { bind = "/srv", writable = true, exec = false } } } },

  { "core-pattern", "error", { namespaces = { mount = true, pid = true }, mounts = proc }, { namespaces = { mount = true, pid = true },
    mounts = proc, readonly = { "/proc/sys" } }, { extends = false } },
  { "core-pattern", "error", { namespaces = { mount = true, pid = true }, mounts = proc }, { user = { uid = 1, gid = 1 },
    namespaces = { mount = true, pid = true }, mounts = proc }, { extends = false } },
  { "core-pattern", "error", { namespaces = { mount = true, pid = true }, mounts = proc }, { namespaces = { mount = true, pid = true,
    user = true }, idmap = { uid = { { 0, 100000, 10 } }, gid = { { 0, 100000, 10 } } }, mounts = proc }, { extends = false } },
  { "sysrq", "error", { namespaces = { mount = true, pid = true }, mounts = proc }, { namespaces = { mount = true, pid = true },
    mounts = proc, masked = { "/proc/sysrq-trigger" } }, { extends = false } },
  { "sysrq", "error", { namespaces = { mount = true, pid = true }, mounts = proc }, { namespaces = { mount = true, pid = true },
    mounts = { { proc = "/proc", writable = false } } }, { extends = false } },
  { "host-proc", "error", with(root, { mounts = { { bind = "/proc", at = "/p" } } }), with(root, { mounts = { { proc = "/p" } } }) },
  { "host-proc", "warning", { mounts = { { bind = "/", at = "/host" } } }, { mounts = { { bind = "/", at = "/host" },
    { tmpfs = "/host/proc" } } } },
  { "unmasked-proc", "warning", { namespaces = { mount = true, pid = true }, mounts = proc }, { namespaces = { mount = true, pid = true },
    mounts = proc, masked = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/proc/acpi" } }, { extends = false } },
  { "unmasked-proc", "note", { namespaces = { mount = true, pid = true }, mounts = proc, user = 7 },
    { namespaces = { mount = true, pid = true }, mounts = { { proc = "/proc", subset = "pid" } }, user = 7 }, { extends = false } },
  { "sysfs-writable", "error", with(root, { mounts = { { bind = "/sys/kernel", at = "/mnt", writable = true } } }),
    with(root, { mounts = { { bind = "/sys/kernel", at = "/mnt" } } }) },
  { "host-directory", "error", with(root, { mounts = { { overlay = "/etc", lower = { "/etc" }, upper = "/etc", work = "/tmp" } } }),
    with(root, { mounts = { { overlay = "/etc", lower = { "/etc" } , upper = "/nobodys/upper", work = "/tmp" } } }) },
  { "sysfs-writable", "error", with(root, { mounts = { { sysfs = "/sys", writable = true } } }),
    with(root, { mounts = { { sysfs = "/sys" } } }) },
  { "release-agent", "error", with(root, { mounts = { { fs = "/cg", type = "cgroup", options = { "memory" } } } }),
    with(root, { mounts = { { fs = "/cg", type = "cgroup", options = { "memory" }, writable = false } } }) },
  { "cgroup-writable", "warning", { mounts = { { bind = "/sys/fs/cgroup", at = "/cg", writable = true } } },
    { mounts = { { bind = "/sys/fs/cgroup", at = "/cg" } } } },
  { "cgroup-writable", "warning", { namespaces = { cgroup = false }, mounts = { { cgroup = "/cg", writable = true } } },
    { mounts = { { cgroup = "/cg", writable = true } } } },
  { "kernel-filesystem", "error", with(root, { mounts = { { fs = "/d", type = "debugfs" } } }), with(root,
    { mounts = { { fs = "/d", type = "ramfs" } } }) },
  { "kernel-filesystem", "warning", { mounts = { { bind = "/sys/kernel/tracing", at = "/t" } } },
    { mounts = { { bind = "/sys/kernel/mm", at = "/t" } } } },
  { "disk-filesystem", "note", { mounts = { { fs = "/d", type = "ext4", source = "/dev/sdb1" } } }, { mounts = { { tmpfs = "/d" } } } },
  { "device-memory", "error", { devices = { { path = "/dev/x", type = "char", major = 1, minor = 1 } } },
    { devices = { { path = "/dev/x", type = "char", major = 1, minor = 3 } } } },
  { "device-memory", "error", { mounts = { { bind = "/dev/mem", dev = true } } }, { mounts = { { bind = "/dev/mem" } } } },
  { "device-disk", "error", { devices = { { path = "/dev/x", type = "block", major = 8, minor = 0 } } }, { devices = { "/dev/null" } } },
  { "device-disk", "error", { devices = { "/dev/nvme0n1" } }, {} },
  { "device-input", "error", { devices = { "/dev/uinput" } }, {} },
  { "device-console", "warning", { devices = { "/dev/tty1" } }, { devices = { "/dev/tty" } } },
  { "device-kvm", "note", { devices = { "/dev/kvm" } }, {} },
  { "device-kmsg", "warning", { devices = { "/dev/kmsg" } }, {} },
  { "host-dev", "warning", { mounts = { { bind = "/dev", at = "/d", dev = true } } }, { mounts = { { tmpfs = "/d" } } } },

  { "host-uid", "warning", root, {} },
  { "host-uid", "warning", with(root, { namespaces = { user = true }, idmap = { uid = { { 0, 0, 9 } }, gid = { { 0, 0, 9 } } } }),
    with(root, { namespaces = { user = true }, idmap = { uid = { { 0, 100000, 9 } }, gid = { { 0, 100000, 9 } } } }) },
  { "capability-root", "error", { user = 0, capabilities = { "sys_admin" }, seccomp = policy.default { capabilities = { "sys_admin" } } },
    { user = 0, capabilities = { "sys_admin" } } }, -- without the calls that it is good for
  { "capabilities", "warning", { user = 0, capabilities = { "dac_read_search" } }, { user = 0, capabilities = { "setuid" } } },
  { "capability-root", "error", { user = 0, capabilities = { "mac_admin" } }, { user = 0, capabilities = { "net_bind_service" } } },
  { "capability-root", "error", { user = 0, capabilities = every }, { user = 0, capabilities = every, namespaces = { user = true },
    idmap = { uid = { { 0, 100000, 9 } }, gid = { { 0, 100000, 9 } } } } },
  { "capability-root", "error", { capabilities = { permitted = { "sys_module" }, ambient = { "sys_module" },
    inheritable = { "sys_module" }, bounding = { "sys_module" } }, seccomp = policy.default() + "@module" },
    { capabilities = { "sys_module" }, seccomp = policy.default() + "@module" } }, -- lost on exec
  { "capabilities", "warning", { user = 0, capabilities = { "sys_boot" } }, { user = 0, capabilities = { "sys_chroot" } } },
  { "capabilities", "warning", { user = 0, capabilities = { "dac_override" }, mounts = { { bind = "/srv", writable = true } } },
    { user = 0, capabilities = { "dac_override" } } },
  { "capabilities", "warning", { user = 0, capabilities = { "sys_ptrace" }, namespaces = { pid = false } },
    { user = 0, capabilities = { "sys_ptrace" } } },
  { "capabilities", "error", { user = 0, capabilities = { "mknod" } }, { user = 0, capabilities = { "mknod" } },
    { mend = function(p) p:before("clone", p.cgroup.set { file = "devices.deny", value = "a", group = "g" }) end } },
  { "inheritable-capabilities", "warning", { capabilities = { inheritable = { "chown" }, permitted = { "chown" },
    bounding = { "chown" } } }, { capabilities = { "chown" } } },
  { "userns-capabilities", "warning", { capabilities = { "sys_admin" }, namespaces = { user = true }, user = 0, seccomp = false,
    idmap = { uid = { { 0, 1000, 1 } }, gid = { { 0, 1000, 1 } } } }, { namespaces = { user = true }, user = 0,
    idmap = { uid = { { 0, 1000, 1 } }, gid = { { 0, 1000, 1 } } } }, { as = 1000 } },
  { "new-privileges", "note", { no_new_privs = false }, {} },
  { "new-privileges", "warning", { no_new_privs = false, capabilities = { "chown" } }, { capabilities = { "chown" } } },
  { "host-process", "error", with(root, { namespaces = { pid = false } }), root },
  { "host-process", "warning", { namespaces = { pid = false } }, {}, { as = 1000 } },
  { "host-network", "warning", { namespaces = { net = false } }, {} },
  { "host-network", "error", { user = 0, namespaces = { net = false } }, { user = 0, namespaces = { net = "/run/netns/x" } } },
  { "host-network", "error", { user = 0, capabilities = { "net_admin" }, namespaces = { net = false } }, { user = 0,
    capabilities = { "net_admin" } } },
  { "host-ipc", "warning", { namespaces = { ipc = false } }, {} },
  { "host-name", "note", { namespaces = { uts = false }, hostname = false }, {} },
  { "host-cgroup", "note", { namespaces = { cgroup = false } }, {} },
  { "host-namespace", "warning", { namespaces = { net = "/proc/1/ns/net" } }, { namespaces = { net = "/run/netns/x" } } },
  { "uid-unmapped", "error", { user = 5, namespaces = { user = true }, idmap = { uid = { { 0, 100000, 5 } },
    gid = { { 0, 100000, 9 } } } }, { user = 4, namespaces = { user = true }, idmap = { uid = { { 0, 100000, 5 } },
    gid = { { 0, 100000, 9 } } } } },
  { "capabilities-lost", "warning", { capabilities = { "kill" } }, { capabilities = { "kill" }, user = 0 } },
  { "capabilities-lost", "warning", { capabilities = { "kill" } }, { capabilities = { bounding = { "kill" }, permitted = { "kill" },
    inheritable = { "kill" }, ambient = { "kill" } } } },
  { "host-name-set", "error", { namespaces = { uts = false } }, { namespaces = { uts = false }, hostname = false } },
  { "release-agent", "error", { user = 0, capabilities = { "sys_admin" }, seccomp = policy.default { capabilities = { "sys_admin" } } },
    { user = 0, capabilities = { "sys_admin" } } },
  { "tmpfs-memory", "note", {}, {}, { spoil = function(p)
    p:before("clone", p.cgroup.set { file = "memory.max", value = "1000000", group = "g" }) end, mend = function(p)
    p:before("clone", p.cgroup.set { file = "memory.max", value = "100000000", group = "g" }) end } },
  { "cwd-descriptor", "error", { cwd = "/proc/self/fd/7" }, { cwd = "/tmp" } },
  { "capabilities", "error", { user = 0, capabilities = { "mknod" } }, { user = 0, capabilities = { "mknod" } },
    { spoil = function(p) p:before("clone", p.cgroup.set { file = "devices.deny", value = "a", group = "g" },
      p.cgroup.set { file = "devices.allow", value = "b *:* rwm", group = "g" }) end,
      mend = function(p) p:before("clone", p.cgroup.set { file = "devices.deny", value = "a", group = "g" },
      p.cgroup.set { file = "devices.allow", value = "b *:* m", group = "g" }) end } },
  { "sysctl-namespace", "error", { sysctl = { ["kernel.core_pattern"] = "x" } }, { sysctl = { ["kernel.sem"] = "1 1 1 1" } } },
  { "sysctl-namespace", "error", { namespaces = { net = false }, sysctl = { ["net.ipv4.ip_forward"] = 1 } },
    { sysctl = { ["net.ipv4.ip_forward"] = 1 } } },
  { "secret-environment", "note", { env = { DB_PASSWORD = "x" } }, { env = { DB_PASSWORD = "", PASS = "x" } } },
  { "functions-inside", "note", { hooks = { startContainer = function() end } }, { hooks = { poststop = function() end } } },

  { "no-seccomp", "warning", { seccomp = false }, {} },
  { "filter-default", "warning", { seccomp = policy.new { default = "allow", newest = false } - "ptrace" }, {} },
  { "foreign-calls", "warning", { seccomp = "\6\0\0\0\0\0\255\127" }, {} },
  { "nested-userns", "warning", { seccomp = policy.default() + { "unshare" } }, {} },
  { "nested-userns", "warning", { seccomp = policy.default() + { "clone" }, namespaces = { user = true },
    idmap = { uid = { { 0, 1000, 1 } }, gid = { { 0, 1000, 1 } } } }, { seccomp = policy.default() + { "clone" },
    namespaces = { user = true }, limit_userns = true, idmap = { uid = { { 0, 1000, 1 } }, gid = { { 0, 1000, 1 } } } },
    { as = 1000 } },
  { "io-uring", "warning", { seccomp = policy.default() + { "@io-uring" } }, {} },
  { "bpf", "warning", { seccomp = policy.default() + { "bpf" } }, {} },
  { "userfaultfd", "warning", { seccomp = policy.default() + { "userfaultfd" } }, {} },
  { "perf-event", "warning", { seccomp = policy.default() + { "perf_event_open" } }, {} },
  { "open-by-handle", "error", { user = 0, capabilities = { "dac_read_search" }, seccomp = policy.default() + "open_by_handle_at" },
    { user = 0, capabilities = { "dac_read_search" } } },
  { "module-calls", "error", { user = 0, capabilities = { "sys_module" }, seccomp = policy.default() + "@module" },
    { user = 0, capabilities = { "sys_module" } } },
  { "keyring-shared", "warning", { seccomp = policy.default() + "@keyring" }, { seccomp = policy.default() + "@keyring",
    keyring = "mine" } },
  { "terminal-injection", "warning", { session = false, seccomp = false }, { seccomp = false } },
  { "terminal-injection", "warning", { session = false, seccomp = false }, { session = false } },
  { "terminal-injection", "warning", { session = false, seccomp = false }, { session = false, seccomp = false, stdin = "null",
    stdout = "null", stderr = "null" } },
  { "terminal-injection", "warning", { user = 0, capabilities = { "sys_admin" }, seccomp = policy.default() + "ioctl" },
    { user = 0, capabilities = { "sys_admin" }, tty = true, seccomp = policy.default() + "ioctl" } },
  { "terminal-filter", "warning", { seccomp = policy.new { default = "allow" } - { { "ioctl", args = { { 1, "==", "0x5412" } } } } },
    { seccomp = policy.new { default = "allow" } - { { "ioctl", args = { { 1, "masked", "0xffffffff", "0x5412" } } } } } },
  { "filter-before", "error", { namespaces = {}, no_new_privs = false, seccomp = policy.default() },
    { namespaces = {}, seccomp = policy.default() }, { extends = false, as = 1000, identity = { euid = 1000 },
    strip = true } },

  { "no-memory-limit", "note", {}, { rlimits = { as = 1e9 } } },
  { "no-memory-limit", "note", {}, {}, { mend = function(p)
    p:before("clone", p.cgroup.set { file = "memory.max", value = "1000000", group = "g" }) end } },
  { "no-process-limit", "note", {}, { rlimits = { nproc = 10 } } },
  { "no-process-limit", "note", {}, {}, { mend = function(p)
    p:before("clone", p.cgroup.set { file = "pids.max", value = "10", group = "g" }) end } },
  { "tmpfs-size", "note", { mounts = { { tmpfs = "/big" } } }, { mounts = { { tmpfs = "/big", size = 1048576 } } } },
  { "oom-protected", "warning", { oom_score_adj = -10 }, { oom_score_adj = 10 } },
  { "realtime", "warning", { scheduler = { policy = "fifo", priority = 1 } }, { scheduler = { policy = "fifo", priority = 1 },
    rlimits = { rttime = 1000 } } },
}

describe("caisson check", function()
  local covered = {}
  for i, c in ipairs(cases) do
    local rule, level, bad, good, opts = c[1], c[2], c[3], c[4], c[5] or {}
    covered[rule] = true
    it(("%s: %s, and none where it is mended (%d)"):format(rule, level, i), function()
      local edit = opts.strip and function(p) -- who is no root, without a user namespace
        p:replace("clone", p.clone {})
        for _, name in ipairs { "idmap" } do if p:find(name) then p:remove(name) end end
      end
      local list = find(rule, bad, { as = opts.as, extends = opts.extends, identity = opts.identity, edit = opts.spoil or edit })
      assert.is_true(#list > 0, rule .. " is not found")
      assert.equal(level, list[1].level, list[1].message)
      assert.truthy(list[1].message ~= "")
      list = find(rule, good, { as = opts.as, extends = opts.extends, identity = opts.identity, edit = opts.mend or edit })
      assert.same({}, list)
    end)
  end

  -- Those that look at this machine.
  local function here(rule, bad, good, opts)
    covered[rule] = true
    opts = opts or {}
    opts.here = true
    local list = find(rule, bad, opts)
    assert.is_true(#list > 0, rule .. " is not found")
    assert.same({}, find(rule, good, opts))
    return list[1]
  end

  it("source-missing says what is there instead", function()
    local dir = directory()
    assert(io.open(dir .. "/source", "w")):close()
    finally(function()
      os.remove(dir .. "/source")
      os.remove(dir)
    end)
    local f = here("source-missing", { mounts = { { bind = dir .. "/sorce", at = "/x" } } },
      { mounts = { { bind = dir .. "/source", at = "/x" }, { bind = "/no/such", optional = true } } })
    assert.equal("error", f.level)
    assert.truthy(f.fix:find(dir .. "/source", 1, true), f.fix)
    assert.truthy(f.at:find("check_spec.lua:%d+"), f.at)
  end)

  it("target-missing: nothing can be made in a read-only mount", function()
    local f = here("target-missing", { mounts = { { tmpfs = "/usr/no-such-place", size = 1 } } },
      { mounts = { { tmpfs = "/usr/share", size = 1 }, { tmpfs = "/tmp/x", size = 1 } } })
    assert.truthy(f.message:find("/usr is read-only", 1, true), f.message)
  end)

  it("program-missing: by its path and by PATH, through the container's links", function()
    here("program-missing", { args = { "/opt/no/such" } }, { args = { "/bin/sh" } })
    here("program-missing", { args = { "no-such-program" } }, { args = { "sh" } })
    here("program-missing", { args = { "sh" }, env = { PATH = "/tmp" } }, { args = { "PROGRAM" } })
  end)

  it("cwd-missing", function()
    here("cwd-missing", { cwd = "/no/such" }, { cwd = "/usr/share" })
    assert.same({}, find("cwd-missing", { cwd = { path = "/tmp/new", create = true } }, { here = true }))
  end)

  it("needs-root: namespaces of who is not root, without a user namespace", function()
    local list = find("needs-root", { namespaces = { user = false } }, { as = 1000, here = true })
    assert.equal("error", list[1].level)
    assert.same({}, find("needs-root", {}, { as = 1000, here = true }))
    assert.same({}, find("needs-root", { namespaces = { user = false } }, { as = 0, here = true }))
    covered["needs-root"] = true
  end)

  it("mount-needs-namespace: sysfs of the host's network, proc of its processes", function()
    local f = here("mount-needs-namespace", { namespaces = { net = false }, mounts = { { sysfs = "/sys" } } },
      { mounts = { { sysfs = "/sys" } } }, { as = 1000 })
    assert.truthy(f.message:find("sysfs at /sys needs a new net namespace", 1, true), f.message)
    here("mount-needs-namespace", { namespaces = { pid = false } }, {}, { as = 1000 })
  end)

  it("rlimit-too-high: what this user may not raise", function()
    local own = core.rlimits
    core.rlimits = function() return { nofile = { soft = 100, hard = 2000 } } end
    finally(function() core.rlimits = own end)
    local f = here("rlimit-too-high", { rlimits = { nofile = 4000 } }, { rlimits = { nofile = 2000 } }, { as = 1000 })
    assert.truthy(f.message:find("4000 asked for, 2000 allowed", 1, true), f.message)
  end)

  it("unavailable: what the doctor says no to, with the cure", function()
    local own = package.loaded["caisson.doctor"]
    finally(function() package.loaded["caisson.doctor"] = own end)
    package.loaded["caisson.doctor"] = { examine = function()
      return { { name = "overlay", able = false, why = "no such device", fix = "modprobe overlay" },
        { name = "seccomp", able = true } }
    end }
    local overlay = { mounts = { { overlay = "/o", lower = { "/usr", "/etc" } } } }
    local f = here("unavailable", overlay, {})
    assert.same({ "overlay: this machine can't (no such device)", "modprobe overlay" }, { f.message, f.fix })
    overlay.mounts[1].optional = true
    assert.same({}, find("unavailable", overlay, { here = true }))
  end)

  it("recipe-writable, hook-writable, project-hooks: what the host runs", function()
    local dir = directory()
    for _, name in ipairs { "hook", "box.lua", ".envrc" } do assert(io.open(dir .. "/" .. name, "w")):close() end
    finally(function()
      for _, name in ipairs { "hook", "box.lua", ".envrc" } do os.remove(dir .. "/" .. name) end
      os.remove(dir)
    end)
    local shown, readonly = { { bind = dir, at = "/w", writable = true } }, { { bind = dir, at = "/w" } }
    local hooks = { poststop = { path = dir .. "/hook" } }
    here("hook-writable", { user = 0, mounts = shown, hooks = hooks }, { user = 0, mounts = readonly, hooks = hooks })
    here("hook-writable", { user = 0, mounts = shown, hooks = hooks }, { user = 0, mounts = { shown[1],
      { bind = dir .. "/hook", at = "/w/hook" } }, hooks = hooks })
    local f = here("project-hooks", { mounts = shown }, { mounts = { shown[1], { bind = dir .. "/.envrc", at = "/w/.envrc" } } })
    assert.truthy(f.fix:find(('{ bind = "%s/.envrc", at = "/w/.envrc" }'):format(dir), 1, true), f.fix)
    local file = assert(io.open(dir .. "/box.lua", "w"))
    file:write(([[return require("caisson").recipe { extends = "sandbox", params = { rw = { "boolean", default = true } }, user = 0,
      build = function(p) return { user = 0, args = { "x" }, mounts = { { bind = "%s", at = "/w", writable = p.rw } } } end }]]
      ):format(dir))
    file:close()
    for rw, n in pairs { yes = 1, no = 0 } do
      local list = as(0, function() return check.recipe(dir .. "/box.lua", { params = { rw = rw }, here = true }) end)
      local found = 0
      for _, x in ipairs(list) do if x.rule == "recipe-writable" then found = found + 1 end end
      assert.equal(n, found)
    end
    covered["recipe-writable"] = true
  end)

  it("landlock-denies-exec: by where the program really is", function()
    here("landlock-denies-exec", { landlock = { execute = { "/usr/lib" } } }, { landlock = { execute = { "/usr" } } })
    here("landlock-denies-exec", { landlock = { read = { "/" } } }, { landlock = { connect = { 80 } } })
    here("landlock-denies-exec", { landlock = { { execute = { "/" } }, { read = { "/" } } } },
      { landlock = { { execute = { "/" } }, { execute = { "/bin" } } } })
  end)

  it("landlock-left-out: what this kernel does not know of it", function()
    local built = as(0, function()
      return assert(caisson.recipe({ extends = "sandbox", args = { "/bin/true" }, landlock = { execute = { "/" } } }):build())
    end)
    local function has()
      for _, f in ipairs(check.of(built, { here = true })) do if f.rule == "landlock-left-out" then return f.message end end
    end
    assert.is_nil(has())
    built.landlock_left_out = { "ioctl_dev" }
    assert.equal("left out of Landlock: ioctl_dev", has())
    covered["landlock-left-out"] = true
  end)

  it("landlock-path: what it has a rule for", function()
    here("landlock-path", { landlock = { execute = { "/usr" }, write = { "/no/such" } } },
      { landlock = { execute = { "/usr" }, write = { "/tmp", { path = "/no/such", optional = true } } } })
  end)

  it("mask-missing: a name that protects nothing", function()
    local f = here("mask-missing", { masked = { "/proc/meminfoo" } }, { masked = { "/proc/meminfo", "/proc/acpi", "/proc/scsi" } })
    assert.truthy(f.message:find("did you mean /proc/meminfo?", 1, true), f.message)
    assert.equal("note", here("mask-missing", { readonly = { "/usr/shaer" } }, { readonly = { "/usr/share" } }).level)
    assert.same({}, find("mask-missing", { masked = { "/etc/shadow", "/usr/no-such-name-at-all" } }, { here = true }))
  end)

  it("unknown-calls: what this libseccomp has no name for", function()
    local p = assert(policy.from_oci { defaultAction = "SCMP_ACT_ERRNO", syscalls = { {
      names = { "execve", "no_such_call_at_all" }, action = "SCMP_ACT_ALLOW" } } })
    here("unknown-calls", { seccomp = p }, { seccomp = policy.default() })
  end)

  it("groups-kept: of the caller's, where they stay", function()
    local groups = { identity = { groups = { 0, 999 } }, extends = false }
    local f = here("groups-kept", { namespaces = { pid = true } }, { namespaces = { pid = true }, user = { uid = 5, gid = 5 } }, groups)
    assert.same({ "warning", "the program keeps the groups 999" }, { f.level, f.message })
  end)

  it("host-users: ids of the map that somebody has", function()
    local function map(from) return { namespaces = { user = true }, idmap = { uid = { { 0, from, 10 } }, gid = { { 0, from, 10 } } } } end
    here("host-users", map(1), map(100000))
  end)

  it("source-swap: a directory on the way that is another's", function()
    local dir = directory()
    assert(core.mkdir { path = dir .. "/in", mode = "0755" })
    finally(function()
      os.remove(dir .. "/in")
      os.remove(dir)
    end)
    local m = { bind = dir .. "/in", at = "/x" }
    if core.identity().euid == 0 then assert(os.execute("chown 1000 " .. dir)) end
    here("source-swap", { mounts = { m } }, { mounts = { { bind = dir .. "/in", at = "/x", nofollow = true } } })
  end)

  it("submounts-writable: read-only on top alone", function()
    local point
    for line in io.lines "/proc/self/mountinfo" do
      point = point or line:match("^%S+ %S+ %S+ (/%S*) /proc ") and "/proc" or nil
    end
    if not point then return pending "needs a mount on /proc" end
    here("submounts-writable", { mounts = { { bind = "/", at = "/host", exact = true, recursive = true, flags = { "ro" } } } },
      { mounts = { { bind = "/", at = "/host" } } })
  end)

  it("leaked-descriptor: more than the three", function()
    local function files(list)
      return function(p) p.steps[#p.steps].options.files = list end
    end
    assert.equal(1, #find("leaked-descriptor", {}, { edit = files { "stdin", "stdout", "stderr", "log" } }))
    assert.same({}, find("leaked-descriptor", {}, { edit = files { "stdin", "stdout", "stderr", "-" } }))
    covered["leaked-descriptor"] = true
  end)

  it("has a spec for each rule", function()
    local without = {}
    for _, r in ipairs(check.rules()) do
      if not covered[r.name] and r.name ~= "invalid" then without[#without + 1] = r.name end
      assert.truthy(r.title:find("%.$"), r.name)
    end
    assert.same({}, without)
  end)
end)

describe("a recipe", function()
  it("accepts a finding on purpose, with the reason", function()
    local list = find("host-network", { namespaces = { net = false }, accept = { ["host-network"] = "it is a proxy" } })
    assert.equal("it is a proxy", list[1].accepted)
    assert.same({ error = 0, warning = 0, note = 0, accepted = 1 }, check.count(list))
    list = find("invalid", { accept = { ["host-netwrok"] = "it is a proxy" } })
    assert.truthy(list[1].message:find("unknown rule 'host-netwrok' (did you mean 'host-network'?)", 1, true))
    assert.equal("error", list[1].level)
    list = find("invalid", { accept = { ["host-network"] = "it was a proxy" } })
    assert.truthy(list[1].message:find("nothing is found by 'host-network'", 1, true))
    assert.equal("note", list[1].level)
    local built, message = caisson.recipe({ args = { "x" }, accept = { bpf = true } }):build()
    assert.is_nil(built)
    assert.truthy(message:find("accept.bpf: string expected, got boolean", 1, true), message)
  end)

  it("that can't be built is a finding, with the place", function()
    local path = os.tmpname() .. ".lua"
    finally(function() os.remove(path) end)
    local function findings(text)
      local f = assert(io.open(path, "w"))
      f:write(text)
      f:close()
      return check.recipe(path)
    end
    local f = findings 'return require("caisson").recipe {\n  args = { "x" },\n  hostnam = "y" }'[1]
    assert.same({ "error", "invalid" }, { f.level, f.rule })
    assert.truthy(f.message:find("unknown option 'hostnam' (did you mean 'hostname'?)", 1, true), f.message)
    assert.truthy(f.at:find("%.lua:3$"), f.at)
    f = findings 'return require("caisson").recipe {\n  args = { "x" },\n  root = "/usr" }'[1]
    assert.truthy(f.message:find("mounts need a new mount namespace", 1, true), f.message)
    assert.truthy(f.at:find("%.lua:3$"), f.at)
    assert.truthy(findings "return 1"[1].message:find("returns no recipe", 1, true))
  end)

  it("of ours has nothing wrong, whoever starts it", function()
    -- those without a root of their own: what they leave of the host is theirs
    local open, dir, seen = { landlocked = true, offline = true }, directory(), 0
    for _, file in ipairs(core.list "recipes") do
      local name = file:match "^(.+)%.lua$"
      for _, euid in ipairs(name and not open[name] and { 0, 1000 } or {}) do
        as(euid, function()
          local r = assert(caisson.load(name))
          local list = check.recipe(r, { here = false, params = r:all_params().dir and { dir = dir } or nil })
          local bad = {}
          for _, f in ipairs(list) do
            local built = not (f.rule == "invalid" and f.level == "error") -- a parameter is missing, or what it takes
            if built then seen = seen + 1 end
            -- here, where the recipes are themselves, is what some of them show
            if built and f.level ~= "note" and not f.accepted and f.rule ~= "recipe-writable" then bad[#bad + 1] = f.rule .. ": " .. f.message end
          end
          assert.same({}, bad, name)
        end)
      end
    end
    assert.is_true(seen > 30)
    for _, name in ipairs { "sandbox", "judge", "handmade" } do
      local n = as(0, function() return check.count(check.recipe(name, { here = false })) end)
      assert.same({ 0, 0 }, { n.error, n.warning }, name)
    end
  end)

  it("has it as a method, and the library as caisson.check", function()
    local r = caisson.recipe { extends = "sandbox", args = { "/bin/true" }, namespaces = { net = false } }
    local list = r:check { here = false, allow = { ["host-network"] = true } }
    assert.equal("allowed", (function()
      for _, f in ipairs(list) do if f.rule == "host-network" then return f.accepted end end
    end)())
    assert.equal(check, caisson.check)
  end)

  it("that Landlock holds is not said to be open", function()
    local function rules(options)
      local list = {}
      as(0, function()
        local r = caisson.recipe(options)
        for _, f in ipairs(check.recipe(r, { here = false })) do list[f.rule] = f end
      end)
      return list
    end
    local open, held = rules { args = { "/bin/true" } }, rules { args = { "/bin/true" }, landlock = { execute = { "/" } } }
    assert.same({ "error", "note" }, { open["host-root"].level, held["host-root"].level })
    assert.equal("error", open["core-pattern"].level)
    assert.is_nil(held["core-pattern"])
  end)

  it("can be a saved plan", function()
    local p = as(0, function()
      local built = assert(caisson.recipe({ extends = "sandbox", namespaces = { net = false }, args = { "true" } }):build())
      return built.plan:json()
    end)
    local rules = {}
    for _, f in ipairs(check.of(assert(plan.from_json(p)), { here = false, identity = { euid = 0, egid = 0, groups = {} } })) do
      rules[f.rule] = true
    end
    assert.is_true(rules["host-network"])
    assert.is_nil(rules["host-process"])
  end)
end)

describe("caisson check, the command,", function()
  local function write(text)
    local path = os.tmpname() .. ".lua"
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    finally(function() os.remove(path) end)
    return path
  end
  local good = 'return require("caisson").recipe { extends = "sandbox", args = { "/bin/true" } }'
  local warned = 'return require("caisson").recipe { extends = "sandbox", args = { "/bin/true" },\n namespaces = { net = false } }'
  local wrong = 'return require("caisson").recipe { extends = "sandbox", args = { "/bin/true" },\n devices = { "/dev/mem" } }'

  it("ends with 0, with 1 for warnings under --strict, with 2 for errors, with 125 where it can't tell", function()
    local a, b, c = write(good), write(warned), write(wrong)
    local function code(...) return cli.caisson({ "check", "--elsewhere", ... }).code end
    assert.equal(0, code(a))
    assert.equal(0, code("--strict", a))
    assert.equal(0, code(b))
    assert.equal(1, code("--strict", b))
    assert.equal(0, code("--strict", "--allow", "host-network", b))
    assert.equal(2, code(c))
    assert.equal(2, code("--strict", a, b, c))
    assert.equal(2, code(write "return {"))
    assert.equal(125, code "/no/such.lua")
    assert.equal(125, code("--allow", "no-such-rule", a))
    assert.equal(125, code())
    assert.equal(125, code("x=1", b))
    assert.equal(2, code(a, "no_such=1", b)) -- a recipe's own parameters: it can't be built
    assert.equal(0, code(a, "tmp=1M", b, "tmp=2M"))
    local needs = write 'return require("caisson").recipe { params = { x = { "string", required = true } }, args = { "y" } }'
    local r = cli.caisson { "check", "--elsewhere", needs, a } -- goes on with the others
    assert.equal(125, r.code)
    assert.truthy(r.err:find("it can't be told: parameter 'x' is missing", 1, true), r.err)
    assert.truthy(r.out:find(a .. ": nothing wrong", 1, true), r.out)
  end)

  it("says where, what, why, and what to do", function()
    local b = write(warned)
    local r = cli.caisson { "check", "--elsewhere", b }
    assert.equal("", r.err)
    assert.truthy(r.out:find(b:match "[^/]*/[^/]*$" .. ":2: warning: the host's network is shared [host-network]\n    why: ", 1, true),
      r.out)
    assert.truthy(r.out:find("\n    fix: namespaces = { net = true }", 1, true), r.out)
    assert.truthy(r.out:find("1 warning, %d notes?\n$"), r.out)
    r = cli.caisson { "check", "--elsewhere", "--quiet", "--allow", "host-network", b }
    assert.equal(b .. ": nothing wrong, 2 notes, 1 accepted\n", r.out)
  end)

  it("takes the program that is to be run", function()
    local r = cli.caisson { "check", write 'return require("caisson").recipe { extends = "sandbox" }', "--", "no-such-program" }
    assert.equal(2, r.code)
    assert.truthy(r.out:find("the program 'no-such-program' is not in the container [program-missing]", 1, true), r.out .. r.err)
  end)

  it("--json has all of it, of each recipe", function()
    local r = cli.caisson { "check", "--elsewhere", "--json", write(good), write(wrong) }
    local doc = assert(json.decode(r.out))
    assert.same({ 0, 0, 1 }, { doc[1].errors, doc[1].warnings, doc[2].errors })
    assert.same({ "error", "device-memory" }, { doc[2].findings[1].level, doc[2].findings[1].rule })
    assert.truthy(doc[2].findings[1].at:find ":2$")
    r = cli.caisson { "check", "--rules", "--json" }
    assert.equal(#check.rules(), #assert(json.decode(r.out)))
  end)

  it("takes a bundle: that of `caisson-oci spec` has root and no filter, and no more", function()
    local dir = directory()
    assert(core.mkdir { path = dir .. "/rootfs", mode = "0755" })
    local f = assert(io.open(dir .. "/config.json", "w"))
    f:write(json.document(require("caisson.oci.default").config()))
    f:close()
    finally(function()
      os.remove(dir .. "/config.json")
      os.remove(dir .. "/rootfs")
      os.remove(dir)
    end)
    local list = as(0, function() return check.recipe(dir, { here = false }) end)
    local rules = {}
    for _, x in ipairs(list) do if x.level ~= "note" then rules[#rules + 1] = x.rule end end
    assert.same({ "host-uid", "no-seccomp" }, rules)
    for _, x in ipairs(list) do -- the cure in the bundle's words
      assert.truthy(x.fix == nil or x.fix:find "^linux%." or x.fix:find "^process%." or not x.fix:find "[={]", x.fix)
    end
    local known = {}
    for _, r in ipairs(check.rules()) do known[r.name] = true end
    for rule in pairs(require("caisson.check.oci").fixes) do assert.is_true(known[rule], rule) end
  end)

  it("fits a terminal", function()
    local argv = { "env", "TERM=xterm" }
    for _, w in ipairs(cli.argv { "check", "--elsewhere", write(warned) }) do argv[#argv + 1] = w end
    local terminal = cli.at_terminal(argv, { columns = 60 })
    terminal:wait()
    terminal:close()
    for line in terminal.all:gmatch "[^\r\n]+" do
      -- a path has no place to break it at
      if line:find "^    " then assert.is_true(require("caisson.cli.color").width(line) <= 60, line) end
    end
    assert.truthy(terminal.all:find("\27[33mwarning", 1, true), terminal.all)
  end)
end)
