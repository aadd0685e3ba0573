-- What an OCI container's program is given, as it finds it: what the validation programs of others brought to light.
local t = require "support"
local oci = require "support.oci"
local core = t.core

describe("an OCI container's process", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end

  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  -- Run the box to its end. Returns what it wrote.
  local function run(script, change)
    world:configure(script, change)
    local r = world:run { "run", "box" }
    assert.same({ 0, "" }, { r.code, r.err })
    return r.out
  end

  it("is entered by others under its filter, though that kills who sets its dumpability", function()
    world:configure("sleep 30", function(c)
      c.linux.seccomp = { defaultAction = "SCMP_ACT_ALLOW", architectures = { "SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64" },
        syscalls = { { names = { "prctl" }, action = "SCMP_ACT_KILL_PROCESS",
          args = { { index = 0, value = 4, op = "SCMP_CMP_EQ" } } } } } -- PR_SET_DUMPABLE
    end)
    world:create()
    world:ok("start", "box")
    assert.equal("in\n", world:ok("exec", "box", "echo", "in"))
  end)

  it("is entered by others in an absolute directory alone", function()
    world:configure("sleep 30")
    world:create()
    world:ok("start", "box")
    assert.equal("/tmp\n", world:ok("exec", "--cwd", "/tmp", "box", "pwd"))
    oci.write(world.dir .. "/p.json", '{"args":["pwd"],"cwd":"tmp","user":{"uid":0,"gid":0}}')
    for _, words in ipairs { { "exec", "--cwd", "tmp", "box", "pwd" }, { "exec", "--process", world.dir .. "/p.json", "box" } } do
      local r = world:run(words)
      assert.same({ 255, "" }, { r.code, r.out })
      assert.truthy(r.err:lower():find("cwd.*absolute path"), r.err)
    end
  end)

  it("has a bind mount whose options are of a filesystem that is not mounted: they are told of", function()
    world:configure("cat /etc/mark", function(c)
      oci.write(world.dir .. "/mark", "here\n")
      table.insert(c.mounts, { destination = "/etc/mark", source = world.dir .. "/mark", options = { "bind", "mode=755", "size=1k" } })
    end)
    local r = world:run { "run", "box" }
    assert.same({ 0, "here\n" }, { r.code, r.out })
    for _, word in ipairs { "mounts[4].options: mode=755", "mounts[4].options: size=1k" } do
      assert.truthy(r.err:find(word, 1, true), r.err)
    end
    world:configure("true", function(c)
      table.insert(c.mounts, { destination = "/etc/mark", source = world.dir .. "/mark", options = { "bind", "r0" } })
    end)
    assert.truthy(world:fails("run", "box"):find("r0", 1, true))
  end)

  describe("in a mount namespace that is not its own", function()
    if not t.is_root then return end

    local function without(path)
      return function(c)
        table.remove(c.linux.namespaces, 5)
        if path then table.insert(c.linux.namespaces, { type = "mount", path = path }) end
        c.hooks = { startContainer = { { path = "/bin/sh", args = { "sh", "-c", "ls -d /bin /usr /rootfs >> /tmp/hook 2>/dev/null; true" },
          env = { "PATH=/bin" } } } }
      end
    end

    -- The box, whose mount namespace is to be that of this process; it ends with nothing left.
    local function try(change, namespace)
      world:configure("echo up; exec sleep 30", change)
      local mounts = t.read_file("/proc/self/mountinfo")
      world:create()
      local pid = world:state().pid
      assert.equal(namespace, t.namespace("mnt", pid))
      assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
      world:ok("start", "box")
      world:output("up\n")
      assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
      -- the root is its own, with what is mounted in it, for all that enter
      assert.equal(world:ok("exec", "box", "ls", "/"), t.sh("busybox ls " .. world.rootfs))
      assert.truthy(world:ok("exec", "box", "cat", "/proc/1/comm"):find("sleep", 1, true))
      assert.truthy(world:ok("exec", "box", "ls", "/dev"):find("null", 1, true))
      assert.truthy(world:ok("exec", "box", "ls", "/../.."):find("bin\n", 1, true))
      assert.equal(namespace .. "\n", world:ok("exec", "box", "readlink", "/proc/self/ns/mnt"))
      assert.equal("/bin\n", t.read_file(world.rootfs .. "/tmp/hook"))
      world:ok("delete", "--force", "box")
      assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
    end

    it("has a root of its own in this one, and leaves no mounts", function()
      try(without(), t.namespace("mnt"))
    end)

    it("has one in another's, by its path", function()
      local other = core.spawn { plan = core.plan { t.step("clone", { "mount" }), t.step("exec", { argv = { "/bin/sleep", "60" } }) } }
      try(without(("/proc/%d/ns/mnt"):format(other:pid())), t.namespace("mnt", other:pid()))
      assert.is_nil(t.read_file(("/proc/%d/mountinfo"):format(other:pid())):find(world.dir, 1, true))
      other:close()
    end)

    it("is refused in what is none, and with a user namespace", function()
      world:configure("true", without("/proc/self/ns/uts"))
      world:fails("create", "box")
      world:configure("true", function(c)
        without()(c)
        table.insert(c.linux.namespaces, { type = "user" })
        c.linux.uidMappings = { { containerID = 0, hostID = 100000, size = 10 } }
        c.linux.gidMappings = { { containerID = 0, hostID = 100000, size = 10 } }
      end)
      assert.truthy(world:fails("create", "box"):find("mount namespace", 1, true))
    end)
  end)

  it("has its directory under a filter that knows nothing of how one is entered", function()
    if not t.is_root then return end -- without no_new_privs a filter is root's
    assert.equal("/tmp\n", run({ "/bin/readlink", "/proc/self/cwd" }, function(c)
      c.process.cwd = "/tmp"
      c.process.noNewPrivileges = false
      c.linux.seccomp = { defaultAction = "SCMP_ACT_ALLOW", architectures = { "SCMP_ARCH_X86_64" }, syscalls = {
        { names = { "openat2", "getcwd", "fchdir", "chdir" }, action = "SCMP_ACT_ERRNO", errnoRet = 1 } } }
    end))
  end)
end)
