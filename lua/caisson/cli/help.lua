-- caisson help: of the command, of one of its commands, of a recipe.
local cli = require "caisson.cli"

local M = {}

local function default_text(d)
  local v = d.default
  if type(v) == "table" then return table.concat(v, ",") end
  return tostring(v)
end

-- The parameters of a recipe: rows of { name, type, about }, by name.
function M.parameters(recipe)
  local rows = {}
  for name, d in pairs(recipe:all_params()) do
    local kind = type(d[1]) == "table" and table.concat(d[1], "|") or d[1]
    local notes = {}
    if d.required then notes[1] = "required" end
    if d.default ~= nil then notes[#notes + 1] = "default: " .. default_text(d) end
    local about = d.help or ""
    if #notes > 0 then about = about .. (about ~= "" and " " or "") .. "(" .. table.concat(notes, ", ") .. ")" end
    rows[#rows + 1] = { name = name, type = kind, about = about }
  end
  table.sort(rows, function(a, b) return a.name < b.name end)
  return rows
end

-- Rows as aligned lines.
function M.table(rows, columns, indent)
  local width, lines = {}, {}
  for _, row in ipairs(rows) do
    for _, k in ipairs(columns) do width[k] = math.max(width[k] or 0, #row[k]) end
  end
  for i, row in ipairs(rows) do
    local cells = {}
    for c, k in ipairs(columns) do cells[c] = row[k] .. (" "):rep(width[k] - #row[k]) end
    lines[i] = indent .. table.concat(cells, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n") .. (#lines > 0 and "\n" or "")
end

local function of_recipe(name)
  local recipe, message = require("caisson.recipe").load(name)
  if not recipe then cli.fail(message) end
  local rows = M.parameters(recipe)
  io.write(recipe.name, ": ", recipe.summary, "\n\nUsage: caisson run ", name,
    #rows > 0 and " [NAME=VALUE]..." or "", " [-- PROGRAM ARGUMENTS...]\n")
  if #rows > 0 then io.write("\nParameters:\n", M.table(rows, { "name", "type", "about" }, "  ")) end
  return 0
end

function M.main(o)
  if o.version then
    io.write("caisson ", require("caisson")._VERSION, "\n")
    return 0
  end
  if o.man then
    if o.topic and o.topic ~= "caisson" and o.topic ~= "caisson-oci" then
      cli.fail(("--man: there are pages of caisson and caisson-oci, none of '%s'"):format(require("caisson.words").show(o.topic)))
    end
    io.write(require("caisson.cli.man").page(o.topic))
    return 0
  end
  local parser, commands = require("caisson.cli.arguments").parser()
  if o.missing then
    io.stderr:write(parser:get_help(), "\n")
    return cli.failed
  end
  if not o.topic then
    io.write(parser:get_help(), "\n")
    return 0
  end
  if commands[o.topic] then
    io.write(commands[o.topic]:get_help(), "\n")
    return 0
  end
  return of_recipe(o.topic)
end

return M
