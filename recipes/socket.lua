-- socket: no network but one Unix socket of the host's, of a database for example.
--
--   caisson run socket path=/run/postgresql/.s.PGSQL.5432 -- psql -h /run/postgresql
local caisson = require "caisson"

return caisson.recipe {
  summary = "No network but one Unix socket of the host's: a database's, say",
  extends = "sandbox",
  params = { path = { "path", required = true, help = "the socket" } },
  build = function(p)
    return { mounts = { { bind = assert(caisson.core.realpath(p.path)), at = p.path } },
      seccomp = caisson.policy.default() - { "socket" } -- 1 is AF_UNIX
        + { "socket", args = { { 0, "==", 1 } } } }
  end,
}
