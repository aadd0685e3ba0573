-- Profiles as container engines keep them (seccomp.json of Docker and Podman): what such an engine makes of one before a
-- runtime gets it. Rules may be for some machines, some kernels, or containers that keep some capability.
local M = {}

local function fail(text, ...) error({ oci = text:format(...) }) end

-- This machine as the profiles call it.
local machines = { x86_64 = "amd64", aarch64 = "arm64", x86 = "x86" }

local function list_of(v, what)
  if v == nil or type(v) == "userdata" then return {} end -- null, as Go writes an empty list
  if type(v) ~= "table" then fail("%s: a list expected, got %s", what, type(v)) end
  return v
end

local function has(list, word)
  for _, w in ipairs(list) do if w == word then return true end end
  return false
end

-- Is this kernel that one, or newer?
local function kernel_is(version, what)
  local f = io.open("/proc/sys/kernel/osrelease")
  local major, minor = (f and f:read("*l") or ""):match("^(%d+)%.(%d+)")
  if f then f:close() end
  local x, y = tostring(version):match("^(%d+)%.(%d+)")
  if not x then fail("%s: a kernel's version such as 4.8 expected", what) end
  major, minor, x, y = tonumber(major or 0), tonumber(minor or 0), tonumber(x), tonumber(y)
  return major > x or major == x and minor >= y
end

local condition_keys = { arches = true, caps = true, minKernel = true }

local function conditions(rule, key, what)
  local c = list_of(rule[key], what .. "." .. key)
  for k in pairs(c) do
    if not condition_keys[k] then fail("%s.%s: unknown key '%s'", what, key, tostring(k)) end
  end
  return c, list_of(c.arches, what .. "." .. key .. ".arches"), list_of(c.caps, what .. "." .. key .. ".caps")
end

local function applies(rule, what, machine, caps)
  local excludes, arches, without = conditions(rule, "excludes", what)
  if has(arches, machine) then return false end
  for _, c in ipairs(without) do if caps[c] then return false end end
  if excludes.minKernel and kernel_is(excludes.minKernel, what .. ".excludes.minKernel") then return false end
  local includes, only, with = conditions(rule, "includes", what)
  if #only > 0 and not has(only, machine) then return false end
  for _, c in ipairs(with) do if not caps[c] then return false end end
  return not includes.minKernel or kernel_is(includes.minKernel, what .. ".includes.minKernel")
end

-- The profile (a table, or JSON) as a runtime gets it, and which of the rules each one was. caps: those that the container
-- keeps, a set of "CAP_CHOWN". Raises { oci = message }.
function M.resolve(t, caps, native)
  if type(t) == "string" then
    local ok, doc = pcall(function() return require("cjson").decode(require("caisson.policy.oci").quote_values(t)) end)
    if not ok then fail("seccomp: no JSON: %s", tostring(doc)) end
    t = doc
  end
  if type(t) ~= "table" then fail("seccomp: an object expected, got %s", type(t)) end
  local machine = machines[native] or native
  local out, items = { syscalls = {} }, {}
  for k, v in pairs(t) do if k ~= "archMap" and k ~= "syscalls" then out[k] = v end end
  for i, map in ipairs(list_of(t.archMap, "seccomp.archMap")) do
    if type(map) ~= "table" then fail("seccomp.archMap[%d]: an object expected", i) end
    if map.architecture == "SCMP_ARCH_" .. native:upper() then
      out.architectures = { map.architecture }
      for _, sub in ipairs(list_of(map.subArchitectures, "seccomp.archMap.subArchitectures")) do
        out.architectures[#out.architectures + 1] = sub
      end
    end
  end
  for i, rule in ipairs(list_of(t.syscalls, "seccomp.syscalls")) do
    local what = ("seccomp.syscalls[%d]"):format(i)
    if type(rule) ~= "table" then fail("%s: an object expected, got %s", what, type(rule)) end
    if applies(rule, what, machine, caps) then
      local r = {}
      for k, v in pairs(rule) do if k ~= "includes" and k ~= "excludes" then r[k] = v end end
      -- older profiles have one name each
      if r.name ~= nil and r.names == nil then r.names = { r.name } end
      out.syscalls[#out.syscalls + 1] = r
      items[#out.syscalls] = i
    end
  end
  return out, items
end

return M
