-- What a container can get hold of beyond its files: processes, keys, the network, and the kernel's more dangerous parts.
-- Each is tried behind the filters in a process of its own, which ends with what it got.
local core = require "caisson.core"
local bait = require "caisson.probe.bait"
local calls = require "caisson.probe.calls"
local facts = require "caisson.probe.facts"
local session = require "caisson.probe.session"

local M = {}

local errno = core.errno
local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

-- How a trial ended, for people: "yes", an errno's name, "killed by the filter", or why it was not made.
local function outcome(r, call)
  local got = r:of(call)
  if got == nil then
    if r.signal == 31 then return "killed by the filter" end
    if r.errno then return "not tried: " .. (errno.name(r.errno) or r.errno) end
    return "not reached"
  end
  if got >= 0 then return "yes" end
  return errno.name(-got) or tostring(got)
end

-- Make what fill(batch) puts there, behind the filters. Returns the answer, and what fill returned.
local function trial(p, fill)
  local b = p.session:batch()
  local results = { fill(b) }
  return b:go { child = true, filtered = true, wait = 2 }, unpack(results)
end

local function simple(p, name, ...)
  local args = { ... }
  local passes, action = calls.passes(p, name, args)
  if not passes and action == "notify" then return "asks a handler", nil end
  local r, call = trial(p, function(b) return b:call(name, unpack(args)) end)
  return outcome(r, call), r:of(call)
end

-- The rules that nothing is known of where no process can be made.
M.by_trial = {}
for name in ("host-process keyring-shared io-uring userfaultfd bpf perf-event open-by-handle kernel-log terminal-injection "
  .. "nested-userns nested-mounts nested-overlay mounts abstract-sockets loopback-services raw-sockets socket-families")
  :gmatch "%S+" do
  M.by_trial[name] = true
end

-- ---- processes and keys ----

local function host_process(p, row)
  local r, alive, traced = trial(p, function(b)
    return b:call("kill", p.bait.pid, 0), b:call("ptrace", 0x4206, p.bait.pid, 0,
      0) -- PTRACE_SEIZE; it ends with the child
  end)
  if p.own.pid then
    row("processes of the host", "not visible (a pid namespace)", "ok", "read")
  else
    local sees, may = outcome(r, alive), outcome(r, traced)
    row("processes of the host", may == "yes" and "can be traced" or sees == "yes" and "can be signalled"
      or "visible, " .. may,
      (may == "yes" or sees == "yes") and "danger" or "warning", "tried", "tried on a process made for it")
    p:found("host-process", (may == "yes" or sees == "yes") and "danger" or "warning",
      may == "yes" and "a process of the host can be traced" or sees == "yes" and "a process of the host can be signalled"
        or "the host's processes are visible")
  end
  p:checked("host-process")
end

local function keyring(p, row)
  local value, serial = simple(p, "keyctl", 0, -3, 0, 0, 0)
  if value == "yes" then
    local shared = p.bait.keyring and serial == p.bait.keyring
    row("session keyring", shared and "the host's" or "its own", shared and "warning" or "ok", "tried")
    if shared then p:found("keyring-shared", "warning",
      "the session keyring is that of who runs it: its keys can be used") end
  else
    row("session keyring", value, "ok", "tried")
  end
  p:checked("keyring-shared")
end

-- What makes the kernel's attack surface larger for whoever has no rights at all.
local function kernel_parts(p, row)
  local function part(key, rule, value, level, why)
    local got = value == "yes"
    row(key, value, got and level or "ok", "tried", why)
    if got then p:found(rule, level, key .. " can be used") end
    p:checked(rule)
  end
  local r, ring = trial(p, function(b) return b:call("io_uring_setup", 1, b:room(120)) end)
  part("io_uring", "io-uring", outcome(r, ring), "note", "a way around filters of calls, and a large part of the kernel")
  part("userfaultfd", "userfaultfd", (simple(p, "userfaultfd", 0x80001)), "note", "makes races in the kernel easy to win")
  local value = simple(p, "bpf", 0, -1, 4096 * 2) -- a length that is refused once the right to it was looked at
  local may = value == "E2BIG" or value == "EFAULT" or value == "EINVAL"
  part("bpf", "bpf", may and "yes" or value, p.has.bpf and not p.own.user and "danger" or "warning",
    "programs in the kernel")
  value = simple(p, "perf_event_open", 0, 0, -1, -1, 0)
  may = value == "EFAULT" or value == "EINVAL" or value == "E2BIG"
  part("perf_event_open", "perf-event", may and "yes" or value, "note", "side channels")
  local handle
  r, handle = trial(p, function(b)
    local space, mount_id = b:bytes(session.u32(128) .. ("\0"):rep(132)), b:room(8)
    b:must("name_to_handle_at", -100, b:text("/"), space, mount_id, 0)
    local root = b:must("openat", -100, b:text("/"), 0x80000, 0)
    return b:call("open_by_handle_at", root, space, 0x200000) -- O_PATH
  end)
  local by_handle = outcome(r, handle)
  part("open_by_handle_at", "open-by-handle", by_handle == "not reached" and "no" or by_handle,
    "danger", "opens any file of a file system, also outside of what is mounted")
  value = simple(p, "syslog", 10, 0, 0)
  part("kernel log (syslog)", "kernel-log", value, "note", "shows addresses and devices of the host")
end

-- The terminal: pushing characters into that of who runs it.
local function terminal(p, row)
  local legacy = (facts.read "/proc/sys/dev/tty/legacy_tiocsti" or "1"):match("%d") ~= "0"
  local r, call = trial(p, function(b) return b:call("ioctl", -1, 0x5412, 0) end)
  local plain, long = outcome(r, call), nil
  local shares = p.identity.session == 0
  local passes = plain == "EBADF"
  if calls.passes(p, "ioctl", { -1, "0x100005412", 0 }) and not passes and plain ~= "not reached" then long = true end
  local own = not shares
  local value = own and "a session of its own" or "the caller's session"
  local bad = shares and passes and (legacy or p.has.sys_admin)
  row("terminal", value .. (passes and "" or ", TIOCSTI " .. plain), bad and "danger" or shares and "note" or "ok",
    passes and "read" or "tried", "TIOCSTI pushes commands into the terminal that it was started from")
  if bad then p:found("terminal-injection", "danger", "it shares its caller's session, and TIOCSTI is allowed") end
  if long then p:found("filter-upper-bits", "warning",
    "the filter denies TIOCSTI, but not with upper bits set (CVE-2019-7303)") end
  p:checked("terminal-injection")
  p:checked("filter-upper-bits")
end

-- Descriptors beyond 0, 1, 2 and the prober's own.
local function descriptors(p, row)
  local b = p.session:batch()
  for fd = 0, 255 do b:call("fcntl", fd, 1, 0) end
  local r, open, kinds = b:go(), {}, {}
  for fd = 0, 255 do
    if r[fd + 1] >= 0 and fd > 3 then open[#open + 1] = fd end
  end
  for _, fd in ipairs(open) do
    local target = p.session:readlink("/proc/self/fd/" .. fd)
    kinds[#kinds + 1] = target and ("%d: %s"):format(fd, target) or tostring(fd)
  end
  row("descriptors", #open == 0 and "none but 0, 1 and 2" or ("%d more"):format(#open), #open == 0 and "ok"
    or "warning", "tried",
    #kinds > 0 and table.concat(kinds, ", ") or nil)
  if #open > 0 then p:found("leaked-descriptor", "warning", "open in it: " .. table.concat(kinds, ", ")) end
  p:checked("leaked-descriptor")
end

-- Programs that could be overwritten through /proc/PID/exe: of process 1, and, where it sees that, of this one, which has
-- made the container. While it runs, ETXTBSY says that one would have to wait for its end; one that is sealed (a memfd)
-- never can be.
local function executable(p, row)
  local pids = { 1, not p.own.pid and core.identity().pid or nil }
  for _, pid in ipairs(pids) do
    local path = ("/proc/%d/exe"):format(pid)
    local got = p.files.open_all(p, { { path, 1 } })
    local link = p.session:readlink(path)
    local b = p.session:batch()
    local fd = b:must("openat", -100, b:text(path), 0x80000, 0)
    local seals = b:call("fcntl", fd, 1034, 0) -- F_GET_SEALS
    b:call("close", fd)
    local r = b:go()
    local sealed = (r:of(seals) or -1) >= 0 and math.floor(r:of(seals) / 8) % 2 == 1
    local writable = not sealed and (got[1] == 0 or got[1] == -errno.ETXTBSY)
    row(pid == 1 and "program of process 1" or "program of who made it", writable and (got[1] == 0 and "writable"
      or "writable once it has ended") or sealed and "sealed" or not link and "not visible" or "can't be written",
      writable and "danger" or "ok", "tried", link)
    if writable then p:found("executable-writable", "danger", ("%s (%s) can be written to"):format(path, link or "?")) end
  end
  p:checked("executable-writable")
end

function M.processes(p)
  local rows = {}
  local function row(key, value, level, how, detail)
    rows[#rows + 1] = { key = key, value = value, level = level, how = how, detail = detail }
  end
  host_process(p, row)
  keyring(p, row)
  terminal(p, row)
  descriptors(p, row)
  executable(p, row)
  kernel_parts(p, row)
  return rows
end

-- ---- nested user namespaces ----

local NEWNS, NEWCGROUP, NEWUSER, NEWNET = 0x20000, 0x2000000, 0x10000000, 0x40000000

-- A detached mount of a type, in this process's mount namespace: the call that decides, and those before it.
local function mount_of_type(b, kind, set)
  local fs = b:must("fsopen", b:text(kind), 1)
  for key, value in pairs(set or {}) do b:must("fsconfig", fs, 1, b:text(key), b:text(value), 0) end
  b:must("fsconfig", fs, 6, 0, 0, 0) -- FSCONFIG_CMD_CREATE
  return b:call("fsmount", fs, 1, 0)
end

-- Its own ids are mapped, as far as there is a /proc to say so in.
local function map_ids(b, uid, gid)
  local function write(path, text)
    local fd = b:call("openat", -100, b:text(path), 0x80001, 0)
    b:call("write", fd, b:bytes(text), #text)
    b:call("close", fd)
  end
  write("/proc/self/setgroups", "deny")
  write("/proc/self/uid_map", ("0 %d 1"):format(uid))
  write("/proc/self/gid_map", ("0 %d 1"):format(gid))
end

function M.nested(p)
  local rows = {}
  local function row(key, value, level, detail)
    rows[#rows + 1] = { key = key, value = value, level = level, how = "tried", detail = detail }
  end
  local function try(what)
    local r, made, got = trial(p, function(b)
      local first = b:must("unshare", NEWUSER)
      map_ids(b, p.identity.uid, p.identity.gid)
      return first, what and what(b) or nil
    end)
    return outcome(r, made), got and outcome(r, got), r
  end
  local value = try()
  local can = value == "yes"
  row("user namespace", can and "can be made" or value, can and "warning" or "ok",
    "gives all capabilities over what it makes: most of the kernel's bugs need it")
  if can then p:found("nested-userns", "warning", "an unprivileged user namespace can be made") end
  p:checked("nested-userns")
  local by_clone, by_clone3 = calls.passes(p, "clone", { NEWUSER + 17 }), calls.passes(p, "clone3", {})
  if not can and #p.programs > 0 and value == "EPERM" and (by_clone or by_clone3) then
    row("user namespace by clone", by_clone3 and "clone3 is allowed, whose flags no filter sees"
      or "allowed", "note")
  end
  local function inside(key, what, level, rule)
    local _, got = try(what)
    if not can then got = "no" end
    row(key, got, got == "yes" and level or "ok")
    if rule then
      if got == "yes" then p:found(rule, level, key:gsub(" in it$", " can be made")
        .. " in a user namespace of its own") end
      p:checked(rule)
    end
  end
  inside("mounts in it", function(b)
    b:must("unshare", NEWNS)
    return mount_of_type(b, "tmpfs")
  end, "note", "nested-mounts")
  inside("network devices in it", function(b) return b:call("unshare", NEWNET) end, "note")
  if (facts.read "/proc/filesystems" or ""):find("\toverlay\n") then
    inside("overlay in it", function(b)
      b:must("unshare", NEWNS)
      -- directories for it on a file system that nobody else sees
      b:must("mount", b:text("none"), b:text("/"), b:text("tmpfs"), 0, 0)
      b:must("chroot", b:text("/.."))
      b:must("mkdirat", -100, b:text("/lower"), 448)
      b:must("mkdirat", -100, b:text("/upper"), 448)
      b:must("mkdirat", -100, b:text("/work"), 448)
      local fs = b:must("fsopen", b:text("overlay"), 1)
      b:must("fsconfig", fs, 1, b:text("lowerdir"), b:text("/lower"), 0)
      b:must("fsconfig", fs, 1, b:text("upperdir"), b:text("/upper"), 0)
      b:must("fsconfig", fs, 1, b:text("workdir"), b:text("/work"), 0)
      b:must("fsconfig", fs, 6, 0, 0, 0)
      return b:call("fsmount", fs, 1, 0)
    end, "warning", "nested-overlay")
  end
  -- a hierarchy of cgroup v1 whose release_agent is the host's (CVE-2022-0492): with its own rights, and in one
  local v1 = (facts.read "/proc/self/mounts" or ""):match(" cgroup [%w,]*,(memory)") or
    (facts.read "/proc/self/mounts" or ""):match("%S+ %S+ cgroup [^\n]-,(cpu),?[^\n]*") or
    (facts.read "/proc/self/mounts" or ""):match("%S+ %S+ cgroup [^\n]-,(pids)[ ,]")
  if v1 then
    local opened, how
    for _, flags in ipairs { NEWNS, NEWUSER + NEWNS + NEWCGROUP } do
      local r, agent = trial(p, function(b)
        b:must("unshare", flags)
        local fs = b:must("fsopen", b:text("cgroup"), 1)
        b:must("fsconfig", fs, 0, b:text(v1), 0, 0)
        b:must("fsconfig", fs, 6, 0, 0, 0)
        local at = b:must("fsmount", fs, 1, 0)
        return b:call("openat", at, b:text("release_agent"), 0x80001, 0)
      end)
      how = how or r[r.done] and r[r.done] < 0 and errno.name(-r[r.done]) or nil
      opened = opened or r:of(agent) and r:of(agent) >= 0
    end
    row("release_agent by a mount of cgroup v1", opened and "opens for writing" or how or "no", opened and "danger" or "ok",
      "the kernel runs it as root on the host (CVE-2022-0492)")
    if opened then p:found("release-agent", "danger", "cgroup v1 can be mounted, and its release_agent opens for writing") end
  end
  -- mounts without one: in a mount namespace of the child's, which they end with
  local r, got = trial(p, function(b)
    b:must("unshare", NEWNS)
    return mount_of_type(b, "tmpfs")
  end)
  value = outcome(r, got)
  if value == "not reached" then
    local failed = r[r.done]
    value = failed and failed < 0 and errno.name(-failed) or value
  end
  row("mounts with its own rights", value, value == "yes" and "warning" or "ok")
  if value == "yes" then p:found("mounts", "warning", "it can mount file systems") end
  p:checked("mounts")
  return rows
end

-- ---- the network ----

local function table_of(p, name)
  local f = io.open(("/proc/%d/net/%s"):format(p.pid, name), "rb")
  local text = f and f:read("*a") or ""
  if f then f:close() end
  return text
end

local function ipv4(hex)
  local d, c, b, a = hex:match("(%x%x)(%x%x)(%x%x)(%x%x)")
  return ("%d.%d.%d.%d"):format(tonumber(a, 16), tonumber(b, 16), tonumber(c, 16), tonumber(d, 16))
end

function M.network(p)
  local rows = {}
  local function row(key, value, level, how, detail)
    rows[#rows + 1] = { key = key, value = value, level = level, how = how, detail = detail }
  end
  local devices = {}
  for name in table_of(p, "dev"):gmatch("\n%s*([^:%s]+):") do devices[#devices + 1] = name end
  table.sort(devices)
  local shared = not p.own.net
  row("network namespace", shared and "the host's" or "its own", shared and "warning" or "ok", "read")
  if shared then p:found("host-network", "warning", "it has the host's network") end
  p:checked("host-network")
  row("interfaces", #devices > 0 and table.concat(devices, " ") or "none", "ok", "read")
  local default, routes = nil, 0
  for device, dest, gateway in table_of(p, "route"):gmatch("\n(%S+)%s+(%x+)%s+(%x+)") do
    routes = routes + 1
    if dest == "00000000" then default = ("by %s through %s"):format(ipv4(gateway), device) end
  end
  for dest, length, device in table_of(p, "ipv6_route"):gmatch("(%x+) (%x%x) [^\n]*%s(%S+)\n") do
    if length == "00" and dest:find "^0+$" and device ~= "lo" then default = default or "IPv6 through " .. device end
  end
  row("way out", default or (routes > 0 and "no default route" or "none"), default and not shared and "note" or "ok",
    "read")
  if default then p:found("network-route", "note", "a default route leads out, " .. default) end
  p:checked("network-route")

  local asks = false
  local function connects(address, family)
    for _, name in ipairs { "socket", "connect" } do
      local passes, action = calls.passes(p, name, name == "socket" and { family, 0x80001, 0 } or { 3, 4096, #address })
      if not passes and action == "notify" then
        if not asks then p:untried("connections", "whoever answers for " .. name .. " decides about them") end
        asks = true
        return "asks a handler"
      end
    end
    local r, connected = trial(p, function(b)
      local s = b:must("socket", family, 0x80001, 0) -- SOCK_CLOEXEC
      return b:call("connect", s, b:bytes(address), #address)
    end)
    local value = outcome(r, connected)
    if value == "not reached" then
      local failed = r[1]
      value = failed and failed < 0 and "no socket: " .. (errno.name(-failed) or failed) or value
    end
    return value
  end
  if p.bait.abstract then
    local value = connects(bait.unix_address(p.bait.abstract), 1)
    row("abstract sockets of the host", value == "yes" and "can be connected to" or value == "ECONNREFUSED"
      and "out of reach" or value,
      value == "yes" and "warning" or "ok", "tried", "tried on a socket opened for it (CVE-2020-15257)")
    if value == "yes" then p:found("abstract-sockets", "warning",
      "sockets with abstract names of the host's can be connected to") end
    if value ~= "asks a handler" then p:checked("abstract-sockets") end
  end
  if p.bait.port then
    local value = connects(bait.inet_address(p.bait.port), 2)
    local out = value == "ECONNREFUSED" or value == "ENETUNREACH"
    row("loopback services of the host", value == "yes" and "can be connected to" or out and "out of reach" or value,
      value == "yes" and "warning" or "ok", "tried", "tried on a service opened for it")
    if value == "yes" then p:found("loopback-services", "warning",
      "services on the host's 127.0.0.1 can be connected to") end
    if value ~= "asks a handler" then p:checked("loopback-services") end
  end
  local r, raw = trial(p, function(b) return b:call("socket", 2, 0x80003, 1) end)
  local value = outcome(r, raw)
  row("raw sockets", value == "yes" and "can be made" or value, value == "yes" and (shared and "warning" or "note")
    or "ok", "tried")
  if value == "yes" then p:found("raw-sockets", shared and "warning" or "note", "packets of any kind can be sent") end
  p:checked("raw-sockets")
  -- families: with a type that is refused before any module is loaded for them
  local families = { { 1, "unix" }, { 2, "inet" }, { 10, "inet6" }, { 16, "netlink" }, { 17, "packet" }, { 38, "alg" },
    { 40, "vsock" }, { 44, "xdp" }, { 31, "bluetooth" } }
  local allowed = {}
  for _, f in ipairs(families) do
    local seen, call = trial(p, function(b) return b:call("socket", f[1], -1, 0) end)
    if outcome(seen, call) == "EINVAL" then allowed[#allowed + 1] = f[2] end
  end
  row("families let through", #allowed > 0 and table.concat(allowed, " ") or "none", "ok", "tried")
  local wide = {}
  for _, f in ipairs(allowed) do
    if f == "alg" or f == "vsock" or f == "xdp" or f == "bluetooth" then wide[#wide + 1] = f end
  end
  if #wide > 0 then p:found("socket-families", "note", "rarely used families pass: " .. table.concat(wide, " ")) end
  p:checked("socket-families")
  return rows
end

return M
