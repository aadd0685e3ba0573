-- What the specification demands beyond the type of a property. A rule gets the value, its name as the
-- document has it, and fail(name, message) or warn(name, message).
local u64 = require "caisson.u64"
local words = require "caisson.words"

local M = {}

function M.version(v, name, fail, warn)
  local core, rest = v:match("^(%d+%.%d+%.%d+)(.*)$")
  local major = core and core:match("^(%d+)")
  local plain = core and not ("." .. core):find("%.0%d")
  local pre = core and (rest == "" or rest:match("^%-[%w.-]+$") or rest:match("^%+[%w.-]+$")
    or rest:match("^%-[%w.-]+%+[%w.-]+$"))
  if not plain or not pre or rest:find("%.%.") then
    fail(name, ("a version as 1.2.0 expected (SemVer 2), got '%s'"):format(words.show(v)))
  elseif major == "0" then
    warn(name, ("version %s is of before the specification was done; it is read as 1.0"):format(words.show(v)))
  elseif major ~= "1" then
    fail(name, ("version %s of the specification is not known (known: 1.0 to 1.3)"):format(words.show(v)))
  end
end

-- Is one 64-bit number (a number, or decimal text) above the other?
local function above(a, b)
  a, b = u64.parse(a), u64.parse(b)
  return a and b and u64.lt(b, a)
end

function M.rlimit(v, name, fail)
  if above(v.soft, v.hard) then
    fail(name .. ".soft", ("%s is above the hard limit, %s"):format(tostring(v.soft), tostring(v.hard)))
  end
end

function M.rlimits(v, name, fail)
  local seen = {}
  for i, r in ipairs(v) do
    if seen[r.type] then fail(("%s[%d].type"):format(name, i), r.type .. " stands twice") end
    seen[r.type] = true
  end
end

local function set(v) return v ~= nil and v ~= 0 end

function M.scheduler(v, name, fail)
  local realtime = v.policy == "SCHED_FIFO" or v.policy == "SCHED_RR"
  if realtime then
    if v.priority and (v.priority < 0 or v.priority > 99) then fail(name .. ".priority", "a number from 0 to 99 expected") end
  elseif set(v.priority) then
    fail(name .. ".priority", "only SCHED_FIFO and SCHED_RR have one")
  end
  if v.policy ~= "SCHED_DEADLINE" then
    for _, k in ipairs { "runtime", "deadline", "period" } do
      if set(v[k]) then fail(name .. "." .. k, "only SCHED_DEADLINE has one") end
    end
  end
end

local capabilities -- CAP_X = true

local function unknown_capability(c, name, warn)
  if not capabilities then
    capabilities = {}
    for _, w in ipairs(require("caisson.core").primitives.capabilities.fields[1].words) do
      if w ~= "all" then capabilities["CAP_" .. w:upper()] = true end
    end
  end
  if capabilities[c] then return end
  local list = {}
  for k in pairs(capabilities) do list[#list + 1] = k end
  table.sort(list)
  local near = words.nearest(c, list)
  warn(name, ("there is no capability '%s'%s"):format(words.show(c), near and (" (did you mean '%s'?)"):format(near) or ""))
end

function M.process(v, name, fail, warn)
  for _, set_name in ipairs { "bounding", "effective", "inheritable", "permitted", "ambient" } do
    for i, c in ipairs(v.capabilities and v.capabilities[set_name] or {}) do
      unknown_capability(c, ("%s.capabilities.%s[%d]"):format(name, set_name, i), warn)
    end
  end
  if v.commandLine then warn(name .. ".commandLine", "only Windows has it; args is the program here") end
  if v.user and v.user.username then warn(name .. ".user.username", "only Windows has it; uid says who the program is") end
end

function M.weight(v, name, fail)
  if v ~= 0 and v < 10 then fail(name, ("a weight from 10 to 1000 expected, got %s"):format(tostring(v))) end
end

function M.weight_device(v, name, fail)
  if v.weight == nil and v.leafWeight == nil then fail(name .. ".weight", "is required, or leafWeight") end
end

function M.rdma(v, name, fail)
  if v.hcaHandles == nil and v.hcaObjects == nil then fail(name .. ".hcaHandles", "is required, or hcaObjects") end
end

function M.seccomp(v, name, fail)
  local function has(k) return v[k] ~= nil and v[k] ~= "" end
  if has "listenerMetadata" and not has "listenerPath" then
    fail(name .. ".listenerMetadata", "stands without listenerPath")
  end
end

-- Podman gives the whole st_mode.
local file_types = { c = 2, u = 2, b = 6, p = 1 }

function M.device(v, name, fail)
  local kind = math.floor((v.fileMode or 0) / 4096)
  if kind ~= 0 and kind ~= file_types[v.type] then
    fail(name .. ".fileMode", ("says another type of file than %s (%07o)"):format(v.type, v.fileMode))
  end
  if v.type == "p" then return end
  for _, k in ipairs { "major", "minor" } do
    if v[k] == nil then fail(name .. "." .. k, "is required of a device of type " .. v.type) end
  end
end

-- A name that the kernel gives an interface.
function M.interface(v, name, fail)
  if #v > 15 or v == "." or v == ".." or v:find("[/:%s%c]") then
    fail(name, ("'%s' can't be the name of a network interface"):format(words.show(v)))
  end
end

function M.intel_rdt(v, name, fail)
  local id = v.closID
  if id and id ~= "/" and (id == "." or id == ".." or id:find("[/\n]")) then
    fail(name .. ".closID", ("'%s' can't be the name of a directory"):format(words.show(id)))
  end
  for i, line in ipairs(v.schemata or {}) do
    if line:find("\n", 1, true) then fail(("%s.schemata[%d]"):format(name, i), "is more than a line") end
  end
end

function M.memory_policy(v, name, fail)
  local has = v.nodes ~= nil and v.nodes ~= ""
  if (v.mode == "MPOL_DEFAULT" or v.mode == "MPOL_LOCAL") then
    if has then fail(name .. ".nodes", v.mode .. " has no nodes") end
  elseif not has and v.mode ~= "MPOL_PREFERRED" then
    fail(name .. ".nodes", "is required of " .. v.mode)
  end
end

function M.personality(v, name, fail)
  if v.flags and #v.flags > 0 then fail(name .. ".flags", "the specification knows no flags yet") end
end

function M.mount(v, name, fail, warn)
  if v.destination:sub(1, 1) ~= "/" then
    warn(name .. ".destination", "is relative, and read from /")
  end
  local uids, gids = #(v.uidMappings or {}) > 0, #(v.gidMappings or {}) > 0
  if uids ~= gids then
    fail(name .. (uids and ".gidMappings" or ".uidMappings"), "is required beside " .. (uids and "uidMappings" or "gidMappings"))
  end
end

-- ---- keys of maps ----

M.keys = {}

function M.keys.unified(k, name, fail)
  if k:find("/", 1, true) or not k:find("^[^.]+%..") then
    fail(name, ("'%s' is no file of a cgroup (as memory.high)"):format(words.show(k)))
  end
end

function M.keys.sysctl(k, name, fail)
  if k == "" or k:find("..", 1, true) or k:find("//", 1, true) or k:find("^[./]") then
    fail(name, ("'%s' is no name of a kernel parameter"):format(words.show(k)))
  end
end

function M.keys.interface(k, name, fail)
  if k == "" then fail(name, "a network interface has a name") end
  M.interface(k, name, fail)
end

function M.keys.device(k, name, fail)
  if k == "" or k:find("[%s]") then fail(name, ("'%s' is no name of a device"):format(words.show(k))) end
end

function M.keys.annotation(k, name, fail)
  if k == "" then fail(name, "an annotation has a name") end
end

return M
