-- What happens in a container's groups, told by one descriptor.
local t = require "support"
local g = require "support.cgroup"
local cgroup = require "caisson.cgroup"
local core = t.core

for _, world in ipairs(g.worlds()) do
  describe("events (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local process, groups, events

    local function start(cg, script)
      process, groups = g.start(cg, { "/bin/sh", "-c", script }, world.only)
      events = assert(groups:events())
    end

    after_each(function()
      if events then events:close() end
      groups:close()
      process:close()
      events = nil
      assert.equal("", g.left())
    end)

    -- Until one of this type came; all that did, by type.
    local function until_type(what, seconds)
      local seen, deadline = {}, core.now() + (seconds or 10) * 1e9
      while not seen[what] and core.now() < deadline do
        for _, e in ipairs(events:wait(0.5)) do
          seen[e.type] = seen[e.type] or e
        end
      end
      return seen
    end

    it("tell of the OOM killer, and are silent before", function()
      start({ memory = { max = "16M", swap = 0 } }, "sleep 0.2; tail /dev/zero; sleep 100")
      assert.same({}, events:wait(0.05))
      local seen = until_type "oom_kill"
      assert.equal(1, seen.oom_kill.count)
      assert.equal(1, seen.oom_kill.total)
      assert.equal(1, groups:stats().oom_kills)
      assert.truthy(seen.oom)
      assert.same({}, events:step())
    end)

    it("tell of it through a descriptor that any loop can poll", function()
      start({ memory = { max = "16M", swap = 0 } }, "sleep 0.1; tail /dev/zero; sleep 100")
      local fds = events:fds()
      assert.equal(1, #fds)
      local ready = assert(core.poll(fds, 10))
      assert.truthy(ready[1])
      assert.is_true(#events:step() > 0)
    end)

    it("cost no descriptor once they are closed", function()
      start({ memory = { max = "16M" } }, "sleep 100")
      local before = t.count_fds()
      for _ = 1, 20 do assert(groups:events()):close() end
      assert.equal(before, t.count_fds())
      assert.has_error(function()
        local e = assert(groups:events())
        e:close()
        e:step()
      end)
    end)

    it("refuse what they don't know, by name", function()
      start({ memory = { max = "16M" } }, "sleep 100")
      local before = t.count_fds()
      for _, case in ipairs {
        { 5, "a table expected" }, { { om = true }, "unknown option 'om'" }, { { oom = 1 }, "oom: true or false" },
        { { pressure = 5 }, "pressure: " }, { { pressure = { gpu = {} } }, "unknown option 'gpu'" },
        { { pressure = { cpu = {} } }, "one of some and full" }, { { pressure = { cpu = { some = 0 } } }, "pressure.cpu.some" },
        { { pressure = { cpu = { some = 0.1, window = 20 } } }, "pressure.cpu.window" },
      } do
        local ok, message = pcall(groups.events, groups, case[1])
        assert.is_false(ok)
        assert.truthy(tostring(message):find(case[2], 1, true), tostring(message))
      end
      assert.equal(before, t.count_fds())
    end)

    if world.name == "v1" then
      it("have no pressure without a v2 group: an error that says so", function()
        start({ memory = { max = "16M" } }, "sleep 100")
        local before = t.count_fds()
        local ok, message, errno = groups:events { pressure = { memory = { some = 0.1 } } }
        assert.is_nil(ok)
        assert.equal(core.errno.EOPNOTSUPP, errno)
        assert.truthy(message:find("no v2 group", 1, true))
        assert.equal(before, t.count_fds())
      end)
    else
      it("tell when a v2 group is frozen, thawed, empty and gone", function()
        local at
        for _, h in ipairs(g.env().hierarchies) do at = h.version == 2 and h.mount or at end
        process, groups = g.start({ path = g.prefix .. "e", accounting = { "cpu" } }, { "/bin/sleep", "100" }, "v2")
        events = assert(groups:events())
        assert(groups:freeze())
        assert.truthy(until_type("frozen").frozen)
        assert(groups:thaw())
        assert.truthy(until_type("thawed").thawed)
        assert(groups:kill())
        assert.truthy(until_type("empty").empty)
        process:wait(10)
        assert(core.cgroup.remove(at .. "/" .. g.prefix .. "e"))
        assert.truthy(until_type("gone").gone)
        assert.same({}, events:wait(0.05)) -- once, and no busy loop
      end)
    end
  end)
end

describe("pressure of the machine", function()
  it("is what /proc/pressure says, or nil", function()
    local p = cgroup.pressure()
    if t.read_file("/proc/pressure/memory") then
      assert.is_number(p.memory.some.total_us)
      assert.is_number(p.cpu.some.avg10)
    else
      assert.is_nil(p)
    end
  end)
end)
