local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

-- A tree of the host's: files, and a mount below. In the container's own mount namespace, since the
-- specs' process mounts nothing: a tmpfs in the new root stands for the host's second mount.
local function tree()
  local d = m.tmpdir()
  t.sh("cd " .. d .. "; mkdir sub; echo data > file; echo data > sub/below; ln -s file link; chmod -R a+rX .")
  return d
end

describe("mount.bind", function()
  teardown(m.clean)

  it("makes targets of the source's kind", function()
    local d = tree()
    local r = assert(m.run({
      step("mount.bind", { source = d, target = "/new/dir" }),
      step("mount.bind", { source = d .. "/file", target = "/other/new/file" }),
      step("mkdir", "/there"), step("mount.bind", { d, target = "/there" }),
    }, { script = "cat /new/dir/file /new/dir/sub/below /other/new/file /there/file; "
      .. "stat -c %F /new/dir /other/new/file" }))
    assert.equal("data\ndata\ndata\ndata\ndirectory\nregular file\n", r.output)
  end)

  it("takes the mounts below only where it is recursive", function()
    local d = tree()
    local function look(recursive)
      return assert(m.run({
        step("mount.bind", { source = d, target = "/a" }),
        step("mount.tmpfs", "/a/sub"), step("file", { path = "/a/sub/deep", data = "deep" }),
      }, { last = { step("mount.bind", { source = "/a", target = "/b", recursive = recursive }) },
        script = "ls /b/sub" })).output
    end
    assert.equal("deep\n", look(true))
    assert.equal("below\n", look(false))
  end)

  it("sets each flag, and clears it again", function()
    -- of a mount of the container's own: in a user namespace the atime of the host's can't be changed
    local last, flags = {}, { "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow" }
    for _, f in ipairs(flags) do
      last[#last + 1] = step("mount.bind", { source = "/src", target = "/" .. f, flags = { f } })
    end
    last[#last + 1] = step("mount.bind", { source = "/src", target = "/strictatime", flags = { "strictatime" } })
    local r = assert(m.run({ step("mount.tmpfs", { target = "/src", flags = {} }) },
      { last = last, script = "cat /proc/self/mountinfo" }))
    local list = m.mounts(r.output)
    for _, f in ipairs(flags) do
      assert.truthy(list["/" .. f].flags:find("," .. f .. ",", 1, true), f)
      for _, other in ipairs(flags) do
        if other ~= f then assert.falsy(list["/" .. f].flags:find("," .. other .. ",", 1, true), f .. " " .. other) end
      end
    end
    assert.falsy(list["/strictatime"].flags:find("atime", 1, true))
    local clearing = { ro = "rw", nosuid = "suid", nodev = "dev", noexec = "exec", noatime = "atime",
      nodiratime = "diratime", nosymfollow = "symfollow" }
    last = {}
    for _, f in ipairs(flags) do
      last[#last + 1] = step("mount.bind", { source = "/all", target = "/" .. f, flags = { clearing[f] } })
    end
    list = m.mounts(assert(m.run({ step("mount.tmpfs", { target = "/all", flags = flags }) },
      { last = last, script = "cat /proc/self/mountinfo" })).output)
    for _, f in ipairs(flags) do
      for _, other in ipairs(flags) do
        local there = list["/" .. f].flags:find("," .. other .. ",", 1, true) ~= nil
        assert.equal(f ~= other, there, f .. " " .. other)
      end
    end
  end)

  it("has the flags' effect", function()
    local d = tree()
    t.sh("chmod 777 " .. d .. " " .. d .. "/file; printf '#!/bin/sh\necho ran\n' > " .. d .. "/run; chmod 755 " .. d
      .. "/run")
    local r = assert(m.run({
      step("mount.bind", { source = d, target = "/rw" }),
      step("mount.bind", { source = d, target = "/ro", flags = { "ro" } }),
      step("mount.bind", { source = d, target = "/noexec", flags = { "noexec" } }),
      step("mount.bind", { source = d, target = "/nosym", flags = { "nosymfollow" } }),
    }, { script = [[
      echo more >> /rw/file && echo wrote; (echo more >> /ro/file) 2>&1 | grep -o 'Read-only.*'
      /rw/run; /noexec/run 2>&1 | grep -o 'Permission denied'
      cat /rw/link | head -1; cat /nosym/link 2>&1 | grep -o 'Too many.*']] }))
    assert.equal("wrote\nRead-only file system\nran\nPermission denied\ndata\nToo many levels of symbolic links\n",
      r.output)
    assert.equal("data\nmore\n", t.read_file(d .. "/file"))
  end)

  it("makes the mounts below read-only by rro, and not by ro", function()
    local d = tree()
    local function write(flag)
      return assert(m.run({ step("mount.bind", { source = d, target = "/a" }), step("mount.tmpfs", "/a/sub") }, {
        last = { step("mount.bind", { source = "/a", target = "/b", recursive = true, flags = { flag } }) },
        script = "(> /b/top) 2>&1 | grep -o 'Read-only.*'; (> /b/sub/x) 2>&1 | grep -o 'Read-only.*'; "
          .. "ls /a/sub" })).output
    end
    assert.equal("Read-only file system\nRead-only file system\n", write("rro"))
    assert.equal("Read-only file system\nx\n", write("ro"))
  end)

  it("sets every recursive flag on the mounts below", function()
    local flags = { "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow" }
    local last = { step("mount.bind", { source = "/c", target = "/clear",
      flags = { "rrw", "rsuid", "rdev", "rexec", "rstrictatime" } }) }
    for _, f in ipairs(flags) do
      last[#last + 1] = step("mount.bind", { source = "/a", target = "/" .. f, recursive = true, flags = { "r" .. f } })
    end
    local list = m.mounts(assert(m.run({
      step("mount.tmpfs", { target = "/a", flags = {} }),
      step("mount.tmpfs", { target = "/a/sub", flags = {} }),
      step("mount.tmpfs", { target = "/c", flags = { "ro", "nosuid", "nodev", "noexec", "noatime" } }),
    }, { last = last, script = "cat /proc/self/mountinfo" })).output)
    for _, f in ipairs(flags) do
      assert.truthy(list["/" .. f].flags:find("," .. f .. ",", 1, true), f)
      assert.truthy(list["/" .. f .. "/sub"].flags:find("," .. f .. ",", 1, true), f .. " below")
    end
    assert.equal(",rw,", list["/clear"].flags)
    assert.truthy(list["/a/sub"].flags:find(",rw,", 1, true))
  end)

  it("says that a flag is locked in a user namespace", function()
    if not t.needs("root") then return end
    -- root locks what an inner user namespace then can't clear
    local run = m.namespaces()
    run[#run + 1] = step("mount.bind", { source = "/usr", target = "/mnt", flags = { "ro", "nodev" } })
    run[#run + 1] = step("namespace.unshare", { "user", "mount" })
    run[#run + 1] = step("mount.bind", { source = "/mnt", target = "/mnt", flags = { "rw" } })
    local _, message, errno = t.run(run)
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("locked in this user namespace", 1, true), message)
  end)

  it("names the source that is missing, the target that can't be, and what is contradictory", function()
    local function fails(options)
      local ok, message, errno = m.run { step("mount.bind", options) }
      assert.is_nil(ok)
      return message:match("^step %d+, mount%.bind%[6%] (.*)$"), errno
    end
    assert.same({ "/no/such -> /x: source /no/such: No such file or directory (ENOENT)", E.ENOENT },
      { fails { source = "/no/such", target = "/x" } })
    assert.same({ "/usr -> /: a mount over the root itself would hide it (root.bind and root.tmpfs make it): /: "
      .. "Device or resource busy (EBUSY)", E.EBUSY }, { fails { source = "/usr", target = "/" } })
    assert.same({ "/usr -> /etc/passwd: target /etc/passwd: Not a directory (ENOTDIR)", E.ENOTDIR },
      { fails { source = "/usr", target = "/etc/passwd" } })
    assert.same({ "/etc/passwd -> /usr: a file can't be mounted over the directory /usr: Is a directory (EISDIR)",
      E.EISDIR },
      { fails { source = "/etc/passwd", target = "/usr" } })
    assert.same({ "/usr -> /x (ro,rw): a flag is both set and cleared: Invalid argument (EINVAL)", E.EINVAL },
      { fails { source = "/usr", target = "/x", flags = { "ro", "rw" } } })
    assert.same({ "/usr -> /x (noatime,strictatime): noatime, relatime and strictatime exclude one another: "
      .. "Invalid argument (EINVAL)", E.EINVAL },
        { fails { source = "/usr", target = "/x", flags = { "noatime", "strictatime" } } })
    assert.same({ " -> /x: source or fd, one of the two: Invalid argument (EINVAL)", E.EINVAL },
      { fails { target = "/x" } })
    assert.has_error(function() step("mount.bind", { source = "/", target = "/x", readonly = true });
      t.core.check("mount.bind",
      { source = "/", target = "/x", flags = { "readonly" } }) end)
    local ok, message = pcall(t.core.check, "mount.bind", { source = "/", target = "/x", recusrive = true })
    assert.is_false(ok)
    assert.truthy(message:find("unknown option 'recusrive' (did you mean 'recursive'?)", 1, true), message)
    ok, message = pcall(t.core.check, "mount.bind", { source = "/", target = "/x", flags = { "nosiud" } })
    assert.is_false(ok)
    assert.truthy(message:find("did you mean 'nosuid'?", 1, true), message)
    for _, bad in ipairs { { source = "", target = "/x" }, { source = "/", target = "" },
      { source = "/a\0b", target = "/x" },
      { source = "/" }, { source = "/", target = "/x", flags = "ro,rw" }, { source = "/", target = ("x"):rep(5000) },
      { source = "/", target = "/x", idmap = { 1, 2, 3 } }, { source = "/", target = "/x", recursive = 1 } } do
      assert.is_false((pcall(t.core.check, "mount.bind", bad)))
    end
  end)

  it("refuses a symlink as source where nofollow is set", function()
    local d = tree()
    local _, message, errno = m.run { step("mount.bind", { source = d .. "/link", target = "/x", nofollow = true }) }
    assert.equal(E.ELOOP, errno)
    assert.truthy(message:find("nofollow", 1, true), message)
    local r = assert(m.run({ step("mount.bind", { source = d .. "/link", target = "/x" }),
      step("mount.bind", { source = d .. "/file", target = "/y", nofollow = true }) }, { script = "cat /x /y" }))
    assert.equal("data\ndata\n", r.output)
  end)

  it("looks a source up on the host, by .. too, when the new root is there", function()
    local d = tree()
    t.sh("ln -s ../../../.." .. d .. "/file " .. d .. "/up")
    local r = assert(m.run({ step("mount.bind", { source = "/.." .. d .. "/file", target = "/x" }),
      step("mount.bind", { source = ("../"):rep(30) .. d .. "/file", target = "/y" }),
      step("mount.bind", { source = d .. "/up", target = "/z" }) }, { script = "cat /x /y /z" }))
    assert.equal("data\ndata\ndata\n", r.output)
    local _, message, errno = m.run { step("mkdir", "/only/inside"),
      step("mount.bind", { source = "/../only/inside", target = "/x" }) }
    assert.equal(E.ENOENT, errno, message)
  end)

  it("takes a descriptor for a source, of whatever mount namespace", function()
    local d = tree()
    local dir, file = assert(t.core.open(d, "path")), assert(t.core.open(d .. "/file"))
    local r = assert(m.run({ step("mount.bind", { fd = "dir", target = "/d", flags = { "ro" } }),
      step("mount.bind", { fd = "file", target = "/f" }) },
      { slots = { dir = dir, file = file }, script = "cat /d/file /f; (> /d/x) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("data\ndata\nRead-only file system\n", r.output)
    -- the name leads elsewhere by now
    t.sh(("mv %s/sub %s/was; mkdir %s/sub"):format(d, d, d))
    local sub = assert(t.core.open(d .. "/was", "path"))
    t.sh(("mv %s/was %s/moved; mkdir %s/was"):format(d, d, d))
    assert(m.run({ step("mount.bind", { fd = "dir", target = "/d" }) }, { slots = { dir = sub } }))
    local deleted = assert(t.core.open(d .. "/file"))
    t.sh("rm " .. d .. "/file; echo other > " .. d .. "/file")
    local _, message, errno = m.run({ step("mount.bind", { fd = "dir", target = "/d" }) },
      { slots = { dir = deleted } })
    assert.equal(E.ESTALE, errno, message)
    -- another directory over the one that holds it: the name is there, and of something else
    local other = tree()
    local run = m.namespaces()
    run[#run + 1] = step("mount.bind", { source = other, target = d, root = "none" })
    run[#run + 1] = step("root.tmpfs", {})
    run[#run + 1] = step("mount.bind", { fd = "dir", target = "/d" })
    local there = assert(t.core.open(d .. "/sub", "path"))
    _, message, errno = t.run(run, { slots = { dir = there } })
    assert.equal(E.ESTALE, errno, message)
    there:close()
    _, message, errno = m.run({ step("mount.bind", { fd = "empty", target = "/d" }) })
    assert.equal(E.EBADF, errno, message)
    for _, fd in ipairs { dir, file, sub, deleted } do fd:close() end
  end)

  it("finds what a descriptor is open on by the name that is said, and takes nothing else for it", function()
    local d, other = tree(), tree()
    t.sh("echo other > " .. other .. "/file; mkdir " .. d .. "/moved")
    local dir, file = assert(t.core.open(d, "path")), assert(t.core.open(d .. "/file"))
    for _, name in ipairs { d, other, d .. "/nowhere", d .. "/file", "/" } do
      local r = assert(m.run({ step("mount.bind", { fd = "dir", known_as = name, target = "/d", flags = { "ro" } }),
        step("mount.bind", { fd = "file", known_as = name == d and d .. "/file" or name, target = "/f" }) },
        { slots = { dir = dir, file = file }, script = "cat /d/file /f; (> /d/x) 2>&1 | grep -o 'Read-only.*'" }))
      assert.equal("data\ndata\nRead-only file system\n", r.output, name)
    end
    -- where the descriptor's own name leads nowhere, that one does
    local there = "/tmp/.." .. d
    local run = m.namespaces()
    run[#run + 1] = step("mount.bind", { source = d, target = other, root = "none" })
    run[#run + 1] = step("mount.tmpfs", { target = d, root = "none" })
    run[#run + 1] = step("root.tmpfs", {})
    run[#run + 1] = step("mount.bind", { fd = "dir", known_as = other, target = "/d" })
    run[#run + 1] = step("file", { path = "/d/moved/here", data = "written" })
    assert(t.run(run, { slots = { dir = dir } }))
    assert.equal("written", t.read_file(d .. "/moved/here"))
    run[#run - 1].options.known_as = there
    local _, message, errno = t.run(run, { slots = { dir = dir } })
    assert.equal(E.ESTALE, errno, message)
    dir:close()
    file:close()
  end)
end)

describe("mount.tree", function()
  teardown(m.clean)

  it("makes a tree that a later step mounts", function()
    local d = tree()
    local r = assert(m.run({ step("mount.tree", { source = d, tree = "t", flags = { "ro" } }),
      step("mount.bind", { fd = "t", target = "/x" }) },
        { script = "cat /x/file; (> /x/y) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("data\nRead-only file system\n", r.output)
  end)

  it("is the host's where the parent makes it", function()
    if not t.needs("root") then return end
    local d = tree()
    t.sh("chmod 700 " .. d)
    local before = t.read_file("/proc/self/mountinfo")
    local run = { step("mount.tree", { source = d, tree = "t", flags = { "ro" } }, { side = "parent" }) }
    for _, s in ipairs(m.namespaces { user = true, uid = { { 0, 100000, 1 } },
      gid = { { 0, 100000, 1 } } }) do run[#run + 1] = s end
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("mount.bind", { fd = "t", target = "/x" })
    run[#run + 1] = step("pivot_root", {})
    local r = assert(t.run(run, { script = "cat /proc/self/mountinfo; cat /x/file" }))
    local list = m.mounts(r.output)
    assert.truthy(list["/x"].flags:find(",ro,", 1, true))
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)
end)

describe("propagation", function()
  teardown(m.clean)

  -- the tag of a mount: "shared:1 ", "master:1 ", "unbindable " or ""
  local function kind(tags)
    return (tags:gsub(":%d+", ""):gsub(" $", ""))
  end

  it("is set per mount, as mountinfo's tags show", function()
    local steps = {}
    for _, p in ipairs { "private", "shared", "unbindable" } do
      steps[#steps + 1] = step("mount.bind", { source = "/usr", target = "/" .. p, propagation = p })
    end
    -- a slave has a master: a copy of a shared mount
    steps[#steps + 1] = step("mount.bind", { source = "/usr", target = "/master", propagation = "shared" })
    local list = m.mounts(assert(m.run(steps, { last = {
      step("mount.bind", { source = "/master", target = "/slave", propagation = "slave" }),
      step("mount.propagation", { path = "/usr", propagation = "shared" }),
    }, script = "cat /proc/self/mountinfo" })).output)
    assert.equal("", kind(list["/private"].tags))
    assert.equal("shared", kind(list["/shared"].tags))
    assert.equal("unbindable", kind(list["/unbindable"].tags))
    assert.equal("master", kind(list["/slave"].tags))
    assert.equal("shared", kind(list["/usr"].tags))
    assert.equal("", kind(list["/"].tags))
  end)

  it("is set for the whole tree by the r words", function()
    local last = {}
    for _, p in ipairs { "rprivate", "rshared", "runbindable" } do
      last[#last + 1] = step("mount.tmpfs", "/" .. p)
      last[#last + 1] = step("mount.tmpfs", "/" .. p .. "/sub")
      last[#last + 1] = step("mount.propagation", { path = "/" .. p, propagation = p })
    end
    last[#last + 1] = step("mount.propagation", { path = "/rshared", propagation = "slave" })
    local list = m.mounts(assert(m.run({}, { last = last, script = "cat /proc/self/mountinfo" })).output)
    assert.equal("shared", kind(list["/rshared/sub"].tags))
    assert.equal("", kind(list["/rshared"].tags)) -- a slave without a master is private
    assert.equal("unbindable", kind(list["/runbindable/sub"].tags))
    assert.equal("", kind(list["/rprivate/sub"].tags))
  end)

  it("is that of the root too", function()
    for p, tags in pairs { shared = "shared", private = "", unbindable = "unbindable" } do
      local list = m.mounts(assert(m.run({}, { last = { step("mount.propagation", { propagation = p }) },
        script = "cat /proc/self/mountinfo" })).output)
      assert.equal(tags, kind(list["/"].tags))
    end
  end)

  it("refuses what is no mount", function()
    local _, message, errno = m.run({}, { last = { step("mount.propagation",
      { path = "/usr/bin", propagation = "shared" }) } })
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("not a mount", 1, true), message)
    assert.has_error(function() t.core.check("mount.propagation", { path = "/" }) end)
    assert.has_error(function() t.core.check("mount.propagation", { path = "/", propagation = "privat" }) end)
  end)

  it("leaks nothing into the host, even from a shared tree", function()
    local before = t.read_file("/proc/self/mountinfo")
    local run = m.namespaces()
    run[#run].options = { path = "/", propagation = t.is_root and "rslave" or "rprivate" }
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("pivot_root", {})
    assert(t.run(run))
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
    -- with all mounts shared: a new root is then mounted, and left, as if that one were not
    run = m.namespaces()
    run[#run].options = { path = "/", propagation = "rshared" }
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("pivot_root", {})
    assert(t.run(run))
    -- and with no step that sets it
    run = m.namespaces()
    table.remove(run)
    run[#run + 1] = step("root.tmpfs", {})
    m.system(run)
    run[#run + 1] = step("pivot_root", {})
    assert(t.run(run))
    assert.equal(before, t.read_file("/proc/self/mountinfo"))
  end)
end)

describe("many binds", function()
  it("cost no more each, and nothing reads mountinfo", function()
    local steps = {}
    for i = 1, 500 do
      steps[i] = step("mount.bind", { source = "/usr", target = "/m/" .. i, recursive = true, flags = { "rro" } })
    end
    local r = assert(m.run(steps, { script = "grep -c ' /m/' /proc/self/mountinfo" }))
    assert.equal("500\n", r.output)
  end)

  it("need no /proc to be mounted: nothing can read mountinfo", function()
    local steps = { step("mount.tmpfs", { target = "/proc", root = "none" }),
      step("root.tmpfs", { at = "/mnt" }), step("mount.bind", { source = "/usr", target = "/usr" }) }
    local run = m.namespaces { namespaces = { "mount" } }
    for _, s in ipairs(steps) do run[#run + 1] = s end
    for i = 1, 100 do
      run[#run + 1] = step("mount.bind", { source = "/usr", target = "/m/" .. i, recursive = true, flags = { "rro" } })
    end
    for _, l in ipairs { "bin", "lib", "lib64" } do run[#run + 1] = step("symlink",
      { target = "usr/" .. l, at = "/" .. l }) end
    run[#run + 1] = step("pivot_root", {})
    assert.equal("100\n", assert(t.run(run, { script = "ls /m | wc -l" })).output)
  end)
end)
