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

-- What caisson.run takes as `watch`, as .build; close(failure) once the container is made, or is not; aborted(failure).
function M.new(o)
  local stops = places(o)
  if o.repl and #stops == 0 then cli.fail("--repl is the prompt at a breakpoint: --break says where") end
  local kind = o.timeline and o.timeline:match "%.(%w+)$"
  if o.timeline and kind ~= "svg" and kind ~= "html" then
    cli.fail(("--timeline %s: a file that ends in .svg or .html expected"):format(o.timeline))
  end
  local drawing = o.timeline and require("caisson.cli.output").open(o.timeline)
  local session, timeline
  local self = {}

  function self.build(built)
    local watch = {}
    if #stops > 0 then
      local breakpoint = require "caisson.breakpoint"
      local set, message = breakpoint.places(built.plan, stops)
      if not set then return nil, message end
      session, message = breakpoint.new(built, { places = set, repl = o.repl })
      if not session then return nil, message end
      watch.before = function(...) return session:before(...) end
    end
    if o.trace or o.trace_calls or o.timeline then
      local calls = o.trace or o.trace_calls
      local message
      timeline, message = require("caisson.timeline").watch(built, { calls = calls, out = calls, each = o.trace_calls })
      if not timeline then return nil, (calls and "--trace: " or "--timeline: ") .. message end
      for k, v in pairs(timeline.watch) do watch[k] = v end
    end
    return watch
  end

  function self.close(failure)
    if session then session:close() end
    if not timeline then return end
    timeline:finish(failure)
    if timeline.traced then
      io.stderr:write(require("caisson.cli.color").of(io.stderr).dim(timeline:summary()), "\n")
    end
    if drawing then drawing:write(kind == "svg" and timeline:svg() or timeline:html()) end
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
