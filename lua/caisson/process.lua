-- Another process in a running container.
--
-- The runner that makes it joins the container's namespaces, with one setns(2), and takes the process's final
-- credentials; only then is the process born into the container's pid namespace, with memory of its own. So what is
-- in there can't see, signal or trace it before it has dropped its privileges (CVE-2016-9962), and whoever may trace
-- it afterwards has nothing in hand but what the program will have.
--
-- What the specification does not say is as the container has it: options of its recipe.
local core = require "caisson.core"
local build = require "caisson.build"
local config = require "caisson.config"
local join = require "caisson.join"
local payload = require "caisson.payload"
local plan_module = require "caisson.plan"
local words = require "caisson.words"

local M = {}

---@class caisson.process.Target     the container
---@field pid integer                of a process in it, its first
---@field pidfd integer|caisson.core.Fd   of the same
---@field cgroup? caisson.cgroup.Groups
---@field options table              of its recipe, as built
---@field paused? boolean            whether it is, where that is known
---@field id? string
---@field bundle? string             for the agent of a filter, like the next
---@field annotations? table<string, string>

---@class caisson.process.Spec       what is left out is as the container has it
---@field args string|string[]       looked up in PATH inside
---@field env? table<string, string|number|false>  added to the container's; false: not that one. HOME is what
---  /etc/passwd inside has for the uid, where it is not said
---@field environ? string[]          "NAME=value" each: all of it, as it is; env is added to that
---@field user? integer|{ uid: integer, gid?: integer, groups?: integer[] }  numbers inside, never names
---@field cwd? string|{ path: string, privileged?: boolean }  inside; refused where it leads out of the root ("/")
---@field stdin? any                 as in caisson.run.start: "inherit", "null", "pipe", "capture", a function that gets
---  the chunks, { file = }, { data = }, a descriptor
---@field stdout? any
---@field stderr? any                also "stdout"
---@field files? (integer|caisson.core.Fd|false)[]  descriptors 3, 4, …; false: closed, as are all others
---@field tty? boolean|{ rows?: integer, columns?: integer }  a terminal of the container's own devpts
---@field console_socket? integer|caisson.core.Fd|string  a connected unix socket, or the path of one to connect to, that
---  the terminal's other side is sent over; else it is the running object's `pty`
---@field pidfd_socket? integer|caisson.core.Fd|string     the same for a pidfd of the process
---@field capabilities? table        a list, or the five sets
---@field securebits? string[]
---@field no_new_privs? boolean
---@field apparmor? string|false     profile
---@field selinux? string|false      label
---@field seccomp? any               a policy, a program, or a list of them; false: none
---@field seccomp_listener? { path: string, metadata?: string }  the agent for calls with action notify
---@field seccomp_notify? table<string, function|number>  functions that answer for calls: caisson.notify
---@field landlock? table|false
---@field rlimits? table<string, any>  all 16; added to the container's
---@field umask? string|false
---@field personality? table|string|false
---@field oom_score_adj? integer|false
---@field nice? integer|false
---@field scheduler? table|string|false
---@field ioprio? table|string|false
---@field affinity? string|false|{ initial?: string, final?: string }
---@field memory_policy? table|false
---@field core_scheduling? boolean|table  where the container has it, its cookie is shared
---@field keyring? boolean|string|table
---@field cgroup? string|table<string, string>  a path below the container's groups, made where it is missing; on v1
---  also by controller
---@field session? boolean           a session of its own (true)
---@field detach? boolean            it stays when the caller has gone
---@field ignore_paused? boolean     into a paused container too: it runs, and start() comes back, once that is resumed
---@field limits? { time?: number, cpu?: number, output?: integer }

-- Options that a process takes from its container's recipe.
local inherited = { "user", "cwd", "environ", "capabilities", "securebits", "no_new_privs", "seccomp", "landlock", "umask",
  "personality", "oom_score_adj", "nice", "scheduler", "ioprio", "affinity", "keyring", "apparmor", "selinux",
  "memory_policy", "core_scheduling" }
local own = { "args", "env", "stdin", "stdout", "stderr", "files", "tty", "console_socket", "pidfd_socket", "rlimits",
  "seccomp_listener", "seccomp_notify", "cgroup", "session", "detach", "ignore_paused", "limits" }

local keys = {}
for _, k in ipairs(own) do keys[#keys + 1] = k end
for _, k in ipairs(inherited) do keys[#keys + 1] = k end
table.sort(keys)

local function fail(key, message) error(key .. ": " .. message, 0) end

local function merge(base, over)
  local t = {}
  for k, v in pairs(type(base) == "table" and base or {}) do t[k] = v end
  for k, v in pairs(over or {}) do t[k] = v end
  return t
end

-- The options of the process: the specification's, then the container's.
local function options_of(spec, target)
  local container = target.options or {}
  for k in pairs(spec) do
    local known = false
    for _, name in ipairs(keys) do known = known or name == k end
    if not known then error(words.unknown("unknown option", tostring(k), keys), 0) end
  end
  local o = {}
  for _, k in ipairs(own) do o[k] = spec[k] end
  for _, k in ipairs(inherited) do
    local v = spec[k]
    if v == nil then v = container[k] end
    if v ~= false or k == "no_new_privs" then o[k] = v end
  end
  for _, k in ipairs { "env", "rlimits", "files", "limits" } do
    if spec[k] ~= nil and type(spec[k]) ~= "table" then fail(k, "table expected, got " .. type(spec[k])) end
  end
  for _, k in ipairs { "session", "detach", "ignore_paused", "no_new_privs" } do
    if o[k] ~= nil and type(o[k]) ~= "boolean" then fail(k, "boolean expected, got " .. type(o[k])) end
  end
  if o.limits then
    local ok, key, message = build.check_limits(o.limits)
    if not ok then fail(key == "" and "limits" or "limits." .. key, message) end
  end
  -- the container's additions are to what the container has
  o.env, o.rlimits = spec.environ and spec.env or merge(container.env, spec.env), merge(container.rlimits, spec.rlimits)
  o.cwd = o.cwd or "/"
  if spec.affinity == nil and type(o.affinity) == "table" and o.affinity.joined then o.affinity = o.affinity.joined end
  if spec.seccomp == nil and o.seccomp_listener == nil and o.seccomp_notify == nil then
    o.seccomp_listener = container.seccomp_listener
  end
  if spec.core_scheduling == nil and o.core_scheduling then o.core_scheduling = { share = target.pid } end
  if o.detach then o.die_with_parent = false end
  o.hooks = {}
  return o
end

-- ---- the plan ----

-- The creator joins the container, and becomes somebody whom its user namespace knows.
local function enter(b, found)
  local list, identity, groups = join.steps(found)
  if not list then error(identity, 0) end
  for _, s in ipairs(list) do
    b.phase = (s.step == "groups" or s.step == "gid" or s.step == "uid") and "idmap" or "join"
    b:step(b.phase == "join" and "args" or "user", s.step, s.options)
  end
  b.identity = identity
  if found.is.user then b.can_set_groups = groups end
end

-- An open socket for the slot, or one connected to what listens at the path.
local function socket_slot(b, key, slot)
  local v = b.options[key]
  if v == nil then return nil end
  if type(v) == "string" then
    local dir, name = v:match("^(.*)/([^/]+)$")
    if not dir then b:fail(key, "a path with a directory, or a descriptor, expected, got '" .. words.show(v) .. "'") end
    local at, fd, message, errno
    at, message, errno = core.open(dir == "" and "/" or dir, { "path", "directory" })
    if at then
      fd, message, errno = core.socket.connect(at, name, "stream")
      at:close()
    end
    if not fd then error({ key .. ": " .. message, errno }, 0) end
    b.keep[#b.keep + 1] = fd
    v = fd
  elseif type(v) ~= "number" and type(v) ~= "userdata" then
    b:fail(key, "a descriptor, or the path of a socket, expected, got " .. type(v))
  end
  b.slots[slot] = v
  return slot
end

local function cgroup_steps(b, list, side)
  b.phase = "cgroup"
  for _, s in ipairs(list) do b:step("cgroup", s.step, s.options, { side = side or s.side }) end
end

local function terminal(b)
  local o = b.options
  if o.console_socket ~= nil and not o.tty then b:fail("console_socket", "the process has no terminal (tty = true)") end
  if not o.tty then return end
  b.phase = "process"
  b:step("tty", "pty", payload.terminal_options(b))
  local socket = socket_slot(b, "console_socket", "console")
  if socket then
    b:step("console_socket", "pass.fd", { fd = "pty", socket = socket, name = "/dev/ptmx" })
  else
    b:step("tty", "send", { fd = "pty" })
  end
end

-- What the container's filters don't allow is not needed any more: descriptors of the creator, which the process
-- must not even have at birth.
local function close_others(b, groups)
  local list = {}
  for name in pairs(b.slots) do
    if not b.for_program[name] then list[#list + 1] = name end
  end
  if b.options.tty then list[#list + 1] = "pty" end
  for _, s in ipairs(groups and groups.before or {}) do list[#list + 1] = s.options.slot end
  table.sort(list)
  b:step("args", "close", { slots = list })
end

local function files(b)
  local o = b.options
  if not o.files then return end
  local n = 0
  for i in pairs(o.files) do
    if type(i) ~= "number" or i < 1 or i % 1 ~= 0 or i > 1000 then b:fail("files", "a list of descriptors expected") end
    n = math.max(n, i)
  end
  local list = b.files or { "stdin", "stdout", "stderr" }
  for i = 1, n do
    local fd = o.files[i]
    if fd then
      if type(fd) ~= "number" and type(fd) ~= "userdata" then
        b:fail("files", ("item %d: a descriptor, or false, expected, got %s"):format(i, type(fd)))
      end
      local name = "file" .. (2 + i)
      b.slots[name], b.for_program[name] = fd, true
      list[3 + i] = name
    else
      list[3 + i] = "-"
    end
  end
  b.files = list
end

-- The order is libcontainer's, but for what only the born process can do, or its parent for it.
local function steps(b, found, groups)
  local o = b.options
  local parent = { side = "parent" }
  b.slots.target = b.target.pidfd
  if o.seccomp_listener ~= nil or o.seccomp_notify ~= nil then require("caisson.notify").before_join(b) end
  if groups then
    for slot, dir in pairs(groups.slots) do b.slots[slot] = dir end
    cgroup_steps(b, groups.before)
  end
  b.phase = "process"
  payload.attribute(b, "oom_score_adj") -- before it is not dumpable, and its files in /proc are root's
  payload.raise_limits(b)
  payload.attribute(b, "core_scheduling") -- by a pid out here
  config.initial_affinity(b)
  if groups then cgroup_steps(b, groups.after) end
  enter(b, found)
  b.phase = "process"
  payload.attribute(b, "keyring")
  terminal(b)
  b.phase = "policy"
  if o.no_new_privs ~= false then b:step("no_new_privs", "no_new_privs", {}) end
  b.phase = "process"
  payload.attribute(b, "umask")
  payload.attribute(b, "nice")
  -- the rights to some are the host's alone
  local late = payload.is_born_without(o.scheduler) or found.is.user and core.identity().euid == 0
  if not late then payload.attribute(b, "scheduler") end
  payload.attribute(b, "ioprio")
  payload.attribute(b, "memory_policy")
  b.phase = "policy"
  payload.attribute(b, "selinux")
  local confined_late = payload.confines_late(b)
  if not confined_late then payload.confinement(b) end
  payload.credentials(b)
  b.phase = "policy"
  payload.attribute(b, "apparmor")
  b.phase = "process"
  payload.attribute(b, "personality")
  files(b)
  local pidfd_socket = socket_slot(b, "pidfd_socket", "pidfd_socket")
  close_others(b, groups)

  b.phase = "clone"
  b:step("args", "clone", { copy = true, cgroup = groups and groups.slot })
  if b.unsent then b.unsent:send() end
  if groups then cgroup_steps(b, groups.born) end
  b.phase = "process"
  if pidfd_socket then b:step("pidfd_socket", "pass.pidfd", { socket = pidfd_socket }, parent) end
  local rdt = (b.target.options or {}).rdt
  if rdt then b:step("rdt", "resctrl", { group = rdt.group or b.target.id, existing = true }, parent) end
  if late then payload.attribute(b, "scheduler", parent) end
  payload.attribute(b, "affinity", parent)
  if o.session ~= false then b:step("session", "session", {}) end
  if o.tty then b:step("tty", "tty", { fd = "tty" }) end
  payload.attribute(b, "rlimits") -- not its creator's, which has to make it
  if confined_late then
    payload.confinement(b)
    payload.let_go(b)
  end
  payload.exec(b)
end

-- ---- starting ----

local function refused(message, errno, step)
  errno = errno or core.errno.EINVAL
  return nil, message, errno, { step = step or "process", errno = errno, code = core.errno.name(errno),
    detail = message, status = "failed" }
end

local function is_paused(target)
  if target.paused ~= nil then return target.paused end -- who has just looked
  return target.cgroup ~= nil and (target.cgroup:frozen()) == true
end

-- Build the plan of the process. Returns { plan, compiled, options, slots, … } | nil, message, errno, failure.
local function compile(target, spec, opts)
  local found, why, number = join.look(target)
  if not found then return refused(why, number) end
  local b
  local ok, e = pcall(function()
    local options = options_of(spec, target)
    b = build.builder { options = options, id = target.id, plan = plan_module.new(), target = target, window = opts.window,
      new = { user = found.is.user }, slots = {}, keep = {}, for_program = {},
      no_setuid = (target.options or {}).no_setuid }
    local groups
    if target.cgroup then
      groups = target.cgroup:join(options.cgroup)
    elseif options.cgroup then
      b:fail("cgroup", "the container has no group")
    end
    -- procfs, since what is on /proc inside does not know a process that is not in there yet
    local procfs, message, errno = core.open("/proc", { "path", "directory" })
    if not procfs then error({ message, errno }, 0) end
    b.keep[1], b.slots.procfs = procfs, procfs
    steps(b, found, groups)
    local right
    right, message = b.plan:check()
    if not right then error(message, 0) end
    b:compile()
  end)
  if ok then return b end
  for _, fd in ipairs(b and b.keep or {}) do fd:close() end
  if type(e) == "table" and e.key then return refused("cgroup: " .. e.message) end
  if type(e) == "table" then return refused(e[1], e[2]) end
  return refused(e)
end

-- Start a process in a container. opts: window ({ rows, columns } of its terminal), cancel (a descriptor: given up
-- when it becomes readable), log (a caisson.Logger), fail (for tests: { step = number, errno = }).
-- Returns the running process, an object as caisson.run.start's | nil, message, errno, failure.
---@param target caisson.process.Target
---@param spec caisson.process.Spec
---@param opts? table
---@return caisson.Running? running, string? message, integer? errno, table? failure
function M.start(target, spec, opts)
  if type(target) ~= "table" then error("process: a container expected, got " .. type(target), 2) end
  if type(spec) ~= "table" then error("process: a table of options expected, got " .. type(spec), 2) end
  opts = opts or {}
  local started = core.now()
  if not spec.ignore_paused and is_paused(target) then
    local _, message, errno, failure = refused("the container is paused: resume it first, or start with ignore_paused",
      core.errno.EBUSY)
    failure.container = "paused"
    return nil, message, errno, failure
  end
  local built, message, errno, failure = compile(target, spec, opts)
  if not built then return nil, message, errno, failure end
  built.joined = true
  local ok, running
  ok, running, message, errno, failure = pcall(require("caisson.run").launch, built,
    { slots = built.slots, cancel = opts.cancel, fail = opts.fail, log = opts.log }, started)
  for _, fd in ipairs(built.keep) do fd:close() end
  if not ok then return refused((tostring(running):gsub("^[^:]*:%d+: ", ""))) end
  if failure and failure.code == "ENOMEM" and failure.step == "clone" then
    -- so says a pid namespace whose first process is about to be gone
    local gone = core.poll({ { fd = target.pidfd, events = "r" } }, 1)
    if gone and gone[1] then
      return refused(("the container's process %d has ended"):format(target.pid), core.errno.ESRCH, failure.step)
    end
  end
  if running and built.options.detach then running.process:detach() end
  return running, message, errno, failure
end

return M
