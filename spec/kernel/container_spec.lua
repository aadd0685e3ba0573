-- Containers that are created, started and deleted, by one process or several.
local t = require "support"
local remains = require "support.remains"
local caisson = require "caisson"
local core = t.core

if not t.needs("userns") then return end

local root = t.sh("mktemp -d"):match("%S+")
local number = 0

local function new_id()
  number = number + 1
  return ("spec%d-%d"):format(t.getpid(), number)
end

local function recipe(options)
  local def = { extends = "sandbox", args = { "/bin/sh", "-c", "exit 3" } }
  for k, v in pairs(options or {}) do def[k] = v end
  return caisson.recipe(def)
end

local function create(options, opts)
  local o = { id = new_id(), root = root, stdin = "null" }
  for k, v in pairs(opts or {}) do o[k] = v end
  return caisson.create(recipe(options), o)
end

-- Lua code in a process of its own, which has `caisson`, `core`, `root` and this recipe as r.
local function other(code, options)
  return t.sh("exec 2>&1; " .. t.lua_command(([[
    local caisson, core, root = require "caisson", require "caisson.core", %q
    local r = caisson.recipe { extends = "sandbox", args = { "/bin/sh", "-c", %q } }
    ]]):format(root, options and options.script or "exit 3") .. code))
end

-- The groups that the containers of this spec may have left.
local function groups_left()
  return t.sh("find /sys/fs/cgroup -type d -name 'caisson-spec" .. t.getpid() .. "-*' 2>/dev/null")
end

local function nothing_left()
  local ids = core.list(root)
  for _, id in ipairs(ids) do require("caisson.container").delete(id, { root = root, force = true }) end
  assert.same({}, ids)
  assert.equal("", groups_left())
end

local function status(c) return assert(c:state()).status end

-- Wait until a check answers true.
local function eventually(check)
  for _ = 1, 300 do
    if check() then return true end
    core.poll({}, 0.01)
  end
  return false
end

describe("A container", function()
  local fds, children
  before_each(function() fds, children = t.count_fds(), remains.children() end)
  after_each(function()
    collectgarbage()
    nothing_left()
    assert.same({ fds, children }, { t.count_fds(), remains.children() })
  end)
  teardown(function() os.execute("rm -rf " .. root) end)

  -- What a creation gave whose step i fails: it, where that one is optional, or the failure.
  local function fails_at(plan, i, made, _, _, failure)
    if made then
      assert.is_true(plan.steps[i].optional)
      made:delete { force = true }
    else
      assert.equal(i, failure.number)
    end
  end

  it("waits for its start as the runner, then runs, ends and is deleted", function()
    local c = assert(create({ args = { "/bin/sh", "-c", "echo ran; exit 3" } }, { stdout = "pipe", annotations = { a = "b" },
      bundle = "/some/where" }))
    local s = assert(c:state())
    assert.same({ ociVersion = "1.2.0", id = c.id, status = "created", pid = s.pid, bundle = "/some/where",
      annotations = { a = "b" }, created = s.created, owner = core.identity().euid }, s)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", s.created)
    assert.equal("/memfd:caisson (deleted)\n", t.sh("readlink /proc/" .. s.pid .. "/exe"))
    assert.same({ s.pid }, assert(c:ps()))
    local listed = assert(caisson.list { root = root })
    assert.same({ c.id, "created", s.pid }, { listed[1].id, listed[1].status, listed[1].pid })
    assert.same({ nil, "timeout" }, { c:wait(0) })
    assert(c:start())
    assert.equal("ran\n", t.slurp(c.stdout))
    assert.equal(3, assert(c:wait(5)).code)
    assert.equal("stopped", status(c))
    assert.is_nil(assert(c:state()).pid)
    assert.same({ true, {} }, { c:delete() })
    assert.is_nil(core.lstat(root .. "/" .. c.id))
  end)

  it("is created, started and deleted by three processes", function()
    local id = new_id()
    local out = other(("local c = assert(caisson.create(r, { id = %q, root = root, stdin = 'null', stdout = 'null', stderr = 'null' })) print(c:state().pid)"):format(id),
      { script = "sleep 30" })
    local pid = tonumber(out:match("^(%d+)\n$"))
    assert.is_truthy(pid, out)
    assert.equal("caisson-wait\n", t.read_file("/proc/" .. pid .. "/comm"))
    assert.equal("created\n", other(("print(assert(caisson.open(%q, { root = root })):state().status)"):format(id)))
    assert.equal("true\n", other(("print(assert(caisson.open(%q, { root = root })):start())"):format(id)))
    local c = assert(caisson.open(id, { root = root }))
    assert.equal("running", status(c))
    assert.equal(pid, c:state().pid)
    assert.equal("caisson-init\n", t.read_file("/proc/" .. pid .. "/comm"))
    assert.is_true(eventually(function() return #assert(c:ps()) >= 2 end))
    local _, message, errno = c:delete()
    assert.same({ ("container '%s' is running: stop it first, or force its deletion"):format(id), 16 }, { message, errno })
    assert(c:kill("TERM"))
    assert(c:wait(5))
    assert.equal("true\n", other(("print((assert(caisson.open(%q, { root = root })):delete()))"):format(id)))
  end)

  it("is ended by kill while it waits", function()
    local c = assert(create())
    assert(c:kill("TERM"))
    assert.equal(143, assert(c:wait(5)).code)
    local ok, message, errno = c:start()
    assert.same({ nil, ("container '%s' is stopped"):format(c.id), 3 }, { ok, message, errno })
    assert.equal(3, (select(3, c:kill("TERM"))))
    assert(c:delete())
  end)

  it("gets a signal as a whole, or its program alone", function()
    local c = assert(create({ args = { "/bin/sh", "-c", "trap 'echo program' USR1; sh -c 'trap \"echo child\" USR1; " ..
      "echo ready; while :; do sleep 0.05; done' & while :; do sleep 0.05; done" } }, { stdout = "pipe", stderr = "null" }))
    assert(c:start())
    assert.equal("ready\n", c.stdout:read())
    assert(c:kill("USR1"))
    assert.equal("program\n", c.stdout:read())
    -- to all: the sleeps die of it, the shells say so
    assert(c:kill("USR1", { all = true }))
    local text = ""
    while not (text:find("program\n", 1, true) and text:find("child\n", 1, true)) do text = text .. c.stdout:read() end
    assert(c:kill("KILL", { all = true }))
    assert(c:wait(5))
    assert.is_true(eventually(function() return c:state().status == "stopped" end))
    assert(c:delete())
  end)

  it("stands still while it is paused", function()
    if not t.needs("root") then return end
    local c = assert(create({ args = { "/bin/sh", "-c", "while :; do echo; sleep 0.005; done" } }, { stdout = "pipe" }))
    assert(c:pause())
    assert.equal("paused", status(c))
    assert.matches("is paused: resume it first", (select(2, c:start())))
    assert(c:resume())
    assert.equal("created", status(c))
    assert(c:start())
    assert.equal("\n", c.stdout:read(1))
    assert(c:pause())
    assert.equal("paused", status(c))
    assert.equal("paused\n", other(("print(assert(caisson.open(%q, { root = root })):state().status)"):format(c.id)))
    c.stdout:nonblock(true)
    while c.stdout:read() do end
    core.poll({}, 0.05)
    assert.equal(11, (select(3, c.stdout:read())))
    assert.equal(16, (select(3, c:pause())))
    assert(c:resume())
    assert.is_true(eventually(function() return c.stdout:read() ~= nil end))
    assert.matches("is not paused: it is running", (select(2, c:resume())))
    assert(c:pause())
    assert(c:delete { force = true }) -- frozen or not
  end)

  it("that is frozen by others while it is started holds nobody for ever, and is given up", function()
    if not t.needs("root") then return end
    local c = assert(create { args = { "/bin/true" } })
    local connect, others = core.socket.connect, nil
    finally(function() core.socket.connect = connect end)
    core.socket.connect = function(...) -- the last moment before
      others = assert(require("caisson.cgroup").reopen(c.saved.cgroup))
      assert(others:freeze())
      return connect(...)
    end
    local ok, message, errno = c:start()
    others:close()
    assert.same({ nil, core.errno.EBUSY }, { ok, errno })
    assert.matches("it is frozen", message)
    assert.equal("stopped", status(c))
    assert(c:delete())
  end)

  it("has its end written down by whoever looks at it before it is reaped", function()
    if not t.needs("root") then return end -- nobody else is told by /proc
    for _, look in ipairs { "assert(caisson.open(%q, { root = root })):state()", "assert(caisson.list { root = root }) -- %q" } do
      local c = assert(create { args = { "/bin/sh", "-c", "exit 7" } })
      assert(c:start())
      core.poll({ { fd = c.pidfd } }, 5)
      assert.equal("", other(look:format(c.id)))
      assert.equal(7, core.pidfd.wait(c.pidfd, 5).code) -- reaped
      assert.equal("7\n", other(("print(assert(caisson.open(%q, { root = root })):wait(5).code)"):format(c.id)))
      assert(c:delete())
    end
  end)

  it("has its limits changed while it runs", function()
    if not t.needs("root") then return end
    local c = assert(create({ args = { "/bin/sleep", "30" }, cgroup = { pids = { max = 20 } } }))
    assert(c:start())
    local file
    for _, g in ipairs(c.saved.cgroup) do
      local path = g.path .. "/pids.max"
      if t.read_file(path) then file = path end
    end
    assert.equal("20\n", t.read_file(file))
    assert(c:update { pids = { max = 10 } })
    assert.equal("10\n", t.read_file(file))
    assert.is_number(assert(c:stats()).cpu_ns)
    assert.has_error(function() c:update { pids = { max = "many" } } end)
    assert.equal("10\n", t.read_file(file))
    assert(c:delete { force = true })
  end)

  it("is found by its processes without a group too", function()
    if t.is_root then return end
    local c = assert(create({ args = { "/bin/sh", "-c", "sleep 30 & sleep 30 & wait" } }))
    assert.equal(0, #c.saved.cgroup)
    assert(c:start())
    assert.is_true(eventually(function() return #assert(c:ps()) == 4 end))
    assert.matches("has no cgroup", (select(2, c:pause())))
    assert(c:kill("KILL", { all = true }))
    assert(c:wait(5))
    assert(c:delete())
  end)

  it("runs more processes, from any process, while it waits too", function()
    local c = assert(create({ args = { "/bin/sleep", "30" } }))
    local r = assert(c:exec { args = { "/bin/sh", "-c",
      "readlink /proc/self/ns/pid; grep -h -e Seccomp: -e NoNewPrivs /proc/self/status" }, stdout = "capture" }):wait()
    assert.equal(t.namespace("pid", c:state().pid) .. "\nNoNewPrivs:\t1\nSeccomp:\t2\n", r.stdout)
    assert(c:start())
    local out = other(([[
      local c = assert(caisson.open(%q, { root = root }))
      local r = assert(c:exec({ args = { "/bin/sh", "-c", "echo $1; exit 7", "x", "inside" }, stdout = "capture" })):wait()
      print(r.code, r.stdout)]]):format(c.id))
    assert.equal("7\tinside\n\n", out)
    assert.has_error(function() c:exec({ args = { "x" } }, { detatch = true }) end,
      "exec: unknown option 'detatch' (did you mean 'detach'?)")
    assert(c:delete { force = true })
    assert.equal(2, (select(3, c:exec { args = { "/bin/true" } })))
  end)

  it("has mounts added and taken away while it runs", function()
    local c = assert(create({ args = { "/bin/sleep", "30" } }))
    assert(c:start())
    local function see()
      return assert(c:exec({ args = { "/bin/sh", "-c", "grep -c ' /tmp/more ' /proc/self/mountinfo" },
        stdout = "capture" })):wait().stdout
    end
    assert.equal("0\n", see())
    assert(c:mount { tmpfs = "/tmp/more", size = 65536 })
    assert.equal("1\n", see())
    assert(c:unmount("/tmp/more"))
    assert.equal("0\n", see())
    assert.is_nil((c:unmount("/tmp/more")))
    assert(c:delete { force = true })
  end)

  it("tells its end among its events", function()
    local c = assert(create())
    local e = assert(c:events())
    assert.same({}, e:wait(0))
    assert(c:start())
    local last
    repeat for _, event in ipairs(e:wait(5)) do last = event end until e.ended
    assert.same({ "exit", 3 }, { last.type, last.code })
    e:close()
    local again = assert(caisson.open(c.id, { root = root }))
    assert.equal("3", tostring(assert(again:wait(0)).code)) -- as written down, and no 3.0
    again:close()
    assert(c:delete())
  end)

  it("takes no option of events that there is not, with a cgroup or without", function()
    local open = require("caisson.container.events").open
    for _, opts in ipairs { { presure = {} }, { oom = 1 }, { pressure = { cpu = {} } } } do
      assert.has_error(function() open({}, nil, opts) end)
    end
    local events, message, errno = open({}, nil, { pressure = { cpu = { some = 0.1 } } })
    assert.same({ nil, core.errno.EOPNOTSUPP }, { events, errno })
    assert.truthy(message:find("no cgroup", 1, true), message)
    assert(open({}, nil, { oom = false })):close()
  end)

  it("with a terminal holds nothing of its creator's streams while it waits", function()
    local id = new_id()
    assert.equal("0\n", other(([[
      local c = assert(caisson.create(caisson.recipe { extends = "sandbox", args = { "/bin/true" }, tty = true },
        { id = %q, root = root }))
      local own, held, at = core.lstat("/proc/self/fd/1").target, 0, ("/proc/%%d/fd/"):format(c:state().pid)
      for _, fd in ipairs(core.list(at) or {}) do -- which is root's to see
        if (core.lstat(at .. fd) or {}).target == own then held = held + 1 end
      end
      print(held)
      assert(c:delete { force = true })
      ]]):format(id)))
  end)

  it("is entered by nobody without a limit whose group somebody has removed", function()
    if not t.needs("root", "cgroup_v1") then return end
    local c = assert(create({ args = { "/bin/sleep", "100" }, cgroup = { pids = { max = 7 }, memory = { max = "64M" } } }))
    assert(c:start())
    local file = t.read_file("/proc/" .. c:state().pid .. "/cgroup")
    local path = "/sys/fs/cgroup/pids" .. file:match("pids:(/[^\n]*)")
    assert.equal("7\n", t.read_file(path .. "/pids.max"))
    assert.equal("", t.sh(("exec 2>&1; for p in $(cat %s/cgroup.procs); do echo $p > /sys/fs/cgroup/pids/cgroup.procs; done; rmdir %s"):format(path, path)))
    assert.is_nil(core.lstat(path))
    local again = assert(caisson.open(c.id, { root = root }))
    local ok, message, err = again:exec { args = { "/bin/true" } }
    assert.is_nil(ok)
    assert.equal(core.errno.ENOENT, err)
    assert.truthy(message:find("its group " .. path .. " is gone", 1, true), message)
    again:close()
    assert(c:delete { force = true })
  end)

  it("whose groups can't be opened is entered, started and deleted by nobody, as if it had none", function()
    local c = assert(create({ args = { "/bin/sleep", "100" } }))
    local state = t.read_file(root .. "/" .. c.id .. "/state.json")
    local function write(text)
      local f = assert(io.open(root .. "/" .. c.id .. "/state.json", "w"))
      f:write(text)
      f:close()
    end
    local changed = require("caisson.json").decode(state)
    changed.cgroup = { { path = "/", controllers = { "pids" }, version = 1 } } -- where no group is
    changed.pid, changed.start_time = nil, nil
    local text = require("caisson.json").document(changed):gsub("^{", ('{ "pid": %d, "start_time": %s,'):format(c:state().pid,
      state:match('"start_time": (%d+)')))
    local why = select(2, core.cgroup.open("/"))
    assert.truthy(why)
    write(text)
    local again = assert(caisson.open(c.id, { root = root }))
    for _, f in ipairs { function() return again:exec { args = { "/bin/true" } } end, function() return again:pause() end,
      function() return again:stats() end, function() return again:update { pids = { max = 5 } } end,
      function() return again:delete { force = true } end } do
      local ok, message = f()
      assert.is_nil(ok)
      assert.truthy(message:find(why, 1, true), message)
    end
    again:close()
    write(state)
    assert(c:delete { force = true })
  end)

  it("is told a signal that there is not, to all as to one", function()
    local c = assert(create())
    c.group, c.saved.cgroup = nil, nil
    local load = c.dir.load
    c.dir.load = function(dir)
      local s = load(dir)
      s.cgroup = nil
      return s
    end
    local ok, _, errno = c:kill(99, { all = true })
    assert.same({ nil, core.errno.EINVAL }, { ok, errno })
    c.dir.load = nil
    assert(c:delete { force = true })
  end)

  it("that another has made where a creation was interrupted is not taken for what that left", function()
    local id, states = new_id(), require("caisson.state")
    local dir = assert(states.create(root, id))
    dir:unlock() -- as who was killed
    local open, second = states.open, nil
    states.open = function(...)
      local old = open(...)
      local unlock = old.unlock
      old.unlock = function(d)
        unlock(d)
        if not second then -- the other one is faster
          states.open, second = open, true
          second = assert(create({}, { id = id }))
        end
      end
      return old
    end
    local c, _, errno = create({}, { id = id })
    states.open = open
    assert.same({ nil, core.errno.EEXIST }, { c, errno })
    assert.equal("created", status(second))
    assert(second:delete { force = true })
  end)

  it("is refused a second time, and found under its own name alone", function()
    local c = assert(create())
    assert.same({ nil, 17 }, { (create({}, { id = c.id })), (select(3, create({}, { id = c.id }))) })
    assert.equal(2, (select(3, caisson.open("nobody", { root = root }))))
    assert.equal(22, (select(3, caisson.open("../x", { root = root }))))
    assert.equal(22, (select(3, create({}, { id = "a/b" }))))
    assert.equal(2, (select(3, require("caisson.container").delete("nobody", { root = root }))))
    assert(c:delete { force = true })
    assert.equal(2, (select(3, c:state())))
    assert.equal(2, (select(3, c:start())))
  end)

  it("takes no option that it does not know, nor what it can't keep", function()
    assert.has_error(function() create({}, { bundel = "/" }) end,
      "create: unknown option 'bundel' (did you mean 'bundle'?)")
    assert.has_error(function() caisson.open("x", { rot = 1 }) end)
    assert.has_error(function() create({}, { annotations = { a = 1 } }) end)
    for _, case in ipairs { { { limits = { time = 1 } }, {}, "limits: nobody watches" },
      { {}, { stdout = "capture" }, "stdout: nobody reads it" }, { { stderr = print }, {}, "stderr: nobody reads it" },
      { { args = { "/nonexistent" } }, {}, "not in|No such file" } } do
      local ok, message = create(case[1], case[2])
      assert.is_nil(ok)
      local found = false
      for text in case[3]:gmatch("[^|]+") do found = found or message:find(text, 1, true) ~= nil end
      assert.is_true(found, message)
    end
  end)

  it("leaves nothing where a step of its construction fails", function()
    local c = assert(create({ cgroup = t.is_root and { pids = { max = 20 } } or nil }))
    local plan = assert(caisson.plan.from_json(c.dir:plan()))
    local wait = plan:find("wait")
    assert(c:delete { force = true })
    for i = 1, wait do
      fails_at(plan, i, create({ cgroup = t.is_root and { pids = { max = 20 } } or nil }, { fail = { step = i, errno = 5 } }))
    end
    nothing_left()
  end)

  it("whose plan can't be saved leaves nothing, and its name free", function()
    local state, id = require "caisson.state", new_id()
    local dir = assert(state.create(root, id))
    local Dir = getmetatable(dir).__index
    dir:remove()
    local save_plan = Dir.save_plan
    finally(function() Dir.save_plan = save_plan end)
    Dir.save_plan = function() return nil, "no room for it", core.errno.ENOSPC end
    local c, message, errno = create(nil, { id = id })
    assert.is_nil(c)
    assert.equal("no room for it", message)
    assert.equal(core.errno.ENOSPC, errno)
    assert.same({}, remains.children())
    nothing_left()
    Dir.save_plan = save_plan
    assert(assert(create(nil, { id = id })):delete { force = true })
  end)

  it("has ended where a step behind its start fails, which is named", function()
    local c = assert(create())
    local plan = assert(caisson.plan.from_json(c.dir:plan()))
    assert(c:delete { force = true })
    for i = plan:find("wait") + 1, #plan.steps do
      c = assert(create({}, { fail = { step = i, errno = 5 } }))
      local ok, message, errno, failure = c:start()
      if not plan.steps[i].optional then
        assert.is_nil(ok)
        assert.same({ 5, i, plan.steps[i].step }, { errno, failure.number, failure.step })
        assert.truthy(message:find(plan.steps[i].step, 1, true))
        assert.equal("stopped", status(c))
      end
      assert(c:delete { force = true })
    end
  end)

  it("is deleted cleanly, or not there, when its creator is killed at any instant", function()
    for i = 1, 24 do
      local id = new_id()
      t.sh("exec 2>/dev/null; " .. ("%s & pid=$!; sleep %.3f; kill -9 $pid; wait $pid"):format(
        t.lua_command(([[
          local caisson = require "caisson"
          local r = caisson.recipe { extends = "sandbox", args = { "/bin/sleep", "30" } }
          caisson.create(r, { id = %q, root = %q, stdin = "null", stdout = "null", stderr = "null" })
          require("caisson.core").poll({}, 1)]]):format(id, root)):match("^[^;]+"), 0.012 + i * 0.002))
      local dir = core.lstat(root .. "/" .. id)
      if dir then
        local c = caisson.open(id, { root = root })
        local pid = c and c:state().pid
        assert(require("caisson.container").delete(id, { root = root, force = true }))
        assert.same({}, remains.wait_gone { pid })
      end
    end
    nothing_left()
  end)

  it("is deleted while it waits by who says so, and not while it runs", function()
    local c = assert(create())
    assert.is_nil((c:delete()))
    assert.is_true(c:delete { waiting = true })
    c = assert(create({ init = false, args = { "/bin/sleep", "30" } }, { start = true }))
    local ok, _, errno, failure = c:delete { waiting = true }
    assert.is_nil(ok)
    assert.equal(core.errno.EBUSY, errno)
    assert.equal("running", failure.container)
    assert.equal("running", status(c))
    assert(c:kill "KILL")
    c:wait(10)
    assert.is_true(require("caisson.container").delete(c.id, { root = root, waiting = true }))
    nothing_left()
  end)

  it("runs at once where nobody has anything to do before its start, and else waits for it", function()
    local c = assert(create({ init = false, args = { "/bin/sleep", "30" } }, { start = true }))
    assert.equal("running", status(c))
    assert.equal("running", assert(caisson.open(c.id, { root = root })):state().status)
    local ok, _, _, failure = c:start()
    assert.is_nil(ok)
    assert.equal("running", failure.container)
    for _, kind in ipairs { "user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time" } do
      local st = core.lstat(("/proc/%d/ns/%s"):format(c.saved.pid, kind == "mount" and "mnt" or kind))
      assert.equal(st and tonumber(st.target:match("%d+")), assert(c.dir:load()).namespaces[kind], kind)
    end
    local r = assert(c:exec({ args = { "/bin/sh", "-c", "exit 4" } }))
    assert.equal(4, r:wait().code)
    assert(c:kill("TERM"))
    assert(c:kill("KILL"))
    assert.equal(9, c:wait(10).signal)
    assert(c:delete())
    for _, options in ipairs { { init = false, hooks = { poststop = { path = "/bin/true" } } }, { init = true },
      { init = false, tty = true } } do
      c = assert(caisson.create(recipe(options), { id = new_id(), root = root, start = true }))
      assert.equal("created", status(c))
      assert(c:delete { force = true })
    end
    -- one that has ended at once is known as well
    c = assert(create({ init = false }, { start = true }))
    assert.equal(3, c:wait(10).code)
    assert.truthy(assert(caisson.open(c.id, { root = root })).saved.namespaces.pid and not c:shares "pid")
    assert(c:delete())
    nothing_left()
  end)

  it("that can't run leaves nothing, where it is to at once", function()
    for _, options in ipairs { { init = false, args = { "/nowhere" } }, { init = false, cwd = "/nowhere" } } do
      local c, message, errno, failure = create(options, { start = true })
      assert.is_nil(c)
      assert.matches("/nowhere", message, 1, true)
      assert.equal(2, errno)
      assert.truthy(failure.number)
      nothing_left()
    end
    local c = assert(create({ init = false, args = { "/bin/sleep", "30" } }, { start = true }))
    local plan = assert(caisson.plan.from_json(c.dir:plan()))
    assert(c:delete { force = true })
    for i = 1, #plan.steps, 3 do
      fails_at(plan, i, create({ init = false, args = { "/bin/sleep", "30" } }, { start = true, fail = { step = i, errno = 5 } }))
    end
    nothing_left()
  end)

  it("that runs at once is deleted, with all that runs in it, when its creator is killed at any instant", function()
    local seen = {}
    for i = 1, 20 do
      local id, seconds = new_id(), ("%d%02d"):format(t.getpid(), i)
      t.sh("exec 2>/dev/null; " .. ("%s & pid=$!; sleep %.3f; kill -9 $pid; wait $pid"):format(
        t.lua_command(([[
          local caisson = require "caisson"
          local r = caisson.recipe { extends = "sandbox", init = false, args = { "/bin/sleep", %q } }
          caisson.create(r, { id = %q, root = %q, stdin = "null", stdout = "null", stderr = "null", start = true })
          require("caisson.core").poll({}, 1)]]):format(seconds, id, root)):match("^[^;]+"), 0.01 + i * 0.0025))
      local dir = core.lstat(root .. "/" .. id)
      if dir then
        local c = caisson.open(id, { root = root })
        seen[c and c:state().status or "nothing"] = true
        assert(require("caisson.container").delete(id, { root = root, force = true }))
      end
      assert.is_true(eventually(function()
        return t.sh("grep -lsz '^" .. seconds .. "$' /proc/[0-9]*/cmdline") == ""
      end))
    end
    assert.is_true(seen.running)
    nothing_left()
  end)

  it("is deleted cleanly when whoever starts it is killed at any instant", function()
    local seen = {}
    for i = 1, 16 do
      local c = assert(create({ args = { "/bin/sleep", "30" } }))
      t.sh("exec 2>/dev/null; " .. ("%s & pid=$!; sleep %.3f; kill -9 $pid; wait $pid"):format(
        t.lua_command(([[
          local c = assert(require("caisson").open(%q, { root = %q }))
          c:start()
          require("caisson.core").poll({}, 1)]]):format(c.id, root)):match("^[^;]+"), 0.008 + i * 0.0015))
      -- it waits still, or runs, or has ended with its start; and a start is tried again only if it waits
      local now = status(c)
      seen[now] = true
      assert.is_true(now == "created" or now == "running" or now == "stopped", now)
      local ok, message = c:start()
      if now ~= "created" then
        assert.is_nil(ok)
      elseif not ok then -- it had been told to start, and was about to
        now = status(c)
        assert.is_true(now == "running" or now == "stopped", now .. ": " .. message)
      end
      assert(c:delete { force = true })
    end
    assert.is_true(seen.created or seen.running)
  end)

  it("keeps a creator's death in its hook from leaving anything, and its name free", function()
    local id = new_id()
    local out = t.sh("exec 2>/dev/null; " .. t.lua_command(([[
      local caisson, core = require "caisson", require "caisson.core"
      local r = caisson.recipe { extends = "sandbox", args = { "/bin/true" }, hooks = { createRuntime = function(s)
        io.write(s.pid, "\n") io.stdout:flush()
        core.pidfd.kill(core.pidfd.open(core.identity().pid), "KILL")
      end } }
      caisson.create(r, { id = %q, root = %q, stdin = "null" })]]):format(id, root)))
    assert.same({}, remains.wait_gone { out:match("^(%d+)") })
    local c = assert(caisson.open(id, { root = root }))
    assert.equal("creating", c.saved.status)
    assert.equal("stopped", status(c))
    c = assert(create({}, { id = id }))
    assert.equal("created", status(c))
    assert(c:delete { force = true })
  end)

  it("that is damaged is listed, and deleted by force", function()
    local c = assert(create())
    local pid = c:state().pid
    local path = root .. "/" .. c.id .. "/state.json"
    local text = t.read_file(path)
    local f = assert(io.open(path, "w"))
    f:write(text:sub(1, math.floor(#text / 2)))
    f:close()
    local listed = assert(caisson.list { root = root })
    assert.same({ c.id, "damaged" }, { listed[1].id, listed[1].status })
    assert.equal(74, (select(3, caisson.open(c.id, { root = root }))))
    assert.is_nil((require("caisson.container").delete(c.id, { root = root })))
    assert(require("caisson.container").delete(c.id, { root = root, force = true }))
    assert.same({}, remains.wait_gone { pid })
    assert(c:wait(5))
    c:close()
  end)

  it("is never taken for the process that has its number by now", function()
    local c = assert(create())
    assert(c:kill("KILL"))
    assert(c:wait(5))
    local path = root .. "/" .. c.id .. "/state.json"
    local f = assert(io.open(path, "r"))
    local text = f:read("*a")
    f:close()
    -- our own number, with the container's time
    text = text:gsub('"pid": %d+', '"pid": ' .. t.getpid(), 1):gsub('"status": "%w+"', '"status": "running"', 1)
    f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    local again = assert(caisson.open(c.id, { root = root }))
    assert.equal("stopped", status(again))
    assert.equal(3, (select(3, again:kill("KILL"))))
    assert(again:delete { force = true })
    c:close()
  end)
end)
