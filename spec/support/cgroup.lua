-- What the specs of control groups share: running steps in the groups that a table asks for.
local t = require "support"
local cgroup = require "caisson.cgroup"
require "caisson.cgroup.group" -- before any spec gives up the right to read the checkout

local M = {}

-- Names begin with this: specs may run in several checkouts at once.
M.prefix = "csnspec-" .. t.getpid() .. "-"

-- Groups of these specs that are there now, in any hierarchy.
function M.left()
  return t.sh("find /sys/fs/cgroup -type d -name '" .. M.prefix .. "*' 2>/dev/null")
end

-- What cgroup.probe() answers, with what `only` leaves of it: "v1", "v2", or all.
function M.env(only)
  local env = assert(cgroup.probe())
  local list = {}
  for _, h in ipairs(env.hierarchies) do
    if not only or only == "v" .. h.version then list[#list + 1] = h end
  end
  env.hierarchies = list
  return env
end

-- The worlds that this machine can show: v1 alone, v1 beside v2, v2 alone.
function M.worlds()
  local v1, v2
  for _, h in ipairs(M.env().hierarchies) do
    if h.version == 2 then v2 = h.mount else v1 = v1 or h.mount and h.controllers[1] == "memory" end
  end
  if not v1 then return v2 and { { name = "v2" } } or {} end
  return v2 and { { name = "v1", only = "v1" }, { name = "v1 and v2" } } or { { name = "v1", only = "v1" } }
end

function M.compile(cg, only)
  local own = { path = M.prefix .. "*" }
  for k, v in pairs(cg) do own[k] = v end
  return cgroup.compile(own, M.env(only))
end

-- The steps of a compiled table, clone, and the cgroup namespace behind it.
function M.steps(compiled, namespaces)
  local steps = {}
  for _, s in ipairs(compiled.before) do
    steps[#steps + 1] = { step = s.step, options = s.options, side = s.side, optional = s.optional }
  end
  steps[#steps + 1] = t.step("clone", { namespaces = namespaces or {}, cgroup = compiled.slot })
  for _, s in ipairs(compiled.after) do
    steps[#steps + 1] = { step = s.step, options = s.options, side = s.side }
  end
  return steps
end

-- t.run in the groups of table cg. More opts: only (see env), namespaces, more (steps after clone). The result
-- has stats and account; opts.inspect gets the groups too.
function M.run(cg, opts)
  opts = opts or {}
  local compiled = M.compile(cg, opts.only)
  local ok, message, errno, failure = cgroup.ready(compiled)
  if not ok then return nil, message, errno, failure end
  local steps = M.steps(compiled, opts.namespaces)
  for _, s in ipairs(opts.more or {}) do steps[#steps + 1] = s end
  local inspect = opts.inspect
  opts.inspect = function(process, result)
    local groups = cgroup.open({ cgroup = compiled }, process)
    result.stats, result.account = groups:stats(), {}
    groups:account(result.account)
    if inspect then inspect(process, result, groups) end
    groups:close()
  end
  return t.run(steps, opts)
end

-- Start argv in the groups and answer the process, the groups, and the compiled table.
function M.start(cg, argv, only)
  local compiled = M.compile(cg, only)
  assert(cgroup.ready(compiled))
  local steps = M.steps(compiled)
  steps[#steps + 1] = t.step("exec", { argv = argv, files = { "stdin", "stdin", "stdin" } })
  local null = assert(t.core.open("/dev/null", "readwrite"))
  local process = assert(t.core.spawn { plan = t.core.plan(steps), slots = { stdin = null } })
  null:close()
  return process, cgroup.open({ cgroup = compiled }, process), compiled
end

-- Call fn in a fork as an ordinary user (uid 1000), and answer what it returns, as text; raises what it raises.
-- before() runs there while it is root still.
function M.as_user(fn, before)
  local r, w = assert(t.core.pipe())
  local ok, message = t.run({ t.step("lua", { name = "user" }) }, { argv = { "/bin/true" }, functions = {
    user = function()
      local right, text = xpcall(function()
        if before then before() end
        assert(t.core.groups { groups = {} })
        assert(t.core.gid(1000))
        assert(t.core.uid(1000))
        return fn()
      end, debug.traceback)
      w:write((right and "+" or "-") .. tostring(text))
    end } })
  w:close()
  local text = t.slurp(r)
  r:close()
  assert(ok, message)
  if text:sub(1, 1) ~= "+" then error(text:sub(2), 0) end
  return text:sub(2)
end

-- What a symbolic link holds.
function M.link(path)
  return assert(t.core.lstat(path)).target
end

-- Wait until fn() is true; false after so many seconds.
function M.eventually(fn, seconds)
  local deadline = t.core.now() + (seconds or 20) * 1e9
  while not fn() do
    if t.core.now() > deadline then return false end
    t.core.poll({}, 0.005)
  end
  return true
end

return M
