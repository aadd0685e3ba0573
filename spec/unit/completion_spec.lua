-- What the command answers to a shell that completes a line, from the descriptions of its arguments.
local completion = require "caisson.cli.completion"
local parameters = require "caisson.cli.completion.parameters"

-- The answers for a line, sorted; what is behind the tab left out.
local function answers(...)
  local list = {}
  for i, a in ipairs(completion.answers { ... }) do list[i] = a:match "^[^\t]*" end
  table.sort(list)
  return list
end

local function has(list, ...)
  for _, word in ipairs { ... } do
    local found = false
    for _, w in ipairs(list) do found = found or w == word end
    if not found then return false, word end
  end
  return true
end

describe("completion", function()
  it("knows every command, with what it does", function()
    local all = answers ""
    local _, commands = require("caisson.cli.arguments").parser()
    for name in pairs(commands) do assert.is_true(has(all, name), name) end
    assert.same({ "resume" }, answers "res")
    assert.same({ "pause\tStop all processes of a container where they are." }, { completion.answers { "pau" }[1] })
    assert.same({}, answers("nonsense", ""))
  end)

  it("knows every option of each command, none that is hidden, and the values of those that have words", function()
    local _, commands = require("caisson.cli.arguments").parser()
    for name, c in pairs(commands) do
      local all = answers(name, "--")
      for _, option in ipairs(c._options) do
        for _, alias in ipairs(option._aliases) do
          if #alias > 2 then assert.equal(not option._hidden, (has(all, alias)), name .. " " .. alias) end
        end
      end
    end
    assert.same({ "debug", "error", "info", "warning" }, answers("--log-level", ""))
    assert.same({ "--log-level=debug" }, answers("--log-level=d"))
    assert.same({ ":files" }, answers("run", "--result", "x"))
    assert.same({ ":directories" }, answers("--root", ""))
    assert.is_true(has(answers("exec", "--cap", "sys_"), "sys_admin", "sys_ptrace"))
    assert.same({}, answers("wait", "--timeout", ""))
    -- what an option has as its value is no command, and no recipe
    assert.same({ "run" }, answers("--root", "plan", "ru"))
  end)

  it("knows recipes by name, and that they may be files", function()
    assert.same({ ":files", "judge" }, answers("run", "jud"))
    assert.same({ ":files" }, answers("plan", "./jud"))
    assert.same({ ":files", "judge" }, answers("new", "mine", "--from", "jud"))
    assert.same({ ":files", "judge" }, answers("create", "box", "jud"))
    assert.same({}, answers("create", "jud"))
    assert.same({ ":files", "judge" }, answers("create", "--id", "box", "jud"))
    assert.is_true(has(answers("help", "s"), "sandbox", "start"))
  end)

  it("knows the parameters of the recipe that is named, those of its base too, each once, and their values", function()
    local all = answers("run", "judge", "")
    assert.is_true(has(all, ":open", "time=", "memory=", "network=")) -- the last is the sandbox's
    assert.is_false((has(answers("run", "judge", "time=1s", ""), "time=")))
    assert.same({ ":open", "memory=", "mode=" }, answers("run", "judge", "m"))
    assert.same({ "network=no", "network=yes" }, answers("run", "judge", "network="))
    assert.same({ "time=1s" }, answers("watch", "judge", "time="))
    assert.same({ ":files" }, answers("run", "judge", "dir=x"))
    assert.truthy(completion.answers({ "run", "judge", "tim" })[1]:find("\ttime: CPU time (default: 1s)", 1, true))
  end)

  it("knows rules, options to go without, verbs, and system calls", function()
    assert.is_true(has(answers("probe", "--fail-on", ""), "danger", "host-root"))
    assert.same({ "host-root,engine-socket" }, answers("probe", "--fail-on", "host-root,engine"))
    assert.is_true(has(answers("check", "--allow", ""), "invalid", "no-memory-limit"))
    assert.same({ "hooks,limits" }, answers("export", "--without", "hooks,limits"))
    assert.same({ "bpf", "decide", "diff", "show" }, answers("policy", ""))
    assert.same({ ":files", "judge" }, answers("policy", "show", "jud"))
    assert.same({ "pivot_root" }, answers("policy", "decide", "judge", "pivot"))
    -- where one recipe may stand behind another a blank does, too
    assert.same({ ":files", "sandbox" }, answers("probe", "judge", "sandb"))
    assert.is_true(has(answers("probe", "judge", "tim"), ":open", "time="))
  end)

  it("leaves what stands behind -- to the shell", function()
    assert.same({ ":program 4" }, answers("run", "sandbox", "--", ""))
    assert.same({ ":program 4" }, answers("run", "sandbox", "--", "ls", "x"))
    assert.same({ ":program 3" }, answers("watch", "--", "--"))
  end)

  it("names the steps that a run may be stopped at", function()
    local steps = setmetatable({}, { __index = table })
    for _, a in ipairs(answers("run", "--break", "pivot")) do steps:insert(a) end
    assert.same({ "pivot_root" }, steps)
    assert.same({ "mount.bind,pivot_root" }, answers("run", "--break", "mount.bind,pivot"))
  end)
end)

describe("the parameters of a recipe's file", function()
  local path = os.tmpname() .. ".lua"
  local function write(text)
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
  end
  after_each(function() os.remove(path) end)

  it("are found where it uses caisson's modules to build", function()
    write [[
      local caisson = require "caisson"
      local lstat = caisson.core.lstat
      local set = caisson.policy.default() - { "@mount" }
      local n = ("x"):len() + math.floor(2.5)
      return caisson.recipe {
        summary = "mine",
        params = { word = { { "a", "b" }, default = "a" }, n = { "integer", default = n } },
        build = function() return { seccomp = set, root = lstat("/") } end,
      }]]
    local all, summary = parameters.of(path)
    assert.same({ "mine", { "a", "b" }, 3 }, { summary, all.word[1], all.n.default })
    assert.same({ "word=b" }, { answers("run", path, "word=b")[1] })
  end)

  it("are found without doing what it does", function()
    local mark = path .. ".mark"
    for _, text in ipairs {
      ([[io.open(%q, "w"):close() return require("caisson").recipe { params = { x = { "string" } } }]]):format(mark),
      ([[os.execute("touch " .. %q) return require("caisson").recipe { params = { x = { "string" } } }]]):format(mark),
      ([[require("os").execute("touch " .. %q) return require("caisson").recipe { params = { x = { "string" } } }]]):format(mark),
      ([[require("caisson").core.open(%q, { "write", "create" }) return require("caisson").recipe { params = { x = { "string" } } }]]):format(mark),
      ([[getfenv(0).os.execute("touch " .. %q)]]):format(mark),
      ([[load("os.execute('touch %s')")()]]):format(mark),
      "while true do end", "return x y", "\27Lua", "return 1", "error {}", ("x"):rep(100000), "string.rep('x', 2 ^ 40)",
      "local function f() return f() end f()", "for i = 1, math.huge do pcall(error) end",
      "return require('caisson').recipe { extends = " .. ("%q"):format(path) .. " }",
    } do
      write(text)
      assert.is_table((parameters.of(path)))
      assert.is_nil(io.open(mark), text)
    end
    assert.equal("x", ("x"):rep(1)) -- Lua's own is as it was
    assert.same({}, (parameters.of(path .. ".none")))
  end)
end)
