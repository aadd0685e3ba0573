-- caisson run --break, --repl, --trace, --timeline: going along with a construction.
local cli = require "caisson.cli"

local M = {}

local function places(o)
  local list = {}
  for _, words in ipairs(o["break"] or {}) do
    for word in words:gmatch "[^,%s]+" do list[#list + 1] = word end
  end
  return list
end

-- What caisson.run takes as `watch`, as .build; close() once the container is made, or is not; aborted(failure).
function M.new(o)
  local stops = places(o)
  if o.repl and #stops == 0 then cli.fail("--repl is the prompt at a breakpoint: --break says where") end
  local session
  local self = {}

  function self.build(built)
    local watch = {}
    if #stops > 0 then
      local breakpoint = require "caisson.breakpoint"
      local set, message = breakpoint.places(built.plan, stops)
      if not set then return nil, message end
      session = breakpoint.new(built, { places = set, repl = o.repl })
      watch.before = function(...) return session:before(...) end
    end
    return watch
  end

  function self.close()
    if session then session:close() end
  end

  -- Was it the user's own wish? Then one line says so.
  function self.aborted(failure)
    if not session or failure.detail ~= require("caisson.breakpoint").aborted then return false end
    cli.tell(("aborted before step %d, %s: nothing is left of it"):format(failure.number, failure.step))
    return true
  end

  return self
end

return M
