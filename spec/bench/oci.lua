-- `make bench`: caisson-oci against crun and runc, the same bundle (what `runc spec` writes, its program /true), needs
-- root. BENCH_ROUNDS (default 100) rounds.
--
--     luajit spec/bench/oci.lua BUILD
package.path = "./spec/bench/?.lua;" .. package.path
local core = require "caisson.core"
local harness = require "harness"

local build = core.realpath(arg[1] or "build")
local bench = build .. "/bench"

if not harness.is_root then
  print "caisson-oci against crun and runc: needs root"
  return
end

local runtimes = { { name = "caisson-oci", program = build .. "/bin/caisson-oci" } }
for _, name in ipairs { "crun", "runc" } do
  if harness.found(name) then runtimes[#runtimes + 1] = { name = name, program = name } end
end

-- All of them in one mount namespace, with their states in memory, as a distribution has /run. crun 1.8 refuses machines
-- that have a v2 hierarchy with controllers beside v1: there it is not mounted in that namespace. Our own search paths for
-- modules are not the commands': with them caisson-oci would read all modules anew.
local starter = harness.server({ "/bin/sh", "-c", [[
    unset LUA_PATH LUA_CPATH
    umount /sys/fs/cgroup/unified 2>/dev/null
    mkdir -p /run/caisson-bench && mount -t tmpfs tmpfs /run/caisson-bench && exec "$1" "$2"]], "sh", bench .. "/floor", bench .. "/root" },
  { { step = "clone", options = { "mount" } },
    { step = "mount.propagation", options = { path = "/", propagation = "private", recursive = true } } })

local function bundle(program)
  local folder = bench .. "/bundle-" .. program
  assert(os.execute(([[rm -rf %s && mkdir -p %s/rootfs/proc %s/rootfs/dev %s/rootfs/sys && cp %s/root/true %s/root/pause %s/rootfs &&
    cd %s && %s spec]]):format(folder, folder, folder, folder, bench, bench, folder, folder, runtimes[1].program)))
  local f = assert(io.open(folder .. "/config.json"))
  local config = f:read("*a")
  f:close()
  config = config:gsub('"sh"', '"/' .. program .. '"'):gsub('"terminal": *true', '"terminal": false')
    :gsub('"ociVersion": *"[^"]*"', '"ociVersion": "1.0.2"') -- the newest that Debian's crun takes
  harness.write_file(folder .. "/config.json", config)
  return folder
end

local once, lasting = bundle "true", bundle "pause"
local peaks, parts = {}, { "run", "exec", "create", "start", "delete" }

for _, r in ipairs(runtimes) do
  local function words(...) return harness.command { r.program, "--root", "/run/caisson-bench/" .. r.name, ... } end
  local function measured(part, ...) return harness.measure(r.name .. " " .. part, starter, words(part, ...)) end
  harness.ask(starter, words("delete", "--force", "lasting-" .. r.name))
  harness.ask(starter, words("run", "--detach", "-b", lasting, "lasting-" .. r.name))
  harness.job(function() peaks[r.name .. " run"] = measured("run", "-b", once, "once-" .. r.name)[2] end)
  harness.job(function() peaks[r.name .. " exec"] = measured("exec", "lasting-" .. r.name, "/true")[2] end)
  harness.job(function()
    local id = "made-" .. r.name
    measured("create", "-b", once, id)
    measured("start", id)
    harness.pause() -- it has ended by then
    measured("delete", id)
  end)
end
for _, part in ipairs(parts) do
  for i = 2, #runtimes do
    local aim
    if part == "run" or part == "exec" then aim = runtimes[i].name == "crun" and 0.5 or 0.2 end
    harness.compare(("%s: caisson-oci / %s"):format(part, runtimes[i].name), "caisson-oci " .. part,
      runtimes[i].name .. " " .. part, aim)
  end
end

harness.run()
for _, r in ipairs(runtimes) do
  harness.ask(starter, harness.command { r.program, "--root", "/run/caisson-bench/" .. r.name, "delete", "--force",
    "lasting-" .. r.name })
end
local f = io.open "/sys/fs/cgroup/cgroup.controllers"
print(("cgroup %s"):format(f and "v2" or "v1"))
harness.report()
harness.report_peaks("peak resident KiB of the command", peaks)
starter.process:close()
