-- What a command gives to whoever called it: the number of a process, its terminal, a descriptor for it.
local core = require "caisson.core"

local M = {}

-- The process id in a file, which nobody sees half written. Returns true | nil, message.
function M.write_pid(path, pid)
  local new = ("%s.%d.new"):format(path, core.identity().pid)
  -- one that is there already may be somebody's link to elsewhere
  local fd, message = core.open(new, { "write", "create", "exclusive", "nofollow" }, 420)
  if not fd then return nil, message end
  local ok
  ok, message = fd:write(("%d"):format(pid))
  fd:close()
  if ok then ok, message = os.rename(new, path) end
  if not ok then os.remove(new) end
  return ok, message
end

-- A connection to the stream socket at this path. Returns it | nil, message.
function M.connect(path)
  local dir, name = path:match("^(.-)/*([^/]+)$")
  local at, message = core.open(dir ~= "" and dir or path:sub(1, 1) == "/" and "/" or ".", { "path", "directory" })
  if not at then return nil, message end
  local socket
  socket, message = core.socket.connect(at, name, "stream")
  at:close()
  return socket, message
end

-- The other side of the container's terminal goes to who holds it when this command has gone. Returns true | nil, message.
function M.terminal(pty, socket)
  if pty and not socket then
    return nil, "the container has a terminal: --console-socket says who gets its other side"
  elseif socket and not pty then
    return nil, "--console-socket: the container has no terminal (tty = true)"
  end
  return not pty or core.pass.fd { fd = pty, socket = socket, name = "/dev/ptmx" }
end

return M
