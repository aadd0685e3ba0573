-- Images that have something else where runtimes expect /dev, /proc and their files, and mounts over them.
local t = require "support"
local a = require "support.attacks"
local cli = require "support.cli"

-- The words of a run at a terminal of its own; the terminal and the bundle's id.
local function at_terminal(b)
  b.config.process.terminal = true
  b:save()
  return cli.at_terminal { "timeout", "-k", "1", "20", a.runtime, "--root", b.root, "run", "--bundle", b.dir,
    "attack-tty-" .. t.getpid() }
end

describe("an image's /dev", function()
  if not (t.needs "oci" and t.needs "busybox" and t.needs "userns") then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  local links = { "rm -rf dev; ln -s $S dev", "rm -rf dev; ln -s ../../../../../..$S dev", "ln -s $S x; ln -s x dev",
    "mkdir y; ln -s ../../../../../../..$S y/z; ln -s y/z dev" }

  it("that is a symlink leads nothing out (CVE-2025-24965, 2026-84042, 2026-47766, 2026-41579)", function()
    for _, link in ipairs(links) do
      -- the image's own, and a tmpfs mounted there
      for _, own in ipairs { true, false } do
        local b = a.bundle(link, S):script("ls /dev/null && echo there")
        if own then b:without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue") end
        local r = b:run()
        S:check(link)
        if r.code ~= 0 then a.refused(r) else assert.matches("there", r.out) end
        local id, failed = b:start() -- and by create and start
        S:check(link)
        if not id then a.refused(failed) end
        if id then b:delete(id) end
        S:check(link)
      end
    end
  end)

  it("leads no terminal's files out (CVE-2025-52565, 2026-88264)", function()
    for _, image in ipairs { links[1], links[2], "mkdir dev; ln -s $S/canary dev/console", "mkdir dev; ln -s ../../../../../..$S/new dev/console",
      "mkdir dev; mkdir dev/pts; ln -s $S/ptmx dev/ptmx; ln -s $S/ptmx dev/pts/ptmx; ln -s $S/canary dev/pts/0" } do
      for _, own in ipairs { true, false } do
        local b = a.bundle(image, S):script("echo said > /dev/console; cat /proc/self/mountinfo > /bin/seen; echo ended")
        if own then b:without("/dev", "/dev/shm", "/dev/mqueue") end
        local terminal = at_terminal(b)
        local status = terminal:wait()
        S:check(image)
        terminal:close()
        if status.code == 0 then
          assert.matches("said\r\nended\r\n$", terminal.all)
          -- what lies over /dev/console is a terminal's file
          for line in (t.read_file(b.rootfs .. "/bin/seen") or ""):gmatch "[^\n]+" do
            if line:find "/dev/console " then assert.matches(" %- devpts ", line) end
          end
        else
          a.refused { code = status.code or 128, out = "", err = terminal.all }
        end
      end
    end
  end)

  it("whose null is another thing is no mask (CVE-2025-31133, 2025-62161, 2026-88265)", function()
    for _, image in ipairs { "mkdir dev; ln -s ../proc/sys/kernel/core_pattern dev/null", "mkdir dev; ln -s /proc/sysrq-trigger dev/null",
      "mkdir dev; ln -s $S/canary dev/null", "mkdir dev; ln -s /tmp/other dev/null; echo other > tmp/other", "mkdir dev; echo canary of the image > dev/null", "mkdir -p dev/null" } do
      local b = a.bundle(image .. "; echo secret > tmp/secret", S):attacker():without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
      table.insert(b.config.linux.maskedPaths, "/tmp/secret")
      -- what is masked is the null device, and nothing to write to; it is opened, never written
      b:script("stat -c %t:%T /tmp/secret; cat /tmp/secret; attacker write /proc/sys/kernel/core_pattern ; true")
      local r = b:run()
      S:check(image)
      if r.code ~= 0 then a.refused(r) else assert.matches("^1:3\n/proc/sys/kernel/core_pattern [13][30]\n$", r.out) end
    end
  end)

  it("is no place for the devices of a process without a terminal", function()
    for _, image in ipairs { "mkdir dev; ln -s $S/canary dev/null", "mkdir dev; ln -s /tmp/x dev/null; echo x > tmp/x" } do
      local b = a.bundle(image, S):without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
      b:script("for n in 0 1 2; do readlink /proc/self/fd/$n; done; stat -L -c %t:%T /proc/self/fd/0")
      local r = b:run()
      S:check(image)
      if r.code ~= 0 then a.refused(r) else assert.matches("\n1:3\n$", r.out) end
    end
  end)
end)

describe("an image's /proc and /sys", function()
  if not (t.needs "oci" and t.needs "busybox" and t.needs "userns") then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  it("that are no directories are refused (CVE-2019-19921, 2023-27561, 2025-54867)", function()
    for _, name in ipairs { "proc", "sys" } do
      for _, image in ipairs { "ln -s /x NAME", "mkdir x; ln -s /x NAME", "ln -s $S NAME", "ln -s ../../../../..$S NAME",
        "mkdir -p x/y; ln -s x/y NAME", "echo file > NAME" } do
        local b = a.bundle((image:gsub("NAME", name)), S)
        local r = b:run()
        S:check(image)
        assert.matches("/" .. name, a.refused(r))
      end
    end
  end)

  -- How a fake gets between: a volume over /proc or over a part of it, a symlink of the image's that leads there.
  local fakes = {
    { "a tmpfs over /proc", { destination = "/proc", type = "tmpfs", source = "tmpfs" } },
    { "a volume over /proc", { destination = "/proc", type = "bind", source = "FAKE", options = { "rbind" } } },
    { "a volume over /proc/sys", { destination = "/proc/sys", type = "bind", source = "FAKE/sys", options = { "rbind" } } },
    { "a volume over /proc/self", { destination = "/proc/self", type = "bind", source = "FAKE/self", options = { "rbind" } } },
    { "a volume by the image's symlink", { destination = "/evil", type = "bind", source = "FAKE/sys", options = { "rbind" } },
      "ln -s proc/sys evil" },
    { "a file of procfs by the image's symlink", { destination = "/evil", type = "bind", source = "/proc/self/comm", options = { "bind" } },
      "ln -s proc/sys/net/ipv4/ip_default_ttl evil" },
    { "another /proc/sys by the image's symlink", { destination = "/evil", type = "tmpfs", source = "tmpfs" },
      "ln -s /proc/sys/net evil" },
  }

  for _, fake in ipairs(fakes) do
    it("are not what is written to where there is " .. fake[1] .. " (CVE-2019-16884, 2025-52881, 2025-62596)", function()
      local b = a.bundle(fake[3], S)
      t.sh("mkdir -p " .. b.dir .. "/fake/sys/net/ipv4 " .. b.dir .. "/fake/self/attr; cd " .. b.dir ..
        "/fake; echo fake | tee sys/net/ipv4/ip_default_ttl self/oom_score_adj self/attr/exec > /dev/null")
      local m = {}
      for k, v in pairs(fake[2]) do m[k] = v end
      m.source = m.source:gsub("FAKE", b.dir .. "/fake")
      b:mount(m):mount { destination = "/real", type = "proc", source = "proc" }
      b.config.linux.sysctl = { ["net.ipv4.ip_default_ttl"] = "77" }
      b.config.process.oomScoreAdj = 333
      b.config.linux.maskedPaths, b.config.linux.readonlyPaths = nil, nil
      local r = b:script("cat /real/sys/net/ipv4/ip_default_ttl /real/$$/oom_score_adj"):run()
      S:check(fake[1])
      assert.equal("fake\nfake\nfake\n", t.sh("cd " .. b.dir .. "/fake; cat sys/net/ipv4/ip_default_ttl self/oom_score_adj self/attr/exec"))
      if r.code ~= 0 then
        -- it is the mount that is refused
        assert.matches(fake[3] and "/evil" or "/proc", a.refused(r))
      else
        assert.equal("77\n333\n", r.out)
      end
    end)
  end

  it("do not decide whether the root is read-only (CVE-2026-115521)", function()
    -- /proc/self/fd/N as the image would have it
    local b = a.bundle("mkdir -p proc/self/fd proc/thread-self; for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do ln -s /tmp proc/self/fd/$n; done", S)
    b.config.root.readonly = true
    t.sh("mkdir " .. b.dir .. "/data")
    b:without("/proc"):mount { destination = "/data", type = "bind", source = b.dir .. "/data", options = { "rbind", "ro" } }
    b.config.linux.maskedPaths, b.config.linux.readonlyPaths = nil, nil
    t.sh("echo > " .. b.rootfs .. "/bin/attacker2")
    b:attacker():script("for f in /x /tmp/x /data/x /etc/x; do (echo > $f) 2>/dev/null && echo written $f; done; attacker write /bin/attacker2; echo end")
    local r = b:run()
    S:check()
    assert.equal("/bin/attacker2 30\nend\n", a.ran(r))
  end)

  it("give no setting of the host's away by a name, with .. in it or without a namespace for it", function()
    local function refused(name, without)
      local b = a.bundle(nil, S)
      b.config.linux.sysctl = { [name] = "1" }
      local kept = {}
      for _, n in ipairs(b.config.linux.namespaces) do if n.type ~= without then kept[#kept + 1] = n end end
      b.config.linux.namespaces = kept
      b.config.hostname = nil
      b:without("/sys", "/dev/mqueue") -- which would need their namespaces
      b.config.linux.maskedPaths, b.config.linux.readonlyPaths = nil, nil
      assert.matches("sysctl", a.refused(b:run()))
    end
    for _, name in ipairs { "kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "net..kernel.core_pattern",
      "net.ipv4/../../kernel/core_pattern", "net./../kernel.core_pattern", "/kernel/core_pattern", "kernel.shmmax/../core_pattern",
      "fs.mqueue.msg_max/../../../kernel/core_pattern", "vm.overcommit_memory", "kernel.sysrq", "kernel.modprobe", "net", "net/", "" } do
      refused(name)
    end
    refused("net.ipv4.ip_forward", "network")
    refused("kernel.msgmax", "ipc")
    refused("kernel.domainname", "uts")
    S:check()
  end)

  it("are in the container, whatever is mounted over its root", function()
    for _, destination in ipairs { "/", "/.", "/..", "//", "/tmp/.." } do
      for _, m in ipairs { { type = "tmpfs", source = "tmpfs" }, { type = "bind", source = "/", options = { "rbind", "ro" } }, { type = "bind", source = "DATA", options = { "bind" } } } do
        local b = a.bundle(nil, S):script("cat " .. S.dir .. "/canary 2>/dev/null; echo ran")
        t.sh("mkdir " .. b.dir .. "/data")
        b:mount { destination = destination, type = m.type, source = m.source == "DATA" and b.dir .. "/data" or m.source, options = m.options }
        local r = b:run()
        S:check(destination)
        if r.code ~= 0 then a.refused(r) end
        if m.source ~= "/" then assert.falsy(r.out:find(a.canary, 1, true)) end
      end
    end
  end)

  it("have nothing of the cgroups to write to, without a cgroup namespace either (CVE-2023-25809)", function()
    for _, m in ipairs { { destination = "/sys/fs/cgroup", type = "cgroup", source = "cgroup", options = { "nosuid", "noexec", "nodev", "ro" } },
      { destination = "/sys", type = "none", source = "/sys", options = { "rbind", "nosuid", "noexec", "nodev", "ro" } },
      { destination = "/sys", type = "bind", source = "/sys", options = { "rbind", "nosuid", "noexec", "nodev", "rro" } } } do
      for _, cgroupns in ipairs { false, true } do
        local b = a.bundle(nil, S):attacker()
        if m.destination == "/sys" then b:without("/sys") end
        b:mount(m):script("grep ' /sys/fs/cgroup' /proc/self/mountinfo; echo; attacker write $(find /sys/fs/cgroup -type f 2>/dev/null | head -2000)")
        if cgroupns then table.insert(b.config.linux.namespaces, { type = "cgroup" }) end
        local r = b:run()
        S:check()
        if r.code ~= 0 then
          a.refused(r)
        else
          local mounts, files = r.out:match "^(.-)\n?\n(.*)$"
          for line in mounts:gmatch "[^\n]+" do
            assert.matches("^%d+ %d+ %S+ %S+ %S+ ro[, ]", line)
          end
          for path, errno in files:gmatch "(%S+) (%d+)\n" do assert.truthy(errno == "30" or errno == "13" or errno == "2", path .. " " .. errno) end
        end
      end
    end
  end)
end)
