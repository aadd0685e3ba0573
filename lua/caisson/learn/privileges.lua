-- Capabilities that a run has used, from what it called and who it was then: those that the kernel would have asked
-- for, of those that it had. What has none, as in most recipes, used none, and nothing of this is asked. What a call
-- needs a capability for in rare cases alone (a limit that is exceeded, a lock on much memory) is not seen here.
local core = require "caisson.core"

local M = {}

-- Calls that always need one.
local always = {
  chroot = "sys_chroot", reboot = "sys_boot", kexec_load = "sys_boot", settimeofday = "sys_time", clock_settime = "sys_time",
  init_module = "sys_module", finit_module = "sys_module", delete_module = "sys_module", iopl = "sys_rawio",
  ioperm = "sys_rawio", acct = "sys_pacct", syslog = "syslog", vhangup = "sys_tty_config", perf_event_open = "perfmon",
  bpf = "bpf", open_by_handle_at = "dac_read_search", fanotify_init = "sys_admin", mount = "sys_admin", umount2 = "sys_admin",
  pivot_root = "sys_admin", move_mount = "sys_admin", fsopen = "sys_admin", fsmount = "sys_admin", open_tree = "sys_admin",
  mount_setattr = "sys_admin", sethostname = "sys_admin", setdomainname = "sys_admin", setns = "sys_admin",
  swapon = "sys_admin", swapoff = "sys_admin", quotactl = "sys_admin",
}

local names

local function bit_of(name)
  if not names then
    names = {}
    for i, word in ipairs(core.primitives.capabilities.fields[1].words) do names[word] = i - 2 end -- "all" is the first
  end
  return names[name]
end

local function id(v)
  v = tonumber(v) % 4294967296
  return v ~= 4294967295 and v or nil -- -1: left as it is
end

local function status_of(tid)
  local f = io.open(("/proc/%d/status"):format(tid))
  local text = f and f:read "*a"
  if f then f:close() end
  if not text then return nil end
  local s = { groups = {} }
  s.ruid, s.euid, s.suid, s.fsuid = text:match "\nUid:%s*(%d+)%s+(%d+)%s+(%d+)%s+(%d+)"
  s.rgid, s.egid, s.sgid, s.fsgid = text:match "\nGid:%s*(%d+)%s+(%d+)%s+(%d+)%s+(%d+)"
  for k, v in pairs(s) do if k ~= "groups" then s[k] = tonumber(v) end end
  s.effective = text:match "\nCapEff:%s*(%x+)"
  for g in (text:match "\nGroups:([^\n]*)" or ""):gmatch "%d+" do s.groups[tonumber(g)] = true end
  s.groups[s.fsgid or -1] = true
  return s
end

local function holds(s, name)
  local bit = bit_of(name)
  local digit = tonumber(s.effective:sub(-1 - math.floor(bit / 4), -1 - math.floor(bit / 4)), 16) or 0
  return math.floor(digit / 2 ^ (bit % 4)) % 2 == 1
end

local function use(self, s, name)
  if holds(s, name) then self.capabilities[name] = true end
end

local function stat(self, path)
  local fd = core.open(self.root .. path, { "path", "nofollow" })
  local st = fd and core.files.stat(fd)
  if fd then fd:close() end
  return st
end

-- Does the file's mode let these credentials do it? bits: 4 read, 2 write, 1 execute or search.
local function may(s, st, bits)
  local class = s.fsuid == st.uid and 64 or s.groups[st.gid] and 8 or 1
  local has = math.floor(st.mode / class) % 8
  for _, bit in ipairs { 4, 2, 1 } do
    if math.floor(bits / bit) % 2 == 1 and math.floor(has / bit) % 2 == 0 then return false end
  end
  return true
end

local function parent_of(path) return path:match "^(.+)/[^/]*$" or "/" end

-- What is done by a path, and the way to it.
local function access(self, s, p)
  local path = p.path
  if not path or path:sub(1, 1) ~= "/" then return end
  local st = stat(self, path)
  if p.access == "read" and st and not may(s, st, 4) then
    use(self, s, st.type ~= "other" and holds(s, "dac_read_search") and not holds(s, "dac_override") and "dac_read_search"
      or "dac_override")
  elseif p.access == "write" and st and st.type ~= "directory" and not may(s, st, 2) then
    use(self, s, "dac_override")
  elseif p.access == "write" and not st then
    local dir = stat(self, parent_of(path))
    if dir and not may(s, dir, 3) then use(self, s, "dac_override") end
  end
  local dir = path
  while dir ~= "/" do
    dir = parent_of(dir)
    local of = self.folders[dir]
    if of == nil then
      of = stat(self, dir) or false
      self.folders[dir] = of
    end
    if of and not may(s, of, 1) then use(self, s, holds(s, "dac_override") and "dac_override" or "dac_read_search") end
  end
end

local changing = { mkdir = 0, mkdirat = 0, rmdir = 0, unlink = 0, unlinkat = 0, rename = 0, renameat = 0, renameat2 = 0,
  symlink = 0, symlinkat = 0, link = 0, linkat = 0, mknod = 0, mknodat = 0 }
local owning = { chmod = 0, fchmodat = 0, fchmodat2 = 0, utimensat = 0, utime = 0, utimes = 0, futimesat = 0 }
local ids = { setuid = { 1 }, setreuid = { 1, 2 }, setresuid = { 1, 2, 3 } }
local gids = { setgid = { 1 }, setregid = { 1, 2 }, setresgid = { 1, 2, 3 } }

local function files(self, s, name, call)
  for _, p in ipairs(call:paths()) do
    if changing[name] and p.path and p.path:sub(1, 1) == "/" then
      local parent = parent_of(p.path)
      local dir, st = stat(self, parent), stat(self, p.path)
      if dir and not may(s, dir, 3) then use(self, s, "dac_override") end
      if dir and st and math.floor(dir.mode / 512) % 2 == 1 and dir.uid ~= s.fsuid and st.uid ~= s.fsuid then
        use(self, s, "fowner") -- the sticky bit
      end
      access(self, s, { path = parent, access = "stat" })
    elseif owning[name] then
      local st = p.path and stat(self, p.path)
      if st and st.uid ~= s.fsuid then use(self, s, "fowner") end
    else
      access(self, s, p)
    end
  end
end

local function owner(self, s, call, st, uid, gid)
  if not st then return end
  uid, gid = uid and id(call.args[uid]), gid and id(call.args[gid])
  if uid and uid ~= st.uid or (uid or gid) and st.uid ~= s.fsuid or gid and not s.groups[gid] then use(self, s, "chown") end
end

local function of_descriptor(call)
  local fd = core.open(("/proc/%d/fd/%d"):format(call.tid, call:int(1)), { "path" })
  local st = fd and core.files.stat(fd)
  if fd then fd:close() end
  return st
end

local function first_unprivileged_port()
  local f = io.open "/proc/sys/net/ipv4/ip_unprivileged_port_start"
  local n = f and tonumber(f:read "*l") or 1024
  if f then f:close() end
  return n
end

-- Of those that none of these calls has been seen of since.
local function known_status(self, tid, changes)
  local s = self.status[tid] or status_of(tid)
  self.status[tid] = not changes and s or nil
  return s
end

-- One call that is new.
function M.look(self, tid, name, info, call)
  local s = known_status(self, tid, ids[name] or gids[name] or name == "setgroups" or name == "capset" or name:find "^setfs")
  if not s or not s.effective then return end
  local args = info.args
  local function has(v, bit) return math.floor(tonumber(v) % 4294967296 / bit) % 2 == 1 end
  if always[name] then use(self, s, always[name]) end
  if call and self.takes_path[name] then files(self, s, name, call) end
  if name == "chown" or name == "lchown" then
    owner(self, s, call, stat(self, (call:paths()[1] or {}).path or "/none"), 2, 3)
  elseif name == "fchownat" then
    owner(self, s, call, stat(self, (call:paths()[1] or {}).path or "/none"), 3, 4)
  elseif name == "fchown" then
    owner(self, s, call, of_descriptor(call), 2, 3)
  elseif name == "fchmod" then
    local st = of_descriptor(call)
    if st and st.uid ~= s.fsuid then use(self, s, "fowner") end
  elseif ids[name] or gids[name] then
    local now = ids[name] and { s.ruid, s.euid, s.suid } or { s.rgid, s.egid, s.sgid }
    for _, i in ipairs(ids[name] or gids[name]) do
      local v = id(args[i])
      if v and v ~= now[1] and v ~= now[2] and v ~= now[3] then use(self, s, ids[name] and "setuid" or "setgid") end
    end
  elseif name == "setgroups" then
    use(self, s, "setgid")
  elseif name == "bind" then
    local a = call and call:address(2)
    if a and a.port and a.port > 0 and a.port < first_unprivileged_port() then use(self, s, "net_bind_service") end
  elseif name == "socket" then
    if tonumber(args[1]) == 17 or tonumber(args[2]) % 16 == 3 then use(self, s, "net_raw") end
  elseif name == "kill" then
    local other = call:int(1) > 0 and status_of(call:int(1))
    if other and other.suid ~= s.euid and other.suid ~= s.ruid and other.ruid ~= s.euid and other.ruid ~= s.ruid then
      use(self, s, "kill")
    end
  elseif name == "setpriority" then
    if call:int(3) < 0 then use(self, s, "sys_nice") end
  elseif name == "sched_setscheduler" then
    if call:int(2) ~= 0 and call:int(2) ~= 3 and call:int(2) ~= 5 then use(self, s, "sys_nice") end
  elseif name == "unshare" or name == "clone" then
    local any = false
    for _, bit in ipairs { 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000 } do
      any = any or has(args[1], bit)
    end
    if any and not has(args[1], 0x10000000) then use(self, s, "sys_admin") end
  elseif name == "mknod" or name == "mknodat" then
    local kind = math.floor(tonumber(args[name == "mknod" and 2 or 3]) / 4096) % 16
    if kind == 2 or kind == 6 then use(self, s, "mknod") end
  elseif name == "prctl" then
    local what = tonumber(args[1])
    if what == 24 or what == 28 then use(self, s, "setpcap") end
  end
end

return M
