-- pasta: a network of its own without any privilege: an address, and all ports to itself.
--
--   caisson run pasta ports=8080:80 -- ./server
--
-- It reaches what the host reaches, less the host's loopback; 127.0.0.1:8080 leads to its port 80.
return require("caisson").recipe {
  summary = "A network of its own without privileges, through pasta; ports that lead in",
  extends = "sandbox",
  params = { ports = { "list", default = "", help = "TCP ports: 8080, 8080:80, ADDRESS/8080:80" } },
  build = function(p)
    return {
      network = { { pasta = "eth0", tcp = p.ports } },
      mounts = { { bind = "/etc/resolv.conf", optional = true } },
    }
  end,
}
