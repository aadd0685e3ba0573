---@meta
-- A tracer's loop that sees what fails: what `caisson run --explain` stands on.

---@class caisson.core.ptrace
local ptrace = {}

---@class caisson.ptrace.WatchOptions
---@field programs? string[]   seccomp programs, as they were before they were made to ask the tracer, in their order
---@field tag? integer         what the filters of the tracer's own give as data
---@field errnos? integer[]    of calls that end with one of these it is told
---@field key? integer         of ptrace.stub_key: only what fails of `calls` is told, without a stop for each
---@field calls? integer[]     those: they have no sixth argument, and come back, once
---@field signals? integer[]   signals about to be delivered that it is told of

---@class caisson.ptrace.Watcher
local watcher = {}

---Sees all that a helper traces, and tells what fails; all else goes on at once. Where a filter asks (action trace), the
---programs are evaluated in C: what they deny gets their errno; what they allow is made, and its end looked at where the
---filter's data is `tag`; else it was asked by a filter of the program's own, which has no tracer: ENOSYS. A filter with a
---listener is refused (EBUSY) once they are whole. To seize with "sysgood", "seccomp", "exit", "exec" and what follows children. For a helper.
---```lua
---local w = core.ptrace.watch { programs = { program }, tag = 7, errnos = { core.errno.EACCES } }
---local tid, kind, value, call = w:next()
---```
---@param options caisson.ptrace.WatchOptions
---@return caisson.ptrace.Watcher
function ptrace.watch(options) end

---What the sixth argument of a call is, with the call's address in its low half added, that a stub makes in the program's
---own code: the filter that asks the tracer lets it be. A number below 2^52 that nobody guesses; nil on a machine where no
---stubs are made.
---@return integer? key
function ptrace.stub_key() end

---@alias caisson.ptrace.WatchKind
---| "denied"   a filter's errno is the answer: call
---| "failed"   a call has ended so: value is -errno; call
---| "sigsys"   it ends by SIGSYS: see watcher:call
---| "signal"   value: the signal, to be handed on
---| "exec"     value: the id that the thread had before
---| "child"    value: the new process or thread
---| "killed"   by SIGKILL or SIGSYS: value
---| "gone"     it has ended

---The next thing to tell. All but "killed" and "gone" are stopped, and go on by core.ptrace.cont.
---@return integer|nil tid, caisson.ptrace.WatchKind|string kind, number? value, { nr: integer, native: boolean, arch: integer, args: table, answer: integer }? call
function watcher:next() end

---The call that a stopped thread is in or behind, and what the programs answer to it.
---@param tid integer
---@return { nr: integer, native: boolean, arch: integer, args: table, answer: integer }|nil call, string? message, integer? errno
function watcher:call(tid) end

---The program runs, and all of the programs are loaded: until then, those are asked that the thread has by its
---number of filters.
---@return true
function watcher:whole() end
