-- names: hosts by the names that you say, before they are there or in their place.
--
--   caisson run names hosts=shop.example=127.0.0.1,db=10.0.0.7 network=yes -- curl http://shop.example/
return require("caisson").recipe {
  summary = "Host names as you say: a private /etc/hosts",
  extends = "sandbox",
  params = { hosts = { "list", required = true, help = "NAME=ADDRESS, with commas between" },
    name = { "string", default = "sandbox", help = "the container's own" } },
  build = function(p)
    local lines = { "127.0.0.1 localhost " .. p.name, "::1 localhost" }
    for _, item in ipairs(p.hosts) do
      local name, address = item:match("^([^=]+)=([%x.:]+)$")
      if not name then error("hosts: NAME=ADDRESS expected, got " .. item, 0) end
      lines[#lines + 1] = address .. " " .. name
    end
    return { hostname = p.name, mounts = { { file = "/etc/hosts", data = table.concat(lines, "\n") .. "\n" } } }
  end,
}
