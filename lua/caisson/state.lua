-- Containers' state on disk: ROOT/ID/state.json, a directory for each container.
--
-- A directory is worked on under its lock, which the kernel takes back from a process that is killed. A
-- state is written beside the old one and renamed over it, so that a reader, who needs no lock, sees the
-- one or the other. An id belongs to who holds the lock of its directory and finds no state in it.
local core = require "caisson.core"
local json = require "caisson.json"

local files, errno = core.files, core.errno

local M = {}

-- The format of state.json. A state of a later one is refused: it may need what we don't know to do.
M.version = 1

local max_size = 16 * 1024 * 1024
local file_name, new_name, plan_name = "state.json", "state.new", "plan.json"

local function fail(number, message)
  return nil, ("%s (%s)"):format(message, errno.name(number)), number
end

---Is it a name that a container can have: letters, digits and _ + . -, up to 255 bytes (the name of a directory)?
---@param id string
---@return true|nil ok, string? message, integer? errno
function M.check_id(id)
  if type(id) ~= "string" then return fail(errno.EINVAL, "an id is a string, got " .. type(id)) end
  if id == "" then return fail(errno.EINVAL, "an id may not be empty") end
  if #id > 255 then return fail(errno.ENAMETOOLONG, ("an id may have 255 bytes, not %d"):format(#id)) end
  if id == "." or id == ".." or id:find("[^%w_+.-]") or id:find("[\128-\255]") then
    return fail(errno.EINVAL, ("id %s: only letters, digits and _ + . - are allowed, neither . nor .. alone"):format(
      json.string(id)))
  end
  return true
end

-- Are we the user that the machine calls root, not one who is root of a user namespace?
local function is_host_root()
  if core.euid() ~= 0 then return false end
  local f = io.open("/proc/self/uid_map", "r")
  local map = f and f:read("*a") or ""
  if f then f:close() end
  return map:find("^%s*0%s+0%s+4294967295%s") ~= nil
end

---The directory that holds the states: the one given, else for root /run/caisson, for others
---$XDG_RUNTIME_DIR/caisson. It need not exist yet.
---@param dir? string
---@return string|nil path, string? message, integer? errno
function M.root(dir)
  if dir ~= nil then
    if type(dir) ~= "string" then return fail(errno.EINVAL, "a root is a path, got " .. type(dir)) end
    if #dir > 4000 then return fail(errno.ENAMETOOLONG, ("a root of %d bytes is too long"):format(#dir)) end
    if dir == "" or dir:find("\0", 1, true) then return fail(errno.EINVAL, "a root is a path, neither empty nor with a NUL") end
    if dir:sub(1, 1) ~= "/" then
      local here, message, number = core.realpath(".")
      if not here then return nil, message, number end
      dir = here:gsub("/$", "") .. "/" .. dir
    end
    return (dir:gsub("(.)/+$", "%1"))
  end
  local runtime = os.getenv("XDG_RUNTIME_DIR")
  if not is_host_root() and runtime and runtime:sub(1, 1) == "/" then return runtime:gsub("/+$", "") .. "/caisson" end
  if core.euid() == 0 then return "/run/caisson" end
  return fail(errno.ENOENT, "XDG_RUNTIME_DIR is not set, so there is no place for containers' states: name one (--root, root =)")
end

-- The directory of that path, made with those above it that are missing.
local function make_directory(path)
  local parent, name = path:match("^(.*)/([^/]+)$")
  if not name then return core.open("/", { "read", "directory" }) end
  local above, message, number = core.open(parent == "" and "/" or parent, { "read", "directory" })
  if not above and number == errno.ENOENT then above, message, number = make_directory(parent) end
  if not above then return nil, message, number end
  local ok, fd
  ok, message, number = files.mkdir(above, name)
  if ok or number == errno.EEXIST then fd, message, number = files.open(above, name, { "read", "directory" }) end
  above:close()
  return fd, message, number
end

-- The root's descriptor, if it is safe to keep states in. make: it may be made.
local function open_root(root, make)
  local fd, message, number = core.open(root, { "read", "directory", "nofollow" })
  if not fd and number == errno.ENOENT and make then
    fd, message, number = make_directory(root)
    if not fd then return nil, ("%s: %s"):format(root, message), number end
    fd:close()
    fd, message, number = core.open(root, { "read", "directory", "nofollow" })
  end
  if not fd then
    if number == errno.ELOOP or number == errno.ENOTDIR then message = root .. " is no directory (symlinks are not followed)" end
    return nil, message, number
  end
  local st
  st, message, number = files.stat(fd)
  local why
  if not st then
    why = message
  elseif st.uid ~= core.euid() then
    why, number = ("belongs to uid %d, not to %d"):format(st.uid, core.euid()), errno.EPERM
  elseif st.mode % 4 >= 2 or math.floor(st.mode / 8) % 4 >= 2 then
    why, number = ("may be written by others (mode %04o): chmod go-w"):format(st.mode), errno.EPERM
  end
  if why then
    fd:close()
    return fail(number, ("the state directory %s %s"):format(root, why))
  end
  return fd
end

local function div(a, b) return (a - a % b) / b end

---Seconds since 1970 as a date of UTC, as the states have it. (os.date would read the machine's time zone even for that.)
---@param seconds integer
---@return string
function M.date(seconds)
  local day, second = div(seconds, 86400), seconds % 86400
  -- years from March on, so that the day that some have is the last; 400 of them have 146097 days
  local n = day + 719468
  local of_era = n % 146097
  local year = div(of_era - div(of_era, 1460) + div(of_era, 36524) - div(of_era, 146096), 365)
  local of_year = of_era - (365 * year + div(year, 4) - div(year, 100))
  local month = div(5 * of_year + 2, 153)
  local first = div(153 * month + 2, 5)
  year = year + div(n, 146097) * 400 + (month < 10 and 0 or 1)
  return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(year, month < 10 and month + 3 or month - 9, of_year - first + 1,
    div(second, 3600), div(second % 3600, 60), second % 60)
end

---@class caisson.state.Dir  the directory of one container
---@field id string
---@field root string
---@field path string   ROOT/ID
---@field fd? caisson.core.Fd  the directory, while it is locked
---@field top? caisson.core.Fd  and the one above it
---@field text? string  the state as it was last read or written
---@field state? table  what that says
---@field seen table<table, string>
local Dir = {}
Dir.__index = Dir

local function new(root, id)
  return setmetatable({ root = root, id = id, path = root .. "/" .. id, seen = setmetatable({}, { __mode = "k" }) }, Dir)
end

local function absent(self)
  return fail(errno.ENOENT, ("there is no container '%s' in %s"):format(self.id, self.root))
end

-- Descriptors of the root and of the directory in it | nil, message, errno, whether it was there a moment ago.
local function open_dir(self, make)
  local root, message, number = open_root(self.root, make)
  if not root then
    if number == errno.ENOENT and not make then return absent(self) end
    return nil, message, number
  end
  local made
  if make then
    made, message, number = files.mkdir(root, self.id)
    if not made and number ~= errno.EEXIST then
      root:close()
      return nil, ("%s: %s"):format(self.path, message), number
    end
  end
  local fd
  fd, message, number = files.open(root, self.id, { "read", "directory" })
  if not fd then
    root:close()
    if number ~= errno.ENOENT then return nil, ("%s: %s"):format(self.path, message), number end
    message, number = select(2, absent(self))
    return nil, message, number, make
  end
  return root, fd
end

-- Does the name still lead to this directory? Who waited for a lock may have got that of a removed one.
local function is_current(self, root, fd)
  local a, b = files.stat(fd), files.stat(root, self.id)
  return a ~= nil and b ~= nil and a.dev == b.dev and a.ino == b.ino
end

---Take the container's lock; one command at a time works on a container. The lock of a process that was killed is
---free. `ETIMEDOUT`: somebody else has had it all the time; `ENOENT`: the container is gone.
---@param seconds? number  how long to wait: 10 by default, 0: not at all
---@return true|nil ok, string? message, integer? errno
function Dir:lock(seconds)
  if self.fd then error(("container '%s' is locked by this object already"):format(self.id), 2) end
  local deadline = core.now() + (seconds or 10) * 1e9
  local pause = 0.001
  while true do
    local root, fd, number = open_dir(self)
    if not root then return nil, fd, number end
    local ok, message
    ok, message, number = files.lock(fd)
    if ok and is_current(self, root, fd) then
      self.fd, self.top = fd, root
      return true
    end
    root:close()
    fd:close()
    if not ok then
      if number ~= errno.EAGAIN then return nil, message, number end
      local left = (deadline - core.now()) / 1e9
      if left <= 0 then
        return fail(errno.ETIMEDOUT, ("container '%s' is busy: another command works on it"):format(self.id))
      end
      core.poll({}, math.min(pause, left))
      pause = math.min(pause * 2, 0.02)
    end
  end
end

---Give the lock back.
function Dir:unlock()
  if not self.fd then return end
  -- also for what a child may have inherited
  files.lock(self.fd, "unlock")
  self.fd:close()
  self.top:close()
  self.fd, self.top = nil, nil
end

-- The bytes of a file; nil, message, errno.
local function read_text(self, name)
  local dir, root = self.fd, nil
  if not dir then
    local number
    root, dir, number = open_dir(self)
    if not root then return nil, dir, number end
  end
  local text
  local fd, message, number = files.open(dir, name, { "read", "nonblock" })
  if root then
    root:close()
    dir:close()
  end
  if not fd then
    if number == errno.ENOENT then
      return fail(errno.ENODATA, ("container '%s' has no state: its creation, or deletion, was interrupted"):format(self.id))
    end
    return nil, ("%s: %s"):format(self.path, message), number
  end
  local st = files.stat(fd)
  if not st or st.type ~= "file" then
    message, number = "is no file", errno.EBADMSG
  elseif tonumber(st.size) > max_size then
    message, number = ("has %s bytes, more than any state"):format(st.size), errno.EBADMSG
  else
    -- nobody writes to it in place
    local parts, size, s = {}, 0
    repeat
      s, message, number = fd:read()
      size = size + #(s or "")
      parts[#parts + 1] = s
    until not s or s == "" or size >= tonumber(st.size)
    text = s and table.concat(parts)
  end
  fd:close()
  if not text then return fail(number, ("%s/%s %s"):format(self.path, name, message)) end
  return text
end

local statuses = { creating = true, created = true, running = true, paused = true, stopped = true }

local function is_whole(v, max)
  return type(v) == "number" and v >= 0 and v <= max and v % 1 == 0
end

local function is_map(v, kind)
  if type(v) ~= "table" then return false end
  for k, item in pairs(v) do
    if type(k) ~= "string" or kind and type(item) ~= kind then return false end
  end
  return true
end

-- What a field must be, where it is there.
local fields = {
  { "id", "a string", function(v) return type(v) == "string" end },
  { "status", "creating, created, running, paused or stopped", function(v) return type(v) == "string" and statuses[v] end },
  { "pid", "a process's number", function(v) return is_whole(v, 4194304) and v > 0 end },
  { "start_time", "a whole number", function(v) return is_whole(v, 2 ^ 53) end },
  { "recipe", "an object", is_map },
  { "bundle", "a string", function(v) return type(v) == "string" end },
  { "annotations", "an object of strings", function(v) return is_map(v, "string") end },
  { "rootfs", "a string", function(v) return type(v) == "string" end },
  { "owner", "a user's number", function(v) return is_whole(v, 4294967294) end },
  { "created", "a string", function(v) return type(v) == "string" end },
  { "cgroup", "a list or an object", function(v) return type(v) == "table" end },
  { "namespaces", "an object", is_map },
  { "options", "an object", is_map },
  { "build", "a string", function(v) return type(v) == "string" end },
  { "scope", "an object with a unit", function(v) return is_map(v) and type(v.unit) == "string" end },
  { "network", "a list", function(v) return type(v) == "table" end },
  { "hooks", "an object", is_map },
  { "rdt", "a string", function(v) return type(v) == "string" end },
  { "ended", "an object of numbers", function(v) return is_map(v, "number") end },
}

-- Is each field that we know as it must be? Returns true | nil, message, errno.
local function check(doc, id)
  for _, field in ipairs(fields) do
    local v = doc[field[1]]
    if v ~= nil and not field[3](v) then
      return fail(errno.EBADMSG, ("'%s' is not %s"):format(field[1], field[2]))
    end
  end
  if doc.id == nil or doc.status == nil then
    return fail(errno.EBADMSG, ("'%s' is missing"):format(doc.id == nil and "id" or "status"))
  end
  if id and doc.id ~= id then return fail(errno.EBADMSG, ("'id' is that of another: %s"):format(json.string(doc.id))) end
  if doc.pid and not doc.start_time then return fail(errno.EBADMSG, "'pid' stands without 'start_time'") end
  return true
end

---A state from its text, each field that we know checked.
---@param text string
---@param id? string  whose it must be
---@return table|nil state, string? message, integer? errno  `EBADMSG`: damaged; `EPROTONOSUPPORT`: of a later version
function M.parse(text, id)
  local doc, message = json.decode(text)
  if type(doc) ~= "table" then
    return fail(errno.EBADMSG, "no JSON object: " .. tostring(message or "a " .. type(doc)))
  end
  if not is_whole(doc.version, 2 ^ 31) or doc.version < 1 then
    return fail(errno.EBADMSG, "'version' is no version number")
  end
  if doc.version > M.version then
    return fail(errno.EPROTONOSUPPORT, ("it is of version %d, made by a later caisson; this one knows up to %d"):format(
      doc.version, M.version))
  end
  local ok, why, number = check(doc, id)
  if not ok then return nil, why, number end
  return doc
end

-- What finds a container's processes and cgroups stands first: it is the last that a cut-off file loses.
local first = { "version", "id", "status", "pid", "start_time", "cgroup" }

-- These tables are never changed while there is a container, only replaced, and make up most of its state.
local lasting = { annotations = true, cgroup = true, hooks = true, namespaces = true, options = true, recipe = true }

-- seen: what the lasting ones looked like last time: { [value] = text }.
local function to_text(state, seen)
  local parts, done, rest = {}, {}, {}
  local function put(k)
    local v = state[k]
    if v == nil or done[k] then return end
    done[k] = true
    local text = seen[v] or json.document(v, 1)
    if lasting[k] and type(v) == "table" then seen[v] = text end
    parts[#parts + 1] = ('  "%s": %s'):format(k, text)
  end
  for _, k in ipairs(first) do put(k) end
  for k in pairs(state) do rest[#rest + 1] = k end
  table.sort(rest)
  for _, k in ipairs(rest) do put(k) end
  return "{\n" .. table.concat(parts, ",\n") .. "\n}\n"
end

---The state as it was last saved. Needs no lock. Its status is that of the last command; see the container's for
---the true one. `ENOENT`: no such container; `ENODATA`: it has none yet, or no longer; `EBADMSG`: damaged;
---`EPROTONOSUPPORT`: a later caisson's.
---@return table|nil state, string? message, integer? errno
function Dir:load()
  local text, message, number = read_text(self, file_name)
  if not text then return nil, message, number end
  local state
  if text == self.text then
    state = self.state
  else
    state, message, number = M.parse(text, self.id)
    if not state then
      return nil, ("the state of container '%s' (%s/%s) can't be used: %s"):format(self.id, self.path, file_name, message), number
    end
    self.text, self.state = text, state
  end
  local own = {}
  for k, v in pairs(state) do own[k] = v end
  return own
end

---What a damaged state still says, for a forced deletion: pid with start_time (both or none: they tell the process
---from a later one of its number), and the directories of cgroups.
---@return { pid?: integer, start_time?: integer, cgroups: string[] }
function Dir:salvage()
  local found = { cgroups = {} }
  local text = read_text(self, file_name)
  if not text then return found end
  local pid, start = text:match('"pid":%s*(%d+)%s*[,\n}]'), text:match('"start_time":%s*(%d+)%s*[,\n}]')
  if pid and start and #pid <= 7 and #start <= 15 and tonumber(pid) > 0 then
    found.pid, found.start_time = tonumber(pid), tonumber(start)
  end
  local seen = {}
  for path in text:gmatch('"(/sys/fs/cgroup/[^"\\%c]+)"') do
    if not seen[path] and not (path .. "/"):find("/%.%.?/") then
      seen[path] = true
      found.cgroups[#found.cgroups + 1] = path
    end
  end
  return found
end

-- A file of the directory, written wholly or not at all.
local function write(self, name, text)
  if #text > max_size then
    return fail(errno.EFBIG, ("%s of container '%s' has %d bytes, more than %d"):format(name, self.id, #text, max_size))
  end
  local fd, message, number = files.open(self.fd, new_name, { "write", "create", "truncate" }, 384)
  if not fd then return nil, ("%s: %s"):format(self.path, message), number end
  local at = 1
  while at <= #text do
    local n
    n, message, number = fd:write(at == 1 and text or text:sub(at))
    if not n then break end
    at = at + n
  end
  local ok = at > #text
  if ok then ok, message, number = files.sync(fd) end
  fd:close()
  if ok then ok, message, number = files.rename(self.fd, new_name, name) end
  if ok then ok, message, number = files.sync(self.fd) end
  if not ok then
    files.remove(self.fd, new_name)
    return nil, ("%s: %s"):format(self.path, message), number
  end
  return true
end

---Write the state, wholly or not at all. The lock must be held.
---@param state table  `version` and `id` are filled in
---@return true|nil ok, string? message, integer? errno
function Dir:save(state)
  if not self.fd then error(("container '%s': save() needs its lock"):format(self.id), 2) end
  local whole = {}
  for k, v in pairs(state) do whole[k] = v end
  whole.version, whole.id = M.version, self.id
  local ok, message = check(whole, self.id)
  if not ok then error(("container '%s': %s"):format(self.id, message), 2) end
  local text = to_text(whole, self.seen)
  local number
  ok, message, number = write(self, file_name, text)
  if not ok then return nil, message, number end
  self.text, self.state = text, whole
  return true
end

---Do now what can be done of the work of saving such a state.
---@param state table
function Dir:prepare(state) to_text(state, self.seen) end

---Write the container's plan, as JSON. It never changes, and few commands need it: so it has a file of its own. The lock
---must be held.
---@param text string
---@return true|nil ok, string? message, integer? errno
function Dir:save_plan(text)
  if not self.fd then error(("container '%s': save_plan() needs its lock"):format(self.id), 2) end
  return write(self, plan_name, text)
end

---The plan that was saved, as JSON.
---@return string|nil text, string? message, integer? errno  `ENODATA`: it has none
function Dir:plan() return read_text(self, plan_name) end

---Remove the directory and what is in it, the state last, and give the lock back. The lock must be held.
---@return true|nil ok, string? message, integer? errno
function Dir:remove()
  if not self.fd then error(("container '%s': remove() needs its lock"):format(self.id), 2) end
  local function clear()
    local names, why, n = core.list(self.path)
    if not names then return nil, why, n end
    local ok
    for _, name in ipairs(names) do
      if name ~= file_name then
        ok, why, n = files.remove(self.fd, name)
        if n == errno.EBUSY and core.link.release(self.path .. "/" .. name) then -- see caisson.container.network
          ok, why, n = files.remove(self.fd, name)
        end
        if not ok then return nil, why, n end
      end
    end
    ok, why, n = files.remove(self.fd, file_name)
    if not ok and n ~= errno.ENOENT then return nil, why, n end
    return files.remove(self.top, self.id)
  end
  local ok, message, number = clear()
  if ok then
    files.sync(self.top)
    self:unlock()
  end
  if not ok then return nil, ("%s: %s"):format(self.path, message), number end
  return true
end

---Make a container's directory, in the state "creating". Of several that try at once one succeeds, and holds the
---lock; the others get `EEXIST`. What a killed create() or remove() left, without a state, is taken over.
---@param root string  see state.root
---@param id string
---@param first_state? fun(dir: caisson.state.Dir): table?, string?, integer?  tells its first state, once its id is taken
---@return caisson.state.Dir|nil dir, string? message, integer? errno
function M.create(root, id, first_state)
  local ok, message, number = M.check_id(id)
  if not ok then return nil, message, number end
  local self = new(root, id)
  local deadline = core.now() + 5e9
  while true do
    local top, fd, removed
    top, fd, number, removed = open_dir(self, true)
    if not top and not removed then return nil, fd, number end -- removed: by others, after it was made
    local exists
    if top then
      ok, message, number = files.lock(fd)
      local mine = ok and is_current(self, top, fd)
      local old = files.open(fd, file_name, { "read", "nonblock" })
      exists = old ~= nil
      if old then old:close() end
      if mine and not exists then
        self.fd, self.top = fd, top
        break
      end
      top:close()
      fd:close()
      if not ok and number ~= errno.EAGAIN then return nil, message, number end
    end
    if exists or core.now() > deadline then
      return fail(errno.EEXIST, ("container '%s' exists already in %s"):format(id, root))
    end
    -- another one is about to create it, or looks for it, or has just removed it
    core.poll({}, 0.001)
  end
  local called, s = true, { status = "creating", created = M.date(os.time()) }
  if first_state then called, s, message, number = pcall(first_state, self) end
  ok = called and s
  if ok then ok, message, number = self:save(s) end
  if not ok then
    self:remove()
    self:unlock()
    if not called then error(s, 0) end
    return nil, message, number
  end
  return self
end

---The directory of a container, not locked. Whether it exists, and has a state, load() and lock() say.
---@param root string
---@param id string
---@return caisson.state.Dir|nil dir, string? message, integer? errno
function M.of(root, id)
  local ok, message, number = M.check_id(id)
  if not ok then return nil, message, number end
  return new(root, id)
end

---The directory of a container that exists, not locked. Whether it has a state, load() says.
---@param root string
---@param id string
---@return caisson.state.Dir|nil dir, string? message, integer? errno
function M.open(root, id)
  local self, message, number = M.of(root, id)
  if not self then return nil, message, number end
  local top, fd
  top, fd, number = open_dir(self)
  if not top then return nil, fd, number end
  top:close()
  fd:close()
  return self
end

---The ids of all containers there, sorted.
---@param root string
---@return string[]|nil ids, string? message, integer? errno
function M.list(root)
  local top, message, number = open_root(root)
  if not top then
    if number == errno.ENOENT then return {} end
    return nil, message, number
  end
  local names
  names, message, number = core.list(root)
  local ids = {}
  for _, name in ipairs(names or {}) do
    if M.check_id(name) then
      local fd = files.open(top, name, { "read", "directory" })
      if fd then
        fd:close()
        ids[#ids + 1] = name
      end
    end
  end
  top:close()
  if not names then return nil, message, number end
  return ids
end

return M
