local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

-- A /dev as containers have it.
local function dev()
  local steps = { step("mount.tmpfs", { target = "/dev", mode = "0755", size = 65536,
    flags = { "nosuid", "strictatime" } }),
    step("mount.devpts", { target = "/dev/pts" }), step("mount.tmpfs", { target = "/dev/shm", mode = "1777" }),
      step("mount.mqueue", "/dev/mqueue") }
  for _, n in ipairs { "null", "zero", "full", "random", "urandom", "tty" } do steps[#steps + 1] = step("device",
    "/dev/" .. n) end
  for at, target in pairs { ptmx = "pts/ptmx", fd = "/proc/self/fd", stdin = "/proc/self/fd/0",
    stdout = "/proc/self/fd/1",
    stderr = "/proc/self/fd/2", core = "/proc/kcore" } do
    steps[#steps + 1] = step("symlink", { target = target, at = "/dev/" .. at })
  end
  return steps
end

describe("the default /dev", function()
  for _, user in ipairs { false, true } do
    it("works " .. (user and "in a user namespace" or "as this user"), function()
      local r = assert(m.run(dev(), { user = user, script = [[
        cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty
        readlink ptmx fd stdin stdout stderr core
        cat null; echo x > null && echo null; head -c 4 zero | od -An -tx1
        (cat /etc/passwd > full) 2>&1 | grep -o 'No space.*'
        head -c 4 random | wc -c; head -c 4 urandom | wc -c; echo out > stdout; stat -f -c %T pts shm mqueue
        stat -c %a shm
        : < ptmx && echo pty]] }))
      assert.equal([[
null character special file 1:3 666
zero character special file 1:5 666
full character special file 1:7 666
random character special file 1:8 666
urandom character special file 1:9 666
tty character special file 5:0 666
pts/ptmx
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
/proc/kcore
null
 00 00 00 00
No space left on device
4
4
out
devpts
tmpfs
mqueue
1777
pty
]], (r.output:gsub("(\n)UNKNOWN %(0x19800202%)\n", "%1mqueue\n")))
    end)
  end
end)

describe("device", function()
  teardown(m.clean)

  it("makes a node where that is allowed, with its mode and owner", function()
    if not t.needs("root") then return end
    local r = assert(m.run({ step("mount.tmpfs", { target = "/d", flags = {} }),
      step("device", { path = "/d/fuse", major = 10, minor = 229, mode = "0640", uid = 7, gid = 8 }),
      step("device", { path = "/d/big", type = "block", major = 4095, minor = 1048575 }),
      step("device", { path = "/d/fifo", type = "fifo", mode = "0600" }),
      step("device", { path = "/d/null" }), step("device", { path = "/d/null" }) },
      { script = "cd /d; stat -c '%n %F %t:%T %a %u %g' *; grep -c ' /d/' /proc/self/mountinfo" }))
    assert.equal("big block special file fff:fffff 666 0 0\nfifo fifo 0:0 600 0 0\nfuse character special file "
      .. "a:e5 640 7 8\n"
      .. "null character special file 1:3 666 0 0\n0\n", r.output)
  end)

  it("binds the host's where none can be made, and changes nothing of it", function()
    local before = t.sh("stat -c '%a %u %g %Z %i' /dev/null /dev/zero")
    local r = assert(m.run({ step("mount.tmpfs", { target = "/d", flags = {} }),
      step("device", { path = "/d/null", mode = "0600", uid = 0, gid = 0 }),
      step("device", { path = "/d/else", major = 1, minor = 5, source = "/dev/zero", mode = "0600" }) },
      { user = true, script = "stat -c '%F %t:%T %a' /d/null /d/else; grep -c ' /d/' /proc/self/mountinfo; "
        .. "head -c1 /d/else | wc -c" }))
    assert.equal("character special file 1:3 666\ncharacter special file 1:5 666\n2\n1\n", r.output)
    assert.equal(before, t.sh("stat -c '%a %u %g %Z %i' /dev/null /dev/zero"))
  end)

  it("binds it too where a node could not be opened, in a mount with nodev", function()
    local r = assert(m.run({ step("device", "/dev/zero") },
      { script = "head -c1 /dev/zero | wc -c; grep -c ' /dev/zero ' /proc/self/mountinfo" }))
    assert.equal("1\n1\n", r.output)
  end)

  it("takes no other thing for the host's node", function()
    local d = m.tmpdir()
    t.sh("ln -s /dev/zero " .. d .. "/null; echo x > " .. d .. "/file")
    local function fails(options)
      local _, message, errno = m.run({ step("device", options) }, { user = true })
      return errno, message
    end
    local errno, message = fails { path = "/dev/null", source = d .. "/null" }
    assert.equal(E.ENODEV, errno)
    assert.truthy(message:find("the host has another thing at " .. d .. "/null", 1, true), message)
    assert.equal(E.ENODEV, (fails { path = "/dev/null", source = d .. "/file" }))
    assert.equal(E.ENOENT, (fails { path = "/dev/null", source = d .. "/no" }))
    assert.equal(E.EINVAL, (fails { path = "/dev/mine" }))
    assert.equal(E.EINVAL, (fails { path = "/dev/null", type = "block" }))
    assert.equal(E.EINVAL, (fails { path = "/", major = 1, minor = 3 }))
    assert.equal(E.EINVAL, (fails { path = "/dev/..", major = 1, minor = 3 }))
    for _, bad in ipairs { {}, { path = "/x", major = -1 }, { path = "/x", major = 1.5 },
      { path = "/x", type = "socket" }, { path = "/x", mod = "1" } } do
      assert.is_false((pcall(t.core.check, "device", bad)))
    end
  end)

  it("replaces nothing", function()
    for _, user in ipairs { false, true } do
      local _, message, errno = m.run({ step("mount.tmpfs", { target = "/d", flags = {} }),
        step("file", { path = "/d/null", data = "kept" }),
        step("device", { path = "/d/null" }) }, { user = user })
      -- in a user namespace mknod says EPERM before it looks, and the host's node is mounted over the file
      if errno then assert.equal(E.EEXIST, errno, message) end
    end
  end)
end)

describe("a device in a root that is used again", function()
  teardown(m.clean)

  it("is the host's, over the file that was made for it before, and never behind a link", function()
    local image = m.tmpdir()
    t.sh("mkdir -p " .. image .. "/dev; chmod -R 755 " .. image .. "; touch " .. image .. "/victim")
    local function run()
      local list = m.namespaces { user = true }
      for _, s in ipairs { step("root.bind", { source = image, flags = {} }), step("device", "/dev/null"), step("pivot_root", {}),
        step("exec", { argv = { "/nothing" } }) } do list[#list + 1] = s end
      local _, message, errno, failure = t.core.spawn { plan = t.core.plan(list) }
      return failure.step, errno, message
    end
    for _ = 1, 3 do
      local failed, _, message = run()
      assert.equal("exec", failed, message)
    end
    t.sh("rm " .. image .. "/dev/null; ln -s ../victim " .. image .. "/dev/null")
    local failed, errno = run()
    assert.same({ "device", E.EEXIST }, { failed, errno })
  end)
end)

describe("mknod", function()
  it("makes nodes and nothing else", function()
    local r = assert(m.run({ step("mknod", { path = "/f", type = "fifo", mode = "0644" }) },
      { script = "stat -c '%F %a' /f" }))
    assert.equal("fifo 644\n", r.output)
    local _, _, errno = m.run({ step("mknod", { path = "/n", major = 1, minor = 3 }) }, { user = true })
    assert.equal(E.EPERM, errno)
    _, _, errno = m.run({ step("mknod", { path = "/f", type = "fifo" }),
      step("mknod", { path = "/f", type = "fifo" }) })
    assert.equal(E.EEXIST, errno)
    _, _, errno = m.run({ step("mknod", { path = "/f", major = 4096, minor = 0 }) })
    assert.equal(E.EINVAL, errno)
    assert.has_error(function() t.core.check("mknod", { path = "/x", type = "pipe" }) end)
    assert.has_error(function() t.core.check("mknod", {}) end)
  end)
end)

describe("file", function()
  teardown(m.clean)

  it("writes inline data into the root, and overwrites nothing", function()
    local data = ("x"):rep(100000) .. "\0\1\255"
    local r = assert(m.run({ step("file", { path = "/a/b", data = data, mode = "0600" }),
      step("file", { path = "/empty", data = "" }) },
      { script = "stat -c '%a %s' /a/b /empty; cat /a/b" }))
    assert.equal("600 100003\n644 0\n" .. data, r.output)
    local _, message, errno = m.run { step("file", { path = "/a", data = "1" }),
      step("file", { path = "/a", data = "2" }) }
    assert.equal(E.EEXIST, errno, message)
    _, message, errno = m.run { step("mkdir", "/a"), step("file", { path = "/a", data = "2" }) }
    assert.equal(E.EEXIST, errno, message)
    _, message, errno = m.run { step("file", { path = "/a/", data = "2" }) }
    assert.equal(E.EINVAL, errno, message)
    _, message, errno = m.run { step("file", { path = "/a", data = "2", flags = { "ro" } }) }
    assert.equal(E.EINVAL, errno, message)
    for _, bad in ipairs { { path = "/x" }, { data = "x" }, { path = "/x", data = 1 },
      { path = "/x", data = "x", mode = 0.5 } } do
      assert.is_false((pcall(t.core.check, "file", bad)))
    end
  end)

  it("leaves no half a file where there is no room", function()
    local d = m.tmpdir()
    local _, message, errno = m.run({ step("file", { path = "/big", data = ("x"):rep(100000) }) },
      { root = step("root.tmpfs", { size = 65536 }) })
    assert.equal(E.ENOSPC, errno, message)
    local r = m.run({ step("file", { path = "/big", data = ("x"):rep(100000) }, { optional = true }) },
      { root = step("root.tmpfs", { size = 65536 }), script = "test -e /big || echo none" })
    assert.equal("none\n", r.output)
    assert.truthy(d)
  end)

  it("is mounted over what is there, which stays as it is", function()
    local d = m.tmpdir()
    t.sh("echo image > " .. d .. "/conf; chmod 644 " .. d .. "/conf; ln -s conf " .. d .. "/link; chmod 755 " .. d)
    for _, user in ipairs { false, true } do
      local r = assert(m.run({ step("mount.bind", { source = d, target = "/image", flags = { "ro" } }),
        step("file", { path = "/image/conf", data = "inline\n", mount = true, mode = "0640" }),
        step("file", { path = "/new/file", data = "new\n", mount = true, flags = { "ro" } }) },
        { user = user, script = "cat /image/conf /image/link /new/file; stat -c %a /image/conf; "
          .. "echo more >> /image/conf && echo wrote; "
          .. "(echo x > /new/file) 2>&1 | grep -o 'Read-only.*'; ls -A /image /new | wc -l; "
            .. "grep -c ' /\\(\\|image/conf\\|new/file\\) .* - tmpfs ' /proc/self/mountinfo; pwd" }))
      assert.equal("inline\ninline\nnew\n640\nwrote\nRead-only file system\n6\n3\n/\n", r.output)
      assert.equal("image\n", t.read_file(d .. "/conf"))
    end
    local _, message, errno = m.run { step("file", { path = "/usr", data = "x", mount = true }) }
    assert.equal(E.EISDIR, errno, message)
    _, message, errno = m.run { step("mount.bind", { source = d, target = "/image", flags = { "ro" } }),
      step("file", { path = "/image/none", data = "x", mount = true }) }
    assert.equal(E.EROFS, errno, message)
  end)

  it("can't be grown by the container past its size and a page", function()
    local r = assert(m.run({ step("file", { path = "/f", data = "x", mount = true }) },
      { script = "(cat /bin/* > /f) 2>&1 | grep -o 'No space.*'; test $(stat -c %s /f) -le 8192 && echo small" }))
    assert.equal("No space left on device\nsmall\n", r.output)
  end)
end)

describe("mkdir and symlink", function()
  it("make what is missing, and accept what is there", function()
    local r = assert(m.run({ step("mkdir", { path = "/a/b/c", mode = "0700" }),
      step("mkdir", { path = "/a/b", mode = "0700" }),
      step("symlink", { target = "../x", at = "/l/k" }), step("symlink", { target = "../x", at = "/l/k" }),
        step("mkdir", "/") },
      { script = "stat -c '%a %n' /a /a/b /a/b/c; readlink /l/k" }))
    assert.equal("755 /a\n755 /a/b\n700 /a/b/c\n../x\n", r.output)
    local _, message, errno = m.run { step("symlink", { target = "x", at = "/l" }),
      step("symlink", { target = "y", at = "/l" }) }
    assert.equal(E.EEXIST, errno)
    assert.truthy(message:find("a symlink to x", 1, true), message)
    _, message, errno = m.run { step("mkdir", "/l"), step("symlink", { target = "y", at = "/l" }) }
    assert.equal(E.EEXIST, errno)
    assert.truthy(message:find("not a symlink", 1, true), message)
    _, message, errno = m.run { step("file", { path = "/f", data = "" }), step("mkdir", "/f") }
    assert.equal(E.ENOTDIR, errno, message)
    for _, bad in ipairs { { "symlink", {} }, { "symlink", { target = "x" } }, { "mkdir", {} },
      { "mkdir", { path = "/x", mode = "8" } }, { "mkdir", 1 } } do
      assert.is_false((pcall(t.core.check, bad[1], bad[2])))
    end
  end)

  it("work in a direct call, by the process's own paths or below a descriptor", function()
    local d = m.tmpdir()
    local dir = assert(t.core.open(d, "path"))
    assert(t.core.mkdir { d .. "/own/path" })
    t.sh("ln -s / " .. d .. "/out")
    assert(t.core.mkdir { path = "/out/in/side", root = dir })
    assert(t.core.file { path = "/out/f", data = "x", root = dir })
    assert.equal("x", t.read_file(d .. "/f"))
    assert.equal("f\nin\nout\nown\n", t.sh("ls " .. d))
    assert.same({ nil, "file /out/f 1 bytes: File exists (EEXIST)", E.EEXIST },
      { t.core.file { path = "/out/f", data = "y", root = dir } })
    local before = t.count_fds()
    for _ = 1, 20 do
      t.core.file { path = "/out/f", data = "y", root = dir }
      t.core.mkdir { path = "/out/f/g", root = dir }
      t.core.mount.bind { source = "/no/such", target = "/x", root = dir }
    end
    assert.equal(before, t.count_fds())
    dir:close()
    m.clean()
  end)
end)
