-- `mounts` of a configuration as a recipe's.
local words = require "caisson.words"

local M = {}

-- ---- options ----

-- Of the mount: set, or cleared.
local attributes = { "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "relatime",
  "norelatime", "strictatime", "nostrictatime", "nodiratime", "diratime", "nosymfollow", "symfollow" }
local is_attribute = {}
for _, word in ipairs(attributes) do
  is_attribute[word] = true
  is_attribute["r" .. word] = "tree"
end

-- Of the filesystem, whatever its type.
local of_filesystem = { sync = true, async = true, dirsync = true, lazytime = true, nolazytime = true, mand = true,
  nomand = true }
-- What is so anyway.
local nothing = { defaults = true, loud = true, silent = true, acl = true, noiversion = true }

local is_propagation = { private = true, slave = true, shared = true, unbindable = true, rprivate = true,
  rslave = true, rshared = true, runbindable = true }

-- The option words of a mount, sorted out: { flags, data, propagation (a list), bind, recursive, remount, tmpcopyup,
-- idmap }.
local function read_options(m, key)
  local o = { flags = {}, data = {}, propagation = {}, filesystem = {} }
  for _, word in ipairs(m.options or {}) do
    if word == "bind" or word == "rbind" then
      o.bind, o.recursive = true, o.recursive or word == "rbind" or nil
    elseif word == "remount" or word == "tmpcopyup" then
      o[word] = true
    elseif word == "idmap" or word == "ridmap" then
      o.idmap = word
    elseif is_attribute[word] then
      o.flags[#o.flags + 1] = word
    elseif is_propagation[word] then
      o.propagation[#o.propagation + 1] = word
    elseif of_filesystem[word] then
      o.filesystem[#o.filesystem + 1] = word
    elseif word == "iversion" then
      error(key .. ".options: iversion: the kernel's interface for new mounts has no such option", 0)
    elseif not nothing[word] and word ~= "" then
      o.data[#o.data + 1] = word
    end
  end
  return o
end

-- Of a word and its contrary the last counts.
local contrary = {}
for i = 1, #attributes, 2 do
  local a, b = attributes[i], attributes[i + 1]
  contrary[a], contrary[b], contrary["r" .. a], contrary["r" .. b] = b, a, "r" .. b, "r" .. a
end
contrary.relatime, contrary.norelatime, contrary.atime, contrary.noatime = nil, nil, nil, nil

local function last_words(list)
  local kept, gone = {}, {}
  for i = #list, 1, -1 do
    local word = list[i]
    if not gone[word] then table.insert(kept, 1, word) end
    gone[word] = true
    if contrary[word] then gone[contrary[word]] = true end
  end
  return kept
end

local function without(list, word)
  local kept, found = {}, false
  for _, w in ipairs(list) do
    if w == word then found = true else kept[#kept + 1] = w end
  end
  return kept, found
end

-- ---- places ----

-- An absolute path without ".", "..", and empty names: what it says in a root of its own.
function M.clean(path)
  local names = {}
  for name in path:gmatch("[^/]+") do
    if name == ".." then
      names[#names] = nil
    elseif name ~= "." then
      names[#names + 1] = name
    end
  end
  return "/" .. table.concat(names, "/")
end

-- Files that programs of a container read, and that its manager may replace.
local in_proc = { "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
  "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled" }

local function check_proc(at, key)
  local rest = at:match("^/proc/(.+)$")
  if not rest then return end
  for _, name in ipairs(in_proc) do if rest == name then return end end
  error(("%s.destination: %s is in /proc, where nothing but %s may be replaced"):format(key, at,
    table.concat(in_proc, ", ")), 0)
end

-- ---- kinds ----

local function ids(list)
  local t = {}
  for i, m in ipairs(list) do t[i] = { m.containerID, m.hostID, m.size } end
  return t
end

-- What the mount's files belong to: its own maps, or those of the container's user namespace.
local function id_map(m, o, config, key)
  local uids, gids = m.uidMappings, m.gidMappings
  if uids and #uids == 0 then uids = nil end
  if gids and #gids == 0 then gids = nil end
  if not o.idmap and not uids and not gids then return nil end
  if (uids == nil) ~= (gids == nil) then
    error(key .. ": uidMappings and gidMappings stand together", 0)
  end
  local linux = config.linux or {}
  uids, gids = uids or linux.uidMappings, gids or linux.gidMappings
  if not uids or not gids or #uids == 0 or #gids == 0 then
    error(key .. ".options: " .. o.idmap .. " needs uidMappings and gidMappings, of the mount or of linux", 0)
  end
  return { uids = ids(uids), gids = ids(gids), recursive = o.idmap == "ridmap" or nil }
end

local function join(a, b)
  local t = {}
  for _, v in ipairs(a) do t[#t + 1] = v end
  for _, v in ipairs(b) do t[#t + 1] = v end
  return t
end

local function bind(m, o, at, key, context)
  if type(m.source) ~= "string" or m.source == "" then error(key .. ".source: a bind mount needs one", 0) end
  -- what is like an option's name may be one misspelt; a filesystem's NAME=VALUE is not
  for _, word in ipairs(o.data) do
    if not word:find("^%l[%w_]*=") then
      error(words.unknown(key .. ".options: a bind mount has no option", word, attributes), 0)
    end
  end
  for _, word in ipairs(join(o.filesystem, o.data)) do
    if word:find("^r?idmap=") then
      error(("%s.options: %s: uidMappings and gidMappings say the map"):format(key, word), 0)
    end
    context.warn(("%s.options: %s is the filesystem's, which a bind mount leaves as it is"):format(key, word))
  end
  local source = m.source
  if source:sub(1, 1) ~= "/" then source = context.bundle .. "/" .. source end
  local map = id_map(m, o, context.config, key)
  local flags, ro = without(last_words(o.flags), "ro")
  -- what is mounted below /sys are the cgroups first of all (CVE-2023-25809)
  if ro then flags[#flags + 1] = o.recursive and M.clean(source) == "/sys" and "rro" or "ro" end
  return { bind = source, at = at, exact = true, recursive = o.recursive, flags = flags,
    uids = map and map.uids, gids = map and map.gids, idmap_top = map and o.recursive and not map.recursive or nil }
end

-- The option's value, taken out of the list.
local function take(list, name)
  for i, word in ipairs(list) do
    local value = word:match("^" .. name .. "=(.*)$")
    if value then
      table.remove(list, i)
      return value
    end
  end
end

-- "a:b\:c" -> { "a", "b:c" }
local function split_layers(text)
  local list, part = {}, ""
  local i = 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" and i < #text then
      i = i + 1
      part = part .. text:sub(i, i)
    elseif c == ":" then
      list[#list + 1] = part
      part = ""
    else
      part = part .. c
    end
    i = i + 1
  end
  list[#list + 1] = part
  return list
end

local function overlay(o, at)
  local lower = take(o.data, "lowerdir")
  if not lower then return nil end
  local upper, work = take(o.data, "upperdir"), take(o.data, "workdir")
  return { overlay = at, lower = split_layers(lower), upper = upper, work = work,
    options = #o.data > 0 and o.data or nil }
end

local function filesystem(m, o, at)
  local flags = last_words(o.flags)
  local data = join(o.filesystem, o.data)
  if (m.type == "proc" or m.type == "sysfs") and #data == 0 then return { [m.type] = at, flags = flags } end
  local t
  if m.type == "overlay" then
    o.data = data
    t = overlay(o, at)
  elseif m.type == "tmpfs" then
    t = { tmpfs = at, options = #data > 0 and data or nil, covered_mode = true, copyup = o.tmpcopyup,
      source = m.source ~= "" and m.source or nil }
  end
  t = t or { fs = at, type = m.type, source = m.source ~= "" and m.source or nil, options = #data > 0 and data or nil,
    target_nofollow = m.type == "proc" or m.type == "sysfs" or nil }
  t.flags = flags
  return t
end

-- ---- all of them ----

-- The entries of `mounts`, whether /dev is the host's, bound, and the field that each entry is from.
-- context: config, bundle, warn (a function). Raises what is wrong.
function M.of(list, context)
  local entries, later, fields, dev_is_bound = {}, {}, {}, false
  for i, m in ipairs(list or {}) do
    local key = ("mounts[%d]"):format(i)
    local o, at = read_options(m, key), M.clean(m.destination)
    local is_bind = o.bind or m.type == "bind"
    check_proc(at, key)
    if is_bind and at == "/dev" then dev_is_bound = true end
    if o.tmpcopyup and (is_bind or m.type ~= "tmpfs") then
      error(key .. ".options: tmpcopyup is for a tmpfs", 0)
    end
    if not is_bind and (o.idmap or #(m.uidMappings or {}) > 0 or #(m.gidMappings or {}) > 0) then
      error(key .. ": only a bind mount has an id map", 0)
    end
    if o.remount and not is_bind and #o.data + #o.filesystem > 0 then
      error(("%s.options: a remount changes flags alone, not %s"):format(key, o.data[1] or o.filesystem[1]), 0)
    end
    if o.remount then
      entries[#entries + 1] = { remount = at, flags = last_words(o.flags) }
    elseif is_bind then
      entries[#entries + 1] = bind(m, o, at, key, context)
    elseif m.type == "cgroup" then
      local flags, ro = without(last_words(o.flags), "ro")
      entries[#entries + 1] = { cgroups = at, flags = flags, writable = not ro or nil }
    else
      if m.type == nil or m.type == "" or m.type == "none" then
        error(key .. ".type: the type of a filesystem is expected", 0)
      end
      local e = filesystem(m, o, at)
      local ro
      e.flags, ro = without(e.flags, "ro")
      -- devices, console and the working directory are still to be made in it
      if ro and (m.type == "tmpfs" or at == "/dev") then
        later[#later + 1] = { key, { remount = at, flags = { "ro" }, late = true } }
      elseif ro then
        e.flags[#e.flags + 1] = "ro"
      end
      entries[#entries + 1] = e
    end
    for _, word in ipairs(o.propagation) do
      entries[#entries + 1] = { propagate = at, propagation = word }
    end
    for k = #fields + 1, #entries do fields[k] = key end
  end
  for _, m in ipairs(later) do
    entries[#entries + 1] = m[2]
    fields[#entries] = m[1]
  end
  return entries, dev_is_bound, fields
end

return M
