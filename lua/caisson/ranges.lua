-- Ranges of ids that this user may map: subuid(5), subgid(5), newuidmap(1).
local core = require "caisson.core"

local M = {}

-- Root maps any. These are the last 65536 of what systemd reserves for containers, so that nobody has them.
M.of_root = 1878982656

local function lines(path)
  local f = io.open(path, "r")
  local text = f and f:read("*a") or ""
  if f then f:close() end
  return (text .. "\n"):gmatch("([^\n]*)\n")
end

-- This user's name, where /etc/passwd has it.
function M.name(me)
  for line in lines "/etc/passwd" do
    local user, uid = line:match("^([^:]*):[^:]*:(%d+):")
    if tonumber(uid) == me.uid then return user end
  end
end

-- The first range of this user's in such a file: first, count | nil.
local function range(path, me, name)
  for line in lines(path) do
    local who, first, count = line:match("^([^:]+):(%d+):(%d+)")
    if who and (who == name or who == tostring(me.uid)) then return tonumber(first), tonumber(count) end
  end
end

local function program(name)
  for dir in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if core.access(dir .. "/" .. name, "x") then return dir .. "/" .. name end
  end
end

-- The maps as option idmap has them: this user (for root: nobody in particular) is root inside, and the range the ids
-- from 1 on. Returns them, {} | nil, what is missing.
function M.map(me)
  if me.euid == 0 then
    local first = M.of_root
    return { uid = { { 0, first, 65536 } }, gid = { { 0, first, 65536 } } }, {}
  end
  local map, missing, name = {}, {}, M.name(me)
  for kind, id in pairs { uid = me.euid, gid = me.egid } do
    local path = "/etc/sub" .. kind
    local first, count = range(path, me, name)
    if not first then missing[#missing + 1] = path end
    map[kind] = { { 0, id, 1 }, { 1, first, count } }
    local helper = "new" .. kind .. "map"
    map[helper] = program(helper)
    if not map[helper] then missing[#missing + 1] = helper end
  end
  table.sort(missing)
  return #missing == 0 and map or nil, missing
end

-- What is to be done where something is missing.
function M.fix(me)
  return ("as root: apt install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s"):format(
    M.name(me) or me.uid)
end

return M
