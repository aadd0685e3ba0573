-- The cookbook's recipes, each both ways: what it is for works, and what it denies fails.
local t = require "support"
local caisson = require "caisson"

-- Of at most 25 lines of at most 100 columns each.
local short = { "agent", "browser", "cable", "ci", "compile", "convert", "device", "dryrun", "egress", "landlocked",
  "limited", "measure", "names", "nested", "npm", "opens", "pasta", "python", "readonly", "reproducible", "service",
  "shell", "sidecar", "socket", "submission", "tree", "uids", "unpack", "uptime", "web", "without" }

local dir

-- Run a recipe: params, then a shell script or the program's words. Returns what it said, and the result.
local function run(recipe, params, script, opts)
  local o = { params = {}, stdin = "null", stdout = "capture", stderr = "stdout",
    args = type(script) == "table" and script or { "/bin/sh", "-c", script } }
  for k, v in pairs(params) do o.params[k] = v end
  for k, v in pairs(opts or {}) do o[k] = v or nil end -- false: as the recipe has it
  local r, message = caisson.run(recipe, o)
  assert(r, message)
  return r.stdout, r
end

local function path(name) return dir .. "/" .. name end

local function write(name, text)
  local f = assert(io.open(path(name), "w"))
  f:write(text)
  f:close()
  return path(name)
end

-- A program that connects to host:port and says what comes of it.
local function connect(port, host)
  return { "perl", "-MIO::Socket", "-e", ([[my $s = IO::Socket::INET->new(PeerAddr => "%s", PeerPort => %d,
    Timeout => 5); print $s ? "reached\n" : "$!\n"]]):format(host or "127.0.0.1", port) }
end

-- One that listens on a port, then says so.
local function listen(port)
  return { "perl", "-MIO::Socket", "-e", ([[my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1",
    LocalPort => %d, Listen => 1); print $s ? "listens\n" : "$!\n"]]):format(port) }
end

-- A server of the host's, until stop() is called: a TCP port of the loopback, or a Unix socket. Returns port, stop.
local function server(at)
  local script = ([[my $s = %s; chmod 0777, "%s" if "%s"; $| = 1; print $s->can("sockport") ? $s->sockport : 1, "\n";
    alarm 60; while (my $c = $s->accept) { print $c "hello\n"; close $c }]]):format(at
    and ("IO::Socket::UNIX->new(Listen => 5, Local => '%s')"):format(at)
    or "IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1')", at or "", at or "")
  local r, w = t.core.pipe()
  local null = t.core.open "/dev/null"
  local p = assert(t.core.spawn { plan = t.core.plan { t.step("clone", {}), t.step("exec", {
    argv = { "perl", "-MIO::Socket::INET", "-MIO::Socket::UNIX", "-e", script }, env = { "PATH=" .. os.getenv "PATH" },
    files = { "null", "out", "null" } }) }, slots = { null = null, out = w } })
  w:close()
  null:close()
  local port = tonumber(r:read())
  r:close()
  return port, function()
    p:kill "KILL"
    p:wait()
    p:close()
  end
end

describe("the cookbook", function()
  if not t.needs "userns" then return end

  before_each(function()
    dir = t.sh("mktemp -d /tmp/caisson-cook.XXXXXX"):match("[^\n]+")
    t.sh("chmod 755 " .. dir)
  end)
  after_each(function() t.sh("rm -rf " .. dir) end)

  for _, name in ipairs(short) do
    it("has " .. name .. " in 25 lines that can be read", function()
      local n = 0
      for line in io.lines("recipes/" .. name .. ".lua") do
        n = n + 1
        assert.truthy(#line <= 100, ("line %d is too long"):format(n))
      end
      assert.truthy(n <= 25, n .. " lines")
    end)
  end

  it("has thirty of them", function() assert.truthy(#short >= 30) end)

  describe("compile", function()
    it("lets a compiler write to its folder", function()
      if not t.needs "cc" then return end
      write("a.c", "int main(void) { return 3; }\n")
      local out, r = run("compile", { dir = dir }, "cc -o a a.c && ./a")
      assert.same({ "", 3 }, { out, r.code })
      assert.truthy(t.core.lstat(path "a"))
    end)

    it("denies it the rest: .git, homes, the network", function()
      t.sh(("mkdir -p %s/.git/hooks"):format(dir))
      local out = run("compile", { dir = dir }, "echo x >.git/hooks/pre-commit; ls /home; "
        .. "perl -e 'socket(S, 2, 1, 0) or print $!'")
      assert.truthy(out:find "pre%-commit: Read%-only file system")
      assert.truthy(out:find "'/home': No such file")
      assert.truthy(out:find "Operation not permitted")
      assert.is_nil(t.core.lstat(path ".git/hooks/pre-commit"))
    end)

    it("ends what does not end", function()
      local _, r = run("compile", { dir = dir, time = "200ms" }, "sleep 60")
      assert.equal("time_limit", r.status)
    end)
  end)

  describe("npm", function()
    local function package(script)
      t.sh("mkdir " .. path "pkg" .. " " .. path "app")
      write("pkg/package.json", '{"name": "pkg", "version": "1.0.0", "scripts": {"install": "' .. script .. '"}}')
      write("app/package.json", '{"name": "app", "version": "1.0.0", "dependencies": {"pkg": "file:./pkg.tgz"}}')
      t.sh(("cd %s && mkdir app/.git && echo key >app/.env && tar -czf app/pkg.tgz pkg"):format(dir))
      return run("npm", { dir = path "app" }, { "npm", "install", "--foreground-scripts", "--loglevel=error" })
    end

    it("installs a package, whose script finds nothing to take or to leave", function()
      if not t.needs "npm" then return end
      local out, r = package("id -u >made; (cat ../../.env; ls $HOME/.ssh; ls /root /home; echo x >../../.git/hook; true) 2>&1")
      assert.equal(0, r.code, out)
      assert.truthy(t.read_file(path "app/node_modules/pkg/made"))
      assert.falsy(out:find "key")
      assert.truthy(out:find "'/root': No such file" and out:find "'/home': No such file", out)
      assert.truthy(out:find "hook: Read%-only file system", out)
      assert.is_nil(t.core.lstat(path "app/.git/hook"))
    end)
  end)

  describe("python", function()
    it("lets a script read its folder and write results", function()
      t.sh("mkdir " .. path "out")
      write("s.py", "open('/out/r', 'w').write(open('data').read().upper())\n")
      write("data", "text")
      local out, r = run("python", { dir = dir, out = path "out" }, { "/usr/bin/python3", "s.py" })
      assert.equal(0, r.code, out)
      assert.equal("TEXT", t.read_file(path "out/r"))
    end)

    it("denies it to change its folder, to see others, the network", function()
      for what, errno in pairs { ["open('x', 'w')"] = "Read-only file system", ["os.listdir('/root')"] = "No such file",
        ["open('/out/r', 'w')"] = "No such file", ["socket.socket()"] = "Operation not permitted" } do
        local out, r = run("python", { dir = dir }, { "/usr/bin/python3", "-c", "import os, socket; " .. what })
        assert.equal(1, r.code, what)
        assert.truthy(out:find(errno, 1, true), what .. ": " .. out)
      end
    end)
  end)

  describe("agent", function()
    it("lets it change the project, but not what runs later", function()
      t.sh(("cd %s && mkdir -p .git/hooks .vscode && echo key >.env"):format(dir))
      local out = run("agent", { dir = dir }, "echo done >file; cat file .env; echo x >.git/hooks/post-commit; "
        .. "echo x >.vscode/tasks.json; mv .git git; ls /home")
      assert.equal("done\n", t.read_file(path "file"))
      assert.truthy(out:find "^done\n", out)
      assert.falsy(out:find "key")
      assert.truthy(out:find "post%-commit: Read%-only" and out:find "tasks.json: Read%-only", out)
      assert.truthy(out:find "cannot move '.git'" and out:find "'/home': No such", out)
      assert.equal("key\n", t.read_file(path ".env"))
    end)
  end)

  describe("ci", function()
    it("lets a step change all of its copy, and keeps the folder", function()
      t.sh(("cd %s && mkdir sub && echo old >sub/a && echo b >b"):format(dir))
      local out, r = run("ci", { dir = dir }, "echo new >sub/a; rm b; echo c >c; cat sub/a; ls; stat -c %u . sub | sort -u | wc -l")
      assert.same({ "new\nc\nsub\n1\n", 0 }, { out, r.code })
      assert.equal("b\nsub\nold\n", t.sh(("cd %s && ls && cat sub/a"):format(dir)))
    end)

    it("bounds the copy", function()
      local out = run("ci", { dir = dir, scratch = "1M" }, "head -c 4M /dev/zero >big")
      assert.truthy(out:find "No space left on device", out)
    end)
  end)

  describe("reproducible", function()
    it("makes the same of the same in another folder", function()
      if not t.needs "cc" then return end
      t.sh(("cd %s && mkdir one two"):format(dir))
      for _, name in ipairs { "one", "two" } do
        write(name .. "/a.c", "#include <stdio.h>\nint main(void) { puts(__FILE__ HERE); return 0; }\n")
        local out, r = run("reproducible", { src = path(name) }, 'cc -g -DHERE="\\"$PWD $(uname -n) $(nproc)\\"" -o a a.c')
        assert.equal(0, r.code, out)
      end
      assert.equal(t.read_file(path "one/a"), t.read_file(path "two/a"))
      assert.truthy(t.read_file(path "one/a"):find("a.c/build build 1", 1, true))
    end)

    it("denies the rest", function()
      assert.truthy(run("reproducible", { src = dir }, "echo x >/usr/x; ls /root"):find "Read%-only.*'/root': No such")
    end)
  end)

  describe("dryrun", function()
    it("keeps the folder, and the changes beside it", function()
      t.sh(("cd %s && mkdir new work dir && echo a >dir/a && echo b >dir/b"):format(dir))
      local out, r = run("dryrun", { dir = path "dir", into = path "new", work = path "work" },
        "echo x >a; echo y >c; ls; echo z >../out; mount -o remount,rw /")
      assert.truthy(out:find "^a\nb\nc\n", out)
      assert.truthy(out:find "out: Read%-only file system" and r.code ~= 0, out)
      assert.equal("a\nb\na\nc\n", t.sh(("cd %s && ls dir new | grep '^.$'"):format(dir)))
      assert.equal("a\n", t.read_file(path "dir/a"))
    end)
  end)

  describe("submission", function()
    it("judges, and shows neither the answers nor others", function()
      t.sh(("cd %s && mkdir anna ben tests && echo 3 4 >tests/1.in && echo 7 >tests/1.out"):format(dir))
      write("anna/sum.py", "print(sum(map(int, input().split())))\n")
      local function verdict(program)
        local _, r = run("submission", { dir = path "anna", test = path "tests/1", optional_limits = not t.is_root }, program,
          { stdin = false, stdout = false, stderr = false })
        return r.verdict
      end
      assert.equal("accepted", verdict { "/usr/bin/python3", "sum.py" })
      assert.equal("wrong answer", verdict "echo 8")
      assert.equal("runtime error (exit status 2)", verdict(("ls %s %s"):format(path "ben", path "tests")))
      assert.equal("runtime error (exit status 1)", verdict "cat ../tests/1.out")
      assert.equal("time limit exceeded", (select(2, run("submission", { dir = path "anna", test = path "tests/1",
        time = "100ms", optional_limits = not t.is_root }, "while :; do :; done", { stdout = false }))).verdict)
    end)
  end)

  describe("service", function()
    it("has its own /etc, its folder and its port, and no others", function()
      if not t.needs("landlock", "perl") then return end
      t.sh(("cd %s && mkdir etc data && echo conf >etc/app.conf"):format(dir))
      local port, stop = server()
      local params = { etc = path "etc", data = path "data", port = 20000 + t.getpid() % 10000 }
      local out = run("service", params, "cat /etc/app.conf; echo x >file; echo x >/etc/app.conf; cat /etc/shadow")
      assert.truthy(out:find "^conf\n" and out:find "app.conf: Read%-only" and out:find "shadow: No such", out)
      assert.equal("x\n", t.read_file(path "data/file"))
      assert.equal("listens\n", run("service", params, listen(params.port)))
      assert.equal("Permission denied\n", run("service", params, listen(params.port + 1)))
      assert.equal("Permission denied\n", run("service", params, connect(port)))
      stop()
    end)
  end)

  describe("web", function()
    it("serves a folder and nothing else", function()
      if not t.needs("landlock", "nginx", "perl") then return end
      t.sh(("mkdir %s && echo page >%s && ln -s /etc/hostname %s"):format(path "pub", path "pub/index.html", path "pub/link"))
      local port = 30000 + t.getpid() % 10000
      local running = assert(caisson.start("web", { params = { dir = path "pub", port = port }, stdin = "null",
        stdout = "null", stderr = "null" }))
      local function get(what)
        return t.sh(([[perl -MIO::Socket::INET -e 'for (1 .. 100) {
          my $s = IO::Socket::INET->new("127.0.0.1:%d") or select(undef, undef, undef, 0.05), next;
          print $s "GET %s HTTP/1.0\r\n\r\n"; local $/; print <$s>; last }']]):format(port, what))
      end
      assert.truthy(get("/"):find "200 OK.*page\n$")
      assert.truthy(get("/link"):find "404 Not Found") -- it leads nowhere in there
      local policy = t.read_file(("/proc/%d/status"):format(running:pid()))
      assert.truthy(policy:find "CapEff:\t0000000000000000" and policy:find "Seccomp:\t2")
      running:kill "KILL"
      running:wait()
    end)
  end)

  describe("socket", function()
    it("reaches that socket, and can't make another kind", function()
      if not t.needs "perl" then return end
      local _, stop = server(path "db.sock")
      local out = run("socket", { path = path "db.sock" }, { "perl", "-MIO::Socket::UNIX", "-e", ([[
        print IO::Socket::UNIX->new(Peer => "%s")->getline; socket(S, 2, 1, 0) or print "$!\n"]]):format(path "db.sock") })
      assert.equal("hello\nOperation not permitted\n", out)
      stop()
    end)
  end)

  describe("egress", function()
    it("connects to the ports that are said, and no other; listens on none", function()
      if not t.needs("landlock", "perl") then return end
      local port, stop = server()
      assert.equal("reached\n", run("egress", { ports = tostring(port) }, connect(port)))
      assert.equal("Permission denied\n", run("egress", { ports = "1" }, connect(port)))
      assert.equal("Permission denied\n", run("egress", { ports = tostring(port) }, listen(0)))
      assert.equal("no", run("egress", {}, { "perl", "-e", "print socket(S, 16, 3, 0) ? 'yes' : 'no'" }))
      stop()
    end)
  end)

  describe("cable", function()
    it("has its address", function()
      if not t.needs "root" then return end
      local out = run("cable", { address = "10.99.9.2/24", gateway = "10.99.9.1" }, "cat /proc/net/route; ls /sys")
      assert.truthy(out:find "eth0\t00000000\t0109630A" and out:find "'/sys': No such", out)
    end)

    it("is refused to who may not touch the host's network", function()
      if t.is_root then return end
      local r, message = caisson.run("cable", { params = { address = "10.99.9.2/24" }, args = { "true" } })
      assert.is_nil(r)
      assert.truthy(message:find "link.veth" and message:find "EPERM", message)
    end)
  end)

  describe("sidecar", function()
    it("shares the network of a container, and nothing else", function()
      if not t.needs "perl" then return end
      local id = "cook" .. t.getpid()
      local box = assert(caisson.create("sandbox", { id = id, stdin = "null", stdout = "null", stderr = "null",
        args = { "perl", "-MIO::Socket::INET", "-e", [[open F, ">/tmp/mine"; my $s = IO::Socket::INET->new(Listen => 5,
          LocalPort => 8080); alarm 60; while (my $c = $s->accept) { print $c "inside\n"; close $c }]] } }))
      assert(box:start())
      local out
      for _ = 1, 100 do
        out = run("sidecar", { of = id }, connect(8080))
        if out == "reached\n" then break end
        t.core.poll({}, 0.05)
      end
      assert.equal("reached\n", out)
      assert.equal("Connection refused\n", run("sandbox", {}, connect(8080)))
      assert.truthy(run("sidecar", { of = id }, "ls /tmp/mine; kill -0 " .. box:state().pid):find "mine': No such.*No such process")
      box:delete { force = true }
    end)
  end)

  describe("pasta", function()
    it("has a network without privileges; the host's loopback is not on it", function()
      if not t.needs("pasta", "perl") then return end
      local port, stop = server()
      local outside = 21000 + t.getpid() % 10000
      local running = assert(caisson.start("pasta", { params = { ports = outside .. ":8080" }, stdin = "null", stdout = "capture",
        stderr = "stdout", args = { "perl", "-MIO::Socket::INET", "-e", ([[$| = 1; open F, "/proc/net/route"; print grep /^eth0/, <F>;
          my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8080); print IO::Socket::INET->new("127.0.0.1:%d") ? "reached" : $!;
          alarm 20; my $c = $s->accept; print $c "inside\n"; close $c]]):format(port) } }))
      local heard = t.sh(([[perl -MIO::Socket::INET -e 'for (1 .. 100) { my $s = IO::Socket::INET->new("127.0.0.1:%d");
        my $line = $s && $s->getline; if ($line) { print $line; last } select(undef, undef, undef, 0.05) }']]):format(outside))
      local server_pid = running.built.pasta.process:pid()
      local out = running:wait().stdout
      assert.equal("inside\n", heard)
      assert.truthy(out:find "eth0\t00000000" and out:find "Connection refused", out)
      assert.is_nil(t.core.lstat("/proc/" .. server_pid)) -- it went with the container
      stop()
    end)

    it("goes away with a container that fails", function()
      if not t.needs "pasta" then return end
      local recipe = assert(caisson.load "pasta")
      local r, message = caisson.run(recipe, { args = { "/nosuch" } })
      assert.is_nil(r)
      assert.truthy(message:find "/nosuch")
      assert.equal("", t.sh("pgrep -P " .. t.getpid() .. " pasta"))
    end)

    it("says what it does not understand", function()
      if not t.needs "pasta" then return end
      for _, port in ipairs { "x", "70000", "1:2:3", "1/2/3" } do
        local built, message = assert(caisson.load "pasta"):build { params = { ports = port }, args = { "true" } }
        assert.is_nil(built)
        assert.truthy(message:find("PORT:INSIDE", 1, true), message)
      end
    end)
  end)

  describe("browser", function()
    it("shows a page with its own sandbox on", function()
      if not t.needs "chromium" then return end
      t.sh("mkdir " .. path "profile")
      write("page.html", "<p id=x></p><script>document.getElementById('x').textContent = 6 * 7</script>")
      local words = { "chromium", "--headless", "--disable-gpu", "--dump-dom", "file://" .. path "page.html" }
      local out = run("browser", { dir = dir, profile = path "profile" }, words)
      assert.truthy(out:find("<p id=\"x\">42</p>", 1, true), out)
      assert.truthy(t.core.lstat(path "profile/.config/chromium"))
      assert.falsy(run("sandbox", { dir = dir, tmp = "1G" }, words):find("42</p>", 1, true)) -- where it can have none
    end)

    it("denies it what no sandbox of its own needs", function()
      local out = run("browser", {}, "ls /root; unshare -Ur true && echo made; unshare -Urm mount -t tmpfs x /tmp")
      assert.truthy(out:find "'/root': No such" and out:find "made" and not out:find "^$", out)
    end)
  end)

  describe("convert", function()
    it("turns bytes into bytes, and can do no more", function()
      local out = run("convert", {}, "gzip | gzip -d", { stdin = { data = "text" } })
      assert.equal("text", out)
      out = run("convert", {}, "ls /; kill -0 1; perl -e 'socket(S, 1, 1, 0) or print $!'")
      if t.core.landlock.abi() then assert.truthy(out:find "'/': Permission denied", out) end
      assert.truthy(out:find "kill: .-Operation not permitted" and out:find "Operation not permitted$", out)
    end)
  end)

  describe("unpack", function()
    it("unpacks there, and nowhere else", function()
      t.sh(("cd %s && mkdir a x && echo in >a/f && ln -s %s/out a/link && tar -cf ok.tar a/f a/link && mkdir out && "
        .. "tar -rf ok.tar --transform 's,a/f,a/link/evil,' a/f"):format(dir, dir))
      local out = run("unpack", { archive = path "ok.tar", dir = path "x" }, { "tar", "-xPf", "/archive" })
      assert.equal("in\n", t.read_file(path "x/a/f"))
      assert.is_nil(t.core.lstat(path "out/evil"))
      assert.truthy(out:find "evil", out)
      local _, r = run("unpack", { archive = path "ok.tar", dir = path "x", largest = "1K" }, "yes | head -c 4K >big")
      assert.truthy(r.code ~= 0)
      assert.equal(1024, t.core.lstat(path "x/big").size)
    end)
  end)

  describe("uids", function()
    it("has a range of ids, and none beyond", function()
      if not t.is_root and not t.needs "subids" then return end
      local out = run("uids", {}, "cd /tmp && touch f && chown 1000:33 f && stat -c %u:%g f; chown 70000 f; setpriv --reuid 5 id -u; "
        .. "echo x >/usr/x")
      assert.truthy(out:find "^1000:33\n" and out:find "\n5\n", out)
      assert.truthy(out:find "chown: .*Invalid argument" and out:find "Read%-only", out)
    end)
  end)

  describe("tree", function()
    it("is root in another tree", function()
      if not t.is_root and not t.needs "subids" then return end
      if not t.needs "busybox" then return end
      t.sh(("cd %s && mkdir -p r/bin r/proc r/dev r/tmp && cp $(command -v busybox) r/bin/ && ln -s busybox r/bin/sh"):format(dir))
      local out = run("tree", { root = path "r", write = true }, { "/bin/busybox", "sh", "-c",
        "busybox id -u; echo x >f; busybox chown 33 f; busybox ls -ln f; busybox ls /; busybox cat /etc/passwd" })
      assert.truthy(out:find "^0\n.* 33 .*\nbin\n", out)
      assert.truthy(out:find "can't open '/etc/passwd'", out)
      out = run("tree", { root = path "r" }, { "/bin/busybox", "sh", "-c", "echo x >g" })
      assert.truthy(out:find "Read%-only", out)
      if not t.is_root then t.sh(("caisson() { :; }; unshare -r --map-auto rm -rf %s 2>/dev/null"):format(path "r")) end
    end)
  end)

  describe("limited", function()
    it("bounds memory and processes", function()
      if not t.needs "root" then return end
      local out, r = run("limited", { memory = "16M", pids = 8 }, "echo fine")
      assert.same({ "fine\n", "exited" }, { out, r.status })
      assert.equal("memory_limit", (select(2, run("limited", { memory = "16M" }, { "tail", "/dev/zero" }))).status)
      out = run("limited", { pids = 4 }, "for i in 1 2 3 4 5 6; do sleep 1 & done")
      assert.truthy(out:find "fork", out)
    end)

    it("says what it could not bound", function()
      if t.is_root then return end
      local r, message = caisson.run("limited", { args = { "true" } })
      if r then return end -- a subtree is delegated here
      assert.truthy(message:find "cgroup", message)
      local _, result = run("limited", { optional = true }, "true")
      assert.equal("unlimited", result.memory)
    end)
  end)

  describe("landlocked", function()
    it("reads and writes what is said, and nothing else", function()
      if not t.needs "landlock" then return end
      t.sh(("cd %s && mkdir in out no && echo data >in/f && echo no >no/f"):format(dir))
      local out = run("landlocked", { read = path "in", write = path "out" }, ("cd %s; cat in/f; echo x >out/f; cat no/f; "
        .. "echo x >in/g; readlink /proc/self/ns/mnt"):format(dir))
      assert.truthy(out:find "^data\n" and out:find "no/f: Permission denied" and out:find "in/g: Permission denied", out)
      assert.equal("x\n", t.read_file(path "out/f"))
      assert.equal(t.sh "readlink /proc/self/ns/mnt", out:match "mnt:.*")
    end)
  end)

  describe("readonly", function()
    it("reads all and changes nothing", function()
      write("f", "text")
      local out = run("readonly", {}, ("cat %s; echo x >%s; mount -o remount,rw /; ls /run"):format(path "f", path "g"))
      assert.truthy(out:find "^text" and out:find "g: Read%-only file system" and out:find "mount: ", out)
      assert.is_nil(t.core.lstat(path "g"))
      if t.is_root then assert.truthy(run("readonly", {}, "cat /etc/shadow"):find "root:") end
      out = run("readonly", {}, "(: >>/proc/sys/kernel/core_pattern) 2>&1; ls /dev; echo z >/dev/null")
      assert.truthy(out:find "core_pattern: Read%-only file system" or out:find "core_pattern: Permission denied", out)
      assert.is_nil(out:find "\n[vs]da" or out:find "\nmem\n" or out:find "cannot create /dev/null")
    end)
  end)

  describe("device", function()
    it("has that one and no other", function()
      if not t.core.lstat "/dev/loop-control" and not t.core.lstat "/dev/net/tun" then return pending "no device to show" end
      local node = t.core.lstat "/dev/net/tun" and "/dev/net/tun" or "/dev/loop-control"
      local out = run("device", { path = node }, ("test -c %s && echo there; ls /dev/kmsg /dev/mem; mknod /tmp/m c 1 1"):format(node))
      assert.truthy(out:find "^there\n" and out:find "kmsg': No such" and out:find "mknod: .*not permitted", out)
      local built, message = assert(caisson.load "device"):build { params = { path = "/etc/passwd" }, args = { "true" } }
      assert.is_nil(built)
      assert.truthy(message:find "is no device")
    end)
  end)

  describe("uptime", function()
    it("adds days, inside alone", function()
      local function up(recipe, params) return tonumber(run(recipe, params, "cat /proc/uptime"):match "^[%d.]+") end
      local real = up("sandbox", {})
      assert.truthy(math.abs(up("uptime", { days = 10 }) - real - 864000) < 100)
      assert.truthy(up("sandbox", {}) - real < 100)
    end)
  end)

  describe("measure", function()
    it("says time and memory, on one processor", function()
      local out, r = run("measure", { cpu = 0 }, "cat /proc/self/personality; grep Cpus_allowed_list /proc/self/status")
      assert.equal("00040000\nCpus_allowed_list:\t0\n", out)
      assert.truthy(r.report:find "^[%d.]+ ms, [%d.]+ ms of CPU, [%d.]+ MiB$", r.report)
    end)
  end)

  describe("names", function()
    it("knows the names that are said, inside alone", function()
      assert.truthy(run("names", { hosts = "shop.example=10.1.2.3" }, "getent hosts shop.example"):find "^10.1.2.3 ")
      assert.equal(2, (select(2, run("sandbox", {}, "getent hosts shop.example"))).code)
      assert.truthy(run("names", { hosts = "a=1.2.3.4" }, "echo x >/etc/hosts"):find "Permission denied"
        or run("names", { hosts = "a=1.2.3.4" }, "echo x >/etc/hosts"):find "Read%-only")
    end)
  end)

  describe("nested", function()
    it("lets a sandbox be made inside, which the sandbox recipe denies", function()
      if not t.needs "bwrap" then return end
      local words = { "bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-all", "sh", "-c", "echo in $$; ls /root" }
      local out = run("nested", {}, words)
      assert.truthy(out:find "^in 2\n" and out:find "'/root': No such", out)
      assert.falsy(run("sandbox", {}, words):find "in 2")
    end)
  end)

  describe("opens", function()
    it("lists what was read and looked for, and below a path alone", function()
      local _, r = run("opens", { under = "/etc/" }, { "cat", "/etc/hosts", "/etc/nothing", "/proc/version" })
      assert.truthy(("\n" .. r.report):find "\nread /etc/hosts" and r.report:find "/etc/nothing", r.report)
      assert.falsy(r.report:find "/proc/version")
    end)
  end)

  describe("without", function()
    it("takes calls away, with the answer that is said", function()
      local program = { "perl", "-e", "socket(S, 1, 1, 0) or print $!" }
      assert.equal("", (run("without", { calls = "@keyring" }, program)))
      assert.equal("Operation not permitted", (run("without", { calls = "@network-io" }, program)))
      assert.equal("Function not implemented", (run("without", { calls = "socket", errno = "ENOSYS" }, program)))
      assert.equal("denied_syscall", (select(2, run("without", { calls = "socket", errno = "kill_process" }, program))).status)
    end)
  end)

  describe("shell", function()
    it("has a terminal of its own", function()
      local out = t.sh "build/bin/caisson run shell -- sh -c 'tty; ls /root' </dev/null 2>&1"
      assert.truthy(out:find "^/dev/pts/0.*'/root': No such file", out)
    end)
  end)
end)
