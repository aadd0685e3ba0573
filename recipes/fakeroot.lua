-- fakeroot: be root in a folder. chown and mknod seem to work, and nothing changes that an ordinary user may not change.
--
--   caisson run fakeroot dir=tree write=yes -- tar -xpf image.tar -C tree
--
-- The program has uid 0 in a user namespace where there is no other, so the kernel would refuse both. In place of a device
-- an empty file is made, by this process: started by root, it is root's outside.
local caisson = require "caisson"

local function owned(call) return call:fake(0) end

local function make(call)
  local mode = call:int(call.name == "mknod" and 2 or 3)
  local kind = math.floor(mode / 4096) % 16
  if kind ~= 2 and kind ~= 6 then return end -- neither a character nor a block device: the kernel's to make
  local found = call:paths()[1]
  if not found.path then return call:deny(found.errno) end
  local fd, _, errno = call:open(found.path, { "write", "create", "exclusive" }, mode % 512)
  if not fd then return call:deny(errno) end
  fd:close()
  return call:fake(0)
end

return caisson.recipe {
  summary = "Be root in a folder: chown and mknod seem to work",
  extends = "sandbox",
  build = function()
    local me = caisson.core.identity()
    local uid, gid = me.euid, me.egid
    if uid == 0 then uid, gid = 65534, 65534 end
    return {
      namespaces = { user = true },
      idmap = { uid = { { 0, uid, 1 } }, gid = { { 0, gid, 1 } } },
      user = 0,
      env = { USER = "root" },
      seccomp_notify = { chown = owned, fchown = owned, lchown = owned, fchownat = owned, mknod = make, mknodat = make },
    }
  end,
}
