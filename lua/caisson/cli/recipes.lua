-- caisson recipes: what there is, with summaries and parameters.
local core = require "caisson.core"
local help = require "caisson.cli.help"
local recipe = require "caisson.recipe"

local M = {}

-- Every recipe on recipe.path by name, the first of a name first; what can't be loaded says why.
function M.all()
  local found, list = {}, {}
  for _, dir in ipairs(recipe.path) do
    for _, file in ipairs(core.list(dir) or {}) do
      local name = file:match("^(.+)%.lua$")
      if name and not found[name] then
        found[name] = true
        local path = dir .. "/" .. file
        local r, message = recipe.load(path)
        list[#list + 1] = { name = name, path = path, recipe = r, message = message }
      end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function as_json(list)
  local out = {}
  for i, r in ipairs(list) do
    local params = {}
    for name, d in pairs(r.recipe and r.recipe:all_params() or {}) do
      params[name] = { type = type(d[1]) == "string" and d[1] or nil, words = type(d[1]) == "table" and d[1] or nil,
        default = d.default, help = d.help, required = d.required }
    end
    out[i] = { name = r.name, path = r.path, error = r.message, summary = r.recipe and r.recipe.summary, params = params }
  end
  return out
end

-- Those that it does not just have of the recipe that it extends, and that one's name.
local function own_parameters(r)
  local rows, base = {}, type(r.def.extends) == "string" and r.def.extends or nil
  for _, row in ipairs(help.parameters(r)) do
    if not base or r.params[row.name] or (r.defaults or {})[row.name] ~= nil then rows[#rows + 1] = row end
  end
  if base then rows[#rows + 1] = { name = "...", type = "", about = "and those of " .. base } end
  return rows
end

function M.main(o)
  local list = M.all()
  if o.json then
    io.write(require("caisson.json").document(as_json(list)), "\n")
    return 0
  end
  for _, r in ipairs(list) do
    if r.recipe then
      io.write(r.name, ": ", r.recipe.summary, "\n", help.table(own_parameters(r.recipe), { "name", "type", "about" }, "    "))
    else
      io.write(r.name, ": can't be loaded: ", r.message, "\n")
    end
  end
  return 0
end

return M
