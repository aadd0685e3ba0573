-- containerd's shim for runc, with our runtime in runc's place.
local t = require "support"
local containerd = require "support.containerd"
local engine = require "support.engine"
local cli = require "support.cli"

describe("containerd", function()
  if not t.needs("root", "containerd", "busybox", "engine_runtime") then return end
  local c

  setup(function() c = containerd.world() end)
  teardown(function()
    if c then assert.same({}, c:close()) end
  end)

  -- A file of the container's groups, by the names that v1 and v2 have for it.
  local function limit(id, ...)
    for _, name in ipairs { ... } do
      local path = t.sh(("find /sys/fs/cgroup -path '*/%s/%s/%s' | head -n 1"):format(c.world.prefix, id, name))
      if path ~= "" then return (t.read_file(path:gsub("\n", "")):gsub("\n$", "")) end
    end
  end

  describe("run", function()
    it("gives the program's output, input and status", function()
      local r = c:box({ "--env", "A=b c", "--cwd", "/tmp" }, "echo \"$A\" $PWD; head -n 1; echo bad >&2; exit 7", { stdin = "in\n" })
      assert.same({ "b c /tmp\nin\n", "bad\n", 7 }, { r.out, r.err, r.code })
    end)

    it("tells what can't be run", function()
      local r = c:run(unpack(c:words("bad", { "--rm" }, { "/bin/nothing" })))
      assert.not_equal(0, r.code)
      assert.truthy(r.err:find("nothing", 1, true), r.err)
      r = c:run(unpack(c:words("worse", { "--rm" }, { "/etc/plain" })))
      assert.not_equal(0, r.code)
      assert.truthy(r.err:lower():find("permission denied", 1, true), r.err)
    end)

    it("isolates", function()
      local out = c:out({}, "echo $$; for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done")
      local lines = {}
      for l in out:gmatch("[^\n]+") do lines[#lines + 1] = l end
      assert.equal("1", lines[1])
      for i = 2, #lines do assert.not_equal(t.namespace(lines[i]:match("^%w+")), lines[i]) end
      assert.equal(6, #lines)
      assert.equal(t.namespace("net"), c:out({ "--net-host" }, "readlink /proc/self/ns/net"))
    end)

    it("has a terminal", function()
      local words = c:words("term", { "--rm", "-t" }, { "sh", "-c", "tty; until stty size 2>/dev/null | grep .; do sleep 0.02; done; read line; echo got $line; stty size; exit 5" })
      local term = cli.at_terminal(c:argv(words), { rows = 31, columns = 91 })
      term:expect "/dev/pts/0" -- ctr leaves the outer one to turn line ends
      term:expect "31 91"
      t.core.terminal.resize(term.master, 40, 100)
      t.sh "sleep 0.5"
      term:send "words\r"
      term:expect "got words"
      term:expect "40 100"
      assert.equal(5, term:wait().code)
      term:close()
    end)

    it("has the limits asked for", function()
      c:start("lim", { "--memory-limit", "67108864", "--cpu-shares", "512", "--cpus", "0.5" }, "cat /proc/self/cgroup; sleep 1000")
      c:written("lim", c.world.prefix:gsub("%-", "%%-") .. "/lim\n")
      assert.equal("67108864", limit("lim", "memory.limit_in_bytes", "memory.max"))
      assert.equal(limit("lim", "cpu.shares") and "512" or "20", limit("lim", "cpu.shares", "cpu.weight"))
      assert.equal(limit("lim", "cpu.cfs_quota_us") and "50000" or "50000 100000", limit("lim", "cpu.cfs_quota_us", "cpu.max"))
      assert.equal(0, c:remove("lim").code)
    end)

    it("has mounts, and a read-only root", function()
      local dir = t.sh("mktemp -d -p " .. c.dir):gsub("\n", "")
      engine.write(dir .. "/there", "from outside\n")
      local r = c:box({ "--read-only", "--mount", "type=bind,src=" .. dir .. ",dst=/tmp,options=rbind:rw",
        "--mount", "type=bind,src=" .. dir .. ",dst=/root,options=rbind:ro" },
        "cat /tmp/there; echo inside >/tmp/new; echo x >/root/new; touch /x")
      assert.equal("from outside\n", r.out)
      assert.truthy(r.err:find("/root/new: Read-only file system", 1, true), r.err)
      assert.truthy(r.err:find("/x: Read-only file system", 1, true), r.err)
      assert.equal("inside\n", t.read_file(dir .. "/new"))
    end)

    it("has the rights asked for", function()
      local function of(field, ...) return c:out({ ... }, "grep " .. field .. ": /proc/self/status"):match("%x+$") end
      local usual = of "CapEff"
      assert.not_equal(usual, of("CapEff", "--cap-add", "CAP_SYS_ADMIN"))
      assert.equal(t.read_file("/proc/self/status"):match("CapEff:%s+(%x+)"), of("CapEff", "--privileged"))
      assert.equal("1", of "NoNewPrivs")
      assert.equal("0", of("NoNewPrivs", "--allow-new-privs"))
      assert.equal("0", of "Seccomp")
      assert.equal("2", of("Seccomp", "--seccomp"))
      local r = c:box({ "--seccomp" }, "unshare -U true")
      assert.not_equal(0, r.code)
      r = c:box({}, "cat /dev/zero | head -c 3 | wc -c; mknod /tmp/k b 254 0 && cat /tmp/k")
      assert.equal("3\n", r.out)
      assert.truthy(r.err:find("not permitted", 1, true), r.err)
    end)

    it("has a user namespace", function()
      local r = c:out({ "--uidmap", "0:100000:1000", "--gidmap", "0:200000:1000" }, "cat /proc/self/uid_map /proc/self/gid_map; id -u")
      assert.equal("0 100000 1000 0 200000 1000 0", (r:gsub("%s+", " "):gsub("^ ", "")))
    end)

    it("joins a namespace by its path", function()
      c:start("net", {}, "readlink /proc/self/ns/net; sleep 1000")
      local link = c:written("net", "net:%[%d+%]\n")
      local _, pid = c:status "net"
      assert.equal(link, c:out({ "--with-ns", "network:/proc/" .. pid .. "/ns/net" }, "readlink /proc/self/ns/net") .. "\n")
      assert.equal(0, c:remove("net").code)
    end)

    it("does without pivot_root", function()
      assert.equal("/ 1", c:out({ "--no-pivot" }, "echo $(pwd) $$"))
    end)
  end)

  describe("a task", function()
    it("is executed in", function()
      c:start("ex", {}, "sleep 1000")
      local r = c:run("tasks", "exec", "--exec-id", "e1", "--cwd", "/etc", "--user", "405:100", "ex", "sh", "-c",
        "id -u; pwd; head -n 1; echo bad >&2; exit 9", { stdin = "in\n" })
      assert.same({ "405\n/etc\nin\n", "bad\n", 9 }, { r.out, r.err, r.code })
      r = c:run("tasks", "exec", "--exec-id", "e2", "ex", "/bin/nothing")
      assert.not_equal(0, r.code)
      assert.truthy(r.err:find("nothing", 1, true), r.err)
      local term = cli.at_terminal(c:argv { "tasks", "exec", "-t", "--exec-id", "e3", "ex", "sh", "-c", "tty; until stty size 2>/dev/null | grep .; do sleep 0.02; done; exit 4" },
        { rows = 33, columns = 77 })
      term:expect "/dev/pts/0"
      term:expect "33 77"
      assert.equal(4, term:wait().code)
      term:close()
      c:ok("tasks", "exec", "--exec-id", "e4", "-d", "ex", "sh", "-c", "echo there >/tmp/background; exec sleep 999")
      assert.truthy(c.world:eventually(function()
        return c:run("tasks", "exec", "--exec-id", "e5", "ex", "cat", "/tmp/background").out == "there\n"
      end))
      local list = c:ok("tasks", "ps", "ex")
      local _, pid = c:status "ex"
      assert.truthy(list:find("\n" .. pid .. " "), list)
      assert.truthy(list:find "e4", list)
      c:ok("tasks", "kill", "--exec-id", "e4", "-s", "SIGKILL", "ex")
      assert.truthy(c.world:eventually(function() return not c:ok("tasks", "ps", "ex"):find "e4" end))
      assert.equal(0, c:remove("ex").code)
    end)

    it("stands still while it is paused", function()
      c:start("still", {}, "while :; do echo x; sleep 0.02; done")
      c:written("still", "x\nx")
      c:ok("tasks", "pause", "still")
      assert.equal("PAUSED", (c:status "still"))
      t.sh "sleep 0.1"
      local before = c:written("still", "x")
      t.sh "sleep 0.2"
      assert.equal(before, c:written("still", "x"))
      c:ok("tasks", "resume", "still")
      assert.equal("RUNNING", (c:status "still"))
      assert.truthy(c.world:eventually(function() return c:written("still", "x") ~= before end))
      assert.equal(0, c:remove("still").code)
    end)

    it("gets signals, and is deleted", function()
      c:start("sig", {}, "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done")
      c:written("sig", "up")
      assert.not_equal(0, c:run("tasks", "delete", "sig").code)
      c:ok("tasks", "kill", "-s", "SIGUSR1", "sig")
      c:written("sig", "usr1")
      c:ok("tasks", "kill", "sig")
      c:written("sig", "term")
      assert.truthy(c.world:eventually(function() return c:status "sig" == "STOPPED" end))
      assert.equal(0, c:remove("sig").code)
      c:start("all", { "--with-ns", "pid:/proc/1/ns/pid" }, "sleep 998 & sleep 997")
      c:ok("tasks", "kill", "--all", "-s", "SIGKILL", "all")
      assert.truthy(c.world:eventually(function() return c:status "all" == "STOPPED" end))
      assert.equal(0, c:remove("all").code)
    end)

    it("has metrics", function()
      c:start("busy", { "--memory-limit", "67108864" }, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000")
      c:written("busy", "done")
      local text = c:ok("tasks", "metrics", "busy")
      assert.truthy(tonumber(text:match("cpuacct.usage%s+(%d+)") or text:match("cpu.usage_usec%s+(%d+)")) > 0, text)
      assert.truthy(tonumber(text:match("memory.usage_in_bytes%s+(%d+)") or text:match("memory.usage%s+(%d+)")) > 0, text)
      assert.truthy(text:find("67108864", 1, true) or not text:find("memory.limit"), text)
      assert.equal(0, c:remove("busy").code)
    end)

    it("is told of an OOM kill", function()
      local events = c.dir .. "/events"
      c.world:ok("nohup ctr -a " .. c.dir .. "/socket -n " .. c.namespace .. " events >" .. events .. " 2>&1 </dev/null & echo $! >" .. c.dir .. "/events-pid")
      c:start("oom", { "--memory-limit", "16777216" }, "tail /dev/zero; echo status $?; sleep 1")
      c:written("oom", "status 137")
      assert.truthy(c.world:eventually(function() return t.read_file(events):find("/tasks/oom", 1, true) end), t.read_file(events))
      c.world:ok("kill $(cat " .. c.dir .. "/events-pid)")
      assert.equal(0, c:remove("oom").code)
    end)

    it("is started again", function()
      c:start("again", {}, "echo once; exit 6")
      assert.truthy(c.world:eventually(function() return c:status "again" == "STOPPED" end))
      c:run("tasks", "delete", "again")
      local r = c:run("tasks", "start", "again")
      assert.same({ "once\n", 6 }, { r.out, r.code })
      assert.equal(0, c:remove("again").code)
    end)
  end)
end)
