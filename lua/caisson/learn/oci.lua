-- What a program needs, as the parts of an OCI configuration that are about it: linux.seccomp, the process's
-- capabilities and limits, mounts of what it used.
local fold = require "caisson.learn.fold"
local is_utf8 = require("caisson.json").is_utf8
local needs = require "caisson.learn.needs"
local text = require "caisson.learn.text"

local M = {}

-- The mounts: what is read or executed, read-only; what is written, writable; /proc, /dev and /tmp of the container's own.
local function mounts_of(n)
  local own = { ["/proc"] = { destination = "/proc", type = "proc", source = "proc", options = { "nosuid", "noexec", "nodev" } },
    ["/dev"] = { destination = "/dev", type = "tmpfs", source = "tmpfs",
      options = { "nosuid", "strictatime", "mode=755", "size=64k" } },
    ["/tmp"] = { destination = "/tmp", type = "tmpfs", source = "tmpfs", options = { "nosuid", "nodev", "mode=1777" } } }
  local at, names = {}, {}
  for path, m in pairs(own) do at[path] = m end
  local function bind(path, writable, source)
    if path == "/tmp" or fold.within(path, "/proc") or fold.within(path, "/dev") then return end
    if at[path] and not writable then return end
    at[path] = { destination = path, type = "bind", source = source or path,
      options = { "rbind", writable and "rw" or "ro", "nosuid", "nodev" } }
  end
  for _, k in ipairs { "execute", "read" } do for path in pairs(n.files[k]) do bind(path) end end
  for path in pairs(n.files.write) do bind(path, true) end
  -- by other names: where no folder that is mounted has them
  for _, name in ipairs(text.sorted(n.links or {})) do
    local path = n.links[name]
    local there, used = false, name:find "^/lib[^/]*$" ~= nil
    for dir in pairs(at) do there = there or not own[dir] and fold.within(name, dir) end
    for _, k in ipairs { "execute", "read", "write" } do
      for p in pairs(n.files[k]) do used = used or fold.within(path, p) or fold.within(p, path) end
    end
    if used and not there then bind(name, false, path) end
  end
  for path in pairs(at) do
    if not is_utf8(path) then return nil, ("mounts: %s: JSON has no words for a name that is no UTF-8"):format(path) end
    names[#names + 1] = path
  end
  table.sort(names) -- a folder before what is in it
  local list = {}
  for i, path in ipairs(names) do list[i] = at[path] end
  return list
end

-- As a table; nil, message where the policy can't be said so.
function M.config(n, policy)
  local seccomp, message = policy:oci()
  if not seccomp then return nil, message end
  local mounts, why = mounts_of(n)
  if not mounts then return nil, why end
  local limits, capabilities = needs.limits(n), {}
  for i, name in ipairs(text.sorted(n.capabilities or {})) do capabilities[i] = "CAP_" .. name:upper() end
  local process = { noNewPrivileges = true, rlimits = {}, capabilities = { bounding = capabilities, effective = capabilities,
    permitted = capabilities } }
  for _, name in ipairs { "nofile", "fsize" } do
    local v = limits[name]
    if v then table.insert(process.rlimits, { type = "RLIMIT_" .. name:upper(), soft = v, hard = v }) end
  end
  local resources = {}
  if limits.memory then resources.memory = { limit = limits.memory } end
  if limits.pids then resources.pids = { limit = limits.pids } end
  return { ociVersion = "1.2.0", process = process, mounts = mounts,
    linux = { seccomp = seccomp, resources = resources } }
end

-- As JSON.
function M.json(n, policy)
  local config, message = M.config(n, policy)
  if not config then return nil, message end
  return require("caisson.json").document(config) .. "\n"
end

return M
