-- The commands of a container's life: what they take, and where they are.
local M = {}

local function id(c)
  c:argument("id", "The container."):argname("ID")
end

local function json(c)
  c:flag("--json", "As JSON.")
end

local function env(c)
  c:option("--env", "A variable of the program's environment."):argname("NAME=VALUE"):count("*")
end

local function pid_file(c)
  c:option("--pid-file", "Write the program's process id to a file."):argname("FILE")
end

-- Each with its name, summary, what it takes, and the module that does it.
M.commands = {
  { "create", "Make a container; its program waits for start.", function(c)
    c:argument("words", "The container's name (or --id), the recipe, and its parameters; the program stands after --.")
      :args("*"):argname { "ID RECIPE", "NAME=VALUE" }
    c:option("--id", "The container's name, in place of the first word."):argname("ID")
    env(c)
    c:option("--bundle", "The directory that hooks are told; / by default."):argname("DIR")
    c:option("--console-socket", "Where the other side of its terminal is sent (tty = true).")
      :argname("PATH")
    c:option("--annotation", "What hooks are told besides, and state shows."):argname("NAME=VALUE"):count("*")
    pid_file(c)
  end, "create" },
  { "start", "Let a created container's program run.", id, "container" },
  { "exec", "Run one more program, which stands after --, in a container.", function(c)
    id(c)
    c:option("--user", "Its user and group id, in the container's terms."):argname("UID[:GID]")
    c:option("--group", "A further group id."):argname("GID"):count("*")
    c:option("--cwd", "Its working directory."):argname("DIR")
    env(c)
    c:option("--cap", "A capability that it has, all of them named so; none: without any."):argname("NAME"):count("*")
    c:flag("--no-new-privs", "It can't get more privileges.")
    c:option("--cgroup", "Its group below the container's."):argname("PATH")
    c:option("--apparmor", "Its AppArmor profile."):argname("PROFILE")
    c:option("--selinux", "Its SELinux label."):argname("LABEL")
    c:flag("--tty", "It has a terminal of its own.")
    c:option("--console-socket", "With --tty: where the terminal's other side is sent."):argname("PATH")
    c:flag("--detach", "Don't wait for its end.")
    pid_file(c)
    c:flag("--ignore-paused", "Also into a paused container, where it stands still until that is resumed.")
  end, "exec" },
  { "kill", "Send a signal to a container.", function(c)
    id(c)
    c:argument("signal", "TERM, by default; KILL, HUP, 15, ..."):argname("SIGNAL"):args("?")
    c:flag("--all", "To all of its processes, not to the first alone.")
  end, "container" },
  { "pause", "Stop all processes of a container where they are.", id, "container" },
  { "resume", "Let a paused container go on.", id, "container" },
  { "update", "Change the limits of a container.", function(c)
    id(c)
    c:argument("limits", "memory.max=64M pids.max=10 cpu.weight=50 ..., named as in a recipe's cgroup.")
      :argname("CONTROLLER.LIMIT=VALUE"):args("*")
    c:option("--json", "The limits as JSON, as in a recipe's cgroup; - is the standard input."):argname("FILE")
  end, "container" },
  { "stats", "What a container has used, as JSON.", function(c)
    id(c)
    c:flag("--follow", "A line again and again, until the container has ended.")
    c:option("--interval", "Seconds between the lines."):argname("SECONDS"):default("1")
  end, "container" },
  { "events", "What happens to a container, as JSON, a line for each, until it has ended.", function(c)
    id(c)
    c:option("--pressure", "Tell when cpu, memory or io was waited for so long within the window (1 s).")
      :argname("RESOURCE=SECONDS[/WINDOW]"):count("*")
  end, "container" },
  { "ps", "List the processes of a container.", function(c)
    id(c)
    json(c)
  end, "container" },
  { "wait", "Wait until a container has ended; the exit status is its program's.", function(c)
    id(c)
    c:option("--timeout", "Give up after so many seconds."):argname("SECONDS")
  end, "container" },
  { "delete", "Remove what is left of a container that has ended.", function(c)
    id(c)
    c:flag("--force", "End it first, and remove what can be found if its state is damaged.")
  end, "container" },
  { "state", "A container's state, as the OCI runtime specification has it.", id, "container" },
  { "list", "List the containers.", function(c)
    json(c)
    c:flag("--quiet", "Their names alone.")
  end, "container" },
}

-- Where each command is.
M.modules = {}
for _, c in ipairs(M.commands) do M.modules[c[1]] = "caisson.cli." .. c[4] end

-- Those that take a program after --.
M.programs = { create = true, exec = true }

return M
