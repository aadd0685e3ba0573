-- What of the file tree is a way out: mounts, devices, what /proc and /sys show, sockets, programs with rights.
-- Files are opened, behind the filters, and closed again; nothing is read but what says by its first bytes whether it is
-- masked, and nothing is ever written.
local core = require "caisson.core"
local calls = require "caisson.probe.calls"
local facts = require "caisson.probe.facts"

local M = {}

local AT_FDCWD, NOTHING = -100, 0x80900 -- O_CLOEXEC | O_NONBLOCK | O_NOCTTY
local READ, WRITE = 0, 1

-- How this container may open files at all: the name of the call, or nil where the filters let none through.
local function opener(p)
  if p.opener == nil then
    p.opener = false
    for _, name in ipairs { "openat", "open" } do
      local nr = core.seccomp.number(name)
      if not p.opener and nr and nr >= 0 then
        local args = name == "openat" and { AT_FDCWD, 4096, NOTHING, 0 } or { 4096, NOTHING, 0 }
        if calls.passes(p, name, args) then p.opener = name end
      end
    end
  end
  return p.opener or nil
end

-- Open each of { path, mode } (0 to 2) and close it. Returns for each 0 or -errno, nil where that killed it.
function M.open_all(p, list)
  local name, out = opener(p), {}
  local filtered = name ~= nil
  local from = 1
  while from <= #list do
    local b, made = p.session:batch(), {}
    local to = math.min(from + 199, #list)
    for i = from, to do
      local path, flags = b:text(list[i][1]), NOTHING + list[i][2]
      made[i] = name == "open" and b:call("open", path, flags, 0) or b:call("openat", AT_FDCWD, path, flags, 0)
      b:call("close", made[i])
    end
    local r = b:go { child = true, filtered = filtered, wait = 3 }
    if r.errno and r.errno ~= core.errno.ETIME then
      r = b:go() -- no process for it: the prober is under all but the filters
    end
    local reached = to
    for i = from, to do
      local got = r:of(made[i])
      if not got then
        reached = i
        break
      end
      out[i] = got < 0 and got or 0
    end
    from = reached + 1
  end
  return out
end

-- ---- mounts ----

local kernel_types = { proc = true, sysfs = true, cgroup = true, cgroup2 = true, devpts = true, mqueue = true,
  devtmpfs = true, securityfs = true, debugfs = true, tracefs = true, bpf = true, pstore = true, efivarfs = true,
    binfmt_misc = true,
  configfs = true, fusectl = true, hugetlbfs = true }

-- Directories of the host whose writing is as good as being root there.
local critical = { "/etc", "/root", "/boot", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/var/lib/docker",
  "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet", "/var/spool/cron", "/run", "/var/run", "/dev" }

local function is_critical(path, home)
  if facts.under(path, "/dev/shm") or facts.under(path, "/dev/mqueue") then return false end -- everybody's anyway
  if path == "/" or path == home or path == "/home" or path == "/var" then return true end
  for _, dir in ipairs(critical) do
    if facts.under(path, dir) then return true end
  end
  return false
end

local function is_mask(m) return m.host == "/dev/null" and m.at ~= "/dev/null" end

local function flags_of(m)
  if is_mask(m) then return "masked" end
  local list = { m.readonly and "ro" or "rw" }
  for _, f in ipairs { "nosuid", "nodev", "noexec" } do if m.flags[f] then list[#list + 1] = f end end
  if m.reaches_host then
    list[#list + 1] = "shared with the host"
  elseif m.shared then
    list[#list + 1] = "shared"
  end
  if m.follows_host then list[#list + 1] = "follows the host" end
  return table.concat(list, " ")
end

function M.mounts(p)
  local rows, home = {}, os.getenv("HOME") or "/root"
  for _, m in ipairs(p.mounts) do
    if m.seen then
      local level, note = "ok", nil
      local device = m.kind == "char" or m.kind == "block" or m.at:find "^/dev/[^/]+$" and m.kind ~= "directory"
      local own = p.own.mount
      if m.host and not kernel_types[m.type] and not device and not m.readonly then
        if is_critical(m.host, home) then
          level = m.writable and "danger" or "warning"
          p:found(m.host == "/" and "host-root" or "host-directory", level,
            ("%s of the host is writable at %s"):format(m.host, m.at))
        else
          level = "note"
          p:found("host-writable", "note", ("%s of the host is writable at %s"):format(m.host, m.at))
        end
      elseif m.host == "/" and own and not device and not kernel_types[m.type] then
        level = "warning"
        p:found("host-root", "warning", "the host's root directory can be read at " .. m.at)
      end
      if m.reaches_host and own then
        level = p.has.sys_admin and "danger" or level == "danger" and level or "warning"
        p:found("mount-propagation", p.has.sys_admin and "danger" or "warning",
          ("what is mounted below %s appears on the host"):format(m.at))
      end
      if (m.type == "cgroup" or m.type == "cgroup2") and not m.readonly and m.writable then
        level, note = "warning", "writable"
        p:found("cgroup-writable", "warning", ("%s is a writable %s"):format(m.at, m.type))
      end
      if (m.type == "debugfs" or m.type == "tracefs" or m.type == "securityfs" or m.type == "configfs"
        or m.type == "efivarfs") then
        level = m.readonly and "note" or "warning"
        p:found("kernel-filesystem", level, ("%s is mounted at %s (%s)"):format(m.type, m.at, m.readonly and "ro"
          or "rw"))
      end
      rows[#rows + 1] = { key = m.at, value = flags_of(m), level = level, how = "read", note = note,
        detail = m.host and m.host ~= m.at and ("%s of the host, %s"):format(m.host, m.type)
          or m.host and "of the host, " .. m.type or m.type }
    end
  end
  for _, rule in ipairs { "host-root", "host-directory", "host-writable", "mount-propagation", "cgroup-writable",
    "kernel-filesystem" } do p:checked(rule) end
  return rows
end

-- ---- /proc and /sys ----

-- Path, what it is good for, and the rule that its reading or writing breaks, with the level of each.
local exposed = {
  { "/proc/kcore", "the kernel's memory", read = { "kernel-memory", "danger" } },
  { "/proc/kmsg", "the kernel's log", read = { "kernel-log", "note" } },
  { "/proc/kallsyms", "addresses of kernel functions", read = { "kernel-addresses", "note" }, shows = true },
  { "/proc/sysrq-trigger", "orders to the kernel: reboot, crash", write = { "sysrq", "danger" } },
  { "/proc/sys/kernel/core_pattern", "the program that the host runs, as root, for a crash", write = { "core-pattern",
    "danger" } },
  { "/proc/sys/kernel/modprobe", "the program that the host runs, as root, for a module", write = { "kernel-helper",
    "danger" } },
  { "/proc/sys/kernel/hotplug", "the program that the host runs, as root, for a device", write = { "kernel-helper",
    "danger" } },
  { "/proc/sys/fs/binfmt_misc/register", "interpreters of the host", write = { "binfmt-misc", "danger" } },
  { "/proc/sys/kernel/panic", "what a crash of the kernel does", write = { "host-sysctl", "warning" } },
  { "/proc/sys/kernel/randomize_va_space", "address randomization of all programs", write = { "host-sysctl",
    "warning" } },
  { "/proc/sys/vm/overcommit_memory", "the host's memory policy", write = { "host-sysctl", "warning" } },
  { "/proc/sys/kernel/hostname", "the host's name", write = { "host-name", "note" }, unless = "uts" },
  { "/proc/1/environ", "the environment of process 1", read = { "host-process", "warning" }, unless = "pid" },
  { "/proc/1/root", "the root directory of process 1", read = { "host-process", "danger" }, unless = "pid" },
  { "/proc/keys", "keys of others", read = { "kernel-keys", "note" } },
  { "/proc/timer_list", "timers of the whole machine", read = { "machine-details", "note" } },
  { "/proc/sched_debug", "processes of the whole machine", read = { "machine-details", "note" } },
  { "/proc/latency_stats", "latencies of the whole machine", read = { "machine-details", "note" } },
  { "/proc/interrupts", "interrupts of the whole machine", read = { nil, "note" } },
  { "/proc/acpi", "the machine's power management", list = { "machine-details", "note" } },
  { "/proc/scsi", "the machine's disks", list = { "machine-details", "note" } },
  { "/proc/asound", "the machine's sound devices", list = { nil, "note" } },
  { "/proc/irq/default_smp_affinity", "where the host handles interrupts", write = { "host-sysctl", "warning" } },
  { "/proc/bus/pci", "the machine's devices", list = { nil, "note" } },
  { "/proc/mounts", "mounts", read = { nil, "ok" } },
  { "/sys/firmware", "firmware tables", list = { "machine-details", "note" } },
  { "/sys/kernel/uevent_helper", "the program that the host runs, as root, for a device", write = { "kernel-helper",
    "danger" } },
  { "/sys/kernel/vmcoreinfo", "where the kernel's memory is", read = { "kernel-addresses", "note" } },
  { "/sys/kernel/notes", "where the kernel's memory is (Xen)", read = { nil, "ok" } },
  { "/sys/kernel/security", "the security modules' settings", list = { "kernel-filesystem", "note" } },
  { "/sys/kernel/debug", "the kernel's debugging files", list = { "kernel-filesystem", "warning" } },
  { "/sys/kernel/tracing", "the kernel's tracing", list = { "kernel-filesystem", "warning" } },
  { "/sys/fs/bpf", "the host's BPF programs and maps", list = { "kernel-filesystem", "note" } },
  { "/sys/power/state", "putting the host to sleep", write = { "host-sysctl", "danger" } },
  { "/sys/devices/virtual/powercap", "the processor's power meter, a side channel", list = { "machine-details",
    "note" } },
  { "/sys/module", "the kernel's modules", list = { nil, "note" } },
  { "/sys/class/net", "network devices", list = { nil, "ok" } },
}

-- The rules of all of them.
local exposed_rules = { "release-agent" }
for _, e in ipairs(exposed) do
  local rule = (e.read or e.write or e.list)[1]
  if rule then exposed_rules[#exposed_rules + 1] = rule end
end

local function word_of(got)
  if got == nil then return "kills" end
  if got == 0 then return nil end
  return core.errno.name(-got) or tostring(-got)
end

-- An empty directory, or one that something empty lies over; a file that /dev/null lies over.
local function masked(p, path, st)
  local m = p.visible[path]
  if not m then return false end
  if st.type == "directory" then
    local names = p.session:list(path, 3)
    return names ~= nil and #names == 0
  end
  return st.type == "char" and st.major == 1 and (st.minor == 3 or st.minor == 5 or st.minor == 7)
end

local function zero_addresses(p)
  local text = p.session:read("/proc/kallsyms", 4096)
  if not text then return nil end
  return text:sub(1, 4000):find("[1-9a-f]%x* %a ") == nil
end

function M.exposure(p)
  local paths, rows = {}, {}
  for i, e in ipairs(exposed) do paths[i] = e[1] end
  for _, dir in ipairs(p.session:list("/sys/fs/cgroup", 50) or {}) do
    local path = "/sys/fs/cgroup/" .. dir .. "/release_agent"
    if p.session:stat({ path })[path] then
      paths[#paths + 1] = path
      exposed[path] = { path, "the program that the host runs, as root, for an empty group", write = { "release-agent",
        "danger" } }
    end
  end
  local found = p.session:stat(paths, true)
  local list, at = {}, {}
  for _, path in ipairs(paths) do
    at[path] = #list + 1
    list[#list + 1] = { path, READ }
    list[#list + 1] = { path, WRITE }
  end
  local got = M.open_all(p, list)
  for i, path in ipairs(paths) do
    local e, st, row = exposed[i] and exposed[i][1] == path and exposed[i] or exposed[path], found[path], { key = path,
      how = "tried" }
    local reads, writes = got[at[path]], got[at[path] + 1]
    row.detail, row.level = e[2], "ok"
    local function break_rule(what, text)
      local rule, level = what[1], what[2]
      if e.unless and p.own[e.unless] then return end
      -- the kernel asks for the right to it again when it is used
      if rule then p:found(rule, level, text) end
      row.level = level
    end
    if not st then
      row.value = "absent"
    elseif masked(p, path, st) then
      row.value = "masked"
    else
      local words = {}
      local readable = reads == 0
      if readable and st.type == "directory" then
        local names = p.session:list(path, 3)
        readable = names ~= nil and #names > 0
        if names and #names == 0 then words[1] = "empty" end
      end
      if readable and e.shows and zero_addresses(p) then
        readable, words[1] = false, "addresses hidden"
      end
      if readable then words[#words + 1] = "readable" end
      if writes == 0 and st.type ~= "directory" then words[#words + 1] = "writable" end
      row.value = #words > 0 and table.concat(words, ", ") or word_of(reads) or "no"
      if row.value == "kills" then row.value = "killed by the filter" end
      if readable and (e.read or e.list) then break_rule(e.read or e.list, path .. " can be read") end
      if writes == 0 and e.write then break_rule(e.write, path .. " can be opened for writing") end
    end
    rows[#rows + 1] = row
  end
  for _, rule in ipairs(exposed_rules) do p:checked(rule) end
  return rows
end

-- ---- devices ----

-- By major:minor of character devices (block devices are all alike): what it is, and how bad. Others are not opened:
-- it may
-- do something, as starting a watchdog does.
local harmless = { ["1:3"] = "null", ["1:5"] = "zero", ["1:7"] = "full", ["1:8"] = "random", ["1:9"] = "urandom",
  ["5:0"] = "tty",
  ["5:2"] = "ptmx" }
local known = {
  ["1:1"] = { "the machine's memory", "device-memory", "danger" },
  ["1:2"] = { "the kernel's memory", "device-memory", "danger" },
  ["1:4"] = { "the machine's ports", "device-memory", "danger" },
  ["1:11"] = { "the kernel's log", "kernel-log", "note" },
  ["10:200"] = { "tunnels (net/tun)", nil, "note" },
  ["10:229"] = { "FUSE", nil, "note" },
  ["10:232"] = { "virtual machines (KVM)", "device-kvm", "warning" },
  ["10:237"] = { "loop devices", "device-disk", "warning" },
}

local function walk(p, dir, depth, out)
  local names = p.session:list(dir, 2000) or {}
  local paths = {}
  for i, n in ipairs(names) do paths[i] = dir .. "/" .. n end
  local found = p.session:stat(paths)
  for _, path in ipairs(paths) do
    local st = found[path]
    if st and (st.type == "char" or st.type == "block") then
      st.path = path
      out[#out + 1] = st
    elseif st and st.type == "directory" and depth > 0 and path ~= "/dev/shm" and path ~= "/dev/mqueue" then
      walk(p, path, depth - 1, out)
    end
  end
  return out
end

-- Drivers that are there already: opening a node of another may load one into the kernel.
local function drivers()
  local there = { char = {}, block = {}, misc = {} }
  local kind
  for line in (facts.read "/proc/devices" or ""):gmatch "[^\n]+" do
    kind = line:match "^Character" and "char" or line:match "^Block" and "block" or kind
    local major = tonumber(line:match "^%s*(%d+)")
    if major and kind then there[kind][major] = true end
  end
  for minor in (facts.read "/proc/misc" or ""):gmatch "%s*(%d+) [^\n]+" do there.misc[tonumber(minor)] = true end
  return function(d)
    if d.type == "char" and d.major == 10 then return there.misc[d.minor] end
    return there[d.type][d.major]
  end
end

function M.devices(p)
  local rows, list, at = {}, {}, {}
  local all, is_there = walk(p, "/dev", 2, {}), drivers()
  for _, d in ipairs(all) do
    local id = d.major .. ":" .. d.minor
    local opens = (d.type == "block" or harmless[id] or known[id] or d.major == 136) and is_there(d)
    if opens then
      at[d.path] = #list + 1
      list[#list + 1] = { d.path, READ }
      list[#list + 1] = { d.path, d.type == "block" and READ or WRITE }
    end
  end
  local got = M.open_all(p, list)
  local b, made = p.session:batch(), {}
  for i, d in ipairs(all) do
    if i <= 500 then made[i] = { b:call("faccessat", AT_FDCWD, b:text(d.path), 4), b:call("faccessat", AT_FDCWD,
      b:text(d.path), 2) } end
  end
  local r = b:go()
  local disks, unknown = 0, 0
  for i, d in ipairs(all) do
    local id = d.major .. ":" .. d.minor
    local k = known[id] or d.type == "block" and { "a disk", "device-disk", "danger" } or nil
    local row = { key = d.path, level = "ok", how = "tried", detail = ("%s %s%s"):format(d.type == "block" and "b"
      or "c", id,
      k and ", " .. k[1] or "") }
    local n = at[d.path]
    if n then
      local reads, writes = got[n] == 0, got[n + 1] == 0
      row.value = reads and writes and "opens" or reads and "opens for reading" or writes and "opens for writing"
        or word_of(got[n]) or "no"
      if row.value == "kills" then row.value = "killed by the filter" end
      if (reads or writes) and k then
        row.level = k[3]
        if k[2] then p:found(k[2], k[3], ("%s (%s) opens"):format(d.path, k[1])) end
        if d.type == "block" then disks = disks + 1 end
      end
    else
      row.how = "read"
      local may = made[i] and (r:of(made[i][1]) == 0 or r:of(made[i][2]) == 0)
      row.value = may and "may be opened" or "no access"
      if may and d.major ~= 136 then
        row.level = "note"
        unknown = unknown + 1
      end
    end
    rows[#rows + 1] = row
  end
  if unknown > 0 then p:found("device-other", "note", ("%d more devices may be opened"):format(unknown)) end
  for _, rule in ipairs { "device-memory", "device-disk", "device-kvm" } do p:checked(rule) end
  p:checked("device-other")
  return rows
end

-- ---- sockets, secrets, programs with rights ----

local function sockets(p)
  local home = os.getenv("XDG_RUNTIME_DIR") or "/run/user/" .. core.identity().euid
  local list = {
    { "/run/docker.sock", "Docker" }, { "/var/run/docker.sock", "Docker" },
    { "/run/podman/podman.sock", "Podman" }, { home .. "/podman/podman.sock", "Podman" },
    { "/run/containerd/containerd.sock", "containerd" }, { "/run/crio/crio.sock", "CRI-O" },
    { "/var/snap/lxd/common/lxd/unix.socket", "LXD" }, { "/var/lib/incus/unix.socket", "Incus" },
    { "/run/k3s/containerd/containerd.sock", "k3s" }, { home .. "/docker.sock", "Docker" },
    { "/run/systemd/private", "systemd" }, { home .. "/systemd/private", "the user's systemd" },
    { "/run/dbus/system_bus_socket", "D-Bus", "warning" }, { "/var/run/dbus/system_bus_socket", "D-Bus", "warning" },
    { home .. "/bus", "the user's D-Bus", "danger" }, { home .. "/wayland-0", "Wayland", "warning" },
    { "/tmp/.X11-unix/X0", "X11", "warning" }, { home .. "/pipewire-0", "PipeWire", "warning" },
    { home .. "/pulse/native", "PulseAudio", "warning" }, { os.getenv("SSH_AUTH_SOCK") or "/nowhere", "the SSH agent",
      "danger" },
    { home .. "/gnupg/S.gpg-agent", "the GnuPG agent", "danger" },
  }
  local paths = {}
  for i, s in ipairs(list) do paths[i] = s[1] end
  local found = p.session:stat(paths, true)
  local b, made = p.session:batch(), {}
  for i, path in ipairs(paths) do made[i] = b:call("faccessat", AT_FDCWD, b:text(path), 2) end
  local r, rows, seen = b:go(), {}, {}
  for i, s in ipairs(list) do
    local st = found[s[1]]
    if st and st.type == "socket" and not seen[st.dev .. st.ino] then
      seen[st.dev .. st.ino] = true
      local may = r:of(made[i]) == 0
      local level = may and (s[3] or "danger") or "note"
      local rule = s[3] and "desktop-socket" or "engine-socket"
      if may then p:found(rule, level, ("%s is %s's, and may be connected to"):format(s[1], s[2])) end
      rows[#rows + 1] = { key = s[1], value = may and "may be connected to" or "no access", level = level, how = "read",
        detail = "socket of " .. s[2] }
    end
  end
  p:checked("engine-socket")
  p:checked("desktop-socket")
  return rows
end

local function secrets(p)
  local home = os.getenv("HOME") or "/root"
  local list = { { "/etc/shadow", READ }, { "/etc/gshadow", READ }, { "/root/.ssh/id_rsa", READ },
    { "/root/.ssh/id_ed25519", READ },
    { "/etc/kubernetes/admin.conf", READ }, { "/var/lib/kubelet/pki", READ }, { "/etc/ssh/ssh_host_ed25519_key", READ },
    { "/etc/ssl/private", READ }, { "/var/run/secrets/kubernetes.io/serviceaccount/token", READ } }
  for _, name in ipairs { ".ssh/id_rsa", ".ssh/id_ed25519", ".aws/credentials", ".config/gcloud/credentials.db",
    ".kube/config",
    ".docker/config.json", ".netrc", ".git-credentials", ".gnupg/private-keys-v1.d" } do
    if home ~= "/root" or not name:find "^%.ssh" then list[#list + 1] = { home .. "/" .. name, READ } end
  end
  local got, rows = M.open_all(p, list), {}
  local paths = {}
  for i, e in ipairs(list) do paths[i] = e[1] end
  local found = p.session:stat(paths, true)
  for i, e in ipairs(list) do
    local st = found[e[1]]
    local m = st and facts.mount_of(p, e[1])
    if st and got[i] == 0 and m and m.host then
      rows[#rows + 1] = { key = e[1], value = "readable", level = "danger", how = "tried",
        detail = "a secret of the host's" }
      p:found("host-secret", "danger", e[1] .. " of the host can be read")
    end
  end
  p:checked("host-secret")
  return rows
end

local function setuid(p)
  local dirs = { "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec",
    "/usr/lib/openssh",
    "/usr/lib/dbus-1.0" }
  local seen, list = {}, {}
  local resolved = p.session:stat(dirs)
  for _, dir in ipairs(dirs) do
    if resolved[dir] and resolved[dir].type == "directory" then
      local m = facts.mount_of(p, dir)
      local names = not (m and m.flags.nosuid) and p.session:list(dir, 4000) or {}
      local paths = {}
      for i, n in ipairs(names) do paths[i] = dir .. "/" .. n end
      for path, st in pairs(p.session:stat(paths)) do
        if st and st.type == "file" and st.mode >= 2048 and not seen[st.dev .. ":" .. st.ino] then
          seen[st.dev .. ":" .. st.ino] = true
          list[#list + 1] = path
        end
      end
    end
  end
  table.sort(list)
  local row = { key = "setuid programs", how = "read", level = "ok" }
  if #list == 0 then
    row.value = "none in the usual directories"
  elseif p.identity.no_new_privs then
    row.value, row.detail = ("%d, without effect (no_new_privs)"):format(#list), table.concat(list, " ", 1,
      math.min(#list, 12))
  else
    row.value, row.level = ("%d that take effect"):format(#list), "warning"
    row.detail = table.concat(list, " ", 1, math.min(#list, 12))
    p:found("setuid-programs", "warning", ("%d setuid programs take effect: %s"):format(#list,
      table.concat(list, " ", 1, math.min(#list, 3))))
  end
  p:checked("setuid-programs")
  return row
end

function M.others(p)
  local rows = sockets(p)
  for _, row in ipairs(secrets(p)) do rows[#rows + 1] = row end
  rows[#rows + 1] = setuid(p)
  return rows
end

return M
