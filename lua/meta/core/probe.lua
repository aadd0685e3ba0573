---@meta caisson.core
-- The program that takes the place of a container's own when `caisson probe` looks around in it.

---@class caisson.core
local core = {}

---The prober's program, static and without libc, in a sealed memfd: to be executed by `exec`'s option `fd`. It is asked on
---descriptor 3 and answers on 4 (caisson.probe.session), and ends when 3 does. memfd_create(2)
---```lua
---local fd = assert(core.prober())
---```
---@return caisson.core.Fd|nil fd, string? message, integer? errno  EACCES: memfds can't be executed (vm.memfd_noexec)
function core.prober() end
