---@meta
-- What who goes along with a construction asks.

---@class caisson.core
local core = {}

---@class caisson.core.Plan
local Plan = {}

---The number of the first of the steps that are done in one go right before exec, when all else is ready.
---@return integer
function Plan:last() end

---The capabilities that this process has. capabilities(7)
---```lua
---core.capabilities.get().effective[1] --> "chown"
---```
---@return { effective: string[], permitted: string[], inheritable: string[], bounding: string[], ambient: string[] }|nil sets
---@return string? message, integer? errno
function core.capabilities.get() end
