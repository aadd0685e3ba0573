local t = require "support"
local bpf = require "caisson.policy.bpf"
local policy = require "caisson.policy"

local core, seccomp = t.core, t.core.seccomp
local nnp = t.step("no_new_privs", {})
local x86_64 = seccomp.architecture() == "x86_64"

-- A seccomp step from a policy or a program, built anew.
local function filter(p, extra)
  local s = assert(policy.step(p, { cache = false }))
  for k, v in pairs(extra or {}) do s.options[k] = v end
  return s
end

-- A program whose only rule is this one; all else is allowed.
local function only(name, action, ...)
  return (assert(seccomp.compile { default = "allow", rules = { { name, action = action, args = { ... } } } }))
end

-- Run a Perl script, whose syscall() makes any call with any argument. nr: numbers of calls by name.
local function perl(steps, script, opts)
  opts = opts or {}
  local nr = {}
  for name, number in pairs(seccomp.syscalls()) do nr[#nr + 1] = ("%s=>%d"):format(name, number) end
  opts.argv = { "/usr/bin/perl", "-e", ("use strict; $| = 1; my %%nr = (%s);\n%s"):format(table.concat(nr, ","),
    script) }
  return t.run(steps, opts)
end

-- Steps that leave a process without any right to load a filter.
local function unprivileged()
  if not t.is_root then return {} end
  return { t.step("capabilities", { permitted = {}, effective = {} }) }
end

describe("seccomp", function()
  it("loads the default policy as the last thing before exec", function()
    local r = assert(t.run({ nnp, filter(policy.default()) },
      { script = "grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status" }))
    assert.matches("NoNewPrivs:%s+1", r.output)
    assert.matches("Seccomp:%s+2", r.output)
    assert.matches("Seccomp_filters:%s+1", r.output)
    assert.equal(0, r.code)
  end)

  it("denies what a policy takes away and allows the rest", function()
    local r = assert(t.run({ nnp, filter(policy.default()) }, { script = "umask 022; umask" }))
    assert.equal("0022\n", r.output)
    r = assert(t.run({ nnp, filter(policy.default() - { "umask" }) }, { script = "umask 022; umask" }))
    assert.not_matches("0022", r.output)
  end)

  it("works in a container of a user namespace", function()
    if not t.needs("userns") then return end
    local clone = t.step("clone", { "user", "uts" })
    local id = core.identity()
    local map = t.step("idmap", { uid = { { 0, id.euid, 1 } }, gid = { { 0, id.egid, 1 } }, setgroups = "deny" })
    local r = assert(t.run({ clone, map, nnp, filter(policy.default()) },
      { script = "hostname box; echo $?; grep Seccomp: /proc/self/status" }))
    assert.matches("\n1\n", r.output) -- the UTS namespace would have let it
    assert.matches("Seccomp:%s+2", r.output)
    r = assert(t.run({ clone, map, nnp,
      filter(policy.default { capabilities = { "sys_admin" } }) }, { script = "hostname box && hostname" }))
    assert.equal("box\n", r.output)
  end)

  it("needs no more of the filter than execve", function()
    local r = assert(t.run { nnp, filter(policy.new { "execve", default = "kill_process" }) })
    assert.equal(31, r.signal) -- the program's own first call
    assert.is_true(policy.denied(r.status))
    assert.is_false(policy.denied(assert(t.run({}, { script = "kill -TERM $$" })).status))
  end)

  it("reports an execve that the filter denies; one that it kills is the program's end", function()
    local _, message, errno, failure = t.run { nnp, filter(only("execve", "errno")) }
    assert.matches("exec.*/bin/sh: Operation not permitted", message)
    assert.equal(1, errno)
    assert.equal("exec", failure.step)
    assert.equal(31, assert(t.run { nnp, filter(only("execve", "kill_process")) }).signal)
  end)
end)

describe("seccomp actions", function()
  if not t.needs("perl") then return end

  local function try(action, script)
    return assert(perl({ nnp, filter(only("getppid", action)) }, script or
      'print "before\n"; my $r = syscall($nr{getppid}); print $r < 0 ? "errno " . ($! + 0) : "value", "\n";'))
  end

  it("allow and log let the call happen", function()
    assert.equal("before\nvalue\n", try("allow").output)
    assert.equal("before\nvalue\n", try("log").output)
  end)

  it("errno fails the call with its number", function()
    assert.equal("before\nerrno 1\n", try("errno").output)
    assert.equal("before\nerrno 38\n", try({ "errno", "ENOSYS" }).output)
    assert.equal("before\nerrno 4094\n", try({ "errno", 4094 }).output)
  end)

  it("kill_process and kill_thread end it with SIGSYS", function()
    for _, action in ipairs { "kill_process", "kill_thread" } do
      local r = try(action)
      assert.equal("before\n", r.output)
      assert.equal(31, r.signal)
    end
  end)

  it("kill_thread ends one thread, kill_process all", function()
    if not t.needs("perl_threads") then return end
    local script = [[
      use threads; my $t = threads->create(sub { syscall($nr{getppid}); print "survived\n" });
      select undef, undef, undef, 0.3; print "main goes on\n"; syscall($nr{exit_group}, 0); ]]
    local r = try("kill_thread", script)
    assert.equal("main goes on\n", r.output)
    assert.equal(0, r.code)
    r = try("kill_process", script)
    assert.equal("", r.output)
    assert.equal(31, r.signal)
  end)

  it("trap sends SIGSYS, which can be caught", function()
    assert.equal("caught SYS\ngoes on\n", try("trap",
      '$SIG{SYS} = sub { print "caught $_[0]\n" }; syscall($nr{getppid}); print "goes on\n";').output)
    assert.equal(31, try("trap").signal)
  end)

  it("trace asks the tracer, with its number, and is ENOSYS without one", function()
    if not x86_64 then return end
    assert.equal("before\nerrno 38\n", try({ "trace", 77 }).output)
    local script = [[
      my $pid = fork;
      if (!$pid) { syscall($nr{ptrace}, 0, 0, 0, 0) == 0 or die "traceme: $!"; kill STOP => $$;
                   syscall($nr{getppid}); print "child: $!\n"; syscall($nr{exit_group}, 0); }
      waitpid $pid, 0;
      syscall($nr{ptrace}, 0x4200, $pid, 0, 0x80) == 0 or die "setoptions: $!";
      syscall($nr{ptrace}, 7, $pid, 0, 0);
      waitpid $pid, 0;
      printf "event %d", ($? >> 16) || ($? >> 8);
      my $message = "\0" x 8; syscall($nr{ptrace}, 0x4201, $pid, 0, $message) == 0 or die "message: $!";
      print " number ", unpack("Q", $message), "\n";
      syscall($nr{ptrace}, 7, $pid, 0, 0); waitpid $pid, 0; ]]
    assert.matches("number 77\n", try({ "trace", 77 }, script).output)
  end)

  it("notify hands the call to who has the listener", function()
    if not x86_64 then return end
    local program = only("mkdir", "notify")
    -- not last before exec here, so that the listener can become descriptor 3 of the program itself
    local r = assert(perl({ nnp, t.step("seccomp", { program = program, listener = "l" }),
      t.step("umask", { mode = "0022" }) }, [[
      open my $l, "+<&=", 3 or die "listener: $!";
      my $path = "/nonexistent/x";
      my $pid = fork;
      if (!$pid) { my $r = syscall($nr{mkdir}, $path, 0x123); print "answer $r errno ", $! + 0, "\n"; exit 0 }
      my $n = "\0" x 80;
      ioctl($l, 0xc0502100, $n) or die "receive: $!";
      my ($id, $from, $flags, $call, $arch, $ip, @args) = unpack "QLLlLQQ6", $n;
      print $from == $pid ? "right" : "wrong", " process, call $call mode $args[1]\n";
      my $answer = pack "QqlL", $id, 0, -99, 0;
      ioctl($l, 0xc0182101, $answer) or die "send: $!";
      waitpid $pid, 0; ]], { files = { "stdin", "stdout", "stdout", "l" } }))
    assert.equal(("right process, call %d mode 291\nanswer -1 errno 99\n"):format(seccomp.number("mkdir")), r.output)
  end)

  it("notify without a listener fails the call with ENOSYS", function()
    local r = try("notify")
    assert.equal("before\nerrno 38\n", r.output)
  end)

  it("log is told to audit, and errno with flag log", function()
    if not t.needs("audit") then return end
    -- the program listens while it makes the call
    local script = [[
      socket(my $s, 16, 3, 9) or die; bind($s, pack("SSLL", 16, 0, 0, 1)) or die;
      syscall($nr{umask}, 18);
      my $until = time + 1; my $set = ""; vec($set, fileno $s, 1) = 1;
      while (time <= $until && select(my $ready = $set, undef, undef, 0.3)) {
        recv $s, my $m, 8192, 0;
        if ($m =~ / pid=$$ .* syscall=$nr{umask} /) { print "logged"; last }
      } ]]
    local function output(action, flags)
      return assert(perl({ nnp, filter(only("umask", action), { flags = flags }) }, script)).output
    end
    assert.equal("logged", output("log"))
    assert.equal("", output("errno"))
    assert.equal("logged", output("errno", { "log" }))
  end)
end)

describe("seccomp arguments", function()
  if not t.needs("perl") then return end

  it("are 64 bits wide in the kernel, and the interpreter of these specs agrees with it", function()
    local values = { "0x0", "0x5", "0x6", "0xffffffff", "0x100000000", "0x100000004", "0x100000005", "0x100000006",
      "0x200000005", "0x8000000000000000", "0xffffffff00000005", "0xffffffffffffffff" }
    local rules = { { "==", "0x100000005" }, { "!=", "0x100000005" }, { "<", "0x100000005" }, { "<=", "0x100000005" },
      { ">", "0x100000005" }, { ">=", "0x100000005" }, { "masked", "0xffffffff", "0x5" },
      { "masked", "0xffffffff00000000", "0x100000000" } }
    -- one call that ignores its arguments for each rule: the rule's verdict is its errno
    local calls = { "getuid", "geteuid", "getgid", "getegid", "getpid", "getppid", "gettid", "getpgrp" }
    local list = {}
    for i, c in ipairs(rules) do
      list[i] = { calls[i], action = { "errno", 100 + i }, args = { { i % 6, c[1], c[2], c[3] } } }
    end
    local program = assert(seccomp.compile { default = "allow", rules = list })
    local code, expected = bpf.decode(program), {}
    local script = { "my $r;" }
    for i in ipairs(rules) do
      for _, v in ipairs(values) do
        local args = { 0, 0, 0, 0, 0, 0 }
        args[i % 6 + 1] = v
        local action, errno = bpf.run(code, { nr = seccomp.number(calls[i]), arch = bpf.arch[seccomp.architecture()],
          args = args })
        expected[#expected + 1] = action == "errno" and errno or 0
        script[#script + 1] = ("$r = syscall($nr{%s}, %s); print $r == -1 ? $! + 0 : 0, qq(\\n);"):format(calls[i],
          table.concat(args, ", "))
      end
    end
    local r = assert(perl({ nnp, filter(program) }, "no warnings; " .. table.concat(script, "\n")))
    assert.equal(table.concat(expected, "\n") .. "\n", r.output)
    assert.matches("10[1-8]\n", r.output)
  end)

  it("can't slip TIOCSTI past the default policy with an upper bit (CVE-2019-7303)", function()
    local script = [[ no warnings;
      for my $request (0x5412, 0x100005412, 0xffffffff00005412, 0x541c, 0x10000541c, 0x5401) {
      my $byte = "x"; my $r = syscall($nr{ioctl}, 0, $request, $byte); print $! + 0, " "; } ]]
    assert.equal("1 1 1 1 1 25 ", assert(perl({ nnp, filter(policy.default()) }, script)).output)
    local free = assert(perl({ nnp }, script)).output
    assert.equal("25 25 25 25 25 25 ", free) -- /dev/null is no terminal
  end)

  it("of clone, socket and personality are watched by the default policy", function()
    if not x86_64 then return end
    local script = [[ no warnings;
      sub try { my ($call, @a) = @_; my $r = syscall($call, @a); print $r < 0 ? $! + 0 : "ok", " "; return $r }
      try($nr{clone}, 0x10000000 | 17, 0, 0, 0, 0); try($nr{clone3}, 0, 0); try($nr{unshare}, 0x10000000);
      for my $family (1, 40, 0x100000028, 38) { try($nr{socket}, $family, 1, 0) }
      try($nr{personality}, 0xffffffff); try($nr{personality}, 0x40000); try($nr{personality}, 8);
      my $pid = fork; exit 0 if !$pid; waitpid $pid, 0; print $?; ]]
    local r = assert(perl({ nnp, filter(policy.default()) }, script))
    assert.equal("1 38 1 ok 1 1 1 ok 1 ok 0", r.output)
  end)
end)

describe("calls newer than the policy", function()
  if not t.needs("perl") then return end

  it("answer ENOSYS, also where the default kills", function()
    local script = [[ for my $call (440, $nr{openat2}, $nr{faccessat2}, 5000) {
      my $r = syscall($call, -1, 0, 0, 0); print $! + 0, " "; } ]]
    -- as a policy written in the days of Linux 5.5: openat2 and all after it are unknown to it
    local old = assert(seccomp.compile { default = { "errno", 99 }, newest = "pidfd_open", rules = {
      { "clone3", action = "errno" } } })
    local data = { nr = seccomp.number("openat2"), arch = bpf.arch[seccomp.architecture()] }
    assert.same({ "errno", 38 }, { bpf.run(old, data) })
    local p = policy.new { default = "allow", newest = "pidfd_open" }
    assert.equal("38 38 38 38 ", assert(perl({ nnp, filter(p) }, script)).output)
    p = policy.new { default = "allow", newest = false }
    assert.not_matches("^38 38", assert(perl({ nnp, filter(p) }, script)).output)
    p = policy.default():with { default = "kill_process" }
    assert.equal("38", assert(perl({ nnp, filter(p) }, "syscall(5000); print $! + 0")).output)
    assert.equal(31, assert(perl({ nnp, filter(p) }, "syscall($nr{reboot}); print $! + 0")).signal)
  end)
end)

describe("seccomp flags", function()
  it("tsync reaches threads that are there already", function()
    if not t.needs("luajit") then return end
    local script = ([[
      package.cpath = %q
      local core, ffi = require "caisson.core", require "ffi"
      ffi.cdef "int pthread_create(unsigned long *, void *, void *(*)(void *), void *); int pause(void);"
      local id = ffi.new "unsigned long[1]"
      assert(ffi.C.pthread_create(id, nil, ffi.cast("void *(*)(void *)", ffi.C.pause), nil) == 0)
      assert(core.no_new_privs {})
      assert(core.seccomp { program = core.seccomp.compile { default = "allow",
        rules = { { "umask", action = "errno" } } }, flags = arg[1] and { arg[1] } or nil })
      for task in io.popen("cat /proc/" .. core.identity().pid .. "/task/*/status"):lines() do
        io.write(task:match("^Seccomp:%%s+(%%d)") or "")
      end
      io.stdout:flush()
      os.exit(0, false) ]]):format(package.cpath)
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(script)
    f:close()
    local one = t.sh(t.lua .. " " .. name .. " 2>&1")
    local all = t.sh(t.lua .. " " .. name .. " tsync 2>&1")
    os.remove(name)
    assert.equal("20", one)
    assert.equal("22", all)
  end)

  it("are taken where the kernel knows them", function()
    for _, flag in ipairs(seccomp.features().flags) do
      local options = { flags = { flag } }
      if flag == "wait_killable_recv" or flag == "new_listener" then options.listener = "l" end
      assert(t.run { nnp, filter(only("umask", "errno"), options) }, flag)
    end
    assert(t.run { nnp, filter(only("umask", "errno"), { flags = { "tsync" }, listener = "l" }) })
  end)

  it("are an error where it does not, naming the one", function()
    -- an older kernel, played by a filter that refuses the flag
    local old = assert(seccomp.compile { default = "allow", rules = {
      { "seccomp", action = { "errno", "EINVAL" }, args = { { 1, "masked", 4, 4 } } } } })
    local _, message, errno = t.run { nnp, filter(old),
      filter(only("umask", "errno"), { flags = { "log", "spec_allow" } }) }
    assert.matches("seccomp%[2%] %d+ bytes log,spec_allow: this kernel does not know flag spec_allow: Invalid argument",
      message)
    assert.equal(22, errno)
  end)

  it("that make no sense are errors", function()
    local _, message = t.run { nnp, filter(only("umask", "errno"), { flags = { "wait_killable_recv" } }) }
    assert.matches("flag wait_killable_recv needs a listener", message)
    _, message = t.run { nnp, filter(only("umask", "errno"), { flags = { "new_listener" } }) }
    assert.matches("flag new_listener needs the name of a slot", message)
    assert.error_matches(function() core.plan { filter(only("umask", "errno"), { flags = { "tsnyc" } }) } end,
      "unknown word 'tsnyc' %(did you mean 'tsync'%?%)")
  end)
end)

describe("several filters", function()
  it("all count, and the strictest answer wins", function()
    local r = assert(t.run({ nnp, filter(only("umask", { "errno", 5 })), filter(only("umask", "allow")),
      filter(only("getcwd", "errno")) }, { script = "grep Seccomp_filters /proc/self/status; umask" }))
    assert.matches("Seccomp_filters:%s+3", r.output)
    assert.not_matches("\n%d%d%d%d\n", r.output)
    if not t.needs("perl") then return end
    local script = [[ my $r = syscall($nr{umask}, 0); print $r < 0 ? $! + 0 : "ok", " ";
      $r = syscall($nr{getppid}); print $! + 0 ]]
    r = assert(perl({ nnp, filter(only("umask", { "errno", 5 })), filter(only("getppid", { "errno", 6 })) }, script))
    assert.equal("5 6", r.output)
    r = assert(perl({ nnp, filter(only("umask", "kill_process")), filter(only("umask", "errno")) }, script))
    assert.equal(31, r.signal)
  end)

  it("fail where an earlier one denies loading the next", function()
    local _, message, errno, failure = t.run { nnp, filter(only("seccomp", { "errno", 99 })),
      filter(only("umask", "errno")) }
    assert.matches("step 3, seccomp%[2%]", message)
    assert.equal(99, errno)
    assert.equal(2, failure.index)
  end)

  it("can have one listener between them", function()
    local p = only("umask", "notify")
    local _, message, errno = t.run { nnp, filter(p, { listener = "a" }), filter(p, { listener = "b" }) }
    assert.matches("a filter with a listener is there already: Device or resource busy", message)
    assert.equal(16, errno)
  end)
end)

describe("the right to load a filter", function()
  it("is no_new_privs", function()
    local steps = unprivileged()
    steps[#steps + 1] = filter(policy.default())
    local ok, message, errno, failure = t.run(steps)
    assert.is_nil(ok)
    assert.matches("seccomp.*neither no_new_privs nor CAP_SYS_ADMIN: Permission denied %(EACCES%)", message)
    assert.equal(13, errno)
    assert.equal("seccomp", failure.step)
    table.insert(steps, 1, nnp)
    assert(t.run(steps))
  end)

  it("or CAP_SYS_ADMIN, early, before capabilities are dropped", function()
    if not t.is_root and not t.needs("userns") then return end
    local steps = { t.step("clone", t.is_root and { "uts" } or { "user", "uts" }), filter(policy.default()),
      t.step("capabilities", { bounding = {}, permitted = {}, effective = {} }) }
    local r = assert(t.run(steps,
      { script = "grep -E '^(NoNewPrivs|Seccomp|CapEff)' /proc/self/status; hostname x || echo no" }))
    assert.matches("NoNewPrivs:%s+0", r.output)
    assert.matches("Seccomp:%s+2", r.output)
    assert.matches("CapEff:%s+0000000000000000", r.output)
    assert.matches("no\n", r.output)
    steps[2], steps[3] = steps[3], steps[2]
    local _, _, errno = t.run(steps)
    assert.equal(13, errno)
  end)

  it("decides where a recipe's filter stands", function()
    local caisson = require "caisson"
    local function order(nnp_option, capabilities)
      local recipe = caisson.recipe { namespaces = { uts = true, user = not t.is_root or nil }, args = { "/bin/true" },
        no_new_privs = nnp_option, capabilities = capabilities, seccomp = policy.default(), user = 0,
        landlock = { read = { "/" }, execute = { "/" } } }
      local at, last = {}, {}
      for i, s in ipairs(recipe:build().plan.steps) do
        at[s.step] = at[s.step] or i
        last[s.step] = i
      end
      return at, last
    end
    local late = order(nil, {})
    assert.is_true(late.no_new_privs < late["landlock.restrict"] and late["landlock.restrict"] < late.seccomp)
    assert.is_true(late.capabilities < late.seccomp)
    -- without no_new_privs it is CAP_SYS_ADMIN, which goes last where capabilities are said
    local at, last = order(false, {})
    assert.is_nil(at.no_new_privs)
    assert.is_true(at.uid < at["landlock.restrict"] and at["landlock.restrict"] < at.seccomp)
    assert.same({ at.seccomp + 1, at.seccomp + 2 }, { last.capabilities, at.exec })
    local early = order(false)
    assert.is_true(early["landlock.restrict"] < early.seccomp and early.seccomp < early.uid)
  end)

  it("lets a recipe's filter know nothing of how its program is made, with no_new_privs or without", function()
    local caisson = require "caisson"
    local calls = { "openat2", "chdir", "fchdir", "getcwd", "dup3", "fcntl", "close_range", "prctl", "setresuid", "setresgid",
      "setgroups", "rt_sigaction", "rt_sigprocmask", "statx", "faccessat", "getpid", "getppid", "recvfrom", "sendto" }
    for _, nnp_option in ipairs { true, false } do
      local r = assert(caisson.run(caisson.recipe { namespaces = { uts = true, user = not t.is_root or nil },
        args = { "/bin/cat", "/proc/self/status" }, cwd = "/tmp",
        no_new_privs = nnp_option, capabilities = { "kill" }, user = core.identity().euid, stdin = "null", stdout = "capture",
        seccomp = policy.default() - calls }))
      assert.same({ "exited", 0 }, { r.status, r.code })
      local set = t.is_root and "%s+0000000000000020\n" or "%s+0000000000000000\n" -- exec takes them from who is no root
      for _, expected in ipairs { "CapPrm:" .. set, "CapEff:" .. set, "Seccomp:%s+2\n",
        "NoNewPrivs:%s+" .. (nnp_option and 1 or 0) .. "\n" } do
        assert.matches(expected, r.stdout)
      end
    end
  end)
end)

describe("raw programs", function()
  -- struct sock_filter by hand: "return this"
  local function ret(value)
    return "\6\0\0\0" .. string.char(value % 256, math.floor(value / 256) % 256, math.floor(value / 65536) % 256,
      math.floor(value / 16777216))
  end

  it("are loaded as they are", function()
    assert.equal("ok\n", assert(t.run({ nnp, filter(ret(0x7fff0000)) }, { script = "echo ok" })).output)
    local _, _, errno = t.run { nnp, filter(ret(0x00050000 + 77)) }
    assert.equal(77, errno) -- of execve
  end)

  it("are what compile gives and others take", function()
    if not t.needs("bwrap") then return end
    local name = os.tmpname()
    local f = assert(io.open(name, "wb"))
    f:write((policy.default() - "umask"):program())
    f:close()
    local script = "grep Seccomp: /proc/self/status; umask"
    local output = t.sh(("bwrap --bind / / --seccomp 9 sh -c '%s' 9<%s 2>&1"):format(script, name))
    os.remove(name)
    assert.matches("Seccomp:%s+2", output)
    assert.not_matches("\n%d%d%d%d\n", output)
  end)

  it("that are none are refused", function()
    for what, program in pairs { ["1 to 4096 instructions of 8 bytes"] = "", ["1 to 4096 instructions"] = "1234567",
      ["1 to 4096"] = ret(0):rep(4097), ["this is no valid program"] = ("\255"):rep(8),
      ["this is no valid"] = "\0\0\0\0\0\0\0\0" } do
      local _, message, errno = t.run { nnp, t.step("seccomp", { program = program }) }
      assert.matches(what, message)
      assert.equal(22, errno)
    end
    assert(t.run { nnp, t.step("seccomp", { program = ret(0x7fff0000):rep(4096) }) })
  end)

  it("load into the calling process by a direct call", function()
    local r = t.sh(t.lua .. ([[ -e '
      package.cpath = %q
      local core = require "caisson.core"
      local function program(action)
        return core.seccomp.compile { default = "allow", rules = { { "umask", action = action } } }
      end
      print(core.seccomp { program = program "errno" } == nil)
      assert(core.no_new_privs {})
      print(core.seccomp { program = program "errno" })
      print(core.seccomp { program = program "notify", flags = "new_listener" })
      print(io.open("/proc/self/status"):read("*a"):match("Seccomp_filters:%%s+(%%d+)"))' 2>&1]]):format(package.cpath))
    assert.matches((t.is_root and "false" or "true") .. "\ntrue\nfd %d+\n" .. (t.is_root and 3 or 2) .. "\n", r)
  end)
end)
