-- web: nginx serves a folder, and has nothing else: no other file, no connection out, no right.
--
--   caisson run web dir=public port=8080
local caisson = require "caisson"

local conf = [[
daemon off; worker_processes 1; pid /tmp/pid; error_log stderr; events {}
http { access_log off; include mime.types; server { listen 127.0.0.1:%d; root %s; }
  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
  uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; }
]]

return caisson.recipe {
  summary = "nginx serves a folder: it reads that, listens on one port, connects nowhere",
  extends = "sandbox",
  accept = { ["host-network"] = "Landlock leaves one port of it" },
  params = { dir = ".", network = true,
    port = { "integer", default = 8080, help = "of 127.0.0.1" } },
  args = { "nginx", "-e", "stderr" },
  build = function(p)
    local text = conf:format(p.port, assert(caisson.core.realpath(p.dir)))
    return { landlock = { bind = { p.port }, connect = {} }, mounts = {
      { file = "/etc/nginx/nginx.conf", data = text }, { bind = "/etc/nginx/mime.types" } } }
  end,
}
