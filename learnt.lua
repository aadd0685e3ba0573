-- What this needed, and nothing else, learnt from one run:
--
--   caisson learn sandbox -- /usr/bin/python3 -c 'import os os.chdir("/tmp") for p in (b"/tmp/\xff\xed\xa0\x80x...
--
-- What it did not do then, it may not do: let it do all that it is for, and add each run with --merge.
-- Note: base64: what file that is could not be told (too many links).
-- Who stops and continues it (SIGSTOP, SIGCONT) as it sleeps has it make one more call: restart_syscall.
local caisson = require "caisson"
local policy = caisson.policy

return caisson.recipe {
  summary = "python3, as it was learnt",
  extends = "sandbox",
  mix = { policy.mix {
    seccomp = policy.new {
      "access", "brk", "chdir", "close", "execve", "exit_group", "futex", "getdents64", "getegid",
      "geteuid", "getgid", "getrandom", "gettid", "getuid", "lseek", "mkdir", "munmap",
      "newfstatat", "openat", "pread64", "read", "readlink", "rseq", "rt_sigaction",
      "set_robust_list", "set_tid_address", "symlink", "sysinfo", "write",
      { "arch_prctl", args = { { 0, "masked", 0xffffffff, 0x1002 } } }, -- ARCH_SET_FS
      { "fcntl", args = { { 1, "masked", 0xffffffff, 1 } } }, -- F_GETFD
      { "ioctl", args = { { 1, "masked", 0xffffffff, 0x5401 } } }, -- TCGETS
      { "mmap", args = { { 2, "masked", 0x4, 0 } } }, -- not PROT_EXEC
      { "mmap", args = { { 2, "masked", 0x6, 4 } } }, -- PROT_EXEC
      { "mprotect", args = { { 2, "masked", 0x4, 0 } } }, -- not PROT_EXEC
      { "prlimit64", args = { { 1, "masked", 0xffffffff, 3 } } }, -- RLIMIT_STACK
    },
    landlock = {
      execute = { "/usr/bin/python3.11", "/usr/lib" },
      read = { "/etc/ld.so.cache", "/etc/localtime", "/usr/local/lib" },
      write = { "/tmp" },
      connect = {},
      bind = {},
      scope = { "abstract_unix_socket", "signal" },
    },
    capabilities = {},
    rlimits = { nofile = 64 },
    cgroup = {
      memory = { max = "16M", optional = true },
      pids = { max = 8, optional = true },
    },
  } },
}
