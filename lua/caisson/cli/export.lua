-- caisson export: a recipe's container as a bundle of the OCI runtime specification.
local cli = require "caisson.cli"
local plan = require "caisson.cli.plan"

local M = {}

function M.main(o)
  local words = o.words
  local dir = #words > 1 and table.remove(words)
  if not dir or dir:find("^[%w_]+=") then
    cli.fail("a recipe, its parameters and the bundle's directory are expected")
  end
  local without = {}
  for _, list in ipairs(o.without or {}) do
    for name in list:gmatch("[^,]+") do
      if name ~= "script" and not require("caisson.build").options[name] then
        cli.fail(("--without %s: no option of recipes is called so"):format(name))
      end
      without[#without + 1] = name
    end
  end
  local export = require "caisson.oci.export"
  local warnings, message = export.write(plan.recipe(words), dir, { params = plan.parameters(words, 2), args = o.program,
    env = plan.environment(o.env), without = without })
  if not warnings then cli.fail(message) end
  for _, w in ipairs(warnings) do io.stderr:write("caisson: warning: ", w, "\n") end
  return 0
end

return M
