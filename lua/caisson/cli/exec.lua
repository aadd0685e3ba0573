-- caisson exec: one more program in a container, with this process's streams, signals and terminal.
local attendant = require "caisson.cli.attendant"
local cli = require "caisson.cli"

local M = {}

local function number(option, text)
  local n = text:match("^%d+$") and tonumber(text)
  if not n or n > 4294967294 then
    cli.fail(("%s %s: an id as a number expected (names are the container's own: see its /etc/passwd)"):format(option, text))
  end
  return n
end

-- Its user from --user UID[:GID] and --group GID; nil: the container's.
local function user_of(o)
  if not o.user then
    if #o.group > 0 then cli.fail("--group goes with --user") end
    return nil
  end
  local uid, gid = o.user:match("^([^:]*):?(.*)$")
  if o.user:find(":", 1, true) and gid == "" then cli.fail(("--user %s: UID or UID:GID expected"):format(o.user)) end
  local user = { uid = number("--user", uid), gid = gid ~= "" and number("--user", gid) or nil, groups = {} }
  for i, g in ipairs(o.group) do user.groups[i] = number("--group", g) end
  return user
end

-- Its capabilities from --cap NAME (cap_NAME and capital letters will do); nil: the container's.
local function capabilities_of(o)
  if #o.cap == 0 then return nil end
  local list = {}
  for _, name in ipairs(o.cap) do
    name = name:lower():gsub("^cap_", "")
    if name == "none" then
      if #o.cap > 1 then cli.fail("--cap none: with other capabilities") end
    else
      list[#list + 1] = name
    end
  end
  return list
end

function M.main(o)
  if not o.program then cli.fail("a program is expected after --") end
  local container, message, _, failure = require("caisson").open(o.id, { root = o.root })
  if not container then cli.fail(message, failure) end
  local by = attendant.new()
  local running
  running, message, _, failure = cli.try(container.exec, container, {
    args = o.program, env = require("caisson.cli.plan").environment(o.env), cwd = o.cwd, user = user_of(o),
    capabilities = capabilities_of(o), no_new_privs = o.no_new_privs, apparmor = o.apparmor, selinux = o.selinux,
    cgroup = o.cgroup, tty = o.tty, console_socket = o.console_socket, detach = o.detach, ignore_paused = o.ignore_paused,
  }, { cancel = by.cancel, window = attendant.window(), log = cli.log })
  if not running then
    local given_up = failure and failure.code == "ECANCELED" and by:given_up()
    by:let_go()
    return given_up or attendant.failed(message, failure)
  end
  if o.pid_file then
    local ok
    ok, message = require("caisson.cli.handover").write_pid(o.pid_file, running:pid())
    if not ok then
      running:close()
      cli.fail(message)
    end
  end
  if o.detach then
    by:let_go()
    return 0
  end
  return attendant.exit_status(by:attend(running, running.built.options))
end

return M
