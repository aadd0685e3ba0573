-- What the container's process is and has: identity, capabilities, mounts, namespaces, limits. Nothing of this is
-- tried; it
-- is asked of the kernel, from inside by the prober and from outside in /proc.
local core = require "caisson.core"
local session = require "caisson.probe.session"

local M = {}

-- In the kernel's order: their numbers are places here, from 0 on.
M.capabilities = {}
for name in ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
  .. "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
  .. "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
  .. "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"):gmatch("%S+") do
  M.capabilities[#M.capabilities + 1] = name
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end
M.read = read

local function outside(p, name) return read(("/proc/%d/%s"):format(p.pid, name)) end

-- { id of the container, its user's } from lines of a map: { inside, outside, count }.
local function map_of(text)
  local list = {}
  for a, b, n in (text or ""):gmatch("(%d+)%s+(%d+)%s+(%d+)") do
    list[#list + 1] = { tonumber(a), tonumber(b), tonumber(n) }
  end
  return list
end

local function on_host(map, id)
  for _, m in ipairs(map) do
    if id >= m[1] and id < m[1] + m[3] then return m[2] + id - m[1] end
  end
end

local function set_of(low, high)
  local list = {}
  for i, name in ipairs(M.capabilities) do
    local word, bit = low, i - 1
    if bit >= 32 then word, bit = high, bit - 32 end
    if math.floor(word / 2 ^ bit) % 2 == 1 then list[#list + 1] = name end
  end
  return list
end

local securebit_names = { "noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps",
  "keep_caps_locked",
  "no_cap_ambient_raise", "no_cap_ambient_raise_locked" }

-- p.identity, p.caps (sets by name), p.has (effective ones as a set).
function M.process(p)
  local b = p.session:batch()
  local header, data = b:bytes(session.u32(0x20080522) .. session.u32(0)), b:room(24)
  local ids, gids, groups = b:room(16), b:room(16), b:room(4 * 256)
  b:call("capget", header, data)
  b:call("getresuid", ids, b:word(ids, 0) and { kind = 1, value = ids.value + 4 }, { kind = 1, value = ids.value + 8 })
  b:call("getresgid", gids, { kind = 1, value = gids.value + 4 }, { kind = 1, value = gids.value + 8 })
  b:call("getgroups", 256, groups)
  b:call("prctl", 39, 0, 0, 0, 0) -- PR_GET_NO_NEW_PRIVS
  b:call("prctl", 27, 0, 0, 0, 0) -- PR_GET_SECUREBITS
  b:call("prctl", 3, 0, 0, 0, 0) -- PR_GET_DUMPABLE
  b:call("getsid", 0)
  b:call("getpid")
  local first = #b.calls
  for i = 0, #M.capabilities - 1 do
    b:call("prctl", 23, i, 0, 0, 0) -- PR_CAPBSET_READ
    b:call("prctl", 47, 1, i, 0, 0) -- PR_CAP_AMBIENT_IS_SET
  end
  local r = b:go()
  local u32_at = session.u32_at
  local caps, d = { bounding = {}, ambient = {} }, r:bytes(data, 24)
  caps.effective = set_of(u32_at(d, 1), u32_at(d, 13))
  caps.permitted = set_of(u32_at(d, 5), u32_at(d, 17))
  caps.inheritable = set_of(u32_at(d, 9), u32_at(d, 21))
  for i, name in ipairs(M.capabilities) do
    if r[first + 2 * i - 1] == 1 then table.insert(caps.bounding, name) end
    if r[first + 2 * i] == 1 then table.insert(caps.ambient, name) end
  end
  p.caps, p.has = caps, {}
  for _, name in ipairs(caps.effective) do p.has[name] = true end
  local me = { uid = u32_at(r:bytes(ids, 16), 5), gid = u32_at(r:bytes(gids, 16), 5), groups = {}, session = r[8],
    pid = r[9] }
  for i = 1, math.max(r[4], 0) do me.groups[i] = u32_at(r:bytes(groups, 1024), 4 * i - 3) end
  me.no_new_privs, me.dumpable = r[5] == 1, r[7]
  me.securebits = {}
  for i, name in ipairs(securebit_names) do
    if r[6] > 0 and math.floor(r[6] / 2 ^ (i - 1)) % 2 == 1 then table.insert(me.securebits, name) end
  end
  me.uid_map, me.gid_map = map_of(outside(p, "uid_map")), map_of(outside(p, "gid_map"))
  me.host_uid, me.host_gid = on_host(me.uid_map, me.uid), on_host(me.gid_map, me.gid)
  local label = outside(p, "attr/current")
  label = label and label:gsub("[%z\n].*", "")
  me.label = label ~= "" and label or nil
  p.identity = me
end

local namespaces = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" }

-- p.namespaces: { { name, inside, outside, shared } }, p.own: those that are the container's by name.
function M.namespaces(p)
  p.namespaces, p.own = {}, {}
  for _, name in ipairs(namespaces) do
    local inside = core.lstat(("/proc/%d/ns/%s"):format(p.pid, name))
    local here = core.lstat("/proc/self/ns/" .. name)
    local a, b = inside and inside.target, here and here.target
    p.namespaces[#p.namespaces + 1] = { name = name == "mnt" and "mount" or name, inode = a and a:match("%d+"),
      host = b and b:match("%d+"), shared = a ~= nil and a == b }
    if a and a ~= b then p.own[name == "mnt" and "mount" or name] = true end
  end
end

-- ---- mounts ----

local function unescape(s) return (s:gsub("\\(%d%d%d)", function(o) return string.char(tonumber(o, 8)) end)) end

-- Lines of /proc/PID/mountinfo.
function M.mountinfo(text)
  local list = {}
  for line in (text or ""):gmatch("[^\n]+") do
    local id, parent, dev, root, at, flags, fields, kind, source, options =
      line:match("^(%d+) (%d+) (%d+:%d+) (%S+) (%S+) (%S+) (.-)%- (%S+) (%S*) ?(%S*)")
    if id then
      local m = { id = tonumber(id), parent = tonumber(parent), dev = dev, root = unescape(root), at = unescape(at),
        type = kind,
        source = unescape(source), options = options, flags = {} }
      for f in flags:gmatch("[^,]+") do m.flags[f] = true end
      for f in options:gmatch("[^,]+") do if f == "ro" then m.super_ro = true end end
      m.shared, m.master = fields:match("shared:(%d+)"), fields:match("master:(%d+)")
      list[#list + 1] = m
    end
  end
  return list
end

local function under(path, dir) return dir == "/" or path == dir or path:sub(1, #dir + 1) == dir .. "/" end
M.under = under

-- What a mount shows of the host: the host's path of its root; nil where it is the container's own.
local function host_path(m, host)
  local best, longest
  for _, h in ipairs(host) do
    if h.dev == m.dev and under(m.root, h.root) and (not longest or #h.root > longest) then
      local rest = h.root == "/" and m.root or m.root:sub(#h.root + 1)
      best, longest = (h.at == "/" and "" or h.at) .. rest, #h.root
      if best == "" then best = "/" end
      best = best:gsub("(.)/$", "%1")
    end
  end
  return best
end

-- p.mounts, each with what it is (host = path there), whether it can be written to, and propagation; p.visible: by place,
-- the one on top.
function M.mounts(p)
  local host = M.mountinfo(read "/proc/self/mountinfo")
  local peers = {}
  for _, h in ipairs(host) do if h.shared then peers[h.shared] = true end end
  p.mounts, p.visible = M.mountinfo(outside(p, "mountinfo")), {}
  local paths = {}
  for _, m in ipairs(p.mounts) do
    m.host = host_path(m, host)
    m.reaches_host = m.shared and peers[m.shared] or false
    m.follows_host = m.master and peers[m.master] or false
    p.visible[m.at] = m
    paths[#paths + 1] = m.at
  end
  local found = p.session:stat(paths)
  local b, calls = p.session:batch(), {}
  for i, path in ipairs(paths) do
    -- a group's directory may be closed, and its files not
    local is_group = p.mounts[i].type:find "^cgroup"
    if i <= 1000 then calls[i] = b:call("faccessat", -100, b:text(is_group and path .. "/cgroup.procs" or path), 2) end
  end
  local r = b:go()
  for i, m in ipairs(p.mounts) do
    local st = found[m.at]
    m.kind = st and st.type or nil
    m.readonly = m.flags.ro or m.super_ro or false
    m.writable = calls[i] and r[i] == 0 or false
    m.seen = p.visible[m.at] == m
  end
end

-- The mount that a path is on.
function M.mount_of(p, path)
  local best
  for _, m in ipairs(p.mounts) do
    if under(path, m.at) and (not best or #m.at >= #best.at) then best = m end
  end
  return best
end

-- ---- limits ----

local limit_names = { "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
  "sigpending", "msgqueue", "nice", "rtprio", "rttime" }

-- p.rlimits by name: { soft, hard }, "max" for none.
function M.rlimits(p)
  local b, rooms = p.session:batch(), {}
  for i = 1, #limit_names do
    rooms[i] = b:room(16)
    b:call("prlimit64", 0, i - 1, 0, rooms[i])
  end
  local r = b:go()
  p.rlimits = {}
  for i, name in ipairs(limit_names) do
    if r[i] == 0 then
      local s, v = r:bytes(rooms[i], 16), {}
      for k = 1, 2 do
        local n = session.s64_at(s, 8 * k - 7)
        v[k] = n < 0 and "max" or n
      end
      p.rlimits[name] = { soft = v[1], hard = v[2] }
    end
  end
end

-- The tightest value of these files from the group up to the mount's root. A v1 "unlimited" is a number near 2^63.
local function tightest(mount, path, files)
  local best
  repeat
    for _, f in ipairs(files) do
      local v = tonumber((read(mount .. path .. "/" .. f) or ""):match("^%d+"))
      if v and v < 2 ^ 62 and (not best or v < best) then best = v end
    end
    path = path:match("^(.*)/[^/]*$")
  until not path or path == ""
  return best
end

-- p.cgroups: { { version, controllers, path } }; p.group: memory, pids (numbers or nil), cpu, devices (text of v1).
function M.cgroups(p)
  p.cgroups, p.group = {}, {}
  local mounts = {}
  for _, m in ipairs(M.mountinfo(read "/proc/self/mountinfo")) do
    if m.type == "cgroup2" and m.root == "/" then mounts[""] = mounts[""] or m.at end
    if m.type == "cgroup" and m.root == "/" then
      for c in (m.options or ""):gmatch("[^,]+") do mounts[c] = mounts[c] or m.at end
    end
  end
  for controllers, path in (outside(p, "cgroup") or ""):gmatch("%d+:([^:\n]*):([^\n]*)") do
    local first = controllers:match("^[^,]*")
    local at = mounts[first] or mounts[controllers]
    p.cgroups[#p.cgroups + 1] = { controllers = controllers, path = path, version = controllers == "" and 2 or 1 }
    if at then
      local g = p.group
      g.memory = g.memory or tightest(at, path, { "memory.max", "memory.limit_in_bytes" })
      g.pids = g.pids or tightest(at, path, { "pids.max" })
      local cpu = (read(at .. path .. "/cpu.max") or ""):match("^(%d+ %d+)")
      local quota = (read(at .. path .. "/cpu.cfs_quota_us") or ""):match("^%d+")
      if quota then cpu = quota .. " " .. ((read(at .. path .. "/cpu.cfs_period_us") or ""):match("^%d+") or "?") end
      g.cpu = g.cpu or cpu
      if controllers:find "devices" then g.devices = read(at .. path .. "/devices.list") end
    end
  end
end

return M
