-- What of a system call counts when a run is learnt: arguments that a policy can go by, paths, addresses. All else about
-- a call is that it was made.
local paths = require("caisson.trace.calls").paths

local M = {}

local low = 4294967295

-- Arguments by which a policy tells one call from another, from 1; the bits of each that count. The kernel looks at the
-- low 32 bits of these alone.
M.kept = {
  ioctl = { [2] = low }, fcntl = { [2] = low }, prctl = { [1] = low }, arch_prctl = { [1] = low }, ptrace = { [1] = low },
  socket = { [1] = low, [2] = 15 }, socketpair = { [1] = low, [2] = 15 }, -- without SOCK_CLOEXEC, SOCK_NONBLOCK
  setsockopt = { [2] = low, [3] = low }, getsockopt = { [2] = low, [3] = low },
  clone = { [1] = low }, unshare = { [1] = low }, setns = { [2] = low }, personality = { [1] = low },
  mmap = { [3] = 6 }, mprotect = { [3] = 6 }, pkey_mprotect = { [3] = 6 }, memfd_create = { [2] = low },
  prlimit64 = { [2] = low }, getrlimit = { [1] = low }, setrlimit = { [1] = low },
  bpf = { [1] = low }, keyctl = { [1] = low }, seccomp = { [1] = low }, membarrier = { [1] = low },
  mount = { [4] = low }, reboot = { [3] = low }, syslog = { [1] = low },
  shmctl = { [2] = low }, msgctl = { [2] = low }, semctl = { [3] = low }, io_uring_register = { [2] = low },
}

-- Memory's protection counts as far as code goes: none that is executed ("0"), some that is ("4"), some that can be
-- written as well ("6"). What else is asked for hangs on where memory happens to be.
local protection = { mmap = true, mprotect = true, pkey_mprotect = true }
local EXEC = 4

local function number(v) return ("%.0f"):format(v) end

local function and_mask(v, mask)
  v = tonumber(v) % 4294967296
  if mask == low then return v end
  local out = 0
  for _, bit in ipairs { 8, 4, 2, 1 } do
    if math.floor(mask / bit) % 2 == 1 and math.floor(v / bit) % 2 == 1 then out = out + bit end
  end
  return out
end

-- The values that count of a call's arguments, as text: "" for a call that has none, "2,1".
function M.key(name, args)
  local kept, parts = M.kept[name], {}
  if not kept then return "" end
  for i = 1, 6 do
    if kept[i] then
      local v = and_mask(args[i], kept[i])
      if protection[name] and v < EXEC then v = 0 end
      parts[#parts + 1] = number(v)
    end
  end
  return table.concat(parts, ",")
end

-- The same as conditions of a policy: { { 1, "masked", 0xffffffff, 0x5401 } }. Arguments from 0, as policies have them.
function M.conditions(name, key)
  local out, values, at = {}, {}, 1
  for v in key:gmatch "[^,]+" do values[#values + 1] = tonumber(v) end
  for i = 1, 6 do
    local mask = (M.kept[name] or {})[i]
    if mask then
      if protection[name] and values[at] == 0 then mask = EXEC end
      out[#out + 1] = { i - 1, "masked", mask, values[at] }
      at = at + 1
    end
  end
  return out
end

-- And back; nil where the conditions are others.
function M.key_of(name, conditions)
  local args, n = {}, 0
  for _, c in ipairs(conditions) do
    if type(c) ~= "table" or type(c[1]) ~= "number" or type(c[4]) ~= "number" then return nil end
    args[c[1] + 1] = c[4]
  end
  for i in pairs(M.kept[name] or {}) do
    if not args[i] then return nil end
    n = n + 1
  end
  if n == 0 or n ~= #conditions then return nil end
  local key = M.key(name, args)
  for i, c in ipairs(M.conditions(name, key)) do
    for k = 1, 4 do if conditions[i][k] ~= c[k] then return nil end end
  end
  return key
end

-- Of open's flags, those that say what is done to which file.
local opening = 3 + 64 + 128 + 512 + 65536 + 131072 + 2097152 + 4194304

-- Memory that counts: where it is, and how much: a number, or the argument that says so.
local memory = {
  connect = { 2, size_at = 3 }, bind = { 2, size_at = 3 }, sendto = { 5, size_at = 6 }, clone3 = { 1, size = 8 },
  openat2 = { 3, size = 24 },
}

-- The descriptor that is used: the highest of them is how many a run needs.
local first = { "read", "write", "pread64", "pwrite64", "readv", "writev", "fstat", "lseek", "getdents64", "ioctl", "fcntl",
  "recvfrom", "sendto", "recvmsg", "sendmsg", "connect", "bind", "listen", "accept", "accept4", "setsockopt", "getsockopt",
  "epoll_wait", "epoll_pwait", "ftruncate", "fsync", "fchmod", "fchdir" }
local descriptor = { mmap = 5, newfstatat = 1, epoll_ctl = 3, dup2 = 2, dup3 = 2 }
for _, name in ipairs(first) do descriptor[name] = 1 end

-- Calls that the tracer sees each time, though nothing about them counts: they end, begin, or go on with something else.
local never_hot = { execve = true, execveat = true, fork = true, vfork = true, clone = true, clone3 = true, exit = true,
  exit_group = true, rt_sigreturn = true, restart_syscall = true, rt_sigsuspend = true, pause = true, seccomp = true,
  setuid = true, setgid = true, setreuid = true, setregid = true, setresuid = true, setresgid = true, setgroups = true,
  capset = true, capget = true }

-- What capabilities hang on.
M.privileged = {}
for _, name in ipairs { "chown", "fchown", "lchown", "fchownat", "kill", "setpriority", "sched_setscheduler", "mknod",
  "mknodat" } do
  M.privileged[name] = true
end

-- Who it is changes with these.
M.identities = {}
for _, name in ipairs { "setuid", "setgid", "setresuid", "setresgid", "setreuid", "setregid", "setfsuid", "setfsgid",
  "setgroups", "capset" } do
  M.identities[name] = true
end

-- Calls that look at a file by its name, and at nothing in it: no rule on files is about them. Who has no capability
-- needs none for them, and then they are calls like any other.
M.looking = {}
for name, list in pairs(paths) do
  local all = name ~= "chroot"
  for _, p in ipairs(list) do all = all and p.access == "stat" end
  M.looking[name] = all or nil
end

-- The rule of one of those then.
function M.of_looking(name) return { fd = descriptor[name], hot = true } end

-- The rule of a call, as core.learn.new takes it.
function M.of(name)
  local rule = { keep = {}, fd = descriptor[name] }
  local counts = never_hot[name] or false
  for i, mask in pairs(M.kept[name] or {}) do
    rule.keep[i], counts = mask, true
  end
  local m = memory[name]
  if m then rule.memory, rule.size_at, rule.size, counts = m[1], m.size_at, m.size, true end
  for i, p in ipairs(paths[name] or {}) do
    counts = true
    rule[i == 1 and "text" or "text2"], rule[i == 1 and "dir" or "dir2"] = p.path, p.dir
    if p.flags then rule.keep[p.flags] = p.access == "open" and opening or low end
  end
  if M.privileged[name] then
    for i = 1, 6 do rule.keep[i] = rule.keep[i] or (i ~= rule.text and i ~= rule.text2) and low or nil end
    counts = true
  end
  if M.identities[name] then
    rule.always, counts = true, true
  end
  rule.hot = not counts
  if next(rule.keep) == nil then rule.keep = nil end
  return rule
end

return M
