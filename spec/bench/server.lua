-- A process that `make bench` measures the library in: it reads commands, one a line, and answers each
-- with a line of numbers. server.lua ROOT [MiB of heap]
local core = require "caisson.core"
local policy = require "caisson.policy"

local root, heap = arg[1], tonumber(arg[2])

-- Pages that are there, as a big application has them.
local held
if heap then
  local ffi = require "ffi"
  ffi.cdef "void *malloc(size_t); void *memset(void *, int, size_t);"
  held = ffi.C.malloc(heap * 1048576)
  ffi.C.memset(held, 1, heap * 1048576)
end

local function step(name, options, extra)
  local s = { step = name, options = options }
  for k, v in pairs(extra or {}) do s[k] = v end
  return s
end

local id = core.identity()
local maps = { uid = { { 0, id.euid, 1 } }, gid = { { 0, id.egid, 1 } }, setgroups = "deny" }

local function construction(side, program)
  return core.plan {
    step("clone", { "user", "mount", "pid", "net", "ipc", "uts", "cgroup" }),
    step("idmap", maps, { side = side }),
    step("mount.propagation", { path = "/", propagation = "private", recursive = true }),
    step("root.bind", { source = root }),
    step("mount.proc", { target = "/proc" }),
    step("pivot_root"),
    step("exec", { argv = { program } }),
  }
end

local plans = { own = construction("child", "/true"), sync = construction("parent", "/true"),
  pause = construction("child", "/pause") }

local function spawn(plan)
  local start = core.now()
  local p = assert(core.spawn { plan = plan })
  assert(p:wait().code == 0)
  local ns = core.now() - start
  p:close()
  return ns
end

-- A container of a pool, made when it is first asked for; each measurement is a program in it.
local pooled

local function pool()
  if pooled then return pooled end
  local caisson = require "caisson"
  pooled = assert(assert(caisson.pool { recipe = caisson.recipe {
    namespaces = { user = true, mount = true, pid = true, net = true, ipc = true, uts = true, cgroup = true },
    idmap = maps, root = { bind = root }, mounts = { { proc = "/proc" } } } }):get())
  return pooled
end

local function exec_in_pool()
  local c = pool()
  local start = core.now()
  local r = assert(c:exec { args = { "/true" } })
  local ns = core.now() - start
  assert(r.code == 0)
  return ns
end

local function reset()
  local c = pool()
  local start = core.now()
  assert(c.agent:reset {})
  return core.now() - start
end

-- Look up (or compile) the default policy and load it, in a child that does nothing else.
local filtered = core.plan { step("clone", {}), step("no_new_privs"), step("lua", { name = "load" }),
  step("exec", { argv = { root .. "/true" } }) }

local function load(options)
  local r, w = assert(core.pipe())
  policy.program(policy.default()) -- now it is in memory and on disk
  local p = assert(core.spawn { plan = filtered, functions = { load = function()
    if options == "disk" then policy.forget() end
    local start = core.now()
    local program = assert(policy.program(policy.default(), options == "compile" and { cache = false } or nil))
    assert(core.seccomp { program = program })
    assert(w:write(("%.0f"):format(core.now() - start)))
  end } })
  w:close()
  local ns = tonumber(r:read())
  r:close()
  p:wait()
  p:close()
  return ns
end

local function pss(pid)
  local f = assert(io.open(("/proc/%s/smaps_rollup"):format(pid)))
  local kb = f:read("*a"):match("Pss:%s*(%d+)")
  f:close()
  return tonumber(kb)
end

local function fds()
  local n = 0
  for fd = 0, 8191 do n = n + (core.lstat("/proc/self/fd/" .. fd) and 1 or 0) end
  return n
end

local alive = {}

-- n containers alive at once -> median start around the 10th, around the last, KiB and descriptors of each
local function many(n)
  local times = {}
  collectgarbage()
  collectgarbage("stop")
  local fds_before, pss_before = fds(), pss("self")
  for i = 1, n do
    local start = core.now()
    alive[i] = assert(core.spawn { plan = plans.pause })
    times[i] = core.now() - start
    core.poll({}, 0.02)
  end
  local function around(from, to)
    local t = {}
    for i = from, to do t[#t + 1] = times[i] end
    table.sort(t)
    return t[math.ceil(#t / 2)]
  end
  local host, outside, each = pss("self") - pss_before, fds() - fds_before, 0
  for _, p in ipairs(alive) do each = each + pss(p:pid()) end
  collectgarbage("restart")
  return around(1, 20), around(n - 19, n), (host + each) / n, outside / n
end

local function release()
  for _, p in ipairs(alive) do p:kill() end
  for _, p in ipairs(alive) do
    p:wait()
    p:close()
  end
  alive = {}
  return 0
end

io.stdout:setvbuf("line")
for line in io.lines() do
  local command, argument = line:match("^(%S+)%s*(.*)$")
  collectgarbage()
  if command == "policy" then
    print(("%.0f"):format(load(argument)))
  elseif command == "many" then
    print(("%.0f %.0f %.3f %.3f"):format(many(tonumber(argument))))
  elseif command == "pool" then
    print(("%.0f"):format(exec_in_pool()))
  elseif command == "reset" then
    print(("%.0f"):format(reset()))
  elseif command == "release" then
    print(release())
  else
    print(("%.0f"):format(spawn(plans[command])))
  end
end
return held
