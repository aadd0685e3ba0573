-- Which filter of the recipe's denied a call, by which rule, and what would allow it.
local core = require "caisson.core"
local decode = require "caisson.trace.decode"
local of_recipe = require "caisson.explain.recipe"
local u64 = require "caisson.u64"

local M = {}

local two64 = 18446744073709551616

local function words(v)
  if type(v) == "number" and v < 0 then
    v = -v
    local high, low = math.floor(v / 4294967296), v % 4294967296
    if low == 0 then return { (4294967296 - high) % 4294967296, 0 } end
    return { 4294967295 - high, 4294967296 - low }
  end
  return u64.parse(v) or { 0, 0 }
end

local function holds(c, args)
  local v, wanted = words(args[c[1] + 1]), u64.parse(c[3])
  if not wanted then return false end
  if c[2] == "masked_eq" or c[2] == "&" or c[4] then
    local mask = wanted
    return u64.eq(u64.band(v, mask), u64.parse(c[4]) or mask)
  end
  if c[2] == "==" then return u64.eq(v, wanted) end
  if c[2] == "!=" then return not u64.eq(v, wanted) end
  if c[2] == "<" then return u64.lt(v, wanted) end
  if c[2] == "<=" then return not u64.lt(wanted, v) end
  if c[2] == ">" then return u64.lt(wanted, v) end
  if c[2] == ">=" then return not u64.lt(v, wanted) end
  return false
end

-- The clause of a policy that decides: the first whose conditions all hold. nil: none, the default does.
local function clause_of(policy, call)
  local clauses = policy.calls[call.name]
  for _, clause in ipairs(clauses or {}) do
    local all = true
    for _, c in ipairs(clause.args or {}) do all = all and holds(c, call.args) end
    if all then return clause, clauses end
  end
  return nil, clauses
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

local function number(v) return type(v) == "number" and v < 0 and two64 + v or v end

-- The rule that lets this very call through: with the arguments that the policy looks at, where it looks at any.
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

local function groups_of(name)
  local found = {}
  for group, members in pairs(require "caisson.policy.groups") do
    if type(members) == "table" then
      for _, m in ipairs(members) do
        if m == name and group ~= "@known" and group ~= "@obsolete" then found[#found + 1] = group end
      end
    end
  end
  table.sort(found)
  return found[1]
end

local function action_text(action)
  if type(action) ~= "table" then return tostring(action) end
  local v = action[2]
  return action[1] == "errno" and (core.errno.name(v) or tostring(v)) or action[1] .. (v and " " .. tostring(v) or "")
end

local function of_policy(b, key, policy, call, cause)
  local clause, clauses = clause_of(policy, call)
  local args = require "caisson.policy.args"
  local group = groups_of(call.name)
  group = group and (" (of %s)"):format(group) or ""
  local rule, named
  if clause then
    local action = clause.action == "deny" and policy.deny or clause.action
    local text = args.text(clause.args or {})
    cause.rule = ("%s%s: %s"):format(call.name, text ~= "" and " where " .. text or "", action_text(action))
    cause.why = ("seccomp: a rule answers %s%s with %s"):format(call.name, group, action_text(action))
    rule, named = rule_for(call, clauses)
  elseif clauses then
    cause.rule = "default: " .. action_text(policy.default)
    cause.why = ("seccomp: %s is allowed, but not with these arguments"):format(call.name)
    rule, named = rule_for(call, clauses)
  else
    cause.rule = "default: " .. action_text(policy.default)
    cause.why = ("seccomp: the policy does not list %s%s"):format(call.name, group)
    rule = rule_for(call, nil)
  end
  cause.fix = with_line(b, key, rule) .. (named and "  -- " .. named or "")
end

local strictness = { allow = 0, log = 1, trace = 2, notify = 3, errno = 4, trap = 5, kill_thread = 6, kill_process = 7 }

-- The policies of the recipe, as its steps have them.
local function policy_of(b, step)
  local list = b.options.seccomp
  if not list or step.key ~= "seccomp" and not (step.key or ""):find "^seccomp/" then return nil end
  local policy = require "caisson.policy"
  if policy.is(list) or type(list) ~= "table" then list = { list } end
  local n = 0
  for _, s in ipairs(b.plan.steps) do
    if s.step == "seccomp" and s.key == step.key then
      n = n + 1
      if s == step then break end
    end
  end
  local i = tonumber((step.key or ""):match "/(%d+)$") or n
  local p = list[i]
  return policy.is(p) and p or nil, i
end

-- The causes: of the filter that the kernel would have gone by.
function M.of(ctx, call, info)
  local b = ctx.spec.built
  local answers = require "caisson.policy.answers"
  local best, rank, text
  for _, p in ipairs(ctx.spec.programs) do
    local plain = {}
    for i = 1, 6 do plain[i] = number(info.args[i]) end
    local answer = answers.of({ p.program }):decide(info.nr, plain, info.arch)
    local r = strictness[(answer or "allow"):match "^%S+"] or 0
    if r >= (rank or 1) and r > 1 then best, rank, text = p, r, answer end
  end
  if not best then return nil end
  local cause = { kind = "seccomp", at = require("caisson.plan").at(best.step), rule = text, why = "seccomp: " .. text }
  if not info.native then
    cause.why = ("seccomp: a call of another architecture (%s)"):format(text)
    cause.fix = "seccomp: architectures = { ... } of the policy"
    return { cause }
  end
  local policy = policy_of(b, best.step)
  if policy then
    of_policy(b, best.step.key, policy, call, cause)
  elseif b.no_setuid and best.step.key == b.no_setuid then
    cause.why = "a file that belongs to others outside may not become setuid there: this mount is writable and nosuid"
    local entry, rule = of_recipe.entry(b, b.no_setuid)
    cause.rule = ("%s = %s"):format(rule, of_recipe.show(entry))
    cause.fix = type(entry) == "table" and "mounts: " .. of_recipe.with(entry, { suid = true }) or nil
  else
    cause.why = ("seccomp: a program given as bytes answers with %s"):format(text)
  end
  return { cause }
end

return M
