-- caisson probe: a loose recipe shows the finding, a tight one does not.
local t = require "support"
local m = require "support.mounts"
local caisson = require "caisson"
local core = t.core

local tight = { namespaces = { mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true },
  mounts = { { proc = "/proc" } }, readonly = { "/proc/sys", "/proc/irq" }, masked = { "/proc/keys",
    "/proc/timer_list", "/proc/kcore" },
  capabilities = {}, seccomp = caisson.policy.default() }
if t.is_root then
  tight.user = { uid = 65534, gid = 65534 }
  tight.cgroup = { memory = { max = "64M" }, pids = { max = 32 } }
end

local NONE = {}
local function caps(name)
  local list = { name }
  return { bounding = list, permitted = list, effective = list, inheritable = list, ambient = list }
end

-- A recipe: the tight one, but for these options; NONE takes one away.
local function recipe(change)
  local options = {}
  for k, v in pairs(tight) do options[k] = v end
  for k, v in pairs(change or {}) do
    if v == NONE then options[k] = nil else options[k] = v end
    if k == "namespaces" then
      options[k] = {}
      for name in pairs(tight.namespaces) do options[k][name] = true end
      for name, is in pairs(v) do options[k][name] = is end
    end
  end
  return caisson.recipe(options)
end

local function probe(change, opts)
  return assert(caisson.probe.run(recipe(change), opts))
end

local function finding(report, rule)
  for _, f in ipairs(report.findings) do if f.rule == rule then return f end end
end

local function row(report, section, key)
  for _, s in ipairs(report.sections) do
    if s.key == section then
      for _, r in ipairs(s.rows) do if r.key == key then return r end end
    end
  end
end

local function call(report, name)
  for _, c in ipairs(report.calls) do if c.name == name then return c end end
end

describe("a probe", function()
  if not t.needs "userns" then return end
  teardown(m.clean)
  local report
  setup(function() report = probe() end)

  it("finds nothing dangerous in a tight container without any file", function()
    for _, f in ipairs(report.findings) do
      if f.rule ~= "no-memory-limit" and f.rule ~= "no-process-limit" or t.is_root then
        assert.equal("note", f.level, f.rule .. ": " .. table.concat(f.evidence, "; "))
      end
    end
    assert.same({}, report.untried)
    for name, level in pairs(report.rules) do assert.not_equal("unknown", level, name) end
  end)

  it("leaves nothing", function()
    local before = require("support.remains").now()
    probe()
    assert.same(before, require("support.remains").now())
  end)

  it("says what each system call gets, tried where that tells", function()
    assert.is_true(#report.calls > 300)
    local tried = 0
    for _, c in ipairs(report.calls) do
      assert.is_nil(c.odd, c.name .. " is not what its filter says")
      if c.how == "tried" then tried = tried + 1 end
    end
    assert.is_true(tried > 300)
    assert.same({ "allow", "tried" }, { call(report, "getpid").action, call(report, "getpid").how })
    assert.same({ "errno", "EPERM" }, { call(report, "init_module").action, call(report, "init_module").errno })
    assert.equal("conditional", call(report, "clone").action)
    assert.matches("^allow if .*arg0 .*; else errno EPERM$", call(report, "clone").text)
  end)

  it("tells killing from refusing, behind several filters", function()
    local policy = caisson.policy
    local r = probe { seccomp = { policy.default(), policy.new { default = "allow",
      deny = "kill_process" } - { "chroot" },
      policy.new { default = "allow", deny = "trap" } - { "fchdir" }, policy.new { default = "allow",
        deny = "ENOSYS" } - { "getcwd" } } }
    assert.same({ "kill_process", "tried" }, { call(r, "chroot").action, call(r, "chroot").how })
    assert.same({ "trap", "tried" }, { call(r, "fchdir").action, call(r, "fchdir").how })
    assert.same({ "errno", "ENOSYS", "tried" }, { call(r, "getcwd").action, call(r, "getcwd").errno, call(r,
      "getcwd").how })
    for _, c in ipairs(r.calls) do assert.is_nil(c.odd, c.name) end
  end)

  it("works behind a filter that forbids all but the end", function()
    local r = probe { seccomp = caisson.policy.new { default = "kill_process", "exit_group", "execve" } }
    assert.same({ "kill_process", "tried" }, { call(r, "getpid").action, call(r, "getpid").how })
    assert.same({ "kill_process", "tried" }, { call(r, "openat").action, call(r, "openat").how })
    assert.equal("policy", call(r, "exit_group").how)
    assert.equal("allow", call(r, "exit_group").action)
    assert.equal("killed by the filter", row(r, "nested", "user namespace").value)
    assert.is_nil(finding(r, "nested-userns"))
    assert.same({}, r.untried)
  end)

  it("says what it could not try where it can't make a process", function()
    if not t.needs "root" then return end
    local r = probe { cgroup = { pids = { max = 1 } } }
    assert.matches("there can't be one %(EAGAIN%)", r.untried[1])
    assert.same({ "unknown", "unknown", "ok" }, { r.rules["nested-userns"], r.rules["abstract-sockets"], r.rules["host-network"] })
    assert.same({ "errno", "EPERM", "policy" }, { call(r, "init_module").action, call(r, "init_module").errno,
      call(r, "init_module").how })
  end)

  it("does not bother those who answer for calls", function()
    local asked = {}
    local r = probe { seccomp_notify = { mkdirat = function() asked[#asked + 1] = true end },
      seccomp = caisson.policy.default() }
    assert.same({ "notify", "policy" }, { call(r, "mkdirat").action, call(r, "mkdirat").how })
    assert.same({}, asked)
  end)

  it("reads identity, limits and namespaces as the kernel has them", function()
    assert.equal(t.is_root and "65534:65534" or ("%d:%d"):format(core.identity().uid, core.identity().gid),
      row(report, "identity", "user").value)
    assert.equal("set", row(report, "identity", "no_new_privs").value)
    assert.equal("its own", row(report, "namespaces", "net").value)
    assert.equal("the host's", row(report, "namespaces", "time").value)
    local r = probe { rlimits = { nofile = { 33, 44 } }, hostname = "probed", env = { A = "b" } }
    assert.equal("33 of 44", row(r, "limits", "nofile").value)
  end)

  it("runs the recipe's hooks, those that clean up too", function()
    local seen = {}
    probe { hooks = { createRuntime = function(s) seen[#seen + 1] = s.status end,
      poststop = function(s) seen[#seen + 1] = s.status end } }
    assert.same({ "created", "stopped" }, seen)
  end)

  it("comes back from a container in which nothing can live", function()
    local before = require("support.remains").now()
    local r, message = caisson.probe.run(recipe { rlimits = { as = 16384 } }) -- and no SIGPIPE ends this process
    assert.is_nil(r)
    assert.matches("^the probe has ended early: ", message)
    assert.same(before, require("support.remains").now())
  end)

  it("says what is wrong with a recipe that can't be built", function()
    local r, message = caisson.probe.run(recipe { hostname = ("x"):rep(99) })
    assert.is_nil(r)
    assert.matches("hostname", message)
    r, message = caisson.probe.run "no-such-recipe"
    assert.is_nil(r)
    assert.matches("no%-such%-recipe", message)
  end)
end)

-- Each: the rule, what is to be root's, the loose options, the level that they have.
local dir
local function directory()
  dir = dir or m.tmpdir()
  t.sh("chmod 755 " .. dir)
  return dir
end

local allow_all = { seccomp = NONE }
local function both(change)
  local options = { seccomp = NONE }
  for k, v in pairs(change) do options[k] = v end
  return options
end

local cases = {
  { "host-writable", "note", function() return { mounts = { { proc = "/proc" }, { bind = directory(), at = "/data",
    writable = true } } } end },
  { "host-directory", "danger", root = true, function() return { user = NONE, mounts = { { bind = "/etc",
    writable = true } } } end },
  { "host-root", "warning", function() return { mounts = { { bind = "/", at = "/host" } } } end },
  { "host-secret", "danger", root = true, function() return { user = NONE, mounts = { { bind = "/etc" } } } end },
  { "engine-socket", "danger", function()
    local path = directory() .. "/engine"
    t.sh("rm -f " .. path)
    local fd = core.open(directory(), "directory")
    local socket = assert(core.socket.listen(fd, "engine", "stream"))
    t.sh("chmod 666 " .. path)
    fd:close()
    return { mounts = { { bind = path, at = "/run/docker.sock" } } }, socket
  end },
  { "desktop-socket", "warning", function()
    t.sh("rm -f " .. directory() .. "/x")
    local fd = core.open(directory(), "directory")
    local socket = assert(core.socket.listen(fd, "x", "stream"))
    t.sh("chmod 666 " .. directory() .. "/x")
    fd:close()
    return { mounts = { { bind = directory() .. "/x", at = "/tmp/.X11-unix/X0" } } }, socket
  end },
  { "mount-propagation", "warning", root = true, function()
    local at = directory() .. "/shared"
    t.sh(("mkdir -p %s; mount -t tmpfs none %s; mount --make-shared %s"):format(at, at, at))
    return { propagation = "shared", mounts = { { bind = at, at = "/data", propagation = "shared" } } },
      { close = function() t.sh("umount " .. at) end }
  end },
  { "device-disk", "danger", root = true, function()
    return { user = NONE, mounts = { { bind = "/dev/loop0", dev = true, writable = true } } }
  end, skip = function() return not core.lstat "/dev/loop0" and "no /dev/loop0" end },
  { "machine-details", "note", root = true, function() return { user = NONE, masked = {} } end,
    skip = function() return not core.lstat "/proc/timer_list" and "no /proc/timer_list" end },
  { "kernel-log", "note", root = true, function() return both { capabilities = caps "syslog" } end },
  { "bpf", "danger", root = true, function() return both { capabilities = caps "bpf" } end },
  { "host-name", "note", root = true, function() return { user = NONE, readonly = {}, namespaces = { uts = false } } end },
  { "nested-mounts", "note", function() return allow_all end, skip = function()
    return not t.is_root and t.sh("unshare -r unshare -r true 2>&1") ~= "" and "this user can't nest user namespaces"
  end },
  { "core-pattern", "danger", root = true, function() return { user = NONE, readonly = {} } end },
  { "kernel-keys", "note", function() return { masked = {} } end },
  { "release-agent", "danger", root = true, needs = "cgroup_v1", function()
    return { user = NONE, mounts = { { bind = "/sys/fs/cgroup", writable = true } } }
  end },
  { "cgroup-writable", "warning", root = true, needs = "cgroup_v1", function()
    return { user = NONE, mounts = { { bind = "/sys/fs/cgroup", writable = true } } }
  end },
  { "capability-root", "danger", root = true, function() return { capabilities = caps "sys_admin" } end },
  { "capability-machine", "warning", root = true, function() return { capabilities = caps "sys_time" } end },
  { "executable-writable", "danger", root = true, function()
    return { user = NONE, capabilities = NONE, namespaces = { pid = false }, mounts = { { bind = "/proc" } }, masked = {}, readonly = {} }
  end },
  { "release-agent", "danger", root = true, needs = "cgroup_v1", function()
    return both { capabilities = caps "sys_admin", user = NONE, namespaces = { cgroup = false } }
  end },
  { "capabilities", "warning", function() return { capabilities = caps "net_raw" } end },
  { "inheritable-capabilities", "note", function()
    return { capabilities = { bounding = { "kill" }, permitted = { "kill" }, inheritable = { "kill" } } }
  end },
  { "ambient-capabilities", "note", function()
    return { capabilities = { bounding = { "kill" }, permitted = { "kill" }, inheritable = { "kill" },
      ambient = { "kill" } } }
  end },
  { "open-by-handle", "danger", root = true, function() return both { capabilities = caps "dac_read_search" } end },
  { "host-process", "danger", function() return { user = NONE, namespaces = { pid = false }, mounts = {}, masked = {},
    readonly = {} } end },
  { "terminal-injection", "danger", function() return both { session = false } end,
    skip = function() return (t.read_file "/proc/sys/dev/tty/legacy_tiocsti" or "1"):match "0"
      and "dev.tty.legacy_tiocsti = 0" end },
  { "host-uid", "warning", root = true, function() return { user = NONE } end },
  { "no-seccomp", "warning", function() return allow_all end },
  { "dangerous-calls", "warning", function() return { seccomp = caisson.policy.new { default = "allow" } - { "chroot" } } end },
  { "filter-upper-bits", "warning", function()
    return { seccomp = caisson.policy.new { default = "allow" } - { { "ioctl", args = { { 1, "==", 0x5412 } } } } }
  end },
  { "foreign-calls", "warning", function() return { seccomp = caisson.policy.default():with { bad_architecture = "allow" } } end,
    skip = function() return core.seccomp.architecture() ~= "x86_64" and "of x86-64" end },
  { "new-privileges", "warning", root = true, function() return { no_new_privs = false } end },
  { "setuid-programs", "warning", root = true, function()
    local bin = directory() .. "/bin"
    t.sh(("mkdir -p %s; cp /bin/true %s/raise; chmod 4755 %s/raise"):format(bin, bin, bin))
    return { no_new_privs = false, mounts = { { bind = bin, at = "/usr/local/bin", suid = true } } }
  end },
  { "nested-userns", "warning", function() return allow_all end, skip = function()
    return not t.is_root and t.sh("unshare -r unshare -r true 2>&1") ~= "" and "this user can't nest user namespaces"
  end },
  { "nested-overlay", "warning", function() return allow_all end, skip = function()
    return not (t.read_file "/proc/filesystems"):find "\toverlay" and "no overlay"
  end },
  { "mounts", "warning", function() return both { capabilities = caps "sys_admin" } end },
  { "host-network", "warning", function() return { namespaces = { net = false } } end },
  { "abstract-sockets", "warning", function() return { namespaces = { net = false } } end },
  { "loopback-services", "warning", function() return { namespaces = { net = false } } end },
  { "raw-sockets", "note", function() return { capabilities = caps "net_raw" } end },
  { "keyring-shared", "warning", root = true, function() return both { user = NONE } end },
  { "io-uring", "note", function() return allow_all end, skip = function()
    return (t.read_file "/proc/sys/kernel/io_uring_disabled" or "2"):match "[12]" and "io_uring is turned off"
  end },
  { "userfaultfd", "note", function() return allow_all end },
  { "host-sysctl", "warning", root = true, function() return { user = NONE, readonly = {} } end },
  { "shared-namespace", "note", function() return { namespaces = { ipc = false } } end },
  { "no-memory-limit", "warning", root = true, function() return { cgroup = { pids = { max = 9 } } } end },
  { "no-process-limit", "warning", root = true, function() return { cgroup = { memory = { max = "64M" } } } end },
  { "leaked-descriptor", "warning", function()
    return { script = function(plan)
      plan:before("exec", plan.keep { path = "/proc/self/root", slot = "leak" })
      local exec = plan.steps[#plan.steps]
      exec.options.files = { "stdin", "stdout", "stderr", "leak" }
    end }
  end },
}

describe("a probe's rule", function()
  if not t.needs "userns" then return end
  teardown(m.clean)
  local report
  setup(function() report = probe() end)

  for _, case in ipairs(cases) do
    local rule, level, loose = case[1], case[2], case[3] or case[#case]
    it(rule .. " is broken by a loose recipe, and not by a tight one", function()
      if case.root and not t.needs "root" then return end
      if case.needs and not t.needs(case.needs) then return end
      local why = case.skip and case.skip()
      if why then return pending(why) end
      local change, held = loose()
      local r = probe(change)
      if held then held:close() end
      local f = finding(r, rule)
      assert.truthy(f, "not found")
      assert.equal(level, f.level)
      assert.equal(level, r.rules[rule])
      assert.is_true(#f.evidence > 0 and f.why ~= "" and f.fix ~= "")
      assert.equal("ok", report.rules[rule])
    end)
  end
end)
