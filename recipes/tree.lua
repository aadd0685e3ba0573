-- tree: a distribution's tree (debootstrap's, or of an image) as root, as its root user.
--
--   caisson run tree root=/srv/bookworm write=yes network=yes -- apt-get install hello
local caisson = require "caisson"

return caisson.recipe {
  summary = "A distribution's tree as root, and as its root user, in a range of ids",
  params = {
    root = { "path", required = true, help = "the directory" },
    write = { "boolean", default = false, help = "may it be changed?" },
    network = { "boolean", default = false, help = "share the host's network" },
  },
  build = function(p) -- started by root: what is root's out there is root's in there, by an id map
    local map = caisson.core.identity().euid == 0 and { { 0, 1878982656, 65536 } } or nil
    return {
      namespaces = { user = true, mount = true, pid = true, net = not p.network, ipc = true,
        uts = true, cgroup = true },
      idmap = map and { uid = map, gid = map } or "range", root = { bind = p.root, idmap = map },
      readonly_root = not p.write, user = 0, init = true, args = { "/bin/sh" },
      devices = { "default" }, seccomp = caisson.policy.default(), env = { HOME = "/root" },
      mounts = { { proc = "/proc" }, { tmpfs = "/dev", mode = "0755" }, { devpts = "/dev/pts" },
        { tmpfs = "/tmp", mode = "1777" } } }
  end,
}
