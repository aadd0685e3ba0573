-- What this machine's settings say, for doctor and for hints: files that name a cause.
local M = {}

-- The first line of a file, or nil.
function M.read(path)
  local f = io.open(path, "r")
  if not f then return nil end
  local line = f:read("*l")
  f:close()
  return line
end

-- What stands in the way of user namespaces: { setting =, value =, fix = }, or nil where no setting does.
-- read: another M.read, for specs.
function M.no_user_namespaces(read)
  read = read or M.read
  if read("/proc/sys/user/max_user_namespaces") == "0" then
    return { setting = "user.max_user_namespaces", value = "0",
      fix = "user namespaces are turned off: as root, sysctl -w user.max_user_namespaces=15000" }
  end
  if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" then
    return { setting = "kernel.unprivileged_userns_clone", value = "0",
      fix = "user namespaces are root's alone here: as root, sysctl -w kernel.unprivileged_userns_clone=1" }
  end
  if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" then
    return { setting = "kernel.apparmor_restrict_unprivileged_userns", value = "1",
      fix = "AppArmor restricts user namespaces: as root, give the program a profile with 'userns,', or " ..
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" }
  end
end

-- Where something is mounted, as this process sees it.
function M.mount_points()
  local list, f = {}, io.open("/proc/self/mountinfo")
  for line in f and f:lines() or function() end do
    local place = line:match("^%S+ %S+ %S+ %S+ (%S+)")
    list[#list + 1] = place and place:gsub("\\(%d%d%d)", function(n) return string.char(tonumber(n, 8)) end)
  end
  if f then f:close() end
  return list
end

-- Mounts below /proc: a user namespace that sees one may not mount a new proc.
function M.covered_proc(mountinfo)
  local list = {}
  for line in mountinfo:gmatch("[^\n]+") do
    local point = line:match("^%d+ %d+ %S+ %S+ (/proc/%S+) ")
    if point and not point:find("^/proc/sys/fs/binfmt_misc") then list[#list + 1] = point end
  end
  return list
end

return M
