local t = require "support"
local bpf = require "caisson.policy.bpf"
local policy = require "caisson.policy"
local groups = require "caisson.policy.groups"

local core, seccomp = t.core, t.core.seccomp
local native = bpf.arch[seccomp.architecture()]

-- What a policy answers for a call: "allow", "errno 1".
local function asker(p)
  local program = bpf.decode(assert(p:program { cache = false }))
  return function(name, ...)
    local nr = type(name) == "number" and name or assert(seccomp.number(name), name)
    local action, data = bpf.run(program, { nr = nr, arch = native, args = { ... } })
    return data == 0 and action or action .. " " .. data
  end
end

local function ask(p, ...) return asker(p)(...) end

describe("policy groups", function()
  it("hold every system call that libseccomp knows of here", function()
    local grouped, missing = {}, {}
    for _, text in pairs(groups) do
      for name in text:gmatch("%S+") do grouped[name] = true end
    end
    for name in pairs(seccomp.syscalls()) do
      if not grouped[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("have all of systemd's, @default for what every program does, and @known for all", function()
    for name in ([[@default @aio @basic-io @chown @clock @cpu-emulation @debug @file-system @io-event @ipc @keyring @memlock
        @module @mount @network-io @obsolete @pkey @privileged @process @raw-io @reboot @resources @setuid @signal @swap @sync
        @system-service @timer @known]]):gmatch("%S+") do assert.is_string(groups[name], name) end
    local q, all = asker(policy.new { "@default" }), asker(policy.new { "@known" })
    for name in ("execve exit_group brk mmap getpid futex clock_gettime"):gmatch("%S+") do assert.equal("allow", q(name), name) end
    assert.equal("errno 1", q("openat"))
    for name in pairs(seccomp.syscalls()) do assert.equal("allow", all(name), name) end
  end)

  it("hold names that libseccomp knows, or newer ones, and groups that are there", function()
    local newer = {}
    for _, name in ipairs { "file_getattr", "file_setattr", "getxattrat", "listmount", "listxattrat",
      "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mseal", "open_tree_attr", "removexattrat",
      "setxattrat", "statmount", "riscv_hwprobe", "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake",
      "futex_wait", "futex_requeue" } do newer[name] = true end
    for group, text in pairs(groups) do
      for name in text:gmatch("%S+") do
        if name:sub(1, 1) == "@" then assert(groups[name], group .. ": " .. name)
        else assert(seccomp.known(name) or newer[name], group .. ": " .. name) end
      end
    end
  end)
end)

describe("policy.default", function()
  local default = asker(policy.default())

  it("allows what programs do", function()
    for name in ([[read write openat close mmap brk execve exit_group clone fork vfork wait4 futex socket
        connect accept4 bind listen ioctl fcntl getdents64 statx rename unlinkat epoll_wait io_submit
        rt_sigaction kill setuid setgroups capset prctl seccomp landlock_restrict_self ptrace mknodat
        sched_setaffinity prlimit64 umask chroot_not memfd_create shmget mq_open inotify_init1 getrandom
        rseq clock_nanosleep timer_create copy_file_range splice close_range openat2 pidfd_open]]):gmatch("%S+") do
      if seccomp.number(name) then assert.equal("allow", default(name), name) end
    end
  end)

  it("denies what opens the kernel, the host or the container's walls", function()
    for name in ([[mount umount2 pivot_root chroot fsopen fsmount move_mount open_tree mount_setattr setns
        unshare reboot kexec_load kexec_file_load init_module finit_module delete_module iopl ioperm swapon
        swapoff settimeofday clock_settime clock_adjtime adjtimex add_key keyctl request_key bpf
        perf_event_open userfaultfd open_by_handle_at kcmp pidfd_getfd quotactl acct syslog sethostname
        setdomainname io_uring_setup io_uring_enter io_uring_register move_pages mbind set_mempolicy
        migrate_pages lookup_dcookie fanotify_init vhangup nfsservctl uselib ustat sysfs _sysctl
        create_module query_module get_kernel_syms]]):gmatch("%S+") do
      if seccomp.number(name) then assert.equal("errno 1", default(name), name) end
    end
  end)

  it("answers ENOSYS for clone3 and for all that is newer than libseccomp", function()
    assert.equal("errno 38", default("clone3"))
    local newest = 0
    for _, nr in pairs(seccomp.syscalls()) do newest = math.max(newest, nr) end
    assert.equal("errno 38", default(newest + 1))
    assert.equal("errno 38", default(newest + 1000))
  end)

  it("lets clone make processes and threads, and no namespace", function()
    for _, flags in ipairs { 17, 0x3d0f00, 0x1200011 } do assert.equal("allow", default("clone", flags)) end
    for _, bit in ipairs { 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000 } do
      assert.equal("errno 1", default("clone", bit + 17))
    end
    assert.equal("errno 1", default("clone", "0xffffffff10000011"))
  end)

  it("allows five personalities", function()
    for _, v in ipairs { 0, 8, 0x20000, 0x20008, "0xffffffff", "0xffffffffffffffff", "0x100000000" } do
      assert.equal("allow", default("personality", v), tostring(v))
    end
    for _, v in ipairs { 1, 0x40000, 0x400000, 9, "0x100040000" } do
      assert.equal("errno 1", default("personality", v), tostring(v))
    end
  end)

  it("allows sockets of every family but AF_ALG and AF_VSOCK, whatever the upper bits", function()
    for family = 0, 45 do
      local expected = (family == 38 or family == 40) and "errno 1" or "allow"
      assert.equal(expected, default("socket", family), tostring(family))
      assert.equal(expected, default("socket", ("0x1%08x"):format(family)), tostring(family))
    end
  end)

  it("keeps TIOCSTI and TIOCLINUX from terminals, whatever the upper bits (CVE-2019-7303)", function()
    for _, request in ipairs { "5412", "541c" } do
      for _, upper in ipairs { "0x", "0x10000", "0xffffffff0000", "0x800000000000" } do
        assert.equal("errno 1", default("ioctl", 0, upper .. request))
      end
    end
    for _, request in ipairs { 0x5401, 0x5413, 0x541b, 0x541d, 0x5410, 0x541f, 0, "0xc0045412", "0xffffffff", 0x15412,
      "0xffffffff80005413" } do
      assert.equal("allow", default("ioctl", 0, request), tostring(request))
    end
  end)

  it("allows what a kept capability is good for, and only that", function()
    local p = asker(policy.default { capabilities = { "sys_admin", "sys_time" } })
    for name in ("mount unshare setns clone3 bpf sethostname clock_settime settimeofday"):gmatch("%S+") do
      assert.equal("allow", p(name), name)
    end
    assert.equal("allow", p("clone", 0x20000))
    for name in ("reboot init_module iopl kcmp"):gmatch("%S+") do assert.equal("errno 1", p(name), name) end
    local all = asker(policy.default { capabilities = "all" })
    assert.equal("allow", all("reboot"))
    assert.equal("errno 1", all("keyctl"))
    assert.equal("errno 1", all("ioctl", 0, 0x5412))
  end)

  it("refuses a capability and an option that it does not know", function()
    assert.error_matches(function() policy.default { capabilities = { "sys_admn" } } end,
      "unknown capability 'sys_admn' %(did you mean 'sys_admin'%?%)")
    assert.error_matches(function() policy.default { caps = {} } end, "unknown option 'caps'")
  end)
end)

describe("policies", function()
  it("are lists of what they allow", function()
    local p = asker(policy.new { "read", "@sync", { "socket", args = { { 0, "==", 1 } } } })
    assert.same({ "allow", "allow", "allow", "errno 1", "errno 1" },
      { p("read"), p("fsync"), p("socket", 1), p("socket", 2), p("write") })
    p = asker(policy.new { "read", default = "kill_process" })
    assert.same({ "allow", "kill_process" }, { p("read"), p("write") })
  end)

  it("never change", function()
    local p = policy.new { "read" }
    local before = p:program { cache = false }
    local _ = p + "write" - "read"
    p:answer("log", "read")
    p:with { default = "trap" }
    assert.equal(before, p:program { cache = false })
  end)

  it("are added, taken away and intersected", function()
    local a, b = policy.new { "read", "write" }, policy.new { "write", "close" }
    local function of(p)
      local q = asker(p)
      return { q("read"), q("write"), q("close") }
    end
    local yes, no = "allow", "errno 1"
    assert.same({ yes, yes, yes }, of(a + b))
    assert.same({ yes, no, no }, of(a - b))
    assert.same({ no, yes, no }, of(a * b))
    assert.same({ yes, no, no }, of(a - { "write" }))
    assert.same({ no, no, no }, of(a - "@basic-io"))
    assert.same({ yes, yes, yes }, of(a + "close"))
    assert.same({ no, yes, no }, of(a * { "write", "close" }))
    local q = asker(policy.default() - { "ptrace", "@network-io" })
    assert.same({ no, no, no, yes }, { q("ptrace"), q("socket", 1), q("recvmsg"), q("read") })
  end)

  it("deny a list where they allow by default", function()
    local p = policy.new { default = "allow" } - { "ptrace", { "socket", args = { { 0, "==", 40 } } } }
    local q = asker(p)
    assert.same({ "errno 1", "errno 1", "allow", "allow" }, { q("ptrace"), q("socket", 40), q("socket", 1), q("read") })
    q = asker(p + "ptrace" + { "socket", args = { { 0, "==", 40 } } })
    assert.same({ "allow", "allow" }, { q("ptrace"), q("socket", 40) })
    q = asker(policy.new { default = "log", deny = "kill_process" } - "ptrace")
    assert.same({ "kill_process", "log" }, { q("ptrace"), q("read") })
  end)

  it("work on conditions as sets", function()
    local unix, inet = { "socket", args = { { 0, "==", 1 } } }, { "socket", args = { { 0, "==", 2 } } }
    local stream = { "socket", args = { { 1, "==", 1 } } }
    local function of(p)
      local q = asker(p)
      return { q("socket", 1, 1), q("socket", 1, 2), q("socket", 2, 1), q("socket", 2, 2), q("socket", 3, 1) }
    end
    local y, n = "allow", "errno 1"
    local p = policy.new { unix, inet }
    assert.same({ y, y, y, y, n }, of(p))
    assert.same({ n, n, y, y, n }, of(p - unix))
    assert.same({ y, n, y, n, n }, of(p * stream))
    assert.same({ n, y, n, y, n }, of(p - stream))
    assert.same({ y, y, y, y, y }, of(p + stream))
    assert.same({ y, y, y, y, y }, of(p + "socket"))
    assert.same({ n, n, y, y, y }, of(policy.new { "socket" } - unix))
    assert.same({ n, n, n, n, y }, of(policy.new { "socket" } - unix - inet))
    assert.same({ n, n, n, n, n }, of(p - { unix, inet }))
  end)

  it("give calls other answers", function()
    local p = asker(policy.new { "read", "write", "getpid" }:answer("ENOSYS", { "read" }):answer({ "trace", 3 },
      "uname")
      :answer("log", { "getpid", args = { { 0, "==", 7 } } }))
    assert.same({ "errno 38", "allow", "trace 3", "log", "allow" },
      { p("read"), p("write"), p("uname"), p("getpid", 7), p("getpid", 8) })
  end)

  it("take options, also later", function()
    local p = policy.new { "read", default = "trap" }:with { default = { "errno", 99 }, flags = "log" }
    assert.equal("errno 99", ask(p, "write"))
    assert.same({ "log" }, p:step({ cache = false }).options.flags)
    assert.equal("kill_process", ask(policy.new { "read", newest = false, default = "kill_process" }, 5000))
    assert.equal("errno 38", ask(policy.new { "read", default = "kill_process" }, 5000))
    assert.equal("errno 38", ask(policy.new { "read", newest = "getpid", default = "kill_process" }, "getppid"))
    assert.equal("errno 38", ask(policy.new { "read", newest = true, default = "kill_process" }, "write"))
  end)

  it("have a program for each architecture asked for", function()
    local p = policy.new { "getpid", architectures = { "x86_64", "x86" } }:program { cache = false }
    assert.equal("allow", (bpf.run(p, { nr = 39, arch = bpf.arch.x86_64 })))
    assert.equal("allow", (bpf.run(p, { nr = 20, arch = bpf.arch.x86 })))
    assert.equal("errno", (bpf.run(p, { nr = 21, arch = bpf.arch.x86 })))
    p = policy.new { "getpid" }:with { bad_architecture = "ENOSYS" }:program { cache = false }
    assert.equal("errno", (bpf.run(p, { nr = 39, arch = 12345 })))
  end)

  it("give raw programs back as they are, checked for their size", function()
    assert.equal(("x"):rep(16), policy.program(("x"):rep(16)))
    for _, bad in ipairs { "", "1234567", ("x"):rep(8 * 4097) } do
      assert.error_matches(function() policy.program(bad) end, "1 to 4096 instructions of 8 bytes")
    end
    assert.error_matches(function() policy.program(5) end, "a policy, or a program as bytes, expected")
  end)

  it("can't notify nobody", function()
    local p = policy.new { "read" }:answer("notify", "mkdir")
    local step, message, errno = p:step { cache = false }
    assert.same({ nil, "action notify needs option 'listener', the slot for its descriptor", 22 }, { step, message,
      errno })
    assert.equal("l", p:with { listener = "l" }:step({ cache = false }).options.listener)
  end)

  it("tell a program that a filter has ended", function()
    assert.is_true(policy.denied { signal = 31 })
    assert.is_true(policy.denied { code = 159 })
    assert.is_false(policy.denied { signal = 9 })
    assert.is_false(policy.denied { code = 31 })
  end)

  local d = policy.new { "read" }
  for what, case in pairs {
    ["a misspelt call"] = { function() return d + "wirte" end,
      "unknown system call 'wirte' %(did you mean 'write'%?%)" },
    ["a misspelt group"] = { function() return d + { "@file-sytem" } end, "did you mean '@file%-system'" },
    ["a NUL in a name"] = { function() return d + "read\0x" end, "unknown system call" },
    ["a number for a name"] = { function() return d + { 5 } end, "expected, got number" },
    ["a number for a set"] = { function() return d + 5 end, "expected, got number" },
    ["no policy on the left"] = { function() return { "read" } + d end, "left side .* must be a policy" },
    ["a policy that allows by default on the right"] = { function() return d - policy.new { default = "allow" } end,
      "turn the operation round" },
    ["the intersection with one"] = { function() return policy.new { default = "allow" } * d end, "take calls away" },
    ["an option of a rule"] = { function() return d + { { "write", arg = {} } } end,
      "unknown option 'arg' %(did you mean 'args'" },
    ["an option in a list"] = { function() return d + { "write", arg = {} } end, "unknown option 'arg'" },
    ["a rule without names"] = { function() return d + { { args = {} } } end, "names no system call" },
    ["a bad index"] = { function() return d + { "write", args = { { 6, "==", 1 } } } end, "index is 0 to 5" },
    ["a bad operator"] = { function() return d + { "write", args = { { 0, "=", 1 } } } end, "unknown operator '='" },
    ["a bad value"] = { function() return d + { "write", args = { { 0, "==", -1 } } } end,
      "a value is a whole number" },
    ["a value of 65 bits"] = { function() return d + { "write", args = { { 0, "==", "18446744073709551616" } } } end,
      "a value is a whole number" },
    ["a field too many in a comparison"] = { function() return d + { "write", args = { { 0, "==", 1, 2 } } } end,
      "no field '4'" },
    ["a masked value outside its mask"] = { function() return d + { "write", args = { { 0, "masked", 1, 2 } } } end,
      "bits outside its mask" },
    ["an argument compared twice"] = { function() return d + { "write", args = { { 0, ">", 1 }, { 0, "<", 9 } } } end,
      "compared twice" },
    ["a set of order comparisons that overlap"] = { function()
      return policy.new { "read" } - (policy.new { { "read", args = { { 0, "<", 5 } } } } - { { "read", args = { { 0,
        "<", 2 } } } })
    end, "read: argument 0: '0 < 0x5' and '0 >= 0x2' can't be one comparison" },
    ["an unknown option"] = { function() policy.new { defualt = "allow" } end,
      "unknown option 'defualt' %(did you mean 'default'" },
    ["an unknown action"] = { function() policy.new { default = "kil_process" } end, "did you mean 'kill_process'" },
    ["an action of another shape"] = { function() policy.new { default = { "allow", 1 } } end, "an action such as" },
    ["an errno that is none"] = { function() policy.new { default = { "errno", "EWHAT" } } end, "an action such as" },
    ["errno.name as an action"] = { function() policy.new { default = "name" } end, "unknown action 'name'" },
    ["an unknown architecture"] = { function() policy.new { architectures = { "x86-64" } } end,
      "did you mean 'x86_64'" },
    ["no architecture"] = { function() policy.new { architectures = {} } end, "at least one" },
    ["an unknown flag"] = { function() policy.new { flags = { "tsnyc" } } end, "did you mean 'tsync'" },
    ["an unknown newest"] = { function() policy.new { newest = "nonesuch" } end, "option 'newest'" },
    ["calls for a policy that allows by default"] = { function() policy.new { "read", default = "allow" } end,
      "take calls away" },
    ["turning a list round"] = { function() d:with { default = "allow" } end, "can't turn" },
    ["a listener that is no name"] = { function() d:with { listener = 3 } end, "name of a slot expected" },
    ["no table"] = { function() policy.new "read" end, "table expected" },
  } do
    it("refuse " .. what, function()
      assert.error_matches(case[1], case[2])
      local _, message = pcall(case[1])
      assert.matches("policy_spec.lua:%d+: ", message) -- blamed on the caller
    end)
  end
end)

describe("the policy cache", function()
  local dir
  before_each(function()
    dir = t.sh("mktemp -d"):match("[^\n]+")
    policy.forget()
  end)
  after_each(function() t.sh("rm -rf " .. dir) end)

  local function files(path) return (t.sh("ls -A " .. (path or dir))) end
  local function only(path) return (path or dir) .. "/" .. files(path):match("^(%x+)\n$") end

  -- How many programs a function compiles.
  local function compiled(fn)
    local real, n = seccomp.compile, 0
    seccomp.compile = function(...)
      n = n + 1
      return real(...)
    end
    local ok, message = pcall(fn)
    seccomp.compile = real
    assert(ok, message)
    return n
  end

  it("keeps a program in the process and on disk, privately", function()
    local p = policy.new { "read" }
    local program
    assert.equal(1, compiled(function() program = p:program { cache = dir } end))
    assert.equal(0, compiled(function() assert.equal(program, p:program { cache = dir }) end))
    policy.forget()
    assert.equal(0, compiled(function() assert.equal(program, policy.new({ "read" }):program { cache = dir }) end))
    assert.matches("^%-rw%-%-%-%-%-%-%- ", t.sh("ls -l " .. only()))
  end)

  it("makes its directory, for its user alone", function()
    local p = policy.new { "read" }
    p:program { cache = dir .. "/caisson/seccomp" }
    assert.matches("^drwx%-%-%-%-%-%- ", t.sh("ls -ld " .. dir .. "/caisson/seccomp"))
    policy.forget()
    assert.equal(0, compiled(function() p:program { cache = dir .. "/caisson/seccomp" } end))
  end)

  it("has another program for every input", function()
    local base = policy.new { "read", { "socket", args = { { 0, "==", 1 } } }, default = { "errno", 1 } }
    local variants = { base, base + "write", base - "read", base:with { default = { "errno", 2 } },
      base:with { default = "trap" }, base:with { flags = { "log" } }, base:with { flags = { "spec_allow" } },
      base:with { architectures = { "x86_64", "x86" } }, base:with { bad_architecture = "trap" },
      base:with { newest = "getpid" }, base:with { newest = false }, base:with { listener = "l" },
      base:answer({ "errno", 2 }, "write"), base:answer({ "errno", 3 }, "write"),
      policy.new { "read", { "socket", args = { { 0, "==", 2 } } }, default = { "errno", 1 } },
      policy.new { "read", { "socket", args = { { 1, "==", 1 } } }, default = { "errno", 1 } },
      policy.new { "read", { "socket", args = { { 0, "!=", 1 } } }, default = { "errno", 1 } },
      policy.new { "read", { "socket", args = { { 0, "masked", 3, 1 } } }, default = { "errno", 1 } },
      policy.new { "read", { "socket", args = { { 0, "masked", 7, 1 } } }, default = { "errno", 1 } } }
    for i, p in ipairs(variants) do
      assert.equal(1, compiled(function() p:program { cache = dir } end), "variant " .. i)
    end
    local version = seccomp.version
    seccomp.version = function() return "9.9.9" end
    policy.forget()
    local n = compiled(function() base:program { cache = dir } end)
    seccomp.version = version
    assert.equal(1, n)
    assert.equal(#variants + 1, select(2, files():gsub("\n", "")))
  end)

  local function each_damage(p, damage)
    local program = p:program { cache = dir }
    policy.forget()
    damage(only())
    assert.equal(1, compiled(function() assert.equal(program, p:program { cache = dir }) end))
    policy.forget()
    assert.equal(0, compiled(function() assert.equal(program, p:program { cache = dir }) end), "not mended")
  end

  local function write(path, s)
    local f = assert(io.open(path, "wb"))
    f:write(s)
    f:close()
  end

  for what, damage in pairs {
    ["cut short"] = function(path) write(path, t.read_file(path):sub(1, -9)) end,
    ["cut to nothing"] = function(path) write(path, "") end,
    ["too long"] = function(path) write(path, t.read_file(path) .. "more") end,
    ["changed in its last byte"] = function(path) write(path, t.read_file(path):sub(1, -2) .. "\255") end,
    ["kept for another input, of the same hash and sum"] = function(path)
      local entry = t.read_file(path)
      write(path, entry:sub(1, 30) .. "X" .. entry:sub(32)) -- in the key; the sum is of the key asked for
    end,
    ["changed in its first byte"] = function(path) write(path, "X" .. t.read_file(path):sub(2)) end,
    ["writable by others"] = function(path)
      write(path, t.read_file(path):sub(1, -2) .. "\255")
      t.sh("chmod 666 " .. path)
    end,
    ["a symlink"] = function(path) t.sh(("mv %s %s.x; ln -s %s.x %s; mv %s.x %s/.hidden"):format(path, path, path,
      path, path, dir)) end,
    ["a fifo"] = function(path) t.sh(("rm %s; mkfifo %s"):format(path, path)) end,
  } do
    it("builds anew what is " .. what, function() each_damage(policy.new { "read" }, damage) end)
  end

  it("compares the whole input, not its hash", function()
    -- the file of one policy in the place of another's
    local a, b = policy.new { "read" }, policy.new { "write" }
    a:program { cache = dir }
    local of_a = only()
    t.sh("mkdir " .. dir .. "/b; chmod 700 " .. dir .. "/b")
    b:program { cache = dir .. "/b" }
    local of_b = only(dir .. "/b")
    t.sh(("cp %s %s/b/%s"):format(of_a, dir, of_b:match("[^/]+$")))
    policy.forget()
    assert.equal(1, compiled(function() b:program { cache = dir .. "/b" } end))
  end)

  it("does not use a directory that is another's, or open to others, and does without", function()
    t.sh("chmod 755 " .. dir)
    local p = policy.new { "read" }
    assert.equal(1, compiled(function() p:program { cache = dir } end))
    assert.equal("", files())
    if t.is_root then
      t.sh("chmod 700 " .. dir .. "; chown 12345 " .. dir)
      policy.forget()
      assert.equal(1, compiled(function() p:program { cache = dir } end))
      assert.equal("", files())
    end
    t.sh("chmod 700 " .. dir .. "; ln -s . " .. dir .. "/link")
    policy.forget()
    p:program { cache = dir .. "/link" }
    assert.equal("link\n", files())
    assert.is_nil(core.cache.get("/nonexistent/x", "key"))
    local ok, message, errno = core.cache.put("/proc/nonexistent/x", "key", "value")
    assert.is_nil(ok)
    assert.matches("^cache /proc/nonexistent/x: ", message)
    assert.equal(2, errno)
  end)

  it("is written by many at once without harm", function()
    local script = ([[for i in 1 2 3 4 5 6; do %s -e '
      package.path, package.cpath = %q, %q
      local policy = require "caisson.policy"
      for i = 1, 20 do policy.forget() local p = policy.new { "read" }:program { cache = "%s" } io.write(#p,
        " ") end' & done; wait]])
      :format(t.lua, package.path, package.cpath, dir)
    local sizes = {}
    for n in t.sh(script):gmatch("%d+") do sizes[n] = (sizes[n] or 0) + 1 end
    local expected = tostring(#policy.new({ "read" }):program { cache = false })
    assert.same({ [expected] = 120 }, sizes)
    assert.equal(1, select(2, files():gsub("\n", "")))
  end)
end)

describe("OCI profiles", function()
  local function read(profile) return assert(policy.from_oci(profile)) end

  it("are read as runc reads them", function()
    local p = read [[ { "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99,
      "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
      "syscalls": [
        { "names": ["read", "nonesuch"], "action": "SCMP_ACT_ALLOW" },
        { "names": ["getpid"], "action": "SCMP_ACT_ERRNO" },
        { "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 },
        { "names": ["getuid"], "action": "SCMP_ACT_TRACE", "errnoRet": 300 },
        { "names": ["geteuid"], "action": "SCMP_ACT_KILL" },
        { "names": ["getgid"], "action": "SCMP_ACT_KILL_PROCESS" },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
          { "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 18446744069414584320, "valueTwo": 4294967296 } ] },
        { "names": ["openat2"], "action": "SCMP_ACT_LOG", "args": [] } ] } ]]
    local q = asker(p)
    assert.same({ "allow", "errno 1", "errno 7", "trace 300", "kill_thread", "kill_process", "log", "errno 99" },
      { q("read"), q("getpid"), q("getppid"), q("getuid"), q("geteuid"), q("getgid"), q("openat2"), q("write") })
    assert.same({ "allow", "errno 99", "errno 99" }, { q("socket", "0x100000005"), q("socket", 5), q("socket",
      "0x300000005") })
    assert.same({ "nonesuch" }, p:unknown())
    assert.same({ "log" }, p:step({ cache = false }).options.flags)
    assert.equal("errno 38", q(seccomp.number("openat2") + 1)) -- newer than all that the profile names
    assert.equal("errno 99", q(seccomp.number("openat2") - 1))
    assert.equal("allow", (bpf.run(p:program { cache = false }, { nr = 3, arch = bpf.arch.x86 })))
  end)

  it("allow what is newer where they allow what they don't name", function()
    for word, action in pairs { SCMP_ACT_ALLOW = "allow", SCMP_ACT_LOG = "log" } do
      local q = asker(read { defaultAction = word, syscalls = { { names = { "mkdir", "mkdirat" }, action = "SCMP_ACT_ERRNO", errnoRet = 28 } } })
      assert.same({ "errno 28", action, action, action }, { q("mkdir"), q("dup3"), q("openat2"), q(seccomp.number("openat2") + 1000) })
    end
  end)

  it("mean 'or' where one argument is compared twice", function()
    local q = asker(read { defaultAction = "SCMP_ACT_ERRNO", syscalls = { { names = { "socket" },
      action = "SCMP_ACT_ALLOW",
      args = { { index = 0, op = "SCMP_CMP_EQ", value = 1 }, { index = 0, op = "SCMP_CMP_EQ", value = 2,
        valueTwo = 0 } } } } })
    assert.same({ "allow", "allow", "errno 1" }, { q("socket", 1), q("socket", 2), q("socket", 3) })
  end)

  it("are taken at the first word where they contradict themselves", function()
    local q = asker(read { defaultAction = "SCMP_ACT_ERRNO", syscalls = {
      { names = { "read" }, action = "SCMP_ACT_ALLOW" }, { names = { "read" }, action = "SCMP_ACT_LOG" },
      { names = { "write" }, action = "SCMP_ACT_LOG", args = { { index = 0, op = "SCMP_CMP_EQ", value = 1 } } },
      { names = { "write" }, action = "SCMP_ACT_ALLOW" },
      { names = { "close" }, action = "SCMP_ACT_ERRNO" }, { names = { "close" }, action = "SCMP_ACT_ALLOW" } } })
    assert.same({ "allow", "allow", "allow" }, { q("read"), q("write", 1), q("close") })
  end)

  it("come out as they went in", function()
    for _, p in ipairs { policy.default(), policy.default { capabilities = { "sys_admin" } },
      policy.new { "read", { "write", args = { { 2, ">", "0xfffffffffffffffe" }, { 0, "masked", "0xffffffff00000000",
        0 } } },
        default = "kill_process", flags = { "log" } }:answer({ "trace", 5 }, "close") } do
      local json = p:json()
      local again = read(json)
      assert.equal(json, again:json())
      local before, after = asker(p:with { newest = false }), asker(again:with { newest = false })
      for name in pairs(seccomp.syscalls()) do
        for _, v in ipairs { 0, 1, 40, 0x5412, 0x5413, 0x541c, 0x10000000, "0xffffffffffffffff", "0x100005412" } do
          assert.equal(before(name, v, v, v), after(name, v, v, v), name)
        end
      end
      assert.equal(json, read(again:oci()):json())
    end
  end)

  it("of engines are resolved as those do, for this machine, this kernel and these capabilities", function()
    local profile = [[{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
      "archMap": [ { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] },
        { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": [] } ],
      "syscalls": [
        { "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {} },
        { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
        { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
        { "names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["amd64", "arm64"] } },
        { "names": ["close"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390x"] } },
        { "names": ["dup"], "action": "SCMP_ACT_ALLOW", "excludes": { "arches": ["amd64", "arm64"] } },
        { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
        { "names": ["getpid"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "99.0" } },
        { "name": "getuid", "action": "SCMP_ACT_ALLOW" } ] }]]
    local q = asker(assert(policy.from_engine(profile)))
    assert.same({ "allow", "errno 1", "allow", "errno 38", "errno 38", "allow", "errno 38", "allow" },
      { q("read"), q("mount"), q("write"), q("close"), q("dup"), q("ptrace"), q("getpid"), q("getuid") })
    q = asker(assert(policy.from_engine(profile, { capabilities = { "sys_admin" } })))
    assert.same({ "allow", "allow" }, { q("read"), q("mount") })
    if seccomp.architecture() == "x86_64" then
      assert.same({ "x86_64", "x86" }, policy.from_engine(profile).architectures)
    end
    assert.equal("profile.syscalls[3]", policy.from_engine(profile, { label = "profile" }):decide("mount").at)
    for text, message in pairs { ['{ "archMap": 5 }'] = "seccomp.archMap: a list expected", ["{"] = "no JSON",
      ['{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [ { "includes": { "cap": [] } } ] }'] = "includes: unknown key 'cap'",
      ['{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [ { "includes": { "minKernel": "x" } } ] }'] = "a kernel's version" } do
      local p, why = policy.from_engine(text)
      assert.is_nil(p)
      assert.truthy(why:find(message, 1, true), why)
    end
    assert.error_matches(function() local _ = policy.from_engine("{}", { capabilities = { "chwon" } }) end, "unknown capability 'chwon'")
  end)

  it("of engines that are on this machine can be read", function()
    local text = t.read_file("/usr/share/containers/seccomp.json")
    if not text then return pending("no profile of an engine's here") end
    local q = asker(assert(policy.from_engine(text)))
    assert.equal("allow", q("read"))
    assert.matches("^errno", q("init_module"))
    assert.equal("allow", asker(assert(policy.from_engine(text, { capabilities = "all" })))("init_module"))
  end)

  it("have no order, and so no words for all policies", function()
    local p = policy.new { { "read", args = { { 0, "<", 9 } } } }:answer("log", { "read", args = { { 0, "<", 5 } } })
    local q = asker(p)
    assert.same({ "log", "allow", "errno 1" }, { q("read", 4), q("read", 5), q("read", 9) })
    local t_, message, errno = p:oci()
    assert.is_nil(t_)
    assert.matches("^seccomp: read: argument 0: '0 < 0x9' and '0 >= 0x5' can't be one comparison", message)
    assert.equal(22, errno)
    assert.is_nil((p:json()))
  end)

  it("write 64-bit values exactly", function()
    local json = policy.new { { "write", args = { { 2, "==", "18446744073709551615" }, { 0, "==",
      9007199254740992 } } } }:json()
    assert.matches('"value": 18446744073709551615', json)
    assert.matches('"value": 9007199254740992', json)
  end)

  for what, case in pairs {
    ["no JSON"] = { "{", "no JSON" },
    ["no object"] = { "5", "an object expected, got number" },
    ["no default action"] = { {}, "seccomp.defaultAction: a word expected" },
    ["an unknown action"] = { { defaultAction = "SCMP_ACT_ALOW" }, "did you mean 'SCMP_ACT_ALLOW'" },
    ["too large an errno"] = { { defaultAction = "SCMP_ACT_ERRNO", defaultErrnoRet = 5000 }, "to 4094" },
    ["an unknown flag"] = { { defaultAction = "SCMP_ACT_ALLOW", flags = { "SECCOMP_FILTER_FLAG_LOGS" } },
      "seccomp.flags: unknown word" },
    ["an unknown architecture"] = { { defaultAction = "SCMP_ACT_ALLOW", architectures = { "SCMP_ARCH_PDP11" } },
      "knows no 'pdp11'" },
    ["an architecture of no known form"] = { { defaultAction = "SCMP_ACT_ALLOW", architectures = { "x86" } },
      "unknown word 'x86'" },
    ["a rule without names"] = { { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { action = "SCMP_ACT_ERRNO" } } },
      "names no system call" },
    ["a name that is a number"] = { { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { 5 },
      action = "SCMP_ACT_ERRNO" } } },
      "name of a system call expected" },
    ["an unknown operator"] = { { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "read" },
      action = "SCMP_ACT_ERRNO",
      args = { { index = 0, op = "SCMP_CMP_EG", value = 1 } } } } },
        "args%[1%].op: unknown word 'SCMP_CMP_EG' %(did you mean" },
    ["an index out of range"] = { { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "read" },
      action = "SCMP_ACT_ERRNO",
      args = { { index = 6, op = "SCMP_CMP_EQ", value = 1 } } } } }, "index is 0 to 5" },
    ["a missing value"] = { { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "read" },
      action = "SCMP_ACT_ERRNO",
      args = { { index = 0, op = "SCMP_CMP_EQ" } } } } }, "a value is a whole number" },
    ["an engine's profile"] = { { defaultAction = "SCMP_ACT_ERRNO", syscalls = { { names = { "mount" },
      action = "SCMP_ACT_ALLOW",
      includes = { caps = { "CAP_SYS_ADMIN" } } } } }, "'includes' belongs to an engine's profile" },
  } do
    it("answer nil for " .. what, function()
      local p, message, errno = policy.from_oci(case[1])
      assert.is_nil(p)
      assert.matches(case[2], message)
      assert.equal(22, errno)
    end)
  end
end)

describe("random rules", function()
  it("make programs that answer as the rules say, or an error", function()
    local seed = tonumber(os.getenv("CAISSON_SEED")) or os.time()
    math.randomseed(seed)
    local names = { "read", "write", "close", "socket", "ioctl", "getpid", "mount", "openat2" }
    local ops = { "==", "!=", "<", "<=", ">", ">=", "masked" }
    local function value()
      local k = math.random(6)
      if k == 1 then return 0 elseif k == 2 then return math.random(0, 8) end
      if k == 3 then return ("0x%x%08x"):format(math.random(0, 3), math.random(0, 8)) end
      if k == 4 then return "0xffffffffffffffff" elseif k == 5 then return "0xffffffff" end
      return ("0x%x"):format(2 ^ math.random(0, 31))
    end
    local u64 = require "caisson.u64"
    local function holds(c, v)
      local a, b = u64.parse(c[3]), u64.parse(v)
      if c[2] == "==" then return u64.eq(a, b) elseif c[2] == "!=" then return not u64.eq(a, b)
      elseif c[2] == "<" then return u64.lt(b, a) elseif c[2] == "<=" then return not u64.lt(a, b)
      elseif c[2] == ">" then return u64.lt(a, b) elseif c[2] == ">=" then return not u64.lt(b, a) end
      return u64.eq(u64.band(a, b), u64.parse(c[4]))
    end
    local function condition()
      local list, at = {}, math.random(0, 2)
      for _ = 1, math.random(0, 2) do
        local op, a, b = ops[math.random(#ops)], value(), nil
        if op == "masked" then b = u64.text(u64.band(u64.parse(a), u64.parse(value()))) end
        list[#list + 1] = { at, op, a, b }
        at = at + 1
      end
      return list
    end
    for round = 1, tonumber(os.getenv("CAISSON_ROUNDS")) or 60 do
      local where = ("seed %d, round %d"):format(seed, round)
      -- a policy as a list of operations, and the same list as a predicate
      local history = {}
      local p = policy.new { default = "errno" }
      for _ = 1, math.random(1, 5) do
        local op = ({ "+", "+", "-", "*" })[math.random(4)]
        local rule = { names[math.random(#names)], args = condition() }
        if op == "*" then -- all other calls may stay
          local set = { rule }
          for _, name in ipairs(names) do if name ~= rule[1] then set[#set + 1] = name end end
          p = p * set
        else
          p = op == "+" and p + { rule } or p - { rule }
        end
        history[#history + 1] = { op = op, rule = rule }
      end
      local program, message = p:program { cache = false }
      -- the kernel's own limit on a program's length
      if not program then assert.truthy(message:find("more than 4095 instructions", 1, true), where .. ": " .. message) end
      local code = program and bpf.decode(program)
      local portable = code and round % 4 == 0 and p:oci()
      local again = portable and bpf.decode(assert(assert(policy.from_oci(portable)):program { cache = false }))
      if code then
        for _, name in ipairs(names) do
          for _ = 1, 6 do
            local args = { value(), value(), value(), value() }
            local allowed = false
            for _, h in ipairs(history) do
              local match = h.rule[1] == name
              for _, c in ipairs(h.rule.args) do match = match and holds(c, args[c[1] + 1]) end
              if h.op == "*" then allowed = allowed and (match or h.rule[1] ~= name)
              elseif match then allowed = h.op == "+" end
            end
            local data = { nr = seccomp.number(name), arch = native, args = args }
            local got = bpf.run(code, data)
            -- the OCI's newest is the highest that a rule names
            if again then
              local other = bpf.run(again, data)
              assert(got == other or other == "errno", where)
              assert((got == "allow") == (other == "allow"), where)
            end
            if (got == "allow") ~= allowed then
              error(("%s: %s(%s): %s; %s"):format(where, name, table.concat(args, ","), got, p:json()))
            end
          end
        end
      end
    end
  end)

  it("of any shape raise or answer, and never crash", function()
    local seed = tonumber(os.getenv("CAISSON_SEED")) or os.time()
    math.randomseed(seed)
    local pool = { "read", "allow", "errno", "@mount", "==", "masked", "0x1", "", "\0", 0, 1, -1, 0.5, 2 ^ 53, 1 / 0,
      0 / 0,
      true, false, "18446744073709551616", ("x"):rep(300), function() end }
    local keys = { "default", "rules", "architectures", "action", "args", "newest", "names", "value",
      "bad_architecture",
      "skip_unknown", "defaultAction", "syscalls", "op", "index" }
    local function random(depth)
      if depth == 0 or math.random(4) == 1 then return pool[math.random(#pool)] end
      local v = {}
      for _ = 1, math.random(0, 4) do
        local k = math.random(3) == 1 and keys[math.random(#keys)] or #v + 1
        v[k] = random(depth - 1)
      end
      return v
    end
    local good = { default = "allow", rules = { { "read", action = "errno", args = { { 0, "==", 1 } } } } }
    -- a well-formed table with one random thing in a random place
    local function spoil(v)
      if type(v) ~= "table" or math.random(4) == 1 then return random(2) end
      local list, out = {}, {}
      for k, x in pairs(v) do
        list[#list + 1] = k
        out[k] = x
      end
      table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
      local k = list[math.random(#list)]
      if k ~= nil then out[k] = spoil(v[k]) end
      return out
    end
    for _ = 1, 400 do
      pcall(seccomp.compile, spoil(good))
      pcall(policy.new, random(3))
      pcall(function() return policy.default() - random(3) end)
      local ok, result, message = pcall(policy.from_oci, random(4))
      assert(ok, result)
      assert(result or type(message) == "string")
    end
  end)
end)
