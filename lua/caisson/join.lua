-- Joining a container's namespaces: which they are, and who this process is in them.
local core = require "caisson.core"

local M = {}

-- User first, which gives the rights for the others.
local namespaces = { "user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time" }

local function read(path)
  local f, message = io.open(path, "r")
  if not f then return nil, message end
  local s = f:read("*a")
  f:close()
  return s
end

-- A process of the pid namespace at path that is in this process's user namespace and may have CAP_SYS_PTRACE:
-- it could take over, and then overwrite, what is run by name there. Its pid | nil.
function M.tracer(path)
  local file = core.open(path)
  local ns = file and core.lstat("/proc/self/fd/" .. file:fileno())
  if file then file:close() end
  local user = core.lstat "/proc/self/ns/user"
  for _, pid in ipairs(ns and ns.target and user and core.list "/proc" or {}) do
    local at = "/proc/" .. pid
    local theirs = pid:find "^%d" and core.lstat(at .. "/ns/pid")
    if theirs and theirs.target == ns.target and (core.lstat(at .. "/ns/user") or {}).target == user.target then
      -- CapBnd: bit 19, the highest of the fifth digit from the end
      local bounding = (read(at .. "/status") or ""):match "\nCapBnd:%s*(%x+)" or "f"
      if (tonumber(bounding:sub(-5, -5), 16) or 0) >= 8 then return tonumber(pid) end
    end
  end
end

-- How this process's id appears inside, by the map of the container's user namespace.
-- Returns it | nil, the first id of the map.
local function inside(map, id)
  local first
  for from, outside, count in map:gmatch("(%d+)%s+(%d+)%s+(%d+)") do
    from, outside, count = tonumber(from), tonumber(outside), tonumber(count)
    first = first or from
    if id >= outside and id < outside + count then return from + id - outside end
  end
  return nil, first
end

-- The namespaces of the container that are not this process's, and whom it is in the user namespace.
-- target: { pid =, pidfd =, apart = is its root none of its mount namespace's? }.
-- Returns { list, is, uid_map, gid_map, setgroups, root } | nil, message, errno.
function M.look(target)
  local at, found = ("/proc/%d/"):format(target.pid), { list = {}, is = {} }
  found.root = target.apart and at .. "root" or nil
  local theirs, message, errno = core.namespaces(target.pid)
  if not theirs then
    -- of one that is ending they are nobody's to see, before its descriptor says so
    local ended = core.poll({ { fd = target.pidfd, events = "r" } }, 1)
    if ended and ended[1] then return nil, ("the container's process %d has ended"):format(target.pid), core.errno.ESRCH end
    return nil, message, errno
  end
  local ours = core.namespaces()
  for _, name in ipairs(namespaces) do
    if theirs[name] ~= ours[name] then
      found.list[#found.list + 1] = name
      found.is[name] = true
    end
  end
  if found.is.user then
    found.uid_map, found.gid_map = read(at .. "uid_map") or "", read(at .. "gid_map") or ""
    found.setgroups = (read(at .. "setgroups") or ""):match("%a+")
  end
  -- what was read is of the container's process, and not of one with its recycled number, if that lives still
  local ready
  ready, message, errno = core.poll({ { fd = target.pidfd, events = "r" } }, 0)
  if not ready then return nil, message, errno end
  if ready[1] then return nil, ("the container's process %d has ended"):format(target.pid), core.errno.ESRCH end
  return found
end

-- Steps that join them, for a plan with the slot `target` in front of its clone, and that make the process
-- somebody whom the container's user namespace knows.
-- Returns the list, { euid =, egid = }: who it is then, whether it may set groups | nil, message.
function M.steps(found)
  local list, identity = {}, core.identity()
  local uid, gid, groups = identity.euid, identity.egid, true
  if found.root then list[1] = { step = "keep", options = { path = found.root, slot = "whole" } } end
  if #found.list > 0 then
    list[#list + 1] = { step = "namespace.join", options = { fd = "target", namespaces = found.list } }
  end
  if found.root then list[#list + 1] = { step = "root.enter", options = { tree = "whole" } } end
  if found.is.user then
    local first_uid, first_gid
    uid, first_uid = inside(found.uid_map, identity.euid)
    gid, first_gid = inside(found.gid_map, identity.egid)
    groups = found.setgroups ~= "deny"
    if not (uid or first_uid) or not (gid or first_gid) then return nil, "the container's user namespace has no id maps" end
    if not (uid and gid) then
      uid, gid = uid or first_uid, gid or first_gid
      if groups then list[#list + 1] = { step = "groups", options = { groups = {} } } end
      list[#list + 1] = { step = "gid", options = { gid = gid } }
      list[#list + 1] = { step = "uid", options = { uid = uid } }
    end
  end
  return list, { euid = uid, egid = gid }, groups
end

return M
