-- measure: the same program twice takes the same time: on one processor, with addresses that stay, alone in its corner.
--
--   caisson run measure cpu=1 -- ./bench
local caisson = require "caisson"

return caisson.recipe {
  summary = "Time and memory of a program: on one processor, without address randomisation",
  extends = "sandbox",
  params = { cpu = { "integer", default = 0, help = "the processor" } },
  build = function(p)
    return {
      affinity = tostring(p.cpu), personality = { flags = { "addr_no_randomize" } }, env = { LANG = "C", LC_ALL = "C" },
      cgroup = { cpu = { optional = true }, memory = { optional = true } }, -- where there are any, figures are read there
      result = function(r)
        r.report = ("%.1f ms, %.1f ms CPU (%.1f user), %.1f MiB"):format(r.wall_ns / 1e6, r.cpu_ns / 1e6,
          (r.user_ns or 0) / 1e6, (r.memory_peak or r.maxrss or 0) / 1048576)
      end,
    }
  end,
}
