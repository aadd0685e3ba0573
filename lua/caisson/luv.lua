-- Running containers in luv's loop (the Debian package lua-luv, or the rock luv).
--
--     local uv, watch = require "luv", require("caisson.luv").watch
--     watch(assert(caisson.start(recipe, opts)), function(result) print(result.status) end)
--     uv.run()
--
-- One poll handle for each of its descriptors, and a timer where it has limits of time.
local uv = require "luv"

local M = {}

local function number_of(fd) return type(fd) == "number" and fd or fd:fileno() end

-- See a running container to its end in luv's loop; then done(result), or done(nil, message) where a stream's function,
-- or it, raised. Returns a function that takes it out of the loop again, as it is.
---@return fun()
function M.watch(running, done)
  if type(done) ~= "function" then error("a function to be told of the end expected, got " .. type(done), 2) end
  local handles, timer = {}, nil

  local function drop(fd)
    handles[fd]:stop()
    handles[fd]:close()
    handles[fd] = nil
  end

  local function stop()
    for fd in pairs(handles) do drop(fd) end
    if timer then timer:close() end
    timer = nil
  end

  local advance

  local function refresh()
    local wanted = {}
    for _, f in ipairs(running:fds()) do wanted[number_of(f.fd)] = true end
    for fd in pairs(handles) do
      if not wanted[fd] then drop(fd) end
    end
    for fd in pairs(wanted) do
      if not handles[fd] then
        handles[fd] = assert(uv.new_poll(fd))
        handles[fd]:start("r", advance)
      end
    end
    local timeout = running:timeout()
    if timeout then
      timer = timer or uv.new_timer()
      timer:start(math.ceil(timeout * 1000), 0, advance)
    end
  end

  function advance()
    if not next(handles) then return end
    local ok, result = pcall(running.step, running)
    if ok and not result then return refresh() end
    stop()
    if ok then return done(result) end
    done(nil, result)
  end

  refresh()
  return stop
end

return M
