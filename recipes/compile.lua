-- compile: a compiler, or make and all that it starts, locked to its folder.
--
--   caisson run compile dir=src -- make -j2
--
-- It writes there and in /tmp; the folder's .git can be read only, so that no hook is left for you to run later.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A compiler or make, locked to its folder: no network, no other files, no endless loop",
  extends = "sandbox",
  params = {
    dir = { "path", default = ".", help = "the folder that it may write to" },
    write = { "boolean", default = true, help = "may the program write to it?" },
    time = { "time", default = "10m", help = "time by the clock" },
  },
  build = function(p)
    local dir = assert(caisson.core.realpath(p.dir))
    return {
      mounts = { { bind = dir .. "/.git", optional = true } },
      seccomp = caisson.policy.default() - { "ptrace", "@network-io" },
      limits = { time = p.time },
      rlimits = { fsize = 1024 ^ 3 },
    }
  end,
}
