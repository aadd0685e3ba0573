-- Caisson: containers built by recipes. This is the public API.
local recipe = require "caisson.recipe"
local run = require "caisson.run"

local M = {
  _VERSION = "0.1.0",
  core = require "caisson.core",
  recipe = recipe.new,
  load = recipe.load,
  plan = require "caisson.plan",
}

local function to_recipe(r)
  if type(r) == "string" then return recipe.load(r) end
  if M.plan.is(r) then return require("caisson.saved").recipe(r) end
  if not recipe.is(r) then error("a recipe or its name expected, got " .. type(r), 3) end
  return r
end

-- Run a recipe (or the one of that name or file) and wait. See caisson.run.start for opts.
-- Returns the result | nil, message, errno, failure.
function M.run(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return run.run(found, opts)
end

-- Start a recipe and give back the running container.
function M.start(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return run.start(found, opts)
end

-- Containers made in advance, that run many programs. See caisson.pool.new for opts.
-- Returns the pool | nil, message, errno.
function M.pool(opts) return require("caisson.pool").new(opts) end

-- Make a container that waits for its start, and outlives this process. See caisson.container.create for opts.
-- Returns the container | nil, message, errno, failure.
function M.create(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return require("caisson.container").create(found, opts)
end

-- A container that was created, by its id. opts: root.
function M.open(id, opts) return require("caisson.container").open(id, opts) end

-- All of them. opts: root.
function M.list(opts) return require("caisson.container").list(opts) end

-- Many running containers, seen to their ends in one loop. See caisson.loop.
-- Returns the loop | nil, message, errno.
function M.loop() return require("caisson.loop").new() end

-- Modules that not every program needs are loaded when first asked for.
setmetatable(M, { __index = function(t, key)
  if key == "policy" or key == "cgroup" or key == "landlock" or key == "trace" then
    local module = require("caisson." .. key)
    rawset(t, key, module)
    return module
  end
end })

return M
