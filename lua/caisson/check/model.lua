-- What a plan's container will be, as far as its steps tell: who it is, which mounts cover which, what each path is of.
-- Nothing is done for it; the host's files are looked at, unless the container is for another machine.
local core = require "caisson.core"
local plan_module = require "caisson.plan"

local M = {}

---@class caisson.check.Model
---@field plan caisson.Plan
---@field steps table[]             as core has understood them: { step, options, side, optional, number, phase }
---@field options table             the recipe's; {} where there is only a plan
---@field identity table            who makes it
---@field here boolean              are this machine's files and abilities those that count?
---@field new table<string, boolean>    namespaces of its own
---@field joined table<string, table>   those of others: the step
---@field mounts table[]            what is visible, in the order of mounting
---@field uid integer               the program's, inside
---@field kuid integer?             and outside; nil: not known
---@field caps table<string, boolean>   what the program has after exec
---@field bounding table<string, boolean>
local Model = {}
Model.__index = Model

-- ---- paths ----

local function clean(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/")
end

-- Is path at, or below, dir?
local function within(path, dir)
  return dir == "/" or path == dir or path:sub(1, #dir + 1) == dir .. "/"
end

local function below(path, dir) return path == dir and "" or path:sub(dir == "/" and 1 or #dir + 1) end

local function join(dir, rest) return (dir == "/" and rest ~= "" and "" or dir) .. rest end

M.clean, M.within = clean, within

-- A path of the host's without symlinks, where it is there.
local function real(path)
  if path:sub(1, 1) ~= "/" then path = (core.realpath(".") or "") .. "/" .. path end
  return core.realpath(path) or clean(path)
end
M.real = real

-- ---- mounts ----

local function flag_of(flags, word)
  local v
  for _, f in ipairs(flags or {}) do
    if f == word or f == "r" .. word then v = true end
    if word == "ro" and (f == "rw" or f == "rrw") then v = false end
    if word ~= "ro" and (f == word:sub(3) or f == "r" .. word:sub(3)) then v = false end
  end
  return v or false
end

local function has_word(list, ...)
  for _, v in ipairs(list or {}) do
    for _, w in ipairs { ... } do if v == w then return true end end
  end
  return false
end
M.has = has_word

-- What covers a path inside: the mount that it is on.
function Model:top(path)
  local best
  for _, e in ipairs(self.mounts) do
    if within(path, e.target) and (not best or #e.target >= #best.target) then best = e end
  end
  return best
end

-- The mount that a step's own mount is put on.
function Model:under(path, s)
  local best
  for _, e in ipairs(self.mounts) do
    if e.step ~= s and within(path, e.target) and (not best or #e.target >= #best.target) then best = e end
  end
  return best
end

-- Put a mount over what is there; what is below its place is seen no more.
function Model:cover(e)
  e.target = clean(e.target)
  local under = self:top(e.target)
  if e.kind == "readonly" then
    e.kind, e.source, e.ro = under and under.kind or "?", nil, true
    if under and under.source then e.source = join(under.source, below(e.target, under.target)) end
    e.of, e.recursive = under, true
    for _, m in ipairs(self.mounts) do -- a recursive bind: all below is read-only too
      if within(m.target, e.target) then m.ro = true end
    end
    self.mounts[#self.mounts + 1] = e
    return
  end
  local kept = {}
  for _, m in ipairs(self.mounts) do
    if within(m.target, e.target) and e.kind ~= "device" then
      m.covered = e
      self.gone[#self.gone + 1] = m
    else
      kept[#kept + 1] = m
    end
  end
  kept[#kept + 1] = e
  self.mounts = kept
end

-- What an overlay has its layers on is of use, even where it is covered then.
function Model:used(o)
  for _, list in ipairs { o.lower or {}, { o.upper, o.work } } do
    for _, path in ipairs(list) do
      path = clean(path):gsub("^/proc/fs/", "/") -- as a recipe's `scratch` names what is in the new root
      for _, e in ipairs(self.mounts) do if within(path, e.target) then e.layer = true end end
    end
  end
end

local function entry(s, kind, target, o)
  return { step = s, kind = kind, target = target, source = o.source and real(o.source) or nil, given = o.source,
    ro = flag_of(o.flags, "ro"), nosuid = flag_of(o.flags, "nosuid"), nodev = flag_of(o.flags, "nodev"),
      nodev_all = has_word(o.flags, "rnodev"),
    noexec = flag_of(o.flags, "noexec"), recursive = o.recursive or false, ro_all = has_word(o.flags, "rro"),
    propagation = o.propagation, idmap = (o.idmap or o.uids or o.gids) and true or nil, options = o }
end

-- What stands for a path inside: a path of the host's, "made" (by a step), nil (nothing), or "unknown"; and the path without
-- links.
function Model:find(path)
  local turns = 0
  local function go(p)
    turns = turns + 1
    if turns > 40 then return nil end
    local at = ""
    for part, rest in p:gmatch("([^/]+)()") do
      local next_at = at .. "/" .. part
      if self.links[next_at] then
        local target = self.links[next_at]
        return go(clean((target:sub(1, 1) == "/" and target or at .. "/" .. target) .. "/" .. p:sub(rest)))
      end
      local e = self:top(next_at)
      if e and e.source and e.kind ~= "device" then
        local host = join(e.source, below(next_at, e.target))
        local st, _, errno = core.lstat(host)
        if not st and self.made[next_at] then st = { type = "directory" } end
        if not st and (errno == core.errno.ENOENT or errno == core.errno.ENOTDIR) then return nil end
        if not st then return "unknown" end
        if st.type == "link" then
          return go(clean((st.target:sub(1, 1) == "/" and st.target or at .. "/" .. st.target) .. "/" .. p:sub(rest)))
        end
      elseif not e or e.kind ~= "tmpfs" or e.options.copyup then
        if not e or e.target ~= next_at then return "unknown" end
      elseif e.target ~= next_at and not self.made[next_at] then
        return nil
      end
      at = next_at
    end
    local e = self:top(p)
    if e and e.source and (e.target == p or not self.made[p]) then return join(e.source, below(p, e.target)), p end
    return "made", p
  end
  return go(clean(path))
end

-- A step has made it, and the directories on the way.
function Model:make(path)
  path = clean(path)
  while path ~= "/" do
    self.made[path] = true
    path = path:match("^(.*)/[^/]*$")
    if path == "" then break end
  end
end

-- Where a path of the host's is seen inside: { at =, mount =, writable = } each.
function Model:shown(host)
  local list = {}
  for _, e in ipairs(self.mounts) do
    if e.source and e.kind ~= "device" and within(host, e.source) and (e.recursive or not self.on_mount(host, e.source)) then
      local at = join(e.target, below(host, e.source))
      local top = self:top(at)
      if top == e or top and top.of == e and top.source then
        list[#list + 1] = { at = at, mount = e, writable = not top.ro and self:landlock(at, "write_file"),
          readable = self:landlock(at, "read_file"), whole = host == e.source }
      end
    end
    for _, lower in ipairs(e.kind == "overlay" and e.options.lower or {}) do -- to be read
      if lower:sub(1, 9) ~= "/proc/fs/" and within(host, real(lower)) then
        local at = join(e.target, below(host, real(lower)))
        if self:top(at) == e then
          list[#list + 1] = { at = at, mount = e, writable = false, readable = self:landlock(at, "read_file"),
            whole = host == real(lower) }
        end
      end
    end
  end
  return list
end

-- Does Landlock allow that right there? path: without links.
function Model:landlock(path, right)
  for _, set in pairs(self.rulesets) do
    if set.restricted and has_word(set.handled, right) then
      local may = false
      for _, r in ipairs(set.rules) do
        if has_word(r.access, right) then
          local _, at = self:find(r.path)
          may = may or within(path, at or r.path)
        end
      end
      if not may then return false end
    end
  end
  return true
end

-- Is it in a Landlock domain? What is outside of it can't be traced then, and no mount be made where files are ruled.
function Model:domain(files)
  for _, set in pairs(self.rulesets) do
    if set.restricted and (not files or #set.handled > 0) then return set end
  end
end

-- The parts of the host's files that are writable: { source =, at =, mount =, directory = } each. What Landlock leaves of a
-- mount is a part.
function Model:areas()
  if self.parts then return self.parts end
  self.parts = {}
  local function add(e, source, at)
    local st = self.here and core.lstat(source)
    self.parts[#self.parts + 1] = { source = source, at = at, mount = e, step = e.step or self.last.exec,
      directory = not self.here or st ~= nil and st.type == "directory" }
  end
  for _, e in ipairs(self.mounts) do
    local upper = e.kind == "overlay" and e.options.upper
    if upper and upper:sub(1, 1) == "/" and upper:sub(1, 9) ~= "/proc/fs/" and not e.ro
      and self:landlock(e.target, "write_file") then
      add(e, real(upper), e.target)
    end
    if (e.kind == "bind" or e.kind == "host") and e.source and not e.ro and not e.fd then
      if self:landlock(e.target, "write_file") then
        if e.kind == "bind" then add(e, e.source, e.target) end -- else the rule about the root tells
      else
        for _, set in pairs(self.rulesets) do
          for _, r in ipairs(set.rules) do
            if has_word(r.access, "write_file") and within(r.path, e.target) and self:top(r.path) == e
              and self:landlock(r.path, "write_file") then
              add(e, real(join(e.source, below(r.path, e.target))), r.path)
            end
          end
        end
      end
    end
  end
  return self.parts
end

-- May the program write to that file of the host's, by who it is?
function Model:may_write(host, e)
  if e and e.idmap then return true end
  if not self.here then return true end
  local st = core.lstat(host)
  if not st then return true end
  if self.kuid == nil then return true end
  if self.kuid == 0 and not self.userns then return true end
  if st.uid == self.kuid then return math.floor(st.mode / 128) % 2 == 1 or st.type == "link" end
  if math.floor(st.mode / 2) % 2 == 1 then return true end
  return self.userns and self.caps.dac_override and self:maps(st.uid) or false
end

-- Is that uid of the host's one of the container's?
function Model:maps(uid)
  for _, m in ipairs(self.uid_map or {}) do
    local from, count = m[2] or m.outside, m[3] or m.count
    if uid >= from and uid < from + count then return true end
  end
  return false
end

-- file:line that asked for a step, or for the recipe as a whole.
function Model:at(s)
  local at = s and plan_module.at(self.plan.steps[s.number])
  return at or self.recipe and self.recipe:locate {} or nil
end

-- ---- the walk ----

local all_capabilities

local function every_capability()
  if not all_capabilities then
    all_capabilities = {}
    for _, w in ipairs(core.primitives.capabilities.fields[1].words) do
      if w ~= "all" then all_capabilities[w] = true end
    end
  end
  return all_capabilities
end

local function set_of(list)
  local set = {}
  for _, w in ipairs(list) do
    if w == "all" then return every_capability() end
    set[w] = true
  end
  return set
end

local function outside(map, id)
  for _, m in ipairs(map) do
    local from, to, count = m[1] or m.inside, m[2] or m.outside, m[3] or m.count
    if id >= from and id < from + count then return to + id - from end
  end
end

M.outside = outside

local walk = {}

walk["root.bind"] = function(m, s, o)
  local tree = o.fd and m.trees[o.fd]
  m.mounts, m.new_root, m.root = {}, true, s
  local e = entry(s, "bind", "/", tree or o)
  e.root = true
  m:cover(e)
end
walk["root.tmpfs"] = function(m, s, o)
  m.mounts, m.new_root, m.root = {}, true, s
  m:cover(entry(s, "tmpfs", "/", o))
end
walk["root.overlay"] = function(m, s, o)
  m:used(o)
  m.mounts, m.new_root, m.root = {}, true, s
  m:cover(entry(s, "overlay", "/", o))
end
walk["mount.tree"] = function(m, _, o) m.trees[o.tree] = o end
walk["root.enter"] = function() end

walk["mount.bind"] = function(m, s, o)
  local tree = o.fd and m.trees[o.fd]
  local e = entry(s, "bind", o.target, tree or o)
  e.fd = o.fd and not tree and o.fd or nil
  e.propagation = o.propagation or e.propagation
  if tree then -- the flags of either
    for _, k in ipairs { "ro", "nosuid", "nodev", "noexec" } do e[k] = e[k] or flag_of(o.flags, k) end
  end
  m:mount_point(s, e)
  m:cover(e)
end

for _, kind in ipairs { "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "overlay", "fs" } do
  walk["mount." .. kind] = function(m, s, o)
    local e = entry(s, kind, o.target, o)
    e.source, e.fs = nil, kind == "fs" and o.type or nil
    if kind == "overlay" then m:used(o) end
    if kind == "fs" and (o.type == "proc" or o.type == "sysfs" or o.type == "tmpfs") then e.kind = o.type end
    if kind == "fs" and (o.type == "cgroup" or o.type == "cgroup2") then e.kind = "cgroup" end
    m:mount_point(s, e)
    m:cover(e)
  end
end

walk["mount.flags"] = function(m, _, o)
  local path = clean(o.path)
  for _, e in ipairs(m.mounts) do
    if e.target == path then
      for _, k in ipairs { "ro", "nosuid", "nodev", "noexec" } do e[k] = e[k] or flag_of(o.flags, k) end
      if has_word(o.flags, "rw", "rrw") then e.ro = false end
    end
  end
end
walk["mount.propagation"] = function(m, s, o)
  m.propagations[#m.propagations + 1] = { step = s, path = clean(o.path), word = o.propagation }
end
walk["mount.remove"] = function(m, _, o)
  for i = #m.mounts, 1, -1 do
    if within(m.mounts[i].target, clean(o.path)) then table.remove(m.mounts, i) end
  end
end
walk["mask"] = function(m, s, o)
  s.missing = m.here and m:find(o.path) == nil
  m:cover { step = s, kind = "mask", target = o.path, ro = true, options = o }
end
walk["readonly"] = function(m, s, o)
  s.missing = m.here and m:find(o.path) == nil
  m:cover { step = s, kind = "readonly", target = o.path, options = o, nosuid = true, nodev = true, noexec = true }
end
walk["root.readonly"] = function(m, _, o)
  for _, e in ipairs(m.mounts) do
    if e.target == "/" and not (o.flags and not has_word(o.flags, "ro", "rro")) then e.ro = true end
  end
end
walk["pivot_root"] = function(m) m.pivoted = true end
walk["root.move"] = function(m, s) m.moved = s end

walk["symlink"] = function(m, _, o)
  m:make(o.at:match("^(.*)/[^/]*$") or "/")
  m.links[clean(o.at)] = o.target
end
walk["mkdir"] = function(m, _, o) m:make(o.path) end
walk["file"] = function(m, s, o)
  m:make(o.path)
  if o.mount then m:cover { step = s, kind = "file", target = o.path, options = o } end
end
local function device(m, s, o)
  m:make(o.path)
  m.devices[#m.devices + 1] = { step = s, path = clean(o.path), options = o }
end
walk["device"], walk["mknod"] = device, device

walk["clone"] = function(m, s, o)
  m.clone = s
  for _, n in ipairs(o.namespaces or {}) do m.new[n] = true end
  if m.new.user then m:enter_userns() end
end
walk["namespace.unshare"] = function(m, _, o)
  for _, n in ipairs(o.namespaces or {}) do m.new[n] = true end
  if m.new.user and not m.userns then m:enter_userns() end
end
walk["namespace.join"] = function(m, s, o)
  for _, n in ipairs(o.namespaces or {}) do
    if not (n == "mount" and m.new.mount) then m.joined[n] = s end
  end
  if m.joined.user then m:enter_userns() end
end
walk["idmap"] = function(m, s, o)
  m.idmap, m.uid_map, m.gid_map = s, o.uid, o.gid
  for _, e in ipairs(o.uid) do
    local from, to, count = e[1] or e.inside, e[2] or e.outside, e[3] or e.count
    if m.identity.euid >= to and m.identity.euid < to + count then m.uid = from + m.identity.euid - to end
  end
end
walk["namespace.limit"] = function(m, s) m.limit_userns = s end

walk["uid"] = function(m, s, o)
  if s.phase ~= "idmap" and m.uid == 0 and o.uid ~= 0 and not o.keep_capabilities then
    m.permitted, m.ambient = {}, {}
  end
  m.uid, m.uid_step = o.uid, s
end
walk["groups"] = function(m, s, o) m.groups = { step = s, list = o.groups } end
walk["capabilities"] = function(m, s, o)
  for _, k in ipairs { "bounding", "permitted", "inheritable", "ambient" } do
    if o[k] then m[k] = set_of(o[k]) end
  end
  m.caps_step = s
end
walk["securebits"] = function(m, _, o) m.noroot = has_word(o.flags, "noroot") or m.noroot end

for _, name in ipairs { "no_new_privs", "session", "tty", "keyring", "oom_score_adj", "scheduler",
  "exec",
  "chdir", "apparmor", "selinux" } do
  walk[name] = function(m, s) m.last[name] = s end
end
walk["landlock.ruleset"] = function(m, s, o)
  m.scope = m.scope or has_word(o.scope, "abstract_unix_socket") and s or nil
  m.rulesets[o.ruleset or ""] = { step = s, handled = o.fs or {}, rules = {} }
end
walk["landlock.path"] = function(m, _, o)
  local set = m.rulesets[o.ruleset or ""]
  if set then set.rules[#set.rules + 1] = { path = clean(o.path), access = o.access } end
end
walk["landlock.restrict"] = function(m, _, o)
  local set = m.rulesets[o.ruleset or ""]
  if set then set.restricted = true end
end
walk["seccomp"] = function(m, s, o) m.filters[#m.filters + 1] = { step = s, program = o.program, listener = o.listener } end
walk["rlimit"] = function(m, s, o) m.rlimits[o.resource] = { step = s, soft = o.soft, hard = o.hard } end
walk["cgroup.set"] = function(m, s, o)
  m.limits[o.file] = { step = s, value = o.value }
  if o.file == "devices.allow" then
    m:device_rule(s, o.value)
    for _, rule in ipairs(o.more or {}) do m:device_rule(s, rule) end
  end
end
walk["cgroup.devices"] = function(m, s, o)
  m.limits.devices = { step = s }
  for _, r in ipairs(o.rules or {}) do m:device_rule(s, r) end
end
walk["systemd.scope"] = function(m, s, o) m.limits.scope = { step = s, properties = table.concat(o.properties or {},
  "\n") } end
walk["lua"] = function(m, s) if s.side == "child" then m.functions[#m.functions + 1] = s end end

-- A rule that opens all devices, or all disks.
function Model:device_rule(s, text)
  if text:find "^a" or text:find "%f[%a][ab] %*:%* %a*[rw]" then self.devices_open = s end
end

-- All rights there, until something takes them.
function Model:enter_userns()
  self.userns, self.permitted, self.bounding = true, every_capability(), every_capability()
end

-- A mount's place has to be there, or to be made where a file system is that can be written to.
function Model:mount_point(s, e)
  if s.optional or not self.here then return end
  local path = clean(e.target)
  local under = self:top(path)
  if under and under.source and under.ro and self:find(path) == nil then
    self.unmade[#self.unmade + 1] = { step = s, target = path, under = under }
  end
  self:make(path)
end

---What a plan's container will be.
---@param built table|caisson.Plan  what Recipe:build answers, or a plan
---@param opts? { here?: boolean, identity?: table }
---@return caisson.check.Model
function M.of(built, opts)
  opts = opts or {}
  local plan = plan_module.is(built) and built or built.plan
  local m = setmetatable({ plan = plan, built = not plan_module.is(built) and built or nil, new = {}, joined = {},
    mounts = {},
    gone = {}, links = {}, made = {}, devices = {}, trees = {}, filters = {}, rlimits = {}, limits = {}, last = {},
    functions = {}, propagations = {}, unmade = {}, rulesets = {}, steps = plan:compile():steps(), here = opts.here ~= false,
    identity = opts.identity or core.identity() }, Model)
  m.options, m.recipe = m.built and m.built.options or {}, m.built and m.built.recipe or nil
  m.uid = m.identity.euid
  m.permitted = m.uid == 0 and every_capability() or {}
  m.bounding, m.inheritable, m.ambient = every_capability(), {}, {}
  local points = m.here and require("caisson.machine").mount_points() or {}
  -- Is there a mount of the host's between a directory and what is below it?
  function m.on_mount(path, dir)
    for _, p in ipairs(points) do
      if p ~= dir and within(p, dir) and within(path, p) then return p end
    end
  end
  -- Is anything mounted below a directory of the host's?
  function m.mounts_below(dir)
    for _, p in ipairs(points) do if p ~= dir and within(p, dir) then return p end end
  end
  m:cover { step = nil, kind = "host", target = "/", source = "/", recursive = true, options = {} }
  for i, s in ipairs(m.steps) do
    local own = plan.steps[i]
    s.number, s.phase = i, own.phase
    if walk[s.step] then walk[s.step](m, s, s.options) end
  end
  if m.new.user then
    m.kuid = m.uid_map and outside(m.uid_map, m.uid)
  elseif not m.joined.user then
    m.kuid = m.uid
  end
  -- what exec makes of it
  m.caps = {}
  for c in pairs(m.uid == 0 and not m.noroot and m.bounding or m.ambient) do m.caps[c] = true end
  if m.uid == 0 and not m.noroot then for c in pairs(m.inheritable) do m.caps[c] = true end end
  m.answers = require("caisson.policy.answers").of((function()
    local list = {}
    for i, f in ipairs(m.filters) do list[i] = f.program end
    return list
  end)())
  -- root of the host's, as files and settings see it
  m.host_root = m.kuid == 0
  m.real_root = m.kuid == 0 and not m.userns
  return m
end

-- Has it a capability that counts outside of it?
function Model:real(cap) return not self.userns and self.caps[cap] or false end

-- Does any answer to a call, with these arguments or some, let it through?
function Model:passes(call, args)
  if #self.filters == 0 then return true end
  local answer = args and self.answers:decide(call, args) or self.answers:text(call)
  return answer ~= nil and (answer:find("allow", 1, true) or answer:find "^log" or answer:find " log") ~= nil
end

-- The step of the (last) filter, or the program's.
function Model:filter_step()
  local f = self.filters[#self.filters]
  return f and f.step or nil
end

return M
