-- measure: the same program twice takes the same time: on one processor, at addresses that stay.
--
--   caisson run measure cpu=1 -- ./bench
return require("caisson").recipe {
  summary = "Time and memory of a program: on one processor, without address randomisation",
  extends = "sandbox",
  params = { cpu = { "integer", default = 0, help = "the processor" } },
  build = function(p)
    return {
      affinity = tostring(p.cpu),
      personality = { flags = { "addr_no_randomize" } },
      env = { LC_ALL = "C" },
      cgroup = { cpu = { optional = true }, memory = { optional = true } }, -- to read figures from
      result = function(r)
        r.report = ("%.1f ms, %.1f ms of CPU, %.1f MiB"):format(r.wall_ns / 1e6, r.cpu_ns / 1e6,
          (r.memory_peak or 0) / 1048576)
      end,
    }
  end,
}
