-- What making a child must not do to the host, and what the host's death must not leave behind.
local t = require "support"
local step = t.step

local every_kind = { [false] = "by the runner", [true] = "by a fork" }

-- All that the kernel tells of this process and a child could have changed.
local function host_state()
  local status = t.read_file("/proc/self/status")
  local s = { cwd = t.core.lstat("/proc/self/cwd").target, root = t.core.lstat("/proc/self/root").target,
    oom = t.read_file("/proc/self/oom_score_adj"), attributes = t.core.attributes(), identity = t.core.identity(),
    cgroup = t.read_file("/proc/self/cgroup"), timerslack = t.read_file("/proc/self/timerslack_ns"),
    coredump = t.read_file("/proc/self/coredump_filter") }
  for _, key in ipairs { "Umask", "SigBlk", "SigIgn", "SigCgt", "Seccomp", "NoNewPrivs", "CapEff", "THP_enabled" } do
    s[key] = status:match("\n" .. key .. ":%s*([^\n]*)")
  end
  for _, n in ipairs { "user", "mnt", "pid", "pid_for_children", "net", "ipc", "uts", "cgroup", "time", "time_for_children" } do
    s["ns " .. n] = t.namespace(n)
  end
  return s
end

describe("the host", function()
  if not t.needs("userns") then return end

  local everything = function(last)
    local me = t.core.identity()
    return { step("clone", { "user", "mount", "pid", "net", "ipc", "uts", "time" }),
      step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" }),
      step("time_offsets", { monotonic = 5 }), step("hostname", "x"), step("session"), step("umask", "0"),
      step("oom_score_adj", 900), step("nice", 10), step("scheduler", { "batch" }), step("ioprio", { "idle" }),
      step("rlimit", { "core", soft = 0 }), step("personality", { domain = "linux32" }), step("keyring", "x"),
      step("subreaper"), step("dumpable", false), step("capabilities", { bounding = {}, permitted = {}, effective = {} }),
      step("no_new_privs"), last }
  end

  for fork, how in pairs(every_kind) do
    it("is as it was after a child made " .. how, function()
      local before = host_state()
      assert(t.run(everything(), { fork = fork }))
      assert.same(before, host_state())
    end)

    it("is as it was after a failure, " .. how, function()
      local before, fds, children = host_state(), t.count_fds(), t.count_children()
      assert.is_nil((t.run(everything(step("umask", "1000")), { fork = fork })))
      assert.is_nil((t.run(everything(), { fork = fork, argv = { "/no/such" } })))
      for n = 1, #everything() do
        local ok, _, errno, failure = t.run(everything(), { fork = fork, fail = { step = n, errno = 5 } })
        assert.same({ nil, 5, n }, { ok, errno, failure.number })
      end
      assert.same(before, host_state())
      assert.equal(fds, t.count_fds())
      assert.equal(children, t.count_children())
    end)

    it("passes on neither its ignored nor its blocked signals, " .. how, function()
      if t.sh("env --ignore-signal=INT --block-signal=USR1 echo ok 2>/dev/null") ~= "ok\n" then
        return pending("needs env(1) of coreutils 8.31")
      end
      local code = t.lua_command(([[
        local core = require "caisson.core"
        local r, w = core.pipe()
        local function show(blocked)
          local p = assert(core.spawn { fork = %s, slots = { stdin = core.open "/dev/null", stdout = w }, plan = core.plan {
            { step = "exec", options = { argv = { "cat", "/proc/self/status" }, blocked = blocked,
              files = { "stdin", "stdout" } } } } })
          p:wait()
          return r:read():match "SigBlk.-SigCgt[^\n]*\n"
        end
        io.write(show {}, show { "USR2", "HUP" })
        for l in io.lines "/proc/self/status" do if l:match "^Sig[BI]" then io.write(l, "\n") end end]]):format(tostring(fork)))
      local out = t.sh("env --ignore-signal=PIPE --ignore-signal=CHLD --block-signal=USR1 " .. code)
      local function sig(blocked) return ("SigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n"):format(blocked, 0, 0) end
      local none, two, host = sig(0), sig(2 ^ 11 + 1), "SigBlk:\t0000000000000200\n"
      assert.equal(none .. two .. host, out:sub(1, #none + #two + #host))
      local ignored = tonumber(out:match("(%x+)\n$"), 16)
      assert.truthy(math.floor(ignored / 2 ^ 12) % 2 == 1 and math.floor(ignored / 2 ^ 16) % 2 == 1)
    end)

    it("passes on no descriptor but those listed, " .. how, function()
      local leak = assert(t.core.open("/etc/passwd"))
      -- one that survives exec, as a careless host would have it
      local ok, ffi = pcall(require, "ffi")
      if ok then
        pcall(ffi.cdef, "int fcntl(int, int, ...);")
        ffi.C.fcntl(leak:fileno(), 2, ffi.cast("long", 0)) -- F_SETFD: not close-on-exec
      end
      local r = assert(t.run({}, { argv = { "ls", "/proc/self/fd" }, fork = fork }))
      assert.equal("0\n1\n2\n3\n", r.output) -- 3 is the directory that ls has opened
      r = assert(t.run({}, { argv = { "ls", "/proc/self/fd" }, files = { "stdin", "stdout", "-", "leak" },
        slots = { leak = leak }, fork = fork }))
      assert.equal("0\n1\n2\n3\n", r.output) -- 2 is the directory that ls has opened
      leak:close()
    end)
  end
end)

describe("a host of several threads", function()
  it("forks for Lua steps while the others raise errors and compile", function()
    if not t.needs("cc") then return end
    if not rawget(_G, "jit") then return pending("Lua without a compiler has nothing to hold the lock with") end
    local host = require "support.host"
    finally(host.clean)
    -- libgcc's lock on its table of frames is in no atfork handler's care: a fork may find it held for ever
    local done = os.tmpname()
    os.remove(done)
    local out = host.run([[
      local code = ]] .. ("%q"):format(([[
        local core, t = require "caisson.core", require "support"
        if thread == 1 then
          local ok, message = pcall(function()
            for i = 1, 15 do
              assert(t.run({ t.step("clone", {}), t.step("lua", { name = "f" }) }, { script = "true",
                functions = { f = function() for k = 1, 200 do pcall(error, {}) end end } }))
            end
          end)
          io.open(%q, "w"):close()
          assert(ok, message)
        else
          while not io.open(%q) do
            for k = 1, 50 do pcall(error, "x") end
            jit.flush()
            assert(loadstring "local n = 0 for i = 1, 300 do n = n + i end return n")()
          end
        end]]):format(done, done)) .. [[
      for _, e in ipairs(host.threads(4, code, 1)) do print(e) end
      print "finished"]])
    os.remove(done)
    assert.equal("finished\n", out)
  end)
end)

describe("files", function()
  local function text(s) return assert(t.core.memfd("x", s)) end

  it("lay descriptors on any numbers, also crosswise and twice", function()
    local a, b = text "a", text "b"
    local given = { a = a, b = b }
    -- a plan's slots hold duplicates from 3 on; every order must come out right
    for _, order in ipairs { { "a", "b" }, { "b", "a" }, { "a", "a" }, { "b", "-", "a" } } do
      local files, want, script, slots = { "stdin", "stdout", "stdout" }, "", "", {}
      for i, name in ipairs(order) do
        files[3 + i], slots[name] = name, given[name]
        if name == "-" then
          script, want = script .. "[ -e /proc/self/fd/4 ] || echo -n closed;", want .. "closed"
        else
          script, want = script .. ("cat /proc/self/fd/%d;"):format(2 + i), want .. name
        end
      end
      assert.equal(want, assert(t.run({}, { files = files, slots = slots, script = script })).output)
    end
    a:close()
    b:close()
  end)

  it("fail for an empty slot, naming the step", function()
    local ok, message, errno = t.run({}, { files = { "stdin", "stdout", "nothing" } })
    assert.is_nil(ok)
    assert.equal(9, errno)
    assert.matches("exec%[1%].*no descriptor in the slot", message)
  end)
end)

describe("a host that ignores SIGCHLD", function()
  if not t.needs("userns") then return end

  it("has an init that sees its program's end all the same", function()
    local code = t.lua_command [[
      local core = require "caisson.core"
      for _, fork in ipairs { false, true } do
        local p = assert(core.spawn { fork = fork, plan = core.plan { { step = "exec", options = { argv = { "true" }, init = true } } } })
        for _ = 1, 100 do
          if not io.open("/proc/" .. p:pid() .. "/stat") then io.write "ended\n" break end
          os.execute "sleep 0.02"
        end
        p:close()
      end]]
    assert.equal("ended\nended\n", t.sh("env --ignore-signal=CHLD " .. code))
  end)
end)

describe("the host's death by SIGKILL", function()
  if not t.needs("userns") then return end

  local marker = 0
  -- Run the code as a host of its own that gets killed; then nothing with the marker may be alive, nor
  -- the child, whose pid the host has printed. `extra` is a seconds value that only our sleeps have.
  local function nothing_left(code)
    marker = marker + 1
    local seconds = ("60.%d%03d"):format(t.getpid(), marker)
    local out = t.host(([[
      local core = require "caisson.core"
      local me = core.identity()
      local function die() io.stdout:flush() os.execute("kill -9 " .. me.pid) while true do end end
      local function say(pid) io.write("child ", pid, "\n") io.stdout:flush() end
      local user = { step = "clone", options = { "user", "pid" } }
      local same_pids = { step = "clone", options = { "user" } }
      local map = { step = "idmap", options = { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" } }
      local function lua(name, side) return { step = "lua", options = name, side = side } end
      local function program(o)
        local e = { argv = { "sleep", %q } }
        for k, v in pairs(o or {}) do e[k] = v end
        return { step = "exec", options = e }
      end
      %s
      io.write "survived"]]):format(seconds, code) .. "\n")
    local pid = out:match("child (%d+)")
    assert.truthy(pid, out)
    assert.is_nil(out:find("survived"))
    local state
    for _ = 1, 100 do
      state = (t.read_file("/proc/" .. pid .. "/stat") or ""):match("^%d+ %b() (%a)")
      if not state or state == "Z" then break end
      t.sh("sleep 0.02")
    end
    assert.truthy(not state or state == "Z", "the child lives on: " .. (t.read_file("/proc/" .. pid .. "/status") or ""))
    assert.equal("", t.sh("pgrep -f 'sleep " .. seconds:gsub("%.", "[.]") .. "'"))
  end

  it("while the child waits for it leaves nothing", function()
    nothing_left [[core.spawn { plan = core.plan { user, map, lua("die", "parent"), program() },
      functions = { die = function(pid) say(pid) die() end } }]]
  end)

  it("while the child waits, as init to be, leaves nothing", function()
    nothing_left [[core.spawn { plan = core.plan { user, map, lua("die", "parent"), program { init = true } },
      functions = { die = function(pid) say(pid) die() end } }]]
  end)

  it("while a step of the child's runs leaves nothing", function()
    nothing_left [[core.spawn { plan = core.plan { same_pids, map, lua("note", "parent"), lua "kill", program() },
      functions = { note = say, kill = function() os.execute("kill -9 " .. me.pid) os.execute("sleep 0.05") end } }]]
  end)

  it("while a step of the child's never ends leaves nothing", function()
    nothing_left [[core.spawn { plan = core.plan { same_pids, map, lua("note", "parent"), lua "hang", program() },
      functions = { note = say, hang = function()
        os.execute("kill -9 " .. me.pid) local late = os.time() + 5 while os.time() < late do end end } }]]
  end)

  -- A change of credentials clears the death signal: it is armed again before exec, and the socket tells
  -- whether the host has died in between.
  it("after a change of credentials, before exec, leaves nothing", function()
    if not t.needs("root") then return end
    for _, init in ipairs { "false", "true" } do
      nothing_left(([[core.spawn { plan = core.plan { lua("note", "parent"), { step = "uid", options = { 1000, keep_capabilities = true } },
        { step = "capabilities", options = { effective = { "kill" },
        inheritable = { "kill" }, ambient = { "kill" } } }, lua "kill", program { init = %s } },
        functions = { note = say, kill = function() os.execute("kill -9 " .. me.pid) os.execute("sleep 0.05") end } }]]):format(init))
    end
  end)

  it("at a sync after a change of credentials leaves nothing", function()
    if not t.needs("root") then return end
    nothing_left [[core.spawn { plan = core.plan { { step = "uid", options = 1000 }, lua("die", "parent"), program() },
      functions = { die = function(pid) say(pid) die() end } }]]
  end)

  it("when the program runs leaves nothing, with init or without, in a pid namespace or not", function()
    for _, init in ipairs { "false", "true" } do
      for _, clone in ipairs { "user, map,", "" } do
        nothing_left(([[local p = assert(core.spawn { plan = core.plan { %s program { init = %s } } })
          say(p:pid()) os.execute("sleep 0.02") die()]]):format(clone, init))
      end
    end
  end)

  it("when the program runs as another user leaves nothing", function()
    if not t.needs("root") then return end
    for _, init in ipairs { "false", "true" } do
      nothing_left(([[local p = assert(core.spawn { plan = core.plan { { step = "gid", options = 1000 },
          { step = "uid", options = 1000 }, { step = "no_new_privs" }, program { init = %s } } })
        say(p:pid()) os.execute("sleep 0.02") die()]]):format(init))
    end
  end)

  it("sends the signal that was asked for, or none", function()
    local function after_death(signal)
      local out = t.sh("mktemp /tmp/caisson.XXXXXX"):match("%S+")
      local pid = t.host(([[
        local core = require "caisson.core"
        local r, w = core.pipe()
        local p = assert(core.spawn { slots = { stdout = w }, plan = core.plan { { step = "exec", options = { death_signal = %q, argv = { "/bin/sh", "-c",
          "trap 'echo term > %s; exit' TERM; echo up; i=0; while [ $i -lt 25 ]; do sleep 0.02; i=$((i+1)); done; echo done > %s" },
          files = { "-", "stdout" } } } } })
        r:read() io.write(p:pid()) io.stdout:flush()
        os.execute("kill -9 " .. core.identity().pid) while true do end]]):format(signal, out, out))
      assert.truthy(tonumber(pid))
      for _ = 1, 60 do
        if (t.core.lstat(out) or {}).size ~= 0 then break end
        t.sh("sleep 0.02")
      end
      local said = t.read_file(out)
      os.remove(out)
      return said
    end
    assert.equal("term\n", after_death("TERM"))
    assert.equal("done\n", after_death("none"))
  end)

  it("at any instant leaves nothing", function()
    -- a host that does nothing but make containers, killed after a time that is never the same
    local seconds = ("61.%d"):format(t.getpid())
    local code = t.lua_command(([[
      local core = require "caisson.core"
      local me = core.identity()
      local plan = core.plan { { step = "clone", options = { "user", "pid", "mount", "net", "ipc", "uts" } },
        { step = "idmap", options = { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" } },
        { step = "capabilities", options = { bounding = {}, permitted = {}, effective = {} } },
        { step = "exec", options = { argv = { "sleep", %q }, init = true } } }
      local keep = {}
      while true do
        keep[#keep + 1] = core.spawn { plan = plan, fork = #keep %% 2 == 1 }
        if #keep > 8 then for _, p in ipairs(keep) do p:close() end keep = {} end
      end]]):format(seconds))
    local command, file = code:match("^(.*); rm %-f (%S+)$")
    for i = 1, 12 do
      -- the shell reports its killed job; nobody needs to know
      t.sh(("{ timeout -s KILL 0.0%d %s; } > /dev/null 2>&1"):format(11 + i * 7, command))
    end
    os.remove(file)
    local left
    for _ = 1, 100 do
      left = t.sh("pgrep -f 'sleep " .. seconds:gsub("%.", "[.]") .. "'")
      if left == "" then break end
      t.sh("sleep 0.02")
    end
    assert.equal("", left)
  end)
end)

describe("functions of a run", function()
  if not t.needs("userns") then return end

  it("that raise stop it, with their traceback, and leave nothing", function()
    local children, fds = t.count_children(), t.count_fds()
    for _, side in ipairs { "parent", "child" } do
      local ok, message, errno, failure = t.run(t.steps(t.contained { "uts" }, step("lua", { name = "bad" }, { side = side })),
        { functions = { bad = function() error("no good") end } })
      assert.is_nil(ok)
      assert.equal(125, errno)
      assert.equal("lua", failure.step)
      assert.matches("no good", message)
      ok, message, errno = t.run({ step("lua", { name = "bad" }, { side = side }) },
        { functions = { bad = function() return nil, "not today", 11 end } })
      assert.is_nil(ok)
      assert.equal(11, errno)
      assert.matches("lua%[1%] bad: not today", message)
      ok = t.run({ step("lua", { name = "bad" }, { side = side }) }, { functions = { bad = function() error({}) end } })
      assert.is_nil(ok)
      ok, message, errno = t.run({ step("lua", { name = "missing" }, { side = side }) }, { functions = {} })
      assert.is_nil(ok)
      assert.equal(2, errno)
      assert.matches("no function called missing", message)
    end
    assert.equal(children, t.count_children())
    assert.equal(fds, t.count_fds())
  end)

  it("may start runs of their own, on either side", function()
    for _, side in ipairs { "parent", "child" } do
      for _, inner_fork in ipairs { false, true } do
        local r, w = assert(t.core.pipe())
        local result = assert(t.run(t.steps(t.contained { "pid", "uts" }, step("lua", { name = "nested" }, { side = side })),
          { script = "echo outer", functions = { nested = function()
            local inner = assert(t.run({ step("umask", "027") }, { script = "umask", fork = inner_fork }))
            w:write(inner.output)
          end } }))
        assert.equal("outer\n", result.output)
        assert.equal("0027\n", r:read())
        r:close()
        w:close()
      end
    end
  end)
end)
