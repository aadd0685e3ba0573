-- A container's groups from another process: saved, reopened, frozen, signalled, joined, removed.
local t = require "support"
local g = require "support.cgroup"
local cgroup = require "caisson.cgroup"
local json = require "caisson.json"
local core = t.core

local function state_of(pid)
  return (t.read_file("/proc/" .. pid .. "/stat") or ""):match("%) (%u)")
end

for _, world in ipairs(g.worlds()) do
  describe("a saved group (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local process, groups

    local function start(cg, script)
      cg.accounting = cg.accounting or { "freeze", "cpu", "memory", "pids" }
      process, groups = g.start(cg, { "/bin/sh", "-c", script or "while :; do sleep 0.01; done" }, world.only)
    end

    after_each(function()
      if groups then groups:close() end
      if process then process:close() end
      process, groups = nil, nil
      assert.equal("", g.left())
    end)

    it("is reopened by another process, which sees, freezes, thaws, signals and kills what is in it", function()
      -- nothing that forks: who is stopped in vfork keeps its parent in state D
      start({ pids = { max = 20 } }, "trap 'echo' USR1; while :; do :; done")
      local saved = json.document(assert(groups:save()))
      local function elsewhere(code)
        return t.host(([[
          local cgroup, json, core = require "caisson.cgroup", require "caisson.json", require "caisson.core"
          local group = assert(cgroup.reopen(json.decode(%q)))
          %s
          group:close()]]):format(saved, code))
      end
      assert.truthy(elsewhere("print(table.concat(group:procs(), ' '), group:frozen(), group:stats().cpu_ns > 0)")
        :find(process:pid() .. "[ %d]*\tfalse\ttrue"))
      assert.equal("true\ttrue\n", elsewhere("print(group:freeze(), group:frozen())"))
      assert.is_true(groups:frozen())
      local before = groups:cpu_ns()
      core.poll({}, 0.1)
      assert.equal(before, groups:cpu_ns())
      assert.equal("true\tfalse\n", elsewhere("print(group:thaw(), group:frozen())"))
      assert.is_true(g.eventually(function() return groups:cpu_ns() > before end))
      assert.is_true(tonumber(elsewhere("print(group:signal 'STOP')")) >= 1)
      assert.is_true(g.eventually(function() return state_of(process:pid()) == "T" end, 5),
        t.read_file("/proc/" .. process:pid() .. "/status"))
      elsewhere("group:signal(18)")
      assert.is_true(g.eventually(function() return state_of(process:pid()) ~= "T" end))
      assert.equal("true\n", elsewhere("group:freeze() print(group:kill())")) -- frozen ones die too
      assert.equal(9, assert(process:wait(10)).signal)
    end)

    it("is removed from there, with what the plan made above it and nothing else", function()
      start({ path = g.prefix .. "a/b/c" })
      local saved = assert(groups:save())
      for _, item in ipairs(saved) do assert.equal(3, item.made) end
      assert.is_true(groups:kill())
      process:wait(10)
      local again = assert(cgroup.reopen(saved))
      local other = saved[1].path:gsub("/b/c$", "/another")
      assert(os.execute("mkdir " .. other))
      assert.is_true(again:remove())
      again:close()
      assert.truthy(core.lstat(other))
      assert.equal(0, select(2, g.left():gsub("/b\n", "")))
      assert(core.cgroup.remove(other, 1, 1))
    end)

    it("stays where it was there before", function()
      local compiled = g.compile({ path = g.prefix .. "there" }, world.only)
      for _, item in ipairs(compiled.groups) do assert(core.cgroup.create { item.path, at = item.at }) end
      start { path = g.prefix .. "there", existing = true, accounting = { "cpu" } }
      local saved = assert(groups:save())
      assert.is_true(groups:kill())
      process:wait(10)
      local again = assert(cgroup.reopen(saved))
      assert.is_true(again:remove())
      again:close()
      for _, item in ipairs(saved) do
        assert.truthy(core.lstat(item.path))
        assert(core.cgroup.remove(item.path))
      end
    end)

    it("that is gone, or another's by now, is an error; what is left of it is opened", function()
      start({ path = g.prefix .. "one" })
      local saved = assert(groups:save())
      groups:kill()
      process:wait(10)
      local again = assert(cgroup.reopen(saved))
      assert(again:remove())
      again:close()
      for _, round in ipairs { "gone", "another's" } do
        local found, message, errno = cgroup.reopen(saved)
        assert.is_nil(found, round)
        assert.equal(core.errno.ENOENT, errno)
        assert.truthy(message:find("one is gone", 1, true), message)
        for _, item in ipairs(saved) do os.execute("mkdir -p " .. item.path) end
      end
      saved[1].inode = nil
      again = assert(cgroup.reopen(saved))
      assert.equal(1, #again.groups)
      again:close()
      for _, item in ipairs(saved) do assert(core.cgroup.remove(item.path)) end
    end)

    it("is joined by a second process, in a group below it if that is asked for, never outside", function()
      start({ pids = { max = 20 } })
      local again = assert(cgroup.reopen(groups:save()))
      local function join(sub)
        local how = again:join(sub)
        local steps = t.steps(how.before, { t.step("clone", { cgroup = how.slot }) }, how.after)
        for i, s in ipairs(steps) do steps[i] = { step = s.step, options = s.options, side = s.side } end
        return assert(t.run(steps, { slots = how.slots, script = "cat /proc/self/cgroup" })).output
      end
      local where = world.name == "v2" and "0::" or ":pids:"
      local mine = t.read_file("/proc/" .. process:pid() .. "/cgroup"):match(where .. "[^\n]*")
      assert.truthy(join():find(mine .. "\n", 1, true))
      assert.truthy(join("sub/x"):find(mine .. "/sub/x\n", 1, true))
      assert.equal("", t.sh("find " .. again.groups[1].path .. " -mindepth 1 -type d"))
      local one = world.name == "v2" and "" or "pids"
      local output = join { [one] = "s" }
      assert.truthy(output:find(mine .. "/s\n", 1, true), output)
      for _, bad in ipairs { "..", "../x", "a/../../x", "/x", "a//b", "", "cgroup.procs", 5, { [one] = "../y" },
        { nothing = "a" } } do
        local ok, e = pcall(again.join, again, bad)
        assert.is_false(ok)
        assert.equal("path", e.key)
      end
      again:close()
    end)
  end)
end

describe("reopen", function()
  it("takes only what save() answers", function()
    for _, bad in ipairs { 5, { 5 }, { {} }, { { path = "x", controllers = {} } }, { { path = "/a/../b", controllers = {} } },
      { { path = "/a\0", controllers = {} } }, { { path = "/a" } }, { { path = "/a", controllers = {}, inode = 5 } },
      { { path = "/a", controllers = {}, made = "x" } } } do
      assert.has_error(function() cgroup.reopen(bad) end)
    end
    local found, _, errno = cgroup.reopen { { path = "/tmp", controllers = {} } }
    assert.is_nil(found)
    assert.is_number(errno)
  end)
end)
