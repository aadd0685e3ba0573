-- A network of its own without privileges, served by pasta(1) for as long as the container runs. pasta is this
-- process's child, and ends with the container or with this process.
local core = require "caisson.core"
local plan = require "caisson.plan"

local M = {}

---@class caisson.Pasta
local Pasta = {}
Pasta.__index = Pasta

local function program()
  for dir in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if core.access(dir .. "/pasta", "x") then return dir .. "/pasta" end
  end
end

-- Ports of the host's as pasta has them: 8080, "8080:80", "ADDRESS/8080:80"; on the loopback where no address is said.
local function ports(b, key, list)
  if type(list) ~= "table" then list = { list } end
  local words = {}
  for i, port in ipairs(list) do
    local text = tostring(port)
    local where, which = text:match("^([%x.:]+/)(.*)$")
    local from, to = (which or text):match("^(%d+):?(%d*)$")
    if not from or tonumber(from) > 65535 or (tonumber(to) or 0) > 65535 then
      b:fail(("%s/%d"):format(key, i), "PORT, PORT:INSIDE or ADDRESS/PORT:INSIDE expected, got '" .. text .. "'")
    end
    words[i] = where and text or "127.0.0.1/" .. text
  end
  return words
end

-- The step of a recipe's network = { { pasta = "eth0", tcp = { 8080 }, udp = {} } }.
function M.build(b, key, d)
  if b.wait then b:fail(key, "pasta serves a run (caisson run), not a container that outlives its creator") end
  if b.pasta then b:fail(key, "one pasta serves a container") end
  local found = program()
  if not found then b:fail(key, "pasta is not there (package passt)") end
  local argv = { found, "--foreground", "--quiet", "--config-net", "--no-map-gw", "--ns-ifname", d.pasta }
  for _, o in ipairs { { "--tcp-ports", d.tcp, "tcp" }, { "--udp-ports", d.udp, "udp" } } do
    local words = ports(b, key .. "/" .. o[3], o[2] or {})
    if #words == 0 then words[1] = "none" end
    for _, w in ipairs(words) do
      argv[#argv + 1] = o[1]
      argv[#argv + 1] = w
    end
  end
  for _, w in ipairs { "--tcp-ns", "none", "--udp-ns", "none" } do argv[#argv + 1] = w end
  if b.identity.euid == 0 then -- else it becomes nobody, who may not join
    argv[#argv + 1] = "--runas"
    argv[#argv + 1] = "0:0"
  end
  b.pasta = setmetatable({ argv = argv, name = d.pasta, user = b.new.user, root = b.identity.euid == 0 }, Pasta)
  local origin = b.origins[key]
  b.plan.steps[#b.plan.steps + 1] = plan.call(function(pid) return b.pasta:start(pid) end,
    { name = "network.pasta", side = "parent", phase = "network", origin = origin, at = not origin and "?" or nil })
end

local function has_route(pid, name)
  for file, pattern in pairs { route = "\n" .. name .. "\t00000000", ipv6_route = "^0+ 00 .- " .. name .. "\n" } do
    local f = io.open(("/proc/%d/net/%s"):format(pid, file))
    local text = f and f:read("*a") or ""
    if f then f:close() end
    if text:find(pattern) then return true end
  end
end

-- Serve the container: true | nil, message.
function Pasta:start(pid)
  local argv = {}
  for i, w in ipairs(self.argv) do argv[i] = w end
  local net, user = ("/proc/%d/ns/net"):format(pid), ("/proc/%d/ns/user"):format(pid)
  local steps = { { step = "clone", options = self.root and { "mount" } or {} } }
  if self.root then
    -- before it joins it has given up the capability to look into other processes: it finds the namespaces elsewhere
    steps[2] = { step = "mount.propagation", options = { path = "/", propagation = "private", recursive = true } }
    steps[3] = { step = "mount.bind", options = { source = net, target = "/proc/version" } }
    steps[4] = self.user and { step = "mount.bind", options = { source = user, target = "/proc/uptime" } } or nil
    net, user = "/proc/version", "/proc/uptime"
  end
  for _, w in ipairs { "--netns", net, "--no-netns-quit", self.user and "--userns" or "--netns-only", self.user and user } do
    argv[#argv + 1] = w
  end
  local out, write = core.pipe()
  local null = assert(core.open "/dev/null")
  steps[#steps + 1] = { step = "exec", options = { argv = argv, files = { "null", "null", "out" } } }
  local process, message = core.spawn { plan = core.plan(steps), slots = { null = null, out = write } }
  write:close()
  null:close()
  if not process then
    out:close()
    return nil, message
  end
  self.process = process
  local status
  local deadline = core.now() + 10e9
  repeat
    if has_route(pid, self.name) then
      out:close()
      return true
    end
    status = process:wait(0.01)
  until status or core.now() > deadline
  local said = {}
  if status then
    for line in ((out:read() or "") .. "\n"):gmatch("([^\n]+)\n") do
      if not line:find "syslog" then said[#said + 1] = line end
    end
  end
  out:close()
  self:close()
  return nil, "pasta: " .. (status and (said[#said] or "it has ended") or "no route has come in 10 seconds")
end

function Pasta:close()
  if not self.process then return end
  self.process:kill "KILL"
  self.process:wait()
  self.process:close()
  self.process = nil
end

return M
