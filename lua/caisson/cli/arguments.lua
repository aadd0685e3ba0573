-- The command's arguments, as argparse reads and describes them.
local argparse = require "argparse"
local cli = require "caisson.cli"

local M = {}

local function env_option(c)
  c:option("--env", "A variable of the program's environment."):argname("NAME=VALUE"):count("*")
end

local function mix_option(c)
  c:option("--mix", "A policy over the recipe's own, which it narrows: Lua that returns a mix-in or a policy, or a seccomp "
    .. "profile in JSON."):argname("FILE"):count("*")
end

local function explain_option(c)
  c:flag("--explain", "Say at the end which system calls were denied, to whom, by which line of the recipe, and what would "
    .. "allow them.")
end

local function trace_options(c)
  c:flag("--trace", "Write a line for each step as it happens: its time, its system calls and what came of them.")
  c:flag("--trace-calls", "The same, with each system call and its arguments on a line of its own.")
  c:option("--timeline", "Draw when each step began and ended, to a file that ends in .svg or .html."):argname("FILE")
end

-- Every command: name, summary, what it takes.
local commands = {
  { "run", "Make a container from a recipe and run a program in it.", function(c)
    c:argument("words", "The recipe, and its parameters as NAME=VALUE; the program stands after --."):args("*")
      :argname { "RECIPE", "NAME=VALUE" }
    c:option("--plan", "Run a plan that `caisson plan --json` has saved, in place of a recipe."):argname("FILE")
    env_option(c)
    mix_option(c)
    c:flag("--json", "Write the result as JSON on the standard output, after the program's own.")
    c:option("--break", "Stop before a step (its name, name[2], or number; exec: right before the program) and give a shell "
      .. "there, in the half-built container; then continue, step, skip it or abort."):argname("STEP,..."):count("*")
    c:flag("--repl", "With --break: a Lua prompt instead of the shell, with state, plan and the core.")
    trace_options(c)
    c:option("--result", "Write the result as JSON to a file."):argname("FILE")
    explain_option(c)
    c:option("--status-fd", "Write what becomes of it to this descriptor, as lines of JSON: the pid and namespaces, "
      .. "exec, the end."):argname("N")
    c:option("--status", "The same, to a file."):argname("FILE")
  end },
  { "watch", "Run again whenever the recipe changes, and show what that changed in the plan and the result.", function(c)
    c:argument("words", "The recipe, and its parameters as NAME=VALUE; the program stands after --."):args("*")
      :argname { "RECIPE", "NAME=VALUE" }
    c:option("--path", "Run again also when this file changes, or what is in this folder."):argname("PATH"):count("*")
    c:option("--plan", "Run a plan that `caisson plan --json` has saved, in place of a recipe."):argname("FILE")
    env_option(c)
    mix_option(c)
    explain_option(c)
    trace_options(c)
    c:option("--worker"):hidden(true)
  end },
  { "plan", "Show every step of a container's construction. Does nothing; needs no privileges.", function(c)
    c:argument("words", "The recipe and its parameters, or a saved plan (FILE.json)."):args("*")
      :argname { "RECIPE", "NAME=VALUE" }
    env_option(c)
    mix_option(c)
    c:flag("--json", "As JSON, for `caisson run --plan`.")
    c:flag("--diff", "Compare two: RECIPE RECIPE [NAME=VALUE], the parameters being of both; parameters of one alone stand "
      .. "with it in quotes, \"a.lua x=1\". Or one without and with its parameters, or mix-ins: RECIPE NAME=VALUE.")
    c:flag("--exit-code", "With --diff: the exit status is 1 where they differ.")
  end },
  { "learn", "Run a program and write the smallest policy that it needs, as a recipe.", function(c)
    c:argument("words", "The recipe to run it in, and its parameters as NAME=VALUE; the program stands after --."):args("*")
      :argname { "RECIPE", "NAME=VALUE" }
    c:option("-o --output", "The file to write, learnt.lua by default; - is the standard output."):argname("FILE")
    c:option("--oci", "Write it as JSON for other runtimes too: seccomp, capabilities, limits, mounts."):argname("FILE")
    c:option("--merge", "Add this run to a policy that was learnt before, and write it there (or to --output). Without RECIPE "
      .. "in what that one was learnt in."
      ):argname("FILE")
    c:flag("--check", "Run it once more, by what was learnt, and say how that went.")
    c:flag("--trace-all", "Trace each call, also those that one place makes again and again: slow, and the program's code "
      .. "in memory stays as it is.")
    c:flag("-q --quiet", "Say nothing of what was learnt.")
    env_option(c)
  end },
  { "probe", "Try what can be done from inside of recipes' containers, one or several side by side.", function(c)
    c:argument("words", "Recipes, each with its parameters behind it. With --mix each is there twice: without it, and with it, "
      .. "which --fail-on then looks at."):args("*"):argname { "RECIPE", "NAME=VALUE" }
    env_option(c)
    mix_option(c)
    c:flag("--all", "Every row, not just what is notable, or where they differ.")
    c:flag("--json", "Write the reports as JSON.")
    c:option("--html", "Write them as one HTML page, too: side by side, with nothing loaded from elsewhere."):argname("FILE")
    c:option("--fail-on", "Exit with 1 where one of these rules is broken: their names, or danger, warning or note for all "
      .. "of that level and above."):argname("RULE,..."):count("*")
    c:flag("--rules", "List the rules. Does nothing else.")
  end },
  { "check", "Say what is wrong with recipes, making no container: what can't work here, what is dangerous, and why.",
    function(c)
      c:argument("words", "Recipes, bundles or saved plans, each with its parameters behind it; the program stands "
        .. "after --."):args("*"):argname { "RECIPE", "NAME=VALUE" }
      env_option(c)
      mix_option(c)
      c:option("--allow", "Accept what a rule finds: its name, or several."):argname("RULE,..."):count("*")
      c:flag("--strict", "Warnings fail too: exit status 1. (Errors always: 2.)")
      c:flag("--elsewhere", "The container is for another machine: what this one has, and what this user may, does not count.")
      c:flag("--quiet", "No notes, and nothing of what is accepted.")
      c:flag("--rules", "List the rules.")
      c:flag("--json", "As JSON.")
    end },
  { "policy", "Show what a policy allows, ask it about a call, compare two, or print its BPF program.", function(c)
    c:argument("verb", "show: all that confines. decide: what a system call gets, and by which rule; the exit status is 1 where "
      .. "it does not happen. diff: what is different in another, call by call. bpf: the program, as a listing or as bytes.")
      :choices { "show", "decide", "diff", "bpf" }
    c:argument("words", "A recipe (with parameters in quotes: \"a.lua x=1\"), an OCI bundle, a seccomp profile (FILE.json), or "
      .. "Lua that returns a policy or a mix-in. For decide, then the call's name and its arguments: numbers, or constants such "
      .. "as O_WRONLY|O_CREAT. For diff, then another."):args("+"):argname { "WHAT", "CALL" }
    mix_option(c)
    c:option("--arch", "decide: the machine that the call is of, such as x86; this one's, by default."):argname("MACHINE")
    c:option("--ip", "decide: the call's instruction pointer."):argname("ADDRESS")
    c:option("--filter", "Of several filters this one, counted from 1."):argname("N")
    c:flag("--bytes", "bpf: the program as bytes, for `bwrap --seccomp FD`.")
    c:option("-o --output", "bpf: to a file."):argname("FILE")
    c:flag("--oci", "show: the seccomp policy alone, as an OCI profile.")
    c:flag("--exit-code", "diff: the exit status is 1 where they differ.")
    c:flag("--json", "As JSON.")
  end },
  { "export", "Write a recipe's container as a bundle for any OCI runtime.", function(c)
    c:argument("words", "The recipe, its parameters, and the bundle's directory; the program stands after --."):args("*")
      :argname { "RECIPE", "NAME=VALUE", "DIR" }
    env_option(c)
    c:option("--without", "Go without what a bundle can't have: script, limits, hooks, ... An option's name, or several."
      ):argname("NAME,..."):count("*")
  end },
  { "new", "Begin a recipe: a file that runs at once, with what is most often wanted in comments.", function(c)
    c:argument("name", "The recipe's name; the file is NAME.lua. One that is there stays as it is."):argname("NAME")
    c:option("--from", "The recipe that it begins from, by its name or file; sandbox, by default."):argname("RECIPE")
  end },
  { "doctor", "What this machine and this user can do, and how to get what they can't.", function(c)
    c:flag("--json", "As JSON.")
  end },
  { "recipes", "List the recipes with their parameters.", function(c)
    c:flag("--json", "As JSON.")
  end },
  { "repl", "A Lua prompt with all of Caisson: recipes, policies, plans and primitives.", function() end },
  { "completion", "Write what a shell completes this command by: eval \"$(caisson completion bash)\".", function(c)
    c:argument("shell", "bash, zsh or fish."):argname("SHELL"):args("?")
    c:flag("--line"):hidden(true) -- what stands after -- is a line to complete
  end },
  { "help", "Help on a command or a recipe.", function(c)
    c:argument("topic", "A command or a recipe."):argname("TOPIC"):args("?")
    c:flag("--man", "Write the manual page as troff; of caisson-oci, where that is the topic.")
  end },
}

-- Those of a container's life, which know --root.
for _, c in ipairs(require("caisson.cli.lifecycle").commands) do
  table.insert(commands, #commands - 2, c)
end

-- Their names, in the order in which they are listed.
M.names = {}
for i, c in ipairs(commands) do M.names[i] = c[1] end

-- The command that the words name, where that is certain.
local function named(words)
  local i = 1
  while words[i] == "--root" or (words[i] or ""):find("^%-%-log") do i = i + 2 end
  for _, c in ipairs(commands) do
    if c[1] == words[i] then return c[1] end
  end
end

-- A parser that raises instead of leaving the process. only: the one command that is built, for speed.
-- Returns it and its commands by name.
function M.parser(only)
  local p = argparse("caisson", "Containers built by recipes.", "A recipe is a file, or a name that `caisson recipes` lists.")
    :add_help(false):help_max_width(100):usage_max_width(100):command_target("command")
  p:flag("-h --help", "Show this help.")
  p:flag("--version", "Show the version.")
  p:option("--log", "Write a log: to a file, or journald[:SOCKET], or syslog[:SOCKET]."):argname("WHERE")
  p:option("--log-format", "Of a file: text or json."):argname("FORMAT")
  p:option("--log-level", "The least that is logged: error, warning, info or debug."):argname("LEVEL")
  p:option("--root", "Where containers' states are: /run/caisson for root, else $XDG_RUNTIME_DIR/caisson."):argname("DIR")
  p:require_command(false)
  local by_name = {}
  for _, row in ipairs(commands) do
    local name, summary, options = row[1], row[2], row[3]
    if not only or only == name then
      local c = p:command(name):summary(summary):description(summary):add_help(false)
      c:flag("-h --help", "Show this help.")
      options(c)
      by_name[name] = c
    end
  end
  return p, by_name
end

-- The words as { command =, ... }; raises cli.fail where they make no sense.
function M.parse(words)
  for _, w in ipairs(words) do -- first, since else what is missing would be said
    if w == "-h" or w == "--help" then return { command = "help", topic = named(words) } end
  end
  local p = M.parser(named(words))
  local ok, o = p:pparse(words)
  if not ok then cli.fail(o:gsub("\nDid you mean (.-)%?$", " (did you mean %1?)") .. " (see: caisson help)") end
  if o.version then return { command = "help", version = true } end
  if not o.command then return { command = "help", missing = true } end
  if o.root and not require("caisson.cli.lifecycle").modules[o.command] then
    cli.fail(("--root: %s knows no containers' states"):format(o.command))
  end
  return o
end

return M
