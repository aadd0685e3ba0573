-- uptime: a machine that has been up for as long as you say: for what only goes wrong after 50 days, or right after the start.
--
--   caisson run uptime days=49.71 -- ./timer-test
return require("caisson").recipe {
  summary = "A machine that has been up for as long as you say",
  extends = "sandbox",
  params = { days = { "number", default = 50, help = "more than it really is; the past is as far as the real start" } },
  build = function(p)
    local seconds = math.floor(p.days * 86400)
    return { namespaces = { time = true }, time_offsets = { monotonic = seconds, boottime = seconds } }
  end,
}
