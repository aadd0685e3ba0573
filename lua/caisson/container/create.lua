-- Creating a container: from a recipe to one that waits for its start, and its state on disk.
local core = require "caisson.core"
local hooks = require "caisson.container.hooks"
local processes = require "caisson.container.processes"
local state = require "caisson.state"
local words = require "caisson.words"

local errno = core.errno

local M = {}

-- ---- what differs in the plan ----

local wanted = { "cpu", "memory", "pids", "freeze" }

-- Of the builder b: groups to find the container's processes by, to freeze and to kill them, where they can be had.
function M.prepare(b)
  local o = b.options
  if o.limits and next(o.limits) ~= nil then
    b:fail("limits", "nobody watches a container that is created; they are for run (rlimits and cgroup hold here too)")
  end
  if o.result then b:fail("result", "nobody makes a result of a container that is created; it is for run") end
  for _, key in ipairs { "ptrace", "trace" } do
    if o[key] then b:fail(key, "a tracer ends with who starts it, and all that it traces with the tracer; it is for run") end
  end
  local cgroup = {}
  for k, v in pairs(o.cgroup and b:check_type("cgroup", o.cgroup, "table") or {}) do cgroup[k] = v end
  local accounting, has = {}, {}
  for _, list in ipairs { cgroup.accounting ~= nil and b:check_type("cgroup/accounting", cgroup.accounting, "table") or {},
    wanted } do
    for _, word in ipairs(list) do
      if not has[word] then accounting[#accounting + 1] = word end
      has[word] = true
    end
  end
  cgroup.accounting = accounting
  -- "*" is drawn now: the state names the groups before they are there
  local function own() return ("%s-%x-%x"):format(b.id:sub(1, 100), core.identity().pid, core.now() % 2 ^ 31) end
  if cgroup.driver == "systemd" then
    local systemd = require "caisson.systemd"
    if cgroup.scope == nil then cgroup.scope = "caisson-*.scope" end
    if type(cgroup.scope) == "string" then
      cgroup.scope = cgroup.scope:gsub("%*", systemd.escape(b.id:sub(1, 40)):gsub("%%", "%%%%") .. own():match("%-%x+%-%x+$"))
    end
  elseif cgroup.path == nil then
    cgroup.path = "caisson-*"
  end
  if type(cgroup.path) == "string" and cgroup.path:find("*", 1, true) then
    cgroup.path = cgroup.path:gsub("%*", (own():gsub("%%", "%%%%")))
  end
  o.cgroup = cgroup
end

-- The groups that will be made, as cgroup.reopen() takes them: how many directories are missing is what to remove.
local function planned_groups(compiled)
  local list = {}
  for i, g in ipairs(compiled and compiled.groups or {}) do
    if g.unit then break end -- one that is empty is removed by systemd itself
    local path, made = g.at .. "/" .. g.path, 0
    local at = g.at
    for name in g.path:gmatch("[^/]+") do
      at = at .. "/" .. name
      if not core.lstat(at) then made = made + 1 end
    end
    list[i] = { path = path, version = g.version, controllers = g.controllers, made = made, nodes = g.nodes }
  end
  return list
end

-- ---- what is saved of the options ----

-- What a process that joins takes from its container (caisson.process); seccomp is in the plan, as a program.
local kept = { "user", "cwd", "env", "environ", "capabilities", "securebits", "no_new_privs", "landlock", "rlimits", "umask",
  "personality", "oom_score_adj", "nice", "scheduler", "ioprio", "affinity", "keyring", "apparmor", "selinux",
  "memory_policy", "core_scheduling", "init", "tty", "seccomp_listener" }

-- As JSON can hold it: a table with names and positions has them all as strings.
local function plain(v, what)
  local kind = type(v)
  if kind == "table" then
    local t, named, list = {}, false, false
    for k in pairs(v) do
      if type(k) == "string" then named = true else list = true end
    end
    for k, item in pairs(v) do
      t[named and list and tostring(k) or k] = plain(item, what .. "." .. tostring(k))
    end
    return t
  elseif kind == "string" or kind == "number" or kind == "boolean" then
    return v
  end
  error(("%s: a %s can't be saved with the container"):format(what, kind), 0)
end

local function saved_options(built)
  local t = {}
  for _, name in ipairs(kept) do
    if built.options[name] ~= nil then t[name] = plain(built.options[name], name) end
  end
  t.no_setuid = built.no_setuid
  t.apart = built.options.mount_namespace and true
  t.filtered = built.plan:find("seccomp") ~= nil or nil
  return t
end

-- The options again, for caisson.process. plan: gives that of the container, which its filters are in.
-- Returns them | nil, message, errno.
function M.options(saved, plan)
  local function back(v)
    if type(v) ~= "table" then return v end
    local t = {}
    for k, item in pairs(v) do t[type(k) == "string" and k:find("^%d+$") and tonumber(k) or k] = back(item) end
    return t
  end
  local o, programs = {}, {}
  for k, v in pairs(saved) do o[k] = k == "env" and v or back(v) end
  if o.filtered then
    local p, message, number = plan()
    if not p then return nil, message, number end
    for _, s in p:each() do
      if s.step == "seccomp" then programs[#programs + 1] = s.options end
    end
    o.filtered = nil
  end
  if o.no_setuid then table.remove(programs, 1) end
  if #programs > 0 then o.seccomp = programs end
  return o
end

-- ---- creating ----

local known = { "id", "root", "params", "args", "default_args", "env", "bundle", "rootfs", "annotations",
  "stdin", "stdout", "stderr", "files", "slots", "process", "start", "window", "cancel", "fail", "log" }

local function refuse(message, number, failure)
  failure = failure or { step = "create", errno = number, code = errno.name(number), detail = message }
  failure.status = "failed"
  return nil, message, number, failure
end

local function check_opts(opts)
  if type(opts) ~= "table" then error("create: options expected, got " .. type(opts), 4) end
  for k in pairs(opts) do
    local found = false
    for _, name in ipairs(known) do found = found or name == k end
    if not found then error(words.unknown("create: unknown option", tostring(k), known), 4) end
  end
  local id = opts.id -- which has an error of its own
  opts.id = nil
  local ok, message = pcall(require("caisson.run").check_types, opts, "create")
  opts.id = id
  if not ok then error(message, 0) end
  for _, name in ipairs { "bundle", "rootfs" } do
    if opts[name] ~= nil and (type(opts[name]) ~= "string" or #opts[name] > 4096) then
      error(("create: %s: a path expected"):format(name), 4)
    end
  end
  if opts.annotations ~= nil then
    if type(opts.annotations) ~= "table" then error("create: annotations: table expected", 4) end
    for k, v in pairs(opts.annotations) do
      if type(k) ~= "string" or type(v) ~= "string" then error("create: annotations: strings expected", 4) end
    end
  end
end

-- What nobody would read.
local function unread_stream(opts, options)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    local v = opts[name]
    if v == nil then v = options[name] end
    if v == "capture" or type(v) == "function" then
      return name .. ": nobody reads it for a container that is created: use 'pipe', { file = } or a descriptor"
    end
  end
end

-- The directory, locked, with that state; one whose maker has died meanwhile is cleaned up.
local function take_directory(root, id, announce)
  local dir, message, number = state.create(root, id, announce)
  if dir or number ~= errno.EEXIST then return dir, message, number end
  if not require("caisson.container").remove_unfinished(root, id) then return nil, message, number end
  return state.create(root, id, announce)
end

-- What its removal needs to know before there is anything to be removed.
local function announcement(dir, built, opts)
  local s = { status = "creating", created = state.date(os.time()), bundle = built.bundle or "/",
    rootfs = opts.rootfs, owner = core.euid(),
    annotations = built.annotations, build = core.build, rdt = built.own_resctrl_group,
    scope = built.cgroup and built.cgroup.groups[1] and built.cgroup.groups[1].unit and {
      unit = built.cgroup.groups[1].unit, user = built.cgroup.groups[1].user } or nil,
    cgroup = planned_groups(built.cgroup) }
  if built.plan:find("link.move") then
    local network = require "caisson.container.network"
    s.network = network.moved(built.plan)
    built.hold_network = function(pid) return network.hold(dir, pid) end
  end
  return s
end

-- And what those need who find it when it is there; the plan has a file of its own. Returns true | nil, message, errno.
local function describe(dir, built, opts, s)
  local done, message = pcall(function()
    s.options = saved_options(built)
    s.recipe, s.hooks = hooks.describe(built, opts)
  end)
  if not done then return nil, tostring(message), errno.EINVAL end
  return dir:save_plan(built.plan:json(built.compiled))
end

-- Its first process, into the state. Returns true | nil, message, errno.
local function take_process(s, pid)
  local stat = processes.stat(pid)
  if not stat then return nil, "the container has ended", errno.ESRCH end
  s.pid, s.start_time = math.floor(pid), stat.start_time
  local now = core.namespaces(s.pid) or {}
  for kind, inode in pairs(s.namespaces or {}) do now[kind] = now[kind] or inode end -- of one that has ended by now
  s.namespaces = now
  return true
end

-- Are its namespaces not those that it begins with? Those of time come with its exec.
local function changes_namespaces(plan)
  for _, step in ipairs(plan.steps) do
    if step.step == "namespace.unshare" or step.step == "lua" and step.side == "child" then return true end
    for _, name in ipairs(step.step == "clone" and step.options.namespaces or {}) do
      if name == "time" then return true end
    end
  end
  return false
end

local function make(dir, built, opts, s, started)
  local slots, trouble = {}, nil
  for name, fd in pairs(opts.slots or {}) do slots[name] = fd end
  local running, ok, message, number, failure
  if not built.at_once then
    slots.start, message, number = core.socket.listen(dir.fd, "start")
    if not slots.start then return nil, message, number end
  end
  -- Who goes on by himself must be found from then on, whatever becomes of this process: he has groups perhaps, or none.
  local written = false
  local function write_down(pid)
    if written then return true end
    local saved, why, code = describe(dir, built, opts, s)
    if saved and built.at_once then
      saved, why, code = take_process(s, pid)
      if saved then saved, why, code = dir:save(s) end
    elseif saved then
      dir:prepare(s)
    end
    if not saved then trouble = { why, code } end
    require "caisson.cgroup.group"
    local launcher = package.loaded["caisson.launcher"]
    if launcher and launcher.forget then launcher.forget() end
    written = saved
    return saved, why, code
  end
  built.write_down = write_down
  running, message, number, failure = require("caisson.run").launch(built, { stdin = opts.stdin, stdout = opts.stdout,
    stderr = opts.stderr, slots = slots, cancel = opts.cancel, fail = opts.fail, log = opts.log,
    meanwhile = write_down }, started)
  if slots.start then slots.start:close() end
  if trouble then return nil, trouble[1], trouble[2] end
  if not running then return nil, message, number, failure end
  local done, why = pcall(function()
    local process = running.process
    if not s.pid or changes_namespaces(built.plan) then
      ok, message, number = take_process(s, process:pid())
      if not ok then error({ message, number }, 0) end
    end
    s.status = built.at_once and "running" or "created"
    if s.network then s.network = require("caisson.container.network").moved(built.plan, process) end
    if running.cgroup then
      s.cgroup, message, number = running.cgroup:save()
      if not s.cgroup then error({ message, number }, 0) end
    end
    ok, message, number = dir:save(s)
    if ok and not built.at_once then ok, message, number = process:keep() end
    if not ok then error({ message, number }, 0) end
  end)
  if not done then
    running:close()
    if type(why) ~= "table" then return nil, why, errno.ESRCH end
    return nil, why[1], why[2]
  end
  return running, s
end

-- The same of one that another program has made, whose first process opts.process(built, path of the directory) answers.
-- Returns true, state | nil, message, errno.
local function take_over(dir, built, opts, s)
  local done, message, number = describe(dir, built, opts, s)
  if not done then return nil, message, number end
  s.pid, message, number = opts.process(built, dir.path)
  if not s.pid then return nil, message, number or errno.ECANCELED end
  local stat = processes.stat(s.pid)
  if not stat then return nil, "the container has ended", errno.ESRCH end
  s.status, s.start_time, s.namespaces = "running", stat.start_time, core.namespaces(s.pid)
  local groups, ok
  groups, message, number = require("caisson.cgroup").reopen(s.cgroup)
  if groups then
    s.cgroup, message, number = groups:save()
    groups:close()
  elseif number == errno.ENOENT then
    s.cgroup = {}
  else
    s.cgroup = nil
  end
  if s.cgroup then ok, message, number = dir:save(s) end
  if not ok then
    core.signal.send(s.pid, "KILL")
    return nil, message, number
  end
  return true, s
end

---Make a container of a recipe that waits for its start. See caisson.create. Returns what runs, its state, what was
---built, nil, its directory | nil, message, errno, failure.
function M.create(recipe, opts)
  check_opts(opts)
  local started = core.now()
  local root, message, number = state.root(opts.root)
  if not root then return refuse(message, number) end
  local ok
  ok, message, number = state.check_id(opts.id)
  if not ok then return refuse(message, number) end
  local built
  built, message = recipe:build { params = opts.params, args = opts.args, default_args = opts.default_args, env = opts.env,
    files = opts.files, window = opts.window, id = opts.id, bundle = opts.bundle, annotations = opts.annotations,
    wait = opts.start and "at once" or true }
  if not built then return refuse(message, errno.EINVAL, { step = "recipe", errno = errno.EINVAL, code = "EINVAL" }) end
  if not built.plan:find(built.at_once or "wait") then
    return refuse("a saved plan has no place to wait for a start: create its recipe", errno.EINVAL)
  end
  if built.options.seccomp_listener then
    ok, message, number = require("caisson.notify").listens(built.options.seccomp_listener)
    if not ok then return refuse(message, number) end
  end
  message = unread_stream(opts, built.options)
  if message then return refuse(message, errno.EINVAL) end
  local failure
  if built.cgroup then
    ok, message, number, failure = require("caisson.cgroup").ready(built.cgroup, built.origins)
    if not ok then return refuse(message, number, failure) end
  end
  local dir, first, done
  done, dir, message, number = pcall(take_directory, root, opts.id, function(d)
    first = announcement(d, built, opts)
    return first
  end)
  if not done then return refuse(dir, errno.EINVAL) end
  if not dir then return refuse(message, number) end
  local running, s
  done, running, s, number, failure = pcall(opts.process and take_over or make, dir, built, opts, first, started)
  if not done or not running then
    dir:remove()
    if dir.fd then dir:unlock() end
    if not done then return refuse(running, errno.EINVAL) end
    return refuse(s, number, failure)
  end
  dir:unlock()
  return running, s, built, nil, dir
end

return M
