-- checkpoint and restore: what criu is asked for, and what becomes of the container. A script stands in for criu, whose
-- own work is shown where this kernel can be checkpointed by it.
local t = require "support"
local oci = require "support.oci"
local json = require "caisson.json"

describe("caisson-oci", function()
  if not t.needs("oci", "busybox") then return end
  if not t.is_root then return pending("criu needs root") end
  local world

  before_each(function()
    world = oci.world()
    world:configure("exec sleep 300")
  end)
  after_each(function() assert.same(oci.nothing, world:close()) end)

  -- A criu that writes down its words; its restored process sleeps.
  local function fake(body)
    local path = world.dir .. "/criu"
    oci.write(path, ([[#!/bin/sh
for w; do echo "$w"; done > %s/words
pidfile=; root=; work=; log=
while [ $# -gt 0 ]; do
  case $1 in --pidfile) pidfile=$2;; --root) root=$2;; --work-dir) work=$2;; --log-file) log=$2;; esac
  shift
done
%s
]]):format(world.dir, body))
    t.sh("chmod +x " .. path)
    return { "--criu", path }
  end

  local function asked() return "\n" .. (t.read_file(world.dir .. "/words") or "") end

  local function has(...)
    for _, w in ipairs { ... } do assert.truthy(asked():find("\n" .. w .. "\n", 1, true), w .. " is not in " .. asked()) end
  end

  it("has criu save a container's processes, and removes it then", function()
    world:create()
    world:ok("start", "box")
    local pid = world:state().pid
    local criu = fake "true"
    local r = world:run({ "checkpoint", "--image-path", world.dir .. "/images", "--tcp-established", "--file-locks",
      "--manage-cgroups-mode", "full", "--leave-running", "--empty-ns", "network", "--status-fd", "1", "box" }, { globals = criu })
    assert.equal(0, r.code, r.err)
    has("dump", "--tree\n" .. pid, "--images-dir\n" .. world.dir .. "/images", "--work-dir\n" .. world.dir .. "/images",
      "--tcp-established", "--file-locks", "--manage-cgroups=full", "--leave-running", "--empty-ns\nnet", "--status-fd\n1",
      "--root\n" .. world.rootfs, "--external\nmnt[]:ms")
    assert.equal("running", world:state().status)
    assert.same({ false }, { json.decode(t.read_file(world.dir .. "/images/descriptors.json"))[1] })
    r = world:run({ "checkpoint", "--image-path", world.dir .. "/images", "--pre-dump", "--page-server", "10.0.0.1:99", "box" },
      { globals = criu })
    assert.equal(0, r.code, r.err)
    has("pre-dump", "--track-mem", "--page-server\n--address\n10.0.0.1\n--port\n99")
    assert.equal("running", world:state().status)
    assert.matches("Invalid manage cgroups mode", world:fails("checkpoint", "--manage-cgroups-mode", "x", "box"))
    assert.matches("Parent checkpoint does not exist", world:fails("checkpoint", "--parent-path", "x", "box"))
    assert.equal(0, world:run({ "checkpoint", "--image-path", "images", "box" }, { globals = criu, cwd = world.dir }).code)
    assert.matches("container does not exist", world:fails("state", "box"))
  end)

  it("keeps the container where criu fails, and says what its log says", function()
    world:create()
    assert.matches("cannot be checkpointed in created state", world:fails("checkpoint", "box"))
    world:ok("start", "box")
    local r = world:run({ "checkpoint", "--image-path", world.dir .. "/images", "box" },
      { globals = fake [[echo '(00.1) Error (criu/x.c:5): nothing doing' > $work/$log; exit 1]] })
    assert.equal(1, r.code)
    assert.matches("criu failed: type DUMP: nothing doing", r.err)
    assert.equal("running", world:state().status)
    r = world:run({ "checkpoint", "--image-path", world.dir .. "/images", "box" }, { globals = { "--criu", "/nonexistent/criu" } })
    assert.equal(1, r.code)
    assert.matches("criu is not installed: there is no program /nonexistent/criu", r.err)
    world:configure("true", function(c) c.linux.cgroupsPath = "/" .. world.prefix .. "other" end)
    r = world:run({ "restore", "--image-path", world.dir .. "/images", "other" }, { globals = { "--criu", "/nonexistent/criu" } })
    assert.equal(1, r.code)
    assert.matches("criu is not installed", r.err)
    r = world:run({ "restore", "--image-path", world.dir .. "/images", "other" }, { globals = fake "exit 1" })
    assert.matches("criu failed: type RESTORE", r.err)
    assert.matches("container does not exist", world:fails("state", "other"))
  end)

  it("makes a container of what was saved, with its root as a mount that is nobody else's", function()
    t.sh("mkdir " .. world.dir .. "/images; echo '[\"pipe[5]\", false, \"file[7:1f]\"]' > " .. world.dir .. "/images/descriptors.json")
    local r = world:run({ "restore", "-d", "--image-path", world.dir .. "/images", "--pid-file", world.dir .. "/pid",
      "--lsm-profile", "apparmor:x", "box" }, { globals = fake(
      'grep " $root " /proc/self/mountinfo > ' .. world.dir .. '/mounted; setsid sleep 300 > /dev/null 2>&1 & echo $! > "$pidfile"') })
    assert.equal(0, r.code, r.err)
    has("restore", "--restore-detached", "--restore-sibling", "--inherit-fd\nfd[0]:pipe[5]", "--inherit-fd\nfd[2]:file[7:1f]",
      "--lsm-profile\napparmor:x")
    -- a path of the filesystem's: where /tmp is one of its own, it begins there
    assert.matches(world.rootfs:match("/[^/]+/[^/]+/[^/]+$"):gsub("%p", "%%%0"), t.read_file(world.dir .. "/mounted"))
    local s = world:state()
    assert.same({ "running", ("%d"):format(s.pid), world.bundle }, { s.status, t.read_file(world.dir .. "/pid"), s.bundle })
    assert.matches("^sleep", t.read_file(("/proc/%d/cmdline"):format(s.pid)))
    world:fails("restore", "-d", "--image-path", world.dir .. "/images", "box")
    world:ok("delete", "--force", "box")
    assert.equal("", t.read_file(("/proc/%d/cmdline"):format(s.pid)) or "")
  end)

  it("takes a real container's memory along", function()
    if not t.sh("criu check 2>&1"):find("Looks good", 1, true) then
      return pending("criu does not work here: " .. (t.sh("criu check 2>&1"):match("[^\n]*") or ""))
    end
    world:configure("i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.05; done")
    world:create()
    world:ok("start", "box")
    local function n() return tonumber((t.read_file(world.rootfs .. "/tmp/n") or ""):match("%d+")) or 0 end
    oci.await(function() return n() > 5 end, "a count")
    world:ok("checkpoint", "--image-path", world.dir .. "/images", "box")
    local before = n()
    world:ok("restore", "-d", "--image-path", world.dir .. "/images", "box")
    oci.await(function() return n() > before end, "a greater count")
    assert.truthy(n() < before + 1000)
  end)
end)
