-- uptime: a machine that has been up as long as you say: for what goes wrong after 50 days only.
--
--   caisson run uptime days=49.71 -- ./timer-test
return require("caisson").recipe {
  summary = "A machine that has been up for as long as you say",
  extends = "sandbox",
  params = { days = { "number", default = 50, help = "to add to how long it really is" } },
  build = function(p)
    local seconds = math.floor(p.days * 86400)
    return { namespaces = { time = true },
      time_offsets = { monotonic = seconds, boottime = seconds } }
  end,
}
