-- The command as specs run it: as a script of this interpreter, alone or at a terminal of its own.
local t = require "support"
local core = t.core

local M = {}

-- Where the checkout is, so that the command can be run from any directory.
local root = assert(core.realpath("."))

local function absolute(path)
  return (path:gsub("[^;]+", function(p) return p:sub(1, 2) == "./" and root .. p:sub(2) or p end))
end

M.environment = { "LUA_PATH=" .. absolute(package.path), "LUA_CPATH=" .. absolute(package.cpath),
  "PATH=" .. os.getenv("PATH"), "HOME=/tmp", "TERM=dumb",
  -- what a sanitizer build is told; a command ends without closing its state, which is no leak
  "ASAN_OPTIONS=" .. (os.getenv("ASAN_OPTIONS") or "") }
M.script = root .. "/core/launcher/caisson.lua"
M.root = root

local function interpreter()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

-- The words of a command line, with the interpreter before them.
function M.argv(words)
  local argv = { interpreter(), M.script }
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  return argv
end

-- Run any command; opts: stdin (bytes), cwd, as (a uid), env (more variables). Returns { out =, err =,
-- code =, signal = }.
function M.run(argv, opts)
  opts = opts or {}
  local steps = { t.step("clone", {}), t.step("chdir", { path = opts.cwd or root }) }
  if opts.as then
    for _, s in ipairs { t.step("groups", { groups = {} }), t.step("gid", { gid = opts.as }), t.step("uid", { uid = opts.as }) } do
      steps[#steps + 1] = s
    end
  end
  local env = {}
  for i, v in ipairs(M.environment) do env[i] = v end
  for _, v in ipairs(opts.env or {}) do env[#env + 1] = v end
  steps[#steps + 1] = t.step("exec", { argv = argv, env = env, files = { "stdin", "stdout", "stderr" } })
  local out_r, out_w = core.pipe()
  local err_r, err_w = core.pipe()
  local input = opts.stdin and core.memfd("stdin", opts.stdin) or core.open("/dev/null")
  local process = assert(core.spawn { plan = core.plan(steps), slots = { stdin = input, stdout = out_w, stderr = err_w } })
  out_w:close()
  err_w:close()
  input:close()
  local parts, open = { {}, {} }, { out_r, err_r }
  while open[1] or open[2] do
    local list, index = {}, {}
    for i = 1, 2 do
      if open[i] then
        list[#list + 1] = { fd = open[i] }
        index[#index + 1] = i
      end
    end
    for k in pairs(core.poll(list)) do
      local i = index[k]
      local s = open[i]:read()
      if s == "" then
        open[i]:close()
        open[i] = nil
      else
        table.insert(parts[i], s)
      end
    end
  end
  local status = process:wait()
  process:close()
  return { out = table.concat(parts[1]), err = table.concat(parts[2]), code = status.code, signal = status.signal }
end

-- The same for the command of this checkout; opts.prefix: a command to run it by.
function M.caisson(words, opts)
  local argv = M.argv(words)
  for i, w in ipairs(opts and opts.prefix or {}) do table.insert(argv, i, w) end
  return M.run(argv, opts)
end

---@class support.Terminal
local Terminal = {}
Terminal.__index = Terminal

-- Run words (any command) at a terminal of its own, in the foreground there.
-- opts: rows, columns, shell (through a shell with job control, which then types the words).
function M.at_terminal(argv, opts)
  opts = opts or {}
  local process = assert(core.spawn { plan = core.plan {
    t.step("clone", {}),
    t.step("chdir", { path = root }),
    t.step("pty", { path = "/dev/ptmx", master = "pty", slave = "tty", rows = opts.rows or 24, columns = opts.columns or 80 }),
    t.step("send", "pty"),
    t.step("session"),
    t.step("tty", "tty"),
    t.step("exec", { argv = argv, env = M.environment, files = { "tty", "tty", "tty" } }),
  } })
  local master = process:slot("pty", true)
  master:nonblock(true)
  return setmetatable({ process = process, master = master, seen = "", all = "" }, Terminal)
end

-- Read until the plain text has come (and take it from what was seen); raises after 10 seconds.
function Terminal:expect(text)
  local deadline = core.now() + 10e9
  while true do
    local from, to = self.seen:find(text, 1, true)
    if from then
      local before = self.seen:sub(1, from - 1)
      self.seen = self.seen:sub(to + 1)
      return before
    end
    local left = (deadline - core.now()) / 1e9
    if left <= 0 then error(("%q has not come; seen: %q"):format(text, self.all), 2) end
    core.poll({ { fd = self.master } }, left)
    local bytes, _, errno = self.master:read()
    if bytes then
      self.seen, self.all = self.seen .. bytes, self.all .. bytes
    elseif errno ~= core.errno.EAGAIN then
      error(("%q has not come before the end; seen: %q"):format(text, self.all), 2)
    end
  end
end

function Terminal:send(text)
  assert(self.master:write(text))
end

-- Is the terminal as a shell would want it? (echo, line editing and signals on)
function Terminal:is_sane()
  local path = ("/proc/%d/fd/%d"):format(t.getpid(), self.master:fileno())
  local modes = t.sh("stty -a <" .. path)
  return modes:find(" echo ", 1, true) ~= nil and modes:find(" icanon", 1, true) ~= nil and
    modes:find("isig", 1, true) ~= nil and modes:find("-isig", 1, true) == nil
end

-- Wait for the end, with what is still written. Returns the status.
function Terminal:wait()
  local deadline = core.now() + 10e9
  local status
  repeat
    status = self.process:wait(0.02)
    local bytes = self.master:read()
    if bytes then self.seen, self.all = self.seen .. bytes, self.all .. bytes end
    if core.now() > deadline then
      self.process:close()
      error(("no end; seen: %q"):format(self.all), 2)
    end
  until status
  local bytes = self.master:read()
  while bytes and bytes ~= "" do
    self.seen, self.all = self.seen .. bytes, self.all .. bytes
    bytes = self.master:read()
  end
  return status
end

function Terminal:close()
  self.process:close()
  self.master:close()
end

return M
