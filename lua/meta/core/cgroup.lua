---@meta
-- Control groups, version 1 and 2: cgroups(7).

---@class caisson.core
---@field cgroup caisson.core.cgroup

---@class caisson.core.cgroup
local cgroup = {}

---@class caisson.cgroup.create.Options
---@field path string            the group below `at`: names with "/" between; "*" stands for the run's own 16 digits
---@field at string              a directory of a cgroup file system, such as "/sys/fs/cgroup/memory"
---@field slot? string           filled with the group's directory ("cgroup", which is what clone takes on v2)
---@field controllers? string[]  v2: enabled in each group from `at` to the new one's parent, where they are not;
---  v1: "cpuset" gives new groups the CPUs and memory nodes of the group above, without which nothing can enter
---@field existing? boolean      take a group that is there already; it is then not removed

---Make a group, and those above it that are missing. Parent's side; at the end of the run what is left in
---the group is killed, and all that the step made is removed. A direct call returns the directory.
---Needs write permission in the group above (root, or delegation). `EEXIST`: it is there already;
---`EBUSY`, v2: the group above has processes of its own.
---```lua
---local dir = assert(core.cgroup.create { "demo", at = "/sys/fs/cgroup/pids" })
---```
---@param options caisson.cgroup.create.Options
---@return caisson.core.Fd|nil dir, string? message, integer? errno
function cgroup.create(options) end

---@class caisson.cgroup.set.Options
---@field file string    a file of the group: a name without "/"
---@field value string   written as it is, in one write(2)
---@field group? string  slot of the group ("cgroup"); in a direct call a descriptor
---@field verify? boolean read it back: `EOPNOTSUPP` where the kernel takes the write and ignores it
---@field more? string[]  further values, each written by a write(2) of its own, as devices.allow wants them (not verified)

---Write to a file of a group: a limit, for one. Parent's side. The file is checked to be on a cgroup file system.
---```lua
---assert(core.cgroup.set { group = dir, file = "pids.max", value = "16" })
---```
---@param options caisson.cgroup.set.Options
---@return true|nil ok, string? message, integer? errno
function cgroup.set(options) end

---@class caisson.cgroup.attach.Options
---@field group? string  slot of the group ("cgroup"); in a direct call a descriptor

---Enter a group. Child's side: the process that applies the step (before clone, the child's creator). Parent's
---side: the child is moved. On v1 only the first is fast: moving another
---process, or one with threads, waits for an RCU grace period (about 10 ms on an idle machine).
---```lua
---{ step = "cgroup.attach", side = "child", options = { group = "cgroup.memory" } }
---```
---@param options caisson.cgroup.attach.Options
---@return true|nil ok, string? message, integer? errno
function cgroup.attach(options) end

---@class caisson.cgroup.leave.Options
---@field at string    a group's directory, v2
---@field leaf string  the group below it; made where it is missing

---Move all processes of a v2 group, the caller among them, into a group below it: only a group without
---processes can give controllers to those below. Parent's side. It stays so: there is nothing to take back.
---@param options caisson.cgroup.leave.Options
---@return true|nil ok, string? message, integer? errno
function cgroup.leave(options) end

---@class caisson.cgroup.devices.Options
---@field rules string[]  "allow c 1:3 rwm", "deny b 8:* w", "allow a" (all): for each of r, w and m (mknod) the last that
---  matches decides; none: denied. To 4095 and 1048575; some 250 of them
---@field group? string   slot of the group ("cgroup"), v2; in a direct call a descriptor

---Let the processes of a v2 group, and of those below it, use these devices and no others, by a program of type
---BPF_PROG_TYPE_CGROUP_DEVICE; one that this step attached before is replaced, at once. Parent's side. What the groups
---above forbid stays forbidden. It goes with the group. Needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the
---machine's own user namespace (`EPERM`). `EOPNOTSUPP`: a v1 group, which has devices.allow and devices.deny.
---bpf(2), Linux's Documentation/admin-guide/cgroup-v2.rst.
---```lua
---assert(core.cgroup.devices { group = dir, rules = { "deny a", "allow c 1:3 rwm" } })
---```
---@param options caisson.cgroup.devices.Options
---@return true|nil ok, string? message, integer? errno
function cgroup.devices(options) end

---The program that such rules become: its instructions (struct bpf_insn, 8 bytes each). No privilege.
---@param rules string[]
---@return string|nil program, string? message, integer? errno
function cgroup.device_program(rules) end

---The device programs attached to a v2 group itself. Needs CAP_NET_ADMIN.
---@param group caisson.core.Fd
---@return integer[]|nil ids, string? message, integer? errno
function cgroup.device_programs(group) end

---@class caisson.cgroup.Watch  up to 64 sources; each is known by its number
local Watch = {}

---A file whose changes the kernel announces, such as memory.events and cgroup.events of v2.
---@param group caisson.core.Fd
---@param file string
---@return integer|nil number, string text_or_message, integer? errno
function Watch:file(group, file) end

---A pressure trigger, v2: "some 150000 1000000" (microseconds, in a window of so many). `EOPNOTSUPP`: the kernel
---does not count pressure (boot parameter psi=1). Linux's Documentation/accounting/psi.rst.
---@param group caisson.core.Fd
---@param file "cpu.pressure"|"memory.pressure"|"io.pressure"
---@param trigger string
---@return integer|nil number, string? message, integer? errno
function Watch:pressure(group, file, trigger) end

---v1: a notice whenever the group is out of memory, and when it is removed.
---@param group caisson.core.Fd  of the memory controller
---@return integer|nil number, string? message, integer? errno
function Watch:oom(group) end

---What has happened since the last call, without waiting: the source's number, and the file's text, or true; false where
---the source is gone, as it is with its group.
---@return { [1]: integer, [2]: string|boolean }[]
function Watch:ready() end

---The descriptor to poll for reading.
---@return integer
function Watch:fileno() end

---Let go of it.
---@return nil
function Watch:close() end

---What happens in groups as one descriptor, for whichever loop it is put in. caisson.cgroup's events() stands on it.
---@return caisson.cgroup.Watch|nil watch, string? message, integer? errno
function cgroup.watch() end

---@class caisson.cgroup.Hierarchy
---@field version 1|2
---@field path string                 this process's group, from /proc/self/cgroup
---@field controllers? string[]       v1: of the hierarchy; v2: of this process's group
---@field mount? string               where it is mounted; the fields below are there only with it
---@field mount_writable? boolean     may groups be made directly below the mount?
---@field own? string                 directory of this process's group
---@field own_writable? boolean       may groups be made below it, and processes be put there?
---@field enabled? string[]           v2: cgroup.subtree_control of the process's group
---@field mount_controllers? string[] v2: cgroup.controllers of the mount's root
---@field above_controllers? string[] v2: cgroup.controllers of the group above the process's own
---@field is_root? boolean            v2: the process's group is the root of the hierarchy
---@field mount_is_root? boolean

---The hierarchies of this machine as this process sees them. No privilege.
---@return caisson.cgroup.Hierarchy[]|nil hierarchies, string? message, integer? errno
function cgroup.detect() end

---May this process make groups in that directory, or write to that file? nil: there is none.
---@param path string
---@return boolean|nil
function cgroup.writable(path) end

---A group's directory, checked to be on a cgroup file system.
---@param path string
---@return caisson.core.Fd|nil dir, integer|string version_or_message, integer? errno
function cgroup.open(path) end

---A file of a group, whole.
---@param group string|caisson.core.Fd  a path, or the directory
---@param file string              a name without "/"
---@return string|nil text, string? message, integer? errno
function cgroup.read(group, file) end

---Pids in the group and all below it. Those of another pid namespace are 0.
---@param group string|caisson.core.Fd
---@return integer[]|nil pids, string? message, integer? errno
function cgroup.procs(group) end

---Kill all in the group and below it, also what forks faster than it is killed: v2 by cgroup.kill (5.14); v1 by
---freezing the group where it has the freezer controller, or stopping its forks where it has pids, and signals
---through pidfds until it is empty.
---@param group string|caisson.core.Fd
---@param seconds? number  how long to try (10)
---@return true|nil ok, string? message, integer? errno
function cgroup.kill(group, seconds) end

---Remove the groups in `dir` whose name is prefix, 16 hexadecimal digits and suffix, that are empty, and that no
---living process holds: what a host that was killed has left.
---@param dir string|caisson.core.Fd
---@param prefix string
---@param suffix string
---@return integer|nil removed, string? message, integer? errno
function cgroup.sweep(dir, prefix, suffix) end

---Send a signal to each process in the group and below it, through pidfds, so that a recycled pid is not hit.
---@param group string|caisson.core.Fd
---@param signal string|integer  "TERM", or its number
---@return integer|nil processes, string? message, integer? errno
function cgroup.signal(group, signal) end

---Remove a group and all below it; waits for dying processes to be gone. `EBUSY`: there are others. A group that
---is not there is no error.
---@param path string
---@param seconds? number  how long to wait (10)
---@param above? integer   so many of the groups above it go too, unless they hold something else (0)
---@param dir? caisson.core.Fd  the group itself, by which it is then found
---@return true|nil ok, string? message, integer? errno
function cgroup.remove(path, seconds, above, dir) end
