-- A command that stays with the program that it has started: signals are handed on to that, its terminal is
-- relayed, and its end is the command's.
local core = require "caisson.core"

local M = {}

-- All that can be caught and are not about this process itself.
local words = { "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "TSTP",
  "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR" }

local CHLD, WINCH = 17, 28

-- The signals to hand on are kept from now on; let_go() ends that.
---@class caisson.oci.Foreground
local Foreground = {}
Foreground.__index = Foreground

function M.new()
  return setmetatable({ signals = assert(core.signal.open(words)) }, Foreground)
end

function Foreground:let_go()
  if self.signals then core.signal.close(self.signals) end
  self.signals = nil
end

-- ---- a container's first process, as one that was started looks ----

local Init = {}
Init.__index = Init

function Init:pid() return self.container.saved.pid end

function Init:kill(signal) return core.pidfd.kill(self.container.pidfd, signal) end

function Init:stream(_, fd, take)
  fd:nonblock(true)
  self.out, self.take = fd, take
end

function Init:fds()
  local list = { { fd = self.container.pidfd, events = "r" } }
  if self.out then list[2] = { fd = self.out, events = "r" } end
  return list
end

function Init:timeout() return nil end

function Init:stop() self:kill("KILL") end

function Init:drain()
  while self.out do
    local bytes, _, errno = self.out:read()
    if not bytes and errno == core.errno.EAGAIN then return end
    if not bytes or bytes == "" then
      self.out:close()
      self.out = nil
    else
      self.take(bytes)
    end
  end
end

function Init:step()
  self:drain()
  local status, message = core.pidfd.wait(self.container.pidfd, 0)
  if not status then
    if message ~= "timeout" then error(message, 0) end
    return nil
  end
  self:drain()
  return status
end

function M.init(container)
  return setmetatable({ container = container, pty = container.pty, streams = {} }, Init)
end

-- ---- standing by ----

-- Children that this process has not made: what the program has left behind, when it has no init of its own.
local function reap(own)
  local me = core.identity().pid
  local f = io.open(("/proc/%d/task/%d/children"):format(me, me))
  local list = f and f:read("*a") or ""
  if f then f:close() end
  for word in list:gmatch("%d+") do
    local pid = tonumber(word)
    local fd = pid ~= own and core.pidfd.open(pid)
    if fd then
      core.pidfd.wait(fd, 0)
      fd:close()
    end
  end
end

-- Hand on what has come. orphans: others' children are this process's to reap.
function Foreground:take(program, link, orphans)
  local s = core.signal.read(self.signals)
  while s do
    if s.signal == CHLD then
      if orphans then reap(program:pid()) end
    elseif s.signal == WINCH and link then
      link:resize()
    else
      program:kill(s.signal)
    end
    s = core.signal.read(self.signals)
  end
end

-- Until the program has ended. program: of caisson.process, or M.init(container). Returns { code = } or { signal = }.
function Foreground:attend(program, orphans)
  local link
  local ok, status = xpcall(function()
    if program.pty then link = require("caisson.terminal").attach(program) end
    while true do
      self:take(program, link, orphans)
      local result = program:step()
      if result then return result end
      local fds = program:fds()
      if link then link:fds(fds) end
      fds[#fds + 1] = { fd = self.signals, events = "r" }
      local timeout = program:timeout()
      if link then timeout = link:timeout(timeout) end
      local ready, message = core.poll(fds, timeout)
      if not ready then error(message, 0) end
      if link then link:step(ready) end
    end
  end, function(e) return debug.traceback(tostring(e), 2) end)
  if link then link:detach() end
  self:let_go()
  if not ok then error(status, 0) end
  return status
end

-- The command's own exit status for it.
function M.exit_status(status)
  return status.code or 128 + (status.signal or 9)
end

return M
