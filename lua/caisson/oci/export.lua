-- A recipe as a bundle of the OCI runtime specification: config.json, and what its root has to hold.
--
-- It is read off the recipe's plan, so that a step which a script has put there is exported too, or named. What the
-- specification has no words for is an error that names it, unless the caller goes without it by name (opts.without);
-- then, and where a runtime does a thing in a slightly different way, it is a warning.
local build = require "caisson.build"
local core = require "caisson.core"
local schema = require "caisson.oci.schema"

local M = {}

---@class caisson.oci.Export
---@field params? table<string, string>  the recipe's parameters
---@field args? string[]                 the program
---@field env? table<string, string>
---@field without? string[]              options that the bundle may lack: "script", "landlock", ...

---@class caisson.oci.Exported
---@field warnings string[]
---@field files { path: string, type: "dir"|"file"|"link", data?: string, mode?: integer, target?: string }[]
---  what the bundle's directory holds beside config.json

local X = {}
X.__index = X

-- The option that asked for a step, as a name for people and for `without`: "mounts[3]", "script".
local function name_of(step)
  if not step.key then return "script" end
  return (step.key:gsub("/(%d+)", "[%1]"):gsub("/", "."))
end

function X:warn(name, message)
  self.warnings[#self.warnings + 1] = name .. ": " .. message
end

-- What can't be said: name is an option's, or a step that some option asked for.
function X:lost(name, message)
  if type(name) == "table" then
    local at = name.at or name.origin and name.origin.recipe:locate(name.origin.path)
    local of_option = name.key
    message = ("step %s%s: %s"):format(name.step, at and " (" .. at .. ")" or "", message)
    name = name_of(name)
    if of_option and self.said[name] then return end
    self.said[name] = true
  end
  if self.without[name:match("^[%w_]+")] then
    self:warn(name, "left out: " .. message)
  else
    self.errors[#self.errors + 1] = name .. ": " .. message
  end
end

-- ---- the steps ----

local handlers = {}

-- What is of the engine, or what every runtime does by itself.
for _, name in ipairs { "procfs", "session", "wait", "pivot_root" } do
  handlers[name] = function() end
end

function handlers.clone(x, o)
  for _, n in ipairs(o.namespaces or {}) do
    x.new[n] = true
    x:namespace(n)
  end
end
handlers["namespace.unshare"] = handlers.clone

handlers["namespace.join"] = function(x, o, step)
  if not o.path then return x:lost(step, "a namespace is joined by a descriptor") end
  for _, n in ipairs(o.namespaces) do x:namespace(n, o.path) end
end

local namespace_names = { net = "network" }

function X:namespace(name, path)
  if path and path:sub(1, 1) ~= "/" then path = core.realpath(path) or path end
  table.insert(self.config.linux.namespaces, { type = namespace_names[name] or name, path = path })
end

local function ranges(list)
  local t = {}
  for i, m in ipairs(list) do
    t[i] = { containerID = m[1] or m.inside, hostID = m[2] or m.outside, size = m[3] or m.count }
  end
  return t
end

function handlers.idmap(x, o)
  local l = x.config.linux
  l.uidMappings, l.gidMappings = ranges(o.uid), ranges(o.gid)
  local function has_root(list)
    for _, m in ipairs(list) do if m.containerID == 0 then return true end end
  end
  if not has_root(l.uidMappings) or not has_root(l.gidMappings) then
    x:warn("idmap", "0 is not in the maps: caisson-oci and crun don't ask for that, but runc does")
  end
end

function handlers.time_offsets(x, o)
  local t = {}
  for _, clock in ipairs { "monotonic", "boottime" } do
    if o[clock] or o[clock .. "_ns"] then t[clock] = { secs = o[clock], nanosecs = o[clock .. "_ns"] } end
  end
  x.config.linux.timeOffsets = t
end

function handlers.hostname(x, o) x.config.hostname = o.name end
function handlers.domainname(x, o) x.config.domainname = o.name end

function handlers.sysctl(x, o)
  x.config.linux.sysctl = x.config.linux.sysctl or {}
  x.config.linux.sysctl[o.name] = o.value
end

handlers["net.loopback"] = function(x) x.loopback = true end

-- Functions at hooks' points are hooks, which have been looked at; others are steps of a script's.
function handlers.lua(x, o, step)
  if step.phase ~= "hooks" then x:lost(step, "a function of Lua's is no part of a configuration") end
end

for _, part in ipairs { "mounts", "process" } do
  for name, handler in pairs(require("caisson.oci.export." .. part).handlers) do handlers[name] = handler end
end

-- ---- what is no step, or stands in steps that are another machine's ----

local function hooks(x, list)
  for _, point in ipairs(schema.hooks) do
    for i, h in ipairs(list[point] or {}) do
      local hook, name = h.hook, ("hooks.%s[%d]"):format(point, i)
      if type(hook) == "function" or hook.call then
        x:lost(name, "a function of Lua's can't be a hook of a configuration: a command can")
      else
        if hook.dir and not x.recipe.bundle then x:lost(name, "its directory (dir) is the runtime's choice") end
        local env, timeout = {}, hook.timeout and math.ceil(hook.timeout)
        for k, v in pairs(hook.env or { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }) do
          env[#env + 1] = type(k) == "number" and v or k .. "=" .. v
        end
        table.sort(env)
        if timeout ~= hook.timeout then x:warn(name, ("its timeout is %d s, as whole seconds are meant"):format(timeout)) end
        x.config.hooks = x.config.hooks or {}
        x.config.hooks[point] = x.config.hooks[point] or {}
        table.insert(x.config.hooks[point], { path = hook.path, args = hook.args or { hook.path }, env = env, timeout = timeout })
      end
    end
  end
end

local function net_devices(x, list)
  for i, d in ipairs(list or {}) do
    local name = ("network[%d]"):format(i)
    if type(d) == "table" and d.move then
      for k in pairs(d) do
        if k ~= "move" and k ~= "name" then x:lost(name, ("'%s' of a device is the network plugin's to set"):format(k)) end
      end
      x.config.linux.netDevices = x.config.linux.netDevices or {}
      x.config.linux.netDevices[d.move] = { name = d.name }
    else
      x:lost(name, "a configuration moves devices, and makes none: a network plugin does")
    end
  end
end

local function rdt(x, r)
  if not r then return end
  local function prefixed(prefix, s)
    if not s or s:find ":" then return s end
    return prefix .. s
  end
  x.config.linux.intelRdt = { closID = r.group, schemata = r.schemata, l3CacheSchema = prefixed("L3:", r.l3),
    memBwSchema = prefixed("MB:", r.memory_bandwidth), enableMonitoring = r.monitor }
end

local function seccomp(x, b, o)
  local policy = require "caisson.policy"
  local list = o.seccomp
  if list == nil and not b.no_setuid then return end
  if list == nil or policy.is(list) or type(list) ~= "table" then list = { list } end
  if #list > 1 then return x:lost("seccomp", "a configuration has one filter, and here are " .. #list) end
  local p = list[1]
  if type(p) == "string" then return x:lost("seccomp", "the filter is a finished program, of which no rules can be read") end
  if b.no_setuid then
    local setuid = require "caisson.policy.setuid"
    p = p and (p - setuid.rules):answer("ENOSYS", setuid.absent) or policy.no_setuid()
  end
  local t, message = p:oci()
  if not t then return x:lost("seccomp", message) end
  local listener = o.seccomp_listener
  if policy.notifies(p) and not listener then
    return x:lost("seccomp", "action notify: who answers (seccomp_listener) is not said")
  end
  if listener then t.listenerPath, t.listenerMetadata = listener.path, listener.metadata end
  x.config.linux.seccomp = t
end

-- Options that are of a run, not of a container, or that no runtime has.
local function options(x, o)
  for _, name in ipairs { "trace", "ptrace" } do
    if o[name] ~= nil then x:lost(name, "a configuration has no tracer") end
  end
  if o.seccomp_notify ~= nil then x:lost("seccomp_notify", "a configuration has agents (seccomp_listener) and no functions") end
  if o.limits and next(o.limits) ~= nil then x:lost("limits", "time, CPU time and output are not a configuration's to limit") end
  if o.core_scheduling then x:lost("core_scheduling", "a configuration has no word for it") end
  if o.affinity ~= nil then
    x:lost("affinity", "a configuration has it for further programs alone (cgroup.cpuset keeps all of them to some CPUs)")
  end
  if o.init then x:warn("init", "the program itself is process 1 of a bundle") end
  if o.die_with_parent then x:warn("die_with_parent", "a bundle's container outlives who started it") end
  if o.session == false then x:warn("session", "every runtime makes one") end
  if o.result then x:warn("result", "it is of runs by caisson") end
  if o.no_pivot then x:warn("no_pivot", "it is a flag of the runtime's (--no-pivot)") end
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    if o[name] ~= nil then x:warn(name, "the program's streams are those that the runtime gets") end
  end
  if o.routes and #o.routes > 0 then x:lost("routes", "they are the network plugin's to set") end
  if type(o.keyring) == "table" and next(o.keyring) ~= nil or type(o.keyring) == "string" then
    x:warn("keyring", "the runtime makes one of its own")
  end
end

-- What the plan is made without: it is read from the options, since in steps it is this machine's, or needs what only a
-- run has.
local apart = { "cgroup", "network", "routes", "rdt", "trace", "ptrace", "seccomp_notify", "limits", "stdin", "stdout",
  "stderr", "result", "core_scheduling", "affinity", "no_pivot" }

-- The least version of the specification that has all of it, since runtimes refuse those that they don't know.
local function version(c)
  local l, p = c.linux, c.process
  if l.netDevices or l.memoryPolicy or l.intelRdt and (l.intelRdt.schemata or l.intelRdt.enableMonitoring) then return "1.3.0" end
  for _, m in ipairs(c.mounts) do if m.uidMappings then return "1.2.0" end end
  if p.scheduler or p.ioPriority or c.domainname or l.timeOffsets then return "1.1.0" end
  return "1.0.2"
end

local function export(x, recipe, opts)
  local o, origins, scripts = recipe:merged { params = opts.params, args = opts.args, env = opts.env, default_args = { "sh" } }
  local rest = {}
  for k, v in pairs(o) do rest[k] = v end
  for _, name in ipairs(apart) do rest[name] = nil end
  local b = build.plan(rest, origins, recipe, {})
  for _, s in ipairs(scripts) do
    if x.without.script then x:warn("script", "left out") else s.fn(b.plan, s.values) end
  end
  x.builder, x.options, x.recipe = b, o, recipe
  options(x, o)
  require("caisson.oci.export.process").begin(x)
  for _, step in ipairs(b.plan.steps) do
    local handler, o_of_step = handlers[step.step], step.options
    if type(o_of_step) ~= "table" then -- a step of one option may be given that alone
      o_of_step = { [core.primitives[step.step].fields[1].name] = o_of_step }
    end
    local said = step.key == "seccomp_listener" or step.key == "tty" or step.key == "mount_namespace"
      or require("caisson.oci.export.mounts").of_cgroups(x, step)
    if not said then
      if not handler then x:lost(step, "a configuration has no word for it") else handler(x, o_of_step, step) end
    end
  end
  if o.mount_namespace then -- which the runtime's own is where none is named
    local path = o.mount_namespace ~= "/proc/self/ns/mnt" and o.mount_namespace or nil
    for i, n in ipairs(x.config.linux.namespaces) do
      if n.type == "mount" then
        n.path = path
        if not path then table.remove(x.config.linux.namespaces, i) end
        break
      end
    end
  end
  if not x.new.mount then x:lost("namespaces", "a bundle has a mount namespace (namespaces.mount = true)") end
  require("caisson.oci.export.process").finish(x)
  require("caisson.oci.export.mounts").finish(x)
  require("caisson.oci.export.resources").of(x, o.cgroup)
  hooks(x, o.hooks or {})
  net_devices(x, o.network)
  rdt(x, o.rdt)
  seccomp(x, b, o)
  if x.new.net and not x.loopback then x:warn("loopback", "runtimes bring it up") end
  x.config.annotations = o.annotations and next(o.annotations) ~= nil and o.annotations or nil
end

---The configuration of a recipe's container, and what the bundle holds beside it.
---@param recipe caisson.Recipe
---@param opts? caisson.oci.Export
---@return table|nil config, caisson.oci.Exported|string, integer? errno  message and errno where it can't be told
function M.config(recipe, opts)
  opts = opts or {}
  local x = setmetatable({ warnings = {}, errors = {}, files = {}, without = {}, covers = {}, said = {}, new = {}, trees = {},
    config = { process = {}, root = {}, mounts = {},
      linux = { namespaces = {} } } }, X)
  for _, name in ipairs(opts.without or {}) do x.without[name] = true end
  local ok, e = xpcall(function() export(x, recipe, opts) end, function(e)
    return type(e) == "string" and e or tostring(e)
  end)
  if not ok then return nil, e, core.errno.EINVAL end
  if #x.errors > 0 then
    return nil, "the recipe says what a configuration can't:\n  " .. table.concat(x.errors, "\n  "), core.errno.EOPNOTSUPP
  end
  x.config.ociVersion = version(x.config)
  local good, message = require("caisson.oci.document").check(x.config)
  if not good then return nil, message, core.errno.EINVAL end
  return x.config, { warnings = x.warnings, files = x.files }
end

-- ---- the bundle ----

-- Make what the bundle holds in its directory. Returns true | nil, message, errno.
local function make(at, files)
  for _, f in ipairs(files) do
    local ok, message, errno
    if f.type == "dir" then
      ok, message, errno = core.mkdir { path = "/" .. f.path, mode = f.mode, root = at }
    elseif f.type == "link" then
      ok, message, errno = core.symlink { at = "/" .. f.path, target = f.target, root = at }
    else
      ok, message, errno = core.file { path = "/" .. f.path, data = f.data, mode = f.mode, root = at }
    end
    if not ok then return nil, message, errno end
  end
  return true
end

-- Take away what make() has made, whatever of it there is.
local function unmake(dir, files)
  local paths, seen = {}, {}
  for _, f in ipairs(files) do
    local path = f.path
    while path and not seen[path] do
      seen[path] = true
      paths[#paths + 1] = path
      path = path:match("^(.*)/")
    end
  end
  table.sort(paths, function(a, b) return #a > #b end)
  for _, path in ipairs(paths) do os.remove(dir .. "/" .. path) end
end

---Write a recipe's container as a bundle: DIR/config.json, its root and files. The directory is made, or empty.
---@param recipe caisson.Recipe
---@param dir string
---@param opts? caisson.oci.Export
---@return string[]|nil warnings, string? message, integer? errno
function M.write(recipe, dir, opts)
  local config, exported, errno = M.config(recipe, opts)
  if not config then return nil, exported, errno end
  local text, message = require("caisson.oci.document").encode(config)
  if not text then return nil, message, core.errno.EINVAL end
  local parent, name = dir:gsub("(.)/+$", "%1"):match("^(.-)([^/]+)$")
  local above
  above, message, errno = core.open(parent == nil and dir or parent == "" and "." or parent, { "path", "directory" })
  if not above then return nil, message, errno end
  local made = name and core.files.mkdir(above, name, 493)
  above:close()
  local at
  at, message, errno = core.open(dir, { "read", "directory" })
  if not at then return nil, message, errno end
  local there = core.list(dir)
  if there and #there > 0 then
    at:close()
    return nil, ("%s: there is something in it, and a bundle has a directory of its own"):format(dir), core.errno.ENOTEMPTY
  end
  table.insert(exported.files, { path = "config.json", type = "file", data = text, mode = 420 })
  local ok
  ok, message, errno = make(at, exported.files)
  at:close()
  if ok then return exported.warnings end
  unmake(dir, exported.files)
  if made then os.remove(dir) end
  return nil, ("%s: %s"):format(dir, message), errno
end

return M
