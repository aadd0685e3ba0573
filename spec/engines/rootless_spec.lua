-- Podman as an ordinary user, in the user namespace that it makes; no control groups with cgroup v1.
local t = require "support"
local podman = require "support.podman"
local engine = require "support.engine"
local cli = require "support.cli"

local uid = 54321

describe("rootless podman", function()
  if not t.needs("root", "podman", "busybox", "engine_runtime") then return end
  local pod

  setup(function() pod = podman.world(uid) end)
  teardown(function()
    if pod then assert.same({}, pod:close()) end
  end)

  local function run(options, script, opts)
    local words = { "run", "--rm", "--network", "none" }
    for _, w in ipairs(options) do words[#words + 1] = w end
    for _, w in ipairs { "box", "sh", "-c", script } do words[#words + 1] = w end
    words[#words + 1] = opts
    return pod:run(unpack(words))
  end

  local function out(options, script)
    local r = run(options, script)
    if r.code ~= 0 then error(("status %s: %s%s"):format(tostring(r.code or r.signal), r.err, r.out), 2) end
    return (r.out:gsub("\n$", ""))
  end

  it("runs containers by this runtime", function()
    assert.equal(pod.runtime, pod:ok("info", "-f", "{{.Host.OCIRuntime.Path}}"))
    local r = run({ "-i", "-e", "A=b c" }, "echo \"$A\"; cat; id -u; echo bad >&2; exit 7", { stdin = "in\n" })
    assert.same({ "b c\nin\n0\n", "bad\n", 7 }, { r.out, r.err, r.code })
    assert.equal(127, pod:run("run", "--rm", "--network", "none", "box", "/bin/nothing").code)
    assert.equal(126, pod:run("run", "--rm", "--network", "none", "box", "/etc/plain").code)
  end)

  it("maps ids", function()
    local map = ("0 %d 1 1 1000000 65536"):format(uid)
    assert.equal(map, (out({}, "echo $(cat /proc/self/uid_map)")))
    assert.equal(uid .. " 405", out({ "--userns", "keep-id", "--group-add", "405" }, "echo $(id -u) 405"))
    assert.equal("405 100 100 777", out({ "--user", "guest" }, "echo $(id -u) $(id -g) $(id -G)"))
    local dir = pod.dir .. "/home/volume"
    pod.world:ok("mkdir " .. dir)
    out({ "-v", dir .. ":/v" }, "touch /v/root; touch /v/guest; chown guest:users /v/guest")
    assert.equal(("%d:%d 1000404:1000099\n"):format(uid, uid), t.sh(("echo $(stat -c %%u:%%g %s/root %s/guest)"):format(dir, dir)))
    local r = run({ "-v", dir .. ":/v:ro" }, "touch /v/new")
    assert.truthy(r.err:find("Read-only file system", 1, true), r.err)
  end)

  it("isolates, and denies", function()
    local lines = {}
    for l in out({ "--hostname", "inner" }, "hostname; echo $$; for n in ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done")
      :gmatch("[^\n]+") do lines[#lines + 1] = l end
    assert.same({ "inner", "1", 8 }, { lines[1], lines[2], #lines })
    for i = 3, 8 do assert.not_equal(t.namespace(lines[i]:match("^%w+")), lines[i]) end
    local r = run({ "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/t:size=64k", "--cap-drop", "all", "--security-opt",
      "no-new-privileges" }, "touch /x; touch /t/x && echo made; chown 5 /t/x; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status")
    assert.equal("made CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 ", (r.out:gsub("%s+", " ")))
    assert.truthy(r.err:find("/x: Read-only file system", 1, true), r.err)
    assert.truthy(r.err:find("chown: /t/x: Operation not permitted", 1, true), r.err)
    r = run({}, "mknod /x c 1 3; wc -c </proc/timer_list; echo x >/proc/sys/kernel/domainname; mount -t tmpfs t /tmp")
    assert.equal("0\n", r.out)
    for _, text in ipairs { "mknod: /x: Operation not permitted", "domainname: Read-only file system", "mount: permission denied" } do
      assert.truthy(r.err:find(text, 1, true), r.err)
    end
  end)

  it("has a terminal", function()
    local argv = pod:argv { "run", "--rm", "--network", "none", "-it", "box", "sh", "-c", "tty; stty size; exit 5" }
    local term = cli.at_terminal(argv, { rows = 31, columns = 91 })
    term:expect "/dev/pts/0\r\n31 91\r\n"
    assert.equal(5, term:wait().code)
    term:close()
  end)

  it("keeps one in the background: exec, health, signals, log, restart", function()
    pod:ok("run", "-d", "--name", "bg", "--network", "none", "--init", "--health-cmd", "test -e /well", "--health-interval", "disable",
      "box", "sh", "-c", "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    pod:logged("bg", "up")
    local r = pod:run("exec", "-i", "-u", "guest", "-w", "/tmp", "bg", "sh", "-c", "id -u; pwd; cat; exit 9", { stdin = "in\n" })
    assert.same({ "405\n/tmp\nin\n", 9 }, { r.out, r.code })
    local term = cli.at_terminal(pod:argv { "exec", "-it", "bg", "sh", "-c", "tty; stty size; exit 4" }, { rows = 33, columns = 77 })
    term:expect "/dev/pts/"
    term:expect "33 77"
    assert.equal(4, term:wait().code)
    term:close()
    assert.equal(1, pod:run("healthcheck", "run", "bg").code)
    pod:ok("exec", "bg", "touch", "/well")
    assert.equal(0, pod:run("healthcheck", "run", "bg").code)
    assert.truthy(pod:ok("top", "bg", "user", "comm"):find("root%s+sh"))
    pod:ok("restart", "-t", "10", "bg")
    pod:logged("bg", "up\nterm\nup")
    pod:ok("stop", "-t", "10", "bg")
    assert.equal("exited 3", pod:ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "bg"))
    pod:ok("rm", "bg")
  end)

  it("shares a pod's namespaces", function()
    pod:ok("pod", "create", "--name", "pea", "--network", "none", "--infra-image", "box", "--infra-command", "sleep 1000",
      "--share", "net,ipc,uts,pid")
    local script = "for n in net ipc uts user; do readlink /proc/self/ns/$n; done"
    local one = pod:ok("run", "--rm", "--pod", "pea", "box", "sh", "-c", script)
    assert.equal(one, pod:ok("run", "--rm", "--pod", "pea", "box", "sh", "-c", script))
    assert.truthy(one:find("net:%[%d+%]\nipc:"))
    assert.truthy(pod:ok("run", "--rm", "--pod", "pea", "box", "ps"):find("sleep 1000", 1, true))
    pod:ok("pod", "rm", "-f", "-t", "0", "pea")
  end)

  it("passes devices and limits of its own", function()
    assert.equal("3", out({ "--device", "/dev/zero:/dev/nothing" }, "head -c 3 /dev/nothing | wc -c"))
    assert.equal("40 50", out({ "--ulimit", "nofile=40:50", "--ulimit", "nproc=500:500" }, "echo $(ulimit -Sn) $(ulimit -Hn)"))
    engine.write(pod.dir .. "/given", "given text")
    local r = cli.run { "sh", "-c", "exec \"$@\" 3<" .. pod.dir .. "/given", "-",
      unpack(pod:argv { "run", "--rm", "--network", "none", "--preserve-fds", "1", "box", "sh", "-c", "cat <&3" }) }
    assert.same({ "given text", 0 }, { r.out, r.code })
  end)
end)
