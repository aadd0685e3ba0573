-- The parts of a mix-in, checked and each in its one form.
local core = require "caisson.core"
local words = require "caisson.words"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore (5.1 has it as a global)

-- checks[part](value, fail): fail(message) blames the caller.
local checks = {}
M.checks = checks

local function list_check(item_type, what)
  return function(v, fail)
    if type(v) ~= "table" then fail(("a list of %s expected, got %s"):format(what, type(v))) end
    local n, out = 0, {}
    for _ in pairs(v) do n = n + 1 end
    if n ~= #v then fail(("a list of %s without holes or names expected"):format(what)) end
    for i, item in ipairs(v) do
      if type(item) ~= item_type then fail(("a list of %s expected, got %s (item %d)"):format(what, type(item), i)) end
      out[i] = item
    end
    return out
  end
end

checks.masked, checks.readonly = list_check("string", "paths"), list_check("string", "paths")
checks.mounts = list_check("table", "mounts")

local function is_policy(v) return require("caisson.policy").is(v) end

-- A policy or its bytes; a list where they are several.
function checks.seccomp(v, fail)
  local list = (type(v) == "string" or is_policy(v)) and { v } or v
  if type(list) ~= "table" or #list == 0 then fail("a policy, or a list of some, expected, got " .. type(v)) end
  for i, p in ipairs(list) do
    if type(p) ~= "string" and not is_policy(p) then
      fail(("a policy, or a program as bytes, expected, got %s (item %d)"):format(type(p), i))
    elseif type(p) == "string" and (#p == 0 or #p % 8 ~= 0) then
      fail(("'%s' is no program; a list of calls is policy.new { … }"):format(words.show(p)))
    end
  end
  return #list == 1 and list[1] or { unpack(list) }
end

function checks.landlock(v, fail)
  local steps, message = require("caisson.landlock").compile(v)
  if not steps then fail(message) end
  return #v == 1 and v[1] or v
end

local known_capabilities

local function capability_words()
  if not known_capabilities then
    known_capabilities = {}
    for _, w in ipairs(core.primitives.capabilities.fields[1].words) do known_capabilities[w] = true end
  end
  return known_capabilities
end

local function sorted(set)
  local list = {}
  for k in pairs(set) do list[#list + 1] = k end
  table.sort(list)
  return list
end

-- A list of capabilities as a set, "all" as what it stands for.
local function capability_set(list)
  local set = {}
  for _, c in ipairs(list) do
    if c == "all" then
      for w in pairs(capability_words()) do if w ~= "all" then set[w] = true end end
    else
      set[c] = true
    end
  end
  return set
end

function checks.capabilities(v, fail)
  if type(v) == "string" then v = { v } end
  v = list_check("string", "capabilities")(v, fail)
  for _, c in ipairs(v) do
    if not capability_words()[c] then fail(words.unknown("unknown capability", c, sorted(capability_words()))) end
  end
  return sorted(capability_set(v))
end

function checks.cgroup(v, fail)
  local limits = require "caisson.cgroup.limits"
  local ok, e = pcall(limits.check, v)
  if not ok then
    if type(e) ~= "table" then error(e, 0) end
    fail((e.key ~= "" and e.key .. ": " or "") .. e.message)
  end
  for _, k in ipairs { "path", "existing", "driver", "slice", "scope", "properties" } do
    if v[k] ~= nil then fail(k .. ": where the group is, is the recipe's to say") end
  end
  -- over what a group has by itself, these give
  local memory, cpu = type(v.memory) == "table" and v.memory or {}, type(v.cpu) == "table" and v.cpu or {}
  for _, k in ipairs { "min", "low" } do
    if memory[k] ~= nil then fail(("memory.%s: a guarantee is the recipe's to give, a mix-in only takes"):format(k)) end
  end
  for k, own in pairs { weight = 100, shares = 1024 } do
    if tonumber(cpu[k]) and tonumber(cpu[k]) > own then
      fail(("cpu.%s: more than %d gives, and a mix-in only takes"):format(k, own))
    end
  end
  return v
end

local function bounds(v)
  if type(v) ~= "table" then return v, v end
  return v.soft or v[1], v.hard or v[2] or v.soft or v[1]
end

function checks.rlimits(v, fail)
  if type(v) ~= "table" then fail("{ nofile = 64 } expected, got " .. type(v)) end
  for name, limit in pairs(v) do
    local soft, hard = bounds(limit)
    local ok, message = pcall(core.check, "rlimit", { resource = name, soft = soft, hard = hard })
    if not ok then fail(message) end
  end
  return v
end

function checks.limits(v, fail)
  local ok, key, message = require("caisson.build").check_limits(v)
  if not ok then fail((key ~= "" and key .. ": " or "") .. message) end
  return v
end

function checks.namespaces(v, fail)
  if type(v) ~= "table" then fail("{ net = true } expected, got " .. type(v)) end
  local known = {}
  for _, f in ipairs(core.primitives.clone.fields) do if f.name == "namespaces" then known = f.words end end
  for name, on in pairs(v) do
    local found = false
    for _, w in ipairs(known) do found = found or w == name end
    if not found then fail(words.unknown("unknown namespace", tostring(name), known)) end
    if on ~= true then fail(("%s: true expected: a mix-in makes namespaces and joins none"):format(tostring(name))) end
  end
  return v
end

local function yes(v, fail)
  if v ~= true then fail("true expected: a mix-in only narrows") end
  return v
end
checks.no_new_privs, checks.readonly_root, checks.limit_userns = yes, yes, yes

M.is_policy, M.sorted, M.bounds = is_policy, sorted, bounds
M.capability_words, M.capability_set = capability_words, capability_set

return M
