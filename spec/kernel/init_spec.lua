-- exec { init = true }: a reaper as pid 1, or as a subreaper.
local t = require "support"
local step = t.step

local init = { init = true }
-- The program as root of a user namespace, with a /proc of its own.
local inside = { step("clone", { "user", "pid", "mount" }), step("idmap", {
  uid = { { 0, t.core.identity().euid, 1 } }, gid = { { 0, t.core.identity().egid, 1 } }, setgroups = "deny" }) }
local own_proc = "mount -t proc proc /proc && "
local pidns = t.is_root and step("clone", { "pid", "mount" }) or step("clone", { "user", "pid", "mount" })

-- Both ways of making a child: by the runner, and by a fork (as Lua steps need).
for _, fork in ipairs { false, true } do
  describe("exec with init" .. (fork and ", in a fork" or ""), function()
    if not t.needs("userns") then return end

    local function run(steps, opts)
      opts.exec, opts.fork = opts.exec or init, fork
      return t.run(steps, opts)
    end

    -- /proc is the host's, where the program's pid is another: it finds its parent there by ppid.
    local function status_of_init(field)
      return ([[awk '/^PPid/ { print $2 }' /proc/self/status | (read shell; ]] ..
        [[awk '/^PPid/ { print $2 }' /proc/$shell/status | (read init; awk '/^%s/ { print $2 }' /proc/$init/status))]])
        :format(field)
    end

    it("makes the program pid 2, below a pid 1 called caisson-init", function()
      local r = assert(run({ pidns }, { script = "echo $$ $PPID; " .. status_of_init("Name") }))
      assert.equal("2 1\ncaisson-init\n", r.output)
      assert.equal(0, r.code)
    end)

    it("ends with the program's exit code", function()
      assert.equal(7, assert(run({ pidns }, { script = "exit 7" })).code)
    end)

    it("tells the program's signal, as pid 1 too, which is no exit code of 128 and more", function()
      for _, steps in ipairs { { pidns }, {} } do
        local r = assert(run(steps, { script = "kill -9 $$" }))
        assert.equal(9, r.signal)
        assert.is_nil(r.code)
        assert.equal(137, assert(run(steps, { script = "exit 137" })).code)
      end
    end)

    it("reaps orphans", function()
      -- the orphan's parent ends first; then nothing may be left as a zombie of pid 1
      local r = assert(run(inside, { script = own_proc .. [[
        sh -c 'sleep 0.05 & exec true'
        cat /proc/1/task/1/children; sleep 0.15; cat /proc/1/task/1/children]] }))
      assert.matches("^2 %d+ 2 $", r.output)
    end)

    it("is the parent of orphans also without a pid namespace", function()
      local r = assert(run({}, { script = [[
        sh -c 'sleep 0.3 & echo $!' > /tmp/.caisson-orphan.$$
        o=$(cat /tmp/.caisson-orphan.$$); rm /tmp/.caisson-orphan.$$
        [ "$(awk '/^PPid/ { print $2 }' /proc/$o/status)" = $PPID ] && echo mine
      ]] }))
      assert.equal("mine\n", r.output)
    end)

    it("hands signals on to the program", function()
      local plan = t.core.plan { pidns, step("exec", { argv = { "/bin/sh", "-c",
        "trap 'echo got; exit 3' TERM; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done" },
        files = { "stdin", "stdout", "stdout" }, init = true }) }
      local r, w = assert(t.core.pipe())
      local null = assert(t.core.open("/dev/null"))
      local p = assert(t.core.spawn { plan = plan, slots = { stdin = null, stdout = w }, fork = fork })
      w:close()
      null:close()
      assert.equal("ready\n", r:read())
      assert(p:kill("TERM"))
      assert.equal("got\n", r:read())
      assert.equal(3, assert(p:wait(5)).code)
      r:close()
      p:close()
    end)

    it("keeps none of the program's descriptors: the pipe ends with the program", function()
      -- the program closes its output and lives on; init must not hold the pipe open
      local plan = t.core.plan { pidns, step("exec", { argv = { "/bin/sh", "-c",
        "exec > /dev/null 2>&1; sleep 1" }, files = { "stdin", "stdout", "stdout" }, init = true }) }
      local r, w = assert(t.core.pipe())
      local null = assert(t.core.open("/dev/null"))
      local p = assert(t.core.spawn { plan = plan, slots = { stdin = null, stdout = w }, fork = fork })
      w:close()
      null:close()
      assert.equal("", r:read())
      assert.is_nil((p:wait(0)))
      -- but for the socket on which it will tell the host how the program ended
      assert.matches("^socket:[^\n]*\n$", t.sh("readlink /proc/" .. p:pid() .. "/fd/* 2>/dev/null || echo socket:"))
      r:close()
      p:close()
    end)

    it("is confined and holds nothing, should root of the container trace it", function()
      -- it lets go of what it has handed on only when the program is there
      local r = assert(run(inside, { script = own_proc .. [[
        i=0; while readlink /proc/1/fd/* | grep -q pipe: && [ $i -lt 100 ]; do i=$((i + 1)); sleep 0.02; done
        grep -h -E 'CapEff|NoNew|Seccomp:' /proc/self/status /proc/1/status
        readlink /proc/1/fd/*; echo x 2>&1 > /proc/1/exe || echo refused]] }))
      assert.matches("^CapEff:\t0*1ff%x*\nNoNewPrivs:\t0\nSeccomp:\t0\n" ..
        "CapEff:\t0*1ff%x*\nNoNewPrivs:\t1\nSeccomp:\t2\n", r.output)
      assert.matches("refused\n$", r.output)
      assert.matches("Seccomp:\t2\nsocket:%S+\n[^\n]*refused\n$", (r.output:gsub("/bin/sh:[^\n]*\n", "")))
    end)

    it("can't be looked into without CAP_SYS_PTRACE", function()
      local list = { inside[1], inside[2] }
      list[3] = step("capabilities", { bounding = { "sys_admin" }, permitted = { "sys_admin" },
        effective = { "sys_admin" } })
      local r = assert(run(list, { script = own_proc .. "cat /proc/1/maps; readlink /proc/1/exe" }))
      assert.matches("/proc/1/maps: Permission denied", r.output)
      assert.equal(1, r.code)
    end)

    it("shows the host the sealed runner as its program", function()
      if not t.needs("root") then return end
      local exe
      local plan = t.core.plan { pidns, step("exec", { argv = { "sleep", "5" }, init = true }) }
      local p = assert(t.core.spawn { plan = plan, fork = fork })
      exe = t.sh("readlink /proc/" .. p:pid() .. "/exe")
      p:close()
      assert.equal("/memfd:caisson (deleted)\n", exe)
    end)

    it("reports a program that can't be executed as the step's failure", function()
      local before = t.count_children()
      local ok, _, errno, failure = run({ pidns }, { argv = { "/nonexistent" } })
      assert.is_nil(ok)
      assert.equal(2, errno)
      assert.same({ "exec", 2, 1, "/nonexistent" }, { failure.step, failure.number, failure.index, failure.detail })
      assert.equal(before, t.count_children())
    end)

    it("reports an injected failure of exec, and of the steps before it", function()
      for n = 1, 3 do
        local ok, _, errno, failure = run({ pidns, step("umask", "022") },
          { script = "true", fail = { step = n, errno = 5 } })
        assert.is_nil(ok)
        assert.same({ 5, n }, { errno, failure.number })
      end
    end)

    it("reports what optional steps were left out", function()
      local r = assert(run({ pidns, step("umask", "022"), step("nice", 19, { optional = true }) },
        { script = "true", fail = { step = 3, errno = 1 } }))
      assert.same({ [3] = 1 }, r.skipped)
    end)
  end)
end
