-- limited: any program of this machine, with bounds for all that it starts together.
--
--   caisson run limited memory=256M cpus=0.5 -- make -j8
--
-- Bounds are control groups: root's, or a user's in a delegated subtree (systemd-run --user --scope
-- -p Delegate=yes). optional=yes goes on without, and says so in the result (run --json).
return require("caisson").recipe {
  summary = "Bounds on memory, processors, processes and time, for all that a program starts",
  extends = "sandbox",
  params = {
    memory = "512M", pids = 64,
    cpus = { "number", default = 1, help = "processors' worth of time: 0.5 is half of one" },
    time = { "time", default = "10m", help = "time by the clock" },
    optional = { "boolean", default = false, help = "go on where a bound can't be set" },
  },
  build = function(p)
    local quota = { quota = math.floor(p.cpus * 100000), period = 100000 }
    return { limits = { time = p.time }, cgroup = {
      memory = { max = p.memory, swap = 0, optional = p.optional },
      pids = { max = p.pids, optional = p.optional },
      cpu = { max = quota, optional = p.optional } } }
  end,
}
