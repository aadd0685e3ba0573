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
  root = { bind = "/", flags = { "rro", "rnosuid", "rnodev" } },
  mounts = { { proc = "/proc" }, { tmpfs = "/run", size = "1M" },
    { tmpfs = "/dev", dev = true, size = "64K" } }, -- disks are written to through any mount
  devices = { "default" }, readonly = { "/proc/sys" },
  masked = { "/proc/sysrq-trigger", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi",
    "/proc/scsi" },
  capabilities = { "dac_read_search" },
  accept = { capabilities = "it is there to read all", ["host-secret"] = "so it is there to read",
    ["host-uid"] = "as root, with that capability alone" },
  seccomp = caisson.policy.default(),
  init = true,
  cwd = caisson.core.realpath ".",
  args = { "/bin/sh" },
}
