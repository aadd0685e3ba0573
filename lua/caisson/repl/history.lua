-- What was typed at the prompt before: $XDG_STATE_HOME/caisson/history, nobody else's to read.
local core = require "caisson.core"

local M = {}

local most = 1000

---@class caisson.repl.History
local History = {}
History.__index = History

-- An entry is a line there, whatever it holds.
local function encode(entry) return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

-- The file's path, or nil where there is no place for it.
function M.path()
  local state = os.getenv "XDG_STATE_HOME"
  if not state or state:sub(1, 1) ~= "/" then -- a relative one is to be ignored
    local home = os.getenv "HOME"
    if not home or home:sub(1, 1) ~= "/" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/caisson/history"
end

-- The directory, with those above it, each 0700 where it is made; nil where that can't be.
local function open_directory(path)
  local dir = core.open(path, "directory")
  if dir then return dir end
  local above, name = path:match "^(.*)/([^/]+)$"
  local parent = above and above ~= "" and open_directory(above) or core.open("/", "directory")
  if not parent then return nil end
  core.files.mkdir(parent, name, 448)
  parent:close()
  return (core.open(path, "directory"))
end

local function read_all(fd)
  local parts = {}
  while true do
    local s = fd:read()
    if not s or s == "" then return table.concat(parts) end
    parts[#parts + 1] = s
  end
end

local function write_new(dir, list)
  local fd = core.files.open(dir, "history.new", { "write", "create", "truncate" }, 384)
  if not fd then return end
  local lines = {}
  for i, entry in ipairs(list) do lines[i] = encode(entry) .. "\n" end
  local text = table.concat(lines)
  if #text == 0 or fd:write(text) == #text then core.files.rename(dir, "history.new", "history") end
  fd:close()
end

-- What is there, and where new entries go; in memory alone where there is no place for a file.
---@return caisson.repl.History
function M.open()
  local self = setmetatable({ list = {} }, History)
  local path = M.path()
  local dir = path and open_directory(path:match "^(.*)/")
  if not dir then return self end
  -- no link is followed: who could place one here could have it write anywhere
  local old = core.files.open(dir, "history", "read")
  local stat = old and core.files.stat(old)
  for line in (old and read_all(old) or ""):gmatch "[^\n]+" do self.list[#self.list + 1] = decode(line) end
  if old then old:close() end
  local long = #self.list > 2 * most
  while long and #self.list > most do table.remove(self.list, 1) end
  -- one that others may read is replaced by one that they may not
  if long or stat and stat.mode % 64 ~= 0 then write_new(dir, self.list) end
  dir:close()
  self.file = core.open(path, { "write", "create", "append", "nofollow" }, 384)
  return self
end

-- Of a prompt that leaves nothing behind.
function M.none() return setmetatable({ list = {} }, History) end

function History:add(entry)
  if entry:find "^%s*$" or entry == self.list[#self.list] then return end
  self.list[#self.list + 1] = entry
  if self.file then self.file:write(encode(entry) .. "\n") end
end

return M
