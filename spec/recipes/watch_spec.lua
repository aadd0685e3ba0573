-- caisson watch, at a terminal, as its user has it: what runs again, and when; and what is left.
local t = require "support"
local cli = require "support.cli"
local core = t.core

-- A part of this run's own in what its programs are called, to find them by.
local nap = ("48%d."):format(t.getpid())

describe("caisson watch", function()
  local dir, watch

  before_each(function()
    dir = t.sh("mktemp -d"):match "%S+"
    t.sh("chmod 755 " .. dir)
  end)
  after_each(function()
    if watch then watch:close() end
    watch = nil
    t.sh("rm -rf " .. dir)
  end)

  local function write(name, text)
    local f = assert(io.open(dir .. "/" .. name, "w"))
    f:write(text)
    f:close()
  end

  -- A recipe whose program sees the host's files: quick, and with nothing of the sandbox recipe's.
  local function recipe(more, before)
    return (before or "") .. [[

return require("caisson").recipe {
  summary = "A process with a mount namespace and the host's root",
  namespaces = { mount = true, uts = true },
  root = "/", readonly_root = false, session = true,
  ]] .. (more or "") .. "\n}\n"
end

  local function start(...)
    t.needs(t.is_root and "root" or "userns")
    local words = { "watch" }
    for _, w in ipairs { ... } do words[#words + 1] = w end
    watch = cli.at_terminal(cli.argv(words), { columns = 200 })
    return watch
  end

  local function program(script) return "--", "sh", "-c", script end

  local function alive(number) return t.sh("pgrep -f '^sleep " .. nap .. number .. "$' || true") ~= "" end

  local function becomes(what, number)
    for _ = 1, 300 do
      if alive(number) == what then return true end
      t.sh "sleep 0.02"
    end
    return false
  end
  local function until_gone(number) return becomes(false, number) end
  local function until_there(number) return becomes(true, number) end

  it("runs again when the recipe is written, renamed over, removed and made again; Ctrl-C ends it", function()
    write("r.lua", recipe [[hostname = "one"]])
    start(dir .. "/r.lua", program "echo name $(uname -n)")
    watch:expect "name one"
    watch:expect "exited 0"
    watch:expect "watching "
    write("r.lua", recipe [[hostname = "two"]])
    watch:expect "r.lua changed"
    watch:expect "name two"
    watch:expect "watching "
    -- as editors save: a new file in the place of the old one
    write(".r.lua.new", recipe [[hostname = "three"]])
    t.sh(("mv %s/.r.lua.new %s/r.lua"):format(dir, dir))
    watch:expect "name three"
    watch:expect "watching "
    -- and as others do: the old one away first, and written while nobody may look
    t.sh(("mv %s/r.lua %s/r.lua~"):format(dir, dir))
    write("r.lua", recipe [[hostname = "four"]])
    watch:expect "name four"
    watch:expect "watching "
    t.sh(("rm %s/r.lua"):format(dir))
    watch:expect "no such recipe file"
    watch:expect "watching "
    write("r.lua", recipe [[hostname = "five"]])
    watch:expect "name five"
    watch:expect "watching "
    watch:send "\3"
    assert.same({ code = 130 }, { code = watch:wait().code })
  end)

  it("tells of a recipe that is none, and waits for the next", function()
    write("r.lua", "return x y")
    start(dir .. "/r.lua", program "echo it runs")
    watch:expect "expected near 'y'"
    watch:expect "no plan"
    watch:expect "watching "
    write("r.lua", recipe [[hostnam = "x"]])
    watch:expect "did you mean 'hostname'?"
    watch:expect "watching "
    write("r.lua", recipe())
    watch:expect "it runs"
  end)

  it("runs again for each file that the recipe is made of, wherever that is", function()
    t.sh(("mkdir %s/real; ln -s real/base.lua %s/base.lua"):format(dir, dir))
    write("real/base.lua", recipe [[hostname = "one"]])
    write("part.lua", [[return { WORD = "two" }]])
    write("list.txt", "three")
    write("file.txt", "")
    write("r.lua", ([[
      local here = debug.getinfo(1, "S").source:match("^@(.*/)")
      package.path = here .. "?.lua;" .. package.path
      return require("caisson").recipe {
        summary = "Made of others", extends = here .. "base.lua",
        params = { file = { "path", default = here .. "file.txt" } },
        build = function()
          local f = assert(io.open(here .. "list.txt"))
          local word = f:read("*a")
          f:close()
          return { env = { A = require("part").WORD, B = word } }
        end,
      }]]))
    start(dir .. "/r.lua", program "echo says $(uname -n) $A $B")
    watch:expect "says one two three"
    watch:expect "watching "
    write("real/base.lua", recipe [[hostname = "uno"]])
    watch:expect "says uno two three"
    watch:expect "watching "
    write("part.lua", [[return { WORD = "due" }]])
    watch:expect "part.lua changed"
    watch:expect "says uno due three"
    watch:expect "watching "
    write("list.txt", "tre")
    watch:expect "says uno due tre"
    watch:expect "watching "
    write("part.lua", [[return { WORD = }]])
    watch:expect "unexpected symbol near"
    watch:expect "watching "
    write("part.lua", [[return { WORD = "2" }]])
    watch:expect "says uno 2 tre"
    watch:expect "watching "
    write("file.txt", "x")
    watch:expect "file.txt changed"
  end)

  it("runs again for the files and folders of --path, and not for what editors leave beside them", function()
    write("r.lua", recipe())
    t.sh(("mkdir -p %s/src/deep %s/src/.git"):format(dir, dir))
    write("one.txt", "1")
    start(dir .. "/r.lua", "--path", dir .. "/src", "--path", dir .. "/one.txt", program "echo count")
    watch:expect "watching "
    write("src/deep/a.c", "int x;")
    watch:expect "src/deep/a.c changed"
    watch:expect "watching "
    t.sh(("mkdir %s/src/new; echo y > %s/src/new/b.c"):format(dir, dir))
    watch:expect "src/new/b.c changed"
    watch:expect "watching "
    write("src/.a.c.swp", "x")
    write("src/a.c~", "x")
    write("src/.git/index", "x")
    write("src/deep/a.c", "int x;") -- as it is
    t.sh "sleep 0.3"
    write("one.txt", "2")
    assert.is_nil(watch:expect("one.txt changed"):find "changed")
    watch:expect "watching "
    -- what is deleted has changed
    t.sh(("rm %s/src/deep/a.c"):format(dir))
    watch:expect "src/deep/a.c changed"
  end)

  it("shows what a change does to the plan and the result: steps, status, output", function()
    write("r.lua", recipe [[hostname = "one", rlimits = { nofile = 64 }]])
    start(dir .. "/r.lua", program "echo same; uname -n; test $(uname -n) = one")
    watch:expect "exited 0"
    watch:expect "watching "
    write("r.lua", recipe [[hostname = "two", rlimits = { nofile = 64 }]])
    -- the plan first: the step that has changed, and what in it
    watch:expect "~"
    local plan = watch:expect "== exited 1 (was: exited 0)"
    assert.truthy(plan:find "hostname" and plan:find "one" and plan:find "two")
    assert.is_nil(plan:find "rlimit")
    watch:expect "output changed:"
    local shown = watch:expect "watching "
    assert.truthy(shown:find "%- one\r\n%s+%+ two")
    assert.is_nil(shown:find "same")
    watch:send "\n"
    watch:expect "again"
    watch:expect "output: the same"
    watch:expect "watching "
    watch:send "q\n"
    assert.equal(0, watch:wait().code)
  end)

  it("explains each run, and takes mix-ins, which it watches too", function()
    write("r.lua", recipe [[hostname = "one", seccomp = require("caisson").policy.default()]])
    write("mix.lua", [[return require("caisson").policy.mix { limits = { time = 60 } }]])
    start(dir .. "/r.lua", "--explain", "--mix", dir .. "/mix.lua", program "echo $$ >/tmp/$$; unshare -n true 2>/dev/null; true")
    watch:expect "unshare(CLONE_NEWNET)"
    watch:expect "exited 0"
    watch:expect "watching "
    watch:send "\n" -- what explains is no output of the program's
    watch:expect "output: the same"
    watch:expect "watching "
    write("mix.lua", [[return require("caisson").policy.mix { rlimits = { nofile = 60 } }]])
    watch:expect "mix.lua changed"
    local plan = watch:expect "unshare(CLONE_NEWNET)"
    assert.truthy(plan:find "nofile")
    assert.is_nil(plan:find "seccomp%s+%d") -- the filters that explain are none of the plan's
    watch:expect "watching "
  end)

  it("ends a program that runs, and all that it has started, when something changes and when it ends itself", function()
    write("r.lua", recipe())
    local script = ("trap '' TERM INT; setsid sleep %s1 & sleep %s2 & echo ready; sleep %s3; sleep %s3"):gsub("%%s", nap)
    start(dir .. "/r.lua", program(script))
    watch:expect "ready"
    assert.is_true(until_there(1) and until_there(2))
    write("r.lua", recipe [[hostname = "other"]])
    watch:expect "== 2"
    watch:expect "ready"
    watch:send "\3"
    assert.equal(130, watch:wait().code)
    for i = 1, 3 do assert.is_true(until_gone(i), i) end
  end)

  it("leaves nothing when it is killed", function()
    write("r.lua", recipe())
    start(dir .. "/r.lua", program(("sleep %s5 & echo ready; sleep %s6"):gsub("%%s", nap)))
    watch:expect "ready"
    assert.is_true(until_there(5) and until_there(6))
    watch.process:kill "KILL"
    assert.is_true(until_gone(5) and until_gone(6))
  end)

  it("can be ended, and goes on, where a recipe's evaluation does not end", function()
    write("r.lua", "while true do end")
    start(dir .. "/r.lua", program "echo it runs")
    watch:expect "== 1"
    t.sh "sleep 0.1"
    write("r.lua", recipe())
    watch:expect "it runs"
    watch:expect "watching "
    write("r.lua", recipe [[extends = "nothing"]])
    assert.is_nil(watch:expect("no plan"):find "traceback")
    watch:expect "watching "
    write("r.lua", "os.exit(3)")
    watch:expect "no plan"
    watch:expect "watching "
    write("r.lua", recipe(nil, "leaked = (leaked or 0) + 1; assert(leaked == 1)"))
    watch:expect "it runs"
    watch:expect "watching "
    write("r.lua", "while true do end")
    watch:expect "changed"
    t.sh "sleep 0.1"
    watch:send "\3"
    assert.equal(130, watch:wait().code)
  end)

  it("goes on for ever for no program that writes what is watched", function()
    write("r.lua", recipe())
    t.sh(("mkdir %s/out"):format(dir))
    start(dir .. "/r.lua", "--path", dir .. "/out", program("echo fixed > " .. dir .. "/out/a; chmod 777 " .. dir .. "/out"))
    watch:expect "out/a changed"
    watch:expect "output: the same"
    t.sh "sleep 0.3"
    assert.is_nil(watch.seen:find("== 3", 1, true))
    watch:send "q\n"
    watch:wait()
    watch:close()
    start(dir .. "/r.lua", "--path", dir .. "/out", program("date +%N > " .. dir .. "/out/b"))
    watch:expect "out/b changes each time that the program runs: it is watched no longer"
    write("out/c", "x")
    watch:expect "out/c changed"
  end)

  it("says when there is nothing to wait for, and takes the words that run does", function()
    t.needs(t.is_root and "root" or "userns")
    local r = cli.caisson { "watch", "no-such-recipe", "--", "true" }
    assert.equal(125, r.code)
    assert.truthy(r.err:find("no recipe is called 'no-such-recipe'", 1, true))
    assert.truthy(cli.caisson({ "watch" }).err:find("a recipe is expected", 1, true))
    assert.equal(125, cli.caisson({ "watch", "--worker", "7,8,9", "sandbox", "--", "true" }).code)
    write("r.lua", recipe())
    local before = core.list "/proc/self/fd"
    start(dir .. "/r.lua", "--env", "A=b c", program "echo $A")
    watch:expect "b c"
    watch:send "\3"
    watch:wait()
    watch:close()
    watch = nil
    assert.equal(#before, #core.list "/proc/self/fd")
  end)
end)
