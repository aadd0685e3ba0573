-- Joining a running container: namespaces, groups, sockets, and the order of the steps, each its own place in an error.
local t = require "support"
local j = require "support.joined"
local g = require "support.cgroup"
local process = require "caisson.process"
local core = t.core

local all = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" }

for _, user in ipairs(t.is_root and { false, true } or { true }) do
  describe("joining" .. (user and ", with a user namespace" or ""), function()
    if not t.needs("userns") then return end
    local running, target

    setup(function() running, target = j.container({}, user) end)
    teardown(function() if running then running:close() end end)

    it("leaves no zombie where its process and that one's creator are killed before the host has heard of it", function()
      -- the process's first call is for its own pidfd, by a small number in there; it waits in it for an answer
      -- that nobody gives
      local blocks = assert(core.seccomp.compile { default = "allow",
        rules = { { "pidfd_open", action = "notify", args = { { 0, "<", 300 } } } } })
      if t.getpid() < 300 then return pending "needs the host's own processes to have large numbers" end
      local program = os.tmpname()
      local f = assert(io.open(program, "w"))
      f:write(([[package.path, package.cpath = %q, %q
        local core, process = require "caisson.core", require "caisson.process"
        local target = { pid = %d, pidfd = assert(core.pidfd.open(%d)), options = {} }
        local ok, message = process.start(target, { args = { "/bin/true" }, env = {}, stdin = "null", stdout = "null", stderr = "null" })
        local f = io.open("/proc/thread-self/children")
        io.write(tostring(ok), " ", message:match("killed by signal 9") or message, " children:", f:read("*a"))]]):format(
        package.path, package.cpath, target.pid, target.pid))
      f:close()
      local null, r, w = core.open("/dev/null"), core.pipe()
      local host = assert(core.spawn { slots = { stdin = null, stdout = w }, plan = core.plan {
        t.step("clone", {}), t.step("no_new_privs"), t.step("seccomp", { program = blocks, listener = "l" }),
        t.step("umask", "022"), t.step("exec", { argv = { core.realpath("/proc/self/exe"), program },
          files = { "stdin", "stdout", "stdout", "l" } }) } })
      w:close()
      local function children()
        local list = {}
        local path = ("/proc/%d/task/%d/children"):format(host:pid(), host:pid())
        for pid in (t.read_file(path) or ""):gmatch("%d+") do list[#list + 1] = tonumber(pid) end
        return list
      end
      -- runner, creator, child
      assert.is_true(g.eventually(function() return #children() == 3 end))
      local list = children()
      for i = 2, 3 do core.signal.send(list[i], "KILL") end
      assert.equal("nil killed by signal 9 children:", t.slurp(r))
      assert.equal(0, host:wait(10).code)
      host:close()
      os.remove(program)
    end)

    it("puts the process into the container's namespaces, all of them, and none of the host's", function()
      local text = j.output(target, "for n in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done; hostname; ls /proc")
      local i = 0
      for link in text:gmatch("%a+:%[%d+%]") do
        i = i + 1
        assert.equal(t.namespace(all[i], target.pid), link)
        if all[i] ~= "user" or user then assert.are_not.equal(t.namespace(all[i]), link) end
      end
      assert.equal(8, i)
      assert.truthy(text:find("\nbox\n", 1, true))
      -- its parent is not in there, and the container's first process is
      assert.equal("0\n", j.output(target, "awk '/^PPid/ { print $2 }' /proc/$$/status"))
      assert.equal("sleep\n", j.output(target, "cat /proc/1/comm"))
    end)

    it("leaves those that the container shares with its caller", function()
      local r, shares = j.container({ namespaces = { mount = true, pid = true, user = user or nil } }, user)
      local text = j.output(shares, "for n in net ipc uts mnt pid; do readlink /proc/self/ns/$n; done")
      local i = 0
      for link in text:gmatch("%a+:%[%d+%]") do
        i = i + 1
        local n = ({ "net", "ipc", "uts", "mnt", "pid" })[i]
        assert.equal(t.namespace(n, shares.pid), link)
        assert.equal(i <= 3, t.namespace(n) == link)
      end
      r:close()
    end)

    it("starts at the container's root", function()
      local r, inside = j.container({ root = { size = 1048576 }, mounts = { { bind = "/bin" }, { bind = "/lib" }, { bind = "/lib64", optional = true },
        { bind = "/usr" }, { proc = "/proc" }, { dir = "/only-here" } } }, user)
      assert.equal("bin lib lib64 only-here proc usr\n", (j.output(inside, "cd ../../..; echo *"):gsub("lib ", "lib ", 1)))
      assert.equal("/\n", j.output(inside, "readlink /proc/self/root; true", {}))
      r:close()
    end)

    it("joins a container that has an init, which nobody can look into", function()
      local r, inside = j.container({ init = true }, user)
      assert.equal("caisson-init\n", j.output(inside, "cat /proc/1/comm"))
      assert.equal(t.namespace("mnt", inside.pid) .. "\n", j.output(inside, "readlink /proc/self/ns/mnt"))
      r:close()
    end)

    it("keeps nothing of the caller: no descriptor, no mount, no environment, no signal state", function()
      local host = assert(core.open("/", { "path", "directory" }))
      local text = j.output(target, "env; ls -l /proc/self/fd; grep -E '^Sig(Ign|Blk)' /proc/self/status")
      assert.falsy(text:find("LUA", 1, true))
      assert.truthy(text:find("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n", 1, true), text)
      local n = 0
      for _ in text:gmatch(" %-> ") do n = n + 1 end
      assert.equal(4, n)
      host:close()
    end)

    it("names each place where it fails, in libcontainer's order", function()
      local policy = require "caisson.policy"
      local listener = os.tmpname()
      os.remove(listener)
      local dir = assert(core.open(listener:match("^(.*)/"), { "path", "directory" }))
      local server -- none of the connections to it is accepted: a new one each time
      local function listen()
        if server then server:close() end
        os.remove(listener)
        server = assert(core.socket.listen(dir, listener:match("[^/]*$"), "stream"))
      end
      listen()
      local function spec(no_new_privs)
        return { args = { "/bin/true" }, keyring = true, tty = true, pidfd_socket = listener, no_new_privs = no_new_privs,
          umask = "022", scheduler = "batch", nice = 1, ioprio = "idle", affinity = { initial = "0", final = "0" },
          oom_score_adj = 500, capabilities = {}, user = t.is_root and { uid = 3, gid = 3, groups = { 3 } } or 0, cwd = "/tmp",
          personality = "linux", rlimits = { core = 0 },
          seccomp = policy.new { default = "allow" } - { "reboot" } }
      end
      local function names(plan)
        local list = {}
        for i, s in plan:each() do list[i] = s.step end
        return list
      end
      -- libcontainer's place, and the steps that are it here; those behind clone are done by the process itself,
      -- or by its parent for it, since its creator can't
      local order = { { "namespaces", "namespace.join" }, { "session keyring", "keyring" }, { "console", "pty" },
        { "console", "send" }, { "no_new_privs", "no_new_privs" }, { "umask", "umask" }, { "scheduler", "nice" },
        { "I/O priority", "ioprio" }, { "credentials", "capabilities" }, { "credentials", "groups", #all },
        { "credentials", "gid" }, { "credentials", "uid" }, { "working directory", "chdir" }, { "personality", "personality" },
        { "close", "close" }, { "birth", "clone" }, { "pidfd, ready-sync", "pass.pidfd" }, { "session", "session" },
        { "controlling terminal", "tty" }, { "limits", "rlimit" }, { "seccomp late", "seccomp" }, { "exec", "exec" } }
      local p = assert(process.start(target, spec(true)))
      local steps = names(p.built.plan)
      p:wait()
      local at = 0
      for _, o in ipairs(order) do
        local found
        for i = at + 1, #steps do
          if steps[i] == o[2] then
            found = i
            break
          end
        end
        if not (o[2] == "groups" and not t.is_root) then
          assert.truthy(found, ("%s (%s) behind step %d of %s"):format(o[1], o[2], at, table.concat(steps, " ")))
          at = found
        end
      end
      -- without no_new_privs the right to load a filter is kept for it, and given up behind it: what makes the
      -- program is not for the filter to allow
      if t.is_root then
        p = assert(process.start(target, spec(false)))
        local early = {}
        for i, s in ipairs(names(p.built.plan)) do early[s] = i end -- the last: ids are taken at first to enter, too
        p:wait()
        assert.is_nil(early.no_new_privs)
        assert.truthy(early.uid < early.seccomp and early.seccomp < early.capabilities)
      end
      -- each of them provoked; nothing is left
      local children, fds = t.count_children(), t.count_fds()
      for i, name in ipairs(steps) do
        listen()
        local ok, message, errno, failure = process.start(target, spec(true), { fail = { step = i, errno = 5 } })
        assert.is_nil(ok, name)
        assert.same({ 5, 5, name, i }, { errno, failure.errno, failure.step, failure.number })
        assert.truthy(message:find(("step %d, %s["):format(i, name), 1, true), message)
      end
      assert.same({ children, fds }, { t.count_children(), t.count_fds() })
      server:close()
      dir:close()
      os.remove(listener)
    end)

    it("tells a program that is not found from one that can't be executed", function()
      local _, message, errno, failure = j.run(target, { args = { "nothing-of-that-name" } })
      assert.same({ 2, "exec" }, { errno, failure.step })
      assert.truthy(message:find("not in PATH: nothing-of-that-name", 1, true))
      assert.is_nil(failure.hint)
      _, message, errno = j.run(target, { args = { "/etc/passwd" } })
      assert.equal(13, errno)
      assert.truthy(message:find("/etc/passwd: /etc/passwd", 1, true), message)
    end)

    it("sends the terminal and a pidfd over the sockets that it is given", function()
      if not t.needs("perl") then return end
      local path = os.tmpname()
      os.remove(path)
      -- two connections: a name and a descriptor each, which must be a terminal's master and a pidfd
      local receiver = ([[perl -MSocket -e '
        socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("%s")); listen(S, 5); $| = 1; print "ready\n";
        for (1..2) { accept(C, S);
          my ($data, $control) = ("\0" x 64, "\0" x 24);
          my $iov = pack("PQ", $data, 64); my $msg = pack("QQPQPQQ", 0, 0, $iov, 1, $control, 24, 0);
          my $n = syscall(47, fileno(C), $msg, 0); my $fd = unpack("x16 l", $control);
          print substr($data, 0, $n), " ", readlink("/proc/self/fd/$fd"), "\n"; }
        select(undef, undef, undef, 0.5)' 2>&1]]):format(path)
      if not t.sh("uname -m"):find("x86_64") then return pending("the receiver knows x86-64 only") end
      local out = assert(io.popen(receiver))
      assert.equal("ready", out:read("*l"))
      local p = assert(process.start(target, { args = { "sh", "-c", "tty > /tmp/tty-name" }, tty = true, console_socket = path,
        pidfd_socket = path }))
      assert.is_nil(p.pty)
      assert.equal(0, p:wait().code)
      local text = out:read("*a")
      out:close()
      os.remove(path)
      assert.matches("^/dev/ptmx /%S*ptmx\npidfd anon_inode:%[pidfd%]\n$", text)
      assert.matches("^/dev/pts/%d", j.output(target, "cat /tmp/tty-name"))
      for _, key in ipairs { "console_socket", "pidfd_socket" } do
        local ok, message, errno = j.run(target, { args = { "true" }, tty = true, [key] = "/nonexistent/socket" })
        assert.is_nil(ok)
        assert.truthy(message:find(key, 1, true))
        assert.equal(2, errno)
      end
      local _, message = j.run(target, { args = { "true" }, console_socket = "/x" })
      assert.equal("console_socket: the process has no terminal (tty = true)", message)
    end)

    it("leaves nothing in the container when its caller is killed, whenever that is", function()
      local r, reaped = j.container({ init = true }, user)
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath), ([[
        local core, process = require "caisson.core", require "caisson.process"
        local target = { pid = %d, pidfd = assert(core.pidfd.open(%d)), options = {} }
        while true do
          assert(process.start(target, { args = { "/bin/sleep", "50" }, stdin = "null", stdout = "null", stderr = "null", capabilities = {} }))
        end]]):format(reaped.pid, reaped.pid))
      f:close()
      local live = "cat /proc/[0-9]*/stat 2>/dev/null | awk '$3 != \"Z\" { print $2 }' | grep -v -e '(cat)' -e '(awk)' -e '(sh)' -e '(grep)'"
      local before = j.output(reaped, live)
      for i = 1, 12 do
        t.sh(("exec timeout -s KILL 0.%03d %s %s 2>&1"):format(20 + i * 7, core.realpath("/proc/self/exe"), path))
      end
      os.remove(path)
      core.poll({}, 0.05)
      assert.equal(before, j.output(reaped, live))
      assert.equal("(caisson-init)\n(sleep)\n", before)
      r:close()
    end)

    it("is not fooled by what the container has laid over /proc and /dev/pts", function()
      local r, fake = j.container({ mounts = { { proc = "/proc" }, { tmpfs = "/tmp" }, { devpts = "/dev/pts" } } }, user)
      j.output(fake, "mount -t tmpfs none /dev/pts; : > /dev/pts/ptmx; mount -t tmpfs none /proc; mkdir -p /proc/self/attr; echo > /proc/self/oom_score_adj")
      local r2 = assert(j.run(fake, { args = { "true" }, oom_score_adj = 321 }))
      assert.equal(0, r2.code)
      local _, message, errno = j.run(fake, { args = { "true" }, tty = true })
      assert.equal(19, errno)
      assert.truthy(message:find("/dev/pts/ptmx is no ptmx", 1, true), message)
      r:close()
    end)

    it("says which security module is missing", function()
      for key, name in pairs { apparmor = "AppArmor", selinux = "SELinux" } do
        local ok, message, errno, failure = j.run(target, { args = { "true" }, [key] = "caisson-spec-none" })
        if ok == nil then
          assert.equal(key, failure.step)
          assert.truthy(errno > 0 and (message:find(name, 1, true) or message:find("profile", 1, true)), message)
        end
        assert.is_nil(ok)
      end
    end)
  end)
end

for _, world in ipairs(g.worlds()) do
  describe("joining a container's groups (" .. world.name .. ")", function()
    if not t.needs("root") then return end
    local running, target

    before_each(function()
      running, target = j.container({ cgroup = { path = g.prefix .. "*", pids = { max = 20 }, accounting = { "freeze", "cpu", "memory", "pids" } } })
    end)
    after_each(function()
      running:close()
      assert.equal("", g.left())
    end)

    local function groups(pid)
      local list = {}
      for line in (t.read_file("/proc/" .. pid .. "/cgroup") or ""):gmatch("[^\n]+") do
        if line:find(g.prefix, 1, true) then list[#list + 1] = line end
      end
      return table.concat(list, "\n")
    end

    it("puts the process into every group of the container", function()
      local p = assert(process.start(target, { args = { "sleep", "5" }, stdin = "null" }))
      assert.are_not.equal("", groups(target.pid))
      assert.equal(groups(target.pid), groups(p:pid()))
      p:close()
      assert.truthy(core.pidfd.open(target.pid)) -- what ends is the process, not the container
    end)

    it("leaves no process where a step fails, whoever applies it", function()
      local plan = assert(process.start(target, { args = { "true" }, rlimits = { core = 0 } })).built.plan
      collectgarbage()
      collectgarbage()
      local children, fds = t.count_children(), t.count_fds()
      for i in plan:each() do
        local ok, _, errno, failure = process.start(target, { args = { "true" }, rlimits = { core = 0 } }, { fail = { step = i, errno = 5 } })
        assert.is_nil(ok)
        assert.same({ 5, i }, { errno, failure.number })
      end
      assert.same({ children, fds }, { t.count_children(), t.count_fds() })
      assert.equal("", t.sh("ps --ppid " .. t.getpid() .. " -o stat= | grep Z"))
    end)

    it("makes a group below the container's, and refuses all that leads out of it", function()
      local p = assert(process.start(target, { args = { "sleep", "5" }, cgroup = "sub/x", stdin = "null" }))
      assert.equal((groups(target.pid) .. "\n"):gsub("\n", "/sub/x\n"), groups(p:pid()) .. "\n")
      p:close()
      local name = groups(target.pid):match("[^/]+$")
      for _, bad in ipairs { "..", "../x", "../" .. name .. "-suffix", "a/../../x", "/" .. name .. "/x", "/", "a//b", "", ".", 5,
        { pids = "../y" }, { nothing = "a" } } do
        local ok, message, errno = j.run(target, { args = { "true" }, cgroup = bad })
        assert.is_nil(ok)
        assert.equal(22, errno)
        assert.truthy(message:find("^cgroup: "), message)
      end
    end)

    it("does not enter a paused container, unless told to: then it runs once that is resumed", function()
      assert(target.cgroup:freeze())
      local ok, message, errno = process.start(target, { args = { "true" } })
      assert.is_nil(ok)
      assert.equal("the container is paused: resume it first, or start with ignore_paused", message)
      assert.equal(16, errno)
      local saved = require("caisson.json").document(target.cgroup:save())
      local resume = assert(io.popen(t.lua_command(([[
        local core = require "caisson.core"
        core.poll({}, 0.3)
        local cgroup = require("caisson.cgroup").reopen(require("caisson.json").decode(%q))
        cgroup:thaw()]]):format(saved))))
      local from = core.now()
      local r = assert(j.run(target, { args = { "echo", "late" }, ignore_paused = true }))
      assert.equal("late\n", r.stdout)
      assert.truthy((core.now() - from) / 1e9 > 0.2)
      resume:close()
    end)
  end)
end
