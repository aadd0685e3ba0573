-- Attacks on whoever makes containers: a directory of the host that must stay as it is, hostile images and
-- bundles, who swaps paths meanwhile, and what the runtime made of it.
--
-- ATTACK_RUNTIME picks another runtime of the same command line. So it is shown that an attack is one: runc
-- 1.1.5, as Debian has it, falls for some of them.
local t = require "support"
local cli = require "support.cli"
local core = t.core

local M = {}

M.runtime = os.getenv("ATTACK_RUNTIME") or cli.root .. "/build/bin/caisson-oci"
M.is_peer = os.getenv("ATTACK_RUNTIME") ~= nil

function t.probes.oci()
  return core.lstat(M.runtime) ~= nil or M.is_peer, "no " .. M.runtime
end

function t.probes.busybox()
  return t.sh("command -v busybox") ~= "", "no busybox (package busybox-static)"
end

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end
M.quote = quote

-- ---- scratch directories ----

local made, started, running = {}, {}, {}

function M.tmpdir()
  local d = t.sh("mktemp -d /tmp/attack.XXXXXX"):match("%S+")
  t.sh("chmod 755 " .. d)
  made[#made + 1] = d
  return d
end

function M.clean_racers()
  for _, p in ipairs(running) do p:close() end
  running = {}
end

-- The end of a spec: containers deleted, racers ended, directories removed.
function M.clean()
  M.clean_racers()
  for _, c in ipairs(started) do M.sh(("%s --root %s delete --force %s 2>&1"):format(M.runtime, c.root, c.id)) end
  for _, d in ipairs(made) do t.sh("chmod -R u+rwX " .. d .. " 2>/dev/null; rm -rf --one-file-system " .. d .. " 2>/dev/null") end
  made, started = {}, {}
end

function M.sh(command) return t.sh("timeout -k 1 60 sh -c " .. quote(command) .. " < /dev/null") end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end
M.write = write

-- ---- the attacker, compiled ----

local program
function M.attacker()
  if not program then
    program = t.sh("mktemp -d /tmp/attacker.XXXXXX"):match("%S+")
    local out = t.sh(("cc -static -O1 -Wall -Wextra -o %s/attacker spec/support/attacker.c 2>&1; chmod 755 %s"):format(program, program))
    if out ~= "" then error("attacker.c: " .. out) end
  end
  return program .. "/attacker"
end

local function forget_attacker()
  if program then os.execute("rm -rf " .. program) end
  program = nil
end

-- Exchange two paths on the host, as fast as it goes, until clean(). Returns the process.
function M.racer(a, b)
  local p = assert(core.spawn { plan = core.plan { t.step("exec", { argv = { M.attacker(), "exchange", a, b } }) } })
  running[#running + 1] = p
  return p
end

-- ---- what must stay as it is ----

-- The host's directory S that nothing may lead to: files by the names that a runtime makes.
---@class support.Sentinel
local Sentinel = {}
Sentinel.__index = Sentinel

local function state_of(dir)
  return t.sh("cd " .. dir .. " && find . -printf '%p %i %m %u %s %y %l %T@ %C@\\n' | sort")
end

-- Settings of the whole machine's that attacks go for.
local function settings()
  local s = {}
  for _, name in ipairs { "core_pattern", "modprobe", "hotplug", "sysrq", "hostname", "domainname", "panic" } do
    s[name] = t.read_file("/proc/sys/kernel/" .. name) or "none"
  end
  for _, name in ipairs { "null", "zero", "full", "tty", "ptmx", "console" } do
    local st = core.lstat("/dev/" .. name)
    s["/dev/" .. name] = st and ("%s %s:%s %s %s"):format(st.type, tostring(st.major), tostring(st.minor), tostring(st.uid), tostring(st.mode))
  end
  s.forward = t.read_file("/proc/sys/net/ipv4/ip_forward")
  -- but for those of others who work here meanwhile
  local list = {}
  for line in t.read_file("/proc/self/mountinfo"):gmatch("[^\n]+") do
    local at = line:match("^%S+ %S+ %S+ %S+ (%S+)")
    if not (at:find("^/run/") or at:find("^/var/") or (at:find("^/tmp/") and not at:find("^/tmp/attack"))) then list[#list + 1] = line end
  end
  s.mounts = table.concat(list, "\n")
  return s
end

M.canary = "canary of the host"

function M.sentinel()
  local dir = M.tmpdir()
  t.sh(([[cd %s && mkdir -p b/c in dev/pts sys proc/self && echo %s > canary
    for f in ptmx console core passwd a file dev/null dev/console; do echo %s > $f; done]]):format(
    dir, quote(M.canary), quote(M.canary)))
  return setmetatable({ dir = dir, before = state_of(dir), settings = settings() }, Sentinel)
end

-- The lines that only one of two texts has.
local function difference(was, is)
  local count, out = {}, {}
  for line in was:gmatch("[^\n]+") do count[line] = (count[line] or 0) - 1 end
  for line in is:gmatch("[^\n]+") do count[line] = (count[line] or 0) + 1 end
  for line, n in pairs(count) do if n ~= 0 then out[#out + 1] = (n < 0 and "- " or "+ ") .. line end end
  table.sort(out)
  return table.concat(out, "\n")
end

-- Raises where something has changed on the host.
function Sentinel:check(what)
  local now, was = state_of(self.dir), self.before
  self.before = now -- one escape is told once
  if now ~= was then error(("%s: ESCAPE: the host's directory has changed\n%s"):format(what or "", difference(was, now)), 2) end
  local s = settings()
  for k, v in pairs(self.settings) do
    self.settings[k] = s[k]
    if k == "core_pattern" and s[k] ~= v then -- a peer has fallen for it: the machine is to be as it was
      local f = io.open("/proc/sys/kernel/core_pattern", "w")
      if f then f:write(v) f:close() end
      self.settings[k] = v
    end
    if s[k] ~= v then error(("%s: ESCAPE: the host's %s has changed\n%s"):format(what or "", k, difference(v, s[k] or "gone")), 2) end
  end
end

-- ---- bundles ----

local function encode(v)
  if type(v) == "table" then
    local parts = {}
    if #v > 0 or getmetatable(v) == M.list then
      for i, item in ipairs(v) do parts[i] = encode(item) end
      return "[" .. table.concat(parts, ",") .. "]"
    end
    for k, item in pairs(v) do parts[#parts + 1] = encode(tostring(k)) .. ":" .. encode(item) end
    table.sort(parts)
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(v) == "string" then
    return '"' .. v:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
  elseif type(v) == "number" then
    return ("%.0f"):format(v)
  end
  return tostring(v)
end
M.encode = encode

-- An empty list, where JSON tells it from an empty object.
M.list = {}
function M.empty() return setmetatable({}, M.list) end

-- The configuration that engines give, in short: all namespaces, default capabilities, masks. For an ordinary
-- user, in a user namespace.
function M.config()
  local caps = { "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE" }
  local c = {
    ociVersion = "1.0.2",
    process = { user = { uid = 0, gid = 0 }, args = { "/bin/true" }, env = { "PATH=/bin" }, cwd = "/", noNewPrivileges = true,
      capabilities = { bounding = caps, effective = caps, permitted = caps } },
    root = { path = "rootfs", readonly = false },
    hostname = "attacked",
    mounts = {
      { destination = "/proc", type = "proc", source = "proc", options = { "nosuid", "noexec", "nodev" } },
      { destination = "/dev", type = "tmpfs", source = "tmpfs", options = { "nosuid", "strictatime", "mode=755", "size=65536k" } },
      { destination = "/dev/pts", type = "devpts", source = "devpts",
        options = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620" } },
      { destination = "/dev/shm", type = "tmpfs", source = "shm", options = { "nosuid", "noexec", "nodev", "mode=1777" } },
      { destination = "/dev/mqueue", type = "mqueue", source = "mqueue", options = { "nosuid", "noexec", "nodev" } },
      { destination = "/sys", type = "sysfs", source = "sysfs", options = { "nosuid", "noexec", "nodev", "ro" } },
    },
    linux = {
      namespaces = { { type = "pid" }, { type = "network" }, { type = "ipc" }, { type = "uts" }, { type = "mount" } },
      maskedPaths = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware" },
      readonlyPaths = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" },
    },
  }
  if not t.is_root then
    local me = core.identity()
    table.insert(c.linux.namespaces, { type = "user" })
    c.linux.uidMappings = { { containerID = 0, hostID = me.euid, size = 1 } }
    c.linux.gidMappings = { { containerID = 0, hostID = me.egid, size = 1 } }
  end
  return c
end

local applets = { "sh", "cat", "echo", "ls", "id", "true", "sleep", "stat", "readlink", "mkdir", "grep", "mount", "touch", "rm", "ln",
  "dd", "head", "kill", "env", "find", "sort", "pwd", "tr", "sysctl", "mknod", "umount" }

-- A bundle, its image in the folder rootfs: a static busybox, the attacker beside it where there is a compiler.
---@class support.Bundle
local Bundle = {}
Bundle.__index = Bundle

local count = 0

-- An image that is not hostile yet, to be copied; removed by forget().
local base
local function template()
  if not base then
    base = t.sh("mktemp -d /tmp/attacked.XXXXXX"):match("%S+")
    t.sh(("chmod 755 %s; cd %s; mkdir bin etc tmp; cp $(command -v busybox) bin/busybox; cd bin; for n in %s; do ln -s busybox $n; done"):format(
      base, base, table.concat(applets, " ")))
  end
  return base
end

-- image: shell commands that make the image hostile, run in rootfs; S in there is the sentinel's directory.
function M.bundle(image, S)
  local b = setmetatable({ dir = M.tmpdir(), config = M.config() }, Bundle)
  b.rootfs, b.root = b.dir .. "/rootfs", b.dir .. "/states"
  local script = { ("set -e; cp -al %s %s; cd %s"):format(template(), b.rootfs, b.rootfs) }
  if S then script[#script + 1] = "S=" .. S.dir end
  script[#script + 1] = image or ":"
  local out = t.sh("{ " .. table.concat(script, "\n") .. "\n} 2>&1")
  if out ~= "" then error("the image: " .. out, 2) end
  return b
end

-- In a user namespace, as root too: an ordinary user's is in one anyway.
function Bundle:in_user_namespace()
  if not t.is_root then return self end
  table.insert(self.config.linux.namespaces, { type = "user" })
  self.config.linux.uidMappings = { { containerID = 0, hostID = 100000, size = 65536 } }
  self.config.linux.gidMappings = { { containerID = 0, hostID = 100000, size = 65536 } }
  t.sh(("cd %s; for f in bin/*; do cp -P $f x; mv x $f; done; chown -hR 100000:100000 ."):format(self.rootfs)) -- links to all bundles' files
  return self
end

function Bundle:attacker()
  t.sh("cp " .. M.attacker() .. " " .. self.rootfs .. "/bin/attacker")
  return self
end

-- Run a shell script in it.
function Bundle:script(text)
  self.config.process.args = { "/bin/sh", "-c", text }
  return self
end

function Bundle:mount(m)
  table.insert(self.config.mounts, m)
  return self
end

-- Without the mounts at these destinations (the image's own files are there then).
function Bundle:without(...)
  local out = {}
  for _, d in ipairs { ... } do out[d] = true end
  local left = {}
  for _, m in ipairs(self.config.mounts) do if not out[m.destination] then left[#left + 1] = m end end
  self.config.mounts = left
  return self
end

function Bundle:save(text)
  write(self.dir .. "/config.json", text or encode(self.config))
  return self
end

-- A command of the runtime's: words, shell text around it. Returns { out =, err =, code = }.
function Bundle:call(words, opts)
  opts = opts or {}
  local list = {}
  for i, w in ipairs(words) do list[i] = quote(w) end
  self.calls = (self.calls or 0) + 1
  local out, err = ("%s/out%d"):format(self.dir, self.calls), ("%s/err%d"):format(self.dir, self.calls)
  local code = t.sh(("cd %s; %s %s timeout -k 1 %d %s --root %s %s %s <%s >%s 2>%s; echo $?"):format(opts.cwd or self.dir,
    opts.before or "", opts.env or "", opts.seconds or 20, opts.runtime or M.runtime, self.root, opts.global or "",
    table.concat(list, " "), opts.stdin or "/dev/null", out, err) .. (opts.after or ""))
  return { out = t.read_file(out), err = t.read_file(err), code = tonumber(code:match("%d+")), out_path = out }
end

local function new_id(b)
  count = count + 1
  local id = ("attack-%d-%d"):format(t.getpid(), count)
  started[#started + 1] = { root = b.root, id = id }
  return id
end

-- Run it to its end. opts: those of call, words (more of run's).
function Bundle:run(opts)
  opts = opts or {}
  self:save(opts.text)
  local words = { "run", "--bundle", self.dir }
  for _, w in ipairs(opts.words or {}) do words[#words + 1] = w end
  words[#words + 1] = new_id(self)
  local r = self:call(words, opts)
  if r.code ~= 0 then self:call({ "delete", "--force", words[#words] }) end -- what a failed run of a peer's may leave
  started[#started] = nil
  return r
end

-- Start it, to be there for the calls that follow. Returns its id, or nil and the result of what failed.
function Bundle:start(opts)
  opts = opts or {}
  self:save()
  local id = new_id(self)
  local words = { "create", "--bundle", self.dir }
  for _, w in ipairs(opts.words or {}) do words[#words + 1] = w end
  words[#words + 1] = id
  local r = self:call(words, opts)
  if r.code ~= 0 then return nil, r end
  self.output = r.out_path -- where its program writes
  r = self:call({ "start", id }, opts)
  if r.code ~= 0 then return nil, r end
  return id
end

-- What its program has written, once it matches (10 seconds).
function Bundle:expect(pattern)
  local deadline = core.now() + 10e9
  while true do
    local text = t.read_file(self.output) or ""
    if text:find(pattern) then return text end
    if core.now() > deadline then error(("%q has not come; there is: %q"):format(pattern, text), 2) end
    core.poll({}, 0.01)
  end
end

function Bundle:exec(id, args, opts)
  opts = opts or {}
  local words = { "exec" }
  for _, w in ipairs(opts.words or {}) do words[#words + 1] = w end
  words[#words + 1] = id
  for _, w in ipairs(args) do words[#words + 1] = w end
  return self:call(words, opts)
end

function Bundle:delete(id) return self:call { "delete", "--force", id } end

-- The end of a file's specs: clean(), and what they all have used.
function M.forget()
  M.clean()
  forget_attacker()
  if base then os.execute("rm -rf " .. base) end
  base = nil
end

-- An error of the runtime's own that says something, no program's output; returns its text.
function M.refused(r)
  local text = r.err
  if not (text:find("level=error", 1, true) or text:find("Incorrect Usage", 1, true) or r.log) or r.code == 0 or r.code == 124 or (r.code >= 128 and r.code < 255) or not text:find("%S") or text:find("attempt to ", 1, true)
    or text:find("stack traceback", 1, true) then
    error(("an error was expected; the status is %s, said was %s%s"):format(tostring(r.code), r.out, text), 2)
  end
  return text
end

-- A container that ran as it should; returns what it printed.
function M.ran(r)
  if r.code ~= 0 then error(("status %s: %s%s"):format(tostring(r.code), r.out, r.err), 2) end
  return r.out
end

return M
