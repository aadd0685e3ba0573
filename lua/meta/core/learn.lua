---@meta
-- Learning: a tracer's loop that hands on what is new and lets all else go at once. Who wants to learn a policy takes
-- caisson.learn, which stands on this.

---@class caisson.core
---@field learn caisson.core.learn
local core = {}

---@class caisson.core.learn
core.learn = {}

---What makes a call another one than those before. Arguments are counted from 1. A rule that says nothing is of a call
---that is told once.
---@class caisson.core.learn.Rule
---@field keep? table<integer, integer|string>  bits of arguments that count
---@field text? integer     the argument that points to a path
---@field dir? integer      the argument with the directory's descriptor for it
---@field text2? integer    of a second path
---@field dir2? integer
---@field memory? integer   the argument that points to bytes that count, at most 128 of them
---@field size? integer     how many
---@field size_at? integer  or the argument that says so
---@field fd? integer       the argument that is a descriptor; the highest is counted
---@field always? boolean   it is told each time
---@field hot? boolean      where the same place makes it again and again, it need not be traced each time

---@class caisson.core.learn.Call
---@field nr integer
---@field native boolean    of the machine's own architecture
---@field args (number|string)[]  six, as core.ptrace.call has them
---@field memory? string
---@field texts? table<integer, string>  paths, by their argument
---@field dirs? table<integer, string>   the directories that those are asked from which are relative

---@class caisson.core.learn.Figures
---@field tasks integer     processes and threads at once, at most
---@field fd integer        the highest descriptor that was used
---@field stops number      calls that were traced
---@field events number     of these, those that were new
---@field sites integer     places whose calls are traced no more
---@field unreadable boolean  the memory of a process could not be read, and so its paths are not known

---@class caisson.core.Learner
local Learner = {}

---Wait for something new of what this thread traces (core.ptrace.seize, with the options fork, vfork, clone, exec,
---seccomp). Who is told of is stopped until the next next(). In a helper (core.helper) alone.
---`"call", tid, caisson.core.learn.Call`; `"exec", tid, former_tid`; `"child", tid, pid` until it has begun;
---`"exited", tid`; `"ended"` when nothing is left; or nil, message, errno.
---@return "call"|"exec"|"child"|"exited"|"ended"|nil kind, integer|string? tid, any? what
function Learner:next() end

---From here on calls are the program's: those before are let be, and not told of.
---@param first integer  its process
---@return true ok
function Learner:begin(first) end

---Another rule for a call, from here on.
---@param nr integer
---@param rule caisson.core.learn.Rule
---@return true ok
function Learner:rule(nr, rule) end

---@return caisson.core.learn.Figures
function Learner:figures() end

---A tracer's loop. rules: by a call's number. sites: calls of a hot place are let go at full speed: the program's own copy
---of the code is led round by a page (core.learn.sites()) whose calls the filter must allow. On x86-64.
---```lua
---local learner = core.learn.new({ [core.seccomp.number "ioctl"] = { keep = { [2] = 0xffffffff } } })
---local kind, tid, call = learner:next()
---```
---@param rules table<integer, caisson.core.learn.Rule>
---@param sites? boolean
---@return caisson.core.Learner
function core.learn.new(rules, sites) end

---The addresses that hot calls are made from; nothing on a machine where all are traced.
---@return integer? from, integer? to
function core.learn.sites() end

---Type (1: SOCK_STREAM) and family (2: AF_INET) of a socket that a traced thread has. pidfd_getfd(2)
---@param tid integer
---@param fd integer
---@return { type: integer, family: integer }|nil socket, string? message, integer? errno
function core.learn.socket(tid, fd) end
