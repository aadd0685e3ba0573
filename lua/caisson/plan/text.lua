-- A plan as people read it: an aligned table, coloured and cut to the width of a terminal where it goes to one.
local color = require "caisson.cli.color"

local concat = table.concat

local M = {}

local heads = { number = "#", phase = "phase", side = "side", step = "step", object = "object", at = "asked for at" }

-- What an object's column should have before others make room for it.
local enough = 40

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

---One line of any text: what would move the cursor is written as an escape.
---@param s string
---@return string
function M.line(s)
  return (s:gsub("[%z\1-\31\127]", function(c) return escapes[c] or ("\\x%02x"):format(c:byte()) end))
end

---A place without what every line of a plan has: a recipe's folder, a bundle's file.
---@param at string
---@return string
function M.short(at) return (at:match("[^/]*$"):gsub("^config%.json: ", "")) end

local function widths(rows, columns)
  local w = {}
  for _, k in ipairs(columns) do w[k] = color.width(heads[k]) end
  for _, row in ipairs(rows) do
    for _, k in ipairs(columns) do w[k] = math.max(w[k], color.width(tostring(row[k]))) end
  end
  return w
end

-- What is left for the object beside the other columns.
local function room(w, columns, width)
  for _, k in ipairs(columns) do
    if k ~= "object" then width = width - w[k] - 2 end
  end
  return width
end

-- The columns for a terminal of that width: the first arrangement that leaves enough for the object, or else the last.
-- Changes the rows' `at`. Returns columns, widths.
local function arrange(rows, width)
  local columns = { "number", "phase", "side", "step", "object", "at" }
  local w = widths(rows, columns)
  if not width or w.object <= room(w, columns, width) then return columns, w end
  if room(w, columns, width) < enough then
    for _, row in ipairs(rows) do row.at = M.short(row.at) end
    w = widths(rows, columns)
  end
  if room(w, columns, width) < enough then -- phases as lines between
    columns = { "number", "side", "step", "object", "at" }
    w = widths(rows, columns)
  end
  w.object = math.max(math.min(w.object, room(w, columns, width)), 12)
  return columns, w
end

local function style(c, k, row, s)
  if k == "number" or k == "at" then return c.dim(s) end
  if k == "phase" then return c.cyan(s) end
  if k == "side" then return row.side == "parent" and c.yellow(s) or c.dim(s) end
  return k == "step" and c.bold(s) or s
end

---Rows (of Plan:rows()) as a table.
---@param rows table[]
---@param c? caisson.Color  of the file that it is written to; no colours, and nothing cut, where it is nil
---@return string
function M.of(rows, c)
  c = c or color.of(false)
  for _, row in ipairs(rows) do row.object = M.line(row.object) end
  local columns, w = arrange(rows, c.columns)
  local lines, phase = {}, nil
  local headed = columns[2] ~= "phase"
  local head = {}
  for i, k in ipairs(columns) do head[i] = k == "number" and (" "):rep(w[k] - 1) .. "#" or color.pad(heads[k], w[k]) end
  lines[1] = c.bold((concat(head, "  "):gsub("%s+$", "")))
  for _, row in ipairs(rows) do
    if headed and row.phase ~= phase then
      phase = row.phase
      if phase ~= "" then lines[#lines + 1] = c.cyan(phase) end
    end
    local cells, last = {}, 0
    for i, k in ipairs(columns) do
      local s = tostring(row[k])
      if s ~= "" then last = i end
      if k == "object" then s = color.cut(s, w[k]) end
      s = k == "number" and (" "):rep(w[k] - #s) .. s or color.pad(s, w[k])
      cells[i] = s
    end
    cells[last] = cells[last]:gsub("%s+$", "")
    for i, k in ipairs(columns) do cells[i] = i <= last and style(c, k, row, cells[i]) or nil end
    lines[#lines + 1] = concat(cells, "  ", 1, last)
  end
  return concat(lines, "\n") .. "\n"
end

return M
