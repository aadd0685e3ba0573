-- python: a Python script from anywhere, on files that it may read, with one folder for its results.
--
--   caisson run python dir=script out=results -- python3 report.py
local caisson = require "caisson"

return caisson.recipe {
  summary = "A Python script: it reads its folder, writes results to another, starts nothing, connects nowhere",
  extends = "sandbox",
  params = {
    dir = { "path", default = ".", help = "the script's folder, shown read-only" },
    out = { "path", help = "the folder for results, there /out" },
    time = { "time", default = "10m", help = "CPU time" },
  },
  build = function(p)
    return {
      mounts = p.out and { { bind = p.out, at = "/out", writable = true, idmap = "user" } } or nil,
      env = { PYTHONDONTWRITEBYTECODE = 1, PYTHONNOUSERSITE = 1 },
      seccomp = caisson.policy.default() - { "@network-io", "fork", "vfork", "ptrace" },
      limits = { cpu = p.time }, 
    }
  end,
}
