-- What a recipe says, found again: the entry that a step came from, its line, and how it would be written.
local core = require "caisson.core"

local M = {}

-- A value as Lua source, on one line.
function M.show(v, depth)
  depth = depth or 0
  if type(v) == "string" then return ("%q"):format(v):gsub("\\\n", "\\n") .. "" end
  if type(v) ~= "table" or getmetatable(v) or depth > 3 then return tostring(v) end
  local parts, names = {}, {}
  for i = 1, #v do parts[i] = M.show(v[i], depth + 1) end
  for k in pairs(v) do
    if not (type(k) == "number" and k >= 1 and k <= #v) then names[#names + 1] = k end
  end
  -- what it is comes first: { bind = "/usr", writable = true }
  local first = { bind = 1, tmpfs = 1, at = 2 }
  table.sort(names, function(a, b)
    local x, y = first[a] or 3, first[b] or 3
    if x ~= y then return x < y end
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(names) do
    local name = type(k) == "string" and k:find "^[%a_][%w_]*$" and k or "[" .. M.show(k) .. "]"
    parts[#parts + 1] = name .. " = " .. M.show(v[k], depth + 1)
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- file:line of an option ("mounts/3", "seccomp"), or nil.
function M.at(b, key)
  local origin = b.origins[key] or b.origins[key:match "^[^/]*"]
  local ok, at = pcall(function() return origin and origin.recipe:locate(origin.path) end)
  return ok and at or nil
end

-- The line of the file that an option is on, as it is written.
function M.line(b, key)
  local origin = b.origins[key] or b.origins[key:match "^[^/]*"]
  local number = tonumber((M.at(b, key) or ""):match ":(%d+)$")
  local f = number and type(origin.recipe.source) == "string" and io.open(origin.recipe.source)
  if not f then return nil end
  local n, text = 0, nil
  for l in f:lines() do
    n = n + 1
    if n == number then
      text = l
      break
    end
  end
  f:close()
  return text
end

-- The entry of a list by its key: "mounts/3" -> the table, "mounts[3]".
function M.entry(b, key)
  local option, i = key:match "^([%w_]+)/(%d+)$"
  if not option then return b.options[key], key end
  return (b.options[option] or {})[tonumber(i)], ("%s[%s]"):format(option, i)
end

-- The entry with some of its fields set, as source.
function M.with(entry, fields)
  local new = {}
  for k, v in pairs(type(entry) == "table" and entry or {}) do new[k] = v end
  for k, v in pairs(fields) do new[k] = v end
  return M.show(new)
end

local digits = {}
for i = 0, 15 do digits[("%x"):format(i)] = i end

-- Has a mask, as /proc writes it, this bit?
function M.has_bit(mask, bit)
  local at = #mask - math.floor(bit / 4)
  return at >= 1 and math.floor(digits[mask:sub(at, at)] / 2 ^ (bit % 4)) % 2 == 1
end

local function read(path)
  local f = io.open(path)
  local text = f and f:read "*a" or ""
  if f then f:close() end
  return text
end
M.read = read

---@class caisson.explain.Creds
---@field uid integer   that files are opened with; as this process sees it
---@field gid integer
---@field groups table<integer, true>
---@field caps string    effective ones, as a mask
---@field inside boolean  in a user namespace that is not ours
---@field maps table     of that: { uid = ranges of outer ids, gid = }

-- Who a thread is, for the kernel's checks.
---@return caisson.explain.Creds
function M.creds(tid)
  local proc = ("/proc/%d/"):format(tid)
  local status = read(proc .. "status")
  local c = { groups = {}, caps = status:match "\nCapEff:%s*(%x+)" or "0", maps = {} }
  c.uid = tonumber(status:match "\nUid:%s*%d+%s+%d+%s+%d+%s+(%d+)") or 0
  c.gid = tonumber(status:match "\nGid:%s*%d+%s+%d+%s+%d+%s+(%d+)") or 0
  for g in (status:match "\nGroups:([^\n]*)" or ""):gmatch "%d+" do c.groups[tonumber(g)] = true end
  local theirs, ours = core.lstat(proc .. "ns/user"), core.lstat "/proc/self/ns/user"
  c.inside = theirs ~= nil and ours ~= nil and theirs.target ~= ours.target
  for _, kind in ipairs { "uid", "gid" } do
    c.maps[kind] = {}
    for _, outside, count in read(proc .. kind .. "_map"):gmatch "(%d+)%s+(%d+)%s+(%d+)" do
      table.insert(c.maps[kind], { tonumber(outside), tonumber(count) })
    end
  end
  return c
end

-- Is an id that we see one that the thread's user namespace knows?
function M.is_mapped(creds, kind, id)
  if not creds.inside then return true end
  for _, m in ipairs(creds.maps[kind]) do
    if id >= m[1] and id < m[1] + m[2] then return true end
  end
  return false
end

-- The number that an id of ours has inside, for people.
function M.id_inside(tid, kind, id)
  for inside, outside, count in read(("/proc/%d/%s_map"):format(tid, kind)):gmatch "(%d+)%s+(%d+)%s+(%d+)" do
    inside, outside, count = tonumber(inside), tonumber(outside), tonumber(count)
    if id >= outside and id < outside + count then return inside + id - outside end
  end
end

return M
