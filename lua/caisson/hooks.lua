-- Hooks: Lua functions and commands at the six points of the OCI runtime specification.
--
--   point            runs in                      when
--   prestart         the runtime's namespaces     namespaces and mounts are made, before pivot_root
--   createRuntime    the runtime's namespaces     right after prestart
--   createContainer  the container's namespaces   right after createRuntime
--   startContainer   the container's, its root    before credentials are dropped and the program runs
--   poststart        the runtime's namespaces     the program runs
--   poststop         the runtime's namespaces     the container is gone
--
-- A hook is a function(state), { call = function, timeout = seconds }, or a command
-- { path =, args =, env =, dir =, timeout = } that gets the state as JSON on its standard input; dir is its
-- working directory, "/" if not given.
local core = require "caisson.core"
local json = require "caisson.json"

local M = {}

local keys = { call = "function", path = "string", args = "table", env = "table", dir = "string", timeout = "number" }

-- Returns true | nil, message.
function M.check(hook)
  if type(hook) == "function" then return true end
  if type(hook) ~= "table" then return nil, "a function or a table expected, got " .. type(hook) end
  for k, v in pairs(hook) do
    if not keys[k] then
      return nil, require("caisson.words").unknown("unknown option", tostring(k),
        { "args", "call", "dir", "env", "path", "timeout" })
    end
    if type(v) ~= keys[k] then return nil, ("option '%s': %s expected, got %s"):format(k, keys[k], type(v)) end
  end
  if (hook.call == nil) == (hook.path == nil) then return nil, "either 'call' or 'path' expected" end
  if hook.path and hook.path:sub(1, 1) ~= "/" then return nil, "option 'path': an absolute path expected" end
  if hook.path and #hook.path > 4095 then return nil, "option 'path': longer than 4095 bytes" end
  if hook.dir and (hook.call or hook.dir:sub(1, 1) ~= "/") then
    return nil, hook.call and "option 'dir': a function has none" or "option 'dir': an absolute path expected"
  end
  if hook.timeout and hook.timeout <= 0 then return nil, "option 'timeout': more than 0 seconds expected" end
  return true
end

-- What a hook is told. status: created, running or stopped; created from when the environment is there (step 2 of the
-- specification's lifecycle), which is before the first hook.
function M.state(container, point, pid)
  local status = { prestart = "created", createRuntime = "created", createContainer = "created",
    startContainer = "created", poststart = "running", poststop = "stopped" }
  return { ociVersion = require("caisson.version").oci, id = container.id or "", status = status[point],
    pid = pid and pid > 0 and pid or nil, bundle = container.bundle or "/", annotations = container.annotations or {} }
end

local function state_json(state)
  local annotations = {}
  for k, v in pairs(state.annotations) do annotations[#annotations + 1] = json.string(k) .. ":" .. json.string(v) end
  table.sort(annotations)
  return ('{"ociVersion":%s,"id":%s,"status":%s,%s"bundle":%s,"annotations":{%s}}'):format(
    json.string(state.ociVersion), json.string(state.id), json.string(state.status),
    state.pid and ('"pid":%d,'):format(state.pid) or "", json.string(state.bundle), table.concat(annotations, ","))
end

-- A function's limit is checked between its instructions: what blocks in C is not interrupted.
local function with_limit(fn, timeout)
  if not timeout then return fn end
  return function(...)
    local deadline = core.now() + timeout * 1e9
    if jit then jit.off(fn, true) end -- compiled code calls no debug hooks
    local old, mask, count = debug.gethook()
    debug.sethook(function()
      if core.now() > deadline then
        debug.sethook()
        error(("no end within its limit of %g s"):format(timeout), 0)
      end
    end, "", 1000)
    local results = { pcall(fn, ...) }
    debug.sethook(old, mask, count)
    if not results[1] then error(results[2], 0) end
    return results[2], results[3], results[4]
  end
end

local max_output = 4096
local default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

-- Run a command hook; nil, message where it fails. Its whole process group ends with it.
-- cancel: a descriptor; once it is readable, the hook is given up.
local function run_command(hook, state, cancel)
  local env = {}
  -- never the container's, whose program would choose what is loaded here (CVE-2025-23266), nor the host's
  for k, v in pairs(hook.env or { PATH = default_path }) do env[#env + 1] = type(k) == "number" and v or k .. "=" .. v end
  table.sort(env)
  local args = hook.args and #hook.args > 0 and hook.args or { hook.path }
  local plan = core.plan {
    { step = "clone", options = {} },
    { step = "session" },
    { step = "chdir", options = hook.dir or "/" }, -- not wherever the caller happens to be
    { step = "exec", options = { path = hook.path, argv = args, env = env, files = { "stdin", "stdout", "stdout" } } },
  }
  local r, w = core.pipe()
  if not r then return nil, w end
  local input, message, errno = core.memfd("state", state_json(state))
  if not input then return nil, message, errno end
  local process
  local failure
  process, message, errno, failure = core.spawn { plan = plan, slots = { stdin = input, stdout = w } }
  w:close()
  input:close()
  if not process then
    r:close()
    if failure and failure.step == "chdir" then message = ("%s: dir %s"):format(hook.path, message) end
    return nil, message, errno
  end
  local deadline = hook.timeout and core.now() + hook.timeout * 1e9
  local parts, size, status, late, given_up = {}, 0, nil, false, false
  local open = true
  while not status do
    local fds = { { fd = process:pidfd() } }
    if cancel then fds[2] = { fd = cancel } end
    local output_at = open and #fds + 1
    if open then fds[output_at] = { fd = r } end
    local ready = core.poll(fds, deadline and math.max(0, (deadline - core.now()) / 1e9) or nil)
    if deadline and core.now() >= deadline and not (ready and ready[1]) then
      late = true
      core.kill_group(process:pid(), "KILL")
      status = process:wait()
    elseif ready and open and ready[output_at] then
      local s = r:read()
      if not s or s == "" then
        open = false
      else
        size = size + #s
        parts[#parts + 1] = s
        while size > max_output and #parts > 1 do size = size - #table.remove(parts, 1) end
      end
    elseif ready and ready[1] then
      -- before it is reaped, while its number is still its own: what it left behind goes too
      core.kill_group(process:pid(), "KILL")
      status = process:wait(0)
    elseif ready and cancel and ready[2] then
      given_up = true
      core.kill_group(process:pid(), "KILL")
      status = process:wait()
    end
  end
  process:close()
  r:nonblock(true)
  local rest = open and r:read() or ""
  r:close()
  local output = (table.concat(parts) .. (rest or "")):sub(-max_output):gsub("%s+$", "")
  local told = output ~= "" and ": " .. output or ""
  if given_up then return nil, hook.path .. ": given up", core.errno.ECANCELED end
  if late then return nil, ("%s: no end within its limit of %g s%s"):format(hook.path, hook.timeout, told) end
  if status.signal then return nil, ("%s: killed by signal %d%s"):format(hook.path, status.signal, told) end
  if status.code ~= 0 then return nil, ("%s: exit status %d%s"):format(hook.path, status.code, told) end
  return true
end

-- The points in the container's namespaces: the state has the pid that the container's first process has there.
local inside = { createContainer = true, startContainer = true }

-- A function(pid) for a lua step: runs the hook with the state of the point.
function M.step(hook, point, container)
  local fn
  if type(hook) == "function" then
    fn = hook
  elseif hook.call then
    fn = with_limit(hook.call, hook.timeout)
  else
    fn = function(state) return run_command(hook, state, container.cancel) end
  end
  return function(pid)
    if inside[point] and not (pid and pid > 0) then pid = container.inside or core.identity().pid end
    return fn(M.state(container, point, pid))
  end
end

return M
