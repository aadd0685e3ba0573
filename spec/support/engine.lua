-- Worlds for container engines: a mount and pid namespace with a /run of its own, where podman or containerd
-- run the runtime under test as on any machine, and after which nothing is left, whatever it did.
--
-- CAISSON_ENGINE_RUNTIME names another runtime to compare with.
local t = require "support"
local cli = require "support.cli"
local core = t.core

local M = {}

-- The runtime under test.
M.runtime = os.getenv("CAISSON_ENGINE_RUNTIME") or
  assert(core.realpath(os.getenv("CAISSON_BUILD") or "build")) .. "/bin/caisson-oci"

function t.probes.engine_runtime()
  return core.lstat(M.runtime) ~= nil, M.runtime .. " is not there"
end

for _, name in ipairs { "podman", "containerd" } do
  t.probes[name] = function()
    return t.sh("command -v " .. name) ~= "", "there is no " .. name .. " (package " .. name .. ")"
  end
end

function t.probes.busybox()
  return t.sh("busybox echo yes 2>&1; ldd $(command -v busybox) 2>&1"):match("^yes\n.*not a dynamic") ~= nil,
    "no static busybox (package busybox-static)"
end

---@class support.EngineWorld
local World = {}
World.__index = World

-- The init of a world reaps what is orphaned there, and its end, or ours, ends all the rest. Mounts are
-- shared there, as systemd makes them: what a runtime doesn't keep to itself is seen in the world. Engines take
-- each directory among v1's for a hierarchy, and want each hierarchy there, so they are those.
local init = [[
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 run /run
mount -t proc proc /proc
for d in /var/lib/containers /var/lib/cni; do [ ! -d $d ] || mount -t tmpfs -o mode=755 lib $d; done
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
  mkdir /run/c
  mount -t tmpfs -o mode=755 cgroups /run/c
  for d in /sys/fs/cgroup/*; do
    if [ -h $d ]; then cp -d $d /run/c; elif mountpoint -q $d; then mkdir /run/c/${d##*/}; mount --move $d /run/c/${d##*/}; fi
  done
  umount /sys/fs/cgroup
  for c in $(sed -n 's/^[1-9][0-9]*:\([a-z][a-z_]*\):.*/\1/p' /proc/1/cgroup); do
    [ -e /run/c/$c ] || { mkdir /run/c/$c; mount -t cgroup -o $c cgroup /run/c/$c || rmdir /run/c/$c; }
  done
  mount --move /run/c /sys/fs/cgroup
  rmdir /run/c
fi
if [ -n "$user" ]; then
  cp -a /etc $dir/etc
  echo "caisson:x:$user:$user::$dir/home:/bin/sh" >> $dir/etc/passwd
  echo "caisson:x:$user:" >> $dir/etc/group
  echo "caisson:1000000:65536" | tee $dir/etc/subuid > $dir/etc/subgid
  chmod 644 $dir/etc/subuid $dir/etc/subgid
  mount --bind $dir/etc /etc
  mkdir -m 700 $dir/home /run/user /run/user/$user
  chmod 755 $dir /run/user
  chown $user:$user $dir $dir/home /run/user/$user
fi
mount --make-rshared /
exec 3<&0 </dev/null
cat <&3 >/dev/null &
exec 3<&-
echo ready
wait $! || :
]]

local worlds = 0

function M.write(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  return path
end

-- A world. prefix: what the engine's control groups are told to begin with, unlike any other's. user: the uid of
-- an ordinary user, with ranges of ids, whom the commands are run as.
function M.world(user)
  worlds = worlds + 1
  local dir = t.sh("mktemp -d"):gsub("\n", "")
  local self = setmetatable({ dir = dir, prefix = ("csnengine-%d-%d"):format(t.getpid(), worlds) }, World)
  local r, w = assert(core.pipe())
  local ready, ready_w = assert(core.pipe())
  self.init = assert(core.spawn { plan = core.plan {
    t.step("clone", { namespaces = { "mount", "pid" } }),
    t.step("exec", { argv = { "/bin/sh", "-c", ("user=%s dir=%s\n"):format(user or "", dir) .. init },
      env = cli.environment, files = { "in", "out", "out" } }),
  }, slots = { ["in"] = r, out = ready_w } })
  r:close()
  ready_w:close()
  self.life, self.user = w, user
  local said = ready:read()
  if said ~= "ready\n" then error("no world: " .. tostring(said)) end
  ready:close()
  self.enter = { "nsenter", "-t", tostring(self.init:pid()), "-m", "-p", "--", "timeout", "--foreground", "-k", "5", "60" }
  self.as = user and { "setpriv", "--reuid=" .. user, "--regid=" .. user, "--clear-groups", "env", "XDG_RUNTIME_DIR=/run/user/" .. user }
  self.mounts = self:mounted()
  return self
end

-- The machine itself as a world, with systemd in charge of it, for a machine that is thrown away. group: of the
-- user's manager's, where his commands begin, since he may move processes inside his own part of the tree only.
function M.machine(user, group)
  worlds = worlds + 1
  local dir = t.sh("mktemp -d"):gsub("\n", "")
  local self = setmetatable({ dir = dir, prefix = ("csnengine-%d-%d"):format(t.getpid(), worlds), user = user,
    enter = { "timeout", "--foreground", "-k", "5", "120" } }, World)
  if user then
    t.sh(("chmod 755 %s; mkdir -m 700 %s/home; chown %d:%d %s %s/home"):format(dir, dir, user, user, dir, dir))
    local runtime = "/run/user/" .. user
    self.as = { "sh", "-c", "echo $$ >/sys/fs/cgroup" .. group .. "/cgroup.procs && exec \"$@\"", "-",
      "setpriv", "--reuid=" .. user, "--regid=" .. user, "--clear-groups", "env", "XDG_RUNTIME_DIR=" .. runtime,
      "DBUS_SESSION_BUS_ADDRESS=unix:path=" .. runtime .. "/bus" }
  end
  return self
end

-- The words of a command in the world.
function World:argv(words)
  local argv = {}
  for i, w in ipairs(self.enter) do argv[i] = w end
  for _, w in ipairs(self.as or {}) do argv[#argv + 1] = w end
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  return argv
end

-- Run a command there; words: a list, or text for the shell. Returns support.cli's result.
function World:run(words, opts)
  if type(words) == "string" then words = { "/bin/sh", "-c", words } end
  return cli.run(self:argv(words), opts)
end

-- The same, which must succeed: what it printed.
function World:ok(words, opts)
  local r = self:run(words, opts)
  if r.code ~= 0 then
    error(("%s: status %s: %s%s"):format(type(words) == "table" and table.concat(words, " ") or words,
      tostring(r.code or r.signal), r.err, r.out), 2)
  end
  return r.out
end

-- A file system for images as a tar file: busybox, and what a root needs. Returns its path.
function World:rootfs()
  if not self.tar then
    self.tar = self.dir .. "/rootfs.tar"
    t.sh(([[set -e; r=%s/rootfs; mkdir -p $r/bin $r/etc $r/proc $r/sys $r/dev $r/run $r/root; mkdir -m 1777 $r/tmp
      for a in $(busybox --list); do ln -s busybox $r/bin/$a; done
      rm -f $r/bin/busybox; cp $(command -v busybox) $r/bin/busybox
      printf 'root:x:0:0:root:/root:/bin/sh\nguest:x:405:100:guest:/tmp:/bin/sh\n' > $r/etc/passwd
      printf 'root:x:0:\nusers:x:100:guest\nextra:x:777:guest\n' > $r/etc/group
      echo text > $r/etc/plain
      tar -C $r --owner=0 --group=0 -cf %s .; rm -rf $r]]):format(self.dir, self.tar))
  end
  return self.tar
end

-- What is mounted there, as text.
function World:mounted()
  return t.read_file(("/proc/%d/mountinfo"):format(self.init:pid()))
end

-- Processes of the world, but its init: their command lines.
function World:processes()
  local list, ns = {}, t.namespace("pid_for_children", self.init:pid())
  local own = { [tostring(self.init:pid())] = true }
  for pid in t.read_file(("/proc/%d/task/%d/children"):format(self.init:pid(), self.init:pid())):gmatch("%d+") do
    if t.read_file("/proc/" .. pid .. "/comm") == "cat\n" then own[pid] = true end
  end
  for _, pid in ipairs(core.list("/proc")) do
    if pid:find("^%d+$") and not own[pid] and t.namespace("pid_for_children", pid) == ns then
      list[#list + 1] = pid .. ": " .. (t.read_file("/proc/" .. pid .. "/cmdline") or ""):gsub("%z", " ")
    end
  end
  return list
end

-- Control groups that begin with the prefix, in any hierarchy.
function World:groups()
  return t.sh("find /sys/fs/cgroup -depth -type d -path '*/" .. self.prefix .. "*' 2>/dev/null")
end

-- Wait until fn answers true (10 seconds).
function World:eventually(fn)
  local deadline = core.now() + 10e9
  while true do
    local value = fn()
    if value then return value end
    if core.now() > deadline then return false end
    core.poll({}, 0.02)
  end
end

-- The end of it; what is left of the containers then: an empty table when all is well. made: matches the groups
-- that the runtime makes, since engines leave some of their own.
function World:close(made)
  local left = {}
  if self.init then self:look(left) end
  for path in self:groups():gmatch("[^\n]+") do
    if not made or path:find(made) then left[#left + 1] = "group " .. path end
  end
  if self.init then
    self.life:close()
    self.init:wait()
    self.init:close()
  end
  t.sh("find /sys/fs/cgroup -depth -type d -path '*/" .. self.prefix .. "*' -exec rmdir {} + 2>/dev/null; " ..
    "umount " .. self.dir .. "/graph/overlay 2>/dev/null; rm -rf " .. self.dir)
  return left
end

-- Processes, mounts and states that are left in a world of its own.
function World:look(left)
  self:eventually(function() return #self:processes() == 0 end)
  for _, p in ipairs(self:processes()) do left[#left + 1] = "process " .. p end
  local before = {}
  for line in self.mounts:gmatch("[^\n]+") do before[line:match("^%d+")] = true end
  for line in self:mounted():gmatch("[^\n]+") do
    -- podman's storage is mounted on itself where it would be shared
    if not before[line:match("^%d+")] and not line:find(self.dir .. "/graph/overlay ", 1, true) then
      left[#left + 1] = "mount " .. line
    end
  end
  local run = ("/proc/%d/root/run/"):format(self.init:pid())
  local places = { "caisson", "runc", "crun", "containerd/runc/" .. self.prefix }
  for i = 1, self.user and 3 or 0 do places[i] = "user/" .. self.user .. "/" .. places[i] end
  for _, states in ipairs(places) do
    for _, name in ipairs(core.list(run .. states) or {}) do
      -- what begins with @ is a cache, and no container
      if name:sub(1, 1) ~= "@" then left[#left + 1] = "state " .. name end
    end
  end
end

return M
