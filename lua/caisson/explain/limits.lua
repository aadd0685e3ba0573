-- What the kernel does without any call: the OOM killer's victims, by the figures of the group.
local of_recipe = require "caisson.explain.recipe"

local M = {}

local function size(bytes)
  for _, unit in ipairs { { 2 ^ 30, "G" }, { 2 ^ 20, "M" }, { 2 ^ 10, "K" } } do
    if bytes >= unit[1] then return ("%.4g%s"):format(bytes / unit[1], unit[2]) end
  end
  return ("%d"):format(bytes)
end

-- r: the result, of a run that was out of memory; list: what has been explained so far; over: the tracer's last words.
function M.account(b, r, list, over)
  local memory = type(b.options.cgroup) == "table" and b.options.cgroup.memory
  local max = type(memory) == "table" and memory.max or nil
  local bytes = max and max ~= "max" and require("caisson.params").types.size(max) or nil
  local killed = over.killed or {}
  -- the last ones: earlier they may have been killed by others, and those that went with their namespace were not
  local victims = {}
  for i = 1, math.min(#killed, r.oom_kills or 1) do victims[i] = killed[i] end
  local who = victims[1] or {}
  local names = {}
  for _, v in ipairs(victims) do names[#names + 1] = v.comm end
  local text = ("the OOM killer struck %s"):format((r.oom_kills or 1) == 1 and "once" or ("%d times"):format(r.oom_kills))
  list[#list + 1] = { call = "", text = text .. (#names > 1 and ": " .. table.concat(names, ", ") or ""), signal = "SIGKILL",
    count = r.oom_kills or 1, comm = who.comm, exe = who.exe,
    causes = { { kind = "memory", at = of_recipe.at(b, "cgroup/memory"),
      rule = max and ("cgroup.memory.max = %s"):format(of_recipe.show(max)) or nil,
      why = ("the group's memory is used up: %s%s"):format(r.memory_peak and size(r.memory_peak) or "all",
        bytes and " of " .. size(bytes) or ""),
      fix = bytes and ('cgroup = { memory = { max = "%s" } }'):format(size(bytes * 2)) or nil } } }
end

return M
