-- From what a container is (a recipe's options) to how it is built (a plan in named phases).
local core = require "caisson.core"
local config = require "caisson.config"
local mounts = require "caisson.mounts"
local payload = require "caisson.payload"
local plan_module = require "caisson.plan"
local words = require "caisson.words"

local M = {}

-- The options of a recipe, and how they mix when one recipe extends another: a list is appended to, a
-- map merged, any other value replaced.
M.options = {
  root = "value", readonly_root = "value", namespaces = "map", idmap = "value", mounts = "list",
  masked = "list", readonly = "list", devices = "list", hostname = "value", domainname = "value",
  sysctl = "map", cgroup = "map", rlimits = "map", seccomp = "value", seccomp_listener = "value",
  seccomp_notify = "value", landlock = "value",
  capabilities = "value", securebits = "value", no_new_privs = "value", user = "value", cwd = "value",
  env = "map", args = "value", umask = "value", personality = "value", oom_score_adj = "value",
  nice = "value", scheduler = "value", ioprio = "value", affinity = "value", session = "value",
  tty = "value", init = "value", die_with_parent = "value", limits = "map", hooks = "hooks",
  stdin = "value", stdout = "value", stderr = "value", keyring = "value", loopback = "value",
  time_offsets = "value", propagation = "value", limit_userns = "value", result = "value",
  no_pivot = "value", root_propagation = "value", mount_label = "value", apparmor = "value", selinux = "value",
  memory_policy = "value", core_scheduling = "value", rdt = "value", console = "value", annotations = "map",
  ptrace = "value", trace = "value", mount_namespace = "value",
  network = "list", routes = "list", environ = "value", mix = "list", accept = "map",
}

-- A builder: the plan so far, and what the options mean for the steps to come.
local B = {}
B.__index = B

local function key_of(...)
  return table.concat({ ... }, "/")
end

-- Add a step that the option at key asked for. Whether core takes it shows when the plan is compiled.
function B:step(key, name, options, extra)
  -- what no option asked for is the recipe's as a whole
  local e = { phase = self.phase, key = key, origin = self.origins[key] or self.origins[key:match("^[^/]*")]
    or { recipe = self.recipe, path = {} } }
  if extra then
    for k, v in pairs(extra) do e[k] = v end
  end
  local step = plan_module.unchecked(name, options, e)
  self.plan.steps[#self.plan.steps + 1] = step
  return step
end

-- "at: mounts[3]: message" of an option, wherever it was said.
local function blame(key, at, message)
  return words.message((at and at .. ": " or "") .. (key and key:gsub("/(%d+)", "[%1]"):gsub("/", ".") .. ": " or "") .. message)
end

function B:fail(key, message)
  local origin = self.origins[key] or self.origins[key:match("^[^/]*")]
  error(blame(key, origin and origin.recipe:locate(origin.path), message), 0)
end

-- Compile the finished plan: built.compiled and built.functions. Raises with the option that asked for a
-- step that core refuses.
function B:compile()
  local ok
  ok, self.compiled, self.functions = pcall(self.plan.compile, self.plan)
  if ok then
    for name, fn in pairs(self.attendants or {}) do
      self.functions = self.functions or {}
      self.functions[name] = fn
    end
    return
  end
  local i, message = self.plan:fault()
  if not i then error(self.compiled, 0) end
  local step = self.plan.steps[i]
  error(blame(step.key or step.step, plan_module.at(step), message), 0)
end

function B:check_type(key, value, ...)
  local kinds = { ... }
  for _, k in ipairs(kinds) do if type(value) == k then return value end end
  self:fail(key, table.concat(kinds, " or ") .. " expected, got " .. type(value))
end

-- The names of a list as a set; lists of constants are asked for again and again.
local sets = setmetatable({}, { __mode = "k" })
local function set_of(list)
  local set = sets[list]
  if not set then
    set = {}
    for _, name in ipairs(list) do set[name] = true end
    sets[list] = set
  end
  return set
end

function B:check_keys(key, t, known)
  self:check_type(key, t, "table")
  local is_known = set_of(known)
  for k in pairs(t) do
    if not is_known[k] then self:fail(key, words.unknown("unknown option", tostring(k), known)) end
  end
end

-- ---- phases ----

local namespace_names = { "user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time" }

-- namespaces = { pid = true, net = "/run/netns/x", user = false, … }; "new" and true are one.
local function namespaces(b)
  local o = b.options
  local new, join = {}, {}
  for k, v in pairs(o.namespaces or {}) do
    local known = false
    for _, n in ipairs(namespace_names) do known = known or n == k end
    if not known then b:fail("namespaces", words.unknown("unknown namespace", tostring(k), namespace_names)) end
    if v == true or v == "new" then
      new[k] = true
    elseif type(v) == "string" then
      join[k] = v
    elseif v ~= false then
      b:fail(key_of("namespaces", k), "true, false or the path of a namespace expected, got " .. type(v))
    end
  end
  -- Without root, a user namespace is what gives the right to make the others.
  if o.namespaces and o.namespaces.user == nil and b.identity.euid ~= 0 and not join.user then
    new.user = true
  end
  if o.mount_namespace ~= nil then
    b:check_type("mount_namespace", o.mount_namespace, "string")
    if not new.mount then b:fail("mount_namespace", "its root is made in a new one (namespaces.mount = true)") end
    if new.user or join.user then
      b:fail("mount_namespace", "none but the host's user namespace has the right to enter it")
    end
  end
  b.new, b.join = new, join
end

local function join_namespaces(b)
  b.phase = "join"
  if b.options.mount_namespace then
    b:step("mount_namespace", "keep", { path = b.options.mount_namespace, slot = "mount_namespace" }, { side = "child" })
  end
  for _, n in ipairs(namespace_names) do -- user first: it gives the rights for the others
    if b.join[n] then
      b:step(key_of("namespaces", n), "namespace.join", { path = b.join[n], namespaces = { n } }, { side = "child" })
    end
  end
end

local function clone(b)
  b.phase = "clone"
  local list = {}
  for _, n in ipairs(namespace_names) do
    -- a cgroup namespace is made once the process is in its cgroup, which is then its root
    if b.new[n] and not (n == "cgroup" and b.late_cgroup_namespace) then list[#list + 1] = n end
  end
  config.initial_affinity(b)
  payload.before_birth(b)
  b:step("namespaces", "clone", { namespaces = list, cgroup = b.cgroup_slot })
end

local function idmap(b)
  local o = b.options
  if not b.new.user then
    if o.idmap then b:fail("idmap", "id maps need a new user namespace (namespaces.user = true)") end
    if o.limit_userns then b:fail("limit_userns", "the limit is of a new user namespace (namespaces.user = true)") end
    return
  end
  b.phase = "idmap"
  if o.idmap == "range" then
    local ranges = require "caisson.ranges"
    local map, missing = ranges.map(b.identity)
    if not map then
      b:fail("idmap", ("no range of ids for this user (missing: %s); %s"):format(table.concat(missing, ", "),
        ranges.fix(b.identity)))
    end
    o.idmap = map
  end
  local map = o.idmap or {}
  b:check_keys("idmap", map, { "uid", "gid", "setgroups", "newuidmap", "newgidmap" })
  -- root's own ids would be the default, and with them the container's root the host's to files and sysctls
  if b.identity.euid == 0 and not (map.uid and map.gid) then
    b:fail(o.idmap and "idmap" or "namespaces", "as root a user namespace needs an id map that says whose ids it has: "
      .. "idmap = { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } }")
  end
  local uid = map.uid or { { b.identity.euid, b.identity.euid, 1 } }
  local gid = map.gid or { { b.identity.egid, b.identity.egid, 1 } }
  -- An ordinary user may map just itself, and then not set groups. The child does that on its own,
  -- without a turn of the parent's.
  local single = #uid == 1 and #gid == 1 and (uid[1][3] or uid[1].count) == 1 and (gid[1][3] or gid[1].count) == 1
    and (uid[1][2] or uid[1].outside) == b.identity.euid and (gid[1][2] or gid[1].outside) == b.identity.egid
  local alone = single and b.identity.euid ~= 0
  b.can_set_groups = not alone and map.setgroups ~= "deny"
  b:step("idmap", "idmap", { uid = uid, gid = gid,
    setgroups = map.setgroups or (alone and "deny" or nil),
    newuidmap = map.newuidmap, newgidmap = map.newgidmap }, alone and { side = "child" } or nil)
  -- Who is not in the map owns nothing inside, and so can make nothing there.
  local function covers(list, id)
    for _, m in ipairs(list) do
      local outside, count = m[2] or m.outside, m[3] or m.count
      if id >= outside and id < outside + count then return true end
    end
    return false
  end
  if not covers(uid, b.identity.euid) or not covers(gid, b.identity.egid) then
    if b.can_set_groups then b:step("idmap", "groups", { groups = {} }) end
    b:step("idmap", "gid", { gid = gid[1][1] or gid[1].inside })
    b:step("idmap", "uid", { uid = uid[1][1] or uid[1].inside })
  end
  if o.limit_userns then b:step("limit_userns", "namespace.limit", {}) end
end

local function time_offsets(b)
  local o = b.options
  if o.time_offsets then
    if not b.new.time then b:fail("time_offsets", "offsets need a new time namespace (namespaces.time = true)") end
    b.phase = "clone"
    b:step("time_offsets", "time_offsets", o.time_offsets)
  end
end

-- The points between the mounts and pivot_root, as the OCI runtime specification has them.
local function runtime_hooks(b)
  b:hook("prestart")
  b:hook("createRuntime")
  b:hook("createContainer")
end

-- The same alone, for a container that is there already: what fields has (options, identity, new) is what of
-- a builder a mount asks for. Returns the builder, whose plan has the steps. Raises what is wrong.
function M.mount(fields, key, m)
  local b = { origins = {}, recipe = { locate = function() end }, plan = plan_module.new(), phase = "rootfs" }
  for k, v in pairs(fields) do b[k] = v end
  mounts.entry(setmetatable(b, B), key, m)
  return b
end

local function system(b)
  local o = b.options
  b.phase = "system"
  if o.hostname then b:step("hostname", "hostname", { name = o.hostname }) end
  if o.domainname then b:step("domainname", "domainname", { name = o.domainname }) end
  if o.loopback and not b.new.net then b:fail("loopback", "it is of a new network namespace (namespaces.net = true)") end
  if b.new.net and o.loopback ~= false then b:step("loopback", "net.loopback", {}) end
  local names = {}
  for name in pairs(o.sysctl or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    b:step(key_of("sysctl", name), "sysctl", { name = name, value = tostring(o.sysctl[name]) })
  end
end

-- ---- the program ----

-- The program's uid and gid inside.
function B:payload_ids() return payload.ids(self) end

-- Who wants it to run when it is created, and has nothing to do in between, needs no wait.
local function starts_at_once(b)
  local o = b.options
  if b.wait ~= "at once" or o.tty or o.init or o.seccomp_listener then return false end
  for _, list in pairs(o.hooks or {}) do
    if #list > 0 then return false end
  end
  return true
end

local function attributes(b)
  local o = b.options
  b.phase = "process"
  if o.session ~= false then b:step("session", "session", {}) end
  if o.tty then
    if not o.console then b:step("tty", "pty", payload.terminal_options(b)) end
    b:step("tty", "send", { fd = "pty" })
    b:step("tty", "tty", { fd = "tty" })
  end
  for _, name in ipairs { "keyring", "rlimits", "umask", "personality", "oom_score_adj", "nice", "scheduler", "ioprio",
    "affinity", "memory_policy", "core_scheduling" } do
    -- who waits for its start needs room for what starts it
    if not (b.wait and name == "rlimits") then payload.attribute(b, name) end
  end
  if starts_at_once(b) then
    -- before it outlives its host it has to be written down, which its host may do long before
    b.at_once = plan_module.call(function(pid) return b.write_down(pid) end,
      { name = "written down", side = "parent", phase = b.phase, at = "?" })
    b.plan.steps[#b.plan.steps + 1] = b.at_once
    payload.attribute(b, "rlimits")
  elseif b.wait then -- its hooks are run by who starts it
    b:step("args", "wait", { start = "start" })
    payload.attribute(b, "rlimits")
  else
    b:hook("startContainer")
  end
end

local function credentials(b)
  local o = b.options
  b.phase = "policy"
  -- while /proc/thread-self is still this process's own to write
  payload.attribute(b, "selinux")
  payload.attribute(b, "apparmor")
  local late = payload.confines_late(b)
  local function confine()
    if o.ptrace then require("caisson.trace").by_host(b) end
    if o.trace then require("caisson.trace").filter(b) end
    if b.explain then require("caisson.explain").filter(b) end
    payload.confinement(b)
  end
  if not late then confine() end
  payload.credentials(b)
  b.phase = "policy"
  if o.no_new_privs ~= false then b:step("no_new_privs", "no_new_privs", {}) end
  if late then
    confine()
    payload.let_go(b)
  end
end

-- ---- hooks ----

local hook_points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }
local child_points = { createContainer = true, startContainer = true }

-- In a pid namespace that others are in already, a hook's process, which is this program with all its rights, is one
-- that they may see, and trace if they have the capability (CVE-2019-5736: its program is then theirs to overwrite).
local function nobody_traces(b, point)
  if not b.join.pid or b.new.user or b.join.user then return end
  local pid = require("caisson.join").tracer(b.join.pid)
  if pid then
    b:fail("hooks", ("%s runs in a pid namespace in which process %d may trace it (CAP_SYS_PTRACE) and overwrite this program; "
      .. "give one of the containers a user namespace, or that one no such capability"):format(point, pid))
  end
end

-- The hooks of a point as steps, here in the plan.
function B:hook(point)
  if child_points[point] and (self.options.hooks[point] or {})[1] then nobody_traces(self, point) end
  for i, h in ipairs(self.options.hooks[point] or {}) do
    local name = ("hooks.%s[%d]"):format(point, i)
    self.plan.steps[#self.plan.steps + 1] = plan_module.call(
      require("caisson.hooks").step(h.hook, point, self), { name = name, phase = "hooks",
        side = child_points[point] and "child" or "parent", origin = h.origin, at = not h.origin and "?" or nil })
  end
end

local function check_hooks(b)
  local hooks = require "caisson.hooks"
  for point, list in pairs(b.options.hooks or {}) do
    local known = false
    for _, p in ipairs(hook_points) do known = known or p == point end
    if not known then error(words.unknown("hooks: unknown point", tostring(point), hook_points), 0) end
    for i, h in ipairs(list) do
      local ok, message = hooks.check(h.hook)
      if not ok then
        local at = h.origin.recipe:locate(h.origin.path)
        error(("%shooks.%s[%d]: %s"):format(at and at .. ": " or "", point, i, message), 0)
      end
    end
  end
end

-- ---- all of it ----

local limit_names = { "time", "cpu", "output" }
local is_limit = { time = true, cpu = true, output = true }

-- Limits of a run: seconds, seconds of CPU, bytes. Returns true | nil, key, message.
function M.check_limits(limits)
  if type(limits) ~= "table" then return nil, "", "table expected, got " .. type(limits) end
  for k, v in pairs(limits) do
    if not is_limit[k] then return nil, "", words.unknown("unknown option", tostring(k), limit_names) end
    if type(v) ~= "number" or not (v >= 0) then
      return nil, k, "a number from 0 on expected, got " .. tostring(v)
    end
  end
  return true
end

-- What no primitive checks, since no step is made of it or since it decides which steps are made.
local function check_shapes(b)
  local o = b.options
  for name, kind in pairs(M.options) do
    local v = o[name]
    if kind == "list" and v ~= nil then
      b:check_type(name, v, "table")
      local n = 0
      for k in pairs(v) do
        n = n + 1
        if type(k) ~= "number" then b:fail(name, ("a list expected, got the name '%s'"):format(words.show(k))) end
      end
      if n ~= #v then b:fail(name, "a list without holes expected, from 1 on") end
    end
  end
  for _, name in ipairs { "namespaces", "sysctl", "rlimits", "env", "annotations", "accept" } do
    if o[name] ~= nil then b:check_type(name, o[name], "table") end
  end
  for _, name in ipairs { "readonly_root", "no_new_privs", "session", "limit_userns", "loopback",
    "no_pivot", "console" } do
    if o[name] ~= nil then b:check_type(name, o[name], "boolean") end
  end
  for rule, reason in pairs(o.accept or {}) do -- `caisson check` reads it
    b:check_type(key_of("accept", tostring(rule)), reason, "string")
    if type(rule) ~= "string" then b:fail("accept", "names of rules and reasons expected, got " .. tostring(rule)) end
  end
  if o.mount_label ~= nil then
    b:check_type("mount_label", o.mount_label, "string")
    if o.mount_label:find "%z" or #o.mount_label > 1023 then b:fail("mount_label", "a label of SELinux's expected") end
  end
  if o.result ~= nil then b:check_type("result", o.result, "function") end
  if o.limits ~= nil then
    local ok, key, message = M.check_limits(o.limits)
    if not ok then b:fail(key == "" and "limits" or key_of("limits", key), message) end
  end
end

-- A builder of other plans than a recipe's own: its options, plan, identity, ... No option has an origin.
function M.builder(fields)
  fields.origins, fields.phase = {}, ""
  fields.recipe = { locate = function() return nil end }
  return setmetatable(fields, B)
end

-- The plan of merged options. origins: who said what; recipe: the outermost; opts: files (slots for
-- descriptors 0, 1, 2, …), wait (the program waits for its start: caisson.container; "at once": unless it need not).
function M.plan(options, origins, recipe, opts)
  local b = setmetatable({ options = options, origins = origins, recipe = recipe, plan = plan_module.new(),
    identity = core.identity(), files = opts.files, window = opts.window, phase = "", id = opts.id,
    bundle = opts.bundle or recipe.bundle, wait = opts.wait }, B)
  check_hooks(b)
  check_shapes(b)
  if b.wait then require("caisson.container.create").prepare(b) end
  config.annotations(b)
  namespaces(b)
  if options.cgroup then require("caisson.cgroup").before_clone(b) end
  join_namespaces(b)
  clone(b)
  if options.cgroup then require("caisson.cgroup").after_clone(b) end
  if options.trace then require("caisson.trace").after_clone(b) end
  if opts.explain then require("caisson.explain").after_clone(b) end
  config.rdt(b)
  idmap(b)
  time_offsets(b)
  if options.network or options.routes then require("caisson.network").build(b) end
  mounts.steps(b, runtime_hooks)
  system(b)
  attributes(b)
  credentials(b)
  payload.exec(b)
  options.no_setuid = b.no_setuid -- for those that join
  return b
end

return M
