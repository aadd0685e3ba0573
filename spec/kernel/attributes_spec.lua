local t = require "support"
local step = t.step

-- What core.attributes() says in the program, of one field.
local function see(field, ...)
  local r, message, errno, failure = t.run({ ... }, { argv = t.program("return core.attributes()." .. field) })
  return r and r.output, message, errno, failure
end

local function fails(errno, pattern, ...)
  local ok, message, e = t.run { ... }
  assert.is_nil(ok)
  assert.matches(pattern, message)
  assert.equal(errno, e)
end

local function raises(name, options, message)
  assert.has_error(function() t.core.check(name, options) end, message)
end

local mine = t.core.attributes()
local function have(capability)
  for _, c in ipairs(mine.capabilities.effective) do
    if c == capability then return true end
  end
  return false
end

describe("rlimit", function()
  -- names as /proc/PID/limits has them
  local lines = { cpu = "Max cpu time", fsize = "Max file size", data = "Max data size", stack = "Max stack size",
    core = "Max core file size", rss = "Max resident set", nproc = "Max processes", nofile = "Max open files",
    memlock = "Max locked memory", as = "Max address space", locks = "Max file locks", sigpending = "Max pending signals",
    msgqueue = "Max msgqueue size", nice = "Max nice priority", rtprio = "Max realtime priority",
    rttime = "Max realtime timeout" }

  local function limits(output, resource)
    return output:match("\n" .. lines[resource] .. "%s+(%S+)%s+(%S+)")
  end

  it("sets each of the 16, soft and hard, as 64-bit numbers", function()
    local n = 0
    for resource in pairs(lines) do
      n = n + 1
      -- no higher than what is: an ordinary user may not raise a hard limit
      local hard = mine.rlimits[resource].hard
      hard = hard == "max" and "9223372036854775807" or hard
      local soft = tonumber(hard) > 2 ^ 40 and "1099511627776" or hard
      local r = assert(t.run({ step("rlimit", { resource, soft = soft, hard = hard }) }, { script = "cat /proc/self/limits" }))
      local s, h = limits(r.output, resource)
      assert.same({ resource, tostring(soft), tostring(hard) }, { resource, s, h })
    end
    assert.equal(16, n)
  end)

  it("takes max for no limit, and soft for both", function()
    local r = assert(t.run({ step("rlimit", { "core", soft = 4096, hard = "max" }), step("rlimit", { "nofile", soft = 50 }),
      step("rlimit", { "as", soft = "max" }) }, { script = "cat /proc/self/limits" }))
    assert.same({ "4096", "unlimited" }, { limits(r.output, "core") })
    assert.same({ "50", "50" }, { limits(r.output, "nofile") })
    assert.same({ "unlimited", "unlimited" }, { limits(r.output, "as") })
  end)

  it("holds: a file size limit kills, a number of descriptors runs out", function()
    local r = assert(t.run({ step("rlimit", { "fsize", soft = 1000 }), step("rlimit", { "core", soft = 0 }) },
      { argv = { "dd", "if=/dev/zero", "of=/tmp/.caisson-fsize", "bs=2000", "count=1", "status=none" } }))
    os.remove("/tmp/.caisson-fsize")
    assert.equal(25, r.signal or r.code) -- XFSZ
    r = assert(t.run({ step("rlimit", { "nofile", soft = 5 }) }, { script = "exec 3</dev/null 4</dev/null 5</dev/null && echo open" }))
    assert.is_nil(r.output:find("^open"))
  end)

  it("leaves the host's limits", function()
    assert.same(mine.rlimits, t.core.attributes().rlimits)
  end)

  it("can't be raised without the right to", function()
    if have("sys_resource") then return pending("this user may raise limits") end
    fails(1, "rlimit%[2%] nofile 60:60: Operation not permitted", step("rlimit", { "nofile", soft = 50, hard = 50 }),
      step("rlimit", { "nofile", soft = 60, hard = 60 }))
  end)

  it("refuses bad input", function()
    fails(22, "the soft limit is above the hard one", step("rlimit", { "core", soft = "max", hard = 5 }))
    raises("rlimit", { "nofiles", soft = 1 }, "option 'resource': unknown word 'nofiles' (did you mean 'nofile'?)")
    raises("rlimit", { "RLIMIT_CORE", soft = 1 })
    raises("rlimit", { 7, soft = 1 })
    raises("rlimit", { "core" }, "rlimit: option 'soft' is missing")
    for _, bad in ipairs { -1, 1.5, "unlimited", "0x10", "", " 1", "1 ", "18446744073709551616", "1\0", true, {}, 2 ^ 60, 1 / 0 } do
      raises("rlimit", { "core", soft = bad })
      raises("rlimit", { "core", soft = 1, hard = bad })
    end
  end)
end)

describe("umask", function()
  it("is the program's, not the host's", function()
    local before = t.sh("umask")
    assert.equal("0027\n", assert(t.run({ step("umask", "027") }, { script = "umask" })).output)
    assert.equal("0777\n", assert(t.run({ step("umask", { mode = "0777" }) }, { script = "umask" })).output)
    assert.equal(before, t.sh("umask"))
  end)

  it("refuses what the kernel would cut", function()
    fails(22, "at most 0777", step("umask", "1000"))
    for _, bad in ipairs { "089", "8", "-1", "", "0x1", "rwx", 2 ^ 32, -1, 1.5, true } do raises("umask", { mode = bad }) end
  end)
end)

describe("personality", function()
  it("sets domain and flags", function()
    assert.equal("{domain=linux32 flags={addr_no_randomize}}",
      see("personality", step("personality", { domain = "linux32", flags = { "addr_no_randomize" } })))
    assert.equal("i686\n", assert(t.run({ step("personality", { domain = "linux32" }) }, { script = "uname -m" })).output)
  end)

  it("takes away the randomness of addresses", function()
    local script = "grep -m1 stack /proc/self/maps"
    local function stack(...) return assert(t.run({ ... }, { script = script })).output end
    local fixed = step("personality", { flags = { "addr_no_randomize" } })
    assert.equal(stack(fixed), stack(fixed))
    assert.are_not.equal(stack(), stack())
  end)

  it("refuses unknown words", function()
    raises("personality", { domain = "linux64" })
    raises("personality", { domain = 8 })
    raises("personality", { flags = { "addr_no_randomise" } },
      "option 'flags': unknown word 'addr_no_randomise' (did you mean 'addr_no_randomize'?)")
  end)
end)

describe("oom_score_adj", function()
  it("is the program's, not the host's", function()
    local before = t.read_file("/proc/self/oom_score_adj")
    assert.equal("1000\n", assert(t.run({ step("oom_score_adj", 1000) }, { script = "cat /proc/self/oom_score_adj" })).output)
    assert.equal("777\n", assert(t.run({ step("oom_score_adj", { value = 777 }) },
      { script = "cat /proc/self/oom_score_adj", fork = true })).output)
    assert.equal(before, t.read_file("/proc/self/oom_score_adj"))
  end)

  it("is lowered by who may alone", function()
    if have("sys_resource") then
      assert.equal("-5\n", assert(t.run({ step("oom_score_adj", -5) }, { script = "cat /proc/self/oom_score_adj" })).output)
    else
      fails(13, "oom_score_adj%[1%] %-999: lowering it takes CAP_SYS_RESOURCE", step("oom_score_adj", -999))
    end
  end)

  it("is written to procfs alone, not to what lies on /proc", function()
    if not t.needs("userns") then return end
    -- a tmpfs with a file of the right name where /proc should be
    local lie = "mkdir -p /proc/self && : > /proc/self/oom_score_adj"
    local function run(...)
      return t.run(t.steps(t.contained { "mount" }, step("lua", { name = "lie" }), ...), { functions = { lie = function()
        assert(os.execute("mount --make-rprivate / 2>/dev/null; mount -t tmpfs lie /proc && " .. lie))
      end } })
    end
    local ok, message, errno = run(step("oom_score_adj", 500))
    assert.is_nil(ok)
    assert.equal(95, errno)
    assert.matches("/proc is not a procfs", message)
  end)

  it("is written to the root of procfs, not to a directory of it that lies on /proc", function()
    if not t.needs("userns") then return end
    local ok, message, errno = t.run(t.steps(t.contained { "mount" }, step("lua", { name = "lie" }),
      step("oom_score_adj", 500)), { functions = { lie = function()
        assert(os.execute("mount --make-rprivate / 2>/dev/null; mount --bind /proc/sys /proc"))
      end } })
    assert.is_nil(ok)
    assert.equal(95, errno)
    assert.matches("/proc is not a procfs", message)
  end)

  it("is not written through a mount on the file itself", function()
    if not t.needs("userns") then return end
    local ok, _, errno = t.run(t.steps(t.contained { "mount" }, step("lua", { name = "lie" }),
      step("oom_score_adj", 500)), { functions = { lie = function()
        assert(os.execute("mount --make-rprivate / 2>/dev/null; " ..
          "mount --bind /proc/$PPID/environ /proc/$PPID/oom_score_adj"))
      end } })
    assert.is_nil(ok)
    assert.equal(18, errno) -- EXDEV
  end)

  it("is written through the procfs of the slot, where it is filled", function()
    if not t.needs("userns") then return end
    local r = assert(t.run(t.steps(t.contained { "mount", "pid" }, step("procfs"), step("lua", { name = "lie" }),
      step("oom_score_adj", 432)), { script = "mount -t proc proc /proc && cat /proc/self/oom_score_adj",
      functions = { lie = function()
        assert(os.execute("mount --make-rprivate / 2>/dev/null; mount -t tmpfs lie /proc"))
      end } }))
    assert.equal("432\n", r.output)
  end)

  it("refuses bad values", function()
    for _, bad in ipairs { -1001, 1001, 2 ^ 40 } do fails(22, "from %-1000 to 1000", step("oom_score_adj", bad)) end
    for _, bad in ipairs { "500", 0.5, true, {}, 1 / 0, 0 / 0 } do raises("oom_score_adj", { value = bad }) end
  end)
end)

describe("nice", function()
  it("is set", function()
    assert.equal("7", see("nice", step("nice", 7)))
    assert.equal("19", see("nice", step("nice", { value = 19 })))
    assert.equal(mine.nice, t.core.attributes().nice)
  end)

  it("is raised by who may alone", function()
    if have("sys_nice") then
      assert.equal("-20", see("nice", step("nice", -20)))
    else
      fails(13, "nice%[1%] %-20: Permission denied", step("nice", -20))
    end
  end)

  it("refuses what the kernel would cut", function()
    for _, bad in ipairs { -21, 20, 2 ^ 40 } do fails(22, "from %-20 to 19", step("nice", bad)) end
    for _, bad in ipairs { "5", 0.5, {} } do raises("nice", { value = bad }) end
  end)
end)

describe("scheduler", function()
  local function policy(...) return see("scheduler.policy", ...) end

  it("sets the policies of every user", function()
    for _, p in ipairs { "other", "batch", "idle" } do assert.equal(p, policy(step("scheduler", { p }))) end
  end)

  it("keeps nice where it is not given, and sets it where it is", function()
    assert.equal("3", see("nice", step("nice", 3), step("scheduler", { "batch" })))
    assert.equal("4", see("nice", step("nice", 3), step("scheduler", { "batch", nice = 4 })))
  end)

  it("sets realtime policies with their priority and flags", function()
    if not have("sys_nice") then return pending("needs CAP_SYS_NICE; root's run proves it") end
    for _, p in ipairs { "fifo", "rr" } do
      local s = see("scheduler", step("scheduler", { p, priority = 7, flags = { "reset_on_fork" } }))
      if not s then -- a v1 cpu group without realtime budget
        fails(1, "scheduler", step("scheduler", { p, priority = 7 }))
      else
        assert.matches("flags={reset_on_fork}", s)
        assert.matches("policy=" .. p .. " priority=7", s)
      end
    end
  end)

  it("sets deadline with runtime, deadline and period", function()
    if not have("sys_nice") then return pending("needs CAP_SYS_NICE; root's run proves it") end
    local s = assert(see("scheduler", step("scheduler", { "deadline", runtime = 10000000, deadline = 20000000,
      period = 40000000, flags = { "reset_on_fork", "reclaim" } })))
    assert.matches("deadline=20000000", s)
    assert.matches("flags={reset_on_fork reclaim}", s)
    assert.matches("period=40000000 policy=deadline", s)
    assert.matches("runtime=10000000", s)
  end)

  it("has every flag of sched_setattr(2), or says that the kernel has not", function()
    -- what was set before is kept
    assert.equal("batch", policy(step("scheduler", { "batch" }), step("scheduler", { "other", flags = { "keep_policy" } })))
    assert.equal("other", policy(step("scheduler", { "batch" }), step("scheduler", { "other" })))
    assert.equal("6", see("nice", step("nice", 6), step("scheduler", { "batch", nice = 9, flags = { "keep_params" } })))
    assert.equal("9", see("nice", step("nice", 6), step("scheduler", { "batch", nice = 9 })))
    if have("sys_nice") then
      assert.matches("flags={reset_on_fork dl_overrun}", (assert(see("scheduler", step("scheduler", { "deadline", runtime = 100000000,
        deadline = 200000000, period = 200000000, flags = { "dl_overrun", "reset_on_fork" } })))))
    end
    for flag, key in pairs { util_clamp_min = "util_min", util_clamp_max = "util_max" } do
      local ok, message, errno = t.run { step("scheduler", { "other", flags = { flag }, [key] = 500 }) }
      if not ok then assert.equal(t.core.errno.EOPNOTSUPP, errno, message) end
    end
  end)

  it("refuses what the kernel does, and what it would cut", function()
    fails(22, "scheduler%[1%] other priority=3: Invalid", step("scheduler", { "other", priority = 3 }))
    fails(22, "scheduler%[1%] fifo priority=100: Invalid", step("scheduler", { "fifo", priority = 100 }))
    fails(22, "scheduler%[1%] iso: Invalid", step("scheduler", { "iso" }))
    fails(22, "from %-20 to 19", step("scheduler", { "other", nice = 20 }))
    if not have("sys_nice") then fails(1, "scheduler%[1%] fifo priority=5", step("scheduler", { "fifo", priority = 5 })) end
    raises("scheduler", { "SCHED_OTHER" })
    raises("scheduler", { 3 })
    raises("scheduler", { "rt" })
    raises("scheduler", {}, "scheduler: option 'policy' is missing")
    raises("scheduler", { "other", flags = { "reset" } })
    raises("scheduler", { "deadline", runtime = -1 })
    raises("scheduler", { "deadline", runtime = "1ms" })
    raises("scheduler", { "fifo", priority = 2 ^ 32 })
  end)
end)

describe("ioprio", function()
  it("sets class and level", function()
    assert.equal("{class=idle level=0}", see("ioprio", step("ioprio", { "idle" })))
    for level = 0, 7 do
      assert.equal("{class=best_effort level=" .. level .. "}", see("ioprio", step("ioprio", { "best_effort", level = level })))
    end
    if have("sys_nice") then
      assert.equal("{class=realtime level=2}", see("ioprio", step("ioprio", { "realtime", level = 2 })))
    else
      fails(1, "ioprio%[1%] realtime 2", step("ioprio", { "realtime", level = 2 }))
    end
  end)

  it("refuses bad input", function()
    fails(22, "from 0 to 7", step("ioprio", { "best_effort", level = 8 }))
    fails(22, "from 0 to 7", step("ioprio", { "best_effort", level = 4294967295 }))
    fails(22, "ioprio%[1%] none 1: Invalid", step("ioprio", { "none", level = 1 }))
    raises("ioprio", { "IOPRIO_CLASS_BE" })
    raises("ioprio", { 2 })
    raises("ioprio", { "idle", level = -1 })
    raises("ioprio", { "idle", level = "1" })
  end)
end)

describe("no_new_privs, dumpable and subreaper", function()
  it("are set", function()
    assert.equal("false", see("no_new_privs"))
    assert.equal("true", see("no_new_privs", step("no_new_privs")))
    assert.equal("false", see("subreaper"))
    assert.equal("true", see("subreaper", step("subreaper")))
    assert.equal("false", see("subreaper", step("subreaper"), step("subreaper", { on = false })))
    assert.equal("true", see("dumpable", step("dumpable", false))) -- exec makes it so again
    assert.is_false(t.core.attributes().no_new_privs)
    assert.is_false(t.core.attributes().subreaper)
    assert.is_true(t.core.attributes().dumpable)
  end)

  it("no_new_privs keeps a setuid program to its user", function()
    if not t.needs("root") then return end
    local id = t.sh("p=$(mktemp -d /tmp/caisson.XXXXXX) && chmod 755 $p && cp $(command -v id) $p/id && chmod 4755 $p/id && echo $p"):match("%S+")
    local function euid(...)
      return assert(t.run({ step("groups", { groups = {} }), step("gid", 1000), step("uid", 1000), ... },
        { argv = { id .. "/id", "-u" } })).output
    end
    local with, without = euid(step("no_new_privs")), euid()
    os.remove(id .. "/id")
    os.remove(id)
    if without ~= "0\n" then return pending("no file system for setuid programs in /tmp") end
    assert.equal("1000\n", with)
  end)

  it("dumpable counts before exec", function()
    local out = t.host([[
      local core = require "caisson.core"
      core.dumpable(false) io.write(tostring(core.attributes().dumpable), " ")
      core.dumpable(true) io.write(tostring(core.attributes().dumpable))]])
    assert.equal("false true", out)
  end)

  it("take no other options", function()
    raises("no_new_privs", { on = true })
    raises("no_new_privs", true, "no_new_privs takes no options")
    raises("dumpable", {}, "dumpable: option 'on' is missing")
    raises("dumpable", { on = 1 })
    raises("subreaper", { on = "yes" })
  end)

  it("a subreaper gets the orphans", function()
    local r = assert(t.run({ step("subreaper") }, { script = [[
      o=$(sh -c 'sleep 0.3 > /dev/null & echo $!'); [ "$(awk '/^PPid/ { print $2 }' /proc/$o/status)" = $$ ] && echo mine]] }))
    assert.equal("mine\n", r.output)
  end)
end)

describe("keyring", function()
  local function session_keyring(...)
    local r, message, errno = t.run({ ... }, { script = "cat /proc/keys" })
    return r and r.output, message, errno
  end

  it("joins a session keyring of that name", function()
    local keys = session_keyring(step("keyring", "_ses.caisson"))
    assert.matches("keyring%s+_ses%.caisson", keys)
  end)

  it("has the same permissions under a long name", function()
    local function permissions(name)
      local keys = assert(session_keyring(step("keyring", { name = name, searchable = true })))
      return keys:match("(%x+) +%d+ +%d+ +keyring +" .. name .. ":")
    end
    assert.equal(assert(permissions("caisson")), (permissions(("x"):rep(600))))
    assert.equal(permissions("caisson"), (permissions(("y"):rep(4000))))
  end)

  it("is a new one without a name, each time", function()
    -- the user's other session keyrings are listed too
    local seen = {}
    local function fresh(keys)
      local n = 0
      for id in keys:gmatch("(%x+) [^\n]*keyring%s+_ses:") do
        if not seen[id] then n = n + 1 end
        seen[id] = true
      end
      return n
    end
    fresh(assert(session_keyring()))
    assert.truthy(fresh(assert(session_keyring(step("keyring")))) > 0)
    assert.truthy(fresh(assert(session_keyring(step("keyring")))) > 0)
  end)

  it("refuses bad names", function()
    fails(1, "keyring%[1%] %.secret", step("keyring", ".secret"))
    fails(22, "keyring%[1%] x", step("keyring", ("x"):rep(5000)))
    raises("keyring", { name = "a\0b" })
    raises("keyring", { name = 5 })
  end)
end)

describe("core.rlimits", function()
  it("are those of the attributes, as /proc has them", function()
    local limits = t.core.rlimits()
    assert.same(t.core.attributes().rlimits, limits)
    local soft, hard = t.read_file("/proc/self/limits"):match("Max open files%s+(%S+)%s+(%S+)")
    assert.same({ soft, hard }, { tostring(limits.nofile.soft), tostring(limits.nofile.hard) })
  end)
end)
