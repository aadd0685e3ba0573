-- create and run: a bundle becomes a container.
local cli = require "caisson.oci.cli"
local core = require "caisson.core"

local M = { commands = {} }

-- What create and run have in common.
local flags = {
  { "bundle, b", "string", "the bundle's directory, else the current one" },
  { "console-socket", "string", "a unix socket that the terminal's other side is sent to" },
  { "pidfd-socket", "string", "a unix socket that a descriptor of the first process is sent to" },
  { "pid-file", "string", "write the first process's id to this file" },
  { "no-pivot", "bool", "move the root into place instead of pivot_root, which a root on an initramfs refuses" },
  { "no-new-keyring", "bool", "keep the caller's session keyring" },
  { "preserve-fds", "int", "so many descriptors, from 3 on, are the container's too (and $LISTEN_FDS before them)", "0" },
}

local function with(rows)
  local list = {}
  for _, row in ipairs(flags) do list[#list + 1] = row end
  for _, row in ipairs(rows) do list[#list + 1] = row end
  return list
end

-- ---- what is asked for ----

local function read_bundle(o)
  local bundle, message = core.realpath(o.bundle or ".")
  if not bundle then cli.fail("chdir " .. message) end
  local document = require "caisson.oci.document"
  local config
  config, message = document.read(bundle .. "/config.json")
  if not config then
    if not core.lstat(bundle .. "/config.json") then message = "JSON specification file config.json not found" end
    cli.fail(message)
  end
  local ok, warnings
  ok, message, warnings = document.check(config)
  if not ok then cli.fail(message) end
  for _, w in ipairs(warnings or {}) do cli.warn(w) end
  return bundle, config
end

-- --rootless as the recipe has it: nil is auto.
function M.rootless()
  local v = cli.globals.rootless
  if v == nil or v == "auto" or v == "" then return nil end
  if v == "true" or v == "1" then return true end
  if v == "false" or v == "0" then return false end
  cli.fail(("invalid value %q for --rootless: true, false or auto expected"):format(v))
end

-- How many descriptors were handed to this process by socket activation (sd_listen_fds(3)).
local function listen_fds()
  local whose = os.getenv "LISTEN_PID"
  if not whose or tonumber(whose) ~= core.identity().pid then return 0 end
  return tonumber(os.getenv("LISTEN_FDS") or "") or 0
end

-- The descriptors from 3 on, as slots: those that were handed to this command, never its own. Returns how many there
-- are, and of those how many of socket activation.
function M.preserved(n)
  n = n or 0
  local activated = listen_fds()
  if n < 0 or n > 1000 then cli.fail(("invalid value %d for --preserve-fds"):format(n)) end
  if activated + n > cli.handed_over then
    cli.fail(("please check that preserved-fd %d (of %d) is present: it is not open"):format(cli.handed_over + 1, activated + n))
  end
  return activated + n, activated
end

-- A connected socket of a flag's, or nil.
function M.socket(o, flag)
  if not o[flag] or o[flag] == "" then return nil end
  local fd, message = require("caisson.cli.handover").connect(o[flag])
  return fd or cli.fail(("--%s %s: %s"):format(flag, o[flag], message))
end

-- May there be a terminal, and does it have a place to go to?
function M.check_terminal(terminal, socket, detach)
  if detach and terminal and not socket then
    cli.fail("cannot allocate tty if " .. cli.name .. " will detach without setting console socket")
  elseif socket and not (detach and terminal) then
    cli.fail("cannot use console socket if " .. cli.name .. " will not detach or allocate tty")
  end
end

-- The runner starts, and makes what takes longest, while the rest of the bundle becomes a plan. Namespaces of a user
-- namespace's are made in it.
local function go_ahead(config)
  local names, new = { network = "net", ipc = "ipc", uts = "uts" }, {}
  if (config.annotations or {})["caisson.recipe"] then return end -- which may begin anew as another program
  for _, n in ipairs((config.linux or {}).namespaces or {}) do
    if n.type == "user" then new = {} break end
    if names[n.type] and not n.path then new[#new + 1] = names[n.type] end
  end
  core.ahead(new)
end

-- The container, created; the caller has what it asked for. detach: nobody of ours stays with it. bring: a function of
-- its directory and its root that makes its processes, which run then, and answers the first one's id. start: it is to
-- run, and may when this returns.
function M.make(o, id, detach, bring, start)
  local ok, message = require("caisson.state").check_id(id)
  if not ok then cli.fail("invalid container ID format: " .. message) end
  local bundle, config = read_bundle(o)
  local process = config.process or cli.fail("process property must not be empty")
  M.check_terminal(process.terminal, o["console-socket"], detach)
  local console, pidfd_socket = M.socket(o, "console-socket"), M.socket(o, "pidfd-socket")
  local preserved, activated = M.preserved(o["preserve-fds"])
  if not bring then go_ahead(config) end
  if activated > 0 then
    process.env = process.env or {}
    table.insert(process.env, ("LISTEN_FDS=%d"):format(activated))
    table.insert(process.env, "LISTEN_PID=1")
  end
  local recipe
  recipe, message = require("caisson.oci.recipe").of(config, { bundle = bundle, id = id, rootless = M.rootless(),
    systemd_cgroup = cli.globals["systemd-cgroup"], no_pivot = o["no-pivot"], no_new_keyring = o["no-new-keyring"],
    warn = cli.warn })
  if not recipe then cli.fail(message) end
  local files, slots
  if preserved > 0 then
    files, slots = { "stdin", "stdout", "stderr" }, {}
    for i = 3, 2 + preserved do
      files[i + 1], slots["fd" .. i] = "fd" .. i, i
    end
  end
  local root = config.root.path
  local window
  if process.terminal and not detach then
    local rows, columns = core.terminal.size(0)
    window = rows and { rows, columns }
  end
  local container, errno, failure
  root = root:sub(1, 1) == "/" and root or bundle .. "/" .. root
  local container_module = require "caisson.container"
  local opts = { id = id, root = cli.globals.root, bundle = bundle, rootfs = root, files = files, slots = slots,
    window = window, log = cli.debug_log(), start = start and not console and not pidfd_socket and not o["pid-file"],
    process = bring and function(_, path) return bring(path, root) end }
  if not process.terminal then cli.streams(opts) end
  container, message, errno, failure = container_module[bring and "take_over" or "create"](recipe, opts)
  if not container then
    if errno == core.errno.EEXIST and failure.step == "create" then cli.fail("container with given ID already exists") end
    cli.fail(bring and message or require("caisson.oci.cli.failure").text(message, failure))
  end
  for _, w in ipairs(not bring and require("caisson.oci.recipe").left_out(container.built) or {}) do cli.warn(w) end
  -- what can't be handed over is not left behind
  local handover = (console or pidfd_socket or o["pid-file"]) and require "caisson.cli.handover"
  ok = true
  if console then ok, message = handover.terminal(container.pty, console) end
  if ok and pidfd_socket then
    ok, message = core.pass.fd { fd = container.pidfd, socket = pidfd_socket, name = "standard" }
  end
  if ok and o["pid-file"] then ok, message = handover.write_pid(o["pid-file"], container.saved.pid) end
  if not ok then
    container:delete { force = true }
    cli.fail(message)
  end
  return container
end

-- ---- the commands ----

M.commands.create = { text = "make a container of a bundle; it waits for its start", words = { 1, 1 },
  usage = "<container-id>", flags = flags, prefix = cli.name .. " create failed: ",
  main = function(o, words) M.make(o, words[1], true) end }

M.commands.run = { text = "make a container of a bundle, start it, and stay until it has ended", words = { 1, 1 },
  usage = "<container-id>", prefix = cli.name .. " run failed: ",
  flags = with { { "detach, d", "bool", "don't wait for its end" },
    { "keep", "bool", "don't delete the container after its end" },
    { "no-subreaper", "bool", "don't reap what the container leaves behind" } },
  main = function(o, words)
    local foreground = not o.detach and require "caisson.oci.cli.foreground"
    local by = foreground and foreground.new()
    if foreground and not o["no-subreaper"] then core.subreaper(true) end
    local c = M.make(o, words[1], o.detach, nil, true)
    local ok, message, failure, _ = c.saved.status == "running"
    if not ok then ok, message, _, failure = c:start { log = cli.debug_log() } end
    if not ok then
      c:delete { force = true }
      cli.fail(require("caisson.oci.cli.failure").text(message, failure))
    end
    if not by then return end
    local launcher = package.loaded["caisson.launcher"]
    if launcher and launcher.forget then launcher.forget() end -- it may be long
    local status = by:attend(foreground.init(c), not o["no-subreaper"] and c:shares "pid")
    if not o.keep then
      ok, message = c:delete { force = true }
      if not ok then cli.fail(message) end
      for _, w in ipairs(message) do cli.warn(w) end
    end
    return foreground.exit_status(status)
  end }

return M
