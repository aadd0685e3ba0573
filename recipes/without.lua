-- without: what does the program do without these system calls? Groups are such as @network-io, @file-system, @process.
--
--   caisson run without calls=@network-io,@keyring -- ./program
--   caisson run without calls=getrandom errno=ENOSYS -- python3 -c 'import random'
local caisson = require "caisson"

return caisson.recipe {
  summary = "The sandbox without some system calls, by name or group: what does the program do then?",
  extends = "sandbox",
  params = {
    calls = { "list", required = true, help = "names and groups, with commas between" },
    errno = { "string", default = "EPERM", help = "what they answer; or kill_process" },
  },
  build = function(p)
    return { seccomp = caisson.policy.default():answer(p.errno, p.calls) }
  end,
}
