-- The commands that work on a container that there is, each by its name.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"

local M = {}

local function container(o)
  local c, message, _, failure = require("caisson").open(o.id, { root = o.root })
  if not c then cli.fail(message, failure) end
  return c
end

-- The value, or the command ends with what was wrong.
local function must(value, message, _, failure)
  if value == nil then cli.fail(message, failure) end
  return value
end

local function document(v)
  return require("caisson.json").document(v)
end

-- JSON in one line: no string holds a newline as such.
local function line(v)
  return (document(v):gsub("\n%s*", ""))
end

-- A signal's word or number, in upper or lower case, with or without SIG.
local function signal(word)
  if not word then return "TERM" end
  return tonumber(word) or word:upper():gsub("^SIG", "")
end

local function seconds(option, text)
  local n = tonumber(text)
  if not n or n ~= n or n < 0 or n > 1e9 then cli.fail(("%s %s: a number of seconds expected"):format(option, text)) end
  return n
end

-- What went wrong without being an error.
local function warn(list)
  for _, message in ipairs(list or {}) do cli.tell(message) end
end

-- ---- update ----

-- CONTROLLER.LIMIT=VALUE words as a recipe's `cgroup` has them.
function M.limits(words)
  local limits = {}
  for _, word in ipairs(words) do
    local controller, name, value = word:match("^([%w_]+)%.([^=]+)=(.+)$")
    if not controller then cli.fail(("'%s' is not CONTROLLER.LIMIT=VALUE"):format(word)) end
    if value == "true" or value == "false" then
      value = value == "true"
    elseif controller ~= "unified" and (value:find("^%d+%.%d+$") or name:find("^uclamp_") and tonumber(value)) then
      value = tonumber(value)
    end
    limits[controller] = limits[controller] or {}
    if limits[controller][name] ~= nil then cli.fail(("%s.%s is given twice"):format(controller, name)) end
    limits[controller][name] = value
  end
  return limits
end

local function limits_of(o)
  if not o.json then
    if #o.limits == 0 then cli.fail("CONTROLLER.LIMIT=VALUE, or --json FILE, expected") end
    return M.limits(o.limits)
  end
  if #o.limits > 0 then cli.fail("--json has all limits in it: " .. o.limits[1]) end
  local f, message = io.stdin, nil
  if o.json ~= "-" then f, message = io.open(o.json, "rb") end
  if not f then cli.fail(message) end
  local text = f:read("*a")
  local limits
  limits, message = require("caisson.json").decode(text or "")
  if type(limits) ~= "table" then cli.fail(("%s: no JSON object: %s"):format(o.json, tostring(message or text))) end
  return limits
end

-- ---- ps ----

local function read(path)
  local f = io.open(path, "r")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end

-- What is shown of a process; nil where it is gone.
local function describe(pid)
  local stat, status = read(("/proc/%d/stat"):format(pid)), read(("/proc/%d/status"):format(pid))
  local name, rest = (stat or ""):match("^%d+ %((.*)%) (.*)$")
  if not name or not status then return nil end
  local words = (read(("/proc/%d/cmdline"):format(pid)) or ""):gsub("%z+$", ""):gsub("[%z%c]", " ")
  return { pid = pid, ppid = tonumber(rest:match("^%a (%d+)")), state = rest:match("^%a"),
    uid = tonumber(status:match("\nUid:%s+(%d+)")), inside = tonumber(status:match("\nNSpid:[^\n]-(%d+)\n")),
    command = words ~= "" and words or "[" .. name:gsub("%c", "?") .. "]" }
end

-- ---- the commands ----

local commands = {}

function commands.start(o)
  local c = container(o)
  local ok, message, _, failure = c:start { log = cli.log }
  warn(c.warnings)
  if not ok then return attendant.failed(message, failure) end
  return 0
end

function commands.kill(o)
  local c = container(o)
  must(cli.try(c.kill, c, signal(o.signal), { all = o.all }))
  return 0
end

function commands.pause(o)
  must(container(o):pause())
  return 0
end

function commands.resume(o)
  must(container(o):resume())
  return 0
end

function commands.update(o)
  local limits = limits_of(o)
  local c = container(o)
  must(cli.try(c.update, c, limits))
  return 0
end

function commands.stats(o)
  local interval = seconds("--interval", o.interval)
  local c = container(o)
  if not o.follow then
    io.write(document(must(c:stats())), "\n")
    return 0
  end
  local stats = must(c:stats())
  repeat
    io.write(line(stats), "\n")
    io.stdout:flush()
    stats = not c:wait(interval) and c:stats()
  until not stats
  return 0
end

-- --pressure RESOURCE=SECONDS[/WINDOW], as caisson.cgroup.events has it.
local function triggers(words)
  local t = {}
  for _, word in ipairs(words) do
    local resource, some, window = word:match("^(%a+)=([%d.]+)/?([%d.]*)$")
    if not resource then cli.fail(("--pressure %s: RESOURCE=SECONDS[/WINDOW] expected"):format(word)) end
    t[resource] = { some = tonumber(some), window = tonumber(window) }
  end
  return next(t) and t or nil
end

function commands.events(o)
  local c = container(o)
  local events = must(cli.try(c.events, c, { pressure = triggers(o.pressure) }))
  repeat
    for _, event in ipairs(events:wait()) do
      event.id, event.time = o.id, os.date("!%Y-%m-%dT%H:%M:%SZ")
      io.write(line(event), "\n")
    end
    io.stdout:flush()
  until events.ended
  return 0
end

function commands.ps(o)
  local rows = {}
  for _, pid in ipairs(must(container(o):ps())) do rows[#rows + 1] = describe(pid) end
  if o.json then
    io.write(document(rows), "\n")
    return 0
  end
  local list = { { pid = "PID", inside = "INSIDE", uid = "UID", state = "S", command = "COMMAND" } }
  for _, r in ipairs(rows) do
    list[#list + 1] = { pid = tostring(r.pid), inside = tostring(r.inside), uid = tostring(r.uid), state = r.state,
      command = r.command }
  end
  io.write(require("caisson.cli.help").table(list, { "pid", "inside", "uid", "state", "command" }, ""))
  return 0
end

commands["wait"] = function(o)
  local timeout = o.timeout and seconds("--timeout", o.timeout) or nil
  local status, message = container(o):wait(timeout)
  if not status and message == "timeout" then cli.fail(("container '%s' has not ended within %g s"):format(o.id, timeout)) end
  if must(status, message).unknown then
    cli.fail(("container '%s' has ended, but how was told to its parent alone"):format(o.id))
  end
  return attendant.exit_status(status)
end

function commands.delete(o)
  local ok, message, _, failure = require("caisson.container").delete(o.id, { root = o.root, force = o.force })
  warn(must(ok, message, nil, failure) and message)
  return 0
end

function commands.state(o)
  io.write(document(must(container(o):state())), "\n")
  return 0
end

function commands.list(o)
  local list = must(require("caisson").list { root = o.root })
  if o.json then
    io.write(document(list), "\n")
    return 0
  end
  local rows = o.quiet and {} or { { id = "ID", pid = "PID", status = "STATUS", created = "CREATED", recipe = "RECIPE" } }
  for _, s in ipairs(list) do
    rows[#rows + 1] = { id = s.id, pid = tostring(s.pid or "-"), status = s.status, created = s.created or "-",
      recipe = s.recipe and s.recipe.file or "-" }
  end
  io.write(require("caisson.cli.help").table(rows, o.quiet and { "id" } or { "id", "pid", "status", "created", "recipe" }, ""))
  return 0
end

function M.main(o)
  return commands[o.command](o)
end

return M
