-- python: a Python script from anywhere: it reads its folder, and writes results to another.
--
--   caisson run python dir=script out=results -- python3 report.py
local caisson = require "caisson"

return caisson.recipe {
  summary = "A Python script: it reads its folder, writes to another, has no network",
  extends = "sandbox",
  params = {
    dir = ".",
    out = { "path", help = "the folder for results, there /out" },
    time = { "time", default = "10m", help = "CPU time" },
  },
  build = function(p)
    return {
      mounts = p.out and { { bind = p.out, at = "/out", writable = true, idmap = "user" } } or nil,
      env = { PYTHONDONTWRITEBYTECODE = 1, PYTHONNOUSERSITE = 1 },
      seccomp = caisson.policy.default() - { "@network-io", "ptrace" },
      limits = { cpu = p.time },
    }
  end,
}
