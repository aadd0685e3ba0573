-- What most likely went wrong, and what to do; nothing where we are not sure.
local core = require "caisson.core"
local machine = require "caisson.machine"
local words = require "caisson.words"

local M = {}

-- ---- paths ----

-- The first part of a path that is not there: the directory above it and its name; nil where all is.
local function missing_part(path)
  local at = path:sub(1, 1) == "/" and "/" or "."
  for name in path:gmatch("[^/]+") do
    local next_at = at == "." and name or (at == "/" and "/" or at .. "/") .. name
    local _, _, errno = core.lstat(next_at)
    if errno == core.errno.ENOENT then return at, name end
    at = next_at
  end
end

-- The directory on the way to path that this user may not search, or nil.
local function closed_part(path)
  local at = path:sub(1, 1) == "/" and "/" or "."
  if core.access(at, "x") == nil then return at end
  for name in path:gmatch("[^/]+") do
    at = at == "." and name or (at == "/" and "/" or at .. "/") .. name
    local target = core.realpath(at)
    local st = target and core.lstat(target)
    if st and st.type == "directory" and core.access(at, "x") == nil then return at end
  end
end

local function source_missing(source)
  local dir, name = missing_part(source)
  if not dir then return nil end
  local near = words.nearest(name, core.list(dir) or {})
  local text = source:sub(1, 1) ~= "/" and "the source is looked up on the host, from the current directory" or nil
  if near then
    local is_there = ('"%s" is there'):format(dir == "." and near or (dir == "/" and "/" or dir .. "/") .. near)
    return text and text .. "; " .. is_there or is_there
  end
  return text
end

local function not_searchable(path)
  local at = closed_part(path)
  return at and ('"%s" may not be searched by this user (chmod o+x, or a directory elsewhere)'):format(at)
end

-- ---- the program ----

-- The file of the host that a path in the container is, as far as the plan's binds tell.
local function host_path(plan, path)
  local best, source = -1, nil
  local new_root = false
  for _, s in plan:each() do
    local target
    if s.step == "root.bind" then
      target, new_root = "/", true
    elseif s.step == "mount.bind" then
      target = s.options.target
    elseif s.step:find("^root%.") then
      new_root = true
    end
    if target and s.options.source then
      local prefix = target == "/" and "/" or target .. "/"
      if (path == target or path:sub(1, #prefix) == prefix) and #target > best then
        best, source = #target, (s.options.source == "/" and "" or s.options.source) .. "/" .. path:sub(#prefix + 1)
        if path == target then source = s.options.source end
      end
    end
  end
  if source then return source end
  return not new_root and path or nil
end

local function bytes(path, n)
  local f = io.open(path, "rb")
  if not f then return "" end
  local s = f:read(n) or ""
  f:close()
  return s
end

local function little(s, at, n)
  local v = 0
  for i = n, 1, -1 do v = v * 256 + (s:byte(at + i) or 0) end
  return v
end

-- What the kernel starts for this file: the interpreter of its "#!" line, or an ELF file's loader.
local function interpreter(path)
  local s = bytes(path, 4096)
  local script = s:match("^#![ \t]*([^ \t\n]+)")
  if script then return script, "#!" end
  if s:sub(1, 5) ~= "\127ELF\2" then return nil end
  local offset, size, count = little(s, 32, 8), little(s, 54, 2), little(s, 56, 2)
  for i = 0, math.min(count, 64) - 1 do
    local at = offset + i * size
    if little(s, at, 4) == 3 then -- PT_INTERP
      local from, length = little(s, at + 8, 8), little(s, at + 32, 8)
      return (s:sub(from + 1, from + length):gsub("%z.*", "")), "ELF"
    end
  end
end

local function on_host(name)
  for dir in ("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"):gmatch("[^:]+") do
    if core.access(dir .. "/" .. name, "x") then return dir .. "/" .. name end
  end
end

-- Is the program's own right to be executed what Landlock withholds?
local function withheld(plan, name)
  local path = core.realpath(name:find("/", 1, true) and name or on_host(name) or "")
  local st, handled = path and core.lstat(path), false
  if not st or st.type ~= "file" or not core.access(path, "x") then return nil end
  for _, s in ipairs(plan.steps) do
    if s.step == "landlock.ruleset" or s.step == "landlock.path" then
      local executes = false
      for _, w in ipairs(s.options.fs or s.options.access or {}) do executes = executes or w == "execute" end
      if executes and s.step == "landlock.ruleset" then
        handled = true
      elseif executes then
        local place = core.realpath(s.options.path) or s.options.path
        if place == "/" or path == place or path:sub(1, #place + 1) == place .. "/" then return nil end
      end
    end
  end
  if not handled then return nil end
  return ('Landlock does not let it be executed: landlock = { execute = { "%s" } }; what was learnt: '
    .. "caisson learn --merge"):format(path)
end

local function program(failure, plan, options)
  local name = options.path or options.argv[1]
  local why = failure.code == "EACCES" and withheld(plan, name)
  if why then return why end
  if failure.code == "ENOENT" and not name:find("/", 1, true) then
    local path = on_host(name)
    if path then return ('it is "%s" on the host, which the container does not show at a place in its PATH'):format(path) end
    return nil
  end
  local path = host_path(plan, name)
  if not path then
    if failure.code == "ENOENT" and core.access(name, "x") then
      return ('"%s" is there on the host, but the container does not show it: bind it'):format(name)
    end
    return nil
  end
  if failure.code == "ENOENT" and core.lstat(path) then
    local needed, kind = interpreter(path)
    if needed then
      failure.interpreter = needed
      return ('it is there, but its %s "%s" is not in the container'):format(
        kind == "#!" and "interpreter (#! line)" or "dynamic loader", needed)
    end
  elseif failure.code == "ENOEXEC" then
    local head = bytes(path, 4)
    if head:sub(1, 4) ~= "\127ELF" and head:sub(1, 2) ~= "#!" then
      return "it is neither an ELF file nor begins with #!; a script without that line needs its shell named"
    end
  elseif failure.code == "EACCES" then
    local st = core.lstat(path)
    if st and st.type == "directory" then return "it is a directory" end
    if st and st.type == "file" and st.mode % 2 == 0 and math.floor(st.mode / 8) % 2 == 0 and
        math.floor(st.mode / 64) % 2 == 0 then
      return ("chmod +x %s"):format(path)
    end
  end
end

-- ---- the kernel ----

local function has(list, word)
  for _, v in ipairs(list or {}) do if v == word then return true end end
  return false
end

local clearing = { rw = true, suid = true, dev = true, exec = true, rrw = true, rsuid = true, rdev = true, rexec = true }

local function in_user_namespace(plan)
  for _, s in plan:each() do
    if s.step == "clone" then return has(s.options.namespaces, "user") end
  end
  return false
end

local function locked_flags(failure, plan, options)
  if failure.code ~= "EPERM" or not in_user_namespace(plan) then return nil end
  for _, flag in ipairs(options.flags or {}) do
    if clearing[flag] then
      return ("'%s' clears a flag of the host's mount, which a user namespace may not: leave it out"):format(flag)
    end
  end
end

local function covered_proc(failure)
  if failure.code ~= "EPERM" then return nil end
  local f = io.open("/proc/self/mountinfo", "r")
  local list = f and machine.covered_proc(f:read("*a")) or {}
  if f then f:close() end
  if #list == 0 then return nil end
  return ("something is mounted over %s%s: a container's runtime masks them; start that one without masked paths"):format(
    table.concat(list, ", ", 1, math.min(#list, 3)), #list > 3 and ", ..." or "")
end

local function user_namespaces(failure, options)
  if not has(options.namespaces, "user") or failure.code ~= "EPERM" and failure.code ~= "ENOSPC" and
      failure.code ~= "EACCES" then
    return nil
  end
  local cause = machine.no_user_namespaces()
  return cause and cause.fix
end

-- failure: what core.spawn answers; built: what Recipe:build answered. Returns text or nil. An exec of a
-- program that is there, without its interpreter, gets failure.interpreter.
function M.find(failure, built)
  local name, step = failure.step, built and failure.number and built.plan.steps[failure.number]
  local options = step and step.options or {}
  if name == "mount.bind" or name == "root.bind" then
    if failure.code == "ENOENT" and options.source then return source_missing(options.source) end
    if failure.code == "EACCES" and options.source then return not_searchable(options.source) end
    return step and locked_flags(failure, built.plan, options)
  elseif name == "mount.proc" then
    return covered_proc(failure)
  elseif name == "mount.overlay" and failure.code == "ENODEV" then
    return "the kernel has no overlay: as root, modprobe overlay"
  elseif name == "exec" and step and not options.fd and not built.joined then
    return program(failure, built.plan, options)
  elseif name == "clone" and user_namespaces(failure, options) then
    return user_namespaces(failure, options)
  end
  if name and name:find("^link%.") then return require("caisson.network").hint(failure) end
  if name == "clone" or name and name:find("^cgroup%.") then
    return require("caisson.cgroup").hint(failure)
  end
end

return M
