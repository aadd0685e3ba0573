local t = require "support"
local cli = require "support.cli"
local remains = require "support.remains"

local dir

local function recipe(name, text)
  local path = dir .. "/" .. name .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write('local caisson = require "caisson"\nreturn caisson.recipe ' .. text .. "\n")
  f:close()
  return path
end

-- The command with what is typed at its breakpoints.
local function run(words, typed, program)
  local all = { "run" }
  for _, w in ipairs(words) do all[#all + 1] = w end
  all[#all + 1] = "--"
  for _, w in ipairs(program or { "/bin/true" }) do all[#all + 1] = w end
  return cli.caisson(all, { stdin = typed, env = { "XDG_STATE_HOME=" .. dir } })
end

local function has(text, what)
  assert.truthy(text:find(what, 1, true), ("%q is not in:\n%s"):format(what, text))
end

-- /proc/PID/status of a process, as fields.
local function status_of(pid)
  local text = t.read_file("/proc/" .. pid .. "/status")
  return setmetatable({}, { __index = function(_, k) return text:match("\n" .. k .. ":%s*([^\n]*)") end })
end

local function children(pid)
  local list = {}
  for child in (t.read_file(("/proc/%s/task/%s/children"):format(pid, pid)) or ""):gmatch "%d+" do list[#list + 1] = child end
  return list
end

describe("a breakpoint", function()
  if not t.needs "userns" then return end

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    t.sh("mkdir -m 755 " .. dir)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("gives a shell in the namespaces, root and credentials of that step", function()
    local probe = "for n in mnt pid net uts user; do readlink /proc/self/ns/$n; done; hostname; grep -E '^(Uid|CapEff|Seccomp|NoNewPrivs):' "
      .. "/proc/self/status; ls -d /home; echo -- ; exit\n"
    local r = run({ "--break", "hostname,seccomp,exec", "sandbox" }, probe .. "continue\n" .. probe .. "continue\n" .. probe .. "continue\n",
      { "/bin/sh", "-c", "echo the program" })
    assert.equal(0, r.code, r.err)
    assert.equal("the program\n", r.out) -- what is said at a breakpoint goes elsewhere
    local a, b, c = r.err:match "^(.-)%-%-\n(.-)%-%-\n(.-)%-%-\n"
    for _, kind in ipairs { "mnt", "pid", "net", "uts" } do
      local own = t.core.lstat("/proc/self/ns/" .. kind).target
      for _, text in ipairs { a, b, c } do
        has(text, kind .. ":[")
        assert.falsy(text:find(own, 1, true), own)
      end
    end
    -- before its own name it has the host's, and all rights in there
    has(a, "\n" .. t.sh "hostname")
    assert.falsy(a:find("\nsandbox\n", 1, true))
    has(a, "Seccomp:\t0")
    has(a, "NoNewPrivs:\t0")
    assert.falsy(a:find("CapEff:\t0000000000000000", 1, true))
    -- right before the filter: named, without rights, not filtered
    has(b, "\nsandbox\n")
    has(b, "CapEff:\t0000000000000000")
    has(b, "NoNewPrivs:\t1")
    has(b, "Seccomp:\t0")
    -- right before the program: filtered too
    has(c, "CapEff:\t0000000000000000")
    has(c, "Seccomp:\t2")
    if t.is_root then has(b, "Uid:\t65534") end
    has(a, "'/home': No such file or directory")
    assert.truthy(r.err:find "step %d+ of %d+, hostname sandbox", r.err)
  end)

  it("gives a Lua prompt that acts in the child itself", function()
    local r = run({ "--repl", "--break", "net.loopback", "sandbox" }, [[
assert(core.hostname "changed")
state.status, state.pid, step.step, plan:find "exec"
io.open("/tmp/left", "w"):close()
ls "/tmp"
core.identity().uid
continue
]], { "/bin/sh", "-c", "hostname; ls /tmp" })
    assert.equal(0, r.code, r.err)
    has(r.out, "changed\nleft\n") -- the program's
    assert.truthy(r.err:find '"creating"\n1\n"net.loopback"\n%d+\n', r.err)
    has(r.err, "left\n")
  end)

  it("shows the child as it is, from outside too", function()
    local out_r, out_w = t.core.pipe()
    local in_r, in_w = t.core.pipe()
    local words = cli.argv { "run", "--repl", "--break", "chdir", "sandbox", "--", "/bin/true" }
    local process = assert(t.core.spawn { plan = t.core.plan { t.step("clone", {}), t.step("exec", { argv = words,
      env = cli.environment, files = { "stdin", "stdout", "stdout" } }) }, slots = { stdin = in_r, stdout = out_w } })
    in_r:close()
    out_w:close()
    local seen = ""
    in_w:write "print(core.identity().euid)\n"
    repeat seen = seen .. out_r:read() until seen:find "\n%d+\n"
    local list, child = children(process:pid()), nil
    for _, pid in ipairs(list) do -- the fork, and what it has made
      if status_of(pid).NSpid:find "%d+%s+1$" then child = pid end
    end
    local status = status_of(child)
    local uid = seen:match "\n(%d+)\n"
    assert.equal(t.is_root and "65534" or uid, status.Uid:match "^%d+")
    assert.equal("0000000000000000", status.CapEff)
    for _, kind in ipairs { "mnt", "pid", "net", "uts", "ipc" } do
      assert.not_equal(t.core.lstat("/proc/self/ns/" .. kind).target, t.core.lstat("/proc/" .. child .. "/ns/" .. kind).target)
    end
    assert.equal("1", status.NSpid:match "%d+$")
    local names = t.core.list("/proc/" .. child .. "/root")
    if names then assert.falsy(table.concat(names, " "):find("home", 1, true)) end
    -- SIGKILL of caisson, where the credentials' change has cleared the child's death signal
    t.core.signal.send(process:pid(), "KILL")
    process:wait()
    assert.same({}, remains.wait_gone(list))
    process:close()
    in_w:close()
    out_r:close()
  end)

  it("is core.spawn's before: asked about each step once, where it is done", function()
    local r, w = t.core.pipe()
    local built = assert(require("caisson").load("sandbox"):build { args = { "/bin/true" } })
    local function spawn(before, more)
      local o = { plan = built.compiled, before = before, slots = { stdin = 0, stdout = 1, stderr = 2 } }
      for k, v in pairs(more or {}) do o[k] = v end
      return t.core.spawn(o)
    end
    local process = assert(spawn(function(i, born, slots)
      w:write(("%d %s %s %s\n"):format(i, tostring(born), built.plan.steps[i].step, tostring(slots.stdout ~= nil)))
    end))
    assert.equal(0, process:wait().code)
    process:close()
    w:close()
    local expected = {}
    for i, s in built.plan:each() do expected[i] = ("%d %s %s true\n"):format(i, tostring(i > 1), s.step) end
    assert.equal(table.concat(expected), t.slurp(r))
    r:close()
    for _, n in ipairs { 1, 3, #built.plan.steps } do
      local ok, message, errno, failure = spawn(function(i) if i == n then return nil, "not today", 13 end end)
      assert.is_nil(ok)
      assert.equal(13, errno)
      assert.equal(n, failure.number)
      assert.truthy(message:find("not today: Permission denied", 1, true), message)
      ok, message = spawn(function(i) if i == n then error "raised" end end)
      assert.is_nil(ok)
      assert.truthy(message:find("raised", 1, true), message)
    end
    assert.has_error(function() spawn(1) end)
    assert.has_error(function() spawn(nil, { attach = true }) end)
    local ok, _, errno = spawn(nil, { attach = function() return nil, "no", 1 end })
    assert.is_nil(ok)
    assert.equal(1, errno)
  end)

  it("skips a step, which the result says", function()
    local path = dir .. "/result.json"
    local r = run({ "--repl", "--break", "hostname", "--result", path, "sandbox" }, "skip\ncontinue\n", { "/bin/hostname" })
    assert.equal(0, r.code, r.err)
    assert.equal(t.sh "hostname", r.out)
    local result = require("caisson.json").decode(t.read_file(path))
    assert.same({ "hostname", "ECANCELED" }, { result.skipped[1].step, result.skipped[1].code })
    -- without a breakpoint it is the container's
    assert.equal("sandbox\n", run({ "sandbox" }, "", { "/bin/hostname" }).out)
  end)

  it("skips filters and steps of the parent's side alike", function()
    local status = { "/bin/grep", "Seccomp:", "/proc/self/status" }
    assert.equal("Seccomp:\t0\n", run({ "--repl", "--break", "seccomp", "sandbox" }, "skip\n", status).out)
    assert.equal("Seccomp:\t2\n", run({ "--repl", "--break", "seccomp", "sandbox" }, "step\n", status).out)
    local path = recipe("hooks", ([[{ extends = "sandbox", hooks = {
      createRuntime = { function() print "one" end, function() print "two" end },
      startContainer = function() print "three" end } }]]))
    assert.equal("one\ntwo\nthree\n", run({ path }, "").out)
    assert.equal("one\nthree\n", run({ "--repl", "--break", "lua[2]", path }, "skip\n").out)
    assert.equal("two\n", run({ "--repl", "--break", "lua,lua[3]", path }, "skip\ncontinue\nskip\n").out)
  end)

  it("steps one, lists, sets more, and says what can't be left out", function()
    local r = run({ "--repl", "--break", "session", "sandbox" }, "step\nstep\nlist\nbreak exec\nbreak nonsense\nc\nskip\nstep\n",
      { "/bin/echo", "done" })
    assert.equal(0, r.code, r.err)
    assert.equal("done\n", r.out)
    local stops = {}
    for name in r.err:gmatch "step %d+ of %d+, (%S+)" do stops[#stops + 1] = name end
    assert.same({ "session", "rlimit", "rlimit", "exec" }, stops)
    has(r.err, "> ")
    has(r.err, "no step is called 'nonsense'")
    has(r.err, "a construction can't go without its exec")
  end)

  it("aborts, and leaves nothing", function()
    for _, place in ipairs { "clone", "1", "pivot_root", "chdir", "exec" } do
      local before = remains.now()
      local r = run({ "--repl", "--break", place, "sandbox" }, "abort\n")
      assert.equal(125, r.code, place)
      has(r.err, "aborted before step")
      assert.same(before, remains.now())
    end
  end)

  it("aborts a container with groups of its own, and leaves none", function()
    if not t.is_root then return end
    local path = recipe("groups", ('{ extends = "sandbox", cgroup = { path = "%s*", pids = { max = 32 } } }'):format(remains.prefix))
    local before = remains.now()
    local r = run({ "--break", "pivot_root", path }, "find /sys/fs/cgroup -type d -name '" .. remains.prefix .. "*'; exit\nabort\n")
    assert.equal(125, r.code)
    has(r.err, "/" .. remains.prefix) -- it was there
    assert.same(before, remains.now())
  end)

  it("is refused where the plan has no such step", function()
    local function fails(place, what)
      local r = run({ "--break", place, "sandbox" }, "")
      assert.equal(125, r.code)
      has(r.err, what)
      assert.equal("", r.out)
    end
    fails("pivot_rot", "no step is called 'pivot_rot' (did you mean 'pivot_root'?); this plan's are clone, ")
    fails("hostname[2]", "the plan has hostname 1 time, not 2")
    fails("99", "the plan's steps are 1 to ")
    local r = run({ "--repl", "sandbox" }, "")
    assert.equal(125, r.code)
    has(r.err, "--break says where")
  end)

  it("is refused in a pid namespace whose processes could take it over", function()
    if not t.is_root then return end
    local caisson = require "caisson"
    for _, case in ipairs { { {}, 0 }, { { "sys_ptrace" }, 125 } } do
      local other = assert(caisson.start(caisson.recipe { extends = "sandbox", user = { uid = 0, gid = 0 },
        capabilities = { bounding = case[1], permitted = case[1], effective = case[1], inheritable = {}, ambient = {} } },
        { args = { "/bin/sleep", "60" } }))
      local path = recipe("joins", ([[{ extends = "sandbox", namespaces = { pid = "/proc/%d/ns/pid" } }]]):format(other:pid()))
      local r = run({ "--repl", "--break", "hostname", path }, "core.identity().pid > 1\n")
      other:close()
      assert.equal(case[2], r.code, r.err)
      has(r.err, case[2] == 0 and "\ntrue\n" or "may trace it")
    end
  end)

  it("says so where a filter ends what stands behind it, and goes on", function()
    local path = recipe("tight", [[{ extends = "sandbox", seccomp = caisson.policy.default() - { "uname" } }]])
    local ok = run({ "--break", "exec", path }, "uname; exit\nc\n", { "/bin/echo", "done" })
    assert.equal(0, ok.code, ok.err)
    has(ok.err, "uname: cannot get system name: Operation not permitted")
    -- enough for the program; a shell asks for more, and a Lua prompt too
    path = recipe("tighter", [[{ extends = "sandbox", seccomp = caisson.policy.new { default = "kill_process",
      "execve", "execveat", "brk", "mmap", "mprotect", "munmap", "access", "openat", "close", "fstat", "newfstatat", "read", "pread64",
      "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "futex", "write", "exit_group" } }]])
    local r = run({ "--break", "exec", path }, "ls /; exit\nc\n", { "/bin/echo", "done" })
    assert.equal(0, r.code, r.err)
    has(r.err, "has ended the shell (SIGSYS)")
    assert.equal("done\n", r.out)
  end)

  it("works with an init, and with functions", function()
    local path = recipe("init", [[{ extends = "sandbox", init = true, hooks = { startContainer = function() print "hook" end } }]])
    local r = run({ "--break", "exec", path }, "grep Seccomp: /proc/self/status; exit\nc\n", { "/bin/sh", "-c", "echo $$" })
    assert.equal(0, r.code, r.err)
    has(r.err, "Seccomp:\t2\n")
    assert.truthy(r.out:find "^hook\n%d+\n$" and not r.out:find "\n1\n", r.out)
  end)

  it("brings a shell where the root has none", function()
    local busybox = t.sh "command -v busybox":gsub("\n", "")
    if busybox == "" or not t.sh("ldd " .. busybox .. " 2>&1"):find "not a dynamic" then
      return pending "no static busybox"
    end
    local path = recipe("bare", ([[{ root = { size = 1048576 }, namespaces = { mount = true, pid = true },
      mounts = { { bind = %q, at = "/busybox" }, { proc = "/proc" } } }]]):format(busybox))
    local r = run({ "--break", "exec", path }, "echo /*; exit\nc\n", { "/busybox", "echo", "done" })
    assert.equal(0, r.code, r.err)
    has(r.err, "/busybox /proc\n")
    assert.equal("done\n", r.out)
  end)

  it("has a terminal of its own for the shell, and gives the caller's back", function()
    local term = cli.at_terminal(cli.argv { "run", "--break", "pivot_root", "sandbox", "--", "/bin/echo", "done" })
    term:expect " pivot_root) "
    term:send "tty; echo pid $$; ls /proc/self/fd/3/\r"
    term:expect "/dev/pts/"
    term:expect "etc"
    term:send "sleep 60\r"
    term:expect "sleep 60"
    t.core.poll({}, 0.3)
    term:send "\3"
    term:expect " pivot_root) "
    term:send "exit\r"
    term:expect " pivot_root> "
    term:send "1 + 41\r"
    term:expect "42"
    term:send "state.st\t\r"
    term:expect "creating"
    term:send "shell\r"
    term:expect " pivot_root) "
    term:send "\4"
    term:expect " pivot_root> "
    term:send "c\r"
    term:expect "done"
    assert.equal(0, term:wait().code)
    assert.is_true(term:is_sane())
    term:close()
  end)

  it("leaves nothing when caisson is killed, and a shell with what it runs stands there", function()
    local function below(pid, list)
      for _, child in ipairs(children(pid)) do
        list[#list + 1] = child
        below(child, list)
      end
      return list
    end
    local before = remains.now()
    local term = cli.at_terminal(cli.argv { "run", "--break", "chdir", "sandbox", "--", "/bin/echo", "done" })
    term:expect " chdir) "
    term:send "sleep 60 & sleep 70\r"
    local list
    repeat
      t.core.poll({}, 0.02)
      list = below(term.process:pid(), {})
    until #list >= 4
    t.core.signal.send(term.process:pid(), "KILL")
    assert.equal(9, term:wait().signal)
    assert.same({}, remains.wait_gone(list))
    term:close()
    assert.same(before, remains.now())
  end)

  it("ends with caisson's own end by a signal, and leaves a sane terminal", function()
    local before = remains.now()
    local term = cli.at_terminal(cli.argv { "run", "--repl", "--break", "chdir", "sandbox", "--", "/bin/echo", "done" })
    term:expect " chdir> "
    t.core.signal.send(term.process:pid(), "TERM")
    assert.equal(143, term:wait().code)
    assert.is_true(term:is_sane())
    term:close()
    assert.same(before, remains.now())
  end)
end)
