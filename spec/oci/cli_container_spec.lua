-- state, list, ps, kill, delete, pause, resume, update and events: what they print and do. Where runc is there, its
-- documents for the same container have the same keys.
local t = require "support"
local oci = require "support.oci"
local json = require "caisson.json"
local core = t.core

local function has_runc() return t.is_root and not oci.is_peer and t.sh("runc --version 2>&1"):find("^runc version") ~= nil end

describe("caisson-oci", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root and not t.needs("userns") then return end
  local world

  before_each(function() world = oci.world() end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  local function box(script, change)
    world:configure(script or "exec sleep 300", change)
    world:create()
    world:ok("start", "box")
  end

  -- What runc says to the same words of a container of the same bundle; nil without runc.
  local function theirs(...)
    if not has_runc() then return nil end
    local runtime, root = oci.runtime, world.root
    oci.runtime, world.root = "runc", world.dir .. "/runc"
    world:create("peer")
    world:ok("start", "peer")
    local words = { ... }
    local r = world:run(words)
    world:run { "delete", "--force", "peer" }
    oci.runtime, world.root = runtime, root
    return r
  end

  -- Names at each level, as one text.
  local function shape(v)
    if type(v) ~= "table" then return type(v) end
    if v[1] ~= nil then return "[" .. shape(v[1]) .. "]" end
    local keys = {}
    for k in pairs(v) do keys[#keys + 1] = tostring(k) end
    table.sort(keys)
    for i, k in ipairs(keys) do keys[i] = k .. "=" .. shape(v[k]) end
    return "{" .. table.concat(keys, " ") .. "}"
  end

  local function message(r) return r.err:match('level=error msg="(.*)"\n$') end

  it("state has runc's document", function()
    box(nil, function(c) c.annotations = { a = "b" } end)
    local out = world:ok("state", "box")
    local s = json.decode(out)
    assert.same({ "box", "running", world.bundle, world.rootfs, { a = "b" }, "" },
      { s.id, s.status, s.bundle, s.rootfs, s.annotations, s.owner })
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[.%d]*Z$", s.created)
    local peer = theirs("state", "peer")
    if peer then
      assert.equal(shape(json.decode(peer.out)), shape(s))
      local function order(text) return (text:gsub('("[^"]+":) [^\n]*', "%1")) end
      assert.equal(order(peer.out), order(out))
    end
  end)

  it("list has a table and a document", function()
    assert.equal("null\n", world:ok("list", "--format", "json"))
    box()
    local pid = world:state().pid
    local out = world:ok("list")
    assert.matches("^ID +PID +STATUS +BUNDLE +CREATED +OWNER\nbox +" .. pid .. " +running +" .. world.bundle:gsub("%p", "%%%0")
      .. " +%d+%-[^ ]*Z +%S+\n$", out)
    assert.equal("box\n", world:ok("list", "-q"))
    out = world:ok("list", "-f", "json")
    local list = json.decode(out)
    assert.same({ "box", pid, "running", world.bundle, world.rootfs, t.sh("id -un"):match("%S+") },
      { list[1].id, list[1].pid, list[1].status, list[1].bundle, list[1].rootfs, list[1].owner })
    local peer = theirs("list", "-f", "json")
    if peer then assert.equal(shape(json.decode(peer.out)), shape(list)) end
    -- one whose state is damaged hides no other
    t.sh(("mkdir %s/bad; echo x > %s/bad/state.json"):format(world.root, world.root))
    local r = world:run { "list", "-q" }
    assert.equal(0, r.code)
    assert.matches("box\n", r.out)
    t.sh("rm -r " .. world.root .. "/bad")
  end)

  it("ps lists the container's processes, as ps(1) does or as numbers", function()
    if not t.is_root then return pending("an ordinary user's are found by its pid namespace: see below") end
    box("sleep 299 & exec sleep 300")
    local pids = json.decode(world:ok("ps", "-f", "json", "box"))
    assert.equal(2, #pids)
    local out = world:ok("ps", "box")
    assert.matches("^UID +PID +PPID .*CMD\n.*sleep 300\n", out)
    assert.matches("sleep 299\n", out)
    assert.equal(3, select(2, out:gsub("\n", "")))
    out = world:ok("ps", "box", "-o", "args,pid")
    assert.matches("^COMMAND +PID\n", out)
    assert.equal("couldn't find PID field in ps output", message(world:run { "ps", "box", "-o", "args" }))
    assert.equal("invalid format option", message(world:run { "ps", "-f", "xml", "box" }))
  end)

  it("ps finds the processes of an ordinary user's container too", function()
    box("sleep 299 & exec sleep 300")
    oci.await(function() return #json.decode(world:ok("ps", "--format=json", "box")) == 2 end, "both")
  end)

  it("kill takes a signal's name in any form, or its number", function()
    for _, word in ipairs { "USR1", "SIGUSR1", "sigusr1", "usr1", "10" } do
      box("trap 'echo got; exit 0' USR1; echo up; while :; do sleep 0.05; done")
      world:output("up\n")
      world:ok("kill", "box", word)
      assert.matches("got\n", world:output("got\n"))
      world:until_status("stopped")
      world:ok("delete", "box")
    end
    box("trap 'echo got; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    world:output("up\n")
    for _, word in ipairs { "FOO", "-9", "", "KILLX" } do
      assert.equal(('unknown signal \\"%s\\"'):format(word), message(world:run { "kill", "box", word }))
    end
    world:ok("kill", "box", "0")
    world:ok("kill", "box")
    world:until_status("stopped")
    assert.equal("container not running", message(world:run { "kill", "box", "KILL" }))
    assert.equal(0, world:run({ "kill", "--all", "box", "KILL" }).code)
  end)

  it("kill --all reaches each process", function()
    box("(trap 'echo child >> /tmp/got' USR1; while :; do sleep 0.05; done) & trap 'echo first >> /tmp/got' USR1; echo up; "
      .. "while :; do sleep 0.05; done")
    world:output("up\n")
    core.poll({}, 0.1)
    local function got() return t.read_file(world.rootfs .. "/tmp/got") or "" end
    world:ok("kill", "box", "USR1")
    oci.await(function() return got():find("first") end, "the first process's")
    core.poll({}, 0.1)
    assert.is_nil(got():find("child"))
    world:ok("kill", "-a", "box", "USR1")
    oci.await(function() return got():find("child") end, "the child's")
  end)

  it("kill KILL ends all of a container in the host's pid namespace", function()
    if not t.is_root then return pending("an ordinary user's can't be told from others without a group") end
    box("sleep 298 & echo up; exec sleep 300", function(c) table.remove(c.linux.namespaces, 1) end)
    world:output("up\n")
    world:ok("kill", "box", "KILL")
    world:until_status("stopped")
    oci.await(function() return t.sh("pgrep -f '[s]leep 298'") == "" end, "the end of its child")
  end)

  it("delete wants one that is created or stopped, or force", function()
    box()
    assert.equal("cannot delete container box that is not stopped: running", message(world:run { "delete", "box" }))
    world:ok("delete", "--force", "box")
    assert.equal("container does not exist", message(world:run { "delete", "box" }))
    assert.equal(0, world:run({ "delete", "-f", "box" }).code)
    world:create()
    world:ok("delete", "box")
    assert.equal("", world:groups())
    assert.equal("container does not exist", message(world:run { "state", "box" }))
  end)

  it("start wants one that is created", function()
    box()
    assert.equal("cannot start an already running container", message(world:run { "start", "box" }))
    world:ok("kill", "box", "KILL")
    world:until_status("stopped")
    assert.equal("cannot start a container that has stopped", message(world:run { "start", "box" }))
    assert.equal("container not running", message(world:run { "pause", "box" }))
    assert.equal("container not paused", message(world:run { "resume", "box" }))
    assert.equal("container with id box is not running", message(world:run { "events", "--stats", "box" }))
    assert.equal("container not running", message(world:run { "update", "--pids-limit", "5", "box" }))
  end)

  it("pause and resume stop it and let it go on", function()
    if not t.is_root then return pending("an ordinary user's container is not frozen here") end
    world:configure("while :; do echo tick; sleep 0.05; done")
    world:create()
    world:ok("pause", "box")
    assert.equal("paused", world:state().status)
    assert.equal("cannot start a container in the paused state", message(world:run { "start", "box" }))
    world:ok("resume", "box")
    world:ok("start", "box")
    world:output("tick\n")
    world:ok("pause", "box")
    assert.equal("container not running", message(world:run { "pause", "box" }))
    local before = #world:output("tick")
    core.poll({}, 0.2)
    assert.equal(before, #world:output("tick"))
    world:ok("resume", "box")
    oci.await(function() return #world:output("tick") > before end, "more ticks")
    assert.equal("container not paused", message(world:run { "resume", "box" }))
  end)

  -- A file of the container's groups, of v1 or v2.
  local function limit(v1, v2)
    local text = t.read_file(("/proc/%d/cgroup"):format(world:state().pid))
    local controller = v1:match("^%a+")
    local path = text:match("[:,]" .. controller .. "[^:\n]*:(/[^\n]+)")
    local file = path and ("/sys/fs/cgroup/%s%s/%s"):format(controller, path, v1)
      or ("/sys/fs/cgroup%s/%s"):format(text:match("0::(/[^\n]+)"), v2)
    return ((t.read_file(file) or file):gsub("%s+$", ""))
  end

  it("update changes limits, by flags and by documents", function()
    if not t.is_root then return pending("an ordinary user has no limits to change here") end
    box(nil, function(c)
      c.linux.resources = { memory = { limit = 2 ^ 27 }, pids = { limit = 50 }, cpu = { shares = 512, quota = 50000, period = 100000 } }
    end)
    assert.same({ "134217728", "50" }, { limit("memory.limit_in_bytes", "memory.max"), limit("pids.max", "pids.max") })
    world:ok("update", "--memory", "64m", "--pids-limit", "20", "box")
    assert.same({ "67108864", "20" }, { limit("memory.limit_in_bytes", "memory.max"), limit("pids.max", "pids.max") })
    world:ok("update", "--memory=33554432", "--cpu-share", "256", "--cpu-quota", "30000", "--cpu-period", "60000", "box")
    assert.equal("33554432", (limit("memory.limit_in_bytes", "memory.max")))
    if t.sh("cat /proc/cgroups"):find("\ncpu%s+[1-9]") then
      assert.same({ "256", "30000", "60000" }, { limit("cpu.shares", "-"), limit("cpu.cfs_quota_us", "-"), limit("cpu.cfs_period_us", "-") })
    else
      assert.equal("30000 60000", (limit("none", "cpu.max")))
    end
    world:ok("update", "--pids-limit", "-1", "box")
    assert.equal("max", (limit("pids.max", "pids.max")))
    oci.write(world.dir .. "/limits", '{"memory": {"limit": 50331648}, "pids": {"limit": 7}}')
    world:ok("update", "-r", world.dir .. "/limits", "box")
    assert.same({ "50331648", "7" }, { limit("memory.limit_in_bytes", "memory.max"), limit("pids.max", "pids.max") })
    oci.write(world.dir .. "/limits", '{"pids": {"limit": 9}}')
    assert.equal(0, world:run({ "update", "--resources", "-", "box" }, { stdin = world.dir .. "/limits" }).code)
    assert.same({ "50331648", "9" }, { limit("memory.limit_in_bytes", "memory.max"), limit("pids.max", "pids.max") })
    oci.write(world.dir .. "/limits", '{"pids": {"limit": "many"}}')
    assert.matches("pids%.limit", world:fails("update", "-r", world.dir .. "/limits", "box"))
    assert.matches("/nonexistent", world:fails("update", "-r", "/nonexistent", "box"))
    assert.matches("memory", world:fails("update", "--memory", "much", "box"))
    assert.matches("cpu%-quota", world:fails("update", "--cpu-quota", "half", "box"))
    assert.matches("RDT", world:fails("update", "--l3-cache-schema", "L3:0=f", "box"))
    assert.equal("9", (limit("pids.max", "pids.max")))
  end)

  it("events --stats has runc's document", function()
    if not t.is_root then return pending("an ordinary user's container has no groups here") end
    box(nil, function(c) c.linux.resources = { pids = { limit = 50 } } end)
    local out = world:ok("events", "--stats", "box")
    assert.equal(1, select(2, out:gsub("\n", "")))
    local e = json.decode(out)
    assert.same({ "stats", "box", 50 }, { e.type, e.id, e.data.pids.limit })
    assert.truthy(e.data.pids.current >= 1)
    assert.truthy(e.data.memory.usage.usage > 0 and e.data.cpu.usage.total > 0)
    local peer = theirs("events", "--stats", "peer")
    if peer then
      local d = json.decode(peer.out).data
      -- figures that are 0 are left out, so only what is there always
      for _, key in ipairs { "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt" } do
        assert.equal(type(d[key]), type(e.data[key]), key)
      end
      for _, key in ipairs { "usage", "swap", "kernel", "kernelTCP", "raw" } do
        assert.equal(type(d.memory[key]), type(e.data.memory[key]), key)
        assert.equal(type(d.memory[key].limit), type(e.data.memory[key].limit), key)
      end
      for key in pairs(d.memory.raw) do assert.equal("number", type(e.data.memory.raw[key]), key) end
    end
  end)

  it("events tells again and again, and of memory that is not there, until the end", function()
    if not t.is_root then return pending("an ordinary user's container has no groups here") end
    box("read x < /tmp/go; head -c 60000000 /dev/zero | tail -c 50000000 > /tmp/none; read x < /tmp/go", function(c)
      c.linux.resources = { memory = { limit = 2 ^ 24 } }
      c.process.args[3] = "mkfifo /tmp/go; " .. c.process.args[3]
    end)
    assert.equal("duration interval must be greater than 0", message(world:run { "events", "--interval", "0s", "box" }))
    local p = world:begin("events", { "events", "--interval", "50ms", "box" })
    world:output('"type":"stats".*\n.*"type":"stats".*\n', "events")
    t.sh("echo > " .. world.rootfs .. "/tmp/go")
    world:output('{"type":"oom","id":"box"}\n', "events")
    world:run { "kill", "box", "KILL" } -- it may have been the one that was chosen
    assert.equal(0, (p:wait(10) or {}).code)
    p:close()
  end)
end)
