-- Files and folders whose changes are told, however they come about: written in place, put there by rename(2), as
-- editors do, removed and made again, or behind a symlink.
local core = require "caisson.core"

local M = {}

local events = { "close_write", "create", "delete", "moved_from", "moved_to", "delete_self", "move_self" }

-- A folder of more directories is no source that somebody edits.
M.most = 4096
-- What is longer is compared by nothing: it has changed.
local longest = 2 ^ 20

-- What editors leave beside a file while they work on it, and what versions are kept in.
local function is_aside(name)
  return name:find "~$" or name:find "^%.#" or name:find "^#.*#$" or name:find "^%..*%.sw%l$" or name == "4913"
    or name:find "^%.goutputstream%-"
end
local hidden = { [".git"] = true, [".hg"] = true, [".svn"] = true, [".jj"] = true }

---@class caisson.cli.watch.Files
local Files = {}
Files.__index = Files

local function split(path)
  local dir, name = path:match("^(.*)/([^/]+)/*$")
  return dir == "" and "/" or dir, name
end

local function join(dir, name) return (dir == "/" and "" or dir) .. "/" .. name end

-- The path from the root, dots and doubled slashes left out. Symlinks stay.
function M.absolute(path)
  if path:sub(1, 1) ~= "/" then path = (core.realpath(".") or "") .. "/" .. path end
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

---@return caisson.cli.watch.Files? files, string? message
function M.new()
  local inotify, message = core.inotify()
  if not inotify then return nil, message end
  return setmetatable({ inotify = inotify, by_number = {}, by_path = {}, texts = {}, left_out = {} }, Files)
end

-- The watched directory at this path, watched from now on; nil where it can't be.
function Files:directory(path)
  local d = self.by_path[path]
  if d then return d end
  local number, message = self.inotify:add(path, events)
  if not number then return nil, message end
  d = self.by_number[number] or { number = number, path = path, names = {} }
  self.by_number[number], self.by_path[path] = d, d
  return d
end

-- See one file: what `label` is told of.
function Files:see(path, label)
  local dir, name = split(path)
  if not name then return end
  local d = self:directory(dir)
  if not d then return self:see(dir, label) end -- it may be made one day
  d.names[name] = label
  d.wanted = true
end

-- A folder, and all below it. news: what is in it is new. Returns true | nil, message.
function Files:see_tree(path, root, news)
  local d, message = self:directory(path)
  if not d then return path ~= root or nil, message end -- one that has gone meanwhile
  d.path, d.tree, d.wanted = path, root, true
  self.directories = self.directories + 1
  if self.directories > M.most then
    return nil, ("%s: more than %d directories"):format(root, M.most)
  end
  for _, name in ipairs(core.list(path) or {}) do
    local below = join(path, name)
    local st = core.lstat(below)
    if st and st.type == "directory" and not hidden[name] then
      local ok
      ok, message = self:see_tree(below, root, news)
      if not ok then return nil, message end
    elseif news and st and st.type == "file" then
      self:tell(news, below, root)
    end
  end
  return true
end

-- Watch these from now on, and nothing else. files: { [absolute path] = what it is called }; folders: a list.
-- Returns true | nil, message.
function Files:set(files, folders)
  for _, d in pairs(self.by_number) do d.names, d.tree, d.wanted = {}, nil, nil end
  self.directories = 0
  for path, label in pairs(files) do
    self:see(path, label)
    local real = core.realpath(path)
    if real and real ~= path then self:see(real, label) end
  end
  for _, path in ipairs(folders) do
    local ok, message = self:see_tree(core.realpath(path) or path, path)
    if not ok then return nil, message end
  end
  for number, d in pairs(self.by_number) do
    if not d.wanted then
      self.inotify:remove(number)
      self:forget(number)
    end
  end
  return true
end

function Files:forget(number)
  local d = self.by_number[number]
  self.by_number[number] = nil
  for path, other in pairs(self.by_path) do
    if other == d then self.by_path[path] = nil end
  end
end

-- Of a file below a folder: is it another than it was? Only what is written twice is known.
function Files:differs(path)
  local f = io.open(path, "rb")
  local text = f and f:read(longest)
  if f then f:close() end
  if f and not text then text = "" end
  if text and #text == longest then text = nil end
  local before = self.texts[path]
  self.texts[path] = text
  return not (text and before == text)
end

function Files:tell(news, path, root)
  if self.left_out[path] or not self:differs(path) then return end
  local label = (root == "/" and "" or root) .. path:sub(#(core.realpath(root) or root) + 1)
  if not news[label] then
    news[label] = { path = path, folder = root }
    news[#news + 1] = label
  end
end

-- What has changed since the last time: a list of what it is called, and { [that] = { path =, folder = } } in the same
-- table, where folder is what it was found below. Never waits.
function Files:news()
  local news = {}
  local list, message = self.inotify:read()
  if not list then error(message, 0) end
  for _, e in ipairs(list) do
    local d = e.number and self.by_number[e.number]
    if e.overflow and not news["more than could be watched"] then
      news[1 + #news], news["more than could be watched"] = "more than could be watched", {}
    elseif d then
      local path = e.name and join(d.path, e.name) or d.path
      local label = e.name and d.names[e.name]
      -- one that was made is told of again when it has been written, a symlink is not
      local st = e.create and core.lstat(path)
      local unwritten = st and st.type == "file"
      if e.ended or e.move_self then
        if e.move_self then self.inotify:remove(e.number) end
        self:forget(e.number)
        for _, gone in pairs(d.names) do
          if not news[gone] then news[#news + 1], news[gone] = gone, {} end
        end
      elseif label and not unwritten then
        if not news[label] then news[#news + 1], news[label] = label, { path = path } end
      elseif d.tree and e.directory then
        if (e.create or e.moved_to) and not hidden[e.name] then self:see_tree(path, d.tree, news) end
      elseif d.tree and e.name and not unwritten and not is_aside(e.name) then
        self:tell(news, path, d.tree)
      end
    end
  end
  return news
end

function Files:fileno() return self.inotify:fileno() end

function Files:close() self.inotify:close() end

return M
