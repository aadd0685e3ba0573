-- dryrun: what would it change? It writes wherever you may, for itself alone; the list is of what it made, changed, removed.
--
--   caisson run dryrun dir=/usr/local -- make install
local caisson = require "caisson"

return caisson.recipe {
  summary = "What would a program change in a folder? It sees its changes, the folder does not",
  params = {
    dir = { "path", default = ".", help = "the folder" },
    size = { "size", default = "256M", help = "memory for changes" },
  },
  build = function(p)
    local dir = assert(caisson.core.realpath(p.dir))
    return {
      namespaces = { mount = true, net = true, pid = true, ipc = true }, init = true, cwd = dir, args = { "/bin/sh" },
      root = { bind = "/", flags = { "rro" } },
      mounts = { { proc = "/proc" }, { tmpfs = "/tmp", mode = "1777" }, { overlay = dir, lower = { dir }, scratch = p.size } },
    }
  end,
}
