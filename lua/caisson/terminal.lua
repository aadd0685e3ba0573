-- Between the caller's terminal and a container's own (a recipe with tty = true): what is typed goes in,
-- what is written comes out, and the window's size follows.
local core = require "caisson.core"

local M = {}

---@class caisson.Terminal
local Link = {}
Link.__index = Link

local EAGAIN = core.errno.EAGAIN

-- The end of a file is told to a terminal's reader by its end-of-file key: again and again, since a file
-- stays at its end, while the key is gone with who reads it, or with a change of modes.
local end_interval = 0.1e9

-- All of the bytes, whatever the descriptor is; nil, message, errno where that can't be.
local function write_all(fd, bytes)
  while #bytes > 0 do
    local n, message, errno = fd:write(bytes)
    if n then
      bytes = bytes:sub(n + 1)
    elseif errno == EAGAIN then
      core.poll { { fd = fd, events = "w" } }
    else
      return nil, message, errno
    end
  end
  return true
end

-- Attach descriptors (0 and 1 by default) to the terminal of a running container. If input is a terminal,
-- it is put into raw mode, until detach() is called. Raises where the container has no terminal.
function M.attach(running, input, output)
  if not running.pty then error("the container has no terminal of its own (tty = true)", 2) end
  local self = setmetatable({ running = running, pty = running.pty, pending = "",
    input = assert(core.dup(input or 0)), output = assert(core.dup(output or 1)) }, Link)
  self.is_terminal = core.terminal.size(self.input) ~= nil
  self.pty:nonblock(true)
  running:stream("stdout", assert(core.dup(self.pty)), function(bytes)
    local ok, message = write_all(self.output, bytes)
    if not ok then
      self.broken = message
      running:stop("signalled")
    end
  end)
  self:resume()
  return self
end

-- Is it this process's turn to read and to set modes?
local function may(self)
  return self.is_terminal and core.terminal.foreground(self.input)
end

-- The window's size goes in.
function Link:resize()
  local rows, columns = core.terminal.size(self.output)
  if not rows then rows, columns = core.terminal.size(self.input) end
  if rows then core.terminal.resize(self.pty, rows, columns) end
end

-- Take the caller's terminal (again).
function Link:resume()
  if may(self) and not self.modes then self.modes = core.terminal.raw(self.input) end
  self:resize()
end

-- Give the caller's terminal back as it was.
function Link:suspend()
  -- in the background its modes are somebody else's by now
  if self.modes and core.terminal.foreground(self.input) then core.terminal.restore(self.input, self.modes) end
  self.modes = nil
end

-- What to poll, put at the end of a list; step(ready, list) then does what is due.
function Link:fds(list)
  self.input_at, self.pty_at = nil, nil
  if self.pending ~= "" then
    list[#list + 1] = { fd = self.pty, events = "w" }
    self.pty_at = #list
  elseif not self.ended and (not self.is_terminal or may(self)) then
    list[#list + 1] = { fd = self.input, events = "r" }
    self.input_at = #list
  end
end

-- Seconds until step() has something to do; no more than those given.
function Link:timeout(seconds)
  if not self.end_at then return seconds end
  local t = math.max(self.end_at - core.now(), 0) / 1e9
  return math.min(t, seconds or t)
end

function Link:step(ready)
  if self.input_at and ready[self.input_at] then
    local bytes = self.input:read()
    if bytes and bytes ~= "" then
      self.pending = bytes
    else
      self.ended = true
      if bytes and not self.is_terminal then self.end_at = core.now() + end_interval end
    end
  end
  if self.end_at and self.pending == "" and core.now() >= self.end_at then
    self.pending, self.end_at = "\4", core.now() + end_interval
  end
  if self.pending ~= "" and self.running.pty then
    local n, _, errno = self.pty:write(self.pending)
    if n then
      self.pending = self.pending:sub(n + 1)
    elseif errno ~= EAGAIN then
      self.pending, self.ended = "", true
    end
  end
end

-- The caller's terminal is as it was before.
function Link:detach()
  self:suspend()
  self.input:close()
  self.output:close()
end

return M
