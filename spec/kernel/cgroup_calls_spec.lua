-- The calls of core.cgroup: made, written, entered, read, killed and removed directly; and what they refuse.
local t = require "support"
local g = require "support.cgroup"
local core = t.core

local function hierarchy()
  local found
  for _, h in ipairs(g.env().hierarchies) do
    if h.mount and h.own and (h.version == 2 or h.controllers[1] == "pids") then
      if not found or h.version == 1 then found = h end
    end
  end
  return found
end

describe("core.cgroup", function()
  it("detects what /proc and the mounts say, for anybody", function()
    local list = assert(core.cgroup.detect())
    local lines = 0
    for line in t.read_file("/proc/self/cgroup"):gmatch("[^\n]+") do
      lines = lines + 1
      local controllers, path = line:match("^%d+:([^:]*):(.*)$")
      local h = list[lines]
      assert.equal(path, h.path)
      assert.equal(controllers == "" and 2 or 1, h.version)
      if h.version == 1 then assert.equal(controllers, table.concat(h.controllers, ",")) end
      if h.own then
        local writable = t.sh("test -w " .. h.own .. " && echo yes") == "yes\n"
        assert.is_true(h.own_writable == writable or h.version == 2)
        assert.equal(writable, core.cgroup.writable(h.own))
        assert.truthy(core.cgroup.procs(h.own))
      end
    end
    assert.equal(#list, lines)
  end)

  it("refuses what is not a group", function()
    local fds = t.count_fds()
    for _, case in ipairs {
      { core.cgroup.open, "/tmp" }, { core.cgroup.open, "/nonexistent" }, { core.cgroup.open, "/proc/self/cgroup" },
      { core.cgroup.read, "/tmp", "cgroup.procs" }, { core.cgroup.procs, "/tmp" }, { core.cgroup.kill, "/tmp" },
      { core.cgroup.remove, "/tmp/x" }, { core.cgroup.remove, "x" }, { core.cgroup.remove, "/" },
      { core.cgroup.sweep, "/tmp", "", "" }, { core.cgroup.signal, "/tmp", 15 }, { core.cgroup.device_programs, 0 }, { core.cgroup.read, 0, "cgroup.procs" },
    } do
      local ok, message, errno = case[1](case[2], case[3], case[4])
      assert.is_nil(ok)
      assert.is_string(message)
      assert.is_number(errno)
    end
    collectgarbage()
    assert.is_true(t.count_fds() <= fds)
  end)

  it("raises what is a misuse", function()
    assert.has_error(function() core.cgroup.open(5) end)
    assert.has_error(function() core.cgroup.open("/sys\0/x") end)
    assert.has_error(function() core.cgroup.remove("/sys/fs/cgroup\0/x") end)
    assert.has_error(function() core.cgroup.kill(-1) end)
    assert.has_error(function() core.cgroup.kill(0, -1) end)
    assert.has_error(function() core.cgroup.kill(0, 0 / 0) end)
    assert.has_error(function() core.cgroup.create { "x" } end, "cgroup.create: option 'at' is missing")
    assert.has_error(function() core.cgroup.set { file = "x", valeu = "1" } end,
      "cgroup.set: unknown option 'valeu' (did you mean 'value'?)")
    local dir = assert(core.open("/", { "read", "directory" }))
    dir:close()
    assert.has_error(function() core.cgroup.procs(dir) end, "the descriptor is closed")
  end)

  describe("with a group of its own", function()
    if not t.needs("root") then return end
    local h = hierarchy()
    local name = g.prefix .. "call"
    local dir

    before_each(function() dir = assert(core.cgroup.create { name, at = h.own }) end)
    after_each(function()
      dir:close()
      assert(core.cgroup.remove(h.own .. "/" .. name))
      assert.equal("", g.left())
    end)

    it("writes and reads its files", function()
      if h.version == 1 then
        assert(core.cgroup.set { group = dir, file = "pids.max", value = "33" })
        assert.equal("33\n", core.cgroup.read(dir, "pids.max"))
      else
        assert(core.cgroup.set { group = dir, file = "cgroup.max.depth", value = "33" })
        assert.equal("33\n", core.cgroup.read(dir, "cgroup.max.depth"))
      end
      assert.equal("", core.cgroup.read(h.own .. "/" .. name, "cgroup.procs"))
    end)

    it("watches its files, and nothing outside; 64 of them", function()
      local watch = assert(core.cgroup.watch())
      local before = t.count_fds()
      for _, file in ipairs { "../cgroup.procs", "/etc/hostname", "", ".", "..", "a/b", "no.such" } do
        local ok, message, errno = watch:file(dir, file)
        assert.is_nil(ok)
        assert.is_true(errno == core.errno.EINVAL or errno == core.errno.ENOENT, message)
        ok, _, errno = watch:pressure(dir, file, "some 150000 1000000")
        assert.is_nil(ok)
        assert.is_true(errno == core.errno.EINVAL or errno == core.errno.ENOENT)
      end
      assert.is_nil((watch:oom(dir))) -- of another controller, or v2
      assert.equal(before, t.count_fds())
      if h.version == 2 then
        for i = 1, 64 do assert.equal(i, (assert(watch:file(dir, "cgroup.events")))) end
        local ok, _, errno = watch:file(dir, "cgroup.events")
        assert.is_nil(ok)
        assert.equal(core.errno.ENOSPC, errno)
      end
      assert.same({}, watch:ready())
      watch:close()
      watch:close()
      assert.has_error(function() watch:ready() end, "the watch is closed")
      assert.has_error(function() core.cgroup.signal(dir, "NOSUCH") end)
      assert.equal(0, core.cgroup.signal(dir, "TERM")) -- nobody is in it
    end)

    it("lets go of a group that is gone, once, though a fork holds a copy of the descriptor", function()
      local v2 = g.env("v2").hierarchies[1]
      if not v2 then return end
      local watch = assert(core.cgroup.watch())
      local gone = assert(core.cgroup.create { name .. "-gone", at = v2.own })
      assert(watch:file(gone, "cgroup.events"))
      local first, second, other
      assert(t.run({ t.step("clone", {}), t.step("lua", { name = "look" }, { side = "parent" }), t.step("lua", { name = "idle" }) },
        { functions = { idle = function() end, look = function()
          assert(core.cgroup.set { group = gone, file = "cgroup.freeze", value = "1" }) -- something to tell
          gone:close()
          assert(core.cgroup.remove(v2.own .. "/" .. name .. "-gone"))
          first = watch:ready()
          other = { assert(core.open("/etc/passwd")), assert(core.open("/etc/passwd")) }
          second = watch:ready()
        end } }))
      watch:close()
      assert.same({ { 1, false } }, first)
      assert.same({}, second)
      for _, fd in ipairs(other) do
        assert.matches("root", fd:read(100))
        fd:close()
      end
    end)

    it("takes no file outside of it", function()
      for _, file in ipairs { "../cgroup.procs", "/etc/hostname", "", ".", "..", "a/b" } do
        local ok, _, errno = core.cgroup.set { group = dir, file = file, value = "0" }
        assert.is_nil(ok)
        assert.equal(core.errno.EINVAL, errno)
        ok, _, errno = core.cgroup.read(dir, file)
        assert.is_nil(ok)
        assert.equal(core.errno.EINVAL, errno)
      end
      local ok, message, errno = core.cgroup.set { group = dir, file = "no.such", value = "1" }
      assert.is_nil(ok)
      assert.truthy(message:match("^cgroup%.set no%.such = 1: "), message)
      assert.equal(core.errno.ENOENT, errno)
    end)

    it("makes no group outside of where it may", function()
      local before = t.sh("find /sys/fs/cgroup -type d -name '" .. g.prefix .. "*'")
      for _, path in ipairs { "../" .. name .. "2", "a/../../x", "/" .. name .. "2", ".", "..", "a//b", "x/",
        name .. "/..", ("x"):rep(300) } do
        local ok, message, errno = core.cgroup.create { path, at = h.own .. "/" .. name }
        assert.is_nil(ok)
        assert.is_true(errno == core.errno.EINVAL or errno == core.errno.ENAMETOOLONG, message)
      end
      local ok, message = core.cgroup.create { "x", at = "/tmp" }
      assert.is_nil(ok)
      assert.truthy(message:match("/tmp is not on a cgroup file system"), message)
      assert.equal(before, t.sh("find /sys/fs/cgroup -type d -name '" .. g.prefix .. "*'"))
    end)

    it("moves this process there and back", function()
      local home = assert(core.cgroup.open(h.own))
      assert(core.cgroup.attach { group = dir })
      local here = t.read_file("/proc/self/cgroup"):find(name, 1, true)
      local pids = assert(core.cgroup.procs(dir))
      assert(core.cgroup.attach { group = home })
      home:close()
      assert.truthy(here)
      assert.same({ t.getpid() }, pids)
      assert.is_nil(t.read_file("/proc/self/cgroup"):find(name, 1, true))
    end)

    it("gives names of the run's own, that nobody else has", function()
      local one = assert(core.cgroup.create { name .. "/b-*", at = h.own, existing = true })
      local two = assert(core.cgroup.create { name .. "/b-*", at = h.own, existing = true })
      assert.equal("2\n", t.sh(("ls -d %s/%s/b-* | wc -l"):format(h.own, name)))
      -- both are held
      assert.equal(0, core.cgroup.sweep(dir, "b-", ""))
      two:close()
      assert.equal(1, core.cgroup.sweep(dir, "b-", ""))
      assert.equal(0, core.cgroup.sweep(dir, "", ""))
      one:close()
      assert.equal(1, core.cgroup.sweep(dir, "b-", ""))
    end)

    it("sweeps nothing of a group that lives on after its host", function()
      local path = name .. "/b-" .. ("0"):rep(16)
      local live = h.own .. "/" .. path
      local process, groups = g.start({ path = path, existing = true }, { "/bin/sleep", "100" })
      assert(os.execute("mkdir -p " .. live .. "/inner")) -- by itself it could go
      local orphan = assert(core.cgroup.create { name .. "/b-*", at = h.own, existing = true })
      orphan:close()
      if h.version == 1 then
        core.cgroup.attach { group = assert(core.cgroup.open(live)) }
      end
      local n = core.cgroup.sweep(dir, "b-", "")
      local inner = core.lstat(live .. "/inner")
      if h.version == 1 then core.cgroup.attach { group = assert(core.cgroup.open(h.own)) } end
      groups:close()
      process:close()
      assert.equal(1, n)
      assert.is_table(inner)
    end)

    it("does not remove what is in use", function()
      local process, groups = g.start({ path = name .. "/busy", existing = true }, { "/bin/sleep", "100" })
      if h.version == 1 then assert(core.cgroup.attach { group = dir }) end
      local ok, _, errno = core.cgroup.remove(h.own .. "/" .. name, 0)
      if h.version == 1 then assert(core.cgroup.attach { group = assert(core.cgroup.open(h.own)) }) end
      groups:close()
      process:close()
      assert.is_nil(ok)
      assert.equal(core.errno.EBUSY, errno)
    end)

    it("removes the group that is held, with what is below, but not what is in use", function()
      local path = h.own .. "/" .. name
      local below = assert(core.cgroup.create { "below", at = path })
      local process, groups = g.start({ path = name .. "/below", existing = true, pids = { max = 8 } },
        { "/bin/sleep", "100" })
      local ok, _, errno = core.cgroup.remove(path, 0, 0, dir)
      assert.is_nil(ok)
      assert.equal(core.errno.EBUSY, errno)
      assert.is_true(core.cgroup.kill(dir)) -- it has no process of its own
      assert.equal(9, assert(process:wait(10)).signal)
      groups:close()
      process:close()
      below:close()
      assert.is_true(core.cgroup.remove(path, 10, 0, dir))
      assert.is_nil(core.lstat(path))
      assert.is_true(core.cgroup.remove(path, 0, 0, dir)) -- which is gone
      assert.is_true(core.cgroup.kill(dir) or h.version == 2)
      -- one that is empty, by its directory alone; beside it is another of no concern
      local empty, other = assert(core.cgroup.create { name, at = h.own }), h.own .. "/" .. name .. "-other"
      assert(core.cgroup.create { name .. "-other", at = h.own }):close()
      assert.is_true(core.cgroup.remove(path, 0, 0, empty))
      assert.is_nil(core.lstat(path))
      assert.is_table(core.lstat(other))
      assert(core.cgroup.remove(other))
      empty:close()
      assert.has_error(function() core.cgroup.remove(path, 0, 0, empty) end, "the descriptor is closed")
      -- what is no group's directory is not looked at
      local root = assert(core.open("/", { "read", "directory" }))
      assert.is_true(core.cgroup.remove(path, 0, 0, root))
      root:close()
    end)

    it("has no step that runs on an empty slot", function()
      for _, s in ipairs { t.step("cgroup.set", { file = "x", value = "1", group = "nothing" }),
        t.step("cgroup.attach", { group = "nothing" }) } do
        local ok, message, errno = t.run { s, t.step("clone", {}) }
        assert.is_nil(ok)
        assert.truthy(message:match("no group is there"), message)
        assert.equal(core.errno.EBADF, errno)
      end
    end)
  end)
end)
