---@meta
-- Tracing: ptrace(2). Steps that let a child be traced, the tracer's calls, and the process that a tracer may live
-- in. Who wants to see system calls in Lua and no more takes a recipe's option `trace`, which stands on these.

---@class caisson.core
---@field ptrace caisson.core.ptrace
local core = {}

---@class caisson.ptrace_me.Options

---Be traced by the parent: of a plan's child, by the thread that calls core.spawn (ptrace(2), PTRACE_TRACEME). The
---program then stops at its exec with signal TRAP, and spawn returns; before that, every signal stops it too and is
---handed on. What filters ask a tracer about before the exec is let be, where the tracer has the option "seccomp"
---(see `stop`); without it the kernel answers ENOSYS. Child's side; needs no privilege. `EPERM`: it is traced
---already; `EINVAL`: an init (or an agent, or who waits for its start) stays between it and its host.
---```lua
---{ step = "ptrace_me" },                          -- in a plan; then, in the host:
---local _, kind, signal = core.ptrace.wait(process:pid())  -- "signal", 5
---core.ptrace.cont(process:pid())
---```
---@param options? caisson.ptrace_me.Options
---@return true|nil ok, string? message, integer? errno
function core.ptrace_me(options) end

---@class caisson.ptracer.Options
---@field who "any"|"none"

---Who may trace this process where the Yama module lets only ancestors do so: anybody with the same rights, or none
---but those (prctl(2), PR_SET_PTRACER). Without Yama there is nothing to allow, and it does nothing. Child's side;
---needs no privilege.
---```lua
---{ step = "ptracer", options = { who = "any" } }, -- then a step of the parent's that has it seized
---{ step = "ptracer", options = { who = "none" } },
---```
---@param options caisson.ptracer.Options|"any"|"none"
---@return true|nil ok, string? message, integer? errno
function core.ptracer(options) end

---@class caisson.stop.Options

---The child stops (SIGSTOP) until the parent's steps that follow have been done: a function there sees it stopped, may
---trace it (its tracer, after `ptrace_me`, sets options here), and must leave it stopped; who continues it from
---elsewhere does not hurry it. An action of the engine: it works in a plan only, on the child's side, behind clone.
---`ETIMEDOUT`: process 1 of a pid namespace stops only when it is traced.
---```lua
---{ step = "ptrace_me" }, { step = "stop" },
---{ step = "lua", options = { name = "options" }, side = "parent" }, -- core.ptrace.setoptions(pid, { "seccomp" })
---{ step = "seccomp", options = { program = asks_the_tracer } },
---```
---@param options? caisson.stop.Options
---@return true? ok, string? message, integer? errno
function core.stop(options) end

---A fork of this process that calls one function and ends with it. It gets no signal of the host's terminal, dies with
---the thread that started it, and has of the host's descriptors 0 to 2 and those of the list; all others are
---/dev/null there. Its values are those of the host at the fork; what it changes stays in it. Needs no privilege.
---```lua
---local r, w = assert(core.pipe())
---local pidfd = assert(core.helper(function() w:write "hello" end, { w }))
---w:close()
---core.pidfd.wait(pidfd)
---```
---@param fn fun()
---@param descriptors? (integer|caisson.core.Fd)[]  that it keeps
---@param at_once? boolean  not to wait until it lives. Other threads of the host's may hold what a fork needs: then it ends
---before it has called fn, and is to be started again
---@return caisson.core.Fd|nil pidfd, integer|string pid, integer? errno
function core.helper(fn, descriptors, at_once) end

---Each call is for the thread that traces the process, and for one that is stopped, unless it says otherwise. `ESRCH`:
---it is not stopped, or not traced by this thread, or gone: whatever is asked of a tracee may come too late.
---@class caisson.core.ptrace
local ptrace = {}

---@alias caisson.ptrace.Option
---| "fork"|"vfork"|"clone"  what it makes is traced as well, with the same options
---| "exec"                  an event at exec
---| "exit"                  an event before its end
---| "seccomp"               an event where a filter's action is trace
---| "sysgood"               stops at system calls told from signals
---| "exitkill"              killed when the tracer ends

---Trace a process from here on; it is not stopped (PTRACE_SEIZE). `EPERM`: no right to (another user's, or one that is
---not dumpable, without CAP_SYS_PTRACE; Yama), or it is traced already.
---@param pid integer
---@param options? caisson.ptrace.Option[]
---@return true|nil ok, string? message, integer? errno
function ptrace.seize(pid, options) end

---@param pid integer
---@param options caisson.ptrace.Option[]  all that there shall be
---@return true|nil ok, string? message, integer? errno
function ptrace.setoptions(pid, options) end

---Go on. signal: the one that stopped it, to be delivered, or another; none by default.
---@param pid integer
---@param signal? string|integer
---@return true|nil ok, string? message, integer? errno
function ptrace.cont(pid, signal) end

---Go on to the beginning, or the end, of a system call.
---@param pid integer
---@param signal? string|integer
---@return true|nil ok, string? message, integer? errno
function ptrace.syscall(pid, signal) end

---Leave a seized process in its group stop, as it would be without a tracer; SIGCONT ends it.
---@param pid integer
---@return true|nil ok, string? message, integer? errno
function ptrace.listen(pid) end

---Stop a seized process that runs; it need not be stopped. The stop is event "stop".
---@param pid integer
---@return true|nil ok, string? message, integer? errno
function ptrace.interrupt(pid) end

---Trace it no longer; it goes on.
---@param pid integer
---@param signal? string|integer
---@return true|nil ok, string? message, integer? errno
function ptrace.detach(pid, signal) end

---@alias caisson.ptrace.Kind
---| "exited"   value: the code
---| "killed"   value: the signal
---| "signal"   a signal is about to be delivered: value
---| "group"    stopped as by job control: value is the signal; go on with listen
---| "stop"     the first stop of what a seized process has made, or interrupt's
---| "fork"|"vfork"|"clone"   value: the new process
---| "exec"     value: the id that the thread had before
---| "exit"     value: its status to be
---| "seccomp"  value: the filter's number
---| "syscall"  at a system call, with option sysgood

---Wait for a stop or the end of a traced process, which is then reaped. pid nil: of any, which only a helper may ask
---for: in the host that would be anybody's child. nil, "timeout": now, and there is none.
---@param pid? integer
---@param now? boolean  do not wait
---@return integer|nil pid, caisson.ptrace.Kind|string kind, integer? value
function ptrace.wait(pid, now) end

---@class caisson.ptrace.Info
---@field op "none"|"entry"|"exit"|"seccomp"
---@field nr? integer
---@field native? boolean   a call of this machine's own kind: not i386's or x32's
---@field args? table       six numbers, below zero for -100 and the like; beyond 2^53 as decimal text
---@field data? integer     the filter's number
---@field result? number    at its end
---@field ip integer

---The system call that it is stopped at (PTRACE_GET_SYSCALL_INFO).
---@param pid integer
---@return caisson.ptrace.Info|nil info, string? message, integer? errno
function ptrace.call(pid) end

---The call that it is stopped at, at its beginning or by a filter, is not made: it returns this. Below zero: an errno.
---@param pid integer
---@param result integer
---@return true|nil ok, string? message, integer? errno
function ptrace.skip(pid, result) end

---Bytes of its memory, at most 65536: fewer where the rest can't be read, and `EFAULT` where none can
---(process_vm_readv(2)).
---@param pid integer
---@param address integer|string
---@param size integer
---@return string|nil bytes, string? message, integer? errno
function ptrace.read(pid, address, size) end

---The text at an address, to its NUL. `ENAMETOOLONG`: there is none in that many bytes (4096); `EFAULT`.
---@param pid integer
---@param address integer|string
---@param most? integer
---@return string|nil text, string? message, integer? errno
function ptrace.string(pid, address, most) end
