-- The container configuration of the OCI runtime specification, versions 1.0 to 1.3, as data: what each
-- property may be. document.check compares with it; document.encode has the order from it.
--
-- A node is a table: { "string" | "integer" | "boolean" | "list" | "map" | "object" | "foreign", ... }. Of an
-- object the rows are { name, node, "required" }; `check` is a function of oci/rules.lua by its name.
local M = {}

local function text(t)
  t = t or {}
  t[1] = "string"
  return t
end

-- Limits are decimal text, as in u64.lua, where a double does not hold them.
local function integer(min, max, t)
  t = t or {}
  t[1], t.min, t.max = "integer", min, max
  return t
end

local function list(node, t)
  t = t or {}
  t[1], t.of = "list", node
  return t
end

local function map(node, t)
  t = t or {}
  t[1], t.of = "map", node
  return t
end

local function object(rows, t)
  t = t or {}
  t[1], t.rows, t.known = "object", rows, {}
  for _, row in ipairs(rows) do t.known[row[1]] = row[2] end
  return t
end

local boolean = { "boolean" }
local any_text = text()
local word = text { nonempty = true }
local absolute = text { absolute = true, nonempty = true }
local perhaps = text { absolute = true } -- empty: as if it were not there
local texts = list(any_text)
local int64, uint64 = integer("-9223372036854775808", "9223372036854775807"), integer(0, "18446744073709551615")
local uint32, int32 = integer(0, 4294967295), integer(-2147483648, 2147483647)
local limit = integer(-1, "9223372036854775807") -- -1: none

local function words(list_, t)
  t = t or {}
  t.words = list_
  return text(t)
end

local function strings(s)
  local t = {}
  for w in s:gmatch("%S+") do t[#t + 1] = w end
  return t
end

local function prefixed(prefix, s)
  local t = strings(s)
  for i, w in ipairs(t) do t[i] = prefix .. w end
  return t
end

M.namespaces = strings "mount pid network uts ipc user cgroup time"
M.hooks = strings "prestart createRuntime createContainer startContainer poststart poststop"
M.rlimits = prefixed("RLIMIT_", [[AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME
  SIGPENDING STACK]])
M.propagation = strings "private shared slave unbindable rprivate rshared rslave runbindable"
M.scheduler_policies = prefixed("SCHED_", "OTHER FIFO RR BATCH ISO IDLE DEADLINE")
M.scheduler_flags = prefixed("SCHED_FLAG_", [[RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN
  UTIL_CLAMP_MAX]])
M.ioprio_classes = prefixed("IOPRIO_CLASS_", "RT BE IDLE")
M.memory_modes = prefixed("MPOL_", "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL")
M.memory_flags = prefixed("MPOL_F_", "NUMA_BALANCING RELATIVE_NODES STATIC_NODES")
M.seccomp_actions = prefixed("SCMP_ACT_", "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY")
M.seccomp_operators = prefixed("SCMP_CMP_", "NE LT LE EQ GE GT MASKED_EQ")
M.seccomp_flags = prefixed("SECCOMP_FILTER_FLAG_", "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV")
M.seccomp_archs = prefixed("SCMP_ARCH_", [[X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL
  MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X SH SHEB PARISC PARISC64 RISCV64]])

local id_mapping = object {
  { "containerID", uint32, "required" }, { "hostID", uint32, "required" }, { "size", uint32, "required" },
}
local mappings = list(id_mapping)

local hook = object {
  { "path", absolute, "required" }, { "args", texts }, { "env", texts }, { "timeout", integer(1, 2147483647) },
}

local cpus = text { like = "^[%d, :/-]*$", expected = "a list of CPUs as 0-3,7" }

M.process = object({
  { "terminal", boolean },
  { "consoleSize", object { { "height", integer(0, 65535), "required" }, { "width", integer(0, 65535), "required" } } },
  { "user", object {
    { "uid", uint32 }, { "gid", uint32 },
    { "umask", integer(0, 511, { expected = "a umask to 511 (0777)" }) },
    { "additionalGids", list(uint32) }, { "username", any_text },
  } },
  { "args", texts },
  { "commandLine", any_text },
  { "env", list(text { variable = true }) },
  { "cwd", absolute, "required" },
  { "capabilities", object {
    { "bounding", texts }, { "effective", texts }, { "inheritable", texts }, { "permitted", texts },
    { "ambient", texts },
  } },
  { "rlimits", list(object({
    { "type", words(M.rlimits), "required" }, { "hard", uint64, "required" }, { "soft", uint64, "required" },
  }, { check = "rlimit" }), { check = "rlimits" }) },
  { "noNewPrivileges", boolean },
  { "apparmorProfile", any_text },
  { "oomScoreAdj", integer(-1000, 1000) },
  { "scheduler", object({
    { "policy", words(M.scheduler_policies), "required" }, { "nice", integer(-20, 19) }, { "priority", int32 },
    { "flags", list(words(M.scheduler_flags)) }, { "runtime", uint64 }, { "deadline", uint64 }, { "period", uint64 },
  }, { check = "scheduler" }) },
  { "selinuxLabel", any_text },
  { "ioPriority", object {
    { "class", words(M.ioprio_classes), "required" }, { "priority", integer(0, 7) },
  } },
  { "execCPUAffinity", object { { "initial", cpus }, { "final", cpus } } },
}, { check = "process" })

local device_major, device_minor = integer(0, 4095), integer(0, 1048575)
local any_device = integer(-1, 4294967295) -- -1: each

local weight = integer(0, 1000, { check = "weight", expected = "a weight from 10 to 1000" })
local weights = list(object({
  { "major", device_major, "required" }, { "minor", device_minor, "required" },
  { "weight", weight }, { "leafWeight", weight },
}, { check = "weight_device" }))
local throttle = list(object {
  { "major", device_major, "required" }, { "minor", device_minor, "required" }, { "rate", uint64 },
})

M.resources = object {
  { "devices", list(object {
    { "allow", boolean, "required" }, { "type", words({ "a", "b", "c" }, { empty = true }) }, { "major", any_device },
    { "minor", any_device }, { "access", text { like = "^[rwm]*$", expected = "letters of r, w and m" } },
  }) },
  { "memory", object {
    { "limit", limit }, { "reservation", limit }, { "swap", limit }, { "kernel", limit }, { "kernelTCP", limit },
    { "swappiness", integer(0, 100) }, { "disableOOMKiller", boolean }, { "useHierarchy", boolean },
    { "checkBeforeUpdate", boolean },
  } },
  { "cpu", object {
    { "shares", uint64 }, { "quota", limit }, { "burst", uint64 }, { "period", uint64 },
    { "realtimeRuntime", limit }, { "realtimePeriod", uint64 }, { "cpus", cpus }, { "mems", cpus },
    { "idle", integer(0, 1) },
  } },
  { "pids", object { { "limit", limit } } },
  { "blockIO", object {
    { "weight", weight }, { "leafWeight", weight }, { "weightDevice", weights },
    { "throttleReadBpsDevice", throttle }, { "throttleWriteBpsDevice", throttle },
    { "throttleReadIOPSDevice", throttle }, { "throttleWriteIOPSDevice", throttle },
  } },
  { "hugepageLimits", list(object {
    { "pageSize", text { like = "^[1-9]%d*[KMG]B$", expected = "a size as 2MB" }, "required" },
    { "limit", uint64, "required" },
  }, { unique = "pageSize" }) },
  { "network", object {
    { "classID", uint32 },
    { "priorities", list(object { { "name", word, "required" }, { "priority", uint32, "required" } }) },
  } },
  { "rdma", map(object({ { "hcaHandles", uint32 }, { "hcaObjects", uint32 } }, { check = "rdma" }), { key = "device" }) },
  { "unified", map(any_text, { key = "unified" }) },
  { "oomScoreAdj", integer(-1000, 1000), "obsolete" }, -- of before 1.0; process.oomScoreAdj has taken its place
}

M.seccomp = object({
  { "defaultAction", words(M.seccomp_actions), "required" }, { "defaultErrnoRet", uint32 },
  { "architectures", list(words(M.seccomp_archs)) }, { "flags", list(words(M.seccomp_flags)) },
  { "listenerPath", perhaps }, { "listenerMetadata", any_text },
  { "syscalls", list(object {
    { "names", list(word, { least = 1 }), "required" }, { "action", words(M.seccomp_actions), "required" },
    { "errnoRet", uint32 },
    { "args", list(object {
      { "index", integer(0, 5), "required" }, { "value", uint64, "required" }, { "valueTwo", uint64 },
      { "op", words(M.seccomp_operators), "required" },
    }) },
  }) },
}, { check = "seccomp" })

local offsets = object { { "secs", int64 }, { "nanosecs", integer(0, 999999999) } }

M.linux = object({
  { "uidMappings", mappings }, { "gidMappings", mappings },
  { "sysctl", map(any_text, { key = "sysctl" }) },
  { "resources", M.resources },
  { "cgroupsPath", any_text },
  { "namespaces", list(object { { "type", words(M.namespaces), "required" }, { "path", perhaps } }, { unique = "type" }) },
  { "devices", list(object({
    { "path", absolute, "required" }, { "type", words { "c", "b", "u", "p" }, "required" },
    { "major", device_major }, { "minor", device_minor },
    { "fileMode", integer(0, 65535, { expected = "permissions, perhaps with the type of the file" }) },
    { "uid", uint32 }, { "gid", uint32 },
  }, { check = "device" })) },
  { "netDevices", map(object { { "name", text { check = "interface" } } }, { key = "interface" }) },
  { "seccomp", M.seccomp },
  { "rootfsPropagation", words(M.propagation, { empty = true }) },
  { "maskedPaths", list(absolute) }, { "readonlyPaths", list(absolute) },
  { "mountLabel", any_text },
  { "intelRdt", object({
    { "closID", any_text }, { "schemata", texts }, { "l3CacheSchema", any_text },
    { "memBwSchema", text { like = "^MB:[^\n]*$", empty = true, expected = "a line that begins with MB:" } },
    { "enableMonitoring", boolean }, { "enableCMT", boolean }, { "enableMBM", boolean },
  }, { check = "intel_rdt" }) },
  { "memoryPolicy", object({
    { "mode", words(M.memory_modes), "required" },
    { "nodes", text { like = "^[%d, -]*$", expected = "a list of nodes as 0-1,3" } },
    { "flags", list(words(M.memory_flags)) },
  }, { check = "memory_policy" }) },
  { "personality", object({
    { "domain", words { "LINUX", "LINUX32" }, "required" }, { "flags", texts },
  }, { check = "personality" }) },
  { "timeOffsets", map(offsets, { keys = { "monotonic", "boottime" } }) },
})

local hook_rows = {}
for i, point in ipairs(M.hooks) do hook_rows[i] = { point, list(hook) } end

M.config = object {
  { "ociVersion", text { check = "version" }, "required" },
  { "process", M.process },
  { "root", object { { "path", word, "required" }, { "readonly", boolean } } },
  { "hostname", text { longest = 64 } }, { "domainname", text { longest = 64 } },
  { "mounts", list(object({
    { "destination", word, "required" }, { "type", any_text }, { "source", any_text }, { "options", texts },
    { "uidMappings", mappings }, { "gidMappings", mappings },
  }, { check = "mount" })) },
  { "hooks", object(hook_rows) },
  { "annotations", map(any_text, { key = "annotation" }) },
  { "linux", M.linux },
  { "solaris", { "foreign" } }, { "windows", { "foreign" } }, { "vm", { "foreign" } }, { "zos", { "foreign" } },
  { "freebsd", { "foreign" } },
}

return M
