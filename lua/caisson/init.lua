-- Caisson: containers built by recipes. This is the public API.
local recipe = require "caisson.recipe"
local run = require "caisson.run"

local M = {
  _VERSION = require("caisson.version").caisson,
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

---@alias caisson.Stream any
---Where a stream of the program's comes from or goes to: "inherit", "null", "pipe" (this side of it is then a field of
---the object, of the stream's name), { file =, append = }, a descriptor; stdin also { data = }; output also "capture" or
---a function that gets the chunks; stderr also "stdout".

---@class caisson.run.Options
---@field params? table<string, any>      the recipe's parameters
---@field args? string[]                  the program
---@field env? table<string, string|number|false>  added to the recipe's
---@field stdin? caisson.Stream
---@field stdout? caisson.Stream
---@field stderr? caisson.Stream
---@field files? string[]                 slots of the program's descriptors 0, 1, 2, …
---@field slots? table<string, integer|caisson.core.Fd>  descriptors by name, for steps and `files`
---@field limits? { time?: number, cpu?: number, output?: integer }  seconds, seconds of CPU, bytes
---@field id? string                      what hooks are told
---@field window? integer[]               { rows, columns } of its terminal
---@field cancel? integer|caisson.core.Fd construction is given up when it becomes readable
---@field late? number             seconds for which it is then still looked whether the program is there already
---@field status? any                     a descriptor, { file = } or a function: told what becomes of it (caisson.status)
---@field log? caisson.Logger             what each step came to
---@field fail? { step: integer, errno: integer }  for tests: that step is not done, and fails so
---@field watch? fun(built: caisson.Built): caisson.run.Watch?, string?  who goes along with the construction; nil, message
---@field mix? caisson.Mix[]              policies over the recipe's own, which they narrow (caisson.policy.mix)

---@class caisson.run.Watch
---@field before? fun(number: integer, born: boolean, slots: table<string, integer>): any  before each step, in the child where
---  there is one (a fork of this process then, as Lua steps have it): "skip" leaves the step out; nil, message fails it
---@field attach? fun(pid: integer, address: number)  the child is there, and waits until this has returned
---@field timed? fun(number: integer, began: number, ns: number, errno: integer)  a step of this side's is done
---@field stamped? fun(times: table)  in the end: { born =, executed =, [step] = { began, ended } }, ns of CLOCK_MONOTONIC

---Run a recipe (or the one of that name or file) and wait.
---@param r caisson.Recipe|string
---@param opts? caisson.run.Options
---@return caisson.Result? result, string? message, integer? errno, table? failure
function M.run(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return run.run(found, opts)
end

---Start a recipe and give back the running container.
---@param r caisson.Recipe|string
---@param opts? caisson.run.Options
---@return caisson.Running? running, string? message, integer? errno, table? failure
function M.start(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return run.start(found, opts)
end

---@class caisson.pool.Options
---@field recipe caisson.Recipe|string
---@field size? integer                   how many stand ready: 1
---@field params? table<string, any>
---@field env? table<string, string|number|false>
---@field args? string[]                  the program where a run names none
---@field shared? boolean                 writable files of the host's are meant to be there
---@field slots? table<string, integer|caisson.core.Fd>  descriptors that the container's steps name
---@field id? string

---Containers made in advance, that run many programs. They are made by fill() and get().
---@param opts caisson.pool.Options
---@return caisson.Pool? pool, string? message, integer? errno
function M.pool(opts) return require("caisson.pool").new(opts) end

---@class caisson.create.Options
---@field id string                       1 to 255 letters, digits, "_", "+", "-" or "."
---@field root? string                    the directory of the states: /run/caisson for root, else $XDG_RUNTIME_DIR/caisson
---@field params? table<string, any>
---@field args? string[]
---@field env? table<string, string|number|false>
---@field bundle? string                  the directory that hooks are told
---@field rootfs? string                  its root on the host, as state tells it
---@field annotations? table<string, string>
---@field stdin? caisson.Stream           neither "capture" nor a function, here and below
---@field stdout? caisson.Stream
---@field stderr? caisson.Stream
---@field files? string[]
---@field slots? table<string, integer|caisson.core.Fd>
---@field window? integer[]
---@field cancel? integer|caisson.core.Fd
---@field log? caisson.Logger
---@field fail? { step: integer, errno: integer }

---Make a container that waits for its start, and outlives this process, unless the recipe says die_with_parent. Groups to
---count, freeze and kill by are made where they can be had, asked for or not.
---@param r caisson.Recipe|string
---@param opts caisson.create.Options
---@return caisson.Container? container, string? message, integer? errno, table? failure
function M.create(r, opts)
  local found, message = to_recipe(r)
  if not found then return nil, message, 2, { step = "recipe", errno = 2, code = "ENOENT", status = "failed" } end
  return require("caisson.container").create(found, opts)
end

---A container that was created, by its id.
---@param id string
---@param opts? { root?: string }
---@return caisson.Container? container, string? message, integer? errno, table? failure  ENOENT; EBADMSG: damaged
function M.open(id, opts) return require("caisson.container").open(id, opts) end

---All of them: { id, status, pid, created, recipe, bundle, rootfs, owner (a uid), annotations }; one whose state can't be
---used has the status "damaged", and the reason as `error`.
---@param opts? { root?: string }
---@return table[]? list, string? message, integer? errno, table? failure
function M.list(opts) return require("caisson.container").list(opts) end

---Many running containers, seen to their ends in one loop.
---@return caisson.Loop? loop, string? message, integer? errno
function M.loop() return require("caisson.loop").new() end

-- Modules that not every program needs are loaded when first asked for.
local lazy = { policy = true, check = true, cgroup = true, landlock = true, trace = true,
  learn = true, probe = true, timeline = true }
setmetatable(M, { lazy = lazy, __index = function(t, key)
  if lazy[key] then
    local module = require("caisson." .. key)
    rawset(t, key, module)
    return module
  end
end })

return M
