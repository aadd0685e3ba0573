-- checkpoint and restore: criu(8) saves a container's processes to files, and makes them of these again.
local cli = require "caisson.oci.cli"
local core = require "caisson.core"

local M = { commands = {} }

local both = {
  { "image-path", "string", "the directory of criu's images, else ./checkpoint" },
  { "work-path", "string", "the directory of criu's log and statistics, else that of the images" },
  { "tcp-established", "bool", "with open TCP connections" },
  { "ext-unix-sk", "bool", "with unix sockets that lead out of the container" },
  { "shell-job", "bool", "with a terminal of the caller's" },
  { "lazy-pages", "bool", "memory comes when it is touched" },
  { "file-locks", "bool", "with file locks" },
  { "manage-cgroups-mode", "string", "soft, full, strict or ignore", "soft" },
  { "empty-ns", "strings", "a namespace that is made, but not filled: network" },
  { "auto-dedup", "bool", "memory that a later image has is dropped from an earlier one" },
}

local function with(rows)
  local list = {}
  for _, row in ipairs(both) do list[#list + 1] = row end
  for _, row in ipairs(rows) do list[#list + 1] = row end
  return list
end

-- ---- criu ----

local plain = { "tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "auto-dedup" }
local modes = { soft = true, full = true, strict = true, ignore = true }

-- The directory of a flag, made where it is missing; absolute.
local function directory(o, flag, default)
  local path = o[flag]
  if path == nil or path == "" then path = default end
  if not core.lstat(path) then
    local ok, message = core.mkdir { path = path, mode = "0700" }
    if not ok then cli.fail(message) end
  end
  local full, message = core.realpath(path)
  return full or cli.fail(message)
end

-- The words that both commands have, from o.
local function words_of(command, o, images, work, log)
  local words = { cli.globals.criu or "criu", command, "--images-dir", images, "--work-dir", work, "--log-file", log, "-v4",
    "--external", "mnt[]:ms", "--evasive-devices" }
  for _, flag in ipairs(plain) do
    if o[flag] then words[#words + 1] = "--" .. flag end
  end
  local mode = o["manage-cgroups-mode"]
  if mode and mode ~= "" and not modes[mode] then cli.fail("Invalid manage cgroups mode") end
  words[#words + 1] = "--manage-cgroups=" .. (mode and mode ~= "" and mode or "soft")
  for _, name in ipairs(o["empty-ns"] or {}) do
    if name ~= "network" then cli.fail(("namespace %s is not supported"):format(name)) end
    words[#words + 1] = "--empty-ns"
    words[#words + 1] = "net"
  end
  return words
end

-- The last error of criu's log, or what it is.
local function reason(path)
  local f = io.open(path, "r")
  local text = f and f:read("*a") or ""
  if f then f:close() end
  local last
  for line in text:gmatch("Error [^\n]*") do last = line end
  return last and last:gsub("^Error %b(): ", "") or "no error in its log"
end

-- Run criu to its end. steps: before its program is executed. files: numbers of more descriptors that it keeps.
-- Returns true | nil, message.
local function run(words, work, log, steps, files)
  local plan, slots, names = { { step = "clone", options = { "mount" } } }, { stdin = 0, stdout = 1, stderr = 2 },
    { "stdin", "stdout", "stderr" }
  for _, s in ipairs(steps or {}) do plan[#plan + 1] = s end
  for _, n in ipairs(files or {}) do
    for i = #names + 1, n do names[i] = "-" end
    names[n + 1], slots["fd" .. n] = "fd" .. n, n
  end
  plan[#plan + 1] = { step = "exec", options = { argv = words, files = names,
    env = { "PATH=" .. (os.getenv("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin") } } }
  local process, message, errno = core.spawn { plan = core.plan(plan), slots = slots }
  if not process then
    if errno == core.errno.ENOENT and message:find(words[1], 1, true) then
      message = ("criu is not installed: there is no program %s"):format(words[1])
    end
    return nil, message
  end
  local status = process:wait()
  process:close()
  if status.code == 0 then return true end
  return nil, ("criu failed: type %s: %s\nlog file: %s/%s"):format(words[2]:upper(), reason(work .. "/" .. log), work, log)
end

-- ---- streams ----

-- What the first process's standard streams are, in criu's terms: those that come from outside are to be handed in again.
local function streams(pid)
  local list = {}
  for fd = 0, 2 do
    local st = core.lstat(("/proc/%d/fd/%d"):format(pid, fd))
    local target = st and st.target or ""
    local pipe = target:match("^pipe:(%[%d+%])$")
    local f = io.open(("/proc/%d/fdinfo/%d"):format(pid, fd))
    local mount = f and f:read("*a"):match("mnt_id:%s*(%d+)")
    if f then f:close() end
    local file = core.lstat(target)
    list[fd + 1] = pipe and "pipe" .. pipe
      or file and file.type == "file" and mount and ("file[%s:%s]"):format(mount, ("%x"):format(tonumber(file.ino)))
      or false
  end
  return list
end

local function write(path, value)
  local f, message = io.open(path, "w")
  if not f then cli.fail(message) end
  f:write(require("caisson.json").document(value), "\n")
  f:close()
end

-- ---- the commands ----

M.commands.checkpoint = { text = "save a running container to files", words = { 1, 1 }, usage = "<container-id>",
  flags = with {
    { "parent-path", "string", "the images of an earlier --pre-dump, from the image directory" },
    { "leave-running", "bool", "the container goes on" },
    { "status-fd", "int", "criu writes a 0 byte to this descriptor once lazy pages can be asked for", "-1" },
    { "page-server", "string", "ADDRESS:PORT of the page server" },
    { "pre-dump", "bool", "save memory alone, and let the container go on" },
  },
  main = function(o, words)
    local c = cli.open(words[1])
    local s = c:state()
    if s.status ~= "running" and s.status ~= "paused" then
      cli.fail(("Container cannot be checkpointed in %s state"):format(s.status))
    end
    if (c.saved.options or {}).tty then cli.fail("a container with a terminal can't be checkpointed") end
    local images = directory(o, "image-path", "checkpoint")
    local work = directory(o, "work-path", images)
    local list = words_of(o["pre-dump"] and "pre-dump" or "dump", o, images, work, "dump.log")
    local function add(...) for _, w in ipairs { ... } do list[#list + 1] = w end end
    add("--tree", ("%d"):format(s.pid))
    if s.rootfs then add("--root", s.rootfs) end
    local group = c:groups()
    local freezer = group and group:group { "freezer" }
    if freezer then add("--freeze-cgroup", core.realpath("/proc/self/fd/" .. freezer.dir:fileno())) end
    if o["leave-running"] then add("--leave-running") end
    if o["pre-dump"] then add("--track-mem") end
    if o["parent-path"] and o["parent-path"] ~= "" then
      add("--prev-images-dir", o["parent-path"])
      if not core.lstat(images .. "/" .. o["parent-path"]) then
        cli.fail("Parent checkpoint does not exist: " .. o["parent-path"])
      end
    end
    if o["page-server"] and o["page-server"] ~= "" then
      local address, port = o["page-server"]:match("^(.*):(%d+)$")
      if not port then cli.fail("Use --page-server ADDRESS:PORT to specify page server") end
      add("--page-server", "--address", address, "--port", port)
    end
    local files
    if o["status-fd"] and o["status-fd"] >= 0 then
      add("--status-fd", ("%d"):format(o["status-fd"]))
      files = { o["status-fd"] }
    end
    local outside = streams(s.pid)
    for _, what in ipairs(outside) do
      if what and what:find("^file") then add("--external", what) end
    end
    local ok, message = run(list, work, "dump.log", nil, files)
    if not ok then cli.fail(message) end
    if o["pre-dump"] then return end
    write(images .. "/descriptors.json", outside)
    if o["leave-running"] then return end
    ok, message = c:delete { force = true }
    if not ok then cli.fail(message) end
    for _, w in ipairs(message) do cli.warn(w) end
  end }

-- criu's words and steps for the container's process; they name the streams that it had.
local function restoring(o, images, work, path, rootfs, pidfile)
  local list = words_of("restore", o, images, work, "restore.log")
  local function add(...) for _, w in ipairs { ... } do list[#list + 1] = w end end
  add("--restore-detached", "--restore-sibling", "--pidfile", pidfile, "--root", path)
  for _, flag in ipairs { "lsm-profile", "lsm-mount-context" } do
    if o[flag] and o[flag] ~= "" then add("--" .. flag, o[flag]) end
  end
  local f = io.open(images .. "/descriptors.json", "r")
  local outside = f and require("caisson.json").decode(f:read("*a")) or {}
  if f then f:close() end
  for i, what in ipairs(type(outside) == "table" and outside or {}) do
    if type(what) == "string" and i <= 3 then add("--inherit-fd", ("fd[%d]:%s"):format(i - 1, what)) end
  end
  -- its root has to be a mount: of this command's own, gone with it
  return list, { { step = "mount.propagation", options = { path = "/", propagation = "private", recursive = true } },
    { step = "mount.bind", options = { source = rootfs, target = path, recursive = true } } }
end

M.commands.restore = { text = "make a container of what checkpoint has saved", words = { 1, 1 }, usage = "<container-id>",
  flags = with {
    { "bundle, b", "string", "the bundle's directory, else the current one" },
    { "console-socket", "string", "a unix socket for a terminal, which no restored container has" },
    { "detach, d", "bool", "don't wait for its end" },
    { "pid-file", "string", "write the first process's id to this file" },
    { "no-subreaper", "bool", "don't reap what the container leaves behind" },
    { "no-pivot", "bool", "the root was moved into place" },
    { "lsm-profile", "string", "TYPE:NAME of another LSM profile" },
    { "lsm-mount-context", "string", "another LSM context of mounts" },
  },
  main = function(o, words)
    local create = require "caisson.oci.cli.create"
    if o["console-socket"] and o["console-socket"] ~= "" then
      cli.fail("--console-socket: a container with a terminal can't be restored")
    end
    local images = directory(o, "image-path", "checkpoint")
    local work = directory(o, "work-path", images)
    local foreground = not o.detach and require "caisson.oci.cli.foreground"
    local by = foreground and foreground.new()
    if foreground and not o["no-subreaper"] then core.subreaper(true) end
    local container = create.make(o, words[1], o.detach, function(path, rootfs)
      local root, pidfile = path .. "/root", path .. "/restored"
      local ok, message = core.mkdir { path = root, mode = "0700" }
      if not ok then return nil, message end
      local list, steps = restoring(o, images, work, root, rootfs, pidfile)
      ok, message = run(list, work, "restore.log", steps)
      if not ok then return nil, message end
      local f = io.open(pidfile, "r")
      local pid = f and tonumber(f:read("*l"))
      if f then f:close() end
      return pid, "criu has told no process"
    end)
    if not by then return end
    local status = by:attend(foreground.init(container), not o["no-subreaper"] and container:shares "pid")
    local ok, message = container:delete { force = true }
    if not ok then cli.fail(message) end
    for _, w in ipairs(message) do cli.warn(w) end
    return foreground.exit_status(status)
  end }

return M
