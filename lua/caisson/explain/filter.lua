-- The filter of --explain: it asks the tracer about the calls whose end is looked at, and lets all others be. Written here,
-- since libseccomp takes longer to build it than most programs take to start.
local core = require "caisson.core"

local char, floor, number = string.char, math.floor, core.seccomp.number

local M = {}

-- What a policy, a mount, Landlock, a mode or a missing capability denies. Not looks at files (stat, readlink, access
-- for reading): there are too many, and what they ask about is then opened.
local plain = [[
open openat openat2 creat chdir chroot execve execveat
truncate mkdir mkdirat mknod mknodat rmdir unlink unlinkat symlink symlinkat link linkat rename renameat renameat2
chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr name_to_handle_at open_by_handle_at
mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr swapon swapoff quotactl acct
fanotify_init inotify_init1 dup pipe pipe2 eventfd2 epoll_create1 memfd_create
socket socketpair bind connect listen accept accept4 setsockopt
clone3 unshare setns setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid
capset ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd kill tkill tgkill pidfd_send_signal
setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr sched_setaffinity setrlimit
mlock mlock2 mlockall sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex reboot
init_module finit_module delete_module kexec_load kexec_file_load syslog iopl ioperm vhangup bpf perf_event_open
userfaultfd io_uring_setup add_key request_key keyctl shmget msgget semget mq_open personality
landlock_create_ruleset landlock_restrict_self set_mempolicy mbind move_pages
]]

-- Of them, those that have no sixth argument, come back, and once, and are made without a thought of what could unwind
-- them: their places are led round (core/stub.c), so that they are told only where they fail.
local led = [[
open openat openat2 creat chdir access faccessat faccessat2
truncate mkdir mkdirat mknod mknodat rmdir unlink unlinkat symlink symlinkat link linkat rename renameat renameat2
chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
dup pipe pipe2 eventfd2 epoll_create1 memfd_create socket socketpair bind connect listen accept accept4 setsockopt
]]

-- Only where a limit can be what fails.
local memory_calls, process_calls = "mmap mremap brk", "clone fork vfork"

local LOAD, EQUAL, GREATER, AT_LEAST, SET, RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
local JUMP, TO_X, SUBTRACT_X = 0x05, 0x07, 0x1c
local NR, ARCH, ADDRESS, ARGS = 0, 4, 8, 16 -- struct seccomp_data
local TRACE, ALLOW = 0x7ff00000, 0x7fff0000
local machines = { x86_64 = 0xc000003e, aarch64 = 0xc00000b7 }

local W_OK, NEW_NAMESPACES, NEW_LISTENER = 2, 0x7e020080, 8

-- By the low half of an argument, from 0: one of these comparisons must hold.
local conditional = {
  access = { 1, { SET, W_OK } },
  faccessat = { 2, { SET, W_OK } },
  faccessat2 = { 2, { SET, W_OK } },
  clone = { 0, { SET, NEW_NAMESPACES } },
  -- but for that one filters are the construction's too: one policy may deny what loads the next
  seccomp = { 1, { SET, NEW_LISTENER } },
  prlimit64 = { 2, { SET, 0xffffffff } }, -- a new limit
  -- SET_SECCOMP, CAPBSET_DROP, SET_SECUREBITS, SET_MM, CAP_AMBIENT
  prctl = { 0, { EQUAL, 22 }, { EQUAL, 24 }, { EQUAL, 28 }, { EQUAL, 35 }, { EQUAL, 47 } },
  -- of terminals' requests, which are many: TCSETS, TIOCSCTTY, TIOCSTI, TIOCLINUX
  ioctl = { 1, { GREATER, 0x54ff }, { EQUAL, 0x5402 }, { EQUAL, 0x540e }, { EQUAL, 0x5412 }, { EQUAL, 0x541c } },
}
local order = { "ioctl", "prctl", "clone", "seccomp", "prlimit64", "access", "faccessat", "faccessat2" }

local function instruction(code, yes, no, k)
  local a = k % 256
  local b = (k - a) / 256 % 256
  local high = (k - a - b * 256) / 65536
  return char(code, 0, yes, no, a, b, high % 256, floor(high / 256))
end

local function numbers(names)
  local t = {}
  for name in names:gmatch "%S+" do t[#t + 1] = number(name) end
  return t
end

---The calls that a stub may make.
---@return integer[]
function M.led() return numbers(led) end

-- What a stub makes has the key in its sixth argument, with its address added.
local function by_stub(key, trace)
  local high, low = floor(key / 4294967296), key % 4294967296
  return { instruction(LOAD, 0, 0, ADDRESS), instruction(TO_X, 0, 0, 0), instruction(LOAD, 0, 0, ARGS + 8 * 5),
    instruction(SUBTRACT_X, 0, 0, 0), instruction(EQUAL, 0, 2, low), instruction(LOAD, 0, 0, ARGS + 8 * 5 + 4),
    instruction(EQUAL, 1, 0, high), trace, instruction(RETURN, 0, 0, ALLOW) }
end

-- tag: what the tracer knows it by; memory, processes: look at what asks for those, too; key: of what stubs
-- make, and which calls that may be.
---@param tag integer
---@param looks { memory?: boolean, processes?: boolean, key?: integer, calls?: integer[] }
---@return string program
function M.program(tag, looks)
  local trace = instruction(RETURN, 0, 0, TRACE + tag)
  local stubs, jumps = {}, {}
  if looks.key then
    for _, nr in ipairs(looks.calls) do stubs[nr] = true end
  end
  -- what is of another architecture could not be named: all of it
  local list = { instruction(LOAD, 0, 0, ARCH), instruction(EQUAL, 1, 0, machines[core.seccomp.architecture()] or 0), trace,
    instruction(LOAD, 0, 0, NR), instruction(AT_LEAST, 0, 1, 0x40000000), trace }
  local function add(i) list[#list + 1] = i end
  local function add_trace(nr)
    list[#list + 1] = trace
    if stubs[nr] then jumps[#jumps + 1] = #list end
  end
  local function all(names)
    for name in names:gmatch "%S+" do
      local nr = number(name)
      if nr then
        list[#list + 1] = char(EQUAL, 0, 0, 1, nr % 256, floor(nr / 256), 0, 0)
        add_trace(nr)
      end
    end
  end
  if looks.processes then all(process_calls) end
  if looks.memory then all(memory_calls) end
  for _, name in ipairs(order) do
    local nr, c = number(name), conditional[name]
    if nr then
      local n = #c - 1
      add(instruction(EQUAL, 0, n + 3, nr))
      add(instruction(LOAD, 0, 0, ARGS + 8 * c[1]))
      for i = 1, n do add(instruction(c[i + 1][1], n - i + 1, 0, c[i + 1][2])) end
      add(instruction(RETURN, 0, 0, ALLOW))
      add_trace(nr)
    end
  end
  all(plain)
  add(instruction(RETURN, 0, 0, ALLOW))
  if looks.key then
    for _, i in ipairs(jumps) do list[i] = instruction(JUMP, 0, 0, #list - i) end
    for _, i in ipairs(by_stub(looks.key, trace)) do add(i) end
  end
  return table.concat(list)
end

return M
