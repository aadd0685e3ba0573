-- cable: an address of its own, on a cable to the host or to one of its bridges.
--
--   caisson run cable address=10.9.0.2/24 gateway=10.9.0.1 bridge=br0 -- ping -c1 10.9.0.1
return require("caisson").recipe {
  summary = "An address of its own, on a cable to the host or to a bridge (root)",
  extends = "sandbox",
  params = {
    address = { "string", required = true, help = "with its prefix: 10.9.0.2/24" },
    gateway = { "string", help = "where all that is not on this network goes" },
    bridge = { "string", help = "the bridge that the other end is a port of" },
    host = { "string", default = "veth*", help = "the other end's name" },
  },
  build = function(p)
    return { network = {
      { veth = "eth0", address = p.address, gateway = p.gateway, bridge = p.bridge, host = p.host },
    } }
  end,
}
