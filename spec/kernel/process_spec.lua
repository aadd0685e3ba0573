-- A process in a running container: each field of its specification, read back from inside.
local t = require "support"
local j = require "support.joined"
local caisson = require "caisson"
local process = require "caisson.process"
local core = t.core

-- As root without and with a user namespace; as an ordinary user with one.
for _, user in ipairs(t.is_root and { false, true } or { true }) do
  describe("a process that joins" .. (user and ", with a user namespace" or ""), function()
    if not t.needs("userns") then return end
    local running, target

    setup(function()
      running, target = j.container({ env = { FROM = "container" }, umask = "027", no_new_privs = true }, user)
    end)
    teardown(function() if running then running:close() end end)

    local function out(script, spec) return j.output(target, script, spec) end

    -- How a specification is refused: its message and errno.
    local function refused(spec)
      spec.args = spec.args or { "/bin/true" }
      local ok, message, errno, failure = j.run(target, spec)
      assert.is_nil(ok)
      assert.is_number(failure.errno)
      return message, errno
    end

    it("has its arguments, the container's environment and its own, and a PATH that is looked up inside", function()
      assert.equal("a b|c\n", assert(j.run(target, { args = { "printf", "%s|%s\n", "a b", "c" } })).stdout)
      local env = out("env", { env = { MINE = "x=y", FROM = "me" } })
      assert.truthy(env:find("\nMINE=x=y\n", 1, true) and env:find("FROM=me\n", 1, true), env)
      assert.truthy(out("env"):find("FROM=container\n", 1, true))
      assert.falsy(out("env", { env = { FROM = false } }):find("FROM", 1, true))
      -- a program that the container alone has, by the PATH of the specification
      out("mkdir -p /tmp/bin; printf '#!/bin/sh\\necho inside\\n' > /tmp/bin/only-inside; chmod 755 /tmp/bin/only-inside")
      assert.equal("inside\n", assert(j.run(target, { args = "only-inside", env = { PATH = "/tmp/bin:/bin" } })).stdout)
      local message, errno = refused { args = { "only-inside" } }
      assert.equal(2, errno)
      assert.truthy(message:find("not in PATH: only-inside", 1, true), message)
    end)

    it("has its ids and groups, in the container's user namespace, and takes no names", function()
      if user and not t.is_root then
        assert.equal("0 0\n", out("echo $(id -u) $(id -g)"))
        local message = refused { user = { uid = 0, groups = { 5 } } }
        assert.truthy(message:find("maps deny setgroups", 1, true), message)
        local _, errno = refused { user = 7 }
        assert.equal(22, errno)
      else
        assert.equal("Uid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\nGroups:\t7 8 \n",
          out("grep -E '^(Uid|Gid|Groups)' /proc/self/status", { user = { uid = 5, gid = 6, groups = { 7, 8 } } }))
        assert.equal("0 0 0\n", out("echo $(id -u) $(id -g) $(id -G)"))
        if user then -- from outside it is another's
          local p = assert(process.start(target, { args = { "sleep", "5" }, user = 5, stdin = "null" }))
          assert.matches("\nUid:\t100005\t", t.read_file("/proc/" .. p:pid() .. "/status"))
          p:close()
        end
      end
      for _, name in ipairs { "root", "0", "root:root", "1000:1000" } do
        local message, errno = refused { user = name }
        assert.equal(22, errno)
        assert.truthy(message:find("user: ids are numbers", 1, true), message)
      end
      for _, bad in ipairs { -1, 4294967295, 4294967296, 0.5, { uid = "5" }, { uid = 5, group = 3 }, { uid = 5, groups = "x" }, true } do
        assert.truthy(refused { user = bad })
      end
    end)

    it("has the home directory of its user from /etc/passwd inside, where nobody says it", function()
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write("# x\nbad\nzero:x:00x:0::/bad:/bin/sh\nroot:x:0:0:r:/home/zero:/bin/sh\n", ("y"):rep(5000), ":x:5:5::/long\n",
        "five:x:5:5::/home/five\nlast:x:6:6::relative:/bin/sh")
      f:close()
      os.execute("chmod 644 " .. path)
      local r, inside = j.container({ mounts = { { proc = "/proc" }, { bind = path, at = "/etc/passwd" } } }, user)
      assert.equal("/home/zero\n", j.output(inside, "printenv HOME"))
      assert.equal("/mine\n", j.output(inside, "printenv HOME", { env = { HOME = "/mine" } }))
      assert.equal("none\n", j.output(inside, "printenv HOME || echo none", { env = { HOME = false } }))
      -- a recipe's own program has it from there, too
      local recipe = { namespaces = { mount = true, user = user or nil }, root = { bind = "/" }, args = { "printenv", "HOME" },
        mounts = { { bind = path, at = "/etc/passwd" } }, idmap = inside.options.idmap, user = inside.options.user }
      assert.equal("/home/zero\n", assert(caisson.run(caisson.recipe(recipe), { stdout = "capture" })).stdout)
      os.remove(path)
      if t.is_root then
        assert.equal("/long\n", j.output(inside, "printenv HOME", { user = 5 }))
        for _, uid in ipairs { 6, 7 } do assert.equal("/\n", j.output(inside, "printenv HOME", { user = uid })) end
      end
      r:close()
    end)

    it("finds no home where /etc/passwd is a pipe, a link out of the root, or gone", function()
      for _, make in ipairs { "mkfifo /tmp/etc/passwd", "ln -s /proc/1/root/../../etc/passwd /tmp/etc/passwd; true", "true",
        "mkdir /tmp/etc/passwd" } do
        local r, inside = j.container({}, user)
        j.output(inside, "mkdir /tmp/etc; " .. make)
        -- a root whose /etc is that directory
        j.output(inside, "mount --bind /tmp/etc /etc")
        local home = j.output(inside, "printenv HOME")
        assert.truthy(home == "/\n" or make:find("ln") and home == "/root\n", home)
        r:close()
      end
    end)

    it("starts in its directory, which is of the root", function()
      assert.equal("/\n", out("pwd"))
      assert.equal("/tmp\n", out("pwd", { cwd = "/tmp" }))
      local here = assert(core.open("/", { "path", "directory" }))
      for fd = 3, 20 do
        local message = refused { cwd = "/proc/self/fd/" .. fd }
        assert.truthy(message:find("chdir[1] /proc/self/fd/", 1, true), message)
      end
      here:close()
      local _, errno = refused { cwd = "/nonexistent" }
      assert.equal(2, errno)
    end)

    it("reads and writes what the caller says", function()
      assert.equal("typed", assert(j.run(target, { args = { "cat" }, stdin = { data = "typed" } })).stdout)
      local got = {}
      local r = assert(j.run(target, { args = { "sh", "-c", "echo out; echo err >&2" },
        stdout = function(s) got[#got + 1] = s end, stderr = "capture" }))
      assert.same({ "out\n", "err\n" }, { table.concat(got), r.stderr })
      local path = os.tmpname()
      assert(j.run(target, { args = { "sh", "-c", "cat; echo more" }, stdin = "null", stdout = { file = path } }))
      assert.equal("more\n", t.read_file(path))
      assert.equal("more\n", assert(j.run(target, { args = { "cat" }, stdin = { file = path } })).stdout)
      os.remove(path)
      local p = assert(process.start(target, { args = { "cat" }, stdin = "pipe", stdout = "pipe" }))
      p.stdin:write("ping")
      assert.equal("ping", p.stdout:read())
      p.stdin:close()
      assert.equal(0, p:wait().code)
      for _, name in ipairs { "stdin", "stdout", "stderr" } do
        assert.truthy(refused({ [name] = true }):find(name .. ": ", 1, true))
      end
    end)

    it("has further descriptors as 3, 4, ..., and no other", function()
      local a, b = assert(core.memfd("a", "first")), assert(core.memfd("b", "third"))
      assert.equal("firstthird\n3\n5\n",
        out("cat <&3; cat <&5; echo; for i in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && echo $i; done; true", { files = { a, false, b } }))
      a:close()
      b:close()
      assert.equal("0 1 2 3", (out("echo $(ls /proc/self/fd)"):gsub("\n", "")))
      for _, bad in ipairs { 5, { "x" }, { 99999 }, { a = 1 }, { [0] = 1 } } do assert.truthy(refused { files = bad }) end
    end)

    it("can't overwrite what it was started by, which is the sealed runner", function()
      assert.truthy(out("cat /proc/self/exe > /dev/null; for p in /proc/[0-9]*; do readlink $p/exe; done"):find("/bin/", 1, true))
      local p = assert(process.start(target, { args = { "sleep", "5" }, stdin = "null", stdout = "null" }))
      assert.falsy(t.sh("readlink /proc/" .. p:pid() .. "/exe"):find("memfd", 1, true))
      p:close()
    end)

    it("has a terminal of the container's devpts, of its size", function()
      local r = assert(j.run(target, { args = { "sh", "-c", "tty; stty size; echo ok >/dev/tty; ls -l /proc/self/fd/0" },
        tty = { rows = 33, columns = 77 } }))
      local text = r.stdout:gsub("\r", "")
      assert.matches("^/dev/pts/%d+\n33 77\nok\n[^\n]*/dev/pts/%d+\n$", text)
      text = assert(j.run(target, { args = { "stty", "size" }, tty = true }, { window = { 11, 22 } })).stdout
      assert.equal("11 22\r\n", text)
      local p = assert(process.start(target, { args = { "sh", "-c", "trap 'exit 7' INT; echo ready; read x" }, tty = true }))
      assert.equal("ready\r\n", p.pty:read())
      p.pty:write("\3")
      assert.equal(7, p:wait().code)
    end)

    it("has its limits, all 16", function()
      local limits, want = {}, {}
      local has = core.attributes().rlimits
      for i, name in ipairs { "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
        "rss", "rtprio", "rttime", "sigpending", "stack" } do
        local hard = has[name].hard
        local v = hard == "max" and 1000000000 + i or math.floor(tonumber(hard) / 2)
        limits[name], want[name] = { v, hard }, { tostring(v), hard == "max" and "unlimited" or tostring(hard) }
      end
      local text = out("cat /proc/self/limits", { rlimits = limits })
      for name, label in pairs { as = "Max address space", core = "Max core file size", cpu = "Max cpu time", data = "Max data size",
        fsize = "Max file size", locks = "Max file locks", memlock = "Max locked memory", msgqueue = "Max msgqueue size",
        nice = "Max nice priority", nofile = "Max open files", nproc = "Max processes", rss = "Max resident set",
        rtprio = "Max realtime priority", rttime = "Max realtime timeout", sigpending = "Max pending signals",
        stack = "Max stack size" } do
        local soft, hard = text:match(label .. "%s+(%S+)%s+(%S+)")
        assert.same(want[name], { soft, hard }, name)
      end
      -- a limit of processes is not the creator's, who has one more to make
      assert.equal(0, assert(j.run(target, { args = { "/bin/true" }, rlimits = { nproc = 1 } })).code)
      assert.truthy(refused({ rlimits = { nofiles = 3 } }):find("nofile", 1, true))
      assert.truthy(refused({ rlimits = { nofile = { sft = 3 } } }):find("did you mean 'soft'", 1, true))
    end)

    it("has five sets of capabilities, the container's where none are said", function()
      local function sets(spec)
        return (out("grep ^Cap /proc/self/status", spec):gsub("Cap(%w+):\t0*(%x*)\n", function(k, v) return k .. "=" .. v .. " " end))
      end
      assert.equal("Inh=20 Prm=a0 Eff=80 Bnd=1a0 Amb= ", sets { securebits = { "noroot", "keep_caps", "no_setuid_fixup" },
        capabilities = { bounding = { "kill", "setuid", "setpcap" }, permitted = { "kill", "setuid" },
          effective = { "setuid" }, inheritable = { "kill" }, ambient = {} } }:gsub("Prm=%x* Eff=%x*", "Prm=a0 Eff=80"))
      assert.equal("Inh= Prm=20 Eff=20 Bnd=20 Amb= ", sets { capabilities = { "kill" } })
      assert.equal("Inh= Prm= Eff= Bnd= Amb= ", sets { capabilities = {} })
      local r, inside = j.container({ capabilities = { "chown", "kill" } }, user)
      assert.equal("CapBnd:\t0000000000000021\nCapEff:\t0000000000000021\n",
        (j.output(inside, "grep -E '^Cap(Bnd|Eff)' /proc/self/status | sort")))
      r:close()
      assert.truthy(refused({ capabilities = { "kil" } }):find("kill", 1, true))
      assert.truthy(refused { capabilities = "kill" })
    end)

    it("has no_new_privs in three states: true, false, and the container's", function()
      local function state(at, v) return j.output(at, "grep NoNewPrivs /proc/self/status", { no_new_privs = v }):match("%d") end
      assert.same({ "1", "0", "1" }, { state(target, true), state(target, false), state(target, nil) })
      local r, inside = j.container({ no_new_privs = false }, user)
      assert.same({ "1", "0", "0" }, { state(inside, true), state(inside, false), state(inside, nil) })
      r:close()
    end)

    it("has a filter of system calls: its own, the container's, or none; without no_new_privs too", function()
      local policy = require "caisson.policy"
      local no_mkdir = policy.new { default = "allow" } - { "mkdir", "mkdirat" }
      local script = "grep ^Seccomp: /proc/self/status | tr -d '\\n'; mkdir /tmp/d 2>/dev/null && echo made || echo refused; rm -rf /tmp/d"
      assert.equal("Seccomp:\t2refused\n", out(script, { seccomp = no_mkdir }))
      assert.equal("Seccomp:\t0made\n", out(script))
      if t.is_root then
        -- as those do that can't look into clone3's arguments
        assert.equal("Seccomp:\t2refused\n", out(script, { no_new_privs = false, seccomp = no_mkdir - { "clone3" } }))
      end
      local r, inside = j.container({ seccomp = no_mkdir }, user)
      assert.equal("Seccomp:\t2refused\n", j.output(inside, script))
      assert.equal("Seccomp:\t0made\n", j.output(inside, script, { seccomp = false }))
      r:close()
    end)

    it("has its umask, personality, OOM score, nice, scheduler, I/O priority, affinity", function()
      assert.equal("0027\n", out("umask"))
      assert.equal("0077\n", out("umask", { umask = "077" }))
      assert.equal("00040000\n", out("cat /proc/self/personality", { personality = { flags = { "addr_no_randomize" } } }))
      assert.equal("777\n", out("cat /proc/self/oom_score_adj", { oom_score_adj = 777 }))
      assert.equal("11\n", out("nice", { nice = 11 }))
      assert.equal("3 5\n", out("awk '{ print $41, $19 }' /proc/self/stat", { scheduler = { policy = "batch", nice = 5 } }))
      assert.equal("5\n", out("awk '{ print $41 }' /proc/self/stat", { scheduler = "idle" }))
      -- one that is not inherited
      local flags = { policy = "batch", flags = { "reset_on_fork" } }
      assert.equal("3\n", assert(j.run(target, { args = { "awk", "{ print $41 }", "/proc/self/stat" }, scheduler = flags })).stdout)
      assert.equal("idle\n", out("ionice -p $$", { ioprio = "idle" }))
      assert.equal("best-effort: prio 6\n", out("ionice -p $$", { ioprio = { class = "best_effort", level = 6 } }))
      assert.matches(":\t0\n", out("grep Cpus_allowed_list /proc/self/status", { affinity = "0" }))
      assert.truthy(refused({ affinity = "99999" }):find("affinity", 1, true))
      if t.is_root then
        assert.equal("1 10\n", out("awk '{ print $41, $40 }' /proc/self/stat", { scheduler = { policy = "fifo", priority = 10 } }))
        assert.equal("6\n", assert(j.run(target, { args = { "awk", "{ print $41 }", "/proc/self/stat" },
          scheduler = { policy = "deadline", runtime = 1000000, deadline = 10000000, period = 10000000 } })).stdout)
      end
    end)

    it("has a session, or stays in its creator's", function()
      assert.equal("yes\n", out("set -- $(cat /proc/self/stat); [ \"$6\" = \"$4\" ] && echo yes"))
    end)

    it("has a session keyring of its own", function()
      local function ring(spec) return out("grep -c _ses /proc/keys", spec) end
      if not t.read_file("/proc/keys") then return pending("no /proc/keys") end
      assert.truthy(tonumber(ring { keyring = "spec" }))
      assert.truthy(out("cat /proc/keys", { keyring = "caisson-spec" }):find("caisson-spec", 1, true))
    end)

    it("tells its exit code or signal, and what it used", function()
      local r = assert(j.run(target, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3"))
      assert.same({ "exited", 3 }, { r.status, r.code })
      assert.truthy(r.cpu_ns > 0 and r.memory_peak > 100000 and r.wall_ns > 0)
      r = assert(j.run(target, "kill -9 $$"))
      assert.same({ "signalled", 9 }, { r.status, r.signal })
      local p = assert(process.start(target, { args = { "sleep", "100" } }))
      assert.truthy(p:pid() > 0 and p.process:pidfd() >= 0)
      assert(p:kill("TERM"))
      assert.equal(15, p:wait().signal)
    end)

    it("is an error, not an object, where it was never started", function()
      for _, args in ipairs { { "/nonexistent" }, { "/etc/passwd" }, { "" } } do
        local p, message, errno, failure = process.start(target, { args = args })
        assert.is_nil(p)
        assert.is_string(message)
        assert.equal("exec", failure.step)
        assert.equal(errno, failure.errno)
      end
      local p, message = process.start(target, {})
      assert.is_nil(p)
      assert.equal("args: no program given", message)
    end)

    it("goes on without its caller where it is detached, and else ends with it", function()
      for _, detach in ipairs { true, false } do
        local pid = tonumber(t.host(([[
          local process = require "caisson.process"
          local core = require "caisson.core"
          local p = assert(process.start({ pid = %d, pidfd = assert(core.pidfd.open(%d)), options = {} },
            { args = { "sleep", "30" }, detach = %s, stdin = "null", stdout = "null", stderr = "null" }))
          print(p:pid())]]):format(target.pid, target.pid, tostring(detach))))
        local fd = core.pidfd.open(pid)
        core.poll({}, 0.05)
        local alive = fd and #(core.poll({ { fd = fd } }, 0)) == 0 and core.lstat("/proc/" .. pid .. "/fd") ~= nil
        assert.equal(detach, alive and true or false)
        if fd then
          core.pidfd.kill(fd, "KILL")
          fd:close()
        end
      end
    end)

    it("is ended and reaped with its object", function()
      local before, fds = t.count_children(), t.count_fds()
      for _ = 1, 3 do
        local p = assert(process.start(target, { args = { "sleep", "100" }, stdin = "pipe", stdout = "capture" }))
        p:close()
        assert.is_nil(process.start(target, { args = { "/nonexistent" }, stdin = "pipe", stdout = "capture" }))
        assert.is_nil(process.start(target, { args = { "true" }, user = "x", stdin = "pipe", stdout = "capture" }))
      end
      collectgarbage()
      collectgarbage()
      -- what was killed detached before may have been reaped meanwhile
      assert.is_true(t.count_children() <= before)
      assert.equal(fds, t.count_fds())
    end)

    it("refuses what it does not know, naming the nearest", function()
      assert.truthy(refused({ usr = 5 }):find("unknown option 'usr' (did you mean 'user'?)", 1, true))
      assert.has_error(function() process.start(nil, {}) end)
      assert.has_error(function() process.start(target, "x") end)
    end)

    it("does not join a container that has ended", function()
      local r, gone = j.container({}, user)
      r.process:kill("KILL")
      core.poll({ { fd = gone.pidfd } }, 5)
      local ok, message, errno = process.start(gone, { args = { "true" } })
      assert.is_nil(ok)
      assert.truthy(errno == 3 or errno == 2, message)
      r:close()
    end)
  end)
end
