-- The command line's words, before anything is done with them.
local arguments = require "caisson.cli.arguments"
local container = require "caisson.cli.container"

describe("caisson.cli.arguments", function()
  local function fails(...)
    local ok, e = pcall(arguments.parse, { ... })
    assert.is_false(ok)
    return tostring(e)
  end

  it("knows each command's words, and --root before or after it", function()
    local o = arguments.parse { "--root", "/r", "kill", "box", "HUP", "--all" }
    assert.same({ "kill", "/r", "box", "HUP", true }, { o.command, o.root, o.id, o.signal, o.all })
    o = arguments.parse { "kill", "box", "--root", "/r" }
    assert.same({ "kill", "/r", "box" }, { o.command, o.root, o.id, o.signal })
    o = arguments.parse { "--root", "create", "list" } -- a directory called create
    assert.same({ "list", "create" }, { o.command, o.root })
    o = arguments.parse { "create", "box", "sandbox", "a=b", "--env", "X=1", "--env", "Y=2" }
    assert.same({ { "box", "sandbox", "a=b" }, { "X=1", "Y=2" } }, { o.words, o.env })
    o = arguments.parse { "exec", "--user", "1:2", "--cap", "kill", "--cap", "chown", "box" }
    assert.same({ "1:2", { "kill", "chown" }, "box" }, { o.user, o.cap, o.id })
  end)

  it("refuses what a command does not take", function()
    assert.truthy(fails("kill"):find("missing argument 'ID'", 1, true) or fails("kill"):find("missing argument", 1, true))
    assert.truthy(fails("start", "a", "b"):find("too many arguments", 1, true))
    assert.truthy(fails("delete", "a", "--forse"):find("unknown option '--forse' (did you mean '--force'?)", 1, true))
    assert.truthy(fails("strat", "a"):find("unknown command 'strat' (did you mean", 1, true))
    assert.truthy(fails("--root", "/r", "run", "sandbox"):find("--root: run knows no containers' states", 1, true))
    assert.truthy(fails("list", "--root"):find("--root", 1, true))
  end)

  it("has help for each of them", function()
    local _, commands = arguments.parser()
    for _, c in ipairs(require("caisson.cli.lifecycle").commands) do
      assert.truthy(commands[c[1]]:get_help():find("Usage: caisson " .. c[1], 1, true))
      assert.truthy(require("caisson.cli.lifecycle").modules[c[1]])
    end
    assert.same({ command = "help", topic = "pause" }, arguments.parse { "pause", "--help" })
  end)
end)

describe("update's limits", function()
  it("are those of a recipe's cgroup table", function()
    assert.same({ memory = { max = "64M", oom_group = true }, pids = { max = "10" }, cpu = { max = 0.5, weight = "50",
      uclamp_min = 20 }, hugetlb = { ["2MB"] = "4M" }, unified = { ["memory.high"] = "1.5" }, cpuset = { cpus = "0-3,5" } },
      container.limits { "memory.max=64M", "memory.oom_group=true", "pids.max=10", "cpu.max=0.5", "cpu.weight=50",
        "cpu.uclamp_min=20", "hugetlb.2MB=4M", "unified.memory.high=1.5", "cpuset.cpus=0-3,5" })
  end)

  it("are refused where they are none", function()
    for _, word in ipairs { "pids", "pids.max", "pids.max=", "=1", ".max=1", "pids.=1" } do
      assert.has_error(function() container.limits { word } end)
    end
    assert.has_error(function() container.limits { "pids.max=1", "pids.max=1" } end)
  end)
end)

describe("words at a terminal", function()
  local words = require "caisson.words"

  it("have no control characters, those above 127 neither", function()
    assert.equal("a\\x1b[1m\\xc2\\x9b1m\n\195\164", words.message("a\27[1m\194\155" .. "1m\n\195\164"))
    assert.equal("a\\x0a\\xc2\\x9b1m\195\164", words.show("a\n\194\155" .. "1m\195\164"))
  end)
end)
