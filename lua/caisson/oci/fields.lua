-- Which field of a configuration has asked for an option of its recipe: for errors, and for the plan's readers.
local M = {}

local fields = {
  root = "root.path", readonly_root = "root.readonly", namespaces = "linux.namespaces", idmap = "linux.uidMappings",
  hostname = "hostname", domainname = "domainname", mounts = "mounts", masked = "linux.maskedPaths",
  readonly = "linux.readonlyPaths", sysctl = "linux.sysctl", cgroup = "linux.resources", seccomp = "linux.seccomp",
  seccomp_listener = "linux.seccomp.listenerPath", capabilities = "process.capabilities",
  no_new_privs = "process.noNewPrivileges", user = "process.user", cwd = "process.cwd", environ = "process.env",
  args = "process.args", umask = "process.user.umask", rlimits = "process.rlimits", personality = "linux.personality",
  oom_score_adj = "process.oomScoreAdj", scheduler = "process.scheduler", ioprio = "process.ioPriority",
  affinity = "process.execCPUAffinity", tty = "process.terminal", console = "process.terminal",
  time_offsets = "linux.timeOffsets", propagation = "linux.rootfsPropagation", root_propagation = "linux.rootfsPropagation",
  mount_label = "linux.mountLabel", apparmor = "process.apparmorProfile", selinux = "process.selinuxLabel",
  memory_policy = "linux.memoryPolicy", rdt = "linux.intelRdt", network = "linux.netDevices", annotations = "annotations",
}

local resources = { memory = "memory", pids = "pids", cpu = "cpu", cpuset = "cpu", io = "blockIO", hugetlb = "hugepageLimits",
  rdma = "rdma", net_cls = "network", net_prio = "network", devices = "devices", unified = "unified" }

-- path: of the option, as recipes keep it: { "mounts", 3 }; mounts: the fields of that list's entries, where it is the
-- configuration's. Returns "linux.sysctl.net.ipv4.ip_forward" | nil.
function M.of(path, mounts)
  local option, key = path[1], path[2]
  if option == "mounts" and key then return mounts[key] end
  if option == "hooks" then return "hooks." .. tostring(key) end
  if option == "cgroup" and key then
    if key == "path" then return "linux.cgroupsPath" end
    return resources[key] and "linux.resources." .. resources[key] or "linux.resources"
  end
  local field = fields[option]
  if field and option == "sysctl" and key then return field .. "." .. tostring(key) end
  return field
end

return M
