-- timeline: log how long each part of making a container took, for every start by an engine.
--
--   podman run --annotation caisson.recipe=/etc/caisson/recipes/timeline.lua ...
--
-- The directory has to be named in /etc/caisson/oci.json: { "recipes": ["/etc/caisson/recipes"] }.
local caisson = require "caisson"
local core = caisson.core

local path = "/run/caisson-starts.log"

local function log(line)
  local fd = assert(core.open(path, { "write", "create", "append" }, 384))
  fd:write(os.date("!%Y-%m-%dT%H:%M:%SZ ") .. line .. "\n")
  fd:close()
end

return caisson.recipe {
  summary = "Over an engine's container: log each start with its timeline",

  script = function(plan)
    local began, parts, phase, since = core.now(), {}, nil, nil
    -- Where a phase begins the host's side looks at the clock.
    local function enter(name)
      return plan.call(function()
        local now = core.now()
        if phase then parts[#parts + 1] = ("%s %.2f"):format(phase, (now - since) / 1e6) end
        phase, since = name, now
        if name == "process" then
          log(("made in %.2f ms: %s"):format((now - began) / 1e6, table.concat(parts, ", ")))
        end
      end, { name = "timeline " .. name, side = "parent", phase = name })
    end
    local steps, last, past_clone = {}, nil, false
    for _, s in plan:each() do
      if past_clone and s.phase ~= last and (s.phase == "rootfs" or s.phase == "pivot" or s.phase == "system" or
        s.phase == "process") and not steps[s.phase] then
        steps[s.phase], steps[#steps + 1] = s, s.phase
      end
      past_clone, last = past_clone or s.step == "clone", s.phase
    end
    for _, name in ipairs(steps) do plan:before(steps[name], enter(name)) end
  end,

  hooks = {
    poststart = function(state) log(("%s runs as process %d, of %s"):format(state.id, state.pid, state.bundle)) end,
    poststop = function(state) log(state.id .. " is gone") end,
  },
}
