-- without: what does a program do without these system calls?
--
--   caisson run without calls=@network-io,@keyring -- ./program
--   caisson run without calls=getrandom errno=kill_process -- python3 -c 'import random'
local caisson = require "caisson"

return caisson.recipe {
  summary = "The sandbox less some system calls, by name or group: what does a program do then?",
  extends = "sandbox",
  params = {
    calls = { "list", required = true, help = "names and groups, with commas between" },
    errno = { "string", default = "EPERM", help = "what they answer; or kill_process" },
  },
  build = function(p)
    return { seccomp = caisson.policy.default():answer(p.errno, p.calls) }
  end,
}
