-- Mix-ins: all that confines a program, as one value that any recipe takes.
--
--   local quiet = policy.mix {
--     seccomp      = policy.new { "@system-service", "execve" } - "@network-io",
--     landlock     = { execute = { "/usr" }, write = { "/work" } },
--     capabilities = {},
--     mounts       = { { tmpfs = "/scratch", size = "16M" } },
--     masked       = { "/proc/meminfo" },
--     cgroup       = { pids = { max = 32 } },
--     rlimits      = { nofile = 64 },
--   }
--   return caisson.recipe { extends = "sandbox", mix = { quiet } }
--
-- A policy is one, too: mix = { policy.default() - { "ptrace" } }.
--
-- A mix-in only narrows. What it says and the recipe says both holds: filters as one that gives the stricter answer,
-- Landlock's rulesets one behind the other, capabilities that both keep, of each limit the smaller; mounts and masked
-- paths are added. (A bind mount is the one thing here that can show more than the recipe does: what it binds, and what
-- is masked is not where a mount shows it under another name.) What it does not say stays as the recipe has it. Two of
-- them: a * b holds both, a + b allows what either allows, a - { seccomp = …, landlock = …, capabilities = … } takes away.
local check = require "caisson.policy.mix.check"
local combine = require "caisson.policy.mix.combine"
local where = require "caisson.policy.where"
local words = require "caisson.words"

local M = {}

---@class caisson.policy.mix.Spec
---@field seccomp? caisson.Policy|string|(caisson.Policy|string)[]  a policy, a program as bytes, or a list of them
---@field landlock? caisson.landlock.Spec|caisson.landlock.Spec[]  rulesets, each of which must allow
---@field capabilities? string[]     those that may stay, in every set
---@field mounts? table[]            as in a recipe; they are added to its own
---@field masked? string[]
---@field readonly? string[]
---@field cgroup? caisson.cgroup.Options  limits
---@field rlimits? table<string, integer|"max"|table>
---@field limits? { time?: number, cpu?: number, output?: integer }
---@field namespaces? table<string, true>  new ones: { net = true } takes the network away
---@field no_new_privs? true
---@field readonly_root? true
---@field limit_userns? true         no user namespaces inside

---@class caisson.Mix: caisson.policy.mix.Spec
---@operator add(caisson.Mix): caisson.Mix
---@operator mul(caisson.Mix): caisson.Mix
---@operator sub(table): caisson.Mix
local Mix = {}
Mix.__index = Mix

local parts = check.sorted(check.checks)

local function blame(message)
  local _, level = where.here()
  error("policy.mix: " .. message, level or 0)
end

-- Where something of a policy is written; nil where that is nowhere.
local function written(p)
  if p.from and p.from.source then return p.from end
  for _, clauses in pairs(rawget(p, "calls") or {}) do
    for _, c in ipairs(clauses) do if c.from and c.from.source then return c.from end end
  end
end

-- A mix-in. Raises on what it does not understand.
---@param spec caisson.policy.mix.Spec
---@return caisson.Mix
function M.new(spec)
  if type(spec) ~= "table" then blame("table expected, got " .. type(spec)) end
  if M.is(spec) then return spec end
  local m = setmetatable({}, Mix)
  for k, v in pairs(spec) do
    local checked = check.checks[k]
    if not checked then blame(words.unknown("unknown option", tostring(k), parts)) end
    m[k] = checked(v, function(message) blame(k .. ": " .. message) end)
  end
  local at, level = where.here()
  -- `return policy.mix {…}` of a file that dofile reads: what was made in it knows where
  if not level and check.is_policy(m.seccomp) then at = written(m.seccomp) or at end
  m.source, m.line, m.called = at.source, at.line, level and true
  return m
end

-- Is it a mix-in?
---@return boolean
function M.is(v) return getmetatable(v) == Mix end

-- file:line of a part of it, { "mounts", 2 }, in the source where it was made.
---@param path any[]
---@return string?
function Mix:locate(path)
  if not self.source then return nil end
  return require("caisson.source").locate(self.source, path, self.line, self.called)
end

-- What is different in another mix-in, part by part: a value with same, text(colours), json() and parts (policy/diff.lua).
---@param other caisson.Mix
---@return caisson.policy.MixDiff
function Mix:diff(other)
  if not M.is(other) then error("mix:diff: a mix-in expected, got " .. type(other), 2) end
  return require("caisson.policy.diff").mixes(self, other)
end

-- What it says, as people read it. c: colours and width (caisson.cli.color); plain without them.
---@param c? caisson.Color
---@return string
function Mix:text(c) return require("caisson.policy.show").mix(self, c) end

local function operate(a, b, how, what, free)
  if not M.is(a) or not M.is(b) then error(("mix-ins are %s to mix-ins (policy.mix)"):format(what), 3) end
  local m = setmetatable({ source = a.source, line = a.line, called = a.called }, Mix)
  for _, k in ipairs(parts) do
    local x, y = rawget(a, k), rawget(b, k)
    if x ~= nil and y ~= nil then
      local v, message = how[k](x, y)
      if message then error(("policy.mix: %s: %s"):format(k, message), 3) end
      if type(v) ~= "table" or next(v) ~= nil or k == "capabilities" then m[k] = v end
    elseif not free or k == "mounts" then -- what a mount shows may be needed by what the other allows
      m[k] = x
      if x == nil then m[k] = y end
    end
  end
  return m
end

function Mix.__mul(a, b)
  local m = operate(a, b, combine.both, "multiplied with")
  return m
end

function Mix.__add(a, b)
  local m = operate(a, b, combine.either, "added", true)
  return m
end

function Mix.__sub(a, b)
  if not M.is(a) or type(b) ~= "table" then
    error("from a mix-in { seccomp = …, landlock = …, capabilities = … } is taken away", 2)
  end
  local m = setmetatable({}, Mix)
  for k, v in pairs(a) do m[k] = v end
  for k, v in pairs(b) do
    if k ~= "source" and k ~= "line" and k ~= "called" then -- of a mix-in
      if not combine.takes[k] then
        error(words.unknown("policy.mix: what can't be taken away:", tostring(k), check.sorted(combine.takes)), 2)
      end
      if a[k] == nil then error(("policy.mix: %s: the mix-in says nothing of it that could be taken away"):format(k), 2) end
      local value, message = combine.takes[k](a[k], v)
      if message then error(("policy.mix: %s: %s"):format(k, message), 2) end
      m[k] = value
    end
  end
  return m
end

-- One of these fields, which were checked.
function M.make(fields) return setmetatable(fields, Mix) end

-- Filters or rulesets of a mix-in as a list, also where it is one, or none.
M.list = combine.list_of

-- Put mix-ins into a recipe's merged options (mix/apply.lua). origins: who said what. Raises.
function M.apply(options, origins) require("caisson.policy.mix.apply").apply(options, origins) end

-- All of a recipe that confines, as a mix-in to look at. built: Recipe:build's; filters: those of its plan.
---@return caisson.Mix
function M.of(built, filters)
  local m = require("caisson.policy.mix.apply").of(built, filters)
  return m
end

return M
