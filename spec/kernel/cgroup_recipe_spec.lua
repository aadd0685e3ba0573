-- A recipe's `cgroup` table, through to the result.
local t = require "support"
local g = require "support.cgroup"
local caisson = require "caisson"

local function run(cgroup, argv, options)
  local def = { cgroup = cgroup }
  for k, v in pairs(options or {}) do def[k] = v end
  if cgroup.path == nil then cgroup.path = g.prefix .. "*" end
  return caisson.run(caisson.recipe(def), { args = argv, stdin = "null", stdout = "capture", stderr = "capture" })
end

describe("A recipe's cgroup table", function()
  it("is wrong with a word that is misspelt, at its line", function()
    local recipe = caisson.recipe {
      cgroup = { memory = { mx = "1M" } },
    }
    local line = debug.getinfo(1, "l").currentline - 2
    local ok, message = recipe:build { args = { "/bin/true" } }
    assert.is_nil(ok)
    assert.truthy(message:find("cgroup_recipe_spec.lua:" .. line .. ": cgroup.memory: unknown option 'mx' " ..
      "(did you mean 'max'?)", 1, true), message)
  end)

  describe("as root", function()
    if not t.needs("root") then return end
    after_each(function() assert.equal("", g.left()) end)

    it("limits memory, and the result says so, with figures of the group", function()
      local r = assert(run({ memory = { max = "16M", swap = 0 } }, { "/usr/bin/tail", "/dev/zero" }))
      assert.equal("memory_limit", r.status)
      assert.is_true(r.oom)
      assert.same({ "cgroup", "cgroup" }, { r.memory_from, r.cpu_from })
      assert.is_true(r.memory_peak > 8 * 2 ^ 20 and r.memory_peak <= 16 * 2 ^ 20)
      r = assert(run({ memory = { max = "64M", swap = 0 } }, { "/bin/echo", "fits" }))
      assert.same({ "exited", 0, "fits\n", false }, { r.status, r.code, r.stdout, r.oom })
    end)

    it("limits processes, and counts them", function()
      local r = assert(run({ pids = { max = 2 } }, { "/bin/sh", "-c", "true & true & sleep 0.1 & sleep 0.1" }))
      assert.truthy(r.stderr:find("fork", 1, true))
      if r.pids_peak then assert.equal(2, r.pids_peak) end
    end)

    it("makes the group the root of the container's cgroup namespace", function()
      local r = assert(run({ memory = { max = "64M" }, pids = { max = 9 } }, { "/bin/cat", "/proc/self/cgroup" },
        { namespaces = { cgroup = true } }))
      for _, controller in ipairs { "memory", "pids" } do
        assert.truthy(r.stdout:find(":" .. controller .. ":/\n", 1, true) or r.stdout == "0::/\n", r.stdout)
      end
    end)

    it("ends with its processes, however the run ends", function()
      local r = assert(run({ pids = { max = 9 } }, { "/bin/sh", "-c", "sleep 1000 > /dev/null 2>&1 & sleep 1000" },
        { limits = { time = 0.1 } }))
      assert.equal("time_limit", r.status)
      assert.equal("", g.left())
      assert.is_nil((run({ pids = { max = 9 } }, { "/no/such/program" })))
      assert.equal("", g.left())
      local ok, message = run({ pids = { max = 9 } }, { "/bin/true" }, { hooks = { createRuntime = function()
        error("no", 0)
      end } })
      assert.is_nil(ok)
      assert.truthy(message:find("no", 1, true))
    end)

    it("hands the kernel's refusal on, with file, line and a hint", function()
      local recipe = caisson.recipe {
        cgroup = {
          path = g.prefix .. "*",
          memory = { max = "64M", swap = 0 },
          io = { max = { { device = "250:7", rbps = 1 } } },
        },
      }
      local line = debug.getinfo(1, "l").currentline - 3
      local r, message, errno, failure = caisson.run(recipe, { args = { "/bin/true" } })
      assert.is_nil(r)
      assert.equal("cgroup.set", failure.step)
      assert.equal(caisson.core.errno.ENODEV, errno)
      assert.truthy(message:find("250:7", 1, true), message)
      assert.truthy(failure.at:find("cgroup_recipe_spec.lua:" .. line, 1, true), failure.at)
      assert.equal("major:minor has to be a whole disk of this machine", failure.hint)
    end)
  end)

  describe("as an ordinary user without delegation", function()
    -- root drops to one; what is loaded later may be unreadable to it
    caisson.recipe({}):build { args = { "/bin/true" } }
    require "caisson.run"
    local function as_user(fn)
      if t.is_root then return g.as_user(fn) end
      return fn()
    end

    it("fails, naming the controller, the line, the cause and the way out", function()
      local text = as_user(function()
        local r, message, _, failure = run({ memory = { max = "16M" } }, { "/bin/true" })
        assert(r == nil)
        return table.concat({ failure.controller, failure.step, failure.status, failure.hint, message }, "|")
      end)
      assert.truthy(text:match("^memory|cgroup%.create|failed|[^|]+|cgroup: memory%.max can't be set: "), text)
    end)

    it("goes without what is optional, and the result says which", function()
      assert.equal("unlimited unlimited rusage", as_user(function()
        local r = assert(run({ memory = { max = "16M", optional = true }, pids = { max = 5, optional = true } },
          { "/bin/true" }))
        return r.memory .. " " .. r.pids .. " " .. r.cpu_from
      end))
    end)
  end)
end)
