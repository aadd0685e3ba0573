-- A plan saved as JSON and loaded again, by another process maybe, runs as its recipe does.
local t = require "support"
local caisson = require "caisson"

local function recipe_file(text)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write('local caisson = require "caisson"\n', text)
  f:close()
  return path
end

local function saved(recipe, opts)
  local built, message = recipe:build(opts or {})
  local text = assert(built, message).plan:json()
  local plan = assert(caisson.plan.from_json(text))
  assert.equal(text, plan:json())
  return plan, text
end

describe("A saved plan", function()
  if not t.needs("userns") then return end

  it("keeps the limits", function()
    local plan = saved(caisson.recipe { namespaces = { pid = true }, limits = { time = 0.25 },
      args = { "sleep", "100" } })
    assert.equal("time_limit", assert(caisson.run(plan)).status)
    plan = saved(caisson.recipe { namespaces = { pid = true }, limits = { output = 10 }, args = { "yes" } })
    local r = assert(caisson.run(plan, { stdout = "capture" }))
    assert.equal("output_limit", r.status)
    assert.equal("y\ny\ny\ny\ny\n", r.stdout)
  end)

  it("keeps the streams", function()
    local plan = saved(caisson.recipe { namespaces = { pid = true },
      stdin = { data = "from the plan" }, stdout = "capture", stderr = "null",
      args = { "sh", "-c", "cat; readlink /proc/self/fd/2" } })
    local r = assert(caisson.run(plan))
    assert.equal("from the plan/dev/null\n", r.stdout)
  end)

  it("keeps command hooks, with what they are told", function()
    local out = os.tmpname()
    local function hook(name) return { path = "/bin/sh", args = { "sh", "-c", "echo $A >> $OUT; pwd -P >> $OUT; cat >> $OUT" },
           env = { A = name, OUT = out, PATH = "/usr/bin:/bin" }, dir = "/usr/bin", timeout = 9 } end
    local plan, text = saved(caisson.recipe { namespaces = { pid = true }, args = { "true" },
      hooks = { prestart = hook "first", poststart = hook "second", poststop = hook "third" } })
    assert.truthy(text:find('"path": "/bin/sh"', 1, true))
    assert.truthy(text:find('"A=first"', 1, true), "as OCI has it")
    assert.equal("exited", assert(caisson.run(plan, { id = "saved" })).status)
    local told = t.read_file(out)
    os.remove(out)
    assert.truthy(told:find("^first\n/usr/bin\n.-\"created\".-second\n.-\"running\".-third\n.-\"stopped\""), told)
  end)

  it("finds its functions again in its recipe: hooks, a script's steps, streams, result", function()
    local out = os.tmpname()
    local path = recipe_file(([[
      local function note(name)
        return function()
          local f = io.open(%q, "a")
          f:write(name, " ")
          f:close()
        end
      end
      return caisson.recipe { params = { what = { "string", default = "none" } },
        build = function(p)
          return { args = { "echo", "said" }, stdout = note("stdout " .. p.what), result = note "result",
            hooks = { createRuntime = note "createRuntime", startContainer = { call = note "startContainer", timeout = 5 },
              poststop = note "poststop" },
            script = function(plan) plan:before("exec", note "script") end }
        end }
    ]]):format(out))
    local plan = saved(assert(caisson.load(path)), { params = { what = "given" } })
    assert.equal("exited", assert(caisson.run(plan)).status)
    assert.equal("createRuntime startContainer script stdout given result poststop ", t.read_file(out))
    -- a recipe that has lost them is said
    local f = assert(io.open(path, "w"))
    f:write('return require "caisson".recipe { params = { what = { "string" } }, args = { "true" } }')
    f:close()
    local r, message = caisson.run(plan)
    assert.is_nil(r)
    assert.truthy(message:find("hooks%.%w+%[1%]: its recipe, " .. path .. ", has no such hook any more"), message)
    os.remove(path)
    r, message = caisson.run(plan)
    assert.is_nil(r)
    assert.truthy(message:find("is looked for in the plan's recipe: " .. path, 1, true), message)
    os.remove(out)
  end)

  it("of a recipe without a file runs where it has no function, and says so where it has", function()
    local plan = saved(caisson.recipe { namespaces = { pid = true }, args = { "true" },
      hooks = { createRuntime = function() end } })
    local r, message = caisson.run(plan)
    assert.is_nil(r)
    assert.truthy(message:find("the function hooks.createRuntime[1] is not in a saved plan", 1, true), message)
  end)

  it("keeps the groups, for the figures, and a limit that can't be had", function()
    if not t.needs("root", "cgroup_v1") then return end
    local plan, text = saved(caisson.recipe { cgroup = { pids = { max = 3 }, memory = { max = "64M" } },
      args = { "sh", "-c", "(sleep 0.1 & sleep 0.1 & wait) 2>/dev/null; true" } })
    local r = assert(caisson.run(plan))
    assert.equal("cgroup", r.memory_from)
    assert.is_true(r.pids_peak >= 2 and r.pids_peak <= 3, tostring(r.pids_peak))
    local missing = assert(caisson.plan.from_json((text:gsub('"missing": %[%]', '"missing": [{ "key": "memory.max",' ..
      '"controller": "memory", "message": "none here", "errno": 2 }]'))))
    local none, message = caisson.run(missing)
    assert.is_nil(none)
    assert.equal("cgroup: memory.max can't be set: none here", message)
  end)

  it("is not believed", function()
    local function try(run)
      return select(2, caisson.plan.from_json('{"caisson":1,"run":' .. run .. ',"steps":[]}'))
    end
    assert.equal("run: a table expected", try '"x"')
    assert.truthy(try('{"limit":{}}'):find("run: unknown key 'limit'", 1, true))
    assert.equal("run.limits.time: a number from 0 on expected, got x", try '{"limits":{"time":"x"}}')
    assert.truthy(try('{"hooks":{"poststart":[{"path":"x"}]}}'):find("run.hooks.poststart[1]: option 'path'", 1, true))
    assert.truthy(try('{"cgroup":{"groups":[{"slot":1}],"missing":[]}}'):find("run.cgroup.groups[1]", 1, true))
    assert.truthy(try('{"stdin":{"fil":"x"}}'):find("run.stdin: unknown key 'fil'", 1, true))
    assert.equal("run.recipe.file: a path expected", try '{"recipe":{}}')
  end)
end)
