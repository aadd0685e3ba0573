-- Talking to a prober (core/probe/probe.c): batches of system calls, and what came of them.
--
--   local b = session:batch()
--   local fd = b:call("openat", -100, b:text("/proc/kcore"), 0, 0)
--   b:call("read", fd, b:room(16), 16)
--   local r = b:go { filtered = true }     -- r[1]: what openat answered; -errno
local core = require "caisson.core"

local M = {}

local floor, char, concat = math.floor, string.char, table.concat
local two32 = 4294967296

local function u32(n)
  n = n % two32
  return char(n % 256, floor(n / 256) % 256, floor(n / 65536) % 256, floor(n / 16777216))
end

local function u64(n) return u32(n) .. u32(floor(n / two32)) end

local function u32_at(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function s32_at(s, i)
  local n = u32_at(s, i)
  return n >= two32 / 2 and n - two32 or n
end

local function s64_at(s, i)
  local low, high = u32_at(s, i), u32_at(s, i + 4)
  if high >= two32 / 2 then return (high - two32) * two32 + low end
  return high * two32 + low
end

M.u32, M.u64, M.u32_at, M.s64_at = u32, u64, u32_at, s64_at

-- ---- batches ----

local Batch = {}
Batch.__index = Batch

local max_calls, max_data = 1024, 262144

-- A place in the data, filled with bytes: to be an argument.
function Batch:bytes(s)
  local at = self.size
  self.data[#self.data + 1] = s
  local pad = -#s % 8
  if pad > 0 then self.data[#self.data + 1] = ("\0"):rep(pad) end
  self.size = at + #s + pad
  if self.size > max_data then error("a batch of more data than a prober takes", 2) end
  return { kind = 1, value = at }
end

function Batch:text(s) return self:bytes(s .. "\0") end
function Batch:room(n) return self:bytes(("\0"):rep(n)) end

-- The u32 that will be at a place: such as what pipe2(2) writes there.
function Batch:word(place, index) return { kind = 3, value = place.value + 4 * (index or 0) } end -- luacheck: ignore self

-- Add a call by its name (or number); arguments are numbers, places, and earlier calls, whose results they are. Returns
-- the call. This machine may have none of that name: then it answers ENOSYS.
function Batch:call(name, ...)
  local nr = type(name) == "number" and name or core.seccomp.number(name) or -1
  local kinds, args = 0, {}
  for i = 1, 6 do
    local a = select(i, ...)
    if type(a) == "table" then
      kinds = kinds + a.kind * 16 ^ (i - 1)
      a = a.value
    end
    args[i] = u64(a or 0)
  end
  local n = #self.calls + 1
  if n > max_calls then error("a batch of more calls than a prober takes", 2) end
  self.calls[n] = { nr = nr, kinds = kinds, args = concat(args) }
  return { kind = 2, value = n - 1, number = n }
end

-- The same, and nothing of the batch after it is made where it fails.
function Batch:must(...)
  local c = self:call(...)
  self.calls[c.number].kinds = self.calls[c.number].kinds + 2 ^ 31
  return c
end

---@class caisson.probe.Answer
---@field done integer     how many of the calls have come back
---@field signal? integer  that ended the child that made them
---@field errno? integer   what kept the batch from being made: EAGAIN where no process can be, ETIME
local Answer = {}
Answer.__index = Answer

-- Bytes at a place of the batch, n of them.
function Answer:bytes(place, n) return self.data:sub(place.value + 1, place.value + n) end

function Answer:text(place) return self.data:match("^[^%z]*", place.value + 1) end

-- Its result, or nil where it did not come back.
function Answer:of(call)
  if call.number <= self.done then return self[call.number] end
end

-- Make the calls. o: child (in a process of their own), filtered (there, behind the recipe's filters), wait (seconds, 1).
---@return caisson.probe.Answer
function Batch:go(o)
  o = o or {}
  local s, parts = self.session, {}
  local flags = o.filtered and 3 or o.child and 1 or 0
  parts[1] = u32(1) .. u32(flags) .. u32(#self.calls) .. u32(self.size) .. u32((o.wait or 1) * 1000) .. ("\0"):rep(12)
  for _, c in ipairs(self.calls) do parts[#parts + 1] = u32(c.nr) .. u32(c.kinds) .. c.args end
  parts[#parts + 1] = concat(self.data)
  s:send(concat(parts))
  local head = s:take(16, (o.wait or 1) + 20)
  local r = setmetatable({ done = u32_at(head, 1) }, Answer)
  local status, err = u32_at(head, 9), s32_at(head, 13)
  if status % 128 ~= 0 then r.signal = status % 128 end
  if err < 0 then r.errno = -err end
  local results = s:take(8 * #self.calls)
  for i = 1, r.done do r[i] = s64_at(results, 8 * i - 7) end
  r.data = s:take(self.size)
  return r
end

-- ---- the prober ----

---@class caisson.probe.Session
local Session = {}
Session.__index = Session

-- A prober's end, as slot "channel", and this side of it | nil, message, errno.
function M.open()
  local theirs, ours, errno = core.prober.channel()
  if not theirs then return nil, ours, errno end
  return { channel = theirs }, setmetatable({ channel = ours, buffer = "" }, Session)
end

-- A prober on the host, in nothing at all.
function M.host()
  local slots, self, errno = M.open()
  if not slots then return nil, self, errno end
  local message
  slots.null = core.open("/dev/null", "readwrite")
  slots.probe, message, errno = core.prober.program()
  if slots.probe and slots.null then
    self.process, message, errno = core.spawn { slots = slots, plan = core.plan {
      { step = "clone", options = { namespaces = {} } },
      { step = "exec", options = { argv = { "caisson-probe" }, fd = "probe",
        files = { "null", "null", "null", "channel" } } } } }
  end
  for _, fd in pairs(slots) do fd:close() end
  if not self.process then
    self:close()
    return nil, message, errno
  end
  return self
end

function Session:batch() return setmetatable({ session = self, calls = {}, data = {}, size = 0 }, Batch) end

local function gone(self)
  error({ gone = self.ended or "the prober has ended before it could answer" }, 0)
end

function Session:send(bytes)
  if not core.prober.send(self.channel, bytes) then gone(self) end
end

function Session:take(n, seconds)
  local parts, have = { self.buffer }, #self.buffer
  local deadline = core.now() + (seconds or 20) * 1e9
  while have < n do
    local left = (deadline - core.now()) / 1e9
    if left <= 0 then
      self.ended = "the prober does not answer"
      gone(self)
    end
    local ready = core.poll({ { fd = self.channel, events = "r" } }, left)
    if ready and next(ready) then
      local s = self.channel:read()
      if not s or s == "" then gone(self) end
      parts[#parts + 1] = s
      have = have + #s
    end
  end
  local all = concat(parts)
  self.buffer = all:sub(n + 1)
  return all:sub(1, n)
end

-- A filter that its filtered children load: a program as bytes, and the flags of seccomp(2).
function Session:filter(program, flags)
  self:send(u32(2) .. u32(0) .. u32(0) .. u32(#program) .. u32(0) .. u32(flags or 0) .. ("\0"):rep(8) .. program)
  self.filters = (self.filters or 0) + 1
end

function Session:close()
  self.channel:close()
  if self.process then
    self.process:wait(5)
    self.process:close()
  end
end

-- ---- what batches are often made for ----

local AT_FDCWD = -100

-- One call here: its result.
function Session:call(...)
  local b = self:batch()
  b:call(...)
  return b:go()[1]
end

-- The beginning of a file: text | nil, errno.
function Session:read(path, size)
  size = size or 16384
  local parts, offset = {}, 0
  repeat
    local b = self:batch()
    local room = b:room(size)
    local fd = b:must("openat", AT_FDCWD, b:text(path), 0x80800, 0) -- O_CLOEXEC | O_NONBLOCK
    local got = b:call("pread64", fd, room, size, offset)
    b:call("close", fd)
    local r = b:go()
    if r[1] < 0 then return nil, -r[1] end
    local n = r:of(got)
    if n < 0 then return nil, -n end
    parts[#parts + 1] = r:bytes(room, n)
    offset = offset + n
  until n < size or offset >= 1048576
  return concat(parts)
end

function Session:readlink(path)
  local b = self:batch()
  local room = b:room(4096)
  b:call("readlinkat", AT_FDCWD, b:text(path), room, 4095)
  local r = b:go()
  if r[1] < 0 then return nil, -r[1] end
  return r:bytes(room, r[1])
end

-- Names in a directory, no more than limit: list | nil, errno.
function Session:list(path, limit)
  local b = self:batch()
  local rooms, counts = {}, {}
  local fd = b:must("openat", AT_FDCWD, b:text(path), 0x80800, 0)
  for i = 1, 4 do
    rooms[i] = b:room(32768)
    counts[i] = b:call("getdents64", fd, rooms[i], 32768)
  end
  b:call("close", fd)
  local r = b:go()
  if r[1] < 0 then return nil, -r[1] end
  local names = {}
  for i = 1, 4 do
    local n = r:of(counts[i]) or 0
    if n < 0 then return nil, -n end
    local s, at = r:bytes(rooms[i], n), 1
    while at < #s and #names < (limit or 5000) do
      local length = s:byte(at + 16) + s:byte(at + 17) * 256
      local name = s:match("^[^%z]*", at + 19)
      if name ~= "." and name ~= ".." then names[#names + 1] = name end
      at = at + length
    end
  end
  table.sort(names)
  return names
end

local kinds = { [1] = "fifo", [2] = "char", [4] = "directory", [6] = "block", [8] = "file", [10] = "link",
  [12] = "socket" }

-- What is at each of these paths: { type, mode, uid, gid, ino, major, minor (of a device), dev = "major:minor" } by path;
-- false where nothing is, or nothing can be seen. follow: links lead on.
function Session:stat(paths, follow)
  local found = {}
  for from = 1, #paths, 400 do
    local b, rooms = self:batch(), {}
    for i = from, math.min(from + 399, #paths) do
      rooms[i] = b:room(256)
      b:call("statx", AT_FDCWD, b:text(paths[i]), follow and 0x800 or 0x900, 0x7ff, rooms[i]) -- no automounts
    end
    local r = b:go()
    for i = from, math.min(from + 399, #paths) do
      if r[i - from + 1] < 0 then
        found[paths[i]] = false
      else
        local s = r:bytes(rooms[i], 256)
        local mode = s:byte(29) + s:byte(30) * 256
        found[paths[i]] = { type = kinds[floor(mode / 4096)] or "other", mode = mode % 4096, uid = u32_at(s, 21),
          gid = u32_at(s, 25), ino = u32_at(s, 33) + u32_at(s, 37) * two32, size = u32_at(s, 41) + u32_at(s, 45) * two32,
          major = u32_at(s, 129), minor = u32_at(s, 133), dev = ("%d:%d"):format(u32_at(s, 137), u32_at(s, 141)) }
      end
    end
  end
  return found
end

return M
