-- The annotation caisson.recipe=/path/x.lua: a recipe that goes over the container of an engine, to edit its plan and to
-- add options and Lua hooks. It runs with the runtime's rights, so the administrator says where such recipes are:
--
--   /etc/caisson/oci.json:  { "recipes": ["/etc/caisson/recipes"] }
--
-- That file, the directories, and the recipe belong to root, and nobody else may write to them.
local core = require "caisson.core"
local recipe = require "caisson.recipe"

local M = {}

M.name = "caisson.recipe"
M.configuration = "/etc/caisson/oci.json"

local function fail(message)
  error(("annotations[\"%s\"]: %s"):format(M.name, message), 0)
end

-- Root's alone, and each directory above it: whoever could rename one would choose what is in it.
local function check_owner(path)
  local at = path
  while true do
    local st, message = core.lstat(at)
    if not st then fail(message) end
    if st.uid ~= 0 then fail(("%s belongs to uid %d, not to root"):format(at, st.uid)) end
    local mode = ("%04o"):format(st.mode % 4096)
    -- others may write above it where the sticky bit keeps them from what is not theirs
    local sticky = at ~= path and mode:find("^[1357]")
    if mode:sub(-2):find("[2367]") and not sticky then
      fail(("%s may be written to by others than root (mode %s)"):format(at, mode))
    end
    if at == "/" then return end
    at = at:match("^(.+)/[^/]+$") or "/"
  end
end

local function real(path)
  local found, message = core.realpath(path)
  if not found then fail(message) end
  return found
end

-- The directories that the administrator names.
local function directories()
  local place = core.realpath(M.configuration)
  if not place then fail(("no directory of recipes is allowed: there is no %s"):format(M.configuration)) end
  check_owner(place)
  local f, why = io.open(place, "rb")
  if not f then fail(why) end
  local text = f:read("*a")
  f:close()
  local t, message = require("caisson.oci.document").decode(text or "", M.configuration)
  if not t then fail(message) end
  for k in pairs(t) do
    if k ~= "recipes" then fail(("%s: unknown key '%s'"):format(M.configuration, tostring(k))) end
  end
  if type(t.recipes) ~= "table" then fail(M.configuration .. ": recipes: a list of directories expected") end
  local list = {}
  for i, dir in ipairs(t.recipes) do
    if type(dir) ~= "string" or dir:sub(1, 1) ~= "/" then
      fail(("%s: recipes[%d]: an absolute path expected"):format(M.configuration, i))
    end
    list[i] = dir
  end
  return list
end

-- The recipe over base, which is of the bundle. Raises what is wrong.
function M.over(base, path, bundle)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" or not path:find("%.lua$") or path:find("%z") then
    fail(("the absolute path of a .lua file expected, got '%s'"):format(require("caisson.words").show(path)))
  end
  local list = directories()
  local allowed, file = false, real(path)
  for _, dir in ipairs(list) do
    local place = core.realpath(dir)
    if place and file:sub(1, #place + 1) == place .. "/" then
      check_owner(file)
      allowed = true
    end
  end
  if not allowed then
    fail(("%s is in none of the directories that %s allows"):format(path, M.configuration))
  end
  -- it may load C modules, now or in its hooks
  local launcher = package.loaded["caisson.launcher"]
  if launcher and launcher.whole then fail(launcher.whole()) end
  local r, message = recipe.load(file)
  if not r then fail(message) end
  local def = {}
  for k, v in pairs(r.def) do def[k] = v end
  if def.extends ~= nil then fail(path .. ": it goes over the engine's container, and can't extend another recipe") end
  if def.build then
    def.build = function(p)
      local t = r.def.build(p)
      if type(t) == "table" and t.extends ~= nil then
        fail(path .. ": it goes over the engine's container, and can't extend another recipe")
      end
      return t
    end
  end
  def.extends = base
  local over = recipe.new(def)
  over.source, over.line, over.file, over.name = r.source, r.line, file, r.name
  -- its functions are found again by way of the bundle
  base.file, over.again = bundle .. "/config.json", bundle .. "/config.json"
  return over
end

return M
