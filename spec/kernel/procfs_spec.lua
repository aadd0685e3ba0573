local t = require "support"
local m = require "support.mounts"
local step = t.step
local E = t.core.errno

describe("procfs", function()
  teardown(m.clean)

  it("is what is written to, whatever the image has mounted or linked at /proc", function()
    local run = m.namespaces()
    table.insert(run, 1, nil)
    local r = assert(m.run({
      step("procfs", {}),
      step("mount.tmpfs", "/proc"), step("file",
        { path = "/proc/sys/net/ipv4/ip_unprivileged_port_start", data = "fake" }),
      step("file", { path = "/proc/self/oom_score_adj", data = "fake" }),
      step("mount.proc", "/real"),
    }, { last = {
      step("sysctl", { name = "net.ipv4.ip_unprivileged_port_start", value = "77" }),
      step("oom_score_adj", 123),
    }, script = "cat /real/sys/net/ipv4/ip_unprivileged_port_start; cat /real/self/oom_score_adj; "
      .. "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/self/oom_score_adj" }))
    assert.equal("77\n123\nfakefake", r.output)
  end)

  it("is refused as a fake where there is none in the slot", function()
    local _, message, errno = m.run({ step("mount.tmpfs", "/proc"),
      step("file", { path = "/proc/sys/net/ipv4/ip_unprivileged_port_start", data = "fake" }) },
      { last = { step("sysctl", { name = "net.ipv4.ip_unprivileged_port_start", value = "77" }) } })
    assert.equal(E.EOPNOTSUPP, errno)
    assert.truthy(message:find("not a procfs", 1, true), message)
  end)

  it("is seen by no process of the container", function()
    local list = m.mounts(assert(m.run({ step("procfs", {}) }, { script = "cat /proc/self/mountinfo" })).output)
    local n = 0
    for _, e in ipairs(list) do n = n + (e.type == "proc" and 1 or 0) end
    assert.equal(1, n)
    assert.equal("0\n1\n2\n", (assert(m.run({ step("procfs", {}) },
      { script = "ls /proc/self/fd | grep -v '^[3]$'" })).output))
  end)
end)
