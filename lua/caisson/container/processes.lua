-- A container's processes, as /proc has them.
local core = require "caisson.core"
local join = require "caisson.join"

local M = {}

local function read(path)
  local f = io.open(path, "r")
  if not f then return nil end
  local s = f:read("*a")
  f:close()
  return s
end

-- What /proc/PID/stat says: { name, state, parent, start_time }; nil where there is no such process.
function M.stat(pid)
  local name, rest = (read(("/proc/%d/stat"):format(pid)) or ""):match("^%d+ %((.*)%) (.*)$")
  if not name then return nil end
  local words = {}
  for word in rest:gmatch("%S+") do words[#words + 1] = word end
  -- the 22nd field, where the state is the 3rd
  return { name = name, state = words[1], parent = tonumber(words[2]), start_time = tonumber(words[20]) }
end

-- A descriptor for the process that had this number then, and what stat() says of it; nil: it has ended.
function M.open(pid, start_time)
  local fd = core.pidfd.open(pid)
  if not fd then return nil end
  local stat = M.stat(pid)
  -- who starts meanwhile under this number is not the one that the descriptor is of, and has another time
  if stat and stat.start_time == start_time and stat.state ~= "Z" and stat.state ~= "X" then return fd, stat end
  fd:close()
  return nil
end

-- The inodes of a process's namespaces, by type.
function M.namespaces(pid)
  local t = {}
  for _, n in ipairs(join.namespaces) do
    local st = core.lstat(("/proc/%d/ns/%s"):format(pid, n[2]))
    t[n[1]] = st and tonumber(st.target:match("%[(%d+)%]"))
  end
  return t
end

-- Its id as it sees it itself.
function M.inside(pid)
  return tonumber((read(("/proc/%d/status"):format(pid)) or ""):match("\nNSpid:[^\n]-(%d+)\n"))
end

-- The processes of a pid namespace and of those below it that this process may look into: a list.
local function of_namespace(inode)
  local list, target = {}, ("pid:[%.0f]"):format(inode)
  for _, name in ipairs(core.list("/proc") or {}) do
    if name:find("^%d+$") then
      local st = core.lstat("/proc/" .. name .. "/ns/pid")
      if st and st.target == target then list[#list + 1] = tonumber(name) end
    end
  end
  return list
end

-- The processes that this one has made, and theirs.
local function descendants(pid, list)
  list[#list + 1] = pid
  for child in (read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch("%d+") do
    descendants(tonumber(child), list)
  end
  return list
end

-- The processes of a container without a group: those of its pid namespace, or else what its first one has made.
-- pid: the first; inode: of its pid namespace.
function M.of_container(pid, inode)
  local own = core.lstat("/proc/self/ns/pid")
  if inode and own and own.target ~= ("pid:[%.0f]"):format(inode) then
    local list = of_namespace(inode)
    table.sort(list)
    return list
  end
  return descendants(pid, {})
end

return M
