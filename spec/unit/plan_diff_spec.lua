-- What is different between two plans.
local caisson = require "caisson"
local cli = require "support.cli"
local color = require "caisson.cli.color"
local diff = require "caisson.plan.diff"
local json = require "caisson.json"
local policy = caisson.policy

local function recipe(t)
  t.args = t.args or { "/bin/true" }
  return caisson.recipe(t)
end

local function plan(t)
  local p, message = caisson.plan(recipe(t))
  return p or error(message)
end

local base = { namespaces = { mount = true, pid = true }, mounts = { { bind = "/usr" }, { tmpfs = "/tmp", size = 4096 } } }

local function with(t)
  local all = {}
  for k, v in pairs(base) do all[k] = v end
  for k, v in pairs(t) do all[k] = v end
  return plan(all)
end

local function names(list)
  local t = {}
  for i, r in ipairs(list) do t[i] = r.step .. (r.object and r.object ~= "" and " " .. r.object or "") end
  return table.concat(t, "; ")
end

local function field(d, step, name)
  for _, e in ipairs(d.changed) do
    if e.step == step then
      for _, f in ipairs(e.fields) do if f.name == name then return f end end
    end
  end
end

describe("caisson.plan.diff", function()
  it("finds no difference where there is none, after a round trip through JSON either", function()
    local p = with {}
    local d = diff.of(p, with {})
    assert.is_true(d.same)
    assert.equal(#p.steps, d.unchanged)
    assert.is_true(diff.of(p, assert(caisson.plan.from_json(p:json()))).same)
    assert.is_true(caisson.plan.diff(p, with {}).same)
    assert.has_error(function() caisson.plan.diff(p, {}) end, "diff.of: argument 2: a plan expected, got table")
    assert.equal(("no difference (%d steps)\n"):format(#p.steps), d:text())
  end)

  it("tells what was added and removed", function()
    local d = diff.of(with {}, with { hostname = "box", mounts = { { bind = "/usr" } } })
    assert.equal("hostname box", names(d.added))
    assert.equal("mount.tmpfs /tmp size=4096 (nosuid,nodev)", names(d.removed))
    assert.is_false(d.same)
    assert.same({}, d.changed)
    local text = d:text()
    assert.truthy(text:find("\n%- +%d+  mount%.tmpfs +/tmp size=4096") or text:find("^%- +%d+  mount%.tmpfs +/tmp size=4096"), text)
    assert.truthy(text:find("%+ +%d+  hostname +box"), text)
    assert.truthy(text:find("1 added, 1 removed, %d+ the same\n$"), text)
  end)

  it("tells what has changed inside a step", function()
    local d = diff.of(with {}, with { mounts = { { bind = "/usr", dev = true, exec = false }, { tmpfs = "/tmp", size = 8192 } } })
    assert.same({}, d.added)
    assert.same({ name = "size", from = "4096", to = "8192" }, field(d, "mount.tmpfs", "size"))
    local f = field(d, "mount.bind", "flags")
    assert.same({ "rnodev" }, f.removed)
    assert.same({ "rnoexec" }, f.added)
  end)

  it("tells which capabilities and which variables", function()
    local d = diff.of(with { capabilities = { "chown", "kill" }, env = { A = "1", B = "2" } },
      with { capabilities = { "kill", "net_raw" }, env = { A = "1", B = "3" } })
    local f = field(d, "capabilities", "bounding")
    assert.same({ { "chown" }, { "net_raw" } }, { f.removed, f.added })
    f = field(d, "exec", "env")
    assert.same({ { "B=2" }, { "B=3" } }, { f.removed, f.added })
  end)

  it("tells which system calls get another answer, whatever the filters are made of", function()
    local d = diff.of(with { seccomp = policy.default() }, with { seccomp = policy.default() - "ptrace" + "mount" })
    assert.same({ { from = "allow", to = "errno EPERM", names = { "ptrace" } },
      { from = "errno EPERM", to = "allow", names = { "mount" } } }, (function()
        table.sort(d.calls, function(a, b) return a.from < b.from end)
        return d.calls
      end)())
    -- one filter more, in front: the other is still the same
    d = diff.of(with { seccomp = policy.default() }, with { seccomp = { policy.new { default = "allow" } - "ptrace", policy.default() } })
    assert.equal(1, #d.added)
    assert.same({}, d.changed)
    assert.same({ { from = "allow", to = "errno EPERM", names = { "ptrace" } } }, d.calls)
    -- and by their arguments
    d = diff.of(with { seccomp = policy.default() }, with { seccomp = policy.default() - { "getpid", args = { { 0, "==", 5 } } } })
    assert.same({ { from = "allow", to = "errno EPERM if arg0 == 5; else allow", names = { "getpid" } } }, d.calls)
    -- one that does not answer otherwise is of no interest
    assert.is_nil(diff.of(with { seccomp = policy.default() },
      with { seccomp = { policy.default(), policy.default() } }).calls)
  end)

  it("tells what stands at another place", function()
    local function order(...)
      local m = {}
      for i, path in ipairs { ... } do m[i] = { tmpfs = path, size = 4096 } end
      return with { mounts = m }
    end
    local d = diff.of(order("/a", "/b", "/c", "/d"), order("/b", "/c", "/d", "/a"))
    assert.equal(1, #d.moved)
    assert.equal("/a size=4096 (nosuid,nodev)", d.moved[1].to.object)
    assert.is_true(d.moved[1].from.number < d.moved[1].to.number)
    assert.same({ {}, {}, {} }, { d.added, d.removed, d.changed })
    assert.truthy(d:text():find("moved: it was step " .. d.moved[1].from.number, 1, true))
    -- moved and changed
    local p = order("/a", "/b", "/c")
    p:move("mount.tmpfs[3]", "mount.tmpfs[1]")
    p.steps[p:find "mount.tmpfs[1]"].options.size = 1
    d = diff.of(order("/a", "/b", "/c"), p)
    assert.is_true(d.changed[1].moved)
  end)

  it("tells which line of a file, whether a step may fail, and what a function does", function()
    local function file(data, optional)
      return with { mounts = { { tmpfs = "/etc" }, { file = "/etc/x", data = data, optional = optional } } }
    end
    local d = diff.of(file "a\nb\nc\n", file "a\nB\nc\n")
    assert.same({ name = "data", line = 2, from = "b", to = "B" }, field(d, "file", "data"))
    assert.same({ name = "optional", from = "false", to = "true" }, field(diff.of(file "a", file("a", true)), "file", "optional"))
    assert.same({ name = "data", from = "2 bytes", to = "3 bytes" }, field(diff.of(file "a\0", file "a\0b"), "file", "data"))
    if not (rawget(_G, "jit") or tonumber(_VERSION:match "%d.%d") >= 5.3) then return end
    local function calls(fn)
      local p = with {}
      p:before("exec", caisson.plan.call(fn, { name = "f", side = "child" }))
      return p
    end
    assert.truthy(field(diff.of(calls(function() return 1 end), calls(function() return 2 end)), "lua", "function"))
    assert.is_true(diff.of(calls(function() return 1 end), calls(function() return 1 end)).same)
  end)

  it("tells what is of the run as a whole", function()
    local d = diff.of(with { limits = { time = 1 } }, with { limits = { time = 2 }, stdin = "null" })
    assert.same({ { name = "limits.time", from = "1", to = "2" }, { name = "stdin", to = "null" } }, d.run)
  end)

  it("is JSON, and fits a terminal", function()
    local d = diff.of(with { seccomp = policy.default() }, with { hostname = ("x"):rep(64), seccomp = policy.default() - "@chown" })
    local doc = assert(json.decode(d:json()))
    assert.is_false(doc.same)
    assert.equal("hostname", doc.added[1].step)
    assert.equal("chown", doc.calls[1].names[1])
    local c = color.of(true)
    c.columns = 60
    local text = d:text(c, { "one", "two" })
    for line in text:gmatch("[^\n]+") do assert.is_true(color.width(line) <= 60, line) end
    assert.truthy(text:find("\27[32m", 1, true))
    assert.is_nil(d:text():find("\27", 1, true))
  end)

  it("keeps control characters of others from the terminal", function()
    local text = diff.of(with {}, with { mounts = { { bind = "/usr" }, { symlink = "a\27[2Jb", at = "/l" } } }):text()
    assert.is_nil(text:find("\27", 1, true))
    assert.truthy(text:find("a\\x1b[2Jb", 1, true))
  end)
end)

describe("caisson plan", function()
  local function write(text)
    local path = os.tmpname() .. ".lua"
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    finally(function() os.remove(path) end)
    return path
  end

  local source = [[
    return require("caisson").recipe { params = { name = { "string", default = "one" }, %s },
      build = function(p) return { namespaces = { uts = true }, hostname = p.name, args = { "/bin/true" } } end }]]

  it("--diff compares two recipes, or one with itself under other parameters", function()
    local a, b = write(source:format "a = { 'string' }"), write(source:format "b = { 'string' }")
    local r = cli.caisson { "plan", "--diff", a, b }
    assert.same({ 0, "" }, { r.code, r.err })
    assert.truthy(r.out:find("^no difference"), r.out)
    r = cli.caisson { "plan", "--diff", a, "name=two" }
    assert.truthy(r.out:find("name: one -> two", 1, true), r.out)
    r = cli.caisson { "plan", "--diff", a .. " name=x", b, "name=y" } -- its own before that of both
    assert.truthy(r.out:find("name: x -> y", 1, true), r.out)
    assert.truthy(r.out:find("--- " .. a .. " name=x\n+++ " .. b .. " name=y\n", 1, true), r.out)
    r = cli.caisson { "plan", "--diff", a, b, "name=z", "a=1" } -- a is of one alone
    assert.truthy(r.out:find("^no difference"), r.out .. r.err)
    r = cli.caisson { "plan", "--diff", a, b, "nmae=z" }
    assert.equal(125, r.code)
    assert.truthy(r.err:find("unknown parameter 'nmae': neither", 1, true), r.err)
  end)

  it("--diff --exit-code is 1 where they differ, and silent where they don't", function()
    local a = write(source:format "")
    assert.equal(0, cli.caisson({ "plan", "--diff", a, "name=two" }).code)
    assert.equal(1, cli.caisson({ "plan", "--diff", "--exit-code", a, "name=two" }).code)
    local r = cli.caisson { "plan", "--diff", "--exit-code", a, a }
    assert.same({ 0, "" }, { r.code, r.out })
    assert.equal(125, cli.caisson({ "plan", "--exit-code", a }).code)
    assert.equal(125, cli.caisson({ "plan", "--diff", "--exit-code", a, "/no/such.lua" }).code)
    assert.equal(125, cli.caisson({ "plan", "--diff", a }).code)
  end)

  it("--diff takes saved plans, and a program for both", function()
    local a, saved = write(source:format ""), os.tmpname() .. ".json"
    finally(function() os.remove(saved) end)
    local f = assert(io.open(saved, "w"))
    f:write(cli.caisson({ "plan", "--json", a }).out)
    f:close()
    assert.equal(0, cli.caisson({ "plan", "--diff", "--exit-code", saved, a }).code)
    local r = cli.caisson { "plan", "--diff", "--json", saved, a .. " name=two" }
    local doc = assert(json.decode(r.out))
    assert.same({ name = "name", from = "one", to = "two" }, doc.changed[1].fields[1])
    r = cli.caisson { "plan", "--diff", saved, a, "--", "echo", "x" }
    assert.truthy(r.out:find("argv: /bin/true -> echo x", 1, true), r.out)
  end)

  it("--diff takes bundles, by their directory and by their config.json", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute(("mkdir -p %s/rootfs"):format(dir))
    finally(function() os.execute("rm -r " .. dir) end)
    local config = require("caisson.oci.default").config { rootless = true }
    local function bundle(name)
      config.hostname = name
      local f = assert(io.open(dir .. "/config.json", "w"))
      f:write(json.document(config))
      f:close()
    end
    bundle "one"
    local saved = dir .. "/saved.json"
    local f = assert(io.open(saved, "w"))
    f:write(cli.caisson({ "plan", "--json", dir }).out)
    f:close()
    bundle "two"
    for _, b in ipairs { dir, dir .. "/config.json" } do
      local r = cli.caisson { "plan", "--diff", "--exit-code", saved, b }
      assert.same({ 1, "" }, { r.code, r.err })
      assert.truthy(r.out:find("hostname +two +config.json: hostname\n +name: one %-> two\n"), r.out)
    end
  end)

  it("--diff with --mix shows what a policy would change of a recipe", function()
    local a = write(source:format "")
    local mix = write 'return require("caisson").policy.default() - "ptrace"'
    local r = cli.caisson { "plan", "--diff", a, "--mix", mix }
    assert.truthy(r.out:find("%+ +%d+  seccomp"), r.out .. r.err)
    assert.truthy(r.out:find("allow %-> errno EPERM: %d+ calls"), r.out)
    r = cli.caisson { "plan", "--diff", "--exit-code", a, a, "--mix", mix } -- of both
    assert.same({ 0, "" }, { r.code, r.err })
  end)

  it("is whole where it is no terminal, and cut to the width of one", function()
    local a = write([[return require("caisson").recipe { namespaces = { uts = true },
      args = { "/bin/echo", ("x"):rep(300) .. "end" } }]])
    local r = cli.caisson { "plan", a }
    assert.truthy(r.out:find("xend", 1, true), r.out)
    assert.is_nil(r.out:find("\27", 1, true))
    local argv = { "env", "TERM=xterm" }
    for _, w in ipairs(cli.argv { "plan", a }) do argv[#argv + 1] = w end
    local terminal = cli.at_terminal(argv, { columns = 70 })
    terminal:wait()
    terminal:close()
    assert.is_nil(terminal.all:find("xend", 1, true))
    assert.truthy(terminal.all:find("\27[1m", 1, true))
    local exec
    for line in terminal.all:gmatch("[^\r\n]+") do
      assert.is_true(color.width(line) <= 70, line)
      if line:find("/bin/echo", 1, true) then exec = line end
    end
    assert.truthy(exec:find("xxx… ", 1, true), exec)
    assert.truthy(exec:find("%.lua:%d+"), exec)
  end)

  it("says what a filter does, not how long it is", function()
    local text = with({ seccomp = policy.default() }):text()
    assert.truthy(text:find("seccomp +%d+ calls allowed, %d+ by their arguments, else errno EPERM"), text)
  end)
end)
