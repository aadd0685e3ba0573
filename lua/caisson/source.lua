-- Where in a recipe's source an option stands: the file is read again, when an error or a plan is
-- shown, and never on the way to a running container.
local M = {}

-- Tokens of Lua source: { text, line } for names, strings, numbers and punctuation.
local function tokens(src)
  local list, line, i = {}, 1, 1
  local function count(s) for _ in s:gmatch("\n") do line = line + 1 end end
  while i <= #src do
    local s, e = src:find("^%s+", i)
    if not s then s, e = src:find("^%-%-%[(=*)%[.-%]%1%]", i) end
    if not s then s, e = src:find("^%-%-[^\n]*", i) end
    if s then
      count(src:sub(s, e))
    else
      s, e = src:find("^[%a_][%w_]*", i)
      if not s then s, e = src:find("^%d[%w.]*", i) end
      if not s then s, e = src:find("^%[(=*)%[.-%]%1%]", i) end
      if not s then
        local quote = src:match("^[\"']", i)
        if quote then
          local k = i + 1
          while k <= #src and src:sub(k, k) ~= quote do
            k = k + (src:sub(k, k) == "\\" and 2 or 1)
          end
          s, e = i, k
        end
      end
      if not s then s, e = i, i end
      list[#list + 1] = { src:sub(s, e), line }
      count(src:sub(s, e))
    end
    i = e + 1
  end
  return list
end

local openers = { ["{"] = 1, ["("] = 1, ["["] = 1, ["function"] = 1, ["do"] = 1, ["repeat"] = 1, ["if"] = 1 }
local closers = { ["}"] = 1, [")"] = 1, ["]"] = 1, ["end"] = 1, ["until"] = 1 }

-- The token at which `key` is set in the table constructor that opens at token `from`; for a number,
-- its n-th item without a key.
local function find_in(list, from, key)
  local depth, item, at_start = 0, 0, true
  local i = from + 1
  while i <= #list do
    local text = list[i][1]
    if depth == 0 then
      if text == "}" then return nil end
      if text == "," or text == ";" then
        at_start = true
      elseif at_start then
        at_start = false
        local keyed = list[i + 1] and list[i + 1][1] == "=" and (list[i + 2] or {})[1] ~= "=" or text == "["
        if keyed then
          local name = text == "[" and (list[i + 1][1]:match("^[\"'](.*)[\"']$") or list[i + 1][1]) or text
          if name == key then return i, i + (text == "[" and 4 or 2) end
        else
          item = item + 1
          if item == key then return i, i end
        end
      end
    end
    if openers[text] then depth = depth + 1 end
    if closers[text] then depth = depth - 1 end
    i = i + 1
  end
end

-- The tokens of the file read last: a plan asks for many lines of one recipe.
local last = {}

local function tokens_of(file)
  local f = io.open(file, "r")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  if last.text ~= text then last.text, last.list = text, tokens(text) end
  return last.list
end

-- file:line of the option at `path` (such as { "mounts", 3 }) in the file; the line of the deepest part
-- of the path that is written there, else of `line`, where the recipe begins. call: the line is that of a call with a
-- table, in a file that may have several of them: it is the last that begins up to there.
function M.locate(file, path, line, call)
  local name = file:match("[^/]*/[^/]*$") or file
  local list = tokens_of(file)
  if not list then return name .. (line and ":" .. line or "") end
  local best = line
  -- every table that sets the first key is a candidate; the one that knows more of the path wins
  local deepest = 0
  for i, t in ipairs(list) do
    if t[1] == "{" and not (call and line and t[2] > line) then
      local from, found, depth = i, nil, 0
      for _, key in ipairs(path) do
        local at, value = find_in(list, from, key)
        if not at then break end
        found, depth = list[at][2], depth + 1
        if not list[value] or list[value][1] ~= "{" then break end
        from = value
      end
      if found and (depth > deepest or call and depth == deepest) then best, deepest = found, depth end
    end
  end
  return name .. (best and ":" .. best or "")
end

return M
