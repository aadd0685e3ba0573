-- The command's arguments, as argparse reads and describes them.
local argparse = require "argparse"
local cli = require "caisson.cli"

local M = {}

-- A parser that raises instead of leaving the process. Returns it and its commands by name.
function M.parser()
  local p = argparse("caisson", "Containers built by recipes.", "A recipe is a file, or a name that `caisson recipes` lists.")
    :add_help(false):help_max_width(100):usage_max_width(100):command_target("command")
  p:flag("-h --help", "Show this help.")
  p:flag("--version", "Show the version.")
  p:option("--log", "Write a log: to a file, or journald[:SOCKET], or syslog[:SOCKET]."):argname("WHERE")
  p:option("--log-format", "Of a file: text or json."):argname("FORMAT")
  p:option("--log-level", "The least that is logged: error, warning, info or debug."):argname("LEVEL")
  p:require_command(false)
  local commands = {}
  local function command(name, summary)
    local c = p:command(name):summary(summary):description(summary):add_help(false)
    c:flag("-h --help", "Show this help.")
    commands[name] = c
    return c
  end
  local run = command("run", "Make a container from a recipe and run a program in it.")
  run:argument("words", "The recipe, and its parameters as NAME=VALUE; the program stands after --."):args("*")
    :argname { "RECIPE", "NAME=VALUE" }
  run:option("--plan", "Run a plan that `caisson plan --json` has saved, in place of a recipe."):argname("FILE")
  run:option("--env", "A variable of the program's environment."):argname("NAME=VALUE"):count("*")
  run:flag("--json", "Write the result as JSON on the standard output, after the program's own.")
  run:option("--result", "Write the result as JSON to a file."):argname("FILE")
  run:option("--status-fd", "Write what becomes of it to this descriptor, as lines of JSON: the pid and namespaces, "
    .. "exec, the end."):argname("N")
  run:option("--status", "The same, to a file."):argname("FILE")
  local plan = command("plan", "Show every step of a container's construction. Does nothing; needs no privileges.")
  plan:argument("words", "The recipe and its parameters, or a saved plan (FILE.json)."):args("*")
    :argname { "RECIPE", "NAME=VALUE" }
  plan:option("--env", "A variable of the program's environment."):argname("NAME=VALUE"):count("*")
  plan:flag("--json", "As JSON, for `caisson run --plan`.")
  local doctor = command("doctor", "What this machine and this user can do, and how to get what they can't.")
  doctor:flag("--json", "As JSON.")
  local recipes = command("recipes", "List the recipes with their parameters.")
  recipes:flag("--json", "As JSON.")
  local help = command("help", "Help on a command or a recipe.")
  help:argument("topic", "A command or a recipe."):args("?")
  return p, commands
end

-- The words as { command =, ... }; raises cli.fail where they make no sense.
function M.parse(words)
  local p, commands = M.parser()
  local ok, o = p:pparse(words)
  if not ok then cli.fail(o:gsub("\nDid you mean (.-)%?$", " (did you mean %1?)") .. " (see: caisson help)") end
  if o.version then return { command = "help", version = true } end
  if o.help then return { command = "help", topic = o.command } end
  if not o.command then return { command = "help", missing = true } end
  local _ = commands
  return o
end

return M
