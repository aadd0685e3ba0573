-- sidecar: a program on the network of a container that is there, and in nothing else of it.
--
--   caisson run sidecar of=web -- curl -s http://127.0.0.1:8080/
local caisson = require "caisson"

return caisson.recipe {
  summary = "A program on the network of another container, and in nothing else of it",
  extends = "sandbox",
  params = { of = { "string", required = true, help = "the container's id" } },
  build = function(p)
    local pid = assert(assert(caisson.open(p.of)):state().pid, "it does not run")
    local root = caisson.core.identity().euid == 0 -- else the right to its network is its user's
    return { namespaces = { net = ("/proc/%d/ns/net"):format(pid),
      user = not root and ("/proc/%d/ns/user"):format(pid) or nil } }
  end,
}
