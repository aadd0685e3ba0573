-- Hooks of a configuration as a recipe's: commands, with nothing in their environment but what they are given.
local M = {}

local points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }

-- Where a hook starts that the runtime runs: in the bundle; and in the root that the container will have.
local function directory(point, opts)
  if point == "prestart" or point == "createRuntime" or point == "poststart" then return opts.bundle end
  if point == "createContainer" then return opts.root end
end

-- opts: bundle, root (absolute directories).
function M.of(hooks, opts)
  local t = {}
  for _, point in ipairs(points) do
    for i, h in ipairs(hooks and hooks[point] or {}) do
      t[point] = t[point] or {}
      t[point][i] = { path = h.path, args = h.args, env = h.env or {}, timeout = h.timeout,
        dir = directory(point, opts) }
    end
  end
  return t
end

return M
