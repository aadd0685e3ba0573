-- unpack: an archive from anywhere into a folder, whatever its paths and links say.
--
--   caisson run unpack archive=x.tar.gz dir=x -- tar -xzf /archive
local caisson = require "caisson"

return caisson.recipe {
  summary = "Unpack an archive into one folder, whatever its paths and links say",
  extends = "sandbox",
  params = {
    dir = ".", write = true,
    archive = { "path", required = true, help = "shown read-only as /archive" },
    largest = { "size", default = "1G", help = "of a file that it makes" },
    time = { "time", default = "5m", help = "time by the clock" },
  },
  build = function(p)
    return { mounts = { { bind = p.archive, at = "/archive" } }, limits = { time = p.time },
      rlimits = { fsize = p.largest }, seccomp = caisson.policy.default() - { "@network-io" } }
  end,
}
