-- npm: npm install, whose packages may run any script of theirs, locked to the project.
--
--   caisson run npm dir=app network=yes
--
-- What such a script looks for is not there: no home, no keys, no tokens. It can't change .git, and sees no .env.
local caisson = require "caisson"

return caisson.recipe {
  summary = "npm install, locked to the project: its scripts see no home, no keys, no .env",
  extends = "sandbox",
  params = {
    dir = { "path", default = ".", help = "the project" },
    write = { "boolean", default = true, help = "may it write there?" },
    tmp = { "size", default = "1G", help = "size of /tmp, where the cache is" },
  },
  build = function(p)
    local dir = assert(caisson.core.realpath(p.dir))
    return {
      args = { "npm", "install" },
      mounts = { { bind = dir .. "/.git", optional = true } },
      masked = { dir .. "/.env", dir .. "/.npmrc" },
      env = { npm_config_audit = "false", npm_config_fund = "false", npm_config_update_notifier = "false" },
    }
  end,
}
