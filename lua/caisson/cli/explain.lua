-- What `caisson run --explain` tells at the end: each call that was denied, by whom it was made, why, and what would
-- allow it.
local color = require "caisson.cli.color"
local words = require "caisson.words"

local M = {}

-- Text in lines of so many columns, the first with a label and all others below what follows it.
local function paragraph(label, text, columns, style)
  local indent, lines, line = (" "):rep(#label), {}, label
  local fresh = true
  for word in text:gmatch "%S+" do
    if not fresh and color.width(line) + 1 + color.width(word) > columns then
      lines[#lines + 1] = line
      line, fresh = indent, true
    end
    line = line .. (fresh and "" or " ") .. word
    fresh = false
  end
  lines[#lines + 1] = line
  if style then
    for i, l in ipairs(lines) do lines[i] = l:sub(1, #label) .. style(l:sub(#label + 1)) end
  end
  return table.concat(lines, "\n")
end

local function plural(n, one, many) return n == 1 and one or many:format(n) end

local function who(e)
  local name = e.exe and e.exe:match "[^/]*$" or nil
  local text = e.comm or name or "?"
  if name and e.comm and name:sub(1, 15) ~= e.comm then text = ("%s (%s)"):format(e.comm, name) end
  if e.pid then text = ("%s[%d]"):format(text, e.pid) end
  if e.count > 1 then text = text .. (", %d times"):format(e.count) end
  return text
end

-- One event as lines. c: caisson.cli.color's; columns: of the terminal.
local function event(c, columns, e)
  local result = e.signal and (e.call ~= "" and "killed by " .. e.signal or e.signal) or e.code
  local head = words.message(e.text)
  local lines = {}
  local tail = (" = %s"):format(result)
  if e.call == "" then tail = "" end
  local by = "  " .. words.message((who(e):gsub("[\t\n]", " ")))
  local style = e.signal and c.red or c.bold
  if color.width(head .. tail .. by) + 2 <= columns then
    lines[1] = "  " .. style(head .. tail) .. c.dim(by)
  else
    lines[1] = "  " .. style(color.cut(head, columns - 2 - #tail) .. tail)
    lines[2] = "      " .. c.dim(by:sub(3))
  end
  if e.path and not e.text:find('"' .. e.path .. '"', 1, true) then
    lines[#lines + 1] = paragraph("    path: ", words.message(e.path), columns)
  end
  for _, cause in ipairs(e.causes) do
    lines[#lines + 1] = paragraph("    why:  ", words.message(cause.why), columns)
    if cause.at or cause.rule then
      local rule = cause.rule and words.message(cause.rule)
      lines[#lines + 1] = paragraph("    by:   ", (cause.at or "") .. (cause.at and rule and ": " or "") .. (rule or ""), columns)
    end
    if cause.fix then lines[#lines + 1] = paragraph("    fix:  ", words.message(cause.fix), columns, c.green) end
  end
  return table.concat(lines, "\n")
end

-- Those that have one cause and one fix are told together: the first, and what the others were about.
local ALSO = 3

local function together(list)
  local groups, by_key = {}, {}
  for _, e in ipairs(list) do
    local cause = e.causes[1] or {}
    local key = table.concat({ e.call, e.code or "", e.signal or "", e.exe or "", cause.kind or "", cause.at or "",
      cause.rule or cause.why or "", cause.fix or "" }, "\0")
    local group = e.call ~= "" and by_key[key]
    if group then
      group[#group + 1] = e
    else
      by_key[key] = { e }
      groups[#groups + 1] = by_key[key]
    end
  end
  return groups
end

local function others(c, columns, group, out)
  for i = 2, math.min(#group, ALSO + 1) do
    local e = group[i]
    local count = e.count > 1 and (", %d times"):format(e.count) or ""
    out[#out + 1] = c.dim(color.cut("    also: " .. words.message(e.text) .. count, columns))
  end
  if #group > ALSO + 1 then out[#out + 1] = c.dim(("    ... and %d more like it"):format(#group - ALSO - 1)) end
end

-- What a filter answers with ENOSYS for is asked to be done another way, and is: worth a line, no more.
local function is_expected(e)
  return e.code == "ENOSYS" and e.causes[1] and e.causes[1].kind == "seccomp"
end

-- The whole as text, with its last newline. r: the result of the run; c: caisson.cli.color's.
---@param r caisson.Result
---@param c caisson.Color
---@return string
function M.text(r, c)
  local columns = math.min(c.columns or 100, 120)
  local list, calls, expected = {}, 0, {}
  for _, e in ipairs(r.explained or {}) do
    if is_expected(e) then
      expected[#expected + 1] = e
    else
      list[#list + 1], calls = e, calls + e.count
    end
  end
  local out = { c.bold "explain: " .. (#list == 0 and "nothing was denied" or plural(#list, "one thing was denied",
    "%d things were denied")) .. (calls > #list and (", %d times in all"):format(calls) or "") }
  for _, group in ipairs(together(list)) do
    out[#out + 1] = event(c, columns, group[1])
    others(c, columns, group, out)
  end
  for _, e in ipairs(expected) do
    out[#out + 1] = c.dim(color.cut(("  (%s = ENOSYS, by the policy: programs then do without; %s)"):format(e.call,
      words.message((who(e):gsub("[\t\n]", " ")))), columns))
  end
  if r.explained_more then
    out[#out + 1] = ("  ... and %s"):format(plural(r.explained_more, "one more", "%d more"))
  end
  return table.concat(out, "\n") .. "\n"
end

-- To a file, as it is fit for it.
function M.write(r, file)
  file:write(M.text(r, color.of(file)))
end

return M
