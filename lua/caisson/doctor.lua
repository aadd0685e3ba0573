-- What this machine and this user can and can't do, each thing tried, and how to get it: for `caisson doctor`, and for
-- `caisson check`, which says what of it a recipe needs.
local core = require "caisson.core"
local machine = require "caisson.machine"

local M = {}

local function step(name, options, extra)
  local s = { step = name, options = options }
  for k, v in pairs(extra or {}) do s[k] = v end
  return s
end

local function program()
  for _, path in ipairs { "/bin/true", "/usr/bin/true" } do
    if core.access(path, "x") then return path end
  end
end

local function exec()
  return step("exec", { argv = { program() or "/bin/true" }, files = { "stdin", "stdout", "stdout" } })
end

-- Run steps; those that are optional may fail. Returns { [step number] = errno } | nil, message, errno.
local function try(steps)
  steps[#steps + 1] = exec()
  local null = core.open("/dev/null", "readwrite")
  local process, message, errno = core.spawn { plan = core.plan(steps), slots = { stdin = null, stdout = null } }
  null:close()
  if not process then return nil, message, errno end
  local skipped = process:skipped()
  process:wait()
  process:close()
  return skipped
end

local function user_namespace(me)
  local _, message = try { step("clone", { "user" }) }
  if not message then return { able = true } end
  local cause = machine.no_user_namespaces()
  local fix = cause and cause.fix
  if not fix and me.euid ~= 0 then
    fix = "no setting forbids it: a seccomp filter, an LSM or a limit of the container around may"
  end
  return { able = false, why = message, fix = fix }
end

-- One container in which everything that may fail is optional: one start for many answers.
local function container_abilities(me, userns)
  local root = me.euid == 0
  local steps, asked = {}, {}
  local function ask(name, s, fix)
    s.optional = true
    steps[#steps + 1] = s
    asked[#asked + 1] = { name = name, number = #steps, fix = fix }
  end
  local namespaces = { "mount", "pid", "net", "ipc", "uts", "cgroup" }
  if not root then namespaces[#namespaces + 1] = "user" end
  steps[1] = step("clone", namespaces)
  if not root then
    steps[2] = step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" })
  end
  steps[#steps + 1] = step("mount.propagation", { path = "/", propagation = "private", recursive = true })
  steps[#steps + 1] = step("mount.tmpfs", { target = "/tmp", size = 1048576 })
  for _, name in ipairs { "lower", "upper", "work", "proc", "merged", "sys", "pts", "bound" } do
    steps[#steps + 1] = step("mkdir", { path = "/tmp/" .. name })
  end
  ask("bind mounts", step("mount.bind", { source = "/usr", target = "/tmp/bound", flags = { "rro" }, recursive = true }))
  ask("a proc of its own", step("mount.proc", { target = "/tmp/proc" }), not root and
    "something is mounted over parts of /proc (a container's runtime does so): start it without masked paths" or nil)
  ask("a sysfs of its own", step("mount.sysfs", { target = "/tmp/sys" }))
  ask("a devpts of its own", step("mount.devpts", { target = "/tmp/pts" }))
  ask("overlay", step("mount.overlay", { target = "/tmp/merged", lower = { "/tmp/lower" }, upper = "/tmp/upper",
    work = "/tmp/work" }), "as root: modprobe overlay (and Linux 5.11 or later for an ordinary user)")
  ask("id-mapped mounts", step("mount.bind", { source = "/tmp/lower", target = "/tmp/bound", flags = {},
    idmap = { { 0, 0, 1 } } }),
      not root and "the file system's own user namespace has to be this one: root's alone on most" or nil)
  ask("a time namespace", step("namespace.unshare", { namespaces = { "time" } }))
  local skipped, message, errno
  if root or userns.able then
    skipped, message, errno = try(steps)
  else
    message = "user namespaces are needed first"
  end
  local rows = { { name = "namespaces", able = skipped ~= nil, why = message,
    fix = errno == core.errno.ENOSPC and "user.max_*_namespaces: a limit is reached" or nil } }
  for _, a in ipairs(asked) do
    local err = skipped and skipped[a.number]
    rows[#rows + 1] = { name = a.name, able = skipped ~= nil and err == nil,
      why = err and ("%s (%s)"):format(core.errno.message(err), core.errno.name(err)) or not skipped and message or nil,
      fix = err and a.fix or nil }
  end
  return rows
end

local function id_ranges(me)
  if me.euid == 0 then return { able = true, detail = "root maps any id" } end
  local ranges = require "caisson.ranges"
  local map, missing = ranges.map(me)
  if not map then
    return { able = false, why = "missing: " .. table.concat(missing, ", "), fix = ranges.fix(me) }
  end
  for _, kind in ipairs { "uid", "gid" } do map[kind][2][3] = 1 end -- one is as hard as many
  local _, message = try { step("clone", { "user" }), step("idmap", map) }
  return { able = not message, why = message,
    fix = message and "newuidmap and newgidmap have to be setuid root, or to have CAP_SETUID and CAP_SETGID" or nil }
end

local function cgroups()
  local hierarchies, message = core.cgroup.detect()
  if not hierarchies then return { { name = "cgroups", able = false, why = message } } end
  local rows = {}
  for _, h in ipairs(hierarchies) do
    local controllers = h.version == 1 and h.controllers or h.own_writable and h.controllers or h.mount_controllers
    local names = table.concat(controllers or {}, " ")
    if h.mount and not names:find("^name=") then
      local able = h.own_writable or h.mount_writable or false
      rows[#rows + 1] = { name = ("cgroup v%d"):format(h.version), able = able,
        detail = names ~= "" and names or "no controllers",
        why = not able and ("%s is not writable by this user"):format(h.own or h.mount) or nil,
        fix = not able and (h.version == 2 and "systemd-run --user --scope -p Delegate=yes caisson ..." or
          ("as root: mkdir %s/NAME; chown -R %d %s/NAME"):format(h.mount, core.identity().euid, h.mount)) or nil }
    end
  end
  if #rows == 0 then rows[1] = { name = "cgroups", able = false, why = "no hierarchy with controllers is mounted" } end
  return rows
end

local function seccomp()
  local f = core.seccomp.features()
  local notify = false
  for _, action in ipairs(f.actions) do notify = notify or action == "notify" end
  return { { name = "seccomp", able = #f.actions > 0, detail = table.concat(f.actions, " ") },
    { name = "seccomp notify", able = notify } }
end

local function landlock()
  local abi, message = core.landlock.abi()
  return { name = "Landlock", able = abi ~= nil, detail = abi and "ABI " .. abi or nil, why = not abi and message or nil,
    fix = not abi and "boot with lsm=landlock,... (Linux 5.13 or later)" or nil }
end

local function memfd_exec()
  local f = io.open(program() or "/bin/true", "rb")
  local fd = core.memfd("caisson doctor", f and f:read("*a") or "")
  if f then f:close() end
  local null = core.open("/dev/null", "readwrite")
  local process, message = core.spawn { slots = { stdin = null, stdout = null, program = fd }, plan = core.plan {
    step("exec", { argv = { "memfd" }, fd = "program", files = { "stdin", "stdout", "stdout" } }) } }
  fd:close()
  null:close()
  if process then
    process:wait()
    process:close()
    return { name = "executable memfds", able = true }
  end
  local forbidden = machine.read("/proc/sys/vm/memfd_noexec") == "2"
  return { name = "executable memfds", able = false, why = forbidden and "vm.memfd_noexec = 2" or message,
    detail = "the installed runner serves" }
end

-- All rows: { name, able, detail, why, fix }.
function M.examine()
  local me = core.identity()
  local rows = { { name = "kernel", able = true, detail = "Linux " .. (machine.read("/proc/sys/kernel/osrelease") or "?") },
    { name = "user", able = true, detail = ("uid %d, gid %d"):format(me.euid, me.egid) } }
  local function add(row, name)
    row.name = name or row.name
    rows[#rows + 1] = row
  end
  local userns = user_namespace(me)
  userns.detail = "limit " .. (machine.read("/proc/sys/user/max_user_namespaces") or "?")
  add(userns, "user namespaces")
  add(id_ranges(me), "ranges of ids")
  for _, row in ipairs(container_abilities(me, userns)) do add(row) end
  for _, row in ipairs(cgroups()) do add(row) end
  for _, row in ipairs(seccomp()) do add(row) end
  add(landlock())
  add(memfd_exec())
  return rows
end

return M
