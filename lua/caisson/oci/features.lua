-- What this runtime knows of the specification, as its `features` document says it: what the code can do,
-- whether or not this machine can.
local core = require "caisson.core"
local schema = require "caisson.oci.schema"

local M = {}

local function sorted(list)
  table.sort(list)
  return list
end

local function copy(list)
  local t = {}
  for i, v in ipairs(list) do t[i] = v end
  return t
end

-- The words of a field of a primitive's, each through f.
local function words_of(primitive, field, f)
  for _, row in ipairs(core.primitives[primitive].fields) do
    if row.name == field then
      local list = {}
      for _, w in ipairs(row.words) do
        local word = f(w)
        if word then list[#list + 1] = word end
      end
      return list
    end
  end
end

-- Not iversion and noacl: the interface that mounts are made with has no such options.
local function mount_options()
  local list = {}
  for word in ([[acl async bind defaults dirsync idmap lazytime loud mand noiversion nolazytime nomand private rbind
    remount ridmap rprivate rshared rslave runbindable shared silent slave sync tmpcopyup unbindable]]):gmatch("%S+") do
    list[#list + 1] = word
  end
  -- of a mount, and with an r before them of all that is mounted below
  for word in ([[atime dev diratime exec noatime nodev nodiratime noexec norelatime nostrictatime nosuid nosymfollow
    relatime ro rw strictatime suid symfollow]]):gmatch("%S+") do
    list[#list + 1], list[#list + 2] = word, "r" .. word
  end
  return sorted(list)
end

local function seccomp()
  local oci = require "caisson.policy.oci"
  local archs, supported, has = {}, {}, {}
  for _, name in ipairs(core.seccomp.architectures()) do archs[#archs + 1] = "SCMP_ARCH_" .. name:upper() end
  for _, flag in ipairs(core.seccomp.features().flags) do has[flag] = true end
  for _, word in ipairs(oci.known "flags") do
    if has[oci.flag(word)] then supported[#supported + 1] = word end
  end
  return { enabled = true, actions = oci.known "actions", operators = oci.known "operators", archs = sorted(archs),
    knownFlags = oci.known "flags", supportedFlags = supported }
end

---The features document.
---@return table features
function M.get()
  return {
    ociVersionMin = "1.0.0",
    ociVersionMax = require("caisson.oci.default").version,
    hooks = copy(schema.hooks),
    mountOptions = mount_options(),
    linux = {
      namespaces = sorted(copy(schema.namespaces)),
      capabilities = words_of("capabilities", "bounding", function(w) return w ~= "all" and "CAP_" .. w:upper() end),
      cgroup = { v1 = true, v2 = true, systemd = true, systemdUser = true, rdma = true },
      seccomp = seccomp(),
      apparmor = { enabled = true },
      selinux = { enabled = true },
      intelRdt = { enabled = true, schemata = true, monitoring = true },
      memoryPolicy = {
        modes = words_of("memory_policy", "mode", function(w) return "MPOL_" .. w:upper() end),
        flags = words_of("memory_policy", "flags", function(w) return "MPOL_F_" .. w:upper() end),
      },
      mountExtensions = { idmap = { enabled = true } },
      netDevices = { enabled = true },
    },
    annotations = {
      ["io.github.seccomp.libseccomp.version"] = core.seccomp.version(),
      ["caisson.version"] = require("caisson.version").caisson,
    },
    -- they may make more of a container than its configuration says
    potentiallyUnsafeConfigAnnotations = { "caisson." },
  }
end

-- As a node of oci/schema.lua, for its order.
local function rows(names)
  local t = { "object", rows = {}, known = {} }
  for name in names:gmatch("%S+") do
    t.rows[#t.rows + 1] = { name, { "object", rows = {}, known = {} } }
    t.known[name] = t.rows[#t.rows][2]
  end
  return t
end

---The features document as JSON.
---@return string text
function M.json()
  local node = rows "ociVersionMin ociVersionMax hooks mountOptions linux annotations potentiallyUnsafeConfigAnnotations"
  local linux = rows [[namespaces capabilities cgroup seccomp apparmor selinux intelRdt memoryPolicy mountExtensions
    netDevices]]
  node.known.linux, node.rows[5][2] = linux, linux
  linux.known.seccomp = rows "enabled actions operators archs knownFlags supportedFlags"
  return assert(require("caisson.oci.encode").encode(M.get(), "    ", node))
end

return M
