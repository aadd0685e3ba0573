-- 500 that join a container in which one goes for each: it gets none before that has dropped its privileges, and nothing
-- of the host's (CVE-2016-9962, 2019-5736).
local t = require "support"
local a = require "support.attacks"
local hostile = require "support.hostile"

describe("a hostile process, against 500 that join", function()
  if not (t.needs "oci" and t.needs "busybox" and t.needs "userns" and t.needs "cc") then return end
  local S
  setup(function() S = a.sentinel() end)
  teardown(function()
    a.forget()
    hostile.clean()
  end)

  for _, userns in ipairs(t.is_root and { false, true } or { true }) do
    for _, mode in ipairs { "ptrace", "mem", "fd", "signal" } do
      it("gets nothing: " .. mode .. (userns and ", in a user namespace" or ""), function()
        local b = a.bundle(nil, S)
        for _, set in pairs(b.config.process.capabilities) do set[#set + 1] = "CAP_SYS_PTRACE" end
        t.sh(("cp %s %s/bin/hostile"):format(hostile.program(), b.rootfs))
        if userns then b:in_user_namespace() end
        b.config.process.args = { "/bin/hostile", mode }
        local seen, left = {}, 500
        while left > 0 do -- it ends by itself after a minute
          local id = assert(b:start())
          b:expect "ready"
          for _ = 1, 125 do
            b:exec(id, { "/bin/sleep", "0.005" }, { words = { "--user", t.is_root and "5:5" or "0:0" }, before = "exec 7<" .. S.dir .. ";" })
            left = left - 1
          end
          b:call { "kill", id, "TERM" }
          for _, s in ipairs(hostile.read(b:expect "end\n")) do seen[#seen + 1] = s end
          b:delete(id)
        end
        assert.truthy(#seen > 50, #seen)
        for _, s in ipairs(seen) do
          for _, fd in ipairs(s.fds) do assert.falsy(fd:find(S.dir, 1, true), s.line) end
          local runner = s.program:find("memfd", 1, true)
          -- what is to be seen has dropped its privileges
          if runner and s.caps ~= "?" and t.is_root then assert.equal("5", s.uid, s.line) end
          if runner and userns then assert.is_false(s.done and mode ~= "signal", s.line) end
        end
        S:check(mode)
      end)
    end
  end

  it("overwrites no program", function()
    local b = a.bundle(nil, S):attacker()
    for _, set in pairs(b.config.process.capabilities) do set[#set + 1] = "CAP_SYS_PTRACE" end
    local program = b.dir .. "/program"
    t.sh(("cp -L $(command -v %s) %s; chmod 755 %s"):format(a.runtime, program, program))
    local sum = t.sh("cksum < " .. program)
    b.config.process.args = { "/bin/attacker", "overwrite", "#!/bin/evil\n" }
    local id = assert(b:start { runtime = program })
    b:expect "ready"
    for _ = 1, 500 do b:exec(id, { "/bin/true" }, { runtime = program }) end
    b:call({ "kill", id, "TERM" }, { runtime = program })
    local seen = b:expect "end %d+"
    assert.falsy(seen:find("overwritten", 1, true))
    for path in seen:gmatch "opened ([^\n]+)" do assert.matches("^/memfd:", path) end
    assert.equal(sum, t.sh("cksum < " .. program))
    b:delete(id)
    S:check()
  end)
end)
