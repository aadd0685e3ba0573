-- exec, flag by flag, as the kernel has the process.
local t = require "support"
local cli = require "support.cli"
local oci = require "support.oci"
local json = require "caisson.json"
local receiver = require "support.receiver"

describe("caisson-oci exec", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end
  local world

  setup(function()
    world = oci.world()
    world:configure("exec sleep 300", function(c)
      c.process.env = { "PATH=/bin", "HOME=/", "FROM=config" }
      c.process.cwd = "/tmp"
    end)
    world:create()
    world:ok("start", "box")
  end)
  teardown(function() assert.same(oci.nothing, world:close()) end)

  local function exec(...)
    local words = { "exec", ... }
    local r = world:run(words)
    assert.same({ 0, "" }, { r.code, r.err })
    return r.out
  end

  local function refused(...)
    local r = world:run { "exec", ... }
    assert.equal(255, r.code)
    return r.err:match('level=error msg="exec failed: (.*)"\n$') or error("no message: " .. r.err)
  end

  local function field(name, ...)
    local words = { ... }
    for _, w in ipairs { "box", "cat", "/proc/self/status" } do words[#words + 1] = w end
    return exec((table.unpack or unpack)(words)):match("\n" .. name .. ":%s*([^\n]*)") -- luacheck: ignore
  end

  it("runs in the container's namespaces, as its program was: directory, environment, user", function()
    local pid = world:state().pid
    assert.equal(t.namespace("pid", pid) .. "\n", exec("box", "readlink", "/proc/self/ns/pid"))
    assert.equal("/tmp\nconfig\nuid=0(root) gid=0\n", exec("box", "sh", "-c", "pwd; echo $FROM; id"))
    assert.equal("1", field("NoNewPrivs"))
    assert.equal("0000000020000420", field("CapBnd"))
  end)

  it("has the program's exit status, or 128 and its signal", function()
    assert.equal(7, world:run({ "exec", "box", "sh", "-c", "exit 7" }).code)
    assert.equal(137, world:run({ "exec", "box", "sh", "-c", "kill -KILL $$" }).code)
  end)

  it("fails with 255 and says why", function()
    assert.equal("process args cannot be empty", refused("box"))
    assert.equal('unable to start container process: exec: \\"/nonexistent/x\\": stat /nonexistent/x: no such file or directory',
      refused("box", "/nonexistent/x"))
    assert.equal('unable to start container process: exec: \\"nonesuch\\": executable file not found in $PATH',
      refused("box", "nonesuch"))
    assert.matches("permission denied", refused("box", "/etc/passwd"))
    assert.matches('chdir to cwd %(\\"/nonexistent\\"%)', refused("--cwd", "/nonexistent", "box", "true"))
    assert.matches("invalid environment variable", refused("--env", "NAME", "box", "true"))
    for _, user in ipairs { "root", "1:x", "-1", "4294967296", ":1" } do
      assert.matches("parsing .* as int", refused("-u=" .. user, "box", "true"))
    end
  end)

  it("has streams that lead nowhere where the caller has none itself", function()
    assert.equal("0\n", t.sh(("%s --root %s exec box sh -c 'readlink /proc/self/fd/0 > /tmp/stream; ls /proc/self/fd >> /tmp/stream'"
      .. " <&- >&- 2>&-; echo $?"):format(oci.runtime, world.root)))
    assert.equal("/dev/null\n0\n1\n2\n3\n", t.read_file(world.rootfs .. "/tmp/stream"))
  end)

  it("takes directory, variables, user and groups from flags", function()
    assert.equal("/proc\n", exec("--cwd", "/proc", "box", "pwd"))
    assert.equal("b c config\n", exec("-e", "A=b", "--env", "B=c", "box", "sh", "-c", "echo $A $B $FROM"))
    assert.equal("other\n", exec("--env=FROM=other", "box", "sh", "-c", "echo $FROM"))
    if t.is_root then
      assert.equal("uid=5 gid=6 groups=8,9\n", exec("-u", "5:6", "-g", "8", "--additional-gids", "9", "box", "id"))
      assert.equal("uid=5 gid=0\n", exec("--user", "5", "box", "id"))
    else
      assert.equal("uid=0(root) gid=0\n", exec("--user", "0:0", "box", "id"))
    end
  end)

  it("adds capabilities, and warns of what there isn't", function()
    assert.equal("0000000020200420", field("CapEff", "--cap", "CAP_SYS_ADMIN"))
    assert.equal("0000000020200420", field("CapPrm", "-c", "sys_admin"))
    local r = world:run { "exec", "--cap", "CAP_NONSENSE", "box", "true" }
    assert.equal(0, r.code)
    assert.matches("level=warning msg=.*CAP_NONSENSE", r.err)
  end)

  it("--no-new-privs can be said, and its absence too", function()
    assert.equal("1", field("NoNewPrivs", "--no-new-privs"))
    if t.is_root then assert.equal("0", field("NoNewPrivs", "--no-new-privs=false")) end
  end)

  it("--process has all of it from a file", function()
    local path = world.dir .. "/process.json"
    local function with(change)
      local p = { args = { "sh", "-c", "pwd; echo $A$FROM; cat /proc/self/status" }, cwd = "/etc", env = { "PATH=/bin", "A=b" },
        user = { uid = 0, gid = 0 } }
      change(p)
      oci.write(path, json.document(p))
      return world:run { "exec", "-p", path, "box" }
    end
    local out = with(function() end).out
    assert.matches("^/etc\nb\n", out)
    assert.matches("\nNoNewPrivs:\t0\n", out)
    out = with(function(p)
      p.noNewPrivileges = true
      p.capabilities = { bounding = { "CAP_CHOWN" }, permitted = { "CAP_CHOWN" }, effective = { "CAP_CHOWN" } }
      p.rlimits = { { type = "RLIMIT_NOFILE", soft = 33, hard = 44 } }
      p.args[3] = p.args[3] .. "; cat /proc/self/limits"
    end).out
    assert.matches("\nNoNewPrivs:\t1\n", out)
    assert.matches("\nCapEff:\t0000000000000001\n", out)
    assert.matches("\nMax open files%s+33%s+44 ", out)
    local r = with(function(p) p.cwd = 5 end)
    assert.equal(255, r.code)
    assert.matches("process%.cwd", r.err)
    assert.matches("nonexistent", refused("--process", "/nonexistent", "box"))
    oci.write(path, "{")
    assert.matches("process%.json", refused("--process", path, "box"))
  end)

  it("-d comes back at once, with --pid-file's file whole", function()
    local r = world:run { "exec", "-d", "--pid-file", world.dir .. "/pid", "box", "sh", "-c", "exec sleep 30" }
    assert.equal(0, r.code, r.err)
    local pid = tonumber(t.read_file(world.dir .. "/pid"))
    assert.equal(t.namespace("pid", world:state().pid), t.namespace("pid", pid))
    assert.matches("^sleep", t.read_file(("/proc/%d/cmdline"):format(pid)))
    os.execute(("kill -KILL %d"):format(pid))
  end)

  it("-t has a terminal of the container's between it and the caller's", function()
    local terminal = cli.at_terminal({ oci.runtime, "--root", world.root, "exec", "-t", "box", "sh", "-c",
      "tty; stty size; read line; echo got $line; exit 4" }, { rows = 33, columns = 77 })
    terminal:expect("/dev/pts/0\r\n33 77\r\n")
    terminal:send("typed\n")
    terminal:expect("got typed\r\n")
    assert.equal(4, terminal:wait().code)
    assert.is_true(terminal:is_sane())
    terminal:close()
  end)

  it("hands terminal and pidfd to who listens", function()
    if not t.needs("perl") then return end
    if not t.sh("uname -m"):find("x86_64") then return pending("the receiver knows x86-64 only") end
    assert.matches("cannot allocate tty if", refused("-t", "-d", "box", "true"))
    assert.matches("cannot use console socket if", refused("--console-socket", "/nonexistent", "box", "true"))
    local out = receiver.listen(world.dir .. "/console", 'syswrite(M, "typed\\n"); while (sysread(M, my $b, 100)) { print $b }')
    assert.equal(0, world:run({ "exec", "-t", "-d", "--console-socket", world.dir .. "/console", "box", "sh", "-c",
      "read x; echo got $x" }).code)
    assert.equal("/dev/ptmx", out:read("*l"))
    assert.truthy(out:read("*a"):find("got typed\r\n", 1, true))
    out:close()
    out = receiver.listen(world.dir .. "/pidfd", 'open(I, "<", "/proc/self/fdinfo/$fd"); print grep(/^NSpid/, <I>);')
    local pid = exec("--pidfd-socket", world.dir .. "/pidfd", "box", "sh", "-c", "echo $$")
    assert.matches("\n?NSpid:", out:read("*a"))
    assert.matches("^%d+\n$", pid)
    out:close()
  end)

  it("--preserve-fds hands that many descriptors over, and none else", function()
    oci.write(world.dir .. "/three", "three\n")
    local function run(n)
      return t.sh(("%s --root %s exec --preserve-fds %d box sh -c 'cat <&3' 3<%s/three 4</dev/null </dev/null 2>&1"):format(
        oci.runtime, world.root, n, world.dir))
    end
    assert.equal("three\n", run(1))
    assert.equal("three\n", run(2))
    assert.matches("[Bb]ad f", run(0))
    assert.matches("preserved%-fd", run(9))
  end)

  it("hands over nothing of its own where the caller has less than it says", function()
    local function run(environment, flags)
      return t.sh(("cd / && %s %s --root %s --log %s/log exec %s box ls -l /proc/self/fd 3<&- 4<&- 5<&- 6<&- </dev/null 2>/dev/null; cat %s/log"):format(environment,
        oci.runtime, world.root, world.dir, flags, world.dir))
    end
    for n = 1, 4 do assert.matches("^[^\n]*preserved%-fd 1 ", run("", "--preserve-fds " .. n)) end
    local listed = run("LISTEN_FDS=1; export LISTEN_FDS; sh -c 'LISTEN_PID=$$; export LISTEN_PID; exec \"$@\"' sh", "")
    assert.not_matches("pidfd", listed)
    assert.not_matches("socket", listed)
    assert.matches("preserved%-fd 1 ", listed)
  end)

  it("--cgroup puts it into a group below the container's", function()
    if not t.is_root then return pending("an ordinary user has no groups to choose from") end
    local out = exec("--cgroup", "sub", "box", "cat", "/proc/self/cgroup")
    assert.matches("/sub\n", out)
    if t.sh("cat /proc/cgroups"):find("\npids%s+[1-9]") then -- a hierarchy of v1's
      out = exec("--cgroup", "pids,memory:deep/er", "box", "cat", "/proc/self/cgroup")
      assert.matches(":pids:[^\n]*/deep/er\n", out)
      assert.matches(":memory:[^\n]*/deep/er\n", out)
      assert.is_nil(out:find(":freezer:[^\n]*/deep/er\n"))
    end
    assert.matches("nonsense", refused("--cgroup", "nonsense:x", "box", "true"))
  end)

  it("waits for a paused container only where it is told to", function()
    if not t.is_root then return pending("an ordinary user's container is not frozen here") end
    world:ok("pause", "box")
    assert.equal("paused", world:state().status)
    assert.equal("cannot exec in a paused container (use --ignore-paused to override)", refused("box", "true"))
    local p = world:begin("late", { "exec", "--ignore-paused", "box", "sh", "-c", "echo late" })
    t.core.poll({}, 0.2)
    assert.equal("", t.read_file(world.dir .. "/late.out"))
    world:ok("resume", "box")
    assert.equal(0, (p:wait(10) or {}).code)
    p:close()
    assert.equal("late\n", t.read_file(world.dir .. "/late.out"))
  end)

  it("is refused in one that has ended", function()
    world:configure("true", function(c) c.linux.cgroupsPath = t.is_root and "/" .. world.prefix .. "other" or nil end)
    world:create("other")
    world:ok("start", "other")
    world:until_status("stopped", "other")
    assert.equal("cannot exec in a stopped container", refused("other", "true"))
    world:ok("delete", "other")
  end)
end)
