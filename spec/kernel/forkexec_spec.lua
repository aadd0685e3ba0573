-- Every field of go-sandbox's forkexec Runner, by its name there: what the kernel says of each.
local t = require "support"
local mounts = require "support.mounts"
local core, step = t.core, t.step

local function parent(name) return step("lua", { name = name }, { side = "parent" }) end

local function field(status, name) return status:match(name .. ":%s*([^\n]*)") end

-- A process that this thread traces: its next stop.
local function stop(process, kind, value)
  local _, k, v = assert(core.ptrace.wait(process:pid()))
  assert.same({ kind, value }, { k, v })
end

local function spawn(steps, argv, opts)
  opts = opts or {}
  local list = {}
  for i, s in ipairs(steps) do list[i] = s end
  list[#list + 1] = step("exec", { argv = argv, files = { "stdin", "stdout", "stdout" }, init = opts.init })
  local null = assert(core.open("/dev/null", "readwrite"))
  local process, message, errno, failure = core.spawn { plan = core.plan(list), functions = opts.functions,
    slots = { stdin = null, stdout = null } }
  null:close()
  return process, message, errno, failure
end

local filter = function(action, ...)
  return step("seccomp", { program = assert(core.seccomp.compile { default = "allow", rules = { { ..., action = action } } }) })
end

describe("Runner.Args and Env", function()
  it("are the program's, to the byte", function()
    local r = assert(t.run({ step("clone", {}) }, { argv = { "/bin/sh", "-c", 'cat /proc/$$/cmdline; cat /proc/$$/environ', "", "\255" },
      env = { "A=1", "B=\1", "A=2" } }))
    assert.equal("/bin/sh\0-c\0cat /proc/$$/cmdline; cat /proc/$$/environ\0\0\255\0A=1\0B=\1\0A=2\0", r.output)
  end)
end)

describe("Runner.ExecFile", function()
  it("is a descriptor, whatever its path has become, or a memfd, which has none", function()
    local path = os.tmpname()
    t.sh("cp /bin/sh " .. path .. "; chmod 755 " .. path)
    local file = assert(core.open(path, "path"))
    os.remove(path)
    local script = "readlink /proc/$$/exe"
    local r = assert(t.run({ step("clone", {}) }, { argv = { "x", "-c", script }, exec = { fd = "program" },
      slots = { program = file } }))
    assert.equal(path .. " (deleted)\n", r.output)
    local memfd = assert(core.memfd("program", t.read_file("/bin/sh")))
    r = assert(t.run({ step("clone", {}) }, { argv = { "x", "-c", script }, exec = { fd = "program" },
      slots = { program = memfd } }))
    assert.equal("/memfd:program (deleted)\n", r.output)
  end)
end)

describe("Runner.RLimits", function()
  it("are in /proc/PID/limits, and stop what is above", function()
    local r = assert(t.run({ step("clone", {}), step("rlimit", { resource = "nofile", soft = 20, hard = 30 }),
      step("rlimit", { resource = "fsize", soft = 0 }) }, { script = "cat /proc/self/limits; ulimit -n 31 2>&1; echo x > /dev/null" }))
    assert.matches("Max open files%s+20%s+30%s", r.output)
    assert.matches("Max file size%s+0%s+0%s", r.output)
    assert.matches("ulimit", r.output)
  end)
end)

describe("Runner.Files", function()
  it("are exactly the descriptors, \"-\" is closed", function()
    local a = assert(core.memfd("a", "A"))
    local spare = assert(core.dup(a))
    local r = assert(t.run({ step("clone", {}) }, { files = { "-", "stdout", "-", "a", "-", "a" }, slots = { a = a },
      script = "for f in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && printf '%s ' $f; done" }))
    spare:close()
    assert.equal("1 3 5 ", r.output)
  end)
end)

describe("Runner.WorkDir", function()
  it("is where the program starts, of its root", function()
    assert.equal("/usr/bin\n", assert(t.run({ step("clone", {}), step("chdir", "/usr/bin") }, { script = "pwd -P" })).output)
    local _, _, errno = t.run({ step("clone", {}), step("chdir", "/nonexistent") })
    assert.equal(core.errno.ENOENT, errno)
  end)
end)

describe("Runner.Seccomp", function()
  it("is a program as bytes, or a policy, in force at exec", function()
    local bytes = assert(core.seccomp.compile { default = "allow", rules = { { "mkdir", "mkdirat", action = { "errno", "ENOTTY" } } } })
    local policy = require("caisson.policy").default() - { "mkdir", "mkdirat" }
    local made = assert(policy:step())
    for _, s in ipairs { step("seccomp", { program = bytes }), step("seccomp", made.options) } do
      local r = assert(t.run({ step("clone", {}), step("no_new_privs"), s },
        { script = "cat /proc/self/status; mkdir /tmp/$$.x 2>&1 || echo denied" }))
      assert.equal("2", field(r.output, "Seccomp"))
      assert.equal("1", field(r.output, "Seccomp_filters"))
      assert.matches("denied", r.output)
    end
  end)
end)

describe("Runner.CloneFlags", function()
  if not t.needs "userns" then return end

  it("are any subset of the namespaces", function()
    local all = { "user", "mount", "pid", "net", "ipc", "uts", "cgroup" }
    local files = { mount = "mnt" }
    for bits = 0, 127, 9 do
      local list, want = {}, {}
      for i, name in ipairs(all) do
        if math.floor(bits / 2 ^ (i - 1)) % 2 == 1 or (name == "user" and not t.is_root and bits ~= 0) then
          list[#list + 1] = name
          want[name] = true
        end
      end
      local r = assert(t.run({ step("clone", list) }, { script = "for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n || true; done" }))
      for _, name in ipairs(all) do
        local own = t.namespace(files[name] or name)
        local there = r.output:find(own, 1, true) ~= nil
        assert.equal(not want[name], there, name .. " of " .. table.concat(list, " "))
      end
    end
  end)
end)

describe("Runner.Mounts and PivotRoot", function()
  if not t.needs "userns" then return end

  it("take the kernel's own parameters, make what leads there, for files and directories; the root ends read-only", function()
    local dir = t.sh("mktemp -d"):gsub("\n", "")
    t.sh("echo in > " .. dir .. "/file; chmod -R a+rX " .. dir)
    local r = assert(mounts.run({
      step("mount.fs", { type = "tmpfs", target = "/a/b/c", source = "mine", options = { "size=8192", "mode=0711" }, flags = { "noexec", "nosuid" } }),
      step("mount.bind", { source = dir, target = "/d/e/dir", flags = { "ro" } }),
      step("mount.bind", { source = dir .. "/file", target = "/f/g/file", flags = { "ro" } }),
    }, { last = { step("root.readonly", {}) }, script =
      "cat /proc/self/mountinfo; cat /f/g/file /d/e/dir/file; stat -c %a /a/b/c; ls -d /old_root 2>&1; mkdir /x 2>&1; mkdir /a/b/c/x && echo made" }))
    t.sh("rm -rf " .. dir)
    local list = mounts.mounts(r.output)
    assert.equal("tmpfs", list["/"].type)
    assert.matches(",ro,", list["/"].flags)
    assert.same({ "tmpfs", "mine" }, { list["/a/b/c"].type, list["/a/b/c"].source })
    assert.matches("size=8k", list["/a/b/c"].super)
    assert.matches(",noexec,", list["/a/b/c"].flags)
    assert.matches(",ro,", list["/f/g/file"].flags)
    assert.matches("in\nin\n711\n", r.output)
    assert.matches("old_root.*No such file", r.output)
    assert.matches("/x.*Read%-only file system", r.output)
    assert.matches("made\n$", r.output)
  end)
end)

describe("Runner.HostName and DomainName", function()
  if not t.needs "userns" then return end

  it("are the container's", function()
    local r = assert(t.run(t.steps(t.contained { "uts" }, step("hostname", "h"), step("domainname", "d")),
      { script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname" }))
    assert.equal("h\nd\n", r.output)
  end)
end)

describe("Runner.UIDMappings, GIDMappings and GIDMappingsEnableSetgroups", function()
  if not t.needs "userns" then return end
  local me = core.identity()

  it("are what /proc/PID/uid_map and gid_map say", function()
    local r = assert(t.run({ step("clone", { "user" }), step("idmap", { uid = { { 7, me.euid, 1 } }, gid = { { 9, me.egid, 1 } },
      setgroups = "deny" }) }, { script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g" }))
    assert.same({ "7", tostring(me.euid), "1", "9", tostring(me.egid), "1", "deny", "7", "9" },
      (function() local l = {} for w in r.output:gmatch("%S+") do l[#l + 1] = w end return l end)())
  end)

  it("without a gid map deny setgroups, to both", function()
    local steps = { step("clone", { "user" }), step("idmap", { uid = { { 0, me.euid, 1 } } }) }
    assert.equal("deny\n", assert(t.run(steps, { script = "cat /proc/self/setgroups" })).output)
    steps[3] = step("groups", { groups = {} })
    local _, _, errno = t.run(steps)
    assert.equal(core.errno.EPERM, errno)
  end)

  it("leave setgroups to those who may have it", function()
    if not t.needs "root" then return end
    local map = { { 0, 100000, 1000 } }
    for word, works in pairs { allow = true, deny = false } do
      local r, _, errno = t.run { step("clone", { "user" }), step("idmap", { uid = map, gid = map, setgroups = word }),
        step("groups", { groups = { 5 } }) }
      assert.equal(works, r ~= nil)
      if not works then assert.equal(core.errno.EPERM, errno) end
    end
  end)
end)

describe("Runner.CgroupFd", function()
  it("is the cgroup that the child is born into", function()
    if not t.needs "root" then return end
    local mount = (t.read_file("/proc/self/mountinfo")):match("%S+ %S+ %S+ %S+ (%S+) [^\n]* %- cgroup2 ")
    if not mount then return pending "no cgroup v2 is mounted here" end
    local name = "caisson-forkexec-" .. t.getpid()
    assert(core.mkdir { path = mount .. "/" .. name })
    local dir = assert(core.open(mount .. "/" .. name, "path"))
    local r, message = t.run({ step("clone", { cgroup = "cgroup" }) }, { script = "cat /proc/self/cgroup", slots = { cgroup = dir } })
    dir:close()
    os.remove(mount .. "/" .. name)
    assert.truthy(assert(r, message).output:find("/" .. name .. "\n", 1, true), r.output)
  end)
end)

describe("Runner.Credential", function()
  it("is taken with groups and without", function()
    if not t.needs "root" then return end
    local script = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\\t ' ' '"
    assert.equal("Uid: 1234 1234 1234 1234\nGid: 4321 4321 4321 4321\nGroups: 7 8 \n",
      assert(t.run({ step("clone", {}), step("groups", { groups = { 7, 8 } }), step("gid", 4321), step("uid", 1234) },
        { script = script })).output)
    local before = assert(t.run({ step("clone", {}) }, { script = script })).output:match("Groups:[^\n]*")
    assert.equal("Uid: 1234 1234 1234 1234\nGid: 4321 4321 4321 4321\n" .. before .. "\n",
      assert(t.run({ step("clone", {}), step("gid", 4321), step("uid", 1234) }, { script = script })).output)
  end)
end)

describe("Runner.SyncFunc", function()
  it("is called with the pid right before exec; its error ends the child and is reported", function()
    local seen
    local functions = { sync = function(pid)
      seen = { pid, (t.read_file("/proc/" .. pid .. "/cmdline")), t.read_file("/proc/" .. pid .. "/limits"):match("Max open files%s+(%d+)") }
    end }
    local r = assert(t.run({ step("clone", {}), step("rlimit", { resource = "nofile", soft = 20 }), parent "sync" },
      { functions = functions }))
    assert.same({ r.pid, "20" }, { seen[1], seen[3] })
    assert.is_nil(seen[2]:find("/bin/sh", 1, true), "not yet the program")
    local pid
    local ok, message, errno, failure = t.run({ step("clone", {}), parent "sync" }, { functions = { sync = function(p)
      pid = p
      return nil, "not today", core.errno.EBUSY
    end } })
    assert.is_nil(ok)
    assert.equal("step 2, lua[1] sync: not today: Device or resource busy (EBUSY)", message)
    assert.same({ core.errno.EBUSY, "lua", "parent" }, { errno, failure.step, failure.side })
    assert.is_nil(t.read_file("/proc/" .. pid .. "/stat"))
  end)
end)

describe("Runner.Ptrace", function()
  it("has the program stop at its exec, traced by who started it", function()
    local p = assert(spawn({ step("clone", {}), step("ptrace_me") }, { "/bin/sh", "-c", "exit 7" }))
    stop(p, "signal", 5)
    local status = t.read_file("/proc/" .. p:pid() .. "/status")
    assert.equal(tostring(t.getpid()), field(status, "TracerPid"))
    assert.equal("sh", field(status, "Name"))
    assert.matches("^t", field(status, "State"))
    assert.same({ nil, "timeout" }, { p:wait(0) })
    assert(core.ptrace.cont(p:pid()))
    assert.equal(7, assert(p:wait(10)).code)
    p:close()
  end)

  it("ends with its process object, stopped or not", function()
    local p = assert(spawn({ step("clone", {}), step("ptrace_me") }, { "/bin/sleep", "100" }))
    local pid = p:pid()
    p:close()
    assert.is_nil(t.read_file("/proc/" .. pid .. "/stat"))
  end)

  it("is not for who has an init, which could not tell", function()
    local p, message, errno = spawn({ step("clone", {}), step("ptrace_me") }, { "/bin/true" }, { init = true })
    assert.is_nil(p)
    assert.equal(core.errno.EINVAL, errno)
    assert.matches("ptrace_me.*init", message)
  end)

  it("as a recipe's option stops before seccomp too, or exec itself would be ENOSYS to a filter that traces it", function()
    local caisson = require "caisson"
    local status
    local program = assert(core.seccomp.compile { default = "allow", rules = { { "execve", "exit_group", action = { "trace", 9 } } } })
    local function recipe(ptrace)
      return caisson.recipe { ptrace = ptrace, seccomp = program, stdin = "null", stdout = "null",
        namespaces = {}, args = { "/bin/sh", "-c", "exit 5" } }
    end
    local running = assert(caisson.start(recipe(function(pid)
      status = t.read_file("/proc/" .. pid .. "/status")
      assert(core.ptrace.setoptions(pid, { "exitkill", "seccomp" }))
    end)))
    assert.same({ "0", tostring(t.getpid()) }, { field(status, "Seccomp"), field(status, "TracerPid") })
    stop(running, "signal", 5)
    assert.equal("2", field(t.read_file("/proc/" .. running:pid() .. "/status"), "Seccomp"))
    assert(core.ptrace.cont(running:pid()))
    stop(running, "seccomp", 9)
    assert(core.ptrace.cont(running:pid()))
    assert.equal(5, running:wait().code)
    -- true: options as for the function above
    running = assert(caisson.start(recipe(true)))
    stop(running, "signal", 5)
    running:close()
  end)
end)

describe("Runner.StopBeforeSeccomp", function()
  it("is a stop that the host sees, does its steps in, and ends", function()
    local seen
    local r = assert(t.run({ step("clone", {}), step("no_new_privs"), step("stop"), parent "look", filter("errno", "mkdir") },
      { functions = { look = function(pid)
        local status = t.read_file("/proc/" .. pid .. "/status")
        seen = { field(status, "State"), field(status, "Seccomp"), field(status, "NoNewPrivs") }
      end }, script = "grep Seccomp: /proc/self/status" }))
    assert.same({ "T (stopped)", "0", "1" }, seen)
    assert.equal("Seccomp:\t2\n", r.output)
    assert.equal(0, assert(t.run { step("clone", {}), step("stop") }).code)
  end)

  it("waits for the host even if another continues it", function()
    local order = {}
    local r = assert(t.run({ step("clone", {}), step("stop"), parent "look", step("umask", "027") }, { functions = {
      look = function(pid)
        t.sh("kill -CONT " .. pid .. "; sleep 0.05")
        order[1] = t.read_file("/proc/" .. pid .. "/status"):match("Umask:%s*(%d+)")
      end }, script = "umask" }))
    assert.same({ "0027\n" }, { r.output })
    assert.not_equal("0027", order[1])
  end)

  it("that a step of the host's fails in ends the child", function()
    local pid
    local _, message, errno = t.run({ step("clone", {}), step("stop"), parent "no" }, { functions = {
      no = function(p) pid = p; return nil, "no" end } })
    assert.equal(core.errno.ECANCELED, errno)
    assert.matches("^step 3, lua%[1%] no: no", message)
    assert.is_nil(t.read_file("/proc/" .. pid .. "/stat"))
  end)

  it("of process 1 is said to be none, but for a tracer", function()
    if not t.needs "userns" then return end
    local steps = t.contained { "pid" }
    local _, message, errno = t.run(t.steps(steps, step("stop")))
    assert.equal(core.errno.ETIMEDOUT, errno)
    assert.matches("stop%[1%].*process 1", message)
    local p = assert(spawn(t.steps(steps, step("ptrace_me"), step("stop")), { "/bin/true" }))
    stop(p, "signal", 5)
    assert(core.ptrace.cont(p:pid()))
    assert.equal(0, assert(p:wait(10)).code)
  end)
end)

describe("Runner.NoNewPrivs", function()
  it("is set, and comes with seccomp in a recipe unless that says no", function()
    local r = assert(t.run({ step("clone", {}), step("no_new_privs") }, { script = "cat /proc/self/status" }))
    assert.equal("1", field(r.output, "NoNewPrivs"))
    local caisson = require "caisson"
    local program = assert(core.seccomp.compile { default = "allow", rules = { { "mkdir", action = "errno" } } })
    local function run(nnp)
      return caisson.run(caisson.recipe { namespaces = t.is_root and {} or { user = true }, seccomp = program, no_new_privs = nnp, stdout = "capture",
        stdin = "null", args = { "/bin/cat", "/proc/self/status" } })
    end
    r = assert(run(nil))
    assert.same({ "1", "2" }, { field(r.stdout, "NoNewPrivs"), field(r.stdout, "Seccomp") })
    r = assert(run(false)) -- by CAP_SYS_ADMIN, of the user namespace at least
    assert.same({ "0", "2" }, { field(r.stdout, "NoNewPrivs"), field(r.stdout, "Seccomp") })
  end)
end)

describe("Runner.DropCaps", function()
  if not t.needs "userns" then return end

  it("leaves no capability, and securebits that give none back", function()
    local r = assert(t.run(t.steps(t.contained { "user" }, step("securebits", { flags = { "noroot", "noroot_locked",
      "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps_locked" } }), step("capabilities", { bounding = {}, permitted = {},
      effective = {}, inheritable = {}, ambient = {} })), { script = "cat /proc/self/status" }))
    for _, set in ipairs { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" } do
      assert.equal("0000000000000000", field(r.output, set), set)
    end
    r = assert(t.run(t.steps(t.contained { "user" }), { script = "cat /proc/self/status" }))
    assert.not_equal("0000000000000000", field(r.output, "CapEff"))
  end)
end)

describe("Runner.UnshareCgroupAfterSync", function()
  if not t.needs "userns" then return end

  it("makes the cgroup namespace once the host has moved the child", function()
    local before, moved = t.namespace "cgroup"
    local r = assert(t.run(t.steps(t.contained { "mount" }, parent "move", step("namespace.unshare", { "cgroup" })),
      { functions = { move = function(pid) moved = t.namespace("cgroup", pid) end }, script = "readlink /proc/self/ns/cgroup" }))
    assert.equal(before, moved)
    assert.not_equal(before .. "\n", r.output)
    if not t.is_root then return end
    local mount = (t.read_file("/proc/self/mountinfo")):match("%S+ %S+ %S+ %S+ (%S+) [^\n]* %- cgroup2 ")
    if not mount then return end
    local path = mount .. "/caisson-forkexec-" .. t.getpid()
    assert(core.mkdir { path = path })
    r = assert(t.run({ step("clone", { "mount" }), parent "move", step("namespace.unshare", { "cgroup" }) }, { functions = {
      move = function(pid)
        local f = assert(io.open(path .. "/cgroup.procs", "w"))
        f:write(pid)
        f:close()
      end }, script = "grep ^0:: /proc/self/cgroup" }))
    os.remove(path)
    assert.equal("0::/\n", r.output) -- the root of its own
  end)
end)

describe("Runner.CTTY", function()
  if not t.needs "userns" then return end

  it("is the session's terminal", function()
    local r = assert(mounts.run({ step("mount.devpts", "/dev/pts") }, { last = { step("pty", { master = "m", slave = "s" }),
      step("send", "m"), step("session"), step("tty", "s") }, files = { "s", "stdout", "stdout" },
      script = "cut -d' ' -f5,6,7 /proc/self/stat; readlink /proc/self/fd/0"}))
    local group, session, tty = r.output:match("^(%d+) (%d+) (%-?%d+)")
    assert.equal(group, session)
    assert.equal(tostring(136 * 256), tty) -- /dev/pts/0
    assert.matches("/dev/pts/0\n$", r.output)
  end)
end)
