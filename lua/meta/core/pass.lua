---@meta caisson.core
-- Descriptors for others, over sockets; and those that the child must not have. unix(7)

---@class caisson.core
local core = {}

core.pass = {}

---Send a copy of a slot's descriptor over a connected unix socket: one message, the name and the descriptor
---(SCM_RIGHTS). Child's side; before clone it is the creator's. No privilege. `EPIPE`: nobody is there any more.
---```lua
---{ step = "pass.fd", options = { fd = "pty", socket = "console", name = "/dev/ptmx" } }
---```
---@param o { fd: string, socket: string, name?: string } slots; the message's bytes ("fd")
---@return true|nil ok, string? message, integer? errno
function core.pass.fd(o) end

---Send a pidfd of this process, or from the parent's side of the child, in the same way.
---```lua
---{ step = "pass.pidfd", side = "parent", options = { socket = "pidfd_socket" } }
---```
---@param o string|{ socket: string, name?: string } a slot; the message's bytes ("pidfd")
---@return true|nil ok, string? message, integer? errno
function core.pass.pidfd(o) end

core.listener = {}

---Hand the listener of a filter (seccomp_unotify(2)), which `send` has brought to the host, to the agent that listens on a
---stream socket at the path: one message, its parts with the child's pid between them, and the descriptor. The slot is
---empty then: calls fail with ENOSYS once the agent is gone. Parent's side. Linux 5.5 for all that an agent can answer.
---`ECONNREFUSED`: nobody listens. `EAGAIN`: it does not accept.
---```lua
---{ step = "listener.send", options = { fd = "listener", path = "/run/agent.sock", message = { '{"pid":', "}" } } }
---```
---@param o { fd: string, path: string, message: string[] } a slot; up to 107 bytes; up to 8 parts
---@return true|nil ok, string? message, integer? errno
function core.listener.send(o) end

---Close slots, here: what only the creator of a child needed, before the child is there to be looked at.
---@param o string[]|{ slots: string[] }
---@return true|nil ok
function core.close(o) end
