-- One system call that a filter asks about: the tracer's calls (caisson.trace.call), of one who waits in it.
--
-- Who asks may be killed meanwhile, and its number be another's by then. So what was read by that number is given to
-- the handler only when the call is still there afterwards; else it is ESRCH. And as with a tracer, what is read is what
-- memory holds now: a call that goes on is made with what it holds then.
local core = require "caisson.core"
local Traced = require "caisson.trace.call"

local errno, notify = core.errno, core.notify

---@class caisson.notify.Call: caisson.trace.Call
---@field id number|string  of the question
local Call = {}

function Call.__index(c, key)
  local v = Call[key]
  if v ~= nil then return v end
  return Traced.__index(c, key)
end

-- notifier: whose it is; info: of core.notify.receive().
---@param notifier table
---@param info table
---@param name string
---@return caisson.notify.Call
function Call.new(notifier, info, name)
  local c = Traced.new(info.pid, info, name)
  c.id, c.notifier = info.id, notifier
  return setmetatable(c, Call)
end

-- Does it still wait for its answer?
---@return boolean
function Call:waits() return notify.valid(self.notifier.fd, self.id) == true end

local function checked(self, v, ...)
  if self:waits() then return v, ... end
  return nil, "who asked is gone", errno.ESRCH
end

---@param i integer
---@return string|nil text, string? message, integer? errno
function Call:string(i) return checked(self, Traced.string(self, i)) end

---@param i integer
---@param size integer
---@return string|nil bytes, string? message, integer? errno
function Call:bytes(i, size) return checked(self, Traced.bytes(self, i, size)) end

---The process's number in its own pid namespace, as text.
---@return string? id
function Call:own_id() return (checked(self, Traced.own_id(self))) end

---The path that it means, from the host.
---@param text string
---@param dir? integer
---@param follow? boolean
---@return string? path, string? message, integer? errno
function Call:resolve(text, dir, follow)
  local root, message, number = self.notifier:root()
  if not root then return nil, message, number end
  rawset(self, "root", root.path)
  rawset(self, "namespace", root.namespace)
  return checked(self, Traced.resolve(self, text, dir, follow))
end

-- A file of the container's, by its path there: opened by this process, with its rights, and never outside of the
-- container's root. Flags as core.files.open has them. What is no file and no directory is EACCES.
---@param path string
---@param flags? string|string[]
---@param mode? integer
---@return caisson.core.Fd|nil fd, string? message, integer? errno
function Call:open(path, flags, mode)
  local root, message, number = self.notifier:root()
  if not root then return nil, message, number end
  local words = { "nonblock" } -- a pipe would keep us
  for _, w in ipairs(type(flags) == "string" and { flags } or flags or { "read" }) do words[#words + 1] = w end
  local fd
  fd, message, number = core.files.open_inside(root.fd, path, words, mode)
  if not fd then return nil, message, number end
  local st = core.files.stat(fd)
  if not st or st.type == "other" then
    fd:close()
    return nil, path .. ": no file", errno.EACCES
  end
  fd:nonblock(false)
  return fd
end

-- A descriptor for who asks, beside the answer: with the least free number, or opts.number. Returns its number there.
---@param fd integer|caisson.core.Fd
---@param opts? { number?: integer, cloexec?: boolean }
---@return integer|nil number, string? message, integer? errno
function Call:add(fd, opts) return notify.add(self.notifier.fd, self.id, fd, opts) end

-- Wait, while others are answered and the host does its own work: until fd is readable, or for so many seconds; without
-- both, for a moment. Returns whether fd is.
---@param fd? integer|caisson.core.Fd
---@param seconds? number
---@return boolean ready
function Call:wait(fd, seconds)
  if self.notifier.current ~= self then error("a handler waits in its own call", 2) end
  return coroutine.yield(fd, seconds)
end

---Keep a line for the result.
---@param text string
function Call:note(text) self.notifier.notes[#self.notifier.notes + 1] = tostring(text) end

-- ---- answers, beside deny(), fake() and kill() ----

-- The kernel makes the call, as when a handler returns nothing.
---@return table
function Call.continue() return Traced.verdict { kind = "continue" } end

-- The call is not made, and returns the number of a new descriptor: a copy of this one, which is closed here if it is an
-- object.
---@param fd integer|caisson.core.Fd
---@param opts? { cloexec?: boolean, number?: integer }
---@return table
function Call.inject(_, fd, opts)
  if type(fd) ~= "number" and type(fd) ~= "userdata" then error("a descriptor expected, got " .. type(fd), 2) end
  for k in pairs(opts or {}) do
    if k ~= "cloexec" and k ~= "number" then
      error(require("caisson.words").unknown("unknown option", tostring(k), { "cloexec", "number" }), 2)
    end
  end
  return Traced.verdict { kind = "inject", fd = fd, cloexec = opts and opts.cloexec, number = opts and opts.number }
end

return Call
