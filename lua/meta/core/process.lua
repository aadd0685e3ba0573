---@meta caisson.core
-- Namespaces, credentials, capabilities and attributes of a process. Each is a step of a plan and a direct call,
-- which does it to the calling process, now; it returns true, or nil, message, errno.

---@class caisson.core
local core = {}

core.namespace = {}

---Make new namespaces for this process. After birth not pid, which a process never enters itself. unshare(2)
---@param o { namespaces: string[] } user mount pid net ipc uts cgroup time
---@return true? ok, string? message, integer? errno
function core.namespace.unshare(o) end

---Join namespaces by the path of one, or by a descriptor: of a namespace, or a pidfd for several in one setns(2).
---The process is not dumpable afterwards, until it executes a program. As a step of the child's side before clone
---it is its creator's, as pid namespaces need.
---@param o { namespaces: string[], path?: string, fd?: integer|string }
---@return true? ok, string? message, integer? errno
function core.namespace.join(o) end

---Limit the namespaces that can be made in this user namespace and below (/proc/sys/user); refused in the host's.
---Root of the namespace could raise it again: for him limit to 1, unshare a user namespace more, and map it.
---@param o { namespaces?: string[], max?: integer } by default { "user" } and 0
---@return true? ok, string? message, integer? errno
function core.namespace.limit(o) end

---Write the id maps of the child (parent's side) or of this process (its own id alone). Up to 340 ranges a map,
---which may not overlap. An ordinary user's further ranges are written by newuidmap(1) and newgidmap(1), where given.
---@param o { uid?: integer[][], gid?: integer[][], setgroups?: "allow"|"deny", newuidmap?: string, newgidmap?: string } ranges: { inside, outside, count }
---@return true? ok, string? message, integer? errno
function core.idmap(o) end

---Offsets of a new time namespace's clocks, from the parent's side: seconds, and nanoseconds to be added. Linux 6.1
---@param o { monotonic?: integer, monotonic_ns?: integer, boottime?: integer, boottime_ns?: integer }
---@return true? ok, string? message, integer? errno
function core.time_offsets(o) end

---Supplementary groups; before gid and uid. setgroups(2)
---@param o { groups: integer[] }
---@return true? ok, string? message, integer? errno
function core.groups(o) end

---Real, effective and saved group id, up to 4294967294. setresgid(2)
---@param o integer|{ gid: integer }
---@return true? ok, string? message, integer? errno
function core.gid(o) end

---Real, effective and saved user id; with keep_capabilities the permitted set stays. setresuid(2)
---@param o integer|{ uid: integer, keep_capabilities?: boolean }
---@return true? ok, string? message, integer? errno
function core.uid(o) end

---Capability sets, each exactly as given, by names such as "net_admin", or "all"; a set not given stays. The
---bounding set can be lowered only, before the uid changes; at exec uid 0 gets all of it back. capabilities(7)
---@param o { bounding?: string[], permitted?: string[], effective?: string[], inheritable?: string[], ambient?: string[] }
---@return true? ok, string? message, integer? errno
function core.capabilities(o) end

---How uid 0 and the capabilities of this process go together. Needs CAP_SETPCAP. capabilities(7)
---@param o { flags: string[] } noroot, no_setuid_fixup, keep_caps, no_cap_ambient_raise, ..., each also with _locked
---@return true? ok, string? message, integer? errno
function core.securebits(o) end

---A resource limit; hard is soft where it is not given. prlimit(2)
---@param o { [1]: string, soft: integer|string, hard?: integer|string } resource (as, core, cpu, ... stack); "max": none
---@return true? ok, string? message, integer? errno
function core.rlimit(o) end

---The mode bits that new files don't get. umask(2)
---@param o string|{ mode: string } octal, to 0777
---@return true? ok, string? message, integer? errno
function core.umask(o) end

---The execution domain and its flags, such as addr_no_randomize. personality(2)
---@param o { domain?: "linux"|"linux32", flags?: string[] } personality(2)
---@return true? ok, string? message, integer? errno
function core.personality(o) end

---How soon the OOM killer takes this process; to lower it needs CAP_SYS_RESOURCE. proc(5)
---@param o integer|{ value: integer } -1000 to 1000
---@return true? ok, string? message, integer? errno
function core.oom_score_adj(o) end

---The niceness, for the default scheduling policy; to lower it needs CAP_SYS_NICE. setpriority(2)
---@param o integer|{ value: integer } -20 to 19
---@return true? ok, string? message, integer? errno
function core.nice(o) end

---Scheduling policy; nice stays where it is not given; times in nanoseconds. sched_setattr(2)
---@param o { [1]: string, nice?: integer, priority?: integer, flags?: string[], runtime?: integer, deadline?: integer, period?: integer, util_min?: integer, util_max?: integer }
---@return true? ok, string? message, integer? errno
function core.scheduler(o) end

---The I/O scheduling class and level; realtime needs CAP_SYS_ADMIN or CAP_SYS_NICE.
---@param o { [1]: "none"|"realtime"|"best_effort"|"idle", level?: integer } level 0 to 7; ioprio_set(2)
---@return true? ok, string? message, integer? errno
function core.ioprio(o) end

---The CPUs that may be used, "0-3,5"; one that isn't there is an error; no limit of 1024. On the
---parent's side the child's, and so behind clone (as are scheduler and oom_score_adj). sched_setaffinity(2)
---@param o string|{ cpus: string }
---@return true? ok, string? message, integer? errno
function core.affinity(o) end

---A session of its own. setsid(2)
---@return true? ok, string? message, integer? errno
function core.session() end

---The controlling terminal; after session. TIOCSCTTY
---@param o { fd: integer|string }
---@return true? ok, string? message, integer? errno
function core.tty(o) end

---No exec from here on gives rights that this process lacks: set-user-ID bits and file capabilities don't count.
---It can't be taken back. Linux 3.5; PR_SET_NO_NEW_PRIVS, prctl(2)
---@return true? ok, string? message, integer? errno
function core.no_new_privs() end

---May this process be traced and dumped by others of its user? PR_SET_DUMPABLE, prctl(2)
---@param o boolean|{ on: boolean }
---@return true? ok, string? message, integer? errno
function core.dumpable(o) end

---Orphans below this process become its children. PR_SET_CHILD_SUBREAPER, prctl(2)
---@param o? { on?: boolean } by default true
---@return true? ok, string? message, integer? errno
function core.subreaper(o) end

---A session keyring: a new one, or the user's of that name, which other containers may share; searchable: by
---processes of other ids too, that join it later. With a label it is SELinux's, which must be active. keyctl(2)
---@param o? string|{ name?: string, searchable?: boolean, label?: string }
---@return true? ok, string? message, integer? errno
function core.keyring(o) end

---Where memory is taken from on a machine with several NUMA nodes; kept by what is executed. Nodes that aren't
---there, or not of the cgroup, are an error. set_mempolicy(2); preferred_many since 5.15, weighted_interleave 6.9
---@param o { [1]: string, nodes?: string, flags?: string[] } default preferred bind interleave local preferred_many weighted_interleave; "0-3,5"; static_nodes relative_nodes numa_balancing
---@return true? ok, string? message, integer? errno
function core.memory_policy(o) end

---Who may share a core's hardware threads with this process: create a cookie of its own, or share_from or share_to
---a process that it may trace. Linux 5.14 with CONFIG_SCHED_CORE (else EINVAL); ENODEV without such threads.
---@param o { [1]: "create"|"share_from"|"share_to", pid?: integer, scope?: "thread"|"process"|"group" } prctl(2), PR_SCHED_CORE
---@return true? ok, string? message, integer? errno
function core.core_scheduling(o) end

---A kernel parameter of a namespace that is the container's own; any other is refused.
---@param o { [1]: string, value: string } "net.ipv4.ip_forward"; a dot in a device's name is written as a slash
---@return true? ok, string? message, integer? errno
function core.sysctl(o) end

core.net = {}

---Bring the loopback device up.
---@return true? ok, string? message, integer? errno
function core.net.loopback() end

---What this process is, in the words of the steps: capabilities, securebits, no_new_privs, dumpable, subreaper,
---death_signal, rlimits, nice, scheduler, ioprio, affinity, personality.
---@return table
function core.attributes() end

---Of these the rlimits alone.
---@return table<string, { soft: integer|"max", hard: integer|"max" }>
function core.rlimits() end

---The host name of this UTS namespace, at most 64 bytes. Needs CAP_SYS_ADMIN there. sethostname(2)
---@param o string|{ name: string }
---@return true? ok, string? message, integer? errno
function core.hostname(o) end

---The NIS domain name of this UTS namespace, at most 64 bytes. Needs CAP_SYS_ADMIN there. setdomainname(2)
---@param o string|{ name: string }
---@return true? ok, string? message, integer? errno
function core.domainname(o) end
