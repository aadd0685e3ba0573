-- The default policy: what ordinary programs call is allowed; what opens the kernel's rarely used doors,
-- and what no container should ask for, fails with EPERM.
--
-- Left out on purpose, and so denied: @clock @module @mount @namespace @raw-io @reboot @swap (the
-- machine's, not the container's), @keyring (not namespaced), @numa, @cpu-emulation but for modify_ldt,
-- @obsolete, @io-uring (its operations pass by every filter), bpf, perf_event_open, userfaultfd,
-- open_by_handle_at (leaves the root directory), kcmp and pidfd_getfd, syslog.
local M = {}

M.default = { "errno", "EPERM" }

M.allow = {
  "@basic-io", "@aio", "@io-event", "@file-system", "@file-data", "@sync", "@chown", "@memory",
  "@memlock", "@pkey", "@network-io", "@ipc", "@process", "@thread", "@signal", "@timer",
  "@information", "@sandbox", "@setuid", "@setfsuid", "@architecture",
  -- of groups that are not allowed as a whole; ptrace can't change a call past the filter since 4.8
  "capset", "name_to_handle_at", "ptrace",
  "ioprio_set", "nice", "prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam",
  "sched_setscheduler", "setpriority", "setrlimit",
}

-- Allowed by a group above, but not with every argument: the conditions, one of which must hold.
-- The kernel looks at the low 32 bits of these arguments alone, and so do the masks: a comparison of
-- all 64 bits would be passed by with a bit set above them (CVE-2019-7303).
local low = "0xffffffff"

local function one_of(index, values)
  local list = {}
  for i, v in ipairs(values) do list[i] = { { index, "masked", low, v } } end
  return list
end

M.conditions = {
  -- no new namespaces but by CAP_SYS_ADMIN: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
  clone = { { { 0, "masked", "0x7e020000", 0 } } },
  -- PER_LINUX, PER_LINUX32, each with and without UNAME26; 0xffffffff asks
  personality = one_of(0, { "0x0", "0x8", "0x20000", "0x20008", "0xffffffff" }),
  -- every family below 64 but AF_ALG (38) and AF_VSOCK (40); the kernel has none above 45
  socket = {
    { { 0, "masked", "0xffffffe0", 0 } }, { { 0, "masked", "0xfffffffc", 32 } },
    { { 0, "masked", "0xfffffffe", 36 } }, { { 0, "masked", low, 39 } }, { { 0, "masked", low, 41 } },
    { { 0, "masked", "0xfffffffe", 42 } }, { { 0, "masked", "0xfffffffc", 44 } },
    { { 0, "masked", "0xfffffff0", 48 } },
  },
}

-- ...and with these arguments not: TIOCSTI types into the caller's terminal, TIOCLINUX pastes there.
M.except = {
  { "ioctl", args = { { 1, "masked", low, "0x5412" } } },
  { "ioctl", args = { { 1, "masked", low, "0x541c" } } },
}

-- clone3 has its flags in memory, where no filter can look: the libc falls back to clone.
M.enosys = { "clone3" }

-- What a capability that the container keeps is good for.
M.capabilities = {
  bpf = { "bpf" },
  dac_read_search = { "open_by_handle_at" },
  perfmon = { "perf_event_open" },
  sys_admin = {
    "@mount", "@namespace", "bpf", "clone", "clone3", "fanotify_init", "fanotify_mark", "lookup_dcookie",
    "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "syslog", "vhangup",
  },
  sys_boot = { "reboot" },
  sys_chroot = { "chroot" },
  sys_module = { "@module" },
  sys_nice = { "@numa" },
  sys_pacct = { "acct" },
  sys_ptrace = { "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev" },
  sys_rawio = { "@raw-io" },
  sys_time = { "@clock" },
  sys_tty_config = { "vhangup" },
  syslog = { "syslog" },
}

return M
