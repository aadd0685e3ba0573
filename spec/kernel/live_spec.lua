-- Mounts added to a running container, and taken away.
local t = require "support"
local m = require "support.mounts"
local caisson = require "caisson"
local E = t.core.errno

-- A container that waits, with mountinfo as its program sees it.
local function start(options)
  local def = { extends = "sandbox" }
  for k, v in pairs(options or {}) do def[k] = v end
  local running = assert(caisson.start(caisson.recipe(def), { args = { "/bin/sh", "-c", "echo up; while read -r c; do eval \"$c\"; echo .; done" },
    stdin = "pipe", stdout = "pipe", stderr = "stdout" }))
  assert.equal("up\n", running.stdout:read())
  -- what a command in the container prints
  local function ask(command)
    running.stdin:write(command .. "\n")
    local text = ""
    while text:sub(-2) ~= ".\n" do text = text .. assert(running.stdout:read()) end
    return text:sub(1, -3)
  end
  return running, ask
end

local function fails(errno, pattern, ok, message, e)
  assert.is_nil(ok)
  assert.matches(pattern, message)
  assert.equal(errno, e)
end

describe("a running container", function()
  if not t.needs "userns" then return end
  teardown(m.clean)
  local dir, running, ask

  before_each(function()
    dir = m.tmpdir()
    t.sh("cd " .. dir .. "; chmod 755 .; mkdir sub; echo text > file; echo below > sub/file")
    running, ask = start()
  end)
  after_each(function() running:close() end)

  it("gets a directory of the host's, read-only, and loses it again", function()
    local host = t.read_file "/proc/self/mountinfo"
    assert(running:mount { bind = dir, at = "/tmp/new" })
    assert.equal("text\nbelow\n", ask "cat /tmp/new/file /tmp/new/sub/file")
    assert.matches("Read%-only", ask "(> /tmp/new/x) 2>&1")
    local at = m.mounts(ask "cat /proc/self/mountinfo")["/tmp/new"]
    assert.matches(",ro,", at.flags)
    assert.matches(",nosuid,", at.flags)
    assert.matches(",nodev,", at.flags)
    assert.equal(host, t.read_file "/proc/self/mountinfo") -- and the host has no mount more
    assert(running:unmount "/tmp/new")
    assert.equal("", ask "ls -A /tmp/new")
    fails(E.EINVAL, "nothing is mounted at /tmp/new", running:unmount "/tmp/new")
  end)

  it("gets a file, and a tmpfs of its own", function()
    assert(running:mount { bind = dir .. "/file", at = "/tmp/one/file", exec = false })
    assert(running:mount { tmpfs = "/tmp/mem", size = 65536, mode = "1777" })
    assert.equal("text\n", ask "cat /tmp/one/file")
    assert.matches(",noexec,", m.mounts(ask "cat /proc/self/mountinfo")["/tmp/one/file"].flags)
    assert.matches("size=64k", m.mounts(ask "cat /proc/self/mountinfo")["/tmp/mem"].super)
    assert.equal("x\n", ask "echo x > /tmp/mem/x; cat /tmp/mem/x")
  end)

  it("is not to be written through by stealth: no file of another's rights", function()
    t.sh("chmod 777 " .. dir)
    if t.is_root then
      assert(running:mount { bind = dir, at = "/tmp/w", writable = true })
    else
      fails(E.EPERM, "setuid_files = true allows them", running:mount { bind = dir, at = "/tmp/w", writable = true })
      assert(running:mount { bind = dir, at = "/tmp/w", writable = true, setuid_files = true })
    end
    ask "echo written > /tmp/w/out"
    assert.equal("written\n", t.read_file(dir .. "/out"))
  end)

  it("keeps what is in use, unless it is taken lazily", function()
    assert(running:mount { bind = dir, at = "/tmp/used" })
    ask "exec 7< /tmp/used/file"
    fails(E.EBUSY, "somebody uses it", running:unmount "/tmp/used")
    assert.equal("text\n", ask "cat /tmp/used/file")
    assert(running:unmount("/tmp/used", { lazy = true }))
    assert.equal("text\n", ask "cat <&7; ls -A /tmp/used")
    fails(E.EBUSY, "the root itself", running:unmount "/")
  end)

  it("leads no mount anywhere by its symlinks", function()
    ask "ln -s / /tmp/slash; ln -s ../../../../../.. /tmp/up; mkdir /tmp/there"
    assert(running:mount { bind = dir, at = "/tmp/up/tmp/there" })
    assert.equal("text\n", ask "cat /tmp/there/file")
    assert.is_nil(t.core.lstat "/tmp/there")
    fails(E.ELOOP, "target /tmp/slash/tmp/x", running:mount { bind = dir, at = "/tmp/slash/tmp/x", target_nofollow = true })
    fails(E.ELOOP, "/tmp/up/tmp/there", running:unmount "/tmp/up/tmp/there")
    fails(E.EROFS, "target /usr/x", running:mount { bind = dir, at = "/usr/x" })
    fails(E.ENOENT, "source /nowhere", running:mount { bind = "/nowhere", at = "/tmp/x" })
  end)

  it("that has ended, or has the host's mounts, is refused", function()
    local pid, pidfd = running:pid(), t.core.dup(running.process:pidfd())
    running:close()
    fails(E.ENOENT, "/proc/%d+/root", require("caisson.live").mount({ pid = pid, pidfd = pidfd }, { bind = dir, at = "/tmp/x" }))
    -- the pid of somebody else by now
    fails(E.ESRCH, "the container has ended", require("caisson.live").mount({ pid = t.getpid(), pidfd = pidfd },
      { bind = dir, at = "/tmp/x" }))
    pidfd:close()
    local bare = assert(caisson.start(caisson.recipe {}, { args = { "/bin/sleep", "10" } }))
    fails(E.EPERM, "no mount namespace of its own", bare:mount { tmpfs = dir })
    bare:close()
  end)

  it("may be one that was created, before its start and after, from another object too", function()
    local root = m.tmpdir()
    local c = assert(caisson.create(caisson.recipe { extends = "sandbox" }, { id = "live" .. t.getpid(), root = root, stdin = "pipe",
      stdout = "pipe", args = { "/bin/sh", "-c", "cat /tmp/early/file; read -r x; cat /tmp/late/file; ls -A /tmp/early; read -r x" } }))
    assert(c:mount { bind = dir, at = "/tmp/early" })
    assert(c:start())
    assert.equal("text\n", c.stdout:read())
    local again = assert(caisson.open(c.id, { root = root }))
    assert(again:mount { bind = dir, at = "/tmp/late" })
    assert(again:unmount "/tmp/early")
    again:close()
    c.stdin:write "\n"
    assert.equal("text\n", c.stdout:read())
    c.stdin:write "\n"
    c:wait()
    fails(E.ESRCH, "is stopped", c:mount { bind = dir, at = "/tmp/x" })
    assert(c:delete())
    c:close()
  end)

  it("leaves no descriptor and no child behind, whatever came of it", function()
    running:mount { tmpfs = "/tmp/a" }
    local fds, children = t.count_fds(), t.count_children()
    for _ = 1, 3 do
      assert(running:mount { bind = dir, at = "/tmp/again" })
      assert(running:unmount "/tmp/again")
      running:mount { bind = "/nowhere", at = "/tmp/again" }
      running:mount { bind = dir, at = "/usr/nowhere" }
      running:unmount "/tmp/again"
    end
    assert.same({ fds, children }, { t.count_fds(), t.count_children() })
  end)

  it("refuses bad input, naming the option", function()
    for _, bad in ipairs { {}, { proc = "/x" }, { bind = dir, tmpfs = "/x" } } do
      assert.has_error(function() running:mount(bad) end, "mount: { bind = } or { tmpfs = } expected, as in a recipe's mounts")
    end
    local function raises(pattern, fn, ...)
      local ok, message = pcall(fn, running, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    raises("option 'target': string expected, got number", running.mount, { bind = dir, at = 5 })
    raises("option 'target': a string without NUL", running.mount, { bind = dir, at = "/x\0y" })
    raises("option 'target': a path of 5001 bytes", running.mount, { bind = dir, at = "/" .. ("x"):rep(5000) })
    raises("mount: unknown option 'writeable' %(did you mean 'writable'%?%)", running.mount, { bind = dir, at = "/x", writeable = true })
    raises("unmount: option 'path': string expected, got table", running.unmount, {})
    raises("unmount: unknown option 'lasy'", running.unmount, "/x", { lasy = true })
    raises("unmount: option 'lazy': true or false expected", running.unmount, "/x", { lazy = 1 })
  end)
end)
