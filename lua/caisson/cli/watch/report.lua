-- What caisson watch says between the runs: what has changed, what that did to the plan, and what came of it.
local color = require "caisson.cli.color"

local M = {}

-- Lines of an output beyond which no difference is looked for line by line, and lines of one that are shown.
local comparable, shown = 400, 8

local function time(ns)
  local s = ns / 1e9
  return s < 0.9995 and ("%.0f ms"):format(s * 1000) or s < 60 and ("%.2f s"):format(s) or ("%.0f s"):format(s)
end

local function size(bytes)
  return ("%.1f MiB"):format(bytes / 2 ^ 20)
end

-- How it ended, in words.
function M.ending(r)
  if r.verdict then return r.verdict end
  if r.status == "exited" then return "exited " .. ("%d"):format(r.code) end
  if r.status == "signalled" then
    local name = require("caisson.core").signal.name(r.signal)
    return "killed by SIG" .. (name or r.signal)
  end
  return (r.status:gsub("_", " "))
end

local function lines_of(text)
  local list = {}
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch("([^\n]*)\n") do list[#list + 1] = line end
  return text == "" and {} or list
end

-- The lines that are in one of the two alone: { "-" or "+", line }, in order; nil where there are too many.
local function difference(a, b)
  local first = 1
  while a[first] and a[first] == b[first] do first = first + 1 end
  local last = 0
  while #a - last >= first and #b - last >= first and a[#a - last] == b[#b - last] do last = last + 1 end
  local n, m = #a - last - first + 1, #b - last - first + 1
  if n > comparable or m > comparable then return nil end
  -- the longest common sequence, from behind
  local length = {}
  for i = n + 1, 1, -1 do
    length[i] = {}
    for j = m + 1, 1, -1 do
      if i > n or j > m then
        length[i][j] = 0
      elseif a[first + i - 1] == b[first + j - 1] then
        length[i][j] = length[i + 1][j + 1] + 1
      else
        length[i][j] = math.max(length[i + 1][j], length[i][j + 1])
      end
    end
  end
  local list, i, j = {}, 1, 1
  while i <= n or j <= m do
    if i <= n and j <= m and a[first + i - 1] == b[first + j - 1] then
      i, j = i + 1, j + 1
    elseif i <= n and (j > m or length[i + 1][j] >= length[i][j + 1]) then
      list[#list + 1] = { "-", a[first + i - 1] }
      i = i + 1
    else
      list[#list + 1] = { "+", b[first + j - 1] }
      j = j + 1
    end
  end
  return list
end

---@class caisson.cli.watch.Report
local Report = {}
Report.__index = Report

-- write: what takes the text; c: colours (caisson.cli.color).
function M.new(write, c)
  return setmetatable({ write = write, c = c }, Report)
end

-- One line, cut to the terminal.
function Report:line(text)
  if self.c.columns then text = color.cut(text, self.c.columns) end
  self.write(text .. "\n")
end

-- A run begins. why: what has changed, or nil.
function Report:begins(number, at, why)
  self:line(self.c.bold(("== %d"):format(number)) .. self.c.dim(" · " .. at .. " · ") .. why)
end

-- The names of what has changed, as many as there is room for.
function M.names(list)
  local text = {}
  for i = 1, math.min(#list, 3) do text[i] = require("caisson.words").show(list[i]) end
  return table.concat(text, ", ") .. (#list > 3 and (" and %d more"):format(#list - 3) or "")
end

-- What became of the plan. before, after: plans in JSON.
function Report:plan(before, after)
  if before == after then return end
  local plan = require "caisson.plan"
  local a, b = plan.from_json(before), plan.from_json(after)
  if not (a and b) then return end
  local d = require("caisson.plan.diff").of(a, b)
  if not d.same then self.write(d:text(self.c)) end
end

local function share(a, b) return math.max(a, b) / math.max(math.min(a, b), 1) end

-- A figure, and what it was where that is another.
function Report:figure(of, now, was, least)
  local text = of(now)
  if was and math.abs(now - was) > least and share(now, was) > 1.25 then
    text = text .. self.c.dim(" (was " .. of(was) .. ")")
  end
  return text
end

-- A run has ended. now, was: { result =, output = { stdout, stderr }, cut = }; was: of the last one, or nil.
function Report:ended(now, was)
  local c, r = self.c, now.result
  local before = was and was.result
  local good = r.status == "exited" and r.code == 0 and (not r.verdict or r.verdict == "accepted")
  local ending = M.ending(r)
  local parts = { (good and c.green or c.red)(ending) }
  if before and M.ending(before) ~= ending then parts[1] = parts[1] .. c.dim(" (was: " .. M.ending(before) .. ")") end
  if r.wall_ns then parts[#parts + 1] = self:figure(time, r.wall_ns, before and before.wall_ns, 2e7) end
  if r.memory_peak then
    parts[#parts + 1] = "peak " .. self:figure(size, r.memory_peak, before and before.memory_peak, 2 ^ 18)
  end
  local changes = {}
  if before and before.status ~= "failed" then
    local same = true
    for _, name in ipairs { "stdout", "stderr" } do
      local a, b = was.output[name], now.output[name]
      if a ~= b then
        same = false
        local list = difference(lines_of(a), lines_of(b))
        changes[#changes + 1] = { name = name, list = list }
      end
    end
    parts[#parts + 1] = same and "output: the same" or "output changed:"
  end
  self:line(c.bold "== " .. table.concat(parts, c.dim " · "))
  for _, change in ipairs(changes) do
    self:changed_lines(change.list, change.name)
  end
end

function Report:changed_lines(list, name)
  local indent = name == "stderr" and "   stderr " or "   "
  if not list or #list == 0 then return self:line(indent .. self.c.dim "(too much to compare line by line)") end
  for i = 1, math.min(#list, shown) do
    local sign, line = list[i][1], require("caisson.words").message(list[i][2]):gsub("\t", "  ")
    self:line(indent .. (sign == "-" and self.c.red or self.c.green)(sign .. " " .. line))
  end
  if #list > shown then self:line(indent .. self.c.dim(("... %d lines more"):format(#list - shown))) end
end

-- What is waited for.
function Report:waits(text)
  self:line(self.c.dim("   " .. text))
end

return M
