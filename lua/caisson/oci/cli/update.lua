-- update: other limits for a container that runs, from a document or from flags.
local cli = require "caisson.oci.cli"

local M = { commands = {} }

local flags = {
  { "resources, r", "string", "a file with linux.resources as JSON, - for the standard input: no other flag counts" },
  { "blkio-weight", "int", "weight of its I/O, from 10 to 1000" },
  { "cpu-period", "string", "microseconds in which the quota may be used; 0: the system's default" },
  { "cpu-quota", "string", "microseconds of CPU time in each period; -1: no limit" },
  { "cpu-burst", "string", "microseconds that may be saved up beyond the quota" },
  { "cpu-share, cpu-shares", "string", "its weight against others" },
  { "cpu-rt-period", "string", "the same as cpu-period, of realtime processes" },
  { "cpu-rt-runtime", "string", "the same as cpu-quota, of realtime processes" },
  { "cpuset-cpus", "string", "the CPUs that it may use: 0-2,4" },
  { "cpuset-mems", "string", "the memory nodes that it may use" },
  { "cpu-idle", "string", "1: only time that nobody else wants" },
  { "memory", "string", "bytes, or with a unit: 64m, 1g; -1: no limit" },
  { "memory-reservation", "string", "what it is left with when memory is short" },
  { "memory-swap", "string", "memory and swap together; -1: no limit" },
  { "pids-limit", "int", "how many processes; -1: no limit" },
  { "l3-cache-schema", "string", "its part of the L3 cache (Intel RDT)" },
  { "mem-bw-schema", "string", "its part of the memory's bandwidth (Intel RDT)" },
}

local powers = { k = 1, m = 2, g = 3, t = 4, p = 5 }

-- Bytes of 64m, 1.5GiB, -1.
local function bytes(flag, text)
  if text == "-1" then return -1 end
  local n, unit = text:lower():match("^(%d*%.?%d*) ?([kmgtp]?)i?b?$")
  if not tonumber(n) then cli.fail(("invalid value for %s: invalid size: '%s'"):format(flag, text)) end
  return math.floor(tonumber(n) * 1024 ^ (powers[unit] or 0))
end

local function number(flag, text)
  local n = text:match("^%-?%d+$") and tonumber(text)
  return n or cli.fail(("invalid value for %s: strconv.ParseUint: parsing %q: invalid syntax"):format(flag, text))
end

-- What the flags say as linux.resources has it.
local function of_flags(o)
  local function size(flag) return o[flag] and o[flag] ~= "" and bytes(flag, o[flag]) or nil end
  local function count(flag) return o[flag] and o[flag] ~= "" and number(flag, o[flag]) or nil end
  local function text(flag) return o[flag] ~= "" and o[flag] or nil end
  local function any(t) return next(t) and t or nil end
  return {
    memory = any { limit = size "memory", reservation = size "memory-reservation", swap = size "memory-swap" },
    cpu = any { shares = count "cpu-share", quota = count "cpu-quota", period = count "cpu-period",
      burst = count "cpu-burst", realtimePeriod = count "cpu-rt-period", realtimeRuntime = count "cpu-rt-runtime",
      cpus = text "cpuset-cpus", mems = text "cpuset-mems", idle = count "cpu-idle" },
    pids = o["pids-limit"] and { limit = o["pids-limit"] } or nil,
    blockIO = o["blkio-weight"] and o["blkio-weight"] ~= 0 and { weight = o["blkio-weight"] } or nil,
  }
end

local function of_file(path)
  local text, message
  if path == "-" then
    text = io.read("*a")
  else
    local f
    f, message = io.open(path, "r")
    if not f then cli.fail(message) end
    text = f:read("*a")
    f:close()
  end
  local resources
  resources, message = require("caisson.oci.document").decode(text, path == "-" and "standard input" or path)
  return resources or cli.fail(message)
end

-- Swap counts memory too: where only one of the two is said, the other is as it was.
local function complete(resources, groups)
  local m = resources.memory
  if m and m.limit == -1 and m.swap == nil then m.swap = -1 end
  if not m or m.swap == nil or m.limit ~= nil or m.swap == -1 or m.swap == 0 then return end
  local g = groups and groups:group { "memory" }
  local text = g and require("caisson.core").cgroup.read(g.dir, g.version == 1 and "memory.limit_in_bytes" or "memory.max")
  m.limit = text and tonumber(text:match("^%d+")) or nil
end

M.commands.update = { text = "change the limits of a container", words = { 1, 1 }, usage = "<container-id>", flags = flags,
  main = function(o, words)
    local c = cli.open(words[1])
    local status = c:state().status
    if status == "stopped" then cli.fail("container not running") end
    local resources = o.resources and o.resources ~= "" and of_file(o.resources) or of_flags(o)
    local ok, message, warnings = require("caisson.oci.document").check_resources(resources)
    if not ok then cli.fail(message) end
    for _, w in ipairs(warnings or {}) do cli.warn(w) end
    if #(resources.devices or {}) > 0 then cli.warn("resources.devices: rules stay as they were") end
    complete(resources, (c:groups()))
    local limits
    ok, limits = pcall(require("caisson.oci.resources").of, resources)
    if not ok then cli.fail((tostring(limits):gsub("^[^\n]-%.lua:%d+: ", ""))) end
    if next(limits) ~= nil then
      ok, message = c:update(limits)
      if not ok then cli.fail(message) end
    end
    local function schema(flag) return o[flag] ~= "" and o[flag] or nil end
    local rdt = { l3 = schema "l3-cache-schema", memory_bandwidth = schema "mem-bw-schema" }
    if next(rdt) then
      if not c.saved.rdt then cli.fail("Intel RDT: the container has no group of its own") end
      ok, message = require("caisson.resctrl").update(c.saved.rdt, rdt)
      if not ok then cli.fail(message) end
    end
  end }

return M
