-- The recorder: the tracer of a run that is learnt. A process of its own, that lets every call be made and keeps what is
-- new about it: the call with the arguments that count, the files, the addresses. At the program's end it tells all.
local core = require "caisson.core"
local Call = require "caisson.trace.call"
local json = require "caisson.json"
local rules = require "caisson.learn.rules"

local ptrace = core.ptrace

local Recorder = {}
Recorder.__index = Recorder

function Recorder:tell(what)
  self.report:write((json.document(what):gsub("\n *", " ")) .. "\n")
end

local function file(self, path)
  local now = path -- a process's own folder has another name in each run
  path = path:gsub("^/proc/%d+%f[/%z]/task/%d+", "/proc/self"):gsub("^/proc/%d+%f[/%z]", "/proc/self")
  local f = self.files[path]
  if not f then
    local st = self.there
    if self.there_path ~= now then st = core.lstat(self.root .. now) end
    f = { type = st and st.type or "none" }
    self.files[path] = f
  end
  return f, path
end

-- ---- paths ----

-- A path's directory is looked for once, until names of directories change. What goes through /proc is each process's own.
local function directory(self, call, text)
  local known = self.directories[text]
  if known then return known end
  local path, message, number = Call.resolve(call, text, nil, true)
  if path and path:sub(1, 1) == "/" and not path:find "^/proc%f[/%z]" then self.directories[text] = path end
  return path, message, number
end

-- As Call.resolve, and what is there at the end is kept for file().
local function resolve(call, text, dir, follow)
  local self = call.recorder
  local from = ""
  if text:sub(1, 1) ~= "/" then from = text ~= "" and not self.moved and call.dirs and call.dirs[text] end
  local parent, name = text:match "^(.-/?)([^/]+)$"
  if not from or not parent or name == "." or name == ".." or self.moved then
    return Call.resolve(call, text, dir, follow)
  end
  if from ~= "" then
    if from:sub(1, 1) ~= "/" then return Call.resolve(call, text, dir, follow) end
    parent = from .. "/" .. parent
  end
  local message, number
  parent, message, number = directory(self, call, parent)
  if not parent then return nil, message, number end
  if parent:find "^/proc%f[/%z]" then return Call.resolve(call, text, dir, follow) end
  local path = (parent == "/" and "" or parent) .. "/" .. name
  local st
  st, message, number = core.lstat(self.root .. path)
  if not st and number ~= core.errno.ENOENT and number ~= core.errno.ENOTDIR then return nil, message, number end
  if st and st.type == "link" and follow then return Call.resolve(call, text, dir, follow) end
  self.there, self.there_path = st, path
  return path
end

local function string_of(call, i) return call.texts and call.texts[i] or Call.string(call, i) end

local function call_of(self, tid, info, name)
  local call = Call.new(tid, info, name, self.root)
  local dirs
  for i, dir in pairs(info.dirs or {}) do
    dirs = dirs or {}
    dirs[info.texts[i] or ""] = dir
  end
  rawset(call, "namespace", self.namespace)
  rawset(call, "recorder", self)
  rawset(call, "texts", info.texts or false)
  rawset(call, "dirs", dirs or false)
  rawset(call, "string", string_of)
  rawset(call, "resolve", resolve)
  return call
end

local function parent_of(path) return path:match "^(.+)/[^/]*$" or "/" end

-- A name appears in a directory, or goes from it.
local function change(self, path)
  local dir = file(self, parent_of(path))
  dir.change = true
end

local function int(v) return tonumber(v) % 4294967296 end

local function has(v, bit) return math.floor(v / bit) % 2 == 1 end

local CREAT, TRUNC, TMPFILE = 64, 512, 4194304
local DIRECTORY = core.seccomp.architecture() == "aarch64" and 16384 or 65536

local function opened(self, call, p, f, path)
  if p.access == "stat" then return end -- O_PATH
  local how = call.name == "openat2" and call:bytes(3, 24)
  local flags = how and how:byte(1) + how:byte(2) * 256 + how:byte(3) * 65536 + how:byte(4) * 16777216
    or int(call.args[call.name == "open" and 2 or 3])
  local mode = flags % 4
  if has(flags, TMPFILE) then
    f.change = true
    return
  end
  if mode ~= 1 then f.read = true end
  if mode ~= 0 then f.write = true end
  if has(flags, TRUNC) then f.write = true end
  if has(flags, CREAT) and f.type == "none" then
    f.made, f.write = true, true
    change(self, path)
  elseif f.type == "directory" or has(flags, DIRECTORY) then
    f.read = nil
    f.list = true
  end
end

local changes = { mkdir = true, mkdirat = true, mknod = true, mknodat = true, rmdir = true, unlink = true, unlinkat = true,
  symlink = true, symlinkat = true, link = true, linkat = true, rename = true, renameat = true, renameat2 = true }

local function paths(self, call)
  self.there_path = nil
  for i, p in ipairs(call:paths()) do
    local path = p.access ~= "stat" and p.path -- who looks needs no rule
    if path ~= false and p.errno and p.errno ~= core.errno.ENOENT and p.errno ~= core.errno.EFAULT and p.text then
      self.unknown[p.text] = p.message or "?"
    end
    if path and path:sub(1, 1) == "/" and not path:find(" %(deleted%)$") and not path:find("^/memfd:") then
      local f
      f, path = file(self, path)
      if p.text:sub(1, 1) == "/" and p.text ~= path and f.type ~= "none" then self.links[p.text] = path end
      if call.name == "creat" then
        f.write = true
        if f.type == "none" then
          f.made = true
          change(self, path)
        end
      elseif call.name:find "^open" then
        opened(self, call, p, f, path)
      elseif call.name:find "^execve" then
        if f.type ~= "none" then f.exec = true end
      elseif changes[call.name] then
        self.directories, self.folders = {}, {}
        change(self, path)
        if i == 2 or not call.name:find "^link" then
          if f.type == "none" then f.made = true end
        end
      elseif call.name == "truncate" or call.name == "acct" then
        f.write = true
      elseif p.access == "write" then
        f.attr = true
        self.folders = {}
      else
        f.stat = true
      end
    end
  end
end

-- ---- addresses ----

local function address(self, call)
  local a = call.name == "sendto" and call:address(5) or call.name ~= "sendto" and call:address(2)
  if not a or a.family == "unspecified" then return end
  local what = call.name == "bind" and "bind" or "connect"
  if a.family == "unix" then
    self.net[("%s unix %s"):format(what, a.path or "@" .. (a.abstract or ""):gsub("[^%w%p]", "?"))] = true
  elseif a.family == "inet" or a.family == "inet6" then
    local s = core.learn.socket(call.tid, call:int(1))
    local kind = not s and "tcp" or s.type == 1 and "tcp" or s.type == 2 and "udp" or "raw"
    self.net[("%s %s %s %d"):format(what, kind, a.address, a.port)] = true
  end
end

-- ---- capabilities ----

local function status_of(tid)
  local f = io.open(("/proc/%d/status"):format(tid))
  local text = f and f:read("*a") or ""
  if f then f:close() end
  return text
end

-- ---- calls ----

-- After these a path may mean something else than it did.
local moving = { chroot = true, pivot_root = true, unshare = true, setns = true, mount = true, move_mount = true,
  umount2 = true }

local NEWNS = 0x20000

local function new_mounts(info)
  if info.memory then return has((info.memory:byte(3) or 0) * 65536, NEWNS) end -- clone3's flags
  return has(int(info.args[1]), NEWNS)
end

local reads_address = { connect = true, bind = true, sendto = true }

local function on_call(self, tid, info)
  if not info.native then
    self.foreign = (self.foreign or 0) + 1
    return
  end
  local name = self.names[info.nr] or "#" .. info.nr
  local set = self.calls[name]
  if not set then
    set = {}
    self.calls[name] = set
  end
  set[rules.key(name, info.args)] = true
  local call
  if self.takes_path[name] or reads_address[name] or rules.privileged[name] then
    call = call_of(self, tid, info, name)
  end
  if moving[name] or name:find "^clone" and new_mounts(info) then self.moved = true end
  if self.takes_path[name] then paths(self, call) end
  if reads_address[name] then address(self, call) end
  if self.privileged then require("caisson.learn.privileges").look(self, tid, name, info, call) end
end

-- The program that a file asks for: an ELF's interpreter, a script's. Returns its path.
local function interpreter(path)
  local f = io.open(path, "rb")
  local head = f and f:read(64)
  local found = head and head:match "^#![ \t]*(/[^%s%z]+)"
  if head and #head == 64 and head:sub(1, 5) == "\127ELF\2" then
    local function number(text, at, size)
      local v = 0
      for i = size - 1, 0, -1 do v = v * 256 + text:byte(at + i) end
      return v
    end
    local from, size, count = number(head, 33, 8), number(head, 55, 2), number(head, 57, 2)
    f:seek("set", from)
    local table_of = f:read(size * count) or ""
    for i = 0, count - 1 do
      local at = 1 + i * size
      if #table_of >= at + 55 and number(table_of, at, 4) == 3 then
        f:seek("set", number(table_of, at + 8, 8))
        found = (f:read(math.min(number(table_of, at + 32, 8), 4096)) or ""):match "^[^%z]+"
      end
    end
  end
  if f then f:close() end
  return found
end

-- The name that a program was executed by, which may be a script's: AT_EXECFN of what the kernel has told it.
local function executed_as(tid)
  local f = io.open(("/proc/%d/auxv"):format(tid), "rb")
  local text = f and f:read "*a" or ""
  if f then f:close() end
  for i = 1, #text - 15, 16 do
    if text:byte(i) == 31 and text:sub(i + 1, i + 7) == ("\0"):rep(7) then
      local at = 0
      for k = 15, 8, -1 do at = at * 256 + text:byte(i + k) end
      return (ptrace.string(tid, at))
    end
  end
end

-- A program is executed: its file, or a script's; the file that runs; what it is interpreted by.
local function on_exec(self, tid)
  local exe = core.lstat(("/proc/%d/exe"):format(tid))
  local call = Call.new(tid, { nr = -1, args = { 0, 0, 0, 0, 0, 0 } }, "execve", self.root)
  rawset(call, "namespace", self.namespace)
  for _, path in ipairs { exe and exe.target or false, interpreter(("/proc/%d/exe"):format(tid)) or false,
    executed_as(tid) or false } do
    local real = path and call:resolve(path, nil, true)
    if real and real:sub(1, 1) == "/" then
      local f
      f, real = file(self, real)
      f.exec = true
      if path:sub(1, 1) == "/" and path ~= real then self.links[path] = real end
      local asked = interpreter(self.root .. real) -- of a script: it has been executed in its stead
      if asked and exe and exe.target then self.links[asked] = self.links[asked] or call:resolve(asked, nil, true) end
    end
  end
end

-- The program itself is there: the container's first process or, under an init, the first that that makes.
local function begin(self, tid)
  local root = core.open(("/proc/%d/root"):format(tid), { "path", "directory" })
  local st = core.lstat(("/proc/%d/ns/mnt"):format(tid))
  if not root or not st or not st.target then error("the container's root can't be opened", 0) end
  self.root_fd, self.root, self.namespace = root, "/proc/self/fd/" .. root:fileno(), st.target
  self.calls.execve = { [""] = true }
  local status = status_of(tid)
  self.had = status:match "\nCapEff:%s*(%x+)"
  self.privileged = self.had and self.had:find "[^0]" ~= nil
  local cwd = core.lstat(("/proc/%d/cwd"):format(tid))
  self.cwd = cwd and cwd.target
  if not self.privileged then
    for nr, name in pairs(self.names) do
      if rules.looking[name] and nr < 1024 then
        self.learner:rule(nr, rules.of_looking(name))
        self.takes_path[name] = nil
      end
    end
  end
  self.learner:begin(tid)
end

local function known_calls()
  local names, all = {}, {}
  for name, nr in pairs(core.seccomp.syscalls()) do
    names[nr] = name
    if nr < 1024 then all[nr] = rules.of(name) end
  end
  return names, all
end

local function sorted_keys(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

-- Names are bytes, and no keys of JSON: { { name, value }, ... }.
local function pairs_of(t)
  local list = {}
  for k, v in pairs(t) do list[#list + 1] = { k, v } end
  return list
end

local function facts(self)
  local figures = self.learner:figures()
  local calls, files = {}, {}
  for name, set in pairs(self.calls) do calls[name] = sorted_keys(set) end
  local largest = 0
  for path, f in pairs(self.files) do
    local st = (f.write or f.made) and core.lstat(self.root .. path)
    if st and st.size and st.type == "file" then largest = math.max(largest, st.size) end
    local words = {}
    for k, v in pairs(f) do if v == true then words[#words + 1] = k end end
    table.sort(words)
    files[path] = f.type .. " " .. table.concat(words, " ")
  end
  local privileges
  if self.privileged then privileges = sorted_keys(self.capabilities) end
  return { calls = calls, files = pairs_of(files), net = sorted_keys(self.net), cwd = self.cwd, foreign = self.foreign,
    links = pairs_of(self.links), unknown = pairs_of(self.unknown), had = self.had, capabilities = privileges,
    peaks = { tasks = figures.tasks, fd = figures.fd, file = largest },
    unreadable = figures.unreadable or nil,
    figures = { stops = figures.stops, events = figures.events, sites = figures.sites } }
end

local function serve(self, init, first)
  local program
  while true do
    local kind, tid, info, number = self.learner:next()
    if kind == "call" then
      if self.root then on_call(self, tid, info) end
    elseif kind == "child" then
      if self.init_runs and tid == first then program = program or info end
    elseif kind == "exec" then
      self.status[tid] = nil
      if not self.root and init and tid == first then
        self.init_runs = true
      elseif not self.root and (tid == (init and program or first) or self.init_runs and not program) then
        -- (who made it may be heard after it)
        program = program or tid
        begin(self, tid)
      end
      if self.root then on_exec(self, tid) end
    elseif kind == "exited" then
      self.status[tid] = nil
      if tid == (init and program or first) then return end
    elseif kind == "ended" then
      return
    else
      error(("%s (%s)"):format(tostring(tid), tostring(info or number)), 0)
    end
  end
end

-- The life of the helper: seize pid, say so, keep what is new until the program ends. spec: init, sites.
function Recorder.run(spec, pid, report)
  local names, all = known_calls()
  local takes = {}
  for name in pairs(require("caisson.trace.calls").paths) do takes[name] = true end
  local self = setmetatable({ report = report, names = names, takes_path = takes, calls = {}, files = {}, net = {},
    unknown = {}, links = {},
    directories = {}, status = {}, folders = {}, capabilities = {}, learner = core.learn.new(all, spec.sites) }, Recorder)
  local ok, message, errno = ptrace.seize(pid, { "fork", "vfork", "clone", "exec", "seccomp", "exitkill" })
  self:tell(ok and { seized = pid } or { error = message, errno = errno })
  if not ok then return end
  ok, message = pcall(serve, self, spec.init, pid)
  if not ok then
    self:tell { error = tostring(message) }
  else
    self:tell { learnt = facts(self) }
    -- who is left goes on until the container's end
    pcall(serve, self, false, -1)
  end
end

return Recorder
