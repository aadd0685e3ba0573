-- agent: the shell of an AI agent. The project is all that it can change, less what you run later.
--
--   caisson run agent dir=project -- bash
local caisson = require "caisson"

return caisson.recipe {
  summary = "An AI agent's shell: it changes the project, but not what you would run later",
  extends = "sandbox",
  params = {
    dir = ".", write = true,
    keep = { "list", default = ".git,.envrc,.vscode,.github", help = "what it can only read" },
    hide = { "list", default = ".env", help = "what it sees empty" },
    time = { "time", default = "1h", help = "time by the clock" },
  },
  build = function(p)
    local dir, mounts, masked = assert(caisson.core.realpath(p.dir)), {}, {}
    for i, name in ipairs(p.keep) do mounts[i] = { bind = dir .. "/" .. name, optional = true } end
    for i, name in ipairs(p.hide) do masked[i] = dir .. "/" .. name end
    return { hostname = "agent", args = { "/bin/sh" }, mounts = mounts, masked = masked,
      limits = { time = p.time }, seccomp = caisson.policy.default() - { "ptrace", "@keyring" } }
  end,
}
