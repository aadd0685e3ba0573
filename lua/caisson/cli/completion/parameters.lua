-- A recipe's parameters, read without running it as a recipe: who types a name has not asked for what its file does.
-- Its chunk is evaluated with nothing at hand but Lua's pure functions (and no pcall, which would catch what ends a loop);
-- where it needs more, nothing is known.
local M = {}

local load_text = rawget(_G, "setfenv") and loadstring or load

-- What a file's chunk may use. caisson.recipe hands the table back, all else of caisson's does nothing.
local function environment()
  local nothing = {}
  local function none() return nothing end
  setmetatable(nothing, { __index = none, __call = none, __add = none, __sub = none, __mul = none,
    __concat = function() return "" end })
  local caisson = setmetatable({ recipe = function(def) return def end }, { __index = none })
  local env = { ipairs = ipairs, pairs = pairs, next = next, select = select, tostring = tostring, tonumber = tonumber,
    type = type, error = error, assert = assert, print = none, unpack = rawget(_G, "unpack"),
    require = function(name) return name == "caisson" and caisson or nothing end,
    os = { getenv = none }, io = nothing, debug = { getinfo = function() return { source = "@./", short_src = "." } end } }
  for _, name in ipairs { "string", "table", "math" } do
    env[name] = {}
    for k, v in pairs(_G[name]) do env[name][k] = v end
  end
  env.string.rep, env.string.dump = nil, nil
  env._G = env
  return env
end

-- The table that a file gives to caisson.recipe; nil where that can't be told.
local function definition(path)
  local f = io.open(path, "rb")
  local text = f and f:read(2 ^ 20)
  if f then f:close() end
  if not text or text:sub(1, 1) == "\27" then return nil end
  local env = environment()
  local chunk = load_text(text, "=recipe", "t", env)
  if not chunk then return nil end
  if rawget(_G, "setfenv") then setfenv(chunk, env) end
  -- a loop without end is not waited for; compiled code would not ask
  local jit = rawget(_G, "jit")
  if jit then jit.off(chunk, true) end
  debug.sethook(function() error("too long", 0) end, "", 1e6)
  local ok, def = pcall(chunk)
  debug.sethook()
  return ok and type(def) == "table" and def or nil
end

-- { name = { type or words, default =, help = } } of a recipe and of those that it extends, and its summary.
function M.of(name, depth)
  local path = require("caisson.recipe").locate(name)
  local def = path and definition(path)
  if not def then return {} end
  local all = {}
  if type(def.extends) == "string" and (depth or 0) < 16 then
    for k, d in pairs((M.of(def.extends, (depth or 0) + 1))) do all[k] = d end
  end
  for k, d in pairs(type(def.params) == "table" and def.params or {}) do
    if type(k) == "string" and k:find "^[%w_]+$" and type(d) == "table" then all[k] = d end
  end
  return all, type(def.summary) == "string" and def.summary or nil
end

return M
