---@meta caisson.core
-- Unix sockets by name in an open directory, so that the 108 bytes of an address are no limit to where that is.

---@class caisson.core
local core = {}

core.socket = {}

---A listening socket with that name in the directory; who may connect is told by the directory's permissions and the
---socket's. Removing the name is the caller's. unix(7); needs /proc.
---@param directory integer|caisson.core.Fd a descriptor, for which the right to search it is enough ("path")
---@param name string without "/"
---@param type? "seqpacket"|"stream"|"dgram" seqpacket by default
---@return caisson.core.Fd?, string?, integer? errno EADDRINUSE: the name is there
function core.socket.listen(directory, name, type) end

---A connection to it.
---@param directory integer|caisson.core.Fd
---@param name string
---@param type? "seqpacket"|"stream"|"dgram"
---@param timeout? number seconds to wait where the listener's queue is full, 10 by default
---@return caisson.core.Fd?, string?, integer? errno ENOENT or ECONNREFUSED: nobody listens; EAGAIN: nobody accepts
function core.socket.connect(directory, name, type, timeout) end
