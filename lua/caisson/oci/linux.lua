-- `linux` of a configuration, but for its resources, as options of a recipe's.
local core = require "caisson.core"
local oci_process = require "caisson.oci.process"

local M = {}

local namespace_names = { pid = "pid", network = "net", ipc = "ipc", uts = "uts", mount = "mount", user = "user",
  cgroup = "cgroup", time = "time" }

-- All are said, so that none is made which the configuration does not have.
local function namespaces(list)
  local t = {}
  for _, name in pairs(namespace_names) do t[name] = false end
  for i, n in ipairs(list or {}) do
    local name = namespace_names[n.type]
    if not name then error(("linux.namespaces[%d].type: unknown namespace '%s'"):format(i, tostring(n.type)), 0) end
    if t[name] ~= false then error(("linux.namespaces[%d]: %s stands there twice"):format(i, n.type), 0) end
    t[name] = n.path ~= "" and n.path or true
  end
  return t
end

local function ranges(list)
  local t = {}
  for i, m in ipairs(list) do t[i] = { m.containerID, m.hostID, m.size } end
  return t
end

-- A program's absolute path; it runs with rights of its own, and is none that the working directory holds.
local function find_program(name)
  for dir in (os.getenv("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin"):gmatch("[^:]+") do
    local path = dir .. "/" .. name
    if dir:sub(1, 1) == "/" and core.access(path, "x") then return path end
  end
  error(("linux.uidMappings: more ids than this user's own take %s (package uidmap), which is not here"):format(name), 0)
end

-- identity: who builds; another than root has ranges of his own by newuidmap(1).
local function idmap(linux, identity)
  local uids, gids = linux.uidMappings, linux.gidMappings
  if not (uids and #uids > 0 or gids and #gids > 0) then return nil end
  local t = { uid = uids and ranges(uids), gid = gids and ranges(gids) }
  if identity.euid ~= 0 then
    local function alone(list, id) return list and #list == 1 and list[1][2] == id and list[1][3] == 1 end
    if not alone(t.uid, identity.euid) or not alone(t.gid, identity.egid) then
      t.newuidmap, t.newgidmap = find_program("newuidmap"), find_program("newgidmap")
    end
  end
  return t
end

local device_types = { c = "char", u = "char", b = "block", p = "fifo" }
local default_devices = { "null", "zero", "full", "random", "urandom", "tty" }

-- Nodes: those that every container has, unless the configuration has others of their names; then its own.
local function devices(t, list, fields)
  local own = {}
  for _, d in ipairs(list or {}) do own[d.path] = true end
  for _, name in ipairs(default_devices) do
    local path = "/dev/" .. name
    if not own[path] then t[#t + 1] = { device = path, mode = "0666", uid = 0, gid = 0 } end
  end
  local seen = {}
  for i, d in ipairs(list or {}) do
    local kind = device_types[d.type]
    if not kind then error(("linux.devices[%d].type: unknown type '%s'"):format(i, tostring(d.type)), 0) end
    -- engines name one twice; but only one can stand there
    local before, same = seen[d.path], ("%s %s:%s"):format(d.type, tostring(d.major), tostring(d.minor))
    if before and before ~= same then
      error(("linux.devices[%d].path: '%s' stands twice, as %s and as %s"):format(i, d.path, before, same), 0)
    end
    seen[d.path] = same
    if not before then
      t[#t + 1] = { device = d.path, type = kind, major = kind ~= "fifo" and d.major or nil,
        minor = kind ~= "fifo" and d.minor or nil, mode = ("%04o"):format((d.fileMode or 438) % 4096), uid = d.uid or 0,
        gid = d.gid or 0, source = kind ~= "fifo" and d.path or nil }
      fields[#t] = ("linux.devices[%d]"):format(i)
    end
  end
end

local links = { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
  { "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" } }

-- What stands in /dev beside nodes.
local function dev_links(entries)
  for _, link in ipairs(links) do entries[#entries + 1] = { symlink = link[1], at = link[2], existing = true } end
  if core.lstat("/proc/kcore") then
    entries[#entries + 1] = { symlink = "/proc/kcore", at = "/dev/core", existing = true }
  end
  entries[#entries + 1] = { symlink = "pts/ptmx", at = "/dev/ptmx", replace = true }
end

-- Before the root is made, and after the switch: see mount_namespaces(7).
local propagations = { shared = "shared", rshared = "shared", slave = "slave", rslave = "slave", private = "private",
  rprivate = "private", unbindable = "private", runbindable = "private" }

local function propagation(o, word)
  if word == nil or word == "" then
    o.propagation = "slave"
    return
  end
  if not propagations[word] then
    error(("linux.rootfsPropagation: unknown word '%s'"):format(tostring(word)), 0)
  end
  o.propagation, o.root_propagation = propagations[word], word
end

local function offset(o, name, t)
  if not t then return end
  o[name], o[name .. "_ns"] = t.secs or 0, t.nanosecs or nil
end

local function personality(p)
  if p.flags and #p.flags > 0 then
    error("linux.personality.flags: the specification has none yet, got " .. tostring(p.flags[1]), 0)
  end
  return { domain = p.domain:lower() }
end

local function rdt(r)
  local schemata = r.schemata and #r.schemata > 0 and r.schemata or nil
  local function text(s) return s ~= "" and s or nil end
  return { group = text(r.closID), l3 = text(r.l3CacheSchema), memory_bandwidth = text(r.memBwSchema),
    schemata = schemata, monitor = (r.enableMonitoring or r.enableCMT or r.enableMBM) and true or nil }
end

local function net_devices(o, devices_of_config, has)
  local names = {}
  for name in pairs(devices_of_config) do names[#names + 1] = name end
  if #names == 0 then return end
  if not has.net then error("linux.netDevices: they are moved into a network namespace, and linux.namespaces has none", 0) end
  table.sort(names)
  o.network = {}
  for i, name in ipairs(names) do
    o.network[i] = { move = name, name = devices_of_config[name].name ~= "" and devices_of_config[name].name or nil }
  end
end

-- Whose each parameter is: of a namespace that the container has, or it would be the host's.
local function check_sysctl(name, has)
  local own = name:find("^fs%.mqueue%.") and "ipc" or name:find("^net%.") and "net" or nil
  if name:find("/", 1, true) and not own then
    own = name:find("^fs/mqueue/") and "ipc" or name:find("^net/") and "net" or nil
  end
  if own and not has[own] then
    error(("linux.sysctl: %s is the host's where the container has no %s namespace"):format(name,
      own == "net" and "network" or own), 0)
  end
end

-- Into o, the recipe's options. context: dev_is_bound (it is the host's to fill), fields (of the configuration,
-- by the place in o.mounts). Raises what is wrong.
function M.of(o, config, context)
  local linux = config.linux or {}
  local has = namespaces(linux.namespaces)
  o.namespaces = has
  if has.user ~= true and (linux.uidMappings and #linux.uidMappings > 0 or linux.gidMappings and #linux.gidMappings > 0)
    and has.user == false then
    error("linux.uidMappings: they are of a user namespace, and linux.namespaces has none", 0)
  end
  if has.user == true then o.idmap = idmap(linux, core.identity()) end
  if has.mount ~= true then
    if has.user then
      error("linux.namespaces: with a user namespace a container has a mount namespace of its own, which isn't there", 0)
    end
    o.mount_namespace, has.mount = has.mount or "/proc/self/ns/mnt", true
  end
  o.loopback = has.net == true and nil
  for _, key in ipairs { "hostname", "domainname" } do
    if config[key] and config[key] ~= "" then
      if not has.uts then error(key .. ": it would be the host's where linux.namespaces has no uts", 0) end
      o[key] = config[key]
    end
  end
  if linux.timeOffsets and next(linux.timeOffsets) ~= nil then
    if has.time ~= true then error("linux.timeOffsets: they are of a new time namespace", 0) end
    o.time_offsets = {}
    offset(o.time_offsets, "monotonic", linux.timeOffsets.monotonic)
    offset(o.time_offsets, "boottime", linux.timeOffsets.boottime)
  end
  if not context.dev_is_bound then
    devices(o.mounts, linux.devices, context.fields)
    dev_links(o.mounts)
  end
  for name, value in pairs(linux.sysctl or {}) do
    check_sysctl(name, has)
    o.sysctl = o.sysctl or {}
    o.sysctl[name] = value
  end
  o.masked, o.readonly = linux.maskedPaths, linux.readonlyPaths
  propagation(o, linux.rootfsPropagation)
  if linux.mountLabel and linux.mountLabel ~= "" then o.mount_label = linux.mountLabel end
  if linux.personality then o.personality = personality(linux.personality) end
  if linux.intelRdt then o.rdt = rdt(linux.intelRdt) end
  local mp = linux.memoryPolicy
  if mp and mp.mode then
    o.memory_policy = { mode = oci_process.word("MPOL_", mp.mode), nodes = mp.nodes ~= "" and mp.nodes or nil,
      flags = mp.flags and oci_process.words("MPOL_F_", mp.flags) }
  end
  if linux.netDevices then net_devices(o, linux.netDevices, has) end
  if linux.seccomp then
    local policy, message = require("caisson.policy").from_oci(linux.seccomp, { label = "config.json: linux.seccomp" })
    if not policy then error("linux." .. message, 0) end
    o.seccomp = policy
    o.seccomp_listener = require("caisson.notify").of_oci(linux.seccomp, policy)
  end
end

return M
