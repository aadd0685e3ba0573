-- caisson create: a container whose program waits for `caisson start`.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"
local handover = require "caisson.cli.handover"

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

function M.main(o)
  local plan = require "caisson.cli.plan"
  local words, id = o.words, o.id
  if not id then id = table.remove(words, 1) end
  if not id then cli.fail("a container's name and a recipe are expected (see: caisson help create)") end
  local ok, message = require("caisson.state").check_id(id)
  if not ok then cli.fail(message) end
  local recipe = plan.recipe(words)
  local socket
  if o.console_socket then
    socket, message = handover.connect(o.console_socket)
    if not socket then cli.fail("--console-socket: " .. message) end
  end
  local by = attendant.new()
  local container, _, failure
  container, message, _, failure = require("caisson").create(recipe, { id = id, root = o.root,
    params = plan.parameters(words, 2), args = o.program, env = plan.environment(o.env), bundle = o.bundle,
    annotations = pairs_of("--annotation", o.annotation), cancel = by.cancel, window = attendant.window(),
    log = cli.log })
  if not container then
    local given_up = failure and failure.code == "ECANCELED" and by:given_up()
    by:let_go()
    return given_up or attendant.failed(message, failure)
  end
  ok, message = handover.terminal(container.pty, socket)
  if ok and o.pid_file then ok, message = handover.write_pid(o.pid_file, container:state().pid) end
  if not ok then
    container:delete { force = true }
    cli.fail(message)
  end
  by:let_go()
  return 0
end

return M
