-- names: hosts by the names that you say, before they are there, or in their place.
--
--   caisson run names hosts=shop.example=127.0.0.1 network=yes -- curl http://shop.example/
return require("caisson").recipe {
  summary = "Host names as you say: a private /etc/hosts",
  extends = "sandbox",
  params = {
    hosts = { "list", required = true, help = "NAME=ADDRESS, with commas between" },
    name = { "string", default = "sandbox", help = "the container's own" },
  },
  build = function(p)
    local text = "127.0.0.1 localhost " .. p.name .. "\n::1 localhost\n"
    for _, item in ipairs(p.hosts) do
      local name, address = item:match("^([^=]+)=([%x.:]+)$")
      if not name then error("hosts: NAME=ADDRESS expected, got " .. item, 0) end
      text = text .. address .. " " .. name .. "\n"
    end
    return { hostname = p.name, mounts = { { file = "/etc/hosts", data = text } } }
  end,
}
