-- service: a service with files of its own in /etc, one folder to write to, and one port.
--
--   caisson run service etc=myetc data=/srv/app port=8080 -- /usr/bin/app
--
-- It is on the host's network, may listen on this TCP port, and connect nowhere.
local caisson = require "caisson"

return caisson.recipe {
  summary = "A service with a private /etc, one folder to write to, one TCP port to listen on",
  extends = "sandbox",
  params = {
    network = true,
    etc = { "path", required = true, help = "what is in here is in its /etc, too" },
    data = { "path", required = true, help = "the folder that it may write to, there /data" },
    port = { "integer", required = true, help = "the TCP port that it may listen on" },
  },
  build = function(p)
    local mounts = { { bind = p.data, at = "/data", writable = true, idmap = "user" } }
    for _, name in ipairs(assert(caisson.core.list(p.etc))) do
      table.insert(mounts, { bind = p.etc .. "/" .. name, at = "/etc/" .. name })
    end
    return { mounts = mounts, cwd = "/data", landlock = { bind = { p.port }, connect = {} } }
  end,
}
