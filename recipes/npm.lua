-- npm: npm install, locked to the project: each package may run any script while it is installed.
--
--   caisson run npm dir=app network=yes
--
-- What such a script looks for is not there: no home, no keys, no .env; and .git is read-only.
local caisson = require "caisson"

return caisson.recipe {
  summary = "npm install, locked to the project: its scripts see no home, no keys, no .env",
  extends = "sandbox",
  params = { dir = ".", write = true, tmp = "1G" }, -- the cache is in /tmp
  args = { "npm", "install" },
  env = { npm_config_audit = "false", npm_config_fund = "false", NO_UPDATE_NOTIFIER = "1" },
  build = function(p)
    local dir = assert(caisson.core.realpath(p.dir))
    return {
      mounts = { { bind = dir .. "/.git", optional = true } },
      masked = { dir .. "/.env", dir .. "/.npmrc" },
    }
  end,
}
