-- Options of a recipe, each seen by the program, or on it.
local t = require "support"
local m = require "support.mounts"
local caisson = require "caisson"
local E = t.core.errno

-- The output of a script in a sandbox with these options; or nil, message, errno.
local function sh(script, options, opts)
  local def = { extends = "sandbox" }
  for k, v in pairs(options or {}) do def[k] = v end
  local o = { args = { "/bin/sh", "-c", script }, stdout = "capture", stderr = not def.tty and "stdout" or nil,
    stdin = not def.tty and "null" or nil }
  for k, v in pairs(opts or {}) do o[k] = v end
  local r, message, errno, failure = caisson.run(caisson.recipe(def), o)
  if not r then return nil, message, errno, failure end
  return r.stdout, r
end

-- The same without namespaces.
local function bare(script, options, opts)
  local def = {}
  for k, v in pairs(options or {}) do def[k] = v end
  local o = { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "stdout" }
  for k, v in pairs(opts or {}) do o[k] = v end
  local r, message, errno = caisson.run(caisson.recipe(def), o)
  if not r then return nil, message, errno end
  return r.stdout, r
end

local function fails(errno, pattern, _, message, e)
  assert.truthy(message, "it did not fail")
  assert.matches(pattern, message)
  assert.equal(errno, e)
end

local function mount_at(text, at) return m.mounts(text)[at] end

describe("no_pivot", function()
  if not t.needs "userns" then return end

  it("moves the root in place of pivoting it", function()
    local seen = assert(sh("ls -d /usr /root /home 2>/dev/null; stat -c %m /; cat /proc/self/mountinfo", { no_pivot = true }))
    assert.matches("^/usr\n/\n", seen)
    assert.equal("tmpfs", mount_at(seen, "/").type)
    local steps = {}
    for _, s in caisson.recipe({ extends = "sandbox", no_pivot = true }):build({ args = { "true" } }).plan:each() do
      steps[s.step] = true
    end
    assert.same({ true, nil }, { steps["root.move"], steps["pivot_root"] })
  end)
end)

describe("root_propagation", function()
  if not t.needs "userns" then return end

  it("is that of the container's own root", function()
    local function tags(word)
      return mount_at(assert(sh("cat /proc/self/mountinfo", { root_propagation = word })), "/").tags
    end
    assert.equal("", tags(nil))
    assert.matches("^shared:%d+ $", tags "shared")
    assert.matches("^unbindable $", tags "unbindable")
    assert.equal("", tags "private")
  end)

  it("is a word", function()
    local _, message = sh("true", { root_propagation = "public" })
    assert.matches("root_propagation: option 'propagation': unknown word 'public'", message)
  end)
end)

describe("die_with_parent", function()
  -- the program's death signal, asked by the program itself
  local ask = { argv = nil }
  local function death_signal(value)
    ask.args = { "perl", "-e", "my $b = pack('i', 0); syscall(157, 2, $b) == 0 or die $!; print unpack('i', $b)" }
    return (bare("", { die_with_parent = value }, ask))
  end

  it("is any signal, or none", function()
    if not t.needs "perl" then return end
    if t.sh("uname -m") ~= "x86_64\n" then return pending "the spec knows prctl's number on x86-64" end
    assert.equal("9", death_signal(nil))
    assert.equal("9", death_signal(true))
    assert.equal("0", death_signal(false))
    assert.equal("15", death_signal "TERM")
    assert.equal("10", death_signal "USR1")
  end)

  it("refuses what is no signal", function()
    local _, message = bare("true", { die_with_parent = "TREM" })
    assert.matches("'TREM' %(did you mean 'TERM'%?%)", message)
    _, message = bare("true", { die_with_parent = {} })
    assert.matches("die_with_parent: true, false or a signal expected, got table", message)
  end)
end)

describe("affinity", function()
  local cpus = (t.read_file("/proc/self/status")):match("Cpus_allowed_list:\t([^\n]+)")
  if not cpus:find "^0[,-]" then return pending("one CPU alone: " .. cpus) end

  it("is initial while the container is made, and final for the program", function()
    local r, w = t.core.pipe()
    local now = "grep Cpus_allowed_list /proc/self/status"
    local seen = assert(bare(now, { affinity = { initial = "0", final = "1" }, hooks = { createContainer = function()
      w:write(t.read_file("/proc/self/status"):match "Cpus_allowed_list:\t([^\n]+)")
    end } }))
    w:close()
    local during = t.slurp(r)
    r:close()
    assert.equal("0", during)
    assert.equal("Cpus_allowed_list:\t1\n", seen)
    assert.equal("Cpus_allowed_list:\t0\n", bare(now, { affinity = { initial = "0" } }))
    assert.equal("Cpus_allowed_list:\t1\n", bare(now, { affinity = "1" }))
    assert.equal(cpus, (t.read_file("/proc/self/status")):match("Cpus_allowed_list:\t([^\n]+)"))
  end)

  it("takes CPUs that are there, and its two words", function()
    fails(E.EINVAL, "affinity", bare("true", { affinity = { initial = "4095" } }))
    local _, message = bare("true", { affinity = { first = "0" } })
    assert.matches("affinity: unknown option 'first'", message)
  end)
end)

describe("memory_policy", function()
  local numa = t.read_file("/sys/devices/system/node/online")
  local show = "head -n1 /proc/self/numa_maps"

  local function policy(options) return (assert(bare(show, { memory_policy = options })):match "^%x+ ([^\n]-) file=") end

  it("is the program's, in every mode and with every flag", function()
    if not numa or not t.read_file "/proc/self/numa_maps" then
      return fails(E.ENOSYS, "this kernel has no NUMA", bare("true", { memory_policy = { "bind", nodes = "0" } }))
    end
    assert.equal("default", policy { "default" })
    assert.equal("bind:0", policy { "bind", nodes = "0" })
    assert.equal("interleave:0", policy { "interleave", nodes = "0" })
    assert.equal("prefer:0", policy { "preferred", nodes = "0" })
    assert.equal("local", policy { "local" })
    assert.equal("bind=static:0", policy { mode = "bind", nodes = "0", flags = { "static_nodes" } })
    assert.equal("interleave=relative:0", policy { mode = "interleave", nodes = "0", flags = { "relative_nodes" } })
    assert.equal("bind=balancing:0", policy { mode = "bind", nodes = "0", flags = { "numa_balancing" } })
    for mode, shown in pairs { preferred_many = "prefer %(many%):0", weighted_interleave = "weighted interleave:0" } do
      local seen, message, errno = bare(show, { memory_policy = { mode, nodes = "0" } })
      if seen then assert.matches(shown, seen) else assert.equal(E.EINVAL, errno, message) end -- 5.15, 6.9
    end
    -- and not the host's
    assert.matches("^%x+ default", t.sh(show))
  end)

  it("names nodes that are there", function()
    if numa ~= "0\n" then return pending("another set of nodes than 0") end
    fails(E.EINVAL, "no such node", bare("true", { memory_policy = { "bind", nodes = "1" } }))
    fails(E.EINVAL, "node 1 is not there", bare("true", { memory_policy = { "bind", nodes = "0-1" } }))
    fails(E.EINVAL, "past the kernel's last node", bare("true", { memory_policy = { "bind", nodes = "1024" } }))
    fails(E.EINVAL, "a range is reversed", bare("true", { memory_policy = { "bind", nodes = "1-0" } }))
    fails(E.EINVAL, "this mode needs nodes", bare("true", { memory_policy = { "bind" } }))
    fails(E.EINVAL, "takes none", bare("true", { memory_policy = { "local", nodes = "0" } }))
    fails(E.EINVAL, "memory_policy", bare("true", { memory_policy = { "bind", nodes = "0",
      flags = { "static_nodes", "relative_nodes" } } }))
  end)
end)

describe("core_scheduling", function()
  it("has a cookie of its own, or the kernel can't, and says why", function()
    local seen, message, errno = bare("echo done", { core_scheduling = true })
    if seen then return assert.equal("done\n", seen) end
    if errno == E.ENODEV then return assert.matches("no core of this machine has two hardware threads", message) end
    assert.equal(E.EINVAL, errno)
    assert.matches("this kernel has no core scheduling %(CONFIG_SCHED_CORE%)", message)
  end)

  it("takes the cookie of another process", function()
    local seen, _, errno = bare("echo done", { core_scheduling = { share = t.getpid() } })
    if not seen then assert.truthy(errno == E.EINVAL or errno == E.ENODEV) end
    local _, message = bare("true", { core_scheduling = { shared = 1 } })
    assert.matches("core_scheduling: unknown option 'shared'", message)
    fails(E.EINVAL, "whose%?", bare("true", { core_scheduling = {} }))
  end)
end)

describe("scheduler", function()
  it("says what of it the kernel lacks", function()
    fails(E.EINVAL, "scheduler", bare("true", { scheduler = { "iso" } }))
    local _, message, errno = bare("true", { scheduler = { "other", flags = { "util_clamp_min" }, util_min = 100 } })
    if message and errno then assert.equal(E.EOPNOTSUPP, errno) end
    local seen = assert(bare("cut -d' ' -f41 /proc/self/stat", { scheduler = { "batch" } }))
    assert.equal("3\n", seen)
    assert.equal("5\n", assert(bare("cut -d' ' -f41 /proc/self/stat", { scheduler = { "idle" } })))
  end)
end)

describe("rdt", function()
  it("is refused where the machine has none, with the reason", function()
    if t.core.lstat "/sys/fs/resctrl/schemata" then return pending "this machine has resctrl" end
    fails(E.EOPNOTSUPP, "no resctrl", bare("true", { rdt = { l3 = "0=f" } }, { id = "box" }))
    fails(E.EOPNOTSUPP, "resctrl%[1%] gold", bare("true", { rdt = { group = "gold", monitor = true } }))
  end)

  it("wants a group, and schemata of the right form", function()
    local function message(rdt) return (select(2, bare("true", { rdt = rdt }))) end
    assert.matches("rdt: a group is expected", message { l3 = "0=f" })
    assert.matches("rdt: l3: L3: a mask in hexadecimal digits expected, got 'x'", message { group = "g", l3 = "0=x" })
    assert.matches("rdt: unknown option 'l2'", message { l2 = "0=f" })
    assert.matches("not the name of a group: %.%./x", message { group = "../x", l3 = "0=f" })
    assert.matches("not the name of a group: info", message { group = "info" })
    assert.matches("rdt%.monitor: boolean expected", message { group = "g", monitor = "yes" })
  end)
end)

describe("keyring", function()
  -- permissions of the keyring of that name; those of other processes are listed too
  local function permissions(name, options, opts)
    return assert(bare("cat /proc/keys", options, opts)):match("(%x+) +%d+ +%d+ keyring +" .. name:gsub("%.", "%%.") .. ": ")
  end

  it("is called after the container, and can be found by who joins it", function()
    local unique = "caisson" .. t.getpid()
    assert.equal("3f130000", permissions("_ses." .. unique, { keyring = true }, { id = unique }))
    assert.equal("3f130000", permissions(unique .. ".other", { keyring = unique .. ".other" }, { id = "box" }))
    assert.equal("3f1b0000", permissions(unique .. ".found", { keyring = { name = unique .. ".found", searchable = true } }))
    assert.is_nil(permissions("_ses." .. unique .. "x", {}, { id = unique .. "x" }))
    assert.is_nil(permissions("_ses." .. unique .. "x", { keyring = false }, { id = unique .. "x" }))
  end)

  it("has the label of its keys from SELinux, which must be there", function()
    if (t.read_file "/sys/kernel/security/lsm" or ""):find "selinux" then return pending "SELinux is active" end
    fails(E.EOPNOTSUPP, "keyring%[1%] _ses%.x %(system_u:object_r:container_t:s0%): SELinux is not active",
      bare("true", { keyring = { name = "_ses.x", label = "system_u:object_r:container_t:s0" } }))
  end)
end)

describe("console", function()
  if not t.needs "userns" then return end
  local look = "stat -c '%t:%T' /dev/console /proc/self/fd/0; echo said > /dev/console"

  it("is the program's terminal, by descriptor", function()
    local seen = assert(sh("cat /proc/self/mountinfo; " .. look, { tty = true, console = true, mounts = {} }))
    seen = seen:gsub("\r", "")
    local at = mount_at(seen, "/dev/console")
    assert.same({ "devpts", "/0" }, { at.type, at.root })
    assert.matches("\n88:0\n[^\n]*\nsaid\n$", seen)
  end)

  it("is not there unless it is asked for", function()
    assert.matches("No such file", (sh("ls /dev/console", { tty = true }):gsub("\r", "")))
    local _, message = sh("true", { console = true })
    assert.matches("console: the console is the container's own terminal %(tty = true%)", message)
  end)

  it("goes nowhere where the image has a symlink in its place (CVE-2025-52565)", function()
    -- an image's /dev/console that points at a file of its own /tmp, and a /dev that is a link itself
    fails(E.ELOOP, "target /dev/console", sh("stat -c %F /tmp/victim", { tty = true, console = true,
      mounts = { { file = "/tmp/victim", data = "whole" }, { symlink = "/tmp/victim", at = "/dev/console" } } }))
    local def = { namespaces = { mount = true, pid = true }, tty = true, console = true, devices = {},
      mounts = { { dir = "/elsewhere/pts" }, { devpts = "/elsewhere/pts" }, { symlink = "elsewhere", at = "/dev" } } }
    fails(E.ELOOP, "target /dev/console", caisson.run(caisson.recipe(def), { args = { "/bin/true" }, stdout = "capture" }))
  end)
end)

describe("nofollow", function()
  if not t.needs "userns" then return end
  teardown(m.clean)

  local function dir()
    local d = m.tmpdir()
    t.sh("cd " .. d .. "; chmod 755 .; mkdir real two; echo text > real/file; ln -s real link")
    return d
  end

  it("refuses a source that is a symlink", function()
    local d = dir()
    assert.equal("text\n", sh("cat /data/file", { mounts = { { bind = d .. "/link", at = "/data" } } }))
    assert.equal("text\n", sh("cat /data/file", { mounts = { { bind = d .. "/real", at = "/data", nofollow = true } } }))
    fails(E.ELOOP, "source is a symlink", sh("true", { mounts = { { bind = d .. "/link", at = "/data", nofollow = true } } }))
  end)

  it("refuses a symlink on the way to the target, for each kind of mount", function()
    local d = dir()
    local kinds = {
      { bind = d .. "/real", at = "/link/x" }, { tmpfs = "/link/x" }, { tmpfs = "/link/x", copyup = true },
      { devpts = "/link/x" }, { mqueue = "/link/x" }, { fs = "/link/x", type = "tmpfs" },
      { overlay = "/link/x", lower = { d .. "/real", d .. "/two" } },
    }
    for i, mount in ipairs(kinds) do
      local function run(link)
        local dirs = { { dir = "/true/x" }, link and { symlink = "true", at = "/link" } or { dir = "/link/x" }, mount }
        return sh("stat -c %m /link/x; ls -A /true/x", { mounts = dirs })
      end
      assert.equal("/true/x\n", (assert(run(true)):match "^[^\n]*\n"), i)
      mount.target_nofollow = true
      fails(E.ELOOP, " /link/x", run(true))
      assert.equal("/link/x\n", run(false), i)
    end
  end)
end)

describe("mount_label", function()
  if not t.needs "userns" then return end

  it("is SELinux's, which must be there", function()
    if (t.read_file "/sys/kernel/security/lsm" or ""):find "selinux" then return pending "SELinux is active" end
    local label = "system_u:object_r:container_file_t:s0"
    fails(E.EOPNOTSUPP, "root%.tmpfs.*SELinux is not active in this kernel", sh("true", { mount_label = label }))
    for _, mount in ipairs { { tmpfs = "/x", label = label }, { devpts = "/x", label = label }, { mqueue = "/x", label = label },
      { fs = "/x", type = "tmpfs", label = label }, { overlay = "/x", lower = { "/usr", "/etc" }, label = label } } do
      fails(E.EOPNOTSUPP, "SELinux is not active in this kernel", sh("true", { mounts = { mount } }))
    end
    local _, message = sh("true", { mounts = { { proc = "/x", label = label } } })
    assert.matches("unknown option 'label'", message)
  end)
end)

describe("sysctl", function()
  if not t.needs "userns" then return end

  it("is set though the container's own /proc/sys is read-only", function()
    local set = { ["net.ipv4.ip_forward"] = "1", ["net.ipv4.ip_default_ttl"] = "77" }
    local script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl; (echo 5 > /proc/sys/net/ipv4/ip_default_ttl) 2>&1"
    local seen = assert(sh(script, { sysctl = set }))
    assert.matches("^1\n77\n.*Read%-only file system", seen)
    assert.matches("^0\n64\n", (sh(script)))
  end)
end)

describe("a new filesystem's own options", function()
  if not t.needs "userns" then return end

  it("are set: lazytime, dirsync, inode64", function()
    local seen = assert(sh("cat /proc/self/mountinfo", { mounts = { { tmpfs = "/x", options = { "lazytime", "dirsync" } },
      { tmpfs = "/y", options = { "huge=never" } } } }))
    local at = mount_at(seen, "/x")
    assert.matches(",lazytime,", at.super)
    assert.matches(",dirsync,", at.super)
    assert.is_nil(mount_at(seen, "/y").super:find "lazytime")
    fails(E.EINVAL, "mount%.tmpfs.*lazyatime", sh("true", { mounts = { { tmpfs = "/x", options = { "lazyatime" } } } }))
  end)
end)

describe("annotations", function()
  it("are told to hooks", function()
    local seen
    assert(bare("true", { annotations = { ["org.example.a"] = "1", b = "zwei" },
      hooks = { prestart = function(state) seen = state.annotations end } }))
    assert.same({ ["org.example.a"] = "1", b = "zwei" }, seen)
  end)

  it("are strings by name", function()
    local _, message = bare("true", { annotations = { a = 5 } })
    assert.matches("annotations: 'a': string expected, got number", message)
    _, message = bare("true", { annotations = { "x" } })
    assert.matches("annotations: names are strings", message)
  end)
end)

describe("a command hook without an environment", function()
  it("gets the default one and /, and nothing of the host's or the container's", function()
    local d = m.tmpdir()
    finally(m.clean)
    local function hook(env)
      assert(bare("true", { env = { LD_PRELOAD = "/evil.so", SECRET = "x" }, hooks = { prestart = { path = "/bin/sh", env = env,
        args = { "sh", "-c", "tr '\\0' '\\n' < /proc/self/environ > " .. d .. "/out; pwd -P >> " .. d .. "/out" } } } }))
      return t.read_file(d .. "/out")
    end
    assert.equal("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/\n", hook(nil))
    assert.equal("A=b\n/\n", (hook { A = "b" }:gsub("PATH=[^\n]*\n", ""))) -- the shell has a PATH of its own
    assert.is_nil((hook {}):find "LD_PRELOAD")
  end)
end)

-- What the steps' own specs prove in full, asked for by a recipe.
describe("a recipe's option", function()
  local cases = {
    { "umask", { umask = "027" }, "umask", "0022\n", "0027\n" },
    { "personality", { personality = { domain = "linux32" } }, "uname -m | grep -c '^i.86$'", "0\n", "1\n" },
    { "oom_score_adj", { oom_score_adj = 555 }, "cat /proc/self/oom_score_adj", "0\n", "555\n" },
    { "nice", { nice = 7 }, "nice", "0\n", "7\n" },
    { "rlimits", { rlimits = { nofile = { 60, 70 }, core = 0 } }, "ulimit -Sn; ulimit -Hn; ulimit -c", nil, "60\n70\n0\n" },
    { "scheduler", { scheduler = { "batch" } }, "cut -d' ' -f41 /proc/self/stat", "0\n", "3\n" },
    { "ioprio", { ioprio = { "idle" } }, "command -v ionice >/dev/null && ionice || echo idle", nil, "idle\n" },
    { "session = false", { session = false }, "cut -d' ' -f6 /proc/self/stat", nil, nil },
  }
  for _, c in ipairs(cases) do
    it(c[1] .. " is seen by the program", function()
      local now = t.sh(c[3])
      local without = assert(bare(c[3], {}))
      local with = assert(bare(c[3], c[2]))
      if c[4] then assert.equal(now, without) end -- what it is anyway
      if c[5] then
        assert.equal(c[5], with)
        if c[4] then assert.not_equal(with, without) end
      else
        assert.not_equal(without, with)
      end
      assert.equal(now, t.sh(c[3])) -- and not the host's
    end)
  end

  it("hostname, domainname and time_offsets are seen by the program", function()
    if not t.needs "userns" then return end
    local script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname; cut -d. -f1 /proc/uptime"
    local host, boot = t.read_file "/proc/sys/kernel/hostname", tonumber((t.read_file "/proc/uptime"):match "^%d+")
    local seen = assert(sh(script, { hostname = "box", domainname = "example.org", namespaces = { time = true },
      time_offsets = { boottime = 1000000 } }))
    local uptime = tonumber(seen:match "^box\nexample%.org\n(%d+)\n$")
    assert.truthy(uptime and uptime >= boot + 1000000 and uptime < boot + 1000100, seen)
    assert.equal(host, t.read_file "/proc/sys/kernel/hostname")
    seen = assert(sh(script))
    assert.matches("^sandbox\n", seen)
    assert.truthy(tonumber(seen:match "(%d+)\n$") < boot + 1000)
  end)

  it("readonly_root, masked, readonly and devices are seen by the program", function()
    if not t.needs "userns" then return end
    assert.matches("Read%-only", (sh "(> /x) 2>&1"))
    assert.is_nil(sh("(> /x) 2>&1", { readonly_root = false }):find "Read%-only") -- though not the user's
    assert.equal("0\n", (sh("wc -c < /etc/secret", { mounts = { { file = "/etc/secret", data = "x" } }, masked = { "/etc/secret" } })))
    assert.matches("Read%-only", (sh("(> /tmp/d/x) 2>&1", { mounts = { { dir = "/tmp/d" } }, readonly = { "/tmp/d" } })))
    assert.equal("1:3\n1:7\n", (sh "stat -c %t:%T /dev/null /dev/full"))
  end)
end)
