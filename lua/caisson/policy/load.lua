-- Policies from where they are written: a recipe, an OCI bundle, a seccomp profile in JSON, or Lua that returns one.
local policy = require "caisson.policy"

local M = {}

---@class caisson.policy.Loaded
---@field kind "recipe"|"profile"|"policy"|"mix"
---@field value any                the recipe, policy or mix-in

local function read(path)
  local f, message = io.open(path, "rb")
  if not f then return nil, message end
  local text
  text, message = f:read("*a")
  f:close()
  return text, message and path .. ": " .. message
end

-- name: a recipe's name or file, a bundle's directory, FILE.json (a profile, an engine's for a container without capabilities,
-- or a bundle's config.json), or FILE.lua that returns a recipe, a policy or a mix-in. Returns nil,
-- message where it is nothing of the kind.
---@param name string
---@return caisson.policy.Loaded|nil, string? message
function M.load(name)
  local recipe = require "caisson.recipe"
  if name:find("%.json$") and not name:find("config%.json$") then
    local text, message = read(name)
    if not text then return nil, message end
    local p
    p, message = policy.from_oci(text, { file = name, label = "profile" })
    if not p and (text:find('"archMap"', 1, true) or text:find('"includes"', 1, true)) then
      p, message = policy.from_engine(text, { file = name, label = "profile" })
    end
    if not p then return nil, name .. ": " .. message end
    return { kind = "profile", value = p }
  end
  if name:find("%.lua$") then
    local v, message = recipe.value(name)
    if message then return nil, message end
    if policy.is(v) then return { kind = "policy", value = v } end
    if require("caisson.policy.mix").is(v) then return { kind = "mix", value = v } end
    if not recipe.is(v) then return nil, name .. ": the file returns no recipe, policy or mix-in" end
  end
  local r, message = recipe.load(name)
  if not r then return nil, message end
  return { kind = "recipe", value = r }
end

-- The filters of a recipe's plan, in the order in which they are loaded: policies where the recipe has them, else programs.
local function filters_of(built)
  local list, known = {}, {}
  local own = built.options.seccomp
  if own ~= nil and (type(own) ~= "table" or getmetatable(own)) then own = { own } end
  local all = { policy.no_setuid() }
  for _, p in ipairs(own or {}) do if policy.is(p) then all[#all + 1] = p end end
  for _, p in ipairs(all) do
    local program = policy.program(p)
    if program then known[program] = p end
  end
  for _, s in built.plan:each() do
    if s.step == "seccomp" then list[#list + 1] = known[s.options.program] or s.options.program end
  end
  return list
end

---@class caisson.policy.View
---@field kind string
---@field mix caisson.Mix                         all that confines
---@field filters (caisson.Policy|string)[]       as they are loaded

-- What is loaded, with all of a recipe that confines as a mix-in, which is to be looked at. opts: of Recipe:build.
-- Returns nil, message.
---@param found caisson.policy.Loaded
---@param opts? table
---@return caisson.policy.View|nil, string? message
function M.view(found, opts)
  local mix = require "caisson.policy.mix"
  if found.kind ~= "recipe" then
    local m = found.kind == "mix" and found.value or policy.mix { seccomp = found.value }
    return { kind = found.kind, mix = m, filters = mix.list(m.seccomp) }
  end
  local built, message = found.value:build(opts)
  if not built then return nil, message end
  local filters = filters_of(built)
  return { kind = "recipe", mix = mix.of(built, filters), filters = filters }
end

-- The same as a mix-in. A recipe is none: it says more than what confines.
---@param name string
---@return caisson.Mix|nil, string? message
function M.mix(name)
  local found, message = M.load(name)
  if not found then return nil, message end
  if found.kind == "mix" then return found.value end
  if found.kind == "recipe" then return nil, name .. ": a mix-in, a policy or a profile expected, and this is a recipe" end
  local m = policy.mix { seccomp = found.value }
  m.source, m.line = name, nil
  return m
end

return M
