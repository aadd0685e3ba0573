-- Groups that are systemd's to make: the recipe option
--
--   cgroup = { driver = "systemd", slice = "machine.slice", scope = "box-*", memory = { max = "64M" } }
--
-- Each container gets a transient scope; the limits are told to systemd, which would else put back what it takes for
-- right, and are then written to the group's files, since systemd knows fewer and rounds some.
local core = require "caisson.core"
local devices = require "caisson.cgroup.devices"
local limits = require "caisson.cgroup.limits"
local properties_of = require "caisson.systemd.properties"

local M = {}

-- ---- names ----

-- What a unit's name may be made of (unit_name_is_valid() of systemd.unit(5)'s implementation), and its length.
local valid, longest = "^[%w:_.\\@-]+$", 255

---A name of systemd's, with all that one can't have as \xNN.
---@param text string
---@return string
function M.escape(text)
  return (text:gsub("[^%w:_.\\-]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

local function check_unit(name, suffix)
  if type(name) ~= "string" then return nil, "string expected, got " .. type(name) end
  if name:sub(-#suffix) ~= suffix or #name == #suffix then
    return nil, ("'%s': a name with %s at its end expected"):format(name, suffix)
  end
  local plain = suffix == ".scope" and name:gsub("%*", "") or name
  if not plain:find(valid) then
    return nil, ("'%s': letters, digits and :_.\\@- expected (systemd-escape makes such a name)"):format(name)
  end
  if #name > longest - 16 then return nil, ("a name of more than %d bytes"):format(longest - 16) end
  return true
end

---Is it the name of a slice? "a-b.slice" is one in "a.slice"; "-.slice" is the root of all.
---@param name string
---@return true? ok, string? message
function M.check_slice(name)
  local ok, message = check_unit(name, ".slice")
  if not ok then return nil, message end
  local stem = name:sub(1, -7)
  if stem ~= "-" and (stem:find("^%-") or stem:find("%-$") or stem:find("--", 1, true)) then
    return nil, ("'%s': names between single dashes expected, as in a-b.slice"):format(name)
  end
  return true
end

---Is it the name of a scope? One "*" in it stands for 16 digits of the run's own.
---@param name string
---@return true? ok, string? message
function M.check_scope(name)
  local ok, message = check_unit(name, ".scope")
  if ok and select(2, name:gsub("%*", "")) > 1 then return nil, ("'%s': one * at most"):format(name) end
  return ok, message
end

---What `linux.cgroupsPath` is where systemd is to make the group: "slice:prefix:name". Without a slice it is systemd's own
---choice, without a prefix the scope is called after the name alone.
---@param text string
---@return { driver: "systemd", slice?: string, scope: string }? option, string? message  for a recipe's `cgroup`
function M.parse_cgroups_path(text)
  local slice, prefix, name = tostring(text):match("^([^:]*):([^:]*):([^:]*)$")
  if not slice then
    return nil, ("'%s': slice:prefix:name expected, as systemd is to make the group"):format(tostring(text))
  end
  if name == "" then return nil, ("'%s': the name behind the second colon is empty"):format(text) end
  if name:find("%.slice$") then return nil, ("'%s': a slice holds no processes: the name of a scope expected"):format(text) end
  if slice == "-" then slice = "-.slice" end
  local option = { driver = "systemd", slice = slice ~= "" and slice or nil }
  local ok, message
  if option.slice then
    ok, message = M.check_slice(option.slice)
    if not ok then return nil, message end
  end
  option.scope = M.escape((prefix ~= "" and prefix .. "-" or "") .. (name:gsub("%.scope$", ""))) .. ".scope"
  ok, message = M.check_scope(option.scope)
  if not ok then return nil, message end
  return option
end

-- Where a slice's group is below its manager's: "a-b.slice" is /a.slice/a-b.slice.
local function slice_path(name)
  if name == "-.slice" then return "" end
  local path, stem = "", ""
  for part in name:sub(1, -7):gmatch("[^-]+") do
    stem = stem == "" and part or stem .. "-" .. part
    path = path .. "/" .. stem .. ".slice"
  end
  return path
end

-- ---- the plan's steps ----

local function read(path)
  local f = io.open(path, "r")
  local text = f and f:read("*a")
  if f then f:close() end
  return text
end

-- The manager to ask: the system's for root of the machine, else the user's, whose uid there is the second result.
local function whose(env)
  local map = env.uid_map or read("/proc/self/uid_map") or ""
  if env.euid == 0 and map:find("^%s*0%s+0%s+4294967295%s*$") then return false end
  for inside, outside, count in map:gmatch("(%d+)%s+(%d+)%s+(%d+)") do
    inside, outside, count = tonumber(inside), tonumber(outside), tonumber(count)
    if env.euid >= inside and env.euid < inside + count then return true, outside + env.euid - inside end
  end
  return true, env.euid
end

local function has(list, word)
  for _, v in ipairs(list or {}) do if v == word then return true end end
  return false
end

local accounts = { "CPUAccounting b 1", "MemoryAccounting b 1", "TasksAccounting b 1", "IOAccounting b 1" }
-- What systemd has no word for, and so never enables in a slice.
local unknown_to_it = { hugetlb = true, rdma = true, misc = true }

local function fail(key, message) error({ key = key, message = message }, 0) end

-- What the container stands on is not to be set to something else.
local fixed = { PIDs = true, PIDFDs = true, Delegate = true, DelegateControllers = true, Slice = true }

local function check_properties(list)
  if type(list) ~= "table" then fail("properties", "a list of 'NAME SIGNATURE VALUE' expected, got " .. type(list)) end
  for k, p in pairs(list) do
    local name = type(k) == "number" and type(p) == "string" and not p:find("%z") and p:match("^(%u%w+) %S+")
    if not name then fail("properties", "a list of 'NAME SIGNATURE VALUE' expected, such as 'TimeoutStopUSec t 5000000'") end
    if fixed[name] then fail("properties", name .. " is not for a recipe to set") end
  end
end

local function check(t)
  if t.properties ~= nil then check_properties(t.properties) end
  for _, key in ipairs { "path", "existing", "own_leaf" } do
    if t[key] ~= nil then fail(key, "systemd places the group (driver = 'systemd'): slice and scope say where") end
  end
  for key, fine in pairs { slice = M.check_slice, scope = M.check_scope } do
    if t[key] ~= nil then
      local ok, message = fine(t[key])
      if not ok then fail(key, message) end
    end
  end
end

---As caisson.cgroup.compile() for a table with driver = "systemd". env: of caisson.cgroup.probe(). Raises { key =, message = }.
---@param t caisson.cgroup.Options
---@param env table
---@param nodes? table[]
---@param id? string
---@return caisson.cgroup.Compiled
function M.compile(t, env, nodes, id)
  local wanted = limits.check(t)
  check(t)
  local out = { before = {}, after = {}, groups = {}, missing = {}, unlimited = {}, late_namespace = true }
  local function lack(controller, key, why, hint, errno)
    local m = { key = key, controller = controller, message = why, hint = hint, errno = errno or core.errno.EACCES }
    if t.optional or type(t[controller]) == "table" and t[controller].optional then
      out.unlimited[controller] = m
    else
      out.missing[#out.missing + 1] = m
    end
  end

  local h, v1 = nil, {}
  for _, each in ipairs(env.hierarchies) do
    if each.version == 2 then h = each.mount and each or nil end
    for _, c in ipairs(each.version == 1 and each.controllers or {}) do v1[c == "blkio" and "io" or c] = true end
  end
  local booted = env.booted
  if booted == nil then booted = core.lstat("/run/systemd/system") ~= nil end
  local own_errno = core.errno.ENOENT
  if not booted then
    lack("driver", "driver", "there is no /run/systemd/system: systemd is not what runs this machine",
      "driver = 'cgroupfs', which is the default, makes groups without it", own_errno)
  elseif not h then
    lack("driver", "driver", "no cgroup v2 file system is mounted here, which the scopes of systemd need",
      "mount -t cgroup2 cgroup2 /sys/fs/cgroup", own_errno)
  end
  if out.unlimited.driver then
    out.late_namespace = false
    return out
  end
  h = h or { mount = "/sys/fs/cgroup" } -- the plan can be looked at all the same

  local user, uid = whose(env)
  local manager = user and ("%s/user.slice/user-%d.slice/user@%d.service"):format(h.mount, uid, uid) or h.mount
  local listed = env.delegated or core.cgroup.read(manager, "cgroup.controllers")
  local g = { slot = "cgroup", version = 2, controllers = {}, user = user or nil, unit = t.scope
    or (id and "caisson-" .. M.escape(id:sub(1, 40)) .. "-*.scope" or "caisson-*.scope") }
  g.within = manager .. slice_path(t.slice or user and "app.slice" or "system.slice")
  local writes, extra = {}, {}

  -- Is it there to be limited by?
  local function can(controller, key)
    if v1[controller] then
      lack(controller, key, ("the %s controller is on cgroup v1 here, and the scopes of systemd on v2"):format(controller),
        nil, core.errno.EOPNOTSUPP)
    elseif listed and not (" " .. listed:gsub("\n", " ") .. " "):find(" " .. controller .. " ", 1, true) then
      lack(controller, key, ("%s/cgroup.controllers does not list the %s controller%s"):format(manager, controller,
        user and ": it is not delegated" or ""), user and "Delegate=cpu cpuset io memory pids in " ..
        "user@.service.d/delegate.conf, then systemctl daemon-reload and a new login" or nil,
        user and core.errno.EACCES or own_errno)
    else
      if not has(g.controllers, controller) then g.controllers[#g.controllers + 1] = controller end
      if unknown_to_it[controller] and not has(extra, controller) then extra[#extra + 1] = controller end
      return true
    end
  end

  for _, controller in ipairs(wanted) do
    local all, can_be = limits.writes(controller, t[controller], 2), nil
    for _, w in ipairs(all) do
      local key = controller .. "." .. w.option
      if not w[1] then
        lack(controller, key, "cgroup v2 has no such limit", nil, core.errno.EOPNOTSUPP)
      else
        if can_be == nil then can_be = can(controller, key) or false end
        if can_be then
          writes[#writes + 1] = { w[1], w[2], key = key, verify = w.verify,
            optional = t[controller].optional or t.optional }
        end
      end
    end
  end
  local files = {}
  for file in pairs(t.unified or {}) do files[#files + 1] = file end
  table.sort(files)
  for _, file in ipairs(files) do
    local controller, v = file:match("^[^.]+"), t.unified[file]
    if controller == "cgroup" or can(controller, "unified." .. file) then
      writes[#writes + 1] = { file, type(v) == "number" and ("%.0f"):format(v) or v, key = "unified." .. file,
        optional = t.optional }
    end
  end
  -- figures
  for _, controller in ipairs { "cpu", "memory", "pids", "io" } do
    if not v1[controller] and not has(g.controllers, controller) then g.controllers[#g.controllers + 1] = controller end
  end

  local properties = { "Description s caisson container" .. (id and " " .. id or ""), "Delegate b 1",
    "DefaultDependencies b 0", "CollectMode s inactive-or-failed" }
  if t.slice then properties[#properties + 1] = "Slice s " .. t.slice end
  for _, p in ipairs(accounts) do properties[#properties + 1] = p end
  for _, p in ipairs(properties_of.of_writes(writes)) do properties[#properties + 1] = p end
  -- theirs in the place of ours of the same name
  local named = {}
  for _, p in ipairs(t.properties or {}) do named[p:match("^%S+")] = true end
  for i = #properties, 1, -1 do
    if named[properties[i]:match("^%S+")] then table.remove(properties, i) end
  end
  for _, p in ipairs(t.properties or {}) do properties[#properties + 1] = p end
  local rules
  if t.devices and (user or env.euid ~= 0) then
    lack("devices", "devices", "only root of the machine may set device rules", "run it as root, or mark it optional", 1)
  elseif t.devices then
    nodes = devices.of_nodes(nodes)
    rules, g.nodes = devices.all(t.devices, nodes), devices.texts(nodes)
    for _, p in ipairs(properties_of.of_devices(rules)) do properties[#properties + 1] = p end
  end

  local function step(name, options, key, optional)
    out.after[#out.after + 1] = { step = name, side = "parent", options = options, key = key, optional = optional or nil }
  end
  step("systemd.scope", { unit = g.unit, at = h.mount, properties = properties, user = user or nil, slot = g.slot,
    controllers = #extra > 0 and extra or nil }, "driver")
  for _, w in ipairs(writes) do
    step("cgroup.set", { file = w[1], value = w[2], group = g.slot, verify = w.verify }, w.key, w.optional)
  end
  if rules then
    step("cgroup.devices", { rules = devices.texts(rules), group = g.slot }, "devices", t.devices.optional)
  end
  out.groups[1] = g
  return out
end

-- ---- what a killed host leaves ----

---Where a host and its child are killed in the moment in which systemd starts the scope, systemd does not see that nobody
---is in it any more. Such a one is stopped; one that is still being started, or has somebody in it, is not.
---@param unit string
---@param user? boolean
---@return true? ok, string? message, integer? errno
function M.discard(unit, user)
  local told, message, errno = core.systemd.get(unit, { "ControlGroup s", "Unit.ActiveState s" }, user)
  if not told then
    if errno == core.errno.ENOENT then return true end
    return nil, message, errno
  end
  local path = told[1]:match("^%S+ s (/.*)$")
  if told[2] ~= "Unit.ActiveState s active" or not path then return true end
  for _, h in ipairs(core.cgroup.detect() or {}) do
    local pids = h.version == 2 and h.mount and core.cgroup.procs(h.mount .. path)
    if pids and #pids == 0 then return core.systemd.stop(unit, user) end
  end
  return true
end

---All that a group's scope could be, its "*" being any run's.
---@param g caisson.cgroup.Group
function M.sweep(g)
  local prefix, suffix = g.unit:match("^([^*]*)%*?(.*)$")
  for _, name in ipairs(core.list(g.within) or {}) do
    if name == g.unit or #name == #prefix + 16 + #suffix and name:sub(1, #prefix) == prefix and
        name:sub(-#suffix) == suffix and name:sub(#prefix + 1, #prefix + 16):find("^%x+$") then
      local pids = core.cgroup.procs(g.within .. "/" .. name)
      if pids and #pids == 0 then M.discard(name, g.user) end
    end
  end
end

-- ---- scopes, by hand ----

---@class caisson.systemd.Scope
---@field name string           with .scope at its end
---@field pid? integer           whose it is; this process
---@field slice? string
---@field description? string
---@field properties? string[]   more, each "NAME SIGNATURE VALUE": "MemoryMax t 67108864"
---@field user? boolean          of the user's systemd, not the system's

---Put a process into a transient scope of its own, which may have groups below it (Delegate). Returns its group's directory.
---@param opts caisson.systemd.Scope
---@return caisson.core.Fd? group, string? message, integer? errno
function M.scope(opts)
  local h
  for _, each in ipairs(core.cgroup.detect() or {}) do
    if each.version == 2 and each.mount then h = each end
  end
  if not h then return nil, "no cgroup v2 file system is mounted here", core.errno.ENOENT end
  for key, fine in pairs { slice = M.check_slice, name = M.check_scope } do
    local ok, message = true, nil
    if key == "name" or opts[key] ~= nil then ok, message = fine(opts[key]) end
    if not ok then error(("scope: %s: %s"):format(key, message), 2) end
  end
  local properties = { "Description s " .. (opts.description or opts.name), "Delegate b 1", "DefaultDependencies b 0",
    "CollectMode s inactive-or-failed" }
  if opts.slice then properties[#properties + 1] = "Slice s " .. opts.slice end
  for _, p in ipairs(opts.properties or {}) do properties[#properties + 1] = p end
  return core.systemd.scope { unit = opts.name, at = h.mount, properties = properties, user = opts.user, pid = opts.pid }
end

---End a scope, and all that is in it. One that is not there is no error.
---@param name string
---@param opts? { user?: boolean }
---@return true? ok, string? message, integer? errno
function M.stop(name, opts) return core.systemd.stop(name, opts and opts.user) end

return M
