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

-- A connection to the socket at this path.
local function connect(path)
  local core = require "caisson.core"
  local dir, name = path:match("^(.-)/*([^/]+)$")
  local at, message = core.open(dir ~= "" and dir or path:sub(1, 1) == "/" and "/" or ".", { "path", "directory" })
  local socket
  if at then
    socket, message = core.socket.connect(at, name, "stream")
    at:close()
  end
  if not socket then cli.fail("--console-socket: " .. message) end
  return socket
end

-- The other side of the container's terminal goes to who holds it when this command has gone. Returns true | nil, message.
local function pass_terminal(pty, socket)
  if pty and not socket then
    return nil, "the container has a terminal: --console-socket says who gets its other side"
  elseif socket and not pty then
    return nil, "--console-socket: the container has no terminal (tty = true)"
  end
  return not pty or require("caisson.core").pass.fd { fd = pty, socket = socket, name = "/dev/ptmx" }
end

function M.main(o)
  local plan = require "caisson.cli.plan"
  local words, id = o.words, o.id
  if not id then id = table.remove(words, 1) end
  if not id then cli.fail("a container's name and a recipe are expected (see: caisson help create)") end
  local ok, message = require("caisson.state").check_id(id)
  if not ok then cli.fail(message) end
  local recipe = plan.recipe(words)
  local socket = o.console_socket and connect(o.console_socket)
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
  ok, message = pass_terminal(container.pty, socket)
  if ok and o.pid_file then ok, message = M.write_pid(o.pid_file, container:state().pid) end
  if not ok then
    container:delete { force = true }
    cli.fail(message)
  end
  by:let_go()
  return 0
end

return M
