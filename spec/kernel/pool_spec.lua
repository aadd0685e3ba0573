local t = require "support"
local caisson = require "caisson"
local core = t.core

-- The sandbox with a little more to attack: without its filter, with message queues, and a file that is root's.
local open_sandbox = caisson.recipe {
  extends = "sandbox",
  mounts = { { mqueue = "/dev/mqueue", flags = { "nosuid", "nodev" } }, { file = "/secret", data = "secret", mode = "0600" } },
  script = function(plan)
    while plan:find("seccomp") do plan:remove("seccomp") end
  end,
}

local function text(c, script, more)
  local spec = { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "stdout" }
  for k, v in pairs(more or {}) do spec[k] = v end
  local r = assert(c:exec(spec))
  return r.stdout, r
end

-- System calls for programs inside, by number: those that no shell command makes.
local numbers = { x64 = { mq_open = 240, add_key = 248, keyctl = 250, prlimit = 302, ioprio_set = 251 },
  arm64 = { mq_open = 180, add_key = 217, keyctl = 219, prlimit = 261, ioprio_set = 30 } }

local function luajit(code)
  local list = {}
  for name, n in pairs(numbers[jit and jit.arch or "x64"] or numbers.x64) do list[#list + 1] = ("%s = %d"):format(name, n) end
  return { "luajit", "-e", ("local ffi = require 'ffi'; ffi.cdef 'long syscall(long, ...);' local nr = { %s } "):format(table.concat(list, ", "))
    .. "local function call(n, ...) local a = { ... } for i, v in ipairs(a) do a[i] = type(v) == 'number' and ffi.cast('long', v) or v end "
    .. "return tonumber(ffi.C.syscall(n, unpack(a))) end " .. code }
end

-- All that a program could find of those before it: files with owners, modes and times, space, IPC, keys, limits.
local function picture(c)
  local parts = { (text(c, [[
    stat -c '%n %x %y %a %u %g' /tmp /dev/shm /dev /dev/pts /dev/mqueue
    ls -lRa --time-style=full-iso /tmp /dev/shm /dev /dev/mqueue | grep -v -e ' tty$' -e ' u*random$' -e ' null$'
    df --output=target,iused,used /tmp /dev/shm /dev
    cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg
    cat /proc/mounts /proc/net/unix /proc/net/tcp; hostname; ulimit -a; ulimit -Ha; nice
    grep -h -e Cpus_allowed: -e Seccomp: -e Cap -e SigIgn -e SigBlk -e NoNewPrivs -e Groups /proc/self/status
    grep -l -v -e '^sh$' -e '^grep$' /proc/[0-9]*/comm]])) }
  local r = assert(c:exec { args = luajit [[
    local buf = ffi.new("uint32_t[64]")
    for _, ring in ipairs { -4, call(nr.keyctl, 22, -1, -2) } do print(call(nr.keyctl, 11, ring, buf, 256, 0)) end
    local session = call(nr.keyctl, 11, -3, buf, 256, 0)
    print("session", session <= 4 and "no more than a link" or session)
  ]], stdout = "capture", stdin = "null", stderr = "stdout" })
  parts[2] = r.stdout
  return table.concat(parts)
end

-- The lines in which two pictures differ.
local function differences(a, b)
  local there, list = {}, {}
  for line in a:gmatch("[^\n]+") do there[line] = (there[line] or 0) + 1 end
  for line in b:gmatch("[^\n]+") do there[line] = (there[line] or 0) - 1 end
  for line, n in pairs(there) do if n ~= 0 then list[#list + 1] = (n > 0 and "- " or "+ ") .. line end end
  return table.concat(list, "\n")
end

-- What hostile programs leave, by name: a shell script, or a program.
local hostile = {
  daemons = "(setsid sleep 1000 &) ; setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 & sleep 1000' & sleep 0.05",
  ["stopped children"] = "sleep 1000 & kill -STOP $!; sh -c 'kill -STOP $$' & sleep 0.05",
  ["a tree of zombies"] = "for i in 1 2 3 4 5; do sh -c 'true & true & true & exec sleep 1000' & done; sleep 0.1",
  ["many processes"] = "i=0; while [ $i -lt 150 ]; do sleep 1000 & i=$((i+1)); done",
  files = "for d in /tmp /dev/shm; do echo x > $d/f; mkdir -p $d/a/b/c; touch $d/a/b/c/d $d/.h; ln -s / $d/l; mkfifo $d/p; done; umask 0; touch /tmp/w",
  ["odd names"] = "cd /tmp; touch -- -rf 'a b' \"$(printf 'x\\ny')\" '*'; mkdir -- \"$(printf '%0250d' 1)\"; touch \"$(printf '%0250d' 1)/$(printf '%0250d' 2)\"",
  ["directories that nobody may enter"] = "mkdir -p /tmp/a/b/c; touch /tmp/a/b/c/d; chmod 000 /tmp/a/b/c /tmp/a/b /tmp/a",
  ["a deep tree"] = "cd /tmp; i=0; while [ $i -lt 700 ]; do mkdir d && cd ./d || break; i=$((i+1)); done",
  ["many files"] = "cd /tmp; i=0; while [ $i -lt 3000 ]; do : > $i; i=$((i+1)); done; mkdir s; cd s; i=0; while [ $i -lt 3000 ]; do : > $i; i=$((i+1)); done",
  ["a full tmpfs"] = "cat /dev/zero > /tmp/full 2> /dev/null; cat /dev/zero > /dev/shm/full 2> /dev/null; true",
  ["files held open and unlinked"] = "exec 9> /tmp/held; head -c 1000000 /dev/zero >&9; rm /tmp/held; sleep 1000 <&9 & sleep 0.05",
  ["hard links and sparse files"] = "cd /tmp; truncate -s 1000000000 big; ln big b1; ln big b2; mkdir d; ln big d/b3",
  ["times of a mount's root"] = "touch -d '2001-01-01' /tmp; touch -a -d '2002-02-02' /dev/shm; true",
  ["System V IPC"] = "ipcmk -M 65536; ipcmk -M 100; ipcmk -S 3; ipcmk -Q; ipcmk -Q",
  ["message queues"] = luajit [[ assert(call(nr.mq_open, "left", 66, 384, ffi.cast("void *", 0)) >= 0); assert(call(nr.mq_open, "other", 66, 0, ffi.cast("void *", 0)) >= 0) ]],
  ["keys in each keyring"] = luajit [[
    for i, ring in ipairs { -3, -4, -5 } do
      local rc = call(nr.add_key, "user", "left" .. i, "payload", 7, ring)
      assert(rc > 0 or ffi.errno() == 1 or ffi.errno() == 38)
    end
    local persistent = call(nr.keyctl, 22, -1, -3)
    assert(persistent < 0 or call(nr.add_key, "user", "left", "payload", 7, persistent) > 0) ]],
  ["another priority"] = "renice -n 5 -p 1; ionice -c 3 -p 1; taskset -p 1 1; sleep 0",
  ["its own limits"] = "ulimit -n 10; ulimit -u 500; ulimit -f 1; nice -n 10 sleep 0",
}

describe("caisson.pool", function()
  if not t.is_root and not t.needs("userns") then return end
  if not t.needs("luajit") then return end
  local pool

  setup(function() pool = assert(caisson.pool { recipe = open_sandbox, size = 2, params = { tmp = 4194304 } }) end)
  teardown(function() pool:close() end)

  describe("reset", function()
    local c, before

    -- One container for all of them: each finds what the one before has left, if anything.
    setup(function()
      c = assert(pool:get())
      before = picture(c)
      assert.truthy(before:find("/proc/1/comm", 1, true))
      assert.truthy(before:find("total 0", 1, true))
    end)
    teardown(function() c:destroy() end)

    it("finds nothing where nothing is left", function()
      assert.same({ processes = 0, files = 0, ipc = 0, keys = 0 }, c:reset())
      assert.equal("", differences(before, picture(c)))
    end)

    for name, program in pairs(hostile) do
      it("leaves nothing of " .. name, function()
        local args = type(program) == "string" and { "/bin/sh", "-c", program } or program
        local r = assert(c:exec { args = args, stdin = "null", stdout = "capture", stderr = "stdout" })
        assert.equal("exited", r.status)
        assert.equal("", r.stdout:match("Assertion failed.*") or r.stdout:match("assertion failed.*") or "")
        assert(c:reset())
        assert.equal("", differences(before, picture(c)))
      end)
    end

    it("tells what it has found", function()
      text(c, "cd /tmp; mkdir d; touch d/a d/b; ipcmk -M 100; ipcmk -Q")
      local r = assert(c:reset())
      assert.same({ 3, 2 }, { r.files, r.ipc })
      if not t.is_root then
        assert(c:exec { args = luajit [[ assert(call(nr.add_key, "user", "x", "y", 1, -4) > 0) ]], stdin = "null" })
        assert.equal(1, assert(c:reset()).keys)
      end
      assert.equal("", differences(before, picture(c)))
    end)

    it("finds message queues where no mount shows them", function()
      local p = assert(caisson.pool { recipe = caisson.recipe { extends = open_sandbox,
        script = function(plan) plan:remove("mount.mqueue") end } })
      local other = assert(p:get())
      local open = luajit [[ print(call(nr.mq_open, "left", 0, 0, ffi.cast("void *", 0)) >= 0) ]]
      local make = luajit [[ assert(call(nr.mq_open, "left", 66, 384, ffi.cast("void *", 0)) >= 0) ]]
      assert.equal(0, assert(other:exec { args = make }).code)
      assert.equal("true\n", (text(other, "", { args = open })))
      assert.equal(1, assert(other:reset()).files)
      assert.equal("false\n", (text(other, "", { args = open })))
      other:destroy()
    end)

    it("destroys a container that can't be proved clean: a file that the host holds", function()
      local other = assert(pool:get())
      text(other, "head -c 100000 /dev/zero > /tmp/f")
      local fd = assert(other:open("/tmp/f"))
      local report, message, errno = other:reset()
      assert.same({ nil, 16 }, { report, errno })
      assert.truthy(message:find("held open by somebody outside", 1, true), message)
      fd:close()
      assert.is_nil(core.lstat("/proc/" .. other:pid() .. "/root"))
      assert.is_nil((other:ping()))
    end)

    it("the same: connections that outlive their processes", function()
      if not t.needs("perl") then return end
      local other = assert(pool:get())
      local out = text(other, [[perl -MIO::Socket::INET -e '
        my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die; my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1",
        PeerPort => $s->sockport) or die; my $a = $s->accept; close $c; close $a; print "closed"']])
      assert.equal("closed", out)
      local report, message = other:reset()
      assert.is_nil(report)
      assert.truthy(message:find("sockets of the last run still live", 1, true), message)
    end)

    it("the same: what a program of the agent's own user has changed for good", function()
      local other = assert(pool:get())
      local out = text(other, "true", { args = luajit [[
        local limit = ffi.new("uint64_t[2]", 10, 10)
        print(call(nr.prlimit, 1, 7, limit, ffi.cast("void *", 0))) ]] })
      local report, message = other:reset()
      if t.is_root then -- the agent is another user
        assert.equal("-1\n", out)
        assert.truthy(report)
        other:destroy()
      else
        assert.equal("0\n", out)
        assert.is_nil(report)
        assert.truthy(message:find("can't be put back", 1, true), message)
      end
    end)

    it("the same: what was there before the first run, and is not as it was", function()
      local other = assert(pool:get())
      text(other, "chmod 777 /dev; rm /dev/stdin; touch /dev/new")
      local report, message = other:reset()
      if t.is_root then
        assert.equal(0, report.files)
        other:destroy()
      else
        assert.is_nil(report)
        assert.truthy(message:find("/dev", 1, true) or message:find("changed by a run", 1, true), message)
      end
    end)

    it("is refused where programs may change more than files", function()
      local p = assert(caisson.pool { recipe = caisson.recipe { extends = "sandbox", capabilities = { "sys_admin" } } })
      local other = assert(p:get())
      assert.equal("ok\n", (text(other, "echo ok")))
      local report, message, errno = other:reset()
      assert.same({ nil, 1 }, { report, errno })
      assert.truthy(message:find("sys_admin", 1, true), message)
      assert.is_true(other.destroyed)
      p:close()
    end)
  end)

  describe("open", function()
    local c
    before_each(function() c = assert(pool:get()) end)
    after_each(function() c:destroy() end)

    it("hands over files inside, in the program's name", function()
      local fd = assert(c:open("/tmp/in", { "write", "create" }, 384))
      assert(fd:write("input"))
      fd:close()
      assert.equal(("input%d 600"):format(t.is_root and 65534 or core.identity().uid), (text(c, "cat /tmp/in; stat -c '%u %a' /tmp/in")):gsub("\n", ""))
      text(c, "echo result > /tmp/out; mkdir /tmp/dir")
      local list = assert(c:open { "/tmp/out", { path = "tmp/dir", flags = { "read", "directory" } } })
      assert.equal("result\n", list[1]:read())
      for _, f in ipairs(list) do f:close() end
      local none, message, errno = c:open { "/tmp/out", "/tmp/none" }
      assert.same({ nil, "open /tmp/none: No such file or directory (ENOENT)", 2 }, { none, message, errno })
    end)

    it("stays in the container, whatever links say", function()
      text(c, "ln -s /etc/passwd /tmp/p; ln -s ../../../../../../etc/passwd /tmp/q; ln -s /proc/1/mem /tmp/m; ln -s /proc/self/fd/3 /tmp/fd; ln -s /proc/1/root/etc/passwd /tmp/r")
      for _, name in ipairs { "/tmp/p", "/tmp/q" } do
        local fd = assert(c:open(name))
        assert.truthy(fd:read():find("^user:x:"))
        fd:close()
      end
      for _, name in ipairs { "/tmp/m", "/tmp/fd", "/tmp/r", "/proc/1/environ", "/proc/self/mem", "/proc/self/status" } do
        local fd, message = c:open(name)
        assert.is_nil(fd, name)
        assert.truthy(message:find(name, 1, true))
      end
    end)

    it("may not read what the program may not", function()
      text(c, "ln -s /secret /tmp/s")
      local fd, _, errno = c:open("/tmp/s")
      if t.is_root then
        assert.same({ nil, 13 }, { fd, errno })
        assert.equal("", (text(c, "cat /tmp/s 2> /dev/null")))
      else
        assert.truthy(fd) -- who runs it is who made it
        fd:close()
      end
      assert.is_nil((c:open("/usr/new", { "write", "create" })))
    end)

    it("takes no fifo, device or socket, and does not wait for one", function()
      text(c, "mkfifo /tmp/fifo")
      for _, name in ipairs { "/tmp/fifo", "/dev/null", "/dev/pts/ptmx" } do
        local fd, message, errno = c:open(name)
        assert.same({ nil, 1 }, { fd, errno }, message)
      end
    end)

    it("works while the program runs", function()
      local running = assert(c:start { args = { "/bin/sh", "-c", "echo now > /tmp/n; sleep 100" }, stdin = "null" })
      local fd
      for _ = 1, 200 do
        fd = c:open("/tmp/n")
        if fd then break end
        core.poll({}, 0.01)
      end
      assert.truthy(fd)
      fd:close()
      local done, _, errno = c:delete("/tmp/n")
      assert.same({ nil, 16 }, { done, errno })
      running:kill("KILL")
      assert.equal(9, running:wait().signal)
      assert.equal(1, c:delete("/tmp/n"))
    end)
  end)

  describe("delete", function()
    it("removes a file or a tree, and follows no link", function()
      local c = assert(pool:get())
      text(c, "cd /tmp; mkdir -p a/b; touch a/b/c a/d f; chmod 000 a; ln -s /dev/shm l; touch /dev/shm/keep")
      assert.equal(4, c:delete("/tmp/a"))
      assert.equal(1, c:delete("tmp/f"))
      assert.is_nil((c:delete("/tmp/l/keep")))
      assert.equal(1, c:delete("/tmp/l"))
      assert.equal("keep\n", (text(c, "ls /tmp /dev/shm | grep keep")))
      for _, path in ipairs { "/", "/tmp", "/tmp/..", "/tmp/none", "/proc/1", "/usr/bin/env", ".." } do
        assert.is_nil((c:delete(path)), path)
      end
      assert.equal("ok\n", (text(c, "test -x /usr/bin/env && echo ok")))
      c:destroy()
    end)
  end)

  describe("exec", function()
    local c
    setup(function() c = assert(pool:get()) end)
    teardown(function() c:destroy() end)

    it("gives the result that caisson.run gives", function()
      local spec = { args = { "/bin/sh", "-c", "cat; echo err >&2; echo $X; exit 3" }, stdin = { data = "in " }, stdout = "capture",
        stderr = "capture", env = { X = "y" } }
      local here, there = assert(c:exec(spec)), assert(caisson.run(open_sandbox, spec))
      for _, k in ipairs { "status", "code", "signal", "stdout", "stderr", "oom", "cpu_from", "memory_from" } do
        assert.equal(there[k], here[k], k)
      end
      for k in pairs(there) do assert.truthy(here[k] ~= nil, k) end
      assert.truthy(here.cpu_ns > 0 and here.wall_ns > 0 and here.setup_ns > 0 and here.memory_peak > 0)
    end)

    it("keeps limits of time, CPU and output", function()
      assert.equal("time_limit", assert(c:exec { args = { "sleep", "100" }, limits = { time = 0.1 } }).status)
      local r = assert(c:exec { args = { "/bin/sh", "-c", "while :; do :; done" }, limits = { cpu = 0.1, time = 20 } })
      assert.equal("time_limit", r.status)
      assert.truthy(r.cpu_ns > 0.1e9 and r.cpu_ns < 5e9)
      r = assert(c:exec { args = { "yes" }, stdout = "capture", limits = { output = 1000, time = 20 } })
      assert.same({ "output_limit", 1000 }, { r.status, #r.stdout })
    end)

    it("counts each run by itself", function()
      local heavy = assert(c:exec { args = { "/bin/sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done" } })
      local light = assert(c:exec { args = { "true" } })
      assert.truthy(light.cpu_ns < heavy.cpu_ns / 2, light.cpu_ns .. " " .. heavy.cpu_ns)
    end)

    it("streams to functions and pipes, and runs in a terminal", function()
      local chunks = {}
      assert(c:exec { args = { "echo", "hi" }, stdout = function(s) chunks[#chunks + 1] = s end })
      assert.equal("hi\n", table.concat(chunks))
      local running = assert(c:start { args = { "cat" }, stdin = "pipe", stdout = "capture" })
      assert(running.stdin:write("through"))
      running.stdin:close()
      assert.equal("through", running:wait().stdout)
      local p = assert(caisson.pool { recipe = caisson.recipe { extends = "sandbox", tty = { rows = 10, columns = 40 } } })
      local other = assert(p:get())
      local r = assert(other:exec { args = { "/bin/sh", "-c", "tty; stty size" }, stdout = "capture" })
      assert.equal("/dev/pts/0\r\n10 40\r\n", r.stdout)
      other:destroy()
    end)

    it("says which step of the recipe failed, and goes on", function()
      local r, message, errno, failure = c:exec { args = { "/no/such" } }
      assert.is_nil(r)
      assert.same({ 2, "exec", "failed" }, { errno, failure.step, failure.status })
      assert.truthy(message:find("/no/such", 1, true))
      assert.truthy(failure.at:find("pool_spec.lua", 1, true) or failure.at:find("sandbox.lua", 1, true), failure.at)
      assert.equal("ok\n", (text(c, "echo ok")))
    end)

    it("refuses what it does not know, blaming the caller", function()
      assert.has_error(function() c:exec { arg = { "x" } } end, "exec: unknown option 'arg' (did you mean 'args'?)")
      assert.has_error(function() c:exec { args = { "true" }, limits = { tiem = 1 } } end)
      assert.has_error(function() c:exec {} end)
      assert.equal("ok\n", (text(c, "echo ok")))
    end)
  end)

  describe("its containers", function()
    it("are made in advance, handed out once, and made again", function()
      assert.truthy(pool:fill() >= 0)
      assert.equal(2, #pool.ready)
      local a, b, c = assert(pool:get()), assert(pool:get()), assert(pool:get())
      assert.falsy(a == b or b == c or a == c)
      assert.is_true(a:ping())
      assert.equal(2, pool:fill())
      text(a, "touch /tmp/x")
      pool.ready[1]:destroy()
      table.remove(pool.ready, 1)
      assert.is_true(pool:put(a))
      assert.has_error(function() pool:put(a) end, "the container has been given back already")
      assert.equal("", (text(pool.ready[2], "ls /tmp")))
      b:destroy()
      assert.same({ nil, "the container is destroyed", 2 }, { pool:put(b) })
      c:destroy()
    end)

    it("that have died in the pool are not handed out", function()
      pool:fill()
      for _, c in ipairs(pool.ready) do c.process:kill("KILL") end
      local c = assert(pool:get())
      assert.equal("ok\n", (text(c, "echo ok")))
      c:destroy()
    end)

    it("die with their host, and leave nothing open in it", function()
      pool:fill()
      local before = t.count_fds()
      for _ = 1, 3 do
        local r = assert(pool:run { args = { "true" } })
        assert.equal(0, r.code)
        local c = assert(pool:get())
        c:exec { args = { "/no" } }
        c:open("/no")
        pool:put(c)
      end
      assert.equal(2, #pool.ready)
      assert.equal(before, t.count_fds())
      local output = t.host([[
        local caisson = require "caisson"
        local pool = assert(caisson.pool { recipe = "sandbox", size = 2 })
        assert(pool:fill())
        for _, c in ipairs(pool.ready) do io.write(c:pid(), " ") end
        pool.ready[1]:start { args = { "sleep", "100" }, stdin = "null", stdout = "null", stderr = "null" }
        io.flush()
        os.execute("kill -9 $PPID")]])
      local n = 0
      for pid in output:gmatch("%d+") do
        n = n + 1
        for _ = 1, 100 do
          if not core.lstat("/proc/" .. pid) then break end
          core.poll({}, 0.02)
        end
        assert.is_nil((core.lstat("/proc/" .. pid)))
      end
      assert.equal(2, n)
    end)

    it("share no writable file of the host's, unless that is meant", function()
      local dir = t.sh("mktemp -d"):match("%S+")
      t.sh("chmod 777 " .. dir)
      local r = caisson.recipe { extends = "sandbox", mounts = { { bind = dir, at = "/work", writable = true } } }
      local p = assert(caisson.pool { recipe = r })
      local c, message, errno = p:get()
      assert.same({ nil, 1 }, { c, errno })
      assert.truthy(message:find("/work", 1, true), message)
      assert.has_error(function() caisson.pool { recipe = r, shared = "no" } end,
        "pool: option 'shared': boolean expected, got string")
      p = assert(caisson.pool { recipe = r, shared = true })
      c = assert(p:get())
      assert.same({ "/work" }, c.shared)
      text(c, "echo kept > /work/f; touch /tmp/x")
      assert.equal(1, assert(c:reset()).files)
      assert.equal("kept\n", t.read_file(dir .. "/f"))
      c:destroy()
      t.sh("rm -rf " .. dir)
    end)

    it("need a pid namespace, and a recipe whose program's part the agent can do", function()
      local p, message = caisson.pool { recipe = caisson.recipe { namespaces = { uts = true } } }
      assert.is_nil(p)
      assert.truthy(message:find("pid namespace", 1, true), message)
      p, message = caisson.pool { recipe = caisson.recipe { extends = "sandbox", hooks = { startContainer = function() end } } }
      assert.is_nil(p)
      assert.truthy(message:find("Lua function", 1, true), message)
      assert.has_error(function() caisson.pool { recipe = "sandbox", sise = 1 } end, "pool: unknown option 'sise' (did you mean 'size'?)")
      assert.has_error(function() caisson.pool { recipe = "sandbox", size = -1 } end)
    end)

    it("have their hooks called around their life", function()
      local seen = {}
      local function note(state) seen[#seen + 1] = state.status end
      local p = assert(caisson.pool { recipe = caisson.recipe { extends = "sandbox",
        hooks = { createRuntime = note, poststart = note, poststop = note } } })
      local c = assert(p:get())
      assert(c:exec { args = { "true" } })
      assert.same({ "created", "running" }, seen)
      assert.is_true(c:destroy())
      assert.same({ "created", "running", "stopped" }, seen)
    end)
  end)

  it("counts no time of the host's for a program that has ended", function()
    local p = assert(caisson.pool { recipe = "sandbox" })
    local c = assert(p:get())
    local start = os.clock()
    while os.clock() - start < 0.3 do end
    local running = assert(c:start { args = { "/bin/true" }, stdin = "null", stdout = "null", stderr = "null" })
    core.poll({}, 0.2) -- it is over, and nobody has looked
    local ns = running.process:cpu_ns()
    assert.truthy(ns == nil or ns < 0.1e9, tostring(ns))
    assert.equal(0, running:wait().code)
    c:destroy()
  end)

  it("runs the judge recipe: many answers in one container", function()
    local p = assert(caisson.pool { recipe = "judge", params = { dir = "/usr/bin", time = 0.2, wall = 5,
      optional_limits = not t.is_root } })
    local c = assert(p:get())
    local file = assert(c:open("/tmp/answer", { "write", "create" }, 493))
    file:write("#!/bin/sh\nread a b; [ $a = loop ] && while :; do :; done; echo $((a + b)) | tee -a /tmp/log\n")
    file:close()
    local function judge(input) return assert(c:exec { args = { "/tmp/answer" }, stdin = { data = input } }) end
    for i = 1, 5 do
      local r = judge(i .. " 2\n")
      assert.same({ "accepted", i + 2 .. "\n" }, { r.verdict, r.stdout })
    end
    assert.equal("time limit exceeded", judge("loop 1\n").verdict)
    local log = assert(c:open("/tmp/log"))
    assert.equal("3\n4\n5\n6\n7\n", log:read())
    log:close()
    assert.equal(2, assert(c:reset()).files)
    c:destroy()
  end)

  it("limits memory and processes, and tells of both by run", function()
    if not t.needs("root", "cgroup_v1") then return end
    local p = assert(caisson.pool { recipe = "judge", params = { memory = 33554432, pids = 24, time = 20 } })
    local c = assert(p:get())
    local function judge(script) return assert(c:exec { args = { "/bin/sh", "-c", script } }) end
    local r = judge("head -c 8000000 /dev/zero | tail -c 8000000 > /dev/null")
    assert.equal("accepted", r.verdict)
    assert.truthy(r.memory_peak > 8000000 and r.memory_peak < 33554432, r.memory_peak)
    r = judge("x=$(head -c 100000000 /dev/zero | tr '\\0' a)")
    assert.equal("memory limit exceeded", r.verdict)
    r = judge("true")
    assert.equal("accepted", r.verdict)
    assert.truthy(r.memory_peak < 8000000, r.memory_peak)
    r = judge("b() { b | b & }; b; sleep 0.3") -- not more than 24
    assert.truthy(r.status)
    assert(c:reset())
    r = judge("kill -SEGV $$")
    assert.equal("runtime error (signal 11)", r.verdict)
    assert.truthy(r.report:find("ms CPU", 1, true))
    c:destroy()
  end)
end)
