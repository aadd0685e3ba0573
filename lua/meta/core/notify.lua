---@meta caisson.core
-- What asks and who answers: filters with action notify. seccomp_unotify(2)

---@class caisson.core
local core = {}

core.notify = {}

---@class caisson.core.notify.Call
---@field id number|string  decimal text beyond 2^53
---@field pid integer       the thread that asks, as the caller sees it; 0: it can't
---@field nr integer
---@field native boolean    of the machine's own architecture
---@field args table        six numbers; one beyond 2^53 as decimal text
---@field ip number|string

---The next call that a filter asks its listener about; it never waits. nil, "none": there is none now, and the descriptor
---becomes readable with the next; nil, "ended": nobody is left under the filter.
---```lua
---local call = core.notify.receive(listener)
---if call then core.notify.answer(listener, call.id, { errno = 1 }) end
---```
---@param fd caisson.core.Fd|integer
---@return caisson.core.notify.Call|nil call, string? message, integer? errno
function core.notify.receive(fd) end

---Does the call still wait for its answer? What was read of its process holds only then. `ENOENT`: it does not, and its
---process's number may be another's.
---@param fd caisson.core.Fd|integer
---@param id number|string
---@return true|nil ok, string? message, integer? errno
function core.notify.valid(fd, id) end

---Answer it: the value that it shall return, the errno that it fails with, or continue: the kernel makes the call, with
---what its memory holds by then, which a thread of its may have changed. `ENOENT`: it is gone. Linux 5.5.
---@param fd caisson.core.Fd|integer
---@param id number|string
---@param with { value?: integer, errno?: integer, continue?: boolean } one of them
---@return true|nil ok, string? message, integer? errno
function core.notify.answer(fd, id, with) end

---A descriptor for its process: a copy of source, with the least free number or the one given (what that was is closed).
---With answer the call returns that number, and is answered by it. `ENOENT`: it is gone. Linux 5.14.
---@param fd caisson.core.Fd|integer
---@param id number|string
---@param source caisson.core.Fd|integer
---@param options? { number?: integer, cloexec?: boolean, answer?: boolean }
---@return integer|nil number, string? message, integer? errno
function core.notify.add(fd, id, source, options) end

---A thread of the process, until what it has for the host is sent: what stands behind it and loads filters, sends, or
---is the parent's, is done without a system call of the process's own but those that load. So a filter may ask about any
---call, before there is anybody to answer. An action of the engine: it works in a plan only, on the child's side; behind
---wait, the parent's steps are done by who starts. `EAGAIN`: no room for one more (RLIMIT_NPROC, pids.max); `EPERM`: it
---can't come before a SCHED_FIFO process.
---```lua
---{ step = "courier" },
---{ step = "seccomp", options = { program = program, listener = "listener" } },
---{ step = "send", options = { fd = "listener", close = true } },
---```
---@param options? { apart?: boolean } for who is to join namespaces: a process, made before
---@return true? ok, string? message, integer? errno
function core.courier(options) end
