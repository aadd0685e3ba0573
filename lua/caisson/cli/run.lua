-- caisson run: a container in the foreground, with this process's streams, signals and terminal.
local cli = require "caisson.cli"
local core = require "caisson.core"
local run = require "caisson.run"

local M = {}

-- What ends a program: while the container is made, these give it up.
local ending = { "INT", "TERM", "HUP", "QUIT" }
-- These wait until there is somebody to get them.
local others = { "USR1", "USR2", "ALRM", "VTALRM", "PROF", "WINCH", "CONT", "TSTP", "URG", "IO", "PWR", "STKFLT",
  "XCPU", "XFSZ", "PIPE" }

local INT, PIPE, CONT, TSTP, WINCH, QUIT = 2, 13, 18, 20, 28, 3
-- Their default is to do nothing, or to stop; all others end the process.
local harmless = { [17] = true, [CONT] = true, [TSTP] = true, [21] = true, [22] = true, [23] = true, [WINCH] = true }

local function read(path)
  local f = io.open(path, "r")
  if not f then return "" end
  local text = f:read("*a")
  f:close()
  return text
end

local function has_bit(mask, signal)
  local digit = tonumber(mask:sub(-1 - math.floor((signal - 1) / 4), -1 - math.floor((signal - 1) / 4)), 16) or 0
  return math.floor(digit / 2 ^ ((signal - 1) % 4)) % 2 == 1
end

-- Will the kernel drop this signal, since the program is pid 1 of its namespace and does nothing about
-- it? (pid_namespaces(7): only what it has a handler for reaches it.)
local function is_dropped(pid, signal)
  if harmless[signal] then return false end
  local status = read(("/proc/%d/status"):format(pid))
  if status:match("\nState:\t[ZX]") then return false end
  if not (status:match("\nNSpid:[^\n]*\t1\n") and status:match("\nNSpid:\t%d+\t")) then return false end
  for _, set in ipairs { "SigBlk", "SigIgn", "SigCgt" } do
    local mask = status:match("\n" .. set .. ":\t(%x+)")
    if not mask or has_bit(mask, signal) then return false end
  end
  return true
end

-- The processes of the program's group, without its leader: what an init in it must not hand on twice.
local function members(pgid)
  local list = {}
  for _, name in ipairs(core.list("/proc") or {}) do
    local pid = tonumber(name)
    if pid and pid ~= pgid then
      local group = read("/proc/" .. name .. "/stat"):match("%) %a %d+ (%d+)")
      if tonumber(group) == pgid then list[#list + 1] = pid end
    end
  end
  return list
end

---@class caisson.cli.Attendant  what stands between the user and a running container
local Attendant = {}
Attendant.__index = Attendant

-- A signal of the terminal's keys goes to all of the program's group, as it would without a container.
function Attendant:deliver(signal, to_group)
  local running = self.running
  local pid = running:pid()
  local dropped = not self.options.init and is_dropped(pid, signal)
  if dropped then
    self.ended_by = signal
    running:stop("signalled")
  elseif not to_group then
    running:kill(signal)
  elseif self.options.init then
    for _, member in ipairs(members(pid)) do core.signal.send(member, signal) end
  else
    core.kill_group(pid, signal)
  end
end

-- The program and this process stop; the shell that started it may continue both.
function Attendant:suspend()
  local function all(signal)
    if self.own_session then
      core.kill_group(self.running:pid(), signal)
    else
      -- the key stops all of the group but a pid 1, which has no handler for it
      self.running:kill(signal)
    end
  end
  if self.link then self.link:suspend() end
  all "STOP"
  core.signal.raise("STOP")
  -- continued
  all "CONT"
  if self.link then self.link:resume() end
end

function Attendant:take(s)
  local signal = s.signal
  if signal == TSTP then
    self:suspend()
  elseif signal == WINCH and self.link then
    self.link:resize()
  elseif signal == PIPE then
    -- nobody reads our output any more; the program hears of its own
    return
  elseif s.kernel and not self.own_session then
    -- it is in this process's group, and has got it by itself, unless the kernel drops it
    if not self.options.init and is_dropped(self.running:pid(), signal) then
      self.ended_by = signal
      self.running:stop("signalled")
    end
  else
    self:deliver(signal, s.kernel and (signal == INT or signal == QUIT))
  end
end

-- Until the program has ended. Returns the result.
function Attendant:attend()
  local running = self.running
  while true do
    for _, fd in ipairs(self.signals) do
      local s = core.signal.read(fd)
      while s do
        self:take(s)
        s = core.signal.read(fd)
      end
    end
    local result = running:step()
    if result then return result end
    local fds = running:fds()
    if self.link then self.link:fds(fds) end
    for _, fd in ipairs(self.signals) do fds[#fds + 1] = { fd = fd } end
    local timeout = running:timeout()
    if self.link then timeout = self.link:timeout(timeout) end
    local ready, message = core.poll(fds, timeout)
    if not ready then error(message, 0) end
    if self.link then self.link:step(ready) end
  end
end

local function start(recipe, o, cancel)
  local rows, columns = core.terminal.size(1)
  if not rows then rows, columns = core.terminal.size(0) end
  return run.start(recipe, { params = o.params, args = o.program, env = o.environment, cancel = cancel,
    window = rows and { rows, columns } or nil, status = o.status_to })
end

-- ---- what the user is told ----

local function size(bytes)
  if not bytes then return "" end
  for _, unit in ipairs { { 2 ^ 30, "GiB" }, { 2 ^ 20, "MiB" }, { 2 ^ 10, "KiB" } } do
    if bytes >= unit[1] then return (" of %.4g %s"):format(bytes / unit[1], unit[2]) end
  end
  return (" of %d bytes"):format(bytes)
end

local function time(seconds)
  return seconds and (" of %.4g s"):format(seconds) or ""
end

-- One line on what a limit has ended.
local function ending_line(r, running)
  local limits, cgroup = running.limits, running.built.options.cgroup
  if r.status == "time_limit" then
    local cpu = limits.cpu and r.cpu_ns > limits.cpu * 1e9
    if cpu or not limits.time then
      return ("the limit of CPU time%s is used up"):format(time(limits.cpu))
    end
    return ("the time limit%s is over (%.3f s of it were CPU time)"):format(time(limits.time), r.cpu_ns / 1e9)
  elseif r.status == "memory_limit" then
    local max = cgroup and type(cgroup.memory) == "table" and cgroup.memory.max
    return ("out of memory: the limit%s is used up"):format(size(max and require("caisson.params").types.size(max)))
  elseif r.status == "output_limit" then
    return ("more output than the limit%s"):format(size(limits.output))
  elseif r.status == "denied_syscall" then
    return "the seccomp policy does not allow a system call that it made (SIGSYS)"
  end
end

local function exit_status(r)
  if r.status == "exited" then return r.code end
  return 128 + (r.signal or 9)
end

local function write_json(o, document)
  local text = require("caisson.json").document(document) .. "\n"
  if o.json then io.write(text) end
  if o.result then
    local f, message = io.open(o.result, "w")
    if not f then cli.fail(message) end
    f:write(text)
    f:close()
  end
end

local function failed(o, message, failure)
  local status = cli.failed
  if failure and failure.step == "exec" then
    -- what was found and can't be executed, and what is not there
    local missing = failure.code == "ENOENT" and not failure.interpreter
    status = missing and 127 or 126
  end
  if o.json or o.result then write_json(o, { status = "failed", message = message, failure = failure }) end
  cli.tell(message, failure)
  return status
end

-- ---- the command ----

local function what_to_run(o)
  local plan = require "caisson.cli.plan"
  o.environment = plan.environment(o.env)
  if o.plan then
    if o.words[1] then cli.fail("--plan is run in place of a recipe: " .. o.words[1]) end
    local p = plan.read(o.plan)
    local last = p.steps[#p.steps]
    if not o.program and last and last.step == "exec" and last.options.argv[1] == plan.program then
      cli.fail("the plan names no program: it is to stand after --")
    end
    return require("caisson.saved").recipe(p)
  end
  o.params = plan.parameters(o.words, 2)
  return plan.recipe(o.words)
end

local function finish(o, attendant, r)
  local running = attendant.running
  if attendant.ended_by then r.status, r.signal, r.code = "signalled", attendant.ended_by, nil end
  if r.status == "signalled" and attendant.link and attendant.link.broken then r.signal = PIPE end
  if r.signal then r.signal_name = core.signal.name(r.signal) end
  if cli.log then
    cli.log:info("ended", { status = r.status, code = r.code, signal = r.signal_name, cpu_ns = r.cpu_ns })
  end
  if r.report then io.write(r.report, "\n") end
  local line = ending_line(r, running)
  if line then cli.tell(line) end
  for _, message in ipairs(r.poststop_errors or {}) do cli.tell(message) end
  write_json(o, r)
  return exit_status(r)
end

-- Where --status-fd and --status lead.
local function status_of(o)
  if o.status_fd and o.status then cli.fail("--status-fd and --status are the same: one of the two") end
  if o.status then return { file = o.status } end
  if not o.status_fd then return nil end
  local fd = tonumber(o.status_fd:match "^%d+$")
  if not fd or not core.lstat("/proc/self/fd/" .. o.status_fd) then
    cli.fail("--status-fd: an open descriptor's number expected, got " .. o.status_fd)
  end
  return fd
end

function M.main(o)
  local recipe = what_to_run(o)
  o.status_to = status_of(o)
  local signals = { assert(core.signal.open(ending)), assert(core.signal.open(others)) }
  local function let_go()
    for _, fd in ipairs(signals) do core.signal.close(fd) end
  end
  local running, message, _, failure = start(recipe, o, signals[1])
  if not running then
    local s = core.signal.read(signals[1])
    let_go()
    if s and failure.code == "ECANCELED" then
      cli.tell(("given up while the container was made (SIG%s)"):format(core.signal.name(s.signal)))
      return 128 + s.signal
    end
    return failed(o, message, failure)
  end
  if cli.log then cli.log:info("started", { pid = running:pid(), recipe = o.words and o.words[1] or o.plan }) end
  local options = running.built.options
  local attendant = setmetatable({ running = running, signals = signals, options = options,
    own_session = options.session ~= false }, Attendant)
  local ok, result = xpcall(function()
    if running.pty and #running.streams == 0 then
      attendant.link = require("caisson.terminal").attach(running)
    end
    return attendant:attend()
  end, function(e) return debug.traceback(tostring(e), 2) end)
  -- whatever happened, the terminal is as it was
  if attendant.link then attendant.link:detach() end
  let_go()
  if not ok then
    running:close()
    error(result, 0)
  end
  return finish(o, attendant, result)
end

return M
