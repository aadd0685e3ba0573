-- Why a call was denied: what in the recipe, or outside of it, says so. The thread that made it still stands there.
local core = require "caisson.core"
local of_recipe = require "caisson.explain.recipe"

local M = {}

local show = of_recipe.show

-- Which capability a call takes; "*": whatever it is asked.
local needed = {
  chown = "chown lchown fchown fchownat",
  fowner = "chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat",
  mknod = "mknod mknodat",
  dac_read_search = "open_by_handle_at name_to_handle_at",
  kill = "kill tkill tgkill pidfd_send_signal",
  setuid = "setuid setreuid setresuid setfsuid",
  setgid = "setgid setregid setresgid setgroups setfsgid",
  setpcap = "capset",
  net_admin = "setsockopt",
  net_raw = "socket",
  ipc_lock = "mlock mlock2 mlockall",
  sys_module = "init_module finit_module delete_module",
  sys_rawio = "iopl ioperm",
  sys_chroot = "chroot",
  sys_ptrace = "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd userfaultfd",
  sys_pacct = "acct",
  sys_admin = "mount umount2 pivot_root open_tree move_mount fsopen fsmount fsconfig fspick mount_setattr swapon swapoff "
    .. "quotactl sethostname setdomainname unshare setns fanotify_init seccomp clone clone3 ioctl keyctl setxattr lsetxattr "
    .. "fsetxattr",
  sys_boot = "reboot kexec_load kexec_file_load",
  sys_nice = "setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr sched_setaffinity set_mempolicy mbind "
    .. "move_pages",
  sys_resource = "setrlimit prlimit64",
  sys_time = "settimeofday clock_settime clock_adjtime adjtimex",
  sys_tty_config = "vhangup",
  syslog = "syslog",
  bpf = "bpf",
  perfmon = "perf_event_open",
}

local capability_of

local function capability_for(call)
  if not capability_of then
    capability_of = {}
    for cap, names in pairs(needed) do
      for name in names:gmatch "%S+" do capability_of[name] = cap end
    end
  end
  local name = call.name
  if name == "prctl" then
    local option = call:int(1)
    return ({ [24] = "setpcap", [28] = "setpcap", [35] = "sys_resource", [47] = "setpcap", [22] = "sys_admin" })[option]
  elseif name == "socket" or name == "socketpair" then
    local family, kind = call:int(1), call:int(2) % 16
    return (family == 17 or kind == 3 or kind == 10) and "net_raw" or nil
  elseif name == "ioctl" then
    local request = call:int(2) % 4294967296
    if request >= 0x8900 and request < 0x8a00 then return "net_admin" end
    return ({ [0x40086602] = "linux_immutable" })[request] or "sys_admin"
  elseif name == "setsockopt" then
    if call:int(2) == 1 and call:int(3) == 25 then return "net_raw" end
  elseif name:find "setxattr$" then
    local attribute = call:string(2) or ""
    return attribute == "security.capability" and "setfcap" or attribute:find "^trusted%." and "sys_admin"
      or attribute:find "^security%." and "sys_admin" or "fowner"
  elseif name == "ptrace" and call:int(1) == 0 then
    return nil
  end
  return capability_of[name]
end

local function capability_number(name)
  for value, word in pairs(select(2, require("caisson.trace.constants").family "cap")) do
    if word == "CAP_" .. name:upper() then return value end
  end
end

-- The option with one more in it: for who is not root they are kept across exec as ambient ones alone.
local function with_capability(b, name, uid)
  local now = b.options.capabilities
  local set = {}
  local function take(list)
    for _, w in ipairs(list or {}) do if w ~= name then set[#set + 1] = w end end
  end
  if type(now) == "table" then take(#now > 0 and now or now.permitted) end
  set[#set + 1] = name
  local text = show(set)
  if uid == 0 then return "capabilities = " .. text end
  return ("capabilities = { bounding = %s, permitted = %s, effective = %s, inheritable = %s, ambient = %s }"):format(
    text, text, text, text, text)
end

local function capabilities_rule(b)
  return b.options.capabilities and "capabilities = " .. show(b.options.capabilities) or nil
end

-- What the kernel wants of the host's own user namespace, whatever the container's has.
local of_host = { sys_nice = true, sys_time = true, sys_module = true, sys_rawio = true, sys_resource = true, mknod = true,
  sys_tty_config = true, syslog = true, perfmon = true, sys_pacct = true, linux_immutable = true, dac_read_search = true }

local function capability(ctx, call)
  local name = capability_for(call)
  local bit = name and capability_number(name)
  if not bit then return nil end
  local b = ctx.spec.built
  local uid = of_recipe.id_inside(ctx.tid, "uid", ctx.creds.uid)
  if of_recipe.has_bit(ctx.creds.caps, bit) then
    if not ctx.creds.inside then return nil end
    return { kind = "userns", why = ("CAP_%s is there, but over the container's own user namespace only: what the call is about "
      .. "belongs to the host"):format(name:upper()), at = of_recipe.at(b, "namespaces/user") or of_recipe.at(b, "namespaces"),
      rule = "namespaces.user" }
  end
  if ctx.creds.inside and of_host[name] then
    return { kind = "userns", why = ("it takes CAP_%s over the host, which nothing in a user namespace has"):format(name:upper()),
      at = of_recipe.at(b, "namespaces/user") or of_recipe.at(b, "namespaces"), rule = "namespaces.user" }
  elseif not ctx.creds.inside and core.identity().euid ~= 0 then -- who has none has none to give
    return { kind = "capability", why = ("CAP_%s is missing, and its user has none"):format(name:upper()),
      fix = "namespaces = { user = true, ... }, if what it is about is the container's own; or run it as root" }
  end
  return { kind = "capability", why = ("CAP_%s is missing"):format(name:upper()), at = of_recipe.at(b, "capabilities"),
    rule = capabilities_rule(b),
    fix = with_capability(b, name, uid) }
end

-- ---- limits ----

local function rlimit(ctx, name, what)
  local b = ctx.spec.built
  local line = of_recipe.read(("/proc/%d/limits"):format(ctx.tid)):match("\n" .. what .. "%s+([^\n]*)") or ""
  local soft, hard = line:match "^(%S+)%s+(%S+)"
  local set = (b.options.rlimits or {})[name] ~= nil
  local more = tonumber(soft) and math.max(tonumber(soft) * 2, 64)
  return { kind = "rlimit", why = ("the limit %s of %s is used up"):format(name, soft or "?"),
    at = set and of_recipe.at(b, "rlimits/" .. name) or nil,
    rule = set and ("rlimits.%s = %s"):format(name, show(b.options.rlimits[name])) or
      ("the host's own limit (%s, at most %s)"):format(soft or "?", hard or "?"),
    fix = more and ("rlimits = { %s = %d }"):format(name, more) or nil }
end

local function pids_limit(ctx)
  local b = ctx.spec.built
  local pids = type(b.options.cgroup) == "table" and b.options.cgroup.pids
  if type(pids) ~= "table" or not tonumber(pids.max) then return nil end
  return { kind = "cgroup", why = ("the group's limit of %d processes and threads is reached"):format(pids.max),
    at = of_recipe.at(b, "cgroup/pids"), rule = "cgroup.pids.max = " .. tostring(pids.max),
    fix = ("cgroup = { pids = { max = %d } }"):format(pids.max * 2) }
end

-- ---- calls ----

local files

local O_CREAT = 64
local makes = { mkdir = true, mkdirat = true, mknod = true, mknodat = true, rmdir = true, unlink = true, unlinkat = true,
  symlink = true, symlinkat = true, link = true, linkat = true, rename = true, renameat = true, renameat2 = true }

local function exists(ctx, path) return core.lstat(ctx.root .. path) ~= nil end

-- What has to be allowed of the path itself, and whether it is made or removed.
local function wanted(ctx, call, p)
  local name = call.name
  if makes[name] then return {}, true end
  if name == "execve" or name == "execveat" then return { "x" } end
  if name == "chdir" or name == "chroot" then return { "x" } end
  if name == "access" or name:find "^faccessat" then
    local mode, list = call:int(name == "access" and 2 or 3), {}
    for i, w in ipairs { "x", "w", "r" } do if math.floor(mode / 2 ^ (i - 1)) % 2 == 1 then list[#list + 1] = w end end
    return list
  end
  if name:find "^open" or name == "creat" then
    local flags = name == "creat" and 65 or name == "open" and call:int(2) or name == "openat" and call:int(3) or 0
    flags = flags % 4294967296
    if math.floor(flags / O_CREAT) % 2 == 1 and not exists(ctx, p.path) then return {}, true end
    local mode = flags % 4
    return mode == 0 and { "r" } or mode == 1 and { "w" } or { "r", "w" }
  end
  if name == "truncate" then return { "w" } end
  return {}
end

local function add(list, cause)
  if cause then list[#list + 1] = cause end
  return cause
end

-- Another process's insides, in /proc.
local function of_process(ctx, text)
  local what = (text or ""):match "^/proc/[%d%a-]+/(%a+)"
  if not ({ root = 1, cwd = 1, exe = 1, fd = 1, ns = 1, mem = 1, maps = 1, environ = 1 })[what] then return nil end
  local b = ctx.spec.built
  return { kind = "capability", why = "CAP_SYS_PTRACE is missing: it is another process's, with more rights or of another user",
    at = of_recipe.at(b, "capabilities"), rule = capabilities_rule(b),
    fix = with_capability(b, "sys_ptrace", of_recipe.id_inside(ctx.tid, "uid", ctx.creds.uid)) }
end

local function of_paths(ctx, call, code, list)
  files = files or require "caisson.explain.files"
  for i, p in ipairs(call:paths()) do
    local path = p.path
    if path and path:sub(1, 1) == "/" then
      if code == "EROFS" then
        add(list, files.masked(ctx, path) or files.read_only(ctx, path))
      elseif code == "ENOSPC" or code == "EDQUOT" then
        add(list, files.full(ctx, path))
      else
        add(list, files.masked(ctx, path))
        if call.name:find "^execve" then add(list, files.no_exec(ctx, path)) end
        if call.name:find "^open" then add(list, files.no_device(ctx, path)) end
        if code ~= "EPERM" then
          add(list, files.landlock(ctx, call, p, i))
          local what, changes = wanted(ctx, call, p)
          -- what would be denied next, were it not for the mode
          if add(list, files.mode(ctx, path, what, changes)) and (changes or what[#what] == "w") then
            add(list, files.read_only(ctx, path))
          end
          if #list == 0 then add(list, of_process(ctx, p.text)) end
        end
      end
      if #list > 0 then return path end
    end
  end
  return (call:paths()[1] or {}).path
end

local special = {}

local function port_of(call)
  local a = call:address(2)
  return a and a.port, a
end

function special.bind(ctx, call, code, list)
  local port, a = port_of(call)
  if a and a.path and code == "EACCES" then return end
  if code ~= "EACCES" or not port then return end
  files = files or require "caisson.explain.files"
  add(list, files.landlock_port(ctx, "bind", port))
  if port > 0 and port < 1024 and not of_recipe.has_bit(ctx.creds.caps, 10) then
    local b = ctx.spec.built
    local c = add(list, { kind = "capability", why = ("CAP_NET_BIND_SERVICE is missing: port %d is below 1024"):format(port),
      at = of_recipe.at(b, "capabilities"), rule = capabilities_rule(b) })
    c.fix = b.new and b.new.net and ('sysctl = { ["net.ipv4.ip_unprivileged_port_start"] = "%d" }'):format(port)
      or with_capability(b, "net_bind_service", of_recipe.id_inside(ctx.tid, "uid", ctx.creds.uid))
  end
end

function special.connect(ctx, call, code, list)
  local port, a = port_of(call)
  files = files or require "caisson.explain.files"
  if code == "EACCES" and port then add(list, files.landlock_port(ctx, "connect", port)) end
  if code == "EPERM" and a and a.abstract then add(list, files.landlock_scope(ctx, "abstract_unix_socket")) end
  if code == "ENETUNREACH" then
    local b = ctx.spec.built
    add(list, { kind = "network", why = "the container's network has no way there", rule = "namespaces.net",
      at = of_recipe.at(b, "namespaces/net"), fix = "namespaces = { net = false } (the host's), or network = { ... }" })
  end
end

local function signalling(ctx, _, code, list)
  files = files or require "caisson.explain.files"
  if code == "EPERM" then add(list, files.landlock_scope(ctx, "signal")) end
end
special.kill, special.tkill, special.tgkill, special.pidfd_send_signal = signalling, signalling, signalling, signalling

local function making_processes(ctx, call, code, list)
  local b = ctx.spec.built
  if code == "EAGAIN" then
    add(list, pids_limit(ctx))
    if (b.options.rlimits or {}).nproc then add(list, rlimit(ctx, "nproc", "Max processes")) end
  elseif (code == "ENOSPC" or code == "EUSERS") and b.options.limit_userns then
    add(list, { kind = "userns", why = "no user namespace may be made inside", rule = "limit_userns = true",
      at = of_recipe.at(b, "limit_userns"), fix = "limit_userns = false" })
  end
  return call
end
for _, name in ipairs { "clone", "clone3", "fork", "vfork", "unshare" } do special[name] = making_processes end

function special.seccomp(_, call, code, list)
  if code == "EBUSY" then
    add(list, { kind = "explain", why = "under --explain no filter inside may have a listener, which would be "
      .. "asked in the policy's place; without --explain it may" })
  end
  return call
end

function special.ptrace(_, _, code, list)
  if code == "EPERM" then
    add(list, { kind = "explain", why = "under --explain everything is traced already, and has one tracer; "
      .. "without --explain it may be traced" })
  end
end

local function is_sysctl_set(name)
  return of_recipe.read("/proc/sys/" .. name):match "%d+"
end

function special.perf_event_open(_, _, _, list)
  local level = is_sysctl_set "kernel/perf_event_paranoid"
  if level and tonumber(level) >= 2 then
    add(list, { kind = "host", why = "the host's sysctl kernel.perf_event_paranoid is " .. level })
  end
end

function special.io_uring_setup(_, _, _, list)
  local level = is_sysctl_set "kernel/io_uring_disabled"
  if level and level ~= "0" then add(list, { kind = "host", why = "the host's sysctl kernel.io_uring_disabled is " .. level }) end
end

function special.bpf(_, _, _, list)
  local level = is_sysctl_set "kernel/unprivileged_bpf_disabled"
  if level and level ~= "0" then
    add(list, { kind = "host", why = "the host's sysctl kernel.unprivileged_bpf_disabled is " .. level })
  end
end

local memory_limits = { mmap = true, brk = true, mremap = true, clone = true, fork = true }

local function by_errno(ctx, call, code, list)
  local b = ctx.spec.built
  local limits = b.options.rlimits or {}
  if code == "EMFILE" then
    add(list, rlimit(ctx, "nofile", "Max open files"))
  elseif code == "ENOMEM" and call.name:find "^mlock" then
    add(list, rlimit(ctx, "memlock", "Max locked memory"))
  elseif code == "ENOMEM" and memory_limits[call.name] then
    if limits.as then add(list, rlimit(ctx, "as", "Max address space")) end
    if limits.data and #list == 0 then add(list, rlimit(ctx, "data", "Max data size")) end
  elseif code == "EINVAL" and ctx.creds.inside then
    add(list, { kind = "userns", why = "an id that the container's id map does not have", at = of_recipe.at(b, "idmap")
      or of_recipe.at(b, "namespaces"), rule = b.options.idmap and "idmap = " .. show(b.options.idmap)
      or "namespaces.user = true, with one id",
      fix = "idmap = { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } }" })
  elseif code == "ENOSYS" then
    add(list, { kind = "host", why = "this kernel has no such call" })
  end
end

local killers = {
  SIGXFSZ = { "fsize", "Max file size" },
  SIGXCPU = { "cpu", "Max cpu time" },
}

-- The causes, the likeliest first, and the path that the call is about. ctx: the tracer; info: of the watcher.
---@return caisson.explain.Cause[] causes, string? path
function M.of(ctx, call, info, event)
  ctx.tid, ctx.name, ctx.creds = call.tid, call.name, of_recipe.creds(call.tid)
  local code, list = event.code, {}
  local own = info.native and require("caisson.trace.calls").paths[call.name]
  local paths = own and call:paths() or {}
  local path = (paths[call.name == "mount" and 2 or 1] or {}).path
  if event.signal and killers[event.signal] then
    return { rlimit(ctx, killers[event.signal][1], killers[event.signal][2]) }, path
  end
  if code ~= "EBUSY" then
    local denied = require("caisson.explain.seccomp").of(ctx, call, info)
    if denied and (event.signal or event.by_filter) then return { denied }, path end
  end
  if not info.native then return list, nil end
  if special[call.name] then special[call.name](ctx, call, code, list) end
  by_errno(ctx, call, code, list)
  if own then path = of_paths(ctx, call, code, list) or path end
  if #list == 0 and (code == "EPERM" or code == "EACCES") then add(list, capability(ctx, call)) end
  if #list == 0 then
    list[1] = { kind = "unknown", why = "nothing in the recipe says so: a rule of the kernel's, of a security module or of "
      .. "the file itself" }
  end
  return list, path
end

return M
