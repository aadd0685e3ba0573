-- Who comes into a container, or was started by one who did: what they bring along, and what is done to them there.
local t = require "support"
local a = require "support.attacks"
local cli = require "support.cli"
local core = t.core

local function available() return t.needs "oci" and t.needs "busybox" and t.needs "userns" and t.needs "cc" end

describe("a working directory", function()
  if not available() then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  -- The caller's directories are open in all these numbers.
  local function leaked()
    local list = {}
    for _, n in ipairs { 3, 4, 5, 6, 7, 8, 9 } do list[#list + 1] = ("exec %d<%s;"):format(n, S.dir) end
    return table.concat(list, " ")
  end

  it("that is a descriptor of the host's leads nowhere (CVE-2024-21626)", function()
    for _, n in ipairs { 3, 7, 12 } do
      for image, cwd in pairs { ["true"] = "/proc/self/fd/" .. n, ["ln -s /proc/self/fd/" .. n .. " link"] = "/link",
        ["mkdir -p x; ln -s ../proc/self/fd/" .. n .. "/../../.. x/up"] = "/x/up" } do
        local b = a.bundle(image, S):script("pwd; cat canary ../canary; ls -A .")
        b.config.process.cwd = cwd
        local r = b:run { before = leaked() }
        S:check(cwd)
        assert.falsy(r.out:find(a.canary, 1, true))
        if r.code ~= 0 then a.refused(r) end
        if n == 7 then a.refused(r) end
      end
    end
  end)

  it("that is one is refused to those who join too", function()
    local b = a.bundle("ln -s /proc/self/fd/7 link", S):script("sleep 60")
    local id = assert(b:start { before = leaked() })
    for _, cwd in ipairs { "/proc/self/fd/3", "/proc/self/fd/5", "/proc/self/fd/7", "/link", "/proc/1/fd/7", "/proc/1/cwd/../../.." } do
      local r = b:exec(id, { "/bin/sh", "-c", "pwd; cat canary ../canary" }, { before = leaked(), words = { "--cwd", cwd } })
      S:check(cwd)
      assert.falsy((r.out .. r.err):find(a.canary, 1, true))
      if not cwd:find "^/proc/1/cwd" then a.refused(r) end
    end
    b:delete(id)
  end)

  it("and descriptors of the caller's are not the program's (CVE-2016-8649)", function()
    local list = "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do [ -e /proc/self/fd/$n ] && echo $n; done; ls -l /proc/self/fd /proc/1/fd"
    local b = a.bundle(nil, S):script(list .. "; sleep 60")
    local id = assert(b:start { before = leaked() })
    local seen = b:expect "\n/proc/1/fd"
    assert.matches("^0\n1\n2\n", seen)
    assert.falsy(seen:find(S.dir, 1, true))
    local joined = a.ran(b:exec(id, { "/bin/sh", "-c", list }, { before = leaked() }))
    assert.matches("^0\n1\n2\n", joined)
    assert.falsy(joined:find(S.dir, 1, true))
    b:delete(id)
  end)
end)

describe("the runtime's own program", function()
  if not available() then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  -- Copies: were the attack to succeed, it is not this machine's programs that are lost.
  local function copy(b)
    local to = b.dir .. "/program"
    t.sh(("cp -L $(command -v %s) %s; chmod 755 %s"):format(a.runtime, to, to))
    return to, function() return t.sh(("cksum < %s; cksum %s/build/*.so %s/build/caisson/* $(command -v luajit) 2>/dev/null"):format(to, cli.root, cli.root)) end
  end

  it("is not changed by a container that opens who joins it, and writes when that has ended (CVE-2019-5736)", function()
    for _, privileged in ipairs { false, true } do
      local b = a.bundle("printf '#!/proc/self/exe\\n' > bin/script; chmod 755 bin/script; ln -s /proc/self/exe bin/self", S):attacker()
      -- by itself it takes no right to ptrace; with it, more is to be seen
      local caps = b.config.process.capabilities
      if privileged then for _, set in pairs(caps) do set[#set + 1] = "CAP_SYS_PTRACE" end end
      local program, sums = copy(b)
      local before = sums()
      b.config.process.args = { "/bin/attacker", "overwrite", "#!/bin/evil\n" }
      local id = assert(b:start { runtime = program })
      b:expect "ready"
      for i = 1, 9 do
        b:exec(id, i % 3 == 0 and { "/bin/script" } or i % 3 == 1 and { "/bin/self" } or { "/bin/true" }, { runtime = program })
      end
      b:call({ "kill", id, "TERM" }, { runtime = program })
      local seen = b:expect "end %d+"
      assert.falsy(seen:find("overwritten", 1, true), seen)
      -- what is to be seen is the sealed runner, no file of the host's
      for path in seen:gmatch "opened ([^\n]+)" do assert.matches("^/memfd:", path) end
      assert.equal(before, sums())
      b:delete(id)
      S:check()
    end
  end)

  it("is not changed by an image whose entry point it is (CVE-2019-5736)", function()
    for _, args in ipairs { { "/proc/self/exe" }, { "/bin/script" }, { "/bin/self", "-c", "x" } } do
      local b = a.bundle("printf '#!/proc/self/exe\\n' > bin/script; chmod 755 bin/script; ln -s /proc/self/exe bin/self", S)
      local program, sums = copy(b)
      local before = sums()
      b.config.process.args = args
      b:run { runtime = program }
      assert.equal(before, sums())
      S:check(args[1])
    end
  end)

  it("gives the one who joins a container to nobody in there before that is the program (CVE-2016-9962)", function()
    local hostile, total = require "support.hostile", 0
    -- mm->user_ns of who joins is the host's, where root of a user namespace is nobody
    for _, userns in ipairs(t.is_root and { false, true } or { true }) do
      for _, mode in ipairs { "ptrace", "fd" } do -- all four: spec/long/attacks_exec_spec.lua
        local b = a.bundle(nil, S)
        local caps = b.config.process.capabilities
        for _, set in pairs(caps) do set[#set + 1] = "CAP_SYS_PTRACE" end
        t.sh(("cp %s %s/bin/hostile"):format(hostile.program(), b.rootfs))
        if userns then b:in_user_namespace() end
        b.config.process.args = { "/bin/hostile", mode }
        local id = assert(b:start())
        b:expect "ready"
        for _ = 1, 6 do
          b:exec(id, { "/bin/sleep", "0.02" }, { words = { "--user", t.is_root and "5:5" or "0:0" }, before = "exec 7<" .. S.dir .. ";" })
        end
        b:call { "kill", id, "TERM" }
        local seen = hostile.read(b:expect "end\n")
        total = total + #seen
        for _, s in ipairs(seen) do
          for _, fd in ipairs(s.fds) do assert.falsy(fd:find(S.dir, 1, true), s.line) end
          if s.program:find("memfd", 1, true) and userns then assert.is_false(s.done and mode ~= "signal", s.line) end
        end
        b:delete(id)
        S:check(mode)
      end
    end
    hostile.clean()
    assert.truthy(total >= 4, "it has seen " .. total)
  end)
end)

describe("a program", function()
  if not available() then return end
  teardown(a.forget)

  it("has no capabilities that it could hand on (CVE-2022-24769, 2022-27650, 2022-29162)", function()
    local b = a.bundle():script("grep CapInh /proc/self/status; sleep 60")
    local id = assert(b:start())
    assert.equal("CapInh:\t0000000000000000\n", b:expect "CapInh.*\n")
    assert.equal("CapInh:\t0000000000000000\n", a.ran(b:exec(id, { "grep", "CapInh", "/proc/self/status" })))
    assert.equal("CapInh:\t0000000000000000\n", a.ran(b:exec(id, { "grep", "CapInh", "/proc/self/status" }, { words = { "--cap", "CAP_KILL" } })))
    b:delete(id)
  end)

  it("keeps none of what its filter was installed with, without no_new_privs either", function()
    local b = a.bundle():script("grep Cap /proc/self/status; sleep 60")
    b.config.process.noNewPrivileges = false
    b.config.linux.seccomp = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "chmod" }, action = "SCMP_ACT_ERRNO" } } }
    local id = assert(b:start())
    local want = "^CapInh:\t0+\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0+\n"
    assert.matches(want, b:expect "CapAmb[^\n]*\n")
    assert.matches(want, a.ran(b:exec(id, { "grep", "Cap", "/proc/self/status" })))
    b:delete(id)
  end)

  it("is the user by number, whatever the image's passwd says (CVE-2016-3697, 2026-30892)", function()
    if not t.is_root then return pending("needs root: this user has one number alone") end
    local b = a.bundle("printf '1000:x:0:0::/:/bin/sh\\n1:x:0:0::/:/bin/sh\\n' > etc/passwd; printf '1000:x:0:\\n' > etc/group"):script(
      "id -u; id -g; id -G; sleep 60")
    b.config.process.user = { uid = 1000, gid = 1000 }
    local id = assert(b:start())
    assert.equal("1000\n1000\n1000\n", b:expect "\n%d+\n%d+\n")
    local function who(user) return b:exec(id, { "/bin/sh", "-c", "echo $(id -u):$(id -g)" }, { words = { "--user", user } }) end
    assert.equal("1000:1000\n", a.ran(who "1000:1000"))
    assert.equal("1:2\n", a.ran(who "1:2"))
    assert.matches("^1:[01]\n$", a.ran(who "1"):gsub(":1000", ":1")) -- of the gid nothing is said
    assert.equal("4294967294:7\n", a.ran(who "4294967294:7"))
    for _, bad in ipairs { "-1", "4294967295", "4294967296", "4294967297:0", "18446744073709551616", "0x0", "1e0", "1.0", " 0", "1:", "1:x",
      "1:-1", "1:2:3", ":", "root", "1:4294967296" } do
      local r = who(bad)
      if r.code == 0 then error(bad .. " was taken for " .. r.out) end
      a.refused(r)
    end
    b:delete(id)
    for _, bad in ipairs { '"0"', "-1", "4294967296", "1.5", '"1000"', "18446744073709551616" } do
      local text = a.encode(b.config):gsub('"uid":1000', '"uid":' .. bad)
      assert.matches("uid", a.refused(b:run { text = text }))
    end
  end)

  it("writes nothing into its caller's terminal (CVE-2017-5226, 2019-7303)", function()
    local b = a.bundle():attacker()
    b.config.process.args = { "/bin/attacker", "terminal", "0", "1", "2" }
    b:save()
    local function attempt(argv)
      local terminal = cli.at_terminal(argv)
      terminal:wait()
      terminal:close()
      return (terminal.all:gsub("\r", ""))
    end
    local said = attempt { a.runtime, "--root", b.root, "run", "--bundle", b.dir, "attack-sti-" .. t.getpid() }
    local lines = 0
    for _, request, errno in said:gmatch "(%d) (%x+) (%d+)\n" do
      lines = lines + 1
      assert.truthy(errno ~= "0", request .. ": " .. said)
    end
    assert.equal(9, lines, said)
    -- it is an attack: a container without a session of its own falls for it
    if (t.read_file "/proc/sys/dev/tty/legacy_tiocsti" or "1"):find "1" and t.sh "bwrap --bind / / echo yes 2>&1" == "yes\n" then
      said = attempt { "bwrap", "--bind", "/", "/", a.attacker(), "terminal", "0" }
      assert.matches("0 5412 0\n", said)
    end
  end)

  it("gets no rights over the host's cgroups by a new user namespace (CVE-2022-0492)", function()
    local b = a.bundle():attacker():script("attacker calls; attacker release")
    local out = a.ran(b:run())
    for name, errno in out:gmatch "(%S+) (%d+)\n" do
      if name == "release_agent" then assert.truthy(errno ~= "0", out) end
    end
    for _, name in ipairs { "fsopen", "mount", "bpf", "setns" } do assert.matches("\n?" .. name .. " [1-9]", out) end
  end)

  it("has no devices but those it was given, though it may make nodes", function()
    if not (t.is_root and t.needs "cgroup_v1") then return end
    for _, rules in ipairs { { { allow = false, access = "rwm" } }, false } do
      local b = a.bundle():attacker():script("mkdir /dev/x; attacker nodes /dev/x")
      for _, m in ipairs(b.config.mounts) do if m.destination == "/dev" then m.options = { "nosuid", "mode=755" } end end
      b.config.linux.resources = rules and { devices = rules } or nil
      local out = a.ran(b:run())
      for name, _, opened in out:gmatch "(%S+) (%d+) (%d+)\n" do
        assert.truthy((opened == "0") == (name == "null"), (rules and "" or "no rules: ") .. out)
      end
    end
  end)
end)

describe("a container's group", function()
  if not (available() and t.is_root and t.needs "cgroup_v1") then return end
  teardown(a.forget)

  it("is below its own, not beside it, for those who join (runc 1.5.2, crun 1.28)", function()
    local b = a.bundle():script("sleep 60")
    b.config.linux.cgroupsPath = "/attack-" .. t.getpid()
    local id = assert(b:start())
    for _, sub in ipairs { "../x", "/../x", "../attack-" .. t.getpid() .. "-beside", "a/../../x", "memory:../x", ".." } do
      local r = b:exec(id, { "/bin/cat", "/proc/self/cgroup" }, { words = { "--cgroup", sub } })
      if r.code == 0 then
        for path in r.out:gmatch "^%d+:[^:]+:([^\n]*)" do assert.matches("^/attack%-" .. t.getpid() .. "/", path) end
      else
        a.refused(r)
      end
    end
    b:delete(id)
  end)

  it("leads nowhere by .. in its path", function()
    for _, path in ipairs { "/../../attack", "../../../../../../attack", "/attack/../../../tmp/attack", "/attack-" .. t.getpid() .. "/../../x",
      "..", "/.." } do
      local b = a.bundle():script("cat /proc/self/cgroup")
      b.config.linux.cgroupsPath = path
      local r = b:run()
      if r.code ~= 0 then a.refused(r) else assert.falsy(r.out:find("..", 1, true), r.out) end
      assert.is_nil(core.lstat "/tmp/attack")
    end
    assert.equal("", t.sh("find /sys/fs/cgroup -type d -name 'attack*' ! -path '*/attack-*-*'"))
  end)
end)

describe("hooks", function()
  if not available() then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  it("have their own environment alone, never the container's (CVE-2025-23266)", function()
    local b = a.bundle("echo evil > evil.so", S)
    b.config.process.env = { "PATH=/evil", "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/", "LUA_INIT=@/evil.so", "NVIDIA_VISIBLE_DEVICES=all" }
    b.config.process.args = { "/bin/true" }
    b.config.hooks = {}
    local dir = a.tmpdir()
    t.sh("chmod 777 " .. dir)
    b:mount { destination = dir, type = "bind", source = dir, options = { "bind", "rw" } }
    for _, point in ipairs { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" } do
      b.config.hooks[point] = { { path = "/bin/sh", args = { "sh", "-c", ("cat /proc/self/environ > %s/%s"):format(dir, point) }, env = { "PATH=/bin", "MINE=" .. point } } }
    end
    a.ran(b:run())
    for point in pairs(b.config.hooks) do
      local env = t.read_file(dir .. "/" .. point) or error(point .. " has not run")
      assert.truthy(env:find("MINE=" .. point, 1, true))
      for _, name in ipairs { "LD_PRELOAD", "LD_LIBRARY_PATH", "LUA_INIT", "NVIDIA", "/evil" } do assert.falsy(env:find(name, 1, true), point .. ": " .. env) end
    end
    S:check()
  end)
end)

describe("files of the runtime's own", function()
  if not available() then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  it("are not written through a symlink: the pid file, the log, the state (nsjail's symlinked log)", function()
    local b = a.bundle(nil, S)
    t.sh(("ln -s %s/canary %s/pid; ln -s %s/canary %s/log"):format(S.dir, b.dir, S.dir, b.dir))
    local r = b:run { words = { "--pid-file", b.dir .. "/pid" } }
    S:check "--pid-file"
    if r.code ~= 0 then a.refused(r) end
    b.config.process.args = { "/no/such/program" }
    r = b:run { global = "--log " .. b.dir .. "/log" }
    S:check "--log"
    assert.truthy(r.code ~= 0)
    b.config.process.args = { "/bin/true" }
    t.sh(("mkdir -p -m 700 %s; rm -rf %s/link; ln -s %s %s/link"):format(b.root, b.root, S.dir, b.root))
    b:save()
    for _, words in ipairs { { "run", "-b", b.dir, "link" }, { "delete", "--force", "link" }, { "kill", "link", "KILL" }, { "state", "link" } } do
      b:call(words)
      S:check(words[1])
    end
    for _, id in ipairs { "../x", "..", ".", "a/b", "/x", "", ("x"):rep(5000), "a\nb" } do
      a.refused(b:call { "run", "-b", b.dir, id })
      b:call { "delete", "--force", id }
      S:check(id)
    end
    assert.truthy(core.lstat(b.root .. "/link"))
  end)
end)

describe("the command", function()
  teardown(a.forget)

  it("does nothing where it was made set-user-ID, or given capabilities (CVE-2016-8659, 2020-5291, 2026-41163)", function()
    if not t.is_root then return pending("needs root, to make one") end
    if a.is_peer then return pending("this is ours") end
    local dir = a.tmpdir()
    for _, name in ipairs { "caisson", "caisson-oci" } do
      local from = cli.root .. "/build/bin/" .. name
      if core.lstat(from) then
        local run = ("setpriv --reuid=54321 --regid=54321 --clear-groups %s/%s --version 2>&1; echo $?"):format(dir, name)
        t.sh(("cp -L %s %s/%s; chmod 755 %s/%s"):format(from, dir, name, dir, name))
        assert.matches("\n0\n$", t.sh(run))
        for _, how in ipairs { "chmod 4755", "chmod 2755", "setcap cap_net_bind_service+ep" } do
          t.sh(("chmod 755 %s/%s; %s %s/%s"):format(dir, name, how, dir, name))
          assert.matches("never with other rights than his.*\n125\n$", t.sh(run))
        end
      end
    end
  end)
end)
