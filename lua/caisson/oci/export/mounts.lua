-- The steps that make the root and what is in it, as `root`, `mounts`, `linux.devices` and files of the bundle. For
-- caisson.oci.export.
local core = require "caisson.core"
local mode_of = require("caisson.oci.export.process").mode_of

local M = { handlers = {} }

local handlers = M.handlers

local function absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return (core.realpath(".") or ""):gsub("/$", "") .. "/" .. path
end

-- ---- the root ----

-- The mount, of those before, that a path is in; nil: it is the root's own.
local function cover(x, path)
  local best
  for _, c in ipairs(x.covers) do
    local inside = path:sub(1, #c.at + 1) == c.at .. "/"
    if inside and (not best or #c.at >= #best.at) then best = c end
  end
  return best
end

handlers["root.tmpfs"] = function(x)
  x.own_root = true
  x.config.root.path = "rootfs"
end

-- What a mount is of, where the host makes it and the container mounts it.
handlers["mount.tree"] = function(x, o)
  x.trees[o.tree] = o
end

-- The options of a mount with those of its tree. Nothing, where it is of a descriptor that nobody else has.
local function with_tree(x, o)
  if not o.fd then return o end
  local tree = x.trees[o.fd]
  if not tree then return nil end
  local t = {}
  for k, v in pairs(o) do t[k] = v end
  for k, v in pairs(tree) do t[k] = v end
  return t
end

handlers["root.bind"] = function(x, o, step)
  o = with_tree(x, o)
  x.config.root.path = absolute(o.source)
  if o.idmap or o.uids or o.gids then x:lost(step, "a root has no id map of its own") end
  local flags = {}
  for _, f in ipairs(o.flags or {}) do
    if f == "ro" or f == "rro" then x.config.root.readonly = true else flags[#flags + 1] = f end
  end
  if #flags > 0 then
    x:warn("root", ("a configuration's root has no flags: %s are left out"):format(table.concat(flags, ", ")))
  end
end

handlers["root.overlay"] = function(x, _, step)
  x.config.root.path = "rootfs"
  x:lost(step, "a configuration's root is a directory: mount the overlay and name it")
end

handlers["root.readonly"] = function(x) x.config.root.readonly = true end
handlers["root.move"] = function() end

handlers["mount.propagation"] = function(x, o)
  if o.path == "/" or o.path == nil then
    local word = o.propagation:gsub("^r", "")
    if x.config.root.path then -- of the container's own root, after the switch
      x.config.linux.rootfsPropagation = o.propagation
    elseif word == "private" or word == "slave" then
      -- Runtimes begin with slaves all over; runc's "private" would be of the topmost mount alone. What comes from the
      -- host is private by its own word.
      x.private = word == "private"
    else
      x.config.linux.rootfsPropagation = "r" .. word
    end
    return
  end
  for i = #x.config.mounts, 1, -1 do
    local m = x.config.mounts[i]
    if m.destination == o.path then
      m.options = m.options or {}
      table.insert(m.options, o.propagation)
      return
    end
  end
  x:lost("propagation", ("%s: no mount of the recipe's is there"):format(o.path))
end

-- ---- mounts ----

local function extend(list, more)
  for _, v in ipairs(more or {}) do list[#list + 1] = v end
  return list
end

-- kind: what a file below would be in; place: what it is mounted on.
local function add(x, m, step, kind, place)
  if step.optional then x:warn(step.key or "script", m.destination .. " is optional in the recipe, and not in the bundle") end
  if #(m.options or {}) == 0 then m.options = nil end
  -- the place is there, so that no two runtimes make it differently (runc's tmpfs has the mode of what it covers)
  local path = "rootfs" .. m.destination
  for _, f in ipairs(x.files) do if f.path == path then place = nil end end
  for _, c in ipairs(x.covers) do if c.at == m.destination then place = nil end end
  if x.own_root and place and not cover(x, m.destination) then
    x.files[#x.files + 1] = { path = path, type = place.type, data = "", mode = place.mode }
  end
  table.insert(x.config.mounts, m)
  table.insert(x.covers, { at = m.destination, kind = kind, mount = m })
end

local function label(options, o)
  if o.label then options[#options + 1] = ('context="%s"'):format(o.label) end
  return options
end

local function filesystem(step_name, type, source, data)
  handlers[step_name] = function(x, o, step)
    local options = extend({}, o.flags)
    data(options, o, x, step)
    add(x, { destination = o.target, type = type or o.type, source = o.source or source, options = label(options, o) }, step,
      type, { type = "dir", mode = mode_of(step_name == "mount.tmpfs" and o.mode or "0755") })
  end
end

filesystem("mount.proc", "proc", "proc", function(options, o)
  if o.hidepid then options[#options + 1] = "hidepid=" .. o.hidepid end
  if o.subset then options[#options + 1] = "subset=" .. o.subset end
end)
filesystem("mount.sysfs", "sysfs", "sysfs", function() end)
filesystem("mount.mqueue", "mqueue", "mqueue", function() end)
filesystem("mount.cgroup", "cgroup", "cgroup", function(_, o, x, step)
  if o.controllers or o.name then x:lost(step, "a configuration shows all hierarchies or none") end
end)

local function numbers(options, o, names)
  for _, k in ipairs(names) do
    if o[k] then options[#options + 1] = ("%s=%s"):format(k, type(o[k]) == "number" and ("%.0f"):format(o[k]) or o[k]) end
  end
end

local function octal(options, name, v)
  if v then options[#options + 1] = ("%s=%04o"):format(name, mode_of(v)) end
end

filesystem("mount.devpts", "devpts", "devpts", function(options, o)
  options[#options + 1] = "newinstance"
  octal(options, "ptmxmode", o.ptmxmode or "0666")
  octal(options, "mode", o.mode or "0620")
  numbers(options, o, { "uid", "gid", "max" })
end)

filesystem("mount.tmpfs", "tmpfs", "tmpfs", function(options, o)
  octal(options, "mode", o.mode or not o.covered_mode and "0755" or nil)
  numbers(options, o, { "size", "nr_inodes", "uid", "gid" })
  extend(options, o.options)
  if o.copyup then options[#options + 1] = "tmpcopyup" end
end)

filesystem("mount.fs", nil, nil, function(options, o) extend(options, o.options) end)

filesystem("mount.overlay", "overlay", "overlay", function(options, o)
  local lower = {}
  for i, dir in ipairs(o.lower or {}) do lower[i] = (absolute(dir):gsub("[\\:]", "\\%0")) end
  options[#options + 1] = "lowerdir=" .. table.concat(lower, ":")
  if o.upper then options[#options + 1] = "upperdir=" .. absolute(o.upper) end
  if o.work then options[#options + 1] = "workdir=" .. absolute(o.work) end
  if o.userxattr then options[#options + 1] = "userxattr" end
  extend(options, o.options)
end)

local is_flag = {}
for word in ([[ro rw nosuid suid nodev dev noexec exec noatime atime strictatime nostrictatime relatime norelatime nodiratime
  diratime nosymfollow symfollow]]):gmatch("%S+") do is_flag[word] = true end

local function maps(list)
  if not list then return nil end
  local t = {}
  for i, m in ipairs(list) do
    t[i] = { containerID = m[1] or m.inside, hostID = m[2] or m.outside, size = m[3] or m.count or 1 }
  end
  return t
end

handlers["mount.bind"] = function(x, o, step)
  if o.fd == "tty" then return end -- its console: every runtime has it
  o = with_tree(x, o)
  if not o then return x:lost(step, "a mount by a descriptor is of this process alone") end
  local source = absolute(o.source)
  if step.optional and not core.lstat(core.realpath(source) or source) then
    x:warn(step.key or "script", source .. " is not there, and left out")
    return
  end
  local st = core.lstat(core.realpath(source) or source)
  local is_file = st and st.type ~= "directory"
  local options = { o.recursive and not is_file and "rbind" or "bind" }
  for _, word in ipairs(o.flags or {}) do
    -- nothing is mounted below a file, and crun 1.8 can't say so of one
    options[#options + 1] = is_file and is_flag[word:match("^r(.+)$")] and word:sub(2) or word
  end
  local uids, gids = maps(o.uids or o.idmap), maps(o.gids or o.idmap)
  if (uids == nil) ~= (gids == nil) then
    return x:lost(step, "an id map of a configuration's is of uids and gids together")
  end
  if uids then options[#options + 1] = "idmap" end
  local propagation = o.propagation or x.private and "rprivate" or nil
  if propagation then options[#options + 1] = propagation end
  if o.nofollow then x:warn(step.key or "script", source .. " may be a symlink, which runtimes follow") end
  add(x, { destination = o.target, type = "none", source = source, options = options, uidMappings = uids, gidMappings = gids },
    step, "bind", st and { type = is_file and "file" or "dir", mode = mode_of(is_file and "0644" or "0755") })
end

handlers["mount.flags"] = function(x, o, step)
  if #x.config.mounts == 0 and o.path == "/" then
    x:lost(step, "the root has no flags")
  else
    add(x, { destination = o.path, type = "none", source = "none", options = extend({ "remount", "bind" }, o.flags) }, step)
  end
end

-- { cgroups = "/sys/fs/cgroup" } makes several mounts, which are this machine's: is the step one of them? The first of
-- them becomes the one that a configuration has.
function M.of_cgroups(x, step)
  local i = step.key and step.key:match("^mounts/(%d+)$")
  local m = i and (x.options.mounts or {})[tonumber(i)]
  if type(m) ~= "table" or not m.cgroups then return false end
  if not x.cgroups_shown then
    x.cgroups_shown = true
    add(x, { destination = m.cgroups, type = "cgroup", source = "cgroup",
      options = extend(extend({}, m.flags), { not m.writable and "ro" or nil }) }, step, "cgroup", { type = "dir", mode = 493 })
  end
  return true
end

-- ---- what stands in the root by name ----

-- A file of the bundle's, under the root that we make, or mounted from beside it.
local function put(x, f, step)
  local c = cover(x, f.path)
  local in_root = x.own_root and (not c or c.kind == "tmpfs") and not f.mount
  if in_root then
    if c then -- what is in the directory below becomes the new file system's
      local has = false
      for _, word in ipairs(c.mount.options or {}) do has = has or word == "tmpcopyup" end
      if not has then c.mount.options = extend(c.mount.options or {}, { "tmpcopyup" }) end
    end
    f.path = "rootfs" .. f.path
    x.files[#x.files + 1] = f
  elseif f.type == "file" then
    local name = ("files/%d%s"):format(#x.files + 1, f.path:gsub("/", "-"))
    x.files[#x.files + 1] = { path = name, type = "file", data = f.data, mode = f.mode }
    add(x, { destination = f.path, type = "none", source = name, options = { "bind", "nosuid", "nodev" } }, step, "file",
      { type = "file", mode = mode_of "0644" })
  else
    x:lost(step, ("%s: a bundle can't put %s into %s"):format(f.path,
      f.type == "link" and "a symlink" or "a directory", c and "what is mounted there" or "a root that is not its own"))
  end
end

function handlers.file(x, o, step)
  put(x, { path = o.path, type = "file", data = o.data, mode = mode_of(o.mode or "0644"), mount = o.mount }, step)
end

function handlers.mkdir(x, o, step)
  if step.key == "cwd" then return end -- runtimes make it
  put(x, { path = o.path, type = "dir", mode = mode_of(o.mode or "0755") }, step)
end

-- What every runtime makes.
local links = { ["/dev/fd"] = "/proc/self/fd", ["/dev/stdin"] = "/proc/self/fd/0", ["/dev/stdout"] = "/proc/self/fd/1",
  ["/dev/stderr"] = "/proc/self/fd/2", ["/dev/ptmx"] = "pts/ptmx", ["/dev/core"] = "/proc/kcore" }
local nodes = { ["/dev/null"] = true, ["/dev/zero"] = true, ["/dev/full"] = true, ["/dev/random"] = true,
  ["/dev/urandom"] = true, ["/dev/tty"] = true }

function handlers.symlink(x, o, step)
  if links[o.at] ~= o.target then put(x, { path = o.at, type = "link", target = o.target }, step) end
end

local types = { char = "c", block = "b", fifo = "p" }

function handlers.device(x, o, step)
  if nodes[o.path] and not o.type and mode_of(o.mode or 438) == 438 and (o.uid or 0) == 0 and (o.gid or 0) == 0 then
    x.has_devices = true
    return
  end
  local source = o.source or o.path
  local st = not o.type and core.lstat(core.realpath(source) or source)
  if not o.type and not (st and types[st.type]) then
    if step.optional then return x:warn(step.key, source .. " is no device here, and left out") end
    return x:lost(step, source .. " is no device here")
  end
  local node = { path = o.path, type = types[o.type or st.type], major = o.major or st and st.rdev_major,
    minor = o.minor or st and st.rdev_minor, fileMode = mode_of(o.mode or "0666"), uid = o.uid or 0, gid = o.gid or 0 }
  if node.type == "p" then node.major, node.minor = nil, nil end
  x.config.linux.devices = x.config.linux.devices or {}
  table.insert(x.config.linux.devices, node)
end
handlers.mknod = handlers.device

function handlers.mask(x, o)
  x.config.linux.maskedPaths = extend(x.config.linux.maskedPaths or {}, { o.path })
end

function handlers.readonly(x, o)
  x.config.linux.readonlyPaths = extend(x.config.linux.readonlyPaths or {}, { o.path })
end

-- ---- at the end ----

function M.finish(x)
  local root = x.config.root
  if not root.path then
    x:lost("root", "the recipe has no root of its own, which a bundle has")
    root.path = "rootfs"
  end
  if x.own_root then
    table.insert(x.files, 1, { path = "rootfs", type = "dir", mode = 493 })
    if not root.readonly then
      x:warn("root", "it is the directory rootfs, which keeps what is written to it, and not a file system in memory")
    end
  end
  x.config.linux.mountLabel = x.options.mount_label
  if not x.has_devices then x:warn("devices", "runtimes make /dev/null and its like, though the recipe does not say so") end
end

return M
