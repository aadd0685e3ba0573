-- What specs of joining processes share: a container that sleeps, and processes started in it.
local t = require "support"
local caisson = require "caisson"
local process = require "caisson.process"

local M = {}

-- A sleeping container in all namespaces, of the host's files. options: of the recipe; user: in a user namespace
-- also as root (an ordinary user's is always).
function M.container(options, user)
  local r = { args = { "/bin/sleep", "1000" }, stdin = "null", stdout = "null", stderr = "null",
    namespaces = { mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true, time = true },
    root = { bind = "/" }, readonly_root = false, mounts = { { proc = "/proc" }, { tmpfs = "/tmp" }, { devpts = "/dev/pts" } } }
  if t.is_root and user then
    r.namespaces.user, r.user = true, 0
    r.idmap = { uid = { { 0, 100000, 65536 } }, gid = { { 0, 100000, 65536 } } }
  elseif not t.is_root then
    local me = t.core.identity()
    r.idmap = { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } } }
  end
  for k, v in pairs(options or {}) do r[k] = v end
  if r.namespaces.uts then r.hostname = "box" end
  local running = assert(caisson.start(caisson.recipe(r)))
  return running, { pid = running:pid(), pidfd = running.process:pidfd(), cgroup = running.cgroup,
    options = running.built.options }
end

-- Start in it and wait; standard output and error are the result's stdout.
-- Returns the result | nil, message, errno, failure.
function M.run(target, spec, opts)
  if type(spec) == "string" then spec = { args = { "/bin/sh", "-c", spec } } end
  spec.stdin = spec.stdin or not spec.tty and "null" or nil
  spec.stdout = spec.stdout or "capture"
  if spec.stderr == nil and not spec.tty then spec.stderr = "stdout" end
  local running, message, errno, failure = process.start(target, spec, opts)
  if not running then return nil, message, errno, failure end
  return running:wait()
end

-- The output of a script.
function M.output(target, script, spec)
  spec = spec or {}
  spec.args = { "/bin/sh", "-c", script }
  return assert(M.run(target, spec)).stdout
end

return M
