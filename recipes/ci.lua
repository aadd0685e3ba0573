-- ci: a step of continuous integration, on a copy of the checkout that is thrown away.
--
--   caisson run ci dir=project -- make test
--
-- It may write all over the folder, in memory; you, and the next step, find it as it was.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A CI step on a throw-away copy of a folder: no network, a time limit",
  extends = "sandbox",
  params = {
    dir = ".",
    scratch = { "size", default = "256M", help = "memory for what it writes there" },
    time = { "time", default = "10m", help = "time by the clock" },
  },
  build = function(p)
    local dir = assert(caisson.core.realpath(p.dir))
    return {
      mounts = { { overlay = dir, lower = { dir }, scratch = p.scratch, idmap = "user" } },
      env = { CI = "true", TERM = "dumb", LANG = "C.UTF-8" },
      limits = { time = p.time },
    }
  end,
}
