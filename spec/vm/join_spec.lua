-- Joining a container on pure cgroup v2, mounted with nsdelegate; under an AppArmor profile.
local t = require "support"
local j = require "support.joined"
local process = require "caisson.process"

describe("joining a container (cgroup v2)", function()
  if not (t.needs("root") and t.needs("cgroup_v2")) then return end
  local running, target

  setup(function()
    running, target = j.container { init = true, cgroup = { path = "csnvm-*", pids = { max = 8 }, memory = { max = "64M" } } }
  end)
  teardown(function() if running then running:close() end end)

  local function group(pid) return t.read_file("/proc/" .. pid .. "/cgroup"):match("0::([^\n]*)") end

  it("is a birth in its group, whose limits then are the process's", function()
    local p = assert(process.start(target, { args = { "sleep", "5" }, stdin = "null" }))
    assert.equal(group(target.pid), group(p:pid()))
    assert.equal("clone", p.built.plan.steps[p.built.plan:find("clone")].step)
    assert.equal("cgroup", p.built.plan.steps[p.built.plan:find("clone")].options.cgroup)
    p:close()
    assert.equal("0::/\n", j.output(target, "cat /proc/self/cgroup"))
    local text = j.output(target, "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2 & done 2>&1; wait")
    assert.matches("fork", text)
    t.core.poll({}, 1) -- those that were forked
    local r = assert(j.run(target, { args = { "/bin/sh", "-c", "head -c 200000000 /dev/zero | tail | wc -c" } }))
    assert.are_not.equal("200000000\n", r.stdout)
  end)

  it("is a birth in a group below it, which is gone afterwards", function()
    local p = assert(process.start(target, { args = { "sleep", "5" }, cgroup = "sub/x", stdin = "null" }))
    assert.equal(group(target.pid) .. "/sub/x", group(p:pid()))
    p:close()
    assert.equal("", t.sh("find /sys/fs/cgroup" .. group(target.pid) .. " -mindepth 1 -type d"))
  end)
end)

describe("joining a container (AppArmor)", function()
  local active = (t.read_file "/sys/kernel/security/lsm" or ""):find("apparmor", 1, true) and t.sh("command -v apparmor_parser") ~= ""
  if not active or not t.is_root then return pending("AppArmor is not active here, or there is no apparmor_parser") end
  local running, target, path

  setup(function()
    path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write("profile caisson-join flags=(attach_disconnected,mediate_deleted) {\n  file, network, capability, signal, ptrace, unix,\n",
      "  deny /etc/hostname r,\n}\n")
    f:close()
    assert.equal("", t.sh("apparmor_parser -K -r " .. path .. " 2>&1 | grep -i error"))
    running, target = j.container()
  end)
  teardown(function()
    if running then running:close() end
    os.execute("apparmor_parser -K -R " .. path .. " 2>/dev/null")
    os.remove(path)
  end)

  it("confines what joins, whatever the container has", function()
    local look = "cat /proc/self/attr/current; cat /etc/hostname 2>&1 >/dev/null | sed 's/.*: //'; cat /etc/passwd >/dev/null && echo allowed"
    assert.equal("unconfined\nallowed\n", j.output(target, look))
    for _, no_new_privs in ipairs { true, false } do
      assert.equal("caisson-join (enforce)\nPermission denied\nallowed\n",
        j.output(target, look, { apparmor = "caisson-join", no_new_privs = no_new_privs, user = 5, capabilities = {} }))
    end
    local ok, message, errno, failure = j.run(target, { args = { "true" }, apparmor = "caisson-nosuch" })
    assert.is_nil(ok)
    assert.same({ 2, "apparmor" }, { errno, failure.step })
    assert.truthy(message:find("no profile of that name is loaded", 1, true))
  end)
end)
