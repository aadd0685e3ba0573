local t = require "support"
local core, step = t.core, t.step

-- A container with a devpts of its own over /dev/pts, and a terminal there.
local function steps(pty)
  local list = {}
  if t.is_root then
    list[1] = step("clone", { "mount" })
  else
    local id = core.identity()
    list[1] = step("clone", { "user", "mount" })
    list[2] = step("idmap", { uid = { { id.uid, id.uid, 1 } }, gid = { { id.gid, id.gid, 1 } },
      setgroups = "deny" }, { side = "child" })
  end
  for _, s in ipairs {
    step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
    step("mount.devpts", { target = "/dev/pts" }),
    step("pty", pty),
    step("send", { fd = pty.master }),
    step("session"),
    step("tty", { fd = pty.slave }),
  } do
    list[#list + 1] = s
  end
  return list
end

local function spawn(pty, script)
  local list = steps(pty)
  list[#list + 1] = step("exec", { argv = { "/bin/sh", "-c", script }, files = { pty.slave, pty.slave, pty.slave } })
  local process = assert(core.spawn { plan = core.plan(list) })
  return process, process:slot(pty.master)
end

-- All that the program writes on its terminal; its end is an EIO.
local function all(master)
  local parts = {}
  while true do
    local s = master:read()
    if not s then return (table.concat(parts):gsub("\r\n", "\n")) end
    parts[#parts + 1] = s
  end
end

describe("pty and send", function()
  if not (t.is_root or t.needs("userns")) then return end

  it("give the program a controlling terminal of its own devpts, of the size asked for", function()
    local process, master = spawn({ master = "pty", slave = "tty", rows = 33, columns = 77 },
      "tty; stty size; echo control >/dev/tty; ls -1 /dev/pts; readlink /proc/self/fd/0")
    assert.equal("/dev/pts/0\n33 77\ncontrol\n0\nptmx\n/dev/pts/0\n", all(master))
    assert.equal(0, process:wait().code)
    master:close()
    process:close()
  end)

  it("make it a session with a foreground: ^C reaches the program", function()
    local process, master = spawn({ master = "pty", slave = "tty" }, "trap 'echo caught; exit 7' INT; echo ready; read x")
    assert.equal("ready\r\n", master:read())
    master:write("\3")
    assert.equal("^Ccaught\n", all(master))
    assert.equal(7, process:wait().code)
    process:close()
  end)

  it("give the slave to the ids asked for", function()
    local id = core.identity()
    local uid = t.is_root and 4321 or id.uid
    local process, master = spawn({ master = "pty", slave = "tty", uid = uid, gid = id.gid },
      "stat -c '%u %g' /dev/pts/0")
    assert.equal(("%d %d\n"):format(uid, id.gid), all(master))
    process:close()
  end)

  it("refuse what is no ptmx", function()
    local ok, message, errno = t.run(steps { path = "/dev/null", master = "pty", slave = "tty" })
    assert.is_nil(ok)
    assert.truthy(message:find("pty[1] pty, tty of /dev/null: /dev/null is no ptmx: mount a devpts there: No such device (ENODEV)", 1, true))
    assert.equal(19, errno)
    ok, message = t.run(steps { path = "/dev/none", master = "pty", slave = "tty" })
    assert.is_nil(ok)
    assert.truthy(message:find("pty[1] pty, tty of /dev/none: /dev/none: No such file or directory (ENOENT)", 1, true))
    ok, message = t.run(steps { path = "ptmx", master = "pty", slave = "tty" })
    assert.is_nil(ok)
    assert.truthy(message:find("the path of a ptmx device is expected, got ptmx: Invalid argument (EINVAL)", 1, true))
  end)

  it("fail to send an empty slot, and leave no descriptor", function()
    collectgarbage()
    local before = t.count_fds()
    for _ = 1, 5 do
      local ok, message = t.run { t.is_root and step("clone", {}) or step("clone", { "user" }), step("send", { fd = "none" }) }
      assert.is_nil(ok)
      assert.equal("step 2, send[1] none: no descriptor in the slot: Bad file descriptor (EBADF)", message)
    end
    collectgarbage()
    assert.equal(before, t.count_fds())
  end)

  it("send only from the child's side", function()
    assert.has_error(function() core.plan { step("send", { fd = "x" }, { side = "parent" }) } end,
      "step 1: send has a side of its own")
  end)
end)

describe("terminal", function()
  if not (t.is_root or t.needs("userns")) then return end

  it("reads and sets size and modes, and puts them back", function()
    local process, master = spawn({ master = "pty", slave = "tty", rows = 10, columns = 20 },
      "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done")
    assert.equal("ready\r\n", master:read())
    assert.same({ 10, 20 }, { core.terminal.size(master) })
    local modes = assert(core.terminal.raw(master))
    assert.truthy(t.sh("stty -a </proc/" .. t.getpid() .. "/fd/" .. master:fileno() .. " 2>&1"))
    assert.is_true(core.terminal.restore(master, modes))
    assert.is_true(core.terminal.resize(master, 11, 21))
    assert.equal("11 21\n", all(master))
    process:close()
    local null = core.open("/dev/null")
    assert.same({ nil, ("terminal size of fd %d: Inappropriate ioctl for device (ENOTTY)"):format(null:fileno()), 25 },
      { core.terminal.size(null) })
    assert.is_false(core.terminal.foreground(null))
    assert.has_error(function() core.terminal.restore(null, "x") end)
  end)
end)

describe("signal", function()
  local script = [[
package.path, package.cpath = %q, %q
local core = require "caisson.core"
local fd = core.signal.open { "TERM", "USR1" }
local hup = core.signal.open { "HUP" }
assert(core.signal.read(fd) == nil)
core.signal.raise("USR1")
local s = core.signal.read(fd)
assert(s.signal == 10 and s.kernel == false and s.pid == core.identity().pid)
assert(core.signal.name(10) == "USR1" and core.signal.name(40) == nil)
core.signal.raise("HUP")
io.write(tostring(core.signal.read(hup) ~= nil), " ")
io.flush()
assert(select(3, core.signal.open { "INT", "USR1" }) == 16)
assert(os.execute("kill -USR1 $$") ~= 0) -- a child has the default
assert(core.signal.read(fd) == nil)
core.signal.close(fd)
core.signal.raise("TERM")
print "not reached"
]]
  local function run(prefix)
    local path = os.tmpname()
    local f = io.open(path, "w")
    f:write(script:format(package.path, package.cpath))
    f:close()
    local output = t.sh(prefix .. (arg[-1] or "luajit") .. " " .. path .. " 2>&1; echo $?")
    os.remove(path)
    return (output:gsub("Terminated\n", ""))
  end

  it("are read from a descriptor, and act again once let go", function()
    assert.equal("true 143\n", run(""))
  end)

  it("stay ignored where the caller ignores them", function()
    assert.equal("false 143\n", run("trap '' HUP; "))
  end)
end)
