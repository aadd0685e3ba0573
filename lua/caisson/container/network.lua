-- Network devices moved into a container that outlives its creator: who deletes it gives them back. For that its network
-- namespace is held by a mount in the container's folder, since it would end with the last process, and with it all
-- devices but the physical ones.
local core = require "caisson.core"

local files = core.files

local M = {}

local name = "netns"

-- Before the first device is moved. dir: the container's, locked; pid: of its process.
-- Returns true | nil, message, errno.
function M.hold(dir, pid)
  local fd, message, errno = files.open(dir.fd, name, { "write", "create" }, 384)
  if not fd then return nil, message, errno end
  fd:close()
  local ok
  ok, message, errno = core.link.hold(pid, dir.path .. "/" .. name)
  if not ok then files.remove(dir.fd, name) end
  if errno == core.errno.EPERM then return true end -- root of a user namespace, who mounts nothing here; see give_back()
  return ok, message, errno
end

local function hex(fd)
  local f = io.open("/proc/self/fd/" .. fd:fileno(), "rb")
  local bytes = f and f:read("*a") or ""
  if f then f:close() end
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- The devices that a plan moves, as they are written down; process: where they have been moved.
function M.moved(plan, process)
  local list = {}
  for _, s in plan:each() do
    if s.step == "link.move" then
      local o = s.options
      local device = { device = o.device or o[1], name = o.name, addresses = o.addresses }
      local slot = process and process:slot(o.moved)
      if slot then
        device.moved = hex(slot)
        slot:close()
      end
      list[#list + 1] = device
    end
  end
  return #list > 0 and list or nil
end

-- Give back what is still there, and let the namespace go. list: of moved(). Returns the messages of what went wrong.
function M.give_back(dir, list)
  local wrong = {}
  local netns, message = core.open(dir.path .. "/" .. name, "read")
  for _, d in ipairs(list) do
    local ok
    if netns then
      ok, message = core.link.give_back { netns = netns, device = d.device, name = d.name, moved = d.moved,
        addresses = d.addresses }
    end
    if not ok then wrong[#wrong + 1] = ("network: %s is not given back: %s"):format(d.device, message) end
  end
  if netns then netns:close() end
  core.link.release(dir.path .. "/" .. name)
  return wrong
end

return M
