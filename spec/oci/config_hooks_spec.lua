-- `hooks` and `annotations` of a configuration: where each runs, what it is told, what becomes of its failure.
local t = require "support"
local oci = require "support.bundle"
local caisson = require "caisson"
local json = require "caisson.json"

local points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }
local inside = { createContainer = true, startContainer = true }

describe("a configuration's hooks", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle, states

  before_each(function()
    bundle = oci.bundle()
    states = bundle.dir .. "/states"
    os.execute("mkdir -m 777 " .. bundle.root .. "/out " .. bundle.dir .. "/log")
  end)
  after_each(function() bundle:close() end)

  -- At each point a command that writes what it is told, its environment, place and namespaces, to the bundle, or to the root
  -- where that is all it sees.
  local function hooks(at, more)
    local h = {}
    for _, point in ipairs(at) do
      local dir = point == "startContainer" and "/out" or bundle.dir .. "/log"
      h[point] = { { path = "/bin/sh", args = { "sh", "-c", ("cat > %s/%s.state; env > %s/%s.env; pwd > %s/%s.pwd; readlink /proc/self/ns/mnt > %s/%s.mnt; echo %s >> %s/order"):format(
        dir, point, dir, point, dir, point, dir, point, point, dir) }, env = { "ONLY=this", "PATH=/bin:/usr/bin" }, timeout = 20 } }
      for k, v in pairs(more and more[point] or {}) do h[point][1][k] = v end
    end
    return h
  end

  local function config(h)
    local c = oci.config { "/bin/sleep", "30" }
    c.root.readonly, c.hooks = false, h
    c.annotations = { ["org.example.key"] = "value \"quoted\"" }
    return c
  end

  local function recipe(c) return assert(require("caisson.oci.recipe").of(c, { bundle = bundle.dir })) end

  local function told(point, what)
    return t.read_file((point == "startContainer" and bundle.root .. "/out/" or bundle.dir .. "/log/") .. point .. "." .. what)
  end

  it("are run at each point, in its namespaces, with nothing but their own environment", function()
    local r = recipe(config(hooks(points)))
    local c = assert(caisson.create(r, { id = "hooked", root = states, stdin = "null", stdout = "null", stderr = "null" }))
    assert.equal("prestart\ncreateRuntime\ncreateContainer\n", t.read_file(bundle.dir .. "/log/order"))
    local pid = c:state().pid
    assert(c:start())
    assert.equal("startContainer\n", t.read_file(bundle.root .. "/out/order"))
    assert(c:kill("KILL"))
    c:delete { force = true }
    assert.equal("prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n", t.read_file(bundle.dir .. "/log/order"))
    local status = { startContainer = "created", poststart = "running", poststop = "stopped" }
    for _, point in ipairs(points) do
      local s = assert(json.decode(told(point, "state")), point)
      assert.truthy(s.status == status[point] or not status[point] and s.status:find("^creat"), point .. s.status)
      assert.same({ "hooked", bundle.dir, "value \"quoted\"", "1.2.0" },
        { s.id, s.bundle, s.annotations["org.example.key"], s.ociVersion }, point)
      if not inside[point] and point ~= "poststop" then assert.equal(pid, s.pid, point) end
      local env = told(point, "env"):gsub("PWD=[^\n]*\n", ""):gsub("SHLVL=%d\n", ""):gsub("_=[^\n]*\n", "")
      local lines = {}
      for line in env:gmatch("[^\n]+") do lines[#lines + 1] = line end
      table.sort(lines)
      assert.same({ "ONLY=this", "PATH=/bin:/usr/bin" }, lines, point)
      assert.equal(not inside[point], told(point, "mnt") == t.namespace("mnt") .. "\n", point)
    end
    assert.equal(bundle.dir .. "\n", told("createRuntime", "pwd"))
  end)

  it("that fail stop the container, with their output", function()
    for _, point in ipairs { "prestart", "createRuntime", "createContainer" } do
      local h = { [point] = { { path = "/bin/sh", args = { "sh", "-c", "echo because; exit 3" } } } }
      local c, message = caisson.create(recipe(config(h)), { id = "fails", root = states, stdin = "null", stdout = "null", stderr = "null" })
      assert.is_nil(c)
      assert.truthy(message:find("hooks." .. point, 1, true) and message:find("because", 1, true), message)
      assert.is_nil(caisson.open("fails", { root = states }))
    end
    local h = { startContainer = { { path = "/bin/sh", args = { "sh", "-c", "exit 4" } } } }
    local c = assert(caisson.create(recipe(config(h)), { id = "late", root = states, stdin = "null", stdout = "null", stderr = "null" }))
    local ok, message = c:start()
    assert.is_nil(ok)
    assert.truthy(message:find("hooks.startContainer", 1, true), message)
    c:delete { force = true }
  end)

  it("may mount more, before the container has its root", function()
    if not t.needs("root") then return end
    os.execute(("mkdir -p %s/a %s/b; mkdir %s/one %s/two; echo 1 > %s/a/f; echo 2 > %s/b/f"):format(bundle.dir, bundle.dir, bundle.root,
      bundle.root, bundle.dir, bundle.dir))
    local h = {
      createRuntime = { { path = "/bin/sh", args = { "sh", "-c", ([[pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/'); exec nsenter -t $pid -m mount --bind %s/a %s/one]]):format(
        bundle.dir, bundle.root) }, env = { "PATH=/bin:/usr/bin:/sbin:/usr/sbin" } } },
      createContainer = { { path = "/bin/mount", args = { "mount", "--bind", bundle.dir .. "/b", bundle.root .. "/two" } } },
    }
    assert.equal("1\n2\n", bundle:output("cat /one/f /two/f", function(c) c.hooks = h end))
    assert.is_nil(t.core.lstat(bundle.root .. "/one/f"))
  end)

  it("end at their timeout", function()
    local h = { createRuntime = { { path = "/bin/sleep", args = { "sleep", "30" }, timeout = 1 } } }
    local c, message = caisson.create(recipe(config(h)), { id = "slow", root = states, stdin = "null", stdout = "null", stderr = "null" })
    assert.is_nil(c)
    assert.truthy(message:find("limit of 1 s", 1, true), message)
  end)
end)
