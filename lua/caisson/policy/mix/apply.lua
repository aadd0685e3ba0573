-- Mix-ins in a recipe's options: each part of the recipe's own, narrowed.
local check = require "caisson.policy.mix.check"
local combine = require "caisson.policy.mix.combine"
local core = require "caisson.core"

local M = {}

local bounds, is_policy, parts = check.bounds, check.is_policy, check.sorted(check.checks)
local both, number, joined, list_of = combine.both, combine.number, combine.joined, combine.list_of
local capability_intersection, capability_words = combine.capability_intersection, check.capability_words
local rlimits, lower, cgroup, deep_text, one_or_list = combine.rlimits, combine.lower, combine.cgroup, combine.deep_text,
  combine.one_or_list

local function mix() return require "caisson.policy.mix" end

-- Capabilities that this process could hand on, where no user namespace gives them anew.
local function own_capabilities(options)
  local ns = type(options.namespaces) == "table" and options.namespaces or {}
  if ns.user or ns.user == nil and core.identity().euid ~= 0 then return { "all" } end
  local status = io.open("/proc/self/status")
  local text = status and status:read("*a") or ""
  if status then status:close() end
  local bits, list = text:match("CapBnd:%s*(%x+)"), {}
  if not bits then return { "all" } end
  local value, all = require("caisson.u64").parse("0x" .. bits), core.primitives.capabilities.fields[1].words
  for _, bit in ipairs(require("caisson.u64").bits(value)) do
    local at = bit[1] > 0 and 32 + math.floor(math.log(bit[1]) / math.log(2) + 0.5) or
      math.floor(math.log(bit[2]) / math.log(2) + 0.5)
    list[#list + 1] = all[at + 2] -- "all" is the first
  end
  return list
end

local narrow = {}

function narrow.capabilities(options, v)
  local caps = options.capabilities
  if caps == nil then return capability_intersection(own_capabilities(options), v) end
  if type(caps) ~= "table" then return caps end -- what it says of it, its own check says better
  if #caps > 0 or next(caps) == nil then return capability_intersection(caps, v) end
  local t = {}
  for set, list in pairs(caps) do t[set] = type(list) == "table" and capability_intersection(list, v) or list end
  return t
end

function narrow.rlimits(options, v)
  local own, now = {}, nil
  for name, limit in pairs(options.rlimits or {}) do own[name] = limit end
  for name in pairs(v) do
    if own[name] == nil then -- as this process has it, which may not be allowed to raise it
      now = now or core.rlimits()
      if now[name] then own[name] = { soft = now[name].soft, hard = now[name].hard } end
    end
  end
  local t = rlimits(own, v, lower)
  for name in pairs(v) do
    local soft, hard = bounds(t[name])
    if number(soft) > number(hard) then t[name] = hard end
  end
  return t
end

function narrow.namespaces(options, v)
  local t = {}
  for k, x in pairs(options.namespaces or {}) do t[k] = x end
  for k in pairs(v) do
    if type(t[k]) == "string" then return nil, ("%s: the recipe joins %s, and the mix-in wants a new one"):format(k, t[k]) end
    t[k] = true
  end
  return t
end

-- Is the recipe's own what its option takes? What it is not, the option itself refuses, with its line.
local function is_sound(k, own)
  if k == "landlock" or own == nil or type(own) == "boolean" or k == "seccomp" and type(own) == "string" then return true end
  if type(own) ~= "table" then return false end
  if k == "mounts" or k == "masked" or k == "readonly" or k == "seccomp" and not getmetatable(own) then
    local n = 0
    for _ in pairs(own) do n = n + 1 end
    return n == #own and (n > 0 or k ~= "seccomp")
  end
  if k == "cgroup" then return (pcall(require("caisson.cgroup.limits").check, own)) end
  if k == "limits" then return require("caisson.build").check_limits(own) ~= nil end
  if k == "capabilities" then
    if #own > 0 or next(own) == nil then own = { own } end
    for _, list in pairs(own) do
      for _, c in pairs(type(list) == "table" and list or { list }) do
        if not capability_words()[c] then return false end
      end
    end
    return true
  end
  if k ~= "rlimits" then return true end
  for _, limit in pairs(own) do
    local soft, hard = bounds(limit)
    if not number(soft) or not number(hard) then return false end
  end
  return true
end

-- The recipe's own of each part with the mix-in's; a second value is a message.
local function narrowed(options, k, v)
  if not is_sound(k, options[k]) then return options[k] end
  if narrow[k] then return narrow[k](options, v) end
  local own = options[k]
  if own == nil or own == false then
    if k == "cgroup" then return (cgroup({}, v)) end
    return (k == "mounts" or k == "masked" or k == "readonly") and joined(v) or v
  end
  return both[k](own, v)
end

-- Put mix-ins into a recipe's merged options. origins: who said what; where a mix-in has the last word, it. Raises.
function M.apply(options, origins)
  local list = options.mix
  if type(list) ~= "table" then error("mix: a list of mix-ins (policy.mix) expected, got " .. type(list), 0) end
  for i, m in ipairs(list) do
    if is_policy(m) then
      local at = m.from or {}
      m = mix().make { seccomp = m, source = at.source, line = at.line, called = true }
    elseif not mix().is(m) then
      local o = origins["mix/" .. i] or origins.mix
      local at = o and o.recipe:locate(o.path)
      error(("%smix[%d]: a mix-in (policy.mix) or a policy expected, got %s"):format(at and at .. ": " or "", i, type(m)), 0)
    end
    for _, k in ipairs(parts) do
      local v = rawget(m, k)
      if v ~= nil then
        local before = options[k]
        local value, message = narrowed(options, k, v)
        if message then
          local at = m:locate { k }
          error(("%smix[%d]: %s: %s"):format(at and at .. ": " or "", i, k, message), 0)
        end
        options[k] = value
        if value ~= before then M.credit(origins, m, k, before, value, v) end
      end
    end
  end
end

local function origin(m, ...) return { recipe = m, path = { ... } } end

-- All of a recipe that confines, as a mix-in to look at. built: Recipe:build's; filters: those of its plan.
function M.of(built, filters)
  local o, m = built.options, mix().make {}
  for _, k in ipairs(parts) do
    local v = o[k]
    if v ~= nil and v ~= false then m[k] = v end
  end
  if type(o.namespaces) == "table" then
    m.namespaces = {}
    for k, v in pairs(o.namespaces) do if v then m.namespaces[k] = v end end
  end
  m.no_new_privs = o.no_new_privs ~= false or nil
  m.readonly_root = built.new and built.new.mount and o.readonly_root ~= false or nil
  m.seccomp = #filters > 0 and one_or_list(filters) or nil
  return m
end

-- Who is to be named for a part: item by item where it has items.
function M.credit(origins, m, k, before, value, v)
  if k == "mounts" or k == "masked" or k == "readonly" then
    local place = {}
    for i, item in ipairs(v) do place[item] = i end
    for i = #(before or {}) + 1, #value do origins[k .. "/" .. i] = origin(m, k, place[value[i]]) end
    origins[k] = origins[k] or origin(m, k)
  elseif k == "rlimits" or k == "cgroup" or k == "namespaces" then
    for name, x in pairs(value) do
      if (before or {})[name] ~= x and v[name] ~= nil then origins[k .. "/" .. tostring(name)] = origin(m, k, name) end
    end
    origins[k] = origins[k] or origin(m, k)
  elseif k == "landlock" then
    local list, had = list_of(value), #list_of(before)
    if #list > 1 and had == 1 then origins["landlock/1"] = origins.landlock end
    for i = had + 1, #list do origins["landlock/" .. i] = origin(m, k) end
    if had == 0 then origins[k] = origin(m, k) end
  elseif deep_text(before) ~= deep_text(value) then
    origins[k] = origin(m, k)
  end
end

return M
