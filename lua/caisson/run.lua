-- Running a recipe: streams, limits, and the result.
local core = require "caisson.core"
local hooks = require "caisson.hooks"
local words = require "caisson.words"

local M = {}

---@class caisson.Result
---@field status "exited"|"signalled"|"time_limit"|"memory_limit"|"output_limit"|"denied_syscall"
---@field code? integer        exit code
---@field signal? integer      the signal that ended it
---@field user_ns number       CPU time in user mode, nanoseconds
---@field system_ns number     CPU time in the kernel
---@field cpu_ns number        both
---@field cpu_from "cgroup"|"rusage"  where they were read
---@field memory_peak? number  bytes: of the cgroup, or the largest resident set
---@field memory_from "cgroup"|"rusage"
---@field memory? "unlimited"  the recipe allows the limit to be missing, and it is
---@field pids_peak? integer
---@field oom boolean          the OOM killer struck
---@field oom_kills? integer   so often
---@field wall_ns number       from exec to the end
---@field setup_ns number      from the call to exec
---@field stdout? string       what was captured
---@field stderr? string
---@field denied? { call: string, why?: string, path?: string }  what its tracer ended it for
---@field trace_notes? string[]  what `decide` has noted
---@field trace_error? string    why the tracer gave up
---@field notify_timeouts? integer  calls that a function of seccomp_notify was too long about
---@field explained? caisson.explain.Event[]  what was denied, with option explain
---@field explained_more? integer  ... and there was no room for
---@field report? string       what the recipe's own `result` function has to say
---@field landlock_left_out? string[]  rights that best_effort names and this kernel lacks
---@field skipped table        optional steps that were left out: { step =, object =, errno =, at = }

---@class caisson.Running
---@field stdin? caisson.core.Fd   of "pipe"; stdout and stderr too
---@field pty? caisson.core.Fd     the other side of its terminal
---@field cgroup? caisson.cgroup.Groups
local Running = {}
Running.__index = Running

-- Read what comes from a descriptor (nonblocking; it is the container's then) from now on: take is a
-- function that gets the chunks, or "capture", for the result.
---@param name string
---@param fd caisson.core.Fd
---@param take "capture"|fun(chunk: string)
function Running:stream(name, fd, take)
  local stream = { name = name, fd = fd, take = take }
  if take == "capture" then
    local parts = {}
    stream.parts = parts
    stream.take = function(s) parts[#parts + 1] = s end
  end
  self.streams[#self.streams + 1] = stream
end

local names = { "stdin", "stdout", "stderr" }

-- One stream: the descriptor for the child, and what the caller's side does with the other end.
local function open_stream(self, name, spec, keep)
  local input = name == "stdin"
  if spec == nil or spec == "inherit" then return input and 0 or name == "stdout" and 1 or 2 end
  if spec == "null" then
    local fd, message, errno = core.open("/dev/null", input and "read" or "write")
    if fd then keep[#keep + 1] = fd end
    return fd, message, errno
  end
  if spec == "stdout" and name == "stderr" then return "stdout" end
  if type(spec) == "table" then
    for k in pairs(spec) do
      if not (k == "file" and not spec.data or k == "append" and spec.file and not input or k == "data" and input) then
        error(("%s: unknown option '%s'"):format(name, tostring(k)), 0)
      end
    end
  end
  if type(spec) == "table" and spec.file then
    local fd, message, errno
    if input then
      fd, message, errno = core.open(spec.file, "read")
    else
      fd, message, errno = core.open(spec.file, { "write", "create", spec.append and "append" or "truncate" }, 420)
    end
    if fd then keep[#keep + 1] = fd end
    return fd, message, errno
  end
  if type(spec) == "table" and spec.data then
    local fd, message, errno = core.memfd(name, spec.data)
    if fd then keep[#keep + 1] = fd end
    return fd, message, errno
  end
  if spec == "pipe" or spec == "capture" or type(spec) == "function" then
    local r, w, errno = core.pipe()
    if not r then return nil, w, errno end
    local theirs, ours = r, w
    if not input then theirs, ours = w, r end
    keep[#keep + 1] = theirs
    if spec == "pipe" then
      self[name] = ours
    elseif input then
      error("stdin: 'inherit', 'null', 'pipe', { file = }, { data = } or a descriptor expected", 0)
    else
      ours:nonblock(true)
      self:stream(name, ours, spec)
    end
    return theirs
  end
  if type(spec) == "number" or type(spec) == "userdata" then return spec end
  error(name .. ": 'inherit', 'null', 'pipe', 'capture', a function, { file = }, { data = } or a descriptor expected", 0)
end

local function refuse_stream(name, spec)
  if spec ~= nil and spec ~= "inherit" then error(name .. ": the container's terminal is all three (tty = true)", 0) end
end

local known_opts = { "params", "args", "default_args", "env", "stdin", "stdout", "stderr", "files", "slots",
  "limits", "id", "window", "cancel", "late", "fail", "status", "log", "explain", "mix", "watch", "alter",
  "without" }

local function blame(message)
  local level = 3
  while level < 8 and (debug.getinfo(level, "S") or {}).source:find("caisson/[%w/]+%.lua$") do level = level + 1 end
  error(message, level)
end

local opt_types = { params = "table", env = "table", slots = "table", files = "table", window = "table", fail = "table",
  watch = "function", mix = "table", id = "string" }

-- Options of run, exec, create and of pools that have one type each. Raises, with the caller's name.
local function check_types(opts, what)
  what = what or "run"
  for k, kind in pairs(opt_types) do
    if opts[k] ~= nil and type(opts[k]) ~= kind then
      blame(("%s: %s: %s expected, got %s"):format(what, k, kind, type(opts[k])))
    end
  end
  if opts.id and (not opts.id:find "^[%w_.+-]+$" or #opts.id > 255) then
    blame(what .. ": id: 1 to 255 letters, digits, '_', '.', '+' or '-' expected, got '" .. words.show(opts.id) .. "'")
  end
  if opts.late ~= nil and (type(opts.late) ~= "number" or not (opts.late >= 0)) then
    blame(what .. ": late: seconds expected, got " .. words.show(opts.late))
  end
  if opts.log ~= nil and not require("caisson.log").is(opts.log) then
    blame(what .. ": log: a logger (caisson.log) expected, got " .. type(opts.log))
  end
  for i, v in pairs(opts.window or {}) do
    if (i ~= 1 and i ~= 2) or type(v) ~= "number" or not (v >= 0 and v <= 65535) then
      blame(what .. ": window: { rows, columns } expected, from 0 to 65535")
    end
  end
  for i, v in pairs(opts.files or {}) do
    if type(i) ~= "number" or type(v) ~= "string" or v:find "%z" or #v > 64 then
      blame(what .. ": files: a list of slots expected")
    end
  end
  for k, v in pairs(opts.fail or {}) do
    if (k ~= "step" and k ~= "errno") or type(v) ~= "number" then
      blame(what .. ": fail: { step =, errno = } expected, numbers")
    end
  end
  for k, v in pairs(opts.slots or {}) do
    if type(k) ~= "string" then blame(what .. ": slots: names are strings, got " .. type(k)) end
    if type(v) ~= "number" and type(v) ~= "userdata" then
      blame(("%s: slots: %s: descriptor expected, got %s"):format(what, words.show(k), type(v)))
    end
  end
end

M.check_types = check_types

-- A limit that is misspelt would be no limit. Raises, as misuse does.
local function check_opts(opts)
  for k in pairs(opts) do
    local found = false
    for _, name in ipairs(known_opts) do found = found or name == k end
    if not found then blame(words.unknown("run: unknown option", tostring(k), known_opts)) end
  end
  check_types(opts)
  if opts.limits ~= nil then
    local ok, key, message = require("caisson.build").check_limits(opts.limits)
    if not ok then blame(("run: limits%s: %s"):format(key == "" and "" or "." .. key, message)) end
  end
end

-- All three, into slots. Returns what is to take the terminal's output. Raises what a misuse is, and
-- { message, errno }.
local function open_streams(self, opts, o, keep, slots)
  local terminal_output
  for _, name in ipairs(names) do
    local spec = opts[name]
    if spec == nil then spec = o[name] end
    if o.tty then
      if name == "stdout" and (type(spec) == "function" or spec == "capture") then
        terminal_output = spec
      else
        refuse_stream(name, spec)
      end
      spec = "null" -- no step uses it; the creator's must not be held by who waits for its start
    end
    local fd, message, errno = open_stream(self, name, spec, keep)
    if fd == nil then error({ message, errno }, 0) end
    slots[name] = fd
  end
  return terminal_output
end

local no_limits = {}

local function limits_of(o, opts)
  if not opts.limits then return o.limits or no_limits end
  local limits = {}
  for k, v in pairs(o.limits or no_limits) do limits[k] = v end
  for k, v in pairs(opts.limits) do limits[k] = v end
  return limits
end

-- Start what was built (plan, compiled, functions, options; cgroup where it has groups of its own): streams, the
-- child, its terminal. opts: of start(). started: when that was called. built.spawn takes the place of core.spawn,
-- built.group that of the groups' object.
-- Returns the running process | nil, message, errno, failure.
function M.launch(built, opts, started)
  local o = built.options
  local self = setmetatable({ streams = {}, output = 0, built = built, started = started, limits = limits_of(o, opts) },
    Running)
  local keep, slots, message, errno = {}, {}, nil, nil
  built.cancel = opts.cancel
  local ok, err = pcall(open_streams, self, opts, o, keep, slots)
  local terminal_output = ok and err
  if slots.stderr == "stdout" then slots.stderr = slots.stdout end
  if opts.slots then
    for name, fd in pairs(opts.slots) do slots[name] = fd end
  end
  local process, failure
  if ok then
    local spawn, watch = built.spawn or core.spawn, built.watch or no_limits
    if built.tracing then built.tracing:prepare() end
    process, message, errno, failure = spawn { plan = built.compiled, slots = slots, functions = built.functions,
      cancel = opts.cancel, late = opts.late, fail = opts.fail, before = watch.before, attach = watch.attach,
      timed = watch.timed, stamped = watch.stamped, meanwhile = opts.meanwhile }
  elseif type(err) == "table" then
    message, errno = err[1], err[2]
  end
  for _, fd in ipairs(keep) do fd:close() end
  if not process then
    if built.tracing then built.tracing:close() end
    local trouble = built.notifier and built.notifier:trouble()
    if trouble then message = trouble .. (message and " (" .. message .. ")" or "") end
    if built.notifier then built.notifier:close() end
    if built.pasta then built.pasta:close() end
    for _, s in ipairs(self.streams) do s.fd:close() end
    if not ok and type(err) ~= "table" then error(err, 3) end
    failure = failure or { step = "run", errno = errno }
    failure.status = "failed"
    local step = failure.number and built.plan.steps[failure.number]
    if step then
      failure.at = require("caisson.plan").at(step)
      failure.phase = step.phase
    end
    failure.hint = require("caisson.hints").find(failure, built)
    if opts.log then opts.log:steps(built.plan, 1, failure.number and failure.number or 0, nil, {}, failure, message) end
    return nil, message, errno, failure
  end
  if opts.log then
    opts.log:steps(built.plan, 1, built.wait and built.plan:find("wait") or #built.plan.steps, process:pid(), process:skipped())
  end
  self.process = process
  if o.tty then
    self.pty = process:slot("pty", true)
    if terminal_output then
      self.pty:nonblock(true)
      self:stream("stdout", core.dup(self.pty), terminal_output)
    end
  end
  if built.notifier then
    self.notifier = built.notifier
    self.notifier:start(process, process:slot(self.notifier.slot, true))
  end
  if built.tracing then
    self.tracing = built.tracing
    self.streams[#self.streams + 1] = { name = "trace", fd = core.dup(self.tracing.report), uncounted = true,
      take = function(s) self.tracing:hear(s) end }
  end
  local _, exec_ns = process:times()
  self.exec_ns = exec_ns
  if self.limits.time then self.deadline = exec_ns + self.limits.time * 1e9 end
  if built.group then
    self.cgroup = built.group
  elseif built.cgroup then
    self.cgroup = require("caisson.cgroup").open(built, process)
    if not built.wait then self.cgroup:keep_figures() end
  end
  return self
end

-- Start a recipe. opts: params, args, env (added to the recipe's), stdin, stdout, stderr, files (slots
-- for more descriptors), limits, id, window ({ rows, columns } of its terminal), cancel (a descriptor:
-- construction is given up when it becomes readable), late (seconds for which it is then still looked whether the
-- program is there already: what came is then for it), status (a descriptor, { file = } or a function that is told
-- what becomes of it: caisson.status), log (a caisson.Logger: what each step came to), fail (for tests:
-- { step = number, errno = }, that step is not done and fails so), mix (mix-ins over the recipe's own), watch (a function
-- that gets what was built and returns { before =, attach =, timed =, stamped = }: core.spawn, or nil, message).
-- Returns the running container | nil, message, errno, failure.
function M.start(recipe, opts)
  opts = opts or {}
  if type(opts) ~= "table" then blame("run: options are a table, got " .. type(opts)) end
  check_opts(opts)
  local started = core.now()
  local built, message = recipe:build(opts)
  if not built then return nil, message, 22, { step = "recipe", errno = 22, code = "EINVAL", status = "failed" } end
  if opts.alter then opts.alter(built) end
  if built.cgroup then
    local can, why, number, failure = require("caisson.cgroup").ready(built.cgroup, built.origins)
    if not can then
      failure.status = "failed"
      return nil, why, number, failure
    end
  end
  local status, why, errno, failure
  if opts.status ~= nil then
    status, why, errno = require("caisson.status").open(opts.status)
    if not status then return nil, why, errno, { step = "status", errno = errno, status = "failed" } end
    status:watch(built.plan)
    local named = built.functions
    built.compiled, built.functions = built.plan:compile()
    for name, fn in pairs(named or {}) do built.functions[name] = built.functions[name] or fn end
  end
  if opts.watch then
    built.watch, why = opts.watch(built)
    if not built.watch then
      if status then status:failed(why, 22) end
      return nil, why, 22, { step = "watch", errno = 22, code = "EINVAL", status = "failed" }
    end
  end
  local self
  self, why, errno, failure = M.launch(built, opts, started)
  if not self then
    if status then status:failed(why, errno, failure) end
    return nil, why, errno, failure
  end
  self.status = status
  if status then status:executed(self.exec_ns) end
  for i, h in ipairs((built.options.hooks or {}).poststart or {}) do
    local fn = hooks.step(h.hook, "poststart", built)
    local done, a, b = pcall(fn, self.process:pid())
    if not done or a == nil and type(b) == "string" then
      self:close()
      why = ("hooks.poststart[%d]: %s"):format(i, tostring(done and b or a))
      return nil, why, 125, { step = "hooks.poststart", index = i, errno = 125, code = "ECANCELED", detail = why,
        at = h.origin.recipe:locate(h.origin.path), status = "failed" }
    end
  end
  return self
end

-- The child's pid, as this process sees it.
---@return integer
function Running:pid() return self.process:pid() end

-- Send a signal (a word such as "TERM", or its number) to the program.
---@param signal string|integer
---@return true? ok, string? message, integer? errno
function Running:kill(signal) return self.process:kill(signal) end

local function target(self)
  return { pid = self.process:pid(), pidfd = self.process:pidfd(), no_setuid = self.built.no_setuid ~= nil }
end

-- Add a mount to the running container: { bind =, at = } or { tmpfs = }, as in a recipe's mounts.
-- Returns true | nil, message, errno, failure.
---@param m table
---@return true? ok, string? message, integer? errno, table? failure
function Running:mount(m) return require("caisson.live").mount(target(self), m) end

-- Take the mount at a path of the container's away. opts.lazy: from sight now, though it is in use.
-- Returns true | nil, message, errno, failure.
---@param path string
---@param opts? { lazy?: boolean }
---@return true? ok, string? message, integer? errno, table? failure
function Running:unmount(path, opts) return require("caisson.live").unmount(target(self), path, opts) end

-- What to poll for reading; when one is ready, or timeout() seconds are over, call step().
---@return { fd: integer|caisson.core.Fd, events: string }[]
function Running:fds()
  local fds = {}
  if not self.unseen then fds[1] = { fd = self.process:end_fd(), events = "r" } end
  if self.cgroup and self.cgroup.watch then fds[#fds + 1] = { fd = self.cgroup.watch:fileno(), events = "r" } end
  for _, s in ipairs(self.streams) do
    if s.fd then fds[#fds + 1] = { fd = s.fd, events = "r" } end
  end
  if self.notifier then self.notifier:fds(fds) end
  return fds
end

-- Seconds until step() has something to do without any descriptor being ready; nil: none.
---@return number?
function Running:timeout()
  local t
  if self.deadline and not self.stopped then t = (self.deadline - core.now()) / 1e9 end
  if self.limits.cpu and not self.stopped then
    -- the CPU can't be used up faster than the clock and the processors allow; look again often enough
    t = math.min(t or 0.05, 0.05)
  end
  if self.stopped and self.tracing then t = 0.1 end
  if self.unseen then t = math.min(t or self.unseen, self.unseen) end
  local asked = self.notifier and self.notifier:timeout()
  if asked then t = math.min(t or asked, asked) end
  return t and math.max(t, 0)
end

---End the program and all that is in its groups; the result's status is then this word.
---@param why string
function Running:stop(why)
  if not self.stopped then
    self.stopped = why
    -- who is killed with its init is reaped by nobody who could tell what it used
    self.cpu_at_stop = self.process:cpu_ns()
    if self.cgroup then self.cgroup:kill() end
    self.process:kill("KILL")
    self.stopped_at = core.now()
  end
end

-- Read a stream until nothing is left for now; but not for ever, with a limit of time to keep.
local function drain(self, s)
  for _ = 1, 256 do
    if not s.fd then return end
    local data, _, errno = s.fd:read()
    if not data and errno == core.errno.EAGAIN then return end
    -- the end; of a terminal it is told by EIO
    if not data or data == "" then
      s.fd:close()
      s.fd = nil
      return
    end
    local limit = not s.uncounted and self.limits.output
    if limit and self.output + #data > limit then
      data = data:sub(1, limit - self.output)
      self:stop("output_limit")
      self.output = limit
      s.take(data)
      s.fd:close()
      s.fd = nil
      return
    end
    if not s.uncounted then self.output = self.output + #data end
    s.take(data)
  end
end

-- Who is traced has ended for its descriptor before its tracer has seen it, and only then for its parent. Mostly that is
-- soon, and the tracer says something; until then its descriptor is not asked, which would say so all the time.
local function look_for_end(self)
  if self.unseen then
    self.unseen = math.min(self.unseen * 2, 0.05)
  else
    local ready = core.poll({ { fd = self.process:end_fd(), events = "r" } }, 0)
    self.unseen = ready and next(ready) and 0.001 or nil
  end
end

-- Do what is due, without blocking. Returns the result once the program has ended, else nil.
---@return caisson.Result?
function Running:step()
  if self.result then return self.result end
  if self.cgroup then self.cgroup:look() end
  for _, s in ipairs(self.streams) do drain(self, s) end
  if self.notifier and not self.stopped then
    self.notifier:step()
    if self.notifier.denied then self:stop("denied_syscall") end
  end
  -- first whether it has ended: a caller who looks late must not find it guilty of that
  local status, message = self.process:wait(0)
  if not status and message == "timeout" then
    if self.deadline and core.now() >= self.deadline then self:stop("time_limit") end
    if self.limits.cpu and not self.stopped then
      local usage = self.cgroup and self.cgroup:cpu_ns() or self.process:cpu_ns()
      if usage and usage > self.limits.cpu * 1e9 then self:stop("time_limit") end
    end
    if self.stopped then
      -- who is traced is not gone before its tracer has seen it: one that is lost in its own work sees nothing
      if self.tracing and core.now() > self.stopped_at + 5e8 then self.tracing:kill() end
      status, message = self.process:wait(0)
    end
  end
  if not status then
    if message ~= "timeout" then error(message, 0) end
    if self.tracing then look_for_end(self) end
    return nil
  end
  local ended = core.now()
  for _, s in ipairs(self.streams) do
    drain(self, s)
    if s.fd then -- a process outside the container's reach may still hold it
      s.fd:close()
      s.fd = nil
    end
  end
  return self:finish(status, ended)
end

-- The optional steps that were left out, as the result lists them; by is what process:skipped() answers.
local function list_skipped(plan, by)
  if next(by) == nil then return by end
  local list = {}
  for i, errno in pairs(by) do
    local step = plan.steps[i]
    list[#list + 1] = { number = i, step = step.step, errno = errno, code = core.errno.name(errno),
      at = require("caisson.plan").at(step) }
  end
  return list
end

---The result of a program that has ended.
---@param status caisson.core.Status
---@param ended number
---@return caisson.Result
function Running:finish(status, ended)
  -- with all that it gets below, so that it need not grow
  local r = { status = "exited", code = status.code, signal = status.signal, user_ns = status.user_us * 1e3,
    system_ns = status.system_us * 1e3, cpu_ns = 0, cpu_from = "rusage", memory_peak = status.maxrss_kb * 1024,
    memory_from = "rusage", oom = false, wall_ns = ended - self.exec_ns, setup_ns = self.exec_ns - self.started,
    skipped = list_skipped(self.built.plan, self.process:skipped()) }
  if self.cgroup then self.cgroup:account(r) end
  r.cpu_ns = math.max(r.user_ns + r.system_ns, r.cpu_from == "rusage" and self.cpu_at_stop or 0)
  if self.built.optional_limits then
    for name in pairs(self.built.optional_limits) do r[name] = "unlimited" end
  end
  r.landlock_left_out = self.built.landlock_left_out
  if self.stopped then
    r.status = self.stopped
  elseif self.limits.cpu and r.cpu_ns > self.limits.cpu * 1e9 or r.signal == 24 then
    r.status = "time_limit"
  elseif r.oom and r.signal == 9 then
    r.status = "memory_limit"
  elseif r.signal == 31 then
    r.status = "denied_syscall"
  elseif r.signal == 25 then
    r.status = "output_limit"
  elseif r.signal then
    r.status = "signalled"
  end
  if self.tracing then self.tracing:account(r) end
  if self.notifier then self.notifier:account(r) end
  for _, s in ipairs(self.streams) do
    if s.parts then r[s.name] = table.concat(s.parts) end
  end
  self.result = r
  if self.status then self.status:ended(r) end
  self:close()
  local judge = self.built.options.result
  if judge then judge(r) end
  for i, h in ipairs((self.built.options.hooks or {}).poststop or {}) do
    local done, a, b = pcall(hooks.step(h.hook, "poststop", self.built), nil)
    if not done or a == nil and type(b) == "string" then
      r.poststop_errors = r.poststop_errors or {}
      r.poststop_errors[#r.poststop_errors + 1] = ("hooks.poststop[%d]: %s"):format(i, tostring(done and b or a))
    end
  end
  return r
end

-- Wait for the end, feeding streams and keeping limits meanwhile. Returns the result.
-- link: of caisson.terminal, which is served meanwhile.
---@param link? table
---@return caisson.Result
function Running:wait(link)
  while true do
    local result = self:step()
    if result then return result end
    local fds = self:fds()
    local timeout = self:timeout()
    if link then
      link:fds(fds)
      timeout = link:timeout(timeout)
    end
    local ready, message = core.poll(fds, timeout)
    if not ready then error(message, 0) end
    if link then link:step(ready) end
  end
end

-- End it now, whatever it does; nothing is left. Also what happens when the object is collected.
function Running:close()
  if self.status then self.status:close() end
  for _, s in ipairs(self.streams) do
    if s.fd then s.fd:close() end
    s.fd = nil
  end
  if self.pty then self.pty:close() end
  self.pty = nil
  if self.cgroup then
    self.cgroup:kill()
    self.cgroup:close()
  end
  if self.tracing then self.tracing:close() end
  if self.notifier then self.notifier:close() end
  if self.built.pasta then self.built.pasta:close() end
  self.process:close()
  -- its members have left it by ending
  local group = self.built.own_resctrl_group
  if group then require("caisson.resctrl").remove(group) end
end

-- Start and wait. Returns the result | nil, message, errno, failure. A container with a terminal that
-- nobody reads gets the caller's.
function M.run(recipe, opts)
  local running, message, errno, failure = M.start(recipe, opts)
  if not running then return nil, message, errno, failure end
  local link
  local ok, result = pcall(function()
    if running.pty and #running.streams == 0 then
      link = require("caisson.terminal").attach(running)
    end
    return running:wait(link)
  end)
  if link then link:detach() end
  if not ok then
    running:close()
    error(result, 0)
  end
  return result
end

return M
