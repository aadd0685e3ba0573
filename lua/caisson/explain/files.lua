-- Why a file was denied: its mount, Landlock, its mode.
local core = require "caisson.core"
local of_recipe = require "caisson.explain.recipe"

local show = of_recipe.show

local M = {}

-- ---- mounts ----

local function unescape(s)
  return (s:gsub("\\(%d%d%d)", function(n) return string.char(tonumber(n, 8)) end))
end

local function within(path, dir)
  return dir == "/" or path == dir or path:sub(1, #dir + 1) == dir .. "/"
end

-- The mount that a path of the container's is on: { point, options, super, type }.
local function mount_of(tid, path)
  local best
  for line in of_recipe.read(("/proc/%d/mountinfo"):format(tid)):gmatch "[^\n]+" do
    local point, options, kind, super = line:match "^%S+ %S+ %S+ %S+ (%S+) (%S+).- %- (%S+) %S+ (%S+)"
    point = point and unescape(point)
    if point and within(path, point) and (not best or #point >= #best.point) then
      best = { point = point, options = "," .. options .. ",", super = "," .. super .. ",", type = kind }
    end
  end
  return best
end

local function target_of(step)
  local o = step.options
  if step.step == "root.readonly" or step.step == "root.tmpfs" or step.step == "root.bind" or step.step == "root.overlay" then
    return "/"
  elseif step.step:find "^mount%." and step.step ~= "mount.propagation" and step.step ~= "mount.tree" then
    return o.target or o.path
  elseif step.step == "readonly" or step.step == "mask" or step.step == "device" then
    return o.path
  end
end

-- The step of the plan that made a mount, or the one above it: the last of those that lie deepest.
local function step_of(b, point)
  local best, best_target
  for _, step in ipairs(b.plan.steps) do
    local target = target_of(step)
    if type(target) == "string" then
      target = target:gsub("/+$", ""):gsub("^$", "/")
      if within(point, target) and (not best or #target >= #best_target) then best, best_target = step, target end
    end
  end
  return best, best_target
end

local function cause(kind, why, fields)
  local c = { kind = kind, why = why }
  for k, v in pairs(fields or {}) do c[k] = v end
  return c
end

local function parent(path)
  local dir = path:match "^(.*)/[^/]+$" or ""
  return dir == "" and "/" or dir
end

-- What the mount is, as the recipe has it, with what it takes to have a word of its flags go.
local function mount_cause(ctx, path, what, fields, why)
  local b = ctx.spec.built
  local mount = mount_of(ctx.tid, path)
  if not mount then return nil end
  if what == "ro" and not mount.options:find ",ro," and mount.super:find ",ro," then
    return cause("mount", ("%s lies on a filesystem that is read-only for everybody (%s)"):format(path, mount.type))
  end
  if not mount.options:find("," .. what .. ",", 1, true) then return nil end
  local step, target = step_of(b, mount.point)
  if not step then return cause("mount", why:format(mount.point)) end
  local key = step.key or step.step
  local entry, rule = of_recipe.entry(b, key)
  local c = cause("mount", why:format(mount.point),
    { at = require("caisson.plan").at(step), rule = entry ~= nil and ("%s = %s"):format(rule, show(entry)) or step.step })
  if step.step == "mask" then
    c.kind, c.why = "masked", mount.point .. " is masked"
    c.fix = ("masked: without %s"):format(show(target))
  elseif step.step == "readonly" then
    c.fix = ("readonly: without %s"):format(show(target))
  elseif target == "/" then
    local st = core.lstat(ctx.root .. path)
    local dir = st and st.type == "directory" and path or parent(path)
    if dir == "/" and ctx.name:find "^mkdir" then dir = path end
    -- what is there already stays to be seen
    local there = #(core.list(ctx.root .. dir) or {}) > 0
    c.rule = step.step == "root.readonly" and "readonly_root = true" .. (entry == nil and ", as by default" or "") or c.rule
    local tmpfs = ("mounts = { { tmpfs = %s%s } }"):format(show(dir), there and ", copyup = true" or "")
    c.fix = what == "ro" and (dir ~= "/" and tmpfs or "readonly_root = false") or nil
  elseif type(entry) == "table" and key:find "^mounts/" then
    local new = {}
    for k, v in pairs(fields) do new[k] = v end
    -- flags that say so go
    if entry.flags then
      new.flags = {}
      for _, f in ipairs(entry.flags) do
        if f ~= what and f ~= "r" .. what then new.flags[#new.flags + 1] = f end
      end
    end
    -- of a recipe such as the sandbox, which has a parameter for that; what never says it is not what that is for
    local origin = what == "ro" and entry.writable == false and b.origins[key]
    local own = origin and origin.recipe.params.write
    c.fix = (own and own[1] == "boolean" and "the parameter write=yes; or " or "") .. "mounts: " .. of_recipe.with(entry, new)
  end
  return c
end

function M.read_only(ctx, path)
  return mount_cause(ctx, path, "ro", { writable = true }, "%s is mounted read-only")
end

function M.no_exec(ctx, path)
  return mount_cause(ctx, path, "noexec", { exec = true }, "nothing on %s may be executed (noexec)")
end

-- A device's file on a mount without devices.
function M.no_device(ctx, path)
  local st = core.lstat(ctx.root .. path)
  if not st or (st.type ~= "char" and st.type ~= "block") then return nil end
  local c = mount_cause(ctx, path, "nodev", { dev = true }, "no device on %s works (nodev)")
  if c and c.kind ~= "masked" then c.fix = ("devices = { %s }"):format(show(path)) end
  return c
end

-- The recipe's own mask, for what it hides.
function M.masked(ctx, path)
  local mount = mount_of(ctx.tid, path)
  local step = mount and step_of(ctx.spec.built, mount.point)
  if not step or step.step ~= "mask" or not within(path, step.options.path) then return nil end
  return cause("masked", step.options.path .. " is masked", { at = require("caisson.plan").at(step),
    rule = ("masked = { %s }"):format(show(step.options.path)), fix = ("masked: without %s"):format(show(step.options.path)) })
end

-- What has no room for another file.
function M.full(ctx, path)
  local mount = mount_of(ctx.tid, path)
  local step = mount and step_of(ctx.spec.built, mount.point)
  if not step or mount.type ~= "tmpfs" then return nil end
  local entry, rule = of_recipe.entry(ctx.spec.built, step.key or step.step)
  return cause("mount", mount.point .. " is full: its size or number of files is limited", {
    at = require("caisson.plan").at(step), rule = entry ~= nil and ("%s = %s"):format(rule, show(entry)) or nil,
    fix = type(entry) == "table" and "mounts: " .. of_recipe.with(entry, { size = "256M" }) or nil })
end

-- ---- Landlock ----

local O_CREAT, O_TRUNC, O_PATH = 64, 512, 2097152

local function has(v, bit) return math.floor(v / bit) % 2 == 1 end

local function type_of(ctx, path) return (core.lstat(ctx.root .. path) or {}).type end

local removes = { unlink = true, unlinkat = true, rename = true, renameat = true, renameat2 = true }
local makes = { mkdir = "make_dir", mkdirat = "make_dir", symlink = "make_sym", symlinkat = "make_sym", mknod = "make_reg",
  mknodat = "make_reg", bind = "make_sock" }

-- The rights that a call needs of a path, and whether it is of the directory around it.
local function rights_needed(ctx, call, p, i)
  local name, kind = call.name, type_of(ctx, p.path)
  if name == "execve" or name == "execveat" then return { "execute" } end
  if makes[name] then return { makes[name] }, true end
  if name == "rmdir" then return { "remove_dir" }, true end
  if removes[name] then
    local list = { kind == "directory" and "remove_dir" or "remove_file" }
    if name:find "^rename" then
      list = i == 1 and { list[1], "refer" } or { kind == "directory" and "make_dir" or "make_reg", "refer" }
    end
    return list, true
  end
  if name == "link" or name == "linkat" then return i == 1 and { "refer" } or { "make_reg", "refer" }, true end
  if name == "truncate" then return { "truncate" } end
  if name:find "^open" or name == "creat" then
    local flags = name == "creat" and 577 or name == "open" and call:int(2) or name == "openat" and call:int(3) or 0
    flags = flags % 4294967296
    if has(flags, O_PATH) then return {} end
    if has(flags, O_CREAT) and not kind then return { "make_reg", "write_file" }, true end
    local list = {}
    if flags % 4 ~= 1 then list[1] = kind == "directory" and "read_dir" or "read_file" end
    if flags % 4 ~= 0 then list[#list + 1] = "write_file" end
    if has(flags, O_TRUNC) then list[#list + 1] = "truncate" end
    return list
  end
  return {}
end

local option_of = { read_file = "read", read_dir = "read", execute = "execute" }

-- The rulesets of the plan: { handled =, rules = { { path, access } }, ports =, at = }.
local function rulesets(b)
  local list = {}
  for _, step in ipairs(b.plan.steps) do
    local o = step.options
    if step.step == "landlock.ruleset" then
      list[#list + 1] = { fs = o.fs or {}, net = o.net or {}, scope = o.scope or {}, rules = {}, ports = {},
        at = require("caisson.plan").at(step), key = step.key }
    elseif step.step == "landlock.path" and #list > 0 then
      table.insert(list[#list].rules, o)
    elseif step.step == "landlock.port" and #list > 0 then
      table.insert(list[#list].ports, o)
    end
  end
  return list
end

local function contains(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

local function covered(call, rules, path, right)
  for _, r in ipairs(rules) do
    local place = call:resolve(r.path, nil, true) or r.path
    if within(path, place) and contains(r.access, right) then return true end
  end
  return false
end

-- Which right is missing for the path, by which ruleset.
function M.landlock(ctx, call, p, i)
  for _, set in ipairs(rulesets(ctx.spec.built)) do
    local needed, around = rights_needed(ctx, call, p, i)
    local place = around and parent(p.path) or p.path
    for _, right in ipairs(needed) do
      -- to link or move from one directory to another is denied by every ruleset that does not allow it
      local handled = contains(set.fs, right) or right == "refer" and #set.fs > 0
      if handled and not covered(call, set.rules, place, right) then
        return cause("landlock", ("Landlock: no rule gives %s for %s"):format(right, place), { at = set.at,
          rule = "landlock", fix = ("landlock: %s = { %s }"):format(option_of[right] or "write", show(place)) })
      end
    end
  end
end

-- The same for a TCP port.
function M.landlock_port(ctx, what, port)
  for _, set in ipairs(rulesets(ctx.spec.built)) do
    if contains(set.net, what .. "_tcp") then
      local found = false
      for _, p in ipairs(set.ports) do found = found or p.port == port and contains(p.access, what .. "_tcp") end
      if not found then
        return cause("landlock", ("Landlock: no rule lets it %s to port %d"):format(what, port), { at = set.at, rule = "landlock",
          fix = ("landlock: %s = { %d }"):format(what, port) })
      end
    end
  end
end

function M.landlock_scope(ctx, what)
  for _, set in ipairs(rulesets(ctx.spec.built)) do
    if contains(set.scope, what) then
      return cause("landlock", ("Landlock: %s of processes outside the container is out of its scope"):format(
        what == "signal" and "signalling" or "an abstract unix socket"), { at = set.at, rule = "landlock.scope" })
    end
  end
end

-- ---- modes ----

local CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
local bits = { r = 4, w = 2, x = 1 }

local function may(creds, st, what)
  local mode, bit = st.mode, bits[what]
  local mapped = of_recipe.is_mapped(creds, "uid", st.uid) and of_recipe.is_mapped(creds, "gid", st.gid)
  if mapped and of_recipe.has_bit(creds.caps, CAP_DAC_OVERRIDE) then
    local executable = has(mode, 1) or has(mode, 8) or has(mode, 64)
    if what ~= "x" or st.type == "directory" or executable then return true end
  end
  if mapped and what ~= "w" and (what == "r" or st.type == "directory")
    and of_recipe.has_bit(creds.caps, CAP_DAC_READ_SEARCH) then
    return true
  end
  local class = st.uid == creds.uid and 64 or (st.gid == creds.gid or creds.groups[st.gid]) and 8 or 1
  return has(math.floor(mode / class) % 8, bit)
end

local words = { r = "read", w = "write to", x = "execute" }

local function id(tid, kind, n)
  local inside = of_recipe.id_inside(tid, kind, n)
  if inside then return tostring(inside) end
  return ("%d of the host, nobody inside"):format(n)
end

local function mode_cause(ctx, path, st, what, creds)
  local c = cause("mode", ("the file's mode: %s is %04o and of uid %s, gid %s; uid %s may not %s it"):format(path, st.mode % 4096,
    id(ctx.tid, "uid", st.uid), id(ctx.tid, "gid", st.gid), id(ctx.tid, "uid", creds.uid),
    what == "x" and st.type == "directory" and "enter" or words[what]))
  if st.type == "directory" and what == "x" then c.why = c.why:gsub("^the file's", "the directory's") end
  if not of_recipe.is_mapped(creds, "uid", st.uid) then
    c.fix = ("idmap: a range with uid %d, or on the host: chmod or chown"):format(st.uid)
  else
    c.fix = ("on the host: chmod or chown; or run as its owner: user = %s"):format(id(ctx.tid, "uid", st.uid))
  end
  return c
end

-- The first file or directory on the way that does not let this thread by. what: of the last one: { "r", "w", "x" };
-- changes: it is made, renamed or removed, so that it is its directory that counts.
function M.mode(ctx, path, what, changes)
  local creds = ctx.creds
  local at = ""
  local dirs = {}
  for name in path:gmatch "[^/]+" do dirs[#dirs + 1] = name end
  local st = core.lstat(ctx.root .. "/")
  for i = 0, #dirs do
    local last = i == #dirs
    if i > 0 then
      at = at .. "/" .. dirs[i]
      st = core.lstat(ctx.root .. at)
    end
    local shown = at == "" and "/" or at
    if not st then return nil end
    if not last then
      if not may(creds, st, "x") then return mode_cause(ctx, shown, st, "x", creds) end
      if i == #dirs - 1 and changes and not may(creds, st, "w") then return mode_cause(ctx, shown, st, "w", creds) end
    elseif not changes then
      for _, w in ipairs(what) do
        if not may(creds, st, w) then return mode_cause(ctx, shown, st, w, creds) end
      end
    end
  end
end

return M
