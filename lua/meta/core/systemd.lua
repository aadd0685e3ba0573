---@meta
-- Scopes of systemd's (systemd.scope(5)), over D-Bus (org.freedesktop.systemd1(5)); libsystemd is loaded by the first call.
-- A property is "NAME SIGNATURE VALUE", "MemoryMax t 67108864": the value of "ay" in hexadecimal digits, the items of a list
-- with spaces between them. "253:NAME ..." is left out where systemd is older than that.

---@class caisson.core
---@field systemd caisson.core.systemd

---@class caisson.core.systemd
local systemd = {}

---@class caisson.systemd.scope.Options
---@field unit string            the scope's name, which ends in .scope; "*" stands for the run's own 16 digits
---@field at string              where the cgroup v2 file system is mounted
---@field properties? string[]   PIDs are added
---@field user? boolean          this user's systemd, not the system's
---@field pid? integer           whose scope it is: the child's; in a direct call this process's
---@field controllers? string[]  that systemd does not know, to be enabled from the root of the hierarchy on
---@field slot? string           filled with the group's directory ("cgroup")

---Have systemd make a transient scope around the child, and wait until it has. Parent's side, behind clone; at the end of
---the run what is in it is killed, and it is stopped. A direct call returns the group's directory. `EEXIST`: there is a unit
---of that name; `ENOENT`, `EACCES`: nobody is there to be asked, or may be; `EIO`: the job has failed; `ELIBACC`: no libsystemd.
---```lua
---local dir = assert(core.systemd.scope { unit = "demo.scope", at = "/sys/fs/cgroup", properties = { "TasksMax t 20" } })
---```
---@param options caisson.systemd.scope.Options
---@return caisson.core.Fd|nil dir, string? message, integer? errno
function systemd.scope(options) end

---@class caisson.systemd.attach.Options
---@field unit string
---@field sub? string      a path below its group, which is there
---@field user? boolean

---Have systemd move the child into a unit's group: into one that its user has, but may not move processes to.
---Parent's side, behind clone.
---```lua
---{ step = "systemd.attach", options = { unit = "demo.scope", user = true } }
---```
---@param options caisson.systemd.attach.Options
---@return true|nil ok, string? message, integer? errno
function systemd.attach(options) end

---Stop a unit, and wait until it is. One that is not there is no error.
---```lua
---assert(core.systemd.stop("demo.scope"))
---```
---@param unit string
---@param user? boolean
---@return true|nil ok, string? message, integer? errno
function systemd.stop(unit, user) end

---Change properties of a unit until its end; what systemd writes to its group for them is written then.
---```lua
---assert(core.systemd.set("demo.scope", { "TasksMax t 30" }))
---```
---@param unit string
---@param properties string[]
---@param user? boolean
---@return true|nil ok, string? message, integer? errno
function systemd.set(unit, properties, user) end

---Properties of a scope, each named with its signature; "Unit.ActiveState s" is one that all units have.
---```lua
---print(core.systemd.get("demo.scope", { "TasksMax t" })[1]) -- TasksMax t 30
---```
---@param unit string
---@param properties string[]
---@param user? boolean
---@return string[]|nil properties, string? message, integer? errno
function systemd.get(unit, properties, user) end

