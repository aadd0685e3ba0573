local t = require "support"
local cli = require "support.cli"
local caisson = require "caisson"
local remains = require "support.remains"

local dir

local function recipe(name, text)
  local path = dir .. "/" .. name .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write('local caisson = require "caisson"\nreturn caisson.recipe ' .. text .. "\n")
  f:close()
  return path
end

local function run(words, program, stdin)
  local all = { "run" }
  for _, w in ipairs(words) do all[#all + 1] = w end
  all[#all + 1] = "--"
  for _, w in ipairs(program or { "/bin/true" }) do all[#all + 1] = w end
  return cli.caisson(all, { stdin = stdin, env = { "XDG_STATE_HOME=" .. dir } })
end

-- The lines of the steps: { number, side, name, rest }.
local function lines_of(text)
  local list = {}
  for number, side, name, rest in text:gmatch "(%d+)  (%l+) +(%S+)([^\n]*)\n" do
    list[#list + 1] = { tonumber(number), side, name, rest }
  end
  return list
end

local function find(list, name)
  for _, l in ipairs(list) do if l[3] == name then return l end end
end

describe("--trace", function()
  if not t.needs "userns" then return end

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    t.sh("mkdir -m 755 " .. dir)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  it("writes each step in its turn, with its calls and what came of them", function()
    local plan = assert(caisson.plan("sandbox", { args = { "/bin/true" } }))
    local r = run({ "--trace", "sandbox" }, { "/bin/sh", "-c", "hostname; exit 3" })
    assert.equal(3, r.code, r.err)
    assert.equal("sandbox\n", r.out)
    local list, names = lines_of(r.err), {}
    for _, l in ipairs(list) do
      if l[3] ~= "(as" then names[#names + 1] = l[1] .. l[3] end
    end
    local expected = {}
    for i, s in plan:each() do expected[i] = i .. s.step end
    assert.same(expected, names)
    assert.truthy(find(list, "hostname")[4]:find "  1: sethostname$", r.err)
    assert.truthy(find(list, "pivot_root")[4]:find("fchdir pivot_root umount2 chdir", 1, true))
    assert.truthy(find(list, "exec")[4]:find "  1: execve$", r.err)
    assert.truthy(find(list, "hostname")[4]:find "%d [µm]?.?s  ")
    assert.falsy(r.err:find("uname", 1, true)) -- the program's own
    assert.truthy(r.err:find "steps in .* system calls of the child's, %d+ failed")
  end)

  it("writes each call with its arguments, where asked", function()
    local r = run({ "--trace-calls", "sandbox" })
    assert.equal(0, r.code, r.err)
    assert.truthy(r.err:find('sethostname("sandbox", 7) = 0  ', 1, true), r.err)
    assert.truthy(r.err:find('execve("/bin/true", ', 1, true), r.err)
  end)

  it("counts what the kernel counts", function()
    local r = run({ "--trace", recipe("calls", [[{ extends = "sandbox", init = false, script = function(plan)
      plan:before("hostname", function() for _ = 1, 7 do caisson.core.lstat "/nonexistent" end end)
    end }]]) }, { "/bin/sh", "-c", "echo $$" })
    assert.equal("1\n", r.out, r.err)
    local l = find(lines_of(r.err), "lua")
    local n = tonumber(l[4]:match "(%d+), %d+ failed")
    assert.truthy(n and n >= 7 and n < 12, l[4])
    assert.truthy(l[4]:find "stat[%wx]*=ENOENT%*7", l[4])
  end)

  it("shows the parent's steps in their places", function()
    local r = run({ "--trace", recipe("hooks", [[{ extends = "sandbox", hooks = {
      createRuntime = function() io.stderr:write "out here\n" end,
      startContainer = function() io.stderr:write "in there\n" end } }]]) })
    assert.equal(0, r.code, r.err)
    local line = r.err:match "out here\n([^\n]*)"
    assert.truthy(line and line:find "^ *%d+  parent  lua ", r.err)
    assert.truthy(r.err:find "in there\n *%d+  child   lua ", r.err)
  end)

  it("tells of the step that fails, and all is gone", function()
    local before = remains.now()
    local r = run({ "--trace", "--timeline", dir .. "/failed.svg", recipe("fails", [[{ extends = "sandbox",
      mounts = { { bind = "/nonexistent", at = "/x" } } }]]) })
    assert.equal(125, r.code)
    local list = lines_of(r.err)
    local last = list[#list]
    assert.equal("mount.bind", last[3])
    assert.truthy(last[4]:find("openat=ENOENT", 1, true), last[4])
    assert.truthy(r.err:find("step " .. last[1] .. ", mount.bind", 1, true), r.err)
    assert.same(before, remains.now())
    local svg = t.read_file(dir .. "/failed.svg")
    assert.truthy(svg:find("failed after", 1, true))
    assert.truthy(svg:find("ENOENT", 1, true))
    assert.truthy(svg:find("not reached", 1, true))
  end)

  it("does not count what is done at a breakpoint", function()
    local r = run({ "--trace", "--repl", "--break", "net.loopback", "sandbox" }, nil,
      "for i = 1, 500 do core.identity() end\ncontinue\n")
    assert.equal(0, r.code, r.err)
    assert.truthy(find(lines_of(r.err), "hostname")[4]:find "  1: sethostname$", r.err)
    assert.truthy(find(lines_of(r.err), "net.loopback")[4]:find "  4: socket ioctl%*2 close$", r.err)
  end)

  it("is refused where the recipe has a tracer of its own", function()
    local r = run { "--trace", recipe("traced", [[{ extends = "sandbox", trace = { calls = { "uname" }, decide = print } }]]) }
    assert.equal(125, r.code)
    assert.truthy(r.err:find("a process has one tracer", 1, true), r.err)
  end)
end)

describe("--timeline", function()
  if not t.needs "userns" then return end

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    t.sh("mkdir -m 755 " .. dir)
  end)
  teardown(function() t.sh("rm -rf " .. dir) end)

  local function timed(def, o)
    local timeline
    local r, message, _, failure = caisson.run(caisson.recipe(def), { args = { "/bin/true" }, watch = function(built)
      timeline = assert(require("caisson.timeline").watch(built, o or {}))
      return timeline.watch
    end })
    timeline:finish(failure)
    return timeline, r, message
  end

  it("knows when each step of either side began and ended, with an init and without, in a fork too", function()
    for _, def in ipairs { { extends = "sandbox" }, { extends = "sandbox", init = false }, { extends = "sandbox", hooks = {
      createRuntime = function() t.core.poll({}, 0.02) end, startContainer = function() end } } } do
      local timeline, r, message = timed(def)
      assert.truthy(r, message)
      local child, last = timeline.born, 0
      assert.truthy(child > 0 and timeline.executed > child and timeline.total >= timeline.executed)
      for i, row in ipairs(timeline.rows) do
        local s = timeline.steps[i]
        assert.truthy(s and s.ended, row.step)
        assert.truthy(s.ended >= s.began and s.began >= last - 1e5 and s.ended <= timeline.total, row.step)
        if row.side == "parent" and row.step == "lua" then
          assert.truthy(s.ended - s.began >= 2e7)
        end
        last = s.began
      end
    end
  end)

  it("measures a step that takes long, in the child", function()
    local timeline = timed { extends = "sandbox", hooks = { startContainer = function() t.core.poll({}, 0.03) end } }
    for i, row in ipairs(timeline.rows) do
      local s = timeline.steps[i]
      if row.step == "lua" then assert.truthy(s.ended - s.began >= 3e7 and s.ended - s.began < 3e8) end
    end
  end)

  it("draws them, as a picture and as a page that need nothing else", function()
    for _, kind in ipairs { "svg", "html" } do
      local path = ("%s/picture.%s"):format(dir, kind)
      local words = { "--timeline", path, "sandbox" }
      if kind == "html" then table.insert(words, 1, "--trace") end
      local r = run(words)
      assert.equal(0, r.code, r.err)
      local text = t.read_file(path)
      assert.truthy(text:find("prefers-color-scheme: dark", 1, true))
      assert.truthy(text:find("pivot_root", 1, true))
      local bars = select(2, text:gsub('<rect class="child"', ""))
      assert.truthy(bars >= 100, bars) -- each in its lane and in its row
      for link in text:gmatch "%l+://[^\"<> ]*" do assert.equal("http://www.w3.org/2000/svg", link) end
      -- every element is closed, and nothing of the recipe's is markup
      local open = 0
      for tag in text:gsub("<!.->", ""):gmatch "<(/?%l[^>]*)>" do
        if tag:sub(1, 1) == "/" then open = open - 1 elseif tag:sub(-1) ~= "/" and not tag:find "^meta" then open = open + 1 end
      end
      assert.equal(0, open)
      if kind == "html" then assert.truthy(text:find("<b>hostname</b> sandbox <span>1 call", 1, true)) end
    end
  end)

  it("shows a recipe's own words as words", function()
    local timeline = timed { extends = "sandbox", env = { X = "1" }, script = function(plan)
      plan:before("pivot_root", plan.symlink { "a", at = "/<b>&\"" })
    end }
    assert.truthy(timeline:svg():find("/&lt;b&gt;&amp;", 1, true))
    assert.falsy(timeline:html():find("/<b>&", 1, true))
  end)

  it("takes a file of either kind alone", function()
    local r = run { "--timeline", dir .. "/x.png", "sandbox" }
    assert.equal(125, r.code)
    assert.truthy(r.err:find("ends in .svg or .html", 1, true), r.err)
    r = run { "--timeline", dir .. "/none/x.svg", "sandbox" }
    assert.equal(125, r.code)
  end)
end)
