-- Recipes: what a container is (a table), how it is built (a script), or both.
local build = require "caisson.build"
local params = require "caisson.params"
local words = require "caisson.words"

local M = {}

---@class caisson.Recipe
---@field summary string
---@field params table<string, table>

local Recipe = {}
Recipe.__index = Recipe

local own_keys = { "summary", "params", "build", "extends", "script", "name" }

local all_keys = {}
for _, k in ipairs(own_keys) do all_keys[#all_keys + 1] = k end
for k in pairs(build.options) do all_keys[#all_keys + 1] = k end
table.sort(all_keys)

local function check_keys(t, level, what)
  for k in pairs(t) do
    if type(k) ~= "string" then
      error(("%s: an option's name is a string, got %s"):format(what, tostring(k)), level + 1)
    end
    if not build.options[k] then
      local own = false
      for _, o in ipairs(own_keys) do own = own or o == k end
      if not own then error(words.unknown(what .. ": unknown option", k, all_keys), level + 1) end
    end
  end
end

-- File and line of a function of the recipe's, or else of who asks for the recipe: `return recipe {...}`
-- is a tail call, whose frame is gone.
local function written_at(fn)
  if fn then
    local info = debug.getinfo(fn, "S")
    return info.source:match("^@(.*)"), info.linedefined
  end
  for level = 3, 6 do
    local info = debug.getinfo(level, "Sl")
    local source = info and info.source:match("^@(.*)")
    if source and not source:find("caisson/[%w/]+%.lua$") then return source, info.currentline end
  end
end

-- A recipe from its definition: summary, params, extends, build(p) or the options themselves, script.
-- Raises on what it does not know, naming the nearest right word.
---@param def caisson.RecipeOptions
---@return caisson.Recipe
function M.new(def)
  if type(def) ~= "table" then error("recipe: a table expected, got " .. type(def), 2) end
  check_keys(def, 2, "recipe")
  local own, defaults = {}, nil
  for k, d in pairs(def.params or {}) do
    if type(d) == "table" or def.extends == nil then
      own[k] = d
    else
      defaults = defaults or {}
      defaults[k] = d
    end
  end
  params.check(own, 2)
  if def.build ~= nil and type(def.build) ~= "function" then
    error("recipe: option 'build': function expected, got " .. type(def.build), 2)
  end
  if def.script ~= nil and type(def.script) ~= "function" then
    error("recipe: option 'script': function expected, got " .. type(def.script), 2)
  end
  local source, line = written_at(def.build or def.script)
  return setmetatable({ def = def, summary = def.summary or "", params = own, defaults = defaults,
    source = source, line = line }, Recipe)
end

---@param v any
---@return boolean
function M.is(v)
  return getmetatable(v) == Recipe
end

-- Where recipes without a path are looked for: where the command says, or in the checkout, or where
-- an installation puts them.
M.path = {}
local launcher, source = package.loaded["caisson.launcher"], debug.getinfo(1, "S").source
local here = source:match("^@(.*)lua/caisson/recipe%.lua$") or source:match("^@(.*/caisson/)recipe%.lua$")
M.path[1] = launcher and launcher.recipes() or here and here .. "recipes"

local function readable(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end

-- The file of a recipe: a path (it has a "/" or ends in .lua), or the name of one on M.path.
-- Returns it | nil, message.
---@param name string
---@return string? path, string? message
function M.locate(name)
  if name:find("/", 1, true) or name:find("%.lua$") then
    if readable(name) then return name end
    return nil, ("%s: no such recipe file"):format(name)
  end
  for _, dir in ipairs(M.path) do
    local path = dir .. "/" .. name .. ".lua"
    if readable(path) then return path end
  end
  return nil, ("no recipe is called '%s' (looked in %s)"):format(name, table.concat(M.path, ", "))
end

-- What a file of Lua returns. Returns it | nil, message. M.reading: the file, meanwhile.
function M.value(path)
  local chunk, message = loadfile(path)
  if not chunk then return nil, message end
  local outer = M.reading
  M.reading = path
  local ok, value = xpcall(chunk, function(e)
    return type(e) == "string" and e or tostring(e)
  end)
  M.reading = outer
  if ok then return value end
  -- `return caisson.recipe {...}` is a tail call: the error could not name the caller's line
  if not value:find("^[^\n]-:%d+: ") then
    local at = require("caisson.source").locate(path, { value:match("unknown option '([^']*)'") })
    value = at .. ": " .. value
  end
  return nil, value
end

-- The recipe that a file returns, or of a bundle's directory. Returns it | nil, message.
---@param name string
---@return caisson.Recipe? recipe, string? message
function M.load(name)
  local path, message = M.locate(name)
  local bundle = name:match("^(.*)/config%.json$")
    or (not path or path == name) and readable(name .. "/config.json") and name
  if bundle then return require("caisson.oci.recipe").load(bundle) end
  if not path then return nil, message end
  local recipe
  recipe, message = M.value(path)
  if message then return nil, message end
  if not M.is(recipe) then return nil, path .. ": the file returns no recipe" end
  recipe.name = recipe.name or path:match("([^/]*)%.lua$")
  recipe.file = path
  -- where no function of its own tells, the frames tell of us, who load it
  if not (recipe.def.build or recipe.def.script) then recipe.source, recipe.line = path, 1 end
  return recipe
end

local function base_of(recipe, def)
  local base = def.extends
  if base == nil then return nil end
  if type(base) == "string" then
    local found, message = M.load(base)
    if not found then error("extends: " .. message, 0) end
    base = found
  end
  if not M.is(base) then error("extends: a recipe or its name expected, got " .. type(base), 0) end
  if base == recipe then error("extends: a recipe can't extend itself", 0) end
  return base
end

-- The options of one recipe file, without those it extends.
local function own_options(recipe, values)
  local def = recipe.def
  if not def.build then return def end
  local t = def.build(values)
  if type(t) ~= "table" then error("build: a table of options expected, got " .. type(t), 0) end
  check_keys(t, 0, "recipe")
  if t.extends == nil then
    t.extends = def.extends
  end
  return t
end

local function is_list(t)
  return #t > 0 or next(t) == nil
end

-- Lists are appended, maps merged, all else replaced; `origins` remembers who said what.
local function merge(base, origins, over, recipe)
  for k, v in pairs(over) do
    local kind = build.options[k]
    if kind then
      -- alone it is a list of one: it would else take the place of those of the recipes below
      if k == "mix" and getmetatable(v) then v = { v } end
      if kind == "list" and type(v) == "table" and is_list(v) then
        base[k] = base[k] or {}
        for i, item in ipairs(v) do
          base[k][#base[k] + 1] = item
          origins[k .. "/" .. #base[k]] = { recipe = recipe, path = { k, i } }
        end
      elseif kind == "map" and type(v) == "table" and type(base[k]) == "table" then
        for name, value in pairs(v) do
          base[k][name] = value
          origins[k .. "/" .. tostring(name)] = { recipe = recipe, path = { k, name } }
        end
      elseif kind == "map" and type(v) == "table" and not getmetatable(v) then
        local copy = {}
        for name, value in pairs(v) do
          copy[name] = value
          origins[k .. "/" .. tostring(name)] = { recipe = recipe, path = { k, name } }
        end
        base[k] = copy
      else
        base[k] = v
      end
      origins[k] = { recipe = recipe, path = { k } }
    end
  end
end

-- The recipe's own parameters, with those that it has but another default for: params = { write = true }.
local function own_params(recipe)
  if not recipe.defaults then return recipe.params end
  local all, known = {}, base_of(recipe, recipe.def):all_params()
  for k, d in pairs(recipe.params) do all[k] = d end
  for k, default in pairs(recipe.defaults) do
    if not known[k] then
      local names = {}
      for name in pairs(known) do names[#names + 1] = name end
      table.sort(names)
      error(words.unknown("params: a default for an unknown parameter", k, names), 0)
    end
    all[k] = { known[k][1], default = default, help = known[k].help }
  end
  return all
end

-- Parameters of the recipe and of those it extends.
---@return table<string, table>
function Recipe:all_params()
  local all = {}
  local def = self.def
  if def.extends then
    for k, d in pairs(base_of(self, def):all_params()) do all[k] = d end
  end
  for k, d in pairs(own_params(self)) do all[k] = d end
  return all
end

local function gather(recipe, given, options, origins, scripts, hooks, chain)
  chain[#chain + 1] = recipe
  if #chain > 17 then error("extends: more than 16 recipes deep", 0) end
  local mine, rest, declared = {}, {}, own_params(recipe)
  for k, v in pairs(given) do
    if declared[k] then mine[k] = v end
    rest[k] = v
  end
  local values, message = params.fill(declared, mine)
  if not values then error(message, 0) end
  local own = own_options(recipe, values)
  local base = base_of(recipe, own)
  if base then
    -- a parameter goes to every recipe of the chain that knows it
    local passed = {}
    for k, v in pairs(rest) do if base:all_params()[k] then passed[k] = v end end
    for k, v in pairs(values) do if base:all_params()[k] then passed[k] = v end end
    for k in pairs(rest) do
      if not declared[k] and passed[k] == nil then
        local _, why = params.fill(recipe:all_params(), { [k] = rest[k] })
        error(why or ("unknown parameter '" .. tostring(k) .. "'"), 0)
      end
    end
    gather(base, passed, options, origins, scripts, hooks, chain)
  else
    local _, why = params.fill(declared, rest)
    if why then error(why, 0) end
  end
  -- what stands beside `build` is as if it stood in what that returns
  for _, layer in ipairs { own ~= recipe.def and recipe.def or own, own ~= recipe.def and own or nil } do
    merge(options, origins, layer, recipe)
    if layer.hooks ~= nil and type(layer.hooks) ~= "table" then
      error("hooks: a table of points expected, got " .. type(layer.hooks), 0)
    end
    for point, list in pairs(layer.hooks or {}) do
      -- one hook may stand without a list around it; whatever has a key of its own is one
      if type(list) ~= "table" or #list == 0 and next(list) ~= nil then list = { list } end
      hooks[point] = hooks[point] or {}
      for _, hook in ipairs(list) do
        hooks[point][#hooks[point] + 1] = { hook = hook, origin = { recipe = recipe, path = { "hooks", point } } }
      end
    end
  end
  if own.script then scripts[#scripts + 1] = { fn = own.script, values = values } end
  if own ~= recipe.def and recipe.def.script then
    scripts[#scripts + 1] = { fn = recipe.def.script, values = values }
  end
end

---@class caisson.Built
---@field plan caisson.Plan
---@field options table      the merged options
---@field recipe caisson.Recipe

-- The options of the recipe and of those it extends, in one table. opts: params, args, env, annotations,
-- mix (a list of mix-ins over the recipe's own).
-- Returns options, origins (who said what), the scripts, the chain of recipes. Raises what is wrong.
---@param opts table
---@return table options, table origins, table scripts, caisson.Recipe[] chain
function Recipe:merged(opts)
  local options, origins, scripts, hooks, chain = {}, {}, {}, {}, {}
  gather(self, opts.params or {}, options, origins, scripts, hooks, chain)
  options.hooks = hooks
  options.args = opts.args or options.args or opts.default_args
  for _, name in ipairs { "env", "annotations" } do
    if opts[name] then
      local all = {}
      for k, v in pairs(options[name] or {}) do all[k] = v end
      for k, v in pairs(opts[name]) do all[k] = v end
      options[name] = all
    end
  end
  if opts.mix then merge(options, origins, { mix = opts.mix }, { locate = function() end }) end
  if options.mix then require("caisson.policy.mix").apply(options, origins) end
  return options, origins, scripts, chain
end

-- The plan of the recipe. opts: params, args (the program and its arguments), env.
-- Returns { plan, options, hooks, ... } | nil, message.
---@param opts? { params?: table<string, any>, args?: string[], env?: table<string, string|number|false> }
---@return caisson.Built? built, string? message
function Recipe:build(opts)
  opts = opts or {}
  local function tell(e) return type(e) == "string" and e or tostring(e) end
  local ok, built = xpcall(function()
    local options, origins, scripts, chain = self:merged(opts)
    for _, name in ipairs(opts.without or {}) do options[name] = nil end
    local b = build.plan(options, origins, self, opts)
    b.chain = chain
    for _, s in ipairs(scripts) do s.fn(b.plan, s.values) end
    if b.explain then require("caisson.explain").finish(b) end
    -- only whoever saves the plan asks for it
    b.plan.about = function() return require("caisson.saved").about(b, opts) end
    return b
  end, tell)
  if not ok then return nil, built end
  local right, message = built.plan:check()
  if not right then return nil, message end
  right, message = xpcall(function() built:compile() end, tell)
  if not right then return nil, message end
  return built
end

-- What is wrong with it, making no container: see caisson.check. opts: those of build, and of check.of.
---@return caisson.Finding[]
function Recipe:check(opts) return (require("caisson.check").recipe(self, opts)) end

-- file:line of an option in the recipe's source.
---@param path any[]
---@return string?
function Recipe:locate(path)
  if not self.source then return nil end
  return require("caisson.source").locate(self.source, path, self.line)
end

return M
