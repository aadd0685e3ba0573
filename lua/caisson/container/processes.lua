-- A container's processes, as /proc has them.
local core = require "caisson.core"

local M = {}

local function read(path)
  local f = io.open(path, "r")
  if not f then return nil end
  local s = f:read("*a")
  f:close()
  return s
end

-- What /proc/PID/stat says: { name, state, parent, start_time, exit_code }; nil where there is no such process.
function M.stat(pid)
  local fd = core.open(("/proc/%d/stat"):format(pid))
  local text = fd and fd:read(4096) -- which is one line, and comes whole
  if fd then fd:close() end
  local name, rest = (text or ""):match("^%d+ %((.*)%) (.*)$")
  if not name then return nil end
  local words = {}
  for word in rest:gmatch("%S+") do words[#words + 1] = word end
  -- the 22nd field, where the state is the 3rd
  return { name = name, state = words[1], parent = tonumber(words[2]), start_time = tonumber(words[20]),
    exit_code = tonumber(words[50]) or 0 }
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

-- Does /proc tell us how others have ended? (proc_pid_stat(5): a 0 stands also for "none of your business".)
local function may_know()
  local map = read("/proc/self/uid_map") or ""
  return core.euid() == 0 and map:find("^%s*0%s+0%s+4294967295%s") ~= nil
end

-- How a process has ended that its parent, not we, has still to reap: { code = } or { signal = }; nil and true where
-- /proc does not tell, nil where there is no such process any more.
function M.ending(pid, start_time)
  local stat = M.stat(pid)
  if not stat or stat.start_time ~= start_time or stat.state ~= "Z" then return nil end
  local status = stat.exit_code
  if status % 128 ~= 0 then return { signal = status % 128 } end
  if status == 0 and not may_know() then return nil, true end
  return { code = math.floor(status / 256) }
end

-- The same, of one whose descriptor says that it has ended: once it is reaped, that tells (Linux 6.15). Some first
-- processes of a machine take their time for that.
function M.learn(pidfd, pid, start_time, seconds)
  local deadline, status, kept = core.now() + seconds * 1e9, nil, true
  while not status and kept do
    status, kept = M.ending(pid, start_time)
    if not status then
      local told = core.pidfd.wait(pidfd, 0)
      if told and not told.unknown then return told end
      kept = kept and core.now() < deadline
      if kept then core.poll({}, 0.02) end
    end
  end
  return status
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
