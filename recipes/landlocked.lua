-- landlocked: no namespace is made: rules on files and ports, where nothing else is to be had.
--
--   caisson run landlocked read=.,data write=out,/tmp -- python3 report.py
local caisson = require "caisson"

local function all(...)
  local list = {}
  for _, paths in ipairs { ... } do
    for _, path in ipairs(paths) do table.insert(list, { path = path, optional = true }) end
  end
  return list
end

return caisson.recipe {
  summary = "Landlock alone, without namespaces: which files and ports a program may use",
  params = { read = { "list", default = ".", help = "what it may read, beside the system" },
    write = { "list", default = "/tmp", help = "what it may change" },
    connect = { "list", default = "", help = "TCP ports that it may connect to" } },
  build = function(p)
    for i, port in ipairs(p.connect) do p.connect[i] = tonumber(port) end
    return { landlock = { bind = {}, connect = p.connect,
      execute = all { "/usr", "/bin", "/lib", "/lib64" },
      read = all({ "/etc", "/proc", "/dev" }, p.read), write = all({ "/dev/null" }, p.write) } }
  end,
}
