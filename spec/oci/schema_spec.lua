-- What the command prints, compared with the specification's own schemas; and every sample of its own, by the command.
local t = require "support"
local oci = require "support.oci"
local document = require "caisson.oci.document"
local jsonschema = require "support.jsonschema"

describe("caisson-oci and the specification's schemas", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end
  if not jsonschema.dir then pending(jsonschema.why) return end
  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  it("has states that are as they say, in each status", function()
    world:configure("exec sleep 300", function(c) c.annotations = { ["org.example.x"] = "y" } end)
    local function check(status)
      local state = assert(document.decode((world:ok("state", "box"))))
      assert.equal(status, state.status)
      assert.same({}, jsonschema.faults(state, "state-schema.json"), status)
      assert.same({ ["org.example.x"] = "y" }, state.annotations)
    end
    world:create()
    check "created"
    world:ok("start", "box")
    check "running"
    world:ok("kill", "box", "KILL")
    world:until_status "stopped"
    check "stopped"
  end)

  it("tells hooks a state that is as they say", function()
    world:configure("exec true", function(c)
      c.hooks = { createRuntime = { world:hook "createRuntime" }, poststop = { world:hook "poststop" } }
      for _, list in pairs(c.hooks) do
        list[1].path = "/bin/sh"
        list[1].env = { "PATH=/bin:/usr/bin" }
      end
    end)
    world:ok("run", "box")
    for _, name in ipairs { "createRuntime", "poststop" } do
      local state = assert(document.read(("%s/%s.json"):format(world.dir, name)))
      assert.same({}, jsonschema.faults(state, "state-schema.json"), name)
    end
  end)

  it("has features, and a configuration to begin with, that are as they say", function()
    assert.same({}, jsonschema.faults(assert(document.decode((world:ok "features"))), "features-schema.json"))
    for _, flag in ipairs { "", "--rootless" } do
      t.sh("mkdir -p " .. world.dir .. "/new; rm -f " .. world.dir .. "/new/config.json")
      local words = { "spec", "-b", world.dir .. "/new" }
      if flag ~= "" then words[#words + 1] = flag end
      assert.equal(0, world:run(words).code)
      local c = assert(document.read(world.dir .. "/new/config.json"))
      assert.same({}, jsonschema.faults(c, "config-schema.json"))
    end
  end)

  it("refuses each of the bad configurations by name, and leaves nothing", function()
    local fields = { ["linux-hugepage"] = "linux.resources.hugepageLimits[1].pageSize", ["linux-netdevice"] = "linux.netDevices.eth0.name",
      ["linux-rdma"] = "linux.resources.rdma.mlx5_1.hcaHandles", ["invalid-json"] = "line 1, column 2" }
    for name, field in pairs(fields) do
      oci.write(world.bundle .. "/config.json", (assert(t.read_file(("%s/test/config/bad/%s.json"):format(jsonschema.dir, name)))))
      local message = world:fails("run", "box")
      assert.truthy(message:find(field, 1, true), message)
      assert.is_nil((world:state()))
    end
  end)
end)
