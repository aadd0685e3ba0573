-- What a container is not to reach, put on the host for the time of a probe: a process, a socket with an abstract name, a
-- service on the loopback device. Nothing else of the host's is ever touched.
local core = require "caisson.core"
local session = require "caisson.probe.session"

local M = {}

local AF_UNIX, AF_INET, STREAM = 1, 2, 0x80001 -- SOCK_CLOEXEC

function M.unix_address(name) return "\1\0\0" .. name end -- of the abstract kind

function M.inet_address(port)
  return "\2\0" .. string.char(math.floor(port / 256), port % 256) .. "\127\0\0\1" .. ("\0"):rep(8)
end

---@class caisson.probe.Bait
---@field pid integer      of a process of this user's
---@field abstract? string the name of a listening socket
---@field port? integer    of 127.0.0.1, where somebody listens
---@field keyring? integer the session keyring's serial number
local Bait = {}
Bait.__index = Bait

-- Returns it | nil, message, errno.
function M.new()
  local host, message, errno = session.host()
  if not host then return nil, message, errno end
  local self = setmetatable({ host = host }, Bait)
  local ok, err = pcall(function()
    local b = host:batch()
    local name = ("caisson-probe-%d-%d"):format(core.identity().pid, math.floor(core.now()))
    local address = M.unix_address(name)
    local u = b:call("socket", AF_UNIX, STREAM, 0)
    local bound = b:call("bind", u, b:bytes(address), #address)
    b:call("listen", u, 8)
    local t = b:call("socket", AF_INET, STREAM, 0)
    local room, size = b:bytes(M.inet_address(0)), b:bytes(session.u32(16))
    b:call("bind", t, room, 16)
    local listens = b:call("listen", t, 8)
    b:call("getsockname", t, room, size)
    local pid = b:call("getpid")
    -- KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING: one is not made for it
    local ring = b:call("keyctl", 0, -3, 0, 0, 0)
    local r = b:go()
    self.pid = r:of(pid)
    if r:of(bound) == 0 then self.abstract = name end
    if r:of(listens) == 0 then
      local high, low = r:bytes(room, 4):byte(3, 4)
      self.port = high * 256 + low
    end
    if r:of(ring) > 0 then self.keyring = r:of(ring) end
  end)
  if not ok then
    self:close()
    return nil, type(err) == "table" and err.gone or tostring(err)
  end
  return self
end

function Bait:close() self.host:close() end

return M
