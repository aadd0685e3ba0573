-- Methods of a container that no other spec calls as such, for root and for a user without groups; and what it is
-- started by, in the hands of its own root.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local process = require "caisson.process"
local core = t.core

if not t.needs("userns") then return end

local root, number = nil, 0

local function create(script, options)
  number = number + 1
  local def = { extends = "sandbox", args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "null", stderr = "null" }
  for k, v in pairs(options or {}) do def[k] = v end
  return assert(caisson.create(caisson.recipe(def), { id = ("method%d-%d"):format(t.getpid(), number), root = root }))
end

describe("A container's method", function()
  local c
  setup(function() root = t.sh("mktemp -d"):match("%S+") end)
  teardown(function() os.execute("rm -rf " .. root) end)
  after_each(function()
    if c then c:delete { force = true } end
    c = nil
    collectgarbage()
    assert.same({}, core.list(root))
  end)

  it("exec starts another process in it, running or not yet, with the result of a run", function()
    c = create("sleep 30")
    local pid = c:state().pid
    local spec = { args = { "/bin/sh", "-c", "for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done; cat; exit 4" },
      stdin = { data = "in" }, stdout = "capture" }
    for _ = 1, 2 do
      local r = assert(c:exec(spec)):wait()
      assert.same({ "exited", 4 }, { r.status, r.code })
      local want = {}
      for i, n in ipairs { "mnt", "pid", "net", "ipc", "uts" } do want[i] = t.namespace(n, pid) .. "\n" end
      assert.equal(table.concat(want) .. "in", r.stdout)
      if c:state().status == "created" then assert(c:start()) end
    end
    assert.equal("running", c:state().status)
    -- one that lasts is among its processes, then not
    local p = assert(c:exec { args = { "/bin/sleep", "20" }, stdin = "null", stdout = "null", stderr = "null" })
    local function has(n)
      for _, one in ipairs(assert(c:ps())) do if one == n then return true end end
      return false
    end
    assert.is_true(has(p:pid()))
    local number_of = p:pid()
    p:close()
    assert.is_false(has(number_of))
    local ok, _, errno = c:exec { args = { "/nonexistent" } }
    assert.same({ nil, core.errno.ENOENT }, { ok, errno })
    assert.has_error(function() c:exec({ args = { "x" } }, { dtach = true }) end)
    assert(c:kill("KILL"))
    assert(c:wait(5))
    ok, _, errno = c:exec { args = { "/bin/true" } }
    assert.same({ nil, core.errno.ESRCH }, { ok, errno })
  end)

  it("events tells its end, with the status, once", function()
    c = create("exit 7")
    local events = assert(c:events())
    assert.same({}, events:wait(0.02))
    assert(c:start())
    local seen = {}
    repeat
      for _, e in ipairs(events:wait(5)) do seen[#seen + 1] = e end
    until events.ended
    local last = seen[#seen]
    assert.same({ "exit", 7 }, { last.type, last.code })
    events:close()
  end)

  it("stats counts what it has used, pause and update act; or there is no cgroup, and each says so", function()
    c = create("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 30")
    assert(c:start())
    if #c.saved.cgroup > 0 then
      local before = assert(c:stats()).cpu_ns
      for _ = 1, 300 do
        if c:stats().cpu_ns > before + 1e6 then break end
        core.poll({}, 0.01)
      end
      assert.truthy(c:stats().cpu_ns > before)
      assert(c:pause())
      local now = c:stats().cpu_ns
      core.poll({}, 0.05)
      assert.truthy(c:stats().cpu_ns - now < 2e7)
      assert(c:resume())
    else
      for _, f in ipairs { function() return c:stats() end, function() return c:pause() end,
        function() return c:update { pids = { max = 5 } } end, function() return c:events { pressure = { cpu = { some = 0.1 } } } end } do
        local ok, message, errno = f()
        assert.same({ nil, core.errno.EOPNOTSUPP }, { ok, errno })
        assert.truthy(message:find("no cgroup", 1, true), message)
      end
    end
    assert.equal("running", c:state().status)
  end)
end)

-- The kernel has the first process of a pid namespace wait until all others in it are reaped: those that have joined,
-- by this process.
describe("A container's end", function()
  local sleep = { args = { "/bin/sleep", "60" }, stdin = "null", stdout = "null", stderr = "null" }
  local children, fds, from
  before_each(function()
    assert(core.runner()):close()
    children, fds, from = t.count_children(), t.count_fds(), core.now()
  end)
  after_each(function()
    collectgarbage()
    collectgarbage()
    assert.same({ children, fds }, { t.count_children(), t.count_fds() })
    assert.truthy(core.now() - from < 5e9)
  end)

  it("does not wait for the object of a process that joined, which keeps its status", function()
    local running, target = j.container({}, false)
    local p = assert(process.start(target, sleep))
    running:close()
    assert.same({ "signalled", 9 }, { p:wait().status, p:wait().signal })
  end)

  it("does not wait for one that was detached", function()
    local running, target = j.container({}, false)
    for _, args in ipairs { { "/bin/true" }, { "/bin/sleep", "60" } } do
      assert(process.start(target, { args = args, detach = true, stdin = "null", stdout = "null", stderr = "null" })):close()
    end
    running:close()
    core.poll({}, 0.05)
  end)

  it("is seen by poll, by wait, and by delete", function()
    root = t.sh("mktemp -d"):match("%S+")
    local running, target = j.container({}, false)
    local p = assert(process.start(target, sleep))
    assert(running:kill("KILL"))
    assert.truthy(assert(core.poll({ { fd = running.process:end_fd() } }, 4))[1])
    assert.equal(9, running:wait().signal)
    p:close()
    for _, way in ipairs { "wait", "delete" } do
      local c = create("sleep 60")
      p = assert(c:exec(sleep))
      if way == "wait" then
        assert(c:kill("KILL"))
        assert.equal(9, assert(c:wait(4)).signal)
      end
      assert(c:delete { force = true })
      assert.equal(9, p:wait().signal)
    end
    os.execute("rm -rf " .. root)
  end)
end)

describe("What a container is started by", function()
  it("can't be changed by who has it open: it is sealed (CVE-2019-5736)", function()
    root = t.sh("mktemp -d"):match("%S+")
    local c = create("true")
    local exe = ("/proc/%d/exe"):format(c:state().pid)
    local sum = t.sh("cksum < " .. exe)
    local refused = t.sh("exec 2>&1; echo x > " .. exe)
    assert.truthy(refused:find("Text file busy", 1, true) or refused:find("ermission denied", 1, true), refused)
    -- and once nobody runs it
    local fd = assert(core.open(exe, "read"))
    assert(c:kill("KILL"))
    assert(c:wait(5))
    local own
    for n = 3, 200 do
      local st = core.lstat("/proc/self/fd/" .. n)
      if st and st.target and st.target:find("memfd:caisson", 1, true) then own = n end
    end
    assert.truthy(own)
    local path = ("/proc/%d/fd/%d"):format(t.getpid(), own)
    local said = t.sh(("exec 2>&1; echo x > %s; echo x | dd of=%s conv=notrunc; cksum < %s"):format(path, path, path))
    fd:close()
    assert.truthy(said:find(sum, 1, true), said)
    local _, refusals = said:gsub("not permitted", "")
    local _, denied = said:gsub("ermission denied", "")
    assert.truthy(refusals + denied >= 2, said)
    assert(c:delete())
    os.execute("rm -rf " .. root)
  end)

  it("is not the host's library or interpreter, nor its runner, where /proc/self/exe is what is executed", function()
    local running, target = j.container({}, false)
    local host = core.realpath("/proc/self/exe")
    local sum = t.sh("cksum " .. host)
    -- who executes it gets the sealed runner, which does nothing for who has no work for it
    local r = assert(j.run(target, { args = { "/proc/self/exe", "-e", "print(1)" } }))
    assert.same({ "exited", "" }, { r.status, r.stdout })
    -- a process inside that goes for each that comes
    local p = assert(process.start(target, { args = { "/bin/sh", "-c",
      "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in *memfd*) echo x > $p/exe && echo overwritten;; esac; done; done" },
      stdin = "null", stdout = "pipe", stderr = "null" }))
    for _ = 1, 20 do assert.equal(0, assert(j.run(target, { args = { "/bin/true" } })).code) end
    p.stdout:nonblock(true)
    assert.is_nil((p.stdout:read()))
    p:close()
    assert.equal(sum, t.sh("cksum " .. host))
    running:close()
  end)

  it("is bound to the CPUs of affinity's initial, its program to the final ones", function()
    if not (t.read_file("/proc/self/status")):match("Cpus_allowed_list:\t0[,-]") then return pending("one CPU alone") end
    local running, target = j.container({}, false)
    local now = "grep Cpus_allowed_list /proc/self/status"
    assert.equal("Cpus_allowed_list:\t0\n", j.output(target, now, { affinity = { initial = "0" } }))
    assert.equal("Cpus_allowed_list:\t1\n", j.output(target, now, { affinity = { initial = "0", final = "1" } }))
    running:close()
  end)
end)
