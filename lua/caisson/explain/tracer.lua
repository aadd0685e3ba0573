-- The tracer of --explain: a process of its own, with the recipe's values as they are. It answers where the filters ask,
-- as they would have, and has what was denied looked into while who made the call still stands there.
local core = require "caisson.core"

local ptrace = core.ptrace

local MOST = 200 -- different events that are told; of more, their number

local Tracer = {}
Tracer.__index = Tracer

function Tracer:tell(what)
  self.report:write((require("caisson.json").document(what):gsub("\n *", " ")) .. "\n")
end

local function read(path)
  local f = io.open(path)
  local text = f and f:read("*a") or ""
  if f then f:close() end
  return text
end

-- ---- who ----

-- A process that has executed something, or was made by one that has: its name stays known when it is gone.
local function identify(tid)
  local st = core.lstat(("/proc/%d/exe"):format(tid))
  return { exe = st and st.target, comm = read(("/proc/%d/comm"):format(tid)):match "^[^\n]*" }
end

local function on_exec(self, tid)
  if not self.root and tid == self.first and self.init then
    self.init_runs = true -- what hooks execute before is not the program either
  elseif not self.root and (tid == (self.init and self.program or self.first) or self.init_runs and not self.program) then
    -- (who made it may be heard after it)
    local root = core.open(("/proc/%d/root"):format(tid), { "path", "directory" })
    local st = core.lstat(("/proc/%d/ns/mnt"):format(tid))
    if not root or not st or not st.target then error("the container's root can't be opened", 0) end
    self.watcher:whole()
    self.root_fd, self.root, self.namespace = root, "/proc/self/fd/" .. root:fileno(), st.target
  end
  if self.root then self.who[tid] = identify(tid) end
  ptrace.cont(tid)
end

local function on_child(self, tid, child)
  if self.init_runs and tid == self.first then self.program = self.program or child end
  self.who[child] = self.who[child] or self.who[tid] -- it may have executed something before its maker is heard
  ptrace.cont(tid)
end

-- ---- what ----

-- The names of calls, by number: most programs are denied nothing, and nothing is loaded for them.
local function name_of(self, nr)
  if not self.names then
    self.names = {}
    for name, number in pairs(core.seccomp.syscalls()) do self.names[number] = name end
  end
  return self.names[nr] or "#" .. nr
end

-- code: an errno's name; signal: of what was killed; else neither.
local function record(self, tid, info, code, signal, by_filter)
  if not self.root then return end -- construction
  local name = info.native and name_of(self, info.nr) or "#" .. info.nr
  local call = require("caisson.trace.call").new(tid, info, name, self.root)
  rawset(call, "namespace", self.namespace)
  local text = info.native and require("caisson.trace.decode").call(call) or name .. "()"
  local who = self.who[tid] or identify(tid)
  local key = table.concat({ text, code or "", signal or "", who.exe or "" }, "\0")
  local id = self.seen[key]
  if id then
    self.counts[id] = self.counts[id] + 1
    return
  end
  if #self.counts == MOST then
    self.more = self.more + 1
    return
  end
  id = #self.counts + 1
  self.seen[key], self.counts[id] = id, 1
  local event = { id = id, call = name, text = text, code = code, signal = signal, count = 1,
    pid = tonumber((call:own_id())), exe = who.exe, comm = read(("/proc/%d/comm"):format(tid)):match "^[^\n]+" or who.comm }
  local ok, causes, path = pcall(require("caisson.explain.causes").of, self, call, info,
    { code = code, signal = signal, by_filter = by_filter })
  event.causes = ok and causes or { { kind = "unknown", why = "it could not be looked into: " .. tostring(causes) } }
  event.path = ok and path or nil
  self:tell { event = event }
end

local on = {}

on.exec, on.child = on_exec, on_child

-- Answered by a filter's errno; any other would be there without a tracer's too.
function on.denied(self, tid, _, info)
  local kind, data = math.floor(info.answer / 65536), info.answer % 65536
  local number = kind == 5 and data or core.errno.ENOSYS
  if number ~= 0 then record(self, tid, info, core.errno.name(number) or tostring(number), nil, true) end
  ptrace.cont(tid)
end

-- Errnos that mostly say something else: who has no such id gets EINVAL, but so does who errs; what does not wait gets
-- EAGAIN; to move a file to another filesystem is EXDEV without Landlock, too.
local function set(names)
  local t = {}
  for name in names:gmatch "%S+" do t[name] = true end
  return t
end

local ids = set "chown lchown fchown fchownat setuid setgid setreuid setregid setresuid setresgid setgroups"
local processes = set "clone clone3 fork vfork setuid setreuid setresuid mlock mlock2 mlockall"

local function is_denial(self, name, number)
  local errno = core.errno
  if number == errno.EINVAL then return ids[name] end
  if number == errno.EAGAIN then return processes[name] end
  if number == errno.EXDEV then return self.spec.built.options.landlock ~= nil end
  return true
end

function on.failed(self, tid, result, info)
  if is_denial(self, name_of(self, info.nr), -result) then
    record(self, tid, info, core.errno.name(-result) or tostring(-result))
  end
  ptrace.cont(tid)
end

local function kills(answer) return answer < 65536 or answer >= 2147483648 end

-- At its end; other threads of its process end so too, in calls that nobody denies.
function on.sigsys(self, tid)
  local info = self.watcher:call(tid)
  if info and kills(info.answer) then record(self, tid, info, nil, "SIGSYS") end
  ptrace.cont(tid)
end

local TRAP, signals = 0x30000, { [31] = "SIGSYS", [25] = "SIGXFSZ", [24] = "SIGXCPU" }

function on.signal(self, tid, signal)
  local info = self.watcher:call(tid)
  local trapped = info and math.floor(info.answer / 65536) == TRAP / 65536
  if info and (signal ~= 31 or trapped) then record(self, tid, info, nil, signals[signal]) end
  ptrace.cont(tid, signal)
end

local function flush(self)
  if self.flushed then return end
  self.flushed = true
  if #self.counts == 0 and #self.killed == 0 then
    self.report:write(require("caisson.explain").NOTHING .. "\n")
    return
  end
  self:tell { over = { counts = self.counts, more = self.more, killed = self.killed } }
end

function on.killed(self, tid, signal)
  local who = self.who[tid]
  if signal == 9 and who and #self.killed < MOST then
    self.killed[#self.killed + 1] = { pid = tid, exe = who.exe, comm = who.comm }
  end
  on.gone(self, tid)
end

function on.gone(self, tid)
  self.who[tid] = nil
  if tid == self.first then flush(self) end
end

-- What needs no process yet.
function Tracer.prepare(spec)
  local programs = {}
  for i, p in ipairs(spec.programs) do programs[i] = p.program end
  return ptrace.watch { programs = programs, tag = spec.tag, errnos = spec.errnos, signals = { 24, 25, 31 },
    key = spec.key, calls = spec.calls }
end

-- The life of the helper: seize pid, say so, serve until nothing is left.
function Tracer.run(spec, pid, report, watcher)
  local self = setmetatable({ spec = spec, init = spec.init, first = pid, report = report, who = {}, watcher = watcher,
    seen = {}, counts = {}, killed = {}, more = 0 }, Tracer)
  local ok, message, errno = ptrace.seize(pid, { "fork", "vfork", "clone", "exec", "exit", "seccomp", "sysgood", "exitkill" })
  if not ok then return self:tell { error = message, errno = errno } end
  report:write(('{ "seized": %d }\n'):format(pid))
  while true do
    local tid, kind, value, info = self.watcher:next()
    if not tid then break end
    on[kind](self, tid, value, info)
  end
  flush(self)
end

return Tracer
