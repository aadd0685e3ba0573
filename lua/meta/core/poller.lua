---@meta caisson.core
---@class caisson.core
local core = {}

-- Many descriptors at once (epoll(7)). Most programs use caisson.loop, which is made of this.

---A set of descriptors to wait for. A look at it costs the same for ten and for ten thousand; core.poll looks at each.
---```lua
---local poller = assert(core.poller())
---local r, w = core.pipe()
---poller:add(r)
---w:write("x")
---assert(poller:wait(1)[1] == r:fileno())
---```
---@return caisson.core.Poller?, string?, integer?
function core.poller() end

---@class caisson.core.Poller
local Poller = {}

---Wait for it to become readable, or to end. EEXIST: it is in the set.
---@param fd integer|caisson.core.Fd
---@return true?, string?, integer?
function Poller:add(fd) end

---@param fd integer|caisson.core.Fd
---@return boolean was_there one that was closed has left by itself
function Poller:remove(fd) end

---@param seconds? number for ever by default
---@return integer[]? ready numbers of descriptors; none: the time is over, or a signal came
---@return string?, integer?
function Poller:wait(seconds) end

---@return integer its own descriptor, readable when one of the set is
function Poller:fileno() end

---@return true
function Poller:close() end
