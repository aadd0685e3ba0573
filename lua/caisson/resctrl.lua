-- Schemata of resctrl groups: "L3:0=f;1=f0", "L3CODE:0=3", "L2:0=7", "MB:0=50;1=100", "MB:0=2048MBps".
local M = {}

local resource = "^%s*([A-Z][A-Z0-9_]*)%s*:%s*(.-)%s*$"

-- One line. Returns it as the kernel prints it | nil, message.
function M.line(text)
  if type(text) ~= "string" then return nil, "string expected, got " .. type(text) end
  if text:find "[\n%z]" then return nil, ("one line expected, got %q"):format(text) end
  local name, shares = text:match(resource)
  if not name then return nil, ("a schema such as L3:0=f;1=f expected, got '%s'"):format(text) end
  local list, seen = {}, {}
  for share in (shares .. ";"):gmatch "([^;]*);" do
    local domain, value = share:match "^%s*(%d+)%s*=%s*(%w+)%s*$"
    if not domain then return nil, ("%s: DOMAIN=VALUE expected, got '%s'"):format(name, share) end
    domain = tostring(tonumber(domain))
    if seen[domain] then return nil, ("%s: domain %s is given twice"):format(name, domain) end
    seen[domain] = true
    if name:sub(1, 1) == "L" then
      if not value:find "^%x+$" then return nil, ("%s: a mask in hexadecimal digits expected, got '%s'"):format(name, value) end
      if not value:find "[^0]" then return nil, ("%s: the mask of domain %s is empty"):format(name, domain) end
    elseif not (value:find "^%d+$" or value:find "^%d+MBps$") then
      return nil, ("%s: a number expected, got '%s'"):format(name, value)
    end
    list[#list + 1] = domain .. "=" .. value
  end
  return name .. ":" .. table.concat(list, ";")
end

-- All lines of a recipe's option: l3 (a line, or the part behind "L3:"), memory_bandwidth ("MB:"), and schemata, a list
-- of any. l3 may hold several lines, as the OCI's l3CacheSchema does; of those "MB:" is left to memory_bandwidth.
-- Returns the list | nil, message.
function M.lines(r)
  local lines = {}
  local function add(key, text)
    local line, message = M.line(text)
    if not line then return nil, key .. ": " .. message end
    lines[#lines + 1] = line
    return true
  end
  for _, part in ipairs { { "l3", "L3" }, { "memory_bandwidth", "MB" } } do
    local key, name = part[1], part[2]
    local text = r[key]
    if text ~= nil then
      if type(text) ~= "string" then return nil, ("%s: string expected, got %s"):format(key, type(text)) end
      if text == "" then return nil, key .. ": an empty string" end
      for line in text:gmatch "[^\n]+" do
        if not line:find ":" then line = name .. ":" .. line end
        if not (key == "l3" and line:find "^%s*MB:") then
          local ok, message = add(key, line)
          if not ok then return nil, message end
        end
      end
    end
  end
  if r.schemata ~= nil then
    if type(r.schemata) ~= "table" then return nil, "schemata: a list expected, got " .. type(r.schemata) end
    local n = 0
    for _ in pairs(r.schemata) do n = n + 1 end
    if n ~= #r.schemata then return nil, "schemata: a list without holes or names expected" end
    for i, line in ipairs(r.schemata) do
      local ok, message = add(("schemata[%d]"):format(i), line)
      if not ok then return nil, message end
    end
  end
  return lines
end

-- Other schemata for a group that there is; r as for lines(). Returns true | nil, message, errno.
function M.update(group, r)
  local core = require "caisson.core"
  local lines, message = M.lines(r)
  if not lines then return nil, message, core.errno.EINVAL end
  local base, errno
  base, message, errno = core.open("/sys/fs/resctrl/" .. group, { "read", "directory" })
  if not base then return nil, message, errno end
  local fd
  fd, message, errno = core.files.open(base, "schemata", "write")
  base:close()
  local ok = fd
  for _, line in ipairs(fd and lines or {}) do
    if ok then ok, message, errno = fd:write(line .. "\n") end
  end
  if fd then fd:close() end
  if not ok then return nil, ("the resctrl group %s: %s"):format(group, message), errno end
  return true
end

-- Remove the group that a container had for itself, once it has ended. Returns true | nil, message, errno.
function M.remove(group)
  local core = require "caisson.core"
  local base, message, errno = core.open("/sys/fs/resctrl", { "read", "directory" })
  if not base then return nil, message, errno end
  local ok
  ok, message, errno = core.files.remove(base, group)
  base:close()
  return ok, message, errno
end

return M
