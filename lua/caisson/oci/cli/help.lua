-- Help texts and the version, in the order in which runc has its own.
local cli = require "caisson.oci.cli"

local M = {}

-- The commands as they are listed.
M.order = { "checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "restore",
  "resume", "run", "spec", "start", "state", "update" }

local function flags(rows)
  local left, width = {}, 0
  for i, row in ipairs(rows) do
    local names = {}
    for name in row[1]:gmatch("[^, ]+") do
      names[#names + 1] = (#name == 1 and "-" or "--") .. name .. (row[2] == "bool" and "" or " value")
    end
    left[i] = table.concat(names, ", ")
    width = math.max(width, #left[i])
  end
  for i, row in ipairs(rows) do
    io.write("   ", left[i], (" "):rep(width - #left[i] + 2), row[3], row[4] and ' (default: "' .. row[4] .. '")' or "", "\n")
  end
end

function M.version_lines()
  return { require("caisson.version").caisson, "spec: " .. require("caisson.oci.default").version,
    "lua: " .. (rawget(_G, "jit") and jit.version or _VERSION) }
end

-- As runc does, since engines look for the line of the specification.
function M.version()
  local lines = M.version_lines()
  io.write(cli.name, " version ", table.concat(lines, "\n"), "\n")
end

-- Of a command, or of the program where name is nil.
function M.write(name, command)
  if name then
    io.write("NAME:\n   ", cli.name, " ", name, " - ", command.text, "\n\nUSAGE:\n   ", cli.name, " ", name,
      #command.flags > 0 and " [command options] " or " ", command.usage, "\n")
    if command.more then io.write("\n", command.more, "\n") end
    if #command.flags > 0 then
      io.write("\nOPTIONS:\n")
      flags(command.flags)
    end
    return
  end
  io.write("NAME:\n   ", cli.name, " - Containers of the Open Container Initiative, each a plan of steps\n\n",
    "Runs bundles: directories with a config.json and a root file system. It takes runc's commands and\n",
    "flags, so that an engine can call it in runc's place.\n\nUSAGE:\n   ", cli.name,
    " [global options] command [command options] [arguments...]\n\nVERSION:\n   ", table.concat(M.version_lines(), "\n"),
    "\n\nCOMMANDS:\n")
  for _, each in ipairs(M.order) do
    io.write(("   %-10s  %s\n"):format(each, cli.command(each).text))
  end
  io.write("   help, h     show this list, or the help of a command\n\nGLOBAL OPTIONS:\n")
  flags(cli.flags)
  flags { { "help, h", "bool", "show help" } }
end

return M
