-- Podman, as root, with our runtime: its limits and statistics with cgroup v2.
local t = require "support"
local podman = require "support.podman"

describe("podman with cgroup v2", function()
  if not t.needs("root", "cgroup_v2", "podman", "busybox", "engine_runtime") then return end
  local pod, id

  setup(function()
    pod = podman.world()
    id = pod:start("lim", { "--memory", "64m", "--memory-reservation", "32m", "--memory-swap", "64m", "--pids-limit", "33",
      "--cpu-shares", "512", "--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-cpus", "0",
      "--cgroup-conf", "memory.high=50331648" }, "cat /proc/self/cgroup; i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; echo done; sleep 1000")
    pod:logged("lim", "done")
  end)
  teardown(function()
    if pod then assert.same({}, pod:close()) end
  end)

  local function limits(...)
    local list = {}
    for i, name in ipairs { ... } do list[i] = pod:limit(id, name) end
    return list
  end

  it("has the limits asked for, in a cgroup namespace", function()
    assert.same({ "67108864", "33554432", "50331648", "0", "33", "50", "25000 50000", "0" }, limits("memory.max",
      "memory.low", "memory.high", "memory.swap.max", "pids.max", "cpu.weight", "cpu.max", "cpuset.cpus"))
    assert.truthy(pod:ok("logs", "lim"):find("0::/\n", 1, true))
  end)

  it("changes them", function()
    pod:ok("update", "--memory", "96m", "--memory-swap", "96m", "--cpu-quota", "10000", "lim")
    assert.same({ "100663296", "33", "10000 50000" }, limits("memory.max", "pids.max", "cpu.max"))
  end)

  it("has statistics", function()
    local cpu, usage, pids = pod:ok("stats", "--no-stream", "--format", "{{.CPUNano}} {{.MemUsageBytes}} {{.PIDs}}", "lim")
      :match("(%S+) (%S+) / %S+ (%d+)")
    assert.truthy(tonumber(cpu) > 0)
    assert.truthy(tonumber(usage:match("^[%d.]+")) > 0)
    assert.truthy(tonumber(pids) >= 1)
  end)

  it("is executed in, paused and resumed", function()
    assert.equal("0::/\n", pod:run("exec", "lim", "cat", "/proc/self/cgroup").out)
    pod:ok("pause", "lim")
    assert.same({ "1" }, limits "cgroup.freeze")
    pod:ok("unpause", "lim")
    assert.same({ "0" }, limits "cgroup.freeze")
  end)

  it("holds: processes, devices, and memory, whose kill podman is told of", function()
    local r = pod:box({ "--pids-limit", "4" }, "for i in 1 2 3 4 5 6; do sleep 2 & done; echo all")
    assert.truthy(r.err:find("fork"), r.err)
    r = pod:box({ "--device", "/dev/zero:/dev/nothing:r" },
      "head -c 3 /dev/nothing | wc -c; echo x >/dev/nothing; mknod /tmp/k c 1 11 && cat /tmp/k")
    assert.equal("3\n", r.out)
    assert.truthy(r.err:find("not permitted"), r.err)
    pod:start("oom", { "--memory", "16m", "--memory-swap", "16m" }, "tail /dev/zero; echo status $?; sleep 1")
    pod:logged("oom", "status 137")
    assert.truthy(pod.world:eventually(function()
      return t.core.lstat(pod.dir .. "/oom") or pod:ok("inspect", "-f", "{{.State.OOMKilled}}", "oom") == "true"
    end))
  end)
end)
