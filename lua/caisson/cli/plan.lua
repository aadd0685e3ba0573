-- caisson plan: every step of a construction, doing nothing.
local cli = require "caisson.cli"
local plan = require "caisson.plan"
local recipe = require "caisson.recipe"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

-- What stands in the plan of a recipe for the program that the user will name when it is run.
M.program = "PROGRAM"

-- A recipe's parameters from NAME=VALUE words.
function M.parameters(words, from)
  local params = {}
  for i = from, #words do
    local name, value = words[i]:match("^([%w_]+)=(.*)$")
    if not name then
      cli.fail(("'%s' is not NAME=VALUE (the program stands after --)"):format(words[i]))
    end
    params[name] = value
  end
  return params
end

-- Environment from NAME=VALUE words.
function M.environment(words)
  local env = {}
  for _, word in ipairs(words or {}) do
    local name, value = word:match("^([^=]+)=(.*)$")
    if not name then cli.fail(("--env %s: NAME=VALUE expected"):format(word)) end
    env[name] = value
  end
  return env
end

-- The mix-ins of --mix.
function M.mixes(o)
  if not o.mix or #o.mix == 0 then return nil end
  local list = {}
  for i, file in ipairs(o.mix) do
    local message
    list[i], message = require("caisson.policy.load").mix(file)
    if not list[i] then cli.fail("--mix: " .. message) end
  end
  return list
end

-- A saved plan.
function M.read(path)
  local f, message = io.open(path, "rb")
  if not f then cli.fail(message) end
  local text = f:read("*a")
  f:close()
  local p
  p, message = plan.from_json(text)
  if not p then cli.fail(path .. ": " .. message) end
  return p
end

-- The recipe that the words begin with.
function M.recipe(words)
  if not words[1] then cli.fail("a recipe is expected (see: caisson recipes)") end
  local r, message = recipe.load(words[1])
  if not r then cli.fail(message) end
  return r
end

-- Is it the file of a saved plan? A bundle's config.json is none.
function M.is_saved(word)
  return word:find("%.json$") ~= nil and not word:find("/config%.json$")
end

-- The plan of a recipe with its parameters, or a saved one. words: from 1; opts: of Recipe:build.
local function plan_of(words, opts)
  if words[1] and M.is_saved(words[1]) then
    if opts.mix and opts.mix[1] then cli.fail("--mix: a saved plan is finished; mix-ins are for recipes") end
    if words[2] or opts.args then cli.fail("a saved plan has its parameters and its program in it") end
    return M.read(words[1])
  end
  local built, message = M.recipe(words):build { params = M.parameters(words, 2), args = opts.args, env = opts.env,
    mix = opts.mix, default_args = { M.program } }
  if not built then cli.fail(message) end
  return built.plan
end

local function exists(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end

-- One side of a comparison: "a.lua", or with parameters of its own: "a.lua x=1 y=2". A file's name may have blanks.
function M.side(word)
  if exists(word) then return { word } end
  local list = {}
  for w in word:gmatch("%S+") do list[#list + 1] = w end
  return list
end

-- The two plans to compare: of two recipes, the words after them being parameters of both; or of one, without and with
-- its parameters and mix-ins. Returns the words of each, and true where the mix-ins are the second's alone.
local function sides(o)
  local a = o.words[1] and M.side(o.words[1])
  if not a or not a[1] then cli.fail("--diff: two recipes, bundles or saved plans, or one and parameters, expected") end
  if not o.words[2] and not (o.mix and o.mix[1]) then
    cli.fail(("--diff: compare %s with what? Another recipe, bundle or saved plan, or parameters"):format(o.words[1]))
  elseif not o.words[2] or o.words[2]:find("^[%w_]+=") then
    local b = { unpack(a) }
    for i = 2, #o.words do b[#b + 1] = o.words[i] end
    return a, b, true
  end
  local b = M.side(o.words[2])
  local knows, has = {}, {}
  for _, words in ipairs { a, b } do
    knows[words] = not M.is_saved(words[1]) and M.recipe(words):all_params() or {}
    for i = 2, #words do has[words] = (has[words] or "\n") .. (words[i]:match("^[%w_]+=") or "") .. "\n" end
  end
  for i = 3, #o.words do
    local name, known = o.words[i]:match("^([%w_]+)="), false
    if not name then cli.fail(("'%s' is not NAME=VALUE (the program stands after --)"):format(o.words[i])) end
    for _, words in ipairs { a, b } do -- each takes those that it knows, and has not its own of
      if knows[words][name] then
        known = true
        if not (has[words] or ""):find("\n" .. name .. "=\n", 1, true) then words[#words + 1] = o.words[i] end
      end
    end
    if not known then cli.fail(("unknown parameter '%s': neither %s nor %s has it"):format(name, a[1], b[1])) end
  end
  return a, b
end

local function compare(o)
  local a, b, alone = sides(o)
  local env, mix = M.environment(o.env), M.mixes(o)
  local function read(words, mixed)
    local saved = M.is_saved(words[1])
    return plan_of(words, { args = not saved and o.program or nil, env = env, mix = mixed })
  end
  local d = require("caisson.plan.diff").of(read(a, not alone and mix or nil), read(b, mix))
  if o.json then
    io.write(d:json())
  elseif not (d.same and o.exit_code) then
    local names = { table.concat(a, " "), table.concat(b, " ") }
    for _, m in ipairs(alone and o.mix or {}) do names[2] = names[2] .. " --mix " .. m end
    io.write(d:text(require("caisson.cli.color").of(io.stdout), names))
  end
  return o.exit_code and not d.same and 1 or 0
end

function M.main(o)
  if o.diff then return compare(o) end
  if o.exit_code then cli.fail("--exit-code is of --diff") end
  local p = plan_of(o.words, { args = o.program, env = M.environment(o.env), mix = M.mixes(o) })
  io.write(o.json and p:json() or p:text(require("caisson.cli.color").of(io.stdout)))
  return 0
end

return M
