-- The tracer: what it sees, what it answers, and what is left of it.
local t = require "support"
local caisson = require "caisson"
local core = t.core

local dir, program

local function run(decide, args, opts)
  local def = { namespaces = t.is_root and {} or { user = true }, stdin = "null", stdout = "capture", stderr = "stdout",
    trace = { calls = { "@paths" }, decide = decide } }
  local o = { args = args }
  for k, v in pairs(opts or {}) do
    if k == "opts" then
      for name, value in pairs(v) do o[name] = value end
    else
      def[k] = v
    end
  end
  if opts and opts.calls then
    def.calls = nil
    def.trace.calls = opts.calls
  end
  return caisson.run(caisson.recipe(def), o)
end

local function tracee(...) return { program, ... } end

-- A decider for the file that the specs open; the rest is let be.
local function on(path, fn)
  return function(call)
    for _, p in ipairs(call:paths()) do
      if p.path == path then return fn(call, p) end
    end
  end
end

local function count(text, what)
  local n = 0
  for line in text:gmatch("[^\n]+") do if line == what then n = n + 1 end end
  return n
end

describe("A tracer", function()
  if not t.needs("userns", "cc") then return end

  setup(function()
    dir = t.sh("mktemp -d /tmp/caisson-trace.XXXXXX"):gsub("\n", "")
    program = dir .. "/tracee"
    local out = t.sh("cc -O1 -Wall -Wextra -o " .. program .. " spec/support/tracee.c -lpthread 2>&1; chmod 755 " .. dir)
    assert(out == "", out)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("lets calls be, and sees their arguments and paths", function()
    local r = assert(run(on("/etc/hostname", function(call, p)
      call:note(("%s %d %s %s %s"):format(call.name, call:int(1), call:string(2), p.access, tostring(call.pid == call.tid)))
    end), tracee "open"))
    assert.same({ "exited", 0, "main opened\n" }, { r.status, r.code, r.stdout })
    assert.same({ "openat -100 /etc/hostname read true" }, r.trace_notes)
    assert.is_nil(r.denied)
  end)

  it("denies with any errno: the call is not made", function()
    local target = dir .. "/never"
    for _, name in ipairs { "EACCES", "ENOSPC", "ENOSYS" } do
      local r = assert(run(on(target, function(call) if call.name == "mkdirat" then return call:deny(name) end end), tracee("mkdir", target)))
      assert.equal("-1 " .. name .. " absent\n", r.stdout)
    end
    assert.is_nil(core.lstat(target))
  end)

  it("fakes a result: the call is not made", function()
    local target = dir .. "/faked"
    local r = assert(run(on(target, function(call) if call.name == "mkdirat" then return call:fake(7) end end), tracee("mkdir", target)))
    assert.equal("7 - absent\n", r.stdout)
    assert.is_nil(core.lstat(target))
  end)

  it("kills, and the result says for what", function()
    local r = assert(run(on("/etc/hostname", function(call, p) return call:kill("a secret", p.path) end), tracee "fork"))
    assert.equal("denied_syscall", r.status)
    assert.same({ call = "openat", why = "a secret", path = "/etc/hostname" }, r.denied)
    assert.equal(9, r.signal)
    assert.equal("", r.stdout)
  end)

  it("follows threads, forks and what they fork, vfork and exec", function()
    local deny = on("/etc/hostname", function(call) return call:deny "EXDEV" end)
    local r = assert(run(deny, tracee "threads"))
    assert.equal(8, count(r.stdout, "thread EXDEV"))
    assert.equal(1, count(r.stdout, "main EXDEV"))
    r = assert(run(deny, tracee "fork"))
    assert.equal(5, count(r.stdout, "child EXDEV"))
    assert.equal(5, count(r.stdout, "grandchild EXDEV"))
    r = assert(run(deny, tracee "vfork"))
    assert.equal("main EXDEV\n", r.stdout)
    r = assert(run(deny, tracee("execthread", "/etc/hostname")))
    assert.equal("executed EXDEV\n", r.stdout)
    -- a chain of programs
    r = assert(run(deny, { "/bin/sh", "-c", "sh -c 'exec sh -c \"" .. program .. " open; true\"'; " .. program .. " open | cat" }))
    assert.equal(2, count(r.stdout, "main EXDEV"))
  end)

  it("is no more to be left by asking not to be traced: the calls then fail", function()
    local r = assert(run(function() end, tracee "untraced"))
    assert.equal("untraced ENOSYS\nmain opened\n", r.stdout)
  end)

  it("does not take hooks for the program, which run before it", function()
    local seen = {}
    local hooks = { startContainer = { { path = "/bin/sh", args = { "sh", "-c", "cat /etc/hostname" } }, function() io.open("/etc/hostname"):close() end } }
    for _, init in ipairs { false, true } do
      local r = assert(run(on("/etc/hostname", function(call) call:note "asked" end), tracee "open", { hooks = hooks, init = init or nil,
        namespaces = { pid = init or nil, user = not t.is_root or nil } }))
      seen[#seen + 1] = #r.trace_notes
      assert.equal("main opened\n", r.stdout)
    end
    assert.same({ 1, 1 }, seen)
  end)

  it("follows what an init starts", function()
    local deny = on("/etc/hostname", function(call) return call:deny "EXDEV" end)
    local r = assert(run(deny, { "/bin/sh", "-c", "(" .. program .. " open &); sleep 0.2; " .. program .. " open; exit 3" },
      { init = true, namespaces = { pid = true } }))
    assert.equal(2, count(r.stdout, "main EXDEV"))
    assert.same({ "exited", 3 }, { r.status, r.code })
  end)

  it("keeps signals and stops what they are", function()
    local r = assert(run(function() end, { "/bin/sh", "-c", "trap 'echo got' USR1; kill -USR1 $$; kill -TERM $$" }))
    assert.same({ "got\n", 15 }, { r.stdout, r.signal })
    r = assert(run(function() end, { "/bin/sh", "-c", program .. " stop & sleep 0.1; grep State /proc/$!/status; kill -CONT $!; wait $!" }))
    assert.matches("State:%s+t.*\ncontinued\n$", r.stdout)
  end)

  it("answers for pointers that can't be read, and reads what lies across pages", function()
    local seen = {}
    local function decide(call)
      local p = call.name == "openat" and call:paths()[1]
      if not p then return end
      call:note(p.path or core.errno.name(p.errno))
      if not p.path then return call:deny(p.errno) end
    end
    local r = assert(run(decide, tracee "pointers", { calls = { "openat" } }))
    for _, n in ipairs(r.trace_notes) do seen[n] = (seen[n] or 0) + 1 end
    assert.equal(5, seen.EFAULT)
    assert.equal(("pointer EFAULT\n"):rep(5), r.stdout)
    r = assert(run(decide, tracee "pages", { calls = { "openat" } }))
    local notes = table.concat(r.trace_notes, " ")
    assert.truthy(notes:find("/etc/hostname EFAULT /etc/passwd EFAULT ENAMETOOLONG", 1, true), notes)
    assert.equal("across opened\ncut EFAULT\nends opened\nendless EFAULT\nlong ENAMETOOLONG\n", r.stdout)
  end)

  it("finds the file that is meant, from any directory and through links", function()
    t.sh(("cd %s && mkdir -p a/b && ln -s /etc/hostname abs && ln -s ../../abs a/b/rel && ln -s a/b dirlink && ln -s loop loop"):format(dir))
    local real = core.realpath("/etc/hostname")
    local function decide(call)
      local p = call.name == "openat" and call:paths()[1]
      if p then call:note(("%s=%s"):format(p.text, p.path or core.errno.name(p.errno))) end
    end
    local r = assert(run(decide, { "/bin/sh", "-c", ([[cd %s/a; cat ../abs; cat b/rel; cat ../dirlink/../../abs; cat ./b/../../a/./b/none;
      cat ../loop; cat /proc/self/cwd/b/rel; cat /proc/self/fd/0; cat ../../../../../../../etc/hostname; cat %s/abs/]]):format(dir, dir) },
      { calls = { "openat" } }))
    local notes = {}
    for _, n in ipairs(r.trace_notes) do notes[n:match("^(.-)=")] = n:match("=(.*)$") end
    assert.equal(real, notes["../abs"])
    assert.equal(real, notes["b/rel"])
    assert.equal(real, notes["../dirlink/../../abs"])
    assert.equal(dir .. "/a/b/none", notes["./b/../../a/./b/none"])
    assert.equal("ELOOP", notes["../loop"])
    assert.equal(real, notes["/proc/self/cwd/b/rel"])
    assert.equal("/dev/null", notes["/proc/self/fd/0"])
    assert.equal(real, notes["../../../../../../../etc/hostname"])
  end)

  it("reads what openat2 is told, and does not guess at a root of its own", function()
    local function decide(call)
      if call.name ~= "openat2" then return end
      local p = call:paths()[1]
      call:note(("%s %s"):format(p.access, p.path or core.errno.name(p.errno)))
      if not p.path then return call:deny(p.errno) end
    end
    local r = assert(run(decide, tracee("inroot", "version")))
    assert.same({ "opened\n", { "read /proc/version" } }, { r.stdout, r.trace_notes })
    r = assert(run(decide, tracee("inroot", "/version", "root")))
    assert.same({ "ENOSYS\n", { "read ENOSYS" } }, { r.stdout, r.trace_notes })
  end)

  it("sees paths as the container does", function()
    local function decide(call)
      local p = call.name == "openat" and call:paths()[1]
      if p then call:note(("%s=%s"):format(p.text, p.path or core.errno.name(p.errno))) end
    end
    local r = assert(run(decide, { "/bin/sh", "-c", "cd /w; cat abs ../w/f /proc/self/status /etc/shadow; cat /dev/stdout < /dev/null | true" },
      { calls = { "openat" }, namespaces = { mount = true, pid = true, user = not t.is_root or nil }, init = true, mounts = {
        { bind = "/usr" }, { symlink = "usr/bin", at = "/bin" }, { symlink = "usr/lib", at = "/lib" }, { symlink = "usr/lib64", at = "/lib64" },
        { proc = "/proc" }, { file = "/w/f", data = "f\n" }, { symlink = "/w/f", at = "/w/abs" } } }))
    local notes = {}
    for _, n in ipairs(r.trace_notes) do notes[n:match("^(.-)=")] = n:match("=(.*)$") end
    assert.equal("/w/f", notes.abs)
    assert.equal("/w/f", notes["../w/f"])
    assert.matches("^/proc/%d+/status$", notes["/proc/self/status"])
    assert.equal("/etc/shadow", notes["/etc/shadow"])
    assert.matches("^f\nf\n", r.stdout)
  end)

  it("kills calls of other architectures, by whatever way they come", function()
    if core.seccomp.architecture() ~= "x86_64" then return end
    for _, way in ipairs { "i386", "x32" } do
      local r = assert(run(function() end, tracee(way)))
      assert.same({ "denied_syscall", 31, "" }, { r.status, r.signal, r.stdout }, way)
    end
  end)

  it("whose function fails ends the run, and says so", function()
    local r = assert(run(on("/etc/hostname", function() error("broken", 0) end), tracee "open"))
    assert.same({ "failed", "openat: broken", "" }, { r.status, r.trace_error, r.stdout })
    r = assert(run(on("/etc/hostname", function() return "EACCES" end), tracee "open"))
    assert.equal("failed", r.status)
    assert.matches("decide returned a string", r.trace_error)
  end)

  it("tells on the command line what it has ended, and whose fault that is", function()
    local function command(decide)
      local file = dir .. "/recipe.lua"
      local f = assert(io.open(file, "w"))
      f:write(([[return require("caisson").recipe { namespaces = %s, trace = { calls = { "openat" }, decide = function(call)
        if call:string(2) == "/etc/hostname" then %s end end } }]]):format(t.is_root and "{}" or "{ user = true }", decide))
      f:close()
      return require("support.cli").caisson { "run", file, "--", program, "open" }
    end
    local r = command "return call:kill('why', '/the/path')"
    assert.equal(137, r.code)
    assert.truthy(r.err:find("the tracer has ended it at openat, why: /the/path", 1, true), r.err)
    r = command "error 'x'"
    assert.equal(125, r.code)
    assert.matches("the tracer has given up: openat: .*x", r.err)
  end)

  it("that never answers is ended with its limit", function()
    local r = assert(run(on("/etc/hostname", function() while true do core.poll({}, 1) end end), tracee "open",
      { limits = { time = 0.2 } }))
    assert.equal("time_limit", r.status)
    assert.truthy(r.wall_ns < 5e9)
  end)

  it("leaves nothing, whatever happens", function()
    local fds, children = t.count_fds(), t.count_children()
    run(function() end, tracee "open")
    run(on("/etc/hostname", function(call) return call:kill() end), tracee "threads")
    run(function() end, { "/no/such/program" })
    run(function() end, tracee "open", { opts = { fail = { step = 2, errno = 5 } } })
    run(function() end, tracee "tree", { limits = { time = 0.1 } })
    local r, message = run(function() end, tracee "open", { hostname = ("x"):rep(65) })
    assert.is_nil(r, message)
    assert.equal(fds, t.count_fds())
    assert.equal(children, t.count_children())
  end)

  it("has nothing outlive a host that is killed", function()
    local mark = dir .. "/mark"
    t.sh("cp " .. program .. " " .. mark)
    local out = dir .. "/host"
    t.sh("(" .. t.lua_command(([[
      local caisson = require "caisson"
      io.write(io.open("/proc/self/stat"):read("*a"):match("^%%d+"), "\n")
      io.flush()
      local running = assert(caisson.start(caisson.recipe { namespaces = %s, args = { %q, "tree" }, stdin = "null", stdout = "capture",
        trace = { calls = { "openat" }, decide = function() end } }))
      running:wait()]]):format(t.is_root and "{}" or "{ user = true }", mark)) .. ") > " .. out .. " 2>&1 &")
    local function living() return tonumber(t.sh("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c " .. mark)) end
    for _ = 1, 100 do
      if living() == 5 then break end
      core.poll({}, 0.05)
    end
    assert.equal(5, living(), t.read_file(out))
    local host = t.read_file(out):match("^%d+")
    t.sh("kill -KILL " .. host)
    for _ = 1, 100 do
      if living() == 0 then break end
      core.poll({}, 0.05)
    end
    assert.equal(0, living())
  end)

  it("refuses what it can't do, naming the option", function()
    local function refused(options, pattern)
      local def = { namespaces = {}, args = { "/bin/true" } }
      for k, v in pairs(options) do def[k] = v end
      local r, message = caisson.run(caisson.recipe(def))
      assert.is_nil(r)
      assert.matches(pattern, message)
    end
    local function decide() end
    refused({ trace = true }, "trace: table expected")
    refused({ trace = { calls = { "openat" } } }, "trace%.decide: function expected")
    refused({ trace = { calls = { "opeant" }, decide = decide } }, "trace%.calls: unknown system call 'opeant'")
    refused({ trace = { calls = {}, decide = decide } }, "trace%.calls: no system call")
    refused({ trace = { call = {}, decide = decide } }, "unknown option 'call'")
    local recipe = caisson.recipe { namespaces = { pid = true, user = not t.is_root or nil }, args = { "/bin/true" },
      trace = { calls = { "openat" }, decide = decide } }
    local _, message = recipe:build { wait = true }
    assert.matches("trace: a tracer ends with who starts it", message)
    _, message = require("caisson.pool").new { recipe = recipe }
    assert.matches("has no tracer", message)
    refused({ ptrace = true, trace = { calls = { "openat" }, decide = decide } }, "one tracer")
  end)
end)

describe("caisson.trace.set", function()
  local trace = require "caisson.trace"

  it("has files, trees and what is right in a directory", function()
    local set = trace.set { "/etc/passwd", "/usr/", "/data/*" }
    for path, yes in pairs { ["/etc/passwd"] = true, ["/etc/passwd/x"] = false, ["/etc"] = false, ["/usr"] = true, ["/usr/lib/a/b"] = true,
      ["/usrx"] = false, ["/data"] = false, ["/data/a"] = true, ["/data/a/b"] = false, ["/"] = false } do
      assert.equal(yes, set:has(path), path)
    end
    assert.truthy(trace.set({ "/" }):has "/")
    assert.truthy(trace.set({ "/" }):has "/x/y")
    assert.truthy(trace.set({ "/*" }):has "/x")
    assert.falsy(trace.set({ "/*" }):has "/x/y")
    assert.has_error(function() trace.set { "relative" } end)
    assert.has_error(function() trace.by_sets { readible = {} } end)
  end)
end)

describe("core.ptrace", function()
  local ptrace = core.ptrace

  it("refuses what is no process, option, signal, address or size, and takes nothing that is not its own", function()
    for _, bad in ipairs { 0, -1, "x", 2 ^ 31, {} } do
      for _, name in ipairs { "seize", "cont", "syscall", "listen", "interrupt", "detach", "call" } do
        assert.has_error(function() ptrace[name](bad) end)
      end
    end
    assert.has_error(function() ptrace.seize(1, { "everything" }) end)
    assert.has_error(function() ptrace.seize(1, "seccomp\0") end)
    assert.has_error(function() ptrace.cont(1, "NOSUCH") end)
    assert.has_error(function() ptrace.skip(1, 0.5) end)
    assert.has_error(function() ptrace.skip(1, 2 ^ 60) end)
    assert.has_error(function() ptrace.skip(1) end)
    for _, size in ipairs { -1, 65537, "x", 0 / 0 } do assert.has_error(function() ptrace.read(1, 0, size) end) end
    assert.has_error(function() ptrace.string(1, -1) end)
    assert.has_error(function() ptrace.string(1, "0x") end)
    assert.has_error(function() ptrace.wait() end, "a process id expected (only a helper may wait for whatever it traces)")
    local ok, message, errno = ptrace.cont(t.getpid())
    assert.same({ nil, core.errno.ESRCH }, { ok, errno })
    assert.matches("^ptrace cont " .. t.getpid(), message)
    assert.equal(core.errno.ECHILD, select(3, ptrace.wait(1)))
    assert.equal("", ptrace.read(t.getpid(), 0, 0))
    assert.equal(core.errno.EFAULT, select(3, ptrace.read(t.getpid(), 8, 8)))
  end)

  it("seizes, interrupts, steps from call to call and lets go", function()
    local p = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "sleep", "100" } }) } })
    local pid = p:pid()
    if not t.is_root and (t.read_file("/proc/sys/kernel/yama/ptrace_scope") or "0"):find("[23]") then return end
    assert(ptrace.seize(pid, { "sysgood", "exitkill" }))
    assert(ptrace.interrupt(pid))
    assert.same({ pid, "stop", 0 }, { ptrace.wait(pid) })
    assert.same({ nil, "timeout" }, { ptrace.wait(pid, true) })
    assert.equal("none", ptrace.call(pid).op)
    assert(ptrace.syscall(pid))
    assert.same({ pid, "syscall", 0 }, { ptrace.wait(pid) })
    local info = assert(ptrace.call(pid)) -- the sleep that was interrupted, begun anew or at its end
    assert.truthy(info.op == "entry" or info.op == "exit", info.op)
    assert(ptrace.detach(pid))
    assert.equal(core.errno.ESRCH, select(3, ptrace.cont(pid)))
    assert.matches("TracerPid:%s+0\n", t.read_file("/proc/" .. pid .. "/status"))
    p:close()
  end)
end)

describe("core.helper", function()
  it("is a process of its own, with the descriptors that it is given and the host's values", function()
    local value = { "mine" }
    local spare = assert(core.open("/etc/passwd"))
    local r, w = assert(core.pipe())
    local me = t.getpid()
    local fds = t.count_fds()
    local pidfd, pid = core.helper(function()
      value[1] = value[1] .. " changed"
      w:write(("%s|%s|%s|%s"):format(value[1], tostring(spare:read() == ""), t.getpid() ~= me and t.read_file("/proc/self/stat"):match("%) %u (%d+)"),
        t.read_file("/proc/self/status"):match("SigIgn:%s*(%x+)")))
    end, { w })
    assert(pidfd, pid)
    assert.equal(fds + 1, t.count_fds())
    w:close()
    local told, ignored = t.slurp(r):match("^(.*)|(%x+)$")
    assert.equal(("mine changed|true|%d"):format(me), told)
    -- SIGPIPE, beside what this process was started with
    assert.equal(1, math.floor(tonumber(ignored:sub(-4), 16) / 0x1000) % 2, ignored)
    assert.equal("mine", value[1])
    assert.equal(0, assert(core.pidfd.wait(pidfd)).code)
    pidfd:close()
    r:close()
    spare:close()
  end)

  it("that fails ends with 125, and what is no function is refused", function()
    local r = t.sh("exec 2> /dev/null; " .. t.lua_command [[
      local core = require "caisson.core"
      local pidfd = assert(core.helper(function() error("broken", 0) end))
      print(core.pidfd.wait(pidfd).code)]])
    assert.matches("125", r)
    assert.has_error(function() core.helper("x") end)
    assert.has_error(function() core.helper(function() end, "x") end)
    assert.has_error(function() core.helper(function() end, { "x" }) end)
    assert.equal(0, t.count_children())
  end)
end)
