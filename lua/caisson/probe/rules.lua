-- What a probe looks for: the rules, what each means, and what to do about it. The level is that of most cases; a finding
-- may have another.
local M = {}

local function rule(name, level, title, why, fix) M[#M + 1] = { name = name, level = level, title = title, why = why,
  fix = fix } end

-- ---- the way out is open ----
rule("host-root", "danger", "The host's root directory is visible",
  "what is in it can be changed: a line in /etc/crontab, and its author is root",
  "bind the directories that are needed, read-only where that will do")
rule("host-directory", "danger", "A directory that the host runs or trusts is writable",
  "whoever writes to /etc, /usr, the home directory or /run decides what the host does",
  "bind it read-only (leave out writable = true)")
rule("host-secret", "danger", "Secrets of the host can be read",
  "keys and passwords open other doors", "bind less, or mask the file (masked = { ... })")
rule("engine-socket", "danger", "The socket of a container engine is within reach",
  "who may speak to the engine may start a container with all of the host in it", "do not bind it")
rule("kernel-helper", "danger", "A program that the kernel runs on the host can be chosen",
  "the kernel runs it as root, outside of any container", "readonly = { \"/proc/sys\" }, and no writable sysfs")
rule("core-pattern", "danger", "core_pattern is writable",
  "a crash then runs a program of its choice as root on the host", "readonly = { \"/proc/sys\" }")
rule("release-agent", "danger", "A release_agent of cgroup v1 is writable",
  "the kernel runs it as root on the host once a group is empty (CVE-2022-0492)",
  "mount cgroups read-only, in a cgroup namespace")
rule("binfmt-misc", "danger", "Interpreters can be registered on the host",
  "programs of the host are then run by one of the container's", "readonly = { \"/proc/sys\" }")
rule("sysrq", "danger", "sysrq-trigger is writable", "one character reboots or crashes the machine",
  "mask it: masked = { \"/proc/sysrq-trigger\" }")
rule("device-memory", "danger", "The machine's memory is open as a device", "the kernel's memory can be changed there",
  "no /dev/mem, /dev/kmem, /dev/port in devices")
rule("device-disk", "danger", "A disk is open as a device", "all files of the host are on it, whoever owns them",
  "no block devices in devices, nor all of /dev")
rule("kernel-memory", "danger", "/proc/kcore can be read", "it is all of the machine's memory",
  "mask it: masked = { \"/proc/kcore\" }")
rule("capability-root", "danger", "A capability that is as good as root on the host",
  "it is one over the host, since there is no user namespace",
    "capabilities = {}, or a user namespace (namespaces.user = true)")
rule("open-by-handle", "danger", "open_by_handle_at works",
  "it opens any file of a file system of which one is shown (\"shocker\")",
  "no CAP_DAC_READ_SEARCH; seccomp without open_by_handle_at")
rule("host-process", "danger", "Processes of the host can be reached",
  "whoever traces or signals one has its rights", "namespaces = { pid = true }")
rule("executable-writable", "danger", "A program of the host can be overwritten",
  "the host runs it next, with its own rights (CVE-2019-5736)", "namespaces = { pid = true }, a read-only root")
rule("terminal-injection", "danger", "Characters can be pushed into the caller's terminal",
  "his shell takes them for commands (CVE-2017-5226)", "leave session as it is, or tty = true")
rule("mount-propagation", "danger", "Mounts that it makes appear on the host",
  "what is mounted over a directory of the host's is then the container's", "propagation = \"private\"")

-- ---- one mistake away ----
rule("host-uid", "warning", "Its root is the host's root",
  "whatever gets out is root there", "namespaces.user = true with an id map, or user = 65534")
rule("capabilities", "warning", "It has capabilities over its namespaces", "most kernel bugs need one",
  "capabilities = {}")
rule("capability-machine", "warning", "A capability over what no namespace has of its own",
  "the clock, the audit and the kernel's log are everybody's", "capabilities = {}")
rule("no-seccomp", "warning", "No system call is forbidden", "every bug of the kernel is within reach",
  "seccomp = caisson.policy.default()")
rule("dangerous-calls", "warning", "Calls pass that containers do not need",
  "they load code into the kernel, change mounts or look into other processes", "seccomp = caisson.policy.default()")
rule("foreign-calls", "warning", "Calls of another architecture pass the filter",
  "a filter for one architecture says nothing about the other's numbers", "leave bad_architecture as it is")
rule("filter-upper-bits", "warning", "The filter denies TIOCSTI by 64 bits only",
  "the kernel looks at 32: with any other bit set it passes (CVE-2019-7303)", "compare with \"masked_eq\" 0xffffffff")
rule("new-privileges", "warning", "It can gain privileges by exec", "setuid programs and file capabilities take effect",
  "leave no_new_privs as it is")
rule("setuid-programs", "warning", "Setuid programs take effect", "a bug in one of them makes it root inside",
  "no_new_privs, or mounts with nosuid")
rule("inheritable-capabilities", "note", "Capabilities are inheritable",
  "programs with file capabilities get them (CVE-2022-24769)",
  "capabilities = { inheritable = {}, ... }")
rule("ambient-capabilities", "note", "Capabilities are ambient", "every program that it executes has them",
  "capabilities = { ambient = {}, ... }")
rule("nested-userns", "warning", "User namespaces can be made",
  "in one, it has all capabilities over what it makes: most of the "
  .. "kernel's published holes need that", "limit_userns = true, or seccomp = caisson.policy.default()")
rule("nested-mounts", "note", "File systems can be mounted in a nested namespace", "more of the kernel is within reach",
  "as for nested-userns")
rule("nested-overlay", "warning", "overlayfs can be mounted in a nested namespace",
  "it has been a way to root more than once (CVE-2021-3493, CVE-2023-0386)", "as for nested-userns")
rule("mounts", "warning", "It can mount file systems", "masks can be undone by mounting again",
  "capabilities without sys_admin")
rule("host-network", "warning", "It shares the host's network",
  "services on the loopback device and abstract sockets are within reach",
  "namespaces = { net = true }")
rule("abstract-sockets", "warning", "Abstract sockets of the host can be connected to",
  "X11, D-Bus and container engines have had such ones (CVE-2020-15257)",
    "namespaces = { net = true }, or landlock scope")
rule("loopback-services", "warning", "Services on the host's loopback device can be connected to",
  "many of them trust whoever reaches them", "namespaces = { net = true }")
rule("raw-sockets", "note", "Raw sockets can be made", "addresses can be forged", "capabilities without net_raw")
rule("socket-families", "note", "Rarely used socket families pass",
  "each is a part of the kernel that was seldom looked at",
  "seccomp with a list of families")
rule("network-route", "note", "A route leads out", "it can speak to others", "no network, or one that is filtered")
rule("keyring-shared", "warning", "It shares its caller's session keyring", "keys and tokens in it can be used",
  "keyring = true: a session keyring of its own")
rule("leaked-descriptor", "warning", "Descriptors are open in it",
  "a directory of the host's is a way out (CVE-2024-21626)",
  "hand over only what the program needs")
rule("cgroup-writable", "warning", "A cgroup file system is writable", "limits can be changed (CVE-2023-25809)",
  "mount it read-only")
rule("kernel-filesystem", "warning", "File systems of the kernel are mounted",
  "debugging files undo other protections", "do not bind them")
rule("desktop-socket", "warning", "Sockets of the desktop are within reach",
  "they see the screen and the keys, or start programs",
  "do not bind them")
rule("host-sysctl", "warning", "Settings of the whole machine are writable", "they hold for everyone",
  "readonly = { \"/proc/sys\" }")
rule("device-kvm", "warning", "/dev/kvm opens", "virtual machines are a large part of the kernel",
  "leave it out of devices")
rule("no-memory-limit", "warning", "Memory is not limited", "it can use up all there is",
  "cgroup = { memory = { max = \"512M\" } }")
rule("no-process-limit", "warning", "Processes are not limited", "a fork bomb stops the machine",
  "cgroup = { pids = { max = 64 } }")
rule("bpf", "warning", "bpf is within reach", "it loads programs into the kernel", "seccomp without bpf")

-- ---- to know ----
rule("host-writable", "note", "Directories of the host are writable", "what it writes there the host reads",
  "bind it read-only where that will do")
rule("trace-calls", "note", "Processes may look into each other",
  "in a pid namespace of its own they are its own", "seccomp without ptrace and process_vm_readv")
rule("io-uring", "note", "io_uring can be used", "it opens files and sockets without the calls that a filter sees",
  "seccomp = caisson.policy.default()")
rule("userfaultfd", "note", "userfaultfd can be used", "it makes races in the kernel easy to win",
  "seccomp without userfaultfd")
rule("perf-event", "note", "perf_event_open can be used", "it is a side channel", "seccomp without perf_event_open")
rule("kernel-log", "note", "The kernel's log can be read", "it names addresses and devices",
  "kernel.dmesg_restrict = 1, or seccomp")
rule("kernel-addresses", "note", "Addresses of the kernel can be read", "they are what an exploit has to guess",
  "mask them")
rule("kernel-keys", "note", "/proc/keys can be read", "it names keys of others", "mask it: masked = { \"/proc/keys\" }")
rule("machine-details", "note", "Details of the machine can be read",
  "they help to tell machines and neighbours apart", "mask them")
rule("host-name", "note", "The host's name can be set", "it is the host's", "namespaces = { uts = true }")
rule("shared-namespace", "note", "Namespaces are shared with the host", "what is not its own it can look at",
  "namespaces = { ... = true }")
rule("device-other", "note", "More devices may be opened", "each is a driver", "devices = { \"default\" }")

local by_name, places = {}, {}
for i, r in ipairs(M) do by_name[r.name], places[r.name] = r, i end

-- A rule by its name; nil where there is none.
function M.of(name) return by_name[name] end

-- Where it stands among all.
function M.place(name) return places[name] end

M.levels = { danger = 3, warning = 2, note = 1, ok = 0 }

return M
