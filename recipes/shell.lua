-- shell: an interactive shell in the sandbox, on a terminal of its own.
--
--   caisson run shell dir=. write=yes -- bash --norc
--
-- The terminal is made in the container's /dev/pts: the shell holds no descriptor of yours, so that
-- nothing in there can push keys into the one that you started it from.
local caisson = require "caisson"

local function shell()
  for _, path in ipairs { "/bin/bash", "/bin/sh" } do
    if caisson.core.realpath(path) then return path end
  end
end

return caisson.recipe {
  summary = "An interactive shell in the sandbox, on a terminal of its own",
  extends = "sandbox",
  build = function()
    return { hostname = "shell", tty = true, args = { shell() },
      env = { PS1 = "[\\h \\w]$ ", HISTFILE = "" } }
  end,
}
