-- Podman in a world of its own: no registry, no network, no file of the user's.
local t = require "support"
local engine = require "support.engine"

local M = {}
local unpack = table.unpack or unpack

---@class support.Podman
local Podman = {}
Podman.__index = Podman

local settings = {
  ["containers.conf"] = [[
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=512:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
]],
  ["storage.conf"] = [[
[storage]
driver = "overlay"
graphroot = "%s/graph"
runroot = "%s/run"
]],
  ["registries.conf"] = "",
}

-- A world with podman in it and the image "box". user: the uid of an ordinary user, who runs it rootless. named:
-- the configuration names the runtime "tested" and says that it writes its log as JSON.
function M.world(user, named)
  return M.open(engine.world(user), named)
end

-- The same in a world that is there.
function M.open(world, named)
  local dir, user = world.dir, world.user
  local self = setmetatable({ world = world, dir = dir, runtime = engine.runtime }, Podman)
  for name, text in pairs(settings) do engine.write(dir .. "/" .. name, (text:gsub("%%s", dir))) end
  local conf = settings["containers.conf"]
  if named then
    conf = conf .. ('runtime = "tested"\nruntime_supports_json = ["tested"]\n[engine.runtimes]\ntested = ["%s"]\n'):format(self.runtime)
  end
  engine.write(dir .. "/containers.conf", conf)
  if user then
    -- who may not see this checkout; the command that stands beside it is what loads systemd's library
    self.runtime = dir .. "/bin/runtime"
    local beside = engine.runtime:match("^.*/") .. "caisson"
    assert(os.execute(("mkdir -m 755 %s/bin && cp %s %s && { [ ! -e %s ] || cp %s %s/bin/caisson; } && chmod 755 %s/bin/*"):format(
      dir, engine.runtime, self.runtime, beside, beside, dir, dir)))
  else
    assert(os.execute("mkdir " .. dir .. "/home"))
  end
  -- conmon's note of an OOM kill may land in the current directory
  self.command = { "env", "-C", dir, "CONTAINERS_CONF=" .. dir .. "/containers.conf", "CONTAINERS_STORAGE_CONF=" .. dir ..
    "/storage.conf", "CONTAINERS_REGISTRIES_CONF=" .. dir .. "/registries.conf", "HOME=" .. dir .. "/home",
    "TMPDIR=" .. dir .. "/home", "podman", "--tmpdir", dir .. "/home/libpod", "--runtime", named and "tested" or self.runtime }
  self:ok("import", "--change", "ENV=PATH=/bin", world:rootfs(), "box")
  return self
end

function Podman:argv(words)
  local argv = {}
  for i, w in ipairs(self.command) do argv[i] = w end
  for _, w in ipairs(words) do argv[#argv + 1] = w end
  return self.world:argv(argv)
end

-- Run podman with these words; a table at the end: options of support.cli. Returns its result.
function Podman:run(...)
  local words = { ... }
  local opts = type(words[#words]) == "table" and table.remove(words) or nil
  return require("support.cli").run(self:argv(words), opts)
end

-- The same, which must succeed: what it printed, without the end of the last line.
function Podman:ok(...)
  local r = self:run(...)
  if r.code ~= 0 then
    local words = { ... }
    if type(words[#words]) == "table" then words[#words] = nil end
    error(("podman %s: status %s: %s%s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err, r.out), 2)
  end
  return (r.out:gsub("\n$", ""))
end

-- The words that run the shell's script in a new container with these options.
function Podman:words(options, script)
  local words, network = { "run", "--cgroup-parent", self.parent or "/" .. self.world.prefix }, false
  for _, w in ipairs(options) do
    words[#words + 1] = w
    network = network or w == "--network"
  end
  if not network then table.insert(words, 2, "--network=none") end
  for _, w in ipairs { "box", "sh", "-c", script } do words[#words + 1] = w end
  return words
end

-- Run a script in a container of its own, which is removed: the result.
function Podman:box(options, script, opts)
  local words = self:words(options, script)
  table.insert(words, 2, "--rm")
  words[#words + 1] = opts
  return self:run(unpack(words))
end

-- The same, which must succeed: what it printed.
function Podman:out(options, script)
  local r = self:box(options, script)
  if r.code ~= 0 then
    error(("podman run %s: status %s: %s%s"):format(table.concat(options, " "), tostring(r.code or r.signal), r.err, r.out), 2)
  end
  return (r.out:gsub("\n$", ""))
end

-- A container that runs the script in the background, with this name. Returns its id.
function Podman:start(name, options, script)
  local words = self:words(options, script)
  table.insert(words, 2, "-d")
  table.insert(words, 3, "--name=" .. name)
  return self:ok(unpack(words))
end

-- The first of these files (of v1 and v2) in the container's control group, as the host sees it.
function Podman:limit(id, ...)
  for _, name in ipairs { ... } do
    local path = t.sh("find /sys/fs/cgroup -path '*/" .. self.world.prefix .. "*/libpod-" .. id .. "*/" .. name .. "' | head -n 1")
    if path ~= "" then return (t.read_file(path:gsub("\n", "")):gsub("\n$", "")) end
  end
end

-- Wait until the log of a container matches.
function Podman:logged(name, pattern)
  local seen
  local ok = self.world:eventually(function()
    local r = self:run("logs", name)
    seen = r.out .. r.err
    return seen:find(pattern)
  end)
  if not ok then error(("%s: %q has not come; there is: %s"):format(name, pattern, seen), 2) end
end

-- The end of it; see World:close. Podman ends what is there before.
function Podman:close()
  self:run("pod", "rm", "-af", "-t", "0")
  self:run("rm", "-af", "-t", "0")
  if self.world.user then self:run("system", "migrate") end -- ends the process that holds its user namespace
  return self.world:close "/libpod%-%x%x%x%x%x%x%x%x"
end

return M
