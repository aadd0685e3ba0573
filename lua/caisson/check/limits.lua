-- What it can use up.
local rules = {}

local function rule(name, level, title, why, fix, find)
  rules[#rules + 1] = { name = name, level = level, title = title, why = why, fix = fix, find = find }
end

local function limited(m, property, ...)
  for _, file in ipairs { ... } do
    local l = m.limits[file]
    if l and l.value ~= "max" and l.value ~= "-1" then return true end
  end
  local scope = m.limits.scope
  return scope and scope.properties:find(property, 1, true) ~= nil or false
end

rule("no-memory-limit", "note", "Memory is limited.", "it can use up all there is, and others are killed for it",
  'cgroup = { memory = { max = "512M" } }', function(m, found)
    if not limited(m, "MemoryMax", "memory.max", "memory.limit_in_bytes") and not m.rlimits.as then
      found("memory is not limited", m.last.exec)
    end
  end)

rule("no-process-limit", "note", "Processes are limited.", "a fork bomb stops the machine",
  "cgroup = { pids = { max = 64 } }",
  function(m, found)
    local nproc = m.rlimits.nproc
    if not limited(m, "TasksMax", "pids.max") and not (nproc and nproc.soft ~= "max") then
      found("processes are not limited", m.last.exec)
    end
  end)

rule("tmpfs-size", "note", "Each tmpfs has a size.", "one without may take half of the memory", "size = \"64M\"",
  function(m, found)
  local list = {}
  for _, e in ipairs(m.mounts) do
    if e.kind == "tmpfs" and not e.options.size and not e.ro then
      local sized = false
      for _, o in ipairs(e.options.options or {}) do sized = sized or o:find "^size=" ~= nil end
      if not sized then list[#list + 1] = e end
    end
  end
  for _, e in ipairs(list) do
    if not limited(m, "MemoryMax", "memory.max", "memory.limit_in_bytes") then
      found(("the tmpfs at %s has no size"):format(e.target), e.step)
    end
  end
end)

rule("tmpfs-memory", "note", "What fits into its tmpfs fits into its memory.",
  "what is written there counts as memory: it is killed "
  .. "before the tmpfs is full", "a smaller size, or more memory", function(m, found)
    local limit = m.limits["memory.max"] or m.limits["memory.limit_in_bytes"]
    local max = limit and tonumber(limit.value)
    for _, e in ipairs(max and m.mounts or {}) do
      local size = e.kind == "tmpfs" and tonumber(e.options.size)
      if size and size > max then
        found(("the tmpfs at %s has %.0f MiB, the container %.0f"):format(e.target, size / 1048576, max / 1048576), e.step)
      end
    end
  end)

rule("oom-protected", "warning", "It is not spared when memory runs out.", "others are killed in its place",
  "oom_score_adj = 0, or more",
  function(m, found)
    local s = m.last.oom_score_adj
    if s and s.options.value < 0 then found(("oom_score_adj is %d"):format(s.options.value), s) end
  end)

rule("realtime", "warning", "It does not run before everything else.", "a loop in it stops the machine",
  "a limit: rlimits = { rttime = ... }",
  function(m, found)
    local s = m.last.scheduler
    local policy = s and s.options.policy
    if (policy == "fifo" or policy == "rr") and not m.rlimits.rttime then
      found(("it is scheduled as %s without a limit of time"):format(policy), s)
    end
  end)

return rules
