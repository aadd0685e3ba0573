-- Calls answered by functions of the recipe: what the program sees of each answer, and that nobody is left without one.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local policy = require "caisson.policy"
local core = t.core

local function recipe(handlers, more)
  local r = { extends = "sandbox", stdin = "null", stdout = "capture", stderr = "stdout", seccomp_notify = handlers }
  for k, v in pairs(more or {}) do r[k] = v end
  return caisson.recipe(r)
end

local function perl(script) return { args = { "/usr/bin/perl", "-e", script } } end
local function shell(script) return { args = { "/bin/sh", "-c", script } } end

local function run(handlers, opts, more) return assert(caisson.run(recipe(handlers, more), opts)) end

describe("seccomp_notify", function()
  if not t.needs("userns", "perl") then return end
  local fds, children

  before_each(function()
    collectgarbage()
    fds, children = t.count_fds(), t.count_children()
  end)
  after_each(function()
    collectgarbage()
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
  end)

  describe("answers", function()
    it("with a value, an errno, or by letting the call be made", function()
      local seen = {}
      local r = run({
        mkdir = function(call)
          seen[#seen + 1] = call.name .. " " .. call:string(1) .. " " .. call:int(2)
          if call:string(1):find "fake" then return call:fake(0) end
          if call:string(1):find "deny" then return call:deny "EXDEV" end
          if call:string(1):find "go" then return call:continue() end
        end,
        getpriority = function(call) return call:fake(7) end,
      }, perl [[
        for (qw(fake deny go on)) { print mkdir("/tmp/$_", 0700) ? "made" : $! + 0, -d "/tmp/$_" ? " is there\n" : " is not\n" }
        print getpriority(0, 0), "\n"]])
      assert.same({ "mkdir /tmp/fake 448", "mkdir /tmp/deny 448", "mkdir /tmp/go 448", "mkdir /tmp/on 448" }, seen)
      assert.equal("made is not\n18 is not\nmade is there\nmade is there\n13\n", r.stdout) -- libc's: 20 less that
    end)

    it("with a descriptor, or with one beside the answer", function()
      local mine = core.memfd("words", "beside\n")
      local r = run({ openat = function(call)
        local path = call:paths()[1].path
        if path == "/tmp/token" then return call:inject(core.memfd("token", "secret\n"), { cloexec = true }) end
        if path == "/tmp/nine" then
          assert.equal(9, assert(call:add(mine, { number = 9 })))
          return call:deny "EBUSY"
        end
        if path == "/tmp/full" then return call:inject(mine:fileno(), { number = 1000000000 }) end
      end }, perl [[sub show { my $f; if (open($f, "<$_[0]")) { print <$f> } else { print $! + 0, "\n" } }
        show "/tmp/token"; show "/tmp/nine"; show "&=9"; show "/tmp/full"]])
      mine:close()
      assert.equal("secret\n16\nbeside\n9\n", r.stdout)
    end)

    it("by the end of all that runs there", function()
      local r = run({ mkdir = function(call) return call:kill("no folders", call:string(1)) end },
        shell "echo first; mkdir /tmp/x; echo second")
      assert.same({ "denied_syscall", "first\n", { call = "mkdir", why = "no folders", path = "/tmp/x" } },
        { r.status, r.stdout, r.denied })
    end)

    it("as a tracer's function does, which goes by sets of paths", function()
      local decide = caisson.trace.by_sets { readable = { "/usr/", "/lib/", "/lib64/", "/etc/", "/bin/", "/proc/" }, banned = { "/tmp/no" } }
      local r = run({ openat = decide }, shell ": > /tmp/other")
      assert.same({ "denied_syscall", "write", "/tmp/other" }, { r.status, r.denied.why, r.denied.path })
      r = run({ openat = decide }, shell "cat /tmp/no; cat /etc/hostname > /dev/null; echo $?")
      assert.matches("Permission denied\n", r.stdout, 1, true)
    end)
  end)

  describe("reads", function()
    it("what can be read, and says EFAULT to a pointer that can't", function()
      local seen = {}
      run({ mkdir = function(call)
        local text, _, errno = call:string(1)
        local bytes, _, number = call:bytes(1, 8)
        seen = { text, errno, bytes, number }
        return call:deny(errno)
      end }, perl "syscall(83, 8, 0)")
      assert.same({ [2] = core.errno.EFAULT, [4] = core.errno.EFAULT }, seen)
    end)

    it("addresses of sockets", function()
      local seen = {}
      local r = run({ connect = function(call)
        local a, _, errno = call:address(2)
        seen[#seen + 1] = a and table.concat({ a.family, a.address or a.path or "@" .. a.abstract, a.port }, " ") or errno
        return call:deny "ENETDOWN"
      end }, perl [[use Socket qw(:all); use Errno;
        socket(S, AF_INET, SOCK_STREAM, 0); connect(S, pack_sockaddr_in(80, inet_aton("10.1.2.3"))); print $! + 0, "\n";
        socket(S, AF_INET6, SOCK_STREAM, 0);
        connect(S, pack_sockaddr_in6(443, inet_pton(AF_INET6, $_))) for qw(::1 fe80::1:0:0:2 ::ffff:1.2.3.4 2001:db8:0:1:0:0:0:1 ::);
        socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($_)) for ("/run/x", "\0name");
        connect(S, "\2\0ab")]])
      assert.equal("100\n", r.stdout)
      assert.same({ "inet 10.1.2.3 80", "inet6 ::1 443", "inet6 fe80::1:0:0:2 443", "inet6 ::ffff:1.2.3.4 443",
        "inet6 2001:db8:0:1::1 443", "inet6 :: 443", "unix /run/x", "unix @name", core.errno.EINVAL },
        { seen[1], seen[2], seen[3], seen[4], seen[5], seen[6], seen[7], (seen[8]:gsub("%z.*", "")), seen[9] })
    end)

    it("nothing of who is gone, whose number may be another's", function()
      local before, after, waits
      local r = run({ mkdir = function(call)
        before = call:string(1)
        -- the host's time; the program's child is killed meanwhile
        for _ = 1, 180 do if call:waits() then core.poll({}, 0.05) end end
        after, waits = { call:string(1) }, call:waits()
        assert.is_nil(call:paths()[1].path)
      end }, shell "mkdir /tmp/x & sleep 0.1; kill -9 $!; wait $!; echo $?")
      assert.same({ "/tmp/x", false, core.errno.ESRCH }, { before, waits, after[3] })
      assert.is_nil(after[1])
      assert.matches("137\n$", r.stdout)
    end)

    it("nothing of who does not wait any more, though its memory is there", function()
      local before, after, path
      local r = run({ mkdir = function(call)
        before = call:string(1)
        for _ = 1, 180 do if call:waits() then core.poll({}, 0.05) end end
        after, path = { call:string(1) }, call:paths()[1]
      end, rmdir = function(call) return call:fake(0) end }, -- in which it stands then
        perl [[use Time::HiRes "ualarm"; $SIG{ALRM} = sub {}; ualarm 100000; mkdir "/tmp/x" or print $! + 0; rmdir "/tmp/x"]])
      assert.same({ "/tmp/x", core.errno.ESRCH, core.errno.ESRCH, "4" }, { before, after[3], path.errno, r.stdout })
      assert.is_nil(after[1])
    end)

    it("files of the container's, never outside of its root", function()
      local seen = {}
      run({ mkdir = function(call)
        local fd = call:open("/tmp/link")
        seen[1] = fd and fd:read()
        if fd then fd:close() end
        seen[2] = select(3, call:open("/tmp/fifo"))
        seen[3] = select(3, call:open("/tmp/out/" .. ("../"):rep(20) .. "no/such"))
        fd = assert(call:open("/tmp/made", { "write", "create", "exclusive" }, 384))
        fd:write "by the host"
        fd:close()
        return call:fake(0)
      end }, shell [[ln -s /tmp/file /tmp/link; echo text > /tmp/file; mkfifo /tmp/fifo; ln -s / /tmp/out; mkdir /tmp/x; cat /tmp/made]])
      assert.same({ "text\n", core.errno.EACCES, core.errno.ENOENT }, seen)
    end)
  end)

  describe("leaves nobody without an answer", function()
    it("when a function takes too long, in its own work or waiting", function()
      local r = run({ time_limit = 0.2,
        mkdir = function() while true do end end, -- luacheck: ignore
        rmdir = function(call) call:wait(nil, 60) end,
      }, perl [[mkdir "/tmp/x" or print $! + 0, "\n"; rmdir "/tmp/x" or print $! + 0, "\n"; print "on\n"]])
      assert.same({ "110\n110\non\n", 2 }, { r.stdout, r.notify_timeouts })
    end)

    it("when one raises: the call fails, and the error is the caller's", function()
      local out = os.tmpname()
      local ok, message = pcall(caisson.run, recipe({ mkdir = function() error "boom" end }, { stdout = { file = out } }),
        shell "mkdir /tmp/x; sleep 60")
      assert.is_false(ok)
      assert.matches("seccomp_notify.mkdir: [^\n]*boom", message)
      -- and one that returns what is no answer
      ok, message = pcall(caisson.run, recipe { mkdir = function() return "no" end }, shell "mkdir /tmp/x; sleep 60")
      assert.is_false(ok)
      assert.matches("seccomp_notify.mkdir: it returned a string", message, 1, true)
      os.remove(out)
    end)

    it("while the container is made: its own execve can be denied, and can fail to be decided", function()
      local r, _, errno, failure = caisson.run(recipe { execve = function(call) return call:deny "EXDEV" end }, shell "true")
      assert.same({ nil, core.errno.EXDEV, "exec" }, { r, errno, failure.step })
      local message
      r, message, errno, failure = caisson.run(recipe { execve = function() error "boom" end }, shell "true")
      assert.same({ nil, core.errno.EPERM, "exec" }, { r, errno, failure.step })
      assert.matches("seccomp_notify.execve: [^\n]*boom", message)
      r, message = caisson.run(recipe { execve = function(call) return call:kill "no programs" end }, shell "true")
      assert.is_nil(r)
      assert.matches("seccomp_notify.execve: no programs", message, 1, true)
      r = run({ execve = function(call) call:wait(nil, 0.05) end }, shell "echo ran")
      assert.equal("ran\n", r.stdout)
    end)

    it("when all of what sends is asked about, and everything is", function()
      local names = {}
      local function count(call) names[call.name] = (names[call.name] or 0) + 1 end
      local r = run({ sendmsg = count, write = count, close = count, recvfrom = count, exit_group = count, execve = count },
        shell "echo written")
      assert.equal("written\n", r.stdout)
      assert.same({ 1, 1, 1, true }, { names.write, names.execve, names.exit_group, names.close ~= nil })
      for _, nnp in ipairs { true, false } do
        names = {}
        r = run({ otherwise = count }, shell "echo written", { no_new_privs = nnp,
          seccomp = policy.new { default = "notify" } })
        assert.equal("written\n", r.stdout)
        assert.same({ true, 1, true }, { names.write > 0, names.execve, names.mmap ~= nil })
      end
    end)

    it("when its listener ends: with the program, or with the run", function()
      local running = assert(caisson.start(recipe { mkdir = function(call) return call:deny() end }, shell "mkdir /tmp/x; exec sleep 60"))
      running:close()
      assert.is_nil(core.access(("/proc/%d"):format(running:pid())))
    end)
  end)

  it("answers many at once, in any order, and serves others meanwhile", function()
    local order, asked = {}, 0
    local function slow(call)
      local n = tonumber(call:string(1):match "%d+")
      asked = asked + 1
      while asked < 10 do call:wait() end
      call:wait(nil, (11 - n) * 0.02)
      order[#order + 1] = n
      return call:fake(0)
    end
    local many = [[for $n (1..10) { if (!fork) { mkdir "/tmp/$n" or die; exit } } 1 while wait > 0; print "all\n"]]
    local loop, results = assert(caisson.loop()), {}
    loop:add(assert(caisson.start(recipe { mkdir = slow }, perl(many))), function(r) results.many = assert(r).stdout end)
    local held
    loop:add(assert(caisson.start(recipe { mkdir = function(call)
      held = true
      while not results.many do call:wait() end
      return call:fake(0)
    end }, shell "mkdir /tmp/x && echo held")), function(r) results.held = assert(r).stdout end)
    loop:run(30)
    loop:close()
    assert.same({ "all\n", "held\n", true, 10 }, { results.many, results.held, held, #order })
    assert.is_true(order[1] > order[10])
  end)

  it("waits for descriptors", function()
    local r, w = core.pipe()
    local seen
    local running = assert(caisson.start(recipe { mkdir = function(call)
      seen = { call:wait(r, 0.05) }
      w:write "x"
      seen[2] = call:wait(r, 60)
      return call:fake(0)
    end }, shell "mkdir /tmp/x"))
    assert.equal(0, running:wait().code)
    assert.same({ false, true }, seen)
    r:close()
    w:close()
  end)

  it("works in luv's loop", function()
    local ok, uv = pcall(require, "luv")
    if not ok then return pending("no luv") end
    local result
    require("caisson.luv").watch(assert(caisson.start(recipe { mkdir = function(call)
      call:wait(nil, 0.02)
      return call:deny "EXDEV"
    end }, shell "mkdir /tmp/x")), function(r) result = r end)
    uv.run()
    fds = t.count_fds() -- its loop's own
    assert.matches("cross-device link", result.stdout, 1, true)
  end)

  for _, more in ipairs { {}, { init = true }, { no_new_privs = false } } do
    it("keeps its listener out of the container" .. (more.init and ", below an init" or more.no_new_privs == false and
      ", without no_new_privs" or ""), function()
      local r = run({ mkdir = function(call) return call:fake(0) end },
        shell "mkdir /tmp/x; ls -l /proc/self/fd | grep -c seccomp; grep -H Seccomp: /proc/[0-9]*/status", more)
      assert.matches("^0\n", r.stdout)
      assert.matches("Seccomp:\t2", r.stdout)
    end)
  end

  it("is a joining process's too", function()
    for _, nnp in ipairs { true, false } do
      local running, target = j.container({}, false)
      local names = {}
      local r = assert(j.run(target, { args = { "/bin/sh", "-c", "mkdir /tmp/x && echo made; test -d /tmp/x || echo none" },
        no_new_privs = nnp, seccomp_notify = { mkdir = function(call) return call:fake(0) end, sendmsg = function() end,
          execve = function(call) names[#names + 1] = call:string(1) or "" end } }))
      assert.equal("made\nnone\n", r.stdout)
      -- of who makes the program, an ordinary user reads nothing
      assert.same({ names[1] == "" and "" or "/bin/sh", true }, { names[1], names[2]:find("mkdir") ~= nil })
      local _, message = j.run(target, { args = { "/bin/true" }, detach = true, seccomp_notify = { mkdir = print } })
      assert.matches("seccomp_notify: the functions end with this process", message, 1, true)
      running:close()
    end
  end)

  it("asks nobody about what a filter denies", function()
    local asked
    local r = run({ mkdir = function() asked = true end }, shell "mkdir /tmp/x",
      { seccomp = policy.new { default = "allow" }:answer("EXDEV", { "mkdir" }) })
    assert.is_nil(asked)
    assert.matches("cross-device link", r.stdout, 1, true)
    -- the same policy may ask, in some cases
    r = run({ mkdir = function(call) return call:deny "ENOTTY" end }, perl [[mkdir("/tmp/$_", $_) or print $! + 0, "\n" for (0, 1)]],
      { seccomp = policy.new { default = "allow" }:answer("notify", { { "mkdir", args = { { 1, "==", 1 } } } }) })
    assert.equal("25\n", r.stdout)
  end)

  it("has no real-time process wait for what can't run", function()
    if not t.is_root then return pending("who may be one?") end
    local more = { scheduler = { policy = "fifo", priority = 3 }, affinity = "0", user = { uid = 0, gid = 0 } }
    local handlers = { mkdir = function(call) return call:deny "EXDEV" end }
    local r, message, errno = caisson.run(recipe(handlers, more), shell "mkdir /tmp/x")
    assert.same({ nil, core.errno.EPERM }, { r, errno })
    assert.matches("courier[1] : it has to come before a SCHED_FIFO process", message, 1, true)
    more.capabilities = { "sys_nice" }
    assert.matches("cross.device link[^\n]*\n[^\n]*SCHED_FIFO\n[^\n]*: 3\n$", run(handlers, shell "mkdir /tmp/x; chrt -p $$", more).stdout)
  end)

  it("is found again by a saved plan, in its recipe; without, the plan is refused", function()
    local dir = t.sh("mktemp -d"):gsub("\n", "")
    local f = assert(io.open(dir .. "/r.lua", "w"))
    f:write [[return require("caisson").recipe { extends = "sandbox", stdout = "capture", stderr = "stdout", stdin = "null",
      seccomp_notify = { mkdir = function(call) return call:deny "EXDEV" end } }]]
    f:close()
    local built = assert(assert(caisson.load(dir .. "/r.lua")):build(shell "mkdir /tmp/x"))
    local text = built.plan:json()
    local r = caisson.run(assert(caisson.plan.from_json(text)), { stdout = "capture", stderr = "stdout", stdin = "null" })
    assert.matches("cross-device link", r and r.stdout or "", 1, true)
    os.execute("rm -r " .. dir)
    local ok, message = caisson.run(assert(caisson.plan.from_json(text)))
    assert.is_nil(ok)
    assert.matches("send: the functions of seccomp_notify", message, 1, true)
  end)

  it("wants functions, for calls that there are, and for all that is asked", function()
    local function why(handlers, more)
      local built, message = recipe(handlers, more):build { args = { "x" } }
      assert.is_nil(built)
      return message
    end
    local function fn() end
    assert.matches("seccomp_notify: no function for any call", why {}, 1, true)
    assert.matches("seccomp_notify: neither a system call nor an option 'opnat'", why { opnat = fn }, 1, true)
    assert.matches("seccomp_notify.openat: function expected, got string", why { openat = "no" }, 1, true)
    assert.matches("seccomp_notify.time_limit: seconds expected", why { openat = fn, time_limit = 0 }, 1, true)
    assert.matches("and seccomp_listener is given too", why({ openat = fn }, { seccomp_listener = { path = "/x" } }), 1, true)
    assert.matches("the policy asks about mkdir", why({ openat = fn }, { seccomp = policy.new { default = "allow" }:answer("notify",
      { "mkdir" }) }), 1, true)
    assert.matches("'otherwise' is missing", why({ openat = fn }, { seccomp = policy.new { default = "notify" } }), 1, true)
    local dir = t.sh("mktemp -d"):gsub("\n", "")
    local c, message = caisson.create(recipe { openat = fn }, { id = "notify", root = dir, args = { "/bin/true" } })
    assert.is_nil(c)
    assert.matches("they are for run and exec", message, 1, true)
    os.execute("rm -rf " .. dir)
    local pool, told = require("caisson.pool").new { recipe = recipe { openat = fn } }
    assert.is_nil(pool)
    assert.matches("nobody who answers", told, 1, true)
  end)
end)
