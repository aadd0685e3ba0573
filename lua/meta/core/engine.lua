---@meta caisson.core
-- The engine: plans, spawning, processes, descriptors. Primitives stand in the files of their families.
-- Failures answer nil, message, errno; misuse raises.

---@class caisson.core
local core = {}

---A plan: a read-only block that says how a child is made. Steps run in the order of the list, each on its side.
---@param steps { step: string, options?: any, side?: "child"|"parent", optional?: boolean }[]
---@return caisson.core.Plan
---Raises on an unknown step, option or word, naming the nearest known one.
function core.plan(steps) end

---Raises what core.plan would raise of this one step.
---@param step string
---@param options any
---@return true
function core.check(step, options) end

---What steps there are: name, side, whether it is an action of the engine, and its fields with kind and words.
---@type table<string, { name: string, side: string, action: boolean, fields: { name: string, kind: string, required: boolean, words?: string[] }[] }>
core.primitives = {}

---@class caisson.core.Plan
local Plan = {}

---The steps again, in the form that core.plan takes, each with its object as text.
---@return { step: string, side: string, optional?: boolean, options: table, object: string }[]
---@param bare? boolean  without the objects
function Plan:steps(bare) end

---@return integer bytes of the block
function Plan:size() end

---Run a plan: make the child, apply the steps of both sides, and return when its program has been executed.
---The host process is not forked, unless a lua step stands on the child's side (or fork asks for it).
---Its cwd, umask, signals, descriptors and other children stay as they are.
---A plan may end without exec, with a lua step of the child's side: the child then ends with code 0 behind it.
---
---`fail` injects a fault: that step (1-based) fails with that errno without being applied.
---
---`before` is called before each step with its number, whether the child is there, and the filled slots: in the child,
---which is a fork of the host then, or where there is none yet in who does the step. "skip" leaves the step out;
---nil, message, errno fails it. The steps from Plan:last() on are all asked about before the first of them is done.
---`attach` is called with the child's pid when it is there and before it does anything, and with the place in its memory
---of a u32: the number (from 0) of the step that it is at. `timed` is called behind each step of the parent's side.
---`stamped` is called in the end with when things happened, in nanoseconds of CLOCK_MONOTONIC: { born =, executed =,
---[step] = { began, ended } }. `meanwhile` is called once, with the child's pid or 0, when there is time: behind the last but
---one of the turns that the child needs of this side, or where it needs none (and before spawn returns). nil, message, errno
---gives the construction up.
---@param o { plan: caisson.core.Plan, slots?: table<string, integer|caisson.core.Fd>, functions?: table<string, fun(pid: integer)>, fork?: boolean, fail?: { step: integer, errno: integer }, before?: fun(number: integer, born: boolean, slots: table<string, integer>): any, attach?: fun(pid: integer, address: number): any, timed?: fun(number: integer, began: number, ns: number, errno: integer), stamped?: fun(times: table), meanwhile?: fun(pid: integer): any }
---@return caisson.core.Process? process
---@return string? message
---@return integer? errno
---@return caisson.core.Failure? failure
function core.spawn(o) end

---@class caisson.core.Failure
---@field step string       the primitive's name; "run" outside any step
---@field number? integer   its place in the plan, 1-based
---@field index? integer    its place among the steps of that name, 1-based
---@field side? string
---@field object? string
---@field errno integer     0 where the child was killed
---@field code? string      the errno's name
---@field signal? integer   what killed the child before its program was executed
---@field detail? string    what more is known: the path component, the kernel's own message, a traceback

---@class caisson.core.Process
local Process = {}

---@param timeout? number seconds; none: for ever; 0: only look
---@return { code?: integer, signal?: integer, core_dumped?: boolean, user_us: number, system_us: number, maxrss_kb: number }? status
---@return string? message "timeout", or what failed
---@return integer? errno
function Process:wait(timeout) end

---@param signal? string|integer "KILL" by default
---@return true?, string?, integer?
function Process:kill(signal) end

---@return integer
function Process:pid() end

---The descriptor to poll: readable once the process has ended. It stays the object's.
---@return integer
function Process:pidfd() end

---What to poll for reading: then wait(0) may have its end to tell. The pidfd, or for a run in a pooled container its
---agent's socket.
---@return integer
function Process:end_fd() end

---A duplicate of what a step of the parent's side, or a send, has put into a slot; or, to take, the run's own, which
---it then has no more: closing that is the end of it (a pty hangs up).
---@param name string
---@param take? boolean
---@return caisson.core.Fd?
function Process:slot(name, take) end

---@return number start, number exec CLOCK_MONOTONIC, nanoseconds
function Process:times() end

---CPU time so far, without that of children; nil once it has ended.
---@return number? nanoseconds
function Process:cpu_ns() end

---@return table<integer, integer> errno by number of the optional steps that were left out
function Process:skipped() end

---@param slot string
---@return integer? made what the parent's step that fills the slot had to make, and the end takes back: how many groups
function Process:made(slot) end

---Of a plan with a wait step: from now on the container outlives its host, which until then takes it along when it
---dies. To be said once all is on disk that somebody needs to find the container again. Only then does the child let
---go of its death signal (and takes that of exec), and this waits until it has.
---@return true?, string?, integer? ESRCH: it has ended before
function Process:keep() end

---Let go of it without ending it: it is no more this object's, and what the parent's steps made stays. One that waits
---for its start has to be kept first. It stays this process's child, to be reaped by core.pidfd.wait.
---@return true
function Process:release() end

---From now on close and collection let it go instead of ending it, as long as it runs.
---@return true
function Process:detach() end

---Kill it if it still runs, reap it, and take back what the parent's steps have made. Also on collection.
---@return true
function Process:close() end

---@param list { fd: integer|caisson.core.Fd, events?: "r"|"w"|"rw" }[]
---@param timeout? number seconds
---@return table<integer, string>? ready by position; empty when the time is over or a signal came
---@return string?, integer?
function core.poll(list, timeout) end

---@class caisson.core.Fd a descriptor; closed when collected
local Fd = {}

---@return true
function Fd:close() end
---@return integer
function Fd:fileno() end
---@return integer the number, now the caller's to close
function Fd:detach() end
---@param n? integer at most so many bytes
---@return string? bytes "" at the end
---@return string?, integer?
function Fd:read(n) end
---@param bytes string
---@return integer? written
---@return string?, integer?
function Fd:write(bytes) end
---@param on boolean
---@return true?, string?, integer?
function Fd:nonblock(on) end

---@return caisson.core.Fd? read, caisson.core.Fd|string write, integer? errno
function core.pipe() end

---open(2), close-on-exec.
---@param path string
---@param flags? string|string[] read write readwrite create truncate append exclusive path directory nofollow nonblock
---@param mode? integer for "create"
---@return caisson.core.Fd?, string?, integer?
function core.open(path, flags, mode) end

---A sealed memory file with these bytes (memfd_create(2)).
---@param name string
---@param bytes string
---@return caisson.core.Fd?, string?, integer?
function core.memfd(name, bytes) end

---@return { pid: integer, ppid: integer, uid: integer, euid: integer, gid: integer, egid: integer, groups: integer[] }
function core.identity() end

---This process's effective user, alone.
---@return integer
function core.euid() end

---The inodes of a process's namespaces, or of this process's, by name: { user =, mount =, pid =, ... }; name: that one alone.
---@param pid? integer
---@param name? string
---@return table<string, integer>? inodes, string? message, integer? errno
function core.namespaces(pid, name) end

---@return number nanoseconds of CLOCK_MONOTONIC
function core.now() end

---@param pgid integer
---@param signal string|integer
---@return true?, string?, integer?
function core.kill_group(pgid, signal) end

---@param path string
---@return { type: string, mode: integer, uid: integer, gid: integer, size: integer, dev: integer, ino: integer, rdev_major: integer, rdev_minor: integer, target?: string }?
---@return string?, integer?
function core.lstat(path) end

---@param path string
---@return string? path absolute and without links
---@return string?, integer?
function core.realpath(path) end

---errno numbers by name; errno.name(2) is "ENOENT", errno.message(2) its text. A misspelt name raises.
---@type table<string, integer>
core.errno = {}

-- ---- steps of the engine ----

---The child, with new namespaces. Steps of the child's side before it are applied by its creator, which is how
---existing namespaces are joined. An action of the engine: it works in a plan only.
---Privilege: CAP_SYS_ADMIN, or a new user namespace among them. clone3(2), namespaces(7).
---With copy the child has a copy of its creator's memory and no descriptor but the slots and the run's own, and its
---creator is born into the cgroup before its first step: for a child whose pid namespace has others in it.
---@param o { namespaces?: string[], cgroup?: string, copy?: boolean } user mount pid net ipc uts cgroup time; a slot with a cgroup v2 directory to be born in
---@return true? ok, string? message, integer? errno
function core.clone(o) end

---A function of the run, called by its name, there in the list. On the child's side the child is a fork of the
---host and the function sees its namespaces; on the parent's it gets the child's pid. It works in a plan only.
---@param o string|{ name: string }
---@return true? ok, string? message, integer? errno
function core.lua(o) end

---The container is made, and waits here for its start: the child goes on in the runner's program, holding nothing but
---what the steps to come need, and listens on the slot `start`: a listening socket of the type seqpacket. core.spawn
---then gives back the process object; Process:keep() lets the container outlive its host, core.start has it go on.
---Steps behind it are no functions, and of the child's side; behind a courier also the parent's, done by who starts. That the program is there is checked here already.
---While it waits, a signal that ends other processes ends it too, as pid 1 with the exit code 128 + n; it reaps what
---is orphaned. It works in a plan only.
---@param o string|{ start: string }
---@return true? ok, string? message, integer? errno
function core.wait(o) end

---Start a container that waits, over a connection to its socket, from any process that may connect. Nobody from
---inside the container may. Returns once its program has been executed. A step that fails ends the container.
---
---    local directory = assert(core.open("/run/caisson/web", { "path", "directory" }))
---    local socket = assert(core.socket.connect(directory, "start"))
---    assert(core.start { socket = socket, plan = plan, pidfd = pidfd })
---
---plan: the one that it was made of; it gives a failing step its name. pidfd: of the container, to tell what killed
---it. pid: its number here, for the parent's steps behind wait. cancel: a descriptor; waiting is given up when it becomes
---readable (ECANCELED). group: its cgroup; waiting is given up, too, when that has been frozen for some seconds (EBUSY).
---@param o { socket: integer|caisson.core.Fd, plan: caisson.core.Plan, pid?: integer, pidfd?: integer|caisson.core.Fd, cancel?: integer|caisson.core.Fd, group?: integer|caisson.core.Fd }
---@return { exec_ns: number, skipped: table<integer, integer> }? started skipped: as Process:skipped(), of the steps behind wait
---@return string? message
---@return integer? errno ECONNREFUSED: it does not wait any more
---@return caisson.core.Failure? failure
function core.start(o) end

---@class caisson.exec.Options
---@field argv string[]
---@field env? string[] NAME=value
---@field path? string the program; argv[1] by default, looked up in the PATH of env inside the new root
---@field fd? string a slot that holds the program
---@field files? string[] slots for the descriptors 0, 1, 2, …; "-" closes one; all others are closed
---@field death_signal? string|integer what the program gets when the thread that made it ends; KILL by default
---@field blocked? string[] signals blocked when it starts
---@field home? boolean HOME as /etc/passwd of the root has it for the uid ("/" where it has none), if env has no HOME
---@field init? boolean stay as its parent: forward signals, reap orphans, tell the host how it ended
---@field agent? boolean stay without a program, and run what core.agent's methods send; argv is then a name for the plan's reader

---The program, last of a plan. Descriptors, signals and the death signal are set right before it. It works in a plan
---only. execve(2), execveat(2).
---@param o caisson.exec.Options
---@return true? ok, string? message, integer? errno
function core.exec(o) end

---May this process, by its effective ids, read, write, execute or search a path? faccessat(2)
---@param path string
---@param mode string "r", "w", "x" or several of them
---@return true?, string?, integer?
function core.access(path, mode) end

---Another descriptor of the same open file, closed on exec. fcntl(2)
---@param fd integer|caisson.core.Fd
---@return caisson.core.Fd?, string?, integer?
function core.dup(fd) end

---The names in a directory, sorted, without "." and "..".
---@param directory string
---@return string[]?, string?, integer?
function core.list(directory) end
