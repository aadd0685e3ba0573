-- The engine between host, runner and child: who may die when, and what is left then.
local t = require "support"
local core, step = t.core, t.step

local function parent(name) return step("lua", { name = name }, { side = "parent" }) end
local function child(name) return step("lua", { name = name }) end

-- pids of this process's children, but for one
local function children(but)
  local list = {}
  for pid in (t.read_file("/proc/self/task/" .. t.getpid() .. "/children") or ""):gmatch("%d+") do
    if tonumber(pid) ~= but then list[#list + 1] = tonumber(pid) end
  end
  return list
end

local function kill(pid)
  os.execute("kill -KILL " .. pid)
  for _ = 1, 1000 do -- until it is a zombie
    local state = (t.read_file("/proc/" .. pid .. "/stat") or ""):match("%) (%u)")
    if state == nil or state == "Z" then return end
  end
end

describe("A child that is killed before its program runs", function()
  it("is named with the step it was at, in a sync", function()
    local ok, message, errno, failure = t.run({ step("clone", {}), parent "kill", step("umask", "022") },
      { functions = { kill = kill } })
    assert.is_nil(ok)
    assert.equal("step 2, lua[1] kill: killed by signal 9 (KILL) before its program was executed", message)
    assert.equal(0, errno)
    assert.equal(9, failure.signal)
    assert.equal(2, failure.number)
    assert.equal(0, #children())
  end)

  it("is named with the step it was at, in a step of its own", function()
    local ok, message = t.run({ step("clone", {}), step("umask", "022"), child "kill" },
      { functions = { kill = function() os.execute("kill -SEGV $PPID; sleep 10") end } })
    assert.is_nil(ok)
    assert.equal("step 3, lua[1] kill: killed by signal 11 (SEGV) before its program was executed", message)
    assert.equal(0, #children())
  end)

  it("is waited for by nobody but its host", function()
    local other = io.popen("sleep 0.05; exit 0") -- a child of the host's own
    assert.is_nil((t.run({ step("clone", {}), parent "kill" }, { functions = { kill = kill } })))
    assert.equal(1, #children())
    local closed, _, code = other:close()
    assert.is_true(closed)
    assert.is_true(code == nil or code == 0)
  end)
end)

describe("A runner that is killed", function()
  local function kill_runner(pid)
    local others = children(pid)
    assert(#others == 1, "one runner")
    kill(others[1])
  end

  it("takes the child with it, in a sync", function()
    local ok, message, errno = t.run({ step("clone", {}), parent "kill", step("umask", "022") },
      { functions = { kill = kill_runner } })
    assert.is_nil(ok)
    assert.equal("the container: killed by signal 9 (KILL) before its program was executed", message)
    assert.equal(0, errno)
    assert.equal(0, #children())
  end)

  it("takes the child with it, when that is a fork's", function()
    local ok, message = t.run({ step("clone", {}), parent "kill", child "idle" },
      { functions = { kill = kill_runner, idle = function() end } })
    assert.is_nil(ok)
    assert.equal("the container: killed by signal 9 (KILL) before its program was executed", message)
    assert.equal(0, #children())
  end)
end)

describe("Lua steps", function()
  it("see the child's pid on the parent's side and run in its namespaces on the child's", function()
    local seen
    local upvalue = "kept"
    local r = assert(t.run({ step("clone", t.is_root and { "uts" } or { "user", "uts" }), step("hostname", "inner"),
      parent "out", child "in" }, { script = "cat /proc/sys/kernel/hostname; umask", functions = {
        out = function(pid) seen = t.read_file("/proc/" .. pid .. "/stat"):match("^%d+") end,
        ["in"] = function()
          assert(upvalue == "kept" and t.read_file("/proc/sys/kernel/hostname") == "inner\n")
          core.umask("0027")
        end } }))
    assert.equal(tostring(r.pid), seen)
    assert.equal("inner\n0027\n", r.output)
  end)

  it("that raise fail the step with the message and where it was raised", function()
    for _, side in ipairs { parent, child } do
      local ok, message, errno, failure = t.run({ step("clone", {}), side "broken" },
        { functions = { broken = function() error("no such luck") end } })
      assert.is_nil(ok)
      assert.truthy(message:find("step 2, lua[1] broken: ", 1, true))
      assert.truthy(message:find("engine_spec.lua:%d+: no such luck"))
      assert.equal(core.errno.ECANCELED, errno)
      assert.equal("lua", failure.step)
      assert.equal(0, #children())
    end
  end)

  it("that raise what is no string fail all the same", function()
    local ok, message = t.run({ step("clone", {}), child "broken" }, { functions = { broken = function() error({}) end } })
    assert.is_nil(ok)
    assert.truthy(message:find("an error that is no string", 1, true))
  end)

  it("fail with the errno that they return", function()
    local ok, message, errno = t.run({ step("clone", {}), child "f" },
      { functions = { f = function() return nil, "not today", core.errno.EBUSY end } })
    assert.is_nil(ok)
    assert.equal("step 2, lua[1] f: not today: Device or resource busy (EBUSY)", message)
    assert.equal(core.errno.EBUSY, errno)
  end)

  it("may spawn, on either side", function()
    local function spawn()
      local r = assert(t.run({ step("clone", {}) }, { script = "echo from a hook" }))
      assert(r.output == "from a hook\n" and r.code == 0)
    end
    for _, side in ipairs { parent, child } do
      local r = assert(t.run({ step("clone", {}), side "spawn" }, { script = "echo done", functions = { spawn = spawn } }))
      assert.equal("done\n", r.output)
    end
    assert.equal(0, #children())
  end)

  it("of which the run has no function fail", function()
    local ok, message, errno = t.run({ step("clone", {}), child "nobody" })
    assert.is_nil(ok)
    assert.truthy(message:find("the run has no function called nobody", 1, true))
    assert.equal(core.errno.ENOENT, errno)
  end)

  it("leave what the host had buffered to the host", function()
    local path = os.tmpname()
    local f = io.open(path, "w")
    f:write("once\n")
    assert(t.run({ step("clone", {}), child "f" }, { functions = { f = function() end } }))
    f:close()
    assert.equal("once\n", t.read_file(path))
    os.remove(path)
  end)
end)

describe("Who speaks for the child", function()
  local has_ffi, ffi = pcall(require, "ffi")
  if not has_ffi then return end
  pcall(ffi.cdef, [[
    struct csnspec_message { uint32_t kind, step; int32_t err, pid, signal; uint64_t exec_ns; uint32_t skipped, detail_len; char detail[192]; };
    struct csnspec_fds { size_t len; int level, type, fd[2]; };
    struct csnspec_iov { const void *base; size_t len; };
    struct csnspec_msghdr { void *name; unsigned name_len; const void *iov; size_t iov_len; void *control; size_t control_len; int flags; };
    long sendmsg(int, const void *, int); ]])

  -- Say it on every socket of this process, with two descriptors where so.
  local function say(kind, number, with_fds)
    local m, fds = ffi.new("struct csnspec_message"), ffi.new("struct csnspec_fds")
    local iov, h = ffi.new("struct csnspec_iov"), ffi.new("struct csnspec_msghdr")
    m.kind, m.step = kind, number
    fds.len, fds.level, fds.type = 24, 1, 1
    iov.base, iov.len = m, ffi.sizeof(m)
    h.iov, h.iov_len = iov, 1
    if with_fds then h.control, h.control_len = fds, 24 end
    for fd = 3, 63 do ffi.C.sendmsg(fd, h, 0x4000) end
  end

  it("leaves the host no descriptor that it has not asked for", function()
    local before = t.count_fds()
    local ok, _, errno = t.run({ step("clone", {}), child "say" }, { script = "true", functions = { say = function()
      for _ = 1, 3 do say(1, 0, true) end
    end } })
    assert.same({ nil, core.errno.EBADMSG }, { ok, errno })
    assert.equal(before, t.count_fds())
  end)

  it("can't have a step of the host's left out", function()
    local ok, _, errno = t.run({ step("clone", {}), child "say", parent "count" }, { script = "true", functions = {
      count = function() end, say = function() say(6, 4) end } })
    assert.same({ nil, core.errno.EBADMSG }, { ok, errno })
  end)

  it("gets no step of the host's done again", function()
    local n = 0
    local ok, _, errno = t.run({ step("clone", {}), parent "count", child "say" }, { script = "true", functions = {
      count = function() n = n + 1 end, say = function() say(3, 1) end } })
    assert.equal(1, n)
    assert.same({ nil, core.errno.EBADMSG }, { ok, errno })
  end)
end)

describe("Plans of any size", function()
  it("run: 64 KiB, a byte less, a byte more, and more than 1 MiB", function()
    for _, size in ipairs { 60000, 65000, 65300, 65400, 65500, 65600, 130000, 1200000 } do
      local env = { "LAST=yes" }
      for i = 1, math.floor(size / 100000) do env[#env + 1] = ("V%d=%s"):format(i, ("x"):rep(99990)) end
      env[#env + 1] = "W=" .. ("y"):rep(size % 100000)
      local r = assert(t.run({ step("clone", {}) }, { argv = { "/bin/sh", "-c", "echo $LAST ${#W}" }, env = env }))
      assert.equal("yes " .. size % 100000 .. "\n", r.output)
    end
  end)

  it("run with 16000 steps, and refuse more than 16384", function()
    local steps = { step("clone", {}) }
    for i = 2, 16001 do steps[i] = step("umask", { mode = i % 512 }) end
    local r = assert(t.run(steps, { script = "umask" }))
    assert.equal(("%04o\n"):format(16001 % 512), r.output)
    for i = 16002, 16384 do steps[i] = steps[3] end
    assert.has_error(function() t.run(steps) end, "a plan has at most 16384 steps")
  end)

  it("tell of an optional step among many that was left out", function()
    local steps = { step("clone", {}) }
    for i = 2, 600 do steps[i] = step("umask", "022") end
    steps[300] = step("chdir", "/nonexistent", { optional = true })
    steps[599] = step("chdir", "/nonexistent/either", { optional = true })
    local r = assert(t.run(steps))
    assert.same({ [300] = 2, [599] = 2 }, r.skipped)
  end)

  it("fail at any step with the errno that is injected there", function()
    local steps = { parent "a", step("clone", {}), step("umask", "022"), parent "a", step("umask", "077") }
    for i = 1, 6 do
      local ok, _, errno, failure = t.run(steps, { functions = { a = function() end },
        fail = { step = i, errno = core.errno.EXDEV } })
      assert.is_nil(ok)
      assert.equal(core.errno.EXDEV, errno)
      assert.equal(i, failure.number)
      assert.equal("EXDEV", failure.code)
    end
    assert.equal(0, #children())
  end)
end)

describe("What the host does meanwhile", function()
  local function spawn(steps, meanwhile, fork)
    steps[#steps + 1] = step("exec", { argv = { "true" } })
    return core.spawn { plan = core.plan(steps), fork = fork, meanwhile = meanwhile,
      functions = { a = function() end } }
  end

  it("is called once, when time is, for the runner, a fork and a plan of very many steps", function()
    local many = { step("clone", {}) }
    for i = 2, 1100 do many[i] = step("umask", "022") end
    for _, fork in ipairs { false, true } do
      for _, steps in ipairs { { step("clone", {}) }, many } do
        local list = {}
        for i, s in ipairs(steps) do list[i] = s end
        local n = 0
        local p = assert(spawn(list, function() n = n + 1 end, fork))
        assert.equal(1, n)
        assert.equal(0, assert(p:wait(10)).code)
      end
      local order, known = {}, nil
      local p = assert(core.spawn { fork = fork, meanwhile = function(pid) order[#order + 1], known = "meanwhile", pid end,
        functions = { a = function() order[#order + 1] = "sync" end },
        plan = core.plan { step("clone", {}), parent "a", step("umask", "022"), parent "a",
          step("exec", { argv = { "true" } }) } })
      assert.equal(0, assert(p:wait(10)).code)
      assert.equal("sync meanwhile sync", table.concat(order, " "))
      assert.equal(p:pid(), known)
    end
  end)

  it("gives the construction up, which leaves nothing, where it fails", function()
    local fds = t.count_fds()
    for _, fork in ipairs { false, true } do
      local ok, message, errno = spawn({ step("clone", {}) }, function() return nil, "no room", 28 end, fork)
      assert.is_nil(ok)
      assert.matches("no room", message, 1, true)
      assert.equal(28, errno)
      ok, message, errno = spawn({ step("clone", {}) }, function() error "oh" end, fork)
      assert.is_nil(ok)
      assert.matches("oh", message, 1, true)
      assert.equal(core.errno.ECANCELED, errno)
    end
    assert.equal(0, #children())
    assert.equal(fds, t.count_fds())
    assert.has_error(function() spawn({ step("clone", {}) }, "now") end, "option 'meanwhile': function expected, got string")
  end)
end)

describe("Many runs", function()
  it("leave no descriptor and no zombie, whether they succeed or fail", function()
    local good = { step("clone", {}), step("umask", "022") }
    local bad = { step("clone", {}), step("chdir", "/nonexistent") }
    assert(t.run(good))
    local before = t.count_fds()
    for i = 1, 200 do
      assert(t.run(good))
      local ok, _, errno = t.run(bad, { fork = i % 10 == 0 })
      assert(ok == nil and errno == 2)
    end
    assert.equal(before, t.count_fds())
    assert.equal(0, #children())
  end)

  it("whose process object is dropped leave neither", function()
    local before = t.count_fds()
    for _ = 1, 20 do
      assert(core.spawn { plan = core.plan { step("clone", {}), step("exec", { argv = { "sleep", "100" } }) } })
    end
    assert.equal(before, t.count_fds())
    assert.equal(0, #children())
  end)

  it("refused for a bad slot leave neither", function()
    local plan = core.plan { step("clone", {}), step("exec", { argv = { "true" }, files = { "stdin", "stdout" } }) }
    local null = assert(core.open("/dev/null"))
    local before = t.count_fds()
    for _ = 1, 20 do
      local ok, message, errno = core.spawn { plan = plan, slots = { stdin = null, stdout = 987654 } }
      assert.is_nil(ok)
      assert.equal("slot stdout: descriptor 987654: Bad file descriptor (EBADF)", message)
      assert.equal(core.errno.EBADF, errno)
    end
    assert.equal(before, t.count_fds())
  end)
end)

describe("process:wait", function()
  local plan = core.plan { step("clone", {}), step("exec", { argv = { "sleep", "0.2" } }) }

  it("returns after its time limit, and the same status as often as it is asked", function()
    local p = assert(core.spawn { plan = plan })
    assert.same({ nil, "timeout" }, { p:wait(0) })
    assert.same({ nil, "timeout" }, { p:wait(0.01) })
    local status = assert(p:wait(10))
    assert.equal(0, status.code)
    assert.same(status, p:wait())
    p:close()
    assert.same(status, p:wait())
    local ok, _, errno = p:kill()
    assert.is_nil(ok)
    assert.equal(core.errno.ESRCH, errno)
  end)
end)

describe("A plan that ends with a function of the child's side", function()
  it("ends the child behind it, in whose namespaces it has run", function()
    if not t.needs("userns") then return end
    local r, w = assert(core.pipe())
    local p = assert(core.spawn { plan = core.plan(t.steps(t.contained { "uts" }, child "look")),
      functions = { look = function() w:write(t.namespace "uts") end } })
    w:close()
    assert.is_not.equal(t.namespace "uts", t.slurp(r))
    assert.equal(0, assert(p:wait(5)).code)
    r:close()
    p:close()
  end)

  it("tells of its failure", function()
    local ok, message, errno, failure = core.spawn { plan = core.plan { step("clone", {}), child "fail" },
      functions = { fail = function() return nil, "no", 5 end } }
    assert.same({ nil, "step 2, lua[1] fail: no: Input/output error (EIO)", 5, 2 }, { ok, message, errno, failure.number })
    assert.equal(0, #children())
  end)

  it("is the only one that may be without exec", function()
    for _, last in ipairs { step("umask", "022"), parent "f" } do
      assert.has_error(function() core.spawn { plan = core.plan { step("clone", {}), last } } end,
        "the plan has no exec step")
    end
  end)
end)
