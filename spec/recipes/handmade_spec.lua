local t = require "support"
local caisson = require "caisson"

local function output(script)
  local r = assert(caisson.run("handmade", { args = { "/bin/sh", "-c", script }, stdin = "null", stdout = "capture",
    stderr = "stdout" }))
  assert.equal("exited", r.status)
  return r.stdout
end

describe("the handmade recipe", function()
  if not t.needs "userns" then return end

  it("makes what its comments say", function()
    assert.equal("1\nhandmade\n", output "echo $$; cat /proc/sys/kernel/hostname")
    assert.equal("bin dev etc lib proc sbin tmp usr ", (output("ls / | tr '\\n' ' '"):gsub("lib%d+ ", "")))
    assert.equal("lo\n", output "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev")
    assert.equal("0\n256\n0022\n/tmp\n", output "ulimit -c; ulimit -n; umask; pwd")
    assert.equal("x\n", output "echo x >/tmp/y; cat /tmp/y; echo z >/dev/null")
  end)

  it("leaves no right", function()
    assert.equal(("0000000000000000\n"):rep(5) .. "1\n2\n",
      output "sed -n 's/^\\(Cap...\\|NoNewPrivs\\|Seccomp\\):[[:space:]]*//p' /proc/self/status")
    for _, path in ipairs { "/usr/x", "/x", "/etc/x", "/proc/sys/kernel/hostname" } do
      local said = output("echo 1 2>&1 >" .. path)
      assert.truthy(said:find "Read%-only file system" or said:find "Permission denied", path .. ": " .. said)
    end
    assert.equal("", output "ls -d /root /home /var /sys 2>/dev/null")
    assert.truthy(output("unshare -U true"):find "Operation not permitted")
  end)

  it("names its own lines in the plan, and loads again from JSON", function()
    local built = assert(caisson.load("handmade"):build())
    local text = built.plan:text()
    assert.truthy(text:find("pivot_root%s+recipes/handmade%.lua:%d+\n"))
    local saved = built.plan:json()
    assert.equal(saved, assert(caisson.plan.from_json(saved)):json())
  end)
end)
