-- caisson create: a container whose program waits for `caisson start`.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"

local M = {}

-- NAME=VALUE words as a table.
local function pairs_of(option, words)
  local t = {}
  for _, word in ipairs(words or {}) do
    local name, value = word:match("^([^=]+)=(.*)$")
    if not name then cli.fail(("%s %s: NAME=VALUE expected"):format(option, word)) end
    t[name] = value
  end
  return t
end

-- The process id in a file, which nobody sees half written. Returns true | nil, message.
function M.write_pid(path, pid)
  local new = path .. ".new"
  local f, message = io.open(new, "w")
  if not f then return nil, message end
  local ok
  ok, message = f:write(("%d"):format(pid))
  local closed, why = f:close()
  if ok and closed then ok, message = os.rename(new, path) else ok, message = nil, message or why end
  if not ok then os.remove(new) end
  return ok, message
end

function M.main(o)
  local plan = require "caisson.cli.plan"
  local words, id = o.words, o.id
  if not id then id = table.remove(words, 1) end
  if not id then cli.fail("a container's name and a recipe are expected (see: caisson help create)") end
  local ok, message = require("caisson.state").check_id(id)
  if not ok then cli.fail(message) end
  local recipe = plan.recipe(words)
  local by = attendant.new()
  local container, _, failure
  container, message, _, failure = require("caisson").create(recipe, { id = id, root = o.root,
    params = plan.parameters(words, 2), args = o.program, env = plan.environment(o.env), bundle = o.bundle,
    annotations = pairs_of("--annotation", o.annotation), cancel = by.cancel, window = attendant.window() })
  if not container then
    local given_up = failure and failure.code == "ECANCELED" and by:given_up()
    by:let_go()
    return given_up or attendant.failed(message, failure)
  end
  if o.pid_file then
    ok, message = M.write_pid(o.pid_file, container:state().pid)
    if not ok then
      container:delete { force = true }
      cli.fail(message)
    end
  end
  by:let_go()
  return 0
end

return M
