-- A configuration of the OCI runtime specification as a recipe.
--
-- Where the specification is silent a container is as runc makes it. What differs: a bind mount keeps the source's
-- flags that its options don't speak of; a program is looked up in a usual PATH where its environment has none.
local core = require "caisson.core"
local recipe = require "caisson.recipe"
local hooks = require "caisson.oci.hooks"
local linux = require "caisson.oci.linux"
local mounts = require "caisson.oci.mounts"
local process = require "caisson.oci.process"
local resources = require "caisson.oci.resources"

local M = {}

---@class caisson.oci.Options
---@field bundle string           the bundle's directory, absolute
---@field id? string              names the groups where the configuration has no cgroupsPath
---@field rootless? boolean       true: limits that this user can't set are left out, with a warning
---@field systemd_cgroup? boolean groups are made by systemd; cgroupsPath is "slice:prefix:name"
---@field no_pivot? boolean
---@field no_new_keyring? boolean
---@field cgroup_root? string     the group that a relative cgroupsPath is below; this process's own
---@field warn? fun(message: string)

local function root(config, opts)
  local r = config.root
  if type(r) ~= "table" or type(r.path) ~= "string" or r.path == "" then
    error("root.path: a container has a root", 0)
  end
  local path = r.path
  if path:sub(1, 1) ~= "/" then path = opts.bundle .. "/" .. path end
  if not core.access(path) then error(("root.path: %s is not there"):format(path), 0) end
  return path, r.readonly == true
end

-- Is this process in a user namespace that somebody has made?
local function in_user_namespace()
  local f = io.open("/proc/self/uid_map")
  local map = f and f:read("*l") or ""
  if f then f:close() end
  return not map:find("^%s*0%s+0%s+4294967295%s*$")
end

-- The recipe's `cgroup`.
local function cgroup(config, opts)
  local l = config.linux or {}
  local t = resources.of(l.resources, { devices = true })
  local asked = false
  for name in pairs(t) do asked = asked or name ~= "devices" end
  local path = l.cgroupsPath
  if opts.systemd_cgroup then
    if path == nil or path == "" then path = ":runc:" .. (opts.id or "") end
    local scope, message = require("caisson.systemd").parse_cgroups_path(path)
    if not scope then error("linux.cgroupsPath: " .. message, 0) end
    t.driver, t.slice, t.scope = scope.driver, scope.slice, scope.scope
    t.properties, message = require("caisson.systemd.properties").annotated(config.annotations)
    if not t.properties then error(message, 0) end
  else
    if path == nil or path == "" then
      path = opts.id
    else
      -- to the recipe it would be the run's own name
      if path:find("*", 1, true) then error("linux.cgroupsPath: a name without '*' expected", 0) end
      local clean = mounts.clean(path)
      path = path:sub(1, 1) == "/" and clean or clean:sub(2)
    end
    if path and path:sub(1, 1) ~= "/" and opts.cgroup_root then path = opts.cgroup_root .. "/" .. path end
    t.path, t.existing = path, path and "empty" or nil
    -- what is shown of them is the container's own alone
    for _, m in ipairs(config.mounts or {}) do
      if m.type == "cgroup" then t.every = true end
    end
  end
  local limited = core.euid() ~= 0 or in_user_namespace()
  -- groups are for the sake of counting and killing alone where no limits are asked for
  t.optional = opts.rootless or opts.rootless == nil and not asked and limited or nil
  t.devices.optional = limited or nil
  return t
end

-- The recipe of a configuration, as caisson.oci.document reads it.
---@param config table
---@param opts caisson.oci.Options
---@return caisson.Recipe? recipe, string? message, integer? errno
function M.of(config, opts)
  if type(config) ~= "table" then error("a configuration expected, got " .. type(config), 2) end
  if type(opts) ~= "table" or type(opts.bundle) ~= "string" or opts.bundle:sub(1, 1) ~= "/" then
    error("bundle: the absolute path of a directory expected", 2)
  end
  local warnings = {}
  local function warn(message)
    warnings[#warnings + 1] = message
    if opts.warn then opts.warn(message) end
  end
  local fields
  local ok, o = pcall(function()
    local p = config.process or {}
    local t = process.of(p, config, { init = true, no_new_keyring = opts.no_new_keyring, warn = warn })
    local path, readonly = root(config, opts)
    t.root = { bind = path, flags = {}, propagation = "private" }
    t.readonly_root, t.no_pivot = readonly, opts.no_pivot or nil
    local dev_is_bound
    t.mounts, dev_is_bound, fields = mounts.of(config.mounts, { config = config, bundle = opts.bundle, warn = warn })
    linux.of(t, config, { dev_is_bound = dev_is_bound, fields = fields })
    t.console = t.tty and true or nil
    t.cgroup = cgroup(config, opts)
    t.hooks = hooks.of(config.hooks, { bundle = opts.bundle, root = path })
    -- hooks that mount something more look for the root where the bundle has it
    if path ~= "/" and (t.hooks.prestart or t.hooks.createRuntime or t.hooks.createContainer) then t.root.at = path end
    for k, v in pairs(config.annotations or {}) do
      t.annotations = t.annotations or {}
      t.annotations[k] = v
    end
    t.summary = "OCI bundle " .. opts.bundle
    return t
  end)
  if not ok then
    return nil, require("caisson.words").message((tostring(o):gsub("^[^\n:]*%.lua:%d+: ", ""))), core.errno.EINVAL
  end
  local r = recipe.new(o)
  local name = opts.bundle:match("([^/]+)/*$")
  r.bundle, r.warnings, r.name, r.source, r.line = opts.bundle, warnings, name, nil, nil
  function r.locate(_, path)
    local field = require("caisson.oci.fields").of(path, fields)
    return field and "config.json: " .. field
  end
  local over = config.annotations and config.annotations["caisson.recipe"]
  if over ~= nil then
    ok, r = pcall(require("caisson.oci.annotation").over, r, over, opts.bundle)
    if not ok then return nil, r, core.errno.EPERM end
    r.bundle, r.warnings, r.name = opts.bundle, warnings, name
  end
  return r
end

-- What of a container's limits could not be had, and was left out since the caller is no root: lines for a log.
-- built: of the recipe. (That devices are not ruled goes without saying: such a container can make none.)
function M.left_out(built)
  local lines = {}
  for controller, m in pairs(built.optional_limits or {}) do
    if controller ~= "devices" then lines[#lines + 1] = ("cgroup: %s is not set: %s"):format(m.key, m.message) end
  end
  table.sort(lines)
  return lines
end

---The recipe of a bundle's directory.
---@param bundle string
---@param opts? caisson.oci.Options
---@return caisson.Recipe? recipe, string? message, integer? errno
function M.load(bundle, opts)
  local dir, message, errno = core.realpath(bundle)
  if not dir then return nil, message, errno end
  local config, warnings
  config, message, warnings = M.read(dir)
  if not config then return nil, message, core.errno.EINVAL end
  local o = {}
  for k, v in pairs(opts or {}) do o[k] = v end
  o.bundle = dir
  local r
  r, message, errno = M.of(config, o)
  if not r then return nil, ("%s/config.json: %s"):format(dir, message), errno end
  for i = #(warnings or {}), 1, -1 do table.insert(r.warnings, 1, warnings[i]) end
  return r
end

---The configuration of a bundle, read and checked.
---@param bundle string
---@return table? config, string? message, string[]? warnings
function M.read(bundle)
  local document = require "caisson.oci.document"
  local config, message = document.read(bundle .. "/config.json")
  if not config then return nil, message end
  local ok, why, warnings = document.check(config)
  if not ok then return nil, why end
  return config, nil, warnings
end

return M
