-- egress: the host's network, to connect to some TCP ports and no other, and to listen on none.
--
--   caisson run egress ports=443 -- curl -sS https://example.org/
--
-- Landlock refuses the others, in the kernel: there is no way around by changing memory in between. Names are looked up by
-- UDP, which it knows nothing of: all but sockets for TCP and UDP are denied, and UDP is for the name servers' sake.
local caisson = require "caisson"
local number = tonumber

return caisson.recipe {
  summary = "The host's network, but TCP to some ports only, and no listening",
  extends = "sandbox",
  params = {
    ports = { "list", default = "443", help = "TCP ports that it may connect to" },
    network = { "boolean", default = true, help = "share the host's network" },
  },
  build = function(p)
    local ports = {}
    for i, port in ipairs(p.ports) do ports[i] = number(port) or error("ports: a number expected, got " .. port, 0) end
    return { landlock = { connect = ports, bind = {} }, seccomp = caisson.policy.default() - { "socket" }
      + { { "socket", args = { { 0, "<=", 2 } } }, { "socket", args = { { 0, "==", 10 } } } } }
  end,
}
