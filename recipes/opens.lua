-- opens: which files does it use? A list, at the end, of what it read, wrote and looked at in vain.
--
--   caisson run opens dir=. -- make
local caisson = require "caisson"

return caisson.recipe {
  summary = "List the files that a program reads, writes or looks for",
  extends = "sandbox",
  params = { under = { "path", default = "/", help = "only what is below this" } },
  build = function(p)
    return {
      trace = { calls = { "@paths" }, decide = function(call)
        for _, f in ipairs(call:paths()) do
          if f.path and f.path:sub(1, #p.under) == p.under then call:note(f.access .. " " .. f.path) end
        end
      end },
      result = function(r)
        local seen, list = {}, {}
        for _, line in ipairs(r.trace_notes or {}) do
          if not seen[line] then seen[line], list[#list + 1] = true, line end
        end
        r.report = table.concat(list, "\n")
      end,
    }
  end,
}
