-- The configuration to begin with: what `spec` writes.
local M = {}

-- The specification that we write.
M.version = "1.3.0"

local function capabilities()
  return { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" }
end

local function mounts(rootless)
  local sys = { destination = "/sys", type = "sysfs", source = "sysfs", options = { "nosuid", "noexec", "nodev", "ro" } }
  -- sysfs is of who owns the network namespace, which the host's is not
  if rootless then
    sys = { destination = "/sys", type = "none", source = "/sys", options = { "rbind", "nosuid", "noexec", "nodev", "ro" } }
  end
  return {
    { destination = "/proc", type = "proc", source = "proc" },
    { destination = "/dev", type = "tmpfs", source = "tmpfs", options = { "nosuid", "strictatime", "mode=755", "size=65536k" } },
    { destination = "/dev/pts", type = "devpts", source = "devpts", -- gid 5, tty, is not in a map of one id
      options = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", not rootless and "gid=5" or nil } },
    { destination = "/dev/shm", type = "tmpfs", source = "shm",
      options = { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
    { destination = "/dev/mqueue", type = "mqueue", source = "mqueue", options = { "nosuid", "noexec", "nodev" } },
    sys,
    { destination = "/sys/fs/cgroup", type = "cgroup", source = "cgroup",
      options = { "nosuid", "noexec", "nodev", "relatime", "ro" } },
  }
end

-- Is cgroup v2 all there is?
local function is_unified()
  local f = io.open("/sys/fs/cgroup/cgroup.controllers", "r")
  if f then f:close() end
  return f ~= nil
end

---A configuration that runs `sh` in `rootfs`, with little else allowed. rootless: one that an ordinary user
---can run, with a user namespace of that user's own id.
---@param opts? { rootless?: boolean }
---@return table config
function M.config(opts)
  local rootless = opts and opts.rootless
  local linux = {
    namespaces = { { type = "pid" } },
    maskedPaths = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
      "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi", "/sys/devices/virtual/tpm" },
    readonlyPaths = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" },
  }
  local function namespace(name) linux.namespaces[#linux.namespaces + 1] = { type = name } end
  if not rootless then namespace "network" end
  for _, name in ipairs { "ipc", "uts", "mount" } do namespace(name) end
  if is_unified() then namespace "cgroup" end
  if rootless then
    local id = require("caisson.core").identity()
    namespace "user"
    linux.uidMappings = { { containerID = 0, hostID = id.euid, size = 1 } }
    linux.gidMappings = { { containerID = 0, hostID = id.egid, size = 1 } }
  else
    linux.resources = { devices = { { allow = false, access = "rwm" } } }
  end
  return {
    ociVersion = M.version,
    process = {
      terminal = true,
      user = { uid = 0, gid = 0 },
      args = { "sh" },
      env = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm" },
      cwd = "/",
      capabilities = { bounding = capabilities(), effective = capabilities(), permitted = capabilities() },
      rlimits = { { type = "RLIMIT_NOFILE", hard = 1024, soft = 1024 } },
      noNewPrivileges = true,
    },
    root = { path = "rootfs", readonly = true },
    hostname = "caisson",
    mounts = mounts(rootless),
    linux = linux,
  }
end

return M
