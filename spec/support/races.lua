-- Attacks that exchange a directory or file with a symlink while containers start: renameat2 RENAME_EXCHANGE, as
-- fast as it goes. spec/attacks has them in short, spec/long with 500 starts each.
local t = require "support"
local a = require "support.attacks"
local cli = require "support.cli"
local core = t.core
local assert = require "luassert"
local busted = require "busted"
local describe, it, setup, teardown, after_each = busted.describe, busted.it, busted.setup, busted.teardown, busted.after_each

-- The specs, of so many starts each.
return function(rounds)
  describe("a path that is exchanged with a symlink while a container starts", function()
    if not (t.needs "oci" and t.needs "busybox" and t.needs "userns" and t.needs "cc") then return end
    local S

    setup(function() S = a.sentinel() end)
    after_each(a.clean_racers)
    teardown(a.forget)

    -- Run them all; one(i) returns its result. The racer was there all the time, and not all were errors.
    local function race(racer, one, checked)
      local good = 0
      for i = 1, rounds * 8 do
        if i > rounds and good > 0 then break end -- a start's chance is a half at most
        local r = one(i)
        if (r.out .. r.err):find(a.canary, 1, true) then error("ESCAPE: the canary is read in round " .. i .. ": " .. r.out) end
        if r.code == 0 then
          good = good + 1
          if checked then checked(r, i) end
        else
          a.refused(r)
        end
        if i % 20 == 0 then S:check("round " .. i) end
      end
      S:check "the end"
      assert.is_nil(racer:wait(0))
      assert.truthy(good > 0, "no start came through")
    end

    -- A volume of somebody else's, where a is a directory or a link to the host's one.
    local function volume(b, link)
      local V = b.dir .. "/volume"
      t.sh(("mkdir -p %s/a/in; ln -s %s %s/b; chmod -R 777 %s; echo x > %s/a/canary; echo x > %s/a/file"):format(V, link or S.dir, V, V, V, V))
      return V, a.racer(V .. "/a", V .. "/b")
    end

    for _, kind in ipairs { "tmpfs", "bind", "file", "device", "cwd", "mask" } do
      it("leads no " .. kind .. " out of a shared volume (CVE-2021-30465, 2024-45310, 2019-18837)", function()
        local b = a.bundle(nil, S)
        local V, racer = volume(b)
        t.sh("mkdir " .. b.dir .. "/data; echo data > " .. b.dir .. "/data/file")
        b:mount { destination = "/vol", type = "bind", source = V, options = { "rbind", "rw" } }
        if kind == "tmpfs" then b:mount { destination = "/vol/a/in/new", type = "tmpfs", source = "tmpfs" } end
        if kind == "bind" then b:mount { destination = "/vol/a/in", type = "bind", source = b.dir .. "/data", options = { "rbind", "ro" } } end
        if kind == "file" then b:mount { destination = "/vol/a/file2", type = "bind", source = b.dir .. "/data/file", options = { "bind" } } end
        if kind == "device" then b.config.linux.devices = { { path = "/vol/a/in/device", type = "p" } } end
        if kind == "cwd" then b.config.process.cwd = "/vol/a/in" end
        if kind == "mask" then
          b.config.linux.maskedPaths, b.config.linux.readonlyPaths = { "/vol/a/canary", "/vol/a/in" }, { "/vol/a/in", "/vol/a" }
        end
        b:script("cat /vol/a/canary canary ../canary 2>/dev/null; pwd")
        race(racer, function()
          t.sh("rm -rf " .. V .. "/?/in/device")
          return b:run()
        end)
      end)
    end

    it("makes no mask or stdio of the host's settings (CVE-2025-31133, 2025-62161, 2026-88265)", function()
      local b = a.bundle("mkdir dev; echo > dev/null; ln -s ../proc/sys/kernel/core_pattern dev/other; echo secret > tmp/secret", S):attacker()
      if t.is_root then t.sh("cd " .. b.rootfs .. "/dev; rm null; mknod -m 666 null c 1 3") end
      b:without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
      local racer = a.racer(b.rootfs .. "/dev/null", b.rootfs .. "/dev/other")
      b.config.linux.maskedPaths = { "/tmp/secret", "/proc/kcore" }
      b:script("stat -c %t:%T /tmp/secret; cat /tmp/secret; attacker write /proc/sys/kernel/core_pattern; stat -L -c %t:%T /proc/self/fd/0")
      race(racer, function() return b:run() end, function(r)
        assert.matches("^1:3\n/proc/sys/kernel/core_pattern [13][30]\n", r.out)
        assert.falsy(r.out:find("secret\n", 1, true))
      end)
    end)

    it("leads no terminal's console out (CVE-2025-52565, 2026-88264)", function()
      local b = a.bundle("mkdir dev; echo > dev/console; ln -s " .. S.dir .. "/canary dev/other; ln -s ../tmp/x dev/third", S)
      b:without("/dev", "/dev/shm", "/dev/mqueue")
      local racer = a.racer(b.rootfs .. "/dev/console", b.rootfs .. "/dev/other")
      b.config.process.terminal = true
      b:script("(exec 7<>/dev/console && stat -L -c %t /proc/self/fd/7); echo end"):save()
      race(racer, function(i)
        local terminal = cli.at_terminal { a.runtime, "--root", b.root, "run", "--bundle", b.dir, ("attack-race-%d-%d"):format(t.getpid(), i) }
        local status = terminal:wait()
        terminal:close()
        return { code = status.code or 128, out = terminal.all:gsub("\r", ""), err = terminal.all }
      end, function(r)
        -- the racer is at it still: the name may be the link's again, which leads nowhere in there
        assert.truthy(r.out == "88\nend\n" or r.out:find "^[^\n]*can't create /dev/console[^\n]*\nend\n$", r.out)
      end)
    end)

    it("leads no setting of its own into another file (CVE-2025-52881, 2025-62596, 2025-65105)", function()
      -- a volume shared with propagation: what is mounted in it may land on /proc/sys
      local b = a.bundle("mkdir real", S)
      local V, racer = volume(b, "/proc")
      t.sh("mkdir -p " .. V .. "/a/sys/net " .. b.dir .. "/fake/ipv4; echo fake > " .. b.dir .. "/fake/ipv4/ip_default_ttl")
      b:mount { destination = "/vol", type = "bind", source = V, options = { "rbind", "rw", "rshared" } }
      b:mount { destination = "/vol/a/sys/net", type = "bind", source = b.dir .. "/fake", options = { "rbind", "rw", "rshared" } }
      b:mount { destination = "/real", type = "proc", source = "proc" }
      b.config.linux.sysctl = { ["net.ipv4.ip_default_ttl"] = "77" }
      b.config.process.oomScoreAdj = 333
      b.config.linux.rootfsPropagation = t.is_root and "rslave" or nil
      b:script("cat /real/sys/net/ipv4/ip_default_ttl /real/$$/oom_score_adj")
      -- another container has the volume too, with the same propagation
      local other = a.bundle(nil, S):mount { destination = "/vol", type = "bind", source = V, options = { "rbind", "rw", "rshared" } }:script("sleep 600")
      local id = other:start()
      race(racer, function() return b:run() end, function(r) assert.equal("77\n333\n", r.out) end)
      assert.equal("fake\n", t.read_file(b.dir .. "/fake/ipv4/ip_default_ttl"))
      if id then other:delete(id) end
    end)

    it("leads nobody into the caller's directories (CVE-2024-21626)", function()
      local b = a.bundle("mkdir a; ln -s /proc/self/fd/7 b", S)
      local racer = a.racer(b.rootfs .. "/a", b.rootfs .. "/b")
      b.config.process.cwd = "/a"
      b:script("pwd; cat canary ../canary")
      race(racer, function()
        local r = b:run { before = "exec 7<" .. S.dir .. ";" }
        if r.code == 1 and r.out:find "^/" then r.code = 0 end -- cat has found none
        return r
      end)
    end)

    it("leads nobody who joins into the caller's directories (CVE-2024-21626)", function()
      local b = a.bundle("mkdir a; ln -s /proc/self/fd/7 b", S):script("sleep 600")
      local id = assert(b:start())
      local racer = a.racer(b.rootfs .. "/a", b.rootfs .. "/b")
      race(racer, function()
        return b:exec(id, { "/bin/sh", "-c", "pwd; cat canary ../canary 2>/dev/null; true" }, { words = { "--cwd", "/a" },
          before = "exec 7<" .. S.dir .. ";" })
      end)
      b:delete(id)
    end)

    it("is no source where the recipe wants none that is a symlink (CVE-2024-42472, 2024-0132)", function()
      local caisson = require "caisson"
      local V = a.tmpdir()
      t.sh(("mkdir %s/a; echo mine > %s/a/canary; ln -s %s %s/b"):format(V, V, S.dir, V))
      local racer = a.racer(V .. "/a", V .. "/b")
      race(racer, function()
        local r, message, errno = caisson.run(caisson.recipe { extends = "sandbox", mounts = { { bind = V .. "/a", at = "/data", nofollow = true } } },
          { args = { "/bin/cat", "/data/canary" }, stdout = "capture" })
        if not r then
          assert.equal(core.errno.ELOOP, errno, message)
          return { code = 1, out = "", err = message, log = true }
        end
        return { code = r.code, out = r.stdout, err = "" }
      end, function(r) assert.equal("mine\n", r.out) end)
    end)
  end)
end
