-- A directory of a shared volume is exchanged with a symlink while containers are made in it (CVE-2021-30465).
local t = require "support"
local m = require "support.mounts"
local step = t.step

describe("a path that changes while it is used", function()
  local S, V, racer, before, mounts
  local rounds = 300

  setup(function()
    S, V = m.tmpdir(), m.tmpdir()
    t.sh(("mkdir %s/in; echo canary > %s/canary; mkdir -p %s/a/in; ln -s %s %s/b; chmod 755 %s %s"):format(S, S, V, S,
      V, S, V))
    before = t.sh("cd " .. S .. " && find . -printf '%p %i %m %s %T@ %C@\\n' | sort")
    mounts = t.read_file("/proc/self/mountinfo")
    -- renameat2(2) with RENAME_EXCHANGE, as fast as it goes
    local script = m.tmpdir() .. "/racer.lua"
    local f = assert(io.open(script, "w"))
    f:write(([[local ffi = require "ffi"
      ffi.cdef "long syscall(long number, ...);"
      local nr = jit.arch == "arm64" and 276 or 316
      while true do
        ffi.C.syscall(ffi.cast("long", nr), ffi.cast("long", -100), %q, ffi.cast("long", -100), %q, ffi.cast("long", 2))
      end]]):format(V .. "/a", V .. "/b"))
    f:close()
    racer = assert(t.core.spawn { plan = t.core.plan { step("exec",
      { argv = { "luajit", script }, env = { "PATH=" .. os.getenv("PATH") } }) } })
  end)
  teardown(function()
    racer:close()
    m.clean()
  end)

  for _, mode in ipairs { "openat2", "openat2 answering ENOSYS" } do
    it("never leads out of the root, by " .. mode, function()
      local done = 0
      for i = 1, rounds do
        local run = m.namespaces { namespaces = { "mount" },
          first = mode ~= "openat2" and { m.enosys("openat2") } or nil }
        run[#run + 1] = step("root.tmpfs", {})
        run[#run + 1] = step("mount.bind", { source = V, target = "/vol" })
        local optional = { optional = true } -- lost races end as errors
        run[#run + 1] = step("mkdir", "/vol/a/in/d" .. i, optional)
        run[#run + 1] = step("file", { path = "/vol/a/f" .. i, data = "x" }, optional)
        run[#run + 1] = step("symlink", { target = "/", at = "/vol/a/in/l" .. i }, optional)
        run[#run + 1] = step("mount.tmpfs", "/vol/a/in", optional)
        run[#run + 1] = step("mount.bind", { source = "/usr", target = "/vol/a/u" .. i }, optional)
        run[#run + 1] = step("mask", "/vol/a/canary", optional)
        run[#run + 1] = step("pivot_root", {})
        run[#run + 1] = step("exec", { argv = { "/nothing" } })
        local _, _, _, failure = t.core.spawn { plan = t.core.plan(run) }
        assert.equal("exec", failure.step)
        done = done + 1
      end
      assert.equal(rounds, done)
      assert.is_nil(racer:wait(0)) -- it was there all the time
      assert.equal(before, t.sh("cd " .. S .. " && find . -printf '%p %i %m %s %T@ %C@\\n' | sort"))
      assert.equal(mounts, t.read_file("/proc/self/mountinfo"))
    end)
  end
end)
