---@meta caisson.core
---@class caisson.core
local core = {}

---Which namespace has a kernel parameter (sysctl) for its own; nil: it is the whole machine's, and no container may set
---it. No privilege.
---@param name string   "net.ipv4.ip_forward"
---@return "ipc"|"net"|"uts"|"user"|nil
function core.sysctl_namespace(name) end

