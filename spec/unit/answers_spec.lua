-- What seccomp programs answer: the compiled program is run, for one call or for all that its arguments could be.
local answers = require "caisson.policy.answers"
local bpf = require "caisson.policy.bpf"
local core = require "caisson.core"
local policy = require "caisson.policy"

local function of(...)
  local list = {}
  for i, p in ipairs { ... } do list[i] = assert(policy.program(p)) end
  return answers.of(list)
end

describe("caisson.policy.answers", function()
  it("decides as the kernel would, each comparison of an argument included", function()
    local p = assert(policy.program(policy.default()))
    local a = answers.of { p }
    for _, call in ipairs { { "read" }, { "mount" }, { "clone3" }, { "socket", 1 }, { "socket", 38 }, { "socket", 40 },
      { "socket", "0x100000026" }, { "clone", "0x10000000" }, { "clone", 17 }, { "ioctl", 0, 0x5412 }, { "ioctl", 0, 0x5413 },
      { "ioctl", 0, "0x100005412" }, { "personality", "0xffffffff" }, { "personality", 1 } } do
      local args = { call[2], call[3] }
      args[1] = args[1] or 0
      local action, n = bpf.run(p, { nr = core.seccomp.number(call[1]), arch = bpf.arch[core.seccomp.architecture()], args = args })
      if action == "errno" then action = "errno " .. core.errno.name(n) end
      assert.equal(action, a:decide(call[1], args), call[1] .. " " .. tostring(call[2]))
    end
    assert.is_nil(a:decide("no_such_call"))
  end)

  it("says under which conditions a call gets what", function()
    local a = of(policy.new { "read", { "socket", args = { { 0, "==", 1 } } }, { "socket", args = { { 0, "==", 2 } } },
      { "prctl", args = { { 0, "==", 15 }, { 1, ">", 4096 } } } })
    assert.same({ { action = "allow" } }, a:call("read"))
    assert.same({ { action = "errno EPERM" } }, a:call("write"))
    local list = a:call("socket")
    assert.equal(3, #list)
    table.sort(list, function(x, y) return (x.when or "~") < (y.when or "~") end)
    assert.same({ { action = "allow", when = "arg0 == AF_INET" }, { action = "allow", when = "arg0 == AF_UNIX" }, { action = "errno EPERM" } },
      list)
    assert.equal("allow if arg0 == PR_SET_NAME and arg1.high > 0 or arg0 == PR_SET_NAME and arg1 > 0x1000; else errno EPERM", a:text("prctl"))
  end)

  it("takes the strictest of several filters, as the kernel does", function()
    local a = of(policy.default(), policy.no_setuid(), policy.new { default = "allow" } - "getpid")
    assert.equal("errno EPERM", a:decide "getpid")
    assert.equal("allow", a:decide("chmod", { 0, 493 }))
    assert.equal("errno EPERM", a:decide("chmod", { 0, 2048 + 493 }))
    assert.equal("errno EPERM", a:decide "mount")
    local k = of(policy.new { default = "kill_process", "read" }, policy.new { default = "ENOSYS", "write" })
    assert.equal("errno ENOSYS", k:decide "read")
    assert.equal("kill_process", k:decide "write")
    -- of two that are as strict, the one that was loaded last
    local e, n = policy.new { default = "EPERM", "read" }, policy.new { default = "ENOSYS", "read" }
    assert.same({ "errno ENOSYS", "errno EPERM" }, { of(e, n):decide "mount", of(n, e):decide "mount" })
    assert.same({ { action = "errno ENOSYS" } }, of(e, n):call "mount")
    assert.equal("allow", answers.of({}):decide "mount")
  end)

  it("takes arguments below zero as the kernel sees them", function()
    local a = of(policy.new { default = "allow" } - { { "socket", args = { { 0, "==", "0xffffffffffffffff" } } } })
    assert.same({ "errno EPERM", "allow" }, { a:decide("socket", { -1 }), a:decide("socket", { -2 }) })
  end)

  it("knows of calls to come and of other architectures", function()
    local t = of(policy.default()):table()
    assert.equal("errno ENOSYS", t["(newer calls)"])
    assert.equal("kill_process", t["(other architectures)"])
    local allowed, some, others = of(policy.default()):summary()
    assert.is_true(allowed > 200 and some >= 3)
    assert.equal("errno EPERM", others)
  end)

  it("looks at every way through a program that reckons", function()
    local function i(op, jt, jf, k) return string.char(op % 256, 0, jt, jf, k % 256, math.floor(k / 256) % 256, 0, 0) end
    -- A = arg0; A &= 0; if A == 0 allow, else kill
    local never = i(0x20, 0, 0, 16) .. i(0x54, 0, 0, 0) .. i(0x15, 0, 1, 0) .. "\6\0\0\0\0\0\255\127" .. "\6\0\0\0\0\0\0\128"
    assert.same({ { action = "allow" } }, answers.of({ never }):call("read"))
    -- the same of the address, which may be anything
    local address = i(0x20, 0, 0, 8) .. i(0x15, 0, 1, 7) .. "\6\0\0\0\0\0\255\127" .. "\6\0\0\0\0\0\0\128"
    assert.equal("allow if address == 7; else kill_process", answers.of({ address }):text("read"))
  end)
end)
