-- caisson plan: every step of a construction, doing nothing.
local cli = require "caisson.cli"
local plan = require "caisson.plan"
local recipe = require "caisson.recipe"

local M = {}

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

function M.main(o)
  local p
  if o.words[1] and o.words[1]:find("%.json$") then
    if o.mix and o.mix[1] then cli.fail("--mix: a saved plan is finished; mix-ins are for recipes") end
    if o.words[2] or o.program then cli.fail("a saved plan has its parameters and its program in it") end
    p = M.read(o.words[1])
  else
    local built, message = M.recipe(o.words):build { params = M.parameters(o.words, 2), args = o.program,
      env = M.environment(o.env), mix = M.mixes(o), default_args = { M.program } }
    if not built then cli.fail(message) end
    p = built.plan
  end
  io.write(o.json and p:json() or p:text())
  return 0
end

return M
