-- landlock: one more wall around an engine's container: files can be changed in a few places only, whatever its
-- capabilities and mounts allow.
--
--   podman run --annotation caisson.recipe=/etc/caisson/recipes/landlock.lua ...
--
-- The directory has to be named in /etc/caisson/oci.json: { "recipes": ["/etc/caisson/recipes"] }.
local caisson = require "caisson"

local function where_there(paths)
  local list = {}
  for i, path in ipairs(paths) do list[i] = { path = path, optional = true } end
  return list
end

return caisson.recipe {
  summary = "Over an engine's container: a Landlock layer, with few places to write to",
  landlock = {
    read = { "/" },
    execute = { "/" },
    write = where_there { "/tmp", "/var/tmp", "/run", "/dev", "/proc", "/data" },
    scope = { "signal", "abstract_unix_socket" },
    best_effort = true, -- what this kernel knows of it
  },
}
