-- unpack: an archive from anywhere into a folder, whatever its paths and links say, and however large it claims to be.
--
--   caisson run unpack archive=x.tar.gz dir=x -- tar -xzf /archive
local caisson = require "caisson"

return caisson.recipe {
  summary = "Unpack an archive into one folder, whatever its paths and links say; a bound for each file",
  extends = "sandbox",
  params = {
    archive = { "path", required = true, help = "shown read-only as /archive" },
    dir = { "path", default = ".", help = "the folder" },
    write = { "boolean", default = true, help = "may it write there?" },
    largest = { "size", default = "1G", help = "of a file that it makes" },
    time = { "time", default = "5m", help = "time by the clock" },
  },
  build = function(p)
    return {
      mounts = { { bind = p.archive, at = "/archive" } },
      rlimits = { fsize = p.largest }, limits = { time = p.time },
      seccomp = caisson.policy.default() - { "@network-io", "ptrace" },
    }
  end,
}
