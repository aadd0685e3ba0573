-- The command, its exit statuses and what it says; signals and terminals.
local t = require "support"
local cli = require "support.cli"
local core = t.core

local dir = t.sh("mktemp -d /tmp/caisson-spec.XXXXXX"):match("%S+")
t.sh("chmod 755 " .. dir)

-- A part of this run's own in what its programs are called, to find them by.
local nap = ("47%d."):format(t.getpid())

local function write(name, text)
  local path = dir .. "/" .. name
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  return path
end

-- A recipe whose program sees the host's files: quick, and with nothing of the sandbox recipe's.
local plain = write("plain.lua", [[
local caisson = require "caisson"
return caisson.recipe {
  summary = "A process with a pid namespace of its own",
  params = { init = { "boolean", default = false }, session = { "boolean", default = true },
    tty = { "boolean", default = false }, count = { "integer", required = true, help = "how many" },
    mode = { { "fast", "slow" }, default = "fast", help = "how" } },
  build = function(p)
    return {
      namespaces = { mount = true, pid = true },
      root = "/",
      readonly_root = false,
      mounts = { { proc = "/proc" }, { devpts = "/dev/pts" } },
      init = p.init, session = p.session, tty = p.tty or nil,
    }
  end,
}
]])

local function run(words, opts)
  local all = { "run", plain, "count=1" }
  local i = 1
  while words[i] and words[i]:find("^%w+=") do
    all[#all + 1] = words[i]
    i = i + 1
  end
  all[#all + 1] = "--"
  for k = i, #words do all[#all + 1] = words[k] end
  return cli.caisson(all, opts)
end

teardown(function() t.sh("rm -rf " .. dir) end)

describe("caisson", function()
  it("tells its version", function()
    assert.same({ out = "caisson " .. require("caisson")._VERSION .. "\n", err = "", code = 0 }, cli.caisson { "--version" })
  end)

  it("tells how to use it", function()
    local r = cli.caisson {}
    assert.equal(125, r.code)
    assert.equal("", r.out)
    assert.equal(r.err, cli.caisson({ "help" }).out)
    assert.equal(r.err, cli.caisson({ "--help" }).out)
    for _, command in ipairs { "run", "plan", "doctor", "recipes", "help" } do
      assert.truthy(r.err:find("\n   " .. command .. " ", 1, true), command)
      assert.equal(cli.caisson({ command, "-h" }).out, cli.caisson({ "help", command }).out)
    end
  end)

  it("refuses what it does not know", function()
    for _, case in ipairs {
      { { "rum" }, "caisson: unknown command 'rum' (did you mean 'run'?) (see: caisson help)\n" },
      { { "run", "--jsno" }, "caisson: unknown option '--jsno' (did you mean '--json'?) (see: caisson help)\n" },
      { { "run" }, "caisson: a recipe is expected (see: caisson recipes)\n" },
      { { "run", "sandbox", "--" }, "caisson: a program is expected after --\n" },
      { { "run", "sandbox", "true" }, "caisson: 'true' is not NAME=VALUE (the program stands after --)\n" },
      { { "recipes", "--", "x" }, "caisson: recipes takes no program\n" },
      { { "run", "--env", "x", "sandbox", "--", "true" }, "caisson: --env x: NAME=VALUE expected\n" },
      { { "run", "no-such" }, "caisson: no recipe is called 'no-such' (looked in " .. cli.root .. "/recipes)\n" },
      { { "run", "no/such.lua" }, "caisson: no/such.lua: no such recipe file\n" },
      { { "run", plain, "--", "true" }, "caisson: parameter 'count' is missing: how many\n" },
      { { "run", plain, "count=x", "--", "true" }, "caisson: parameter 'count': a whole number expected, got 'x'\n" },
      { { "run", plain, "count=1", "mode=x", "--", "true" }, "caisson: parameter 'mode': one of fast, slow expected, got 'x'\n" },
      { { "run", plain, "count=1", "mood=x", "--", "true" }, "caisson: unknown parameter 'mood' (did you mean 'mode'?)\n" },
      { { "run", plain, "count=1" }, "caisson: args: no program given\n" },
    } do
      assert.same({ out = "", err = case[2], code = 125 }, cli.caisson(case[1]))
    end
  end)

  it("lists recipes and describes them", function()
    local r = cli.caisson { "recipes" }
    assert.equal("", r.err)
    for _, name in ipairs { "sandbox", "shell", "judge", "handmade" } do
      assert.truthy(("\n" .. r.out):find("\n" .. name .. ": %u"), name)
    end
    assert.same({ out = [[
plain: A process with a pid namespace of its own

Usage: caisson run PLAIN [NAME=VALUE]... [-- PROGRAM ARGUMENTS...]

Parameters:
  count    integer    how many (required)
  init     boolean    (default: false)
  mode     fast|slow  how (default: fast)
  session  boolean    (default: true)
  tty      boolean    (default: false)
]], err = "", code = 0 }, (function(h) h.out = h.out:gsub(plain:gsub("%p", "%%%0"), "PLAIN") return h end)(cli.caisson { "help", plain }))
    local list = require("caisson.json").decode(cli.caisson({ "recipes", "--json" }).out)
    local sandbox
    for _, item in ipairs(list) do if item.name == "sandbox" then sandbox = item end end
    assert.equal("size", sandbox.params.tmp.type)
    assert.equal("64M", sandbox.params.tmp.default)
  end)
end)

describe("caisson run", function()
  if not t.needs "userns" then return end

  it("ends as the program ended", function()
    for _, init in ipairs { "init=no", "init=yes" } do
      assert.same({ out = "hello\n", err = "", code = 7 }, run { init, "sh", "-c", "echo hello; exit 7" })
      assert.same({ out = "in\n", err = "", code = 0 }, run({ init, "cat" }, { stdin = "in\n" }))
    end
    assert.same({ out = "", err = "", code = 139 }, run { "init=yes", "sh", "-c", "kill -SEGV $$; sleep 5" })
  end)

  it("answers 127 for a program that is not there, 126 for one that can't be executed", function()
    local at = dir:match("[^/]*$") .. "/plain.lua:7"
    local function error_of(r) return (r.err:gsub("\n.*", "\n"):gsub("step %d+", "step N")) end
    local r = run { "no-such-program" }
    assert.equal(127, r.code)
    assert.equal("caisson: " .. at .. ": step N, exec[1] no-such-program: not in PATH: no-such-program: " ..
      "No such file or directory (ENOENT)\n", error_of(r))
    local data = write("data", "")
    r = run { data }
    assert.equal(126, r.code)
    assert.equal(("caisson: %s: step N, exec[1] %s: %s: Permission denied (EACCES)\n"):format(at, data, data), error_of(r))
    t.sh("chmod 755 " .. write("text", "no program\n"))
    r = run { dir .. "/text" }
    assert.equal(126, r.code)
    assert.equal("caisson: " .. at .. ": step N, exec[1] " .. dir .. "/text: " .. dir .. "/text: Exec format error (ENOEXEC)\n", error_of(r))
  end)

  it("passes the environment of --env", function()
    local r = cli.caisson { "run", "--env", "A=1=2", "--env", "B=", plain, "count=1", "--", "sh", "-c", "echo $A,$B,${B+set}" }
    assert.same({ out = "1=2,,set\n", err = "", code = 0 }, r)
  end)

  it("writes the result as JSON", function()
    local r = cli.caisson { "run", "--json", plain, "count=1", "--", "sh", "-c", "echo out; exit 3" }
    assert.equal(3, r.code)
    local doc = require("caisson.json").decode((r.out:match("^out\n(.*)")))
    assert.same({ "exited", 3, false }, { doc.status, doc.code, doc.oom })
    assert.truthy(doc.wall_ns > 0)
    r = cli.caisson { "run", "--result", dir .. "/result", plain, "count=1", "--", "sh", "-c", "kill -KILL $$" }
    assert.equal("", r.out)
    r = cli.caisson { "run", "--result", dir .. "/result", plain, "count=1", "--", "no-such" }
    doc = require("caisson.json").decode(t.read_file(dir .. "/result"))
    assert.same({ "failed", "exec", 1, 2, "ENOENT" }, { doc.status, doc.failure.step, doc.failure.index, doc.failure.errno, doc.failure.code })
    assert.truthy(r.err:find(doc.message, 1, true))
  end)

  it("says in one line which limit has ended the program", function()
    local limited = write("limited.lua", [[
return require("caisson").recipe {
  params = { time = { "number" }, output = { "integer" }, cpu = { "number" } },
  build = function(p)
    return { namespaces = { pid = true }, limits = { time = p.time, cpu = p.cpu, output = p.output }, stdout = "capture",
      seccomp = p.time == nil and p.output == nil and p.cpu == nil and require("caisson").policy.default() or nil }
  end,
}]])
    for _, case in ipairs {
      { "time=0.1", "sleep 5", "^caisson: the time limit of 0%.1 s is over %(0%.%d%d%d s of it were CPU time%)\n$", 137 },
      { "cpu=0.1", "while :; do :; done", "^caisson: the limit of CPU time of 0%.1 s is used up\n$", 137 },
      { "output=1000", "while echo 0123456789; do :; done", "^caisson: more output than the limit of 1000 bytes\n$", 137 },
    } do
      local r = cli.caisson { "run", limited, case[1], "--", "sh", "-c", case[2] }
      assert.truthy(r.err:find(case[3]), r.err)
      assert.equal(case[4], r.code)
    end
  end)

  it("runs a saved plan, which shows as it was saved", function()
    local saved = cli.caisson({ "plan", "--json", plain, "count=1" }).out
    local path = write("saved.json", saved)
    assert.same({ out = saved, err = "", code = 0 }, cli.caisson { "plan", "--json", path })
    assert.equal(cli.caisson({ "plan", plain, "count=1" }).out, cli.caisson({ "plan", path }).out)
    assert.same({ out = "1\n", err = "", code = 4 }, cli.caisson { "run", "--plan", path, "--", "sh", "-c", "echo $$; exit 4" })
    assert.same({ out = "", err = "caisson: the plan names no program: it is to stand after --\n", code = 125 },
      cli.caisson { "run", "--plan", path })
    path = write("saved2.json", cli.caisson({ "plan", "--json", plain, "count=1", "--", "sh", "-c", "exit 5" }).out)
    assert.equal(5, cli.caisson({ "run", "--plan", path }).code)
    assert.same({ out = "", err = "caisson: " .. dir .. "/bad.json: not a plan of caisson 1\n", code = 125 },
      cli.caisson { "run", "--plan", write("bad.json", "{}") })
  end)
end)

describe("caisson run, of a program that has just begun,", function()
  it("hands on what comes, and gives nothing up", function()
    if not t.needs "userns" then return end
    local folder = t.sh("mktemp -d"):gsub("\n", "")
    finally(function() t.sh("rm -r " .. folder) end)
    local f = assert(io.open(folder .. "/box.lua", "w"))
    f:write([[return require("caisson").recipe { namespaces = {}, session = false, args = { "/bin/sh", "-c",
      "trap 'echo got; exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.1; done" } }]])
    f:close()
    for _ = 1, 120 do -- 3 in 100 were given up, before
      assert.same({ out = "got\n", err = "", code = 0 }, cli.caisson { "run", folder .. "/box.lua" })
    end
  end)
end)

describe("caisson plan", function()
  it("needs no privileges", function()
    if not t.needs "root" then return end
    if not t.sh("setpriv --reuid=65534 --regid=65534 --clear-groups cat " .. cli.script .. " 2>/dev/null"):find("main") then
      return pending "needs a checkout that nobody can read"
    end
    local r = cli.caisson({ "plan", "recipes/sandbox.lua" }, { as = 65534 })
    assert.equal("", r.err)
    assert.equal(0, r.code)
    assert.truthy(r.out:find("\n 1  clone   *parent  clone  "))
    assert.truthy(r.out:find("recipes/sandbox.lua:%d+\n"))
  end)
end)

-- A recipe's program started and ready, with caisson's own process to send signals to.
local function started(words, script, prefix)
  local ready = dir .. "/ready"
  os.remove(ready)
  local argv = { "run", plain, "count=1" }
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  for _, w in ipairs { "--", "sh", "-c", script:gsub("READY", "echo >" .. ready), nil } do argv[#argv + 1] = w end
  local r, w = core.pipe()
  argv = cli.argv(argv)
  for i, word in ipairs(prefix or {}) do table.insert(argv, i, word) end
  local process = assert(core.spawn { plan = core.plan { t.step("clone", {}),
    t.step("exec", { argv = argv, env = cli.environment, files = { "stdin", "stdout", "stdout" } }) },
    slots = { stdin = core.open("/dev/null"), stdout = w } })
  w:close()
  for _ = 1, 500 do
    if core.lstat(ready) then
      t.sh("sleep 0.1") -- a signal before the command has heard of it would give the container up
      return process, r
    end
    t.sh("sleep 0.01")
  end
  process:close()
  error("the program did not start: " .. t.slurp(r))
end

local function processes_with(text)
  local list = {}
  for line in t.sh("ps -eo pid=,args="):gmatch("[^\n]+") do
    if line:find(text, 1, true) then list[#list + 1] = line end
  end
  return table.concat(list, "\n")
end

-- The one process whose command line has this pattern.
local function pid_of(pattern)
  for _ = 1, 100 do
    for line in t.sh("ps -eo pid=,args="):gmatch("[^\n]+") do
      local pid, args = line:match("^%s*(%d+) (.*)")
      if args and args:find(pattern) then return tonumber(pid) end
    end
    t.sh("sleep 0.05")
  end
  error("no process is " .. pattern, 2)
end

describe("signals to caisson run", function()
  if not t.needs "userns" then return end

  for _, init in ipairs { "init=no", "init=yes" } do
    it("reach the program, " .. init, function()
      for _, name in ipairs { "HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH" } do
        local process, r = started({ init }, ("trap 'echo got %s; exit 9' %s; READY; while :; do sleep 0.01; done"):format(name, name))
        process:kill(name)
        assert.equal(("got %s\n"):format(name), t.slurp(r))
        assert.equal(9, process:wait(10).code)
        process:close()
      end
    end)

    it("end a program that does nothing about them, " .. init, function()
      for name, number in pairs { TERM = 15, INT = 2, USR1 = 10 } do
        local process, r = started({ init }, "READY; exec sleep " .. nap .. "11")
        t.sh "sleep 0.2" -- until it is sleep: sh has a handler for INT
        process:kill(name)
        assert.equal("", t.slurp(r))
        assert.equal(128 + number, process:wait(10).code)
        process:close()
      end
      assert.equal("", processes_with("sleep " .. nap .. "11"))
    end)
  end

  it("do not end a program that ignores or blocks them", function()
    local process, r = started({}, "trap '' TERM; READY; sleep 0.3; echo alive")
    process:kill "TERM"
    assert.equal("alive\n", t.slurp(r))
    assert.equal(0, process:wait(10).code)
    process:close()
  end)

  it("stay ignored where the caller ignores them", function()
    local process, r = started({}, "READY; sleep 0.3; echo alive", { "sh", "-c", "trap '' HUP; exec \"$@\"", "-" })
    process:kill "HUP"
    assert.equal("alive\n", t.slurp(r))
    assert.equal(0, process:wait(10).code)
    process:close()
  end)

  it("leave nothing when it is killed", function()
    for _, init in ipairs { "init=no", "init=yes" } do
      local process, r = started({ init }, "READY; sleep " .. nap .. "12 & exec sleep " .. nap .. "12")
      assert.truthy(processes_with("sleep " .. nap .. "12"):find("sleep " .. nap .. "12"))
      process:kill "KILL"
      assert.equal("", t.slurp(r)) -- the last holder of the pipe is gone
      assert.equal("", processes_with("sleep " .. nap .. "12"))
      process:close()
    end
  end)

  it("give a construction up", function()
    local slow = write("slow.lua", ([[
return require("caisson").recipe {
  namespaces = { pid = true },
  hooks = { createRuntime = { path = "/bin/sh", args = { "sh", "-c", "echo >%s/ready; sleep %s13" } } },
}]]):format(dir, nap))
    os.remove(dir .. "/ready")
    local r, w = core.pipe()
    local process = assert(core.spawn { plan = core.plan { t.step("clone", {}),
      t.step("exec", { argv = cli.argv { "run", slow, "--", "true" }, env = cli.environment, files = { "stdin", "stdout", "stdout" } }) },
      slots = { stdin = core.open("/dev/null"), stdout = w } })
    w:close()
    for _ = 1, 500 do
      if core.lstat(dir .. "/ready") then break end
      t.sh("sleep 0.01")
    end
    process:kill "INT"
    assert.equal("caisson: given up while the container was made (SIGINT)\n", t.slurp(r))
    assert.equal(130, process:wait(10).code)
    assert.equal("", processes_with("sleep " .. nap .. "13"))
    process:close()
  end)
end)

describe("caisson run at a terminal", function()
  if not t.needs "userns" then return end

  local function at_terminal(words, opts)
    local all = { "run", plain, "count=1" }
    for _, w in ipairs(words) do all[#all + 1] = w end
    return cli.at_terminal(cli.argv(all), opts)
  end

  for _, how in ipairs { "init=no", "init=yes", "session=no" } do
    it("passes ^C to all of the program's group once, " .. how, function()
      local term = at_terminal { how, "--", "sh", "-c",
        [[trap 'echo child' INT; sh -c 'trap "echo grandchild; exit 0" INT; echo ready; while :; do sleep 0.01; done'; echo over; exit 6]] }
      term:expect "ready\r\n"
      term:send "\3"
      assert.equal(6, term:wait().code)
      local _, count = term.seen:gsub("child\r\n", "")
      assert.equal(2, count, term.seen) -- "child" once, "grandchild" once
      assert.truthy(term:is_sane())
      term:close()
    end)
  end

  for _, how in ipairs { "session=yes", "session=no" } do
    it("ends by ^C a program that is pid 1 and has no handler, " .. how, function()
      local term = at_terminal { how, "--", "sh", "-c", "echo ready; exec sleep " .. nap .. "14" }
      term:expect "ready\r\n"
      t.sh "sleep 0.2"
      term:send "\3"
      assert.equal(130, term:wait().code)
      assert.equal("", processes_with("sleep " .. nap .. "14"))
      term:close()
    end)

    it("ends with the terminal, " .. how, function()
      local term = at_terminal { how, "--", "sh", "-c", "echo ready; exec sleep " .. nap .. "17" }
      term:expect "ready\r\n"
      t.sh "sleep 0.2"
      term.master:close() -- the terminal's other end: the foreground gets SIGHUP
      assert.equal(129, (term.process:wait(5) or {}).code)
      assert.equal("", processes_with("sleep " .. nap .. "17"))
      term.process:close()
    end)
  end

  for _, how in ipairs { "init=no", "init=yes", "session=no", "tty=yes" } do
    it("stops and continues with its program, as a shell's job, " .. how, function()
      local term = cli.at_terminal({ "/bin/sh", "-i" }, {})
      term:send("PS1='@''@ '\n")
      term:expect "@@ "
      local words = {}
      for _, w in ipairs(cli.argv { "run", plain, "count=1", how, "--", "sh", "-c",
        "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done" }) do
        words[#words + 1] = "'" .. w .. "'"
      end
      term:send(table.concat(words, " ") .. "\n")
      term:expect "tick 3\r\n"
      if how == "tty=yes" then
        -- the key is the inner terminal's; what stops caisson is a signal from elsewhere
        core.signal.send(pid_of("^[^ ]+ [^ ]+ run " .. plain:gsub("%p", "%%%0") .. " count=1 tty=yes "), "TSTP")
      else
        term:send "\26"
      end
      term:expect "Stopped"
      term:expect "@@ "
      assert.truthy(term:is_sane())
      t.sh "sleep 0.2"
      term:send "echo qu''iet\n"
      assert.is_nil(term:expect("quiet\r\n"):find("tick", 1, true))
      term:send "fg\n"
      term:expect "tick"
      term:expect "tick"
      term:send "\3"
      term:expect "@@ "
      term:send "echo status $?\n"
      term:expect "status 130\r\n"
      assert.truthy(term:is_sane())
      term:send "exit\n"
      term:wait()
      term:close()
    end)
  end
end)

describe("a container with a terminal of its own", function()
  if not t.needs "userns" then return end

  local function shell(script, opts)
    return cli.at_terminal(cli.argv { "run", plain, "count=1", "tty=yes", "--", "sh", "-c", script }, opts)
  end

  it("is of the caller's size, and follows it", function()
    local term = shell([[trap 'stty size; exit 3' WINCH; tty; stty size; echo ready; while :; do sleep 0.02; done]],
      { rows = 31, columns = 99 })
    term:expect "/dev/pts/0\r\n31 99\r\nready\r\n"
    core.terminal.resize(term.master, 32, 98)
    assert.equal(3, term:wait().code)
    assert.equal("32 98\r\n", term.seen)
    assert.truthy(term:is_sane())
    term:close()
  end)

  it("gets the keys, and shows what they do", function()
    local term = shell "read -p 'name? ' x; echo hello $x; stty -echo; read y; echo \"<$y>\"; exec cat"
    term:expect "name? "
    term:send "box\r"
    term:expect "box\r\nhello box\r\n"
    t.sh "sleep 0.1"
    term:send "hidden\r"
    term:expect "<hidden>\r\n"
    term:send "\4"
    assert.equal(0, term:wait().code)
    assert.truthy(term:is_sane())
    term:close()
  end)

  it("gives the caller's terminal back, whatever ends it", function()
    for _, case in ipairs {
      { "echo ready; exit 4", function() end, 4 },
      { "echo ready; stty raw -echo; exec sleep " .. nap .. "15", function()
        core.signal.send(pid_of("^sleep " .. nap:gsub("%p", "%%%0") .. "15$"), "KILL")
      end, 137 },
      { "echo ready; exec sleep " .. nap .. "15", function(term) term.process:kill "TERM" end, 143 },
      { "echo ready; exec sleep " .. nap .. "15", function(term)
        t.sh "sleep 0.2" -- until it is sleep: sh has a handler for this key
        term:send "\3"
      end, nil },
    } do
      local term = shell(case[1])
      term:expect "ready\r\n"
      case[2](term)
      if case[3] then
        assert.equal(case[3], term:wait().code)
      else
        -- pid 1 without a handler: the key does nothing, as in the kernel's rules
        t.sh "sleep 0.1"
        assert.is_nil(term.process:wait(0))
        term.process:kill "INT"
        assert.equal(130, term:wait().code)
      end
      assert.truthy(term:is_sane())
      term:close()
    end
  end)

  it("gives nothing of the caller's terminal to the program, which can't type into it", function()
    local term = cli.at_terminal({ "/bin/sh", "-i" }, {})
    term:send("PS1='@''@ '\n")
    term:expect "@@ "
    -- TIOCSTI (0x5412), to whatever is open; the luajit of the host is not in there, perl is not everywhere
    local words = {}
    for _, w in ipairs(cli.argv { "run", plain, "count=1", "tty=yes", "--", "sh", "-c",
      "for f in /proc/self/fd/*; do readlink $f; done; ls /dev/pts" }) do
      words[#words + 1] = "'" .. w .. "'"
    end
    term:send(table.concat(words, " ") .. "\n")
    local seen = term:expect "ptmx\r\n"
    assert.is_nil(seen:match("/dev/pts/[1-9]"))
    assert.truthy(seen:find("/dev/pts/0", 1, true))
    term:expect "@@ "
    term:send "exit\n"
    term:wait()
    term:close()
  end)

  it("reads a file or a pipe to its end", function()
    assert.same({ out = "abc\r\nabc\r\n", err = "", code = 0 }, run({ "tty=yes", "cat" }, { stdin = "abc\n" }))
    assert.equal(0, run({ "tty=yes", "sh", "-i" }, { stdin = "echo x\n" }).code)
    assert.same({ out = "0 0\r\n", err = "", code = 0 }, run { "tty=yes", "stty", "size" })
  end)
end)

describe("caisson doctor", function()
  it("says what can be done, and of each thing that can't how to get it", function()
    local r = cli.caisson { "doctor", "--json" }
    assert.same({ "", 0 }, { r.err, r.code })
    local rows = {}
    for _, row in ipairs(require("caisson.json").decode(r.out)) do rows[row.name] = row end
    -- each as this process finds it by itself
    assert.equal(t.probes.userns() and true or false, rows["user namespaces"].able)
    assert.equal(core.landlock.abi() ~= nil, rows.Landlock.able)
    assert.equal("Linux " .. t.read_file("/proc/sys/kernel/osrelease"):gsub("\n", ""), rows.kernel.detail)
    assert.truthy(rows.seccomp.detail:find("kill_process", 1, true))
    for _, row in pairs(rows) do assert.truthy(row.able or row.why, row.name) end
    -- tried, not looked up
    assert.equal(t.is_root or t.probes.subids() and true or false, rows["ranges of ids"].able)
    assert.is_true(rows["executable memfds"].able)
    local text = cli.caisson { "doctor" }
    assert.truthy(text.out:find("\nyes  Landlock ", 1, true) or text.out:find("\nno   Landlock ", 1, true))
  end)

  it("names the setting that turns user namespaces off", function()
    local machine = require "caisson.machine"
    local function settings(values) return function(path) return values[path] end end
    assert.is_nil(machine.no_user_namespaces(settings {}))
    for path, value in pairs { ["/proc/sys/user/max_user_namespaces"] = "0", ["/proc/sys/kernel/unprivileged_userns_clone"] = "0",
      ["/proc/sys/kernel/apparmor_restrict_unprivileged_userns"] = "1" } do
      local cause = machine.no_user_namespaces(settings { [path] = value })
      assert.equal(path, "/proc/sys/" .. cause.setting:gsub("%.", "/"))
      assert.truthy(cause.fix:find(cause.setting .. "=", 1, true))
      assert.is_nil(machine.no_user_namespaces(settings { [path] = value == "0" and "1" or "0" }))
    end
    assert.same({ "/proc/kcore" }, machine.covered_proc(
      "22 27 0:21 / /proc rw - proc proc rw\n30 22 0:5 /null /proc/kcore rw - devtmpfs x rw\n31 22 0:9 / /proc/sys/fs/binfmt_misc rw - x x rw\n"))
  end)
end)

describe("what a recipe's mistake leads to", function()
  if not t.needs "userns" then return end

  local function mounts() return t.read_file("/proc/self/mountinfo") end

  it("is told with step, index, object, errno, line and a hint, and leaves nothing", function()
    t.sh("mkdir -p " .. dir .. "/src")
    write("cc.lua", [[
local caisson = require "caisson"
return caisson.recipe {
  params = { dir = { "path", default = "src" } },
  build = function(p)
    return {
      namespaces = { mount = true, pid = true },
      mounts = {
        { tmpfs = "/tmp" },
        { bind = "/usr" },
        { bind = p.dir, at = "/work", writable = true },
      },
    }
  end,
}
]])
    local before, groups, files = mounts(), t.sh "find /sys/fs/cgroup -name 'caisson-*' -type d 2>/dev/null", t.sh("ls " .. dir)
    local r = cli.caisson({ "run", "cc.lua", "dir=scr", "--", "sleep", nap .. "16" }, { cwd = dir })
    assert.equal("", r.out)
    assert.equal(125, r.code)
    assert.equal([[
caisson: cc.lua:10: step N, mount.bind[2] scr -> /work (rnosuid,rnodev) recursive: source scr: No such file or directory (ENOENT)
  hint: the source is looked up on the host, from the current directory; "src" is there
]], (r.err:gsub("step %d+", "step N")))
    assert.equal("", processes_with("sleep " .. nap .. "16"))
    assert.equal(before, mounts())
    assert.equal(groups, t.sh "find /sys/fs/cgroup -name 'caisson-*' -type d 2>/dev/null")
    assert.equal(files, t.sh("ls " .. dir))
  end)

  it("names a misspelt option and the right word", function()
    for _, case in ipairs {
      { "readony = { '/proc/sys' }", "caisson: typo.lua:1: recipe: unknown option 'readony' (did you mean 'readonly'?)\n" },
      { "namespaces = { mount = true }, mounts = { { bind = '/usr', writeable = true } }",
        "caisson: typo.lua:1: mounts[1]: unknown option 'writeable' (did you mean 'writable'?)\n" },
      { "namespaces = { mnt = true }", "caisson: typo.lua:1: namespaces: unknown namespace 'mnt' (did you mean 'mount'?)\n" },
    } do
      write("typo.lua", "return require('caisson').recipe { " .. case[1] .. " }\n")
      assert.same({ out = "", err = case[2], code = 125 }, cli.caisson({ "run", "typo.lua", "--", "true" }, { cwd = dir }))
    end
  end)
end)
