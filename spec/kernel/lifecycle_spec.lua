-- A container's life by commands, each a process of its own; what happened is read from /proc, from the
-- groups' files and from what the container writes.
local t = require "support"
local cli = require "support.cli"
local json = require "caisson.json"
local lifecycle = require "support.lifecycle"
local core = t.core

local function status_of(pid) return t.read_file(("/proc/%d/status"):format(pid)) end

-- Running, sleeping, ...: the letter; nil where there is no such process, or only a zombie.
local function letter(pid)
  local s = (t.read_file(("/proc/%d/stat"):format(pid)) or ""):match("%) (%a) ")
  return s ~= "Z" and s ~= "X" and s or nil
end

local function gone(pid)
  local deadline = core.now() + 5e9
  while letter(pid) and core.now() < deadline do core.poll({}, 0.005) end
  return letter(pid) == nil
end

describe("caisson's commands", function()
  if not t.is_root and not t.needs("userns") then return end

  local world

  before_each(function() world = lifecycle.world() end)
  after_each(function() assert.same(lifecycle.nothing, world:close()) end)

  -- Once a program has said so, its starter may still have to hear of it; what is sent to that goes on afterwards.
  local function settle() core.poll({}, 0.15) end

  it("create, state, list, start, wait and delete: one life", function()
    assert.equal("", world:ok("create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c",
      "echo up; readlink /proc/self/ns/pid; exec sleep 30"))
    local s = world:state("box")
    assert.same({ "box", "created", "1.2.0" }, { s.id, s.status, s.ociVersion, s.annotations })
    assert.truthy(status_of(s.pid), "its init waits")
    assert.not_equal(t.namespace("pid"), t.namespace("pid", s.pid))
    core.poll({}, 0.1)
    assert.equal("", world:output())
    assert.equal("box\n", world:ok("list", "--quiet"))

    world:ok("start", "box")
    assert.equal("up\n" .. t.namespace("pid", s.pid) .. "\n", world:output("\n.*\n"))
    local running = world:state("box")
    assert.same({ s.pid, "running" }, { running.pid, running.status })
    local line = world:ok("list")
    assert.truthy(line:find("^ID +PID +STATUS +CREATED +RECIPE\nbox +" .. s.pid .. " +running +%d+%-%d+%-%d+T[%d:]+Z +" ..
      world.box:gsub("%p", "%%%0") .. "\n$"), line)
    assert.equal("box", json.decode(world:ok("list", "--json"))[1].id)

    local waiting = world:begin { "wait", "box" }
    settle()
    world:ok("kill", "box", "KILL")
    assert.equal(137, waiting:wait().code)
    waiting:close()
    assert.equal(137, world:run({ "wait", "box" }).code) -- for who asks later, too
    assert.is_true(gone(s.pid))
    assert.equal("stopped", world:state("box").status)
    assert.is_nil(world:state("box").pid)
    world:ok("delete", "box")
    assert.truthy(world:fails("state", "box"):find("there is no container 'box' in " .. world.root, 1, true))
    assert.equal("", world:ok("list", "--quiet"))
    assert.same({}, core.list(world.root))
  end)

  it("create outlives whoever ran it, and is left by nobody's death", function()
    local r = cli.caisson({ "--root", world.root, "create", "box", world.box, "--", "/bin/sleep", "30" },
      { prefix = { "/usr/bin/setsid", "--fork" } })
    assert.equal(0, r.code, r.err)
    local deadline = core.now() + 5e9
    while world:run({ "state", "box" }).code ~= 0 or world:state("box").status ~= "created" do
      assert(core.now() < deadline)
      core.poll({}, 0.02)
    end
    local pid = world:state("box").pid
    core.poll({}, 0.1)
    assert.truthy(letter(pid))
    world:ok("start", "box")
    assert.truthy(letter(pid))
    assert.truthy(world:ok("ps", "box"):find("/bin/sleep 30\n", 1, true))
  end)

  it("write the process id, and tell hooks of bundle and annotations", function()
    local hooks = world:recipe("hooked", [[return { hooks = { createRuntime = function(state)
      local f = assert(io.open(p.out .. ".hook", "w"))
      f:write(state.bundle, " ", state.annotations.who, " ", state.pid)
      f:close()
    end } }]])
    world:ok("create", "--id", "box", "--pid-file", world.dir .. "/pid", "--bundle", "/srv", "--annotation", "who=me",
      hooks, "out=" .. world.out, "--", "/bin/true")
    local s = world:state("box")
    assert.equal(tostring(s.pid), t.read_file(world.dir .. "/pid"))
    assert.same({ "/srv", { who = "me" } }, { s.bundle, s.annotations })
    assert.equal("/srv me " .. s.pid, t.read_file(world.out .. ".hook"))
    assert.truthy(world:fails("create", "b2", world.box, "--pid-file", world.dir .. "/none/pid", "--", "/bin/true"))
    assert.equal("box\n", world:ok("list", "--quiet"))
  end)

  it("create leaves nothing when it fails", function()
    local bad = world:recipe("bad", [[return { hooks = { createRuntime = function() error "not today" end } }]])
    local before = t.read_file("/proc/self/mountinfo")
    assert.truthy(world:fails("create", "x", bad, "--", "/bin/true"):find("not today", 1, true))
    assert.truthy(world:fails("create", "x", "no-such-recipe", "--", "/bin/true"):find("no recipe is called 'no-such-recipe'", 1, true))
    assert.truthy(world:fails("create", "x", world.box, "nonsense=1", "--", "/bin/true"):find("nonsense", 1, true))
    assert.truthy(world:fails("create", "x"):find("a recipe is expected", 1, true))
    assert.truthy(world:fails("create"):find("a container's name and a recipe are expected", 1, true))
    assert.equal("", world:groups())
    assert.same({}, world:processes())
    assert.same({}, core.list(world.root) or {})
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)

  it("give a terminal's other side to who listens for it", function()
    if not t.needs("perl") then return end
    local recipe, path = world.dir .. "/tty.lua", world.dir .. "/console"
    local f = assert(io.open(recipe, "w"))
    f:write('return require("caisson").recipe { extends = "sandbox", tty = true }')
    f:close()
    assert.truthy(world:fails("create", "x", recipe, "--", "/bin/true"):find("--console-socket says who gets its other side", 1, true))
    assert.truthy(world:fails("create", "x", recipe, "--console-socket", path, "--", "/bin/true"):find("--console-socket: ", 1, true))
    assert.equal("", world:ok("list", "--quiet"))
    if not t.sh("uname -m"):find("x86_64") then return pending("the receiver knows x86-64 only") end
    local out = assert(io.popen(([[perl -MSocket -e '
      socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("%s")); listen(S, 5); $| = 1; print "ready\n";
      accept(C, S);
      my ($data, $control) = ("\0" x 64, "\0" x 24);
      my $iov = pack("PQ", $data, 64); my $msg = pack("QQPQPQQ", 0, 0, $iov, 1, $control, 24, 0);
      my $n = syscall(47, fileno(C), $msg, 0); my $fd = unpack("x16 l", $control);
      print substr($data, 0, $n), "\n"; open(M, "+<&=", $fd); syswrite(M, "typed\n");
      while (sysread(M, my $bytes, 100)) { print $bytes }' 2>&1]]):format(path)))
    assert.equal("ready", out:read("*l"))
    assert.equal("", world:ok("create", "box", recipe, "--console-socket", path, "--", "/bin/sh", "-c",
      "tty; read x; echo got $x; exit 3"))
    assert.equal("/dev/ptmx", out:read("*l"))
    local waiting = world:begin { "wait", "box" }
    settle()
    world:ok("start", "box")
    local text = out:read("*a")
    out:close()
    assert.truthy(text:find("/dev/pts/0\r\n", 1, true), text)
    assert.truthy(text:find("got typed\r\n", 1, true), text)
    assert.equal(3, waiting:wait().code)
    waiting:close()
  end)

  it("say 127 and 126 for a program that is not there, or is none", function()
    local r = world:run { "create", "x", world.box, "--", "/no/such/program" }
    assert.equal(127, r.code, r.err)
    assert.truthy(r.err:find("/no/such/program", 1, true), r.err)
    for _, none in ipairs { "/etc/passwd", "/etc" } do -- executable for nobody, which is sure before its start
      r = world:run { "create", "x", world.box, "--", none }
      assert.equal(126, r.code, r.err)
      assert.truthy(r.err:find(none, 1, true), r.err)
    end
    assert.equal("", world:ok("list", "--quiet"))
    world:start("box", "sleep 30")
    assert.equal(127, world:run({ "exec", "box", "--", "/no/such/program" }).code)
    assert.equal(126, world:run({ "exec", "box", "--", "/etc" }).code)
    assert.equal("running", world:state("box").status)
  end)

  it("refuse bad ids", function()
    for _, id in ipairs { "", ".", "..", "../x", "a/b", "a b", "ü", ("x"):rep(256) } do
      for _, words in ipairs { { "create", id, world.box, "--", "/bin/true" }, { "create", "--id", id, world.box, "--", "/bin/true" },
        { "start", id }, { "delete", "--force", id }, { "exec", id, "--", "/bin/true" }, { "state", id }, { "kill", id } } do
        assert.truthy(world:fails((table.unpack or unpack)(words)):find("^caisson: a?n? ?id "), words[1] .. " " .. id) -- luacheck: ignore
      end
    end
    assert.is_nil(core.lstat(world.root))
  end)

  it("refuse words that make no sense", function()
    assert.truthy(world:fails("start"):find("missing argument", 1, true))
    assert.truthy(world:fails("start", "a", "b"):find("too many arguments", 1, true))
    assert.truthy(world:fails("start", "a", "--", "b"):find("start takes no program", 1, true))
    assert.truthy(world:fails("delete", "a", "--forc"):find("--force", 1, true))
    assert.truthy(world:fails("exec", "a"):find("a program is expected after --", 1, true))
    for _, command in ipairs { "start", "kill", "pause", "resume", "stats", "events", "ps", "wait", "delete", "state" } do
      assert.truthy(world:fails(command, "none"):find("there is no container 'none' in " .. world.root, 1, true), command)
    end
    assert.truthy(world:fails("update", "none", "pids.max=1"):find("there is no container 'none'", 1, true))
    assert.truthy(world:fails("exec", "none", "--", "true"):find("there is no container 'none'", 1, true))
    world:start("box", "sleep 30")
    assert.truthy(world:fails("update", "box"):find("CONTROLLER.LIMIT=VALUE", 1, true))
    assert.truthy(world:fails("update", "box", "pids"):find("'pids' is not CONTROLLER.LIMIT=VALUE", 1, true))
    assert.truthy(world:fails("kill", "box", "NOSUCH"):find("NOSUCH", 1, true))
    assert.truthy(world:fails("kill", "box", "65"):find("65", 1, true))
    assert.truthy(world:fails("wait", "box", "--timeout", "soon"):find("a number of seconds expected", 1, true))
    assert.truthy(world:fails("exec", "box", "--user", "root", "--", "true"):find("an id as a number expected", 1, true))
    assert.truthy(world:fails("exec", "box", "--cap", "sys_magic", "--", "true"):find("sys_magic", 1, true))
    assert.equal("running", world:state("box").status)
  end)

  it("refuse a root that others may write", function()
    t.sh("mkdir -m 0777 " .. world.root)
    t.sh("chmod 0777 " .. world.root)
    assert.truthy(world:fails("create", "x", world.box, "--", "/bin/true"):find("may be written by others", 1, true))
    assert.truthy(world:fails("list"):find("may be written by others", 1, true))
    t.sh("chmod 0700 " .. world.root)
  end)

  describe("kill", function()
    it("sends the signal by word or number, to the first process or to all", function()
      local s = world:start("box", "trap 'echo first' USR1; (trap 'echo second' USR1; while :; do sleep 0.02; done) & echo up; while :; do sleep 0.02; done")
      world:output("up\n")
      core.poll({}, 0.1)
      world:ok("kill", "box", "usr1")
      world:output("first\n")
      core.poll({}, 0.2)
      assert.is_nil(world:output():find("second", 1, true))
      world:ok("kill", "box", "10", "--all")
      world:output("second\n")
      assert.truthy(letter(s.pid))
      world:ok("kill", "box", "SIGKILL", "--all")
      assert.is_true(gone(s.pid))
      assert.truthy(world:fails("kill", "box"):find("stopped", 1, true))
    end)
  end)

  describe("wait", function()
    it("gives the program's status, by whoever it was started", function()
      world:ok("create", "box", world.box, "--", "/bin/sh", "-c", "sleep 0.5; exit 7")
      assert.truthy(world:fails("wait", "box", "--timeout", "0.1"):find("has not ended within 0.1 s", 1, true))
      world:ok("start", "box")
      assert.equal(7, world:run({ "wait", "box" }).code)
      assert.equal("stopped", world:state("box").status)
    end)
  end)

  describe("delete", function()
    it("leaves what runs alone, but for --force", function()
      local s = world:start("box", "sleep 30 & sleep 30")
      assert.truthy(world:fails("delete", "box"):find("running", 1, true))
      assert.truthy(letter(s.pid))
      world:ok("delete", "--force", "box")
      assert.is_true(gone(s.pid))
      assert.same({}, core.list(world.root))
      assert.equal("", world:groups())
      world:ok("create", "box", world.box, "--", "/bin/true") -- its name is free again
      s = world:state("box")
      assert.truthy(world:fails("delete", "box"):find("created", 1, true))
      world:ok("delete", "--force", "box")
      assert.is_true(gone(s.pid))
    end)

    it("cleans up by force whatever became of the state file", function()
      local file = world.root .. "/box/state.json"
      for i, damage in ipairs { "head -c 1100 %s > %s.x; mv %s.x %s", "truncate -s 0 %s", "rm %s", "printf '\\000\\377{' > %s",
        "truncate -s 1G %s", "rm %s; mkdir %s" } do
        local s = world:start("box", "sleep 30 & sleep 30")
        t.sh((damage:gsub("%%s", file)))
        if i ~= 3 then assert.truthy(world:fails("state", "box"):find("state", 1, true)) end
        assert.truthy(world:fails("start", "box"))
        if i == 1 then
          -- pid, start time and groups still stand in it
          world:ok("delete", "--force", "box")
          assert.is_true(gone(s.pid))
          assert.equal("", world:groups())
        else
          world:ok("delete", "--force", "box")
          os.execute("kill -KILL " .. s.pid .. " 2>/dev/null") -- nothing told who they were
          assert.is_true(gone(s.pid))
          t.sh("find /sys/fs/cgroup -depth -type d -name '" .. world.prefix .. "*' -exec rmdir {} + 2>/dev/null")
        end
        assert.same({}, core.list(world.root))
      end
    end)

    it("refuses the state of a later caisson", function()
      local s = world:start("box", "sleep 30")
      local file = world.root .. "/box/state.json"
      local text = t.read_file(file)
      local f = assert(io.open(file, "w"))
      f:write((text:gsub('"version": 1', '"version": 2')))
      f:close()
      for _, words in ipairs { { "state", "box" }, { "kill", "box" }, { "delete", "box" } } do
        assert.truthy(world:fails((table.unpack or unpack)(words)):find("made by a later caisson", 1, true)) -- luacheck: ignore
      end
      assert.truthy(letter(s.pid))
      f = assert(io.open(file, "w"))
      f:write(text)
      f:close()
    end)
  end)

  describe("list", function()
    it("shows damaged ones among the others", function()
      world:start("one", "sleep 30")
      world:ok("create", "two", world.box, "--", "/bin/true")
      t.sh("mkdir -p " .. world.root .. "/three && echo '{' > " .. world.root .. "/three/state.json")
      assert.equal("one\nthree\ntwo\n", world:ok("list", "--quiet"))
      local list = world:ok("list")
      assert.truthy(list:find("\none +%d+ +running"), list)
      assert.truthy(list:find("\nthree +%- +damaged"), list)
      assert.truthy(list:find("\ntwo +%d+ +created"), list)
    end)
  end)

  describe("exec", function()
    it("runs in the container's namespaces, with this command's streams and the program's status", function()
      local s = world:start("box", "sleep 30")
      local r = world:run({ "exec", "box", "--", "/bin/sh", "-c", "cat; readlink /proc/self/ns/*; echo bad >&2; exit 3" },
        { stdin = "given\n" })
      assert.same({ 3, "bad\n" }, { r.code, r.err })
      assert.equal("given\n", r.out:sub(1, 6))
      for name, id in r.out:gmatch("(%w+):(%[%d+%])") do
        if name ~= "time" then assert.equal(name .. ":" .. id, t.namespace(name, s.pid)) end
      end
      assert.truthy(r.out:find("pid:[", 1, true))
      assert.equal(143, world:run({ "exec", "box", "--", "/bin/sh", "-c", "kill -TERM $$" }).code)
    end)

    it("as the user, in the directory, with the variables and capabilities that are asked for", function()
      world:start("box", "sleep 30")
      local r = world:run { "exec", "box", "--cwd", "/usr", "--env", "A=b c", "--no-new-privs", "--", "/bin/sh", "-c",
        "pwd; echo $A; grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status" }
      assert.equal(0, r.code, r.err)
      assert.truthy(r.out:find("^/usr\nb c\nCapEff:\t0000000000000000\n"), r.out)
      assert.truthy(r.out:find("NoNewPrivs:\t1\n", 1, true))
      if t.is_root then
        r = world:run { "exec", "box", "--user", "1234:5678", "--group", "99", "--cap", "CAP_NET_RAW", "--cap", "kill", "--",
          "/bin/sh", "-c", "grep -E '^(Uid|Gid|Groups|CapPrm)' /proc/self/status" }
        assert.equal(0, r.code, r.err)
        assert.truthy(r.out:find("Uid:\t1234\t1234\t1234\t1234\nGid:\t5678\t5678\t5678\t5678\nGroups:\t99 \nCapPrm:\t0000000000002020\n", 1, true) or
          r.out:find("Uid:\t1234\t1234\t1234\t1234\nGid:\t5678\t5678\t5678\t5678\nGroups:\t99 \nCapPrm:\t0000000000000000\n", 1, true), r.out)
      end
    end)

    it("hands signals on", function()
      world:start("box", "sleep 30")
      local argv = cli.argv { "--root", world.root, "exec", "box", "--", "/bin/sh", "-c",
        "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.02; done" }
      local terminal = cli.at_terminal(argv)
      terminal:expect "ready"
      settle()
      terminal.process:kill "TERM"
      terminal:expect "got"
      assert.equal(5, terminal:wait().code)
      terminal:close()
    end)

    it("gives it a terminal, with the size of ours", function()
      world:start("box", "sleep 30")
      local terminal = cli.at_terminal(cli.argv { "--root", world.root, "exec", "--tty", "box", "--", "/bin/sh", "-c",
        "test -t 0 && stty size && tty; exit 9" }, { rows = 31, columns = 77 })
      terminal:expect "31 77"
      terminal:expect "/dev/pts/0"
      assert.equal(9, terminal:wait().code)
      terminal:close()
    end)

    it("detached goes on without us", function()
      local s = world:start("box", "sleep 30")
      world:ok("exec", "--detach", "--pid-file", world.dir .. "/pid", "box", "--", "/bin/sh", "-c",
        "exec >/dev/null 2>&1 </dev/null; sleep 30")
      local pid = tonumber(t.read_file(world.dir .. "/pid"))
      core.poll({}, 0.1)
      assert.truthy(letter(pid))
      assert.equal(t.namespace("mnt", s.pid), t.namespace("mnt", pid))
      local list = json.decode(world:ok("ps", "box", "--json"))
      local found = {}
      for _, p in ipairs(list) do found[p.pid] = p.command end
      assert.truthy(found[s.pid], "ps shows the first")
      assert.truthy(found[pid], "and the second")
      world:ok("delete", "--force", "box")
      assert.is_true(gone(pid))
    end)

    it("is refused in a container that has ended, or has not begun", function()
      world:start("box", "exit 0")
      world:run { "wait", "box" }
      assert.truthy(world:fails("exec", "box", "--", "/bin/true"):find("stopped", 1, true))
    end)
  end)

  describe("with groups", function()
    if not t.needs("root") then return end

    -- The container's directory in the hierarchy of a v1 controller (or v2).
    local function group(pid, controller)
      local text = t.read_file(("/proc/%d/cgroup"):format(pid))
      local path = text:match("%d+:" .. controller .. ":([^\n]+)") or "/none"
      local at = "/sys/fs/cgroup/" .. controller .. path
      if core.lstat(at) then return at end
      path = text:match("0::([^\n]+)")
      at = "/sys/fs/cgroup/unified" .. path
      return core.lstat(at) and at or "/sys/fs/cgroup" .. path
    end

    local function v2(pid)
      local path = t.read_file(("/proc/%d/cgroup"):format(pid)):match("0::([^\n]+)")
      local at = "/sys/fs/cgroup/unified" .. path
      return core.lstat(at) and at or "/sys/fs/cgroup" .. path
    end

    it("pause and resume stop and continue all of it, and exec waits for --ignore-paused", function()
      local s = world:start("box", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done")
      world:output("5\n")
      world:ok("pause", "box")
      assert.equal("paused", world:state("box").status)
      local at = group(s.pid, "freezer")
      local function frozen()
        return t.read_file(at .. "/freezer.state") == "FROZEN\n" or (t.read_file(at .. "/cgroup.events") or ""):find("frozen 1", 1, true) ~= nil
      end
      if not core.lstat(at .. "/freezer.state") or t.read_file(at .. "/freezer.state") == "THAWED\n" then at = v2(s.pid) end
      assert.is_true(frozen())
      local before = world:output()
      core.poll({}, 0.2)
      assert.equal(before, world:output())
      assert.truthy(world:fails("exec", "box", "--", "/bin/true"):find("paused", 1, true))
      assert.truthy(world:fails("pause", "box"):find("paused", 1, true))
      world:ok("resume", "box")
      assert.equal("running", world:state("box").status)
      core.poll({}, 0.2)
      assert.not_equal(before, world:output())
      assert.truthy(world:fails("resume", "box"):find("not paused", 1, true))
      world:ok("pause", "box")
      world:ok("delete", "--force", "box") -- also while it stands still
      assert.is_true(gone(s.pid))
    end)

    it("update writes the limits, and names what it does not know", function()
      local s = world:start("box", "sleep 30")
      world:ok("update", "box", "pids.max=10", "memory.max=32M")
      assert.equal("10\n", t.read_file(group(s.pid, "pids") .. "/pids.max"))
      local memory = group(s.pid, "memory")
      assert.equal("33554432\n", t.read_file(memory .. "/memory.limit_in_bytes") or t.read_file(memory .. "/memory.max"))
      local f = io.open(world.dir .. "/limits.json", "w")
      f:write('{"pids":{"max":12}}')
      f:close()
      world:ok("update", "box", "--json", world.dir .. "/limits.json")
      assert.equal("12\n", t.read_file(group(s.pid, "pids") .. "/pids.max"))
      assert.truthy(world:fails("update", "box", "pids.maxx=1"):find("unknown option 'maxx'", 1, true))
      assert.truthy(world:fails("update", "box", "pids.max=-1"):find("pids.max", 1, true))
      assert.truthy(world:fails("update", "box", "pids.max=1", "pids.max=2"):find("given twice", 1, true))
      assert.equal("12\n", t.read_file(group(s.pid, "pids") .. "/pids.max"))
      -- the limit bites
      world:ok("update", "box", "pids.max=2")
      local r = world:run { "exec", "box", "--", "/bin/sh", "-c", "/bin/true & /bin/true & /bin/true & wait" }
      assert.not_equal(0, r.code)
    end)

    it("stats and ps read the groups", function()
      local s = world:start("box", "sleep 30 & sleep 31")
      local stats = json.decode(world:ok("stats", "box"))
      assert.truthy(stats.cpu_ns > 0)
      local text = world:ok("ps", "box")
      assert.truthy(text:find("^PID +INSIDE +UID +S +COMMAND\n"), text)
      assert.truthy(text:find("\n" .. s.pid .. " +%d+ +65534 +%a +"), text)
      assert.truthy(text:find("sleep 31\n", 1, true), text)
      local lines = world:run({ "stats", "box", "--follow", "--interval", "0.05" }, { prefix = { "/usr/bin/timeout", "0.5" } })
      local n = 0
      for line in lines.out:gmatch("[^\n]+") do
        assert.truthy(json.decode(line).cpu_ns)
        n = n + 1
      end
      assert.truthy(n > 3)
    end)
  end)

  describe("events", function()
    it("tell its end, and how", function()
      world:ok("create", "box", world.box, "--", "/bin/sh", "-c", "sleep 0.5; exit 9")
      world:ok("start", "box")
      local lines = {}
      for line in world:ok("events", "box"):gmatch("[^\n]+") do lines[#lines + 1] = json.decode(line) end
      local last = lines[#lines]
      assert.same({ "exit", 9, "box" }, { last.type, last.code, last.id })
      assert.truthy(last.time:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
    end)

    it("tell that memory is out", function()
      if not t.needs("root") then return end
      world:ok("create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c",
        "sleep 0.5; x=$(tail -c 200000000 /dev/zero | tr '\\0' x); echo alive")
      world:ok("start", "box")
      assert.truthy(world:ok("events", "box"):find('"type": "oom', 1, true))
    end)
  end)

  it("don't start what waits in the runner of another build", function()
    world:ok("create", "box", world.box, "out=" .. world.out, "--", "/bin/true")
    local path = world.root .. "/box/state.json"
    local text, n = t.read_file(path):gsub('"build": "' .. core.build .. '"', '"build": "0123456789abcdef"')
    assert.equal(1, n)
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    local r = world:run { "start", "box" }
    assert.equal(125, r.code)
    assert.truthy(r.err:find("was created by another build of caisson (0123456789abcdef, this is " .. core.build, 1, true), r.err)
    assert.equal("created", world:state("box").status)
    world:ok("delete", "--force", "box")
  end)

  it("don't take a container for another one that had its name", function()
    local caisson = require "caisson"
    local recipe = assert(caisson.load(world.box))
    local opts = { id = "box", root = world.root, args = { "/bin/sleep", "30" } }
    local first = assert(caisson.create(recipe, opts))
    world:ok("delete", "--force", "box")
    local second = assert(caisson.create(recipe, opts))
    for _, method in ipairs { "start", "kill", "state", "ps", "stats" } do
      local ok, message, number = first[method](first)
      assert.same({ nil, core.errno.ESTALE }, { ok, number }, method)
      assert.truthy(message:find("container 'box' was deleted; there is another one of its name", 1, true))
    end
    assert.equal(9, first:wait(5).signal)
    assert.equal("created", second:state().status)
    assert(second:delete { force = true })
    second:wait(5)
    first:close()
    second:close()
    assert.equal(0, t.count_children())
  end)

  describe("of two at once on one id", function()
    -- Runs command lines at the same time; the statuses, sorted.
    local function together(...)
      local list, statuses, errors = { ... }, {}, {}
      local script = {}
      for i, words in ipairs(list) do
        local argv = cli.argv { "--root", world.root }
        for _, w in ipairs(words) do argv[#argv + 1] = w end
        for k, w in ipairs(argv) do argv[k] = "'" .. w .. "'" end
        script[i] = ("(%s </dev/null >%s/o%d 2>%s/e%d; echo $? >%s/s%d) &"):format(table.concat(argv, " "), world.dir, i,
          world.dir, i, world.dir, i)
      end
      local path = world.dir .. "/script"
      local f = io.open(path, "w")
      for _, v in ipairs(cli.environment) do f:write("export '", v, "'\n") end
      f:write(table.concat(script, "\n"), "\nwait\n")
      f:close()
      t.sh("sh " .. path)
      for i in ipairs(list) do
        statuses[i] = tonumber(t.read_file(world.dir .. "/s" .. i))
        errors[i] = t.read_file(world.dir .. "/e" .. i)
      end
      table.sort(statuses)
      return statuses, table.concat(errors)
    end

    it("one creates it", function()
      local create = { "create", "box", world.box, "--", "/bin/sleep", "30" }
      for _ = 1, 3 do
        local statuses, errors = together(create, create, create, create)
        assert.same({ 0, 125, 125, 125 }, statuses, errors)
        assert.equal("created", world:state("box").status)
        local _, n = errors:gsub("container 'box' exists already", "")
        assert.equal(3, n, errors)
        world:ok("delete", "--force", "box")
      end
    end)

    it("one starts it", function()
      world:ok("create", "box", world.box, "out=" .. world.out, "--", "/bin/sh", "-c", "echo once; sleep 30")
      local start = { "start", "box" }
      local statuses, errors = together(start, start, start)
      assert.same({ 0, 125, 125 }, statuses, errors)
      assert.equal("once\n", world:output("once"))
    end)

    it("all delete it by force, and it is gone", function()
      world:start("box", "sleep 30")
      local delete = { "delete", "--force", "box" }
      local statuses, errors = together(delete, delete, delete)
      assert.equal(0, statuses[1], errors)
      assert.same({}, core.list(world.root))
    end)

    it("start and delete leave it whole or gone", function()
      for _ = 1, 3 do
        world:ok("create", "box", world.box, "--", "/bin/sleep", "30")
        together({ "start", "box" }, { "delete", "--force", "box" })
        assert.same({}, core.list(world.root))
      end
    end)
  end)
end)
