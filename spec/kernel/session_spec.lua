local t = require "support"
local step = t.step

local show = "awk '{ print $1, $5, $6, $7 }' /proc/self/stat" -- pid, pgrp, session, tty

describe("session", function()
  it("makes the program the leader of a session without a terminal", function()
    local r = assert(t.run({ step("session") }, { argv = { "awk", "{ print $1, $5, $6, $7 }", "/proc/self/stat" } }))
    local pid, pgrp, session, tty = r.output:match("(%d+) (%d+) (%d+) (-?%d+)")
    assert.same({ pid, pid, "0" }, { pgrp, session, tty })
    local without = assert(t.run({}, { script = show })).output
    assert.equal(t.sh(show):match("%S+ %S+ (%S+)"), without:match("%S+ %S+ (%S+)"))
  end)

  it("keeps input from being pushed into the host's terminal", function()
    -- to who has no CAP_SYS_ADMIN the kernel refuses TIOCSTI of any but its own terminal (CVE-2017-5226)
    if t.sh("command -v script") == "" then return pending("needs script(1), for a terminal") end
    local code = t.lua_command([[
      local core = require "caisson.core"
      local function push(steps)
        local none = {}
        steps[#steps + 1] = { step = "capabilities", options = { bounding = core.identity().euid == 0 and none or nil,
          permitted = none, effective = none } }
        steps[#steps + 1] = { step = "exec", options = { argv = { "perl", "-e",
          "$x = '#'; exit(ioctl(STDIN, 0x5412, $x) ? 0 : $!+0)" }, files = { "stdin", "stdout", "stderr" } } }
        local p = assert(core.spawn { plan = core.plan(steps), slots = { stdin = 0, stdout = 1, stderr = 2 } })
        return p:wait().code
      end
      io.write("without ", push {}, " with ", push { { step = "session" } }, "\n")]])
    local out = t.sh("script -qec " .. "'" .. code .. "' /dev/null < /dev/null 2>&1")
    -- a kernel with dev.tty.legacy_tiocsti=0 refuses both, with EIO
    local legacy = t.read_file("/proc/sys/dev/tty/legacy_tiocsti")
    assert.matches(legacy == "0\n" and "without 5 with [15]\r?\n" or "without 0 with [15]\r?\n", out)
  end)

  it("fails for who leads a group already", function()
    local ok, message, errno = t.run { step("session"), step("session") }
    assert.is_nil(ok)
    assert.equal(1, errno)
    assert.matches("^step 2, session%[2%] ?: ", message)
  end)

  it("takes no options", function()
    assert.has_error(function() t.core.check("session", { leader = true }) end)
  end)
end)

describe("tty", function()
  -- A terminal of our own: the slave's descriptor, made by this interpreter's own hands.
  local function pty()
    local master = assert(t.core.open("/dev/ptmx", { "readwrite" }))
    local ok, ffi = pcall(require, "ffi")
    if not ok then return nil end
    pcall(ffi.cdef, "int ioctl(int, unsigned long, ...);")
    local n = ffi.new("int[1]", 0)
    assert.equal(0, ffi.C.ioctl(master:fileno(), 0x40045431, n)) -- TIOCSPTLCK
    assert.equal(0, ffi.C.ioctl(master:fileno(), 0x80045430, n)) -- TIOCGPTN
    return master, assert(t.core.open("/dev/pts/" .. n[0], { "readwrite" }))
  end

  it("is the program's controlling terminal", function()
    local master, slave = pty()
    if not master then return pending("needs LuaJIT's ffi, to make a terminal") end
    local r = assert(t.run({ step("session"), step("tty", { fd = "tty" }) }, { slots = { tty = slave },
      script = "awk '{ print $7, $8 }' /proc/self/stat; tty < /dev/tty; echo here > /dev/tty" }))
    local number, foreground = r.output:match("^(%d+) (%d+)\n")
    assert.are_not.equal("0", number)
    assert.equal(r.pid, tonumber(foreground))
    assert.equal("here\r\n", master:read())
    slave:close()
    master:close()
  end)

  it("fails without a session, without a terminal, and without a descriptor", function()
    local master, slave = pty()
    if not master then return pending("needs LuaJIT's ffi, to make a terminal") end
    local function fails(errno, steps, slots)
      local ok, message, e, failure = t.run(steps, { slots = slots })
      assert.is_nil(ok)
      assert.equal(errno, e, message)
      assert.equal("tty", failure.step)
    end
    fails(1, { step("tty", { fd = "tty" }) }, { tty = slave })
    fails(25, { step("session"), step("tty", { fd = "stdin" }) })
    fails(9, { step("session"), step("tty", { fd = "nothing" }) })
    slave:close()
    master:close()
  end)

  it("is not taken from another session, even by root", function()
    local master, slave = pty()
    if not master then return pending("needs LuaJIT's ffi, to make a terminal") end
    local holder = assert(t.core.spawn { plan = t.core.plan { step("session"), step("tty", { fd = "tty" }),
      step("exec", { argv = { "sleep", "20" } }) }, slots = { tty = slave } })
    local ok, _, errno = t.run({ step("session"), step("tty", { fd = "tty" }) }, { slots = { tty = slave } })
    assert.is_nil(ok)
    assert.equal(1, errno)
    holder:close()
    slave:close()
    master:close()
  end)

  it("takes a slot alone", function()
    for _, bad in ipairs { 5, "", true, {}, ("x"):rep(65) } do
      assert.has_error(function() t.core.check("tty", { fd = bad }) end)
    end
    assert.has_error(function() t.core.check("tty", {}) end)
  end)
end)
