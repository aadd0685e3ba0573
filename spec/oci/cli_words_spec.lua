-- What the command line of caisson-oci takes and says: flags, help, errors, the log. Where runc is there it is asked
-- the same, and must answer so.
local t = require "support"
local oci = require "support.oci"
local json = require "caisson.json"

local function has_runc() return t.sh("runc --version 2>&1"):find("^runc version") ~= nil end

-- Text of ours or runc's without what may differ: the name, dates.
local function plain(text)
  return (text:gsub("caisson%-oci", "runc"):gsub("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z", "TIME"))
end

describe("caisson-oci", function()
  if not t.needs("oci") then return end
  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  -- The same words for both: exit status and standard error are one. The first line of output where it is a usage's.
  local function same(words, globals)
    local ours = world:run(words, { globals = globals })
    local peer = has_runc() and not oci.is_peer
    if peer then
      local runtime = oci.runtime
      oci.runtime = "runc"
      local theirs = world:run(words, { globals = globals })
      oci.runtime = runtime
      -- as an ordinary user it adds a warning to ps
      local err = plain(theirs.err):gsub('time="TIME" level=warning[^\n]*\n', "")
      assert.same({ theirs.code, err }, { ours.code, plain(ours.err) }, table.concat(words, " "))
      assert.equal(theirs.out:match("^Incorrect[^\n]*"), ours.out:match("^Incorrect[^\n]*"))
    end
    return ours
  end

  it("reads flags as Go does: one dash or two, with a value after = or in the next word", function()
    for _, words in ipairs { { "list", "-q" }, { "list", "--quiet" }, { "list", "-quiet" }, { "list", "--quiet=true" },
      { "list", "--q=1" }, { "list", "-f", "json" }, { "list", "--format=json" }, { "list", "-format", "json" },
      { "list", "--quiet=false", "-f=table" }, { "list", "--" }, { "list", "-q", "-q=F" } } do
      local r = same(words)
      assert.equal(0, r.code, table.concat(words, " ") .. r.err)
    end
    assert.equal("null\n", same({ "list", "-f", "json" }).out)
    assert.equal("ID          PID         STATUS      BUNDLE      CREATED     OWNER\n", same({ "list" }).out)
  end)

  it("refuses what it doesn't know, in Go's words", function()
    for _, words in ipairs { { "list", "--nope" }, { "list", "-x" }, { "list", "-f" }, { "list", "--quiet=maybe" },
      { "state" }, { "state", "a", "b" }, { "kill" }, { "exec" }, { "create" }, { "run", "a", "b" }, { "delete" }, { "ps" },
      { "events", "--interval", "soon", "x" }, { "events", "--interval=5", "x" }, { "run", "--preserve-fds", "x", "y" },
      { "update", "--pids-limit", "1x", "y" }, { "list", "---q" }, { "list", "--=x" }, { "run", "--tty", "x" },
      { "list", "-f", "yaml" } } do
      assert.equal(1, same(words).code, table.concat(words, " "))
    end
    assert.equal("flag provided but not defined: -nope", same({ "list" }, { "--nope" }).err:match('msg="([^"]*)"'))
    same({ "list" }, { "--log-format", "xml" })
    same({ "list" }, { "-debug=x" })
    assert.equal(3, world:run({ "nonsense" }).code)
  end)

  it("takes flags behind a container's name too, but for exec and ps", function()
    assert.equal(0, same({ "delete", "nobody", "--force" }).code)
    assert.matches("container does not exist", same({ "kill", "nobody", "--all", "KILL" }).err)
    assert.matches("container does not exist", same({ "exec", "nobody", "--nope" }).err)
    assert.matches("container does not exist", same({ "ps", "nobody", "--nope" }).err)
    assert.matches("container does not exist", same({ "kill", "nobody", "-9" }).err)
  end)

  it("says that a container does not exist, in the words that engines look for", function()
    for _, words in ipairs { { "state", "x" }, { "start", "x" }, { "kill", "x" }, { "delete", "x" }, { "ps", "x" },
      { "pause", "x" }, { "resume", "x" }, { "events", "x" }, { "update", "x" } } do
      local r = same(words)
      assert.equal(1, r.code)
      assert.matches('^time="[%d-]+T[%d:]+Z" level=error msg="container does not exist"\n$', r.err)
    end
    local r = same { "exec", "x", "true" }
    assert.equal(255, r.code)
    assert.matches('level=error msg="exec failed: container does not exist"\n$', r.err)
  end)

  it("writes its log where it is told, as text or JSON, and the error to standard error too", function()
    local path = world.dir .. "/log"
    local r = same({ "state", "x" }, { "--log", path, "--log-format", "json" })
    assert.same({ 1, "container does not exist\n" }, { r.code, r.err })
    local entries = {}
    for line in t.read_file(path):gmatch("[^\n]+") do entries[#entries + 1] = json.decode(line) end
    assert.truthy(#entries >= 1)
    for _, e in ipairs(entries) do
      assert.same({ "error", "container does not exist" }, { e.level, e.msg })
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", e.time)
    end
    world:run({ "state", "x" }, { globals = { "--log=" .. path } })
    assert.matches('\ntime="[^"]+" level=error msg="container does not exist"\n$', t.read_file(path))
    r = world:run({ "state", "x" }, { globals = { "--log", "/nonexistent/log" } })
    assert.equal(1, r.code)
    assert.matches("/nonexistent/log", r.err)
  end)

  it("shows help for itself and each command, and its version", function()
    local r = world:run { "--version" }
    assert.same({ 0, "" }, { r.code, r.err })
    assert.matches("^%S+ version %d+%.%d+%.%d+\nspec: 1%.%d+%.%d+\n", r.out:gsub("%+%S+", ""))
    assert.equal(r.out, world:run({ "-v" }).out)
    local all = world:run { "--help" }
    assert.equal(all.out, world:run({ "help" }).out)
    assert.equal(all.out, world:run({}).out)
    for _, name in ipairs { "create", "start", "run", "exec", "kill", "delete", "state", "list", "ps", "pause", "resume",
      "update", "events", "spec", "features" } do
      assert.truthy(all.out:find("\n   " .. name .. " +%l"), name)
      local help = world:run { name, "--help" }
      assert.equal(0, help.code)
      assert.truthy(help.out:find(" " .. name .. " - ", 1, true), name)
      assert.equal(help.out, world:run({ "help", name }).out)
      assert.equal(help.out, world:run({ name, "-h" }).out)
      if has_runc() and not oci.is_peer then
        -- each of runc's flags is there
        local theirs = t.sh("runc " .. name .. " --help")
        for flag in theirs:gmatch("\n   (%-%-[%w-]+)") do
          assert.truthy(help.out:find("   " .. flag, 1, true), name .. " has no " .. flag)
        end
      end
    end
    assert.equal(3, world:run({ "help", "nonsense" }).code)
  end)

  it("runs through a symbolic link of any name, from anywhere", function()
    if oci.is_peer then return end
    t.sh(("ln -s %s %s/runc"):format(oci.runtime, world.dir))
    assert.equal("null\n", t.sh(("cd / && %s/runc --root %s list -f json 2>&1"):format(world.dir, world.root)))
  end)

  it("writes a configuration to begin with", function()
    local dir = world.dir .. "/new"
    t.sh("mkdir " .. dir)
    local r = world:run({ "spec" }, { cwd = dir })
    assert.same({ 0, "", "" }, { r.code, r.out, r.err })
    local c = assert(json.decode(t.read_file(dir .. "/config.json")))
    assert.same({ { "sh" }, true, true }, { c.process.args, c.process.terminal, c.root.readonly })
    assert.matches("File config.json exists. Remove it first", same({ "spec", "--bundle", dir }).err)
    t.sh("rm " .. dir .. "/config.json")
    assert.equal(0, world:run({ "spec", "-b", dir, "--rootless" }).code)
    c = assert(json.decode(t.read_file(dir .. "/config.json")))
    assert.equal(t.core.identity().euid, c.linux.uidMappings[1].hostID)
    assert.matches("chdir /nonexistent: [Nn]o such file or directory", world:fails("spec", "-b", "/nonexistent"))
  end)

  it("shows what it can do, as JSON", function()
    local f = assert(json.decode(world:ok("features")))
    assert.truthy(f.ociVersionMin and f.ociVersionMax)
    assert.truthy(#f.hooks >= 6)
    assert.truthy(#f.linux.namespaces >= 6)
  end)
end)
