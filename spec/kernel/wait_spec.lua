-- wait and core.start: a container that is made, and waits.
local t = require "support"
local remains = require "support.remains"
local core, step = t.core, t.step

if not t.needs("userns") then return end

local folder = t.sh("mktemp -d"):match("%S+")
local pids = t.contained { "pid", "mount" }
local null = { "-", "-", "-" }

local function listen()
  os.remove(folder .. "/start")
  local directory = assert(core.open(folder, { "path", "directory" }))
  local listener = assert(core.socket.listen(directory, "start"))
  directory:close()
  return listener
end

local function connect()
  local directory = assert(core.open(folder, { "path", "directory" }))
  local fd, message, errno = core.socket.connect(directory, "start")
  directory:close()
  return fd, message, errno
end

-- Spawn first, wait, after and a program. opts: script or argv, exec (its options), slots, functions, fork, fail.
local function create(first, after, opts)
  opts = opts or {}
  local exec = { argv = opts.argv or { "/bin/sh", "-c", opts.script or "exit 3" }, files = opts.files or null,
    death_signal = "none" }
  for k, v in pairs(opts.exec or {}) do exec[k] = v end
  local plan = core.plan(t.steps(first, step("wait", "start"), after or {}, step("exec", exec)))
  local slots = { start = listen() }
  for k, v in pairs(opts.slots or {}) do slots[k] = v end
  local process, message, errno, failure = core.spawn { plan = plan, slots = slots, functions = opts.functions,
    fork = opts.fork, fail = opts.fail }
  slots.start:close()
  if not process then return nil, message, errno, failure end
  return process, plan
end

local function start(plan, process)
  local socket, message, errno = connect()
  if not socket then return nil, message, errno end
  local a, b, c, d = core.start { socket = socket, plan = plan, pidfd = process and process:pidfd() }
  socket:close()
  return a, b, c, d
end

-- Run Lua code in a process of its own that kills itself: what it has printed before.
local function dying_host(code)
  return t.sh("exec 2> /dev/null; " .. t.lua_command(code ..
    [[ io.stdout:flush() core.pidfd.kill(core.pidfd.open(core.identity().pid), "KILL")]]))
end

local function status(process, field)
  return (t.read_file("/proc/" .. process:pid() .. "/status") or ""):match("\n" .. field .. ":%s*([^\n]*)")
end

for _, fork in ipairs { false, true } do
  describe("wait" .. (fork and ", in a fork" or ""), function()
    local before
    local function remaining() return { t.count_fds(), remains.children() } end
    setup(function() before = remaining() end)
    teardown(function()
      assert.same(before, remaining())
      os.execute("rm -f " .. folder .. "/start")
    end)

    it("stays in the runner's program, holding nothing of the host but what is due", function()
      local p = assert(create(pids, {}, { fork = fork }))
      assert.same({ nil, "timeout" }, { p:wait(0) })
      assert.equal("caisson-wait", t.read_file("/proc/" .. p:pid() .. "/comm"):match("%S+"))
      assert.equal("/memfd:caisson (deleted)\n", t.sh("readlink /proc/" .. p:pid() .. "/exe"))
      assert.matches("^%d+%s+1$", status(p, "NSpid"))
      -- not dumpable: what is its in /proc belongs to root, of its user namespace
      assert.equal(t.is_root and 0 or core.identity().euid, core.lstat("/proc/" .. p:pid() .. "/environ").uid)
      -- the host's socket, the listener, its signals
      assert.matches("^anon_inode:%[signalfd%]\nsocket:%S+\nsocket:%S+\n$",
        t.sh("readlink /proc/" .. p:pid() .. "/fd/* | sort"))
      assert.is_nil(t.read_file("/proc/" .. p:pid() .. "/maps"):find("luajit", 1, true))
      p:close()
    end)

    it("goes on when it is started: steps behind wait are applied then", function()
      local r, w = assert(core.pipe())
      local p, plan = assert(create(t.steps(pids, step("umask", "027")), { step("nice", 7), step("umask", "077") },
        { fork = fork, script = "umask; cut -d' ' -f19 /proc/$$/stat; echo $0 $PPID", files = { "-", "out", "-" },
          slots = { out = w } }))
      w:close()
      assert.equal("0027", status(p, "Umask"))
      assert.equal("0", t.read_file("/proc/" .. p:pid() .. "/stat"):match("%) " .. ("%S+ "):rep(16) .. "(%S+)"))
      assert.is_true(p:keep())
      local now = core.now()
      local started = assert(start(plan, p))
      assert.is_true(started.exec_ns > now and started.exec_ns < core.now())
      assert.same({}, started.skipped)
      assert.equal(0, assert(p:wait(5)).code)
      assert.matches("^0077\n", t.slurp(r))
      r:close()
      p:close()
    end)

    it("lets a function of the child's side stand before it", function()
      local seen_r, seen_w = assert(core.pipe())
      local p, plan = assert(create(t.steps(pids, step("lua", "look")), {}, { functions = { look = function()
        seen_w:write(core.lstat("/proc/self/ns/mnt").target)
      end } }))
      seen_w:close()
      assert.equal(t.namespace("mnt", p:pid()), t.slurp(seen_r))
      assert.equal("/memfd:caisson (deleted)\n", t.sh("readlink /proc/" .. p:pid() .. "/exe"))
      assert(p:keep())
      assert(start(plan, p))
      assert.equal(3, assert(p:wait(5)).code)
      seen_r:close()
      p:close()
    end)

    it("tells the step that fails behind it, and what was left out", function()
      local p, plan = assert(create(pids, { step("nice", 5, { optional = true }), step("chdir", "/nonexistent") },
        { fork = fork, fail = { step = #pids + 2, errno = 1 } }))
      assert(p:keep())
      local ok, message, errno, failure = start(plan, p)
      assert.is_nil(ok)
      assert.equal(("step %d, chdir[1] /nonexistent: path /nonexistent: No such file or directory (ENOENT)"):format(#pids + 3), message)
      assert.equal(2, errno)
      assert.same({ "chdir", #pids + 3, 1, "child", "/nonexistent", "ENOENT" }, { failure.step, failure.number,
        failure.index, failure.side, failure.object, failure.code })
      assert.equal(125, assert(p:wait(5)).code)
      p:close()
      p, plan = assert(create(pids, { step("nice", 5, { optional = true }) },
        { fork = fork, fail = { step = #pids + 2, errno = 1 } }))
      assert(p:keep())
      assert.same({ [#pids + 2] = 1 }, assert(start(plan, p)).skipped)
      assert.equal(3, assert(p:wait(5)).code)
      p:close()
    end)

    it("refuses to be made for a program that is missing", function()
      for _, argv in ipairs { { "/nonexistent/program" }, { "caisson-no-such-program" } } do
        local ok, message, errno, failure = create(pids, {}, { fork = fork, argv = argv })
        assert.is_nil(ok)
        assert.equal(2, errno)
        assert.same({ "wait", #pids + 1 }, { failure.step, failure.number })
        assert.truthy(message:find(argv[1], 1, true), message)
      end
    end)

    it("tells exec's failure where the program goes meanwhile", function()
      os.execute("cp /bin/true " .. folder .. "/program")
      local p, plan = assert(create(pids, {}, { fork = fork, argv = { folder .. "/program" } }))
      os.remove(folder .. "/program")
      assert(p:keep())
      local ok, _, errno, failure = start(plan, p)
      assert.is_nil(ok)
      assert.same({ 2, "exec" }, { errno, failure.step })
      p:close()
    end)

    it("starts a program below an init", function()
      local r, w = assert(core.pipe())
      local p, plan = assert(create(pids, { step("nice", 3) }, { fork = fork, exec = { init = true },
        script = "echo $$ $PPID; kill -9 $$", files = { "-", "out", "-" }, slots = { out = w } }))
      w:close()
      assert(p:keep())
      assert(start(plan, p))
      assert.equal("2 1\n", t.slurp(r))
      -- over the socket that this host has kept
      assert.equal(9, assert(p:wait(5)).signal)
      r:close()
      p:close()
    end)

    it("tells of a program below an init that can't be executed", function()
      os.execute("cp /bin/true " .. folder .. "/program")
      local p, plan = assert(create(pids, {}, { fork = fork, exec = { init = true }, argv = { folder .. "/program" } }))
      os.remove(folder .. "/program")
      assert(p:keep())
      local ok, _, errno, failure = start(plan, p)
      assert.is_nil(ok)
      assert.same({ 2, "exec" }, { errno, failure.step })
      assert.equal(125, assert(p:wait(5)).code)
      p:close()
    end)

    it("is ended by signals that end other processes too, as pid 1 and else", function()
      local none = t.is_root and { step("clone", {}) } or t.contained { "mount" }
      for _, first in ipairs { pids, none } do
        for _, signal in ipairs { "TERM", "INT", "HUP", "QUIT", "USR1", "KILL" } do
          local p = assert(create(first, {}, { fork = fork }))
          assert(p:keep())
          assert(p:kill("CONT"))
          assert(p:kill("WINCH"))
          assert(p:kill("CHLD"))
          assert.same({ nil, "timeout" }, { p:wait(0.02) })
          assert(p:kill(signal))
          local s = assert(p:wait(5))
          local number = ({ TERM = 15, INT = 2, HUP = 1, QUIT = 3, USR1 = 10, KILL = 9 })[signal]
          if first == pids and signal ~= "KILL" then
            assert.equal(128 + number, s.code)
          else
            assert.equal(number, s.signal)
          end
          p:close()
        end
      end
    end)

    it("ends with a host that has not kept it, also one that is killed", function()
      local code = ([[
        local core = require "caisson.core"
        local d = core.open(%q, { "path", "directory" })
        local l = core.socket.listen(d, "start")
        local plan = core.plan { { step = "clone", options = { %q, "pid" } }, %s { step = "wait", options = "start" },
          { step = "exec", options = { argv = { "/bin/true" }, death_signal = "none" } } }
        local p = assert(core.spawn { plan = plan, slots = { start = l }, fork = %s })
        io.write(p:pid(), "\n")
        if %%s then assert(p:keep()) end
        if %%s then p:release() end ]]):format(folder, t.is_root and "mount" or "user", t.is_root and "" or
        ('{ step = "idmap", options = { uid = { { 0, %d, 1 } }, gid = { { 0, %d, 1 } }, setgroups = "deny" } },'):format(
        core.identity().euid, core.identity().egid), tostring(fork))
      os.remove(folder .. "/start")
      local pid = tonumber(dying_host(code:format("false", "false")):match("^%d+"))
      assert.same({}, remains.wait_gone { pid })
      for _, release in ipairs { "false", "true" } do
        for _ = 1, 5 do
          os.remove(folder .. "/start")
          pid = tonumber(dying_host(code:format("true", release)):match("^%d+"))
          local fd = assert(core.pidfd.open(pid))
          assert.same({ nil, "timeout" }, { core.pidfd.wait(fd, 0.02) })
          assert(core.pidfd.kill(fd, "TERM"))
          local s = assert(core.pidfd.wait(fd, 5))
          assert.is_true(s.unknown or s.code == 143)
          fd:close()
        end
      end
    end)

    it("is killed by close, kept or not, and left alone by release", function()
      for _, keep in ipairs { false, true } do
        local p = assert(create(pids, {}, { fork = fork }))
        local pid = p:pid()
        if keep then assert(p:keep()) end
        p:close()
        assert.is_nil(core.lstat("/proc/" .. pid))
      end
      local p, plan = assert(create(pids, {}, { fork = fork }))
      local fd = assert(core.pidfd.open(p:pid()))
      assert.has_error(function() p:release() end, "release: it is to be kept first, or it ends")
      assert(p:keep())
      assert(p:keep())
      assert(p:release())
      assert.has_error(function() p:wait(0) end, "the process was released")
      p:close()
      assert.same({ nil, "timeout" }, { core.pidfd.wait(fd, 0) })
      assert(start(plan))
      assert.equal(3, assert(core.pidfd.wait(fd, 5)).code)
      fd:close()
    end)
  end)
end

describe("wait", function()
  teardown(function() os.execute("rm -rf " .. folder) end)

  it("is started once, and by another process too", function()
    local p, plan = assert(create(pids, {}, { script = "sleep 5" }))
    assert(p:keep())
    local out = t.host(([[
      local core = require "caisson.core"
      local plan = core.plan { %s { step = "wait", options = "start" },
        { step = "exec", options = { argv = { "/bin/sh", "-c", "sleep 5" }, files = { "-", "-", "-" } } } }
      local s = assert(core.socket.connect(core.open(%q, { "path", "directory" }), "start"))
      print(core.start { socket = s, plan = plan } and "started")
    ]]):format(('{ step = "umask", options = "022" },'):rep(#pids), folder))
    assert.equal("started\n", out)
    assert.equal("sh\n", t.read_file("/proc/" .. p:pid() .. "/comm"))
    assert.same({ nil, 111 }, { (start(plan)), (select(3, start(plan))) })
    p:close()
  end)

  it("serves the next where one comes and goes without a word, or with nonsense", function()
    local p, plan = assert(create(pids))
    assert(p:keep())
    assert(connect()):close()
    local nonsense = assert(connect())
    nonsense:write("xyz")
    local fds = {}
    for i = 1, 5 do fds[i] = assert(connect()) end
    nonsense:close()
    for i = 1, 5 do fds[i]:close() end
    assert(start(plan, p))
    assert.equal(3, assert(p:wait(5)).code)
    p:close()
  end)

  it("says that it was killed before its start was done", function()
    local p, plan = assert(create(pids))
    assert(p:keep())
    assert(p:kill("STOP"))
    local socket = assert(connect())
    assert(p:kill("KILL"))
    local ok, message, errno, failure = core.start { socket = socket, plan = plan, pidfd = p:pidfd() }
    assert.same({ nil, 0, 9 }, { ok, errno, failure.signal })
    assert.matches("killed by signal 9", message)
    socket:close()
    assert.equal(9, assert(p:wait(5)).signal) -- its status was left for us
    p:close()
  end)

  it("is started by nobody from inside", function()
    local p, plan = assert(create(pids))
    assert(p:keep())
    local fd = assert(core.pidfd.open(p:pid()))
    local r = assert(t.run(t.steps(step("namespace.join", { namespaces = t.is_root and { "pid" } or { "user", "pid" },
      fd = "container" }), step("clone", {})), { slots = { container = fd }, argv = t.program(([[
        local plan = core.plan { { step = "wait", options = "start" }, { step = "exec", options = { argv = { "x" } } } }
        local s = assert(core.socket.connect(core.open(%q, { "path", "directory" }), "start"))
        return select(2, core.start { socket = s, plan = plan })]]):format(folder)) }))
    assert.equal("the container: it does not wait for its start, or for nobody from there: Connection refused (ECONNREFUSED)",
      r.output)
    fd:close()
    assert(start(plan, p))
    assert.equal(3, assert(p:wait(5)).code)
    p:close()
  end)

  it("has its capabilities behind it, of whoever is not root inside, too", function()
    -- by the exec of the runner's program such a process would lose them
    local id, me = 1234, core.identity()
    local first = t.steps(step("clone", { "user", "pid" }), step("idmap", { uid = { { id, me.euid, 1 } },
      gid = { { id, me.egid, 1 } }, setgroups = "deny" }))
    local p, plan = assert(create(first, { step("capabilities", { bounding = { "kill" } }) },
      { script = "grep CapBnd /proc/$$/status", files = { "-", "-", "-" } }))
    assert.equal("0000000000000000", status(p, "CapAmb"))
    assert.equal("0000000000000000", status(p, "CapInh"))
    assert.is_not.equal("0000000000000000", status(p, "CapEff"))
    assert(p:keep())
    assert(start(plan, p))
    assert(p:wait(5))
    p:close()
  end)

  it("reaps what is orphaned in the container", function()
    local p = assert(create(pids))
    assert(p:keep())
    local fd = assert(core.pidfd.open(p:pid()))
    local r = assert(t.run(t.steps(step("namespace.join", { namespaces = t.is_root and { "pid" } or { "user", "pid" },
      fd = "container" }), step("clone", {})), { slots = { container = fd },
      script = "(sleep 0.1 & echo started); exit 0" }))
    assert.equal("started\n", r.output)
    local children = "/proc/" .. p:pid() .. "/task/" .. p:pid() .. "/children"
    for _ = 1, 100 do
      if t.read_file(children) == "" then break end
      core.poll({}, 0.01)
    end
    assert.equal("", t.read_file(children))
    fd:close()
    p:close()
  end)

  it("has a place in a plan: once, behind clone, with steps of the runner alone behind it", function()
    local exec, wait = step("exec", { argv = { "x" } }), step("wait", "start")
    local function refused(list, text)
      local ok, message = pcall(core.plan, list)
      assert.is_false(ok)
      assert.equal(text, message)
    end
    refused({ wait, step("clone", {}), exec }, "step 2: clone must stand before wait: it makes the one who waits")
    refused({ step("clone", {}), wait, wait, exec }, "step 3: a plan has one wait")
    refused({ step("clone", {}), wait, step("lua", "f"), exec },
      "step 3: lua is a function and can't stand behind wait: the runner, which waits, has no Lua")
    refused({ step("clone", {}), wait, step("lua", "f", { side = "parent" }), exec },
      "step 3: lua is on the parent's side and can't stand behind wait: the host may be gone by then")
    refused({ step("clone", {}), wait, step("send", "tty"), exec },
      "step 3: send can't stand behind wait: the host that it is for may be gone by then")
    refused({ step("clone", {}), step("wait", "start", { optional = true }), exec }, "step 2: wait can't be optional")
    assert.has_error(function() core.start { plan = core.plan { exec }, socket = 0 } end, "the plan has no wait step")
    assert.has_error(function() core.start { plan = core.plan { wait, exec } } end, "option 'socket' is required")
    local p = assert(core.spawn { plan = core.plan { step("clone", {}), step("exec", { argv = { "/bin/true" } }) } })
    assert.has_error(function() p:keep() end, "keep: the plan has no wait step")
    p:close()
  end)

  it("needs its socket", function()
    local ok, message, errno, failure = core.spawn { plan = core.plan { step("clone", {}), step("wait", "start"),
      step("exec", { argv = { "/bin/true" } }) } }
    assert.is_nil(ok)
    assert.same({ 9, "wait" }, { errno, failure.step })
    assert.matches("no descriptor in the slot", message)
  end)
end)

describe("core.socket", function()
  it("does not wait for ever for who accepts nobody", function()
    local base = t.sh("mktemp -d"):match("%S+")
    local directory = assert(core.open(base, { "path", "directory" }))
    local listener = assert(core.socket.listen(directory, "start"))
    local helper = assert(core.helper(function()
      local held = {}
      for i = 1, 100 do
        local fd, _, errno = core.socket.connect(directory, "start", "seqpacket", 0.1)
        if not fd then os.exit(errno == core.errno.EAGAIN and #held > 5 and 7 or 8) end
        held[i] = fd
      end
    end, { directory }))
    local ended, late = core.pidfd.wait(helper, 5)
    core.pidfd.kill(helper, "KILL")
    assert.same({ 7 }, { ended and ended.code, late })
    os.execute("rm -rf " .. base)
    assert.has_error(function() core.socket.connect(directory, "start", "seqpacket", 0) end)
    helper:close()
    listener:close()
    directory:close()
  end)

  it("finds names below a folder of any depth", function()
    local base = t.sh("mktemp -d"):match("%S+")
    local deep = base .. ("/" .. ("d"):rep(100)):rep(3)
    os.execute("mkdir -p " .. deep)
    local directory = assert(core.open(deep, { "path", "directory" }))
    local listener = assert(core.socket.listen(directory, "name"))
    assert.equal("socket", core.lstat(deep .. "/name").type)
    local c = assert(core.socket.connect(directory, "name"))
    assert.same({ nil, 98 }, { (core.socket.listen(directory, "name")), (select(3, core.socket.listen(directory, "name"))) })
    assert.same({ nil, 2 }, { (core.socket.connect(directory, "other")), (select(3, core.socket.connect(directory, "other"))) })
    assert.equal(91, (select(3, core.socket.connect(directory, "name", "stream"))))
    assert.has_error(function() core.socket.listen(directory, "a/b") end)
    assert.has_error(function() core.socket.listen(directory, "a\0b") end)
    assert.has_error(function() core.socket.listen(directory, ("x"):rep(200)) end)
    c:close()
    listener:close()
    directory:close()
    os.execute("rm -rf " .. base)
  end)
end)
