-- A file that is written once a program has run. Where that is, is settled before: the program may have been given the
-- folder, and would leave a link there to what it may not write itself.
local cli = require "caisson.cli"
local core = require "caisson.core"

local M = {}

---@class caisson.cli.Output
local Output = {}
Output.__index = Output

-- A file that was not there, in its folder.
local function create(self)
  local name, fd, message, errno
  for i = 1, 10 do
    name = (".%s.%d"):format(self.name:sub(1, 200), (core.now() + i) % 1e9)
    fd, message, errno = core.files.open(self.dir, name, { "write", "create", "exclusive" }, 420)
    if fd or errno ~= core.errno.EEXIST then break end
  end
  if not fd then cli.fail(("%s: %s"):format(self.path, message)) end
  return fd, name
end

-- Before the run. Ends the command where nothing can be written there.
---@param path string
---@return caisson.cli.Output
function M.open(path)
  local st = core.lstat(path)
  local self = setmetatable({ path = path }, Output)
  if st and st.type == "directory" then cli.fail(path .. ": a file expected, and it is a directory") end
  -- a pipe, or what is open: /dev/stdout; any other link is an earlier program's, perhaps, and is replaced
  if st and (st.type ~= "file" and st.type ~= "link" or path:find "^/dev/" or path:find "^/proc/") then
    local message
    self.file, message = io.open(path, "ab")
    if not self.file then cli.fail(message) end
    return self
  end
  local message
  self.name = path:match "[^/]*$"
  if self.name == "" then cli.fail(path .. ": a file's name expected") end
  self.dir, message = core.open(path:match "^(.*/)[^/]*$" or ".", "directory")
  if not self.dir then cli.fail(("%s: %s"):format(path, message)) end
  local fd, name = create(self)
  fd:close()
  core.files.remove(self.dir, name)
  return self
end

-- All of its text; what was there is replaced.
function Output:write(text)
  local ok, message
  if self.file then
    ok, message = self.file:write(text)
    if ok then ok, message = self.file:close() end
  else
    local fd, name = create(self)
    local n = 0
    while n and n < #text do
      local written
      written, message = fd:write(text:sub(n + 1))
      n = written and written > 0 and n + written or nil
    end
    ok = n and true
    fd:close()
    if ok then ok, message = core.files.rename(self.dir, name, self.name) end
    if not ok then core.files.remove(self.dir, name) end
    self.dir:close()
  end
  if not ok then cli.fail(("%s: %s"):format(self.path, message or "it can't be written")) end
end

return M
