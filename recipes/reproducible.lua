-- reproducible: a build that comes out the same, here and there: what differs from machine to machine is hidden or fixed.
--
--   caisson run reproducible dir=src -- make      # with nproc 1, the same host, folder, user, umask, locale and addresses
local caisson = require "caisson"

return caisson.recipe {
  summary = "A build that comes out the same everywhere: one name, folder, user, locale, processor",
  extends = "sandbox",
  params = {
    dir = { "path", default = ".", help = "the sources, there /build" },
    epoch = { "integer", default = 315532800, help = "SOURCE_DATE_EPOCH: what stands for the time" },
  },
  build = function(p)
    local dir = p.dir
    p.dir = nil
    return {
      hostname = "build", cwd = "/build", umask = "022", affinity = "0",
      mounts = { { bind = dir, at = "/build", writable = true, idmap = "user" } },
      personality = { flags = { "addr_no_randomize" } },
      env = { SOURCE_DATE_EPOCH = tostring(p.epoch), TZ = "UTC", LC_ALL = "C", LANG = false, TERM = false },
    }
  end,
}
