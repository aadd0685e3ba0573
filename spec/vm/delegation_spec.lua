-- An ordinary user's containers below a service manager's: the groups are laid out, and handed over, as systemd does
-- it with user@.service (Delegate=): the directory, cgroup.procs, cgroup.threads and cgroup.subtree_control are the
-- user's, the limits on it are not; the manager itself sits in init.scope, a program in a scope below app.slice.
local t = require "support"
local g = require "support.cgroup"
local cgroup = require "caisson.cgroup"
local caisson = require "caisson"
local core = t.core

describe("delegation by a service manager", function()
  if not t.needs("root", "cgroup_v2") then return end
  local mount = g.env().hierarchies[1].mount
  local slice = g.prefix .. "user.slice"
  local service = slice .. "/user-1000.slice/user@1000.service"
  local scope = service .. "/app.slice/run-1.scope"

  -- loaded before the right to read the checkout is given up
  caisson.recipe({}):build { args = { "/bin/true" } }
  require "caisson.run"

  before_each(function()
    assert(core.cgroup.create { service, at = mount, controllers = { "cpu", "memory", "pids" } }):close()
    local dir = mount .. "/" .. service
    t.sh(("cd %s && mkdir init.scope && chown 1000:1000 . cgroup.procs cgroup.threads cgroup.subtree_control " ..
      "init.scope init.scope/cgroup.procs"):format(dir))
    assert(core.cgroup.set { group = assert(core.cgroup.open(dir)), file = "pids.max", value = "200" })
  end)

  after_each(function()
    collectgarbage()
    assert(core.cgroup.remove(mount .. "/" .. slice))
    assert.equal("", g.left())
  end)

  -- What fn answers, run by the user in run-1.scope.
  local function in_scope(fn)
    return g.as_user(function()
      local dir = mount .. "/" .. service
      local function enter(path)
        assert(core.cgroup.attach { group = assert(core.cgroup.open(mount .. "/" .. path)) })
      end
      -- the user's manager: nothing but init.scope holds its processes
      core.cgroup.create { "app.slice", at = dir, controllers = { "cpu", "memory", "pids" } }
      core.cgroup.create { "run-1.scope", at = dir .. "/app.slice", controllers = { "cpu", "memory", "pids" } }
      enter(scope)
      return fn()
    end, function()
      assert(core.cgroup.attach { group = assert(core.cgroup.open(mount .. "/" .. service .. "/init.scope")) })
    end)
  end

  local function run(cg, argv, options)
    local def = { cgroup = cg, namespaces = { user = true, ipc = true, cgroup = true } }
    for k, v in pairs(options or {}) do def[k] = v end
    return caisson.run(caisson.recipe(def), { args = argv, stdin = "null", stdout = "capture", stderr = "capture" })
  end

  it("limits memory, processes and CPU of a rootless container", function()
    assert.equal("memory_limit true cgroup\n0\nforked 2\ntrue\n", in_scope(function()
      local r = assert(run({ own_leaf = true, memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
      local out = ("%s %s %s\n"):format(r.status, tostring(r.oom), r.memory_from)
      r = assert(run({ own_leaf = true, memory = { max = "64M" }, pids = { max = 1 } }, { "/bin/true" }))
      out = out .. r.code .. "\n"
      r = assert(run({ own_leaf = true, pids = { max = 3 } }, { "/usr/bin/perl", "-e",
        "$| = 1; for (1 .. 9) { $p = fork; last unless defined $p; $p or exec 'sleep', 5; $n++ } print \"forked $n\\n\"" },
        { limits = { time = 20 } }))
      out = out .. r.stdout
      local running = assert(caisson.start(caisson.recipe { cgroup = { own_leaf = true, cpu = { max = 0.1 } } },
        { args = { "/bin/sh", "-c", "while :; do :; done" }, stdin = "null" }))
      core.poll({}, 0.7)
      out = out .. tostring(running.cgroup:figure("throttled") > 0) .. "\n"
      running:close()
      return out
    end))
  end)

  it("has its processes in the container's own group, which is the root of its cgroup namespace", function()
    local text = in_scope(function()
      local seen
      local r = assert(run({ own_leaf = true, pids = { max = 5 }, path = "box-*" }, { "/bin/cat", "/proc/self/cgroup" },
        { hooks = { createRuntime = function(state) seen = t.read_file("/proc/" .. state.pid .. "/cgroup") end } }))
      return r.stdout .. seen
    end)
    assert.truthy(text:find("^0::/\n0::/" .. scope:gsub("[%-.@]", "%%%0") .. "/box%-%x+\n$"), text)
  end)

  it("needs a leaf for the program itself: the error says so, and names the way", function()
    local text = in_scope(function()
      local r, message, _, failure = run({ memory = { max = "16M" } }, { "/bin/true" })
      assert(r == nil)
      return message .. "|" .. failure.hint
    end)
    assert.truthy(text:find("memory.max can't be set: " .. mount .. "/" .. scope .. " has processes", 1, true), text)
    assert.truthy(text:find("|own_leaf = true moves this process to " .. mount .. "/" .. scope .. "/" .. cgroup.leaf, 1,
      true), text)
  end)

  it("freezes, updates and kills without any right of root's", function()
    assert.equal("true true 7 true 9", in_scope(function()
      local running = assert(caisson.start(caisson.recipe { cgroup = { own_leaf = true, pids = { max = 5 } } },
        { args = { "/bin/sh", "-c", "while :; do :; done" }, stdin = "null" }))
      local group = running.cgroup
      local frozen, thawed = group:freeze() and group:frozen(), group:thaw()
      assert(group:update { pids = { max = 7 } })
      local max = core.cgroup.read(group.groups[1].dir, "pids.max"):match("%d+")
      local again = assert(cgroup.reopen(group:save()))
      local killed = again:kill()
      again:close()
      local r = running:wait()
      return ("%s %s %s %s %s"):format(tostring(frozen), tostring(thawed), max, tostring(killed), tostring(r.signal))
    end))
  end)

  it("ends where the user's tree ends: neither limits on it nor groups beside it are the user's", function()
    local text = in_scope(function()
      local group = assert(core.cgroup.open(mount .. "/" .. service))
      local ok, _, errno = core.cgroup.set { group = group, file = "pids.max", value = "max" }
      assert(ok == nil and errno == core.errno.EACCES)
      local lines = {}
      for _, path in ipairs { "/" .. slice .. "/user-1000.slice/beside", "/" .. service .. "-too/x", "/x" } do
        local r, message, number = run({ path = path, pids = { max = 5 } }, { "/bin/true" })
        assert(r == nil and number == core.errno.EACCES, message)
        lines[#lines + 1] = message
      end
      return table.concat(lines, "\n")
    end)
    assert.equal(3, select(2, text:gsub("is not writable by this user", "")), text)
  end)

  it("says which controller was not delegated", function()
    local text = in_scope(function()
      local r, message = run({ own_leaf = true, cpuset = { cpus = "0" } }, { "/bin/true" })
      assert(r == nil)
      return message
    end)
    assert.truthy(text:find("cgroup.controllers does not list the cpuset controller: it is not delegated", 1, true), text)
  end)
end)
