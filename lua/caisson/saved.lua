-- Saved plans: what a plan in JSON holds beside its steps, so that it runs as its recipe does, and the plan as
-- something to run.
--
-- Limits, streams, command hooks and the groups whose figures make the result are saved as they are. What is
-- a Lua function (a hook, a step of a script, a stream, `result`) is saved by reference: the recipe's file and
-- parameters. Whoever runs the plan evaluates that file again, and finds the function under its name.
local core = require "caisson.core"
local hooks = require "caisson.hooks"
local words = require "caisson.words"

local M = {}

local stream_names = { "stdin", "stdout", "stderr" }

-- A hook as JSON can hold it: a command as OCI has it, a function by its place in the recipe.
local function hook_out(hook)
  if type(hook) == "table" and hook.path then
    local env = hook.env and {}
    for k, v in pairs(hook.env or {}) do env[#env + 1] = type(k) == "number" and v or k .. "=" .. v end
    if env then table.sort(env) end
    return { path = hook.path, args = hook.args, env = env, dir = hook.dir, timeout = hook.timeout }
  end
  return { ["function"] = true, timeout = type(hook) == "table" and hook.timeout or nil }
end

-- What is to be saved of a builder's plan, beside its steps: the document's `run`.
-- opts: params, as the recipe was built with.
function M.about(built, opts)
  local o = built.options
  local about = { limits = o.limits, landlock_left_out = built.landlock_left_out }
  for name in pairs(built.optional_limits or {}) do
    about.unlimited = about.unlimited or {}
    about.unlimited[name] = true
  end
  for _, name in ipairs(stream_names) do
    local v = o[name]
    if type(v) == "string" or type(v) == "table" and (v.file or v.data) then
      about[name] = v
    elseif v ~= nil then
      -- a function, or a descriptor of this process
      about[name] = { ["function"] = true }
    end
  end
  for point, list in pairs(o.hooks) do
    if #list > 0 then
      about.hooks = about.hooks or {}
      about.hooks[point] = {}
      for i, h in ipairs(list) do about.hooks[point][i] = hook_out(h.hook) end
    end
  end
  if built.cgroup then
    about.cgroup = { groups = built.cgroup.groups, missing = built.cgroup.missing, max = o.cgroup.memory
      and type(o.cgroup.memory) == "table" and o.cgroup.memory.max or nil }
  end
  if o.result then about.result = true end
  local file = built.recipe.file
  if file then
    about.recipe = { file = core.realpath(file) or file, params = opts.params }
    for k, v in pairs(about.recipe.params or {}) do
      if type(v) ~= "string" and type(v) ~= "number" and type(v) ~= "boolean" then
        about.recipe = nil
        about.no_recipe = ("its parameter '%s' is no plain value"):format(tostring(k))
        break
      end
    end
  end
  if next(about) == nil then return nil end
  return about
end

-- ---- reading it back; from anybody, so nothing in it is believed ----

local function check(ok, what, expected)
  if not ok then error(("run.%s: %s expected"):format(what, expected), 0) end
end

local function strings(v, what)
  check(type(v) == "table", what, "a list of strings")
  for k, s in pairs(v) do check(type(k) == "number" and type(s) == "string", what, "a list of strings") end
end

local function keys(t, what, known)
  check(type(t) == "table", what, "a table")
  for k in pairs(t) do
    local found = false
    for _, name in ipairs(known) do found = found or name == k end
    if not found then error(words.unknown(("run.%s: unknown key"):format(what), tostring(k), known), 0) end
  end
end

local points = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" }

local readers = {
  limits = function(v)
    local ok, key, message = require("caisson.build").check_limits(v)
    if not ok then error(("run.limits%s: %s"):format(key == "" and "" or "." .. key, message), 0) end
  end,
  unlimited = function(v)
    check(type(v) == "table", "unlimited", "a table")
    for k, yes in pairs(v) do check(type(k) == "string" and yes == true, "unlimited", "limits' names") end
  end,
  landlock_left_out = function(v) strings(v, "landlock_left_out") end,
  result = function(v) check(v == true, "result", "true") end,
  no_recipe = function(v) check(type(v) == "string", "no_recipe", "a string") end,
  recipe = function(v)
    keys(v, "recipe", { "file", "params" })
    check(type(v.file) == "string", "recipe.file", "a path")
    check(v.params == nil or type(v.params) == "table", "recipe.params", "a table")
  end,
  hooks = function(v)
    keys(v, "hooks", points)
    for point, list in pairs(v) do
      local what = "hooks." .. point
      check(type(list) == "table", what, "a list")
      for i, h in ipairs(list) do
        keys(h, ("%s[%d]"):format(what, i), { "path", "args", "env", "dir", "timeout", "function" })
        if not h["function"] then
          local ok, message = hooks.check(h)
          if not ok then error(("run.%s[%d]: %s"):format(what, i, message), 0) end
        end
      end
    end
  end,
  cgroup = function(v)
    keys(v, "cgroup", { "groups", "missing", "max" })
    check(type(v.groups) == "table" and type(v.missing) == "table", "cgroup", "groups and missing")
    for i, g in ipairs(v.groups) do
      local what = ("cgroup.groups[%d]"):format(i)
      keys(g, what, { "slot", "version", "controllers", "at", "path", "nodes", "unit", "user", "within" })
      local made = type(g.at) == "string" and type(g.path) == "string"
      local unit = type(g.unit) == "string" and type(g.within) == "string" and (g.user == nil or type(g.user) == "boolean")
      check(type(g.slot) == "string" and (g.version == 1 or g.version == 2) and (made or unit), what,
        "slot, version, at and path, or unit and within,")
      strings(g.controllers, what .. ".controllers")
      if g.nodes ~= nil then strings(g.nodes, what .. ".nodes") end
    end
    for i, m in ipairs(v.missing) do
      check(type(m) == "table" and type(m.key) == "string" and type(m.message) == "string" and
        type(m.errno) == "number", ("cgroup.missing[%d]"):format(i), "key, message and errno")
    end
  end,
}

for _, name in ipairs(stream_names) do
  readers[name] = function(v)
    check(type(v) == "string" or type(v) == "table", name, "a stream")
    if type(v) == "table" then keys(v, name, { "file", "append", "data", "function" }) end
  end
end

-- Is it what about() makes? Returns it | nil, message.
function M.check(about)
  local known = {}
  for k in pairs(readers) do known[#known + 1] = k end
  table.sort(known)
  local ok, message = pcall(function()
    if type(about) ~= "table" then error("run: a table expected", 0) end
    for k, v in pairs(about) do
      if not readers[k] then error(words.unknown("run: unknown key", tostring(k), known), 0) end
      readers[k](v)
    end
  end)
  if not ok then return nil, message end
  return about
end

-- ---- running it ----

local Planned = {}
Planned.__index = Planned

-- A plan as a recipe: what there is to run is that plan, with the program of opts.args if given.
function M.recipe(plan)
  return setmetatable({ plan = plan }, Planned)
end

-- What of the plan is a function that this process does not have yet: the first one's name, or nil.
local function first_function(plan, about)
  for i, s in plan:each() do
    if s.step == "lua" and not s.fn then
      local point, n = tostring(s.options.name):match("^hooks%.(%w+)%[(%d+)%]$")
      local h = point and about.hooks and about.hooks[point] and about.hooks[point][tonumber(n)]
      if not (h and h.path) then return ("step %d, lua: the function %s"):format(i, s.options.name) end
    end
    if s.step == "send" and s.options.attend then return ("step %d, send: the functions of %s"):format(i, s.options.attend) end
  end
  for _, name in ipairs(stream_names) do
    if type(about[name]) == "table" and about[name]["function"] then return name .. ": what it was" end
  end
  for point, list in pairs(about.hooks or {}) do
    for i, h in ipairs(list) do
      if h["function"] then return ("hooks.%s[%d]: the function"):format(point, i) end
    end
  end
  if about.result then return "the function result" end
end

-- The recipe's own build, for its functions: built, functions by name | nil, message.
local function evaluate(about, args)
  local r, message = require("caisson.recipe").load(about.recipe.file)
  if not r then return nil, message end
  local built
  built, message = r:build { params = about.recipe.params, args = args }
  if not built then return nil, message end
  return built, built.functions or {}
end

-- As a recipe's build(). opts: args in place of the program that is saved.
function Planned:build(opts)
  local plan = self.plan:copy()
  local about = rawget(plan, "about") or {}
  if type(about) == "function" then about = about() or {} end
  local right, message = plan:check()
  if not right then return nil, message end
  if next(opts.params or {}) ~= nil then return nil, "a plan has no parameters" end
  if opts.env and next(opts.env) ~= nil then return nil, "the environment is in the plan already" end
  if opts.explain then return nil, "a saved plan has no lines to be explained by: run its recipe with --explain" end
  local last = plan.steps[#plan.steps]
  if opts.args then last.options.argv = opts.args end

  local own, functions = nil, {}
  local wanted = first_function(plan, about)
  if wanted then
    if not about.recipe then
      return nil, ("%s is not in a saved plan; run its recipe%s"):format(wanted,
        about.no_recipe and " (" .. about.no_recipe .. ")" or "")
    end
    own, functions = evaluate(about, last.options.argv)
    if not own then return nil, ("%s is looked for in the plan's recipe: %s"):format(wanted, functions) end
  end

  local b = { plan = plan, id = opts.id, identity = core.identity(), cgroup = about.cgroup,
    optional_limits = about.unlimited, landlock_left_out = about.landlock_left_out }
  local options = { limits = about.limits, hooks = {}, init = last.options.init, session = false,
    result = own and own.options.result,
    cgroup = about.cgroup and { memory = { max = about.cgroup.max } } or nil }
  b.options = options
  for _, name in ipairs(stream_names) do
    options[name] = about[name]
    if type(about[name]) == "table" and about[name]["function"] then options[name] = own.options[name] end
  end
  for point, list in pairs(about.hooks or {}) do
    options.hooks[point] = {}
    for i, h in ipairs(list) do
      local theirs = own and own.options.hooks[point] and own.options.hooks[point][i]
      if h["function"] and not theirs then
        return nil, ("hooks.%s[%d]: its recipe, %s, has no such hook any more"):format(point, i, about.recipe.file)
      end
      options.hooks[point][i] = h["function"] and theirs
        or { hook = h, origin = { recipe = { locate = function() end }, path = {} } }
    end
  end
  for i, s in plan:each() do
    if s.step == "lua" and not s.fn then
      local point, n = tostring(s.options.name):match("^hooks%.(%w+)%[(%d+)%]$")
      local h = point and options.hooks[point] and options.hooks[point][tonumber(n)]
      s.fn = h and hooks.step(h.hook, point, b) or functions[s.options.name]
      if not s.fn then
        return nil, ("step %d, lua: its recipe, %s, has no function %s any more"):format(i,
          about.recipe and about.recipe.file or "?", s.options.name)
      end
    end
    if s.step == "pty" and s.options.master == "pty" then options.tty = true end
    if s.step == "session" then options.session = true end
  end
  b.compiled, b.functions = plan:compile()
  for i, s in plan:each() do
    local name = s.step == "send" and s.options.attend
    if name then
      if not (own.notifier and functions[name]) then
        return nil, ("step %d, send: its recipe, %s, has no %s any more"):format(i, about.recipe.file, name)
      end
      b.functions = b.functions or {}
      b.functions[name], b.notifier = functions[name], own.notifier
    end
  end
  return b
end

-- Is it one? (Whoever takes recipes takes these.)
function M.is(v)
  return getmetatable(v) == Planned
end


return M
