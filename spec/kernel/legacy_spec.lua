-- Policies that answer ENOSYS to newer calls: each is done without, or refused.
local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

local all = { "openat2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr", "fchmodat2" }

describe("without the calls that know mounts by descriptor", function()
  teardown(m.clean)

  local function container(steps, opts)
    opts.first, opts.system = { m.enosys(all) }, false
    local list = {}
    for _, d in ipairs { "/usr", "/bin", "/lib", "/lib64", "/etc" } do
      if t.core.open(d, "path") then list[#list + 1] = step("mount.bind",
        { source = d, target = d, recursive = true, flags = { "ro", "nosuid" } }) end
    end
    list[#list + 1] = step("mount.proc", "/proc")
    for _, s in ipairs(steps) do list[#list + 1] = s end
    return m.run(list, opts)
  end

  for _, user in ipairs { false, true } do
    it("a container is made all the same, " .. (user and "in a user namespace" or "as this user"), function()
      local before = t.read_file("/proc/self/mountinfo")
      local d = m.tmpdir()
      t.sh("chmod 755 " .. d .. "; echo data > " .. d .. "/file; mkdir " .. d .. "/up " .. d .. "/work")
      local r = assert(container({
        step("mount.tmpfs", { target = "/t", size = 65536, mode = "1777", flags = { "noexec", "nosuid" } }),
        step("mount.bind", { source = d .. "/file", target = "/a/file", flags = { "ro", "nodev" } }),
        step("mount.bind", { source = d, target = "/p", propagation = "shared" }),
        step("mount.overlay", { target = "/o", lower = { d, "/etc" }, upper = d .. "/up", work = d .. "/work" }),
        step("device", "/dev/null"), step("mount.devpts", "/dev/pts"),
        step("file", { path = "/f", data = "inline\n", mount = true }),
        step("file", { path = "/secret", data = "secret" }), step("mask", "/secret"), step("mask", "/proc/sys"),
          step("mask", "/proc/fs"),
        step("mkdir", { path = "/w", mode = "1777" }),
      }, { user = user, last = { step("root.readonly", { flags = { "nosuid" } }) }, script = [[
        cat /a/file /f /secret; echo > /dev/null && echo null; (> /a/file) 2>&1 | grep -o 'Read-only.*'
        (> /x) 2>&1 | grep -o 'Read-only.*'
        ls -A /proc/sys; stat -c %a /w /t; test -e /o/passwd && cat /o/file; > /t/x && echo wrote
        cat /proc/self/mountinfo]] }))
      local body, info = r.output:match("^(.-)(%d+ %d+ %d+:.*)$")
      assert.equal("data\ninline\nnull\nRead-only file system\nRead-only file system\n1777\n1777\ndata\nwrote\n", body)
      local list = m.mounts(info)
      assert.truthy(list["/t"].flags:find("nosuid", 1, true) and list["/t"].flags:find("noexec", 1, true))
      assert.truthy(list["/a/file"].flags:find(",ro,", 1, true) and list["/a/file"].flags:find(",nodev,", 1, true))
      assert.truthy(list["/usr"].flags:find(",ro,nosuid,", 1, true))
      assert.truthy(list["/p"].tags:find("shared", 1, true))
      assert.equal("overlay", list["/o"].type)
      assert.truthy(list["/"].flags:find(",ro,nosuid,nodev", 1, true))
      assert.equal(before, t.read_file("/proc/self/mountinfo"))
    end)
  end

  it("what only they can do is refused", function()
    local _, message, errno = container({ step("mount.bind",
      { source = "/usr", target = "/x", recursive = true, flags = { "rro" } }) }, {})
    assert.equal(E.ENOSYS, errno)
    assert.truthy(message:find("flags of a whole tree need it", 1, true), message)
    _, message, errno = container({ step("readonly", "/proc/sys") }, {})
    assert.equal(E.ENOSYS, errno, message)
    _, message, errno = container({ step("mount.bind", { source = "/usr", target = "/x", idmap = { { 0, 0, 1 } } }) },
      {})
    assert.equal(E.ENOSYS, errno, message)
    _, message, errno = container({ step("mount.tmpfs", { target = "/x", options = { "mpol=bind:0,1" } }) }, {})
    assert.equal(E.EINVAL, errno)
    assert.truthy(message:find("no comma", 1, true), message)
  end)

  it("flags are cleared as well", function()
    local r = assert(container({ step("mount.tmpfs", { target = "/all",
      flags = { "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow" } }) }, { last = {
      step("mount.bind", { source = "/all", target = "/a", flags = { "rw", "dev", "symfollow" } }),
      step("mount.bind", { source = "/all", target = "/b", flags = { "suid", "exec", "diratime", "strictatime" } }),
      step("mount.bind", { source = "/all", target = "/c", flags = { "relatime" } }),
    }, script = "cat /proc/self/mountinfo" }))
    local list = m.mounts(r.output)
    assert.equal(",rw,nosuid,noexec,noatime,nodiratime,", list["/a"].flags)
    assert.equal(",ro,nodev,nosymfollow,", list["/b"].flags)
    assert.equal(",ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow,", list["/c"].flags)
  end)

  it("an optional step that is refused leaves nothing behind", function()
    local refused = {
      step("mount.bind", { source = "/usr", target = "/x", recursive = true, flags = { "rro" } }, { optional = true }),
      step("mount.bind", { source = "/etc/passwd", target = "/usr", flags = { "ro" } }, { optional = true }),
      step("mount.tmpfs", { target = "/etc/passwd" }, { optional = true }),
    }
    local r = assert(container({ refused[1], refused[2], refused[3], step("file", { path = "/after", data = "after\n" }) },
      { last = refused, script = "cat /after; grep -cE ' /proc/(driver|version) ' /proc/self/mountinfo" }))
    assert.equal("after\n0\n", r.output)
    local errnos = {}
    for _, errno in pairs(r.skipped) do errnos[#errnos + 1] = errno end
    table.sort(errnos)
    assert.same({ E.ENOTDIR, E.ENOTDIR, E.EISDIR, E.EISDIR, E.ENOSYS, E.ENOSYS }, errnos)
  end)

  it("each call has its own way out, but for those that only go together", function()
    local function run(name)
      return m.run({ step("mount.bind", { source = "/usr", target = "/usr" }), step("mount.tmpfs", "/t"),
        step("file", { path = "/t/f", data = "x" }),
        step("symlink", { target = "usr/bin", at = "/bin" }), step("symlink", { target = "usr/lib", at = "/lib" }),
          step("symlink", { target = "usr/lib64", at = "/lib64" }) },
        { first = { m.enosys(name) }, system = false, script = "cat /t/f" })
    end
    for _, name in ipairs { "openat2", "open_tree", "fsopen", "mount_setattr", "fchmodat2" } do
      assert.equal("x", assert(run(name)).output, name)
    end
    for _, name in ipairs { "fsconfig", "fsmount" } do
      local _, _, errno = run(name)
      assert.equal(E.ENOSYS, errno, name)
    end
  end)
end)
