-- config.json as a recipe: what `runc spec` writes runs, is created, started and entered.
local t = require "support"
local oci = require "support.bundle"
local caisson = require "caisson"
local of = require("caisson.oci.recipe").of
local process = require "caisson.oci.process"

describe("a configuration of the OCI runtime specification", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle

  setup(function() bundle = oci.bundle() end)
  teardown(function() bundle:close() end)

  it("runs as runc's default says", function()
    local out = bundle:output("id -u; pwd; env; hostname; umask; touch /x; grep -E 'Cap|NoNew' /proc/self/status; readlink /dev/ptmx")
    assert.equal("0\n/\n", out:sub(1, 4))
    for _, line in ipairs { "TERM=xterm", "HOME=/", "box", "0022", "touch: /x: Read-only file system", "NoNewPrivs:\t1",
      "CapBnd:\t0000000020000420", "CapEff:\t0000000020000420", "CapInh:\t0000000000000000",
      "CapAmb:\t0000000000000000", "pts/ptmx" } do
      assert.truthy(("\n" .. out):find("\n" .. line .. "\n", 1, true), line .. " in " .. out)
    end
  end)

  it("is created, started, entered and deleted", function()
    local dir = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() os.execute("rm -rf " .. dir) end)
    local config = oci.config { "/bin/sh", "-c", "echo up; exec sleep 30" }
    local r = assert(of(config, { bundle = bundle.dir, id = "box" }))
    local c = assert(caisson.create(r, { id = "box", root = dir, stdin = "null", stdout = { file = dir .. "/out" } }))
    finally(function() c:delete { force = true } os.execute("rm -rf " .. dir) end)
    local s = c:state()
    assert.same({ "created", bundle.dir }, { s.status, s.bundle })
    assert(c:start())
    local spec = process.of({ args = { "/bin/sh", "-c", "id -u; echo $A; readlink /proc/self/ns/pid; umask" }, cwd = "/",
      env = { "A=b" }, user = {} }, config, {})
    spec.stdout = "capture"
    local running = assert(c:exec(spec))
    local result = running:wait()
    assert.equal(0, result.code)
    assert.equal("0\nb\n" .. t.namespace("pid", s.pid) .. "\n0022\n", result.stdout)
    assert.equal("up\n", t.read_file(dir .. "/out"))
  end)
end)
