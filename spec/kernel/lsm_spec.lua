-- Labels on a machine without their security module; with AppArmor, spec/vm/apparmor_spec.lua.
local t = require "support"
local step = t.step
local E = t.core.errno

local function active(name)
  return (t.read_file "/sys/kernel/security/lsm" or ""):find(name, 1, true) ~= nil
end

local function fails(errno, pattern, ...)
  local ok, message, e = t.run { ... }
  assert.is_nil(ok)
  assert.matches(pattern, message)
  assert.equal(errno, e)
end

describe("apparmor", function()
  it("says that AppArmor is missing", function()
    if active "apparmor" then return pending "AppArmor is active" end
    fails(E.EOPNOTSUPP, "apparmor%[1%] box: AppArmor is not active in this kernel", step("apparmor", "box"))
    fails(E.EOPNOTSUPP, "apparmor%[1%] &box: AppArmor is not active in this kernel", step("apparmor", { profile = "&box" }))
  end)

  it("is a protection: it may be missing only where it is optional, and then the result says so", function()
    if active "apparmor" then return pending "AppArmor is active" end
    local r = assert(t.run({ step("apparmor", "box", { optional = true }) }, { script = "echo ran" }))
    assert.equal("ran\n", r.output)
    assert.equal(E.EOPNOTSUPP, r.skipped[1])
  end)

  it("refuses bad names", function()
    fails(E.EINVAL, "an empty name", step("apparmor", ""))
    fails(E.EINVAL, "an empty name", step("apparmor", "&"))
    fails(E.ENAMETOOLONG, "at most 1000 bytes", step("apparmor", ("x"):rep(1001)))
    for _, bad in ipairs { 5, true, "a\0b" } do
      assert.has_error(function() t.core.check("apparmor", { profile = bad }) end)
    end
  end)
end)

describe("selinux", function()
  local label = "system_u:system_r:container_t:s0:c1,c2"

  it("says that SELinux is missing", function()
    if active "selinux" then return pending "SELinux is active" end
    fails(E.EOPNOTSUPP, "selinux%[1%] system_u:.*: SELinux is not active in this kernel", step("selinux", label))
  end)

  it("refuses bad labels", function()
    fails(E.EINVAL, "a label such as", step("selinux", ""))
    fails(E.EINVAL, "a label such as", step("selinux", ("x"):rep(1024)))
    assert.has_error(function() t.core.check("selinux", { label = "a\0b" }) end)
  end)
end)

describe("a label", function()
  it("is not written to what an image has in place of /proc", function()
    if not t.needs "userns" then return end
    -- a tmpfs with a file of the right name (CVE-2019-16884); where the module is missing that comes first
    if not active "apparmor" then return pending "needs AppArmor: spec/vm/apparmor_spec.lua proves it" end
    local ok, message, errno = t.run(t.steps(t.contained { "mount" }, step("lua", { name = "lie" }),
      step("apparmor", "unconfined")), { functions = { lie = function()
        assert(os.execute("mount --make-rprivate / 2>/dev/null; mount -t tmpfs lie /proc && " ..
          "mkdir -p /proc/thread-self/attr/apparmor && : > /proc/thread-self/attr/apparmor/exec"))
      end } })
    assert.is_nil(ok)
    assert.equal(E.EOPNOTSUPP, errno)
    assert.matches("/proc is not a procfs", message)
  end)
end)
