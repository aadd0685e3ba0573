-- The files of a run as few rules: three hundred libraries are /usr/lib.
--
-- What is read or executed below the system's own folders stands for such a folder. Elsewhere files stay files, until there
-- are too many of one folder. What the run has made itself has no name that another run could count on: who may make it
-- is whoever may write to the folder that was there before.
local M = {}

local few = 6 -- files of a folder that are still named one by one

-- How deep a path below these is kept: /usr/share/zoneinfo/Etc/UTC is /usr/share/zoneinfo.
local system = { ["/usr/lib"] = 2, ["/usr/lib32"] = 2, ["/usr/lib64"] = 2, ["/usr/libx32"] = 2, ["/usr/libexec"] = 2,
  ["/usr/include"] = 2, ["/usr/share"] = 3, ["/usr/local/lib"] = 3, ["/usr/local/include"] = 3, ["/usr/local/share"] = 4,
  ["/lib"] = 1, ["/lib32"] = 1, ["/lib64"] = 1, ["/libx32"] = 1, ["/opt"] = 2, ["/nix/store"] = 3,
  ["/sys/devices/system"] = 4, ["/sys/fs/cgroup"] = 3, ["/dev/pts"] = 2, ["/dev/shm"] = 2, ["/etc/ssl/certs"] = 3,
  ["/etc/alternatives"] = 2 }

-- Never one rule, however many files of them are used: what else is in them is somebody else's.
local never = { ["/"] = true, ["/etc"] = true, ["/home"] = true, ["/root"] = true, ["/usr"] = true, ["/usr/local"] = true,
  ["/proc"] = true, ["/sys"] = true, ["/dev"] = true, ["/var"] = true, ["/run"] = true, ["/mnt"] = true, ["/srv"] = true }

-- Nor is a home directory, keys and all, for seven files of it; nor what has a folder for each program or user.
local function is_never(dir)
  return never[dir] or dir:find "^/home/[^/]+$" ~= nil or dir:find "^/run/user/[^/]+$" ~= nil or dir == "/run/user"
    or dir:find "^/var/[^/]+$" ~= nil and dir ~= "/var/tmp" or dir == "/etc/ssl"
end

local function parent_of(path) return path:match "^(.+)/[^/]*$" or "/" end

-- The paths of a set, which may then be changed.
local function each(set)
  local list = {}
  for path in pairs(set) do list[#list + 1] = path end
  return ipairs(list)
end

local function depth_of(path)
  local _, n = path:gsub("/[^/]+", "")
  return n
end

local function cut(path, depth)
  return path:match("^" .. ("/[^/]+"):rep(depth)) or path
end

-- Is it that folder, or in it?
function M.within(path, dir)
  return path == dir or dir == "/" or path:sub(1, #dir + 1) == dir .. "/"
end

local function covered(path, set)
  local dir = path
  while true do
    if set[dir] then return true end
    if dir == "/" then return false end
    dir = parent_of(dir)
  end
end

-- The system's folder that it stands for.
local function system_folder(path)
  if path:find "^/proc/self%f[/%z]" then return "/proc" end -- a process has another number each time
  local dir = path
  while dir ~= "/" do
    dir = parent_of(dir)
    if system[dir] then
      local folded = cut(path, system[dir])
      return folded ~= path and folded or nil
    end
  end
end

-- Too many of one folder become it; and so on up.
local function crowd(set, limit)
  local again = true
  while again do
    again = false
    local count = {}
    for path in pairs(set) do
      local dir = parent_of(path)
      if path ~= "/" and not is_never(dir) and depth_of(dir) >= 2 then
        count[dir] = (count[dir] or 0) + 1
      end
    end
    for dir, n in pairs(count) do
      if n > limit then
        for _, path in each(set) do if parent_of(path) == dir then set[path] = nil end end
        set[dir] = true
        again = true
      end
    end
  end
end

-- Those in others of the set go.
local function without_covered(set, by)
  for path in pairs(set) do
    if by and covered(path, by) then
      set[path] = nil
    elseif path ~= "/" and covered(parent_of(path), set) then
      set[path] = nil
    end
  end
end

-- Sets of paths: read, execute, write, list (folders that are looked into, by name alone) and device (that are read),
-- folded in place.
function M.sets(s)
  for _, k in ipairs { "read", "execute" } do
    for _, path in each(s[k]) do
      local dir = system_folder(path)
      if dir and dir ~= path then
        s[k][path] = nil
        s[k][dir] = true
      end
    end
  end
  for _, path in each(s.write) do
    if path:find "^/dev/pts/" or path:find "^/dev/shm/" then
      s.write[path] = nil
      s.write[parent_of(path)] = true
    elseif path:find "^/proc/self%f[/%z]" then
      s.write[path] = nil
      s.write["/proc"] = true
    end
  end
  crowd(s.read, few)
  crowd(s.write, few)
  crowd(s.execute, 2 * few)
  -- what may be executed may be read; what may be written may be read, too
  without_covered(s.write)
  without_covered(s.execute)
  without_covered(s.read, s.execute)
  without_covered(s.read, s.write)
  for _, path in each(s.list) do
    if path:find "^/proc/self%f[/%z]" then
      s.list[path] = nil
      s.list["/proc"] = true
    end
  end
  without_covered(s.device, s.write)
  without_covered(s.list, s.read)
  without_covered(s.list, s.execute)
  without_covered(s.list, s.write)
  return s
end

-- What a recorder tells of files, as such sets. files: path -> "type word word ...".
function M.files(files)
  local s = { read = {}, execute = {}, write = {}, list = {}, device = {} }
  local is = {}
  for path, text in pairs(files) do
    local t = { type = text:match "^%S+" }
    for word in text:gmatch " (%S+)" do t[word] = true end
    is[path] = t
  end
  -- the nearest folder that this run has not made
  local function old(dir)
    while dir ~= "/" and is[dir] and (is[dir].made or is[dir].type == "none") do dir = parent_of(dir) end
    return dir
  end
  for path, t in pairs(is) do
    if t.change then s.write[old(path)] = true end
    if t.made then
      s.write[old(parent_of(path))] = true
    elseif t.type ~= "none" then
      if t.exec then s.execute[path] = true end
      if t.write then s.write[path] = true end
      if t.read then s[(t.type == "char" or t.type == "block") and "device" or "read"][path] = true end
      if t.list then s.list[path] = true end
    end
  end
  return M.sets(s)
end

return M
