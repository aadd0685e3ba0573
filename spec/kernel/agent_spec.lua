local t = require "support"
local core = t.core

-- A container with an agent: namespaces of its own, a tmpfs on /tmp and one on /dev/shm, a procfs.
local function container(extra)
  local list = t.steps(t.contained { "pid", "mount", "ipc", "uts" }, {
    t.step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
    t.step("root.bind", { source = "/", recursive = true, flags = { "nosuid" } }),
    t.step("mount.tmpfs", { target = "/tmp", size = 4194304, mode = "1777" }),
    t.step("mount.tmpfs", { target = "/dev/shm", size = 4194304, mode = "1777" }),
    t.step("mount.proc", { target = "/proc" }),
    t.step("pivot_root"),
  }, extra or {}, { t.step("exec", { argv = { "agent" }, agent = true }) })
  local process = assert(core.spawn { plan = core.plan(list) })
  return core.agent.open(process), process
end

-- Run a script in it: output, status, the process object.
local function sh(agent, script, steps)
  local list = t.steps(steps or {}, { t.step("exec", { argv = { "/bin/sh", "-c", script },
    files = { "stdin", "stdout", "stdout" } }) })
  local r, w = assert(core.pipe())
  local null = assert(core.open("/dev/null"))
  local job, message, errno, failure = agent:run { plan = core.plan(list), slots = { stdin = null, stdout = w } }
  w:close()
  null:close()
  if not job then
    r:close()
    return nil, message, errno, failure
  end
  local output = t.slurp(r)
  r:close()
  return output, assert(job:wait()), job
end

describe("exec { agent = true }", function()
  if not t.is_root and not t.needs("userns") then return end
  local agent, process

  before_each(function() agent, process = container() end)
  after_each(function()
    agent:close()
    process:close()
  end)

  it("runs one program after the other, and tells how each ended", function()
    assert.is_true(agent:ping())
    for i = 1, 5 do
      local output, status = sh(agent, "echo $$ " .. i .. "; exit " .. i)
      assert.equal(i, tonumber(output:match("%d+ (%d+)")))
      assert.equal(i, status.code)
    end
    local _, status = sh(agent, "kill -TERM $$")
    assert.equal(15, status.signal)
    _, status = sh(agent, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    assert.truthy(status.user_us + status.system_us > 10000)
    assert.truthy(status.maxrss_kb > 100)
  end)

  it("tells which step failed, and goes on", function()
    local output, message, errno, failure = sh(agent, "true", { t.step("umask", "022"), t.step("chdir", "/no/such") })
    assert.is_nil(output)
    assert.truthy(message:find("step 2, chdir[1] /no/such", 1, true), message)
    assert.equal(2, errno)
    assert.equal(2, failure.number)
    local job, why = agent:run { plan = core.plan { t.step("exec", { argv = { "/no/such" } }) } }
    assert.is_nil(job)
    assert.truthy(why:find("exec[1] /no/such", 1, true), why)
    assert.equal("fine\n", (sh(agent, "echo fine")))
  end)

  it("hands descriptors over, and leaves no others", function()
    local extra = assert(core.memfd("extra", "extra bytes"))
    local r, w = assert(core.pipe())
    local job = assert(agent:run { plan = core.plan { t.step("exec", { argv = { "/bin/sh", "-c",
      "cat <&3; ls /proc/self/fd" }, files = { "-", "stdout", "-", "extra" } }) }, slots = { stdout = w, extra = extra } })
    w:close()
    extra:close()
    assert.equal("extra bytes0\n1\n3\n", t.slurp(r)) -- 0 is ls's own, of the directory
    r:close()
    assert.equal(0, job:wait().code)
  end)

  it("takes plans and arguments of any size", function()
    local argv = { "/bin/sh", "-c", "echo $#", "sh" }
    for i = 1, 3000 do argv[#argv + 1] = ("x"):rep(60) .. i end
    for _ = 1, 2 do
      local r, w = assert(core.pipe())
      local job = assert(agent:run { plan = core.plan { t.step("exec", { argv = argv, files = { "-", "stdout" } }) },
        slots = { stdout = w } })
      w:close()
      assert.equal("3000\n", t.slurp(r))
      r:close()
      job:wait()
    end
  end)

  it("can't be traced, killed, stopped or read by what it runs", function()
    local output = sh(agent, [[
      for s in KILL STOP TERM CHLD USR1; do kill -$s 1; done
      ls -l /proc/1/fd /proc/1/exe 2>&1 | grep -c -e '->'
      (exec 3<>/proc/1/mem) 2>&1 | grep -c denied
      grep State /proc/1/status]])
    assert.truthy(output:find("^0\n1\nState:%s+[SRD]"), output)
    assert.is_true(agent:ping())
    -- nor by root of the container: nobody in there has the right to
    local bounding = tonumber((sh(agent, "sed -n 's/^CapBnd:.*\\(........\\)$/0x\\1/p' /proc/self/status")))
    assert.equal(0, math.floor(bounding / 2 ^ 19) % 2)
    assert.equal("caisson-agent\n", t.read_file(("/proc/%d/comm"):format(process:pid())))
  end)

  it("leaves no process of a run behind, and tells of the usage of all of them", function()
    local output = sh(agent, "(setsid sleep 100 > /dev/null 2>&1 &) ; (sleep 100 > /dev/null 2>&1 & kill -STOP $!); echo done")
    assert.equal("done\n", output)
    assert.equal("", (sh(agent, "grep -l sleep /proc/[0-9]*/comm")))
  end)

  it("is there for one program at a time, and stops it", function()
    local job = assert(agent:run { plan = core.plan { t.step("exec", { argv = { "/bin/sleep", "100" } }) } })
    local other, message, errno = agent:run { plan = core.plan { t.step("exec", { argv = { "/bin/true" } }) } }
    assert.same({ nil, "run: the container's program still runs: Device or resource busy (EBUSY)", 16 },
      { other, message, errno })
    assert.same({ nil, "timeout" }, { job:wait(0.05) })
    assert.truthy(t.read_file(("/proc/%d/cmdline"):format(job:pid())):find("sleep", 1, true))
    assert.is_true(job:kill("TERM"))
    assert.equal(15, job:wait().signal)
    job = assert(agent:run { plan = core.plan { t.step("exec", { argv = { "/bin/sleep", "100" } }) } })
    job:close()
    assert.equal("again\n", (sh(agent, "echo again")))
  end)

  it("ends with the host's interest, and takes all with it", function()
    local job = assert(agent:run { plan = core.plan { t.step("exec", { argv = { "/bin/sleep", "100" } }) } })
    local pid = job:pid()
    agent:close()
    assert.equal(9, job:wait().signal)
    assert.truthy(process:wait(5))
    assert.is_nil(t.core.lstat("/proc/" .. pid))
    local ok, message, errno = agent:ping()
    assert.same({ nil, 104 }, { ok, errno })
    assert.truthy(message:find("the container has ended", 1, true))
  end)

  it("deletes a file with the longest of names, and not its neighbour", function()
    local dir = "/tmp" .. ("/" .. ("d"):rep(255)):rep(15)
    local path = dir .. "/" .. ("f"):rep(250)
    assert.equal(4095, #path)
    assert.equal("", (sh(agent, ("mkdir -p %s && cd %s && touch %s %s"):format(dir, dir, ("f"):rep(250), ("f"):rep(249)))))
    assert.equal(1, assert(agent:delete(path)))
    assert.equal(("f"):rep(249) .. "\n", (sh(agent, "ls " .. dir)))
    assert.equal(core.errno.ENAMETOOLONG, select(3, agent:delete(("f"):rep(4095))))
  end)

  it("has to be process 1", function()
    local me = core.identity()
    local first = t.is_root and t.step("clone", {}) or t.step("clone", { "user" })
    local map = not t.is_root and t.step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } },
      setgroups = "deny" }) or {}
    local p, message = core.spawn { plan = core.plan(t.steps(first, map, { t.step("exec", { argv = { "x" }, agent = true }) })) }
    assert.is_nil(p)
    assert.truthy(message:find("it has to be process 1", 1, true), message)
  end)

  it("keeps its capabilities where its user is not root inside, and gives them to nobody", function()
    if t.is_root then return end
    local me = core.identity()
    local p = assert(core.spawn { plan = core.plan {
      t.step("clone", { "user", "pid", "uts" }),
      t.step("idmap", { uid = { { me.euid, me.euid, 1 } }, gid = { { me.egid, me.egid, 1 } }, setgroups = "deny" },
        { side = "child" }),
      t.step("exec", { argv = { "agent" }, agent = true }) } })
    local a = core.agent.open(p)
    local output = assert(sh(a, "grep -e CapInh -e CapPrm -e CapEff -e CapAmb /proc/self/status; cat /proc/sys/kernel/hostname",
      { t.step("hostname", "mine") }))
    assert.equal(("CapInh:0\nCapPrm:0\nCapEff:0\nCapAmb:0\nmine\n"), (output:gsub("\t", ""):gsub("0+\n", "0\n")))
    a:close()
    p:close()
  end)
end)
