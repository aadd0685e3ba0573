-- One system call of a traced thread, stopped before it is made: arguments, memory, paths.
--
-- What is read is what memory and files are now. Another thread of the program may change both before the kernel
-- looks itself; of a program with one thread, nobody can.
local core = require "caisson.core"
local calls = require "caisson.trace.calls"

local ptrace, errno = core.ptrace, core.errno
local arm = core.seccomp.architecture() == "aarch64"

---@class caisson.trace.Call
---@field name string       of the call; "#123" for a number that has none
---@field nr integer
---@field args table        six numbers; one beyond 2^53 as decimal text
---@field tid integer       the thread, as the tracer sees it
---@field pid integer       its process
local Call = {}

-- What costs a look into /proc is found when asked for.
function Call.__index(c, key)
  if key == "pid" then
    local f = io.open(("/proc/%d/status"):format(c.tid))
    local pid = f and tonumber(f:read("*a"):match("\nTgid:%s*(%d+)")) or c.tid
    if f then f:close() end
    rawset(c, "pid", pid)
    return pid
  end
  return Call[key]
end

---A call that has been stopped at.
---@param tid integer
---@param info table
---@param name string
---@param root? any
---@return caisson.trace.Call
function Call.new(tid, info, name, root)
  return setmetatable({ tid = tid, nr = info.nr, name = name, args = info.args, root = root }, Call)
end

local function has(flags, bit) return math.floor(flags / bit) % 2 == 1 end

-- The i-th argument as the 32-bit number that the kernel takes most as: descriptors, flags, modes.
---@param i integer
---@return integer
function Call:int(i)
  local v = tonumber(self.args[i]) % 4294967296
  return v >= 2147483648 and v - 4294967296 or v
end

local function address(v)
  if type(v) == "number" and v < 0 then return nil end
  return v
end

-- The text that the i-th argument points to, at most 4095 bytes. nil, message, EFAULT where that can't be read.
---@param i integer
---@return string? text, string? message, integer? errno
function Call:string(i)
  local from = address(self.args[i])
  if not from then return nil, "no address", errno.EFAULT end
  return ptrace.string(self.tid, from)
end

-- size bytes at the i-th argument; nil, message, EFAULT where they can't all be read.
---@param i integer
---@param size integer
---@return string? bytes, string? message, integer? errno
function Call:bytes(i, size)
  local from = address(self.args[i])
  if not from then return nil, "no address", errno.EFAULT end
  local data, message, number = ptrace.read(self.tid, from, size)
  if data and #data < size then return nil, "not all of it can be read", errno.EFAULT end
  return data, message, number
end

-- ---- addresses ----

local function ipv4(b, from) return ("%d.%d.%d.%d"):format(b:byte(from, from + 3)) end

-- Sixteen bytes as inet_ntop(3) writes them: the longest run of zeros is "::", an IPv4 address in one is written as such.
---@param b string
---@param from integer
---@return string
function Call.ipv6(b, from)
  local groups = {}
  for i = 0, 7 do
    local high, low = b:byte(from + 2 * i, from + 2 * i + 1)
    groups[i + 1] = high * 256 + low
  end
  if b:sub(from, from + 11) == ("\0"):rep(10) .. "\255\255" then return "::ffff:" .. ipv4(b, from + 12) end
  local best, length, i = nil, 1, 1
  while i <= 8 do
    local n = 0
    while groups[i + n] == 0 do n = n + 1 end
    if n > length then best, length = i, n end
    i = i + math.max(n, 1)
  end
  for k, g in ipairs(groups) do groups[k] = ("%x"):format(g) end
  if not best then return table.concat(groups, ":") end
  return table.concat(groups, ":", 1, best - 1) .. "::" .. table.concat(groups, ":", best + length)
end

---@class caisson.trace.Address
---@field family "unspecified"|"unix"|"inet"|"inet6"|integer
---@field address? string    "10.0.0.1", "::1"
---@field port? integer
---@field path? string       of a unix socket
---@field abstract? string   its name where it is no file

-- The socket address that the i-th argument points to; the next one is its size. nil, message, errno where it can't be
-- read; EINVAL where it is none.
---@param i integer
---@return caisson.trace.Address|nil address, string? message, integer? errno
function Call:address(i)
  local size = self:int(i + 1)
  if size < 2 or size > 128 then return nil, "no address", errno.EINVAL end
  local b, message, number = self:bytes(i, size)
  if not b then return nil, message, number end
  local one, two, high, low = b:byte(1, 4)
  local family = one + two * 256
  if family == 0 then return { family = "unspecified" } end
  if family == 1 then
    if b:byte(3) == 0 then return { family = "unix", abstract = b:sub(4) } end
    return { family = "unix", path = b:match("^([^%z]*)", 3) }
  end
  if family == 2 and size >= 8 then return { family = "inet", address = ipv4(b, 5), port = high * 256 + low } end
  if family == 10 and size >= 24 then return { family = "inet6", address = Call.ipv6(b, 9), port = high * 256 + low } end
  if family == 2 or family == 10 then return nil, "no address", errno.EINVAL end
  return { family = family }
end

local function link(path)
  local st, message, number = core.lstat(path)
  if not st then return nil, message, number end
  if not st.target then return nil, path .. ": unreadable", errno.EACCES end
  return st.target
end

-- The thread's number, or its process's, in its own pid namespace: the last one of the line.
local function own_id(tid, field)
  local f = io.open(("/proc/%d/status"):format(tid))
  local id = f and f:read("*a"):match("\n" .. field .. ":[^\n]*%f[%d](%d+)\n")
  if f then f:close() end
  return id
end

-- The process's number in its own pid namespace, as text.
---@return string? id
function Call:own_id() return own_id(self.tid, "NStgid") end

-- What /proc/self stands for: it is the tracer's where the instance is of the tracer's namespace.
local function self_of(tid, name, target)
  local foreign = target == nil
  local process = foreign and own_id(tid, "NStgid") or tostring(Call.new(tid, {}).pid)
  if name == "self" then return process end
  return process and process .. "/task/" .. (foreign and (own_id(tid, "NSpid") or "") or tid)
end

local function push(todo, text)
  local parts = {}
  for part in text:gmatch("[^/]+") do parts[#parts + 1] = part end
  for i = #parts, 1, -1 do todo[#todo + 1] = parts[i] end
end

-- Follow every link, as the kernel would for this thread, in the container's tree and never out of it.
local function walk(self, start, text, follow)
  local top, out, todo, links = #self.top, {}, {}, 0
  push(out, start)
  for i = 1, math.floor(#out / 2) do out[i], out[#out + 1 - i] = out[#out + 1 - i], out[i] end
  if text:sub(-1) == "/" then follow = true end
  push(todo, text)
  while #todo > 0 do
    local name = table.remove(todo)
    if name == ".." then
      if #out > top then out[#out] = nil end
    elseif name ~= "." then
      local dir = table.concat(out, "/")
      local st, message, number = core.lstat(self.root .. "/" .. dir .. "/" .. name)
      if not st and number ~= errno.ENOENT and number ~= errno.ENOTDIR and number ~= errno.ENAMETOOLONG then
        return nil, message, number
      end
      if st and st.type == "link" and (#todo > 0 or follow) then
        links = links + 1
        if links > 40 then return nil, "too many links", errno.ELOOP end
        local target = st.target
        if (name == "self" or name == "thread-self")
          and (not target or target:find("^%d+$") or target:find("^%d+/task/%d+$")) then
          target = self_of(self.tid, name, target)
        end
        if not target then return nil, "a link that can't be read", errno.EACCES end
        -- of a descriptor without a file
        if target:find("^%a[%w_]*:") and dir:find("^proc/") then
          if #todo == 0 then return target end
          return nil, "no directory", errno.ENOTDIR
        end
        if target:sub(1, 1) == "/" then
          for i = #out, top + 1, -1 do out[i] = nil end
        end
        push(todo, target)
      else
        out[#out + 1] = name
      end
    end
  end
  return "/" .. table.concat(out, "/")
end

-- The file that text means in the directory dir (a descriptor's number; nil or -100: the working directory).
-- Returns its absolute path in the container, without links | nil, message, errno.
---@param text string
---@param dir? integer
---@param follow? boolean
---@return string? path, string? message, integer? errno
function Call:resolve(text, dir, follow)
  local proc = ("/proc/%d/"):format(self.tid)
  local top, message, number = link(proc .. "root")
  if not top then return nil, message, number end
  if self.namespace and link(proc .. "ns/mnt") ~= self.namespace then
    return nil, "a mount namespace of its own", errno.EACCES
  end
  self.top = {}
  push(self.top, top)
  local start = top
  if text:sub(1, 1) ~= "/" then
    if dir == nil or dir == -100 then
      start, message, number = link(proc .. "cwd")
    else
      start, message, number = link(proc .. "fd/" .. ("%d"):format(dir))
      if number == errno.ENOENT then number = errno.EBADF end
    end
    if not start then return nil, message, number end
    -- a pipe, or what has been removed
    if start:sub(1, 1) ~= "/" then
      if text == "" then return start end
      return nil, "no directory", errno.ENOTDIR
    end
  end
  return walk(self, start, text, follow)
end

local O_CREAT, O_EXCL, O_TRUNC, O_PATH = 64, 128, 512, 2097152
local O_NOFOLLOW, O_TMPFILE = arm and 32768 or 131072, 4194304

local function open_access(flags)
  if has(flags, O_PATH) then return "stat" end
  if flags % 4 == 0 and not has(flags, O_CREAT) and not has(flags, O_EXCL) and not has(flags, O_TRUNC)
    and not has(flags, O_TMPFILE) then
    return "read"
  end
  return "write"
end

local function number_at(bytes, i)
  local a, b, c, d = bytes:byte(i, i + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function one_path(self, p)
  local found = { access = p.access }
  local flags = p.flags and self:int(p.flags) % 4294967296 or 0
  local text, message, number
  if p.how then -- struct open_how
    local how
    how, message, number = self:bytes(p.how, 24)
    if how then flags = number_at(how, 1) end
    -- RESOLVE_IN_ROOT: the directory is the root, to links too; as where the call is not known
    if how and has(number_at(how, 17), 16) then message, number = "a root of its own", errno.ENOSYS end
  end
  local why, err = message, number
  text, message, number = self:string(p.path)
  if why then
    found.text, found.message, found.errno = text, why, err
    if p.access == "open" then found.access = err == errno.ENOSYS and open_access(flags) or "write" end
    return found
  end
  if not text and p.empty == true and self.args[p.path] == 0 then text, message, number = "", nil, nil end
  found.text = text
  local follow = not p.nofollow
  if type(p.nofollow) == "number" then follow = has(flags, p.nofollow) == (p.follow_says or false) end
  if p.access == "open" then
    found.access = open_access(flags)
    -- O_CREAT with O_EXCL makes no file behind a link
    follow = not has(flags, O_NOFOLLOW) and not (has(flags, O_CREAT) and has(flags, O_EXCL))
  end
  if text == "" and not (p.empty == true or type(p.empty) == "number" and has(flags, p.empty)) then
    text, message, number = nil, "an empty path", errno.ENOENT
  end
  if text then
    found.descriptor = text == "" and p.dir and self:int(p.dir) ~= -100 or nil
    found.path, message, number = self:resolve(text, p.dir and self:int(p.dir), follow)
  end
  if not found.path then found.message, found.errno = message, number end
  return found
end

---@class caisson.trace.Path
---@field access "read"|"write"|"stat"
---@field text? string       as the program has it
---@field path? string       absolute, in the container, without links; what is no file has a name as "pipe:[7]"
---@field errno? integer     where there is none: EFAULT for a pointer that can't be read
---@field message? string
---@field descriptor? true   not by a path: the file that a descriptor of the program's is open on

-- The files that the call is about. Empty for a call that takes no path.
---@return caisson.trace.Path[]
function Call:paths()
  if not rawget(self, "found") then
    local list = {}
    for i, p in ipairs(calls.paths[self.name] or {}) do list[i] = one_path(self, p) end
    rawset(self, "found", list)
  end
  return self.found
end

-- ---- verdicts: what decide() returns; nothing at all lets the call be made ----

local Verdict = {}
Call.Verdict = Verdict

local function verdict(t) return setmetatable(t, Verdict) end
Call.verdict = verdict

-- The call is not made and fails: with an errno's name or number, EPERM by default.
---@param err? string|integer
---@return table
function Call.deny(_, err)
  local number = err == nil and errno.EPERM or type(err) == "string" and rawget(errno, err) or err
  if type(number) ~= "number" or number < 1 or number > 4095 or number % 1 ~= 0 then
    error("the name or number of an errno expected, got " .. tostring(err), 2)
  end
  return verdict { kind = "answer", result = -number }
end

-- The call is not made, and returns this number.
---@param result integer
---@return table
function Call.fake(_, result)
  if type(result) ~= "number" or result % 1 ~= 0 then error("a whole number expected, got " .. tostring(result), 2) end
  return verdict { kind = "answer", result = result }
end

-- All that is traced is killed. why: goes into the result, with the path that it is about.
---@param why? string
---@param path? string
---@return table
function Call.kill(_, why, path)
  return verdict { kind = "kill", why = why, path = path }
end

---Is it an answer of deny(), fake() or kill()?
---@param v any
---@return boolean
function Call.is_verdict(v) return getmetatable(v) == Verdict end

return Call
