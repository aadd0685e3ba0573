local t = require "support"

describe("hostname and domainname", function()
  local clone = t.is_root and t.step("clone", { "uts" }) or t.step("clone", { "user", "uts" })

  it("set the container's names and leave the host's", function()
    local before = t.read_file("/proc/sys/kernel/hostname")
    local r = assert(t.run({ clone, t.step("hostname", "box"), t.step("domainname", "example.org") },
      { script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname" }))
    assert.equal("box\nexample.org\n", r.output)
    assert.equal(before, t.read_file("/proc/sys/kernel/hostname"))
  end)

  it("fail with step, index, object and errno", function()
    local long = ("x"):rep(65)
    local ok, message, errno, failure = t.run { clone, t.step("hostname", "ok"), t.step("hostname", long) }
    assert.is_nil(ok)
    assert.equal("step 3, hostname[2] " .. long .. ": Invalid argument (EINVAL)", message)
    assert.equal(22, errno)
    assert.same({ step = "hostname", number = 3, index = 2, side = "child", object = long, errno = 22,
      code = "EINVAL" }, failure)
  end)

  it("are never the host's", function()
    local before = t.read_file("/proc/sys/kernel/hostname")
    for _, name in ipairs { "hostname", "domainname" } do
      local _, message, errno = t.run { t.step("clone", { t.is_root and "pid" or "user" }), t.step(name, "mine") }
      assert.equal(1, errno)
      assert.truthy(message:find("needs a uts namespace of its own", 1, true), message)
    end
    assert.equal(before, t.read_file("/proc/sys/kernel/hostname"))
  end)

  it("refuse an unknown option, naming the nearest", function()
    assert.has_error(function() t.core.hostname { nmae = "x" } end,
      "hostname: unknown option 'nmae' (did you mean 'name'?)")
  end)

  it("refuse a NUL", function()
    assert.has_error(function() t.core.hostname("a\0b") end,
      "option 'name': a string without NUL expected")
  end)
end)
