-- sandbox: run any program of this machine, and let it do no harm.
--
-- It sees the system's programs and libraries, read-only, a /tmp, /proc and /dev of its own, and nothing
-- else: no network, no other process, no capability, no home directory. Started by root, the program
-- runs as a user without rights; started by an ordinary user, as that user in a user namespace.
local caisson = require "caisson"
local lstat = caisson.core.lstat

-- What programs need of the host. /bin and its like are links into /usr on most systems.
local system = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" }
local etc = { "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
  "/etc/ssl/certs", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services", "/etc/mime.types", "/etc/magic" }

local nobody = 65534

return caisson.recipe {
  summary = "Run any program of this machine: read-only system, private /tmp, no network, no rights",
  params = {
    dir = { "path", help = "a host directory to show at its own path, and to start in" },
    write = { "boolean", default = false, help = "may the program write to it?" },
    tmp = { "size", default = "64M", help = "size of /tmp" },
    network = { "boolean", default = false, help = "share the host's network" },
    memory = { "size", help = "memory limit (cgroup)" },
    pids = { "integer", help = "limit of processes and threads (cgroup)" },
  },
  build = function(p)
    local root = caisson.core.identity().euid == 0
    local uid = root and nobody or caisson.core.identity().uid
    local mounts = {}
    for _, path in ipairs(system) do
      local st = lstat(path)
      if st and st.type == "link" then
        mounts[#mounts + 1] = { symlink = st.target, at = path }
      elseif st then
        mounts[#mounts + 1] = { bind = path }
      end
    end
    for _, path in ipairs(etc) do
      if caisson.core.realpath(path) then mounts[#mounts + 1] = { bind = path } end
    end
    for _, m in ipairs {
      { file = "/etc/passwd", data = ("user:x:%d:%d::/tmp:/bin/sh\n"):format(uid, uid) },
      { file = "/etc/group", data = ("user:x:%d:\n"):format(uid) },
      { file = "/etc/hosts", data = "127.0.0.1 localhost\n::1 localhost\n" },
      { proc = "/proc" },
      { tmpfs = "/dev", size = 65536, mode = "0755", flags = { "nosuid", "noexec" } },
      { tmpfs = "/dev/shm", size = p.tmp, mode = "1777" },
      { devpts = "/dev/pts" },
      { tmpfs = "/tmp", size = p.tmp, mode = "1777" },
    } do
      mounts[#mounts + 1] = m
    end
    if p.network then mounts[#mounts + 1] = { bind = "/etc/resolv.conf", optional = true } end
    if p.dir then
      local dir = assert(caisson.core.realpath(p.dir))
      mounts[#mounts + 1] = { bind = dir, writable = p.write, idmap = "user" }
      p.dir = dir
    end
    return {
      namespaces = { mount = true, pid = true, net = not p.network, ipc = true, uts = true, cgroup = true },
      mounts = mounts,
      devices = { "default" },
      masked = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/acpi", "/proc/scsi" },
      readonly = { "/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq" },
      init = true, -- as process 1 it would not get the signals that it sends itself
      hostname = "sandbox",
      cwd = p.dir or "/tmp",
      env = { HOME = "/tmp", USER = "user", TERM = os.getenv("TERM"), LANG = os.getenv("LANG") },
      user = root and { uid = nobody, gid = nobody } or nil,
      capabilities = {},
      seccomp = caisson.policy.default(),
      rlimits = { core = 0, nofile = 1024 },
      cgroup = (p.memory or p.pids) and {
        memory = p.memory and { max = p.memory, swap = 0 } or nil,
        pids = p.pids and { max = p.pids } or nil,
      } or nil,
    }
  end,
}
