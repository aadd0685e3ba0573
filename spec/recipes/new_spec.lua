-- caisson new: recipes to begin with. As text, as the linter sees them, and run.
local t = require "support"
local cli = require "support.cli"
local caisson = require "caisson"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

describe("caisson new", function()
  local dir

  before_each(function()
    dir = t.sh("mktemp -d"):match("%S+")
    t.sh("chmod 755 " .. dir)
  end)
  after_each(function() t.sh("rm -rf " .. dir) end)

  local function new(...)
    return cli.caisson({ "new", ... }, { cwd = dir })
  end

  -- The recipe with every option that stands in a comment.
  local function with_all(path)
    local text, n = read(path):gsub("\n(%s+)%-%- ([%l_]+ = [^\n]*)", function(blanks, option) return "\n" .. blanks .. option end)
    assert.truthy(n >= 6)
    return text
  end

  for _, from in ipairs { "sandbox", "judge", "shell" } do
    it("begins a recipe from " .. from .. " that runs at once", function()
      local made = new("mine", "--from", from)
      assert.same({ 0, "" }, { made.code, made.err })
      assert.truthy(made.out:find("caisson run mine.lua -- sh", 1, true))
      assert.equal("mine", assert(caisson.load(dir .. "/mine.lua")).name)
      local params = assert(caisson.load(dir .. "/mine.lua")):all_params()
      if params.optional_limits then params = { optional_limits = true } else params = nil end
      t.needs(t.is_root and "root" or "userns")
      local r, message = caisson.run(dir .. "/mine.lua", { args = { "/bin/echo", "in it" }, params = params, stdout = "capture" })
      assert(r, message)
      assert.same({ 0, "in it" }, { r.code, r.stdout:match("[^\r\n]+") })
    end)

    it("comments what may be wanted next, each of which a recipe takes: " .. from, function()
      new("mine", "--from", from)
      local path = dir .. "/all.lua"
      write(path, with_all(dir .. "/mine.lua"))
      local r = assert(caisson.load(path))
      assert(r:build { args = { "/bin/true" } })
    end)
  end

  it("writes what luacheck finds nothing in", function()
    if not t.sh("command -v luacheck || true"):find("luacheck") then return pending("no luacheck here") end
    new("one")
    new("two", "--from", "judge")
    new("three", "--from", "one.lua")
    write(dir .. "/all.lua", with_all(dir .. "/one.lua"))
    local out = t.sh(("cd %s && luacheck --no-config --no-cache --no-color *.lua 2>&1; echo status $?"):format(dir))
    assert.truthy(out:find("status 0", 1, true), out)
  end)

  it("writes what caisson check finds nothing wrong in", function()
    t.needs(t.is_root and "root" or "userns")
    for _, from in ipairs { "sandbox", "shell" } do
      new(from, "--from", from)
      local r = cli.caisson({ "check", "--strict", from .. ".lua" }, { cwd = dir })
      assert.same({ 0, "" }, { r.code, r.err }, r.out)
    end
  end)

  it("begins from a file, by its place beside the new one wherever both are, or from the root", function()
    new("one")
    new("two", "--from", "./one.lua")
    t.sh(("mkdir %s/elsewhere"):format(dir))
    new("elsewhere/three", "--from", "one") -- no recipe is called so
    for _, name in ipairs { "two.lua", "elsewhere/three.lua" } do
      local plan = cli.caisson({ "plan", dir .. "/" .. name, "--", "/bin/true" }, { cwd = "/" })
      assert.same({ 0, "" }, { plan.code, plan.err })
      assert.truthy(plan.out:find("one.lua:", 1, true))
    end
    t.sh(("mv %s %s.moved"):format(dir, dir))
    local out = cli.caisson({ "plan", dir .. ".moved/two.lua", "--", "/bin/true" }, { cwd = "/" })
    t.sh(("mv %s.moved %s"):format(dir, dir))
    assert.same({ 0, "" }, { out.code, out.err })
  end)

  it("never writes over a file, whatever it is", function()
    write(dir .. "/mine.lua", "precious")
    t.sh(("ln -s nowhere %s/link.lua; mkdir %s/dir.lua"):format(dir, dir))
    for _, name in ipairs { "mine", "mine.lua", "link", "dir" } do
      local r = new(name)
      assert.equal(125, r.code)
      assert.truthy(r.err:find("there is such a file", 1, true), r.err)
    end
    assert.equal("precious", read(dir .. "/mine.lua"))
    assert.is_nil(io.open(dir .. "/nowhere"))
  end)

  it("refuses a name that is none, and a recipe that is not there", function()
    for _, name in ipairs { "a b", "", ".lua", "x\ny", "a/", "none/x" } do
      local r = new(name)
      assert.equal(125, r.code, name)
      assert.truthy(#r.err < 200 and r.err:find("^caisson: [^\n]*\n$"), r.err)
    end
    assert.truthy(new("x", "--from", "sandbix").err:find("no recipe is called 'sandbix'", 1, true))
    assert.equal("", t.sh("ls -A " .. dir))
  end)
end)
