-- sidecar: a program on the network of a container that is there, and in nothing else of it: to look, or to serve it.
--
--   caisson run sidecar of=web -- curl -s http://127.0.0.1:8080/
local caisson = require "caisson"

return caisson.recipe {
  summary = "A program on the network of another container, and in nothing else of it",
  extends = "sandbox",
  params = { of = { "string", required = true, help = "the container's id" } },
  build = function(p)
    local pid = assert(assert(caisson.open(p.of)):state().pid, "it does not run")
    local user = caisson.core.identity().euid ~= 0 and ("/proc/%d/ns/user"):format(pid) or nil
    return { namespaces = { net = ("/proc/%d/ns/net"):format(pid), user = user } }
  end,
}
