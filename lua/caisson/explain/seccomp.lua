-- Which filter of the recipe's denied a call, by which rule, and what would allow it.
local core = require "caisson.core"
local decode = require "caisson.trace.decode"
local of_recipe = require "caisson.explain.recipe"

local M = {}

-- An argument as policies have it: not below zero.
local function number(v)
  if type(v) ~= "number" or v >= 0 then return v end
  return require("caisson.u64").text { math.floor(v / 4294967296) % 4294967296, v % 4294967296 }
end

-- The arguments that the policy's clauses for the call look at, from 0.
local function looked_at(clauses)
  local list, seen = {}, {}
  for _, clause in ipairs(clauses or {}) do
    for _, c in ipairs(clause.args or {}) do
      if not seen[c[1]] then
        seen[c[1]] = true
        list[#list + 1] = c[1]
      end
    end
  end
  table.sort(list)
  return list
end

-- The rule that lets this very call through: with the arguments that the policy looks at, where it looks at any. And
-- what their values are called.
local function rule_for(call, clauses)
  local conditions, names = {}, {}
  for _, i in ipairs(looked_at(clauses)) do
    local v = number(call.args[i + 1])
    conditions[#conditions + 1] = ("{ %d, \"==\", %s }"):format(i, type(v) == "number" and ("%.0f"):format(v) or ("%q"):format(v))
    names[#names + 1] = decode.value(call.name, i + 1, call.args[i + 1], call.args)
  end
  if #conditions == 0 then return ("{ %q }"):format(call.name) end
  return ("{ { %q, args = { %s } } }"):format(call.name, table.concat(conditions, ", ")),
    #names > 0 and table.concat(names, ", ") or nil
end

-- The recipe's own line, with more behind its expression; else a new one.
local function with_line(b, key, addition)
  local line = of_recipe.line(b, key)
  local text = line and (line:match "^%s*(seccomp%s*=%s*.-)[,%s]*$" or line:match "[{,]%s*(seccomp%s*=%s*[%w_.]+%b()[^,{}]*)")
  -- an expression that goes on in the next line has something open
  if text and select(2, text:gsub("[{(]", "")) == select(2, text:gsub("[})]", "")) then
    return text .. " + " .. addition
  end
  return "seccomp = caisson.policy.default() + " .. addition
end

-- Where the policy is a list that goes on below its line, as a learnt one is: one more in there.
local function in_list(at, addition)
  local file, number_of = (at or ""):match "^(.*):(%d+)$"
  local f, n = file and io.open(file), 0
  for line in f and f:lines() or function() end do
    n = n + 1
    if n == tonumber(number_of) then
      f:close()
      if not line:find "^%s*seccomp%s*=%s*[%w_.]*policy%.new%s*{%s*$" then return nil end
      return ("in that list: %s; or add that run: caisson learn --merge %s"):format(addition:match "^{ (.*) }$", file)
    end
  end
end

local whys = {
  clause = "seccomp: a rule answers %s with %s",
  newest = "seccomp: %s is newer than the policy, which answers with %s",
  architecture = "seccomp: %s is a call of another architecture (%s)",
  program = "seccomp: the program answers %s with %s",
}

local function why(d, name)
  local action = d.errno or d.action
  if d.rule.kind ~= "default" then return whys[d.rule.kind]:format(name, action) end
  if d.rule.near then return ("seccomp: %s is allowed, but not with these arguments (%s)"):format(name, action) end
  return ("seccomp: %s is not in the policy (%s)"):format(name, action)
end

-- The policy of a step, as the recipe has it; else its program.
local function policy_of(b, p)
  local step, policy = p.step, require "caisson.policy"
  local list = b.options.seccomp
  if not list or step.key ~= "seccomp" and not (step.key or ""):find "^seccomp/" then return p.program end
  if policy.is(list) or type(list) ~= "table" then list = { list } end
  local n = 0
  for _, s in ipairs(b.plan.steps) do
    if s.step == "seccomp" and s.key == step.key then n = n + 1 end
    if s == step then break end
  end
  local found = list[tonumber((step.key or ""):match "/(%d+)$") or n]
  return policy.is(found) and found or p.program
end

local function architecture(info)
  local machines = { [0xc000003e] = "x86_64", [0x40000003] = "x86", [0xc00000b7] = "aarch64", [0x40000028] = "arm" }
  return machines[info.arch] or core.seccomp.architecture()
end

-- The cause: what the filters answer, by which of them | nil: they let it be.
---@return caisson.explain.Cause|nil
function M.of(ctx, call, info)
  local b = ctx.spec.built
  local policy, list, args = require "caisson.policy", {}, {}
  for i, p in ipairs(ctx.spec.programs) do list[i] = policy_of(b, p) end
  if #list == 0 then return nil end
  for i = 1, 6 do args[i] = number(info.args[i]) end
  local d = policy.decide(list, info.nr, args, { arch = architecture(info) })
  if d.permits then return nil end
  local step = ctx.spec.programs[d.filter].step
  local cause = { kind = "seccomp", at = require("caisson.plan").at(step), rule = (d.rule.text:gsub("^by ", "")),
    near = d.rule.near }
  local group = info.native and require("caisson.policy.names").group_of(call.name)
  cause.why = why(d, call.name .. (group and " (" .. group .. ")" or ""))
  if d.at and d.at:find ":%d+$" then cause.at = d.at end
  if b.no_setuid and step.key == b.no_setuid then
    cause.why = "a file that belongs to others outside may not become setuid there: this mount is writable and nosuid"
    local entry, rule = of_recipe.entry(b, b.no_setuid)
    cause.rule = ("%s = %s"):format(rule, of_recipe.show(entry))
    cause.fix = type(entry) == "table" and "mounts: " .. of_recipe.with(entry, { suid = true }) or nil
  elseif not info.native then
    cause.fix = "of the policy: architectures = { ... }"
  elseif type(list[d.filter]) ~= "string" then
    local rule, named = rule_for(call, list[d.filter].calls[call.name])
    cause.fix = in_list(cause.at, rule) or with_line(b, step.key, rule) .. (named and "  -- " .. named or "")
  end
  return cause
end

return M
