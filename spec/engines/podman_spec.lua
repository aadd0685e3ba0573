-- Podman, as root, with our runtime: what its users type, and what the kernel then says.
local t = require "support"
local podman = require "support.podman"
local engine = require "support.engine"
local cli = require "support.cli"

describe("podman", function()
  if not t.needs("root", "podman", "busybox", "engine_runtime") then return end
  local pod

  setup(function() pod = podman.world() end)
  teardown(function()
    if pod then assert.same({}, pod:close()) end
  end)

  describe("run", function()
    it("is by this runtime", function()
      local id = pod:ok("create", "--network", "none", "box", "true")
      assert.equal(engine.runtime, pod:ok("inspect", "-f", "{{.OCIRuntime}}", id))
      pod:ok("rm", id)
      local name, path = pod:ok("info", "-f", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}"):match("(%S+) (%S+)")
      assert.equal(engine.runtime, path)
      assert.equal(engine.runtime, name)
    end)

    it("gives the program's output, input and status", function()
      local r = pod:box({ "-i", "-e", "A=b c", "-w", "/tmp" }, "echo \"$A\" $PWD; cat; echo bad >&2; exit 7", { stdin = "in\n" })
      assert.same({ "b c /tmp\nin\n", "bad\n", 7 }, { r.out, r.err, r.code })
      assert.equal(137, pod:box({ "--pid", "host" }, "kill -KILL $$; sleep 9").code)
    end)

    it("tells what can't be run", function()
      local r = pod:run("run", "--rm", "--network", "none", "box", "/bin/nothing")
      assert.same({ 127, "" }, { r.code, r.out })
      assert.truthy(r.err:find("nothing", 1, true))
      r = pod:run("run", "--rm", "--network", "none", "box", "/etc/plain")
      assert.same({ 126, "" }, { r.code, r.out })
      r = pod:run("run", "--rm", "--network", "none", "-w", "/etc/plain", "box", "true")
      assert.same({ 126, "" }, { r.code, r.out })
    end)

    it("isolates", function()
      local out = pod:out({ "--hostname", "inner" }, [[hostname; echo $$; ls /proc | grep -c '^[0-9]';
        for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; ip -o link | wc -l]])
      local lines = {}
      for l in out:gmatch("[^\n]+") do lines[#lines + 1] = l end
      assert.same({ "inner", "1" }, { lines[1], lines[2] })
      assert.truthy(tonumber(lines[3]) <= 4)
      for _, l in ipairs(lines) do
        local name = l:match("^(%w+):%[")
        if name == "user" then
          assert.equal(t.namespace("user"), l)
        elseif name and name ~= "cgroup" then -- that one is private with cgroup v2 alone
          assert.not_equal(t.namespace(name), l)
        end
      end
      assert.equal("1", lines[#lines])
      assert.equal(t.namespace("net"), pod:out({ "--network", "host" }, "readlink /proc/self/ns/net"))
      assert.not_equal(t.namespace("cgroup"), pod:out({ "--cgroupns", "private" }, "readlink /proc/self/ns/cgroup"))
      assert.equal(t.namespace("uts"), pod:out({ "--uts", "host" }, "readlink /proc/self/ns/uts"))
      assert.equal(t.namespace("ipc"), pod:out({ "--ipc", "host" }, "readlink /proc/self/ns/ipc"))
    end)

    it("has a terminal", function()
      local argv = pod:argv(pod:words({ "--rm", "-it" }, "tty; stty size; read line; echo got $line; stty size; exit 5"))
      local term = cli.at_terminal(argv, { rows = 31, columns = 91 })
      term:expect "/dev/pts/0\r\n31 91\r\n"
      t.core.terminal.resize(term.master, 40, 100)
      t.sh "sleep 0.5"
      term:send "words\r"
      term:expect "got words\r\n40 100\r\n"
      assert.equal(5, term:wait().code)
      term:close()
    end)

    it("passes descriptors on", function()
      local words = pod:argv(pod:words({ "--rm", "--preserve-fds", "1" }, "cat <&3"))
      engine.write(pod.dir .. "/given", "given text")
      local r = cli.run { "sh", "-c", "exec \"$@\" 3<" .. pod.dir .. "/given", "-", unpack(words) }
      assert.same({ "given text", 0 }, { r.out, r.code })
    end)
  end)

  describe("exec", function()
    setup(function() pod:start("ex", { "--init", "--pids-limit", "50" }, "sleep 1000") end)
    teardown(function() pod:ok("rm", "-f", "-t", "0", "ex") end)

    it("runs beside the container's program", function()
      local r = pod:run("exec", "-i", "-e", "A=b", "-w", "/etc", "-u", "guest", "ex", "sh", "-c",
        "id -u; id -G; pwd; echo $A; cat; echo bad >&2; exit 9", { stdin = "in\n" })
      assert.same({ "405\n100 777\n/etc\nb\nin\n", "bad\n", 9 }, { r.out, r.err, r.code })
      r = pod:run("exec", "ex", "sh", "-c", "for p in 1 self; do for n in ipc mnt net pid uts; do readlink /proc/$p/ns/$n; done; done")
      local half = #r.out / 2
      assert.equal(r.out:sub(1, half), r.out:sub(half + 1))
      assert.truthy(half > 40)
      assert.equal(127, pod:run("exec", "ex", "/bin/nothing").code)
      assert.equal(126, pod:run("exec", "ex", "/etc/plain").code)
      assert.equal(137, pod:run("exec", "ex", "sh", "-c", "kill -KILL $$").code)
    end)

    it("is in its groups", function()
      local r = pod:run("exec", "ex", "sh", "-c", "cat /proc/1/cgroup; echo --; cat /proc/self/cgroup")
      local one, own = r.out:match("^(.*)%-%-\n(.*)$")
      assert.equal(one, own)
      assert.truthy(one:find(pod.world.prefix, 1, true) or one:find("0::/\n", 1, true))
    end)

    it("has a terminal, and a background", function()
      local term = cli.at_terminal(pod:argv { "exec", "-it", "ex", "sh", "-c", "tty; stty size; exit 4" }, { rows = 33, columns = 77 })
      term:expect "/dev/pts/"
      term:expect "\r\n33 77\r\n"
      assert.equal(4, term:wait().code)
      term:close()
      pod:ok("exec", "-d", "ex", "sh", "-c", "echo there >/tmp/background")
      assert.truthy(pod.world:eventually(function() return pod:run("exec", "ex", "cat", "/tmp/background").out == "there\n" end))
    end)

    it("is privileged when asked for", function()
      local caps = function(...) return pod:ok("exec", ..., "ex", "sh", "-c", "grep CapEff /proc/self/status") end
      assert.not_equal(caps "--privileged", caps "-i")
    end)

    it("finds --init as pid 1, and top", function()
      assert.truthy(pod:ok("exec", "ex", "cat", "/proc/1/comm"):find("init") or pod:ok("exec", "ex", "cat", "/proc/1/comm"):find("catatonit"))
      assert.truthy(pod:ok("top", "ex", "pid", "comm"):find("sleep"))
    end)
  end)

  describe("a container in the background", function()
    it("is stopped, restarted, and its log kept", function()
      pod:start("bg", {}, "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done")
      pod:logged("bg", "up")
      assert.equal("running", pod:ok("inspect", "-f", "{{.State.Status}}", "bg"))
      pod:ok("stop", "-t", "10", "bg")
      assert.equal("exited 3", pod:ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "bg"))
      assert.equal("up\nterm", pod:ok("logs", "bg"))
      pod:ok("start", "bg")
      pod:logged("bg", "up\nterm\nup")
      pod:ok("restart", "-t", "10", "bg")
      pod:logged("bg", "up\nterm\nup\nterm\nup")
      pod:ok("kill", "-s", "KILL", "bg")
      assert.equal("137", pod:ok("wait", "bg"))
      pod:ok("rm", "bg")
    end)

    it("is killed after the stop's time", function()
      pod:start("deaf", {}, "trap '' TERM; echo up; while :; do sleep 0.05; done")
      pod:logged("deaf", "up")
      pod:ok("stop", "-t", "1", "deaf")
      assert.equal("137", pod:ok("inspect", "-f", "{{.State.ExitCode}}", "deaf"))
      pod:ok("rm", "deaf")
    end)

    it("gets signals", function()
      pod:start("sig", {}, "trap 'echo usr1' USR1; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
      pod:logged("sig", "up")
      pod:ok("kill", "-s", "USR1", "sig")
      pod:logged("sig", "usr1")
      assert.not_equal(0, pod:run("kill", "-s", "NOSUCH", "sig").code)
      pod:ok("rm", "-f", "sig")
    end)

    it("stands still while it is paused", function()
      local id = pod:start("still", {}, "while :; do echo x >>/n; sleep 0.02; done")
      local function lines() return tonumber(pod:ok("exec", "still", "sh", "-c", "wc -l </n")) end
      local root = pod:ok("inspect", "-f", "{{.State.Pid}}", "still")
      assert.truthy(lines())
      pod:ok("pause", "still")
      assert.equal("paused", pod:ok("inspect", "-f", "{{.State.Status}}", "still"))
      assert.truthy(({ FROZEN = true, ["1"] = true })[pod:limit(id, "freezer.state", "cgroup.freeze")])
      local function seen() return pod.world:ok("cat /proc/" .. root .. "/root/n | wc -l") end
      local before = seen()
      t.sh "sleep 0.2"
      assert.equal(before, seen())
      assert.not_equal(0, pod:run("exec", "still", "true").code)
      pod:ok("unpause", "still")
      assert.truthy(pod.world:eventually(function() return seen() ~= before end))
      pod:ok("pause", "still")
      pod:ok("rm", "-f", "-t", "0", "still")
    end)

    it("is created first and started later, attached", function()
      local id = pod:ok("create", "--network", "none", "--cgroup-parent", "/" .. pod.world.prefix, "-i", "box", "sh", "-c", "echo late; cat; exit 6")
      pod:ok("init", id)
      assert.equal("initialized", pod:ok("inspect", "-f", "{{.State.Status}}", id))
      local r = pod:run("start", "-ai", id, { stdin = "typed\n" })
      assert.same({ "late\ntyped\n", 6 }, { r.out, r.code })
      pod:ok("rm", id)
    end)

    it("tells its health", function()
      pod:start("hale", { "--health-cmd", "test -e /well", "--health-interval", "disable" }, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
      assert.equal(1, pod:run("healthcheck", "run", "hale").code)
      pod:ok("exec", "hale", "touch", "/well")
      assert.equal(0, pod:run("healthcheck", "run", "hale").code)
      pod:ok("rm", "-f", "hale")
    end)

    it("has statistics", function()
      pod:start("busy", { "--memory", "64m" }, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000")
      pod:logged("busy", "done")
      local cpu, usage, limit, pids = pod:ok("stats", "--no-stream", "--format", "{{.CPUNano}} {{.MemUsageBytes}} {{.PIDs}}", "busy")
        :match("(%S+) (%S+) / (%S+) (%d+)")
      assert.truthy(tonumber(cpu) > 1e6, cpu)
      assert.truthy(usage)
      assert.equal("64MiB", limit)
      assert.truthy(tonumber(pids) >= 1)
      pod:ok("rm", "-f", "-t", "0", "busy")
    end)
  end)

  describe("limits", function()
    it("are in the container's groups, and are changed there", function()
      local id = pod:start("lim", { "--memory", "64m", "--memory-reservation", "32m", "--pids-limit", "33", "--cpu-shares", "512", "--cpu-period",
        "50000", "--cpu-quota", "25000", "--cpuset-cpus", "0" }, "sleep 1000")
      assert.equal("67108864", pod:limit(id, "memory.limit_in_bytes", "memory.max"))
      assert.equal("33554432", pod:limit(id, "memory.soft_limit_in_bytes", "memory.low"))
      assert.equal("33", pod:limit(id, "pids.max"))
      assert.equal("0", pod:limit(id, "cpuset.cpus"))
      if pod:limit(id, "cpu.shares") then
        assert.equal("512", pod:limit(id, "cpu.shares"))
        assert.equal("50000", pod:limit(id, "cpu.cfs_period_us"))
        assert.equal("25000", pod:limit(id, "cpu.cfs_quota_us"))
      else
        assert.equal("20", pod:limit(id, "cpu.weight"))
        assert.equal("25000 50000", pod:limit(id, "cpu.max"))
      end
      pod:ok("update", "--memory", "96m", "--cpu-shares", "1024", "lim")
      assert.equal("100663296", pod:limit(id, "memory.limit_in_bytes", "memory.max"))
      assert.equal("33", pod:limit(id, "pids.max"))
      pod:ok("rm", "-f", "-t", "0", "lim")
    end)

    it("hold: processes", function()
      local r = pod:box({ "--pids-limit", "4" }, "for i in 1 2 3 4 5 6; do sleep 2 & done; echo all")
      assert.truthy(r.err:find("fork"), r.err)
      assert.falsy(r.out:find("all"))
    end)

    it("hold: memory, and podman is told of the kill", function()
      local id = pod:start("oom", { "--memory", "16m", "--memory-swap", "16m" }, "tail /dev/zero; sleep 0.3")
      assert.truthy(pod.world:eventually(function() return pod:ok("inspect", "-f", "{{.State.Status}}", id) == "exited" end))
      -- Debian's conmon writes where Debian's podman doesn't look
      assert.truthy(pod:ok("inspect", "-f", "{{.State.OOMKilled}}", id) == "true" or t.core.lstat(pod.dir .. "/oom"))
      pod:ok("rm", id)
    end)
  end)

  describe("mounts", function()
    local function host() return t.sh("mktemp -d -p " .. pod.dir):gsub("\n", "") end

    it("are volumes to write to, and to read only", function()
      local dir = host()
      engine.write(dir .. "/there", "from outside\n")
      local r = pod:box({ "-v", dir .. ":/rw", "-v", dir .. ":/ro:ro", "-v", dir .. "/there:/file:ro" },
        "cat /rw/there /file; echo inside >/rw/new; cat /ro/new; echo x >/ro/new; echo x >/file")
      assert.equal("from outside\nfrom outside\ninside\n", r.out)
      assert.truthy(r.err:find("/ro/new: Read-only file system", 1, true), r.err)
      assert.truthy(r.err:find("/file: Read-only file system", 1, true), r.err)
      assert.equal("inside\n", t.read_file(dir .. "/new"))
    end)

    it("are named volumes that outlive a container", function()
      pod:out({ "-v", "kept:/data" }, "echo kept >/data/x")
      assert.equal("kept", pod:out({ "-v", "kept:/data" }, "cat /data/x"))
      pod:ok("volume", "rm", "kept")
    end)

    it("propagate as asked", function()
      local dir = host()
      local source = dir .. "/s"
      pod.world:ok(("mkdir %s && mount -t tmpfs t %s && mount --make-shared %s && mkdir %s/sub"):format(source, source, source, source))
      local script = "echo up; until [ -e /v/go ]; do sleep 0.02; done; cat /v/sub/in || echo none"
      for _, p in ipairs { "rslave", "rprivate" } do
        pod:start("prop", { "-v", source .. ":/v:" .. p }, script)
        pod:logged("prop", "up")
        pod.world:ok(("mount -t tmpfs t %s/sub && echo seen >%s/sub/in && touch %s/go"):format(source, source, source))
        pod:ok("wait", "prop")
        assert.equal(p == "rslave" and "up\nseen" or "up\nnone", (pod:ok("logs", "prop")))
        pod:ok("rm", "prop")
        pod.world:ok(("umount %s/sub && rm %s/go"):format(source, source))
      end
      pod.world:ok("umount " .. source)
    end)

    it("are a read-only root, with temporary file systems", function()
      local r = pod:box({ "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/t:size=64k,mode=1700" },
        "touch /x; touch /t/x && echo made; df -k /t | tail -n 1 | awk '{print $2}'; stat -c %a /t")
      assert.equal("made\n64\n1700\n", r.out)
      assert.truthy(r.err:find("/x: Read-only file system", 1, true), r.err)
      assert.equal("ok", pod:out({ "--read-only" }, "touch /tmp/x /run/x /dev/shm/x && echo ok"))
    end)

    it("have the size of --shm-size", function()
      assert.equal("128", pod:out({ "--shm-size", "128k" }, "df -k /dev/shm | tail -n 1 | awk '{print $2}'"))
    end)
  end)

  describe("rights", function()
    local function caps(...) return pod:out({ ... }, "grep CapEff /proc/self/status"):match("%x+$") end

    it("are capabilities", function()
      assert.equal("0000000000000000", caps("--cap-drop", "all"))
      assert.equal("0000000000002001", caps("--cap-drop", "all", "--cap-add", "net_raw", "--cap-add", "chown"))
      local r = pod:box({ "--cap-drop", "chown" }, "touch /x; chown 5 /x")
      assert.truthy(r.err:find("not permitted"))
      assert.equal("ok", pod:out({}, "touch /x; chown 5 /x && echo ok"))
      assert.equal("0000000000000000", caps("--user", "guest"))
      assert.equal(t.read_file("/proc/self/status"):match("CapEff:%s+(%x+)"), caps "--privileged")
    end)

    it("are users and groups", function()
      assert.equal("405 100 100 777", pod:out({ "--user", "guest" }, "echo $(id -u) $(id -g) $(id -G)"))
      assert.equal("12 34 34 777", pod:out({ "--user", "12:34", "--group-add", "extra" }, "echo $(id -u) $(id -g) $(id -G)"))
    end)

    it("are a user namespace", function()
      local r = pod:out({ "--uidmap", "0:100000:1000", "--gidmap", "0:200000:1000", "-v", pod.dir .. ":/h" },
        "cat /proc/self/uid_map /proc/self/gid_map; id -u; readlink /proc/self/ns/user; touch /x; stat -c %u:%g /x /h")
      local lines = {}
      for l in r:gmatch("[^\n]+") do lines[#lines + 1] = l:gsub("%s+", " ") end
      assert.same({ " 0 100000 1000", " 0 200000 1000", "0" }, { lines[1], lines[2], lines[3] })
      assert.not_equal(t.namespace("user"), lines[4])
      assert.same({ "0:0", "65534:65534" }, { lines[5], lines[6] })
    end)

    it("are no new privileges, when asked for", function()
      assert.equal("1", pod:out({ "--security-opt", "no-new-privileges" }, "grep NoNewPrivs /proc/self/status"):match("%d+"))
      assert.equal("0", pod:out({}, "grep NoNewPrivs /proc/self/status"):match("%d+"))
    end)

    it("are system calls", function()
      assert.equal("2", pod:out({}, "grep Seccomp: /proc/self/status"):match("%d+"))
      local r = pod:box({}, "unshare -U true; unshare -m true")
      assert.truthy(r.err:find("not permitted") and r.code ~= 0, r.err)
      local profile = engine.write(pod.dir .. "/profile.json", [[{ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [ { "names": [ "mkdir", "mkdirat" ], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 } ] }]])
      r = pod:box({ "--security-opt", "seccomp=" .. profile }, "mkdir /x; touch /y && echo touched")
      assert.equal("touched\n", r.out)
      assert.truthy(r.err:find("No space left"), r.err)
      assert.equal("0", pod:out({ "--security-opt", "seccomp=unconfined" }, "grep Seccomp: /proc/self/status"):match("%d+"))
    end)

    it("are masked and read-only paths", function()
      local script = "wc -c </proc/timer_list; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/domainname || echo refused"
      assert.equal("0\n0\nrefused", pod:out({}, script))
      local r = pod:out({ "--security-opt", "mask=/etc/plain:/root", "--security-opt", "unmask=/proc/timer_list" },
        "wc -c </etc/plain; touch /root/x || echo refused; grep -c ' /proc/timer_list ' /proc/mounts || :")
      assert.equal("0\nrefused\n0", r)
    end)
  end)

  describe("attributes", function()
    it("are devices", function()
      local r = pod:box({ "--device", "/dev/zero:/dev/nothing:r" }, "head -c 3 /dev/nothing | wc -c; echo x >/dev/nothing; mknod /tmp/k c 1 11 && cat /tmp/k")
      assert.equal("3\n", r.out)
      assert.truthy(r.err:find("not permitted"), r.err)
    end)

    it("are resource limits, the OOM score, system controls, the file mode mask", function()
      assert.equal("40 50", pod:out({ "--ulimit", "nofile=40:50", "--ulimit", "nproc=500:500" }, "echo $(ulimit -Sn) $(ulimit -Hn)"))
      assert.equal("300", pod:out({ "--oom-score-adj", "300" }, "cat /proc/self/oom_score_adj"))
      assert.equal("123", pod:out({ "--sysctl", "kernel.shm_rmid_forced=1", "--sysctl", "kernel.msgmax=123" }, "cat /proc/sys/kernel/msgmax"))
      assert.equal("0027", pod:out({ "--umask", "0027" }, "umask"))
      local r = pod:box({ "--sysctl", "kernel.panic=5" }, "true")
      assert.not_equal(0, r.code)
    end)

    it("are hooks", function()
      local dir = pod.dir .. "/hooks"
      assert(os.execute("mkdir " .. dir))
      engine.write(dir .. "/log.sh", "cat >>" .. pod.dir .. "/hooked; echo \" $1\" >>" .. pod.dir .. "/hooked\n")
      engine.write(dir .. "/hook.json", ([[{ "version": "1.0.0", "when": { "annotations": { "^want$": "^yes$" } },
        "stages": [ "prestart", "createRuntime", "poststart", "poststop" ],
        "hook": { "path": "/bin/sh", "args": [ "sh", "%s/log.sh", "here" ] } }]]):format(dir))
      local words = pod:words({ "--rm", "--annotation", "want=yes" }, "exit 0")
      table.insert(words, 1, "--hooks-dir")
      table.insert(words, 2, dir)
      pod:ok(unpack(words))
      local list = {}
      for state in t.read_file(pod.dir .. "/hooked"):gmatch('"status":%s*"(%w+)"') do list[#list + 1] = state end
      assert.equal(4, #list)
      assert.equal("stopped", list[4])
    end)
  end)

  describe("pods", function()
    it("share namespaces", function()
      pod:ok("pod", "create", "--name", "pea", "--network", "none", "--cgroup-parent", "/" .. pod.world.prefix,
        "--infra-image", "box", "--infra-command", "sleep 1000", "--share", "net,ipc,uts,pid")
      pod:ok("run", "-d", "--pod", "pea", "--name", "one", "box", "sh", "-c",
        "for n in net ipc uts mnt; do readlink /proc/self/ns/$n; done; sleep 1000")
      pod:logged("one", "mnt")
      local two = pod:ok("run", "--rm", "--pod", "pea", "box", "sh", "-c", "for n in net ipc uts mnt; do readlink /proc/self/ns/$n; done; ps")
      local one = pod:ok("logs", "one")
      for _, n in ipairs { "net", "ipc", "uts" } do
        local link = one:match(n .. ":%[%d+%]")
        assert.truthy(link)
        assert.equal(link, two:match(n .. ":%[%d+%]"))
        assert.not_equal(t.namespace(n), link)
      end
      assert.not_equal(one:match("mnt:%[%d+%]"), two:match("mnt:%[%d+%]"))
      assert.truthy(two:find("sleep 1000", 1, true))
      pod:ok("pod", "stop", "-t", "0", "pea")
      pod:ok("pod", "rm", "-f", "-t", "0", "pea")
    end)

    it("join the network of another container, or of a path", function()
      pod:start("net", {}, "readlink /proc/self/ns/net; sleep 1000")
      pod:logged("net", "net:")
      local out = pod:out({ "--network", "container:net" }, "readlink /proc/self/ns/net")
      assert.equal(pod:ok("logs", "net"), out)
      local pid = pod:ok("inspect", "-f", "{{.State.Pid}}", "net")
      assert.equal(out, pod:out({ "--network", "ns:/proc/" .. pid .. "/ns/net" }, "readlink /proc/self/ns/net"))
      pod:ok("rm", "-f", "-t", "0", "net")
    end)
  end)
end)
