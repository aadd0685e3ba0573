local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

local function mounts_of(steps, opts)
  opts = opts or {}
  opts.script = "cat /proc/self/mountinfo"
  return m.mounts(assert(m.run(steps, opts)).output)
end

-- A directory that can be a root: the host's system bound into it comes from m.system.
local function image()
  local d = m.tmpdir()
  t.sh("cd " .. d .. "; mkdir data proc; echo kept > data/file; chmod -R a+rX .")
  return d
end

describe("root.tmpfs", function()
  it("has its size, mode, flags and options", function()
    local list = mounts_of({}, { root = step("root.tmpfs",
      { size = 1048576, nr_inodes = 500, mode = "0711", flags = { "noexec" },
      options = { "inode64" } }) })
    assert.truthy(list["/"].super:find(",size=1024k,", 1, true))
    assert.truthy(list["/"].super:find(",nr_inodes=500,", 1, true))
    assert.truthy(list["/"].super:find(",mode=711,", 1, true))
    assert.truthy(list["/"].flags:find(",noexec,", 1, true))
    list = mounts_of {}
    assert.truthy(list["/"].flags:find("nosuid,nodev", 1, true))
  end)

  it("needs a mount namespace of its own, as all that mounts does", function()
    local before = t.read_file("/proc/self/mountinfo")
    for _, s in ipairs { step("root.tmpfs", {}), step("root.bind", "/usr"), step("mount.tmpfs", "/mnt"),
      step("mask", "/mnt"),
      step("mount.bind", { source = "/usr", target = "/mnt" }), step("readonly", "/mnt"), step("root.readonly", {}),
      step("mount.propagation", { propagation = "private" }) } do
      local _, message, errno = t.run { s }
      assert.equal(E.EPERM, errno)
      assert.truthy(not t.is_root or message:find("no mount namespace of its own", 1, true), message)
      _, message, errno = t.run { t.step(s.step, s.options, { side = "parent" }), step("clone", { "uts" }) }
      assert.equal(E.EPERM, errno, message)
    end
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)
end)

describe("root.bind", function()
  teardown(m.clean)

  it("is a directory of the host's, with flags", function()
    local d = image()
    local list = mounts_of({}, { root = step("root.bind", { source = d, flags = { "nosuid", "nodev" } }) })
    assert.truthy(list["/"].flags:find("nosuid,nodev", 1, true))
    assert.equal(d:match("/[^/]*$"), list["/"].root:match("/[^/]*$"))
    local r = assert(m.run({ step("file", { path = "/made", data = "in the image" }) },
      { root = step("root.bind", { source = d }), script = "cat /data/file /made" }))
    assert.equal("kept\nin the image", r.output)
    assert.equal("in the image", t.read_file(d .. "/made"))
  end)

  it("takes the mounts below with it where it is recursive", function()
    local r = assert(m.run({}, { root = step("root.bind", { source = "/", recursive = true, flags = { "rro" } }),
      system = false, script = "test -e /proc/self/stat && echo proc; (> /.not-there) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("proc\nRead-only file system\n", r.output)
  end)

  it("names the source that is missing, or is no directory", function()
    local _, message, errno = m.run({}, { root = step("root.bind", { source = "/no/such" }) })
    assert.equal(E.ENOENT, errno)
    assert.truthy(message:find("root.bind[1] /no/such: source /no/such: No such file", 1, true), message)
    _, message, errno = m.run({}, { root = step("root.bind", { source = "/etc/passwd" }) })
    assert.equal(E.ENOTDIR, errno, message)
    _, message, errno = m.run({}, { root = step("root.bind", {}) })
    assert.equal(E.EINVAL, errno, message)
    assert.has_error(function() t.core.check("root.bind", { source = "/", readonly = true }) end)
  end)

  it("may wait for the switch in another place", function()
    local d = image()
    assert(m.run({}, { root = step("root.bind", { source = d, at = d }) }))
    local _, message, errno = m.run({}, { root = step("root.bind", { source = d, at = "/no/such" }) })
    assert.equal(E.ENOENT, errno)
    assert.truthy(message:find("where the new root waits", 1, true), message)
  end)
end)

describe("pivot_root", function()
  teardown(m.clean)

  it("leaves no mount of the host's behind", function()
    local before = t.read_file("/proc/self/mountinfo")
    for _, user in ipairs { false, true } do
      local list = mounts_of({ step("mount.tmpfs", "/tmp") }, { user = user })
      local places = {}
      for _, e in ipairs(list) do places[#places + 1] = e.at end
      table.sort(places)
      local expected = { "/", "/bin", "/etc", "/lib", "/lib64", "/proc", "/tmp", "/usr" }
      if not t.core.open("/lib64", "path") then table.remove(expected, 5) end
      assert.same(expected, places)
    end
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)

  it("needs a new root", function()
    local run = m.namespaces()
    run[#run + 1] = step("pivot_root", {})
    local _, message, errno = t.run(run)
    assert.equal(E.EBADF, errno)
    assert.truthy(message:find("root.tmpfs or root.bind come first", 1, true), message)
    assert.has_error(function() t.core.check("pivot_root", { put_old = "/x" }) end)
  end)
end)

describe("root.move", function()
  it("moves the new root over the old one, for an initramfs that can't be pivoted", function()
    local before = t.read_file("/proc/self/mountinfo")
    local run = m.namespaces()
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("mkdir", "/only/here")
    run[#run + 1] = step("root.move", {})
    local r = assert(t.run(run, { script = "ls -d /only/here; test -e /root && echo old; pwd; "
      .. "cat /proc/self/mountinfo" }))
    assert.truthy(r.output:find("^/only/here\n/\n"), r.output)
    for _, e in ipairs(m.mounts(r.output)) do assert.falsy(e.at:find("^/sys") or e.at:find("^/run")) end
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)
end)

describe("root.readonly", function()
  teardown(m.clean)

  it("makes the root read-only at the end, and not what is mounted in it", function()
    for _, user in ipairs { false, true } do
      local r = assert(m.run({ step("mkdir", "/d"), step("mount.tmpfs", "/rw") },
        { user = user, last = { step("root.readonly", {}) },
        script = "(> /x) 2>&1 | grep -o 'Read-only.*'; (> /d/x) 2>&1 | grep -o 'Read-only.*'; > /rw/x && echo wrote" }))
      assert.equal("Read-only file system\nRead-only file system\nwrote\n", r.output)
    end
  end)

  it("adds flags on request, before the switch or after", function()
    local list = mounts_of({}, { root = step("root.tmpfs", { flags = {} }),
      last = { step("root.readonly", { flags = { "nosuid", "nodev" } }) } })
    assert.equal(",ro,nosuid,nodev,relatime,", list["/"].flags)
    list = mounts_of({ step("root.readonly", {}) }, { root = step("root.tmpfs", { flags = { "noexec" } }) })
    assert.equal(",ro,noexec,relatime,", list["/"].flags)
  end)

  it("makes an image read-only for the container alone", function()
    local d = image()
    local r = assert(m.run({}, { root = step("root.bind", { source = d, flags = { "nodev" } }),
      last = { step("root.readonly", { flags = { "nosuid" } }) },
      script = "(> /data/file) 2>&1 | grep -o 'Read-only.*'; grep ' / / ' /proc/self/mountinfo | cut -d' ' -f6; "
        .. "grep -m1 -o ' / ro[^ ]*' /proc/self/mountinfo" }))
    assert.truthy(r.output:find("^Read%-only file system\n.*ro,nosuid,nodev"), r.output)
    assert.equal("kept\n", t.read_file(d .. "/data/file"))
    t.sh("echo more >> " .. d .. "/data/file")
    assert.equal("kept\nmore\n", t.read_file(d .. "/data/file"))
  end)

  it("keeps the flags that a user namespace locks", function()
    -- the root of an inner user namespace is a mount that an outer one has restricted
    if not t.needs("root") then return end
    local d = image()
    local run = m.namespaces()
    run[#run + 1] = step("mount.bind", { source = d, target = "/mnt", flags = { "nosuid", "nodev", "noexec" } })
    run[#run + 1] = step("namespace.unshare", { "user", "mount" })
    run[#run + 1] = step("root.bind", { source = "/mnt" })
    run[#run + 1] = step("mount.bind", { source = "/usr", target = "/usr" })
    for _, l in ipairs { "bin", "lib", "lib64" } do run[#run + 1] = step("symlink",
      { target = "usr/" .. l, at = "/" .. l }) end
    run[#run + 1] = step("mount.bind", { source = "/proc", target = "/proc", recursive = true })
    run[#run + 1] = step("pivot_root", {})
    run[#run + 1] = step("root.readonly", {})
    local list = m.mounts(assert(t.run(run, { script = "cat /proc/self/mountinfo" })).output)
    assert.truthy(list["/"].flags:find(",ro,nosuid,nodev,noexec,", 1, true), list["/"].flags)
    run[#run] = step("root.readonly", { flags = { "exec" } })
    local _, message, errno = t.run(run)
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("locked", 1, true), message)
  end)
end)

describe("mask", function()
  teardown(m.clean)

  it("covers files with the null device and directories with one empty read-only tmpfs", function()
    for _, user in ipairs { false, true } do
      local r = assert(m.run({ step("file", { path = "/secret", data = "secret" }), step("mkdir", "/a"),
        step("file", { path = "/a/x", data = "" }),
        step("mkdir", "/b"), step("file", { path = "/b/x", data = "" }),
        step("mask", "/secret"), step("mask", "/a"), step("mask", "/b"), step("mask", "/proc/cpuinfo"),
          step("mask", "/proc/sys"),
        step("mask", "/no/such/path"), step("mask", "/proc/not/there") },
        { user = user, script = [[cat /secret /proc/cpuinfo; echo x > /secret; stat -c '%F %t:%T' /secret
          ls -A /a /b /proc/sys; (mkdir /a/new) 2>&1 | grep -o 'Read-only.*'; stat -c %d /a /b /proc/sys | uniq | wc -l
          test -e /no && echo made; cat /proc/self/mountinfo]] }))
      local body, info = r.output:match("^(.-)(%d+ %d+ %d+:.*)$")
      assert.equal("character special file 1:3\n/a:\n\n/b:\n\n/proc/sys:\nRead-only file system\n1\n", body)
      local list = m.mounts(info)
      assert.truthy(list["/a"].flags:find(",ro,nosuid,nodev,noexec,", 1, true))
      assert.equal("tmpfs", list["/proc/sys"].type)
      assert.truthy(list["/proc/cpuinfo"].type:find("tmpfs", 1, true))
    end
  end)

  it("keeps the one tmpfs where its first mount is gone", function()
    local r = assert(m.run({ step("mkdir", "/a"), step("mkdir", "/b"), step("mask", "/a") },
      { last = { step("mask", "/b") }, script = "stat -c %d /a /b | uniq | wc -l" }))
    assert.equal("1\n", r.output)
  end)

  it("takes only the null device for one", function()
    -- something else on the host's /dev/null, in a namespace of the spec's own
    local run = m.namespaces()
    run[#run + 1] = step("mount.bind", { source = "/dev/zero", target = "/dev/null" })
    run[#run + 1] = step("root.tmpfs", {})
    run[#run + 1] = step("file", { path = "/secret", data = "secret" })
    run[#run + 1] = step("mask", "/secret")
    local _, message, errno = t.run(run)
    assert.equal(E.ENODEV, errno)
    assert.truthy(message:find("/dev/null is not the null device", 1, true), message)
    assert.has_error(function() t.core.check("mask", {}) end)
    assert.has_error(function() t.core.check("mask", { path = "/x", mode = 1 }) end)
  end)

  it("covers what a symlink leads to, inside", function()
    local r = assert(m.run({ step("file", { path = "/real", data = "secret" }),
      step("symlink", { target = "../../real", at = "/link" }), step("mask", "/link") },
      { script = "cat /real /link" }))
    assert.equal("", r.output)
  end)
end)

describe("readonly", function()
  it("makes a path and all mounts below it read-only", function()
    for _, user in ipairs { false, true } do
      local r = assert(m.run({ step("mkdir", "/a/b"), step("mount.tmpfs", "/a/sub"),
        step("file", { path = "/f", data = "x" }),
        step("readonly", "/a"), step("readonly", "/f"), step("readonly", "/proc/sys"), step("readonly", "/no/such") },
        { user = user, script = [[for f in /a/x /a/b/x /a/sub/x /f /proc/sys/kernel/domainname
          do (echo > $f) 2>&1 | grep -o 'Read-only.*'; done
          test -e /no && echo made; cat /f; > /new && echo wrote]] }))
      assert.equal(("Read-only file system\n"):rep(5) .. "xwrote\n", r.output)
    end
    assert.has_error(function() t.core.check("readonly", {}) end)
  end)
end)

describe("chdir", function()
  teardown(m.clean)

  it("enters a directory of the root", function()
    local r = assert(m.run({ step("mkdir", "/a/b"), step("symlink", { target = "/a/b", at = "/l" }) },
      { last = { step("chdir", "/l") }, script = "pwd -P" }))
    assert.equal("/a/b\n", r.output)
    for path, errno in pairs { ["/no/such"] = E.ENOENT, ["/etc/passwd"] = E.ENOTDIR } do
      local _, message, e = m.run({}, { last = { step("chdir", path) } })
      assert.equal(errno, e)
      assert.truthy(message:find(path, 1, true), message)
    end
    assert.has_error(function() t.core.check("chdir", {}) end)
    assert.has_error(function() t.core.check("chdir", { path = "" }) end)
  end)

  it("never leads out of the root, by a descriptor that came through", function()
    local host = assert(t.core.open("/", "directory"))
    -- Its number in the container is one of the next that are free here. With a root in its slot no magic
    -- link is followed; without, the directory that it led to has no name here.
    collectgarbage()
    local used, numbers = {}, {}
    for fd in t.sh("ls /proc/$PPID/fd"):gmatch("%d+") do used[tonumber(fd)] = true end
    for fd = 3, 1000 do
      if not used[fd] and #numbers < 14 then numbers[#numbers + 1] = fd end
    end
    for slot, expected in pairs { root = E.ELOOP, other = E.EXDEV } do
      local seen = {}
      for _, fd in ipairs(numbers) do
        local run = m.namespaces { namespaces = { "mount" } }
        run[#run + 1] = step("root.tmpfs", { root = slot })
        run[#run + 1] = step("mount.bind", { source = "/proc", target = "/proc", recursive = true, root = slot })
        run[#run + 1] = step("pivot_root", { root = slot })
        run[#run + 1] = step("chdir", "/proc/self/fd/" .. fd)
        local _, message, errno, failure = t.run(run,
          { slots = { leak = host }, exec = { files = { "stdin", "stdout", "stdout", "leak" } } })
        assert.truthy(errno == expected or failure.step == "chdir" or slot == "other", message)
        seen[errno] = true
      end
      assert.truthy(seen[expected])
    end
    host:close()
  end)
end)
