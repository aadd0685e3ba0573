---@meta
-- Terminals and signals: what an interactive container needs, inside and on the caller's side.

---@class caisson.core
---@field terminal caisson.core.terminal
---@field signal caisson.core.signal
local core = {}

---@class caisson.pty.Options
---@field path? string     the device inside the root that makes them; "/dev/pts/ptmx"
---@field rows? integer    the window's size, before the program can ask for it; 0 by default
---@field columns? integer
---@field uid? integer     owner of the slave, as seen inside; by default who applies the step
---@field gid? integer
---@field master string    slot that is filled with the master: `send` it to the host
---@field slave string     slot that is filled with the slave, for `tty` and the program's descriptors
---@field root? string     slot of the root that path is resolved in; "root"

---A terminal for the container, of the container's own devpts. Child's side. `ENODEV`: there is something else.
---pty(7), ioctl_tty(2).
---```lua
---{ step = "pty", options = { master = "pty", slave = "tty", rows = 25, columns = 80 } },
---{ step = "send", options = { fd = "pty" } }, -- process:slot("pty") is then the master
---{ step = "session" },
---{ step = "tty", options = { fd = "tty" } },
---```
---@param options caisson.pty.Options
---@return true|nil ok, string? message, integer? errno
function core.pty(options) end

---@class caisson.send.Options
---@field fd string       the slot
---@field close? boolean  here it is empty then
---@field attend? string  function(pid, number) of the run: called whenever the descriptor is readable, until the slot is
---  empty there or the program runs

---A copy of the child's descriptor goes to the host, into the same slot of the run there: `process:slot(name)`, and
---the parent's steps that follow. An action of the engine: it works in a plan only, on the child's side.
---```lua
---{ step = "send", options = { fd = "pty" } }
---```
---@param options caisson.send.Options|string
---@return true? ok, string? message, integer? errno
function core.send(options) end

---This process's own terminal. Every function fails with `ENOTTY` where fd is none.
---@class caisson.core.terminal
local terminal = {}

---The window's size. ioctl_tty(2), TIOCGWINSZ.
---@param fd integer|caisson.core.Fd
---@return integer|nil rows, integer|string columns, integer? errno
function terminal.size(fd) end

---Set the window's size; who is in the foreground there gets SIGWINCH.
---@param fd integer|caisson.core.Fd
---@param rows integer
---@param columns integer
---@return true|nil ok, string? message, integer? errno
function terminal.resize(fd, rows, columns) end

---Every byte as it is, no echo, no signals from keys: cfmakeraw(3). Returns the modes that it had.
---```lua
---local modes = assert(core.terminal.raw(0))
---core.terminal.restore(0, modes)
---```
---@param fd integer|caisson.core.Fd
---@return string|nil modes, string? message, integer? errno
function terminal.raw(fd) end

---@param fd integer|caisson.core.Fd
---@param modes string  what terminal.raw returned
---@return true|nil ok, string? message, integer? errno
function terminal.restore(fd, modes) end

---Is it this process's controlling terminal, and this process in its foreground? tcgetpgrp(3)
---@param fd integer|caisson.core.Fd
---@return boolean
function terminal.foreground(fd) end

---A new pty of this process's /dev/pts: its master. ptmx(4).
---@return caisson.core.Fd|nil master, string? message, integer? errno
function terminal.open() end

---The other side of a pty, by its master alone, whatever the filesystem's root is by now. ioctl_tty(2), TIOCGPTPEER.
---@param master integer|caisson.core.Fd
---@return caisson.core.Fd|nil slave, string? message, integer? errno
function terminal.peer(master) end

---Signals as something to read, for programs that hand them on. The library itself calls none of this.
---@class caisson.core.signal
local signal = {}

---From now on these signals are read from the descriptor and do nothing else: handlers that write to a pipe, so
---that what the process starts has the default for them. One that the process ignores stays ignored.
---`EBUSY`: one of them is read already. sigaction(2).
---```lua
---local fd = assert(core.signal.open { "INT", "TERM" })
---core.poll({ { fd = fd } })
---local s = core.signal.read(fd)
---```
---@param signals string[]  words such as "TERM"
---@return caisson.core.Fd|nil fd, string? message, integer? errno
function signal.open(signals) end

---@class caisson.signal.Info
---@field signal integer
---@field kernel boolean  sent by the kernel, as those of a terminal's keys are, and not by a process
---@field pid integer     of the sender
---@field uid integer

---The next signal; nil where none has come.
---@param fd caisson.core.Fd
---@return caisson.signal.Info|nil info, string? message, integer? errno
function signal.read(fd) end

---Close the descriptor; its signals have their default effect again.
---@param fd caisson.core.Fd
---@return true
function signal.close(fd) end

---Send a signal to this process.
---@param sig string|integer
---@return true|nil ok, string? message, integer? errno
function signal.raise(sig) end

---kill(2), of one process.
---@param pid integer
---@param sig string|integer
---@return true|nil ok, string? message, integer? errno
function signal.send(pid, sig) end

---`core.signal.name(15) == "TERM"`; nil for a number without a name.
---@param number integer
---@return string|nil name
function signal.name(number) end
