-- What most likely went wrong, and what to do; nothing where we are not sure.
local M = {}

-- failure: what core.spawn answers; built: what Recipe:build answered. Returns text or nil.
function M.find(failure, built)
  local _ = built
  if failure.step == "mount.bind" and failure.code == "ENOENT" then
    return "the source is looked up on the host, from the current directory"
  end
  if failure.step == "clone" or failure.step and failure.step:find("^cgroup%.") then
    return require("caisson.cgroup").hint(failure)
  end
end

return M
