-- A step of a construction as a line, when it has been done.
local core = require "caisson.core"
local color = require "caisson.cli.color"

local M = {}

-- Nanoseconds as people say them, in eight columns.
function M.duration(ns)
  if ns < 999.5 then return ("%4.0f ns"):format(ns) end
  if ns < 99950 then return ("%4.1f µs"):format(ns / 1e3) end
  if ns < 999500 then return ("%4.0f µs"):format(ns / 1e3) end
  if ns < 99.95e6 then return ("%4.1f ms"):format(ns / 1e6) end
  if ns < 999.5e6 then return ("%4.0f ms"):format(ns / 1e6) end
  return ("%4.2f s "):format(ns / 1e9)
end

-- "ENOENT" for -2; else the number.
function M.result(v)
  if v == nil then return "?" end
  if v < 0 and v > -4096 then return core.errno.name(-v) or tostring(v) end
  return ("%.0f"):format(v)
end

local function failed(v) return v ~= nil and v < 0 and v > -4096 end

-- What was called, in the order of the first time, and how often; before all what failed, with its errno.
function M.summary(calls, c)
  local parts, at, count, ordered = {}, {}, {}, {}
  for _, call in ipairs(calls) do if failed(call.result) then ordered[#ordered + 1] = call end end
  for _, call in ipairs(calls) do if not failed(call.result) then ordered[#ordered + 1] = call end end
  for _, call in ipairs(ordered) do
    local bad = failed(call.result)
    local text = bad and c.red(call.name .. "=" .. M.result(call.result)) or call.name
    if not at[text] then
      parts[#parts + 1] = text
      at[text] = #parts
    end
    count[text] = (count[text] or 0) + 1
  end
  for i, text in ipairs(parts) do
    if count[text] > 1 then parts[i] = text .. "*" .. count[text] end
  end
  return table.concat(parts, " ")
end

function M.failures(calls)
  local n = 0
  for _, call in ipairs(calls) do if failed(call.result) then n = n + 1 end end
  return n
end

-- How wide the object may be.
local function room(c) return math.max(14, math.min(40, math.floor(((c.columns or 150) - 48) / 2))) end

function M.head(c)
  return ("  #  side    step               %s     time  calls"):format(color.pad("object", room(c)))
end

-- step: { number =, side =, name =, object =, ns =, calls = list or nil, note =, errno = }; c: of caisson.cli.color; each:
-- every call on a line of its own. Ends with a newline.
function M.of(step, c, each)
  local calls = step.calls
  local what
  if calls then
    local bad = M.failures(calls)
    what = ("%d%s%s"):format(#calls, bad > 0 and c.red((", %d failed"):format(bad)) or "",
      #calls > 0 and not each and ": " .. M.summary(calls, c) or "")
  else
    what = step.note or "-"
  end
  if step.errno and step.errno ~= 0 then what = c.red(core.errno.name(step.errno) or tostring(step.errno)) .. "  " .. what end
  local name = color.pad(color.cut(step.name, 18), 18)
  local object = color.pad(color.cut(((step.object or ""):gsub("%c", "?")), room(c)), room(c))
  local line = ("%3d  %-6s  %s %s %s  %s"):format(step.number, step.side, step.side == "parent" and c.cyan(name) or name,
    object, step.ns and color.pad(M.duration(step.ns), 8) or "       -", what)
  local out = { c.columns and color.cut(line, c.columns) or line }
  for _, call in ipairs(each and calls or {}) do
    local text = call.text or call.name .. "()"
    local tail = (" = %s  %s"):format(M.result(call.result), (M.duration(call.ns or 0):gsub("^ +", "")))
    local wide = c.columns and math.max(c.columns - 13 - #tail, 20)
    text = wide and color.cut(text, wide) or text
    out[#out + 1] = "             " .. text .. (failed(call.result) and c.red(tail) or tail)
  end
  return table.concat(out, "\n") .. "\n"
end

return M
