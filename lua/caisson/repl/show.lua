-- Values as a person reads them at a prompt: sorted keys, one line where it fits, no loop, nothing that a terminal obeys.
local M = {}

local deepest, longest = 6, 200

local words = {}
for w in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while")
  :gmatch "%a+" do words[w] = true end

local function quoted(s)
  local text = s:gsub('[%c"\\\127]', function(c)
    if c == "\n" then return "\\n" elseif c == "\t" then return "\\t" elseif c == '"' or c == "\\" then return "\\" .. c end
    return ("\\%03d"):format(c:byte())
  end)
  return '"' .. text .. '"'
end

local function key_text(k)
  if type(k) == "string" then
    return k:find "^[%a_][%w_]*$" and not words[k] and k or "[" .. quoted(k) .. "]"
  end
  return "[" .. tostring(k) .. "]"
end

local rank = { number = 1, string = 2, boolean = 3 }

local function sorted_keys(t)
  local keys = {}
  for k in next, t do keys[#keys + 1] = k end
  table.sort(keys, function(a, b)
    local x, y = rank[type(a)] or 4, rank[type(b)] or 4
    if x ~= y then return x < y end
    if x <= 2 then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function function_text(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return "function (of the core)" end
  return ("function %s:%d"):format(info.short_src:gsub("%c", "?"), info.linedefined)
end

-- What knows best itself what it looks like: a plan, a recipe, a policy.
local function by_itself(v)
  local loaded = package.loaded
  local plan, recipe = loaded["caisson.plan"], loaded["caisson.recipe"]
  if plan and plan.is(v) then return (v:text():gsub("\n$", "")) end
  if plan and plan.is_step(v) then return "step " .. v.step .. " " .. M.text(v.options) end
  if recipe and recipe.is(v) then
    return ("recipe %s: %s"):format(v.name or "(without a name)", v.summary ~= "" and v.summary or "(no summary)")
  end
  local meta = getmetatable(v)
  if type(meta) == "table" and rawget(meta, "__tostring") then
    local ok, text = pcall(tostring, v)
    return ok and text or "(an object whose __tostring fails)"
  end
end

local text_of

local function of_table(t, width, depth, seen)
  if seen[t] then return "(the table around it)" end
  if next(t) == nil then return "{}" end
  if depth >= deepest then return "{ ... }" end
  seen[t] = true
  local parts, n, left = {}, 0, 0
  local size, short = 4, true
  local keys = sorted_keys(t)
  for i, k in ipairs(keys) do
    if i > longest then
      left = #keys - longest
      break
    end
    local prefix = k == n + 1 and "" or key_text(k) .. " = "
    if k == n + 1 then n = k end
    local v = text_of(rawget(t, k), width - 2 - #prefix, depth + 1, seen)
    parts[i] = prefix .. v
    size = size + #parts[i] + 2
    short = short and not v:find("\n", 1, true)
  end
  seen[t] = nil
  if left > 0 then
    parts[#parts + 1] = ("-- and %d more"):format(left)
    short = false
  end
  if short and size <= width then return "{ " .. table.concat(parts, ", ") .. " }" end
  local lines = {}
  for i, p in ipairs(parts) do
    lines[i] = "  " .. p:gsub("\n", "\n  ") .. (p:sub(1, 2) == "--" and "" or ",")
  end
  return "{\n" .. table.concat(lines, "\n") .. "\n}"
end

function text_of(v, width, depth, seen)
  local kind = type(v)
  if kind == "string" then return quoted(v) end
  if kind == "function" then return function_text(v) end
  if kind == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53 then return ("%d"):format(v) end
  if kind == "table" then
    local own = by_itself(v)
    return own or of_table(v, math.max(width, 20), depth, seen)
  end
  return (tostring(v):gsub("%c", "?"))
end

-- A value as text of one or more lines. width: of the terminal, 80 by default.
function M.text(v, width)
  return text_of(v, width or 80, 0, {})
end

return M
