-- From what a container is (a recipe's options) to how it is built (a plan in named phases).
local core = require "caisson.core"
local config = require "caisson.config"
local payload = require "caisson.payload"
local plan_module = require "caisson.plan"
local words = require "caisson.words"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

-- The options of a recipe, and how they mix when one recipe extends another: a list is appended to, a
-- map merged, any other value replaced.
M.options = {
  root = "value", readonly_root = "value", namespaces = "map", idmap = "value", mounts = "list",
  masked = "list", readonly = "list", devices = "list", hostname = "value", domainname = "value",
  sysctl = "map", cgroup = "map", rlimits = "map", seccomp = "value", seccomp_listener = "value", landlock = "value",
  capabilities = "value", securebits = "value", no_new_privs = "value", user = "value", cwd = "value",
  env = "map", args = "value", umask = "value", personality = "value", oom_score_adj = "value",
  nice = "value", scheduler = "value", ioprio = "value", affinity = "value", session = "value",
  tty = "value", init = "value", die_with_parent = "value", limits = "map", hooks = "hooks",
  stdin = "value", stdout = "value", stderr = "value", keyring = "value", loopback = "value",
  time_offsets = "value", propagation = "value", limit_userns = "value", result = "value",
  no_pivot = "value", root_propagation = "value", mount_label = "value", apparmor = "value", selinux = "value",
  memory_policy = "value", core_scheduling = "value", rdt = "value", console = "value", annotations = "map",
  ptrace = "value", trace = "value",
  network = "list", routes = "list",
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
  return (at and at .. ": " or "") .. (key and key:gsub("/(%d+)", "[%1]"):gsub("/", ".") .. ": " or "") .. message
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
  if ok then return end
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

function B:check_keys(key, t, known)
  self:check_type(key, t, "table")
  for k in pairs(t) do
    local found = false
    for _, name in ipairs(known) do found = found or name == k end
    if not found then self:fail(key, words.unknown("unknown option", tostring(k), known)) end
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
  b.new, b.join = new, join
end

local function join_namespaces(b)
  b.phase = "join"
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

local function has(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

-- A mount's attributes: its own flags or else the kind's, on top of which writable, exec, suid and dev say
-- yes or no.
local attributes_of = { writable = "ro", exec = "noexec", suid = "nosuid", dev = "nodev" }

local function flag_words(b, key, m, default)
  local list, drop = {}, {}
  for name, word in pairs(attributes_of) do
    if m[name] ~= nil then drop[word] = b:check_type(key_of(key, name), m[name], "boolean") end
  end
  if m.flags ~= nil then b:check_type(key_of(key, "flags"), m.flags, "table") end
  for _, f in ipairs(m.flags or default) do if not drop[f] then list[#list + 1] = f end end
  for _, word in ipairs { "ro", "nosuid", "nodev", "noexec" } do
    if drop[word] == false and not has(list, word) then list[#list + 1] = word end
  end
  return list
end

-- What of the table a primitive takes.
local function pick(m, ...)
  local t = {}
  for _, k in ipairs { ... } do t[k] = m[k] end
  return t
end

local mount_kinds = {}

local function bind(b, key, m, source, recursive)
  local flags = flag_words(b, key, m, { "nosuid", "nodev" })
  if not m.writable and not has(flags, "ro") and not has(flags, "rw") then flags[#flags + 1] = "ro" end
  -- what is mounted below is no less protected than what is on top
  if recursive then for i, f in ipairs(flags) do flags[i] = "r" .. f end end
  local map = m.idmap
  if map == "user" then
    -- the directory's owner appears as the program's user
    local st = core.lstat(core.realpath(source) or source)
    local uid, gid = b:payload_ids()
    if st and b.identity.euid == 0 and not b.new.user and (st.uid ~= uid or st.gid ~= gid) then
      map = { { st.uid, uid, 1 } }
      if st.uid ~= st.gid or uid ~= gid then
        b:fail(key, "idmap = \"user\" needs the same number as uid and gid, of the owner and of the program's user")
      end
    else
      map = nil
    end
  end
  -- Outside, what the program writes there belongs to whom the map says, root maybe, or to who starts it.
  local writes = not has(flags, "ro") and not has(flags, "rro")
  if writes and (has(flags, "nosuid") or has(flags, "rnosuid")) -- suid = true: they are wanted
    and (map and not b.new.user or b.identity.euid ~= 0) then
    b.no_setuid = key
  end
  b:step(key, "mount.bind", { source = source, target = m.at or source, flags = flags, recursive = recursive or nil,
    idmap = map, propagation = m.propagation, nofollow = m.nofollow, fd = m.fd,
    target_nofollow = m.target_nofollow }, { optional = m.optional })
end

function mount_kinds.bind(b, key, m) bind(b, key, m, b:check_type(key, m.bind, "string"), true) end

function mount_kinds.fd(b, key, m) bind(b, key, m, nil, true) end

function mount_kinds.tmpfs(b, key, m)
  local o = pick(m, "size", "mode", "nr_inodes", "uid", "gid", "copyup", "options", "target_nofollow")
  o.label = m.label or b.options.mount_label
  o.target, o.flags = m.tmpfs, flag_words(b, key, m, { "nosuid", "nodev" })
  b:step(key, "mount.tmpfs", o, { optional = m.optional })
end

-- label: can its files have one?
local function filesystem(kind, label, default_flags, ...)
  local fields = { ... }
  mount_kinds[kind] = function(b, key, m)
    local o = pick(m, unpack(fields))
    o.target = b:check_type(key, m[kind], "string")
    if label then o.label = m.label or b.options.mount_label end
    o.flags = flag_words(b, key, m, default_flags)
    b:step(key, "mount." .. kind, o, { optional = m.optional })
  end
end

filesystem("proc", false, { "nosuid", "nodev", "noexec" }, "hidepid", "subset")
filesystem("sysfs", false, { "nosuid", "nodev", "noexec", "ro" })
filesystem("devpts", true, { "nosuid", "noexec" }, "mode", "gid", "target_nofollow")
filesystem("mqueue", true, { "nosuid", "nodev", "noexec" }, "target_nofollow")
filesystem("cgroup", false, { "nosuid", "nodev", "noexec", "ro" }, "target_nofollow")
filesystem("overlay", true, { "nosuid", "nodev" }, "lower", "upper", "work", "options", "target_nofollow")

function mount_kinds.fs(b, key, m)
  local o = pick(m, "type", "source", "options", "target_nofollow")
  o.label = m.label or b.options.mount_label
  o.target, o.flags = m.fs, flag_words(b, key, m, { "nosuid", "nodev" })
  b:step(key, "mount.fs", o, { optional = m.optional })
end

function mount_kinds.file(b, key, m)
  b:step(key, "file", { path = m.file, data = m.data or "", mode = m.mode }, { optional = m.optional })
end

function mount_kinds.symlink(b, key, m)
  b:step(key, "symlink", { target = m.symlink, at = m.at }, { optional = m.optional })
end

function mount_kinds.dir(b, key, m)
  b:step(key, "mkdir", { path = m.dir, mode = m.mode }, { optional = m.optional })
end

function mount_kinds.device(b, key, m)
  local o = pick(m, "type", "major", "minor", "mode")
  o.path = m.device
  b:step(key, "device", o, { optional = m.optional })
end

-- What each kind takes, beside itself and `optional`.
local with_flags = { "flags", "writable", "exec", "suid", "dev" }
local kind_keys = {
  bind = { "at", "idmap", "propagation", "nofollow", "target_nofollow", "fd", with_flags },
  fd = { "at", "idmap", "propagation", "target_nofollow", with_flags },
  tmpfs = { "size", "mode", "nr_inodes", "uid", "gid", "copyup", "options", "label", "target_nofollow", with_flags },
  proc = { "hidepid", "subset", with_flags },
  sysfs = { with_flags },
  devpts = { "mode", "gid", "label", "target_nofollow", with_flags },
  mqueue = { "label", "target_nofollow", with_flags },
  cgroup = { "target_nofollow", with_flags },
  overlay = { "lower", "upper", "work", "options", "label", "target_nofollow", with_flags },
  fs = { "type", "source", "options", "label", "target_nofollow", with_flags },
  file = { "data", "mode" },
  symlink = { "at" },
  dir = { "mode" },
  device = { "type", "major", "minor", "mode" },
}
for kind, keys in pairs(kind_keys) do
  if keys[#keys] == with_flags then
    keys[#keys] = nil
    for _, k in ipairs(with_flags) do keys[#keys + 1] = k end
  end
  keys[#keys + 1] = kind
  keys[#keys + 1] = "optional"
end

local kind_list = {}
for k in pairs(mount_kinds) do kind_list[#kind_list + 1] = k end
table.sort(kind_list)

-- The points between the mounts and pivot_root, as the OCI runtime specification has them.
local function runtime_hooks(b)
  b:hook("prestart")
  b:hook("createRuntime")
  b:hook("createContainer")
end

-- The steps of one entry of `mounts`.
local function mount(b, key, m)
  b:check_type(key, m, "table")
  local kind
  for _, k in ipairs(kind_list) do
    if m[k] ~= nil and not (k == "fd" and m.bind) then
      if kind then b:fail(key, ("one of %s expected, got both %s and %s"):format(table.concat(kind_list, ", "), kind, k)) end
      kind = k
    end
  end
  if not kind then b:fail(key, "what kind of mount? one of " .. table.concat(kind_list, ", ")) end
  b:check_keys(key, m, kind_keys[kind])
  mount_kinds[kind](b, key, m)
end

-- The same alone, for a container that is there already: what fields has (options, identity, new) is what of
-- a builder a mount asks for. Returns the builder, whose plan has the steps. Raises what is wrong.
function M.mount(fields, key, m)
  local b = { origins = {}, recipe = { locate = function() end }, plan = plan_module.new(), phase = "rootfs" }
  for k, v in pairs(fields) do b[k] = v end
  mount(setmetatable(b, B), key, m)
  return b
end

local default_devices = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty" }

local function mounts(b)
  local o = b.options
  if not b.new.mount then
    runtime_hooks(b)
    for _, k in ipairs { "root", "mounts", "devices", "masked", "readonly", "readonly_root", "propagation",
      "root_propagation", "no_pivot", "mount_label", "console" } do
      if o[k] then b:fail(k, "mounts need a new mount namespace (namespaces.mount = true)") end
    end
    return
  end
  b.phase = "rootfs"
  b:step("namespaces", "mount.propagation", { path = "/", propagation = o.propagation or "private", recursive = true })
  local root = o.root or {}
  if type(root) == "string" then root = { bind = root } end
  b:check_type("root", root, "table")
  if root.bind then
    b:check_keys("root", root, { "bind", "idmap", "flags" })
    if root.idmap and not b.new.user and o.readonly_root == false then b.no_setuid = "root" end
    b:step("root", "root.bind", { source = root.bind, recursive = true, idmap = root.idmap,
      flags = root.flags or { "nosuid", "nodev" } })
  elseif root.overlay then
    b:check_keys("root", root, { "overlay", "flags" })
    b:check_keys("root", root.overlay, { "lower", "upper", "work", "options" })
    local layers = pick(root.overlay, "lower", "upper", "work", "options")
    layers.flags, layers.label = root.flags or { "nosuid", "nodev" }, o.mount_label
    b:step("root", "root.overlay", layers)
  else
    b:check_keys("root", root, { "bind", "overlay", "size", "mode", "nr_inodes", "flags" })
    b:step("root", "root.tmpfs", { size = root.size or 1048576, mode = root.mode or "0755",
      nr_inodes = root.nr_inodes, label = o.mount_label, flags = root.flags or { "nosuid", "nodev" } })
  end
  for i, m in ipairs(o.mounts or {}) do mount(b, key_of("mounts", i), m) end
  if o.devices then
    b.phase = "devices"
    for i, d in ipairs(o.devices) do
      local key = key_of("devices", i)
      if d == "default" then
        for _, path in ipairs(default_devices) do b:step(key, "device", { path = path }) end
        for _, link in ipairs { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
          { "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" }, { "pts/ptmx", "/dev/ptmx" } } do
          b:step(key, "symlink", { target = link[1], at = link[2] })
        end
      else
        b:step(key, "device", type(d) == "string" and { path = d } or d)
      end
    end
  end
  b.phase = "rootfs"
  for i, path in ipairs(o.masked or {}) do b:step(key_of("masked", i), "mask", { path = path }) end
  for i, path in ipairs(o.readonly or {}) do b:step(key_of("readonly", i), "readonly", { path = path }) end
  config.procfs(b)
  runtime_hooks(b)
  b.phase = "pivot"
  -- an initramfs can't be pivoted
  b:step(o.no_pivot and "no_pivot" or "root", o.no_pivot and "root.move" or "pivot_root", {})
  if o.root_propagation then
    b:step("root_propagation", "mount.propagation", { path = "/", propagation = o.root_propagation })
  end
  if o.console then
    -- a place for it can be made as long as the root is writable
    if not o.tty then b:fail("console", "the console is the container's own terminal (tty = true)") end
    b:step("tty", "pty", payload.terminal_options(b))
    config.console(b)
  end
  if o.readonly_root ~= false then b:step("readonly_root", "root.readonly", {}) end
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
  if b.wait then -- its hooks are run by who starts it
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
  if o.no_new_privs == false then
    if o.ptrace then require("caisson.trace").by_host(b) end
    if o.trace then require("caisson.trace").filter(b) end
    payload.confinement(b)
  end
  payload.credentials(b)
  if o.cwd then b:step("cwd", "chdir", { path = o.cwd }) end
  b.phase = "policy"
  if o.no_new_privs ~= false then
    b:step("no_new_privs", "no_new_privs", {})
    if o.ptrace then require("caisson.trace").by_host(b) end
    if o.trace then require("caisson.trace").filter(b) end
    payload.confinement(b)
  end
end

-- ---- hooks ----

local hook_points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }
local child_points = { createContainer = true, startContainer = true }

-- The hooks of a point as steps, here in the plan.
function B:hook(point)
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

-- Limits of a run: seconds, seconds of CPU, bytes. Returns true | nil, key, message.
function M.check_limits(limits)
  if type(limits) ~= "table" then return nil, "", "table expected, got " .. type(limits) end
  for k, v in pairs(limits) do
    if not has(limit_names, k) then return nil, "", words.unknown("unknown option", tostring(k), limit_names) end
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
  for _, name in ipairs { "namespaces", "sysctl", "rlimits", "env", "annotations" } do
    if o[name] ~= nil then b:check_type(name, o[name], "table") end
  end
  for _, name in ipairs { "readonly_root", "no_new_privs", "session", "limit_userns", "loopback",
    "no_pivot", "console" } do
    if o[name] ~= nil then b:check_type(name, o[name], "boolean") end
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
-- descriptors 0, 1, 2, …), wait (the program waits for its start: caisson.container).
function M.plan(options, origins, recipe, opts)
  local b = setmetatable({ options = options, origins = origins, recipe = recipe, plan = plan_module.new(),
    identity = core.identity(), files = opts.files, window = opts.window, phase = "", id = opts.id,
    bundle = opts.bundle, wait = opts.wait }, B)
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
  config.rdt(b)
  idmap(b)
  time_offsets(b)
  if options.network or options.routes then require("caisson.network").build(b) end
  mounts(b)
  system(b)
  attributes(b)
  credentials(b)
  payload.exec(b)
  options.no_setuid = b.no_setuid -- for those that join
  return b
end

return M
