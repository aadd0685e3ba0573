-- run and create, flag by flag: what stays in the foreground, what is handed to the caller, what is left behind.
local t = require "support"
local cli = require "support.cli"
local oci = require "support.oci"
local receiver = require "support.receiver"
local core = t.core

describe("caisson-oci", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end
  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  -- The host's pid namespace, and so no procfs of its own.
  local function no_pid_namespace(c)
    for i, n in ipairs(c.linux.namespaces) do
      if n.type == "pid" then table.remove(c.linux.namespaces, i) end
    end
    table.remove(c.mounts, 1)
    c.linux.maskedPaths, c.linux.readonlyPaths = nil, nil
  end

  local function is_x86() return t.sh("uname -m"):find("x86_64") ~= nil end

  describe("run", function()
    it("is the program: its streams, its exit status, and nothing afterwards", function()
      world:configure("read line; echo got $line; echo wrong >&2; exit 7")
      oci.write(world.dir .. "/in", "a line\n")
      local r = world:run({ "run", "box" }, { stdin = world.dir .. "/in" })
      assert.same({ 7, "got a line\n", "wrong\n" }, { r.code, r.out, r.err })
      assert.same({}, core.list(world.root))
      assert.equal("", world:groups())
    end)

    it("gives the program streams that lead nowhere where it has none itself", function()
      world:configure("for i in 0 1 2; do readlink /proc/self/fd/$i; done > /tmp/streams; ls /proc/self/fd >> /tmp/streams")
      assert.equal("0\n", t.sh(("cd %s; %s --root %s run box <&- >&- 2>&-; echo $?"):format(world.bundle, oci.runtime, world.root)))
      assert.equal("/dev/null\n/tmp/streams\n/dev/null\n0\n1\n2\n3\n", t.read_file(world.rootfs .. "/tmp/streams"))
      assert.same({}, core.list(world.root))
    end)

    it("--debug logs each step", function()
      world:configure("true")
      local r = world:run({ "run", "box" }, { globals = { "--debug", "--log", world.dir .. "/log", "--log-format", "json" } })
      assert.equal(0, r.code, r.err)
      local steps = {}
      for line in t.read_file(world.dir .. "/log"):gmatch("[^\n]+") do
        local e = assert(require("caisson.json").decode(line))
        if e.level == "debug" then steps[#steps + 1] = e.step end
      end
      assert.equal("exec", steps[#steps])
      assert.truthy(table.concat(steps, " "):find("clone .*mount.* pivot_root .*capabilities"))
      world:run { "run", "--bundle", world.bundle, "box" }
    end)

    it("ends with 128 and the signal that has ended the program", function()
      world:configure("kill -KILL $$; sleep 1", no_pid_namespace)
      assert.equal(137, world:run({ "run", "box" }).code)
    end)

    it("hands signals on to the program", function()
      world:configure("trap 'echo usr1; exit 9' USR1; trap 'echo hup' HUP; trap 'echo term' TERM; echo up; while :; do sleep 0.05; done")
      local p = world:begin("box", { "run", "box" })
      world:output("up\n")
      core.signal.send(p:pid(), "HUP")
      world:output("hup\n")
      core.signal.send(p:pid(), "TERM")
      world:output("term\n")
      core.signal.send(p:pid(), "USR1")
      local status = p:wait(10)
      p:close()
      assert.same({ 9 }, { status and status.code })
      assert.matches("usr1\n", world:output("usr1\n"))
    end)

    it("fails with 1 and says why, and leaves nothing", function()
      world:configure({ "/nonexistent/program" })
      local err = world:fails("run", "box")
      assert.matches('run failed: unable to start container process: exec: \\"/nonexistent/program\\": stat '
        .. '/nonexistent/program: no such file or directory"\n$', err)
      world:configure({ "nonesuch" })
      assert.matches('exec: \\"nonesuch\\": executable file not found in %$PATH"\n$', world:fails("run", "box"))
      world:configure({ "/etc/passwd" })
      assert.matches("permission denied", world:fails("run", "box"))
      assert.matches("config%.json", world:fails("run", "--bundle", world.dir, "box"))
      assert.matches("chdir /nonexistent", world:fails("run", "-b", "/nonexistent", "box"))
      assert.same({}, core.list(world.root))
      assert.equal("", world:groups())
    end)

    it("-d comes back once the program runs", function()
      world:configure("echo up; exec sleep 30")
      local r = world:run { "run", "-d", "--pid-file", world.dir .. "/pid", "box" }
      assert.equal(0, r.code, r.err)
      local s = world:state()
      assert.same({ "running", ("%d"):format(s.pid) }, { s.status, t.read_file(world.dir .. "/pid") })
      assert.matches("file exists", r.err .. world:fails("run", "-d", "box") .. "file exists")
      world:ok("delete", "-f", "box")
    end)

    it("--keep leaves the container, stopped", function()
      world:configure("exit 3")
      assert.equal(3, world:run({ "run", "--keep", "box" }).code)
      assert.equal("stopped", world:state().status)
      world:ok("delete", "box")
    end)

    it("has a terminal of the program's own between it and the caller's", function()
      world:configure("tty; stty size; read line; echo got $line; exit 4", function(c)
        c.process.terminal = true
      end)
      local terminal = cli.at_terminal({ oci.runtime, "--root", world.root, "run", "-b", world.bundle, "box" },
        { rows = 33, columns = 77 })
      terminal:expect("/dev/pts/0\r\n")
      terminal:expect("33 77\r\n")
      terminal:send("typed\n")
      terminal:expect("got typed\r\n")
      local status = terminal:wait()
      assert.equal(4, status.code)
      assert.is_true(terminal:is_sane())
      terminal:close()
    end)

    it("follows the window's size", function()
      world:configure("trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done", function(c) c.process.terminal = true end)
      local terminal = cli.at_terminal({ oci.runtime, "--root", world.root, "run", "-b", world.bundle, "box" })
      terminal:expect("up\r\n")
      core.terminal.resize(terminal.master, 11, 99)
      terminal:expect("11 99\r\n")
      world:ok("kill", "box", "KILL")
      assert.equal(137, terminal:wait().code)
      terminal:close()
    end)

    it("reaps what the program leaves behind, unless --no-subreaper says not to", function()
      t.sh("mkfifo " .. world.rootfs .. "/tmp/go")
      -- who sleeps is a child of a shell that has ended: an orphan
      world:configure("(sleep 0.3 &) ; echo up; read x < /tmp/go", no_pid_namespace)
      local p = world:begin("box", { "run", "box" })
      world:output("up\n")
      local function children() return t.sh(("ps -o stat=,comm= --ppid %d"):format(p:pid())) end
      oci.await(function() return children():find("sleep") ~= nil end, "an orphan of the command's")
      oci.await(function() return children():find("sleep") == nil end, "its end")
      t.sh("echo > " .. world.rootfs .. "/tmp/go")
      assert.equal(0, (p:wait(10) or {}).code)
      p:close()
      p = world:begin("box", { "run", "--no-subreaper", "box" })
      world:output("up\n")
      core.poll({}, 0.15)
      assert.is_nil(children():find("sleep"))
      core.poll({}, 0.3) -- an ordinary user has no group to end it by
      t.sh("echo > " .. world.rootfs .. "/tmp/go")
      assert.equal(0, (p:wait(10) or {}).code)
      p:close()
    end)
  end)

  describe("create", function()
    it("leaves with what waits for the start none of the groups' descriptors, nor any other that is not needed", function()
      world:configure("true")
      world:create("box")
      local links = t.sh(("readlink /proc/%d/fd/*"):format(world:state().pid))
      assert.truthy(#links > 0)
      for link in links:gmatch("[^\n]+") do
        assert.is_nil(link:match("cgroup") or link:match("memfd"), links)
      end
    end)

    it("--pid-file has the first process before the start, whole or not at all", function()
      world:configure("exec sleep 30")
      world:create("box", "--pid-file", world.dir .. "/pid")
      assert.equal(("%d"):format(world:state().pid), t.read_file(world.dir .. "/pid"))
      world:ok("delete", "box")
      local err = world:fails("create", "--pid-file", "/nonexistent/pid", "box")
      assert.matches("/nonexistent/pid", err)
      assert.same({}, core.list(world.root))
    end)

    it("--console-socket gets the terminal's other side", function()
      if not t.needs("perl") then return end
      if not is_x86() then return pending("the receiver knows x86-64 only") end
      world:configure("tty; read x; echo got $x", function(c) c.process.terminal = true end)
      assert.matches("cannot allocate tty if .* will detach without setting console socket", world:fails("create", "box"))
      assert.matches("cannot allocate tty if .* will detach without setting console socket", world:fails("run", "-d", "box"))
      assert.matches("console%-socket", world:fails("create", "--console-socket", world.dir .. "/none", "box"))
      local out = receiver.listen(world.dir .. "/sock", 'syswrite(M, "typed\\n"); while (sysread(M, my $b, 100)) { print $b }')
      world:create("box", "--console-socket", world.dir .. "/sock")
      assert.equal("/dev/ptmx", out:read("*l"))
      world:ok("start", "box")
      local text = out:read("*a")
      out:close()
      assert.truthy(text:find("/dev/pts/0\r\n", 1, true), text)
      assert.truthy(text:find("got typed\r\n", 1, true), text)
      world:until_status("stopped")
      world:configure("true")
      assert.matches("cannot use console socket if", world:fails("create", "--console-socket", world.dir .. "/sock", "other"))
      world:ok("delete", "box")
    end)

    it("--pidfd-socket gets a descriptor of the first process", function()
      if not t.needs("perl") then return end
      if not is_x86() then return pending("the receiver knows x86-64 only") end
      world:configure("sleep 30")
      local out = receiver.listen(world.dir .. "/sock", 'open(I, "<", "/proc/self/fdinfo/$fd"); print grep(/^Pid/, <I>);')
      world:create("box", "--pidfd-socket", world.dir .. "/sock")
      out:read("*l")
      assert.equal(("Pid:\t%d\n"):format(world:state().pid), out:read("*a"))
      out:close()
      world:ok("delete", "box")
    end)

    it("--preserve-fds hands that many descriptors over, and none else", function()
      world:configure("ls /proc/self/fd; cat <&3; cat <&4")
      oci.write(world.dir .. "/three", "three\n")
      oci.write(world.dir .. "/four", "four\n")
      local function run(n)
        return t.sh(("cd %s && %s --root %s run --preserve-fds %d box 3<../three 4<../four 5</dev/null </dev/null 2>&1"):format(
          world.bundle, oci.runtime, world.root, n))
      end
      assert.equal("0\n1\n2\n3\n4\n5\nthree\nfour\n", run(2)) -- one is the directory that ls reads
      assert.matches("^0\n1\n2\n3\n[^\n]*3[^\n]*\n", run(0))
      world:configure("true")
      assert.matches("preserved%-fd", run(9))
      assert.same({}, core.list(world.root))
    end)

    it("hands over nothing of its own where the caller has less than it says", function()
      world:configure("ls -l /proc/self/fd")
      for n = 1, 4 do
        assert.matches("^[^\n]*preserved%-fd 1 ",
          t.sh(("cd %s && %s --root %s --log %s/log run --preserve-fds %d box 3<&- 4<&- 5<&- 6<&- </dev/null 2>/dev/null; cat %s/log"):format(world.bundle,
            oci.runtime, world.root, world.dir, n, world.dir)))
        assert.same({}, core.list(world.root))
      end
    end)

    it("hands descriptors of socket activation over", function()
      world:configure("env | grep LISTEN; cat <&3")
      oci.write(world.dir .. "/three", "three\n")
      local said = t.sh(("cd %s && LISTEN_FDS=1 sh -c 'LISTEN_PID=$$ exec \"$@\"' sh %s --root %s run box 3<../three </dev/null 2>&1"):format(
        world.bundle, oci.runtime, world.root))
      assert.matches("LISTEN_FDS=1\n", said)
      assert.matches("LISTEN_PID=1\n", said)
      assert.matches("three\n$", said)
    end)

    it("--no-pivot moves the root into place", function()
      world:configure("ls /; head -n 1 /proc/self/mountinfo")
      local r = world:run { "run", "--no-pivot", "box" }
      assert.equal(0, r.code, r.err)
      assert.matches("^bin\n", r.out)
    end)

    it("--no-new-keyring keeps the caller's session keyring", function()
      local function keyrings(id, ...)
        world:configure("grep -c _ses." .. id .. " /proc/keys")
        return world:run({ "run", ..., id }).out
      end
      local id = world.prefix .. "keys"
      assert.equal("0\n", keyrings(id .. "1", "--no-new-keyring"))
      assert.equal("1\n", keyrings(id .. "2", "--no-pivot"))
    end)
  end)
end)
