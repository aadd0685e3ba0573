local plan = require "caisson.plan"

describe("plans", function()
  local function sample()
    local p = plan.new()
    p:add(p.clone { "uts", "pid" }, p.hostname "box", p.domainname "example.org",
      p.exec { argv = { "/bin/true", "\195\169\255" }, files = { "stdin", "-", "log" } })
    return p
  end
  local function names(p)
    local t = {}
    for i, s in p:each() do t[i] = s.step end
    return table.concat(t, " ")
  end

  it("are edited by name, index and step", function()
    local p = sample()
    p:after("clone", p.hostname "first")
    p:before("hostname[2]", p.hostname "second")
    assert.equal("clone hostname hostname hostname domainname exec", names(p))
    assert.equal("box", p:remove("hostname[3]").options)
    p:move("domainname", "hostname")
    assert.equal("clone domainname hostname hostname exec", names(p))
    p:replace("domainname", p.hostname "zero")
    assert.equal("clone hostname hostname hostname exec", names(p))
    assert.has_error(function() p:after("pivot_root", p.hostname "x") end,
      "the plan has no step pivot_root")
  end)

  it("are the same after a round trip through JSON, byte for byte", function()
    local text = sample():json()
    local again = assert(plan.from_json(text))
    assert.equal(text, again:json())
    assert.equal(sample():text(), again:text())
    assert.equal("\195\169\255", again.steps[4].options.argv[2])
  end)

  it("are refused where they are no plans", function()
    assert.same({ nil, "not a plan of caisson 1" }, { plan.from_json("{}") })
    local _, message = plan.from_json('{"caisson":1,"steps":[{"step":"hostnam","options":{}}]}')
    assert.equal("step 1: unknown step 'hostnam' (did you mean 'hostname'?)", message)
    _, message = plan.from_json('{"caisson":1,"steps":[{"step":"exec","optinal":true,"options":{"argv":["x"]}}]}')
    assert.equal("step 1: unknown key 'optinal'", message)
    _, message = plan.from_json('{"caisson":1,"runs":"x","steps":[]}')
    assert.equal("not a plan of caisson 1: unknown key 'runs'", message)
    local core = require "caisson.core"
    for i, step in ipairs { { step = "clone", options = {} }, { step = "exec", options = { argv = { "x" } } } } do
      step.optional = true
      local list = { { step = "clone", options = {} } }
      list[i] = step
      assert.has_error(function() core.plan(list) end, ("step %d: %s can't be optional"):format(i, step.step))
    end
  end)

  it("never change the host process", function()
    local core = require "caisson.core"
    for name, options in pairs { umask = "077", chdir = "/", uid = 0, rlimit = { "nofile", soft = 1, hard = 1 },
      close = { "stdin" }, no_new_privs = {}, ["namespace.unshare"] = "uts", pivot_root = {}, session = {} } do
      assert.has_error(function() core.plan { { step = name, options = options, side = "parent" } } end,
        ("step 1: %s changes the process that applies it, and can't be on the parent's side"):format(name))
    end
  end)

  it("change the child alone from the parent's side, and so behind clone", function()
    local core = require "caisson.core"
    for name, options in pairs { affinity = "0", scheduler = "other", oom_score_adj = 5 } do
      assert.has_error(function() core.plan { { step = name, options = options, side = "parent" }, { step = "clone" },
        { step = "exec", options = { argv = { "x" } } } } end,
        ("step 1: %s on the parent's side is the child's, and stands behind clone"):format(name))
    end
  end)

  it("called directly never take over a descriptor of the caller's", function()
    local core = require "caisson.core"
    local fd = assert(core.open("/dev/null"))
    assert.has_error(function() core.procfs { slot = fd } end,
      "option 'slot': a direct call makes it, and returns it")
    assert.equal("", fd:read())
    fd:close()
  end)

  it("name the line that asked for a step", function()
    local p = plan.new()
    p:add(p.hostname "box")
    assert.truthy(p:rows()[1].at:match("plan_spec%.lua:%d+$"))
  end)

  it("raise on a name that is neither a method nor a step", function()
    assert.has_error(function() return plan.new().symlnk end,
      "neither a method of plans nor a step: 'symlnk'")
  end)

  it("must end with exec", function()
    local p = plan.new()
    p:add(p.hostname "box")
    assert.same({ nil, "the last step of a plan is exec" }, { p:check() })
  end)
end)
