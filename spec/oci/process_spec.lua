-- What an OCI container's program is given, as it finds it: what the validation programs of others brought to light.
local t = require "support"
local oci = require "support.oci"

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
