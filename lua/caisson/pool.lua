-- Containers made in advance, each of which runs many programs, one after the other.
--
--     local pool = caisson.pool { recipe = "sandbox", size = 4 }
--     local c = assert(pool:get())                      -- ready, and clean
--     local r = assert(c:exec { args = { "id" }, stdout = "capture" })
--     pool:put(c)                                       -- reset, or else destroyed
--
-- A recipe's plan is cut in two: what makes the container is done once, by a container whose process 1 is the
-- agent (core/agent.c); what makes the program is sent to the agent for each run.
local core = require "caisson.core"
local hooks = require "caisson.hooks"
local plan_module = require "caisson.plan"
local recipe_module = require "caisson.recipe"
local run = require "caisson.run"
local words = require "caisson.words"

local M = {}

---@class caisson.Pool
local Pool = {}
Pool.__index = Pool

---@class caisson.Pooled   a container of a pool
local Pooled = {}
Pooled.__index = Pooled

-- Where the program begins; all before is the container.
local program_phases = { process = true, policy = true, credentials = true, exec = true }

-- What a program may hold and yet leave nothing in the container's namespaces but files, IPC objects and keys:
-- no right over mounts, names, network or sysctls.
local harmless = { chown = true, dac_override = true, dac_read_search = true, fowner = true, fsetid = true, kill = true,
  net_bind_service = true, ipc_lock = true, sys_nice = true }

-- ---- the two halves of a recipe ----

-- Why a container can't be reset, with what its programs may do; nil where it can.
local function why_one_use(built)
  local o = built.options
  for _, name in ipairs { "mount", "ipc" } do
    if not built.new[name] then return ("it has no %s namespace of its own (namespaces.%s = true)"):format(name, name) end
  end
  if built:payload_ids() == 0 then return "its programs run as uid 0 inside (user)" end
  local caps = o.capabilities
  if caps == nil then return "its programs may get any capability (capabilities = {})" end
  for _, cap in ipairs((#caps > 0 or next(caps) == nil) and caps or caps.bounding or {}) do
    if not harmless[cap] then return ("its programs may get the capability %s (capabilities)"):format(tostring(cap)) end
  end
end

-- The list of steps as core.plan takes it, from i to j.
local function steps_of(plan, i, j)
  local list = {}
  for k = i, j do
    local s = plan.steps[k]
    list[#list + 1] = { step = s.step, options = s.options, side = s.side, optional = s.optional }
  end
  return list
end

-- Cut the plan of a built recipe. Returns where the program begins | nil, message.
local function cut(built)
  local steps = built.plan.steps
  local at = #steps
  for i, s in ipairs(steps) do
    if program_phases[s.phase] then
      at = i
      break
    end
  end
  for i = at, #steps do
    local s = steps[i]
    local side = s.side or core.primitives[s.step].side
    if s.step == "lua" or s.step:find("^ptrace") or side == "parent" then
      return nil, ("step %d, %s: what is done for each program of a pool is done by its agent: no Lua "
        .. "function, tracer or step of the host's side can be part of it"):format(i, s.step)
    end
  end
  return at
end

-- ---- a container ----

local function read(path)
  local f, message = io.open(path, "rb")
  if not f then return nil, message end
  local s = f:read("*a")
  f:close()
  return s
end

-- Mounts of a process: { at =, device = "0:45", type =, writable = }, topmost last.
local function mounts_of(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    local device, at, flags, kind, super = line:match("^%d+ %d+ (%d+:%d+) %S+ (%S+) (%S+) .-%- (%S+) %S+ ?(%S*)")
    if device then
      list[#list + 1] = { device = device, at = at:gsub("\\(%d%d%d)", function(n) return string.char(tonumber(n, 8)) end),
        type = kind, writable = ("," .. flags .. ","):find(",rw,", 1, true) ~= nil
          and ("," .. super .. ","):find(",rw,", 1, true) ~= nil }
    end
  end
  return list
end

local own_types = { tmpfs = true, ramfs = true, devpts = true, mqueue = true }
local no_files = { proc = true, sysfs = true }

-- Have the agent watch the mounts that are the container's own. What else its programs can write to is of the
-- host's files: they are returned by their paths. nil, message, errno.
local function watch_mounts(self)
  local table_now, message = read(("/proc/%d/mountinfo"):format(self.process:pid()))
  local hosts = read("/proc/self/mountinfo")
  if not (table_now and hosts) then return nil, message or "no /proc", core.errno.ENOENT end
  local of_host, devices, top, shared = {}, {}, {}, {}
  for _, m in ipairs(mounts_of(hosts)) do of_host[m.device] = true end
  for _, s in self.built.plan:each() do
    if s.step == "device" or s.step == "mask" then
      devices[type(s.options) == "table" and (s.options.path or s.options[1]) or s.options] = true
    end
  end
  local mounts = mounts_of(table_now)
  for _, m in ipairs(mounts) do top[m.at] = m end
  for _, m in ipairs(mounts) do
    if m.writable and top[m.at] == m and not no_files[m.type] and not devices[m.at] then
      if own_types[m.type] and not of_host[m.device] then
        local major, minor, errno = self.agent:own(m.at)
        if not major then return nil, minor, errno end
        if ("%d:%d"):format(major, minor) ~= m.device then
          return nil, m.at .. ": another mount stands in its way", core.errno.EBUSY
        end
      else
        shared[#shared + 1] = m.at
      end
    end
  end
  self.mount_table = table_now
  return shared
end

-- Hooks of the runtime's side around its life.
local function call_hooks(self, point, pid)
  for i, h in ipairs((self.built.options.hooks or {})[point] or {}) do
    local done, a, b = pcall(hooks.step(h.hook, point, self.built), pid)
    if not done or a == nil and type(b) == "string" then
      return nil, ("hooks.%s[%d]: %s"):format(point, i, tostring(done and b or a)), core.errno.ECANCELED
    end
  end
  return true
end

-- One container of what the pool builds. Returns it | nil, message, errno, failure.
local function make(pool)
  local built = pool.built
  local self = setmetatable({ pool = pool, built = built }, Pooled)
  if built.cgroup then
    local can, why, number, failure = require("caisson.cgroup").ready(built.cgroup, built.origins)
    if not can then return nil, why, number, failure end
  end
  local process, message, errno, failure = core.spawn { plan = pool.container_plan, functions = built.functions,
    slots = pool.container_slots }
  if not process then
    local step = failure.number and built.plan.steps[failure.number]
    if step and failure.number < pool.cut then failure.at, failure.phase = plan_module.at(step), step.phase end
    failure.hint = require("caisson.hints").find(failure, built)
    return nil, message, errno, failure
  end
  self.process = process
  local agent = core.agent.open(process)
  self.agent = agent
  self.spawn = function(o) return agent:run(o) end
  -- for who waits anyway, and need not be woken twice for a short program
  self.spawn_patiently = function(o)
    o.patience = 0.002
    return agent:run(o)
  end
  -- what run.launch() takes; of a run its plan, its figures and how it is spawned are put in
  self.job = { plan = pool.program, options = pool.options, optional_limits = built.optional_limits,
    landlock_left_out = built.landlock_left_out }
  if built.cgroup then self.group = require("caisson.cgroup").open(built, process) end
  local shared
  shared, message, errno = watch_mounts(self)
  if shared and #shared > 0 and not pool.shared then
    shared, message, errno = nil, ("the host's files can be written to at %s, where no reset finds what a run "
      .. "leaves; shared = true says that this is meant"):format(table.concat(shared, ", ")), core.errno.EPERM
  end
  local ok = shared
  if shared then ok, message, errno = call_hooks(self, "poststart", process:pid()) end
  if not ok then
    self:destroy()
    return nil, message, errno, { step = "pool", errno = errno, detail = message }
  end
  self.shared = shared
  return self
end

-- The pid of its process 1, as this process sees it.
---@return integer
function Pooled:pid() return self.process:pid() end

-- Is the agent there, and does it answer? Returns true | nil, message, errno.
---@param seconds? number
---@return true? ok, string? message, integer? errno
function Pooled:ping(seconds) return self.agent:ping(seconds or 10) end

local function open_one(self, o)
  if type(o) == "string" then o = { path = o } end
  if type(o) ~= "table" then error("open: a path, or { path =, flags =, mode = }, expected, got " .. type(o), 3) end
  if type(o.path) ~= "string" or o.path == "" or o.path:find "%z" or #o.path > 4095 then
    error("open: option 'path': a path expected", 3)
  end
  local t = { path = o.path, flags = o.flags, mode = o.mode }
  for k in pairs(o) do
    if t[k] == nil then error("open: unknown option '" .. tostring(k) .. "'", 3) end
  end
  for k, v in pairs(self.pool.ids) do t[k] = v end
  return self.agent:open(t)
end

-- Open a file inside, as the program's user would: symlinks stay in the container's root, what that user may not
-- read is refused, and so is what is neither file nor directory. flags: words, as core.open has them, without
-- "path" and "nonblock". Also of a list of paths or of { path =, flags =, mode = }, which gives a list.
-- Returns a descriptor (or list) | nil, message, errno.
---@param what string|(string|{ path: string, flags?: string|string[], mode?: integer })[]
---@param flags? string|string[]
---@param mode? integer
---@return caisson.core.Fd|caisson.core.Fd[]|nil fd, string? message, integer? errno
function Pooled:open(what, flags, mode)
  if type(what) ~= "table" then return open_one(self, { path = what, flags = flags, mode = mode }) end
  local list = {}
  for k in pairs(what) do
    if type(k) ~= "number" or k < 1 or k > #what then
      error("open: a list of paths expected, got the name '" .. words.show(k) .. "'", 2)
    end
  end
  for i, o in ipairs(what) do
    local fd, message, errno = open_one(self, o)
    if not fd then
      for _, other in ipairs(list) do other:close() end
      return nil, message, errno
    end
    list[i] = fd
  end
  return list
end

-- Delete a file or a whole directory inside, whoever owns it. No symlink is followed. While a program runs it is
-- refused. Returns how many files that were | nil, message, errno.
---@param path string
---@return integer? count, string? message, integer? errno
function Pooled:delete(path)
  if type(path) ~= "string" or path == "" or path:find "%z" or #path > 4095 then error("delete: a path expected", 2) end
  return self.agent:delete(path)
end

-- ---- runs ----

-- The figures of one run, of groups that live longer.
local Share = {}
Share.__index = Share

local function share(self)
  local group = self.group
  if not group then return nil end
  local s = setmetatable({ owner = self, group = group }, Share)
  local memory = group:group { "memory" }
  if memory and memory.version == 1 then
    s.exact = core.cgroup.set { group = memory.dir, file = "memory.max_usage_in_bytes", value = "0" } and true
  end
  s.user, s.system = group:times()
  s.total = s.user and s.user + s.system or group:cpu_ns()
  s.oom = group:figure("oom_kills") or 0
  if not s.exact then s.peak = group:figure("memory_peak") end
  s.pids = group:figure("pids_peak")
  return s
end

function Share:look() self.group:look() end

function Share:cpu_ns()
  local total = self.group:cpu_ns()
  return total and total - (self.total or 0)
end

-- As caisson.cgroup has it. A peak that can't be set back is this run's where it has grown.
function Share:account(r)
  local user, system = self.group:times()
  if user and self.user then
    r.user_ns, r.system_ns, r.cpu_from = math.max(user - self.user, 0), math.max(system - self.system, 0), "cgroup"
  end
  local peak, pids = self.group:figure("memory_peak"), self.group:figure("pids_peak")
  if peak and (self.exact or peak > (self.peak or 0)) then r.memory_peak, r.memory_from = peak, "cgroup" end
  if pids and pids > (self.pids or 0) then r.pids_peak = pids end
  r.oom = (self.group:figure("oom_kills") or 0) > self.oom
end

function Share:kill() return true end

function Share:close() end

local start_keys = { "args", "env", "stdin", "stdout", "stderr", "slots", "limits", "window", "fail" }
local is_start_key = {}
for _, name in ipairs(start_keys) do is_start_key[name] = true end

-- Are the two tables equal? nil and an empty one are.
local function same(a, b)
  if a then
    for k, v in pairs(a) do
      if not b or b[k] ~= v then return false end
    end
  end
  if b then
    for k in pairs(b) do
      if not a or a[k] == nil then return false end
    end
  end
  return true
end

local function copy(t)
  local other = {}
  for k, v in pairs(t or {}) do other[k] = v end
  return other
end

-- The environment with what a run adds to it.
local function add_env(list, more)
  local env, names = {}, {}
  for _, e in ipairs(list) do
    local name, value = e:match("^(.-)=(.*)$")
    env[name] = value
  end
  for k, v in pairs(more) do
    if type(k) ~= "string" or k == "" or k:find "[%z=]" then error("exec: env: a name without '=' expected", 6) end
    if v and type(v) ~= "string" and type(v) ~= "number" then
      error(("exec: env: %s: string, number or false expected, got %s"):format(words.show(k), type(v)), 6)
    end
    env[k] = v or nil
  end
  for k, v in pairs(env) do names[#names + 1] = k .. "=" .. v end
  table.sort(names)
  return names
end

-- The plan of a run: the program's steps with this program and environment. The last one is kept.
local function plan_of_run(pool, spec)
  local args, env = spec.args or pool.args, spec.env
  if type(args) == "string" then args = { args } end
  if type(args) ~= "table" or #args == 0 then error("exec: no program given (args)", 5) end
  local last = pool.last
  if last and same(args, last.args) and same(env, last.env) then return last.plan end
  local list = pool.program_list
  local exec = list[#list].options
  exec.argv = args
  exec.env = env and add_env(pool.env, env) or pool.env
  last = { plan = core.plan(list), args = copy(args), env = env and copy(env) }
  pool.last = last
  return last.plan
end

local no_spec = {}

local function start(self, spec, spawn)
  spec = spec or no_spec
  for k in pairs(spec) do
    if not is_start_key[k] then error(words.unknown("exec: unknown option", tostring(k), start_keys), 3) end
  end
  if spec.limits ~= nil then
    local ok, key, message = require("caisson.build").check_limits(spec.limits)
    if not ok then error(("exec: limits%s: %s"):format(key == "" and "" or "." .. key, message), 3) end
  end
  run.check_types(spec, "exec")
  local started = core.now()
  local job = self.job
  job.compiled, job.spawn, job.group = plan_of_run(self.pool, spec), spawn, share(self)
  return run.launch(job, spec, started)
end

-- Start a program in it. spec: args, env (added to the recipe's), stdin, stdout, stderr, slots, limits, window,
-- fail, as in caisson.start. One at a time.
-- Returns the running program, with the methods of caisson.start's | nil, message, errno, failure.
---@param spec table
---@return caisson.Running? running, string? message, integer? errno, table? failure
function Pooled:start(spec)
  local running, message, errno, failure = start(self, spec, self.spawn)
  return running, message, errno, failure -- no tail call: a misuse is the caller's
end

-- The same, and wait for its end. Returns the result, as caisson.run does | nil, message, errno, failure.
---@param spec table
---@return caisson.Result? result, string? message, integer? errno, table? failure
function Pooled:exec(spec)
  local running, message, errno, failure = start(self, spec, self.spawn_patiently)
  if not running then return nil, message, errno, failure end
  return running:wait()
end

-- ---- after a run ----

-- Connections outlive their processes, in TIME_WAIT for one. (The lists of sockets would say which; to read them
-- takes the kernel milliseconds.) Returns true | nil, message.
local function check_network(self)
  if not self.built.new.net then return true end
  for _, name in ipairs { "sockstat", "sockstat6" } do
    local text = read(("/proc/%d/net/%s"):format(self.process:pid(), name)) or ""
    for kind, counts in text:gmatch("(%w+): ([^\n]+)") do
      for what, n in counts:gmatch("(%w+) (%d+)") do
        if (what == "inuse" and kind ~= "sockets" or what == "tw") and tonumber(n) > 0 then
          return nil, ("%d sockets of the last run still live (%s %s)"):format(tonumber(n), kind, what)
        end
      end
    end
  end
  return true
end

-- Take away all that a run has left, and prove it: processes, files in the container's own mounts, System V and
-- POSIX IPC, keys, limits and scheduling of the agent; mounts, names and sockets are looked at. A container that
-- can't be proved clean is destroyed. Returns what was found, { processes =, files =, ipc =, keys = }, by number |
-- nil, message, errno.
---@param seconds? number
---@return table? report, string? message, integer? errno
function Pooled:reset(seconds)
  local report, message, errno = nil, self.pool.one_use, core.errno.EPERM
  if message then
    message = "it can't be reset: " .. message
  else
    local o = { timeout = seconds or 60, keys = self.pool.keys }
    for k, v in pairs(self.pool.ids) do o[k] = v end
    report, message, errno = self.agent:reset(o)
  end
  if report and read(("/proc/%d/mountinfo"):format(self.process:pid())) ~= self.mount_table then
    report, message, errno = nil, "the mounts have changed", core.errno.ESTALE
  end
  if report then
    local clean, why = check_network(self)
    if not clean then report, message, errno = nil, why, core.errno.EBUSY end
  end
  if not report then self:destroy() end
  return report, message, errno
end

-- End it, with all that runs in it. Returns true | nil, message: a poststop hook failed.
---@return true? ok, string? message
function Pooled:destroy()
  if self.destroyed then return true end
  self.destroyed = true
  self.agent:close()
  if self.group then self.group:close() end
  self.process:close()
  return call_hooks(self, "poststop")
end

-- ---- the pool ----

-- Make what is missing of the containers that are to stand ready. Returns how many it made | nil, message, errno,
-- failure.
---@return integer? made, string? message, integer? errno, table? failure
function Pool:fill()
  local n = 0
  while #self.ready < self.size do
    local c, message, errno, failure = make(self)
    if not c then return nil, message, errno, failure end
    self.ready[#self.ready + 1] = c
    n = n + 1
  end
  return n
end

-- A container that nobody else has, and that is as new: one that stands ready, or made now.
-- Returns it | nil, message, errno, failure.
---@return caisson.Pooled? container, string? message, integer? errno, table? failure
function Pool:get()
  if self.closed then error("the pool is closed", 2) end
  while #self.ready > 0 do
    local c = table.remove(self.ready)
    if c.agent:alive() and c:ping() then return c end
    c:destroy()
  end
  return make(self)
end

-- Give it back: reset, and ready for the next, unless enough are. Returns true | nil, message, errno: it could not be
-- reset, and is destroyed.
---@param c caisson.Pooled
---@return true? ok, string? message, integer? errno
function Pool:put(c)
  if c.pool ~= self then error("the container is of another pool", 2) end
  for _, other in ipairs(self.ready) do
    if other == c then error("the container has been given back already", 2) end
  end
  if c.destroyed then return nil, "the container is destroyed", core.errno.ENOENT end
  if self.closed or #self.ready >= self.size then return c:destroy() end
  local report, message, errno = c:reset()
  if not report then return nil, message, errno end
  self.ready[#self.ready + 1] = c
  return true
end

-- One program in a container of the pool's, which is given back after. Returns the result | nil, message, errno,
-- failure.
---@param spec table
---@return caisson.Result? result, string? message, integer? errno, table? failure
function Pool:run(spec)
  local c, message, errno, failure = self:get()
  if not c then return nil, message, errno, failure end
  local ok, result
  ok, result, message, errno, failure = pcall(c.exec, c, spec)
  if not ok then
    c:destroy()
    error(result, 2)
  end
  self:put(c)
  return result, message, errno, failure
end

-- Destroy the containers that stand ready; those that are out are destroyed when they are given back.
function Pool:close()
  self.closed = true
  for _, c in ipairs(self.ready) do c:destroy() end
  self.ready = {}
end

local pool_keys = { "recipe", "size", "params", "env", "args", "shared", "slots", "id" }

local function ids_of(list)
  local ids = {}
  for _, s in ipairs(list) do
    local o = s.options
    if s.step == "uid" then ids.uid = type(o) == "table" and o.uid or o end
    if s.step == "gid" then ids.gid = type(o) == "table" and o.gid or o end
    if s.step == "groups" then ids.groups = true end
  end
  return ids
end

-- Without a user namespace of its own the keyrings of a program's user are those of the host's, where nothing may be
-- put and from where nothing can be taken: its filter denies all keys. Returns whether it does.
local function no_keys(built)
  if built.new.user or not built.plan:find("no_new_privs") then return false end
  local policy = require "caisson.policy"
  local deny = policy.new { default = "allow", newest = false }:answer("ENOSYS", { "add_key", "request_key", "keyctl" })
  local s = assert(policy.step(deny))
  built.plan:before(#built.plan.steps, plan_module.step(s.step, s.options, { phase = "policy" }))
  return true
end

local no_program = { "true" }

-- A pool. opts: recipe (or its name or file), size (how many stand ready, 1 by default), params, env, args (the
-- program where a run names none), shared (writable files of the host's are meant to be there), slots (descriptors that
-- the container's steps name), id. Containers are made by fill() and get().
-- Returns it | nil, message.
---@return caisson.Pool?, string?, integer?
function M.new(opts)
  if type(opts) ~= "table" then error("pool: a table expected, got " .. type(opts), 2) end
  for k in pairs(opts) do
    local found = false
    for _, name in ipairs(pool_keys) do found = found or name == k end
    if not found then error(words.unknown("pool: unknown option", tostring(k), pool_keys), 2) end
  end
  run.check_types(opts, "pool")
  if type(opts.recipe) == "string" and #opts.recipe > 4095 then error("pool: option 'recipe': the name is too long", 2) end
  local size = opts.size or 1
  if type(size) ~= "number" or size < 0 or size ~= math.floor(size) or size > 65536 then
    error("pool: option 'size': a whole number from 0 on expected", 2)
  end
  if opts.shared ~= nil and type(opts.shared) ~= "boolean" then
    error("pool: option 'shared': boolean expected, got " .. type(opts.shared), 2)
  end
  local recipe, message = opts.recipe, nil -- luacheck: ignore
  if type(recipe) == "string" then
    recipe, message = recipe_module.load(recipe)
    if not recipe then return nil, message, core.errno.ENOENT end
  end
  if not recipe_module.is(recipe) then error("pool: option 'recipe': a recipe or its name expected, got " .. type(recipe), 2) end
  local built
  built, message = recipe:build { params = opts.params, env = opts.env, args = opts.args, default_args = no_program,
    id = opts.id }
  if not built then return nil, message, core.errno.EINVAL end
  if not built.new.pid then
    return nil, "a pooled container needs a pid namespace of its own (namespaces.pid = true)", core.errno.EINVAL
  end
  if built.options.ptrace or built.options.trace then
    return nil, "what a pooled container runs has no tracer (trace, ptrace)", core.errno.EINVAL
  end
  if built.options.seccomp_notify or built.options.seccomp_listener then
    return nil, "what a pooled container runs has nobody who answers for its calls (seccomp_notify, seccomp_listener)",
      core.errno.EINVAL
  end
  local at
  at, message = cut(built)
  if not at then return nil, message, core.errno.EINVAL end
  local keys = no_keys(built)
  local container = steps_of(built.plan, 1, at - 1)
  container[#container + 1] = { step = "exec", options = { argv = { "agent" }, agent = true } }
  local program = plan_module.new()
  for i = at, #built.plan.steps do program.steps[#program.steps + 1] = built.plan.steps[i] end
  local list = steps_of(built.plan, at, #built.plan.steps)
  local exec = {}
  for k, v in pairs(list[#list].options) do exec[k] = v end
  exec.init = nil
  list[#list].options = exec
  local options = {}
  for k, v in pairs(built.options) do options[k] = v end
  options.hooks = nil -- they are the container's, not the program's
  local self = setmetatable({ built = built, size = size, ready = {}, shared = opts.shared or false, cut = at,
    container_plan = core.plan(container), container_slots = opts.slots, program = program, program_list = list,
    options = options, env = exec.env, args = built.options.args ~= no_program and built.options.args or nil, ids = ids_of(list),
    keys = not keys, one_use = why_one_use(built) }, Pool)
  return self
end

return M
