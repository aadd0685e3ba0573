-- start, state, kill, delete, pause and resume: what is done to a container that there is.
local cli = require "caisson.oci.cli"

local M = { commands = {} }

-- runc's words for a container that is not in the state for what is asked of it.
local not_startable = { running = "cannot start an already running container",
  stopped = "cannot start a container that has stopped", paused = "cannot start a container in the paused state" }

local function must(ok, message, _, failure, texts)
  if ok then return end
  local status = failure and failure.container
  cli.fail(status and texts and (type(texts) == "table" and texts[status] or texts) or message)
end

local function no_flags(name, text, main)
  M.commands[name] = { text = text, flags = {}, words = { 1, 1 }, usage = "<container-id>", main = main }
end

no_flags("start", "let the program of a created container run", function(_, words)
  local c = cli.open(words[1])
  local ok, message, errno, failure = c:start { log = cli.debug_log() }
  for _, w in ipairs(c.warnings) do cli.warn(w) end
  if not ok and not failure.container then message = require("caisson.oci.cli.failure").text(message, failure) end
  must(ok, message, errno, failure, not_startable)
end)

-- A state as runc prints it, on lines of their own or on one.
function M.document(s, owner, line)
  local json = require "caisson.json"
  local feed, colon = line and "" or "\n  ", line and ":" or ": "
  local items = {}
  local function put(name, value) items[#items + 1] = feed .. '"' .. name .. '"' .. colon .. value end
  put("ociVersion", json.string(s.ociVersion))
  put("id", json.string(s.id))
  put("pid", ("%d"):format(s.pid or 0))
  put("status", json.string(s.status))
  put("bundle", json.string(s.bundle or ""))
  put("rootfs", json.string(s.rootfs or ""))
  put("created", json.string(s.created or "0001-01-01T00:00:00Z"))
  if s.annotations and next(s.annotations) then
    local text = json.document(s.annotations, 1)
    put("annotations", line and text:gsub("\n%s*", "") or text)
  end
  put("owner", json.string(owner))
  return "{" .. table.concat(items, ",") .. (line and "}" or "\n}")
end

no_flags("state", "show a container's state", function(_, words)
  local s, message = cli.open(words[1]):state()
  must(s, message)
  io.write(M.document(s, ""))
end)

local aliases = { IOT = 6, CLD = 17, POLL = 29, RTMIN = 34, RTMAX = 64 }

-- The number of a signal: KILL, SIGKILL, kill and 9 are one; RTMIN+2.
local function signal(word)
  local n = word:match("^%d+$") and tonumber(word)
  if n then return n end
  local name, plus = word:upper():gsub("^SIG", ""):match("^(%u+%d*)(%+?%d*)$")
  if name and (plus == "" or name == "RTMIN") then
    n = aliases[name]
    local core = require "caisson.core"
    for i = 1, 31 do
      if core.signal.name(i) == name then n = i end
    end
    n = n and n + (tonumber((plus:gsub("%+", ""))) or 0)
  end
  return n and n <= 64 and n or cli.fail(('unknown signal "%s"'):format(word))
end

M.commands.kill = { text = "send a signal to a container's first process", words = { 1, 2 },
  usage = "<container-id> [signal]",
  more = "The signal is a name, with or without SIG, or a number; TERM where none is given.",
  flags = { { "all, a", "bool", "to all of the container's processes" } },
  main = function(o, words)
    local c = cli.open(words[1])
    local number = signal(words[2] or "TERM")
    local all = o.all
    -- who shares its pid namespace with others leaves them behind when it ends
    if not all and number == 9 and c:shares "pid" then all = true end
    local ok, message, errno, failure = c:kill(number, { all = all })
    if not ok and o.all and failure and failure.container == "stopped" then return end
    must(ok, message, errno, failure, "container not running")
  end }

M.commands.delete = { text = "remove what is left of a container", words = { 1, 1 }, usage = "<container-id>",
  flags = { { "force, f", "bool", "end it first, if it runs" } },
  main = function(o, words)
    local id = words[1]
    local container = require "caisson.container"
    local codes = require("caisson.core").errno
    local c = not o.force and cli.open(id)
    local ok, message, number, failure
    if c then
      ok, message, number, failure = c:delete { waiting = true } -- that has nothing to lose
    else
      ok, message, number, failure = container.delete(id, { root = cli.globals.root, force = true })
    end
    if not ok and number == codes.ENOENT then
      if o.force then return end
      cli.fail("container does not exist")
    end
    if not ok and failure and failure.container then
      message = ("cannot delete container %s that is not stopped: %s"):format(id, failure.container)
    end
    must(ok, message)
    for _, w in ipairs(message or {}) do cli.warn(w) end
  end }

no_flags("pause", "stop all processes of a container where they are", function(_, words)
  local ok, message, errno, failure = cli.open(words[1]):pause()
  must(ok, message, errno, failure, "container not running")
end)

no_flags("resume", "let a paused container go on", function(_, words)
  local ok, message, errno, failure = cli.open(words[1]):resume()
  must(ok, message, errno, failure, "container not paused")
end)

return M
