-- exec: one more process in a container.
local cli = require "caisson.oci.cli"
local core = require "caisson.core"
local create = require "caisson.oci.cli.create"

local M = { commands = {} }

local flags = {
  { "console-socket", "string", "a unix socket that the terminal's other side is sent to" },
  { "pidfd-socket", "string", "a unix socket that a descriptor of the process is sent to" },
  { "cwd", "string", "its working directory" },
  { "env, e", "strings", "a variable of its environment: NAME=VALUE" },
  { "tty, t", "bool", "it has a terminal of its own" },
  { "user, u", "string", "UID[:GID]" },
  { "additional-gids, g", "ints", "a further group" },
  { "process, p", "string", "a file with the process as JSON, which then says all" },
  { "detach, d", "bool", "don't wait for its end" },
  { "pid-file", "string", "write its id to this file" },
  { "process-label", "string", "its SELinux label" },
  { "apparmor", "string", "its AppArmor profile" },
  { "no-new-privs", "bool", "it can't get more privileges" },
  { "cap, c", "strings", "a capability more" },
  { "preserve-fds", "int", "so many descriptors, from 3 on, are its too (and $LISTEN_FDS before them)", "0" },
  { "cgroup", "strings", "a cgroup below the container's: [CONTROLLER[,CONTROLLER]:]PATH" },
  { "ignore-paused", "bool", "also into a paused container, where it stands still until that is resumed" },
}

local function id(text, what)
  local n = text:match("^%d+$") and tonumber(text)
  if not n or n > 4294967294 then cli.fail(('parsing %s as int for %s failed: invalid syntax'):format(text, what)) end
  return n
end

-- The file's process.
local function read_process(path)
  local f, message = io.open(path, "r")
  if not f then cli.fail(message) end
  local text = f:read("*a")
  f:close()
  local document = require "caisson.oci.document"
  local p
  p, message = document.decode(text, path)
  if not p then cli.fail(message) end
  local ok
  ok, message = document.check_process(p)
  if not ok then cli.fail(message) end
  return p
end

-- As the container's own program, but for what the flags say.
local function of_flags(o, words, container)
  local has = container.saved.options or {}
  local function given(flag) return o[flag] ~= "" and o[flag] or nil end
  local spec = { args = words, tty = o.tty or nil, cwd = given "cwd", apparmor = given "apparmor",
    selinux = given "process-label", no_new_privs = o["no-new-privs"] }
  if spec.cwd and spec.cwd:sub(1, 1) ~= "/" then cli.fail("Cwd must be an absolute path") end
  for _, variable in ipairs(o.env or {}) do
    local name, value = variable:match("^([^=]+)=(.*)$")
    if not name then cli.fail(("invalid environment variable: %q"):format(variable)) end
    spec.env = spec.env or {}
    spec.env[name] = value
  end
  if given "user" or o["additional-gids"] then
    local base = type(has.user) == "table" and has.user or { uid = has.user or 0, gid = has.user or 0 }
    local user = { uid = base.uid, gid = base.gid, groups = {} }
    for i, gid in ipairs(base.groups or {}) do user.groups[i] = gid end
    if given "user" then
      local uid, colon, gid = o.user:match("^([^:]*)(:?)(.*)$")
      user.uid = id(uid, "uid")
      if colon ~= "" then user.gid = id(gid, "gid") end
    end
    for _, gid in ipairs(o["additional-gids"] or {}) do table.insert(user.groups, gid) end
    spec.user = user
  end
  if o.cap and has.capabilities then
    local sets = has.capabilities
    if sets[1] or next(sets) == nil then sets = { bounding = sets, permitted = sets, effective = sets } end
    spec.capabilities = {}
    for _, set in ipairs { "bounding", "permitted", "effective", "inheritable", "ambient" } do
      local list = {}
      for i, name in ipairs(sets[set] or {}) do list[i] = name end
      spec.capabilities[set] = list
    end
    for _, name in ipairs(o.cap) do
      local plain = name:lower():gsub("^cap_", "")
      if plain == "all" or not pcall(core.check, "capabilities", { bounding = { plain } }) then
        cli.warn(("ignoring unknown or unavailable capabilities: [%s]"):format(name))
      else
        for _, set in ipairs { "bounding", "permitted", "effective" } do table.insert(spec.capabilities[set], plain) end
      end
    end
  end
  return spec
end

-- --cgroup as container:exec has it: a path, or one for each controller.
local function cgroup_of(list)
  if not list then return nil end
  local t
  for _, text in ipairs(list) do
    local controllers, path = text:match("^([^:]*):(.*)$")
    path = (path or text):gsub("^/+", "")
    if not controllers then
      if list[2] then cli.fail("invalid --cgroup argument: a path without a controller stands alone") end
      return path ~= "" and path or nil
    end
    t = t or {}
    for name in controllers:gmatch("[^,]+") do t[name] = path end
  end
  return t
end

M.commands.exec = { text = "run one more process in a container", words = { 1, math.huge }, verbatim = true,
  prefix = "exec failed: ", failed = 255, flags = flags,
  usage = "<container-id> <command> [arguments]  ||  -p process.json <container-id>",
  main = function(o, words)
    local container = cli.open(table.remove(words, 1))
    core.ahead()
    local spec
    if o.process and o.process ~= "" then
      spec = require("caisson.oci.process").of(read_process(o.process), nil, { warn = cli.warn })
    else
      if #words == 0 then cli.fail("process args cannot be empty") end
      spec = of_flags(o, words, container)
    end
    create.check_terminal(spec.tty, o["console-socket"], o.detach)
    local preserved, activated = create.preserved(o["preserve-fds"])
    if activated > 0 then
      spec.env = spec.env or {}
      spec.env.LISTEN_FDS, spec.env.LISTEN_PID = activated, "1"
    end
    spec.console_socket, spec.pidfd_socket = create.socket(o, "console-socket"), create.socket(o, "pidfd-socket")
    spec.cgroup = cgroup_of(o.cgroup)
    if not spec.tty then cli.streams(spec) end
    if preserved > 0 then
      spec.files = {}
      for i = 1, preserved do spec.files[i] = i + 2 end
    end
    local foreground = not o.detach and require "caisson.oci.cli.foreground"
    local by = foreground and foreground.new()
    local window
    if spec.tty and by then
      local rows, columns = core.terminal.size(0)
      window = rows and { rows, columns }
    end
    local running, message, _, failure = container:exec(spec, { detach = o.detach or nil,
      ignore_paused = o["ignore-paused"], window = window, log = cli.debug_log() })
    if not running then
      local status = failure and failure.container
      if status == "stopped" then
        cli.fail("cannot exec in a stopped container")
      elseif status == "paused" then
        cli.fail("cannot exec in a paused container (use --ignore-paused to override)")
      end
      cli.fail(require("caisson.oci.cli.failure").text(message, failure))
    end
    if o["pid-file"] then
      local ok
      ok, message = require("caisson.cli.handover").write_pid(o["pid-file"], running:pid())
      if not ok then
        core.pidfd.kill(running.process:pidfd(), "KILL") -- detached, it would stay
        running:close()
        cli.fail(message)
      end
    end
    if not by then return 0 end
    return foreground.exit_status(by:attend(running))
  end }

return M
