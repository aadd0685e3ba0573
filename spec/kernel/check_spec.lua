-- What `caisson check` foretells is so: a recipe that it says can't work does not, and the mended one does; what it says is
-- open to the program is.
local t = require "support"
local caisson = require "caisson"
local check = require "caisson.check"
local core = caisson.core
local policy = caisson.policy

local is_root = core.identity().euid == 0

local function recipe(options)
  local o = { extends = "sandbox", args = { "/bin/true" } }
  for k, v in pairs(options) do o[k] = v end
  return caisson.recipe(o)
end

local function has(r, rule)
  for _, f in ipairs(check.recipe(r)) do
    if f.rule == rule then return f end
  end
end

local function runs(r)
  local result, message = caisson.run(r, { stdin = "null", stdout = "null", stderr = "null" })
  return result ~= nil and result.status == "exited" and result.code == 0, message or result and result.status
end

describe("caisson check foretells", function()
  if not t.needs "userns" then return end

  local cases = {
    { "source-missing", { mounts = { { bind = "/no/such/place" } } }, { mounts = { { bind = "/no/such/place", optional = true } } } },
    { "target-missing", { mounts = { { tmpfs = "/usr/no-such-place" } } }, { mounts = { { tmpfs = "/usr/share" } } } },
    { "program-missing", { args = { "no-such-program" } }, { args = { "true" } } },
    { "program-missing", { args = { "/opt/no/such" } }, { args = { "/lib/../bin/true" } } },
    { "cwd-missing", { cwd = "/no/such" }, { cwd = "/usr/share" } },
    { "uid-unmapped", { namespaces = { user = true }, idmap = { uid = { { 0, core.identity().euid, 1 } },
      gid = { { 0, core.identity().egid, 1 } } }, user = 7 }, { namespaces = { user = true }, user = 0,
      idmap = { uid = { { 0, core.identity().euid, 1 } }, gid = { { 0, core.identity().egid, 1 } } } } },
    { "host-name-set", { namespaces = { uts = false } }, { namespaces = { uts = false }, hostname = false } },
    { "filter-denies-exec", { seccomp = policy.default() - { "execve", "execveat" } }, { seccomp = policy.default() } },
    { "sysctl-namespace", { sysctl = { ["kernel.core_pattern"] = "x" } }, { sysctl = { ["net.ipv4.ip_default_ttl"] = "65" } } },
    { "sysctl-namespace", { namespaces = { net = false }, sysctl = { ["net.ipv4.ip_default_ttl"] = "65" } }, {} },
  }
  for i, c in ipairs(cases) do
    it(("%s, and that the mended one runs (%d)"):format(c[1], i), function()
      local bad, good = recipe(c[2]), recipe(c[3])
      assert.equal("error", (has(bad, c[1]) or {}).level)
      assert.is_false((runs(bad)))
      assert.is_nil(has(good, c[1]))
      local ok, message = runs(good)
      assert.is_true(ok, message)
    end)
  end

  it("landlock-denies-exec, and that the mended one runs", function()
    if not core.landlock.abi() then return pending "needs Landlock" end
    local bad = recipe { landlock = { execute = { "/usr/lib", "/lib", "/lib64" } } }
    local good = recipe { landlock = { execute = { "/usr", "/lib", "/lib64" } } }
    assert.equal("error", has(bad, "landlock-denies-exec").level)
    assert.is_false((runs(bad)))
    assert.is_nil(has(good, "landlock-denies-exec"))
    assert.is_true(runs(good))
  end)

  it("which paths Landlock looks for in vain", function()
    if not core.landlock.abi() then return pending "needs Landlock" end
    local bad = recipe { landlock = { execute = { "/" }, write = { "/no/such" } } }
    assert.equal("error", has(bad, "landlock-path").level)
    assert.is_false((runs(bad)))
  end)

  it("which capabilities exec takes, and which stay", function()
    local id = core.identity()
    local mapped = { namespaces = { user = true }, idmap = { uid = { { 5, id.euid, 1 } }, gid = { { 5, id.egid, 1 } } }, user = 5 }
    local function effective(capabilities)
      mapped.capabilities = capabilities
      local r = recipe(mapped)
      local result = assert(caisson.run(r, { args = { "sed", "-n", "s/^CapEff:[[:space:]]*//p", "/proc/self/status" }, stdin = "null",
        stdout = "capture" }))
      return tonumber(result.stdout, 16), has(r, "capabilities-lost")
    end
    local n, found = effective { "kill" }
    assert.equal(0, n)
    assert.equal(is_root and "warning" or "note", found.level)
    local c = { "kill" }
    n, found = effective { bounding = c, permitted = c, effective = c, inheritable = c, ambient = c }
    assert.equal(2 ^ 5, n)
    assert.is_nil(found)
  end)

  it("what an ordinary user can't mount", function()
    if is_root then return pending "is about ordinary users" end
    for _, case in ipairs { { { namespaces = { net = false }, mounts = { { sysfs = "/sys" } } }, { mounts = { { sysfs = "/sys" } } } },
      { { namespaces = { pid = false } }, {} } } do
      local bad, good = recipe(case[1]), recipe(case[2])
      assert.equal("error", has(bad, "mount-needs-namespace").level)
      assert.is_false((runs(bad)))
      assert.is_nil(has(good, "mount-needs-namespace"))
      assert.is_true(runs(good))
    end
    local bad = recipe { namespaces = { user = false } }
    assert.equal("error", has(bad, "needs-root").level)
    assert.is_false((runs(bad)))
  end)

  it("which limits a user can't raise", function()
    if is_root then return pending "is about ordinary users" end
    local hard = tonumber(core.attributes().rlimits.nofile.hard)
    if not hard then return pending "needs a hard limit" end
    local bad, good = recipe { rlimits = { nofile = hard + 1 } }, recipe { rlimits = { nofile = hard } }
    assert.equal("error", has(bad, "rlimit-too-high").level)
    assert.is_false((runs(bad)))
    assert.is_nil(has(good, "rlimit-too-high"))
    assert.is_true(runs(good))
  end)
end)

-- A program that says which of these it may open for writing, and does nothing to them.
local function may_write(options, ...)
  local script = "for f; do (: >>$f) 2>&- && echo $f; done; exit 0"
  local r = assert(caisson.run(recipe(options), { args = { "/bin/sh", "-c", script, "sh", ... }, stdin = "null",
    stdout = "capture", stderr = "stdout" }))
  assert.equal("exited", r.status)
  return r.stdout
end

describe("what caisson check says is open", function()
  if not t.needs("root", "userns") then return end
  local function open(more)
    local o = { namespaces = { mount = true, pid = true, net = true }, capabilities = {}, mounts = { { bind = "/usr" },
      { proc = "/proc" } }, seccomp = policy.default() }
    for _, path in ipairs { "/bin", "/lib", "/lib64" } do
      local st = core.lstat(path)
      if st and st.type == "link" then o.mounts[#o.mounts + 1] = { symlink = st.target, at = path } end
    end
    for k, v in pairs(more) do o[k] = v end
    o.args = { "/bin/true" }
    return o
  end

  local function plain(options, ...)
    local script = "for f; do (: >>$f) 2>&- && echo $f; done; exit 0"
    local r = caisson.recipe(options)
    local found = {}
    for _, f in ipairs(check.recipe(r)) do found[f.rule] = true end
    local result = assert(caisson.run(r, { args = { "/bin/sh", "-c", script, "sh", ... }, stdin = "null", stdout = "capture",
      stderr = "stdout" }))
    return result.stdout, found
  end

  it("is, to root without a capability: core_pattern and sysrq-trigger", function()
    local core_pattern, sysrq = "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"
    local has_sysrq = core.lstat(sysrq) ~= nil -- not every kernel has it
    local out, found = plain(open {}, core_pattern, sysrq)
    assert.equal(core_pattern .. "\n" .. (has_sysrq and sysrq .. "\n" or ""), out)
    assert.is_true(found["core-pattern"])
    assert.equal(has_sysrq, found.sysrq or false)
    -- its uid alone counts: also in a user namespace
    out, found = plain(open { namespaces = { user = true, mount = true, pid = true, net = true },
      idmap = { uid = { { 0, 0, 9 } }, gid = { { 0, 0, 9 } } } }, core_pattern)
    assert.equal(core_pattern .. "\n", out)
    assert.is_true(found["core-pattern"])
    for _, mended in ipairs { { masked = { sysrq }, readonly = { "/proc/sys" } }, { user = 65534 },
      { namespaces = { user = true, mount = true, pid = true, net = true }, idmap = { uid = { { 0, 100000, 9 } },
        gid = { { 0, 100000, 9 } } } } } do
      out, found = plain(open(mended), core_pattern, sysrq)
      assert.equal("", out)
      assert.is_nil(found["core-pattern"] or found.sysrq)
    end
  end)

  it("is: the host's files through a directory that is bound writable", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(core.mkdir { path = dir, mode = "0755" })
    assert(io.open(dir .. "/file", "w")):close()
    finally(function()
      os.remove(dir .. "/file")
      os.remove(dir)
    end)
    -- what may_write() of the model says is what the kernel says: by owner, mode and id map
    for _, case in ipairs { { "0755", { writable = true }, false }, { "0777", { writable = true }, true },
      { "0755", { writable = true, idmap = "user" }, true }, { "0777", {}, false } } do
      os.execute(("chmod %s %s; chmod %s %s/file"):format(case[1], dir, case[1], dir))
      local m = { bind = dir, at = "/w" }
      for k, v in pairs(case[2]) do m[k] = v end
      local out = may_write({ mounts = { m } }, "/w/file")
      assert.equal(case[3] and "/w/file\n" or "", out)
      local model = require("caisson.check.model").of(assert(recipe({ mounts = { m } }):build()))
      local shown = model:shown(dir .. "/file")[1]
      assert.equal(case[3], shown.writable and model:may_write(dir .. "/file", shown.mount))
    end
  end)
end)
