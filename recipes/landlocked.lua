-- landlocked: no namespace, no user namespace, nothing to make: rules on files and ports alone, where those are not to be had.
--
--   caisson run landlocked write=out,/tmp -- python3 report.py
--
-- The program runs as you, among your processes, and sees all files; it may read the system's and what you say.
local caisson = require "caisson"

local function all(...)
  local list = {}
  for _, paths in ipairs { ... } do
    for _, path in ipairs(paths) do list[#list + 1] = { path = path, optional = true } end
  end
  return list
end

return caisson.recipe {
  summary = "Landlock alone, without namespaces: which files and ports a program may use",
  params = { read = { "list", default = ".", help = "what it may read" }, write = { "list", default = "/tmp",
    help = "what it may change" }, connect = { "list", default = "", help = "TCP ports that it may connect to" } },
  build = function(p)
    for i, port in ipairs(p.connect) do p.connect[i] = tonumber(port) end
    return { landlock = { execute = all { "/usr", "/bin", "/lib", "/lib64" }, connect = p.connect, bind = {},
      read = all({ "/etc", "/proc", "/dev" }, p.read), write = all({ "/dev/null", "/dev/tty" }, p.write) } }
  end,
}
