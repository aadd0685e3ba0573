---@meta caisson.core
-- The program that takes the place of a container's own when `caisson probe` looks around in it, and the socket to it.

---@class caisson.core
local core = {}

core.prober = {}

---The prober's program, static and without libc, in a sealed memfd: to be executed by `exec`'s option `fd`. It is asked,
---and answers, on descriptor 3 (caisson.probe.session), and ends when that is at its end. memfd_create(2)
---```lua
---local fd = assert(core.prober.program())
---```
---@return caisson.core.Fd|nil fd, string? message, integer? errno  EACCES: memfds can't be executed (vm.memfd_noexec)
function core.prober.program() end

---A socket for it, and this side of that. socketpair(2)
---```lua
---local theirs, ours = assert(core.prober.channel())
---```
---@return caisson.core.Fd|nil theirs, caisson.core.Fd|string ours, integer? errno
function core.prober.channel() end

---Send it bytes, all of them; one that is gone is `EPIPE`, and no signal. send(2)
---```lua
---local ok, message, errno = core.prober.send(ours, bytes)
---```
---@param fd integer|caisson.core.Fd
---@param bytes string
---@return true|nil ok, string? message, integer? errno
function core.prober.send(fd, bytes) end
