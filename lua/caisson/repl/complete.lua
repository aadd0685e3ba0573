-- What could stand at the cursor: names of the environment, fields of tables and objects, options of primitives and
-- recipes, recipes' names.
local core = require "caisson.core"

local M = {}

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while" }

-- What v[key] is; nothing is called but what an __index is.
local function index(v, key)
  local ok, value = pcall(function() return v[key] end)
  return ok and value or nil
end

-- The names that v can be indexed by, into the set.
local function fields(v, set, methods)
  local seen = 0
  while v ~= nil and seen < 8 do
    seen = seen + 1
    if type(v) == "table" then
      for k, x in next, v do
        if type(k) == "string" and k:find "^[%a_][%w_]*$" and (not methods or type(x) == "function") then set[k] = true end
      end
      if v == package.loaded.caisson then
        -- modules that are loaded when they are first asked for, and so are no fields yet
        for k in pairs(getmetatable(v).lazy) do set[k] = true end
      end
    end
    local meta = type(v) == "string" and { __index = string } or debug.getmetatable(v)
    local up = type(meta) == "table" and rawget(meta, "__index")
    -- a function's names can't be asked for: those that stand beside it are the methods, by this library's custom
    if type(up) == "function" then up = rawget(meta, "__index") ~= nil and meta or nil end
    if up == v then return end
    v = up
  end
end

local function sorted(set, prefix)
  local list = {}
  for k in pairs(set) do
    if k:sub(1, #prefix) == prefix and (prefix ~= "" or k:sub(1, 2) ~= "__") then list[#list + 1] = k end
  end
  table.sort(list)
  return list
end

local function recipe_words(prefix)
  local set = {}
  local dir, base = prefix:match "^(.*/)([^/]*)$"
  for _, name in ipairs(core.list(dir or ".") or {}) do
    local path = (dir or "") .. name
    local st = core.lstat(path)
    if st and st.type == "directory" then
      set[path .. "/"] = true
    elseif name:find "%.lua$" or name:find "%.json$" then
      set[path] = true
    end
  end
  if not dir then
    for _, d in ipairs(require("caisson.recipe").path) do
      for _, file in ipairs(core.list(d) or {}) do
        local name = file:match "^(.+)%.lua$"
        if name then set[name] = true end
      end
    end
  end
  return sorted(set, prefix), base
end

-- The innermost { that is still open, and what stands before it; strings are left out.
local function open_brace(head)
  local stack, i = {}, 1
  while i <= #head do
    local c = head:sub(i, i)
    if c == '"' or c == "'" then
      local at = i
      repeat
        at = head:find(c, at + 1, true)
      until not at or head:sub(at - 1, at - 1) ~= "\\"
      if not at then return nil end
      i = at
    elseif c == "{" then
      stack[#stack + 1] = i
    elseif c == "}" then
      stack[#stack] = nil
    end
    i = i + 1
  end
  local at = stack[#stack]
  return at and head:sub(1, at - 1):match "([%a_][%w_.]*)%s*%(?%s*$"
end

local function options_of(called, set)
  if called:find "recipe$" then
    for k in pairs(require("caisson.build").options) do set[k .. " = "] = true end
    for _, k in ipairs { "summary", "params", "build", "extends", "script" } do set[k .. " = "] = true end
    return true
  end
  local p = core.primitives[called:gsub("^.-core%.", "")] or core.primitives[called:gsub("^plan%.", "")]
  if not p then return false end
  for _, f in ipairs(p.fields) do set[f.name .. " = "] = true end
  return true
end

-- head: all before the cursor. Returns the candidates, and where in head what they replace begins.
function M.of(head, env)
  local called, quote, text = head:match "([%a_][%w_.:]*)%s*%(?%s*([\"'])([^\"'\n]*)$"
  if quote then
    local name = called:match "[%w_]+$"
    if name == "load" or name == "run" or name == "plan" or name == "start" or name == "create" or name == "check" then
      return recipe_words(text), #head - #text + 1
    end
    return {}
  end
  local path = head:match "[%a_][%w_.:]*$" or ""
  if head:sub(1, #head - #path):find "[%.:]$" then return {} end -- of a value that only running it would tell
  local from, set = #head - #path + 1, {}
  local owner, separator, name = path:match "^(.*)([.:])([%w_]*)$"
  if not owner then
    local inside = open_brace(head)
    if inside and head:sub(1, from - 1):find "[{,]%s*$" and options_of(inside, set) then return sorted(set, path), from end
    if path == "" then return {} end
    fields(env, set)
    for _, k in ipairs(keywords) do set[k] = true end
    return sorted(set, path), from
  end
  local v = env
  for part in owner:gmatch "[^.:]+" do
    v = index(v, part)
    if v == nil then return {} end
  end
  fields(v, set, separator == ":")
  if v == core or owner:find "^core%." then set.primitives = v == core or nil end
  return sorted(set, name), #head - #name + 1
end

return M
