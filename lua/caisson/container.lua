-- Containers with a life of their own: created, started, paused, deleted, each by any process of their user.
--
-- What a container is stands on disk (caisson.state); what it does now is asked of the kernel each time: the
-- process by its number and the time it was started at, the freezer, the program that runs. A command that
-- changes something holds the container's lock meanwhile.
local core = require "caisson.core"
local hooks = require "caisson.container.hooks"
local processes = require "caisson.container.processes"
local state = require "caisson.state"
local words = require "caisson.words"

local errno = core.errno

local M = {}

---@class caisson.Container
---@field id string
---@field root string          where its state is
---@field stdin? caisson.core.Fd   in the process that created it with "pipe"; stdout and stderr too
---@field pty? caisson.core.Fd     the other side of its terminal, in the process that created it
---@field warnings string[]    what went wrong without being an error: a recipe that has changed, a failed poststop hook
local Container = {}
Container.__index = Container

local function refuse(number, message, failure)
  failure = failure or { step = "container", errno = number, code = errno.name(number), detail = message }
  failure.status = "failed"
  return nil, message, number, failure
end

local function check_opts(what, opts, known)
  if opts == nil then return {} end
  if type(opts) ~= "table" then error(what .. ": options expected, got " .. type(opts), 3) end
  for k in pairs(opts) do
    local found = false
    for _, name in ipairs(known) do found = found or name == k end
    if not found then error(words.unknown(what .. ": unknown option", tostring(k), known), 3) end
  end
  return opts
end

-- ---- what is there ----

-- A number of JSON is a float in Lua 5.3 and later, and would look like one in a path, or printed.
local whole = rawget(math, "tointeger") or function(n) return n end

-- Read the state again. Returns it | nil, message, errno, failure.
local function load(self)
  local s, message, number = self.dir:load()
  if not s then return refuse(number, message) end
  s.pid, s.start_time = s.pid and whole(s.pid), s.start_time and whole(s.start_time)
  for k, v in pairs(s.ended or {}) do s.ended[k] = whole(v) end
  if self.pidfd and (s.pid ~= self.saved.pid or s.start_time ~= self.saved.start_time) then
    return refuse(errno.ESTALE, ("container '%s' was deleted; there is another one of its name"):format(self.id))
  end
  self.saved = s
  return s
end

-- Its first process, if it lives: pidfd, what stat() says where that matters: of one that may wait for its start.
local function look(self)
  local s = self.saved
  if not s.pid then return nil end
  if self.pidfd and s.status ~= "created" then
    local ended = core.poll({ { fd = self.pidfd, events = "r" } }, 0)
    return ended and not ended[1] and self.pidfd or nil
  end
  local fd, stat = processes.open(s.pid, s.start_time)
  if fd then
    if self.pidfd then
      fd:close()
    else
      self.pidfd = fd
    end
    return self.pidfd, stat
  end
  return nil
end

-- Its groups; nil where it has none; nil, message, errno where they can't be opened (ENOENT: they are gone).
local function groups(self)
  if self.group then return self.group end
  local saved = self.saved.cgroup
  if not saved or #saved == 0 then return nil end
  local message, number
  self.group, message, number = require("caisson.cgroup").reopen(saved)
  return self.group, message, number
end

-- The true status, and whether it is being worked on.
local function status_of(self)
  local s = self.saved
  if s.status == "creating" then
    if self.dir.fd then return "stopped" end
    if self.dir:lock(0) then -- whoever was creating it is gone, and has taken the process along
      self.dir:unlock()
      return load(self) and self.saved.status ~= "creating" and status_of(self) or "stopped"
    end
    return "creating"
  end
  local pidfd, stat = look(self)
  if not pidfd then return "stopped" end
  local group = groups(self)
  if group and group:frozen() == true then return "paused", stat end
  if s.status == "created" and stat.name == "caisson-wait" then return "created", stat end
  return "running", stat
end

-- Does it wait for its start, paused or not?
local function waits(self, stat)
  return self.saved.status == "created" and stat and stat.name == "caisson-wait"
end

local function unlocked(self, ok, ...)
  self.dir:unlock()
  if not ok then error((...), 0) end
  return ...
end

local function locked(self, work, ...)
  local ok, message, number = self.dir:lock()
  if not ok then return refuse(number, message) end
  return unlocked(self, pcall(work, self, ...))
end

-- The state with what has changed in it, saved; needs the lock.
local function save(self, changes)
  for k, v in pairs(changes) do self.saved[k] = v end
  local ok, message, number = self.dir:save(self.saved)
  if not ok then return refuse(number, message) end
  return true
end

local function is(self, status) return ("container '%s' is %s"):format(self.id, status) end

-- It is not in a state for what is asked; the failure says in which (failure.container).
local function wrong(self, status, note)
  local number, message = status == "stopped" and errno.ESRCH or errno.EBUSY, is(self, status) .. (note or "")
  return refuse(number, message, { step = "container", errno = number, code = errno.name(number), detail = message,
    container = status })
end

-- How it has ended, for who asks later: once it is reaped, the kernel tells nobody who did not hold it before.
local function write_down(self, ended, seconds)
  local pid = self.saved.pid
  if not self.dir:lock(seconds) then return end
  local now = self.dir:load()
  if now and now.pid == pid and not now.ended then
    self.saved = now
    save(self, { status = "stopped", ended = ended })
  end
  self.dir:unlock()
end

-- Whoever looks at it in time, between its end and its parent's wait, writes it down.
local function note_end(self, status)
  local s = self.saved
  local ended = status == "stopped" and s.pid and not s.ended and processes.ending(s.pid, s.start_time)
  if ended then write_down(self, ended, 0) end
  return status
end

-- Its first process's descriptor, where the status is one of these. Returns it, status, stat | refusal.
local function expect(self, ...)
  local s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  local status, stat = status_of(self)
  for _, wanted in ipairs { ... } do
    if status == wanted then return self.pidfd, status, stat end
  end
  return wrong(self, status)
end

local function new(root, id, dir, saved)
  return setmetatable({ root = root, id = id, dir = dir, saved = saved, warnings = {} }, Container)
end

-- What hooks are told.
---@return table
function Container:identity()
  return { id = self.id, bundle = self.saved.bundle, annotations = self.saved.annotations }
end

-- ---- making and finding ----

---Make a container that waits for its start. opts: id, root (directory of the states; `state.root`), params, args, env,
---bundle, annotations, stdin, stdout, stderr ("inherit", "null", "pipe", { file = }, { data = }, a descriptor), files and
---slots (more descriptors), window, cancel, fail: as caisson.start has them; start: it may run by then (see its state), if
---nobody has anything to do before (no hooks, no terminal, no init, no listener of seccomp's). It outlives this process,
---unless the recipe says die_with_parent. Groups to count, freeze and kill by are made where they can be had, asked for or not.
---@param recipe caisson.Recipe
---@param opts table
---@return caisson.Container? container, string? message, integer? errno, table? failure
function M.create(recipe, opts)
  local running, saved, built, failure, dir = require("caisson.container.create").create(recipe, opts)
  if not running then return nil, saved, built, failure end
  local self = new(dir.root, opts.id, dir, saved)
  self.pidfd = core.dup(running.process:pidfd())
  self.group = running.cgroup and #running.cgroup.groups > 0 and running.cgroup or nil
  self.pty, self.built = running.pty, built
  self.stdin, self.stdout, self.stderr = running.stdin, running.stdout, running.stderr
  running.process:release()
  return self
end

---One of the recipe that another program makes, and that runs: opts.process, a function of what was built and of the
---container's directory, answers the id of its first process, or nil, message. opts else as create has them.
---@param recipe caisson.Recipe
---@param opts table
---@return caisson.Container? container, string? message, integer? errno, table? failure
function M.take_over(recipe, opts)
  local ok, message, number, failure = require("caisson.container.create").create(recipe, opts)
  if not ok then return nil, message, number, failure end
  return M.open(opts.id, { root = opts.root })
end

---A container that there is. opts: root.
---@param id string
---@param opts? { root?: string }
---@return caisson.Container? container, string? message, integer? errno, table? failure  ENOENT; EBADMSG: damaged
function M.open(id, opts)
  opts = check_opts("open", opts, { "root" })
  local root, message, number = state.root(opts.root)
  if not root then return refuse(number, message) end
  local dir
  dir, message, number = state.of(root, id)
  if not dir then return refuse(number, message) end
  local self = new(root, id, dir)
  local s, failure
  s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  look(self)
  return self
end

---All containers there: { id, status, pid, created, recipe, bundle, rootfs, owner (a uid), annotations }; one whose
---state can't be used has the status "damaged", and the reason as `error`. opts: root.
---@param opts? { root?: string }
---@return table[]? list, string? message, integer? errno, table? failure
function M.list(opts)
  opts = check_opts("list", opts, { "root" })
  local root, message, number = state.root(opts.root)
  if not root then return refuse(number, message) end
  local ids
  ids, message, number = state.list(root)
  if not ids then return refuse(number, message) end
  local list = {}
  for _, id in ipairs(ids) do
    local self, why, code = M.open(id, { root = root })
    if self then
      local status = note_end(self, status_of(self))
      local s = self.saved
      list[#list + 1] = { id = id, status = status, pid = status ~= "stopped" and s.pid or nil, created = s.created,
        recipe = s.recipe and { file = s.recipe.file }, bundle = s.bundle, rootfs = s.rootfs, owner = s.owner,
        annotations = s.annotations }
      self:close()
    elseif code ~= errno.ENOENT then
      list[#list + 1] = { id = id, status = "damaged", error = why }
    end
  end
  return list
end

---Its state as the OCI runtime specification has it: ociVersion, id, status, pid (unless stopped), bundle, annotations;
---and, where they are known: created (a date), owner (a uid), rootfs.
---@return table? state, string? message, integer? errno, table? failure
function Container:state()
  local s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  local status = note_end(self, status_of(self))
  return { ociVersion = require("caisson.version").oci, id = self.id, status = status,
    pid = (status == "created" or status == "running" or status == "paused") and s.pid or nil,
    bundle = s.bundle, annotations = s.annotations and next(s.annotations) and s.annotations or nil,
    created = s.created, owner = s.owner, rootfs = s.rootfs }
end

---Is it in the same namespace of this kind ("pid", "net", …) as this process?
---@param kind string
---@return boolean
function Container:shares(kind)
  local inode = self.saved.namespaces and self.saved.namespaces[kind]
  return inode ~= nil and inode == core.namespaces(nil, kind)[kind]
end

-- ---- its life ----

-- End all that runs in it. Returns true | nil, message, errno.
local function end_all(self, seconds)
  local group, message, number = groups(self)
  local pidfd = look(self) or self.pidfd -- it may be a child of this process, to be reaped
  if pidfd then core.pidfd.kill(pidfd, "KILL") end
  local ok = not message
  if group then ok, message, number = group:kill(seconds) end
  if not ok and number ~= errno.ENOENT then return nil, message, number end
  if pidfd then
    local ended
    ended, message = core.pidfd.wait(pidfd, seconds or 10)
    if not ended then return nil, ("process %d does not end: %s"):format(self.saved.pid, message), errno.ETIMEDOUT end
    if not ended.unknown then self.ended = self.ended or { code = ended.code, signal = ended.signal } end
  end
  return true
end

-- For what joins it; never without its limits: nil, message, errno where its groups can't be opened, or one is gone.
local function target(self)
  local group, message, number = groups(self)
  if message then return nil, message, number end
  if group and group.gone then
    return nil, ("container '%s': its group %s is gone, and what it limited"):format(self.id, group.gone), errno.ENOENT
  end
  return { pid = self.saved.pid, pidfd = self.pidfd, cgroup = group, id = self.id, bundle = self.saved.bundle,
    apart = (self.saved.options or {}).apart, annotations = self.saved.annotations }
end

-- Its plan | nil, message, errno.
local function plan_of(self)
  local text, message, number = self.dir:plan()
  if not text then return nil, message, number end
  local plan
  plan, message = require("caisson.plan").from_json(text)
  if not plan then return nil, ("the plan of container '%s' can't be used: %s"):format(self.id, message), errno.EBADMSG end
  return plan
end

local function start(self, opts)
  local s, message, number, failure = load(self)
  if not s then return nil, message, number, failure end
  local status, stat = status_of(self)
  if status ~= "created" then
    return wrong(self, status, waits(self, stat) and ": resume it first")
  end
  if s.build ~= core.build then -- what waits in there is the runner of that one
    return refuse(errno.ESTALE, ("container '%s' was created by another build of caisson (%s, this is %s), which alone can "
      .. "start it: delete it, and create it anew"):format(self.id, s.build or "an older one", core.build))
  end
  local found, warnings = hooks.find(self, { "startContainer", "poststart" })
  if not found then return refuse(errno.ESTALE, warnings) end
  local file, why = hooks.changed(s.recipe or {})
  if file then self.warnings[#self.warnings + 1] = ("the recipe %s %s"):format(file, why) end
  local plan, compiled
  if self.built then
    plan, compiled = self.built.plan, self.built.compiled
  else
    plan, message, number = plan_of(self)
    if not plan then return refuse(number, message) end
    compiled = plan:compile()
  end

  local function give_up(text, code, fail)
    end_all(self)
    save(self, { status = "stopped" })
    return refuse(code or errno.ECANCELED, text, fail)
  end
  local ok, into
  into, message, number = target(self)
  if not into then return give_up(message, number) end
  ok, message, number, failure = hooks.run_inside(self, "startContainer", found.startContainer, into, opts.cancel)
  if not ok then return give_up(message, number, failure) end
  local socket
  socket, message, number = core.socket.connect(self.dir.fd, "start")
  if not socket then return give_up(message, number) end
  local started
  local freezable = into.cgroup and into.cgroup:group { "freezer" }
  started, message, number, failure = core.start { socket = socket, plan = compiled, pid = s.pid, pidfd = self.pidfd,
    cancel = opts.cancel, group = freezable and freezable.dir }
  socket:close()
  if not started then
    if not failure.code and not failure.signal then -- how it ended is still its parent's to hear
      local ended = processes.learn(self.pidfd, s.pid, s.start_time, 2)
      failure.signal = ended and ended.signal
      if failure.signal then
        message = message:gsub(": ended before", (": killed by signal %d before"):format(failure.signal))
      end
    end
    local step = failure.number and plan.steps[failure.number]
    if step then failure.at, failure.phase = require("caisson.plan").at(step), step.phase end
    failure.hint = require("caisson.hints").find(failure, { plan = plan, options = s.options or {},
      identity = core.identity() })
    if opts.log then
      opts.log:steps(plan, plan:find("wait") + 1, failure.number or 0, s.pid, {}, failure, message)
    end
    return give_up(message, number, failure)
  end
  if opts.log then opts.log:steps(plan, plan:find("wait") + 1, #plan.steps, s.pid, started.skipped or {}) end
  ok, message, number, failure = save(self, { status = "running" })
  if not ok then
    end_all(self)
    return nil, message, number, failure
  end
  return true, found.poststart
end

-- What runs beside the program, without the lock: others may end the container meanwhile.
local function after_start(self, list)
  local ok, message, index = hooks.run_here(self, "poststart", list, self.saved.pid)
  if ok then return true end
  locked(self, function()
    if load(self) then -- it is there still, and the same
      end_all(self)
      save(self, { status = "stopped" })
    end
  end)
  return refuse(errno.ECANCELED, message, { step = "hooks.poststart", index = index, errno = errno.ECANCELED,
    code = "ECANCELED", detail = message })
end

---Start the program of a container that was created: its startContainer hooks, the rest of its construction, its
---poststart hooks. After a failure the container has ended. opts: cancel, log.
---Functions among these hooks are looked for in the recipe, which must not have changed since.
---@param opts? table
---@return true? ok, string? message, integer? errno, table? failure
function Container:start(opts)
  opts = check_opts("start", opts, { "cancel", "log" })
  local ok, poststart, number, failure = locked(self, start, opts)
  if not ok then return nil, poststart, number, failure end
  return after_start(self, poststart)
end

---Start another process in it; see caisson.process. opts: detach, ignore_paused (also in spec), window, cancel, log, fail.
---@param spec table
---@param opts? table
---@return table? running, string? message, integer? errno, table? failure
function Container:exec(spec, opts)
  opts = check_opts("exec", opts, { "detach", "ignore_paused", "window", "cancel", "fail", "log" })
  if type(spec) ~= "table" then error("exec: a table of options expected, got " .. type(spec), 2) end
  local pidfd, status, number, failure = expect(self, "created", "running", "paused")
  if not pidfd then return nil, status, number, failure end
  local process = {}
  for k, v in pairs(spec) do process[k] = v end
  if opts.detach ~= nil then process.detach = opts.detach end
  if opts.ignore_paused ~= nil then process.ignore_paused = opts.ignore_paused end
  local into, message
  into, message, number = target(self)
  if not into then return refuse(number, message) end
  into.paused = status == "paused"
  into.options, message, number = require("caisson.container.create").options(self.saved.options or {},
    function() return plan_of(self) end)
  if not into.options then return refuse(number, message) end
  return require("caisson.process").start(into, process, { window = opts.window, cancel = opts.cancel, fail = opts.fail,
    log = opts.log })
end

-- A signal to each of its processes, by a descriptor that is of that process.
local function signal_each(self, signal)
  local inode = self.saved.namespaces and self.saved.namespaces.pid
  for _, pid in ipairs(processes.of_container(self.saved.pid, inode)) do
    local stat = processes.stat(pid)
    local fd = stat and processes.open(pid, stat.start_time)
    if fd then
      local ok, message, number = core.pidfd.kill(fd, signal)
      fd:close()
      if not ok and number ~= errno.ESRCH then return nil, message, number end
    end
  end
  return true
end

---Send a signal (a word such as "TERM", the default, or its number) to its program; opts.all: to all its processes. Those of
---a paused container get it when they are resumed; KILL ends them all the same.
---@param signal? string|integer
---@param opts? { all?: boolean }
---@return true? ok, string? message, integer? errno, table? failure
function Container:kill(signal, opts)
  opts = check_opts("kill", opts, { "all" })
  local pidfd, status, number, failure = expect(self, "created", "running", "paused")
  local group
  if not pidfd then
    -- its first process is gone, what it has left behind may not be
    group = opts.all and self.saved and groups(self)
    if not (group and #(group:procs() or {}) > 0) then return nil, status, number, failure end
  end
  signal = signal == nil and "TERM" or signal
  local ok, message
  if not opts.all then
    ok, message, number = core.pidfd.kill(pidfd, signal)
    if ok and status == "paused" and (signal == "KILL" or signal == 9) then
      -- the v1 freezer of older kernels keeps even that from it
      local freezing = groups(self)
      local g = freezing and freezing:group { "freezer" }
      if g and g.version == 1 then freezing:thaw() end -- it may be gone by then
    end
  else
    group = group or groups(self)
    if group and (signal == "KILL" or signal == 9) then
      ok, message, number = group:kill()
    elseif group then
      ok, message, number = group:signal(signal)
    else
      ok, message, number = signal_each(self, signal)
    end
  end
  if not ok then return refuse(number, message) end
  return true
end

local function mounting(self)
  local pidfd, status, number, failure = expect(self, "created", "running", "paused")
  if not pidfd then return nil, status, number, failure end
  return { pid = self.saved.pid, pidfd = pidfd, no_setuid = (self.saved.options or {}).no_setuid ~= nil,
    apart = (self.saved.options or {}).apart }
end

---Add a mount to it: { bind =, at = } or { tmpfs = }, as in a recipe's mounts. What an ordinary user makes writable,
---and was not in its recipe, needs setuid_files = true: its program could make files there that are set-user-ID.
---@param m table
---@return true? ok, string? message, integer? errno, table? failure
function Container:mount(m)
  local to, message, number, failure = mounting(self)
  if not to then return nil, message, number, failure end
  return require("caisson.live").mount(to, m)
end

---Take the mount at a path of its root away. opts: lazy (from sight now, though it is in use).
---@param path string
---@param opts? { lazy?: boolean }
---@return true? ok, string? message, integer? errno, table? failure
function Container:unmount(path, opts)
  local to, message, number, failure = mounting(self)
  if not to then return nil, message, number, failure end
  return require("caisson.live").unmount(to, path, opts)
end

require "caisson.container.groups"(Container, { load = load, look = look, groups = groups, locked = locked, expect = expect,
  refuse = refuse })

---Wait for its end. Returns { code = } or { signal = }; { unknown = true } where it had ended and been reaped by its parent
---(whoever created it, or the machine's first process) before anybody here looked, or where the kernel tells nobody else (before
---Linux 6.15); nil, "timeout".
---@param timeout? number seconds; none: for ever, 0: only look
---@return table? status, string? message, integer? errno, table? failure
function Container:wait(timeout)
  local s, message, number, failure = load(self)
  if not s then
    if not self.pidfd then return nil, message, number, failure end
    s = {} -- deleted, as it may be by now
  end
  if self.ended then return self.ended end
  if s.ended then
    if self.pidfd then core.pidfd.wait(self.pidfd, 0) end -- another has written it down: reaped it is by its parent
    return s.ended
  end
  if not self.pidfd then return s.pid and (processes.ending(s.pid, s.start_time)) or { unknown = true } end
  local status
  status, message, number = core.pidfd.wait(self.pidfd, timeout)
  if not status then
    if message == "timeout" then return nil, message end
    return refuse(number, message)
  end
  if status.unknown then status = processes.learn(self.pidfd, self.saved.pid, self.saved.start_time, 10) or status end
  if status.unknown then return s.ended or status end
  self.ended = { code = status.code, signal = status.signal }
  write_down(self, self.ended, 1)
  return status
end

-- ---- its end ----

-- What the rest of this module lends to the end of a container.
local function delete(self, force, waiting)
  return require("caisson.container.ending").delete(self, force, waiting, { load = load, status_of = status_of, groups = groups,
    end_all = end_all, refuse = refuse, wrong = wrong, new = new })
end

---Remove what is left of it: processes (with force, running ones too; with waiting, of one that waits for its start),
---groups, state; its poststop hooks are run.
---Returns true and a list of what went wrong without keeping it from being removed: hooks that failed, or that are
---not found since the recipe has changed.
---@param opts? { force?: boolean, waiting?: boolean }
---@return true? ok, string[]|string? warnings, integer? errno, table? failure
function Container:delete(opts)
  opts = check_opts("delete", opts, { "force", "waiting" })
  return locked(self, delete, opts.force, opts.waiting)
end

---The same of any container there, also of one whose state is damaged (with force).
---@param id string
---@param opts? { root?: string, force?: boolean, waiting?: boolean }
---@return true? ok, string[]|string? warnings, integer? errno, table? failure
function M.delete(id, opts)
  opts = check_opts("delete", opts, { "root", "force", "waiting" })
  local root, message, number = state.root(opts.root)
  if not root then return refuse(number, message) end
  local dir
  dir, message, number = state.of(root, id)
  if not dir then return refuse(number, message) end
  return locked(new(root, id, dir), delete, opts.force, opts.waiting)
end

-- Of a creation whose process has died: removed, in one turn of the lock with the look at it, since others may be
-- about to create under the same name. Returns true | nil, message, errno.
function M.remove_unfinished(root, id)
  local dir, message, number = state.open(root, id)
  if not dir then return nil, message, number end
  local ok
  ok, message, number = dir:lock(0)
  if not ok then return nil, message, number end
  local self = new(root, id, dir)
  return unlocked(self, pcall(function()
    local s, why, code = dir:load()
    if not s then return nil, why, code end
    if s.status ~= "creating" then return nil, is(self, s.status), errno.EEXIST end
    return delete(self, true)
  end))
end

---Let go of the descriptors; the container goes on.
function Container:close()
  if self.group then self.group:close() end
  for _, name in ipairs { "pidfd", "pty", "stdin", "stdout", "stderr" } do
    if self[name] then self[name]:close() end
    self[name] = nil
  end
  self.group = nil
end

return M
