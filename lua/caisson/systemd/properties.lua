-- Properties of a scope of systemd's, each "NAME SIGNATURE VALUE": of limits as they are written to a group's files, of device
-- rules, and of annotations.
local M = {}

-- ---- properties that others ask for ----

-- A value as OCI annotations have it (GVariant's text format): signature, value; nil where it is none of these.
local function from_gvariant(text)
  text = text:match("^%s*(.-)%s*$")
  if text == "true" or text == "false" then return "b", text == "true" and "1" or "0" end
  local kind, n = text:match("^(%l*%d*)%s+(%-?%d+)$")
  local signature = ({ uint32 = "u", uint64 = "t", int32 = "i", int64 = "x" })[kind]
  if signature then return signature, n end
  if text:find("^%-?%d+$") then return "i", text end
  local quoted = text:match("^'([^'\\]*)'$") or text:match('^"([^"\\]*)"$')
  if quoted then return "s", quoted end
  local list = text:match("^@as%s*%[(.*)%]$") or text:match("^%[(.*)%]$")
  if not list then return nil end
  local words = {}
  for word in (list .. ","):gmatch("%s*([^,]*),") do
    if word:find("%S") then
      word = word:match("^'([^' \\]+)'%s*$") or word:match('^"([^" \\]+)"%s*$')
      if not word then return nil end
      words[#words + 1] = word
    end
  end
  return "as", table.concat(words, " ")
end

local annotation = "^org%.systemd%.property%."

---The properties that annotations ask for, "org.systemd.property.NAME", as runc has them: a NAME that ends in Sec is
---in microseconds for systemd, its number in seconds here.
---@param annotations? table<string, string>
---@return string[]? properties, string? message
function M.annotated(annotations)
  local list = {}
  for key, text in pairs(annotations or {}) do
    local name = key:find(annotation) and key:gsub(annotation, "")
    if name then
      local signature, value = from_gvariant(text)
      if not name:find("^%u%w+$") or not signature then
        return nil, ("annotation %s: a property's name, and a value as in GVariant's text format expected, got '%s'"):format(
          key, text)
      end
      if name:find("Sec$") and not name:find("USec$") then
        if not ("utix"):find(signature, 1, true) or value:find("^%-") then
          return nil, ("annotation %s: seconds expected, got '%s'"):format(key, text)
        end
        name, signature, value = name:gsub("Sec$", "USec"), "t", ("%.0f"):format(value * 1e6)
      end
      list[#list + 1] = ("%s %s %s"):format(name, signature, value)
    end
  end
  table.sort(list)
  return list
end

-- ---- limits as properties ----

local unlimited = "18446744073709551615"

-- The kernel takes "64M" too, from whom `unified` lets write it.
local units = { K = 1024, M = 1024 ^ 2, G = 1024 ^ 3, T = 1024 ^ 4 }

local function plain(name)
  return function(v)
    local n, unit = v:match("^(%d+)([KMGT]?)$")
    if not n and v ~= "max" then return nil end -- which the kernel will refuse
    return name .. " t " .. (v == "max" and unlimited or unit == "" and n or ("%.0f"):format(n * units[unit]))
  end
end

-- A set of numbers as systemd takes it: bit n%8 of byte n/8.
local function mask(name)
  return function(v)
    local bytes, last = {}, -1
    for from, to in v:gsub("%f[%d](%d+)%f[^%d-]", "%1-%1"):gmatch("(%d+)%-(%d+)") do
      for n = tonumber(from), tonumber(to) do
        local i = math.floor(n / 8)
        if i > 8191 then return nil end
        bytes[i] = bytes[i] or {}
        bytes[i][n % 8], last = true, math.max(last, i)
      end
    end
    local text = {}
    for i = 0, last do
      local byte = 0
      for bit in pairs(bytes[i] or {}) do byte = byte + 2 ^ bit end
      text[#text + 1] = ("%02x"):format(byte)
    end
    return name .. " ay " .. table.concat(text)
  end
end

local function weight(scale)
  return function(v)
    local device, n = v:match("^(%S+) (%d+)$")
    n = ("%d"):format(scale(tonumber(n or v)))
    if device and device ~= "default" then return ("IODeviceWeight a(st) /dev/block/%s %s"):format(device, n) end
    return "IOWeight t " .. n
  end
end

local io_names = { rbps = "IOReadBandwidthMax", wbps = "IOWriteBandwidthMax", riops = "IOReadIOPSMax",
  wiops = "IOWriteIOPSMax" }

-- What systemd writes to a file of a group by itself, by that file: from the value to one property, or a list of some.
-- "253:" in front: since that version.
local of_file = {
  ["memory.max"] = plain "MemoryMax", ["memory.high"] = plain "MemoryHigh", ["memory.low"] = plain "MemoryLow",
  ["memory.min"] = plain "MemoryMin", ["memory.swap.max"] = plain "MemorySwapMax",
  ["memory.zswap.max"] = plain "253:MemoryZSwapMax",
  ["pids.max"] = plain "TasksMax", ["cpu.weight"] = plain "CPUWeight",
  ["cpuset.cpus"] = mask "AllowedCPUs", ["cpuset.mems"] = mask "AllowedMemoryNodes",
  ["cpu.idle"] = function(v) return v == "1" and "252:CPUWeight t 0" or nil end,
  ["cpu.max"] = function(v)
    local quota, period = v:match("^(%w+) ?(%d*)$")
    local list = { "CPUQuotaPerSecUSec t " .. unlimited }
    period = tonumber(period) or 100000
    -- of a processor systemd keeps whole percents: the next one up, so that it never is the tighter limit
    if quota ~= "max" then list[1] = ("CPUQuotaPerSecUSec t %.0f"):format(math.ceil(quota * 100 / period) * 10000) end
    list[2] = ("CPUQuotaPeriodUSec t %.0f"):format(period)
    return list
  end,
  ["io.weight"] = weight(function(n) return n end),
  -- as it makes io.bfq.weight out of IOWeight, the other way
  ["io.bfq.weight"] = weight(function(n) return n <= 100 and n or 100 + math.floor((n - 100) * 9900 / 900) end),
  ["io.max"] = function(v)
    local list, device = {}, v:match("^%S+")
    for key, n in v:gmatch("(%w+)=(%w+)") do
      list[#list + 1] = ("%s a(st) /dev/block/%s %s"):format(io_names[key], device, n == "max" and unlimited or n)
    end
    return list
  end,
  ["io.latency"] = function(v)
    return ("IODeviceLatencyTargetUSec a(st) /dev/block/%s %s"):format(v:match("^(%S+) target=(%d+)"))
  end,
}

---What systemd is to be told of what is written to a group's files, so that it does not undo it.
---@param writes { [1]: string, [2]: string }[] file and value
---@return string[] properties "NAME SIGNATURE VALUE"
function M.of_writes(writes)
  local list = {}
  for _, w in ipairs(writes) do
    if of_file[w[1]] then
      -- `unified` may have anything for a value: what can't be read here is for the kernel to refuse
      local read, told = pcall(of_file[w[1]], w[2])
      for _, p in ipairs(read and (type(told) == "table" and told or { told }) or {}) do list[#list + 1] = p end
    end
  end
  return list
end

-- "pts" of "136 pts", by its number, as systemd calls the devices of a driver.
local function drivers()
  local names, kind = { c = {}, b = {} }, "c"
  local f = io.open("/proc/devices")
  for line in f and f:lines() or function() end do
    if line:find("^Block") then kind = "b" end
    local major, name = line:match("^%s*(%d+) (%S+)$")
    if major then names[kind][tonumber(major)] = name end
  end
  if f then f:close() end
  return names
end

---Device rules as systemd has them, where it can: a list of what is allowed. Where it can't it is to allow all; what is
---in force is the group's own program, which stands beside systemd's.
---@param rules caisson.cgroup.DeviceRule[] all of them, from the first
---@return string[] properties
function M.of_devices(rules)
  local list, names = { "DevicePolicy s strict", "DeviceAllow a(ss)" }, nil
  for i, r in ipairs(rules) do
    if i > 1 or r.allow then
      if not r.allow or r.type == "a" then return { "DevicePolicy s auto", "DeviceAllow a(ss)" } end
      local node
      if r.major ~= "*" and r.minor ~= "*" then
        node = ("/dev/%s/%d:%d"):format(r.type == "c" and "char" or "block", r.major, r.minor)
      elseif r.minor == "*" then
        names = names or drivers()
        local driver = r.major == "*" and "*" or names[r.type][r.major]
        node = driver and (r.type == "c" and "char-" or "block-") .. driver
      end
      if not node then return { "DevicePolicy s auto", "DeviceAllow a(ss)" } end
      list[#list + 1] = ("DeviceAllow a(ss) %s %s"):format(node, r.access)
    end
  end
  return list
end

return M
