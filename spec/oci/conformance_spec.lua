-- The life of a container by an OCI runtime's commands, as the runtime specification tells it and engines use it. Each
-- command is a process of its own; what it did is read from its output, from /proc and from what containers write.
local t = require "support"
local oci = require "support.oci"
local json = require "caisson.json"
local core = t.core

-- Running, sleeping, ...: the letter; nil where there is no such process, or only a zombie.
local function letter(pid)
  local s = (t.read_file(("/proc/%d/stat"):format(pid)) or ""):match("%) (%a) ")
  return s ~= "Z" and s ~= "X" and s or nil
end

local function settle() core.poll({}, 0.1) end

describe("a runtime of the command line", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end

  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  describe("state", function()
    it("tells created, running and stopped, in the specification's words", function()
      world:configure("echo up; exec sleep 30", function(c) c.annotations = { ["org.example.key"] = "a value", empty = "" } end)
      world:create()
      local s = world:state()
      assert.same({ "box", "created", world.bundle, { ["org.example.key"] = "a value", empty = "" } },
        { s.id, s.status, s.bundle, s.annotations })
      assert.truthy(s.ociVersion:find("^1%.%d+%.%d+"), s.ociVersion)
      assert.truthy(letter(s.pid), "its process lives")
      assert.not_equal(t.namespace("pid"), t.namespace("pid", s.pid))
      world:ok("start", "box")
      world:output("up\n")
      local running = world:state()
      assert.same({ s.pid, "running", s.bundle, s.annotations }, { running.pid, running.status, running.bundle, running.annotations })
      world:ok("kill", "box", "KILL")
      local stopped = world:until_status("stopped")
      assert.truthy(stopped.pid == nil or stopped.pid == 0, "a pid that may be another's: " .. tostring(stopped.pid))
      assert.is_nil(letter(s.pid))
      world:ok("delete", "box")
      assert.is_nil((world:state()))
    end)

    it("has a bundle's absolute path, whatever way it was named", function()
      world:configure("sleep 30")
      world:run({ "create", "--bundle", "bundle", "box" }, { cwd = world.dir })
      assert.equal(world.bundle, world:state().bundle)
    end)

    it("is refused without an id, and of whom nobody knows", function()
      world:fails("state")
      world:fails("state", "nobody")
      assert.same({}, core.list(world.root))
    end)
  end)

  describe("create", function()
    it("runs nothing of the program's before it is started, and once then", function()
      world:configure("echo ran >> /tmp/ran")
      world:create()
      settle()
      assert.is_nil(t.read_file(world.rootfs .. "/tmp/ran"))
      world:ok("start", "box")
      world:until_status("stopped")
      assert.equal("ran\n", t.read_file(world.rootfs .. "/tmp/ran"))
      world:fails("start", "box")
      settle()
      assert.equal("ran\n", t.read_file(world.rootfs .. "/tmp/ran"))
      world:ok("delete", "box")
    end)

    it("is what the configuration was then: later changes of the file have no effect", function()
      world:configure("echo first > /tmp/said")
      world:create()
      world:configure("echo second > /tmp/said", function(c) c.annotations = { later = "yes" } end)
      assert.is_nil((world:state().annotations or {}).later)
      oci.write(world.bundle .. "/config.json", "{")
      world:ok("start", "box")
      world:until_status("stopped")
      assert.equal("first\n", t.read_file(world.rootfs .. "/tmp/said"))
      world:ok("delete", "box")
    end)

    it("is refused without an id, with a bad one, and with one that is taken", function()
      world:configure("sleep 30")
      world:fails("create")
      for _, id in ipairs { "", ".", "..", "a/b", "../box", "a b", "ü", "a\nb" } do world:fails("create", id) end
      assert.same({}, core.list(world.root))
      assert.equal("", world:groups())
      world:create()
      local before = world:state()
      world:fails("create", "box")
      world:fails("run", "box")
      assert.same(before, world:state())
      assert.truthy(letter(before.pid))
      world:ok("delete", "--force", "box")
      world:create() -- free again
      assert.equal("created", world:state().status)
    end)

    it("is refused without a configuration, or with one that can't be had, and leaves nothing", function()
      world:fails("create", "box")
      oci.write(world.bundle .. "/config.json", '{"ociVersion": "1.0.2", "process": ')
      world:fails("create", "box")
      local cases = {
        ["no such root"] = function(c) c.root.path = "elsewhere" end,
        ["a version that nobody knows"] = not oci.is_peer and function(c) c.ociVersion = "invalid" end or nil,
        ["a limit that there isn't"] = function(c) c.process.rlimits = { { type = "RLIMIT_TEST", soft = 1, hard = 1 } } end,
        ["a mount of nothing"] = function(c)
          table.insert(c.mounts, { destination = "/tmp", type = "bind", source = "/nonexistent/x", options = { "bind" } })
        end,
        ["a namespace of another kind"] = function(c)
          c.linux.namespaces[3] = { type = "ipc", path = "/proc/self/ns/uts" }
        end,
        ["a namespace that there isn't"] = function(c) c.linux.namespaces[3] = { type = "ipc", path = "/nonexistent" } end,
        ["twice the same namespace"] = function(c) table.insert(c.linux.namespaces, { type = "ipc" }) end,
        ["a sysctl that there isn't"] = function(c) c.linux.sysctl = { ["net.ipv4.nonexistent"] = "1" } end,
      }
      for name, change in pairs(cases) do
        world:configure("sleep 30", change)
        local r = world:run { "create", "box" }
        assert.same({ name, 1 }, { name, r.code })
        assert.truthy(r.err:find("%S"), name)
        assert.is_nil((world:state()), name)
        assert.same({}, world:mounts())
        assert.equal("", world:groups(), name)
      end
      assert.same({}, core.list(world.root))
      world:fails("create", "--bundle", "/nonexistent", "box")
    end)

    it("takes what it does not know, if it is only unknown", function()
      world:configure("true", function(c)
        c.unknown = "x"
        c.linux.unheard = { of = 1 }
        c.annotations = { ["org.unknown"] = "" }
      end)
      world:create()
      world:ok("start", "box")
      world:until_status("stopped")
    end)

    it("writes its pid, and no more, to --pid-file", function()
      world:configure("sleep 30")
      world:create("box", "--pid-file", world.dir .. "/pid")
      assert.equal(tostring(world:state().pid), t.read_file(world.dir .. "/pid"))
    end)
  end)

  describe("start", function()
    it("is refused without an id, of nobody, and of what runs or has ended: nothing happens to that", function()
      world:fails("start")
      world:fails("start", "nobody")
      world:configure("echo up; exec sleep 30")
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      local before = world:state()
      world:fails("start", "box")
      assert.same(before, world:state())
      world:ok("kill", "box", "9")
      world:until_status("stopped")
      world:fails("start", "box")
      assert.equal("stopped", world:state().status)
    end)
  end)

  describe("kill", function()
    it("sends TERM, or what is named: by name, with SIG or without, or by number", function()
      world:configure([[trap 'echo term' TERM; trap 'echo usr1' USR1; trap 'echo hup' HUP; trap 'echo int' INT; echo up
        while true; do sleep 0.05; done]])
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      for _, step in ipairs { { nil, "term\n" }, { "TERM", "term\nterm\n" }, { "SIGUSR1", "usr1\n" }, { "1", "hup\n" }, { "INT", "int\n" } } do
        local words = { "kill", "box" }
        words[3] = step[1]
        world:ok((table.unpack or unpack)(words))
        world:output(step[2])
      end
      assert.equal("running", world:state().status)
    end)

    it("ends what is paused, where KILL is sent", function()
      if not t.is_root then return end -- who has a group
      world:configure("echo up; exec sleep 30")
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      local pid = world:state().pid
      world:ok("pause", "box")
      assert.equal("paused", world:state().status)
      world:ok("kill", "box", "KILL")
      world:until_status("stopped")
      assert.is_nil(letter(pid))
      world:ok("delete", "box")
    end)

    it("ends what was created, before its program runs", function()
      world:configure("echo ran > /tmp/ran")
      world:create()
      world:ok("kill", "box", "KILL")
      world:until_status("stopped")
      world:fails("start", "box")
      assert.is_nil(t.read_file(world.rootfs .. "/tmp/ran"))
      world:ok("delete", "box")
    end)

    it("is refused without an id, of nobody, of what has ended, and with no signal's name", function()
      world:fails("kill")
      world:fails("kill", "nobody", "TERM")
      world:configure("echo up; exec sleep 30")
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      for _, signal in ipairs { "NONE", "SIGNONE", "TERM1", "1x" } do
        world:fails("kill", "box", signal)
      end
      assert.equal("running", world:state().status)
      world:ok("kill", "box", "KILL")
      world:until_status("stopped")
      local message = world:fails("kill", "box", "TERM")
      assert.truthy(message:find("container not running", 1, true), message) -- engines look for it
    end)
  end)

  describe("delete", function()
    it("is refused without an id, of nobody, and of what runs, which runs on", function()
      world:fails("delete")
      world:fails("delete", "nobody")
      world:configure("echo up; exec sleep 30")
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      local before = world:state()
      world:fails("delete", "box")
      assert.same(before, world:state())
      assert.truthy(letter(before.pid))
    end)

    it("--force takes what runs, and is content with nobody", function()
      world:configure("echo up; exec sleep 30")
      world:create()
      world:ok("start", "box")
      world:output("up\n")
      local pid = world:state().pid
      world:ok("delete", "--force", "box")
      assert.is_nil(letter(pid))
      assert.is_nil((world:state()))
      world:ok("delete", "--force", "box")
      world:ok("delete", "--force", "nobody")
    end)

    it("takes what was created and never started", function()
      world:configure("echo up")
      world:create()
      local pid = world:state().pid
      world:ok("delete", "box")
      assert.is_nil(letter(pid))
      assert.same({}, core.list(world.root))
    end)

    it("takes the groups along that create had made, and no others", function()
      if not t.is_root then return end
      local parent = "/" .. world.prefix .. "parent"
      world:configure("true", function(c)
        c.linux.cgroupsPath = parent .. "/" .. world.prefix .. "box"
        c.linux.resources = { memory = { limit = 64 * 2 ^ 20 } }
      end)
      if not t.sh("ls /sys/fs/cgroup"):find("memory", 1, true) then return end
      t.sh("mkdir /sys/fs/cgroup/memory" .. parent)
      world:create()
      local group = "/sys/fs/cgroup/memory" .. parent .. "/" .. world.prefix .. "box"
      assert.equal(tostring(64 * 2 ^ 20), t.read_file(group .. "/memory.limit_in_bytes"):match("%d+"))
      world:ok("start", "box")
      world:until_status("stopped")
      world:ok("delete", "box")
      assert.is_nil(core.lstat(group))
      assert.truthy(core.lstat("/sys/fs/cgroup/memory" .. parent))
      t.sh("find /sys/fs/cgroup -depth -type d -name '" .. world.prefix .. "*' -exec rmdir {} +")
    end)
  end)

  describe("hooks", function()
    local points = { "prestart", "createRuntime", "createContainer", "poststart", "poststop" }

    -- Every point but startContainer's writes on the host: its own two hooks are in the container.
    local function all(c, fail)
      c.hooks = { startContainer = { { path = "/bin/sh", args = { "sh", "-c", "cat > /tmp/startContainer.json; echo started >> /tmp/order" },
        env = { "PATH=/bin" } } } }
      for _, point in ipairs(points) do
        c.hooks[point] = { world:hook(point .. ".1"), world:hook(point .. ".2") }
        if point == fail then c.hooks[point][1] = world:hook(point .. ".1", 3) end
      end
    end

    it("are called in their order, each at its time", function()
      world:configure("echo program >> /tmp/order", all)
      world:create()
      local created = "prestart.1\nprestart.2\ncreateRuntime.1\ncreateRuntime.2\ncreateContainer.1\ncreateContainer.2\n"
      if not oci.is_peer then assert.equal(created, world:hooks()) end
      assert.is_nil(t.read_file(world.rootfs .. "/tmp/order"))
      world:ok("start", "box")
      assert.equal(created .. "poststart.1\npoststart.2\n", world:hooks())
      world:until_status("stopped")
      assert.equal("started\nprogram\n", t.read_file(world.rootfs .. "/tmp/order"))
      world:ok("delete", "box")
      assert.equal(created .. "poststart.1\npoststart.2\npoststop.1\npoststop.2\n", world:hooks())
    end)

    it("are told the state on their standard input", function()
      world:configure("sleep 0.2", function(c)
        all(c)
        c.annotations = { key = "value" }
      end)
      world:create()
      local pid = world:state().pid
      world:ok("start", "box")
      world:until_status("stopped")
      world:ok("delete", "box")
      local status = { prestart = "created", createRuntime = "created", createContainer = "created", poststart = "running",
        poststop = "stopped" }
      for _, point in ipairs(points) do
        local s = assert(json.decode(t.read_file(world.dir .. "/" .. point .. ".2.json")))
        assert.same({ point, "box", world.bundle, { key = "value" } }, { point, s.id, s.bundle, s.annotations })
        assert.is_string(s.ociVersion)
        if not oci.is_peer then assert.same({ point, status[point] }, { point, s.status }) end
        -- in the container's namespace it has another
        if point ~= "poststop" and point ~= "createContainer" then assert.same({ point, pid }, { point, s.pid }) end
      end
      local inside = assert(json.decode(t.read_file(world.rootfs .. "/tmp/startContainer.json")))
      assert.same({ "box", "created", world.bundle }, { inside.id, inside.status, inside.bundle })
    end)

    it("that fail at create undo it, and no later one is called but poststop's", function()
      for _, point in ipairs { "prestart", "createRuntime", "createContainer" } do
        os.remove(world.dir .. "/hooks")
        world:configure("echo ran > /tmp/ran", function(c) all(c, point) end)
        world:fails("create", "box")
        assert.is_nil((world:state()))
        assert.equal("", world:groups())
        local called = world:hooks()
        assert.truthy(called:find(point .. ".1\n", 1, true), called)
        assert.is_nil(called:find(point .. ".2\n", 1, true), called)
        assert.is_nil(called:find("poststart", 1, true), called)
      end
      assert.is_nil(t.read_file(world.rootfs .. "/tmp/ran"))
      assert.same({}, core.list(world.root))
    end)

    it("that fail at startContainer end it before its program runs", function()
      world:configure("echo ran > /tmp/ran", function(c)
        c.hooks = { startContainer = { { path = "/bin/false", args = { "false" } } } }
      end)
      world:create()
      if oci.is_peer then
        world:run { "start", "box" } -- runc's start knows nothing of it
      else
        world:fails("start", "box")
      end
      world:until_status("stopped")
      assert.is_nil(t.read_file(world.rootfs .. "/tmp/ran"))
      world:ok("delete", "box")
    end)

    it("that fail at poststart end it", function()
      if oci.is_peer then return end -- runc calls them at create
      world:configure("sleep 30", function(c) all(c, "poststart") end)
      world:create()
      local pid = world:state().pid
      local message = world:fails("start", "box")
      assert.truthy(message:find("poststart", 1, true), message)
      assert.is_nil(letter(pid))
    end)

    it("that fail at poststop are told of, and the others are called", function()
      world:configure("true", function(c) all(c, "poststop") end)
      world:create()
      world:ok("start", "box")
      world:until_status("stopped")
      local r = world:run { "delete", "box" }
      assert.equal(0, r.code)
      assert.truthy(r.err:find("poststop", 1, true) or oci.is_peer, r.err)
      assert.truthy(world:hooks():find("poststop.2\n", 1, true) or oci.is_peer)
      assert.is_nil((world:state()))
    end)

    it("are ended at their time limit", function()
      world:configure("sleep 30", function(c)
        c.hooks = { createRuntime = { { path = "/bin/busybox", args = { "sleep", "60" }, timeout = 1 } } }
      end)
      local from = core.now()
      world:fails("create", "box")
      assert.is_true(core.now() - from < 30e9)
      assert.is_nil((world:state()))
    end)
  end)
end)
