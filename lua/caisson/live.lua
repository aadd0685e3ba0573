-- Mounts of a running container, added and taken away. The tree is made detached, out here; a process of ours then
-- joins the container's mount namespace (and user namespace) with it, finds the place in the container's root, and ends
-- in the runner: it never executes anything of the container's, which in turn sees of it what is mounted alone.
local core = require "caisson.core"

local M = {}

local function namespace(name, pid)
  local st = core.lstat(("/proc/%s/ns/%s"):format(pid, name))
  return st and st.target
end

local function closed(list)
  for _, fd in ipairs(list) do fd:close() end
end

-- The container's first mapped id, where this process's own has no number inside; else nil.
local function id_inside(pid, file, mine)
  local f = io.open(("/proc/%d/%s"):format(pid, file), "r")
  if not f then return nil end
  local first
  for inside, outside, count in f:read("*a"):gmatch("(%d+)%s+(%d+)%s+(%d+)") do
    inside, outside, count = tonumber(inside), tonumber(outside), tonumber(count)
    first = first or inside
    if mine >= outside and mine < outside + count then
      f:close()
      return nil
    end
  end
  f:close()
  return first
end

-- Steps that lead into the container, and the slots for them; or nil, message, errno. target: pid, and a pidfd by
-- which it is certain to be the same process.
local function enter(target)
  local root, message, errno = core.open(("/proc/%d/root"):format(target.pid), { "path", "directory" })
  if not root then return nil, message, errno end
  local spaces = { "mount" }
  local user = namespace("user", target.pid) ~= namespace("user", "self")
  local same = namespace("mnt", target.pid) == namespace("mnt", "self")
  if user then spaces = { "user", "mount" } end
  local steps = { { step = "namespace.join", options = { namespaces = spaces, fd = "pidfd" }, side = "child" },
    { step = "clone", options = {} } }
  if user then
    local me = core.identity()
    local gid, uid = id_inside(target.pid, "gid_map", me.egid), id_inside(target.pid, "uid_map", me.euid)
    if gid then steps[#steps + 1] = { step = "gid", options = { gid = gid } } end
    if uid then steps[#steps + 1] = { step = "uid", options = { uid = uid, keep_capabilities = true } } end
  end
  -- what was read above was of that process, if it lives still
  local ended
  ended, message = core.pidfd.wait(target.pidfd, 0)
  if ended or message ~= "timeout" then
    root:close()
    return nil, "the container has ended", core.errno.ESRCH
  end
  if same or target.apart then
    root:close()
    return nil, "the container has no mount namespace of its own", core.errno.EPERM
  end
  return steps, { root = root, pidfd = target.pidfd }
end

-- Run the steps, then the runner, which ends at once. Returns the process, not waited for | nil, message, ….
local function go(steps, slots)
  local runner, message, errno = core.runner()
  if not runner then return nil, message, errno end
  slots.runner = runner
  steps[#steps + 1] = { step = "exec", options = { argv = { "caisson" }, fd = "runner" } }
  local process, failure
  process, message, errno, failure = core.spawn { plan = core.plan(steps), slots = slots }
  runner:close()
  if not process then return nil, message, errno, failure end
  return process
end

local function finish(process, ...)
  if not process then return nil, ... end
  process:wait()
  process:close()
  return true
end

-- The step that makes a bind's tree, out of the step mount.bind.
local function tree_step(bind)
  local tree, rest = { tree = "tree" }, { fd = "tree", root = "root", target = bind.target,
    target_nofollow = bind.target_nofollow }
  for _, k in ipairs { "source", "flags", "recursive", "propagation", "idmap", "nofollow" } do tree[k] = bind[k] end
  return tree, rest
end

-- An ordinary user has the right to it in a user namespace of his own only, and mount namespaces take trees of one
-- another. Returns the tree's descriptor | nil, message, errno, failure.
local function make_tree(options)
  local me = core.identity()
  local steps = { { step = "mount.tree", side = "parent", options = options }, { step = "clone", options = {} } }
  if me.euid ~= 0 then
    steps = { { step = "clone", options = { "user", "mount" } }, { step = "idmap", side = "child", options = {
      uid = { { me.euid, me.euid, 1 } }, gid = { { me.egid, me.egid, 1 } }, setgroups = "deny" } },
      { step = "mount.tree", options = options }, { step = "send", options = { fd = "tree" } } }
  end
  local process, message, errno, failure = go(steps, {})
  if not process then return nil, message, errno, failure end
  local tree = process:slot("tree", true)
  process:wait()
  process:close()
  return tree
end

-- m: one of a recipe's mounts: bind or tmpfs. What is writable, and keeps files from being set-user-ID by a filter that
-- the container has had from its start, wants either that filter (target.no_setuid) or setuid_files = true.
---@param target { pid: integer, pidfd: integer|caisson.core.Fd, no_setuid?: boolean }
---@param m table  { bind =, at =, writable =, flags =, idmap =, nofollow =, target_nofollow = } or { tmpfs =, size =, mode =, … }
---@return true|nil ok, string? message, integer? errno, table? failure
function M.mount(target, m)
  if type(m) ~= "table" or (m.bind == nil) == (m.tmpfs == nil) then
    error("mount: { bind = } or { tmpfs = } expected, as in a recipe's mounts", 2)
  end
  local entry = {}
  for k, v in pairs(m) do entry[k] = v end
  local setuid = entry.setuid_files
  entry.setuid_files = nil
  if setuid ~= nil and type(setuid) ~= "boolean" then error("mount: setuid_files: boolean expected", 2) end
  local fields = { options = {}, identity = core.identity(), new = {} }
  fields.new.user = namespace("user", target.pid) ~= namespace("user", "self")
  local build = require "caisson.build"
  local ok, b = pcall(build.mount, fields, "mount", entry)
  if not ok then error(b, 2) end
  local step = b.plan.steps[1]
  local right, why = pcall(core.check, step.step, step.options)
  if not right then error("mount: " .. why, 2) end
  if b.no_setuid and not (setuid or target.no_setuid) then
    return nil, "the container is not kept from making set-user-ID files there, which would be its user's outside, "
      .. "and can't be now: setuid_files = true allows them", core.errno.EPERM
  end
  local steps, slots, errno = enter(target)
  if not steps then return nil, slots, errno end
  local owned = { slots.root }
  if step.step == "mount.bind" then
    local made, rest = tree_step(step.options)
    local tree, message, failure
    tree, message, errno, failure = make_tree(made)
    if not tree then
      closed(owned)
      return nil, message, errno, failure
    end
    owned[2], slots.tree = tree, tree
    steps[#steps + 1] = { step = "mount.bind", options = rest }
  else
    step.options.root = "root"
    steps[#steps + 1] = { step = step.step, options = step.options }
  end
  local function after(...)
    closed(owned)
    return finish(...)
  end
  return after(go(steps, slots))
end

-- opts.lazy: out of sight at once, though somebody uses it.
---@param target { pid: integer, pidfd: integer|caisson.core.Fd }
---@param path string
---@param opts? { lazy?: boolean }
---@return true|nil ok, string? message, integer? errno, table? failure
function M.unmount(target, path, opts)
  opts = opts or {}
  for k in pairs(opts) do
    if k ~= "lazy" then error(require("caisson.words").unknown("unmount: unknown option", tostring(k), { "lazy" }), 2) end
  end
  local options = { path = path, lazy = opts.lazy, root = "root" }
  local right, why = pcall(core.check, "mount.remove", options)
  if not right then error("unmount: " .. why, 2) end
  local steps, slots, errno = enter(target)
  if not steps then return nil, slots, errno end
  steps[#steps + 1] = { step = "mount.remove", options = options }
  local function after(...)
    slots.root:close()
    return finish(...)
  end
  return after(go(steps, slots))
end

return M
