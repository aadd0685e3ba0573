-- Where the rules of policies are written: noted when they are made, read in the source when somebody asks.
--
-- An entry is { source =, line = } of the operation, with the word that the user wrote there: a call's name, a group; or
-- { label = } of what was not written by hand (the default policy, an item of an OCI profile).
local M = {}

---@class caisson.policy.Where
---@field source? string
---@field line? integer
---@field word? string       "@mount", as it is written in quotes somewhere near that line
---@field label? string      in the place of a line: "seccomp.syscalls[3]"
---@field item? integer      of the list "syscalls" in source, which is JSON

-- Where this library's own files are: "…/caisson/", or "caisson/" in the command's bytecode. Recipes may lie there, too.
local mine = debug.getinfo(1, "S").source:match("^(.*)policy/where%.lua$") or "=none"

local function is_mine(source)
  return source:sub(1, #mine) == mine and not source:find("recipes/", #mine + 1, true)
end

-- While a policy is made that the user did not write: what it is called.
local label

-- What fn returns, all that it makes being called so.
function M.as(name, fn)
  local outer = label
  label = name
  local ok, result = pcall(fn)
  label = outer
  if not ok then error(result, 0) end
  return result
end

-- The first caller outside of the library, and the level (for error) at which its caller sees it. None where the call
-- was a tail call: then the file that is being read.
---@return caisson.policy.Where, integer? level
function M.here()
  if label then return { label = label } end
  for level = 2, 16 do
    local info = debug.getinfo(level, "Sl")
    if not info or info.currentline < 1 then break end
    if not is_mine(info.source) then return { source = info.source:match("^@(.*)"), line = info.currentline }, level - 1 end
  end
  local recipe = package.loaded["caisson.recipe"]
  local file = recipe and recipe.reading
  return { source = file, line = file and 1 }
end

-- The entry of a word that stands there.
function M.word(at, word)
  return { source = at.source, line = at.line, label = at.label, word = word }
end

-- What conditions were written where: a clause takes it from its condition.
local noted = setmetatable({}, { __mode = "k" })

function M.note(condition, entry)
  noted[condition] = noted[condition] or entry
  return condition
end

function M.of(condition) return noted[condition] end

-- ---- reading ----

local last = {}

local function lines_of(file)
  if last.file ~= file then
    local f = io.open(file, "r")
    if not f then return nil end
    last = { file = file, lines = {} }
    for line in f:lines() do last.lines[#last.lines + 1] = line end
    f:close()
  end
  return last.lines
end

-- The line nearest to one that has the word in quotes.
local function nearest(lines, line, word)
  for d = 0, #lines do
    for _, n in ipairs { line - d, line + d } do
      local text = lines[n]
      if text and (text:find('"' .. word .. '"', 1, true) or text:find("'" .. word .. "'", 1, true)) then return n end
    end
  end
end

-- The line on which the n-th object of the list "syscalls" begins.
local function json_line(lines, n)
  local text = table.concat(lines, "\n")
  local at = text:match('"syscalls"%s*:%s*%[()')
  local depth, count = 0, 0
  while at and at <= #text do
    local c = text:sub(at, at)
    if c == '"' then
      local k = at + 1
      while k <= #text and text:sub(k, k) ~= '"' do k = k + (text:sub(k, k) == "\\" and 2 or 1) end
      at = k
    elseif c == "{" or c == "[" then
      depth = depth + 1
      if depth == 1 then count = count + 1 end
      if depth == 1 and count == n then return 1 + select(2, text:sub(1, at):gsub("\n", "")) end
    elseif c == "}" or c == "]" then
      depth = depth - 1
      if depth < 0 then return nil end
    end
    at = at + 1
  end
end

local function short(path) return path:match("[^/]*/[^/]*$") or path end

-- An entry as "file:line", or in words; nil where nothing is known.
---@param e caisson.policy.Where|nil
---@return string|nil
function M.text(e)
  if not e then return nil end
  if e.source and (e.line or e.item) then
    local lines = lines_of(e.source)
    local line = e.line
    if lines and e.item then line = json_line(lines, e.item) end
    if lines and e.line and e.word then line = nearest(lines, e.line, e.word) or line end
    if line then return ("%s:%d"):format(short(e.source), line) end
  end
  return e.label or e.source and short(e.source)
end

return M
