-- Every step of the sandbox fails in turn: the error says which, and nothing is left behind. As root with
-- cgroups, as an ordinary user in a user namespace.
local t = require "support"
local caisson = require "caisson"
local remains = require "support.remains"

local errno = t.core.errno.EXDEV -- no step of its own fails with it

local function nth(steps, i)
  local n = 0
  for k = 1, i do n = n + (steps[k].step == steps[i].step and 1 or 0) end
  return n
end

local function sweep(recipe)
  local built = assert(recipe:build { args = { "/bin/true" } })
  local steps = built.plan.steps
  assert.equal("exited", assert(caisson.run(recipe, { args = { "/bin/true" } })).status)
  local before = remains.now()
  assert.same({}, before.children)
  assert.equal("", before.groups)
  for i, step in ipairs(steps) do
    local what = ("step %d, %s"):format(i, step.step)
    local result, message, number, failure = caisson.run(recipe,
      { args = { "/bin/true" }, fail = { step = i, errno = errno } })
    if step.optional then
      assert.equal("exited", result and result.status, what)
      local found
      for _, s in ipairs(result.skipped) do found = found or s.number == i and s.errno == errno end
      assert.is_true(found, what .. " is not among what was left out")
    else
      assert.is_nil(result, what)
      assert.equal(errno, number, what)
      assert.truthy(message:find(("step %d, %s[%d]"):format(i, step.step, nth(steps, i)), 1, true), message)
      assert.truthy(message:find("(EXDEV)", 1, true), message)
      assert.same({ i, step.step, nth(steps, i), errno, "EXDEV", "failed" },
        { failure.number, failure.step, failure.index, failure.errno, failure.code, failure.status }, what)
      assert.equal(require("caisson.plan").at(step), failure.at, what)
      assert.truthy(failure.at and failure.at:find("%.lua:%d+$"), what .. ": at " .. tostring(failure.at))
    end
    local after = remains.now()
    assert.same({}, after.children, what .. ": children")
    assert.equal(before.fds, after.fds, what .. ": descriptors")
    assert.equal("", after.groups, what .. ": cgroups")
    assert.equal(before.mounts, after.mounts, what .. ": mounts")
  end
  return #steps
end

describe("A child that the OOM killer takes before its program runs", function()
  it("is an error, and leaves the host alive and nothing behind", function()
    if not t.needs("root") then return end -- an ordinary user has no memory limit here
    assert(caisson.run(remains.recipe(), { args = { "/bin/true" } })) -- the runner stays open
    local before = remains.now()
    local recipe = remains.recipe { cgroup = { path = remains.prefix .. "*", memory = { max = "24M", swap = 0 } },
      hooks = { startContainer = function()
        local held = {}
        for i = 1, 256 do held[i] = ("x"):rep(1048576) .. i end
        return held
      end } }
    local result, message, _, failure = caisson.run(recipe, { args = { "/bin/true" } })
    assert.is_nil(result)
    assert.equal(9, failure.signal, message)
    assert.truthy(message:find("killed by signal 9 (KILL) before its program was executed", 1, true), message)
    assert.same(before, remains.now())
  end)
end)

describe("Each step of the sandbox that fails", function()
  it("is named, and leaves nothing behind", function()
    assert.is_true(sweep(remains.recipe()) > 40)
  end)

  it("does so without an init", function()
    assert.is_true(sweep(remains.recipe { init = false }) > 40)
  end)

  it("does so with hooks in the child, which is a fork's then", function()
    local function idle() end
    assert.is_true(sweep(remains.recipe { hooks = { createRuntime = idle, createContainer = idle,
      startContainer = idle } }) > 40)
  end)
end)
