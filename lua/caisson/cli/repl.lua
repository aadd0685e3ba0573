-- caisson repl: everything at a Lua prompt.
local caisson = require "caisson"
local core = require "caisson.core"

local M = {}

local about = [[
Lua, with all of Caisson at hand. A value is shown as it is; nil, message is shown as the failure it is.
  run(RECIPE, { params =, args = })  make a container and run a program in it, at this terminal
  plan(RECIPE, { params =, args = }) the steps that would be done
  load(NAME), recipe { ... }         a recipe: of a file or a name, or new
  recipes()                          those that there are
  policy, landlock, cgroup, trace    what policies are made of
  core                               every primitive: it acts on this very process
  options(NAME)                      what a primitive takes: options "mount.bind"
  _                                  the last value
Tab completes, Ctrl-R searches what was typed before, Alt-Enter begins a line, Ctrl-D leaves.]]

-- A container with this terminal and its keys, as `caisson run` has it.
local function run_here(r, o)
  local attendant = require "caisson.cli.attendant"
  local opts = {}
  for k, v in pairs(o or {}) do opts[k] = v end
  local by = attendant.new()
  opts.cancel, opts.window = opts.cancel or by.cancel, opts.window or attendant.window()
  local done, running, message, errno, failure = pcall(caisson.start, r, opts)
  if not done then
    by:let_go()
    error(running, 2)
  end
  if not running then
    by:given_up()
    by:let_go()
    return nil, message, errno, failure
  end
  return by:attend(running, running.built.options)
end

local function recipes()
  local names = {}
  for _, r in ipairs(require("caisson.cli.recipes").all()) do
    names[#names + 1] = ("%-14s %s"):format(r.name, r.recipe and r.recipe.summary or "can't be loaded: " .. r.message)
  end
  print(table.concat(names, "\n"))
end

local function options(name)
  local p = core.primitives[name]
  if not p then
    local known = {}
    for k in pairs(core.primitives) do known[#known + 1] = k end
    return nil, require("caisson.words").unknown("no primitive", tostring(name), known)
  end
  local rows = {}
  for i, f in ipairs(p.fields) do
    rows[i] = ("  %-14s %s%s%s"):format(f.name, f.kind, f.required and ", required" or "",
      f.words and ": " .. table.concat(f.words, " ") or "")
  end
  print(name .. (p.action and " (an action of the engine)" or "") .. "\n" .. table.concat(rows, "\n"))
end

-- The names at the prompt. Globals of the prompt's own come before all.
function M.environment()
  local env = { caisson = caisson, core = core, load = caisson.load, recipe = caisson.recipe, run = run_here,
    start = caisson.start, recipes = recipes, options = options }
  for _, name in ipairs { "pool", "create", "open", "list", "loop" } do env[name] = caisson[name] end
  -- a call gives the plan; its fields are the module's, and the constructors of steps
  local constructors = getmetatable(caisson.plan.new()).__index
  env.plan = setmetatable({}, { __index = function(t, key)
    local v = caisson.plan[key]
    if v == nil then v = constructors(t, key) end
    return v
  end, __call = function(_, r, o)
    o = o or {}
    return caisson.plan(r, { params = o.params, args = o.args, env = o.env, default_args = { "PROGRAM" } })
  end })
  env.help = setmetatable({}, { __tostring = function() return about end, __call = function() print(about) end })
  return setmetatable(env, { __index = function(_, key)
    local v = rawget(_G, key)
    if v ~= nil or type(key) ~= "string" then return v end
    return caisson[key] -- policy, landlock, …: loaded when first asked for
  end })
end

-- Ctrl-C ends what is being evaluated, not the prompt. Returns a function that tells, and one that lets go.
local function interrupts()
  if rawget(_G, "jit") then rawget(_G, "jit").off() end -- compiled code looks at nothing
  local fd
  return {
    take = function() fd = core.signal.open { "INT" } end,
    came = function() return fd ~= nil and core.signal.read(fd) ~= nil end,
    let_go = function()
      if fd then core.signal.close(fd) end
      fd = nil
    end,
  }
end

function M.main(o)
  local repl = require "caisson.repl"
  local words = o.words or {}
  if #words > 0 then require("caisson.cli").fail("repl takes no words: " .. words[1]) end
  local signals = interrupts()
  local r = repl.new { env = M.environment(), history = require("caisson.repl.history").open(), interrupted = signals.came }
  local own = r.env.run
  r.env.run = function(...) -- whose program gets the key
    signals.let_go()
    local results = { pcall(own, ...) }
    signals.take()
    if not results[1] then error(results[2], 2) end
    return (table.unpack or unpack)(results, 2, 5) -- luacheck: ignore (5.1)
  end
  local evaluate = r.evaluate
  function r.evaluate(self, text)
    signals.take()
    local ok, message = pcall(evaluate, self, text)
    signals.let_go()
    if not ok then error(message, 0) end
  end
  if r.terminal then
    r:say(("Caisson %s, %s. help says what there is; Ctrl-D leaves.\n"):format(caisson._VERSION,
      rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION))
  end
  r:run()
  return not r.terminal and r.failures > 0 and 1 or 0
end

return M
