-- limited: any program of this machine, with a bound on memory, processors, processes and time for all of it together.
--
--   caisson run limited memory=256M cpus=0.5 -- make -j8
--
-- Root's bounds are control groups. An ordinary user has those where a subtree is delegated (systemd-run --user --scope -p
-- Delegate=yes); elsewhere optional=yes goes on without, and says so in the result (caisson run --json).
return require("caisson").recipe {
  summary = "Bounds on memory, processors, processes and time, for a program with all that it starts",
  extends = "sandbox",
  params = {
    memory = { "size", default = "512M", help = "of all of its processes together, without swap" },
    cpus = { "number", default = 1, help = "processors' worth of time: 0.5 is half of one" },
    pids = { "integer", default = 64, help = "processes and threads" },
    time = { "time", default = "10m", help = "time by the clock" },
    optional = { "boolean", default = false, help = "go on where a bound can't be set" },
  },
  build = function(p)
    return { limits = { time = p.time }, cgroup = {
      memory = { max = p.memory, swap = 0, optional = p.optional },
      cpu = { max = { quota = p.cpus * 100000, period = 100000 }, optional = p.optional },
      pids = { max = p.pids, optional = p.optional } } }
  end,
}
