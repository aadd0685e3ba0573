-- compile: a compiler, or make and all that it starts, locked to its folder.
--
--   caisson run compile dir=src -- make -j2
--
-- It writes there and in /tmp. The folder's .git is read-only: no hook is left for you to run.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A compiler or make, locked to its folder: no network, no other files, a time limit",
  extends = "sandbox",
  params = { dir = ".", write = true, time = { "time", default = "10m", help = "by the clock" } },
  build = function(p)
    return {
      mounts = { { bind = caisson.core.realpath(p.dir) .. "/.git", optional = true } },
      seccomp = caisson.policy.default() - { "ptrace", "@network-io" },
      limits = { time = p.time },
      rlimits = { fsize = 1024 ^ 3 },
    }
  end,
}
