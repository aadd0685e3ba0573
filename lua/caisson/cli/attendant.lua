-- What stands between the user and a program in a container: signals, the terminal, the exit status.
local cli = require "caisson.cli"
local core = require "caisson.core"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

-- What ends a program: while the container is made, these give it up.
local ending = { "INT", "TERM", "HUP", "QUIT" }
-- These wait until there is somebody to get them; PIPE is the last.
local others = { "USR1", "USR2", "ALRM", "VTALRM", "PROF", "WINCH", "CONT", "TSTP", "URG", "IO", "PWR", "STKFLT",
  "XCPU", "XFSZ", "PIPE" }

local INT, PIPE, CONT, TSTP, WINCH, QUIT, TERM = 2, 13, 18, 20, 28, 3, 15
-- How long a program has to end by itself, when it is told to.
local patience = 1e9
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

---@class caisson.cli.Attendant
local Attendant = {}
Attendant.__index = Attendant

-- Signals are kept for the program from now on, until let_go(). cancel is a descriptor of those that end it, or the one
-- given: the program is told to end when that becomes readable, and ended a second later; and the signals that end
-- processes, PIPE too, are the giver's.
function M.new(cancel)
  if cancel then
    local signals = { assert(core.signal.open { unpack(others, 1, #others - 1) }) }
    return setmetatable({ signals = signals, cancel = cancel, asked = cancel }, Attendant)
  end
  local signals = { assert(core.signal.open(ending)), assert(core.signal.open(others)) }
  return setmetatable({ signals = signals, cancel = signals[1] }, Attendant)
end

function Attendant:let_go()
  for _, fd in ipairs(self.signals) do core.signal.close(fd) end
  self.signals = {}
end

-- The signal that came while there was no program yet: the exit status that says so, or nil.
function Attendant:given_up()
  if self.asked then return 128 + TERM end
  local s = core.signal.read(self.cancel)
  if not s then return nil end
  cli.tell(("given up while the container was made (SIG%s)"):format(core.signal.name(s.signal)))
  return 128 + s.signal
end

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

-- Whoever started this command wants the program's end.
local function obey(self)
  if self.deadline then
    if core.now() >= self.deadline then self.running:stop("signalled") end
  elseif next(core.poll({ { fd = self.asked } }, 0) or {}) then
    self.deadline = core.now() + patience
    self:deliver(TERM)
  end
end

local function serve(self)
  local running = self.running
  while true do
    if self.asked then obey(self) end
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
    if self.deadline then
      timeout = math.min(timeout or 1, math.max((self.deadline - core.now()) / 1e9, 0.01))
    elseif self.asked then
      fds[#fds + 1] = { fd = self.asked }
    end
    if self.link then timeout = self.link:timeout(timeout) end
    local ready, message = core.poll(fds, timeout)
    if not ready then error(message, 0) end
    if self.link then self.link:step(ready) end
  end
end

-- Stand by the program until it has ended, whatever happens: the terminal is then as it was, and signals are this
-- process's own again. options: `init` (one stands in its namespace), `session` (false: it is in our group).
-- Returns the result.
function Attendant:attend(running, options)
  self.running, self.options, self.own_session = running, options, options.session ~= false
  local ok, result = xpcall(function()
    if running.pty and #running.streams == 0 then self.link = require("caisson.terminal").attach(running) end
    return serve(self)
  end, function(e) return debug.traceback(tostring(e), 2) end)
  if self.link then self.link:detach() end
  self:let_go()
  if not ok then
    running:close()
    error(result, 0)
  end
  if self.ended_by then result.status, result.signal, result.code = "signalled", self.ended_by, nil end
  if result.status == "signalled" and self.link and self.link.broken then result.signal = PIPE end
  if result.signal then result.signal_name = core.signal.name(result.signal) end
  return result
end

-- The command's exit status for a program's end: its own, or 128 + the signal.
function M.exit_status(r)
  if r.code and (r.status == nil or r.status == "exited") then return r.code end
  if r.status == "failed" then return cli.failed end
  return 128 + (r.signal or 9)
end

-- Say what failed. Returns the exit status: 126 for a program that can't be executed, 127 for one that is not
-- there, 125 else.
function M.failed(message, failure)
  local status = cli.failed
  -- a container that waits for its start has looked for its program before
  if failure and (failure.step == "exec" or failure.step == "wait" and failure.detail and
    (failure.detail:find("^/") or failure.detail:find("^not in PATH: "))) then
    local missing = failure.code == "ENOENT" and not failure.interpreter
    status = missing and 127 or 126
  end
  cli.tell(message, failure)
  return status
end

-- The window of the caller's terminal, { rows, columns }, or nil.
function M.window()
  local rows, columns = core.terminal.size(1)
  if not rows then rows, columns = core.terminal.size(0) end
  return rows and { rows, columns } or nil
end

return M
