-- caisson watch: run it again whenever the recipe, or what it is made of, changes; and say what that changed.
--
-- Each run is a process of its own (watch/worker.lua). This one looks at files, shows what the program writes, and
-- ends the run: by closing the control pipe, which the worker has also when this process is killed.
local cli = require "caisson.cli"
local color = require "caisson.cli.color"
local core = require "caisson.core"
local files = require "caisson.cli.watch.files"
local json = require "caisson.json"
local report = require "caisson.cli.watch.report"

local M = {}

-- Nanoseconds: what changes within this time of another change is the same change, at most until then.
local quiet, at_most = 60e6, 500e6
-- A worker that has not ended so long after it was told to is killed: sooner where it has made nothing yet.
local function patience(run) return run.plan and 4e9 or 3e8 end
-- What changes so soon after its start, in so many runs one after the other, is written by the program itself.
local soon, often = 2e9, 5
-- The bytes of an output that are kept, to compare.
local kept = 2 ^ 20

---@class caisson.cli.Watch
local Watch = {}
Watch.__index = Watch

-- This command again, with other words.
local function self_argv(words)
  local argv = {}
  if package.loaded["caisson.launcher"] then
    argv[1] = assert(core.realpath("/proc/self/exe"))
  else
    local i = 0
    while arg[i - 1] do i = i - 1 end
    for k = i, 0 do argv[#argv + 1] = arg[k] end
  end
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  return argv
end

-- The words of the worker: this command's own, and how the two talk.
local function worker_words()
  local words, at = {}, nil
  for i, w in ipairs(cli.argv) do
    at = at or w == "--" and i or nil
    words[i] = w
  end
  at = at or #words + 1
  table.insert(words, at, "3,4,5")
  table.insert(words, at, "--worker")
  return words
end

local function environment()
  local f = assert(io.open("/proc/self/environ", "rb"))
  local text = f:read "*a"
  f:close()
  local env = {}
  for word in text:gmatch "[^%z]+" do env[#env + 1] = word end
  return env
end

-- ---- one run ----

-- Take what one of its pipes has; at its end, or where nothing more can come, it is closed.
local function drain(self, name)
  local run = self.run
  while run[name] do
    local bytes, _, errno = run[name]:read()
    if not bytes and errno == core.errno.EAGAIN then return end
    if not bytes or bytes == "" then
      run[name]:close()
      run[name] = nil
    elseif name == "report" then
      run.told = (run.told or "") .. bytes
    else
      local output, file = run.output, name == "stdout" and io.stdout or io.stderr
      file:write(bytes)
      file:flush()
      output.last = bytes:sub(-1)
      -- what is compared is the program's; caisson's own words are not
      if output[name] and #output[name] < kept then output[name] = (output[name] .. bytes):sub(1, kept) end
    end
  end
end

-- The lines that the worker has told so far.
function Watch:hear()
  drain(self, "report")
  local run = self.run
  while run.told and run.told:find("\n", 1, true) do
    local line, rest = run.told:match "^([^\n]*)\n(.*)$"
    run.told = rest
    local message = json.decode(line)
    if message.files then
      for _, path in ipairs(message.files) do self:add(path) end
      self:look()
    elseif message.plan then
      run.plan = message.plan
      if self.plan then self.report:plan(self.plan, run.plan) end
      self.plan = run.plan
    elseif message.result then
      run.result = message.result
    end
  end
end

function Watch:start(why)
  self.number = self.number + 1
  self.report:begins(self.number, os.date "%H:%M:%S", why)
  local pipes = {}
  for _, name in ipairs { "stdout", "stderr", "say", "report", "control" } do
    local r, w = core.pipe()
    if not r then cli.fail(w) end
    pipes[name] = { r, w }
  end
  local null = assert(core.open("/dev/null"))
  local argv = self_argv(self.words)
  local process, message = core.spawn { plan = core.plan {
    { step = "clone", options = {} },
    -- the control pipe tells it of this process's death, and it has something to take away then
    { step = "exec", options = { argv = argv, env = environment(), death_signal = "none",
      files = { "stdin", "stdout", "say", "report", "control", "stderr" } } },
  }, slots = { stdin = null, stdout = pipes.stdout[2], stderr = pipes.stderr[2], say = pipes.say[2],
    report = pipes.report[2], control = pipes.control[1] } }
  null:close()
  for name, p in pairs(pipes) do p[name == "control" and 1 or 2]:close() end
  if not process then cli.fail(argv[1] .. ": " .. message) end
  local run = { process = process, control = pipes.control[2], started = core.now(), output = { stdout = "", stderr = "" } }
  for _, name in ipairs { "stdout", "stderr", "say", "report" } do
    run[name] = pipes[name][1]
    run[name]:nonblock(true)
  end
  self.run = run
end

-- Tell the worker to end its container; it is looked after until it has gone.
function Watch:stop()
  local run = self.run
  if not run or run.stopped then return end
  run.control:close()
  run.stopped = core.now()
end

-- The worker has gone.
function Watch:ended(status)
  local run = self.run
  for _, name in ipairs { "stdout", "stderr", "say" } do drain(self, name) end
  self:hear()
  for _, name in ipairs { "stdout", "stderr", "say", "report", "control" } do
    if run[name] then run[name]:close() end
  end
  run.process:close()
  self.run = nil
  require("caisson.cli.watch.worker").sweep()
  if run.output.last and run.output.last ~= "\n" then self.report:line "" end
  if run.stopped then return end
  if run.result and run.result.status ~= "failed" then
    self.report:ended(run, self.last)
    self.last = run
  else
    -- the worker has said why
    self.report:line(self.report.c.bold "== " .. self.report.c.red(run.plan and "not started" or "no plan")
      .. (status.signal and " (SIG" .. core.signal.name(status.signal) .. ")" or ""))
  end
  local any = #self.folders > 0 or self.waiting
  for path in pairs(self.paths) do any = any or core.lstat(path) end
  if not any then
    self.ending = status.code or cli.failed
    return
  end
  self:waits()
end

-- ---- what is watched ----

function Watch:add(path)
  local here = (core.realpath "." or "") .. "/"
  local whole = files.absolute(path)
  local label = whole:sub(1, #here) == here and whole:sub(#here + 1) or whole:match "[^/]*/[^/]*$"
  self.paths[whole], self.mine[label] = label, whole:sub(1, #here) == here or nil
  return label
end

-- Look at what there is now.
function Watch:look()
  local ok, message = self.files:set(self.paths, self.folders)
  if not ok then cli.fail("--path " .. message) end
end

-- What the user named: files, and folders with all that is in them.
function Watch:name(paths)
  for _, path in ipairs(paths) do
    local real = core.realpath(path)
    local st = real and core.lstat(real)
    if st and st.type == "directory" then
      self.folders[#self.folders + 1] = (path:gsub("(.)/+$", "%1"))
    else
      self:add(path)
      self.named[files.absolute(path)] = true
    end
  end
end

function Watch:waits()
  local list = {}
  for path, label in pairs(self.paths) do
    if core.lstat(path) then list[#list + 1] = label end
  end
  -- the recipe first, then the user's own
  local function rank(label)
    return label == self.recipe and 0 or self.mine[label] and 1 or 2
  end
  table.sort(list, function(a, b)
    local x, y = rank(a), rank(b)
    if x ~= y then return x < y end
    return a < b
  end)
  for i, folder in ipairs(self.folders) do table.insert(list, i, folder .. "/") end
  self.report:waits("watching " .. report.names(list) .. (self.terminal and " · Enter: again, q: end" or ""))
end

-- A change that the program itself makes each time it runs is none.
function Watch:own_work(news)
  local early = self.run and core.now() - self.run.started < soon
  local left = {}
  for _, label in ipairs(news) do
    local item, last = news[label], self.early[label]
    local mine = early and item.path and (item.folder or self.named[item.path])
    if mine and not (last and last.number == self.number) then
      last = { number = self.number, times = last and last.number == self.number - 1 and last.times + 1 or 1 }
      self.early[label] = last
    end
    if mine and last.times >= often then
      self.report:line(("== %s changes each time that the program runs: it is watched no longer"):format(
        report.names { label }))
      self.files.left_out[item.path] = true
      self.paths[item.path], self.named[item.path] = nil, nil
      self:look()
    else
      left[#left + 1] = label
    end
  end
  return left
end

-- ---- the loop ----

-- Does this process read its terminal? One in the background would be stopped.
local function in_foreground()
  if not core.terminal.size(0) then return false end
  local f = io.open "/proc/self/stat"
  local group, terminal = (f and f:read "*a" or ""):match "%) %a %d+ (%d+) %d+ %d+ (-?%d+)"
  if f then f:close() end
  return group ~= nil and group == terminal
end

-- The keys that came: "again", "end" or nil.
function Watch:keys()
  local bytes = self.stdin:read(4096)
  if not bytes or bytes == "" then
    self.terminal = false
    return nil
  end
  return bytes:find "^%s*q" and "end" or bytes:find "\n" and "again" or nil
end

-- What has changed is run when it is quiet again; what is there is ended before.
function Watch:changed(list)
  if #list == 0 then return end
  local now = core.now()
  self.first = self.first or now
  self.due = math.min(now + quiet, self.first + at_most)
  for _, label in ipairs(list) do
    if not self.pending[label] then
      self.pending[label] = true
      self.pending[#self.pending + 1] = label
    end
  end
end

function Watch:timeout()
  local at = self.due
  if self.run and self.run.stopped then at = math.min(at or math.huge, self.run.stopped + patience(self.run)) end
  return at and math.max((at - core.now()) / 1e9, 0)
end

-- One round. Returns the exit status where that was the last.
function Watch:step()
  local list, who = {}, {}
  local function poll(fd, name)
    if not fd then return end
    list[#list + 1] = { fd = fd }
    who[#who + 1] = name
  end
  poll(self.signals, "signals")
  poll(self.files:fileno(), "files")
  local run = self.run
  if run then
    for _, name in ipairs { "stdout", "stderr", "say", "report" } do poll(run[name], name) end
    poll(run.process:end_fd(), "process")
  end
  if self.terminal and not self.ending and in_foreground() then poll(0, "keys") end
  local ready, message = core.poll(list, self:timeout())
  if not ready then error(message, 0) end
  local is = {}
  for i in pairs(ready) do is[who[i]] = true end
  local s = core.signal.read(self.signals)
  if s then
    self.ending = self.ending or 128 + s.signal
    self:stop()
  end
  if is.keys and not self.ending then
    local key = self:keys()
    if key == "end" then
      self.ending = 0
      self:stop()
    elseif key == "again" then
      self:changed { "again" }
    end
  end
  if run then
    for _, name in ipairs { "stdout", "stderr", "say" } do drain(self, name) end
    self:hear()
  end
  if is.files then self:changed(self:own_work(self.files:news())) end
  if run then
    local status = run.process:wait(0)
    if status then
      -- what the program did last is its own work too
      self:changed(self:own_work(self.files:news()))
      self:ended(status)
    elseif run.stopped and core.now() > run.stopped + patience(run) then
      run.process:kill "KILL"
    end
  end
  if self.ending then return not self.run and self.ending or nil end
  if self.due and core.now() >= self.due then
    if self.run then
      self:stop()
    else
      local why = report.names(self.pending) .. " changed"
      if #self.pending == 1 and self.pending.again then why = "again" end
      self.pending, self.due, self.first = {}, nil, nil
      self:look()
      self:start(why)
    end
  end
end

function M.main(o)
  if o.worker then return require("caisson.cli.watch.worker").main(o) end
  if not o.words[1] and not o.plan then cli.fail("a recipe is expected (see: caisson recipes)") end
  local watcher, message = files.new()
  if not watcher then cli.fail(message) end
  local self = setmetatable({ number = 0, files = watcher, paths = {}, mine = {}, named = {}, folders = {}, early = {},
    pending = {}, words = worker_words(), terminal = in_foreground(),
    report = report.new(function(text) io.stderr:write(text) end, color.of(io.stderr)) }, Watch)
  if self.terminal then self.stdin = assert(core.dup(0)) end
  self:name(o.path)
  if o.plan then self:add(o.plan) end
  local first = o.words[1]
  if first and (first:find("/", 1, true) or first:find "%.lua$") then
    -- one that is not there yet is waited for
    self.recipe, self.waiting = self:add(first), true
  end
  self.signals = assert(core.signal.open { "INT", "TERM", "HUP", "QUIT" })
  core.subreaper(true)
  self:look()
  self:start(first or o.plan)
  local ok, status
  repeat
    ok, status = pcall(self.step, self)
  until not ok or status
  if not ok then
    self:stop()
    if self.run then self.run.process:wait(patience(self.run) / 1e9) end
  end
  watcher:close()
  core.signal.close(self.signals)
  if not ok then error(status, 0) end
  return status
end

return M
