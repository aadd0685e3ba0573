-- What specs share: running steps in a child and reading back what the kernel says.
local core = require "caisson.core"

local M = { core = core }

-- The interpreter that runs the specs: what loads this build of the core.
M.lua = os.getenv("CAISSON_LUA") or rawget(_G, "jit") and "luajit" or _VERSION:lower():gsub(" ", "")

-- Read a whole descriptor.
function M.slurp(fd)
  local parts = {}
  while true do
    local s = assert(fd:read())
    if s == "" then return table.concat(parts) end
    parts[#parts + 1] = s
  end
end

function M.read_file(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local s = f:read("*a")
  f:close()
  return s
end

-- Output of a shell command on the host.
function M.sh(command)
  local p = assert(io.popen(command, "r"))
  local s = p:read("*a")
  p:close()
  return s
end

-- Run steps, then argv (default: sh -c script), and give back { output, status, ... }; or nil and the
-- error's four values. opts: script | argv, env, slots, functions, stdin (bytes), fail, files, exec.
function M.run(steps, opts)
  opts = opts or {}
  local list = {}
  for i, s in ipairs(steps) do list[i] = s end
  local exec = { argv = opts.argv or { "/bin/sh", "-c", opts.script or "true" }, env = opts.env,
    files = opts.files or { "stdin", "stdout", "stdout" } }
  for k, v in pairs(opts.exec or {}) do exec[k] = v end
  list[#list + 1] = { step = "exec", options = exec }
  local plan = core.plan(list)
  local r, w = assert(core.pipe())
  local input = assert(opts.stdin and core.memfd("stdin", opts.stdin) or core.open("/dev/null"))
  local slots = { stdin = input, stdout = w }
  for k, v in pairs(opts.slots or {}) do slots[k] = v end
  local process, message, errno, failure =
    core.spawn { plan = plan, slots = slots, functions = opts.functions, fail = opts.fail, fork = opts.fork }
  w:close()
  input:close()
  if not process then
    r:close()
    return nil, message, errno, failure
  end
  local output = M.slurp(r)
  r:close()
  local status = assert(process:wait())
  local result = { output = output, status = status, code = status.code, signal = status.signal,
    skipped = process:skipped(), pid = process:pid() }
  if opts.inspect then opts.inspect(process, result) end
  process:close()
  return result
end

-- A shell command that runs Lua code in a process of its own, by this interpreter and with our paths: a
-- host that may be killed, or changed, without harm to the specs.
function M.lua_command(code)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath), code)
  f:close()
  return M.core.realpath("/proc/self/exe") .. " " .. path .. "; rm -f " .. path
end

function M.host(code)
  return M.sh(M.lua_command(code))
end

-- A program that runs Lua code, for t.run's argv: `core` is the library, and what the code returns is
-- printed as text (tables with sorted keys).
function M.program(code)
  return { M.core.realpath("/proc/self/exe"), "-e", ([[
    package.path, package.cpath = %q, %q
    local core = require "caisson.core"
    local function text(v)
      if type(v) ~= "table" then return tostring(v) end
      local keys, parts = {}, {}
      for k in pairs(v) do keys[#keys + 1] = k end
      table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
      for i, k in ipairs(keys) do parts[i] = (type(k) == "number" and "" or k .. "=") .. text(v[k]) end
      return "{" .. table.concat(parts, " ") .. "}"
    end
    io.write(text((function() %s end)()))]]):format(package.path, package.cpath, code) }
end

-- /proc/PID/ns/NAME of this process, or another: "net:[4026531840]".
function M.namespace(name, pid)
  local st = M.core.lstat(("/proc/%s/ns/%s"):format(pid or "self", name))
  return st and st.target
end

-- Steps that begin a container in which this user is root: a clone with these namespaces and, but for
-- root without "user" among them, a user namespace and its maps.
function M.contained(namespaces)
  local list, user = {}, not M.is_root
  for i, n in ipairs(namespaces) do
    list[i] = n
    user = user or n == "user"
  end
  if not user then return { M.step("clone", list) } end
  if not M.is_root then list[#list + 1] = "user" end
  local me = M.core.identity()
  return { M.step("clone", list),
    M.step("idmap", { uid = { { 0, me.euid, 1 } }, gid = { { 0, me.egid, 1 } }, setgroups = "deny" }) }
end

-- Lists of steps, one behind the other.
function M.steps(...)
  local all = {}
  for _, list in ipairs { ... } do
    if list.step then
      all[#all + 1] = list
    else
      for _, s in ipairs(list) do all[#all + 1] = s end
    end
  end
  return all
end

-- Steps in short: M.step("hostname", "box"), M.step("idmap", {...}, { side = "child" }).
function M.step(name, options, extra)
  local s = { step = name, options = options }
  for k, v in pairs(extra or {}) do s[k] = v end
  return s
end

-- Descriptors that this process has open, below 2048. (A popen'd ls may see popen's own pipe.)
function M.count_fds()
  collectgarbage()
  collectgarbage()
  local n = 0
  for fd = 0, 2047 do n = n + (core.lstat("/proc/self/fd/" .. fd) and 1 or 0) end
  return n
end

-- Children of this process (running or not reaped), other than the shell that counts them.
function M.count_children()
  local n = 0
  for _ in (M.read_file("/proc/self/task/" .. M.getpid() .. "/children") or ""):gmatch("%d+") do n = n + 1 end
  return n
end

function M.getpid()
  return tonumber((M.read_file("/proc/self/stat") or ""):match("^%d+"))
end

M.is_root = M.sh("id -u"):match("^0\n") ~= nil

-- Abilities of this machine and user, each tried, not guessed: a function that answers true, or false
-- and why. Add yours here.
local probes = {}
M.probes = probes

function probes.root()
  return M.is_root, "this user is not root"
end

function probes.userns()
  local ok, message = M.run({ M.step("clone", { "user" }) }, { script = "true" })
  return ok ~= nil, message
end

-- Ranges of ids for this user, and the programs that hand them out.
function probes.subids()
  if M.is_root then return false, "root needs no ranges; the ordinary user's run proves it" end
  local me = M.sh("id -un"):match("%S+")
  for _, file in ipairs { "/etc/subuid", "/etc/subgid" } do
    if not ("\n" .. (M.read_file(file) or "")):find("\n" .. me .. ":", 1, true) then
      return false, file .. " has no range for " .. me
    end
  end
  return M.sh("command -v newuidmap && command -v newgidmap"):match("\n.*\n") ~= nil, "no newuidmap and newgidmap (package uidmap)"
end

function probes.cc()
  return M.sh("command -v cc") ~= "", "no C compiler"
end

function probes.cgroup_v1()
  return M.read_file("/proc/self/mounts"):match(" cgroup [%w,]*memory") ~= nil
      or M.read_file("/proc/self/mounts"):match("cgroup/memory cgroup ") ~= nil, "no v1 memory controller"
end

function probes.cgroup_v2()
  local c = M.read_file("/sys/fs/cgroup/cgroup.controllers")
  return c ~= nil and c:match("memory") ~= nil, "no pure cgroup v2 here; make test-vm proves it"
end

function probes.systemd()
  return M.sh("test -d /run/systemd/system && grep -q :54321: /etc/passwd && echo yes") == "yes\n",
    "no systemd as pid 1, with user 54321; make test-vm proves it"
end

function probes.landlock()
  local abi, message = core.landlock.abi()
  return (abi or 0) >= 6, message or ("ABI " .. tostring(abi) .. ", 6 is needed; make test-vm proves it")
end

function probes.luv()
  return pcall(require, "luv"), "no luv for this Lua (package lua-luv)"
end

-- A program that the specs can go without.
for name, package in pairs { npm = "npm", nginx = "nginx-light", chromium = "chromium", busybox = "busybox-static" } do
  probes[name] = function()
    return M.sh("command -v " .. name) ~= "", ("no %s here (package %s)"):format(name, package)
  end
end

function probes.ranges()
  local ok, missing = require("caisson.ranges").map(core.identity())
  return ok ~= nil, "no range of ids: missing " .. table.concat(missing, ", ")
end

function probes.pasta()
  local r, message = require("caisson").run("pasta", { args = { "true" }, stdin = "null" })
  return r ~= nil and r.code == 0, "no pasta that works (package passt, /dev/net/tun): " .. tostring(message)
end

function probes.perl()
  return M.sh("perl -MSocket -e 'print 1' 2>&1") == "1", "no perl with Socket"
end

function probes.perl_threads()
  return M.sh("perl -Mthreads -e 'print 1' 2>&1") == "1", "no perl with threads"
end

function probes.luajit()
  return rawget(_G, "jit") ~= nil, "these specs run under " .. _VERSION
end

function probes.bwrap()
  return M.sh("bwrap --bind / / echo yes 2>&1") == "yes\n", "no bwrap that works"
end

-- May we hear what the kernel's audit says (the multicast group of AF_NETLINK, NETLINK_AUDIT)?
function probes.audit()
  local answer = M.sh("perl -MSocket -e 'socket(S, 16, 3, 9) && bind(S, pack(q(SSLL), 16, 0, 0, 1)) and print 1' 2>&1")
  return answer == "1", "no right to listen to audit, or a kernel without it"
end

local known = {}

-- The environment of the function at a level. busted puts its words there: pending in a describe makes
-- a test that is pending, pending in an it ends this one.
local function environment(level)
  if getfenv then
    local env = getfenv(level + 1) -- no tail call, which would lose a level
    return env
  end
  local f = debug.getinfo(level + 1, "f").func
  for i = 1, 255 do
    local name, value = debug.getupvalue(f, i)
    if name == "_ENV" then return value end
    if not name then return {} end
  end
end

-- In a describe or it: pending with the reason where an ability is missing, or, where
-- CAISSON_REQUIRE lists it, a failure.
function M.needs(...)
  for _, name in ipairs { ... } do
    if known[name] == nil then
      local probe = assert(probes[name], "no probe is called " .. name)
      local ok, why = probe()
      known[name] = { ok = ok, why = why }
    end
    if not known[name].ok then
      local text = "needs " .. name .. ": " .. tostring(known[name].why)
      for required in (os.getenv("CAISSON_REQUIRE") or ""):gmatch("[^,]+") do
        if required == name then error(text .. " (CAISSON_REQUIRE lists it)", 2) end
      end
      local pending = environment(2).pending or require("busted").pending
      pending(text)
      return false
    end
  end
  return true
end

return M
