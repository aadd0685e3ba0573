-- egress: the host's network, to connect to some TCP ports and no other, and to listen on none.
--
--   caisson run egress ports=443 -- curl -sS https://example.org/
--
-- Landlock refuses the others, in the kernel. It knows nothing of UDP, which is there for the name
-- servers' sake; all but sockets for TCP and UDP are denied.
local caisson = require "caisson"

return caisson.recipe {
  summary = "The host's network, but TCP to some ports only, and no listening",
  extends = "sandbox",
  accept = { ["host-network"] = "to connect to some ports of it is what it is for" },
  params = { network = true, ports = { "list", default = "443", help = "to connect to" } },
  build = function(p)
    local ports = {}
    for i, port in ipairs(p.ports) do
      ports[i] = tonumber(port) or error("ports: a number expected, got " .. port, 0)
    end
    return { landlock = { connect = ports, bind = {} }, -- 1: AF_UNIX, 2: AF_INET, 10: AF_INET6
      seccomp = caisson.policy.default() - { "socket" }
        + { { "socket", args = { { 0, "<=", 2 } } }, { "socket", args = { { 0, "==", 10 } } } } }
  end,
}
