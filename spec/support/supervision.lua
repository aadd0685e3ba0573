-- What the specs of supervision share, the short one and the long.
local t = require "support"
local caisson = require "caisson"
local core = t.core

local M = {}

-- The least container: namespaces, the host's root read-only.
function M.recipe(options)
  local me = core.identity()
  local def = { namespaces = { mount = true, pid = true, ipc = true, uts = true }, root = { bind = "/" },
    limits = { time = 60 } }
  if not t.is_root then
    def.namespaces.user = true
    def.idmap = { uid = { { me.euid, me.euid, 1 } }, gid = { { me.egid, me.egid, 1 } } }
  end
  for k, v in pairs(options or {}) do def[k] = v end
  return caisson.recipe(def)
end

-- The program waits for its turn at the end of a shared pipe's read end, so that all n live at once.
function M.start_all(n, recipe, opts)
  local gate, open = assert(core.pipe())
  local list = {}
  for i = 1, n do
    local o = { args = { "/bin/sh", "-c", "read x; exit " .. i % 7 }, stdin = gate }
    for k, v in pairs(opts or {}) do o[k] = v end
    list[i] = assert(caisson.start(recipe, o))
  end
  gate:close()
  return list, open
end

function M.threads()
  return tonumber(t.read_file("/proc/self/status"):match("Threads:%s*(%d+)"))
end

return M
