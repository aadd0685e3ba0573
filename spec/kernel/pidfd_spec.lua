-- Processes by descriptor: a child of ours, another's, one that is gone.
local t = require "support"
local core = t.core

-- A process that is not our child: its pid, and a function that ends it.
local function stranger(script)
  local path = os.tmpname()
  -- the shell leaves at once; what it started belongs to whoever adopts it
  t.sh(("(sh -c 'echo $$ > %s.new; mv %s.new %s; %s' < /dev/null > /dev/null 2>&1 &)"):format(path, path, path, script))
  local pid
  for _ = 1, 200 do
    pid = tonumber(t.read_file(path))
    if pid then break end
    core.poll({}, 0.01)
  end
  os.remove(path)
  return assert(pid, "the process has not started")
end

local function spawn(script)
  local plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "/bin/sh", "-c", script },
    files = { "-", "-", "-" } }) }
  return assert(core.spawn { plan = plan })
end

describe("core.pidfd", function()
  it("waits for a child, and reaps it", function()
    local p = spawn("exit 7")
    local fd = assert(core.pidfd.open(p:pid()))
    local status = assert(core.pidfd.wait(fd))
    assert.equal(7, status.code)
    assert.is_true(status.maxrss_kb > 0)
    assert.is_nil(core.lstat("/proc/" .. p:pid()))
    fd:close()
    p:close()
  end)

  it("says timeout while it runs", function()
    local p = spawn("sleep 5")
    local fd = assert(core.pidfd.open(p:pid()))
    assert.same({ nil, "timeout" }, { core.pidfd.wait(fd, 0) })
    local before = core.now()
    assert.same({ nil, "timeout" }, { core.pidfd.wait(fd, 0.05) })
    assert.is_true(core.now() - before >= 0.05e9)
    assert(core.pidfd.kill(fd, "TERM"))
    assert.equal(15, assert(core.pidfd.wait(fd, 5)).signal)
    fd:close()
    p:close()
  end)

  it("takes one that another traces for ended only once the tracer has seen it", function()
    local p = spawn("sleep 5")
    local fd = assert(core.pidfd.open(p:pid()))
    local r, w = assert(core.pipe())
    local tracer = assert(core.helper(function()
      w:write(core.ptrace.seize(p:pid()) and "yes" or "no ")
      core.poll({}, 0.6)
    end, { w }))
    w:close()
    local seized = assert(r:read(3))
    r:close()
    assert(core.pidfd.kill(fd, "KILL"))
    local early = { core.pidfd.wait(fd, 0.3) }
    local status = assert(core.pidfd.wait(fd))
    assert.equal(9, status.signal)
    if seized == "yes" then assert.same({ nil, "timeout" }, early) end
    assert(core.pidfd.wait(tracer))
    tracer:close()
    fd:close()
    p:close()
  end)

  it("waits for another's child; where the kernel keeps no status it is unknown", function()
    local pid = stranger("sleep 0.3; exit 9")
    local fd = assert(core.pidfd.open(pid))
    assert.same({ nil, "timeout" }, { core.pidfd.wait(fd, 0) })
    local status = assert(core.pidfd.wait(fd, 5))
    if not status.unknown then
      assert.equal(9, status.code)
      assert.is_true(status.stolen)
    else
      -- older than 6.15, or whoever adopted it does not reap
      local major, minor = t.sh("uname -r"):match("^(%d+)%.(%d+)")
      local zombie = (t.read_file(("/proc/%d/stat"):format(pid)) or ""):match("%) Z ") ~= nil
      assert.is_true(zombie or tonumber(major) * 1000 + tonumber(minor) < 6015)
    end
    fd:close()
  end)

  it("kills another's child", function()
    local pid = stranger("exec sleep 20")
    local fd = assert(core.pidfd.open(pid))
    assert.is_true(core.pidfd.kill(fd, 0))
    assert.is_true(core.pidfd.kill(fd))
    local status = assert(core.pidfd.wait(fd, 5))
    assert.is_true(status.unknown or status.signal == 9)
    fd:close()
  end)

  it("never signals who has taken the pid of one that is gone", function()
    local p = spawn("exit 0")
    local fd = assert(core.pidfd.open(p:pid()))
    assert(p:wait())
    assert.same({ nil, 3 }, { (core.pidfd.kill(fd, "TERM")), (select(3, core.pidfd.kill(fd, "TERM"))) })
    fd:close()
    p:close()
  end)

  it("refuses what is no process, and no pidfd", function()
    local p = spawn("exit 0")
    local pid = p:pid()
    p:close()
    assert.equal(3, (select(3, core.pidfd.open(pid))))
    assert.has_error(function() core.pidfd.open(0) end)
    assert.has_error(function() core.pidfd.open("x") end)
    local null = assert(core.open("/dev/null"))
    assert.equal(9, (select(3, core.pidfd.wait(null))))
    assert.equal(9, (select(3, core.pidfd.kill(null, "TERM"))))
    assert.has_error(function() core.pidfd.kill(null, "TREM") end,
      "option 'signal': unknown word 'TREM' (did you mean 'TERM'?)")
    null:close()
  end)
end)
