-- Breakpoints: the construction of a container stops before a step, and a person looks around inside, in the child itself,
-- which is what it will be there: its credentials, its namespaces, its mounts.
local core = require "caisson.core"
local words = require "caisson.words"

local M = {}

-- What the failure of a step says where the user wanted no more of it.
M.aborted = "aborted at a breakpoint"

---@class caisson.Breakpoint
local Session = {}
Session.__index = Session

-- ---- which steps ----

local function names_of(plan)
  local list, count = {}, {}
  for _, s in plan:each() do
    if not count[s.step] then list[#list + 1] = s.step end
    count[s.step] = (count[s.step] or 0) + 1
  end
  return list, count
end

-- The steps that "pivot_root", "mount.bind[2]", "12", … name: their numbers. Returns them, as a set | nil, message.
function M.places(plan, list)
  local set = {}
  for _, word in ipairs(list) do
    local i = plan:find(tonumber(word) or word)
    if not i then
      local names, count = names_of(plan)
      local name, nth = word:match "^(.-)%[(%d+)%]$"
      if tonumber(word) then
        return nil, ("--break %s: the plan's steps are 1 to %d"):format(word, #plan.steps)
      elseif count[name or word] then
        return nil, ("--break %s: the plan has %s %d time%s, not %s"):format(word, name, count[name],
          count[name] == 1 and "" or "s", nth)
      end
      for k, n in ipairs(names) do names[k] = count[n] > 1 and ("%s (%d)"):format(n, count[n]) or n end
      local best = words.nearest(word, (names_of(plan)))
      return nil, ("--break: no step is called '%s'%s; this plan's are %s"):format(words.show(word),
        best and " (did you mean '" .. best .. "'?)" or "", table.concat(names, ", "))
    end
    set[i] = true
  end
  return set
end

-- ---- a session ----

local spaces = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time" }

local function namespaces()
  local list = {}
  for _, n in ipairs(spaces) do
    local st = core.lstat("/proc/self/ns/" .. n)
    list[n] = st and st.target
  end
  return list
end

-- Of a built recipe (plan, compiled, options). o: places (a set, of places()), repl (a Lua prompt, no shell first).
-- All that it needs is fetched here, on the host: behind pivot_root no file of it is in sight. nil, message where that
-- is not to be.
function M.new(built, o)
  -- as for functions in there: who stands at the prompt is this program, with all its rights
  if built.join and built.join.pid and not built.new.user and not built.join.user then
    local pid = require("caisson.join").tracer(built.join.pid)
    if pid then
      return nil, ("--break: it would be in a pid namespace in which process %d may trace it (CAP_SYS_PTRACE) and overwrite "
        .. "this program"):format(pid)
    end
  end
  local self = setmetatable({ built = built, plan = built.plan, at = o.places, lua_first = o.repl, skipped = {},
    host = namespaces(),
    rows = built.plan:rows(), last = built.compiled:last() }, Session)
  self.input_tty = core.terminal.size(0) ~= nil
  self.output = core.terminal.size(1) and 1 or 2
  self.tty = self.input_tty and core.terminal.size(self.output) ~= nil
  self.history = self.tty and require("caisson.repl.history").open() or require("caisson.repl.history").none()
  self.color = require("caisson.cli.color").of(self.output)
  self.busybox = require("caisson.breakpoint.shell").of_host()
  if self.tty then
    self.master = core.terminal.open()
    local modes = core.terminal.raw(0)
    if modes then core.terminal.restore(0, modes) end
    self.modes = modes
  end
  for _, name in ipairs { "repl", "repl.editor", "repl.complete", "repl.show", "breakpoint.copy", "build", "hooks", "policy",
    "landlock", "trace" } do
    require("caisson." .. name)
  end
  return self
end

-- The terminal is as it was, whatever has become of who stood at the prompt.
function Session:close()
  if self.modes and core.terminal.foreground(0) then core.terminal.restore(0, self.modes) end
  for _, fd in ipairs { self.master, self.busybox, self.history.file } do fd:close() end
end

function Session:say(text)
  io.stdout:flush()
  local fd = assert(core.dup(self.output))
  while #text > 0 do
    local n = fd:write(text)
    if not n then break end
    text = text:sub(n + 1)
  end
  fd:close()
end

-- ---- what a stop looks like ----

local function short(s, most) return #s > most and s:sub(1, most - 3) .. "..." or s end

function Session:row(i)
  local r = self.rows[i]
  return ("%s%3d  %-6s  %-18s %s"):format(i == self.number and "> " or "  ", i, r.side, r.step,
    short(r.object:gsub("%c", "?"), 46))
end

function Session:list(all)
  local from, to = self.number - 4, self.number + 6
  if all then from, to = 1, #self.rows end
  for i = math.max(from, 1), math.min(to, #self.rows) do
    local line = self:row(i)
    if self.skipped[i] then line = line .. "  (skipped)" end
    self:say((i == self.number and self.color.bold(line) or i < self.number and self.color.dim(line) or line) .. "\n")
  end
end

local function ids()
  local id = core.identity()
  local held = core.capabilities.get()
  return ("pid %d, uid %d, gid %d, %d capabilities"):format(id.pid, id.euid, id.egid, held and #held.permitted or 0)
end

function Session:header()
  local i, r, c = self.number, self.rows[self.number], self.color
  local what = ("step %d of %d, %s %s"):format(i, #self.rows, r.step, short(r.object:gsub("%c", "?"), 50))
  local lines = { c.bold((what:gsub("%s+$", ""))) .. (r.at ~= "" and c.dim("  " .. r.at) or "") }
  if not self.born then
    lines[2] = "  nothing is made yet: this is still the host, and what is done here is done to it"
  else
    lines[2] = "  here: " .. ids()
    local own = {}
    local now = namespaces()
    for _, n in ipairs(spaces) do
      if now[n] and self.host[n] and now[n] ~= self.host[n] then own[#own + 1] = n == "mnt" and "mount" or n end
    end
    if now.user then
      lines[3] = "  the container's namespaces: " .. (#own > 0 and table.concat(own, " ") or "none yet")
    end
    if self:new_root() then
      lines[#lines + 1] = ("  / is the host's still; the new root is /proc/self/fd/%d/%s"):format(
        self.lua_first and self:new_root() or 3, self.lua_first and "" or " (of the shell)")
    end
    if i > self.last then
      lines[#lines + 1] = ("  a copy of the child, which takes the steps from %d on right before its program"):format(self.last)
    end
  end
  for _, text in ipairs(lines) do
    self:say((c.columns and require("caisson.cli.color").cut(text, c.columns) or text) .. "\n")
  end
end

-- The descriptor of the new root, while that is not in its place.
function Session:new_root()
  local i = self.plan:find "pivot_root" or self.plan:find "root.move"
  return self.born and i and self.number <= i and self.slots.root or nil
end

-- ---- the prompt ----

local help = [[
  continue, c     go on, to the next breakpoint (Ctrl-D does too)
  step, s         do this step, and stop before the next
  skip            leave this step out, and stop before the next
  abort, q        give up: nothing is left of the container
  list, l [all]   the steps around this one, or all
  break STEP      stop there too
  shell           a shell, just here
All else is Lua: state, plan, step, slots; core, which acts on this very process;
ls(path), cat(path), mounts(), whoami().]]

local commands = { c = "continue", ["continue"] = "continue", s = "step", n = "step", step = "step", skip = "skip", q = "abort",
  abort = "abort", quit = "abort", l = "list", list = "list", sh = "shell", shell = "shell", help = "help", h = "help",
  ["?"] = "help" }

-- false: done here; a word: the prompt's end; nil: none of these.
function Session:command(line, asking)
  local text = line:match "^%s*(.-)%s*$"
  local place = text:match "^break%s+(%S+)$"
  local word = place and "break" or text:find "^l[ist]*%s+all$" and "list" or commands[text]
  if asking or not word then return word end
  if word == "help" then
    self:say(help .. "\n")
  elseif word == "list" then
    self:list(text:find " all$")
  elseif word == "break" then
    local set, message = M.places(self.plan, { place })
    for i in pairs(set or {}) do
      if i <= self.number then message = ("step %d is past"):format(i) end
      self.at[i] = true
    end
    if message then self:say(message .. "\n") end
  elseif word == "skip" and (self.rows[self.number].step == "clone" or self.rows[self.number].step == "exec"
    or self.rows[self.number].step == "wait") then
    self:say(("a construction can't go without its %s\n"):format(self.rows[self.number].step))
  else
    return word
  end
  return false
end

local function read_text(path)
  local fd, message = core.open(path, "read")
  if not fd then return nil, message end
  local parts = {}
  while true do
    local s, why = fd:read()
    if not s then return nil, why end
    if s == "" then break end
    parts[#parts + 1] = s
  end
  fd:close()
  return table.concat(parts)
end

function Session:environment()
  local state = require("caisson.hooks").state(self.built, "startContainer", core.identity().pid)
  state.status = "creating"
  local env = { core = core, state = state, plan = self.plan, step = self.plan.steps[self.number], slots = self.slots,
    caisson = package.loaded.caisson }
  local function shown(text, message)
    if not text then return nil, message end
    self:say(text:gsub("\n?$", "\n", 1))
  end
  function env.print(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    self:say(table.concat(parts, "\t") .. "\n")
  end
  function env.ls(path)
    local names, message = core.list(path or ".")
    return shown(names and table.concat(names, "  "), message)
  end
  function env.cat(path) return shown(read_text(path)) end
  function env.mounts()
    local text, message = read_text "/proc/self/mountinfo"
    if not text then return nil, message end
    for root, at, rest in text:gmatch "%S+ %S+ %S+ (%S+) (%S+) ([^\n]*)" do
      local flags, kind, source = rest:match "^(%S+) .-%- (%S+) (%S+)"
      self:say(("%-28s %-8s %s%s (%s)\n"):format(at, kind or "?", source or "?", root ~= "/" and ":" .. root or "", flags or ""))
    end
  end
  function env.whoami() return shown(ids()) end
  return setmetatable(env, { __index = function(_, key)
    local v = rawget(_G, key)
    if v == nil and env.caisson and type(key) == "string" then v = env.caisson[key] end
    return v
  end })
end

function Session:talk()
  local r = self.rows[self.number]
  local repl = require("caisson.repl").new { env = self:environment(), prompt = ("%d %s> "):format(self.number, r.step),
    output = self.output, history = self.history, color = self.color, alone = false, terminal = self.tty,
    command = function(line, asking) return self:command(line, asking) end }
  return repl:run() or "continue"
end

-- What the child has before it still, as far as this stop: of the steps that it takes last.
function Session:ahead()
  local list = {}
  for i = self.last, self.number - 1 do
    local s = self.plan.steps[i]
    local p = core.primitives[s.step]
    if (s.side or p.side) == "child" and not p.action and not self.skipped[i] then
      local options = {}
      for k, v in pairs(s.options) do options[k] = v end
      options.listener = nil -- nobody answers a copy: what is asked about fails with ENOSYS
      list[#list + 1] = { step = s.step, options = options }
    end
  end
  return list
end

local function ending(e)
  if e.signal == 31 then return "a filter that is in force here has ended the shell (SIGSYS)" end
  if e.signal then return ("the shell was ended by signal %d (%s)"):format(e.signal, core.signal.name(e.signal) or "?") end
end

function Session:shell(ahead)
  local r = self.rows[self.number]
  local e, message = require("caisson.breakpoint.shell").run(ahead, { master = self.master, busybox = self.busybox,
    root = self:new_root(), output = self.output,
    prompt = ("(%d %s) %s "):format(self.number, r.step, core.identity().euid == 0 and "#" or "$"),
    env = { CAISSON_STEP = r.step, CAISSON_NUMBER = tostring(self.number) } })
  message = message or ending(e)
  if message then self:say("shell: " .. message .. "\n") end
  return e ~= nil and not e.signal
end

-- Stand here until the user has said how to go on.
function Session:stop()
  self:header()
  local ahead = self.born and self:ahead() or {}
  if not self.lua_first and not self.stepping then
    self:say(self.color.dim "  a shell: leave it (Ctrl-D) to continue, step, skip, list, abort, or for Lua" .. "\n")
    self:shell(ahead)
  end
  while true do
    local word, message
    if #ahead > 0 then
      word, message = require("caisson.breakpoint.copy").run(ahead, function() return self:talk() end, { self.history.file })
      if not word then
        self:say(message .. "; this prompt is the child's, before those steps\n")
        word = self:talk()
      end
    else
      word = self:talk()
    end
    if word ~= "shell" then return word end
    self:shell(ahead)
  end
end

-- For core.spawn: before each step, on the side that is there.
function Session:before(i, born, slots)
  if not (self.at[i] or self.stepping) then return end
  self.number, self.born, self.slots = i, born, slots
  local word = self:stop()
  self.stepping = word == "step" or word == "skip"
  if word == "skip" then
    self.skipped[i] = true
    return "skip"
  elseif word == "abort" then
    return nil, M.aborted, core.errno.ECANCELED
  end
end

return M
