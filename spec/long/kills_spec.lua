-- The host process is killed by SIGKILL, at every step and at any time: no process of the container lives
-- on, no mount is left, and the next start removes what the kernel could not: the empty cgroups.
local t = require "support"
local host = require "support.host"
local remains = require "support.remains"
local core = t.core

-- A host in a Lua of its own that starts the sandbox. stop: before this step it stops itself; 0: never.
local program = [[
local core, host = require "caisson.core", require "caisson_host"
local remains = require "support.remains"
remains.prefix = arg[1]
local stop, fork, init = tonumber(arg[2]), arg[3] == "fork", nil
if arg[3] == "bare" then init = false end
local function idle() end
local recipe = remains.recipe { init = init, hooks = fork and { startContainer = idle } or nil, script = function(plan)
  if stop > 0 then plan:before(stop, plan.call(function() host.stop() end, { side = "parent", name = "stop" })) end
end }
io.stdout:write("go\n")
io.stdout:flush()
local r = assert(require("caisson").start(recipe, { args = { "/bin/sleep", "1000" } }))
core.poll({}, 1000)
return r
]]

local path

local function start(stop, how)
  local env = { "LUA_PATH=" .. package.path, "LUA_CPATH=" .. host.module_folder() .. "/?.so;" .. package.cpath }
  for _, name in ipairs { "PATH", "LD_PRELOAD", "ASAN_OPTIONS", "HOME" } do
    if os.getenv(name) then env[#env + 1] = name .. "=" .. os.getenv(name) end
  end
  local null = assert(core.open("/dev/null"))
  local r, w = assert(core.pipe())
  local process = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("exec", {
    argv = { host.lua, path, remains.prefix, tostring(stop), how }, env = env, files = { "stdin", "stdout", "stderr" } }) },
    slots = { stdin = null, stdout = w, stderr = 2 } })
  w:close()
  null:close()
  assert(r:read() == "go\n")
  r:close()
  return process
end

local function state(pid) return (t.read_file("/proc/" .. pid .. "/stat") or ""):match("%) (%u)") end

-- All processes below, however deep.
local function descendants(pid, list)
  list = list or {}
  for task in pairs { [pid] = true } do
    for child in (t.read_file(("/proc/%s/task/%s/children"):format(task, task)) or ""):gmatch("%d+") do
      list[#list + 1] = child
      descendants(child, list)
    end
  end
  return list
end

-- Processes that are in the groups of these runs.
local function in_groups()
  return t.sh("find /sys/fs/cgroup -path '*" .. remains.prefix .. "*' -name cgroup.procs -exec cat {} + 2>/dev/null")
end

local function kill_and_look(process, what, mounts)
  local below = descendants(process:pid())
  process:kill("KILL")
  process:wait()
  process:close()
  local left = remains.wait_gone(below)
  for _, pid in ipairs(left) do os.execute("kill -KILL " .. pid) end -- a spec leaves nothing either
  assert.same({}, left, what .. ": processes live on")
  assert.equal("", in_groups(), what .. ": processes in its groups")
  assert.equal(mounts, t.read_file("/proc/self/mountinfo"), what .. ": mounts")
  return #below
end

-- What the kernel does not take back goes when the next process starts a container.
local function next_start()
  assert.equal("exited\n", host.run(([[
    local remains = require "support.remains"
    remains.prefix = %q
    local r = assert(require("caisson").run(remains.recipe(), { args = { "/bin/true" } }))
    print(r.status)
  ]]):format(remains.prefix)))
  assert.equal("", remains.groups())
end

describe("A host that is killed", function()
  setup(function()
    path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(program)
    f:close()
  end)

  teardown(function()
    os.remove(path)
    host.clean()
  end)

  -- bare: without an init
  for _, how in ipairs { "runner", "fork", "bare" } do
    it("before any step leaves no process, mount or file: " .. how, function()
      local built = assert(remains.recipe():build { args = { "/bin/true" } })
      local mounts, seen, files = t.read_file("/proc/self/mountinfo"), 0, remains.files()
      for i = 1, #built.plan.steps do
        local what = ("killed before step %d, %s"):format(i, built.plan.steps[i].step)
        -- the last steps are prepared together with exec: the host has no turn among them
        local process = start(i, how)
        local deadline = core.now() + 10e9
        while state(process:pid()) ~= "T" and core.now() < deadline do core.poll({}, 0.002) end
        assert.equal("T", state(process:pid()), what)
        seen = seen + kill_and_look(process, what, mounts)
      end
      assert.is_true(seen > #built.plan.steps) -- there was something to leave
      assert.equal(files, remains.files())
      next_start()
    end)
  end

  it("at any time leaves no process, mount or file", function()
    local mounts, seen, files = t.read_file("/proc/self/mountinfo"), 0, remains.files()
    for i = 1, 200 do
      local process = start(0, ({ "runner", "bare", "fork", "bare" })[i % 4 + 1])
      core.poll({}, (i * 7 % 100) / 100 * 0.04)
      seen = seen + kill_and_look(process, "killed in run " .. i, mounts)
    end
    assert.is_true(seen > 100)
    assert.equal(files, remains.files())
    next_start()
  end)
end)
