-- readonly: a program that looks at all of this machine's files, and can change none.
--
--   caisson run readonly -- du -sh /home
--
-- Root still reads everything, but has no capability left to write with. /run is empty, since its
-- sockets lead to programs that would write on its behalf.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A look at all of this machine's files, without the means to change any",
  namespaces = { mount = true, pid = true, net = true, ipc = true, uts = true },
  root = { bind = "/", flags = { "rro", "rnosuid" } },
  mounts = { { proc = "/proc" }, { tmpfs = "/run", size = "1M" } },
  capabilities = { "dac_read_search" },
  seccomp = caisson.policy.default(),
  init = true,
  cwd = caisson.core.realpath ".",
  args = { "/bin/sh" },
}
