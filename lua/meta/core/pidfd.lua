---@meta caisson.core
-- Processes by descriptor. What is opened here is the caller's to close.

---@class caisson.core
local core = {}

core.pidfd = {}

---A descriptor for a process: readable once it has ended, and never another's, should the pid be used again.
---pidfd_open(2), Linux 5.3.
---@param pid integer
---@return caisson.core.Fd?, string?, integer?
function core.pidfd.open(pid) end

---A signal to the process; 0 only asks whether it is there. pidfd_send_signal(2), Linux 5.1.
---Privilege: as for kill(2): the same user, or CAP_KILL.
---@param fd integer|caisson.core.Fd
---@param signal? string|integer "KILL" by default
---@return true?, string?, integer?
function core.pidfd.kill(fd, signal) end

---@class caisson.core.Status
---@field code? integer          exit code
---@field signal? integer        the signal that ended it
---@field core_dumped? boolean
---@field user_us? number        CPU time in microseconds; 0 where another has reaped it
---@field system_us? number
---@field maxrss_kb? number
---@field stolen? boolean        another has reaped it, so that its usage is lost
---@field unknown? boolean       it has ended, but the kernel tells nobody but its parent how

---Wait for its end, whoever its parent is; a child of this process is reaped.
---The status of another's child is known from Linux 6.15 on, once that one has reaped it.
---
---    local fd = assert(core.pidfd.open(pid))
---    core.pidfd.kill(fd, "TERM")
---    local status = core.pidfd.wait(fd, 5) or core.pidfd.kill(fd, "KILL")
---@param fd integer|caisson.core.Fd
---@param timeout? number seconds; none: for ever; 0: only look
---@return caisson.core.Status? status
---@return string? message "timeout", or what failed
---@return integer? errno
function core.pidfd.wait(fd, timeout) end
