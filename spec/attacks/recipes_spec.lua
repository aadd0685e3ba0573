-- Attacks on recipes' containers, by the library: those that no bundle has, or that a recipe's own means have to stand.
local t = require "support"
local a = require "support.attacks"
local j = require "support.joined"
local caisson = require "caisson"
local core = t.core
local E = core.errno

local function fails(errno, pattern, result, message, code)
  assert.is_nil(result)
  assert.matches(pattern, message)
  if errno then assert.equal(errno, code) end
end

describe("a recipe's container", function()
  if not (t.needs "userns" and t.needs "cc") then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(a.forget)

  -- The attacker in the sandbox that everybody extends.
  local function sandbox(args, more)
    local def = { extends = "sandbox", mounts = { { bind = a.attacker(), at = "/attacker", exec = true } } }
    for k, v in pairs(more or {}) do def[k] = v end
    table.insert(args, 1, "/attacker")
    local r = assert(caisson.run(caisson.recipe(def), { args = args, stdout = "capture", stderr = "stdout" }))
    assert.equal(0, r.code)
    return r.stdout
  end

  it("has none of the calls that escapes begin with (CVE-2022-0185, 2022-0492)", function()
    local n = 0
    for name, errno in sandbox { "calls" }:gmatch "(%S+) (%d+)\n" do
      n = n + 1
      assert.truthy(errno == tostring(E.EPERM) or errno == tostring(E.ENOSYS), name .. " " .. errno)
    end
    assert.equal(10, n)
    assert.matches("^unshare 1\n", sandbox { "release" })
    for name, _, opened in sandbox({ "nodes", "/tmp" }):gmatch "(%S+) (%d+) (%d+)\n" do assert.truthy(opened ~= "0", name) end
    S:check()
  end)

  it("has no user by name, and numbers as they are said (CVE-2016-3697, 2026-30892)", function()
    local function run(user) return caisson.run(caisson.recipe { extends = "sandbox", user = user }, { args = { "/usr/bin/id", "-u" }, stdout = "capture" }) end
    for _, user in ipairs { "1000", "0", "root", { uid = "1x" }, { uid = -1 }, { uid = 4294967295 }, { uid = 4294967296 }, { uid = 0.5 }, { uid = "01000x" } } do
      local ok, message = run(user)
      fails(nil, "[ug]id", ok, type(user) == "string" and "uid: " .. message or message)
    end
    if t.is_root then assert.equal("1000\n", assert(run(1000)).stdout) end
  end)

  it("joins no namespace of another user's (lxc-user-nic's CVE-2018-6556, 2022-47952)", function()
    if t.is_root then return pending("root owns them all; the ordinary user's run proves it") end
    for _, ns in ipairs { "net", "user", "ipc", "uts", "pid" } do
      local ok, message, errno = caisson.run(caisson.recipe { namespaces = { user = ns ~= "user", [ns] = "/proc/1/ns/" .. (ns == "mount" and "mnt" or ns) } },
        { args = { "/bin/true" } })
      fails(nil, "/proc/1/ns/", ok, message)
      assert.truthy(errno == E.EPERM or errno == E.EACCES, message)
    end
  end)

  it("with the pid namespace of one that may trace runs no hooks there: they are this program (CVE-2019-5736)", function()
    if not t.is_root then return pending("root of a user namespace has no power over who is not of it") end
    for _, capabilities in ipairs { {}, { "sys_ptrace" } } do
      local dir = a.tmpdir()
      t.sh(("cp %s %s/interpreter; cp %s %s/attacker"):format(core.realpath "/proc/self/exe", dir, a.attacker(), dir))
      local hostile = j.container { args = { dir .. "/attacker", "overwrite", "XXXX" }, stdout = { file = dir .. "/seen" }, stderr = "stdout",
        capabilities = capabilities, mounts = { { proc = "/proc" } } }
      t.sh(("for i in $(seq 200); do grep -q ready %s/seen && exit; sleep 0.01; done"):format(dir))
      a.write(dir .. "/host.lua", ([[
        package.path, package.cpath = %q, %q
        local caisson = require "caisson"
        for _, point in ipairs { "createContainer", "startContainer" } do
          local r, m = caisson.run(caisson.recipe { args = { "/bin/true" }, namespaces = { mount = true, pid = "/proc/%d/ns/pid" },
            root = { bind = "/" }, hooks = { [point] = function() caisson.core.poll({}, 0.05) end } })
          print(r and r.code or m)
        end]]):format(package.path, package.cpath, hostile:pid()))
      local sum = "cksum < " .. dir .. "/interpreter"
      local before = t.sh(sum)
      local said = t.sh(("cd %s; %s/interpreter %s/host.lua 2>&1"):format(require("support.cli").root, dir, dir))
      core.poll({}, 0.05)
      hostile:close()
      assert.equal(before, t.sh(sum))
      assert.falsy((t.read_file(dir .. "/seen")):find("interpreter", 1, true))
      if #capabilities == 0 then
        assert.equal("0\n0\n", said)
      else
        assert.matches("createContainer runs in a pid namespace in which process %d+ may trace it.*startContainer runs in", said)
      end
      S:check()
    end
  end)

  it("has its group below its own: no .. in a path (runc 1.5.2, crun 1.28)", function()
    for _, path in ipairs { "../x", "a/../../x", "/../x", "..", "/a/.." } do
      local ok, message = caisson.run(caisson.recipe { extends = "sandbox", cgroup = { path = path, pids = { max = 5 } } }, { args = { "/bin/true" } })
      fails(nil, "cgroup", ok, message)
    end
    S:check()
  end)
end)
