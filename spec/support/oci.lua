-- Bundles, and the commands of an OCI runtime over them: what specs of caisson-oci share.
--
-- CAISSON_OCI_RUNTIME names another runtime of the same command line: so specs are tried against runc.
local t = require "support"
local cli = require "support.cli"
local json = require "caisson.json"
local core = t.core

local M = {}

M.runtime = os.getenv("CAISSON_OCI_RUNTIME") or cli.root .. "/build/bin/caisson-oci"
-- Not ours: what a peer does otherwise is not asked of it.
M.is_peer = os.getenv("CAISSON_OCI_RUNTIME") ~= nil

function t.probes.oci()
  return core.access(M.runtime, "x") == true, "there is no " .. M.runtime
end

function t.probes.busybox()
  return t.sh("busybox echo yes 2>&1; ldd $(command -v busybox) 2>&1"):match("^yes\n.*not a dynamic") ~= nil,
    "no static busybox (package busybox-static)"
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end
M.write = write

---@class support.OciWorld
local World = {}
World.__index = World

local worlds = 0

-- A world for one spec: a directory of states, a bundle whose root file system is busybox, and nothing left at its end.
function M.world()
  worlds = worlds + 1
  local dir = t.sh("mktemp -d /tmp/oci.XXXXXX"):match("%S+")
  t.sh(([[chmod 755 %s; mkdir -p %s/states; for b in bundle; do mkdir -p %s/$b/rootfs && cd %s/$b/rootfs &&
    mkdir -m 755 bin dev proc sys etc && mkdir -m 1777 tmp && cp $(command -v busybox) bin/busybox &&
    for a in sh cat echo sleep true false id ls readlink ps touch env stty tty pwd grep head; do ln -s busybox bin/$a; done &&
    echo 'root:x:0:0::/:/bin/sh' > etc/passwd; done]]):format(dir, dir, dir, dir))
  return setmetatable({ dir = dir, root = dir .. "/states", bundle = dir .. "/bundle", rootfs = dir .. "/bundle/rootfs",
    prefix = ("csnoci-%d-%d-"):format(t.getpid(), worlds), calls = 0, streams = {} }, World)
end

-- A configuration that runs this script (or these words), with whatever change(config) makes of it.
function M.config(script, change)
  local capabilities = { "CAP_KILL", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE" }
  local c = {
    ociVersion = "1.0.2",
    process = { user = { uid = 0, gid = 0 }, cwd = "/", env = { "PATH=/bin", "HOME=/" }, noNewPrivileges = true,
      args = type(script) == "table" and script or { "/bin/sh", "-c", script },
      capabilities = { bounding = capabilities, effective = capabilities, permitted = capabilities } },
    root = { path = "rootfs" },
    hostname = "box",
    mounts = {
      { destination = "/proc", type = "proc", source = "proc" },
      { destination = "/dev", type = "tmpfs", source = "tmpfs", options = { "nosuid", "mode=755", "size=65536k" } },
      { destination = "/dev/pts", type = "devpts", source = "devpts",
        options = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620" } },
    },
    linux = { namespaces = { { type = "pid" }, { type = "network" }, { type = "ipc" }, { type = "uts" }, { type = "mount" } },
      maskedPaths = { "/proc/kcore" }, readonlyPaths = { "/proc/sys" } },
  }
  if not t.is_root then
    local me = core.identity()
    table.insert(c.linux.namespaces, { type = "user" })
    c.linux.uidMappings = { { containerID = 0, hostID = me.euid, size = 1 } }
    c.linux.gidMappings = { { containerID = 0, hostID = me.egid, size = 1 } }
  end
  if change then change(c) end
  return c
end

-- Write the bundle's configuration; see M.config. As root its group is one of this world's.
function World:configure(script, change)
  local c = M.config(script)
  if t.is_root then c.linux.cgroupsPath = "/" .. self.prefix .. "box" end
  if change then change(c) end
  write(self.bundle .. "/config.json", json.document(c))
  return c
end

-- Run a command of the runtime to its end: words, then perhaps options: stdin (a path; its output goes to files, since
-- containers keep it), cwd, globals (flags before the command). Returns { out, err, code, signal }.
function World:run(words, opts)
  opts = opts or {}
  self.calls = self.calls + 1
  local base = ("%s/call-%d"):format(self.dir, self.calls)
  local argv = { "/bin/sh", "-c", 'in=$1 base=$2; shift 2; exec "$@" < "$in" > "$base.out" 2> "$base.err"', "sh",
    opts.stdin or "/dev/null", base, M.runtime, "--root", self.root }
  for _, w in ipairs(opts.globals or {}) do argv[#argv + 1] = w end
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  local process = assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("chdir", { path = opts.cwd or self.bundle }),
    t.step("exec", { argv = argv, env = cli.environment }) } })
  local status = process:wait(60)
  process:close()
  if not status then error(table.concat(words, " ") .. ": no end within a minute", 2) end
  return { out = t.read_file(base .. ".out"), err = t.read_file(base .. ".err"), code = status.code, signal = status.signal,
    base = base }
end

-- Begin a command, which is a process of ours then, to be waited for and closed: its output goes to NAME.out and .err in
-- the world's directory. opts: globals, stdin.
function World:begin(name, words, opts)
  opts = opts or {}
  local argv = { "/bin/sh", "-c", 'in=$1 base=$2; shift 2; exec "$@" < "$in" > "$base.out" 2> "$base.err"', "sh",
    opts.stdin or "/dev/null", self.dir .. "/" .. name, M.runtime, "--root", self.root }
  for _, w in ipairs(opts.globals or {}) do argv[#argv + 1] = w end
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  self.streams[name] = self.dir .. "/" .. name
  return assert(core.spawn { plan = core.plan { t.step("clone", {}), t.step("chdir", { path = self.bundle }),
    t.step("exec", { argv = argv, env = cli.environment }) } })
end

-- The same, which must succeed. Returns what it printed.
function World:ok(...)
  local words = { ... }
  local r = self:run(words)
  if r.code ~= 0 then
    error(("%s: status %s: %s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err), 2)
  end
  return r.out, r
end

-- The same, which must fail as the runtime's own failures do: status 1 and a line that says why. Returns that.
function World:fails(...)
  local words = { ... }
  local r = self:run(words)
  if r.code ~= 1 then
    error(("%s: status %s, not 1: %s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err), 2)
  end
  if not r.err:find("%S") or r.err:find("attempt to ", 1, true) and r.err:find("%.lua:%d") then error("no message: " .. r.err, 2) end
  return r.err
end

-- Create the box of the bundle. Returns the call's result: its output is the container's, too.
function World:create(id, ...)
  local words = { "create", ... }
  words[#words + 1] = id or "box"
  local r = self:run(words)
  if r.code ~= 0 then error(("create: status %s: %s"):format(tostring(r.code or r.signal), r.err), 2) end
  self.streams[id or "box"] = r.base
  return r
end

-- Its state | nil, message.
function World:state(id)
  local r = self:run { "state", id or "box" }
  if r.code ~= 0 then return nil, r.err end
  return assert(json.decode(r.out))
end

-- Wait for a status (10 seconds). Returns the state.
function World:until_status(status, id)
  local deadline = core.now() + 10e9
  while true do
    local s, message = self:state(id)
    if s and s.status == status then return s end
    if core.now() > deadline then error(("not %s: %s"):format(status, s and s.status or message), 2) end
    core.poll({}, 0.03)
  end
end

-- What the container has written to its standard output, once it matches (10 seconds).
function World:output(pattern, id)
  local path = self.streams[id or "box"] .. ".out"
  return M.await(function()
    local text = t.read_file(path) or ""
    return text:find(pattern) and text or nil, ("%q"):format(text)
  end, pattern)
end

-- What fn returns, once it is something (10 seconds).
function M.await(fn, what)
  local deadline = core.now() + 10e9
  while true do
    local v, seen = fn()
    if v then return v end
    if core.now() > deadline then error(("%s has not come; there is: %s"):format(what or "it", tostring(seen)), 2) end
    core.poll({}, 0.02)
  end
end

-- A hook's command that appends its name, and saves what it was told, in the world's directory on the host.
function World:hook(name, status)
  local sh = "/bin/busybox"
  return { path = sh, args = { "sh", "-c", ("cat > %s/%s.json; echo %s >> %s/hooks; exit %d"):format(self.dir, name, name,
    self.dir, status or 0) }, env = { "PATH=/bin" } }
end

function World:hooks() return t.read_file(self.dir .. "/hooks") or "" end

function World:groups()
  return t.sh("find /sys/fs/cgroup -type d -name '" .. self.prefix .. "*' 2>/dev/null")
end

-- Processes in a container of this world: their root or working directory, or output, is in its directory.
function World:processes()
  local list = {}
  for _, name in ipairs(core.list("/proc")) do
    if name:find("^%d+$") and tonumber(name) ~= t.getpid() then
      local words = t.read_file("/proc/" .. name .. "/cmdline") or ""
      local found = words:find(self.dir, 1, true) ~= nil
      for _, link in ipairs { "fd/1", "fd/2" } do
        local st = core.lstat("/proc/" .. name .. "/" .. link)
        found = found or st and st.target and st.target:find(self.dir, 1, true) ~= nil
      end
      if found then list[#list + 1] = name end
    end
  end
  return list
end

function World:mounts()
  local list = {}
  for line in t.read_file("/proc/self/mountinfo"):gmatch("[^\n]+") do
    if line:find(self.dir, 1, true) then list[#list + 1] = line end
  end
  return list
end

-- The end of it: containers are deleted by force. Returns what is left even so.
function World:close()
  for _, id in ipairs(core.list(self.root) or {}) do self:run { "delete", "--force", id } end
  local left = { states = core.list(self.root) or {}, groups = self:groups(), processes = self:processes(), mounts = self:mounts() }
  for _, pid in ipairs(left.processes) do os.execute("kill -KILL " .. pid .. " 2>/dev/null") end
  t.sh("find /sys/fs/cgroup -depth -type d -name '" .. self.prefix .. "*' -exec rmdir {} + 2>/dev/null; rm -rf --one-file-system "
    .. self.dir)
  return left
end

M.nothing = { states = {}, groups = "", processes = {}, mounts = {} }

return M
