-- Many running containers in one loop, without a thread: one descriptor (epoll) beside their own.
--
--     local loop = caisson.loop()
--     for i = 1, 1000 do
--       loop:add(assert(caisson.start(recipe, opts)), function(result) print(i, result.status) end)
--     end
--     loop:run()
--
-- What is added has the methods fds(), timeout() and step(), as all that caisson.start and a pooled container's start
-- give back. A program with a loop of its own polls fileno() and calls step().
local core = require "caisson.core"

local M = {}

---@class caisson.Loop
local Loop = {}
Loop.__index = Loop

-- Due times: a binary heap of { at =, item = }. An item's entry is valid while item.due is its `at`.
local function push(heap, entry)
  local i = #heap + 1
  while i > 1 do
    local above = math.floor(i / 2)
    if heap[above].at <= entry.at then break end
    heap[i] = heap[above]
    i = above
  end
  heap[i] = entry
end

local function pop(heap)
  local top, last = heap[1], table.remove(heap)
  if #heap == 0 then return top end
  local i = 1
  while true do
    local below = 2 * i
    if below > #heap then break end
    if below < #heap and heap[below + 1].at < heap[below].at then below = below + 1 end
    if heap[below].at >= last.at then break end
    heap[i] = heap[below]
    i = below
  end
  heap[i] = last
  return top
end

local function number_of(fd) return type(fd) == "number" and fd or fd:fileno() end

-- Watch what it wants watched now, and nothing else. A descriptor that it has closed is gone from the poller already,
-- unless its number is another's by now.
local function watch(self, item)
  local wanted = {}
  for _, f in ipairs(item.running:fds()) do wanted[number_of(f.fd)] = true end
  for fd in pairs(item.fds) do
    if not wanted[fd] then
      item.fds[fd] = nil
      if self.by_fd[fd] == item then
        self.by_fd[fd] = nil
        self.poller:remove(fd)
      end
    end
  end
  for fd in pairs(wanted) do
    if not item.fds[fd] then
      assert(self.poller:add(fd))
      item.fds[fd], self.by_fd[fd] = true, item
    end
  end
  local timeout = item.running:timeout()
  local due = timeout and core.now() + timeout * 1e9
  if due and item.due and math.abs(due - item.due) < 1e6 then return end -- the same limit
  item.due = due
  if due then push(self.heap, { at = item.due, item = item }) end
end

local function forget(self, item)
  for fd in pairs(item.fds) do
    if self.by_fd[fd] == item then
      self.by_fd[fd] = nil
      self.poller:remove(fd)
    end
  end
  item.fds, item.due = {}, nil
  self.items[item.running] = nil
  self.count = self.count - 1
end

local function advance(self, item)
  if not self.items[item.running] then return end
  local ok, result = pcall(item.running.step, item.running)
  if ok and not result then return watch(self, item) end
  forget(self, item)
  if ok then return item.done(result) end
  item.done(nil, result)
end

-- See it to its end; then done(result), or done(nil, message) where a stream's function, or it, raised. done may add
-- others.
---@param running caisson.Running
---@param done fun(result: caisson.Result?, message: string?)
---@return caisson.Running
function Loop:add(running, done)
  if self.items[running] then error("it is in the loop already", 2) end
  if type(done) ~= "function" then error("a function to be told of the end expected, got " .. type(done), 2) end
  local item = { running = running, done = done, fds = {} }
  self.items[running] = item
  self.count = self.count + 1
  watch(self, item)
  return running
end

-- Take it out, as it is. Returns whether it was there.
---@param running caisson.Running
---@return boolean
function Loop:remove(running)
  local item = self.items[running]
  if item then forget(self, item) end
  return item ~= nil
end

-- How many are in it.
---@return integer
function Loop:size() return self.count end

-- Readable when step() has something to do; but not when a limit's time has come: that is timeout().
---@return integer
function Loop:fileno() return self.poller:fileno() end

-- Seconds until step() has something to do without fileno() being readable; nil: none.
---@return number?
function Loop:timeout()
  local heap = self.heap
  while heap[1] and heap[1].item.due ~= heap[1].at do pop(heap) end
  return heap[1] and math.max((heap[1].at - core.now()) / 1e9, 0)
end

-- Do what is due, after waiting for it for at most so many seconds (nil: as long as it takes). What done() raises is
-- raised here. Returns how many are left.
---@param seconds? number
---@return integer left
function Loop:step(seconds)
  local timeout = self:timeout()
  if seconds and (not timeout or seconds < timeout) then timeout = seconds end
  if self.count == 0 then return 0 end
  local ready = assert(self.poller:wait(timeout))
  local seen = {}
  for _, fd in ipairs(ready) do
    local item = self.by_fd[fd]
    if item and not seen[item] then
      seen[item] = true
      advance(self, item)
    end
  end
  local now = core.now()
  while self.heap[1] and self.heap[1].at <= now do
    local entry = pop(self.heap)
    if entry.item.due == entry.at and not seen[entry.item] then
      seen[entry.item] = true
      advance(self, entry.item)
    elseif entry.item.due == entry.at then
      push(self.heap, entry)
      break
    end
  end
  return self.count
end

-- Until all have ended, or the seconds are over. Returns how many are left.
---@param seconds? number
---@return integer left
function Loop:run(seconds)
  local deadline = seconds and core.now() + seconds * 1e9
  while self.count > 0 do
    local left = deadline and (deadline - core.now()) / 1e9
    if left and left <= 0 then break end
    self:step(left)
  end
  return self.count
end

-- Let go of all, as they are.
function Loop:close()
  for _, item in pairs(self.items) do item.fds, item.due = {}, nil end
  self.items, self.by_fd, self.heap, self.count = {}, {}, {}, 0
  self.poller:close()
end

-- A loop. Returns it | nil, message, errno.
---@return caisson.Loop?, string?, integer?
function M.new()
  local poller, message, errno = core.poller()
  if not poller then return nil, message, errno end
  return setmetatable({ poller = poller, items = {}, by_fd = {}, heap = {}, count = 0 }, Loop)
end

return M
