-- Device rules as the kernel enforces them: v1 files, and v2 programs, which a hybrid machine has too.
local t = require "support"
local g = require "support.cgroup"
local cgroup = require "caisson.cgroup"
local devices = require "caisson.cgroup.devices"
local caisson = require "caisson"
local core = t.core

-- Opens and makes nodes, and says what came of it: "+" or the errno's name, for each word.
local function try(...)
  local parts = { "cd /tmp && d=$(mktemp -d) && cd $d\n" }
  for _, what in ipairs { ... } do
    local how, kind, major, minor = what:match("^(%a)(%a)(%d+):(%d+)$")
    local node = ("n%s_%s_%s"):format(kind, major, minor)
    if how == "m" then
      parts[#parts + 1] = ("mknod %s %s %s %s 2>/dev/null && printf + || printf -\n"):format(node, kind, major, minor)
    else
      local path = ("%s/%s"):format("$NODES", node)
      parts[#parts + 1] = ("(exec 3%s %s) 2>/dev/null && printf + || printf -\n"):format(
        how == "r" and "<" or how == "w" and ">" or "<>", path)
    end
  end
  parts[#parts + 1] = "cd /; rm -rf $d"
  return table.concat(parts)
end

describe("device rules", function()
  if not t.needs("root") then return end
  local nodes
  local worlds = {}
  for _, h in ipairs(g.env().hierarchies) do
    if h.mount and (h.version == 2 or h.controllers[1] == "devices") then worlds[#worlds + 1] = "v" .. h.version end
  end

  setup(function()
    nodes = t.sh("mktemp -d"):match("%S+")
    for _, n in ipairs { "c 1 3", "c 1 5", "c 1 1", "c 1 8", "c 1 11", "c 5 0", "c 10 229", "b 7 0" } do
      local name = "n" .. n:gsub(" ", "_")
      assert(os.execute(("mknod %s/%s %s"):format(nodes, name, n)))
    end
  end)
  teardown(function() os.execute("rm -r " .. nodes) end)
  after_each(function() assert.equal("", g.left()) end)

  it("are written one by one on v1: each that can be, and the first that can't is named", function()
    local h
    for _, each in ipairs(g.env("v1").hierarchies) do
      if each.mount and each.controllers[1] == "devices" then h = each end
    end
    if not h then return pending("needs the devices controller of v1") end
    local dir = assert(core.cgroup.create { g.prefix .. "more", at = h.own })
    finally(function()
      dir:close()
      assert(core.cgroup.remove(h.own .. "/" .. g.prefix .. "more"))
    end)
    assert(core.cgroup.set { group = dir, file = "devices.deny", value = "a" })
    local ok, message, errno = core.cgroup.set { group = dir, file = "devices.allow", value = "c 1:3 rwm",
      more = { "c 1:x rwm", "c 1:5 r", "z" } }
    assert.is_nil(ok)
    assert.equal(core.errno.EINVAL, errno)
    assert.matches("at c 1:x rwm", message, 1, true)
    assert.equal("c 1:3 rwm\nc 1:5 r\n", core.cgroup.read(dir, "devices.list"))
    assert.is_true(core.cgroup.set { group = dir, file = "devices.deny", value = "c 1:3 w", more = { "c 1:5 r" } })
    assert.equal("c 1:3 rm\n", core.cgroup.read(dir, "devices.list"))
    assert.equal(core.errno.ENOENT, select(3, core.cgroup.set { group = dir, file = "devices.alow", value = "a", more = { "a" } }))
  end)

  for _, world in ipairs(worlds) do
    describe("(" .. world .. ")", function()
      local function run(rules, ...)
        local r = assert(g.run({ devices = rules, accounting = {} }, { only = world,
          script = "NODES=" .. nodes .. "\n" .. try(...) }))
        return r.output
      end

      it("allow the defaults and nothing else: mknod c 1 3, not c 1 1", function()
        assert.equal("+-++--", run({}, "mc1:3", "mc1:1", "rc1:3", "bc1:5", "rc1:11", "rb7:0"))
        -- and without rules
        assert.equal("+", assert(g.run({ accounting = {}, pids = world == "v1" and { max = 50 } or nil }, { only = world,
          script = "NODES=" .. nodes .. "\n" .. try("mc1:1") })).output)
      end)

      it("allow and deny each of reading, writing and mknod, by number or for all", function()
        assert.equal("+-", run({ { allow = true, type = "c", major = 1, minor = 11, access = "m" } }, "mc1:11", "rc1:11"))
        assert.equal("-+", run({ { allow = true, type = "c", major = 1, minor = 11, access = "r" } }, "mc1:11", "rc1:11"))
        assert.equal("+-+", run({ { allow = false, type = "c", major = 1, minor = 8, access = "w" } }, "rc1:8", "wc1:8",
          "mc1:8"))
        assert.equal("++-", run({ { allow = true, type = "c", major = 10, access = "rwm" } }, "mc10:229", "mc10:1",
          "mb10:1"))
        assert.equal("-+", run({ { allow = false }, { allow = true, type = "c", major = 1, minor = 3 } }, "rc1:5", "rc1:3"))
        assert.equal("+++-", run({ { allow = true }, { allow = false, type = "b", access = "m" } }, "rc1:11", "mc1:1",
          "rc1:3", "mb7:0"))
      end)

      it("allow the recipe's own nodes by themselves", function()
        local compiled = cgroup.compile({ path = g.prefix .. "*", devices = {}, accounting = {} }, g.env(world),
          { "default", { path = "/dev/x", major = 10, minor = 229 } })
        local r = assert(t.run(g.steps(compiled), { script = "NODES=" .. nodes .. "\n" .. try("mc10:229", "mc10:228") }))
        assert.equal("+-", r.output)
      end)

      it("can be changed by another process, which knows the recipe's nodes still", function()
        local compiled = cgroup.compile({ path = g.prefix .. "*", devices = {}, accounting = {} }, g.env(world),
          { { path = "/dev/x", major = 10, minor = 229 } })
        local steps = g.steps(compiled)
        steps[#steps + 1] = t.step("exec", { argv = { "/bin/sleep", "100" } })
        local process = assert(core.spawn { plan = core.plan(steps) })
        local groups = cgroup.open({ cgroup = compiled }, process)
        local again = assert(cgroup.reopen(groups:save()))
        local function join()
          local how = again:join()
          local list = { t.step("clone", { cgroup = how.slot }) }
          for _, s in ipairs(how.after) do list[#list + 1] = { step = s.step, options = s.options, side = s.side } end
          return assert(t.run(list, { slots = how.slots, script = "NODES=" .. nodes .. "\n" ..
            try("mc10:229", "mc10:230", "rc1:8") })).output
        end
        local first = join()
        assert(again:update { devices = { { allow = true, type = "c", major = 10, minor = 230 },
          { allow = false, type = "c", major = 1, minor = 8 } } })
        local second = join()
        local ok, message, errno = again:update { devices = { { allow = true, type = "c" },
          { allow = false, type = "c", major = 1, minor = 8 } } }
        local third = join()
        again:close()
        groups:close()
        process:close()
        assert.same({ "+-+", "++-" }, { first, second })
        if world == "v1" then -- which has no words for that
          assert.is_nil(ok)
          assert.equal(core.errno.EOPNOTSUPP, errno)
          assert.truthy(message:find("cgroup v1 can't take c 1:8 rwm out of c *:* rwm", 1, true), message)
          assert.equal("++-", third)
        else
          assert.equal("++-", third)
          assert.is_true(ok)
        end
      end)

      it("are not left off by a step that fails", function()
        local ok, _, errno = g.run({ devices = {}, accounting = {} }, { only = world, fail = { step = 2, errno = 71 } })
        assert.is_nil(ok)
        assert.equal(71, errno)
      end)
    end)
  end

  it("are a table of a recipe, and its nodes can be used", function()
    local function run(more, ...)
      local o = { namespaces = { mount = true }, root = "/", readonly_root = true,
        mounts = { { tmpfs = "/dev", dev = true }, { tmpfs = "/tmp", dev = true },
          { device = "/dev/other", major = 10, minor = 77 } },
        devices = { "default", { path = "/dev/own", major = 1, minor = 1 } },
        cgroup = { path = g.prefix .. "*", devices = more } }
      local r = assert(caisson.run(caisson.recipe(o), { stdin = "null", stdout = "capture", stderr = "capture",
        args = { "/bin/sh", "-c", "head -c 1 /dev/zero | wc -c\n" .. try(...) } }))
      return r.stdout
    end
    assert.equal("1\n+-+-", run({}, "mc1:1", "mc1:2", "mc10:77", "mc10:78"))
    assert.equal("1\n++-", run({ { allow = true, type = "c", major = 1, minor = 2, access = "m" } }, "mc1:1", "mc1:2", "mc1:4"))
  end)

  describe("programs", function()
    local at
    for _, h in ipairs(g.env().hierarchies) do at = h.version == 2 and h.mount or at end
    if not at then return pending("no cgroup v2 is mounted here") end
    local dir

    before_each(function() dir = assert(core.cgroup.create { g.prefix .. "p", at = at }) end)
    after_each(function()
      dir:close()
      assert(core.cgroup.remove(at .. "/" .. g.prefix .. "p"))
    end)

    it("are replaced at once: one is attached at any time", function()
      assert.same({}, core.cgroup.device_programs(dir))
      assert(core.cgroup.devices { group = dir, rules = { "allow a" } })
      local first = core.cgroup.device_programs(dir)
      assert(core.cgroup.devices { group = dir, rules = devices.texts(devices.all {}) })
      local second = core.cgroup.device_programs(dir)
      assert.same({ 1, 1 }, { #first, #second })
      assert.not_equal(first[1], second[1])
    end)

    it("that are wrong leave the old one in force", function()
      assert(core.cgroup.devices { group = dir, rules = { "deny a" } })
      local before = core.cgroup.device_programs(dir)
      local ok, message, errno = core.cgroup.devices { group = dir, rules = { "allow a", "deny q" } }
      assert.is_nil(ok)
      assert.equal(core.errno.EINVAL, errno)
      assert.truthy(message:find("no rule such as", 1, true), message)
      assert.same(before, core.cgroup.device_programs(dir))
    end)

    -- Linux 6.17 to 7.1 writes past a short one.
    it("are asked for and loaded with a union bpf_attr longer than any kernel's", function()
      local function under(limit)
        return (g.as_user(function() return "" end, function()
          assert(core.no_new_privs())
          assert(core.seccomp { program = assert(core.seccomp.compile { default = "allow", rules = {
            { "bpf", action = { "errno", 52 }, args = { { 2, "<", limit } } } } }) })
          for _, call in ipairs { function() return core.cgroup.device_programs(dir) end,
            function() return core.cgroup.devices { group = dir, rules = { "allow a" } } end } do
            for _ = 1, 2 do
              local ok, message, errno = call()
              if not ok then error(("errno %d: %s"):format(errno, message), 0) end
            end
          end
        end))
      end
      assert.equal("", under(200))
      assert.has_error(function() under(4096) end)
    end)

    it("take rights that an ordinary user lacks: an error that says so; or none, where that is optional", function()
      local text = g.as_user(function()
        local ok, message, errno = core.cgroup.devices { group = dir, rules = { "allow a" } }
        assert(ok == nil and errno == core.errno.EPERM, message)
        return message
      end)
      assert.truthy(text:find("CAP_BPF", 1, true), text)
      text = g.as_user(function()
        local compiled = g.compile { devices = {} }
        local ok, message, errno, failure = cgroup.ready(compiled)
        local free = g.compile { devices = { optional = true } }
        return ("%s %d %s %s %s"):format(tostring(ok), errno, failure.hint, tostring(free.unlimited.devices ~= nil), message)
      end)
      assert.equal("nil 1 run it as root, or mark it optional true cgroup: devices can't be set: only root of the machine " ..
        "may set device rules", text)
    end)
  end)
end)
