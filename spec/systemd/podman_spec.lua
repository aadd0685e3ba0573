-- Podman where systemd makes the control groups: as root, and rootless, with limits and statistics.
local t = require "support"
local engine = require "support.engine"
local podman = require "support.podman"
local systemd = require "support.systemd"

describe("podman with systemd's cgroups", function()
  if not t.needs("root", "systemd", "podman", "busybox", "engine_runtime") then return end

  -- The same for both.
  local function behaves(user, group)
    local pod, id

    setup(function()
      pod = podman.open(engine.machine(user, group and group()))
      pod.world.prefix = "csnengine"
      pod.parent = "csnengine.slice"
      table.insert(pod.command, "--cgroup-manager")
      table.insert(pod.command, "systemd")
      id = pod:start("lim", { "--memory", "64m", "--pids-limit", "33", "--cpu-shares", "512", "--cpus", "0.5" },
        "i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; echo done; sleep 1000")
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

    it("has the limits asked for, in a scope, and changes them", function()
      local pid = pod:ok("inspect", "-f", "{{.State.Pid}}", "lim")
      assert.truthy(t.read_file("/proc/" .. pid .. "/cgroup"):find("/csnengine.slice/libpod-" .. id .. ".scope", 1, true))
      assert.same({ "67108864", "33", "50", "50000 100000" }, limits("memory.max", "pids.max", "cpu.weight", "cpu.max"))
      pod:ok("update", "--memory", "96m", "lim")
      assert.same({ "100663296", "33" }, limits("memory.max", "pids.max"))
    end)

    it("has statistics", function()
      local cpu, usage, pids = pod:ok("stats", "--no-stream", "--format", "{{.CPUNano}} {{.MemUsageBytes}} {{.PIDs}}", "lim")
        :match("(%S+) (%S+) / %S+ (%d+)")
      assert.truthy(tonumber(cpu) > 0)
      assert.truthy(tonumber(usage:match("^[%d.]+")) > 0)
      assert.truthy(tonumber(pids) >= 1)
    end)

    it("is executed in, paused, resumed, and ends", function()
      local r = pod:run("exec", "-i", "lim", "sh", "-c", "cat; exit 4", { stdin = "in\n" })
      assert.same({ "in\n", 4 }, { r.out, r.code })
      pod:ok("pause", "lim")
      assert.same({ "1" }, limits "cgroup.freeze")
      pod:ok("unpause", "lim")
      r = pod:box({ "--pids-limit", "4" }, "for i in 1 2 3 4 5 6; do sleep 2 & done; echo all")
      assert.truthy(r.err:find("fork"), r.err)
      pod:ok("stop", "-t", "0", "lim")
      assert.equal("137", pod:ok("inspect", "-f", "{{.State.ExitCode}}", "lim"))
      pod:ok("rm", "lim")
      assert.same({}, limits "memory.max")
    end)
  end

  describe("as root", function() behaves() end)

  describe("rootless", function()
    local stop

    setup(function() -- the user's manager, and his message bus
      -- what the bus starts takes a whole boot along, which empties /tmp
      t.sh "systemctl mask --runtime systemd-tmpfiles-setup.service systemd-logind.service 2>&1"
      systemd.setup()
      stop = systemd.bus()
      t.sh "echo caisson:1000000:65536 | tee -a /etc/subuid >> /etc/subgid"
      for _, unit in ipairs { "dbus.socket", "dbus.service" } do
        t.sh(("mkdir -p /run/systemd/user/%s.d"):format(unit))
        systemd.write(("/run/systemd/user/%s.d/caisson-spec.conf"):format(unit), "[Unit]\nDefaultDependencies=no\n")
      end
      local manager = systemd.as_user .. "systemctl --user "
      assert.equal("", t.sh(("{ %sdaemon-reload && %sstart dbus.socket; } 2>&1"):format(manager, manager)))
    end)
    teardown(function()
      t.sh(systemd.as_user .. "systemctl --user stop csnholder")
      systemd.teardown()
      stop()
    end)

    behaves(systemd.uid, function()
      assert.equal("", t.sh(systemd.as_user .. "systemd-run --user --quiet --unit=csnholder -p Delegate=yes sleep infinity 2>&1"))
      return t.sh(systemd.as_user .. "systemctl --user show -P ControlGroup csnholder"):gsub("\n", "")
    end)
  end)
end)
