-- Control groups: a recipe's `cgroup` table into steps, on v1, v2 or both.
--
--   cgroup = {
--     memory = { max = "512M", swap = 0 }, pids = { max = 64 }, cpu = { max = 0.5, optional = true },
--     path = "judge-*",                     -- * is the run's own
--     unified = { ["memory.oom.group"] = "1" },
--   }
--
-- Without a path, or with a relative one, the group is made below this process's own; an absolute path
-- counts from the root of the hierarchy. v2: the child is cloned into the group. v1: the child's first steps
-- are to enter the groups, which only a process itself can do fast (see core/cgroup.c).
local core = require "caisson.core"
local devices = require "caisson.cgroup.devices"
local files = require "caisson.cgroup.files"
local limits = require "caisson.cgroup.limits"

local M = {}

-- The group that own_leaf moves this process into.
M.leaf = "caisson.host"

---@alias caisson.Size number|string  bytes: a number, "64M" (powers of 1024), or "max"

---@class caisson.cgroup.Memory
---@field max? caisson.Size
---@field high? caisson.Size
---@field low? caisson.Size
---@field min? caisson.Size
---@field swap? caisson.Size            without memory, as on v2
---@field swap_high? caisson.Size
---@field zswap? caisson.Size
---@field oom_group? boolean
---@field swappiness? integer
---@field oom_kill_disable? boolean
---@field kernel? caisson.Size
---@field kernel_tcp? caisson.Size
---@field use_hierarchy? boolean
---@field check_before_update? boolean
---@field optional? boolean

---@class caisson.cgroup.Cpu
---@field max? number|string|{ quota: integer|"max", period: integer }  CPUs (0.5), or "quota period" in microseconds
---@field burst? integer
---@field weight? integer
---@field shares? integer
---@field idle? boolean
---@field uclamp_min? number|"max"
---@field uclamp_max? number|"max"
---@field rt_period? integer
---@field rt_runtime? integer
---@field optional? boolean

---@class caisson.cgroup.Io
---@field weight? integer|table[]       or a list of { device = "8:0", weight = }; the next two, too
---@field bfq_weight? integer|table[]
---@field leaf_weight? integer|table[]
---@field max? table[]                  { device =, rbps =, wbps =, riops =, wiops = } each
---@field latency? table[]
---@field optional? boolean

---@class caisson.cgroup.Options      a recipe's `cgroup`; every controller takes `optional = true`: go without
---@field driver? "cgroupfs"|"systemd"  who makes the group ("cgroupfs": this process); see caisson.systemd
---@field slice? string               systemd: where ("machine.slice"; its own choice)
---@field scope? string               systemd: the scope's name, one "*" being the run's own ("caisson-*.scope")
---@field properties? string[]        systemd: more of the scope's, "NAME SIGNATURE VALUE": "RuntimeMaxUSec t 60000000"
---@field path? string                of the group, below this process's own, or from the root ("/a/b"); "*" is the
---  run's own; "caisson-*" if not given
---@field existing? boolean|"empty"   the group may be there already; it is then not removed. "empty": if nobody is in it
---@field optional? boolean          go without whatever can't be had
---@field every? boolean             a group in every hierarchy that is mounted, wanted or not, where that can be had
---@field own_leaf? boolean           v2, delegated: this process may be moved to a leaf, for good, to make room
---@field accounting? ("cpu"|"memory"|"pids"|"io"|"freeze")[] figures and actions wanted beside those of the limits,
---  where they can be had ({ "cpu" })
---@field memory? caisson.cgroup.Memory
---@field pids? { max?: integer|"max", optional?: boolean }
---@field cpu? caisson.cgroup.Cpu
---@field cpuset? { cpus?: string, mems?: string, partition?: "member"|"root"|"isolated", optional?: boolean }
---@field io? caisson.cgroup.Io
---@field hugetlb? table<string, caisson.Size|{ max?: caisson.Size, rsvd?: caisson.Size }>  by page size, "2MB": pages in
---  use, and those that are reserved; a size is both
---@field rdma? table<string, { hca_handle?: integer, hca_object?: integer }>  by device
---@field misc? table<string, integer|"max">      by resource
---@field net_cls? { classid?: integer, optional?: boolean }
---@field net_prio? table<string, integer>        by interface
---@field devices? caisson.cgroup.DeviceRule[]   see caisson.cgroup.devices; with `optional = true` in it: go without
---@field unified? table<string, string|number>   any file of v2, as it is written

---@class caisson.cgroup.Group
---@field slot string          the plan's slot of its directory
---@field version 1|2
---@field controllers string[] v2: those that were asked for
---@field at string            the directory that it is made in
---@field path string          from there
---@field unit? string         in their place: systemd's scope
---@field user? boolean        of this user's systemd
---@field within? string       the directory of its slice
---@field nodes? string[]      where there are device rules: those for the recipe's own nodes

---@class caisson.cgroup.Missing
---@field key string           the option, "memory.max"
---@field controller string
---@field message string
---@field hint? string
---@field errno integer

-- What this machine offers: for compile(), and for anybody who wants to look first.
-- Returns { hierarchies = core.cgroup.detect(), writable = function(path) } | nil, message, errno.
---@return { hierarchies: caisson.cgroup.Hierarchy[], writable: function, euid: integer }? env, string? message, integer? errno
function M.probe()
  local hierarchies, message, errno = core.cgroup.detect()
  if not hierarchies then return nil, message, errno end
  return { hierarchies = hierarchies, writable = core.cgroup.writable, euid = core.euid() }
end

local function has(list, word)
  for _, v in ipairs(list or {}) do if v == word then return true end end
  return false
end

local function v1_name(controller)
  return files.v1_names[controller] or controller
end

local function common_name(controller)
  for name, v1 in pairs(files.v1_names) do if v1 == controller then return name end end
  return controller
end

local function v2_hierarchy(env)
  for _, h in ipairs(env.hierarchies) do
    if h.version == 2 then return h end
  end
end

local function v1_hierarchy(env, controller)
  for _, h in ipairs(env.hierarchies) do
    if h.version == 1 and has(h.controllers, v1_name(controller)) then return h end
  end
end

-- The hierarchy with this controller: a controller is on v1 or on v2, never on both.
-- Returns it | nil, why, hint.
local function find(env, controller)
  local h = v1_hierarchy(env, controller)
  if h then
    if h.mount then return h end
    return nil, ("the v1 hierarchy of the %s controller is not mounted here"):format(v1_name(controller)),
      ("mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s"):format(v1_name(controller), v1_name(controller))
  end
  h = v2_hierarchy(env)
  if h and not h.mount then
    return nil, "no cgroup file system is mounted here", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
  end
  if h and (has(h.mount_controllers, controller) or has(h.controllers, controller) or
      has(h.above_controllers, controller)) then
    return h
  end
  if h then
    return nil, ("%s/cgroup.controllers does not list the %s controller"):format(h.mount, controller),
      "the kernel is without it, or it was turned off at boot (cgroup_disable=), or not delegated to this container"
  end
  return nil, ("this kernel has no %s controller"):format(controller)
end

local function parent_of(path)
  return (path:match("^(.+)/[^/]+$"))
end

local delegate_hint = "systemd-run --user --scope -p Delegate=yes COMMAND, or for all of a user's services " ..
  "Delegate=cpu cpuset io memory pids in user@.service.d/delegate.conf; or run it as root, or mark it optional"

-- v2: a process can be moved, or cloned, from a group to another by who may write to the cgroup.procs of the
-- closest group above both. Returns true | nil, that group.
---@param env table  of probe()
---@param h caisson.cgroup.Hierarchy
---@param to string  a group's path
---@return true? ok, string? above
function M.can_move(env, h, to)
  local above, own = h.mount, h.own
  for name in to:sub(#h.mount + 1):gmatch("[^/]+") do
    local next = above .. "/" .. name
    if own ~= next and own:sub(1, #next + 1) ~= next .. "/" then break end
    above = next
  end
  if env.writable(above .. "/cgroup.procs") then return true end
  return nil, above
end

-- The directory that a v2 group with these controllers can be made in.
-- Returns it, move | nil, why, hint. move: this process has to leave it for a leaf first.
local function base_v2(env, h, need, own_leaf)
  local function lacks(list)
    for _, c in ipairs(need) do if not has(list, c) then return c end end
  end
  if h.own_writable and (#need == 0 or h.is_root and not lacks(h.controllers)) then return h.own end
  -- left for a leaf before: the groups go beside it
  if h.own_writable and h.own:match("[^/]+$") == M.leaf and not lacks(h.above_controllers) and
      env.writable(parent_of(h.own) .. "/cgroup.procs") then
    return parent_of(h.own)
  end
  if h.mount_writable and not lacks(h.mount_controllers) then return h.mount end
  if not h.own_writable then
    return nil, ("the group of this process, %s, is not delegated to this user"):format(h.own or h.path), delegate_hint
  end
  local c = lacks(h.controllers)
  if c then
    return nil, ("%s/cgroup.controllers does not list the %s controller: it is not delegated"):format(h.own, c),
      delegate_hint
  end
  if own_leaf then return h.own, true end
  return nil, ("%s has processes, this one among them, and so can't have groups with controllers"):format(h.own),
    ("own_leaf = true moves this process to %s/%s"):format(h.own, M.leaf)
end

-- Where the group goes in this hierarchy. Returns at, path, move | nil, why, hint.
local function place(env, h, t, need)
  if t.path and t.path:sub(1, 1) == "/" then
    local path = t.path:sub(2)
    local above = h.mount
    for name in (path:match("^(.*)/") or ""):gmatch("[^/]+") do
      if env.writable(above .. "/" .. name) == nil then break end
      above = above .. "/" .. name
    end
    if not env.writable(above) and not (t.existing and env.writable(h.mount .. t.path)) then
      return nil, ("%s is not writable by this user"):format(above),
        ("as root: mkdir -p %s%s && chown -R %d %s%s"):format(h.mount, parent_of(t.path) or t.path, env.euid,
          h.mount, parent_of(t.path) or t.path)
    end
    if h.version == 2 then
      local can, between = M.can_move(env, h, h.mount .. t.path)
      if not can then
        return nil, ("this user may not move processes from %s to %s%s: %s/cgroup.procs is not writable"):format(h.own,
          h.mount, t.path, between), "start in a group of what is delegated; " .. delegate_hint
      end
    end
    return h.mount, path
  end
  local path = t.path or "caisson-*"
  if h.version == 2 then
    local at, why, hint = base_v2(env, h, need, t.own_leaf)
    if not at then return nil, why, hint end
    return at, path, why
  end
  if h.own_writable then return h.own, path end
  return nil, ("%s is not writable by this user: the v1 hierarchy is not delegated"):format(h.own or h.path),
    ("as root: mkdir %s/NAME && chown -R %d %s/NAME; then path = \"/NAME/%s\"; or mark it optional"):format(
      h.mount, env.euid, h.mount, path)
end

-- The order groups are made in; the first undone is the last, and the best to kill from.
local order = { "devices", "io", "net_cls", "net_prio", "hugetlb", "rdma", "misc", "cpuset", "cpu", "cpuacct", "memory",
  "pids", "freezer" }

local function sort_by_order(list)
  local rank = {}
  for i, c in ipairs(order) do rank[c] = i end
  table.sort(list, function(a, b)
    return (rank[a] or 0) < (rank[b] or 0) or (rank[a] or 0) == (rank[b] or 0) and a < b
  end)
  return list
end

-- For which figures and actions which controllers are wanted, beside those that limits need.
local accounts = {
  cpu = { v1 = "cpuacct" }, memory = { v1 = "memory", v2 = "memory" }, pids = { v1 = "pids", v2 = "pids" },
  io = { v1 = "io", v2 = "io" }, freeze = { v1 = "freezer" },
}

---@class caisson.cgroup.Compiled
---@field before { step: string, side: string, options: table, key: string, optional?: boolean }[]
---@field after { step: string, side: string, options: table, key: string }[]  right behind clone
---@field slot? string         what clone takes as `cgroup`
---@field late_namespace boolean  a cgroup namespace is made after clone, to have the group as its root
---@field groups caisson.cgroup.Group[]
---@field missing caisson.cgroup.Missing[]   what was asked for and can't be had
---@field unlimited table<string, caisson.cgroup.Missing>  the same, of controllers marked optional

-- The steps for a recipe's table on the machine that env (of probe()) describes.
-- nodes: those that the recipe makes, as its `devices` has them, which its device rules allow. id: the container's.
-- Raises { key =, message = } where the table is wrong.
---@param t caisson.cgroup.Options
---@param env table  of probe()
---@param nodes? table  device nodes that the container has
---@param id? string  the run's
---@return caisson.cgroup.Compiled
function M.compile(t, env, nodes, id)
  if type(t) == "table" and t.driver == "systemd" then return require("caisson.systemd").compile(t, env, nodes, id) end
  local wanted = limits.check(t)
  local out = { before = {}, after = {}, groups = {}, missing = {}, unlimited = {} }
  local by_hierarchy, hierarchies = {}, {}

  local function lack(controller, key, why, hint, errno)
    local m = { key = key, controller = controller, message = why, hint = hint, errno = errno or 13 }
    if t.optional or type(t[controller]) == "table" and t[controller].optional then
      out.unlimited[controller] = m
    else
      out.missing[#out.missing + 1] = m
    end
  end

  local function use(h, controller)
    if not by_hierarchy[h] then
      by_hierarchy[h] = { controllers = {}, version = h.version, writes = {} }
      hierarchies[#hierarchies + 1] = h
      for _, c in ipairs(h.version == 1 and h.controllers or {}) do
        local list = by_hierarchy[h].controllers
        list[#list + 1] = common_name(c)
      end
    end
    local g = by_hierarchy[h]
    if controller and not has(g.controllers, controller) then g.controllers[#g.controllers + 1] = controller end
    return g
  end

  local function try(controller, key)
    local h, why, hint = find(env, controller)
    if not h then
      lack(controller, key, why, hint, 2)
      return nil
    end
    local need = h.version == 2 and { controller } or {}
    local at
    at, why, hint = place(env, h, t, need)
    if not at then
      lack(controller, key, why, hint)
      return nil
    end
    return use(h, controller)
  end

  local function first_option(controller)
    for _, row in ipairs(files.limits[controller]) do
      if t[controller][row[1]] ~= nil then return controller .. "." .. row[1] end
    end
    return controller
  end

  for _, controller in ipairs(sort_by_order(wanted)) do
    local g = try(controller, first_option(controller))
    if g then
      for _, w in ipairs(limits.writes(controller, t[controller], g.version)) do
        w.key = controller .. "." .. w.option
        w.optional = t[controller].optional or t.optional
        if w[1] then
          g.writes[#g.writes + 1] = w
        else
          lack(controller, w.key, ("cgroup v%d has no such limit"):format(g.version), nil, 95)
        end
      end
    end
  end

  local v2 = v2_hierarchy(env)
  local keys = {}
  for file in pairs(t.unified or {}) do keys[#keys + 1] = file end
  table.sort(keys)
  for _, file in ipairs(keys) do
    local controller = file:match("^[^.]+")
    local g
    if v1_hierarchy(env, controller) or not (v2 and v2.mount) then
      lack("unified", "unified." .. file, ("the %s controller is on cgroup v1 here"):format(controller), nil, 95)
    elseif controller == "cgroup" then
      local at, why, hint = place(env, v2, t, {})
      if at then g = use(v2) else lack("unified", "unified." .. file, why, hint) end
    else
      g = try(controller, "unified." .. file)
    end
    if g then
      local v = t.unified[file]
      g.writes[#g.writes + 1] = { file, type(v) == "number" and ("%.0f"):format(v) or v, key = "unified." .. file,
        optional = t.optional }
    end
  end

  if t.devices then
    local h = v1_hierarchy(env, "devices") or v2
    local g
    if not h or not h.mount then
      lack("devices", "devices", "no hierarchy that could have device rules is mounted here", nil, 2)
    elseif env.euid ~= 0 then
      lack("devices", "devices", "only root of the machine may set device rules",
        "run it as root, or mark it optional", 1)
    elseif h.version == 1 then
      g = try("devices", "devices")
    else
      local at, why, hint = place(env, h, t, {})
      if at then g = use(h) else lack("devices", "devices", why, hint) end
    end
    if g then
      nodes = devices.of_nodes(nodes)
      local rules = devices.all(t.devices, nodes)
      g.nodes = devices.texts(nodes)
      if h.version == 1 then
        local last
        for _, w in ipairs(devices.writes_v1(rules)) do
          if last and last[1] == w[1] then
            last.more = last.more or {}
            last.more[#last.more + 1] = w[2]
          else
            last = { w[1], w[2], key = "devices", optional = t.devices.optional }
            g.writes[#g.writes + 1] = last
          end
        end
      else
        g.rules = devices.texts(rules)
      end
    end
  end

  -- Figures, kill and freeze: wherever they can be had.
  for _, word in ipairs(t.accounting or { "cpu" }) do
    local c = accounts[word]
    local h = c.v1 and v1_hierarchy(env, c.v1)
    local need = {}
    if not h or not h.mount or (v2 and v2.mount and not c.v2) then
      h, need = v2, { c.v2 }
    end
    if h and h.mount and (h.version == 1 or not c.v2 or has(h.mount_controllers, c.v2)) and
        place(env, h, t, need) then
      use(h, h.version == 1 and c.v1 or c.v2)
    end
  end

  for _, h in ipairs(t.every and env.hierarchies or {}) do
    if h.mount and place(env, h, t, {}) then use(h) end
  end

  local rank = {}
  for i, h in ipairs(hierarchies) do
    local first = sort_by_order(by_hierarchy[h].controllers)[1]
    rank[h] = h.version == 2 and 1000 or i
    for k, c in ipairs(order) do if c == first and h.version == 1 then rank[h] = k end end
  end
  table.sort(hierarchies, function(a, b) return rank[a] < rank[b] end)

  for _, h in ipairs(hierarchies) do
    local g = by_hierarchy[h]
    local at, path, move = place(env, h, t, h.version == 2 and g.controllers or {})
    local key = g.controllers[1] or "accounting"
    if not at then
      lack(key, key, path, move)
    else
      local slot = h.version == 2 and "cgroup" or "cgroup." .. v1_name(g.controllers[1])
      local function step(name, side, options, step_key, optional)
        out.before[#out.before + 1] = { step = name, side = side, options = options, key = step_key,
          optional = optional or nil }
      end
      if move then step("cgroup.leave", "parent", { at = at, leaf = M.leaf }, "own_leaf") end
      local told = h.version == 2 and #g.controllers > 0 or has(g.controllers, "cpuset")
      step("cgroup.create", "parent", { path = path, at = at, slot = slot, existing = t.existing and true or nil,
        controllers = told and g.controllers or nil }, key)
      for _, w in ipairs(g.writes) do
        step("cgroup.set", "parent", { file = w[1], value = w[2], more = w.more, group = slot, verify = w.verify }, w.key,
          w.optional)
      end
      if g.rules then step("cgroup.devices", "parent", { rules = g.rules, group = slot }, "devices", t.devices.optional) end
      if h.version == 2 then
        out.slot = slot
      else
        out.after[#out.after + 1] = { step = "cgroup.attach", side = "child", options = { group = slot }, key = key }
      end
      out.groups[#out.groups + 1] = { slot = slot, version = h.version, controllers = g.controllers, at = at,
        path = path, nodes = g.nodes }
    end
  end
  out.late_namespace = #out.groups > 0
  out.empty = t.existing == "empty" or nil
  return out
end

-- ---- for caisson.build and caisson.run ----

local swept = {}

-- Before a run: is there all that was asked for? Groups that a killed host has left beside those to be
-- made are removed, once for each place in the life of this process.
-- origins: who asked for what, as a builder has it. Returns true | nil, message, errno, failure.
---@param compiled caisson.cgroup.Compiled
---@param origins? table  who asked for what
---@return true? ok, string? message, integer? errno, table? failure
function M.ready(compiled, origins)
  local m = compiled.missing[1]
  if m then
    local message = ("cgroup: %s: %s"):format(m.key == "driver" and "driver 'systemd'" or m.key .. " can't be set", m.message)
    local origin = origins and (origins["cgroup/" .. m.key:match("^[%w_]+")] or origins.cgroup)
    return nil, message, m.errno, { step = "cgroup.create", object = m.key, errno = m.errno,
      code = core.errno.name(m.errno), detail = m.message, hint = m.hint, controller = m.controller,
      at = origin and origin.recipe:locate(origin.path) }
  end
  if compiled.empty and compiled.groups[1] then
    -- in one hierarchy: a group of another container's is in all of them
    local g = compiled.groups[1]
    local f = io.open(g.at .. "/" .. g.path .. "/cgroup.procs")
    local pid = f and f:read("*l")
    if f then f:close() end
    if pid then
      local message = ("cgroup: %s/%s is not empty: process %s is in it"):format(g.at, g.path, pid)
      local errno = core.errno.EBUSY
      return nil, message, errno, { step = "cgroup.create", object = g.path, errno = errno, code = "EBUSY", detail = message }
    end
  end
  for _, g in ipairs(compiled.groups) do
    if g.unit and not swept[g.unit] then
      swept[g.unit] = true
      require("caisson.systemd").sweep(g)
    end
    local above, prefix, suffix = (g.path or ""):match("^(.-)([^/*]*)%*([^/*]*)$")
    local where = above and g.at .. "/" .. g.path
    if above and not swept[where] then
      swept[where] = true
      core.cgroup.sweep((g.at .. "/" .. above):gsub("/$", ""), prefix, suffix)
    end
  end
  return true
end

local function add_steps(b, steps)
  b.phase = "cgroup"
  for _, s in ipairs(steps) do
    b:step("cgroup/" .. s.key:match("^[%w_]+"), s.step, s.options, { side = s.side, optional = s.optional })
  end
end

-- Every device node that the recipe makes.
local function nodes_of(o)
  local list = {}
  for i, d in ipairs(o.devices or {}) do list[i] = d end
  for _, m in ipairs(o.mounts or {}) do
    if type(m) == "table" and m.device then
      list[#list + 1] = { path = m.device, type = m.type, major = m.major, minor = m.minor }
    end
  end
  return list
end

-- The same, looked at once for builder b.
---@param b table  a builder
---@param key string
---@return any
function M.of(b, key)
  local message
  if not b.cgroups_here then b.cgroups_here, message = M.probe() end
  return b.cgroups_here or b:fail(key, message)
end

-- The groups' steps, put before clone in the plan that builder b makes.
---@param b table  a builder
function M.before_clone(b)
  local env = M.of(b, "cgroup")
  local ok, compiled = pcall(M.compile, b.options.cgroup, env, nodes_of(b.options), b.id)
  if not ok then
    if type(compiled) ~= "table" then error(compiled, 0) end
    local key = compiled.key:match("^[%w_]+")
    local rest = compiled.key:sub(#(key or "") + 1)
    b:fail(key and "cgroup/" .. key or "cgroup",
      (rest ~= "" and rest:gsub("^%.", "") .. ": " or "") .. compiled.message)
  end
  add_steps(b, compiled.before)
  b.cgroup, b.cgroup_slot, b.late_cgroup_namespace = compiled, compiled.slot, compiled.late_namespace
  b.optional_limits = compiled.unlimited
end

-- Into the groups; then the cgroup namespace, which has them as its root.
---@param b table  a builder
function M.after_clone(b)
  add_steps(b, b.cgroup.after)
  if b.late_cgroup_namespace and b.new.cgroup then
    b.phase = "cgroup"
    b:step("namespaces", "namespace.unshare", { namespaces = { "cgroup" } }, { side = "child" })
  end
end

local no_swap = "the kernel does not count swap, or is built without it (boot parameter swapaccount=1)"
local missing_files = { ["memory.memsw.limit_in_bytes"] = no_swap, ["memory.swap.max"] = no_swap }

-- What to do about a step of this family that failed; nil where we are not sure.
---@param failure table
---@return string?
function M.hint(failure)
  local code, object = failure.code, failure.object or ""
  if failure.step == "cgroup.set" then
    local file = object:match("^(%S+) = ") or ""
    if code == "ENOENT" then return missing_files[file] or "this kernel has no " .. file end
    if file == "memory.kmem.limit_in_bytes" then return "Linux has given it up (5.16); memory.max counts kernel memory too" end
    if code == "EBUSY" and file:find("limit_in_bytes", 1, true) then return "the group uses more than that already" end
    if code == "ENODEV" then return "major:minor has to be a whole disk of this machine" end
  elseif failure.step == "cgroup.devices" and code == "EPERM" then
    return "run it as root of the machine, or mark it optional (cgroup.devices.optional)"
  elseif failure.step == "cgroup.create" and code == "EBUSY" then
    return "a v2 group with processes of its own can't have groups with controllers: move them to a leaf (own_leaf)"
  elseif failure.step == "cgroup.create" and code == "EEXIST" then
    return "a path with * is the run's own; existing = true takes the group that is there"
  elseif failure.step == "clone" and code == "EOPNOTSUPP" and object:find("cgroup", 1, true) then
    return "the group is below one with processes of its own: move those to a leaf (own_leaf)"
  end
end

-- The running container's groups.
---@param built caisson.Built
---@param process caisson.core.Process
---@return caisson.cgroup.Groups
function M.open(built, process)
  return require("caisson.cgroup.group").of_process(built.cgroup.groups, process, built.plan)
end

---How much this machine's processes have to wait: /proc/pressure, as a group's pressure() has it; nil: not counted.
---@return caisson.cgroup.Pressure?
function M.pressure()
  return require("caisson.cgroup.events").pressure(function(resource)
    local f = io.open("/proc/pressure/" .. resource)
    local text = f and f:read("*a") -- nil where it was turned off at boot
    if f then f:close() end
    return text
  end)
end

---The groups of a container of this process or another's, from what their save() answered. `ENOENT`: they are gone.
---@param saved caisson.cgroup.Saved[]
---@return caisson.cgroup.Groups? groups, string? message, integer? errno
function M.reopen(saved)
  return require("caisson.cgroup.group").reopen(saved)
end

return M
