-- The caisson-oci command: runc's command line over Caisson's containers, so that it can stand in runc's place.
--
-- What engines read is runc's, to the letter: the flags and how they are written, the formats of output, exit
-- statuses, the log, and the texts of the few errors that they look for. Words are read by the small parser
-- here; a command is a module of cli/, loaded when it is called.
local M = {}

M.name = "caisson-oci"

-- Where each command is.
local modules = {
  create = "create", run = "create", restore = "checkpoint", checkpoint = "checkpoint", exec = "exec",
  start = "container", state = "container", kill = "container", delete = "container", pause = "container",
  resume = "container", list = "list", ps = "list", update = "update", events = "events", spec = "document",
  features = "document",
}

-- ---- what is said ----

local Error = {}
Error.__index = Error

function Error:__tostring() return self.message end

-- End the command with a message. status: the command's, or 1, where it is not given.
function M.fail(message, status)
  error(setmetatable({ message = message, status = status }, Error), 0)
end

-- What stands before an error of the command that runs, and its exit status then.
local current = {}

-- The log, opened when there is something to say.
local function logger()
  if not M.log then
    local o = M.globals or {}
    local message
    M.log, message = require("caisson.log").open { to = o.log_fd or 2, format = o["log-format"] == "json" and "json" or "logfmt",
      level = o.debug and "debug" or "info" }
    if not M.log then M.fail(message) end
  end
  return M.log
end

function M.warn(message) logger():warning(message) end

-- For what logs each step: nil where nobody would read it.
function M.debug_log() return M.globals.debug and logger() or nil end

-- The log has it; and where that is a file, so has who called.
local function tell(message)
  logger():error(message)
  if M.globals and M.globals.log_fd then io.stderr:write(message, "\n") end
end

-- ---- words ----

-- The row of a flag. rows: { "name, n", kind, help, … }, kind: bool, string, int, duration, list.
local function row_of(rows, name)
  for _, row in ipairs(rows) do
    if row[1] == name then return row, name end
    local long, short = row[1]:match("^([^,]+), (.*)$")
    if long == name or short == name then return row, long end
  end
end

local truth = { ["1"] = true, t = true, T = true, ["true"] = true, TRUE = true, True = true, ["0"] = false, f = false,
  F = false, ["false"] = false, FALSE = false, False = false }

local units = { ns = 1e-9, us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600 }

local readers = {}

function readers.string(v) return v end

-- As Go reads them: decimal, 0x, 0 or 0o for octal.
function readers.int(v)
  local sign, digits = v:match("^([+-]?)(%w+)$")
  local n
  if digits then
    local octal = digits:match("^0[oO]?([0-7]+)$")
    if octal then
      n = tonumber(octal, 8)
    elseif digits:find("^%d+$") and not digits:find("^0%d") then
      n = tonumber(digits)
    elseif digits:find("^0[xX]%x+$") then
      n = tonumber(digits:sub(3), 16)
    end
  end
  if not n or n > 2 ^ 53 then return nil end
  return sign == "-" and -n or n
end

-- Seconds, of "1h2m3.5s".
function readers.duration(v)
  if v == "0" then return 0 end
  local seconds, rest = 0, v:gsub("^%+", "")
  if rest == "" then return nil end
  while rest ~= "" do
    local n, unit, after = rest:match("^(%d*%.?%d*)([a-z]+)(.*)$")
    if not tonumber(n) or not units[unit] then return nil end
    seconds, rest = seconds + tonumber(n) * units[unit], after
  end
  return seconds
end

local function quoted(s) return '"' .. s:gsub('[\\"]', "\\%0") .. '"' end

-- Flags from words[at] on, into o. Where `scattered` they may also follow what is no flag. Returns the other words |
-- nil, message.
local function read_flags(words, at, rows, o, scattered)
  local rest = {}
  while words[at] do
    local word = words[at]
    at = at + 1
    local dashes, text = word:match("^(%-%-?)(.+)$")
    local name, value
    if text then name, value = text:match("^([^=]*)=(.*)$") end
    name = name or text
    local row, key
    if word == "--" then
      for i = at, #words do rest[#rest + 1] = words[i] end
      return rest
    end
    if name and name ~= "" and name:sub(1, 1) ~= "-" then
      row, key = row_of(rows, name)
      if not row and (name == "help" or name == "h") then row, key = { name, "bool" }, "help" end
    elseif dashes and not rest[1] then
      return nil, "bad flag syntax: " .. word
    end
    if not dashes or not row and rest[1] then
      rest[#rest + 1] = word
      if not scattered then
        for i = at, #words do rest[#rest + 1] = words[i] end
        return rest
      end
    elseif not row then
      return nil, "flag provided but not defined: -" .. name
    elseif row[2] == "bool" then
      o[key] = true
      if value then
        o[key] = truth[value]
        if o[key] == nil then return nil, ("invalid boolean value %s for -%s: parse error"):format(quoted(value), name) end
      end
    else
      if not value then
        value, at = words[at], at + 1
        if not value then return nil, "flag needs an argument: -" .. name end
      end
      local read = (readers[row[2]:gsub("s$", "")] or readers.string)(value)
      if read == nil then
        return nil, ("invalid value %s for flag -%s: parse error"):format(quoted(value), name)
      end
      if row[2]:sub(-1) == "s" then
        o[key] = o[key] or {}
        table.insert(o[key], read)
      else
        o[key] = read
      end
    end
  end
  return rest
end

-- ---- the whole ----

function M.command(name) return require("caisson.oci.cli." .. modules[name]).commands[name] end

M.flags = {
  { "debug", "bool", "log each step of the construction" },
  { "log", "string", "append the log to this file, in place of the standard error" },
  { "log-format", "string", "of the log: text, or json", "text" },
  { "root", "string", "where the containers' states are: /run/caisson for root, else $XDG_RUNTIME_DIR/caisson" },
  { "criu", "string", "the criu program, for checkpoint and restore", "criu" },
  { "systemd-cgroup", "bool", "systemd makes the cgroups: cgroupsPath is slice:prefix:name" },
  { "rootless", "string", "go on without cgroups that can't be had: true, false or auto", "auto" },
  { "version, v", "bool", "show the version" },
}

local function open_log(o)
  local format = o["log-format"]
  if format and format ~= "text" and format ~= "json" then M.fail("invalid log-format: " .. format) end
  if not o.log or o.log == "" then return end
  local core = require "caisson.core"
  -- a symlink may be a container's, which can write where its log is; those of /dev are this process's own
  local own = o.log:find "^/dev/%a+" or o.log:find "^/proc/self/fd/%d+$"
  local fd, message, errno = core.open(o.log, { "write", "create", "append", not own and "nofollow" or nil }, 420)
  if not fd then M.fail(errno == core.errno.ELOOP and "the log " .. o.log .. " is a symlink" or message) end
  o.log_fd = fd
end

local function usage(message, name, module)
  local help = require "caisson.oci.cli.help"
  io.write("Incorrect Usage", message and (name and ": " or ". ") .. message or ".", "\n\n")
  help.write(name, module)
end

-- caisson-oci is a static program: what needs a shared library begins anew in the one that can load it.
local function want_libraries()
  local launcher = package.loaded["caisson.launcher"]
  if launcher and launcher.whole then M.fail(launcher.whole()) end
end

-- How many descriptors from 3 on the caller has handed over. Asked before anything of ours is open, and only where it matters.
local function count_handed_over(argv)
  local wanted = os.getenv "LISTEN_FDS" ~= nil
  for _, w in ipairs(argv) do wanted = wanted or w:find "^%-%-?preserve%-fds" ~= nil end
  M.handed_over = 0
  if not wanted then return end
  local stat = require("caisson.core").files.stat
  while stat(3 + M.handed_over) do M.handed_over = M.handed_over + 1 end
end

local function dispatch(argv)
  local o = {}
  count_handed_over(argv)
  local words, message = read_flags(argv, 1, M.flags, o)
  M.globals = o
  if not words then
    usage(message)
    M.globals = {}
    M.fail(message)
  end
  local name = table.remove(words, 1)
  if o.version then
    require("caisson.oci.cli.help").version()
    return 0
  end
  if o.help or not name or name == "help" or name == "h" then
    local help = require "caisson.oci.cli.help"
    local topic = not o.help and name and words[1]
    if topic and not modules[topic] then M.fail(("No help topic for '%s'"):format(topic), 3) end
    help.write(topic, topic and M.command(topic))
    return 0
  end
  if not modules[name] then M.fail(("No help topic for '%s'"):format(name), 3) end
  if o["systemd-cgroup"] then want_libraries() end
  open_log(o)
  local command = M.command(name)
  local given = {}
  words, message = read_flags(words, 1, command.flags, given, not command.verbatim)
  if not words then
    usage(message, name, command)
    M.fail(message)
  end
  if given.help then
    require("caisson.oci.cli.help").write(name, command)
    return 0
  end
  local least, most = command.words[1], command.words[2]
  if #words < least or #words > most then
    usage(nil, name, command)
    M.fail(('%s: "%s" requires %s argument(s)'):format(M.name, name, least == most and "exactly " .. least or
      #words < least and "a minimum of " .. least or "a maximum of " .. most))
  end
  current = command
  return command.main(given, words)
end

-- argv: the arguments, from 1. Returns the exit status.
function M.main(argv)
  local ok, status = xpcall(function() return dispatch(argv) end, function(e)
    if getmetatable(e) == Error then return e end
    return debug.traceback(tostring(e), 2)
  end)
  if not ok then
    local e = status
    status = type(e) == "table" and e.status or current.failed or 1
    local message = (current.prefix or "") .. tostring(e)
    -- a log that can't be opened must not keep the message back
    local told = pcall(tell, message)
    if not told then io.stderr:write(message, "\n") end
  end
  require("caisson.core").ahead(false) -- where nothing has come of it
  io.stdout:flush()
  return status or 0
end

-- ---- for the commands ----

-- The standard streams for a program without a terminal, into t: those that the caller has closed lead nowhere.
function M.streams(t)
  local core = require "caisson.core"
  for fd, name in pairs { [0] = "stdin", [1] = "stdout", [2] = "stderr" } do
    if not core.files.stat(fd) then t[name] = "null" end
  end
  return t
end

-- A container that there is.
function M.open(id)
  local container, message, errno = require("caisson.container").open(id, { root = M.globals.root })
  if container then
    if (container.saved.annotations or {})["caisson.recipe"] then want_libraries() end
    for _, g in ipairs(container.saved.cgroup or {}) do
      if g.unit then want_libraries() end
    end
    if container.saved.scope then want_libraries() end
    return container
  end
  local codes = require("caisson.core").errno
  if errno == codes.ENOENT or errno == codes.ENODATA then message = "container does not exist" end
  M.fail(message)
end

return M
