-- What to write instead, in the words of a bundle's config.json.
local namespaces = { ["host-process"] = "pid", ["host-network"] = "network", ["host-ipc"] = "ipc", ["host-name"] = "uts",
  ["host-name-set"] = "uts", ["host-cgroup"] = "cgroup", ["needs-root"] = "user" }

local fixes = {
  ["host-uid"] = "process.user: another uid; or linux.namespaces with a user namespace, and linux.uidMappings",
  ["no-seccomp"] = 'linux.seccomp: "defaultAction": "SCMP_ACT_ERRNO", and what is allowed (caisson.policy.default():json())',
  ["filter-default"] = 'linux.seccomp: "defaultAction": "SCMP_ACT_ERRNO"',
  ["new-privileges"] = "process.noNewPrivileges: true",
  ["no-memory-limit"] = "linux.resources.memory.limit", ["no-process-limit"] = "linux.resources.pids.limit",
  ["core-pattern"] = 'linux.readonlyPaths: "/proc/sys"', ["sysrq"] = 'linux.readonlyPaths: "/proc/sysrq-trigger"',
  ["capability-root"] = "process.capabilities without it", ["capabilities"] = "process.capabilities without it",
  ["inheritable-capabilities"] = "process.capabilities.inheritable: []",
  ["capabilities-lost"] = "process.capabilities.inheritable and .ambient, too",
  ["mount-propagation"] = 'linux.rootfsPropagation: "rslave"', ["sysfs-writable"] = 'the option "ro" of the mount',
  ["release-agent"] = 'the option "ro" of the mount', ["cgroup-writable"] = 'the option "ro" of the mount',
  ["host-directory"] = 'the option "ro" of the mount', ["writable-programs"] = 'the option "noexec" of the mount',
  ["submounts-writable"] = 'the option "rro" of the mount', ["suid-mount"] = 'the option "nosuid" of the mount',
  ["tmpfs-size"] = 'the option "size=64m" of the mount', ["groups-kept"] = "process.user.additionalGids: []",
  ["nested-userns"] = "linux.seccomp without unshare, clone with CLONE_NEWUSER, clone3",
  ["keyring-shared"] = "linux.seccomp without keyctl, add_key and request_key",
  ["oom-protected"] = "process.oomScoreAdj", ["cwd-descriptor"] = "process.cwd: the path itself",
  ["terminal-injection"] = "process.terminal: true", ["host-dev"] = 'a mount of type "tmpfs" at /dev',
  ["host-proc"] = 'a mount of type "proc"', ["device-disk"] = "leave it out of linux.devices",
  ["device-memory"] = "leave it out of linux.devices", ["device-input"] = "leave it out of linux.devices",
  ["program-missing"] = "process.args", ["source-swap"] = "a place that only root can change",
    ["host-root"] = "root.path, and a mount namespace",
}
for rule, name in pairs(namespaces) do fixes[rule] = ('linux.namespaces: { "type": "%s" }'):format(name) end

local M = { fixes = fixes }

-- The same fix for a bundle.
function M.fix(rule, fix)
  if rule == "unmasked-proc" and fix then return "linux.maskedPaths: " .. fix:match "{ (.*) }" end
  return fixes[rule] or fix
end

return M
