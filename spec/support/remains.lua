-- What a container that came to nothing may have left behind.
local t = require "support"

local M = {}

-- Names of groups begin with this, so that other runs on this machine don't count.
M.prefix = "csnfault-" .. t.getpid() .. "-"

function M.groups()
  return t.sh("find /sys/fs/cgroup -type d -name '" .. M.prefix .. "*' 2>/dev/null")
end

function M.children()
  local list = {}
  for pid in t.read_file("/proc/self/task/" .. t.getpid() .. "/children"):gmatch("%d+") do list[#list + 1] = pid end
  return list
end

-- This user's files where a container might leave some: its state, the cache, temporary ones, or just here.
function M.files()
  return t.sh([[u=$(id -u); {
    find . /run/caisson "${XDG_RUNTIME_DIR:-/run}/caisson" "${XDG_CACHE_HOME:-$HOME/.cache}/caisson" -maxdepth 2 -user $u
    find /tmp /var/tmp /dev/shm -maxdepth 1 -user $u -name '*caisson*' ! -name 'caisson[.-]*'
  } 2>/dev/null | sort]])
end

-- Everything that must be the same before and after.
function M.now()
  return { fds = t.count_fds(), children = M.children(), mounts = t.read_file("/proc/self/mountinfo"),
    groups = M.groups(), files = M.files() }
end

-- The sandbox as its users run it: with limits where this user may set them. script: of a recipe.
function M.recipe(options)
  local caisson = require "caisson"
  local def = { extends = "sandbox" }
  if t.is_root then
    def.cgroup = { path = M.prefix .. "*", memory = { max = "64M" }, pids = { max = 32 } }
  end
  for k, v in pairs(options or {}) do def[k] = v end
  return caisson.recipe(def)
end

-- Wait until none of these processes is there any more (or only as somebody's zombie); those that are.
function M.wait_gone(pids, seconds)
  local deadline = t.core.now() + (seconds or 5) * 1e9
  while true do
    local left = {}
    for _, pid in ipairs(pids) do
      local state = (t.read_file("/proc/" .. pid .. "/stat") or ""):match("%) (%u)")
      if state and state ~= "Z" and state ~= "X" then left[#left + 1] = pid end
    end
    if #left == 0 or t.core.now() > deadline then return left end
    t.core.poll({}, 0.005)
  end
end

return M
