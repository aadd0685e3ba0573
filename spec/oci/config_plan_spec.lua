-- A bundle's directory where a recipe is expected: its plan, recipes that extend it, and further processes.
local t = require "support"
local oci = require "support.bundle"
local cli = require "support.cli"
local caisson = require "caisson"
local json = require "caisson.json"
local process = require "caisson.oci.process"

describe("a bundle's directory", function()
  if not t.needs("busybox") or not t.is_root and not t.needs("userns") then return end

  local bundle

  local function configure(change)
    local config = oci.config { "/bin/sh", "-c", "echo from the bundle" }
    if change then change(config) end
    local f = assert(io.open(bundle.dir .. "/config.json", "w"))
    f:write(json.document(config))
    f:close()
  end

  before_each(function()
    bundle = oci.bundle()
    configure()
  end)
  after_each(function() bundle:close() end)

  it("has a plan, also for who may not make it, with the exact values of the configuration", function()
    configure(function(c) c.process.rlimits[1].hard = 1048576 end)
    local text = t.read_file(bundle.dir .. "/config.json"):gsub("1048576", "18446744073709551614")
    local f = assert(io.open(bundle.dir .. "/config.json", "w"))
    f:write((text))
    f:close()
    local plan = assert(caisson.plan(bundle.dir))
    assert.truthy(plan:find("pivot_root") and plan:find("root.bind"))
    assert.truthy(plan:text():find("nofile 1024:18446744073709551614", 1, true), plan:text())
    local r = cli.caisson { "plan", bundle.dir }
    assert.equal(0, r.code, r.err)
    assert.truthy(r.out:find("root.bind +" .. bundle.root:gsub("%p", "%%%0")), r.out)
    assert.truthy(r.out:find("exec +/bin/sh %-c echo from the bundle"), r.out)
    -- and who asked for each step
    local at = {}
    for _, row in ipairs(plan:rows()) do at[row.step .. " " .. row.object:match("^%S*")] = row.at end
    assert.same({ "config.json: mounts[1]", "config.json: mounts[4]", "config.json: linux.maskedPaths", "config.json: hostname",
      "config.json: process.args", "config.json: process.rlimits" }, { at["mount.proc /proc"], at["mount.tmpfs /dev/shm"], at["mask /proc/kcore"], at["hostname box"],
      at["exec /bin/sh"], at["rlimit nofile"] })
    r = cli.caisson { "plan", "--json", bundle.dir .. "/" }
    assert.truthy(json.decode(r.out), r.err)
  end)

  it("runs, and is created, as a recipe's name does", function()
    local r = assert(caisson.run(bundle.dir, { stdout = "capture" }))
    assert.equal("from the bundle\n", r.stdout)
    local c = cli.caisson { "run", bundle.dir, "--", "/bin/echo", "another" }
    assert.same({ "another\n", 0 }, { c.out, c.code })
  end)

  it("is extended by a recipe, whose script edits the plan", function()
    local path = bundle.dir .. "/more.lua"
    local f = assert(io.open(path, "w"))
    f:write(([[
      return require("caisson").recipe {
        extends = %q,
        mounts = { { tmpfs = "/added" } },
        script = function(plan)
          plan:before("pivot_root", plan.file { path = "/added/f", data = "by the script\n" })
        end,
      }]]):format(bundle.dir))
    f:close()
    local r = assert(caisson.run(path, { stdout = "capture", args = { "/bin/cat", "/added/f" } }))
    assert.equal("by the script\n", r.stdout)
  end)

  it("with a configuration that is wrong is refused, with the field's name", function()
    configure(function(c) c.linux.rootfsPropagation = 7 end)
    local recipe, message = caisson.load(bundle.dir)
    assert.is_nil(recipe)
    assert.truthy(message:find("linux.rootfsPropagation", 1, true), message)
    local plan
    plan, message = caisson.plan(bundle.dir)
    assert.is_nil(plan)
    assert.truthy(message:find("linux.rootfsPropagation", 1, true), message)
    configure(function(c) c.mounts[1].destination = "/proc/1" end)
    recipe, message = caisson.load(bundle.dir)
    assert.is_nil(recipe)
    assert.truthy(message:find("config.json: mounts[1].destination", 1, true), message)
  end)

  it("further processes: what they say, and else what the container has", function()
    local config = oci.config { "/bin/sleep", "30" }
    config.process.rlimits[2] = { type = "RLIMIT_CORE", soft = 0, hard = 0 }
    config.process.oomScoreAdj = 200
    config.process.execCPUAffinity = { initial = "0", final = "0" }
    local r = assert(require("caisson.oci.recipe").of(config, { bundle = bundle.dir, id = "box" }))
    local c = assert(caisson.create(r, { id = "box", root = bundle.dir .. "/states", stdin = "null", stdout = "null", stderr = "null" }))
    finally(function() c:delete { force = true } end)
    assert(c:start())
    local function exec(p)
      p.args = p.args or { "/bin/sh", "-c", "umask; pwd; cat /proc/self/oom_score_adj; ulimit -c; ulimit -n; env | sort | head -2; " ..
        "grep -E 'CapBnd|CapEff|NoNew|Cpus_allowed_list' /proc/self/status" }
      local spec = process.of(p, config, {})
      spec.stdout = "capture"
      local running, message = c:exec(spec)
      return running and running:wait().stdout or message
    end
    local out = exec { cwd = "/etc", env = { "B=2", "A=1", "PATH=/bin" }, noNewPrivileges = true, user = { umask = 7 },
      rlimits = { { type = "RLIMIT_NOFILE", soft = 50, hard = 60 } },
      capabilities = { bounding = { "CAP_KILL" }, effective = { "CAP_KILL" }, permitted = { "CAP_KILL" } } }
    for _, line in ipairs { "^0007\n/etc\n200\n0\n50\nA=1\nB=2\n", "CapEff:\t0000000000000020\n", "CapBnd:\t0000000000000020\n", "NoNewPrivs:\t1\n" } do
      assert.truthy(out:find(line), line .. " in " .. out)
    end
    out = exec { cwd = "/", env = { "PATH=/bin" } }
    for _, line in ipairs { "^0022\n/\n200\n0\n1024\n", "Cpus_allowed_list:\t0\n", "CapBnd:\t0000000020000420\n", "NoNewPrivs:\t0\n" } do
      assert.truthy(out:find(line), line .. " in " .. out)
    end
    if tonumber(t.sh("nproc")) > 1 then
      assert.falsy(t.read_file(("/proc/%d/status"):format(c:state().pid)):find("Cpus_allowed_list:\t0\n"), "of those alone")
      out = exec { cwd = "/", env = { "PATH=/bin" }, execCPUAffinity = { final = "1" } }
      assert.truthy(out:find("Cpus_allowed_list:\t1\n", 1, true), out)
    end
    assert.truthy(exec({ cwd = "/not/there", env = {} }):find("/not/there", 1, true))
    if t.is_root then
      os.execute("mkdir -m 700 " .. bundle.root .. "/private")
      assert.truthy(exec { cwd = "/private", env = { "PATH=/bin" }, user = { uid = 1000, gid = 1000 }, args = { "/bin/pwd" } } == "/private\n")
    end
  end)
end)
