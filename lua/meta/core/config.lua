---@meta caisson.core
-- Labels of security modules, and shares of caches.

---@class caisson.core
local core = {}

---The AppArmor profile that what this process executes next is confined by; "&name": by that one on top of the
---profile in force. The profile must be loaded (ENOENT), and AppArmor active (EOPNOTSUPP). Written through the
---slot procfs, or a /proc that is one. No privilege for an unconfined process. aa_change_onexec(2)
---
---    { step = "apparmor", options = "caisson-default" }
---@param o string|{ profile: string } at most 1000 bytes
---@return true? ok, string? message, integer? errno
function core.apparmor(o) end

---The SELinux label of what this process executes next. EOPNOTSUPP without SELinux. setexeccon(3)
---@param o string|{ label: string } "system_u:system_r:container_t:s0:c1,c2"
---@return true? ok, string? message, integer? errno
function core.selinux(o) end

---Move the child (parent's side), or this process, into a group of resctrl: shares of caches and memory bandwidth
---(Intel RDT, AMD QoS). The group is made unless `existing`; on a later failure it is taken back. Without a group: the
---default one. monitor: a monitoring group of that name in it. EOPNOTSUPP where the machine has none; errors carry the
---kernel's last_cmd_status. Needs root, and resctrl mounted. Linux 4.10
---
---    { step = "resctrl", options = { "gold", schemata = { "L3:0=f", "MB:0=50" } } }
---@param o { group?: string, schemata?: string[], monitor?: string, existing?: boolean, at?: string } at: /sys/fs/resctrl
---@return true? ok, string? message, integer? errno
function core.resctrl(o) end

---Which build of the library this is: 16 digits that are another's where its runner differs.
---@type string
core.build = nil

---A descriptor of the runner's program, which ends at once where it is executed without arguments: for plans whose
---steps are all that is wanted. nil, message, errno where there can be none.
---
---    { step = "exec", options = { argv = { "caisson" }, fd = "runner" } } -- slots = { runner = core.runner() }
---@return caisson.core.Fd|nil runner, string? message, integer? errno
function core.runner() end

---Start a runner now, whose plan comes with a later core.spawn: by then another processor has started it, and has
---made the namespaces of this list (net, ipc, uts) in it, for the child. It is for a process of its own, such as a
---command, that knows it is about to run a plan and has yet to make it. The next core.spawn takes it if its plan makes
---these namespaces anew (without a user namespace, which would own them, and joins none before clone); else, and where it
---runs the plan in a fork, it ends it. What can't be done ahead (CAP_SYS_ADMIN is needed, clone(2)) is done, or refused, at
---its time, as without this.
---
---What the child has of its creator (working directory, umask, limits, credentials, the mount namespace, ...) is as it was when
---the runner was started. There is one for each Lua state; false ends it, as the state's end does, and that of the thread that has
---started it (PR_SET_PDEATHSIG). While the last one that was taken has yet to be executed there can be no other: false.
---
---    core.ahead { "net" }
---    local plan = compile()                 -- meanwhile
---    local process = core.spawn { plan = plan }
---@param namespaces? ("net"|"ipc"|"uts")[]|false
---@return boolean there  whether there is one now
function core.ahead(namespaces) end
