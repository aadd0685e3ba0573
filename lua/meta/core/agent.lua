---@meta caisson.core
---@class caisson.core
local core = {}

-- Agents: process 1 of a container made in advance (exec { agent = true }), which runs what its host sends it. Most
-- programs use caisson.pool, which is made of this.

core.agent = {}

---The agent of a process whose exec step says `agent = true`. It takes the process's socket; where it is closed or
---collected, or the host dies, the agent leaves, and its pid namespace ends with it.
---Such a container needs a pid namespace of its own; an ipc namespace too, where it is to be reset. The agent keeps the
---capabilities that it has where the step stands, but for CAP_SYS_PTRACE, which nothing in the container has over it.
---```lua
---local process = assert(core.spawn { plan = core.plan {
---  { step = "clone", options = { "pid", "mount", "ipc" } },
---  { step = "exec", options = { argv = { "agent" }, agent = true } } } })
---local agent = core.agent.open(process)
---local run = assert(agent:run { plan = core.plan { { step = "exec", options = { argv = { "/bin/true" } } } } })
---assert(run:wait().code == 0)
---```
---@param process caisson.core.Process
---@return caisson.core.Agent
function core.agent.open(process) end

---@class caisson.core.Agent
local Agent = {}

---@param timeout? number seconds, 10 by default; one that does not answer is out of step for good
---@return true?, string?, integer?
function Agent:ping(timeout) end

---@class caisson.core.agent.Run
---@field plan userdata of core.plan: what a child of the agent's does, with exec last; no step of the host's side and no Lua step
---@field slots? table<string, integer|caisson.core.Fd> descriptors, at most 64
---@field fail? { step: integer, errno: integer } for tests: that step is not done and fails so
---@field patience? number seconds: where the program has ended by then, run() returns with its end, and not before

---Run a program. One at a time: EBUSY while another runs. When it ends, all that it has started is killed.
---The process has end_fd(), wait(), kill(), pid(), pidfd(), times(), cpu_ns(), slot(), skipped() and close(). Its usage is
---that of all processes of the run. pid() is -1 once it has ended without having been asked for.
---@param o caisson.core.agent.Run
---@return caisson.core.Process?, string?, integer?, table? failure
function Agent:run(o) end

---@class caisson.core.agent.Open
---@field path string resolved inside the container's root (openat2(2), RESOLVE_IN_ROOT, no magic links)
---@field flags? string[] read write readwrite create truncate append exclusive directory nofollow
---@field mode? integer for "create", whatever the umask; 0644 by default
---@field uid? integer as whom, without any capability; the agent's own by default
---@field gid? integer
---@field groups? boolean drop supplementary groups
---@field timeout? number seconds

---Open a file or directory in the container; the descriptor comes by SCM_RIGHTS. EPERM for anything else, and for
---files of procfs.
---@param o caisson.core.agent.Open
---@return caisson.core.Fd?, string?, integer?
function Agent:open(o) end

---Remove a file or a directory with all below it, by the agent's rights. No symlink is followed. EBUSY while a program
---runs, and for a mount point.
---@param path string
---@param timeout? number seconds, 60 by default
---@return integer? files that were removed
---@return string?, integer?
function Agent:delete(path, timeout) end

---From now on the mount at this path is the container's own: what is in it now is what reset() leaves there. Contents of
---regular files and extended attributes of directories are noted, at most 8 MiB and 4096 files of all mounts.
---@param mount_point string
---@param timeout? number seconds
---@return integer? major, integer|string? minor of its device
---@return integer? errno
function Agent:own(mount_point, timeout) end

---@class caisson.core.agent.Reset
---@field uid? integer of the programs, whose keyrings are cleared
---@field gid? integer
---@field groups? boolean
---@field keys? boolean false: their filter keeps them from all keys
---@field timeout? number seconds, 60 by default

---Take away what runs have left: processes (kill(2) finds nobody else), files in the mounts that are its own, System V and
---POSIX IPC objects, keys; the agent's limits and scheduling are put back. What can't be taken away or put back is an
---error, and nothing more should run there. kill(2), shmctl(2), mq_overview(7), keyrings(7)
---@param o caisson.core.agent.Reset
---@return { processes: integer, files: integer, ipc: integer, keys: integer }? found
---@return string?, integer?
function Agent:reset(o) end

---Is it there, as far as was heard?
---@return boolean
function Agent:alive() end

---Let go of it: the container ends.
---@return true
function Agent:close() end
