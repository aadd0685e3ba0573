-- Groups for an ordinary user: in what root has delegated to it, nowhere else.
local t = require "support"
local g = require "support.cgroup"
local cgroup = require "caisson.cgroup"
local core = t.core

for _, world in ipairs(g.worlds()) do
  describe("cgroups of an ordinary user (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local v2 = world.name == "v2"
    local name = g.prefix .. "deleg"
    local delegated = {}

    -- As an administrator does it: the folder, and on v2 what cgroups(7) lists, are the user's.
    local function delegate(hierarchy)
      local dir = hierarchy.mount .. "/" .. name
      assert(os.execute("mkdir " .. dir))
      delegated[#delegated + 1] = dir
      assert(os.execute("chown 1000:1000 " .. dir))
      if hierarchy.version == 2 then
        assert(os.execute(("cd %s && chown 1000:1000 cgroup.procs cgroup.threads cgroup.subtree_control"):format(dir)))
      end
    end

    before_each(function()
      delegated = {}
      for _, h in ipairs(g.env(world.only).hierarchies) do
        if h.version == 2 or h.controllers[1] == "memory" or h.controllers[1] == "pids" then delegate(h) end
      end
    end)

    after_each(function()
      for _, dir in ipairs(delegated) do assert(core.cgroup.remove(dir)) end
      assert.equal("", g.left())
    end)

    -- v2: a process can be moved, or cloned, only within what is delegated: a user's session is in it already.
    local function enter()
      if not v2 then return end
      assert(core.cgroup.attach { group = assert(core.cgroup.open(delegated[1])) })
    end

    local function as_user(fn) return g.as_user(fn, enter) end

    -- The user's table: v1 by the folder's path, v2 below the user's own group.
    local function mine(cg)
      if v2 then cg.own_leaf = true else cg.path = "/" .. name .. "/b-*" end
      return cg
    end

    it("kill at memory.max, and live at pids.max, as for root", function()
      assert.equal("9 true 0", as_user(function()
        local r = assert(g.run(mine { memory = { max = "16M", swap = 0 } },
          { only = world.only, argv = { "/usr/bin/tail", "/dev/zero" } }))
        local small = assert(g.run(mine { pids = { max = 1 } }, { only = world.only, argv = { "/bin/true" } }))
        return ("%s %s %s"):format(r.signal, tostring(r.account.oom), small.code)
      end))
    end)

    it("are changed while it runs, found again, and emptied, by their user", function()
      local text = as_user(function()
        local cg = mine { pids = { max = 5 }, accounting = { "pids" } }
        local process, groups = g.start(cg, { "/bin/sleep", "100" }, world.only)
        local again = assert(cgroup.reopen(groups:save()))
        assert(again:update { pids = { max = 3 } })
        local max = core.cgroup.read(again:group({ "pids" }).dir, "pids.max"):match("%d+")
        local ok, message, errno = again:update { devices = {} }
        assert(ok == nil and errno ~= nil, message)
        local n = #again:procs()
        assert(again:kill())
        again:close()
        local status = assert(process:wait(10))
        groups:close()
        process:close()
        return ("%s %d %d"):format(max, n, status.signal)
      end)
      assert.equal("3 1 9", text)
    end)

    it("hold a container in a user namespace of its own", function()
      local text = as_user(function()
        local r = assert(g.run(mine { pids = { max = 5 } }, { only = world.only, script = "cat /proc/self/cgroup",
          namespaces = { "user", "mount", "pid" } }))
        return r.output
      end)
      assert.truthy(text:find(v2 and "0::/" .. name .. "/" .. g.prefix or ":pids:/" .. name .. "/b-", 1, true), text)
    end)

    it("leave nothing in what is delegated", function()
      as_user(function()
        local failed, _, errno = g.run(mine { pids = { max = 5 } }, { only = world.only, argv = { "/nonexistent" } })
        assert(failed == nil and errno == core.errno.ENOENT)
      end)
      for _, dir in ipairs(delegated) do
        local below = t.sh("find " .. dir .. " -mindepth 1 -type d -printf '%f\n'")
        assert.equal(v2 and cgroup.leaf .. "\n" or "", below)
      end
    end)

    it("are refused outside of it, by name, and then nothing is made", function()
      local text = as_user(function()
        -- beside it, with a name that only begins alike
        local compiled = g.compile({ path = "/" .. name .. "-too/x", pids = { max = 5 } }, world.only)
        local ok, message, errno, failure = cgroup.ready(compiled)
        return ("%s %s %s %s %s"):format(tostring(ok), errno, failure.controller, tostring(failure.hint ~= nil), message)
      end)
      assert.truthy(text:match("^nil 13 pids true cgroup: pids%.max can't be set: .* is not writable by this user"),
        text)
    end)

    it("are missing where nothing is delegated, by the controller's name; or unlimited, if that is allowed", function()
      local text = g.as_user(function()
        local ok, message, errno, failure = g.run({ memory = { max = "16M" } }, { only = world.only })
        assert(ok == nil)
        local free = assert(g.run({ memory = { max = "16M", optional = true } },
          { only = world.only, script = "echo ran" }))
        return ("%s %s %s %s"):format(errno, failure.controller, free.output, message)
      end)
      assert.truthy(text:match("^13 memory ran\n cgroup: memory%.max can't be set: "), text)
    end)
  end)
end
