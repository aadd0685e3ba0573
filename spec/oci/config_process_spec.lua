-- `process` of a configuration: what the program then is, from its /proc.
local t = require "support"
local oci = require "support.bundle"
local process = require "caisson.oci.process"
local core = t.core

-- Fields of /proc/PID/status by name.
local function status(text)
  local f = {}
  for name, value in text:gmatch("(%w+):[ \t]*([^\n]*)") do f[name] = value end
  return f
end

describe("a configuration's process", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle

  setup(function() bundle = oci.bundle() end)
  teardown(function() bundle:close() end)

  local function with(key, value)
    return function(c) c.process[key] = value end
  end

  local function status_with(key, value) return status(bundle:output("cat /proc/self/status", with(key, value))) end

  it("user: ids, further groups, umask", function()
    if not t.needs("root") then return end
    local out = bundle:output("umask; cat /proc/self/status", with("user", { uid = 1000, gid = 1001, additionalGids = { 5, 6 },
      umask = 63 }))
    local s = status(out)
    assert.same({ "0077", "1000\t1000\t1000\t1000", "1001\t1001\t1001\t1001", "5 6 " }, { out:match("^%d+"), s.Uid, s.Gid, s.Groups })
    out = bundle:output("umask; cat /proc/self/status", with("user", { uid = 0, gid = 0 }))
    assert.same({ "0022", "" }, { out:match("^%d+"), status(out).Groups })
    assert.equal("0000\n", bundle:output("umask", with("user", { uid = 0, gid = 0, umask = 0 })))
  end)

  it("capabilities: five sets, each as it is; unknown ones are left out with a warning", function()
    local function sets(c) return status_with("capabilities", c) end
    local all = { "CAP_CHOWN", "CAP_KILL", "CAP_SETUID" } -- 0, 5, 7
    local s = sets { bounding = all, permitted = all, effective = { "CAP_KILL" }, inheritable = { "CAP_CHOWN" }, ambient = {} }
    assert.same({ "00000000000000a1", "00000000000000a1", "0000000000000001" }, { s.CapBnd, s.CapPrm, s.CapInh })
    s = sets { bounding = all, permitted = all, effective = all, inheritable = { "CAP_KILL" }, ambient = { "CAP_KILL", "CAP_CHOWN" } }
    assert.equal("0000000000000020", s.CapAmb) -- what is not inheritable can't be ambient
    s = sets {}
    assert.same({ "0000000000000000", "0000000000000000" }, { s.CapBnd, s.CapEff })
    assert.equal("0000000000000000", sets(nil).CapBnd)
    local r = assert(bundle:run("grep CapBnd /proc/self/status", with("capabilities",
      { bounding = { "CAP_KILL", "CAP_OF_THE_FUTURE", "CAP_ALL" } })))
    assert.equal("CapBnd:\t0000000000000020\n", r.output)
    assert.truthy(table.concat(r.warnings, "\n"):find("CAP_OF_THE_FUTURE.*CAP_ALL"), table.concat(r.warnings, "\n"))
  end)

  it("ambient capabilities make another user able", function()
    if not t.needs("root") then return end
    local raw = { "CAP_CHOWN", "CAP_KILL" }
    local s = status(bundle:output("cat /proc/self/status", function(c)
      c.process.user = { uid = 1000, gid = 1000 }
      c.process.capabilities = { bounding = raw, permitted = raw, effective = raw, inheritable = raw, ambient = raw }
    end))
    assert.same({ "0000000000000021", "0000000000000021" }, { s.CapEff, s.CapAmb })
  end)

  it("noNewPrivileges: yes and no", function()
    assert.equal("1", status_with("noNewPrivileges", true).NoNewPrivs)
    assert.equal("0", status_with("noNewPrivileges", false).NoNewPrivs)
    assert.equal("0", status_with("noNewPrivileges", nil).NoNewPrivs)
  end)

  it("rlimits: soft and hard, to the largest; twice is an error", function()
    local function limits(list) return bundle:output("cat /proc/self/limits", with("rlimits", list)) end
    local out = limits { { type = "RLIMIT_NOFILE", soft = 100, hard = 200 }, { type = "RLIMIT_CORE", soft = 0, hard = "9223372036854771712" } }
    assert.truthy(out:find("Max open files +100 +200 "), out)
    if t.is_root then assert.truthy(out:find("Max core file size +0 +9223372036854771712 "), out) end
    out = limits { { type = "RLIMIT_STACK", soft = 65536, hard = "18446744073709551615" } }
    assert.truthy(out:find("Max stack size +65536 +unlimited "), out)
    local message = bundle:fails("true", with("rlimits", { { type = "RLIMIT_CPU", soft = 1, hard = 1 }, { type = "RLIMIT_CPU", soft = 2, hard = 2 } }))
    assert.truthy(message:find("RLIMIT_CPU stands there twice", 1, true), message)
    message = bundle:fails("true", with("rlimits", { { type = "RLIMIT_NONE", soft = 1, hard = 1 } }))
    assert.truthy(message:find("none", 1, true), message)
  end)

  it("env: all of it, as it is, the last of a name; and HOME", function()
    local out = bundle:output("", function(c)
      c.process.args, c.process.env = { "/bin/env" }, { "PATH=/bin", "B=1", "A=x=y", "B=2", "EMPTY=" }
    end)
    assert.equal("PATH=/bin\nB=2\nA=x=y\nEMPTY=\nHOME=/\n", out)
    os.execute(("echo root:x:0:0::/home/of-root:/bin/sh > %s/etc/passwd"):format(bundle.root))
    finally(function() os.remove(bundle.root .. "/etc/passwd") end)
    assert.truthy(bundle:output("env"):find("HOME=/home/of-root\n", 1, true))
    assert.truthy(bundle:output("env", with("env", { "PATH=/bin", "HOME=/else" })):find("HOME=/else\n", 1, true))
  end)

  it("args: looked up in PATH inside", function()
    os.execute(("mkdir -p %s/opt/odd && ln -sf /bin/busybox %s/opt/odd/echo"):format(bundle.root, bundle.root))
    local r = assert(bundle:run("", function(c) c.process.args, c.process.env = { "echo", "found" }, { "PATH=/opt/odd" } end))
    assert.equal("found\n", r.output)
    local r2, message, errno = bundle:run("", with("args", { "no-such-program" }))
    assert.is_nil(r2)
    assert.equal(t.core.errno.ENOENT, errno)
    assert.truthy(message:find("no-such-program", 1, true), message)
    r2, message = bundle:run("", with("args", nil))
    assert.is_nil(r2)
    assert.truthy(message:find("args", 1, true), message)
  end)

  it("cwd: entered, and made where it is missing", function()
    assert.equal("/etc\n", bundle:output("pwd", with("cwd", "/etc")))
    assert.equal("/new/one\n", bundle:output("pwd", with("cwd", "/new/one")))
    assert.is_truthy(t.core.lstat(bundle.root .. "/new/one"))
    assert.truthy(bundle:fails("pwd", with("cwd", "/bin/busybox")):find("/bin/busybox", 1, true))
  end)

  it("cwd: one that only root may enter", function()
    if not t.needs("root") then return end
    os.execute(("mkdir -p -m 700 %s/private %s/theirs && chown 1000 %s/theirs"):format(bundle.root, bundle.root, bundle.root))
    local function user(cwd)
      return function(c)
        c.process.cwd, c.process.user = cwd, { uid = 1000, gid = 1000 }
        c.process.capabilities.effective, c.process.capabilities.permitted = {}, {}
      end
    end
    assert.equal("/private\n", bundle:output("pwd", user("/private")))
    assert.equal("/theirs\n", bundle:output("pwd; ls", user("/theirs")))
  end)

  it("oomScoreAdj, scheduler, ioPriority", function()
    assert.equal("500\n", bundle:output("cat /proc/self/oom_score_adj", with("oomScoreAdj", 500)))
    local own = t.read_file("/proc/self/oom_score_adj")
    assert.equal(own, bundle:output("cat /proc/self/oom_score_adj"))
    local out = bundle:output("cat /proc/self/stat", with("scheduler", { policy = "SCHED_BATCH", nice = 5 }))
    local fields = {}
    for f in out:match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = f end
    assert.same({ "5", "3" }, { fields[17], fields[39] }) -- nice and policy
    if t.is_root then
      out = bundle:output("cat /proc/self/stat; true", with("scheduler", { policy = "SCHED_FIFO", priority = 7, flags = {
        "SCHED_FLAG_RESET_ON_FORK" } }))
      fields = {}
      for f in out:match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = f end
      assert.same({ "0", "0" }, { fields[38], fields[39] }) -- cat is a fork of the shell's
      out = bundle:output("", function(c)
        c.process.args = { "/bin/cat", "/proc/self/stat" }
        c.process.scheduler = { policy = "SCHED_FIFO", priority = 7 }
      end)
      fields = {}
      for f in out:match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = f end
      assert.same({ "7", "1" }, { fields[38], fields[39] })
    end
    local message = bundle:fails("true", with("scheduler", { policy = "SCHED_NONE" }))
    assert.truthy(message:find("scheduler", 1, true), message)
  end)

  it("ioPriority is the kernel's", function()
    if not t.needs("perl") then return end
    assert.truthy(bundle:fails("true", with("ioPriority", { class = "IOPRIO_CLASS_BE", priority = 8 })):find("0 to 7", 1, true))
    -- the class and level of another process, by its number
    local config = oci.config { "/bin/sleep", "30" }
    config.process.ioPriority = { class = "IOPRIO_CLASS_BE", priority = 6 }
    local running = assert(require("caisson").start(assert(require("caisson.oci.recipe").of(config, { bundle = bundle.dir }))))
    finally(function() running:close() end)
    assert.equal(tostring(2 * 8192 + 6), t.sh(("perl -e 'print syscall(252, 1, %d)'"):format(running.process:pid())))
  end)

  it("terminal and consoleSize", function()
    local config = oci.config { "/bin/sh", "-c", "tty; stty size 2>/dev/null; ls -l /dev/console; echo x > /dev/console" }
    config.process.terminal, config.process.consoleSize = true, { height = 33, width = 77 }
    local r = assert(require("caisson.oci.recipe").of(config, { bundle = bundle.dir }))
    local result = assert(require("caisson").run(r, { stdout = "capture" }))
    assert.truthy(result.stdout:find("/dev/pts/0\r\n", 1, true), result.stdout)
    assert.truthy(result.stdout:find("x\r\n", 1, true), result.stdout)
    result = assert(require("caisson").run(r, { stdout = "capture", files = { "stdin", "stdout", "stderr", "more" },
      slots = { more = core.memfd("more", "more") }, args = { "/bin/sh", "-c", "tty; ls /proc/self/fd | wc -l; ls -l /proc/self/fd/3" } }))
    assert.truthy(result.stdout:find("/dev/pts/0\r\n5\r\n", 1, true) and result.stdout:find("memfd:more", 1, true), result.stdout)
    assert.same({ rows = 33, columns = 77 }, process.of(config.process, config, {}).tty)
  end)

  it("labels: a security module that is not active is named", function()
    local enforced = t.read_file("/sys/kernel/security/lsm") or ""
    if not enforced:find("apparmor") then
      local message = bundle:fails("true", with("apparmorProfile", "some-profile"))
      assert.truthy(message:lower():find("apparmor", 1, true), message)
    end
    if not enforced:find("selinux") then
      local message = bundle:fails("true", with("selinuxLabel", "system_u:system_r:svirt_lxc_net_t:s0:c1,c2"))
      assert.truthy(message:lower():find("selinux", 1, true), message)
      message = bundle:fails("true", function(c) c.linux.mountLabel = "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2" end)
      assert.truthy(message:lower():find("selinux", 1, true), message)
    end
    assert.equal("", bundle:output("true", with("apparmorProfile", "")))
  end)

  it("a session keyring of its own, or not", function()
    local function keys(id, opts)
      return assert(bundle:run("cat /proc/keys | grep -c _ses." .. id, function(c) c.linux.maskedPaths = {} end, opts,
        { id = id })).output
    end
    local id = "keys-" .. t.getpid()
    assert.equal("1\n", keys(id))
    assert.equal("0\n", keys(id .. "-none", { no_new_keyring = true }))
  end)

  it("execCPUAffinity is of further processes alone", function()
    local p = { args = { "x" }, execCPUAffinity = { initial = "0", final = "0-1" } }
    assert.same({ initial = "0", final = "0-1" }, process.of(p, {}, {}).affinity)
    local init = process.of(p, {}, { init = true })
    assert.same({ joined = { initial = "0", final = "0-1" } }, init.affinity)
    assert.truthy(bundle:fails("true", with("execCPUAffinity", { final = "x" })):find("affinity.joined.final", 1, true))
  end)
end)
