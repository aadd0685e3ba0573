-- Bundles of the OCI runtime specification for the library, without a command: a root made of busybox, and a
-- configuration like that of `runc spec`.
local t = require "support"
local caisson = require "caisson"
local core = t.core

local M = {}

local applets = { "sh", "ash", "cat", "ls", "echo", "env", "id", "mount", "pwd", "hostname", "sleep", "true", "false", "grep",
  "stat", "touch", "mkdir", "rm", "head", "tail", "readlink", "test", "[", "sed", "wc", "cut", "dd", "od", "kill", "ps", "tr",
  "nice", "chmod", "ln", "sort", "umount", "mkfifo", "mknod", "ip", "tty", "date", "awk" }

local function static_busybox()
  for _, path in ipairs { "/bin/busybox", "/usr/bin/busybox" } do
    if core.lstat(path) and not t.sh("ldd " .. path .. " 2>&1"):find("=>", 1, true) then return path end
  end
end

require "support.oci" -- its probe

---@class support.Bundle
local Bundle = {}
Bundle.__index = Bundle

-- A new bundle: its directory, and its rootfs with busybox in it; empty: without either.
function M.bundle(opts)
  if opts and opts.empty then return setmetatable({}, Bundle) end
  local dir = t.sh("mktemp -d"):gsub("\n", "")
  local root = dir .. "/rootfs"
  os.execute(("chmod 755 %s && mkdir -p %s/bin %s/proc %s/sys %s/dev %s/etc %s/tmp && cp %s %s/bin/busybox"):format(dir, root, root,
    root, root, root, root, static_busybox(), root))
  for _, name in ipairs(applets) do os.execute(("ln -s busybox '%s/bin/%s'"):format(root, name)) end
  return setmetatable({ dir = dir, root = root }, Bundle)
end

function Bundle:close() os.execute("rm -rf " .. self.dir) end

-- The configuration that containers of specs have: that of `runc spec`, and as another user than root `--rootless`.
function M.config(args)
  local all = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" }
  local config = {
    ociVersion = "1.2.0",
    process = { user = { uid = 0, gid = 0 }, args = args or { "/bin/true" }, cwd = "/",
      env = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm" },
      capabilities = { bounding = all, effective = all, permitted = all, ambient = all },
      rlimits = { { type = "RLIMIT_NOFILE", hard = 1024, soft = 1024 } }, noNewPrivileges = true },
    root = { path = "rootfs", readonly = true },
    hostname = "box",
    mounts = {
      { destination = "/proc", type = "proc", source = "proc" },
      { destination = "/dev", type = "tmpfs", source = "tmpfs",
        options = { "nosuid", "strictatime", "mode=755", "size=65536k" } },
      { destination = "/dev/pts", type = "devpts", source = "devpts",
        options = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", t.is_root and "gid=5" or nil } },
      { destination = "/dev/shm", type = "tmpfs", source = "shm",
        options = { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
      { destination = "/dev/mqueue", type = "mqueue", source = "mqueue", options = { "nosuid", "noexec", "nodev" } },
      { destination = "/sys", type = "sysfs", source = "sysfs", options = { "nosuid", "noexec", "nodev", "ro" } },
    },
    linux = {
      resources = { devices = { { allow = false, access = "rwm" } } },
      namespaces = { { type = "pid" }, { type = "network" }, { type = "ipc" }, { type = "uts" }, { type = "mount" } },
      maskedPaths = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware" },
      readonlyPaths = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" },
    },
  }
  if t.is_root then
    config.linux.cgroupsPath = "/csnoci-" .. t.getpid()
  else
    local me = core.identity()
    config.linux.namespaces[6] = { type = "user" }
    config.linux.uidMappings = { { containerID = 0, hostID = me.euid, size = 1 } }
    config.linux.gidMappings = { { containerID = 0, hostID = me.egid, size = 1 } }
  end
  return config
end

-- Run the configuration, changed by change(config), with a shell script as its program. Returns the result, with output |
-- nil, message, errno, failure. opts: of recipe.of; run: of caisson.run.
function Bundle:run(script, change, opts, run)
  local config = M.config { "/bin/sh", "-c", script }
  if change then config = change(config) or config end
  local o = { bundle = self.dir, id = "spec" }
  for k, v in pairs(opts or {}) do o[k] = v end
  local r, message, errno = require("caisson.oci.recipe").of(config, o)
  if not r then return nil, message, errno end
  local options = { stdin = "null", stdout = "capture", stderr = "stdout", id = "spec" }
  for k, v in pairs(run or {}) do options[k] = v end
  local result, m, e, f = caisson.run(r, options)
  if not result then return nil, m, e, f end
  result.output, result.warnings = result.stdout, r.warnings
  return result
end

-- The same, which must succeed: its output.
function Bundle:output(script, change, opts)
  local r, message = self:run(script, change, opts)
  if not r then error(message, 2) end
  return r.output
end

-- The same, which must fail: the message.
function Bundle:fails(script, change, opts)
  local r, message = self:run(script, change, opts)
  if r then error("it ran: " .. r.output, 2) end
  return message
end

-- The file of a container's group with this name, in whichever hierarchy has it.
local function group_file(path, name)
  local found
  for _, h in ipairs(core.cgroup.detect()) do
    if h.mount then found = found or t.read_file(h.mount .. path .. "/" .. name) or t.read_file((h.own or "") .. path .. "/" .. name) end
  end
  return found and found:gsub("\n$", "") or nil
end

-- Files of the group of a running container with these resources; the group has to go with it.
function Bundle:group_files(resources, names, path)
  local config = M.config { "/bin/sleep", "30" }
  config.linux.resources, config.linux.cgroupsPath = resources, path
  local recipe = assert(require("caisson.oci.recipe").of(config, { bundle = self.dir }))
  local running = assert(caisson.start(recipe, { stdin = "null" }))
  local seen = {}
  for i, name in ipairs(names) do seen[i] = group_file(path, name) or false end
  running:close()
  if group_file(path, "cgroup.procs") then error("the group is still there", 2) end
  return seen
end

return M
