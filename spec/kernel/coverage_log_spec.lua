-- What a child tells of itself in a log: lines with level and step, of run, exec, create and start.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local log = require "caisson.log"
local process = require "caisson.process"
local core = t.core

describe("the log of a child", function()
  if not t.needs("userns") then return end
  local path

  before_each(function()
    path = os.tmpname()
    os.remove(path)
  end)
  after_each(function() os.execute("rm -rf " .. path .. "*") end)

  local function logger(level) return assert(log.open { to = path, format = "json", level = level }) end

  -- The lines so far, of each level.
  local function lines(l)
    l:close()
    local all = { debug = {}, warning = {}, info = {}, error = {} }
    for line in t.read_file(path):gmatch("[^\n]+") do
      local entry = require("caisson.json").decode(line)
      table.insert(all[entry.level], entry)
    end
    os.remove(path)
    return all
  end

  local function recipe(options)
    local def = { extends = "sandbox", args = { "/bin/true" }, stdin = "null", stdout = "null",
      mounts = { { bind = "/nonexistent", at = "/mnt", optional = true }, { dir = "/made" } } }
    for k, v in pairs(options or {}) do def[k] = v end
    return caisson.recipe(def)
  end

  it("has each step that was done, and each that was left out, in their order", function()
    local l = logger "debug"
    local running = assert(caisson.start(recipe(), { log = l }))
    local pid, plan = running:pid(), running.built.plan
    running:wait()
    local seen = lines(l)
    local names, want = {}, {}
    for i, e in ipairs(seen.debug) do
      names[i] = e.number .. " " .. e.step
      assert.same({ pid, "step done" }, { e.pid, e.msg })
    end
    local left = seen.warning[1]
    assert.same({ "mount.bind", "ENOENT", pid, 1 }, { left.step, left.errno, left.pid, #seen.warning })
    assert.matches("/nonexistent", left.object)
    for i, s in plan:each() do if i ~= left.number then want[#want + 1] = i .. " " .. s.step end end
    assert.same(want, names)
    assert.equal(0, #seen.error)
  end)

  it("has but what went wrong at its usual level", function()
    local l = logger "info"
    assert(caisson.run(recipe(), { log = l }))
    local seen = lines(l)
    assert.same({ 0, 1, 0 }, { #seen.debug, #seen.warning, #seen.error })
  end)

  it("ends with the step that it failed in", function()
    local l = logger "debug"
    local ok, message, _, failure = caisson.run(recipe { cwd = "/nonexistent" }, { log = l })
    assert.is_nil(ok)
    local seen = lines(l)
    local e = seen.error[1]
    assert.same({ message, "chdir", "ENOENT", "child", failure.number, 1 }, { e.msg, e.step, e.errno, e.side, e.number, #seen.error })
    assert.matches("coverage_log_spec%.lua:%d+$", e.at)
    assert.equal(failure.number - 1, seen.debug[#seen.debug].number)
  end)

  it("is of a joining process too", function()
    local running, target = j.container({}, false)
    local l = logger "debug"
    local p = assert(process.start(target, { args = { "true" }, umask = "027" }, { log = l }))
    local n = #p.built.plan.steps
    local pid = p:pid()
    p:wait()
    assert.is_nil((process.start(target, { args = { "/nonexistent" } }, { log = l })))
    running:close()
    local seen = lines(l)
    assert.same({ n, "exec", pid }, { seen.debug[n].number, seen.debug[n].step, seen.debug[n].pid })
    assert.same({ "exec", "ENOENT" }, { seen.error[1].step, seen.error[1].errno })
  end)

  it("is of a container's creation, then of its start", function()
    local l = logger "debug"
    local c = assert(caisson.create(recipe(), { id = "log" .. t.getpid(), root = path .. ".d", log = l }))
    local made = lines(l)
    assert.equal("wait", made.debug[#made.debug].step)
    l = logger "debug"
    assert(c:start { log = l })
    local started = lines(l)
    assert.equal(made.debug[#made.debug].number + 1, started.debug[1].number)
    assert.equal("exec", started.debug[#started.debug].step)
    assert(c:wait(5))
    assert(c:delete())
    assert.has_error(function() caisson.run(recipe(), { log = "x" }) end)
    assert.has_error(function() caisson.create(recipe(), { id = "x", root = path .. ".d", log = {} }) end)
  end)

  it("is the command's too", function()
    local cli = core.realpath "build/bin/caisson"
    if not cli then return pending "the command is not built" end
    t.sh(cli .. " --log " .. path .. " --log-format json --log-level debug run sandbox -- nosuch 2>&1")
    local seen = lines { close = function() end }
    assert.truthy(#seen.debug > 10)
    assert.same({ 1, "exec" }, { #seen.error, seen.error[1].step })
  end)
end)
