-- Podman whose configuration names the runtime: errors as JSON, images that are built, services.
local t = require "support"
local podman = require "support.podman"
local engine = require "support.engine"
local cli = require "support.cli"

describe("podman, told of the runtime by its configuration", function()
  if not t.needs("root", "podman", "busybox", "engine_runtime") then return end
  local pod

  setup(function() pod = podman.world(nil, true) end)
  teardown(function()
    if pod then assert.same({}, pod:close()) end
  end)

  it("reads the runtime's errors as JSON", function()
    local id = pod:ok("create", "--network", "none", "box", "true")
    assert.equal("tested", pod:ok("inspect", "-f", "{{.OCIRuntime}}", id))
    pod:ok("rm", id)
    -- podman quotes the message alone, without the log's other fields
    local r = pod:run("run", "--rm", "--network", "none", "box", "/bin/nothing")
    assert.equal(127, r.code)
    assert.truthy(r.err:find('^Error: tested: [^{]*exec: "/bin/nothing": stat /bin/nothing: no such file or directory'), r.err)
    r = pod:run("run", "--rm", "--network", "none", "box", "/etc/plain")
    assert.equal(126, r.code)
    assert.truthy(r.err:find('^Error: tested: [^{]*exec: "/etc/plain": permission denied'), r.err)
    r = pod:run("run", "--rm", "--network", "none", "box", "nothing")
    assert.equal(127, r.code)
    assert.truthy(r.err:find('exec: "nothing": executable file not found in $PATH', 1, true), r.err)
    pod:start("ex", {}, "sleep 1000")
    r = pod:run("exec", "ex", "/bin/nothing")
    assert.equal(127, r.code)
    assert.truthy(r.err:find("/bin/nothing", 1, true) and not r.err:find("{", 1, true), r.err)
    r = pod:run("exec", "-w", "/absent", "ex", "true")
    assert.not_equal(0, r.code)
    assert.truthy(r.err:find("/absent", 1, true), r.err)
    assert.equal(9, pod:run("exec", "ex", "sh", "-c", "exit 9").code)
    pod:ok("rm", "-f", "-t", "0", "ex")
  end)

  it("builds images with it", function()
    local dir = pod.dir .. "/context"
    assert(os.execute("mkdir " .. dir))
    engine.write(dir .. "/Containerfile", "FROM box\nRUN echo built >/built; readlink /proc/self/ns/net\n" ..
      'WORKDIR /tmp\nUSER guest\nRUN ["sh", "-c", "echo $(pwd) $(id -u) $(cat /built)"]\n')
    local r = pod:run("build", "--isolation", "oci", "--network", "none", "--cgroup-parent", "/" .. pod.world.prefix .. "-build",
      "-t", "built", dir)
    assert.equal(0, r.code, r.err)
    assert.truthy(r.out:find("\n/tmp 405 built\n", 1, true), r.out)
    assert.not_equal(t.namespace("net"), r.out:match("net:%[%d+%]"))
    assert.equal("built", pod:ok("run", "--rm", "--network", "none", "built", "cat", "/built"))
    engine.write(dir .. "/Containerfile", "FROM box\nRUN exit 3\n")
    r = pod:run("build", "--isolation", "oci", "--network", "none", "--cgroup-parent", "/" .. pod.world.prefix .. "-build", dir)
    assert.not_equal(0, r.code)
    assert.truthy(r.err:find("exit status 3", 1, true), r.err)
  end)

  it("pauses for a commit, and copies files", function()
    pod:start("com", {}, "echo inside >/tmp/made; echo up; sleep 1000")
    pod:logged("com", "up")
    pod:ok("commit", "--pause", "com", "committed")
    assert.equal("running", pod:ok("inspect", "-f", "{{.State.Status}}", "com"))
    assert.equal("inside", pod:ok("run", "--rm", "--network", "none", "committed", "cat", "/tmp/made"))
    pod:ok("cp", "com:/tmp/made", pod.dir .. "/copied")
    assert.equal("inside\n", t.read_file(pod.dir .. "/copied"))
    pod:ok("cp", pod.dir .. "/copied", "com:/etc/copied")
    assert.equal("inside", pod:ok("exec", "com", "cat", "/etc/copied"))
    pod:ok("rm", "-f", "-t", "0", "com")
  end)

  it("passes signals of its own on, and ends what takes too long", function()
    local argv = pod:argv(pod:words({ "--rm", "--name", "proxy" }, "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"))
    local script = '"$@" >%s & p=$!; while ! grep -q up %s && kill -0 $p; do sleep 0.05; done; pkill -TERM -P $p; wait $p'
    local r = cli.run { "sh", "-c", (script:gsub("%%s", pod.dir .. "/up")), "-", unpack(argv) }
    assert.equal(5, r.code)
    local before = t.core.now()
    r = pod:box({ "--timeout", "1" }, "sleep 30")
    assert.not_equal(0, r.code)
    assert.truthy(t.core.now() - before < 20e9)
  end)

  it("has the container tell that it is ready", function()
    local socket = pod.dir .. "/notify"
    local perl = "socket(S, 1, 2, 0) && bind(S, sockaddr_un($ARGV[0])) or die; print qq(up\\n); do { recv(S, $m, 999, 0); print $m } until $m =~ /READY/"
    local send = "socket(S, 1, 2, 0) && connect(S, sockaddr_un($ENV{NOTIFY_SOCKET})) && send(S, qq(READY=1), 0)"
    if t.sh("perl -MSocket -e 'print 1' 2>&1") ~= "1" then return pending "needs perl with Socket" end
    local out = pod.dir .. "/notified"
    pod.world:ok(("perl -MSocket -e '$|=1; %s' %s >%s 2>&1 </dev/null &"):format(perl, socket, out))
    assert.truthy(pod.world:eventually(function() return t.read_file(out) == "up\n" end))
    -- the host's perl, as a volume
    local words = pod:words({ "-d", "--name", "ready", "--sdnotify", "container", "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v",
      "/lib64:/lib64:ro" }, "/usr/bin/perl -MSocket -e '" .. send .. "' && sleep 1000")
    local command = pod:argv(words)
    table.insert(command, #pod.world.enter + 4, "NOTIFY_SOCKET=" .. socket)
    local r = cli.run(command)
    assert.equal(0, r.code, r.err)
    assert.truthy(pod.world:eventually(function() return (t.read_file(out) or ""):find("READY=1", 1, true) end), t.read_file(out))
    pod:ok("rm", "-f", "-t", "0", "ready")
  end)

  it("has a personality", function()
    assert.equal("i686", pod:out({ "--personality", "LINUX32" }, "uname -m"))
  end)
end)
