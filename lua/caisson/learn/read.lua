-- A recipe that learn has written, read back: what it says a program needs. Nothing of it is run but its tables; one
-- that says more, in words of its own, can't be read so, and is not added to.
local rules = require "caisson.learn.rules"

local M = {}

local function fail(text, ...) error({ read = text:format(...) }, 0) end

-- What stands for the library there: each function gives back its table.
local function stand_ins()
  local function same(t)
    if type(t) ~= "table" then fail "a table expected" end
    return t
  end
  local policy = { new = same, mix = same }
  return { policy = policy, recipe = same }
end

local function load_in(path, env)
  local f, message = io.open(path, "rb")
  if not f then fail("%s", message) end
  local text = f:read "*a"
  f:close()
  if text:sub(1, 1) == "\27" then fail("%s: no text", path) end
  local chunk
  if rawget(_G, "setfenv") then
    chunk, message = loadstring(text, "@" .. path) -- luacheck: ignore (5.1)
    if chunk then setfenv(chunk, env) end -- luacheck: ignore (5.1)
  else
    chunk, message = load(text, "@" .. path, "t", env)
  end
  if not chunk then fail("%s", message) end
  return chunk
end

local function key_of(name, args)
  return type(args) == "table" and rules.key_of(name, args) or fail("%s: a condition that learn does not write", name)
end

local function calls_of(list)
  local calls = {}
  local function add(name, key)
    if type(name) ~= "string" or name:find "[^%w_]" then fail("%s: the name of a system call expected", tostring(name)) end
    calls[name] = calls[name] or {}
    calls[name][key] = true
  end
  for k, item in pairs(list) do
    if type(k) ~= "number" then fail("seccomp: option %s is none that learn writes", tostring(k)) end
    if type(item) == "table" then
      for _, name in ipairs(item) do add(name, item.args and key_of(name, item.args) or "") end
    else
      add(item, "")
    end
  end
  return calls
end

-- right: of those alone that have it.
local function paths_of(list, right)
  local set = {}
  for _, p in ipairs(list or {}) do
    local has = not right
    for _, w in ipairs(type(p) == "table" and p.access or {}) do has = has or w == right end
    p = type(p) == "table" and p.path or p
    if type(p) ~= "string" then fail "landlock: a path expected" end
    set[p] = has or nil
  end
  return set
end

local function set_of(list)
  local set = {}
  for _, v in ipairs(list or {}) do set[v] = true end
  return set
end

-- The comment's lines: how many runs, which commands.
local function header(path)
  local runs, commands, other, where = 1, {}, {}, nil
  for line in io.lines(path) do
    if line:sub(1, 2) ~= "--" then break end
    runs = tonumber(line:match "learnt from (%d+) runs") or runs
    if line:find "^%-%- Other addresses" then where = other end
    local text = line:match "^%-%-   (.+)$"
    if text then
      if where == other then
        for word in (text .. ","):gmatch " *([^,]+)," do other[word] = true end
      else
        commands[#commands + 1] = text
      end
    end
  end
  return runs, commands, other
end

local function read(path)
  local lib = stand_ins()
  local env = { require = function(name)
    if name ~= "caisson" then fail("require %q: learn writes no such line", tostring(name)) end
    return lib
  end }
  local ok, t = pcall(load_in(path, env))
  if not ok then
    if type(t) == "table" and t.read then error(t, 0) end
    fail("%s", (tostring(t):gsub("^[^\n]-:%d+: ", "line of its own: ")))
  end
  local mix = type(t) == "table" and type(t.mix) == "table" and t.mix[1]
  if type(mix) ~= "table" or type(mix.seccomp) ~= "table" then fail "no recipe that learn has written" end
  local l = mix.landlock or {}
  local n = { calls = calls_of(mix.seccomp), files = { read = paths_of(l.read), execute = paths_of(l.execute),
    write = paths_of(l.write), list = paths_of(l.rules, "read_dir"),
    device = paths_of(l.rules, "read_file") }, connect = set_of(l.connect), bind = set_of(l.bind), peaks = {},
    notes = {}, capabilities = set_of(mix.capabilities), inet = not (mix.namespaces and mix.namespaces.net) or nil, limits = {} }
  n.runs, n.commands, n.other = header(path)
  local size = require("caisson.params").types.size
  n.limits.nofile, n.limits.fsize = (mix.rlimits or {}).nofile, (mix.rlimits or {}).fsize
  n.limits.memory = mix.cgroup and mix.cgroup.memory and size(mix.cgroup.memory.max)
  n.limits.pids = mix.cgroup and mix.cgroup.pids and mix.cgroup.pids.max
  n.extends, n.blind = t.extends, not (l.read or l.execute or l.write)
  return n
end

-- What the file says that is needed; also its `extends` and `commands`. nil, message where it can't be read.
function M.file(path)
  local ok, n = pcall(read, path)
  if ok then return n end
  if type(n) == "table" and n.read then return nil, n.read end
  error(n, 0)
end

return M
