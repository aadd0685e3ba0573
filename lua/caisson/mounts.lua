-- A container's files: a recipe's `root`, `mounts`, `devices`, `masked` and `readonly` into steps. For caisson.build,
-- and for mounts of a container that is there already (caisson.live).
local config = require "caisson.config"
local core = require "caisson.core"
local payload = require "caisson.payload"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

local function key_of(...)
  return table.concat({ ... }, "/")
end

local function has(list, word)
  for _, v in ipairs(list) do if v == word then return true end end
  return false
end

-- A mount's attributes: its own flags or else the kind's, on top of which writable, exec, suid and dev say
-- yes or no.
local attributes_of = { writable = "ro", exec = "noexec", suid = "nosuid", dev = "nodev" }

local function flag_words(b, key, m, default)
  local list, drop = {}, {}
  for name, word in pairs(attributes_of) do
    if m[name] ~= nil then drop[word] = b:check_type(key_of(key, name), m[name], "boolean") end
  end
  if m.flags ~= nil then b:check_type(key_of(key, "flags"), m.flags, "table") end
  for _, f in ipairs(m.flags or default) do if not drop[f] then list[#list + 1] = f end end
  for _, word in ipairs { "ro", "nosuid", "nodev", "noexec" } do
    if drop[word] == false and not has(list, word) then list[#list + 1] = word end
  end
  return list
end

-- What of the table a primitive takes.
local function pick(m, ...)
  local t = {}
  for _, k in ipairs { ... } do t[k] = m[k] end
  return t
end

local mount_kinds = {}

-- Do all directories on the way to path let everybody through? known: those that were looked at.
local function is_open_to_all(path, known)
  local dir = (core.realpath(path) or path):match("^(.*)/[^/]*$")
  while dir and dir ~= "" do
    if known[dir] == nil then
      local st = core.lstat(dir)
      known[dir] = st ~= nil and st.mode % 2 == 1
    end
    if not known[dir] then return false end
    dir = dir:match("^(.*)/[^/]*$")
  end
  return true
end

-- Is anything mounted below path? places: of all mounts.
local function has_mounts_below(path, places)
  path = (core.realpath(path) or path):gsub("/$", "") .. "/"
  for _, place in ipairs(places) do
    if place ~= "/" and place:sub(1, #path) == path then return true end
  end
  return false
end

-- Does the source of a bind take the rights that root has outside alone? There mounts are locked to what they cover.
local function needs_outside(b, o)
  if not b.new.user or o.fd then return false end
  if o.idmap or o.uids or o.gids then return true end
  if b.identity.euid ~= 0 then return false end
  b.open_to_all = b.open_to_all or {}
  if not is_open_to_all(o.source, b.open_to_all) then return true end
  if o.recursive then return false end
  b.places_of_mounts = b.places_of_mounts or require("caisson.machine").mount_points()
  return has_mounts_below(o.source, b.places_of_mounts)
end

-- An id map takes the host's rights, as may the way to the source, which a container in a user namespace of its own
-- has not: the tree is made out here, before it is born.
local function made_outside(b, key, o)
  local slot = "tree." .. key:gsub("/", ".")
  local tree = { tree = slot }
  for _, k in ipairs { "source", "flags", "recursive", "idmap", "uids", "gids", "idmap_top", "nofollow" } do
    tree[k], o[k] = o[k], nil
  end
  local step = b:step(key, "mount.tree", tree, { side = "parent", phase = "clone" })
  table.remove(b.plan.steps)
  b.plan:before("clone", step)
  o.fd = slot
end

-- exact: as `flags` and `recursive` say, and no more.
local function bind(b, key, m, source, recursive)
  if m.exact then
    local o = pick(m, "flags", "recursive", "idmap", "uids", "gids", "idmap_top", "propagation", "nofollow", "fd",
      "target_nofollow")
    o.source, o.target = source, m.at or source
    if needs_outside(b, o) then made_outside(b, key, o) end
    b:step(key, "mount.bind", o, { optional = m.optional })
    return
  end
  local flags = flag_words(b, key, m, { "nosuid", "nodev" })
  if not m.writable and not has(flags, "ro") and not has(flags, "rw") then flags[#flags + 1] = "ro" end
  -- what is mounted below is no less protected than what is on top
  if recursive then for i, f in ipairs(flags) do flags[i] = "r" .. f end end
  local map = m.idmap
  if map == "user" then
    -- the directory's owner appears as the program's user
    local st = core.lstat(core.realpath(source) or source)
    local uid, gid = b:payload_ids()
    if st and b.identity.euid == 0 and not b.new.user and (st.uid ~= uid or st.gid ~= gid) then
      map = { { st.uid, uid, 1 } }
      if st.uid ~= st.gid or uid ~= gid then
        b:fail(key, "idmap = \"user\" needs the same number as uid and gid, of the owner and of the program's user")
      end
    else
      map = nil
    end
  end
  -- Outside, what the program writes there belongs to whom the map says, root maybe, or to who starts it.
  local writes = not has(flags, "ro") and not has(flags, "rro")
  if writes and (has(flags, "nosuid") or has(flags, "rnosuid")) -- suid = true: they are wanted
    and (map and not b.new.user or b.identity.euid ~= 0) then
    b.no_setuid = key
  end
  b:step(key, "mount.bind", { source = source, target = m.at or source, flags = flags, recursive = recursive or nil,
    idmap = map, propagation = m.propagation, nofollow = m.nofollow, fd = m.fd,
    target_nofollow = m.target_nofollow }, { optional = m.optional })
end

function mount_kinds.bind(b, key, m) bind(b, key, m, b:check_type(key, m.bind, "string"), true) end

function mount_kinds.fd(b, key, m) bind(b, key, m, nil, true) end

-- A size in bytes, or "64M".
local function bytes(b, key, v)
  if type(v) ~= "string" then return v end
  local n, expected = require("caisson.params").types.size(v)
  return n or b:fail(key_of(key, "size"), ("%s expected, got '%s'"):format(expected, v))
end

function mount_kinds.tmpfs(b, key, m)
  local o = pick(m, "size", "mode", "nr_inodes", "uid", "gid", "copyup", "covered_mode", "source", "options",
    "target_nofollow")
  o.label = m.label or b.options.mount_label
  o.size = bytes(b, key, m.size)
  o.target, o.flags = m.tmpfs, flag_words(b, key, m, { "nosuid", "nodev" })
  b:step(key, "mount.tmpfs", o, { optional = m.optional })
end

-- label: can its files have one?
local function filesystem(kind, label, default_flags, ...)
  local fields = { ... }
  mount_kinds[kind] = function(b, key, m)
    local o = pick(m, unpack(fields))
    o.target = b:check_type(key, m[kind], "string")
    if label then o.label = m.label or b.options.mount_label end
    o.flags = flag_words(b, key, m, default_flags)
    b:step(key, "mount." .. kind, o, { optional = m.optional })
  end
end

filesystem("proc", false, { "nosuid", "nodev", "noexec" }, "hidepid", "subset")
filesystem("sysfs", false, { "nosuid", "nodev", "noexec", "ro" })
filesystem("devpts", true, { "nosuid", "noexec" }, "mode", "gid", "target_nofollow")
filesystem("mqueue", true, { "nosuid", "nodev", "noexec" }, "target_nofollow")
filesystem("cgroup", false, { "nosuid", "nodev", "noexec", "ro" }, "target_nofollow")
filesystem("overlay", true, { "nosuid", "nodev" }, "lower", "upper", "work", "options", "target_nofollow")

-- scratch = size: what is changed is in memory and goes with the container, in a tmpfs that the overlay covers.
-- idmap = "user": the one directory below, and what is made in it, belong to the program's user.
local plain_overlay = mount_kinds.overlay
function mount_kinds.overlay(b, key, m)
  if not m.scratch then
    if m.idmap then b:fail(key .. "/idmap", "it is of an overlay with scratch") end
    return plain_overlay(b, key, m)
  end
  if m.upper or m.work then b:fail(key .. "/scratch", "changes go there, or to upper and work: one of the two") end
  if m.idmap and (m.idmap ~= "user" or type(m.lower) ~= "table" or #m.lower ~= 1) then
    b:fail(key .. "/idmap", "\"user\" expected, and one directory in lower")
  end
  local at, extra, o = b:check_type(key, m.overlay, "string"), { optional = m.optional }, {}
  for k, v in pairs(m) do o[k] = v end
  local uid, gid = b:payload_ids()
  mount_kinds.tmpfs(b, key, { tmpfs = at, size = m.scratch, mode = "0700", optional = m.optional })
  b:step(key, "mkdir", { path = at .. "/upper", uid = m.idmap and uid, gid = m.idmap and gid }, extra)
  b:step(key, "mkdir", { path = at .. "/work" }, extra)
  o.upper, o.work = b.root_at .. at .. "/upper", b.root_at .. at .. "/work"
  if m.idmap then
    mount_kinds.bind(b, key, { bind = m.lower[1], at = at .. "/lower", idmap = "user", optional = m.optional })
    o.lower = { b.root_at .. at .. "/lower" }
  end
  plain_overlay(b, key, o)
end

function mount_kinds.fs(b, key, m)
  local o = pick(m, "type", "source", "options", "target_nofollow")
  o.label = m.label or b.options.mount_label
  o.target, o.flags = m.fs, flag_words(b, key, m, { "nosuid", "nodev" })
  b:step(key, "mount.fs", o, { optional = m.optional })
end

-- What is mounted there already, with other flags; late: when all else of the root is made.
function mount_kinds.remount(b, key, m)
  if m.late and not b.late then
    b.later[#b.later + 1] = { key, m }
    return
  end
  b:step(key, "mount.flags", { path = m.remount, flags = m.flags }, { optional = m.optional })
end

function mount_kinds.propagate(b, key, m)
  b:step(key, "mount.propagation", { path = m.propagate, propagation = m.propagation }, { optional = m.optional })
end

-- The control groups, all hierarchies of them, as the container's programs expect them there.
function mount_kinds.cgroups(b, key, m) require("caisson.cgroup.mount").steps(b, key, m) end

-- Of a file that a recipe and one that it extends both make, the later is made.
function mount_kinds.file(b, key, m)
  local steps = b.plan.steps
  for i, s in ipairs(steps) do
    if s.step == "file" and s.options.path == m.file and s.phase == "rootfs" then
      table.remove(steps, i)
      break
    end
  end
  b:step(key, "file", { path = m.file, data = m.data or "", mode = m.mode }, { optional = m.optional })
end

function mount_kinds.symlink(b, key, m)
  b:step(key, "symlink", { target = m.symlink, at = m.at, existing = m.existing, replace = m.replace }, { optional = m.optional })
end

function mount_kinds.dir(b, key, m)
  b:step(key, "mkdir", { path = m.dir, mode = m.mode, uid = m.uid, gid = m.gid }, { optional = m.optional })
end

function mount_kinds.device(b, key, m)
  local o = pick(m, "type", "major", "minor", "mode", "uid", "gid", "source")
  o.path = m.device
  b:step(key, "device", o, { optional = m.optional })
end

-- What each kind takes, beside itself and `optional`.
local with_flags = { "flags", "writable", "exec", "suid", "dev" }
local kind_keys = {
  bind = { "at", "idmap", "propagation", "nofollow", "target_nofollow", "fd", "exact",
    "recursive", "uids", "gids", "idmap_top", with_flags },
  remount = { "flags", "late" },
  propagate = { "propagation" },
  cgroups = { "flags", "writable" },
  fd = { "at", "idmap", "propagation", "target_nofollow", with_flags },
  tmpfs = { "size", "mode", "nr_inodes", "uid", "gid", "copyup", "covered_mode", "source", "options", "label", "target_nofollow",
    with_flags },
  proc = { "hidepid", "subset", with_flags },
  sysfs = { with_flags },
  devpts = { "mode", "gid", "label", "target_nofollow", with_flags },
  mqueue = { "label", "target_nofollow", with_flags },
  cgroup = { "target_nofollow", with_flags },
  overlay = { "lower", "upper", "work", "scratch", "idmap", "options", "label", "target_nofollow", with_flags },
  fs = { "type", "source", "options", "label", "target_nofollow", with_flags },
  file = { "data", "mode" },
  symlink = { "at", "existing", "replace" },
  dir = { "mode", "uid", "gid" },
  device = { "type", "major", "minor", "mode", "uid", "gid", "source" },
}
for kind, keys in pairs(kind_keys) do
  if keys[#keys] == with_flags then
    keys[#keys] = nil
    for _, k in ipairs(with_flags) do keys[#keys + 1] = k end
  end
  keys[#keys + 1] = kind
  keys[#keys + 1] = "optional"
end

M.kinds = kind_keys

local kind_list = {}
for k in pairs(mount_kinds) do kind_list[#kind_list + 1] = k end
table.sort(kind_list)

-- The steps of one entry of `mounts`.
function M.entry(b, key, m)
  b:check_type(key, m, "table")
  local kind
  for _, k in ipairs(kind_list) do
    if m[k] ~= nil and not (k == "fd" and m.bind) then
      if kind then b:fail(key, ("one of %s expected, got both %s and %s"):format(table.concat(kind_list, ", "), kind, k)) end
      kind = k
    end
  end
  if not kind then b:fail(key, "what kind of mount? one of " .. table.concat(kind_list, ", ")) end
  b:check_keys(key, m, kind_keys[kind])
  mount_kinds[kind](b, key, m)
end

local default_devices = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty" }

-- All of it, as far as the new root is the root and read-only. hooks(b): the steps that stand before the switch.
function M.steps(b, hooks)
  local o = b.options
  if not b.new.mount then
    hooks(b)
    for _, k in ipairs { "root", "mounts", "devices", "masked", "readonly", "readonly_root", "propagation",
      "root_propagation", "no_pivot", "mount_label", "mount_namespace", "console" } do
      if o[k] then b:fail(k, "mounts need a new mount namespace (namespaces.mount = true)") end
    end
    return
  end
  b.phase, b.later = "rootfs", {}
  b.root_at = "/proc/fs" -- where the new root lies until the switch
  b:step("namespaces", "mount.propagation", { path = "/", propagation = o.propagation or "private", recursive = true })
  local root = o.root or {}
  if type(root) == "string" then root = { bind = root } end
  b:check_type("root", root, "table")
  if root.bind then
    b:check_keys("root", root, { "bind", "idmap", "flags", "propagation", "at" })
    if root.idmap and not b.new.user and o.readonly_root == false then b.no_setuid = "root" end
    b.root_at = root.at or b.root_at
    local r = { source = root.bind, recursive = true, idmap = root.idmap, propagation = root.propagation,
      at = root.at, flags = root.flags or { "nosuid", "nodev" } }
    if needs_outside(b, r) then made_outside(b, "root", r) end
    b:step("root", "root.bind", r)
  elseif root.overlay then
    b:check_keys("root", root, { "overlay", "flags" })
    b:check_keys("root", root.overlay, { "lower", "upper", "work", "options" })
    local layers = pick(root.overlay, "lower", "upper", "work", "options")
    layers.flags, layers.label = root.flags or { "nosuid", "nodev" }, o.mount_label
    b:step("root", "root.overlay", layers)
  else
    b:check_keys("root", root, { "bind", "overlay", "size", "mode", "nr_inodes", "flags" })
    b:step("root", "root.tmpfs", { size = bytes(b, "root", root.size) or 1048576, mode = root.mode or "0755",
      nr_inodes = root.nr_inodes, label = o.mount_label, flags = root.flags or { "nosuid", "nodev" } })
  end
  for i, m in ipairs(o.mounts or {}) do M.entry(b, key_of("mounts", i), m) end
  if o.devices then
    b.phase = "devices"
    for i, d in ipairs(o.devices) do
      local key = key_of("devices", i)
      if d == "default" then
        for _, path in ipairs(default_devices) do b:step(key, "device", { path = path }) end
        for _, link in ipairs { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
          { "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" }, { "pts/ptmx", "/dev/ptmx" } } do
          b:step(key, "symlink", { target = link[1], at = link[2] })
        end
      else
        b:step(key, "device", type(d) == "string" and { path = d } or d)
      end
    end
  end
  b.phase = "rootfs"
  for i, path in ipairs(o.masked or {}) do b:step(key_of("masked", i), "mask", { path = path }) end
  for i, path in ipairs(o.readonly or {}) do b:step(key_of("readonly", i), "readonly", { path = path }) end
  config.procfs(b)
  hooks(b)
  b.phase = "pivot"
  -- an initramfs can't be pivoted
  b:step(o.no_pivot and "no_pivot" or "root", o.no_pivot and "root.move" or "pivot_root", {})
  if o.root_propagation then
    b:step("root_propagation", "mount.propagation", { path = "/", propagation = o.root_propagation })
  end
  if o.console then
    -- a place for it can be made as long as the root is writable
    if not o.tty then b:fail("console", "the console is the container's own terminal (tty = true)") end
    b:step("tty", "pty", payload.terminal_options(b))
    config.console(b)
  end
  payload.make_cwd(b)
  b.late = true
  for _, e in ipairs(b.later) do M.entry(b, e[1], e[2]) end
  if o.readonly_root ~= false then b:step("readonly_root", "root.readonly", {}) end
  if o.mount_namespace then
    -- all that was made goes along as a tree that is attached nowhere: nothing of it is seen there, or left
    b:step("mount_namespace", "mount.tree", { source = "/", recursive = true, tree = "whole" })
    b:step("mount_namespace", "namespace.join", { fd = "mount_namespace", namespaces = { "mount" } }, { side = "child" })
    b:step("mount_namespace", "root.enter", { tree = "whole" })
    b:step("mount_namespace", "close", { slots = { "whole", "mount_namespace" } })
  end
end

return M
