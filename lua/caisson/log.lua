-- Logs: lines of text or JSON to a file, or entries of the journal or of syslog. What is logged may come from a container:
-- no message can begin a line, a field or an entry of its own.
local core = require "caisson.core"
local json = require "caisson.json"
local words = require "caisson.words"

local M = {}

-- Severities, as syslog(3) numbers them.
local levels = { error = 3, warning = 4, info = 6, debug = 7 }
local level_names = { "error", "warning", "info", "debug" }

local longest = 32768

local function number_of(level)
  if not levels[level] then error(words.unknown("log: unknown level", tostring(level), level_names), 3) end
  return levels[level]
end

-- Control characters as \n, \x1b; so one message is one line, and turns no terminal's colours.
local function escape(s)
  return (s:gsub("[%c\127]", function(c)
    if c == "\n" then return "\\n" end
    if c == "\t" then return "\\t" end
    return ("\\x%02x"):format(c:byte())
  end))
end

local function sorted(fields)
  local names = {}
  for k in pairs(fields or {}) do names[#names + 1] = k end
  table.sort(names)
  return names
end

local function text_of(message, fields)
  local parts = { escape(message) }
  for _, k in ipairs(sorted(fields)) do
    local v = escape(tostring(fields[k]))
    if v == "" or v:find '[ "=]' then v = '"' .. v:gsub('[\\"]', "\\%0") .. '"' end
    parts[#parts + 1] = k .. "=" .. v
  end
  return table.concat(parts, " ")
end

-- ---- where to ----

local formats = {}

function formats.text(level, message, fields)
  return ("%s %s %s\n"):format(os.date "!%Y-%m-%dT%H:%M:%SZ", level, text_of(message, fields))
end

-- As runc's and crun's logs are: level, msg, time; and the fields beside them.
function formats.json(level, message, fields)
  local items = { '"level":' .. json.string(level), '"msg":' .. json.string(message),
    '"time":' .. json.string(os.date "!%Y-%m-%dT%H:%M:%SZ") }
  for _, k in ipairs(sorted(fields)) do
    local v = fields[k]
    if k ~= "level" and k ~= "msg" and k ~= "time" then
      items[#items + 1] = json.string(k) .. ":" .. (type(v) == "string" and json.string(v) or json.value(v))
    end
  end
  return "{" .. table.concat(items, ",") .. "}\n"
end

-- As runc writes to its standard error: what engines and people know to read.
function formats.logfmt(level, message, fields)
  local function value(v)
    v = tostring(v)
    if not v:find "[^%w%-._/@^+]" then return v end
    return '"' .. escape((v:gsub('[\\"]', "\\%0"))) .. '"'
  end
  local parts = { ('time="%s" level=%s msg=%s'):format(os.date "!%Y-%m-%dT%H:%M:%SZ", level, value(message)) }
  for _, k in ipairs(sorted(fields)) do parts[#parts + 1] = k .. "=" .. value(fields[k]) end
  return table.concat(parts, " ") .. "\n"
end

-- systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a value with its length in front may hold anything.
local function journal_field(name, value)
  value = tostring(value)
  if not value:find "\n" then return name .. "=" .. value .. "\n" end
  local n, bytes = #value, {}
  for i = 1, 8 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return name .. "\n" .. table.concat(bytes) .. value .. "\n"
end

function formats.journald(level, message, fields)
  local parts = { journal_field("PRIORITY", levels[level]), journal_field("SYSLOG_IDENTIFIER", "caisson"),
    journal_field("MESSAGE", message) }
  for _, k in ipairs(sorted(fields)) do
    parts[#parts + 1] = journal_field("CAISSON_" .. k:upper():gsub("[^A-Z0-9]", "_"), fields[k])
  end
  return table.concat(parts)
end

local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

-- As syslog(3) writes to /dev/log; facility 3: daemons.
function formats.syslog(level, message, fields)
  local d = os.date "*t"
  return ("<%d>%s %2d %02d:%02d:%02d caisson: %s"):format(3 * 8 + levels[level], months[d.month], d.day, d.hour, d.min,
    d.sec, text_of(message, fields))
end

local sockets = { journald = "/run/systemd/journal/socket", syslog = "/dev/log" }

local function connect(path)
  local dir, name = path:match "^(.*)/([^/]+)$"
  if not dir then return nil, "the absolute path of a socket expected, got " .. path, core.errno.EINVAL end
  local at, message, errno = core.open(dir == "" and "/" or dir, { "path", "directory" })
  if not at then return nil, message, errno end
  local fd
  fd, message, errno = core.socket.connect(at, name, "dgram")
  at:close()
  if not fd then return nil, ("%s: %s"):format(path, message), errno end
  fd:nonblock(true) -- a log that can't keep up loses entries; the container goes on
  return fd
end

---@class caisson.Logger
---@field lost integer  entries that could not be written
local Logger = {}
Logger.__index = Logger

-- Open a log. o: to ("journald", "journald:SOCKET", "syslog", "syslog:SOCKET", a file, which is appended to and
-- may be no symlink, or a descriptor), format ("text", "json" or "logfmt", of a file or descriptor), level (the least
-- that is written; "info").
---@param o string|{ to: any, format?: "text"|"json"|"logfmt", level?: "error"|"warning"|"info"|"debug" }
---@return caisson.Logger|nil logger, string? message, integer? errno
function M.open(o)
  if type(o) == "string" then o = { to = o } end
  if type(o) ~= "table" then error("log: a table or a string expected, got " .. type(o), 2) end
  for k, v in pairs(o) do
    if k ~= "to" and k ~= "format" and k ~= "level" then
      error(words.unknown("log: unknown option", tostring(k), { "format", "level", "to" }), 2)
    end
    if type(v) ~= "string" and not (k == "to" and (type(v) == "number" or type(v) == "userdata")) then
      error(("log: option '%s': string expected, got %s"):format(k, type(v)), 2)
    end
    if type(v) == "string" and (v == "" or v:find "%z") then
      error(("log: option '%s': a string without NUL expected"):format(k), 2)
    end
  end
  if not o.to then error("log: option 'to' is missing", 2) end
  local least = number_of(o.level or "info")
  local kind, socket
  if type(o.to) == "string" then kind, socket = o.to:match "^(%a+):?(.*)$" end
  local fd, message, errno
  if kind and sockets[kind] and (socket == "" or o.to:find ":") then
    if o.format and o.format ~= "text" then error(("log: option 'format': %s has its own"):format(kind), 2) end
    fd, message, errno = connect(socket ~= "" and socket or sockets[kind])
  else
    kind = o.format or "text"
    if kind ~= "text" and kind ~= "json" and kind ~= "logfmt" then
      error(words.unknown("log: option 'format': unknown word", kind, { "json", "logfmt", "text" }), 2)
    end
    if type(o.to) == "string" then
      fd, message, errno = core.open(o.to, { "write", "create", "append", "nofollow" }, 384)
    else
      fd, message, errno = core.dup(o.to)
    end
  end
  if not fd then return nil, "log: " .. message, errno end
  return setmetatable({ fd = fd, format = formats[kind], least = least, lost = 0 }, Logger)
end

-- Write an entry. fields: further names and values. It never fails; what could not be written is counted.
---@param level "error"|"warning"|"info"|"debug"
---@param message string
---@param fields? table<string, string|number|boolean>
function Logger:write(level, message, fields)
  if number_of(level) > self.least or not self.fd then return end
  if #message > longest then message = message:sub(1, longest) .. "..." end
  local entry = self.format(level, message, fields)
  if self.fd:write(entry) ~= #entry then self.lost = self.lost + 1 end
end

---Write an entry: a message, further names and values.
---@param ... any
function Logger:error(...) self:write("error", ...) end
---Write an entry: a message, further names and values.
---@param ... any
function Logger:warning(...) self:write("warning", ...) end
---Write an entry: a message, further names and values.
---@param ... any
function Logger:info(...) self:write("info", ...) end
---Write an entry: a message, further names and values.
---@param ... any
function Logger:debug(...) self:write("debug", ...) end

-- What a child has done, as its record tells: each step that was applied (debug), each optional one that was left out
-- (warning), the one that it failed in (error). from, to: the steps' numbers.
-- skipped: { [number] = errno }; failure: as of a run that failed, with its message.
---@param plan caisson.Plan
---@param from integer
---@param to integer
---@param pid? integer
---@param skipped table<integer, integer>
---@param failure? table
---@param message? string
function Logger:steps(plan, from, to, pid, skipped, failure, message)
  if failure and failure.number then to = math.min(to, failure.number - 1) end
  if self.least >= levels.debug or next(skipped) ~= nil then
    for _, row in ipairs(plan:rows()) do
      local errno = skipped[row.number]
      if row.number >= from and row.number <= to and (errno or self.least >= levels.debug) then
        self:write(errno and "warning" or "debug", errno and "step left out" or "step done", { number = row.number,
          phase = row.phase, side = row.side, step = row.step, object = row.object, pid = pid,
          at = row.at ~= "" and row.at or nil, errno = errno and core.errno.name(errno) })
      end
    end
  end
  if failure then
    self:error(message, { at = failure.at, step = failure.step, index = failure.index, number = failure.number,
      side = failure.side, phase = failure.phase, errno = failure.code, pid = pid })
    failure.logged = true
  end
end

-- Is it a logger?
---@param v any
---@return boolean
function M.is(v) return getmetatable(v) == Logger end

---Let go of the file or the socket.
function Logger:close()
  if self.fd then self.fd:close() end
  self.fd = nil
end

return M
