-- containerd in a world of its own, and ctr that talks to it.
local t = require "support"
local engine = require "support.engine"
local json = require "cjson"

local M = {}
local unpack = table.unpack or unpack

---@class support.Containerd
local Containerd = {}
Containerd.__index = Containerd

local config = [[
version = 2
root = "%s/root"
state = "%s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.restart", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "%s/socket"
]]

-- An image layout (OCI's image-spec) as a tar file, of one layer; the image is called box.
local function image(dir, layer)
  local function blob(path, text)
    if text then engine.write(path, text) end
    local digest = t.sh("sha256sum " .. path):match("^%x+")
    local size = tonumber(t.sh("stat -c %s " .. path))
    assert(os.execute(("cp %s %s/blobs/sha256/%s"):format(path, dir, digest)))
    return "sha256:" .. digest, size
  end
  assert(os.execute("mkdir -p " .. dir .. "/blobs/sha256"))
  local type = "application/vnd.oci.image."
  local layer_digest, layer_size = blob(layer)
  local digest, size = blob(dir .. "/x", json.encode { architecture = "amd64", os = "linux",
    config = { Cmd = { "/bin/sh" }, Env = { "PATH=/bin" } },
    rootfs = { type = "layers", diff_ids = { layer_digest } } })
  digest, size = blob(dir .. "/x", json.encode { schemaVersion = 2,
    config = { mediaType = type .. "config.v1+json", digest = digest, size = size },
    layers = { { mediaType = type .. "layer.v1.tar", digest = layer_digest, size = layer_size } } })
  engine.write(dir .. "/index.json", json.encode { schemaVersion = 2, manifests = { {
    mediaType = type .. "manifest.v1+json", digest = digest, size = size,
    annotations = { ["org.opencontainers.image.ref.name"] = "box:1", ["io.containerd.image.name"] = "local/box:1" } } } })
  engine.write(dir .. "/oci-layout", [[{"imageLayoutVersion":"1.0.0"}]])
  assert(os.execute(("cd %s && rm x && tar -cf ../image.tar ."):format(dir)))
end

-- A world with containerd in it and the image local/box:1.
function M.world()
  local world = engine.world()
  local dir = world.dir
  assert(os.execute("chmod 711 " .. dir)) -- for roots that are mapped
  engine.write(dir .. "/config.toml", (config:gsub("%%s", dir)))
  -- the runtime is "runc" as well: ctr 1.6 forgets --runc-binary where --no-pivot or --uidmap are given
  assert(os.execute(("mkdir %s/bin && ln -s %s %s/bin/runc"):format(dir, engine.runtime, dir)))
  world:ok("PATH=" .. dir .. "/bin:$PATH nohup containerd -l warn --config " .. dir .. "/config.toml >" .. dir .. "/log 2>&1 </dev/null & echo $! >" .. dir .. "/pid")
  local self = setmetatable({ world = world, dir = dir, namespace = world.prefix }, Containerd)
  image(dir .. "/layout", world:rootfs())
  if not world:eventually(function() return self:run("version").code == 0 end) then
    error("containerd is not up: " .. tostring(t.read_file(dir .. "/log")))
  end
  self:ok("images", "import", "--snapshotter", "native", dir .. "/image.tar")
  return self
end

function Containerd:argv(words)
  return self.world:argv { "env", "CONTAINERD_SNAPSHOTTER=native", "ctr", "-a", self.dir .. "/socket", "-n", self.namespace,
    unpack(words) }
end

-- Run ctr with these words; a table at the end: options of support.cli. Returns its result. (ctr forgets an end
-- of its input that comes before the task.)
function Containerd:run(...)
  local words = { ... }
  local opts = type(words[#words]) == "table" and table.remove(words) or nil
  return require("support.cli").run(self:argv(words), opts)
end

-- The same, which must succeed: what it printed, without the end of the last line.
function Containerd:ok(...)
  local r = self:run(...)
  if r.code ~= 0 then
    local words = { ... }
    if type(words[#words]) == "table" then words[#words] = nil end
    error(("ctr %s: status %s: %s%s"):format(table.concat(words, " "), tostring(r.code or r.signal), r.err, r.out), 2)
  end
  return (r.out:gsub("\n$", ""))
end

-- The words that run argv in a container with this id and these options.
function Containerd:words(id, options, argv)
  local words = { "run", "--runc-binary", engine.runtime }
  for _, w in ipairs(options) do words[#words + 1] = w end
  words[#words + 1] = "local/box:1"
  words[#words + 1] = id
  for _, w in ipairs(argv) do words[#words + 1] = w end
  return words
end

local ids = 0

-- Run the shell's script in a container, which is removed: the result.
function Containerd:box(options, script, opts)
  ids = ids + 1
  local words = self:words("box" .. ids, options, { "sh", "-c", script })
  table.insert(words, 2, "--rm")
  words[#words + 1] = opts
  return self:run(unpack(words))
end

-- The same, which must succeed: what it printed.
function Containerd:out(options, script)
  local r = self:box(options, script)
  if r.code ~= 0 then
    error(("ctr run %s: status %s: %s%s"):format(table.concat(options, " "), tostring(r.code or r.signal), r.err, r.out), 2)
  end
  return (r.out:gsub("\n$", ""))
end

-- A container that runs the script in the background; what it writes goes to a file, see :written.
function Containerd:start(id, options, script)
  local words = self:words(id, options, { "sh", "-c", script })
  table.insert(words, 2, "-d")
  table.insert(words, 3, "--log-uri=file://" .. self.dir .. "/out-" .. id)
  self:ok(unpack(words))
end

-- Wait until what the container has written matches.
function Containerd:written(id, pattern)
  local seen
  if not self.world:eventually(function()
    seen = t.read_file(self.dir .. "/out-" .. id) or ""
    return seen:find(pattern)
  end) then
    error(("%s: %q has not come; there is: %s"):format(id, pattern, seen), 2)
  end
  return seen
end

-- What `tasks ls` says of a container: RUNNING, PAUSED, STOPPED, ...; and its pid.
function Containerd:status(id)
  for line in self:ok("tasks", "ls"):gmatch("[^\n]+") do
    local name, pid, status = line:match("^(%S+)%s+(%d+)%s+(%u+)")
    if name == id then return status, pid end
  end
end

-- End a container and remove it.
function Containerd:remove(id)
  self:run("tasks", "delete", "-f", id)
  return self:run("containers", "delete", id)
end

-- The end of containerd, and of the world; see World:close.
function Containerd:close()
  for id in self:run("containers", "ls", "-q").out:gmatch("%S+") do self:remove(id) end
  self.world:ok("kill $(cat " .. self.dir .. "/pid)")
  return self.world:close "/csnengine[%d-]+/"
end

return M
