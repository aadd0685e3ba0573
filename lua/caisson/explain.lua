-- Why a program in a container was denied something: `caisson run --explain`, caisson.run(recipe, { explain = true }).
--
-- A tracer sees what the policy denies, and how the calls end that the kernel may deny; all others run at full speed:
--
--   - The policy's filters ask the tracer where they would have answered with an errno, and it answers so in their place:
--     it evaluates the filters as they were. What they kill for, and what they ask a listener, stays as it is.
--   - A filter in front of them picks the calls whose end is looked at: those that open, make and change files, that make
--     processes and sockets, and those that need a capability. Not read, write, futex and their like.
--
-- What the program sees is what it would see without. Two things can't be: it can't trace its own children, since a process
-- has one tracer; and no filter of its own may have a listener (EBUSY, as where the container has one), which would be
-- asked before the tracer.
local core = require "caisson.core"

local M = {}

---@class caisson.explain.Cause
---@field kind string     "seccomp", "landlock", "mount", "masked", "capability", "cgroup", "rlimit", "mode", ...
---@field why string      in words
---@field at? string      file:line of the recipe's that says so
---@field rule? string    of the policy, or the entry of the recipe
---@field fix? string     what to put into the recipe

---@class caisson.explain.Event
---@field call string     the system call's name
---@field text string     with its arguments
---@field code? string    the errno, such as "EACCES"
---@field signal? string  that it was killed by
---@field path? string    the file that it is about, as the container has it
---@field pid? integer    the process, as the container knows it
---@field comm? string
---@field exe? string
---@field count integer
---@field causes caisson.explain.Cause[]

-- The calls whose end is looked at; those of a kernel or machine that does not have them are left out.
local looked_at = [[
open openat openat2 creat access faccessat faccessat2 stat lstat newfstatat statx chdir chroot execve execveat
truncate mkdir mkdirat mknod mknodat rmdir unlink unlinkat symlink symlinkat link linkat rename renameat renameat2
chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr name_to_handle_at open_by_handle_at
mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr swapon swapoff quotactl acct
fanotify_init inotify_init1 dup pipe pipe2 eventfd2 epoll_create1 memfd_create
socket socketpair bind connect listen accept accept4 setsockopt
clone clone3 fork vfork unshare setns setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid
capset prctl seccomp ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd kill tkill tgkill pidfd_send_signal
setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr sched_setaffinity setrlimit prlimit64
mlock mlock2 mlockall sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex reboot
init_module finit_module delete_module kexec_load kexec_file_load syslog iopl ioperm vhangup bpf perf_event_open
userfaultfd io_uring_setup add_key request_key keyctl shmget msgget semget mq_open personality
landlock_create_ruleset landlock_restrict_self set_mempolicy mbind move_pages
]]

-- Where a limit of memory is set, what asks for it.
local memory_calls = { "mmap", "mremap", "brk" }

-- Of what terminals are asked, the few requests that are ever denied; all others of theirs are made all the time.
local TCSETS, TIOCSCTTY, TIOCSTI, TIOCLINUX = 0x5402, 0x540E, 0x5412, 0x541C

local errnos = { "EPERM", "EACCES", "ENOSYS", "EROFS", "EMFILE", "ENFILE", "EFBIG", "ENOMEM", "ENOSPC", "EDQUOT", "EAGAIN",
  "EXDEV", "EUSERS", "ENETUNREACH", "EINVAL" }

local function rlimit_of(b, name)
  local v = (b.options.rlimits or {})[name]
  return v ~= nil and v ~= "unlimited" and v ~= "inherit"
end

-- ---- the host's side ----

local Explaining = {}

function Explaining:hear(chunk)
  self.text = (self.text or "") .. chunk
  for line in self.text:gmatch("([^\n]*)\n") do
    local told = require("caisson.json").decode(line) or {}
    if told.event then self.events[told.event.id] = told.event end
    if told.over then self.over = told.over end
    self.error = self.error or told.error
  end
  self.text = self.text:match("[^\n]*$")
end

-- The tracer knows of the program's end before its parent does, and then tells what is left to tell.
local function hear_out(self)
  local deadline = core.now() + 10e9
  while not self.over and self.report and core.now() < deadline do
    core.poll({ { fd = self.report, events = "r" } }, 1)
    local data, _, errno = self.report:read()
    if data == "" or not data and errno ~= core.errno.EAGAIN then break end
    if data then self:hear(data) end
  end
end

-- Into the result: explained, in the order in which things happened, and explained_more, what there was no room for.
function Explaining:account(r)
  hear_out(self)
  local over = self.over or {}
  local list = {}
  for i, e in ipairs(self.events) do
    e.count, e.id = (over.counts or {})[i] or e.count, nil
    list[i] = e
  end
  require("caisson.explain.limits").account(self.built, r, list, over)
  r.explained = list
  r.explained_more = over.more and over.more > 0 and over.more or nil
  r.trace_error = r.trace_error or self.error
end

local function class()
  if not Explaining.__index then
    Explaining.__index = Explaining
    setmetatable(Explaining, { __index = require("caisson.trace").Tracing })
  end
  return Explaining
end

-- ---- building ----

-- The tracer, which is there from the first process's birth on.
function M.after_clone(b)
  for _, name in ipairs { "trace", "ptrace" } do
    if b.options[name] then b:fail(name, "a process has one tracer: --explain is another") end
  end
  local names = {}
  for name, nr in pairs(core.seccomp.syscalls()) do names[nr] = name end
  b.explain = { tracer = "caisson.explain.tracer", built = b, init = b.options.init, names = names, programs = {}, errnos = {} }
  -- what our filters give to the tracer: any number, but none that a filter of the program's would
  b.explain.tag = math.floor(core.now() / 1000) % 65535 + 1
  for i, name in ipairs(errnos) do b.explain.errnos[i] = core.errno[name] end
  require("caisson.trace").attach(b, setmetatable({ events = {}, built = b, spec = b.explain }, class()))
end

-- The filter that picks calls; those of other architectures, which it could not name, all.
function M.filter(b)
  local action = { "trace", b.explain.tag }
  local rule = { action = action }
  for name in looked_at:gmatch "%S+" do
    if core.seccomp.number(name) then rule[#rule + 1] = name end
  end
  if rlimit_of(b, "as") or rlimit_of(b, "data") then
    for _, name in ipairs(memory_calls) do rule[#rule + 1] = name end
  end
  local rules = { rule }
  for _, condition in ipairs { { 1, "<", 0x5401 }, { 1, ">", 0x54ff }, { 1, "==", TCSETS }, { 1, "==", TIOCSCTTY },
    { 1, "==", TIOCSTI }, { 1, "==", TIOCLINUX } } do
    rules[#rules + 1] = { "ioctl", action = action, args = { condition } }
  end
  local program, message = core.seccomp.compile { default = "allow", rules = rules, bad_architecture = action }
  if not program then error("--explain: " .. message, 0) end
  b.phase = "policy"
  -- no policy of the recipe's: what the kernel does against speculation where there is one is not its wish
  b.explain.step = b:step("explain", "seccomp", { program = program, flags = { "spec_allow" } })
end

local RET, ERRNO, TRACE = 0x06, 0x0005, 0x7ff0

-- A filter that asks where it would have answered with an errno.
local function asking(program, tag)
  return (program:gsub("(........)", function(i)
    local code, _, _, _, _, _, low, high = i:byte(1, 8)
    if code ~= RET or low + high * 256 ~= ERRNO then return nil end
    return i:sub(1, 4) .. string.char(tag % 256, math.floor(tag / 256), TRACE % 256, math.floor(TRACE / 256))
  end))
end

-- The plan is whole: its filters become such, and are kept as they were for the tracer.
function M.finish(b)
  for _, step in ipairs(b.plan.steps) do
    if step.step == "seccomp" and step ~= b.explain.step then
      local program = step.options.program
      b.explain.programs[#b.explain.programs + 1] = { program = program, step = step }
      step.options.program = asking(program, b.explain.tag)
    end
  end
end

return M
