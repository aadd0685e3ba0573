-- nettrace: log what the program connects to, and let it connect to some addresses only.
--
--   caisson run nettrace -- curl -s http://example.org/
--   caisson run nettrace allow=127.,10.0.0. -- ssh build@10.0.0.7
--
-- It has the host's network. A name that is looked up shows as a connection to the name server (port 53). This is to see, and
-- to keep an honest program in bounds: one that means to deceive changes the address in its memory between the question
-- and the call, or sends datagrams without connecting.
local caisson = require "caisson"

-- Is the address one of the list, or does it begin with an item of it?
local function allowed(address, list)
  if list == "" then return true end
  for item in list:gmatch("[^,]+") do
    if address == item or item:find("[.:]$") and address:sub(1, #item) == item then return true end
  end
  return false
end

return caisson.recipe {
  summary = "Log what the program connects to, and let it connect to some addresses only",
  extends = "sandbox",
  params = {
    allow = { "string", default = "", help = "addresses, or their beginnings (10.0.), with commas between; else all" },
  },
  build = function(p)
    local function connect(call)
      local to, _, errno = call:address(2)
      if not to then return call:deny(errno) end
      if to.family ~= "inet" and to.family ~= "inet6" then return end
      local yes = allowed(to.address, p.allow)
      io.stderr:write(("%s: %s port %d%s\n"):format(call.name, to.address, to.port, yes and "" or ": refused"))
      if not yes then return call:deny "EHOSTUNREACH" end
    end
    return {
      namespaces = { net = false },
      accept = { ["host-network"] = "what it does with it is looked at" },
      mounts = { { bind = "/etc/resolv.conf", optional = true } },
      seccomp_notify = { connect = connect },
    }
  end,
}
