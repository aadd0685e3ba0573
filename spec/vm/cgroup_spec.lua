-- What only a machine with nothing but cgroup v2 can show, beside all of spec/kernel/cgroup*_spec.lua.
local t = require "support"
local g = require "support.cgroup"
local core = t.core

describe("cgroup v2", function()
  if not t.needs("root", "cgroup_v2") then return end

  after_each(function() assert.equal("", g.left()) end)

  it("kills the whole container where memory.oom.group says so; the host lives", function()
    local script = "sleep 1000 > /dev/null 2>&1 & tail /dev/zero; echo survived"
    local r = assert(g.run({ memory = { max = "24M", swap = 0, oom_group = true } }, { script = script }))
    assert.equal(9, r.signal)
    assert.equal("", r.output)
    assert.is_true(r.stats.oom_kills >= 3)
    assert.is_true(r.account.oom)
    r = assert(g.run({ memory = { max = "24M", swap = 0 } }, { script = script }))
    assert.truthy(r.output:match("survived"), r.output)
    assert.equal(1, r.stats.oom_kills)
  end)

  it("writes any file that unified names", function()
    local found = {}
    assert(g.run({ unified = { ["memory.low"] = "4194304", ["cgroup.max.depth"] = 2, ["pids.max"] = "77" } }, {
      argv = { "/bin/true" }, inspect = function(_, _, groups)
        for _, file in ipairs { "memory.low", "cgroup.max.depth", "pids.max" } do
          found[#found + 1] = core.cgroup.read(groups.groups[1].dir, file)
        end
      end }))
    assert.same({ "4194304\n", "2\n", "77\n" }, found)
    local ok, message, errno = g.run { unified = { ["memory.nothing"] = "1" } }
    assert.is_nil(ok)
    assert.equal(core.errno.ENOENT, errno)
    assert.truthy(message:match("cgroup%.set%[1%] memory%.nothing = 1"), message)
  end)

  it("limits huge pages, and block devices, of which it counts the traffic", function()
    os.execute("modprobe loop 2>/dev/null")
    local image = os.tmpname()
    assert(os.execute("truncate -s 8M " .. image))
    local loop = t.sh("losetup -f --show " .. image):match("%S+")
    finally(function()
      os.execute("losetup -d " .. loop)
      os.remove(image)
    end)
    local st = assert(core.lstat(loop))
    local device = st.rdev_major .. ":" .. st.rdev_minor
    local max, huge, weight
    local r = assert(g.run({ hugetlb = { ["2MB"] = "4M" },
      io = { weight = 250, max = { { device = device, rbps = "64M", wiops = 1000 } } } },
      { script = "dd if=" .. loop .. " of=/dev/null bs=1M iflag=direct count=4 2>&1", inspect = function(_, _, groups)
        local dir = groups.groups[1].dir
        max, huge = core.cgroup.read(dir, "io.max"), core.cgroup.read(dir, "hugetlb.2MB.max")
        weight = core.cgroup.read(dir, "io.weight")
      end }))
    assert.equal(device .. " rbps=67108864 wbps=max riops=max wiops=1000\n", max)
    assert.equal("4194304\n", huge)
    assert.equal("default 250\n", weight)
    local traffic
    for _, item in ipairs(r.stats.io) do
      if item.device == device then traffic = item end
    end
    assert.is_true(traffic and traffic.read_bytes >= 4194304 and traffic.reads >= 1, r.output)
  end)

  it("has no groups with controllers beside processes: the error says which group, and own_leaf helps", function()
    local mount = g.env().hierarchies[1].mount
    local outer = assert(core.cgroup.create { g.prefix .. "outer", at = mount, controllers = { "memory" } })
    local path = mount .. "/" .. g.prefix .. "outer"
    finally(function()
      outer:close()
      assert(core.cgroup.remove(path))
    end)
    local text = g.as_user(function() return "done" end, function()
      -- still root, but in a group that is not the root of all
      assert(core.cgroup.attach { group = outer })
      local ok, message, errno = core.cgroup.create { "inner", at = path, controllers = { "memory" } }
      assert(ok == nil and errno == core.errno.EBUSY, message)
      assert(message:find("+memory to cgroup.subtree_control of " .. path, 1, true), message)
      assert(core.cgroup.leave { at = path, leaf = "leaf" })
      assert(t.read_file("/proc/self/cgroup"):find("outer/leaf", 1, true))
      local dir = assert(core.cgroup.create { "inner", at = path, controllers = { "memory" } })
      assert(core.cgroup.set { group = dir, file = "memory.max", value = "8M" })
      assert(core.cgroup.attach { group = assert(core.cgroup.open(mount)) })
    end)
    assert.equal("done", text)
  end)

  it("puts a second program into the group of a running one", function()
    local process, groups = g.start({ path = g.prefix .. "one", pids = { max = 9 } }, { "/bin/sleep", "100" })
    local seen
    local r = assert(g.run({ path = g.prefix .. "one", existing = true, pids = { max = 9 } }, {
      script = "cat /proc/self/cgroup", inspect = function() seen = #groups:procs() end }))
    assert.equal("0::/" .. g.prefix .. "one\n", r.output)
    assert.equal(1, seen)
    groups:close()
    process:close()
  end)

  it("needs no write to cgroup.procs: the child is born in its group", function()
    local compiled = g.compile { pids = { max = 5 } }
    for _, s in ipairs(g.steps(compiled)) do assert.not_equal("cgroup.attach", s.step) end
    assert.equal("cgroup", compiled.slot)
  end)
end)
