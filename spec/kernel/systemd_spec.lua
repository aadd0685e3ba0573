-- systemd's cgroup driver where no systemd is: the errors. (spec/systemd has what it does where one is.)
local t = require "support"
local caisson = require "caisson"
local core = caisson.core

describe("cgroup = { driver = 'systemd' } without systemd", function()
  if core.lstat("/run/systemd/system") then
    pending("systemd runs this machine")
    return
  end

  local recipe = caisson.recipe { cgroup = { driver = "systemd", memory = { max = "64M" } }, namespaces = { pid = true } }

  it("is an error that says so, before anything is made", function()
    local before = t.count_fds()
    for _, start in ipairs { function() return caisson.run(recipe, { args = { "/bin/true" } }) end,
      function() return caisson.create(recipe, { id = "x", args = { "/bin/true" }, root = "/nonexistent/x" }) end } do
      local r, message, errno, failure = start()
      assert.is_nil(r)
      assert.equal("cgroup: driver 'systemd': there is no /run/systemd/system: systemd is not what runs this machine", message)
      assert.equal(core.errno.ENOENT, errno)
      assert.truthy(failure.hint:find("cgroupfs", 1, true))
    end
    assert.equal(before, t.count_fds())
  end)

  it("is shown all the same, and saved", function()
    local plan = assert(recipe:build { args = { "/bin/true" } }).plan
    assert.truthy(plan:text():find("systemd.scope  caisson-*.scope (Description s caisson container", 1, true), plan:text())
    local again = assert(require("caisson.plan").from_json(plan:json()))
    assert.equal(plan:json(), again:json())
  end)

  it("has nobody to ask: the address is named", function()
    local ok, message, errno = require("caisson.systemd").stop("caisson-none.scope")
    assert.is_nil(ok)
    assert.equal("caisson-none.scope: systemd can't be reached at /run/systemd/private: No such file or directory (ENOENT)", message)
    assert.equal(core.errno.ENOENT, errno)
    local dir = os.getenv("XDG_RUNTIME_DIR") or ("/run/user/%d"):format(core.identity().euid)
    ok, message = require("caisson.systemd").stop("caisson-none.scope", { user = true })
    assert.is_nil(ok)
    assert.truthy(message:find("this user's systemd can't be reached at " .. dir .. "/systemd/private: ", 1, true), message)
  end)

  it("raises for what is no name", function()
    local systemd = require "caisson.systemd"
    if not t.sh("grep cgroup2 /proc/mounts"):find("cgroup2") then return pending("no cgroup v2 file system is mounted") end
    assert.has_error(function() systemd.scope { name = "x" } end, "scope: name: 'x': a name with .scope at its end expected")
    assert.has_error(function() systemd.scope { name = "x.scope", slice = "y" } end,
      "scope: slice: 'y': a name with .slice at its end expected")
  end)
end)
