-- A hostile process in a container goes for each process that joins: it gets none before that has dropped its
-- privileges, and no descriptor of the host's (CVE-2016-9962).
local t = require "support"
local j = require "support.joined"
local hostile_program = require "support.hostile"
local process = require "caisson.process"

-- What the hostile process tells of the processes that joined: { done =, program =, uid =, caps =, fds = {} } each.
local function attack(target, mode, count, spec)
  local hostile = assert(process.start(target, { args = { "/hostile/hostile", mode }, stdin = "null",
    stdout = "pipe", user = 0, capabilities = { "sys_ptrace", "kill", "dac_override", "dac_read_search" } }))
  assert.equal("ready\n", hostile.stdout:read(6))
  for _ = 1, count do
    local p, message = process.start(target, spec)
    if p then p:wait() else assert.truthy(message:find("signal", 1, true), message) end
  end
  hostile:kill("TERM")
  local text = t.slurp(hostile.stdout)
  hostile.stdout:close()
  assert.equal(0, hostile:wait().code)
  return hostile_program.read(text), text
end

-- As root without a user namespace, where CAP_SYS_PTRACE is over all that is there; and with one.
for _, user in ipairs(t.is_root and { false, true } or { true }) do
  describe("a hostile process, root of its container" .. (user and ", in a user namespace" or ""), function()
    if not (t.needs("userns") and t.needs("cc")) then return end
    local running, target

    setup(function()
      running, target = j.container({ mounts = { { proc = "/proc" }, { tmpfs = "/tmp" }, { tmpfs = "/hostile", exec = true },
        { bind = hostile_program.folder(), at = "/hostile", exec = true } } }, user)
    end)
    teardown(function()
      if running then running:close() end
      hostile_program.clean()
    end)

    for _, mode in ipairs { "ptrace", "mem", "fd", "signal" } do
      it("gets no one that has not dropped its privileges: " .. mode, function()
        local seen, text = attack(target, mode, 50, { args = { "/bin/sleep", "0.01" }, capabilities = {},
          user = t.is_root and 5 or nil, stdin = "null", stdout = "null", stderr = "null", limits = { time = 10 } })
        assert.truthy(#seen >= 10, text) -- the others were gone before it looked
        local uid, runners, got = t.is_root and "5" or "0", 0, 0
        for _, s in ipairs(seen) do
          if s.caps ~= "?" then
            -- what is there to be seen at all has dropped its privileges
            assert.equal("0000000000000000", s.caps, s.line)
            assert.equal(uid, s.uid, s.line)
          end
          local runner = s.program:find("memfd", 1, true)
          if runner then runners = runners + 1 end
          if s.done then got = got + 1 end
          if runner and user then
            -- mm->user_ns is the host's, where root of the container is nobody
            assert.is_false(s.done and mode ~= "signal", s.line)
          end
          for _, fd in ipairs(runner and s.fds or {}) do
            -- the container's own, where the home directory is looked up; its own pidfd, which its host is sent
            assert.truthy(fd == "/dev/null" or fd == "/etc/passwd" or fd == "anon_inode:[pidfd]" or fd:find("^socket:")
              or fd == "?", s.line)
          end
        end
        if mode ~= "signal" and user then assert.equal(0, runners, text) end
      end)
    end
  end)
end
