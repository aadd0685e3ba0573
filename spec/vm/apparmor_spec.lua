-- AppArmor profiles on what is executed: allowed works, denied fails. The profile is compiled by apparmor_parser.
local t = require "support"
local caisson = require "caisson"
local step = t.step
local E = t.core.errno

local profile = [[
profile caisson-spec flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, ptrace, unix, mount, umount, pivot_root, userns, mqueue, dbus,
  deny /etc/hostname r,
  deny /tmp/secret rw,
}
profile caisson-other flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, ptrace, unix,
  deny /etc/debian_version r,
}
]]

local function parser(action)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(profile)
  f:close()
  -- an older parser does not know every rule of a newer kernel
  local out = t.sh("apparmor_parser -K " .. action .. " " .. path .. " 2>&1")
  if out:find "syntax error" then
    f = assert(io.open(path, "w"))
    f:write((profile:gsub(" userns, mqueue, dbus,", "")))
    f:close()
    out = t.sh("apparmor_parser -K " .. action .. " " .. path .. " 2>&1")
  end
  os.remove(path)
  return out
end

function t.probes.apparmor()
  local lsm = t.read_file "/sys/kernel/security/lsm" or ""
  return lsm:find("apparmor", 1, true) ~= nil and t.sh("command -v apparmor_parser") ~= "",
    "AppArmor is not active, or there is no apparmor_parser"
end

describe("apparmor", function()
  if not t.needs("root", "apparmor") then return end

  setup(function()
    local out = parser "-r"
    assert((t.read_file "/sys/kernel/security/apparmor/profiles" or ""):find("caisson-spec", 1, true), out)
  end)
  teardown(function() parser "-R" end)

  local look = "cat /proc/self/attr/current; cat /etc/passwd >/dev/null && echo allowed; cat /etc/hostname 2>&1 >/dev/null | "
    .. "sed 's/.*: //'; cat /etc/debian_version >/dev/null && echo version"

  it("confines what is executed: allowed works, denied fails", function()
    local free = assert(t.run({}, { script = look })).output
    assert.matches("^unconfined\nallowed\nversion\n$", free)
    local r = assert(t.run({ step("apparmor", "caisson-spec") }, { script = look }))
    assert.equal("caisson-spec (enforce)\nallowed\nPermission denied\nversion\n", r.output)
    -- and not this process
    assert.equal("unconfined\n", t.read_file "/proc/self/attr/current")
  end)

  it("works with no_new_privs", function()
    local r = assert(t.run({ step("apparmor", "caisson-spec"), step("no_new_privs") }, { script = look }))
    assert.matches("^caisson%-spec %(enforce%)\nallowed\nPermission denied\n", r.output)
  end)

  it("stacks a profile on the one in force", function()
    local r = assert(t.run({ step("apparmor", "&caisson-spec") }, { script = look }))
    assert.matches("caisson%-spec", r.output:match "^[^\n]*")
    assert.matches("//&", r.output:match "^[^\n]*")
    assert.matches("allowed\nPermission denied\nversion\n$", r.output)
  end)

  it("knows no profile of that name", function()
    local ok, message, errno = t.run { step("apparmor", "caisson-nosuch") }
    assert.is_nil(ok)
    assert.equal(E.ENOENT, errno)
    assert.matches("apparmor%[1%] caisson%-nosuch: no profile of that name is loaded", message)
  end)

  it("lets nobody change who may not", function()
    -- under caisson-other, which has no rule for a change of profile
    local r = assert(t.run({ step("apparmor", "caisson-other") }, { argv = t.program([[
      local ok, message, errno = core.apparmor("caisson-spec")
      return tostring(ok) .. " " .. tostring(errno) .. " " .. message]]) }))
    assert.matches("^nil 1?3? ?", r.output)
    assert.matches("AppArmor does not let this process change to that profile", r.output)
  end)

  it("is an option of recipes, in all namespaces, with an init and without", function()
    for _, init in ipairs { true, false } do
      local function sh(script, apparmor)
        local r, message = caisson.run(caisson.recipe { extends = "sandbox", apparmor = apparmor, init = init },
          { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture", stderr = "stdout" })
        return assert(r, message).stdout
      end
      local script = "cat /proc/self/attr/current; echo a > /tmp/open && cat /tmp/open; echo b > /tmp/secret && cat /tmp/secret"
      assert.matches("^unconfined\na\nb\n$", sh(script))
      local seen = sh(script, "caisson-spec")
      assert.matches("^caisson%-spec %(enforce%)\na\n", seen)
      assert.matches("Permission denied", seen)
      assert.is_nil(seen:find "\nb\n")
    end
  end)

  it("is written through procfs alone: an image's own /proc changes nothing (CVE-2019-16884)", function()
    local function lie()
      assert(os.execute("mount --make-rprivate / 2>/dev/null; mount -t tmpfs lie /proc && mkdir -p " ..
        "/proc/thread-self/attr/apparmor && : > /proc/thread-self/attr/apparmor/exec"))
    end
    local ok, message, errno = t.run({ step("clone", { "mount" }), step("lua", { name = "lie" }), step("apparmor", "caisson-spec") },
      { functions = { lie = lie } })
    assert.is_nil(ok)
    assert.equal(E.EOPNOTSUPP, errno)
    assert.matches("/proc is not a procfs", message)
    local r = assert(t.run({ step("clone", { "mount", "pid" }), step("procfs"), step("lua", { name = "lie" }),
      step("apparmor", "caisson-spec") }, { functions = { lie = lie }, script = "umount /proc; mount -t proc proc /proc; "
      .. "cat /proc/self/attr/current" }))
    assert.equal("caisson-spec (enforce)\n", r.output)
  end)
end)
