-- The caisson command.
--
--   run      make a container from a recipe and run a program in it
--   plan     show every step of it, doing nothing
--   learn    run a program, and write the smallest policy that it needs
--   policy   what a policy allows; ask it, compare two, print its program
--   export   write it as a bundle for any OCI runtime
--   watch    run it again whenever the recipe changes, and say what that changed
--   new      begin a recipe
--   doctor   what this machine and this user can do, and what to change
--   repl     all of it at a Lua prompt
--   recipes  what recipes there are
--   create start exec kill pause resume update stats events ps wait delete state list
--            the life of a container that outlives the command (cli/lifecycle.lua)
--   oci      the commands of caisson-oci, by the program that can load shared libraries
--   help     of a command or a recipe
--
-- Exit status: the program's own; 125 where caisson failed, 126 where the program can't be executed, 127
-- where it is not there, 128 + n where signal n ended it.
local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

M.failed = 125

-- An error that ends the command: its text, and perhaps the failure table of a step.
local Error = {}
Error.__index = Error

function Error:__tostring() return self.message end

-- Stop here, with a message for the user.
function M.fail(message, failure, status)
  error(setmetatable({ message = message, failure = failure, status = status }, Error), 0)
end

-- What f returns; where it raises, since what the user asked for is nothing it takes, the command ends saying so.
function M.try(f, ...)
  local results = { pcall(f, ...) }
  if not results[1] then
    local e = results[2]
    if type(e) ~= "string" then error(e, 0) end
    M.fail((e:gsub("^[^\n]-%.lua:%d+: ", "")))
  end
  return unpack(results, 2, 5)
end

-- One line that says what failed and where it was asked for, and what to do about it.
function M.tell(message, failure)
  local at = failure and failure.at
  if M.log and not (failure and failure.logged) then
    M.log:error(message, { at = at, step = failure and failure.step, errno = failure and failure.code })
  end
  io.stderr:write("caisson: ", at and at .. ": " or "", message, "\n")
  for line in (failure and failure.hint or ""):gmatch("[^\n]+") do
    io.stderr:write("  hint: ", line, "\n")
  end
end

-- The words before the first "--", and those after it (nil where there is none).
local function split(argv)
  for i, word in ipairs(argv) do
    if word == "--" then
      return { unpack(argv, 1, i - 1) }, { unpack(argv, i + 1) }
    end
  end
  return { unpack(argv) }, nil
end

-- What the words ask for: { command =, ... }.
local function parse(words)
  if words[1] == "run" then
    -- the everyday calls, a recipe and its parameters, explained or not, need no parser
    local plain, rest, explain = true, {}, nil
    for i = 2, #words do
      if words[i] == "--explain" and not explain then
        explain = true
      else
        plain = plain and words[i]:sub(1, 1) ~= "-"
        rest[#rest + 1] = words[i]
      end
    end
    if plain and rest[1] then return { command = "run", words = rest, env = {}, explain = explain } end
  end
  return require("caisson.cli.arguments").parse(words)
end

-- Those that take a program after --; what stands there for completion is a line.
M.programs = { run = true, watch = true, plan = true, export = true, learn = true, check = true, completion = true }

local function dispatch(argv)
  local words, program = split(argv)
  local o = parse(words)
  local lifecycle = package.loaded["caisson.cli.lifecycle"]
  if program and not M.programs[o.command] and not lifecycle.programs[o.command] then
    M.fail(("%s takes no program"):format(o.command))
  end
  if program and #program == 0 then M.fail("a program is expected after --") end
  o.program = program
  if o.log then
    local ok, log, message = pcall(require("caisson.log").open, { to = o.log, format = o.log_format, level = o.log_level })
    if not ok then M.fail(log) end
    M.log = log or M.fail(message)
  elseif o.log_format or o.log_level then
    M.fail("--log-format and --log-level are of a log: --log says where it is")
  end
  if not (lifecycle and lifecycle.modules[o.command]) then return require("caisson.cli." .. o.command).main(o) end
  local status = require(lifecycle.modules[o.command]).main(o)
  if M.log then M.log:info(o.command, { id = o.id, status = status }) end
  return status
end

-- argv: the arguments, from 1. Returns the exit status.
function M.main(argv)
  M.argv = argv
  if argv[1] == "oci" then return require("caisson.oci.cli").main { unpack(argv, 2) } end
  io.stdout:setvbuf("line") -- what hooks print stands between what the program prints
  local ok, status = xpcall(function() return dispatch(argv) end, function(e) -- 5.1's xpcall hands nothing on
    if getmetatable(e) == Error then return e end
    return debug.traceback(tostring(e), 2)
  end)
  if not ok then
    M.tell(tostring(status), type(status) == "table" and status.failure or nil)
    status = type(status) == "table" and status.status or M.failed
  end
  io.stdout:flush()
  return status
end

return M
