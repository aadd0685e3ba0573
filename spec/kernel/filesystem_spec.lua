local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

local function mounts_of(steps, opts)
  opts = opts or {}
  opts.script = "cat /proc/self/mountinfo"
  return m.mounts(assert(m.run(steps, opts)).output)
end

local function fails(s, opts)
  local ok, message, errno = m.run({ s }, opts)
  assert.is_nil(ok)
  return errno, message
end

describe("mount.tmpfs", function()
  teardown(m.clean)

  it("has its size, and answers ENOSPC there", function()
    local r = assert(m.run({ step("mount.tmpfs", { target = "/t", size = 65536 }) },
      { script = "dd if=/proc/self/exe of=/t/x bs=1024 count=64 2>&1 | tail -1 | cut -d' ' -f1; "
        .. "(cat /proc/self/exe /bin/* >> /t/x) 2>&1 | "
        .. "grep -o 'No space left on device'; stat -c %s /t/x; stat -f -c '%b %S' /t" }))
    local written, message, size, blocks, unit = r.output:match("^(%d+)\n(.-)\n(%d+)\n(%d+) (%d+)\n$")
    assert.truthy(written)
    assert.equal("No space left on device", message:match("^[^\n]*"))
    assert.equal("65536", size)
    assert.equal(65536, tonumber(blocks) * tonumber(unit))
  end)

  it("has its number of inodes, and answers ENOSPC there", function()
    local r = assert(m.run({ step("mount.tmpfs", { target = "/t", nr_inodes = 4 }) },
      { script = "for i in 1 2 3 4 5; do mkdir /t/$i; done 2>&1 | grep -c 'No space left'; ls /t | wc -l" }))
    assert.equal("2\n3\n", r.output)
  end)

  it("has its mode, owner, flags and other options", function()
    local list = mounts_of { step("mount.tmpfs",
      { target = "/t", mode = "1700", uid = 0, gid = 0, options = { "size=50%", "inode64" },
      flags = { "ro", "noexec" } }), step("mount.tmpfs", "/default") }
    assert.truthy(list["/t"].flags:find("ro,noexec", 1, true))
    assert.falsy(list["/t"].flags:find("nosuid", 1, true))
    assert.truthy(list["/t"].super:find(",mode=1700,", 1, true))
    assert.truthy(list["/default"].flags:find("nosuid,nodev", 1, true))
  end)

  it("passes on what the kernel says of a bad option", function()
    local errno, message = fails(step("mount.tmpfs", { target = "/t", options = { "size=many" } }))
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("tmpfs: Bad value for 'size'", 1, true), message)
    errno, message = fails(step("mount.tmpfs", { target = "/t", options = { "colour=red" } }))
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("tmpfs: Unknown parameter 'colour'", 1, true), message)
    errno = fails(step("mount.tmpfs", { target = "/t", options = { "=x" } }))
    assert.equal(E.EINVAL, errno)
    errno = fails(step("mount.tmpfs", { target = "/t", options = { ("x"):rep(100) } }))
    assert.equal(E.EINVAL, errno)
    for _, bad in ipairs { {}, { target = "/t", size = -1 }, { target = "/t", size = "64M" },
      { target = "/t", mode = "abc" },
      { target = "/t", mode = "10000" }, { target = "/t", options = "size=1" }, { target = "/t", sise = 1 },
        { target = "/t\0" } } do
      assert.is_false((pcall(t.core.check, "mount.tmpfs", bad)))
    end
  end)
end)

describe("mount.tmpfs with copyup", function()
  teardown(m.clean)

  local function image()
    local d = m.tmpdir()
    t.sh("cd " .. d .. [[; mkdir -p data/deep/er data/empty; cd data; echo one > file; printf '' > zero
      head -c 300000 /dev/zero | tr '\0' x > big; echo two > deep/er/file; ln -s ../../outside link
      ln -s /etc/passwd deep/abs
      perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("socket"))';
      mkfifo fifo; touch -d '2001-02-03 04:05:06.789' file empty; chmod 640 file; chmod 1770 deep; chmod 500 empty; chmod 711 .]])
    return d
  end
  local look = "cd %s; find . -printf '%%p %%y %%m %%l %%s\\n' | grep -v '^[^ ]* d' | sort; "
    .. "find . -type d -printf '%%p %%m\\n' | sort; "
    .. "cat file deep/er/file; cksum big"

  it("starts with what it covers, and changes to it stay its own", function()
    local d = image()
    local r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) },
      { script = look:format("/image/data") .. "; echo new > file; rm zero; mkdir x; stat -f -c %T ." }))
    assert.equal(t.sh(look:format(d .. "/data")) .. "tmpfs\n", r.output)
    assert.equal("one\n", t.read_file(d .. "/data/file"))
    assert.equal("", t.read_file(d .. "/data/zero"))
  end)

  it("may be read-only, have a mode of its own, and cover nothing", function()
    local d = image()
    local r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true, mode = "0755", flags = { "ro" } }),
      step("mount.tmpfs", { target = "/new", copyup = true }) },
      { script = "cat /image/data/file; (> /image/data/x) 2>&1 | grep -o 'Read-only.*'; stat -c %a /image/data; "
        .. "ls -A /new | wc -l" }))
    assert.equal("one\nRead-only file system\n755\n0\n", r.output)
  end)

  it("copies many entries, in more than one read of a directory, at several depths", function()
    local d = m.tmpdir()
    t.sh("cd " .. d .. "; for a in 1 2 3; do mkdir -p $a/$a/$a; (cd $a/$a; "
      .. "seq -f 'a-rather-long-name-%g' 300 | xargs touch); done")
    local list = "cd %s; find . | sort | cksum"
    local r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image", copyup = true }) },
      { script = list:format("/image") }))
    assert.equal(t.sh(list:format(d)), r.output)
  end)

  it("stops at the size of the tmpfs, and at a depth", function()
    local d = image()
    local run = function(options)
      options.target, options.copyup = "/image/data", true
      local _, message, errno = m.run { step("mount.bind", { source = d, target = "/image" }),
        step("mount.tmpfs", options) }
      return errno, message
    end
    local errno, message = run { size = 65536 }
    assert.equal(E.ENOSPC, errno)
    assert.truthy(message:find("copying up ", 1, true), message)
    assert.equal(E.ENOSPC, (run { nr_inodes = 3 }))
    t.sh("mkdir -p " .. d .. "/data/" .. ("d/"):rep(50))
    assert.equal(E.ENAMETOOLONG, (run {}))
  end)

  it("keeps times and extended attributes, of directories too, as far as a tmpfs has them", function()
    local d = image()
    local times = "cd %s; stat -c '%%n %%.6Y' file empty"
    local r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) }, { script = times:format("/image/data") }))
    assert.equal(t.sh(times:format(d .. "/data")), r.output)
    -- an ACL: version 2, then tag, permissions and id of each entry; perl has no setxattr but syscall
    if not t.needs("root", "perl") then return end
    if t.sh("uname -m") ~= "x86_64\n" then return pending("the spec knows setxattr's number on x86-64") end
    local set = [[perl -e 'my ($n, $f, $v) = @ARGV; $v = pack("H*", $v); syscall(188, $f, $n, $v, length $v, 0) and die $!' ]]
    -- as a file: for -e perl opens /dev/null, which that root has not
    local f = assert(io.open(d .. "/get", "w"))
    f:write([[my ($n, $f) = @ARGV; my $v = "\0" x 256; my $l = syscall(191, $f, $n, $v, 256);
      print "$n ", $l < 0 ? $! : unpack("H*", substr($v, 0, $l)), "\n"]])
    f:close()
    local get = "perl ../get "
    local acl = "0200000001000600ffffffff02000400e903000004000400ffffffff10000400ffffffff20000000ffffffff"
    local capability = "010000020004000000000000000000000000000000"
    t.sh(("cd %s/data; %s system.posix_acl_access file %s; %s security.capability big %s00"):format(d, set, acl, set,
      capability:sub(1, 38)))
    local seen = ("cd DIR; %s system.posix_acl_access file; %s security.capability big"):format(get, get)
    local had = t.sh((seen:gsub("DIR", d .. "/data")))
    if had:find("not supported", 1, true) then return pending("no ACLs on this machine's /tmp: " .. had) end
    r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) }, { script = (seen:gsub("DIR", "/image/data")) }))
    assert.matches("system%.posix_acl_access 02.*security%.capability 01", had)
    assert.equal(had, r.output)
  end)

  it("makes device nodes where it may, else says which it could not", function()
    local d = image()
    local steps = { step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) }
    if not t.is_root then return pending("needs a device in the image; root's run proves it") end
    t.sh("mknod " .. d .. "/data/nul c 1 3; mknod -m 640 " .. d .. "/data/far b 259 1048575")
    local seen = "cd %s; stat -c '%%n %%F %%t %%T %%a' nul far"
    local r = assert(m.run(steps, { script = seen:format("/image/data") }))
    assert.equal(t.sh(seen:format(d .. "/data")), r.output)
    local _, message, errno = m.run(steps, { user = true })
    assert.equal(E.EPERM, errno)
    assert.matches("devices can't be made in a user namespace%) [nf]", message)
  end)

  it("follows no symlink of the image, and keeps no set-id bit for a stranger", function()
    if not t.needs("root") then return end
    local d = image()
    t.sh(("cp /bin/true %s/data/su; chown 12345:0 %s/data/su; chmod 4755 %s/data/su; "
      .. "chown 0:777 %s/data/file"):format(d, d, d, d))
    local r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) },
      { script = "cd /image/data; stat -c '%a %u %g' su file; readlink link" }))
    assert.equal("4755 12345 0\n640 0 777\n../../outside\n", r.output)
    r = assert(m.run({ step("mount.bind", { source = d, target = "/image" }),
      step("mount.tmpfs", { target = "/image/data", copyup = true }) },
      { user = true, script = "cd /image/data; stat -c '%a %u' su" }))
    assert.equal("755 0\n", r.output)
  end)
end)

describe("mount.overlay", function()
  teardown(m.clean)

  local function layers()
    local d = m.tmpdir()
    t.sh("cd " .. d .. "; mkdir 'a,b:c' two upper work; echo a > 'a,b:c/a'; echo a > 'a,b:c/both'; "
      .. "echo two > two/two; echo two > two/both; chmod -R a+rX .")
    return d
  end
  local skip = t.is_root and {} or { user = true }

  it("shows the lower layers, the first on top, and writes into the upper one", function()
    local d = layers()
    local r = assert(m.run({ step("mount.overlay",
      { target = "/o", lower = { d .. "/a,b:c", d .. "/two" }, upper = d .. "/upper", work = d .. "/work" }) },
      { user = skip.user, script = "cat /o/a /o/two /o/both; rm /o/a; echo new > /o/two; ls /o; "
        .. "grep ' /o ' /proc/self/mountinfo | cut -d' ' -f9" }))
    assert.equal("a\ntwo\na\nboth\ntwo\noverlay\n", r.output)
    assert.equal("a\n", t.read_file(d .. "/a,b:c/a"))
    assert.equal("new\n", t.read_file(d .. "/upper/two"))
    assert.equal("two\n", t.read_file(d .. "/two/two"))
  end)

  it("is read-only without an upper layer", function()
    local d = layers()
    local r = assert(m.run({ step("mount.overlay", { target = "/o", lower = { d .. "/a,b:c", d .. "/two" } }) },
      { script = "cat /o/both; (> /o/x) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("a\nRead-only file system\n", r.output)
  end)

  it("may have its upper layer in a tmpfs, whose name is inside", function()
    local d = layers()
    local last = { step("mount.overlay", { target = "/o", lower = { "/low" }, upper = "/t/u", work = "/t/w" }) }
    local r = assert(m.run({ step("mount.bind", { source = d .. "/two", target = "/low", flags = { "ro" } }),
      step("mkdir", "/t/u"), step("mkdir", "/t/w") },
      { last = last, script = "echo x > /o/two; cat /o/two /low/two; rm -r /o/both; ls /o" }))
    assert.equal("x\ntwo\ntwo\n", r.output)
    assert.truthy(t.read_file(d .. "/two/both"))
  end)

  it("may be the root", function()
    local d = layers()
    local r = assert(m.run({ step("file", { path = "/new", data = "new" }) }, { user = skip.user,
      root = step("root.overlay", { lower = { d .. "/a,b:c", d .. "/two" }, upper = d .. "/upper",
        work = d .. "/work" }),
      script = "cat /both /two; rm /a; ls /; stat -f -c %T /" }))
    assert.truthy(r.output:find("^a\ntwo\n.*overlayfs\n$"), r.output)
    assert.equal("new", t.read_file(d .. "/upper/new"))
    assert.equal("a\n", t.read_file(d .. "/a,b:c/a"))
    local _, message, errno = m.run({}, { root = step("root.overlay", { lower = { d .. "/two", "/no/such" } }) })
    assert.equal(E.ENOENT, errno, message)
  end)

  it("has room for many layers with long names", function()
    local d = layers()
    local lower, script = {}, { "cd " .. d }
    for i = 1, 40 do
      lower[i] = ("%s/%s%d"):format(d, ("long"):rep(60), i)
      script[#script + 1] = ("mkdir %s%d; touch %s%d/f%d"):format(("long"):rep(60), i, ("long"):rep(60), i, i)
    end
    t.sh(table.concat(script, "; "))
    assert.equal("40\n", assert(m.run({ step("mount.overlay", { target = "/o", lower = lower }) },
      { script = "ls /o | wc -l" })).output)
  end)

  it("uses xattrs that a user may set in a user namespace", function()
    local d = layers()
    local list = mounts_of({ step("mount.overlay", { target = "/o", lower = { d .. "/two", d .. "/a,b:c" } }) },
      { user = true })
    assert.truthy(list["/o"].super:find("userxattr", 1, true))
    list = mounts_of({ step("mount.overlay",
      { target = "/o", lower = { d .. "/two", d .. "/a,b:c" }, userxattr = false }) }, { user = true })
    assert.falsy(list["/o"].super:find("userxattr", 1, true))
  end)

  it("names a layer that is missing, or can't be one", function()
    local d = layers()
    local errno, message = fails(step("mount.overlay", { target = "/o", lower = { d .. "/two", d .. "/none" } }))
    assert.equal(E.ENOENT, errno)
    assert.truthy(message:find("source " .. d .. "/none", 1, true), message)
    errno = fails(step("mount.overlay", { target = "/o", lower = { "/usr", d .. "/two/two" } }))
    assert.equal(E.ENOTDIR, errno)
    errno = fails(step("mount.overlay", { target = "/o", lower = { d .. "/two" }, upper = d .. "/upper" }))
    assert.equal(E.EINVAL, errno)
    errno = fails(step("mount.overlay", { target = "/o", lower = {} }))
    assert.equal(E.EINVAL, errno)
    errno, message = fails(step("mount.overlay", { target = "/o", lower = { d .. "/two" } }))
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("two lower ones", 1, true), message)
    errno, message = fails(step("mount.overlay",
      { target = "/o", lower = { d .. "/two", "/usr" }, options = { "metacopy=perhaps" } }))
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("overlay", 1, true), message)
    for _, bad in ipairs { { target = "/o" }, { target = "/o", lower = "/usr" }, { lower = { "/usr" } },
      { target = "/o", lower = { "/usr" }, uppr = "/x" } } do
      assert.is_false((pcall(t.core.check, "mount.overlay", bad)))
    end
  end)
end)

describe("mount.proc", function()
  teardown(m.clean)

  it("shows the pid namespace's own processes, with hidepid and subset", function()
    local list = mounts_of({ step("mount.proc", { target = "/p", hidepid = "invisible", subset = "pid" }),
      step("mount.proc", { target = "/q", flags = { "ro" } }) })
    assert.truthy(list["/p"].super:find("hidepid=invisible", 1, true))
    assert.truthy(list["/p"].super:find("subset=pid", 1, true))
    assert.truthy(list["/p"].flags:find("nosuid,nodev,noexec", 1, true))
    assert.equal(",ro,relatime,", list["/q"].flags)
    local r = assert(m.run({ step("mount.proc", { target = "/p", subset = "pid" }) },
      { script = "ls -d /proc/[0-9]* | head -1; ls /p | grep -c meminfo" }))
    assert.equal("/proc/1\n0\n", r.output)
  end)

  it("refuses a target that is, or lies behind, a symlink, or is no directory", function()
    for _, first in ipairs { {}, { m.enosys("openat2") } } do
      for _, kind in ipairs { "mount.proc", "mount.sysfs" } do
        local function run(steps)
          steps[#steps + 1] = step(kind, "/image/proc")
          local _, message, errno = m.run(steps, { first = first })
          return errno, message
        end
        assert.equal(E.ELOOP, (run { step("mkdir", "/image/x"),
          step("symlink", { target = "x", at = "/image/proc" }) }))
        assert.equal(E.ELOOP, (run { step("mkdir", "/x"), step("symlink", { target = "/x", at = "/image" }) }))
        assert.equal(E.ENOTDIR, (run { step("file", { path = "/image/proc", data = "" }) }))
      end
    end
  end)

  it("says what it takes in a user namespace", function()
    local _, message, errno = m.run({}, { user = true, namespaces = { "mount" } })
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("pid namespace of its own", 1, true), message)
    assert.has_error(function() t.core.check("mount.proc", { target = "/p", hidepid = "very" }) end)
    assert.has_error(function() t.core.check("mount.proc", { target = "/p", subset = "net" }) end)
    assert.has_error(function() t.core.check("mount.proc", {}) end)
  end)
end)

describe("mount.sysfs", function()
  it("mounts the network namespace's own", function()
    local r = assert(m.run({ step("mount.sysfs", { target = "/sys", flags = { "ro", "nosuid", "nodev", "noexec" } }) },
      { script = "ls /sys/class/net; (echo > /sys/kernel/uevent_seqnum) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("lo\nRead-only file system\n", r.output)
  end)

  it("says what it takes in a user namespace", function()
    local _, message, errno = m.run({ step("mount.sysfs", "/sys") }, { user = true, namespaces = { "mount", "pid" } })
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("network namespace of its own", 1, true), message)
  end)
end)

describe("mount.devpts", function()
  it("is an instance of its own, with the modes given", function()
    local list = mounts_of { step("mount.devpts", { target = "/dev/pts", mode = "0600", ptmxmode = "0644", max = 8 }),
      step("mount.devpts", "/d") }
    assert.truthy(list["/dev/pts"].super:find("mode=600,ptmxmode=644,max=8", 1, true))
    assert.truthy(list["/d"].super:find("mode=620,ptmxmode=666", 1, true))
    assert.truthy(list["/d"].flags:find("nosuid,noexec", 1, true))
    local r = assert(m.run({ step("mount.devpts", { target = "/dev/pts", gid = 0 }) },
      { script = "ls /dev/pts; stat -c '%t:%T %a' /dev/pts/ptmx" }))
    assert.equal("ptmx\n5:2 666\n", r.output)
  end)

  it("refuses a group that the namespace doesn't know", function()
    if not t.needs("userns") then return end
    local _, message, errno = m.run({ step("mount.devpts", { target = "/dev/pts", gid = 5 }) }, { user = true })
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("gid", 1, true) or message:find("devpts", 1, true), message)
  end)
end)

describe("mount.mqueue", function()
  it("shows the ipc namespace's own queues", function()
    local list = mounts_of { step("mount.mqueue", "/dev/mqueue") }
    assert.equal("mqueue", list["/dev/mqueue"].type)
    assert.truthy(list["/dev/mqueue"].flags:find("nosuid,nodev,noexec", 1, true))
  end)
end)

describe("mount.cgroup", function()
  it("mounts the unified hierarchy", function()
    local r = assert(m.run({ step("mount.cgroup", "/c") },
      { script = "stat -f -c %T /c; test -e /c/cgroup.procs && echo yes; (mkdir /c/x) 2>&1 | grep -o 'Read-only.*'" }))
    assert.equal("cgroup2fs\nyes\nRead-only file system\n", r.output)
  end)

  it("mounts hierarchies of version 1", function()
    if not t.needs("cgroup_v1") then return end
    local list = mounts_of { step("mount.cgroup", { target = "/c/memory", controllers = { "memory" } }),
      step("mount.cgroup", { target = "/c/systemd", name = "systemd", flags = { "ro" } }) }
    assert.equal("cgroup", list["/c/memory"].type)
    assert.truthy(list["/c/memory"].super:find(",memory,", 1, true))
    assert.truthy(list["/c/memory"].flags:find("ro,nosuid,nodev,noexec", 1, true))
    assert.truthy(list["/c/systemd"].super:find("name=systemd", 1, true))
    local errno = fails(step("mount.cgroup", { target = "/c", controllers = { "nonsense" } }))
    assert.equal(E.EINVAL, errno)
  end)

  it("says what it takes in a user namespace", function()
    local _, message, errno = m.run({ step("mount.cgroup", "/c") }, { user = true, namespaces = { "mount", "pid" } })
    assert.equal(E.EPERM, errno)
    assert.truthy(message:find("cgroup namespace", 1, true), message)
  end)
end)

describe("mount.fs", function()
  it("mounts any filesystem with its options and source", function()
    local list = mounts_of { step("mount.fs",
      { "ramfs", target = "/r", source = "mine", options = { "mode=0700" }, flags = { "noexec" } }) }
    assert.equal("ramfs", list["/r"].type)
    assert.equal("mine", list["/r"].source)
    assert.truthy(list["/r"].super:find("mode=700", 1, true))
    assert.truthy(list["/r"].flags:find("noexec", 1, true))
  end)

  it("names a filesystem that the kernel doesn't have, and one that a user namespace may not mount", function()
    local errno, message = fails(step("mount.fs", { type = "nosuchfs", target = "/r" }))
    assert.equal(E.ENODEV, errno)
    assert.truthy(message:find("the kernel has no filesystem called nosuchfs", 1, true), message)
    errno = fails(step("mount.fs", { type = "ext4", target = "/r", source = "/dev/null" }), { user = true })
    assert.equal(E.EPERM, errno)
    assert.has_error(function() t.core.check("mount.fs", { type = "ramfs" }) end)
    assert.has_error(function() t.core.check("mount.fs", { type = "ramfs", target = "/r", data = "x" }) end)
  end)
end)
