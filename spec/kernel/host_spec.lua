-- The host process: somebody's application, which spawning must neither disturb nor trip over.
local t = require "support"
local host = require "support.host"
local core = t.core

-- In the host's own Lua: runs that work, on both ways of making a child.
local runs = [[
local step = t.step
local function good(fork)
  local r, message = t.run({ step("clone", {}), step("umask", "022") }, { script = "echo works", fork = fork })
  if not r then return message end
  return r.output == "works\n" and r.code == 0 or "output " .. r.output .. " code " .. tostring(r.code)
end
local function children()
  local n = 0
  for _ in t.read_file("/proc/self/task/" .. t.getpid() .. "/children"):gmatch("%d+") do n = n + 1 end
  return n
end
]]

describe("A host", function()
  teardown(host.clean)

  it("keeps its signals, mask, umask, cwd, oom_score_adj and dumpable", function()
    assert.equal("same\n", host.run(runs .. [[
      host.signals()
      local function state()
        local s = t.read_file("/proc/self/status")
        return table.concat({ s:match("SigBlk:%s%x+"), s:match("SigIgn:%s%x+"), s:match("SigCgt:%s%x+"),
          s:match("Umask:%s%d+"), t.sh("readlink /proc/$PPID/cwd"), t.read_file("/proc/self/oom_score_adj"),
          host.dumpable(), s:match("NoNewPrivs:%s%d"), s:match("Seccomp:%s%d"), s:match("THP_enabled:%s%d"),
          t.read_file("/proc/self/sessionid"), t.sh("readlink /proc/$PPID/ns/*") }, "\n")
      end
      local before = state()
      assert(before:find("SigBlk:%s0000000000000001") and before:find("SigIgn:%s%x*8%x%x\n"))
      for _, fork in ipairs { false, true } do
        local r = assert(t.run({ step("clone", t.is_root and {} or { "user" }), step("umask", "077"),
          step("oom_score_adj", { value = 500 }), step("no_new_privs"), step("chdir", "/"), step("dumpable", { on = false }),
          step("session") }, { fork = fork, script = "cat /proc/self/oom_score_adj" }))
        assert(r.output == "500\n", r.output)
      end
      print(before == state() and "same" or before .. "\n" .. state())
    ]]))
  end)

  it("keeps its signals to itself: the program finds all at their default, none blocked", function()
    assert.equal("SigBlk 0000000000000000 SigIgn 0000000000000000 SigCgt 0000000000000000\n", host.run([[
      host.signals()
      for _, fork in ipairs { false, true } do
        local r = assert(t.run({ t.step("clone", {}) }, { argv = { "/bin/cat", "/proc/self/status" }, fork = fork }))
        last = r.output:match("SigBlk.-SigCgt:%s%x+"):gsub("[:%s]+", " ")
        assert(not one or one == last)
        one = last
      end
      print(one)
    ]]))
  end)

  it("may ignore SIGCHLD", function()
    local out = host.run(runs .. [[
      host.ignore()
      for _, fork in ipairs { false, true } do
        local p, message = core.spawn { fork = fork, plan = core.plan { step("clone", {}), step("exec", { argv = { "sh", "-c", "exit 3" } }) } }
        assert(p, message)
        local status, why, errno = p:wait()
        if status then print(status.code, status.stolen) else print(errno == core.errno.ECHILD, (why:match("ignores SIGCHLD"))) end
        assert(p:close())
        local ok, err = t.run({ step("clone", {}), step("chdir", "/nonexistent") }, { fork = fork })
        print(ok, err)
        p = assert(core.spawn { fork = fork, plan = core.plan { step("clone", {}), step("exec", { argv = { "sleep", "100" } }) } })
        p:close()
      end
      print(children())
    ]])
    local failure = "nil\tstep 2, chdir[1] /nonexistent: path /nonexistent: No such file or directory (ENOENT)\n"
    -- Linux 6.15 keeps the status for whoever holds the pidfd
    local kept = ("3\ttrue\n" .. failure):rep(2) .. "0\n"
    local lost = ("true\tignores SIGCHLD\n" .. failure):rep(2) .. "0\n"
    assert.truthy(out == kept or out == lost, out)
  end)

  it("may wait for any child in a handler", function()
    local out = host.run(runs .. [[
      host.reaper()
      for i = 1, 50 do
        local p = assert(core.spawn { fork = i % 10 == 0, plan = core.plan { step("clone", {}), step("exec", { argv = { "sh", "-c", "exit 3" } }) } })
        local status, why, errno = p:wait()
        assert(status and status.code == 3 or errno == core.errno.ECHILD, why)
        p:close()
        local ok, message = t.run({ step("clone", {}), step("chdir", "/nonexistent") })
        assert(not ok and message:find("ENOENT", 1, true), message)
      end
      print(children(), host.reaped() > 0)
    ]])
    assert.equal("0\ttrue\n", out)
  end)

  it("may have no standard streams", function()
    local path = os.tmpname()
    for _, closed in ipairs { "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-" } do
      host.run(runs .. ([[
        local out = {}
        for _, fork in ipairs { false, true } do out[#out + 1] = tostring(good(fork)) end
        -- and nothing of ours sits there
        for n = 0, 2 do out[#out + 1] = core.lstat("/proc/self/fd/" .. n) and "open" or "closed" end
        local f = io.open(%q, "w")
        f:write(table.concat(out, " "))
        f:close()
      ]]):format(path), { redirect = closed })
      local function state(what) return closed:find(what, 1, true) and "closed" or "open" end
      assert.equal(("true true %s %s %s"):format(state "<&", (closed:find("^>") or closed:find(" >")) and "closed" or "open",
        state "2>"), t.read_file(path))
    end
    os.remove(path)
  end)

  it("gives no container what took the number of a closed standard stream", function()
    assert.truthy((host.run([[
      local plan = core.plan { t.step("clone", {}), t.step("exec", { argv = { "true" }, files = { "stdin" } }) }
      print(host.private("/etc"), core.spawn { plan = plan, slots = { stdin = 0 } })
    ]], { redirect = "<&-" })):find("^0\tnil\tslot stdin: descriptor 0: Bad file descriptor"))
  end)

  it("may run out of descriptors at any point", function()
    local out = host.run(runs .. [[
      assert(good())
      local open = t.count_fds()
      local plan = core.plan { step("clone", {}), step("umask", "022"), step("exec", { argv = { "true" }, files = { "stdin" } }) }
      local null = assert(core.open("/dev/null"))
      local failed, worked = 0, 0
      for limit = 2, open + 12 do
        core.rlimit { resource = "nofile", soft = limit, hard = 4096 }
        for _, fork in ipairs { false, true } do
          local p, message, errno = core.spawn { plan = plan, slots = { stdin = null }, fork = fork }
          if p then
            worked = worked + 1
            assert(p:wait().code == 0)
            p:close()
          else
            failed = failed + 1
            assert(errno == core.errno.EMFILE, message)
          end
        end
      end
      core.rlimit { resource = "nofile", soft = 256, hard = 4096 }
      collectgarbage()
      print(failed > 2, worked > 2, children(), t.count_fds() - open)
    ]])
    assert.equal("true\ttrue\t0\t1\n", out) -- 1: null
  end)

  it("may have its table of descriptors full of others", function()
    local out = host.run(runs .. [[
      local n = host.open(19900)
      local r = assert(t.run({ step("clone", {}) }, { script = "ls /proc/self/fd | wc -l" }))
      print(n > 200, r.output, good(true))
    ]], { shell = "ulimit -n $(ulimit -H -n)" })
    assert.equal("true\t4\n\ttrue\n", out) -- 0, 1, 2 and ls's own
  end)

  it("may spawn from several threads at once while others allocate, with Lua steps too", function()
    local out = host.run([[
      local code = ]] .. ("%q"):format(runs .. [[
        for i = 1, 25 do
          local fork = i % 5 == 0
          local r, message = t.run({ step("clone", {}), fork and step("lua", { name = "f" }) or step("umask", "022") },
            { script = "echo " .. thread .. "." .. i, functions = { f = function() local x = {} for k = 1, 1000 do x[k] = {} end end } })
          assert(r, message)
          assert(r.output == thread .. "." .. i .. "\n" and r.code == 0, r.output)
          local bad, _, errno = t.run({ step("clone", {}), step("chdir", "/nonexistent") })
          assert(bad == nil and errno == 2)
        end
      ]]) .. [[
      code = 'local core, t = require "caisson.core", require "support"\n' .. code
      assert(t.run { t.step("clone", {}) }) -- the runner stays open
      local before = t.count_fds()
      for _, e in ipairs(host.threads(4, code, 3)) do print(e) end
      local n = 0
      for _ in t.read_file("/proc/self/task/" .. t.getpid() .. "/children"):gmatch("%d+") do n = n + 1 end
      print(n, t.count_fds() - before)
    ]])
    assert.equal("0\t0\n", out)
  end)

  it("may give up the construction at any time, and has no child then", function()
    local out = host.run(runs .. [[
      local namespaces = t.is_root and { "mount", "pid", "net" } or { "user", "mount", "pid", "net" }
      local plan = core.plan { step("clone", namespaces), step("umask", "022"), step("exec", { argv = { "true" } }) }
      local given_up, done, fds = 0, 0, nil
      for round = 1, 400 do
        local r, w = assert(core.pipe())
        host.later(w:fileno(), (round * 37) % 2000)
        local p, message, errno = core.spawn { plan = plan, cancel = r, fork = round % 8 == 0 }
        if p then
          done = done + 1
          p:close()
        else
          assert(errno == core.errno.ECANCELED, message)
          given_up = given_up + 1
        end
        assert(children() == 0, "a child is left in round " .. round)
        r:read(1) -- the thread has written
        r:close()
        w:close()
        if round == 50 then fds = t.count_fds() end
      end
      print(given_up > 20, done > 20, t.count_fds() - fds)
    ]])
    assert.equal("true\ttrue\t0\n", out)
  end)

  it("may be where memfds can't be executed: the installed runner serves", function()
    if not t.needs "root" then return end -- the sysctl belongs to the machine's root
    local script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write([[
      local core = require "caisson.core"
      local p = assert(core.spawn { plan = core.plan { { step = "clone" }, { step = "exec", options = { argv = { "true" } } } } })
      print(p:wait().code)
    ]])
    f:close()
    local cwd = core.realpath(".")
    local r = assert(t.run({ t.step("clone", { "pid", "mount" }) }, {
      script = "mount --make-rprivate / && mount -t proc proc /proc || exit 9; echo 2 > /proc/sys/vm/memfd_noexec || exit 9; cd " .. cwd ..
        " && exec " .. host.lua .. " " .. script,
      env = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LUA_PATH=" .. package.path, "LUA_CPATH=" .. package.cpath } }))
    os.remove(script)
    assert.equal("0\n", r.output)
  end)

  it("is refused an installed runner that is not of the library's build", function()
    if not t.needs "root" then return end -- the sysctl belongs to the machine's root
    local dir = t.sh("d=$(mktemp -d) && mkdir $d/caisson && printf %s $d")
    finally(function() t.sh("rm -r " .. dir) end)
    local so = package.searchpath and package.searchpath("caisson.core", package.cpath) or package.cpath:match("^[^;]*"):gsub("%?",
      "caisson/core")
    local code = "local core = require 'caisson.core' " ..
      "print(core.spawn { plan = core.plan { { step = 'clone' }, { step = 'exec', options = { argv = { 'true' } } } } })"
    local f = assert(io.open(dir .. "/code.lua", "w"))
    f:write(code)
    f:close()
    for what, change in pairs { ["another"] = "printf x | dd of=%s/caisson-runner bs=1 seek=5000 conv=notrunc 2> /dev/null",
      ["a shorter"] = "truncate -s 4096 %s/caisson-runner", ["a longer"] = "printf x >> %s/caisson-runner" } do
      t.sh(("cp %s %s/caisson/core.so && cp %s/../caisson-runner %s/ && "):format(so, dir, so:match("^(.*)/"), dir) ..
        change:format(dir))
      local r = assert(t.run({ t.step("clone", { "pid", "mount" }) }, {
        script = "mount --make-rprivate / && mount -t proc proc /proc || exit 9; echo 2 > /proc/sys/vm/memfd_noexec || exit 9; " ..
          "exec " .. host.lua .. " " .. dir .. "/code.lua",
        env = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LUA_PATH=" .. package.path, "LUA_CPATH=" .. dir .. "/?.so" } }))
      assert.truthy(r.output:find("the installed caisson-runner is of another build than the library: install both anew", 1, true),
        what .. " runner: " .. r.output)
    end
  end)
end)
