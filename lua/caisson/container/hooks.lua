-- Hooks of a container whose create, start and delete are three processes.
--
-- Commands are saved with the container. A function is found again by evaluating the recipe, which therefore
-- has to be in a file, and the same as it was: the digests of the files that it is made of are saved. A
-- function at startContainer runs in a fork of the process that starts the container, which has joined all of
-- its namespaces: it sees its root, mounts and processes, but the program's own environment, working directory and
-- descriptors are not there to be changed.
local core = require "caisson.core"
local hooks = require "caisson.hooks"
local join = require "caisson.join"
local processes = require "caisson.container.processes"

local M = {}

-- ---- what is saved ----

local function digest(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return core.cache.digest(text)
end

-- Of a built recipe, for the state: { file, files = { { path, digest } }, params, args, env } and the hooks, commands as
-- they are, functions by their place.
function M.describe(built, opts)
  local about = require("caisson.saved").about(built, opts) or {}
  local recipe = { args = built.options.args, no_recipe = about.no_recipe }
  if type(recipe.args) == "string" then recipe.args = { recipe.args } end
  if about.recipe then
    recipe.file, recipe.params, recipe.env = built.recipe.again or about.recipe.file, about.recipe.params, opts.env
    recipe.files = {}
    for i, r in ipairs(built.chain) do
      local path = r.file or r.source
      path = path and (core.realpath(path) or path)
      recipe.files[i] = { path = path, digest = path and digest(path) }
    end
    recipe.digest = recipe.files[#recipe.files] and recipe.files[1].digest
  end
  return recipe, about.hooks or {}
end

-- The first file of the recipe that is not as it was, and why; nil: none.
function M.changed(recipe)
  for _, f in ipairs(recipe.files or {}) do
    if f.path then
      local now = digest(f.path)
      if now ~= f.digest then return f.path, now and "has changed since the container was created" or "is gone" end
    end
  end
end

-- ---- finding them again ----

local function has_function(list)
  for _, h in ipairs(list or {}) do if h["function"] then return true end end
  return false
end

-- The hooks of these points: { [point] = { hook, … } } | nil, message.
-- c: the container: saved (its state), built where this process has created it. lenient: whatever can't be
-- found is left out, and said in the list that comes second; also that a recipe has changed.
function M.find(c, points, lenient)
  local saved, warnings, found = c.saved.hooks or {}, {}, {}
  local wanted = false
  for _, point in ipairs(points) do wanted = wanted or has_function(saved[point]) end
  local theirs, message
  if c.built then
    theirs = c.built.options.hooks
  elseif wanted then
    local recipe = c.saved.recipe or {}
    local file, why = M.changed(recipe)
    if not recipe.file then
      message = "the recipe is not from a file" .. (recipe.no_recipe and ": " .. recipe.no_recipe or "")
    else
      if file then message = ("the recipe %s %s"):format(file, why) end
      if not message or lenient then
        local r, built
        r, why = require("caisson.recipe").load(recipe.file)
        if r then
          built, why = r:build { params = recipe.params, args = recipe.args, env = recipe.env, id = c.id, wait = "again" }
        end
        if not built then
          message = message or why
          if why ~= message then warnings[#warnings + 1] = why end
        end
        theirs = built and built.options.hooks
      end
    end
    if message and not lenient then
      return nil, ("its hooks that are functions can't be found again: %s"):format(message)
    end
    if message then warnings[#warnings + 1] = message end
  end
  for _, point in ipairs(points) do
    found[point] = {}
    for i, h in ipairs(saved[point] or {}) do
      local hook = h["function"] and theirs and theirs[point] and theirs[point][i] and theirs[point][i].hook or
        not h["function"] and h or nil
      if not hook then
        local lack = ("hooks.%s[%d]: the function is not found%s"):format(point, i, message and "" or
          ": the recipe has no such hook")
        if not lenient then return nil, lack end
        warnings[#warnings + 1] = lack
      else
        found[point][#found[point] + 1] = { hook = hook, index = i }
      end
    end
  end
  return found, warnings
end

-- ---- running them ----

-- In this process's namespaces, one after the other. Returns true | nil, message, index of the one that failed.
function M.run_here(c, point, list, pid)
  for _, h in ipairs(list) do
    local fn = hooks.step(h.hook, point, c:identity())
    local done, a, b = pcall(fn, pid)
    if not done or a == nil and type(b) == "string" then
      return nil, ("hooks.%s[%d]: %s"):format(point, h.index, tostring(done and b or a)), h.index
    end
  end
  return true
end

-- In the container: in a fork that has joined it. Returns true | nil, message, errno, failure.
function M.run_inside(c, point, list, target, cancel)
  if #list == 0 then return true end
  local found, message, number = join.look(target)
  if not found then return nil, message, number end
  local joining
  joining, message = join.steps(found)
  if not joining then return nil, message, core.errno.EINVAL end
  local steps, slots, functions = {}, { target = target.pidfd }, {}
  if target.cgroup then
    local groups = target.cgroup:join()
    for name, fd in pairs(groups.slots) do
      slots[name] = fd
      steps[#steps + 1] = { step = "cgroup.attach", options = { group = name }, side = "child" }
    end
  end
  for _, s in ipairs(joining) do steps[#steps + 1] = s end
  steps[#steps + 1] = { step = "clone", options = {} }
  local who = c:identity()
  who.inside = processes.inside(target.pid)
  for _, h in ipairs(list) do
    local name = ("hooks.%s[%d]"):format(point, h.index)
    functions[name] = hooks.step(h.hook, point, who)
    steps[#steps + 1] = { step = "lua", options = name }
  end
  local process, failure
  process, message, number, failure = core.spawn { plan = core.plan(steps), slots = slots, functions = functions,
    cancel = cancel }
  if not process then
    local step = steps[failure.number or 0]
    if step and step.step == "lua" then
      message = ("%s: %s"):format(step.options, failure.detail or message)
      failure.step, failure.index = "hooks." .. point, tonumber(step.options:match("%[(%d+)%]"))
    end
    return nil, message, number, failure
  end
  process:wait()
  process:close()
  return true
end

return M
