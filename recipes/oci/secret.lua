-- secret: a file in the container whose contents a function here makes, at each creation. It is in no image, in no
-- environment and in no plan, and on no disk.
--
--   podman run --annotation caisson.recipe=/etc/caisson/recipes/secret.lua ...
--
-- The directory has to be named in /etc/caisson/oci.json: { "recipes": ["/etc/caisson/recipes"] }.
local caisson = require "caisson"
local core = caisson.core

-- Yours may ask a vault. It runs on the host, with the runtime's rights.
local function secret()
  local fd = assert(core.open("/dev/urandom"))
  local bytes = assert(fd:read(16))
  fd:close()
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) .. "\n"
end

return caisson.recipe {
  summary = "Over an engine's container: /run/secrets/token, made by a Lua function",
  mounts = { { tmpfs = "/run/secrets", size = 65536, mode = "0755" } },

  script = function(plan)
    local text = secret()
    -- in the container, once its root is the root
    plan:after("pivot_root", function()
      return core.file { path = "/run/secrets/token", data = text, mode = "0444" }
    end)
  end,
}
